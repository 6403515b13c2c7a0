"""The user's prompt, whole and first, then words that the references' metadata add.

Every added phrase remembers which reference gave it, so that its share of the prompt is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rag_audio.domain import PromptSpan, Stem
from rag_audio.errors import InvalidInput

PHRASES_PER_REFERENCE = 3
_JOINT = ", "


@dataclass(frozen=True)
class Phrase:
    """Words to add, and the stem they come from (None: the user's own fields)."""

    text: str
    stem: str | None


@dataclass(frozen=True)
class Enriched:
    """The finished prompt, who gave which part, and what was left out and why."""

    text: str
    spans: tuple[PromptSpan, ...]
    notes: tuple[str, ...]


def stem_phrases(stem: Stem) -> Iterator[Phrase]:
    """What a stem's metadata can say about its sound: tags and instruments; never names."""
    for text in (*stem.tags, *stem.instruments):
        # General MIDI tells "Electric Piano 1" from "2"; words for a model do not.
        words = " ".join(text.lower().split()).rstrip(" 0123456789")
        if words:
            yield Phrase(words, stem.id)


def enrich(
    prompt: str,
    fields: Iterable[Phrase],
    stems: Iterable[Stem],
    *,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    is_clean: Callable[[str], bool],
    typical: Mapping[str, float] | None = None,
) -> Enriched:
    """Add phrases as long as the model's own tokenizer says they fit.

    Args:
        fields: what the user set beside the prompt, tempo and key; before the stems' words.
        stems: in order of rank; each gives at most three phrases that are not there yet.
        is_clean: guardrails; a phrase that is not clean is left out.
        typical: weights of words; of a stem's words those that weigh more come first.

    Raises:
        InvalidInput: the user's own words do not fit the model's window.
    """
    text = prompt.strip()
    tokens = count_tokens(text)
    if tokens > max_tokens:
        raise InvalidInput(
            f"the prompt has {tokens} tokens, the model reads {max_tokens}",
            hint="shorten it: nothing of it may be cut",
        )
    spans = [PromptSpan(0, len(text), text, tokens, None)]
    notes: list[str] = []
    for phrase, left in _candidates(fields, stems, typical or {}):
        if left[0] <= 0 or _is_in(phrase.text, text):
            continue
        if not is_clean(phrase.text):
            notes.append(f"left out of the prompt, not licensed: {phrase.text!r}")
            continue
        longer = f"{text}{_JOINT}{phrase.text}"
        total = count_tokens(longer)
        if total > max_tokens:
            if phrase.stem is None:
                notes.append(f"left out of the prompt, no room: {phrase.text!r}")
            continue
        start = len(text) + len(_JOINT)
        spans.append(PromptSpan(start, len(longer), phrase.text, total - tokens, phrase.stem))
        text, tokens = longer, total
        left[0] -= 1
    return Enriched(text, tuple(spans), tuple(notes))


def _candidates(
    fields: Iterable[Phrase], stems: Iterable[Stem], typical: Mapping[str, float]
) -> Iterator[tuple[Phrase, list[int]]]:
    """Each phrase with a counter of how many more its giver may add."""
    for phrase in fields:
        yield phrase, [1]
    for stem in stems:
        left = [PHRASES_PER_REFERENCE]
        for phrase in sorted(stem_phrases(stem), key=lambda one: -typical.get(one.text, 0.0)):
            yield phrase, left


def _is_in(phrase: str, text: str) -> bool:
    return f" {phrase.casefold()} " in f" {text.casefold().replace(',', ' ').replace('.', ' ')} "

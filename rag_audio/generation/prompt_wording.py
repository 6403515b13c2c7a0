"""The user's prompt, whole and first, then words that the references' metadata add.

Every added phrase remembers which reference gave it, so that its share of the prompt is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rag_audio.domain import Controls, Key, PromptSpan, Stem
from rag_audio.domain.translation import in_english, understood
from rag_audio.errors import InvalidInput
from rag_audio.generation.legibility import CanRead, is_unread
from rag_audio.retrieval.profiles import plain_words

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
        words = plain_words(text)
        if words:
            yield Phrase(words, stem.id)


def understood_notes(prompt: str) -> tuple[str, ...]:
    """How the user's words are understood that are in another language, or abbreviations."""
    return tuple(
        f'understood: "{prompt[one.start : one.end]}" as "{one.english}"'
        for one in understood(prompt)
    )


def enrich(
    prompt: str,
    fields: Iterable[Phrase],
    stems: Iterable[Stem],
    *,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    is_clean: Callable[[str], bool],
    can_read: CanRead = lambda text: True,
    typical: Mapping[str, float] | None = None,
) -> Enriched:
    """Add phrases as long as the model's own tokenizer says they fit.

    First comes, in English, what the user said in other languages and abbreviations.

    Args:
        fields: what the user set beside the prompt, tempo and key; before the stems' words.
        stems: in order of rank; each gives at most three phrases that are not there yet. Words of
            other languages are put in English.
        is_clean: guardrails; a phrase that is not clean is left out.
        can_read: the model's tokenizer; so is one of which it reads nothing.
        typical: weights of words; of a stem's words those that weigh more come first.

    Raises:
        InvalidInput: the user's own words do not fit the model's window.
    """
    fields, stems = tuple(fields), tuple(stems)
    given = prompt.strip()
    own_tokens = count_tokens(given)
    if own_tokens > max_tokens:
        raise InvalidInput(
            f"the prompt has {own_tokens} tokens, the model reads {max_tokens}",
            hint="shorten it: nothing of it may be cut",
        )
    in_other_words = [Phrase(one.english, None) for one in understood(given)]

    def added(is_clean_there: Callable[[str], bool]) -> Enriched:
        """A stem's phrase is added where the prompt is clean with it."""
        text, tokens = given, own_tokens
        spans = [PromptSpan(0, len(text), text, tokens, None)]
        notes: list[str] = []
        for phrase, left in _candidates((*in_other_words, *fields), stems, typical or {}):
            if left[0] <= 0 or _is_in(phrase.text, text):
                continue
            longer = f"{text}{_JOINT}{phrase.text}"
            is_fine_there = phrase.stem is None or is_clean_there(longer)
            if not is_clean(phrase.text) or not is_fine_there:
                why = "it reads like a name that may not be asked for"
                notes.append(f"left out of the prompt, {why}: {phrase.text!r}")
                continue
            if is_unread(phrase.text, can_read):
                notes.append(f"left out of the prompt, the model cannot read it: {phrase.text!r}")
                continue
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

    plain = added(lambda text: True)
    # Words that are clean each may read like a name beside others.
    return plain if is_clean(plain.text) else added(is_clean)


def _candidates(
    fields: Iterable[Phrase], stems: Iterable[Stem], typical: Mapping[str, float]
) -> Iterator[tuple[Phrase, list[int]]]:
    """Each phrase with a counter of how many more its giver may add."""
    for phrase in fields:
        yield phrase, [1]
    for stem in stems:
        left = [PHRASES_PER_REFERENCE]
        for phrase in sorted(stem_phrases(stem), key=lambda one: -typical.get(one.text, 0.0)):
            yield replace(phrase, text=in_english(phrase.text)), left


def _is_in(phrase: str, text: str) -> bool:
    return f" {phrase.casefold()} " in f" {text.casefold().replace(',', ' ').replace('.', ' ')} "


# Controls in the words that a family of checkpoints is asked in: one template per family.


@dataclass(frozen=True)
class Wording:
    """Templates, each with one ``{}``: of an instrument, a mood, the tempo, the key, a metre."""

    instrument: str
    mood: str
    tempo: str
    key: str
    time_signature: str


# The own examples of both families write the tempo in capitals: "128 BPM tech house drum loop"
# (model card of Stable Audio Open 1.0), "120 BPM house loop" (inference guide of
# Stability-AI/stable-audio-3). Neither shows a key or a metre; those are put plainly, and how well
# they are followed is not known but for the embedded checkpoint, whose captions have "A minor" and
# "3/4", and whose tokenizer tells no capitals from small letters.
WORDINGS = {
    "stable-audio": Wording("{}", "{}", "{} BPM", "{}", "{} time"),
    "stable-audio-3": Wording("{}", "{}", "{} BPM", "{}", "{}"),
}


def wording_of(family: str) -> Wording:
    """The templates of a family; an unknown one is spoken to like Stable Audio 3."""
    return WORDINGS.get(family, WORDINGS["stable-audio-3"])


def tempo_and_key_words(
    wording: Wording, bpm: float | None = None, key: Key | None = None
) -> tuple[str, ...]:
    """Tempo, then key, in words."""
    tempo = () if bpm is None else (wording.tempo.format(f"{bpm:.0f}"),)
    return tempo if key is None else (*tempo, wording.key.format(key))


def words_before(wording: Wording, controls: Controls) -> tuple[str, ...]:
    """What stands before tempo and key: instruments and moods, in English where it is known."""
    instruments = (wording.instrument.format(_plain(word)) for word in controls.instrumentation)
    return (*instruments, *(wording.mood.format(_plain(word)) for word in controls.mood))


def words_after(wording: Wording, controls: Controls) -> tuple[str, ...]:
    """What stands after them: the metre. Four quarters are what models play unasked."""
    if controls.time_signature is None or controls.time_signature == (4, 4):
        return ()
    beats, unit = controls.time_signature
    return (wording.time_signature.format(f"{beats}/{unit}"),)


def _plain(text: str) -> str:
    return in_english(" ".join(text.split()))

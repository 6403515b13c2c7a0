"""Which words of a prompt a model cannot read, and how the plan says so.

A tokenizer without a token for a character gives the unknown token: the prompts
``静かなピアノの曲`` and ``激しいドラムの曲`` are then the same eight tokens, and the same sound. A
tokenizer that falls back to bytes reads every script, whether or not the model was ever trained
with it: the model card of Stable Audio Open 1.0 says "Language(s): English".
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rag_audio.domain.translation import without_understood

CanRead = Callable[[str], bool]
"""Whether a model's tokenizer has a token for every character of a text."""

_SHOWN_WORDS = 6
_SHOWN_CHARS = 24
_IN_ENGLISH = "describe it in English"


@dataclass(frozen=True)
class UnreadWord:
    """A word with the characters that cannot be read; ``whole``: none of its letters can."""

    text: str
    missing: str
    whole: bool


def unread_words(text: str, can_read: CanRead) -> tuple[UnreadWord, ...]:
    """The words, between spaces, that hold letters, digits or pictures that cannot be read.

    Punctuation that cannot be read is not counted: no model plays it.
    """
    if can_read(text):
        return ()
    found = []
    for word in _words(text):
        if can_read(word):
            continue
        said = [char for char in dict.fromkeys(word) if _is_said(char)]
        missing = "".join(char for char in said if not can_read(char))
        if missing:
            found.append(UnreadWord(word, missing, len(missing) == len(said)))
    return tuple(found)


def is_unread(text: str, can_read: CanRead) -> bool:
    """Whether nothing of a text can be read: it would only add unknown tokens."""
    unread = unread_words(text, can_read)
    return bool(unread) and all(one.whole for one in unread) and len(unread) == len(_words(text))


def reading_notes(model: str, prompt: str, negative: str, can_read: CanRead) -> tuple[str, ...]:
    """What a plan says of the words that its model cannot read, or was hardly trained with.

    Nothing is said of the prompt's words that are understood, and so are added in English.

    Args:
        model: its name.
    """
    notes = []
    left = without_understood(prompt)
    for place, text in (("", left), (" of the negative prompt", negative)):
        unread = unread_words(text, can_read)
        whole = [one.text for one in unread if one.whole]
        is_all = text in (prompt, negative)  # not what is left of a prompt that is understood
        if whole and is_all and is_unread(text, can_read):
            notes.append(
                f"the model {model} cannot read {_listed(whole)}{place}: prompts that it cannot "
                f"read sound alike; {_IN_ENGLISH}"
            )
        elif whole:
            notes.append(f"the model {model} cannot read {_listed(whole)}{place}: {_IN_ENGLISH}")
        notes += [
            f"the model {model} reads {_cut(one.text)}{place} without {_cut(one.missing)}"
            for one in unread
            if not one.whole
        ]
        foreign = [
            word
            for word in _words(text)
            if any(map(_is_foreign, word)) and word not in {one.text for one in unread}
        ]
        if foreign:
            notes.append(
                f"the model {model} was trained with descriptions in English as far as is known, "
                f"and may not understand {_listed(foreign)}{place}: {_IN_ENGLISH}"
            )
    return tuple(notes)


def search_notes(embedder: str, prompt: str, can_read: CanRead) -> tuple[str, ...]:
    """What a plan says of the words that the search for its references cannot read."""
    unread = unread_words(without_understood(prompt), can_read)
    whole = [one.text for one in unread if one.whole]
    if not whole:
        return ()
    return (
        f"the search by meaning ({embedder}) cannot read {_listed(whole)}: of the references, only "
        "those whose titles or tags have these words were found by them",
    )


def _words(text: str) -> tuple[str, ...]:
    """What stands between spaces, each once, without the punctuation around it."""
    found = []
    for word in unicodedata.normalize("NFC", text).split():
        places = [i for i, char in enumerate(word) if _is_said(char)]
        if places:
            found.append(word[places[0] : places[-1] + 1])
    return tuple(dict.fromkeys(found))


def _is_said(char: str) -> bool:
    """A letter, a mark on one, a digit, or a picture such as an emoji."""
    return unicodedata.category(char)[0] in "LMN" or unicodedata.category(char) == "So"


def _is_foreign(char: str) -> bool:
    """A letter of a script that is not Latin."""
    return char.isalpha() and "LATIN" not in unicodedata.name(char, "LATIN")


def _listed(words: Iterable[str]) -> str:
    known = [_cut(word) for word in words]
    more = len(known) - _SHOWN_WORDS
    return ", ".join(known[:_SHOWN_WORDS]) + (f" and {more} more words" if more > 0 else "")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"

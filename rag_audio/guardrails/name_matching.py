"""How like a name words are, and whether words that spell a name are likely to mean it."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from rag_audio.guardrails.names import Spelling
from rag_audio.guardrails.normalise import (
    NormalisedText,
    Squashed,
    Word,
    fold,
    has_devanagari,
    is_other_alphabet,
    squash,
)
from rag_audio.guardrails.policy_tables import rule_words
from rag_audio.guardrails.vocabulary import (
    is_english,
    is_everyday,
    is_given_name,
    is_ordinary,
)

_ENDINGS = rule_words("misspelled", "endings")
_CASES = rule_words("misspelled", "cases")
KEY = 4
"""Letters by which longer names are looked up."""
LONG = 8
"""Letters of a long name."""


def likeness(letters: str, heard: str, form: Spelling, known: bool, proper: bool) -> float:
    """How like a name the letters are, 0…100; 0 when they are not near enough."""
    ratio = fuzz.ratio(letters, form.letters)
    size = len(form.letters)
    same_sound = heard == form.heard
    if known:
        long = proper and form.words > 1 and size >= LONG
        if long and OSA.distance(letters, form.letters, score_cutoff=1) <= 1:
            return ratio
        wanted = 84 if form.words > 1 else 75
        return ratio if same_sound and ratio >= wanted and size >= 6 else 0.0
    limit = 0 if size < 5 else 1 if size < 9 else 2
    if size == 5 and (letters[:1] != form.letters[:1] or letters[-1:] != form.letters[-1:]):
        limit = 0
    if form.words == 1 and size < 7 and letters[:1] != form.letters[:1]:
        limit = 0
    if OSA.distance(letters, form.letters, score_cutoff=limit) <= limit:
        return ratio
    if len(heard) < 4 or (form.words == 1 and size < 6):
        return 0.0
    wanted = 70 if same_sound and len(heard) >= 5 else 76 if same_sound or len(heard) >= 6 else 84
    if form.words == 1:
        wanted += 6
    return ratio if ratio >= wanted else 0.0


def lacks_number(form: Spelling, letters: str) -> bool:
    """Whether all that is missing of a name is its number: a surname is not a band's name."""
    figures = [sign for sign in form.letters if sign.isdigit()]
    return bool(figures) and squash(letters) == "".join(
        sign for sign in form.letters if not sign.isdigit()
    )


def begins_alike(letters: str, form: Spelling) -> bool:
    """Whether letters are at most two slips from a name, or share its beginning."""
    return letters[:2] == form.letters[:2] or OSA.distance(letters, form.letters) <= 2


def is_spaced_as(form: Spelling, words: Sequence[Word], first: int, last: int) -> bool:
    """Whether words have the spaces of a name, or its capitals: words of languages that we have no
    dictionary of are not read as a name's letters run together."""
    if last == first and not words[first].capital and len(form.letters) < 7:
        return False
    return last - first + 1 == form.words or words[first].capital


def may_be_english(text: NormalisedText) -> bool:
    """Whether a text may be English, so that its words may be spelled as they are heard there.

    A short text may; a longer one may where half of its words are in the English dictionary.
    """
    told = [is_english(word.text) for word in text.words if len(word.text) > 2]
    return len(told) < 4 or 2 * sum(told) >= len(told)


def is_of_other_letters(text: NormalisedText, first: int, last: int) -> bool:
    """Whether words were written in letters that are not Latin."""
    written = text.raw_words(first, last)
    return any(is_other_alphabet(sign) or has_devanagari(sign) for sign in written)


def may_mean(form: Spelling, words: Sequence[Word], first: int, last: int) -> bool:
    """Whether dictionary words that sound like a name may be it: "lead zeppelin", "the beetles"."""
    if last > first:
        return form.words > 1
    the = first > 0 and words[first - 1].text == "the"
    return form.words == 1 and the and form.artist.name.lower().startswith("the ")


def latin(word: str) -> str:
    """A word without the letters that only dress it up, where the rest of it is Latin."""
    plain = "".join(c for c in word if c.isascii())
    return plain if 2 * len(plain) > len(word) else word


def deletions(letters: str) -> list[str]:
    return [letters, *(letters[:i] + letters[i + 1 :] for i in range(len(letters)))]


def may_end_longer(form: Spelling, run: Squashed, words: Sequence[Word], end: int) -> bool:
    """Whether a name is long enough for an ending; in a word of no dictionary it may be shorter."""
    if len(form.letters) >= 6 or end >= len(run.letters):
        return len(form.letters) >= 6
    return len(form.letters) == 5 and not is_ordinary(words[run.word_of[end]].text)


def with_ending(letters: str, word_of: Sequence[int], ends: dict[int, int], end: int) -> int | None:
    """The word in which a name and one of the usual endings stop together."""
    if end >= len(letters) or word_of[end] != word_of[end - 1]:
        return None
    for length in range(1, 7):
        last = ends.get(end + length)
        if last is not None:
            tail = letters[end : end + length]
            return last if tail in _ENDINGS or (tail == "que" and letters[end - 1] == "s") else None
    return None


def declined(form: Spelling, text: NormalisedText, run: Squashed, end: int) -> int | None:
    """The word in Cyrillic or Greek in which a name stops before the ending of a case."""
    if len(form.letters) < 5 or end >= len(run.letters) or run.word_of[end] != run.word_of[end - 1]:
        return None
    if not is_other_alphabet(text.raw_words(run.word_of[end], run.word_of[end])):
        return None
    for length in range(1, 4):
        last = run.ends.get(end + length)
        if last is not None:
            return last if run.letters[end : end + length] in _CASES else None
    return None


def is_fair(form: Spelling, words: Sequence[Word]) -> bool:
    """Whether words that spell a name by their letters are likely to mean it.

    A short name must stand in its own words or be spelled out letter by letter.
    """
    if len(words) == 1 and form.words > 1 and is_given_name(words[0].text):
        return False
    little = len(words) == 1 and (len(form.letters) <= KEY or not form.artist.well_known)
    if little and is_ordinary(words[0].text) and words[0].text != fold(form.text):
        return False
    if len(words) == form.words or len(form.letters) >= 8:
        return True
    if len(words) == 1 and (len(form.letters) >= 6 or form.words >= len(form.letters)):
        return True
    return len(words) >= 3 and all(len(word.text) == 1 for word in words)


def is_everyday_abroad(words: Sequence[Word]) -> bool:
    """Whether words in small letters are everyday words of a language other than English."""
    return all(is_everyday(word.text) and len(word.text) > 1 and not word.capital for word in words)


def is_sure(form: Spelling, words: Sequence[Word], first: int, last: int) -> bool:
    """Whether an exact hit cannot be read as ordinary words: "a cold play of light" can.

    So can a word of the dictionary whose letters are a name's in another spelling: "florida" is
    Flo Rida's without the space, "beatless" is the Beatles' with an s doubled.
    """
    if first == last and is_ordinary(words[first].text):
        return fold(form.text) == words[first].text
    if (
        form.words > 1
        or last == first
        or not all(is_ordinary(w.text) for w in words[first : last + 1])
    ):
        return True
    if all(len(w.text) == 1 for w in words[first : last + 1]):
        return True
    before = words[first - 1].text if first else ""
    after = words[last + 1].text if last + 1 < len(words) else ""
    return before not in ("a", "an", "the", "my", "some") and after not in (
        "of",
        "with",
        "in",
        "on",
    )

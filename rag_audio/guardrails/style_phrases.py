"""What a style phrase is about: a protected name, an unknown one, or music.

The default is no: what follows "in the style of" must be music talk, a licensed artist, or plainly
a thing ("a", a plural, words of the dictionary where anything may follow); else it is a name.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from rag_audio.guardrails import vocabulary
from rag_audio.guardrails.name_evidence import (
    is_bare,
    is_beat_of,
    is_countable,
    is_epithet,
    is_proper,
    is_told_by_capitals,
)
from rag_audio.guardrails.name_finder import NameHit
from rag_audio.guardrails.names import SentenceReading, Spelling, is_place
from rag_audio.guardrails.normalise import NormalisedText, Word
from rag_audio.guardrails.policy_tables import rule_words
from rag_audio.guardrails.style_leads import KNOWN_ONLY, Lead, Strength
from rag_audio.guardrails.vocabulary import (
    is_compound,
    is_english,
    is_everyday,
    is_german_compound,
    is_given_name,
    is_music,
    is_ordinary,
)

_HARD_STOP = re.compile(r"[.;:!?()\n\[\]{}|…。、「」]")
_INITIAL = re.compile(r"(?:^|[\s(])[a-z]\.?$|\b(?:mr|mrs|ms|dr|st|feat|ft)$")
_JOINTS = rule_words("styles", "joints")
_STOPS = rule_words("styles", "stops")
_DETERMINERS = rule_words("styles", "determiners")
_INDEFINITE = rule_words("styles", "indefinite")
_LINKS = rule_words("styles", "links")
_MODIFIERS = rule_words("styles", "modifiers")
_PERFORMS = rule_words("styles", "performs")
_BELONGS = rule_words("styles", "belongs")
_ANYBODY = rule_words("styles", "anybody")
_WORKS = rule_words("styles", "works")
_MUSICIANS = rule_words("styles", "musicians")
_MAX_WORDS = 7


@dataclass(frozen=True)
class Finding:
    """Words that name somebody after a style phrase; ``form`` is None when nobody knows them."""

    first: int
    last: int
    form: Spelling | None


class StyleReader:
    """Reads the objects of style phrases in one text.

    Args:
        hits: protected names in the text, those that are words too among them.
        licensed: indices of the words that belong to licensed names.
        generic: also report names that nobody knows.
    """

    def __init__(
        self, text: NormalisedText, hits: list[NameHit], licensed: set[int], generic: bool
    ) -> None:
        self._text = text
        self._words = text.words
        self._licensed = licensed
        self._generic = generic
        self._at: dict[int, list[NameHit]] = {}
        for hit in hits:
            self._at.setdefault(hit.first, []).append(hit)
        self._starts = [word.start for word in self._words]
        self._read: set[tuple[int, Strength, str, str]] = set()

    def read(self, lead: Lead) -> Iterator[Finding]:
        """Who is named by the object of a style phrase."""
        if lead.after:
            yield from self._before(lead)
            return
        at = bisect_left(self._starts, lead.at)
        first = at if at < len(self._words) else None
        phrase = self._text.plain[lead.start : lead.at]
        while first is not None:
            # The same phrase before the same object: what follows it was read already.
            place = (first, lead.strength, lead.language, phrase)
            if place in self._read:
                return
            self._read.add(place)
            last = self._object_end(first)
            if last < first:
                return
            known_only = lead.strength in KNOWN_ONLY
            finding = (
                self._known(first, last, lead) if known_only else self._judge(first, last, lead)
            )
            if finding is not None:
                yield finding
                last = max(last, finding.last)
            first = self._joined(last, lead)

    def _known(self, first: int, last: int, lead: Lead) -> Finding | None:
        """A known name at the beginning of what may be anything: "give me some Drake"."""
        words, text = self._words, self._text
        start = first
        while start < last and start not in self._at and words[start].text in _MODIFIERS | {"the"}:
            start += 1
        for hit in self._at.get(start, ()):
            if hit.last <= last and hit.sure and not self._licensed & {hit.first, hit.last}:
                following = words[hit.last + 1].text if hit.last < last else ""
                works = following in _PERFORMS
                countable = lead.strength is Strength.NAME and is_countable(text, hit, following)
                if countable or is_proper(text, hit, following, works):
                    return Finding(hit.first, hit.last, hit.form)
        return None

    def _object_end(self, first: int) -> int:
        """Index of the last word of the object that starts at ``first``."""
        words, plain = self._words, self._text.plain
        last = first - 1
        for i in range(first, min(first + _MAX_WORDS, len(words))):
            if i > first:
                gap = plain[words[i - 1].end : words[i].start]
                after_initial = len(words[i - 1].text) == 1 or words[i - 1].text in (
                    "mr",
                    "dr",
                    "st",
                )
                if ("," in gap or "/" in gap or _HARD_STOP.search(gap)) and not (
                    gap.strip() == "." and after_initial
                ):
                    break
                if " - " in gap or words[i].text in _JOINTS or words[i].text in _STOPS:
                    break
                if "&" in gap:
                    break
            elif (
                words[i].text in _STOPS
                and words[i].text not in ("o", "e", "y")
                and i not in self._at
            ):
                return first - 1  # a name may start with such a word only if we know it
            last = i
        return last

    def _joined(self, last: int, lead: Lead) -> int | None:
        """Where the next object starts: after "and", "&", "/" or a comma before a capital."""
        following = last + 1
        if following >= len(self._words):
            return None
        gap = self._text.plain[self._words[last].end : self._words[following].start]
        word = self._words[following]
        if _HARD_STOP.search(gap):
            return None
        if word.text in _JOINTS and following + 1 < len(self._words):
            return following + 1
        if "&" in gap or "/" in gap:
            return following
        listed = "," in gap and word.capital and self._text.capitals_mean
        if listed and not is_ordinary(word.text) and lead.language != "de":
            return following
        return None

    def _judge(self, first: int, last: int, lead: Lead) -> Finding | None:
        words = self._words
        start = first
        led = self._text.plain[lead.start : lead.at].split()[-1:]
        indefinite = lead.language == "de" and led[0] in _INDEFINITE if led else False
        definite = lead.language == "de" and led[0] in _DETERMINERS if led else False
        while start <= last and start not in self._named(first, start, lead):
            text = words[start].text
            if text in _INDEFINITE:
                indefinite = True
            elif text in _DETERMINERS:
                definite = True
            elif text not in _MODIFIERS and text not in _LINKS:
                break
            start += 1
        for i in range(first, min(start + 1, last + 1) if start <= last else last + 1):
            for hit in self._at.get(i, ()):
                if self._means_name(hit, last, lead, indefinite, definite or i > first):
                    return Finding(hit.first, hit.last, hit.form)
        for i in range(start + 1, last + 1):
            for hit in self._at.get(i, ()):
                if hit.reading is SentenceReading.NAME:
                    return Finding(hit.first, hit.last, hit.form)
        if not self._generic or start > last:
            return None
        return self._unknown(start, last, lead, indefinite, definite)

    def _named(self, first: int, start: int, lead: Lead) -> set[int]:
        """Where a name begins that itself starts with an article."""
        return {start} if start > first and start in self._at else set()

    def _means_name(
        self, hit: NameHit, last: int, lead: Lead, indefinite: bool, definite: bool
    ) -> bool:
        """Whether a known name is meant as one here, for names that are words too."""
        form, words = hit.form, self._words
        reading = hit.reading
        if reading is SentenceReading.NAME:
            return True
        if self._licensed & set(range(hit.first, hit.last + 1)):
            return False
        if reading is SentenceReading.MASS and definite and is_music(words[hit.first].text):
            return False  # "the Renaissance" is a period
        if is_epithet(hit) and lead.strength is Strength.WEAK:
            return is_told_by_capitals(self._text, hit)
        first_word = words[hit.first]
        capital = first_word.capital and self._text.capitals_mean and hit.first > 0
        following = words[hit.last + 1].text if hit.last < last else ""
        if following and following not in _PERFORMS and not words[hit.last].possessive:
            return False
        if indefinite:
            return capital and following in _WORKS
        named_the = hit.form.artist.name.lower().startswith("the ") and hit.first > 0
        written_with_the = words[hit.first].text in ("the", "die", "los") or (
            named_the and words[hit.first - 1].text == "the"
        )
        if definite and not written_with_the and not capital:
            return False
        if capital or lead.strength is not Strength.WEAK:
            return reading is SentenceReading.WORD or capital or form.words > 1
        if reading is SentenceReading.MASS:
            return False
        plural = words[hit.last].text.endswith("s") and form.words == 1
        return written_with_the or form.words > 1 or not plural

    def _unknown(
        self, first: int, last: int, lead: Lead, indefinite: bool, definite: bool
    ) -> Finding | None:
        """A name that nobody knows, in the object ``words[first:last + 1]``."""
        if lead.language in vocabulary.languages():
            return self._abroad(first, self._words[first : last + 1], lead)
        words = self._words[first : last + 1]
        if words[0].text in _ANYBODY or (definite and _is_part_of(words)):
            return None
        free = [w for i, w in enumerate(words, first) if i not in self._licensed]
        innocent = self._licensed & {first, first + 1}
        if not (indefinite or definite or innocent) and self._is_proper_abroad(words, lead):
            return Finding(first, self._name_end(first, last), None)
        strange = [w for w in free if not is_music(w.text)]
        if not strange or not words[0].text:
            return None
        capital = [w for w in strange if w.capital and self._text.capitals_mean]
        unknown = [w for w in strange if not is_ordinary(w.text)]
        unknown = [w for w in unknown if w.capital or not is_compound(w.text)]
        europe = lead.language not in ("en",)
        if europe and lead.strength is Strength.BY and not words[0].capital:
            return None  # "música de …": of something, unless a name follows at once
        if len(unknown) == 1 and is_given_name(unknown[0].text) and lead.strength is Strength.BY:
            return None
        if capital:
            if self._capital_name(words, capital, unknown, lead, indefinite, definite):
                return Finding(first, self._name_end(first, last), None)
            if not unknown:
                return None
        if unknown and not capital:
            if indefinite:
                head = words[-1].text
                named = head in _WORKS and unknown[0] is not words[-1] and not europe
                return Finding(first, last, None) if named else None
            if europe and (definite or (lead.strength is Strength.WEAK and lead.language != "de")):
                return None
            if lead.language == "de" and lead.strength is Strength.WEAK:
                return None
            return Finding(first, self._name_end(first, last), None)
        if unknown or europe or indefinite or definite or lead.strength is not Strength.STRONG:
            return None
        return None if _is_thing(words, lead, self._text.plain) else Finding(first, last, None)

    def _is_proper_abroad(self, words: list[Word], lead: Lead) -> bool:
        """Whether two words with capitals are a name though they are everyday words of a language
        that writes such words small: "Rosa Blanca"; German does not."""
        if lead.language == "de" or not self._text.capitals_mean or len(words) < 2:
            return False
        pair = words[:2]
        known = (is_english(w.text) or is_place(w.text) or w.text.isdigit() for w in pair)
        return all(w.capital and len(w.text) > 1 for w in pair) and not all(known)

    def _abroad(self, first: int, words: list[Word], lead: Lead) -> Finding | None:
        """A name that nobody knows at a phrase of a language whose words we know in part."""
        if self._licensed & set(range(first, first + len(words))):
            return None
        read = vocabulary.named_before if lead.after else vocabulary.named_after
        named = read(words, lead.language, lead.strength, self._text.capitals_mean)
        return None if named is None else Finding(first + named[0], first + named[1], None)

    def _capital_name(
        self,
        words: list[Word],
        capital: list[Word],
        unknown: list[Word],
        lead: Lead,
        indefinite: bool,
        definite: bool,
    ) -> bool:
        """Whether capitals make a name of an object."""
        if lead.language == "de":
            # Every German noun has a capital: an article makes it a thing.
            strange = [
                w for w in capital if not is_ordinary(w.text) and not is_german_compound(w.text)
            ]
            return bool(strange) and not indefinite and not (definite and len(strange) == 1)
        if any(w in unknown for w in capital):
            return not (
                indefinite
                and words[-1] not in capital
                and words[-1].text not in _WORKS
                and not is_music(words[-1].text)
            )
        if _is_called(words):
            return True
        if indefinite and len(capital) < 2:
            return False
        if lead.strength is Strength.WEAK:
            return len(words) >= 2 and not definite and all(w.capital for w in words)
        return all(w.capital or w.text in ("of", "the", "and") or is_music(w.text) for w in words)

    def _name_end(self, first: int, last: int) -> int:
        """The last word of an unknown name: music talk at its end is not part of it."""
        while last > first and is_music(self._words[last].text) and not self._words[last].capital:
            last -= 1
        return last

    def _before(self, lead: Lead) -> Iterator[Finding]:
        """Who is named right before a phrase such as "type beat"."""
        words, plain = self._words, self._text.plain
        last = next((i for i in range(len(words) - 1, -1, -1) if words[i].end <= lead.at + 1), None)
        if last is None or last in self._licensed:
            return
        if lead.strength in KNOWN_ONLY:
            yield from self._known_before(last, lead)
            return
        beat = (
            plain[lead.at :].lstrip(" -'\")").startswith(("type", "esque", "soundalike", "clone"))
        )
        for start in range(max(0, last - 15), last + 1):
            for hit in self._at.get(start, ()):
                if hit.last != last:
                    continue
                word = words[hit.first]
                several = hit.last > hit.first and all(
                    w.capital for w in words[hit.first : hit.last + 1]
                )
                capital = word.capital and self._text.capitals_mean and (hit.first > 0 or several)
                article = hit.first > 0 and words[hit.first - 1].text in ("the", "a", "an")
                style = plain[lead.at :].lstrip(" -'\")").startswith(("style", "inspired", "like"))
                strong = beat or style or lead.language != "en"
                plain_sound = not word.capital and plain[lead.at :].lstrip(" -").startswith("sound")
                kind_of_beat = plain[lead.at :].lstrip(" -'\")").startswith("type")
                if (
                    hit.reading is SentenceReading.NAME
                    or capital
                    or (kind_of_beat and is_beat_of(self._text, hit))
                    or (style and hit.first == 0 and word.capital and not is_everyday(word.text))
                    or (hit.reading is SentenceReading.WORD and strong and (beat or not article))
                    or (
                        hit.reading is SentenceReading.WORD
                        and not article
                        and hit.form.words == 1
                        and not words[last].text.endswith("s")
                        and not plain_sound
                    )
                ):
                    yield Finding(hit.first, hit.last, hit.form)
                    return
        if self._generic:
            yield from self._unknown_before(last, lead)

    def _known_before(self, last: int, lead: Lead) -> Iterator[Finding]:
        """A known name right before what may follow anything: "Drake lyrics"."""
        for start in range(max(0, last - 15), last + 1):
            for hit in self._at.get(start, ()):
                if hit.last != last or not hit.sure:
                    continue
                word = self._words[hit.first]
                bare = is_bare(self._text, hit)
                first = hit.first == 0 and word.capital and hit.reading is SentenceReading.WORD
                countable = lead.strength is Strength.NAME and bare and hit.exact
                if is_proper(self._text, hit) or first or countable:
                    yield Finding(hit.first, hit.last, hit.form)
                    return

    def _unknown_before(self, last: int, lead: Lead) -> Iterator[Finding]:
        words, plain = self._words, self._text.plain
        if lead.language in vocabulary.languages():
            first = last
            while first > 0 and last - first < 2:
                gap = plain[words[first - 1].end : words[first].start]
                if gap.strip(" -'&."):
                    break
                first -= 1
            found = self._abroad(first, words[first : last + 1], lead)
            if found is not None:
                yield found
            return
        first = last
        while first > 0 and last - first < 3:
            gap = plain[words[first - 1].end : words[first].start]
            previous = words[first - 1]
            if gap.strip(" -'&.") or is_music(previous.text):
                break
            if previous.capital != words[last].capital and is_ordinary(previous.text):
                break
            first -= 1
        run = words[first : last + 1]
        if run[0].text in _DETERMINERS | _INDEFINITE:
            run = run[1:]
            first += 1
        if not run or all(is_music(w.text) for w in run) or last in self._licensed:
            return
        capital = [w for w in run if w.capital and self._text.capitals_mean]
        unknown = [w for w in run if not is_ordinary(w.text)]
        unknown = [w for w in unknown if w.capital or not is_everyday(w.text)]
        german = lead.language == "de" and "style" not in plain[lead.at : lead.at + 8]
        weak = plain[lead.at :].lstrip(" -'\")").split(" ")[0].rstrip(",.") in (
            "vibe", "vibes", "energy", "flow", "sound", "feel", "aesthetic", "mode", "cover",
            "like",
        )  # fmt: skip
        if (unknown and not (weak and not capital) and not (german and not capital)) or (
            len(capital) >= 2 and (first > 0 or len(words) > last + 1) and not weak
        ):
            yield Finding(first, last, None)


def _is_called(words: list[Word]) -> bool:
    """Whether two capitals follow a word for musicians: "my cousin's band The …"."""
    for i, word in enumerate(words):
        after = [w for w in words[i + 1 :] if w.text not in _DETERMINERS]
        if i and word.text in _MUSICIANS and len(after) > 1 and all(w.capital for w in after):
            return any(not is_music(w.text) for w in after)
    return False


def _is_part_of(words: list[Word]) -> bool:
    """Whether words begin with a thing that belongs to something: "the deserts of Arizona"."""
    if len(words) < 3 or words[0].capital or words[0].text in _PERFORMS | _MODIFIERS:
        return False
    return is_ordinary(words[0].text) and words[1].text in _BELONGS


def _is_thing(words: list[Word], lead: Lead, plain: str) -> bool:
    """Whether words of the dictionary in small letters are a thing rather than a name."""
    if any(is_music(w.text) and len(w.text) > 3 for w in words):
        return True
    head = words[-1].text
    if head.endswith("s") or head.endswith(("ing", "ness", "ity", "ism", "tion", "ment", "hood")):
        return True
    return "style" not in plain[lead.start : lead.at] or len(words) > 4

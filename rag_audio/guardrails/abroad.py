"""What stands at a style phrase of a language whose words we know only in part.

``data/policy/words/world.txt`` has the music talk and the commonest things of each. A capital that
begins no such word makes a name; without capitals, or in a script without them, a name is what has
none of those words in it, where hardly anything but music or a name may stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from rag_audio.guardrails.normalise import Word, fold
from rag_audio.guardrails.phrases import Strength
from rag_audio.guardrails.vocabulary import ABROAD, is_music, listed_words, word_set
from rag_audio.resources import data_dir

CASELESS = frozenset(("ar", "fa", "he"))
_ALSO = {"no": "sv", "da": "sv", "ms": "id", "ru-latn": "ru", "el-latn": "el", "ar-latn": "ar"}
"""Languages that are read by another one's words; some are written in Latin letters."""
_STOPS = {
    "ru": "с со на в во и но для под без из от по за где чтобы только",
    "uk": "з із на в у і й та але для під без від по де щоб",
    "el": "με και για αλλά στο στη στην από χωρίς σε να που",
    "pl": "z ze na i a ale dla w we bez o od po gdzie",
    "cs": "s se na a ale pro v ve bez o od po kde",
    "nl": "met en maar voor op in aan zonder bij over",
    "sv": "med och men för på i utan till om av",
    "hu": "és de egy a az hogy nélkül",
    "ro": "cu și si dar pentru pe în in fără la",
    "tr": "ve ile ama için bir",
    "vi": "với và nhưng cho ở có trong trên bằng",
    "id": "dengan dan tapi untuk di pada tanpa yang dalam",
    "ar": "مع و لكن بدون على في من إلى ب",
    "fa": "با و ولی برای در روی بدون از",
    "he": "עם ו אבל בלי על ב ל",
    "fi": "ja mutta kanssa",
    "sr": "sa s na u i ali za bez od po gde gdje",
    "bg": "с със на в и но за без от по",
    "tl": "at na sa pero para may kasama ang",
    "bn": "এবং সাথে",
    "sw": "na ya wa kwa",
}
_ADJECTIVE = {
    "sr": re.compile(r".{3,}(?:skog|skih|ske|nog|nih|ckog)$"),
    "bg": re.compile(r".{3,}(?:ska|ski|sko|na|ni|no)$"),
    "ru": re.compile(r".{3,}(?:ogo|ego|oy|yh|ih|iy|yy|aya|oe|nom|yu)$"),
    "uk": re.compile(r".{3,}(?:ogo|oi|ih|iy|noyu|omu)$"),
    "pl": re.compile(r".{3,}(?:iego|nego|owego|ckiej|skiej|nej|owej|nych|owych|skich|ckich)$"),
    "cs": re.compile(r".{3,}(?:eho|ych|skej|oveho|neho|ske|cke)$"),
    "el": re.compile(r".{4,}(?:ikoy|ikis|ikon|ika)$"),
    "hu": re.compile(r".{3,}(?:beli|kori|zene|zenei)$"),
}
_PREFIXES = {
    "ar": ("وال", "بال", "كال", "لل", "ال", "و", "ب", "ل", "ك"),
    "he": ("וה", "שב", "ה", "ו", "ב", "ל", "מ", "ש", "כ"),
}
_NATIONS = word_set(
    "viet nam bac trung nhat my phap duc anh y an do han quoc nga tay ban nha au chau jazz edm rap "
    "rock pop blues bolero latin hip hop lofi"
)
_SHORT_STEM = 3
_ENDING = 4
_LONGEST = 4
"""Words that a name abroad has at most."""


@dataclass(frozen=True)
class _Talk:
    words: frozenset[str]
    stems: frozenset[str]
    empty: frozenset[str]


@cache
def _lists() -> dict[str, _Talk]:
    found = {
        code: _Talk(listed_words(name), frozenset(), frozenset()) for code, name in ABROAD.items()
    }
    path = data_dir("policy") / "words" / "world.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        language, _, rest = line.partition(":")
        folded = [(word, fold(word.strip("!*")).replace(" ", "")) for word in rest.split()]
        talk = found.get(language.strip(), _Talk(frozenset(), frozenset(), frozenset()))
        found[language.strip()] = _Talk(
            talk.words | {plain for word, plain in folded if not word.endswith("*")},
            talk.stems | {plain for word, plain in folded if word.endswith("*") and len(plain) > 1},
            talk.empty | {plain for word, plain in folded if word.startswith("!")},
        )
    for code, other in _ALSO.items():
        if code in found:
            base = found[other]
            found[other] = _Talk(base.words | found[code].words, base.stems, base.empty)
    return found


@cache
def languages() -> frozenset[str]:
    """Languages that are read here."""
    return frozenset(_STOPS) | frozenset(_ALSO)


@cache
def _stops(language: str) -> frozenset[str]:
    return word_set(" ".join(fold(word) for word in _STOPS.get(language, "").split()))


def words_of(language: str) -> frozenset[str]:
    """The whole words of a language's list, folded: for scripts that are read in runs."""
    return _lists()[language].words


@lru_cache(maxsize=65536)
def is_talk(word: str, language: str) -> bool:
    """Whether a folded word is music talk, or a common thing, in a language."""
    if is_music(word) or word.isdigit():
        return True
    bare = [word]
    for prefix in _PREFIXES.get(language, ()):
        if word.startswith(prefix) and len(word) - len(prefix) >= 2:
            bare.append(word.removeprefix(prefix))
    lists = [_lists()[code] for code in ("all", language) if code in _lists()]
    return any(
        one in talk.words or any(one[:size] in talk.stems for size in _sizes(one))
        for one in bare
        for talk in lists
    )


def _sizes(word: str) -> range:
    """Lengths of stems that a word may have: a short one is no stem of a long word."""
    return range(2 if len(word) <= _SHORT_STEM + _ENDING else _SHORT_STEM + 1, len(word) + 1)


def _is_empty(word: str, language: str) -> bool:
    """Whether a word says nothing about what it stands with: "songs", "the"."""
    talk = _lists().get(language)
    stems = talk.empty if talk is not None else frozenset()
    return any(word[:size] in stems for size in range(3, len(word) + 1))


def named_after(
    words: Sequence[Word], language: str, strength: Strength, capitals: bool
) -> tuple[int, int] | None:
    """The name at the beginning of what follows a phrase: first word, last word; None: none.

    Args:
        capitals: whether capitals mean something in this text.
    """
    language = _ALSO.get(language, language)
    kept = 0
    while kept < len(words) and words[kept].text not in _stops(language):
        kept += 1
    return _named(words[:kept], language, strength, capitals)


def named_before(
    words: Sequence[Word], language: str, strength: Strength, capitals: bool
) -> tuple[int, int] | None:
    """As :func:`named_after`, of the words that stand before a phrase, nearest last."""
    first = len(words)
    while first > max(0, len(words) - 3) and words[first - 1].text not in _stops(language):
        first -= 1
    near = words[first:]
    if capitals and near and near[-1].capital:  # a name's words all have capitals
        while len(near) > 1 and not near[0].capital:
            near, first = near[1:], first + 1
    else:
        near, first = near[-1:], len(words) - len(near[-1:])
    found = _named(near, language, strength, capitals)
    return None if found is None else (first + found[0], first + found[1])


def _is_strange(word: Word, language: str, capitals: bool) -> bool:
    """Whether a word is none of music talk; syllables are words of many meanings in Vietnamese."""
    if language == "vi" and capitals and word.capital:
        return word.text not in _NATIONS
    return not is_talk(word.text, language)


def _named(
    words: Sequence[Word], language: str, strength: Strength, capitals: bool
) -> tuple[int, int] | None:
    strange = [i for i, word in enumerate(words) if _is_strange(word, language, capitals)]
    if not strange or strange[0] >= _LONGEST:
        return None
    first, last = strange[0], strange[0]
    while last + 1 in strange and last - first < _LONGEST:
        last += 1
    with_capitals = [i for i in strange if words[i].capital and capitals]
    if with_capitals and (language not in CASELESS or words[with_capitals[0]].text.isascii()):
        return with_capitals[0], max(last, with_capitals[0])
    if strength is not Strength.STRONG:
        return None
    telling = [
        word.text
        for word in words
        if not _is_empty(word.text, language) and (len(word.text) > 3 or language in CASELESS)
    ]
    if language in CASELESS:
        thing = bool(telling) and (
            is_talk(telling[0], language) or (language == "ar" and telling[0].startswith("ال"))
        )
    else:
        adjective = _ADJECTIVE.get(language)
        thing = any(
            is_talk(word, language) or (adjective is not None and adjective.match(word))
            for word in telling
        )
    return None if thing else (first, last)

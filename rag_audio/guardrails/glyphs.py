"""Which Latin letter a character stands for: look-alikes, styled letters, other alphabets.

The tables state facts of Unicode (names of characters, UTS #39 confusables) in our own selection:
the letters that pass for Latin ones in ordinary fonts. Cyrillic, Greek and Devanagari words that
are no disguise are transliterated instead, so that a name is found in those scripts by its sound.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

_STYLED = re.compile(
    r"(?:LATIN|NEGATIVE CIRCLED LATIN|NEGATIVE SQUARED LATIN|SQUARED LATIN|CIRCLED LATIN|"
    r"PARENTHESIZED LATIN|FULLWIDTH LATIN|TAG LATIN|REGIONAL INDICATOR SYMBOL|MODIFIER LETTER|"
    r"LISU) ?(?:CAPITAL |SMALL )?(?:LETTER )?(?:SMALL CAPITAL |SMALL |CAPITAL |TURNED |REVERSED |"
    r"OPEN |SCRIPT |DOTLESS |LONG |STRETCHED |INSULAR |SIDEWAYS )*([A-Z])(?: WITH .+)?"
)


def _spaced(letters: str) -> list[str]:
    return letters.split()


_LATIN_EXTRAS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i",
    "ŋ": "n", "ə": "e", "ɛ": "e", "ʃ": "s", "ʒ": "z", "Æ": "ae", "Œ": "oe", "Þ": "th", "ẞ": "ss",
    "ſ": "s", "’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "＇": "'", "“": '"', "”": '"',
    "„": '"', "«": '"', "»": '"', "‐": "-", "‑": "-", "–": "-", "—": "-", "−": "-",
    "¢": "c", "©": "c", "®": "r", "™": "tm",
}  # fmt: skip
_LOOK_ALIKES = dict(
    zip(
        # Cyrillic, small and capital; then Greek; Cherokee; Armenian.
        "авсԁеѕіјкӏмнорԛгтухԝзпияшцэйчьёѡүһҽԍ"
        "АВСЕЅІЈКМНОРТУХӀИЯШЦЭЧЬЁҮ"
        "αβγδεζηθικλμνοπρστυφχψωςΑΒΕΖΗΙΚΜΝΟΡΤΥΧΛΣΔΩϲϳ"
        "ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᎾᏢᎡᏚᎢᏙᎳᎩᏃ"
        "աօոսհցյզլքգԱՕՍԼ",
        "abcdesijklmhopqrtyxwznurwueuybeoyheg"
        "abcesijkmhoptyxlnrwueybey"
        "abydeznoiklmvonpstufxwwsabezhikmnoptyxlsdwcj"
        "abcdeghijklmoprstvwyz"
        "aonuhgjqlpgaoul",
        strict=True,
    )
)  # fmt: skip
_TWINS = frozenset("авсԁеѕіјӏорԛухԝһοανρτυχιςᎪᎠᎬᏟᎻᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃօոսАВСЕЅІЈКМНОРТУХӀΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
_TRANSLITERATION = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґαβγδεζηθικλμνξοπρσςτυφχψω",
        _spaced(
            "a b v g d e e zh z i y k l m n o p r s t u f h ts ch sh sch _ y _ e yu ya i i e "
            "g a v g d e z i th i k l m n x o p r s s t y f h ps o"
        ),
        strict=True,
    )
)
_DEVANAGARI = dict(
    zip(
        "अआइईउऊएऐओऔािीुूेैोौॉऑॅकखगघचछजझटठडढतथदधनणपफबभमयरलवशषसहळंँ",
        _spaced(
            "a a i i u u e ai o au a i i u u e ai o au o o e k kh g gh ch chh j jh t th d dh "
            "t th d dh n n p ph b bh m y r l v sh sh s h l n n"
        ),
        strict=True,
    )
)
_KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
_OTHER_ALPHABETS = re.compile("[\u0370-\u052f\u0530-\u058f\u13a0-\u13ff\uab70-\uabbf]")


@lru_cache(maxsize=16384)
def fold_char(char: str) -> str:
    """The plain small letters one character stands for; empty for invisible and combining ones."""
    if char.isascii():
        return char.lower()
    if _KANA.match(char):  # a voicing mark is no accent: it makes another letter
        return unicodedata.normalize("NFKC", char)
    if char in _LATIN_EXTRAS:
        return _LATIN_EXTRAS[char]
    category = unicodedata.category(char)
    if category in ("Cf", "Mn", "Me") and not _is_vowel_sign(char):
        return ""
    if category.startswith("Z") or category == "Cc":
        return " "
    parts = [p for p in unicodedata.normalize("NFKD", char) if not unicodedata.combining(p)]
    return "".join(part.lower() if part.isascii() else _fold_part(part) for part in parts)


def is_other_alphabet(text: str) -> bool:
    """Whether a letter of an alphabet with Latin look-alikes occurs in ``text``."""
    return _OTHER_ALPHABETS.search(text) is not None


def unmask(word: str) -> list[str]:
    """Latin letters for each character of a word that has letters of other alphabets.

    A word that mixes alphabets, or consists of look-alikes only, is a disguise: what it looks
    like counts. Any other word is transliterated.
    """
    bare = "".join(c if is_other_alphabet(c) else fold_char(c) for c in word)
    disguised = any("a" <= c <= "z" for c in bare) or all(c in _TWINS for c in bare)
    return [
        fold_char(char)
        if not is_other_alphabet(char)
        else _LOOK_ALIKES.get(char, char)
        if disguised
        else _TRANSLITERATION.get(_bare(char), _bare(char)).replace("_", "")
        for char in word
    ]


def romanise(text: str) -> list[str]:
    """Latin letters for each Devanagari character of ``text``, the others as they are."""
    return [_DEVANAGARI.get(char, char) for char in text]


def has_devanagari(text: str) -> bool:
    return any("\u0900" <= char <= "\u097f" for char in text)


def _bare(char: str) -> str:
    """A letter in small, without its accent where that is not a letter of its own."""
    small = char.casefold()
    return small if small in _TRANSLITERATION else unicodedata.normalize("NFKD", small)[:1]


@cache
def _is_vowel_sign(char: str) -> bool:
    """Vowel signs of Indic scripts carry sound, unlike accents; so do Arabic letters' forms."""
    name = unicodedata.name(char, "")
    return unicodedata.combining(char) == 0 and any(
        sign in name for sign in ("VOWEL SIGN", "ANUSVARA", "CANDRABINDU", "VISARGA")
    )


def _fold_part(part: str) -> str:
    if part in _LATIN_EXTRAS:
        return _LATIN_EXTRAS[part]
    named = _STYLED.fullmatch(unicodedata.name(part, ""))
    return named.group(1).lower() if named else part

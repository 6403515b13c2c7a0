"""How musical keys are written: note names of several languages, and the wheels of DJ software.

- English: ``A minor``, ``Am``, ``F# major``, ``Bb``, ``E flat minor``, ``Amin``.
- German, Dutch, Nordic, Slavic: ``a-Moll``, ``Cis-Dur``, ``Es``, ``Hm``. ``H`` is always B; ``B``
  is B flat only with ``Dur`` or ``Moll``, since ``B`` and ``Bm`` are English as well.
- French, Italian, Spanish, Portuguese, Russian: ``la mineur``, ``Do# maggiore``, ``sol menor``,
  ``si bémol majeur``, ``ля минор``.
- Japanese, Chinese, Korean: ``イ短調``, ``嬰ヘ短調``, ``A小调``, ``가단조``.
- Camelot wheel (Mixed In Key, rekordbox, Serato): ``8A`` is A minor, ``8B`` C major.
- Open Key (Traktor, beaTunes): ``1m`` is A minor, ``1d`` C major.

Where a text names one key in two ways (``8A/Am``, ``C#m (12A)``, ``D#/Eb minor``) it is that key.
What a tuner adds (``Am +12``, ``Ab -50 cents``) is left out. A letter alone, small or not, is
major. Natural, harmonic and melodic minor and Aeolian are minor, Ionian is major; no other mode is
read.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rag_audio.domain.names import unaccented

_LONGEST = 60
_NOTES = {
    **{"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11, "h": 11},
    **{"do": 0, "ut": 0, "re": 2, "mi": 4, "fa": 5, "sol": 7, "la": 9, "si": 11},
    **{"до": 0, "ре": 2, "ми": 4, "фа": 5, "соль": 7, "ля": 9, "си": 11},
    **{"cis": 1, "dis": 3, "eis": 5, "fis": 6, "gis": 8, "ais": 10, "his": 0},
    **{"ces": 11, "des": 1, "es": 3, "fes": 4, "ges": 6, "as": 8, "bes": 10, "hes": 10},
}
_SHARP = frozenset("# sharp diese diesis sostenido sustenido diez диез".split())
_FLAT = frozenset("b flat bemol bemolle bem бемоль".split())
_GERMAN = frozenset("dur duur duuri moll mol molli".split())
_MAJOR = frozenset(
    ("major maj ma dur duur duuri majeur maggiore magg mayor may maior majore ionian мажор").split()
)
_MINOR = frozenset(
    "minor min mi m moll mol molli mineur minore menor men aeolian минор".split()
).union(f"{kind} minor" for kind in ("natural", "harmonic", "melodic"))


def _one_of(words: frozenset[str] | dict[str, int]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_NAME = re.compile(
    rf"({_one_of(_NOTES)}) ?({_one_of(_SHARP | _FLAT)})? ?({_one_of(_MAJOR | _MINOR)})?"
)
_WHEEL = re.compile(r"0?(\d{1,2}) ?([abdm])", re.IGNORECASE)
_EASTERN = re.compile(
    "(嬰|変|變|升|降|올림|내림)? ?([A-Ga-gハニホヘトイロ다라마바사가나]) ?"
    "(長調|短調|大调|小调|大調|小調|장조|단조)"
)
_EASTERN_NOTES = {
    **dict(zip("ハニホヘトイロ", (0, 2, 4, 5, 7, 9, 11), strict=True)),
    **dict(zip("다라마바사가나", (0, 2, 4, 5, 7, 9, 11), strict=True)),
}
_SPELT = str.maketrans({"♯": "#", "＃": "#", "♭": "b", "♮": "", "_": " "})
_LEADING = re.compile(r"(?:key(?: of)?|in)[ :]+", re.IGNORECASE)
_TUNING = re.compile(r"\s+[+-]\s*\d{1,3}\s*(?:cents?|ct)?$|\s*[+-]\d{1,3}\s*(?:cents?|ct)$")
_BETWEEN = re.compile(r"\s*[/|;,()\[\]=]\s*|\s+[-–—]\s+|\s+(?=\d+[ABabdm]\b)|(?<=\d[ABabdm])\s+")

Reading = tuple[int, bool | None]
"""Pitch class of the tonic, and whether it is minor; None where the text does not say."""


@lru_cache(1024)
def read_key(text: str) -> tuple[int, bool] | None:
    """The tonic, 0 = C … 11 = B, and whether the key is minor; None where ``text`` is no key."""
    spelt = _TUNING.sub("", text.strip().translate(_SPELT))
    if not 0 < len(spelt) <= _LONGEST:
        return None
    spelt = _LEADING.sub("", spelt, count=1)
    whole = _read_one(spelt)
    readings = [whole] if whole else [_read_one(part) for part in _BETWEEN.split(spelt) if part]
    known = [reading for reading in readings if reading is not None]
    if len(known) < len(readings) or not known:
        return None
    modes = {minor for _, minor in known if minor is not None}
    if len(modes) > 1 or len({tonic for tonic, _ in known}) > 1:
        return None
    return known[0][0], modes == {True}


def _read_one(text: str) -> Reading | None:
    wheel = _WHEEL.fullmatch(text)
    if wheel is not None:
        return _on_wheel(int(wheel[1]), wheel[2].lower())
    eastern = _EASTERN.fullmatch(text)
    if eastern is not None:
        return _eastern(*eastern.groups())
    if text.endswith("-"):
        return None  # a minor chord to some
    words = re.sub(r"[-.\s]+", " ", unaccented(text)).strip()
    found = _NAME.fullmatch(words)
    if found is None:
        return None
    note, shift, mode = found.groups()
    tonic = _NOTES[note] + (shift in _SHARP) - (shift in _FLAT)
    if note == "b" and shift is None and mode in _GERMAN:
        tonic -= 1
    minor = None if mode is None else mode in _MINOR
    if mode == "m" and text.rstrip(". ").endswith("M"):
        minor = False  # AM is A major, Am is A minor
    return tonic % 12, minor


def _on_wheel(hour: int, ring: str) -> Reading | None:
    """Both wheels go up a fifth with each hour; Camelot's 8 is Open Key's 1."""
    if not 1 <= hour <= 12:
        return None
    minor = ring in "am"
    fifths = hour - (8 if ring in "ab" else 1)
    return ((9 if minor else 0) + 7 * fifths) % 12, minor


def _eastern(shift: str | None, note: str, mode: str) -> Reading:
    tonic = _EASTERN_NOTES[note] if note in _EASTERN_NOTES else _NOTES[note.lower()]
    tonic += 0 if shift is None else 1 if shift in ("嬰", "升", "올림") else -1
    return tonic % 12, mode in ("短調", "小调", "小調", "단조")

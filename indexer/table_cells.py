"""The cells of ``stems.csv``: what their text says."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from rag_audio.errors import InvalidInput

BPM_RANGE = (20.0, 400.0)
_MAX_CELL = 10_000
_CONTROL = re.compile(r"[\x00-\x08\x0c\x0e-\x1f]")  # \x0b breaks lines within a cell
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_DATE = re.compile(
    r"\d{1,4}[-./ ]+\d{1,2}[-./ ]+\d{2,4}"  # 01.05.2026
    r"|\d+:\d\d.*"  # 5:00 AM
    r"|\d{1,4}[-./ ]+(?!bpm|beat|ish|half|double)[^\W\d]{3,}.*"  # 5-Jan
    r"|(?!bpm|tempo)[^\W\d]{3,}\.?[- ]\d+"  # Mai 92
)
_ERRORS = frozenset(
    (
        "#N/A #REF! #VALUE! #NAME? #DIV/0! #NULL! #NUM! #SPILL! #CALC! #FIELD! #ERROR! "
        "#NV #BEZUG! #WERT! #ZAHL! #NOM? #VALEUR! #NOMBRE? #VALOR! #NOME? #VALORE! #RIF!"
    ).split()
)
_TEMPO = re.compile(
    r"(?:(?:bpm|tempo)\s*[:=]?|(?:♩|1/4)\s*=)?\s*(\d[\d.,]*)\s*"
    r"(?:b\.?\s?p\.?\s?m\.?|beats (?:per|/) min(?:ute)?)?",
    re.IGNORECASE,
)
_QUOTED = re.compile('[“”„‟«»"](.*)[“”„‟«»"]', re.DOTALL)
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"


def unquoted(text: str) -> str:
    """A text without quotation marks and invisible signs around it, as pasted paths have them."""
    if text.isascii() and not text.startswith('"'):
        return text
    text = text.strip(_INVISIBLE).strip()
    quoted = _QUOTED.fullmatch(text)
    return text if quoted is None else quoted[1].strip()


def plain_text(text: str) -> str:
    """Words with one space between them.

    Raises:
        InvalidInput: it is an error of a spreadsheet's formula, too long, or holds control
            characters.
    """
    require_value(text)
    if len(text) > _MAX_CELL or _CONTROL.search(text):
        raise InvalidInput(f"{text[:40]!r} is too long or holds control characters")
    return " ".join(text.strip(_INVISIBLE).split())


def require_value(text: str) -> None:
    """Let a text pass that is not what a spreadsheet writes where a formula fails.

    Raises:
        InvalidInput: it is.
    """
    if text in _ERRORS:
        raise InvalidInput(f"{text!r} is an error of the spreadsheet")


def parse_bpm(text: str) -> float:
    """A tempo in beats per minute, 20…400; ``120``, ``120,5``, ``120 bpm``, ``♩ = 120``.

    Raises:
        InvalidInput: the text is not a number or is out of range.
    """
    low, high = BPM_RANGE
    found = _TEMPO.fullmatch(unquoted(text))
    bpm = _number(text if found is None else found[1], "bpm", text)
    if not low <= bpm <= high:
        raise InvalidInput(f"{text!r} is not a tempo between {low:g} and {high:g}")
    return bpm


def parse_seconds(text: str) -> float:
    """A time from the start of a file, 0…3600 s; ``0.25``, ``0,25``, ``0.25 s``.

    Raises:
        InvalidInput: the text is not a number or is out of range.
    """
    seconds = _number(text, "s")
    if not 0 <= seconds <= 3600:
        raise InvalidInput(f"{text!r} is not a time between 0 and 3600 s")
    return seconds


def parse_tags(text: str) -> tuple[str, ...]:
    """Words between semicolons, each once."""
    return tuple(dict.fromkeys(tag for part in text.split(";") if (tag := " ".join(part.split()))))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'bpm'?`` where a known word is near; else empty."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _number(text: str, unit: str, shown: str = "") -> float:
    """A number with a decimal point or comma, with or without its unit.

    Args:
        shown: in an error, in place of the text.
    """
    bare = unquoted(text).removeprefix("'").casefold().removesuffix(unit).rstrip()
    if _NUMBER.fullmatch(bare) is None:
        if bare.lstrip("+-") in ("nan", "inf", "infinity"):
            raise InvalidInput(f"{text!r} is not a finite number")
        text = shown or text
        is_date = len(bare) < 40 and _DATE.fullmatch(bare) is not None
        made = " (a date or time, perhaps made by a spreadsheet)" if is_date else ""
        raise InvalidInput(f"{text[:40]!r} is not a number{made}")
    number = float(bare.replace(",", "."))
    if not math.isfinite(number):
        raise InvalidInput(f"{text[:40]!r} is not a finite number")
    return number

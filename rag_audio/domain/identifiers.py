"""Codes that name places, recordings, works and parties, checked by their standards' own rules."""

from __future__ import annotations

import re

from rag_audio.errors import InvalidInput

WORLD = "WORLD"
"""The territory that holds all others."""

_ISO_3166_1 = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""

COUNTRIES = frozenset(_ISO_3166_1.split())
"""ISO 3166-1 alpha-2 codes as officially assigned (249)."""

_MEANT = {
    "UK": "the United Kingdom is GB",
    "EU": "name the member states, or WORLD",
    "EL": "Greece is GR",
    "USA": "the United States are US",
    "GER": "Germany is DE",
}
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
_ISWC = re.compile(r"T[0-9]{10}")
_IPI_NAME = re.compile(r"[0-9]{9,11}")
_IPI_BASE = re.compile(r"I[0-9]{10}")


def country(text: str) -> str:
    """An ISO 3166-1 alpha-2 code in capitals.

    Raises:
        InvalidInput: the text is none; the hint says what may have been meant.
    """
    code = text.strip().upper()
    if code not in COUNTRIES:
        hint = _MEANT.get(code, "use ISO 3166-1 alpha-2 codes such as DE, or WORLD")
        raise InvalidInput(f"{text!r} is not a territory", hint=hint)
    return code


def parse_isrc(text: str) -> str:
    """An ISRC (ISO 3901) without hyphens; the standard has no check digit.

    Raises:
        InvalidInput: the text is not one.
    """
    isrc = _bare(text)
    if _ISRC.fullmatch(isrc) is None:
        raise InvalidInput(f"{text!r} is not an ISRC such as QZ-ABC-26-00001")
    return isrc


def parse_iswc(text: str) -> str:
    """An ISWC (ISO 15707) without punctuation: T, nine digits, one check digit.

    The check digit brings ``1 + Σ i·dᵢ`` (i from 1) to a multiple of ten (ISO 15707, annex C).

    Raises:
        InvalidInput: the text is not one, or its check digit is wrong.
    """
    iswc = _bare(text)
    if _ISWC.fullmatch(iswc) is None:
        raise InvalidInput(f"{text!r} is not an ISWC such as T-034.524.680-1")
    if _tenth_digit(iswc[1:10], start=1) != iswc[10]:
        raise InvalidInput(f"{text!r} is not an ISWC: its check digit does not fit")
    return iswc


def parse_ipi(text: str) -> str:
    """An IPI name number (11 digits) or base number (I and 10 digits), without punctuation.

    The last two digits of a name number are ``101 - Σ (11 - i)·dᵢ mod 101`` over the first nine
    (i from 1; a remainder of 0 stays 0, and 100 is written 00). The last digit of a base number
    brings ``2 + Σ i·dᵢ`` to a multiple of ten. (CISAC, Interested Parties Information.)

    Raises:
        InvalidInput: the text is neither, or its check digits are wrong.
    """
    ipi = _bare(text)
    if _IPI_BASE.fullmatch(ipi):
        right = _tenth_digit(ipi[1:10], start=2) == ipi[10]
    elif _IPI_NAME.fullmatch(ipi):
        ipi = ipi.zfill(11)
        rest = sum((10 - i) * int(digit) for i, digit in enumerate(ipi[:9])) % 101
        right = int(ipi[9:]) == ((101 - rest) % 100 if rest else 0)
    else:
        raise InvalidInput(f"{text!r} is not an IPI number such as 00000000199 or I-000000229-7")
    if not right:
        raise InvalidInput(f"{text!r} is not an IPI number: its check digits do not fit")
    return ipi


def _tenth_digit(nine: str, start: int) -> str:
    total = start + sum(i * int(digit) for i, digit in enumerate(nine, start=1))
    return str(-total % 10)


def _bare(text: str) -> str:
    return re.sub(r"[\s.\-]", "", text).upper()

"""``library.toml``: a library's name and the licenses under which its files may be used.

A license that cannot be read exactly is not used at all: a key that was misspelt could have been
the one that limits it. ``territories`` that are not stated are WORLD.
"""

from __future__ import annotations

import difflib
import json
import re
import stat
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from indexer.path_patterns import BadPattern, NamesOnDisk, PathPattern, clean, normalized
from indexer.report import Rejection
from indexer.table_cells import did_you_mean
from indexer.table_text import decode_unicode, other_kind
from indexer.toml_faults import explained
from rag_audio.domain import WORLD, License, Share, Splits, Use
from rag_audio.domain.conflicts import Claim, Conflict, library_of
from rag_audio.domain.identifiers import country, parse_ipi
from rag_audio.domain.songs import split_song
from rag_audio.errors import InvalidInput, LibraryError

LIBRARY_TOML = "library.toml"
MINIMAL = (
    '[library] name = "My Label" [licenses.my-license] holder = "My Label" '
    'spdx = "LicenseRef-My-Label-1" uses = ["prompt", "init_audio"] territories = ["WORLD"]'
)
"""A library.toml in one line of words (each assignment stands on a line of its own)."""

FILL_IN = "FILL IN"
"""What stands in a starter's license for what a person is to write; such a license is not used."""

_MAX_BYTES = 16_000_000

_TABLES = ("library", "licenses", "conflicts")
_LICENSE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SPDX = re.compile(r"[A-Za-z0-9.+() -]+")
_KEYS = tuple(
    (
        "holder spdx uses territories except valid_from valid_until timezone credit "
        "max_similarity splits ipi"
    ).split()
)
_NEEDED = ("holder", "spdx", "uses")


def read_toml(path: Path, place: str = "") -> dict[str, Any]:
    """The document of a ``library.toml``.

    Args:
        place: of the library; by default the file's folder.

    Raises:
        LibraryError: it is missing, not a file, not Unicode or not TOML.
    """
    text = _text(_bytes(path, place or str(path.parent)))
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        fault, line, hint = explained(str(cause), text)
        shown = f": {line!r}" if line else ""
        raise LibraryError(
            f"{LIBRARY_TOML} is not valid TOML: {fault}{shown}", hint=hint
        ) from cause
    except RecursionError as cause:
        raise LibraryError(f"{LIBRARY_TOML} is nested too deeply") from cause
    except ValueError as cause:  # an integer of thousands of digits
        raise LibraryError(f"{LIBRARY_TOML} holds a number that is too long") from cause


def _bytes(path: Path, place: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise LibraryError(f"{LIBRARY_TOML} is {what}", hint="put a text file in its place")
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as cause:
        if path.is_symlink():
            raise LibraryError(f"{LIBRARY_TOML} is a link that leads nowhere") from cause
        raise LibraryError(
            f"{LIBRARY_TOML} is missing in {place!r}", hint=_missing_hint(path.parent)
        ) from cause
    except OSError as cause:
        raise LibraryError(f"{LIBRARY_TOML} cannot be read: {cause.strerror}") from cause
    if len(data) > _MAX_BYTES:
        raise LibraryError(f"{LIBRARY_TOML} is larger than {_MAX_BYTES:,} bytes")
    return data


def _missing_hint(folder: Path) -> str:
    try:
        near = sorted(
            one.name for one in folder.iterdir() if one.name.lower().startswith("library.")
        )
    except OSError:
        near = []
    if near:
        return f"there is {near[0]!r}; save it as text under the name {LIBRARY_TOML}"
    return f"it declares the licenses; the least it holds is: {MINIMAL}"


def _text(data: bytes) -> str:
    what = other_kind(data)
    if what:
        raise LibraryError(f"{LIBRARY_TOML} is not TOML but {what}", hint="save it as plain text")
    text = decode_unicode(data, LIBRARY_TOML)
    if text is None:
        lines = data.splitlines()
        number = next(at for at, line in enumerate(lines, 1) if not _is_utf8(line))
        raise LibraryError(
            f"{LIBRARY_TOML}, line {number} is not UTF-8 text: {lines[number - 1][:60]!r}",
            hint="save it as UTF-8",
        )
    if not text.strip():
        what = "empty or not UTF-8 text" if data.strip() else "empty"
        raise LibraryError(f"{LIBRARY_TOML} is {what}", hint=f"the least it holds is: {MINIMAL}")
    if "\0" in text:
        # Never read without them: what is missing may have limited a license.
        number = 1 + len(re.findall(r"\r\n|\r|\n", text[: text.index("\0")]))
        raise LibraryError(
            f"{LIBRARY_TOML}, line {number} holds NUL characters, as a crash of the machine leaves "
            "them",
            hint="compare it with a copy and delete them: a line that limits a license may be lost",
        )
    # TOML knows line feeds only; the editors of older Macs end lines with carriage returns.
    return text if "\n" in text else text.replace("\r", "\n")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def identity(document: Mapping[str, Any]) -> tuple[str, str]:
    """The library's name and id.

    Raises:
        LibraryError: it has no usable name.
    """
    table = document.get("library")
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(name, str) or not name.strip():
        got = "" if table is None else f": [library] is {table!r}"
        if isinstance(table, dict):
            got = f": name must be text, got {name!r}" if "name" in table else ""
        raise LibraryError(
            f"{LIBRARY_TOML} has no [library] name{got[:200]}", hint=f"as in: {MINIMAL}"
        )
    given = table.get("id", name)
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise LibraryError(
            f"{LIBRARY_TOML}: [library] id must be text, got {given!r}",
            hint='as in id = "my-label"',
        )
    library = re.sub(r"[^\w]+", "-", str(given).casefold()).strip("-")
    if not library:
        what = f"the id {given!r}" if "id" in table else f"the name {name!r}"
        raise LibraryError(
            f"{LIBRARY_TOML}: no id can be made from {what}",
            hint='give [library] an id, such as id = "my-label"',
        )
    return " ".join(name.split()), library


def license_tables(document: Mapping[str, Any]) -> dict[str, Any]:
    """The ``[licenses.ID]`` tables by id.

    Raises:
        LibraryError: there is none.
    """
    tables = document.get("licenses")
    is_one = isinstance(tables, dict) and "holder" in tables and tables.keys() <= set(_KEYS)
    if isinstance(tables, dict) and tables and not (is_one and isinstance(tables["holder"], str)):
        return tables
    if isinstance(tables, dict) and tables:
        why = "its keys stand in [licenses] itself"
    elif isinstance(tables, list):
        why = "[[licenses]] is a list of tables"
    elif tables:
        why = f"licenses is {tables!r}"[:200]
    else:
        near = difflib.get_close_matches("licenses", [key.casefold() for key in document], 1, 0.7)
        why = next((f"[{key}] is not known" for key in document if key.casefold() in near), "")
    if why:
        raise LibraryError(
            f"{LIBRARY_TOML} declares no license: {why}",
            hint="each license is a table of its own with an id: [licenses.my-license]",
        )
    raise LibraryError(f"{LIBRARY_TOML} declares no license", hint=f"as in: {MINIMAL}")


def unknown_keys(document: Mapping[str, Any]) -> list[Rejection]:
    """What stands in the document outside of the licenses and is not read."""
    unknown = [
        (f"[{key}]" if isinstance(value, dict | list) else repr(key), did_you_mean(key, _TABLES))
        for key, value in document.items()
        if key not in _TABLES
    ]
    unknown += [
        (f"{key!r} in [library]", did_you_mean(key, ("name", "id")))
        for key in document["library"]
        if key not in ("name", "id")
    ]
    return [
        Rejection(LIBRARY_TOML, f"{key} is not known and was ignored{meant}")
        for key, meant in unknown
    ]


def parse_license(id_: str, library: str, table: object) -> License:
    """One ``[licenses.ID]`` table.

    Raises:
        InvalidInput: any part of it is wrong; the message quotes it.
    """
    if _LICENSE_ID.fullmatch(id_) is None:
        raise InvalidInput(f"its id {id_!r} may hold letters, digits, '.', '_' and '-' only")
    if not isinstance(table, dict):
        raise InvalidInput(f"[licenses.{id_}] must be a table, got {table!r}"[:200])
    for key, value in table.items():
        if key not in _KEYS:
            if isinstance(value, dict) and "holder" in value:
                raise InvalidInput(
                    f'an id with a dot is written in quotation marks: [licenses."{id_}.{key}"]'
                )
            meant = did_you_mean(key, _KEYS) or f"; known are {', '.join(_KEYS)}"
            raise InvalidInput(f"the key {key!r} is not known{meant}")
    empty = [key for key, value in table.items() if value in (FILL_IN, [FILL_IN])]
    if empty:
        raise InvalidInput(f"fill in its {', '.join(empty)}: until then it grants nothing")
    missing = [key for key in _NEEDED if key not in table]
    if missing:
        raise InvalidInput(f"{' and '.join(missing)} is missing")
    spdx = _string(table, "spdx")
    if _SPDX.fullmatch(spdx) is None:
        raise InvalidInput(f"spdx {spdx!r} is not an SPDX id or LicenseRef-…")
    territories, excluded = _territories(table)
    made = License(
        id=id_,
        library=library,
        holder=_string(table, "holder"),
        spdx=spdx,
        uses=frozenset(_use(text) for text in _strings(table, "uses")),
        territories=territories,
        excluded=excluded,
        valid_from=_moment(table, "valid_from"),
        valid_until=_moment(table, "valid_until"),
        timezone=_string(table, "timezone") if "timezone" in table else "UTC",
        credit=_string(table, "credit") if "credit" in table else "",
        max_similarity=_similarity(table.get("max_similarity", 1.0)),
        splits=_splits(table.get("splits", {})),
        ipi=_ipi("ipi", _string(table, "ipi")) if "ipi" in table else "",
    )
    if made.starts is not None and made.ends is not None and made.ends <= made.starts:
        raise InvalidInput(f"valid_until {made.valid_until} is before valid_from {made.valid_from}")
    return made


def _string(table: Mapping[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str) or (not value.strip() and key != "credit"):
        raise InvalidInput(f"{key} must be text, got {value!r}")
    return " ".join(value.split())


def _strings(table: Mapping[str, Any], key: str) -> list[str]:
    values = table[key]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        like = f", as in {key} = [{json.dumps(values)}]" if isinstance(values, str) else ""
        raise InvalidInput(f"{key} must be a list of texts, got {values!r}{like}")
    return [value.strip() for value in values]


def _use(text: str) -> Use:
    try:
        return Use(text)
    except ValueError as cause:
        allowed = ", ".join(Use)
        meant = did_you_mean(text.casefold(), [use.value for use in Use])
        raise InvalidInput(f"uses holds {text!r}; allowed are {allowed}{meant}") from cause


def _territories(table: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Where it holds, and what is taken out of that again (``-US``, or the key ``except``)."""
    texts = _strings(table, "territories") if "territories" in table else [WORLD]
    excluded = [text[1:] for text in texts if text.startswith("-")]
    codes = [text for text in texts if not text.startswith("-")]
    if not codes:
        raise InvalidInput('territories is empty; ["WORLD"] means everywhere')
    excluded += _strings(table, "except") if "except" in table else []
    return (
        frozenset(_code(text, "territories") for text in codes),
        frozenset(_code(text, "the list of excluded territories") for text in excluded),
    )


def _code(text: str, where: str) -> str:
    if text.upper() == WORLD and where == "territories":
        return WORLD
    try:
        return country(text)
    except InvalidInput as fault:
        raise InvalidInput(f"{where} holds {text!r}: {fault.hint}") from fault


def _moment(table: Mapping[str, Any], key: str) -> date | None:
    """A day, or a date-time with its offset; a license refuses one without."""
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            value = date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
        except ValueError as cause:
            raise InvalidInput(
                f"{key} {value!r} is not a day like 2030-12-31{_as_day(text)}"
            ) from cause
    if not isinstance(value, date):
        raise InvalidInput(f"{key} {value!s} is not a day like 2030-12-31")
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise InvalidInput(
            f"{key} {value.isoformat()} has no time zone; write its offset, such as "
            f"{value.isoformat()}+01:00, or a bare day"
        )
    return value


def _as_day(text: str) -> str:
    """What is advised in place of ``31.12.2030``; nothing where day and month may be either."""
    found = re.fullmatch(r"(\d{1,2})([./-])\s?(\d{1,2})[./-]\s?(\d{4})", text)
    if found is None:
        return ""
    first, second, year = int(found[1]), int(found[3]), int(found[4])
    if found[2] == "." or first > 12:
        day, month = first, second
    elif second > 12:
        day, month = second, first
    else:
        return ""
    return f"; did you mean {year}-{month:02}-{day:02}?" if month <= 12 and day <= 31 else ""


def _splits(table: object) -> Splits:
    if not isinstance(table, dict):
        raise InvalidInput(f"splits must be a table, got {table!r}")
    for kind in table:
        if kind not in ("master", "composition"):
            raise InvalidInput(f"splits holds {kind!r}; it may hold master and composition")
    return Splits(**{kind: _shares(kind, parties) for kind, parties in table.items()})


def _shares(kind: str, parties: object) -> tuple[Share, ...]:
    """``{"Holder" = 0.5, …}``, or ``{"Holder" = {share = 0.5, ipi = "…"}, …}``."""
    if not isinstance(parties, dict) or not parties:
        raise InvalidInput(f"splits.{kind} must be a table of holders and shares, got {parties!r}")
    shares = []
    for holder, given in parties.items():
        more = given if isinstance(given, dict) else {"share": given}
        share, ipi = more.get("share"), more.get("ipi", "")
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise InvalidInput(f"splits.{kind}: the share of {holder!r} is {share!r}, no number")
        if set(more) - {"share", "ipi"} or not isinstance(ipi, str) or not holder.strip():
            raise InvalidInput(f"splits.{kind}: {holder!r} may have share and ipi, got {given!r}")
        name = " ".join(holder.split())
        shares.append(
            Share(
                name, float(share), _ipi(f"splits.{kind}: the ipi of {name!r}", ipi) if ipi else ""
            )
        )
    return tuple(shares)


def _ipi(where: str, text: str) -> str:
    try:
        return parse_ipi(text)
    except InvalidInput as fault:
        raise InvalidInput(f"{where}: {fault.message}") from fault


def _similarity(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidInput(f"max_similarity must be 0…1, got {value!r}")
    return float(value)


# ``[conflicts]`` of ``library.toml``: which license holds where the same bytes lie under several.
#
# ``"pack/loop.wav" = "nightshift-2026"`` says so of one file; the left side is a pattern as in
# ``stems.csv``, and the last one that matches a path counts. A license of another library is
# written ``library/license``: this library then gives way to it.

CONFLICTS = "conflicts"
_KEY = re.compile(r"[^/\s]+/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ConflictDecision:
    """One line of ``[conflicts]``.

    Attributes:
        pattern: cleaned glob.
        key: of the license that holds.
        meant: what the pattern means where it is known which names lie in the library.
    """

    pattern: str
    key: str
    meant: PathPattern | None = field(default=None, compare=False)

    @cached_property
    def _meaning(self) -> PathPattern:
        return self.meant or PathPattern(self.pattern)

    def matches(self, path: str) -> bool:
        return self._meaning.matches(normalized(path))


def decision_on(decisions: Iterable[ConflictDecision], path: str) -> str:
    """The key of the license that holds for a path; empty where nothing is said of it."""
    file, _ = split_song(path)
    found = [one.key for one in decisions if one.matches(file)]
    return found[-1] if found else ""


def read_decisions(
    document: Mapping[str, Any], library: str, licenses: Collection[str], names: NamesOnDisk
) -> tuple[tuple[ConflictDecision, ...], list[Rejection]]:
    """The lines of ``[conflicts]`` that can be used, and what is wrong with the others.

    Args:
        names: of what lies in the library.
        licenses: ids of the library's own licenses that can be used.
    """
    table = document.get(CONFLICTS, {})
    if not isinstance(table, dict):
        return (), [_fault(f"{CONFLICTS} must be a table of paths and licenses, got {table!r}")]
    decisions, problems = [], []
    for path, license in table.items():
        try:
            pattern, key = clean(path), _key(license, library, licenses)
            decisions.append(ConflictDecision(pattern, key, names.meaning_of(pattern)))
        except BadPattern as fault:
            problems.append(_fault(f"the path {path!r} {fault}"))
        except ValueError as fault:
            problems.append(_fault(f"{path!r}: {fault}"))
    return tuple(decisions), problems


def idle_decisions(
    decisions: Iterable[ConflictDecision],
    claims: Mapping[str, tuple[str, Claim]],
    conflicts: Mapping[str, Conflict],
) -> list[Rejection]:
    """Decisions that match no file, or name a license under which no file has the bytes.

    Args:
        claims: of the library's files by path, each with the id of the stem.
    """
    problems = []
    for decision in decisions:
        matched = [path for path in claims if decision.matches(path)]
        if not matched:
            problems.append(_fault(f"{decision.pattern!r} matches no licensed file"))
        lost = [path for path in sorted(matched) if not _counts(decision, *claims[path], conflicts)]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            problems.append(
                _fault(
                    f"{decision.pattern!r}: no file has the bytes of {lost[0]}{more} under license "
                    f"{decision.key!r}"
                )
            )
    return problems


def _counts(
    decision: ConflictDecision, stem: str, claim: Claim, conflicts: Mapping[str, Conflict]
) -> bool:
    if claim.decision != decision.key:
        return True  # a later line decides about this path
    conflict = conflicts.get(stem)
    return decision.key in ({claim.key} if conflict is None else conflict.keys)


def _key(license: object, library: str, licenses: Collection[str]) -> str:
    if isinstance(license, dict):
        raise ValueError('a path with a dot needs quotes, such as "pack/loop.wav" = "my-license"')
    if not isinstance(license, str) or not license.strip():
        raise ValueError(f"the license that holds must be text, got {license!r}")
    named = license.strip()
    if "/" in named and library_of(named) != library:
        if _KEY.fullmatch(named) is None:
            raise ValueError(f"{named!r} is not library/license")
        return named
    id_ = named.rpartition("/")[2]
    if id_ not in licenses:
        meant = did_you_mean(id_, licenses)
        raise ValueError(f"license {id_!r} is none of this library that can be used{meant}")
    return f"{library}/{id_}"


def _fault(text: str) -> Rejection:
    return Rejection(LIBRARY_TOML, f"[{CONFLICTS}] {text}")

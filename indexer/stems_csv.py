"""``stems.csv``: which file has which license, and what is known about it.

Paths are patterns: ``*`` within a folder, ``**`` across folders, ``?``, ``[…]``.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from indexer.report import Rejection
from rag_audio.domain import Key
from rag_audio.domain.identifiers import parse_isrc, parse_iswc
from rag_audio.errors import InvalidInput, LibraryError

STEMS_CSV = "stems.csv"
BPM_RANGE = (20.0, 400.0)
_MAX_CELL = 10_000


@dataclass(frozen=True)
class Metadata:
    """What is said of a file in a table or in its own tags; what is not said is None or empty."""

    artist: str = ""
    title: str = ""
    bpm: float | None = None
    key: Key | None = None
    tags: tuple[str, ...] = ()
    isrc: str = ""
    iswc: str = ""
    downbeat_s: float | None = None


COLUMNS = ("path", "license", *(one.name for one in fields(Metadata)))
"""The columns that are read; ``path`` and ``license`` must be there."""


@dataclass(frozen=True, kw_only=True)
class StemRow(Metadata):
    """One row of ``stems.csv``.

    Attributes:
        number: line of the file where the row ends, counted from 1 with the header.
        pattern: cleaned glob.
        fault: why the row cannot be used; None when it can. A file whose last row has a fault is
            not indexed: an earlier, wider row must not take over by a typing error.
    """

    number: int
    pattern: str
    license: str = ""
    fault: str | None = None


@dataclass
class RowsRead:
    """The rows of a ``stems.csv`` and what was wrong with it."""

    rows: list[StemRow] = field(default_factory=list)
    problems: list[Rejection] = field(default_factory=list)


def read_rows(path: Path) -> RowsRead:
    """Read ``stems.csv``; a faulty row is reported and the others are kept.

    Raises:
        LibraryError: the file is missing, not UTF-8, not CSV, or lacks a needed column.
    """
    read = RowsRead()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            taken: list[str] = []
            lines = csv.reader(_remembering(file, taken), strict=True)
            header = [cell.strip() for cell in next(lines, [])]
            _check_header(header, read)
            while True:
                taken.clear()
                try:
                    cells = next(lines)
                except StopIteration:
                    break
                except csv.Error as fault:
                    _add_broken_row(header, taken, lines.line_num, fault, read)
                    continue
                if any(cell.strip() for cell in cells):
                    _add_row(header, cells, lines.line_num, read)
    except FileNotFoundError as cause:
        raise LibraryError(
            f"{STEMS_CSV} is missing in {str(path.parent)!r}",
            hint="it maps files to licenses; its first lines may be: "
            "path,license,artist,title / **,my-license,My Band,",
        ) from cause
    except OSError as cause:
        raise LibraryError(f"{STEMS_CSV} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise LibraryError(
            f"{STEMS_CSV} is not UTF-8 text (byte {cause.object[cause.start]:#04x})",
            hint="save it again as 'CSV UTF-8'",
        ) from cause
    except csv.Error as cause:
        raise LibraryError(f"{STEMS_CSV}, line {lines.line_num}: {cause}") from cause
    return read


def _remembering(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    """The lines, each also added to ``taken`` when the reader takes it."""
    for line in lines:
        taken.append(line)
        yield line


def _add_broken_row(
    header: list[str], taken: list[str], number: int, fault: csv.Error, read: RowsRead
) -> None:
    """A row whose quotes do not fit: the files it names are not indexed, the other rows stand.

    Raises:
        csv.Error: it cannot be told which files it names, so that none of them would be safe.
    """
    first = taken[0].partition(",")[0].strip() if len(taken) == 1 else ""
    if header[0] != "path" or not first or '"' in first or "end of data" in str(fault):
        raise fault
    said = f"row {number} is not CSV: {fault}"
    try:
        row = StemRow(number=number, pattern=clean(first), fault=said)
    except BadPattern as bad:
        said = f"row {number}, column 'path': {first!r} {bad}"
    else:
        read.rows.append(row)
    read.problems.append(Rejection(STEMS_CSV, said))


def _check_header(header: list[str], read: RowsRead) -> None:
    for column in ("path", "license"):
        if column not in header:
            near = difflib.get_close_matches(column, header, 1)
            hint = f"is {near[0]!r} meant to be it?" if near else f"columns: {','.join(COLUMNS)}"
            if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
                hint = "the columns are to be separated by commas, not by semicolons or tabs"
            raise LibraryError(f"{STEMS_CSV}, row 1: there is no column {column!r}", hint=hint)
    for column in sorted(set(header)):
        if header.count(column) > 1 and column:
            raise LibraryError(f"{STEMS_CSV}, row 1: the column {column!r} is there twice")
        if column and column not in COLUMNS:
            meant = did_you_mean(column, COLUMNS) or f"; known are {', '.join(COLUMNS)}"
            reason = f"row 1: the column {column!r} is not known and was ignored{meant}"
            read.problems.append(Rejection(STEMS_CSV, reason))


def _add_row(header: list[str], cells: list[str], number: int, read: RowsRead) -> None:
    by_column = dict(zip(header, (cell.strip() for cell in cells), strict=False))
    pattern = by_column.get("path", "")
    try:
        cleaned = clean(pattern)
    except BadPattern as fault:
        reason = f"row {number}, column 'path': {pattern!r} {fault}"
        read.problems.append(Rejection(STEMS_CSV, reason))
        return
    row = _parsed(number, cleaned, by_column, surplus=len(cells) > len(header))
    if row.fault is not None:
        read.problems.append(Rejection(STEMS_CSV, row.fault))
    read.rows.append(row)


def _parsed(number: int, pattern: str, cells: dict[str, str], *, surplus: bool) -> StemRow:
    row = StemRow(number=number, pattern=pattern, license=cells.get("license", ""))
    if surplus:
        fault = f"row {number} has more cells than the header; quote a cell that holds a comma"
        return replace(row, fault=fault)
    said = {}
    for column, parse in _PARSERS.items():
        try:
            if cells.get(column):
                said[column] = parse(cells[column])
        except InvalidInput as error:
            return replace(row, fault=f"row {number}, column {column!r}: {error.message}")
    return replace(row, **said)


def parse_bpm(text: str) -> float:
    """A tempo in beats per minute, 20…400.

    Raises:
        InvalidInput: the text is not a number or is out of range.
    """
    low, high = BPM_RANGE
    bpm = _number(text)
    if not low <= bpm <= high:
        raise InvalidInput(f"{text!r} is not a tempo between {low:g} and {high:g}")
    return bpm


def parse_tags(text: str) -> tuple[str, ...]:
    """Words between semicolons, each once."""
    return tuple(dict.fromkeys(tag for part in text.split(";") if (tag := " ".join(part.split()))))


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not 0 <= seconds <= 3600:
        raise InvalidInput(f"{text!r} is not a time between 0 and 3600 s")
    return seconds


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError as cause:
        raise InvalidInput(f"{text!r} is not a number") from cause
    if not math.isfinite(number):
        raise InvalidInput(f"{text!r} is not a finite number")
    return number


def _text(text: str) -> str:
    if len(text) > _MAX_CELL or any(ord(sign) < 32 and sign not in "\t\r\n" for sign in text):
        raise InvalidInput(f"{text[:40]!r} is too long or holds control characters")
    return " ".join(text.split())


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "artist": _text,
    "title": _text,
    "bpm": parse_bpm,
    "key": Key.parse,
    "tags": parse_tags,
    "isrc": parse_isrc,
    "iswc": parse_iswc,
    "downbeat_s": _seconds,
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'bpm'?`` where a known word is near; else empty."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


class BadPattern(ValueError):
    """The pattern could match nothing inside a library."""


def normalized(path: str) -> str:
    """A path as patterns see it: Unicode NFC, for file systems differ in how they store accents."""
    return unicodedata.normalize("NFC", path)


def clean(pattern: str) -> str:
    """The pattern as written in ``stems.csv``, made comparable with POSIX paths below the root.

    Raises:
        BadPattern: it is empty, absolute or leads out of the library.
    """
    text = normalized(pattern.strip()).replace("\\", "/")
    if not text:
        raise BadPattern("is empty")
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise BadPattern("is absolute; paths are relative to the library's root")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadPattern("leads out of the library with '..'")
    if not parts:
        raise BadPattern("names the root itself; '**' means every file")
    return "/".join(parts) + ("/**" if text.endswith("/") else "")


def is_literal(pattern: str) -> bool:
    """Whether the pattern has no wildcard, so that it can match one path only."""
    return not any(sign in pattern for sign in "*?[")


def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression for a cleaned pattern; it must match the whole path."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:[^/]+/)*")
            at += 3
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        else:
            text, at = _literal_or_class(pattern, at)
            out.append(text)
    return re.compile("".join(out), re.DOTALL)


def _literal_or_class(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "[":
        # As in the shell: a ']' right after the bracket (or its '!') belongs to the class.
        start = at + 1 + pattern.startswith("!", at + 1)
        end = pattern.find("]", start + 1)
        if end > start and "/" not in pattern[start:end]:
            negated = "^/" if start == at + 2 else ""
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", pattern[start:end])
            if _compiles(f"[{negated}{inside}]"):
                return f"[{negated}{inside}]", end + 1
    return re.escape(pattern[at]), at + 1


def _compiles(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True

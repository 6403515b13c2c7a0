"""``stems.csv``: which file has which license, and what is known about it.

A cell that cannot be read is told with its row, column and text. Where it only states a fact
(tempo, key, title, a code) the row stands without it. Where it bears on rights (the license, the
artist, the path, or a row with more cells than the header) the row's files are not indexed.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from indexer.path_patterns import BadPattern, clean
from indexer.report import Notice, Rejection
from indexer.table_cells import (
    did_you_mean,
    parse_bpm,
    parse_seconds,
    parse_tags,
    plain_text,
    require_value,
    unquoted,
)
from indexer.table_rows import Table, TableHeader, TableRow
from indexer.table_text import MAX_BYTES, SAVE_AGAIN, TableText, decode_table
from rag_audio.domain import Key
from rag_audio.domain.identifiers import parse_isrc, parse_iswc
from rag_audio.errors import InvalidInput, LibraryError

STEMS_CSV = "stems.csv"
MOST_TOLD = 20
"""Cells of one column that are told one by one; of the others, how many there are."""

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_MEASURED = ("bpm", "key", "downbeat_s")


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
        fault: why the row cannot be used; None when it can. A file for which such a row counts is
            not indexed: a wider row must not take over by a typing error.
        unread: columns whose cell cannot be read. It is as if unknown: a wider row's value does not
            take its place.
    """

    number: int
    pattern: str
    license: str = ""
    fault: str | None = None
    unread: frozenset[str] = frozenset()


@dataclass
class RowsRead:
    """The rows of a ``stems.csv``.

    Attributes:
        problems: what was not read of it, so that files are not indexed, or a column is ignored.
        notices: what was odd, and was read all the same or is measured.
    """

    rows: list[StemRow] = field(default_factory=list)
    problems: list[Rejection] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def read_rows(path: Path, place: str = "") -> RowsRead:
    """Read ``stems.csv``; a faulty row is reported and the others are kept.

    Args:
        place: of the library; by default the file's folder.

    Raises:
        LibraryError: the file is missing, no text, not CSV, or lacks a needed column.
    """
    return _Reading(decode_table(_bytes(path, place or str(path.parent)), STEMS_CSV)).read()


def _bytes(path: Path, place: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise LibraryError(f"{STEMS_CSV} is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as cause:
        if path.is_symlink():
            raise LibraryError(f"{STEMS_CSV} is a link that leads nowhere") from cause
        raise LibraryError(
            f"{STEMS_CSV} is missing in {place!r}", hint=_missing_hint(path.parent)
        ) from cause
    except OSError as cause:
        raise LibraryError(f"{STEMS_CSV} cannot be read: {cause.strerror}") from cause
    if len(data) > MAX_BYTES:
        raise LibraryError(f"{STEMS_CSV} is larger than {MAX_BYTES:,} bytes")
    return data


def _missing_hint(folder: Path) -> str:
    try:
        near = sorted(one.name for one in folder.iterdir() if one.name.lower().startswith("stems."))
    except OSError:
        near = []
    if near:
        return f"there is {near[0]!r}; save it as 'CSV UTF-8' under the name {STEMS_CSV}"
    return (
        "it maps files to licenses; its first lines may be: "
        "path,license,artist,title / **,my-license,My Band,"
    )


class _Reading:
    """One ``stems.csv`` while it is read."""

    def __init__(self, source: TableText) -> None:
        self._source = source
        self._table = Table(source.text, STEMS_CSV, ("path", "license"))
        self._columns = [
            _SPACELESS.get(name.replace("_", ""), name) for name in self._table.header.columns
        ]
        self._read = RowsRead()
        self._unread: Counter[str] = Counter()
        self._cells_of_rows = 0
        self._example = ""

    def read(self) -> RowsRead:
        header = self._table.header
        _check_header(header, self._columns, self._read)
        if header.above:
            what = "1 row" if header.above == 1 else f"{header.above} rows"
            self._say(f"row {header.number} names the columns; {what} above it not read")
        row: TableRow | None = None
        for row in self._table.rows():
            self._cells_of_rows += row.was_cell
            if self._source.guessed and not self._example:
                self._example = self._first_guess(row)
            self._add(row)
        for column, count in self._unread.items():
            if count > MOST_TOLD:
                self._say(f"column {column!r}: {count - MOST_TOLD:,} more cells cannot be read")
        if self._cells_of_rows:
            self._say(
                f"{_rows(self._cells_of_rows)} in one cell each, as a spreadsheet with another "
                "delimiter writes them, and split"
            )
        if self._source.padding:
            self._end_at_padding(row)
        if self._source.guessed:
            self._say(
                f"{_rows(len(self._source.guessed))} not in UTF-8 and read as "
                f"{self._source.code_page}{self._example}; if that is wrong, {SAVE_AGAIN}"
            )
        return self._read

    def _end_at_padding(self, last: TableRow | None) -> None:
        """Say that NUL characters follow the table; a row that they cut off is not used."""
        count, is_cut = self._source.padding, not self._source.text.endswith(("\n", "\r"))
        end = "" if last is None else f"; row {last.number} is the last one"
        what = "1 NUL character" if count == 1 else f"{count:,} NUL characters"
        self._say(
            f"{what} at its end left out, as a crash of the machine leaves them{end}: compare the "
            "table with a copy of it"
        )
        rows = self._read.rows
        if last is None or not is_cut or not rows or rows[-1].number != last.number:
            return
        if rows[-1].fault is None and len(last.cells) < len(self._table.header.columns):
            fault = f"row {last.number} is cut off by NUL characters"
            rows[-1] = replace(rows[-1], fault=fault)
            self._read.problems.append(Rejection(STEMS_CSV, fault))

    def _say(self, text: str) -> None:
        self._read.notices.append(Notice(STEMS_CSV, text))

    def _first_guess(self, row: TableRow) -> str:
        """The first cell that was decoded by a guess, for a person to look at."""
        if self._source.guessed.isdisjoint(range(row.start, row.number + 1)):
            return ""
        cells = zip(self._columns, row.cells, strict=False)
        for column, cell in cells:
            if not cell.isascii():
                return f": row {row.number}, column {column!r} is {cell[:60]!r}"
        return ""

    def _add(self, row: TableRow) -> None:
        header, number = self._columns, row.number
        cells = dict(zip(header, row.cells, strict=False))
        if row.fault is not None and header[0] != "path":
            raise LibraryError(f"{STEMS_CSV}, line {number}: {row.fault}")
        pattern = cells.get("path", "")
        try:
            cleaned = clean(unquoted(pattern))
        except BadPattern as fault:
            reason = f"row {number}, column 'path': {pattern[:200]!r} {fault}"
            self._read.problems.append(Rejection(STEMS_CSV, reason))
            return
        license = unquoted(cells.get("license", ""))
        made = StemRow(number=number, pattern=cleaned, license=license)
        if row.fault is not None:
            made = replace(made, fault=f"row {number} is not CSV: {row.fault}")
        elif len(row.cells) > len(header):
            delimiter = _DELIMITERS.get(self._table.header.delimiter, "delimiter")
            more = f"row {number} has more cells than the header; quote a cell that holds a "
            made = replace(made, fault=more + delimiter)
        else:
            made = self._with_facts(made, cells)
        if made.fault is not None:
            self._read.problems.append(Rejection(STEMS_CSV, made.fault))
        self._read.rows.append(made)

    def _with_facts(self, row: StemRow, cells: Mapping[str, str]) -> StemRow:
        said: dict[str, Any] = {}
        unread: set[str] = set()
        for column, parse in _PARSERS.items():
            text = cells.get(column, "")
            try:
                if text:
                    require_value(text)
                    said[column] = parse(text)
            except InvalidInput as error:
                told = f"row {row.number}, column {column!r}: {error.message}"
                if column == "artist":
                    return replace(row, fault=told)
                unread.add(column)
                self._unread[column] += 1
                if self._unread[column] <= MOST_TOLD:
                    done = "it is measured" if column in _MEASURED else "it is left out"
                    self._say(f"{told}; {done}")
        return replace(row, **said, unread=frozenset(unread))


def _rows(count: int) -> str:
    return "1 row was" if count == 1 else f"{count:,} rows were"


def _check_header(header: TableHeader, columns: Sequence[str], read: RowsRead) -> None:
    number = max(header.number, 1)
    for column in ("path", "license"):
        if column not in columns:
            near = difflib.get_close_matches(column, columns, 1)
            near += [one for one in columns if _MEANT.get(one) == column]
            hint = f"is {near[0]!r} meant to be it?" if near else _FIRST_ROW
            raise LibraryError(
                f"{STEMS_CSV}, row {number}: there is no column {column!r}", hint=hint
            )
    for column in sorted(set(columns)):
        if columns.count(column) > 1 and column:
            raise LibraryError(f"{STEMS_CSV}, row {number}: the column {column!r} is there twice")
    for column, name in sorted(zip(columns, header.names, strict=True)):
        if column and column not in COLUMNS:
            near_name = f"; did you mean {_MEANT[column]!r}?" if column in _MEANT else ""
            meant = near_name or did_you_mean(column, COLUMNS)
            meant = meant or f"; known are {', '.join(COLUMNS)}"
            reason = f"row {number}: the column {name!r} is not known and was ignored{meant}"
            read.problems.append(Rejection(STEMS_CSV, reason))


def _unnamed(kind: str, text: str) -> str:
    """A code without its name before it."""
    bare = unquoted(text)
    return re.sub(rf"{kind}[\s:]+", "", bare, count=1, flags=re.I) if bare[4:5] in " :" else bare


_FIRST_ROW = f"a row names the columns: {','.join(COLUMNS)}"
_SPACELESS = {name.replace("_", ""): name for name in COLUMNS}
_MEANT = {
    **dict.fromkeys(("file", "filename", "file_name", "filepath", "file_path", "name"), "path"),
    **dict.fromkeys(("licence", "license_id", "licence_id", "lizenz", "licencia"), "license"),
    **dict.fromkeys(("tempo", "tempo_bpm", "bpm_quarter", "beats_per_minute"), "bpm"),
    **dict.fromkeys(("genre", "keywords", "comment"), "tags"),
    **dict.fromkeys(("musical_key", "initial_key", "tonart", "tonalité"), "key"),
    **dict.fromkeys(("performer", "band", "artists"), "artist"),
    **dict.fromkeys(("song", "track", "track_title"), "title"),
}
"""Names that other programs give to columns: suggested, not taken."""

_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "artist": plain_text,
    "title": plain_text,
    "bpm": parse_bpm,
    "key": lambda text: Key.parse(unquoted(text)),
    "tags": parse_tags,
    "isrc": lambda text: parse_isrc(_unnamed("ISRC", text)),
    "iswc": lambda text: parse_iswc(_unnamed("ISWC", text)),
    "downbeat_s": parse_seconds,
}

"""The rows of a table in CSV (RFC 4180), as spreadsheets and people write it.

The delimiter is the one of ``,`` ``;`` tab ``|`` by which the header has the columns that are
needed; a first line ``sep=;`` (Excel) is skipped, and so are rows without text, lines before the
header, and comments: lines that begin with ``#`` and a space, or before the header with ``#``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from rag_audio.errors import LibraryError

_DELIMITERS = ",;\t|"
_MOST_ABOVE = 20  # rows that may stand above the header
_SEPARATOR = re.compile(r'\s*"?sep=(.)"?[\s,;|]*', re.IGNORECASE)
_TEXT = r'"((?:[^"]|"")*)"'
_FORMULA = re.compile(rf"=\s*{_TEXT}|=\s*HYPERLINK\(\s*{_TEXT}(?:\s*[,;]\s*{_TEXT})?\s*\)", re.I)


class TableRow(NamedTuple):
    """A row that holds text.

    Attributes:
        start, number: lines of the file where it begins and ends, counted from 1.
        cells: without the space around them. Of a row that is no CSV only the first is known.
        fault: why it is no CSV; None where it is.
        was_cell: the whole row stood in one cell.
    """

    start: int
    number: int
    cells: list[str]
    fault: str | None = None
    was_cell: bool = False


@dataclass(frozen=True)
class TableHeader:
    """The row that names the columns.

    Attributes:
        number: line of the file, counted from 1; 0 where the table is empty.
        columns: names, folded by :func:`column_name`.
        names: as they are written.
        inner: the delimiter within the first cell, where all of a row stands in it: a spreadsheet
            that expects ``;`` wrote a table with commas; else empty.
        above: rows with text above it.
    """

    number: int
    columns: list[str]
    names: list[str]
    delimiter: str = ","
    inner: str = ""
    above: int = 0


def column_name(text: str) -> str:
    """A column's name without case, spaces and signs: ``Downbeat (s)`` is ``downbeat_s``."""
    return re.sub(r"\W+", "_", cell_text(text).casefold()).strip("_")


def cell_text(text: str) -> str:
    """A cell's text without the space around it; ``="x"`` is ``x``, and so is
    ``=HYPERLINK("…","x")``, which shows it."""
    text = text.strip().strip("\ufeff").strip()
    formula = _FORMULA.fullmatch(text) if text.startswith("=") else None
    if formula is None:
        return text
    shown: str = formula[formula.lastindex or 0]
    return shown.replace('""', '"').strip()


class Table:
    """A table that is read row by row.

    Args:
        text: of the whole file.
        name: of the file, for messages.
        needed: columns that the header must have to be one.
    """

    def __init__(self, text: str, name: str, needed: Collection[str]) -> None:
        self._text = text
        self._name = name
        self.header = self._find_header(frozenset(needed))
        columns = self.header.columns
        self._license = columns.index("license") if "license" in columns else len(columns)
        self._licenses: set[str] = set()

    def _find_header(self, needed: frozenset[str]) -> TableHeader:
        """The first row with all needed columns; without one, the first row with text.

        Raises:
            LibraryError: a row with the names of the needed columns breaks off within a cell.
        """
        first, above, opened, delimiters = None, 0, 0, _DELIMITERS
        for number, line in enumerate(io.StringIO(self._text, newline=""), 1):
            separator = _SEPARATOR.fullmatch(line)
            if separator is not None and first is None:
                if separator[1] in _DELIMITERS:
                    delimiters = separator[1] + _DELIMITERS.replace(separator[1], "")
                continue
            if line.isspace() or line.startswith("#") or not re.search(r"\w", line):
                continue
            if line.count('"') % 2 and all(word in line.casefold() for word in needed):
                opened = opened or number
            found = [
                replace(header, number=number, above=above)
                for read in (_plain_header, _header_in_a_cell)
                for delimiter in delimiters
                for header in read(line, delimiter)
            ]
            for header in found:
                is_split = not any(sign in name for name in header.names for sign in _DELIMITERS)
                if is_split and needed <= set(header.columns):
                    return header
            first = first or max(found, key=lambda one: _likeness(one, needed))
            above += 1
            if above > _MOST_ABOVE:
                break
        if opened:
            raise LibraryError(
                f"{self._name}, row {opened}: a quotation mark in the names of the columns is "
                "never closed",
                hint="the names stand in one line, each between two quotation marks or none",
            )
        return first or TableHeader(0, [], [])

    def rows(self) -> Iterator[TableRow]:
        """The rows below the header that hold text, in order.

        Raises:
            LibraryError: a row is no CSV, and it cannot be told which cell is its first; or a
                quotation mark is never closed, so that it takes in the rows below.
        """
        lines = _Lines(self._text, self.header.number)
        reader = csv.reader(lines, delimiter=self.header.delimiter, strict=True)
        while True:
            lines.taken.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as fault:
                yield self._mended(lines, fault)
                continue
            if len(lines.taken) > 1:
                self._check_breaks(cells, lines)
            for row in self._row(cells, lines):
                self._licenses.update(row.cells[self._license : self._license + 1])
                yield row

    def _row(self, cells: list[str], lines: _Lines) -> Iterator[TableRow]:
        header, width = self.header, len(self.header.columns)
        start = lines.number - len(lines.taken) + 1
        last = next((at for at in range(len(cells), 0, -1) if cells[at - 1].strip()), 0)
        if not last:
            return
        texts = [cell_text(cell) for cell in cells[: last if header.inner else max(last, width)]]
        was_cell = bool(header.inner)
        if header.inner:
            inside = _cells(header.delimiter.join(texts), header.inner)
            if inside is None:
                first = cell_text(texts[0].partition(header.inner)[0])
                fault = "its quotation marks do not fit"
                yield TableRow(start, lines.number, [first], fault)
                return
            texts = inside
        elif width > 1 and not any(texts[1:]):
            # A spreadsheet of another delimiter took the row for one cell, and wrote it as one; or
            # the row was written by hand, with another delimiter than the header.
            insides = (_cells(texts[0], sign) for sign in header.delimiter + _DELIMITERS)
            inside = next((one for one in insides if one and len(one) == width), None)
            if inside is not None:
                texts, was_cell = inside, True
        yield TableRow(start, lines.number, texts, None, was_cell)

    def _mended(self, lines: _Lines, fault: csv.Error) -> TableRow:
        start, line = lines.number - len(lines.taken) + 1, lines.taken[0]
        delimiter = self.header.delimiter
        is_open = len(lines.taken) > 1 or "end of data" in str(fault)
        if not is_open:
            spaceless = re.sub(rf'"[ \t]+(?={re.escape(delimiter)}|[\r\n]|$)', '"', line)
            cells = _cells(spaceless, delimiter)
            if cells is not None:
                return TableRow(start, lines.number, cells)
        first = cell_text(line.partition(delimiter)[0])
        if is_open:
            raise self._never_closed(*_last_opened("".join(lines.taken), delimiter), start)
        if not first or '"' in first:
            shown = next((cell for cell in line.split(delimiter) if '"' in cell), line).strip()
            raise LibraryError(f"{self._name}, line {start}: {fault}: {shown[:60]!r}", hint=_QUOTES)
        return TableRow(start, lines.number, [first], str(fault))

    def _never_closed(self, text: str, column: int, line: int, start: int) -> LibraryError:
        """What is said of a quotation mark that opens a cell and is never closed."""
        names = self.header.columns
        name = repr(names[column]) if column < len(names) else str(column + 1)
        first_line = re.split(r"[\r\n]", text, maxsplit=1)[0]
        shown = first_line.partition(self.header.delimiter)[0].strip()
        return LibraryError(
            f"{self._name}, line {start + line}: a quotation mark opens a cell in column {name} "
            f"and is never closed: {shown[:60]!r}",
            hint=_QUOTES,
        )

    def _check_breaks(self, cells: list[str], lines: _Lines) -> None:
        """Refuse a cell of several lines that has taken in rows.

        Raises:
            LibraryError: a line within it has a path, and a license of the rows so far or as many
                cells as the header.
        """
        header, start = self.header, lines.number - len(lines.taken) + 1
        if header.inner or not {"path", "license"} <= set(header.columns):
            return
        path, license = map(header.columns.index, ("path", "license"))
        known = {*self._licenses, *(text.strip() for text in cells[license : license + 1])}
        for column, cell in enumerate(cells):
            for line in re.split(r"\r\n|\r|\n", cell)[1:]:
                inside = [text.strip().strip('"') for text in line.split(header.delimiter)]
                if (
                    len(inside) > max(path, license)
                    and _PATH.search(inside[path])
                    and _ID.fullmatch(inside[license])
                    and (inside[license] in known or len(inside) == max(3, len(header.columns)))
                ):
                    opened = _opened("".join(lines.taken), header.delimiter)
                    found = next(one for one in opened if one[1] == column)
                    raise self._never_closed(*found, start)


_QUOTES = (
    'close it, or write a quotation mark within a cell twice and the cell between two: "12"" mix"'
)
_PATH = re.compile(r"[*/\\]|\.[A-Za-z0-9]{2,5}$")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _opened(text: str, delimiter: str) -> Iterator[tuple[str, int, int]]:
    """The cells of a row that a quotation mark opens: the text from it on, the number of its
    column, and of its line, both counted from 0."""
    column, line, is_start, is_quoted, at = 0, 0, True, False, 0
    while at < len(text):
        sign = text[at]
        line += sign == "\n" or (sign == "\r" and text[at + 1 : at + 2] != "\n")
        if is_quoted:
            if sign == '"' and text[at + 1 : at + 2] == '"':
                at += 1
            elif sign == '"':
                is_quoted = False
        elif sign == '"' and is_start:
            yield text[at:], column, line
            is_quoted, is_start = True, False
        elif sign == delimiter:
            column, is_start = column + 1, True
        else:
            is_start = False
        at += 1


def _last_opened(text: str, delimiter: str) -> tuple[str, int, int]:
    """The cell that is open at the end of a text, or was closed at a wrong place last."""
    *_, last = _opened(text, delimiter)
    return last


class _Lines:
    """The lines below the header without comments, one by one.

    Attributes:
        number: of the last one that was taken, counted from 1.
        taken: those of the row that is being read.
    """

    def __init__(self, text: str, header: int) -> None:
        self.number = 0
        self.taken: list[str] = []
        self._file = io.StringIO(text, newline="")
        while self.number < header:
            next(self._file)
            self.number += 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        for line in self._file:
            self.number += 1
            if self.taken or not re.match(r"#(?:[\s#!]|$)", line):
                self.taken.append(line)
                return line
        raise StopIteration


def _plain_header(line: str, delimiter: str) -> Iterator[TableHeader]:
    """The header that a line is if its cells stand between these delimiters."""
    cells = _cells(line, delimiter) or []
    yield TableHeader(0, [column_name(cell) for cell in cells], cells, delimiter)


def _header_in_a_cell(line: str, delimiter: str) -> Iterator[TableHeader]:
    """The headers that the only cell of a line may hold."""
    cells = _cells(line, delimiter) or []
    if cells and not any(cells[1:]):
        for inner in _DELIMITERS:
            names = _cells(cells[0], inner) or []
            columns = [column_name(name) for name in names]
            yield TableHeader(0, columns, names, delimiter, "" if inner == delimiter else inner)


def _likeness(header: TableHeader, needed: frozenset[str]) -> tuple[int, int]:
    return len(needed & set(header.columns)), len(header.columns)


def _cells(line: str, delimiter: str) -> list[str] | None:
    """The cells of one line; None where it is no CSV or breaks off within a cell."""
    try:
        found = list(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return [cell_text(cell) for cell in found[0]] if len(found) == 1 else None

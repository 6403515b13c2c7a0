"""What is read of artists in the layouts of MusicBrainz and in CSV.

Three layouts are read, and told apart by what they hold:

- the tables of MusicBrainz's database as PostgreSQL's COPY writes them: ``artist`` and
  ``artist_alias`` (of ``mbdump.tar.bz2``), ``artist_meta`` and ``artist_tag`` (of
  ``mbdump-derived.tar.bz2``), by the columns of ``admin/sql/CreateTables.sql`` of
  musicbrainz-server;
- MusicBrainz's JSON dump (``artist.tar.xz``): one artist a line, as its web service describes it;
- CSV with the column ``name``, and those of ``data/policy/artists.csv``.
"""

from __future__ import annotations

import bz2
import csv
import json
import lzma
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from rag_audio.errors import InvalidInput
from rag_audio.guardrails.normalise import fold
from rag_audio.guardrails.policy_tables import policy_table, rule_pattern

MAX_NAME = 300
"""Characters of a name; longer ones are skipped."""
MAX_ALIASES = 100
_SEARCH_HINT = 3
_PERSON = "person"
_TYPES = {"1": _PERSON, "2": "group", "3": "other", "4": "character", "5": "orchestra",
          "6": "choir"}  # fmt: skip
KINDS = tuple(_TYPES.values())
"""What an artist can be in MusicBrainz; what it does not say is "unknown"."""
UNKNOWN = "unknown"
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_YEAR = re.compile(r"\d{4}")
_MAX_COUNT = 2**31


@dataclass(frozen=True)
class Entry:
    """An artist of a list.

    Attributes:
        id: of a row of a table; None: aliases and figures are all here.
        sort_name: ``Quill, Zanther``; empty when unknown.
        kind: one of :data:`KINDS`, or "unknown".
        comment: what tells artists of one name apart: "mastering engineer".
        died: the year in which a person died or a group ended.
        common: how the name reads, where the list says it.
        ratings, tags: how many people rated the artist, and how many tags it was given.
        is_bare: the list says nothing about what the artist is, as a CSV file does not.
    """

    name: str
    id: int | None = None
    sort_name: str = ""
    kind: str = UNKNOWN
    comment: str = ""
    died: int | None = None
    aliases: tuple[str, ...] = ()
    common: str = ""
    genre: str = ""
    era: str = ""
    ratings: int = 0
    tags: int = 0
    is_bare: bool = False


@dataclass(frozen=True)
class Detail:
    """What one row says of the artist of another row: an alias, so many ratings or tags."""

    artist: int
    alias: str = ""
    ratings: int = 0
    tags: int = 0


Row = Entry | Detail


def read_rows(pieces: Iterator[bytes], what: str, table: str = "") -> Iterator[Row]:
    """The rows of one table or list.

    Args:
        what: is read, for messages. table: its name in an archive or folder; empty: unknown.

    Raises:
        InvalidInput: a line is wrong; the message has its number.
    """
    numbered = lines(pieces, what)
    first = next(numbered, None)
    if first is None:
        raise InvalidInput(f"{what} is empty")
    every = chain([first], numbered)
    head = first[1].lstrip(b"\xef\xbb\xbf \t\r")
    if head.startswith(b"{"):
        return _each(every, what, _json_entry)
    fields = head.split(b"\t")
    guessed = table if table in _TABLES else _guess(fields)
    if guessed:
        columns, read = _TABLES[guessed]

        def row(line: bytes) -> Row | None:
            cells = line.split(b"\t")
            if len(cells) < columns:
                raise ValueError(
                    f"{len(cells)} columns, and the table {guessed} has at least {columns}"
                )
            return read(cells)

        return _each(every, what, row)
    return _csv_entries(every, what)


def _each(
    numbered: Iterator[tuple[int, bytes]], what: str, read: Callable[[bytes], Row | None]
) -> Iterator[Row]:
    for number, line in numbered:
        if line == b"\\.":  # where COPY ends
            return
        try:
            if b"\0" in line:
                raise ValueError("a zero byte is in it")
            row = read(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            said = "nested too deeply" if isinstance(error, RecursionError) else _said(error)
            raise InvalidInput(
                f"{what}, line {number}: {said}", hint="is the file whole, and of that layout?"
            ) from error
        if row is not None:
            yield row


def _said(error: ValueError) -> str:
    if isinstance(error, UnicodeError):
        return "not UTF-8 text"
    return f"not JSON: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)


def _guess(fields: list[bytes]) -> str:
    if len(fields) >= 17 and _UUID.fullmatch(fields[1]):
        return "artist"
    numbers = [field.isdigit() for field in fields[:2]]
    return "artist_alias" if len(fields) >= 15 and all(numbers) else ""


def _text(cell: bytes) -> str:
    r"""A cell as text; ``\N`` (nothing) is the empty text."""
    if cell == b"\\N":
        return ""
    if b"\\" in cell:
        cell = _ESCAPED.sub(_unescaped, cell)
    return cell.decode("utf-8")


def _unescaped(found: re.Match[bytes]) -> bytes:
    mark = found.group(1)
    if mark[:1] == b"x" and len(mark) > 1:
        return bytes([int(mark[1:], 16)])
    if mark.isdigit():
        return bytes([int(mark, 8) & 0xFF])
    return _ESCAPES.get(mark, mark)


def _number(cell: bytes) -> int:
    if not cell.isdigit() or len(cell) > 15:
        raise ValueError(f"{cell[:20].decode('utf-8', 'replace')!r} is no number")
    return int(cell)


def _artist_row(cells: list[bytes]) -> Row:
    if not _UUID.fullmatch(cells[1]):
        raise ValueError("the second column is no UUID")
    died = cells[7]
    return Entry(
        _text(cells[2]),
        id=_number(cells[0]),
        sort_name=_text(cells[3]),
        kind=_TYPES.get(_text(cells[10]), UNKNOWN),
        comment=_text(cells[13]),
        died=int(died) if died.isdigit() and len(died) <= 4 else None,
    )


def _alias_row(cells: list[bytes]) -> Row | None:
    if cells[6] == b"%d" % _SEARCH_HINT:
        return None  # misspellings, for a search only
    return Detail(_number(cells[1]), alias=_text(cells[2]))


def _meta_row(cells: list[bytes]) -> Row | None:
    return None if cells[2] == b"\\N" else Detail(_number(cells[0]), ratings=_number(cells[2]))


def _tag_row(cells: list[bytes]) -> Row | None:
    return Detail(_number(cells[0]), tags=1) if cells[2].isdigit() and cells[2] != b"0" else None


_TABLES: dict[str, tuple[int, Callable[[list[bytes]], Row | None]]] = {
    "artist": (17, _artist_row),
    "artist_alias": (15, _alias_row),
    "artist_meta": (3, _meta_row),
    "artist_tag": (3, _tag_row),
}
TABLES = frozenset(_TABLES)


def _json_entry(line: bytes) -> Row:
    found = json.loads(line)
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise ValueError("no artist with a name")
    kind = str(found.get("type") or UNKNOWN).lower()
    life = _as_dict(found.get("life-span"))
    ended = _YEAR.match(str(life.get("end") or ""))
    return Entry(
        _checked(found["name"]),
        sort_name=_checked(str(found.get("sort-name") or "")),
        kind=kind if kind in KINDS else UNKNOWN,
        comment=_checked(str(found.get("disambiguation") or "")),
        died=int(ended.group()) if ended else None,
        aliases=tuple(
            _checked(one["name"])
            for one in _dicts(found.get("aliases"))[:MAX_ALIASES]
            if isinstance(one.get("name"), str) and one.get("type") != "Search hint"
        ),
        genre=_genre(_dicts(found.get("genres"))),
        ratings=_count(_as_dict(found.get("rating")).get("votes-count")),
        tags=sum(_count(one.get("count")) > 0 for one in _dicts(found.get("tags"))),
    )


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _count(value: Any) -> int:
    return min(value, _MAX_COUNT) if isinstance(value, int) and value > 0 else 0


def _genre(genres: list[dict[str, Any]]) -> str:
    """The genre that most people named."""
    named = [one for one in genres if isinstance(one.get("name"), str)]
    best = max(named, key=lambda one: _count(one.get("count")), default=None)
    return "" if best is None else _checked(best["name"])[:MAX_NAME]


def _checked(text: str) -> str:
    """A text of JSON, which may hold what no text holds: zero bytes, halves of characters."""
    if "\0" in text:
        raise ValueError("a zero byte is in a name")
    text.encode()
    return text


def _csv_entries(numbered: Iterator[tuple[int, bytes]], what: str) -> Iterator[Row]:
    number = 1

    def decoded() -> Iterator[str]:
        nonlocal number
        for number, line in numbered:
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InvalidInput(f"{what}, line {number}: not UTF-8 text") from error
            if "\0" in text:
                raise InvalidInput(f"{what}, line {number}: a zero byte is in it")
            yield f"{text}\n"

    rows = csv.DictReader(decoded(), strict=True)
    try:
        if "name" not in (rows.fieldnames or ()):
            raise InvalidInput(
                f"{what}, line 1: neither MusicBrainz's columns nor a CSV header with 'name'",
                hint="the tables artist and artist_alias, JSON lines, or CSV: docs/guardrails.md",
            )
        for row in rows:
            if None in row:
                raise InvalidInput(f"{what}, line {rows.line_num}: more cells than the header has")
            name = (row["name"] or "").strip()
            common = (row.get("common") or "").strip().lower()
            if not name or common not in ("", "yes", "mass"):
                said = f"common is {common!r}" if name else "the name is empty"
                raise InvalidInput(f"{what}, line {rows.line_num}: {said}")
            yield Entry(
                name,
                aliases=tuple(
                    part.strip()
                    for column in ("aliases", "common_aliases", "epithets")
                    for part in (row.get(column) or "").split(";")
                    if part.strip()
                ),
                common=common,
                genre=(row.get("genre") or "").strip(),
                era=(row.get("era") or "").strip(),
                is_bare=True,
            )
    except csv.Error as error:
        raise InvalidInput(f"{what}, line {number}: {error}") from error


# Which artists of a database belong into a list of protected names.


USUAL_KINDS = ("person", "group", "other", UNKNOWN)
ALL_KINDS = (*KINDS, UNKNOWN)
YEARS_OF_RIGHTS = 70
"""After an author's death, in most countries: directive 2006/116/EC, article 1."""
_SPECIAL = re.compile(r"\[.*\]")
_SPECIAL_NAMES = policy_table("rules")["imported"]["special_names"]
_ELSEWHERE = rule_pattern("imported", "elsewhere", re.IGNORECASE)
_MUSICIAN = rule_pattern("imported", "musician", re.IGNORECASE)
_SLOTS = 2**22
_MANY = 20


@dataclass(frozen=True)
class Choice:
    """Who is taken.

    Attributes:
        kinds: some of :data:`ALL_KINDS`.
        died_from: persons who died before that year are left out; None: 70 years ago.
        min_aliases, min_ratings, min_tags: so many at least.
        limit: only so many, those with most ratings, tags and aliases; 0: all.
    """

    kinds: tuple[str, ...] = USUAL_KINDS
    died_from: int | None = None
    min_aliases: int = 0
    min_ratings: int = 0
    min_tags: int = 0
    limit: int = 0

    @property
    def first_year(self) -> int:
        """Who died before it is left out."""
        if self.died_from is not None:
            return self.died_from
        return datetime.now(UTC).year - YEARS_OF_RIGHTS


def why_not(entry: Entry, choice: Choice) -> str:
    """Why an artist is left out; empty: it is taken."""
    if _SPECIAL.fullmatch(entry.name) or fold(entry.name) in _SPECIAL_NAMES:
        return "special purpose"
    if "special purpose" in entry.comment.lower():
        return "special purpose"
    if entry.kind not in choice.kinds:
        return f"kind {entry.kind}"
    if entry.kind != "group" and entry.died is not None and entry.died < choice.first_year:
        return f"died before {choice.first_year}"
    if _ELSEWHERE.search(entry.comment) and not _MUSICIAN.search(entry.comment):
        return "no musicians"
    return ""


@dataclass
class WordCounts:
    """In how many names a word stands, about: words share counters, so it is never too few.

    A word of many names of groups is an everyday one of some language.
    """

    _counts: array[int] = field(default_factory=lambda: array("B", bytes(_SLOTS)), repr=False)

    def add(self, name: str) -> None:
        """Count the words of a name."""
        for word in set(fold(name[:300]).split()):
            slot = crc32(word.encode()) % _SLOTS
            if self._counts[slot] < _MANY:
                self._counts[slot] += 1

    def is_common(self, word: str) -> bool:
        """Whether a folded word stands in many names."""
        return self._counts[crc32(word.encode()) % _SLOTS] >= _MANY


# Reading large files of others piece by piece: compressed or not, an archive or not.
#
# Whatever a file holds, the memory it takes is bounded: lines, headers of archives and what a
# compressed file may grow to are. Each file is read once; its SHA-256 is worked out on the way.

PIECE = 2**20
MAX_LINE = 64 * 2**20
"""Bytes of a line; that of an artist with all its relations takes a few million."""
_MOST_GROWTH = 200
_GROWTH_FROM = 256 * 2**20
"""A compressed file may become this large whatever its size, and ``_MOST_GROWTH`` times as large as
it is: dumps of a database grow less than 20 times."""
_XZ_MEMORY = 512 * 2**20
_BLOCK = 512
_MAX_NAME = 2**16
_DECODERS: dict[bytes, Callable[[], Any]] = {
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}
OnBytes = Callable[[int], None]


class Expanded:
    """A file's bytes, decompressed where it is compressed with bzip2 or xz.

    Attributes:
        path: the file. size: its bytes, as it lies there.
        on_bytes: told how many bytes of the file were read by now.
    """

    def __init__(self, path: Path, on_bytes: OnBytes | None = None) -> None:
        self.path = path
        self.on_bytes = on_bytes
        self._hash = sha256()
        self._taken = self._made = 0
        try:
            self._file = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise _unreadable(path, error) from error
        self._pieces = self._expand()
        self._rest = b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, count: int) -> bytes:
        """At most so many bytes; none at the end.

        Raises:
            InvalidInput: the file cannot be read or decompressed.
        """
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def peek(self, count: int) -> bytes:
        """The next bytes, which are read again afterwards; fewer at the end."""
        while len(self._rest) < count:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        return self._rest[:count]

    def digest(self) -> str:
        """SHA-256 of the whole file as it lies there; what was not read yet is read for it."""
        while self._raw():
            pass
        return self._hash.hexdigest()

    def _raw(self) -> bytes:
        try:
            piece = self._file.read(PIECE)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        self._hash.update(piece)
        self._taken += len(piece)
        if self.on_bytes is not None and piece:
            self.on_bytes(self._taken)
        return piece

    def _expand(self) -> Iterator[bytes]:
        piece = self._raw()
        make = next((made for magic, made in _DECODERS.items() if piece.startswith(magic)), None)
        if make is None:
            while piece:
                yield piece
                piece = self._raw()
            return
        try:
            while piece:  # several compressed streams may stand one after another
                decoder = make()
                while not decoder.eof:
                    if decoder.needs_input and not (piece := piece or self._raw()):
                        raise InvalidInput(
                            f"{self.path} ends before its content does", hint="download it again"
                        )
                    made = decoder.decompress(piece if decoder.needs_input else b"", PIECE)
                    piece = b""
                    self._check_growth(len(made))
                    if made:
                        yield made
                piece = decoder.unused_data.lstrip(b"\0") or self._raw()
        except (OSError, EOFError, lzma.LZMAError, MemoryError) as error:
            raise InvalidInput(
                f"{self.path} cannot be decompressed: {error}", hint="download it again"
            ) from error

    def _check_growth(self, more: int) -> None:
        self._made += more
        if self._made > max(_GROWTH_FROM, _MOST_GROWTH * self._taken):
            raise InvalidInput(
                f"{self.path} expands to more than {_MOST_GROWTH} times its size",
                hint="no dump of a database does: take it from its publisher again",
            )


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so (512 bytes) is a tar archive."""
    return head[257:262] == b"ustar"


def members(source: Expanded) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The regular files of a tar archive, in its order: name, and bytes that must be read first.

    Raises:
        InvalidInput: it is cut off, or is none.
    """
    name = ""
    while True:
        header = _exactly(source, _BLOCK)
        if not header.strip(b"\0"):
            return
        if not is_tar(header):
            raise InvalidInput(f"{source.path} is a damaged archive", hint="download it again")
        size, kind = _size(header, source.path), header[156:157]
        padding = -size % _BLOCK
        if kind in b"LKxg":  # long names, and remarks about the next file
            if size > _MAX_NAME:
                raise InvalidInput(f"{source.path}: a name of {size} bytes is in the archive")
            text = _exactly(source, size)
            name = text.rstrip(b"\0").decode("utf-8", "replace") if kind == b"L" else name
            _exactly(source, padding)
            continue
        own = header[:100].rstrip(b"\0").decode("utf-8", "replace")
        pieces = _some(source, size)
        if kind in b"0\0":
            yield name or own, pieces
        name = ""
        for _ in pieces:  # what nobody wanted
            pass
        _exactly(source, padding)


def lines(pieces: Iterator[bytes], what: str) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, from 1, without its end; the last one needs no end.

    Args:
        what: is read, for messages.

    Raises:
        InvalidInput: a line is longer than :data:`MAX_LINE`.
    """
    number, rest = 1, b""
    for piece in pieces:
        whole = (rest + piece).split(b"\n")
        rest = whole.pop()
        for line in whole:
            yield number, line
            number += 1
        if len(rest) > MAX_LINE:
            raise InvalidInput(
                f"{what}, line {number}: longer than {MAX_LINE // 2**20} MiB",
                hint="it is not a list of artists",
            )
    if rest:
        yield number, rest


def pieces_of(source: Expanded) -> Iterator[bytes]:
    """All that is left of a file."""
    return iter(lambda: source.read(PIECE), b"")


def _some(source: Expanded, size: int) -> Iterator[bytes]:
    while size:
        piece = source.read(min(size, PIECE))
        if not piece:
            raise InvalidInput(
                f"{source.path} ends before its content does", hint="download it again"
            )
        size -= len(piece)
        yield piece


def _exactly(source: Expanded, size: int) -> bytes:
    return b"".join(_some(source, size))


def _size(header: bytes, path: Path) -> int:
    field = header[124:136]
    if field[0] & 0x80:  # more than 8 GiB, as GNU tar writes it
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise InvalidInput(f"{path} is a damaged archive", hint="download it again") from error


def _unreadable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read: {error.strerror or error}")

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

import csv
import json
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from zlib import crc32

from rag_audio.errors import InvalidInput
from rag_audio.guardrails.bounded_reading import lines
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

"""Rows of a database of artists on the disk, and the list that is chosen from them."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rag_audio.errors import InvalidInput
from rag_audio.guardrails.everyday import is_full_name, reading_of
from rag_audio.guardrails.imported import FORMAT, Import
from rag_audio.guardrails.names import Reading
from rag_audio.guardrails.normalise import read
from rag_audio.guardrails.selecting import Choice, WordCounts, why_not
from rag_audio.guardrails.sources import MAX_NAME, UNKNOWN, Alias, Entry, Ratings, Row

_ROWS = 5000
STAGING = """
CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT, full INTEGER, common TEXT, genre TEXT,
    era TEXT);
CREATE TABLE alias (artist INTEGER, name TEXT);
CREATE TABLE rating (artist INTEGER, count INTEGER);
CREATE TABLE tag (artist INTEGER, count INTEGER);
CREATE TABLE form (letters TEXT, rank INTEGER, words INTEGER, text TEXT, reading TEXT,
    artist INTEGER);
"""
LIST = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT, genre TEXT, era TEXT);
CREATE TABLE form (letters TEXT PRIMARY KEY, words INTEGER, text TEXT, reading TEXT,
    artist INTEGER) WITHOUT ROWID;
"""
_CHOSEN = """
SELECT a.id, a.name, a.full, a.common, a.genre, a.era FROM artist a
LEFT JOIN (SELECT artist, count(*) n FROM alias GROUP BY artist) l ON l.artist = a.id
LEFT JOIN (SELECT artist, sum(count) n FROM rating GROUP BY artist) r ON r.artist = a.id
LEFT JOIN (SELECT artist, sum(count) n FROM tag GROUP BY artist) t ON t.artist = a.id
WHERE coalesce(l.n, 0) >= ? AND coalesce(r.n, 0) >= ? AND coalesce(t.n, 0) >= ?
ORDER BY coalesce(r.n, 0) + coalesce(t.n, 0) + coalesce(l.n, 0) DESC, a.id LIMIT ?
"""


def opened(path: Path, schema: str) -> sqlite3.Connection:
    """A new database that nobody else works with; a crash may damage it."""
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;" + schema
    )
    return database


class Staging:
    """Takes rows in any order, and writes the list.

    Args:
        rows: a database with the schema :data:`STAGING`.
    """

    def __init__(self, rows: sqlite3.Connection, choice: Choice) -> None:
        self._rows, self._choice = rows, choice
        self._left_out: Counter[str] = Counter()
        self._common = WordCounts()
        self._seen: Counter[str] = Counter()

    def transaction(self) -> sqlite3.Connection:
        """A block whose rows are kept together."""
        self._rows.execute("BEGIN")
        return self._rows

    def put(self, rows: list[Row]) -> None:
        """Keep some rows, but for artists who are not taken."""
        artists, aliases, ratings, tags = [], [], [], []
        for row in rows:
            if isinstance(row, Entry):
                self._seen["artists"] += 1
                number = -self._seen["artists"] if row.id is None else row.id
                if row.kind != "person":
                    self._common.add(row.name)
                reason = why_not(row, self._choice)
                if reason:
                    self._left_out[reason] += 1
                    continue
                full = row.kind in ("person", UNKNOWN) and is_full_name(row.name, row.sort_name)
                full = full or row.is_bare
                artists.append((number, row.name, full, row.common, row.genre, row.era))
                aliases += [(number, name) for name in row.aliases]
                ratings.append((number, row.ratings))
                tags.append((number, row.tags))
            elif isinstance(row, Alias):
                aliases.append((row.artist, row.name))
            elif isinstance(row, Ratings):
                ratings.append((row.artist, row.count))
            else:
                tags.append((row.artist, 1))
        self._seen["ratings"] += sum(count for _, count in ratings)
        self._seen["tags"] += sum(count for _, count in tags)
        insert = self._rows.executemany
        insert("INSERT OR REPLACE INTO artist VALUES (?, ?, ?, ?, ?, ?)", artists)
        insert("INSERT INTO alias VALUES (?, ?)", aliases)
        insert("INSERT INTO rating VALUES (?, ?)", [one for one in ratings if one[1]])
        insert("INSERT INTO tag VALUES (?, ?)", [one for one in tags if one[1]])

    def write(self, made: sqlite3.Connection, sources: list[dict[str, object]]) -> Import:
        """Choose, and write the list; spellings that several share are the better known one's.

        Args:
            made: a new database with the schema :data:`LIST`. sources: the files, as they are kept.

        Raises:
            InvalidInput: nobody is left, or what is to choose by is in none of the files.
        """
        self._check()
        choice = self._choice
        self._rows.execute("CREATE INDEX alias_of ON alias (artist)")
        chosen = self._rows.execute(
            _CHOSEN,
            (choice.min_aliases, choice.min_ratings, choice.min_tags, choice.limit or -1),
        )
        count = 0
        with self.transaction():
            while some := chosen.fetchmany(_ROWS):
                spelled = [form for rank, row in enumerate(some, count)
                           for form in self._forms(rank, row)]  # fmt: skip
                count += len(some)
                self._rows.executemany("INSERT INTO form VALUES (?, ?, ?, ?, ?, ?)", spelled)
        self._left_out["below the limits"] += (
            _number(self._rows, "SELECT count(*) FROM artist") - count
        )
        made.execute("BEGIN")
        made.executemany(
            "INSERT INTO form VALUES (?, ?, ?, ?, ?)",
            self._rows.execute(
                "SELECT letters, words, text, reading, artist FROM (SELECT *, min(rank) FROM form "
                "GROUP BY letters) ORDER BY letters"
            ),
        )
        made.executemany(
            "INSERT INTO artist VALUES (?, ?, ?, ?)",
            self._rows.execute(
                "SELECT id, name, genre, era FROM artist WHERE id IN (SELECT artist FROM form)"
            ),
        )
        artists = _number(made, "SELECT count(*) FROM artist")
        forms = _number(made, "SELECT count(*) FROM form")
        if not forms:
            raise InvalidInput(
                "no artist is left to import",
                hint="names of everyday words are left out, and options leave out more",
            )
        found = Import(
            datetime.now(UTC).isoformat(timespec="seconds"),
            tuple(sources),
            artists,
            forms,
            {reason: n for reason, n in sorted(self._left_out.items()) if n},
            asdict(choice),
        )
        made.executemany("INSERT INTO about VALUES (?, ?)", _about(found))
        made.execute("COMMIT")
        return found

    def _check(self) -> None:
        if not self._seen["artists"]:
            raise InvalidInput("no artist is in these files", hint="the table artist is needed")
        for what, least in (("ratings", self._choice.min_ratings), ("tags", self._choice.min_tags)):
            if least and not self._seen[what]:
                raise InvalidInput(
                    f"at least {least} {what} are wanted, and these files have no {what}",
                    hint="give mbdump-derived.tar.bz2 too, or the JSON dump",
                )

    def _forms(
        self, rank: int, row: tuple[int, str, int, str, str, str]
    ) -> Iterator[tuple[str, int, int, str, str, int]]:
        """The spellings of an artist: the name's, and those of the aliases."""
        number, name, full, common, _, _ = row
        aliases = self._rows.execute("SELECT name FROM alias WHERE artist = ?", (number,))
        some = 0
        for text, is_full in ((name, bool(full)), *((alias, False) for (alias,) in aliases)):
            if len(text) > MAX_NAME:
                self._left_out["names too long"] += 1
                continue
            words = read(text).words
            reading = reading_of(words, text, is_full, self._common.is_common)
            if text == name and common and words:
                reading = Reading(common)
            if reading is None:
                self._left_out["spellings of everyday words"] += 1
                continue
            some += 1
            letters = "".join(word.text for word in words)
            yield letters, rank, len(words), text, reading.value, number
        if not some:
            self._left_out["artists without a telling name"] += 1


def _number(database: sqlite3.Connection, query: str) -> int:
    return int(database.execute(query).fetchone()[0])


def _about(found: Import) -> Iterable[tuple[str, str]]:
    yield "format", str(FORMAT)
    yield "made", found.made
    yield "artists", str(found.artists)
    yield "forms", str(found.forms)
    for key in ("sources", "left_out", "options"):
        yield key, json.dumps(getattr(found, key), ensure_ascii=False)

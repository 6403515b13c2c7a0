"""A long list of artists, made from a database's dump or a CSV file, and found by exact spelling.

Rows go into a database of their own on the disk first, since aliases and figures may come before
the artists they belong to; so memory stays small however long a list is. The list that was there
is replaced by the new one when that is whole.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from rag_audio.errors import ConfigError, InvalidInput
from rag_audio.guardrails.bounded_reading import Expanded, is_tar, members, pieces_of
from rag_audio.guardrails.name_finder import NameHit
from rag_audio.guardrails.name_sources import (
    MAX_NAME,
    TABLES,
    UNKNOWN,
    Choice,
    Entry,
    Row,
    WordCounts,
    read_rows,
    why_not,
)
from rag_audio.guardrails.names import (
    MAX_LETTERS,
    MAX_WORDS,
    Artist,
    SentenceReading,
    Spelling,
    is_full_name,
    reading_of,
)
from rag_audio.guardrails.normalise import NormalisedText, fold, read, squash
from rag_audio.storage.files import draft_file, put_in_place

# The list is one SQLite file, ``names.db`` in the home, which is looked up and never loaded: a
# prompt asks for each of its runs of words, so time and memory hardly grow with the list.
# Misspellings and names by ear are looked for among the well-known (:mod:`.name_finder`) only.

FILE = "names.db"
FORMAT = 1
_AT_ONCE = 500
_FIND = (
    "SELECT f.letters, f.words, f.text, f.reading, a.name, a.genre, a.era FROM form f "
    "JOIN artist a ON a.id = f.artist WHERE f.letters IN ({})"
)


@dataclass(frozen=True)
class Import:
    """Where a list comes from.

    Attributes:
        made: when it was imported, UTC, ISO 8601.
        sources: the files: ``name``, ``sha256``, ``bytes``, ``rows``.
        artists, forms: how many are in it, and in how many spellings.
        left_out: how many artists and spellings were not taken, by the reason.
        options: what was asked for.
    """

    made: str
    sources: tuple[dict[str, Any], ...]
    artists: int
    forms: int
    left_out: dict[str, int]
    options: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "made": self.made,
            "sources": list(self.sources),
            "artists": self.artists,
            "spellings": self.forms,
            "left_out": self.left_out,
            "options": self.options,
        }

    def line(self) -> str:
        """``200000 imported names (2026-11-28, mbdump.tar.bz2 1a2b3c…)``."""
        files = ", ".join(f"{one['name']} {one['sha256'][:12]}" for one in self.sources)
        return f"{self.artists} imported names ({self.made[:10]}, {files})"


class ImportedNames:
    """Looks exact spellings up in a list; any number of threads may.

    Attributes:
        about: where it comes from.

    Raises:
        ConfigError: the file cannot be read, or is no list of this version's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._open()
            kept = dict(self._database.execute("SELECT key, value FROM about"))
            if kept.get("format") != str(FORMAT):
                raise self._damaged("it is of another version")
            self.about = Import(
                kept["made"],
                tuple(json.loads(kept["sources"])),
                int(kept["artists"]),
                int(kept["forms"]),
                json.loads(kept["left_out"]),
                json.loads(kept["options"]),
            )
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise self._damaged(str(error)) from error

    def _open(self) -> None:
        self._process, self._lock = os.getpid(), Lock()
        self._database = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro&immutable=1",
            uri=True,
            check_same_thread=False,
        )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def exact(self, text: NormalisedText) -> Iterator[NameHit]:
        """Names of the list whose words stand in a text, each as it is spelled there."""
        runs: dict[str, list[tuple[int, int]]] = defaultdict(list)
        words = [word.text for word in text.words]
        for first in range(len(words)):
            letters = ""
            for last in range(first, min(first + MAX_WORDS, len(words))):
                letters += words[last]
                if len(letters) > MAX_LETTERS:
                    break
                runs[letters].append((first, last))
        for letters, count, form in self._find(list(runs)):
            for first, last in runs[letters]:
                if last - first + 1 == count:
                    yield NameHit(first, last, form)

    def find(self, name: str) -> Artist | None:
        """The artist of that name or alias."""
        folded = fold(name)
        for _, count, form in self._find([folded.replace(" ", "")]) if folded else ():
            if count == len(folded.split()):
                return form.artist
        return None

    def _find(self, wanted: list[str]) -> Iterator[tuple[str, int, Spelling]]:
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            try:
                if self._process != os.getpid():  # a connection is not shared with a fork
                    self._open()
                with self._lock:
                    rows = self._database.execute(
                        _FIND.format(",".join("?" * len(some))), some
                    ).fetchall()
            except sqlite3.Error as error:
                raise self._damaged(str(error)) from error
            for letters, count, text, reading, name, genre, era in rows:
                artist = Artist(name, genre=genre, era=era, well_known=False)
                yield (
                    letters,
                    count,
                    Spelling(squash(letters), count, artist, SentenceReading(reading), text),
                )

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(
            f"the imported names {self._path} cannot be read: {why}",
            hint="rag-audio names refresh FILE makes them anew; without the file there are none",
        )


def load_imported(home: Path) -> ImportedNames | None:
    """The imported names of a home; None: there are none.

    Raises:
        ConfigError: they cannot be read.
    """
    path = home / FILE
    return ImportedNames(path) if path.exists() else None


# Rows of a database of artists on the disk, and the list that is chosen from them.

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
            else:
                if row.alias:
                    aliases.append((row.artist, row.alias))
                ratings.append((row.artist, row.ratings))
                tags.append((row.artist, row.tags))
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
                reading = SentenceReading(common)
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


_MAX_ROWS = 50_000_000
_TOGETHER = (frozenset({"artist", "artist_alias"}), frozenset({"artist_meta", "artist_tag"}))
"""Tables that lie in one archive: when both were read, the rest of it holds none."""


@dataclass(frozen=True)
class Progress:
    """How far an import is: bytes of all files and how many were read, and rows so far."""

    read: int
    size: int
    rows: int


OnProgress = Callable[[Progress], None]


def import_names(
    files: Sequence[Path],
    target: Path,
    choice: Choice | None = None,
    on_progress: OnProgress | None = None,
) -> Import:
    """Read artists of files and put their list in place of ``target``.

    Args:
        files: dumps, tables, CSV files, or folders that hold tables.

    Raises:
        InvalidInput: a file cannot be read, or nobody is left; the list that was there stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    rows_of = target.with_name(f"{target.name}-rows")
    try:
        with draft_file(rows_of) as work, draft_file(target) as draft:
            with closing(opened(work, STAGING)) as rows, closing(opened(draft, LIST)) as made:
                staging = Staging(rows, choice or Choice())
                sources = _Importer(staging, on_progress).take(_in_folders(files))
                found = staging.write(made, sources)
            ImportedNames(draft).close()  # it is whole
            put_in_place(draft, target)
        return found
    except sqlite3.Error as error:
        raise InvalidInput(
            f"the list {target} cannot be written: {error}", hint="is there room on the disk?"
        ) from error


def _in_folders(files: Sequence[Path]) -> list[Path]:
    """The files, and in place of a folder its tables."""
    found: list[Path] = []
    for path in files:
        if not path.is_dir():
            found.append(path)
            continue
        tables = [
            folder / name
            for folder in (path, path / "mbdump")
            for name in sorted(TABLES)
            if (folder / name).is_file()
        ]
        if not any(table.name == "artist" for table in tables):
            raise InvalidInput(
                f"{path} holds no table 'artist'", hint="a folder with mbdump/artist, or a file"
            )
        found += tables
    return found


class _Importer:
    """Reads files one after another into a :class:`Staging`."""

    def __init__(self, staging: Staging, on_progress: OnProgress | None) -> None:
        self._staging, self._on_progress = staging, on_progress
        self._number = self._read = self._size = 0

    def take(self, files: list[Path]) -> list[dict[str, object]]:
        """Read all files into the staging tables; what is kept of each of them."""
        sources = [Expanded(path) for path in files]
        self._size = sum(source.size for source in sources)
        kept: list[dict[str, object]] = []
        before = 0
        for source in sources:
            rows = self._number
            source.on_bytes = partial(self._tell, before)
            with closing(source):
                self._take(source)
                digest = source.digest()
            before += source.size
            kept.append(
                {
                    "name": source.path.name,
                    "sha256": digest,
                    "bytes": source.size,
                    "rows": self._number - rows,
                }
            )
        return kept

    def _take(self, source: Expanded) -> None:
        if not is_tar(source.peek(512)):
            self._put(read_rows(pieces_of(source), str(source.path), source.path.name))
            return
        seen: set[str] = set()
        for name, pieces in members(source):
            table = name.rpartition("/")[2]
            if table in TABLES:
                self._put(read_rows(pieces, f"{source.path}: {name}", table))
                seen.add(table)
                if seen in _TOGETHER:
                    return
        if not seen:
            raise InvalidInput(
                f"{source.path} holds no table 'artist'",
                hint="mbdump.tar.bz2 or artist.tar.xz of MusicBrainz does",
            )

    def _put(self, rows: Iterator[Row]) -> None:
        with self._staging.transaction():
            while some := list(islice(rows, _ROWS)):
                self._number += len(some)
                if self._number > _MAX_ROWS:
                    raise InvalidInput(
                        f"more than {_MAX_ROWS} rows", hint="it is not a list of artists"
                    )
                self._staging.put(some)
                self._tell(self._read)

    def _tell(self, before: int, done: int = 0) -> None:
        self._read = before + done
        if self._on_progress is not None:
            self._on_progress(Progress(self._read, self._size, self._number))

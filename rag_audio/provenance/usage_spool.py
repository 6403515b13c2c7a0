"""What a report of a period gathers, outside of memory: rows, outputs and sources by party.

A private SQLite database without a name, whose file the system removes with the process. It holds
rows in compressed blocks, and in order each output and each stem of a party once.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import finalize

from rag_audio.errors import BackendError

_ROWS, _PAIRS = 200, 1000
"""Rows of one block, and pairs that are written together."""
_MADE = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE blocks (id INTEGER PRIMARY KEY, rows BLOB);
CREATE TABLE outputs (party INTEGER, output INTEGER, PRIMARY KEY (party, output)) WITHOUT ROWID;
CREATE TABLE sources (party INTEGER, stem TEXT, PRIMARY KEY (party, stem)) WITHOUT ROWID;
"""


class UsageSpool:
    """Rows that are written once and read as often as wanted, and what each party has used.

    Raises:
        BackendError: the temporary file cannot be written or read; so may every method.
    """

    def __init__(self) -> None:
        self.count = 0
        self._block: list[Sequence[Any]] = []
        self._outputs: set[tuple[int, int]] = set()
        self._sources: set[tuple[int, str]] = set()
        with _spooled():
            self._db = sqlite3.connect("", isolation_level=None)
            finalize(self, self._db.close)
            self._db.executescript(_MADE)

    def add_row(self, row: Sequence[Any]) -> None:
        """Keep a row of what JSON can hold."""
        self.count += 1
        self._block.append(row)
        if len(self._block) >= _ROWS:
            self._write_block()

    def add_use(self, party: int, output: int, stem: str) -> None:
        """Note that a party, by its number here, has a part in an output and a stem."""
        self._outputs.add((party, output))
        self._sources.add((party, stem))
        if len(self._outputs) + len(self._sources) >= _PAIRS:
            self._write_uses()

    def rows(self) -> Iterator[list[Any]]:
        """All rows, in the order in which they were added."""
        self._write_block()
        for block in self._read("SELECT rows FROM blocks ORDER BY id"):
            yield from json.loads(zlib.decompress(block))

    def outputs(self, party: int) -> Iterator[int]:
        """The numbers of a party's outputs, in order."""
        self._write_uses()
        return self._read("SELECT output FROM outputs WHERE party = ? ORDER BY output", party)

    def sources(self, party: int) -> Iterator[str]:
        """The ids of a party's stems, in order."""
        self._write_uses()
        return self._read("SELECT stem FROM sources WHERE party = ? ORDER BY stem", party)

    def _read(self, asked: str, *given: int) -> Iterator[Any]:
        with _spooled():
            found = self._db.execute(asked, given)
            while (row := found.fetchone()) is not None:
                yield row[0]

    def _write_block(self) -> None:
        if self._block:
            packed = zlib.compress(json.dumps(self._block).encode(), 1)
            with _spooled():
                self._db.execute("INSERT INTO blocks (rows) VALUES (?)", (packed,))
            self._block.clear()

    def _write_uses(self) -> None:
        with _spooled():
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR IGNORE INTO outputs VALUES (?, ?)", self._outputs)
            self._db.executemany("INSERT OR IGNORE INTO sources VALUES (?, ?)", self._sources)
            self._db.execute("COMMIT")
        self._outputs.clear()
        self._sources.clear()


@contextmanager
def _spooled() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BackendError(
            f"the report's temporary file cannot be used: {error}",
            hint="free some space where temporary files are kept, or set SQLITE_TMPDIR",
        ) from error

"""A long list of artists that was imported from a database, found by exact spelling only.

The list is one SQLite file, ``names.db`` in the home, which is looked up and never loaded: a prompt
asks for each of its runs of words, so time and memory hardly grow with the list. Misspellings and
names by ear are looked for among the well-known (:mod:`.index`) only. :mod:`.importing` writes it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from rag_audio.errors import ConfigError
from rag_audio.guardrails.everyday import MAX_LETTERS, MAX_WORDS
from rag_audio.guardrails.forms import Form
from rag_audio.guardrails.index import Hit
from rag_audio.guardrails.names import Artist, Reading, Song
from rag_audio.guardrails.normalise import Text, fold, squash

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

    def exact(self, text: Text) -> Iterator[Hit]:
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
                    yield Hit(first, last, form)

    def inside(self, text: Text) -> Iterator[Hit]:
        """None: see the head of this module."""
        return iter(())

    def initials(self, text: Text) -> Iterator[Hit]:
        """None: see the head of this module."""
        return iter(())

    def near(self, text: Text, *, only: frozenset[int] | None = None) -> Iterator[Hit]:
        """None: see the head of this module."""
        return iter(())

    def songs(self, text: Text) -> Iterator[tuple[int, int, Song]]:
        """None: a list has no songs."""
        return iter(())

    def find(self, name: str) -> Artist | None:
        """The artist of that name or alias."""
        folded = fold(name)
        for _, count, form in self._find([folded.replace(" ", "")]) if folded else ():
            if count == len(folded.split()):
                return form.artist
        return None

    def _find(self, wanted: list[str]) -> Iterator[tuple[str, int, Form]]:
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
                yield letters, count, Form(squash(letters), count, artist, Reading(reading), text)

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

"""Make the long list of artists (:mod:`.imported`) from a database's dump or a CSV file.

Rows go into a database of their own on the disk first, since aliases and figures may come before
the artists they belong to; so memory stays small however long a list is. The list that was there
is replaced by the new one when that is whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from rag_audio.errors import InvalidInput
from rag_audio.files import draft_file, put_in_place
from rag_audio.guardrails.expanding import Expanded, is_tar, members, pieces_of
from rag_audio.guardrails.imported import Import, ImportedNames
from rag_audio.guardrails.selecting import Choice
from rag_audio.guardrails.sources import TABLES, Row, read_rows
from rag_audio.guardrails.staging import LIST, STAGING, Staging, opened

_ROWS = 5000
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
            source.on_bytes = partial(self._tell_after, before)
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
        for member in members(source):
            table = member.name.rpartition("/")[2]
            if table in TABLES:
                self._put(read_rows(member.pieces, f"{source.path}: {member.name}", table))
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

    def _tell_after(self, before: int, done: int) -> None:
        self._tell(before + done)

    def _tell(self, done: int) -> None:
        self._read = done
        if self._on_progress is not None:
            self._on_progress(Progress(done, self._size, self._number))

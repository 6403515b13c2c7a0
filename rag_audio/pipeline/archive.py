"""Writing the archive of a home that others work in; :mod:`.backup` says what is in it."""

from __future__ import annotations

import io
import os
import re
import shutil
import sqlite3
import tarfile
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO

from sqlalchemy import Engine, select

from rag_audio import __version__
from rag_audio.errors import InvalidInput
from rag_audio.pipeline import home_files
from rag_audio.pipeline.home_files import (
    INDEX,
    MASTERS,
    Filed,
    HomeFiles,
    Listing,
    copy_database,
    copy_index,
    is_sqlite,
)
from rag_audio.provenance.ledger.tables import entries, is_output
from rag_audio.storage.database import reading
from rag_audio.storage.database_export import write_dump

ROOT = "home"
DATABASE = "rag-audio-database.jsonl"
"""A database elsewhere, as its name in the archive is."""
_PIECE = 2**20
TELL_EVERY_S = 0.1
_ROWS = 1000
_OF_A_FILE = 1024
"""Bytes that a tar file spends on a small file beside its content, about."""
_MASTER = re.compile(rf"{MASTERS}/(\d{{1,18}})\.wav")


@dataclass(frozen=True)
class Done:
    """How far an archive is: files and bytes, and how many there were when it was begun."""

    files: int
    size: int
    all_files: int
    all_size: int


OnProgress = Callable[[Done], None]


class Archiver:
    """Writes one archive.

    Attributes:
        listing: what is in it so far.

    Args:
        work: a folder for copies, in the home. target: the archive's own name.
        database: where ledger and rights are, if that is not the home's own file.
    """

    def __init__(
        self,
        home: Path,
        work: Path,
        target: Path,
        without: frozenset[Path],
        database: Engine | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.listing = Listing(work)
        self._home, self._work, self._target = home, work, target
        self._files = HomeFiles(home, without | {(home / DATABASE).absolute()})
        self._database, self._on_progress = database, on_progress
        self._all_files = self._all_size = 0
        self._told_at = 0.0
        self._masters: array[int] = array("q")
        self._gone: array[int] = array("q")
        self._copies: dict[str, Path] = {}

    def write(self, raw: IO[bytes]) -> tuple[dict[str, int] | None, list[str]]:
        """Write all of it; rows by table of a database elsewhere, and warnings.

        Raises:
            InvalidInput: there is no room. BackendUnavailable: the index or a database failed.
            OSError: it cannot be read or written.
        """
        is_plain = self._target.name.endswith(".tar")
        self._count()
        if is_plain:
            self._check_room()
        mode = "w:" if is_plain else "w:gz"
        with tarfile.open(  # type: ignore[call-overload]
            fileobj=raw, mode=mode, format=tarfile.PAX_FORMAT, copybufsize=_PIECE
        ) as tar:
            self._tar: tarfile.TarFile = tar
            counts = self._put_databases()
            self._put_keys()
            self._put_index()
            for path, name in self._files.others():
                self._put_if_there(path, name)
            warnings = self._put_missed_masters()
            self._put_manifest(counts)
        return counts, [*warnings, *self._of_links()]

    def _count(self) -> None:
        for path, _ in self._files.everything():
            try:
                self._all_size += path.lstat().st_size
            except FileNotFoundError:
                continue
            self._all_files += 1

    def _check_room(self) -> None:
        needed = self._all_size + self._all_files * _OF_A_FILE
        free = shutil.disk_usage(self._target.parent).free
        if free < needed:
            raise InvalidInput(
                f"the archive needs about {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free "
                f"at {self._target.parent}",
                hint="choose another place, make room, or name a .tar.gz",
            )

    def _put_databases(self) -> dict[str, int] | None:
        counts = None
        if self._database is not None:
            dump = self._work / DATABASE
            counts = write_dump(self._database, dump)
            with dump.open("rb") as file:
                self._put(DATABASE, file, os.fstat(file.fileno()).st_size, time.time())
            dump.unlink()
        for path, name in self._files.databases():
            self._put_database(path, name)
        return counts

    def _put_database(self, path: Path, name: str) -> None:
        copy = self._work / f"database-{len(self._copies)}"
        copy_database(path, copy)
        self._copies[name] = copy
        with copy.open("rb") as file:
            self._put(name, file, os.fstat(file.fileno()).st_size, path.stat().st_mtime)

    def _put_keys(self) -> None:
        for name, (content, changed) in sorted(self._files.keys().items()):
            self._put(name, io.BytesIO(content), len(content), changed)

    def _put_index(self) -> None:
        copy = copy_index(self._home, self._work)
        if copy is None:
            return
        for path, name in self._files.below(copy):
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                self._put(f"{INDEX}/{name}", file, found.st_size, found.st_mtime)
        shutil.rmtree(copy)

    def _put_if_there(self, path: Path, name: str) -> None:
        """A file that may have vanished since it was listed."""
        master = _MASTER.fullmatch(name)
        try:
            with path.open("rb") as file:
                if is_sqlite(file):
                    if name not in self._copies:
                        self._put_database(path, name)
                    return
                found = os.fstat(file.fileno())
                if found.st_size > _PIECE:
                    self._put(name, file, found.st_size, found.st_mtime)
                else:  # Read at once, so that one that is cut meanwhile is no fault.
                    content = file.read(found.st_size)
                    self._put(name, io.BytesIO(content), len(content), found.st_mtime)
        except FileNotFoundError:
            if master:
                self._gone.append(int(master[1]))
            return
        if master:
            self._masters.append(int(master[1]))

    def _put_missed_masters(self) -> list[str]:
        """Hold the masters against the outputs of the archived ledger; a warning of those that
        were removed while the archive was made."""
        held, gone = array("q", sorted(self._masters)), set(self._gone)
        removed = []
        for output in self._outputs():
            place = bisect_left(held, output)
            if place < len(held) and held[place] == output:
                continue
            path = self._home / MASTERS / f"{output}.wav"
            if path.is_file() and not path.is_symlink():
                self._put_if_there(path, f"{MASTERS}/{path.name}")
            elif output in gone:
                removed.append(output)
        if not removed:
            return []
        return [
            f"the masters of {len(removed)} outputs were removed while the archive was made, such "
            f"as {MASTERS}/{removed[0]}.wav, and are not in it"
        ]

    def _outputs(self) -> Iterator[int]:
        """Outputs of the ledgers that were archived; of one elsewhere, later ones too."""
        if self._database is not None:
            with reading(self._database) as db:
                asked = select(entries.c.output).where(is_output)
                yield from db.execution_options(yield_per=_ROWS).execute(asked).scalars()
        for copy in self._copies.values():
            with closing(sqlite3.connect(copy)) as db:
                tables = "SELECT count(*) FROM sqlite_master WHERE name = 'ledger_entries'"
                if db.execute(tables).fetchone()[0]:
                    asked_here = "SELECT output FROM ledger_entries WHERE kind = 'output'"
                    yield from (output for (output,) in db.execute(asked_here))

    def _put_manifest(self, counts: dict[str, int] | None) -> None:
        head = {
            "version": __version__,
            "created": datetime.now(UTC).isoformat(),
            "home": str(self._home.absolute()),
            **({} if counts is None else {"database": counts}),
        }
        with (self._work / home_files.NAME).open("w+b") as file:
            home_files.write(head, self.listing, file)
            size = file.tell()
            file.seek(0)
            self._add(home_files.NAME, file, size, time.time())

    def _put(self, name: str, file: IO[bytes], size: int, changed: float) -> None:
        digest = self._add(f"{ROOT}/{name}", file, size, changed)
        self.listing.add(Filed(name, size, digest))

    def _add(self, name: str, file: IO[bytes], size: int, changed: float) -> str:
        """Add a member; the SHA-256 of what was read."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(changed)
        reader = _Hashing(file, size, self._tell)
        self._tar.addfile(info, reader)
        self._tar.members.clear()  # type: ignore[attr-defined]  # It keeps all there ever were.
        return reader.digest.hexdigest()

    def _tell(self, more: int) -> None:
        now = time.monotonic()
        if self._on_progress is not None and now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            done = self.listing.files, self.listing.size + more
            self._on_progress(Done(*done, self._all_files, self._all_size))

    def _of_links(self) -> list[str]:
        links = self._files.links
        if not links:
            return []
        return [f"links are not archived, nor what they lead to: {', '.join(links)}"]


class _Hashing:
    """Reads a file and hashes what was read; never more than ``size`` bytes of one that grows."""

    def __init__(self, file: IO[bytes], size: int, tell: Callable[[int], None]) -> None:
        self._file, self._size, self._left, self._tell = file, size, size, tell
        self.digest = sha256()

    def read(self, count: int = -1) -> bytes:
        piece = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(piece)
        self.digest.update(piece)
        self._tell(self._size - self._left)
        return piece

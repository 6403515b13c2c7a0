"""A whole home as one tar file, and back: ledger, index, keys, private masters, whatever is there.

It is made while others work in the home. The archive begins with the home's files under ``home/``
and ends with ``manifest.jsonl`` (:mod:`.home_files`), which holds the size and SHA-256 of
each: an archive that breaks off, or was changed, is not restored.

Databases come first, each as it stands at one moment: SQLite files through SQLite's own backup
interface; a database elsewhere (PostgreSQL) as ``rag-audio-database.jsonl``, which is put back into
the database that is configured then, and which must have none of our tables. Keys, index and
masters come later. Whatever an entry or a row speaks of was written before it, so that it is in
the archive too.
"""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine, select

from rag_audio import __version__
from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.home import MASTERS, master_key, output_of_master
from rag_audio.pipeline import home_files
from rag_audio.pipeline.earlier_archives import BROKEN, EarlierFiles
from rag_audio.pipeline.home_files import (
    INDEX,
    KEYS,
    BadArchive,
    Filed,
    HomeFiles,
    Listing,
    MastersMet,
)
from rag_audio.pipeline.restore import Archived, Restored, Wanted, settle_dump, settle_file
from rag_audio.pipeline.unpacking import PIECE, ROOT, Done, OnProgress, unpack
from rag_audio.provenance.ledger.tables import entries, is_output
from rag_audio.storage.database import reading
from rag_audio.storage.database_export import write_dump
from rag_audio.storage.files import draft_file, draft_folder, put_in_place

WITHOUT_KEYS = (
    "whoever loses the keys cannot trace any output that was marked with them; keep this archive "
    "safe, and secret: whoever has it can read, forge and remove marks, and read all prompts"
)
NO_DATABASE = (
    "this archive holds no database, because the home's own was used when it was made: what is in "
    "the database of RAG_AUDIO_DATABASE_URL stays as it is"
)
DATABASE = "rag-audio-database.jsonl"
"""A database elsewhere, as its name in the archive is."""
SNAPSHOT = "qdrant"
"""Folder of an archive and of a restored home: the snapshot of a server's collection."""
_ROWS = 1000
_OF_A_FILE = 1024
"""Bytes that a tar file spends on a small file beside its content, about."""


TakeSnapshot = Callable[[Path], str | None]
"""Writes a server's index to a folder; one line where it does not."""


@dataclass(frozen=True)
class Backup:
    """What was archived, or brought back.

    Attributes:
        files: how many. size: their bytes.
        left_out: how many more an earlier archive holds.
        rows: of a database elsewhere; None where there is none.
        warnings: lines for people.
        restored: what a restore did to the ledger; None where there was none.
    """

    path: Path
    files: int
    size: int
    warnings: tuple[str, ...] = ()
    rows: int | None = None
    restored: Restored | None = None
    left_out: int = 0


def create(
    home: Path,
    target: Path,
    database: Engine | None = None,
    on_progress: OnProgress | None = None,
    since: Path | None = None,
    snapshot: TakeSnapshot | None = None,
) -> Backup:
    """Archive a home into ``target`` (``.tar``, or ``.tar.gz`` / ``.tgz`` to compress).

    Others may work in the home meanwhile; see the module.

    Args:
        database: where ledger and rights are, if that is not the home's own file.
        on_progress: called with how far it is, after each piece of 1 MiB at the latest.
        since: an earlier archive of this home; masters and delivered files that it holds are listed
            and not archived again (:mod:`.earlier_archives`).
        snapshot: of the index on a server, if it is on one.

    Raises:
        InvalidInput: ``since`` is no whole archive, there is no home, the name has another ending,
            it cannot be written, or there is no room for it.
        BackendUnavailable: another process holds the embedded index for longer than one waits, or
            the database failed.
    """
    if not home.is_dir():
        raise InvalidInput(f"there is no home at {str(home)!r}", hint="set --home")
    if not target.name.endswith((".tar", ".tar.gz", ".tgz")):
        raise InvalidInput(f"a backup is a .tar or .tar.gz, not {target.name!r}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            draft_file(target) as draft,
            home_files.work_folder(home) as work,
            closing(Listing(work)) as made,
            closing(_Earlier(since, work)) as earlier,
        ):
            without = frozenset((target.absolute(), draft.absolute(), (home / DATABASE).absolute()))
            files = HomeFiles(home, without)
            archiver = _Archiver(
                home, work, target, files, made, database, on_progress, earlier, snapshot
            )
            # By its number: gzip would write the name of a file that has one into the archive.
            with os.fdopen(os.open(draft, os.O_WRONLY), "wb") as raw:
                counts, warnings = archiver.write(raw)
            put_in_place(draft, target)
            left_out = earlier.files.files
    except OSError as error:
        raise InvalidInput(
            f"the backup {str(target)!r} cannot be written: {error.strerror or error}",
            hint="choose another place, or make room on the disk",
        ) from error
    warnings.insert(0, WITHOUT_KEYS)
    rows = None if counts is None else sum(counts.values())
    return Backup(target, made.files, made.size, tuple(warnings), rows, left_out=left_out)


def restore(
    archive: Path,
    home: Path,
    database: Engine | None = None,
    wanted: Wanted | None = None,
    on_progress: OnProgress | None = None,
    earlier: tuple[Path, ...] = (),
) -> Backup:
    """Bring a home back; it is complete and checked when it appears, or it does not appear.

    Args:
        database: where a database that is in the archive goes.
        wanted: where to look for what was logged later, and who may be asked.
        on_progress: called with how far it is, in bytes of the archive.
        earlier: archives that hold what this one leaves out; the one that it was made ``since`` is
            found by itself where it lies beside it.

    Raises:
        InvalidInput: the home is not empty, or the archive is not one of ours: it holds links,
            names that lead out of the home, or is damaged. Or it holds a database, and none is
            named that has no tables of ours yet.
        UnreadableFile: the archive cannot be read.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise InvalidInput(
            f"{str(home)!r} is not empty, and a restore never overwrites",
            hint="name a folder that does not exist yet with --home",
        )
    for one in earlier:
        if not one.is_file():
            raise InvalidInput(f"there is no earlier archive at {str(one)!r}")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(home) as draft, closing(Listing(home.parent)) as found:
            manifest = unpack(archive, draft, found, on_progress, earlier)
            made, rows = (Archived.read(manifest), wanted or Wanted()), manifest.get("database")
            if "database" not in manifest:
                done = settle_file(draft, *made)
            elif database is None:
                raise InvalidInput(
                    f"{str(archive)!r} holds a database of its own, and none is named to put it "
                    "into",
                    hint="set RAG_AUDIO_DATABASE_URL to an empty database",
                )
            else:
                dump = draft / DATABASE
                done = settle_dump(database, dump, draft / KEYS, manifest["database"], *made)
                found.files -= 1
                found.size -= dump.stat().st_size
                dump.unlink()
            draft.replace(home)
    except BadArchive as error:
        raise InvalidInput(
            f"{str(archive)!r} is not restored: {error}",
            hint="use an archive of `rag-audio backup`",
        ) from error
    except BROKEN as error:
        raise UnreadableFile(f"{str(archive)!r} is not a complete tar file: {error}") from error
    except OSError as error:
        raise UnreadableFile(
            f"{str(archive)!r} cannot be restored: {error.strerror or error}"
        ) from error
    warnings: tuple[str, ...] = (NO_DATABASE,) if rows is None and database is not None else ()
    warnings += () if done is None else done.warnings
    count = None if rows is None else sum(rows.values())
    return Backup(home, found.files, found.size, warnings, count, done)


# Writing an archive.


class _Archiver:
    """Writes one archive.

    Args:
        work: a folder for copies, in the home. target: the archive's own name.
        files: of the home. listing: is given what is in the archive.
        database: where ledger and rights are, if that is not the home's own file.
        earlier: what need not be archived again.
        snapshot: of an index on a server.
    """

    def __init__(
        self,
        home: Path,
        work: Path,
        target: Path,
        files: HomeFiles,
        listing: Listing,
        database: Engine | None,
        on_progress: OnProgress | None,
        earlier: _Earlier,
        snapshot: TakeSnapshot | None,
    ) -> None:
        self._home, self._work, self._target = home, work, target
        self._earlier, self._snapshot = earlier, snapshot
        self._files, self._listing = files, listing
        self._database, self._on_progress = database, on_progress
        self._all_files = self._all_size = 0
        self._masters = MastersMet()
        self._copies: dict[str, Path] = {}

    def write(self, raw: IO[bytes]) -> tuple[dict[str, int] | None, list[str]]:
        """Write all of it; rows by table of a database elsewhere, and warnings."""
        is_plain = self._target.name.endswith(".tar")
        self._count()
        if is_plain:
            needed = self._all_size + self._all_files * _OF_A_FILE
            hint = "choose another place, make room, or name a .tar.gz"
            home_files.require_room(self._target.parent, needed, "the archive", hint)
        mode = "w:" if is_plain else "w:gz"
        with (
            closing(self._masters),
            tarfile.open(  # type: ignore[call-overload]
                fileobj=raw, mode=mode, format=tarfile.PAX_FORMAT, copybufsize=PIECE
            ) as tar,
        ):
            self._tar: tarfile.TarFile = tar
            counts = self._put_databases()
            for name, (content, changed) in sorted(self._files.keys().items()):
                self._put(name, io.BytesIO(content), len(content), changed)
            self._put_index()
            notes = self._put_snapshot()
            for path, name in self._files.others():
                self._put_if_there(path, name)
            warnings = [*notes, *self._put_missed_masters()]
            self._put_manifest(counts)
        if self._files.links:
            links = ", ".join(self._files.links)
            warnings.append(f"links are not archived, nor what they lead to: {links}")
        return counts, warnings

    def _count(self) -> None:
        for path, name in self._files.everything():
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            if not self._earlier.has(name, found):
                self._all_size += found.st_size
                self._all_files += 1

    def _put_databases(self) -> dict[str, int] | None:
        counts = None
        if self._database is not None:
            dump = self._work / DATABASE
            counts = write_dump(self._database, dump)
            self._put_file(DATABASE, dump)
            dump.unlink()
        for path, name in self._files.databases():
            self._put_database(path, name)
        return counts

    def _put_database(self, path: Path, name: str) -> None:
        copy = self._work / f"database-{len(self._copies)}"
        home_files.copy_database(path, copy)
        self._copies[name] = copy
        shutil.copystat(path, copy)
        self._put_file(name, copy)

    def _put_index(self) -> None:
        copy = home_files.copy_index(self._home, self._work)
        if copy is None:
            return
        for path, _ in home_files.regular_files(copy):
            self._put_file(f"{INDEX}/{path.relative_to(copy).as_posix()}", path)
        shutil.rmtree(copy)

    def _put_snapshot(self) -> list[str]:
        """Archive the index of a server; a line where it is not."""
        if self._snapshot is None:
            return []
        folder = self._work / SNAPSHOT
        folder.mkdir(mode=0o700)
        why = self._snapshot(folder)
        for path, _ in home_files.regular_files(folder):
            self._put_file(f"{SNAPSHOT}/{path.name}", path)
        shutil.rmtree(folder)
        return [] if why is None else [why]

    def _put_file(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            self._put(name, file, found.st_size, found.st_mtime_ns)

    def _put_if_there(self, path: Path, name: str) -> None:
        """A file that may have vanished since it was listed."""
        master = output_of_master(name)
        try:
            with path.open("rb") as file:
                if home_files.is_sqlite(file):
                    if name not in self._copies:
                        self._put_database(path, name)
                    return
                found = os.fstat(file.fileno())
                if self._earlier.leaves_out(path, name, found):
                    pass
                elif found.st_size > PIECE:
                    self._put(name, file, found.st_size, found.st_mtime_ns)
                else:  # Read at once, so that one that is cut meanwhile is no fault.
                    content = file.read(found.st_size)
                    self._put(name, io.BytesIO(content), len(content), found.st_mtime_ns)
        except FileNotFoundError:
            if master is not None:
                self._masters.note(master, archived=False)
            return
        if master is not None:
            self._masters.note(master, archived=True)

    def _put_missed_masters(self) -> list[str]:
        """Archive masters of logged outputs that were made since the files were listed; a warning
        of those that were removed meanwhile."""
        removed, first = 0, ""
        for output in self._outputs():
            is_archived = self._masters.is_archived(output)
            if is_archived:
                continue
            path = self._home / master_key(output)
            if path.is_file() and not path.is_symlink():
                self._put_if_there(path, master_key(output))
            elif is_archived is False:
                removed, first = removed + 1, first or path.name
        if not removed:
            return []
        return [
            f"the masters of {removed} outputs were removed while the archive was made, such "
            f"as {MASTERS}/{first}, and are not in it"
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
            **self._earlier.about(),
        }
        with (self._work / home_files.NAME).open("w+b") as file:
            left_out = self._earlier.files if self._earlier.files.files else None
            home_files.write(head, self._listing, file, left_out)
            size = file.tell()
            file.seek(0)
            self._add(home_files.NAME, file, size, time.time_ns())

    def _put(self, name: str, file: IO[bytes], size: int, changed: int) -> None:
        digest = self._add(f"{ROOT}/{name}", file, size, changed)
        self._listing.add(Filed(name, size, digest, changed))

    def _add(self, name: str, file: IO[bytes], size: int, changed: int) -> str:
        """Add a member; the SHA-256 of what was read."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, changed // 10**9
        reader = _Hashing(file, self._tell)
        self._tar.addfile(info, reader)
        self._tar.members.clear()  # type: ignore[attr-defined]  # It keeps all there ever were.
        return reader.digest.hexdigest()

    def _tell(self, more: int) -> None:
        if self._on_progress is not None:
            files, size = self._listing.files, self._listing.size + more
            self._on_progress(Done(files, size, self._all_files, self._all_size))


class _Earlier:
    """What an archive leaves out, since an earlier one holds it.

    Attributes:
        files: that were left out.
    """

    def __init__(self, since: Path | None, work: Path) -> None:
        self._known = None if since is None else EarlierFiles(since)
        self.files = Listing(work)

    def leaves_out(self, path: Path, name: str, found: os.stat_result) -> bool:
        """Whether a file is left out; then it is noted."""
        same = None if self._known is None else self._known.find(path, name, found)
        if same is not None:
            self.files.add(same)
        return same is not None

    def has(self, name: str, found: os.stat_result) -> bool:
        """Whether a file will most likely be left out."""
        return self._known is not None and self._known.has(name, found)

    def about(self) -> dict[str, Any]:
        """A part of the manifest's head."""
        if self._known is None or not self.files.files:
            return {}
        return {"earlier": self._known.about}

    def close(self) -> None:
        """Forget it."""
        self.files.close()
        if self._known is not None:
            self._known.close()


class _Hashing:
    """Reads a file, hashes what was read and tells how much."""

    def __init__(self, file: IO[bytes], tell: Callable[[int], None]) -> None:
        self._file, self._tell, self._size = file, tell, 0
        self.digest = sha256()

    def read(self, count: int = -1) -> bytes:
        piece = self._file.read(count)
        self._size += len(piece)
        self.digest.update(piece)
        self._tell(self._size)
        return piece

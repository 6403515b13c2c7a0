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

import os
import tarfile
import time
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Self

from sqlalchemy import Connection, Engine

from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.pipeline import home_files
from rag_audio.pipeline.archive import DATABASE, ROOT, TELL_EVERY_S, Archiver, Done, OnProgress
from rag_audio.pipeline.home_files import KEYS, BadManifest, Filed, Listing, work_folder
from rag_audio.pipeline.restore import (
    Archived,
    Restored,
    Wanted,
    settle,
    settle_database,
    settle_file,
)
from rag_audio.storage.database_export import read_dump
from rag_audio.storage.files import draft_file, draft_folder, put_in_place

WITHOUT_KEYS = (
    "whoever loses the keys cannot trace any output that was marked with them; keep this archive "
    "safe, and secret: whoever has it can read, forge and remove marks, and read all prompts"
)
NO_DATABASE = (
    "this archive holds no database, because the home's own was used when it was made: what is in "
    "the database of RAG_AUDIO_DATABASE_URL stays as it is"
)
_GZIP = b"\x1f\x8b"
_PIECE = 2**20
_SYNCS = 32
_ZEROS = bytes(_PIECE)


@dataclass(frozen=True)
class Backup:
    """What was archived, or brought back.

    Attributes:
        files: how many. size: their bytes.
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


def create(
    home: Path,
    target: Path,
    database: Engine | None = None,
    on_progress: OnProgress | None = None,
) -> Backup:
    """Archive a home into ``target`` (``.tar``, or ``.tar.gz`` / ``.tgz`` to compress).

    Others may work in the home meanwhile; see the module.

    Args:
        database: where ledger and rights are, if that is not the home's own file.
        on_progress: told about ten times a second how far it is.

    Raises:
        InvalidInput: there is no home, the name has another ending, it cannot be written, or there
            is no room for it.
        BackendUnavailable: another process holds the embedded index for longer than one waits, or
            the database failed.
    """
    if not home.is_dir():
        raise InvalidInput(f"there is no home at {str(home)!r}", hint="set --home")
    if not target.name.endswith((".tar", ".tar.gz", ".tgz")):
        raise InvalidInput(f"a backup is a .tar or .tar.gz, not {target.name!r}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            draft = held.enter_context(draft_file(target))
            without = frozenset((target.absolute(), draft.absolute()))
            work = held.enter_context(work_folder(home))
            archiver = Archiver(home, work, target, without, database, on_progress)
            made = held.enter_context(closing(archiver.listing))
            rows, warnings = _write(archiver, draft)
            put_in_place(draft, target)
    except OSError as error:
        raise InvalidInput(
            f"the backup {str(target)!r} cannot be written: {error.strerror or error}",
            hint="choose another place, or make room on the disk",
        ) from error
    warnings.insert(0, WITHOUT_KEYS)
    if not (home / KEYS).is_dir():
        warnings.append("this home has no keys yet: nothing was marked in it")
    return Backup(target, made.files, made.size, tuple(warnings), rows)


def restore(
    archive: Path,
    home: Path,
    database: Engine | None = None,
    wanted: Wanted | None = None,
    on_progress: OnProgress | None = None,
) -> Backup:
    """Bring a home back; it is complete and checked when it appears, or it does not appear.

    Args:
        database: where a database that is in the archive goes.
        wanted: where to look for what was logged later, and who may be asked.
        on_progress: told about ten times a second how far it is, in bytes of the archive.

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
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(home) as draft, closing(Listing(home.parent)) as found:
            manifest = _unpack(archive, draft, found, on_progress)
            made = (Archived.read(manifest), wanted or Wanted())
            rows, done = _restore_database(archive, draft, found, manifest, database, made)
            done = done or settle_file(draft, *made)
            draft.replace(home)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{str(archive)!r} is not a complete tar file: {error}") from error
    except OSError as error:
        raise UnreadableFile(
            f"{str(archive)!r} cannot be restored: {error.strerror or error}"
        ) from error
    warnings: tuple[str, ...] = (NO_DATABASE,) if rows is None and database is not None else ()
    warnings += () if done is None else done.warnings
    return Backup(home, found.files, found.size, warnings, rows, done)


def _restore_database(
    archive: Path,
    draft: Path,
    found: Listing,
    manifest: dict[str, Any],
    database: Engine | None,
    made: tuple[Archived, Wanted],
) -> tuple[int | None, Restored | None]:
    """Take the database out of the unpacked files and put it where it belongs; its rows."""
    if "database" not in manifest:
        return None, None
    if database is None:
        raise InvalidInput(
            f"{str(archive)!r} holds a database of its own, and none is named to put it into",
            hint="set RAG_AUDIO_DATABASE_URL to an empty database",
        )
    done: list[Restored] = []

    def within(db: Connection, counts: dict[str, int]) -> None:
        if counts != manifest["database"]:
            raise _refused(archive, "its database has not the rows of its manifest")
        done.append(settle(db, draft / KEYS, counts.get("ledger_entries", 0), *made))

    counts = read_dump(database, draft / DATABASE, within)
    settle_database(database, done[0])
    found.files -= 1
    found.size -= (draft / DATABASE).stat().st_size
    (draft / DATABASE).unlink()
    return sum(counts.values()), done[0]


def _write(archiver: Archiver, draft: Path) -> tuple[int | None, list[str]]:
    """Write the archive; rows of the database, and warnings."""
    # By its number: gzip would write the name of a file that has one into the archive.
    with os.fdopen(os.open(draft, os.O_WRONLY), "wb") as raw:
        counts, warnings = archiver.write(raw)
    return None if counts is None else sum(counts.values()), warnings


def _unpack(
    archive: Path, draft: Path, found: Listing, on_progress: OnProgress | None
) -> dict[str, Any]:
    """Write the files below ``draft`` and list them; the head of the manifest, which lists them
    too."""
    with archive.open("rb") as raw:
        mode: Literal["r:gz", "r:"] = "r:gz" if raw.read(2) == _GZIP else "r:"
        raw.seek(0)
        tell = _Telling(raw, found, archive.stat().st_size, on_progress)
        return _unpack_members(archive, raw, mode, draft, found, tell)


class _Telling:
    """Tells how far an archive was read, about ten times a second."""

    def __init__(
        self, raw: IO[bytes], found: Listing, size: int, on_progress: OnProgress | None
    ) -> None:
        self._raw, self._found, self._size, self._on_progress = raw, found, size, on_progress
        self._told_at = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if self._on_progress is not None and now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            # Of files nobody knows how many there will be: the manifest comes last.
            self._on_progress(Done(self._found.files, self._raw.tell(), 0, self._size))


def _unpack_members(
    archive: Path,
    raw: IO[bytes],
    mode: Literal["r:gz", "r:"],
    draft: Path,
    found: Listing,
    tell: Callable[[], None],
) -> dict[str, Any]:
    manifest: dict[str, Any] | None = None
    with tarfile.open(fileobj=raw, mode=mode) as tar, _Syncing() as syncing:
        while member := tar.next():
            tell()
            tar.members.clear()  # type: ignore[attr-defined]  # It keeps all there ever were.
            if manifest is not None:
                raise _refused(archive, f"{member.name!r} follows the manifest")
            source = tar.extractfile(member) if member.isreg() else None
            if source is None:
                raise _refused(archive, f"{member.name!r} is a link, a folder or a device")
            if member.name in (home_files.NAME, home_files.NAME_1):
                manifest = _check(archive, member, source, found)
                continue
            name = _inside(archive, member.name)
            target = draft / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                found.add(Filed(name, *_copy(source, target, syncing, tell)))
            except (FileExistsError, NotADirectoryError) as error:
                how = "there twice" if target.is_file() else "a file and a folder"
                raise _refused(archive, f"{member.name!r} is {how}") from error
    if manifest is None:
        raise _refused(archive, "it has no manifest: it breaks off, or is no backup")
    return manifest


def _check(
    archive: Path, member: tarfile.TarInfo, source: IO[bytes], found: Listing
) -> dict[str, Any]:
    """Hold the manifest against the files that were found before it; its head."""
    try:
        if member.name == home_files.NAME_1:
            return home_files.check_1(source, member.size, found)
        return home_files.check(source, found)
    except BadManifest as error:
        raise _refused(archive, str(error)) from error


def _inside(archive: Path, name: str) -> str:
    """The name below ``home/``; one that could lead anywhere else is refused."""
    path = PurePosixPath(name)
    plain = path.parts[:1] == (ROOT,) and len(path.parts) > 1 and ".." not in path.parts
    if not plain or str(path) != name or "\\" in name or "\x00" in name:
        raise _refused(archive, f"{name!r} leads out of the home")
    return str(path.relative_to(ROOT))


class _Syncing:
    """Brings files to the disk, many at once: one by one, each would wait for a write of its own.

    At the end of the block all are there; OSError where one cannot be.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_SYNCS)
        self._waiting: deque[Future[None]] = deque()

    def add(self, handle: int) -> None:
        """Take over an open file: it is synced and closed."""
        self._waiting.append(self._threads.submit(_sync, handle))
        if len(self._waiting) > 2 * _SYNCS:
            self._waiting.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._threads.shutdown()
        if kind is None:
            for done in self._waiting:
                done.result()


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(
    source: IO[bytes], target: Path, syncing: _Syncing, tell: Callable[[], None]
) -> tuple[int, str]:
    """Write a file; zeros become holes, of which the files of an index consist for the most."""
    digest, size = sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        while piece := source.read(_PIECE):
            digest.update(piece)
            tell()
            size += len(piece)
            if piece == _ZEROS:
                file.seek(size)
            else:
                file.write(piece)
        file.truncate(size)
        file.flush()
        syncing.add(os.dup(file.fileno()))
    return size, digest.hexdigest()


def _refused(archive: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"{str(archive)!r} is not restored: {why}", hint="use an archive of `rag-audio backup`"
    )

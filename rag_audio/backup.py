"""A whole home as one tar file, and back: ledger, index, keys, private masters, whatever is there.

The archive begins with the home's files under ``home/`` and ends with ``manifest.json``, which
holds the size and SHA-256 of each: an archive that breaks off, or was changed, is not restored.
SQLite files are copied through SQLite's own backup interface, so that what other processes are
writing meanwhile is in the copy wholly or not at all; the embedded index is locked meanwhile. A
database elsewhere (PostgreSQL) is in the archive as ``rag-audio-database.jsonl``, all rows of one
moment, and is put back into the database that is configured then, which must have none of our
tables.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from sqlalchemy import Connection, Engine

from rag_audio import __version__
from rag_audio.backends._lock import IndexLock
from rag_audio.dump import read_dump, write_dump
from rag_audio.errors import BackendUnavailable, InvalidInput, UnreadableFile
from rag_audio.restoring import Archived, Restored, Wanted, settle, settle_database, settle_file

WITHOUT_KEYS = (
    "whoever loses the keys cannot trace any output that was marked with them; keep this archive "
    "safe, and secret: whoever has it can read, forge and remove marks, and read all prompts"
)
NO_DATABASE = (
    "this archive holds no database, because the home's own was used when it was made: what is in "
    "the database of RAG_AUDIO_DATABASE_URL stays as it is"
)
_FORMAT = "rag-audio backup 1"
_ROOT = "home"
_MANIFEST = "manifest.json"
_DATABASE = "rag-audio-database.jsonl"
_SQLITE = b"SQLite format 3\x00"
_GZIP = b"\x1f\x8b"
_PIECE = 2**20
_Found = dict[str, tuple[int, str]]


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


def create(home: Path, target: Path, database: Engine | None = None) -> Backup:
    """Archive a home into ``target`` (``.tar``, or ``.tar.gz`` / ``.tgz`` to compress).

    Args:
        database: where ledger and rights are, if that is not the home's own file.

    Raises:
        InvalidInput: there is no home, the name has another ending, or it cannot be written.
        BackendUnavailable: another process holds the embedded index, or the database failed.
    """
    if not home.is_dir():
        raise InvalidInput(f"there is no home at {str(home)!r}", hint="set --home")
    if not target.name.endswith((".tar", ".tar.gz", ".tgz")):
        raise InvalidInput(f"a backup is a .tar or .tar.gz, not {target.name!r}")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with ExitStack() as held:
            if (home / "index").is_dir():
                lock = IndexLock(home / "index" / "lock", f"the index at {home / 'index'}")
                held.callback(lock.release)
            target.parent.mkdir(parents=True, exist_ok=True)
            held.callback(draft.unlink, missing_ok=True)
            made, rows = _write(home, draft, target, database)
            draft.replace(target)
    except OSError as error:
        raise InvalidInput(
            f"the backup {str(target)!r} cannot be written: {error}",
            hint="choose another place, or make room on the disk",
        ) from error
    warnings = [WITHOUT_KEYS]
    if not (home / "keys").is_dir():
        warnings.append("this home has no keys yet: nothing was marked in it")
    size = sum(entry["size"] for entry in made.values())
    return Backup(target, len(made), size, tuple(warnings), rows)


def restore(
    archive: Path, home: Path, database: Engine | None = None, wanted: Wanted | None = None
) -> Backup:
    """Bring a home back; it is complete and checked when it appears, or it does not appear.

    Args:
        database: where a database that is in the archive goes.
        wanted: where to look for what was logged later, and who may be asked.

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
    draft = home.with_name(f".{home.name}.{secrets.token_hex(8)}")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        found, manifest = _unpack(archive, draft)
        _compare(archive, found, manifest)
        made = (Archived.read(manifest), wanted or Wanted())
        rows, done = _restore_database(archive, draft, found, manifest, database, made)
        done = done or settle_file(draft, *made)
        draft.replace(home)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UnreadableFile(f"{str(archive)!r} is not a complete tar file: {error}") from error
    except OSError as error:
        raise UnreadableFile(f"{str(archive)!r} cannot be restored: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    warnings: tuple[str, ...] = (NO_DATABASE,) if rows is None and database is not None else ()
    size = sum(size for size, _ in found.values())
    warnings += () if done is None else done.warnings
    return Backup(home, len(found), size, warnings, rows, done)


def _restore_database(
    archive: Path,
    draft: Path,
    found: _Found,
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
        done.append(settle(db, draft / "keys", counts["ledger_entries"], *made))

    counts = read_dump(database, draft / _DATABASE, within)
    settle_database(database, done[0])
    (draft / _DATABASE).unlink()
    del found[_DATABASE]
    return sum(counts.values()), done[0]


def _write(
    home: Path, draft: Path, target: Path, database: Engine | None
) -> tuple[dict[str, dict[str, Any]], int | None]:
    """Write the archive, on the disk when this returns; its files by name, and its rows."""
    made: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] | None = None
    own = (home / _DATABASE).absolute()  # the name is taken
    mode = "w:" if target.name.endswith(".tar") else "w:gz"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as raw:
        with tarfile.open(fileobj=raw, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            if database is not None:
                # First, as databases are: every entry's master is then in the archive.
                with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
                    copy = Path(folder, _DATABASE)
                    counts = write_dump(database, copy)
                    with copy.open("rb") as rows:
                        size = os.fstat(rows.fileno()).st_size
                        made[_DATABASE] = _add(tar, f"{_ROOT}/{_DATABASE}", rows, size, copy)
            for path, name in _files(home, {target.absolute(), draft.absolute(), own}):
                with _still(path) as (file, size):
                    made[name] = _add(tar, f"{_ROOT}/{name}", file, size, path)
            manifest = {
                "format": _FORMAT,
                "version": __version__,
                "created": datetime.now(UTC).isoformat(),
                "home": str(home.absolute()),
                "files": made,
                **({} if counts is None else {"database": counts}),
            }
            content = json.dumps(manifest, indent=1).encode()
            _add(tar, _MANIFEST, io.BytesIO(content), len(content), None)
        raw.flush()
        os.fsync(raw.fileno())
    return made, None if counts is None else sum(counts.values())


def _files(home: Path, without: set[Path]) -> list[tuple[Path, str]]:
    """Regular files of a home and their names in it; databases first.

    A master is written before its entry is logged: the ledger's copy is taken first, so that every
    entry's master is in the archive.
    """
    found = []
    for folder, _, names in os.walk(home):
        for each in sorted(names):
            path = Path(folder, each)
            name = path.relative_to(home).as_posix()
            companion = each.endswith(("-wal", "-shm", "-journal"))
            passing = path.absolute() in without or each.endswith(".lock") or name == "index/lock"
            if path.is_symlink() or not path.is_file() or companion or passing:
                continue
            found.append((not _is_sqlite(path), name, path))
    return [(path, name) for _, name, path in sorted(found)]


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


@contextmanager
def _still(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The file to read from, and its size: of a database, a copy that holds still."""
    if not _is_sqlite(path):
        with path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
        return
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as folder:
        copy = Path(folder, path.name)
        try:
            with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(copy)) as other:
                db.backup(other)
        except sqlite3.Error as error:
            raise BackendUnavailable(
                f"the database {str(path)!r} cannot be copied: {error}",
                hint="rag-audio ledger verify says whether it is damaged",
            ) from error
        with copy.open("rb") as file:
            yield file, copy.stat().st_size


def _add(
    tar: tarfile.TarFile, name: str, file: IO[bytes], size: int, path: Path | None
) -> dict[str, Any]:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o600
    info.mtime = int(path.stat().st_mtime if path else datetime.now(UTC).timestamp())
    reader = _Hashing(file, size)
    tar.addfile(info, reader)
    return {"size": size, "sha256": reader.digest.hexdigest()}


class _Hashing:
    """Reads a file and hashes what was read; never more than ``size`` bytes of one that grows."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size
        self.digest = sha256()

    def read(self, count: int = -1) -> bytes:
        piece = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(piece)
        self.digest.update(piece)
        return piece


def _unpack(archive: Path, draft: Path) -> tuple[_Found, dict[str, Any]]:
    """Write the files below ``draft``; their sizes and hashes by name, and the manifest."""
    found: _Found = {}
    manifest: dict[str, Any] | None = None
    with archive.open("rb") as raw:
        mode: Literal["r:gz", "r:"] = "r:gz" if raw.read(2) == _GZIP else "r:"
    with tarfile.open(archive, mode=mode) as tar:
        for member in tar:
            if manifest is not None:
                raise _refused(archive, f"{member.name!r} follows the manifest")
            source = tar.extractfile(member) if member.isreg() else None
            if source is None:
                raise _refused(archive, f"{member.name!r} is a link, a folder or a device")
            if member.name == _MANIFEST:
                manifest = _manifest(archive, source.read(64 * _PIECE))
                continue
            name = _inside(archive, member.name)
            if name in found:
                raise _refused(archive, f"{member.name!r} is there twice")
            target = draft / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                found[name] = _copy(source, target)
            except (FileExistsError, NotADirectoryError) as error:
                raise _refused(archive, f"{member.name!r} is a file and a folder") from error
    if manifest is None:
        raise _refused(archive, "it has no manifest: it breaks off, or is no backup")
    return found, manifest


def _inside(archive: Path, name: str) -> str:
    """The name below ``home/``; one that could lead anywhere else is refused."""
    path = PurePosixPath(name)
    plain = path.parts[:1] == (_ROOT,) and len(path.parts) > 1 and ".." not in path.parts
    if not plain or str(path) != name or "\\" in name or "\x00" in name:
        raise _refused(archive, f"{name!r} leads out of the home")
    return str(path.relative_to(_ROOT))


def _copy(source: IO[bytes], target: Path) -> tuple[int, str]:
    digest, size = sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        while piece := source.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _manifest(archive: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise _refused(archive, "its manifest is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise _refused(archive, "its manifest is of another format")
    return manifest


def _compare(archive: Path, found: _Found, manifest: dict[str, Any]) -> None:
    listed = manifest.get("files")
    if not isinstance(listed, dict) or set(listed) != set(found):
        raise _refused(archive, "its files are not those of its manifest")
    for name, (size, digest) in found.items():
        if listed[name] != {"size": size, "sha256": digest}:
            raise _refused(archive, f"{name!r} is not what was archived")


def _refused(archive: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"{str(archive)!r} is not restored: {why}", hint="use an archive of `rag-audio backup`"
    )

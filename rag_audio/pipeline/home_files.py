"""The files of a home that belong in an archive, each as it stands at one moment."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.home import COPIES, MASTERS, SPOOL
from rag_audio.storage.edge_spaces import folder_in_use
from rag_audio.storage.index_socket import COPY, copy_served, is_served
from rag_audio.storage.locks import lock_file, lock_if_free, wait_for_index
from rag_audio.storage.qdrant_edge import copy_folder

INDEX, KEYS = "index", "keys"
_MADE_ANEW = ("decoded/", f"{SPOOL}/", f"{COPIES}/")
"""What was made of uploads, what waits for the embedder, and copies of what lies elsewhere."""
_LARGE = (MASTERS, "outputs", "uploads", "previews", "decoded", SPOOL, COPIES)
"""Folders of many files where no database of ours is ever made."""
_SQLITE = b"SQLite format 3\x00"
_COMPANIONS = ("-wal", "-shm", "-journal")
_DRAFT = re.compile(r"\..+(\.part(\.[A-Za-z0-9]+)?|\.[0-9a-f]{8}\.(tmp|signed)|\.[0-9a-f]{16})")
"""Names of files that are being written: sounds, uploads, pictures, keys, archives."""
_WORK = re.compile(r"\.backup-[A-Za-z0-9_]+")
_WORK_LOCK = "backup.lock"
_MOST_LINKS = 5


@contextmanager
def work_folder(home: Path) -> Iterator[Path]:
    """A private folder in the home for copies, which goes with the block; so do those that
    backups left that were killed."""
    folder = Path(tempfile.mkdtemp(prefix=".backup-", dir=home))
    try:
        with (folder / _WORK_LOCK).open("x") as lock:
            lock_file(lock)
            _remove_leftovers(home, folder)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(home: Path, mine: Path) -> None:
    for folder in home.glob(".backup-*"):
        if folder == mine or not _is_work(folder):
            continue
        with lock_if_free(folder / _WORK_LOCK) as is_free:
            if is_free:
                shutil.rmtree(folder, ignore_errors=True)


def _is_work(folder: Path) -> bool:
    is_ours = _WORK.fullmatch(folder.name) is not None and not folder.is_symlink()
    return is_ours and (folder / _WORK_LOCK).is_file()


class HomeFiles:
    """The regular files of a home and their names in it, without what is only passing: locks,
    drafts, companions of databases. A million of them take no memory.

    Attributes:
        links: names of links that were skipped; of many, the first.

    Args:
        without: files that are none of the home's, such as the archive itself.
    """

    def __init__(self, home: Path, without: frozenset[Path]) -> None:
        self._home, self._without = home, without
        self.links: list[str] = []

    def databases(self) -> Iterator[tuple[Path, str]]:
        """SQLite databases, but for those in folders of outputs."""
        for path, name in self._walk(self._home, (INDEX, KEYS, *_LARGE)):
            with suppress(FileNotFoundError), path.open("rb") as file:
                if is_sqlite(file):
                    yield path, name

    def others(self) -> Iterator[tuple[Path, str]]:
        """All files but keys and index, which are copied whole."""
        return self._walk(self._home, (INDEX, KEYS))

    def everything(self) -> Iterator[tuple[Path, str]]:
        """All files."""
        return self._walk(self._home, ())

    def keys(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of all keys by name; each that was there at the call is in it.

        A rotation gives the old key a second name, and then its first name to the new key. A
        listing made before may miss the old key's second name: so it is made once more.
        """
        found: dict[str, tuple[bytes, int]] = {}
        for _ in range(2):
            for path, name in list(self._walk(self._home / KEYS, ())):
                if name not in found:
                    with suppress(FileNotFoundError):
                        found[name] = path.read_bytes(), path.stat().st_mtime_ns
        return found

    def _walk(self, folder: Path, leave: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
        left = {self._home / name for name in leave}
        for path, is_link in regular_files(folder, left):
            name = path.relative_to(self._home).as_posix()
            if is_link:
                if len(self.links) < _MOST_LINKS and name not in self.links:
                    self.links.append(name)
            elif path.absolute() not in self._without and not _is_passing(path, name):
                yield path, name


class MastersMet:
    """Outputs whose masters were met while an archive is made, on the disk once they are many."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE masters (output INTEGER PRIMARY KEY, archived)")

    def note(self, output: int, archived: bool) -> None:
        """Note a master; one that was not archived had vanished."""
        self._db.execute("INSERT OR REPLACE INTO masters VALUES (?, ?)", (output, archived))

    def is_archived(self, output: int) -> bool | None:
        """Whether it was archived; None: it was not met."""
        asked = "SELECT archived FROM masters WHERE output = ?"
        row = self._db.execute(asked, (output,)).fetchone()
        return None if row is None else bool(row[0])

    def close(self) -> None:
        """Forget them."""
        self._db.close()


def regular_files(folder: Path, leave: Set[Path] = frozenset()) -> Iterator[tuple[Path, bool]]:
    """Regular files below a folder, and (True) links; one that vanishes is skipped."""
    try:
        found = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with found:
        for entry in found:
            path = Path(entry.path)
            if entry.is_symlink():
                yield path, True
            elif entry.is_dir(follow_symlinks=False):
                if path not in leave and not _is_work(path):
                    yield from regular_files(path, leave)
            elif entry.is_file(follow_symlinks=False):
                yield path, False


def _is_passing(path: Path, name: str) -> bool:
    for suffix in _COMPANIONS:
        if name.endswith(suffix) and path.with_name(path.name.removesuffix(suffix)).is_file():
            return True
    if name.endswith(".lock") or name == f"{INDEX}/lock" or name.startswith(_MADE_ANEW):
        return True
    return bool(_DRAFT.fullmatch(path.name))


def is_sqlite(file: IO[bytes]) -> bool:
    """Whether a file begins as an SQLite database does; it is read from its beginning then."""
    head = file.read(len(_SQLITE))
    file.seek(0)
    return head == _SQLITE


def require_room(folder: Path, needed: int, what: str, hint: str) -> None:
    """Check that so many bytes are free in a folder.

    Raises:
        InvalidInput: they are not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InvalidInput(
            f"{what} needs about {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free at "
            f"{folder}",
            hint=hint,
        )


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database as it stands at one moment, while others may write to it.

    Raises:
        InvalidInput: there is no room. BackendUnavailable: it is damaged, or locked for long.
    """
    log = path.with_name(f"{path.name}-wal")
    needed = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
    require_room(copy.parent, needed, f"a copy of {path}", "make room on the disk")
    try:
        with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(copy)) as other:
            db.backup(other)
    except sqlite3.Error as error:
        raise BackendUnavailable(
            f"the database {str(path)!r} cannot be copied: {error}",
            hint="rag-audio ledger verify says whether it is damaged",
        ) from error


def copy_index(home: Path, work: Path) -> Path | None:
    """Copy the embedded index as it stands at one moment, in use or not; None: there is none.

    Its lock is held for the copy only; where a process serves the index, that makes the copy.

    Args:
        work: a :func:`work_folder` of this home.

    Raises:
        BackendUnavailable: another process holds it for longer than one waits.
        InvalidInput: there is no room.
    """
    index, copy = home / INDEX, work / COPY
    if index.is_symlink() or not index.is_dir():
        return None
    index = folder_in_use(index)
    lock = wait_for_index(index, partial(is_served, index))
    if lock is None:
        try:
            copy_served(index, work.name)
            return copy
        except BackendUnavailable:
            if is_served(index):
                raise
        # It ended meanwhile.
        shutil.rmtree(copy, ignore_errors=True)
        lock = wait_for_index(index, lambda: False)
    if lock is not None:
        try:
            copy_folder(index, copy)
        finally:
            lock.release()
    return copy


# What an archive of a home says about its files, line by line: names and digests of a million
# files are never in memory at once.
#
# ``manifest.jsonl``: the first line is an object with ``format``, ``version``, ``created``,
# ``home`` (where it was) and, with a database elsewhere, ``database`` (rows by table). Then comes
# one line per file, in the archive's order: ``name``, ``size``, ``sha256``. The last line has the
# number of ``files`` and the SHA-256 of all bytes before it, so that one that breaks off is seen.
#
# Lines may have ``changed``, nanoseconds since 1970. Format 3 is that of an archive that leaves out
# files which an earlier one holds: ``earlier`` in its head says which (``name``, ``created``,
# ``sha256`` of its manifest), lines with ``"earlier": true`` follow those of its own files, and the
# last line has their number as ``earlier``.
#
# Format 1, ``manifest.json``, is one JSON object with the files by name; it stays readable.

FORMAT, FORMAT_1, FORMAT_3 = "rag-audio backup 2", "rag-audio backup 1", "rag-audio backup 3"
NAME, NAME_1 = "manifest.jsonl", "manifest.json"
MOST_LINE_BYTES = 2**16
MOST_BYTES_1 = 2**30
"""Of a manifest of format 1, which is read whole: some 8 million files."""


class BadArchive(Exception):
    """An archive is not as a backup writes it; the text says why."""


@dataclass(frozen=True)
class Filed:
    """A file of an archive: its name below the home, its bytes, their SHA-256 in hex.

    ``changed``: when it was changed last, in nanoseconds since 1970, where that is known.
    """

    name: str
    size: int
    sha256: str
    changed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A line of a manifest."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Listing:
    """Files in order, on the disk.

    Attributes:
        files: how many. size: their bytes.

    Args:
        folder: where the disk has room for it; the file has no name there.
    """

    def __init__(self, folder: Path) -> None:
        self.files = self.size = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (see close)

    def add(self, filed: Filed) -> None:
        """Note a file."""
        self.files += 1
        self.size += filed.size
        self._file.write(_line(filed.to_json()))

    def __iter__(self) -> Iterator[Filed]:
        self._file.seek(0)
        for line in self._file:
            yield Filed(**json.loads(line))

    def close(self) -> None:
        """Forget it."""
        self._file.close()


def write(
    head: Mapping[str, Any], files: Listing, target: IO[bytes], left_out: Listing | None = None
) -> None:
    """Write a manifest; ``format`` is added to its head.

    Args:
        left_out: what the archive named as ``earlier`` in the head holds; None: it stands alone.
    """
    digest = sha256()

    def put(line: bytes) -> None:
        digest.update(line)
        target.write(line)

    put(_line({"format": FORMAT if left_out is None else FORMAT_3, **head}))
    for filed in files:
        put(_line(filed.to_json()))
    for filed in left_out or ():
        put(_line({**filed.to_json(), "earlier": True}))
    put(_line(_last(files, left_out, digest.hexdigest())))


def _last(files: Listing, left_out: Listing | None, digest: str) -> dict[str, Any]:
    earlier = {} if left_out is None else {"earlier": left_out.files}
    return {"files": files.files, **earlier, "sha256": digest}


def check(source: IO[bytes], size: int, files: Listing, left_out: Listing) -> dict[str, Any]:
    """Read a manifest of so many bytes, and compare it with the files that were found; its head.

    Args:
        left_out: is given the files that an earlier archive holds.

    Raises:
        BadArchive: it is none, or lists other files.
    """
    digest = sha256()
    line = _next(source)
    head = _object(line)
    if head.get("format") not in (FORMAT, FORMAT_3):
        raise BadArchive("its manifest is of another format")
    for filed in files:
        digest.update(line)
        line = _next(source)
        listed = _object(line)
        if "name" not in listed or "earlier" in listed:
            raise BadArchive(f"{filed.name!r} is not in its manifest")
        _same(filed, listed)
    digest.update(line)
    is_increment = head["format"] == FORMAT_3
    line = _next(source)
    while is_increment and (listed := _object(line)).get("earlier") is True:
        left_out.add(_left_out(listed))
        digest.update(line)
        line = _next(source)
    last = _object(line)
    if "name" in last:
        raise BadArchive(f"{last['name']!r} of its manifest is not in it")
    if last != _last(files, left_out if is_increment else None, digest.hexdigest()):
        raise BadArchive("its manifest was changed")
    if source.read(1):
        raise BadArchive("its manifest goes on after its end")
    return head


def _left_out(listed: Mapping[str, Any]) -> Filed:
    name, size, digest = (listed.get(key) for key in ("name", "size", "sha256"))
    if not (isinstance(name, str) and isinstance(size, int) and isinstance(digest, str)):
        raise BadArchive("its manifest has a line that names no file")
    return Filed(name, size, digest)


def check_1(source: IO[bytes], size: int, files: Listing, left_out: Listing) -> dict[str, Any]:
    """As :func:`check`, of format 1, of which no more than ``MOST_BYTES_1`` are read."""
    if size > MOST_BYTES_1:
        raise BadArchive(f"its manifest has {size} bytes, and {MOST_BYTES_1} are the most")
    head = _object(source.read(size))
    if head.get("format") != FORMAT_1:
        raise BadArchive("its manifest is of another format")
    listed = head.pop("files", None)
    if not isinstance(listed, dict):
        raise BadArchive("its manifest lists no files")
    for filed in files:
        about = listed.pop(filed.name, None)
        if not isinstance(about, dict):
            raise BadArchive(f"{filed.name!r} is not in its manifest")
        _same(filed, {"name": filed.name, **about})
    if listed:
        raise BadArchive(f"{next(iter(listed))!r} of its manifest is not in it")
    return head


CHECKS: Mapping[str, Callable[[IO[bytes], int, Listing, Listing], dict[str, Any]]] = {
    NAME: check,
    NAME_1: check_1,
}
"""What reads a manifest, by its name in the archive."""


def _same(filed: Filed, listed: Mapping[str, Any]) -> None:
    if listed.get("name") != filed.name:
        raise BadArchive(f"{filed.name!r} is where its manifest has {listed.get('name')!r}")
    if (listed.get("size"), listed.get("sha256")) != (filed.size, filed.sha256):
        raise BadArchive(f"{filed.name!r} is not what was archived")


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _next(source: IO[bytes]) -> bytes:
    line = source.readline(MOST_LINE_BYTES + 1)
    if len(line) > MOST_LINE_BYTES:
        raise BadArchive(f"its manifest has a line of more than {MOST_LINE_BYTES} bytes")
    if not line.endswith(b"\n"):
        raise BadArchive("its manifest breaks off")
    return line


def next_object(source: IO[bytes]) -> dict[str, Any]:
    """The next line of a manifest.

    Raises:
        BadArchive: it is too long, breaks off, or is no object.
    """
    return _object(_next(source))


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadArchive("its manifest is not JSON") from error
    if not isinstance(found, dict):
        raise BadArchive("its manifest is of another format")
    return found

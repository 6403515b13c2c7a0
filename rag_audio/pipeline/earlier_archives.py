"""Backups that leave out what an earlier archive holds, and where their files come from.

Masters and delivered files are never changed once they are there, and are most of a home. An
archive that is made ``since`` an earlier one lists those that are the same there (name, size, and
time of change or SHA-256), and holds everything else whole: the databases, the keys, the index.
Its manifest is of format 3 (:mod:`.home_files`). A restore takes what was left out from the earlier
archive, or from the one before that, and compares each file with the manifest of the newest.
"""

from __future__ import annotations

import os
import sqlite3
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any

from rag_audio.errors import InvalidInput
from rag_audio.home import MASTERS
from rag_audio.pipeline.home_files import NAME, NAME_1, BadArchive, Filed, Listing, next_object
from rag_audio.storage.archives import members, opened

LASTING = (f"{MASTERS}/", "outputs/")
"""Beginnings of the names of files that are never changed."""
BROKEN = (tarfile.TarError, EOFError, zlib.error)
"""What reading an archive raises that is damaged, or none."""
_HINT = "name the earlier archives with --earlier, or put them beside this one"


class EarlierFiles:
    """What an archive, and those it builds upon, hold of the files that are never changed.

    Attributes:
        about: of the archive, for a manifest: ``name``, ``created`` and the manifest's ``sha256``.
    """

    def __init__(self, archive: Path) -> None:
        """
        Raises:
            InvalidInput: it is no whole archive of ``backup``, or one of version 1.
        """
        self._db = sqlite3.connect("")  # on the disk once it is large, and without a name
        self._db.execute(
            "CREATE TABLE files (name TEXT PRIMARY KEY, size, sha256, changed) WITHOUT ROWID"
        )
        try:
            self.about = self._read(archive)
        except (*BROKEN, OSError, BadArchive) as error:
            self._db.close()
            raise InvalidInput(
                f"{str(archive)!r} cannot be built upon: {error}",
                hint="name a whole archive of `rag-audio backup` with --since",
            ) from error

    def find(self, path: Path, name: str, found: os.stat_result) -> Filed | None:
        """The file as the earlier archive has it, if it is the same."""
        row = self._db.execute("SELECT * FROM files WHERE name = ?", (name,)).fetchone()
        if row is None or row[1] != found.st_size:
            return None
        if row[3] != found.st_mtime_ns:
            with path.open("rb") as file:
                if file_digest(file, "sha256").hexdigest() != row[2]:
                    return None
        return Filed(name, row[1], row[2], found.st_mtime_ns)

    def has(self, name: str, found: os.stat_result) -> bool:
        """Whether a file is most likely the same, without reading it."""
        row = self._db.execute("SELECT size, changed FROM files WHERE name = ?", (name,)).fetchone()
        return bool(row == (found.st_size, found.st_mtime_ns))

    def close(self) -> None:
        """Forget it."""
        self._db.close()

    def _read(self, archive: Path) -> dict[str, Any]:
        with opened(archive) as tar:
            for member in members(tar):
                source = tar.extractfile(member) if member.isreg() else None
                if member.name == NAME and source is not None:
                    return {"name": archive.name, **self._fill(source)}
                if member.name == NAME_1:
                    raise BadArchive("it is of format 1, which has no list that could be read on")
        raise BadArchive("it has no manifest: it breaks off, or is no backup")

    def _fill(self, source: IO[bytes]) -> dict[str, Any]:
        head = next_object(source)
        line: dict[str, Any] = {}
        while "files" not in line:
            line = next_object(source)
            if str(line.get("name", "")).startswith(LASTING):
                row = (line["name"], line.get("size"), line.get("sha256"), line.get("changed"))
                try:
                    self._db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", row)
                except sqlite3.Error as error:
                    raise BadArchive(f"its manifest lists {row[0]!r} twice, or wrongly") from error
        return {"created": head.get("created"), "sha256": line.get("sha256")}


class LeftOut:
    """Files that an archive lists and does not hold, until each is found in an earlier one.

    Attributes:
        missing: how many are looked for still.

    Raises:
        BadArchive: a file is listed twice.
    """

    def __init__(self, files: Iterable[Filed]) -> None:
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE files (name TEXT PRIMARY KEY, size, sha256) WITHOUT ROWID")
        rows = ((one.name, one.size, one.sha256) for one in files)
        try:
            self.missing = self._db.executemany("INSERT INTO files VALUES (?, ?, ?)", rows).rowcount
        except sqlite3.IntegrityError as error:
            self._db.close()
            raise BadArchive("its manifest lists a file twice") from error

    def wanted(self, name: str, size: int) -> str | None:
        """The SHA-256 that a file must have; None: it is not looked for."""
        asked = "SELECT sha256 FROM files WHERE name = ? AND size = ?"
        row = self._db.execute(asked, (name, size)).fetchone()
        return None if row is None else str(row[0])

    def found(self, name: str) -> None:
        """It is looked for no more."""
        self.missing -= self._db.execute("DELETE FROM files WHERE name = ?", (name,)).rowcount

    def first(self) -> str:
        """The first by name that is looked for still."""
        return str(self._db.execute("SELECT min(name) FROM files").fetchone()[0])

    def close(self) -> None:
        """Forget them."""
        self._db.close()


def fetch(
    archive: Path,
    head: dict[str, Any],
    files: Listing,
    named: tuple[Path, ...],
    put: Callable[[str, IO[bytes]], str],
    remove: Callable[[str], None],
) -> None:
    """Bring the files that an archive leaves out, from earlier archives.

    Args:
        head: of the archive's manifest, which names the archive that it builds upon: one of this
            name beside it is looked through, as are those that it builds upon in turn.
        files: that were left out. named: further archives.
        put: writes a file of this name and gives its SHA-256. remove: takes it away again.

    Raises:
        InvalidInput: files are in none of the archives, as far as these can be read.
    """
    queue, seen = deque([*named, *_before(archive, head)]), set[Path]()
    damaged: list[str] = []
    with closing(LeftOut(files)) as missing:
        while queue and missing.missing:
            earlier = queue.popleft()
            if earlier.absolute() in seen or not earlier.is_file():
                continue
            seen.add(earlier.absolute())
            try:
                queue.extend(_look_through(earlier, missing, put, remove))
            except BROKEN as error:  # Another one may have what is lost.
                damaged.append(f"; {str(earlier)!r} is damaged: {error}")
        if missing.missing:
            about = head["earlier"]
            raise InvalidInput(
                f"{str(archive)!r} is not restored: {missing.missing} of its files, such as "
                f"{missing.first()}, are in an earlier archive, {about.get('name')!r} of "
                f"{about.get('created')}, or one before it" + "".join(damaged),
                hint=_HINT,
            )


def _look_through(
    earlier: Path,
    missing: LeftOut,
    put: Callable[[str, IO[bytes]], str],
    remove: Callable[[str], None],
) -> list[Path]:
    """Take what is looked for; the archives that this one builds upon. Raises what is in
    :data:`BROKEN`."""
    with opened(earlier) as tar:
        for member in members(tar):
            if member.name == NAME and (source := tar.extractfile(member)) is not None:
                return _before(earlier, _head(source))
            if member.name == NAME_1:
                return []
            name = member.name.partition("/")[2]
            wanted = missing.wanted(name, member.size) if member.isreg() else None
            source = None if wanted is None else tar.extractfile(member)
            if source is None:
                continue
            try:
                is_same = put(name, source) == wanted
            except BROKEN:
                remove(name)
                raise
            if is_same:
                missing.found(name)
                if not missing.missing:
                    return []
            else:
                remove(name)
    raise tarfile.ReadError("it has no manifest: it breaks off, or is no backup")


def _head(manifest: IO[bytes]) -> dict[str, Any]:
    try:
        return next_object(manifest)
    except BadArchive as error:
        raise tarfile.ReadError(str(error)) from error


def _before(archive: Path, head: dict[str, Any]) -> list[Path]:
    about = head.get("earlier")
    name = about.get("name") if isinstance(about, dict) else None
    plain = isinstance(name, str) and Path(name).name == name
    return [archive.parent / str(name)] if plain else []

"""What an archive of a home says about its files, line by line: names and digests of a million
files are never in memory at once.

``manifest.jsonl``: the first line is an object with ``format``, ``version``, ``created``, ``home``
(where it was) and, with a database elsewhere, ``database`` (rows by table). Then comes one line
per file, in the archive's order: ``name``, ``size``, ``sha256``. The last line has the number of
``files`` and the SHA-256 of all bytes before it, so that one that breaks off is seen.

Format 1, ``manifest.json``, is one JSON object with the files by name; it is read for ever.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

FORMAT, FORMAT_1 = "rag-audio backup 2", "rag-audio backup 1"
NAME, NAME_1 = "manifest.jsonl", "manifest.json"
MOST_LINE_BYTES = 2**16
MOST_BYTES_1 = 2**30
"""Of a manifest of format 1, which is read whole: some 8 million files."""


class BadManifest(ValueError):
    """A manifest is not one, or not that of these files; the text says why."""


@dataclass(frozen=True)
class Filed:
    """A file of an archive: its name below the home, its bytes, their SHA-256 in hex."""

    name: str
    size: int
    sha256: str


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
        self._file.write(_line([filed.name, filed.size, filed.sha256]))

    def __iter__(self) -> Iterator[Filed]:
        self._file.seek(0)
        for line in self._file:
            yield Filed(*json.loads(line))

    def close(self) -> None:
        """Forget it."""
        self._file.close()


def write(head: Mapping[str, Any], files: Listing, target: IO[bytes]) -> None:
    """Write a manifest; ``format`` is added to its head."""
    digest = sha256()

    def put(line: bytes) -> None:
        digest.update(line)
        target.write(line)

    put(_line({"format": FORMAT, **head}))
    count = 0
    for filed in files:
        put(_line({"name": filed.name, "size": filed.size, "sha256": filed.sha256}))
        count += 1
    put(_line({"files": count, "sha256": digest.hexdigest()}))


def check(source: IO[bytes], files: Listing) -> dict[str, Any]:
    """Read a manifest, and hold it against the files that were found; its head.

    Raises:
        BadManifest: it is none, or lists other files.
    """
    digest = sha256()
    line = _next(source)
    head = _object(line)
    if head.get("format") != FORMAT:
        raise BadManifest("its manifest is of another format")
    count = 0
    for filed in files:
        digest.update(line)
        line = _next(source)
        listed = _object(line)
        if "name" not in listed:
            raise BadManifest(f"{filed.name!r} is not in its manifest")
        _same(filed, listed)
        count += 1
    digest.update(line)
    last = _object(_next(source))
    if "name" in last:
        raise BadManifest(f"{last['name']!r} of its manifest is not in it")
    if last != {"files": count, "sha256": digest.hexdigest()}:
        raise BadManifest("its manifest was changed")
    if source.read(1):
        raise BadManifest("its manifest goes on after its end")
    return head


def check_1(source: IO[bytes], size: int, files: Listing) -> dict[str, Any]:
    """As :func:`check`, of format 1.

    Args:
        size: bytes of the manifest.

    Raises:
        BadManifest: it is none, lists other files, or is longer than ``MOST_BYTES_1``.
    """
    if size > MOST_BYTES_1:
        raise BadManifest(f"its manifest has {size} bytes, and {MOST_BYTES_1} are the most")
    head = _object(source.read(size))
    if head.get("format") != FORMAT_1:
        raise BadManifest("its manifest is of another format")
    listed = head.pop("files", None)
    if not isinstance(listed, dict):
        raise BadManifest("its manifest lists no files")
    for filed in files:
        about = listed.pop(filed.name, None)
        if not isinstance(about, dict):
            raise BadManifest(f"{filed.name!r} is not in its manifest")
        _same(filed, {"name": filed.name, **about})
    if listed:
        raise BadManifest(f"{next(iter(listed))!r} of its manifest is not in it")
    return head


def _same(filed: Filed, listed: Mapping[str, Any]) -> None:
    if listed.get("name") != filed.name:
        raise BadManifest(f"{filed.name!r} is where its manifest has {listed.get('name')!r}")
    if (listed.get("size"), listed.get("sha256")) != (filed.size, filed.sha256):
        raise BadManifest(f"{filed.name!r} is not what was archived")


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _next(source: IO[bytes]) -> bytes:
    line = source.readline(MOST_LINE_BYTES + 1)
    if len(line) > MOST_LINE_BYTES:
        raise BadManifest(f"its manifest has a line of more than {MOST_LINE_BYTES} bytes")
    if not line.endswith(b"\n"):
        raise BadManifest("its manifest breaks off")
    return line


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadManifest("its manifest is not JSON") from error
    if not isinstance(found, dict):
        raise BadManifest("its manifest is of another format")
    return found

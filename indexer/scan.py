"""Walk a library's folder: regular files inside its root, and everything else named with a reason.

Names that begin with a dot are skipped, as are the library's own two tables. A link to a file
inside the library counts as a file; a link to a folder is never followed, so that no loop can form.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath

from indexer.library_toml import LIBRARY_TOML
from indexer.licenses import Declared, LibrarySpec, NotLicensed, judge
from indexer.path_patterns import normalized
from indexer.report import Notice, Rejection
from indexer.row_order import OrderNotices
from indexer.stems_csv import STEMS_CSV
from rag_audio.audio.headers import read_head, suffix_of

_AUDIO_SUFFIXES = frozenset(
    (
        ".wav .wave .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf .w64 .rf64 "
        ".m4a .m4b .aac .wma .wv .ape .tta .amr .mka .mp4 .mov .mkv .webm .avi .ogv .3gp "
        ".mid .midi .kar .rmi"
    ).split()
)
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, order=True)
class FoundFile:
    """A regular file below the root.

    Attributes:
        path: POSIX path below the root, valid UTF-8.
        size: bytes.
        mtime_ns: time of the last change.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass
class Scan:
    """What lies below a root."""

    files: list[FoundFile] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


def scan(root: Path) -> Scan:
    """All files below ``root``, in order of path; nothing that lies there can make this fail."""
    found = Scan()
    base = os.path.realpath(root)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(Path(base, folder)) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as fault:
            reason = f"the folder cannot be read: {fault.strerror}"
            found.rejected.append(Rejection(folder or ".", reason))
            continue
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if not name.startswith(".") and path not in (LIBRARY_TOML, STEMS_CSV):
                folders.extend(_sort_in(base, path, found))
    found.files.sort()
    found.rejected.sort()
    return found


def _sort_in(base: str, path: str, found: Scan) -> Iterator[str]:
    """Adds one entry to ``found``, or gives it back when it is a folder to walk."""
    full = Path(base, path)
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        found.rejected.append(Rejection(shown, "the name is not UTF-8; rename it"))
        return
    try:
        status = full.lstat()
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(full, strict=True)
            status = Path(target).stat()
            reason = _link_fault(base, target, status.st_mode)
            if reason is not None:
                found.rejected.append(Rejection(path, reason))
                return
    except OSError as fault:
        found.rejected.append(Rejection(path, _reason(fault)))
        return
    if stat.S_ISDIR(status.st_mode):
        yield path
    elif stat.S_ISREG(status.st_mode):
        found.files.append(FoundFile(path, status.st_size, status.st_mtime_ns))
    else:
        what = _SPECIAL.get(stat.S_IFMT(status.st_mode), "no regular file")
        found.rejected.append(Rejection(path, f"it is {what}, not a regular file"))


def _link_fault(base: str, target: str, mode: int) -> str | None:
    if os.path.commonpath((base, target)) != base:
        return "the link leads out of the library"
    if stat.S_ISDIR(mode):
        return "a link to a folder is not followed; what it holds is indexed where it lies"
    return None


def _reason(fault: OSError) -> str:
    if isinstance(fault, FileNotFoundError):
        return "the link leads nowhere"
    if "symbolic links" in (fault.strerror or ""):
        return "the link runs in a circle"
    return f"it cannot be looked at: {fault.strerror}"


def looks_like_music(root: Path, path: str) -> bool:
    """Whether a file that no row names is worth a word in the report: by its ending, else by its
    first bytes."""
    if Path(path).suffix.lower() in _AUDIO_SUFFIXES:
        return True
    try:
        return suffix_of(read_head(Path(root, path))) is not None
    except OSError:
        return False


# What lies in a library, compared with what its tables declare: which files may be indexed.


@dataclass(frozen=True)
class Limits:
    """How large a file may be; what is larger is reported and not read.

    Attributes:
        max_bytes: of the file.
        max_duration_s: of its sound.
    """

    max_bytes: int = 2_000_000_000
    max_duration_s: float = 4 * 3600.0


@dataclass
class Survey:
    """The result: files to index with what is declared about them, in order of path, and the rest.

    Attributes:
        refused: files and folders that will not be indexed, with the reason.
        faults: what is wrong with the two tables.
        misdeclared: how many files were refused for that.
        withheld: refused files whose row names a license all the same: with the id of that
            license and the artist.
        notices: what was odd in the library, and did not keep a file from being accepted.
    """

    accepted: dict[str, tuple[FoundFile, Declared]] = field(default_factory=dict)
    refused: list[Rejection] = field(default_factory=list)
    faults: list[Rejection] = field(default_factory=list)
    misdeclared: int = 0
    withheld: dict[str, tuple[FoundFile, str, str]] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def vanished(self, paths: Collection[str]) -> list[str]:
        """Those of ``paths`` that are neither accepted nor refused: gone from the library.

        What lies in a folder that cannot be read now is not gone.
        """
        refused = {item.path for item in self.refused}
        return [
            path
            for path in paths
            if path not in self.accepted
            and path not in refused
            and "." not in refused
            and not any(str(parent) in refused for parent in PurePosixPath(path).parents)
        ]


def survey(spec: LibrarySpec, on: date, known: Collection[str], limits: Limits) -> Survey:
    """Walk the library and judge every file.

    Args:
        known: paths indexed before; they are reported even where they no longer look like music.
    """
    found = scan(spec.root)
    result = Survey(refused=list(found.rejected), faults=list(spec.problems))
    used: set[int] = set()
    order = OrderNotices(spec.row_index, spec.rows)
    for candidate in found.files:
        path = candidate.path
        rows = spec.rows_of(path)
        used.update(row.number for row in rows)
        order.see(path, rows)
        declared = judge(spec, rows, on)
        if isinstance(declared, NotLicensed):
            result.misdeclared += declared.is_misdeclared
            if declared.license and 0 < candidate.size <= limits.max_bytes:
                result.withheld[path] = (candidate, declared.license, declared.artist)
            if rows or path in known or looks_like_music(spec.root, path):
                result.refused.append(Rejection(path, declared.reason))
        elif candidate.size == 0:
            result.refused.append(Rejection(path, "it is empty"))
        elif candidate.size > limits.max_bytes:
            size = f"{candidate.size:,} bytes long, over {limits.max_bytes:,}"
            result.refused.append(Rejection(path, f"it is {size}"))
        else:
            result.accepted[path] = (candidate, declared)
    result.notices += order.notices()
    refused = {normalized(item.path) for item in found.rejected}
    for row in spec.rows:
        if row.number not in used and row.fault is None and row.pattern not in refused:
            reason = f"row {row.number} of {STEMS_CSV} matches no file"
            result.faults.append(Rejection(row.pattern, reason))
    return result

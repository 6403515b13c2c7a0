"""Walk a library's folder: regular files inside its root, and everything else named with a reason.

Names that begin with a dot are skipped, as are the library's own two tables, and what the system or
other programs left (:mod:`indexer.junk`). A link to a file inside the library counts as a file; a
link to a folder is never followed, so that no loop can form.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from indexer.junk import (
    ending_of,
    files_below,
    junk_folder,
    junk_kind,
    other_kind,
    package_kind,
    partial_download,
)
from indexer.library_toml import LIBRARY_TOML
from indexer.report import Rejection
from indexer.stems_csv import STEMS_CSV
from rag_audio.audio.headers import read_head, suffix_of

_AUDIO_SUFFIXES = frozenset(
    (
        ".wav .wave .bwf .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .w64 .rf64 "
        ".m4a .m4b .aac .ac3 .amr .wma .wv .ape .tta .mka .weba .rex .rx2 .mp4 .mov .mkv .webm "
        ".avi .ogv .3gp .flv .mpg .mpeg .m2ts .mts .eac3 .dts .mid .midi .kar .rmi .smf"
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
    """What lies below a root.

    Attributes:
        aside: files that are junk by their ending alone, or downloads that were not finished.
        junk, other: files of the system and of other programs, and packages, by kind; they are in
            none of the lists.
    """

    files: list[FoundFile] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    aside: list[FoundFile] = field(default_factory=list)
    junk: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)


def scan(root: Path, entered: Collection[str] = ()) -> Scan:
    """All files below ``root``, in order of path; nothing that lies there can make this fail.

    Args:
        entered: packages (folders that a program keeps as one document) that are walked all the
            same.
    """
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
            if path not in (LIBRARY_TOML, STEMS_CSV) and not _is_junk(base, path, name, found):
                folders.extend(_sort_in(base, path, entered, found))
    found.files.sort()
    found.aside.sort()
    found.rejected.sort()
    return found


def _is_junk(base: str, path: str, name: str, found: Scan) -> bool:
    """Whether an entry is the system's or another program's by its name; then it is counted."""
    folder = junk_folder(name)
    if folder is not None:
        entry = Path(base, path)
        if entry.is_dir() and not entry.is_symlink():
            found.junk[folder] += files_below(entry)
            return True
    kind = junk_kind(name)
    if kind is None or kind == other_kind(name):
        return False
    found.junk[kind] += 1
    return True


def _sort_in(base: str, path: str, entered: Collection[str], found: Scan) -> Iterator[str]:
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
        package = None if path in entered else package_kind(full.name)
        if package is None:
            yield path
        else:
            found.other[package] += 1
    elif stat.S_ISREG(status.st_mode):
        is_aside = junk_kind(full.name) or partial_download(full.name)
        files = found.aside if is_aside else found.files
        files.append(FoundFile(path, status.st_size, status.st_mtime_ns))
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
    return has_music_ending(path) or suffix_of(head_of(root, path)) is not None


def has_music_ending(path: str) -> bool:
    """Whether a file's ending is one of sound, of video or of scores."""
    return ending_of(path) in _AUDIO_SUFFIXES


def head_of(root: Path, path: str) -> bytes:
    """How a file begins; empty where it cannot be read."""
    try:
        return read_head(Path(root, path))
    except OSError:
        return b""

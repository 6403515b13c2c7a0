"""Walk a library: regular files inside its root, and everything else named with a reason.

Names that begin with a dot are skipped, as are the library's own two tables, and what the system or
other programs left (:mod:`indexer.junk`). A link to a file inside the library counts as a file; a
link to a folder is never followed, so that no loop can form.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from indexer.junk import (
    ending_of,
    junk_folder,
    junk_kind,
    other_kind,
    package_kind,
    partial_download,
)
from indexer.library_toml import LIBRARY_TOML
from indexer.report import Rejection
from indexer.stems_csv import STEMS_CSV
from rag_audio.audio.headers import HEAD_BYTES, suffix_of
from rag_audio.storage.library_files import LibraryFiles

_AUDIO_SUFFIXES = frozenset(
    (
        ".wav .wave .bwf .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .w64 .rf64 "
        ".m4a .m4b .aac .ac3 .amr .wma .wv .ape .tta .mka .weba .rex .rx2 .mp4 .mov .mkv .webm "
        ".avi .ogv .3gp .flv .mpg .mpeg .m2ts .mts .eac3 .dts .mid .midi .kar .rmi .smf"
    ).split()
)


@dataclass(frozen=True, order=True)
class FoundFile:
    """A regular file below the root.

    Attributes:
        path: POSIX path below the root, valid UTF-8.
        size: bytes.
        mtime_ns: time of the last change; of an object a number that stands for its version.
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


def scan(library: LibraryFiles, entered: Collection[str] = ()) -> Scan:
    """All files of a library, in order of path; nothing that lies there can make this fail.

    Args:
        entered: packages (folders that a program keeps as one document) that are walked all the
            same.

    Raises:
        BackendUnavailable: the library's place cannot be reached.
    """
    found = Scan()
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(library.listing(folder))
        except OSError as fault:
            reason = f"the folder cannot be read: {fault.strerror}"
            found.rejected.append(Rejection(folder or ".", reason))
            continue
        for name, is_folder in entries:
            path = f"{folder}/{name}" if folder else name
            if path in (LIBRARY_TOML, STEMS_CSV):
                continue
            if not _is_junk(library, path, is_folder, found):
                folders.extend(_sort_in(library, path, entered, found))
    found.rejected += [Rejection(path, reason) for path, reason in library.strays()]
    found.files.sort()
    found.aside.sort()
    found.rejected.sort()
    return found


def _is_junk(library: LibraryFiles, path: str, is_folder: bool, found: Scan) -> bool:
    """Whether an entry is the system's or another program's by its name; then it is counted."""
    name = path.rpartition("/")[2]
    folder = junk_folder(name)
    if folder is not None and is_folder:
        found.junk[folder] += max(1, library.files_below(path))
        return True
    kind = junk_kind(name)
    if kind is None or kind == other_kind(name):
        return False
    found.junk[kind] += 1
    return True


def _sort_in(
    library: LibraryFiles, path: str, entered: Collection[str], found: Scan
) -> Iterator[str]:
    """Adds one entry to ``found``, or gives it back when it is a folder to walk."""
    name = path.rpartition("/")[2]
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        found.rejected.append(Rejection(shown, "the name is not UTF-8; rename it"))
        return
    try:
        entry = library.entry(path)
    except OSError as fault:
        found.rejected.append(Rejection(path, _reason(fault)))
        return
    if entry.fault:
        found.rejected.append(Rejection(path, entry.fault))
    elif entry.is_folder:
        package = None if path in entered else package_kind(name)
        if package is None:
            yield path
        else:
            found.other[package] += 1
    else:
        is_aside = junk_kind(name) or partial_download(name)
        files = found.aside if is_aside else found.files
        files.append(FoundFile(path, entry.size, entry.state))


def _reason(fault: OSError) -> str:
    if isinstance(fault, FileNotFoundError):
        return "the link leads nowhere"
    if "symbolic links" in (fault.strerror or ""):
        return "the link runs in a circle"
    return f"it cannot be looked at: {fault.strerror}"


def looks_like_music(library: LibraryFiles, path: str) -> bool:
    """Whether a file that no row names is worth a word in the report: by its ending, else by its
    first bytes."""
    return has_music_ending(path) or suffix_of(head_of(library, path)) is not None


def has_music_ending(path: str) -> bool:
    """Whether a file's ending is one of sound, of video or of scores."""
    return ending_of(path) in _AUDIO_SUFFIXES


def head_of(library: LibraryFiles, path: str) -> bytes:
    """How a file begins; empty where it cannot be read."""
    return library.head(path, HEAD_BYTES)

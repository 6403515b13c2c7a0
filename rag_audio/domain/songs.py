"""The songs of a MIDI file of type 2, each of which is a stem of its own.

The first song has the path and the hash of its file. Song ``n`` has the path ``FILE.mid#n``, which
is no file of its own, and an id that is made from the file's hash.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

MIDI_SUFFIXES = frozenset({".mid", ".midi", ".kar", ".rmi", ".smf"})
"""Endings of files whose songs are told apart."""

_SONG = re.compile(r"(?P<file>.+(?P<suffix>\.[a-z]+))#(?P<song>[1-9][0-9]{0,2})", re.IGNORECASE)


def split_song(path: str) -> tuple[str, int]:
    """The path of the file that holds a song, and which song of it, from 1."""
    found = _SONG.fullmatch(path)
    if found is None or found["suffix"].lower() not in MIDI_SUFFIXES:
        return path, 1
    return found["file"], int(found["song"])


def song_path(file: str, song: int) -> str:
    """The inverse of :func:`split_song`."""
    return file if song == 1 else f"{file}#{song}"


def song_file(path: Path) -> tuple[Path, int]:
    """:func:`split_song`, save that a file which has such a name itself is that file."""
    file, song = split_song(str(path))
    return (path, 1) if song == 1 or path.exists() else (Path(file), song)


def song_id(file_sha256: str, song: int) -> str:
    """The id of the stem that is a song of a file.

    Args:
        file_sha256: of the file's bytes, hex.
    """
    if song == 1:
        return file_sha256
    return sha256(f"{file_sha256}#{song}".encode()).hexdigest()

"""Open a sound file: what its container holds is looked at before anything decodes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from rag_audio.audio.dsp import MAX_CHANNELS
from rag_audio.audio.headers import SequentialFile
from rag_audio.errors import UnreadableFile

_MIN_RATE, _MAX_RATE = 1000, 768_000
_KINDS = "WAV, FLAC, OGG, MP3 and AIFF are read; a damaged file is to be copied or exported anew"

# How many parts a sound file's container has, counted before anything decodes it.
#
# A container of millions of empty parts keeps its decoder busy for minutes. Only the parts'
# headers are read here, and what they hold is skipped.

MOST_CHUNKS = 10_000
"""Chunks of a WAV or AIFF, and tags before an MP3; files that programs write have a few dozen."""
_LITTLE, _BIG = (b"RIFF", b"RF64"), (b"RIFX", b"FORM")
_HEAD = 8
_TAG_HEAD = 10
_ID3 = b"ID3"
_UNKNOWN_SIZE, _FAR = 0xFFFFFFFF, 1 << 40


def require_few_chunks(path: Path) -> None:
    """Let a file pass that has at most :data:`MOST_CHUNKS` parts, whatever they are.

    Raises:
        UnreadableFile: it has more, or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(12)
            if start[:4] in _LITTLE + _BIG:
                many = _has_many_chunks(file, start[:4] in _BIG)
            else:
                many = _has_many_tags(file)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}") from error
    if many:
        raise UnreadableFile(
            f"{path} has more than {MOST_CHUNKS:,} data chunks besides its sound",
            hint="export it anew without them",
        )


def _has_many_chunks(file: BinaryIO, is_big: bool) -> bool:
    """Chunks of RIFF (Microsoft and IBM, 1991) or IFF (Electronic Arts, 1985): four letters, a
    size, as many bytes, and one more where that is odd."""
    long_size = 0
    for _ in range(MOST_CHUNKS):
        head = file.read(_HEAD)
        if len(head) < _HEAD:
            return False
        size = int.from_bytes(head[4:], "big" if is_big else "little")
        if head[:4] == b"ds64" and size >= 16:
            # EBU Tech 3306: the size of the data chunk stands in the second 64 bits.
            inside = file.read(16)
            long_size, size = int.from_bytes(inside[8:], "little"), size - len(inside)
        elif size == _UNKNOWN_SIZE:
            size = long_size or _UNKNOWN_SIZE
        file.seek(min(size + size % 2, _FAR), 1)
    return len(file.read(_HEAD)) == _HEAD


def _has_many_tags(file: BinaryIO) -> bool:
    """ID3v2 tags one after the other; a size has 7 bits in a byte (id3.org, ID3v2.4.0, 3.1)."""
    file.seek(0)
    for _ in range(MOST_CHUNKS):
        head = file.read(_TAG_HEAD)
        if len(head) < _TAG_HEAD or not head.startswith(_ID3):
            return False
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        file.seek(size + (_TAG_HEAD if head[5] & 0x10 else 0), 1)
    return file.read(len(_ID3)) == _ID3


def open_sound(path: Path) -> Any:
    """The file opened for reading, with every cause of failure told in one line of ours.

    Raises:
        UnreadableFile: it is not a sound file, an empty one, or out of range.
    """
    if not path.exists():
        raise UnreadableFile(f"there is no file {path}")
    if not path.is_file():
        raise UnreadableFile(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path} is empty")
    require_few_chunks(path)
    try:
        file = SequentialFile(os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError, ValueError, OSError) as error:
        raise UnreadableFile(f"{path} is not a sound file that can be read", hint=_KINDS) from error
    problem = None
    if file.frames <= 0:
        problem = "holds no sound"
    elif not 1 <= file.channels <= MAX_CHANNELS:
        problem = f"has {file.channels} channels, more than {MAX_CHANNELS}"
    elif not _MIN_RATE <= file.samplerate <= _MAX_RATE:
        problem = f"claims a sample rate of {file.samplerate} Hz"
    if problem:
        file.close()
        raise UnreadableFile(f"{path} {problem}")
    return file

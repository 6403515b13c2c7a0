"""Open a sound file: what its container holds is looked at before anything decodes it."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import soundfile

from rag_audio.audio.dsp import MAX_CHANNELS
from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.flac_frames import frame_from, lone_header
from rag_audio.audio.headers import read_head
from rag_audio.audio.joined_sound import JoinedSound
from rag_audio.audio.media_kinds import media_kind
from rag_audio.audio.mending import Part, ReadingLayout, look_into
from rag_audio.audio.resumed_sound import ResumedSound
from rag_audio.audio.sequential_file import UNKNOWN_FRAMES, SequentialFile
from rag_audio.audio.spliced_file import SplicedFile, cut_before
from rag_audio.errors import UnreadableFile
from rag_audio.storage.files import require_content

_MIN_RATE, _MAX_RATE = 1000, 768_000
_KINDS = "WAV, FLAC, OGG, MP3 and AIFF are read; a damaged file is to be copied or exported anew"
_RAW_AAC = "raw AAC has no frame headers by which it could be read: export it as m4a, WAV or FLAC"


class SoundSource(Protocol):
    """A sound file that is open and is read from front to back.

    Attributes:
        samplerate: Hz. channels: 1…8.
        frames: that the file claims; :data:`.UNKNOWN_FRAMES`: it does not say.
        format, subtype: libsndfile's names of the container and of the encoding; a decoder of
            another kind gives its own.
        extra_info: what the decoder says of the file, for people.
        notices: what was cut or odd, one line each without the file's name; complete after the
            last read.
    """

    notices: list[str]

    @property
    def samplerate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def frames(self) -> int: ...

    @property
    def format(self) -> str: ...

    @property
    def subtype(self) -> str: ...

    @property
    def extra_info(self) -> str: ...

    def read(self, frames: int, dtype: str = ..., always_2d: bool = ...) -> Any:
        """The next frames ``[T, C]``, fewer at the end, none behind it.

        Args:
            dtype: ``float32``, full scale is ±1. always_2d: True.

        Raises:
            soundfile.LibsndfileError, RuntimeError: what follows cannot be decoded.
        """
        ...

    def go_to(self, frame: int) -> None:
        """Stand at a frame that lies ahead, at the end where it is behind that."""
        ...

    def close(self) -> None:
        """Let the file go."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


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


def open_sound(path: Path) -> SoundSource:
    """The file opened for reading, with every cause of failure told in one line of ours.

    Raises:
        UnreadableFile: it is not a sound file, an empty one, or out of range.
    """
    require_content(path)
    kind = media_kind(path)
    if kind is None:
        file = _by_libsndfile(path)
    else:
        from rag_audio.audio.ffmpeg import open_media

        file = open_media(path, kind)
    if problem := _problem(file):
        file.close()
        raise UnreadableFile(f"{path} {problem}")
    file.notices[:0] = _misnamed(path, file.format)
    return file


def _by_libsndfile(path: Path) -> SoundSource:
    """A file as libsndfile reads it, where need be mended; what is odd in it is a notice."""
    try:
        layout = look_into(path)
        if layout.as_is:
            require_few_chunks(path)
        file = _opened(path, layout)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}") from error
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        hint = _RAW_AAC if path.suffix.lower() == ".aac" else _KINDS
        raise UnreadableFile(f"{path} is not a sound file that can be read", hint=hint) from error
    file.notices[:0] = layout.notices
    return file


def _opened(path: Path, layout: ReadingLayout) -> SoundSource:
    """The file itself where the decoder may have it, else its sounds one after the other."""
    if layout.as_is and (file := _open_whole(path, layout)) is not None:
        return _resumed(path, layout.parts[0], file)
    openers = [partial(_open_part, path, part) for part in layout.parts]
    if len(openers) > 1:
        return JoinedSound(openers, _problem)
    return _resumed(path, layout.parts[0], openers[0]())


def _resumed(path: Path, part: Part, file: SequentialFile) -> SoundSource:
    """The sound, which is taken up again behind damage where that is possible."""
    if not part.is_flac:
        return file
    rate, header = int(file.samplerate), lone_header(part.pieces[0])

    def resume(sample: int) -> tuple[SequentialFile, int] | None:
        with FileBytes(SplicedFile(path, part.pieces)) as data:
            found = frame_from(data, sample, rate)
        if found is None:
            return None
        pieces = (header, *cut_before(part.pieces, found[0]))
        try:
            return _open_part(path, Part(pieces, UNKNOWN_FRAMES)), found[1]
        except soundfile.LibsndfileError:
            return None

    return ResumedSound(file, resume)


def _open_whole(path: Path, layout: ReadingLayout) -> SequentialFile | None:
    """The file itself; None: its decoder would not read all of it, or reads it only mended."""
    part = layout.parts[0]
    try:
        file = SequentialFile(os.fsencode(path))
    except soundfile.LibsndfileError:
        if not part.pieces:
            raise
        return None
    if not layout.is_read_by(file.frames):
        file.close()
        return None
    file.known_frames = part.frames if layout.expected is None else layout.expected
    return file


def _open_part(path: Path, part: Part) -> SequentialFile:
    try:
        return _open_pieces(path, part)
    except soundfile.LibsndfileError:
        bare = _bare_flac(path, part)
        if bare is None:
            raise
    file = _open_pieces(path, bare)
    file.notices.append("what stands before its sound is damaged and is left out")
    return file


def _bare_flac(path: Path, part: Part) -> Part | None:
    """A FLAC stream without comments, pictures and whatever else its decoder may stumble over;
    None: it is none, or has no frames."""
    header = part.pieces[0] if part.is_flac else b""
    rate = int.from_bytes(header[18:21], "big") >> 4 if isinstance(header, bytes) else 0
    if not rate:
        return None
    with FileBytes(SplicedFile(path, part.pieces)) as data:
        found = frame_from(data, 0, rate)
    if found is None:
        return None
    pieces = (lone_header(header), *cut_before(part.pieces, found[0]))
    return replace(part, pieces=pieces)


def _open_pieces(path: Path, part: Part) -> SequentialFile:
    spliced = SplicedFile(path, part.pieces, part.extra)
    try:
        return SequentialFile(spliced, part.frames, part.promised)
    except BaseException:
        spliced.close()
        raise


def _problem(file: SoundSource) -> str:
    """Why a sound is not read; empty: it is."""
    if file.frames <= 0:
        return "holds no sound"
    if not 1 <= file.channels <= MAX_CHANNELS:
        return f"has {file.channels} channels, more than {MAX_CHANNELS}"
    if not _MIN_RATE <= file.samplerate <= _MAX_RATE:
        return f"claims a sample rate of {file.samplerate} Hz"
    return ""


def _misnamed(path: Path, kind: str) -> list[str]:
    kinds = _ENDINGS.get(path.suffix.lower())
    if kinds is None or kind in kinds:
        return []
    if kind == "MP3" and read_head(path).startswith(b"RIFF"):  # a WAV may hold MPEG audio
        return []
    return [f"is named {path.suffix}, and is {kind} inside; read as that"]


_WAVES = ("WAV", "WAVEX", "RF64", "W64")
_ENDINGS = {
    ".wav": _WAVES,
    ".wave": _WAVES,
    ".bwf": _WAVES,
    ".rf64": _WAVES,
    ".w64": _WAVES,
    ".mp3": ("MP3",),
    ".mp2": ("MP3",),
    ".flac": ("FLAC",),
    ".ogg": ("OGG", "FLAC", "Ogg"),
    ".oga": ("OGG", "FLAC", "Ogg"),
    ".opus": ("OGG",),
    ".aif": ("AIFF",),
    ".aiff": ("AIFF",),
    ".aifc": ("AIFF",),
    ".au": ("AU",),
    ".caf": ("CAF",),
    ".m4a": ("MP4", "QuickTime", "3GP"),
    ".aac": ("ADTS", "LOAS", "MP4"),
    ".wma": ("ASF",),
}
"""Names of the formats that files with such names hold."""

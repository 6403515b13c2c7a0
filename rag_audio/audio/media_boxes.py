"""The tracks of MP4 and Matroska files: what is sound, how it is encoded, and how long it claims
to be; :mod:`.media_chunks` does so for other kinds.

Sizes are not believed: a part ends where the part around it ends, nothing is read beyond the end
of the file, and at most 10,000 parts are looked at.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from rag_audio.errors import UnreadableFile

MOST_PARTS = 10_000
"""Boxes, elements, objects or chunks that are looked at in one file."""
LONGEST_S = 1e6
"""Seconds; who claims more claims nothing."""


@dataclass(frozen=True)
class Tracks:
    """What a container holds.

    Attributes:
        codecs: of its sound tracks, in order. others: how many tracks are no sound.
        protected: its sound is encrypted. unfinished: the part that tells the tracks is missing.
        duration_s: that the first sound track claims; None: it does not say.
    """

    codecs: tuple[str, ...] = ()
    others: int = 0
    protected: bool = False
    unfinished: bool = False
    duration_s: float | None = None


@dataclass(frozen=True)
class MediaPart:
    """A box, element, object or chunk: its name, and where its content starts and ends."""

    name: bytes
    start: int
    end: int


def seconds(count: float, rate: float) -> float | None:
    """A claimed length; None: it is none that could be meant."""
    return count / rate if rate > 0 and 0 < count < LONGEST_S * rate else None


class Bytes:
    """A file of which a bounded number of short pieces is read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file, self._left = path, file, MOST_PARTS
        self.size = file.seek(0, 2)

    def at(self, offset: int, size: int) -> bytes:
        """Bytes from an offset, fewer at the end of the file, none behind it.

        Raises:
            UnreadableFile: too many pieces were read.
        """
        if not 0 <= offset < self.size:
            return b""
        self._left -= 1
        if self._left < 0:
            raise UnreadableFile(
                f"{self._path} has more than {MOST_PARTS:,} parts before its sound",
                hint="export it anew",
            )
        self._file.seek(offset)
        return self._file.read(size)


# MP4, QuickTime and 3GP.

_ISO_CODECS = {
    b"mp4a": "AAC",
    b"alac": "ALAC",
    b"Opus": "Opus",
    b"fLaC": "FLAC",
    b".mp3": "MP3",
    b"ms\x00\x55": "MP3",
    b"ac-3": "AC-3",
    b"ec-3": "E-AC-3",
    b"dtsc": "DTS",
    b"samr": "AMR",
    b"sawb": "AMR",
    b"ima4": "ADPCM",
    b"ms\x00\x11": "ADPCM",
    **dict.fromkeys(
        (b"lpcm", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"fl64", b"raw ", b"ipcm", b"fpcm"),
        "PCM",
    ),
}
_PROTECTED = (b"drms", b"enca", b"p608")
_MPEG_CODECS = {0x69: "MP3", 0x6B: "MP3", 0xA5: "AC-3", 0xA6: "E-AC-3", 0xAD: "Opus"}
"""Object types that are no AAC (mp4ra.org)."""


def mp4_tracks(source: Bytes) -> Tracks:
    """Of ``moov``, wherever it stands (ISO/IEC 14496-12, 8.2 to 8.5)."""
    codecs: list[str] = []
    length: float | None = None
    others, protected = 0, False
    movie = first_part(boxes(source, 0, source.size), b"moov")
    if movie is None:
        return Tracks(unfinished=True)
    for track in boxes(source, movie.start, movie.end):
        media = track.name == b"trak" and first_part(boxes(source, track.start, track.end), b"mdia")
        if not media:
            continue
        kind, entry, claimed = _sample_entry(source, media)
        if kind != b"soun":
            others += 1
        elif entry[4:8] in _PROTECTED:
            protected = True
        else:
            length = length if codecs else claimed
            codecs.append(_iso_codec(entry))
    return Tracks(tuple(codecs), others, protected and not codecs, duration_s=length)


def _sample_entry(source: Bytes, media: MediaPart) -> tuple[bytes, bytes, float | None]:
    """A track's handler type, the first bytes of its first sample description, and its length."""
    kind, entry, length = b"", b"", None
    for box in boxes(source, media.start, media.end):
        if box.name == b"hdlr":
            kind = source.at(box.start + 8, 4)
        elif box.name == b"mdhd":
            length = _media_length(source.at(box.start, 32))
        elif box.name == b"minf":
            table = first_part(boxes(source, box.start, box.end), b"stbl")
            found = table and first_part(boxes(source, table.start, table.end), b"stsd")
            entry = source.at(found.start + 8, 512) if found else b""
    return kind, entry, length


def _media_length(header: bytes) -> float | None:
    at, size = (20, 8) if header[:1] == b"\x01" else (12, 4)
    count = int.from_bytes(header[at + 4 : at + 4 + size], "big")
    return seconds(count, int.from_bytes(header[at : at + 4], "big"))


def _iso_codec(entry: bytes) -> str:
    codec = _ISO_CODECS.get(entry[4:8], "")
    if codec != "AAC":
        return codec
    # ISO/IEC 14496-1, 7.2.6: an ES descriptor (3) holds a decoder configuration (4).
    at = entry.find(b"esds")
    inside = entry[at + 8 :] if at >= 0 else b""
    for tag, skip in ((3, 3), (4, 0)):
        if inside[:1] != bytes([tag]):
            return codec
        length = 1
        while length < 4 and inside[length : length + 1] > b"\x7f":
            length += 1
        inside = inside[1 + length + skip :]
    return _MPEG_CODECS.get(inside[0], codec) if inside else codec


def boxes(source: Bytes, start: int, end: int) -> Iterator[MediaPart]:
    """The boxes that lie between two bytes of an MP4, one behind the other."""
    while start + 8 <= end:
        head = source.at(start, 16)
        if len(head) < 8:
            return
        size, body = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, body = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - start
        if size < body:
            return
        yield MediaPart(head[4:8], start + body, min(start + size, end))
        start += size


def first_part(parts: Iterator[MediaPart], name: bytes) -> MediaPart | None:
    """The first part of that name; None: there is none."""
    return next((part for part in parts if part.name == name), None)


# Matroska and WebM: EBML elements (RFC 8794, RFC 9559).

_SEGMENT, _TRACKS, _CLUSTER = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"
_INFO, _SCALE, _DURATION = b"\x15\x49\xa9\x66", b"\x2a\xd7\xb1", b"\x44\x89"
_SCALE_NS = 1_000_000
_DOC_TYPE, _ENTRY, _TYPE, _CODEC = b"\x42\x82", b"\xae", b"\x83", b"\x86"
_ENCODINGS, _ENCODING, _ENCRYPTION = b"\x6d\x80", b"\x62\x40", b"\x50\x35"
_SOUND = 2
_MATROSKA_CODECS = {
    "A_AAC": "AAC",
    "A_OPUS": "Opus",
    "A_VORBIS": "Vorbis",
    "A_FLAC": "FLAC",
    "A_ALAC": "ALAC",
    "A_MPEG/L3": "MP3",
    "A_MPEG/L2": "MP2",
    "A_AC3": "AC-3",
    "A_EAC3": "E-AC-3",
    "A_DTS": "DTS",
    "A_WAVPACK4": "WavPack",
    "A_TTA1": "True Audio",
    "A_PCM/INT/LIT": "PCM",
    "A_PCM/INT/BIG": "PCM",
    "A_PCM/FLOAT/IEEE": "PCM",
}


def matroska_tracks(source: Bytes) -> tuple[Tracks, bool]:
    """The tracks as far as they stand before the first cluster, and whether it is WebM."""
    is_webm, found, length = False, Tracks(), None
    for top in _elements(source, 0, source.size):
        if top.name == b"\x1a\x45\xdf\xa3":
            kind = first_part(_elements(source, top.start, top.end), _DOC_TYPE)
            is_webm = bool(kind) and _content(source, kind).rstrip(b"\0") == b"webm"
        elif top.name == _SEGMENT:
            for part in _elements(source, top.start, top.end):
                if part.name == _TRACKS:
                    found = _entries(source, part)
                elif part.name == _INFO:
                    length = _segment_length(source, part)
                elif part.name == _CLUSTER:
                    break
            break
    return replace(found, duration_s=length), is_webm


def _segment_length(source: Bytes, info: MediaPart) -> float | None:
    scale, length = _SCALE_NS, 0.0
    for field in _elements(source, info.start, info.end):
        value = _content(source, field)
        if field.name == _SCALE:
            scale = int.from_bytes(value[:8], "big")
        elif field.name == _DURATION and len(value) in (4, 8):
            (length,) = struct.unpack(">f" if len(value) == 4 else ">d", value)
    return seconds(length * scale, 1e9) if math.isfinite(length) else None


def _entries(source: Bytes, tracks: MediaPart) -> Tracks:
    codecs, others, protected = [], 0, False
    for entry in _elements(source, tracks.start, tracks.end):
        kind, codec, encrypted = 0, "", False
        for field in _elements(source, entry.start, entry.end) if entry.name == _ENTRY else ():
            if field.name == _TYPE:
                kind = int.from_bytes(_content(source, field), "big")
            elif field.name == _CODEC:
                codec = _content(source, field).rstrip(b"\0").decode("ascii", "replace")
            elif field.name == _ENCODINGS:
                encrypted = _is_encrypted(source, field)
        if kind == _SOUND and encrypted:
            protected = True
        elif kind == _SOUND:
            codecs.append(_matroska_codec(codec))
        elif kind:
            others += 1
    return Tracks(tuple(codecs), others, protected and not codecs)


def _matroska_codec(id_: str) -> str:
    return _MATROSKA_CODECS.get(id_, "AAC" if id_.startswith("A_AAC/") else "")


def _is_encrypted(source: Bytes, encodings: MediaPart) -> bool:
    return any(
        first_part(_elements(source, one.start, one.end), _ENCRYPTION) is not None
        for one in _elements(source, encodings.start, encodings.end)
        if one.name == _ENCODING
    )


def _content(source: Bytes, part: MediaPart | None) -> bytes:
    return b"" if part is None else source.at(part.start, min(part.end - part.start, 64))


def _elements(source: Bytes, start: int, end: int) -> Iterator[MediaPart]:
    while start < end:
        head = source.at(start, 12)
        name = 9 - head[0].bit_length() if head and head[0] else 0
        length = 9 - head[name].bit_length() if len(head) > name and head[name] else 0
        if not (1 <= name <= 4 and 1 <= length <= 8 and len(head) >= name + length):
            return
        size = int.from_bytes(head[name : name + length], "big") & (1 << 7 * length) - 1
        body = start + name + length
        # All ones: it ends where its parent does.
        stop = end if size == (1 << 7 * length) - 1 else body + size
        yield MediaPart(head[:name], body, min(stop, end))
        start = stop

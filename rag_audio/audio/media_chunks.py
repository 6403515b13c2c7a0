"""The tracks of ASF and AVI files, and the lengths of WavPack and True Audio."""

from __future__ import annotations

from collections.abc import Iterator

from rag_audio.audio.media_boxes import Bytes, MediaPart, Tracks, seconds

_NESTED = 8
_MOST_CHUNKS = 64

# ASF (WMA, WMV) and AVI: they name encodings by the numbers of WAVEFORMATEX.

_WAVE_CODECS = {
    0x01: "PCM",
    0x03: "PCM",
    0x02: "ADPCM",
    0x11: "ADPCM",
    0x0A: "WMA Voice",
    0x50: "MP2",
    0x55: "MP3",
    0xFF: "AAC",
    0x160: "WMA",
    0x161: "WMA",
    0x162: "WMA Pro",
    0x163: "WMA Lossless",
    0x1610: "AAC",
    0x2000: "AC-3",
    0x2001: "DTS",
    0xF1AC: "FLAC",
}
"""Of RFC 2361 and Microsoft's mmreg.h."""


_READ_IN_WAVES = ("PCM", "ADPCM", "MP2", "MP3")


def wave_codec(source: Bytes) -> str:
    """What is in a WAV that libsndfile does not read, by the first ``fmt `` of at most 64 chunks;
    empty: it is to try."""
    at = 12
    for _ in range(_MOST_CHUNKS):
        head = source.at(at, 10)
        if head[:4] == b"fmt " and len(head) == 10:
            codec = _WAVE_CODECS.get(int.from_bytes(head[8:], "little"), "")
            return "" if codec in _READ_IN_WAVES else codec
        if len(head) < 8 or head[:4] == b"data":
            break
        size = int.from_bytes(head[4:8], "little")
        at += 8 + size + size % 2
    return ""


def _guid(text: str) -> bytes:
    first, second, third, *rest = text.split("-")
    turned = b"".join(bytes.fromhex(part)[::-1] for part in (first, second, third))
    return turned + bytes.fromhex("".join(rest))


_STREAM = _guid("B7DC0791-A9B7-11CF-8EE6-00C00C205365")
_AUDIO = _guid("F8699E40-5B4D-11CF-A8FD-00805F5C442B")
_FILE = _guid("8CABDCA1-A947-11CF-8EE4-00C00C205365")
_ENCRYPTED = (
    _guid("2211B3FB-BD23-11D2-B4B7-00A0C955FC6E"),
    _guid("298AE614-2622-4C17-B935-DAE07EE9289C"),
)


def asf_tracks(source: Bytes) -> Tracks:
    """Of the header object (Advanced Systems Format, revision 1.20.03, 3.1 and 3.3)."""
    codecs: list[str] = []
    length: float | None = None
    others, protected = 0, False
    head = source.at(0, 30)
    start, end = 30, min(int.from_bytes(head[16:24], "little"), source.size)
    while start + 24 <= end:
        inside = source.at(start, 24 + 64)
        size = int.from_bytes(inside[16:24], "little")
        if size < 24:
            break
        if inside[:16] in _ENCRYPTED:
            protected = True
        elif inside[:16] == _FILE:
            # Units of 100 ns; the preroll, in ms, is counted in it.
            played, preroll = (int.from_bytes(inside[at : at + 8], "little") for at in (64, 80))
            length = seconds(played - 10_000 * preroll, 1e7)
        elif inside[:16] == _STREAM and inside[24:40] == _AUDIO:
            codecs.append(_WAVE_CODECS.get(int.from_bytes(inside[78:80], "little"), ""))
        elif inside[:16] == _STREAM:
            others += 1
        start += size
    # Streams may also be told deeper, in extended properties: that there are none is not sure.
    return Tracks(tuple(codecs), others if codecs else 0, protected, duration_s=length)


def avi_tracks(source: Bytes) -> Tracks:
    """Of the list ``hdrl`` (Microsoft, "AVI RIFF File Reference")."""
    codecs: list[str] = []
    length: float | None = None
    others, kind = 0, b""
    for part in _chunks(source, 12, source.size, _NESTED):
        if part.name == b"movi":
            break
        if part.name == b"strh":
            head = source.at(part.start, 36)
            kind = head[:4]
            others += kind != b"auds"
            if kind == b"auds" and not codecs:
                scale, rate = (int.from_bytes(head[at : at + 4], "little") for at in (20, 24))
                length = seconds(int.from_bytes(head[32:36], "little") * scale, rate)
        elif part.name == b"strf" and kind == b"auds":
            tag = int.from_bytes(source.at(part.start, 2), "little")
            codecs.append(_WAVE_CODECS.get(tag, ""))
    return Tracks(tuple(codecs), others, duration_s=length)


def _chunks(source: Bytes, start: int, end: int, deep: int) -> Iterator[MediaPart]:
    """All chunks; those of lists come after their list, which has the name of its type."""
    while start + 8 <= end:
        head = source.at(start, 12)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:8], "little")
        stop = min(start + 8 + size, end)
        if head[:4] == b"LIST":
            yield MediaPart(head[8:12], start + 12, stop)
            if deep:
                yield from _chunks(source, start + 12, stop, deep - 1)
        else:
            yield MediaPart(head[:4], start + 8, stop)
        start += 8 + size + size % 2


# Kinds that hold nothing but one sound.

_WAVPACK_RATES = (
    *(6000, 8000, 9600, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    *(64_000, 88_200, 96_000, 192_000),
)
_UNKNOWN = 0xFFFFFFFF


def wavpack_tracks(source: Bytes) -> Tracks:
    """Of the first block (WavPack 4 & 5 Binary File / Block Format)."""
    head = source.at(0, 32)
    count, flags = (int.from_bytes(head[at : at + 4], "little") for at in (12, 24))
    rate = dict(enumerate(_WAVPACK_RATES)).get(flags >> 23 & 15, 0)
    length = None if count == _UNKNOWN else seconds(count, rate)
    return Tracks(("WavPack",), duration_s=length)


def true_audio_tracks(source: Bytes) -> Tracks:
    """Of the header (TTA1 format specification)."""
    head = source.at(0, 18)
    rate, count = (int.from_bytes(head[at : at + 4], "little") for at in (10, 14))
    return Tracks(("True Audio",), duration_s=seconds(count, rate))

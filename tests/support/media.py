"""Files of kinds that libsndfile does not read: made by ffmpeg where there is one, or by hand."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg on the PATH makes the files")
RATE = 44_100
PICTURE = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=1")


def tones(seconds: float = 1.0, rate: int = RATE, channels: int = 2) -> np.ndarray:
    """Sines of 440, 550, … Hz, one in each channel: float32 ``[T, C]``."""
    time = np.arange(round(seconds * rate)) / rate
    pitches = 440 + 110 * np.arange(channels)
    return (0.3 * np.sin(2 * np.pi * time[:, None] * pitches)).astype(np.float32)


def converted(wanted: Path, sound: np.ndarray, *options: str, rate: int = RATE) -> Path:
    """A sound encoded by ffmpeg, as 24 bits before that.

    Args:
        options: between input and output; inputs among them come after the sound.
    """
    source = wanted.with_name(f"{wanted.name}.source.wav")
    soundfile.write(source, sound, rate, subtype="PCM_24")
    ffmpeg("-i", str(source), *options, str(wanted))
    source.unlink()
    return wanted


def ffmpeg(*options: str) -> None:
    """Run the machine's own ffmpeg, which the tests trust."""
    assert FFMPEG is not None
    subprocess.run(
        [FFMPEG, "-nostdin", "-v", "error", "-y", *options],
        check=True,
        capture_output=True,
    )


# By hand: headers without any sound.


def box(name: bytes, *content: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    inside = b"".join(content)
    return struct.pack(">I", 8 + len(inside)) + name + inside


def track(handler: bytes, entry: bytes) -> bytes:
    """A track of half a second with one sample description."""
    table = box(b"stsd", bytes(4), struct.pack(">I", 1), box(entry, bytes(28)))
    return box(
        b"trak",
        box(
            b"mdia",
            box(b"mdhd", bytes(12), struct.pack(">II", 8000, 4000), bytes(4)),
            box(b"hdlr", bytes(8), handler, bytes(12)),
            box(b"minf", box(b"stbl", table)),
        ),
    )


def mp4(*tracks: bytes, brand: bytes = b"M4A ") -> bytes:
    """An MP4 of headers alone."""
    return box(b"ftyp", brand, bytes(4)) + box(b"moov", *tracks) + box(b"mdat", bytes(64))


def tagged_mp4(
    items: Iterable[tuple[bytes, int, bytes]], free: Iterable[tuple[str, bytes]] = ()
) -> bytes:
    """An MP4 of headers with tags as iTunes writes them: name, type and content; name and text."""

    def data(kind: int, body: bytes) -> bytes:
        return box(b"data", struct.pack(">II", kind, 0), body)

    made = [box(name, data(kind, body)) for name, kind, body in items]
    for name, text in free:
        head = box(b"mean", bytes(4), b"com.apple.iTunes") + box(b"name", bytes(4), name.encode())
        made.append(box(b"----", head, data(1, text)))
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    meta = box(b"meta", bytes(4), handler, box(b"ilst", *made))
    return mp4(track(b"soun", b"mp4a"), box(b"udta", meta))


def element(name: bytes, *content: bytes, size: int | None = None) -> bytes:
    """An element of EBML; its size may be a lie."""
    inside = b"".join(content)
    length = len(inside) if size is None else size
    return name + (length | 1 << 56).to_bytes(8, "big") + inside


def matroska(kind: bytes, *tracks: bytes) -> bytes:
    """A Matroska file of headers alone."""
    return element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", kind)) + element(
        b"\x18\x53\x80\x67",
        element(b"\x15\x49\xa9\x66", element(b"\x44\x89", struct.pack(">d", 1500.0))),
        element(b"\x16\x54\xae\x6b", *tracks),
    )


def matroska_track(kind: int, codec: bytes, *more: bytes) -> bytes:
    return element(b"\xae", element(b"\x83", bytes([kind])), element(b"\x86", codec), *more)


def riff_list(kind: bytes, name: bytes, *content: bytes) -> bytes:
    inside = name + b"".join(content)
    return kind + struct.pack("<I", len(inside)) + inside


def riff_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def avi(tag: int | None) -> bytes:
    """An AVI of headers alone: pictures, and sound with a WAVEFORMATEX tag."""
    pictures = riff_list(b"LIST", b"strl", riff_chunk(b"strh", b"vids" + bytes(44)))
    streams = [pictures]
    if tag is not None:
        head = b"auds" + bytes(16) + struct.pack("<IIII", 1, 8000, 0, 12_000) + bytes(12)
        form = struct.pack("<HHIIHH", tag, 1, 8000, 8000, 1, 8)
        streams.append(
            riff_list(b"LIST", b"strl", riff_chunk(b"strh", head), riff_chunk(b"strf", form))
        )
    return riff_list(b"RIFF", b"AVI ", riff_list(b"LIST", b"hdrl", *streams))


ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_STREAM = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")
_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_CRYPT = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")


def asf(tag: int, is_protected: bool = False) -> bytes:
    """An ASF of headers alone."""
    stream = _AUDIO + bytes(38) + struct.pack("<H", tag) + bytes(16)
    objects = [_STREAM + struct.pack("<Q", 24 + len(stream)) + stream]
    if is_protected:
        objects.append(_CRYPT + struct.pack("<Q", 24))
    inside = b"".join(objects)
    return ASF + struct.pack("<QIH", 30 + len(inside), len(objects), 0x201) + inside


def adts(frames: int = 4, size: int = 40) -> bytes:
    """AAC frames of nothing, 44.1 kHz stereo (ISO/IEC 14496-3, 1.A.2)."""
    head = bytes([0xFF, 0xF1, 0x50, 0x80 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5, 0])
    return (head + bytes(size - len(head))) * frames


def ogg_page(packet: bytes, serial: int, flags: int = 2) -> bytes:
    """A page of RFC 3533 with one short packet; its checksum is not right."""
    return (
        b"OggS\0"
        + bytes([flags])
        + bytes(8)
        + struct.pack("<III", serial, 0, 0)
        + bytes([1, len(packet)])
        + packet
    )


def caf(codec: bytes, flags: int = 0) -> bytes:
    """A CAF of headers alone."""
    form = struct.pack(">d4sIIIII", 44_100.0, codec, flags, 0, 1024, 2, 0)
    return b"caff" + struct.pack(">HH", 1, 0) + b"desc" + struct.pack(">q", 32) + form

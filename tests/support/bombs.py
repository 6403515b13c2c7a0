"""Files that are small and claim, or decode to, very much; each by its name."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

import numpy as np
import soundfile

SECONDS = 12


def silence(kind: str, subtype: str, rate: int, channels: int, seconds: int = SECONDS) -> bytes:
    """Zeros, written second by second."""
    file = io.BytesIO()
    nothing = np.zeros((rate, channels), np.float32)
    with soundfile.SoundFile(
        file, "w", samplerate=rate, channels=channels, format=kind, subtype=subtype
    ) as sound:
        for _ in range(seconds):
            sound.write(nothing)
    return file.getvalue()


def beep(kind: str, subtype: str, rate: int = 8000, channels: int = 1) -> bytes:
    """A quarter of a second that can be heard."""
    file = io.BytesIO()
    time = np.arange(rate // 4) / rate
    tone = np.repeat(0.3 * np.sin(2 * np.pi * 440 * time)[:, None], channels, axis=1)
    soundfile.write(file, tone.astype(np.float32), rate, format=kind, subtype=subtype)
    return file.getvalue()


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk; its size may be a lie."""
    length = len(content) if size is None else size
    return name + struct.pack("<I", length) + content


def wav(data: bytes, *, size: int | None = None, channels: int = 8, rate: int = 192_000) -> bytes:
    """A 16-bit WAV whose ``data`` chunk claims ``size`` bytes."""
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    body = b"WAVE" + chunk(b"fmt ", fmt) + chunk(b"data", data, size)
    return chunk(b"RIFF", body, 0xFFFFFFFF if size is not None else None)


def rf64(claimed: int) -> bytes:
    """An RF64 that claims so many bytes of sound, and has none of them but a few."""
    fmt = struct.pack("<HHIIHH", 1, 8, 192_000, 192_000 * 16, 16, 16)
    sizes = struct.pack("<QQQI", claimed + 72, claimed, claimed // 16, 0)
    body = b"WAVE" + chunk(b"ds64", sizes) + chunk(b"fmt ", fmt)
    return b"RF64\xff\xff\xff\xff" + body + b"data\xff\xff\xff\xff" + bytes(1600)


def boxes(depth: int) -> bytes:
    """JUMBF boxes in each other."""
    label = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71\x03c2pa\x00"
    description = struct.pack(">I", len(label) + 4) + label
    made = b""
    for _ in range(depth):
        made = struct.pack(">I", len(made) + len(description) + 8) + b"jumb" + description + made
    return made


def with_manifest(manifest: bytes) -> bytes:
    """A WAV with these bytes for a manifest store."""
    whole = beep("WAV", "PCM_16")
    return chunk(b"RIFF", whole[8:] + chunk(b"C2PA", manifest + b"\0" * (len(manifest) % 2)))


def id3(size: int, real: int) -> bytes:
    """An MP3 behind a tag that claims ``size`` bytes, and has ``real`` of them."""
    claimed = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    text = b"\0image/png\0\3\0"
    picture = b"APIC" + struct.pack(">I", len(text) + real) + b"\0\0" + text + bytes(real)
    return b"ID3\x03\0\0" + claimed + picture + beep("MP3", "MPEG_LAYER_III", 16_000)


def number(value: int) -> bytes:
    """A length of the MIDI standard: 7 bits a byte."""
    made = bytes([value & 0x7F])
    while value := value >> 7:
        made = bytes([value & 0x7F | 0x80]) + made
    return made


def score(*events: bytes, ticks: int = 96) -> bytes:
    """A standard MIDI file of one track."""
    track = b"".join(events) + b"\0\xff\x2f\0"
    head = b"MThd" + struct.pack(">IHHH", 6, 1, 1, ticks)
    return head + b"MTrk" + struct.pack(">I", len(track)) + track


NOTE = b"\0\x90\x40\x40" + number(48) + b"\x80\x40\0"


def tempo(microseconds: int, delta: int = 0) -> bytes:
    """A change of tempo."""
    return number(delta) + b"\xff\x51\x03" + microseconds.to_bytes(3, "big")


BOMBS: dict[str, Callable[[], bytes]] = {
    "flac of 8 channels at 192 kHz": lambda: silence("FLAC", "PCM_16", 192_000, 8),
    "flac at 655 kHz": lambda: silence("FLAC", "PCM_16", 655_350, 2),
    "vorbis of 8 channels at 96 kHz": lambda: silence("OGG", "VORBIS", 96_000, 8, 14),
    "long opus": lambda: silence("OGG", "OPUS", 48_000, 2, 70),
    "long mp3": lambda: silence("MP3", "MPEG_LAYER_III", 8_000, 1, 70),
    "wav that claims 4 GB": lambda: wav(bytes(3200), size=0xFFFFFF00),
    "rf64 that claims an exabyte": lambda: rf64(1 << 60),
    "aiff that claims 2 GB": lambda: beep("AIFF", "PCM_16").replace(
        b"SSND", b"SSND\x7f\xff\xff\xff", 1
    ),
    "flac that claims 2^36 samples": lambda: _claiming_flac(),
    "mp3 behind a tag of 256 MB": lambda: id3((1 << 28) - 1, 1000),
    "mp3 behind a picture of 2 MB": lambda: id3(2_000_023, 2_000_000),
    "manifest of 3,000 nested boxes": lambda: with_manifest(boxes(3000)),
    "manifest of zeros": lambda: with_manifest(boxes(1) + bytes(1 << 20)),
    "score of a million years": lambda: score(tempo(0xFFFFFF), NOTE, number(0xFFFFFFF) + NOTE[1:]),
    "score of many ticks": lambda: score(NOTE, *(number(9_000_000) + NOTE[1:] for _ in range(9))),
    "score of many tempos": lambda: score(*(tempo(1 + n, 1) for n in range(8_000)), NOTE),
    "score of endless notes": lambda: score(b"\0\x90\x40\x40", *(b"\1\x40\x40",) * 20_000),
}


def _claiming_flac() -> bytes:
    """The number of samples is the last 36 bits before the hash in the first block."""
    whole = bytearray(beep("FLAC", "PCM_16"))
    whole[21] |= 0x0F
    whole[22:26] = b"\xff" * 4
    return bytes(whole)


def mutated(whole: bytes, changes: Iterator[tuple[float, int]]) -> bytes:
    """The bytes with some of them changed: (place as a share of the whole, new value)."""
    made = bytearray(whole)
    for place, value in changes:
        made[min(len(made) - 1, int(place * len(made)))] = value
    return bytes(made)

"""Sound files as broken programs, recorders and downloads leave them, made on the spot."""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Any

import numpy as np
import soundfile

RATE = 44_100
SECONDS = 2.0


@cache
def wave(seconds: float = SECONDS, rate: int = RATE, channels: int = 2) -> np.ndarray[Any, Any]:
    """An arpeggio with a noise hit on each quarter of a second, ``[T, C]``."""
    rng, frames = np.random.default_rng(1), round(seconds * rate)
    made, step = np.zeros(frames), rate // 4
    for number, at in enumerate(range(0, frames, step)):
        t = np.arange(min(step, frames - at)) / rate
        hz = 220 * 2 ** ([0, 3, 7, 12][number % 4] / 12)
        made[at : at + len(t)] += 0.3 * np.sin(2 * np.pi * hz * t) * np.exp(-4 * t)
        made[at : at + len(t)] += 0.2 * rng.standard_normal(len(t)) * np.exp(-60 * t)
    return np.repeat(made[:, None], channels, axis=1)


@cache
def encoded(
    kind: str,
    subtype: str,
    seconds: float = SECONDS,
    rate: int = RATE,
    channels: int = 2,
    **options: Any,
) -> bytes:
    """A whole file; options as of ``soundfile.SoundFile``."""
    target = io.BytesIO()
    with soundfile.SoundFile(
        target, "w", rate, channels, format=kind, subtype=subtype, **options
    ) as file:
        file.write(wave(seconds, rate, channels))
    return target.getvalue()


def mp3(
    seconds: float = SECONDS,
    rate: int = RATE,
    channels: int = 2,
    *,
    level: float = 0.5,
    constant: bool = False,
) -> bytes:
    """An MP3 with an Info or Xing frame; level: 0 (best) to 1."""
    mode = "CONSTANT" if constant else "VARIABLE"
    return encoded(
        "MP3",
        "MPEG_LAYER_III",
        seconds,
        rate,
        channels,
        compression_level=level,
        bitrate_mode=mode,
    )


def frames_of(data: bytes) -> list[bytes]:
    """The frames of an MPEG-1 or 2 layer III file, the one with counts first."""
    kbps = {
        1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
        2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    }
    at = 10 + struct.unpack(">I", data[6:10])[0] if data[:3] == b"ID3" else 0
    found = []
    while data[at : at + 1] == b"\xff":
        is_first = data[at + 1] >> 3 & 3 == 3
        rate = (44_100, 48_000, 32_000)[data[at + 2] >> 2 & 3] >> (0 if is_first else 1)
        bits = kbps[1 if is_first else 2][(data[at + 2] >> 4) - 1] * 1000
        size = (144 if is_first else 72) * bits // rate + (data[at + 2] >> 1 & 1)
        found.append(data[at : at + size])
        at += size
    return found


def without_xing(data: bytes) -> bytes:
    """An MP3's frames of sound."""
    return b"".join(frames_of(data)[1:])


def xing_counts(data: bytes, count: int) -> bytes:
    """An MP3 whose first frame claims so many frames."""
    at = max(data.find(b"Xing"), data.find(b"Info"))
    return data[: at + 8] + struct.pack(">I", count) + data[at + 12 :]


FMT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)


def pcm(seconds: float = SECONDS) -> bytes:
    """16-bit samples of one channel."""
    return (wave(seconds, RATE, 1)[:, 0] * 32767).astype("<i2").tobytes()


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def wav(
    size: int | None = None,
    *,
    before: bytes = FMT,
    behind: bytes = b"",
    sound: bytes | None = None,
    riff: int = 36,
    name: bytes = b"RIFF",
) -> bytes:
    """A WAV of one channel that claims ``size`` bytes of sound; None: as many as there are."""
    body = pcm() if sound is None else sound
    head = name + struct.pack("<I", riff) + b"WAVE" + before
    return head + b"data" + struct.pack("<I", len(body) if size is None else size) + body + behind


def ds64(size: int) -> bytes:
    """The chunk with the sizes of an RF64."""
    return chunk(b"ds64", struct.pack("<QQQI", size, size, size // 2, 0))


def pages_of(data: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    found, at = [], 0
    while data[at : at + 4] == b"OggS":
        count = data[at + 26]
        size = 27 + count + sum(data[at + 27 : at + 27 + count])
        found.append(data[at : at + size])
        at += size
    return found


def flac_total(data: bytes, total: int) -> bytes:
    """A FLAC whose header claims so many samples."""
    form = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    return data[:18] + form.to_bytes(8, "big") + data[26:]


def with_granule(page: bytes, granule: int) -> bytes:
    """An Ogg page that claims another position, with a right checksum (RFC 3533, 6)."""
    made = bytearray(page)
    made[6:14] = (granule % (1 << 64)).to_bytes(8, "little")
    made[22:26] = bytes(4)
    value = 0
    for byte in made:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    made[22:26] = value.to_bytes(4, "little")
    return bytes(made)

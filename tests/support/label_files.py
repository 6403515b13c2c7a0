"""Files as a label's drive holds them, whole and faulty, made by code; functions give bytes."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.support.bombs import chunk, number

Sound = NDArray[np.float64]

RATE = 22_050


def music(seed: int, seconds: float = 1.5, rate: int = RATE, bpm: float = 120.0) -> Sound:
    """``[T]``: an arpeggio with a hit on each beat, peak 0.5; each seed sounds otherwise."""
    draw = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    step = 30.0 / bpm
    place = (t // step).astype(int)
    root = 110.0 * 2 ** (seed % 24 / 12)
    pitches = np.array([0, 3, 7, 12, 10, 7, 5, 3])[draw.permutation(8)]
    since = t % step
    tone = np.sin(2 * np.pi * root * 2 ** (pitches[place % 8] / 12) * since) * np.exp(-5 * since)
    hit = draw.standard_normal(t.size) * np.exp(-60 * (t % (2 * step)))
    both = tone + 0.5 * hit
    return both / np.abs(both).max(initial=1e-9) * 0.5


def encoded(
    sound: Sound, kind: str = "WAV", subtype: str = "PCM_16", rate: int = RATE, channels: int = 1
) -> bytes:
    """``[T]`` or ``[T, C]`` in a format of libsndfile."""
    file = io.BytesIO()
    shaped = np.tile(sound[:, None], channels) if sound.ndim == 1 else sound
    soundfile.write(file, shaped, rate, format=kind, subtype=subtype)
    return file.getvalue()


# WAV and its relatives.


def pcm16(sound: Sound) -> bytes:
    """Samples of one channel, little endian."""
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


def riff(
    *chunks: bytes, size: int | None = None, form: bytes = b"WAVE", name: bytes = b"RIFF"
) -> bytes:
    """A RIFF of ready chunks; its size may be a lie."""
    body = form + b"".join(part + b"\0" * (len(part) % 2) for part in chunks)
    return chunk(name, body, size)


def fmt(channels: int = 1, rate: int = RATE, bits: int = 16, tag: int = 1) -> bytes:
    """The ``fmt`` chunk."""
    block = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits))


def wav_of_a_killed_recorder(sound: Sound, claimed: int = 0, rate: int = RATE) -> bytes:
    """A WAV whose sizes were never filled in: ``data`` claims ``claimed`` bytes."""
    size = 36 if claimed == 0 else claimed
    data = chunk(b"data", pcm16(sound), claimed)
    return riff(fmt(rate=rate), data, size=size)


def wav_with_chunks(sound: Sound, *others: bytes, before: bool = False) -> bytes:
    """A WAV with further chunks before or behind its sound."""
    data = chunk(b"data", pcm16(sound))
    return riff(fmt(), *others, data) if before else riff(fmt(), data, *others)


def bext(description: str = "Take 3", time_reference: int = 158_760_000) -> bytes:
    """A broadcast extension of version 1 (EBU Tech 3285): time code in samples since midnight."""
    text = description.encode("ascii").ljust(256, b"\0") + b"Studio".ljust(32, b"\0")
    text += b"REF1".ljust(32, b"\0") + b"2024-05-01" + b"01:00:00"
    return chunk(b"bext", text + struct.pack("<QH", time_reference, 1) + bytes(254))


def info_list(**texts: str) -> bytes:
    """``LIST INFO``: such as ``INAM="Title"``."""
    parts = b"".join(
        chunk(name.encode(), (raw := text.encode() + b"\0")) + b"\0" * (len(raw) % 2)
        for name, text in texts.items()
    )
    return chunk(b"LIST", b"INFO" + parts)


def smpl(first: int, last: int, root: int = 60) -> bytes:
    """A sampler chunk with one loop, in frames."""
    head = struct.pack("<9I", 0, 0, 45_351, root, 0, 0, 0, 1, 0)
    return chunk(b"smpl", head + struct.pack("<6I", 0, 0, first, last, 0, 0))


def cue(*places: int) -> bytes:
    """Cue points at frames."""
    points = b"".join(
        struct.pack("<II4sIII", i + 1, place, b"data", 0, 0, place)
        for i, place in enumerate(places)
    )
    return chunk(b"cue ", struct.pack("<I", len(places)) + points)


def acid(bpm: float, beats: int, root: int = 57) -> bytes:
    """An ``acid`` chunk: a loop with a root note."""
    return chunk(b"acid", struct.pack("<IHHfIHHf", 2, root, 0x8000, 0.0, beats, 4, 4, bpm))


def aiff_that_claims(sound: Sound, size: int) -> bytes:
    """An AIFF whose ``SSND`` chunk claims another size."""
    whole = encoded(sound, "AIFF")
    at = whole.index(b"SSND") + 4
    return whole[:at] + struct.pack(">I", size) + whole[at + 4 :]


# FLAC.


def flac_of_unknown_length(sound: Sound, claimed: int = 0, rate: int = RATE) -> bytes:
    """FLAC as a pipe writes it: no number of samples and no hash (RFC 9639, 8.2)."""
    whole = bytearray(encoded(sound, "FLAC", rate=rate))
    whole[21] = whole[21] & 0xF0 | claimed >> 32
    whole[22:26] = struct.pack(">I", claimed & 0xFFFFFFFF)
    whole[26:42] = bytes(16)
    return bytes(whole)


# MP3.

_BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOW_BITRATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44_100, 48_000, 32_000)


def mp3(sound: Sound, rate: int = 44_100) -> bytes:
    """Variable bit rate, with a Xing header in its first frame."""
    return encoded(sound, "MP3", "MPEG_LAYER_III", rate)


def mp3_frames(whole: bytes) -> list[bytes]:
    """The frames of MPEG 1, 2 and 2.5, layer III, from the first byte on."""
    frames, at = [], 0
    while at + 4 <= len(whole) and whole[at] == 0xFF and whole[at + 1] & 0xE0 == 0xE0:
        version, low = whole[at + 1] >> 3 & 3, whole[at + 1] >> 3 & 3 != 3
        bitrate = (_LOW_BITRATES if low else _BITRATES)[whole[at + 2] >> 4] * 1000
        rate = _RATES[whole[at + 2] >> 2 & 3] // {3: 1, 2: 2, 0: 4}[version]
        length = (72 if low else 144) * bitrate // rate + (whole[at + 2] >> 1 & 1)
        frames.append(whole[at : at + length])
        at += length
    return frames


def mp3_without_header(sound: Sound, rate: int = 44_100) -> bytes:
    """Variable bit rate, without the Xing frame that says how long it is."""
    return b"".join(mp3_frames(mp3(sound, rate))[1:])


def id3(*frames: bytes, version: int = 3) -> bytes:
    """A tag of ID3v2.3 or v2.4 of ready frames."""
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, 0]) + size + body


def id3_text(name: str, text: str) -> bytes:
    """A text frame of ID3v2.3 in UTF-16."""
    body = b"\1" + text.encode("utf-16")
    return name.encode() + struct.pack(">I", len(body)) + b"\0\0" + body


# MIDI.

END = b"\0\xff\x2f\0"


def track(*events: bytes, end: bytes = END, size: int | None = None) -> bytes:
    """An ``MTrk`` of events that each begin with their delta time."""
    body = b"".join(events) + end
    return b"MTrk" + struct.pack(">I", len(body) if size is None else size) + body


def midi(*tracks: bytes, kind: int = 1, division: int = 480, claimed: int | None = None) -> bytes:
    """A standard MIDI file; the number of tracks may be a lie."""
    count = len(tracks) if claimed is None else claimed
    return b"MThd" + struct.pack(">IHHH", 6, kind, count, division) + b"".join(tracks)


def tempo(bpm: float, delta: int = 0) -> bytes:
    """A tempo event; 0: of zero microseconds."""
    microseconds = round(60e6 / bpm) if bpm else 0
    return meta(0x51, microseconds.to_bytes(3, "big"), delta)


def meta(kind: int, data: bytes, delta: int = 0) -> bytes:
    """A meta event."""
    return number(delta) + b"\xff" + bytes([kind]) + number(len(data)) + data


def notes(
    pitches: Sequence[int], length: int = 240, gap: int = 0, channel: int = 0, velocity: int = 90
) -> bytes:
    """Notes one after the other."""
    return b"".join(
        number(gap) + bytes([0x90 | channel, pitch, velocity])
        + number(length) + bytes([0x80 | channel, pitch, 64])
        for pitch in pitches
    )  # fmt: skip


def tune(seed: int, count: int = 32) -> list[int]:
    """Pitches of A minor; each seed is another tune."""
    scale = (57, 60, 64, 69, 64, 60, 57, 55)
    draw = np.random.default_rng(seed)
    return [scale[i % 8] + int(12 * draw.integers(0, 2)) for i in range(count)]


def score(seed: int, *, bpm: float = 90.0) -> bytes:
    """A sound score of two tracks: 32 eighths."""
    return midi(track(tempo(bpm)), track(notes(tune(seed))))

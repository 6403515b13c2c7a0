"""Markers and loops of AIFF files as the chunks that a WAV has for them.

Source: Apple, "Audio Interchange File Format: AIFF", version 1.3 (Marker and Instrument chunks).
"""

from __future__ import annotations

import struct

from rag_audio.audio import riff

_NO_LOOP = 0
_MOST = 10_000


def read_markers(body: bytes) -> dict[int, tuple[int, str]] | None:
    """Frame and name of each marker of a ``MARK`` chunk, by its id; None: it is damaged."""
    count = int.from_bytes(body[:2], "big")
    found: dict[int, tuple[int, str]] = {}
    at = 2
    for _ in range(min(count, _MOST)):
        if at + 7 > len(body):
            return None
        id_, frame, size = struct.unpack_from(">HIB", body, at)
        name = body[at + 7 : at + 7 + size]
        if len(name) < size:
            return None
        found[id_] = frame, name.decode("mac-roman").strip("\0 ")
        at += 7 + size + (size + 1) % 2  # a name and its length are an even number of bytes
    return found


def cue_chunks(markers: dict[int, tuple[int, str]]) -> list[tuple[bytes, bytes]]:
    """``cue `` and ``LIST`` (``adtl``) chunks of markers; no chunks of no markers."""
    if not markers:
        return []
    points = [
        struct.pack("<II4sIII", id_, frame, b"data", 0, 0, frame)
        for id_, (frame, _) in markers.items()
    ]
    labels = [
        (b"labl", id_.to_bytes(4, "little") + name.encode() + b"\0")
        for id_, (_, name) in markers.items()
        if name
    ]
    cue = (b"cue ", len(points).to_bytes(4, "little") + b"".join(points))
    return [cue, *([(b"LIST", riff.list_chunk(b"adtl", labels))] if labels else [])]


def smpl_chunk(
    body: bytes, markers: dict[int, tuple[int, str]], sample_rate: int
) -> tuple[bytes, bytes] | None:
    """A ``smpl`` chunk of an ``INST`` chunk; None: it is damaged.

    Its base note, and its sustain loop where that has a beginning and an end; a WAV has no release
    loop.
    """
    if len(body) < 14 or sample_rate <= 0:
        return None
    note, _, _, _, _, _, _, mode, begin, end = struct.unpack_from(">bbbbbbhhHH", body)
    loops = b""
    if mode != _NO_LOOP and begin in markers and end in markers:
        first, last = markers[begin][0], markers[end][0]
        if first < last:
            kind = 1 if mode == 2 else 0  # there and back
            loops = struct.pack("<6I", 0, kind, first, last - 1, 0, 0)
    head = (0, 0, round(1e9 / sample_rate), max(0, note), 0, 0, 0, len(loops) // 24, 0)
    return b"smpl", struct.pack("<9I", *head) + loops


def read_rate(body: bytes) -> int:
    """Hz of a ``COMM`` chunk, an 80-bit float of IEEE 754; 0: it says no rate that can be."""
    if len(body) < 18:
        return 0
    power = int.from_bytes(body[8:10], "big") - 16_383 - 63
    mantissa = int.from_bytes(body[10:18], "big")
    return mantissa >> -power if -64 < power < 0 else 0

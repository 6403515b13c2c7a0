"""Where the sound of an AIFF, AU or CAF lies, by what follows and not by its header's sizes.

Sources: Apple, "Audio Interchange File Format" (1989) and "Apple Core Audio Format"; Sun, "AU".
"""

from __future__ import annotations

from dataclasses import dataclass

from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.spliced_file import Piece

_MOST_CHUNKS = 10_000
_NEXT_TO_NOTHING = 1024
_SOUND_HEAD = 8
"""Bytes of a ``SSND`` chunk before its sound."""
_CAF_EDITS = 4
_AIFF_PLAIN = (b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64")


@dataclass(frozen=True)
class SizedSound:
    """Where the sound lies.

    Attributes:
        size: bytes of sound that are there. claimed: that the header claims; None: it does not say.
        pieces: the file with right sizes; empty: they are right.
    """

    size: int
    claimed: int | None
    pieces: tuple[Piece, ...]


def find_sound(data: FileBytes) -> SizedSound | None:
    """Where the sound lies; None: none of these files, or no sound is found."""
    head = data[0:12]
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(data)
    if head[:4] == b".snd":
        return _au(data)
    return _caf(data) if head[:4] == b"caff" else None


def _au(data: FileBytes) -> SizedSound | None:
    start, said = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8))
    there = len(data) - start
    if start < 24 or there <= 0:
        return None
    claimed = None if said == 0xFFFFFFFF else said
    if claimed is None or 0 <= there - claimed < _NEXT_TO_NOTHING:
        return SizedSound(there if claimed is None else claimed, claimed, ())
    size = there.to_bytes(8, "big")[4:] if there < 0xFFFFFFFF else b"\xff" * 4
    return SizedSound(there, claimed, ((0, 8), size, (12, len(data) - 12)))


def _aiff(data: FileBytes) -> SizedSound | None:
    """``FORM`` with ``COMM`` and ``SSND``; a chunk begins at an even offset."""
    at, end, common, found = 12, len(data), b"", None
    for _ in range(_MOST_CHUNKS):
        head = data[at : at + 8]
        if len(head) < 8:
            break
        name, size, start = head[:4], int.from_bytes(head[4:], "big"), at + 8
        if name == b"COMM":
            common = data[start : start + min(size, 512)]
        elif name == b"SSND":
            found = start, size
            if common:
                break
        at = start + size + size % 2
    if found is None or len(common) < 18:
        return None
    start, said = found[0] + _SOUND_HEAD, max(0, found[1] - _SOUND_HEAD)
    there = end - start
    if there <= 0:
        return None
    behind = start + said + said % 2
    if 0 <= there - said < _NEXT_TO_NOTHING or (said <= there and _are_chunks(data, behind)):
        return SizedSound(said, said, ())
    if data[0:12][8:] == b"AIFC" and common[18:22] not in _AIFF_PLAIN:
        return SizedSound(min(said, there), said, ())
    width = int.from_bytes(common[:2], "big") * ((int.from_bytes(common[6:8], "big") + 7) // 8)
    if width == 0:
        return None
    there -= there % width
    common = common[:2] + (there // width).to_bytes(8, "big")[4:] + common[6:]
    chunks = b"COMM" + len(common).to_bytes(4, "big") + common + b"\0" * (len(common) % 2)
    whole = min(4 + len(chunks) + 8 + _SOUND_HEAD + there, 0xFFFFFFFF)
    sound = b"SSND" + min(there + _SOUND_HEAD, 0xFFFFFFFF).to_bytes(4, "big") + bytes(_SOUND_HEAD)
    made = b"FORM" + whole.to_bytes(4, "big") + data[8:12] + chunks + sound
    return SizedSound(there, said, (made, (start, there)))


def _are_chunks(data: FileBytes, at: int) -> bool:
    """Whether chunks follow each other from a place up to the end of the file."""
    for number in range(_MOST_CHUNKS):
        head = data[at : at + 8]
        if len(head) < 8:
            return number > 0
        size = int.from_bytes(head[4:], "big")
        if not all(0x20 <= byte < 0x7F for byte in head[:4]) or at + 8 + size > len(data):
            return False
        at += 8 + size + size % 2
    return False


def _caf(data: FileBytes) -> SizedSound | None:
    """Chunks with sizes of 8 bytes, signed; that of ``data`` may be -1: up to the end."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        head = data[at : at + 12]
        if len(head) < 12:
            break
        size = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == b"data":
            return _caf_sound(data, at, size)
        at += 12 + max(0, size)
    return None


def _caf_sound(data: FileBytes, at: int, said: int) -> SizedSound | None:
    start = at + 12
    there, claimed = len(data) - start, None if said == -1 else said
    if there <= _CAF_EDITS:
        return None
    if claimed is not None:
        behind = data[start + claimed : start + claimed + 4]
        is_name = len(behind) == 4 and all(0x20 <= byte < 0x7F for byte in behind)
        if 0 <= there - claimed < _NEXT_TO_NOTHING or (0 < claimed <= there and is_name):
            return SizedSound(claimed - _CAF_EDITS, claimed - _CAF_EDITS, ())
        claimed = max(0, claimed - _CAF_EDITS)
    pieces = ((0, at + 4), there.to_bytes(8, "big"), (start, there))
    return SizedSound(there - _CAF_EDITS, claimed, pieces)

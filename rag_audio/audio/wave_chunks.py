"""What WAV chunks beside the sound say, and what of it is true of a sound that was changed.

Sources: EBU Tech 3285 version 2 and R 98 (``bext`` and its coding history), IBM and Microsoft,
"Multimedia Programming Interface and Data Specifications 1.0" (``cue ``, ``plst``, ``adtl``),
"Multimedia Data Standards Update" of 1994 (``smpl``, ``inst``). Sony never published the ``acid``
chunk; its layout is that of libsndfile's ``src/wav.c`` (``wav_read_acid_chunk``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rag_audio.audio import riff
from rag_audio.domain.music import Signature

SAME_LOUDNESS_DB = 0.05
"""Half a step of the loudness values in ``bext``: a smaller change of level leaves them true."""

_DAY_S = 86_400
_SAME_S = 0.001
_BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}
_BEXT_FIXED, _BEXT_TIME, _BEXT_VERSION, _BEXT_UMID, _BEXT_LOUDNESS = 602, 338, 346, 348, 412
_NO_LOUDNESS = b"\xff\x7f" * 5
_CUE, _LOOP, _SMPL = 24, 24, 36


@dataclass(frozen=True)
class SoundChange:
    """What happened to a sound between the file that it came from and the one it is written into.

    Attributes:
        from_hz, to_hz: sample rates. from_frames, to_frames: lengths, each at its own rate.
        ahead_s: new sound before the old, in seconds.
        level_db: by which it was made louder.
        is_new: parts of it were made anew, so that it is another recording of other loudness.
        channels: of what is written.
        process: what changed it, in ASCII without a comma; empty: nothing, it is a copy.
        encoding: libsndfile's name of that of the new file, for a coding history.
    """

    from_hz: int
    to_hz: int
    from_frames: int
    to_frames: int
    ahead_s: float = 0.0
    level_db: float = 0.0
    is_new: bool = False
    channels: int = 0
    process: str = ""
    encoding: str = ""

    @property
    def keeps_places(self) -> bool:
        """Whether a number of a frame means the same moment as before."""
        same = (self.from_hz, self.from_frames) == (self.to_hz, self.to_frames)
        return same and self.ahead_s == 0.0

    @property
    def keeps_times(self) -> bool:
        """Whether a moment in seconds is the same one as before, and so is the end."""
        longer_s = self.to_frames / self.to_hz - self.from_frames / self.from_hz
        return self.ahead_s == 0.0 and abs(longer_s) < _SAME_S

    @property
    def keeps_loudness(self) -> bool:
        """Whether what was measured of its loudness is still true."""
        return not self.is_new and abs(self.level_db) <= SAME_LOUDNESS_DB

    def length(self, frames: int) -> int:
        """A number of frames of the old file, in frames of the new one."""
        return (frames * self.to_hz + self.from_hz // 2) // self.from_hz

    def frame(self, at: int) -> int | None:
        """Where a frame of the old file lies in the new one; None: not within it."""
        there = self.length(at) + round(self.ahead_s * self.to_hz)
        return there if 0 <= there <= self.to_frames else None


def adapted(name: bytes, body: bytes, change: SoundChange) -> tuple[bytes | None, str]:
    """A chunk's content as it is true of the changed sound, and what of it is not carried.

    Returns:
        The content, None where nothing of it is true; and words such as ``cue (2 of 5 points)``.
    """
    known = {
        b"bext": _bext, b"cue ": _cue, b"smpl": _smpl, b"plst": _playlist, b"LIST": _list,
    }  # fmt: skip
    short = name.decode("latin-1").strip()
    if change.keeps_places and name in (b"cue ", b"smpl", b"plst"):
        return body, ""
    if name in known:
        try:
            return known[name](body, change)
        except (struct.error, IndexError, OverflowError):
            return None, f"{short} (damaged)"
    if name in _FREE_OF_PLACES or (name == b"acid" and change.keeps_times):
        return body, ""
    return (body, "") if change.keeps_places and not change.is_new else (None, short)


_FREE_OF_PLACES = frozenset({b"inst", b"DISP", b"_PMX", b"cart", b"SMED", b"afsp"})
"""Chunks that neither count frames nor measure the sound; those of unknown content may."""


def _bext(body: bytes, change: SoundChange) -> tuple[bytes | None, str]:
    if len(body) < _BEXT_FIXED:
        return None, "bext (damaged)"
    made, lost = bytearray(body), []
    if not change.keeps_places:
        was = int.from_bytes(body[_BEXT_TIME:_BEXT_VERSION], "little")
        now = change.length(was) - round(change.ahead_s * change.to_hz)
        if now < 0:  # what begins before midnight
            now += _DAY_S * change.to_hz
        if not 0 <= now < 1 << 64:
            now, lost = 0, ["bext time reference"]
        made[_BEXT_TIME:_BEXT_VERSION] = now.to_bytes(8, "little")
    version = int.from_bytes(body[_BEXT_VERSION:_BEXT_UMID], "little")
    there = slice(_BEXT_LOUDNESS, _BEXT_LOUDNESS + len(_NO_LOUDNESS))
    if version >= 2 and not change.keeps_loudness and body[there] != _NO_LOUDNESS:
        made[there] = _NO_LOUDNESS
        lost.append("bext loudness values")
    if change.is_new and version >= 1 and any(body[_BEXT_UMID:_BEXT_LOUDNESS]):
        made[_BEXT_UMID:_BEXT_LOUDNESS] = bytes(_BEXT_LOUDNESS - _BEXT_UMID)
        lost.append("bext UMID")
    if change.process:
        history = bytes(made[_BEXT_FIXED:]).rstrip(b"\0")
        if history and not history.endswith(b"\n"):
            history += b"\r\n"
        made[_BEXT_FIXED:] = history + _coding(change) + b"\0"
    return bytes(made), ", ".join(lost)


def _coding(change: SoundChange) -> bytes:
    """A line of coding history (EBU R 98)."""
    mode = {1: "mono", 2: "stereo"}.get(change.channels)
    words = ["A=PCM", f"F={change.to_hz}"]
    words += [f"W={_BITS[change.encoding]}"] if change.encoding in _BITS else []
    words += [f"M={mode}"] if mode else []
    return (",".join([*words, f"T=rag-audio; {change.process}"]) + "\r\n").encode(
        "ascii", "replace"
    )


def _cue(body: bytes, change: SoundChange) -> tuple[bytes | None, str]:
    count = min(int.from_bytes(body[:4], "little"), (len(body) - 4) // _CUE)
    points = []
    for n in range(count):
        at = 4 + n * _CUE
        id_, order, where, start, block, frame = struct.unpack_from("<II4sIII", body, at)
        there = change.frame(frame)
        if there is None or there > riff.UNKNOWN:
            continue
        placed = change.frame(order)
        order = there if placed is None else min(placed, riff.UNKNOWN)
        points.append(struct.pack("<II4sIII", id_, order, where, start, block, there))
    if count and not points:
        return None, "cue"
    lost = f"cue ({count - len(points)} of {count} points)" if len(points) < count else ""
    return len(points).to_bytes(4, "little") + b"".join(points), lost


def _smpl(body: bytes, change: SoundChange) -> tuple[bytes | None, str]:
    head = list(struct.unpack_from("<9I", body))
    count = min(head[7], (len(body) - _SMPL) // _LOOP)
    loops = []
    for n in range(count):
        at = _SMPL + n * _LOOP
        id_, kind, first, last, fraction, times = struct.unpack_from("<6I", body, at)
        start, end = change.frame(first), change.frame(last + 1)
        if start is None or end is None or not start < end <= riff.UNKNOWN:
            continue
        loops.append(struct.pack("<6I", id_, kind, start, end - 1, fraction, times))
    extra = body[_SMPL + count * _LOOP :][: head[8]]
    head[2], head[7], head[8] = round(1e9 / change.to_hz), len(loops), len(extra)
    lost = f"smpl ({count - len(loops)} of {count} loops)" if len(loops) < count else ""
    return struct.pack("<9I", *head) + b"".join(loops) + extra, lost


def _playlist(body: bytes, change: SoundChange) -> tuple[bytes | None, str]:
    count = min(int.from_bytes(body[:4], "little"), (len(body) - 4) // 12)
    made = b""
    for n in range(count):
        cue, length, times = struct.unpack_from("<III", body, 4 + n * 12)
        made += struct.pack("<III", cue, min(change.length(length), riff.UNKNOWN), times)
    return count.to_bytes(4, "little") + made, ""


def _list(body: bytes, change: SoundChange) -> tuple[bytes | None, str]:
    """A LIST of any type; the lengths in ``ltxt`` of an ``adtl`` list are frames."""
    items = riff.listed(body[4:])
    kind = body[:4]
    if items is None:
        return None, f"{kind.decode('latin-1').strip() or 'LIST'} (damaged)"
    if kind != b"adtl":
        return riff.list_chunk(kind, items), ""
    made = []
    for name, item in items:
        if name == b"ltxt" and len(item) >= 8:
            frames = min(change.length(int.from_bytes(item[4:8], "little")), riff.UNKNOWN)
            item = item[:4] + frames.to_bytes(4, "little") + item[8:]
        made.append((name, item))
    return riff.list_chunk(kind, made), ""


# What a delivered loop says to samplers and sequencers.

_ONE_SHOT, _HAS_ROOT, _STRETCHES, _ON_DISK = 0x01, 0x02, 0x04, 0x08
_LONG_S = 30.0
"""From here on sequencers play a loop from the disk."""
_MIDDLE_C = 60
_MANUAL_ORDER = b"data"


@dataclass(frozen=True)
class MusicalForm:
    """What is known of a finished piece.

    Attributes:
        bpm: quarter notes a minute; None: not known.
        tonic: pitch class of its key, 0 = C; None: not known.
        signature: its metre.
        is_loop: it is whole bars, and begins on one.
        sections: where its parts begin, in seconds, with what they are called.
    """

    bpm: float | None = None
    tonic: int | None = None
    signature: Signature = (4, 4)
    is_loop: bool = False
    sections: tuple[tuple[float, str], ...] = ()


def chunks_of(form: MusicalForm, frames: int, sample_rate: int) -> list[tuple[bytes, bytes]]:
    """``acid``, ``smpl``, ``cue `` and ``LIST`` (``adtl``) chunks, as far as the form is known."""
    chunks = []
    if form.bpm is not None:
        chunks.append((b"acid", _acid(form, form.bpm, frames / sample_rate)))
    if form.is_loop and frames:
        chunks.append((b"smpl", _whole_loop(form, frames, sample_rate)))
    places = [(round(at_s * sample_rate), words) for at_s, words in form.sections]
    places = [(at, words) for at, words in places if 0 <= at < frames]
    if places:
        chunks += [(b"cue ", _points([at for at, _ in places])), (b"LIST", _labels(places))]
    return chunks


def _acid(form: MusicalForm, bpm: float, seconds: float) -> bytes:
    beats, unit = form.signature
    flags = _STRETCHES if form.is_loop else _ONE_SHOT
    flags |= _ON_DISK if seconds > _LONG_S else 0
    flags |= 0 if form.tonic is None else _HAS_ROOT
    counted = round(seconds * bpm / 60.0)
    return struct.pack(
        "<IHHfIHHf", flags, _root(form), 0x8000, 0.0, counted, unit, beats, bpm
    )  # fmt: skip


def _whole_loop(form: MusicalForm, frames: int, sample_rate: int) -> bytes:
    head = (0, 0, round(1e9 / sample_rate), _root(form), 0, 0, 0, 1, 0)
    return struct.pack("<9I", *head) + struct.pack("<6I", 0, 0, 0, frames - 1, 0, 0)


def _root(form: MusicalForm) -> int:
    return _MIDDLE_C + (form.tonic or 0)


def _points(places: Sequence[int]) -> bytes:
    points = (
        struct.pack("<II4sIII", n, at, _MANUAL_ORDER, 0, 0, at) for n, at in enumerate(places, 1)
    )
    return len(places).to_bytes(4, "little") + b"".join(points)


def _labels(places: Iterable[tuple[int, str]]) -> bytes:
    items = [
        (b"labl", n.to_bytes(4, "little") + words.encode() + b"\0")
        for n, (_, words) in enumerate(places, 1)
    ]
    return riff.list_chunk(b"adtl", items)

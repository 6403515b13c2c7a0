"""Write SoundFont 2 files: 16-bit mono samples, multisampled presets, volume envelopes.

Follows the SoundFont Technical Specification 2.01 (E-mu Systems, 1998): a RIFF form ``sfbk`` with
the lists INFO, sdta and pdta. Only generators that simple players honour are written: key range,
pan, attack, sustain, release, sample mode. Levels and tuning are baked into the samples, because
some players cache a sample together with the first attenuation and tuning they meet.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GUARD = 46
"""Zero samples after each sample, as the specification asks (7.10)."""

_PAN, _ATTACK, _RELEASE = 17, 34, 38
_ENVELOPE_TIMES = (25, 26, 27, 28, 30, 33, 34, 35, 36, 38)
_INSTRUMENT, _KEY_RANGE, _SAMPLE_ID, _SAMPLE_MODES, _EXCLUSIVE = 41, 43, 53, 54, 57


@dataclass(frozen=True, eq=False)
class Sample:
    """One recording of one note.

    Attributes:
        name: at most 19 ASCII letters.
        data: float ``[T]`` in [-1, 1].
        sample_rate: Hz.
        root: MIDI note at which it sounds unchanged.
        loop: first sample of the loop and the one after its last; None plays once.
    """

    name: str
    data: NDArray[np.float64]
    sample_rate: int
    root: int
    loop: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.data.ndim != 1 or len(self.data) < 48:
            raise ValueError(f"a sample is [T] with T ≥ 48, got shape {self.data.shape}")
        if self.loop is not None and not 0 <= self.loop[0] < self.loop[1] <= len(self.data):
            raise ValueError(f"loop {self.loop} lies outside 0…{len(self.data)}")


@dataclass(frozen=True)
class Zone:
    """Where in a preset a sample sounds, and its volume envelope.

    Attributes:
        sample: index into the file's samples.
        keys: lowest and highest MIDI note, both inclusive.
        attack_s, release_s: of the volume envelope.
        pan: -0.5 left … 0.5 right.
        exclusive: notes of one exclusive class cut each other (hi-hats); 0 is none.
    """

    sample: int
    keys: tuple[int, int]
    attack_s: float = 0.001
    release_s: float = 0.1
    pan: float = 0.0
    exclusive: int = 0


@dataclass(frozen=True)
class Preset:
    """A program of a bank; bank 128 holds drum kits."""

    name: str
    bank: int
    program: int
    zones: tuple[Zone, ...]


def _chunk(tag: str, body: bytes) -> bytes:
    return tag.encode("ascii") + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _list(tag: str, *chunks: bytes) -> bytes:
    return _chunk("LIST", tag.encode("ascii") + b"".join(chunks))


def _text(tag: str, text: str) -> bytes:
    raw = text.encode("ascii") + b"\0"
    return _chunk(tag, raw + b"\0" * (len(raw) % 2))


def _name(text: str) -> bytes:
    return text.encode("ascii")[:19].ljust(20, b"\0")


def _timecents(seconds: float) -> int:
    return max(-12000, min(8000, round(1200 * math.log2(max(seconds, 1e-3)))))


def _zone_generators(zone: Zone, sample: Sample) -> list[tuple[int, int]]:
    """Generators of one instrument zone; the key range first and the sample last (7.9)."""
    generators = [
        (_KEY_RANGE, zone.keys[0] | zone.keys[1] << 8),
        # A tenth of the specified unit: symusic's player reads per cent where 0.1 % is written.
        (_PAN, round(zone.pan * 100) & 0xFFFF),
        (_ATTACK, _timecents(zone.attack_s) & 0xFFFF),
        (_RELEASE, _timecents(zone.release_s) & 0xFFFF),
        (_SAMPLE_MODES, 0 if sample.loop is None else 1),
    ]
    if zone.exclusive:
        generators.append((_EXCLUSIVE, zone.exclusive))
    return [*generators, (_SAMPLE_ID, zone.sample)]


def _sample_chunks(samples: Sequence[Sample]) -> tuple[bytes, bytes]:
    """The ``smpl`` and ``shdr`` chunks; samples that share an array share its place."""
    pieces: list[bytes] = []
    headers: list[bytes] = []
    starts: dict[int, int] = {}
    written = 0
    for sample in samples:
        if id(sample.data) not in starts:
            pcm = np.clip(np.round(sample.data * 32767.0), -32768, 32767).astype("<i2")
            starts[id(sample.data)] = written
            pieces.append(pcm.tobytes() + b"\0" * (2 * _GUARD))
            written += len(pcm) + _GUARD
        at = starts[id(sample.data)]
        start_loop, end_loop = (0, 0) if sample.loop is None else sample.loop
        places = (at, at + len(sample.data), at + start_loop, at + end_loop, sample.sample_rate)
        headers.append(
            _name(sample.name)
            + struct.pack("<IIIII", *places)
            + struct.pack("<BbHH", sample.root, 0, 0, 1)
        )
    headers.append(_name("EOS") + b"\0" * 26)
    return _chunk("smpl", b"".join(pieces)), _chunk("shdr", b"".join(headers))


def _preset_chunks(samples: Sequence[Sample], presets: Sequence[Preset]) -> list[bytes]:
    """The eight chunks that describe presets and instruments; each preset has one instrument."""
    phdr: list[bytes] = []
    pbag: list[bytes] = []
    pgen: list[bytes] = []
    inst: list[bytes] = []
    ibag: list[bytes] = []
    igen: list[bytes] = []
    for number, preset in enumerate(presets):
        phdr.append(
            _name(preset.name)
            + struct.pack("<HHHIII", preset.program, preset.bank, number, 0, 0, 0)
        )
        pbag.append(struct.pack("<HH", len(pgen), 0))
        # Preset amounts are added to the instrument's. Writing the zeros out changes nothing by
        # the specification, and helps players that would add the default of -12000 timecents.
        pgen += [struct.pack("<HH", time, 0) for time in _ENVELOPE_TIMES]
        pgen.append(struct.pack("<HH", _INSTRUMENT, number))
        inst.append(_name(preset.name) + struct.pack("<H", len(ibag)))
        for zone in preset.zones:
            ibag.append(struct.pack("<HH", len(igen), 0))
            igen += [struct.pack("<HH", *g) for g in _zone_generators(zone, samples[zone.sample])]
    count = len(presets)
    phdr.append(_name("EOP") + struct.pack("<HHHIII", 0, 0, count, 0, 0, 0))
    pbag.append(struct.pack("<HH", len(pgen), 0))
    inst.append(_name("EOI") + struct.pack("<H", len(ibag)))
    ibag.append(struct.pack("<HH", len(igen), 0))
    pgen.append(b"\0" * 4)
    igen.append(b"\0" * 4)
    if len(igen) > 0xFFFF:
        raise ValueError(f"too many generators for a SoundFont: {len(igen)}")
    return [
        _chunk("phdr", b"".join(phdr)),
        _chunk("pbag", b"".join(pbag)),
        _chunk("pmod", b"\0" * 10),
        _chunk("pgen", b"".join(pgen)),
        _chunk("inst", b"".join(inst)),
        _chunk("ibag", b"".join(ibag)),
        _chunk("imod", b"\0" * 10),
        _chunk("igen", b"".join(igen)),
    ]


def soundfont_bytes(
    name: str, license_line: str, samples: Sequence[Sample], presets: Sequence[Preset]
) -> bytes:
    """A complete SoundFont 2 file; the same arguments give the same bytes."""
    info = _list(
        "INFO",
        _chunk("ifil", struct.pack("<HH", 2, 1)),
        _text("isng", "EMU8000"),
        _text("INAM", name),
        _text("ICOP", license_line),
    )
    smpl, shdr = _sample_chunks(samples)
    ordered = sorted(presets, key=lambda preset: (preset.bank, preset.program))
    pdta = _list("pdta", *_preset_chunks(samples, ordered), shdr)
    body = b"sfbk" + info + _list("sdta", smpl) + pdta
    return b"RIFF" + struct.pack("<I", len(body)) + body

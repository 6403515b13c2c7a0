"""The grid of the mark, and how a detector hears it at any tempo and pitch.

A cell is one band of frequency for 64 ms. Bands are 47 Hz wide at the bottom and a constant share
of the frequency (about half a semitone) above 1.5 kHz, so that a change of pitch only moves the
bands' edges and a change of tempo only moves the cells' times. The detector therefore transforms
the sound once, and reads its map of levels at other places for every hypothesis: this resampling
of the log-magnitude map stands in for the log-polar maps of Lin, Wu, Bloom, Cox, Miller & Lui,
"Rotation, scale, and translation resilient watermarking for images", IEEE Transactions on Image
Processing 10(5), 2001.

Letters in shapes: C channels, T samples, K rows of the map, B bands.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

RATE = 24_000
"""Hz of the grid: whatever the rate of the audio, it is resampled to this."""
FRAME = 1024
HOP = 512
FRAMES_PER_CELL = 3
STEP = 128
"""Samples from one row of the detector's map to the next."""
ROWS_PER_CELL = FRAMES_PER_CELL * HOP // STEP
CELLS = 72
"""Cells of a block in time: 4.6 s, so that a crop of 5 s holds each of them, whole or wrapped."""
BLOCK_S = CELLS * FRAMES_PER_CELL * HOP / RATE

Map = NDArray[np.float32]
Hearing = Literal["beside", "below noise", "own band", "both"]
"""What a cell is compared with: see :meth:`DetectorView.cells`."""
HEARINGS: tuple[Hearing, ...] = ("beside", "below noise", "both", "own band")

_LOW_BIN, _HIGH_BIN = 14, 466
_SHARE = 32
_BINS = 500
_WHITEN_CELLS, _WHITEN_BANDS = 7, 9
_LEVEL_CELLS, _LEVEL_BANDS = 5, 7
_FLOOR = 1e-6
_LIMIT = 4.0
_QUIET = 0.05
_OWN_CELLS, _OWN_LEVEL_CELLS, _OWN_QUIET = 3, 15, 0.02
_TRUST, _MAX_TRUST, _LEAST_TRUST = 0.3, 3.0, 0.02
_NOISE_PERCENT = 10
_TINY = 1e-12
HANN: NDArray[np.float32] = np.hanning(FRAME + 1)[:FRAME].astype(np.float32)


def _edges() -> NDArray[np.int64]:
    edges = [_LOW_BIN]
    while edges[-1] < _HIGH_BIN:
        edges.append(edges[-1] + max(2, round(edges[-1] / _SHARE)))
    return np.array(edges)


EDGES = _edges()
"""``[B + 1]``: first bin of each band, and the end of the last: 330 Hz to 11 kHz."""
BANDS = len(EDGES) - 1


def frames(signal: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    """``[C, T]`` → ``[C, K, FRAME]``, a view."""
    return np.lib.stride_tricks.sliding_window_view(signal, FRAME, axis=-1)[:, ::hop]


class DetectorView:
    """What a detector hears of a piece of sound.

    Args:
        signal: ``[C, T]`` at :data:`RATE`. Row k of the map is centred on sample k · STEP.
    """

    def __init__(self, signal: NDArray[np.float32]) -> None:
        padded = np.pad(signal, ((0, 0), (FRAME // 2, FRAME // 2)))
        power = np.zeros((max(0, (padded.shape[1] - FRAME) // STEP + 1), _BINS), np.float32)
        if len(power):
            for channel in padded:
                windows = frames(channel[None], STEP)[0] * HANN
                bins = scipy.fft.rfft(windows, axis=-1)[:, :_BINS]
                power += bins.real**2 + bins.imag**2
        mean = float(power.mean()) if len(power) else 0.0
        self.silent = mean < _TINY
        self.rows = len(power)
        self._levels: Map = 10.0 * np.log10(power + np.float32(_FLOOR * mean + _TINY))

    def cells(self, pitch: float = 1.0, every: int = 1, hearing: Hearing = "beside") -> Map:
        """``[K / every, B]``: how much louder each cell is than its surroundings, in units of them.

        Args:
            pitch: frequency ratio at which the mark is looked for.
            every: reads one row in so many, for a coarse search.
            hearing: ``beside``: the level in dB, averaged over the cell, less what neighbours in
                time and frequency share, over the size of such differences around it; weaker
                cells, which carry more of the mark, count more. ``below noise``: the same, taking
                the least power that a band ever has for noise that came later, and trusting a cell
                as far as it stands above that. ``own band``: less what neighbours in time share
                alone, over its variance: for sustained tones, whose bands are steady while those
                beside them are not. ``both``: the first and the third, with equal power.
        """
        levels = self._levels[::every] @ _band_weights(round(pitch, 6))
        cell = ROWS_PER_CELL // every
        if hearing == "own band":
            return _against_own_band(levels, cell)
        cells = _against_neighbours(levels, cell, below_noise=hearing == "below noise")
        if hearing == "both":
            cells = _unit(cells) + _unit(_against_own_band(levels, cell))
        return cells


def _against_neighbours(levels: Map, cell: int, *, below_noise: bool) -> Map:
    flat = levels - _smooth(levels, _WHITEN_BANDS, 1)
    flat -= _smooth(flat, _WHITEN_CELLS * cell, 0)
    flat = np.clip(_smooth(flat, cell, 0), -_LIMIT, _LIMIT)
    around = _smooth(_smooth(flat * flat, _LEVEL_CELLS * cell, 0), _LEVEL_BANDS, 1)
    flat /= np.sqrt(np.maximum(around, 0) + _QUIET)
    power = np.exp(levels * np.float32(np.log(10) / 10))
    power = np.maximum(_smooth(_smooth(power, 3 * cell, 0), 3, 1), _TINY)
    trust = np.exp(-_TRUST * np.log(power / power.mean(axis=1, keepdims=True)))
    trust = np.minimum(trust, _MAX_TRUST)
    if below_noise:
        noise = np.percentile(power[::cell], _NOISE_PERCENT, axis=0)
        trust *= np.clip(1.0 - noise[None, :] / power, _LEAST_TRUST, 1.0)
    cells: Map = (flat * trust).astype(np.float32, copy=False)
    return cells


def _against_own_band(levels: Map, cell: int) -> Map:
    flat = levels - _smooth(levels, _OWN_CELLS * cell, 0)
    flat = np.clip(_smooth(flat, cell, 0), -_LIMIT, _LIMIT)
    variance = np.maximum(_smooth(flat * flat, _OWN_LEVEL_CELLS * cell, 0), 0)
    cells: Map = (flat / (variance + _OWN_QUIET)).astype(np.float32, copy=False)
    return cells


def _unit(cells: Map) -> Map:
    made: Map = cells / np.sqrt(np.mean(np.square(cells)) + np.float32(_TINY))
    return made


def cell_row(cell: NDArray[np.float64] | float, tempo: float) -> NDArray[np.float64]:
    """Row of the map where a cell's middle lies, counted from its block's first sample."""
    return (np.asarray(cell) * FRAMES_PER_CELL + (FRAMES_PER_CELL - 1) / 2) * HOP / STEP / tempo


@cache
def _band_weights(pitch: float) -> NDArray[np.float32]:
    """``[bins, B]``: means over the bins of each band, its edges moved by ``pitch``."""
    edges = (EDGES - 0.5) * pitch
    bins = np.arange(_BINS)[:, None]
    low, high = edges[None, :-1], edges[None, 1:]
    share = np.clip(np.minimum(bins + 0.5, high) - np.maximum(bins - 0.5, low), 0, None)
    whole = share.sum(axis=0)
    share[:, whole < (high - low)[0] / 2] = 0  # beyond what the map holds
    weights: NDArray[np.float32] = (share / np.maximum(whole, _TINY)).astype(np.float32)
    return weights


def _smooth(values: Map, size: int, axis: int) -> Map:
    made: Map = uniform_filter1d(values, size, axis=axis, mode="nearest")
    return made


# Which cell carries what: chips, pilot and interleaving, drawn from the secret key.
#
# Without the key the pattern looks random (SHAKE-256 as a keyed generator, FIPS 202), so nobody
# else can read the mark, write one, or take it out without taking sound with it.

PILOT_SHARE = 0.2
"""Share of the cells that carry no data and say where a block starts."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """One block.

    Attributes:
        chips: ``[F, B]`` of ±1: F frames, B bands; the sign that each cell gets for a 1.
        bit: ``[F, B]``: the code bit that a cell carries; -1: pilot, always a 1.
    """

    chips: NDArray[np.float32]
    bit: NDArray[np.int32]

    @property
    def pilot(self) -> NDArray[np.float32]:
        """``[F, B]``: the chips of the pilot's cells, 0 elsewhere."""
        return np.where(self.bit < 0, self.chips, np.float32(0.0))

    def modulate(self, coded: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[F, B]`` of ±1: the chips, turned round where the code bit is 0."""
        signs = np.append(np.where(coded > 0, 1.0, -1.0), 1.0).astype(np.float32)
        return self.chips * signs[self.bit]

    def demodulate(
        self, cells: NDArray[np.float32], code_bits: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Per code bit: the sum of its cells times their chips, and the sum of their squares."""
        data = self.bit >= 0
        index = self.bit[data]
        values = cells[data].astype(np.float64)
        chips = self.chips[data].astype(np.float64)
        sums = np.bincount(index, values * chips, code_bits)
        squares = np.bincount(index, values**2, code_bits)
        return sums.astype(np.float64), squares.astype(np.float64)


def make_pattern(key: bytes, frames: int, bands: int, code_bits: int) -> Pattern:
    """The pattern of a key: a random fifth is pilot, code bits get equal shares of the rest.

    Signs are balanced within the pilot and each code bit, so that the mark adds no loudness.
    """
    cells = frames * bands
    order = np.argsort(_words(key, b"order", cells), kind="stable")
    pilot = round(cells * PILOT_SHARE)
    bit = np.full(cells, -1, np.int32)
    bit[order[pilot:]] = np.arange(cells - pilot) % code_bits
    # Signs alternate along a second random order of each group's own cells.
    shuffled = np.argsort(_words(key, b"signs", cells), kind="stable")
    grouped = shuffled[np.argsort(bit[shuffled], kind="stable")]
    chips = np.empty(cells, np.float32)
    chips[grouped] = 1.0 - 2.0 * (np.arange(cells) % 2)
    return Pattern(chips.reshape(frames, bands), bit.reshape(frames, bands))


def subkey(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose, from which neither the key nor other subkeys can be told."""
    return hmac.digest(key, b"rag-audio watermark " + purpose, "sha256")


def _words(key: bytes, purpose: bytes, count: int) -> NDArray[np.uint64]:
    stream = hashlib.shake_256(subkey(key, purpose)).digest(8 * count)
    return np.frombuffer(stream, "<u8").astype(np.uint64)

"""The search for the pilot: at which tempo, pitch and offset a mark lies in what was heard.

Coarse: for every tempo and pitch of a grid, the pilot is correlated with each piece of two blocks,
all offsets at once by FFT, and the pieces are added up along the drifts that the grid leaves open.
Fine: around the best few, over the whole of what was heard. The pilot alone is asked, so that a
hypothesis costs a fraction of a millisecond, and only what stands out is decoded.

Letters in shapes: H hypotheses, N pieces, O offsets, B bands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from rag_audio.watermark.grid import BANDS, CELLS, ROWS_PER_CELL, Hearing, Map, cell_row

TEMPOS = tuple(round(0.01 * step, 2) for step in range(89, 112))
"""Ratios at which the mark is looked for, ±11 %; a stretch to 1.1 times the length is 0.91."""
SEMITONES = tuple(0.25 * step for step in range(-9, 10))

_EVERY = 2  # rows of the map that the coarse search skips over
_COARSE, _FINE = 2, 4  # offsets within a cell
_PIECE_BLOCKS = 2
_WHOLE_PEAKS, _PIECE_PEAKS = 24, 4  # how many places are looked at, at one tempo and pitch
_DRIFTS = (0.0, -0.7, 0.7, -1.4, 1.4)
_TEMPO_STEPS = tuple(0.001 * step for step in range(-6, 7))
_PITCH_STEPS = (0.0, -0.07, 0.07, -0.14, 0.14)
_STRAIGHT_Z, _SEARCHED_Z = 4.0, 4.6
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Place:
    """Where a mark may lie.

    Attributes:
        z: how far the pilot stands out, in standard deviations of chance.
        tempo: ratio by which the sound was made faster. semitones: ... and higher.
        row: of the map, where a block starts.
    """

    z: float
    tempo: float
    semitones: float
    row: float

    @property
    def pitch(self) -> float:
        """Frequency ratio."""
        return float(2.0 ** (self.semitones / 12))


class Sound(Protocol):
    """What a detector hears: all of a sound, or what marks leave of it."""

    def cells(self, pitch: float = 1.0, every: int = 1, hearing: Hearing = "beside") -> Map:
        """See :meth:`rag_audio.watermark.grid.Heard.cells`."""
        ...


class PilotSearch:
    """Looks for one key's pilot.

    Args:
        pilot: ``[CELLS, B]``: ±1 in the pilot's cells, 0 elsewhere.
    """

    def __init__(self, pilot: NDArray[np.float32]) -> None:
        self._spectra = {fine: _spectrum(pilot, fine) for fine in (_COARSE, _FINE)}
        self._share = float((pilot != 0).mean())

    def straight(
        self,
        heard: Sound,
        tempo: float = 1.0,
        semitones: float = 0.0,
        hearing: Hearing = "beside",
    ) -> list[Place]:
        """Places at one tempo and pitch, clearest first."""
        cells = heard.cells(2.0 ** (semitones / 12), hearing=hearing)
        whole = self._correlate(_folds(cells, tempo, _FINE, 1, None), _FINE)
        folds = _folds(cells, tempo, _FINE, 1, _PIECE_BLOCKS)
        found = [
            _place(z, o, tempo, semitones, _FINE)
            for z, o in _peaks(whole[0], _WHOLE_PEAKS, 2 * _FINE)
        ]
        if len(folds) > 1:
            length = _PIECE_BLOCKS * CELLS * ROWS_PER_CELL / tempo
            for piece, scores in enumerate(self._correlate(folds, _FINE)):
                for z, offset in _peaks(scores, _PIECE_PEAKS, 2 * _FINE):
                    place = _place(z, offset, tempo, semitones, _FINE)
                    found.append(Place(z, tempo, semitones, place.row + piece * length))
        return sorted((p for p in found if p.z >= _STRAIGHT_Z), key=lambda place: -place.z)

    def anywhere(self, heard: Sound, most: int) -> list[Place]:
        """At most so many refined places at any tempo and pitch of the grid, clearest first."""
        grid = list(product(SEMITONES, TEMPOS))
        scores = []
        for semitones in SEMITONES:
            cells = heard.cells(2.0 ** (semitones / 12), _EVERY)
            for tempo in TEMPOS:
                folds = _folds(cells, tempo, _COARSE, _EVERY, _PIECE_BLOCKS)
                scores.append(self._best(self._correlate(folds, _COARSE)))
        order = np.argsort(-np.array(scores), kind="stable")
        chosen: list[tuple[float, float]] = []
        for index in order:
            semitones, tempo = grid[index]
            near = any(abs(s - semitones) < 0.6 and abs(t - tempo) < 0.025 for s, t in chosen)
            if not near:
                chosen.append((semitones, tempo))
            if len(chosen) == most or scores[index] < _SEARCHED_Z:
                break
        refined = [self._refine(heard, semitones, tempo) for semitones, tempo in chosen]
        return sorted(refined, key=lambda place: -place.z)

    def _refine(self, heard: Sound, semitones: float, tempo: float) -> Place:
        """The clearest place near a point of the grid."""
        best = Place(-np.inf, tempo, semitones, 0.0)
        for pitch_step in _PITCH_STEPS:
            cells = heard.cells(2.0 ** ((semitones + pitch_step) / 12))
            for tempo_step in _TEMPO_STEPS:
                at = tempo * (1 + tempo_step)
                scores = self._correlate(_folds(cells, at, _FINE, 1, None), _FINE)[0]
                offset = int(scores.argmax())
                if scores[offset] > best.z:
                    z = float(scores[offset])
                    best = _place(z, offset, at, semitones + pitch_step, _FINE)
        return best

    def _best(self, scores: NDArray[np.float32]) -> float:
        """The highest score of any piece, or of all pieces added up along a drift."""
        best = float(scores.max())
        pieces, offsets = scores.shape
        if pieces == 1:
            return best
        at = np.arange(offsets)
        for drift in _DRIFTS:
            moved = np.rint(drift * np.arange(pieces)).astype(int)
            index = (at[None, :] + moved[:, None]) % offsets
            total = np.take_along_axis(scores, index, axis=1).sum(axis=0) / np.sqrt(pieces)
            best = max(best, float(total.max()))
        return best

    def _correlate(self, folds: NDArray[np.float32], fine: int) -> NDArray[np.float32]:
        """``[N, O]``: z-score of the pilot at every start of a block in each fold."""
        heard = scipy.fft.rfft(folds, axis=1)
        product_ = np.einsum("nob,ob->no", heard, self._spectra[fine])
        sums = scipy.fft.irfft(product_, folds.shape[1], axis=1)
        power = np.einsum("nob,nob->n", folds, folds) / fine * self._share
        z: NDArray[np.float32] = sums / np.sqrt(power + _TINY)[:, None]
        return z


def gather(cells: Map, place: Place) -> tuple[Map, int]:
    """The cells of whole and broken blocks from a place on.

    Returns:
        ``[N, CELLS, B]``, zero where nothing was heard, and the row of the first block's start
        (which may lie before the first row of the map).
    """
    period = CELLS * ROWS_PER_CELL / place.tempo
    blocks_before = int(np.ceil(place.row / period))
    start = place.row - blocks_before * period
    count = max(1, int(np.ceil((len(cells) - start) / period)))
    rows = start + cell_row(np.arange(count * CELLS, dtype=np.float64), place.tempo)
    taken = _take(cells, np.rint(rows).astype(int))
    return taken.reshape(count, CELLS, BANDS), round(start)


def _folds(cells: Map, tempo: float, fine: int, every: int, blocks: int | None) -> Map:
    """``[N, CELLS * fine, B]``: sums of so many blocks each (None: of all), at finer offsets."""
    step = ROWS_PER_CELL / fine / tempo / every
    wanted = max(1, int(np.ceil(len(cells) / step)))
    length = CELLS * fine
    if blocks is None:
        pieces, blocks = 1, max(1, int(np.ceil(wanted / length)))
    else:
        # A last piece of less than half a block says too little to stand alone.
        pieces = max(1, int(np.ceil(round(wanted / length) / blocks)))
    taken = _take(cells, np.rint(np.arange(pieces * blocks * length) * step).astype(int))
    summed: Map = taken.reshape(pieces, blocks, length, BANDS).sum(axis=1)
    return summed


def _take(cells: Map, rows: NDArray[np.int64]) -> Map:
    """Rows of the map; zeros before its start and past its end."""
    known = (rows >= 0) & (rows < len(cells))
    taken = np.zeros((len(rows), BANDS), np.float32)
    taken[known] = cells[rows[known]]
    return taken


def _spectrum(pilot: NDArray[np.float32], fine: int) -> NDArray[np.complex64]:
    spread = np.zeros((CELLS * fine, BANDS), np.float32)
    spread[::fine] = pilot
    made: NDArray[np.complex64] = np.conj(scipy.fft.rfft(spread, axis=0))
    return made


def _place(z: float, offset: int, tempo: float, semitones: float, fine: int) -> Place:
    middle = float(cell_row(0.0, tempo))
    return Place(z, tempo, semitones, offset * ROWS_PER_CELL / fine / tempo - middle)


def _peaks(scores: NDArray[np.float32], most: int, apart: int) -> list[tuple[float, int]]:
    """The highest scores, at least so many offsets from each other."""
    left = scores.copy()
    found = []
    for _ in range(most):
        offset = int(left.argmax())
        found.append((float(left[offset]), offset))
        around = np.arange(offset - apart, offset + apart + 1) % len(left)
        left[around] = -np.inf
    return found


# Marks over marks: what is heard, less the marks that were read already.
#
# To a mark, every other of the same key is noise; those that were read are known, sign for sign,
# and can be taken out before the next is looked for: successive interference cancellation, as in
# Patel & Holtzman, "Analysis of a simple successive interference cancellation scheme in a DS/CDMA
# system", IEEE Journal on Selected Areas in Communications 12(5), 1994.

Layer = tuple[Place, NDArray[np.float32]]
"""Where a mark lies, and the ``[CELLS, B]`` signs of its block."""


class Remainder:
    """What a detector hears of a piece of sound, less some marks.

    Args:
        heard: the sound, or what is left of it.
        layers: marks to take out, at the tempo and pitch that they were read at.
    """

    def __init__(self, heard: Sound, layers: Iterable[Layer] = ()) -> None:
        self._heard = heard
        self._layers = list(layers)
        self._known: dict[tuple[float, Hearing], Map] = {}

    def cells(self, pitch: float = 1.0, every: int = 1, hearing: Hearing = "beside") -> Map:
        """``[K / every, B]``, as :meth:`rag_audio.watermark.grid.Heard.cells` has them."""
        if (pitch, hearing) not in self._known:
            cells = self._heard.cells(pitch, hearing=hearing)
            for place, signs in self._layers:
                cells = cells - _heard_as(cells, place, signs)
            self._known[pitch, hearing] = cells
        return self._known[pitch, hearing][::every]


def _heard_as(cells: Map, place: Place, signs: NDArray[np.float32]) -> Map:
    """``[K, B]``: how a mark is heard, by its level in each band and in each block.

    Between the middles of two cells a cell is heard as a mean of both, since the map averages over
    the length of one.
    """
    rows = np.arange(len(cells)) - place.row - cell_row(0.0, place.tempo)
    at = rows * place.tempo / ROWS_PER_CELL
    cell = np.floor(at).astype(np.int64)
    later = (at - cell).astype(np.float32)[:, None]
    shape = (1 - later) * signs[cell % CELLS] + later * signs[(cell + 1) % CELLS]
    along = cells * shape
    band = np.maximum(along.sum(axis=0) / (np.square(shape).sum(axis=0) + _TINY), 0.0)
    shape *= band.astype(np.float32)
    block = cell // CELLS - cell[0] // CELLS if len(cell) else cell
    told = np.bincount(block, np.einsum("kb,kb->k", cells, shape))
    power = np.bincount(block, np.einsum("kb,kb->k", shape, shape))
    gain = np.maximum(told / (power + _TINY), 0.0).astype(np.float32)
    made: Map = shape * gain[block][:, None]
    return made

"""Read marks: search for the pilot, then decode the message where the pilot was found.

Letters in shapes: H hypotheses, N pieces, O offsets, B bands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from rag_audio.domain.ports import Detection
from rag_audio.watermark import grid, payload
from rag_audio.watermark.grid import (
    BANDS,
    CELLS,
    ROWS_PER_CELL,
    DetectorView,
    Hearing,
    Map,
    cell_row,
    make_pattern,
    subkey,
)
from rag_audio.watermark.payload import LAYOUTS, Layout, Message, newest

CLEAR_Z = 36.0
"""Sound in which the mark is heard less clearly, such as a lone organ, is marked more strongly."""

WAYS: tuple[Hearing, ...] = ("beside", "both")
"""How the pilot is listened for at a known tempo and pitch."""

_MOST_PER_LAYOUT = 2
_SAME_START = 2.0  # rows: nearer than that, nothing else is read
_SAME_ROWS = ROWS_PER_CELL / 2
_SAME_TEMPO, _SAME_SEMITONES = 0.003, 0.2

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


Sound: TypeAlias = "DetectorView | Remainder"
"""What a detector hears: all of a sound, or what marks leave of it."""


class Budget:
    """How many decodes a file may still cost: each is a chance that noise passes for a mark."""

    def __init__(self, decodes: int) -> None:
        self._left = decodes

    def spend(self) -> bool:
        """Whether one more is allowed."""
        self._left -= 1
        return self._left >= 0


@dataclass(frozen=True, eq=False)
class MarkReading:
    """A message that was read, with a valid tag.

    Attributes:
        z: how far all cells stand out under the message, in standard deviations of chance.
        place: where it lay. offset_s: start of the first whole block.
        over_time: (middle in seconds, z) of every block.
    """

    message: Message
    z: float
    place: Place
    offset_s: float
    over_time: tuple[tuple[float, float], ...]

    def later(self, seconds: float) -> MarkReading:
        """The same, in a sound that starts so much earlier."""
        moved = tuple((time_s + seconds, z) for time_s, z in self.over_time)
        return replace(self, offset_s=self.offset_s + seconds, over_time=moved)

    def at_row(self, rows: float) -> MarkReading:
        """The same, with its place counted in a sound that starts so many rows earlier."""
        return replace(self, place=replace(self.place, row=self.place.row + rows))


class Reader:
    """One key's patterns, pilot search and tag.

    The layouts share the pilot: only which code bit a cell carries, and its sign, differ.

    Args:
        key: the secret.
    """

    def __init__(self, key: bytes) -> None:
        self._tag_key = subkey(key, b"tag")
        self._patterns = {
            layout: make_pattern(key, CELLS, BANDS, layout.message_bits * payload.RATE)
            for layout in LAYOUTS
        }
        self._pilot = self._patterns[LAYOUTS[0]].pilot
        self.search = PilotSearch(self._pilot)

    def signs(self, message: Message) -> NDArray[np.float32]:
        """``[CELLS, B]`` of ±1: a block that carries the message.

        Raises:
            InvalidInput: the number does not fit in 40 bits.
        """
        coded = payload.encode(payload.pack(message, self._tag_key))
        return self._patterns[message.layout].modulate(coded)

    def listen(
        self, heard: DetectorView, tempo: float, semitones: float, budget: Budget
    ) -> tuple[list[MarkReading], float]:
        """The different messages at one tempo and pitch, and the best z of any pilot.

        Each is taken out of what is heard before the next are looked for.
        """
        found: list[MarkReading] = []
        tried: list[Place] = []
        best = 0.0
        left = Remainder(heard)
        for hearing in WAYS:
            before = -1
            while before < len(found):
                before = len(found)
                places = self.search.straight(left, tempo, semitones, hearing)
                best = max([best, *(place.z for place in places)])
                for place in places:
                    if any(_same(place, one.place) for one in found):
                        continue
                    if any(abs(place.row - other.row) < _SAME_START for other in tried):
                        continue
                    reading = self._read_at(left, place, budget)
                    if reading is None:
                        tried.append(place)
                    else:
                        found.append(reading)
                        tried.clear()
                        left = self.without(left, [reading])
        return _distinct(found), best

    def without(self, heard: Sound, readings: Sequence[MarkReading]) -> Remainder:
        """What is left of a sound when these marks are taken out."""
        return Remainder(heard, [(one.place, self.signs(one.message)) for one in readings])

    def read(self, heard: Sound, places: Sequence[Place], budget: Budget) -> list[MarkReading]:
        """The different messages at these places, clearest place first."""
        found: list[MarkReading] = []
        for place in places:
            if not any(_same(place, one.place) for one in found):
                reading = self._read_at(heard, place, budget)
                found += [] if reading is None else [reading]
        return _distinct(found)

    def clearness(self, heard: Sound, message: Message, row: float) -> float:
        """z of a message in a block that starts at a row of the unchanged sound; 0: not read."""
        place, signs = Place(0.0, 1.0, 0.0, row), self.signs(message)
        heard_as: list[tuple[float, NDArray[np.float32]]] = []
        for hearing in WAYS:
            blocks, _ = gather(heard.cells(hearing=hearing), place)
            cells = blocks.sum(axis=0)
            z = float((cells * signs).sum() / np.sqrt((cells**2).sum() + 1e-9))
            heard_as.append((z, cells))
            if z >= CLEAR_Z:
                break
        z, cells = max(heard_as, key=lambda way: way[0])
        sums, _ = self._demodulate(cells, message.layout)
        return z if self._spell(sums, message.layout, Budget(_MOST_PER_LAYOUT)) == message else 0.0

    def _read_at(self, heard: Sound, place: Place, budget: Budget) -> MarkReading | None:
        for hearing in grid.HEARINGS:
            cells = heard.cells(place.pitch, hearing=hearing)
            blocks, first_row = gather(cells, place)
            for chosen in self._choices(blocks):
                message = self._decode_any(chosen, budget)
                if message is not None:
                    return self._reading(message, place, blocks, first_row)
        return None

    def _choices(self, blocks: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All blocks laid over each other; and the two neighbours where the pilot is clearest."""
        choices = [blocks.sum(axis=0)]
        if len(blocks) > 2:
            pilot = np.einsum("nfb,fb->n", blocks, self._pilot)
            first = int((pilot[:-1] + pilot[1:]).argmax())
            choices.append(blocks[first] + blocks[first + 1])
        return choices

    def _decode_any(self, cells: NDArray[np.float32], budget: Budget) -> Message | None:
        """What the cells spell in any layout, beginning with the one that shows most.

        The cells of a code bit that was written add up, others cancel: a layout in which the sums
        have less power than chance gives them on average is not worth one of the decodes.
        """
        shown = []
        for number, layout in enumerate(LAYOUTS):
            sums, squares = self._demodulate(cells, layout)
            excess = float((sums**2).sum()) - float(squares.sum())
            if excess > 0:
                shown.append((excess, -number, sums))
        for _, number, sums in sorted(shown, key=lambda one: one[:2], reverse=True):
            message = self._spell(sums, LAYOUTS[-number], budget)
            if message is not None:
                return message
        return None

    def _spell(self, sums: NDArray[np.float64], layout: Layout, budget: Budget) -> Message | None:
        """What the code bits' sums spell: with a small generation, which needs less, or any."""
        for known in dict.fromkeys((layout.likely, layout.known)):
            if not budget.spend():
                return None
            message = payload.unpack(payload.decode(sums, known), self._tag_key, layout)
            if message is not None:
                return message
        return None

    def _demodulate(
        self, cells: NDArray[np.float32], layout: Layout
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._patterns[layout].demodulate(cells, layout.message_bits * payload.RATE)

    def _reading(
        self, message: Message, place: Place, blocks: NDArray[np.float32], first_row: int
    ) -> MarkReading:
        signs = self.signs(message)
        power = np.einsum("nfb,nfb->n", blocks, blocks) + 1e-9
        each = np.einsum("nfb,fb->n", blocks, signs)
        row_s, block_s = grid.STEP / grid.RATE, grid.BLOCK_S / place.tempo
        starts = first_row * row_s + block_s * np.arange(len(blocks))
        # A block of which less than a third was heard says nothing about its time.
        known = (blocks != 0).any(axis=2).mean(axis=1) > 1 / 3
        over_time = tuple(
            (float(start + block_s / 2), float(z))
            for start, z in zip(starts[known], (each / np.sqrt(power))[known], strict=True)
        )
        offset_s = float(starts[0] if starts[0] >= -row_s else starts[0] + block_s)
        z = float(each.sum() / np.sqrt(power.sum()))
        return MarkReading(message, z, place, max(0.0, offset_s), over_time)


def _distinct(readings: Sequence[MarkReading]) -> list[MarkReading]:
    """Of each message the clearest reading, in the order that they were first read."""
    found: dict[Message, MarkReading] = {}
    for reading in readings:
        if reading.message not in found or found[reading.message].z < reading.z:
            found[reading.message] = reading
    return list(found.values())


def _same(one: Place, other: Place) -> bool:
    """Whether two places are the same alignment of blocks."""
    if abs(one.tempo - other.tempo) > _SAME_TEMPO:
        return False
    if abs(one.semitones - other.semitones) > _SAME_SEMITONES:
        return False
    period = CELLS * ROWS_PER_CELL / one.tempo
    apart = (one.row - other.row) % period
    return min(apart, period - apart) < _SAME_ROWS


# Of all marks that were read in a sound, the answer: the newest, with the others beside it.


Told = tuple[int, Message]
"""Age of the key that made a mark, 0: the present one; and what the mark says."""


@dataclass
class MarksRead:
    """All that was read in a sound, piece by piece.

    Attributes:
        readings: of each mark, in the order of the pieces.
        empty: (middle in seconds, confidence) of pieces in which nothing was read.
    """

    readings: dict[Told, list[MarkReading]] = field(default_factory=dict)
    empty: list[tuple[float, float]] = field(default_factory=list)

    def add(self, age: int, reading: MarkReading) -> None:
        """One more reading of a mark."""
        self.readings.setdefault((age, reading.message), []).append(reading)

    def add_empty(self, middle_s: float, z: float) -> None:
        """A piece in which nothing was read, and the best z of any pilot in it."""
        self.empty.append((middle_s, confidence(z - 5.0) / 2))

    @property
    def newest(self) -> Told | None:
        """What was marked last: by the latest key, then see :func:`payload.newest`.

        Of several that this leaves, such as those of a mix, the clearest.
        """
        if not self.readings:
            return None
        youngest = min(age for age, _ in self.readings)
        latest = newest(message for age, message in self.readings if age == youngest)
        return max(
            ((youngest, message) for message in latest),
            key=lambda one: (_z(self.readings[one]), one[1].mark.payload, one[1].mark.by_hand),
        )

    def answer(self) -> Detection:
        """What a detector says of the sound."""
        told = self.newest
        if told is None:
            most = max((one for _, one in self.empty), default=0.0)
            return Detection(None, most, over_time=tuple(self.empty))
        mark, readings = told[1].mark, self.readings[told]
        best = max(readings, key=lambda reading: reading.z)
        others = sorted(
            (one for one in self.readings if one[1].mark != mark),
            key=lambda one: -_z(self.readings[one]),
        )
        heard = [(time_s, confidence(z)) for one in readings for time_s, z in one.over_time]
        return Detection(
            mark,
            confidence(best.z),
            tempo=round(best.place.tempo, 4),
            semitones=round(best.place.semitones, 2),
            offset_s=readings[0].offset_s,
            others=tuple(dict.fromkeys(message.mark for _, message in others)),
            over_time=tuple(sorted((*heard, *self.empty))),
        )


def _z(readings: Sequence[MarkReading]) -> float:
    return max(reading.z for reading in readings)


def confidence(z: float) -> float:
    """0…1, rising with the statistic: 0.5 at 6 standard deviations, 0.9 at 18."""
    z = max(0.0, z)
    return z * z / (z * z + 36.0)


# The search for the pilot: at which tempo, pitch and offset a mark lies in what was heard.
#
# Coarse: for every tempo and pitch of a grid, the pilot is correlated with each piece of two
# blocks, all offsets at once by FFT, and the pieces are added up along the drifts that the grid
# leaves open. Fine: around the best few, over the whole of what was heard. Only the pilot is
# compared, so that a hypothesis costs a fraction of a millisecond; what stands out is decoded.


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
        steps = list(product(SEMITONES, TEMPOS))
        scores = []
        for semitones in SEMITONES:
            cells = heard.cells(2.0 ** (semitones / 12), _EVERY)
            for tempo in TEMPOS:
                folds = _folds(cells, tempo, _COARSE, _EVERY, _PIECE_BLOCKS)
                scores.append(self._best(self._correlate(folds, _COARSE)))
        order = np.argsort(-np.array(scores), kind="stable")
        chosen: list[tuple[float, float]] = []
        for index in order:
            semitones, tempo = steps[index]
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
        """``[K / every, B]``, as :meth:`.DetectorView.cells` has them."""
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

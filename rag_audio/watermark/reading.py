"""Reading a mark at the places where its pilot was heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain.ports import Detection
from rag_audio.watermark import grid, payload
from rag_audio.watermark import payload as coding
from rag_audio.watermark.grid import Pattern, make_pattern, subkey
from rag_audio.watermark.payload import LAYOUTS, Layout, Message, newest
from rag_audio.watermark.sync import PilotSearch, Place, Remainder, Sound, gather

CLEAR_Z = 36.0
"""Sound in which the mark is heard less clearly, such as a lone organ, is marked more strongly."""

WAYS: tuple[grid.Hearing, ...] = ("beside", "both")
"""How the pilot is listened for at a known tempo and pitch."""

_MOST_PER_LAYOUT = 2
_SAME_START = 2.0  # rows: nearer than that, nothing else is read
_SAME_ROWS = grid.ROWS_PER_CELL / 2
_SAME_TEMPO, _SAME_SEMITONES = 0.003, 0.2


class Budget:
    """How many decodes a file may still cost: each is a chance that noise passes for a mark."""

    def __init__(self, decodes: int) -> None:
        self._left = decodes

    def spend(self) -> bool:
        """Whether one more is allowed."""
        self._left -= 1
        return self._left >= 0


@dataclass(frozen=True, eq=False)
class Reading:
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

    def later(self, seconds: float) -> Reading:
        """The same, in a sound that starts so much earlier."""
        moved = tuple((time_s + seconds, z) for time_s, z in self.over_time)
        return replace(self, offset_s=self.offset_s + seconds, over_time=moved)

    def at_row(self, rows: float) -> Reading:
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
        self._patterns = {layout: _pattern(key, layout) for layout in LAYOUTS}
        self._pilot = self._patterns[LAYOUTS[0]].pilot
        self.search = PilotSearch(self._pilot)

    def signs(self, message: Message) -> NDArray[np.float32]:
        """``[CELLS, B]`` of ±1: a block that carries the message.

        Raises:
            InvalidInput: the number does not fit in 40 bits.
        """
        coded = coding.encode(payload.pack(message, self._tag_key))
        return self._patterns[message.layout].modulate(coded)

    def listen(
        self, heard: grid.Heard, tempo: float, semitones: float, budget: Budget
    ) -> tuple[list[Reading], float]:
        """The different messages at one tempo and pitch, and the best z of any pilot.

        Each is taken out of what is heard before the next are looked for.
        """
        found: list[Reading] = []
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

    def without(self, heard: Sound, readings: Sequence[Reading]) -> Remainder:
        """What is left of a sound when these marks are taken out."""
        return Remainder(heard, [(one.place, self.signs(one.message)) for one in readings])

    def read(self, heard: Sound, places: Sequence[Place], budget: Budget) -> list[Reading]:
        """The different messages at these places, clearest place first."""
        found: list[Reading] = []
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

    def _read_at(self, heard: Sound, place: Place, budget: Budget) -> Reading | None:
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
            message = payload.unpack(coding.decode(sums, known), self._tag_key, layout)
            if message is not None:
                return message
        return None

    def _demodulate(
        self, cells: NDArray[np.float32], layout: Layout
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._patterns[layout].demodulate(cells, layout.message_bits * coding.RATE)

    def _reading(
        self, message: Message, place: Place, blocks: NDArray[np.float32], first_row: int
    ) -> Reading:
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
        return Reading(message, z, place, max(0.0, offset_s), over_time)


def _distinct(readings: Sequence[Reading]) -> list[Reading]:
    """Of each message the clearest reading, in the order that they were first read."""
    found: dict[Message, Reading] = {}
    for reading in readings:
        if reading.message not in found or found[reading.message].z < reading.z:
            found[reading.message] = reading
    return list(found.values())


def _pattern(key: bytes, layout: Layout) -> Pattern:
    return make_pattern(key, grid.CELLS, grid.BANDS, layout.message_bits * coding.RATE)


def _same(one: Place, other: Place) -> bool:
    """Whether two places are the same alignment of blocks."""
    if abs(one.tempo - other.tempo) > _SAME_TEMPO:
        return False
    if abs(one.semitones - other.semitones) > _SAME_SEMITONES:
        return False
    period = grid.CELLS * grid.ROWS_PER_CELL / one.tempo
    apart = (one.row - other.row) % period
    return min(apart, period - apart) < _SAME_ROWS


# Of all marks that were read in a sound, the answer: the newest, with the others beside it.


Told = tuple[int, Message]
"""Age of the key that made a mark, 0: the present one; and what the mark says."""


@dataclass
class Found:
    """All that was read in a sound, piece by piece.

    Attributes:
        readings: of each mark, in the order of the pieces.
        empty: (middle in seconds, confidence) of pieces in which nothing was read.
    """

    readings: dict[Told, list[Reading]] = field(default_factory=dict)
    empty: list[tuple[float, float]] = field(default_factory=list)

    def add(self, age: int, reading: Reading) -> None:
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


def _z(readings: Sequence[Reading]) -> float:
    return max(reading.z for reading in readings)


def confidence(z: float) -> float:
    """0…1, rising with the statistic: 0.5 at 6 standard deviations, 0.9 at 18."""
    z = max(0.0, z)
    return z * z / (z * z + 36.0)

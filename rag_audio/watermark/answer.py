"""Of all marks that were read in a sound, the answer: the newest, with the others beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rag_audio.ports import Detection
from rag_audio.watermark.payload import Message, newest
from rag_audio.watermark.reading import Reading

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

"""The watermarker: payload, code, pattern, modem and search put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.ports import Detection, Mark
from rag_audio.shaping import resample
from rag_audio.watermark import grid, modem
from rag_audio.watermark.pattern import subkey
from rag_audio.watermark.payload import GENERATIONS, Message
from rag_audio.watermark.reading import CLEAR_Z, Budget, Reader, Reading

MIN_KEY_BYTES = 16
PIECE_S = 60.0
"""Longer sound is heard in pieces of this length, so that memory does not grow with it."""

_MAX_DECODES = 4096
_MAX_PLACES = 5
_SILENCE_DBFS = -70.0
_SHORTEST_S = 0.1
_APART_CELLS = 6


class SpreadSpectrumWatermarker:
    """A keyed spread-spectrum mark that carries 40 bits; a :class:`rag_audio.ports.Watermarker`.

    A block of 4.6 s holds the whole payload and is repeated to the end. One cell in five is pilot;
    the rest carries the convolutional code of a payload with a 32-bit keyed tag. The detector first
    listens at the tempo and pitch of the file, then, if nothing is there, at any within ±11 % and
    ±2.25 semitones, and decodes where the pilot stands out. What has no valid tag is not detected.
    A file costs at most 4096 decodes, whatever its length and however many keys there are, so that
    unmarked audio passes for marked with a probability below 4096 · 2^-32 < 1e-6 per file.

    Args:
        key: the secret, at least 16 bytes; see :func:`rag_audio.watermark.keys.load_or_create`.
        retired: secrets that were used before: marks made with them are still read.

    Raises:
        InvalidInput: a key is too short.
    """

    name = "spread-spectrum-2"

    def __init__(self, key: bytes, retired: Sequence[bytes] = ()) -> None:
        for secret in (key, *retired):
            if len(secret) < MIN_KEY_BYTES:
                raise InvalidInput(
                    f"a watermark key must have at least {MIN_KEY_BYTES} bytes, got {len(secret)}"
                )
        self._readers = [Reader(secret) for secret in (key, *retired)]
        self._phase_key = subkey(key, b"phase")

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        """The marked audio: same rate, channels and length, nowhere louder than full scale.

        A sound that carries one of our marks already gets the new one beside it, as the newest.

        Returns:
            None when the sound is too short, too silent or too bare for the mark to be read back.

        Raises:
            InvalidInput: the number does not fit in 40 bits, or the samples are not finite.
        """
        _check(audio)
        self._readers[0].signs(Message(mark))
        if audio.duration_s < _SHORTEST_S or _level_dbfs(audio) < _SILENCE_DBFS:
            return None
        low = resample(audio, grid.RATE)
        message, first_cell = self._plan(low.samples, mark)
        signs = self._readers[0].signs(message)
        energy = modem.hop_energy(audio.samples, audio.sample_rate)
        peak = max(1.0, float(np.abs(audio.samples).max()))
        best, clearest = None, 0.0
        for shaping in modem.SHAPINGS:
            change = modem.mark_signal(low.samples, energy, signs, first_cell, shaping)
            added = resample(Audio(change, grid.RATE), audio.sample_rate).samples
            samples = np.clip(audio.samples + _fit(added, audio.frames), -peak, peak)
            marked = Audio(samples, audio.sample_rate)
            z = self._clearness(marked, message, first_cell)
            if z > clearest:
                best, clearest = marked, z
            if z >= CLEAR_Z:
                break
        return best

    def detect(self, audio: Audio, *, search: bool = True) -> Detection:
        """Find the mark in any rate, channel count and length.

        Args:
            search: also at other tempos and pitches than the file's own.

        Raises:
            InvalidInput: the samples are not finite.
        """
        return self.detect_pieces(_pieces(audio), search=search)

    def detect_pieces(self, pieces: Iterable[Audio], *, search: bool = True) -> Detection:
        """Find the mark in sound that comes in pieces, one after the other, of any length.

        Memory holds one piece at a time. Of several marks the newest counts, then the clearest.

        Raises:
            InvalidInput: the samples are not finite.
        """
        budget = Budget(_MAX_DECODES)
        found: dict[Message, list[Reading]] = {}
        empty: list[tuple[float, float]] = []
        start_s = 0.0
        hints: list[tuple[float, float]] = [(1.0, 0.0)]
        for piece in pieces:
            _check(piece)
            if piece.duration_s < _SHORTEST_S:
                continue
            heard = grid.Heard(resample(piece, grid.RATE).samples)
            here: list[Reading] = []
            z = 0.0
            if not heard.silent:
                here, z = self._read(heard, hints, budget, search)
            if not here:
                empty.append((start_s + piece.duration_s / 2, _confidence(z - 5.0) / 2))
            for reading in here:
                found.setdefault(reading.message, []).append(reading.later(start_s))
                change = (reading.place.tempo, reading.place.semitones)
                if change not in hints:
                    hints = [*hints[:2], change]
            start_s += piece.duration_s
        if not found:
            most = max((confidence for _, confidence in empty), default=0.0)
            return Detection(None, most, over_time=tuple(empty))
        return _answer(found, empty)

    def _read(
        self, heard: grid.Heard, hints: list[tuple[float, float]], budget: Budget, search: bool
    ) -> tuple[list[Reading], float]:
        """What a piece says at known changes, or else anywhere; the best z of any pilot."""
        best = 0.0
        ways: tuple[grid.Hearing, ...] = ("beside", "both")
        for hearing, change in product(ways, hints):
            for reader in self._readers:
                places = reader.search.straight(heard, *change, hearing)
                best = max([best, *(place.z for place in places)])
                readings = reader.read(heard, places, budget)
                if readings:
                    return readings, best
        if search:
            for reader in self._readers:
                places = reader.search.anywhere(heard, _MAX_PLACES)
                best = max([best, *(place.z for place in places)])
                readings = reader.read(heard, places, budget)
                if readings:
                    return readings, best
        return [], best

    def _plan(self, signal: NDArray[np.float32], mark: Mark) -> tuple[Message, int]:
        """The message, and the cell of a block to begin with: beside marks that are there."""
        digest = subkey(self._phase_key, mark.payload.to_bytes(5, "big"))
        first_cell = int.from_bytes(digest[:8], "big") % grid.CELLS
        heard = grid.Heard(signal[:, : round(PIECE_S * grid.RATE)])
        if heard.silent:
            return Message(mark), first_cell
        reader = self._readers[0]
        there = reader.read(heard, reader.search.straight(heard), Budget(_MAX_DECODES))
        if not there:
            return Message(mark), first_cell
        taken = [round(-reading.place.row / grid.ROWS_PER_CELL) % grid.CELLS for reading in there]
        free = (
            cell
            for turn in range(grid.CELLS)
            if all(
                _APART_CELLS
                <= ((cell := (first_cell + turn) % grid.CELLS) - other) % grid.CELLS
                <= grid.CELLS - _APART_CELLS
                for other in taken
            )
        )
        generation = (_newest({reading.message for reading in there}).generation + 1) % GENERATIONS
        return Message(mark, generation), next(free, first_cell)

    def _clearness(self, marked: Audio, message: Message, first_cell: int) -> float:
        """How clearly the mark is heard at the place where it was put; 0: it cannot be read."""
        heard = grid.Heard(resample(marked, grid.RATE).samples[:, : round(PIECE_S * grid.RATE)])
        if heard.silent:
            return 0.0
        return self._readers[0].clearness(heard, message, -first_cell * grid.ROWS_PER_CELL)


def _answer(found: dict[Message, list[Reading]], empty: Sequence[tuple[float, float]]) -> Detection:
    """Of all that was read, the newest and clearest, with the others beside it.

    Args:
        empty: (middle in seconds, confidence) of pieces in which nothing was read.
    """
    clearest = {message: max(r.z for r in readings) for message, readings in found.items()}
    newest = _newest(set(found), clearest)
    readings = found[newest]
    best = max(readings, key=lambda reading: reading.z)
    others = sorted((m for m in found if m != newest), key=lambda m: -clearest[m])
    heard = [(time_s, _confidence(z)) for reading in readings for time_s, z in reading.over_time]
    return Detection(
        newest.mark,
        _confidence(best.z),
        tempo=round(best.place.tempo, 4),
        semitones=round(best.place.semitones, 2),
        offset_s=readings[0].offset_s,
        others=tuple(dict.fromkeys(m.mark for m in others if m.mark != newest.mark)),
        over_time=tuple(sorted((*heard, *empty))),
    )


def _newest(messages: set[Message], clearness: dict[Message, float] | None = None) -> Message:
    """The message of the latest generation; of several, the clearest."""
    generations = {message.generation for message in messages}
    last = [g for g in generations if (g + 1) % GENERATIONS not in generations] or [0]
    latest = [message for message in messages if message.generation in last]
    order = clearness or {}
    return max(latest or messages, key=lambda m: (order.get(m, 0.0), m.mark.payload))


def _confidence(z: float) -> float:
    """0…1, rising with the statistic: 0.5 at 6 standard deviations, 0.9 at 18."""
    z = max(0.0, z)
    return z * z / (z * z + 36.0)


def _pieces(audio: Audio) -> Iterator[Audio]:
    length = round(PIECE_S * audio.sample_rate)
    for start in range(0, audio.frames, length):
        piece = np.ascontiguousarray(audio.samples[:, start : start + length])
        yield Audio(piece, audio.sample_rate)


def _level_dbfs(audio: Audio) -> float:
    power = float(np.mean(np.square(audio.samples, dtype=np.float64)))
    return 10.0 * float(np.log10(power + 1e-20))


def _fit(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    missing = max(0, frames - samples.shape[1])
    return np.pad(samples[:, :frames], ((0, 0), (0, missing)))


def _check(audio: Audio) -> None:
    if not np.isfinite(audio.samples).all():
        raise InvalidInput("the samples hold NaN or infinity, so no mark can be read or written")

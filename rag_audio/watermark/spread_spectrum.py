"""The watermarker: it writes marks, and puts payload, pattern and search together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from rag_audio.audio.channels import views
from rag_audio.audio.dsp import resample
from rag_audio.domain import Audio
from rag_audio.domain.ports import Detection, Mark
from rag_audio.errors import InvalidInput
from rag_audio.watermark import grid
from rag_audio.watermark.detector import CLEAR_Z, Budget, MarkReading, MarksRead, Reader
from rag_audio.watermark.grid import EDGES, FRAME, FRAMES_PER_CELL, HANN, HOP, RATE, frames, subkey
from rag_audio.watermark.payload import Message, following

MIN_KEY_BYTES = 16
PIECE_S = 60.0
"""Longer sound is heard in pieces of this length, so that memory does not grow with it."""

_MAX_DECODES = 4096
_MAX_PLACES = 5
_SILENCE_DBFS = -70.0
_SHORTEST_S = 0.1
_APART_CELLS = 6
_TRIES = 3  # places that a mark beside others is tried at

SNR_DB = 33.2
"""Ratio of the sound to the mark, within about every second and over the whole."""

Cells = NDArray[np.float32]


SHAPINGS = ((10 ** (4 / 20) - 1, 0.7), (10 ** (6 / 20) - 1, 0.85))
"""How a mark spreads over cells, its ratio to the sound staying the same: the largest relative
change of a cell's amplitude, and the exponent by which weaker cells change more than stronger ones.
The first for most sound; the second, nearer to the masking threshold, where that is too weak."""

_SECOND = round(RATE / HOP)
_EMBED_FRAMES = 1500
_TINY = 1e-12
_ROOT_HANN = np.sqrt(HANN)
_COST = 2 / FRAME * 0.75
"""One-sided spectrum to energy; 0.75: what two overlapping windows leave of it."""


class SpreadSpectrumWatermarker:
    """A keyed spread-spectrum mark that carries 40 bits; a :class:`.Watermarker`.

    A block of 4.6 s holds the whole payload and is repeated to the end. One cell in five is pilot;
    the rest carries the convolutional code of a payload with a 32-bit keyed tag. The detector first
    listens at the tempo and pitch of the file, then, if nothing is there, at any within ±11 % and
    ±2.25 semitones, and decodes where the pilot stands out. What has no valid tag is not detected.
    A file costs at most 4096 decodes, whatever its length and however many keys and layouts there
    are, so that unmarked audio passes for marked with a probability below 4096 · 2^-32 < 1e-6 per
    file. Marks are written in layout 3 of :mod:`.payload`; layout 2 is read too.

    Args:
        key: the secret, at least 16 bytes; see :func:`.load_or_create`.
        retired: secrets that were used before: marks made with them are still read.

    Raises:
        InvalidInput: a key is too short.
    """

    name = "spread-spectrum-3"

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
        Marks are counted that are read at the sound's own tempo and pitch.

        Returns:
            None when the mark would not be read back as the newest: the sound is too short, too
            silent or too bare, or carries too many marks.

        Raises:
            InvalidInput: the number does not fit in 40 bits, or the samples are not finite.
        """
        _check(audio)
        self._readers[0].signs(Message(mark))
        if audio.duration_s < _SHORTEST_S or _level_dbfs(audio) < _SILENCE_DBFS:
            return None
        low = resample(audio, RATE)
        there = self._there(low)
        message = following(mark, {reading.message for reading in there})
        for first_cell in self._free_cells(mark, there):
            marked, z = self._mark(audio, low.samples, message, first_cell, there)
            if marked is None or (z >= CLEAR_Z and not there):
                return marked
            if self._hear(_pieces(marked), search=False).newest == (0, message):
                return marked
        return None

    def _mark(
        self,
        audio: Audio,
        low: NDArray[np.float32],
        message: Message,
        first_cell: int,
        there: Sequence[MarkReading],
    ) -> tuple[Audio | None, float]:
        """The sound with a message from this cell on, None where it is lost, and its z there."""
        signs = self._readers[0].signs(message)
        energy = hop_energy(audio.samples, audio.sample_rate)
        peak = max(1.0, float(np.abs(audio.samples).max()))
        best, clearest = None, 0.0
        for shaping in SHAPINGS:
            change = mark_signal(low, energy, signs, first_cell, shaping)
            added = resample(Audio(change, RATE), audio.sample_rate).samples
            samples = np.clip(audio.samples + _fit(added, audio.frames), -peak, peak)
            marked = Audio(samples, audio.sample_rate)
            z = self._clearness(marked, message, first_cell, there)
            if z > clearest:
                best, clearest = marked, z
            if z >= CLEAR_Z:
                break
        return best, clearest

    def detect(self, audio: Audio, *, search: bool = True) -> Detection:
        """Find the mark in sound of any rate, channel count and length; as :meth:`detect_pieces`.

        Args:
            search: also at other tempos and pitches than the file's own.
        """
        return self.detect_pieces(_pieces(audio), search=search)

    def detect_pieces(self, pieces: Iterable[Audio], *, search: bool = True) -> Detection:
        """Find the mark in sound that comes in pieces, one after the other, of any length.

        Memory holds one piece at a time. Of several marks the newest counts, then the clearest.

        Raises:
            InvalidInput: the samples are not finite.
        """
        return self._hear(pieces, search=search).answer()

    def _hear(self, pieces: Iterable[Audio], *, search: bool) -> MarksRead:
        """All that is read in the pieces, each by the keys in turn."""
        budget = Budget(_MAX_DECODES)
        found = MarksRead()
        start_s = 0.0
        hints: list[tuple[float, float]] = [(1.0, 0.0)]
        for piece in pieces:
            _check(piece)
            if piece.duration_s < _SHORTEST_S:
                continue
            heard = grid.DetectorView(resample(piece, RATE).samples)
            here: list[tuple[int, MarkReading]] = []
            z = 0.0
            if not heard.silent:
                here, z = self._read(heard, hints, budget, search)
            if not here:
                here, clearer = self._read_in_views(piece, hints, budget)
                z = max(z, clearer)
            if not here:
                found.add_empty(start_s + piece.duration_s / 2, z)
            for age, reading in here:
                found.add(age, reading.later(start_s))
                change = (reading.place.tempo, reading.place.semitones)
                if change not in hints:
                    hints = [*hints[:2], change]
            start_s += piece.duration_s
        return found

    def _read(
        self,
        heard: grid.DetectorView,
        hints: list[tuple[float, float]],
        budget: Budget,
        search: bool,
    ) -> tuple[list[tuple[int, MarkReading]], float]:
        """What a piece says at known changes, or else anywhere; the best z of any pilot.

        With each reading comes the age of the key, 0: the present one.
        """
        best = 0.0
        for change in hints:
            found, z = self._listen(heard, change, budget)
            best = max(best, z)
            if found:
                return found, best
        if not search:
            return [], best
        for age, reader in enumerate(self._readers):
            places = reader.search.anywhere(heard, _MAX_PLACES)
            best = max([best, *(place.z for place in places)])
            readings = reader.read(heard, places, budget)
            if readings:
                # The search names one place for each change; other marks lie beside it.
                place = max(readings, key=lambda reading: reading.z).place
                beside, _ = self._listen(heard, (place.tempo, place.semitones), budget)
                return [*((age, reading) for reading in readings), *beside], best
        return [], best

    def _read_in_views(
        self, piece: Audio, hints: list[tuple[float, float]], budget: Budget
    ) -> tuple[list[tuple[int, MarkReading]], float]:
        """What a piece says in one of its views, where louder sound hides it in the channels as
        they are; at known changes only. Mono, and what is all but mono, has no other view."""
        best = 0.0
        for view in views(piece)[1:] if piece.channels > 1 else []:
            heard = grid.DetectorView(resample(view, RATE).samples)
            for change in hints:
                found, z = self._listen(heard, change, budget)
                best = max(best, z)
                if found:
                    return found, best
        return [], best

    def _listen(
        self, heard: grid.DetectorView, change: tuple[float, float], budget: Budget
    ) -> tuple[list[tuple[int, MarkReading]], float]:
        """What a piece says at one (tempo, semitones), by any key; the best z of any pilot."""
        found: list[tuple[int, MarkReading]] = []
        best = 0.0
        for age, reader in enumerate(self._readers):
            readings, z = reader.listen(heard, *change, budget)
            found += [(age, reading) for reading in readings]
            best = max(best, z)
        return found, best

    def _there(self, low: Audio) -> list[MarkReading]:
        """The present key's marks in a sound at the grid's rate, with rows of the whole sound."""
        budget = Budget(_MAX_DECODES)
        there: list[MarkReading] = []
        for number, piece in enumerate(_pieces(low)):
            heard = grid.DetectorView(piece.samples)
            if piece.duration_s < _SHORTEST_S or heard.silent:
                continue
            readings, _ = self._readers[0].listen(heard, 1.0, 0.0, budget)
            start = number * PIECE_S * RATE / grid.STEP
            there += [reading.at_row(start) for reading in readings]
        return there

    def _free_cells(self, mark: Mark, there: Sequence[MarkReading]) -> list[int]:
        """Cells of a block to begin a mark with, the best first, in none of which a mark begins.

        The number of a mark says which, so that those of two sounds that are mixed are rarely the
        same; beside marks that are there those count that lie far enough from them, if there are.
        """
        digest = subkey(self._phase_key, mark.payload.to_bytes(5, "big"))
        first_cell = int.from_bytes(digest[:8], "big") % grid.CELLS
        if not there:
            return [first_cell]
        taken = {round(-reading.place.row / grid.ROWS_PER_CELL) % grid.CELLS for reading in there}

        def apart(cell: int) -> int:
            turns = ((cell - other) % grid.CELLS for other in taken)
            return min(min(turn, grid.CELLS - turn) for turn in turns)

        cells = [(first_cell + turn) % grid.CELLS for turn in range(grid.CELLS)]
        free = [cell for cell in cells if apart(cell) > 0]
        return sorted(free, key=lambda cell: -min(apart(cell), _APART_CELLS))[:_TRIES]

    def _clearness(
        self, marked: Audio, message: Message, first_cell: int, there: Sequence[MarkReading]
    ) -> float:
        """How clearly the mark is heard at the place where it was put; 0: it cannot be read."""
        heard = grid.DetectorView(resample(marked, RATE).samples[:, : round(PIECE_S * RATE)])
        if heard.silent:
            return 0.0
        reader = self._readers[0]
        left = reader.without(heard, there)
        return reader.clearness(left, message, -first_cell * grid.ROWS_PER_CELL)


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


# Writing signs into sound: patchwork on the log-magnitude of an STFT.
#
# A cell is made a little louder for + and softer for -. Bender, Gruhl, Morimoto & Lu, "Techniques
# for data hiding", IBM Systems Journal 35(3/4), 1996 (patchwork); Yeo & Kim, "Modified patchwork
# algorithm", IEEE Transactions on Speech and Audio Processing 11(4), 2003; Kirovski & Malvar,
# "Spread-spectrum watermarking of audio signals", IEEE Transactions on Signal Processing 51(4),
# 2003 (chips in the log-spectrum). The grid lies at a fixed internal rate, so that the rate of the
# audio does not matter, and only the change is resampled: the rest stays untouched.
#
# Letters in shapes: C channels, T samples, K frames, B bands, F cells of a block in time.


def mark_signal(
    signal: NDArray[np.float32],
    energy: NDArray[np.float64],
    signs: Cells,
    first_cell: int,
    shaping: tuple[float, float] = SHAPINGS[0],
) -> NDArray[np.float32]:
    """What to add to ``signal`` so that its cells carry ``signs``.

    Args:
        signal: ``[C, T]`` at :data:`RATE`.
        energy: ``[K]``: energy of each hop of the whole-band audio, all channels, at that rate.
        signs: ``[F, B]``: one block, repeated to the end. Frame k is centred on sample k · HOP.
        first_cell: cell of the block that the first sample lies in.
        shaping: one of :data:`SHAPINGS`.

    Returns:
        ``[C, T]``.
    """
    count_all = signal.shape[1] // HOP + 1
    padded = np.pad(signal, ((0, 0), (HOP, 2 * HOP)))
    change = np.zeros_like(padded)
    allowed = 0.0
    for first in range(0, count_all, _EMBED_FRAMES):
        count = min(_EMBED_FRAMES, count_all - first)
        here = slice(first * HOP, (first + count + 1) * HOP)
        spectrum = scipy.fft.rfft(frames(padded[:, here], HOP) * _ROOT_HANN, axis=-1)
        cell = np.arange(first, first + count) // FRAMES_PER_CELL + first_cell
        strength, budget = _strength(spectrum, energy[first : first + count], shaping)
        allowed += budget
        band = np.repeat(signs[cell % len(signs)] * strength, np.diff(EDGES), axis=1)
        shaped = np.zeros_like(spectrum)
        marked = slice(EDGES[0], EDGES[-1])
        shaped[..., marked] = spectrum[..., marked] * band
        pieces = scipy.fft.irfft(shaped, FRAME, axis=-1) * _ROOT_HANN
        change[:, here] += _overlap_add(pieces)
    added = float(np.sum(change.astype(np.float64) ** 2))
    if added > allowed:  # the estimate per frame is rough where the sound is gated
        change *= np.float32(np.sqrt(allowed / added))
    return change[:, HOP : HOP + signal.shape[1]]


def hop_energy(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """``[K]``: energy around each frame of the grid, in terms of :data:`RATE`, all channels."""
    power = np.einsum("ct,ct->t", samples, samples, dtype=np.float64)
    total = np.concatenate(([0.0], np.cumsum(power)))
    count = samples.shape[1] * RATE // sample_rate // HOP + 2
    edges = np.rint((np.arange(count + 1) - 1) * HOP * sample_rate / RATE).astype(np.int64)
    at_edges = total[np.clip(edges, 0, len(power))]
    later = total[np.clip(edges + round(2 * HOP * sample_rate / RATE), 0, len(power))]
    around: NDArray[np.float64] = (later - at_edges) / 2 * RATE / sample_rate
    return around


def _strength(
    spectrum: NDArray[np.complex64], energy: NDArray[np.float64], shaping: tuple[float, float]
) -> tuple[Cells, float]:
    """``[K, B]``: relative change of amplitude that each cell can hide; the energy that may take.

    Weak cells bear more than strong ones (the power law stands in for masking: a change spreads
    evenly under the louder sound around it), and within about a second the change stays a fixed
    ratio below the sound.
    """
    most, slope = shaping
    power = np.sum(spectrum.real**2 + spectrum.imag**2, axis=0).astype(np.float64)
    cells = np.add.reduceat(power[:, : EDGES[-1]], EDGES[:-1], axis=1)
    density = cells / np.diff(EDGES)
    around = uniform_filter1d(uniform_filter1d(density, 3, axis=0), 3, axis=1)
    around = np.maximum(around, 0) + _TINY
    shape = (around / around.mean(axis=1, keepdims=True)) ** -slope
    cost = cells * _COST
    budget = _around(energy) * 10 ** (-SNR_DB / 10)
    low, high = np.full(len(cells), -5.0), np.full(len(cells), 1.0)
    for _ in range(12):
        level = (low + high) / 2
        change = np.minimum(most, 10 ** level[:, None] * shape)
        fits = _around((change**2 * cost).sum(axis=1)) <= budget
        low, high = np.where(fits, level, low), np.where(fits, high, level)
    strength = np.minimum(most, 10 ** low[:, None] * shape).astype(np.float32)
    return strength, float((energy * 10 ** (-SNR_DB / 10)).sum())


def _around(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # A running sum may leave a rounding error below zero after loud passages.
    mean: NDArray[np.float64] = uniform_filter1d(values, _SECOND, axis=0, mode="nearest")
    return np.maximum(mean, 0.0)


def _overlap_add(pieces: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[C, K, FRAME]`` at HOP = FRAME / 2 → ``[C, (K + 1) · HOP]``."""
    channels, count, _ = pieces.shape
    summed = np.zeros((channels, count + 1, HOP), np.float32)
    summed[:, :-1] += pieces[:, :, :HOP]
    summed[:, 1:] += pieces[:, :, HOP:]
    return summed.reshape(channels, -1)

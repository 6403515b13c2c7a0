"""Recognise a recording by its landmarks, without any mark in it.

The peaks of a spectrogram survive what copies go through: crops, lossy codecs, resampling, gain,
added noise. Two peaks and the time between them make a *landmark*; its quantised form is a number
that an index can look up, and two sounds that share many landmarks at one common offset are the
same recording. This is the scheme of A. Wang, "An industrial-strength audio search algorithm"
(ISMIR 2003); looking up neighbouring cells as well, where a value lies near a cell's border, is the
idea of J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002), who
flip the least reliable bits of a query.

Peaks lie on an axis of semitones instead of Hz. A change of pitch is then a shift of all of them
and a change of tempo a factor on all times: a query can be tried at other tempos and pitches
without computing its spectrogram again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.channels import heard, views
from rag_audio.audio.dsp import mono, resample
from rag_audio.domain import Audio
from rag_audio.retrieval.landmarks import local_maxima, summit

Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]

_RATE = 11_025
_WINDOW = 1024
_HOP = 128
_LOWEST_HZ = 200.0
_SEMITONES = 52
_STEPS = 3
"""Bands per semitone."""
_RANGE_DB = 60.0
_NEAR = (2 * round(0.1 * _RATE / _HOP) + 1, 2 * round(1.5 * _STEPS) + 1)
"""100 ms and 1.5 semitones on either side."""
_CROWD_S, _CROWD = 0.5, 25
_MIN_GAP_S, _MAX_GAP_S = 0.06, 1.8
_MAX_LEAP = 14.0
_FAN = 5
_CELL_S, _CELL_SEMITONES = 0.06, 0.5
_BORDER = 0.3
_OFFSET_S = 0.05
_FEWEST = 100
_TOGETHER = 4096
"""Windows of a spectrogram that are transformed at once."""
_PIECE_S, _MOST_PIECES = 15.0, 12

_GAPS, _PITCHES, _LEAPS = 64, 128, 64
HASHES = _GAPS * _PITCHES * _LEAPS
"""How many different hashes landmarks have: 0…HASHES-1."""


@dataclass(frozen=True, eq=False)
class PeakSet:
    """Where a spectrogram peaks.

    Attributes:
        times_s: ``[N]``, ascending.
        semitones: ``[N]`` above 200 Hz, 0…52, finer than a band.
        duration_s: of the sound.
    """

    times_s: Reals
    semitones: Reals
    duration_s: float


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of an output.

    Attributes:
        hashes: ``[N]``, 0…2^19-1, one per landmark.
        times_ms: ``[N]``, when the landmark begins.
        duration_s: of the sound.
    """

    hashes: Numbers
    times_ms: Numbers
    duration_s: float

    @property
    def sha256(self) -> str:
        """Hash over landmarks and times in ascending order: what the ledger's record keeps."""
        order = np.lexsort((self.times_ms, self.hashes))
        rows = np.stack([self.hashes[order], self.times_ms[order]], axis=1)
        return sha256(rows.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Query:
    """The landmarks of a sound that is looked for, each in all cells it may have fallen into.

    Attributes:
        hashes, landmarks: ``[P]``: a cell, and the landmark it belongs to.
        times_s: ``[N]``, when each landmark begins.
        duration_s: of the sound, at the tempo that is tried.
        tempo: how the sound is assumed to have been changed.
    """

    hashes: Numbers
    landmarks: Numbers
    times_s: Reals
    duration_s: float
    tempo: float = 1.0


@dataclass(frozen=True, eq=False)
class LandmarkMatch:
    """How well a stored output fits a query.

    Attributes:
        output: its number.
        landmarks: ``[n]`` indices into ``query.times_s`` of the landmarks that the output has at
            one common offset, rising.
        share: those, of all landmarks of the query that fall into the output's time (of 100, where
            fewer do), 0…1.
        offset_s: where the query begins in the output; negative when it begins before it.
    """

    output: int
    landmarks: Numbers
    share: float
    offset_s: float

    @property
    def agreeing(self) -> int:
        """How many landmarks agree."""
        return int(self.landmarks.size)


def find_peaks(audio: Audio) -> PeakSet:
    """The peaks of a sound's spectrogram; none in silence or in less than a window (93 ms)."""
    sound = resample(mono(audio), _RATE).samples[0]
    duration_s = audio.duration_s
    if sound.size < _WINDOW or not np.any(np.abs(sound) > 1e-6):
        return PeakSet(np.zeros(0), np.zeros(0), duration_s)
    levels = _levels(sound / np.abs(sound).max())
    frames, bands = local_maxima(levels, _NEAR)
    kept = _not_crowded_out(frames, levels[frames, bands])
    frames, bands = frames[kept], bands[kept]
    times = (frames + summit(levels, frames, bands, 0)) * _HOP / _RATE
    semitones = (bands + summit(levels, frames, bands, 1)) / _STEPS
    order = np.lexsort((semitones, times))
    return PeakSet(times[order], semitones[order], duration_s)


def make_fingerprint(audio: Audio) -> Fingerprint:
    """The landmarks of an output, to be stored; where its channels cancel each other, of one."""
    peaks = find_peaks(heard(audio))
    first, second = _pairs(peaks.times_s, peaks.semitones)
    hashes = _pack(*(np.rint(v).astype(np.int64) for v in _cells(peaks, first, second)))
    times = np.rint(peaks.times_s[first] * 1000).astype(np.int64)
    rows = np.unique(np.stack([hashes, times], axis=1), axis=0)
    return Fingerprint(rows[:, 0], rows[:, 1], peaks.duration_s)


def make_query(peaks: PeakSet, tempo: float = 1.0, semitones: float = 0.0) -> Query:
    """The landmarks of a sound whose tempo was changed by a factor and pitch by semitones."""
    undone = PeakSet(peaks.times_s * tempo, peaks.semitones - semitones, peaks.duration_s * tempo)
    first, second = _pairs(undone.times_s, undone.semitones)
    values = np.stack(_cells(undone, first, second))
    nearest = np.rint(values)
    beyond = nearest + np.where(values >= nearest, 1, -1)
    on_border = np.abs(values - nearest) > 0.5 - _BORDER
    hashes, owners = [], []
    every = np.arange(first.size)
    for choice in range(8):
        moved = np.array([choice >> axis & 1 for axis in range(3)], dtype=bool)[:, None]
        possible = (on_border | ~moved).all(axis=0)
        cells = np.where(moved, beyond, nearest)[:, possible].astype(np.int64)
        hashes.append(_pack(*cells))
        owners.append(every[possible])
    return Query(
        np.concatenate(hashes),
        np.concatenate(owners),
        undone.times_s[first],
        undone.duration_s,
        tempo,
    )


def pieces(peaks: PeakSet) -> list[tuple[float, PeakSet]]:
    """Start in seconds and peaks of pieces of 15 s of a sound of any length, at most twelve, evenly
    spread; a sound of less than 22.5 s is one piece."""
    count = min(_MOST_PIECES, max(1, round(peaks.duration_s / _PIECE_S)))
    length = min(peaks.duration_s, _PIECE_S * 1.5 if count == 1 else _PIECE_S)
    found = []
    for start in np.linspace(0.0, max(0.0, peaks.duration_s - length), count):
        found.append((float(start), part_of(peaks, start, start + length)))
    return found


def part_of(peaks: PeakSet, start_s: float, end_s: float) -> PeakSet:
    """The peaks of a stretch, with times from its start."""
    low, high = np.searchsorted(peaks.times_s, (start_s, end_s))
    times = peaks.times_s[low:high] - start_s
    return PeakSet(times, peaks.semitones[low:high], end_s - start_s)


def windows(peaks: PeakSet, tempo: float = 1.0, semitones: float = 0.0) -> list[Query]:
    """Queries for a sound of any length, one for each of :func:`pieces` that holds a landmark."""
    queries = (make_query(piece, tempo, semitones) for _, piece in pieces(peaks))
    return [query for query in queries if query.times_s.size]


def cells_of(hashes: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Gap (0…63), pitch (0…127) and leap (-32…31) cells of landmarks, ``[N]`` each."""
    return (
        hashes // (_PITCHES * _LEAPS),
        hashes // _LEAPS % _PITCHES,
        hashes % _LEAPS - _LEAPS // 2,
    )


def match(query: Query, kept: Fingerprint, output: int = 0) -> LandmarkMatch:
    """How well a stored output fits: the offset at which most landmarks agree.

    Args:
        output: its number.
    """
    mine = np.argsort(query.hashes, kind="stable")
    low = np.searchsorted(query.hashes[mine], kept.hashes, side="left")
    high = np.searchsorted(query.hashes[mine], kept.hashes, side="right")
    counts = high - low
    if counts.sum() == 0:
        return LandmarkMatch(output, np.zeros(0, np.int64), 0.0, 0.0)
    starts = np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    probes = mine[starts + np.arange(counts.sum())]
    landmarks = query.landmarks[probes]
    offsets = np.repeat(kept.times_ms / 1000.0, counts) - query.times_s[landmarks]
    order = np.argsort(offsets, kind="stable")
    offsets, landmarks = offsets[order], landmarks[order]
    ends = np.searchsorted(offsets, offsets + _OFFSET_S, side="right")
    # Only the fullest windows can hold the most different landmarks.
    best, best_at = 0, 0
    sizes = ends - np.arange(offsets.size)
    for at in np.argsort(-sizes, kind="stable")[:64]:
        if sizes[at] <= best:
            break
        different = int(np.unique(landmarks[at : ends[at]]).size)
        if different > best:
            best, best_at = different, int(at)
    offset = float(np.median(offsets[best_at : ends[best_at]]))
    place = query.times_s + offset
    inside = int(((place >= 0) & (place <= kept.duration_s)).sum())
    agreeing = np.unique(landmarks[best_at : ends[best_at]])
    return LandmarkMatch(output, agreeing, best / max(inside, _FEWEST), offset)


def _levels(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decibels above the floor ``[frames, bands]``, on the axis of semitones."""
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(sound, _WINDOW // 2), _WINDOW)[::_HOP]
    window = np.hanning(_WINDOW).astype(np.float32)
    hz = _LOWEST_HZ * 2 ** (np.arange(_SEMITONES * _STEPS) / (12 * _STEPS))
    places = hz * 2 * _WINDOW / _RATE
    left = places.astype(int)
    part = (places - left).astype(np.float32)
    # Only the bins between which a band lies are kept: a long sound's spectrogram is gigabytes.
    below = np.empty((len(framed), left.size), np.float32)
    above = np.empty_like(below)
    loudest, quietest = np.float32(0.0), np.float32(np.inf)
    for start in range(0, len(framed), _TOGETHER):
        piece = slice(start, start + _TOGETHER)
        spectrum = np.fft.rfft(framed[piece] * window, 2 * _WINDOW, axis=1)
        power = np.abs(spectrum).astype(np.float32)
        below[piece], above[piece] = power[:, left], power[:, left + 1]
        loudest, quietest = max(loudest, power.max()), min(quietest, power.min())
    floor = np.float32(loudest * 10 ** (-_RANGE_DB / 20))
    lowest = 20 * np.log10(np.maximum(np.full(_WINDOW, quietest), floor))[0]
    for levels in (below, above):
        np.maximum(levels, floor, out=levels)
        np.log10(levels, out=levels)
        levels *= 20
        levels -= lowest
    below *= 1 - part
    above *= part
    below += above
    return below


def _not_crowded_out(frames: Numbers, levels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Peaks with fewer than 25 stronger ones within half a second: it depends on nothing else."""
    reach = round(_CROWD_S * _RATE / _HOP)
    low = np.searchsorted(frames, frames - reach, side="left")
    high = np.searchsorted(frames, frames + reach, side="right")
    stronger = [
        int((levels[a:b] > level).sum()) for a, b, level in zip(low, high, levels, strict=True)
    ]
    return np.array(stronger, dtype=np.int64) < _CROWD


def _pairs(times: Reals, semitones: Reals) -> tuple[Numbers, Numbers]:
    """Each peak with the first few that follow it within reach: indices ``[N]`` of both."""
    first: list[int] = []
    second: list[int] = []
    starts = np.searchsorted(times, times + _MIN_GAP_S, side="left")
    ends = np.searchsorted(times, times + _MAX_GAP_S, side="right")
    for i, (low, high) in enumerate(zip(starts, ends, strict=True)):
        near = low + np.flatnonzero(np.abs(semitones[low:high] - semitones[i]) <= _MAX_LEAP)[:_FAN]
        first.extend([i] * near.size)
        second.extend(near.tolist())
    return np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)


def _cells(peaks: PeakSet, first: Numbers, second: Numbers) -> tuple[Reals, Reals, Reals]:
    """Gap, pitch and leap of each landmark, in cells, not yet rounded."""
    times, semitones = peaks.times_s, peaks.semitones
    return (
        (times[second] - times[first]) / _CELL_S,
        semitones[first] / _CELL_SEMITONES,
        (semitones[second] - semitones[first]) / _CELL_SEMITONES,
    )


def backwards(peaks: PeakSet) -> PeakSet:
    """The peaks of a sound that is played backwards."""
    return PeakSet(
        np.ascontiguousarray(peaks.duration_s - peaks.times_s[::-1]),
        np.ascontiguousarray(peaks.semitones[::-1]),
        peaks.duration_s,
    )


def _pack(gaps: Numbers, pitches: Numbers, leaps: Numbers) -> Numbers:
    return (
        np.clip(gaps, 0, _GAPS - 1) * _PITCHES + np.clip(pitches, 0, _PITCHES - 1)
    ) * _LEAPS + np.clip(leaps + _LEAPS // 2, 0, _LEAPS - 1)


# Whether a sound holds the waveform of another one, though louder sounds lie over it.
#
# Landmarks of a spectrogram go where speech or other music covers them; the waveform does not.
# The generalised cross-correlation with phase transform (Knapp and Carter, "The generalized
# correlation method for estimation of time delay", IEEE Transactions on Acoustics, Speech, and
# Signal Processing 24(4), 1976) of two unrelated sounds is noise; where one holds the other, it
# has a peak at their delay. It sees through gain, filters, codecs and mixing, and not through
# another speed or pitch.
#
# Where the place is known, the magnitude of the complex coherence over time (Carter, "Coherence
# and time delay estimation", Proceedings of the IEEE 75(2), 1987) tells a damaged copy from a
# sound that was made of the same material: filters and noise leave the loudest points of a
# spectrogram in step with those of the original.

HOLDS, UNRELATED = 40.0, 9.0
"""Peak over RMS of the correlation from which on a sound holds another one, and below which it does
not; between them it is not said. Other outputs of one model reach 37, outputs 12 dB under another
one have 40 or more (``benchmarks/bench_fingerprint.py``); those of the same references have as much
as copies, so that it is asked only of sound that is no other output.
"""
_LOW_HZ, _HIGH_HZ = 80.0, 5000.0
_WINDOW_S, _STEP_S = 8.0, 4.0
_QUIET = 0.05
"""Windows whose RMS is below this share of the loudest one's say nothing."""
_TINY = 1e-12
_NEAR_S, _LEAST_S = 0.1, 1.0
_FRAME, _LOUDEST, _FEWEST_POINTS = 2048, 0.1, 5
_GATE_S, _GATED = 0.01, 1e-3


@dataclass(frozen=True)
class WaveformWindow:
    """A window of a sound: from where to where, and how clearly another sound's waveform is in it.

    Attributes:
        peak: over the RMS of the correlation; 0 in silence.
    """

    start_s: float
    end_s: float
    peak: float


def waveform_in(whole: Audio, heard: Audio) -> list[WaveformWindow]:
    """How clearly a sound's waveform is in each 8 s of another, which lie half over each other.

    Args:
        whole: the sound that is looked for, all of it. heard: any length.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    wanted, sound = _prepared(whole), _prepared(heard)
    windows = _windows(sound)
    size = next_fast_len(wanted.size + round(_WINDOW_S * _RATE), real=True)
    spectrum = np.conj(rfft(wanted, size))
    hz = np.arange(spectrum.size) * _RATE / size
    audible = (hz > _LOW_HZ) & (hz < _HIGH_HZ)
    loudest = max((_rms(window) for _, window in windows), default=0.0)
    found = []
    for start, window in windows:
        peak = 0.0
        if _rms(window) > max(_QUIET * loudest, _TINY):
            product = rfft(window, size) * spectrum
            phases = np.where(audible, product / (np.abs(product) + _TINY), 0.0)
            correlation = irfft(phases, size)
            peak = float(np.abs(correlation).max()) / max(_rms(correlation), _TINY)
        found.append(WaveformWindow(start / _RATE, (start + window.size) / _RATE, peak))
    return found


def peak_in_waveform(whole: Audio, heard: Audio) -> float:
    """The clearest of :func:`waveform_in`."""
    return max((one.peak for one in waveform_in(whole, heard)), default=0.0)


def coherence(whole: Audio, heard: Audio, offset_s: float) -> float:
    """How far the loudest points of a sound's spectrogram keep step with another sound's, 0…1.

    The tenth of all points in which both have most energy counts. Per frequency, the phases between
    both sounds may differ by anything, and not over time. Where ``heard`` is silent, as in a sound
    that was gated, nothing is compared.

    Args:
        whole, heard: where they have several channels, the likest of their :func:`views` count.
        offset_s: where in ``whole`` the other sound begins, right to 0.1 s; negative: before it.

    Returns:
        0 where they overlap by less than a second.
    """
    sounds = [_prepared(view) for view in views(heard)]
    masters = [_prepared(view) for view in views(whole)]
    return max(_in_step(master, sound, offset_s) for master in masters for sound in sounds)


def _in_step(whole: NDArray[np.float32], heard: NDArray[np.float32], offset_s: float) -> float:
    from scipy.ndimage import maximum_filter1d

    start = round(offset_s * _RATE)
    before, skipped = max(0, start), max(0, -start)
    length = min(whole.size - before, heard.size - skipped)
    if length < _LEAST_S * _RATE:
        return 0.0
    delay = _delay(whole[before : before + length], heard[skipped : skipped + length])
    before, skipped = before + max(0, -delay), skipped + max(0, delay)
    length -= abs(delay)
    mine, theirs = whole[before : before + length], heard[skipped : skipped + length]
    sounding = maximum_filter1d(np.abs(theirs), round(_GATE_S * _RATE))
    mine = np.where(sounding > _GATED * sounding.max(initial=0.0), mine, np.float32(0.0))
    product = _points(mine) * np.conj(_points(theirs))
    size = np.abs(product)
    loud = size >= max(float(np.quantile(size, 1.0 - _LOUDEST)), _TINY)
    kept = loud.sum(axis=0) >= _FEWEST_POINTS
    both = np.where(loud, product, 0.0)[:, kept]
    energy = float(np.abs(both).sum())
    return float(np.abs(both.sum(axis=0)).sum()) / energy if energy > _TINY else 0.0


def _delay(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> int:
    """By how many samples the second of two sounds comes later, within a tenth of a second."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(mine.size + round(_NEAR_S * _RATE), real=True)
    product = rfft(theirs, size) * np.conj(rfft(mine, size))
    correlation = np.abs(irfft(product / (np.abs(product) + _TINY), size))
    near = round(_NEAR_S * _RATE)
    around = np.concatenate([correlation[-near:], correlation[: near + 1]])
    return int(around.argmax()) - near


def _points(samples: NDArray[np.float32]) -> NDArray[np.complex64]:
    """``[frames, bins]`` of the spectrogram, 80 Hz to 5 kHz."""
    from scipy.fft import rfft

    framed = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[:: _FRAME // 4]
    bins = slice(round(_LOW_HZ * _FRAME / _RATE), round(_HIGH_HZ * _FRAME / _RATE))
    window = np.hanning(_FRAME).astype(np.float32)
    made: NDArray[np.complex64] = rfft(framed * window, axis=1)[:, bins]
    return made


def _rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0


def _prepared(audio: Audio) -> NDArray[np.float32]:
    made: NDArray[np.float32] = resample(mono(audio), _RATE).samples[0]
    return made


def _windows(sound: NDArray[np.float32]) -> list[tuple[int, NDArray[np.float32]]]:
    """Pieces of 8 s and their starts, half over each other; the last ends with the sound."""
    length, step = round(_WINDOW_S * _RATE), round(_STEP_S * _RATE)
    last = max(0, sound.size - length)
    return [(at, sound[at : at + length]) for at in (*range(0, last, step), last)]

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.retrieval.landmarks import (
    HASHES,
    MAX_SEMITONES,
    MAX_TEMPO_CHANGE,
    STEMS,
    Peaks,
    Triples,
    find_triples,
    local_maxima,
)


def _peaks(seed: int, count: int = 60) -> Peaks:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 4, count))
    return Peaks(times, rng.uniform(5, 60, count), rng.integers(0, 5, count), 4.0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    change=st.floats(-MAX_TEMPO_CHANGE, MAX_TEMPO_CHANGE),
    semitones=st.floats(-MAX_SEMITONES, MAX_SEMITONES),
)
def test_a_changed_sound_asks_for_the_hashes_that_are_stored(
    seed: int, change: float, semitones: float
) -> None:
    stored = find_triples(_peaks(seed), 3)
    old = stored.peaks
    times = old.times_s / np.exp(change)
    moved = Peaks(times, old.semitones + semitones, old.ranks, 4 / np.exp(change))
    asked = Triples(moved, stored.first, stored.second, stored.third)
    hashes, owners, _ = STEMS.probes_of(asked)
    for number, stored_hash in enumerate(STEMS.hashes_of(stored)):
        assert stored_hash in hashes[owners == number]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_what_is_played_backwards_twice_has_the_same_hashes(seed: int) -> None:
    peaks = _peaks(seed)
    again = peaks.backwards().backwards()
    once, twice = find_triples(peaks, 1000), find_triples(again, 1000)
    assert np.array_equal(np.sort(STEMS.hashes_of(once)), np.sort(STEMS.hashes_of(twice)))
    mirrored = find_triples(peaks.backwards(), 1000)
    assert not np.array_equal(np.sort(STEMS.hashes_of(once)), np.sort(STEMS.hashes_of(mirrored)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(0, 150), spread_s=st.sampled_from([2.0, 30.0]))
def test_triples_are_all_that_lie_near_each_other(seed: int, count: int, spread_s: float) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, spread_s, count).round(2))
    peaks = Peaks(times, rng.uniform(5, 60, count), rng.integers(0, 5, count), spread_s)
    found = find_triples(peaks, 10_000)
    told = list(zip(found.first, found.second, found.third, strict=True))
    assert told == sorted(set(told))
    # Rounded times lie on the bounds themselves, where either answer is right.
    assert _near_each_other(peaks, -1e-9) <= set(told) <= _near_each_other(peaks, 1e-9)


def _near_each_other(peaks: Peaks, slack: float) -> set[tuple[int, int, int]]:
    times, found = peaks.times_s, set()
    for a in range(times.size):
        after, leaps = times - times[a], np.abs(peaks.semitones - peaks.semitones[a])
        far = np.searchsorted(times, times[a] + 4.0 + slack, side="right")
        begin = int(np.searchsorted(times, times[a] + 0.07 - slack))
        near = [n for n in range(begin, min(far, begin + 200)) if leaps[n] <= 10]
        for b, c in product(near, near):
            low, high = 0.2 * after[c] - slack, 0.8 * after[c] + slack
            if after[c] >= 0.35 - slack and low <= after[b] <= high:
                found.add((a, b, c))
    return found


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(3, 20)),
    reach=st.tuples(st.integers(0, 5), st.integers(0, 4)),
    seed=st.integers(0, 999),
)
def test_maxima_are_the_highest_of_their_neighbourhood(
    shape: tuple[int, int], reach: tuple[int, int], seed: int
) -> None:
    levels = np.random.default_rng(seed).integers(0, 6, shape).astype(np.float32)
    up, side = reach
    expected = [
        (frame, band)
        for frame in range(shape[0])
        for band in range(1, shape[1] - 1)
        if levels[frame, band] > 0
        and levels[frame, band]
        == levels[max(0, frame - up) : frame + up + 1, max(0, band - side) : band + side + 1].max()
    ]
    found = local_maxima(levels, (2 * up + 1, 2 * side + 1))
    assert list(zip(*found, strict=True)) == expected


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), each=st.integers(1, 5))
def test_triples_are_bounded_in_number_and_hashes_in_size(seed: int, each: int) -> None:
    triples = find_triples(_peaks(seed), each)
    assert np.bincount(triples.first, minlength=1).max() <= each
    hashes, *_ = STEMS.probes_of(triples)
    assert hashes.min(initial=0) >= 0
    assert hashes.max(initial=0) < HASHES < 2**31
    assert (triples.peaks.times_s[triples.second] > triples.times_s).all()
    assert (triples.peaks.times_s[triples.third] > triples.peaks.times_s[triples.second]).all()

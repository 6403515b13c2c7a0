"""What is heard in several channels: no gain and no polarity hides a sound."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from indexer.measure import MeasuredFile, MeasureJob, measure
from rag_audio.audio.analysis import analyse
from rag_audio.audio.channels import fitted, heard, views
from rag_audio.audio.copy_distance import copy_distance
from rag_audio.audio.dsp import extract, mono, to_channels
from rag_audio.audio.folding import Balance
from rag_audio.audio.pitch_tracking import track_pitch
from rag_audio.domain import Audio
from rag_audio.domain.controls import Layer
from rag_audio.errors import InvalidInput
from rag_audio.pipeline.edit_source import in_master
from tests.support.small_library import chords

RATE = 16_000
SOUNDS = ((92, 220.0), (117, 164.8), (104, 293.7), (76, 130.8))
COPY = 0.35
"""Below this a sound is taken for a copy (docs/rights.md)."""


@cache
def music(number: int, seconds: float = 5.0) -> np.ndarray:
    bpm, root = SOUNDS[number]
    made = chords(bpm, root, seconds=seconds, seed=number)
    return np.asarray(made / np.sqrt(np.mean(made**2)) * 0.1)


def mixed(gains: list[list[float]], *sounds: np.ndarray) -> Audio:
    return Audio((np.array(gains) @ np.stack(sounds)).astype(np.float32), RATE)


def alone(samples: np.ndarray) -> Audio:
    return Audio(samples[None].astype(np.float32), RATE)


def nearest(audio: Audio, sought: np.ndarray) -> float:
    """The highest correlation of a view with a sound."""
    return max(abs(float(np.corrcoef(v.samples[0], sought)[0, 1])) for v in views(audio))


gain = st.floats(-1.0, 1.0)


@given(
    gains=st.lists(st.tuples(gain, gain), min_size=2, max_size=6),
    pair=st.permutations(range(4)),
)
@settings(max_examples=25, deadline=None)
def test_no_mix_of_two_sounds_hides_either(
    gains: list[tuple[float, float]], pair: list[int]
) -> None:
    matrix = np.array(gains)
    strongest, weakest = np.linalg.svd(matrix, compute_uv=False)
    assume(weakest > max(0.02, strongest / 30) and np.abs(matrix).max(axis=0).min() > 0.1)
    first, second = music(pair[0]), music(pair[1])
    audio = mixed(matrix.tolist(), first, second)
    assert nearest(audio, first) > 0.9
    assert nearest(audio, second) > 0.9


@pytest.mark.parametrize(
    "gains",
    [
        [[1, 1], [-1, 1]],
        [[1, 3], [-0.8, 2.9]],
        [[1, 10], [-0.8, 9]],
        [[1, 3], [0.8, 2.9]],
        [[1, 3], [1, 0]],
        [[0.3, 1], [0.1, 0.8]],
        [[1, 1], [-1, 1], [0.5, 2], [-0.5, 2], [0, 1], [0.1, 3]],
    ],
)
def test_a_stem_under_other_sound_is_a_copy_in_any_mix(gains: list[list[float]]) -> None:
    audio = mixed(gains, music(0), music(1))
    assert copy_distance(alone(music(0)), audio) < COPY
    assert copy_distance(audio, alone(music(0, 3.0))) < COPY
    assert copy_distance(alone(music(2)), audio) > 0.6


def test_a_stem_under_a_tone_of_the_other_polarity_is_a_copy() -> None:
    tone = 0.02 * np.sin(2 * np.pi * 330 * np.arange(music(0).size) / RATE)
    audio = mixed([[0.7, 1], [-0.7, 1]], music(0), tone)
    assert copy_distance(alone(music(0)), audio) < 0.05


def test_the_side_of_a_wide_stem_alone_is_a_copy_of_it() -> None:
    wide = mixed([[1, 1], [1, -1]], music(0), music(1))
    assert copy_distance(wide, alone(music(1))) < 0.05
    assert copy_distance(wide, mixed([[1, 1], [-1, 1]], music(1), music(2))) < 0.05


def test_hihats_that_stand_apart_do_not_make_two_recordings_copies() -> None:
    noise = np.random.default_rng(0).standard_normal(music(0).size)
    since = (np.arange(noise.size) / RATE) % 0.25
    hats = 0.3 * np.diff(noise, prepend=0.0) * np.exp(-80 * since)
    one, other = (mixed([[1, 0.7], [1, 0.2]], music(n), hats) for n in (0, 1))
    assert copy_distance(one, other) > 0.6


@given(
    channels=st.integers(1, 8),
    gains=st.lists(st.floats(0.05, 1.0), min_size=8, max_size=8),
    signs=st.lists(st.sampled_from((-1, 1)), min_size=8, max_size=8),
)
@settings(max_examples=20, deadline=None)
def test_one_sound_in_all_channels_has_one_view(
    channels: int, gains: list[float], signs: list[int]
) -> None:
    each = [[g * s] for g, s in zip(gains, signs, strict=True)][:channels]
    (view,) = views(mixed(each, music(0)))
    assert abs(np.corrcoef(view.samples[0], music(0))[0, 1]) > 0.9999


@pytest.mark.parametrize(("channels", "most"), [(1, 1), (2, 6), (3, 12), (6, 12), (8, 12)])
def test_views_are_few_and_the_same_each_time(channels: int, most: int) -> None:
    noise = np.random.default_rng(channels).standard_normal((channels, RATE)) * 0.1
    audio = Audio(noise.astype(np.float32), RATE)
    found = views(audio)
    assert 1 <= len(found) <= most
    assert all(view.samples.shape == (1, RATE) for view in found)
    assert np.array_equal(found[0].samples, mono(audio).samples)
    again = views(audio)
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("frames", [0, 1, 100, 5000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_silence_and_snippets_have_a_view(channels: int, frames: int) -> None:
    (view,) = views(Audio(np.zeros((channels, frames), np.float32), RATE))
    assert view.samples.shape == heard(view).samples.shape == (1, frames)
    clip = np.random.default_rng(0).standard_normal((channels, frames)).astype(np.float32)
    assert all(v.samples.shape == (1, frames) for v in views(Audio(clip, RATE)))


def test_sound_that_is_not_finite_has_no_views() -> None:
    broken = np.zeros((2, 1000), np.float32)
    broken[0, 5] = np.nan
    with pytest.raises(InvalidInput, match="not finite"):
        views(Audio(broken, RATE))


@given(share=st.floats(-0.6, 1.0), channels=st.integers(2, 8))
@settings(max_examples=15, deadline=None)
def test_ordinary_stereo_is_heard_as_its_mean_to_the_bit(share: float, channels: int) -> None:
    """Vectors that were made before stay what they were."""
    rng = np.random.default_rng(channels)
    common = rng.standard_normal(3 * RATE)
    apart = rng.standard_normal((channels, 3 * RATE))
    first = np.abs(share) * common + np.sqrt(1 - share**2) * apart
    if share < 0:
        first[0] -= 2 * np.abs(share) * common
    audio = Audio((0.1 * first).astype(np.float32), RATE)
    if channels == 2 or share >= 0:
        assert np.array_equal(heard(audio).samples, mono(audio).samples)


@pytest.mark.parametrize(
    "gains",
    [
        [[1], [-1]],
        [[1], [-0.9]],
        [[-0.8], [1]],
        [[1], [-1], [0], [0]],
        [[1], [0], [0], [0], [-1], [0]],
    ],
)
def test_what_has_opposite_polarity_is_heard(gains: list[list[float]]) -> None:
    made = heard(mixed(gains, music(0))).samples[0]
    assert abs(np.corrcoef(made, music(0))[0, 1]) > 0.999
    assert np.std(made) > 0.7 * np.std(music(0))


def test_a_stretch_of_opposite_polarity_is_heard_within_ordinary_sound() -> None:
    whole = np.tile(music(0, 12.0), (2, 1)).astype(np.float32)
    half = whole.shape[1] // 2
    whole[1, half:] *= -1
    made = heard(Audio(whole, RATE)).samples[0]
    for part in (slice(0, half - RATE), slice(half + RATE, None)):
        assert np.corrcoef(made[part], music(0, 12.0)[part])[0, 1] > 0.999
    assert np.abs(np.diff(made)).max() < 2 * np.abs(np.diff(whole[0])).max()


@pytest.mark.parametrize(("gains", "n"), [([[1], [-1]], 1), ([[1], [0], [0], [-(2**0.5)], [0]], 2)])
def test_fewer_channels_do_not_cancel(gains: list[list[float]], n: int) -> None:
    """Left and right in one; left and what is behind it in two."""
    made = fitted(mixed(gains, music(0)), n)
    assert made.channels == n
    assert np.square(made.samples).mean(axis=1).max() > 0.5 * np.mean(music(0) ** 2)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_ordinary_sound_is_fitted_as_it_was(n: int) -> None:
    wide = mixed([[1, 1], [1, -1], [0.5, 0.2], [0, 1], [1, 0]], music(0), music(1))
    assert np.array_equal(fitted(wide, n).samples, to_channels(wide, n).samples)


def test_a_downmix_that_cancels_is_known_while_it_is_read() -> None:
    behind = [[1, 0], [0, 1], [0, 0], [-1.5, 0], [0, 0]]
    for gains, lost in ((behind, True), ([[1, 0], [0, 1], [0, 0], [0.5, 1], [0, 0]], False)):
        audio = mixed(gains, music(0), 0.2 * music(1))
        balance = Balance(5)
        for at in range(0, audio.frames, 30_000):
            block = Audio(np.ascontiguousarray(audio.samples[:, at : at + 30_000]), RATE)
            balance.add(block.samples)
        assert balance.is_lost is lost


def test_a_part_of_a_master_of_opposite_polarity_is_found_in_it() -> None:
    master = mixed([[1], [-1]], music(0))
    crop = Audio(np.ascontiguousarray(master.samples[:, RATE : 3 * RATE]), RATE)
    part, start_s = in_master(master, crop, "crop.wav")
    assert start_s == pytest.approx(1.0, abs=1e-3)
    assert np.array_equal(part.samples, crop.samples)


def in_file(path: Path, gains: list[list[float]]) -> MeasuredFile:
    soundfile.write(path, mixed(gains, music(1, 9.0)).samples.T, RATE, subtype="PCM_24")
    status = path.stat()
    found = measure(MeasureJob(path, status.st_size, status.st_mtime_ns, RATE, 60.0), no_score)
    assert isinstance(found, MeasuredFile)
    return found


def no_score(path: Path) -> Audio:
    raise AssertionError(path)


def test_a_file_of_opposite_polarity_is_indexed_by_what_is_heard_in_it(tmp_path: Path) -> None:
    plain = in_file(tmp_path / "plain.wav", [[1]])
    for name, gains in (("stereo", [[1], [-1]]), ("quad", [[1], [-1], [1], [-1]])):
        found = in_file(tmp_path / f"{name}.wav", gains)
        assert (found.bpm, found.key) == (plain.bpm, plain.key)
        assert found.bpm is not None and found.key is not None
        assert found.sound is not None and plain.sound is not None
        likeness = np.corrcoef(found.sound.samples[0], plain.sound.samples[0])[0, 1]
        assert abs(likeness) > 0.999
        level = np.std(found.sound.samples) / np.std(plain.sound.samples)
        assert 0.7 < level < 1.4


def test_pitch_is_tracked_and_tempo_found_in_opposite_polarity() -> None:
    plain, opposite = alone(music(0)), mixed([[1], [-1]], music(0))
    assert np.allclose(track_pitch(plain).semitones, track_pitch(opposite).semitones, atol=0.01)
    assert analyse(opposite).beats_s == analyse(plain).beats_s != ()


@pytest.mark.parametrize("layer", list(Layer))
def test_a_layer_is_taken_out_of_what_has_opposite_polarity(layer: Layer) -> None:
    whole = extract(alone(music(0, 2.0)), layer).samples[0]
    parted = extract(mixed([[1], [-1]], music(0, 2.0)), layer).samples
    assert np.allclose(parted, np.stack([whole, -whole]), atol=1e-4)
    assert np.std(whole) > 0.01

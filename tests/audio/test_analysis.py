"""Tempo, key, loudness and likeness, measured against what is known."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import analysis, midi
from rag_audio.audio import writing as sound
from rag_audio.audio.analysis import analyse, beat_offset_s, chroma, estimate_key, find_pulse
from rag_audio.audio.copy_distance import copy_distance
from rag_audio.audio.dsp import loudness_lufs, mono, resample
from rag_audio.audio.reading import load
from rag_audio.domain import Audio, Key
from tests.support.scores import write_score

RATE = 22_050


@cache
def played(
    bpm: float = 100.0, key: Key | None = None, drums: bool = True, pitched: bool = True
) -> Audio:
    """Ten seconds of a score."""
    with TemporaryDirectory() as folder:
        path = write_score(Path(folder) / "a.mid", bpm, key, bars=10, drums=drums, pitched=pitched)
        return midi.render(path, sample_rate=RATE, duration_s=10.0)


def noise(seconds: float = 5.0, channels: int = 1, level: float = 0.1) -> Audio:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((channels, round(seconds * RATE))) * level
    return Audio(samples.astype(np.float32), RATE)


def silence(seconds: float) -> Audio:
    return Audio(np.zeros((2, round(seconds * RATE)), np.float32), RATE)


def off_by(found: float, true: float) -> float:
    """Relative error to the tempo, its half or its double."""
    return min(abs(found / (true * octave) - 1) for octave in (0.5, 1, 2))


@pytest.mark.parametrize("bpm", [66, 80, 92, 100, 113, 128, 140, 174])
@pytest.mark.parametrize("pitched", [False, True])
def test_the_tempo_is_within_one_percent_up_to_octaves(bpm: float, pitched: bool) -> None:
    found = find_pulse(played(bpm, pitched=pitched))
    assert found.bpm is not None
    assert off_by(found.bpm, bpm) < 0.01
    assert found.confidence > 0.3


def test_drums_at_92_read_92() -> None:
    measured = analyse(played(92, pitched=False))
    assert measured.bpm == pytest.approx(92, rel=0.01)


def test_beats_fall_on_the_beats() -> None:
    bpm = 100.0
    beats = np.array(analyse(played(bpm)).beats_s)
    assert 14 <= beats.size <= 18
    phase = (beats * bpm / 60) % 0.5  # the half beat counts: which of them is the beat is taste
    assert np.minimum(phase, 0.5 - phase).max() < 0.06


@pytest.mark.parametrize("shift_s", [0.0, 0.13, 0.4])
def test_the_first_beat_is_found_at_a_known_tempo(shift_s: float) -> None:
    clicks = np.zeros((1, 8 * RATE), np.float32)
    rng = np.random.default_rng(0)
    for beat in range(15):
        at = round((shift_s + beat * 0.5) * RATE)
        clicks[0, at : at + 400] = rng.standard_normal(400) * np.hanning(800)[400:] * 0.3
    found = beat_offset_s(Audio(clicks, RATE), 120.0)
    assert min(abs(found - shift_s), 0.5 - abs(found - shift_s)) < 0.03


@pytest.mark.parametrize(
    "key", [Key(0, False), Key(7, False), Key(3, False), Key(9, True), Key(2, True), Key(6, True)]
)
@pytest.mark.parametrize("drums", [False, True])
def test_the_key_is_heard(key: Key, drums: bool) -> None:
    measured = analyse(played(100.0, key, drums))
    assert measured.key == key
    assert measured.key_confidence > 0.2


def test_a_mistuned_recording_keeps_its_key() -> None:
    plain = played(100.0, Key(2, False), drums=False)
    mistuned = resample(Audio(plain.samples, round(RATE * 2 ** (0.3 / 12))), RATE)
    assert analyse(mistuned).key == Key(2, False)


def test_drums_and_noise_have_no_key() -> None:
    for audio in (played(92, pitched=False), noise()):
        measured = analyse(audio)
        assert measured.key is None or measured.key_confidence < 0.2


def test_noise_and_a_steady_tone_have_no_pulse() -> None:
    tone = Audio(np.sin(np.arange(5 * RATE) * 0.05)[None].astype(np.float32) * 0.3, RATE)
    for audio in (noise(), tone):
        assert find_pulse(audio).bpm is None


@pytest.mark.parametrize("seconds", [0.0, 0.01, 1.0, 5.0])
def test_silence_is_silent(seconds: float) -> None:
    measured = analyse(silence(seconds))
    assert measured.silent
    assert measured.bpm is None and measured.key is None and measured.beats_s == ()
    assert measured.loudness_lufs == -math.inf


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.6, 2.0])
@pytest.mark.parametrize("rate", [8000, 44_100, 96_000])
def test_short_clips_of_any_rate_are_measured(seconds: float, rate: int) -> None:
    clip = resample(noise(seconds, 2), rate)
    measured = analyse(clip)
    assert not measured.silent
    assert measured.bpm is None
    assert math.isfinite(measured.loudness_lufs)


def test_channels_that_cancel_are_heard_all_the_same() -> None:
    plain = played(100.0, Key(9, True))
    left = plain.samples[:1]
    measured = analyse(Audio(np.concatenate([left, -left]), RATE))
    assert measured.key == Key(9, True)
    assert measured.bpm is not None and off_by(measured.bpm, 100) < 0.01


def test_the_loudness_is_that_of_the_audio() -> None:
    audio = played()
    assert analyse(audio).loudness_lufs == pytest.approx(loudness_lufs(audio))


def test_chroma_names_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)[None].astype(np.float32) * 0.3
    strength = chroma(Audio(tone, RATE))
    assert strength.shape[0] == 12
    assert int(strength.sum(axis=1).argmax()) == 9


def test_no_pitches_have_no_key() -> None:
    assert estimate_key([0.0] * 12) == (None, 0.0)
    assert estimate_key([1.0] * 12) == (None, 0.0)
    assert estimate_key([math.nan] * 12) == (None, 0.0)


@pytest.mark.parametrize("tonic", range(12))
def test_every_scale_with_its_triad_is_its_key(tonic: int) -> None:
    for minor, scale in ((False, (0, 2, 4, 5, 7, 9, 11)), (True, (0, 2, 3, 5, 7, 8, 10))):
        weights = np.zeros(12)
        weights[[(tonic + step) % 12 for step in scale]] = 1.0
        for step in (0, 3 if minor else 4, 7):
            weights[(tonic + step) % 12] += 2.0
        assert estimate_key(weights)[0] == Key(tonic, minor)


def original() -> Audio:
    return played(100.0, Key(9, True))


def through_mp3(audio: Audio, folder: Path) -> Audio:
    sound.save(audio, folder / "a.mp3", bitrate_kbps=128)
    return load(folder / "a.mp3")


def test_a_copy_is_near_whatever_was_done_to_its_format(tmp_path: Path) -> None:
    audio = original()
    copies = {
        "itself": audio,
        "quieter": Audio(audio.samples * np.float32(0.05), RATE),
        "resampled": resample(audio, 48_000),
        "mono": mono(audio),
        "mp3": through_mp3(audio, tmp_path),
        "cut": Audio(audio.samples[:, 40_123:150_000], RATE),
    }
    assert copy_distance(audio, audio) == pytest.approx(0.0, abs=1e-6)
    for name, copy in copies.items():
        assert copy_distance(audio, copy) < 0.12, name
        assert copy_distance(copy, audio) < 0.12, name


@settings(max_examples=25)
@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 6),
    half=st.integers(0, 6),
    seed=st.integers(0, 999),
)
def test_a_running_median_is_that_of_each_row_and_its_neighbours(
    rows: int, columns: int, half: int, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 9, (rows, columns)).astype(np.float32)
    around = np.clip(np.arange(rows)[:, None] + np.arange(-half, half + 1), 0, rows - 1)
    expected = np.median(values[around], axis=1)
    assert np.array_equal(analysis._running_median(values, 2 * half + 1), expected)


def test_a_copy_within_something_longer_is_found() -> None:
    audio, other = original(), played(120.0, Key(2, False))
    longer = Audio(
        np.concatenate([other.samples[:, :50_000], audio.samples, other.samples], axis=1), RATE
    )
    assert copy_distance(audio, longer) < 0.3


def test_unrelated_music_is_far() -> None:
    audio = original()
    others = (played(120.0, Key(2, False)), played(92, pitched=False), noise(10.0))
    assert min(copy_distance(audio, other) for other in others) > 0.6


def test_a_mixture_is_between() -> None:
    audio, other = original(), played(120.0, Key(2, False))
    shares = (0.1, 0.5, 2.0)
    mixes = [
        copy_distance(audio, Audio(audio.samples + np.float32(s) * other.samples, RATE))
        for s in shares
    ]
    assert mixes == sorted(mixes)
    assert mixes[0] < 0.35


def test_silence_and_snippets_are_copies_of_nothing() -> None:
    for other in (silence(0.0), silence(3.0), noise(0.1)):
        assert copy_distance(original(), other) == 1.0
        assert copy_distance(other, other) == 1.0

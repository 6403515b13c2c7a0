from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.dsp import resample, stretch
from rag_audio.domain import Audio
from rag_audio.retrieval.landmarks import make_landmarks
from rag_audio.retrieval.matching import _best_run, recognise
from tests.retrieval.sounds import RATE, MemoryStore, drums, melody

STEMS = {f"melody {seed}": melody(seed) for seed in range(4)} | {"drums": drums(1, 0.5, 16.0)}
STORE = MemoryStore({name: make_landmarks([sound]) for name, sound in STEMS.items()})
STRANGERS = [melody(seed) for seed in range(100, 104)]


def _with(sound: Audio, samples: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Audio:
    return Audio(np.ascontiguousarray(samples, dtype=np.float32), sound.sample_rate)


def _gated(sound: Audio) -> Audio:
    return _with(sound, sound.samples * (np.arange(sound.frames) / RATE * 4 % 1 < 0.5))


def _noisy(sound: Audio) -> Audio:
    noise = np.random.default_rng(0).standard_normal(sound.samples.shape)
    return _with(sound, sound.samples + noise * sound.samples.std())


def _under_another(sound: Audio) -> Audio:
    other = STRANGERS[0].samples
    return _with(sound, sound.samples + other * sound.samples.std() / other.std())


def _faster(sound: Audio) -> Audio:
    return Audio(resample(sound, round(RATE / 1.06)).samples, RATE)


DISGUISES: dict[str, Callable[[Audio], Audio]] = {
    "as it is": lambda sound: sound,
    "other polarity": lambda sound: _with(sound, -sound.samples),
    "speed +6 %": _faster,
    "tempo -5 %": lambda sound: stretch(sound, 1 / 0.95, 0),
    "pitch +2": lambda sound: stretch(sound, 1.0, 2),
    "reversed": lambda sound: _with(sound, sound.samples[:, ::-1]),
    "gated": _gated,
    "noise at its level": _noisy,
    "other music at its level": _under_another,
    "a crop of 3 s": lambda sound: _with(sound, sound.samples[:, 2 * RATE : 5 * RATE]),
    "reversed, a semitone up": lambda sound: stretch(_with(sound, sound.samples[:, ::-1]), 1.0, 1),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_stem_is_found_through_a_disguise(name: str) -> None:
    found = recognise([DISGUISES[name](STEMS["melody 1"])], STORE)
    assert [one.stem_id for one in found] == ["melody 1"]
    assert 0.5 <= found[0].confidence <= 1


def test_it_is_told_how_the_stem_was_changed() -> None:
    (one,) = recognise([_faster(STEMS["melody 2"])], STORE)
    assert one.tempo == pytest.approx(1.06, abs=0.002)
    assert one.semitones == pytest.approx(12 * np.log2(1.06), abs=0.1)
    assert not one.reversed


def test_it_is_told_where_in_the_sound_and_in_the_stem() -> None:
    stem = STEMS["melody 3"].samples[:, 2 * RATE : 6 * RATE]
    silence = np.zeros((1, 3 * RATE))
    for backwards in (False, True):
        piece = stem[:, ::-1] if backwards else stem
        sound = _with(STEMS["melody 3"], np.concatenate([silence, piece, silence], axis=1))
        (one,) = recognise([sound], STORE)
        assert one.reversed is backwards
        assert 2.9 <= one.start_s < one.end_s <= 7.2
        in_stem = 2 + (4 - (one.start_s - 3) if backwards else one.start_s - 3)
        assert one.offset_s == pytest.approx(in_stem, abs=0.05)


def test_it_is_told_which_of_the_sounds_holds_it() -> None:
    (one,) = recognise([STRANGERS[1], STEMS["melody 0"]], STORE)
    assert (one.stem_id, one.view) == ("melody 0", 1)


def test_a_stem_in_a_long_sound_is_found_where_it_is() -> None:
    noise = 0.01 * np.random.default_rng(3).standard_normal((1, 62 * RATE))
    noise[:, 53 * RATE : 61 * RATE] += STEMS["melody 1"].samples
    (one,) = recognise([_with(STEMS["melody 1"], noise)], STORE)
    assert 52.5 <= one.start_s < one.end_s <= 61.5


@pytest.mark.parametrize("number", range(len(STRANGERS)))
def test_strangers_are_not_recognised(number: int) -> None:
    assert recognise([STRANGERS[number]], STORE) == []


@pytest.mark.parametrize("beat_s", [0.47, 0.53])
def test_the_same_pattern_played_anew_by_the_same_kit_is_another_sound(beat_s: float) -> None:
    assert recognise([drums(2, beat_s, 16.0)], STORE) == []
    played = stretch(STEMS["drums"], beat_s / 0.5, 0)
    assert [one.stem_id for one in recognise([played], STORE)] == ["drums"]


def test_excluded_stems_are_not_looked_for() -> None:
    assert recognise([STEMS["melody 1"]], STORE, exclude=["melody 1"]) == []


@pytest.mark.parametrize("frames", [0, 100, RATE])
def test_silence_holds_nothing(frames: int) -> None:
    assert recognise([Audio(np.zeros((1, frames), np.float32), RATE)], STORE) == []


def test_an_empty_store_knows_nothing() -> None:
    assert recognise([STEMS["melody 1"]], MemoryStore({})) == []


@settings(max_examples=50, deadline=None)
@given(gains=st.lists(st.integers(-5, 5), max_size=12))
def test_the_best_run_has_the_greatest_sum(gains: list[int]) -> None:
    start, end, evidence = _best_run(np.array(gains, dtype=float))
    sums = [sum(gains[a:b]) for a in range(len(gains) + 1) for b in range(a, len(gains) + 1)]
    assert evidence == max(sums, default=0)
    assert sum(gains[start:end]) == evidence

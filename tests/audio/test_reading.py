"""Sound that is converted while it is read, and files that are more than memory is to hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import midi, reading, scores, writing
from rag_audio.audio.dsp import resample, to_channels
from rag_audio.audio.folding import Fold, folded
from rag_audio.audio.reading import hear, load
from rag_audio.audio.scores import score_from_json, score_to_json
from rag_audio.domain import Audio
from rag_audio.errors import UnreadableFile
from tests.support.bombs import BOMBS, NOTE, number, score, silence
from tests.support.memory import growth


def noise(channels: int, frames: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((channels, frames))
    return (0.1 * drawn).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 8),
    to=st.integers(1, 2),
    rates=st.sampled_from(
        [(96_000, 48_000), (48_000, 48_000), (192_000, 48_000), (88_200, 48_000), (8000, 44_100)]
    ),
    cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=6),
)
def test_blocks_are_converted_as_the_whole_is(
    channels: int, to: int, rates: tuple[int, int], cuts: list[int]
) -> None:
    rate, to_rate = rates
    whole = noise(channels, sum(cuts))
    blocks = iter(np.split(whole, np.cumsum(cuts)[:-1], axis=1))
    made = np.concatenate(list(folded(blocks, Fold(rate, to_rate=to_rate, channels=to))), axis=1)
    expected = resample(to_channels(Audio(whole, rate), to), to_rate).samples
    assert made.shape == expected.shape
    assert np.abs(made - expected).max(initial=0.0) < 1e-5


def test_large_sound_is_folded_and_small_sound_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.flac"
    whole = noise(6, 96_000 * 2)
    soundfile.write(file, whole.T, 96_000, subtype="PCM_24")
    small = hear(file)
    assert (small.audio.sample_rate, small.audio.channels) == (96_000, 6)
    monkeypatch.setattr(reading, "WHOLE_SAMPLES", 1000)
    large = hear(file)
    assert (large.audio.sample_rate, large.audio.channels) == (48_000, 2)
    assert large.pcm_sha256 == small.pcm_sha256 == writing.pcm_sha256(small.audio)
    expected = resample(to_channels(small.audio, 2), 48_000).samples
    assert np.abs(large.audio.samples - expected).max() < 1e-5
    asked = load(file, sample_rate=22_050, channels=1)
    monkeypatch.undo()
    assert np.abs(asked.samples - load(file, sample_rate=22_050, channels=1).samples).max() < 1e-5


def test_a_bomb_is_heard_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bomb.flac"
    file.write_bytes(silence("FLAC", "PCM_16", 192_000, 8, 20))
    monkeypatch.setattr(reading, "WHOLE_SAMPLES", 1 << 20)
    with growth() as taken:
        assert hear(file).audio.duration_s == 20.0
        assert load(file, sample_rate=24_000, channels=1).duration_s == 20.0
    assert taken.mb < 60


def test_more_than_memory_is_to_hold_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, noise(2, 50_000).T, 8000)
    monkeypatch.setattr(reading, "WHOLE_SAMPLES", 1000)
    monkeypatch.setattr(reading, "MAX_SAMPLES", 60_000)
    for read in (lambda: load(file), lambda: hear(file)):
        with pytest.raises(UnreadableFile, match="too large to be read at once") as refused:
            read()
        assert refused.value.hint
    assert load(file, channels=1).frames == 50_000
    monkeypatch.setattr(reading, "MAX_READ", 60_000)


@pytest.mark.parametrize("name", [name for name in BOMBS if name.startswith("score")])
def test_a_score_that_asks_for_too_much_is_refused_or_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.mid"
    file.write_bytes(BOMBS[name]())
    with growth() as taken:
        try:
            found = scores.parse(file)
        except UnreadableFile as error:
            assert "\n" not in error.message
        else:
            assert found.notes >= 1
    assert taken.mb < 150


def test_a_score_of_too_many_events_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "MAX_MESSAGES", 100)
    file = tmp_path / "a.mid"
    file.write_bytes(score(*(NOTE,) * 60))
    with pytest.raises(UnreadableFile, match="holds 121 events, more than 100"):
        scores.parse(file)


def test_a_long_score_is_played_in_excerpts(tmp_path: Path) -> None:
    """One note after two hours: all of it would take gigabytes."""
    file = tmp_path / "a.mid"
    file.write_bytes(score(NOTE, number(1_380_000) + NOTE[1:]))
    found = scores.parse(file)
    assert found.end_s > 7000
    document = score_to_json(found)
    assert score_from_json(document) == found
    del document["downbeat_s"]  # as an earlier version kept it of an upload
    assert score_from_json(document) == found
    with growth() as taken:
        played = midi.excerpts(found, 5.0, 4)
    assert [round(one.duration_s, 3) for one in played] == [5.0] * 4
    assert played[0].samples.any() and played[-1].samples.any()
    assert taken.mb < 150

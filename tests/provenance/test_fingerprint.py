from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from rag_audio.audio.dsp import resample, stretch
from rag_audio.audio.midi import render
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.errors import LedgerError
from rag_audio.provenance.trace.fingerprint import (
    Fingerprint,
    LandmarkMatch,
    find_peaks,
    make_fingerprint,
    make_query,
    match,
    pieces,
    windows,
)
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.resources import data_dir
from rag_audio.storage.database import connect
from tests.watermark import material

SCORES = (
    "velda-quarn/last-tram.mid",
    "copperhill-junction-players/brass-ticket.mid",
    "tessan-oryk/tidewater.mid",
)
SOUNDS = {
    number: render(data_dir("demo") / score, duration_s=12.0)
    for number, score in enumerate(SCORES, 1)
}
PRINTS = {number: make_fingerprint(sound) for number, sound in SOUNDS.items()}


def fit(sound: Audio, number: int, tempo: float = 1.0, semitones: float = 0.0) -> LandmarkMatch:
    return match(make_query(find_peaks(sound), tempo, semitones), PRINTS[number])


@pytest.fixture
def store() -> SqlFingerprints:
    made = SqlFingerprints(connect("sqlite://"))
    for number, kept in PRINTS.items():
        made.put(number, kept)
    return made


def best_match(store: SqlFingerprints, sound: Audio) -> LandmarkMatch:
    found = [one for _, piece in pieces(find_peaks(sound)) for one in store.find(piece)]
    return max(found, key=lambda one: one.agreeing)


def mp3(sound: Audio, folder: Path, kbps: int) -> Audio:
    save(sound, folder / "copy.mp3", bitrate_kbps=kbps)
    return load(folder / "copy.mp3")


@pytest.mark.parametrize("number", list(SOUNDS))
@pytest.mark.parametrize("kbps", [128, 64])
def test_a_crop_of_five_seconds_is_recognised_after_mp3(
    store: SqlFingerprints, tmp_path: Path, number: int, kbps: int
) -> None:
    crop = mp3(material.crop(SOUNDS[number], 3.3, 5.0), tmp_path, kbps)
    best = best_match(store, crop)
    assert best.output == number
    assert best.share > 0.4
    assert best.offset_s == pytest.approx(3.3, abs=0.1)


def test_gain_resampling_and_noise_leave_it_alone() -> None:
    sound = material.crop(SOUNDS[1], 2.0, 6.0)
    quiet = Audio(sound.samples * np.float32(0.1), sound.sample_rate)
    hiss = 0.1 * float(sound.samples.std()) * material.noise(6).samples[:, : sound.frames]
    noisy = Audio(sound.samples + hiss.astype(np.float32), sound.sample_rate)
    for copy in (quiet, resample(sound, 16_000), noisy):
        assert fit(copy, 1).share > 0.4


def test_other_sounds_do_not_match() -> None:
    for number in (1, 2, 3):
        for other in (material.noise(6, seed=9), SOUNDS[number % 3 + 1]):
            assert fit(other, number).share < 0.25


def test_a_change_of_tempo_and_pitch_is_undone_by_the_query() -> None:
    changed = stretch(SOUNDS[1], 1 / 1.05, 1)
    assert fit(changed, 1).share < 0.15
    assert fit(changed, 1, tempo=1.05, semitones=1.0).share > 0.3


def test_a_crop_inside_a_longer_recording_is_found(store: SqlFingerprints) -> None:
    before = material.noise(20, seed=5)
    inside = Audio(np.concatenate([before.samples, SOUNDS[1].samples], axis=1), before.sample_rate)
    best = best_match(store, inside)
    assert best.output == 1
    assert best.share > 0.4


@pytest.mark.parametrize(
    "sound",
    [
        Audio(np.zeros((2, 44_100), np.float32), 44_100),
        Audio(np.ones((1, 100), np.float32), 44_100),
        Audio(np.zeros((1, 0), np.float32), 8_000),
        Audio(np.full((1, 44_100), 0.5, np.float32), 44_100),
    ],
)
def test_silence_and_scraps_have_no_landmarks(sound: Audio) -> None:
    assert make_fingerprint(sound).hashes.size == 0
    assert windows(find_peaks(sound)) == []


def test_what_is_kept_comes_back_and_can_be_replaced(store: SqlFingerprints) -> None:
    kept = store.get(1)
    assert kept is not None
    assert kept.sha256 == PRINTS[1].sha256
    assert kept.duration_s == pytest.approx(12.0)
    store.put(1, PRINTS[2])
    again = store.get(1)
    assert again is not None and again.sha256 == PRINTS[2].sha256
    assert store.count() == 3
    assert store.get(99) is None


def test_a_changed_row_is_found_out() -> None:
    engine = connect("sqlite://")
    store = SqlFingerprints(engine)
    store.put(1, PRINTS[1])
    with engine.begin() as db:
        db.execute(text("UPDATE fingerprints SET duration_s = duration_s, sha256 = 'x'"))
    with pytest.raises(LedgerError, match="output 1 was changed"):
        store.get(1)
    with engine.begin() as db:
        db.execute(text("UPDATE fingerprints SET landmarks = x'00'"))
    with pytest.raises(LedgerError, match="output 1 is damaged"):
        store.get(1)


@given(
    rows=st.lists(st.tuples(st.integers(0, 2**19 - 1), st.integers(0, 10**7)), max_size=40),
    turn=st.integers(0, 40),
)
@settings(max_examples=25, deadline=None)
def test_the_hash_does_not_depend_on_the_order(rows: list[tuple[int, int]], turn: int) -> None:
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    one = Fingerprint(table[:, 0], table[:, 1], 1.0)
    turned = np.roll(table, turn, axis=0)
    assert one.sha256 == Fingerprint(turned[:, 0], turned[:, 1], 1.0).sha256
    if rows:
        assert one.sha256 != replace(one, times_ms=one.times_ms + 1).sha256


def test_postgresql_answers_alike(postgres_url: str) -> None:
    made = SqlFingerprints(connect(postgres_url))
    for number, kept in PRINTS.items():
        made.put(number, kept)
    crop = material.crop(SOUNDS[2], 3.3, 5.0)
    best = best_match(made, crop)
    assert best.output == 2 and best.share > 0.4
    assert SqlFingerprints(connect(postgres_url)).count() == 3

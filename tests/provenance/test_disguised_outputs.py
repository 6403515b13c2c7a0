"""Outputs that were disguised are recognised by their sound; what only resembles them is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt

from rag_audio.audio.dsp import resample, stretch
from rag_audio.audio.midi import render
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.trace.content_matching import (
    Masters,
    Recogniser,
    hearings,
    outputs_of,
    turned_round,
)
from rag_audio.provenance.trace.fingerprint import (
    PeakSet,
    backwards,
    coherence,
    find_peaks,
    make_fingerprint,
)
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.resources import data_dir
from rag_audio.storage.database import connect
from tests.provenance.test_trace import MARKER, ask, give_out, told
from tests.watermark import material

RATE = 44_100
SOUNDS = {
    number: render(data_dir("demo") / score, duration_s=10.0)
    for number, score in enumerate(
        (
            "velda-quarn/last-tram.mid",
            "copperhill-junction-players/brass-ticket.mid",
            "tessan-oryk/tidewater.mid",
        ),
        1,
    )
}
STORE = SqlFingerprints(connect("sqlite://"))
for _number, _sound in SOUNDS.items():
    STORE.put(_number, make_fingerprint(_sound))
MASTERS = SOUNDS.get
ONE = SOUNDS[1].samples.mean(axis=0)


def output_of(store: SqlFingerprints, heard: Audio, master: Masters = lambda _: None) -> int | None:
    fits = outputs_of(store, heard, master)
    return fits[0].output if fits else None


def made(samples: np.ndarray) -> Audio:
    return Audio(np.ascontiguousarray(np.atleast_2d(samples), dtype=np.float32), RATE)


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


def other(seed: int = 0) -> np.ndarray:
    """Another sound, as loud as the output."""
    sound = material.band(10, seed=seed, channels=1).samples[0][: ONE.size]
    return sound * (level(ONE) / level(sound))


def low_passed(hz: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sound: sosfilt(butter(6, hz, fs=RATE, output="sos"), sound)


def noisy(share: float) -> Callable[[np.ndarray], np.ndarray]:
    noise = np.random.default_rng(3).standard_normal(ONE.size)
    return lambda sound: sound + share * level(sound) * noise[: sound.size]


def gated(hz: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sound: sound * ((np.arange(sound.size) * hz / RATE) % 1 < 0.5)


def faster(ratio: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sound: resample(made(sound), round(RATE / ratio)).samples[0]


DISGUISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "low-passed at 1 kHz": low_passed(1000.0),
    "noise at half its level": noisy(0.5),
    "noise as loud as it": noisy(1.0),
    "gated at 2 Hz": gated(2.0),
    "gated at 4 Hz": gated(4.0),
    "backwards": lambda sound: sound[::-1],
    "backwards and noisy": lambda sound: noisy(0.2)(sound[::-1]),
    "played 8 % faster": faster(1.08),
    "tempo 9 % slower": lambda sound: stretch(made(sound), 1.09, 0).samples[0],
    "3 semitones up": lambda sound: stretch(made(sound), 1.0, 3).samples[0],
    "backwards, 3 % faster": lambda sound: faster(1.03)(sound[::-1]),
}


@pytest.mark.parametrize("kind", DISGUISES)
def test_a_disguised_output_is_named(kind: str) -> None:
    assert output_of(STORE, made(DISGUISES[kind](ONE)), MASTERS) == 1


@pytest.mark.parametrize("kind", DISGUISES)
def test_another_sound_in_the_same_disguise_is_not(kind: str) -> None:
    assert output_of(STORE, made(DISGUISES[kind](other())), MASTERS) is None


@given(
    mix=st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4).filter(
        lambda m: abs(m[0] * m[3] - m[1] * m[2]) > 0.15 and max(abs(m[0]), abs(m[2])) > 0.3
    ),
    number=st.sampled_from(sorted(SOUNDS)),
)
@settings(max_examples=5, deadline=None)
def test_an_output_is_named_in_any_mix_of_two_channels(mix: list[float], number: int) -> None:
    output = SOUNDS[number].samples.mean(axis=0)
    both = np.stack([output, other(number)])
    assert output_of(STORE, made(np.array(mix).reshape(2, 2) @ both), MASTERS) == number


def test_opposite_polarity_hides_nothing() -> None:
    loud = 2.0 * other()
    assert output_of(STORE, made(np.stack([ONE + loud, loud - ONE]))) == 1
    assert output_of(STORE, made(np.stack([ONE, -ONE]))) == 1


def test_an_output_whose_channels_cancel_each_other_has_a_fingerprint() -> None:
    kept = SqlFingerprints(connect("sqlite://"))
    kept.put(5, make_fingerprint(made(np.stack([ONE, -ONE]))))
    assert output_of(kept, made(ONE)) == 5


def test_mono_and_near_mono_are_heard_once() -> None:
    assert len(hearings(made(ONE))) == 1
    assert len(hearings(made(np.stack([ONE, 0.999 * ONE])))) == 1


@given(
    times=st.lists(st.floats(0.0, 10.0), max_size=12),
    pitches=st.lists(st.floats(0.0, 52.0), min_size=12, max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_backwards_twice_is_forwards(times: list[float], pitches: list[float]) -> None:
    peaks = PeakSet(np.sort(np.array(times)), np.array(pitches[: len(times)]), 10.0)
    again = backwards(backwards(peaks))
    np.testing.assert_allclose(again.times_s, peaks.times_s, atol=1e-9)
    np.testing.assert_array_equal(again.semitones, peaks.semitones)


def test_the_peaks_of_a_sound_played_backwards_are_mirrored() -> None:
    fits = Recogniser(STORE).fits(hearings(turned_round(SOUNDS[2])))
    assert [(fit.output, fit.hearing.runs_backwards) for fit in fits] == [(2, True)]


def resembling(share: float) -> Audio:
    """A sound that shares a part of its notes' energy with output 1, as one of the same seed."""
    return made(np.sqrt(share) * ONE + np.sqrt(1 - share) * other(1))


def test_coherence_tells_a_damaged_copy_from_what_resembles_it() -> None:
    kept = SOUNDS[1]
    for kind in ("low-passed at 1 kHz", "noise at half its level", "gated at 2 Hz"):
        assert coherence(kept, made(DISGUISES[kind](ONE)), 0.0) >= 0.96
    assert coherence(kept, resembling(0.5), 0.0) < 0.96
    assert coherence(kept, SOUNDS[2], 0.0) < 0.9
    assert coherence(kept, made(np.zeros(RATE * 2)), 0.0) == 0.0
    assert coherence(kept, made(ONE), 9.8) == 0.0


@pytest.fixture
def ledger() -> SqlLedger:
    return SqlLedger(connect("sqlite://"))


@pytest.fixture
def prints() -> SqlFingerprints:
    return SqlFingerprints(connect("sqlite://"))


def test_a_mark_is_read_beside_louder_sound_of_the_other_polarity() -> None:
    marked = MARKER.embed(made(ONE), Mark(9))
    assert marked is not None
    loud = 4.0 * np.stack([material.noise(10, channels=1).samples[0][: ONE.size]])
    found = MARKER.detect(made(np.concatenate([marked.samples + loud, loud - marked.samples])))
    assert found.mark == Mark(9)


def test_an_output_that_runs_backwards_is_traced_with_its_mark_and_its_place(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    output = load(give_out(ledger, tmp_path, prints, SOUNDS[1]))
    song = SOUNDS[2].samples
    both = np.concatenate([turned_round(output).samples, song], axis=1)
    save(Audio(both, RATE), tmp_path / "backwards.wav")
    found = ask(ledger, tmp_path / "backwards.wav", prints=prints, masters={1: SOUNDS[1]})
    assert (found.by, found.output, found.transplanted) == ("watermark", 1, False)
    assert "Played backwards: The watermark says output 1." in [w.says for w in found.evidence]
    assert told(found)[0] == (0.0, pytest.approx(10.0, abs=1.0), 1, False)
    assert {one.output for one in found.ranges[1:]} == {None}


def test_a_faster_output_before_a_moved_mark_keeps_its_part(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    output = load(give_out(ledger, tmp_path, prints, SOUNDS[1]))
    moved = MARKER.embed(SOUNDS[2], Mark(1))
    assert moved is not None
    quick = resample(output, round(RATE / 1.04)).samples
    save(Audio(np.concatenate([quick, moved.samples], axis=1), RATE), tmp_path / "both.wav")
    found = ask(ledger, tmp_path / "both.wav", prints=prints, masters={1: SOUNDS[1]})
    assert (found.output, found.transplanted, bool(found.sources)) == (1, True, True)
    assert told(found)[0] == (0.0, pytest.approx(9.6, abs=1.0), 1, False)
    assert any(one.transplanted for one in found.ranges)


def test_without_the_master_an_output_under_louder_sound_is_not_called_transplanted(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    output = load(give_out(ledger, tmp_path, prints, SOUNDS[1]))
    under = output.samples + np.float32(2.0) * other().astype(np.float32)
    save(Audio(under / np.abs(under).max(), RATE), tmp_path / "under.wav")
    found = ask(ledger, tmp_path / "under.wav", prints=prints)
    assert not found.transplanted


def test_every_output_of_a_medley_is_listed_with_its_sources(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    one = load(give_out(ledger, tmp_path, prints, SOUNDS[1]))
    two = load(give_out(ledger, tmp_path, prints, SOUNDS[2]))
    save(Audio(np.concatenate([one.samples, two.samples], axis=1), RATE), tmp_path / "medley.wav")
    listed = ask(ledger, tmp_path / "medley.wav", prints=prints).to_json()["outputs"]
    assert [item["output"] for item in listed] == [1, 2]
    assert all([s["title"] for s in item["sources"]] == ["Break", "Keys"] for item in listed)


@pytest.mark.parametrize("turned", [False, True])
def test_an_output_whose_extension_is_kept_too_is_not_called_moved(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path, turned: bool
) -> None:
    """The longer one holds all of its sound, and may be more like it."""
    first = load(give_out(ledger, tmp_path, prints, SOUNDS[1]))
    longer = Audio(np.concatenate([SOUNDS[1].samples, SOUNDS[2].samples], axis=1), RATE)
    give_out(ledger, tmp_path, prints, longer)
    save(turned_round(first) if turned else first, tmp_path / "it.flac")
    found = ask(ledger, tmp_path / "it.flac", prints=prints, masters={1: SOUNDS[1], 2: longer})
    assert (found.output, found.transplanted) == (1, False)
    assert [one.output for one in found.outputs] == [1]


def test_two_outputs_that_run_backwards_are_both_listed_and_neither_is_moved(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    one = load(give_out(ledger, tmp_path, prints, SOUNDS[1])).samples
    two = load(give_out(ledger, tmp_path, prints, SOUNDS[2])).samples
    for order in ([one, two], [two, one]):
        save(turned_round(Audio(np.concatenate(order, axis=1), RATE)), tmp_path / "medley.flac")
        found = ask(
            ledger, tmp_path / "medley.flac", prints=prints, masters={1: SOUNDS[1], 2: SOUNDS[2]}
        )
        assert not found.transplanted
        assert sorted(item.output for item in found.outputs) == [1, 2]


def test_a_file_that_is_known_by_its_bytes_lists_its_output(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    found = ask(ledger, give_out(ledger, tmp_path, audio=SOUNDS[1]))
    assert [(one.output, len(one.sources)) for one in found.outputs] == [(1, 2)]


def test_peaks_are_those_of_the_mean_where_the_channels_do_not_cancel() -> None:
    stereo = SOUNDS[3]
    mean = find_peaks(made(stereo.samples.mean(axis=0)))
    np.testing.assert_allclose(find_peaks(stereo).times_s, mean.times_s, atol=1e-3)

"""One-shot, loop, phrase or song: what is measured, what names say, and what follows for tempo."""

from __future__ import annotations

from dataclasses import replace

import pytest

from indexer.facts import basis_of, facts_of
from indexer.index_points import make_stem
from indexer.licenses import Declared
from indexer.measure import MeasuredFile
from indexer.name_hints import hints_of
from indexer.sample_types import sample_type_of
from indexer.stems_csv import Metadata
from rag_audio.audio.loops import LoopFit, Rhythm
from rag_audio.domain import License, SampleType, StemKind, Use

LOOP, ONE_SHOT = SampleType.LOOP, SampleType.ONE_SHOT
FIT = LoopFit(beats=4, bpm=60 * 4 / 1.753, share=0.9, log_odds=4.0)
NO_FIT = replace(FIT, log_odds=-3.0)


def recording(duration_s: float, onsets: int, loop: LoopFit | None = NO_FIT) -> MeasuredFile:
    rhythm = Rhythm(onsets, loop) if duration_s < 30 else None
    return MeasuredFile(
        "0" * 64, StemKind.AUDIO, duration_s, 100.0, 0.5, None, 0.0, -20.0, None, rhythm=rhythm
    )


def score(duration_s: float, bpm: float = 120.0) -> MeasuredFile:
    return MeasuredFile("0" * 64, StemKind.MIDI, duration_s, bpm, 1.0, None, 0.0, -20.0, None)


@pytest.mark.parametrize(
    ("file", "named", "expected"),
    [
        (recording(1.753, 12, FIT), None, LOOP),
        (recording(1.753, 12, FIT), ONE_SHOT, LOOP),
        (recording(2.5, 9), LOOP, LOOP),
        (recording(0.4, 1, None), LOOP, ONE_SHOT),
        (recording(0.4, 1, None), None, ONE_SHOT),
        (recording(5.0, 2), None, ONE_SHOT),
        (recording(12.0, 2), None, SampleType.PHRASE),
        (recording(5.0, 9), ONE_SHOT, ONE_SHOT),
        (recording(5.0, 9), None, SampleType.PHRASE),
        (recording(40.0, 0), None, SampleType.SONG),
        (recording(40.0, 0), LOOP, LOOP),
        (recording(200.0, 0), LOOP, SampleType.SONG),
        (recording(200.0, 0), ONE_SHOT, SampleType.SONG),
        (score(7.9), None, LOOP),
        (score(7.0), None, SampleType.PHRASE),
        (score(64.0), None, SampleType.SONG),
    ],
)
def test_the_type_follows_length_onsets_fit_and_name(
    file: MeasuredFile, named: SampleType | None, expected: SampleType
) -> None:
    assert sample_type_of(file, named) is expected


def test_a_recording_whose_onsets_were_not_measured_has_no_type() -> None:
    assert sample_type_of(replace(recording(3.0, 5), rhythm=None), None) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("DrumLoop.wav", LOOP),
        ("bassloops/riser01.ogg", LOOP),
        ("beats/kick01.ogg", LOOP),
        ("loops/one-shots/kick.wav", ONE_SHOT),
        ("One Shots/kick.wav", ONE_SHOT),
        ("synth_stab_2.wav", ONE_SHOT),
        ("fx/riser.wav", ONE_SHOT),
        ("loop hit.wav", None),
        ("pad.wav", None),
        ("heartbeat.wav", None),
        ("fxpansion kit/snare.wav", None),
    ],
)
def test_names_hint_at_the_type(path: str, expected: SampleType | None) -> None:
    assert hints_of(path).sample_type is expected


def test_a_loop_has_the_exact_tempo_of_its_length() -> None:
    facts = facts_of("a.wav", Metadata(), recording(1.753, 12, FIT))
    assert facts.bpm is not None
    assert facts.bpm * 1.753 / 60 == pytest.approx(4, abs=1e-5)
    assert facts.bpm_confidence == pytest.approx(0.9 * FIT.probability(), abs=1e-3)


def test_a_one_shot_has_no_tempo_but_what_is_declared() -> None:
    kick = recording(0.4, 1, None)
    assert facts_of("120bpm/kick.wav", Metadata(), kick).bpm is None
    assert facts_of("120bpm/kick.wav", Metadata(bpm=99.0), kick).bpm == 99.0


def test_a_phrase_keeps_the_tempo_that_was_tracked() -> None:
    facts = facts_of("a.wav", Metadata(), recording(9.0, 12))
    assert (facts.bpm, facts.bpm_confidence) == (100.0, 0.5)


def declared(downbeat_s: float | None = None) -> Declared:
    license = License("own", "lib", "Me", "LicenseRef-own", frozenset({Use.PROMPT}))
    return Declared(license=license, downbeat_s=downbeat_s)


def test_a_stem_says_its_type_and_a_loop_begins_with_a_bar_line() -> None:
    loop = make_stem("lib", "a.wav", declared(), recording(1.753, 12, FIT))
    assert (loop.sample_type, loop.downbeat_s) == (LOOP, 0.0)
    assert (
        make_stem("lib", "a.wav", declared(downbeat_s=0.2), recording(1.753, 12, FIT)).downbeat_s
        == 0.2
    )
    assert make_stem("lib", "a.wav", declared(), recording(9.0, 12)).downbeat_s is None


def test_a_name_that_says_another_type_makes_a_file_measured_anew() -> None:
    plain, loop, hit = (basis_of(path, declared()) for path in ("a.wav", "loop.wav", "hit.wav"))
    assert plain == declared().digest
    assert len({plain, loop, hit}) == 3

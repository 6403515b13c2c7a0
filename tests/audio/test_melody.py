"""Tunes by ear: what was hummed is written down; what is no tune is told apart."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import midi
from rag_audio.audio.instruments import instrument_in, middle_of
from rag_audio.audio.pitch_tracking import (
    LONGEST_S,
    require_clear,
    require_length,
    track_pitch,
    transcribe,
)
from rag_audio.domain import Audio, Melody, Note
from rag_audio.domain.plan import notes_from_text, notes_to_text
from rag_audio.errors import InvalidInput
from rag_audio.resources import data_dir
from tests.support.hums import RATE, make_notes, pad_chords, perform, tune

NOISE = Audio(
    (0.1 * np.random.default_rng(3).standard_normal((1, 2 * RATE))).astype(np.float32), RATE
)
notes = st.builds(
    lambda start, length, pitch: Note(start / 1000, (start + length) / 1000, pitch),
    st.integers(0, 500_000),
    st.integers(1, 9000),
    st.integers(0, 127),
)


def tone(hz: float, seconds: float, sample_rate: int = RATE) -> Audio:
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    return Audio((0.3 * np.sin(2 * np.pi * hz * t))[None].astype(np.float32), sample_rate)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["hum", "whistle", "sung"]),
    cents=st.integers(-45, 45),
)
def test_nearly_all_notes_of_a_voice_are_written_down_and_hardly_any_other(
    seed: int, kind: str, cents: int
) -> None:
    sung = make_notes(seed, 5.0, high=kind == "whistle")
    heard = transcribe(perform(sung, kind, seed=seed, duration_s=5.0, cents_off=cents).audio)
    # Half way between two semitones either is right, for all notes alike.
    shifts = [0] if abs(cents) < 35 else [0, 1 if cents > 0 else -1]
    right = max(
        sum(
            any(
                abs(m.start_s - n.start_s) < 0.08 and m.pitch == n.pitch + shift
                for m in heard.notes
            )
            for n in sung
        )
        for shift in shifts
    )
    assert right >= 0.8 * len(sung) - 1
    assert len(heard.notes) <= 1.2 * len(sung) + 1
    assert heard.is_clear
    assert all(a.end_s <= b.start_s for a, b in zip(heard.notes, heard.notes[1:], strict=False))
    assert heard.notes[-1].end_s <= heard.length_s <= 5.0


def test_a_voice_s_own_tuning_is_measured_and_taken_out() -> None:
    sung = make_notes(4, 6.0)
    for cents in (-30, 25):
        heard = transcribe(perform(sung, "hum", duration_s=6.0, cents_off=cents).audio)
        assert heard.tuning_cents == pytest.approx(cents, abs=12)
        assert [note.pitch for note in heard.notes] == [note.pitch for note in sung]


def test_the_same_pitch_sung_again_is_another_note() -> None:
    sung = tuple(Note(0.2 + 0.5 * i, 0.63 + 0.5 * i, 57) for i in range(4))
    heard = transcribe(perform(sung, "sung", duration_s=2.5).audio)
    assert [note.pitch for note in heard.notes] == [57] * 4


@pytest.mark.parametrize(("sample_rate", "channels"), [(8000, 1), (44_100, 2), (96_000, 1)])
def test_pitch_is_right_to_some_cents_at_any_rate(sample_rate: int, channels: int) -> None:
    for hz in (82.4, 220.0, 987.8, 2093.0):
        one = tone(hz, 0.6, sample_rate)
        sound = Audio(np.repeat(one.samples, channels, axis=0), sample_rate)
        track = track_pitch(sound)
        middle = track.semitones[15:-15]
        assert np.median(middle) == pytest.approx(69 + 12 * np.log2(hz / 440), abs=0.15)
        assert track.aperiodicity[15:-15].max() < 0.2


@pytest.mark.parametrize(
    ("sound", "why"),
    [
        (Audio(np.zeros((1, RATE), np.float32), RATE), "it is silent"),
        (Audio(np.zeros((1, 0), np.float32), RATE), "it is silent"),
        (NOISE, "no single melody"),
        (pad_chords(), "no single melody"),
        (tone(220.0, 0.15), "no single melody"),
    ],
)
def test_what_is_no_tune_is_told_in_a_line_with_what_to_do(sound: Audio, why: str) -> None:
    heard = transcribe(sound)
    assert not heard.is_evident
    with pytest.raises(InvalidInput, match=why) as told:
        require_clear(heard, "mine.wav")
    assert "hum or whistle" in str(told.value.hint)


def test_a_sound_longer_than_a_melody_is_not_followed() -> None:
    require_length(tone(220.0, LONGEST_S, 1000), "mine.wav")
    with pytest.raises(InvalidInput, match="121 s long; a melody is followed up to 120 s"):
        require_length(tone(220.0, LONGEST_S + 1, 1000), "mine.wav")


def test_one_held_tone_is_clear_when_asked_for_and_not_evidently_a_tune() -> None:
    heard = transcribe(tone(220.0, 2.0))
    assert heard.is_clear
    assert not heard.is_evident
    assert transcribe(tune(0).audio).is_evident


def test_drums_under_a_voice_or_a_second_voice_make_it_unclear() -> None:
    voice = tune(0).audio
    noise = np.random.default_rng(1).standard_normal(voice.frames).astype(np.float32)
    struck = Audio(voice.samples + 0.15 * noise, RATE)
    other = perform(make_notes(77), "sung", seed=77).audio
    assert not transcribe(struck).is_evident
    assert not transcribe(Audio(voice.samples + other.samples, RATE)).is_evident


@given(st.lists(notes, min_size=1, max_size=20))
def test_notes_come_back_from_their_text(some: list[Note]) -> None:
    assert notes_from_text(notes_to_text(some)) == tuple(some)


@pytest.mark.parametrize("text", ["0.5-1:60", "1.000-0.500:60", "0.000-1.000:128", "x"])
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        notes_from_text(text)


def test_a_melody_holds_its_notes_within_its_period_and_has_a_weight() -> None:
    note = Note(0.0, 1.0, 60)
    for bad in (
        {"notes": ()},
        {"period_s": 0.5},
        {"weight": 0.0},
        {"weight": 1.2},
        {"notes": (note,) * 1025},
    ):
        told = {"notes": (note,), "period_s": 2.0, "instrument": "Flute", "weight": 1.0, **bad}
        with pytest.raises(InvalidInput):
            Melody(**told, source_sha256="0" * 64)  # type: ignore[arg-type]


def test_notes_are_played_at_their_pitch_and_time() -> None:
    made = midi.play_notes([Note(0.5, 1.5, 69)], "Flute", duration_s=2.0, sample_rate=RATE)
    assert made.frames == 2 * RATE
    assert np.abs(made.samples[:, : round(0.45 * RATE)]).max() < 1e-3
    (note,) = transcribe(made).notes
    assert note.pitch == 69
    assert note.start_s == pytest.approx(0.5, abs=0.06)
    with pytest.raises(InvalidInput, match="not a General MIDI instrument"):
        midi.play_notes([Note(0.0, 1.0, 60)], "Theremin", duration_s=1.0)


@pytest.mark.parametrize(
    ("text", "instrument"),
    [
        ("warm electric piano over soft drums", "Electric Piano 1"),
        ("slow piano, no violin", "Acoustic Grand Piano"),
        ("without any guitar: an organ", "Drawbar Organ"),
        ("Solo Violin and piano", "Violin"),
        ("a rolling bassline", "Electric Bass (finger)"),
        ("jazz guitar trio", "Electric Guitar (jazz)"),
        ("dusty and slow", None),
        ("pianola unstrung", None),
    ],
)
def test_the_instrument_that_words_name_first(text: str, instrument: str | None) -> None:
    assert instrument_in(text) == instrument


def test_every_instrument_that_words_can_name_is_one_of_general_midi() -> None:
    with (data_dir("soundfont") / "instruments.csv").open(encoding="utf-8", newline="") as file:
        names = tuple(row["instrument"] for row in csv.DictReader(file))
    assert len(midi.programs_of(names)) == len(set(names))
    assert middle_of("Contrabass") < middle_of("Cello") < middle_of("Violin") < middle_of("Piccolo")

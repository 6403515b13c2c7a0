"""Reading and playing scores."""

from __future__ import annotations

import struct
from pathlib import Path

import mido  # type: ignore[import-untyped]
import numpy as np
import pretty_midi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.audio import midi
from rag_audio.domain import Audio, Key
from rag_audio.errors import ConfigError, InvalidInput, UnreadableFile
from tests.support.scores import write_score


def chunk(events: bytes, *, division: int = 480, kind: int = 0) -> bytes:
    """A MIDI file of one track."""
    head = b"MThd" + struct.pack(">IHHH", 6, kind, 1, division & 0xFFFF)
    track = events + b"\x00\xff\x2f\x00"
    return head + b"MTrk" + struct.pack(">I", len(track)) + track


def loudest_hz(audio: Audio) -> float:
    spectrum = np.abs(np.fft.rfft(audio.samples[0] * np.hanning(audio.frames)))
    return float(spectrum.argmax()) * audio.sample_rate / audio.frames


def one_note(path: Path, pitch: int = 69, program: int = 73, seconds: float = 2.0) -> Path:
    score = pretty_midi.PrettyMIDI(initial_tempo=120)
    part = pretty_midi.Instrument(program)
    part.notes.append(pretty_midi.Note(100, pitch, 0.0, seconds))
    score.instruments.append(part)
    score.write(str(path))
    return path


@pytest.mark.parametrize("bpm", [60, 92, 133.3, 180])
@pytest.mark.parametrize("key", [Key(0, False), Key(9, True), Key(6, False), Key(3, True)])
def test_tempo_key_and_instruments_are_read(tmp_path: Path, bpm: float, key: Key) -> None:
    info = midi.read(write_score(tmp_path / "a.mid", bpm, key))
    assert info.bpm == pytest.approx(bpm, rel=1e-4)
    assert info.bpm_confidence == 1.0
    assert info.key == key
    assert info.instruments == ("Acoustic Grand Piano", "Drums", "Electric Bass (finger)") or set(
        info.instruments
    ) == {"Acoustic Grand Piano", "Drums", "Electric Bass (finger)"}
    assert info.drums
    assert info.time_signature == (4, 4)
    assert info.density_per_s == pytest.approx(info.notes / info.duration_s)


def test_a_signature_that_the_notes_bear_out_is_certain(tmp_path: Path) -> None:
    stated = midi.read(write_score(tmp_path / "a.mid", key=Key(9, True), signature=21))
    assert (stated.key, stated.key_confidence) == (Key(9, True), 1.0)


def test_an_unmeant_c_major_signature_gives_way_to_the_notes(tmp_path: Path) -> None:
    info = midi.read(write_score(tmp_path / "a.mid", key=Key(6, False), signature=0))
    assert info.key == Key(6, False)


def test_drums_alone_have_no_key(tmp_path: Path) -> None:
    info = midi.read(write_score(tmp_path / "a.mid", pitched=False))
    assert (info.key, info.key_confidence, info.instruments) == (None, 0.0, ("Drums",))


def test_the_tempo_that_holds_longest_is_the_tempo(tmp_path: Path) -> None:
    tempo = b"\xff\x51\x03"
    slow, fast = (int(6e7 / bpm).to_bytes(3, "big") for bpm in (60, 120))
    events = (
        b"\x00" + tempo + slow + b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00"  # a beat at 60
        b"\x00" + tempo + fast + b"\x00\x90\x40\x40\x9e\x00\x80\x40\x00"  # eight beats at 120
    )
    path = tmp_path / "a.mid"
    path.write_bytes(chunk(events))
    info = midi.read(path)
    assert info.duration_s == pytest.approx(5.0, abs=0.01)
    assert info.bpm == pytest.approx(120)
    assert info.bpm_confidence == pytest.approx(0.8, abs=0.01)
    assert [round(bpm) for _, bpm in info.tempo_changes] == [60, 120]


@pytest.mark.parametrize(
    ("beats", "power", "found"), [(3, 2, (3, 4)), (7, 3, (7, 8)), (4, 5, None), (33, 2, None)]
)
def test_a_time_signature_is_read_where_it_is_one_that_we_know(
    tmp_path: Path, beats: int, power: int, found: tuple[int, int] | None
) -> None:
    stated = b"\x00\xff\x58\x04" + bytes([beats, power, 24, 8])
    path = tmp_path / "a.mid"
    path.write_bytes(chunk(stated + b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00"))
    assert midi.read(path).time_signature == found


@pytest.mark.parametrize(
    ("changes", "metre", "downbeat_s"),
    [
        ([(0, 1, 2), (480, 3, 2)], (3, 4), 0.5),  # an upbeat of a quarter
        ([(0, 3, 2), (480 * 12, 4, 2)], (4, 4), 6.0),
        ([(0, 3, 2), (480 * 36, 4, 2)], (3, 4), 0.0),
        ([(960, 3, 2)], (3, 4), 1.0),
        ([], None, 0.0),
    ],
)
def test_the_metre_is_the_one_that_holds_longest_and_its_bars_begin_after_the_upbeat(
    tmp_path: Path, changes: list[tuple[int, int, int]], metre: tuple[int, int], downbeat_s: float
) -> None:
    track = mido.MidiTrack()
    at = 0
    for tick, beats, power in changes:
        track.append(
            mido.MetaMessage(
                "time_signature", numerator=beats, denominator=2**power, time=tick - at
            )
        )
        at = tick
    track.append(mido.Message("note_on", note=60, time=0))
    track.append(mido.Message("note_off", note=60, time=480 * 48 - at))
    path = tmp_path / "a.mid"
    mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(path)
    info = midi.read(path)
    assert (info.time_signature, info.downbeat_s) == (metre, downbeat_s)


def test_an_unstated_tempo_is_the_standards_and_uncertain(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(chunk(b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00"))
    info = midi.read(path)
    assert (info.bpm, info.bpm_confidence) == (120.0, 0.5)


def test_a_note_struck_again_while_it_sounds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    struck = b"\x60\x90\x3c\x40\x00\x80\x3c\x00"  # an end without delay after each start
    path.write_bytes(chunk(b"\x00\x90\x3c\x40" + struck * 200 + b"\x60\x80\x3c\x00"))
    assert midi.read(path).notes > 100


HOSTILE = {
    "empty": b"",
    "text": b"these are words\n",
    "header only": b"MThd\x00\x00\x00\x06\x00\x00\x00\x00\x01\xe0",
    "no notes": chunk(b""),
    "no division": chunk(b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00", division=0),
    "years long": chunk(b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x00"),
    "hours long": chunk(b"\x00\x90\x3c\x40\x84\x80\x80\x00\x80\x3c\x00", division=1),
    "huge text": chunk(b"\x00\xff\x01\xff\xff\xff\x7f" + b"a" * 100),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_unreadable_not_fatal(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(UnreadableFile) as caught:
        midi.read(path)
    assert "\n" not in caught.value.message
    with pytest.raises(UnreadableFile):
        midi.render(path)


def test_missing_folders_and_huge_files_are_unreadable(tmp_path: Path) -> None:
    huge = tmp_path / "huge.mid"
    huge.write_bytes(b"MThd" + bytes(2_100_000))
    for path in (huge, tmp_path, tmp_path / "none.mid"):
        with pytest.raises(UnreadableFile):
            midi.read(path)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed, cut or repeated: the answer is a score within limits, or UnreadableFile."""
    raw = bytearray(write_score(tmp_path / "whole.mid", bars=1).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(("set", "cut", "repeat")))
        if how == "set":
            raw[at] = data.draw(st.integers(0, 255))
        elif how == "cut" and len(raw) > 40:
            del raw[at : at + data.draw(st.integers(1, 20))]
        else:
            raw[at:at] = raw[at : at + 30]
    path = tmp_path / "a.mid"
    path.write_bytes(bytes(raw))
    try:
        info = midi.read(path)
        audio = midi.render(path, sample_rate=8000, duration_s=0.2)
    except UnreadableFile:
        return
    assert 0 < info.duration_s <= 7200
    assert np.isfinite(audio.samples).all()
    assert audio.frames == 1600


def test_a_score_is_played_at_its_pitch(tmp_path: Path) -> None:
    audio = midi.render(one_note(tmp_path / "a.mid", 69))
    assert (audio.channels, audio.sample_rate) == (2, 44_100)
    assert loudest_hz(audio) / 440 == pytest.approx(round(loudest_hz(audio) / 440), rel=0.01)
    assert 0.01 < np.abs(audio.samples).max() <= 0.97001


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_any_rate_can_be_rendered(tmp_path: Path, rate: int) -> None:
    audio = midi.render(one_note(tmp_path / "a.mid"), sample_rate=rate)
    assert audio.duration_s == pytest.approx(3.0, abs=0.01)  # the note and a second after it
    assert np.abs(audio.samples).max() > 0.01


def test_tempo_and_transposition_are_applied(tmp_path: Path) -> None:
    path = one_note(tmp_path / "a.mid", 60)
    plain, changed = midi.render(path), midi.render(path, tempo_ratio=2.0, semitones=7)
    assert changed.duration_s == pytest.approx(2.0, abs=0.01)
    assert loudest_hz(changed) / loudest_hz(plain) == pytest.approx(2 ** (7 / 12), rel=0.01)


def test_drums_are_never_transposed(tmp_path: Path) -> None:
    path = write_score(tmp_path / "a.mid", bars=1, pitched=False)
    plain, shifted = midi.render(path), midi.render(path, semitones=5)
    assert np.array_equal(plain.samples, shifted.samples)


def test_notes_pushed_out_of_range_come_back_by_octaves(tmp_path: Path) -> None:
    audio = midi.render(one_note(tmp_path / "a.mid", 120), semitones=24)
    assert np.isfinite(audio.samples).all()


def test_a_window_is_what_the_whole_holds_there(tmp_path: Path) -> None:
    path = write_score(tmp_path / "a.mid", 113, bars=4)
    whole = midi.render(path).samples
    part = midi.render(path, start_s=3.3, duration_s=2.0).samples
    assert part.shape == (2, 88_200)
    there = whole[:, round(3.3 * 44_100) :][:, :88_200]
    assert np.corrcoef(part.ravel(), there.ravel())[0, 1] > 0.98


def test_a_window_past_the_last_note_is_filled_to_its_length(tmp_path: Path) -> None:
    audio = midi.render(one_note(tmp_path / "a.mid"), start_s=1.5, duration_s=3.0)
    assert audio.frames == 3 * 44_100
    assert np.abs(audio.samples[:, : 44_100 // 4]).max() > 0.01


def test_the_same_score_gives_the_same_samples(tmp_path: Path) -> None:
    path = write_score(tmp_path / "a.mid", bars=1)
    assert np.array_equal(midi.render(path).samples, midi.render(path).samples)


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    path = one_note(tmp_path / "a.mid")
    with pytest.raises(InvalidInput, match="tempo_ratio"):
        midi.render(path, tempo_ratio=0)
    with pytest.raises(InvalidInput, match="semitones"):
        midi.render(path, semitones=99)
    with pytest.raises(InvalidInput, match="sample_rate"):
        midi.render(path, sample_rate=1)
    with pytest.raises(InvalidInput, match="duration_s"):
        midi.render(path, duration_s=-1)
    with pytest.raises(InvalidInput, match="not within"):
        midi.render(path, start_s=100)


def test_a_broken_soundfont_says_what_to_set(tmp_path: Path) -> None:
    path, junk = one_note(tmp_path / "a.mid"), tmp_path / "junk.sf2"
    junk.write_bytes(b"RIFF junk")
    with pytest.raises(ConfigError, match=r"junk\.sf2"):
        midi.render(path, soundfont=junk)
    with pytest.raises(ConfigError) as caught:
        midi.render(path, soundfont=tmp_path / "none.sf2")
    assert "RAG_AUDIO_SOUNDFONT" in caught.value.hint

"""Files as sequencers, drum machines, phones and broken disks leave them: the kinds of public bug
reports of pretty-midi, mido, symusic, music21, midifile and others, each made here by code."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import pretty_midi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.audio import midi, scores
from rag_audio.audio.midi_file import NoticeList, read_midi_file
from rag_audio.audio.scores import NoteScore, parse, score_from_json, score_to_json
from rag_audio.errors import RagAudioError, UnreadableFile
from tests.support.scores import write_score

END = b"\x00\xff\x2f\x00"


def number(value: int) -> bytes:
    """A number of variable length."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def event(delta: int, *data: int) -> bytes:
    return number(delta) + bytes(data)


def meta(delta: int, kind: int, body: bytes) -> bytes:
    return number(delta) + bytes([0xFF, kind]) + number(len(body)) + body


def tempo(microseconds: int, delta: int = 0) -> bytes:
    return meta(delta, 0x51, microseconds.to_bytes(3, "big"))


def note(pitch: int = 60, ticks: int = 480, delta: int = 0, channel: int = 0) -> bytes:
    return event(delta, 0x90 + channel, pitch, 90) + event(ticks, 0x80 + channel, pitch, 64)


def chunk(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack(">I", len(body) if size is None else size) + body


def track(*events: bytes, end: bytes = END, size: int | None = None) -> bytes:
    return chunk(b"MTrk", b"".join(events) + end, size)


def header(kind: int = 1, tracks: int = 1, division: int = 480) -> bytes:
    return chunk(b"MThd", struct.pack(">HHH", kind, tracks, division))


def smf(*tracks: bytes, kind: int = 1, division: int = 480, stated: int | None = None) -> bytes:
    return header(kind, len(tracks) if stated is None else stated, division) + b"".join(tracks)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], NoteScore]:
    def reading(data: bytes) -> NoteScore:
        path = tmp_path / "a.mid"
        path.write_bytes(data)
        return parse(path)

    return reading


Reading = Callable[[bytes], NoteScore]


def ends(score: NoteScore) -> list[tuple[int, float, float]]:
    """Pitch, start and end of all notes."""
    return [
        (note.pitch, round(note.start_s, 4), round(note.end_s, 4))
        for part in score.parts
        for note in part.notes
    ]


# Chunks


def test_a_track_count_that_is_wrong_is_told(read: Reading) -> None:
    for stated, said in ((5, "the header says 5 tracks, 1 is there"),
                         (0, "the header says 0 tracks, 1 is there")):  # fmt: skip
        score = read(smf(track(note()), stated=stated))
        assert (score.notes, score.notices) == (1, (said,))
    score = read(smf(track(tempo(500_000)), track(note()), track(note(64)), stated=1))
    assert (score.notes, score.notices) == (2, ("the header says 1 track, 3 are there",))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_unknown_chunks_are_skipped_as_the_standard_says(read: Reading, place: int) -> None:
    chunks = [track(tempo(666_667)), track(note())]
    chunks.insert(place, chunk(b"XFIH", b"abcd"))
    score = read(smf(*chunks, stated=2))
    assert (score.notes, score.end_s, score.notices) == (1, pytest.approx(0.666667), ())


def test_a_longer_header_is_passed_over(read: Reading) -> None:
    data = chunk(b"MThd", struct.pack(">HHH", 1, 1, 480) + b"more") + track(note())
    assert (read(data).notes, read(data).notices) == (1, ())
    lying = chunk(b"MThd", struct.pack(">HHH", 1, 1, 480), 0xFFFFFFFF) + track(note())
    assert read(lying).notes == 1


@pytest.mark.parametrize("before", [b"\r\n", bytes(128)])
def test_bytes_before_the_header_are_skipped(read: Reading, before: bytes) -> None:
    """An old Macintosh put 128 bytes of its own before a file."""
    score = read(before + smf(track(note())))
    said = f"{len(before)} bytes before the header: skipped"
    assert (score.notes, score.notices) == (1, (said,))


def test_bytes_after_the_last_track_are_told(read: Reading) -> None:
    assert read(smf(track(note())) + bytes(5)).notices == ("5 bytes after the last track: skipped",)
    assert read(smf(track(note())) + b"\xff" * 50).notices == (
        "50 bytes after track 1: no chunk; skipped",
    )


def test_bytes_between_tracks_are_skipped(read: Reading) -> None:
    score = read(smf(track(note()), b"\x00\x01\x02", track(note(64)), stated=2))
    assert score.notes == 2
    assert score.notices == ("3 bytes after track 1: no chunk; skipped",)


def test_a_second_score_behind_the_first_is_not_played_with_it(read: Reading) -> None:
    score = read(smf(track(note())) + smf(track(note(64)), track(note(67))))
    assert score.notes == 1
    assert score.notices == ("a second score after the first one is skipped",)


@pytest.mark.parametrize("size", [0, 4, 5000, 0xFFFFFFFF])
def test_a_track_that_lies_about_its_length_is_read_to_its_end(read: Reading, size: int) -> None:
    score = read(smf(track(tempo(500_000), note(), note(64), size=size), track(note(67))))
    assert [pitch for pitch, _, _ in ends(score)] == [60, 64, 67]
    assert score.notices == ("track 1 is not as long as it says; it is read to its end",)


def test_a_length_that_swallows_the_later_tracks_is_not_believed(read: Reading) -> None:
    first, second = note() + END, track(note(64))
    score = read(smf(chunk(b"MTrk", first, len(first) + len(second)), second, stated=2))
    assert [pitch for pitch, _, _ in ends(score)] == [60, 64]
    assert score.notices == ("track 1 is not as long as it says; it is read to its end",)


def test_a_track_without_an_end_event_is_whole(read: Reading) -> None:
    score = read(smf(track(note(), end=b""), track(note(64))))
    assert (score.notes, score.notices) == (2, ())


def test_what_stands_behind_the_end_event_is_skipped(read: Reading) -> None:
    score = read(smf(track(note(), END, note(64), end=b""), track(note(67))))
    assert [pitch for pitch, _, _ in ends(score)] == [60, 67]
    assert score.notices == ("9 bytes after the end of track 1: skipped",)


@pytest.mark.parametrize("left", range(9, 40))
def test_a_truncated_end_keeps_what_came_before(read: Reading, left: int) -> None:
    """A chat or a full disk cut the file anywhere in its second track."""
    first, second = track(tempo(500_000)), track(note(60), note(62), note(64), note(65))
    data = smf(first, second)
    whole = len(data) - len(second)
    score = read(data[: whole + 8 + left])
    assert score.notes >= 1
    assert len(score.notices) >= 1
    assert score.notices[0].startswith("track 2 breaks off: ")
    assert score.notices[0].endswith(" kept")


def test_where_a_track_breaks_off_it_is_told_what_is_kept(read: Reading) -> None:
    data = smf(track(tempo(500_000)), track(note(60), note(62), note(64)))
    score = read(data[:-6])  # the last note-off and the end event are gone
    assert ends(score)[-1] == (64, 1.0, 1.125)
    assert score.notices == (
        "track 2 breaks off: 5 events kept",
        "track 2: 1 note has no length; played as a short hit",
    )


def test_garbage_in_a_track_keeps_what_came_before_and_the_other_tracks(read: Reading) -> None:
    broken = track(note(60), note(62), b"\xff\xff\xff\xff\xff\xff\xff", note(64))
    score = read(smf(broken, track(note(67))))
    assert [pitch for pitch, _, _ in ends(score)] == [60, 62, 67]
    assert score.notices == ("track 1 breaks off: 4 events kept",)


def test_lost_bytes_in_a_track_do_not_cost_the_next_one(read: Reading) -> None:
    first = track(note(60), note(62), note(64))
    score = read(smf(first[:-13], track(note(67), note(69))))
    assert [pitch for pitch, _, _ in ends(score)][-2:] == [67, 69]
    assert score.notices[0] == "track 1 breaks off: 4 events kept"


def test_an_event_without_its_kind_costs_only_itself(read: Reading) -> None:
    """mido #476: "running status without last_status"; players go on."""
    score = read(smf(track(b"\x00\x3c\x40", b"\x60\x3e\x40", note(67))))
    assert [pitch for pitch, _, _ in ends(score)] == [67]
    assert score.notices == ("track 1: an event without its kind is skipped (2 times)",)
    with pytest.raises(UnreadableFile, match="holds no"):
        read(smf(track(b"\x00\x3c\x40")))


@pytest.mark.parametrize("zeros", [1, 3, 20])
def test_numbers_with_leading_zeros_are_numbers(read: Reading, zeros: int) -> None:
    """The standard has four bytes at most; mido reads any."""
    late = b"\x80" * zeros + event(480, 0x80, 60, 64)
    text = b"\x00\xff\x01" + b"\x80" * zeros + b"\x03abc"
    score = read(smf(track(event(0, 0x90, 60, 90), late, text, note(62))))
    assert ends(score) == [(60, 0.0, 0.5), (62, 0.5, 1.0)]
    assert score.notices == ()


def test_a_step_back_in_time_is_none(read: Reading) -> None:
    back = b"\x8f\xff\xff\xff\x60" + event(0, 0x90, 62, 90)[1:]  # -32 ticks, in 32 bits
    score = read(smf(track(note(60), back, event(480, 0x80, 62, 64), note(64))))
    assert ends(score) == [(60, 0.0, 0.5), (62, 0.5, 1.0), (64, 1.0, 1.5)]
    assert score.notices == ("track 1: a step back in time is skipped",)


def test_a_system_message_without_length_costs_only_itself(read: Reading) -> None:
    reset = b"\x00\xf0\x7e\x7f\x09\x01\xf7"
    score = read(smf(track(reset, note(60), note(62))))
    assert ends(score) == [(60, 0.0, 0.5), (62, 0.5, 1.0)]
    assert score.notices == ("track 1: a system message without length is skipped",)


def test_a_riff_file_is_a_score_in_a_chunk(read: Reading) -> None:
    plain = smf(track(note()))
    lists = b"LIST" + struct.pack("<I", 100) + bytes(100)
    body = b"RMID" + lists + b"data" + struct.pack("<I", len(plain)) + plain + b"DLS data"
    score = read(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert (score.notes, score.notices) == (1, ())


# Events


def test_running_status_goes_on_after_meta_and_system_events(read: Reading) -> None:
    """gomidi #20: files of the Lakh data set do so, and play everywhere."""
    events = (
        event(0, 0x90, 71, 92) + meta(4, 0x01, b"%+") + event(22, 71, 0)
        + event(0, 72, 92) + event(0, 0xF0, 3, 1, 2, 0xF7) + event(24, 72, 0)
        + event(0, 0xF8) + event(0, 74, 92) + event(24, 74, 0)
    )  # fmt: skip
    score = read(smf(track(events), division=24))
    assert ends(score) == [(71, 0.0, 0.5417), (72, 0.5417, 1.0417), (74, 1.0417, 1.5417)]
    assert score.notices == ("track 1: a system message is skipped",)


def test_values_above_127_are_taken_as_127(read: Reading) -> None:
    score = read(smf(track(event(0, 0x90, 60, 200), event(480, 0x80, 60, 64))))
    assert score.parts[0].notes[0].velocity == 127
    assert score.notices == ("track 1: a value above 127 counts as 127",)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xf8\x00", "a key signature of 8 flats is skipped"),
        (b"\x09\x00", "a key signature of 9 sharps is skipped"),
        (b"\x00\x05", "a key signature of mode 5 is skipped"),
        (b"\x00", "a key signature of 1 byte is skipped"),
        (b"", "a key signature of 0 bytes is skipped"),
    ],
)
def test_a_bad_key_signature_costs_only_itself(read: Reading, body: bytes, said: str) -> None:
    score = read(smf(track(meta(0, 0x59, body), tempo(500_000), note())))
    assert (score.notes, score.key_number, score.notices) == (1, None, (f"track 1: {said}",))
    later = read(smf(track(meta(0, 0x59, body), meta(0, 0x59, b"\xfd\x01"), note())))
    assert later.key_number == 12  # three flats, minor


@pytest.mark.parametrize(
    ("sharps", "minor", "key"), [(0, 0, 0), (-7, 0, 11), (7, 0, 1), (-3, 1, 12), (0, 1, 21)]
)
def test_key_signatures_are_those_of_pretty_midi(
    tmp_path: Path, sharps: int, minor: int, key: int
) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(smf(track(meta(0, 0x59, struct.pack("bb", sharps, minor)), note())))
    assert parse(path).key_number == key
    assert pretty_midi.PrettyMIDI(str(path)).key_signature_changes[0].key_number == key


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x00\x02\x18\x08", "a time signature of 0/4 is skipped"),
        (b"\x04\xc8\x18\x08", "a time signature of 4/2^200 is skipped"),
        (b"\x04\x02", "a time signature of 2 bytes is skipped"),
    ],
)
def test_a_bad_time_signature_costs_only_itself(read: Reading, body: bytes, said: str) -> None:
    score = read(smf(track(meta(0, 0x58, body), note())))
    assert (score.notes, score.time_signature, score.notices) == (1, None, (f"track 1: {said}",))


def test_a_tempo_of_zero_is_as_if_it_were_not_there(read: Reading) -> None:
    score = read(smf(track(tempo(600_000), tempo(0), note(), tempo(0), note())))
    assert (score.tempos, score.end_s) == (((0.0, 100.0),), pytest.approx(1.2))
    assert score.notices == ("track 1: a tempo of zero is skipped (2 times)",)
    alone = read(smf(track(tempo(0), note())))
    assert (alone.tempos, alone.states_tempo) == (((0.0, 120.0),), False)


def test_a_tempo_of_two_bytes_is_skipped(read: Reading) -> None:
    score = read(smf(track(meta(0, 0x51, b"\x07\xa1"), note())))
    assert (score.states_tempo, score.end_s) == (False, 0.5)
    assert score.notices == ("track 1: a tempo of 2 bytes is skipped",)


# Tempo and time


@pytest.mark.parametrize("tracks", [2, 3, 5])
def test_the_tempo_of_any_track_holds(tmp_path: Path, tracks: int) -> None:
    """pretty-midi #209: 90 beats per minute in the last track were 120 at confidence 1."""
    empty = [track(meta(0, 3, b"song"))] * (tracks - 1)
    notes = track(tempo(666_667), *(note(60 + n, 240) for n in range(32)))
    path = tmp_path / "a.mid"
    path.write_bytes(smf(*empty, notes))
    info = midi.read(path)
    assert (info.bpm, info.bpm_confidence, info.notices) == (90.0, 1.0, ())
    assert info.duration_s == pytest.approx(10.666672)


def test_tempos_of_several_tracks_are_merged_by_tick(read: Reading) -> None:
    first = track(tempo(1_000_000), tempo(500_000, 960))
    score = read(smf(first, track(tempo(250_000, 480), note(60, 480, 480))))
    assert score.tempos == ((0.0, 60.0), (1.0, 240.0), (1.25, 120.0))
    assert ends(score) == [(60, 1.25, 1.75)]
    assert score.notices == ()


def test_different_tempos_at_one_place_are_told_and_the_last_holds(read: Reading) -> None:
    score = read(smf(track(tempo(500_000)), track(tempo(600_000), note())))
    assert score.tempos == ((0.0, 100.0),)
    assert score.notices == (
        "tracks 1 and 2 have different tempos at one place; that of the last holds",
    )


def test_keys_and_time_signatures_of_any_track_hold(read: Reading) -> None:
    signatures = meta(0, 0x58, b"\x03\x02\x18\x08") + meta(0, 0x59, b"\x02\x00")
    score = read(smf(track(tempo(500_000)), track(signatures, note())))
    assert (score.time_signature, score.key_number) == ((3, 4), 2)


def test_high_resolutions_are_limited_by_seconds_not_ticks(read: Reading) -> None:
    """pretty-midi #112: 32767 ticks per beat were refused past 2:33."""
    beats = [note(60 + n % 12, 32_767) for n in range(720)]
    score = read(smf(track(tempo(500_000)), track(*beats), division=32_767))
    assert (score.notes, score.end_s, score.notices) == (720, pytest.approx(360.0), ())


@pytest.mark.parametrize(
    ("frames", "parts", "ticks", "seconds"),
    [(25, 40, 1000, 1.0), (24, 80, 1920, 1.0), (30, 80, 2400, 1.0), (29, 100, 30_000, 10.01)],
)
def test_time_code_counts_film_frames(
    read: Reading, frames: int, parts: int, ticks: int, seconds: float
) -> None:
    division = (0x100 - frames) << 8 | parts
    score = read(smf(track(tempo(250_000), note(60, ticks)), division=division))
    assert score.end_s == pytest.approx(seconds)
    assert score.notices == ()


def test_an_unusual_rate_of_frames_is_told(read: Reading) -> None:
    score = read(smf(track(note(60, 100)), division=(0x100 - 50) << 8 | 2))
    assert score.end_s == pytest.approx(1.0)
    assert score.notices == ("the header counts 50 film frames in a second, which is unusual",)


@pytest.mark.parametrize("division", [0, 0xE700])
def test_ticks_without_a_length_are_refused(read: Reading, division: int) -> None:
    with pytest.raises(UnreadableFile, match="does not say how long its ticks are"):
        read(smf(track(note()), division=division))


DRONE = track(
    *(event(0, 0x90, n % 128, 90) for n in range(2000)),
    event(480 * 2000, 0x80, 1, 1),
    end=event(480 * 1000, 0xFF, 0x2F, 0),
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (smf(track(note(60, 480), note(60, 0x0FFFFFFF)), division=1), "200000"),
        (smf(track(tempo(0xFFFFFF), note(60, 480 * 500))), "more than 7200 s"),
(smf(*[DRONE] * 2), "notes of"),
    ],
)  # fmt: skip
def test_beats_seconds_and_sounding_time_are_limited(
    read: Reading, data: bytes, reason: str
) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        read(data)


# Notes


def test_hits_without_length_are_hits(read: Reading) -> None:
    """symusic #38: drum machines write note-on and note-off at one tick."""
    hits = (
        event(240 if n else 0, 0x99, pitch, 100) + event(0, 0x89, pitch, 64)
        for n, pitch in enumerate((36, 42, 38, 42) * 8)
    )
    score = read(smf(track(tempo(500_000), *hits)))
    (part,) = score.parts
    assert (part.drum, len(part.notes)) == (True, 32)
    assert {round(one.end_s - one.start_s, 6) for one in part.notes} == {0.125}
    assert [one.start_s for one in part.notes[:3]] == [0.0, 0.25, 0.5]
    assert score.notices == ("track 1: 32 notes have no length; played as short hits",)


@pytest.mark.parametrize("channel", [0, 9])
def test_note_ons_alone_are_hits_up_to_the_next_one(read: Reading, channel: int) -> None:
    hits = (event(60 if n else 0, 0x90 + channel, 60, 100) for n in range(8))
    score = read(smf(track(*hits)))
    assert ends(score)[:2] == [(60, 0.0, 0.0625), (60, 0.0625, 0.125)]
    assert ends(score)[-1] == (60, 0.4375, 0.5625)  # a sixteenth


def test_a_note_without_length_does_not_last_until_the_end_of_the_next(read: Reading) -> None:
    score = read(smf(track(note(72, 0), note(72, 240, 480))))
    assert ends(score) == [(72, 0.0, 0.125), (72, 0.5, 0.75)]


def test_a_note_off_before_its_note_on_ends_nothing(read: Reading) -> None:
    """pretty-midi #161: a note too short for the resolution is written the wrong way round."""
    events = (event(0, 0x90, 60, 0), event(0, 60, 127), event(440, 60, 127), event(440, 60, 0))
    assert ends(read(smf(track(*events), division=440))) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]


def test_overlapping_notes_of_a_key_end_in_their_order(read: Reading) -> None:
    """pretty-midi #163: the first note-off ended both."""
    on, off = (0x90, 60, 90), (0x80, 60, 64)
    score = read(smf(track(event(0, *on), event(240, *on), event(240, *off), event(240, *off))))
    assert ends(score) == [(60, 0.0, 0.5), (60, 0.25, 0.75)]
    legato = read(smf(track(event(0, *on), event(480, *on), event(10, *off), event(470, *off))))
    assert ends(legato) == [(60, 0.0, 0.5104), (60, 0.5, 1.0)]


def test_where_a_note_off_is_lost_a_note_ends_when_its_key_is_struck_again(read: Reading) -> None:
    on, off = (0x90, 60, 90), (0x80, 60, 64)
    events = event(0, *on), event(480, *on), event(480, *off), event(0, *on), event(480, *off)
    assert ends(read(smf(track(*events)))) == [(60, 0.0, 0.5), (60, 0.5, 1.0), (60, 1.0, 1.5)]


def test_a_note_that_never_ends_is_held_to_the_end_of_its_track(read: Reading) -> None:
    events = event(0, 0x90, 48, 90), note(60), note(62)
    score = read(smf(track(*events, end=event(960, 0xFF, 0x2F, 0))))
    assert (48, 0.0, 2.0) in ends(score)
    assert score.notices == (
        "track 1: 1 note never ends; held until struck again or the track ends",
    )


def test_a_note_that_never_ends_is_not_held_for_hours(read: Reading) -> None:
    far = b"\xff\xff\xff\x7f\xff\x2f\x00"
    score = read(smf(track(event(0, 0x90, 48, 90), note(60), end=far)))
    assert sorted(ends(score)) == [(48, 0.0, 60.5), (60, 0.0, 0.5)]


@pytest.mark.parametrize("control", [120, 123])
def test_all_notes_off_ends_the_notes_of_its_channel(read: Reading, control: int) -> None:
    events = (event(0, 0x90, 48, 90), event(0, 0x91, 50, 90), event(480, 0xB0, control, 0),
              event(480, 0x81, 50, 0), event(0, 0x80, 48, 0))  # fmt: skip
    assert ends(read(smf(track(*events)))) == [(48, 0.0, 0.5), (50, 0.0, 1.0)]


# Programs and channels


def kinds(score: NoteScore) -> list[tuple[int, bool, int]]:
    return [(part.program, part.drum, len(part.notes)) for part in score.parts]


def test_a_program_change_makes_a_part_of_its_own(read: Reading) -> None:
    events = event(0, 0xC0, 5), note(), event(0, 0xC0, 40), note(), event(0, 0xC0, 5), note()
    assert kinds(read(smf(track(*events)))) == [(5, False, 2), (40, False, 1)]


def test_programs_set_in_another_track_hold_where_a_track_sets_none(read: Reading) -> None:
    setup = track(event(0, 0xC0, 5), event(0, 0xC1, 33))
    own = track(event(0, 0xC0, 73), note())
    score = read(smf(setup, track(note(channel=0)), track(note(channel=1)), own))
    assert kinds(score) == [(5, False, 1), (33, False, 1), (73, False, 1)]


def test_ports_have_channels_of_their_own(read: Reading) -> None:
    port = meta(0, 0x21, b"\x01")
    score = read(
        smf(track(event(0, 0xC0, 5), note()), track(port, note()), track(port, note(channel=9)))
    )
    assert kinds(score) == [(5, False, 1), (0, False, 1), (0, True, 1)]


@pytest.mark.parametrize(("bank", "drum"), [(120, True), (127, True), (121, False), (0, False)])
def test_banks_of_drum_kits_make_a_channel_percussion(read: Reading, bank: int, drum: bool) -> None:
    events = event(0, 0xB3, 0, bank), event(0, 0xC3, 8), note(channel=3)
    assert kinds(read(smf(track(*events)))) == [(8, drum, 1)]


# Whole files against other readers


def test_well_formed_files_are_what_pretty_midi_reads(tmp_path: Path) -> None:
    """Notes, starts, ends, tempos: equal to the last bit."""
    for n, bpm in enumerate((60, 133.3, 187)):
        path = write_score(tmp_path / f"{n}.mid", bpm, bars=4)
        other, score = pretty_midi.PrettyMIDI(str(path)), parse(path)
        assert score.notices == ()
        assert [
            [(one.start_s, one.end_s, one.pitch, one.velocity) for one in part.notes]
            for part in score.parts
        ] == [
            sorted((one.start, one.end, one.pitch, one.velocity) for one in part.notes)
            for part in other.instruments
        ]
        assert [(p.program, p.drum) for p in score.parts] == [
            (p.program, p.is_drum) for p in other.instruments
        ]
        times, bpms = other.get_tempo_changes()
        assert score.tempos == tuple(zip(times, bpms, strict=True))


def test_many_tempo_changes_are_what_symusic_reads(tmp_path: Path) -> None:
    from symusic import Score

    changes = b"".join(tempo(300_000 + 7919 * n % 500_000, 37 * (n > 0)) for n in range(200))
    notes = b"".join(note(40 + n % 40, 91, 13) for n in range(60))
    path = tmp_path / "a.mid"
    path.write_bytes(smf(track(changes), track(notes), division=96))
    found = Score(str(path), ttype="second")
    other = [(n.pitch, n.start, n.end) for part in found.tracks for n in part.notes]
    assert [x for row in ends(parse(path)) for x in row] == pytest.approx(
        [x for row in other for x in row], abs=2e-4
    )


# Hostile bytes


def test_notices_are_counted_and_few() -> None:
    notices = NoticeList()
    for n in range(40):
        notices.add(f"track {n}: odd")
    notices.add("track 0: odd")
    lines = notices.lines()
    assert (len(lines), lines[0], lines[-1]) == (
        17,
        "track 0: odd (2 times)",
        "and 24 notices more",
    )


MANY = 20_000
BOMBS = {
    "empty chunks": header() + chunk(b"abcd", b"") * MANY,
    "empty tracks": header() + chunk(b"MTrk", b"") * MANY + track(note()),
    "tracks that point into chunks": header()
    + chunk(b"MTrk", b"", 8 * MANY) * MANY
    + chunk(b"abcd", b"") * MANY,
    "controllers for many parts": smf(
        track(*(event(1, 0xB0, 7, n % 128) for n in range(MANY))), *[track(note())] * 4000
    ),
    "programs": smf(track(*(event(0, 0xC0, n % 128) + note(n % 128, 9) for n in range(MANY)))),
    "all notes off": smf(
        track(*(event(0, 0x90, n % 128, 9) + event(1, 0xB0, 123, 0) for n in range(MANY)))
    ),
    "one key struck": smf(track(event(0, 0x90, 60, 9), *[event(1, 60, 9)] * MANY)),
    "one key held": smf(track(*[event(0, 0x90, 60, 9)] * MANY, *[event(1, 0x80, 60, 9)] * MANY)),
    "tempos": smf(track(*(tempo(1 + n, 1) for n in range(MANY)), note())),
}


@pytest.mark.parametrize("name", BOMBS)
def test_files_that_ask_for_much_are_answered_in_time(read: Reading, name: str) -> None:
    began = time.process_time()
    try:
        score = read(BOMBS[name])
    except UnreadableFile as error:
        assert "\n" not in error.message
    else:
        assert len(score.notices) <= 17
    assert time.process_time() - began < 3  # a tenth of a second; squares of it are minutes


WHOLE = smf(
    track(tempo(500_000), meta(0, 0x58, b"\x03\x02\x18\x08"), meta(0, 0x59, b"\x02\x00")),
    track(event(0, 0xC0, 5), event(0, 0xB0, 64, 127), note(), note(64), event(0, 0xB0, 64, 0)),
    track(*(note(36, 120, channel=9) for _ in range(8))),
)
FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def survives(read: Reading, data: bytes) -> None:
    try:
        score = read(data)
    except RagAudioError as error:
        assert "\n" not in error.message
        return
    assert score_from_json(score_to_json(score)) == score
    assert 0 < score.end_s <= scores.MAX_DURATION_S


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes_in_tracks_are_read_or_refused(read: Reading, data: bytes) -> None:
    survives(read, header() + data)
    survives(read, smf(track(data), track(note())))


@FUZZ
@given(data=st.data())
def test_mutations_are_read_or_refused(read: Reading, data: st.DataObject) -> None:
    raw = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        how = data.draw(st.sampled_from(("set", "cut", "repeat", "truncate")))
        if how == "set":
            raw[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
        elif how == "cut":
            del raw[at : at + data.draw(st.integers(1, 20))]
        elif how == "repeat":
            raw[at:at] = raw[at : at + 30]
        else:
            del raw[max(14, at) :]
    survives(read, bytes(raw))


def test_events_are_counted_over_all_tracks() -> None:
    data = smf(track(note()), track(note()), track(note()))
    with pytest.raises(UnreadableFile, match="holds 6 events, more than 5"):
        read_midi_file(data, "a.mid", 5, NoticeList())

"""MIDI files of type 2 hold independent songs: each is a stem of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rag_audio.audio import midi
from rag_audio.audio.scores import MAX_SONGS, count_songs, parse
from rag_audio.domain import Segment
from rag_audio.domain.disclosure import EVERYTHING
from rag_audio.domain.songs import song_file, song_id, song_path, split_song
from rag_audio.errors import LibraryError, UnreadableFile
from rag_audio.generation.stem_player import StemPlayer
from rag_audio.resources import data_dir
from rag_audio.storage.cache import SoundCache, content_hash
from rag_audio.storage.files import file_sha256
from tests.audio.test_midi_file import event, meta, note, smf, tempo, track
from tests.indexer.conftest import Bench

ALL = "*.mid,full,The Band,,,,,,"


def songs(*bpms: int) -> bytes:
    """A song of two seconds and a beat for each tempo, after a track without notes."""
    made = [
        track(tempo(60_000_000 // bpm), event(0, 0xC0, n), *[note(60 + n % 12, 480)] * 8)
        for n, bpm in enumerate(bpms)
    ]
    return smf(track(meta(0, 3, b"patterns")), *made, kind=2)


def test_every_song_has_its_own_tempo_notes_and_length(tmp_path: Path) -> None:
    file = tmp_path / "a.mid"
    file.write_bytes(songs(60, 120, 100))
    assert count_songs(file) == 3
    first, second, third = (parse(tmp_path / name) for name in ("a.mid", "a.mid#2", "a.mid#3"))
    assert [score.tempos[0][1] for score in (first, second)] == [60.0, 120.0]
    assert [score.end_s for score in (first, second)] == [8.0, 4.0]
    assert third.parts[0].program == 2
    assert first.notices == ("the file holds 3 independent songs; this is song 1",)
    assert midi.read(tmp_path / "a.mid#2").bpm == 120.0
    with pytest.raises(UnreadableFile, match="has no song 4"):
        parse(tmp_path / "a.mid#4")


def test_other_kinds_hold_one_song(tmp_path: Path) -> None:
    file = tmp_path / "a.mid"
    for data in (smf(track(note()), track(note())), smf(track(note()), kind=2), b"", b"MThd"):
        file.write_bytes(data)
        if len(data) > 14:
            assert count_songs(file) == 1
            assert parse(file).notices == ()
        else:
            assert count_songs(file) == 1 or not data


def test_a_file_of_more_songs_than_are_read_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.mid"
    file.write_bytes(songs(*[120] * (MAX_SONGS + 1)))
    assert count_songs(file) == MAX_SONGS
    assert parse(file).notices == (
        "the file holds 101 independent songs; this is song 1, and no more than 100 are read",
    )


def test_songs_have_paths_and_ids(tmp_path: Path) -> None:
    assert split_song("drums/a.MID#12") == ("drums/a.MID", 12)
    for plain in ("a.mid", "a.wav#2", "take #2", "a.mid#0", "a.mid#1000", "a.mid#x"):
        assert split_song(plain) == (plain, 1)
    assert (song_path("a.mid", 1), song_path("a.mid", 2)) == ("a.mid", "a.mid#2")
    assert song_id("ab", 1) == "ab"
    assert song_id("ab", 2) != song_id("ab", 3)
    real = tmp_path / "a.mid#2"
    assert song_file(real) == (tmp_path / "a.mid", 2)
    real.write_bytes(b"")
    assert song_file(real) == (real, 1)


def test_each_song_is_a_stem(bench: Bench) -> None:
    file = bench.root / "patterns.mid"
    file.write_bytes(songs(60, 120, 100))
    bench.tables(ALL)
    report = bench.run()
    assert (report.indexed, bench.reasons(report)) == (3, {})
    stems = {stem.path: stem for stem in bench.catalogue.stems(None)}
    assert {path: (stem.title, stem.bpm, stem.duration_s) for path, stem in stems.items()} == {
        "patterns.mid": ("patterns", 60.0, 8.0),
        "patterns.mid#2": ("patterns (song 2)", 120.0, 4.0),
        "patterns.mid#3": ("patterns (song 3)", 100.0, 4.8),
    }
    digest = file_sha256(file)
    assert stems["patterns.mid"].id == digest
    assert stems["patterns.mid#2"].id == song_id(digest, 2) == content_hash(
        bench.root / "patterns.mid#2"
    )  # fmt: skip
    assert {notice.path for notice in report.noticed} == stems.keys()
    again = bench.run()
    assert (again.indexed, again.skipped, again.rejected) == (0, 3, ())


def test_each_song_is_played_and_only_as_it_was_indexed(bench: Bench) -> None:
    file = bench.root / "patterns.mid"
    file.write_bytes(songs(60, 120))
    bench.tables(ALL)
    bench.run(render=midi.render, workers=1)
    font = data_dir("soundfont") / "rag-audio.sf2"
    player = StemPlayer(bench.catalogue, SoundCache(), lambda: font, EVERYTHING)
    stems = {stem.path: stem for stem in bench.catalogue.stems(None)}
    stem = stems["patterns.mid#2"]
    sound = player.play(Segment(stem, 0.0, 2.0), 22_050)
    there = midi.render(bench.root / "patterns.mid#2", sample_rate=22_050, duration_s=2.0)
    assert (sound.samples == there.samples).all()
    file.write_bytes(songs(60, 121))
    with pytest.raises(LibraryError, match="changed since it was indexed"):
        player.play(Segment(stem, 0.0, 2.0), 22_050)


def test_a_song_that_its_file_lost_is_forgotten(bench: Bench) -> None:
    file = bench.root / "patterns.mid"
    file.write_bytes(songs(60, 120, 100))
    bench.tables(ALL)
    bench.run()
    file.write_bytes(songs(60, 120))
    report = bench.run()
    assert bench.reasons(report) == {"patterns.mid#3": "patterns.mid has no song 3 any more"}
    assert set(bench.catalogue.files("night-shift")) == {"patterns.mid", "patterns.mid#2"}
    assert {point.segment.stem.path for point in bench.index.scroll()} == {
        "patterns.mid",
        "patterns.mid#2",
    }


def test_songs_go_with_their_file_and_its_license(bench: Bench) -> None:
    file = bench.root / "patterns.mid"
    file.write_bytes(songs(60, 120))
    bench.tables(ALL)
    bench.run()
    bench.tables("*.mid,expired,The Band,,,,,,")
    report = bench.run()
    assert set(bench.reasons(report)) == {"patterns.mid", "patterns.mid#2"}
    assert bench.catalogue.files("night-shift") == {}
    withheld = bench.catalogue.withheld("night-shift")
    digest = file_sha256(file)
    assert {path: one.stem for path, one in withheld.items()} == {
        "patterns.mid": digest,
        "patterns.mid#2": song_id(digest, 2),
    }
    bench.tables(ALL)
    bench.run()
    file.unlink()
    assert bench.run().pruned == 0
    assert bench.run(prune=True).pruned == 2


def test_a_copy_of_a_file_has_the_same_songs(bench: Bench) -> None:
    file = bench.root / "a.mid"
    file.write_bytes(songs(60, 120))
    shutil.copy(file, bench.root / "b.mid")
    bench.tables(ALL)
    bench.run()
    by_id: dict[str, set[str]] = {}
    for path, row in bench.catalogue.files("night-shift").items():
        by_id.setdefault(row.stem.id, set()).add(path)
    assert sorted(by_id.values(), key=sorted) == [{"a.mid", "b.mid"}, {"a.mid#2", "b.mid#2"}]
    file.unlink()
    (stem,) = (s for s in bench.catalogue.stems(None) if s.path == "a.mid#2")
    assert bench.catalogue.file_of(stem) == str(bench.root / "b.mid#2")


def test_the_cases_of_drum_machines_and_old_notation_programs(bench: Bench) -> None:
    """Notices of a score are in the report of the run."""
    (bench.root / "flat.mid").write_bytes(smf(track(meta(0, 0x59, b"\xf8\x00"), note())))
    (bench.root / "fine.mid").write_bytes(smf(track(tempo(500_000), note())))
    bench.tables(ALL)
    report = bench.run()
    assert report.indexed == 2
    assert [(notice.path, notice.text) for notice in report.noticed] == [
        ("flat.mid", "track 1: a key signature of 8 flats is skipped")
    ]

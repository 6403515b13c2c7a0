"""Indexing a library: what ends up in the index and the catalogue, now and the next time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile

from indexer import facts
from indexer.build import Limits, index_library
from indexer.name_hints import NameHints
from indexer.report import FileOutcome
from rag_audio.domain import Audio, StemKind, Use
from rag_audio.domain.ports import StemIndex
from rag_audio.errors import BackendError, BackendUnavailable, LibraryError
from rag_audio.storage.locks import claim
from tests.indexer.conftest import Bench, hum
from tests.indexer.library import LICENSES, RATE, tone
from tests.support.fakes import FakeEmbedder, FakeIndex, dump

pytestmark = pytest.mark.usefixtures("quick")

ALL = "**,full,The Band,,,,,,"


def titles(index: StemIndex) -> list[str]:
    return sorted({point.segment.stem.title for point in index.scroll()})


def test_licensed_files_are_indexed_and_the_others_are_named(bench: Bench) -> None:
    for i, name in enumerate(("good", "words", "old", "free", "odd")):
        tone(bench.root / f"{name}.wav", 200 + 10 * i)
    (bench.root / "readme.txt").write_text("not music")
    bench.tables(
        """
        good.wav,full,The Band,,92,A minor,drums,,0.5
        words.wav,words,,,,,,,
        old.wav,expired,,,,,,,
        odd.wav,nobody,,,,,,,
        lost.wav,full,,,,,,,
        """
    )
    report = bench.run()
    assert (report.indexed, report.skipped, report.updated, report.pruned) == (2, 0, 0, 0)
    assert report.segments == bench.index.count() == 2
    reasons = bench.reasons(report)
    assert set(reasons) == {"old.wav", "odd.wav", "free.wav", "lost.wav"}
    assert "expired" in reasons["old.wav"]
    assert "not in library.toml" in reasons["odd.wav"]
    assert "no row" in reasons["free.wav"]
    assert "matches no file" in reasons["lost.wav"]
    (good,) = bench.catalogue.stems("The  Band")
    assert (good.bpm, good.bpm_confidence, str(good.key), good.key_confidence) == (
        92.0,
        1.0,
        "A minor",
        1.0,
    )
    assert (good.artist_declared, good.title, good.tags, good.downbeat_s) == (
        True,
        "good",
        ("drums",),
        0.5,
    )
    assert good.license_key == "night-shift/full"
    assert bench.catalogue.file_of(good) == str(bench.root / "good.wav")
    (info,) = bench.catalogue.libraries()
    assert (info.id, info.name, info.stems) == ("night-shift", "Night Shift", 2)
    rights = bench.catalogue.rights(None, date(2026, 6, 1))
    assert rights.keys_granting(Use.STYLE) == {"night-shift/full"}


def test_a_score_brings_its_time_signature_and_a_recording_has_none(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    waltz = mido.MidiFile(type=0)
    track = mido.MidiTrack([mido.MetaMessage("time_signature", numerator=3, denominator=4)])
    for note in (60, 64, 67) * 4:
        track += [
            mido.Message("note_on", note=note),
            mido.Message("note_off", note=note, time=waltz.ticks_per_beat),
        ]
    waltz.tracks.append(track)
    waltz.save(bench.root / "b.mid")
    bench.tables(ALL)
    bench.run()
    for stems in (bench.catalogue.stems(None), [p.segment.stem for p in bench.index.scroll()]):
        found = {stem.path: stem.time_signature for stem in stems}
        assert found == {"a.wav": None, "b.mid": (3, 4)}


def test_a_second_run_reads_nothing_and_changes_nothing(bench: Bench) -> None:
    for i in range(3):
        tone(bench.root / f"{i}.wav", 200 + i)
    bench.tables(ALL)
    bench.run()
    before = dump(bench.index)
    upserted = bench.index.upserted
    (bench.root / "0.wav").chmod(0)
    report = bench.run()
    assert (report.indexed, report.skipped, report.segments) == (0, 3, 3)
    assert bench.index.upserted == upserted
    assert dump(bench.index)[0] == before[0]


def test_a_touched_file_with_the_same_bytes_is_skipped_after_hashing(bench: Bench) -> None:
    file = tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.run()
    os.utime(file, ns=(1, 1))
    report = bench.run()
    assert (report.indexed, report.updated, report.skipped) == (0, 0, 1)
    assert bench.catalogue.files("night-shift")["a.wav"].mtime_ns == 1


def test_changed_bytes_are_embedded_anew_and_the_old_points_go(bench: Bench) -> None:
    tone(bench.root / "a.wav", 200, seconds=12)
    bench.tables(ALL)
    bench.run()
    old = {point.id for point in bench.index.scroll()}
    tone(bench.root / "a.wav", 300, seconds=3)
    report = bench.run()
    assert (report.indexed, report.updated, report.segments) == (1, 0, 1)
    assert old.isdisjoint(point.id for point in bench.index.scroll())
    assert len(bench.catalogue.stems()) == 1


def test_an_edited_row_changes_the_points_without_embedding(bench: Bench) -> None:
    tone(bench.root / "a.wav", seconds=22)
    bench.tables("a.wav,full,The Band,,,,,,")
    bench.run()
    rows, vectors = dump(bench.index)
    bench.embedder.embed_audio = None  # type: ignore[assignment, method-assign]
    bench.tables("a.wav,words,The Band,New Title,140,,slow;dark,,")
    report = bench.run()
    assert (report.indexed, report.updated, report.skipped, report.segments) == (0, 1, 0, 4)
    stem = bench.index.find_stem(bench.catalogue.stems()[0].id)[0].segment.stem
    assert (stem.title, stem.bpm, stem.license, stem.tags) == (
        "New Title",
        140.0,
        "words",
        ("slow", "dark"),
    )
    after, kept = dump(bench.index)
    assert [row[0] for row in after] == [row[0] for row in rows]
    assert np.array_equal(vectors, kept)


def test_vanished_files_stay_until_pruned(bench: Bench) -> None:
    tone(bench.root / "a.wav", 200)
    tone(bench.root / "b.wav", 300)
    bench.tables("a.wav,full\nb.wav,full")
    bench.run()
    (bench.root / "b.wav").unlink()
    kept = bench.run()
    assert (kept.pruned, kept.segments) == (0, 2)
    pruned = bench.run(prune=True)
    assert (pruned.pruned, pruned.segments) == (1, 1)
    assert [stem.path for stem in bench.catalogue.stems()] == ["a.wav"]


def test_a_file_that_lost_its_license_leaves_the_index_at_once(bench: Bench) -> None:
    tone(bench.root / "a.wav", 200)
    tone(bench.root / "b.wav", 300)
    bench.tables(ALL)
    bench.run()
    bench.tables(f"{ALL}\nb.wav,expired,,,,,,,")
    report = bench.run()
    assert "expired" in bench.reasons(report)["b.wav"]
    assert titles(bench.index) == ["a"]
    assert [stem.path for stem in bench.catalogue.stems()] == ["a.wav"]


def test_a_file_that_became_unreadable_leaves_the_index(bench: Bench) -> None:
    file = tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.run()
    file.write_bytes(b"RIFF, and then nothing of use")
    report = bench.run()
    assert "a.wav" in bench.reasons(report)
    assert (report.indexed, report.segments, bench.catalogue.stems()) == (0, 0, [])


def test_the_same_bytes_at_two_paths_are_one_stem_with_the_first_path_s_metadata(
    bench: Bench,
) -> None:
    tone(bench.root / "b.wav")
    bench.tables("b.wav,full,,From B\na.wav,full,,From A")
    bench.run()
    assert titles(bench.index) == ["From B"]
    tone(bench.root / "a.wav")
    assert bench.run().updated == 1
    assert titles(bench.index) == ["From A"]
    assert bench.index.count() == 1
    (bench.root / "a.wav").unlink()
    bench.run()
    assert titles(bench.index) == ["From B"]
    bench.run(prune=True)
    assert titles(bench.index) == ["From B"]


def test_a_renamed_file_is_not_embedded_again(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.run()
    (bench.root / "a.wav").rename(bench.root / "b.wav")
    report = bench.run()
    assert (report.indexed, report.updated, report.segments) == (0, 1, 1)
    assert titles(bench.index) == ["b"]
    assert bench.run(prune=True).pruned == 1
    assert titles(bench.index) == ["b"]


def test_a_copy_made_just_before_the_original_breaks_keeps_its_points(bench: Bench) -> None:
    tone(bench.root / "b.wav")
    bench.tables(ALL)
    bench.run()
    (bench.root / "a.wav").write_bytes((bench.root / "b.wav").read_bytes())
    (bench.root / "b.wav").write_bytes(b"broken")
    report = bench.run()
    assert set(bench.reasons(report)) == {"b.wav"}
    assert titles(bench.index) == ["a"]
    assert bench.run().skipped == 1


def test_files_that_swap_their_contents_are_both_right_afterwards(bench: Bench) -> None:
    tone(bench.root / "a.wav", 200)
    tone(bench.root / "b.wav", 300)
    bench.tables("a.wav,full,,A\nb.wav,full,,B")
    bench.run()
    ids = {stem.title: stem.id for stem in bench.catalogue.stems()}
    tone(bench.root / "a.wav", 300)
    tone(bench.root / "b.wav", 200)
    bench.run()
    assert {p.segment.stem.title: p.segment.stem.id for p in bench.index.scroll()} == {
        "A": ids["B"],
        "B": ids["A"],
    }


@pytest.mark.parametrize("keep", [0, 2])
def test_an_index_that_lost_points_is_filled_again(bench: Bench, keep: int) -> None:
    tone(bench.root / "a.wav", seconds=22)
    bench.tables(ALL)
    bench.run()
    before = dump(bench.index)
    bench.index.delete([point.id for point in bench.index.scroll()][keep:])
    assert bench.run().indexed == 1
    assert dump(bench.index)[0] == before[0]


def test_another_embedding_space_means_embedding_everything_anew(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.run()
    bench.embedder, bench.index = FakeEmbedder("fake-2"), FakeIndex(space="fake-2")
    assert bench.run().indexed == 1
    assert bench.run().skipped == 1


def test_windows_overlap_by_half_and_the_rest_is_kept(bench: Bench) -> None:
    for seconds in (3, 10, 12, 21):
        tone(bench.root / f"{seconds}.wav", 200 + seconds, seconds=seconds)
    bench.tables(ALL)
    bench.run()
    found: dict[str, list[tuple[float, float]]] = {}
    for stem in bench.catalogue.stems():
        found[stem.path] = [
            (point.segment.start_s, point.segment.duration_s)
            for point in bench.index.find_stem(stem.id)
        ]
    assert found == {
        "3.wav": [(0, 3)],
        "10.wav": [(0, 10)],
        "12.wav": [(0, 10), (5, 7)],
        "21.wav": [(0, 10), (5, 10), (10, 10), (15, 6)],
    }


def test_vectors_do_not_depend_on_the_other_files(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(7):
        tone(bench.root / f"{i}.wav", 150 + 40 * i, seconds=3 + 4 * i, channels=1 + i % 2)
    bench.tables(ALL)
    bench.run()
    rows, vectors = dump(bench.index)
    monkeypatch.setattr("indexer.build.BATCH_FILES", 1)
    bench.index = FakeIndex()
    bench.run()
    alone, vectors_alone = dump(bench.index)
    assert alone == rows
    assert np.abs(vectors - vectors_alone).max() < 1e-6


def test_midi_is_rendered_and_measured_from_its_score(bench: Bench) -> None:
    write_midi(bench.root / "beat.mid")
    write_midi(bench.root / "lies.wav", program=33)
    bench.tables(ALL)
    report = bench.run()
    assert (report.indexed, report.rejected) == (2, ())
    stem = bench.catalogue.stems()[0]
    assert stem.kind is StemKind.MIDI
    assert stem.bpm == pytest.approx(120)
    assert stem.instruments
    assert bench.catalogue.stems()[1].kind is StemKind.MIDI


def write_midi(path: Path, program: int = 0) -> None:
    """Four bars of quarters at 120 bpm, with drums."""
    import pretty_midi

    score = pretty_midi.PrettyMIDI(initial_tempo=120)
    for drum in (False, True):
        part = pretty_midi.Instrument(program, is_drum=drum)
        for beat in range(16):
            pitch = 36 if drum else 57 + (beat % 4) * 3
            part.notes.append(pretty_midi.Note(90, pitch, beat / 2, beat / 2 + 0.4))
        score.instruments.append(part)
    score.write(str(path))


def test_file_tags_fill_gaps_and_grant_nothing(bench: Bench) -> None:
    import mutagen.flac

    for name in ("a", "b"):
        t = np.arange(RATE) / RATE
        sound = 0.4 * np.sin(2 * np.pi * (200 if name == "a" else 300) * t)
        soundfile.write(bench.root / f"{name}.flac", sound, RATE)
        tags = mutagen.flac.FLAC(bench.root / f"{name}.flac")
        tags.update(
            {
                "title": "Tagged",
                "artist": "A Famous Name",
                "bpm": "93" if name == "a" else "rather quick",
                "initialkey": "Ebm",
                "isrc": "QZABC2600001",
            }
        )
        tags.save()
    bench.tables("a.flac,full,,,,,,,\nb.flac,full,The Band,Named,99,,,,")
    bench.run()
    a, b = bench.catalogue.stems()
    assert (a.artist, a.artist_declared, a.title, a.bpm, str(a.key), a.isrc) == (
        "A Famous Name",
        False,
        "Tagged",
        93.0,
        "Eb minor",
        "QZABC2600001",
    )
    assert 0 < a.bpm_confidence < 1
    assert (b.artist, b.artist_declared, b.title, b.bpm) == ("The Band", True, "Named", 99.0)


def test_whatever_lies_there_is_reported_and_the_rest_is_indexed(bench: Bench) -> None:
    root = bench.root
    tone(root / "good.wav")
    tone(root / "ogg but called.mp3").rename(root / "wav but called.mp3")
    (root / "empty.wav").touch()
    (root / "text.wav").write_text("this is not sound")
    (root / "broken.mid").write_bytes(b"MThd\x00\x00\x00\x06\x00\x01")
    (root / "cut.flac").write_bytes(flac_bytes()[:600])
    soundfile.write(root / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(root / "nan.wav", np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    tone(root / "long.wav", seconds=40)
    (root / "big.wav").write_bytes(b"RIFF" + bytes(3_000_000))
    os.mkfifo(root / "pipe.wav")
    (root / "loop").symlink_to(root)
    (root / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"x")
    bench.tables(ALL)
    report = bench.run(limits=Limits(max_bytes=2_000_000, max_duration_s=30))
    reasons = bench.reasons(report)
    assert report.indexed == 2
    assert titles(bench.index) == ["good", "wav but called"]
    assert set(reasons) == {
        "empty.wav",
        "text.wav",
        "broken.mid",
        "cut.flac",
        "silent.wav",
        "nan.wav",
        "long.wav",
        "big.wav",
        "pipe.wav",
        "loop",
        "caf\\xe9.wav",
    }
    assert reasons["empty.wav"] == "it is empty"
    assert reasons["silent.wav"] == "it is silent"
    assert "3,000,004 bytes" in reasons["big.wav"]
    assert "40 s" in reasons["long.wav"]
    assert not any(str(root) in reason or "\n" in reason for reason in reasons.values())
    assert bench.run(limits=Limits(2_000_000, 30)).skipped == 2


def test_a_stem_without_length_is_reported_and_the_rest_is_indexed(bench: Bench) -> None:
    tone(bench.root / "good.wav")
    soundfile.write(bench.root / "one sample.wav", np.full(1, 0.5), RATE)
    fast = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1)])
    fast += [
        mido.Message("note_on", note=60, velocity=80),
        mido.Message("note_off", note=60, time=480),
    ]
    mido.MidiFile(tracks=[fast]).save(bench.root / "fast.mid")
    bench.tables(ALL)
    report = bench.run()
    assert report.indexed == 1
    reasons = bench.reasons(report)
    assert set(reasons) == {"one sample.wav", "fast.mid"}
    assert reasons["fast.mid"] == "it lasts 0.001 ms; a stem needs 10 ms"


def flac_bytes() -> bytes:
    import io

    buffer = io.BytesIO()
    rng = np.random.default_rng(1)
    soundfile.write(buffer, rng.normal(0, 0.1, RATE * 2), RATE, format="FLAC")
    return buffer.getvalue()


def test_a_crashing_decoder_costs_one_file(bench: Bench) -> None:
    write_midi(bench.root / "a.mid")
    write_midi(bench.root / "crash.mid", program=1)
    write_midi(bench.root / "error.mid", program=2)
    write_midi(bench.root / "z.mid", program=3)
    bench.tables(ALL)
    report = bench.run(workers=2, render=render_or_crash)
    assert report.indexed == 2
    assert bench.reasons(report) == {
        "crash.mid": "its decoder crashed (SIGSEGV in ctypes/__init__.py, string_at)",
        "error.mid": "its decoder crashed (ZeroDivisionError: division by zero)",
    }


def test_a_decoder_that_hangs_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.build.MeasuringProcesses", quick_to_give_up)
    write_midi(bench.root / "hang.mid")
    bench.tables(ALL)
    report = bench.run(workers=1, render=render_or_crash)
    assert bench.reasons(report) == {"hang.mid": "decoding it took longer than 3 s"}


def quick_to_give_up(workers: int, render: Any) -> Any:
    from indexer.worker_processes import MeasuringProcesses

    return MeasuringProcesses(workers, render, time_limit_s=3)


def render_or_crash(path: Path) -> Audio:
    """Runs in a decoding process."""
    import ctypes
    import time

    if path.name == "crash.mid":
        ctypes.string_at(0)
    if path.name == "error.mid":
        _ = 1 / 0
    if path.name == "hang.mid":
        time.sleep(60)
    return hum(path)


def test_a_renderer_that_cannot_travel_runs_here(bench: Bench) -> None:
    seen: list[Path] = []
    write_midi(bench.root / "a.mid")
    bench.tables(ALL)

    def render(path: Path) -> Audio:
        seen.append(path)
        return hum(path)

    assert bench.run(workers=1, render=render).indexed == 1
    assert seen == [bench.root / "a.mid"]


def test_progress_hears_of_every_file_once(bench: Bench) -> None:
    class Heard:
        def __init__(self) -> None:
            self.total: tuple[int, int] | None = None
            self.files: dict[str, FileOutcome] = {}

        def started(self, files: int, skipped: int) -> None:
            self.total = (files, skipped)

        def advanced(self, path: str, outcome: FileOutcome) -> None:
            assert path not in self.files
            self.files[path] = outcome

    tone(bench.root / "a.wav", 200)
    bench.tables(ALL)
    bench.run()
    tone(bench.root / "b.wav", 300)
    (bench.root / "c.wav").write_bytes(b"nothing")
    heard = Heard()
    bench.run(progress=heard)
    assert heard.total == (3, 1)
    assert heard.files == {"b.wav": FileOutcome.INDEXED, "c.wav": FileOutcome.REJECTED}


def test_a_second_indexer_is_told_who_holds_the_library(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    with (
        claim(bench.engine, "library night-shift"),
        pytest.raises(BackendUnavailable, match=rf"pid {os.getpid()} \(") as raised,
    ):
        bench.run()
    assert "library night-shift is being written by" in raised.value.message
    assert bench.run().indexed == 1


def test_a_claim_ends_with_the_process_that_is_killed(bench: Bench, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from rag_audio.storage.locks import claim\n"
        "from rag_audio.storage.database import connect\n"
        "with claim(connect(sys.argv[1]), 'library x'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    url = bench.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(BackendUnavailable, match=rf"pid {holder.pid} \("),
            claim(bench.engine, "library x"),
        ):
            pass
        holder.kill()
    with claim(bench.engine, "library x"):
        pass


def test_threads_that_index_at_once_do_not_corrupt(bench: Bench) -> None:
    for i in range(6):
        tone(bench.root / f"{i}.wav", 200 + 10 * i)
    bench.tables(ALL)
    refusals: list[BackendUnavailable] = []

    def go() -> None:
        try:
            bench.run()
        except BackendUnavailable as refusal:
            refusals.append(refusal)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) < 3
    report = bench.run()
    assert (report.skipped, report.segments) == (6, 6)


def test_two_folders_may_not_share_an_id_and_a_moved_one_may(bench: Bench, tmp_path: Path) -> None:
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.run()
    first = bench.root
    bench.root = tmp_path / "copy"
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    with pytest.raises(LibraryError, match="two folders call themselves library 'night-shift'"):
        bench.run()
    first.rename(tmp_path / "aside")
    (tmp_path / "aside" / "library.toml").unlink()
    assert bench.run().skipped + bench.run().skipped >= 1
    assert bench.catalogue.libraries()[0].root == str(bench.root)


def test_two_libraries_with_the_same_bytes_do_not_touch_each_other(
    bench: Bench, tmp_path: Path
) -> None:
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.run()
    first = bench.root
    bench.root = tmp_path / "other"
    tone(bench.root / "z.wav")
    bench.tables(ALL, LICENSES.replace("Night Shift", "Day Shift", 1))
    assert bench.run().indexed == 1
    assert bench.index.count() == 2
    stem = bench.catalogue.stem(bench.catalogue.stems()[0].id[:10])
    assert stem.library == "day-shift"
    (bench.root / "z.wav").unlink()
    bench.run(prune=True)
    bench.root = first
    assert bench.run().skipped == 1
    assert [point.segment.stem.library for point in bench.index.scroll()] == ["night-shift"]


def test_licenses_that_changed_count_at_once(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.run()
    shorter = LICENSES.replace("2030-12-31", "2026-06-30")
    bench.tables(ALL, shorter)
    assert bench.run().skipped == 1
    rights = bench.catalogue.rights(None, date(2026, 7, 1))
    assert rights.licenses["night-shift/full"].valid_until == date(2026, 6, 30)


@pytest.mark.parametrize("wrong", [np.zeros((1, 3)), np.full((1, 16), np.nan)])
def test_an_embedder_that_breaks_its_promise_writes_nothing(
    bench: Bench, wrong: np.ndarray, quick: Callable[..., Any]
) -> None:
    tone(bench.root / "a.wav")
    bench.tables(ALL)
    bench.embedder.embed_audio = lambda clips: wrong.astype(np.float32)  # type: ignore[method-assign]
    with pytest.raises(BackendError, match="the embedder gave"):
        bench.run()
    assert (bench.index.count(), bench.catalogue.stems()) == (0, [])


def test_a_library_without_music_is_no_error(bench: Bench) -> None:
    bench.tables("*.wav,full")
    report = bench.run(workers=4)
    assert (report.indexed, report.segments) == (0, 0)
    assert bench.reasons(report) == {"*.wav": "row 2 of stems.csv matches no file"}


def test_the_report_is_a_json_document(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    bench.tables("b.wav,full")
    document = bench.run().to_json()
    assert set(document) == {
        "indexed",
        "skipped",
        "updated",
        "pruned",
        "segments",
        "rejected",
        "misdeclared",
        "conflicts",
        "seconds",
        "altered",
        "landmarked",
        "refreshed",
        "outdated",
        "noticed",
        "junk",
        "other",
    }
    assert [set(item) for item in document["rejected"]] == [{"path", "reason"}] * 2


def test_a_missing_library_is_an_error(bench: Bench) -> None:
    with pytest.raises(LibraryError, match=r"library\.toml is missing"):
        index_library(
            bench.root,
            embedder=bench.embedder,
            index=bench.index,
            catalogue=bench.catalogue,
            render=hum,
        )


@pytest.mark.parametrize(
    ("rows", "misdeclared", "unlicensed"),
    [
        ("a.wav,unreadable,,,,,,,\nb.wav,nonesuch,,,,,,,", 2, True),
        ("a.wav,,,,,,,,\nb.wav,full,#REF!,,,,,,", 2, True),
        ("a.wav,full,,,,,,,\nb.wav,unreadable,,,,,,,", 1, False),
        ("a.wav,expired,,,,,,,\nb.wav,nothing,,,,,,,", 0, False),
        ("c.wav,full,,,,,,,", 0, False),
    ],
)
def test_a_run_knows_whether_faulty_licenses_left_it_nothing(
    bench: Bench, rows: str, misdeclared: int, unlicensed: bool
) -> None:
    tone(bench.root / "a.wav", 200)
    tone(bench.root / "b.wav", 300)
    odd = '\n[licenses.unreadable]\nholder = "Somebody"\nspdx = "LicenseRef-1"\nuses = ["sing"]\n'
    bench.tables(rows, LICENSES + odd)
    for _ in range(2):
        report = bench.run()
        assert (report.misdeclared, report.is_unlicensed) == (misdeclared, unlicensed)


def test_a_spreadsheet_s_table_with_a_bad_cell_is_indexed_with_notices(bench: Bench) -> None:
    tone(bench.root / "Mixes [FINAL]" / "a.wav", 200)
    bench.tables("")
    table = (
        "Path;License;Artist;Title;BPM;Key\r\nMixes [FINAL]/*.wav;full;Zoë Ñandú;;01. Mai;8A\r\n"
        "*/*;words;Various;;;\r\n;;;;;\r\n"
    )
    (bench.root / "stems.csv").write_bytes(table.encode("cp1252"))
    report = bench.run()
    assert (report.indexed, report.rejected) == (1, ())
    assert {one.path for one in report.noticed} == {"stems.csv"}
    told = [one.text for one in report.noticed]
    assert len(told) == 3
    assert any("column 'artist' is 'Zoë Ñandú'" in text for text in told)
    assert any(text.startswith("row 2, column 'bpm': '01. Mai' is not a number") for text in told)
    assert any("'*/*') is less specific than row 2" in text for text in told)
    (stem,) = bench.catalogue.stems("Zoë Ñandú")
    assert (stem.bpm, str(stem.key), stem.license_key) == (None, "A minor", "night-shift/full")


def test_a_damaged_recording_is_indexed_as_far_as_it_goes_and_noticed(bench: Bench) -> None:
    tone(bench.root / "whole.wav", 200)
    tone(bench.root / "cut.wav", 300)
    content = (bench.root / "cut.wav").read_bytes()
    (bench.root / "cut.wav").write_bytes(content[: len(content) * 2 // 3])
    killed = bytearray(content)
    at = killed.find(b"data") + 4
    killed[at : at + 4] = bytes(4)
    killed[-2:] = b"\1\1"
    (bench.root / "killed.wav").write_bytes(bytes(killed))
    bench.tables(ALL)
    report = bench.run()
    assert (report.indexed, bench.reasons(report)) == (3, {})
    assert [notice.path for notice in report.noticed] == ["cut.wav", "killed.wav"]
    assert report.noticed[0].text.startswith("breaks off: ")
    assert report.noticed[1].text.startswith("its header claims 0 bytes of sound; ")


def test_hints_of_names_reach_files_that_are_indexed_and_nothing_is_embedded_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("Loop_120bpm.wav", "Pad_Am.wav", "plain.wav", "said_90bpm_Cm.wav")
    for number, name in enumerate(names):
        tone(bench.root / name, 200 + 50 * number)
    bench.tables("*.wav,full,Me\nsaid*.wav,full,Me,,91,C major")
    with monkeypatch.context() as before:
        before.setattr(facts, "hints_of", lambda path: NameHints())  # as an earlier version
        assert bench.run().indexed == 4
        assert bench.run().skipped == 4
    monkeypatch.setattr(bench.embedder, "embed_audio", lambda clips: pytest.fail("embedded"))
    report = bench.run()
    assert (report.updated, report.skipped) == (2, 2)
    found = {path: row.stem for path, row in bench.catalogue.files("night-shift").items()}
    assert {path: stem.bpm for path, stem in found.items()} == {
        "Loop_120bpm.wav": 120.0,
        "Pad_Am.wav": None,
        "plain.wav": None,
        "said_90bpm_Cm.wav": 91.0,
    }
    assert str(found["Pad_Am.wav"].key) == "A minor"
    assert bench.run().skipped == 4

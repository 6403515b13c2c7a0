"""``library check``: what would be indexed, and what each row of the table is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile

from indexer.inspection import InspectedFile, InspectJob, inspect_file, no_render
from indexer.measure import Refused
from indexer.preview import LibraryPreview, preview_library
from indexer.report import FileOutcome, Notice
from indexer.survey import Limits
from indexer.worker_processes import MeasuringProcesses
from rag_audio.domain import StemKind
from rag_audio.errors import LibraryError, UnreadableFile
from tests.indexer.conftest import TODAY, Bench
from tests.indexer.library import RATE, tone, write_tables


def score(path: Path) -> Path:
    made = mido.MidiFile()
    notes = [
        mido.Message("note_on", note=60, velocity=90, time=0),
        mido.Message("note_off", note=60, velocity=0, time=1920),
    ]
    made.tracks.append(mido.MidiTrack(notes))
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    return path


def look(root: Path, **options: Any) -> LibraryPreview:
    return preview_library(root, **{"workers": 0, "on": TODAY, **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    for name in ("Ann/1.wav", "Ann/2.wav", "Bo/3.wav", "old/4.wav", "none/5.wav"):
        tone(folder / name, 200 + 20 * int(name[-5]), seconds=2.0)
    score(folder / "Bo" / "6.mid")
    (folder / "Bo" / "7.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    (folder / "Bo" / "notes.txt").write_text("hello")
    (folder / "README").write_text("hello")
    (folder / ".DS_Store").touch()
    write_tables(
        folder,
        """
        **,full,Everybody
        Ann/**,full,Ann Orr
        Bo/**,words,Bo Lindt
        old/**,expired
        none/**,nonesuch
        nowhere/**,full
        Ann/*,full,,,1000
        """,
    )
    return folder


def test_it_counts_what_would_be_indexed_and_what_each_row_decides(root: Path) -> None:
    seen = look(root)
    assert (seen.files, seen.licenses, seen.kinds) == (
        4,
        {"full": 2, "words": 2},
        {"audio": 3, "midi": 1},
    )
    assert seen.artists == {"Ann Orr": 2, "Bo Lindt": 2}
    assert seen.seconds_of_sound == pytest.approx(8.0)
    assert [(row.number, row.path, row.files) for row in seen.rows] == [
        (2, "**", 0),
        (3, "Ann/**", 0),
        (4, "Bo/**", 3),
        (5, "old/**", 1),
        (6, "none/**", 1),
        (7, "nowhere/**", 0),
        (8, "Ann/*", 2),
    ]
    reasons = {one.path: one.reason for one in seen.rejected}
    assert set(reasons) == {"Bo/7.wav", "old/4.wav", "none/5.wav", "nowhere/**"}
    assert reasons["nowhere/**"] == "row 7 of stems.csv matches no file"
    assert {
        Notice("**", "row 2 of stems.csv decides about no file: more specific rows do"),
        Notice("Ann/**", "row 3 of stems.csv decides about no file: more specific rows do"),
    } <= set(seen.noticed)
    assert (seen.misdeclared, seen.is_unlicensed) == (1, False)
    assert seen.passed_over == [
        "1 file of the system and of other programs skipped: .DS_Store 1",
        "2 files without music skipped: .txt 1, no ending 1",
    ]


def test_it_foresees_what_the_indexer_does(
    bench: Bench, root: Path, quick: Callable[..., Any]
) -> None:
    bench.root = root
    seen, report = look(root), bench.run()
    assert seen.files == report.indexed
    assert {one.path for one in seen.rejected} == {one.path for one in report.rejected}
    assert (seen.junk, seen.other) == (report.junk, report.other)
    assert seen.misdeclared == report.misdeclared


def test_only_a_deep_look_hears_that_a_file_is_silent(
    root: Path, quick: Callable[..., Any]
) -> None:
    soundfile.write(root / "Ann" / "1.wav", np.zeros(RATE), RATE)
    assert look(root).files == 4
    deep = look(root, deep=True)
    assert (deep.files, deep.deep) == (3, True)
    assert ("Ann/1.wav", "it is silent") in {(one.path, one.reason) for one in deep.rejected}


def test_a_deep_look_tells_where_names_and_measurements_differ(
    root: Path, quick: Callable[..., Any]
) -> None:
    score(root / "Bo" / "6 95bpm.mid")
    (notice,) = [one for one in look(root, deep=True).noticed if one.path == "Bo/6 95bpm.mid"]
    assert notice.text == "its name says 95 bpm, the score 120 bpm: the score counts"


def test_nothing_but_faulty_licenses_is_a_fault(root: Path) -> None:
    write_tables(root, "**,nonesuch")
    seen = look(root)
    assert (seen.files, seen.misdeclared, seen.is_unlicensed) == (0, 8, True)
    (root / "stems.csv").unlink()
    with pytest.raises(LibraryError, match=r"stems\.csv is missing"):
        look(root)


def test_progress_is_told_file_by_file(root: Path) -> None:
    told: list[Any] = []

    class Progress:
        def started(self, files: int, skipped: int) -> None:
            told.append((files, skipped))

        def advanced(self, path: str, outcome: FileOutcome) -> None:
            told.append((path, outcome.value))

    look(root, progress=Progress())
    assert told == [
        (6, 0),
        ("Ann/1.wav", "readable"),
        ("Ann/2.wav", "readable"),
        ("Bo/3.wav", "readable"),
        ("Bo/6.mid", "readable"),
        ("Bo/7.wav", "rejected"),
        ("README", "rejected"),
    ]


def test_files_are_opened_in_a_process_of_their_own(root: Path) -> None:
    in_process, here = look(root, workers=1), look(root)
    assert in_process == here


def inspected(file: Path, longest: float = 3600.0) -> InspectedFile | Refused:
    return inspect_file(InspectJob(file, file.stat().st_size, longest))


def test_what_a_header_says_is_enough(tmp_path: Path) -> None:
    found = inspected(tone(tmp_path / "a.wav", seconds=1.5))
    assert found == InspectedFile(StemKind.AUDIO, 1.5)
    long = inspected(tone(tmp_path / "b.wav", seconds=1.5), 1.0)
    assert isinstance(long, Refused) and "over 1 s" in long.reason
    short = inspected(tone(tmp_path / "c.wav", seconds=0.005))
    assert short == Refused("it lasts 5 ms; a stem needs 10 ms")
    (tmp_path / "d.wav").write_bytes(b"no sound at all")
    refused = inspected(tmp_path / "d.wav")
    assert isinstance(refused, Refused) and str(tmp_path) not in refused.reason
    gone = inspect_file(InspectJob(tmp_path / "gone.wav", 1, 1.0))
    assert isinstance(gone, Refused)


def test_a_process_that_inspects_plays_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        no_render(tmp_path)
    with MeasuringProcesses(0, no_render) as processes:
        assert list(processes.inspected([])) == []


def test_limits_count_here_as_they_do_there(root: Path) -> None:
    seen = look(root, limits=Limits(max_bytes=20_000))
    assert {one.path for one in seen.rejected} >= {"Ann/1.wav", "Ann/2.wav", "Bo/3.wav"}


def test_each_song_of_a_score_of_type_2_would_be_a_stem(root: Path) -> None:
    made = mido.MidiFile(type=2)
    for note in (60, 64):
        on = mido.Message("note_on", note=note, velocity=90, time=0)
        off = mido.Message("note_off", note=note, velocity=0, time=960)
        made.tracks.append(mido.MidiTrack([on, off]))
    made.save(root / "Bo" / "album.mid")
    seen = look(root)
    assert (seen.files, seen.kinds["midi"]) == (6, 3)
    assert {row.path: row.files for row in seen.rows}["Bo/**"] == 4

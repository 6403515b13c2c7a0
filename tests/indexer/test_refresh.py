"""Refresh: unchanged files are measured anew, and none of them is embedded again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

import rag_audio
from indexer.build import REVOKED, UNREFRESHED, index_library
from indexer.measure import MEASURED_BY, Refused
from indexer.worker_processes import MeasuringProcesses
from rag_audio.audio import analysis
from rag_audio.domain import Audio
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import writing
from rag_audio.storage.landmarks import SqlLandmarks
from tests.indexer.conftest import TODAY, Bench
from tests.indexer.library import later_analysis, tone, write_tables
from tests.support.fakes import dump
from tests.support.rights_world import write_score

ALL = "**,full,The Band,,,,,,"
NAMES = ("a.wav", "b.wav", "score.mid")


def age(bench: Bench) -> None:
    """The home as a release left it that measured otherwise; the log knows of it."""
    rows = bench.catalogue.files("night-shift").values()
    bench.catalogue.put_files("night-shift", [replace(row, measured_by=0) for row in rows])
    bench.catalogue.seal("night-shift")
    with writing(bench.engine) as db:
        db.execute(text("DELETE FROM stem_landmarks"))
        db.execute(text("DELETE FROM stem_postings"))


def forbid_embedding(bench: Bench) -> None:
    bench.embedder.embed_audio = None  # type: ignore[assignment,method-assign]


def tempos(bench: Bench) -> dict[str, float | None]:
    return {path: row.stem.bpm for path, row in bench.catalogue.files("night-shift").items()}


@pytest.fixture
def library(bench: Bench, quick: object, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A library that an older release indexed, under one that measures more."""
    tone(bench.root / "a.wav", 220, seconds=12)
    tone(bench.root / "b.wav", 330, seconds=12)
    write_score(bench.root / "score.mid")
    bench.tables(ALL)
    bench.run()
    age(bench)
    monkeypatch.setattr(analysis, "analyse", later_analysis)
    return bench


def test_a_refresh_measures_everything_anew_and_keeps_every_vector(library: Bench) -> None:
    (was, vectors) = dump(library.index)
    forbid_embedding(library)
    report = library.run(refresh=True)
    assert (report.refreshed, report.updated, report.indexed, report.skipped) == (3, 3, 0, 0)
    assert (report.outdated, report.rejected, report.altered) == (0, (), ())
    assert {path: tempos(library)[path] for path in NAMES[:2]} == {"a.wav": 123.0, "b.wav": 123.0}
    (now, kept) = dump(library.index)
    assert [row[:1] for row in now] == [row[:1] for row in was]
    assert kept.tobytes() == vectors.tobytes()
    stems = {point.segment.stem.path: point.segment.stem for point in library.index.scroll()}
    assert stems == {p: row.stem for p, row in library.catalogue.files("night-shift").items()}
    assert SqlLandmarks(library.engine).ids() == {stem.id for stem in stems.values()}
    assert SqlLedger(library.engine).verify() == []


def test_a_second_refresh_does_nothing(library: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    library.run(refresh=True)
    rows, (points, _) = library.catalogue.files("night-shift"), dump(library.index)

    def never(*_: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr("indexer.worker_processes.measure", never)
    report = library.run(refresh=True)
    assert (report.refreshed, report.outdated, report.skipped, report.updated) == (0, 0, 3, 0)
    assert library.catalogue.files("night-shift") == rows
    assert dump(library.index)[0] == points


def test_a_plain_run_says_how_many_stems_are_older_and_leaves_them(library: Bench) -> None:
    library.run()  # landmarks
    report = library.run()
    assert (report.outdated, report.refreshed, report.skipped) == (3, 0, 3)
    assert tempos(library)["a.wav"] is None
    shutil.copy(library.root / "a.wav", library.root / "copy.wav")
    (library.root / "b.wav").unlink()
    assert library.run().outdated == 2, "one is gone, and the copy is measured"


def test_an_edited_row_is_measured_by_this_release(library: Bench) -> None:
    library.tables(f"{ALL}\na.wav,full,The Band,A Title,,,,,")
    report = library.run()
    assert (report.updated, report.outdated, report.refreshed) == (1, 2, 0)
    assert library.catalogue.files("night-shift")["a.wav"].measured_by == MEASURED_BY


def test_new_and_changed_files_are_indexed_by_the_same_run(library: Bench) -> None:
    tone(library.root / "b.wav", 700, seconds=2)
    tone(library.root / "new.wav", 900)
    report = library.run(refresh=True)
    assert (report.refreshed, report.indexed, report.outdated) == (2, 2, 0)


@pytest.mark.parametrize("touched", [False, True])
def test_a_file_that_cannot_be_measured_now_stays_as_it_was(
    library: Bench, monkeypatch: pytest.MonkeyPatch, touched: bool
) -> None:
    def fail(path: Path, **_: object) -> None:
        raise UnreadableFile(f"{path} needs ffmpeg")

    points, vectors = dump(library.index)
    if touched:
        os.utime(library.root / "a.wav", (1, 1))
    monkeypatch.setattr("indexer.measure.listen", fail)
    report = library.run(refresh=True)
    assert (report.refreshed, report.outdated) == (1, 2)
    assert library.reasons(report) == {
        path: UNREFRESHED.format(f"{path} needs ffmpeg") for path in ("a.wav", "b.wav")
    }
    again, kept = dump(library.index)
    assert len(again) == len(points)
    assert np.array_equal(kept, vectors)
    monkeypatch.undo()
    monkeypatch.setattr(analysis, "analyse", later_analysis)
    assert library.run(refresh=True).outdated == 0


def test_a_decoder_that_crashes_over_an_unchanged_file_costs_nothing(
    library: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(self: object, jobs: Any) -> Any:
        return ((tag, Refused("its decoder crashed")) for tag, _ in jobs)

    points, _ = dump(library.index)
    monkeypatch.setattr(MeasuringProcesses, "outcomes", crash)
    report = library.run(refresh=True)
    assert set(library.reasons(report)) == set(NAMES)
    assert dump(library.index)[0] == points


def test_a_length_that_is_heard_otherwise_now_keeps_the_windows_of_the_vectors(
    library: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another soundfont lets the last note ring longer."""
    forbid_embedding(library)
    points, _ = dump(library.index)

    def longer(path: Path) -> Audio:
        return Audio(np.full((1, 40 * 16_000), 0.1, np.float32), 16_000)

    monkeypatch.setattr("rag_audio.audio.midi.read", _lasting(40.0))
    report = library.run(refresh=True, render=longer)
    assert (report.refreshed, report.rejected) == (3, ())
    assert len(dump(library.index)[0]) == len(points)


def _lasting(seconds: float) -> Any:
    from rag_audio.audio.midi import read

    return lambda path: replace(read(path), duration_s=seconds)


def test_bytes_of_two_libraries_are_refreshed_in_each(library: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(library.root / "a.wav", other / "same.wav")
    licenses = (library.root / "library.toml").read_text().replace("Night Shift", "Other")
    write_tables(other, ALL, licenses)
    index_library(
        other,
        embedder=library.embedder,
        index=library.index,
        catalogue=library.catalogue,
        render=None,  # type: ignore[arg-type]  # it has no score
        workers=0,
        on=TODAY,
    )
    theirs = library.catalogue.files("other")
    stem = theirs["same.wav"].stem
    report = library.run(refresh=True)
    assert report.refreshed == 3
    assert library.catalogue.files("other") == theirs
    assert {point.segment.stem.library for point in library.index.find_stem(stem.id)} == {
        "other",
        "night-shift",
    }
    assert stem.id in SqlLandmarks(library.engine).ids()


def test_withheld_and_revoked_files_stay_out(library: Bench) -> None:
    stems = {stem.path: stem for stem in library.catalogue.stems()}
    gone = Revocation(RevocationOf.STEM, stems["a.wav"].id, "", "test", datetime.now(UTC))
    library.catalogue.revoke(gone)
    library.tables(f"{ALL}\nb.wav,expired,The Band,,,,,,")
    report = library.run(refresh=True)
    assert library.reasons(report)["a.wav"] == REVOKED
    assert (report.refreshed, report.outdated) == (2, 0)
    assert not library.index.find_stem(stems["a.wav"].id)
    assert not library.index.find_stem(stems["b.wav"].id)
    assert [one[1].path for one in library.catalogue.withheld_copies(stems["b.wav"].id)] == [
        "b.wav"
    ]
    assert library.run(refresh=True).refreshed == 0


def test_rows_that_were_changed_past_the_log_are_not_refreshed_but_made_anew(
    library: Bench,
) -> None:
    with writing(library.engine) as db:
        db.execute(text("""UPDATE files SET stem = replace(stem, 'The Band', 'Another')"""))
    report = library.run(refresh=True)
    assert report.altered[0] == "files"
    assert (report.indexed + report.updated, report.refreshed) == (3, 0)
    assert {row.measured_by for row in library.catalogue.files("night-shift").values()} == {
        MEASURED_BY
    }


def test_what_cannot_be_refreshed_is_told(tmp_path: Path) -> None:
    with (
        rag_audio.open(tmp_path / "home") as workspace,
        pytest.raises(InvalidInput, match="refresh must be analysis, got 'vectors'"),
    ):
        workspace.index(tmp_path, refresh="vectors")

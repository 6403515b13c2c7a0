"""What a run plans before it reads a file, and what of it is measured."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from indexer.licenses import Declared
from indexer.measure import MEASURED_BY, MeasuredFile, measure
from indexer.plan import (
    FEWEST_FILES,
    MOST_FILES,
    HeldLibrary,
    IndexPlan,
    JobMaker,
    PlannedFile,
    plan,
)
from indexer.scan import FoundFile
from rag_audio.audio import analysis, loops
from rag_audio.domain import Key, License, Rights, SampleType, Stem, StemKind
from rag_audio.domain.stems import AnalysisScope, FileState
from rag_audio.storage.library_files import FolderFiles
from tests.indexer.conftest import Bench, hum
from tests.indexer.library import tone
from tests.support.fakes import dump

LICENSE = License("full", "lib", "Holder", "LicenseRef-1", frozenset())
FULL, NONE = AnalysisScope.FULL, AnalysisScope.NONE
_TEXT = st.text(max_size=20)
PLANNED = st.builds(
    PlannedFile,
    st.builds(
        FoundFile, st.text(min_size=1, max_size=40), st.integers(0, 2**60), st.integers(0, 2**62)
    ),
    st.builds(
        Declared,
        license=st.just(LICENSE),
        artist=_TEXT,
        title=_TEXT,
        bpm=st.none() | st.floats(20, 400),
        key=st.none() | st.builds(Key, st.integers(0, 11), st.booleans()),
        tags=st.lists(_TEXT, max_size=3).map(tuple),
        isrc=st.sampled_from(["", "QZABC2600001"]),
        downbeat_s=st.none() | st.floats(0, 60),
    ),
    st.none() | st.just("a" * 64),
    *[st.booleans() for _ in range(5)],
)


def found(path: str) -> FoundFile:
    return FoundFile(path, 10, 20)


def planned(*paths: str) -> IndexPlan:
    accepted = [(found(path), Declared(license=LICENSE)) for path in paths]
    return plan(accepted, lambda paths: {}, held())


def held(**more: Any) -> HeldLibrary:
    given: dict[str, Any] = {"has": lambda stem: True, "without_landmarks": (), "space": "s"}
    return HeldLibrary(rights=Rights((), (), date(2026, 6, 1)), **{**given, **more})


@given(one=PLANNED)
def test_a_planned_file_is_the_same_after_it_was_written_down(one: PlannedFile) -> None:
    document = json.loads(json.dumps(one.to_json()))
    assert PlannedFile.of_json(document, {"full": LICENSE}) == one


@given(count=st.integers(0, 9000))
def test_every_file_is_in_one_shard_and_shards_are_bounded(count: int) -> None:
    one = PlannedFile(found("a.wav"), Declared(license=LICENSE))
    files = tuple(replace(one, known=str(n)) for n in range(count))
    shards = list(IndexPlan(files, 0, ()).shards())
    assert [file for shard in shards for file in shard] == list(files)
    assert all(1 <= len(shard) <= MOST_FILES for shard in shards)
    assert all(len(shard) >= FEWEST_FILES for shard in shards[:-1])


def test_rows_are_asked_for_by_pages_and_files_that_did_not_change_are_left_out() -> None:
    declared = Declared(license=LICENSE)
    stem = Stem("1" * 64, "lib", "x.wav", StemKind.AUDIO, "full", 1.0)
    rows = {
        f"{n:04}.wav": FileState(
            f"{n:04}.wav", 10, 20, declared.digest, "s", stem, measured_by=MEASURED_BY
        )
        for n in range(0, 1200, 2)
    }
    asked: list[int] = []

    def known(paths: Collection[str]) -> dict[str, FileState]:
        asked.append(len(paths))
        return {path: rows[path] for path in paths if path in rows}

    accepted = [(found(f"{n:04}.wav"), declared) for n in range(1200)]
    made = plan(accepted, known, held())
    assert asked == [500, 500, 200]
    assert made.skipped == 600
    assert [one.path for one in made.files] == [f"{n:04}.wav" for n in range(1, 1200, 2)]
    anew = plan(accepted, known, held(space="another"))
    assert (len(anew.files), anew.skipped) == (1200, 0)
    assert not any(one.unchanged for one in anew.files)


@pytest.mark.parametrize(
    ("scope", "declared", "path", "expected"),
    [
        (FULL, {}, "a.wav", {"tempo", "key", "rhythm"}),
        (FULL, {"bpm": 99.0}, "a.wav", {"key", "rhythm"}),
        (FULL, {"bpm": 99.0, "key": Key(3, True)}, "a.wav", {"rhythm"}),
        (FULL, {"bpm": 99.0, "key": Key(3, True)}, "Loops/a loop.wav", set()),
        (FULL, {"key": Key(3, True)}, "Loops/a loop.wav", {"tempo", "rhythm"}),
        (NONE, {}, "a.wav", set()),
    ],
)
def test_what_is_said_of_a_file_is_not_estimated(
    scope: AnalysisScope,
    declared: dict[str, Any],
    path: str,
    expected: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome, called = measured(scope, declared, path, tmp_path, monkeypatch)
    assert called == expected
    assert outcome.is_partial == (scope is NONE)
    assert outcome.landmarks is not None and outcome.sound is not None
    assert outcome.loudness_lufs is not None


def test_what_the_tags_of_a_file_say_is_not_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "indexer.measure._read_tags", lambda file: Declared(license=LICENSE, bpm=88.0)
    )
    outcome, called = measured(FULL, {}, "a.wav", tmp_path, monkeypatch)
    assert called == {"key", "rhythm"}
    assert outcome.tags.bpm == 88.0


def measured(
    scope: AnalysisScope,
    declared: dict[str, Any],
    path: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[MeasuredFile, set[str]]:
    """A file of 4 s as it is measured, and which estimates were made of it."""
    called: set[str] = set()
    watch = [(analysis, "find_pulse", "tempo"), (analysis, "_key", "key")]
    for module, name, what in [*watch, (loops, "find_rhythm", "rhythm")]:
        real = getattr(module, name)

        def counted(*given: Any, real: Any = real, what: str = what) -> Any:
            called.add(what)
            return real(*given)

        monkeypatch.setattr(module, name, counted)
    status = tone(root / path, seconds=4.0).stat()
    one = PlannedFile(
        FoundFile(path, status.st_size, status.st_mtime_ns), Declared(license=LICENSE, **declared)
    )
    jobs = JobMaker(FolderFiles(root), 16_000, 60.0, scope, root)
    outcome = measure(jobs.job(one), hum)
    assert isinstance(outcome, MeasuredFile)
    return outcome, called


def test_a_declared_file_is_indexed_as_if_all_had_been_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone(bench.root / "Loops" / "a loop.wav", seconds=4.0)
    tone(bench.root / "b.wav", seconds=12.0)
    bench.tables("**,full,The Band,,96,A minor,,,")
    bench.run()
    rows, _ = dump(bench.index)
    whole = JobMaker.job

    def measuring_all(maker: JobMaker, one: PlannedFile) -> Any:
        return replace(whole(maker, one), tempo=True, key=True, is_named_loop=False)

    monkeypatch.setattr(JobMaker, "job", measuring_all)
    again = Bench(bench.root, bench.engine)
    again.index.delete([row[0] for row in rows])
    again.run()
    assert dump(again.index)[0] == rows


@pytest.mark.usefixtures("quick")
def test_without_analysis_a_file_is_measured_in_full_by_a_later_run(bench: Bench) -> None:
    tone(bench.root / "a.wav", seconds=4.0)
    bench.tables("**,full,The Band,,,,,,")
    report = bench.run(analysis=NONE)
    (row,) = bench.catalogue.files("night-shift").values()
    assert (report.indexed, report.outdated) == (1, 1)
    assert (row.stem.sample_type, row.stem.bpm, row.measured_by) == (None, None, 0)
    vectors = dump(bench.index)[1]
    assert bench.run().skipped == 1, "nothing is measured again unless somebody asks for it"
    report = bench.run(refresh=True)
    (row,) = bench.catalogue.files("night-shift").values()
    assert (report.refreshed, report.outdated, row.measured_by) == (1, 0, MEASURED_BY)
    assert row.stem.sample_type in set(SampleType)
    assert dump(bench.index)[1].tobytes() == vectors.tobytes()


def test_a_run_without_analysis_hears_no_tempo_and_no_key(bench: Bench) -> None:
    root = bench.root
    tone(root / "a.wav", seconds=4.0)
    bench.tables("**,full,The Band,,,,,,")
    bench.run(analysis=NONE)
    (row,) = bench.catalogue.files("night-shift").values()
    assert (row.stem.bpm, row.stem.key) == (None, None)
    assert soundfile.info(root / "a.wav").duration == row.stem.duration_s

"""What ``rag-audio index`` prints for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rag_audio
from indexer.report import IndexReport, Notice
from rag_audio.cli.app import run
from rag_audio.cli.index import show_refresh, show_report
from tests.indexer.library import tone, write_tables


def test_the_counts_of_a_run_stand_on_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(IndexReport(3, 12, 0, 0, 15, (), 1.0))
    row = next(line for line in capsys.readouterr().out.splitlines() if "12" in line)
    assert row.split("│")[1:3] == ["       3 ", "      12 "]


def test_many_notices_of_one_text_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    same = [Notice(f"{number:02}.m4a", "decoded by ffmpeg") for number in range(40)]
    other = [Notice(f"x{number}.wav", "breaks off after 3.00 s") for number in range(2)]
    show_report(IndexReport(42, 0, 0, 0, 42, (), 1.0, noticed=(*same, *other)))
    said = capsys.readouterr().out
    assert "00.m4a and 39 more" in said and said.count("decoded by ffmpeg") == 1
    assert "x0.wav" in said and "x1.wav" in said


def test_files_of_the_system_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    junk = {".DS_Store": 8, "._*": 4, ".asd": 2}
    show_report(IndexReport(1, 0, 0, 0, 1, (), 1.0, junk=junk, other={".pdf": 1}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "14 files of the system and of other programs skipped: .DS_Store 8, ._* 4, .asd 2",
        "1 file without music skipped: .pdf 1",
    ]


@pytest.mark.parametrize(
    ("asked", "refreshed", "outdated", "line"),
    [
        (False, 0, 7, "7 stems were measured by an older release or with --analysis none; index"),
        (True, 7, 0, "7 unchanged files were measured anew, none embedded again"),
        (True, 0, 0, "every stem was measured by this release: there was nothing to refresh"),
        (False, 0, 0, ""),
    ],
)
def test_stems_of_an_older_release_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], asked: bool, refreshed: int, outdated: int, line: str
) -> None:
    report = IndexReport(0, 7, 0, 0, 9, (), 1.0, refreshed=refreshed, outdated=outdated)
    show_refresh(report, asked=asked)
    said = capsys.readouterr().out
    assert said.startswith(line) and bool(said) == bool(line)


def test_nothing_is_estimated_with_analysis_none_until_a_refresh(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    library, home = tmp_path / "library", tmp_path / "home"
    tone(library / "a.wav", seconds=4.0)
    write_tables(library, "**,full,The Band,,,,,,")

    def indexed(*options: str) -> dict[str, int]:
        capfd.readouterr()
        assert run(["index", str(library), "--home", str(home), "--json", *options]) == 0
        report: dict[str, int] = json.loads(capfd.readouterr().out)
        return report

    report = indexed("--analysis", "none")
    assert (report["indexed"], report["outdated"]) == (1, 1)
    with rag_audio.open(home) as workspace:
        (stem,) = workspace.home.catalogue.stems()
    assert (stem.bpm, stem.key, stem.sample_type) == (None, None, None)
    report = indexed("--refresh", "analysis")
    assert (report["refreshed"], report["outdated"], report["indexed"]) == (1, 0, 0)
    with rag_audio.open(home) as workspace:
        (stem,) = workspace.home.catalogue.stems()
    assert stem.sample_type is not None


def test_an_engine_or_a_scope_that_is_not_known_is_refused_in_a_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for option in ("--engine", "--analysis"):
        assert run(["index", str(tmp_path), option, "some"]) == 2
        assert "'some' is not one of" in " ".join(capfd.readouterr().err.split())

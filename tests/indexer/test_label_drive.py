"""A label's drive indexed in one go: of every file the script knows what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial

import pytest

from indexer.build import index_library
from indexer.report import IndexReport
from rag_audio.audio import midi
from rag_audio.domain.stems import FileState
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.resources import data_dir
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.label_drive import Drive, Expected, Fate, write_drive

pytestmark = pytest.mark.xdist_group("label drive")


@dataclass(frozen=True)
class Indexed:
    """A drive that was indexed, and what came of it."""

    drive: Drive
    report: IndexReport
    states: dict[str, FileState]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexed]:
    base = tmp_path_factory.mktemp("label")
    drive = write_drive(base / "drive")
    engine = connect(sqlite_url(base / "home" / "ledger.db"))
    catalogue = SqlCatalogue(engine, SqlRightsLog())
    soundfont = next(data_dir("soundfont").glob("*.sf2"))
    report = index_library(
        drive.root,
        embedder=FakeEmbedder(),
        index=FakeIndex(),
        catalogue=catalogue,
        render=partial(midi.render, soundfont=soundfont),
        workers=2,
        on=date(2026, 6, 1),
    )
    yield Indexed(drive, report, dict(catalogue.files("drive")))
    engine.dispose()


def faults_of(texts: dict[str, list[str]], expected: list[Expected]) -> list[str]:
    """Where what was said is not what should have been."""
    faults = []
    for one in expected:
        said = texts.get(one.path, [])
        missing = [part for part in one.says if not any(part in text for text in said)]
        if missing or bool(said) != bool(one.says):
            faults.append(f"{one.path}: {list(one.says)} was expected, and {said} said")
    return faults


def test_counts_are_those_that_the_script_knows(indexed: Indexed) -> None:
    drive, report = indexed.drive, indexed.report
    assert len(drive.expected) >= 280
    assert report.indexed == sum(one.stems for one in drive.of(Fate.INDEXED))
    about_files = {item.path for item in report.rejected if item.path not in drive.lost}
    assert about_files == {one.path for one in drive.of(Fate.REJECTED)}
    assert (report.skipped, report.updated, report.pruned) == (0, 0, 0)


def test_every_rejected_file_is_named_with_its_reason(indexed: Indexed) -> None:
    said = {item.path: [item.reason] for item in indexed.report.rejected}
    assert not faults_of(said, indexed.drive.of(Fate.REJECTED))
    assert all("\n" not in item.reason for item in indexed.report.rejected)


def test_every_odd_file_has_its_notice_and_no_other_has_one(indexed: Indexed) -> None:
    said: dict[str, list[str]] = {}
    for notice in indexed.report.noticed:
        said.setdefault(notice.path, []).append(notice.text)
        assert "\n" not in notice.text
    assert not faults_of(said, indexed.drive.of(Fate.INDEXED))


def test_junk_is_counted_in_one_line(indexed: Indexed) -> None:
    count = len(indexed.drive.of(Fate.JUNK))
    lines = [notice for notice in indexed.report.noticed if notice.path == "."]
    assert len(lines) == 1 and lines[0].text.startswith(f"{count} ")


def test_the_table_s_odd_cells_are_named(indexed: Indexed) -> None:
    said = " ".join(n.text for n in indexed.report.noticed if n.path == "stems.csv")
    for cell in indexed.drive.row_notices:
        assert repr(cell) in said


def test_what_is_known_of_each_file_is_right(indexed: Indexed) -> None:
    faults = []
    for one in indexed.drive.of(Fate.INDEXED):
        if one.stems != 1 or one.path not in indexed.states:
            continue
        stem = indexed.states[one.path].stem
        for name, wanted, found in (
            ("artist", one.artist, stem.artist),
            ("title", one.title, stem.title),
            ("bpm", one.bpm, stem.bpm),
            ("key", one.key, None if stem.key is None else str(stem.key)),
            ("seconds", one.seconds, stem.duration_s),
        ):
            if wanted is None:
                continue
            close = {"bpm": 0.05, "seconds": 0.12}.get(name)
            same = wanted == found
            if close is not None and isinstance(found, float):
                same = abs(float(wanted) - found) <= close
            if not same:
                faults.append(f"{one.path}: {name} is {found!r}, not {wanted!r}")
    assert not faults


def test_the_second_run_has_nothing_to_do(indexed: Indexed) -> None:
    """Notices and rejections are of what was read; files that did not change are not read."""
    assert set(indexed.states) >= {
        one.path for one in indexed.drive.of(Fate.INDEXED) if one.stems == 1
    }

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
from tests.indexer.library import use_quick_analysis
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
    with pytest.MonkeyPatch.context() as patch:
        use_quick_analysis(patch.setattr)
        report = _indexed(drive, catalogue)
    yield Indexed(drive, report, dict(catalogue.files("drive")))
    engine.dispose()


def _indexed(drive: Drive, catalogue: SqlCatalogue) -> IndexReport:
    soundfont = next(data_dir("soundfont").glob("*.sf2"))
    return index_library(
        drive.root,
        embedder=FakeEmbedder(),
        index=FakeIndex(),
        catalogue=catalogue,
        render=partial(midi.render, soundfont=soundfont),
        workers=0,
        on=date(2026, 6, 1),
    )


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
    assert len(drive.expected) >= 285
    # The link has the bytes of another file, which are embedded once.
    assert (report.indexed, report.updated) == (len(drive.of(Fate.INDEXED)) - 1, 1)
    about_files = {item.path for item in report.rejected if item.path not in drive.lost}
    assert about_files == {one.path for one in drive.of(Fate.REJECTED)}
    assert (report.skipped, report.pruned) == (0, 0)


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


def test_what_is_no_music_is_counted_and_not_named(indexed: Indexed) -> None:
    drive, report = indexed.drive, indexed.report
    assert sum(report.junk.values()) == len(drive.of(Fate.JUNK))
    assert sum(report.other.values()) == len(drive.of(Fate.OTHER))
    named = {item.path for item in (*report.rejected, *report.noticed)}
    assert not named & {one.path for one in (*drive.of(Fate.JUNK), *drive.of(Fate.OTHER))}


def test_the_table_s_odd_cells_are_named(indexed: Indexed) -> None:
    said = " ".join(n.text for n in indexed.report.noticed if n.path == "stems.csv")
    for cell in indexed.drive.row_notices:
        assert repr(cell) in said
    assert "'**') is less specific than" in said and "Windows-1252" in said


def test_what_is_known_of_each_file_is_right(indexed: Indexed) -> None:
    faults = []
    for one in indexed.drive.of(Fate.INDEXED):
        if one.path not in indexed.states:
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

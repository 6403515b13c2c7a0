"""What an index run leaves in the log, and what it does with rows that the log does not know."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from indexer.build import IndexReport
from rag_audio.cli import index
from rag_audio.cli.app import run as command
from rag_audio.domain import Audio
from rag_audio.domain.codec import Document
from rag_audio.errors import LedgerTampered
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.catalogue import SqlCatalogue
from tests.indexer.conftest import Bench
from tests.indexer.library import LICENSES, tone
from tests.support.fakes import FakeEmbedder, dump

pytestmark = pytest.mark.usefixtures("quick")

NAMES = ("a.wav", "b.wav", "sub/c.wav", "old.wav", "twin.wav")
ROWS = """
a.wav,full,The Band,,,,,,
twin.wav,words,The Band,,,,,,
b.wav,full,The Band,,,,,,
sub/*.wav,full,The Band,,,,,,
old.wav,expired,Somebody,,,,,,
"""


@pytest.fixture
def indexed(bench: Bench) -> Bench:
    for i, name in enumerate(NAMES):
        tone(bench.root / name, 220 if name == "twin.wav" else 220 + 30 * i)
    bench.tables(ROWS)
    assert bench.run().indexed == 3, "a.wav and twin.wav have the same bytes"
    return bench


def ledger(bench: Bench) -> SqlLedger:
    return SqlLedger(bench.engine)


def held(bench: Bench) -> tuple[object, ...]:
    """What index and catalogue hold, comparable."""
    rows, vectors = dump(bench.index)
    return rows, vectors.tolist(), dict(bench.catalogue.files("night-shift"))


def events(bench: Bench) -> list[Document]:
    return [dict(one.document) for one in ledger(bench).events("library")]


def tamper(bench: Bench, *statements: str) -> None:
    """As somebody does who has the file."""
    with closing(sqlite3.connect(str(bench.engine.url.database))) as db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement
        db.commit()


class Broken(RuntimeError):
    """Stands for a process that is killed."""


def break_at(bench: Bench, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """The embedder fails at this batch of the next run."""
    own, seen = bench.embedder.embed_audio, []

    def embed(clips: Sequence[Audio]) -> object:
        seen.append(len(clips))
        if len(seen) > batch:
            raise Broken
        return own(clips)

    monkeypatch.setattr(bench.embedder, "embed_audio", embed)
    monkeypatch.setattr("indexer.build.BATCH_FILES", 1)


def test_a_first_run_is_three_events_and_one_that_changes_nothing_is_none(indexed: Bench) -> None:
    first, granted, last = events(indexed)
    assert first == {"library": "night-shift", "state": "changing"}
    assert (granted["state"], granted["licenses"]) == ("changing", last["licenses"])
    assert (last["library"], last["state"]) == ("night-shift", "sealed")
    assert (last["files"]["count"], last["withheld"]["count"]) == (4, 1)
    assert set(last["licenses"]) == {"full", "words", "expired", "future", "nothing"}
    assert last["licenses"]["full"]["holder"] == "Night Shift Recordings"
    assert "found" not in last
    size = ledger(indexed).size()
    for _ in range(2):
        assert indexed.run().altered == ()
    assert ledger(indexed).size() == size
    assert (ledger(indexed).verify(), ledger(indexed).notes()) == ([], [])


def test_what_changes_is_sealed_anew(indexed: Bench) -> None:
    before = events(indexed)[-1]
    indexed.tables(ROWS.replace("The Band", "Another"), LICENSES.replace("AI-1", "AI-9"))
    (indexed.root / "b.wav").unlink()
    assert indexed.run(prune=True).pruned == 1
    after = events(indexed)[-1]
    assert len(events(indexed)) == 5, "licenses and changing in one"
    assert after["files"]["count"] == before["files"]["count"] - 1
    assert after["licenses"]["full"]["spdx"].endswith("AI-9")
    assert (ledger(indexed).verify(), ledger(indexed).notes()) == ([], [])


def test_a_run_that_rejects_files_seals_the_others(bench: Bench) -> None:
    tone(bench.root / "good.wav")
    (bench.root / "bad.wav").write_bytes(b"no sound")
    bench.tables("**,full,The Band,,,,,,")
    assert [one.path for one in bench.run().rejected] == ["bad.wav"]
    assert events(bench)[-1]["files"]["count"] == 1
    assert (ledger(bench).verify(), ledger(bench).notes()) == ([], [])


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_run_that_breaks_off_is_a_note_until_one_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    for i, name in enumerate(("a.wav", "b.wav", "c.wav")):
        tone(bench.root / name, 220 + 30 * i)
    bench.tables("**,full,The Band,,,,,,")
    with monkeypatch.context() as patch:
        break_at(bench, patch, batch)
        with pytest.raises(Broken):
            bench.run()
    assert ledger(bench).verify() == []
    (note,) = ledger(bench).notes()
    assert "library night-shift: an index run that began at entry 1" in note
    report = bench.run()
    assert (report.indexed, report.skipped, report.altered) == (3 - batch, batch, ())
    assert (ledger(bench).verify(), ledger(bench).notes()) == ([], [])
    assert [one["state"] for one in events(bench)] == ["changing", "changing", "sealed"]


GHOST = (
    "INSERT INTO files SELECT library, 'ghost.wav', size, mtime_ns, declared, space, "
    "replace(stem_id, substr(stem_id, 1, 4), 'ffff'), artist, stem, decision FROM files "
    "WHERE path = 'b.wav'"
)
TAMPERED = {
    "a licensed artist": (
        "UPDATE files SET artist = 'x', stem = replace(stem, 'The Band', 'Big Star')",
        ("files", "conflicts"),
    ),
    "a stem that is none": ("UPDATE files SET stem = 'x' WHERE path = 'a.wav'", ("files",)),
    "a file that is not there": (GHOST, ("files",)),
    "no file at all": ("DELETE FROM files", ("files",)),
    "another time": ("UPDATE files SET mtime_ns = mtime_ns + 1", ("files",)),
    "what was withheld": ("DELETE FROM withheld_files", ("withheld",)),
    "another owner": ("UPDATE withheld_files SET license = 'full'", ("withheld",)),
    "more uses": (
        "UPDATE licenses SET license = replace(license, '\"prompt\"', '\"train\"')",
        ("license_rows",),
    ),
    "one license more": (
        "INSERT INTO licenses SELECT library, 'more', license FROM licenses WHERE id = 'full'",
        ("license_rows",),
    ),
    "another name": ("UPDATE libraries SET name = 'x'", ("row",)),
    "no salt": ("UPDATE libraries SET salt = NULL", ("row",)),
    "no conflict": ("DELETE FROM conflicts", ("conflicts",)),
    "a conflict settled": ("UPDATE conflicts SET decision = 'night-shift/full'", ("conflicts",)),
}


@pytest.mark.parametrize("what", sorted(TAMPERED))
def test_rows_that_were_changed_are_not_taken_for_measured(indexed: Bench, what: str) -> None:
    statement, parts = TAMPERED[what]
    before = held(indexed)
    tamper(indexed, statement)
    faults = ledger(indexed).verify()
    assert faults
    report = indexed.run()
    assert set(parts) <= set(report.altered)
    if {"files", "withheld"} & set(report.altered):
        assert (report.indexed, report.skipped) == (3, 0), "measured and embedded anew"
    else:
        assert (report.indexed, report.updated, report.skipped) == (0, 0, 4)
    assert ", ".join(report.altered) in report.alteration
    assert held(indexed) == before
    assert ledger(indexed).verify() == []
    rows = set(report.altered) - {"conflicts"}
    assert set(events(indexed)[-1].get("found", ())) == rows
    assert ("changed past the log" in "".join(ledger(indexed).notes())) == bool(rows)
    size = ledger(indexed).size()
    assert (indexed.run().altered, ledger(indexed).size()) == ((), size)


def test_a_run_that_breaks_off_does_not_make_changed_rows_right(
    indexed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes rows, starts a run and kills it, so that the log says "changing"."""
    tamper(indexed, GHOST, "UPDATE files SET stem = replace(stem, 'The Band', 'Big Star')")
    with monkeypatch.context() as patch:
        break_at(indexed, patch, 0)
        with pytest.raises(Broken):
            indexed.run()
    assert indexed.run().indexed == 3
    assert "ghost.wav" not in indexed.catalogue.files("night-shift")
    assert {one.artist for one in indexed.catalogue.stems()} == {"The Band"}
    assert {"files"} <= set(events(indexed)[-1]["found"])
    assert ledger(indexed).verify() == []


def test_a_library_that_the_log_does_not_know_is_measured(indexed: Bench) -> None:
    """Its rows were put there past the log: here by a catalogue without one."""
    other = SqlCatalogue(indexed.engine)
    other.put_library("other", "Other", "/nowhere")
    (fault,) = ledger(indexed).verify()
    assert (fault.seq, "library other" in fault.what) == (0, True)
    assert indexed.catalogue.begin("other") == ("row", "license_rows", "files", "withheld")
    indexed.catalogue.seal("other")
    assert ledger(indexed).verify() == []


def test_damaged_rows_of_another_library_are_told(indexed: Bench) -> None:
    tamper(
        indexed,
        "UPDATE files SET stem = 'x' WHERE path = 'twin.wav'",
        "UPDATE licenses SET license = license || ' '",
    )
    with pytest.raises(LedgerTampered, match="a row of a file is damaged"):
        indexed.catalogue.begin("other")
    assert ledger(indexed).verify() != []


def test_the_command_says_in_a_line_that_rows_were_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = IndexReport(1, 0, 0, 0, 1, (), 0.1, altered=("files",))
    parts = SimpleNamespace(embedder=FakeEmbedder())

    @contextmanager
    def opened(home: Path | None = None) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(home=parts, index=lambda *given, **options: report)

    monkeypatch.setattr(index, "open_workspace", opened)
    assert command(["index", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["altered"] == ["files"]
    assert report.alteration and report.alteration in " ".join(said.err.split())

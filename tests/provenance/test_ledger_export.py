"""The log as a file: verified without the database, and sensitive to every byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.provenance.ledger.export import verify_export, write_export
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.signed_notes import signing_key
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import record


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    made = SqlLedger(connect(sqlite_url(tmp_path / "ledger.db")), tmp_path / "ledger.key")
    for _ in range(3):
        number = made.next_output_id()
        made.append(record(number, sources=(), request={"prompt": "dusty wedding"}, plan={}))
    made.append_event("influence", {"output": 2, "causal": [0.25]})
    return made


def test_an_export_is_verified_without_the_database(ledger: SqlLedger, tmp_path: Path) -> None:
    old = ledger.checkpoint()
    ledger.append_event("refusal", {"rule": "name"})
    file = write_export(ledger, tmp_path / "out")
    assert file == tmp_path / "out" / "ledger.jsonl"
    for place in (file, tmp_path / "out"):
        report = verify_export(place, [old], ledger.verifier_key())
        assert (report.entries, report.root, report.faults) == (6, ledger.root(), [])
    assert b"wedding" not in file.read_bytes()


def test_an_erased_output_does_not_hinder_an_export(ledger: SqlLedger, tmp_path: Path) -> None:
    ledger.erase(1)
    assert verify_export(write_export(ledger, tmp_path / "a.jsonl")).faults == []


def test_every_single_byte_of_an_export_counts(tmp_path: Path) -> None:
    ledger = SqlLedger(connect("sqlite://"), tmp_path / "ledger.key")
    small = record(ledger.next_output_id(), sources=(), plan={}, versions={})
    ledger.append(small)
    ledger.append_event("influence", {"output": 1})
    file = write_export(ledger, tmp_path / "a.jsonl")
    whole = file.read_bytes()
    missed = []
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 7)
        file.write_bytes(changed)
        if not verify_export(file).faults:
            missed.append(place)
    assert missed == []


@pytest.mark.parametrize("keep", [0, 1, 2, 4])
def test_an_export_that_breaks_off_is_found(ledger: SqlLedger, tmp_path: Path, keep: int) -> None:
    file = write_export(ledger, tmp_path / "a.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:keep]))
    assert verify_export(file).faults
    file.write_bytes(b"".join(lines)[:-5])
    assert verify_export(file).faults
    file.write_bytes(b"".join([*lines, lines[-1]]))
    assert verify_export(file).faults


def test_an_export_of_another_log_is_not_taken_for_this_one(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    file = write_export(ledger, tmp_path / "a.jsonl")
    stranger = str(signing_key(bytes(32)).verifier)
    (fault,) = verify_export(file, key=stranger).faults
    assert "another key" in fault.what
    other = SqlLedger(connect("sqlite://"), tmp_path / "ledger.key")
    other.append(record(other.next_output_id()))
    (fault,) = verify_export(file, [other.checkpoint()]).faults
    assert (fault.seq, "not those of the checkpoint" in fault.what) == (2, True)


def test_a_checkpoint_newer_than_the_export_is_a_fault(ledger: SqlLedger, tmp_path: Path) -> None:
    file = write_export(ledger, tmp_path / "a.jsonl")
    ledger.append_event("refusal", {})
    (fault,) = verify_export(file, [ledger.checkpoint()]).faults
    assert fault.what == "the checkpoint is of 6 entries, the export 5"


def test_what_is_no_export_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        verify_export(tmp_path / "none")
    (tmp_path / "song.wav").write_bytes(b"RIFF" * 100)
    assert verify_export(tmp_path / "song.wav").faults
    with pytest.raises(InvalidInput, match="verifier key"):
        verify_export(tmp_path / "song.wav", key="nonsense")


def test_an_export_that_cannot_be_written_leaves_nothing(ledger: SqlLedger, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_export(ledger, tmp_path / "file" / "a.jsonl")

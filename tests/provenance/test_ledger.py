from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from rag_audio.errors import InvalidInput, LedgerError
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.output_queries import OutputFilter
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import digest, encode_record, record, source
from tests.support.tampering import tampering

TABLES = ("ledger_entries", "ledger_outputs", "ledger_sources", "ledger_hashes", "ledger_private")
NEVER_CHANGED = {
    "ledger_entries": "seq",
    "ledger_nodes": "place",
    "ledger_outputs": "seq",
    "ledger_sources": "seq",
    "ledger_hashes": "seq",
}


def open_ledger(path: Path) -> SqlLedger:
    return SqlLedger(connect(sqlite_url(path)))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A ledger of five entries."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    for name in "abcde":
        ledger.append(record(ledger.next_output_id(), source(name), source("all")))
    assert ledger.verify() == []
    return path


def remove(db: sqlite3.Connection, where: str) -> None:
    """Delete an entry and its rows in the side tables, as a careful forger would."""
    for table in TABLES:
        db.execute(f"DELETE FROM {table} WHERE {where}")  # noqa: S608


def renumber(db: sqlite3.Connection, old: int, new: int) -> None:
    for table in TABLES:
        db.execute(f"UPDATE {table} SET seq = {new} WHERE seq = {old}")  # noqa: S608


def faults(path: Path) -> dict[int, str]:
    return {fault.seq: fault.what for fault in open_ledger(path).verify()}


@pytest.mark.parametrize("table", NEVER_CHANGED)
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {0} SET {1} = {1} + 100"])
def test_the_database_refuses_to_change_what_was_written(
    written: Path, table: str, statement: str
) -> None:
    with (
        closing(sqlite3.connect(written)) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(statement.format(table, NEVER_CHANGED[table]))
    assert faults(written) == {}


def test_an_edited_document_is_found(written: Path) -> None:
    with tampering(written) as db:
        db.execute(
            "UPDATE ledger_entries SET document = "
            "CAST(replace(CAST(document AS TEXT), 'boom bap', 'boom bop') AS BLOB) WHERE seq = 3"
        )
    assert list(faults(written)) == [3]


def test_a_forger_who_forgets_nothing_but_the_tree_is_found(written: Path) -> None:
    ledger = open_ledger(written)
    forged = encode_record(record(3, source("forged")))
    with tampering(written) as db:
        db.execute(
            "UPDATE ledger_entries SET document = ?, leaf_hash = ? WHERE seq = 3",
            (forged, sha256(b"\x00" + forged).hexdigest()),
        )
    assert 3 in {fault.seq for fault in ledger.verify()}


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_removed_entry_is_found(written: Path, seq: int) -> None:
    with tampering(written) as db:
        remove(db, f"seq = {seq}")
    assert "missing" in faults(written)[seq]


def test_a_ledger_cut_off_at_the_end_is_found(written: Path) -> None:
    with tampering(written) as db:
        remove(db, "seq > 2")
    assert "3 to 5 are missing" in faults(written)[3]


def test_an_emptied_ledger_is_found(written: Path) -> None:
    with tampering(written) as db:
        remove(db, "TRUE")
    assert "1 to 5 are missing" in faults(written)[1]


def test_two_entries_in_another_order_are_found(written: Path) -> None:
    with tampering(written) as db:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            renumber(db, old, new)
    found = faults(written)
    assert min(found) == 1
    assert found[1] == "entries 1 to 2 are not those that the tree holds"


def test_entries_closed_up_over_a_gap_are_found(written: Path) -> None:
    with tampering(written) as db:
        remove(db, "seq = 2")
        for seq in (3, 4, 5):
            renumber(db, seq, seq - 1)
    assert {1, 5} <= set(faults(written))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_sources SET artist = 'somebody else' WHERE seq = 4 AND position = 0",
        "UPDATE ledger_sources SET stem = 'x' WHERE seq = 4 AND position = 1",
        "DELETE FROM ledger_sources WHERE seq = 4",
        "DELETE FROM ledger_sources WHERE seq = 4 AND position = 1",
        "INSERT INTO ledger_sources VALUES (4, 2, 'x', 'x', 'x', 'x', 'x')",
        "UPDATE ledger_entries SET kind = 'refusal' WHERE seq = 4",
        "UPDATE ledger_private SET salt = zeroblob(32) WHERE seq = 4",
        "UPDATE ledger_private SET texts = CAST(replace(CAST(texts AS TEXT), 'dusty', 'muddy') "
        "AS BLOB) WHERE seq = 4",
        "UPDATE ledger_private SET texts = CAST('{}' AS BLOB) WHERE seq = 4",
        "DELETE FROM ledger_private WHERE seq = 4",
        "UPDATE ledger_hashes SET sha256 = 'x' WHERE seq = 4 AND what = 'marked'",
        "UPDATE ledger_entries SET output = 77 WHERE seq = 4",
        "UPDATE ledger_entries SET leaf_hash = upper(leaf_hash) WHERE seq = 4",
        "UPDATE ledger_entries SET document = 'text' WHERE seq = 4",
        "UPDATE ledger_entries SET document = X'FF' WHERE seq = 4",
    ],
)
def test_an_edited_column_or_side_table_is_found(written: Path, statement: str) -> None:
    with tampering(written) as db:
        assert db.execute(statement).rowcount >= 1
    assert 4 in faults(written)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_tree SET size = 4",
        "UPDATE ledger_tree SET size = 6",
        "UPDATE ledger_tree SET root = 'x'",
        "UPDATE ledger_tree SET peaks = zeroblob(64)",
        "DELETE FROM ledger_tree",
        "INSERT INTO ledger_tree SELECT 2, size, root, peaks FROM ledger_tree",
        "UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 2",
        "UPDATE ledger_nodes SET place = 9 WHERE level = 2",
        "DELETE FROM ledger_nodes WHERE level = 2",
        "INSERT INTO ledger_nodes VALUES (7, 0, zeroblob(32))",
        "UPDATE ledger_counter SET last_output = 6",
        "DELETE FROM ledger_counter",
        "INSERT INTO ledger_private VALUES (9, zeroblob(32), CAST('{}' AS BLOB))",
        "INSERT INTO ledger_entries VALUES (0, 'refusal', NULL, 'x', zeroblob(3))",
        "UPDATE ledger_counter SET last_output = 2",
        "INSERT INTO ledger_sources VALUES (9, 0, 'x', 'x', 'x', 'x', 'x')",
        "INSERT INTO ledger_hashes VALUES (9, 'pcm', 'x')",
    ],
)
def test_an_edited_state_or_a_stray_row_is_found(written: Path, statement: str) -> None:
    ledger = open_ledger(written)
    with tampering(written) as db:
        db.execute(statement)
    assert ledger.verify() != []


def test_a_record_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.db")
    number = ledger.next_output_id()
    with pytest.raises(LedgerError, match="cannot be written"):
        ledger.append(record(number, request={"prompt": object()}))
    assert ledger.outputs() == []
    assert ledger.append(record(number)).seq == 1
    assert ledger.verify() == []


def test_the_root_is_that_of_rfc_6962_over_the_documents(written: Path) -> None:
    ledger = open_ledger(written)
    leaves = [sha256(b"\x00" + document).digest() for document in ledger.documents()]
    assert [entry.leaf_hash for entry in ledger.outputs()] == [leaf.hex() for leaf in leaves]
    one, two = (sha256(b"\x01" + leaves[i] + leaves[i + 1]).digest() for i in (0, 2))
    four = sha256(b"\x01" + one + two).digest()
    assert ledger.root() == sha256(b"\x01" + four + leaves[4]).hexdigest()


def test_a_ledger_opened_again_goes_on_where_it_was(written: Path) -> None:
    ledger = open_ledger(written)
    assert ledger.next_output_id() == 6
    assert ledger.append(record(6)).seq == 6
    assert ledger.verify() == []


def test_an_empty_stem_id_does_not_mean_every_stem(written: Path) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        open_ledger(written).outputs(OutputFilter(stem=""))
    assert len(open_ledger(written).outputs(OutputFilter(stem=digest("all")))) == 5

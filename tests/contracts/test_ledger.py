"""What the ledger must do, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, Table, text

from rag_audio.errors import BackendUnavailable, InvalidInput, LedgerError
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from rag_audio.provenance.ledger.output_queries import OutputFilter
from rag_audio.storage.database import connect, sqlite_url, writing
from tests.provenance.builders import digest, record, source

UNCHANGING = (
    "ledger_entries",
    "ledger_nodes",
    "ledger_outputs",
    "ledger_sources",
    "ledger_hashes",
    "ledger_checkpoints",
)


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return "sqlite://" if request.param == "memory" else sqlite_url(tmp_path / "ledger.db")


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[SqlLedger]:
    engine = connect(url)
    yield SqlLedger(engine, tmp_path / "ledger.key")
    engine.dispose()


def test_output_numbers_are_never_given_twice(ledger: SqlLedger) -> None:
    given = [ledger.next_output_id() for _ in range(20)]
    assert len(set(given)) == 20
    assert all(1 <= number < 2**40 for number in given)


def test_an_appended_record_is_found_as_it_was(ledger: SqlLedger) -> None:
    made = record(ledger.next_output_id())
    entry = ledger.append(made)
    assert entry.record == made
    assert ledger.find(made.output) == entry


def test_entries_are_numbered_without_gaps_though_outputs_may_have_some(ledger: SqlLedger) -> None:
    numbers = [ledger.next_output_id() for _ in range(6)]
    entries = [ledger.append(record(number)) for number in reversed(numbers[::2])]
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert ledger.outputs() == entries


def test_an_unknown_output_is_not_found(ledger: SqlLedger) -> None:
    ledger.next_output_id()
    for number in (-1, 0, 1, 2**40, 2**70):
        assert ledger.find(number) is None


def test_a_number_that_was_never_given_is_refused(ledger: SqlLedger) -> None:
    with pytest.raises(LedgerError, match="5 was never assigned"):
        ledger.append(record(5))
    assert ledger.outputs() == []


def test_an_output_has_one_entry(ledger: SqlLedger) -> None:
    number = ledger.next_output_id()
    ledger.append(record(number))
    with pytest.raises(LedgerError, match="has an entry already"):
        ledger.append(record(number, source("other")))
    assert len(ledger.outputs()) == 1


def test_outputs_are_found_by_what_they_used(ledger: SqlLedger) -> None:
    kit = source("kit", "Night Shift House Band")
    choir = source("choir", "Élan Choir", id="choir-2", holder="Choir Trust")
    first, second, third = (
        ledger.append(record(ledger.next_output_id(), *used))
        for used in ((kit,), (choir,), (kit, choir))
    )
    assert ledger.outputs(OutputFilter(stem=digest("kit"))) == [first, third]
    assert ledger.outputs(OutputFilter(stem=digest("choir")[:12])) == [second, third]
    assert ledger.outputs(OutputFilter(artist="E\u0301lan  Choir")) == [second, third]
    assert ledger.outputs(OutputFilter(artist="élan choir")) == [], (
        "another name: callers look up who is meant"
    )
    assert ledger.source_names("artist") == ["Night Shift House Band", "Élan Choir"]
    assert "Choir Trust" in ledger.source_names("holder")
    assert ledger.outputs(OutputFilter(license="choir-2")) == [second, third]
    assert ledger.outputs(OutputFilter(license="lib/choir-2")) == [second, third]
    assert ledger.outputs(OutputFilter(holder="Choir Trust")) == [second, third]
    assert ledger.outputs(OutputFilter(stem=digest("kit"), holder="Choir Trust")) == []
    assert ledger.outputs(OutputFilter(stem="%")) == []
    assert ledger.outputs() == [first, second, third]


def test_outputs_are_found_by_the_hash_of_samples_or_file(ledger: SqlLedger) -> None:
    first, second = (
        ledger.append(record(ledger.next_output_id(), pcm_sha256=digest("same"))) for _ in range(2)
    )
    for name in ("marked 2", "file 2"):
        assert ledger.find_pcm(digest(name)) == second
    assert ledger.find_pcm(digest("same")) == first
    assert ledger.find_pcm(digest("never seen")) is None


def test_an_untouched_ledger_has_no_faults(ledger: SqlLedger) -> None:
    assert ledger.verify() == []
    for _ in range(3):
        ledger.append(record(ledger.next_output_id()))
    assert ledger.verify() == []


def test_a_batch_is_written_wholly_or_not_at_all(ledger: SqlLedger) -> None:
    numbers = [ledger.next_output_id() for _ in range(7)]
    entries = ledger.append_many([record(number) for number in numbers[:5]])
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert ledger.outputs() == entries
    for wrong in (numbers[0], numbers[5], 99):
        with pytest.raises(LedgerError):
            ledger.append_many([record(numbers[5]), record(wrong)])
    assert ledger.append_many([]) == []
    assert ledger.outputs() == entries
    assert ledger.verify() == []


def test_events_are_logged_about_an_output_or_none(ledger: SqlLedger) -> None:
    number = ledger.next_output_id()
    ledger.append(record(number))
    told = {"output": number, "causal": [0.25, None], "seed": 2**60, "of": ("a", {"b": 1.5})}
    influence = ledger.append_event("influence", told)
    refusal = ledger.append_event("refusal", {"rule": "protected-name", "name": "Ü"})
    revocation = ledger.append_event("revocation", {"stem": digest("kit")})
    assert (influence.seq, influence.kind, influence.output) == (2, "influence", number)
    assert influence.document["causal"] == [0.25, None]
    assert influence.document["seed"] == str(2**60)
    assert (refusal.output, revocation.seq) == (None, 4)
    assert ledger.events() == [influence, refusal, revocation]
    assert ledger.events("refusal") == [refusal]
    assert ledger.events(output=number) == [influence]
    assert ledger.events("revocation", output=number) == []
    assert [entry.seq for entry in ledger.outputs()] == [1]
    assert ledger.size() == 4
    assert ledger.verify() == []


@pytest.mark.parametrize(
    ("kind", "document", "says"),
    [
        ("output", {}, "not a kind of event"),
        ("erasure", {"output": 1}, "not a kind of event"),
        ("gossip", {}, "not a kind of event"),
        ("influence", {}, "must say which output"),
        ("influence", {"output": 2}, "no output 2"),
        ("influence", {"output": 99}, "no output 99"),
        ("influence", {"output": "1"}, "must be its number"),
        ("influence", {"output": True}, "must be its number"),
        ("refusal", {"prompt": "like somebody"}, "without the text"),
        ("refusal", {"matches": [{"text": "somebody"}]}, "without the text"),
        ("refusal", {"rule": object()}, "cannot be written as JSON"),
    ],
)
def test_what_is_no_event_is_refused(
    ledger: SqlLedger, kind: str, document: dict[str, Any], says: str
) -> None:
    ledger.append(record(ledger.next_output_id()))
    ledger.next_output_id()
    with pytest.raises(LedgerError, match=says):
        ledger.append_event(kind, document)
    assert ledger.size() == 1


def test_every_entry_is_proved_in_every_later_log(ledger: SqlLedger) -> None:
    roots = [bytes.fromhex(ledger.root())]
    for _ in range(5):
        ledger.append(record(ledger.next_output_id()))
        roots.append(bytes.fromhex(ledger.root()))
    leaves = [leaf_hash(document) for document in ledger.documents()]
    for size in range(6):
        assert ledger.root(size) == roots[size].hex()
        for seq in range(1, size + 1):
            proof = ledger.inclusion(seq, size)
            assert (proof.leaf_hash, proof.root) == (leaves[seq - 1].hex(), roots[size].hex())
            path = [bytes.fromhex(step) for step in proof.path]
            assert verify_inclusion(leaves[seq - 1], seq - 1, size, path, roots[size])
        for old in range(size + 1):
            steps = [bytes.fromhex(step) for step in ledger.consistency(old, size)]
            assert verify_consistency(old, size, steps, roots[old], roots[size])


def test_there_is_no_proof_of_what_is_not_there(ledger: SqlLedger) -> None:
    ledger.append(record(ledger.next_output_id()))
    for seq, size in ((0, 1), (2, 1), (1, 2), (1, 0)):
        with pytest.raises(InvalidInput):
            ledger.inclusion(seq, size)
    with pytest.raises(InvalidInput):
        ledger.consistency(2)
    with pytest.raises(InvalidInput):
        ledger.root(2)


def test_texts_are_erased_and_checkpoints_kept(ledger: SqlLedger) -> None:
    number = ledger.next_output_id()
    ledger.append(record(number))
    note = ledger.checkpoint()
    assert ledger.erase(number).output == number
    entry = ledger.find(number)
    assert entry is not None and entry.erased
    assert entry.record.request["prompt"] == "[erased]"
    assert ledger.verify([note]) == []


@pytest.mark.parametrize("table", UNCHANGING)
def test_what_was_written_cannot_be_changed(ledger: SqlLedger, table: str) -> None:
    ledger.append_many([record(ledger.next_output_id()) for _ in range(2)])
    ledger.checkpoint()
    rows = Table(table, MetaData(), autoload_with=ledger._engine)
    column = rows.columns.values()[-1]
    for statement in (rows.delete(), rows.update().values({column: column})):
        with (
            pytest.raises(BackendUnavailable, match="append-only"),
            writing(ledger._engine) as db,
        ):
            db.execute(statement)
    assert ledger.verify() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_tree SET root = 'x'",
        "UPDATE ledger_counter SET last_output = 9",
        "DELETE FROM ledger_private WHERE seq = 2",
        "INSERT INTO ledger_sources VALUES (2, 9, 'x', 'x', 'x', 'x', 'x')",
        "INSERT INTO ledger_hashes VALUES (9, 'pcm', 'x')",
    ],
)
def test_tampering_is_found(ledger: SqlLedger, statement: str) -> None:
    ledger.append_many([record(ledger.next_output_id()) for _ in range(3)])
    with writing(ledger._engine) as db:
        db.execute(text(statement))
    assert ledger.verify() != []

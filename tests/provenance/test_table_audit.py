"""Fingerprints, owners and API keys beside the log, on both databases, and what is not a fault."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from rag_audio.domain.record import Fault
from rag_audio.errors import BackendUnavailable
from rag_audio.provenance.ledger.audit_pages import checked
from rag_audio.provenance.ledger.audit_tables import table_faults
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.merkle import leaf_hash
from rag_audio.provenance.ledger.records import canonical, parse, record_to_json
from rag_audio.provenance.trace.fingerprint import Fingerprint
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints, posting_columns
from rag_audio.provenance.trace.output_landmarks import GRID
from rag_audio.service.api_access import Scope, SqlAccess
from rag_audio.service.queue import SqlJobs
from rag_audio.service.tables import SqlOwners, own
from rag_audio.storage.database import connect, reading, sqlite_url, writing
from tests.provenance.builders import record


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


def fingerprint(output: int = 0) -> Fingerprint:
    pitches, gap = np.array([40, 41, 42, 43, 44, 44]), 3
    times = np.array([0, 150, 400, 700, 900, 1300]) + 10 * output
    return Fingerprint((gap * 128 + pitches) * 64 + 32, times, 4.0)


def kept(of: Fingerprint) -> dict[str, Any]:
    said = {"sha256": of.sha256, "landmarks": len(of.hashes), "duration_s": of.duration_s}
    return {"fingerprint": said}


def deliver(engine: Engine, owner: str | None = None, **more: Any) -> int:
    """Log an output with its fingerprint, and its owner where it has one, as delivery does."""
    ledger, prints = SqlLedger(engine), SqlFingerprints(engine)
    number = ledger.next_output_id()
    made = fingerprint(number)

    def within(db: Connection) -> None:
        prints.put_in(db, number, made)
        if owner is not None:
            own(db, owner, [number])

    checks = {"checks": kept(made), **more}
    ledger.append_many([record(number, **checks)], within, owner)
    prints.index_new()
    return number


def faults_after(engine: Engine, *statements: str) -> list[str]:
    with writing(engine) as db:
        for statement in statements:
            db.execute(text(statement))
    return [fault.what for fault in SqlLedger(engine).verify()]


FOUND = [
    ("UPDATE fingerprints SET duration_s = 4.5 WHERE output = 2", "the sound lasts 4.5 s"),
    ("UPDATE fingerprints SET sha256 = 'ab' WHERE output = 2", "has a hash that is not"),
    ("UPDATE fingerprints SET landmarks = (SELECT landmarks FROM fingerprints WHERE output = 1) "
     "WHERE output = 2", "is not the one that its record names"),
    ("DELETE FROM fingerprints WHERE output = 2", "the fingerprint of output 2 is missing"),
    ("INSERT INTO fingerprints SELECT 9, duration_s, sha256, landmarks FROM fingerprints "
     "WHERE output = 2", "output 9 is stored, but that output is not in the log"),
    ("DELETE FROM output_postings WHERE output = 2", "the landmarks of output 2"),
    ("DELETE FROM output_postings WHERE output = 2 AND hash = (SELECT min(hash) FROM "
     "output_postings)", "the landmarks of output 2"),
    ("UPDATE output_postings SET hash = hash + 1 WHERE output = 2", "the landmarks of output 2"),
    ("UPDATE output_postings SET place = place + 1 WHERE output = 2", "the landmarks of output 2"),
    ("UPDATE output_postings SET output = 1 WHERE output = 2", "the landmarks of output 1"),
    ("INSERT INTO output_postings VALUES (77, 9, 3)", "rows of output 9, which has none"),
    ("INSERT INTO output_postings VALUES (-3, 2, 3)", "1 rows of the index"),
    ("INSERT INTO output_postings VALUES (2000000000, 2, 3)", "1 rows of the index"),
    ("UPDATE output_hash_counts SET count = count + 1", "counts of the index of fingerprints"),
    ("DELETE FROM output_hash_counts", "counts of the index of fingerprints"),
    ("INSERT INTO output_hash_counts VALUES (-1, 1)", "1 counts of the index of fingerprints"),
    ("INSERT INTO fingerprints_to_index VALUES (2)", "the landmarks of output 2"),
    ("INSERT INTO fingerprints_to_index VALUES (9)", "output 9 is stored, but that output is not"),
    ("UPDATE output_owners SET owner = 'somebody' WHERE output = 2", "is not the one"),
    ("UPDATE output_owners SET owner = '' WHERE output = 2", "is not the one"),
    ("DELETE FROM output_owners WHERE output = 3", "the owner of output 3 is missing"),
    ("INSERT INTO output_owners VALUES (1, 'ann')", "its record says that it has none"),
    ("INSERT INTO output_owners VALUES (9, 'ann')", "output 9 is stored, but that output is not"),
    ("UPDATE api_keys SET revoked_at = NULL", "is not as it was logged"),
    ("UPDATE api_keys SET scopes = '[\"admin\"]'", "is not as it was logged"),
    ("UPDATE api_keys SET expires_at = 1e12", "is not as it was logged"),
    ("DELETE FROM api_keys", "is missing"),
    ("INSERT INTO api_keys SELECT 'abcdefabcdef', name, hash, scopes, libraries, created_at, "
     "expires_at, revoked_at FROM api_keys", "'abcdefabcdef' is not in the log"),
]  # fmt: skip


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """Output 1 of nobody, 2 of a key, 3 of a job that needed none; and a key that was revoked."""
    for owner in (None, "ann", ""):
        deliver(engine, owner)
    access = SqlAccess(engine)
    key, _ = access.make("desk", [Scope.GENERATE], expires_in_s=60.0)
    access.revoke(key.id)
    return engine


def test_every_change_is_found_on_both_databases(filled: Engine) -> None:
    assert SqlLedger(filled).verify() == []
    missed = []
    for statement, said in FOUND:
        with writing(filled) as db:
            db.execute(text(statement))
            found = [fault.what for fault in table_faults(db)]
            db.rollback()
        if not any(said in what for what in found):
            missed.append((statement, found))
    assert missed == []
    assert SqlLedger(filled).verify() == []


def test_missing_tables_and_triggers_are_faults_on_both_databases(filled: Engine) -> None:
    postgresql = filled.dialect.name == "postgresql"
    on = " ON ledger_entries" if postgresql else ""
    dropped = f"DROP TRIGGER ledger_entries_no_delete{on}"
    (found,) = faults_after(filled, dropped)
    assert "the trigger ledger_entries_no_delete of ledger_entries is missing" in found
    if postgresql:
        off = "ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_no_update"
        assert "switched off" in faults_after(filled, off)[1]
        nothing = (
            "CREATE OR REPLACE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RETURN NULL; END $$"
        )
        assert len(faults_after(filled, nothing)) == 13
    renamed = "ALTER TABLE fingerprints RENAME COLUMN duration_s TO lasts"
    found = "\n".join(
        faults_after(
            filled, renamed, "DROP TABLE api_keys CASCADE" if postgresql else "DROP TABLE api_keys"
        )
    )
    assert "the table fingerprints lacks its column duration_s" in found
    assert "the table api_keys is missing" in found
    assert "the table ledger" not in found


def test_a_lost_primary_key_is_a_fault_on_both_databases(filled: Engine) -> None:
    if filled.dialect.name == "postgresql":
        lost = ["ALTER TABLE output_owners DROP CONSTRAINT output_owners_pkey"]
    else:
        lost = ["CREATE TABLE remade AS SELECT * FROM output_owners", "DROP TABLE output_owners",
                "ALTER TABLE remade RENAME TO output_owners"]  # fmt: skip
    twice = "INSERT INTO output_owners SELECT * FROM output_owners"
    (found,) = faults_after(filled, *lost, twice)
    assert found == "the table output_owners has lost its primary key (output)"


def test_a_check_that_fails_leaves_the_others_their_transaction(filled: Engine) -> None:
    def check(db: Connection) -> Iterator[Fault]:
        yield Fault(3, "found before")
        db.execute(text("SELECT no_such_column FROM api_keys"))

    with reading(filled) as db:
        found = checked(db, {"api_keys"}, check(db))
        assert list(table_faults(db)) == []
    first, last = found
    assert first.what == "found before"
    assert last.what.startswith("the tables api_keys cannot be read: ")


@pytest.mark.parametrize("code", [None, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_READ])
def test_a_database_that_is_away_is_no_fault(tmp_path: Path, code: int | None) -> None:
    def check() -> Iterator[Fault]:
        cause = sqlite3.OperationalError("gone")
        if code is not None:
            cause.sqlite_errorcode = code
        yield Fault(3, "found before")
        raise OperationalError("SELECT", {}, cause, connection_invalidated=code is None)

    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    with pytest.raises(BackendUnavailable, match="gone"), reading(engine) as db:
        checked(db, {"api_keys"}, check())


def test_a_revocation_is_logged_once_and_nothing_of_a_key_is_in_the_log(engine: Engine) -> None:
    access, ledger = SqlAccess(engine), SqlLedger(engine)
    key, secret = access.make("Ann's desk", [Scope.SEARCH], ["lab"])
    first = access.revoke(key.id)
    assert access.revoke(key.id) == first
    events = ledger.events("access")
    assert [event.document["state"] for event in events] == ["made", "revoked"]
    assert {event.document["key"] for event in events} == {key.id}
    log = b"".join(ledger.documents()).decode()
    assert not any(word in log for word in ("Ann", "lab", secret, "search"))
    assert ledger.verify() == []


def test_a_key_that_cannot_be_logged_is_not_made(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(db: Connection, row: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("rag_audio.service.api_access.log_key", full)
    access = SqlAccess(engine)
    with pytest.raises(OSError, match="disk full"):
        access.make("desk", [Scope.SEARCH])
    assert not access.any_key()


def test_keys_of_before_are_logged_when_a_database_is_brought_up_to_date(engine: Engine) -> None:
    access, ledger = SqlAccess(engine), SqlLedger(engine)
    with writing(engine) as db:  # as keys were made until now
        db.execute(
            text(
                "INSERT INTO api_keys VALUES "
                "('aaaaaaaaaaaa', 'Zoë', 'h', '[]', 'null', 5, NULL, 7),"
                "('bbbbbbbbbbbb', 'b', 'h', '[]', 'null', 6.25, 1e12, NULL)"
            )
        )
    key, _ = access.make("new", [Scope.SEARCH])
    assert len(ledger.verify()) == 2
    with writing(engine) as db:
        for later in (
            *("webhook_secrets", "stem_postings", "stem_landmarks", "ledger_outputs"),
            *("catalogue_epoch", "stems", "stem_tags", "stem_groups", "index_shards"),
            *("output_postings", "output_hash_counts", "fingerprints_to_index"),
        ):
            db.execute(text(f"DROP TABLE {later}"))
        db.execute(text("UPDATE alembic_version SET version_num = '0009'"))
    again = connect(engine.url.render_as_string(hide_password=False))
    assert SqlLedger(again).verify() == []
    said = [(event.document["key"], event.document["state"]) for event in ledger.events("access")]
    assert said == [(key.id, "made"), ("aaaaaaaaaaaa", "revoked"), ("bbbbbbbbbbbb", "made")]


def test_whose_an_output_is_is_committed_to_and_told_to_nobody(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    number = deliver(engine, "the-key-of-ann")
    entry = ledger.find(number)
    assert entry is not None
    assert "the-key-of-ann" not in json.dumps(record_to_json(entry.record))
    assert b"the-key-of-ann" not in b"".join(ledger.documents())
    assert "owner" not in record_to_json(entry.record)
    ledger.erase(number)
    with writing(engine) as db:
        texts = db.execute(text("SELECT texts FROM ledger_private")).all()
    assert texts == [] and SqlOwners(engine).of(number) == "the-key-of-ann"
    assert ledger.verify() == []
    # The text is gone, so another owner cannot be told from the first; a missing one can.
    assert "is missing" in faults_after(engine, "DELETE FROM output_owners")[0]


def as_before(engine: Engine, number: int) -> None:
    """Take what records say now and did not say before out of the log, and build it anew."""
    (document,) = SqlLedger(engine).documents()
    old = parse(document)
    del old["owner"], old["commitments"]["/owner"], old["checks"]["fingerprint"]["duration_s"]
    raw = canonical(old)
    leaf = leaf_hash(raw)
    with writing(engine) as db:
        postgresql = db.dialect.name == "postgresql"
        for name in ("ledger_entries_no_update", "ledger_private_no_update"):
            on = f" ON {name[:-10]}" if postgresql else ""
            db.execute(text(f"DROP TRIGGER {name}{on}"))
        (texts,) = db.execute(text("SELECT texts FROM ledger_private")).scalars()
        known = parse(bytes(texts))
        del known["/owner"]
        db.execute(text("UPDATE ledger_private SET texts = :t"), {"t": canonical(known)})
        row = {"document": raw, "leaf": leaf.hex(), "peak": leaf}
        db.execute(text("UPDATE ledger_entries SET document = :document, leaf_hash = :leaf"), row)
        db.execute(text("UPDATE ledger_tree SET root = :leaf, peaks = :peak"), row)


def test_outputs_of_before_are_held_against_their_jobs_and_their_plans(engine: Engine) -> None:
    jobs = SqlJobs(engine)
    job = jobs.accept("generation", {"prompt": "x"}, owner="ann")
    number = deliver(engine, "ann", plan={"duration_s": 4.0})
    with writing(engine) as db:
        result = json.dumps({"outputs": [{"output": number}]})
        db.execute(text("UPDATE jobs SET result = :r"), {"r": result})
    as_before(engine, number)

    def found(*statements: str) -> list[str]:
        return [one for one in faults_after(engine, *statements) if "trigger" not in one]

    assert found() == []
    *_, fault = found("UPDATE output_owners SET owner = 'ben'")
    assert f"is not the one that its job {job.id} was done for" in fault
    *_, fault = found("DELETE FROM output_owners")
    assert "was done for" in fault
    (fault,) = found("INSERT INTO output_owners VALUES (1, 'ann')",
                     "UPDATE fingerprints SET duration_s = 5.0")  # fmt: skip
    assert "lasts 5.0 s" in fault


def test_what_a_job_says_of_its_output_is_what_the_log_says(engine: Engine) -> None:
    jobs = SqlJobs(engine)
    jobs.accept("generation", {"prompt": "x"}, owner="ann")
    number = deliver(engine, "ann")
    entry = SqlLedger(engine).find(number)
    assert entry is not None
    made = entry.record
    plan = {"enriched_prompt": "dusty boom bap, drums", "strength": 0.7}
    result: dict[str, Any] = {
        "model": made.model,
        "plan": plan,
        **plan,
        "outputs": [{"output": 1, "pcm_sha256": made.pcm_sha256, "files": dict(made.files)}],
        "references": [{"stem": made.sources[0].reference.stem.id, "license": "nightshift-2026"}],
    }

    def found(**changes: Any) -> list[str]:
        with writing(engine) as db:
            said = json.dumps({**result, **changes})
            db.execute(text("UPDATE jobs SET result = :r"), {"r": said})
        return [fault.what for fault in SqlLedger(engine).verify()]

    assert found() == []
    (output,) = result["outputs"]
    (reference,) = result["references"]
    for changes, said in (
        ({"outputs": [{**output, "output": 9}]}, "made output 9, which is not in the log"),
        ({"outputs": [{**output, "pcm_sha256": "0"}]}, "another pcm_sha256 of output 1"),
        ({"outputs": [{**output, "files": {}}]}, "another files of output 1"),
        ({"outputs": [{"file": 1}]}, "cannot be read"),
        ({"outputs": 3}, "cannot be read"),
        ({"model": "another"}, "another model of output 1"),
        ({"plan": {**plan, "strength": 0.1}, "strength": 0.1}, "another plan of output 1"),
        ({"plan": {**plan, "enriched_prompt": "y"}, "enriched_prompt": "y"}, "another plan"),
        ({"strength": 0.1}, "another strength of output 1"),
        ({"references": []}, "another list of sources"),
        ({"references": [{**reference, "license": "cc0"}]}, "another list of sources"),
        ({"references": 7}, "another list of sources"),
    ):
        assert any(said in what for what in found(**changes)), changes


PEAKS = (
    [(40, 0), (41, 150), (44, 400), (40, 900)],
    [(40, 30), (41, 180), (44, 430), (40, 930), (52, 1300)],
    [(9, 1), (20, 700), (21, 702), (20, 1100)],
)
"""Pitch cells and times of three outputs."""


def output_with(peaks: list[tuple[int, int]]) -> Fingerprint:
    pitches, times = np.array(peaks).T
    return Fingerprint(pitches * 64 + 32, times, 4.0)


@pytest.fixture(scope="module")
def indexed() -> Engine:
    """Outputs whose fingerprints share landmarks; each was put twice, the first time wrongly."""
    engine = connect("sqlite://")
    store, ledger = SqlFingerprints(engine), SqlLedger(engine)
    for peaks in PEAKS:
        made, number = output_with(peaks), ledger.next_output_id()
        ledger.append(record(number, checks=kept(made)))
        store.put(number, output_with([*peaks[1:], (3, 3000)]))
        store.put(number, made)
    assert ledger.verify() == []
    return engine


RIGHT = sorted(
    tuple(row)
    for n, peaks in enumerate(PEAKS, start=1)
    for row in posting_columns(n, output_with(peaks)).T.tolist()
)
ANY = st.tuples(
    st.integers(0, GRID.hashes - 1), st.integers(1, len(PEAKS) + 1), st.integers(0, 2**60)
)


@given(
    taken=st.sets(st.sampled_from(RIGHT), max_size=3),
    added=st.sets(ANY | st.sampled_from(RIGHT), max_size=3),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=50)
def test_the_index_is_right_if_and_only_if_it_holds_each_outputs_landmarks(
    indexed: Engine, taken: set[tuple[int, ...]], added: set[tuple[int, ...]], order: Random
) -> None:
    rows = sorted((set(RIGHT) - taken) | added)
    order.shuffle(rows)
    with writing(indexed) as db:
        db.execute(text("DELETE FROM output_postings"))
        for hash_, number, place in rows:
            row = {"h": hash_, "n": number, "p": place}
            db.execute(text("INSERT INTO output_postings VALUES (:h, :n, :p)"), row)
    assert (SqlLedger(indexed).verify() == []) is (sorted(rows) == RIGHT)

"""One schema for all tables, whoever opens the database first and whatever is in it already."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, MetaData, inspect, text

import rag_audio
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.errors import BackendError, ConfigError
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.output_queries import OutputFilter
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.provenance.trace import fingerprint_store
from rag_audio.provenance.trace.fingerprint import Fingerprint
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.service import tables
from rag_audio.service.tables import SqlOwners
from rag_audio.storage import landmarks as landmark_rows
from rag_audio.storage import migrations, rights_tables, stem_rows
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, reading, sqlite_url, writing
from rag_audio.storage.migrations import HEAD, make_schema, refuse_foreign
from tests.provenance.builders import record, source

INDEX = ("output_postings", "output_hash_counts", "fingerprints_to_index")
OPENERS: tuple[Callable[[Engine], object], ...] = (SqlCatalogue, SqlFingerprints, SqlLedger)
BY_HAND = (rights_tables.metadata, fingerprint_store.metadata)
"""What homes of before made without alembic."""
REVOKED = Revocation(RevocationOf.ARTIST, "Somebody", "", "desk", datetime(2026, 5, 1, tzinfo=UTC))
PRINT = Fingerprint(np.array([5, 6, 9]), np.array([0, 10, 20]), 4.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


def version(engine: Engine) -> str:
    with reading(engine) as db:
        return str(db.execute(text("SELECT version_num FROM alembic_version")).scalar())


def differences(engine: Engine) -> list[object]:
    """Between the database and the tables as the code sees them, the ledger's own aside."""
    wanted = MetaData()
    for metadata in (*BY_HAND, tables.metadata, landmark_rows.metadata, stem_rows.metadata):
        for table in metadata.tables.values():
            table.to_metadata(wanted)
    with reading(engine) as db:
        context = MigrationContext.configure(
            db,
            opts={
                "include_name": lambda name, kind, _: kind != "table" or name in wanted.tables,
                "compare_type": False,
            },
        )
        return list(compare_metadata(context, wanted))


def old_home(engine: Engine) -> None:
    """The tables of rights and fingerprints as they were before alembic knew them."""
    with writing(engine) as db:
        make_by_hand(db)
        rights_tables.put_revocation(db, REVOKED)


def make_by_hand(db: Connection) -> None:
    rights_tables.metadata.create_all(db)
    fingerprint_store.prints.create(db)
    db.execute(text("CREATE TABLE fingerprint_postings (hash INTEGER, output BIGINT)"))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_whoever_comes_first_makes_all_tables(tmp_path: Path, order: tuple[int, ...]) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    OPENERS[order[0]](engine)
    assert version(engine) == HEAD
    made = set(inspect(engine).get_table_names())
    assert {"libraries", "licenses", "files", "revocations", "fingerprints"} <= made
    assert {"ledger_entries", "output_postings"} <= made
    for i in order[1:]:
        OPENERS[i](engine)
    assert set(inspect(engine).get_table_names()) == made


def test_the_migrations_make_the_tables_that_the_code_reads(engine: Engine) -> None:
    SqlCatalogue(engine)
    assert differences(engine) == []


def test_a_home_without_alembic_opens_and_keeps_its_rows(engine: Engine) -> None:
    old_home(engine)
    assert SqlCatalogue(engine).revocations() == [REVOKED]
    assert (version(engine), differences(engine)) == (HEAD, [])
    ledger = SqlLedger(engine)
    kept = {"sha256": PRINT.sha256, "landmarks": 3, "duration_s": PRINT.duration_s}
    ledger.append(record(ledger.next_output_id(), checks={"fingerprint": kept}))
    SqlFingerprints(engine).put(1, PRINT)
    assert SqlFingerprints(engine).count() == 1
    assert SqlCatalogue(engine).revocations() == [REVOKED]
    assert ledger.verify() == []


def test_a_home_whose_ledger_alone_was_migrated_is_brought_up_to_date(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    ledger.append(record(ledger.next_output_id()))
    with writing(engine) as db:  # as the version before left it
        tables.metadata.drop_all(db)
        landmark_rows.metadata.drop_all(db)
        stem_rows.metadata.drop_all(db)
        for metadata in BY_HAND:
            metadata.drop_all(db)
        db.execute(text("ALTER TABLE ledger_counter DROP COLUMN first_output"))
        for table in ("key_fingerprints", "ledger_outputs", "index_shards"):
            db.execute(text(f"DROP TABLE {table}"))
        db.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    old_home(engine)
    again = connect(engine.url.render_as_string(hide_password=False))
    assert SqlCatalogue(again).revocations() == [REVOKED]
    assert version(engine) == HEAD
    # The second entry seals the revocation that was found.
    assert (SqlLedger(engine).size(), SqlLedger(engine).verify()) == (2, [])


def test_a_home_with_some_of_the_tables_gets_the_others(engine: Engine) -> None:
    with writing(engine) as db:
        rights_tables.metadata.create_all(db)
        rights_tables.put_revocation(db, REVOKED)
    SqlFingerprints(engine).put(1, PRINT)
    assert differences(engine) == []
    assert SqlCatalogue(engine).revocations() == [REVOKED]


@pytest.mark.parametrize("tables", [("notes",), ("jobs", "notes"), ("NOTES", "files")])
def test_a_database_of_another_program_is_not_adopted(
    tmp_path: Path, tables: tuple[str, ...]
) -> None:
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file)) as db:
        for name in tables:
            db.execute(f"CREATE TABLE {name} (text TEXT)")
    before = file.read_bytes()
    with rag_audio.open(tmp_path) as audio, pytest.raises(ConfigError, match="another program"):
        _ = audio.home.ledger
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["ledger.db"]


@pytest.mark.parametrize("made", [False, True])
def test_an_empty_database_is_taken(tmp_path: Path, made: bool) -> None:
    file = tmp_path / "ledger.db"
    if made:
        with closing(sqlite3.connect(file)) as db:
            db.execute("VACUUM")
    else:
        file.touch()
    for _ in range(2):
        with rag_audio.open(tmp_path) as audio:
            assert audio.home.ledger.size() == 0


def test_a_home_of_before_with_only_our_tables_is_no_foreign_one(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "ledger.db")
    with writing(connect(url)) as db:
        make_by_hand(db)
    refuse_foreign(url)
    with rag_audio.open(tmp_path) as audio:
        assert audio.home.ledger.size() == 0


def test_names_that_were_folded_are_stored_as_they_are_written(engine: Engine) -> None:
    """The rows as version 0004 had them: every name folded in a way of its own."""
    ledger = SqlLedger(engine)
    sources = [source("one", "ラウド"), source("two", "Zoë Ñandú", holder="ÜNITED Holder")]
    entry = ledger.append(record(ledger.next_output_id(), *sources))
    with writing(engine) as db:
        library = {"id": "lab", "name": "Lab", "root": "/nowhere"}
        db.execute(
            text("INSERT INTO libraries (id, name, root) VALUES (:id, :name, :root)"), library
        )
        for i, (artist, folded) in enumerate(
            [("ラウド", "ラウド"), ("ラウト", "ラウト"), ("M.O.X.", "m.o.x."), ("MOX", "mox")]
        ):
            db.execute(
                text(
                    "INSERT INTO files (library, path, size, mtime_ns, declared, space, stem_id, "
                    "artist, stem) VALUES ('lab', :path, 1, 1, '', '', :id, :artist, :stem)"
                ),
                {
                    "path": f"{i}.wav",
                    "id": f"{i}" * 64,
                    "artist": folded,
                    "stem": json.dumps({"artist": artist}),
                },
            )
        for target, folded in (("ラウト", "ラウト"), ("MOX", "mox"), ("!!!", "")):
            db.execute(
                text(
                    "INSERT INTO revocations (kind, folded, target, reason, revoked_by, revoked_at)"
                    " VALUES ('artist', :folded, :target, 'why', 'desk', '2026-05-01T00:00:00')"
                ),
                {"folded": folded, "target": target},
            )
        _fold_sources(db)
        _bring_names_up_to_date(db)
    with reading(engine) as db:
        files = db.execute(text("SELECT artist FROM files ORDER BY path")).scalars().all()
        rows = db.execute(
            text("SELECT artist, holder FROM ledger_sources ORDER BY seq, position")
        ).all()
        keys = db.execute(text("SELECT folded, target FROM revocations ORDER BY id")).all()
    assert files == ["ラウド", "ラウト", "M.O.X.", "MOX"]
    assert [tuple(row) for row in rows] == [
        ("ラウド", "Night Shift Recordings"),
        ("Zoë Ñandú", "ÜNITED Holder"),
    ]
    # What only lacked its stops stays revoked; what lacked the voicing mark was somebody else.
    assert [tuple(key) for key in keys] == [
        ("~ラウト", "ラウト"), ("~mox", "MOX"), ("~!!!", "!!!"), ("~m.o.x.", "M.O.X."),
    ]  # fmt: skip
    assert SqlLedger(engine).verify() == []
    assert SqlLedger(engine).outputs(OutputFilter(artist="Zoë Ñandú")) == [entry]
    with pytest.raises(BackendError), writing(engine) as db:
        db.execute(text("UPDATE ledger_sources SET artist = 'x'"))


def test_a_row_that_did_not_follow_from_its_entry_is_still_found(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    ledger.append(record(ledger.next_output_id(), source("one", "Amber Lights")))
    with writing(engine) as db:
        _fold_sources(db, artist="somebody else")
        _bring_names_up_to_date(db)
    assert SqlLedger(engine).verify() != []


def _bring_names_up_to_date(db: Connection) -> None:
    """Run revision 0005 on a database whose later tables are there already, and seal the rows."""
    migrations._upgrade(db, "0004", "0005")
    before = import_module(
        "rag_audio.storage.migrations.versions.v0009_sealed_rights"
    ).down_revision
    migrations._upgrade(db, before, "0009")
    db.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})


def _fold_sources(db: Connection, artist: str | None = None) -> None:
    """Write names as version 0004 did, past the trigger that forbids it."""
    on = " ON ledger_sources" if db.dialect.name == "postgresql" else ""
    db.execute(text(f"DROP TRIGGER ledger_sources_no_update{on}"))
    for row in db.execute(text("SELECT seq, position, artist, holder FROM ledger_sources")).all():
        old = {
            "artist": artist or unicodedata.normalize("NFKC", row.artist).casefold().strip(),
            "holder": unicodedata.normalize("NFKC", row.holder).casefold().strip(),
            "seq": row.seq,
            "position": row.position,
        }
        db.execute(
            text(
                "UPDATE ledger_sources SET artist = :artist, holder = :holder "
                "WHERE seq = :seq AND position = :position"
            ),
            old,
        )


def test_outputs_of_before_are_owned_by_whom_their_jobs_were_for(engine: Engine) -> None:
    with writing(engine) as db:
        make_schema(db, "0004")
        for seq, (owner, result) in enumerate(
            (
                ("ann", '{"outputs": [{"output": 3}, {"output": 4}]}'),
                ("ben", '{"outputs": [{"output": 5}]}'),
                ("", '{"outputs": [{"output": 6}]}'),
                ("ann", None),
            )
        ):
            db.execute(
                text(
                    "INSERT INTO jobs (id, seq, turn, kind, owner, libraries, state, request, "
                    "result, attempts, cancel_asked, stage, done, total, created_at) VALUES "
                    "(:id, :seq, 1, 'generation', :owner, 'null', 'succeeded', '{}', :result, "
                    "1, 0, '', 0, 0, 1)"
                ),
                {"id": f"job{seq}", "seq": seq, "owner": owner, "result": result},
            )
    owners = SqlOwners(engine)
    assert version(engine) == HEAD
    assert owners.outputs_of("ann") == [3, 4]
    assert [owners.of(output) for output in (2, 5, 6)] == [None, "ben", ""]


def test_rights_of_before_are_sealed_as_they_are_found(engine: Engine) -> None:
    step = import_module("rag_audio.storage.migrations.versions.v0009_sealed_rights")
    stem = json.dumps({"license": "full", "artist": "ラウド", "artist_declared": True})
    with writing(engine) as db:
        make_schema(db, step.down_revision)
        for library in ("lab", "empty"):
            row = {"id": library, "name": library.title(), "root": "/home/somebody"}
            db.execute(text("INSERT INTO libraries VALUES (:id, :name, :root)"), row)
        for id_, license in (("full", '{"uses": ["prompt"], "max": 0.60}'), ("bad", "{")):
            row = {"id": id_, "license": license}
            db.execute(text("INSERT INTO licenses VALUES ('lab', :id, :license)"), row)
        for path in ("ä.wav", "Z.wav", "a.wav", "b c.wav", "B.wav", "\u2028.wav"):
            row = {"path": path, "mtime": 1_790_000_000_123_456_789, "stem": stem, "id": path * 9}
            values = "'lab', :path, 1, :mtime, 'd', 's', :id, 'ラウド'"
            db.execute(text(f"INSERT INTO files VALUES ({values}, :stem, '')"), row)  # noqa: S608
            values = "'lab', :path, 1, :mtime, 'x', 'ended', '', ''"
            db.execute(text(f"INSERT INTO withheld_files VALUES ({values})"), row)  # noqa: S608
        for ended in (None, "2026-05-02"):
            row = {"at": "2026-05-01T00:00:00+00:00", "ended": ended}
            columns = "kind, folded, target, reason, revoked_by, revoked_at, ended_by, ended_at"
            values = "'license', 'lab/full', 'lab/full', 'why', 'desk', :at, :ended, :ended"
            db.execute(text(f"INSERT INTO revocations ({columns}) VALUES ({values})"), row)  # noqa: S608
    ledger = SqlLedger(engine)
    assert (version(engine), ledger.verify(), ledger.notes()) == (HEAD, [], [])
    events = ledger.events("library")
    assert [one.document["library"] for one in events] == ["empty", "lab", None]
    assert events[1].document["licenses"] == {"full": {"uses": ["prompt"], "max": 0.6}, "bad": None}
    assert set(events[2].document["revocations"]) == {"1", "2"}
    for word in (b"somebody", b"why", b"desk", b".wav"):
        assert all(word not in document for document in ledger.documents())
    rights = SqlCatalogue(engine, SqlRightsLog())
    assert rights.begin("lab") == rights.begin("empty") == ()
    assert rights.end_revocation(Revocation(RevocationOf.LICENSE, "lab/full", "", "x", REVOKED.at))
    assert rights.revoke(REVOKED).rows == (3,)
    assert ledger.verify() == []
    for change in (
        "UPDATE files SET declared = 'e' WHERE path = 'Z.wav'",
        "UPDATE licenses SET license = '{}' WHERE id = 'bad'",
        "UPDATE revocations SET reason = 'because'",
    ):
        with writing(engine) as db:
            before = len(ledger.verify())
            db.execute(text(change))
        assert len(ledger.verify()) > before, change

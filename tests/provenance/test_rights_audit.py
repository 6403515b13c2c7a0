"""No row of libraries, licenses, files or revocations can be changed past the log unseen."""

from __future__ import annotations

import hmac
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, Table, create_engine, select

from rag_audio.cli.app import run
from rag_audio.domain.licensing import RevocationOf
from rag_audio.domain.record import Fault
from rag_audio.domain.stems import WithheldFile
from rag_audio.provenance.ledger import audit_rights
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.rights_tables import metadata as rights
from tests.provenance.rights_home import SHARED, asked, fill, granted, make_catalogue, state

TABLES: dict[str, Table] = dict(rights.tables)
COLUMNS = [(name, column.name) for name, table in TABLES.items() for column in table.columns]
QUICK = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "ledger.db"
    engine = connect(sqlite_url(path))
    fill(make_catalogue(engine))
    assert SqlLedger(engine).verify() == []
    engine.dispose()
    return path


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, sealed: Path) -> Iterator[Engine]:
    """As somebody opens the database who is not bound by keys between tables."""
    if request.param == "postgresql":
        from tests.support.postgres import new_schema

        url = new_schema(str(request.getfixturevalue("_postgres_server")))
        fill(make_catalogue(connect(url)))
        made = create_engine(
            url.replace("postgresql:", "postgresql+psycopg:") + "%20-csession_replication_role%3D"
            "replica"
        )
    else:
        made = create_engine(sqlite_url(sealed))
    yield made
    made.dispose()


def rights_faults(db: Connection) -> list[Fault]:
    checks = (
        audit_rights.library_faults,
        audit_rights.conflict_faults,
        audit_rights.revocation_faults,
    )
    return [fault for check in checks for fault in check(db)]


def test_every_table_has_rows(engine: Engine) -> None:
    with engine.connect() as db:
        for name, table in TABLES.items():
            assert len(db.execute(select(table)).all()) >= 2, name
        assert rights_faults(db) == []


@pytest.mark.parametrize(("name", "column"), COLUMNS)
@given(data=st.data())
@QUICK
def test_an_edited_column_is_found(
    engine: Engine, name: str, column: str, data: st.DataObject
) -> None:
    table = TABLES[name]
    with engine.connect() as db:
        row = data.draw(st.sampled_from(_rows(db, table)))
        value = data.draw(_other(row[column], [one[column] for one in _rows(db, table)]))
        change = table.update().where(*_is(table, row)).values({column: value})
        assert _done(db, change) == ["found"], (row, value)


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
@QUICK
def test_a_deleted_row_is_found(engine: Engine, name: str, data: st.DataObject) -> None:
    table = TABLES[name]
    with engine.connect() as db:
        row = data.draw(st.sampled_from(_rows(db, table)))
        assert _done(db, table.delete().where(*_is(table, row))) == ["found"], row


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_rows_is_found(engine: Engine, name: str) -> None:
    with engine.connect() as db:
        assert _done(db, TABLES[name].delete()) == ["found"]


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
@QUICK
def test_an_inserted_row_is_found(engine: Engine, name: str, data: st.DataObject) -> None:
    table = TABLES[name]
    with engine.connect() as db:
        row = data.draw(st.sampled_from(_rows(db, table)))
        key = data.draw(st.sampled_from([column.name for column in table.primary_key]))
        keys = [one[key] for one in _rows(db, table)]
        new = {**row, key: 999 if isinstance(row[key], int) else f"{max(keys)}x"}
        assert _done(db, table.insert().values(new)) == ["found"], new


@given(data=st.data())
@QUICK
def test_rows_that_trade_places_are_found(engine: Engine, data: st.DataObject) -> None:
    """Two files with each other's paths: the same rows' contents, otherwise bound."""
    table = TABLES["files"]
    with engine.connect() as db:
        own = [row for row in _rows(db, table) if row["library"] == "north"]
        one, other = data.draw(st.permutations(own))[:2]
        for row, path in ((one, "-"), (other, one["path"])):
            db.execute(table.update().where(*_is(table, row)).values(path=path))
        last = table.update().where(table.c.path == "-").values(path=other["path"])
        assert _done(db, last) == ["found"]


@pytest.mark.parametrize("name", TABLES)
def test_a_dropped_table_is_found(sealed: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "ledger.db"
    shutil.copy(sealed, copy)
    with closing(sqlite3.connect(copy)) as db:
        db.execute(f"DROP TABLE {name}")
    found = SqlLedger(connect(sqlite_url(copy))).verify()
    assert f"the table {name} is missing" in [one.what for one in found]


def test_faults_say_of_which_entry_and_library(sealed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "home" / "ledger.db"
    copy.parent.mkdir()
    shutil.copy(sealed, copy)
    with closing(sqlite3.connect(copy)) as db:
        db.execute("UPDATE licenses SET license = replace(license, '0.6', '0.9')")
        db.execute("UPDATE revocations SET reason = 'another' WHERE kind = 'artist'")
        db.commit()
    ledger = SqlLedger(connect(sqlite_url(copy)))
    of = {one.document["library"]: one.seq for one in ledger.events("library")}
    first = ledger.events("revocation")[0].seq
    assert [(one.seq, one.what) for one in ledger.verify()] == [
        (of["north"], "the licenses of library north are not those that were sealed: full, words"),
        (of["south"], "the licenses of library south are not those that were sealed: full, words"),
        (first, "revocation 1 of artist Velda Quarn is not as it was logged"),
    ]
    assert run(["ledger", "verify", "--home", str(copy.parent)]) == 1


def test_rows_that_are_not_sealed_are_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    make_catalogue(engine).put_library("lab", "Lab", "/nowhere")
    capsys.readouterr()
    assert run(["ledger", "verify", "--json", "--home", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["faults"]) == (True, [])
    assert document["notes"] == SqlLedger(engine).notes()
    (note,) = document["notes"]
    assert (
        "library lab: an index run that began at entry 1 is still running or was interrupted"
        in note
    )
    assert run(["ledger", "verify", "--home", str(tmp_path)]) == 0
    assert "rag-audio index" in capsys.readouterr().err


def test_the_log_holds_no_path_no_reason_and_no_name_of_who_revoked(sealed: Path) -> None:
    said = b"\n".join(SqlLedger(connect(sqlite_url(sealed))).documents()).decode()
    for word in ("/home", "somebody", "withdrawn", "rights desk", ".wav"):
        assert word not in said, word


def test_an_auditor_recomputes_roots_and_commitments(sealed: Path) -> None:
    """With nothing but the tables and the rules of docs/ledger.md."""
    event = {
        one.document["library"]: one.document
        for one in SqlLedger(connect(sqlite_url(sealed))).events("library")
    }["north"]
    with closing(sqlite3.connect(sealed)) as db:
        db.row_factory = sqlite3.Row
        for part, table, by in (
            ("files", "files", "path"),
            ("withheld", "withheld_files", "path"),
            ("license_rows", "licenses", "id"),
        ):
            rows = db.execute(f"SELECT * FROM {table} WHERE library = 'north'").fetchall()  # noqa: S608
            rows.sort(key=lambda row: row[by].encode())
            leaves = [sha256(b"\x00" + _spelled(dict(row))).digest() for row in rows]
            assert event[part] == {"count": len(rows), "root": _root(leaves).hex()}
        (row,) = db.execute("SELECT * FROM libraries WHERE id = 'north'").fetchall()
        held = db.execute("SELECT id, license FROM licenses WHERE library = 'north'").fetchall()
    own = dict(row)
    salt = own.pop("salt")
    assert len(salt) == 32
    assert event["row"] == hmac.digest(salt, _spelled(own), "sha256").hex()
    assert event["licenses"] == {one["id"]: json.loads(one["license"]) for one in held}


LIBRARIES = st.sampled_from(["north", "south", "east"])
PATHS = st.lists(st.sampled_from(["a.wav", "b.wav", "same.wav"]), max_size=3, unique=True)
REVOKED = st.sampled_from(
    [(RevocationOf.ARTIST, name) for name in ("Velda Quarn", "VELDA quarn", "Ka/Vo")]
    + [(RevocationOf.STEM, SHARED), (RevocationOf.LICENSE, "north/full")]
)
WORK = st.one_of(
    st.tuples(st.just("library"), LIBRARIES, st.sampled_from(["One", "Two"])),
    st.tuples(st.just("licenses"), LIBRARIES, st.sets(st.sampled_from(["full", "words"]))),
    st.tuples(st.sampled_from(["files", "remove", "withheld"]), LIBRARIES, PATHS),
    st.tuples(st.just("seal"), LIBRARIES, st.none()),
    st.tuples(st.just("begin"), LIBRARIES, st.none()),
    st.tuples(st.sampled_from(["revoke", "undo"]), st.none(), REVOKED),
)


@given(work=st.lists(WORK, max_size=12))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_done_by_rights_verifies(sealed: Path, work: list[Any]) -> None:
    engine = connect("sqlite://")
    with closing(sqlite3.connect(sealed)) as file, engine.connect() as db:
        file.backup(db.connection.driver_connection)
    catalogue = make_catalogue(engine)
    catalogue.put_library("east", "East", "/nowhere")
    for what, library, value in work:
        _do(catalogue, what, library, value)
    ledger = SqlLedger(engine)
    assert ledger.verify() == []
    for library in ("north", "south", "east"):
        assert catalogue.begin(library) == ()
        catalogue.seal(library)
    assert (ledger.verify(), ledger.notes()) == ([], [])
    size = ledger.size()
    for library in ("north", "south", "east"):
        assert catalogue.seal(library) is None
    assert ledger.size() == size
    engine.dispose()


def _do(catalogue: Any, what: str, library: str, value: Any) -> None:
    if what == "library":
        catalogue.put_library(library, value, "/nowhere")
    elif what == "licenses":
        catalogue.put_licenses(library, [granted(library, id_) for id_ in value])
    elif what == "files":
        catalogue.put_files(library, [state(library, path, SHARED) for path in value])
    elif what == "remove":
        catalogue.remove_files(library, value)
    elif what == "withheld":
        held = [WithheldFile(path, 1, 1, SHARED, "ended") for path in value]
        catalogue.put_withheld(library, held)
    elif what == "revoke":
        catalogue.revoke(asked(*value))
    elif what == "undo":
        catalogue.end_revocation(asked(*value))
    else:
        getattr(catalogue, what)(library)


def _rows(db: Connection, table: Table) -> list[dict[str, Any]]:
    wanted = select(table).order_by(*table.primary_key)
    return [dict(row) for row in db.execute(wanted).mappings()]


def _is(table: Table, row: dict[str, Any]) -> list[Any]:
    return [column == row[column.name] for column in table.primary_key]


def _done(db: Connection, change: Any) -> list[str]:
    """What comes of a change that is not kept: ``found`` where the audit finds it."""
    assert db.execute(change).rowcount != 0
    found = rights_faults(db)
    db.rollback()
    return ["found"] if found else []


def _other(value: Any, column: list[Any]) -> st.SearchStrategy[Any]:
    """Another value for a cell; keys stay unlike those of other rows."""
    if isinstance(value, int):
        return st.sampled_from([value + 1000, value // 2 + 5000, 0])
    if isinstance(value, bytes):
        return st.sampled_from([b"", value[:-1], bytes([value[0] ^ 1]) + value[1:], None])
    if value is None:
        return st.sampled_from(["", "x", "2026-01-01T00:00:00+00:00"])
    changed = [f"{value}x", f"x{value}", f"{value} ", value.swapcase() + "ß", "9" * 70]
    return st.sampled_from([one for one in changed if one not in column])


def _spelled(row: dict[str, Any]) -> bytes:
    plain = {
        name: str(value) if isinstance(value, int) and value > 2**53 - 1 else value
        for name, value in row.items()
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + _root(leaves[:k]) + _root(leaves[k:])).digest()

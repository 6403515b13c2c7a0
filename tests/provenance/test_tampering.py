"""Whatever is edited, removed or put beside in the database, ``ledger verify`` finds it.

Every column of every table is changed in some row, every table loses a row and gets a row more. The
few tables and columns that verification does not hold are listed, each with the reason.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.cli.app import run
from rag_audio.storage.migrations import HEAD, TABLES, versions
from tests.provenance.tampered import Copy, make_home
from tests.support.tampering import tampering

VERSIONS = sorted(file.name[1:5] for file in Path(versions.__path__[0]).glob("v*_*.py"))
SUBJECT = {
    "ledger_entries": "entr(y|ies)|the document|the column",
    "ledger_nodes": "tree",
    "ledger_tree": "state of the log|entries \\d+ to 1\\d+ are missing",
    "ledger_counter": "counter",
    "ledger_private": "personal text|salt|ledger_private",
    "ledger_checkpoints": "checkpoint",
    "ledger_sources": "sources",
    "ledger_hashes": "hashes",
    "ledger_outputs": "table of outputs|owner of output|ledger_outputs",
    "fingerprints": "fingerprint",
    "output_postings": "index of fingerprints",
    "output_hash_counts": "index of fingerprints",
    "output_owners": "owner of output",
    "api_keys": "API key",
    "libraries": "librar",
    "licenses": "license|tells of library",
    "files": "in files|tells of library",
    "withheld_files": "withheld_files|tells of library",
    "conflicts": "conflict",
    "revocations": "revo",
    **dict.fromkeys(("stems", "stem_tags", "stem_groups"), "tables of stems"),
    "key_fingerprints": "key",
}
"""What a fault says of a table, as a pattern."""

UNREADABLE = "the (log|tables .*) cannot be read: "
NOT_HELD = {
    "jobs": "the queue's working state; what a finished job says of its outputs is held, see below",
    "job_events": "progress, for who waits; it says nothing of an output that its record does not",
    "idempotency_keys": "for a day: which request was answered already, of the same owner's jobs",
    "uploads": "for hours: who sent which file; a record has the hash of the sound it was made of",
    "api_sessions": "for hours: the cookies of the page; the keys they stand for are held",
    "webhook_deliveries": "calls to be made; what they say is not asked for again",
    "webhook_secrets": "which secrets sign a key's calls; receivers accept no other than theirs",
    "stem_landmarks": "what stems are recognised by: made of the stems' sound again by the index",
    "stem_postings": "the same, by hash",
    "index_shards": "the plan of a run of the indexer, gone at its end; what it wrote is held",
    "fingerprints_to_index": "empty here: what the index lacks after a crash (test_table_audit.py)",
    "catalogue_epoch": "a counter: another number makes processes read again what they kept",
    "alembic_version": "a database that says another version is not opened, see below",
}
"""Tables that verification does not hold, and why."""

FREE: dict[tuple[str, str], str] = {
    ("ledger_checkpoints", "delete"): "its worth is where it was published",
}
"""Changes of tables that are held, which nobody can find, and why."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("tampered"))


@pytest.fixture(scope="module")
def copy(file: Path) -> Copy:
    made = Copy(file)
    assert made.faults() == []
    return made


NO_TEXT = "CAST(x'fffe' AS TEXT)"
"""A text that is not UTF-8: the driver cannot read it."""


class Refused(Exception):
    """The database refuses a change."""


@dataclass(frozen=True)
class Column:
    """A column of a table, as SQLite describes it."""

    name: str
    may_be_null: bool
    key: bool


def columns(copy: Copy, table: str) -> list[Column]:
    rows = copy.db.execute(f"PRAGMA table_info({table})").fetchall()
    return [Column(name, not (notnull or pk), bool(pk)) for _, name, _, notnull, _, pk in rows]


def rows_of(copy: Copy, table: str) -> list[dict[str, Any]]:
    found = copy.db.execute(f"SELECT * FROM {table}")  # noqa: S608
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def other(value: Any) -> Any:
    """A value of the same type that is another one, and fits where the first did."""
    match value:
        case None:
            return 1
        case bool() | int() | float():
            return value + 1_000_003
        case str():
            place = len(value) // 2
            letter = "1" if value[place : place + 1] != "1" else "2"
            return value[:place] + letter + value[place + 1 :]
        case bytes():
            place = len(value) // 2
            return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
    raise TypeError(type(value))


def where(copy: Copy, table: str, row: dict[str, Any]) -> tuple[str, list[Any]]:
    keys = [column.name for column in columns(copy, table) if column.key]
    return " AND ".join(f"{name} IS ?" for name in keys), [row[name] for name in keys]


def edits(copy: Copy, table: str, row: dict[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """Every change of a row, and rows like it: what it is called, the statement, and its values."""
    at, keys = where(copy, table, row)
    for column in columns(copy, table):
        strange = ("x", b"\xff\xfe", math.inf, -1)  # a type that the column should not hold
        for value in (other(row[column.name]), *strange, *([None] if column.may_be_null else [])):
            if value != row[column.name]:
                change = f"UPDATE {table} SET {column.name} = ? WHERE {at}"  # noqa: S608
                yield f"{column.name} = {value!r}", change, [value, *keys]
        change = f"UPDATE {table} SET {column.name} = {NO_TEXT} WHERE {at}"  # noqa: S608
        yield f"{column.name} = {NO_TEXT}", change, keys
    yield "delete", f"DELETE FROM {table} WHERE {at}", keys  # noqa: S608
    keyed = {column.name for column in columns(copy, table) if column.key}
    marks = ", ".join("?" * len(row))
    for name, changed in (("insert", set(row)), ("insert a copy", keyed)):
        twin = {name: other(value) if name in changed else value for name, value in row.items()}
        yield name, f"INSERT INTO {table} VALUES ({marks})", list(twin.values())  # noqa: S608


def once(statement: str, values: list[Any]) -> Callable[[sqlite3.Connection], None]:
    """A change of one row; SQLite itself refuses a few, of its own keys."""

    def change(db: sqlite3.Connection) -> None:
        try:
            assert db.execute(statement, values).rowcount == 1
        except sqlite3.IntegrityError as error:
            raise Refused from error

    return change


@pytest.mark.parametrize("table", [one for one in TABLES if one not in NOT_HELD])
def test_every_change_of_a_table_is_found(copy: Copy, table: str) -> None:
    rows, missed, tried = rows_of(copy, table), [], 0
    assert rows, "the home has a row in every table"
    for name, statement, values in edits(copy, table, rows[0]):
        if (table, name) not in FREE:
            try:
                found = copy.faults_after(once(statement, values))
            except Refused:
                continue
            tried += 1
            if not any(re.search(f"{SUBJECT[table]}|{UNREADABLE}", what) for what in found):
                missed.append((name, found))
    assert tried > len(columns(copy, table)), "each column, a row less or a row more"
    assert missed == []


def test_every_table_is_held_or_listed_with_the_reason(copy: Copy) -> None:
    assert sorted((*SUBJECT, *NOT_HELD)) == sorted(TABLES)
    there = copy.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert {name for (name,) in there if not name.startswith("sqlite_")} == set(TABLES)
    assert all(rows_of(copy, table) for table in SUBJECT)


HELD = sorted(SUBJECT)


@given(st.data())
@settings(max_examples=40)
def test_any_change_of_any_row_is_found(copy: Copy, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(HELD))
    rows = [row for row in rows_of(copy, table) if not is_free(table, row)]
    row = data.draw(st.sampled_from(rows))
    changes = [one for one in edits(copy, table, row) if (table, one[0]) not in FREE]
    _, statement, values = data.draw(st.sampled_from(changes))
    with suppress(Refused):
        assert copy.faults_after(once(statement, values)) != []


def is_free(table: str, row: dict[str, Any]) -> bool:
    """Whether a row cannot be held: the text that its owner was committed to is erased."""
    return table == "output_owners" and row["output"] == 4


@pytest.mark.parametrize("table", [one for one in TABLES if one != "alembic_version"])
def test_a_missing_table_is_a_fault(copy: Copy, table: str) -> None:
    found = copy.faults_after(f"DROP TABLE {table}")
    assert f"the table {table} is missing" in found
    assert len([what for what in found if what.startswith("the table")]) == 1


@pytest.mark.parametrize("table", [one for one in TABLES if one != "alembic_version"])
def test_a_missing_column_is_a_fault(copy: Copy, table: str) -> None:
    names = [column.name for column in columns(copy, table)]
    for some in (names[:1], names):
        renamed = [f"ALTER TABLE {table} RENAME COLUMN {name} TO lost_{name}" for name in some]
        found = copy.faults_after(*renamed)
        said = f"the table {table} lacks its column "
        assert [what for what in found if said in what] == [said + name for name in sorted(some)]


def test_each_missing_trigger_is_a_fault(file: Path) -> None:
    copy = Copy(file)
    made = copy.db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    assert len(made) >= 11
    for name, sql in made:
        for put_back in (None, re.sub("BEGIN SELECT.*", "BEGIN SELECT 1; END", sql)):
            copy.db.execute("BEGIN")
            copy.db.execute(f"DROP TRIGGER {name}")
            if put_back is not None:
                copy.db.execute(put_back)
            (found,) = copy.faults()
            said = "is missing" if put_back is None else "was changed or switched off"
            assert name in found and said in found


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE alembic_version SET version_num = '0006'", "says 0006"),
        ("UPDATE alembic_version SET version_num = '0001'", "says 0001"),
        ("UPDATE alembic_version SET version_num = '9999'", "'9999', which this version does not"),
        (f"UPDATE alembic_version SET version_num = {NO_TEXT}", "which this version does not"),  # noqa: S608
        ("DELETE FROM alembic_version", "says nothing"),
        ("INSERT INTO alembic_version VALUES ('0003')", "has 2 rows, not one"),
        ("DROP TABLE alembic_version", "says 0001"),
    ],
)
def test_another_version_in_the_database_is_one_clear_line(
    file: Path, tmp_path: Path, statement: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = verified(file, tmp_path, statement, capsys)
    assert code in (1, 2) and said in document["error"]["message"] and document["error"]["hint"]


def verified(
    file: Path, home: Path, statement: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    """What the command says of a home whose database was changed."""
    home.mkdir(exist_ok=True)
    shutil.copy(file, home / "ledger.db")
    shutil.copytree(file.parent / "keys", home / "keys", dirs_exist_ok=True)
    with tampering(home / "ledger.db") as db:
        db.execute(statement)
    capsys.readouterr()
    code = run(["ledger", "verify", "--home", str(home), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("version", [one for one in VERSIONS if one != HEAD])
def test_an_older_version_is_refused_or_brought_up_to_date_again(
    file: Path, tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change = f"UPDATE alembic_version SET version_num = '{version}'"  # noqa: S608
    code, document = verified(file, tmp_path, change, capsys)
    assert code == 1 or document["ok"]
    assert code == 0 or f"says {version}" in document["error"]["message"]


def test_a_missing_table_is_an_answer_of_the_command(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for table in ("fingerprints", "ledger_entries"):
        code, document = verified(file, tmp_path / table, f"DROP TABLE {table}", capsys)
        assert code == 1 and document["ok"] is False
        assert f"the table {table} is missing" in [one["what"] for one in document["faults"]]


@pytest.mark.parametrize("value", [NO_TEXT, "9e999", "json_array(1e999)"])
@pytest.mark.parametrize(
    ("table", "column"),
    [("libraries", "name"), ("files", "size"), ("api_keys", "name"), ("jobs", "result"),
     ("output_owners", "owner"), ("fingerprints", "sha256"), ("revocations", "reason")],
)  # fmt: skip
def test_a_cell_that_cannot_be_read_ends_one_check_alone(
    copy: Copy, table: str, column: str, value: str
) -> None:
    other = "api_keys" if table != "api_keys" else "output_owners"
    found = copy.faults_after(f"UPDATE {table} SET {column} = {value}", f"DELETE FROM {other}")  # noqa: S608
    assert any(re.search(f"{SUBJECT.get(table, 'job')}|tables .*{table}.* cannot", one)
               for one in found)  # fmt: skip
    assert any(re.search(SUBJECT[other], one) for one in found)
    if value == NO_TEXT:
        unreadable = [one for one in found if "cannot be read: " in one]
        assert unreadable
        assert all(re.match(f"the tables .*{table}.* cannot be read: ", one) for one in unreadable)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("libraries", f"name = {NO_TEXT}"),
        ("files", "size = 9e999"),
        ("ledger_entries", f"kind = {NO_TEXT} WHERE seq = 2"),
        ("ledger_entries", f"document = {NO_TEXT} WHERE kind = 'library'"),
        ("ledger_entries", "document = 'x' WHERE kind = 'erasure'"),
        ("ledger_entries", f"document = '{'[' * 100_000}' WHERE kind = 'erasure'"),
        ("ledger_tree", f"root = {NO_TEXT}"),
        ("ledger_tree", "size = 9e999"),
        ("key_fingerprints", f"state = {NO_TEXT}"),
    ],
)
def test_a_cell_that_cannot_be_read_is_an_answer_of_the_command(
    file: Path, tmp_path: Path, table: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = verified(file, tmp_path, f"UPDATE {table} SET {change}", capsys)  # noqa: S608
    assert (code, document["ok"]) == (1, False), document
    assert document["faults"]


KEYED = [table for table in TABLES if table != "alembic_version"]


@pytest.mark.parametrize("table", KEYED)
def test_a_lost_primary_key_is_a_fault(copy: Copy, table: str) -> None:
    keys = [column.name for column in columns(copy, table) if column.key]
    found = copy.faults_after(
        f"CREATE TABLE remade AS SELECT * FROM {table}",  # noqa: S608
        f"DROP TABLE {table}",
        f"ALTER TABLE remade RENAME TO {table}",
    )
    (lost,) = [one for one in found if "primary key" in one]
    assert re.fullmatch(rf"the table {table} has lost its primary key \((.*)\)", lost)
    assert all(key in lost for key in keys)


def test_notes_are_told_beside_faults(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = "DELETE FROM ledger_entries WHERE kind = 'library' AND seq = (SELECT max(seq) "
    changes += "FROM ledger_entries WHERE kind = 'library')"
    code, document = verified(file, tmp_path, changes, capsys)
    assert code == 1 and document["faults"]
    assert any("its rows are not sealed" in note for note in document["notes"])

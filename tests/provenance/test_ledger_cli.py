"""``rag-audio ledger``, ``backup`` and ``restore`` as a user or an auditor meets them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import record
from tests.provenance.chain import write_chain
from tests.support.tampering import tampering

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    ledger = SqlLedger(connect(sqlite_url(made / "ledger.db")))
    for _ in range(3):
        ledger.append(record(ledger.next_output_id()))
    return made


def said(capsys: Capture, *arguments: object, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*map(str, arguments), "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_verify_says_size_and_root(home: Path, capsys: Capture) -> None:
    document = said(capsys, "ledger", "verify", "--home", home)
    assert (document["ok"], document["entries"], document["faults"]) == (True, 3, [])
    assert len(document["root"]) == 64


def test_verify_says_where_a_byte_was_changed(home: Path, capsys: Capture) -> None:
    with tampering(home / "ledger.db") as db:
        db.execute(
            "UPDATE ledger_entries SET document = "
            "CAST(replace(CAST(document AS TEXT), 'boom bap', 'boom bop') AS BLOB) WHERE seq = 2"
        )
    document = said(capsys, "ledger", "verify", "--home", home, code=1)
    assert document["ok"] is False
    assert [fault["seq"] for fault in document["faults"]] == [2]
    assert run(["ledger", "verify", "--home", str(home)]) == 1


def test_a_ledger_whose_state_is_gone_is_a_fault_and_no_crash(home: Path, capsys: Capture) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        db.execute("DELETE FROM ledger_tree")
        db.commit()
    document = said(capsys, "ledger", "verify", "--home", home, code=1)
    assert "state of the log" in document["faults"][0]["what"]


def test_a_checkpoint_that_was_published_catches_a_rewritten_ledger(
    home: Path, tmp_path: Path, capsys: Capture
) -> None:
    signed = said(capsys, "ledger", "checkpoint", "--publish", tmp_path / "public", "--home", home)
    kept = tmp_path / "public" / "checkpoint"
    assert kept.read_text() == signed["checkpoint"]
    (tmp_path / "key").write_text(signed["key"])
    against = ("ledger", "verify", "--against", kept, "--key", tmp_path / "key", "--home", home)
    assert said(capsys, *against)["against"] == [4]
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (home / name).unlink(missing_ok=True)
    ledger = SqlLedger(connect(sqlite_url(home / "ledger.db")))
    for _ in range(4):
        ledger.append(record(ledger.next_output_id(), seed=8))
    found = said(capsys, "ledger", "verify", "--home", home)
    assert found["ok"] is True, "a database rewritten as a whole"
    faults = said(capsys, *against, code=1)["faults"]
    assert "not those of the checkpoint" in faults[0]["what"]


def test_an_export_is_verified_where_there_is_no_ledger(
    home: Path, tmp_path: Path, capsys: Capture
) -> None:
    made = said(capsys, "ledger", "export", tmp_path / "out", "--home", home)
    shutil.rmtree(home)
    verify = ("ledger", "verify", "--export", tmp_path / "out", "--key", made["key"])
    document = said(capsys, *verify)
    assert (document["ok"], document["entries"], document["root"]) == (True, 4, made["root"])
    file = tmp_path / "out" / "ledger.jsonl"
    file.write_bytes(file.read_bytes().replace(b"boom bap", b"boom bop", 1))
    assert said(capsys, *verify, code=1)["faults"][0]["seq"] == 1
    assert not home.exists()


def test_an_output_is_shown_and_proved(home: Path, capsys: Capture) -> None:
    shown = said(capsys, "ledger", "show", 2, "--home", home)
    assert shown["record"]["request"]["prompt"].startswith("dusty")
    proof = said(capsys, "ledger", "proof", 2, "--home", home)
    assert (proof["seq"], proof["size"], len(proof["path"])) == (2, 3, 2)
    assert proof["leaf_hash"] == shown["leaf_hash"]
    smaller = said(capsys, "ledger", "proof", 2, "--size", 2, "--home", home)
    assert (smaller["size"], len(smaller["path"]), len(smaller["consistency"])) == (2, 1, 1)


def test_a_prompt_is_erased(home: Path, capsys: Capture) -> None:
    event = said(capsys, "ledger", "erase", "--output", 2, "--home", home)
    assert (event["kind"], event["output"], event["seq"]) == ("erasure", 2, 4)
    shown = said(capsys, "ledger", "show", 2, "--home", home)
    assert (shown["erased"], shown["record"]["request"]["prompt"]) == (True, "[erased]")
    assert shown["events"] == [event]
    assert said(capsys, "ledger", "verify", "--home", home)["erased"] == [2]


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["ledger", "show", "99"], 2, "InvalidInput"),
        (["ledger", "proof", "99"], 2, "InvalidInput"),
        (["ledger", "proof", "1", "--size", "9"], 2, "InvalidInput"),
        (["ledger", "erase", "--output", "99"], 1, "LedgerError"),
        (["ledger", "verify", "--against", "nowhere"], 2, "UnreadableFile"),
        (["ledger", "verify", "--key", "nonsense"], 2, "UnreadableFile"),
        (["ledger", "verify", "--key", "a+b+c"], 2, "InvalidInput"),
        (["ledger", "verify", "--export", "nowhere"], 2, "UnreadableFile"),
        (["ledger", "checkpoint", "--publish", "http://127.0.0.1:1/x"], 4, "BackendUnavailable"),
        (["backup", "home.zip"], 2, "InvalidInput"),
        (["restore", "nowhere.tar"], 2, "InvalidInput"),
    ],
)
def test_errors_are_one_line_with_their_code(
    home: Path, capsys: Capture, arguments: list[str], code: int, kind: str
) -> None:
    document = said(capsys, *arguments, "--home", home, code=code)
    assert document["error"]["type"] == kind
    assert "\n" not in document["error"]["message"]


@pytest.mark.parametrize("key", ["nonsense", "rag-audio/ledger/0123456789abcdef"])
def test_a_key_that_is_none_says_what_a_key_is(home: Path, capsys: Capture, key: str) -> None:
    error = said(capsys, "ledger", "verify", "--key", key, "--home", home, code=2)["error"]
    assert f"{key!r} is neither a verifier key (name+id+base64) nor a file" in error["message"]
    assert "rag-audio ledger checkpoint" in error["hint"]


def test_a_checkpoint_without_a_key_says_where_the_key_is(
    home: Path, tmp_path: Path, capsys: Capture
) -> None:
    said(capsys, "backup", tmp_path / "b.tar", "--home", home)  # made before the first checkpoint
    signed = said(capsys, "ledger", "checkpoint", "--home", home)
    (tmp_path / "cp").write_text(signed["checkpoint"], encoding="utf-8")
    again = tmp_path / "again"
    said(capsys, "restore", tmp_path / "b.tar", "--home", again)
    verify = ("ledger", "verify", "--against", tmp_path / "cp", "--home", again)
    error = said(capsys, *verify, code=2)["error"]
    assert "this home has no keys/ledger.key" in error["message"]
    assert "rag-audio ledger checkpoint" in error["hint"] and "--key" in error["hint"]
    assert said(capsys, *verify, "--key", signed["key"], code=1)["faults"]


def test_a_home_of_the_chain_version_opens_as_before(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "old").mkdir()
    write_chain(tmp_path / "old" / "ledger.db", [record(1), record(2)])
    assert said(capsys, "ledger", "verify", "--home", tmp_path / "old")["entries"] == 2
    assert len(said(capsys, "outputs", "--home", tmp_path / "old")["outputs"]) == 2


def test_a_home_is_backed_up_and_restored(home: Path, tmp_path: Path, capsys: Capture) -> None:
    said(capsys, "ledger", "checkpoint", "--home", home)
    made = said(capsys, "backup", tmp_path / "b.tar.gz", "--home", home)
    assert made["files"] == 2 and any("cannot trace" in line for line in made["warnings"])
    shutil.rmtree(home)
    restore = ("restore", tmp_path / "b.tar.gz", "--home", home)
    error = said(capsys, *restore, code=2)["error"]
    assert "revocations and erasures made after" in error["message"] and not home.exists()
    assert "--later" in error["hint"] and "--yes" in error["hint"]
    done = said(capsys, *restore, "--yes")
    assert any("revocations and erasures" in line for line in done["warnings"])
    found = said(capsys, "ledger", "verify", "--home", home)
    assert (found["entries"], found["restores"][0]["numbers_from"]) == (5, done["numbers_from"])
    assert said(capsys, "restore", tmp_path / "b.tar.gz", "--home", home, code=2)

"""Signed notes and checkpoints, published, kept, and held against the log."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from rag_audio.provenance.ledger.signed_notes import (
    LogCheckpoint,
    SigningKey,
    VerifierKey,
    load_or_create_key,
    open_note,
    publish,
    read_checkpoint,
    signing_key,
)
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import record

KEY = signing_key(bytes(range(32)))
NOTE = KEY.sign(LogCheckpoint(KEY.name, 5, b"\x07" * 32).text)


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    made = SqlLedger(connect(sqlite_url(tmp_path / "ledger.db")), tmp_path / "keys" / "ledger.key")
    for _ in range(3):
        made.append(record(made.next_output_id()))
    return made


def test_a_verifier_key_of_another_program_is_read() -> None:
    """The key of Go's checksum database, as the Go command has it built in."""
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    key = VerifierKey.parse(text)
    assert (key.name, key.id.hex(), str(key)) == ("sum.golang.org", "033de0ae", text)


def test_a_note_is_spelled_as_the_specification_says() -> None:
    text, _, line = NOTE.partition("\n\n")
    assert text.split("\n") == [KEY.name, "5", base64.b64encode(b"\x07" * 32).decode()]
    assert line.startswith(f"\u2014 {KEY.name} ") and line.endswith("\n")
    raw = base64.b64decode(line.split(" ")[2])
    assert (raw[:4], len(raw)) == (KEY.verifier.id, 4 + 64)


def test_a_note_opens_with_its_key_only() -> None:
    assert read_checkpoint(NOTE, KEY.verifier) == LogCheckpoint(KEY.name, 5, b"\x07" * 32)
    other = signing_key(bytes(32))
    with pytest.raises(InvalidInput, match="not signed by"):
        open_note(NOTE, other.verifier)
    same_name = SigningKey(KEY.name, bytes(32))
    with pytest.raises(InvalidInput, match="not signed by"):
        open_note(NOTE, same_name.verifier)


def test_signatures_of_others_are_ignored() -> None:
    witness = SigningKey("witness.example", b"\x01" * 32)
    text = open_note(NOTE, KEY.verifier)
    both = witness.sign(text) + NOTE.split("\n\n")[1]
    assert open_note(both, KEY.verifier) == text
    assert open_note(both, witness.verifier) == text


@given(st.integers(0, len(NOTE) - 1), st.characters(codec="ascii"))
def test_a_note_with_another_character_does_not_open(place: int, character: str) -> None:
    changed = NOTE[:place] + character + NOTE[place + 1 :]
    if changed == NOTE:
        return
    with pytest.raises(InvalidInput):
        read_checkpoint(changed, KEY.verifier)


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_nonsense_is_no_note_and_no_key(text: str) -> None:
    for wrong in (text, NOTE + text + "x", f"{text}\n\n\u2014 a b\n"):
        with pytest.raises(InvalidInput):
            open_note(wrong, KEY.verifier)
    with pytest.raises(InvalidInput):
        VerifierKey.parse(text)


@pytest.mark.parametrize("size", ["-1", "05", "1e3", "", " 5", "５"])
def test_a_size_has_one_spelling(size: str) -> None:
    text = f"{KEY.name}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n"
    with pytest.raises(InvalidInput):
        LogCheckpoint.parse(text)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ledger.key"
    key = load_or_create_key(path)
    assert load_or_create_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["ledger.key"]
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match="5 bytes, not 32"):
        load_or_create_key(path)


def test_the_log_extends_its_own_checkpoints(ledger: SqlLedger) -> None:
    notes = [ledger.checkpoint()]
    for _ in range(3):
        ledger.append(record(ledger.next_output_id()))
        notes.append(ledger.checkpoint())
    assert notes[-1] == ledger.checkpoint()
    assert ledger.verify(notes) == []
    key = VerifierKey.parse(ledger.verifier_key() or "")
    old, new = read_checkpoint(notes[1], key), read_checkpoint(notes[3], key)
    path = [bytes.fromhex(step) for step in ledger.consistency(old.size, new.size)]
    assert verify_consistency(old.size, new.size, path, old.root, new.root)
    proof = ledger.inclusion(2, old.size)
    leaf = leaf_hash(list(ledger.documents())[1])
    steps = [bytes.fromhex(step) for step in proof.path]
    assert verify_inclusion(leaf, 1, old.size, steps, old.root)


def test_a_log_that_was_rewritten_consistently_is_found_by_a_checkpoint_elsewhere(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    note, key = ledger.checkpoint(), ledger.verifier_key()
    other = SqlLedger(connect(sqlite_url(tmp_path / "b.db")), tmp_path / "keys" / "ledger.key")
    for _ in range(5):
        other.append(record(other.next_output_id(), seed=99))
    assert other.verify() == []
    (fault,) = other.verify([note], key)
    assert "the first 4 entries are not those of the checkpoint" in fault.what


def test_a_log_that_was_cut_back_is_found_by_a_checkpoint(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    note = ledger.checkpoint()
    other = SqlLedger(connect(sqlite_url(tmp_path / "b.db")), tmp_path / "keys" / "ledger.key")
    (fault,) = other.verify([note])
    assert (fault.seq, fault.what) == (1, "the checkpoint is of 4 entries, the ledger has 0")


def test_a_forged_checkpoint_is_bad_input(ledger: SqlLedger) -> None:
    note = ledger.checkpoint()
    said = LogCheckpoint.parse(note)
    forged = note.replace(said.text, replace(said, size=2).text)
    with pytest.raises(InvalidInput, match=r"signature of .* is wrong"):
        ledger.verify([forged])


def test_a_checkpoint_without_a_key_to_check_it_is_bad_input(tmp_path: Path) -> None:
    keyless = SqlLedger(connect("sqlite://"))
    with pytest.raises(InvalidInput, match="no key"):
        keyless.verify([NOTE])
    with pytest.raises(ConfigError, match="no key"):
        keyless.checkpoint()
    assert keyless.verifier_key() is None


def test_a_stored_checkpoint_of_another_key_is_a_fault(ledger: SqlLedger, tmp_path: Path) -> None:
    ledger.checkpoint()
    (tmp_path / "keys" / "ledger.key").unlink()
    (fault,) = ledger.verify()
    assert fault.seq == 4 and "is missing from keys/" in fault.what
    load_or_create_key(tmp_path / "keys" / "ledger.key")
    said = [fault.what for fault in ledger.verify()]
    assert any("signed by another key" in what for what in said)
    assert any("not the database's ledger key" in what for what in said)
    with pytest.raises(ConfigError, match="the database's ledger key is"):
        ledger.checkpoint()


def test_a_checkpoint_is_published_in_a_folder_and_never_replaced_by_a_fork(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "public"
    assert publish(NOTE, str(folder)) == str(folder / "checkpoint")
    publish(NOTE, str(folder))
    assert sorted(each.name for each in folder.iterdir()) == ["checkpoint", "checkpoint.5"]
    assert (folder / "checkpoint").read_text() == NOTE
    fork = KEY.sign(LogCheckpoint(KEY.name, 5, b"\x08" * 32).text)
    with pytest.raises(InvalidInput, match="another checkpoint of 5 entries"):
        publish(fork, str(folder))
    assert (folder / "checkpoint").read_text() == NOTE


class _Taker(BaseHTTPRequestHandler):
    taken: ClassVar[list[tuple[str, bytes]]] = []

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((self.path, body))
        self.send_response(404 if self.path == "/no" else 201)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Taker) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_checkpoint_is_put_to_a_url(server: str) -> None:
    assert publish(NOTE, f"{server}/log") == f"{server}/log"
    assert _Taker.taken[-1] == ("/log", NOTE.encode())
    loud = f"{server}/loud".replace("http", "HTTP")
    assert publish(NOTE, loud) == loud, "schemes have no case: it is no folder"
    assert _Taker.taken[-1] == ("/loud", NOTE.encode())
    with pytest.raises(BackendUnavailable, match="404"):
        publish(NOTE, f"{server}/no")


def test_a_server_that_is_not_there_is_an_error_of_the_backend() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be published"):
        publish(NOTE, "http://127.0.0.1:1/log")

"""Verifying in short transactions, from a checkpoint on, and after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rag_audio.cli.app import run
from rag_audio.errors import InvalidInput
from rag_audio.provenance.ledger import audit, audit_pages
from rag_audio.provenance.ledger.audit_tables import CHECKS
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.verification import LOG, PROGRESS, VerifyFrom
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import record, source
from tests.support.tampering import tampering

OUTPUTS, PAGE = 30, 7
CHANGE_LEAF, OTHER = "UPDATE ledger_entries SET leaf_hash = ? WHERE seq = ?", "ab" * 32


class Interrupted(Exception):
    """The program was ended."""


def page_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (audit, audit_pages):
        monkeypatch.setattr(module, "AT_ONCE", PAGE)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page_of_few(monkeypatch)
    ledger = opened(tmp_path)
    for _ in range(OUTPUTS):
        add(ledger)
    return tmp_path


def opened(home: Path) -> SqlLedger:
    return SqlLedger(connect(sqlite_url(home / "ledger.db")), home / "keys" / "ledger.key")


def add(ledger: SqlLedger) -> None:
    ledger.append(record(ledger.next_output_id(), source("break")))


def change(home: Path, statement: str, *given: object) -> None:
    with tampering(home / "ledger.db") as db:
        db.execute(statement, given)


def stop_at(name: str, entry: int) -> Callable[[str, int, int], None]:
    def on_page(check: str, reached: int, _size: int) -> None:
        if check == name and reached >= entry:
            raise Interrupted

    return on_page


def saved(home: Path, *, resume: bool = False) -> VerifyFrom:
    return VerifyFrom(progress=home / "verify.json", resume=resume, save_every_s=0.0)


def interrupted(home: Path, name: str = LOG, entry: int = 2 * PAGE) -> None:
    ledger = opened(home)
    ledger.checkpoint()
    with pytest.raises(Interrupted):
        ledger.verification(start=saved(home), on_page=stop_at(name, entry))
    assert (home / "verify.json").is_file()


def test_no_transaction_is_open_between_pages_and_the_log_may_grow(home: Path) -> None:
    ledger, reached = opened(home), []

    def on_page(check: str, entry: int, _size: int) -> None:
        reached.append((check, entry))
        if check == LOG and entry < OUTPUTS:
            with ledger._engine.begin() as db:  # Nobody holds a lock.
                db.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            add(ledger)
            ledger.checkpoint()

    assert ledger.verification(on_page=on_page).faults == []
    log = [entry for check, entry in reached if check == LOG]
    assert log == sorted(set(log)) and log[1] == PAGE and len(log) > OUTPUTS // PAGE
    assert {check for check, _ in reached} == {LOG, *(one.name for one in CHECKS)}


def test_pages_find_what_one_transaction_finds(home: Path) -> None:
    change(home, "UPDATE ledger_sources SET artist = 'x' WHERE seq = 20")
    change(home, "INSERT INTO ledger_hashes (seq, what, sha256) VALUES (99, 'pcm', 'x')")
    change(home, "DELETE FROM ledger_outputs WHERE seq = 8")
    ledger = opened(home)
    with ledger._engine.connect() as db:
        at_once = list(audit.faults(db))
    found = ledger.verify()
    assert {fault.seq for fault in found} >= {8, 20, 99}
    assert set(at_once) <= set(found)


def test_a_verification_goes_on_where_it_was_interrupted(home: Path) -> None:
    change(home, "UPDATE ledger_sources SET artist = 'x' WHERE seq = 3")
    interrupted(home)
    reached: list[int] = []
    found = opened(home).verification(
        start=saved(home, resume=True),
        on_page=lambda check, entry, _: reached.append(entry) if check == LOG else None,
    )
    assert found.resumed == 2 * PAGE and reached[0] in (0, 2 * PAGE)
    assert len(reached) == len(range(2 * PAGE, OUTPUTS, PAGE))
    assert [fault.seq for fault in found.faults] == [3], "what was found before is kept"
    assert not (home / "verify.json").exists()


def test_it_goes_on_with_the_check_that_was_interrupted(home: Path) -> None:
    interrupted(home, "owners", 2 * PAGE)
    reached: list[tuple[str, int]] = []
    found = opened(home).verification(
        start=saved(home, resume=True),
        on_page=lambda check, entry, _: reached.append((check, entry)),
    )
    assert (found.faults, reached[0]) == ([], ("owners", 2 * PAGE))


def test_a_saved_state_is_not_believed_blindly(home: Path) -> None:
    interrupted(home)
    file = home / "verify.json"
    kept = json.loads(file.read_text())
    for name, value in (("size", 28), ("faults", []), ("done", [LOG]), ("mac", "0" * 64)):
        if kept[name] != value:
            file.write_text(json.dumps({**kept, name: value}))
            with pytest.raises(InvalidInput, match="was changed"):
                opened(home).verification(start=saved(home, resume=True))
    file.write_text("[]")
    with pytest.raises(InvalidInput, match="cannot be read"):
        opened(home).verification(start=saved(home, resume=True))


def test_a_log_that_was_rewritten_meanwhile_is_found_and_read_from_its_beginning(
    home: Path,
) -> None:
    interrupted(home)
    change(home, CHANGE_LEAF, OTHER, 13)
    change(home, "UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 2 AND place = 2")
    found = opened(home).verification(start=saved(home, resume=True))
    what = [fault.what for fault in found.faults]
    assert "the first 14 entries are not those that were verified" in what
    assert "the document does not match its leaf hash" in what and found.resumed is None


def test_from_a_checkpoint_on_only_what_came_later_is_read(home: Path) -> None:
    ledger = opened(home)
    note = ledger.checkpoint()
    size = ledger.size()
    for _ in range(3):
        add(ledger)
    for start in (VerifyFrom(checkpoint=note), VerifyFrom(last_checkpoint=True)):
        found = ledger.verification(start=start)
        assert (found.faults, found.start) == ([], size)
    change(home, "UPDATE ledger_sources SET artist = 'x' WHERE seq IN (3, ?)", size + 1)
    said = [fault.seq for fault in ledger.verification(start=start).faults]
    assert said == [size + 1], "rows beside what the checkpoint covers are not read"
    assert {fault.seq for fault in ledger.verify()} == {3, size + 1}


def test_a_log_that_is_not_the_checkpoints_is_checked_as_a_whole(home: Path) -> None:
    ledger = opened(home)
    note = ledger.checkpoint()
    size = ledger.size()
    change(home, CHANGE_LEAF, OTHER, size)
    found = ledger.verification(start=VerifyFrom(checkpoint=note))
    assert found.start == 0
    what = {fault.what for fault in found.faults}
    assert f"the first {size} entries are not those of the checkpoint" in what
    assert "the document does not match its leaf hash" in what


def test_a_start_that_cannot_be_used_is_told(home: Path) -> None:
    ledger = opened(home)
    with pytest.raises(InvalidInput, match="no ledger key"):
        ledger.verification(start=VerifyFrom(last_checkpoint=True))
    note = ledger.checkpoint()
    with pytest.raises(InvalidInput, match="signature"):
        ledger.verification(start=VerifyFrom(checkpoint=note.replace("\n\n", "\nx\n\n")))
    with pytest.raises(InvalidInput, match="not both"):
        VerifyFrom(checkpoint=note, last_checkpoint=True)
    change(home, "DELETE FROM ledger_checkpoints")
    with pytest.raises(InvalidInput, match="no checkpoint"):
        ledger.verification(start=VerifyFrom(last_checkpoint=True))


def test_the_command_starts_at_a_checkpoint_or_goes_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def verified(*words: str, code: int = 0) -> dict[str, Any]:
        assert run(["ledger", "verify", "--home", str(home), "--json", *words]) == code
        return dict(json.loads(capsys.readouterr().out))

    ledger = opened(home)
    (home / "note").write_text(ledger.checkpoint())
    size = ledger.size()
    for _ in range(PAGE):
        add(ledger)
    for start in ("last", str(home / "note")):
        said = verified("--from-checkpoint", start)
        assert (said["ok"], said["from"], said["resumed"]) == (True, size, None)
    with pytest.raises(Interrupted):
        ledger.verification(
            start=VerifyFrom(progress=home / PROGRESS, save_every_s=0.0),
            on_page=stop_at("licenses", 3 * PAGE),
        )
    said = verified("--resume")
    assert (said["ok"], said["from"], said["resumed"]) == (True, 0, size + PAGE)
    nothing_saved = verified("--resume")
    assert (nothing_saved["ok"], nothing_saved["resumed"]) == (True, None)
    both = verified("--resume", "--from-checkpoint", "last", code=2)
    assert "not both" in both["error"]["message"]
    change(home, "DELETE FROM ledger_hashes WHERE seq = ?", size + 1)
    assert verified("--from-checkpoint", "last", code=1)["faults"][0]["seq"] == size + 1

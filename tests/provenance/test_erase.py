"""Personal texts stand aside under commitments, and can be erased without breaking the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.domain import PromptSpan
from rag_audio.domain.plan import plan_to_json
from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger.commitments import ERASED, commitment, seal, text_faults, unseal
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.records import parse, record_to_json
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import plan, record

SECRET = "for my sister's wedding"  # noqa: S105
REQUEST: dict[str, Any] = {
    "prompt": f"slow waltz {SECRET}",
    "negative_prompt": f"no drums {SECRET}",
    "artist": "Night Shift House Band",
    "audio": f"/home/someone/{SECRET}.wav",
    "midi": None,
    "a field that came later": [{"deep": SECRET}, 3],
    "channels": ["init", "prompt"],
    "k": 3,
}
PLAN = plan_to_json(
    plan(
        prompt=f"slow waltz {SECRET}",
        enriched_prompt=f"slow waltz {SECRET}, piano",
        spans=(PromptSpan(0, 5, SECRET, 5, None), PromptSpan(5, 9, ", piano", 1, "stem")),
        notes=(f"tempo taken from {SECRET}",),
    )
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def ledger(tmp_path: Path) -> SqlLedger:
    made = SqlLedger(connect(sqlite_url(tmp_path / "ledger.db")))
    for _ in range(2):
        made.append(record(made.next_output_id(), request=REQUEST, plan=PLAN))
    return made


def test_no_personal_text_enters_the_log(ledger: SqlLedger) -> None:
    for document in ledger.documents():
        assert SECRET.encode() not in document
        assert b"slow waltz" not in document
        assert b"Night Shift House Band" in document
        assert b'"strength":0.5' in document


def test_records_come_back_with_their_texts(ledger: SqlLedger) -> None:
    entry = ledger.find(1)
    assert entry is not None
    assert (entry.record.request, entry.record.plan) == (REQUEST, PLAN)
    assert not entry.erased


def test_erased_texts_are_marked_and_the_log_still_verifies(ledger: SqlLedger) -> None:
    root = ledger.root()
    event = ledger.erase(1)
    assert (event.kind, event.output, event.seq) == ("erasure", 1, 3)
    entry = ledger.find(1)
    assert entry is not None and entry.erased
    assert entry.record.request["prompt"] == ERASED
    assert entry.record.request["artist"] == "Night Shift House Band"
    assert entry.record.plan["spans"][0]["text"] == ERASED
    assert entry.record.plan["references"] == PLAN["references"]
    assert SECRET not in json.dumps(record_to_json(entry.record))
    assert ledger.outputs()[1].record.request == REQUEST
    assert ledger.verify() == []
    assert ledger.root(2) == root
    assert [e.output for e in ledger.events("erasure")] == [1]


def test_erased_texts_leave_the_files_of_the_database(ledger: SqlLedger, tmp_path: Path) -> None:
    ledger.erase(1)
    ledger.erase(2)
    files = [path for path in tmp_path.iterdir() if path.name.startswith("ledger.db")]
    assert len(files) >= 1
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path


def test_erasing_twice_is_no_second_entry(ledger: SqlLedger) -> None:
    assert ledger.erase(1) == ledger.erase(1)
    assert ledger.size() == 3


def test_what_cannot_be_erased_is_refused(ledger: SqlLedger) -> None:
    with pytest.raises(LedgerError, match="no output 99"):
        ledger.erase(99)
    bare = ledger.append(record(ledger.next_output_id(), request={}, plan={"strength": 1}))
    with pytest.raises(LedgerError, match="no personal texts aside"):
        ledger.erase(bare.record.output)
    assert ledger.size() == 3


def test_a_text_that_is_put_back_after_its_erasure_is_a_fault(ledger: SqlLedger) -> None:
    from sqlalchemy import text

    from rag_audio.storage.database import writing

    with writing(ledger._engine) as db:
        kept = db.execute(text("SELECT * FROM ledger_private WHERE seq = 1")).one()
    ledger.erase(1)
    with writing(ledger._engine) as db:
        db.execute(text("INSERT INTO ledger_private VALUES (:seq, :salt, :texts)"), kept._asdict())
    (fault,) = ledger.verify()
    assert (fault.seq, fault.what) == (1, "the personal texts were erased, and are there again")


@given(st.dictionaries(TEXT, JSON, max_size=4), st.dictionaries(TEXT, JSON, max_size=4))
def test_any_request_and_plan_come_back_as_they_were(
    request: dict[str, Any], planned: dict[str, Any]
) -> None:
    made = record(1, request=request, plan=planned)
    sealed = seal(made)
    document = parse(sealed.document)
    assert unseal(document, sealed.texts) == (made, False)
    if sealed.texts is not None:
        assert list(text_faults(document, sealed.salt, sealed.texts)) == []
        assert list(text_faults(document, b"\x00" * 32, sealed.texts)) != []
        _, erased = unseal(document, None)
        assert erased


def test_equal_texts_have_unequal_commitments() -> None:
    made = record(1, request=REQUEST, plan=PLAN)
    one, two = (parse(seal(made).document)["commitments"] for _ in range(2))
    assert one.keys() == two.keys()
    assert not set(one.values()) & set(two.values())
    assert len(set(one.values())) == len(one)


def test_one_text_can_be_shown_without_the_others() -> None:
    sealed = seal(record(1, request=REQUEST))
    document, texts = parse(sealed.document), parse(sealed.texts or b"")
    at = "/request/prompt"
    assert document["commitments"][at] == commitment(sealed.salt, at, texts[at])
    assert commitment(sealed.salt, "/request/audio", texts[at]) != document["commitments"][at]

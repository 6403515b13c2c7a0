from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger.records import canonical, record_from_json, record_to_json
from tests.provenance.builders import decode_record, encode_record, record, source

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_a_record_is_read_as_it_was_written(request: dict[str, Any]) -> None:
    made = record(1, source("a"), source("b"), request=request)
    assert decode_record(encode_record(made)) == made


@given(JSON)
def test_equal_records_have_equal_bytes(value: Any) -> None:
    once = encode_record(record(1, request={"a": value, "b": 1}))
    assert encode_record(record(1, request={"b": 1, "a": value})) == once
    assert encode_record(decode_record(once)) == once


def test_a_record_without_sources_is_kept() -> None:
    made = record(1, sources=())
    assert decode_record(encode_record(made)) == made


def test_numbers_that_json_cannot_hold_are_written_as_strings() -> None:
    made = record(1, seed=2**63 - 1, request={"a": float("-inf"), "b": 2**63 - 1, "c": 1e30})
    written = encode_record(made)
    again = decode_record(written)
    assert again.seed == 2**63 - 1
    assert again.request == {"a": "-inf", "b": str(2**63 - 1), "c": "1e+30"}
    assert encode_record(again) == written


def test_times_are_written_in_utc() -> None:
    local = datetime(2026, 11, 22, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert record_to_json(record(1, created=local))["created"] == "2026-11-21T23:00:00+00:00"


@pytest.mark.parametrize("lost", ["output", "sources", "plan", "created"])
def test_a_missing_field_is_named(lost: str) -> None:
    document = record_to_json(record(1))
    del document[lost]
    with pytest.raises(LedgerError, match=lost):
        record_from_json(document)


@pytest.mark.parametrize("document", [b"", b"[]", b"{", b"\xff", b'{"format": 9}'])
def test_what_is_not_a_record_is_refused(document: bytes) -> None:
    with pytest.raises(LedgerError):
        decode_record(document)


def test_a_broken_source_is_refused() -> None:
    document = json.loads(encode_record(record(1)))
    del document["sources"][0]["license"]["holder"]
    with pytest.raises(LedgerError, match="holder"):
        record_from_json(document)


SPELT = [
    ({"b": -0.0, "a": 1e21, "c": 5e-324, "": 1.0}, '{"":1,"a":1e+21,"b":0,"c":5e-324}'),
    ([1e-7, 9.99e-5, 1e-4, 0.1, 1e15 + 0.5], "[1e-7,0.0000999,0.0001,0.1,1000000000000000.5]"),
    (
        [1e16, 123456789e12, 2.5e10, 2**53 - 1],
        "[10000000000000000,123456789000000000000,25000000000,9007199254740991]",
    ),
    ({"\ufb33": 1, "😀": 2, "é": 3}, '{"é":3,"😀":2,"\ufb33":1}'),
    ('\x00\x1f\x7f\u2028"\\/\b\f\n\r\t', '"\\u0000\\u001f\x7f\u2028\\"\\\\/\\b\\f\\n\\r\\t"'),
    ([True, None, {"a": {}}, []], '[true,null,{"a":{}},[]]'),
]
"""What stands in ledgers: numbers as ECMAScript writes them, names in the order of UTF-16."""


@pytest.mark.parametrize(("value", "text"), SPELT)
def test_values_are_spelt_as_rfc_8785_wants_it(value: Any, text: str) -> None:
    assert canonical({"v": value}).decode() == f'{{"v":{text}}}'


def test_what_json_has_no_word_for_is_refused() -> None:
    for wrong in (float("nan"), float("inf"), 2**53, object(), "\ud800", {1: 2}):
        with pytest.raises(LedgerError, match="cannot be written"):
            canonical({"a": wrong})

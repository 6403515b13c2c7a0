from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.errors import LedgerError
from rag_audio.provenance.records import (
    canonical,
    decode_record,
    encode_record,
    record_from_json,
    record_to_json,
)
from tests.provenance.builders import record, source

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


NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), ANY_JSON, max_size=4))
def test_every_document_is_spelled_as_rfc_8785_wants_it(document: dict[str, Any]) -> None:
    assert canonical(document) == rfc8785.dumps(document)


@pytest.mark.parametrize(
    "number",
    [
        0.0,
        -0.0,
        1.0,
        1e-4,
        9.99e-5,
        1e-7,
        0.1,
        1.5,
        1e15 + 0.5,
        2.0**53,
        1e16,
        1e21,
        1e22,
        5e-324,
        2.5e10,
    ],
)
def test_numbers_are_spelled_as_ecmascript_does(number: float) -> None:
    assert canonical({"n": number, "m": -number}) == rfc8785.dumps({"n": number, "m": -number})


@pytest.mark.parametrize("text", ['\x00\x1f\x7f\u2028\u2029"\\/\b\f\n\r\t', "😀", "é\ufb33"])
def test_texts_are_escaped_as_rfc_8785_wants_it(text: str) -> None:
    assert canonical({"t": text, text: 1}) == rfc8785.dumps({"t": text, text: 1})
    assert canonical({"t": text}) == rfc8785.dumps({"t": text})


def test_what_json_has_no_word_for_is_refused() -> None:
    for wrong in (float("nan"), float("inf"), 2**53, object(), "\ud800", {1: 2}):
        with pytest.raises(LedgerError, match="cannot be written"):
            canonical({"a": wrong})

"""The codec: every class by its types, exceptions stated on the class, refusals in one line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.domain import (
    AttributionRecord,
    Channel,
    ConditioningPlan,
    Edit,
    Influence,
    InheritedSource,
    Key,
    License,
    OtherClaim,
    Played,
    Reference,
    SeedPart,
    Segment,
    SegmentFilter,
    SourceUse,
    Splits,
    Stem,
)
from rag_audio.domain.codec import FORMS, decode, encode, form_of, json_form, read
from rag_audio.domain.plan import Note
from rag_audio.domain.ports import SparseVector
from rag_audio.domain.signing import OpenedFile, ParentCredentials
from rag_audio.errors import InvalidInput
from rag_audio.provenance.credentials.signers import OpenedSigning
from rag_audio.provenance.ledger.records import canonical

keys = st.builds(Key, st.integers(0, 11), st.booleans())
licenses = st.builds(License, timezone=st.just("UTC"), splits=st.just(Splits()))
stems = st.builds(Stem, key=st.none() | keys, time_signature=st.none() | st.just((6, 8)))
references = st.builds(Reference, st.builds(Segment, stems))
shares = st.dictionaries(st.sampled_from(Channel), st.floats(), max_size=2)
influences = st.builds(Influence, shares)
claims = st.builds(OtherClaim, licenses)
sources = st.builds(
    SourceUse,
    references,
    licenses,
    influences,
    st.lists(st.builds(Played), max_size=1).map(tuple),
    st.lists(claims, max_size=1).map(tuple),
)
inherited = st.builds(InheritedSource, used=shares)
NOUNS: tuple[tuple[type[Any], st.SearchStrategy[Any]], ...] = (
    (License, licenses),
    (Stem, stems),
    (Reference, references),
    (SourceUse, sources),
    (SeedPart, st.builds(SeedPart)),
    (Edit, st.builds(Edit, inherited=st.lists(inherited, max_size=2).map(tuple))),
    (SegmentFilter, st.builds(SegmentFilter, keys=st.lists(keys, max_size=2).map(tuple))),
)


@settings(max_examples=150, deadline=None)
@given(st.one_of([st.tuples(st.just(kind), made) for kind, made in NOUNS]))
def test_what_was_written_is_read(noun: tuple[type[Any], Any]) -> None:
    kind, value = noun
    document = encode(value)
    again = decode(kind, json.loads(json.dumps(document, allow_nan=False)))
    assert encode(again) == document  # nan differs from itself, its text does not
    assert canonical(encode(decode(kind, json.loads(canonical(document))))) == canonical(document)


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (SparseVector((1, 5), (0.5, 2.0)), [[1, 5], [0.5, 2.0]]),
        (ParentCredentials("a", "b", ""), ["a", "b", ""]),
        (OpenedFile(Path("/a/b.wav"), "ff", None), ["/a/b.wav", "ff", None]),
    ],
)
def test_some_classes_are_lists(value: Any, document: list[Any]) -> None:
    assert form_of(type(value)).write(value) == document
    assert read(type(value), json.loads(json.dumps(document))) == value


def test_a_task_for_another_process_comes_back_with_its_manifest_as_it_was() -> None:
    opened = OpenedFile(Path("/x.wav"), "00", 7)
    manifest = {"a": 2**60, "b": [1.5, None]}
    task = OpenedSigning(Path("/y"), Path("/z"), 3, manifest, opened, "PEM", "none", None)
    assert read(OpenedSigning, json.loads(json.dumps(encode(task)))) == task


@json_form(later=("mark", ("low", "high")))
@dataclass(frozen=True)
class Sample:
    size: int
    level: float
    mark: str = ""
    low: int = 0
    high: int | None = None
    names: dict[str, tuple[int, ...]] = field(default_factory=dict)


def test_later_fields_stand_last_and_only_where_they_say_something() -> None:
    assert list(encode(Sample(1, 2.0))) == ["size", "level", "names"]
    assert list(encode(Sample(1, 2.0, "x", high=3))) == [
        *("size", "level", "names", "mark", "low", "high"),
    ]
    assert encode(Sample(1, 2.0, high=3))["low"] == 0
    assert decode(Sample, {"size": 1, "level": 2, "names": {}, "unknown": 1}) == Sample(1, 2.0)


@pytest.mark.parametrize("size", [2**53 - 1, 2**53, -(2**80)])
@pytest.mark.parametrize("level", [float("inf"), -1e300, 2.5, 0.0])
def test_numbers_keep_their_value_in_canonical_json(size: int, level: float) -> None:
    sample = Sample(size, level, names={"a": (2**60,)})
    assert decode(Sample, json.loads(canonical(encode(sample)))) == sample


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"level": 1.0, "names": {}}, "the sample lacks 'size'"),
        ({"size": 1, "level": "7", "names": {}}, "the sample cannot be read: expected a number"),
        ({"size": True, "level": 1, "names": {}}, "expected a whole number, got True"),
        ({"size": 1, "level": 1, "names": {"a": 3}}, "expected a list, got 3"),
        ({"size": 1, "level": 1, "names": {}, "mark": None}, "expected text, got None"),
        ([], "the sample cannot be read: list indices"),
        (None, "the sample cannot be read"),
    ],
)
def test_a_document_of_another_form_is_refused_in_one_line(document: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        decode(Sample, document)
    assert "\n" not in str(caught.value)


def test_a_number_past_every_float_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidInput, match="too many digits"):
        decode(Note, {"start_s": 0.0, "end_s": 10**400, "pitch": 60})


def test_a_part_that_has_a_name_says_which_one_is_wrong() -> None:
    license = {"id": "a"}
    with pytest.raises(InvalidInput, match="the otherclaim cannot be read: the license lacks"):
        decode(OtherClaim, {"license": license, "artist": ""})


def test_a_type_that_has_no_form_is_named() -> None:
    with pytest.raises(TypeError, match="complex"):
        form_of(complex)
    assert complex not in FORMS


def test_plans_and_records_have_a_form() -> None:
    assert form_of(ConditioningPlan) is FORMS[ConditioningPlan]
    assert form_of(AttributionRecord) is FORMS[AttributionRecord]

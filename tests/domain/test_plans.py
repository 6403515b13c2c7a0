"""Plans, references, stems and licenses as JSON documents."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.domain import (
    Channel,
    ConditioningPlan,
    Key,
    License,
    PromptSpan,
    Reference,
    SeedPart,
    Segment,
    Stem,
    StemKind,
    Use,
)
from rag_audio.domain.codec import decode, encode
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.errors import InvalidInput

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.lists(texts, max_size=3).map(tuple)
numbers = st.floats(allow_nan=False, width=64)
positive = st.floats(0.01, 1e6)
keys = st.none() | st.builds(Key, st.integers(0, 11), st.booleans())
days = st.none() | st.dates(date(1990, 1, 1), date(2200, 1, 1))
licenses = st.builds(
    License,
    id=texts,
    library=texts,
    holder=texts,
    spdx=texts,
    uses=st.frozensets(st.sampled_from(Use)),
    territories=st.frozensets(texts, max_size=3),
    valid_from=days,
    valid_until=days,
    credit=texts,
    max_similarity=st.floats(0, 1),
)
stems = st.builds(
    Stem,
    id=texts,
    library=texts,
    path=texts,
    kind=st.sampled_from(StemKind),
    license=texts,
    duration_s=positive,
    artist=texts,
    artist_declared=st.booleans(),
    title=texts,
    tags=names,
    bpm=st.none() | positive,
    bpm_confidence=st.floats(0, 1),
    key=keys,
    key_confidence=st.floats(0, 1),
    downbeat_s=st.none() | numbers,
    isrc=texts,
    loudness_lufs=st.none() | numbers,
    instruments=names,
    time_signature=st.none() | st.sampled_from([(4, 4), (3, 4), (12, 8)]),
)
references = st.builds(
    Reference, st.builds(Segment, stems, numbers, positive), numbers, st.integers(1, 64)
)


@st.composite
def plans(draw: st.DrawFn) -> ConditioningPlan:
    sources = tuple(draw(st.lists(references, max_size=3)))
    prompt = draw(texts)
    parts = st.builds(
        SeedPart,
        reference=st.integers(0, max(0, len(sources) - 1)),
        weight=st.floats(0, 1),
        time_ratio=st.floats(0.5, 2),
        semitones=st.integers(-6, 5),
        gain_db=st.floats(-40, 40),
        loop_s=st.floats(0, 60),
    )
    return ConditioningPlan(
        prompt=prompt,
        enriched_prompt=prompt,
        spans=(PromptSpan(0, len(prompt), prompt, draw(st.integers(0, 99)), draw(texts)),),
        negative_prompt=draw(texts),
        references=sources,
        licenses=tuple(draw(st.lists(licenses, max_size=2))),
        seed_parts=tuple(draw(st.lists(parts, max_size=3))) if sources else (),
        channels=draw(st.frozensets(st.sampled_from(Channel))),
        strength=draw(st.floats(0.01, 1)),
        bpm=draw(st.none() | positive),
        key=draw(keys),
        duration_s=draw(positive),
        seed=draw(st.integers(0, 2**63 - 1)),
        steps=draw(st.integers(1, 1000)),
        guidance=draw(st.floats(0, 50)),
        variations=draw(st.integers(1, 16)),
        model=draw(texts),
        notes=draw(names),
    )


@settings(max_examples=60, deadline=None)
@given(plans())
def test_a_plan_comes_back_equal_through_text(plan: ConditioningPlan) -> None:
    document = plan_to_json(plan)
    assert plan_from_json(json.loads(json.dumps(document, allow_nan=False))) == plan


@settings(max_examples=60, deadline=None)
@given(plans())
def test_a_plan_has_a_canonical_form_that_reads_back_equal(plan: ConditioningPlan) -> None:
    assert plan_from_json(json.loads(rfc8785.dumps(plan_to_json(plan)))) == plan


@settings(max_examples=60, deadline=None)
@given(stems)
def test_a_stem_comes_back_equal(stem: Stem) -> None:
    assert decode(Stem, json.loads(json.dumps(encode(stem), allow_nan=False))) == stem


@settings(max_examples=60, deadline=None)
@given(licenses)
def test_a_license_comes_back_equal(license: License) -> None:
    assert decode(License, json.loads(json.dumps(encode(license)))) == license


@settings(max_examples=30, deadline=None)
@given(references)
def test_a_reference_comes_back_equal(reference: Reference) -> None:
    document = json.loads(json.dumps(encode(reference), allow_nan=False))
    assert decode(Reference, document) == reference


def a_plan() -> dict[str, Any]:
    stem = Stem("ab", "l", "a.wav", StemKind.AUDIO, "full", 10.0, loudness_lufs=-math.inf)
    return plan_to_json(
        ConditioningPlan(
            prompt="soft",
            enriched_prompt="soft, warm",
            spans=(PromptSpan(0, 4, "soft", 1, None), PromptSpan(6, 10, "warm", 1, "ab")),
            negative_prompt="",
            references=(Reference(Segment(stem, 0.0, 5.0), 0.5, 1),),
            licenses=(),
            seed_parts=(SeedPart(0, 1.0, 1.0, 0, 0.0, 4.0),),
            channels=frozenset(Channel),
            strength=0.5,
            bpm=92.0,
            key=Key(9, True),
            duration_s=10.0,
            seed=7,
            steps=8,
            guidance=3.0,
            variations=1,
            model="m",
        )
    )


def test_a_silent_stem_keeps_its_loudness() -> None:
    stem = plan_from_json(a_plan()).references[0].stem
    assert stem.loudness_lufs == -math.inf


@pytest.mark.parametrize("field", sorted(a_plan()))
def test_a_plan_without_any_one_field_is_refused_by_name(field: str) -> None:
    document = a_plan()
    del document[field]
    with pytest.raises(InvalidInput, match=field):
        plan_from_json(document)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 99),
        ("prompt", 3),
        ("seed", "x"),
        ("seed", 1.5),
        ("strength", 0.0),
        ("strength", "0.5"),
        ("duration_s", -1.0),
        ("key", "X major"),
        ("channels", ["telepathy"]),
        ("channels", "prompt"),
        ("references", {}),
        ("references", []),
        ("enriched_prompt", "other words"),
        ("notes", [1]),
        ("steps", True),
    ],
)
def test_a_plan_with_a_wrong_value_is_refused_in_one_line(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan_from_json({**a_plan(), field: value})
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("document", [None, 3, "plan", [], {}])
def test_what_is_no_document_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput):
        plan_from_json(document)
    for kind in (Stem, License, Reference):
        with pytest.raises(InvalidInput):
            decode(kind, document)

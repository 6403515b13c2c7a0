"""The API's limits are those of the nouns, field by field."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rag_audio.domain import GenerationRequest, Key, StemKind, limits
from rag_audio.domain.fields import fields_of
from rag_audio.domain.limits import SEARCH, Items, Limit, Number, Text
from rag_audio.errors import InvalidInput
from rag_audio.retrieval.references import ReferenceQuery
from rag_audio.service.api.schemas import GenerationAsked, MusicFields, RegionAsked, SearchAsked
from rag_audio.service.jobs import generation_request

STEM = "ab" * 32
REQUEST = {n: one.limit for n, one in fields_of(GenerationRequest).items() if one.limit is not None}
NAMED = {**SEARCH, "limit": SEARCH["k"]}
"""Limits of a search, as the API calls its fields."""
PARTS: dict[str, Limit] = {
    "references.start_s": limits.WINDOW_START_S,
    "references.duration_s": limits.WINDOW_S,
    "arrange.first_bar": limits.BAR,
    "arrange.last_bar": limits.BAR,
    "time_signature.0": limits.BEATS,
    "bpm.0": SEARCH["bpm"],
    "bpm.1": SEARCH["bpm"],
    "key": limits.NAME,
}
OF_HTTP = {"webhook", "format"}
"""Fields that only a request over HTTP has."""


def bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a schema says of numbers, texts and lists."""
    names = ("minimum", "exclusiveMinimum", "maximum", "minLength", "maxLength", "maxItems")
    return {
        name: schema[name]
        for name in names
        if name in schema and (name, schema[name]) != ("minLength", 0)
    }


def of(limit: Limit | None) -> dict[str, Any]:
    """The same of a limit."""
    if isinstance(limit, Number):
        return {"exclusiveMinimum" if limit.above else "minimum": limit.low, "maximum": limit.high}
    if isinstance(limit, Text):
        return {"maxLength": limit.most} | ({"minLength": limit.least} if limit.least else {})
    return {} if limit is None else {"maxItems": limit.most}


def alternatives(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a field may be, null aside."""
    for one in schema.get("anyOf", [schema]):
        found = defs[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        if found.get("type") != "null":
            yield found


def bounded(model: type[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(field, its bounds), of lists and objects also of what is in them."""
    document = model.model_json_schema()
    defs = document.get("$defs", {})

    def inside(name: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for one in alternatives(schema, defs):
            if "pattern" in one or "enum" in one or one.get("type") == "boolean":
                continue
            kind = one.get("type")
            if kind == "object":
                for field, inner in one["properties"].items():
                    yield from inside(f"{name}.{field}", inner)
            elif kind == "array" and "prefixItems" in one:
                for i, inner in enumerate(one["prefixItems"]):
                    yield from inside(f"{name}.{i}", inner)
            elif kind == "array":
                if all("enum" in item for item in alternatives(one["items"], defs)):
                    continue  # a set of names
                yield name, bounds(one)
                yield from inside(f"{name}[]", one["items"])
            else:
                yield name, bounds(one)

    for field, schema in document["properties"].items():
        if field not in OF_HTTP:
            yield from inside(field, schema)


@pytest.mark.parametrize(
    ("field", "said", "known"),
    [
        *((*one, REQUEST) for one in bounded(GenerationAsked)),
        *((*one, NAMED) for one in bounded(SearchAsked)),
    ],
)
def test_every_bound_in_the_schema_is_that_of_the_noun(
    field: str, said: dict[str, Any], known: Mapping[str, Limit]
) -> None:
    """Whoever adds a field with a number, a text or a list states its limit beside it."""
    name = field.replace("[]", "")
    if field.endswith("[]"):
        listed = known[name]
        assert isinstance(listed, Items)
        assert said == of(listed.each)
        return
    limit = PARTS.get(name) or known.get(name)
    assert limit is not None, f"{field} has no limit where it is declared"
    assert said == of(limit)


def test_every_limit_of_the_nouns_is_in_the_schema() -> None:
    assert set(REQUEST) <= set(GenerationAsked.model_fields)
    assert set(NAMED) - {"k"} <= set(SearchAsked.model_fields)
    assert set(MusicFields.model_fields) <= set(GenerationAsked.model_fields)
    (units,) = TypeAdapter(GenerationAsked).json_schema()["properties"]["time_signature"]["anyOf"][
        0
    ]["prefixItems"][1:]
    assert tuple(units["enum"]) == limits.BEAT_UNITS
    assert set(RegionAsked.model_fields) == {"stem", "start_s", "duration_s"}


def edges(limit: Limit) -> Iterator[tuple[Any, bool]]:
    """Values about a limit's ends, and whether they are within."""
    if isinstance(limit, Number):
        step = 1 if limit.low == int(limit.low) and limit.high > 1 and not limit.above else 0.25
        for value in (limit.low, limit.low + step, limit.high):
            yield value, limit.holds(value)
        yield limit.low - step, False
        yield (limit.high + 1 if isinstance(limit.high, int) else limit.high + step), False
    elif isinstance(limit, Text):
        for length in (limit.least, limit.most):
            yield "a" * length, True
        yield "a" * (limit.most + 1), False
        yield "a\x00", False
        if limit.least:
            yield "", False
    else:
        inner = list(edges(limit.each)) if limit.each is not None else [(STEM, True)]
        fine = next(value for value, is_in in reversed(inner) if is_in)
        yield [fine] * limit.most, True
        yield [fine] * (limit.most + 1), False
        for value, is_in in inner:
            # Weights have a positive sum besides.
            yield [value, fine], is_in


def cases(known: Mapping[str, Limit]) -> list[tuple[str, Any, bool]]:
    found = []
    for name, limit in known.items():
        for value, is_in in edges(limit):
            if name == "layers":
                value = [{"layer": "drums", "stem": one} for one in value]
            elif name == "arrange":
                value = [{"stem": one, "first_bar": 1, "last_bar": 2} for one in value]
            elif name == "bpm" and known is NAMED:
                value = [value, value]
            found.append((name, value, is_in))
    return found


def takes(model: type[Any], body: Mapping[str, Any]) -> str:
    """What is wrong for the schema; empty: nothing."""
    try:
        model.model_validate(body)
    except ValidationError as error:
        return str((*error.errors()[0]["loc"], "body")[0])
    return ""


def request_of(body: Mapping[str, Any]) -> str:
    try:
        generation_request(body, lambda id_: None)  # type: ignore[arg-type, return-value]
    except InvalidInput as error:
        return error.message
    return ""


OTHERS = (
    *(("time_signature", value, True) for value in ([1, 1], [32, 16], [7, 8])),
    *(("time_signature", value, False) for value in ([0, 4], [33, 4], [3, 5], [3, 0], [3, 32])),
    *(("territory", value, value in ("DE", "us")) for value in ("DE", "us", "UK", "ZZ")),
    ("references", [{"stem": STEM, "start_s": 36_000, "duration_s": 36_000}], True),
    ("references", [{"stem": STEM, "start_s": 0.1, "duration_s": 1}], True),
    ("references", [{"stem": STEM, "start_s": 0, "duration_s": 0.5}], False),
    ("references", [{"stem": STEM, "start_s": 36_001}], False),
    ("references", [{"stem": STEM, "start_s": 0, "duration_s": 36_001}], False),
    *(
        ("arrange", [{"stem": STEM, "first_bar": first, "last_bar": 1024}], first in (1, 1024))
        for first in (0, 1, 1024, 1025)
    ),
)


@pytest.mark.parametrize(("name", "value", "is_in"), [*cases(REQUEST), *OTHERS])
def test_schema_and_request_take_and_refuse_the_same(name: str, value: Any, is_in: bool) -> None:
    body = {"prompt": "warm piano", "enforce": ["tempo"], name: value}
    told = request_of(body)
    assert (takes(GenerationAsked, body) == "") is is_in
    assert (told == "") is is_in, told
    if not is_in:
        assert "\n" not in told and len(told) < 200
        assert name in told or name == "arrange" or (name, value) == ("prompt", "")


@pytest.mark.parametrize(("name", "value", "is_in"), cases(NAMED))
def test_schema_and_query_take_and_refuse_the_same(name: str, value: Any, is_in: bool) -> None:
    if name == "k":
        return
    body = {"text": "warm piano", name: value}
    given = {"k" if name == "limit" else name: tuple(value) if isinstance(value, list) else value}
    told = ""
    try:
        ReferenceQuery(**{"kind": StemKind.AUDIO, "text": "warm piano", **given})
    except InvalidInput as error:
        told = error.message
    assert (takes(SearchAsked, body) == "") is is_in
    assert (told == "") is is_in, told
    if not is_in:
        assert name in told and "\n" not in told and len(told) < 200


def test_values_of_both_sides_mean_the_same() -> None:
    """A whole request, at the upper ends of what goes together."""
    body = {
        "prompt": "p" * 2000, "negative_prompt": "n" * 2000, "k": 64, "strength": 1, "bpm": 400,
        "duration_s": 3600, "seed": 2**63 - 16, "steps": 1000, "guidance": 50, "variations": 16,
        "candidates": 16, "enforce": ["key"], "weights": [1000.0] * 64, "mood": ["m" * 40] * 8,
        "key": "A minor",
    }  # fmt: skip
    assert takes(GenerationAsked, body) == ""
    made = generation_request(body, lambda id_: None)  # type: ignore[arg-type, return-value]
    assert isinstance(made, GenerationRequest)
    assert made.key == Key.parse("A minor") and made.seed == 2**63 - 16


def test_candidates_are_refused_where_nothing_is_enforced() -> None:
    assert takes(GenerationAsked, {"prompt": "x", "candidates": 2}) != ""


def test_numbers_that_are_none_are_refused_by_both() -> None:
    for name, value in itertools.product(("bpm", "strength"), (float("nan"), float("inf"))):
        body = {"prompt": "x", name: value}
        assert takes(GenerationAsked, body) == name
        assert name in request_of(body)

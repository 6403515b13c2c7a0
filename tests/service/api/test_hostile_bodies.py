"""Bodies of requests: long ones are answered at once and shortly, each value has its type, and a
fault names the field that is meant."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rag_audio.domain import GenerationRequest
from rag_audio.errors import InvalidInput
from rag_audio.service.api import problems
from rag_audio.service.api.middleware import JSON_BYTES
from rag_audio.service.api.schemas import MOST_FAULTS, SessionAsked
from tests.service.api.small_service import SHORT, SmallService

STEM = "f" * 64
JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture
def service(cleared: SmallService) -> SmallService:
    return cleared


def told(service: SmallService, body: str | bytes, url: str = "/v1/plans") -> dict[str, Any]:
    """The answer to a body that cannot be used."""
    answer = service.client.post(url, content=body, headers=JSON_TYPE)
    assert answer.status_code == 422, answer.text
    assert len(answer.content) < 20_000
    found: dict[str, Any] = answer.json()
    return found


def unknown(count: int) -> dict[str, int]:
    return {f"k{i:x}": 1 for i in range(count)}


def calls_of(work: Callable[[], object]) -> int:
    """Lines of Python that run: what it costs, whatever else the machine does."""
    count = 0

    def trace(frame: Any, event: str, arg: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_the_work_on_faults_grows_as_their_number_does() -> None:
    def cost(count: int) -> int:
        found = [
            {"type": "extra_forbidden", "loc": ("body", name), "input": 1, "msg": ""}
            for name in unknown(count)
        ]
        return calls_of(lambda: problems.faults(found, unknown(count)))

    cost(1)
    assert cost(800) < 3 * cost(400)


@pytest.mark.parametrize("url", ["/v1/plans", "/v1/edits", "/v1/search", "/v1/session"])
def test_a_body_of_unknown_members_is_told_of_shortly(url: str, service: SmallService) -> None:
    count = 16_000
    found = told(service, json.dumps(unknown(count)), url)
    assert len(found["errors"]) == MOST_FAULTS
    assert found["more"] == count - MOST_FAULTS
    assert found["detail"] == "k0 is not a field of this request"
    assert found["errors"][1]["where"] == "/k1"


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "x", "references": [unknown(60_000)]},
        {"prompt": "x", "layers": [unknown(30)] * 1000},
        {"prompt": "x", "arrange": [unknown(15)] * 256},
        {"prompt": "x", "mood": [1] * 100_000},
        {"prompt": "x", "x" * 1_000_000: 1},
        {"prompt": "x", "references": [{"y" * 1_000_000: 1}]},
        {"prompt": "x" * 1_000_000},
        {"prompt": "x", "references": ["/" * 1_000_000]},
        {"prompt": "x", "bpm": [[[]]] * 20_000},
    ],
    ids=lambda body: str(body)[:40],
)
def test_whatever_is_long_is_told_of_shortly(body: dict[str, Any], service: SmallService) -> None:
    text = json.dumps(body)
    assert len(text) < JSON_BYTES
    found = told(service, text)
    assert 1 <= len(found["errors"]) <= MOST_FAULTS
    for fault in found["errors"]:
        assert all(len(value) < 300 for value in fault.values())


def test_as_many_faults_as_there_are_are_counted(service: SmallService) -> None:
    body = {"prompt": "x", "arrange": [{"stem": STEM, "first_bar": 0, "last_bar": 0}] * 30}
    found = told(service, json.dumps(body))
    assert len(found["errors"]) + found["more"] == 60
    assert "more" not in told(service, json.dumps({"prompt": "x", "bpm": 0}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "x", "prompt": "y"}', "member 'prompt' is repeated"),
        ('{"prompt": "x", "references": [{"stem": "ab", "stem": "cd", "start_s": 0}]}',
         "member 'stem' is repeated"),
        ('{"' + "a" * 5000 + '": 1, "' + "a" * 5000 + '": 1}', "is repeated"),
        ("[" * 100_000, "nested too deeply"),
        ('{"prompt": "x", "seed": ' + "9" * 5000 + "}", "too many digits"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        ('{"prompt": ', "Expecting value"),
    ],
)  # fmt: skip
def test_what_is_not_json_is_said(text: str | bytes, said: str, service: SmallService) -> None:
    found = told(service, text)
    assert said in found["detail"] and len(found["detail"]) < 200
    assert found["type"] == "/problems/invalid-input"


def test_no_body_may_say_a_thing_twice(service: SmallService) -> None:
    for path, methods in service.client.get("/openapi.json").json()["paths"].items():
        if "application/json" in methods.get("post", {}).get("requestBody", {}).get("content", {}):
            found = told(service, '{"a": 1, "a": 2}', path)
            assert "'a' is repeated" in found["detail"], path


SAME_TYPES = [
    *({name: value} for name in ("strength", "bpm", "guidance") for value in (True, "1")),
    *({name: value} for name in ("seed", "steps", "k", "variations") for value in (True, "4", 4.0)),
    *({"auto_strength": value} for value in (1, "yes", "true")),
    *({"time_signature": value} for value in ([True, 4], [3, True], [3, 4.0], ["3", 4])),
    *({"weights": [value]} for value in (True, "1")),
    {"mood": [1]},
    {"negative_prompt": 1},
    {"arrange": [{"stem": STEM, "first_bar": "1", "last_bar": 2}]},
]


@pytest.mark.parametrize("asked", SAME_TYPES, ids=str)
def test_types_are_those_of_python(asked: dict[str, Any], service: SmallService) -> None:
    (name, value) = next(iter(asked.items()))
    found = told(service, json.dumps({"prompt": "x", **asked}))
    assert found["errors"][0]["field"] == name
    if name == "arrange":
        value = [tuple(row.values()) for row in value]
    with pytest.raises(InvalidInput):
        GenerationRequest("x", **{name: value})


@pytest.mark.parametrize("asked", [{"bpm": 92}, {"strength": 1}, {"weights": [1], "k": 1}], ids=str)
def test_a_whole_number_is_a_number(asked: dict[str, Any], service: SmallService) -> None:
    assert service.client.post("/v1/plans", json={**SHORT, **asked}).status_code == 200


def test_regions_are_numbers(service: SmallService) -> None:
    body = {"kind": "inpaint", "generation": "0" * 32, "regions": [["1", "2"]]}
    found = told(service, json.dumps(body), "/v1/edits")
    assert found["errors"][0]["where"] == "/regions/0/0"


def test_a_fault_of_a_whole_body_names_the_field_that_is_meant(service: SmallService) -> None:
    (fault,) = told(service, json.dumps({**SHORT, "candidates": 2}))["errors"]
    assert (fault["where"], fault["field"]) == ("/candidates", "candidates")
    assert fault["message"].startswith("candidates needs enforce")
    body = {"kind": "vary", "upload": "0" * 32, "take": 2}
    (fault,) = told(service, json.dumps(body), "/v1/edits")["errors"]
    assert (fault["where"], fault["field"]) == ("/take", "take")


def test_every_pattern_of_the_schema_has_words(service: SmallService) -> None:
    document = service.client.get("/openapi.json").json()

    def patterns(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("pattern"), str):
                yield node["pattern"]
            node = list(node.values())
        for one in node if isinstance(node, list) else ():
            yield from patterns(one)

    found = set(patterns(document))
    assert len(found) > 5
    for pattern in found:
        error = {
            "type": "string_pattern_mismatch", "loc": ("query", "x"), "input": "é",
            "ctx": {"pattern": pattern},
        }  # fmt: skip
        ((fault,), _) = problems.faults([error], None)
        assert "another form" not in fault["message"], pattern
        assert not re.search(r"[\^$\[\]]", fault["message"]), fault["message"]


def test_a_header_is_told_of_without_a_regular_expression(service: SmallService) -> None:
    answer = service.client.post("/v1/generations", json=SHORT, headers={"Idempotency-Key": "x y"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        "idempotency-key must be printable ASCII without spaces, got 'x y'"
    )


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=4), st.integers(0, 3), max_size=60))
def test_every_unknown_member_is_told_or_counted(members: dict[str, int]) -> None:
    members = {name: value for name, value in members.items() if name != "key"}
    try:
        SessionAsked.model_validate({"key": "x", **members})
    except ValidationError as error:
        errors = [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        found, more = problems.faults(errors, members)
        assert len(found) + more == len(members)
        assert [one["message"] for one in found] == [
            f"{name or repr(name)} is not a field of this request"
            for name in list(members)[: len(found)]
        ]
    else:
        assert not members

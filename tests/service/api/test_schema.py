"""schemathesis over the whole of the API: no 5xx, nothing that the schema does not say."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.api.conftest import Serve, Served

EXAMPLES = 15
"""Per route."""

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def idle(serve: Serve) -> Served:
    """It accepts and does not work, and has room for whatever is made up."""
    return serve(workers=0, queue=100_000, queue_per_key=100_000)


def test_nothing_breaks_it(idle: Served) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", idle.client.app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            headers = {"Host": "127.0.0.1"}
            if case.path.endswith("/events"):
                headers["Last-Event-ID"] = "999999"
            answer = case.call(timeout=30, headers=headers)
            case.validate_response(answer, checks=CHECKS)

        check()


def test_every_body_has_an_example(idle: Served) -> None:
    document = idle.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" not in content or path == "/v1/session":
                continue
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name].get("examples"), (method, path)

"""A part of the service is away: callers learn that, and nothing of where or what it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine

from rag_audio import errors
from rag_audio.domain.json_documents import public_json
from rag_audio.errors import BackendError, BackendUnavailable, RagAudioError
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.service.api.problems import Problem, problem_json
from tests.service.api.conftest import FAST, Serve, Served
from tests.service.api.test_access import routes
from tests.service.api.test_security import wav

pytest.importorskip("psycopg")
SECRETS = ("quentinuser", "hiddenpassword", "ledgerbase", "127.0.0.1", "psycopg", "SELECT ")


@pytest.fixture(scope="module")
def app(serve: Serve) -> Iterator[tuple[Served, dict[str, str]]]:
    """An app whose database went away, and headers with a key of before."""
    app = serve(workers=0)
    headers = app.key("admin")
    url = "postgresql+psycopg://quentinuser:hiddenpassword@127.0.0.1:1/ledgerbase?connect_timeout=5"
    away, home = create_engine(url), app.service.workspace.home
    holders = (
        *(app.service.access, app.service.jobs, app.service.idempotency, app.service.uploads),
        *(home.catalogue, home.ledger, home.fingerprints),
    )
    with pytest.MonkeyPatch.context() as patch:
        for holder in holders:
            (name,) = [key for key, value in vars(holder).items() if isinstance(value, Engine)]
            patch.setattr(holder, name, away)
        yield app, headers


def test_no_answer_tells_where_the_database_is(
    app: tuple[Served, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    served, valid = app
    home = str(served.service.workspace.home.folder)
    away = 0
    for headers in ({}, valid, {"X-API-Key": "nonsense"}, {"Cookie": "rag_audio_session=x"}):
        for method, path in routes(served):
            answer = served.client.request(method, path, headers=headers, json={})
            for secret in (*SECRETS, home):
                assert secret not in answer.text.replace("/openapi.json", ""), (method, path)
                assert secret not in str(answer.headers)
            if answer.status_code == 503 and path != "/readyz":
                away += 1
                problem = answer.json()
                assert problem["detail"] == "the database cannot be reached", (method, path)
                assert problem["request"] == answer.headers["x-request-id"]
                assert problem["error"] == "BackendUnavailable"
    assert away > 20
    assert served.client.get("/readyz").json()["parts"]["database"] == "away"
    last = served.client.get("/v1/status", headers=valid)
    logged = "".join(capfd.readouterr())
    assert last.json()["request"] in logged
    assert "quentinuser" in logged and "hiddenpassword" not in logged


def test_a_body_is_not_kept_when_the_database_is_away(app: tuple[Served, dict[str, str]]) -> None:
    served, valid = app
    for path in ("/v1/uploads", "/v1/trace"):
        assert served.client.post(path, content=wav(), headers=valid).status_code == 503
    folder = served.service.folders.uploads
    assert not folder.is_dir() or not any(folder.iterdir())


def faults() -> list[Callable[[str, str], RagAudioError]]:
    """Every family of errors that is the service's fault."""
    families = [
        family
        for _, family in inspect.getmembers(errors, inspect.isclass)
        if issubclass(family, (BackendError, errors.ConfigError, errors.LedgerError))
        and family is not errors.MissingExtra
    ]
    assert len(families) >= 6
    return [lambda message, hint, made=one: made(message, hint=hint) for one in families]  # type: ignore[misc]


@given(st.sampled_from(faults()), st.uuids(), st.uuids())
def test_a_fault_of_any_family_keeps_its_words(
    make: Callable[[str, str], RagAudioError], one: object, other: object
) -> None:
    error = make(f"/srv/{one} at 10.1.2.3", f"look at {other}")
    for document in (problem_json(error), public_json(error, "see the log")):
        assert str(one) not in str(document) and str(other) not in str(document)
    problem = problem_json(error)
    assert problem["status"] >= 500 and problem["detail"] and problem["hint"]


def test_what_is_the_callers_fault_is_told() -> None:
    for error in (errors.InvalidInput("5 is not a key", "try C"), Problem(503, "x", "stopping")):
        assert problem_json(error)["detail"] == error.message


def test_an_index_that_fails_is_not_described(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = serve(workers=0)

    def fail(*_: Any, **__: Any) -> None:
        raise BackendUnavailable("the Qdrant server at http://10.0.0.9:6333 cannot be reached")

    monkeypatch.setattr(Pipeline, "search", fail)
    answer = app.client.post("/v1/search", json={"text": "piano"})
    assert answer.status_code == 503
    assert "10.0.0.9" not in answer.text and "Qdrant" not in answer.text


def test_a_job_that_failed_by_a_backend_does_not_tell_where_it_is(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BackendError("the weights at /srv/models/secret.safetensors are damaged", "get them")

    monkeypatch.setattr(Pipeline, "generate", fail)
    app = serve()
    headers = {"Prefer": "wait=60"}
    job = app.client.post("/v1/generations", json=FAST, headers=headers).json()
    assert job["state"] == "failed" and job["id"] in job["problem"]["hint"]
    assert job["problem"]["type"] == "BackendError" and job["problem"]["message"]
    events = app.client.get(job["links"]["events"]).text
    assert "/srv/models" not in str(job) + events and "get them" not in str(job) + events


def test_only_an_admin_is_told_where_the_model_should_be(serve: Serve, tmp_path: Path) -> None:
    app = serve(workers=0, workspace={"model": str(tmp_path / "gone")})
    lesser, admin = app.key("search"), app.key("admin")
    told = app.client.get("/v1/status", headers=lesser)
    assert told.json()["model_problem"]["message"] and "gone" not in told.text
    assert "gone" in app.client.get("/v1/status", headers=admin).text
    refused = app.client.post("/v1/plans", json=FAST, headers=admin)
    assert refused.status_code == 503 and "gone" not in refused.text

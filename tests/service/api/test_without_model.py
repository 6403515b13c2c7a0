"""A service whose model is not there: it says so, and does all that needs none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.api.conftest import FAST, Serve, Served
from tests.support.checkpoints import FAMILIES, build


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model should be, and is not."""
    return tmp_path_factory.mktemp("models") / "gone"


@pytest.fixture(scope="module")
def without(serve: Serve, place: Path) -> Served:
    return serve(workspace={"model": str(place)})


def test_status_says_that_there_is_no_model_why_and_what_helps(
    without: Served, place: Path
) -> None:
    status = without.client.get("/v1/status").json()
    assert status["model"] is None
    problem = status["model_problem"]
    assert problem["type"] == "BackendUnavailable"
    assert place.name in problem["message"] and str(place) not in problem["message"]
    assert "model_index.json" in problem["hint"]
    assert status["segments"] > 0 and status["embedder"]["name"]


def test_it_is_not_ready_and_names_the_model_without_saying_where_it_was(
    without: Served, place: Path
) -> None:
    answer = without.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False, "dead_threads": [],
        "parts": {"database": "ok", "index": "ok", "model": "away", "threads": "ok"},
    }  # fmt: skip
    assert str(place) not in answer.text
    assert without.client.get("/healthz").status_code == 200


def test_nothing_is_accepted_that_needs_a_model_and_the_rest_works(without: Served) -> None:
    client = without.client
    edit = {"kind": "extend", "right_s": 1.0, "generation": "0" * 32, "prompt": "warm"}
    asked = (("/v1/generations", FAST), ("/v1/plans", FAST), ("/v1/edits", edit))
    for path, body in asked:
        answer = client.post(path, json=body)
        assert answer.status_code == 503, answer.text
        assert answer.json()["hint"] and answer.headers["Retry-After"]
    assert client.get("/v1/generations").json()["generations"] == []
    found = client.post("/v1/search", json={"text": "warm piano"})
    assert found.status_code == 200 and found.json()["references"]


def test_a_model_that_comes_later_is_found(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_audio.service.api.services.MODEL_AGAIN_S", 0.0)
    late = serve(workspace={"model": str(tmp_path / "late")})
    assert late.client.get("/v1/status").json()["model"] is None
    build(FAMILIES[0], tmp_path / "late")
    status = late.client.get("/v1/status").json()
    assert status["model"]["sample_rate"] > 0 and status["model_problem"] is None
    assert late.client.get("/readyz").status_code == 200


def test_with_a_model_there_is_no_problem(served: Served) -> None:
    status = served.client.get("/v1/status").json()
    assert status["model"]["name"] and status["model_problem"] is None

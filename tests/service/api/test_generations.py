"""Generations and edits over HTTP, with real models."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rag_audio.domain.signing import CredentialState
from rag_audio.service.runner import Runner
from tests.service.api.conftest import FAST, Serve, Served


@pytest.fixture(scope="module")
def made(served: Served) -> dict[str, Any]:
    """One finished generation of two takes, long enough to be recognised in any format."""
    return served.generation(variations=2, duration_s=4.0)


def events_of(text: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """(id, kind, data) of each server-sent event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def test_a_generation_is_accepted_followed_and_fetched(served: Served) -> None:
    answer = served.client.post("/v1/generations", json=FAST)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"]
    assert job["state"] in ("queued", "running")
    told = events_of(served.client.get(job["links"]["events"]).text)
    numbers = [int(id_) for id_, _, _ in told if id_ is not None]
    assert numbers == list(range(1, len(numbers) + 1))
    assert told[-1][2]["state"] == "succeeded"
    assert {"retrieve", "generate", "write"} <= {data.get("stage") for _, _, data in told}
    done = served.client.get(job["links"]["self"]).json()
    assert done["state"] == "succeeded"
    sound = served.client.get(done["outputs"][0]["content"])
    samples, rate = soundfile.read(io.BytesIO(sound.content))
    assert len(samples) / rate == pytest.approx(1.0, abs=0.01)
    record = served.client.get(done["outputs"][0]["record"]).json()
    assert record["record"]["output"] == done["outputs"][0]["output"]


def test_the_events_go_on_after_the_last_one_that_was_seen(
    served: Served, made: dict[str, Any]
) -> None:
    url = made["links"]["events"]
    whole = events_of(served.client.get(url).text)
    last = int(whole[-1][0] or 0)
    rest = events_of(served.client.get(url, headers={"Last-Event-ID": str(last - 1)}).text)
    assert rest == whole[-1:]
    over = served.client.get(url, headers={"Last-Event-ID": str(last)})
    assert over.status_code == 204


def test_takes_come_whole_in_parts_and_in_other_formats(
    served: Served, made: dict[str, Any]
) -> None:
    assert [one["take"] for one in made["outputs"]] == [1, 2]
    url = made["outputs"][1]["content"]
    whole = served.client.get(url)
    part = served.client.get(url, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    beyond = served.client.get(url, headers={"Range": f"bytes={len(whole.content) + 5}-"})
    assert beyond.status_code == 416
    mp3 = served.client.get(f"{url}&format=mp3")
    assert mp3.headers["content-type"] == "audio/mpeg"
    samples, rate = soundfile.read(io.BytesIO(mp3.content))
    assert len(samples) / rate == pytest.approx(4.0, abs=0.1)
    assert served.client.get(f"{made['links']['content']}?take=3").status_code == 404


@pytest.mark.parametrize("format", ["mp3", "flac", "ogg"])
def test_takes_in_other_formats_carry_label_credits_and_credentials(
    served: Served, made: dict[str, Any], tmp_path: Path, format: str
) -> None:
    one = made["outputs"][0]
    answer = served.client.get(f"{one['content']}&format={format}")
    file = tmp_path / f"take.{format}"
    file.write_bytes(answer.content)
    with soundfile.SoundFile(file) as sound:
        assert f"Made with AI by rag-audio, output {one['output']}" in sound.comment
    manifest = f"{made['links']['content']}?take=1".replace("content", "credentials")
    if format == "ogg":
        link = answer.headers["link"]
        assert link.endswith('>; rel="c2pa-manifest"')
        beside = served.client.get(link[1 : link.index(">")])
        assert beside.headers["content-type"] == "application/c2pa"
        file.with_name("take.ogg.c2pa").write_bytes(beside.content)
    else:
        assert "link" not in answer.headers
        assert served.client.get(f"{manifest}&format={format}").status_code == 404
    found = served.service.workspace.home.credentials_of(file)
    assert found is not None and found.state is CredentialState.TRUSTED
    assert (found.output, found.is_copy) == (one["output"], True)
    traced = served.client.post("/v1/trace", content=answer.content).json()
    assert (traced["output"], traced["transplanted"]) == (one["output"], False)


def test_the_ledger_has_each_take_once(served: Served, made: dict[str, Any]) -> None:
    ledger = served.service.workspace.home.ledger
    for one in made["outputs"]:
        entry = ledger.find(one["output"])
        assert entry is not None and entry.record.pcm_sha256 == one["pcm_sha256"]
    assert ledger.verify() == []


def test_the_plan_is_that_of_the_output(served: Served, made: dict[str, Any]) -> None:
    plan = served.client.get(made["links"]["plan"]).json()["plan"]
    assert plan["enriched_prompt"] == made["enriched_prompt"]
    dry = served.client.post("/v1/plans", json=FAST | {"variations": 2}).json()["plan"]
    assert dry["spans"] == plan["spans"]


def test_a_refusal_says_rule_and_reason_and_is_logged(served: Served) -> None:
    size = served.service.workspace.home.ledger.size()
    asked = {**FAST, "prompt": "in the style of Paper Moth Quartet"}
    answer = served.client.post("/v1/generations", json=asked)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "/problems/request-refused"
    assert problem["matches"][0]["rule"] and problem["reasons"] and problem["hint"]
    start, end = problem["matches"][0]["span"]
    assert "Paper Moth" in asked["prompt"][start:end]
    assert served.service.workspace.home.ledger.size() == size + 1
    negative = served.client.post("/v1/generations", json={**FAST, "artist": "Nobody Known"})
    assert negative.status_code == 422


def test_an_edit_keeps_what_is_outside_its_region(served: Served, made: dict[str, Any]) -> None:
    asked = {
        "kind": "inpaint", "generation": made["id"], "take": 1, "regions": [[0.2, 0.6]],
        "prompt": "a soft bell", "steps": 2,
    }  # fmt: skip
    answer = served.client.post("/v1/edits", json=asked, headers={"Prefer": "wait=60"})
    job = answer.json()
    assert job["state"] == "succeeded", job
    record = served.client.get(job["outputs"][0]["record"]).json()["record"]
    assert record["plan"]["edit"]["parent"] == made["outputs"][0]["output"]
    before, rate = soundfile.read(
        io.BytesIO(served.client.get(made["outputs"][0]["content"]).content)
    )
    after, _ = soundfile.read(io.BytesIO(served.client.get(job["outputs"][0]["content"]).content))
    tail = slice(round(0.8 * rate), None)
    # Both carry a mark of their own over the same sound.
    assert np.abs(before[tail] - after[tail]).max() < 0.1


def test_an_edit_that_cannot_be_is_refused_before_it_is_accepted(
    served: Served, made: dict[str, Any]
) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(1).normal(0, 0.1, 44_100), 22_050, format="WAV")
    upload = served.client.post("/v1/uploads", content=buffer.getvalue()).json()
    assert served.client.get(f"/v1/uploads/{upload['id']}").json() == upload
    assert served.client.get(f"/v1/uploads/{'0' * 32}").status_code == 404
    inpaint: dict[str, Any] = {"kind": "inpaint", "generation": made["id"]}
    vary: dict[str, Any] = {"kind": "vary", "generation": made["id"]}
    extend: dict[str, Any] = {"kind": "extend", "generation": made["id"]}
    before = served.client.get("/v1/generations?kind=edit").json()
    for wrong, says in (
        (inpaint, "no region was named"),
        (inpaint | {"regions": [[0.8, 0.2]]}, "region 0.8-0.2 is reversed"),
        (inpaint | {"regions": [[0.5, 100]]}, "region 0.5-100 is not within the sound"),
        (inpaint | {"regions": [[0.5, 0.52]]}, "shorter than 0.1 s"),
        (inpaint | {"regions": [[0.1, 0.5], [0.3, 0.8]]}, "overlap"),
        (inpaint | {"regions": [[0.1, 0.5]], "left_s": 2}, "left_s 2.0 does not belong to inpaint"),
        (extend, "more than 0 s"),
        (extend | {"right_s": 2, "regions": [[0.1, 0.5]]}, "regions [[0.1, 0.5]] does not belong"),
        (vary | {"regions": [[0.1, 0.5]]}, "regions [[0.1, 0.5]] does not belong to vary"),
        (vary | {"right_s": 4}, "right_s 4.0 does not belong to vary"),
        (vary | {"take": 4}, "has no take 4"),
        ({"kind": "vary"}, "name either a generation or an upload"),
        ({"kind": "vary", "upload": upload["id"], "take": 3}, "take 3 does not belong"),
        (
            {"kind": "inpaint", "upload": upload["id"], "regions": [[1.0, 3.0]]},
            "region 1-3 is not within the sound, which lasts 2.00 s",
        ),
    ):
        answer = served.client.post("/v1/edits", json=wrong)
        assert answer.status_code == 422, answer.text
        detail = answer.json()["detail"]
        assert says in detail and "\n" not in detail
    assert served.client.get("/v1/generations?kind=edit").json() == before
    assert served.client.post(
        "/v1/edits", json={"kind": "vary", "generation": "0" * 32}
    ).status_code == 404  # fmt: skip


def test_a_failed_job_says_why(serve: Serve) -> None:
    served = serve(workers=0)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(2).normal(0, 0.1, 44_100), 22_050, format="WAV")
    upload = served.client.post("/v1/uploads", content=buffer.getvalue()).json()
    asked = {"kind": "vary", "upload": upload["id"], "prompt": "x", "audio_rights": "own"}
    job = served.client.post("/v1/edits", json=asked).json()
    runner = Runner(served.service.home, served.service.jobs)
    runner.folders.find_upload(upload["id"]).unlink()
    held = served.service.jobs.claim()
    assert held is not None
    runner.run(held)
    job = served.client.get(job["links"]["self"]).json()
    assert job["state"] == "failed"
    assert job["problem"]["type"] == "InvalidInput" and job["problem"]["message"]
    assert served.client.get(job["links"]["content"]).status_code == 404


def test_the_same_key_and_body_is_one_job(served: Served) -> None:
    headers = {"Idempotency-Key": "a-key-1"}
    first = served.client.post("/v1/generations", json=FAST, headers=headers)
    second = served.client.post("/v1/generations", json=FAST, headers=headers)
    assert first.json()["id"] == second.json()["id"]
    other = served.client.post("/v1/generations", json={**FAST, "seed": 12}, headers=headers)
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-key-reused"


def test_a_refused_request_leaves_its_key_free(served: Served) -> None:
    headers = {"Idempotency-Key": "a-key-2"}
    refused = {**FAST, "prompt": "in the style of Paper Moth Quartet"}
    assert served.client.post("/v1/generations", json=refused, headers=headers).status_code == 403
    assert served.client.post("/v1/generations", json=FAST, headers=headers).status_code == 202


def test_lists_come_in_pages(served: Served, made: dict[str, Any]) -> None:
    seen: list[str] = []
    before = ""
    while True:
        page = served.client.get(f"/v1/generations?limit=2{before}").json()
        seen += [job["id"] for job in page["generations"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert made["id"] in seen and len(seen) == len(set(seen))


@pytest.fixture
def idle(serve: Serve) -> Served:
    """An app of the test's own that accepts and never works."""
    return serve(workers=0, queue=3, queue_per_key=3)


def test_what_waits_can_be_canceled_and_a_full_queue_says_so(idle: Served) -> None:
    jobs = [idle.client.post("/v1/generations", json=FAST).json() for _ in range(3)]
    assert [job["position"] for job in jobs] == [0, 1, 2]
    full = idle.client.post("/v1/generations", json=FAST)
    assert full.status_code == 429
    assert int(full.headers["retry-after"]) > 0
    waited = time.monotonic()
    canceled = idle.client.post(jobs[0]["links"]["cancel"])
    assert canceled.status_code == 202
    assert canceled.json()["state"] == "canceled"
    assert time.monotonic() - waited < 5
    told = events_of(idle.client.get(jobs[0]["links"]["events"]).text)
    assert told[-1][2]["state"] == "canceled"
    assert idle.client.post("/v1/generations", json=FAST).status_code == 202


def test_to_wait_is_not_to_wait_for_ever(idle: Served) -> None:
    began = time.monotonic()
    answer = idle.client.post("/v1/generations", json=FAST, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    assert 0.9 < time.monotonic() - began < 5


def test_layers_and_sections_are_asked_for_as_on_the_command_line(served: Served) -> None:
    stems = served.client.get("/v1/stems").json()
    first, second = [one["stem"] for one in (stems.get("stems") or stems["items"])[:2]]
    asked = {
        **{name: value for name, value in FAST.items() if name != "duration_s"},
        "bpm": 240,
        "layers": [{"layer": "harmony", "stem": first}],
        "arrange": [
            {"stem": first, "first_bar": 1, "last_bar": 1},
            {"stem": second, "first_bar": 2, "last_bar": 2},
        ],
    }
    plan = served.client.post("/v1/plans", json=asked)
    assert plan.status_code == 200, plan.text
    parts = plan.json()["plan"]["seed_parts"]
    assert len(parts) == 2
    asked["arrange"] = [{"stem": first, "first_bar": 3, "last_bar": 2}]
    wrong = served.client.post("/v1/plans", json=asked)
    assert wrong.status_code == 422


def test_a_part_of_a_stem_can_be_the_reference(served: Served) -> None:
    stems = served.client.get("/v1/stems").json()
    stem = (stems.get("stems") or stems["items"])[0]["stem"]
    asked = {**FAST, "references": [{"stem": stem, "start_s": 1.0, "duration_s": 2.0}]}
    answer = served.client.post("/v1/plans", json=asked)
    assert answer.status_code == 200, answer.text
    window = answer.json()["plan"]["references"][0]
    assert (window["start_s"], window["duration_s"]) == (1.0, 2.0)
    asked["references"] = [{"stem": stem, "start_s": 3000.0}]
    assert served.client.post("/v1/plans", json=asked).status_code == 422

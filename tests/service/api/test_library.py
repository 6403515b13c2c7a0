"""Search, stems, uploads, revocations, indexing, metrics."""

from __future__ import annotations

import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile

from rag_audio.cli.app import run as cli
from rag_audio.resources import data_dir
from tests.service.api.conftest import FAST, Serve, Served
from tests.support.hums import make_notes, perform
from tests.support.small_library import write_library


def test_what_is_found_carries_the_state_of_its_license(served: Served) -> None:
    asked = {"text": "warm electric piano", "limit": 5}
    found = served.client.post("/v1/search", json=asked).json()["references"]
    assert found[0]["artist"] == "Copper Lantern Trio"
    assert found[0]["granted"] == ["prompt", "init_audio", "style"]
    heard = served.client.get(found[0]["preview"])
    assert heard.headers["content-type"] == "audio/mpeg"
    assert len(soundfile.read(io.BytesIO(heard.content))[0]) > 0
    part = served.client.get(found[0]["preview"], headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)


def test_a_search_is_narrowed_and_says_whether_anything_fits(served: Served) -> None:
    def ask(**asked: Any) -> Any:
        return served.client.post("/v1/search", json=asked).json()

    found = ask(text="warm electric piano")
    library = found["references"][0]["library"]
    assert found["fits"] is True and 0.5 < found["references"][0]["fit"] <= 1
    assert ask(text="bagpipes")["fits"] is False
    only = ask(libraries=[library], licenses=["words"])["references"]
    assert only and {one["license"] for one in only} == {"words"}
    refused = served.client.post("/v1/search", json={"text": "piano", "libraries": ["nowhere"]})
    assert refused.status_code == 422 and "nowhere" in refused.text and library in refused.text
    refused = served.client.post("/v1/generations", json={**FAST, "licenses": ["nothing"]})
    assert refused.status_code == 422 and "nothing" in refused.text


def test_only_what_may_be_heard_can_be_heard(served: Served) -> None:
    stems = served.client.get("/v1/stems").json()["stems"]
    for stem in stems:
        answer = served.client.get(f"/v1/stems/{stem['stem']}/preview")
        assert answer.status_code == (200 if "init_audio" in stem["granted"] else 403)
        assert (stem["preview"] is None) == (answer.status_code == 403)
    words = next(stem for stem in stems if stem["license"] == "words")
    assert words["preview"] is None and words["refusal"]
    german = next(stem for stem in stems if stem["license"] == "german")
    there = served.client.get(f"/v1/stems/{german['stem']}/preview?territory=DE")
    assert there.status_code == 200


def test_stems_are_filtered_counted_and_paged(served: Served) -> None:
    whole = served.client.get("/v1/stems").json()
    assert whole["total"] == len(whole["stems"]) == 4
    assert whole["facets"]["artist"]["Copper Lantern Trio"] == 2
    one = served.client.get("/v1/stems", params={"q": "amber", "key": "A major"}).json()
    assert [stem["title"] for stem in one["stems"]] == ["Amber Stairs"]
    first = served.client.get("/v1/stems?limit=3").json()
    rest = served.client.get(f"/v1/stems?limit=3&after={first['next']}").json()
    seen = [stem["stem"] for stem in first["stems"] + rest["stems"]]
    assert seen == [stem["stem"] for stem in whole["stems"]] and rest["next"] is None


def test_the_library_by_artist_by_license_and_on_a_plane(served: Served) -> None:
    artists = served.client.get("/v1/artists").json()["artists"]
    assert {one["artist"] for one in artists if one["style"]} == {"Copper Lantern Trio"}
    licenses = served.client.get("/v1/libraries").json()["licenses"]
    assert {one["license"] for one in licenses} >= {"full", "words", "german"}
    points = served.client.get("/v1/map").json()["points"]
    assert len(points) == 4
    assert all(-1 <= point["x"] <= 1 and -1 <= point["y"] <= 1 for point in points)


def test_an_uploaded_sound_finds_its_like_and_a_score_can_be_uploaded(served: Served) -> None:
    stem = served.client.get("/v1/stems?q=amber").json()["stems"][0]
    sound = served.client.get(stem["preview"]).content
    upload = served.client.post("/v1/uploads", content=sound).json()
    assert upload["kind"] == "audio" and upload["duration_s"] == pytest.approx(12, abs=0.2)
    asked = {"upload": upload["id"], "limit": 2}
    found = served.client.post("/v1/search", json=asked).json()["references"]
    assert found[0]["stem"] == stem["stem"]
    score = next(data_dir("demo").rglob("*.mid")).read_bytes()
    midi = served.client.post("/v1/uploads", content=score).json()
    assert midi["kind"] == "midi"
    assert served.client.post(f"/v1/trace?upload={midi['id']}").status_code == 422
    own = served.generation(midi=midi["id"])
    assert own["state"] == "succeeded"


def test_a_sound_of_unknown_rights_is_refused_until_somebody_vouches(served: Served) -> None:
    file = io.BytesIO()
    soundfile.write(file, [0.3 * ((i // 50) % 2) for i in range(22050)], 22050, format="WAV")
    id_ = served.client.post("/v1/uploads", content=file.getvalue()).json()["id"]
    answer = served.client.post("/v1/generations", json={**FAST, "audio": id_})
    assert answer.status_code == 422
    made = served.generation(audio=id_, audio_rights="own")
    record = served.client.get(made["outputs"][0]["record"]).json()["record"]
    assert record["request"]["audio"] == f"{id_}.wav"


def test_a_hummed_upload_is_followed_and_the_record_says_so(served: Served) -> None:
    file = io.BytesIO()
    voice = perform(make_notes(3, 4.0), "hum", duration_s=4.0).audio
    soundfile.write(file, voice.samples.T, voice.sample_rate, format="WAV")
    id_ = served.client.post("/v1/uploads", content=file.getvalue()).json()["id"]
    asked = {"audio": id_, "audio_rights": "own", "audio_as": "melody"}
    made = served.generation(**asked)
    record = served.client.get(made["outputs"][0]["record"]).json()["record"]
    assert record["request"]["audio_as"] == "melody"
    assert record["plan"]["melody"]["instrument"] == "Electric Piano 1"
    assert record["plan"]["melody"]["source_rights"] == "own"
    wrong = served.client.post("/v1/generations", json={**FAST, **asked, "audio_as": "sing"})
    assert wrong.status_code == 422


def test_metrics_tell_of_jobs_stages_quality_guardrails_and_requests(served: Served) -> None:
    served.generation()
    served.client.post("/v1/generations", json={**FAST, "prompt": "like Paper Moth Quartet"})
    text = served.client.get("/metrics").text
    for line in (
        'rag_audio_jobs{state="queued"}',
        'rag_audio_jobs_ended_total{state="succeeded"}',
        'rag_audio_stage_seconds_count{stage="generate"}',
        "rag_audio_queue_seconds_count",
        "rag_audio_output_lufs_count",
        "rag_audio_output_flatness_count",
        'rag_audio_guardrail_decisions_total{decision="refuse"',
        'rag_audio_request_seconds_count{method="POST",route="/v1/generations",status="200"}',
        "rag_audio_memory_bytes",
    ):
        assert line in text, line
    again = served.client.get("/metrics").text
    name = 'rag_audio_jobs_ended_total{state="succeeded"}'
    counts = [next(x for x in t.splitlines() if x.startswith(name)) for t in (text, again)]
    assert counts[0] == counts[1]


def test_a_revocation_is_previewed_and_then_holds_at_once(serve: Serve) -> None:
    app = serve()
    made = app.generation()
    asked: dict[str, Any] = {"of": "artist", "target": "copper lantern trio"}
    preview = app.client.post("/v1/revocations", json=asked).json()
    assert not preview["done"] and len(preview["stems"]) == 2
    assert [one["output"] for one in preview["outputs"]] == [made["outputs"][0]["output"]]
    stem = preview["stems"][0]["stem"]
    assert app.client.get(f"/v1/stems/{stem}/preview").status_code == 200
    done = app.client.post("/v1/revocations", json={**asked, "preview": False}).json()
    assert done["done"] and done["new"]
    assert app.client.get(f"/v1/stems/{stem}/preview").status_code == 403
    assert app.client.get(f"/v1/stems/{stem}").json()["revoked"] is True
    refused = app.client.post("/v1/generations", json={**FAST, "artist": "Copper Lantern Trio"})
    assert refused.status_code == 403
    assert app.service.workspace.home.ledger.verify() == []


def test_a_folder_is_indexed_by_its_name_with_progress(serve: Serve, tmp_path: Path) -> None:
    root = write_library(tmp_path / "libraries" / "more")
    (root / "library.toml").write_text(
        (root / "library.toml").read_text().replace('name = "Small"', 'name = "More"')
    )
    app = serve(libraries=tmp_path / "libraries")
    assert app.client.get("/v1/indexing").json()["folders"] == ["more"]
    for evil in ("../more", "/etc", "more/../more", "."):
        assert app.client.post("/v1/indexing", json={"name": evil}).status_code == 404
    assert app.client.post("/v1/indexing", json={"name": "more"}).status_code == 202
    until = time.monotonic() + 60
    while (state := app.client.get("/v1/indexing").json())["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.1)
    assert state["state"] == "done" and state["report"]["indexed"] == 4, state
    assert (state["report"]["refreshed"], state["report"]["outdated"]) == (0, 0)
    asked = {"name": "more", "refresh": "vectors"}
    assert app.client.post("/v1/indexing", json=asked).status_code == 422
    assert len(app.client.get("/v1/libraries").json()["libraries"]) == 2


def test_commands_go_through_the_server_that_holds_the_index(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(served.service.workspace.home.folder)
    assert cli(["search", "warm electric piano", "--home", home, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["references"]
    assert found[0]["artist"] == "Copper Lantern Trio"


def test_keys_are_made_listed_and_revoked_on_the_command_line(
    indexed_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(indexed_home, home)
    where = ["--home", str(home), "--json"]
    assert cli(["keys", "api-make", "desk", "--scope", "search,trace", "--days", "2", *where]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["key"].startswith(f"ra_{made['id']}_") and made["scopes"] == ["search", "trace"]
    assert cli(["keys", "api", *where]) == 0
    listed = json.loads(capsys.readouterr().out)["keys"]
    assert [one["name"] for one in listed] == ["desk"] and "key" not in listed[0]
    assert cli(["keys", "api-revoke", made["id"], *where]) == 0
    assert json.loads(capsys.readouterr().out)["revoked_at"] is not None
    assert cli(["keys", "api-make", "x", "--scope", "everything", *where]) == 2
    assert cli(["keys", "api-make", "x", "--library", "none", *where]) == 2
    assert cli(["keys", "api-revoke", "nobody", *where]) == 2

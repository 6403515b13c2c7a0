"""What is not needed any more is not there any more, and what is needed is."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from rag_audio.errors import BackendError
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.service.folders import Quota, Tidying, Upload, UploadsFull
from tests.service.api.conftest import FAST, Serve, Served
from tests.service.api.test_security import wav

DAY_S = 86_400.0


def files_of(app: Served) -> set[str]:
    folder = app.service.folders.uploads
    return {one.name for one in folder.iterdir()} if folder.is_dir() else set()


def make_old(file: Path, seconds: float = 2 * DAY_S) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_bytes(b"old")
    before = time.time() - seconds
    os.utime(file, (before, before), follow_symlinks=False)
    return file


def test_a_traced_body_is_gone_when_the_answer_is_there(serve: Serve) -> None:
    app = serve(workers=0)
    found = app.client.post("/v1/trace", content=wav())
    assert found.status_code == 200 and found.json()["upload"] is None
    report = app.client.post("/v1/trace?report=html", content=wav())
    assert report.headers["content-type"].startswith("text/html")
    for wrong in (b"", b"no sound", b"RIFF" + b"\xff" * 900, b"MThd\0\0\0\x06\0\0\0\0\0\x60"):
        assert app.client.post("/v1/trace", content=wrong).status_code == 422
    assert files_of(app) == set() and app.service.uploads.ids() == set()
    log = (app.service.workspace.home.folder / "audit.log").read_text()
    assert [json.loads(line)["what"] for line in log.splitlines()].count("trace") == 2


def test_a_traced_body_is_gone_when_tracing_fails(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = serve(workers=0)
    for error in (BackendError("the index is away"), ZeroDivisionError("a fault")):

        def fail(self: Pipeline, path: Path, error: Exception = error) -> None:
            assert path.is_file()
            raise error

        monkeypatch.setattr(Pipeline, "trace", fail)
        assert app.client.post("/v1/trace", content=wav()).status_code in (500, 503)
    assert files_of(app) == set()
    assert len(app.service.receiving) == 0


def test_a_kept_upload_can_still_be_traced(serve: Serve) -> None:
    app = serve(workers=0)
    id_ = app.client.post("/v1/uploads", content=wav()).json()["id"]
    traced = app.client.post(f"/v1/trace?upload={id_}")
    assert traced.status_code == 200 and traced.json()["upload"] == id_
    assert files_of(app) == {f"{id_}.wav"}


def test_what_a_crash_left_goes_and_nothing_else(serve: Serve, tmp_path: Path) -> None:
    app = serve(workers=0)
    folders = app.service.folders
    kept = app.client.post("/v1/uploads", content=wav()).json()["id"]
    drafts = [make_old(folders.of_draft(c * 32, s), 60) for c, s in (("a", ""), ("b", ".wav"))]
    orphan = make_old(folders.of_upload("c" * 32, ".wav"))
    held = make_old(folders.of_draft("d" * 32, ""))
    foreign = make_old(folders.uploads / "notes.txt")
    hidden = make_old(folders.uploads / ".mine.part")
    young = folders.of_upload("e" * 32, ".wav")
    young.write_bytes(b"young")
    outside = make_old(tmp_path / "outside.wav")
    link = folders.of_upload("f" * 32, ".wav")
    link.symlink_to(outside)
    preview = make_old(folders.previews / f"{'0' * 64}.mp3")
    half = make_old(folders.previews / ".0011223344556677.mp3")
    with held.open("rb") as working:
        fcntl.flock(working, fcntl.LOCK_EX)
        app.service.tidying.tidy()
        assert held.exists()
    for gone in (*drafts, orphan, preview, half):
        assert not gone.exists(), gone
    for stays in (foreign, hidden, young, outside, link, folders.of_upload(kept, ".wav")):
        assert stays.exists(), stays
    app.service.tidying.tidy()
    assert not held.exists()


def test_an_upload_stays_as_long_as_a_job_needs_it(serve: Serve) -> None:
    app = serve(workers=0)
    service = app.service
    strict = Tidying(service.folders, service.uploads, service.jobs, kept_s=0.0)
    id_ = app.client.post("/v1/uploads", content=wav()).json()["id"]
    asked = {**FAST, "audio": id_, "audio_rights": "own"}
    job = app.client.post("/v1/generations", json=asked)
    assert job.status_code == 202, job.text
    strict.tidy()
    assert f"{id_}.wav" in files_of(app)
    app.client.post(job.json()["links"]["cancel"])
    strict.tidy()
    assert files_of(app) == set()


def test_other_formats_go_when_nobody_asks_for_them_and_takes_stay(serve: Serve) -> None:
    app = serve()
    made = app.generation()
    url = made["outputs"][0]["content"]
    assert app.client.get(f"{url}&format=flac").status_code == 200
    job = app.service.jobs.find(made["id"])
    assert job is not None
    folder = app.service.folders.of_result(job)
    assert folder is not None
    (other,) = folder.glob("*.copy.flac")
    app.service.tidying.tidy_outputs()
    assert other.exists()
    before = {one.name for one in folder.iterdir()}
    make_old(other)
    make_old(folder / "take.wav")
    half = make_old(folder / ".0011223344556677.flac")
    app.service.tidying.tidy_outputs()
    assert not half.exists()
    assert {one.name for one in folder.iterdir()} == before - {other.name}
    assert app.client.get(f"{url}&format=flac").status_code == 200


def test_uploads_have_quotas(serve: Serve) -> None:
    app = serve(workers=0, uploads_per_key=2, upload_mb=1)
    one, other = app.key("search"), app.key("search")
    sound = wav(5.0)
    codes = [
        app.client.post("/v1/uploads", content=sound, headers=one).status_code for _ in range(4)
    ]
    assert codes == [201, 201, 429, 429]
    assert app.client.post("/v1/uploads", content=sound, headers=other).status_code == 201
    full = app.client.post("/v1/uploads", content=wav(30.0), headers=other)
    assert full.status_code == 429 and full.json()["detail"] and full.headers["retry-after"]
    assert len(files_of(app)) == 3
    traced = app.client.post("/v1/trace", content=sound, headers=one)
    assert traced.status_code == 200


def test_all_uploads_together_and_the_disk_have_limits(serve: Serve) -> None:
    app = serve(workers=0, uploads_total_mb=1)
    assert app.client.post("/v1/uploads", content=wav(20.0)).status_code == 201
    full = app.client.post("/v1/uploads", content=wav(20.0))
    assert full.status_code == 507 and "/problems/insufficient-storage" in full.text
    no_disk = serve(workers=0, free_mb=1 << 40)
    for path in ("/v1/uploads", "/v1/trace"):
        answer = no_disk.client.post(path, content=wav())
        assert answer.status_code == 507 and answer.headers["retry-after"]
    assert files_of(no_disk) == set()


def test_the_quota_holds_when_uploads_come_at_once(serve: Serve) -> None:
    app = serve(workers=0)
    quota = Quota(bytes=100, count=10, total_bytes=1000)

    def put(id_: str, size: int) -> None:
        app.service.uploads.put(Upload(id_, "k", "audio", ".wav", "0" * 64, size, 1.0), quota)

    put("1" * 32, 60)
    with pytest.raises(UploadsFull, match="yours"):
        put("2" * 32, 60)
    put("3" * 32, 40)
    assert app.service.uploads.ids() == {"1" * 32, "3" * 32}


def test_so_many_bodies_come_in_at_once(serve: Serve) -> None:
    app = serve(workers=0, uploads_at_once=1)
    with app.service.receiving.hold(""):
        for path in ("/v1/uploads", "/v1/trace"):
            answer = app.client.post(path, content=wav())
            assert answer.status_code == 429 and answer.headers["retry-after"]
    assert app.client.post("/v1/uploads", content=wav()).status_code == 201

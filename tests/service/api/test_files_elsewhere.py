"""Outputs and uploads in a bucket: whatever machine is asked, with nothing of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from rag_audio.errors import BackendUnavailable
from rag_audio.service.api.media import range_of
from rag_audio.service.folders import MARGIN_S, Tidying
from rag_audio.service.pruning import DAY_S, Ages, Pruning
from rag_audio.storage.blobs import BlobStore
from rag_audio.storage.database import writing
from rag_audio.storage.fsspec_blobs import FsspecBlobs
from tests.service.api.small_service import SmallService
from tests.support.s3 import s3_bucket, s3_server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallService]:
    with s3_server() as address, s3_bucket(address) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAG_AUDIO_FILES", f"{url}/label")
        made = SmallService(tmp_path_factory.mktemp("elsewhere"))
        with made.client:
            yield made


@pytest.fixture
def service(shared: SmallService) -> SmallService:
    shared.world.reset()
    shared.empty()
    return shared


@pytest.fixture
def take(service: SmallService) -> str:
    job = service.run(service.accept()["id"])
    assert job["state"] == "succeeded", job
    return str(job["id"])


def forget(service: SmallService) -> None:
    """As on a machine that has done nothing yet."""
    folders = service.service.folders
    for folder in (folders.outputs, folders.uploads, folders.decoded, folders.previews):
        shutil.rmtree(folder, ignore_errors=True)


def store_of(service: SmallService) -> BlobStore:
    return service.world.home.files


def keys(service: SmallService, prefix: str) -> list[str]:
    return [info.key for info in store_of(service).page(prefix)]


def content(service: SmallService, job: str, **headers: str) -> Any:
    return service.client.get(f"/v1/generations/{job}/content", headers=headers)


def test_a_take_is_heard_anywhere_and_by_ranges(service: SmallService, take: str) -> None:
    here = content(service, take)
    forget(service)
    whole = content(service, take)
    assert whole.status_code == 200 and whole.content == here.content
    assert whole.headers["content-type"] == "audio/wav" == here.headers["content-type"]
    assert whole.headers["content-disposition"] == here.headers["content-disposition"]
    part = content(service, take, Range="bytes=100-299")
    assert part.status_code == 206 and part.content == here.content[100:300]
    assert part.headers["content-range"] == f"bytes 100-299/{len(here.content)}"
    assert content(service, take, Range="bytes=-50").content == here.content[-50:]
    beyond = content(service, take, Range=f"bytes={len(here.content)}-")
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(here.content)}"
    tag = {"If-Range": whole.headers["etag"]}
    assert content(service, take, Range="bytes=0-9", **tag).status_code == 206
    assert content(service, take, Range="bytes=0-9", **{"If-Range": '"old"'}).status_code == 200
    assert not list(service.service.folders.outputs.glob("*")), "a range needs no copy"


def test_a_range_reads_no_more_than_it_names(
    service: SmallService, take: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(service)
    system = store_of(service)._system  # type: ignore[attr-defined]
    read, real = [], system.cat_file

    def cat_file(path: str, start: int, end: int) -> bytes:
        read.append(end - start)
        found: bytes = real(path, start=start, end=end)
        return found

    monkeypatch.setattr(system, "cat_file", cat_file)
    content(service, take, Range="bytes=100-299")
    assert sum(read) == 200


@given(size=st.integers(0, 50), first=st.integers(0, 60), last=st.integers(0, 60))
def test_what_a_range_names(size: int, first: int, last: int) -> None:
    whole = range(size)
    assert range_of(f"bytes={first}-", size) == whole[first:]
    assert range_of(f"bytes=-{last}", size) == (whole[-last:] if last else range(0))
    wanted = whole[first : last + 1] if last >= first else None
    assert range_of(f"bytes={first}-{last}", size) == wanted


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b"])
def test_what_is_no_single_range_is_the_whole(header: str | None) -> None:
    assert range_of(header, 10) is None


def test_another_format_is_made_of_what_is_fetched(service: SmallService, take: str) -> None:
    forget(service)
    answer = service.client.get(f"/v1/generations/{take}/content?format=flac")
    assert answer.status_code == 200 and answer.content[:4] == b"fLaC"


def test_an_upload_is_used_anywhere(service: SmallService) -> None:
    upload = service.upload((service.world.library / "good.wav").read_bytes())
    assert keys(service, "uploads/") == [f"uploads/{upload}.wav"]
    forget(service)
    answer = service.client.post(f"/v1/trace?upload={upload}")
    assert answer.status_code == 200, answer.text
    forget(service)
    job = service.accept(audio=upload, audio_rights="own")
    forget(service)
    assert service.run(job["id"])["state"] == "succeeded"


def test_a_take_is_edited_anywhere(service: SmallService, take: str) -> None:
    forget(service)
    asked = {"generation": take, "kind": "vary", "prompt": "bells", "steps": 2, "seed": 7}
    answer = service.client.post("/v1/edits", json=asked)
    assert answer.status_code == 202, answer.text
    forget(service)
    found = service.run(answer.json()["id"])
    assert found["state"] == "succeeded", found
    assert content(service, found["id"]).status_code == 200


def test_only_what_a_job_names_stays(service: SmallService, take: str) -> None:
    before = keys(service, "outputs/")
    assert [key.split("/")[1] for key in before].count(take) == 1
    store_of(service).put(f"outputs/{take}/{'0' * 32}/take.wav", b"of a worker that died")
    job = service.service.jobs.find(take)
    assert job is not None
    service.service.folders.remove_attempts(job)
    assert keys(service, "outputs/") == before


def test_a_copy_here_goes_by_its_age_and_what_the_bucket_has_not_stays(
    service: SmallService, take: str
) -> None:
    parts = service.service
    job = parts.jobs.find(take)
    assert job is not None
    folder = parts.folders.of_result(job)
    assert folder is not None
    before_the_move = folder / "take2.wav"
    before_the_move.write_bytes(b"RIFF")
    Tidying(parts.folders, parts.uploads, parts.jobs, kept_s=0.0).tidy_outputs()
    assert [one.name for one in folder.iterdir()] == [before_the_move.name]
    assert content(service, take).status_code == 200


def test_what_a_job_delivered_goes_from_the_bucket_with_the_job(
    service: SmallService, take: str
) -> None:
    assert keys(service, f"outputs/{take}/")
    parts, masters = service.service, keys(service, "masters/")
    service.accept()
    with writing(service.world.home.database) as db:
        db.execute(text("UPDATE jobs SET finished_at = 1.0 WHERE id = :id"), {"id": take})
    pruning = Pruning(service.world.home.database, Ages(DAY_S), parts.folders.remove_delivered)
    assert pruning.prune(lambda: False)["jobs"] == 1
    assert keys(service, f"outputs/{take}/") == []
    assert not (parts.folders.outputs / take).exists()
    assert keys(service, "masters/") == masters


def test_a_job_whose_files_cannot_be_stored_is_tried_again(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, before = FsspecBlobs.put, keys(service, "outputs/")

    def put(self: FsspecBlobs, key: str, source: Path | bytes, *, new: bool = False) -> None:
        if key.startswith("outputs/"):
            raise BackendUnavailable("the bucket is away")
        real(self, key, source, new=new)

    monkeypatch.setattr(FsspecBlobs, "put", put)
    job = service.accept()["id"]
    logged = len(service.world.home.ledger.outputs())
    assert service.run(job)["state"] == "running", "its lease runs out, and it is begun again"
    assert len(service.world.home.ledger.outputs()) == logged
    assert keys(service, "outputs/") == before
    service.client.post(f"/v1/generations/{job}/cancel")


def test_an_upload_that_cannot_be_stored_is_not_kept(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*given: object, **how: object) -> None:
        raise BackendUnavailable("s3://secret is away", public="the files are away")

    monkeypatch.setattr(FsspecBlobs, "put", put)
    before = service.service.uploads.ids()
    sound = (service.world.library / "good.wav").read_bytes()
    answer = service.client.post("/v1/uploads", content=sound)
    assert answer.status_code == 503 and "secret" not in answer.text
    assert service.service.uploads.ids() == before
    assert not list(service.service.folders.uploads.glob(".*"))


def test_what_nobody_needs_goes_from_the_bucket_too(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = service.upload((service.world.library / "good.wav").read_bytes())
    orphan = f"uploads/{'c' * 32}.wav"
    store_of(service).put(orphan, b"RIFF")
    parts = service.service
    kept = Tidying(parts.folders, parts.uploads, parts.jobs, kept_s=3600.0)
    kept.tidy()
    assert {orphan, f"uploads/{upload}.wav"} <= set(keys(service, "uploads/"))
    real = time.time()
    monkeypatch.setattr("rag_audio.service.folders.time.time", lambda: real + MARGIN_S + 2 * 3600.0)
    kept.tidy()
    assert orphan not in keys(service, "uploads/")
    assert f"uploads/{upload}.wav" in keys(service, "uploads/"), "its row is there"
    Tidying(parts.folders, parts.uploads, parts.jobs, kept_s=0.0).tidy()
    assert keys(service, "uploads/") == []

"""What is worked with of uploads at once: bounded in memory and on the disk, in turns."""

from __future__ import annotations

import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.service import decoder_pool
from rag_audio.service.decoder_pool import UploadDecoders
from tests.service.api.conftest import FAST, Serve, Served
from tests.support.bombs import NOTE, beep, chunk, score

BOUND = 1 << 20


def sound(seconds: float, channels: int = 2, rate: int = 48_000) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (round(seconds * rate), channels))
    soundfile.write(file, noise.astype(np.float32), rate, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def app(serve: Serve) -> Served:
    return serve(workers=2, sound_mb=BOUND >> 20, traces=8)


def brought(app: Served, body: bytes) -> str:
    answer = app.client.post("/v1/uploads", content=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that has to come."""
    last = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < last
        time.sleep(0.005)


class Meter:
    """Counts the bytes that are worked with, through whatever reads uploads."""

    def __init__(self) -> None:
        self.now = self.most = self.uses = 0
        self._lock = threading.Lock()
        self.go_on = threading.Event()
        self.go_on.set()

    def hold(self, heard: Audio) -> None:
        size = heard.samples.nbytes
        with self._lock:
            self.now += size
            self.uses += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        self.go_on.wait(10.0)
        with self._lock:
            self.now -= size


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """In place of what searches, plans, traces and jobs do with sound."""
    made = Meter()

    def search(self: Pipeline, query: Any, territory: Any = None) -> tuple[()]:
        made.hold(query.audio)
        return ()

    def by_path(self: Pipeline, path: Path) -> None:
        made.hold(self.home.reader.hear(path).audio)
        raise InvalidInput("measured")

    def plan(self: Pipeline, request: Any) -> None:
        by_path(self, Path(request.audio))

    def generate(self: Pipeline, request: Any, out: Any, on_stage: Any, **_: Any) -> None:
        on_stage("retrieve", 0, 1)
        plan(self, request)

    for name, fake in (
        ("search", search), ("trace", by_path), ("plan", plan), ("generate", generate),
    ):  # fmt: skip
        monkeypatch.setattr(Pipeline, name, fake)
    return made


def asked(app: Served, what: str, id_: str) -> int:
    post = app.client.post
    own = {**FAST, "audio": id_, "audio_rights": "own"}
    if what == "search":
        return post("/v1/search", json={"upload": id_}).status_code
    if what == "trace":
        return post("/v1/trace", params={"upload": id_}).status_code
    if what == "body":
        return post("/v1/trace", content=sound(1.5)).status_code
    if what == "job":
        app.service.jobs.accept("generation", own, owner="")
        app.service.wake()
        return 422
    return post(f"/v1/{what}", json=own).status_code


def test_no_more_is_worked_with_at_once_than_the_bound(app: Served, meter: Meter) -> None:
    large, small = brought(app, sound(1.5)), brought(app, sound(0.2))
    kinds = ["search", "trace", "plans", "generations", "job", "body"]
    wishes = [(kind, id_) for id_ in (large, small) for kind in kinds * 2]
    with ThreadPoolExecutor(len(wishes)) as pool:
        answers = list(pool.map(lambda one: asked(app, *one), wishes))
    until(lambda: meter.uses == len(wishes) and not app.service.canonical.use.held)
    assert set(answers) == {200, 422}
    assert 0 < meter.most <= BOUND


@contextmanager
def impatient(app: Served) -> Iterator[None]:
    """Nobody waits for a turn."""
    usual = app.service.settings
    app.service.settings = usual.model_copy(update={"trace_wait_s": 0.05})
    try:
        yield
    finally:
        app.service.settings = usual


def test_small_uploads_are_served_while_large_ones_wait(app: Served, meter: Meter) -> None:
    large, small = brought(app, sound(1.5)), brought(app, sound(0.1))
    meter.go_on.clear()
    with ThreadPoolExecutor(2) as pool, impatient(app):
        first = pool.submit(asked, app, "search", large)
        until(lambda: meter.uses == 1)
        own = {**FAST, "audio": large, "audio_rights": "own"}
        for route, more in (
            ("search", {"json": {"upload": large}}),
            ("trace", {"params": {"upload": large}}),
            ("plans", {"json": own}),
            ("generations", {"json": own}),
        ):
            refused = app.client.post(f"/v1/{route}", **more)
            assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
        beside = pool.submit(asked, app, "search", small)
        until(lambda: meter.uses == 2)
        meter.go_on.set()
        assert first.result() == beside.result() == 200


def test_an_upload_of_the_wrong_kind_is_refused_before_anything_is_done(
    app: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, tone = brought(app, score(NOTE, NOTE)), brought(app, beep("WAV", "PCM_16"))
    monkeypatch.delattr(Pipeline, "plan")
    for route in ("plans", "generations"):
        for field, id_, is_ in (("audio", notes, "score"), ("midi", tone, "sound")):
            body = {**FAST, field: id_, "audio_rights": "own"}
            answer = app.client.post(f"/v1/{route}", json=body)
            assert answer.status_code == 422
            assert f"upload {id_} is a {is_}" in answer.json()["detail"]


def test_a_full_disk_refuses_only_what_has_to_be_written(
    app: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = brought(app, sound(0.1))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(decoder_pool.shutil, "disk_usage", lambda _: usage._replace(free=0))
    wishes = (("/v1/search", {"json": {"upload": id_}}), ("/v1/trace", {"params": {"upload": id_}}))
    for route, more in wishes:
        assert app.client.post(route, **more).status_code == 200
    assert app.client.post("/v1/uploads", content=sound(0.1)).status_code == 507
    shutil.rmtree(app.service.folders.decoded)
    for route, more in wishes:
        refused = app.client.post(route, **more)
        assert refused.status_code == 507 and refused.headers["Retry-After"]
    monkeypatch.undo()
    assert app.client.post("/v1/search", json={"upload": id_}).status_code == 200


def test_what_needs_more_room_than_it_was_promised_is_not_written(
    app: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(decoder_pool.shutil, "disk_usage", lambda _: usage._replace(free=9 << 20))
    body = sound(60.0, 1, 8000)
    monkeypatch.setattr(decoder_pool, "LEAST_BYTES", 1000)
    assert app.client.post("/v1/uploads", content=body).status_code == 201
    monkeypatch.setattr(UploadDecoders, "most_bytes", lambda *_: 1 << 20)
    monkeypatch.setattr("rag_audio.service.decoded_uploads.MOST_DOCUMENT", 1 << 10)
    assert app.client.post("/v1/uploads", content=body).status_code == 507
    assert not list(app.service.folders.decoded.glob(".*"))


def test_of_many_uploads_of_one_key_another_key_waits_for_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = serve(workers=0)
    order, go_on = list[str](), threading.Event()
    uploads = app.service.canonical
    turns, real = uploads.decoders.turns, type(uploads).make

    def make(self: Any, path: Path, in_use: Any = None) -> Any:
        order.append(path.name)
        go_on.wait(10.0)
        return real(self, path, in_use)

    monkeypatch.setattr(type(uploads), "make", make)
    many, one = (app.key("search") for _ in range(2))
    body = beep("WAV", "PCM_16")

    def send(headers: dict[str, str]) -> str:
        return str(app.client.post("/v1/uploads", content=body, headers=headers).json()["id"])

    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(send, many) for _ in range(6)]
        until(lambda: [len(owner.waiting) for owner in turns._owners.values()] == [4])
        other = pool.submit(send, one)
        until(lambda: len(turns._owners) == 2)
        go_on.set()
        names = {other.result(): "one"} | {each.result(): "many" for each in first}
    assert [names[name[1:33]] for name in order].index("one") == 2


def test_chunks_without_end_do_not_reach_a_decoder(app: Served) -> None:
    whole = beep("WAV", "PCM_16")
    body = chunk(b"RIFF", whole[8:] + chunk(b"JUNK", b"") * 10_001)
    answer = app.client.post("/v1/uploads", content=body)
    assert answer.status_code == 422 and "10,000 data chunks" in answer.json()["detail"]


def test_an_edit_keeps_the_rate_and_channels_of_its_upload(app: Served) -> None:
    id_ = brought(app, sound(0.6, 3, 96_000))
    body = {"kind": "inpaint", "upload": id_, "regions": [[0.2, 0.4]], "prompt": "bells"}
    body |= {"steps": 2, "audio_rights": "own"}
    refused = app.client.post("/v1/edits", json={**body, "format": "mp3"})
    assert refused.status_code == 422 and "mp3 cannot hold 3 channels" in refused.json()["detail"]
    done = app.client.post("/v1/edits", json=body, headers={"Prefer": "wait=60"}).json()
    assert done["state"] == "succeeded", done
    (output,) = done["outputs"]
    assert (output["channels"], output["sample_rate"]) == (3, 96_000)
    until(lambda: not app.service.canonical.use.held)

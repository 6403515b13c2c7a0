"""The threat model of docs/security.md, a test for each line."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.service.decoder_pool import UploadDecoders, Writing
from rag_audio.service.outbound_hosts import addresses_of, target_of
from rag_audio.service.settings import ServeSettings
from tests.service.api.conftest import FAST, Serve, Served

ID_ROUTES = (
    "/v1/generations/{}",
    "/v1/generations/{}/content",
    "/v1/generations/{}/events",
    "/v1/generations/{}/plan",
    "/v1/generations/{}/record",
    "/v1/stems/{}",
    "/v1/stems/{}/preview",
    "/v1/outputs/{}",
    "/v1/ledger/entries/{}",
)
EVIL_IDS = (
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fkeys%2fwatermark.key",
    "%2fetc%2fpasswd",
    "..%5c..%5ckeys",
    "..\\..\\keys",
    "%00",
    "a" * 32 + "%00",
    "%252e%252e%252f",
    "....//....//etc/passwd",
    "~root",
    "-rf",
    "*",
)
TEXTS = (
    "'; DROP TABLE jobs; --",
    "$(touch /tmp/pwned) `id` | cat /etc/passwd; & rm -rf ~",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "{{7*7}} ${7*7} %s %n",
    "../../../../etc/passwd",
    "\u202e\u200b\ufeff piano",
    "piano " * 300,
)


@pytest.fixture(scope="module")
def open_app(serve: Serve) -> Served:
    """No keys; it accepts and does not work."""
    return serve(workers=0, max_upload_s=60, decode_s=3, decode_mb=1024)


@pytest.fixture(scope="module")
def keyed(serve: Serve) -> Served:
    """An app that asks for keys."""
    app = serve()
    app.key("admin")
    return app


def wav(seconds: float = 1.0, rate: int = 22050) -> bytes:
    file = io.BytesIO()
    t = np.arange(round(seconds * rate)) / rate
    soundfile.write(
        file, (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate, format="WAV"
    )
    return file.getvalue()


@pytest.mark.parametrize("evil", EVIL_IDS)
def test_no_id_leads_to_a_file(open_app: Served, evil: str) -> None:
    for route in ID_ROUTES:
        answer = open_app.client.get(route.format(evil))
        assert answer.status_code in (404, 422), (route, evil, answer.status_code)
        assert b"root:" not in answer.content
    for page in (f"/{evil}", f"/static/{evil}", f"/../{evil}"):
        answer = open_app.client.get(page)
        assert answer.status_code in (200, 404, 422)
        assert b"root:" not in answer.content
    asked = {**FAST, "audio": evil}
    assert open_app.client.post("/v1/generations", json=asked).status_code == 422
    assert open_app.client.post("/v1/search", json={"upload": evil}).status_code == 422


def test_a_symlink_where_a_take_should_be_leads_nowhere(serve: Serve, tmp_path: Path) -> None:
    app = serve()
    made = app.generation()
    job = app.service.jobs.find(made["id"])
    assert job is not None
    folder = app.service.folders.of_result(job)
    assert folder is not None
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    take = folder / "take.wav"
    take.unlink()
    take.symlink_to(secret)
    answer = app.client.get(made["outputs"][0]["content"])
    assert answer.status_code == 410
    assert b"secret" not in answer.content


def test_what_is_not_an_address_is_never_fetched(open_app: Served) -> None:
    for url in ("http://127.0.0.1/a.wav", "file:///etc/passwd", "https://example.org/a.wav"):
        answer = open_app.client.post("/v1/generations", json={**FAST, "audio": url})
        assert answer.status_code == 422
        answer = open_app.client.post("/v1/generations", json={**FAST, "model": url})
        assert answer.status_code == 422


def test_somebody_elses_job_is_a_404_like_one_that_never_was(keyed: Served) -> None:
    one, other = keyed.key("generate", "search"), keyed.key("generate", "search")
    made = keyed.generation(one)
    upload = keyed.client.post("/v1/uploads", content=wav(), headers=one).json()["id"]
    nowhere = "0" * 32
    for way in ("", "/content", "/events", "/plan", "/record"):
        theirs = keyed.client.get(f"/v1/generations/{made['id']}{way}", headers=other)
        none = keyed.client.get(f"/v1/generations/{nowhere}{way}", headers=other)
        assert (theirs.status_code, theirs.content) == (404, none.content)
        same = {name for name in theirs.headers if name != "x-request-id"}
        assert same == {name for name in none.headers if name != "x-request-id"}
    theirs = keyed.client.post(f"/v1/generations/{made['id']}/cancel", headers=other)
    none = keyed.client.post(f"/v1/generations/{nowhere}/cancel", headers=other)
    assert (theirs.status_code, theirs.content) == (404, none.content)
    for body in ({"upload": upload}, {"upload": nowhere}):
        answer = keyed.client.post("/v1/search", json=body, headers=other)
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"there is no upload {body['upload']}"
    asked = {"kind": "vary", "generation": made["id"]}
    assert keyed.client.post("/v1/edits", json=asked, headers=other).status_code == 404
    assert keyed.client.post(f"/v1/trace?upload={upload}", headers=other).status_code == 404
    listed = keyed.client.get("/v1/generations", headers=other).json()["generations"]
    assert made["id"] not in {job["id"] for job in listed}
    admin = keyed.key("admin")
    assert keyed.client.get(f"/v1/generations/{made['id']}", headers=admin).status_code == 200


def test_a_key_that_is_bound_to_libraries_finds_and_sees_these_alone(keyed: Served) -> None:
    libraries = [one.id for one in keyed.service.workspace.home.catalogue.libraries()]
    own = keyed.key("generate", "search", "trace", libraries=libraries)
    foreign = keyed.key("generate", "search", "trace", libraries=["somebody-elses"])
    stems = keyed.client.get("/v1/stems", headers=own).json()["stems"]
    assert stems
    made = keyed.generation(own)
    sound = keyed.client.get(made["outputs"][0]["content"], headers=own).content
    assert keyed.client.get("/v1/stems", headers=foreign).json()["stems"] == []
    assert keyed.client.get("/v1/artists", headers=foreign).json()["artists"] == []
    assert keyed.client.get("/v1/map", headers=foreign).json()["points"] == []
    found = keyed.client.post("/v1/search", json={"text": "warm piano"}, headers=foreign).json()
    assert found["references"] == []
    for way in ("", "/preview"):
        answer = keyed.client.get(f"/v1/stems/{stems[0]['stem']}{way}", headers=foreign)
        assert answer.status_code == 404
    named = {**FAST, "references": [stems[0]["stem"]]}
    answer = keyed.client.post("/v1/generations", json=named, headers=foreign)
    assert answer.status_code == 422
    assert stems[0]["title"] not in answer.text
    output = made["outputs"][0]["output"]
    assert keyed.client.get(f"/v1/outputs/{output}", headers=own).status_code == 200
    assert keyed.client.get(f"/v1/outputs/{output}", headers=foreign).status_code == 404
    traced = keyed.client.post("/v1/trace", content=sound, headers=foreign).json()
    assert traced["found"] and traced["sources"] == [] and traced["hidden_sources"] > 0
    assert "Invented Holder" not in json.dumps(traced)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver:81", "x"])
def test_other_sites_are_not_answered(open_app: Served, origin: str) -> None:
    for method, url in (("GET", "/v1/generations"), ("POST", "/v1/generations"), ("GET", "/")):
        answer = open_app.client.request(method, url, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    answer = open_app.client.options(
        "/v1/generations", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 403
    own = open_app.client.get("/v1/generations", headers={"Origin": "http://testserver"})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    cross = open_app.client.get("/v1/generations", headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io"])
def test_another_name_is_not_answered(open_app: Served, host: str) -> None:
    assert open_app.client.get("/v1/status", headers={"Host": host}).status_code == 421
    for name in ("localhost:8000", "127.0.0.1:9", "[::1]:8000"):
        assert open_app.client.get("/v1/status", headers={"Host": name}).status_code == 200


def test_every_response_carries_the_headers(open_app: Served) -> None:
    for url in ("/", "/healthz", "/v1/status", "/v1/nothing", "/openapi.json"):
        headers = open_app.client.get(url).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]
    assert open_app.client.get("/v1/status").headers["cache-control"] == "no-store"


def test_a_duration_bomb_is_refused(open_app: Served) -> None:
    file = io.BytesIO()
    silence = np.zeros((48_000, 8), np.int16)
    with soundfile.SoundFile(
        file, "w", samplerate=8000, channels=8, format="FLAC", subtype="PCM_16"
    ) as sound:
        for _ in range(40):
            sound.write(silence)
    bomb = file.getvalue()
    assert len(bomb) < 200_000
    for url in ("/v1/uploads", "/v1/trace"):
        answer = open_app.client.post(url, content=bomb)
        assert answer.status_code == 422
        assert "longer than 60 s" in answer.json()["detail"]
    assert not any(open_app.service.folders.uploads.glob(".*"))


def test_what_takes_too_long_or_too_much_to_decode_is_given_up(tmp_path: Path) -> None:
    file = tmp_path / "pipe.wav"
    soundfile.write(file, np.zeros((500_000, 8), np.float32), 48_000)
    into = Writing(tmp_path / "sound", tmp_path / "document", 64 << 20)
    into.sound.touch()
    slow = UploadDecoders(ServeSettings(decode_s=0.001), 1)
    with pytest.raises(UnreadableFile, match="longer than"):
        slow.decode(file, into)
    slow.close()
    narrow = UploadDecoders(ServeSettings(decode_mb=256), 1)
    real = narrow._settings
    narrow._settings = real.model_copy(update={"decode_mb": 1})
    with pytest.raises(UnreadableFile):
        narrow.decode(file, into)
    narrow._settings = real.model_copy(update={"decode_mb": 2048})
    assert narrow.decode(file, into).duration_s == pytest.approx(10.42, abs=0.01)
    narrow.close()


@pytest.mark.parametrize(
    "body",
    [
        b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
        b"PK\x03\x04" + b"\0" * 64,
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\xff\xff\xff\xff\xff\xff",
        b"RIFF" + b"\xff" * 2000,
        b"fLaC" + b"\xff" * 500,
        b"OggS" + b"\0" * 500,
        b"ID3" + b"\xff" * 500,
        b"MThd\0\0\0\x06\0\x01\xff\xff\0\x60MTrk\xff\xff\xff\xff",
        b"MThd" + b"\xff" * 200,
        b"MThd\0\0\0\x06\0\x01\0\x01\0\x60MTrk\0\0\0\x0b\0\x90\x40\x40\xff\xff\xff\x7f\x80\x40\0",
        b"#!/bin/sh\nid\n",
        b"<svg onload=alert(1)>",
    ],
)
def test_what_is_no_sound_is_refused(open_app: Served, body: bytes) -> None:
    answer = open_app.client.post("/v1/uploads", content=body)
    assert answer.status_code == 422, answer.text
    assert open_app.client.get("/healthz").status_code == 200


def test_a_files_name_is_never_taken(open_app: Served) -> None:
    for name in ("../../x.wav", "/etc/cron.d/x", "a\x00b.wav", "CON", "x.wav; rm -rf /"):
        quoted = name.encode("ascii", "backslashreplace").replace(b"\x00", b"%00").decode()
        headers = {"Content-Disposition": f'attachment; filename="{quoted}"'}
        answer = open_app.client.post("/v1/uploads", content=wav(0.2), headers=headers)
        assert answer.status_code == 201
    names = {file.name for file in open_app.service.folders.uploads.iterdir()}
    assert all(len(name) == 36 and name.endswith(".wav") for name in names)
    form = {"file": ("../../x.wav", wav(0.2))}
    assert open_app.client.post("/v1/uploads", files=form).status_code == 415


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_only_ever_words(open_app: Served, text: str) -> None:
    before = {path.name for path in Path("/tmp").iterdir()}  # noqa: S108
    posts = (
        ("/v1/plans", {**FAST, "prompt": text}),
        ("/v1/plans", {**FAST, "negative_prompt": text}),
        ("/v1/plans", {**FAST, "artist": text[:200]}),
        ("/v1/plans", {**FAST, "key": text[:200]}),
        ("/v1/plans", {**FAST, "mood": [text[:200]], "instrumentation": [text[:200]]}),
        ("/v1/search", {"text": text, "tags": [text[:200]]}),
        ("/v1/search", {"artist": text[:200]}),
        ("/v1/guard", {"prompts": [text]}),
        ("/v1/session", {"key": text[:200]}),
        ("/v1/revocations", {"of": "artist", "target": text[:200]}),
    )
    for url, body in posts:
        answer = open_app.client.post(url, json=body)
        assert answer.status_code in (200, 401, 403, 422), (url, answer.text)
        assert answer.headers["content-type"].startswith("application/")
    for name in ("q", "artist", "license", "tag", "key"):
        answer = open_app.client.get("/v1/stems", params={name: text[:200]})
        assert answer.status_code in (200, 422)
    for name in ("stem", "artist", "license", "holder"):
        answer = open_app.client.get("/v1/outputs", params={name: text[:200]})
        assert answer.status_code in (200, 422)
    assert "pwned" not in {path.name for path in Path("/tmp").iterdir()} - before  # noqa: S108
    nul = open_app.client.post("/v1/guard", json={"prompts": ["a\x00b"]})
    assert nul.status_code == 422
    lone = open_app.client.post("/v1/guard", content=b'{"prompts": ["\\ud800"]}')
    assert lone.status_code == 422


def test_of_many_requests_with_one_key_one_job_is_made(open_app: Served) -> None:
    headers = {"Idempotency-Key": "race-1"}
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        answer = open_app.client.post("/v1/generations", json=FAST, headers=headers)
        answers.append((answer.status_code, answer.json().get("id", "")))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {status for status, _ in answers} <= {202, 409}
    assert len({id_ for status, id_ in answers if status == 202}) == 1
    (job,) = {id_ for status, id_ in answers if status == 202}
    assert open_app.client.post(f"/v1/generations/{job}/cancel").json()["state"] == "canceled"


def test_bodies_have_a_limit_whatever_they_say(open_app: Served) -> None:
    big = b'{"prompts": ["' + b"a" * (1 << 20) + b'"]}'
    assert open_app.client.post("/v1/guard", content=big).status_code == 413

    def pieces() -> Any:
        for _ in range(20):
            yield b"a" * (1 << 16)

    assert open_app.client.post("/v1/guard", content=pieces()).status_code == 413
    lie = open_app.client.post("/v1/guard", content=b"{}", headers={"Content-Length": "-1"})
    assert lie.status_code in (400, 413)
    deep = b'{"prompts": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert open_app.client.post("/v1/guard", content=deep).status_code == 422


def test_whoever_asks_too_often_is_told_when_to_come_again(serve: Serve) -> None:
    app = serve(workers=0, requests_per_minute=60)
    codes = [app.client.get("/v1/status") for _ in range(30)]
    refused = [answer for answer in codes if answer.status_code == 429]
    assert refused and int(refused[0].headers["retry-after"]) >= 1
    assert app.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://0.0.0.0/hook",
        "https://2130706433/hook",
        "https://user:password@example.org/hook",
        "ftp://example.org/hook",
        "https:///hook",
        "https://example.org:99999/hook",
        "https://93.184.215.14:8443/hook",
        "https://[64:ff9b::7f00:1]/hook",
        "https://[2002:7f00:1::1]/hook",
        "https://[::127.0.0.1]/hook",
        "https://[fec0::1]/hook",
        "https://☃.example/hook",
        "https://127.0.0.1.:443/hook",
    ],
)
def test_private_addresses_are_never_called(open_app: Served, url: str) -> None:
    with pytest.raises(InvalidInput):
        addresses_of(target_of(url, frozenset()), 5.0)
    answer = open_app.client.post("/v1/generations", json={**FAST, "webhook": url})
    assert answer.status_code == 422

"""Guessing, noise and crowds: bounded answers, bounded lines, bounded memory."""

from __future__ import annotations

import json
import stat
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.service.api import audit_log
from rag_audio.service.api.audit_log import AuditLog
from rag_audio.service.api.rate_limits import RateLimiter, Slots, network_of
from rag_audio.storage.files import LineLog
from tests.service.api.conftest import FAST, Serve, Served

WRONG = "ra_000000000000_" + "x" * 43


def lines_of(app: Served) -> list[dict[str, object]]:
    app.service.audit.flush()
    text = (app.service.workspace.home.folder / "audit.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_800_wrong_keys_give_a_few_answers_and_a_few_lines(serve: Serve) -> None:
    app = serve(workers=0, failures_per_minute=5)
    valid = app.key("search")
    answers = [
        app.client.get("/v1/session", headers={"Authorization": f"Bearer {WRONG}"})
        for _ in range(800)
    ]
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {401, 429} and codes[401] < 30
    refused = next(one for one in answers if one.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert app.client.get("/v1/session", headers=valid).status_code == 200
    key = valid["Authorization"].removeprefix("Bearer ")
    assert app.client.post("/v1/session", json={"key": key}).status_code == 201
    lines = [line for line in lines_of(app) if line["what"] == "key refused"]
    assert len(lines) < 30
    assert sum(int(str(line.get("more", 1))) for line in lines) == 800


def test_malformed_keys_and_sign_ins_count_the_same(serve: Serve) -> None:
    app = serve(workers=0, failures_per_minute=5)
    app.key("search")
    for given_key in ("' OR 1=1 --", "x", WRONG):
        app.client.get("/v1/status", headers={"X-API-Key": given_key})
    codes = [app.client.post("/v1/session", json={"key": "x"}).status_code for _ in range(20)]
    assert 429 in codes and codes.count(401) < 6


def test_other_noise_is_counted_too(serve: Serve) -> None:
    app = serve(workers=0, requests_per_minute=60)
    lesser = app.key("search")
    for _ in range(300):
        app.client.get("/v1/generations", headers=lesser)
    lines = lines_of(app)
    for what in ("scope refused", "rate limited"):
        assert 1 <= sum(line["what"] == what for line in lines) < 30


def test_requests_without_a_key_have_a_rate(serve: Serve) -> None:
    app = serve(workers=0, requests_per_minute=60)
    valid = app.key("search")
    for path in ("/v1/status", "/metrics", "/readyz"):
        assert 429 in {app.client.get(path).status_code for _ in range(30)}
    assert app.client.get("/v1/session", headers=valid).status_code == 200


def test_a_key_has_so_many_sessions(serve: Serve) -> None:
    app = serve(workers=0, sessions_per_key=3)
    key = app.key("search")["Authorization"].removeprefix("Bearer ")
    cookies = []
    for _ in range(5):
        app.client.cookies.clear()
        cookies.append(app.client.post("/v1/session", json={"key": key}).cookies)
    app.client.cookies.clear()
    name = "rag_audio_session"
    codes = [
        app.client.get("/v1/session", headers={"Cookie": f"{name}={one[name]}"}).status_code
        for one in cookies
    ]
    assert codes == [401, 401, 200, 200, 200]


def test_streams_and_waits_have_a_number(serve: Serve) -> None:
    app = serve(workers=0, streams_per_key=1)
    asked = {"json": FAST, "headers": {"Prefer": "wait=50"}}
    with app.service.waits.hold(""):
        job = app.client.post("/v1/generations", **asked)  # type: ignore[arg-type]
    assert job.status_code == 202
    url = job.json()["links"]["events"]
    with app.service.streams.hold(""):
        answer = app.client.get(url)
    assert answer.status_code == 429 and answer.headers["retry-after"]
    app.client.post(job.json()["links"]["cancel"])
    for _ in range(3):
        assert app.client.get(url).status_code == 200
    assert len(app.service.streams) == 0


def test_invented_methods_are_no_new_metrics(serve: Serve) -> None:
    app = serve(workers=0)
    for i in range(30):
        app.client.request(f"BREW{i}", "/v1/status")
    assert "BREW" not in app.client.get("/metrics").text


names = st.text("abcdefgh", min_size=1, max_size=2)


@settings(max_examples=60)
@given(st.lists(st.tuples(names, st.floats(0, 5)), max_size=200), st.integers(1, 8))
def test_a_limiter_remembers_few_and_lets_no_more_through(
    asked: list[tuple[str, float]], most: int
) -> None:
    moment = 0.0
    limiter = RateLimiter(60, at_once=3, clock=lambda: moment, most=most)
    wide = RateLimiter(60, at_once=3, clock=lambda: moment)
    through: Counter[str] = Counter()
    for name, pause_s in asked:
        moment += pause_s
        limiter.wait_s(name)
        assert len(limiter) <= most
        wait_s = wide.wait_s(name)
        assert 0.0 <= wait_s <= 1.0
        through[name] += wait_s == 0.0
        assert through[name] <= 3 + moment + 1e-6


@settings(max_examples=60)
@given(st.lists(names, max_size=60))
def test_slots_are_never_more_than_there_are_and_all_come_back(holders: list[str]) -> None:
    from contextlib import ExitStack

    slots = Slots(2, 5)
    with ExitStack() as held:
        got = Counter(name for name in holders if held.enter_context(slots.hold(name)))
        assert all(count <= 2 for count in got.values())
        assert len(slots) == got.total() <= 5
    assert len(slots) == 0


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 300), st.floats(0, 20))))
def test_the_audit_log_counts_all_and_writes_few(noise: list[tuple[str, int, float]]) -> None:
    moment = 0.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "audit.log"
        log = AuditLog(LineLog(file, 1 << 30, 1), clock=lambda: moment)
        for what, client, pause_s in noise:
            moment += pause_s
            log.write_often(what, "client", str(client))
        log.flush()
        text = file.read_text() if file.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    for what in "ab":
        heard = sum(line.get("more", 1) for line in lines if line["what"] == what)
        assert heard == sum(one == what for one, _, _ in noise)
    windows = 1 + moment // audit_log.WINDOW_S
    assert len(lines) <= windows * 2 * (audit_log.MOST_LINES + audit_log.MOST_COUNTS + 2)


def test_one_window_of_many_addresses_is_a_bounded_number_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    log = AuditLog(LineLog(file, 1 << 30, 1), clock=lambda: 0.0)
    for i in range(2000):
        log.write_often("key refused", "client", f"10.0.{i % 256}.{i // 256}")
    log.flush()
    assert len(file.read_text().splitlines()) < 160


def test_the_audit_log_is_rotated_and_private(serve: Serve) -> None:
    app = serve(workers=0, audit_mb=0.002, audit_files=3)
    for _ in range(60):
        app.client.post("/v1/uploads", content=b"x" * 10)
        app.service.audit.write("tested", key="0" * 12)
    files = list(app.service.workspace.home.folder.glob("audit.log*"))
    assert len(files) == 3
    for one in files:
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        assert one.stat().st_size <= 0.002 * 2**20
        assert all(json.loads(line)["what"] for line in one.read_text().splitlines())


def test_what_counts_as_one_address() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7" != network_of("192.0.2.8")
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:0:0:2")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("testclient") == "testclient" and network_of(None) == "?"

"""Calls when a job has ended: signed, tried again, and each one's faults are its own."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text, update

import rag_audio
from rag_audio.errors import BackendError
from rag_audio.pipeline.workspace import Workspace
from rag_audio.service.api.services import Threads
from rag_audio.service.api.webhooks import CALLERS, FAULTS, Calls, Deadline, post
from rag_audio.service.api_access import ApiKey, Scope, SqlAccess
from rag_audio.service.outbound_hosts import listed_hosts, target_of
from rag_audio.service.queue import SqlJobs
from rag_audio.service.tables import deliveries
from rag_audio.service.webhook_secrets import MOST_EARLIER, WebhookSecrets
from rag_audio.service.wording import Places
from rag_audio.storage.database import connect, reading, writing
from tests.service.api.conftest import FAST, Serve, Served
from tests.service.api.endpoints import BEHAVIOURS, HEARD_ALL_THE_SAME, Endpoints, Heard, endpoints
from tests.support.tampering import tampering

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
TIMEOUT_S = 0.3
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
NO_TEXT = "CAST(x'fffe' AS TEXT)"


def verifier() -> Callable[..., bool]:
    """The function that the documentation gives to those who hear calls."""
    section = DOCS.read_text(encoding="utf-8").partition("## Webhooks")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own documentation
    found: Callable[..., bool] = names["is_from_rag_audio"]
    return found


@dataclass
class World:
    """A home with a queue, and the calls of it."""

    workspace: Workspace
    engine: Engine
    jobs: SqlJobs
    access: SqlAccess
    secrets: WebhookSecrets
    hooks: Endpoints

    def key(self, name: str = "one") -> ApiKey:
        return self.access.make(name, [Scope.GENERATE])[0]

    def due(self, url: str, owner: str = "") -> str:
        """A job that ended: its id."""
        job = self.jobs.accept("generation", {"prompt": "warm"}, owner=owner, webhook=url)
        self.jobs.cancel(job.id)
        return job.id

    def calls(self, waits_s: tuple[float, ...] = (0, 60), **more: Any) -> Calls:
        listed = more.pop("listed", self.hooks.place)
        more = {"places": Places(self.workspace.home), "timeout_s": TIMEOUT_S, **more}
        stop = more.pop("stop", threading.Event())
        return Calls(
            self.engine, self.jobs, self.secrets, listed_hosts(listed), stop, waits_s, **more
        )

    def row(self, job: str) -> Any:
        columns = (deliveries.c.state, deliveries.c.said, deliveries.c.attempts)
        with reading(self.engine) as db:
            return db.execute(select(*columns).where(deliveries.c.job == job)).one()

    def change(self, statement: str, **values: Any) -> None:
        with writing(self.engine) as db:
            db.execute(text(statement), values)

    def make_due(self) -> None:
        with writing(self.engine) as db:
            db.execute(update(deliveries).values(next_at=1.0))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template") / "home"
    with rag_audio.open(home) as workspace:
        SqlJobs(workspace.home.database)
    return home


@pytest.fixture(scope="module")
def hooks() -> Iterator[Endpoints]:
    with endpoints() as running:
        yield running


@pytest.fixture
def world(template: Path, tmp_path: Path, hooks: Endpoints) -> Iterator[World]:
    shutil.copytree(template, tmp_path / "home")
    hooks.heard.clear()
    with rag_audio.open(tmp_path / "home") as workspace:
        engine, keys = workspace.home.database, workspace.home.keys
        access = SqlAccess(engine)
        secrets = WebhookSecrets(engine, keys)
        yield World(workspace, engine, SqlJobs(engine), access, secrets, hooks)


def drain(calls: Calls) -> None:
    """Make all calls that are due, as the threads of the service do."""
    for _ in range(50):
        try:
            if not calls.call_next():
                return
        except BackendError:
            continue
    raise AssertionError("it never ends")


@pytest.mark.parametrize("path", BEHAVIOURS)
def test_an_endpoint_that_misbehaves_ends_its_own_call_in_time(world: World, path: str) -> None:
    bad = world.due(f"http://{world.hooks.place}{path}")
    good = world.due(f"http://{world.hooks.place}/good")
    began = time.monotonic()
    drain(world.calls())
    assert time.monotonic() - began < 15
    assert (world.row(good).state, len(world.hooks.at("/good"))) == ("done", 1)
    assert len(world.hooks.at(path)) == 1 and not world.hooks.at("/elsewhere")
    row = world.row(bad)
    if path in HEARD_ALL_THE_SAME:
        assert row.state == "done"
    else:
        assert (row.state, row.attempts) == ("due", 1) and row.said.isprintable() and row.said


def test_calls_are_made_on_postgresql_as_well(world: World, postgres_url: str) -> None:
    engine = connect(postgres_url)
    world.engine, world.jobs = engine, SqlJobs(engine)
    world.access = SqlAccess(engine)
    world.secrets = WebhookSecrets(engine, world.workspace.home.keys)
    gone, here = world.key("gone"), world.key("here")
    bad, revoked, good = (
        world.due(f"http://{world.hooks.place}{path}", owner)
        for path, owner in (("/error", here.id), ("/gone", gone.id), ("/good", here.id))
    )
    world.access.revoke(gone.id)
    calls = world.calls((0, 0))
    calls._turns.begin(here.id)
    drain(calls)  # whoever is being called has one call at a time
    assert (world.row(revoked).state, world.row(good).attempts) == ("given up", 0)
    calls._turns.end(here.id, is_slow=False)
    drain(calls)
    assert [world.row(job).state for job in (bad, good)] == ["given up", "done"]


URLS = (
    *("https://☃.example/", "https://" + "ü" * 300 + ".example/", "https://ab\ncd.example/"),
    *("http://[::1", "", "not a URL", "file:///etc/passwd", "https://example.org:99999/"),
    *("http://{place}/a\r\nX-Injected: 1", "http://user:word@{place}/", "https://127.0.0.1/"),
    *("http://{place}\\@good/", "https://{place}/plain-text-where-tls-is-due", "http://127.0.0.1:9/"),
    *("https://[64:ff9b::7f00:1]/", "https://[fec0::1]/", "https://0x7f.1/"),
)  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_url_of_an_earlier_version_fails_alone_and_is_given_up(world: World, url: str) -> None:
    bad = world.due(url.replace("{place}", world.hooks.place))
    good = world.due(f"http://{world.hooks.place}/good")
    listed = f"{world.hooks.place},127.0.0.1:9"
    drain(world.calls((0, 0, 0), listed=listed))
    assert (world.row(good).state, len(world.hooks.heard)) == ("done", 1)
    row = world.row(bad)
    assert (row.state, row.attempts) == ("given up", 3) and row.said


DAMAGE = {
    "a URL that is no text": f"UPDATE webhook_deliveries SET url = {NO_TEXT} WHERE job = :job",  # noqa: S608
    "a URL of bytes": "UPDATE webhook_deliveries SET url = x'00ff' WHERE job = :job",
    "attempts that are no number": "UPDATE webhook_deliveries SET attempts = 'x' WHERE job = :job",
    "no job": "UPDATE webhook_deliveries SET job = 'gone' WHERE job = :job",
    "a request that is no JSON": "UPDATE jobs SET request = '{' WHERE id = :job",
    "a request that is a number": "UPDATE jobs SET request = '7' WHERE id = :job",
    "a request that is no text": f"UPDATE jobs SET request = {NO_TEXT} WHERE id = :job",  # noqa: S608
    "an unknown state": "UPDATE jobs SET state = 'odd' WHERE id = :job",
    "an owner that is no text": f"UPDATE jobs SET owner = {NO_TEXT} WHERE id = :job",  # noqa: S608
    "an owner of bytes": "UPDATE jobs SET owner = x'00ff' WHERE id = :job",
    "a moment that is none": "UPDATE jobs SET created_at = 9e999 WHERE id = :job",
    "a problem of numbers": "UPDATE jobs SET problem = '[1]' WHERE id = :job",
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_a_row_that_cannot_be_read_fails_alone_and_is_given_up(world: World, what: str) -> None:
    bad = world.due(f"http://{world.hooks.place}/bad")
    good = world.due(f"http://{world.hooks.place}/good", owner=world.key().id)
    with reading(world.engine) as db:
        id_ = db.execute(select(deliveries.c.id).where(deliveries.c.job == bad)).scalar_one()
    with tampering(world.workspace.home.folder / "ledger.db") as file:
        file.execute(DAMAGE[what], {"job": bad})
    calls = world.calls((0, 0))
    drain(calls)
    assert world.row(good).state == "done"
    for _ in range(4):
        world.change("UPDATE webhook_deliveries SET next_at = 1 WHERE id = :id", id=id_)
        drain(calls)
    with reading(world.engine) as db:
        state = select(deliveries.c.state).where(deliveries.c.id == id_)
        assert db.execute(state).scalar_one() in ("given up", "done")
    assert len(world.hooks.at("/good")) == 1


def test_among_all_faults_at_once_the_good_one_gets_its_call(world: World) -> None:
    """The threads of the service, an owner for each fault; all came before the good one."""
    place = world.hooks.place
    for url in (*(f"http://{place}{path}" for path in BEHAVIOURS), *URLS):
        world.due(url.replace("{place}", place), world.key().id)
    many = world.key("many").id
    for _ in range(20):
        world.due(f"http://{place}/never", many)
    good = world.due(f"http://{place}/good", world.key().id)
    stop = threading.Event()
    calls = world.calls(stop=stop)
    threads = Threads(stop)
    for i in range(CALLERS):
        threads.keep(calls.work, f"webhooks-{i}")
    until = time.monotonic() + 20
    while world.row(good).state != "done" and time.monotonic() < until:
        time.sleep(0.05)
    assert threads.dead() == ()
    stop.set()
    threads.join(10.0)
    assert (world.row(good).state, len(world.hooks.at("/good"))) == ("done", 1)
    assert set(threads.restarts().values()) == {0}
    assert len(world.hooks.at("/never")) < 20, "an owner has one call at a time"


def test_a_call_is_signed_as_the_documentation_says(world: World) -> None:
    is_ours, key = verifier(), world.key().id
    job = world.due(f"http://{world.hooks.place}/hook?x=1", key)
    drain(world.calls())
    (call,) = world.hooks.heard
    secret, other = world.secrets.of(key)[0].text, world.secrets.of("")[0].text
    signed = call.headers["rag-audio-signature"]
    assert is_ours(secret, signed, call.body)
    assert not is_ours(other, signed, call.body), "another key's secret proves nothing"
    assert not is_ours(secret, signed, call.body + b" ")
    assert not is_ours(secret, signed, call.body, now=time.time() + 301)
    assert not is_ours(secret, signed, call.body, now=time.time() - 301)
    for odd in ("", "t=,v1=", "v1=00", "t=1", f"t=x,v1={'0' * 64}", "t=1,v1=é", ",,=,="):
        assert not is_ours(secret, odd, call.body)
    assert json.loads(call.body)["generation"]["id"] == job
    assert call.headers["host"] == world.hooks.place
    assert call.path == "/hook?x=1"


def test_the_secret_before_signs_as_well_until_the_overlap_is_over(world: World) -> None:
    is_ours, key = verifier(), world.key().id
    before = world.secrets.of(key)[0].text
    now = world.secrets.rotate(key, 3600)[0].text

    def signed() -> Heard:
        world.due(f"http://{world.hooks.place}/hook", key)
        drain(world.calls())
        return world.hooks.heard[-1]

    call = signed()
    assert call.headers["rag-audio-signature"].count("v1=") == 2
    for secret in (before, now):
        assert is_ours(secret, call.headers["rag-audio-signature"], call.body)
    world.change("UPDATE webhook_secrets SET valid_until = 1 WHERE valid_until IS NOT NULL")
    call = signed()
    assert not is_ours(before, call.headers["rag-audio-signature"], call.body)
    assert is_ours(now, call.headers["rag-audio-signature"], call.body)


def test_the_secret_of_the_home_signs_as_well_where_it_is_wanted(world: World) -> None:
    keys = world.workspace.home.folder / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "webhook.key").write_text("as-it-was-before")
    world.due(f"http://{world.hooks.place}/hook")
    drain(world.calls(home_secret=world.secrets.of_home()))
    (call,) = world.hooks.heard
    signed = call.headers["rag-audio-signature"]
    assert verifier()("as-it-was-before", signed, call.body)
    assert verifier()(world.secrets.of("")[0].text, signed, call.body)
    # Who reads the header into a dictionary, as one could, sees the last one.
    assert dict(part.split("=") for part in signed.split(","))["v1"] == signed[-64:]


def test_nothing_is_sent_for_a_key_that_was_revoked(world: World) -> None:
    key, expired = world.key(), world.access.make("ends", [Scope.GENERATE], None, 0.001)[0]
    revoked = world.due(f"http://{world.hooks.place}/hook", key.id)
    kept = world.due(f"http://{world.hooks.place}/hook", expired.id)
    world.access.revoke(key.id)
    drain(world.calls())
    assert tuple(world.row(revoked)) == ("given up", "the API key was revoked", 1)
    assert world.row(kept).state == "done"
    assert len(world.hooks.heard) == 1


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for a name, and one that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    moment = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(moment - datetime.timedelta(hours=1))
        .not_valid_after(moment + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "server.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_an_international_name_is_asked_for_in_ascii_at_the_checked_address(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its first address does not connect; a name without a certificate is not called."""
    server, trusting = certified(tmp_path, "xn--bcher-kva.example")
    asked = []

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    with endpoints(server) as hooks:
        monkeypatch.setattr(socket, "getaddrinfo", look_up_of(look_up, "example"))
        good = world.due(f"https://Bücher.example:{hooks.port}/grüße")
        bad = world.due(f"https://other.example:{hooks.port}/x")
        listed = f"bücher.example:{hooks.port},other.example:{hooks.port}"
        drain(world.calls(listed=listed, tls=trusting, timeout_s=2.0))
        (call,) = hooks.heard
        assert world.row(good).state == "done"
        assert "CERTIFICATE_VERIFY_FAILED" in world.row(bad).said
        assert call.headers["host"] == f"xn--bcher-kva.example:{hooks.port}"
        assert call.path == "/gr%C3%BC%C3%9Fe"
        assert hooks.names == asked == ["xn--bcher-kva.example", "other.example"]


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 30"]))
@settings(max_examples=40, deadline=None)
def test_whatever_is_answered_ends_in_a_status_or_a_known_fault(
    hooks: Endpoints, answer: bytes, begin: bytes
) -> None:
    hooks.answer = begin + answer
    target = target_of(f"http://{hooks.place}/answer", listed_hosts(hooks.place))
    try:
        assert isinstance(post(target, ["127.0.0.1"], {}, b"{}", Deadline(20.0), NO_TLS), int)
    except FAULTS as error:
        assert not isinstance(error, TimeoutError)


def look_up_of(fake: Callable[..., list[Any]], ending: str) -> Callable[..., list[Any]]:
    """Resolves names of an ending by a fake, all else as ever."""
    real = socket.getaddrinfo

    def look_up(host: Any, *more: Any, **named: Any) -> list[Any]:
        found = fake if str(host).endswith(ending) else real
        return list(found(host, *more, **named))

    return look_up


@pytest.fixture(scope="module")
def app(serve: Serve, hooks: Endpoints) -> Served:
    running = serve(webhook_hosts=hooks.place)
    running.key("generate")
    return running


def test_the_end_of_a_job_is_told_and_signed_with_the_secret_of_its_key(
    app: Served, hooks: Endpoints
) -> None:
    hooks.heard.clear()
    headers = app.key("generate")
    asked: dict[str, Any] = {**FAST, "webhook": f"http://{hooks.place}/error"}
    prefer = {**headers, "Prefer": "wait=60"}
    made = app.client.post("/v1/generations", json=asked, headers=prefer).json()
    assert "webhook" not in json.dumps(made)
    until = time.monotonic() + 20
    while not hooks.at("/error"):
        assert time.monotonic() < until
        time.sleep(0.05)
    mine = app.client.get("/v1/webhooks/secret", headers=headers).json()["secret"]
    (call, *_) = hooks.at("/error")
    assert verifier()(mine, call.headers["rag-audio-signature"], call.body)
    document = json.loads(call.body)
    assert document["generation"]["id"] == made["id"]
    assert document["generation"]["state"] == "succeeded"


def test_a_key_sees_and_rotates_its_own_secret_and_no_other(app: Served) -> None:
    one, two, admin = app.key("generate"), app.key("generate"), app.key("admin")

    def secret(headers: dict[str, str], **asked: float) -> dict[str, Any]:
        """The answer; with what is asked for, to a rotation."""
        method = "POST" if asked else "GET"
        body = asked or None
        answer = app.client.request(method, "/v1/webhooks/secret", headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        found: dict[str, Any] = answer.json()
        return found

    first = [secret(headers)["secret"] for headers in (one, two, admin)]
    assert len(set(first)) == 3
    rotated = secret(one, overlap_hours=1)
    assert rotated["secret"] not in first and len(rotated["earlier_until"]) == 1
    assert secret(one) == rotated and rotated["made"] is not None
    assert [secret(headers)["secret"] for headers in (two, admin)] == first[1:]
    assert secret(one, overlap_hours=0)["earlier_until"] == []
    for wrong in (-1, 169, "x", None):
        asked = {"overlap_hours": wrong}
        answer = app.client.post("/v1/webhooks/secret", headers=one, json=asked)
        assert answer.status_code == 422
    for _ in range(MOST_EARLIER):
        secret(one, overlap_hours=24)
    answer = app.client.post("/v1/webhooks/secret", headers=one, json={"overlap_hours": 24})
    assert answer.status_code == 422 and "overlap of 0" in answer.json()["hint"]
    log = (app.service.workspace.home.folder / "audit.log").read_text()
    assert log.count("webhook secret rotated") == 2 + MOST_EARLIER, "not of the one refused"
    assert not any(text in log for text in first)


def test_a_webhook_that_cannot_be_called_is_refused_when_it_is_asked_for(app: Served) -> None:
    headers = app.key("generate")
    for url in ("https://☃.example/x", "https://127.0.0.1/x", "http://127.0.0.1:9/x"):
        answer = app.client.post("/v1/plans", headers=headers, json={**FAST, "webhook": url})
        assert (answer.status_code, answer.json()["error"]) == (422, "InvalidInput")
        assert "\n" not in answer.json()["detail"]


def test_a_dead_thread_is_named_by_readyz_and_counted_by_metrics(
    app: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, stop, ended = app.service.threads, app.service._stop, threading.Event()
    begun = [0]

    def fails() -> None:
        if not ended.is_set():
            raise RuntimeError("unforeseen: /a/path/of/the/server")
        stop.wait()

    def fails_once() -> None:
        begun[0] += 1
        if begun[0] == 1:
            raise RuntimeError("unforeseen")
        ended.set()
        stop.wait()

    assert app.client.get("/readyz").json()["dead_threads"] == []
    monkeypatch.setattr(threads, "_waits_s", (0.001,))
    threads.keep(fails_once, "once")
    assert ended.wait(10), "it is started again"
    ended.clear()
    monkeypatch.setattr(threads, "_waits_s", (3600.0,))
    threads.keep(fails, "odd")
    until = time.monotonic() + 10
    while (answer := app.client.get("/readyz")).status_code == 200:
        assert time.monotonic() < until
    assert (answer.status_code, answer.json()["dead_threads"]) == (503, ["odd"])
    assert answer.json()["parts"]["threads"] == "away" and "path" not in answer.text
    told = app.client.get("/metrics").text
    assert 'rag_audio_thread_working{thread="odd"} 0.0' in told
    assert 'rag_audio_thread_restarts_total{thread="once"} 1.0' in told
    for name in ("webhooks-0", "tidying", "auditing", "worker-0"):
        assert f'rag_audio_thread_working{{thread="{name}"}} 1.0' in told
    del threads._kept["odd"]
    answer = app.client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["threads"]) == (200, "ok")


def test_a_failed_call_is_made_again_under_the_same_id(world: World) -> None:
    job = world.due(f"http://{world.hooks.place}/error")
    calls = world.calls((0, 60, 60))
    for _ in range(3):
        drain(calls)
        world.make_due()
    assert not calls.call_next()
    heard = world.hooks.at("/error")
    assert len(heard) == 3
    assert len({one.headers["rag-audio-delivery"] for one in heard}) == 1
    assert tuple(world.row(job)) == ("given up", "answered 500", 3)

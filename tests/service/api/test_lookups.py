"""Hosts of webhooks are looked up beside the requests: a slow name delays nobody."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio.to_thread
import pytest

from rag_audio.errors import InvalidInput
from rag_audio.service.api.webhooks import Lookups
from tests.service.api.conftest import FAST, Serve, Served
from tests.support.loops import run as run_coroutine

PUBLIC = "93.184.215.14"


class Names:
    """A resolver: names of ``slow.test`` are not answered before ``answer`` is set."""

    def __init__(self) -> None:
        self.answer, self.at_once, self.most = threading.Event(), 0, 0
        self.begun = threading.Semaphore(0)
        self.gone: set[str] = set()
        self._lock = threading.Lock()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *more: Any, **named: Any) -> Sequence[Any]:
        if not str(host).endswith(".test"):
            return self._real(host, port, *more, **named)
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.begun.release()
        if host.endswith("slow.test"):
            self.answer.wait(30)
        with self._lock:
            self.at_once -= 1
        if host in self.gone:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(0, 0, 0, "", ("10.0.0.1" if host.startswith("inner") else PUBLIC, port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    yield found
    found.answer.set()


@pytest.fixture(scope="module")
def app(serve: Serve) -> Served:
    return serve(workers=0)


def checked(lookups: Lookups, *asked: tuple[str, str]) -> list[str | InvalidInput | None]:
    """What is known of (URL, owner), asked for at once."""

    async def all_() -> list[str | InvalidInput | None]:
        return await asyncio.gather(*(lookups.checked(url, owner) for url, owner in asked))

    return run_coroutine(all_())


def test_lookups_are_few_of_each_owner_and_of_all_and_hosts_that_wait_are_accepted(
    names: Names,
) -> None:
    lookups = Lookups(frozenset(), each=2, all_=5, wait_s=0.05)
    asked = [(f"https://h{i}.slow.test/x", owner) for i in range(12) for owner in "abc"]
    found = checked(lookups, *asked)
    assert found == [url for url, _ in asked]
    assert names.most == 5
    one = Lookups(frozenset(), each=2, all_=5, wait_s=0.05)
    names.most = names.at_once = 0
    checked(one, *asked[::3])
    assert names.most == 2


@pytest.mark.parametrize("is_full", [False, True])
def test_what_needs_no_lookup_is_refused_at_once_whatever_is_being_looked_up(
    names: Names, is_full: bool
) -> None:
    lookups = Lookups(frozenset({"10.0.0.1:443"}), all_=0 if is_full else 1)
    bad = (
        *("https://127.0.0.1/x", "https://[::1]/x", "https://[64:ff9b::1.2.3.4]/x"),
        *("https://0x7f.1/x", "http://host.test/x", "https://host.test:99/x", "https://a b.test/"),
    )
    found = checked(lookups, *((url, "a") for url in bad))
    assert all(isinstance(one, InvalidInput) for one in found)
    good = ("https://10.0.0.1/x", f"HTTPS://{PUBLIC}/x")
    found = checked(lookups, *((url, "a") for url in good))
    assert found == ["https://10.0.0.1/x", f"https://{PUBLIC}/x"]
    assert names.most == 0 and checked(lookups, ("https://10.0.0.1/", "a"))


def test_a_name_that_is_answered_is_checked_and_its_room_is_free_again(names: Names) -> None:
    lookups = Lookups(frozenset(), each=1, all_=1)
    names.gone.add("gone.test")
    for _ in range(3):
        for host, is_good in (("here.test", True), ("inner.test", False), ("gone.test", False)):
            (found,) = checked(lookups, (f"https://{host}/x", "a"))
            assert isinstance(found, str) is is_good
    assert len(lookups) == 0
    assert checked(lookups, *[("https://here.test/", "")] * 3)


def test_requests_that_wait_for_a_name_hold_no_thread_that_others_need(
    app: Served, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.service.lookups, "_wait_s", 30.0)
    portal = app.client.portal
    assert portal is not None
    limiter = portal.call(_limiter)
    before = limiter.total_tokens

    def post(route: str) -> int:
        body = {**FAST, "webhook": "https://inner.slow.test/x"}
        return app.client.post(route, json=body).status_code

    try:
        portal.call(_set_tokens, limiter, 2)
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(post, route) for route in ("/v1/plans", "/v1/generations")]
            for _ in asked:
                assert names.begun.acquire(timeout=20)
            assert app.client.get("/v1/stems").status_code == 200
            assert not any(one.done() for one in asked), "it did not wait for the names"
            names.answer.set()
            assert [one.result(20) for one in asked] == [422, 422]
    finally:
        portal.call(_set_tokens, limiter, before)


async def _limiter() -> Any:
    return anyio.to_thread.current_default_thread_limiter()


async def _set_tokens(limiter: Any, tokens: float) -> None:
    limiter.total_tokens = tokens


def test_a_request_that_is_repeated_is_answered_although_its_name_is_gone(
    app: Served, names: Names
) -> None:
    body = {**FAST, "webhook": "HTTPS://here.test/x"}

    def post(key: str) -> Any:
        return app.client.post("/v1/generations", json=body, headers={"Idempotency-Key": key})

    first = post("one")
    assert first.status_code == 202, first.text
    names.gone.add("here.test")
    again, other = post("one"), post("two")
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert other.status_code == 422 and "no public address" in other.json()["detail"]

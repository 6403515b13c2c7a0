"""Threads of the service: what fails is started again, and told of meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from rag_audio.service.api.services import Threads


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.005)


@pytest.mark.parametrize(
    "error", [ValueError("odd"), MemoryError(), SystemExit(1), KeyboardInterrupt(), None]
)
def test_a_thread_that_fails_or_returns_is_started_again(
    stop: threading.Event, error: BaseException | None
) -> None:
    threads, begun, go = Threads(stop, (0.001,)), [0], threading.Event()

    def work() -> None:
        begun[0] += 1
        if begun[0] <= 3:
            if error is not None:
                raise error
            return
        go.set()
        stop.wait()

    with capture_logs() as logs:
        threads.keep(work, "odd one")
        assert go.wait(10)
    assert (threads.dead(), threads.restarts()) == ((), {"odd one": 3})
    told = [one for one in logs if one["log_level"] == "error"]
    assert len(told) == 3 and all(one["thread"] == "odd one" for one in told)
    if error is not None:
        assert all(one["exc_info"] for one in told), "with the traceback"
    stop.set()
    threads.join(10)


def test_a_thread_that_does_not_work_is_named_and_others_go_on(stop: threading.Event) -> None:
    threads, rounds = Threads(stop, (60.0,)), [0]

    def fails() -> None:
        raise RuntimeError("unforeseen")

    def works() -> None:
        while not stop.wait(0.005):
            rounds[0] += 1

    with capture_logs():
        threads.keep(fails, "fails")
        threads.keep(works, "works")
        until(lambda: threads.dead() == ("fails",))
        before = rounds[0]
        until(lambda: rounds[0] > before)
    threads.keep(works, "works")
    assert sorted(threads.restarts()) == ["fails", "works", "works-2"]
    stop.set()
    began = time.monotonic()
    threads.join(10)
    assert time.monotonic() - began < 30, "the wait before a start ends with the service"
    assert threads.dead() == ()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_ends_a_thread_while_the_service_stops_starts_nothing_again(
    stop: threading.Event, error: type[BaseException]
) -> None:
    threads, begun = Threads(stop, (0.001,)), [0]

    def work() -> None:
        begun[0] += 1
        stop.wait(10)
        raise error

    with capture_logs() as logs:
        threads.keep(work, "ends")
        stop.set()
        threads.join(10)
    assert (begun, threads.restarts(), threads.dead()) == ([1], {"ends": 0}, ())
    assert [one["thread"] for one in logs if one["log_level"] == "error"] == ["ends"]


def test_waits_grow_and_begin_anew_after_steady_work() -> None:
    waited: list[float] = []
    clock = [0.0]

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return len(waited) == 6

    def fails() -> None:
        clock[0] += 100.0 if len(waited) == 4 else 1.0
        raise RuntimeError

    with capture_logs():
        threads = Threads(Stop(), (1.0, 2.0, 3.0), 50.0, lambda: clock[0])
        threads.keep(fails, "fails")
        threads.join(10)
    assert waited == [1.0, 2.0, 3.0, 3.0, 1.0, 2.0]


def test_what_runs_once_is_no_part_of_the_service(stop: threading.Event) -> None:
    threads, done = Threads(stop), threading.Event()
    threads.run(done.set, "indexing")
    assert done.wait(10)
    threads.join(10)
    assert (threads.dead(), threads.restarts()) == ((), {})

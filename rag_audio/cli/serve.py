"""``serve`` and ``worker``: the API with its page, and processes that work for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from rag_audio.cli.options import Home
from rag_audio.cli.output import err
from rag_audio.errors import MissingExtra
from rag_audio.home import open_home
from rag_audio.pipeline.workspace import open_workspace


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=0, max=8, help="Jobs run at once in this process; 0: none.")
    ] = 1,
    home: Home = None,
) -> None:
    """Serve the HTTP API, with the page on /."""
    try:
        from rag_audio.service.api.app import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "fastapi", "serve") from error
    from rag_audio.service.settings import read_serve_settings

    settings = read_serve_settings()
    with open_workspace(home) as workspace:
        workspace.home.require_keys()
        err.print(f"http://{host}:{port}/   stop with Ctrl+C")
        run(workspace, settings, host, port, workers)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and a request to end set ``stop`` in the block, and nothing else."""
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    for one in before:
        signal.signal(one, lambda *_: stop.set())
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def worker(home: Home = None) -> None:
    """Run jobs that a server accepted, beside it or on another machine."""
    from rag_audio.service.batching import takes_of_device
    from rag_audio.service.queue import SqlJobs
    from rag_audio.service.runner import Runner, Worker
    from rag_audio.service.settings import log_as_json, read_serve_settings

    settings = read_serve_settings()
    stop = threading.Event()
    with open_home(home) as opened, _stopped_by_signals(stop):
        opened.require_keys()
        jobs = SqlJobs(opened.database, lease_s=settings.lease_s, attempts=settings.attempts)
        runner = Runner(opened, jobs, stop.is_set, settings.job_s)
        err.print("working   stop with Ctrl+C")
        log_as_json()
        takes = takes_of_device(settings.batch, opened.device)
        Worker(runner, jobs, stop, takes).work()

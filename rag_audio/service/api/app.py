"""The app: routes, errors, what stands before them, and the page."""

from __future__ import annotations

import gc
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.staticfiles import StaticFiles

from rag_audio import __version__
from rag_audio.errors import BackendUnavailable, ConfigError
from rag_audio.pipeline.workspace import Workspace
from rag_audio.service.api import problems
from rag_audio.service.api.connections import MOST_HEAD_BYTES, protocol_with
from rag_audio.service.api.metrics import Metrics
from rag_audio.service.api.middleware import Guard
from rag_audio.service.api.problems import Answer
from rag_audio.service.api.rate_limits import RateLimiter
from rag_audio.service.api.routes import generations, library, records, system, tracing
from rag_audio.service.api.services import Service
from rag_audio.service.settings import ServeSettings, log_as_json

if TYPE_CHECKING:
    import uvicorn


WEB = Path(__file__).parent.parent / "web"
_ABOUT = (
    "Music generation whose sources can be named. Errors are RFC 9457 problems. "
    "Keys go into `Authorization: Bearer KEY`; where none is defined, none is asked for."
)


def make_app(service: Service) -> FastAPI:
    """The app of a service; the service starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        try:
            yield
        finally:
            await run_in_threadpool(service.stop)

    app = FastAPI(
        title="rag-audio",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        default_response_class=Answer,
        responses={
            "4XX": {
                "description": "A problem (RFC 9457).",
                "content": {problems.CONTENT_TYPE: {"schema": {"type": "object"}}},
            },
        },
    )
    app.state.service = service
    app.state.limiter = RateLimiter(service.settings.requests_per_minute)
    failures = service.settings.failures_per_minute
    app.state.failures = RateLimiter(failures, at_once=failures)
    app.state.metrics = Metrics()
    problems.install(app, service.places)
    for routes in (generations, records, library, tracing, system):
        app.include_router(routes.router)
    app.mount("/", StaticFiles(directory=WEB, html=True), name="page")
    hosts = (*service.bound, *service.settings.names("hosts"))
    app.add_middleware(
        Guard,
        hosts=hosts,
        settings=service.settings,
        observe=app.state.metrics.request,
    )
    return app


# Run the app under uvicorn until a signal ends it.

GRACE_S = 10
"""Requests that are being answered get this long when the server ends."""


def serve(
    workspace: Workspace, settings: ServeSettings, host: str, port: int, workers: int
) -> None:
    """Serve until a signal comes.

    Raises:
        ConfigError: others could reach it, and no key is defined.
        BackendUnavailable: the port is taken, or a part of the home is.
    """
    import uvicorn

    service = Service(workspace, settings, (host,), workers)
    if not is_loopback(host) and not service.access.any_key():
        raise ConfigError(
            f"{host} can be reached by others, and no API key is defined",
            hint="rag-audio keys api-make NAME --scope generate,search,trace; or --host 127.0.0.1",
        )
    listener = _listen(host, port)
    log_as_json()
    config = configuration(service)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            keep_what_was_loaded()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service.begin_stop()
            super().handle_exit(sig, frame)

    Server(config).run([listener])


def keep_what_was_loaded() -> None:
    """Take what there is now out of the garbage collector's rounds.

    Modules and models stay until the process ends; a round that goes through all of them holds up
    whatever is being answered, a quarter of a second with the embedded models.
    """
    gc.collect()
    gc.freeze()


def configuration(service: Service) -> uvicorn.Config:
    """How uvicorn serves a service: its app, behind connections with limits and deadlines."""
    import uvicorn

    return uvicorn.Config(
        make_app(service),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        http=protocol_with(service.settings),
        ws="none",
        timeout_keep_alive=service.settings.idle_s,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        proxy_headers=False,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BackendUnavailable(
            f"cannot listen on port {port} of {host}: {error.strerror}", hint="--port another"
        ) from error
    listener.listen(256)
    return listener

"""The app: routes, errors, what stands before them, and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.staticfiles import StaticFiles

from rag_audio import __version__
from rag_audio.api import problems
from rag_audio.api.answers import Answer
from rag_audio.api.audit import audit_to
from rag_audio.api.bodies import Pace
from rag_audio.api.guard import Guard
from rag_audio.api.limits import RateLimiter
from rag_audio.api.metrics import Metrics
from rag_audio.api.routes import generations, library, records, system, tracing, webhooks
from rag_audio.api.service import Service

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
    audit_to(service.audit)
    problems.install(app)
    for routes in (generations, records, library, tracing, webhooks, system):
        app.include_router(routes.router)
    app.mount("/", StaticFiles(directory=WEB, html=True), name="page")
    hosts = (*service.bound, *service.settings.names("hosts"))
    app.add_middleware(
        Guard,
        hosts=hosts,
        upload_bytes=service.settings.max_body_mb << 20,
        pace=Pace.of(service.settings),
        observe=app.state.metrics.request,
    )
    return app

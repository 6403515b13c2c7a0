"""Run the app under uvicorn until a signal ends it."""

from __future__ import annotations

import ipaddress
import socket
from types import FrameType
from typing import TYPE_CHECKING

from rag_audio.api.app import make_app
from rag_audio.api.connections import MOST_HEAD_BYTES, ConnectionLimits, protocol_with
from rag_audio.api.service import Service
from rag_audio.errors import BackendUnavailable, ConfigError
from rag_audio.service.logs import log_as_json
from rag_audio.service.settings import ServeSettings
from rag_audio.workspace import Workspace

if TYPE_CHECKING:
    import uvicorn

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
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service.begin_stop()
            super().handle_exit(sig, frame)

    Server(config).run([listener])


def configuration(service: Service) -> uvicorn.Config:
    """How uvicorn serves a service: its app, behind connections with limits and deadlines."""
    import uvicorn

    return uvicorn.Config(
        make_app(service),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        http=protocol_with(ConnectionLimits.of(service.settings)),
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

"""Calls to a Qdrant server: the connection, what is tried again, and how errors are told."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from rag_audio.errors import BackendError, BackendUnavailable, ConfigError

AWAY = "the index cannot be reached"
"""What callers over the network read of an error of the server's."""

LONG_S = 600
"""Seconds for what works through a whole collection: indexes, snapshots, removal."""

_RETRY_AFTER_S = (0.2, 0.6, 1.8)
_JITTER = 0.5
"""A pause is lengthened by up to this share, so that processes do not come back all at once."""
_BUSY = {408, 429, 500, 502, 503, 504}
_BUSY_GRPC = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_RANDOM = random.SystemRandom()
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class QdrantCalls:
    """A connection, and how it is used.

    Attributes:
        where: the server, in words. timeout_s: seconds for one short call, such as a search.
    """

    client: QdrantClient
    where: str
    timeout_s: int = 10

    def __call__(self, ask: Callable[[], _Answer]) -> _Answer:
        """Run one idempotent call; try again what may pass, translate the rest.

        Raises:
            BackendUnavailable: the server cannot be reached, or refuses the key.
            BackendError: it refused the call.
        """
        for pause_s in (*_RETRY_AFTER_S, None):
            try:
                return ask()
            except (ApiException, QdrantException, grpc.RpcError, ValueError) as error:
                if pause_s is None or not _may_pass(error):
                    raise self._translated(error) from error
                time.sleep(pause_s * (1 + _JITTER * _RANDOM.random()))
        raise AssertionError("the last attempt returns or raises")

    def _translated(self, error: Exception) -> BackendError:
        status = error.status_code if isinstance(error, UnexpectedResponse) else None
        code = error.code() if isinstance(error, grpc.RpcError) else None
        denied = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
        if status in {401, 403} or code in denied:
            return BackendUnavailable(
                f"{self.where} refuses the API key",
                hint="set RAG_AUDIO_QDRANT_API_KEY to the server's QDRANT__SERVICE__API_KEY",
                public=AWAY,
            )
        if _may_pass(error):
            return BackendUnavailable(
                f"{self.where} cannot be reached: {_one_line(error)}",
                hint="check RAG_AUDIO_QDRANT_URL and that the server runs",
                public=AWAY,
            )
        return BackendError(f"{self.where} refused a call: {_one_line(error)}")


def connect(url: str, api_key: str | None, prefer_grpc: bool, timeout_s: float) -> QdrantClient:
    """A client for a server; it is not called yet.

    Raises:
        ConfigError: the URL is not one.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            f"the Qdrant URL {shown(url)!r} is not an http(s) URL",
            hint="write it like http://localhost:6333",
        )
    with warnings.catch_warnings():
        if parts.hostname in _LOOPBACK:
            warnings.filterwarnings("ignore", message="Api key is used with an insecure")
        try:
            return QdrantClient(
                url=url,
                api_key=api_key,
                prefer_grpc=prefer_grpc,
                timeout=max(1, round(timeout_s)),
                check_compatibility=False,  # it would call the server outside our retries
            )
        except ValueError as error:
            raise ConfigError(f"the Qdrant URL {shown(url)!r} cannot be used: {error}") from error


def shown(url: str) -> str:
    """The URL without user, password, query and fragment."""
    scheme, _, rest = url.partition("://")
    if not rest:
        return scheme.rpartition("@")[2]
    netloc, slash, path = rest.partition("/")
    return f"{scheme}://{netloc.rpartition('@')[2]}{slash}{path}".split("?")[0].split("#")[0]


def _may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later: no answer, or an answer that says busy."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _BUSY
    if isinstance(error, grpc.RpcError):
        return error.code() in _BUSY_GRPC
    return isinstance(error, (ResponseHandlingException, QdrantException))


def _one_line(error: Exception) -> str:
    text = error.details() if isinstance(error, grpc.RpcError) else str(error)
    return " ".join(str(text).split())[:200]

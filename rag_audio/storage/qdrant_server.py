"""The index on a Qdrant server, for several machines: ``qdrant-client`` over REST or gRPC.

Needs Qdrant 1.16 or newer: the embedding space is recorded in the collection's metadata.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from rag_audio.errors import BackendError, BackendUnavailable, ConfigError
from rag_audio.storage.qdrant_common import (
    DENSE,
    EXACT_BELOW,
    FLOAT_FIELDS,
    FORMAT,
    KEYWORD_FIELDS,
    SPARSE,
    QdrantIndex,
    Requests,
)

DEFAULT_COLLECTION = "rag-audio"

AWAY = "the index cannot be reached"
"""What callers over the network read of an error of the server's."""
_REQUESTS = Requests(
    point=models.PointStruct,
    sparse=models.SparseVector,
    filter=models.Filter,
    condition=models.FieldCondition,
    any_of=models.MatchAny,
    range=models.Range,
)
_BATCH = 256
_PAGE = 256
_RETRY_AFTER_S = (0.2, 0.6, 1.8)
_BUSY = {408, 429, 500, 502, 503, 504}
_BUSY_GRPC = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_Answer = TypeVar("_Answer")


class ServerIndex(QdrantIndex):
    """A :class:`rag_audio.domain.ports.StemIndex` in one collection of a Qdrant server.

    The collection is made when it is missing. Segments of the server's storage smaller than
    20,000 vectors are searched exactly, larger ones through HNSW. Transport errors and answers
    that say "busy" are retried three times, after 0.2, 0.6 and 1.8 s; every call is idempotent.

    Args:
        space: id of the embedding space.
        dimension: D of the dense vectors.
        url: of the server, with the port unless it is 6333; ``https`` for TLS (a private CA is
            read from ``SSL_CERT_FILE``).
        api_key: sent with every call, never shown.
        client: in place of ``url`` and ``api_key``.
        collection: name; by default ``rag-audio``.
        prefer_grpc: speak gRPC (port 6334) where possible.
        timeout_s: seconds for one call.

    Raises:
        ConfigError: the URL is not one.
        BackendUnavailable: the server cannot be reached, or refuses the key.
        IndexMismatch: the collection was made for another space or dimension.
    """

    def __init__(
        self,
        *,
        space: str,
        dimension: int,
        url: str | None = None,
        api_key: str | None = None,
        client: QdrantClient | None = None,
        collection: str | None = None,
        prefer_grpc: bool = False,
        timeout_s: float = 10,
    ) -> None:
        super().__init__(_REQUESTS, space, dimension)
        self._collection = collection or DEFAULT_COLLECTION
        self._where = "the Qdrant client" if url is None else f"the Qdrant server at {_shown(url)}"
        self.name = f"qdrant:{_shown(url) if url else 'in-process'}/{self._collection}"
        if client is None:
            if url is None:
                raise ConfigError("a Qdrant server needs a URL", hint="set RAG_AUDIO_QDRANT_URL")
            client = _connect(url, api_key, prefer_grpc, timeout_s)
        self._client = client
        self._claim()

    def _put(self, points: list[Any]) -> None:
        for start in range(0, len(points), _BATCH):
            batch = points[start : start + _BATCH]
            self._call(partial(self._client.upsert, self._collection, batch, wait=True))

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""
        if not ids:
            return
        selector = models.PointIdsList(points=list(ids))
        self._call(lambda: self._client.delete(self._collection, selector, wait=True))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _query(self, vector: Any, using: str, where: Any, limit: int) -> list[Any]:
        answer = self._call(
            lambda: self._client.query_points(
                self._collection,
                query=vector,
                using=using,
                query_filter=where,
                limit=limit,
                with_payload=True,
                with_vectors=[DENSE],
            )
        )
        return list(answer.points)

    def _count(self, where: Any) -> int:
        counted = partial(self._client.count, self._collection, count_filter=where, exact=True)
        return int(self._call(counted).count)

    def _page(self, where: Any, offset: Any) -> tuple[Sequence[Any], Any]:
        return self._call(
            partial(
                self._client.scroll,
                self._collection,
                scroll_filter=where,
                limit=_PAGE,
                offset=offset,
                with_payload=True,
                with_vectors=True,
            )
        )

    def _claim(self) -> None:
        """Make the collection with its payload indexes, or check whose it is."""
        if not self._call(lambda: self._client.collection_exists(self._collection)):
            self._create()
        config = self._call(lambda: self._client.get_collection(self._collection)).config
        made_for = config.metadata or {}
        found = (made_for.get("format"), made_for.get("space"), made_for.get("dimension"))
        what = f"collection {self._collection!r} of {self._where}"
        hint = (
            "use the embedder that made it, or delete the collection and run rag-audio index "
            "on your libraries again (Qdrant older than 1.16 cannot record the space)"
        )
        if self._is_outdated(found, what, hint):
            self._write_anew()
            update = self._client.update_collection
            self._call(partial(update, self._collection, metadata={"format": FORMAT}))

    def _create(self) -> None:
        threshold_kb = EXACT_BELOW * self._dimension * 4 // 1024
        try:
            self._call(
                lambda: self._client.create_collection(
                    self._collection,
                    vectors_config={
                        DENSE: models.VectorParams(
                            size=self._dimension, distance=models.Distance.COSINE
                        )
                    },
                    sparse_vectors_config={
                        SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)
                    },
                    hnsw_config=models.HnswConfigDiff(m=16, ef_construct=128),
                    optimizers_config=models.OptimizersConfigDiff(indexing_threshold=threshold_kb),
                    metadata={
                        "format": FORMAT,
                        "space": self.space,
                        "dimension": self._dimension,
                    },
                )
            )
        except BackendError:
            # Another process may have made it in between; then it is checked like any other.
            if not self._call(lambda: self._client.collection_exists(self._collection)):
                raise
        keyword, real = models.PayloadSchemaType.KEYWORD, models.PayloadSchemaType.FLOAT
        for field in (*KEYWORD_FIELDS, *FLOAT_FIELDS):
            schema = keyword if field in KEYWORD_FIELDS else real
            create = self._client.create_payload_index
            self._call(partial(create, self._collection, field, schema, wait=True))

    def _call(self, ask: Callable[[], _Answer]) -> _Answer:
        """Run one idempotent call; retry what may pass, translate the rest."""
        for pause_s in (*_RETRY_AFTER_S, None):
            try:
                return ask()
            except (ApiException, QdrantException, grpc.RpcError, ValueError) as error:
                if pause_s is None or not _may_pass(error):
                    raise self._translated(error) from error
                time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _translated(self, error: Exception) -> BackendError:
        status = error.status_code if isinstance(error, UnexpectedResponse) else None
        code = error.code() if isinstance(error, grpc.RpcError) else None
        denied = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
        if status in {401, 403} or code in denied:
            return BackendUnavailable(
                f"{self._where} refuses the API key",
                hint="set RAG_AUDIO_QDRANT_API_KEY to the server's QDRANT__SERVICE__API_KEY",
                public=AWAY,
            )
        if _may_pass(error):
            return BackendUnavailable(
                f"{self._where} cannot be reached: {_one_line(error)}",
                hint="check RAG_AUDIO_QDRANT_URL and that the server runs",
                public=AWAY,
            )
        return BackendError(f"{self._where} refused a call: {_one_line(error)}")


def _connect(url: str, api_key: str | None, prefer_grpc: bool, timeout_s: float) -> QdrantClient:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            f"the Qdrant URL {_shown(url)!r} is not an http(s) URL",
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
            raise ConfigError(f"the Qdrant URL {_shown(url)!r} cannot be used: {error}") from error


def _shown(url: str) -> str:
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

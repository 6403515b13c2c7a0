"""The index on a Qdrant server, for several machines: ``qdrant-client`` over REST or gRPC.

Needs Qdrant 1.16 or newer: the embedding space is recorded in the collection's metadata.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from qdrant_client import QdrantClient, models

from rag_audio.domain.ports import Progress, SpaceInfo
from rag_audio.errors import BackendError, ConfigError, IndexMismatch
from rag_audio.storage.qdrant_calls import LONG_S, QdrantCalls, connect, shown
from rag_audio.storage.qdrant_collections import (
    DEFAULT_COLLECTION,
    CollectionOptions,
    Collections,
)
from rag_audio.storage.qdrant_common import (
    DENSE,
    EXACT_BELOW,
    FORMAT,
    REVOKED,
    SHOWN,
    QdrantIndex,
    Requests,
)
from rag_audio.storage.qdrant_snapshots import Snapshots

_REQUESTS = Requests(
    point=models.PointStruct,
    sparse=models.SparseVector,
    filter=models.Filter,
    condition=models.FieldCondition,
    any_of=models.MatchAny,
    range=models.Range,
    revoked=models.FieldCondition(key=REVOKED, match=models.MatchValue(value=True)),
)
_BATCH = 512
_PAGE = 256
_AT_ONCE = 4
"""Batches on their way at the same time while many points are put."""
_LOOK_S = 1.0
_RESCORED = models.SearchParams(
    quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0)
)
"""Twice as many are found by their int8 form as are asked for, and ordered by the originals."""


class ServerIndex(QdrantIndex):
    """A :class:`rag_audio.domain.ports.StemIndex` in a collection of a Qdrant server.

    The collection is made when it is missing, and found by its alias (:mod:`.qdrant_collections`).
    Segments of the server's storage smaller than 20,000 vectors are searched exactly, larger ones
    through HNSW over int8 vectors, rescored by the originals. Transport errors and answers that
    say "busy" are retried three times, after 0.2, 0.6 and 1.8 s and up to half as long again;
    every call is idempotent.

    Args:
        space: id of the embedding space.
        dimension: D of the dense vectors.
        url: of the server, with the port unless it is 6333; ``https`` for TLS (a private CA is
            read from ``SSL_CERT_FILE``).
        api_key: sent with every call, never shown.
        client: in place of ``url`` and ``api_key``.
        collection: name; by default ``rag-audio``.
        prefer_grpc: speak gRPC (port 6334) where possible.
        timeout_s: seconds for one short call, such as a search.
        options: how a collection is spread when it is made.
        beside: open the space's own collection, whatever the alias names, and make it where it is
            missing.

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
        options: CollectionOptions | None = None,
        beside: bool = False,
    ) -> None:
        super().__init__(_REQUESTS, space, dimension)
        name = collection or DEFAULT_COLLECTION
        where = "the Qdrant client" if url is None else f"the Qdrant server at {shown(url)}"
        self.name = f"qdrant:{shown(url) if url else 'in-process'}/{name}"
        if client is None:
            if url is None:
                raise ConfigError("a Qdrant server needs a URL", hint="set RAG_AUDIO_QDRANT_URL")
            client = connect(url, api_key, prefer_grpc, timeout_s)
        self._client = client
        self._timeout_s = max(1, round(timeout_s))
        self._call = QdrantCalls(client, where, self._timeout_s)
        self._collections = Collections(self._call, name, options or CollectionOptions())
        self._beside, self._bulk = beside, False
        self._collection = self._claimed()

    def _put(self, points: list[Any]) -> None:
        if not points:
            return
        self._check_current()
        batches = [points[start : start + _BATCH] for start in range(0, len(points), _BATCH)]
        if self._bulk and len(batches) > 1:
            # A write that is not waited for is in the server's log all the same.
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(partial(self._upsert, wait=False), batches[:-1]))
            batches = batches[-1:]
        for batch in batches:
            self._upsert(batch, wait=True)

    def _upsert(self, batch: list[Any], *, wait: bool) -> None:
        put = partial(self._client.upsert, self._collection, batch, wait=wait, timeout=LONG_S)
        self._call(put)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""
        if not ids:
            return
        selector = models.PointIdsList(points=list(ids))
        delete = partial(self._client.delete, self._collection, selector, wait=True)
        self._call(partial(delete, timeout=LONG_S))

    @contextmanager
    def bulk(self, progress: Progress | None = None) -> Iterator[None]:
        """Put many points within the block: no graph is built meanwhile, and at the end it is
        waited until all are built in.

        Args:
            progress: is told how many of the points the graph holds while that is waited for.

        Raises:
            BackendError: the server cannot build it.
        """
        self._set_threshold(0)
        self._bulk = True
        try:
            yield
        finally:
            self._bulk = False
            self._set_threshold(EXACT_BELOW * self._dimension * 4 // 1024)
        self._wait_until_built(progress)

    def _set_threshold(self, kilobytes: int) -> None:
        change = models.OptimizersConfigDiff(indexing_threshold=kilobytes)
        update = self._client.update_collection
        self._call(
            partial(update, self._collection, optimizers_config=change, timeout=self._timeout_s)
        )

    def _wait_until_built(self, progress: Progress | None) -> None:
        while True:
            info = self._call(lambda: self._client.get_collection(self._collection))
            if progress is not None:
                progress(info.indexed_vectors_count or 0, info.points_count or 0)
            if info.status == models.CollectionStatus.GREEN:
                return
            if info.status == models.CollectionStatus.RED:
                raise BackendError(
                    f"{self._call.where} cannot build the graph of {self._collection!r}: "
                    f"{_why(info.optimizer_status)}",
                    hint="its log says more; what was put is there and is searched without a graph",
                )
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _query(
        self, asked: Sequence[tuple[Any, str, int]], where: Any, *, shown: bool
    ) -> list[list[Any]]:
        requests = [
            models.QueryRequest(
                query=vector,
                using=using,
                filter=where,
                limit=limit,
                with_payload=SHOWN if shown else False,
                params=_RESCORED if using == DENSE else None,
            )
            for vector, using, limit in asked
        ]
        batch = self._client.query_batch_points
        answers = self._call(lambda: batch(self._collection, requests, timeout=self._timeout_s))
        return [list(answer.points) for answer in answers]

    def _retrieve(
        self, ids: list[str], vectors: Sequence[str] = (), payload: Sequence[str] = ()
    ) -> Sequence[Any]:
        return self._call(
            lambda: self._client.retrieve(
                self._collection,
                ids,
                with_payload=list(payload) or False,
                with_vectors=list(vectors) or False,
                timeout=self._timeout_s,
            )
        )

    def _mark(self, where: Any, on: bool) -> None:
        client, name = self._client, self._collection
        how: dict[str, Any] = {"points": where, "wait": True}
        if on:
            self._call(lambda: client.set_payload(name, {REVOKED: True}, timeout=LONG_S, **how))
        else:
            self._call(lambda: client.delete_payload(name, [REVOKED], timeout=LONG_S, **how))

    def _count(self, where: Any, *, exact: bool) -> int:
        count = partial(self._client.count, self._collection, count_filter=where, exact=exact)
        return int(self._call(partial(count, timeout=self._timeout_s)).count)

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
                timeout=self._timeout_s,
            )
        )

    def _claimed(self) -> str:
        """Find the collection, or make it; check whose it is."""
        collections = self._collections
        if self._beside:
            name = collections.create(self.space, self._dimension)
        else:
            name = self._in_use()
        made_for = collections.made_for(name)
        found = (made_for.get("format"), made_for.get("space"), made_for.get("dimension"))
        what = f"collection {name!r} of {self._call.where}"
        hint = (
            "use the embedder that made it, or set RAG_AUDIO_QDRANT_COLLECTION to a new name and "
            "run rag-audio index on your libraries (Qdrant older than 1.16 records no space)"
        )
        self._collection = name
        if self._is_outdated(found, what, hint):
            self._write_anew()
            update = self._client.update_collection
            self._call(partial(update, name, metadata={"format": FORMAT}))
        collections.add_indexes(name)
        return name

    def _in_use(self) -> str:
        """The collection that the alias names, or the one before it where that is of this space."""
        collections = self._collections
        current = collections.current()
        if current is None:
            current = collections.create(self.space, self._dimension)
            collections.use(current)
        if collections.made_for(current).get("space") == self.space:
            return current
        previous = collections.previous()
        is_mine = previous and collections.made_for(previous).get("space") == self.space
        return previous if previous and is_mine else current

    def _check_current(self) -> None:
        """Refuse to write where nobody would find it.

        Raises:
            IndexMismatch: the index was switched to another space.
        """
        if not self._beside and self._collections.current() != self._collection:
            raise IndexMismatch(
                f"the index was switched from embedding space {self.space} to another one",
                hint="use the embedder of the space in use",
            )


def _why(status: Any) -> str:
    """What a collection's optimizers say went wrong."""
    return str(getattr(status, "error", None) or "it failed")


class ServerSpaces:
    """The embedding spaces that a Qdrant server holds under one name: :class:`.IndexSpaces`.

    Args:
        as those of :class:`ServerIndex`.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        api_key: str | None = None,
        client: QdrantClient | None = None,
        collection: str | None = None,
        prefer_grpc: bool = False,
        timeout_s: float = 10,
        options: CollectionOptions | None = None,
    ) -> None:
        self._said: dict[str, Any] = {
            "url": url,
            "api_key": api_key,
            "client": client,
            "collection": collection,
            "prefer_grpc": prefer_grpc,
            "timeout_s": timeout_s,
            "options": options,
        }
        if client is None:
            client = connect(url or "", api_key, prefer_grpc, timeout_s)
        where = "the Qdrant client" if url is None else f"the Qdrant server at {shown(url)}"
        call = QdrantCalls(client, where, max(1, round(timeout_s)))
        options = options or CollectionOptions()
        self._collections = Collections(call, collection or DEFAULT_COLLECTION, options)

    def spaces(self, *, counted: bool = True) -> tuple[SpaceInfo, ...]:
        """Every embedding space that the server holds under this name."""
        return self._collections.all(counted=counted)

    def embedder_in_use(self) -> str | None:
        """What was named as the embedder of the space in use; None: nothing was."""
        current = self._collections.current()
        said = None if current is None else self._collections.made_for(current).get("embedder")
        return None if said is None else str(said)

    def open_space(self, space: str, dimension: int) -> ServerIndex:
        """The index of a space, made beside the one in use where it is missing.

        Raises:
            IndexMismatch: it is there with another dimension.
        """
        return ServerIndex(space=space, dimension=dimension, beside=True, **self._said)

    def switch(self, space: str, embedder: str | None = None, before: str | None = None) -> None:
        """Let a space be the one in use, in one call; the one before stays, to switch back to.

        Args:
            embedder: what embeds into it, kept with the collection; None: it stays as it is.
            before: the same of the space that was in use.

        Raises:
            InvalidInput: no collection holds it.
        """
        self._collections.use(self._collections.named(space), embedder, before)

    def remove(self, space: str) -> None:
        """Delete a space that is not in use.

        Raises:
            InvalidInput: no collection holds it, or it is in use.
        """
        self._collections.remove(space)

    @property
    def snapshots(self) -> Snapshots:
        """What makes the collection in use a file, and a file that collection."""
        return Snapshots(self._collections, str(self._said["url"] or ""), self._said["api_key"])

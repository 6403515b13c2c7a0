"""Snapshots of a Qdrant server's collection: made by the server, fetched and sent back over HTTP.

A snapshot holds the shards of the node that makes it. A server of several nodes is therefore not
archived here: each node makes its own (https://qdrant.tech/documentation/concepts/snapshots).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rag_audio.errors import BackendError, BackendUnavailable, InvalidInput
from rag_audio.storage.files import file_sha256
from rag_audio.storage.qdrant_calls import AWAY, LONG_S
from rag_audio.storage.qdrant_collections import Collections

DESCRIPTION, CONTENT = "collection.json", "collection.snapshot"
"""Files of a snapshot, in a folder of its own."""
_FORMAT = 1
_PIECE = 2**20


@dataclass(frozen=True)
class Snapshots:
    """The snapshots of the collection in use.

    Attributes:
        url, api_key: of the server.
    """

    collections: Collections
    url: str
    api_key: str | None

    def take(self, folder: Path) -> str | None:
        """Write a snapshot of the collection in use to a folder, which must exist.

        Returns:
            None, or one line on why there is none: no collection, or a server of several nodes.

        Raises:
            BackendError: the server failed, or what came is not what it made.
        """
        call, client = self.collections.call, self.collections.call.client
        collection = self.collections.current()
        if collection is None:
            return f"{call.where} holds no collection of this home yet"
        nodes = self._nodes()
        if nodes > 1:
            return (
                f"the index is not in this archive: {call.where} has {nodes} nodes, and each makes "
                "snapshots of its own shards; make them there, or index the libraries again"
            )
        made = call(partial(client.create_snapshot, collection, wait=True))
        if made is None:
            raise BackendError(f"{call.where} made no snapshot of {collection!r}")
        try:
            self._fetch(collection, made.name, folder / CONTENT)
        finally:
            call(partial(client.delete_snapshot, collection, made.name, wait=True))
        checksum = file_sha256(folder / CONTENT)
        if made.checksum not in (None, checksum):
            raise BackendError(f"the snapshot of {collection!r} came damaged from {call.where}")
        described = {
            **self.collections.made_for(collection),
            "format": _FORMAT,
            "collection": collection,
            "sha256": checksum,
        }
        (folder / DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
        return None

    def recover(self, folder: Path) -> str:
        """Bring a snapshot back as the collection in use; one line on what was done.

        A collection that is there already is left alone.

        Raises:
            InvalidInput: the folder holds no snapshot, or another than it says.
            BackendError: the server refused it.
        """
        described = _described(folder)
        collection, call = str(described["collection"]), self.collections.call
        if self.collections.has(collection) or self.collections.current() is not None:
            return (
                f"{call.where} has an index of this home already, which stays as it is; the "
                f"archived one lies in {folder}"
            )
        if file_sha256(folder / CONTENT) != described["sha256"]:
            raise InvalidInput(f"{folder / CONTENT} is not the snapshot that was archived")
        self._send(collection, folder / CONTENT, str(described["sha256"]))
        if collection != self.collections.name:
            self.collections.use(collection)
        return f"collection {collection!r} was brought back to {call.where}"

    def _nodes(self) -> int:
        status: Any = self.collections.call(self.collections.call.client.cluster_status)
        return max(1, len(getattr(status, "peers", None) or {}))

    def _fetch(self, collection: str, name: str, target: Path) -> None:
        import httpx

        with (
            self._translated(),
            httpx.stream("GET", self._at(collection, name), **self._how()) as answer,
        ):
            answer.raise_for_status()
            with target.open("xb") as file:
                for piece in answer.iter_bytes(_PIECE):
                    file.write(piece)

    def _send(self, collection: str, content: Path, checksum: str) -> None:
        import httpx

        asked = {"wait": "true", "priority": "snapshot", "checksum": checksum}
        with self._translated(), content.open("rb") as file:
            answer = httpx.post(
                self._at(collection, "upload"),
                params=asked,
                files={"snapshot": (CONTENT, file)},
                **self._how(),
            )
            answer.raise_for_status()

    def _at(self, collection: str, name: str) -> str:
        parts = urlsplit(self.url)
        port = parts.port or 6333
        prefix = parts.path.rstrip("/")
        place = f"{parts.scheme}://{parts.hostname}:{port}{prefix}"
        return f"{place}/collections/{collection}/snapshots/{name}"

    def _how(self) -> dict[str, Any]:
        headers = {} if self.api_key is None else {"api-key": self.api_key}
        return {"headers": headers, "timeout": LONG_S}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import httpx

        where = self.collections.call.where
        try:
            yield
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise BackendError(f"{where} refused a snapshot: HTTP {status}") from error
        except httpx.HTTPError as error:
            raise BackendUnavailable(
                f"{where} cannot be reached: {type(error).__name__}", public=AWAY
            ) from error


def _described(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if found["format"] == _FORMAT and found["collection"] and found["sha256"]:
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{folder} holds no snapshot: {error}") from error
    raise InvalidInput(f"{folder} holds a snapshot of another format")

"""Collections of a Qdrant server: how they are made, and which embedding space is in which.

Each embedding space has a collection of its own, ``NAME--SPACE``; the alias ``NAME`` says which one
is in use, and ``NAME--previous`` which one was before. A collection that is itself called ``NAME``,
as releases before this one made it, is used as it is; since an alias may not be called like a
collection, the alias is then ``NAME--current``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from qdrant_client import models

from rag_audio.domain.ports import SpaceInfo, SpaceState
from rag_audio.errors import BackendError, InvalidInput
from rag_audio.storage.qdrant_calls import LONG_S, QdrantCalls
from rag_audio.storage.qdrant_common import (
    DENSE,
    EXACT_BELOW,
    FLOAT_FIELDS,
    FORMAT,
    KEYWORD_FIELDS,
    REVOKED,
    SPARSE,
)

DEFAULT_COLLECTION = "rag-audio"

_MOST_HITS = 200_000
_PREFIX = 24
_STRICT = models.StrictModeConfig(
    enabled=True,
    max_query_limit=_MOST_HITS,
    unindexed_filtering_retrieve=False,
    unindexed_filtering_update=False,
    search_max_oversampling=4.0,
    search_max_hnsw_ef=1024,
    upsert_max_batchsize=4096,
    search_max_batchsize=64,
    filter_max_conditions=64,
)
"""Limits that this product never reaches; they are for what else might use the collection."""


@dataclass(frozen=True)
class CollectionOptions:
    """How a collection is spread when it is made; None: as the server is configured.

    Attributes:
        shards: parts of the collection. replicas: copies of each part.
        write_consistency: copies that must have a write before it is answered.
    """

    shards: int | None = None
    replicas: int | None = None
    write_consistency: int | None = None


@dataclass(frozen=True)
class Collections:
    """The collections of one name on a server.

    Attributes:
        call: the connection. name: what the alias is called.
    """

    call: QdrantCalls
    name: str
    options: CollectionOptions = CollectionOptions()

    def of(self, space: str) -> str:
        """What the collection of a space is called."""
        return f"{self.name}--{re.sub(r'[^A-Za-z0-9_-]+', '-', space)[:_PREFIX]}"

    def current(self) -> str | None:
        """The collection in use; None: there is none yet."""
        aliases = self._aliases()
        current = aliases.get(self.name) or aliases.get(self._alias(plain=True))
        return current or (self.name if self._is_plain() else None)

    def previous(self) -> str | None:
        """The collection that was in use before the last switch."""
        return self._aliases().get(f"{self.name}--previous")

    def made_for(self, collection: str) -> dict[str, Any]:
        """What a collection records: format, space and dimension."""
        return self._info(collection).config.metadata or {}

    def create(self, space: str, dimension: int) -> str:
        """The collection of a space, made where it is missing, with its payload indexes."""
        if self._is_plain() and self.made_for(self.name).get("space") == space:
            return self.name
        name = self.of(space)
        if not self._exists(name):
            self._create(name, space, dimension)
        self.add_indexes(name)
        return name

    def use(self, collection: str, embedder: str | None = None, before: str | None = None) -> None:
        """Let the alias name a collection, and what it named before be the previous one: in one
        call, which no search can see half of.

        Args:
            embedder: what embeds into it, kept with the collection; None: it stays as it is.
            before: the same of the collection that was in use.
        """
        current, plain = self.current(), self._is_plain()
        for name, said in ((collection, embedder), (current, before)):
            if name is not None and said is not None:
                update = partial(self.call.client.update_collection, timeout=self.call.timeout_s)
                self.call(partial(update, name, metadata={"embedder": said}))
        actions = [_create_alias(self._alias(plain=plain), collection)]
        if current is not None and current != collection:
            actions.append(_create_alias(f"{self.name}--previous", current))
        self._update_aliases(actions)

    def all(self, *, counted: bool = True) -> tuple[SpaceInfo, ...]:
        """Every space there is a collection for, by name of the collection."""
        states = {self.previous(): SpaceState.PREVIOUS, self.current(): SpaceState.CURRENT}
        found = []
        for name in self._names():
            info = self._info(name)
            made_for = info.config.metadata or {}
            if "space" in made_for:
                state = states.get(name, SpaceState.BESIDE)
                found.append(
                    SpaceInfo(
                        str(made_for["space"]),
                        int(made_for["dimension"]),
                        int(info.points_count or 0) if counted else None,
                        state,
                    )
                )
        return tuple(found)

    def named(self, space: str) -> str:
        """The collection that holds a space.

        Raises:
            InvalidInput: none does.
        """
        for name in self._names():
            if self.made_for(name).get("space") == space:
                return name
        raise InvalidInput(
            f"no collection of {self.call.where} holds embedding space {space}",
            hint="Home.spaces.open_space makes one",
        )

    def remove(self, space: str) -> None:
        """Delete a space's collection.

        Raises:
            InvalidInput: there is none, or it is in use.
        """
        name, client = self.named(space), self.call.client
        if name == self.current():
            raise InvalidInput(
                f"embedding space {space} is in use", hint="switch to another space first"
            )
        if name == self.previous():
            gone = models.DeleteAlias(alias_name=f"{self.name}--previous")
            self._update_aliases([models.DeleteAliasOperation(delete_alias=gone)])
        self.call(lambda: client.delete_collection(name, timeout=LONG_S))

    def add_indexes(self, collection: str) -> None:
        """Make the payload indexes that are missing."""
        there = self._info(collection).payload_schema or {}
        for field, schema in _indexes().items():
            if field not in there:
                create = partial(self.call.client.create_payload_index, wait=True, timeout=LONG_S)
                self.call(partial(create, collection, field, schema))

    def _create(self, name: str, space: str, dimension: int) -> None:
        try:
            self.call(
                lambda: self.call.client.create_collection(
                    name, **creation(space, dimension, self.options), timeout=LONG_S
                )
            )
        except BackendError:
            # Another process may have made it in between; then it is checked like any other.
            if not self._exists(name):
                raise

    def has(self, collection: str) -> bool:
        """Whether there is a collection, or an alias, called so."""
        return self._exists(collection)

    def _exists(self, name: str) -> bool:
        return self.call(lambda: self.call.client.collection_exists(name))

    def _info(self, name: str) -> models.CollectionInfo:
        return self.call(lambda: self.call.client.get_collection(name))

    def _names(self) -> list[str]:
        """Collections of this name: the plain one, and one for each space."""
        found = self.call(self.call.client.get_collections).collections
        mine = f"{self.name}--"
        return sorted(
            one.name for one in found if one.name == self.name or one.name.startswith(mine)
        )

    def _is_plain(self) -> bool:
        return self.name in self._names()

    def _alias(self, *, plain: bool) -> str:
        return f"{self.name}--current" if plain else self.name

    def _aliases(self) -> dict[str, str]:
        found = self.call(self.call.client.get_aliases).aliases
        return {one.alias_name: one.collection_name for one in found}

    def _update_aliases(self, actions: list[Any]) -> None:
        client = self.call.client
        self.call(lambda: client.update_collection_aliases(actions, timeout=self.call.timeout_s))


def creation(space: str, dimension: int, options: CollectionOptions) -> dict[str, Any]:
    """What a collection is made with: vectors on the disk, their int8 form in memory."""
    threshold_kb = EXACT_BELOW * dimension * 4 // 1024
    return {
        "vectors_config": {
            DENSE: models.VectorParams(
                size=dimension, distance=models.Distance.COSINE, on_disk=True
            )
        },
        "sparse_vectors_config": {SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        "quantization_config": models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        ),
        "hnsw_config": models.HnswConfigDiff(m=16, ef_construct=128),
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=threshold_kb),
        "strict_mode_config": _STRICT,
        "shard_number": options.shards,
        "replication_factor": options.replicas,
        "write_consistency_factor": options.write_consistency,
        "on_disk_payload": True,
        "metadata": {"format": FORMAT, "space": space, "dimension": dimension},
    }


def _indexes() -> dict[str, Any]:
    """Payload indexes; a library's points are stored together (``is_tenant``)."""
    kinds = models.KeywordIndexType.KEYWORD
    return {
        **{
            field: models.KeywordIndexParams(type=kinds, is_tenant=field == "library" or None)
            for field in KEYWORD_FIELDS
        },
        **dict.fromkeys(FLOAT_FIELDS, models.PayloadSchemaType.FLOAT),
        REVOKED: models.PayloadSchemaType.BOOL,
    }


def _create_alias(alias: str, collection: str) -> models.CreateAliasOperation:
    named = models.CreateAlias(alias_name=alias, collection_name=collection)
    return models.CreateAliasOperation(create_alias=named)

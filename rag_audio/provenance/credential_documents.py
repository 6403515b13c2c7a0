"""What was read of content credentials, as JSON: they are parsed in one process and used in
another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rag_audio.codec import encode, read
from rag_audio.signing import Credentials, CredentialState

MOST_CHARACTERS = 2_000_000
"""Longer credentials are told of and not carried along: those of this project have some 20,000."""
_DEEPEST = 60
_TOO_MUCH = "they say more than any honest ones"


def credentials_to_json(found: Credentials) -> dict[str, Any]:
    """All fields; of credentials that say too much, or too deeply nested, what they reserve."""
    document = encode(found)
    if _depth(document) <= _DEEPEST and len(json.dumps(document)) <= MOST_CHARACTERS:
        return document
    if found.errors == (_TOO_MUCH,):
        return {**document, "training": {}}
    bare = Credentials(
        CredentialState.INVALID, sidecar=found.sidecar, errors=(_TOO_MUCH,), training=found.training
    )
    return credentials_to_json(replace(bare, label=found.label[:200]))


def credentials_from_json(document: Mapping[str, Any]) -> Credentials:
    """The credentials in a document, every field of its type.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    return read(Credentials, document)


def _depth(value: Any) -> int:
    """How deeply lists and mappings are nested, without recursion; counted to a little past what
    is allowed."""
    deep, level = 0, [value]
    while level and deep <= _DEEPEST:
        deep += 1
        inner: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                inner += one.values()
            elif isinstance(one, list | tuple):
                inner += one
        level = inner
    return deep

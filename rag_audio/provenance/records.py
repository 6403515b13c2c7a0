"""Attribution records as canonical JSON (RFC 8785): one record has one spelling, hence one hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from rag_audio.codec import encode, read
from rag_audio.domain import AttributionRecord
from rag_audio.errors import InvalidInput, LedgerError

_FORMAT = 1


def record_to_json(record: AttributionRecord) -> dict[str, Any]:
    """A record as a JSON object."""
    return {"format": _FORMAT, **encode(record)}


def record_from_json(document: Mapping[str, Any]) -> AttributionRecord:
    """The inverse of :func:`record_to_json`.

    Raises:
        LedgerError: the document is not a record.
    """
    try:
        if document["format"] != _FORMAT:
            raise LedgerError(f"a record of format {document['format']!r} cannot be read")
        return read(AttributionRecord, document)
    except KeyError as error:
        raise LedgerError(f"the record lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise LedgerError(f"the record cannot be read: {error}") from error
    except InvalidInput as error:
        raise LedgerError(f"a source of the record cannot be read: {error.message}") from error


def canonical(document: Mapping[str, Any]) -> bytes:
    """RFC 8785 canonical JSON of a document.

    Raises:
        LedgerError: it holds something that JSON has no word for.
    """
    try:
        return rfc8785.dumps(dict(document))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise LedgerError(f"the record cannot be written as JSON: {error}") from error


def parse(document: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        LedgerError: the bytes are not a JSON object.
    """
    try:
        loaded = json.loads(document)
    except RecursionError as error:
        raise LedgerError("the record is not JSON: it is nested too deeply") from error
    except ValueError as error:
        raise LedgerError(f"the record is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise LedgerError(f"the record is not a JSON object but a {type(loaded).__name__}")
    return loaded

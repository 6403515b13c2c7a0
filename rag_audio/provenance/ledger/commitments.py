"""What enters the log: documents without personal data, which stands aside under commitments.

A document in the log is permanent. The texts that a person wrote (prompts, paths of their files,
notes made from them) therefore never enter it. In their place stands ``null``, and the document's
``commitments`` hold, by JSON pointer (RFC 6901), ``SHA-256(salt_of_field ‖ text)`` with
``salt_of_field = HMAC-SHA-256(salt, pointer)``. Salt and texts stand in a table beside the log.
While they are there, anybody can check that they are what was logged; once they are deleted, 256
random bits stand between the hash and a guess of the text. One field can be shown to somebody,
with its own salt, without showing the others.

Whose an output is, the id of the API key whose job made it, is such a text too, at ``/owner``. A
record that is read has no owner: only who verifies the log reads it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from rag_audio.domain import AttributionRecord, GenerationRequest
from rag_audio.domain.codec import plain
from rag_audio.domain.fields import public_names
from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger.records import canonical, parse, record_from_json, record_to_json

FORMAT = 2
"""Of documents with commitments; documents of format 1 hold all texts themselves."""
OUTPUT, ERASURE = "output", "erasure"
EVENTS = tuple("influence revocation refusal library restore numbers key access".split())
"""Kinds of events that callers may append; an erasure is appended by erasing."""
ERASED = "[erased]"
"""Stands in a record where a text was erased."""
SALT_BYTES = 32
OWNER_AT = "/owner"
"""The pointer of an output's owner among its texts."""

_WITH_TEXTS = ("request", "plan")
# Words of a fixed vocabulary or names from the library. Any other text counts as personal: a field
# that somebody adds later is then committed to, and not published forever by mistake.
_PUBLIC = public_names(GenerationRequest) | {
    *("edit", "enforcement", "format", "held_by", "influence", "instrument", "licenses"),
    *("seed_parts", "source_rights", "source_sha256", "stem"),
}
_WORDS_OF_PEOPLE = frozenset({"prompt", "negative_prompt", "enriched_prompt", "prompt_out", "text"})


@dataclass(frozen=True)
class Sealed:
    """A record as the log takes it.

    Attributes:
        document: canonical JSON with commitments.
        record: as it will be read back, with its texts.
        salt: random, 32 bytes. texts: canonical JSON, pointer → text; None where there are none.
    """

    record: AttributionRecord
    document: bytes
    salt: bytes
    texts: bytes | None


def seal(record: AttributionRecord, owner: str | None = None) -> Sealed:
    """Set a record's personal texts aside.

    Args:
        owner: id of the API key whose job made the output; empty: the job needed none; None: no
            job made it, which the document says by having no commitment to an owner.

    Raises:
        LedgerError: the record holds something that JSON has no word for.
    """
    whole = record_to_json(record)
    document = dict(whole)
    salt = secrets.token_bytes(SALT_BYTES)
    texts: dict[str, str] = {}
    for part in _WITH_TEXTS:
        document[part] = without_texts(document[part], f"/{part}", texts)
    if owner is not None:
        texts[OWNER_AT] = owner
    try:
        commitments = {at: commitment(salt, at, text) for at, text in texts.items()}
    except UnicodeEncodeError as error:
        raise LedgerError(f"the record cannot be written as JSON: {error}") from error
    sealed = {
        **document,
        "format": FORMAT,
        "kind": OUTPUT,
        "owner": None,
        "commitments": commitments,
    }
    written = canonical(sealed)
    return Sealed(record_from_json(whole), written, salt, canonical(texts) if texts else None)


def unseal(document: Mapping[str, Any], texts: bytes | None) -> tuple[AttributionRecord, bool]:
    """The record of a parsed document with its texts back in place, and whether they are erased.

    Raises:
        LedgerError: the document is not a record, or the texts do not fit it.
    """
    if document.get("format") != FORMAT:
        return record_from_json(document), False
    whole = {**document, "format": 1}
    for part in _WITH_TEXTS:
        whole[part] = deepcopy(document.get(part))
    known = {} if texts is None else parse(texts)
    erased = False
    for at in _commitments(document):
        text = known.get(at)
        erased = erased or not isinstance(text, str)
        _put(whole, at, text if isinstance(text, str) else ERASED)
    return record_from_json(whole), erased


def commitment(salt: bytes, at: str, text: str) -> str:
    """The commitment to one text, hex."""
    own = hmac.digest(salt, at.encode(), "sha256")
    return sha256(own + text.encode()).hexdigest()


def has_texts(document: Mapping[str, Any]) -> bool:
    """Whether a document committed to any text."""
    return bool(_commitments(document))


def text_faults(document: Mapping[str, Any], salt: bytes, texts: bytes) -> Iterator[str]:
    """What is wrong with the texts of a document."""
    try:
        known = parse(texts)
        if canonical(known) != texts:
            yield "the personal texts are not canonical JSON"
        wanted = _commitments(document)
    except LedgerError as error:
        yield f"the personal texts cannot be read: {error.message}"
        return
    if set(known) != set(wanted):
        yield "the personal texts are not those that the document commits to"
        return
    for at, text in known.items():
        if not isinstance(text, str) or commitment(salt, at, text) != wanted[at]:
            yield f"the personal text {at} does not match its commitment"


def event_document(kind: str, output: int | None, body: Mapping[str, Any]) -> bytes:
    """An event as canonical JSON, with the time at which it is written.

    Raises:
        LedgerError: the body holds something that JSON has no word for, or a person's words.
    """
    said = sorted(_names(body) & _WORDS_OF_PEOPLE)
    if kind == "refusal" and said:
        raise LedgerError(
            f"a refusal is logged without the text, and this one has {', '.join(said)}",
            hint="log rules, names and reasons",
        )
    return canonical(
        {
            "format": FORMAT,
            "kind": kind,
            "created": datetime.now(UTC).isoformat(),
            "output": output,
            "event": plain(body),
        }
    )


def kind_of(document: Mapping[str, Any]) -> str:
    """The kind of an entry; documents of format 1 are outputs and do not say so.

    Raises:
        LedgerError: the document does not say what it is.
    """
    if document.get("format") == 1:
        return OUTPUT
    kind = document.get("kind")
    if document.get("format") != FORMAT or kind not in (OUTPUT, ERASURE, *EVENTS):
        raise LedgerError(f"an entry of kind {kind!r} cannot be read")
    return str(kind)


def without_texts(value: Any, at: str, texts: dict[str, str], name: str = "") -> Any:
    """A part of a record as its document has it.

    Args:
        at: pointer of the part. texts: gets the personal texts by their pointers.
        name: of the field that the value stands in.
    """
    if name in _PUBLIC or value == "":
        return value
    if isinstance(value, str):
        texts[at] = value
        return None
    if isinstance(value, dict):
        return {
            key: without_texts(item, f"{at}/{_escaped(key)}", texts, key)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_texts(item, f"{at}/{i}", texts) for i, item in enumerate(value)]
    return value


def _put(document: dict[str, Any], at: str, text: str) -> None:
    *steps, last = (step.replace("~1", "/").replace("~0", "~") for step in at.split("/")[1:])
    place: Any = document
    try:
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if isinstance(place, list):
            place[int(last)] = text
        else:
            place[last] = text
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise LedgerError(f"the record has no place {at!r} for a text") from error


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _commitments(document: Mapping[str, Any]) -> dict[str, str]:
    found = document.get("commitments", {})
    if not isinstance(found, dict):
        raise LedgerError(f"the commitments are not an object but a {type(found).__name__}")
    return found


def _names(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {str(key) for key in value}.union(*map(_names, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(_names, value))
    return set()

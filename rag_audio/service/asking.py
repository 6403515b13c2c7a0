"""What a job asks for, as its row holds it, and as the main path takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rag_audio.domain import GenerationRequest
from rag_audio.domain.fields import fields_of
from rag_audio.editing import Order, order_of

FileOf = Callable[[str], Path]
"""The file of an upload, by its id."""


def generation_request(asked: Mapping[str, Any], file_of: FileOf) -> GenerationRequest:
    """The request of a generation.

    Raises:
        InvalidInput: a value cannot be used.
    """
    return GenerationRequest(prompt=asked["prompt"], **request_fields(asked, file_of))


def request_fields(asked: Mapping[str, Any], file_of: FileOf) -> dict[str, Any]:
    """All fields of a :class:`GenerationRequest` but the prompt; what is not asked for is absent.

    Raises:
        InvalidInput: a value cannot be used.
    """
    return {
        name: _read(field.kind.form, asked[name], file_of)
        for name, field in fields_of(GenerationRequest).items()
        if name != "prompt" and asked.get(name) is not None
    }


def _read(form: str, value: Any, file_of: FileOf) -> Any:
    """A value as the request takes it: JSON has objects in the place of tuples."""
    if form == "file":
        return str(file_of(value))
    if form == "references":
        return [_reference(one) for one in value]
    if form == "layers":
        return [(one["layer"], one["stem"]) for one in value]
    if form == "sections":
        return [(one["stem"], one["first_bar"], one["last_bar"]) for one in value]
    return value


def _reference(asked: str | Mapping[str, Any]) -> str:
    """A stem, or a part of it, as :func:`rag_audio.controls.named_window` reads it."""
    if isinstance(asked, str):
        return asked
    start_s, duration_s = asked["start_s"], asked.get("duration_s")
    end = "" if duration_s is None else f"{start_s + duration_s:f}"
    return f"{asked['stem']}@{start_s:f}-{end}"


def edit_order(asked: Mapping[str, Any]) -> Order:
    """What is to be done in an edit.

    Raises:
        InvalidInput: the regions or lengths cannot be used.
    """
    return order_of(
        asked["kind"],
        regions=[(start, end) for start, end in asked.get("regions") or ()],
        left_s=asked.get("left_s") or 0.0,
        right_s=asked.get("right_s") or 0.0,
    )

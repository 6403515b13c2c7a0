"""What callers of the Python API pass, checked before anything is done with it.

Every function raises :class:`InvalidInput` that names the argument and quotes its value.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from pathlib import Path
from typing import Any

from rag_audio.domain import GenerationRequest, coercion
from rag_audio.errors import InvalidInput

Pair = tuple[float, float]


def path(name: str, value: object) -> Path:
    """A file or folder, from a text or a path."""
    return Path(coercion.file_name(name, value))


def output(value: object) -> Path:
    """The file that an output goes to: its name is recorded, so that it must be text."""
    named = path("out", value)
    return Path(coercion.text("out", str(named)))


def request(prompt: object, given: Mapping[str, Any]) -> GenerationRequest:
    """A request from its prompt and other fields, or a request with some of them changed."""
    _require_known(GenerationRequest, given)
    if isinstance(prompt, GenerationRequest):
        return replace(prompt, **given)
    return GenerationRequest(prompt, **given)  # type: ignore[arg-type]  # checked there


def of_edit(prompt: object, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an edit's request, each brought to its type; None stays None.

    An edit sets the request's prompt, sound and length itself, so that these are no fields of it.
    """
    coercion.text("prompt", prompt)
    _require_known(GenerationRequest, given, without=("prompt", "audio", "audio_as", "duration_s"))
    probe = request("any", {name: value for name, value in given.items() if value is not None})
    return {n: None if value is None else getattr(probe, n) for n, value in given.items()}


def filters(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a query, by names that it has."""
    _require_known(kind, given, without=("text", "audio", "like"))
    return dict(given)


def regions(value: object) -> tuple[Pair, ...]:
    """Starts and ends in seconds."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise coercion.refused("regions", value, "pairs of seconds such as [(4, 8)]")
    found = coercion.rows("regions", list(value), "pairs of seconds such as [(4, 8)]", 2)
    return tuple(
        (coercion.number("regions", start), coercion.number("regions", end)) for start, end in found
    )


def any_texts(name: str, value: object) -> tuple[str, ...]:
    """Texts from anything that yields some, or a single one."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return coercion.texts(name, value)
    return coercion.texts(name, list(value))


def optional_text(name: str, value: object) -> str | None:
    """Text, or None."""
    return None if value is None else coercion.text(name, value)


def _require_known(kind: type, given: Mapping[str, Any], without: Iterable[str] = ()) -> None:
    names = [field.name for field in fields_of(kind) if field.name not in set(without)]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else "fields: " + ", ".join(names)
            raise InvalidInput(f"there is no field {name!r}", hint=hint)

"""What is wrong with a request that does not fit the schema, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rag_audio.api.schemas import JOB_ID, WEB_URL
from rag_audio.limits import STEM_ID, shown

_SHOWN = 40
_LONG = 200
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "finite": "a finite number",
}
_PATTERNS = {
    f"^{JOB_ID}$": "be an id of 32 hexadecimal digits",
    f"^{STEM_ID}$": "be a stem's id, or its first digits",
    "^[0-9a-f]{64}$": "be a stem's id of 64 hexadecimal digits",
    WEB_URL: "begin with https:// or http://",
    "^[A-Za-z]{2}$": "be a country's code of two letters such as DE",
}
_BOUNDS = {
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
}


def faults(errors: Sequence[Mapping[str, Any]], body: Any) -> list[dict[str, str]]:
    """The faults that pydantic found, each once.

    Returns:
        Of each ``where``, a JSON pointer (RFC 6901) into the part of the request that ``in`` names
        (``body``, ``query``, ``path``, ``header``), the ``field`` on its highest level, and the
        ``message``, which names the field: "steps must be at most 1000, got 1001".

    Args:
        errors: as :meth:`fastapi.exceptions.RequestValidationError.errors` gives them.
        body: that was validated.
    """
    found: dict[tuple[Any, ...], dict[str, str]] = {}
    for error in errors:
        place, *rest = error["loc"] or ("body",)
        path = tuple(rest)
        if place == "body":
            path = tuple(_path(rest, body, is_missing=error["type"] == "missing"))
        if error["type"] == "json_invalid":
            path = ()
        name = _name(path)
        found.setdefault(
            (place, *path),
            {
                "in": str(place),
                "where": "".join(f"/{_escaped(part)}" for part in path),
                "field": str(path[0]) if path else "",
                "message": _clipped(_words(name or f"the {place}", error)),
            },
        )
    # Of several readings that a value could have had, the one counts that went furthest.
    inner = [key for key in found if any(other[: len(key)] == key != other for other in found)]
    return [fault for key, fault in found.items() if key not in inner]


def _path(parts: Sequence[Any], body: Any, *, is_missing: bool) -> Iterator[Any]:
    """The parts of a location that are keys of the body; the others name members of unions."""
    there, last = body, len(parts) - 1
    for i, part in enumerate(parts):
        is_key = isinstance(there, dict) and part in there
        is_index = isinstance(there, list) and isinstance(part, int) and part < len(there)
        if is_key or is_index:
            there = there[part]
        elif not (is_missing and i == last):
            continue
        yield part


def _name(path: Sequence[Any]) -> str:
    """``references[0].start_s``"""
    told = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return told.removeprefix(".")


def _words(name: str, error: Mapping[str, Any]) -> str:
    kind, ctx, got = str(error["type"]), error.get("ctx") or {}, _shown(error.get("input"))
    if kind in _BOUNDS:
        bound, key = _BOUNDS[kind]
        return f"{name} must be {bound} {shown(ctx[key])}, got {got}"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        return f"{name} is not a field of this request"
    if kind.endswith(("too_long", "too_short")):
        return f"{name} {_length(error['input'], ctx)}"
    if kind in ("literal_error", "enum"):
        return f"{name} must be {ctx['expected']}, got {got}"
    if kind == "string_pattern_mismatch":
        pattern = ctx["pattern"]
        return f"{name} must {_PATTERNS.get(pattern, f'match {pattern}')}, got {got}"
    if kind == "json_invalid":
        return f"the body is not JSON: {ctx.get('error', 'it cannot be read')}"
    if kind == "value_error":
        said = str(error["msg"]).removeprefix("Value error, ")
        return f"{name} {said}" if said.startswith(("must ", "holds ")) else said
    known = _KINDS.get(kind.partition("_")[0])
    if known is not None:
        return f"{name} must be {known}, got {got}"
    return f"{name}: {error['msg']}"


def _length(value: Any, ctx: Mapping[str, Any]) -> str:
    what = ("character", "characters") if isinstance(value, str) else ("entry", "entries")
    bound, most = (
        (ctx["max_length"], "most") if "max_length" in ctx else (ctx["min_length"], "least")
    )
    if most == "least" and not len(value):
        return "is empty"
    return f"must have at {most} {bound} {what[bound != 1]}, got {len(value)}"


def _shown(value: Any) -> str:
    told = repr(value) if isinstance(value, str) else _plain(value)
    return told if len(told) <= _SHOWN else f"{told[:_SHOWN]}…"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return str(value)


def _escaped(part: Any) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _clipped(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"

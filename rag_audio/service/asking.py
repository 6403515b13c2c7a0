"""What a job asks for, as its row holds it, and as the main path takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rag_audio.controls import Layer
from rag_audio.domain import Aim, AudioAs, Channel, GenerationRequest, Key, Mix
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
    readers: dict[str, Callable[[Any], Any]] = {
        "key": Key.parse,
        "audio": lambda id_: str(file_of(id_)),
        "midi": lambda id_: str(file_of(id_)),
        "audio_as": AudioAs,
        "channels": lambda names: frozenset(Channel(name) for name in names),
        "enforce": lambda names: frozenset(Aim(name) for name in names),
        "references": lambda named: tuple(map(_reference, named)),
        "mix": Mix,
        "layers": lambda layers: tuple((Layer(one["layer"]), one["stem"]) for one in layers),
        "arrange": lambda sections: tuple(
            (one["stem"], one["first_bar"], one["last_bar"]) for one in sections
        ),
    }
    plain = (
        *("negative_prompt", "artist", "audio_rights", "k", "strength", "bpm", "duration_s"),
        *("seed", "steps", "guidance", "variations", "territory", "candidates", "bars"),
        "auto_strength",
    )
    tuples = (
        *("exclude", "weights", "time_signature"),
        *("instrumentation", "mood", "midi_instruments"),
    )
    readers |= {name: (lambda value: value) for name in plain}
    readers |= dict.fromkeys(tuples, tuple)
    given = {name: asked[name] for name in readers if asked.get(name) is not None}
    return {name: readers[name](value) for name, value in given.items()}


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

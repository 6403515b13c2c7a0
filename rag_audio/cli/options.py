"""Options that several commands share, and how their text becomes domain nouns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag_audio.cli.request_options import option_of
from rag_audio.domain import Key, StemKind
from rag_audio.errors import InvalidInput
from rag_audio.provenance.causal import Method

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of index, ledger and keys (RAG_AUDIO_HOME).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Territory = Annotated[str | None, option_of("territory")]


def parse_key(text: str | None) -> Key | None:
    """``A minor`` → a key; None stays None."""
    return None if text is None else Key.parse(text)


def parse_range(text: str | None) -> tuple[float, float] | None:
    """``88-96`` or ``92`` → lowest and highest tempo.

    Raises:
        InvalidInput: it is neither.
    """
    if text is None:
        return None
    low, _, high = text.partition("-")
    try:
        found = (float(low), float(high or low))
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is not a tempo range", hint="write it like 92 or 88-96"
        ) from error
    if not 0 < found[0] <= found[1]:
        raise InvalidInput(f"the tempo range {text!r} is empty", hint="write it like 88-96")
    # A single figure means "about that".
    return (max(found[0] - 2, found[0] / 2), found[1] + 2) if not high else found


def parse_kind(text: str | None) -> StemKind | None:
    """``audio`` or ``midi``.

    Raises:
        InvalidInput: it is neither.
    """
    if text is None:
        return None
    try:
        return StemKind(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not a kind of stem", hint="audio or midi") from error


def parse_method(text: str) -> Method | None:
    """``none``, ``fast`` or ``exact``: how causal influence is measured; None for none.

    Raises:
        InvalidInput: it is none of them.
    """
    methods: dict[str, Method | None] = {"none": None, "fast": "fast", "exact": "exact"}
    if text not in methods:
        raise InvalidInput(
            f"{text!r} is not a way to measure influence", hint="none, fast or exact"
        )
    return methods[text]

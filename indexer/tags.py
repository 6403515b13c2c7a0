"""What a sound file says of itself (ID3, Vorbis comments): it fills gaps and grants nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tinytag import TinyTag, TinyTagException

from indexer.rows import parse_bpm
from rag_audio.domain import Key
from rag_audio.domain.identifiers import parse_isrc
from rag_audio.errors import InvalidInput

_MAX_TEXT = 300
# What damaged tags raise, beside the reader's own exception.
_DAMAGED = (
    TinyTagException,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class FileTags:
    """Tags of a file; what is missing, damaged or out of range is empty."""

    title: str = ""
    artist: str = ""
    bpm: float | None = None
    key: Key | None = None
    isrc: str = ""


def read_tags(path: Path) -> FileTags:
    """The tags of a sound file; damaged tags count as none."""
    try:
        tags: Any = TinyTag.get(path, duration=False)
    except _DAMAGED:
        return FileTags()
    return FileTags(
        title=_words(tags.title),
        artist=_words(tags.artist),
        bpm=_parsed(_words(tags.other.get("bpm")), parse_bpm),
        key=_parsed(_words(tags.other.get("initial_key")), Key.parse),
        isrc=_parsed(_words(tags.other.get("isrc")), parse_isrc) or "",
    )


def _words(value: object) -> str:
    """The first of several values, printable and short."""
    text = value[0] if isinstance(value, list) and value else value
    if not isinstance(text, str | int | float):
        return ""
    words = " ".join("".join(sign for sign in str(text) if sign.isprintable()).split())
    return words[:_MAX_TEXT]


def _parsed(text: str, parse: Callable[[str], _Value]) -> _Value | None:
    try:
        return parse(text) if text else None
    except InvalidInput:
        return None

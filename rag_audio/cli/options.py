"""Options that several commands share, and how their text becomes domain nouns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rag_audio.domain import Aim, AudioAs, Channel, Key, Layer, Mix, StemKind
from rag_audio.errors import InvalidInput
from rag_audio.midi import programs_of
from rag_audio.provenance.causal import Method

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of index, ledger and keys (RAG_AUDIO_HOME).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Territory = Annotated[
    str | None, typer.Option(help="Where the output is used, ISO 3166-1 code such as DE.")
]


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


def parse_channels(text: str) -> frozenset[Channel]:
    """``prompt,init`` → channels.

    Raises:
        InvalidInput: a name is neither prompt nor init.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {channel.value: channel for channel in Channel}
    for name in names:
        if name not in known:
            raise InvalidInput(f"{name!r} is not a channel", hint="channels: prompt, init")
    return frozenset(known[name] for name in names)


def parse_aims(text: str) -> frozenset[Aim]:
    """``tempo,key`` → aims; nothing → none.

    Raises:
        InvalidInput: a name is neither tempo nor key.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {aim.value: aim for aim in Aim}
    for name in names:
        if name not in known:
            raise InvalidInput(f"{name!r} cannot be enforced", hint="--enforce tempo,key")
    return frozenset(known[name] for name in names)


def parse_strength(text: str | float | None) -> float | None:
    """``0.4`` → a number; ``auto`` or nothing → None.

    Raises:
        InvalidInput: it is neither.
    """
    if text is None or text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is not a strength", hint="a number of more than 0 and at most 1, or auto"
        ) from error


def parse_mix(text: str) -> Mix:
    """``waveform`` or ``latent``.

    Raises:
        InvalidInput: it is neither.
    """
    try:
        return Mix(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not a way to mix", hint="waveform or latent") from error


def parse_audio_as(text: str | None) -> AudioAs | None:
    """``melody`` or ``search``; None stays None.

    Raises:
        InvalidInput: it is neither.
    """
    try:
        return None if text is None else AudioAs(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not a use of a sound", hint="melody or search") from error


def parse_layers(texts: Sequence[str]) -> tuple[tuple[Layer, str], ...]:
    """``drums=STEM`` → layers and stems.

    Raises:
        InvalidInput: the layer is unknown, or no stem is named.
    """
    known = {layer.value: layer for layer in Layer}
    found = []
    for text in texts:
        name, _, stem = text.partition("=")
        if name.strip() not in known or not stem.strip():
            raise InvalidInput(
                f"{text!r} is not a layer", hint="--layer drums=STEM --layer harmony=STEM"
            )
        found.append((known[name.strip()], stem.strip()))
    return tuple(found)


_SECTION = re.compile(r"\s*([^\s:,]+)\s*:\s*(\d+)\s*(?:[-–]\s*(\d+))?\s*")


def parse_arrangement(text: str) -> tuple[tuple[str, int, int], ...]:
    """``STEM:1-4,STEM:5-8`` → stems with first and last bar; ``STEM:5`` is one bar.

    Raises:
        InvalidInput: a section is written otherwise.
    """
    sections = []
    for part in text.split(",") if text.strip() else ():
        found = _SECTION.fullmatch(part)
        if found is None:
            raise InvalidInput(f"{part!r} is not a section", hint='--arrange "STEM:1-4,STEM:5-8"')
        stem, first, last = found.groups()
        sections.append((stem, int(first), int(last or first)))
    return tuple(sections)


def parse_words(text: str) -> tuple[str, ...]:
    """``calm,dusty`` → words."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parse_time_signature(text: str | None) -> tuple[int, int] | None:
    """``3/4`` → beats and unit.

    Raises:
        InvalidInput: it is not two whole numbers.
    """
    if text is None:
        return None
    beats, _, unit = text.partition("/")
    if not (beats.strip().isdecimal() and unit.strip().isdecimal()):
        raise InvalidInput(f"{text!r} is not a time signature", hint="write it like 3/4")
    return int(beats), int(unit)


def parse_instruments(text: str) -> tuple[str, ...]:
    """``Vibraphone,Acoustic Bass`` → names.

    Raises:
        InvalidInput: there is no such instrument.
    """
    names = parse_words(text)
    programs_of(names)
    return names


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


def parse_weights(text: str | None) -> tuple[float, ...] | None:
    """``2,1,1`` → numbers.

    Raises:
        InvalidInput: one is not a number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidInput(f"{text!r} are not weights", hint="write them like 2,1,1") from error


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

"""From the options of ``generate``, or a row of a batch, to a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rag_audio.cli.options import (
    parse_aims,
    parse_arrangement,
    parse_audio_as,
    parse_channels,
    parse_instruments,
    parse_key,
    parse_layers,
    parse_mix,
    parse_strength,
    parse_time_signature,
    parse_weights,
    parse_words,
)
from rag_audio.controls import DEFAULT_CANDIDATES
from rag_audio.domain import GenerationRequest
from rag_audio.errors import InvalidInput


def request_from(given: Mapping[str, Any]) -> GenerationRequest:
    """The request that the options of ``generate`` stand for.

    Raises:
        InvalidInput: a value cannot be read or is out of range.
    """
    aims = parse_aims(given["enforce"])
    if given["candidates"] is not None and not aims:
        raise InvalidInput(
            "--candidates needs --enforce",
            hint="--enforce tempo,key with --candidates, or --variations N to keep N takes",
        )
    return GenerationRequest(
        prompt=given["prompt"],
        negative_prompt=given["negative"],
        artist=given["artist"],
        references=tuple(given["reference"] or ()),
        exclude=tuple(given["exclude"] or ()),
        audio=None if given["audio"] is None else str(given["audio"]),
        midi=None if given["midi"] is None else str(given["midi"]),
        audio_rights=given["audio_rights"],
        audio_as=parse_audio_as(given["audio_as"]),
        k=given["references"],
        strength=parse_strength(given["strength"]),
        auto_strength=given["strength"] == "auto",
        bpm=given["bpm"],
        key=parse_key(given["key"]),
        duration_s=given["duration"],
        seed=given["seed"],
        steps=given["steps"],
        guidance=given["guidance"],
        variations=given["variations"],
        channels=parse_channels(given["channels"]),
        weights=parse_weights(given["weights"]),
        territory=given["territory"],
        model=given["model"],
        time_signature=parse_time_signature(given["time_signature"]),
        bars=given["bars"],
        instrumentation=parse_words(given["instrumentation"]),
        mood=parse_words(given["mood"]),
        midi_instruments=parse_instruments(given["midi_instruments"]),
        enforce=aims,
        candidates=DEFAULT_CANDIDATES if given["candidates"] is None else given["candidates"],
        mix=parse_mix(given["mix"]),
        layers=parse_layers(given["layer"] or ()),
        arrange=parse_arrangement(given["arrange"]),
        subtype=given["subtype"],
    )

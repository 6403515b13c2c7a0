"""The table of a request's fields: what is typed, sent and written means the same request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.options import fields_from, request_from
from rag_audio.domain import GenerationRequest
from rag_audio.domain.codec import decode, encode
from rag_audio.domain.fields import GROUPS, On, fields_of, settable_on
from rag_audio.errors import InvalidInput
from rag_audio.service.api.schemas import EditAsked, GenerationAsked
from rag_audio.service.jobs import generation_request

TYPED: dict[str, Any] = {
    "prompt": "slow", "negative": "loud", "artist": "Blue Hour", "reference": ["ab@4.0-12.0"],
    "exclude": ["cd"], "library": ["house"], "license": ["full"],
    "audio": Path("a.wav"), "audio_as": "melody", "midi": Path("b.mid"),
    "audio_rights": "own", "references": 2, "strength": "0.4", "bpm": 92.5, "key": "A minor",
    "time_signature": "3/4", "bars": 4, "instrumentation": "celesta, upright bass", "mood": "calm",
    "duration": None, "seed": 7, "steps": 3, "guidance": 2.0, "variations": 2, "channels": "init",
    "weights": "2,1", "territory": "DE", "enforce": "tempo,key", "candidates": 3,
    "midi_instruments": "Vibraphone", "mix": "waveform", "free_time": True, "layer": ["drums=ef"],
    "arrange": "ef:1-4,ef:5",
}  # fmt: skip
"""Every option that the API has too, as the command line gives it."""
SENT: dict[str, Any] = {
    "prompt": "slow", "negative_prompt": "loud", "artist": "Blue Hour",
    "references": [{"stem": "ab", "start_s": 4, "duration_s": 8}], "exclude": ["cd"],
    "libraries": ["house"], "licenses": ["full"], "audio": "a" * 32, "audio_as": "melody",
    "midi": "b" * 32, "audio_rights": "own", "k": 2,
    "strength": 0.4, "bpm": 92.5, "key": "A minor", "time_signature": [3, 4], "bars": 4,
    "instrumentation": ["celesta", "upright bass"], "mood": ["calm"], "seed": 7, "steps": 3,
    "guidance": 2.0, "variations": 2, "channels": ["init"], "weights": [2, 1], "territory": "DE",
    "enforce": ["tempo", "key"], "candidates": 3, "midi_instruments": ["Vibraphone"],
    "mix": "waveform", "free_time": True, "layers": [{"layer": "drums", "stem": "ef"}],
    "arrange": [{"stem": "ef", "first_bar": 1, "last_bar": 4},
                {"stem": "ef", "first_bar": 5, "last_bar": 5}],
}  # fmt: skip


def test_typed_sent_and_written_it_is_the_same_request() -> None:
    named = {"references": ["ab@4.000000-12.000000"]}
    body = GenerationAsked.model_validate(SENT).model_dump(mode="json", exclude_none=True)
    files = {"a": "a.wav", "b": "b.mid"}
    sent = generation_request(body, lambda id_: Path(files[id_[0]]))
    assert sent == request_from({**TYPED, "reference": named["references"]})
    assert decode(GenerationRequest, encode(sent)) == sent
    both = {f.option for f in settable_on(GenerationRequest, On.GENERATE) if On.GENERATIONS in f.on}
    assert set(TYPED) == both


def test_what_is_left_out_is_the_default_on_every_surface() -> None:
    plain = GenerationRequest("slow")
    assert request_from({"prompt": "slow", "channels": "prompt,init", "mood": ""}) == plain
    body = GenerationAsked(prompt="slow").model_dump(mode="json", exclude_none=True)  # type: ignore[call-arg]
    assert generation_request(body, Path) == plain
    assert fields_from({"bpm": None, "reference": None}, On.EDIT) == {}
    assert request_from({"prompt": "slow", "strength": "auto"}).auto_strength


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"channels": "smell"}, "channels must be prompt or init, got 'smell'"),
        ({"weights": "2,x"}, "weights must be numbers such as 2,1,1, got '2,x'"),
        ({"strength": "hot"}, "strength must be a number or auto, got 'hot'"),
        ({"layer": ["bass=ab"]}, "'bass=ab' is no layer"),
        ({"candidates": 3, "enforce": ""}, "--candidates needs --enforce"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(typed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        request_from({"prompt": "slow", **typed})
    assert caught.value.message == said


def test_the_table_is_whole() -> None:
    fields = fields_of(GenerationRequest)
    assert all(one.help and one.group in GROUPS for one in fields.values())
    assert {one.needs for one in fields.values()} - {""} <= set(fields)
    for surface in (On.GENERATE, On.EDIT):
        options = [one.option for one in settable_on(GenerationRequest, surface)]
        assert len(set(options)) == len(options)
    for model, surface in ((GenerationAsked, On.GENERATIONS), (EditAsked, On.EDITS)):
        known = model.model_fields
        assert {one.name for one in settable_on(GenerationRequest, surface)} <= set(known)


def test_the_row_of_a_job_sets_nothing_that_the_api_lacks() -> None:
    row = {"prompt": "slow", "model": "/somebody/elses", "subtype": "PCM_16"}
    assert generation_request(row, Path) == GenerationRequest("slow")

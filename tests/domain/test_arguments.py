"""What the Python API is given: taken for what it means, or refused in one line that names it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rag_audio
from rag_audio.domain import Aim, Audio, Channel, GenerationRequest, Key, Layer, Mix
from rag_audio.errors import InvalidInput, RagAudioError
from rag_audio.retrieval.references import ReferenceQuery, Weights
from tests.support.rights_world import World

numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([np.float32(92.5), np.int64(3), np.bool_(True), np.float64("nan"), 10**400])
)
texts = st.text(max_size=6) | st.sampled_from(
    ["A minor", "init", "prompt,init", "tempo", "latent", "melody", "own", "\ud800", "a\0b", "/"]
)
simple = st.none() | st.booleans() | numbers | texts | st.binary(max_size=4)
odd = st.sampled_from(
    [Path("a.wav"), object(), Key(9, True), Aim.TEMPO, Channel.INIT, 1j, np.ones((2, 2)),
     np.array(["a"]), Audio(np.zeros((1, 8), np.float32), 8000), Weights(), len, range(3)]
)  # fmt: skip
anything = st.one_of(
    simple,
    odd,
    st.lists(simple, max_size=3),
    st.lists(simple, max_size=3).map(tuple),
    st.lists(st.lists(simple, max_size=3).map(tuple), max_size=2),
    st.frozensets(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), simple, max_size=2),
)
REQUEST = {field.name for field in dataclasses.fields(GenerationRequest)}
QUERY = {field.name for field in dataclasses.fields(ReferenceQuery)}


def _names_the_field(error: InvalidInput, name: str) -> bool:
    known = {"k": "references", "duration_s": "duration", "audio_rights": "audio rights"}
    said = error.message.replace("_", " ")
    return name.replace("_", " ") in said or known.get(name, name) in said


@given(st.sampled_from(sorted(REQUEST)), anything)
@settings(max_examples=300)
def test_a_request_takes_a_value_for_what_it_means_or_says_what_is_wrong(
    name: str, value: object
) -> None:
    given_ = {"prompt": "warm", name: value}
    if name == "audio_as":
        given_["audio"] = "a.wav"
    try:
        made = GenerationRequest(**given_)  # type: ignore[arg-type]
    except InvalidInput as error:
        assert "\n" not in error.message
        # Where a value has the right type, what it says has a line of its own.
        well_typed = isinstance(value, str | list | tuple | frozenset) or hasattr(value, "tolist")
        assert well_typed or _names_the_field(error, name), error.message
        return
    hash(made)
    assert GenerationRequest(**{n: getattr(made, n) for n in REQUEST}) == made
    for number in (made.bpm, made.strength, made.guidance, made.duration_s):
        assert number is None or (type(number) in (int, float) and math.isfinite(number))
    for whole in (made.k, made.seed, made.steps, made.variations, made.candidates, made.bars):
        assert whole is None or type(whole) is int


@given(st.sampled_from(sorted(QUERY)), anything)
@settings(max_examples=300)
def test_a_query_does_so_too(name: str, value: object) -> None:
    try:
        ReferenceQuery(**{"text": "warm", name: value})  # type: ignore[arg-type]
    except InvalidInput as error:
        assert "\n" not in error.message


def test_lists_names_paths_and_numpy_are_taken_for_what_they_mean() -> None:
    made = GenerationRequest(
        "warm", key="A minor", channels="init", enforce=["tempo"], references="abc",  # type: ignore[arg-type]
        audio=Path("a.wav"), bpm=np.float64(92), seed=np.int64(3), weights=np.array([1.0, 2.0]),  # type: ignore[arg-type]
        mix="latent", layers=[["drums", "a"]], time_signature=[3, 4], mood=["calm"],  # type: ignore[arg-type, list-item]
    )  # fmt: skip
    assert made == GenerationRequest(
        "warm", key=Key(9, True), channels=frozenset({Channel.INIT}),
        enforce=frozenset({Aim.TEMPO}),
        references=("abc",), audio="a.wav", bpm=92.0, seed=3, weights=(1.0, 2.0), mix=Mix.LATENT,
        layers=((Layer.DRUMS, "a"),), time_signature=(3, 4), mood=("calm",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("references", 3, "references must be stem ids, got 3"),
        ("bpm", float("nan"), "bpm must be a finite number, got nan"),
        ("steps", True, "steps must be a whole number, got True"),
        ("seed", -1, "seed must be at least 0"),
        ("key", 3, "key must be a key such as 'A minor', got 3"),
        ("bars", 2.5, "bars must be a whole number, got 2.5"),
        ("channels", "smell", "channels must be prompt or init, got 'smell'"),
        ("weights", [1, "x"], "weights must be a number, got 'x'"),
    ],
)
def test_a_wrong_value_is_named_and_quoted(field: str, value: object, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        GenerationRequest("warm", **{field: value})  # type: ignore[arg-type]
    assert caught.value.message.startswith(said)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("arguments"))
    yield made
    made.workspace.close()


_WRONG = (3, b"x", ["x"], object(), None, True)
_CALLS: dict[str, Callable[[Any, Any], object]] = {
    "index library": lambda w, value: w.index(value),
    "index workers": lambda w, value: w.index(".", workers="x" if value == 3 else value),
    "search text": lambda w, value: w.search(value),
    "search like": lambda w, value: w.search("x", like=object() if value == ["x"] else value),
    "search audio": lambda w, value: w.search("", audio=value),
    "plan prompt": lambda w, value: w.plan(value),
    "plan field": lambda w, value: w.plan("x", tempo=value),
    "generate out": lambda w, value: w.generate("x", value),
    "trace path": lambda w, value: w.trace(value),
    "influence output": lambda w, value: w.influence(-1 if value == 3 or value is True else value),
    "influence method": lambda w, value: w.influence(1, value),
    "artist name": lambda w, value: w.artist(value),
    "vary file": lambda w, value: w.vary(value, "a.wav"),
    "vary field": lambda w, value: w.vary("a.wav", "b.wav", bmp=value),
    "extend left": lambda w, value: w.extend("a.wav", "x", "b.wav", left_s=[value]),
    "extend prompt": lambda w, value: w.extend("a.wav", value, "b.wav", left_s=1),
    "inpaint regions": lambda w, value: w.inpaint("a.wav", "x", "b.wav", regions=value),
    "replay plan": lambda w, value: w.replay(value, "a.wav"),
}


@pytest.mark.parametrize("call", list(_CALLS))
@pytest.mark.parametrize("value", _WRONG, ids=[type(one).__name__ for one in _WRONG])
def test_every_call_refuses_what_it_cannot_use(world: World, call: str, value: object) -> None:
    with pytest.raises(RagAudioError) as caught:
        _CALLS[call](world.workspace, value)
    assert "\n" not in caught.value.message


def test_a_field_that_is_not_there_is_told_with_the_nearest(world: World) -> None:
    with pytest.raises(InvalidInput, match="no field 'bmp'") as caught:
        world.workspace.plan("x", bmp=92)
    assert "bpm" in caught.value.hint


def test_fields_beside_a_request_change_it(world: World) -> None:
    asked = GenerationRequest("warm", seed=1, k=0)
    assert world.workspace.plan(asked, seed=7).seed == 7
    assert world.workspace.plan(asked).seed == 1


@pytest.mark.parametrize("home", [3, b"x", "", True, ["a"], "a\0b", object()])
def test_a_home_is_the_name_of_a_folder(home: object) -> None:
    with pytest.raises(InvalidInput, match="home must be"):
        rag_audio.open(home)  # type: ignore[arg-type]


def test_a_file_is_no_home(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(RagAudioError, match="file"), rag_audio.open(file) as workspace:
        workspace.home.catalogue.libraries()

"""Every bound that ``--help`` shows is the one that the code behind it keeps to."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from rag_audio.cli.app import run
from tests.support.command_tree import Given, Parameter, changed, parameters, typed, usual
from tests.support.rights_world import World
from tests.support.small_library import RATE, chords
from tests.support.whole_home import command_home

NUMBERS = [one for one in parameters() if one.is_a(int) or one.is_a(float)]
BOUNDED = [one for one in NUMBERS if one.info.min is not None or one.info.max is not None]
ONCE = list({id(one.info): one for one in BOUNDED}.values())
"""Commands that change sound share their options: one of them stands for all."""
FREE = {
    "search_--min-duration": "more than 0, which has no least number",
    "inpaint_--strength": "the same",
    "extend_--strength": "the same",
    "vary_--strength": "the same",
    "watermark_abx_--seed": "any whole number",
}
BESIDE: dict[str, Given] = {
    "generate_--candidates": [("enforce", "tempo"), ("bpm", "100")],
    "ledger_proof_--size": [("output", "1")],
}
"""What must be said beside an option."""
SAYS_BOUND = ("must be", "not in the range", "at most", "at least", "1…", "0…")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("bounds"))
    soundfile.write(made.library.parent / "sound.wav", chords(92, 220.0, 0.6), RATE)
    yield made
    made.workspace.close()


@pytest.fixture
def called(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs a command on the small home; its exit code and all that it says."""
    command_home(world, monkeypatch)

    def call(one: Parameter, value: float) -> tuple[int, str]:
        given = usual(one.command, world.library.parent)
        known = dict(given)
        given += [pair for pair in BESIDE.get(str(one), []) if pair[0] not in known]
        text = f"{value:d}" if isinstance(value, int) else repr(value)
        shutil.rmtree(world.library.parent / "kit", ignore_errors=True)
        capsys.readouterr()
        code = run(typed(one.command, changed(given, one.name, text)))
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_every_number_has_bounds_or_a_reason_to_have_none() -> None:
    unbounded = {str(one) for one in NUMBERS if one not in BOUNDED}
    assert unbounded == set(FREE)


@pytest.mark.parametrize("one", ONCE, ids=str)
def test_a_bound_in_the_help_is_kept(one: Parameter, called: Any, tmp_path: Path) -> None:
    kind = int if one.is_a(int) else float
    for bound, beyond in ((one.info.min, -math.inf), (one.info.max, math.inf)):
        if bound is None:
            continue
        step = kind(bound) + (1 if beyond > 0 else -1) * (1 if kind is int else 0.0005)
        code, said = called(one, kind(bound))
        assert "Traceback" not in said
        assert code == 0 or not any(word in said for word in SAYS_BOUND), said
        code, said = called(one, step)
        assert code == 2 and said.count("rag-audio: ") == 1, said
        assert one.flag in said or one.name in said


@pytest.mark.parametrize("one", NUMBERS, ids=str)
def test_what_is_no_number_is_one_line(
    one: Parameter, world: World, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command_home(world, monkeypatch)
    for text in ("nan", "inf", "-inf", "1e400", "0x10", "", "ten"):
        given = changed(usual(one.command, world.library.parent), one.name, text)
        assert run(typed(one.command, given)) == 2, text
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert said.err.count("rag-audio: ") == 1

"""The commands in the musician's guide exist, with the options they are given there."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from benchmarks.guide_pictures import commands
from rag_audio.cli.app import app
from rag_audio.cli.batch import COLUMNS

GUIDE = (Path(__file__).parent.parent / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", commands(GUIDE), ids=lambda a: " ".join(a)[:60])
def test_every_command_of_the_guide_can_be_parsed(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    context = command.make_context("rag-audio", rest, resilient_parsing=False)
    assert context.args == []


def test_every_column_of_a_batch_is_an_option_of_generate() -> None:
    generate = typer.main.get_command(app).commands["generate"]  # type: ignore[attr-defined]
    options = {parameter.name for parameter in generate.params}
    assert options >= COLUMNS - {"out"}


def test_every_picture_of_the_guide_is_there_and_small() -> None:
    folder = Path(__file__).parent.parent / "docs" / "pictures"
    shown = [part.split(")")[0] for part in GUIDE.split("](pictures/")[1:]]
    sizes = [(folder / name).stat().st_size for name in shown]
    assert len(sizes) == 3 and sum(sizes) < 200_000

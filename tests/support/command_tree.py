"""The command tree as tests walk it: every command, its parameters, and a way to call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from rag_audio.cli.app import COMMANDS, add_commands
from rag_audio.cli.output import holds, parameters_of


@dataclass(frozen=True)
class Parameter:
    """An option or argument of a command.

    Attributes:
        name: of the function's parameter. flag: as it is typed; empty: an argument.
    """

    command: str
    name: str
    flag: str
    kind: Any
    info: OptionInfo | ArgumentInfo

    def __str__(self) -> str:
        return f"{self.command} {self.flag or self.name}".replace(" ", "_")

    def is_a(self, kind: type) -> bool:
        return holds(self.kind, kind)


@lru_cache(maxsize=1)
def commands() -> dict[str, Callable[..., Any]]:
    """Every command by its words, such as ``ledger show``, with the function behind it."""
    whole = typer.Typer()
    for module in COMMANDS:
        add_commands(whole, module)
    return dict(_commands(whole, ""))


def _commands(group: typer.Typer, before: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    for info in group.registered_commands:
        assert info.callback is not None
        name = info.name or info.callback.__name__.replace("_", "-")
        yield f"{before}{name}", info.callback
    for child in group.registered_groups:
        inner = child.typer_instance
        assert inner is not None and child.name is not None
        called = inner.registered_callback
        if called is not None and called.callback is not None:
            yield f"{before}{child.name}", called.callback
        yield from _commands(inner, f"{before}{child.name} ")


def parameters() -> list[Parameter]:
    """Every parameter of every command."""
    return [
        Parameter(command, name, _flag(name, info), kind, info)
        for command, callback in commands().items()
        for name, (info, kind) in parameters_of(callback).items()
    ]


def _flag(name: str, info: OptionInfo | ArgumentInfo) -> str:
    if isinstance(info, ArgumentInfo):
        return ""
    # Beside Annotated, the first name stands where the default does.
    named = (info.default, *(info.param_decls or ()))
    decls = [one for one in named if isinstance(one, str) and one.startswith("--")]
    return decls[0].split("/")[0] if decls else f"--{name.replace('_', '-')}"


Given = list[tuple[str, str | None]]
"""Parameters and their values, in the order in which arguments are typed; None: a flag."""


def usual(command: str, files: Path) -> Given:
    """Values with which a command does something small; ``files``: of :func:`lay_out`."""
    sound, out = ("file", str(files / "sound.wav")), ("out_file", str(files / "made.wav"))
    edit = (("audio_rights", "own"), ("bpm", "100"))
    found: dict[str, Given] = {
        "index": [("library", str(files / "library"))],
        "search": [("text", "warm")],
        "generate": [("prompt", "warm"), ("dry_run", None)],
        "inpaint": [sound, ("prompt", "warm"), ("region", "0.1-0.3"), out, *edit],
        "extend": [sound, ("prompt", "warm"), ("by", "1"), out, *edit],
        "vary": [sound, ("prompt", "warm"), out, *edit],
        "trace": [sound],
        "influence": [("output", "1")],
        "revoke": [("license", "small/good"), ("undo", None)],
        "report": [("first", "2026-01-01"), ("last", "2026-12-31")],
        "ledger show": [("output", "1")],
        "ledger proof": [("output", "1")],
        "ledger export": [("target", str(files / "made.jsonl"))],
        "ledger erase": [("output", "1")],
        "artists show": [("name", "Copper Lantern Trio")],
        "guard": [("prompts", "warm piano")],
        "names refresh": [("files", str(files / "names.csv"))],
        "watermark embed": [
            ("source", str(files / "sound.wav")),
            ("target", str(files / "made.wav")),
            ("payload", "1"),
        ],
        "watermark detect": [sound],
        "watermark abx": [("source", str(files / "sound.wav")), ("folder", str(files / "kit"))],
        "keys import-chain": [("chain", str(files / "a.pem")), ("key", str(files / "b.pem"))],
        "keys export-root": [("target", str(files / "root.pem"))],
        "keys lost": [("purpose", "ledger")],
        "keys api-make": [("name", "studio")],
        "keys api-revoke": [("id_", "nobody")],
        "backup": [("file", str(files / "made.tar"))],
        "restore": [("file", str(files / "archive.tar")), ("home", str(files / "new-home"))],
        "demo": [("out_dir", str(files / "demo"))],
    }
    return list(found.get(command, []))


def typed(command: str, given: Given) -> list[str]:
    """A command line."""
    flags = {one.name: one.flag for one in parameters() if one.command == command}
    words = command.split()
    for name, value in given:
        words += [flags[name]] if flags[name] else []
        words += [] if value is None else [value]
    return words


def changed(given: Given, name: str, value: str) -> Given:
    """The same with another value of one parameter."""
    if name in dict(given):
        return [(one, value if one == name else old) for one, old in given]
    return [*given, (name, value)]

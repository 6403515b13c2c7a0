"""Names of files and folders on the command line: one rule for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo


def path(text: str | Path) -> Path:
    """A file or folder by its name.

    Raises:
        typer.BadParameter: it is empty, or ``-``, which elsewhere stands for the standard streams.
    """
    name = str(text)
    if not name:
        raise typer.BadParameter("an empty text names no file")
    if name == "-":
        raise typer.BadParameter(
            "standard input and output are not used for files; a file of that name is ./-"
        )
    return Path(name)


def read_paths_alike(app: typer.Typer) -> None:
    """Let every parameter of a command tree that is a path be read by :func:`path`."""
    for callback in callbacks_of(app):
        # Annotations are texts until now: evaluated anew, they would not be those that are changed.
        callback.__annotations__ = get_type_hints(callback, include_extras=True)
        for info, kind in parameters_of(callback).values():
            if holds(kind, Path):
                info.parser = path


def callbacks_of(app: typer.Typer) -> Iterator[Callable[..., Any]]:
    """The functions behind all commands of a tree."""
    if app.registered_callback is not None and app.registered_callback.callback is not None:
        yield app.registered_callback.callback
    for info in app.registered_commands:
        if info.callback is not None:
            yield info.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from callbacks_of(group.typer_instance)


def parameters_of(
    callback: Callable[..., Any],
) -> dict[str, tuple[OptionInfo | ArgumentInfo, Any]]:
    """The options and arguments of a command's function with their types, by its parameters."""
    found = {}
    for name, hint in get_type_hints(callback, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, *extras = get_args(hint)
            infos = [one for one in extras if isinstance(one, OptionInfo | ArgumentInfo)]
            if infos:
                found[name] = (infos[0], kind)
    return found


def holds(kind: Any, wanted: type) -> bool:
    """Whether a parameter's type is ``wanted``, a list of it, or either or None."""
    return kind is wanted or any(holds(part, wanted) for part in get_args(kind))

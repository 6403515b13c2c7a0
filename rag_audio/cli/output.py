"""How commands speak: one JSON document on stdout, or tables for people; progress on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer
from rich.console import Console
from typer.models import ArgumentInfo, OptionInfo

from rag_audio.errors import UNMET_EXIT, RagAudioError

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from rag_audio.domain.ports import Embedder, ModelInfo
    from rag_audio.pipeline.delivery import OnStage


MOST_LISTED = 40
"""What is printed of a list that may be long; JSON has all of it."""

_HIDDEN = (
    *range(9),
    *range(11, 32),
    *range(127, 160),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
)
_SHOWN = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _HIDDEN}


def visible(text: str) -> str:
    """A text with what steers a terminal, or turns the direction of what follows, as escapes: names
    of files are strangers' text."""
    return text.translate(_SHOWN)


class _TextConsole(Console):
    """Prints texts as :func:`visible` shows them."""

    def print(self, *objects: Any, **options: Any) -> None:
        texts = (visible(one) if isinstance(one, str) else one for one in objects)
        super().print(*texts, **options)


# Names and messages may hold square brackets, which are no markup.
err = _TextConsole(stderr=True, soft_wrap=True, highlight=False, markup=False)
# A pipe or a file has no width of its own; tables there should not be squeezed into 80 columns.
out = _TextConsole(
    soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else 140
)


@contextmanager
def silent(quiet: bool) -> Iterator[None]:
    """Print nothing for people on stdout in the block, where ``quiet``."""
    out.quiet = quiet
    try:
        yield
    finally:
        out.quiet = False


def escape_what_is_no_text() -> None:
    """Let the standard streams write names that their encoding lacks as ``\\xff``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def show_json(document: Any) -> None:
    """One JSON document on stdout; numbers that JSON lacks (nan, inf) become null.

    Names of files may hold bytes that are no text: those, and what a terminal's encoding lacks,
    are written as JSON's escapes.
    """
    from rag_audio.domain.json_documents import finite

    _write(json.dumps(finite(document), ensure_ascii=False, indent=2) + "\n")


def stream_json(members: Iterable[tuple[str, Any]]) -> None:
    """One JSON document on stdout, as :func:`show_json` writes it, of members that may be iterators
    over more than fits into memory."""
    from rag_audio.domain.json_documents import json_pieces

    for piece in json_pieces(members):
        _write(piece)


def _write(text: str) -> None:
    """Write JSON; what the encoding of stdout lacks becomes an escape, which no text outside of a
    string of JSON needs."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in text)
    sys.stdout.write(text)


def tell(document: Any, as_json: bool, *lines: str) -> None:
    """The document as JSON, or these lines for people, on stdout."""
    if as_json:
        show_json(document)
        return
    for line in lines:
        out.print(line)


def show_error(error: RagAudioError, as_json: bool) -> None:
    """One line and a hint on stderr, or the error document on stdout."""
    if as_json:
        from rag_audio.domain.json_documents import error_json

        show_json({"error": error_json(error)})
        return
    err.print(f"rag-audio: {error.message}", style="bold red")
    if error.hint:
        err.print(f"  {error.hint}")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    title: str = "",
    *,
    numbers: bool = False,
) -> None:
    """A table on stdout; cells are plain text, never markup; ``numbers`` stand on the right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left")
    for column in columns:
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text("" if cell is None else visible(str(cell))) for cell in row))
    out.print(made)


def list_conflicts(conflicts: Sequence[dict[str, Any]]) -> None:
    """Bytes that several licenses or artists claim, as :func:`.conflicts_json` writes them."""
    from rag_audio.domain.conflict_documents import conflict_lines

    if conflicts:
        out.print("the same bytes under several licenses or artists:")
    for conflict in conflicts[:MOST_LISTED]:
        out.print("\n".join(conflict_lines(conflict)))
    say_more(len(conflicts))


_APART = 3
"""So many paths of which the same is said have a line each; more are one line."""


def list_findings(title: str, said: str, findings: Iterable[tuple[str, str]]) -> None:
    """A table of paths and what is said of each, where there are any.

    Args:
        said: the title of the second column.
    """
    rows = grouped(findings)
    if rows:
        table(("path", said), rows[:MOST_LISTED], title=title)
        say_more(len(rows))


def grouped(findings: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Paths and texts, in their order; where more than three paths have the same text, they are
    one line that names the first."""
    paths: dict[str, list[str]] = {}
    for path, text in findings:
        paths.setdefault(text, []).append(path)
    rows = []
    for text, of in paths.items():
        if len(of) > _APART:
            rows.append((of[0], f"{of[0]} and {len(of) - 1} more", text))
        else:
            rows += [(path, path, text) for path in of]
    return [(shown, text) for _, shown, text in sorted(rows, key=lambda row: row[0])]


def say_more(count: int) -> None:
    """How many of a list are not shown."""
    if count > MOST_LISTED:
        out.print(f"… and {count - MOST_LISTED} more; --json lists them all")


def warn_untrained(model: ModelInfo | Embedder) -> None:
    """Say that a model's weights are random."""
    if model.untrained:
        err.print(
            f"note: {model.name} is untrained: it shows that everything works and makes no sense "
            "of sound; set RAG_AUDIO_MODEL and RAG_AUDIO_EMBEDDER to trained checkpoints",
            style="yellow",
        )


def say_unmet(files: Sequence[str], best_effort: bool) -> None:
    """Say on stderr which files do not keep to what was enforced, and end so.

    Raises:
        typer.Exit: code 5, unless the best is good enough.
    """
    said = f"what was enforced is not met by {', '.join(files)}; delivered, and marked so"
    err.print(f"rag-audio: {said}", style="bold")
    if not best_effort:
        hint = "more --candidates or another --seed may meet it; --best-effort exits with 0"
        err.print(f"  {hint}")
        raise typer.Exit(UNMET_EXIT)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """The description of a task and these columns, on stderr, where that is a terminal."""
    from rich.progress import Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        *columns,
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


@contextmanager
def stages() -> Iterator[OnStage]:
    """A progress bar per stage on stderr, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

    names = {
        "retrieve": "finding licensed references",
        "generate": "denoising",
        "write": "marking, logging",
        "influence": "leaving sources out",
    }
    progress = progress_bar(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, Any] = {}
    with progress:

        def on_stage(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(names.get(stage, stage), total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield on_stage


@contextmanager
def busy(what: str) -> Iterator[None]:
    """What is done and for how long by now, on stderr, where that is a terminal."""
    from rich.progress import SpinnerColumn, TimeElapsedColumn

    with progress_bar(SpinnerColumn(), TimeElapsedColumn()) as progress:
        progress.add_task(what, total=None)
        yield


def percent(share: float | None) -> str:
    """``0.256`` → ``25.6 %``; None → a dash."""
    return "–" if share is None else f"{100 * share:.1f} %"


# Names of files and folders on the command line: one rule for all of them.


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

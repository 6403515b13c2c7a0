"""How commands speak: one JSON document on stdout, or tables for people; progress on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from rag_audio.errors import UNMET_EXIT, RagAudioError

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

    from rag_audio.pipeline import OnStage

# Names and messages may hold square brackets, which are no markup.
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
# A pipe or a file has no width of its own; tables there should not be squeezed into 80 columns.
out = Console(
    soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else 140
)


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
    from rag_audio.documents import finite

    text = json.dumps(finite(document), ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(finite(document), ensure_ascii=True, indent=2)
    sys.stdout.write(text + "\n")


def show_error(error: RagAudioError, as_json: bool) -> None:
    """One line and a hint on stderr, or the error document on stdout."""
    if as_json:
        from rag_audio.documents import error_json

        show_json({"error": error_json(error)})
        return
    err.print(f"rag-audio: {error.message}", style="bold red")
    if error.hint:
        err.print(f"  {error.hint}")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table on stdout; cells are plain text, never markup."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left")
    for column in columns:
        made.add_column(column)
    for row in rows:
        made.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    out.print(made)


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

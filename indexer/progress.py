"""How far the indexer is, for people: a bar with rate and time left, and a table at the end."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from indexer.report import IndexReport
from rag_audio.domain.views import conflict_lines

_SHOWN = 40


class FileOutcome(StrEnum):
    """What became of a file."""

    INDEXED = "indexed"
    SKIPPED = "skipped"
    UPDATED = "updated"
    REJECTED = "rejected"


class IndexProgress(Protocol):
    """Told by the indexer how far it is; calls come from one thread."""

    def started(self, files: int, skipped: int) -> None:
        """The library is scanned: so many files have a license, so many of them did not change."""
        ...

    def advanced(self, path: str, outcome: FileOutcome) -> None:
        """One file that was not skipped at once is done."""
        ...


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("– files/s" if speed is None else f"{speed:.1f} files/s")


class RichProgress:
    """A progress bar on stderr: files done, files per second, time left.

    Args:
        quiet: show nothing; nor is anything shown where stderr is no terminal.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[path]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("indexing", total=None, path="")

    def __enter__(self) -> RichProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, files: int, skipped: int) -> None:
        """Files that did not change are not part of the rate."""
        self._bar.reset(self._task, total=files - skipped, path="")

    def advanced(self, path: str, outcome: FileOutcome) -> None:
        """Move on by one file."""
        self._bar.update(self._task, advance=1, path=f"{outcome.value} {path}")


def summary_table(report: IndexReport, console: Console | None = None) -> None:
    """Print what was done, and what was left out and why, to stdout."""
    out = console or Console()
    counts = Table(title=f"indexed in {report.seconds:.1f} s", title_justify="left")
    row = {
        "indexed": report.indexed,
        "skipped": report.skipped,
        "updated": report.updated,
        "pruned": report.pruned,
        "rejected": len(report.rejected),
        "segments": report.segments,
    }
    for name in row:
        counts.add_column(name, justify="right")
    counts.add_row(*(str(count) for count in row.values()))
    out.print(counts)
    if report.landmarked:
        out.print(
            f"{report.landmarked} unchanged files were heard again, so that they are recognised in "
            "foreign sound"
        )
    if report.conflicts:
        out.print("the same bytes under several licenses or artists:")
        for conflict in report.conflicts[:_SHOWN]:
            out.print(Text("\n".join(conflict_lines(conflict))), soft_wrap=True)
        if len(report.conflicts) > _SHOWN:
            out.print(f"… and {len(report.conflicts) - _SHOWN} more; --json lists them all")
    if not report.rejected:
        return
    table = Table(title="not indexed", title_justify="left")
    table.add_column("path", overflow="fold")
    table.add_column("reason", overflow="fold")
    for item in report.rejected[:_SHOWN]:
        table.add_row(Text(item.path), Text(item.reason))
    out.print(table)
    if len(report.rejected) > _SHOWN:
        out.print(f"… and {len(report.rejected) - _SHOWN} more; --json lists them all")

"""``index``, ``search``: bring a licensed library in, and find things in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rag_audio.cli.options import Home, Json, Territory, parse_range
from rag_audio.cli.output import (
    busy,
    err,
    list_conflicts,
    list_findings,
    out,
    progress_bar,
    show_json,
    table,
    visible,
    warn_untrained,
)
from rag_audio.domain import Key, Reference, SampleType, Stem, StemKind, limits
from rag_audio.domain.json_documents import reference_json
from rag_audio.domain.stems import AnalysisScope, EngineName, Refresh
from rag_audio.errors import InvalidInput
from rag_audio.pipeline.workspace import Workspace, open_workspace
from rag_audio.retrieval.fit import is_any_fitting

if TYPE_CHECKING:
    from indexer.report import FileOutcome, IndexReport

_DERIVED = 3
"""So many derived tags of a stem are printed."""


def index(
    library: Annotated[
        str | None, typer.Argument(help="Folder or URL with library.toml and stems.csv.")
    ] = None,
    prune: Annotated[bool, typer.Option(help="Forget files that are gone.")] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=limits.WORKERS.high, help="Processes that decode, measure and embed."
        ),
    ] = 1,
    rebuild: Annotated[
        bool, typer.Option(help="Start the embedded index anew (after a change of embedder).")
    ] = False,
    refresh: Annotated[
        Refresh | None,
        typer.Option(
            help="Measure anew, without embedding, what an older release or --analysis none did."
        ),
    ] = None,
    analysis: Annotated[
        AnalysisScope,
        typer.Option(help="Estimate tempo, key and sample type where nobody declared them."),
    ] = AnalysisScope.FULL,
    engine: Annotated[
        EngineName,
        typer.Option(help="Processes of this machine, or the Ray cluster of RAY_ADDRESS."),
    ] = EngineName.LOCAL,
    join: Annotated[
        bool, typer.Option(help="Share the work of a process that is indexing this library.")
    ] = False,
    space: Annotated[
        str | None,
        typer.Option(help="Embed all stems with this embedder as well; searches go on."),
    ] = None,
    switch: Annotated[bool, typer.Option(help="Then let searches use it.")] = False,
    incomplete: Annotated[
        bool, typer.Option(help="Switch although stems could not be embedded.")
    ] = False,
    roll_back: Annotated[
        bool, typer.Option("--roll-back", help="Use the embedding space before the last switch.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Index a licensed library: every file under a valid license, embedded and searchable.

    With --space, all stems of all libraries are embedded with another embedder; with --roll-back,
    searches use the embeddings of before. Neither takes a LIBRARY.

    The exit code is 2 where nothing could be indexed because licenses are faulty.
    """
    _check_spaces(library, space, roll_back=roll_back, switch=switch, incomplete=incomplete)
    if library is None:
        _check_no_library_is_meant(
            {
                "--prune": prune,
                "--rebuild": rebuild,
                "--refresh": refresh is not None,
                "--analysis": analysis is not AnalysisScope.FULL,
                "--engine": engine is not EngineName.LOCAL,
                "--join": join,
            }
        )
    with open_workspace(home) as workspace:
        if roll_back:
            _roll_back(workspace, as_json=as_json)
            return
        if library is None:
            _embed_anew(workspace, str(space), switch, incomplete, workers, as_json=as_json)
            return
        if rebuild:
            workspace.home.remove_index()
        embedder = workspace.home.embedder
        warn_untrained(embedder)
        with indexing_bar() as progress:
            report = workspace.index(
                library,
                prune=prune,
                workers=workers,
                progress=progress,
                refresh=refresh,
                building=progress.building,
                analysis=analysis,
                engine=engine,
                join=join,
            )
        if as_json:
            show_json({**report.to_json(), "untrained": embedder.untrained})
        else:
            show_report(report)
            show_refresh(report, asked=refresh is not None)
    if report.alteration:
        err.print(f"rag-audio: {report.alteration}", style="bold red")
    if report.is_unlicensed:
        err.print(
            f"rag-audio: nothing was indexed: the licenses of {report.misdeclared} files are "
            "faulty; the report says how",
            style="bold red",
        )
        raise typer.Exit(InvalidInput.exit_code)


def _check_spaces(
    library: str | None, space: str | None, *, roll_back: bool, switch: bool, incomplete: bool
) -> None:
    """Refuse what does not go together.

    Raises:
        InvalidInput: something does not.
    """
    if [library is not None, space is not None, roll_back].count(True) != 1:
        raise InvalidInput(
            "name one of LIBRARY, --space EMBEDDER and --roll-back",
            hint="rag-audio index LIBRARY brings a library in",
        )
    if (switch and space is None) or (incomplete and not switch):
        asked = "--switch needs --space EMBEDDER" if switch else "--incomplete needs --switch"
        raise InvalidInput(asked)


def _check_no_library_is_meant(asked: Mapping[str, bool]) -> None:
    """Refuse options that say how one library is indexed.

    Args:
        asked: by name, whether they were given.

    Raises:
        InvalidInput: one of them was.
    """
    given = [name for name, is_given in asked.items() if is_given]
    if given:
        raise InvalidInput(
            f"{', '.join(given)}: only for the indexing of a LIBRARY",
            hint="embed with --space EMBEDDER, --switch, --incomplete and --workers alone",
        )


def _embed_anew(
    workspace: Workspace,
    space: str,
    switch: bool,
    incomplete: bool,
    workers: int,
    *,
    as_json: bool,
) -> None:
    with indexing_bar("embedding") as progress:
        report = workspace.embed_anew(
            space,
            switch=switch,
            incomplete=incomplete,
            workers=workers,
            progress=progress,
            building=progress.building,
        )
    if as_json:
        show_json(report.to_json())
        return
    counts = {
        "embedded": report.embedded,
        "there before": report.skipped,
        "updated": report.updated,
        "rejected": len(report.rejected),
        "segments": report.segments,
    }
    title = f"embedding space {report.space}, in {report.seconds:.1f} s"
    table(tuple(counts), [tuple(counts.values())], title, numbers=True)
    list_findings("not embedded", "reason", ((one.path, one.reason) for one in report.rejected))
    for notice in report.notices:
        err.print(notice)
    if not report.switched:
        out.print("searches stay in the space in use; --switch lets them use this one")
        return
    out.print(
        "searches use it in every process that starts from now on; one that runs stays in the "
        "space before until it is started anew. rag-audio index --roll-back goes back"
    )
    _say_setting(workspace, space)


def _say_setting(workspace: Workspace, space: str | None) -> None:
    """A setting keeps its word: whoever changed the embedder by one has to change that, too."""
    settings = workspace.settings
    if settings.embedder and settings.embedder != space:
        named = "another embedder" if space is None else f"not {space}"
        err.print(
            f"rag-audio: {settings.origin_of('embedder')} names {settings.embedder}: change or "
            f"remove it where that is {named}, or the home is searched in its space",
            style="bold",
        )


def _roll_back(workspace: Workspace, *, as_json: bool) -> None:
    space, notices = workspace.switch_back()
    if as_json:
        show_json({"space": space, "switched": True, "notices": notices})
        return
    for notice in notices:
        err.print(notice)
    out.print(
        f"searches use embedding space {space} in every process that starts from now on; index "
        "again what was indexed since the switch"
    )
    _say_setting(workspace, None)


@contextmanager
def indexing_bar(doing: str = "indexing") -> Iterator[IndexingBar]:
    """Files done, files per second and time left, on stderr, where that is a terminal."""
    last = TextColumn("{task.fields[path]}", markup=False)  # names may hold brackets
    with progress_bar(
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        last,
    ) as bar:
        yield IndexingBar(bar, bar.add_task(doing, total=None, path=""))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("– files/s" if speed is None else f"{speed:.1f} files/s")


@dataclass(frozen=True)
class IndexingBar:
    """A bar as the indexer's :class:`.IndexProgress`."""

    bar: Progress
    task: TaskID

    def started(self, files: int, skipped: int) -> None:
        """Files that did not change are not part of the rate."""
        self.bar.reset(self.task, total=files - skipped, path="")

    def advanced(self, path: str, outcome: FileOutcome) -> None:
        """Move on by one file."""
        self.bar.update(self.task, advance=1, path=visible(f"{outcome.value} {path}"))

    def building(self, done: int, total: int) -> None:
        """So many segments are built into what searches go through."""
        self.bar.update(
            self.task, description="building", completed=done, total=total, path="segments"
        )


def show_report(report: IndexReport) -> None:
    """What was done, and what was left out and why."""
    counts = {
        "indexed": report.indexed,
        "skipped": report.skipped,
        "updated": report.updated,
        "pruned": report.pruned,
        "noticed": len({one.path for one in report.noticed}),
        "rejected": len(report.rejected),
        "segments": report.segments,
    }
    title = f"indexed in {report.seconds:.1f} s"
    table(tuple(counts), [tuple(counts.values())], title, numbers=True)
    if report.landmarked:
        out.print(
            f"{report.landmarked} unchanged files were heard again, so that they are recognised in "
            "foreign sound"
        )
    list_conflicts(report.conflicts)
    list_findings("not indexed", "reason", ((one.path, one.reason) for one in report.rejected))
    list_findings("noticed", "notice", ((one.path, one.text) for one in report.noticed))
    for line in report.passed_over:
        out.print(line)


def show_refresh(report: IndexReport, *, asked: bool) -> None:
    """What was measured anew, or would be if somebody asked for it."""
    if asked and not report.refreshed and not report.outdated:
        out.print("every stem was measured by this release: there was nothing to refresh")
    elif asked:
        out.print(f"{report.refreshed} unchanged files were measured anew, none embedded again")
    elif report.outdated:
        out.print(
            f"{report.outdated} stems were measured by an older release or with --analysis none; "
            "index the library with --refresh analysis to measure them anew, without embedding them"
        )


def search(
    text: Annotated[str, typer.Argument(help="What it should sound like.")] = "",
    audio: Annotated[Path | None, typer.Option(help="Find what sounds like this file.")] = None,
    midi: Annotated[Path | None, typer.Option(help="Find what sounds like this score.")] = None,
    like: Annotated[list[str] | None, typer.Option(help="Find more like this stem.")] = None,
    artist: Annotated[str | None, typer.Option(help="Only this artist.")] = None,
    library: Annotated[list[str] | None, typer.Option(help="Only in this library.")] = None,
    license: Annotated[
        list[str] | None, typer.Option(help="Only under this license: LIBRARY/LICENSE.")
    ] = None,
    bpm: Annotated[str | None, typer.Option(help="Tempo, such as 92 or 88-96.")] = None,
    octaves: Annotated[bool, typer.Option(help="Half and double time count too.")] = True,
    key: Annotated[str | None, typer.Option(help="Such as 'A minor'.")] = None,
    fifths: Annotated[bool, typer.Option(help="Neighbouring keys count too.")] = False,
    kind: Annotated[StemKind | None, typer.Option(help="Only such stems.")] = None,
    sample_type: Annotated[
        list[SampleType] | None, typer.Option(help="Only such, of those that were measured.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with one of these tags.")] = None,
    min_duration: Annotated[
        float | None, typer.Option(help="Seconds at least, more than 0.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Not this stem.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=limits.FOUND.high, help="References at most.")
    ] = 10,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Find licensed references by words, sound, score, stem or artist, or any mix of them."""
    filters: dict[str, Any] = {
        "artist": artist,
        "libraries": tuple(library or ()),
        "licenses": tuple(license or ()),
        "bpm": parse_range(bpm),
        "octaves": octaves,
        "key": None if key is None else Key.parse(key),
        "fifths": fifths,
        "kind": kind,
        "sample_types": tuple(sample_type or ()),
        "tags": tuple(tag or ()),
        "min_duration_s": min_duration,
        "k": limit,
    }
    with open_workspace(home, territory=territory) as workspace:
        filters["exclude"] = _ids(workspace, exclude)
        embedder = workspace.home.embedder
        warn_untrained(embedder)
        with busy("searching"):
            found = workspace.search(text, audio=audio, midi=midi, like=like or (), **filters)
        notes = workspace.pipeline.search_notes(found, artist)
        brought = audio or midi
        if as_json:
            show_json(
                {
                    "references": [reference_json(reference) for reference in found],
                    "fits": is_any_fitting(found),
                    "untrained": embedder.untrained,
                    "notes": notes,
                    "notices": list(workspace.home.reader.notices(brought)) if brought else [],
                }
            )
            return
        show_references(found)
        for note in notes:
            err.print(note)


def _ids(workspace: Workspace, prefixes: list[str] | None) -> tuple[str, ...]:
    return tuple(workspace.home.catalogue.stem(prefix).id for prefix in prefixes or ())


def show_references(found: tuple[Reference, ...]) -> None:
    """A table of references, or a line that says there are none."""
    if not found:
        err.print("nothing licensed matches")
        return
    by_words = all(r.fit is not None for r in found)
    columns = ("#", "fit" if by_words else "score", "title", "artist", "type", "at", "bpm", "key")
    derived = ("derived tags",) if any(r.stem.derived_tags for r in found) else ()
    table(
        (*columns, *derived, "license", "stem"),
        [
            (
                r.rank,
                f"{r.fit:.2f}" if by_words else f"{r.score:.3f}",
                r.stem.title or r.stem.path,
                r.stem.artist,
                (r.stem.sample_type or r.stem.kind).value,
                f"{r.segment.start_s:.1f} s",
                "" if r.stem.bpm is None else f"{r.stem.bpm:.0f}",
                r.stem.key or "",
                *[_derived_tags(r.stem) for _ in derived],
                r.stem.license,
                r.stem.id[:12],
            )
            for r in found
        ],
    )


def _derived_tags(stem: Stem) -> str:
    """The surest ones, marked as heard by the embedder."""
    return ", ".join(f"~{one.text} {one.confidence:.2f}" for one in stem.derived_tags[:_DERIVED])

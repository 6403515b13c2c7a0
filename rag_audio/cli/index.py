"""``index``, ``search``: bring a licensed library in, and find things in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rag_audio.cli.options import Home, Json, Territory, parse_key, parse_kind, parse_range
from rag_audio.cli.output import busy, err, show_json, table
from rag_audio.domain import Reference, limits
from rag_audio.domain.views import reference_json
from rag_audio.errors import InvalidInput
from rag_audio.pipeline.workspace import Workspace, open_workspace


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("index")(index)
    app.command("search")(search)


def warn_untrained(name: str, untrained: bool) -> None:
    """Say once that a model's weights are random."""
    if untrained:
        err.print(
            f"note: {name} is untrained: it shows that everything works and makes no sense of "
            "sound; set RAG_AUDIO_MODEL and RAG_AUDIO_EMBEDDER to trained checkpoints",
            style="yellow",
        )


def index(
    library: Annotated[Path, typer.Argument(help="Folder with library.toml and stems.csv.")],
    prune: Annotated[bool, typer.Option(help="Forget files that are gone.")] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=limits.WORKERS.high, help="Decoding processes.")
    ] = 1,
    rebuild: Annotated[
        bool, typer.Option(help="Start the embedded index anew (after a change of embedder).")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Index a licensed library: every file under a valid license, embedded and searchable.

    The exit code is 2 where nothing could be indexed because licenses are faulty.
    """
    from indexer.progress import RichProgress, summary_table

    with open_workspace(home) as workspace:
        if rebuild:
            workspace.home.remove_index()
        embedder = workspace.home.embedder
        warn_untrained(embedder.name, embedder.untrained)
        with RichProgress() as progress:
            report = workspace.index(library, prune=prune, workers=workers, progress=progress)
        if as_json:
            show_json({**report.to_json(), "untrained": embedder.untrained})
        else:
            summary_table(report)
    if report.alteration:
        err.print(f"rag-audio: {report.alteration}", style="bold red")
    if report.is_unlicensed:
        err.print(
            f"rag-audio: nothing was indexed: the licenses of {report.misdeclared} files are "
            "faulty; the report says how",
            style="bold red",
        )
        raise typer.Exit(InvalidInput.exit_code)


def search(
    text: Annotated[str, typer.Argument(help="What it should sound like.")] = "",
    audio: Annotated[Path | None, typer.Option(help="Find what sounds like this file.")] = None,
    midi: Annotated[Path | None, typer.Option(help="Find what sounds like this score.")] = None,
    like: Annotated[list[str] | None, typer.Option(help="Find more like this stem.")] = None,
    artist: Annotated[str | None, typer.Option(help="Only this artist.")] = None,
    bpm: Annotated[str | None, typer.Option(help="Tempo, such as 92 or 88-96.")] = None,
    octaves: Annotated[bool, typer.Option(help="Half and double time count too.")] = True,
    key: Annotated[str | None, typer.Option(help="Such as 'A minor'.")] = None,
    fifths: Annotated[bool, typer.Option(help="Neighbouring keys count too.")] = False,
    kind: Annotated[str | None, typer.Option(help="audio or midi.")] = None,
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
        "bpm": parse_range(bpm),
        "octaves": octaves,
        "key": parse_key(key),
        "fifths": fifths,
        "kind": parse_kind(kind),
        "tags": tuple(tag or ()),
        "min_duration_s": min_duration,
        "k": limit,
    }
    with open_workspace(home, territory=territory) as workspace:
        filters["exclude"] = _ids(workspace, exclude)
        embedder = workspace.home.embedder
        warn_untrained(embedder.name, embedder.untrained)
        with busy("searching"):
            found = workspace.search(text, audio=audio, midi=midi, like=like or (), **filters)
        notes = [] if found else workspace.pipeline.why_nothing(filters["artist"])
        if as_json:
            show_json(
                {
                    "references": [reference_json(reference) for reference in found],
                    "untrained": embedder.untrained,
                    "notes": notes,
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
    table(
        ("#", "score", "title", "artist", "kind", "at", "bpm", "key", "license", "stem"),
        [
            (
                r.rank,
                f"{r.score:.3f}",
                r.stem.title or r.stem.path,
                r.stem.artist,
                r.stem.kind.value,
                f"{r.segment.start_s:.1f} s",
                "" if r.stem.bpm is None else f"{r.stem.bpm:.0f}",
                r.stem.key or "",
                r.stem.license,
                r.stem.id[:12],
            )
            for r in found
        ],
    )

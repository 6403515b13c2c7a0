"""``names`` and ``names refresh FILE…``: the lists of protected names, and a new one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn

from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import out, progress_bar, show_json, table
from rag_audio.domain.fields import words
from rag_audio.errors import InvalidInput
from rag_audio.guardrails import load_imported, load_roster, read_artists
from rag_audio.guardrails.name_import import FILE, OnProgress, Progress, import_names
from rag_audio.guardrails.name_sources import ALL_KINDS, USUAL_KINDS, Choice
from rag_audio.settings import read_settings

names = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@names.callback()
def show(ctx: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """Show which lists of protected names the guardrails use, and where they come from."""
    if ctx.invoked_subcommand is not None:
        return
    settings = read_settings(home=home)
    shipped = load_roster(None)
    own = settings.policy or settings.home / "policy.csv"
    listed = len(read_artists(own)) if settings.policy or own.is_file() else None
    imported = load_imported(settings.home)
    if as_json:
        show_json(
            {
                "shipped": {"artists": len(shipped.artists), "songs": len(shipped.songs)},
                "policy": None if listed is None else {"file": str(own), "artists": listed},
                "imported": None
                if imported is None
                else {"file": str(settings.home / FILE), **imported.about.to_json()},
            }
        )
        return
    rows: list[tuple[object, ...]] = [("shipped", len(shipped.artists), "", "")]
    if listed is not None:
        rows.append(("policy", listed, "", str(own)))
    if imported is not None:
        about = imported.about
        rows += [
            ("imported", about.artists, about.made, f"{one['name']} {one['sha256'][:16]}")
            for one in about.sources
        ]
    table(("list", "names", "made", "from"), rows)


@names.command()
def refresh(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="MusicBrainz's mbdump.tar.bz2, artist.tar.xz, or the tables, JSON lines or folder "
            "of either; or CSV with a column 'name'."
        ),
    ],
    kinds: Annotated[
        str, typer.Option("--kinds", help=f"Who is taken, some of {','.join(ALL_KINDS)}.")
    ] = ",".join(USUAL_KINDS),
    died_from: Annotated[
        int | None,
        typer.Option(
            "--died-from",
            min=0,
            max=9999,
            help="Leave out who died before that year (default: 70 years ago).",
            show_default=False,
        ),
    ] = None,
    min_aliases: Annotated[
        int, typer.Option("--min-aliases", min=0, help="Take artists with so many aliases.")
    ] = 0,
    min_ratings: Annotated[
        int, typer.Option("--min-ratings", min=0, help="Take artists that so many people rated.")
    ] = 0,
    min_tags: Annotated[
        int, typer.Option("--min-tags", min=0, help="Take artists with so many tags.")
    ] = 0,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            help="Take only so many: those with most ratings, tags and aliases.",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Replace the imported names of the home by those of a dump; the old ones stay until then."""
    wanted = words("kinds", kinds)
    for kind in wanted:
        if kind not in ALL_KINDS:
            raise InvalidInput(
                f"--kinds: {kind!r} is not a kind of artist", hint=", ".join(ALL_KINDS)
            )
    if not wanted:
        raise InvalidInput("--kinds names nobody", hint=", ".join(ALL_KINDS))
    choice = Choice(wanted, died_from, min_aliases, min_ratings, min_tags, limit or 0)
    target = read_settings(home=home).home / FILE
    began = time.monotonic()
    with _progress() as on_progress:
        made = import_names(files, target, choice, on_progress)
    document = {"file": str(target), **made.to_json()}
    if as_json:
        show_json({**document, "seconds": round(time.monotonic() - began, 2)})
        return
    if made.left_out:
        table(
            ("left out", "because"),
            [(count, reason) for reason, count in made.left_out.items()],
        )
    out.print(
        f"{made.artists} artist(s) in {made.forms} spelling(s) are protected in {target}; a "
        "running service takes them up when it starts anew"
    )


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """How much of the files was read, on stderr, where that is a terminal."""
    rows = TextColumn("{task.fields[rows]} rows")
    with progress_bar(BarColumn(), DownloadColumn(), rows, TimeElapsedColumn()) as bars:
        task: Any = bars.add_task("reading", total=None, rows=0)

        def on_progress(far: Progress) -> None:
            bars.update(
                task,
                completed=far.read,
                total=far.size,
                rows=far.rows,
                description="reading" if far.read < far.size else "choosing",
            )

        yield on_progress

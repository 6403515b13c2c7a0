"""``artists`` and ``artists show NAME``: whose style may be asked for, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from rag_audio.cli.library import artists as list_artists
from rag_audio.cli.options import Home, Json, Territory
from rag_audio.cli.output import out, show_json, table
from rag_audio.pipeline.workspace import open_workspace
from rag_audio.retrieval.profiles import ArtistProfile, profile_png

_MOST = 8


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(invoke_without_command=True, no_args_is_help=False)
    group.callback()(artists)
    group.command("show")(show)
    app.add_typer(group, name="artists")


def artists(
    ctx: typer.Context, territory: Territory = None, home: Home = None, as_json: Json = False
) -> None:
    """List the artists of the library and whether their style may be asked for."""
    if ctx.invoked_subcommand is None:
        list_artists(territory, home, as_json)


def show(
    name: Annotated[str, typer.Argument(help="A licensed artist.")],
    plot: Annotated[Path | None, typer.Option(help="Draw it into this PNG.")] = None,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What is typical of an artist, from the stems that are licensed for style here and now."""
    with open_workspace(home, territory=territory) as workspace:
        profile = workspace.artist(name)
    if plot is not None:
        profile_png(profile, plot)
    if as_json:
        show_json({**profile.to_json(), "plot": None if plot is None else str(plot)})
        return
    _show(profile)


def _show(profile: ArtistProfile) -> None:
    document = profile.to_json()
    tempo, quartiles = document["bpm"]["median"], document["bpm"]["quartiles"]
    said = "none is known" if tempo is None else f"{tempo:g} bpm"
    if quartiles is not None and quartiles[0] != quartiles[1]:
        said += f", half of them {quartiles[0]:g}–{quartiles[1]:g}"
    out.print(
        f"{profile.artist}: {len(profile.stems)} stems under {', '.join(document['licenses'])}, "
        f"{len(profile.owners)} segments"
    )
    out.print(f"tempo        {said}")
    for title, counted in (
        ("keys", profile.keys), ("tags", profile.tags), ("instruments", profile.instruments)
    ):  # fmt: skip
        out.print(f"{title:<12} {_counts(counted) or '–'}")
    out.print(f"spread       {profile.spread:.2f} (0: all stems sound alike)")
    ranked = sorted(
        zip(profile.typicality(), profile.stems, strict=True), key=lambda pair: -pair[0]
    )
    table(
        ("stem", "title", "kind", "license", "typical"),
        [(s.id[:12], s.title or s.path, s.kind.value, s.license, f"{t:.2f}") for t, s in ranked],
    )


def _counts(counted: Mapping[str, int]) -> str:
    shown = [f"{name} ({number})" for name, number in list(counted.items())[:_MOST]]
    more = len(counted) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")

"""``library``, ``artists``, ``doctor``: look around; ``library init`` and ``check`` a folder."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from rag_audio import __version__, plugins
from rag_audio.audio import ffmpeg
from rag_audio.cli.library_folder import check, init
from rag_audio.cli.options import Home, Json, Territory
from rag_audio.cli.output import busy, err, list_conflicts, out, show_json, table
from rag_audio.domain.conflict_documents import conflicts_json
from rag_audio.domain.json_documents import artists_json, licenses_json, not_indexed_json
from rag_audio.errors import InvalidInput, RagAudioError
from rag_audio.home import Home as OpenedHome
from rag_audio.home import open_home
from rag_audio.pipeline.workspace import open_workspace
from rag_audio.plugins import Plugin
from rag_audio.retrieval.profiles import ArtistProfile
from rag_audio.settings import shown

_COUNTED = 8
"""So many keys, tags or instruments of an artist are printed."""


library = typer.Typer(invoke_without_command=True, no_args_is_help=False)
library.command()(init)
library.command()(check)


@library.callback()
def list_libraries(
    ctx: typer.Context, territory: Territory = None, home: Home = None, as_json: Json = False
) -> None:
    """Show the indexed libraries, their licenses and what each grants today."""
    if ctx.invoked_subcommand is not None:
        return
    with open_home(home, territory=territory) as opened:
        libraries = opened.catalogue.libraries()
        clearance = opened.clearance()
    rights = clearance.rights
    rows = licenses_json(clearance.holdings, rights)
    conflicts = conflicts_json(rights.conflicts.values(), rights)
    if as_json:
        show_json(
            {
                "libraries": [
                    {"id": x.id, "name": x.name, "root": x.root, "stems": x.stems}
                    for x in libraries
                ],
                "licenses": rows,
                "conflicts": conflicts,
            }
        )
        return
    if not libraries:
        err.print("no library is indexed yet: rag-audio index LIBRARY")
        return
    table(("library", "stems", "root"), [(x.name, x.stems, x.root) for x in libraries])
    table(
        ("license", "holder", "stems", "grants today", "else"),
        [
            (row["license"], row["holder"], row["stems"], ", ".join(row["granted"]), row["refusal"])
            for row in rows
        ],
    )
    _say_cures(row["cure"] for row in rows)
    list_conflicts(conflicts)


def _say_cures(cures: Iterable[str]) -> None:
    """What would help, each once, below a table."""
    for cure in dict.fromkeys(filter(None, cures)):
        out.print(f"hint: {cure}")


artists = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@artists.callback()
def list_artists(
    ctx: typer.Context, territory: Territory = None, home: Home = None, as_json: Json = False
) -> None:
    """List the artists of the library and whether their style may be asked for."""
    if ctx.invoked_subcommand is not None:
        return
    with open_workspace(home, territory=territory) as workspace:
        clearance = workspace.pipeline.clearance()
        policy = workspace.pipeline.gate.policy(clearance)
    rows = artists_json(clearance.holdings, policy.licensed, policy.why_not)
    ended = not_indexed_json(rows, policy.unlicensed, policy.why_not)
    if as_json:
        show_json({"artists": rows, "not_indexed": ended})
        return
    if not rows and not ended:
        err.print("no artist is named in an indexed library")
        return
    table(
        ("artist", "stems", "style licensed", "tempo", "keys", "tags", "why not"),
        [
            (
                row["artist"],
                row["stems"],
                "yes" if row["style"] else "no",
                _span(row["bpm"]),
                ", ".join(row["keys"]),
                ", ".join(row["tags"]),
                row["refusal"],
            )
            for row in rows
        ]
        + [(row["artist"], 0, "no", "", "", "", row["refusal"]) for row in ended],
    )
    _say_cures(row["cure"] for row in (*rows, *ended))


def _span(values: list[int]) -> str:
    if not values:
        return ""
    return f"{values[0]}" if values[0] == values[-1] else f"{values[0]}–{values[-1]}"


@artists.command()
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
        from rag_audio.retrieval.profiles import profile_png

        profile_png(profile, plot)
    if as_json:
        show_json({**profile.to_json(), "plot": None if plot is None else str(plot)})
        return
    _show_profile(profile)


def _show_profile(profile: ArtistProfile) -> None:
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
    shown = [f"{name} ({number})" for name, number in list(counted.items())[:_COUNTED]]
    more = len(counted) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Check that everything an installation needs is there; exit code 1 when something is not."""
    checks: list[tuple[str, bool, str]] = []
    with open_home(home) as opened, busy("looking at every part"):
        settings = shown(opened.settings)
        for name, look in _CHECKS:
            try:
                checks.append((name, True, look(opened)))
            except RagAudioError as error:
                checks.append((name, False, f"{error.message} ({error.hint})"))
        checks += map(_plugin, plugins.installed())
    well = all(ok for _, ok, _ in checks)
    if as_json:
        show_json(
            {
                "ok": well,
                "checks": [{"name": n, "ok": ok, "what": what} for n, ok, what in checks],
                "settings": settings,
            }
        )
    else:
        table(
            ("setting", "value", "from"),
            [(name, one["value"] or "unset", one["from"]) for name, one in settings.items()],
        )
        table(("part", "state", "what"), [(n, "ok" if ok else "BAD", w) for n, ok, w in checks])
        out.print("all is well" if well else "something is missing: see above")
    if not well:
        raise typer.Exit(1)


def _plugin(plugin: Plugin) -> tuple[str, bool, str]:
    """A plugin's line: whether its factory can be imported; it is not called."""
    name = f"{plugin.kind} {plugin.entry.name}"
    try:
        plugin.load()
    except RagAudioError as error:
        return name, False, f"{error.message} ({error.hint})"
    return name, True, f"plugin of {plugin.distribution}"


def _files(opened: OpenedHome) -> str:
    opened.files.page(limit=1)
    return opened.files.place


def _embedder(opened: OpenedHome) -> str:
    embedder = opened.embedder
    embedder.embed_text(["music"])  # what it says of itself is cached; its weights may be gone
    state = "untrained" if embedder.untrained else "trained"
    return f"{embedder.name}, {state}, {embedder.dimension} dimensions, {embedder.space[:12]}"


def _model(opened: OpenedHome) -> str:
    info = opened.generator(None).info
    state = "untrained" if info.untrained else "trained"
    return f"{info.name}, {state}, {info.sample_rate} Hz × {info.channels}, {info.id[:12]}"


def _soundfont(opened: OpenedHome) -> str:
    path = opened.soundfont
    if not path.is_file():
        raise InvalidInput(f"{path} is missing")
    return str(path)


def _ffmpeg(opened: OpenedHome) -> str:
    named = opened.settings.ffmpeg
    if named not in (None, ffmpeg.OFF) and ffmpeg.find() is None:
        raise InvalidInput(ffmpeg.described(), hint="correct RAG_AUDIO_FFMPEG")
    return ffmpeg.described()


def _ledger(opened: OpenedHome) -> str:
    faults = opened.ledger.verify()
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InvalidInput(count, hint="rag-audio ledger verify")
    return f"{opened.ledger.size()} entries, all hashes right"


def _landmarks(opened: OpenedHome) -> str:
    there = len(opened.landmarks.ids())
    lacking = len(opened.catalogue.without_landmarks())
    if not lacking:
        return f"{there} stems can be recognised in foreign sound"
    return (
        f"{there} stems; {lacking} more have none and are recognised only where they are unchanged "
        "(rag-audio index LIBRARY makes them)"
    )


def _guardrails(opened: OpenedHome) -> str:
    names, actions = opened.protected_names, opened.guard_actions
    told = ", ".join(f"{rule} {action}" for rule, action in sorted(actions.items()))
    more = "" if names.imported is None else f"; {names.imported.about.line()}"
    return f"{len(names.artists)} protected names{more}; {told or 'every rule refuses'}"


def _keys(opened: OpenedHome) -> str:
    from rag_audio.provenance.credentials.watermark_keys import key_notes

    name = opened.watermarker.name
    problems = key_notes(opened.database, opened.keys)
    if problems:
        raise InvalidInput("; ".join(problems), hint="copy it from the home that made it")
    return name


_CHECKS: tuple[tuple[str, Callable[[OpenedHome], str]], ...] = (
    ("rag-audio", lambda home: f"{__version__}, Python {platform.python_version()}"),
    ("home", lambda home: str(home.folder)),
    ("files", _files),
    ("device", lambda home: home.device),
    ("embedder", _embedder),
    ("model", _model),
    ("index", lambda home: f"{home.index.name}, {home.index.count(exact=False)} segments"),
    ("landmarks", _landmarks),
    ("soundfont", _soundfont),
    ("ffmpeg", _ffmpeg),
    ("ledger", _ledger),
    ("guardrails", _guardrails),
    ("watermark key", _keys),
)

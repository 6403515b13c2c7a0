"""``inpaint``, ``extend``, ``vary``: change finished sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_audio import limits
from rag_audio.bootstrap import Workspace, open_workspace
from rag_audio.cli.generating import show_results
from rag_audio.cli.indexing import warn_untrained
from rag_audio.cli.options import Home, Json, Territory, parse_key, parse_time_signature
from rag_audio.cli.output import out, show_json, stages
from rag_audio.documents import outputs_json, results_json
from rag_audio.domain import GenerationResult
from rag_audio.errors import InvalidInput
from rag_audio.painting import SHORTEST_S, parse_regions
from rag_audio.pipeline import OnStage

File = Annotated[Path, typer.Argument(help="An output of this home, or sound of your own.")]
OutFile = Annotated[Path, typer.Option("--out", help="WAV, FLAC, MP3 or OGG file to write.")]
Artist = Annotated[str | None, typer.Option(help="A licensed artist's style.")]
Named = Annotated[list[str] | None, typer.Option(help="Stem that must be used; repeatable.")]
HowMany = Annotated[
    int | None,
    typer.Option(min=0, max=limits.MOST_REFERENCES, help="How many references to retrieve (0)."),
]
Negative = Annotated[str, typer.Option(help="What it should not be.")]
Bpm = Annotated[
    float | None,
    typer.Option(min=limits.BPM.low, max=limits.BPM.high, help="Tempo (the file's own)."),
]
TimeSignature = Annotated[
    str | None, typer.Option(help="Such as 3/4: where bar lines lie (the file's own, else 4/4).")
]
KeyText = Annotated[str | None, typer.Option("--key", help="Such as 'A minor'.")]
Seed = Annotated[
    int | None, typer.Option(min=0, max=limits.SEED.high, help="Same seed, same music.")
]
Steps = Annotated[int | None, typer.Option(min=1, max=limits.STEPS.high, help="Denoising steps.")]
Guidance = Annotated[
    float | None, typer.Option(min=0, max=limits.GUIDANCE.high, help="How closely to follow words.")
]
Model = Annotated[str | None, typer.Option(help="Checkpoint: directory or hub id.")]
Variations = Annotated[int, typer.Option(min=1, max=limits.VARIATIONS.high, help="How many takes.")]
AudioRights = Annotated[
    str | None, typer.Option(help="own or licensed: what you state about a file from elsewhere.")
]
Subtype = Annotated[
    str | None, typer.Option(help="16, 24, 32f; opus in an .ogg file. Default: 24, Vorbis.")
]
_SIDES = ("left", "right", "both")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("inpaint")(inpaint)
    app.command("extend")(extend)
    app.command("vary")(vary)


def inpaint(
    ctx: typer.Context,
    file: File,
    prompt: Annotated[str, typer.Argument(help="What the new part should be like.")],
    out_file: OutFile,
    region: Annotated[
        list[str], typer.Option(help="Seconds to make anew, such as 4.0-8.0; may be repeated.")
    ],
    strength: Annotated[
        float | None,
        typer.Option(help="More than 0, at most 1: how far to leave the sound beside it (0.7)."),
    ] = None,
    artist: Artist = None,
    reference: Named = None,
    references: HowMany = None,
    negative: Negative = "",
    bpm: Bpm = None,
    key: KeyText = None,
    time_signature: TimeSignature = None,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    model: Model = None,
    variations: Variations = 1,
    audio_rights: AudioRights = None,
    subtype: Subtype = None,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make regions of a file anew, and leave the rest as it is."""
    regions = parse_regions(region)
    _run(
        ctx.params,
        lambda workspace, on_stage, fields: workspace.inpaint(
            file, prompt, out_file, regions=regions, on_stage=on_stage, **fields
        ),
    )


def extend(
    ctx: typer.Context,
    file: File,
    out_file: OutFile,
    by: Annotated[
        float,
        typer.Option(
            min=SHORTEST_S, help="Seconds to add, at most 3600, on each side that is extended."
        ),
    ],
    prompt: Annotated[str, typer.Argument(help="What it should be like (as before).")] = "",
    side: Annotated[str, typer.Option(help="left, right or both.")] = "right",
    strength: Annotated[
        float | None,
        typer.Option(
            help="More than 0, at most 1: how far to leave the sound it goes on from (0.5)."
        ),
    ] = None,
    artist: Artist = None,
    reference: Named = None,
    references: HowMany = None,
    negative: Negative = "",
    bpm: Bpm = None,
    key: KeyText = None,
    time_signature: TimeSignature = None,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    model: Model = None,
    variations: Variations = 1,
    audio_rights: AudioRights = None,
    subtype: Subtype = None,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Go on from a file: to the right, to the left or both, to any length."""
    if side not in _SIDES:
        raise InvalidInput(f"{side!r} is not a side", hint="--side left, right or both")
    left_s, right_s = (0.0 if side == "right" else by), (0.0 if side == "left" else by)
    _run(
        ctx.params,
        lambda workspace, on_stage, fields: workspace.extend(
            file, prompt, out_file, left_s=left_s, right_s=right_s, on_stage=on_stage, **fields
        ),
    )


def vary(
    ctx: typer.Context,
    file: File,
    out_file: OutFile,
    prompt: Annotated[str, typer.Argument(help="What it should be like (as before).")] = "",
    strength: Annotated[
        float | None,
        typer.Option(help="More than 0, at most 1: how far to leave the file's sound."),
    ] = None,
    artist: Artist = None,
    reference: Named = None,
    references: HowMany = None,
    negative: Negative = "",
    bpm: Bpm = None,
    key: KeyText = None,
    time_signature: TimeSignature = None,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    model: Model = None,
    variations: Variations = 1,
    audio_rights: AudioRights = None,
    subtype: Subtype = None,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a file anew from its own sound; references add words only."""
    _run(
        ctx.params,
        lambda workspace, on_stage, fields: workspace.vary(
            file, out_file, prompt=prompt, on_stage=on_stage, **fields
        ),
    )


def _same_file(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()


_Do = Callable[[Workspace, OnStage, dict[str, Any]], tuple[GenerationResult, ...]]


def _run(given: dict[str, Any], do: _Do) -> None:
    fields = {
        "negative_prompt": given["negative"],
        "artist": given["artist"],
        "references": tuple(given["reference"] or ()),
        "k": given["references"],
        "strength": given["strength"],
        "bpm": given["bpm"],
        "time_signature": parse_time_signature(given["time_signature"]),
        "key": parse_key(given["key"]),
        "seed": given["seed"],
        "steps": given["steps"],
        "guidance": given["guidance"],
        "model": given["model"],
        "variations": given["variations"],
        "audio_rights": given["audio_rights"],
        "subtype": given["subtype"],
        "territory": given["territory"],
    }
    if _same_file(given["file"], given["out_file"]):
        raise InvalidInput(
            f"the output would take the place of {given['file']}, which it is made from",
            hint="give --out another name",
        )
    with open_workspace(given["home"], territory=given["territory"]) as workspace:
        info = workspace.parts.generator(given["model"]).info
        warn_untrained(info.name, info.untrained)
        with stages() as on_stage:
            results = do(workspace, on_stage, fields)
    edit = results[0].plan.edit
    assert edit is not None  # noqa: S101 - the plan of an edit
    if given["as_json"]:
        show_json(
            {
                **results_json(results),
                "results": outputs_json(results),
                "edit": edit.kind,
                "parent": edit.parent,
                "ancestors": list(edit.ancestors),
                "regions": [list(region) for region in edit.regions],
                "kept": edit.kept,
                "source": {"sha256": edit.source_sha256, "rights": edit.source_rights},
            }
        )
        return
    show_results(results)
    if edit.parent is not None:
        out.print(f"edited from output {edit.parent}", markup=False)
    else:
        stated = "" if edit.source_rights is None else f", stated to be {edit.source_rights}"
        out.print(f"edited from {given['file']}{stated}", markup=False)
    out.print(f"{edit.kept:.0%} of the sound is that file's", markup=False)

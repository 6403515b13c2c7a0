"""``inpaint``, ``extend``, ``vary``: change finished sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rag_audio.cli.generate import generating, show_results
from rag_audio.cli.options import Home, Json, fields_from, with_fields
from rag_audio.cli.output import out, show_json, stages
from rag_audio.domain import GenerationResult
from rag_audio.domain.fields import On
from rag_audio.domain.json_documents import outputs_json, results_json
from rag_audio.errors import InvalidInput
from rag_audio.generation.inpainting import SHORTEST_S, parse_regions
from rag_audio.pipeline.delivery import OnStage
from rag_audio.pipeline.workspace import Workspace

File = Annotated[Path, typer.Argument(help="An output of this home, or sound of your own.")]
OutFile = Annotated[Path, typer.Option("--out", help="WAV, FLAC, MP3 or OGG file to write.")]


@with_fields(
    On.EDIT,
    strength="More than 0, at most 1: how far to leave the sound beside it (0.7).",
)
def inpaint(
    ctx: typer.Context,
    file: File,
    prompt: Annotated[str, typer.Argument(help="What the new part should be like.")],
    out_file: OutFile,
    region: Annotated[
        list[str], typer.Option(help="Seconds to make anew, such as 4.0-8.0; may be repeated.")
    ],
    *,
    asked: dict[str, Any],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Replace regions of a file, and leave the rest as it is."""
    regions = parse_regions(region)
    _run(
        ctx.params,
        lambda workspace, on_stage, fields: workspace.inpaint(
            file, prompt, out_file, regions=regions, on_stage=on_stage, **fields
        ),
    )


@with_fields(
    On.EDIT,
    strength="More than 0, at most 1: how far to leave the sound it goes on from (0.5).",
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
    side: Annotated[
        Literal["left", "right", "both"], typer.Option(help="Where it goes on.")
    ] = "right",
    *,
    asked: dict[str, Any],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Go on from a file: to the right, to the left or both, to any length."""
    left_s, right_s = (0.0 if side == "right" else by), (0.0 if side == "left" else by)
    _run(
        ctx.params,
        lambda workspace, on_stage, fields: workspace.extend(
            file, prompt, out_file, left_s=left_s, right_s=right_s, on_stage=on_stage, **fields
        ),
    )


@with_fields(On.EDIT, strength="More than 0, at most 1: how far to leave the file's sound.")
def vary(
    ctx: typer.Context,
    file: File,
    out_file: OutFile,
    prompt: Annotated[str, typer.Argument(help="What it should be like (as before).")] = "",
    *,
    asked: dict[str, Any],
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


_Do = Callable[[Workspace, OnStage, dict[str, Any]], tuple[GenerationResult, ...]]


def _run(given: dict[str, Any], do: _Do) -> None:
    fields = fields_from(given, On.EDIT)
    if given["file"].resolve() == given["out_file"].resolve():
        raise InvalidInput(
            f"the output would take the place of {given['file']}, which it is made from",
            hint="give --out another name",
        )
    with generating(given) as workspace, stages() as on_stage:
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
        out.print(f"edited from output {edit.parent}")
    else:
        stated = "" if edit.source_rights is None else f", stated to be {edit.source_rights}"
        out.print(f"edited from {given['file']}{stated}")
    out.print(f"{100 * edit.kept:.0f} % of the sound is that file's")

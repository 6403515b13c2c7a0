"""``generate``: make music from licensed references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_audio.bootstrap import open_workspace
from rag_audio.cli.batch import run_batch
from rag_audio.cli.indexing import warn_untrained
from rag_audio.cli.options import Home, Json, Territory, parse_method
from rag_audio.cli.output import out, percent, show_json, stages, table
from rag_audio.cli.plan_view import read_plan, refuse_beside_plan, show_plan
from rag_audio.cli.requests import request_from
from rag_audio.cli.tracing import measure_outputs, show_influence
from rag_audio.documents import results_json
from rag_audio.domain import Channel, GenerationResult
from rag_audio.errors import InvalidInput
from rag_audio.output_picture import output_png
from rag_audio.plans import plan_to_json
from rag_audio.provenance.causal import CausalInfluence, Method


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("generate")(generate)


def generate(
    ctx: typer.Context,
    prompt: Annotated[
        str, typer.Argument(help="What the music should be like.", show_default=False)
    ] = "",
    out_file: Annotated[
        Path | None, typer.Option("--out", help="WAV, FLAC, MP3, OGG or Opus file.")
    ] = None,
    artist: Annotated[str | None, typer.Option(help="A licensed artist's style.")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="Stem that must be used, or STEM@4-12 for a part of it; repeatable."),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(help="Hummed: follow its melody; else find references like it."),
    ] = None,
    audio_as: Annotated[
        str | None,
        typer.Option(help="melody or search: what --audio is for; left out, its sound decides."),
    ] = None,
    midi: Annotated[Path | None, typer.Option(help="Find references like this score.")] = None,
    references: Annotated[int | None, typer.Option(help="How many to retrieve (3).")] = None,
    strength: Annotated[
        str | None, typer.Option(help="0…1: how far to leave the references' sound; or auto.")
    ] = None,
    negative: Annotated[str, typer.Option(help="What it should not be.")] = "",
    bpm: Annotated[float | None, typer.Option(help="Tempo.")] = None,
    key: Annotated[str | None, typer.Option(help="Such as 'A minor'.")] = None,
    time_signature: Annotated[str | None, typer.Option(help="Such as 3/4.")] = None,
    bars: Annotated[int | None, typer.Option(help="Length in bars, in place of seconds.")] = None,
    instrumentation: Annotated[
        str, typer.Option(help="Such as 'electric piano,upright bass'.")
    ] = "",
    mood: Annotated[str, typer.Option(help="Such as 'calm,dusty'.")] = "",
    duration: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same music.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow words.")] = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint: directory or hub id.")] = None,
    variations: Annotated[int, typer.Option(help="How many takes.")] = 1,
    channels: Annotated[str, typer.Option(help="How references reach the model.")] = "prompt,init",
    weights: Annotated[str | None, typer.Option(help="One per reference, such as 2,1,1.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Never this stem.")] = None,
    audio_rights: Annotated[
        str | None, typer.Option(help="own or licensed: what you state about --audio.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="Make this older plan (from --dry-run --json), if it is still allowed."),
    ] = None,
    save_plan: Annotated[
        Path | None, typer.Option(help="Also write the plan here, as JSON.")
    ] = None,
    mix: Annotated[
        str, typer.Option(help="waveform or latent: where references are mixed.")
    ] = "waveform",
    layer: Annotated[
        list[str] | None,
        typer.Option(help="drums=STEM or harmony=STEM: only that of a stem; may be repeated."),
    ] = None,
    arrange: Annotated[str, typer.Option(help="Who plays in which bars: STEM:1-4,STEM:5-8.")] = "",
    enforce: Annotated[
        str, typer.Option(help="tempo,key: make candidates, keep the best, conform what is off.")
    ] = "",
    candidates: Annotated[int, typer.Option(help="How many takes --enforce chooses from.")] = 4,
    midi_instruments: Annotated[
        str, typer.Option(help="General MIDI names that play the scores, such as Vibraphone.")
    ] = "",
    influence: Annotated[
        str, typer.Option(help="none, fast or exact: measure what each source did; costs runs.")
    ] = "none",
    subtype: Annotated[
        str | None, typer.Option(help="16, 24, 32f; opus in an .ogg file. Default: 24, Vorbis.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw waveform, spectrogram and sources into this PNG.")
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help="CSV or JSONL of requests, a row each; --out is then a folder."),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the plan and make nothing.")] = False,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make music that follows the prompt and the best licensed references."""
    if out_file is None and not dry_run:
        raise InvalidInput("no output file was named", hint="--out FILE, or --dry-run")
    method = parse_method(influence)
    if picture is not None and not picture.parent.is_dir():
        raise InvalidInput(f"cannot draw {picture}: there is no folder {picture.parent}")
    if batch is not None:
        run_batch(ctx, batch, out_file)
        return
    if plan is not None:
        refuse_beside_plan(ctx)
        _replay(plan, ctx.params, None if dry_run else out_file, method)
        return
    request = request_from(ctx.params)
    with open_workspace(home, territory=territory) as workspace:
        info = workspace.parts.generator(model).info
        warn_untrained(info.name, info.untrained)
        if dry_run:
            show_plan(workspace.plan(request), as_json)
            return
        assert out_file is not None  # noqa: S101 - checked above
        with stages() as on_stage:
            results = workspace.generate(request, out_file, on_stage=on_stage)
        measured = measure_outputs(workspace, [r.record.output for r in results], method)
    _draw(results, picture)
    _finish(results, save_plan, as_json, measured)


def _replay(
    file: Path, given: Mapping[str, Any], out_file: Path | None, method: Method | None
) -> None:
    """Make an older plan; without ``out_file`` only show what it is today.

    Args:
        given: the options of ``generate``.
    """
    older = read_plan(file)
    prompt, territory, model = given["prompt"], given["territory"], given["model"]
    if prompt and prompt.strip() != older.prompt:
        raise InvalidInput(
            f"the prompt {prompt!r} is not the plan's, {older.prompt!r}",
            hint="leave the prompt out: the plan has its own",
        )
    with open_workspace(given["home"], territory=territory) as workspace:
        info = workspace.parts.generator(model).info
        warn_untrained(info.name, info.untrained)
        if out_file is None:
            _, renewed = workspace.renew(older, territory=territory, model=model)
            show_plan(renewed, given["as_json"])
            return
        with stages() as on_stage:
            results = workspace.replay(
                older,
                out_file,
                territory=territory,
                model=model,
                subtype=given["subtype"],
                on_stage=on_stage,
            )
        measured = measure_outputs(workspace, [r.record.output for r in results], method)
    _draw(results, given["picture"])
    save_plan = None if given["save_plan"] is None else Path(given["save_plan"])
    _finish(results, save_plan, given["as_json"], measured)


def _draw(results: tuple[GenerationResult, ...], picture: Path | None) -> None:
    """A picture of each output; with several variations the name gets a number, as theirs do."""
    for i, result in enumerate(results if picture is not None else ()):
        assert picture is not None  # noqa: S101 - there is nothing to loop over without
        name = picture if len(results) == 1 else picture.with_stem(f"{picture.stem}-{i + 1}")
        output_png(result.audio, result.record, name)


def _finish(
    results: tuple[GenerationResult, ...],
    save_plan: Path | None,
    as_json: bool,
    measured: Sequence[CausalInfluence] = (),
) -> None:
    if save_plan is not None:
        text = json.dumps(plan_to_json(results[0].plan), indent=2, ensure_ascii=False)
        save_plan.write_text(text, encoding="utf-8")
    if as_json:
        document = results_json(results)
        for reference, source in zip(
            document["references"], measured[0].sources if measured else (), strict=False
        ):
            reference["causal"] = source.share
        show_json({**document, "influence": [one.to_json() for one in measured]})
    else:
        show_results(results)
        for result, one in zip(results, measured, strict=False):
            show_influence(result.record, one)


def show_results(results: tuple[GenerationResult, ...]) -> None:
    """What was made, and from what."""
    for result in results:
        record = result.record
        out.print(f"output {record.output}   {result.files[0]}   seed {record.seed}", markup=False)
    for note in results[0].plan.notes:
        out.print(f"note: {note}", markup=False)
    record = results[0].record
    table(
        ("source", "artist", "holder", "license", "in the words", "in the sound", "similar"),
        [
            (
                source.reference.stem.title or source.reference.stem.path,
                source.reference.stem.artist,
                source.license.holder,
                source.license.id,
                percent(source.influence.used.get(Channel.PROMPT)),
                percent(source.influence.used.get(Channel.INIT)),
                "–" if source.influence.similar is None else f"{source.influence.similar:.2f}",
            )
            for source in record.sources
        ]
        + [
            (
                "the model and your words",
                "",
                "",
                "",
                percent(record.model_share.get(Channel.PROMPT)),
                percent(record.model_share.get(Channel.INIT)),
                "",
            )
        ],
    )

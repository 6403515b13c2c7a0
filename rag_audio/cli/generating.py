"""``generate``: make music from licensed references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_audio.bootstrap import open_workspace
from rag_audio.cli.indexing import warn_untrained
from rag_audio.cli.options import (
    Home,
    Json,
    Territory,
    parse_aims,
    parse_channels,
    parse_instruments,
    parse_key,
    parse_method,
    parse_time_signature,
    parse_weights,
    parse_words,
)
from rag_audio.cli.output import out, percent, show_json, stages, table
from rag_audio.cli.tracing import measure_outputs, show_influence
from rag_audio.documents import results_json
from rag_audio.domain import Channel, ConditioningPlan, GenerationRequest, GenerationResult
from rag_audio.errors import InvalidInput
from rag_audio.plans import plan_from_json, plan_to_json
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
        Path | None, typer.Option("--out", help="WAV, FLAC, MP3 or OGG file to write.")
    ] = None,
    artist: Annotated[str | None, typer.Option(help="A licensed artist's style.")] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="Stem that must be used; may be repeated.")
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(help="Find references that sound like this; see --audio-rights."),
    ] = None,
    midi: Annotated[Path | None, typer.Option(help="Find references like this score.")] = None,
    references: Annotated[int | None, typer.Option(help="How many to retrieve (3).")] = None,
    strength: Annotated[
        float | None, typer.Option(help="0…1: how far to leave the references' sound.")
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
    dry_run: Annotated[bool, typer.Option(help="Print the plan and make nothing.")] = False,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make music that follows the prompt and the best licensed references."""
    if out_file is None and not dry_run:
        raise InvalidInput("no output file was named", hint="--out FILE, or --dry-run")
    method = parse_method(influence)
    if plan is not None:
        _refuse_beside_plan(ctx)
        _replay(plan, ctx.params, None if dry_run else out_file, method)
        return
    request = _request(ctx.params)
    with open_workspace(home, territory=territory) as workspace:
        info = workspace.parts.generator(model).info
        warn_untrained(info.name, info.untrained)
        if dry_run:
            _show_plan(workspace.plan(request), as_json)
            return
        assert out_file is not None  # noqa: S101 - checked above
        with stages() as on_stage:
            results = workspace.generate(request, out_file, on_stage=on_stage)
        measured = measure_outputs(workspace, [r.record.output for r in results], method)
    _finish(results, save_plan, as_json, measured)


def _request(given: Mapping[str, Any]) -> GenerationRequest:
    """The request that the options of ``generate`` stand for."""
    return GenerationRequest(
        prompt=given["prompt"],
        negative_prompt=given["negative"],
        artist=given["artist"],
        references=tuple(given["reference"] or ()),
        exclude=tuple(given["exclude"] or ()),
        audio=None if given["audio"] is None else str(given["audio"]),
        midi=None if given["midi"] is None else str(given["midi"]),
        audio_rights=given["audio_rights"],
        k=given["references"],
        strength=given["strength"],
        bpm=given["bpm"],
        key=parse_key(given["key"]),
        duration_s=given["duration"],
        seed=given["seed"],
        steps=given["steps"],
        guidance=given["guidance"],
        variations=given["variations"],
        channels=parse_channels(given["channels"]),
        weights=parse_weights(given["weights"]),
        territory=given["territory"],
        model=given["model"],
        time_signature=parse_time_signature(given["time_signature"]),
        bars=given["bars"],
        instrumentation=parse_words(given["instrumentation"]),
        mood=parse_words(given["mood"]),
        midi_instruments=parse_instruments(given["midi_instruments"]),
        enforce=parse_aims(given["enforce"]),
        candidates=given["candidates"],
    )


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
            _show_plan(renewed, given["as_json"])
            return
        with stages() as on_stage:
            results = workspace.replay(
                older, out_file, territory=territory, model=model, on_stage=on_stage
            )
        measured = measure_outputs(workspace, [r.record.output for r in results], method)
    save_plan = None if given["save_plan"] is None else Path(given["save_plan"])
    _finish(results, save_plan, given["as_json"], measured)


def _refuse_beside_plan(ctx: typer.Context) -> None:
    """A plan has everything in it; an option that it would silently overrule is refused."""
    own = {"plan", "out_file", "save_plan", "dry_run", "influence", "prompt"}
    own |= {"model", "territory", "home", "as_json"}
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in own and source is not None and source.name == "COMMANDLINE":
            raise InvalidInput(
                f"--{name.replace('_', '-')} cannot be given beside --plan",
                hint="the plan says all of it; leave one of the two out",
            )


def read_plan(file: Path) -> ConditioningPlan:
    """The plan in a file: a plan's document, or what ``--dry-run --json`` printed.

    Raises:
        InvalidInput: it is no plan.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} cannot be read as JSON: {error}") from error
    if isinstance(document, dict) and isinstance(document.get("plan"), dict):
        document = document["plan"]
    return plan_from_json(document)


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


def _show_plan(plan: ConditioningPlan, as_json: bool) -> None:
    if as_json:
        show_json({"plan": plan_to_json(plan), "enriched_prompt": plan.enriched_prompt})
        return
    out.print(f"prompt     {plan.prompt}", markup=False)
    out.print(f"enriched   {plan.enriched_prompt}", markup=False)
    tempo = "free" if plan.bpm is None else f"{plan.bpm:g} bpm"
    out.print(
        f"model      {plan.model}, {plan.duration_s:g} s, {tempo}, {plan.key or 'any key'}, "
        f"strength {plan.strength:g}, {plan.steps} steps, guidance {plan.guidance:g}, "
        f"seed {plan.seed}",
        markup=False,
    )
    if plan.enforcement:
        aims = " and ".join(sorted(aim.value for aim in plan.enforcement.aims))
        out.print(f"enforced   {aims}, best of {plan.enforcement.candidates}", markup=False)
    for note in plan.notes:
        out.print(f"note       {note}", markup=False)
    parts = {part.reference: part for part in plan.seed_parts}
    rows = []
    for i, reference in enumerate(plan.references):
        part = parts.get(i)
        rows.append(
            (
                i + 1,
                reference.stem.title or reference.stem.path,
                reference.stem.artist,
                reference.stem.license,
                "–" if part is None else percent(part.weight),
                "" if part is None else f"×{part.time_ratio:.3f}",
                "" if part is None else f"{part.semitones:+d}",
                ", ".join(s.text.strip(" ,") for s in plan.spans if s.stem == reference.stem.id),
            )
        )
    if rows:
        table(("#", "title", "artist", "license", "mix", "time", "pitch", "words"), rows)


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

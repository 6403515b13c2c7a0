"""``generate``: make music from licensed references."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rag_audio.audio.pictures import output_png
from rag_audio.cli.options import Home, Json, read_text, request_from, with_fields
from rag_audio.cli.output import out, percent, say_unmet, show_json, stages, table, warn_untrained
from rag_audio.cli.trace import measure_outputs, show_influence
from rag_audio.domain import (
    AttributionRecord,
    Channel,
    ConditioningPlan,
    GenerationResult,
    Mix,
    Reference,
    SeedPart,
)
from rag_audio.domain.fields import On
from rag_audio.domain.json_documents import enforced_met, outputs_json, results_json
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.songs import song_file
from rag_audio.errors import InvalidInput
from rag_audio.generation.take_selection import unmet_line
from rag_audio.pipeline.workspace import Workspace, open_workspace
from rag_audio.provenance.counterfactual import CausalInfluence, Method
from rag_audio.storage.files import export, require_content


@with_fields(On.GENERATE)
def generate(
    ctx: typer.Context,
    prompt: Annotated[
        str, typer.Argument(help="What the music should be like.", show_default=False)
    ] = "",
    out_file: Annotated[
        Path | None, typer.Option("--out", help="WAV, FLAC, MP3, OGG or Opus file.")
    ] = None,
    *,
    asked: dict[str, Any],
    plan: Annotated[
        Path | None,
        typer.Option(help="Make this older plan (from --dry-run --json), if it is still allowed."),
    ] = None,
    save_plan: Annotated[
        Path | None, typer.Option(help="Also write the plan here, as JSON.")
    ] = None,
    best_effort: Annotated[
        bool, typer.Option(help="Exit with 0 although what --enforce asks for was not met.")
    ] = False,
    influence: Annotated[
        Literal["none", "fast", "exact"],
        typer.Option(
            help="Measure each source by leaving it out: fast (few runs) or exact (more)."
        ),
    ] = "none",
    picture: Annotated[
        Path | None, typer.Option(help="Draw waveform, spectrogram and sources into this PNG.")
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help="CSV or JSONL of requests, a row each; --out is then a folder."),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the plan and make nothing.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make music that follows the prompt and the best licensed references."""
    if out_file is None and not dry_run:
        raise InvalidInput("no output file was named", hint="--out FILE, or --dry-run")
    method: Method | None = None if influence == "none" else influence
    if dry_run and (picture or method):
        raise InvalidInput(
            "a dry run makes nothing that could be drawn or measured",
            hint="leave --picture and --influence out, or --dry-run",
        )
    for option, file, ending in (
        ("--picture", picture, ".png"), ("--save-plan", save_plan, ".json"),
    ):  # fmt: skip
        if file is not None:
            _check_writable(option, file, ending)
    if batch is not None:
        from rag_audio.cli.batch import run_batch

        run_batch(ctx, batch, out_file)
        return
    if plan is None and best_effort and not asked["enforce"]:
        raise InvalidInput(
            "--best-effort needs --enforce", hint="--enforce tempo,key with --best-effort"
        )
    wanted = request_from(ctx.params) if plan is None else _older_plan(ctx, plan, prompt)
    use = {"territory": asked["territory"], "model": asked["model"]}
    with generating(ctx.params) as workspace:
        if dry_run or out_file is None:
            if isinstance(wanted, ConditioningPlan):
                _, found = workspace.renew(wanted, **use)
            else:
                found = workspace.plan(wanted)
            if save_plan is not None:
                _save(found, save_plan)
            _show_plan(found, as_json)
            return
        with stages() as on_stage:
            if isinstance(wanted, ConditioningPlan):
                use["subtype"] = asked["subtype"]
                results = workspace.replay(wanted, out_file, on_stage=on_stage, **use)
            else:
                results = workspace.generate(wanted, out_file, on_stage=on_stage)
        measured = measure_outputs(workspace, [one.record.output for one in results], method)
    if picture is not None:
        _draw(results, picture)
    if save_plan is not None:
        _save(results[0].plan, save_plan)
    _show_made(results, measured, as_json)
    if enforced_met(results) is False:
        say_unmet([str(result.files[0]) for result in results if result.unmet], best_effort)


def _check_writable(option: str, file: Path, ending: str) -> None:
    """Refuse what could not be written afterwards, or would take the music's place.

    Raises:
        InvalidInput: a name or a folder is wrong.
    """
    if file.suffix.lower() != ending:
        raise InvalidInput(f"{option} {file}: the name must end in {ending}")
    if file.is_dir():
        raise InvalidInput(f"{option} {file}: it is a folder")
    if not file.parent.is_dir():
        raise InvalidInput(f"{option} {file}: there is no folder {file.parent}")


@contextmanager
def generating(given: Mapping[str, Any]) -> Iterator[Workspace]:
    """The workspace that the options name, with a note about a model that was never trained.

    Raises:
        UnreadableFile: a file that is given cannot be read, told before the model is loaded.
    """
    for name in ("audio", "midi", "file"):
        if given.get(name) is not None:
            require_content(song_file(Path(given[name]))[0])
    with open_workspace(given["home"], territory=given["territory"]) as workspace:
        warn_untrained(workspace.home.generator(given["model"]).info)
        yield workspace


def _show_made(
    results: tuple[GenerationResult, ...], measured: Sequence[CausalInfluence], as_json: bool
) -> None:
    if not as_json:
        show_results(results)
        for result, one in zip(results, measured, strict=False):
            show_influence(result.record, one)
        return
    document = results_json(results)
    sources = measured[0].sources if measured else ()
    for reference, source in zip(document["references"], sources, strict=False):
        reference["causal"] = source.share
    shares = [[source.share for source in one.sources] for one in measured]
    document["results"] = outputs_json(results, shares)
    show_json({**document, "influence": [one.to_json() for one in measured]})


def _save(plan: ConditioningPlan, file: Path) -> None:
    """Write a plan, whole or not at all."""
    text = json.dumps(plan_to_json(plan), indent=2, ensure_ascii=False)
    with export(file) as draft:
        draft.write_text(text, encoding="utf-8")


def _draw(results: tuple[GenerationResult, ...], picture: Path) -> None:
    """A picture of each output; with several variations the name gets a number, as theirs do."""
    for i, result in enumerate(results):
        name = picture if len(results) == 1 else picture.with_stem(f"{picture.stem}-{i + 1}")
        output_png(result.audio, result.record, name)


def _older_plan(ctx: typer.Context, file: Path, prompt: str) -> ConditioningPlan:
    """The plan in a file: a plan's document, or what ``--dry-run --json`` printed.

    Raises:
        InvalidInput: it is no plan, or something is given that it says itself.
    """
    _refuse_beside_plan(ctx)
    try:
        document = json.loads(read_text(file))
    except ValueError as error:
        raise InvalidInput(f"{file} cannot be read as JSON: {error}") from error
    except RecursionError as error:
        raise InvalidInput(f"{file} cannot be read: it is nested too deeply") from error
    if isinstance(document, dict) and isinstance(document.get("plan"), dict):
        document = document["plan"]
    plan = plan_from_json(document)
    if prompt and prompt.strip() != plan.prompt:
        raise InvalidInput(
            f"the prompt {prompt!r} is not the plan's, {plan.prompt!r}",
            hint="leave the prompt out: the plan has its own",
        )
    return plan


def _refuse_beside_plan(ctx: typer.Context) -> None:
    """A plan has everything in it; an option that it would silently overrule is refused."""
    own = {"plan", "out_file", "save_plan", "dry_run", "influence", "prompt", "subtype", "picture"}
    own |= {"model", "territory", "home", "as_json", "best_effort"}
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in own and source is not None and source.name == "COMMANDLINE":
            raise InvalidInput(
                f"--{name.replace('_', '-')} cannot be given beside --plan",
                hint="the plan says all of it; leave one of the two out",
            )


def _show_plan(plan: ConditioningPlan, as_json: bool) -> None:
    """What would be given to the model: which words, which sound, from whom."""
    if as_json:
        show_json({"plan": plan_to_json(plan), "enriched_prompt": plan.enriched_prompt})
        return
    out.print(f"prompt     {plan.prompt}")
    out.print(f"enriched   {plan.enriched_prompt}")
    tempo = "free" if plan.bpm is None else f"{plan.bpm:g} bpm"
    out.print(
        f"model      {plan.model}, {plan.duration_s:g} s, {tempo}, {plan.key or 'any key'}, "
        f"strength {plan.strength:g}, {plan.steps} steps, guidance {plan.guidance:g}, "
        f"seed {plan.seed}"
    )
    if plan.artist is not None:
        out.print(f"artist     {plan.artist}")
    if plan.enforcement:
        aims = " and ".join(sorted(aim.value for aim in plan.enforcement.aims))
        out.print(f"enforced   {aims}, best of {plan.enforcement.candidates}")
    if plan.mix is Mix.LATENT:
        out.print("mixed      as latents")
    if plan.mix is Mix.ALL:
        out.print("mixed      all that may sound")
    if plan.clash is not None:
        out.print(
            f"clash      chroma {plan.clash.chroma:.2f}, roughness {plan.clash.roughness:.3f}"
        )
    if plan.melody is not None:
        stated = plan.melody.source_rights
        whose = "" if stated is None else f", stated to be {stated}"
        out.print(
            f"melody     {len(plan.melody.notes)} notes by {plan.melody.instrument}, "
            f"{percent(plan.melody.weight)} of the seed{whose}"
        )
    for note in plan.notes:
        out.print(f"note       {note}")
    rows = []
    for i, reference in enumerate(plan.references):
        words = ", ".join(s.text.strip(" ,") for s in plan.spans if s.stem == reference.stem.id)
        parts = [part for part in plan.seed_parts if part.reference == i]
        rows += [
            (*_who(i, reference), *_heard(part, plan), words if n == 0 else "")
            for n, part in enumerate(parts or [None])
        ]
    if rows:
        columns = ("#", "title", "artist", "license", "mix", "plays", "time", "pitch", "words")
        table(columns, rows)


def _who(i: int, reference: Reference) -> tuple[object, ...]:
    stem = reference.stem
    return i + 1, stem.title or stem.path, stem.artist, stem.license


def _heard(part: SeedPart | None, plan: ConditioningPlan) -> tuple[str, ...]:
    """Share, what of it and when, stretch and transposition of a part."""
    if part is None:
        return "–", "", "", ""
    what = "all" if part.layer is None else part.layer.value
    if part.start_s or part.end_s is not None:
        end = plan.duration_s if part.end_s is None else part.end_s
        what += f", {part.start_s:.1f}–{end:.1f} s"
    if part.hits_s:
        what += f", struck {len(part.hits_s)} ×"
    return (
        percent(part.weight * plan.references_weight),
        what,
        f"×{part.time_ratio:.3f}",
        f"{part.semitones:+d}",
    )


def show_results(results: tuple[GenerationResult, ...]) -> None:
    """What was made, and from what; of several outputs each."""
    for result in results:
        record = result.record
        out.print(
            f"output {record.output}   {', '.join(result.files)}   seed {record.seed}   "
            f"{result.audio.duration_s:.2f} s   pcm {record.pcm_sha256[:12]}"
        )
    common = results[0].plan.notes
    for note in common:
        out.print(f"note: {note}")
    for result in results[1:]:
        own = (note for note in result.plan.notes if note not in common)
        for said in (*own, *(unmet_line(promise) for promise in result.unmet)):
            out.print(f"note: output {result.record.output}: {said}")
    for result in results:
        _show_sources(result.record, titled=len(results) > 1)


def _show_sources(record: AttributionRecord, titled: bool) -> None:
    table(
        ("source", "artist", "holder", "license", "in the words", "in the sound", "similar"),
        [
            (
                source.reference.stem.title or source.reference.stem.path,
                source.reference.stem.artist,
                " / ".join(source.holders),
                " / ".join(license.id for license in source.licenses),
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
        title=f"output {record.output}" if titled else "",
    )

"""Plans on the command line: read from a file, refuse what would contradict one, show one."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from rag_audio.cli.output import out, percent, show_json, table
from rag_audio.domain import ConditioningPlan, Mix, Reference, SeedPart
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.errors import InvalidInput


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


def refuse_beside_plan(ctx: typer.Context) -> None:
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


def show_plan(plan: ConditioningPlan, as_json: bool) -> None:
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
    return (
        percent(part.weight * plan.references_weight),
        what,
        f"×{part.time_ratio:.3f}",
        f"{part.semitones:+d}",
    )

"""``guard``: what the guardrails would decide, and how well they do on labelled prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag_audio import guardrails
from rag_audio.cli.options import Home, Json, Territory, read_text
from rag_audio.cli.output import out, percent, show_json, table
from rag_audio.errors import InvalidInput
from rag_audio.guardrails.prompts import Evaluation, evaluate, read_labelled
from rag_audio.pipeline.workspace import open_workspace


def guard(
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts to judge.")] = None,
    file: Annotated[Path | None, typer.Option(help="Every line is a prompt.")] = None,
    evaluate_files: Annotated[
        list[Path] | None,
        typer.Option("--evaluate", help="CSV of label,class,prompt: print a confusion matrix."),
    ] = None,
    licensed: Annotated[
        list[str] | None,
        typer.Option("--licensed", help="With --evaluate: an artist to take as licensed."),
    ] = None,
    territory: Territory = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what the guardrails would decide; nothing is made or searched."""
    if evaluate_files:
        if prompts or file is not None:
            raise InvalidInput("--evaluate takes its prompts from its files only")
        _evaluate(evaluate_files, licensed or [], territory, home, as_json)
        return
    if licensed:
        raise InvalidInput(
            "--licensed is for --evaluate only", hint="licenses come from the indexed library"
        )
    texts = list(prompts or ())
    if file is not None:
        texts += read_text(file).splitlines()
    if not texts:
        raise InvalidInput("no prompt was given", hint="rag-audio guard 'PROMPT' or --file F")
    with open_workspace(home, territory=territory) as workspace:
        policy = workspace.pipeline.policy()
    decisions = [guardrails.judge(text, policy, "guard") for text in texts]
    if as_json:
        show_json({"decisions": [decision.to_json() for decision in decisions]})
        return
    table(
        ("decision", "prompt", "instead", "reason"),
        [
            (
                d.action.value,
                d.prompt,
                d.prompt_out if d.prompt_out != d.prompt else "",
                f"{d.reason}; {d.cure}" if d.cure else d.reason,
            )
            for d in decisions
        ],
    )


def _evaluate(
    files: list[Path], licensed: list[str], territory: str | None, home: Path | None, as_json: bool
) -> None:
    sets = [(file, read_labelled(file)) for file in files]
    with open_workspace(home, territory=territory) as workspace:
        policy = workspace.pipeline.policy()
    policy = guardrails.Policy(
        policy.licensed | frozenset(licensed),
        policy.protected - frozenset(licensed),
        policy.roster,
        policy.actions,
        policy.styles,
    )
    found = [evaluate(file.name, prompts, policy) for file, prompts in sets]
    if as_json:
        show_json({"evaluations": [one.to_json() for one in found]})
        return
    for one in found:
        _show(one)


def _show(one: Evaluation) -> None:
    table(
        ("", "stopped", "allowed"),
        [("attack", one.caught, one.missed), ("innocent", one.stopped, one.passed)],
        title=f"{one.name}: recall {percent(one.recall)}, "
        f"false refusals {percent(one.false_refusals)}",
    )
    table(
        ("label", "class", "right", "of"),
        [
            (label, kind, right, count)
            for (label, kind), (right, count) in sorted(one.by_kind.items())
        ],
    )
    for item in one.wrong:
        out.print(f"wrong: {item.label}, {item.kind}: {item.prompt}")

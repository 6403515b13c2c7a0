"""Measure, for an output that is in the ledger, what each source did to it, and log that."""

from __future__ import annotations

from typing import Any

from rag_audio.domain import USE_OF, ConditioningPlan, Rights
from rag_audio.domain.plan import plan_from_json
from rag_audio.domain.ports import Generator, Progress, StopAsked
from rag_audio.domain.record import LedgerEntry
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.home import Home
from rag_audio.pipeline.renderer import Renderer
from rag_audio.provenance.causal import CausalInfluence, Method, measure


def measure_output(
    output: int,
    *,
    home: Home,
    rights: Rights,
    method: Method = "fast",
    progress: Progress | None = None,
    stop_asked: StopAsked | None = None,
) -> CausalInfluence:
    """Run the counterfactuals of a logged output, and append what they say to the ledger.

    Args:
        rights: as they stand now: the runs use the sources again.

    Raises:
        InvalidInput: the ledger has no such output, its texts were erased, another model made it,
            or exact values would take too many runs.
        RequestRefused: a source may not be used any more.
    """
    entry = home.ledger.find(output)
    if entry is None:
        raise InvalidInput(f"the ledger has no output {output}", hint="rag-audio outputs")
    plan = _plan(entry)
    if plan.edit is not None:
        raise InvalidInput(
            f"output {output} is an edit; what sources did in it cannot be measured",
            hint="measure the output that was edited: rag-audio trace names the ancestors",
        )
    _require_rights(plan, rights)
    generator = _same_model(entry, home)
    if plan.duration_s > generator.info.max_duration_s:
        raise InvalidInput(
            f"output {output} lasts {plan.duration_s:g} s; influence is measured up to "
            f"{generator.info.max_duration_s:g} s with {generator.info.name}"
        )
    renderer = Renderer(home, generator, {})
    measured = measure(
        plan,
        entry.record.seed,
        generator=generator,
        embedder=home.embedder,
        make_seed=renderer.seed_audio,
        method=method,
        progress=progress,
        stop_asked=stop_asked,
    )
    home.ledger.append_event("influence", event_document(output, measured, home.embedder.space))
    return measured


def event_document(output: int, measured: CausalInfluence, embedder_id: str) -> dict[str, Any]:
    """What the ledger holds of a measurement."""
    return {"output": output, "embedder_id": embedder_id, **measured.to_json()}


def _plan(entry: LedgerEntry) -> ConditioningPlan:
    if entry.erased:
        raise InvalidInput(
            f"the texts of output {entry.record.output} were erased",
            hint="its plan can no longer be run, so its influence can no longer be measured",
        )
    return plan_from_json(entry.record.plan)


def _require_rights(plan: ConditioningPlan, rights: Rights) -> None:
    seeding = {part.reference for part in plan.seed_parts}
    for i, reference in enumerate(plan.references):
        for channel in plan.channels:
            if channel.value == "init" and i not in seeding:
                continue
            why = rights.why_not(reference.stem, USE_OF[channel])
            if why is not None:
                raise RequestRefused(
                    f"refused: measuring would use {reference.stem.path} again: {why.reason}",
                    hint=f"what was measured before is in: rag-audio trace FILE; {why.cure}",
                    reasons=[why.reason],
                )


def _same_model(entry: LedgerEntry, home: Home) -> Generator:
    record = entry.record
    generator = home.generator(record.request.get("model"))
    if generator.info.id != record.model_id:
        raise InvalidInput(
            f"output {record.output} was made by {record.model} ({record.model_id[:12]}), "
            f"and {generator.info.name} ({generator.info.id[:12]}) is loaded",
            hint="set RAG_AUDIO_MODEL to the checkpoint that made it",
        )
    return generator

"""Plans as JSON documents and back: complete, so that a plan can be replayed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rag_audio.domain import ConditioningPlan
from rag_audio.domain.codec import Document, encode, read, read_noun
from rag_audio.errors import InvalidInput

_PLAN_FORMAT = 1


def plan_to_json(plan: ConditioningPlan) -> Document:
    """A whole plan as a JSON object; ``plan_from_json`` gives an equal plan back."""
    return {"format": _PLAN_FORMAT, **encode(plan)}


def plan_from_json(document: Mapping[str, Any]) -> ConditioningPlan:
    """The inverse of :func:`plan_to_json`.

    Raises:
        InvalidInput: the document is not a plan, or contradicts itself.
    """
    plan = read_noun("plan", document, _plan)
    _check_plan(plan)
    return plan


def _plan(document: Mapping[str, Any]) -> ConditioningPlan:
    if document["format"] != _PLAN_FORMAT:
        raise InvalidInput(f"a plan of format {document['format']!r} cannot be read")
    return read(ConditioningPlan, document)


def _check_plan(plan: ConditioningPlan) -> None:
    for part in plan.seed_parts:
        if not 0 <= part.reference < len(plan.references):
            raise InvalidInput(f"the plan seeds from reference {part.reference}, which it lacks")
        if not (part.weight >= 0 and 0 < part.time_ratio < math.inf and part.loop_s >= 0):
            raise InvalidInput(f"the plan's seed part {part} is out of range")
        end_s = plan.duration_s if part.end_s is None else part.end_s
        if not 0 <= part.start_s < end_s < math.inf:
            raise InvalidInput(f"the plan's seed part {part} sounds nowhere")
    for source in () if plan.melody is None else plan.melody.sources:
        if not 0 <= source < len(plan.references):
            raise InvalidInput(
                f"the plan attributes its melody to reference {source}, which it lacks"
            )
    for span in plan.spans:
        if plan.enriched_prompt[span.start : span.end] != span.text:
            raise InvalidInput(f"the plan's prompt does not hold {span.text!r} where it says so")
    if not 0 < plan.strength <= 1:
        raise InvalidInput(f"the plan's strength must be in (0, 1], got {plan.strength:g}")
    if not 0 < plan.duration_s < math.inf:
        raise InvalidInput(f"the plan's duration must be positive, got {plan.duration_s:g}")

"""Jobs as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rag_audio.service.models import Job, JobState
from rag_audio.service.wording import Places

_RESULT = (
    *("enriched_prompt", "strength", "steps", "guidance", "model", "untrained", "references"),
    *("model_share", "bpm", "key", "duration_s", "controls", "watermark", "notes", "enforced"),
    *("enforced_met", "unmet", "stages_s", "pass_of"),
)


def job_json(job: Job, places: Places) -> dict[str, Any]:
    """A job, as its owner may see it, with links to all that belongs to it.

    What it names was chosen for its owner when it ran.

    Args:
        places: names files: an older version wrote paths into problems and notes.
    """
    here = f"/v1/generations/{job.id}"
    result = job.result or {}
    document: dict[str, Any] = {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "created": moment(job.created_at),
        "started": moment(job.started_at),
        "finished": moment(job.finished_at),
        "attempts": job.attempts,
        "cancel_asked": job.cancel_asked,
        "stage": job.stage,
        "done": job.done,
        "total": job.total,
        "eta_s": job.eta_s if job.state is JobState.RUNNING else None,
        "position": job.position,
        "prompt": job.request.get("prompt", ""),
        "request": {name: value for name, value in job.request.items() if name != "webhook"},
        "problem": None if job.problem is None else places.error(job.problem),
        "outputs": [
            output_json(here, i, output) for i, output in enumerate(result.get("outputs", ()))
        ],
        **{name: result.get(name) for name in _RESULT},
        "notes": places.document(result.get("notes")),
        "links": {
            "self": here,
            "events": f"{here}/events",
            "content": f"{here}/content",
            "plan": f"{here}/plan",
            "record": f"{here}/record",
            "cancel": f"{here}/cancel",
        },
    }
    return document


def output_json(here: str, i: int, output: Mapping[str, Any]) -> dict[str, Any]:
    """One take of a finished job."""
    shown = ("output", "seed", "duration_s", "sample_rate", "channels", "quality", "pcm_sha256")
    return {
        "take": i + 1,
        **{name: output.get(name) for name in shown},
        "enforced_met": output.get("enforced_met"),
        "unmet": output.get("unmet", []),
        "content": f"{here}/content?take={i + 1}",
        "record": f"{here}/record?take={i + 1}",
    }


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601, UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

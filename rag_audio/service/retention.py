"""Which masters jobs need that have not ended."""

from __future__ import annotations

import json

from sqlalchemy import Engine, select

from rag_audio.service.jobs import JobState
from rag_audio.service.tables import jobs
from rag_audio.storage.database import reading


def outputs_in_use(database: Engine) -> frozenset[int] | None:
    """Outputs that unfinished edits begin with, and those these were made from; None: an edit does
    not say, as one that an earlier version accepted.

    Raises:
        BackendUnavailable: the database is away.
    """
    unfinished = jobs.c.state.in_((JobState.QUEUED.value, JobState.RUNNING.value))
    with reading(database) as db:
        plans = db.execute(select(jobs.c.plan).where(unfinished, jobs.c.kind == "edit")).scalars()
        try:
            edits = [json.loads(plan)["edit"] for plan in plans]
            return frozenset(int(output) for edit in edits for output in edit["ancestors"])
        except (TypeError, ValueError, KeyError):
            return None

"""Durable jobs: rows in the ledger's database, so that an output and its job end in one commit."""

from __future__ import annotations

from rag_audio.jobs.nouns import (
    Claimed,
    Event,
    Job,
    JobState,
    LeaseLost,
    Limits,
    QueueFull,
    RowUnreadable,
)
from rag_audio.jobs.store import SqlJobs

__all__ = [
    "Claimed",
    "Event",
    "Job",
    "JobState",
    "LeaseLost",
    "Limits",
    "QueueFull",
    "RowUnreadable",
    "SqlJobs",
]

"""Whose outputs are, held against the log; and what finished jobs say of outputs.

The record of an output commits to its owner (:mod:`rag_audio.provenance.sealing`), or says that it
has none. Records from before that say nothing; for those the job that made them is asked, where it
is still there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, column, select, table

from rag_audio.documents import finite, source_json
from rag_audio.errors import LedgerError
from rag_audio.ports import Fault
from rag_audio.provenance.logged import Logged, find_logged
from rag_audio.provenance.sealing import OWNER_AT, unseal, without_texts
from rag_audio.provenance.tables import entries, is_output

_OWNERS = table("output_owners", column("output"), column("owner"))
_JOBS = table("jobs", *map(column, ("id", "seq", "owner", "result")))
_AT_ONCE = 200
_OF_PLAN = (
    *("prompt", "enriched_prompt", "negative_prompt", "strength", "steps", "guidance"),
    *("bpm", "duration_s", "notes"),
)
"""What the result of a job has of its plan, under the same name."""


class OwnerAudit:
    """A :class:`rag_audio.provenance.logged.SideAudit` of owners and of finished jobs."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def of(self, outputs: Sequence[Logged]) -> Iterator[Fault]:
        """What is wrong with the owners of these outputs, as their records have them."""
        owners = self._owners([one.output for one in outputs])
        for one in outputs:
            if "owner" not in one.document:
                continue
            committed = OWNER_AT in one.part("commitments")
            if committed and one.output not in owners:
                yield _fault(one, "is missing")
            elif not committed and one.output in owners:
                yield _fault(one, "is there, and its record says that it has none")
            elif committed and one.texts.get(OWNER_AT, owners[one.output]) != owners[one.output]:
                yield _fault(one, "is not the one that its record commits to")

    def rest(self) -> Iterator[Fault]:
        """Owners of outputs that the log does not know, and jobs that contradict the log."""
        logged = select(entries.c.seq).where(is_output, entries.c.output == _OWNERS.c.output)
        strays = select(_OWNERS.c.output).where(~logged.exists())
        for output in self._db.execute(strays).scalars():
            yield Fault(
                0, f"the owner of output {output} is stored, but that output is not in the log"
            )
        last: Any = None
        finished = select(_JOBS).where(_JOBS.c.result.is_not(None)).order_by(_JOBS.c.seq)
        while jobs := self._db.execute(
            (finished if last is None else finished.where(_JOBS.c.seq > last)).limit(_AT_ONCE)
        ).all():
            last = jobs[-1].seq
            yield from self._job_faults(jobs)

    def _job_faults(self, jobs: Sequence[Row[Any]]) -> Iterator[Fault]:
        results = [(job, _result(job.result)) for job in jobs]
        made = [(job, result, take) for job, result in results if result for take in _takes(result)]
        numbers = [take["output"] for _, _, take in made]
        logged, owners = find_logged(self._db, numbers), self._owners(numbers)
        for job, result in results:
            if result is None:
                yield Fault(0, f"the result of the job {job.id} cannot be read")
        for job, result, take in made:
            one = logged.get(take["output"])
            if one is None:
                what = f"the job {job.id} made output {take['output']}, which is not in the log"
                yield Fault(0, what)
                continue
            if owners.get(one.output) != job.owner:
                yield _fault(one, f"is not the one that its job {job.id} was done for")
            for name in _differences(one, result, take):
                yield Fault(one.seq, f"the job {job.id} has another {name} of output {one.output}")

    def _owners(self, outputs: Sequence[int]) -> dict[int, Any]:
        rows = self._db.execute(select(_OWNERS).where(_OWNERS.c.output.in_(outputs)))
        return {row.output: row.owner for row in rows}


def _result(text: object) -> Mapping[str, Any] | None:
    """The result of a job; None where it is not a JSON object with outputs that have numbers."""
    try:
        found = json.loads(str(text))
        return found if all(isinstance(one["output"], int) for one in _takes(found)) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _takes(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = result.get("outputs", ())
    return found


def _differences(one: Logged, result: Mapping[str, Any], take: Mapping[str, Any]) -> Iterator[str]:
    """What a job says otherwise than the record of its output: the service answers with it.

    Args:
        result: of the job; it holds the plan and the sources of its first take. take: what it says
            of this output. Names that an older version did not write are not compared.
    """
    for name in ("pcm_sha256", "files"):
        if name in take and take[name] != one.document.get(name):
            yield name
    if take is not _takes(result)[0]:
        return
    for name in ("model", "model_id", "untrained"):
        if name in result and result[name] != one.document.get(name):
            yield name
    texts: dict[str, str] = {}
    plan = without_texts(result.get("plan"), "/plan", texts)
    if plan is not None and (plan != one.document.get("plan") or _other_texts(texts, one)):
        yield "plan"
    for name in _OF_PLAN:
        if plan is not None and name in result and result[name] != result["plan"].get(name):
            yield name
    if "references" in result and not _same_sources(result["references"], one):
        yield "list of sources"


def _other_texts(texts: Mapping[str, str], one: Logged) -> bool:
    """Whether a text of the plan is another one than the record's; erased ones are not known."""
    return any(one.texts.get(at, text) != text for at, text in texts.items())


def _same_sources(named: Any, one: Logged) -> bool:
    try:
        record, _ = unseal(one.document, None)
        sources = [finite(source_json(source)) for source in record.sources]
        return not sources or (
            len(sources) == len(named)
            and all(
                source.get(name, value) == value
                for source, reference in zip(sources, named, strict=True)
                for name, value in reference.items()
            )
        )
    except (LedgerError, TypeError, AttributeError):
        return False


def _fault(one: Logged, what: str) -> Fault:
    return Fault(one.seq, f"the owner of output {one.output} {what}")

"""Who may see what: the one rule of all routes, jobs and messages.

An output, and all that is known of it (its job, plan, record, sound, log entry and proof), is seen
by the key whose job made it and by administrators. A source is seen by whoever may use its library.
Whatever is not seen is left out of an answer, or has a name that tells nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rag_audio.domain.disclosure import OTHER_OUTPUT, Disclosure
from rag_audio.domain.json_documents import finite
from rag_audio.domain.record import LedgerEntry
from rag_audio.home import Home
from rag_audio.provenance.ledger.records import record_to_json
from rag_audio.provenance.trace.findings import Evidence, InFile, TracedSource, TraceResult
from rag_audio.provenance.trace.time_ranges import TimeRange
from rag_audio.service.api_access import EVERYBODY, Caller, SqlAccess
from rag_audio.service.jobs import Job
from rag_audio.service.tables import SqlOwners
from rag_audio.service.wording import Places

_UNSEEN = "It names an output that this key does not see, or that is not known here."


def may_see(caller: Caller, owner: str | None) -> bool:
    """Whether somebody may see what an owner made: the owner and administrators may, nobody else.

    Args:
        owner: id of the key whose job made it; None: it was made without the service.
    """
    return caller.is_admin or (owner is not None and owner == caller.owner)


class Visibility:
    """What one caller, or one job's owner, may see.

    Args:
        owners: says whose outputs are.
        places: names files.
    """

    def __init__(self, caller: Caller, home: Home, owners: SqlOwners, places: Places) -> None:
        self._caller, self._home, self._owners = caller, home, owners
        self.places = places
        own = None if caller.is_admin or caller.libraries is None else frozenset(caller.libraries)
        self.disclosure = Disclosure(own, cache(self.sees_output), places.file)

    def sees_output(self, output: int) -> bool:
        """Whether an output is the caller's own, or the caller an administrator."""
        return self._caller.is_admin or may_see(self._caller, self._owners.of(output))

    def sees_entry(self, document: bytes) -> bool:
        """Whether an entry of the log is about an output that is seen; others are for admins."""
        output = json.loads(document).get("output")
        if output is None:
            return self._caller.is_admin
        return self.sees_output(int(output))

    @property
    def owner(self) -> str | None:
        """Whose outputs are seen: id of the key; None: everybody's."""
        return None if self._caller.is_admin else self._caller.owner

    def trace(self, found: TraceResult) -> TraceResult:
        """A trace without the sources of other libraries, and without the number, words, time and
        proof of an output that is not seen."""
        told = self.disclosure
        seen_in = [one for one in found.outputs if told.sees_output(one.output)]
        shown, *inside = self._sources(found.sources, *(one.sources for one in seen_in))
        outputs = (InFile(one.output, own) for one, own in zip(seen_in, inside, strict=True))
        found = replace(found, outputs=tuple(outputs))
        if shown != found.sources:
            found = replace(found, sources=shown, record=None, causal=None)
        elif found.record is not None:
            checks = self._checks(found.record.checks)
            found = replace(found, record=replace(found.record, checks=checks))
        if all(told.sees_output(one) for one in found.named):
            return found
        seen = found.output is not None and told.sees_output(found.output)
        found = replace(
            found,
            explanation=_said(found, seen),
            evidence=tuple(_witness(one, told) for one in found.evidence),
            ancestors=tuple(one for one in found.ancestors if told.sees_output(one)),
            ranges=tuple(_range(one, told) for one in found.ranges),
        )
        if seen:
            return found
        return replace(
            found,
            output=None,
            created=None,
            model=None,
            model_share=None,
            proof=None,
            record=None,
            causal=None,
            ancestors=(),
        )

    def _sources(self, *found: Sequence[TracedSource]) -> list[tuple[TracedSource, ...]]:
        """Of each list the sources that a library of the caller's has, as it has them."""
        told = self.disclosure
        if told.libraries is None or not any(found):
            return [tuple(some) for some in found]
        own = self._home.limited_to(told.libraries)
        catalogue, rights = own.catalogue, own.rights()
        shown: list[tuple[TracedSource, ...]] = []
        for some in found:
            kept = []
            for one in some:
                if copies := catalogue.copies(one.stem):
                    within = one.within(told.libraries, copies[0], rights)
                    kept += [] if within is None else [within]
                elif told.knows(one.license_then.library):
                    also = tuple(claim for claim in one.also if told.knows(claim.license.library))
                    kept.append(replace(one, also=also))
            shown.append(tuple(kept))
        return shown

    def record(self, entry: LedgerEntry) -> dict[str, Any]:
        """The document of an output that is seen; files that its request named have no folder."""
        whole = record_to_json(entry.record)
        told, sources = self.disclosure, entry.record.sources
        request, plan = dict(whole["request"] or {}), dict(whole["plan"] or {})
        for name in ("audio", "midi"):
            if request.get(name):
                request[name] = Path(str(request[name])).name
        plan |= {"notes": self.places.document(plan["notes"])} if plan.get("notes") else {}
        document = {**whole, "request": request, "plan": plan}
        if "checks" in whole:
            document["checks"] = self._checks(whole["checks"])
        known = [told.knows(one.license.library) for one in sources]
        if not self._caller.is_admin:
            # Behind the colon is the address of the index's server.
            document["index_id"] = entry.record.index_id.partition(":")[0]
        every = (license for one in sources for license in one.licenses)
        if not all(told.knows(license.library) for license in every):
            shown = [one for one, may in zip(whole["sources"], known, strict=True) if may]
            document |= {"sources": [self._claims(one) for one in shown], "plan": {}}
        whole = {"seq": entry.seq, "leaf_hash": entry.leaf_hash, "erased": entry.erased}
        cleaned: dict[str, Any] = finite({**whole, "record": document})
        return cleaned

    def _claims(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """A source of a record without what other libraries claimed of its bytes."""
        knows = self.disclosure.knows
        also = [one for one in source.get("also", ()) if knows(str(one["license"]["library"]))]
        rest = {name: value for name, value in source.items() if name != "also"}
        return {**rest, "also": also} if also else rest

    def _checks(self, checks: Mapping[str, Any]) -> dict[str, Any]:
        """What was measured of an output, without stems that it was compared with and not made
        from: which of the whole library were the nearest would tell of other libraries."""
        if self.disclosure.libraries is None or "compared" not in checks:
            return dict(checks)
        rows = [self._nearness(one) for one in checks["compared"] if one["used"]]
        shown = [one for one in rows if one is not None]
        near = [one["distance"] for one in shown if one.get("distance") is not None]
        told = {"compared": shown, "copy_distance": min(near, default=None), "control": None}
        return {**checks, **told}

    def _nearness(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """A row of a comparison with a stem, as a library of the caller's has it; None: none."""
        copies = self._home.catalogue.copies(str(row["stem"]))
        own = [one for one in copies if self.disclosure.knows(one.library)]
        return {**row, "path": own[0].path} if own else None


def owner_of(job: Job, access: SqlAccess) -> Caller:
    """Whom a job is done for; without an owner it was asked for where nobody needed a key."""
    if not job.owner:
        return replace(EVERYBODY, libraries=job.libraries)
    key = access.find(job.owner)
    scopes = frozenset() if key is None else key.scopes
    return Caller(job.owner, "" if key is None else key.name, scopes, job.libraries)


def _witness(one: Evidence, told: Disclosure) -> Evidence:
    if all(told.sees_output(number) for number in one.named):
        return one
    seen = one.output is not None and told.sees_output(one.output)
    return Evidence(one.by, one.output if seen else None, one.confidence, _UNSEEN)


def _range(one: TimeRange, told: Disclosure) -> TimeRange:
    """A stretch of time without the numbers of outputs that are not seen."""
    seen = {number for number in one.named if told.sees_output(number)}
    output = one.output if one.output in seen else None
    return replace(one, output=output, marked=one.marked if one.marked in seen else None)


def _said(found: TraceResult, seen: bool) -> str:
    """The explanation of a trace that would name outputs which are not seen."""
    if not found.found:
        return _UNSEEN
    said = f"output {found.output}" if seen else OTHER_OUTPUT
    if not found.transplanted:
        return f"This audio is {said}."
    return f"A mark or manifest in it belongs to another recording. It leads to {said}."

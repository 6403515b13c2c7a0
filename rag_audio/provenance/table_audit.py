"""Tables that stand beside the log, held against it, and the licenses in the log's records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from sqlalchemy import Connection

from rag_audio.ports import Fault
from rag_audio.provenance import rights_audit
from rag_audio.provenance.checking import checked
from rag_audio.provenance.fingerprint_audit import FingerprintAudit
from rag_audio.provenance.key_log import key_faults
from rag_audio.provenance.key_register import register_faults
from rag_audio.provenance.license_audit import LicenseAudit
from rag_audio.provenance.logged import Logged, SideAudit, logged_outputs
from rag_audio.provenance.owner_audit import OwnerAudit

_Tables = frozenset[str]
_OF_OUTPUTS: tuple[tuple[_Tables, Callable[[Connection], SideAudit]], ...] = (
    (frozenset({"fingerprints", "fingerprint_postings"}), FingerprintAudit),
    (frozenset({"output_owners", "jobs"}), OwnerAudit),
    (frozenset(), LicenseAudit),
)
_OTHERS: tuple[tuple[_Tables, Callable[[Connection], Iterator[Fault]]], ...] = (
    (frozenset({"api_keys"}), key_faults),
    *rights_audit.CHECKS,
    (frozenset({"key_fingerprints"}), register_faults),
)
"""Tables that a check reads beside the log, and the check."""


def table_faults(db: Connection, unreadable: Collection[str] = ()) -> Iterator[Fault]:
    """Rows beside the log that are not as it has them, that it lacks, or that are missing; and
    licenses in records that are not those that were sealed.

    A check that meets a cell which cannot be read ends with a fault that says so, and the others go
    on.

    Args:
        unreadable: tables that are missing or lack columns: what reads them is left out.
    """
    yield from _output_faults(db, unreadable)
    for tables, check in _OTHERS:
        if tables.isdisjoint(unreadable):
            yield from checked(db, tables, check(db)).faults


def _output_faults(db: Connection, unreadable: Collection[str]) -> Iterator[Fault]:
    """The outputs of the log are read once, for all checks that need them."""
    audits: list[tuple[_Tables, SideAudit]] = []
    for tables, make in _OF_OUTPUTS:
        if tables.isdisjoint(unreadable):
            yield from checked(db, tables, _begin(db, make, tables, audits)).faults
    stream = logged_outputs(db)
    while True:
        outputs: list[Logged] = []
        step = checked(db, (), _read(stream, outputs))
        yield from step.faults
        if not step.ended:
            return  # Of outputs that were not read nothing can be said.
        if not outputs:
            break
        for one in list(audits):
            step = checked(db, one[0], one[1].of(outputs))
            yield from step.faults
            if not step.ended:
                audits.remove(one)
    for tables, audit in audits:
        yield from checked(db, tables, audit.rest()).faults


def _begin(
    db: Connection,
    make: Callable[[Connection], SideAudit],
    tables: _Tables,
    into: list[tuple[_Tables, SideAudit]],
) -> Iterator[Fault]:
    into.append((tables, make(db)))
    yield from ()


def _read(stream: Iterator[list[Logged]], into: list[Logged]) -> Iterator[Fault]:
    """The next outputs; those of damaged entries are left out, so that pages may be empty."""
    while not into and (page := next(stream, None)) is not None:
        into.extend(page)
    yield from ()

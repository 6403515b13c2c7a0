"""Tables that stand beside the log, held against it: fingerprints, owners, API keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from sqlalchemy import Connection

from rag_audio.ports import Fault
from rag_audio.provenance import rights_audit
from rag_audio.provenance.fingerprint_audit import FingerprintAudit
from rag_audio.provenance.key_log import key_faults
from rag_audio.provenance.key_register import register_faults
from rag_audio.provenance.logged import SideAudit, logged_outputs
from rag_audio.provenance.owner_audit import OwnerAudit

_OF_OUTPUTS: tuple[tuple[frozenset[str], Callable[[Connection], SideAudit]], ...] = (
    (frozenset({"fingerprints", "fingerprint_postings"}), FingerprintAudit),
    (frozenset({"output_owners", "jobs"}), OwnerAudit),
)
_OTHERS: tuple[tuple[frozenset[str], Callable[[Connection], Iterator[Fault]]], ...] = (
    (frozenset({"api_keys"}), key_faults),
    (frozenset(rights_audit.TABLES), rights_audit.faults),
    (frozenset({"key_fingerprints"}), register_faults),
)
"""Tables that a check reads, and the check."""


def table_faults(db: Connection, unreadable: Collection[str] = ()) -> Iterator[Fault]:
    """Rows beside the log that are not as it has them, that it lacks, or that are missing.

    The outputs of the log are read once, for all checks that need them.

    Args:
        unreadable: tables that are missing or lack columns: what reads them is left out.
    """
    audits = [make(db) for tables, make in _OF_OUTPUTS if tables.isdisjoint(unreadable)]
    for outputs in logged_outputs(db):
        for audit in audits:
            yield from audit.of(outputs)
    for audit in audits:
        yield from audit.rest()
    for tables, check in _OTHERS:
        if tables.isdisjoint(unreadable):
            yield from check(db)

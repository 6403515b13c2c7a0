"""The ledger: an append-only, tamper-evident log of outputs in a SQL database.

Every entry is one canonical JSON document and a leaf of an RFC 6962 Merkle tree. All other columns
and tables are derived from the documents, so that :meth:`SqlLedger.verify` can recompute them, save
the personal texts, which stand aside under commitments so that they can be erased
(:mod:`.sealing`). Triggers refuse to change or delete what was written; they
keep honest programs honest, and the hashes find out about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from rag_audio.domain import AttributionRecord
from rag_audio.domain.record import Fault, LedgerEntry, LedgerEvent
from rag_audio.errors import BackendUnavailable, ConfigError, LedgerError
from rag_audio.provenance.ledger import audit_rights
from rag_audio.provenance.ledger.audit import checkpoint_faults, faults
from rag_audio.provenance.ledger.audit_basis import checked, find_damage
from rag_audio.provenance.ledger.audit_tables import table_faults
from rag_audio.provenance.ledger.erasing import erase_texts, scrub
from rag_audio.provenance.ledger.key_register import compare_keys, ledger_key
from rag_audio.provenance.ledger.log import LogReader, event_of, output_row
from rag_audio.provenance.ledger.notes import Checkpoint, load_key
from rag_audio.provenance.ledger.numbering import NUMBERS, check_given, next_number
from rag_audio.provenance.ledger.sealing import EVENTS, OUTPUT, event_document, seal
from rag_audio.provenance.ledger.tables import Draft, append_drafts, checkpoints, frontier_in
from rag_audio.storage.database import hold, reading, writing
from rag_audio.storage.migrations import migrate

_LOCK = "ledger"


class SqlLedger(LogReader):
    """A :class:`.Ledger`; any number of processes may append at once.

    Args:
        engine: from :func:`.connect`. Tables are made, and those of an older
            version are migrated, on first use.
        key_file: the key that signs checkpoints; made when the first one is signed.
        is_used: whether the home holds something of an output of this number (its master): then it
            was used before, whatever the counter says, and is not given again.

    Raises:
        BackendUnavailable: the database cannot be reached; so may every method.
        ConfigError: a newer version made the database.
        LedgerTampered: the database is of an older version and does not match its hashes.
    """

    def __init__(
        self,
        engine: Engine,
        key_file: Path | None = None,
        is_used: Callable[[int], bool] | None = None,
    ) -> None:
        super().__init__(engine)
        self._key_file = key_file
        self._is_used = is_used or (lambda _number: False)
        migrate(engine)

    def next_output_id(self) -> int:
        """A number never given before, 1…2^40-1, see :mod:`rag_audio.provenance.ledger.numbering`.

        Gaps are allowed; a later number may be smaller.

        Raises:
            LedgerError: all numbers have been given.
        """
        with writing(self._engine, _LOCK) as db:

            def begin(first: int) -> None:
                append_event_in(db, NUMBERS, {"numbers_from": first})

            return next_number(db, self._is_used, begin)

    def append(self, record: AttributionRecord) -> LedgerEntry:
        """Write a record at the end of the log; durable when it returns.

        Raises:
            LedgerError: the output's number was never given or has an entry already, or the
                record cannot be written as JSON. Nothing is written then.
        """
        return self.append_many([record])[0]

    def append_many(
        self,
        records: Sequence[AttributionRecord],
        within: Callable[[Connection], None] | None = None,
        owner: str | None = None,
    ) -> list[LedgerEntry]:
        """Append all in one transaction, or none; raises as :meth:`append` does.

        Args:
            within: called in that transaction, after the entries were written; what it raises
                undoes all of it and passes through.
            owner: id of the API key whose job made the outputs, see
                :func:`rag_audio.provenance.ledger.sealing.seal`.
        """
        drafts = []
        for record in records:
            sealed = seal(record, owner)
            drafts.append(Draft(OUTPUT, record.output, sealed.document, sealed))
        outputs = [record.output for record in records]
        try:
            with writing(self._engine, _LOCK) as db:
                check_given(db, outputs)
                first = append_drafts(db, drafts)
                if within is not None:
                    within(db)
        except BackendUnavailable as error:
            if isinstance(error.__cause__, IntegrityError):
                self._explain(outputs, error)
            raise
        return [
            LedgerEntry(first + i, draft.leaf.hex(), draft.sealed.record)
            for i, draft in enumerate(drafts)
            if draft.sealed is not None
        ]

    def append_event(self, kind: str, document: Mapping[str, Any]) -> LedgerEvent:
        """Log an event: one of :data:`rag_audio.provenance.ledger.sealing.EVENTS`.

        Args:
            document: public and permanent, so without personal data. ``output``, where it stands,
                is the number of the output it is about; an influence must have it.

        Raises:
            LedgerError: the kind is another one, the output has no entry, the document cannot be
                written as JSON, or a refusal quotes a text. Nothing is written then.
        """
        with writing(self._engine, _LOCK) as db:
            return append_event_in(db, kind, document)

    def checkpoint(self) -> str:
        """Sign the log's present state, keep the note in the database, and return it.

        The first one logs the key that signs.

        Raises:
            ConfigError: the ledger was opened without a key, or with another than it is signed by.
        """
        if self._key_file is None:
            raise ConfigError("the ledger has no key to sign checkpoints with")
        with writing(self._engine, _LOCK) as db:
            key = ledger_key(db, self._key_file)
            frontier = frontier_in(db)
            note = key.sign(Checkpoint(key.name, frontier.size, frontier.root()).text)
            row = {"size": frontier.size, "key": str(key.verifier), "note": note}
            same = select(checkpoints.c.note).where(
                checkpoints.c.size == row["size"], checkpoints.c.key == row["key"]
            )
            if db.execute(same).first() is None:
                db.execute(insert(checkpoints), row)
        return note

    def verifier_key(self) -> str | None:
        """The public half of the key that signs checkpoints; None where there is none yet."""
        key = None if self._key_file is None else load_key(self._key_file)
        return None if key is None else str(key.verifier)

    def erase(self, output: int) -> LedgerEvent:
        """Delete an output's personal texts, and log that it was done; the log stays verifiable.

        Erasing twice is no error: what the first time left in the database's own files, because
        another process was reading, is removed by the second.

        Raises:
            LedgerError: the ledger has no such output, or it has no texts of its own that could
                be erased (the first version wrote them into the document).
            BackendUnavailable: the texts are erased, but their bytes may still be in a file.
        """
        with writing(self._engine, _LOCK) as db:
            row = erase_texts(db, output)
        scrub(self._engine)
        return event_of(row.seq, row.leaf_hash, bytes(row.document))

    def notes(self) -> list[str]:
        """What :meth:`verify` finds no fault with and should be known: libraries whose rows are not
        sealed, and every time that some were found changed and made anew. One line each."""
        with reading(self._engine) as db:
            return list(audit_rights.notes(db))

    def verify(self, against: Sequence[str] = (), key: str | None = None) -> list[Fault]:
        """Recompute every hash, and hold every table and the keys against the log; empty when all
        is well.

        Finds what was edited, removed, put in another order or added past the log, tables, primary
        keys and triggers that are missing, cells that cannot be read, rows beside the log that are
        not as it has them, licenses in records that were not sealed, and keys beside the ledger's
        that are missing or not the database's. A database that was rewritten as a whole is found
        only by checkpoints that were kept elsewhere.

        Args:
            against: signed checkpoints that this log must extend.
            key: the verifier key of those; None: the log's own.
        """
        own = self.verifier_key()
        with reading(self._engine) as db:
            damage = find_damage(db)
            found = list(damage.faults)
            if not damage.of_log:
                found.extend(checked(db, (), faults(db, own)).faults)
                for note in against:
                    found.extend(checked(db, (), checkpoint_faults(db, note, key or own)).faults)
                found.extend(table_faults(db, damage.tables))
                if "key_fingerprints" not in damage.tables:
                    found.extend(checked(db, {"key_fingerprints"}, self._key_faults(db)).faults)
        return list(dict.fromkeys(found))

    def _key_faults(self, db: Connection) -> Iterator[Fault]:
        """Keys of the database that the home lacks, and others that it has."""
        if self._key_file is not None:
            for problem in compare_keys(db, self._key_file.parent):
                yield Fault(problem.seq, problem.what)

    def _explain(self, outputs: Sequence[int], error: BackendUnavailable) -> None:
        """Say which output has an entry already."""
        if len(set(outputs)) < len(outputs):
            raise LedgerError("an output comes twice among the records") from error
        for output in outputs:
            entry = self.find(output)
            if entry is not None:
                raise LedgerError(f"output {output} has an entry already: {entry.seq}") from error


def append_event_in(db: Connection, kind: str, document: Mapping[str, Any]) -> LedgerEvent:
    """As :meth:`SqlLedger.append_event`, in a write transaction of the caller's.

    What the event tells of is then done if and only if it is logged.
    """
    if kind not in EVENTS:
        raise LedgerError(f"{kind!r} is not a kind of event: {', '.join(EVENTS)}")
    output = document.get("output")
    if output is None and kind == "influence":
        raise LedgerError("an influence must say which output it is about")
    if output is not None and (isinstance(output, bool) or not isinstance(output, int)):
        raise LedgerError(f"the output of an event must be its number, got {output!r}")
    draft = Draft(kind, output, event_document(kind, output, document))
    hold(db, _LOCK)
    if output is not None and db.execute(output_row(output)).first() is None:
        raise LedgerError(f"the ledger has no output {output}", hint="rag-audio outputs")
    seq = append_drafts(db, [draft])
    return event_of(seq, draft.leaf.hex(), draft.document)

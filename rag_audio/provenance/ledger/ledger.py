"""The ledger: an append-only, tamper-evident log of outputs in a SQL database.

Every entry is one canonical JSON document and a leaf of an RFC 6962 Merkle tree. All other columns
and tables are derived from the documents, so that :meth:`SqlLedger.verify` can recompute them, save
the personal texts, which stand aside under commitments so that they can be erased
(:mod:`.commitments`). Triggers refuse to change or delete what was written; they
keep honest programs honest, and the hashes find out about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Select,
    delete,
    insert,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError

from rag_audio.domain import AttributionRecord, names
from rag_audio.domain.record import Fault, InclusionProof, LedgerEntry, LedgerEvent
from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput, LedgerError
from rag_audio.provenance.ledger import audit_rights, merkle
from rag_audio.provenance.ledger.audit import checked, checkpoint_faults, faults, schema_faults
from rag_audio.provenance.ledger.audit_tables import table_faults
from rag_audio.provenance.ledger.commitments import (
    ERASURE,
    OUTPUT,
    event_document,
    has_texts,
    seal,
    unseal,
)
from rag_audio.provenance.ledger.key_register import compare_keys, ledger_key
from rag_audio.provenance.ledger.numbering import check_given, next_number
from rag_audio.provenance.ledger.output_queries import (
    EVERY,
    FIRST,
    PAGE,
    OutputFilter,
    PageOf,
    count_rows,
    each_name,
    has_name,
    page_rows,
)
from rag_audio.provenance.ledger.records import parse
from rag_audio.provenance.ledger.signed_notes import LogCheckpoint, load_key
from rag_audio.provenance.ledger.tables import (
    LOCK,
    MAX_OUTPUT,
    Draft,
    append_drafts,
    append_event,
    checkpoints,
    entries,
    event_of,
    frontier_in,
    hashes,
    is_event,
    is_output,
    node_in,
    output_entries,
    output_row,
    private,
    raw_bytes,
)
from rag_audio.storage.database import IN_MEMORY, database_errors, reading, writing
from rag_audio.storage.migrations import SqlStore

_AT_ONCE = 500


class SqlLedger(SqlStore):
    """The log of a home; any number of processes may append at once.

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

    def next_output_id(self) -> int:
        """A number never given before, 1…2^40-1, see :mod:`rag_audio.provenance.ledger.numbering`.

        Gaps are allowed; a later number may be smaller.

        Raises:
            LedgerError: all numbers have been given.
        """
        with writing(self._engine, LOCK) as db:
            return next_number(db, self._is_used)

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
                :func:`rag_audio.provenance.ledger.commitments.seal`.
        """
        drafts = []
        for record in records:
            sealed = seal(record, owner)
            drafts.append(Draft(OUTPUT, record.output, sealed.document, sealed, owner))
        outputs = [record.output for record in records]
        try:
            with writing(self._engine, LOCK) as db:
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
        """Log an event: one of :data:`rag_audio.provenance.ledger.commitments.EVENTS`.

        Args:
            document: public and permanent, so without personal data. ``output``, where it stands,
                is the number of the output it is about; an influence must have it.

        Raises:
            LedgerError: the kind is another one, the output has no entry, the document cannot be
                written as JSON, or a refusal quotes a text. Nothing is written then.
        """
        with writing(self._engine, LOCK) as db:
            return append_event(db, kind, document)

    def checkpoint(self) -> str:
        """Sign the log's present state, keep the note in the database, and return it.

        The first one logs the key that signs.

        Raises:
            ConfigError: the ledger was opened without a key, or with another than it is signed by.
        """
        if self._key_file is None:
            raise ConfigError("the ledger has no key to sign checkpoints with")
        with writing(self._engine, LOCK) as db:
            key = ledger_key(db, self._key_file)
            frontier = frontier_in(db)
            note = key.sign(LogCheckpoint(key.name, frontier.size, frontier.root()).text)
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
        with writing(self._engine, LOCK) as db:
            row = erase_texts(db, output)
        scrub(self._engine)
        return event_of(row.seq, row.leaf_hash, bytes(row.document))

    def events(
        self, kind: str | None = None, output: int | None = None, after: int = 0, limit: int = PAGE
    ) -> list[LedgerEvent]:
        """A page of the events of a kind, about an output; oldest first; nothing given: of all.

        Args:
            after: place of the last event that was read. limit: at most so many.
        """
        wanted = select(entries).where(is_event, entries.c.seq > after).order_by(entries.c.seq)
        if kind is not None:
            wanted = wanted.where(entries.c.kind == kind)
        if output is not None:
            wanted = wanted.where(entries.c.output == output)
        with reading(self._engine) as db:
            rows = db.execute(wanted.limit(limit)).all()
        return [event_of(row.seq, row.leaf_hash, bytes(row.document)) for row in rows]

    def each_event(
        self, kind: str | None = None, output: int | None = None
    ) -> Iterator[LedgerEvent]:
        """All events of :meth:`events`, read a page at a time."""
        after = 0
        while page := self.events(kind, output, after):
            yield from page
            after = page[-1].seq

    def find(self, output: int) -> LedgerEntry | None:
        """The entry of an output, if there is one."""
        if not 1 <= output <= MAX_OUTPUT:
            return None
        with reading(self._engine) as db:
            row = db.execute(output_row(output)).first()
        return None if row is None else _entry(row)

    def outputs(self, which: OutputFilter = EVERY, page: PageOf = FIRST) -> list[LedgerEntry]:
        """A page of the outputs that are meant, in order of their entries."""
        with reading(self._engine) as db:
            return [_entry(row) for row in page_rows(db, which, page)]

    def each_output(self, which: OutputFilter = EVERY) -> Iterator[LedgerEntry]:
        """The outputs that are meant, oldest first, read a page at a time: each page sees the log
        as it is then."""
        page = FIRST
        while found := self.outputs(which, page):
            yield from found
            page = PageOf(after=found[-1].seq)

    def count_outputs(self, which: OutputFilter = EVERY) -> int:
        """How many outputs are meant."""
        with reading(self._engine) as db:
            return count_rows(db, which)

    def source_names(self, of: Literal["artist", "holder", "license"]) -> list[str]:
        """The artists, holders or licenses' ids of all sources of outputs, each once, in order."""
        with reading(self._engine) as db:
            return list(each_name(db, of))

    def owner_names(self, of: Literal["artist", "holder"], asked: str, owner: str) -> list[str]:
        """The artists or holders of sources of an owner's outputs whose name is written as, or
        much as, ``asked``."""
        with reading(self._engine) as db:
            alike = [one for one in each_name(db, of) if names.loose(one) == names.loose(asked)]
            return [one for one in alike if has_name(db, of, one, owner)]

    def find_pcm(self, sha256: str) -> LedgerEntry | None:
        """The entry whose samples (before or after marking) or file have this hash.

        Two outputs of one request and seed have the same samples before marking; the first is
        returned then. A delivered file or marked samples go before unmarked ones.
        """
        wanted = (
            output_entries()
            .join(hashes, hashes.c.seq == entries.c.seq)
            .where(hashes.c.sha256 == sha256.lower())
            .order_by(hashes.c.what == "pcm", entries.c.seq)
            .limit(1)
        )
        with reading(self._engine) as db:
            row = db.execute(wanted).first()
        return None if row is None else _entry(row)

    def size(self) -> int:
        """Entries in the log, events included."""
        with reading(self._engine) as db:
            return frontier_in(db).size

    def root(self, size: int | None = None) -> str:
        """RFC 6962 tree head over the first ``size`` entries, hex; None: over all.

        Raises:
            InvalidInput: the log has not so many entries.
            LedgerTampered: a stored node is missing; so may the proofs.
        """
        with reading(self._engine) as db:
            frontier = frontier_in(db)
            if size is None or size == frontier.size:
                return frontier.root().hex()
            _check_size(size, frontier.size)
            return merkle.root_at(node_in(db), size).hex()

    def inclusion(self, seq: int, size: int | None = None) -> InclusionProof:
        """That entry ``seq`` is in the log of ``size`` entries (None: all there are).

        Raises:
            InvalidInput: it is not.
        """
        with reading(self._engine) as db:
            now = frontier_in(db).size
            size = _check_size(size, now)
            if not 1 <= seq <= size:
                raise InvalidInput(f"the log of {size} entries has no entry {seq}")
            node = node_in(db)
            path = merkle.inclusion_path(node, seq - 1, size)
            leaf, root = node(0, seq - 1), merkle.root_at(node, size)
        return InclusionProof(seq, leaf.hex(), size, root.hex(), tuple(h.hex() for h in path))

    def consistency(self, old: int, new: int | None = None) -> tuple[str, ...]:
        """That the log of ``new`` entries begins with that of ``old`` (RFC 6962, 2.1.2), hex.

        Raises:
            InvalidInput: the log never had these sizes in this order.
        """
        with reading(self._engine) as db:
            new = _check_size(new, frontier_in(db).size)
            old = _check_size(old, new)
            return tuple(step.hex() for step in merkle.consistency_path(node_in(db), old, new))

    def document(self, seq: int) -> bytes | None:
        """The document of an entry, as it was hashed; None: there is no such entry."""
        if not 1 <= seq <= 2**63 - 1:
            return None
        with reading(self._engine) as db:
            found = db.execute(select(entries.c.document).where(entries.c.seq == seq)).scalar()
        return None if found is None else bytes(found)

    def documents(self) -> Iterator[bytes]:
        """The documents of all entries, in order; what was there when the first is asked for."""
        last, size = 0, self.size()
        while last < size:
            with reading(self._engine) as db:
                rows = db.execute(
                    select(entries.c.seq, entries.c.document)
                    .where(entries.c.seq.between(last + 1, min(size, last + _AT_ONCE)))
                    .order_by(entries.c.seq)
                ).all()
            yield from (bytes(row.document) for row in rows)
            last += _AT_ONCE

    def notes(self) -> list[str]:
        """What :meth:`verify` finds no fault with and should be known: libraries whose rows are not
        sealed, and every time that some were found changed and made anew. One line each."""
        with reading(self._engine) as db:
            return list(audit_rights.notes(db))

    def verify(self, against: Sequence[str] = (), key: str | None = None) -> list[Fault]:
        """Recompute every hash, and compare every table and the keys with the log; empty when all
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
            found, unreadable = schema_faults(db)
            if any(table.startswith("ledger_") for table in unreadable):
                what = "the log was not checked, since a table of it cannot be read"
                return [*found, Fault(0, what)]
            found += checked(db, (), faults(db, own))
            for note in against:
                found += checked(db, (), checkpoint_faults(db, note, key or own))
            found += table_faults(db, unreadable)
            if self._key_file is not None and "key_fingerprints" not in unreadable:
                problems = compare_keys(db, self._key_file.parent)
                other_keys = (Fault(one.seq, one.what) for one in problems)
                found += checked(db, {"key_fingerprints"}, other_keys)
        return list(dict.fromkeys(found))

    def _explain(self, outputs: Sequence[int], error: BackendUnavailable) -> None:
        """Say which output has an entry already."""
        if len(set(outputs)) < len(outputs):
            raise LedgerError("an output comes twice among the records") from error
        for output in outputs:
            entry = self.find(output)
            if entry is not None:
                raise LedgerError(f"output {output} has an entry already: {entry.seq}") from error


def _entry(row: Row[Any]) -> LedgerEntry:
    texts = None if row.texts is None else bytes(row.texts)
    record, erased = unseal(parse(bytes(row.document)), texts)
    return LedgerEntry(row.seq, row.leaf_hash, record, erased)


def _check_size(size: int | None, now: int) -> int:
    if size is None:
        return now
    if not 0 <= size <= now:
        raise InvalidInput(f"the log has {now} entries, not {size}")
    return size


# Erasing an output's personal texts: from the table beside the log, and from the disk.


def erase_texts(db: Connection, output: int) -> Row[Any]:
    """Delete the texts of an output and log that; the writer's lock is held by the caller.

    Returns:
        The row of the erasure; of the first one where the texts were erased before.

    Raises:
        LedgerError: there is no such output, or it has no texts that could be erased.
    """
    if db.engine.dialect.name == "sqlite":
        db.execute(text("PRAGMA secure_delete = ON"))
    of_output = _of(output)
    row = db.execute(of_output.where(is_output)).first()
    if row is None:
        raise LedgerError(f"the ledger has no output {output}", hint="rag-audio outputs")
    if not has_texts(parse(raw_bytes(row.document))):
        raise LedgerError(
            f"output {output} has no personal texts aside that could be erased",
            hint="the first version of rag-audio wrote them into the log itself",
        )
    done = _erasures(output)
    if not is_erased(db, output):
        db.execute(delete(private).where(private.c.seq == row.seq))
        document = event_document(ERASURE, output, {"output": output})
        append_drafts(db, [Draft(ERASURE, output, document)])
    return db.execute(done).one()


def is_erased(db: Connection, output: int) -> bool:
    """Whether the log says that the texts of an output were erased."""
    return db.execute(_erasures(output)).first() is not None


def _of(output: int) -> Select[Any]:
    return select(entries).where(entries.c.output == output)


def _erasures(output: int) -> Select[Any]:
    return _of(output).where(is_event, entries.c.kind == ERASURE).order_by(entries.c.seq)


def scrub(engine: Engine) -> None:
    """Deleted texts leave the database's files too, as far as the database can see to it.

    Raises:
        BackendUnavailable: another process keeps the bytes alive by reading.
    """
    with database_errors(engine):
        own = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with own as db:
            if engine.dialect.name == "postgresql":
                db.execute(text("VACUUM ledger_private"))
            elif engine.url.database not in IN_MEMORY:
                busy = db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()
                if busy is not None and busy[0]:
                    raise BackendUnavailable(
                        "the texts are erased, but another process keeps SQLite from emptying "
                        "its write-ahead log, which may still have them",
                        hint="run the command again when that process has ended",
                    )

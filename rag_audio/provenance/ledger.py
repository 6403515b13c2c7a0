"""The ledger: an append-only, tamper-evident log of outputs in a SQL database.

Every entry is one canonical JSON document and a leaf of an RFC 6962 Merkle tree. All other columns
and tables are derived from the documents, so that :meth:`SqlLedger.verify` can recompute them, save
the personal texts, which stand aside under commitments so that they can be erased
(:mod:`rag_audio.provenance.sealing`). Triggers refuse to change or delete what was written; they
keep honest programs honest, and the hashes find out about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Select,
    bindparam,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from rag_audio.database import reading, writing
from rag_audio.domain import AttributionRecord
from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput, LedgerError
from rag_audio.migrations import migrate
from rag_audio.ports import Fault, InclusionProof, LedgerEntry, LedgerEvent
from rag_audio.provenance import merkle
from rag_audio.provenance.audit import checkpoint_faults, faults
from rag_audio.provenance.checkpoints import Checkpoint, load_key, load_or_create_key
from rag_audio.provenance.erasing import erase_texts, scrub
from rag_audio.provenance.records import parse
from rag_audio.provenance.sealing import (
    EVENTS,
    OUTPUT,
    event_document,
    seal,
    unseal,
)
from rag_audio.provenance.statements import Prepared
from rag_audio.provenance.tables import (
    checkpoints,
    counter,
    counter_checksum,
    entries,
    fold,
    hashes,
    is_event,
    is_output,
    private,
    sources,
)
from rag_audio.provenance.tree import (
    Draft,
    append_drafts,
    frontier_in,
    node_in,
)

MAX_OUTPUT = 2**40 - 1
"""The watermark carries 40 bits."""

_LOCK = "ledger"
_AT_ONCE = 500
_LAST_OUTPUT = Prepared(select(counter.c.last_output))
_NEXT_OUTPUT = Prepared(
    update(counter).values(last_output=bindparam("number"), checksum=bindparam("sum"))
)


class SqlLedger:
    """A :class:`rag_audio.ports.Ledger`; any number of processes may append at once.

    Args:
        engine: from :func:`rag_audio.database.connect`. Tables are made, and those of an older
            version are migrated, on first use.
        key_file: the key that signs checkpoints; made when the first one is signed.

    Raises:
        BackendUnavailable: the database cannot be reached; so may every method.
        ConfigError: a newer version made the database.
        LedgerTampered: the database is of an older version and does not match its hashes.
    """

    def __init__(self, engine: Engine, key_file: Path | None = None) -> None:
        self._engine = engine
        self._key_file = key_file
        migrate(engine)

    def next_output_id(self) -> int:
        """A number never given before, 1…2^40-1; gaps are allowed.

        Raises:
            LedgerError: all numbers have been given.
        """
        with writing(self._engine, _LOCK) as db:
            number = int(_LAST_OUTPUT.run(db).scalar_one()) + 1
            if number > MAX_OUTPUT:
                raise LedgerError(f"all {MAX_OUTPUT} output numbers have been given")
            _NEXT_OUTPUT.run(db, {"number": number, "sum": counter_checksum(number)})
        return number

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
    ) -> list[LedgerEntry]:
        """Append all in one transaction, or none; raises as :meth:`append` does.

        Args:
            within: called in that transaction, after the entries were written; what it raises
                undoes all of it and passes through.
        """
        drafts = []
        for record in records:
            sealed = seal(record)
            drafts.append(Draft(OUTPUT, record.output, sealed.document, sealed))
        outputs = [record.output for record in records]
        try:
            with writing(self._engine, _LOCK) as db:
                _check_given(db, outputs)
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
        """Log an ``influence``, ``revocation`` or ``refusal``.

        Args:
            document: public and permanent, so without personal data. ``output``, where it stands,
                is the number of the output it is about; an influence must have it.

        Raises:
            LedgerError: the kind is another one, the output has no entry, the document cannot be
                written as JSON, or a refusal quotes a text. Nothing is written then.
        """
        if kind not in EVENTS:
            raise LedgerError(f"{kind!r} is not a kind of event: {', '.join(EVENTS)}")
        output = document.get("output")
        if output is None and kind == "influence":
            raise LedgerError("an influence must say which output it is about")
        if output is not None and (isinstance(output, bool) or not isinstance(output, int)):
            raise LedgerError(f"the output of an event must be its number, got {output!r}")
        draft = Draft(kind, output, event_document(kind, output, document))
        with writing(self._engine, _LOCK) as db:
            if output is not None and db.execute(_output(output)).first() is None:
                raise LedgerError(f"the ledger has no output {output}", hint="rag-audio outputs")
            seq = append_drafts(db, [draft])
        return _event(seq, draft.leaf.hex(), draft.document)

    def events(self, kind: str | None = None, output: int | None = None) -> list[LedgerEvent]:
        """Events of a kind, about an output; oldest first; nothing given: all."""
        wanted = select(entries).where(is_event).order_by(entries.c.seq)
        if kind is not None:
            wanted = wanted.where(entries.c.kind == kind)
        if output is not None:
            wanted = wanted.where(entries.c.output == output)
        with reading(self._engine) as db:
            rows = db.execute(wanted).all()
        return [_event(row.seq, row.leaf_hash, bytes(row.document)) for row in rows]

    def find(self, output: int) -> LedgerEntry | None:
        """The entry of an output, if there is one."""
        if not 1 <= output <= MAX_OUTPUT:
            return None
        with reading(self._engine) as db:
            row = db.execute(_output(output)).first()
        return None if row is None else _entry(row)

    def outputs(
        self,
        stem: str | None = None,
        artist: str | None = None,
        license: str | None = None,
        holder: str | None = None,
    ) -> list[LedgerEntry]:
        """Outputs with a source that meets all conditions, oldest first; none given: all outputs.

        Args:
            stem: its id, or the beginning of it.
            artist, holder: names; case does not matter.
            license: its id, or ``library/id``.
        """
        conditions = []
        if stem is not None:
            if not stem:
                raise InvalidInput("the stem's id is empty")
            conditions.append(sources.c.stem.startswith(stem, autoescape=True))
        if artist is not None:
            conditions.append(sources.c.artist == fold(artist))
        if license is not None:
            full = sources.c.library.concat(literal("/")).concat(sources.c.license)
            conditions.append(or_(sources.c.license == license, full == license))
        if holder is not None:
            conditions.append(sources.c.holder == fold(holder))
        wanted = _outputs().order_by(entries.c.seq)
        if conditions:
            wanted = wanted.where(entries.c.seq.in_(select(sources.c.seq).where(*conditions)))
        with reading(self._engine) as db:
            rows = db.execute(wanted).all()
        return [_entry(row) for row in rows]

    def find_pcm(self, sha256: str) -> LedgerEntry | None:
        """The entry whose samples (before or after marking) or file have this hash.

        Two outputs of one request and seed have the same samples before marking; the first is
        returned then. A delivered file or marked samples go before unmarked ones.
        """
        wanted = (
            _outputs()
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

    def checkpoint(self) -> str:
        """Sign the log's present state, keep the note in the database, and return it.

        Raises:
            ConfigError: the ledger was opened without a key.
        """
        if self._key_file is None:
            raise ConfigError("the ledger has no key to sign checkpoints with")
        key = load_or_create_key(self._key_file)
        with writing(self._engine, _LOCK) as db:
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
        return _event(row.seq, row.leaf_hash, bytes(row.document))

    def verify(self, against: Sequence[str] = (), key: str | None = None) -> list[Fault]:
        """Recompute every hash, column and side table; empty when all is well.

        Finds what was edited, removed, put in another order or added past the log. A database that
        was rewritten as a whole is found only by checkpoints that were kept elsewhere.

        Args:
            against: signed checkpoints that this log must extend.
            key: the verifier key of those; None: the log's own.
        """
        own = self.verifier_key()
        with reading(self._engine) as db:
            found = list(faults(db, own))
            for note in against:
                found.extend(checkpoint_faults(db, note, key or own))
        return found

    def _explain(self, outputs: Sequence[int], error: BackendUnavailable) -> None:
        """Say which output has an entry already."""
        if len(set(outputs)) < len(outputs):
            raise LedgerError("an output comes twice among the records") from error
        for output in outputs:
            entry = self.find(output)
            if entry is not None:
                raise LedgerError(f"output {output} has an entry already: {entry.seq}") from error


def _check_given(db: Connection, outputs: Sequence[int]) -> None:
    last = _LAST_OUTPUT.run(db).scalar_one()
    for output in outputs:
        if not 1 <= output <= last:
            raise LedgerError(
                f"output {output} was never given", hint="ask the ledger for the next output id"
            )


def _outputs() -> Select[Any]:
    return (
        select(entries.c.seq, entries.c.leaf_hash, entries.c.document, private.c.texts)
        .outerjoin(private, private.c.seq == entries.c.seq)
        .where(is_output)
    )


def _output(output: int) -> Select[Any]:
    return _outputs().where(entries.c.output == output)


def _entry(row: Row[Any]) -> LedgerEntry:
    texts = None if row.texts is None else bytes(row.texts)
    record, erased = unseal(parse(bytes(row.document)), texts)
    return LedgerEntry(row.seq, row.leaf_hash, record, erased)


def _event(seq: int, leaf_hash: str, document: bytes) -> LedgerEvent:
    said = parse(document)
    return LedgerEvent(seq, leaf_hash, said["kind"], said["created"], said["output"], said["event"])


def _check_size(size: int | None, now: int) -> int:
    if size is None:
        return now
    if not 0 <= size <= now:
        raise InvalidInput(f"the log has {now} entries, not {size}")
    return size

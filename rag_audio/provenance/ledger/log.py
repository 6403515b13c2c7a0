"""Reading the log: entries, events, proofs. Nothing here writes, or needs the writer's lock."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Select, literal, or_, select

from rag_audio.domain import names
from rag_audio.domain.record import InclusionProof, LedgerEntry, LedgerEvent
from rag_audio.errors import InvalidInput, LedgerError
from rag_audio.provenance.ledger import merkle
from rag_audio.provenance.ledger.records import parse
from rag_audio.provenance.ledger.sealing import unseal
from rag_audio.provenance.ledger.tables import (
    entries,
    frontier_in,
    hashes,
    is_event,
    is_output,
    node_in,
    private,
    sources,
)
from rag_audio.storage.database import reading

MAX_OUTPUT = 2**40 - 1
"""The watermark carries 40 bits."""

_AT_ONCE = 500


class LogReader:
    """What may be asked of the log; every answer is of one state of it.

    Args:
        engine: of a database that has the tables.

    Raises:
        BackendUnavailable: by every method, when the database cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def events(self, kind: str | None = None, output: int | None = None) -> list[LedgerEvent]:
        """Events of a kind, about an output; oldest first; nothing given: all."""
        wanted = select(entries).where(is_event).order_by(entries.c.seq)
        if kind is not None:
            wanted = wanted.where(entries.c.kind == kind)
        if output is not None:
            wanted = wanted.where(entries.c.output == output)
        with reading(self._engine) as db:
            rows = db.execute(wanted).all()
        return [event_of(row.seq, row.leaf_hash, bytes(row.document)) for row in rows]

    def find(self, output: int) -> LedgerEntry | None:
        """The entry of an output, if there is one."""
        if not 1 <= output <= MAX_OUTPUT:
            return None
        with reading(self._engine) as db:
            row = db.execute(output_row(output)).first()
        return None if row is None else _entry(row)

    def outputs(
        self,
        stem: str | None = None,
        artist: str | None = None,
        license: str | None = None,
        holder: str | None = None,
        among: Collection[int] | None = None,
    ) -> list[LedgerEntry]:
        """Outputs with a source that meets all conditions, oldest first; none given: all outputs.

        Args:
            stem: its id, or the beginning of it.
            artist, holder: names (:func:`rag_audio.domain.names.same`).
            license: its id, or ``library/id``.
            among: numbers of the outputs that are looked through; None: all.
        """
        conditions = []
        if stem is not None:
            if not stem:
                raise InvalidInput("the stem's id is empty")
            conditions.append(sources.c.stem.startswith(stem, autoescape=True))
        if artist is not None:
            conditions.append(sources.c.artist == names.exact(artist))
        if license is not None:
            full = sources.c.library.concat(literal("/")).concat(sources.c.license)
            conditions.append(or_(sources.c.license == license, full == license))
        if holder is not None:
            conditions.append(sources.c.holder == names.exact(holder))
        wanted = _outputs().order_by(entries.c.seq)
        if conditions:
            wanted = wanted.where(entries.c.seq.in_(select(sources.c.seq).where(*conditions)))
        numbers = None if among is None else sorted(among)
        with reading(self._engine) as db:
            if numbers is None:
                rows = list(db.execute(wanted).all())
            else:
                rows = [
                    row
                    for start in range(0, len(numbers), _AT_ONCE)
                    for row in db.execute(
                        wanted.where(entries.c.output.in_(numbers[start : start + _AT_ONCE]))
                    )
                ]
        return [_entry(row) for row in sorted(rows, key=lambda row: row.seq)]

    def source_names(
        self, of: Literal["artist", "holder"], among: Collection[int] | None = None
    ) -> list[str]:
        """The artists or holders of all sources of outputs, each once, in order.

        Args:
            among: numbers of the outputs that are looked through; None: all.
        """
        column = sources.c[of]
        wanted = select(column).where(column != "").distinct()
        with reading(self._engine) as db:
            if among is None:
                return sorted(db.execute(wanted).scalars())
            numbers, found = sorted(among), set[str]()
            for start in range(0, len(numbers), _AT_ONCE):
                some = entries.c.output.in_(numbers[start : start + _AT_ONCE])
                theirs = sources.c.seq.in_(select(entries.c.seq).where(is_output, some))
                found.update(db.execute(wanted.where(theirs)).scalars())
            return sorted(found)

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


def _outputs() -> Select[Any]:
    return (
        select(entries.c.seq, entries.c.leaf_hash, entries.c.document, private.c.texts)
        .outerjoin(private, private.c.seq == entries.c.seq)
        .where(is_output)
    )


def output_row(output: int) -> Select[Any]:
    """The entry of an output, with its texts."""
    return _outputs().where(entries.c.output == output)


def _entry(row: Row[Any]) -> LedgerEntry:
    texts = None if row.texts is None else bytes(row.texts)
    record, erased = unseal(parse(bytes(row.document)), texts)
    return LedgerEntry(row.seq, row.leaf_hash, record, erased)


def events_in(db: Connection, kind: str) -> list[LedgerEvent]:
    """Events of a kind, oldest first; without those that cannot be read, which verifying names."""
    rows = db.execute(select(entries).where(entries.c.kind == kind).order_by(entries.c.seq)).all()
    found = []
    for row in rows:
        try:
            event = event_of(row.seq, row.leaf_hash, bytes(row.document))
        except (LedgerError, KeyError, TypeError):
            continue
        if isinstance(event.document, dict):
            found.append(event)
    return found


def event_of(seq: int, leaf_hash: str, document: bytes) -> LedgerEvent:
    """The event that a document of the log tells of."""
    said = parse(document)
    return LedgerEvent(seq, leaf_hash, said["kind"], said["created"], said["output"], said["event"])


def _check_size(size: int | None, now: int) -> int:
    if size is None:
        return now
    if not 0 <= size <= now:
        raise InvalidInput(f"the log has {now} entries, not {size}")
    return size

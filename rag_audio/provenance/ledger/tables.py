"""The ledger's tables, the rows that are derived from a record, and the log in them.

The tables are made by the migrations in :mod:`rag_audio.storage.migrations`; this is how the code
sees them. ``ledger_entries`` is the log, ``ledger_private`` holds what may be erased,
``ledger_counter`` the numbers that were given; everything else follows from the entries and can be
recomputed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    String,
    Table,
    insert,
    literal_column,
    select,
    update,
)

from rag_audio.domain import AttributionRecord, names
from rag_audio.domain.record import LedgerEvent
from rag_audio.errors import LedgerError, LedgerTampered
from rag_audio.provenance.ledger.commitments import EVENTS, Sealed, event_document
from rag_audio.provenance.ledger.merkle import HASH_BYTES, Frontier, Node, leaf_hash
from rag_audio.provenance.ledger.records import parse
from rag_audio.storage.database import hold

LOCK = "ledger"
"""The lock of whoever appends to the log."""
MAX_OUTPUT = 2**40 - 1
"""The watermark carries 40 bits."""
_EVENTS_AT_ONCE = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

metadata = MetaData()
entries = Table(
    "ledger_entries",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("output", BigInteger),
    Column("leaf_hash", String(64), nullable=False),
    Column("document", LargeBinary, nullable=False),
)
"""``output``: what the entry is about; unique among entries of kind ``output``."""
is_output = entries.c.kind == literal_column("'output'")
"""Written out, and not as a parameter, so that SQLite uses the partial index on outputs."""
is_event = entries.c.kind != literal_column("'output'")
nodes = Table(
    "ledger_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
"""Complete inner nodes of the tree, level ≥ 1; ``place`` is the index within the level."""
tree = Table(
    "ledger_tree",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root", String(64), nullable=False),
    Column("peaks", LargeBinary, nullable=False),
)
"""One row: the state of the log, see :class:`.Frontier`."""
counter = Table(
    "ledger_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last_output", BigInteger, nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("first_output", BigInteger, nullable=False, default=1),
)
"""A row per epoch of numbers, see :mod:`rag_audio.provenance.ledger.numbering`."""
key_fingerprints = Table(
    "key_fingerprints",
    metadata,
    Column("purpose", String, primary_key=True),
    Column("fingerprint", String, primary_key=True),
    Column("state", String, nullable=False),
)
"""The keys that belong to this database, see :mod:`.key_register`."""
private = Table(
    "ledger_private",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
    Column("texts", LargeBinary, nullable=False),
)
checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String, primary_key=True),
    Column("note", String, nullable=False),
)
"""Signed states of the log; ``key`` is the verifier key that the note is signed with."""
sources = Table(
    "ledger_sources",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("stem", String, nullable=False),
    Column("artist", String, nullable=False),
    Column("library", String, nullable=False),
    Column("license", String, nullable=False),
    Column("holder", String, nullable=False),
)
hashes = Table(
    "ledger_hashes",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("what", String, primary_key=True),
    Column("sha256", String(64), nullable=False),
)

outputs = Table(
    "ledger_outputs",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("output", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("owner", String),
)
"""What lists of outputs are asked by: ``created`` in microseconds since 1970, UTC, and ``owner``,
the id of the API key whose job made the output, as ``output_owners`` has it."""


def microseconds(at: datetime) -> int:
    """A moment as :data:`outputs` holds it; one without a zone is taken for UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // datetime.resolution


def raw_bytes(value: object) -> bytes:
    """The bytes of a column that somebody may have filled with another type."""
    if isinstance(value, (bytes, memoryview)):
        return bytes(value)
    return str(value).encode("utf-8", "surrogatepass")


def counter_checksum(last_output: int, first_output: int = 1) -> str:
    """Beside the counter, so that damage to it is seen; whoever can compute it can change both.

    That of the first epoch is as it was before there were others.
    """
    counted = b"%d" % last_output if first_output == 1 else b"%d %d" % (first_output, last_output)
    return sha256(b"rag-audio ledger counter " + counted).hexdigest()


def listed_row(seq: int, record: AttributionRecord, owner: str | None) -> dict[str, Any]:
    """The row of :data:`outputs` that a record and its owner imply."""
    created = microseconds(record.created)
    return {"seq": seq, "output": record.output, "created": created, "owner": owner}


def source_rows(seq: int, record: AttributionRecord) -> list[dict[str, Any]]:
    """The rows of :data:`sources` that a record implies, in order of position.

    One for each source, then one for each further claim on a source's bytes.
    """
    claims = [(one, one.license, one.reference.stem.artist) for one in record.sources]
    claims += [(one, also.license, also.artist) for one in record.sources for also in one.also]
    return [
        {
            "seq": seq,
            "position": position,
            "stem": source.reference.stem.id,
            "artist": names.exact(artist),
            "library": license.library,
            "license": license.id,
            "holder": names.exact(license.holder),
        }
        for position, (source, license, artist) in enumerate(claims)
    ]


def hash_rows(seq: int, record: AttributionRecord) -> list[dict[str, Any]]:
    """The rows of :data:`hashes` that a record implies, in order of what is hashed."""
    known = {"pcm": record.pcm_sha256, "marked": record.marked_pcm_sha256}
    known.update({f"file:{name}": digest for name, digest in record.files.items()})
    return [
        {"seq": seq, "what": what, "sha256": digest.lower()}
        for what, digest in sorted(known.items())
        if digest
    ]


# The log's tree in the database: appending to it, and looking its nodes up.


_APPENDED = (entries, nodes, outputs, sources, hashes, private)
_HASH = re.compile("[0-9a-f]{64}")


@dataclass
class Draft:
    """An entry that has no place yet.

    Attributes:
        output: what it is about, if anything.
        sealed: of an output. owner: id of the API key whose job made it; None: no job made it.
    """

    kind: str
    output: int | None
    document: bytes
    sealed: Sealed | None = None
    owner: str | None = None

    @cached_property
    def leaf(self) -> bytes:
        """The leaf hash of the document."""
        return leaf_hash(self.document)


def append_drafts(db: Connection, drafts: Sequence[Draft]) -> int:
    """Write entries at the end of the log; the writer's lock is held by the caller.

    Returns:
        The place of the first.

    Raises:
        LedgerTampered: the state of the log cannot be read.
    """
    frontier = frontier_in(db)
    first = frontier.size + 1
    rows: dict[Table, list[dict[str, Any]]] = {table: [] for table in _APPENDED}
    for draft in drafts:
        made = frontier.append(draft.leaf)
        rows[nodes] += [{"level": n[0], "place": n[1], "hash": n[2]} for n in made]
        seq = frontier.size
        rows[entries].append(
            {
                "seq": seq,
                "kind": draft.kind,
                "output": draft.output,
                "leaf_hash": draft.leaf.hex(),
                "document": draft.document,
            }
        )
        sealed = draft.sealed
        if sealed is not None:
            rows[outputs].append(listed_row(seq, sealed.record, draft.owner))
            rows[sources] += source_rows(seq, sealed.record)
            rows[hashes] += hash_rows(seq, sealed.record)
            if sealed.texts is not None:
                rows[private].append({"seq": seq, "salt": sealed.salt, "texts": sealed.texts})
    for table, some in rows.items():
        if some:
            db.execute(insert(table), some)
    state = {"size": frontier.size, "root": frontier.root().hex(), "peaks": frontier.pack()}
    db.execute(update(tree).values(state))
    return first


def frontier_in(db: Connection) -> Frontier:
    """The right edge of the stored tree.

    Raises:
        LedgerTampered: its row is missing or damaged.
    """
    try:
        row = db.execute(select(tree.c.size, tree.c.peaks)).first()
        if row is None:
            raise _damaged("the state of the log is missing")
        return Frontier.unpack(row.size, bytes(row.peaks))
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(f"the state of the log is damaged: {error}") from error


def frontier_at(db: Connection, size: int) -> Frontier:
    """The right edge that the tree had at an earlier size, of the nodes that are stored.

    Raises:
        LedgerTampered: one is missing.
    """
    node, peaks, start = node_in(db), [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(node(level, start >> level))
            start += 1 << level
    return Frontier(size, peaks)


def node_in(db: Connection) -> Node:
    """Looks complete nodes up; level 0 are the leaf hashes of the entries.

    Raises:
        LedgerTampered: when called, if the node is missing.
    """

    def look_up(level: int, place: int) -> bytes:
        if level == 0:
            found = db.execute(
                select(entries.c.leaf_hash).where(entries.c.seq == place + 1)
            ).scalar()
        else:
            found = db.execute(
                select(nodes.c.hash).where(nodes.c.level == level, nodes.c.place == place)
            ).scalar()
        if isinstance(found, str):
            found = bytes.fromhex(found) if _HASH.fullmatch(found) else None
        if not isinstance(found, (bytes, memoryview)) or len(found) != HASH_BYTES:
            raise _damaged(f"node {place} of level {level} is missing or damaged")
        return bytes(found)

    return look_up


def _damaged(message: str) -> LedgerTampered:
    return LedgerTampered(message, hint="rag-audio ledger verify says what is wrong")


# Entries of outputs, and events.


def output_entries() -> Select[Any]:
    """The entries of all outputs, with their texts."""
    return (
        select(*(entries.c[name] for name in ("seq", "output", "leaf_hash", "document")))
        .add_columns(private.c.texts)
        .outerjoin(private, private.c.seq == entries.c.seq)
        .where(is_output)
    )


def output_row(output: int) -> Select[Any]:
    """The entry of an output, with its texts."""
    return output_entries().where(entries.c.output == output)


def event_of(seq: int, leaf_hash: str, document: bytes) -> LedgerEvent:
    """The event that a document of the log tells of."""
    said = parse(document)
    return LedgerEvent(seq, leaf_hash, said["kind"], said["created"], said["output"], said["event"])


def events_of(*kinds: str) -> Select[Any]:
    """Entries of events of some kinds that are about no output: an index has these."""
    return select(entries).where(is_event, entries.c.output.is_(None), entries.c.kind.in_(kinds))


def events_in(db: Connection, *kinds: str, after: int = 0) -> list[LedgerEvent]:
    """Events of some kinds that are about no output, oldest first, after an entry; without those
    that cannot be read, which the check of the log names."""
    wanted = events_of(*kinds).order_by(entries.c.seq)
    rows = db.execute(wanted.where(entries.c.seq > after) if after else wanted)
    return [event for event in map(readable, rows) if event is not None]


def readable(row: Row[Any]) -> LedgerEvent | None:
    """The event of an entry; None where it cannot be read."""
    try:
        event = event_of(row.seq, row.leaf_hash, raw_bytes(row.document))
    except (LedgerError, KeyError, TypeError):
        return None
    return event if isinstance(event.document, dict) else None


def newest_events(db: Connection, *kinds: str) -> Iterator[Row[Any]]:
    """Entries of events of some kinds that are about no output, newest first, read as far as they
    are asked for."""
    before = None
    while True:
        wanted = events_of(*kinds).order_by(entries.c.seq.desc()).limit(_EVENTS_AT_ONCE)
        rows = db.execute(wanted if before is None else wanted.where(entries.c.seq < before)).all()
        yield from rows
        if len(rows) < _EVENTS_AT_ONCE:
            return
        before = rows[-1].seq


def append_event(db: Connection, kind: str, document: Mapping[str, Any]) -> LedgerEvent:
    """As :meth:`.SqlLedger.append_event`, in a write transaction of the caller's.

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
    hold(db, LOCK)
    if output is not None and db.execute(output_row(output)).first() is None:
        raise LedgerError(f"the ledger has no output {output}", hint="rag-audio outputs")
    seq = append_drafts(db, [draft])
    return event_of(seq, draft.leaf.hex(), draft.document)

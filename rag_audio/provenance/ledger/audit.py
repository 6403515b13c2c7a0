"""Checking a ledger: every hash, derived column and side table, recomputed from the documents."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Table,
    func,
    or_,
    select,
)

from rag_audio.domain.record import Fault
from rag_audio.errors import InvalidInput, LedgerError, LedgerTampered
from rag_audio.provenance.ledger.audit_pages import AT_ONCE, PagedCheck
from rag_audio.provenance.ledger.commitments import (
    ERASURE,
    OUTPUT,
    OWNER_AT,
    SALT_BYTES,
    has_texts,
    kind_of,
    text_faults,
    unseal,
)
from rag_audio.provenance.ledger.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Frontier,
    consistency_path,
    leaf_hash,
    root_at,
    verify_consistency,
)
from rag_audio.provenance.ledger.numbering import RESTORE, Given, epoch_faults, read_given
from rag_audio.provenance.ledger.records import canonical, parse
from rag_audio.provenance.ledger.signed_notes import VerifierKey, read_checkpoint
from rag_audio.provenance.ledger.tables import (
    checkpoints,
    entries,
    events_in,
    hash_rows,
    hashes,
    is_event,
    listed_row,
    node_in,
    nodes,
    outputs,
    private,
    raw_bytes,
    source_rows,
    sources,
    tree,
)

_HASH = re.compile("[0-9a-f]{64}")


class LogCheck(PagedCheck):
    """Recomputes the log: entries, tree, side tables and stored checkpoints.

    Args:
        key: the verifier key of the log's checkpoints; None takes each checkpoint's own word.
        start: from where: the right edge of a tree that is known to be right.

    Attributes:
        frontier: of what was checked by now. wrong: first entries below the faults in the tree.
    """

    def __init__(self, key: str | None = None, start: Frontier | None = None) -> None:
        super().__init__()
        self.frontier = Frontier() if start is None else start
        self.wrong: list[int] = []
        self._key, self._is_first = key, True

    def _page(self, db: Connection) -> Generator[Fault, None, int | None]:
        given, found = read_given(db)
        if self._is_first:
            self._is_first = False
            yield from (Fault(0, what) for what in found)
            yield from epoch_faults(db, given)
        wanted = select(entries).where(entries.c.seq > self.frontier.size)
        rows = db.execute(wanted.order_by(entries.c.seq).limit(AT_ONCE)).all()
        if rows:
            yield from self._entries(db, rows, given)
        if len(rows) == AT_ONCE:
            return self.frontier.size
        yield from _state_faults(db, self.frontier)
        yield from _stray_faults(db, self.frontier)
        yield from self._late_checkpoints(db)
        return None

    def _entries(self, db: Connection, rows: Sequence[Row[Any]], given: Given) -> Iterator[Fault]:
        first, last = self.frontier.size + 1, rows[-1].seq
        sides = {
            table: _side_rows(db, table, first, last)
            for table in (outputs, sources, hashes, private)
        }
        erased = _erased(db, [row.output for row in rows if row.kind == OUTPUT])
        noted, roots = _checkpoints(db, checkpoints.c.size.between(first, last)), {}
        sizes = {one["size"] for one in noted}
        stored = _stored_nodes(db, rows[0].seq, last)
        for row in rows:
            seq = row.seq
            if seq != self.frontier.size + 1:
                before = self.frontier.size + 1
                yield Fault(before, f"entries {before} to {seq - 1} are missing")
                # The tree cannot be followed over a gap; each entry still answers for itself.
                peaks = [b"\x00" * HASH_BYTES] * (seq - 1).bit_count()
                self.frontier = Frontier(seq - 1, peaks)
                self.wrong.append(before)
            beside = {table: rows_of.pop(seq, []) for table, rows_of in sides.items()}
            for what in _entry_faults(row, beside, given, erased):
                yield Fault(seq, what)
            yield from _node_faults(self.frontier.append(_leaf(row)), stored, self.wrong)
            if seq in sizes:
                roots[seq] = self.frontier.root()
        for table, strays in sides.items():
            yield from (_stray(seq, table) for seq in strays)
        for said in noted:
            yield from _checkpoint_row_faults(said, roots.get(said["size"]), last, self._key)

    def _late_checkpoints(self, db: Connection) -> Iterator[Fault]:
        """Stored checkpoints of more entries than there are, of none, or of no size."""
        last, size = self.frontier.size, checkpoints.c.size
        for row in _checkpoints(db, or_(size > last, size < 1, size.is_(None))):
            root = EMPTY_ROOT if row["size"] == 0 else None
            yield from _checkpoint_row_faults(row, root, last, self._key)


def faults(db: Connection, key: str | None = None) -> Iterator[Fault]:
    """All that is wrong with the log, in order of entries, found in one transaction.

    Args:
        key: the verifier key of the log's checkpoints; None takes each checkpoint's own word.
    """
    return LogCheck(key).all_of(db)


def _erased(db: Connection, of: Sequence[Any]) -> set[int]:
    """Which of some outputs an event says the texts of to be erased."""
    erasures = select(entries.c.output).where(is_event, entries.c.kind == ERASURE)
    return set(db.execute(erasures.where(entries.c.output.in_(of))).scalars())


def checkpoint_faults(db: Connection, note: str, key: str | None) -> Iterator[Fault]:
    """What is wrong with the log in the light of a checkpoint that was kept elsewhere.

    Raises:
        InvalidInput: the note is not a checkpoint, or not one that ``key`` has signed.
    """
    if key is None:
        raise InvalidInput(
            "there is no key to check the checkpoint with: this home has no keys/ledger.key (none "
            "was made in it yet, and none was in the archive that it was restored from, if it was)",
            hint="give the verifier key with --key; `rag-audio ledger checkpoint` in the home that "
            "made the checkpoint prints it",
        )
    old = read_checkpoint(note, VerifierKey.parse(key))
    size = int(db.execute(select(func.count()).select_from(entries)).scalar_one())
    back = _went_back(db, old.size)
    if size < old.size:
        what = f"the checkpoint is of {old.size} entries, the ledger has {size}"
        yield Fault(size + 1, what + back)
        return
    node = node_in(db)
    try:
        path = consistency_path(node, old.size, size)
        now = root_at(node, size)
    except LedgerTampered as error:
        yield Fault(old.size, f"consistency with the checkpoint cannot be shown: {error.message}")
        return
    if not verify_consistency(old.size, size, path, old.root, now):
        what = f"the first {old.size} entries are not those of the checkpoint"
        yield Fault(old.size, what + back)


def _went_back(db: Connection, size: int) -> str:
    """What a checkpoint of ``size`` entries has to do with a restore of this log."""
    restores = [event for event in events_in(db, RESTORE) if event.seq <= size]
    if not restores:
        return ""
    newest = restores[-1]
    said = newest.document
    return (
        f": the log was restored at entry {newest.seq} from an archive of "
        f"{said.get('archived') or 'an unknown time'}, and what was logged after entry "
        f"{said.get('entries')} of the earlier log, which the checkpoint may know, is not in it"
    )


def document_faults(document: bytes) -> Iterator[str]:
    """What is wrong with one entry's document, by itself."""
    try:
        parsed = parse(document)
        if canonical(parsed) != document:
            yield "the document is not canonical JSON"
        if kind_of(parsed) == OUTPUT:
            unseal(parsed, None)
        elif not {"created", "output", "event"} <= set(parsed):
            yield "the event lacks its time, its output or its content"
    except LedgerError as error:
        yield error.message


def _leaf(row: Row[Any]) -> bytes:
    """The leaf as the tree knows it: the stored hash, so that an edited document is one fault and
    not also one of all nodes above it. That it is the document's is checked beside this."""
    stored = row.leaf_hash
    if isinstance(stored, str) and _HASH.fullmatch(stored):
        return bytes.fromhex(stored)
    return leaf_hash(raw_bytes(row.document))


def _node_faults(
    made: list[tuple[int, int, bytes]], stored: dict[tuple[int, int], bytes], wrong: list[int]
) -> Iterator[Fault]:
    """Nodes that are not stored as they are made; only the lowest above a fault is named.

    Args:
        wrong: first entries below the faults so far; added to.
    """
    for level, place, node in made:
        if stored.get((level, place)) == node:
            continue
        first, last = (place << level) + 1, (place + 1) << level
        if not any(first <= seq <= last for seq in wrong):
            wrong.append(first)
            yield Fault(first, f"entries {first} to {last} are not those that the tree holds")


def _entry_faults(
    row: Row[Any],
    beside: dict[Table, list[dict[str, Any]]],
    given: Given,
    erased: set[int],
) -> Iterator[str]:
    document = raw_bytes(row.document)
    if leaf_hash(document).hex() != row.leaf_hash:
        yield "the document does not match its leaf hash"
    found = list(document_faults(document))
    yield from found
    if found:
        return
    parsed = parse(document)
    kind, output = kind_of(parsed), parsed["output"]
    if kind != row.kind:
        yield f"the column kind says {row.kind!r}, the document {kind!r}"
    if output != row.output:
        yield f"the column output says {row.output}, the document {output}"
    if isinstance(output, int) and output not in given:
        yield f"output number {output} was never assigned"
    used, known, aside, listed = (beside[one] for one in (sources, hashes, private, outputs))
    if kind != OUTPUT:
        if used or known or aside or listed:
            yield "a side table has rows of an entry that has none"
        return
    record, _ = unseal(parsed, None)
    owner = listed[0]["owner"] if listed else None
    unowned = "owner" in parsed and OWNER_AT not in parsed.get("commitments", ())
    if listed != [listed_row(row.seq, record, owner)] or (unowned and owner is not None):
        yield "the table of outputs does not match the document"
    if used != source_rows(row.seq, record):
        yield "the table of sources does not match the document"
    if sorted(known, key=lambda one: str(one["what"])) != hash_rows(row.seq, record):
        yield "the table of hashes does not match the document"
    yield from _private_faults(parsed, aside, record.output in erased)


def _private_faults(
    document: dict[str, Any], aside: list[dict[str, Any]], erased: bool
) -> Iterator[str]:
    if not has_texts(document):
        if aside:
            yield "there are personal texts that the document does not commit to"
    elif erased:
        if aside:
            yield "the personal texts were erased, and are there again"
    elif not aside:
        yield "the personal texts are missing, and no erasure was logged"
    else:
        salt, texts = raw_bytes(aside[0]["salt"]), raw_bytes(aside[0]["texts"])
        if len(salt) != SALT_BYTES:
            yield f"the salt has {len(salt)} bytes, not {SALT_BYTES}"
        yield from text_faults(document, salt, texts)


def _state_faults(db: Connection, frontier: Frontier) -> Iterator[Fault]:
    last = frontier.size
    rows = db.execute(select(tree)).all()
    if len(rows) != 1 or rows[0].id != 1:
        yield Fault(last, f"the state of the log has {len(rows)} rows, or not the right one")
        return
    (state,) = rows
    stored = (state.size, state.root, raw_bytes(state.peaks))
    if isinstance(state.size, int) and state.size > last:
        yield Fault(last + 1, f"entries {last + 1} to {state.size} are missing")
    elif stored != (last, frontier.root().hex(), frontier.pack()):
        yield Fault(last, "the state of the log does not match the entries")


def _stray_faults(db: Connection, frontier: Frontier) -> Iterator[Fault]:
    """Rows of entries before the first and after the last; and too many nodes, or too few."""
    for table in (outputs, sources, hashes, private):
        outside = or_(table.c.seq < 1, table.c.seq > frontier.size)
        for seq in db.execute(select(table.c.seq).where(outside).distinct()).scalars():
            yield _stray(seq, table)
    below = db.execute(select(func.count()).select_from(entries).where(entries.c.seq < 1)).scalar()
    if below:
        yield Fault(0, f"{below} entries are numbered below 1")
    # A binary tree over n leaves has n - popcount(n) complete inner nodes.
    right = frontier.size - frontier.size.bit_count()
    count = db.execute(select(func.count()).select_from(nodes)).scalar_one()
    if count != right:
        yield Fault(frontier.size, f"the tree has {count} stored nodes, not {right}")


def _stray(seq: int, table: Table) -> Fault:
    return Fault(seq, f"the table {table.name} has rows of an entry that does not exist")


def _checkpoints(db: Connection, where: ColumnElement[bool]) -> Sequence[RowMapping]:
    wanted = select(checkpoints).where(where).order_by(checkpoints.c.size)
    return db.execute(wanted).mappings().all()


def _checkpoint_row_faults(
    row: RowMapping, root: bytes | None, last: int, key: str | None
) -> Iterator[Fault]:
    """What is wrong with a stored checkpoint.

    Args:
        root: of the log when it had so many entries; None: it never had. last: its entries.
    """
    size = row["size"]
    try:
        signer = VerifierKey.parse(str(row["key"]))
        said = read_checkpoint(str(row["note"]), signer)
    except InvalidInput as error:
        yield Fault(size, f"a stored checkpoint is damaged: {error.message}")
        return
    if str(signer) != row["key"] or said.size != size:
        yield Fault(size, "a stored checkpoint's columns do not match its note")
    if key is not None and row["key"] != key:
        yield Fault(size, "a stored checkpoint is signed by another key than the ledger's")
    if said.size > last:
        yield Fault(last + 1, f"a checkpoint is of {said.size} entries, the ledger has {last}")
    elif said.size == size and root not in (None, said.root):
        yield Fault(size, f"the first {said.size} entries are not those of a checkpoint")


def _stored_nodes(db: Connection, first: int, last: int) -> dict[tuple[int, int], bytes]:
    """The stored nodes that these entries complete."""
    found = {}
    for level in range(1, last.bit_length()):
        within = nodes.c.place.between(((first - 1) >> level) - 1, last >> level)
        for row in db.execute(select(nodes).where(nodes.c.level == level, within)):
            found[level, row.place] = raw_bytes(row.hash)
    return found


def _side_rows(
    db: Connection, table: Table, first: int, last: int
) -> defaultdict[int, list[dict[str, Any]]]:
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    wanted = select(table).where(table.c.seq.between(first, last)).order_by(*table.primary_key)
    for row in db.execute(wanted).mappings():
        found[row["seq"]].append(dict(row))
    return found

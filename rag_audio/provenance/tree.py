"""The log's tree in the database: appending to it, and looking its nodes up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from rag_audio.errors import LedgerTampered
from rag_audio.provenance.merkle import HASH_BYTES, Frontier, Node, leaf_hash
from rag_audio.provenance.sealing import Sealed
from rag_audio.provenance.tables import (
    entries,
    hash_rows,
    hashes,
    nodes,
    private,
    source_rows,
    sources,
    tree,
)

_APPENDED = (entries, nodes, sources, hashes, private)
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Draft:
    """An entry that has no place yet.

    Attributes:
        output: what it is about, if anything.
        sealed: of an output.
    """

    kind: str
    output: int | None
    document: bytes
    sealed: Sealed | None = None
    leaf: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "leaf", leaf_hash(self.document))


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

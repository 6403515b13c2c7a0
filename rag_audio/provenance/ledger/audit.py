"""Checking a ledger: every hash, derived column and side table, recomputed from the documents."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, func, select

from rag_audio.domain.record import Fault
from rag_audio.errors import InvalidInput, LedgerError, LedgerTampered
from rag_audio.provenance.ledger.log import events_in
from rag_audio.provenance.ledger.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Frontier,
    consistency_path,
    leaf_hash,
    root_at,
    verify_consistency,
)
from rag_audio.provenance.ledger.notes import VerifierKey, read_checkpoint
from rag_audio.provenance.ledger.numbering import RESTORE, Given, epoch_faults, read_given
from rag_audio.provenance.ledger.records import canonical, parse
from rag_audio.provenance.ledger.sealing import (
    ERASURE,
    OUTPUT,
    SALT_BYTES,
    has_texts,
    kind_of,
    text_faults,
    unseal,
)
from rag_audio.provenance.ledger.tables import (
    checkpoints,
    entries,
    hash_rows,
    hashes,
    is_event,
    node_in,
    nodes,
    private,
    source_rows,
    sources,
    tree,
)
from rag_audio.provenance.ledger.tables import raw_bytes as _raw

_CHUNK = 500
_HASH = re.compile("[0-9a-f]{64}")


def faults(db: Connection, key: str | None = None) -> Iterator[Fault]:
    """All that is wrong with the log, in order of entries.

    Args:
        key: the verifier key of the log's checkpoints; None takes each checkpoint's own word.
    """
    frontier = Frontier()
    wrong: list[int] = []
    given, found = read_given(db)
    yield from (Fault(0, what) for what in found)
    yield from epoch_faults(db, given)
    erased = _erased(db)
    roots: dict[int, bytes] = {0: EMPTY_ROOT}
    wanted_roots = set(db.execute(select(checkpoints.c.size)).scalars())
    last = 0
    while rows := _next_rows(db, last):
        sides = {table: _side_rows(db, table, rows) for table in (sources, hashes, private)}
        stored = _next_nodes(db, rows)
        for row in rows:
            seq = row["seq"]
            if seq != last + 1:
                yield Fault(last + 1, f"entries {last + 1} to {seq - 1} are missing")
                # The tree cannot be followed over a gap; each entry still answers for itself.
                frontier = Frontier(seq - 1, [b"\x00" * HASH_BYTES] * (seq - 1).bit_count())
                wrong.append(last + 1)
            last = seq
            beside = {table: rows_of[seq] for table, rows_of in sides.items()}
            for what in _entry_faults(row, beside, given, erased):
                yield Fault(seq, what)
            yield from _node_faults(frontier.append(_leaf(row)), stored, wrong)
            if seq in wanted_roots:
                roots[seq] = frontier.root()
    yield from _state_faults(db, frontier)
    yield from _stray_faults(db, frontier)
    yield from _stored_checkpoint_faults(db, roots, last, key)


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
        what = f"the checkpoint knows {old.size} entries, the ledger has {size}"
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


def _leaf(row: RowMapping) -> bytes:
    """The leaf as the tree knows it: the stored hash, so that an edited document is one fault and
    not also one of all nodes above it. That it is the document's is checked beside this."""
    stored = row["leaf_hash"]
    if isinstance(stored, str) and _HASH.fullmatch(stored):
        return bytes.fromhex(stored)
    return leaf_hash(_raw(row["document"]))


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
    row: RowMapping,
    beside: dict[Table, list[dict[str, Any]]],
    given: Given,
    erased: set[int],
) -> Iterator[str]:
    document = _raw(row["document"])
    if leaf_hash(document).hex() != row["leaf_hash"]:
        yield "the document does not match its leaf hash"
    found = list(document_faults(document))
    yield from found
    if found:
        return
    parsed = parse(document)
    kind, output = kind_of(parsed), parsed["output"]
    if kind != row["kind"]:
        yield f"the column kind says {row['kind']!r}, the document {kind!r}"
    if output != row["output"]:
        yield f"the column output says {row['output']}, the document {output}"
    if isinstance(output, int) and output not in given:
        yield f"output {output} was never given"
    used, known, aside = (beside[table] for table in (sources, hashes, private))
    if kind != OUTPUT:
        if used or known or aside:
            yield "a side table has rows of an entry that has none"
        return
    record, _ = unseal(parsed, None)
    if used != source_rows(row["seq"], record):
        yield "the table of sources does not match the document"
    if sorted(known, key=lambda one: str(one["what"])) != hash_rows(row["seq"], record):
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
        salt, texts = _raw(aside[0]["salt"]), _raw(aside[0]["texts"])
        if len(salt) != SALT_BYTES:
            yield f"the salt has {len(salt)} bytes, not {SALT_BYTES}"
        yield from text_faults(document, salt, texts)


def _state_faults(db: Connection, frontier: Frontier) -> Iterator[Fault]:
    last = frontier.size
    rows = db.execute(select(tree)).mappings().all()
    if len(rows) != 1 or rows[0]["id"] != 1:
        yield Fault(last, f"the state of the log has {len(rows)} rows, or not the right one")
        return
    size = rows[0]["size"]
    if isinstance(size, int) and size > last:
        yield Fault(last + 1, f"entries {last + 1} to {size} are missing")
    elif (size, rows[0]["root"], _raw(rows[0]["peaks"])) != (
        last,
        frontier.root().hex(),
        frontier.pack(),
    ):
        yield Fault(last, "the state of the log does not match the entries")


def _stray_faults(db: Connection, frontier: Frontier) -> Iterator[Fault]:
    for table in (sources, hashes, private):
        strays = select(table.c.seq).where(table.c.seq.not_in(select(entries.c.seq))).distinct()
        for seq in db.execute(strays).scalars():
            yield Fault(seq, f"the table {table.name} has rows of an entry that does not exist")
    below = db.execute(select(func.count()).select_from(entries).where(entries.c.seq < 1)).scalar()
    if below:
        yield Fault(0, f"{below} entries are numbered below 1")
    # A binary tree over n leaves has n - popcount(n) complete inner nodes.
    right = frontier.size - frontier.size.bit_count()
    count = db.execute(select(func.count()).select_from(nodes)).scalar_one()
    if count != right:
        yield Fault(frontier.size, f"the tree has {count} stored nodes, not {right}")


def _stored_checkpoint_faults(
    db: Connection, roots: dict[int, bytes], last: int, key: str | None
) -> Iterator[Fault]:
    for row in db.execute(select(checkpoints).order_by(checkpoints.c.size)).mappings():
        size = row["size"]
        try:
            signer = VerifierKey.parse(str(row["key"]))
            said = read_checkpoint(str(row["note"]), signer)
        except InvalidInput as error:
            yield Fault(size, f"a stored checkpoint is damaged: {error.message}")
            continue
        if str(signer) != row["key"] or said.size != size:
            yield Fault(size, "a stored checkpoint's columns do not match its note")
        if key is not None and row["key"] != key:
            yield Fault(size, "a stored checkpoint is signed by another key than the ledger's")
        if said.size > last:
            yield Fault(last + 1, f"a checkpoint knows {said.size} entries, the ledger has {last}")
        elif roots.get(said.size, said.root) != said.root:
            yield Fault(size, f"the first {said.size} entries are not those of a checkpoint")


def _erased(db: Connection) -> set[int]:
    """Outputs that the log itself says were erased."""
    found = set()
    wanted = select(entries.c.document).where(is_event, entries.c.kind == ERASURE)
    for document in db.execute(wanted).scalars():
        try:
            output = parse(_raw(document)).get("output")
        except LedgerError:
            continue  # Reported where the entry itself is checked.
        if isinstance(output, int):
            found.add(output)
    return found


def _next_rows(db: Connection, after: int) -> Sequence[RowMapping]:
    wanted = select(entries).where(entries.c.seq > after).order_by(entries.c.seq).limit(_CHUNK)
    return db.execute(wanted).mappings().all()


def _next_nodes(db: Connection, rows: Sequence[RowMapping]) -> dict[tuple[int, int], bytes]:
    """The stored nodes that these entries complete."""
    first, last = rows[0]["seq"], rows[-1]["seq"]
    found = {}
    for level in range(1, int(last).bit_length()):
        within = nodes.c.place.between(((first - 1) >> level) - 1, last >> level)
        for row in db.execute(select(nodes).where(nodes.c.level == level, within)).mappings():
            found[level, row["place"]] = _raw(row["hash"])
    return found


def _side_rows(
    db: Connection, table: Table, rows: Sequence[RowMapping]
) -> defaultdict[int, list[dict[str, Any]]]:
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    within = table.c.seq.between(rows[0]["seq"], rows[-1]["seq"])
    for row in db.execute(select(table).where(within).order_by(*table.primary_key)).mappings():
        found[row["seq"]].append(dict(row))
    return found

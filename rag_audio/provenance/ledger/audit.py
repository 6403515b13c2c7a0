"""Checking a ledger: every hash, derived column and side table, recomputed from the documents."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, Connection, Row, Select, Table, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from rag_audio.domain.record import Fault
from rag_audio.errors import InvalidInput, LedgerError, LedgerTampered
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
    output_entries,
    outputs,
    private,
    raw_bytes,
    source_rows,
    sources,
    tree,
)
from rag_audio.storage.migrations import HEAD, TABLES
from rag_audio.storage.migrations.expected import (
    Schema,
    columns_in,
    expected_schema,
    primary_keys_in,
    sqlite_triggers,
)

_AT_ONCE = 500
_HASH = re.compile("[0-9a-f]{64}")
_OF_CELLS = (SQLAlchemyError, LedgerError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a cell raises that holds no text, no number or no JSON."""
_SQLITE_AWAY = {5, 6, 7, 9, 10, 14}
"""Primary result codes of SQLite that say nothing of what is stored: SQLITE_BUSY, LOCKED, NOMEM,
INTERRUPT, IOERR, CANTOPEN (https://sqlite.org/rescode.html)."""


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
    erasures = select(entries.c.output).where(is_event, entries.c.kind == ERASURE)
    erased = set(db.execute(erasures).scalars())
    roots: dict[int, bytes] = {0: EMPTY_ROOT}
    wanted_roots = set(db.execute(select(checkpoints.c.size)).scalars())
    last = 0
    for rows in in_pages(db, select(entries).where(entries.c.seq > 0), entries.c.seq):
        ends = (rows[0].seq, rows[-1].seq)
        sides = {
            table: _side_rows(db, table, *ends) for table in (outputs, sources, hashes, private)
        }
        stored = _stored_nodes(db, *ends)
        for row in rows:
            seq = row.seq
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
    for table in (outputs, sources, hashes, private):
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
            yield Fault(last + 1, f"a checkpoint is of {said.size} entries, the ledger has {last}")
        elif roots.get(said.size, said.root) != said.root:
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


# Running one check: a cell that cannot be read is a fault, and not the end of all checks.


def checked(db: Connection, tables: Collection[str], faults: Iterable[Fault]) -> list[Fault]:
    """What a check finds; a cell that cannot be read ends it with one fault more.

    The transaction is then as it was before the check, so that others can go on: PostgreSQL would
    refuse every further statement.

    Args:
        tables: those that it reads, for the fault; none: the log's.
        faults: of the check, which reads as they are taken from it.

    Raises:
        DBAPIError: the database itself cannot be reached any more.
    """
    found: list[Fault] = []
    try:
        with db.begin_nested():
            found.extend(faults)
    except _OF_CELLS as error:
        if isinstance(error, DBAPIError) and _is_away(db, error):
            raise
        what = f"the tables {', '.join(sorted(tables))}" if tables else "the log"
        said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        reason = (str(said).strip().splitlines() or [type(said).__name__])[0]
        found.append(Fault(0, f"{what} cannot be read: {reason}"))
    return found


def _is_away(db: Connection, error: DBAPIError) -> bool:
    """Whether the database failed, whatever the cells hold."""
    if error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    if db.dialect.name == "sqlite":
        # A text that is not UTF-8 is found by the driver and has no code of SQLite's.
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_AWAY
    return True


# What the log says of each output, for checks of tables beside the log.


@dataclass(frozen=True)
class LoggedOutput:
    """An output's entry.

    Attributes:
        document: of the entry, parsed. texts: the personal texts by pointer, empty where they are
            erased or damaged, which is reported where the entry itself is checked.
    """

    seq: int
    output: int
    document: Mapping[str, Any]
    texts: Mapping[str, Any]

    def part(self, name: str) -> Mapping[str, Any]:
        """An object of the document; empty where it has none of that name."""
        found = self.document.get(name)
        return found if isinstance(found, Mapping) else {}


def logged_outputs(db: Connection) -> Iterator[list[LoggedOutput]]:
    """All outputs of the log, some hundred at a time, in the order of their entries."""
    for rows in in_pages(db, output_entries(), entries.c.seq):
        yield [one for one in map(_logged, rows) if one is not None]


def find_logged(db: Connection, outputs: Sequence[int]) -> dict[int, LoggedOutput]:
    """The entries of some outputs."""
    rows = db.execute(output_entries().where(entries.c.output.in_(outputs)))
    return {one.output: one for one in map(_logged, rows) if one is not None}


def in_pages(
    db: Connection, wanted: Select[Any], by: ColumnClause[Any]
) -> Iterator[Sequence[Row[Any]]]:
    """The rows of a statement in the order of a column, in which no two are alike."""
    wanted = wanted.order_by(by).limit(_AT_ONCE)
    rows = db.execute(wanted).all()
    while rows:
        yield rows
        rows = db.execute(wanted.where(by > rows[-1]._mapping[by.name])).all()


def _logged(row: Row[Any]) -> LoggedOutput | None:
    """None: the entry is damaged, which is reported where it is checked."""
    document = _parsed(row.document)
    output = document.get("output")
    if isinstance(output, bool) or not isinstance(output, int) or output != row.output:
        return None
    return LoggedOutput(row.seq, output, document, {} if row.texts is None else _parsed(row.texts))


def _parsed(column: object) -> Mapping[str, Any]:
    try:
        return parse(raw_bytes(column))
    except LedgerError:
        return {}


# Whether the database still has its tables, columns, primary keys and triggers.

_GUARDS = "it keeps programs from changing what was written"
_IN_POSTGRESQL = text(
    "SELECT t.tgname AS name, c.relname AS place, t.tgenabled::text AS enabled, p.prosrc AS body, "
    "t.tgtype::integer AS type FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    "JOIN pg_proc p ON p.oid = t.tgfoid "
    "WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"
)
_ROW, _BEFORE, _DELETE, _UPDATE = 1, 2, 8, 16
"""Bits of ``pg_trigger.tgtype``."""


def schema_faults(db: Connection) -> tuple[list[Fault], set[str]]:
    """Tables, columns, primary keys and triggers that are missing or were changed, and the tables
    that cannot be read for it.

    They are compared with those of this version. Without its primary key a table can have a row
    twice, and which of the two a program reads is chance.

    On SQLite a trigger is compared with the words that made it; on PostgreSQL it must be enabled,
    fire before the right action, and call a function that raises an exception.
    """
    wanted, columns, keys = expected_schema(HEAD), columns_in(db), primary_keys_in(db)
    missing = {table for table in TABLES if table not in columns}
    found = [f"the table {table} is missing" for table in sorted(missing)]
    unreadable = set(missing)
    for table, there in columns.items():
        for column in sorted(wanted.columns[table] - there):
            found.append(f"the table {table} lacks its column {column}")
            unreadable.add(table)
    for table, key in sorted(wanted.keys.items()):
        if columns.get(table, frozenset()).issuperset(key) and set(keys[table]) != set(key):
            found.append(f"the table {table} has lost its primary key ({', '.join(key)})")
    works = _working(db, wanted)
    for name, (table, _) in sorted(wanted.triggers.items()):
        if table not in missing and not works.get(name, False):
            what = "was changed or switched off" if name in works else "is missing"
            found.append(f"the trigger {name} of {table} {what}: {_GUARDS}")
    return [Fault(0, what) for what in found], unreadable


def _working(db: Connection, wanted: Schema) -> dict[str, bool]:
    """The triggers that are there, and whether each does what it should."""
    if db.dialect.name == "sqlite":
        there = sqlite_triggers(db)
        return {
            name: there[name] == wanted.triggers[name] for name in wanted.triggers.keys() & there
        }
    works = {}
    for row in db.execute(_IN_POSTGRESQL):
        if row.name in wanted.triggers:
            table, _ = wanted.triggers[row.name]
            action = _DELETE if row.name.endswith("_no_delete") else _UPDATE
            works[row.name] = (
                row.place == table
                and row.enabled in ("O", "A")
                and row.type == _ROW | _BEFORE | action
                and row.body.strip().startswith("BEGIN RAISE EXCEPTION")
            )
    return works

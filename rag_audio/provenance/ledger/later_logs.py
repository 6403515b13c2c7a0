"""Reading a log that went on after a backup of it was made: of a home, an export or an archive."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Text, column, func, select, table

from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.errors import BackendUnavailable, InvalidInput, LedgerError
from rag_audio.provenance.ledger.audit import document_faults
from rag_audio.provenance.ledger.commitments import ERASURE, OUTPUT, has_texts, kind_of
from rag_audio.provenance.ledger.export import NAME as EXPORT
from rag_audio.provenance.ledger.export import read_export, signed_size
from rag_audio.provenance.ledger.key_register import KEY
from rag_audio.provenance.ledger.ledger import erase_texts, is_erased
from rag_audio.provenance.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from rag_audio.provenance.ledger.numbering import EPOCH_NUMBERS
from rag_audio.provenance.ledger.records import parse
from rag_audio.provenance.ledger.rights_log import REVOCATION, SqlRightsLog
from rag_audio.provenance.ledger.tables import entries, event_of, output_row, raw_bytes, tree
from rag_audio.settings import settings_in
from rag_audio.storage import rights_tables, stem_rows
from rag_audio.storage.archives import members
from rag_audio.storage.database import connect, connect_to_read, reading, sqlite_url
from rag_audio.storage.database_export import read_dump
from rag_audio.storage.epoch import raise_epoch

_DATABASE, _DUMP = "ledger.db", "rag-audio-database.jsonl"
_LOOKED_AT = (REVOCATION, ERASURE, KEY)
"""Kinds of events that a restore looks at. Of all others there may be one per output."""
BY = "restore"
"""Who revoked, in the table of revocations, what was carried over from a later log."""


@dataclass(frozen=True)
class Later:
    """What a log holds beyond the entries of an archive.

    Attributes:
        size: entries that verify.
        events: those that a restore looks at, in order.
        outputs: of the numbers that were given later, one of each block of an epoch's size.
        damage: where it does not verify, why; what lies beyond is not here.
        claimed: entries that a damaged log says it has; None where it does not say.
    """

    name: str
    size: int
    events: tuple[LaterEvent, ...]
    outputs: frozenset[int]
    damage: str | None = None
    claimed: int | None = None


@dataclass(frozen=True)
class LaterEvent:
    """An event of such a log.

    Attributes:
        seq: its place in that log. leaf: tells events of several copies of one log apart.
        said_at: when it was said first: a log that was restored may have taken it over.
        revocation: of an event of kind ``revocation``; ``undo``: whether it takes it back.
    """

    seq: int
    leaf: bytes
    kind: str
    said_at: datetime
    output: int | None
    document: dict[str, Any]
    revocation: Revocation | None = None

    @property
    def undo(self) -> bool:
        """Whether it takes a revocation back."""
        return bool(self.document.get("undo"))

    @property
    def is_copy(self) -> bool:
        """Whether a restore took it over from another log."""
        return "first_logged" in self.document


def read_later(source: Path, size: int, root: bytes, key: str | None) -> Later:
    """What a log elsewhere holds beyond the first ``size`` entries, which must give ``root``.

    Args:
        source: a home, a ledger export (the file, or the folder with it), or a newer archive.
        key: the verifier key that an export must be signed by; None: its own.

    Raises:
        InvalidInput: it is none of these, or its log does not extend the archive's.
    """
    frontier, events, outputs = Frontier(), list[LaterEvent](), dict[int, int]()
    damage = None
    extends = size == 0 and root == EMPTY_ROOT
    try:
        for seq, document in _entries(source, key):
            if seq > size:
                if not extends:
                    break
                parsed = parse(document)
                if kind_of(parsed) == OUTPUT:
                    given: object = int(parsed["output"])
                else:
                    event = _event(seq, document)
                    events += [event] if event.kind in _LOOKED_AT else []
                    given = event.document.get("numbers_from")
                if isinstance(given, int):
                    outputs[given // EPOCH_NUMBERS] = given
            frontier.append(leaf_hash(document))
            if seq == size and frontier.root() == root:
                extends = True
    except (InvalidInput, LedgerError, BackendUnavailable) as error:
        damage = error.message
    if not extends:
        short = f": it has {frontier.size} entries that verify" if frontier.size < size else ""
        raise InvalidInput(
            f"the log of {str(source)!r} does not go on from the archive's {size} entries{short}"
            + (f" ({damage})" if damage else ""),
            hint="--later names the archived home, a ledger export of it or a newer archive",
        )
    claimed = None if damage is None else _claimed(source)
    return Later(
        str(source), frontier.size, tuple(events), frozenset(outputs.values()), damage, claimed
    )


def is_home(folder: Path) -> bool:
    """Whether a folder is a home whose log can be looked for."""
    return (folder / _DATABASE).is_file() or (folder / "settings.toml").is_file()


def _entries(source: Path, key: str | None) -> Iterator[tuple[int, bytes]]:
    with _opened(source) as engine:
        if engine is None:
            yield from read_export(source, key)
        else:
            yield from _entries_of(engine)


def _claimed(source: Path) -> int | None:
    """How many entries a log says it has, whether or not they verify; None: it does not say."""
    try:
        with _opened(source) as engine:
            if engine is None:
                return signed_size(source)
            with reading(engine) as db:
                said = [*db.execute(select(func.max(entries.c.seq))).scalars()]
                said += db.execute(select(tree.c.size)).scalars()
        return max((size for size in said if isinstance(size, int)), default=None)
    except (InvalidInput, LedgerError, BackendUnavailable):
        return None


@contextmanager
def _opened(source: Path) -> Iterator[Engine | None]:
    """The database of a home or of an archive; None: the source is to be read as an export."""
    with ExitStack() as opened:
        if source.is_file() and tarfile.is_tarfile(source):
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="rag-audio-"))
            engine = _engine_in(source, Path(folder))
        elif source.is_dir() and not (source / EXPORT).is_file():
            engine = _engine_of(source)
        else:
            yield None
            return
        opened.callback(engine.dispose)
        yield engine


def _engine_of(home: Path) -> Engine:
    url = settings_in(home).get("database_url")
    if url:
        return connect(str(url))
    if not (home / _DATABASE).is_file():
        raise InvalidInput(f"{str(home)!r} is not a home: it has no {_DATABASE}")
    return connect_to_read(home / _DATABASE)


def _engine_in(archive: Path, folder: Path) -> Engine:
    """The database in an archive, unpacked; its manifest is not asked, since a log speaks for
    itself."""
    found: dict[str, Path] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in members(tar):
                name = member.name.removeprefix("home/")
                file = tar.extractfile(member) if name in (_DATABASE, _DUMP) else None
                if file is not None:
                    found[name] = folder / name
                    with found[name].open("wb") as out:
                        shutil.copyfileobj(file, out)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InvalidInput(f"{str(archive)!r} is not a complete archive: {error}") from error
    if _DUMP in found:
        engine = connect(sqlite_url(folder / "dump.db"))
        read_dump(engine, found[_DUMP])
        return engine
    if _DATABASE not in found:
        raise InvalidInput(f"{str(archive)!r} holds no ledger")
    return connect_to_read(found[_DATABASE])


def _entries_of(engine: Engine) -> Iterator[tuple[int, bytes]]:
    """The entries of a database, each once it is found to be right."""
    frontier = Frontier()
    with reading(engine) as db:
        _take_any_text(db)
        wanted = select(entries.c.seq, entries.c.leaf_hash, entries.c.document)
        rows = db.execution_options(yield_per=500).execute(wanted.order_by(entries.c.seq))
        for row in rows:
            document = raw_bytes(row.document)
            leaf = leaf_hash(document)
            if row.seq != frontier.size + 1:
                raise InvalidInput(f"entry {frontier.size + 1} is missing")
            if leaf.hex() != row.leaf_hash or any(document_faults(document)):
                raise InvalidInput(f"entry {row.seq} does not match its leaf hash")
            frontier.append(leaf)
            yield row.seq, document
        states: Sequence[Any] = db.execute(select(tree.c.size, tree.c.root)).all()
    if [tuple(state) for state in states] != [(frontier.size, frontier.root().hex())]:
        raise InvalidInput("the entries are not those of the log's state")


def _take_any_text(db: Connection) -> None:
    """Text that is no UTF-8 is a fault of its own row: SQLite's driver would fail for all rows that
    it reads at once."""
    driver: Any = db.connection.dbapi_connection
    if isinstance(driver, sqlite3.Connection):
        driver.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")


def _event(seq: int, document: bytes) -> LaterEvent:
    leaf = leaf_hash(document)
    event = event_of(seq, leaf.hex(), document)
    is_number = type(event.output) is int
    if not isinstance(event.document, dict) or not (is_number or event.output is None):
        raise InvalidInput(f"entry {seq} holds no event")
    if event.kind == ERASURE and not is_number:
        raise InvalidInput(f"entry {seq} does not say which output was erased")
    said = dict(event.document)
    said_at = _moment(seq, event.created)
    if said.get("first_logged") is not None:
        said_at = min(said_at, _moment(seq, said["first_logged"]))
    revocation = _revocation(seq, said, said_at) if event.kind == REVOCATION else None
    return LaterEvent(seq, leaf, event.kind, said_at, event.output, said, revocation)


def _moment(seq: int, said: object) -> datetime:
    try:
        found = datetime.fromisoformat(str(said))
    except ValueError as error:
        raise InvalidInput(f"entry {seq} has no time but {said!r}") from error
    if found.utcoffset() is None:
        raise InvalidInput(f"entry {seq} has a time without a zone, {said!r}")
    return found


def _revocation(seq: int, said: dict[str, Any], at: datetime) -> Revocation:
    """The revocation that an event tells of.

    Raises:
        InvalidInput: it does not tell of one.
    """
    of, target = said.get("of"), said.get("target")
    if of not in list(RevocationOf) or not isinstance(target, str):
        raise InvalidInput(f"entry {seq} does not say what was revoked")
    reason = f"entry {seq} of the log that the archive is a part of"
    return Revocation(RevocationOf(str(of)), target, reason, BY, at)


# Revocations and erasures of logs that went on, done again in a database of before them.
#
# Several logs may have gone on from one archive, each with revocations of its own. They are
# merged by the time at which each thing was said, whichever log it stands in, and followed from
# what is in force in the older database: what the last word of all is holds, and only what
# changes something is done and told.

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class CarriedOver:
    """What later logs say that changes the older database, in the order of time.

    Attributes:
        revoked: what is revoked or taken back, with the event that tells of each.
        erased: erasures of outputs that are there with their texts.
    """

    revoked: tuple[tuple[LaterEvent, Revocation], ...]
    erased: tuple[LaterEvent, ...]

    @property
    def count(self) -> dict[str, int]:
        """How many of each kind."""
        return {"revocations": len(self.revoked), "erasures": len(self.erased)}

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Each by name; ``entry`` is its place in the later log."""
        return {
            "revocations": [
                {"of": one.of.value, "target": one.target, "undo": event.undo, "entry": event.seq}
                for event, one in self.revoked
            ],
            "erasures": [{"output": event.output, "entry": event.seq} for event in self.erased],
        }


NOTHING = CarriedOver((), ())


def find_carried_over(db: Connection, events: Iterable[LaterEvent]) -> CarriedOver:
    """What of these events, in the order of time, changes the database."""
    erased: dict[int, LaterEvent] = {}
    following = _Following(rights_tables.in_force(db), _artists(db))
    for event in events:
        if event.revocation is not None:
            following.follow(event, event.revocation)
        elif event.kind == ERASURE and event.output is not None and _can_erase(db, event.output):
            erased.setdefault(event.output, event)
    return CarriedOver(tuple(following.changes), tuple(erased.values()))


def carry_over(db: Connection, what: CarriedOver) -> None:
    """Revoke and erase again, and log it, in a write transaction of the caller's."""
    for event, one in what.revoked:
        _revoke_again(db, event, one)
    for event in what.erased:
        if event.output is not None:
            erase_texts(db, event.output)


def in_order(logs: Iterable[Later]) -> list[LaterEvent]:
    """The events of all logs by their time, each once, though copies of one log share beginnings.

    A log's own order stands, whatever its clock said. At one moment, what is taken back in one log
    goes before what is revoked in another, so that this stays revoked.
    """
    found: list[tuple[tuple[datetime, bool, bool, bytes], LaterEvent]] = []
    for log in logs:
        last: datetime | None = None
        for event in log.events:
            at = event.said_at
            if event.revocation is not None:  # What a restore took over is older than its entry.
                at = last = at if last is None else max(at, last + _TICK)
            found.append(((at, not event.undo, event.is_copy, event.leaf), event))
    once: dict[bytes, LaterEvent] = {}
    for _, event in sorted(found, key=itemgetter(0)):
        once.setdefault(event.leaf, event)
    return list(once.values())


class _Following:
    """Follows revocations from those in force, by the rules of :mod:`.rights_tables`.

    Attributes:
        changes: what took effect, in order.

    Args:
        in_force: at first. artists: of the catalogue.
    """

    def __init__(self, in_force: list[Revocation], artists: frozenset[str]) -> None:
        self.changes: list[tuple[LaterEvent, Revocation]] = []
        self._in_force = in_force
        self._artists = artists
        # Revoked in one log while a wider revocation of another was in force: nobody took these
        # back when that one ends.
        self._covered: list[tuple[LaterEvent, Revocation]] = []

    def follow(self, event: LaterEvent, one: Revocation) -> None:
        """Take the next event."""
        if not event.undo:
            self._revoke(event, one)
            return
        left = [other for other in self._in_force if not rights_tables.same_source(other, one)]
        covered = [old for old in self._covered if not rights_tables.same_source(old[1], one)]
        is_change = len(left) < len(self._in_force)
        self._in_force, self._covered = left, []
        if is_change:
            self.changes.append((event, one))
        for old in covered:
            self._revoke(*old)

    def _revoke(self, event: LaterEvent, one: Revocation) -> None:
        if any(rights_tables.holds_for(other, one) for other in self._in_force):
            self._covered.append((event, one))
            return
        self.changes.append((event, one))
        self._in_force.append(replace(one, key=rights_tables.key_of(one, self._artists)))


def _artists(db: Connection) -> frozenset[str]:
    wanted = select(column("artist", Text)).select_from(table("files")).distinct()
    return frozenset(db.execute(wanted).scalars())


def _revoke_again(db: Connection, event: LaterEvent, one: Revocation) -> None:
    """Put a revocation in force, or end it, and log what changed."""
    log = SqlRightsLog()
    if event.undo:
        changed = rights_tables.end_revocation(db, one)
    else:
        changed = rights_tables.put_revocation(db, one, _artists(db), log.last_revocation(db))
    if changed:
        epoch = raise_epoch(db)
        for target in {row["target"] for row in changed}:
            stem_rows.revocation_changed(db, replace(one, target=target), epoch)
        log.revoked(db, one, changed, undo=event.undo, first_logged=event.said_at)


def _can_erase(db: Connection, output: int) -> bool:
    """Whether the output of an erasure is in the archive, with texts that are not erased yet."""
    row = db.execute(output_row(output)).first()
    has = row is not None and has_texts(parse(raw_bytes(row.document)))
    return has and not is_erased(db, output)

"""Reading a log that went on after a backup of it was made: of a home, an export or an archive."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from rag_audio.database import connect, connect_to_read, reading, sqlite_url
from rag_audio.dump import read_dump
from rag_audio.errors import BackendUnavailable, InvalidInput, LedgerError
from rag_audio.licensing import Revocation, RevocationOf
from rag_audio.provenance.audit import document_faults
from rag_audio.provenance.export import NAME as EXPORT
from rag_audio.provenance.export import read_export, signed_size
from rag_audio.provenance.log import event_of
from rag_audio.provenance.merkle import EMPTY_ROOT, Frontier, leaf_hash
from rag_audio.provenance.records import parse
from rag_audio.provenance.rights_rows import REVOCATION
from rag_audio.provenance.sealing import ERASURE, OUTPUT, kind_of
from rag_audio.provenance.tables import entries, raw_bytes, tree
from rag_audio.settings import settings_in

_DATABASE, _DUMP = "ledger.db", "rag-audio-database.jsonl"
BY = "restore"
"""Who revoked, in the table of revocations, what was carried over from a later log."""


@dataclass(frozen=True)
class Later:
    """What a log holds beyond the entries of an archive.

    Attributes:
        size: entries that verify.
        events: in order. outputs: numbers that were given later.
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
    frontier, events, outputs = Frontier(), [], set[int]()
    damage = None
    extends = size == 0 and root == EMPTY_ROOT
    try:
        for seq, document in _entries(source, key):
            if seq > size:
                if not extends:
                    break
                parsed = parse(document)
                if kind_of(parsed) == OUTPUT:
                    outputs.add(int(parsed["output"]))
                else:
                    events.append(_event(seq, document))
                    begun = events[-1].document.get("numbers_from")
                    outputs |= {begun} if isinstance(begun, int) else set()
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
    return Later(str(source), frontier.size, tuple(events), frozenset(outputs), damage, claimed)


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
                return _claimed_in(db)
    except (InvalidInput, LedgerError, BackendUnavailable):
        return None


def _claimed_in(db: Connection) -> int | None:
    said = [*db.execute(select(func.max(entries.c.seq))).scalars()]
    said += db.execute(select(tree.c.size)).scalars()
    return max((size for size in said if isinstance(size, int)), default=None)


@contextmanager
def _opened(source: Path) -> Iterator[Engine | None]:
    """The database of a home or of an archive; None: the source is to be read as an export."""
    if source.is_file() and tarfile.is_tarfile(source):
        with tempfile.TemporaryDirectory(prefix="rag-audio-") as folder:
            engine = _engine_in(source, Path(folder))
            try:
                yield engine
            finally:
                engine.dispose()
    elif source.is_dir() and not (source / EXPORT).is_file():
        engine = _engine_of(source)
        try:
            yield engine
        finally:
            engine.dispose()
    else:
        yield None


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
            for member in tar:
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

"""Reading a log that went on after a backup of it was made: of a home, an export or an archive."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from rag_audio.database import connect, connect_to_read, reading, sqlite_url
from rag_audio.dump import read_dump
from rag_audio.errors import BackendUnavailable, InvalidInput, LedgerError
from rag_audio.provenance.audit import document_faults
from rag_audio.provenance.export import NAME as EXPORT
from rag_audio.provenance.export import read_export
from rag_audio.provenance.log import event_of
from rag_audio.provenance.merkle import EMPTY_ROOT, Frontier, leaf_hash
from rag_audio.provenance.records import parse
from rag_audio.provenance.sealing import OUTPUT, kind_of
from rag_audio.provenance.tables import entries, tree
from rag_audio.settings import settings_in

_DATABASE, _DUMP = "ledger.db", "rag-audio-database.jsonl"


@dataclass(frozen=True)
class Later:
    """What a log holds beyond the entries of an archive.

    Attributes:
        events: (seq, kind, event, what it is about), in order.
        outputs: numbers that were given later.
        damage: where it does not verify, why; what lies beyond is not here.
    """

    name: str
    size: int
    events: tuple[LaterEvent, ...]
    outputs: frozenset[int]
    damage: str | None = None


@dataclass(frozen=True)
class LaterEvent:
    """An event of such a log.

    Attributes:
        seq: its place in that log. leaf: tells events of several copies of one log apart.
        created: ISO 8601.
    """

    seq: int
    leaf: bytes
    kind: str
    created: str
    output: int | None
    document: dict[str, Any]


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
            frontier.append(leaf_hash(document))
            if seq == size and frontier.root() == root:
                extends = True
            if seq >= size and not extends:
                break
            if seq <= size:
                continue
            parsed = parse(document)
            if kind_of(parsed) == OUTPUT:
                outputs.add(int(parsed["output"]))
            else:
                events.append(_event(seq, document))
                begun = events[-1].document.get("numbers_from")
                outputs |= {begun} if isinstance(begun, int) else set()
    except (InvalidInput, LedgerError, BackendUnavailable) as error:
        damage = error.message
    if not extends:
        short = f": it has {frontier.size} entries that verify" if frontier.size < size else ""
        raise InvalidInput(
            f"the log of {str(source)!r} does not go on from the archive's {size} entries{short}"
            + (f" ({damage})" if damage else ""),
            hint="--later names the archived home, a ledger export of it or a newer archive",
        )
    return Later(str(source), frontier.size, tuple(events), frozenset(outputs), damage)


def is_home(folder: Path) -> bool:
    """Whether a folder is a home whose log can be looked for."""
    return (folder / _DATABASE).is_file() or (folder / "settings.toml").is_file()


def _entries(source: Path, key: str | None) -> Iterator[tuple[int, bytes]]:
    if source.is_file() and tarfile.is_tarfile(source):
        with tempfile.TemporaryDirectory(prefix="rag-audio-") as folder:
            engine = _engine_in(source, Path(folder))
            try:
                yield from _entries_of(engine)
            finally:
                engine.dispose()
    elif source.is_dir() and not (source / EXPORT).is_file():
        engine = _engine_of(source)
        try:
            yield from _entries_of(engine)
        finally:
            engine.dispose()
    else:
        yield from read_export(source, key)


def _engine_of(home: Path) -> Engine:
    url = settings_in(home).get("database_url")
    if url:
        return connect(str(url))
    if not (home / _DATABASE).is_file():
        raise InvalidInput(f"{str(home)!r} is no home: it has no {_DATABASE}")
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
        wanted = select(entries.c.seq, entries.c.leaf_hash, entries.c.document)
        rows = db.execution_options(yield_per=500).execute(wanted.order_by(entries.c.seq))
        for row in rows:
            document = bytes(row.document)
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


def _event(seq: int, document: bytes) -> LaterEvent:
    leaf = leaf_hash(document)
    event = event_of(seq, leaf.hex(), document)
    if not isinstance(event.document, dict):
        raise InvalidInput(f"entry {seq} holds no event")
    return LaterEvent(seq, leaf, event.kind, event.created, event.output, dict(event.document))

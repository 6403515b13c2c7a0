"""Erasing an output's personal texts: from the table beside the log, and from the disk."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, select, text

from rag_audio.errors import BackendUnavailable, LedgerError
from rag_audio.provenance.ledger.records import parse
from rag_audio.provenance.ledger.sealing import ERASURE, event_document, has_texts
from rag_audio.provenance.ledger.tables import (
    Draft,
    append_drafts,
    entries,
    is_event,
    is_output,
    private,
    raw_bytes,
)
from rag_audio.storage.database import IN_MEMORY, database_errors


def erase_texts(db: Connection, output: int) -> Row[Any]:
    """Delete the texts of an output and log that; the writer's lock is held by the caller.

    Returns:
        The row of the erasure; of the first one where the texts were erased before.

    Raises:
        LedgerError: there is no such output, or it has no texts that could be erased.
    """
    if db.engine.dialect.name == "sqlite":
        db.execute(text("PRAGMA secure_delete = ON"))
    of_output = _of(output)
    row = db.execute(of_output.where(is_output)).first()
    if row is None:
        raise LedgerError(f"the ledger has no output {output}", hint="rag-audio outputs")
    if not has_texts(parse(raw_bytes(row.document))):
        raise LedgerError(
            f"output {output} has no personal texts aside that could be erased",
            hint="the first version of rag-audio wrote them into the log itself",
        )
    done = _erasures(output)
    if not is_erased(db, output):
        db.execute(delete(private).where(private.c.seq == row.seq))
        document = event_document(ERASURE, output, {"output": output})
        append_drafts(db, [Draft(ERASURE, output, document)])
    return db.execute(done).one()


def is_erased(db: Connection, output: int) -> bool:
    """Whether the log says that the texts of an output were erased."""
    return db.execute(_erasures(output)).first() is not None


def _of(output: int) -> Select[Any]:
    return select(entries).where(entries.c.output == output)


def _erasures(output: int) -> Select[Any]:
    return _of(output).where(is_event, entries.c.kind == ERASURE).order_by(entries.c.seq)


def scrub(engine: Engine) -> None:
    """Deleted texts leave the database's files too, as far as the database can see to it.

    Raises:
        BackendUnavailable: another process keeps the bytes alive by reading.
    """
    with database_errors(engine):
        own = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with own as db:
            if engine.dialect.name == "postgresql":
                db.execute(text("VACUUM ledger_private"))
            elif engine.url.database not in IN_MEMORY:
                busy = db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()
                if busy is not None and busy[0]:
                    raise BackendUnavailable(
                        "the texts are erased, but another process keeps SQLite from emptying "
                        "its write-ahead log, which may still have them",
                        hint="run the command again when that process has ended",
                    )

"""Versions of the database's schema, and the way from any of them to the present one (alembic).

Each file in ``versions`` is one step and is never edited after a release. All tables are made and
changed here, whoever of the ledger, the catalogue and the fingerprints opens the database first.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from weakref import WeakSet

from sqlalchemy import Connection, Engine, inspect, make_url, text
from sqlalchemy.exc import ArgumentError

from rag_audio.errors import ConfigError, LedgerTampered
from rag_audio.storage.database import (
    BUSY_TIMEOUT_S,
    IN_MEMORY,
    hold,
    no_timeouts,
    reading,
    writing,
)

HEAD = "0017"
"""The newest revision, so that a database that has it need not load alembic; a test holds it
against the files."""
TABLES = (
    *("libraries", "licenses", "files", "revocations", "fingerprints"),
    *("ledger_entries", "ledger_nodes", "ledger_tree", "ledger_counter", "ledger_private"),
    *("ledger_checkpoints", "ledger_sources", "ledger_hashes", "alembic_version"),
    *("jobs", "job_events", "idempotency_keys", "uploads", "api_keys", "api_sessions"),
    *("webhook_deliveries", "conflicts", "withheld_files", "output_owners", "key_fingerprints"),
    *("webhook_secrets", "stem_landmarks", "stem_postings", "ledger_outputs"),
    *("catalogue_epoch", "stems", "stem_tags", "stem_groups", "index_shards"),
    *("output_postings", "output_hash_counts", "fingerprints_to_index"),
)
"""Every table that is ours at :data:`HEAD`."""
MIGRATION_S = 600.0
"""On PostgreSQL a process waits so long for another one that migrates."""
_BEFORE_ALEMBIC = {*TABLES, "ledger_head", "fingerprint_postings"}
"""Those that a home may hold which alembic has never seen: earlier versions had others, too."""
_FIRST = "0001"
_VERSION_TABLE = "alembic_version"
_MADE_EARLY = {
    *("libraries", "licenses", "files", "revocations", "fingerprints", "fingerprint_postings"),
    *("conflicts", "withheld_files"),
}
"""Those that homes of before may have had earlier than the migrations make them."""
_COLUMNS_MADE_EARLY = {("files", "decision"), ("libraries", "salt"), ("revocations", "salt")}
_migrated: WeakSet[Engine] = WeakSet()
"""Engines whose database was found at :data:`HEAD`."""
_alembic = threading.Lock()
"""Alembic keeps the migration that runs in a global of its own."""


def refuse_foreign(url: str) -> None:
    """Let a SQLite file through that is not there, is empty, or is ours; it is only read.

    A server's database is left alone: others may keep their tables beside ours there.

    Raises:
        ConfigError: the file holds somebody else's tables.
    """
    file = _file_of(url)
    if file is None or not file.is_file():
        return
    names = _tables_in(file)
    # Homes from before alembic had some of our tables; those of others have others as well.
    if _VERSION_TABLE in names or names <= _BEFORE_ALEMBIC:
        return
    strange = sorted(names - _BEFORE_ALEMBIC)
    raise ConfigError(
        f"{file} is a database of another program: it holds the table {strange[0]!r}",
        hint="move it away, or choose another folder with --home or RAG_AUDIO_HOME",
    )


def _file_of(url: str) -> Path | None:
    try:
        parsed = make_url(url)
    except ArgumentError:  # who connects to it says so
        return None
    if parsed.get_backend_name() != "sqlite" or parsed.database in IN_MEMORY:
        return None
    return Path(str(parsed.database))


def _tables_in(file: Path) -> set[str]:
    """Names of the tables of a SQLite file; none where it cannot be read, which opening it says."""
    address = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {str(name) for (name,) in rows if not name.startswith("sqlite_")}
    except sqlite3.DatabaseError:
        return set()


class SqlStore:
    """What keeps its rows in tables of the ledger's database, which are made on first use.

    Args:
        engine: from :func:`rag_audio.storage.database.connect`.

    Raises:
        BackendUnavailable: the database cannot be reached; so may every method.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        migrate(engine)


def migrate(engine: Engine) -> None:
    """Bring the database to :data:`HEAD`, in one transaction; one that is there is only read,
    once for each engine. Of several processes one does so, and the others wait for it.

    A database of the first version, which knew no alembic, is taken for revision 0001; one that
    has no ledger yet, only tables of rights, gets what it lacks.

    Raises:
        ConfigError: a newer version of rag-audio made the database.
        LedgerTampered: the log of an older version does not match its hashes, or the database says
            that its revision is another one than its tables are of.
        BackendUnavailable: the database failed.
    """
    if engine in _migrated:
        return
    with reading(engine) as db:
        is_there = revision_of(db) == HEAD
    if not is_there:
        with writing(engine) as db:
            no_timeouts(db, MIGRATION_S)
            hold(db, "schema")
            revision = revision_of(db)
            if revision != HEAD:
                _refuse_later_tables(db, revision)
                _upgrade(db, revision)
    _migrated.add(engine)


def make_schema(db: Connection, revision: str) -> None:
    """The tables of a revision, in a database that has none of them.

    Raises:
        ConfigError: this version does not know the revision.
    """
    _upgrade(db, None, revision)


def migrate_in(db: Connection) -> None:
    """Bring a database to :data:`HEAD` in a write transaction of the caller's; raises as above."""
    revision = revision_of(db)
    if revision != HEAD:
        _upgrade(db, revision)


def revision_of(db: Connection) -> str | None:
    """The database's revision; None where it has no tables of the ledger.

    Raises:
        LedgerTampered: it names several.
    """
    inspector = inspect(db)
    if inspector.has_table(_VERSION_TABLE):
        # SQLite's driver cannot read a text that is not UTF-8, as somebody may have put there.
        column = "CAST(version_num AS BLOB)" if db.dialect.name == "sqlite" else "version_num"
        found = db.execute(text(f"SELECT {column} FROM {_VERSION_TABLE}")).scalars().all()  # noqa: S608
        if len(found) > 1:
            raise LedgerTampered(
                f"the table {_VERSION_TABLE} has {len(found)} rows, not one",
                hint="it was changed by hand; restore the database from a backup",
            )
        if not found:
            return None
        return found[0].decode(errors="replace") if isinstance(found[0], bytes) else str(found[0])
    return _FIRST if inspector.has_table("ledger_entries") else None


def _refuse_later_tables(db: Connection, revision: str | None) -> None:
    """Refuse a database whose tables are of a later revision than it says.

    Raises:
        LedgerTampered: it is one. ConfigError: this version does not know the revision.
    """
    there = set(TABLES) & set(inspect(db).get_table_names()) - {_VERSION_TABLE}
    if not there - _MADE_EARLY:
        return
    from rag_audio.storage.migrations.expected import columns_in, expected_schema

    said = _FIRST if revision is None else revision
    wanted = expected_schema(said).columns
    later = [f"table {name!r}" for name in sorted(there - _MADE_EARLY - set(wanted))]
    later += [
        f"column {name!r} of {table}"
        for table, columns in sorted(columns_in(db).items())
        for name in sorted(columns - wanted.get(table, columns))
        if (table, name) not in _COLUMNS_MADE_EARLY
    ]
    if later or revision is None:
        which = later[0] if later else f"table {min(there - _MADE_EARLY)!r}"
        raise LedgerTampered(
            f"the table {_VERSION_TABLE} says {revision or 'nothing'}, and the database has the "
            f"{which}, which is of a later version",
            hint=f"{_VERSION_TABLE} was changed or removed; restore the database from a backup",
        )


def _upgrade(db: Connection, revision: str | None, target: str = HEAD) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    place = str(Path(__file__).parent)
    config.set_main_option("script_location", place.replace("%", "%%"))
    config.attributes["connection"] = db
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    unknown = {revision, target} - known - {None}
    if unknown:
        raise ConfigError(
            f"the database has the schema {min(map(str, unknown))!r}, "
            "which this version does not know",
            hint="a newer rag-audio wrote it; install that version or a later one",
        )
    try:
        with _alembic:
            if revision is not None:
                command.stamp(config, revision)
            command.upgrade(config, target)
    except CommandError as error:
        raise ConfigError(f"the database cannot be migrated: {error}") from error

"""A small home with a row in every table, and a copy of it in memory to be tampered with."""

from __future__ import annotations

import gc
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.service.api_access import ApiKey, Scope, SqlAccess
from rag_audio.service.folders import Quota, SqlUploads, Upload
from rag_audio.service.queue import SqlIdempotency, SqlJobs
from rag_audio.service.revoking import revoke_source
from rag_audio.service.runner import Runner
from rag_audio.service.webhook_secrets import WebhookSecrets
from tests.support.rights_world import GOOD_ARTIST, World
from tests.support.tampering import drop_triggers, put_back

SHORT = {"duration_s": 1.0}
MORE_LICENSES = """
[licenses.over]
holder = "Over Holder"
spdx = "LicenseRef-Over-1"
uses = ["prompt"]
valid_until = 2020-12-31
"""
MORE_FILES = f"""copy.wav,target,{GOOD_ARTIST},Amber Copy,92,A major,warm
over.wav,over,Old Ferry,Over,92,A major,warm
"""


def make_home(folder: Path) -> Path:
    """The database of a home where everything happened once: its file.

    Output 1 was made on the command line, 2 and 3 by jobs of two keys, the first of which was
    revoked; the texts of output 4 were erased.
    """
    world = World(folder)
    home, database = world.home, world.home.database
    world.workspace.generate("slow warm", folder / "take.wav", duration_s=SHORT["duration_s"])
    access, jobs = SqlAccess(database), SqlJobs(database)
    keys = [access.make(name, [Scope.GENERATE], ["small"], 3600.0)[0] for name in ("one", "two")]
    runner = Runner(world.home, jobs)
    for key in (*keys, keys[1]):
        _made_by(key, jobs, runner)
    access.revoke(keys[0].id)
    WebhookSecrets(database, home.keys).rotate(keys[1].id)
    access.open_session(keys[1], 3600.0)
    _begin_request(SqlIdempotency(database), jobs, keys[1])
    upload = Upload("c" * 32, keys[1].id, "audio", ".wav", "0" * 64, 10, 1.0)
    SqlUploads(database).put(upload, Quota(1000, 10, 10_000))
    home.ledger.append_event("influence", {"output": 1, "causal": [0.5]})
    home.ledger.append_event("refusal", {"rule": "names", "reason": "a name"})
    home.ledger.erase(4)
    home.ledger.checkpoint()
    with (world.library / "library.toml").open("a", encoding="utf-8") as file:
        file.write(MORE_LICENSES)
    with (world.library / "stems.csv").open("a", encoding="utf-8") as file:
        file.write(MORE_FILES)
    for name, of in (("copy.wav", "good.wav"), ("over.wav", "target.wav")):
        shutil.copy(world.library / of, world.library / name)
    world.index()
    target = Revocation(RevocationOf.ARTIST, GOOD_ARTIST, "asked", "desk", datetime.now(UTC))
    revoke_source(world.home, target)
    assert home.ledger.verify() == []
    world.workspace.close()
    return home.folder / "ledger.db"


def _made_by(key: ApiKey, jobs: SqlJobs, runner: Runner) -> None:
    hook = "https://hooks.example/made"
    jobs.accept("generation", {"prompt": "slow warm", **SHORT}, owner=key.id, webhook=hook)
    held = jobs.claim()
    assert held is not None
    runner.run(held)
    done = jobs.find(held.job.id)
    assert done is not None and done.result is not None, done


def _begin_request(idempotency: SqlIdempotency, jobs: SqlJobs, key: ApiKey) -> None:
    assert idempotency.begin(key.id, "request-1", b"body") is None
    jobs.accept("generation", {"prompt": "slow warm", **SHORT}, owner=key.id, key="request-1")


class Copy:
    """A database in memory, without what refuses changes, that is changed and put back.

    Attributes:
        db: a connection, in no transaction outside of :meth:`changed`.
    """

    def __init__(self, file: Path) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        with closing(sqlite3.connect(file)) as stored:
            stored.backup(self.db)
        engine = create_engine("sqlite://", creator=lambda: self.db, poolclass=StaticPool)
        # Reading ends transactions; what was changed is undone by :meth:`faults`.
        engine.dialect.do_rollback = lambda _connection: None  # type: ignore[method-assign]
        self._ledger = SqlLedger(engine, file.parent / "keys" / "ledger.key")
        self.db.execute("PRAGMA foreign_keys = OFF")
        self.db.execute("DROP INDEX IF EXISTS ledger_one_entry_per_output")

    @contextmanager
    def changed(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which anything may be written; at its end the triggers are there again.

        What was written is undone by the next :meth:`faults`, or by leaving the block on an error.
        """
        self.db.execute("BEGIN")
        try:
            triggers = drop_triggers(self.db)
            yield self.db
            put_back(self.db, triggers)
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def faults(self) -> list[str]:
        """What ``ledger verify`` finds; afterwards all is as it was."""
        try:
            return [fault.what for fault in self._ledger.verify()]
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")

    def faults_after(self, *statements: str | Callable[[sqlite3.Connection], object]) -> list[str]:
        """What is found after some statements, or calls with the connection."""
        with self.changed() as db:
            for statement in statements:
                if isinstance(statement, str):
                    _change(db, statement)
                else:
                    statement(db)
        return self.faults()


def _change(db: sqlite3.Connection, statement: str) -> None:
    """Execute it. A table cannot be dropped while a query of an earlier ``faults`` is unfinished,
    which lives as long as the traceback that ended it: garbage is collected then."""
    try:
        db.execute(statement)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        gc.collect()
        db.execute(statement)

"""Verifying a ledger in many short transactions: from its beginning, from a signed checkpoint, or
from where an earlier verification was interrupted.

Each page of a check sees one state of the database, and the next page a later one; the log may grow
meanwhile. Checks that compare tables as a whole with each other have a transaction each.

Where it starts later than at the first entry, the root over the entries before is recomputed from
the stored nodes and must be the one that was signed, or that was computed before: so those entries
are the same by their hashes. That their documents, and rows beside them, are still those that were
hashed was checked then and is not checked again.

What is saved of an interrupted verification is authenticated with a key derived from the log's own
(HMAC-SHA256): who can write the file, but not sign checkpoints, cannot make one.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from rag_audio.domain.record import Fault
from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput
from rag_audio.provenance.ledger.audit import LogCheck, checkpoint_faults
from rag_audio.provenance.ledger.audit_pages import OF_CELLS, PagedCheck, checked
from rag_audio.provenance.ledger.audit_schema import schema_faults
from rag_audio.provenance.ledger.audit_tables import CHECKS
from rag_audio.provenance.ledger.key_register import compare_keys
from rag_audio.provenance.ledger.merkle import Frontier
from rag_audio.provenance.ledger.signed_notes import VerifierKey, load_key, read_checkpoint
from rag_audio.provenance.ledger.tables import checkpoints, frontier_at, frontier_in
from rag_audio.storage.database import database_errors, snapshot
from rag_audio.storage.files import write_bytes
from rag_audio.storage.migrations import HEAD

PROGRESS = "ledger-verify.json"
"""The file in a home that says how far an interrupted verification came."""
LOG = "log"
"""Name of the check of the log itself, beside those of :data:`.CHECKS`."""
OnPage = Callable[[str, int, int], None]
"""Is told the check that runs, the entry that it reached, and the log's size."""
_FORMAT = "rag-audio ledger verification 1"


@dataclass(frozen=True)
class VerifyFrom:
    """Where a verification starts, and what is kept of it.

    Attributes:
        checkpoint: a signed note: what it covers is not read again. last_checkpoint: the newest
            one that the ledger holds.
        progress: file that says, until the verification has ended, how far it came.
        resume: go on from that file; from the beginning where there is none.
        save_every_s: seconds from one saving to the next.
    """

    checkpoint: str | None = None
    last_checkpoint: bool = False
    progress: Path | None = None
    resume: bool = False
    save_every_s: float = 5.0

    def __post_init__(self) -> None:
        """Raises InvalidInput: it starts at two places."""
        starts = (self.checkpoint is not None, self.last_checkpoint, self.resume)
        if sum(starts) > 1:
            raise InvalidInput(
                "a verification starts at a checkpoint, or goes on with an earlier one; not both",
                hint="an earlier one goes on from the checkpoint that it was started at",
            )
        if self.resume and self.progress is None:
            raise InvalidInput("there is no file of a verification that could go on")


BEGINNING = VerifyFrom()


@dataclass
class Verification:
    """What a verification found.

    Attributes:
        start: entries before it that only a checkpoint covers. resumed: entries that an
            interrupted verification had read, None: it was not resumed. began: when it was begun.
    """

    faults: list[Fault] = field(default_factory=list)
    start: int = 0
    resumed: int | None = None
    began: str = ""


class Verifier:
    """One run over a ledger.

    Args:
        key_file: of the log's own key, in the folder of the home's keys.
        against: checkpoints that the log must extend. key: who signed those; None: the log's own.

    Raises:
        InvalidInput: what it starts at cannot be used.
        ConfigError: the log's key cannot be read.
    """

    def __init__(
        self,
        engine: Engine,
        key_file: Path | None,
        against: Sequence[str] = (),
        key: str | None = None,
        start: VerifyFrom = BEGINNING,
        on_page: OnPage | None = None,
    ) -> None:
        self._engine, self._key_file, self._against = engine, key_file, against
        own = None if key_file is None else load_key(key_file)
        self._own = None if own is None else str(own.verifier)
        self._mac_key = None if own is None else _mac_key(own.seed)
        self._key, self._start = key or self._own, start
        self._on_page = on_page or (lambda _check, _entry, _size: None)
        self._report = Verification(began=datetime.now(UTC).isoformat(timespec="seconds"))
        self._done: set[str] = set()
        self._at: dict[str, int] = {}
        self._log: LogCheck | None = None
        self._saved = time.monotonic()

    def run(self) -> Verification:
        """Check everything.

        Raises:
            BackendUnavailable: the database cannot be reached any more, or how far it came cannot
                be saved.
        """
        report = self._report
        with database_errors(self._engine):
            with snapshot(self._engine) as db:
                found, unreadable = schema_faults(db)
            if any(table.startswith("ledger_") for table in unreadable):
                what = "the log was not checked, since a table of it cannot be read"
                report.faults += [*found, Fault(0, what)]
                return report
            frontier = self._begin()
            report.faults += found
            self._check_log(frontier)
            for one in CHECKS:
                if one.tables.isdisjoint(unreadable):
                    after = self._at.get(one.name, report.start)
                    self._pages(one.name, one.tables, one.begin(after))
            self._check_against(unreadable)
        if self._start.progress is not None:
            self._start.progress.unlink(missing_ok=True)
        report.faults = list(dict.fromkeys(report.faults))
        return report

    # Where it starts.

    def _begin(self) -> Frontier:
        if self._start.resume:
            saved = self._read_progress()
            return Frontier() if saved is None else self._resumed(saved)
        note = self._start.checkpoint
        if self._start.last_checkpoint:
            note = self._last_checkpoint()
        if note is None:
            return Frontier()
        if self._key is None:
            raise InvalidInput(
                "there is no key to check the checkpoint with", hint="give it with --key"
            )
        said = read_checkpoint(note, VerifierKey.parse(self._key))
        frontier = self._edge(said.size, said.root, "those of the checkpoint")
        self._report.start = frontier.size
        return frontier

    def _last_checkpoint(self) -> str:
        """The newest checkpoint in the ledger that its key has signed: whoever removes it, or
        forges one, only has more checked."""
        if self._own is None:
            raise InvalidInput("this home has no ledger key: no checkpoint in it can be checked")
        signer = VerifierKey.parse(self._own)
        with snapshot(self._engine) as db:
            by_size = select(checkpoints.c.note).where(checkpoints.c.key == self._own)
            for note in db.execute(by_size.order_by(checkpoints.c.size.desc())).scalars():
                try:
                    read_checkpoint(str(note), signer)
                except InvalidInput:
                    continue
                return str(note)
        raise InvalidInput(
            "the ledger holds no checkpoint that its key has signed",
            hint="rag-audio ledger checkpoint signs one",
        )

    def _edge(self, size: int, root: bytes, whose: str) -> Frontier:
        """The tree of so many entries where its root is this one; else a fault, and the beginning:
        then everything is checked."""
        faults = self._report.faults
        with snapshot(self._engine) as db:
            found = list[Frontier]()
            faults += checked(db, (), _edge_of(db, size, found))
        if found and found[0].root() == root:
            return found[0]
        if found:
            faults.append(Fault(size, f"the first {size} entries are not {whose}"))
        return Frontier()

    # The checks.

    def _check_log(self, frontier: Frontier) -> None:
        if LOG not in self._done:
            self._log = LogCheck(self._own, frontier)
            self._pages(LOG, frozenset(), self._log)

    def _pages(self, name: str, tables: frozenset[str], check: PagedCheck) -> None:
        if name in self._done:
            return
        size = self._size()
        while not check.done:
            self._on_page(name, min(max(check.after, 0), size), size)
            with snapshot(self._engine) as db:
                self._report.faults += checked(db, tables, check.step(db))
            self._at[name] = check.after
            self._save()
        self._done.add(name)

    def _check_against(self, unreadable: Iterable[str]) -> None:
        report = self._report
        for note in self._against:
            with snapshot(self._engine) as db:
                report.faults += checked(db, (), checkpoint_faults(db, note, self._key))
        if self._key_file is not None and "key_fingerprints" not in unreadable:
            with snapshot(self._engine) as db:
                problems = compare_keys(db, self._key_file.parent)
                others = (Fault(one.seq, one.what) for one in problems)
                report.faults += checked(db, {"key_fingerprints"}, others)

    def _size(self) -> int:
        """Of the log, for who waits; 0 where it cannot be read, which is told elsewhere."""
        try:
            with snapshot(self._engine) as db:
                return frontier_in(db).size
        except OF_CELLS:
            return 0

    # What is kept of an interrupted run.

    def _save(self) -> None:
        """Save how far it came, now and then; not once the tree of the log is broken, which no
        later run could go on with."""
        progress, log = self._start.progress, self._log
        if progress is None or self._mac_key is None or (log is not None and log.wrong):
            return
        if time.monotonic() - self._saved < self._start.save_every_s:
            return
        self._saved = time.monotonic()
        edge = Frontier() if log is None else log.frontier
        document = {
            "format": _FORMAT,
            "revision": HEAD,
            "began": self._report.began,
            "start": self._report.start,
            "size": edge.size,
            "root": edge.root().hex(),
            "done": sorted(self._done),
            "at": self._at,
            "faults": [[fault.seq, fault.what] for fault in self._report.faults],
        }
        # What was numbered past the log may have any type.
        plain = json.loads(json.dumps(document, default=str))
        said = {**plain, "mac": _mac(self._mac_key, plain)}
        try:
            write_bytes(progress, json.dumps(said).encode())
        except OSError as error:
            raise BackendUnavailable(
                f"{progress} cannot be written: {error.strerror}",
                hint="it says how far the verification came; free some space, or check permissions",
            ) from error

    def _resumed(self, said: Mapping[str, Any]) -> Frontier:
        report = self._report
        edge = self._edge(said["size"], bytes.fromhex(said["root"]), "those that were verified")
        if edge.size != said["size"]:
            return edge
        report.faults += [Fault(seq, what) for seq, what in said["faults"]]
        report.start, report.resumed, report.began = said["start"], edge.size, said["began"]
        self._done, self._at = set(said["done"]), dict(said["at"])
        # Its edge is saved again by every later saving.
        self._log = LogCheck(self._own, edge)
        return edge

    def _read_progress(self) -> dict[str, Any] | None:
        """What an interrupted verification saved; None: nothing."""
        file = self._start.progress
        if file is None or self._mac_key is None:
            raise ConfigError("this home has no ledger key, which what is saved is checked with")
        anew = "run rag-audio ledger verify without --resume"
        try:
            said = json.loads(file.read_bytes())
            mac = str(said.pop("mac"))
            right = _mac(self._mac_key, said)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(f"{file} cannot be read: {error}", hint=anew) from error
        if not hmac.compare_digest(mac, right):
            raise InvalidInput(f"{file} was changed, or is of another ledger", hint=anew)
        if said["format"] != _FORMAT or said["revision"] != HEAD:
            raise InvalidInput(f"{file} is of another version of rag-audio", hint=anew)
        return dict(said)


def _edge_of(db: Connection, size: int, found: list[Frontier]) -> Iterator[Fault]:
    """Adds the edge of a tree of so many entries, or tells why there is none."""
    now = frontier_in(db).size
    if size > now:
        yield Fault(now + 1, f"{size} entries were there before, the ledger has {now}")
    else:
        found.append(frontier_at(db, size))


def _mac(key: bytes, document: Mapping[str, Any]) -> str:
    return hmac.new(key, json.dumps(document, sort_keys=True).encode(), sha256).hexdigest()


def _mac_key(seed: bytes) -> bytes:
    return hmac.new(seed, b"rag-audio ledger verification progress", sha256).digest()

"""Prepare a restored home: new output numbers, and the revocations and erasures logged since.

An archive is a state of the past. Revocations and erasures that came later must not be undone by
going back to it, so they are taken over from a log that went on: the archived home's, or an export.
And numbers that were given since must not be given again (:mod:`.numbering`).
All of it is one transaction on the restored database, before the home appears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text

from rag_audio.errors import ConfigError, InvalidInput
from rag_audio.pipeline.home_files import BadArchive
from rag_audio.provenance.ledger import key_register, later_logs
from rag_audio.provenance.ledger.key_register import FILES, IN_USE, KEY, LEDGER, WATERMARK
from rag_audio.provenance.ledger.later_logs import NOTHING, CarriedOver, Later, LaterEvent
from rag_audio.provenance.ledger.ledger import scrub
from rag_audio.provenance.ledger.merkle import EMPTY_ROOT, root_at
from rag_audio.provenance.ledger.numbering import RESTORE, begin_epoch
from rag_audio.provenance.ledger.signed_notes import load_key
from rag_audio.provenance.ledger.tables import append_event, node_in
from rag_audio.storage.database import connect, hold, reading, sqlite_url, writing
from rag_audio.storage.database_export import read_dump
from rag_audio.storage.migrations import migrate

_HINT = (
    "name the archived home, a ledger export of it or a newer backup with --later; "
    "or go on without with --yes"
)

_HINT_DAMAGED = (
    "name a log that is whole with --later (the archived home, a ledger export or a newer backup); "
    "or go on with what verifies with --yes"
)


@dataclass(frozen=True)
class Wanted:
    """How a restore is to go.

    Attributes:
        later: homes, ledger exports and newer archives, whose logs went on after the archive was
            made.
        go_on: is asked, with what would be lost or is wrong, whether to restore all the same;
            None: there is no one to ask.
    """

    later: tuple[Path, ...] = ()
    go_on: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Archived:
    """What an archive says of itself: when it was made (ISO 8601), and of which home."""

    created: str | None
    home: Path | None

    @classmethod
    def read(cls, manifest: dict[str, Any]) -> Archived:
        """From the manifest; older archives do not say of which home they are."""
        created, home = manifest.get("created"), manifest.get("home")
        return cls(
            created if isinstance(created, str) else None,
            Path(home) if isinstance(home, str) and home else None,
        )


@dataclass(frozen=True)
class Restored:
    """What was done to the restored database.

    Attributes:
        entries: of the archive's log.
        numbers_from: the first number that will be given.
        kept: what was carried over from the logs named in ``sources``.
        warnings: lines for people.
    """

    entries: int
    numbers_from: int
    kept: CarriedOver = NOTHING
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A part of the document of ``restore --json``."""
        return {
            "entries": self.entries,
            "numbers_from": self.numbers_from,
            "later": list(self.sources),
            "kept": self.kept.to_json(),
        }

    def lines(self) -> Iterator[str]:
        """What was restored and kept, for people."""
        yield f"new outputs are numbered from {self.numbers_from}"
        kept = self.kept.to_json()
        for one in kept["revocations"]:
            what = "no longer revoked" if one["undo"] else "revoked"
            entry = f"entry {one['entry']} of the later log"
            yield f"kept: {one['of']} {one['target']} is {what} ({entry})"
        for one in kept["erasures"]:
            yield (
                f"kept: the personal texts of output {one['output']} are erased "
                f"(entry {one['entry']} of the later log)"
            )


def settle_file(home: Path, archived: Archived, wanted: Wanted) -> Restored | None:
    """:func:`settle` the ledger in a home's own folder; None where there is nothing to settle.

    A home that has marked nothing and logged nothing yet has no number to repeat.
    """
    file = home / "ledger.db"
    if not file.is_file() and not (home / "keys" / FILES[WATERMARK]).is_file():
        return None
    engine = connect(sqlite_url(file))
    try:
        with reading(engine) as db:
            entries = entries_in(db)
        migrate(engine)
        with writing(engine, "ledger") as db:
            done = settle(db, home / "keys", entries, archived, wanted)
        if done.kept.erased:
            scrub(engine)
    finally:
        engine.dispose()
    return done


def settle_dump(
    engine: Engine,
    dump: Path,
    keys: Path,
    rows: Mapping[str, int],
    archived: Archived,
    wanted: Wanted,
) -> Restored:
    """Put a dump into a database elsewhere, and :func:`settle` it.

    Args:
        rows: that the archive says the dump has, by table; BadArchive where it has others.
    """
    done: list[Restored] = []

    def within(db: Connection, counts: dict[str, int]) -> None:
        if counts != rows:
            raise BadArchive("its database has not the rows of its manifest")
        done.append(settle(db, keys, counts.get("ledger_entries", 0), archived, wanted))

    read_dump(engine, dump, within)
    if done[0].kept.erased:
        scrub(engine)
    return done[0]


def entries_in(db: Connection) -> int:
    """How many entries a log of any revision has; 0 where there is none yet."""
    if not inspect(db).has_table("ledger_entries"):
        return 0
    return int(db.execute(text("SELECT count(*) FROM ledger_entries")).scalar_one())


def settle(
    db: Connection, keys: Path, entries: int, archived: Archived, wanted: Wanted
) -> Restored:
    """Begin new numbers in a restored database, log that, and take over what was said later.

    Args:
        db: in a write transaction, at the newest revision.
        keys: the restored home's folder of keys.
        entries: of the archive's log, before migrations added theirs: the log that went on shares
            these alone.

    Raises:
        InvalidInput: a log does not go on from the archive's; or it is not known what came later,
            or the keys are another home's, and nobody confirms that it is to be restored so.
    """
    hold(db, "revocations")
    hold(db, "ledger")
    root = EMPTY_ROOT if entries == 0 else root_at(node_in(db), entries)
    logs, notes = _later_logs(keys, entries, root, archived, wanted)
    notes += _about_keys(db, keys, wanted)
    events = later_logs.in_order(logs)
    notes += _later_keys(events, keys)
    kept = later_logs.find_carried_over(db, events)
    epoch = begin_epoch(db, frozenset[int]().union(*(log.outputs for log in logs)))
    body = {
        "archived": archived.created,
        "entries": entries,
        "numbers_from": epoch.first,
        "kept": kept.count,
        # How far later logs were read; empty: the user went on without one.
        "later": [log.size for log in logs],
    }
    append_event(db, RESTORE, body)
    later_logs.carry_over(db, kept)
    names = tuple(log.name for log in logs)
    return Restored(entries, epoch.first, kept, names, tuple(notes))


def _later_logs(
    keys: Path, size: int, root: bytes, archived: Archived, wanted: Wanted
) -> tuple[list[Later], list[str]]:
    """The logs that went on, and lines for people."""
    signer = load_key(keys / FILES[LEDGER])
    key = None if signer is None else str(signer.verifier)
    notes = []
    logs = [later_logs.read_later(source, size, root, key) for source in wanted.later]
    home = archived.home
    is_named = home is not None and any(
        source.exists() and home.exists() and source.samefile(home) for source in wanted.later
    )
    is_told = is_named or any(log.size > size for log in logs)
    if home is not None and later_logs.is_home(home) and not is_named:
        try:
            logs.append(later_logs.read_later(home, size, root, key))
            is_told = True
            notes.append(f"the archived home is still there: its log of {logs[-1].size} entries "
                         f"was looked through for what came after the archive")  # fmt: skip
        except (InvalidInput, ConfigError) as error:
            notes.append(error.message)
    is_asked = _about_damage(logs, wanted, notes)
    if not is_told and not is_asked:
        after = archived.created or "the archive was made"
        ends = "".join(f" ({log.name!r} ends where the archive does)" for log in logs)
        _ask(
            f"revocations and erasures made after {after} are not in this archive{ends}, and "
            "a restore undoes those that there were",
            wanted,
            notes,
            _HINT,
        )
    return logs, notes


def _about_damage(logs: list[Later], wanted: Wanted, notes: list[str]) -> bool:
    """Tell of damaged logs; whether it was asked about one, since no other log that is whole has
    as much."""
    whole = [log for log in logs if log.damage is None]
    asked = False
    for log in logs:
        if log.damage is None:
            continue
        of_all = f" of {log.claimed}" if (log.claimed or 0) > log.size else ""
        what = (
            f"the log of {log.name!r} verifies up to entry {log.size}{of_all} only ({log.damage})"
        )
        if any(other.size >= max(log.claimed or 0, log.size) for other in whole):
            notes.append(f"{what}; another log, which is whole, was looked through")
            continue
        asked = True
        unknown = "what was revoked or erased after it is not known"
        _ask(f"{what}; {unknown}", wanted, notes, _HINT_DAMAGED)
    return asked


def _about_keys(db: Connection, keys: Path, wanted: Wanted) -> list[str]:
    """What is wrong with the keys in the archive; those of another home are asked about."""
    notes: list[str] = []
    for problem in key_register.compare_keys(db, keys):
        if problem.missing:
            notes.append(f"{problem.what}, and is not in the archive either")
        else:
            hint = "use an archive of the home that has the right key; or go on with --yes"
            _ask(problem.what, wanted, notes, hint)
    return notes


def _later_keys(events: Iterable[LaterEvent], keys: Path) -> Iterator[str]:
    """Watermark keys that came into use after the archive was made, and are not in it."""
    there = set(key_register.files_of(keys, WATERMARK).values())
    for event in events:
        said = event.document
        known = said.get("purpose") != WATERMARK or said.get("fingerprint") in there
        if event.kind == KEY and said.get("state") == IN_USE and not known:
            key = key_register.short(str(said.get("fingerprint")))
            yield (
                f"the watermark key {key} came into use after the archive was made: what the "
                "archived home marked with it is not read here"
            )


def _ask(what: str, wanted: Wanted, notes: list[str], hint: str) -> None:
    """Go on if the user confirms it, and note the question.

    Raises:
        InvalidInput: it is not confirmed.
    """
    if wanted.go_on is None or not wanted.go_on(what):
        why = "".join(f" ({note})" for note in notes)
        raise InvalidInput(f"nothing is restored: {what}{why}", hint=hint)
    notes.append(what)

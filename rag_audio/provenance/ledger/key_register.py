"""Which secret keys belong to a database: their fingerprints, and each change of them in the log.

The marks of all outputs in one ledger are read with one key, and its checkpoints are signed by one.
A home beside the database that has other keys would mark outputs that nobody else can trace. The
table ``key_fingerprints`` therefore knows the keys by their fingerprints, and ``key`` events say
how it came to: the table is what they add up to.

A fingerprint is ``SHA-256("rag-audio key " ‖ purpose ‖ 0x0A ‖ key)`` in hex, of the 32 secret bytes
of a watermark key and of the 32 public bytes of a ledger key. It may be published: 256 random bits
stand between it and a secret key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, column, insert, select, table, update

from rag_audio.domain.record import Fault
from rag_audio.errors import ConfigError, InvalidInput, LedgerError, LedgerTampered
from rag_audio.provenance.ledger.records import canonical
from rag_audio.provenance.ledger.signed_notes import (
    SEED_BYTES,
    SigningKey,
    VerifierKey,
    load_key,
    load_or_create_key,
    signing_key,
)
from rag_audio.provenance.ledger.tables import (
    LOCK,
    append_event,
    checkpoints,
    events_in,
    key_fingerprints,
)
from rag_audio.storage.database import hold

WATERMARK, LEDGER = "watermark", "ledger"
FILES = {WATERMARK: "watermark.key", LEDGER: "ledger.key"}
"""The file in a home's ``keys`` folder that holds the key in use, by purpose."""
IN_USE, RETIRED, LOST = "in use", "retired", "lost"
"""One key of a purpose is in use. A retired one still reads what was marked with it, and must be
kept; one that its owner declared lost is no longer asked for."""
_STATES = (IN_USE, RETIRED, LOST)
KEY = "key"
"""The kind of event that tells of a key."""
_SHOWN = 12


@dataclass(frozen=True)
class KeyProblem:
    """A key of the database that a home lacks, or a key of a home that is not the database's.

    Attributes:
        seq: the entry that made the key known. missing: it lacks; else it is another one.
    """

    seq: int
    what: str
    missing: bool


def fingerprint(purpose: str, key: bytes) -> str:
    """A key's fingerprint, hex.

    Args:
        key: 32 bytes; of a ledger key its seed.
    """
    known = signing_key(key).verifier.public if purpose == LEDGER else key
    return _hashed(purpose, known)


def short(print_: str) -> str:
    """The beginning of a fingerprint, for people."""
    return f"{print_[:_SHOWN]}…"


def known_keys(db: Connection, purpose: str) -> dict[str, str]:
    """The states of the database's keys, by fingerprint."""
    wanted = select(key_fingerprints).where(key_fingerprints.c.purpose == purpose)
    return {row.fingerprint: row.state for row in db.execute(wanted)}


def key_in_use(db: Connection, purpose: str) -> str | None:
    """The fingerprint of the database's key; None while it knows none.

    A database of an older version knows the key of its newest checkpoint.

    Raises:
        LedgerTampered: that names none.
    """
    known = known_keys(db, purpose)
    if purpose == LEDGER and not known:
        newest = select(checkpoints.c.key).order_by(checkpoints.c.size.desc()).limit(1)
        key = db.execute(newest).scalar()
        try:
            return None if key is None else _hashed(LEDGER, VerifierKey.parse(key).public)
        except InvalidInput as error:
            raise LedgerTampered(
                f"the newest stored checkpoint names no key: {error.message}",
                hint="rag-audio ledger verify",
            ) from error
    return next((print_ for print_, state in known.items() if state == IN_USE), None)


def note_key(db: Connection, purpose: str, print_: str, state: str) -> None:
    """Write down a key's state and log it, in a write transaction of the caller's.

    A key that comes into use retires the one before.
    """
    hold(db, LOCK)
    known = known_keys(db, purpose)
    for row, old in _after(known, print_, state).items():
        these = (key_fingerprints.c.purpose == purpose, key_fingerprints.c.fingerprint == row)
        if row not in known:
            values = {"purpose": purpose, "fingerprint": row, "state": old}
            db.execute(insert(key_fingerprints), values)
        elif known[row] != old:
            db.execute(update(key_fingerprints).where(*these).values(state=old))
    body = {"purpose": purpose, "fingerprint": print_, "state": state}
    append_event(db, KEY, body)


def register_faults(db: Connection) -> Iterator[Fault]:
    """Rows of the table that do not follow from the log."""
    said, since = _logged(db)
    rows = db.execute(select(key_fingerprints)).all()
    there = {(row.purpose, row.fingerprint): row.state for row in rows}
    for key in sorted(said.keys() | there.keys(), key=str):
        if said.get(key) != there.get(key):
            yield Fault(
                since.get(key, 0),
                f"the {key[0]} key {short(str(key[1]))} is {there.get(key, 'unknown')!r} in the "
                f"table of keys, and {said.get(key, 'unknown')!r} in the log",
            )


def compare_keys(db: Connection, folder: Path) -> Iterator[KeyProblem]:
    """The keys in a home's folder compared with those that the database knows.

    Raises:
        ConfigError: a file cannot be read.
    """
    _, since = _logged(db)
    for purpose, name in FILES.items():
        known = known_keys(db, purpose)
        if not known:
            continue
        found = files_of(folder, purpose)
        in_use = key_in_use(db, purpose)
        for print_, state in known.items():
            if state != LOST and print_ not in found.values():
                yield KeyProblem(
                    since.get((purpose, print_), 0),
                    f"the {purpose} key {short(print_)} {_role(db, purpose, print_, state)} is "
                    f"missing from {folder.name}/",
                    missing=True,
                )
        own = found.get(name)
        # A rotation that broke off, or an older version's, is mended when the key is next used.
        ahead = own not in known and in_use in found.values()
        for file, print_ in found.items():
            wrong = print_ != in_use and in_use is not None if file == name else print_ not in known
            if wrong and not ahead:
                yield KeyProblem(
                    0,
                    f"{folder.name}/{file} holds the key {short(print_)}, which is not the "
                    f"database's {purpose} key",
                    missing=False,
                )


def files_of(folder: Path, purpose: str) -> dict[str, str]:
    """Fingerprints by name of the files that hold keys of a purpose, the one in use first.

    Raises:
        ConfigError: one cannot be read, or does not have 32 bytes.
    """
    name = FILES[purpose]
    retired = (old for old in folder.glob(f"{name}.*") if old.suffix[1:].isdecimal())
    newest_first = sorted(retired, key=lambda old: int(old.suffix[1:]), reverse=True)
    found = {}
    for path in (folder / name, *(newest_first if purpose == WATERMARK else ())):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"the key {str(path)!r} cannot be read: {error.strerror}") from error
        if len(content) != SEED_BYTES:
            raise ConfigError(
                f"the key {str(path)!r} has {len(content)} bytes, not {SEED_BYTES}",
                hint="restore it from a backup",
            )
        found[path.name] = fingerprint(purpose, content)
    return found


def refused(purpose: str, wanted: str, path: Path, has: str | None) -> ConfigError:
    """That a home may not work with this database: it has no key, or another than the database."""
    lacks = "is not there" if has is None else f"holds {short(has)}"
    files = f"keys/{FILES[purpose]}{'*' if purpose == WATERMARK else ''}"
    return ConfigError(
        f"the database's {purpose} key is {short(wanted)}, and {path} {lacks}",
        hint=f"copy {files} from the home that made it, or from its backup, or name the folder "
        "that has it with RAG_AUDIO_KEYS_FOLDER; where no copy is left: "
        f"rag-audio keys lost {purpose}",
    )


def ledger_key(db: Connection, path: Path) -> SigningKey:
    """The key that signs checkpoints; made, and noted in the database, where both have none.

    Args:
        db: in a write transaction that holds the writer's lock.

    Raises:
        ConfigError: the database's key is another one, or the file cannot be used.
        LedgerTampered: the database's newest checkpoint names no key.
    """
    wanted, key = key_in_use(db, LEDGER), load_key(path)
    if key is None and wanted is not None:
        raise refused(LEDGER, wanted, path, None)
    key = key or load_or_create_key(path)
    own = fingerprint(LEDGER, key.seed)
    if wanted not in (None, own):
        raise refused(LEDGER, str(wanted), path, own)
    if known_keys(db, LEDGER).get(own) != IN_USE:
        note_key(db, LEDGER, own, IN_USE)
    return key


def _after(known: dict[str, str], print_: str, state: str) -> dict[str, str]:
    """The states once a key has got this one."""
    after = dict(known)
    if state == IN_USE:
        after = {other: RETIRED if old == IN_USE else old for other, old in known.items()}
    return {**after, print_: state}


def _logged(db: Connection) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], int]]:
    """The states of all keys that the log's events add up to, and the entry that named each."""
    states: dict[str, dict[str, str]] = {}
    since: dict[tuple[str, str], int] = {}
    for event in events_in(db, KEY):
        said = event.document
        purpose, print_, state = (str(said.get(k)) for k in ("purpose", "fingerprint", "state"))
        if state in _STATES:
            states[purpose] = _after(states.get(purpose, {}), print_, state)
            since.setdefault((purpose, print_), event.seq)
    flat = {(purpose, k): state for purpose, keys in states.items() for k, state in keys.items()}
    return flat, since


def _role(db: Connection, purpose: str, print_: str, state: str) -> str:
    """What a key is needed for."""
    if state == IN_USE:
        return "in use"
    after = 0
    seen = False
    for event in events_in(db, KEY):
        said = event.document
        if said.get("purpose") != purpose:
            continue
        if seen and said.get("state") == IN_USE:
            after = event.seq
            break
        seen = seen or said.get("fingerprint") == print_
    what = "outputs" if purpose == WATERMARK else "checkpoints"
    done = "marked" if purpose == WATERMARK else "signed"
    return f"that {what} up to entry {after} were {done} with"


def _hashed(purpose: str, key: bytes) -> str:
    return sha256(b"rag-audio key " + purpose.encode() + b"\n" + key).hexdigest()


# API keys in the log: who may do what with the service is as much a matter of record as outputs.
#
# An event of kind ``access`` holds a key's id, whether it was made or revoked, and the SHA-256 of
# its row as canonical JSON. Name, scopes and libraries stay out of the log: the row holds a hash
# of the key's 256 random bits, so that nothing of it can be guessed from the event.

ACCESS = "access"
MADE, REVOKED = "made", "revoked"
_KEYS = table(
    "api_keys",
    *map(column, ("id", "name", "hash", "scopes", "libraries")),
    *map(column, ("created_at", "expires_at", "revoked_at")),
)


def key_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the log says of a key as its row stands; raises as :func:`log_key`."""
    state = MADE if row["revoked_at"] is None else REVOKED
    return {"key": row["id"], "row": sha256(canonical(dict(row))).hexdigest(), "state": state}


def log_key(db: Connection, row: Mapping[str, Any]) -> None:
    """Log a key's row as it stands now, in the transaction that wrote it.

    Raises:
        LedgerError: the row holds something that JSON has no word for.
    """
    append_event(db, ACCESS, key_event(row))


def key_faults(db: Connection) -> Iterator[Fault]:
    """Rows of keys that are not as the log has them last, rows that it lacks, and missing rows."""
    logged = {str(event.document.get("key")): event for event in events_in(db, ACCESS)}
    for row in db.execute(select(_KEYS).order_by(_KEYS.c.id)).mappings():
        event = logged.pop(str(row["id"]), None)
        if event is None:
            yield Fault(0, f"the API key {row['id']!r} is not in the log")
            continue
        try:
            now = key_event(dict(row))
        except LedgerError:
            now = {}
        if now != event.document:
            yield Fault(event.seq, f"the row of the API key {row['id']} is not as it was logged")
    for id_, event in logged.items():
        yield Fault(event.seq, f"the row of the API key {id_} is missing")

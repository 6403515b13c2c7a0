"""A home's key files held against its database: one watermark key marks all outputs of a ledger.

Homes that share a database share its keys: files are copied by their owner, never made anew, and
what does not fit is refused before anything is marked.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine

from rag_audio.errors import ConfigError, InvalidInput
from rag_audio.provenance.ledger.key_register import (
    FILES,
    IN_USE,
    LOST,
    RETIRED,
    WATERMARK,
    compare_keys,
    files_of,
    fingerprint,
    key_in_use,
    known_keys,
    note_key,
    refused,
    short,
)
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import migrate
from rag_audio.watermark import keys

_LOCK = "ledger"


def watermark_keys(engine: Engine, folder: Path) -> tuple[bytes, tuple[bytes, ...]]:
    """The home's watermark keys, where they are the database's: that in use, and retired ones.

    A database that knows none takes the home's, which is made where there is none; one that knows
    the home's latest retired key (a rotation broke off, or an older version made it) goes on to the
    home's key.

    Args:
        folder: the home's ``keys``.

    Raises:
        ConfigError: the home lacks the database's key, or has another one; no file is made then.
    """
    migrate(engine)
    path = folder / FILES[WATERMARK]
    with reading(engine) as db:
        settled = _is_settled(db, folder)
    if not settled:
        with writing(engine, _LOCK) as db:
            _settle(db, folder)
    return keys.load_or_create(path), keys.retired(path)


def rotate_watermark(engine: Engine, folder: Path) -> Path:
    """A new key for new marks, in the home and in the database.

    Returns:
        The file that the key of before is now kept in.

    Raises:
        ConfigError: the home's key is not the database's, or a file cannot be written.
    """
    watermark_keys(engine, folder)
    path = folder / FILES[WATERMARK]
    with writing(engine, _LOCK) as db:
        if not _is_settled(db, folder):
            raise ConfigError("the watermark key was changed meanwhile", hint="try again")
        kept = keys.rotate(path)
        note_key(db, WATERMARK, _own(path), IN_USE)
    return kept


def declare_lost(engine: Engine, purpose: str, folder: Path) -> str:
    """Stop asking for the database's key of a purpose, of which no copy is left.

    The next use takes the home's key, or makes one. What the lost key marked or signed is not
    found or checked by it any more.

    Returns:
        The lost key's fingerprint.

    Raises:
        InvalidInput: the database knows no key of that purpose, or the home has it.
    """
    if purpose not in FILES:
        raise InvalidInput(f"{purpose!r} is not a purpose of a key", hint=", ".join(FILES))
    migrate(engine)
    with writing(engine, _LOCK) as db:
        wanted = key_in_use(db, purpose)
        if wanted is None:
            raise InvalidInput(
                f"the database knows no {purpose} key", hint="rag-audio keys lists those there are"
            )
        if wanted in files_of(folder, purpose).values():
            raise InvalidInput(
                f"the {purpose} key {short(wanted)} is not lost: {folder} has it",
                hint="rag-audio watermark rotate puts a new key in the place of one that is there",
            )
        note_key(db, purpose, wanted, LOST)
    return wanted


def key_notes(engine: Engine, folder: Path) -> list[str]:
    """What is wrong with a home's keys in the eyes of its database, a line each."""
    migrate(engine)
    with reading(engine) as db:
        return [problem.what for problem in compare_keys(db, folder)]


def states_of(engine: Engine, folder: Path) -> dict[str, str]:
    """What each key file is to the database, by name: a state, or that it is not the database's."""
    migrate(engine)
    found = {}
    with reading(engine) as db:
        for purpose in FILES:
            known = known_keys(db, purpose)
            for name, print_ in files_of(folder, purpose).items():
                others = "not the database's" if IN_USE in known.values() else "not used yet"
                found[name] = known.get(print_, others)
    return found


def _is_settled(db: Connection, folder: Path) -> bool:
    """Whether the home's key is the one that the database knows to be in use."""
    path = folder / FILES[WATERMARK]
    return path.exists() and key_in_use(db, WATERMARK) == _own(path)


def _settle(db: Connection, folder: Path) -> None:
    path = folder / FILES[WATERMARK]
    wanted = key_in_use(db, WATERMARK)
    known = known_keys(db, WATERMARK)
    retired = [fingerprint(WATERMARK, key) for key in keys.retired(path)]
    if wanted is None:
        keys.load_or_create(path)
    own = _own(path) if path.exists() else None
    if own is None or (wanted not in (None, own) and (wanted not in retired or own in known)):
        raise refused(WATERMARK, str(wanted), path, own)
    for old in reversed(retired):  # the oldest first
        if old not in known and old != own:
            note_key(db, WATERMARK, old, RETIRED)
    if wanted != own:
        note_key(db, WATERMARK, own, IN_USE)


def _own(path: Path) -> str:
    return fingerprint(WATERMARK, keys.load_or_create(path))

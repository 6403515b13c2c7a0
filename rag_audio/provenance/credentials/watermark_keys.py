"""A home's key files, compared with its database: one watermark key marks all outputs of a ledger.

Homes that share a database share its keys: files are copied by their owner, never made anew, and
what does not fit is refused before anything is marked.

New marks are made with ``watermark.key``. A rotation keeps the key of before beside it, as
``watermark.key.1``, ``.2`` and so on, so that marks made with it are still read.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import Connection, Engine

from rag_audio.errors import ConfigError, InvalidInput
from rag_audio.provenance.ledger import key_register
from rag_audio.provenance.ledger.key_register import FILES, IN_USE, LEDGER, LOST, RETIRED, WATERMARK
from rag_audio.storage.database import reading, writing
from rag_audio.storage.files import create_once, write_bytes
from rag_audio.storage.migrations import migrate

KEY_BYTES = 32
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
    return load_or_create(path), retired(path)


def require_keys(engine: Engine, folder: Path) -> None:
    """Refuse to work with keys that are not the database's, before anything is made with them.

    As :func:`watermark_keys`; and a ledger key that is there must be the database's, where it knows
    one. One that is missing is asked for when a checkpoint is to be signed.

    Raises:
        ConfigError: the watermark key is missing or another one, or the ledger key is another one.
    """
    watermark_keys(engine, folder)
    path = folder / FILES[LEDGER]
    own = key_register.files_of(folder, LEDGER).get(path.name)
    with reading(engine) as db:
        wanted = key_register.key_in_use(db, LEDGER)
    if None not in (own, wanted) and own != wanted:
        raise key_register.refused(LEDGER, str(wanted), path, own)


def rotate_watermark(engine: Engine, folder: Path) -> Path:
    """Make a new key for new marks, in the home and the database; the old key's new file.

    Raises:
        ConfigError: the home's key is not the database's, or a file cannot be written.
    """
    watermark_keys(engine, folder)
    path = folder / FILES[WATERMARK]
    with writing(engine, _LOCK) as db:
        if not _is_settled(db, folder):
            raise ConfigError("the watermark key was changed meanwhile", hint="try again")
        kept = rotate(path)
        key_register.note_key(db, WATERMARK, _own(path), IN_USE)
    return kept


def declare_lost(engine: Engine, purpose: str, folder: Path) -> str:
    """Stop asking for the database's key of a purpose, of which no copy is left.

    The next use takes the home's key, or makes one. What the lost key marked or signed is not
    found or checked by it any more. Returns the lost key's fingerprint.

    Raises:
        InvalidInput: the database knows no key of that purpose, or the home has it.
    """
    if purpose not in FILES:
        raise InvalidInput(f"{purpose!r} is not a purpose of a key", hint=", ".join(FILES))
    migrate(engine)
    with writing(engine, _LOCK) as db:
        wanted = key_register.key_in_use(db, purpose)
        if wanted is None:
            raise InvalidInput(
                f"the database knows no {purpose} key", hint="rag-audio keys lists those there are"
            )
        if wanted in key_register.files_of(folder, purpose).values():
            raise InvalidInput(
                f"the {purpose} key {key_register.short(wanted)} is not lost: {folder} has it",
                hint="rag-audio watermark rotate puts a new key in the place of one that is there",
            )
        key_register.note_key(db, purpose, wanted, LOST)
    return wanted


def key_notes(engine: Engine, folder: Path) -> list[str]:
    """Where a home's keys differ from what its database knows of them, a line each."""
    migrate(engine)
    with reading(engine) as db:
        return [problem.what for problem in key_register.compare_keys(db, folder)]


def states_of(engine: Engine, folder: Path) -> dict[str, str]:
    """What each key file is to the database, by name: a state, or that it is not the database's."""
    migrate(engine)
    found = {}
    with reading(engine) as db:
        for purpose in FILES:
            known = key_register.known_keys(db, purpose)
            for name, print_ in key_register.files_of(folder, purpose).items():
                others = "not the database's" if IN_USE in known.values() else "not used yet"
                found[name] = known.get(print_, others)
    return found


def _is_settled(db: Connection, folder: Path) -> bool:
    """Whether the home's key is the one that the database knows to be in use."""
    path = folder / FILES[WATERMARK]
    return path.exists() and key_register.key_in_use(db, WATERMARK) == _own(path)


def _settle(db: Connection, folder: Path) -> None:
    path = folder / FILES[WATERMARK]
    wanted = key_register.key_in_use(db, WATERMARK)
    known = key_register.known_keys(db, WATERMARK)
    older = [key_register.fingerprint(WATERMARK, key) for key in retired(path)]
    if wanted is None:
        load_or_create(path)
    own = _own(path) if path.exists() else None
    if own is None or (wanted not in (None, own) and (wanted not in older or own in known)):
        raise key_register.refused(WATERMARK, str(wanted), path, own)
    for old in reversed(older):  # the oldest first
        if old not in known and old != own:
            key_register.note_key(db, WATERMARK, old, RETIRED)
    if wanted != own:
        key_register.note_key(db, WATERMARK, own, IN_USE)


def _own(path: Path) -> str:
    return key_register.fingerprint(WATERMARK, load_or_create(path))


# The files of the watermark's keys, which only their owner can read.


def load_or_create(path: Path) -> bytes:
    """The key in ``path``; a new random one, with mode 0600, when there is no such file.

    Whoever has the key can read, forge and remove marks; whoever loses it cannot trace. Two
    processes that create it at once end with the same key.

    Raises:
        ConfigError: the file cannot be read or written, or does not hold a key.
    """
    try:
        key = create_once(path, lambda: secrets.token_bytes(KEY_BYTES))
    except OSError as error:
        raise _unusable(path, error) from error
    return _checked(path, key)


def retired(path: Path) -> tuple[bytes, ...]:
    """Keys that were in ``path`` before, the latest first.

    Raises:
        ConfigError: one cannot be read, or is not a key.
    """
    found = []
    for old in _retired_files(path):
        try:
            found.append(_checked(old, old.read_bytes()))
        except OSError as error:
            raise _unusable(old, error) from error
    return tuple(found)


def rotate(path: Path) -> Path:
    """Put a new key in ``path``; the old key's new file.

    Raises:
        ConfigError: a file cannot be read or written.
    """
    load_or_create(path)
    try:
        numbers = [_number(old) for old in _retired_files(path)]
        kept = path.with_name(f"{path.name}.{max(numbers, default=0) + 1}")
        kept.hardlink_to(path)
        write_bytes(path, secrets.token_bytes(KEY_BYTES))
    except OSError as error:
        raise _unusable(path, error) from error
    return kept


def _retired_files(path: Path) -> list[Path]:
    found = [old for old in path.parent.glob(f"{path.name}.*") if old.suffix[1:].isdecimal()]
    return sorted(found, key=_number, reverse=True)


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the watermark key {str(path)!r} cannot be used: {error.strerror}",
        hint="check the permissions of the file and its folder",
    )


def _checked(path: Path, key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"the watermark key {str(path)!r} has {len(key)} bytes, not {KEY_BYTES}",
            hint="restore it from a backup: a new key cannot read old marks",
        )
    return key

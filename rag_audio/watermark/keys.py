"""The watermark's secret keys: small files that only their owner can read.

New marks are made with ``watermark.key``. A rotation keeps the key of before beside it, as
``watermark.key.1``, ``.2`` and so on, so that marks made with it are still read.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from rag_audio.errors import ConfigError
from rag_audio.storage.files import create_once, write_bytes

KEY_BYTES = 32


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
    """Put a new key in ``path``; marks of the one before stay readable.

    Returns:
        The file that the key of before is now kept in.

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

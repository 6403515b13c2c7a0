"""Keys that settings hold, put into the folder of keys, where everything looks for them.

A machine without a home that lasts gets its keys from a store of secrets: as files
(``RAG_AUDIO_KEYS_FOLDER``), or as variables, which this reads.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from rag_audio.errors import ConfigError
from rag_audio.provenance.ledger.key_register import FILES, LEDGER, WATERMARK, fingerprint, short
from rag_audio.provenance.ledger.signed_notes import SEED_BYTES
from rag_audio.settings import Settings
from rag_audio.storage.files import create_once

_FILES = {**FILES, "webhook": "webhook-secrets.key"}


def put_given_keys(folder: Path, settings: Settings) -> None:
    """Write the keys that settings hold into a folder which lacks them.

    Raises:
        ConfigError: one is no key, the folder has another one, or it cannot be written. The message
            names the variable and no part of a key.
    """
    secrets = (settings.watermark_key, settings.ledger_key, settings.webhook_key)
    for purpose, secret in zip((WATERMARK, LEDGER, "webhook"), secrets, strict=True):
        if secret is not None:
            name, file = f"RAG_AUDIO_{purpose.upper()}_KEY", _FILES[purpose]
            given = [_key(name, file, part) for part in secret.get_secret_value().split(",")]
            if purpose != WATERMARK and len(given) > 1:
                raise ConfigError(f"{name} holds {len(given)} keys, and there can be one")
            # As a rotation names them: the oldest of the retired ones is 1.
            retired = [f"{file}.{at}" for at in range(len(given) - 1, 0, -1)]
            for part, key in zip((file, *retired), given, strict=True):
                _put(name, purpose, folder / part, key)


def _key(name: str, file: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != SEED_BYTES:
        raise ConfigError(
            f"{name} is not {SEED_BYTES} bytes in base64",
            hint=f"base64 -w0 keys/{file} prints that of a home",
        )
    return key


def _put(name: str, purpose: str, path: Path, key: bytes) -> None:
    try:
        there = create_once(path, lambda: key)
    except OSError as error:
        raise ConfigError(
            f"the key of {name} cannot be put into {path}: {error.strerror}",
            hint="RAG_AUDIO_KEYS_FOLDER names another folder",
        ) from error
    if there != key:
        found = short(fingerprint(purpose, there)) if len(there) == SEED_BYTES else "no key"
        raise ConfigError(
            f"{name} holds the key {short(fingerprint(purpose, key))}, and {path} holds {found}",
            hint="one of them is of another home: remove the wrong one",
        )

"""What keys a home has: for people who look, back up or replace them. Makes none."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from rag_audio.errors import ConfigError
from rag_audio.provenance.certificates import common_name, fingerprint, parse_certificates
from rag_audio.provenance.key_register import FILES, WATERMARK
from rag_audio.provenance.key_register import fingerprint as key_fingerprint
from rag_audio.provenance.notes import SEED_BYTES as KEY_BYTES
from rag_audio.provenance.signing_keys import ANCHORS_FILE, LEAF_FILE, OWN_FILE, ROOT_FILE

_PURPOSE = {
    "watermark.key": "reads and writes watermarks",
    "ledger.key": "signs the ledger's checkpoints",
    ROOT_FILE: "vouches for the home's own signer",
    LEAF_FILE: "the home's own signer of outputs",
    OWN_FILE: "imported signer of outputs",
    ANCHORS_FILE: "roots that outputs were signed under before",
}
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_SHORT = 32
_PURPOSES = {file: purpose for purpose, file in FILES.items()}


@dataclass(frozen=True)
class KeyFile:
    """One file of a home's ``keys`` folder.

    Attributes:
        fingerprint: SHA-256 of the first certificate, hex; of a watermark or ledger key as the
            database knows it (:func:`.key_register.fingerprint`); of anything else the first half
            of the SHA-256 of the file. Useless to whoever lacks the key.
        subject, valid_until: of the first certificate; empty where there is none.
        private: holds a secret. exposed: ... and others on this machine may read it.
    """

    path: Path
    purpose: str
    fingerprint: str
    subject: str
    valid_until: str
    private: bool
    exposed: bool

    def to_json(self) -> dict[str, Any]:
        """One row of ``keys --json``."""
        return {**vars(self), "path": str(self.path), "name": self.path.name}


def list_keys(folder: Path) -> list[KeyFile]:
    """The files in a home's ``keys`` folder, by name; none when there is no such folder.

    Raises:
        ConfigError: one cannot be read, or holds a certificate that cannot be.
    """
    if not folder.is_dir():
        return []
    try:
        return [
            _look(path)
            for path in sorted(folder.iterdir())
            if path.is_file() and not path.name.startswith(".")
        ]
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be read: {error.strerror}",
            hint="check the permissions of the folder and its files",
        ) from error


def _look(path: Path) -> KeyFile:
    content = path.read_bytes()
    mode = stat.S_IMODE(path.stat().st_mode)
    private = path.name != ANCHORS_FILE and not path.name.endswith((".pub", ".vkey"))
    shown, subject, until = _shown(path.name, content), "", ""
    if _BEGIN in content:
        first = parse_certificates(content.decode("ascii", "replace"), str(path))[0]
        shown, subject = fingerprint(first), common_name(first)
        until = first.not_valid_after_utc.date().isoformat()
    return KeyFile(
        path,
        _PURPOSE.get(path.name) or _retired_purpose(path.name),
        shown,
        subject,
        until,
        private,
        private and os.name != "nt" and bool(mode & 0o077),
    )


def _shown(name: str, content: bytes) -> str:
    purpose = WATERMARK if _retired_purpose(name) else _PURPOSES.get(name)
    if purpose is not None and len(content) == KEY_BYTES:
        return key_fingerprint(purpose, content)
    return sha256(content).hexdigest()[:_SHORT]


def _retired_purpose(name: str) -> str:
    before, _, number = name.rpartition(".")
    return "reads watermarks of before" if before == "watermark.key" and number.isdecimal() else ""

"""Checkpoints (https://c2sp.org/tlog-checkpoint): the log's size and root, signed.

A log beside its own key lets whoever holds both rewrite the two together. A checkpoint that was
published elsewhere ends that: :func:`rag_audio.provenance.audit.checkpoint_faults` holds a log
against it for ever after.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput
from rag_audio.files import PUBLIC, create_once, write_bytes
from rag_audio.provenance.notes import (
    SEED_BYTES,
    SigningKey,
    VerifierKey,
    open_note,
)

CONTENT_TYPE = "text/plain; charset=utf-8"
_NAME = "rag-audio/ledger"


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself.

    Attributes:
        origin: which log it is; also the name of the key that signs.
        size: entries. root: 32 bytes, RFC 6962.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Three lines: origin, size, root in base64."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint, without signatures; extension lines are ignored.

        Raises:
            InvalidInput: it is not one, or not in its canonical spelling.
        """
        lines = text.split("\n")
        try:
            root = base64.b64decode(lines[2], validate=True)
            found = cls(lines[0], int(lines[1]), root)
        except (IndexError, ValueError) as error:
            raise InvalidInput("the note is not a checkpoint: origin, size and root") from error
        plain = found.size >= 0 and len(root) == 32 and found.origin
        if not plain or not text.startswith(found.text):
            raise InvalidInput("the checkpoint's size or root is not in its canonical spelling")
        return found


def read_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that ``key`` has signed.

    Raises:
        InvalidInput: the signature is wrong or missing, or it is not a checkpoint of this log.
    """
    found = Checkpoint.parse(open_note(note, key))
    if found.origin != key.name:
        raise InvalidInput(f"the checkpoint is of {found.origin!r}, its key of {key.name!r}")
    return found


def signing_key(seed: bytes) -> SigningKey:
    """The log's key; its name, which is the log's origin, follows from the key itself."""
    public = SigningKey(_NAME, seed).verifier.public
    return SigningKey(f"{_NAME}/{sha256(public).hexdigest()[:16]}", seed)


def load_key(path: Path) -> SigningKey | None:
    """The log's key in ``path``; None where there is no such file.

    Raises:
        ConfigError: the file cannot be read, or does not hold a key.
    """
    try:
        seed = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    if len(seed) != SEED_BYTES:
        raise ConfigError(
            f"the ledger key {str(path)!r} has {len(seed)} bytes, not {SEED_BYTES}",
            hint="restore it from a backup: checkpoints of another key belong to another log",
        )
    return signing_key(seed)


def load_or_create_key(path: Path) -> SigningKey:
    """The log's key in ``path``; a new random one, with mode 0600, when there is no such file.

    Two processes that create it at once end with the same key.

    Raises:
        ConfigError: the file cannot be read or written, or does not hold a key.
    """
    try:
        create_once(path, lambda: secrets.token_bytes(SEED_BYTES))
    except OSError as error:
        raise _unusable(path, error) from error
    made = load_key(path)
    if made is None:
        raise ConfigError(f"the ledger key {str(path)!r} was removed while it was made")
    return made


def publish(note: str, where: str) -> str:
    """Put a checkpoint somewhere else: into a folder, or to a URL by HTTP PUT.

    In a folder it becomes ``checkpoint`` (the newest, replaced in one step), and ``checkpoint.N``
    for the log of N entries, which is never overwritten by another.

    Returns:
        The file's path, or the URL.

    Raises:
        BackendUnavailable: it could not be put there.
        InvalidInput: another checkpoint of this size is published already: the log was forked.
    """
    if where.lower().startswith(("http://", "https://")):
        return _put(note, where)
    folder = Path(where)
    size = Checkpoint.parse(note).size
    kept = folder / f"checkpoint.{size}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if kept.exists() and kept.read_text(encoding="utf-8") != note:
            raise InvalidInput(
                f"{kept} holds another checkpoint of {size} entries",
                hint="one of the two logs was rewritten: rag-audio ledger verify --against FILE",
            )
        for target in (kept, folder / "checkpoint"):
            write_bytes(target, note.encode(), PUBLIC)
    except OSError as error:
        raise BackendUnavailable(
            f"the checkpoint cannot be published in {where!r}: {error.strerror}",
            hint="check the folder's permissions",
        ) from error
    return str(folder / "checkpoint")


def _put(note: str, url: str) -> str:
    import httpx

    try:
        answer = httpx.put(
            url, content=note.encode(), headers={"Content-Type": CONTENT_TYPE}, timeout=30.0
        )
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BackendUnavailable(
            f"the checkpoint cannot be published at {url}: {error}",
            hint="the server must take an HTTP PUT there",
        ) from error
    return url


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the ledger key {str(path)!r} cannot be used: {error.strerror}",
        hint="check the permissions of the file and its folder",
    )

"""Signed notes (https://c2sp.org/signed-note) with Ed25519: a text, and lines of signatures.

A note is ``text ‖ blank line ‖ "— <name> <base64(key id ‖ signature)>"``; the key id is the first
four bytes of ``SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)``. A public key is handed around as
``<name>+<key id in hex>+<base64(0x01 ‖ public key)>``. Signatures of other keys are allowed and
ignored; encodings are accepted in their one canonical spelling only.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput
from rag_audio.storage.files import PUBLIC, create_once, write_bytes

SEED_BYTES = 32
_ED25519 = b"\x01"
_ID_BYTES, _SIGNATURE_BYTES = 4, 64
_NAME = re.compile(r"[^\s+]+")
_DASH = "\u2014 "


@dataclass(frozen=True)
class VerifierKey:
    """A named public key.

    Attributes:
        name: without spaces and ``+``.
        public: 32 bytes.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(f"{self.name!r} is not a key's name: no spaces, no +")
        if len(self.public) != 32:
            raise InvalidInput(f"an Ed25519 key has 32 bytes, got {len(self.public)}")

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a key as it is handed around.

        Raises:
            InvalidInput: it is not one, or is damaged.
        """
        name, _, rest = text.strip().partition("+")
        id_, _, encoded = rest.partition("+")
        raw = _from_base64(encoded)
        if raw is None or raw[:1] != _ED25519 or len(raw) != 33 or not name:
            raise InvalidInput(
                f"{text.strip()[:80]!r} is not an Ed25519 verifier key",
                hint="it looks like name+0123abcd+AbCd…",
            )
        key = cls(name, raw[1:])
        if key.id.hex() != id_:
            raise InvalidInput(f"the verifier key {text.strip()!r} is damaged: its id is wrong")
        return key


@dataclass(frozen=True)
class SigningKey:
    """A named private key; ``seed`` is 32 secret bytes (RFC 8032)."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> VerifierKey:
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return VerifierKey(self.name, public.public_bytes_raw())

    def sign(self, text: str) -> str:
        """A note with this text, which must end with a newline, and one signature."""
        if not text.endswith("\n"):
            raise InvalidInput("the text of a note must end with a newline")
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {_base64(self.verifier.id + signature)}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that ``key`` has signed, with its last newline.

    Raises:
        InvalidInput: it is not a note, or ``key`` did not sign it.
    """
    text, found, signatures = note.rpartition("\n\n")
    text += "\n"
    if not found or not signatures.endswith("\n"):
        raise InvalidInput("this is not a signed note: no signature follows a blank line")
    signed = [_signature(line) for line in signatures[:-1].split("\n")]
    for name, raw in signed:
        if name == key.name and raw[:_ID_BYTES] == key.id:
            try:
                public = Ed25519PublicKey.from_public_bytes(key.public)
                public.verify(raw[_ID_BYTES:], text.encode())
            except InvalidSignature as error:
                raise InvalidInput(f"the signature of {key.name} is wrong") from error
            return text
    names = ", ".join(sorted({name for name, _ in signed}))
    raise InvalidInput(f"the note is not signed by {key.name} but by {names}")


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _from_base64(encoded)
    if not line.startswith(_DASH) or not name or raw is None or len(raw) <= _ID_BYTES:
        raise InvalidInput(f"{line[:80]!r} is not a note's signature line")
    return name, raw


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _from_base64(text: str) -> bytes | None:
    """The bytes, or None for any but the canonical spelling (padding bits may hide changes)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _base64(raw) == text else None


# Checkpoints (https://c2sp.org/tlog-checkpoint): the log's size and root, signed.
#
# A log beside its own key lets whoever holds both rewrite the two together. A checkpoint that was
# published elsewhere ends that: :func:`.checkpoint_faults` holds a log
# against it forever after.


CONTENT_TYPE = "text/plain; charset=utf-8"
_ORIGIN_NAME = "rag-audio/ledger"


@dataclass(frozen=True)
class LogCheckpoint:
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
    def parse(cls, text: str) -> LogCheckpoint:
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


def read_checkpoint(note: str, key: VerifierKey) -> LogCheckpoint:
    """The checkpoint in a note that ``key`` has signed.

    Raises:
        InvalidInput: the signature is wrong or missing, or it is not a checkpoint of this log.
    """
    found = LogCheckpoint.parse(open_note(note, key))
    if found.origin != key.name:
        raise InvalidInput(f"the checkpoint is of {found.origin!r}, its key of {key.name!r}")
    return found


def signing_key(seed: bytes) -> SigningKey:
    """The log's key; its name, which is the log's origin, follows from the key itself."""
    public = SigningKey(_ORIGIN_NAME, seed).verifier.public
    return SigningKey(f"{_ORIGIN_NAME}/{sha256(public).hexdigest()[:16]}", seed)


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
    size = LogCheckpoint.parse(note).size
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

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
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rag_audio.errors import InvalidInput

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

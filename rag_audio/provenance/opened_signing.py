"""Signing a file that was made from another one, in a process of its own.

The opened file's manifests are parsed and carried on, and anybody may have written them. So that
process gets all it needs but the key: it asks for each signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rag_audio.codec import Form, json_form
from rag_audio.provenance.certificates import SigningIdentity, private_key
from rag_audio.signing import OpenedFile

SignBytes = Callable[[bytes], bytes]
"""Signs what it is given with the key of a certificate. ECDSA may be DER or r‖s."""
_HASHES = {"es256": hashes.SHA256(), "es384": hashes.SHA384(), "es512": hashes.SHA512()}


@json_form(forms={"document": Form(dict, dict)})
@dataclass(frozen=True)
class OpenedSigning:
    """What is to be signed.

    Attributes:
        file: the finished file. signed: where its signed form goes.
        output: its number. document: its manifest, without anything of the opened file.
        chain_pem, training, timestamp_url: as :class:`rag_audio.provenance.signers.C2paSigner`.
    """

    file: Path
    signed: Path
    output: int
    document: Mapping[str, Any]
    opened: OpenedFile
    chain_pem: str
    training: str
    timestamp_url: str | None


@dataclass(frozen=True)
class Written:
    """A signed file.

    Attributes:
        manifest: its manifest store. label: of the active one. signed_at: by its timestamp.
        parent: label of the opened file's manifest, if that travels in it.
    """

    manifest: bytes
    label: str
    signed_at: str | None
    parent: str = ""


SignElsewhere = Callable[[OpenedSigning, SignBytes], Written]
"""Does it; raises OutputRefused where it cannot be done."""


def sign_bytes_of(identity: SigningIdentity) -> SignBytes:
    """Signatures by the key of an identity that holds it, by its algorithm.

    Raises:
        ConfigError: the key cannot be read.
    """
    key = private_key(identity.key_pem, f"the {identity.source} signing key")

    def sign(data: bytes) -> bytes:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(data, ec.ECDSA(_HASHES[identity.algorithm]))
        if isinstance(key, rsa.RSAPrivateKey):
            sha256 = hashes.SHA256()
            return key.sign(data, padding.PSS(padding.MGF1(sha256), sha256.digest_size), sha256)
        return key.sign(data)

    return sign

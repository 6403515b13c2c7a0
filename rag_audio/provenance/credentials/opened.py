"""The file that an edit or a copy began with, as an ingredient of the new manifest.

Its own manifests travel with it (C2PA specification 2.2, section 10.3: ``c2pa.opened`` and a
``parentOf`` ingredient). A file without any, or with one that cannot be read, that is larger than
any honest one, or that the library does not accept as a part of another, is named by its hash, and
the ingredient says why.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rag_audio.domain.codec import Form, json_form
from rag_audio.domain.signing import OpenedFile
from rag_audio.errors import OutputRefused
from rag_audio.provenance.credentials.manifest import MEDIA_TYPES, PARENT
from rag_audio.provenance.credentials.reading import read_stream, ruined_training, sidecar_beside
from rag_audio.provenance.credentials.signing_keys import SigningIdentity, private_key

if TYPE_CHECKING:
    from c2pa import Builder, Context


MAX_CARRIED = 16 << 20
"""A manifest store of more bytes does not travel with what is made from its file."""
TOO_LARGE = f"it is larger than {MAX_CARRIED >> 20} MiB"
NOT_ACCEPTED = "the C2PA library does not accept it"
_LEFT_OUT = "its own manifest is not carried on: "
_UNKNOWN_KIND = "audio/x-unknown"
_MANIFEST_ID = "parent.c2pa"
_MANIFEST_KIND = "application/c2pa"


@dataclass(frozen=True)
class Parent:
    """What the new manifest says of the opened file.

    Attributes:
        ingredient: as the C2PA library takes it.
        label: of the file's own manifest; empty: it has none that can be read.
        training: what that manifest reserves, by entry.
        file: to be read by the library where the manifest is in it. manifest: of a sidecar.
    """

    ingredient: Mapping[str, Any]
    label: str = ""
    training: Mapping[str, str] = field(default_factory=dict)
    file: BinaryIO | None = None
    manifest: bytes | None = None

    @property
    def listed(self) -> tuple[Mapping[str, Any], ...]:
        """The ingredient, where it stands in the definition of the manifest."""
        return () if self.file is not None else (self.ingredient,)

    @property
    def is_carried(self) -> bool:
        """Whether manifests of the file travel with it."""
        return self.file is not None or self.manifest is not None

    def bare(self, why: str) -> Parent:
        """The same without its manifests; what they reserve stays."""
        hidden = ("active_manifest", "validation_results", "manifest_data")
        plain = {name: value for name, value in self.ingredient.items() if name not in hidden}
        return Parent({**plain, "description": f"{_LEFT_OUT}{why}"}, training=self.training)

    def add_to(self, builder: Builder) -> None:
        """Give the library what the definition only names.

        Raises:
            c2pa.C2paError: it cannot be read.
        """
        if self.file is not None:
            self.file.seek(0)
            builder.add_ingredient(dict(self.ingredient), self.ingredient["format"], self.file)
        elif self.manifest is not None:
            builder.add_resource(_MANIFEST_ID, io.BytesIO(self.manifest))


@contextmanager
def opened(one: OpenedFile, anchors: str, context: Context) -> Iterator[Parent]:
    """The ingredient of a file, which stays open in the block; its bytes are held against the hash
    before and after.

    Args:
        anchors: PEM of the certificates whose signers are trusted.

    Raises:
        OutputRefused: it is not the file any more that was opened.
        OSError: it cannot be read.
    """
    with one.path.open("rb") as file:
        _check(one, file)
        yield _parent(one, file, anchors, context)
        _check(one, file)


def _check(one: OpenedFile, file: BufferedReader) -> None:
    file.seek(0)
    if file_digest(file, "sha256").hexdigest() != one.sha256:
        raise OutputRefused(
            "the file that is edited is another one now than the one that was opened",
            hint="leave the file alone while it is edited, and run it again",
        )


def _parent(one: OpenedFile, file: BinaryIO, anchors: str, context: Context) -> Parent:
    from c2pa import C2paError, Reader

    kind = MEDIA_TYPES.get(one.path.suffix.lower(), _UNKNOWN_KIND)
    plain = {
        "label": PARENT,
        "relationship": "parentOf",
        "title": "edited file" if one.output is None else f"Output {one.output}",
        "format": kind,
        "instance_id": f"urn:rag-audio:sha256:{one.sha256}",
    }
    try:
        file.seek(0)
        told = read_stream(file, MEDIA_TYPES.get(one.path.suffix.lower()), anchors)
        return Parent(plain, told.label, told.training, file=file)
    except (C2paError.ManifestNotFound, C2paError.NotSupported):
        beside = sidecar_beside(one.path)
    except C2paError:
        return Parent(plain, training=ruined_training(one.path)).bare("it cannot be read")
    if beside is None:
        return Parent(plain)
    manifest = beside.read_bytes()
    if len(manifest) > MAX_CARRIED:
        return Parent(plain, training=ruined_training(one.path)).bare(TOO_LARGE)
    try:
        file.seek(0)
        told = read_stream(file, kind, anchors, manifest)
        file.seek(0)
        with Reader(kind, file, manifest, context) as reader:
            label = str(json.loads(reader.json()).get("active_manifest") or "")
            results = reader.get_validation_results()
    except (C2paError, ValueError):
        return Parent(plain, training=ruined_training(one.path)).bare("it cannot be read")
    if not label or not results:
        return Parent(plain, training=told.training).bare("it cannot be read")
    stored = {"format": _MANIFEST_KIND, "identifier": _MANIFEST_ID}
    whole = {
        **plain,
        "active_manifest": label,
        "validation_results": results,
        "manifest_data": stored,
    }
    return Parent(whole, label, told.training, manifest=manifest)


# Signing a file that was made from another one, in a process of its own.
#
# The opened file's manifests are parsed and carried on, and anybody may have written them. So
# that process gets all it needs but the key: it asks for each signature.

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
        chain_pem, training, timestamp_url: as :class:`.C2paSigner`.
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

"""Sign finished files with content credentials (C2PA): embedded, or in a file beside them."""

from __future__ import annotations

import io
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rag_audio.domain.codec import FieldForm, json_form
from rag_audio.domain.signing import (
    ClaimedOutput,
    Credentials,
    CredentialState,
    OpenedFile,
    Signature,
    sidecar_of,
)
from rag_audio.errors import ConfigError, OutputRefused
from rag_audio.provenance.credentials import reading, signing_keys
from rag_audio.provenance.credentials.manifest import (
    MEDIA_TYPES,
    NOT_ALLOWED,
    PARENT,
    check_training,
    make_manifest,
    with_parent,
)
from rag_audio.provenance.credentials.signing_keys import SigningIdentity, pem_of
from rag_audio.storage.files import atomic_write

if TYPE_CHECKING:
    import c2pa

EMBEDDED = frozenset({".wav", ".flac", ".mp3", ".m4a", ".mp4"})
BESIDE = frozenset({".ogg", ".oga", ".opus", ".rf64", ".w64"})
_PLAIN_LABEL = re.compile(r"urn:(uuid|c2pa):[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OFF = "set RAG_AUDIO_SIGNING=off to deliver outputs unsigned; their records will say so"


class C2paSigner:
    """A ``rag_audio.domain.signing.Signer`` over the C2PA library.

    Args:
        identity: chain and key; without a key, ``sign_bytes`` is asked.
        timestamp_url: an RFC 3161 authority that vouches for the time; asked once a file. None:
            no connection is opened.
        training: what others may do with outputs, see ``manifest.check_training``.
        elsewhere: gives what signs files that were made from others; None: this process does.

    Raises:
        ConfigError: ``training`` is not one of these.
    """

    name = "c2pa"

    def __init__(
        self,
        identity: SigningIdentity,
        *,
        sign_bytes: SignBytes | None = None,
        timestamp_url: str | None = None,
        training: str = NOT_ALLOWED,
        elsewhere: Callable[[], SignElsewhere | None] = lambda: None,
    ) -> None:
        self.identity = identity
        self.anchors = pem_of(identity.certificates[-1:])
        self._sign_bytes = sign_bytes or sign_bytes_of(identity)
        self._timestamp_url = timestamp_url
        self._training = check_training(training)
        self._elsewhere = elsewhere

    @classmethod
    def from_callback(
        cls,
        sign_bytes: SignBytes,
        chain_pem: str,
        *,
        timestamp_url: str | None = None,
        training: str = NOT_ALLOWED,
    ) -> Self:
        """Sign with a key that something else holds: a KMS, an HSM, a card.

        Args:
            sign_bytes: given bytes, the signature of the key of the chain's first certificate,
                by that key's algorithm (ECDSA with its curve's SHA-2, RSA-PSS with SHA-256,
                Ed25519).

        Raises:
            ConfigError: content credentials cannot be signed under this chain.
        """
        chain = pem_of(signing_keys.parse_certificates(chain_pem, "the signing chain"))
        identity = SigningIdentity(chain, "callback")
        signing_keys.check(identity, datetime.now(UTC), where="the signing chain")
        return cls(identity, sign_bytes=sign_bytes, timestamp_url=timestamp_url, training=training)

    def sign(self, file: Path, claim: ClaimedOutput) -> Signature:
        """Sign ``file`` in place, or write ``FILE.c2pa`` beside it; samples stay as they are.

        Raises:
            OutputRefused: it cannot be signed; the file is as it was.
        """
        from c2pa import C2paError

        suffix = file.suffix.lower()
        if suffix not in EMBEDDED | BESIDE:
            raise OutputRefused(f"a {suffix or 'nameless'} file cannot be signed", hint=_OFF)
        signed = file.with_name(f".{file.name}.{secrets.token_hex(4)}.signed")
        failed: list[Exception] = []
        try:
            written = self._written(file, signed, claim, failed)
            sidecar = self._keep(file, signed, written.manifest)
        except C2paError as error:
            cause = failed[0] if failed else error
            raise OutputRefused(
                f"output {claim.output} could not be signed: {reading.said(cause)}", hint=_OFF
            ) from cause
        except OSError as error:
            raise OutputRefused(
                f"output {claim.output} could not be signed: {error.strerror or error}", hint=_OFF
            ) from error
        finally:
            signed.unlink(missing_ok=True)
        record: dict[str, Any] = {
            "name": self.name,
            "manifest": written.label,
            "manifest_sha256": sha256(written.manifest).hexdigest(),
            "certificate": self.identity.fingerprint,
            "algorithm": self.identity.algorithm,
            "where": "embedded" if sidecar is None else "sidecar",
        }
        # The log is public, and a label may be any text of a stranger's.
        if _PLAIN_LABEL.fullmatch(written.parent):
            record["parent_manifest"] = written.parent
        if written.signed_at is not None:
            record["timestamp"] = written.signed_at
        return Signature(record, sidecar)

    def _written(
        self, file: Path, signed: Path, claim: ClaimedOutput, failed: list[Exception]
    ) -> SignedFile:
        """Write the signed file to ``signed``."""
        document = make_manifest(claim, MEDIA_TYPES[file.suffix.lower()], self._training)
        if claim.opened is None:
            return self._write(file, signed, document, None, failed)
        chain, training, url = self.identity.chain_pem, self._training, self._timestamp_url
        task = OpenedSigning(
            file, signed, claim.output, document, claim.opened, chain, training, url
        )
        elsewhere = self._elsewhere()
        if elsewhere is None:
            return self.write_opened(task, failed)
        return elsewhere(task, self._sign_bytes)

    def write_opened(self, task: OpenedSigning, failed: list[Exception]) -> SignedFile:
        """Sign a file that was made from another one, in this process.

        Where the opened file's manifests make one that is too large, that the library does not
        accept or that does not hold, they stay out.

        Args:
            failed: is given what the key's holder raised.

        Raises:
            OutputRefused: the opened file is another one now.
            c2pa.C2paError, OSError: it cannot be signed, read or written.
        """
        from c2pa import C2paError

        file, signed, document = task.file, task.signed, task.document
        with opened(task.opened, self.anchors) as parent:
            try:
                written = self._write(file, signed, document, parent, failed)
                why = TOO_LARGE if len(written.manifest) > MAX_CARRIED else ""
            except (C2paError, OutputRefused):
                if failed or not parent.is_carried:
                    raise
                why = NOT_ACCEPTED
            if not why:
                return written
            return self._write(file, signed, document, parent.bare(why), failed)

    def _write(
        self,
        file: Path,
        signed: Path,
        document: Mapping[str, Any],
        parent: Parent | None,
        failed: list[Exception],
    ) -> SignedFile:
        """Sign, and read back what was signed."""
        from c2pa import Builder

        media_type = MEDIA_TYPES[file.suffix.lower()]
        if parent is not None:
            document = with_parent(document, self._training, parent.listed, parent.training)
        with (
            reading.make_context(self.anchors) as context,
            Builder(dict(document), context=context) as builder,
            self._native(failed) as signer,
            file.open("rb") as source,
            signed.open("w+b") as target,
        ):
            if parent is not None:
                parent.add_to(builder)
            if file.suffix.lower() in BESIDE:
                builder.set_no_embed()
            manifest = bytes(builder.sign(signer, media_type, source, target))
            target.flush()
            os.fsync(target.fileno())
        told = self._read_back(file, signed, manifest)
        return SignedFile(
            manifest, told.label, told.signed_at, "" if parent is None else parent.label
        )

    def _native(self, failed: list[Exception]) -> c2pa.Signer:
        from c2pa import C2paSigningAlg, Signer

        def remembering(data: bytes) -> bytes:
            # The library turns whatever is raised here into "internal error".
            try:
                return self._sign_bytes(data)
            except Exception as error:
                failed.append(error)
                raise

        algorithm = C2paSigningAlg[self.identity.algorithm.upper()]
        return Signer.from_callback(
            remembering, algorithm, self.identity.chain_pem, self._timestamp_url
        )

    def _read_back(self, file: Path, signed: Path, manifest: bytes) -> Credentials:
        """What a reader will see, so that no output leaves with a signature that does not hold."""
        beside = file.suffix.lower() in BESIDE
        with (file if beside else signed).open("rb") as stream:
            told = reading.read_stream(
                stream, MEDIA_TYPES[file.suffix.lower()], self.anchors, manifest if beside else None
            )
        if told.state is CredentialState.INVALID:
            raise OutputRefused(
                f"{file.name} could not be signed: the signature does not hold, {told.errors[0]}",
                hint=_OFF,
            )
        return told

    def _keep(self, file: Path, signed: Path, manifest: bytes) -> Path | None:
        if file.suffix.lower() in EMBEDDED:
            signed.replace(file)
            return None
        sidecar = sidecar_of(file)
        with atomic_write(sidecar) as draft:
            draft.write_bytes(manifest)
        return sidecar


class NoSigner:
    """Leaves files unsigned, where the settings turn signing off."""

    name = "off"
    anchors = ""

    def sign(self, file: Path, claim: ClaimedOutput) -> Signature:
        """Nothing but the line for the record."""
        return Signature({"none": "signing was turned off (RAG_AUDIO_SIGNING=off)"})


def open_signer(
    folder: Path,
    *,
    chain: Path | None = None,
    key: Path | None = None,
    timestamp_url: str | None = None,
    training: str = NOT_ALLOWED,
    elsewhere: Callable[[], SignElsewhere | None] = lambda: None,
) -> C2paSigner:
    """The signer of a home: the configured chain, else the imported one, else a local one.

    Raises:
        ConfigError: what is configured does not fit together.
    """
    if (chain is None) != (key is None):
        given, missing = ("CHAIN", "KEY") if key is None else ("KEY", "CHAIN")
        raise ConfigError(
            f"RAG_AUDIO_SIGNING_{given} is set and RAG_AUDIO_SIGNING_{missing} is not",
            hint="a chain needs its key: set both or none",
        )
    if chain is not None and key is not None:
        identity = signing_keys.read_identity(chain, key)
    else:
        imported = signing_keys.imported_identity(folder)
        identity = imported or signing_keys.local_identity(folder)
    return C2paSigner(identity, timestamp_url=timestamp_url, training=training, elsewhere=elsewhere)


# The file that an edit or a copy began with, as an ingredient of the new manifest.
#
# Its own manifests travel with it (C2PA specification 2.2, section 10.3: ``c2pa.opened`` and a
# ``parentOf`` ingredient). A file without any, or with one that cannot be read, that is larger than
# any honest one, or that the library does not accept as a part of another, is named by its hash,
# and the ingredient says why.

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

    def add_to(self, builder: c2pa.Builder) -> None:
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
def opened(one: OpenedFile, anchors: str) -> Iterator[Parent]:
    """The ingredient of a file, which stays open in the block; its hash is checked before and
    after.

    Args:
        anchors: PEM of the certificates whose signers are trusted.

    Raises:
        OutputRefused: it is not the file any more that was opened.
        OSError: it cannot be read.
    """
    with one.path.open("rb") as file:
        _check(one, file)
        yield _parent(one, file, anchors)
        _check(one, file)


def _check(one: OpenedFile, file: BufferedReader) -> None:
    file.seek(0)
    if file_digest(file, "sha256").hexdigest() != one.sha256:
        raise OutputRefused(
            "the file that is edited is another one now than the one that was opened",
            hint="leave the file alone while it is edited, and run it again",
        )


def _parent(one: OpenedFile, file: BinaryIO, anchors: str) -> Parent:
    from c2pa import C2paError

    media_type = MEDIA_TYPES.get(one.path.suffix.lower())
    kind = media_type or _UNKNOWN_KIND
    plain = {
        "label": PARENT,
        "relationship": "parentOf",
        "title": "edited file" if one.output is None else f"Output {one.output}",
        "format": kind,
        "instance_id": f"urn:rag-audio:sha256:{one.sha256}",
    }

    def unreadable(why: str = "it cannot be read") -> Parent:
        return Parent(plain, training=reading.ruined_training(one.path)).bare(why)

    try:
        told = reading.read_stream(file, media_type, anchors)
        return Parent(plain, told.label, told.training, file=file)
    except (C2paError.ManifestNotFound, C2paError.NotSupported):
        beside = reading.find_sidecar(one.path)
    except C2paError:
        return unreadable()
    if beside is None:
        return Parent(plain)
    if beside.stat().st_size > MAX_CARRIED:
        return unreadable(TOO_LARGE)
    manifest = beside.read_bytes()
    try:
        with reading.open_manifest(file, kind, anchors, manifest) as reader:
            told = reading.read_manifest(reader, sidecar=True)
            results = reader.get_validation_results()
    except C2paError:
        return unreadable()
    if not told.label or not results:
        return unreadable()
    whole = {
        **plain,
        "active_manifest": told.label,
        "validation_results": results,
        "manifest_data": {"format": _MANIFEST_KIND, "identifier": _MANIFEST_ID},
    }
    return Parent(whole, told.label, told.training, manifest=manifest)


# Signing a file that was made from another one, in a process of its own.
#
# The opened file's manifests are parsed and carried on, and anybody may have written them. So
# that process gets all it needs but the key: it asks for each signature.

SignBytes = Callable[[bytes], bytes]
"""Signs what it is given with the key of a certificate. ECDSA may be DER or r‖s."""
_HASHES = {"es256": hashes.SHA256(), "es384": hashes.SHA384(), "es512": hashes.SHA512()}


@json_form(forms={"document": FieldForm(dict, dict)})
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
class SignedFile:
    """A signed file.

    Attributes:
        manifest: its manifest store. label: of the active one. signed_at: by its timestamp.
        parent: label of the opened file's manifest, if that travels in it.
    """

    manifest: bytes
    label: str
    signed_at: str | None
    parent: str = ""


SignElsewhere = Callable[[OpenedSigning, SignBytes], SignedFile]
"""Does it; raises OutputRefused where it cannot be done."""


def sign_bytes_of(identity: SigningIdentity) -> SignBytes:
    """Signatures by the key of an identity that holds it, by its algorithm.

    Raises:
        ConfigError: the key cannot be read.
    """
    key = signing_keys.private_key(identity.key_pem, f"the {identity.source} signing key")

    def sign(data: bytes) -> bytes:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(data, ec.ECDSA(_HASHES[identity.algorithm]))
        if isinstance(key, rsa.RSAPrivateKey):
            sha256 = hashes.SHA256()
            return key.sign(data, padding.PSS(padding.MGF1(sha256), sha256.digest_size), sha256)
        return key.sign(data)

    return sign

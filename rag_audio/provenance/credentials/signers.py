"""Sign finished files with content credentials (C2PA): embedded, or in a file beside them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rag_audio.domain.signing import (
    ClaimedOutput,
    Credentials,
    CredentialState,
    Signature,
    sidecar_of,
)
from rag_audio.errors import ConfigError, OutputRefused
from rag_audio.provenance.credentials import reading, signing_keys
from rag_audio.provenance.credentials.manifest import (
    MEDIA_TYPES,
    NOT_ALLOWED,
    check_training,
    make_manifest,
    with_parent,
)
from rag_audio.provenance.credentials.opened import (
    MAX_CARRIED,
    NOT_ACCEPTED,
    TOO_LARGE,
    OpenedSigning,
    Parent,
    SignBytes,
    SignElsewhere,
    Written,
    opened,
    sign_bytes_of,
)
from rag_audio.provenance.credentials.signing_keys import (
    SigningIdentity,
    check,
    parse_certificates,
    pem_of,
)
from rag_audio.storage.files import atomic_write

if TYPE_CHECKING:
    import c2pa

EMBEDDED = frozenset({".wav", ".flac", ".mp3", ".m4a", ".mp4"})
BESIDE = frozenset({".ogg", ".oga", ".opus"})
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
        self._elsewhere = elsewhere
        self.identity = identity
        self.anchors = pem_of(identity.certificates[-1:])
        self._sign_bytes = sign_bytes
        self._timestamp_url = timestamp_url
        self._training = check_training(training)

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
        chain = pem_of(parse_certificates(chain_pem, "the signing chain"))
        identity = SigningIdentity(chain, "callback")
        check(identity, datetime.now(UTC), where="the signing chain")
        return cls(identity, sign_bytes=sign_bytes, timestamp_url=timestamp_url, training=training)

    def sign(self, file: Path, claim: ClaimedOutput) -> Signature:
        """Sign ``file`` in place, or write ``FILE.c2pa`` beside it; samples stay as they are.

        Raises:
            OutputRefused: it cannot be signed; the file is as it was.
        """
        from c2pa import C2paError

        from rag_audio.provenance.credentials.reading import said

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
                f"output {claim.output} could not be signed: {said(cause)}", hint=_OFF
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
    ) -> Written:
        """Write the signed file to ``signed``."""
        from rag_audio.provenance.credentials.reading import make_context

        document = make_manifest(claim, MEDIA_TYPES[file.suffix.lower()], self._training)
        if claim.opened is not None:
            task = OpenedSigning(
                file,
                signed,
                claim.output,
                document,
                claim.opened,
                self.identity.chain_pem,
                self._training,
                self._timestamp_url,
            )
            elsewhere = self._elsewhere()
            if elsewhere is None:
                return self.write_opened(task, failed)
            return elsewhere(task, self._sign_bytes or sign_bytes_of(self.identity))
        with make_context(self.anchors) as context:
            manifest = self._write(file, signed, document, context, None, failed)
            told = self._read_back(file, signed, manifest)
        return Written(manifest, told.label, told.signed_at)

    def write_opened(self, task: OpenedSigning, failed: list[Exception]) -> Written:
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

        from rag_audio.provenance.credentials.reading import make_context

        file, signed = task.file, task.signed
        with ExitStack() as held:
            context = held.enter_context(make_context(self.anchors))
            parent = held.enter_context(opened(task.opened, self.anchors, context))
            try:
                manifest = self._write(file, signed, task.document, context, parent, failed)
                told = self._read_back(file, signed, manifest)
                why = TOO_LARGE if len(manifest) > MAX_CARRIED else ""
            except (C2paError, OutputRefused):
                if failed or not parent.is_carried:
                    raise
                why = NOT_ACCEPTED
            if why:
                parent = parent.bare(why)
                manifest = self._write(file, signed, task.document, context, parent, failed)
                told = self._read_back(file, signed, manifest)
            return Written(manifest, told.label, told.signed_at, parent.label)

    def _write(
        self,
        file: Path,
        signed: Path,
        document: Mapping[str, Any],
        context: c2pa.Context,
        parent: Parent | None,
        failed: list[Exception],
    ) -> bytes:
        from c2pa import Builder

        media_type = MEDIA_TYPES[file.suffix.lower()]
        if parent is not None:
            document = with_parent(document, self._training, parent.listed, parent.training)
        with (
            Builder(dict(document), context=context) as builder,
            self._native(failed) as signer,
            file.open("rb") as source,
            signed.open("w+b") as target,
        ):
            if parent is not None:
                parent.add_to(builder)
            if file.suffix.lower() in BESIDE:
                builder.set_no_embed()
            manifest = builder.sign(signer, media_type, source, target)
            target.flush()
            os.fsync(target.fileno())
            return bytes(manifest)

    def _native(self, failed: list[Exception]) -> c2pa.Signer:
        from c2pa import C2paSignerInfo, C2paSigningAlg, Signer

        chain, url = self.identity.chain_pem, self._timestamp_url
        algorithm = C2paSigningAlg[self.identity.algorithm.upper()]
        sign_bytes = self._sign_bytes
        if sign_bytes is None:
            key = self.identity.key_pem
            return Signer.from_info(C2paSignerInfo(algorithm, chain.encode(), key.encode(), url))

        def remembering(data: bytes) -> bytes:
            # The library turns whatever is raised here into "internal error".
            try:
                return sign_bytes(data)
            except Exception as error:
                failed.append(error)
                raise

        return Signer.from_callback(remembering, algorithm, chain, url)

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
    """Leaves files unsigned, because somebody asked for it by name."""

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
    identity = None
    if chain is not None and key is not None:
        identity = signing_keys.read_identity(chain, key)
    identity = identity or signing_keys.imported_identity(folder)
    identity = identity or signing_keys.local_identity(folder)
    return C2paSigner(identity, timestamp_url=timestamp_url, training=training, elsewhere=elsewhere)

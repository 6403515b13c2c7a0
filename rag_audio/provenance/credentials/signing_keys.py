"""The signing keys of a home: a local root and leaf made on first use, or a chain of one's own.

The local root (P-256) vouches for a leaf, and the leaf signs. Nobody else trusts that root until
they are given it; what it proves is that a file was signed in this home and not changed since.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rag_audio.errors import ConfigError
from rag_audio.provenance.ledger.key_register import FILES, WATERMARK
from rag_audio.provenance.ledger.key_register import fingerprint as key_fingerprint
from rag_audio.provenance.ledger.signed_notes import SEED_BYTES as KEY_BYTES
from rag_audio.storage.files import PUBLIC, create_once, write_bytes

# Certificate chains: what they say, and whether content credentials can be signed with them.
#
# Certificates follow the profile of the C2PA specification 2.2, section 14.5 (X.509 version 3,
# key usage digitalSignature, an extended key usage, subject and authority key identifiers).

PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages of signers: e-mail protection, document signing, C2PA claim signing."""

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_ECDSA = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
HINT = "RAG_AUDIO_SIGNING_CHAIN and RAG_AUDIO_SIGNING_KEY, or rag-audio keys import-chain"


@dataclass(frozen=True)
class SigningIdentity:
    """A certificate chain, and the key it is about.

    Attributes:
        chain_pem: the signer's certificate first, each certified by the next.
        key_pem: PKCS #8, without a password; empty where something else holds the key.
        source: ``local``, ``imported``, ``settings`` or ``callback``.
    """

    chain_pem: str
    source: str
    key_pem: str = field(default="", repr=False)

    @cached_property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        return parse_certificates(self.chain_pem, f"the {self.source} signing chain")

    @property
    def algorithm(self) -> str:
        """``es256``, ``es384``, ``es512``, ``ps256`` or ``ed25519``: what the key can do."""
        return _algorithm(self.certificates[0])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the signer's certificate, hex."""
        return certificate_fingerprint(self.certificates[0])

    @property
    def subject(self) -> str:
        return common_name(self.certificates[0])

    @property
    def valid_until(self) -> datetime:
        return self.certificates[0].not_valid_after_utc


def parse_certificates(text: str, where: str) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM text, in its order.

    Raises:
        ConfigError: there is none, or one is broken.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError as error:
        raise ConfigError(f"{where} holds no certificate that can be read", hint=HINT) from error


def certificate_fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def common_name(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject, else the whole subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def check(
    identity: SigningIdentity, at: datetime, *, where: str, key_where: str | None = None
) -> None:
    """Say no, in one line, to a chain or key that content credentials could not be signed with.

    Raises:
        ConfigError: and why.
    """
    chain, leaf = identity.certificates, identity.certificates[0]
    if identity.key_pem:
        key = private_key(identity.key_pem, key_where or where)
        if key.public_key() != leaf.public_key():
            raise ConfigError(
                f"the key in {key_where or where} is not that of the first certificate in {where} "
                f"({common_name(leaf)!r})",
                hint="the signer's own certificate comes first, then its issuers",
            )
    problem = _problem(leaf, at)
    if problem:
        raise ConfigError(f"the certificate {common_name(leaf)!r} in {where} {problem}", hint=HINT)
    for below, above in pairwise(chain):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise ConfigError(
                f"in {where}, {common_name(below)!r} was not issued by {common_name(above)!r}",
                hint="the signer's own certificate comes first, then its issuers",
            ) from error
    _algorithm(leaf)


def _problem(leaf: x509.Certificate, at: datetime) -> str | None:
    """Why content credentials cannot be signed under a certificate at a time."""
    if at > leaf.not_valid_after_utc:
        return f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if at < leaf.not_valid_before_utc:
        return f"is valid from {leaf.not_valid_before_utc:%Y-%m-%d} only"
    if leaf.issuer == leaf.subject:
        return "is self-signed, which content credentials do not allow"
    try:
        extensions = leaf.extensions
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "is that of an authority, not of a signer"
    except x509.ExtensionNotFound:
        extensions = leaf.extensions
    except ValueError:
        return "has extensions that cannot be read"
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "does not say what its key may be used for (key usage, extended key usage)"
    if not usage.digital_signature:
        return "is not for digital signatures"
    if not {purpose.dotted_string for purpose in purposes} & set(PURPOSES):
        return "is not for e-mail protection, document signing or C2PA claim signing"
    return None


def _algorithm(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _ECDSA:
        return _ECDSA[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    raise ConfigError(
        f"the key of {common_name(certificate)!r} cannot sign content credentials",
        hint="use ECDSA on P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519",
    )


def private_key(text: str, where: str) -> SigningKey:
    """The private key in a PEM text.

    Raises:
        ConfigError: there is none, it has a password, or it is of a kind that cannot sign.
    """
    try:
        key = load_pem_private_key(text.encode(), None)
    except TypeError as error:
        raise ConfigError(
            f"the key in {where} has a password",
            hint="write it without one: openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{where} holds no private key that can be read", hint=HINT) from error
    if not isinstance(key, SigningKey):
        raise ConfigError(f"the key in {where} cannot sign content credentials", hint=HINT)
    return key


def pem_of(certificates: Iterable[x509.Certificate]) -> str:
    """PEM of certificates, one after the other."""
    return "".join(found.public_bytes(Encoding.PEM).decode() for found in certificates)


def key_pem_of(key: SigningKey) -> str:
    """PKCS #8 PEM of a private key, without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


ROOT_FILE, LEAF_FILE = "signing-root.pem", "signing-leaf.pem"
"""Private key and certificates of the local root and leaf, each pair in one file, so that a key
is never stored with another's certificate."""
OWN_FILE = "signing-own.pem"
"""Key and chain that ``keys import-chain`` brought in."""
ANCHORS_FILE = "signing-anchors.pem"
"""Public: roots that this home signed under before; what they vouched for stays trusted."""

ROOT_YEARS, LEAF_YEARS, RENEW_YEARS = 40, 10, 5
"""A leaf is renewed when fewer than ``RENEW_YEARS`` are left to it: without a timestamp a signature
counts only as long as its certificate is valid."""


def local_identity(folder: Path, now: datetime | None = None) -> SigningIdentity:
    """The home's own signer: made on first use, renewed before it expires.

    Processes that come at once end with the same root, and each with a leaf of it.

    Raises:
        ConfigError: the files cannot be read or written, or do not hold what they should.
    """
    at = now or datetime.now(UTC)
    try:
        content = create_once(folder / ROOT_FILE, partial(_new_root, at))
        root = _local(content.decode("ascii", "replace"), folder / ROOT_FILE)
        leaf_file = folder / LEAF_FILE
        content = create_once(leaf_file, partial(_new_leaf, root, at))
        leaf = _local(content.decode("ascii", "replace"), leaf_file)
        made_later = at < leaf.certificates[0].not_valid_before_utc  # the clock was wrong then
        if made_later or leaf.valid_until - at < timedelta(days=365 * RENEW_YEARS):
            _remember(folder, leaf.certificates[-1:])
            write_bytes(leaf_file, _new_leaf(root, at))
            leaf = _local(leaf_file.read_text("ascii"), leaf_file)
    except OSError as error:
        raise ConfigError(
            f"the signing keys in {str(folder)!r} cannot be used: {error.strerror}",
            hint="check the permissions of the folder and its files",
        ) from error
    check(leaf, at, where=str(leaf_file))
    return leaf


def existing_local(folder: Path) -> SigningIdentity | None:
    """The home's own signer as it stands; None when none was made yet.

    Raises:
        ConfigError: its file cannot be read, or does not hold what it should.
    """
    path = folder / LEAF_FILE
    return _local(_read_pem(path), path) if path.exists() else None


def read_identity(
    chain: Path, key: Path, source: str = "settings", now: datetime | None = None
) -> SigningIdentity:
    """A chain and a key of the user's own, from two PEM files.

    Raises:
        ConfigError: a file cannot be read, the key is not that of the chain's first certificate,
            or content credentials cannot be signed with it.
    """
    certificates = pem_of(parse_certificates(_read_pem(chain), str(chain)))
    private = private_key(_read_pem(key), str(key))
    identity = SigningIdentity(certificates, source, key_pem_of(private))
    check(identity, now or datetime.now(UTC), where=str(chain), key_where=str(key))
    return identity


def imported_identity(folder: Path, now: datetime | None = None) -> SigningIdentity | None:
    """What ``keys import-chain`` brought into the home; None when nothing was.

    Raises:
        ConfigError: it cannot be read, or has expired.
    """
    path = folder / OWN_FILE
    return read_identity(path, path, "imported", now) if path.exists() else None


def import_chain(
    folder: Path, chain: Path, key: Path, now: datetime | None = None
) -> SigningIdentity:
    """Sign with a chain and key of the user's own from now on.

    Raises:
        ConfigError: as :func:`read_identity`, or the home cannot be written.
    """
    identity = read_identity(chain, key, "imported", now)
    try:
        _remember(folder, identity.certificates[-1:])
        whole = identity.key_pem + pem_of(identity.certificates)
        write_bytes(folder / OWN_FILE, whole.encode())
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
    return identity


def anchors(folder: Path, extra: Iterable[Path] = (), also: Iterable[str] = ()) -> str:
    """PEM of every root whose signatures count as trusted here; makes no key.

    Args:
        extra: PEM files, each with any number of certificates.
        also: PEM texts.

    Raises:
        ConfigError: a file cannot be read or holds no certificate.
    """
    own = [folder / name for name in (ROOT_FILE, LEAF_FILE, OWN_FILE)]
    roots = [parse_certificates(_read_pem(path), str(path))[-1] for path in own if path.exists()]
    earlier = [folder / ANCHORS_FILE] if (folder / ANCHORS_FILE).exists() else []
    texts = [(_read_pem(path), str(path)) for path in (*earlier, *extra)]
    for text, where in (*texts, *((text, "the signing chain") for text in also)):
        roots += parse_certificates(text, where)
    return pem_of({certificate_fingerprint(root): root for root in roots}.values())


def _read_pem(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=HINT) from error


def _local(text: str, where: Path) -> SigningIdentity:
    """Key and certificates of a file of the home's own signer."""
    try:
        chain = pem_of(parse_certificates(text, str(where)))
        return SigningIdentity(chain, "local", key_pem_of(private_key(text, str(where))))
    except ConfigError as error:
        raise ConfigError(
            error.message, hint="restore it from a backup, or move it away: a new one is made"
        ) from error


def _remember(folder: Path, roots: Sequence[x509.Certificate]) -> None:
    path = folder / ANCHORS_FILE
    text = path.read_text("ascii", "replace") if path.exists() else ""
    known = parse_certificates(text, str(path)) if text else ()
    new = [root for root in roots if root not in known]
    if new:
        write_bytes(path, pem_of((*known, *new)).encode(), PUBLIC)


def _new_root(at: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(f"rag-audio local root {identifier.digest.hex()[:8]}")
    certificate = _certificate(name, name, key.public_key(), at, ROOT_YEARS, [identifier])
    return (key_pem_of(key) + pem_of([certificate.sign(key, hashes.SHA256())])).encode()


def _new_leaf(root: SigningIdentity, at: datetime) -> bytes:
    above = root.certificates[0]
    issuer_key = private_key(root.key_pem, "the local root")
    if isinstance(issuer_key, ed25519.Ed25519PrivateKey):
        raise ConfigError("the local root was not made here", hint="move it away: one is made")
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = [
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
    ]
    certificate = _certificate(
        _name("rag-audio local signer"), above.subject, key.public_key(), at, LEAF_YEARS, extensions
    ).sign(issuer_key, hashes.SHA256())
    return (key_pem_of(key) + pem_of([certificate, above])).encode()


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    at: datetime,
    years: int,
    extensions: Iterable[x509.ExtensionType],
) -> x509.CertificateBuilder:
    """A certificate, of an authority where it is its own issuer; valid from the day before, because
    clocks differ."""
    authority = subject == issuer
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=365 * years))
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        .add_extension(usage, critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "rag-audio (key of this home)"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


# What keys a home has: for people who look, back up or replace them. Makes none.


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
    private = path.name != ANCHORS_FILE and not path.name.endswith((".pub", ".vkey"))
    exposed = os.name != "nt" and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    before, _, number = path.name.rpartition(".")
    is_retired = before == FILES[WATERMARK] and number.isdecimal()
    purpose = WATERMARK if is_retired else _PURPOSES.get(path.name)
    shown, subject, until = sha256(content).hexdigest()[:_SHORT], "", ""
    if purpose is not None and len(content) == KEY_BYTES:
        shown = key_fingerprint(purpose, content)
    if _BEGIN in content:
        first = parse_certificates(content.decode("ascii", "replace"), str(path))[0]
        shown, subject = certificate_fingerprint(first), common_name(first)
        until = first.not_valid_after_utc.date().isoformat()
    said = "reads watermarks of before" if is_retired else _PURPOSE.get(path.name, "")
    return KeyFile(path, said, shown, subject, until, private, private and exposed)

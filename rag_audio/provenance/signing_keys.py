"""The signing keys of a home: a local root and leaf made on first use, or a chain of one's own.

The local root (P-256) vouches for a leaf, and the leaf signs. Nobody else trusts that root until
they are given it; what it proves is that a file was signed in this home and not changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rag_audio.errors import ConfigError
from rag_audio.files import PUBLIC, create_once, write_bytes
from rag_audio.provenance.certificates import (
    HINT,
    SigningIdentity,
    check,
    fingerprint,
    key_pem_of,
    parse_certificates,
    pem_of,
    private_key,
)

ROOT_FILE, LEAF_FILE = "signing-root.pem", "signing-leaf.pem"
"""Private key and certificates of the local root and leaf, each pair in one file, so that a key
never stands beside another's certificate."""
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
        root = _identity(content.decode("ascii", "replace"), "local", folder / ROOT_FILE)
        leaf_file = folder / LEAF_FILE
        content = create_once(leaf_file, partial(_new_leaf, root, at))
        leaf = _identity(content.decode("ascii", "replace"), "local", leaf_file)
        if leaf.valid_until - at < timedelta(days=365 * RENEW_YEARS) or _not_yet(leaf, at):
            _remember(folder, leaf.certificates[-1:])
            write_bytes(leaf_file, _new_leaf(root, at))
            leaf = _identity(leaf_file.read_text("ascii"), "local", leaf_file)
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
    if not path.exists():
        return None
    try:
        return _identity(path.read_text("ascii", "replace"), "local", path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def read_identity(
    chain: Path, key: Path, source: str = "settings", now: datetime | None = None
) -> SigningIdentity:
    """A chain and a key of the user's own, from two PEM files.

    Raises:
        ConfigError: a file cannot be read, the key is not that of the chain's first certificate,
            or content credentials cannot be signed with it.
    """
    texts = []
    for path in (chain, key):
        try:
            texts.append(path.read_text("ascii", "replace"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=HINT) from error
    private = private_key(texts[1], str(key))
    certificates = pem_of(parse_certificates(texts[0], str(chain)))
    identity = SigningIdentity(certificates, source, key_pem_of(private))
    check(identity, now or datetime.now(UTC), where=str(chain), key_where=str(key))
    return identity


def imported_identity(folder: Path, now: datetime | None = None) -> SigningIdentity | None:
    """What ``keys import-chain`` brought into the home; None when nothing was.

    Raises:
        ConfigError: it cannot be read, or has expired.
    """
    path = folder / OWN_FILE
    if not path.exists():
        return None
    return read_identity(path, path, "imported", now)


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
    found: dict[str, x509.Certificate] = {}
    try:
        for name in (ROOT_FILE, LEAF_FILE, OWN_FILE):
            if (folder / name).exists():
                text = (folder / name).read_text("ascii", "replace")
                root = parse_certificates(text, str(folder / name))[-1]
                found[fingerprint(root)] = root
        several = [folder / ANCHORS_FILE] if (folder / ANCHORS_FILE).exists() else []
        texts = [(path.read_text("ascii", "replace"), str(path)) for path in (*several, *extra)]
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
    for text, where in (*texts, *((text, "the signing chain") for text in also)):
        found |= {fingerprint(root): root for root in parse_certificates(text, where)}
    return pem_of(found.values())


def _identity(text: str, source: str, where: Path) -> SigningIdentity:
    """Key and certificates of one file, in its order."""
    try:
        chain = pem_of(parse_certificates(text, str(where)))
        return SigningIdentity(chain, source, key_pem_of(private_key(text, str(where))))
    except ConfigError as error:
        raise ConfigError(
            error.message, hint="restore it from a backup, or move it away: a new one is made"
        ) from error


def _not_yet(identity: SigningIdentity, at: datetime) -> bool:
    """Made while the clock was wrong."""
    return at < identity.certificates[0].not_valid_before_utc


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
    certificate = (
        _certificate(name, name, key.public_key(), at, ROOT_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return (key_pem_of(key) + pem_of([certificate])).encode()


def _new_leaf(root: SigningIdentity, at: datetime) -> bytes:
    above = root.certificates[0]
    issuer_key = private_key(root.key_pem, "the local root")
    if isinstance(issuer_key, ed25519.Ed25519PrivateKey):
        raise ConfigError("the local root was not made here", hint="move it away: one is made")
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = _name("rag-audio local signer")
    certificate = (
        _certificate(signer, above.subject, key.public_key(), at, LEAF_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return (key_pem_of(key) + pem_of([certificate, above])).encode()


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    at: datetime,
    years: int,
) -> x509.CertificateBuilder:
    """Valid from the day before, because clocks differ."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=365 * years))
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "rag-audio (key of this home)"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
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

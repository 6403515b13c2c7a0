"""Certificate chains: what they say, and whether content credentials can be signed with them.

Certificates follow the profile of the C2PA specification 2.2, section 14.5 (X.509 version 3, key
usage digitalSignature, an extended key usage, subject and authority key identifiers).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise

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
from cryptography.x509.oid import NameOID

from rag_audio.errors import ConfigError

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
        return fingerprint(self.certificates[0])

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


def fingerprint(certificate: x509.Certificate) -> str:
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
    problem = _time_problem(leaf, at) or _profile_problem(leaf)
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


def _time_problem(leaf: x509.Certificate, at: datetime) -> str | None:
    if at > leaf.not_valid_after_utc:
        return f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if at < leaf.not_valid_before_utc:
        return f"is valid from {leaf.not_valid_before_utc:%Y-%m-%d} only"
    return None


def _profile_problem(leaf: x509.Certificate) -> str | None:
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

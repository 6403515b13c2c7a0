"""Sounds to sign, and certificate authorities to sign under."""

from __future__ import annotations

import base64
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rag_audio.audio import writing
from rag_audio.domain import Audio
from rag_audio.domain.ports import ModelInfo
from rag_audio.domain.signing import ClaimedOutput, Signature
from rag_audio.errors import ConfigError, OutputRefused
from rag_audio.provenance.credentials.signers import C2paSigner, open_signer
from tests.provenance.builders import digest, plan

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

INFO = ModelInfo(
    "stable-audio-mini", digest("model"), "stable-audio", 44100, 2, 30.0, 128, 8, 1.0, 0.4, True
)

# A tenth of a second of a sine as AAC: libsndfile does not write this kind of file.
_M4A = (
    "eNpjYGCQSSupLPA1cVRgYGBiANGZxfm5QGzEwMDAkVaUmsrAwLgnNyWxhFHIaG2ImmLo2XOlv/P2/vsebqzi"
    "MUnFpZN9cfSCf9u3fJ9+t1zs7vFwva5H97bd3HP2w76p122Pfo+/Hqjw4b3r9Tu3N2yMFT22dYIt+8N1E2IP"
    "LHCZ2bry0K3EpMiw0KSyHbO1A6WqZVY71rN7as078WitwdnosKxTkaZ1V80kTppJvLqoauGrnGgabHNJefOC"
    "7RLbXKdp7jh6TP2RRnePR4dLoJCSi5NSl4qriKugkopLoEigkqKgK1Aw0BXIVOpY1CnI0aUBJEVcRUDKXTom"
    "CoLlYEyXjhagDFS+PFZcpVx5x6Kn4m9lGO2MOgWUboSmhvlmPT2pMlHJpaPhcs2F1Du//ZzPn92tVy6VP4tn"
    "3ZMMdw6pltn6s2MiLaXyZ8/LPb/lWdvPBade96a1gzhPdM+yhcdk7sswele7XPH57LKYdyb3TSRjnYGGmD3/"
    "vHMhUGbXYx+IWps/F1JLj81+1gTmfHaceh1kx+75mScqn935vQ6s8cS1DBDHLwNk+47LBZ/P7vw2p30+mFNz"
    "wRfEmZchX3oOGKf3cvPzy4BxmZNblpHCgAKYXwCJFAZGBhBCAEZUVeh8Bwa8gAmIdEuKErOB7JiSbLCdzFhM"
    "Q3YLIyPp9qqkppQUA2mZ1JziEiQdQHNZoHoZl+amZCYCGQq5Keh+lwcax64QegTM0c1IySmCyRTnl+YhqwwG"
    "8lM8EvNSclJBahgDcjPz0oAMgeJcFENVUiDiMilFqWlIDuIpLcpRgLAZRYpLknKA7KzikuIUJDVRuQUmiRje"
    "ZmIQgDkVCMxSi1OKwdHW0NCgClTGAqTFHUTBktaHQJgVKMIq2hH2lIENyGJkAnm9uAQcTNCoAZnOArWFGeQq"
    "GaBLkpFsZkSoA8tVoUYtw1cg3g/EQJ8k5yPp0wFiqeL0ghQQpyg/Jwdmzv//YJOS0gsYEDLIttiWppSA/G6a"
    "m1oCCwNF5AgBRmJRYkFBDnKkcGQCYx0APKUwJg=="
)


def sound(seconds: float = 0.5, seed: int = 0) -> Audio:
    """Noise, 44.1 kHz stereo, on the grid of 24-bit files."""
    noise = np.random.default_rng(seed).normal(0.0, 0.1, (2, round(44100 * seconds)))
    return Audio((np.rint(noise * 2**23) / 2**23).astype(np.float32), 44100)


def write(path: Path, seed: int = 0) -> Path:
    """A small unsigned file of the kind that the name's ending says."""
    if path.suffix == ".m4a":
        path.write_bytes(zlib.decompress(base64.b64decode("".join(_M4A))))
    elif path.suffix == ".opus":
        import soundfile

        noise = sound(seed=seed)
        soundfile.write(path, noise.samples.T, 48000, format="OGG", subtype="OPUS")
    else:
        writing.save(sound(seed=seed), path)
    return path


def claim(output: int = 7, **more: object) -> ClaimedOutput:
    """Two references, a mark, half a second."""
    return ClaimedOutput(output, plan(**more), INFO, "spread-spectrum-1", 0.5)


class Authority:
    """A root, an intermediate, and signers under it."""

    def __init__(self, name: str = "Example Authority") -> None:
        self.root_key, self.key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root, middle = _name(f"{name} Root"), _name(f"{name} Issuing")
        self.root = _issue(root, self.root_key.public_key(), root, self.root_key, ca=True)
        self.middle = _issue(middle, self.key.public_key(), root, self.root_key, ca=True)

    def signer(
        self,
        folder: Path,
        key: Key | None = None,
        *,
        days: tuple[float, float] = (-1, 300),
        purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.EMAIL_PROTECTION,
        critical: bool = False,
        with_root: bool = True,
        password: bytes | None = None,
    ) -> tuple[Path, Path]:
        """PEM files of a chain and a key, valid from ``days[0]`` to ``days[1]`` from now."""
        private = key or ec.generate_private_key(ec.SECP256R1())
        leaf = _issue(
            _name("Example Label"),
            private.public_key(),
            self.middle.subject,
            self.key,
            ca=False,
            days=days,
            purpose=purpose,
            critical=critical,
        )
        chain = [leaf, self.middle, *([self.root] if with_root else [])]
        locked = BestAvailableEncryption(password) if password else NoEncryption()
        folder.mkdir(parents=True, exist_ok=True)
        files = folder / "chain.pem", folder / "key.pem"
        files[0].write_bytes(b"".join(pem(found) for found in chain))
        files[1].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        return files


def sign_briefly(
    file: Path, folder: Path, timestamp_url: str | None = None
) -> tuple[C2paSigner, Signature]:
    """Sign under a certificate that is over a few seconds later, and wait until it is.

    On a busy machine the first, shortest one may be over before anything is signed.
    """
    for seconds in (2, 6, 20):
        chain, key = Authority().signer(folder, days=(-1, seconds / 86400))
        try:
            signer = open_signer(folder, chain=chain, key=key, timestamp_url=timestamp_url)
            signature = signer.sign(file, claim())
        except (ConfigError, OutputRefused):
            continue
        time.sleep(max(0.0, signer.identity.valid_until.timestamp() - time.time()) + 1.1)
        return signer, signature
    raise AssertionError("nothing could be signed within 20 seconds")


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    me = _name("Lonely Label")
    made = _issue(me, key.public_key(), me, key, ca=False)
    files = folder / "lonely.pem", folder / "lonely.key"
    files[0].write_bytes(pem(made))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Invented Holder"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _issue(
    subject: x509.Name,
    public: object,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    days: tuple[float, float] = (-1, 3000),
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    critical: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = [not ca, False, False, False, False, ca, ca, False, False]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)  # type: ignore[arg-type]
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not ca and purpose is not None:
        made = made.add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical)
    return made.sign(issuer_key, hashes.SHA256())

from __future__ import annotations

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from rag_audio.errors import ConfigError
from rag_audio.provenance.credentials.signing_keys import (
    ANCHORS_FILE,
    LEAF_FILE,
    OWN_FILE,
    ROOT_FILE,
    anchors,
    certificate_fingerprint,
    import_chain,
    imported_identity,
    local_identity,
    parse_certificates,
    read_identity,
)
from tests.provenance.material import Authority, self_signed


def test_keys_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = local_identity(folder)
    assert local_identity(folder) == made
    assert sorted(file.name for file in folder.iterdir()) == [LEAF_FILE, ROOT_FILE]
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    leaf, root = made.certificates
    leaf.verify_directly_issued_by(root)
    assert "PRIVATE" not in made.chain_pem
    assert made.key_pem not in repr(made)


def test_two_homes_have_two_roots(tmp_path: Path) -> None:
    first, second = (local_identity(tmp_path / name) for name in "ab")
    assert first.certificates[-1].subject != second.certificates[-1].subject
    assert first.fingerprint != second.fingerprint


def test_processes_that_come_at_once_end_with_one_root_and_one_leaf(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from rag_audio.provenance.credentials.signing_keys import local_identity\n"
        "sys.stdin.read()\n"
        "print([c.serial_number for c in local_identity(Path(sys.argv[1])).certificates])"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    said = set()
    for process in started:
        assert process.stdout is not None
        said.add(process.stdout.read())
        assert process.wait() == 0
    assert len(said) == 1
    assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == [LEAF_FILE, ROOT_FILE]


def test_a_leaf_is_renewed_before_it_expires_and_its_root_stays(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = local_identity(tmp_path, now)
    assert local_identity(tmp_path, now + timedelta(days=365 * 4)) == first
    later = local_identity(tmp_path, now + timedelta(days=365 * 6))
    assert later.fingerprint != first.fingerprint
    assert later.certificates[-1] == first.certificates[-1]
    assert later.valid_until > first.valid_until
    long_after = local_identity(tmp_path, now + timedelta(days=365 * 15))
    assert long_after.certificates[-1] == first.certificates[-1]


def test_a_leaf_made_while_the_clock_was_ahead_is_replaced(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ahead = local_identity(tmp_path, now + timedelta(days=1000))
    again = local_identity(tmp_path, now)
    assert again.fingerprint != ahead.fingerprint
    assert again.certificates[0].not_valid_before_utc <= now


def test_what_an_old_root_vouched_for_stays_trusted_when_the_root_is_lost(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old = local_identity(tmp_path, now)
    (tmp_path / ROOT_FILE).unlink()
    assert local_identity(tmp_path, now) == old  # the leaf still signs
    new = local_identity(tmp_path, now + timedelta(days=365 * 6))
    assert new.certificates[-1] != old.certificates[-1]
    known = {
        certificate_fingerprint(root) for root in parse_certificates(anchors(tmp_path), "anchors")
    }
    assert known == {
        certificate_fingerprint(old.certificates[-1]),
        certificate_fingerprint(new.certificates[-1]),
    }


def test_a_home_without_keys_has_no_anchors_and_gets_no_keys_by_asking(tmp_path: Path) -> None:
    assert anchors(tmp_path / "keys") == ""
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("name", [ROOT_FILE, LEAF_FILE])
@pytest.mark.parametrize("content", [b"", b"\xff\x00not a key", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_damaged_key_file_is_named_and_left_alone(
    tmp_path: Path, name: str, content: bytes
) -> None:
    local_identity(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name) as caught:
        local_identity(tmp_path)
    assert "backup" in caught.value.hint
    assert (tmp_path / name).read_bytes() == content


def test_a_key_of_another_home_in_the_leafs_place_is_noticed(tmp_path: Path) -> None:
    local_identity(tmp_path / "a")
    local_identity(tmp_path / "b")
    mine = (tmp_path / "a" / LEAF_FILE).read_text()
    other = (tmp_path / "b" / LEAF_FILE).read_text()
    cut = "-----BEGIN CERTIFICATE"
    (tmp_path / "a" / LEAF_FILE).write_text(other[: other.index(cut)] + mine[mine.index(cut) :])
    with pytest.raises(ConfigError, match="not that of the first certificate"):
        local_identity(tmp_path / "a")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "es256"),
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ec.generate_private_key(ec.SECP521R1()), "es512"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
    ],
    ids=["es256", "es384", "es512", "ps256", "ed25519"],
)
def test_a_chain_of_ones_own_says_how_it_signs(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey, algorithm: str
) -> None:
    identity = read_identity(*Authority().signer(tmp_path, key))
    assert (identity.algorithm, identity.subject) == (algorithm, "Example Label")
    assert len(identity.certificates) == 3


def _wrong(tmp_path: Path, what: str) -> tuple[Path, Path]:
    authority = Authority()
    chain, key = authority.signer(tmp_path / "right")
    if what == "another key":
        return chain, authority.signer(tmp_path / "other")[1]
    if what == "reversed":
        parts = chain.read_text().split("-----BEGIN")
        chain.write_text("".join("-----BEGIN" + part for part in reversed(parts[1:])))
    if what == "not the issuer":
        first = chain.read_text().split("-----BEGIN")[1]
        other = Authority("Other").signer(tmp_path / "strange")[0].read_text().split("-----BEGIN")
        chain.write_text("-----BEGIN" + first + "-----BEGIN" + other[2])
    if what == "expired":
        return authority.signer(tmp_path / "old", days=(-20, -10))
    if what == "not yet":
        return authority.signer(tmp_path / "young", days=(10, 20))
    if what == "password":
        return authority.signer(tmp_path / "locked", password=b"secret")
    if what == "self-signed":
        return self_signed(tmp_path)
    if what == "web server":
        return authority.signer(tmp_path / "web", purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    if what == "no purpose":
        return authority.signer(tmp_path / "none", purpose=None)
    if what == "short RSA":
        return authority.signer(tmp_path / "short", rsa.generate_private_key(65537, 1024))  # noqa: S505
    if what == "no key":
        return chain, chain
    if what == "no chain":
        return key, key
    if what == "missing":
        return tmp_path / "nowhere.pem", key
    return chain, key


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("another key", "the key in .* is not that of the first certificate"),
        ("reversed", "the key in .* is not that of the first certificate"),
        ("not the issuer", "'Example Label' was not issued by 'Other Issuing'"),
        ("expired", "expired on"),
        ("not yet", "is valid from"),
        ("password", "has a password"),
        ("self-signed", "is self-signed"),
        ("web server", "is not for e-mail protection"),
        ("no purpose", "does not say what its key may be used for"),
        ("short RSA", "cannot sign content credentials"),
        ("no key", "holds no private key"),
        ("no chain", "holds no certificate"),
        ("missing", "nowhere.pem cannot be read"),
    ],
)
def test_a_chain_that_cannot_sign_is_refused_in_one_line(
    tmp_path: Path, what: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_identity(*_wrong(tmp_path, what))
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("purpose", ["1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"])
def test_certificates_for_documents_and_for_claims_may_sign(tmp_path: Path, purpose: str) -> None:
    files = Authority().signer(tmp_path, purpose=x509.ObjectIdentifier(purpose))
    assert read_identity(*files).algorithm == "es256"


def test_an_imported_chain_signs_from_then_on_and_its_root_is_remembered(tmp_path: Path) -> None:
    home = tmp_path / "keys"
    assert imported_identity(home) is None
    first = import_chain(home, *Authority("First").signer(tmp_path / "1"))
    assert imported_identity(home) == first
    assert stat.S_IMODE((home / OWN_FILE).stat().st_mode) == 0o600
    second = import_chain(home, *Authority("Second").signer(tmp_path / "2"))
    assert imported_identity(home) == second
    known = {certificate_fingerprint(root) for root in parse_certificates(anchors(home), "anchors")}
    assert known == {certificate_fingerprint(chain.certificates[-1]) for chain in (first, second)}
    assert "PRIVATE" not in anchors(home) + (home / ANCHORS_FILE).read_text()


def test_a_chain_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "keys"
    import_chain(home, *Authority().signer(tmp_path / "1"))
    before = {file.name: file.read_bytes() for file in home.iterdir()}
    with pytest.raises(ConfigError):
        import_chain(home, *_wrong(tmp_path, "expired"))
    assert {file.name: file.read_bytes() for file in home.iterdir()} == before


def test_a_folder_that_cannot_be_used_is_an_error_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="cannot be used"):
        local_identity(tmp_path / "keys")

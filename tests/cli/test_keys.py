from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run
from rag_audio.domain.signing import CredentialState
from rag_audio.provenance.credentials.reading import read_credentials
from rag_audio.provenance.credentials.signers import open_signer
from rag_audio.provenance.credentials.signing_keys import parse_certificates
from rag_audio.provenance.credentials.watermark_keys import load_or_create
from tests.provenance.material import Authority, claim, write


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_keys_of_a_new_home_are_none_and_looking_makes_none(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _json(capsys, "keys", "--home", str(home))
    assert said["keys"] == []
    assert said["signer"]["source"] == "local"
    assert not home.exists()
    refused = _json(capsys, "keys", "export-root", "root.pem", "--home", str(home), code=2)
    assert "no signing key" in refused["error"]["message"]


def test_keys_are_listed_with_fingerprints_and_never_shown(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = load_or_create(home / "keys" / "watermark.key")
    signer = open_signer(home / "keys")
    (home / "keys" / "watermark.key").chmod(0o644)
    said = _json(capsys, "keys", "--home", str(home))
    by_name = {key["name"]: key for key in said["keys"]}
    assert set(by_name) == {"signing-leaf.pem", "signing-root.pem", "watermark.key"}
    assert by_name["signing-leaf.pem"]["fingerprint"] == signer.identity.fingerprint
    assert by_name["watermark.key"]["exposed"] and not by_name["signing-root.pem"]["exposed"]
    assert said["signer"]["fingerprint"] == signer.identity.fingerprint

    assert run(["keys", "--home", str(home)]) == 0
    shown = capsys.readouterr()
    assert "chmod 600" in shown.err
    for text in (json.dumps(said), shown.out):
        assert "PRIVATE" not in text
        assert secret.hex() not in text


def test_an_imported_chain_signs_and_others_can_trust_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = open_signer(home / "keys")  # the local key signed before
    chain, key = Authority().signer(tmp_path / "own")
    said = _json(capsys, "keys", "import-chain", str(chain), str(key), "--home", str(home))
    assert said["subject"] == "Example Label"
    shown = _json(capsys, "keys", "--home", str(home))
    assert shown["signer"]["source"] == "imported"
    assert shown["signer"]["fingerprint"] == said["fingerprint"]

    root = tmp_path / "made" / "roots.pem"
    assert _json(capsys, "keys", "export-root", str(root), "--home", str(home)) == {
        "file": str(root),
        "certificates": 2,
    }
    assert "PRIVATE" not in root.read_text()
    assert len(parse_certificates(root.read_text(), "roots")) == 2
    for number, signer in enumerate((earlier, open_signer(home / "keys"))):
        file = write(tmp_path / f"{number}.wav")
        signer.sign(file, claim())
        found = read_credentials(file, root.read_text())
        assert found is not None and found.state is CredentialState.TRUSTED


def test_a_chain_that_does_not_fit_is_one_line_and_exit_code_two(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain, _ = Authority().signer(tmp_path / "own")
    _, key = Authority().signer(tmp_path / "other")
    assert run(["keys", "import-chain", str(chain), str(key), "--home", str(home)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "not that of the first certificate" in said[0]
    assert len(said) == 2
    assert not (home / "keys").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RAG_AUDIO_TIMESTAMP_URL", "ftp://example.org", "RAG_AUDIO_TIMESTAMP_URL"),
        ("RAG_AUDIO_SIGNING", "maybe", "RAG_AUDIO_SIGNING"),
    ],
)
def test_a_wrong_setting_is_named(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    said: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert said in _json(capsys, "keys", "--home", str(home), code=2)["error"]["message"]


def test_what_signs_is_said_when_signing_is_off(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_AUDIO_SIGNING", "off")
    assert _json(capsys, "keys", "--home", str(home))["signer"]["source"] == "off"


def test_webhook_secrets_are_shown_and_rotated_for_each_key(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--home", str(home))
    id_ = _json(capsys, "keys", "api-make", "desk", *at)["id"]
    first = _json(capsys, "keys", "webhook-secret", id_, *at)
    everybody = _json(capsys, "keys", "webhook-secret", *at)
    assert first["key"] == id_ and everybody["key"] is None
    assert first["secret"] != everybody["secret"] and first["earlier_until"] == []
    rotated = _json(capsys, "keys", "webhook-secret", id_, "--rotate", *at)
    assert rotated["secret"] != first["secret"] and len(rotated["earlier_until"]) == 1
    assert run(["keys", "webhook-secret", id_, *at]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == rotated["secret"] and "earlier secret" in shown.err
    ended = _json(capsys, "keys", "webhook-secret", id_, "--rotate", "--overlap-hours", "0", *at)
    assert ended["earlier_until"] == []
    refused = _json(capsys, "keys", "webhook-secret", "0" * 12, *at, code=2)
    assert "there is no key" in refused["error"]["message"]

"""What every ``rag_audio.domain.signing.Signer`` promises."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rag_audio.audio import writing
from rag_audio.audio.reading import load
from rag_audio.domain.signing import CredentialState, Signer, sidecar_of
from rag_audio.provenance.credentials.reading import read_credentials
from rag_audio.provenance.credentials.signers import C2paSigner, NoSigner, open_signer
from tests.provenance.material import Authority, claim, write


def _callback(folder: Path) -> C2paSigner:
    chain, key_file = Authority().signer(folder)
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return C2paSigner.from_callback(
        lambda data: key.sign(data, ec.ECDSA(hashes.SHA256())), chain.read_text()
    )


@pytest.fixture(params=["local", "own chain", "callback", "off"])
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> Signer:
    if request.param == "off":
        return NoSigner()
    if request.param == "callback":
        return _callback(tmp_path / "own")
    if request.param == "own chain":
        chain, key = Authority().signer(tmp_path / "own")
        return open_signer(tmp_path / "keys", chain=chain, key=key)
    return open_signer(tmp_path / "keys")


@pytest.mark.parametrize("name", ["take.wav", "take.mp3", "take.ogg"])
def test_samples_stay_and_the_record_says_how_it_was_signed(
    signer: Signer, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = write(folder / name)
    before = writing.pcm_sha256(load(file))
    signature = signer.sign(file, claim())
    assert writing.pcm_sha256(load(file)) == before
    assert json.loads(json.dumps(dict(signature.record))) == signature.record
    assert {"none", "certificate"} & set(signature.record)
    assert signature.sidecar in (None, sidecar_of(file))
    left = {file, signature.sidecar} - {None}
    assert set(folder.iterdir()) == left  # and no temporary file


def test_its_own_anchors_make_its_signatures_trusted(signer: Signer, tmp_path: Path) -> None:
    file = write(tmp_path / "take.flac")
    signer.sign(file, claim())
    found = read_credentials(file, signer.anchors)
    if signer.anchors:
        assert found is not None and found.state is CredentialState.TRUSTED
    else:
        assert found is None


def test_several_threads_may_sign_at_once(signer: Signer, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.wav", seed=number) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: signer.sign(files[n], claim(output=n + 1)), range(8)))
    if signer.anchors:
        read = [read_credentials(file, signer.anchors) for file in files]
        assert [found.output for found in read if found] == list(range(1, 9))
        assert {found.state for found in read if found} == {CredentialState.TRUSTED}
        assert len({signature.record["manifest"] for signature in made}) == 8

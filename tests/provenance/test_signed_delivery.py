"""Delivery with a signer: what reaches the disk, the ledger and whoever reads the file."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from rag_audio.domain import Audio, ConditioningPlan, GenerationRequest
from rag_audio.domain.ports import Detection, Mark
from rag_audio.domain.signing import ClaimedOutput, CredentialState, Signature
from rag_audio.errors import BackendUnavailable, LedgerError, OutputRefused
from rag_audio.guardrails import Inspection
from rag_audio.home import Home
from rag_audio.pipeline.delivery import commit, stage
from rag_audio.pipeline.renderer import Take
from rag_audio.provenance.credentials.reading import read_credentials
from rag_audio.provenance.credentials.signers import C2paSigner, NoSigner
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.settings import Settings
from tests.provenance.builders import decode_record, encode_record, plan, record
from tests.provenance.material import INFO, sound
from tests.support.fakes import FakeEmbedder, FakeIndex


class Quietly:
    """A ``Watermarker`` that turns the sound down by a hair."""

    name = "quieter-1"

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        return replace(audio, samples=audio.samples * 0.999)

    def detect(self, audio: Audio) -> Detection:
        return Detection(None, 0.0)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(Settings(home=tmp_path / "home", device="cpu"))
    made.embedder, made.index, made.watermarker = FakeEmbedder(), FakeIndex(), Quietly()
    return made


def _deliver(home: Home, target: Path, made: ConditioningPlan | None = None) -> tuple[str, ...]:
    request = GenerationRequest("song for my secret wedding")
    made = made or plan(references=(), seed_parts=())
    take = Take(sound(2.0), 7, made, Inspection((), None))
    (result,) = commit(home, [stage(home, request, take, datetime.now(UTC), INFO, target)])
    return result.files


def test_an_interrupt_waits_for_the_end_of_signing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C2PA library calls back for every piece of a file, and drops what is raised there."""
    sign, signed = home.signer.sign, []

    def interrupted(file: Path, claim: ClaimedOutput) -> Signature:
        signal.raise_signal(signal.SIGINT)
        signed.append(sign(file, claim))
        return signed[0]

    monkeypatch.setattr(home.signer, "sign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _deliver(home, tmp_path / "take.ogg")
    assert signed
    assert list(tmp_path.glob("*take*")) == []
    assert list(home.folder.glob("masters/*")) == []


def test_an_entry_that_is_not_written_leaves_no_fingerprint(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise BackendUnavailable("the disk is full")

    monkeypatch.setattr(home.ledger, "append_many", fail)
    with pytest.raises(BackendUnavailable):
        _deliver(home, tmp_path / "take.wav")
    assert home.fingerprints.count() == 0
    assert list(tmp_path.glob("*take*")) == []
    monkeypatch.undo()
    _deliver(home, tmp_path / "take.wav")
    assert home.fingerprints.count() == 1


@pytest.mark.parametrize("name", ["take.wav", "take.flac", "take.mp3", "take.ogg"])
def test_the_ledger_holds_the_signature_and_the_hash_of_the_signed_file(
    home: Home, tmp_path: Path, name: str
) -> None:
    files = _deliver(home, tmp_path / "out" / name)
    (entry,) = home.ledger.outputs()
    record = entry.record
    assert {Path(file).name for file in files} == set(record.files)
    assert len(files) == (2 if name.endswith(".ogg") else 1)
    assert {file.name for file in (tmp_path / "out").iterdir()} == set(record.files)
    for file in files:
        assert sha256(Path(file).read_bytes()).hexdigest() == record.files[Path(file).name]
    found = read_credentials(Path(files[0]), home.signer.anchors)
    assert found is not None and found.state is CredentialState.TRUSTED
    assert found.output == record.output
    assert found.label == record.signature["manifest"]
    assert isinstance(home.signer, C2paSigner)
    assert record.signature["certificate"] == home.signer.identity.fingerprint
    assert str(tmp_path) not in repr(dict(record.signature))
    for file in files:
        assert b"wedding" not in Path(file).read_bytes()
    assert home.ledger.verify() == []


def test_a_master_is_never_written_over(home: Home, tmp_path: Path) -> None:
    home.ledger = SqlLedger(home.database, home.folder / "keys" / "ledger.key")
    (home.folder / "masters").mkdir()
    (home.folder / "masters" / "1.wav").write_bytes(b"of another output")
    with pytest.raises(LedgerError, match="output 1 was used before"):
        _deliver(home, tmp_path / "take.wav")
    assert (home.folder / "masters" / "1.wav").read_bytes() == b"of another output"
    assert list(tmp_path.glob("*take*")) == []
    _deliver(home, tmp_path / "take.wav")
    assert [entry.record.output for entry in home.ledger.outputs()] == [2]


class _Refusing:
    name, anchors = "broken", ""

    def sign(self, file: Path, claim: ClaimedOutput) -> Signature:
        assert file.exists()
        raise OutputRefused("the key service is down")


def test_an_output_that_cannot_be_signed_is_not_given_out(home: Home, tmp_path: Path) -> None:
    home.signer = _Refusing()
    for name in ("take.wav", "take.ogg"):
        with pytest.raises(OutputRefused, match="key service"):
            _deliver(home, tmp_path / "out" / name)
    assert list((tmp_path / "out").iterdir()) == []
    assert list(home.folder.glob("masters/*")) == []
    assert home.ledger.outputs() == []


def test_an_output_that_cannot_be_logged_leaves_no_sidecar(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(home.ledger, "append_many", full)
    with pytest.raises(OSError, match="disk full"):
        _deliver(home, tmp_path / "out" / "take.ogg")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_record_says_that_signing_was_turned_off(home: Home, tmp_path: Path) -> None:
    home.signer = NoSigner()
    (file,) = _deliver(home, tmp_path / "take.ogg")
    assert read_credentials(Path(file)) is None
    (entry,) = home.ledger.outputs()
    assert "RAG_AUDIO_SIGNING=off" in entry.record.signature["none"]


def test_records_from_before_there_were_signatures_are_spelt_as_they_were() -> None:
    old = encode_record(record(1))
    assert b"signature" not in old
    assert decode_record(old).signature == {}
    assert encode_record(decode_record(old)) == old
    new = record(2, signature={"name": "c2pa", "manifest": "urn:c2pa:1"})
    assert decode_record(encode_record(new)) == new

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.reading import load
from rag_audio.domain.signing import Credentials, CredentialState, put_in_place, sidecar_of
from rag_audio.errors import ConfigError, OutputRefused, UnreadableFile
from rag_audio.provenance.credentials.manifest import make_manifest, public_name
from rag_audio.provenance.credentials.reading import read_credentials, training_reservation
from rag_audio.provenance.credentials.signers import C2paSigner, NoSigner, open_signer
from rag_audio.provenance.credentials.signing_keys import anchors
from tests.provenance.builders import plan, stem
from tests.provenance.material import Authority, claim, sign_briefly, write

EMBEDDED = ("take.wav", "take.flac", "take.mp3", "take.m4a")
BESIDE = ("take.ogg", "take.opus")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> C2paSigner:
    return open_signer(tmp_path_factory.mktemp("home") / "keys")


def _read(path: Path, known: str = "") -> Credentials:
    found = read_credentials(path, known)
    assert found is not None
    return found


@pytest.mark.parametrize("name", EMBEDDED + BESIDE)
def test_what_was_signed_here_is_read_back_as_trusted(
    tmp_path: Path, signer: C2paSigner, name: str
) -> None:
    file = write(tmp_path / name)
    signature = signer.sign(file, claim(output=41))
    beside = name in BESIDE
    assert (signature.sidecar == sidecar_of(file)) if beside else (signature.sidecar is None)
    names = {name, f"{name}.c2pa"} if beside else {name}
    assert {path.name for path in tmp_path.iterdir()} == names

    found = _read(file, signer.anchors)
    assert found.state is CredentialState.TRUSTED
    assert found.errors == ()
    assert found.output == 41
    assert found.sources == tuple(reference.stem.id for reference in plan().references)
    assert found.claim_generator.startswith("rag-audio ")
    assert found.sidecar is beside
    assert found.signer.startswith("rag-audio local signer")
    assert found.label == signature.record["manifest"]
    assert signature.record["certificate"] == signer.identity.fingerprint
    assert signature.record["where"] == ("sidecar" if beside else "embedded")


@pytest.mark.parametrize("name", EMBEDDED + BESIDE)
def test_signing_leaves_the_sound_as_it_was(tmp_path: Path, signer: C2paSigner, name: str) -> None:
    file = write(tmp_path / name)
    before = file.read_bytes()
    heard = None if name.endswith("m4a") else soundfile.read(file, dtype="float32")
    signer.sign(file, claim())
    if name in BESIDE:
        assert file.read_bytes() == before
    elif heard is None:  # libsndfile does not read these: the coded sound itself must be there
        start = before.index(b"mdat") + 4
        assert before[start : before.index(b"moov") - 4] in file.read_bytes()
    else:
        after = soundfile.read(file, dtype="float32")
        assert after[1] == heard[1]
        assert np.array_equal(after[0], heard[0])
        assert load(file).frames == len(heard[0])


def test_the_record_names_the_very_manifest_in_the_file(tmp_path: Path, signer: C2paSigner) -> None:
    beside, within = write(tmp_path / "a.ogg"), write(tmp_path / "b.wav")
    record = signer.sign(beside, claim()).record
    assert sha256(sidecar_of(beside).read_bytes()).hexdigest() == record["manifest_sha256"]
    record = signer.sign(within, claim()).record
    content = within.read_bytes()
    at = content.index(b"jumb") - 4
    length = int.from_bytes(content[at : at + 4], "big")
    assert sha256(content[at : at + length]).hexdigest() == record["manifest_sha256"]


@pytest.mark.parametrize("name", EMBEDDED + BESIDE)
def test_one_changed_byte_of_sound_is_found(tmp_path: Path, signer: C2paSigner, name: str) -> None:
    file = write(tmp_path / name)
    signer.sign(file, claim())
    content = bytearray(file.read_bytes())
    within = content.index(b"mdat") + 20 if name.endswith("m4a") else None
    # The manifest stands at the end of a WAV and at the start of FLAC and MP3.
    spot = within or (len(content) // 2 if name.endswith((".wav", ".ogg")) else len(content) - 99)
    content[spot] ^= 1
    file.write_bytes(content)
    found = _read(file, signer.anchors)
    assert found.state is CredentialState.INVALID
    assert "changed after it was signed" in found.errors[0]


@pytest.mark.parametrize("name", ["take.wav", "take.mp3", "take.ogg"])
def test_a_signer_of_another_home_is_not_known_here(
    tmp_path: Path, signer: C2paSigner, name: str
) -> None:
    file = write(tmp_path / name)
    signer.sign(file, claim())
    other = open_signer(tmp_path / "other" / "keys")
    for known in ("", other.anchors):
        found = _read(file, known)
        assert found.state is CredentialState.UNTRUSTED
        assert found.errors == ("the signer is not known here",)
        assert found.output == 7
    assert _read(file, other.anchors + signer.anchors).state is CredentialState.TRUSTED


@pytest.mark.parametrize("name", ["take.wav", "take.flac", "take.mp3", "take.ogg"])
def test_the_manifest_of_another_file_does_not_fit(
    tmp_path: Path, signer: C2paSigner, name: str
) -> None:
    first, second = write(tmp_path / name), write(tmp_path / f"2{name}", seed=1)
    plain, others = first.read_bytes(), second.read_bytes()
    signer.sign(first, claim())
    signed = first.read_bytes()
    if name.endswith(".ogg"):
        sidecar_of(second).write_bytes(sidecar_of(first).read_bytes())
        forged = others
    elif name.endswith(".wav"):  # a chunk at the end
        forged = bytearray(others + signed[len(plain) :])
        forged[4:8] = (len(forged) - 8).to_bytes(4, "little")
    else:  # an ID3 tag at the start
        assert signed.startswith(b"ID3")
        forged = signed[: len(signed) - len(plain)] + others
    second.write_bytes(forged)
    found = _read(second, signer.anchors)
    assert found.state is CredentialState.INVALID
    assert "another file" in found.errors[0]


@pytest.mark.parametrize("name", ["take.wav", "take.flac", "take.mp3", "take.m4a", "take.ogg"])
def test_a_file_that_breaks_off_is_never_trusted(
    tmp_path: Path, signer: C2paSigner, name: str
) -> None:
    file = write(tmp_path / name)
    signer.sign(file, claim())
    content = file.read_bytes()
    for kept in np.linspace(0, len(content) - 1, 24).astype(int):
        file.write_bytes(content[:kept])
        found = read_credentials(file, signer.anchors)
        assert found is None or found.state is CredentialState.INVALID
        assert found is None or found.errors


@pytest.mark.parametrize("name", ["take.wav", "take.mp3", "take.ogg"])
def test_no_damage_to_a_manifest_is_trusted_or_crashes(
    tmp_path: Path, signer: C2paSigner, name: str
) -> None:
    file = write(tmp_path / name)
    signer.sign(file, claim())
    holder = sidecar_of(file) if name.endswith(".ogg") else file
    content = holder.read_bytes()
    start = content.index(b"c2pa.actions.v2")
    end = content.index(b"c2pa.claim.v2") - 64
    for spot in np.linspace(start, end, 40).astype(int):
        damaged = bytearray(content)
        damaged[spot] ^= 0x55
        holder.write_bytes(damaged)
        assert _read(file, signer.anchors).state is CredentialState.INVALID


def test_what_has_no_credentials_says_so(tmp_path: Path) -> None:
    for name in (*EMBEDDED, *BESIDE):
        assert read_credentials(write(tmp_path / name)) is None
    for name, content in (("a.wav", b""), ("b.mp3", b"no sound at all" * 9), ("c", b"RIFF")):
        (tmp_path / name).write_bytes(content)
        assert read_credentials(tmp_path / name) is None
        assert training_reservation(tmp_path / name) is None
    with pytest.raises(UnreadableFile, match="gone"):
        read_credentials(tmp_path / "gone.wav")
    with pytest.raises(UnreadableFile):
        read_credentials(tmp_path)


def test_a_sidecar_of_rubbish_is_invalid(tmp_path: Path) -> None:
    file = write(tmp_path / "take.ogg")
    for content in (b"", b"rubbish" * 99):
        sidecar_of(file).write_bytes(content)
        assert _read(file).state is CredentialState.INVALID


def test_a_sidecar_named_as_others_do_is_found(tmp_path: Path, signer: C2paSigner) -> None:
    file = write(tmp_path / "take.ogg")
    signer.sign(file, claim())
    sidecar_of(file).rename(tmp_path / "take.c2pa")
    assert _read(file, signer.anchors).state is CredentialState.TRUSTED


def test_a_renamed_file_is_read_by_what_it_is(tmp_path: Path, signer: C2paSigner) -> None:
    file = write(tmp_path / "take.wav")
    signer.sign(file, claim())
    renamed = file.rename(tmp_path / "take.mp3")
    assert _read(renamed, signer.anchors).state is CredentialState.TRUSTED


def test_the_manifest_says_what_was_done_and_with_what(tmp_path: Path, signer: C2paSigner) -> None:
    from c2pa import Reader

    file = write(tmp_path / "take.wav")
    signer.sign(file, replace(claim(output=0xABC), credits=("Contains Night Shift",)))
    with Reader(str(file)) as reader:
        manifest = reader.get_active_manifest()
    assert manifest is not None
    said: dict[str, Any] = {item["label"]: item["data"] for item in manifest["assertions"]}
    created, marked = said["c2pa.actions.v2"]["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert len(created["parameters"]["ingredients"]) == 2
    assert marked == {"action": "c2pa.watermarked.bound"}
    assert [item["relationship"] for item in manifest["ingredients"]] == ["inputTo"] * 2
    assert [item["title"] for item in manifest["ingredients"]] == ["Break", "Keys"]
    assert [item["format"] for item in manifest["ingredients"]] == ["audio/wav"] * 2
    binding = said["c2pa.soft-binding"]
    assert binding["alg"] == "org.rag-audio.spread-spectrum-1"
    assert binding["blocks"] == [
        {"scope": {"timespan": {"start": 0, "end": 500}}, "value": "0000000abc"}
    ]
    uses = {entry["use"] for entry in said["cawg.training-mining"]["entries"].values()}
    assert uses == {"notAllowed"}
    stated = said["org.rag-audio.attribution"]
    assert stated["output"] == 0xABC
    assert stated["credits"] == ["Contains Night Shift"]
    assert stated["model"]["id"] == claim().info.id
    first = stated["sources"][0]
    assert first["stem"] == stem("break").id
    assert (first["holder"], first["license"]) == ("Night Shift Recordings", "nightshift-2026")
    assert first["spdx"] == "LicenseRef-NightShift-AI-1"
    for channel in ("prompt", "init"):
        given = sum(source["used"][channel] for source in stated["sources"])
        assert given + stated["model_share"][channel] == pytest.approx(1.0)
    assert first["used"]["prompt"] == pytest.approx(0.2)


def test_an_output_without_references_or_mark_can_be_signed(
    tmp_path: Path, signer: C2paSigner
) -> None:
    alone = plan(references=(), licenses=(), seed_parts=(), strength=1.0)
    file = write(tmp_path / "take.wav")
    signer.sign(file, replace(claim(), plan=alone, watermark=None))
    found = _read(file, signer.anchors)
    assert (found.state, found.sources) == (CredentialState.TRUSTED, ())
    assert b"watermarked" not in file.read_bytes()
    assert b"soft-binding" not in file.read_bytes()


@pytest.mark.parametrize("name", ["take.wav", "take.ogg"])
def test_nothing_the_user_wrote_and_no_path_travels_with_a_file(
    tmp_path: Path, signer: C2paSigner, name: str
) -> None:
    file = write(tmp_path / name)
    said = plan(prompt="song for my secret wedding", negative_prompt="nothing like my boss")
    info = replace(claim().info, name="/home/somebody/models/tiny")
    signature = signer.sign(file, replace(claim(), plan=said, info=info))
    told = file.read_bytes() + (signature.sidecar.read_bytes() if signature.sidecar else b"")
    told += repr(dict(signature.record)).encode()
    for word in (b"wedding", b"boss", b"dusty", b"somebody", b"drums/", str(tmp_path).encode()):
        assert word not in told
    assert _read(file).attribution["model"]["name"] == "tiny"


@settings(max_examples=25, deadline=None)
@given(
    title=st.text(max_size=40),
    artist=st.text(max_size=40),
    line=st.text(max_size=40),
    output=st.integers(1, 2**40 - 1),
)
def test_whatever_a_library_calls_its_stems_is_read_back_as_it_was_signed(
    title: str, artist: str, line: str, output: int, signer: C2paSigner
) -> None:
    first, second = plan().references
    named = replace(first.segment.stem, title=title, artist=artist)
    references = (replace(first, segment=replace(first.segment, stem=named)), second)
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder) / "take.mp3")
        made_from = replace(claim(output), plan=plan(references=references), credits=(line,))
        signer.sign(file, made_from)
        found = _read(file, signer.anchors)
    assert (found.state, found.output) == (CredentialState.TRUSTED, output)
    stated = found.attribution["sources"][0]
    assert (stated["title"], stated["artist"]) == (title, artist)
    assert found.attribution["credits"] == [line]


def test_a_name_that_is_no_unicode_can_be_signed(tmp_path: Path, signer: C2paSigner) -> None:
    first, second = plan().references
    named = replace(first.segment.stem, title="caf\udce9")  # from a file name in Latin-1
    references = (replace(first, segment=replace(first.segment, stem=named)), second)
    file = write(tmp_path / "take.wav")
    signer.sign(file, replace(claim(), plan=plan(references=references)))
    assert _read(file).attribution["sources"][0]["title"] == "caf?"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("stabilityai/stable-audio-open-1.0", "stabilityai/stable-audio-open-1.0"),
        ("/srv/models/tiny", "tiny"),
        ("./tiny", "tiny"),
        ("C:\\models\\tiny", "tiny"),
        ("stable-audio-mini", "stable-audio-mini"),
    ],
)
def test_a_model_is_named_without_its_folder(name: str, shown: str) -> None:
    assert public_name(name) == shown


def test_a_chain_of_ones_own_is_trusted_where_it_is_known(tmp_path: Path) -> None:
    for number, with_root in enumerate((True, False)):
        files = Authority().signer(tmp_path / f"own{number}", with_root=with_root)
        own = open_signer(tmp_path / "keys", chain=files[0], key=files[1])
        file = write(tmp_path / f"{number}.wav")
        own.sign(file, claim())
        known = anchors(tmp_path / "keys", [files[0]])
        assert _read(file, known).state is CredentialState.TRUSTED
        assert _read(file).signer == "Example Label, Invented Holder"
    assert not (tmp_path / "keys").exists()  # no local key was made beside it


def test_half_a_configuration_is_refused(tmp_path: Path) -> None:
    chain, key = Authority().signer(tmp_path)
    with pytest.raises(ConfigError, match="RAG_AUDIO_SIGNING_KEY is not"):
        open_signer(tmp_path / "keys", chain=chain)
    with pytest.raises(ConfigError, match="RAG_AUDIO_SIGNING_CHAIN is not"):
        open_signer(tmp_path / "keys", key=key)
    with pytest.raises(ConfigError, match="does not say what others may do"):
        open_signer(tmp_path / "keys", training="maybe")


def test_a_key_that_something_else_holds_signs_through_a_callback(tmp_path: Path) -> None:
    chain, key_file = Authority().signer(tmp_path)
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    asked: list[bytes] = []

    def kms(data: bytes) -> bytes:
        asked.append(data)
        return key.sign(data, ec.ECDSA(hashes.SHA256()))

    remote = C2paSigner.from_callback(kms, chain.read_text())
    file = write(tmp_path / "take.flac")
    remote.sign(file, claim())
    assert asked
    assert _read(file, remote.anchors).state is CredentialState.TRUSTED


@pytest.mark.parametrize("name", ["take.wav", "take.ogg"])
def test_a_signature_that_fails_refuses_the_output_and_leaves_the_file(
    tmp_path: Path, name: str
) -> None:
    chain, _ = Authority().signer(tmp_path / "own")

    def down(data: bytes) -> bytes:
        raise ConnectionError("the key service is down")

    def wrong(data: bytes) -> bytes:
        return b"\x01" * 64

    file = write(tmp_path / name)
    before = file.read_bytes()
    for callback, said in ((down, "the key service is down"), (wrong, "could not be signed")):
        with pytest.raises(OutputRefused, match=said) as caught:
            C2paSigner.from_callback(callback, chain.read_text()).sign(file, claim())
        assert "RAG_AUDIO_SIGNING=off" in caught.value.hint
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {name, "own"}


def test_what_cannot_be_signed_is_refused(tmp_path: Path, signer: C2paSigner) -> None:
    (tmp_path / "a.aiff").write_bytes(b"FORM")
    (tmp_path / "b.wav").write_bytes(b"RIFF, but no more")
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(OutputRefused, match="signed"):
            signer.sign(file, claim())
    with pytest.raises(OutputRefused, match="No such file"):
        signer.sign(tmp_path / "gone.wav", claim())


def test_a_signature_whose_certificate_has_expired_since_is_not_trusted(tmp_path: Path) -> None:
    file = write(tmp_path / "take.wav")
    brief, _ = sign_briefly(file, tmp_path / "own")
    found = _read(file, brief.anchors)
    assert found.state is CredentialState.UNTRUSTED
    assert any("expired" in error for error in found.errors)
    with pytest.raises(OutputRefused):
        brief.sign(write(tmp_path / "later.wav"), claim())


def test_signing_can_be_turned_off_by_name_and_the_record_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "take.wav")
    before = file.read_bytes()
    signature = NoSigner().sign(file, claim())
    assert file.read_bytes() == before
    assert "RAG_AUDIO_SIGNING=off" in signature.record["none"]


def test_a_file_and_its_sidecar_are_put_in_place_together(
    tmp_path: Path, signer: C2paSigner
) -> None:
    part, target = write(tmp_path / ".take.part.ogg"), tmp_path / "take.ogg"
    signature = signer.sign(part, claim())
    assert put_in_place(part, target, signature) == (str(target), str(sidecar_of(target)))
    assert _read(target, signer.anchors).state is CredentialState.TRUSTED

    unsigned = write(tmp_path / ".again.part.ogg", seed=1)
    put_in_place(unsigned, target, NoSigner().sign(unsigned, claim()))
    assert read_credentials(target) is None  # the old sidecar went with the old file
    assert [path.name for path in tmp_path.iterdir()] == ["take.ogg"]


class _Authority(BaseHTTPRequestHandler):
    """A timestamp authority that is out of order; counts who asks."""

    asked = 0

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        type(self).asked += 1
        self.send_response(500)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def timestamp_url() -> Iterator[str]:
    _Authority.asked = 0
    server = HTTPServer(("127.0.0.1", 0), _Authority)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_without_a_timestamp_that_was_asked_for_nothing_is_given_out(
    tmp_path: Path, timestamp_url: str
) -> None:
    file = write(tmp_path / "take.wav")
    asking = open_signer(tmp_path / "keys", timestamp_url=timestamp_url)
    with pytest.raises(OutputRefused, match="500"):
        asking.sign(file, claim())
    assert _Authority.asked == 1
    assert read_credentials(file) is None


def test_reading_a_file_opens_no_connection(
    tmp_path: Path, signer: C2paSigner, timestamp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from c2pa import Builder

    from rag_audio.provenance.credentials import reading

    def elsewhere(builder: Builder) -> None:
        no_embed(builder)
        builder.set_remote_url(f"{timestamp_url}manifest")

    no_embed = Builder.set_no_embed
    monkeypatch.setattr(Builder, "set_no_embed", elsewhere)
    monkeypatch.setattr("rag_audio.provenance.credentials.signers.EMBEDDED", frozenset({".mp3"}))
    monkeypatch.setattr("rag_audio.provenance.credentials.signers.BESIDE", frozenset({".wav"}))
    monkeypatch.setattr(C2paSigner, "_read_back", lambda *given: Credentials(CredentialState.NONE))
    monkeypatch.setattr(C2paSigner, "_keep", lambda self, file, signed, _: signed.replace(file))
    file = write(tmp_path / "take.wav")
    signer.sign(file, claim())
    found = reading.read_credentials(file)
    assert found is not None and found.state is CredentialState.NONE
    assert "not fetched" in found.errors[0]
    assert _Authority.asked == 0


@pytest.mark.parametrize(
    ("training", "forbidden"),
    [("notAllowed", True), ("constrained: https://example.org/terms", True), ("allowed", False)],
)
def test_a_reservation_against_training_is_read(
    tmp_path: Path, signer: C2paSigner, training: str, forbidden: bool
) -> None:
    saying = C2paSigner(signer.identity, training=training)
    for name in ("take.wav", "take.ogg"):
        file = write(tmp_path / name)
        assert training_reservation(file) is None
        saying.sign(file, claim())
        assert (training_reservation(file) is not None) is forbidden
    uses = set(_read(file).training.values())
    assert uses == {training.partition(":")[0]}


def test_damage_does_not_lift_a_reservation(tmp_path: Path, signer: C2paSigner) -> None:
    file = write(tmp_path / "take.wav")
    signer.sign(file, claim())
    content = bytearray(file.read_bytes())
    for word in (b"c2pa.signature", b"claim_generator_info"):
        for found in re.finditer(word, content):
            content[found.start()] ^= 1
    file.write_bytes(content)
    assert _read(file).state is CredentialState.INVALID
    assert training_reservation(file)


def test_an_older_assertion_against_training_counts_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signer: C2paSigner
) -> None:
    from rag_audio.provenance.credentials import signers

    def older(*given: Any, **more: Any) -> dict[str, Any]:
        document = make_manifest(*given, **more)
        for assertion in document["assertions"]:
            if assertion["label"] == "cawg.training-mining":
                assertion["label"] = "c2pa.training-mining"
                assertion["data"] = {"entries": {"c2pa.ai_training": {"use": "notAllowed"}}}
        return document

    monkeypatch.setattr(signers, "make_manifest", older)
    file = write(tmp_path / "take.mp3")
    signer.sign(file, claim())
    assert training_reservation(file)
    assert _read(file).training == {"c2pa.ai_training": "notAllowed"}


@pytest.mark.parametrize(
    "lie",
    [
        {"output": "7"},
        {"output": True},
        {"output": -1},
        {"output": 2**41},
        {"output": 7.0, "sources": {"stem": "x"}},
        {"sources": [{"stem": "../../etc/passwd"}, "x", None, {"stem": 7}]},
    ],
)
def test_a_manifest_of_somebody_else_may_say_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any], signer: C2paSigner
) -> None:
    from rag_audio.provenance.credentials import signers

    def lying(*given: Any, **more: Any) -> dict[str, Any]:
        document = make_manifest(*given, **more)
        for assertion in document["assertions"]:
            if assertion["label"] == "org.rag-audio.attribution":
                assertion["data"] = lie
        return document

    monkeypatch.setattr(signers, "make_manifest", lying)
    file = write(tmp_path / "take.wav")
    signer.sign(file, claim())
    found = _read(file)
    assert (found.output, found.sources) == (None, ())

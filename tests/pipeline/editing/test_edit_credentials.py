"""What the content credentials of edits and copies say, read back from the files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import soundfile
from c2pa import C2paError, Reader

from rag_audio.audio import writing
from rag_audio.domain import GenerationResult
from rag_audio.domain.signing import Credentials, CredentialState, OpenedFile, sidecar_of
from rag_audio.errors import OutputRefused
from rag_audio.pipeline.delivery import write_copy
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.credentials import signers
from rag_audio.provenance.credentials.manifest import COMPOSITE, GENERATED
from rag_audio.provenance.credentials.reading import read_credentials
from rag_audio.provenance.credentials.signers import C2paSigner, Parent, open_signer
from tests.pipeline.editing.conftest import Made
from tests.pipeline.editing.sounds import pad_sound
from tests.provenance.material import Authority, claim

FAST = {"steps": 2, "seed": 5, "audio_rights": "own"}
KINDS = ("inpaint", "extend", "vary")
FORMATS = ("mp3", "flac", "wav", "ogg")


def edit(workspace: Workspace, kind: str, file: Path, out: Path, **more: Any) -> GenerationResult:
    fields = {**FAST, **more}
    if kind == "inpaint":
        (made,) = workspace.inpaint(file, "bells", out, regions=[(1.0, 2.0)], **fields)
    elif kind == "extend":
        (made,) = workspace.extend(file, "bells", out, right_s=2.0, **fields)
    else:
        (made,) = workspace.vary(file, out, prompt="bells", strength=0.3, **fields)
    return made


def source(kind: str, made: Made, folder: Path) -> Path:
    """A foreign file as it is, one that somebody else signed, or an output of ours."""
    if kind == "ours":
        return made.file
    file = folder / ("in.ogg" if kind == "signed ogg" else "in.wav")
    writing.save(pad_sound(4.0, 44_100), file)
    if kind != "foreign":
        stranger(folder, "allowed").sign(file, claim(output=99))
    return file


def stranger(folder: Path, training: str) -> C2paSigner:
    chain, key = Authority("Somebody Else").signer(folder / "keys of somebody")
    return open_signer(folder / "nowhere", chain=chain, key=key, training=training)


def read(workspace: Workspace, file: Path) -> Credentials:
    found = workspace.home.credentials_of(file)
    assert found is not None
    return found


def manifests(file: Path) -> dict[str, Any]:
    beside = sidecar_of(file)
    kind = {"wav": "audio/wav", "ogg": "audio/ogg"}[file.suffix[1:]]
    with (
        file.open("rb") as opened,
        Reader(kind, opened, beside.read_bytes() if beside.is_file() else None) as reader,
    ):
        found: dict[str, Any] = json.loads(reader.json())["manifests"]
    return found


@pytest.mark.parametrize("whose", ["foreign", "signed", "signed ogg", "ours"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_says_what_was_opened_and_what_was_done_to_it(
    made: Made, workspace: Workspace, tmp_path: Path, kind: str, whose: str
) -> None:
    _ = workspace.home.signer
    file = source(whose, made, tmp_path)
    result = edit(workspace, kind, file, tmp_path / "out.wav")
    told = read(workspace, tmp_path / "out.wav")
    assert (told.state, told.output) == (CredentialState.TRUSTED, result.record.output)
    assert told.actions == ("c2pa.opened", "c2pa.edited", "c2pa.watermarked.bound")
    assert told.source_type == COMPOSITE
    (parent,) = told.parents
    assert parent.instance == f"urn:rag-audio:sha256:{sha256(file.read_bytes()).hexdigest()}"
    own = read_credentials(file)
    assert parent.label == ("" if own is None else own.label)
    assert parent.title == (
        f"Output {made.result.record.output}" if whose == "ours" else "edited file"
    )
    assert result.record.signature.get("parent_manifest", "") == parent.label
    if own is not None:
        inside = manifests(tmp_path / "out.wav")[parent.label]
        assert inside["title"] == f"Output {99 if whose != 'ours' else made.result.record.output}"
    said = told.attribution["edit"]
    assert said["kind"] == kind
    assert said["kept"] == pytest.approx(result.plan.edit.kept)  # type: ignore[union-attr]
    assert said.get("output") == (made.result.record.output if whose == "ours" else None)
    text = json.dumps(manifests(tmp_path / "out.wav")[told.label])
    assert "bells" not in text and str(tmp_path) not in text and file.name not in text


def test_an_edit_of_an_edit_holds_the_manifests_of_both(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    edit(workspace, "inpaint", made.file, tmp_path / "1.wav")
    edit(workspace, "extend", tmp_path / "1.wav", tmp_path / "2.ogg")
    edit(workspace, "vary", tmp_path / "2.ogg", tmp_path / "3.wav")
    labels = [read(workspace, tmp_path / name).label for name in ("1.wav", "2.ogg", "3.wav")]
    first = read(workspace, made.file).label
    assert {first, *labels} == set(manifests(tmp_path / "3.wav"))
    assert read(workspace, tmp_path / "3.wav").state is CredentialState.TRUSTED


def test_a_variation_that_keeps_nothing_is_all_made_by_the_model(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.vary(made.file, tmp_path / "x.wav", prompt="bells", strength=1.0, **FAST)
    told = read(workspace, tmp_path / "x.wav")
    assert told.actions[:2] == ("c2pa.opened", "c2pa.edited")
    kept = told.attribution["edit"]["kept"]
    assert told.source_type == (GENERATED if kept == 0 else COMPOSITE)


def test_a_generation_is_created_and_opens_nothing(made: Made, workspace: Workspace) -> None:
    told = read(workspace, made.file)
    assert told.actions == ("c2pa.created", "c2pa.watermarked.bound")
    assert (told.source_type, told.parents) == (GENERATED, ())


def test_a_broken_manifest_of_the_opened_file_does_not_stop_the_edit(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    file = source("signed", made, tmp_path)
    content = bytearray(file.read_bytes())
    place = content.index(b"jumdc2pa")
    content[place + 60 : place + 160] = bytes(100)
    file.write_bytes(bytes(content))
    edit(workspace, "inpaint", file, tmp_path / "out.wav")
    told = read(workspace, tmp_path / "out.wav")
    assert told.state is CredentialState.TRUSTED
    assert [one.label for one in told.parents] == [""]


def test_a_file_that_was_replaced_meanwhile_is_not_named_as_the_opened_one(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    file = source("foreign", made, tmp_path)
    target = tmp_path / "out.wav"
    writing.save(pad_sound(1.0, 44_100), target)
    before = target.read_bytes()
    wrong = OpenedFile(file, "0" * 64)
    with pytest.raises(OutputRefused, match="another one now than"):
        workspace.home.signer.sign(target, replace(claim(), opened=wrong))
    assert target.read_bytes() == before


@pytest.mark.parametrize("training", ["notAllowed", "constrained: ask us"])
def test_reservations_of_the_opened_file_hold_for_the_edit(
    workspace: Workspace, tmp_path: Path, training: str
) -> None:
    file, out = tmp_path / "in.wav", tmp_path / "out.wav"
    for one in (file, out):
        writing.save(pad_sound(1.0, 44_100), one)
    stranger(tmp_path, training).sign(file, claim(output=99))
    chain, key = Authority().signer(tmp_path / "ours")
    ours = open_signer(tmp_path, chain=chain, key=key, training="allowed")
    opened = OpenedFile(file, sha256(file.read_bytes()).hexdigest())
    ours.sign(out, replace(claim(), opened=opened))
    own = manifests(out)[read_credentials(out).label]  # type: ignore[union-attr]
    (said,) = [a["data"] for a in own["assertions"] if a["label"] == "cawg.training-mining"]
    assert {entry["use"] for entry in said["entries"].values()} == {training.partition(":")[0]}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("delivered", ["wav", "ogg"])
def test_a_copy_has_the_credits_the_label_and_the_manifest_of_its_output(
    made: Made, workspace: Workspace, tmp_path: Path, suffix: str, delivered: str
) -> None:
    file = tmp_path / f"take.{delivered}"
    shutil.copy(made.file, file)
    record = made.result.record
    if delivered == "ogg":
        record = edit(workspace, "vary", made.file, file).record
    copy = tmp_path / f"copy.{suffix}"
    files = write_copy(workspace.home.signer, record, file, copy)
    assert files[0] == str(copy) and len(files) == (2 if suffix == "ogg" else 1)
    told, first = read(workspace, copy), read(workspace, file)
    assert (told.state, told.output) == (CredentialState.TRUSTED, record.output)
    assert told.is_copy and told.actions == ("c2pa.opened", "c2pa.transcoded")
    assert [one.label for one in told.parents] == [first.label]
    assert told.source_type == first.source_type
    assert told.attribution["sources"] == first.attribution["sources"]
    with soundfile.SoundFile(copy) as opened:
        assert f"output {record.output}" in opened.comment
        assert "AI" in opened.comment
        assert opened.copyright
    found = workspace.trace(copy)
    assert (found.output, found.transplanted) == (record.output, False)
    assert "credentials" not in found.explanation or found.by == "manifest"
    assert not list(tmp_path.glob(".*"))


def test_a_copy_of_an_erased_output_needs_no_words(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    record = edit(workspace, "inpaint", made.file, tmp_path / "x.wav").record
    workspace.home.ledger.erase(record.output)
    entry = workspace.home.ledger.find(record.output)
    assert entry is not None and entry.erased
    write_copy(workspace.home.signer, entry.record, tmp_path / "x.wav", tmp_path / "x.mp3")
    assert read(workspace, tmp_path / "x.mp3").output == record.output


def test_manifests_that_are_too_large_or_not_accepted_stay_out_and_the_ingredient_says_so(
    made: Made, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = source("signed", made, tmp_path)
    opened = OpenedFile(file, sha256(file.read_bytes()).hexdigest())

    def signed(name: str) -> tuple[Credentials, str]:
        out = tmp_path / name
        writing.save(pad_sound(1.0, 44_100), out)
        record = workspace.home.signer.sign(out, replace(claim(), opened=opened)).record
        assert "parent_manifest" not in record
        told = read(workspace, out)
        (parent,) = [
            one
            for one in manifests(out)[told.label]["ingredients"]
            if one["relationship"] == "parentOf"
        ]
        assert "active_manifest" not in parent
        return told, parent["description"]

    monkeypatch.setattr(signers, "MAX_CARRIED", 1000)
    told, said = signed("large.wav")
    assert told.state is CredentialState.TRUSTED and "larger than" in said
    monkeypatch.undo()

    def refuse(self: Parent, _: object) -> None:
        if self.is_carried:
            raise C2paError("not as a part of another")

    monkeypatch.setattr(Parent, "add_to", refuse)
    told, said = signed("odd.wav")
    assert told.state is CredentialState.TRUSTED and "does not accept" in said


@pytest.mark.parametrize(("training", "reserved"), [("notAllowed", True), ("allowed", False)])
def test_what_a_damaged_manifest_reserves_holds_for_the_edit(
    tmp_path: Path, training: str, reserved: bool
) -> None:
    file, out = tmp_path / "in.wav", tmp_path / "out.wav"
    for one in (file, out):
        writing.save(pad_sound(1.0, 44_100), one)
    stranger(tmp_path, training).sign(file, claim(output=99))
    content = bytearray(file.read_bytes())
    place = content.index(b"jumdc2pa")
    content[place + 60 : place + 160] = bytes(100)
    file.write_bytes(bytes(content))
    chain, key = Authority().signer(tmp_path / "ours")
    ours = open_signer(tmp_path, chain=chain, key=key, training="allowed")
    opened = OpenedFile(file, sha256(file.read_bytes()).hexdigest())
    ours.sign(out, replace(claim(), opened=opened))
    found = read_credentials(out)
    assert found is not None
    assert set(found.training.values()) == {"notAllowed" if reserved else "allowed"}


def test_a_file_that_is_not_as_it_was_delivered_is_not_copied_as_the_output(
    made: Made, workspace: Workspace, tmp_path: Path
) -> None:
    writing.save(pad_sound(2.0, 44_100), tmp_path / "take.wav")
    with pytest.raises(OutputRefused, match="not output 1 as it was delivered"):
        write_copy(
            workspace.home.signer, made.result.record, tmp_path / "take.wav", tmp_path / "copy.mp3"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["take.wav"]

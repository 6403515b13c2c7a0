"""``revoke``, ``outputs``, ``report`` and ``generate --plan`` as a user meets them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli import generate, library, rights
from rag_audio.cli.app import run
from rag_audio.errors import BackendUnavailable
from tests.support.rights_world import TARGET_ARTIST, World
from tests.support.whole_home import opened_by

MADE = {1, 2}
"""Outputs of the target that are there before any test."""
QUICK = ["--seed", "1", "--duration", "4"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rights"))
    for path in ("one.wav", "two.flac"):
        made.workspace.generate(
            "slow", made.library.parent / path, references=(made.target.id,), seed=1, duration_s=4.0
        )
    yield made
    made.workspace.close()


@pytest.fixture(autouse=True)
def opened(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work on the test's home; nothing is closed between them."""
    opened_by(monkeypatch, world.workspace, rights, generate, library)
    world.reset()


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def _output_ids(document: dict[str, Any]) -> list[int]:
    return [entry["output"] for entry in document["outputs"]]


@pytest.mark.parametrize(
    "option",
    [["--stem", "STEM"], ["--artist", "hidden FERRY"], ["--license", "target"],
     ["--license", "small/target"], ["--holder", "target holder"]],
)  # fmt: skip
def test_outputs_answers_for_each_kind_of_source(
    world: World, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    name, value = option
    found = _json(capsys, "outputs", name, value.replace("STEM", world.target.id[:12]))
    assert set(_output_ids(found)) >= MADE
    assert _output_ids(_json(capsys, "outputs", "--artist", "Nobody")) == []


@pytest.mark.parametrize("option", ["--stem", "--artist", "--license"])
def test_revoke_stops_it_lists_its_outputs_and_purges_its_embeddings(
    world: World, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    value = {"--stem": world.target.id[:10], "--artist": "HIDDEN férry", "--license": "target"}
    asked = [option, value[option]]
    before = world.home.ledger.size()
    said = _json(capsys, "revoke", *asked, "--reason", "withdrawn", "--by", "rights desk")
    assert said["new"] is True
    assert said["revoked"]["reason"] == "withdrawn"
    assert set(_output_ids(said)) >= MADE
    assert world.target.id in {stem["stem"] for stem in said["stems"]}
    assert said["purged"]["segments"] > 0
    assert world.home.index.find_stem(world.target.id) == []
    refused = _json(
        capsys, "generate", "slow", "--reference", world.target.id, "--dry-run", *QUICK, code=3
    )
    assert "revoked" in refused["error"]["message"]
    (event,) = [e for e in world.home.ledger.events("revocation") if e.seq > before]
    assert said["ledger"] == event.seq
    assert "withdrawn" not in json.dumps(dict(event.document)), "reasons may name people"
    again = _json(capsys, "revoke", *asked)
    assert (again["new"], again["ledger"]) == (False, None)
    undone = _json(capsys, "revoke", *asked, "--undo")
    assert undone["undone"] is True
    assert world.home.catalogue.revocations() == []
    assert _json(capsys, "revoke", *asked, "--undo", code=2)["error"]["type"] == "InvalidInput"


@pytest.mark.parametrize("option", ["--stem", "--artist", "--license"])
def test_library_shows_what_a_revocation_left_of_a_license(
    world: World, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    def row() -> dict[str, Any]:
        licenses = _json(capsys, "library")["licenses"]
        (found,) = [one for one in licenses if one["license"] == "target"]
        return dict(found)

    before = row()
    assert (before["revoked_stems"], before["revoked_artists"], before["refusal"]) == (0, [], "")
    assert before["granted"]
    value = {"--stem": world.target.id[:10], "--artist": TARGET_ARTIST, "--license": "target"}
    _json(capsys, "revoke", option, value[option])
    after = row()
    assert after["stems"] == before["stems"] == 2
    assert after["granted"] == (before["granted"] if option == "--stem" else [])
    if option == "--license":
        assert after["refusal"] == "it was revoked"
    elif option == "--artist":
        assert after["refusal"] == f"2 of 2 stems were revoked ({TARGET_ARTIST})"
        assert (after["revoked_stems"], after["revoked_artists"]) == (2, [TARGET_ARTIST])
    else:
        assert after["refusal"] == "1 of 2 stems were revoked"
        assert (after["revoked_stems"], after["revoked_artists"]) == (1, [])


def test_an_index_that_somebody_holds_does_not_stop_a_revocation(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(id_: str) -> None:
        raise BackendUnavailable("the index is in use by pid 7")

    monkeypatch.setattr(world.home.index, "find_stem", held)
    said = _json(capsys, "revoke", "--artist", TARGET_ARTIST)
    assert said["purged"]["segments"] == 0
    assert "every search leaves out" in said["purged"]["index"]
    monkeypatch.undo()
    shown = {found.stem.id for found in world.workspace.search("zither", k=10)}
    assert world.targets.isdisjoint(shown)


@pytest.mark.parametrize(
    ("option", "name", "hint"),
    [
        ("--artist", "Hiden Ferry", f"did you mean {TARGET_ARTIST!r}?"),
        ("--artist", "Somebody Else", "rag-audio artists"),
        ("--license", "small/nonesuch", "rag-audio library"),
        ("--license", "nonesuch", "rag-audio library"),
        ("--stem", "ffffff", ""),
    ],
)
@pytest.mark.parametrize("undo", [[], ["--undo"]])
def test_a_name_that_nothing_has_is_not_revoked(
    world: World, capsys: pytest.CaptureFixture[str], option: str, name: str, hint: str,
    undo: list[str],
) -> None:  # fmt: skip
    size = world.home.ledger.size()
    error = _json(capsys, "revoke", option, name, *undo, code=2)["error"]
    assert error["type"] == "InvalidInput"
    assert repr(name) in error["message"]
    assert hint in error["hint"]
    assert world.home.catalogue.revocations() == []
    assert world.home.ledger.size() == size


def test_who_left_the_library_can_be_revoked_for_what_outputs_used(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    files = dict(world.home.catalogue.files("small"))
    world.home.catalogue.remove_files("small", list(files))
    try:
        said = _json(capsys, "revoke", "--artist", TARGET_ARTIST)
        undone = _json(capsys, "revoke", "--artist", TARGET_ARTIST.upper(), "--undo")
    finally:
        world.home.catalogue.put_files("small", list(files.values()))
    assert (said["new"], said["stems"], undone["undone"]) == (True, [], True)
    assert set(_output_ids(said)) >= MADE


def test_a_stem_can_be_revoked_in_advance_by_its_whole_id(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _json(capsys, "revoke", "--stem", "ab" * 32)
    assert (said["new"], said["stems"], said["outputs"]) == (True, [], [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["revoke"],
        ["revoke", "--stem", "a", "--artist", "b"],
        ["revoke", "--stem", "ffffff"],
        ["revoke", "--license", "nonesuch"],
        ["revoke", "--artist", " - "],
        ["report", "--from", "2026-01-01", "--to", "soon"],
        ["report", "--from", "2026-02-01", "--to", "2026-01-01"],
        ["report", "--from", "2026-01-01", "--to", "2026-02-01", "--format", "pdf"],
        ["generate", "--plan", "missing.json", "--dry-run"],
        ["generate", "--plan", "missing.json", "--dry-run", "--bpm", "90"],
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _json(capsys, *arguments, code=2)["error"]["message"]


def test_report_is_written_as_json_and_csv(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    days = ["--from", "2020-01-01", "--to", "2099-12-31"]
    document = _json(capsys, "report", *days)
    (holder,) = [one for one in document["holders"] if one["holder"] == "Target Holder"]
    assert len(holder["outputs"]) >= 2
    assert holder["credits"] == ["Contains Target Holder material"]
    assert 0 < holder["master"]["init"] <= len(holder["outputs"])
    target = tmp_path / "use.csv"
    assert run(["report", *days, "--format", "csv", "--out", str(target)]) == 0
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["rows"])
    assert {row["license_holder"] for row in rows} >= {"Target Holder"}
    capsys.readouterr()
    assert run(["report", "--from", "2020-01-01", "--to", "2020-12-31", "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["use.csv"]


def test_a_plan_is_printed_kept_and_made_again(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, saved = tmp_path / "plan.json", tmp_path / "saved.json"
    printed = _json(capsys, "generate", "slow", "--reference", world.target.id, "--dry-run", *QUICK)
    file.write_text(json.dumps(printed))
    shown = _json(capsys, "generate", "--plan", str(file), "--dry-run")
    assert shown["plan"]["seed_parts"] == printed["plan"]["seed_parts"]
    dry = tmp_path / "dry.wav"
    _json(capsys, "generate", "--plan", str(file), "--dry-run", "--out", str(dry))
    assert not dry.exists()
    again = ["--save-plan", str(saved), "--out", str(tmp_path / "a.wav")]
    first = _json(capsys, "generate", "slow", "--plan", str(file), *again)
    second = _json(capsys, "generate", "--plan", str(saved), *again)
    assert first["pcm_sha256"] == second["pcm_sha256"]
    assert first["references"][0]["stem"] == world.target.id
    other = _json(capsys, "generate", "fast", "--plan", str(file), "--dry-run", code=2)
    assert "is not the plan's" in other["error"]["message"]
    world.license(gone=True)
    refused = _json(capsys, "generate", "--plan", str(file), "--dry-run", code=3)
    assert refused["error"]["type"] == "RequestRefused"


def test_the_delivered_file_says_whose_material_it_holds(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tinytag import TinyTag

    out = tmp_path / "take.flac"
    made = _json(
        capsys, "generate", "slow", "--reference", world.target.id, "--out", str(out), *QUICK
    )
    comment = TinyTag.get(out).comment or ""
    assert comment.startswith(f"Made with AI by rag-audio, output {made['output']}")
    assert "Contains Target Holder material" in comment

"""The same recording in two folders under two licenses, as a user meets it on every way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import soundfile

from indexer.build import IndexReport, index_library
from rag_audio.cli import generate, library, rights, trace
from rag_audio.cli.app import run
from rag_audio.cli.index import show_report
from rag_audio.domain import Channel, Use
from rag_audio.domain.licensing import RevocationOf
from rag_audio.domain.record import LedgerEntry
from rag_audio.domain.signing import ClaimedOutput
from rag_audio.errors import RequestRefused
from rag_audio.provenance.credentials.manifest import make_manifest
from rag_audio.provenance.ledger.records import canonical, parse, record_from_json, record_to_json
from rag_audio.provenance.trace_report import report_html
from tests.indexer.library import use_quick_analysis
from tests.support import rights_world
from tests.support.rights_world import CSV, TARGET_ARTIST, TOML, World
from tests.support.whole_home import opened_by

NARROW = """
[licenses.narrow]
holder = "Narrow Holder"
spdx = "LicenseRef-Narrow-1"
uses = ["prompt"]
credit = "Contains Narrow Holder material"
max_similarity = 0.5
"""
QUICK = ["--seed", "1", "--duration", "4"]


class Contested(World):
    """The target lies a second time in the library, under a license for words only."""

    copy = "z/copy.wav"
    artist = TARGET_ARTIST

    def decide(self, *lines: str, rows: str = "", licenses: str = NARROW) -> IndexReport:
        """Write the tables with these lines under ``[conflicts]`` and index."""
        conflicts = "\n".join(["[conflicts]", *lines]) if lines else ""
        (self.library / "library.toml").write_text(f"{TOML}{licenses}{conflicts}\n")
        row = f"{self.copy},narrow,{self.artist},Copied,,,violet"
        (self.library / "stems.csv").write_text(f"{CSV}{rows or row}\n")
        return self.report()

    def place(self, copy: str) -> None:
        """Rename the folder of the copy."""
        old = self.library / self.copy
        (self.library / copy).parent.mkdir(parents=True, exist_ok=True)
        old.rename(self.library / copy)
        self.copy = copy

    def report(self, **options: Any) -> IndexReport:
        with pytest.MonkeyPatch.context() as patch:
            use_quick_analysis(patch.setattr)
            return index_library(
                self.library,
                embedder=self.home.embedder,
                index=self.home.index,
                catalogue=self.home.catalogue,
                render=rights_world._hum,
                workers=0,
                **options,
            )

    def uses(self) -> set[Use]:
        rights = self.workspace.pipeline.rights()
        return {use for use in Use if rights.refusal(self.target, use) is None}

    def plan(self) -> Any:
        return self.workspace.plan("slow", references=(self.target.id,), seed=1, duration_s=4.0)

    def _write(self) -> None:
        super()._write()
        (self.library / "z").mkdir()
        shutil.copyfile(self.library / "target.wav", self.library / self.copy)
        (self.library / "library.toml").write_text(TOML + NARROW)
        row = f"{self.copy},narrow,{self.artist},Copied,,,violet"
        (self.library / "stems.csv").write_text(f"{CSV}{row}\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contested]:
    found = Contested(tmp_path_factory.mktemp("conflicts"))
    yield found
    found.workspace.close()


@pytest.fixture
def world(made: Contested, monkeypatch: pytest.MonkeyPatch) -> Contested:
    """As it was indexed first: nobody has decided, nothing is revoked."""
    opened_by(monkeypatch, made.workspace, rights, generate, library, trace)
    for revocation in made.home.catalogue.revocations():
        made.home.catalogue.end_revocation(revocation)
    if made.copy != Contested.copy:
        made.place(Contested.copy)
    made.artist = Contested.artist
    made.decide()
    made.report(prune=True)
    made.watermarker.heard = None
    return made


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def made_output(world: Contested, out: Path) -> LedgerEntry:
    (result,) = world.workspace.generate(
        "slow", out, references=(world.target.id,), seed=1, duration_s=4.0
    )
    entry = world.home.ledger.find(result.record.output)
    assert entry is not None
    return entry


@pytest.mark.parametrize("copy", ["0/copy.wav", "z/copy.wav"])
def test_the_strictest_license_holds_wherever_the_copy_lies(world: Contested, copy: str) -> None:
    world.place(copy)
    world.decide()
    world.report(prune=True)
    assert world.uses() == {Use.PROMPT}
    plan = world.plan()
    assert plan.seed_parts == ()
    assert any("claimed under small/narrow and small/target" in note for note in plan.notes)
    assert {license.id for license in plan.licenses} == {"target", "narrow"}
    with pytest.raises(RequestRefused, match=r"narrow does not grant init_audio"):
        world.workspace.plan("slow", references=(world.target.id,), channels=[Channel.INIT])
    styled = world.workspace.pipeline.policy().licensed
    assert TARGET_ARTIST in styled, "the score of the same artist is under one license"
    (document,) = world.report().to_json()["conflicts"]
    assert {one["path"]: one["holder"] for one in document["claims"]} == {
        copy: "Narrow Holder",
        "target.wav": "Target Holder",
    }
    assert document["granted"] == ["prompt"]
    assert copy in document["decide"] or "target.wav" in document["decide"]


def test_the_index_report_and_the_library_show_conflicts(
    world: Contested, capsys: pytest.CaptureFixture[str]
) -> None:
    report = world.report()
    show_report(report)
    printed = capsys.readouterr().out
    for word in ("z/copy.wav", "target.wav", "(Narrow Holder", "the strictest of", "[conflicts]"):
        assert word in printed
    document = said(capsys, "library")
    assert document["conflicts"] == [dict(one) for one in report.conflicts]
    rows = {row["license"]: row for row in document["licenses"]}
    assert (rows["narrow"]["stems"], rows["narrow"]["contested_stems"]) == (1, 1)
    assert (rows["target"]["stems"], rows["target"]["contested_stems"]) == (2, 1)
    assert run(["library"]) == 0
    assert "several licenses" in capsys.readouterr().out


def test_a_person_decides_in_library_toml(world: Contested) -> None:
    report = world.decide('"z/*.wav" = "target"')
    assert report.indexed == 0, "a decision is read without embedding anything"
    assert world.uses() == set(Use) - {Use.TRAIN}
    assert [part.reference for part in world.plan().seed_parts] == [0]
    assert world.plan().held_by == ()
    (document,) = report.to_json()["conflicts"]
    assert (document["decided"], document["decide"]) == (True, "")
    world.decide('"target.wav" = "narrow"')
    assert world.uses() == {Use.PROMPT}
    plan = world.plan()
    assert [license.id for license in plan.licenses] == ["narrow"]
    (point, *_) = world.home.index.find_stem(world.target.id)
    assert point.segment.stem.license == "narrow"
    world.decide()
    assert len(world.plan().licenses) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('"target.wav" = "narow"', "did you mean 'narrow'?"),
        ('"target.wav" = 5', "must be text, got 5"),
        ('target.wav = "narrow"', "needs quotes"),
        ('"target.wav" = "good"', "under license 'small/good'"),
        ('"nowhere.wav" = "narrow"', "'nowhere.wav' matches no licensed file"),
        ('"/target.wav" = "narrow"', "is absolute"),
        ('"target.wav" = "a b/narrow"', "is not library/license"),
    ],
)
def test_a_decision_that_cannot_count_is_reported_and_the_strictest_holds(
    world: Contested, line: str, fault: str
) -> None:
    report = world.decide(line)
    (told,) = [one.reason for one in report.rejected if one.path == "library.toml"]
    assert fault in told
    assert "\n" not in told
    assert world.uses() == {Use.PROMPT}


def test_everything_that_is_said_of_an_output_names_every_holder(
    world: Contested, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entry = made_output(world, tmp_path / "out.wav")
    (source,) = entry.record.sources
    assert set(source.holders) == {"Target Holder", "Narrow Holder"}
    assert record_from_json(parse(canonical(record_to_json(entry.record)))) == entry.record
    for option in (["--license", "narrow"], ["--license", "small/target"],
                   ["--holder", "narrow holder"], ["--holder", "target holder"]):  # fmt: skip
        found = said(capsys, "outputs", *option)["outputs"]
        (own,) = [one for one in found if one["output"] == entry.record.output]
        names = [own["sources"][0], *own["sources"][0]["also"]]
        assert {one["holder"] for one in names} == {"Target Holder", "Narrow Holder"}
    assert world.home.ledger.verify() == []
    comment = soundfile.SoundFile(tmp_path / "out.wav").comment
    assert "Narrow Holder material" in comment
    assert "Target Holder material" in comment
    traced = world.workspace.trace(tmp_path / "out.wav")
    (told,) = traced.to_json()["sources"]
    assert {told["holder"], *(one["holder"] for one in told["also"])} == set(source.holders)
    page = report_html(traced, "out.wav", datetime.now(UTC))
    assert "Narrow Holder" in page
    assert "Target Holder" in page
    plan = world.plan()
    claim = ClaimedOutput(1, plan, world.generator.info, None, 4.0)
    manifest = json.dumps(make_manifest(claim, "audio/wav", "notAllowed"))
    assert "Narrow Holder" in manifest
    assert "Target Holder" in manifest


def test_a_report_gives_undecided_shares_to_nobody_and_counts_them_once(
    world: Contested, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    days = ["--from", "2020-01-01", "--to", "2099-12-31"]
    before = said(capsys, "report", *days)
    entry = made_output(world, tmp_path / "out.wav")
    used = entry.record.sources[0].influence.used[Channel.PROMPT]
    assert used > 0
    document = said(capsys, "report", *days)
    rows = [row for row in document["rows"] if row["output"] == entry.record.output]
    assert {row["holder"] for row in rows} == {"Target Holder", "Narrow Holder"}
    assert all(row["undecided"] and row["share_prompt"] == 0 for row in rows)
    old = before.get("undecided", [])
    (group,) = document["undecided"]
    gained = group["master"]["prompt"] - (old[0]["master"]["prompt"] if old else 0.0)
    assert gained == pytest.approx(used, abs=1e-6)
    assert group["holders"] == ["Narrow Holder", "Target Holder"]

    def decided(report: dict[str, Any]) -> float:
        return sum(one["master"]["prompt"] for one in report["holders"])

    assert decided(document) == pytest.approx(decided(before))


@pytest.mark.parametrize("target", ["small/narrow", "small/target"])
def test_revoking_one_copy_says_that_the_other_is_not_usable_either(
    world: Contested, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    document = said(capsys, "revoke", "--license", target)
    assert world.target.id in {stem["stem"] for stem in document["stems"]}
    (copy,) = document["copies"]
    other = "target.wav" if target == "small/narrow" else "z/copy.wav"
    assert [one["path"] for one in copy["copies"]] == [other]
    assert (copy["usable"], copy["granted"]) == (False, [])
    assert "not usable" in copy["says"]
    assert "[conflicts]" in copy["says"]
    assert world.uses() == set()
    assert world.home.index.find_stem(world.target.id) == []
    with pytest.raises(RequestRefused, match="revoked"):
        world.plan()
    assert run(["revoke", "--license", target]) == 0
    assert f"small: {other}" in capsys.readouterr().out
    world.report()
    assert world.home.index.find_stem(world.target.id) == [], "indexing does not bring it back"
    undone = said(capsys, "revoke", "--license", target, "--undo")
    assert undone["copies"][0]["granted"] == ["prompt"]


def test_a_copy_that_a_decision_keeps_stays_usable_when_the_other_is_revoked(
    world: Contested, capsys: pytest.CaptureFixture[str]
) -> None:
    world.decide('"z/copy.wav" = "target"')
    document = said(capsys, "revoke", "--license", "narrow")
    (copy,) = document["copies"]
    assert copy["usable"]
    assert "usable under small/target" in copy["says"]
    assert document["purged"]["segments"] == 0
    assert world.uses() >= {Use.PROMPT, Use.INIT_AUDIO}
    world.report()
    assert world.home.index.find_stem(world.target.id) != []


def test_a_renamed_folder_keeps_its_decision_when_a_copy_was_revoked(world: Contested) -> None:
    world.decide('"*/copy.wav" = "target"')
    world.revoke(RevocationOf.LICENSE, "small/narrow")
    world.place("0/copy.wav")
    world.decide('"*/copy.wav" = "target"')
    report = world.report(prune=True)
    assert not [one for one in report.rejected if "revoked" in one.reason]
    assert world.uses() >= {Use.PROMPT, Use.INIT_AUDIO}
    assert world.home.index.find_stem(world.target.id) != []


def test_revoking_a_stem_names_its_copies(
    world: Contested, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy,) = said(capsys, "revoke", "--stem", world.target.id)["copies"]
    assert {one["path"] for one in copy["copies"]} == {"z/copy.wav", "target.wav"}
    assert not copy["usable"]
    assert "the same bytes" in copy["says"]


def test_two_artists_for_the_same_bytes(
    world: Contested, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    world.artist = "Paper Moth Quartet"
    world.decide('"**/*.wav" = "target"', rows=f"{world.copy},target,{world.artist},,,,")
    assert world.uses() == {Use.PROMPT, Use.INIT_AUDIO}
    policy = world.workspace.pipeline.policy()
    assert world.artist not in policy.licensed
    assert world.artist in policy.protected
    entry = made_output(world, tmp_path / "out.wav")
    assert entry.record.sources[0].holders == ("Target Holder",)
    for artist in (TARGET_ARTIST, world.artist):
        found = said(capsys, "outputs", "--artist", artist)["outputs"]
        assert entry.record.output in [one["output"] for one in found]
    document = said(capsys, "revoke", "--artist", world.artist)
    assert world.target.id in {stem["stem"] for stem in document["stems"]}
    assert world.uses() == set()


def test_a_copy_whose_license_ended_binds_and_pruning_it_frees_the_other(
    world: Contested,
) -> None:
    ended = NARROW + "valid_until = 2020-12-31\n"
    report = world.decide(licenses=ended)
    assert "z/copy.wav" in {one.path for one in report.rejected}
    assert world.uses() == set()
    assert report.conflicts, "the report says why"
    world.report()
    assert world.uses() == set(), "a second run does not forget it"
    world.decide('"target.wav" = "target"', licenses=ended)
    assert Use.INIT_AUDIO in world.uses()
    world.decide(licenses=ended)
    (world.library / world.copy).rename(world.library.parent / "away.wav")
    world.report()
    assert world.uses() == set(), "what is gone counts until it is pruned"
    world.report(prune=True)
    assert world.uses() == {Use.PROMPT, Use.INIT_AUDIO, Use.STYLE}
    (world.library.parent / "away.wav").rename(world.library / world.copy)


@pytest.mark.parametrize(
    ("license", "licenses"),
    [
        ("narow", NARROW),
        ("narrow", NARROW.replace("uses", "use")),
        ("narrow", NARROW.replace('["prompt"]', "[]")),
        ("narrow", ""),
    ],
)
def test_a_license_that_cannot_be_used_does_not_free_the_other_copy(
    world: Contested, license: str, licenses: str
) -> None:
    report = world.decide(licenses=licenses, rows=f"{world.copy},{license},{TARGET_ARTIST},,,,")
    assert world.copy in {one.path for one in report.rejected}
    assert world.uses() == set()
    world.decide(f'"{world.copy}" = "target"', licenses=licenses,
                 rows=f"{world.copy},{license},{TARGET_ARTIST},,,,")  # fmt: skip
    assert Use.INIT_AUDIO in world.uses()


def test_a_copy_that_nobody_licenses_claims_nothing(world: Contested) -> None:
    world.decide(rows=f"{world.copy},,,,,,")
    assert world.uses() == {Use.PROMPT, Use.INIT_AUDIO, Use.STYLE}


def test_a_copy_too_near_is_judged_by_the_smallest_limit(world: Contested) -> None:
    limits = world.workspace.pipeline.clearance().limits
    assert limits[world.target.id] == 0.5
    world.decide('"z/copy.wav" = "target"')
    assert world.workspace.pipeline.clearance().limits[world.target.id] == 1.0


def test_a_revocation_of_the_copy_s_license_is_seen_in_a_trace(
    world: Contested, tmp_path: Path
) -> None:
    made_output(world, tmp_path / "out.wav")
    world.revoke(RevocationOf.LICENSE, "small/narrow")
    (told,) = world.workspace.trace(tmp_path / "out.wav").to_json()["sources"]
    assert told["revoked"] is True

"""Homes of earlier versions, their backups and what they delivered: all open, verify and trace."""

from __future__ import annotations

import json
import lzma
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run as command
from rag_audio.domain import Use
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.signing import CredentialState
from rag_audio.errors import RequestRefused
from rag_audio.pipeline.workspace import Workspace, open_workspace
from rag_audio.provenance.ledger.commitments import seal, unseal
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.records import canonical, parse
from rag_audio.service.tables import SqlOwners
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.tampered import Copy

HERE = Path(__file__).parent
HOMES = sorted(one.name for one in HERE.iterdir() if (one / "facts.json").exists())


@pytest.fixture(scope="module", params=HOMES)
def version(request: pytest.FixtureRequest) -> str:
    """The version that made the home."""
    return str(request.param)


@pytest.fixture(scope="module")
def facts(version: str) -> dict[str, Any]:
    """What it told, with ``--json``."""
    found: dict[str, Any] = json.loads((HERE / version / "facts.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def golden(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delivered files, and the backup as the version wrote it."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(HERE / version / "delivered.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with (
        lzma.open(HERE / version / "backup.tar.xz") as packed,
        (folder / "backup.tar").open("wb") as out,
    ):
        shutil.copyfileobj(packed, out, 2**20)
    return folder


@pytest.fixture(scope="module")
def home(golden: Path) -> Path:
    """The home, restored by this version."""
    home = golden / "home"
    assert command(["restore", str(golden / "backup.tar"), "--home", str(home), "--yes"]) == 0
    return home


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with open_workspace(home) as opened:
        yield opened


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert command([*words, "--json"]) == code, capsys.readouterr()
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_ledger_verifies_with_the_same_root(
    home: Path, golden: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any]
) -> None:
    checkpoint = golden / "delivered/published/checkpoint"
    found = run(capsys, "ledger", "verify", "--home", str(home), "--against", str(checkpoint))
    assert found["faults"] == [] and found["ok"]
    was = facts["verify"]
    assert {name: found[name] for name in ("key", "erased")} == {
        name: was[name] for name in ("key", "erased")
    }
    with open_workspace(home) as workspace:
        ledger = workspace.home.ledger
        assert ledger.root(was["entries"]) == was["root"]
        known = ledger.events()
        later = [event for event in known if event.seq > was["entries"]]
        libraries = {one.id for one in workspace.home.catalogue.libraries()}
    # Other tests of this home may have logged more after the restore.
    places = [place for place, event in enumerate(later, 1) if event.kind == "restore"]
    added = later[: places[0]]
    assert [event.seq for event in added] == [was["entries"] + i + 1 for i in range(len(added))]
    # The restore, and before it what migrations log where the version itself did not.
    assert {event.kind for event in added} <= {"access", "library", "restore"}
    assert {event.document["key"] for event in known if event.kind == "access"} == {
        key["id"] for key in facts["served"]["keys"]
    }
    assert {one.document["library"] for one in known if one.kind == "library"} >= libraries
    assert added[-1].kind == "restore"
    (restored,) = found["restores"]
    assert (restored["seq"], restored["entries"]) == (added[-1].seq, was["entries"])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE files SET artist = 'Somebody Else' WHERE path = 'b-quarn.mid'",
        "UPDATE licenses SET license = replace(license, '[', '[\"train\", ')",
        "UPDATE revocations SET ended_at = '2026-01-01', ended_by = 'x' WHERE ended_at IS NULL",
        "DELETE FROM conflicts",
    ],
)
def test_rights_of_then_cannot_be_changed_unseen(home: Path, tmp_path: Path, change: str) -> None:
    with open_workspace(home) as workspace:
        assert workspace.home.ledger.verify() == []
    with (
        closing(sqlite3.connect(home / "ledger.db")) as was,
        closing(sqlite3.connect(tmp_path / "ledger.db")) as db,
    ):
        was.backup(db)
        assert db.execute(change).rowcount > 0
        db.commit()
    assert SqlLedger(connect(sqlite_url(tmp_path / "ledger.db"))).verify() != []


def test_an_export_of_then_verifies_and_one_of_now_has_the_same_bytes(
    home: Path,
    golden: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    facts: dict[str, Any],
) -> None:
    old = golden / "delivered/ledger.jsonl"
    key = str(facts["verify"]["key"])
    assert run(capsys, "ledger", "verify", "--export", str(old), "--key", key)["ok"]
    again = tmp_path / "ledger.jsonl"
    run(capsys, "ledger", "export", str(again), "--home", str(home))
    entries = [line for line in old.read_text().splitlines() if '"seq"' in line]
    assert entries and set(entries) <= set(again.read_text().splitlines())


def test_a_proof_is_the_same(
    home: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any]
) -> None:
    output = str(facts["mp3"]["output"])
    found = run(capsys, "ledger", "proof", output, "--home", str(home), "--size",
                str(facts["proof"]["size"]))  # fmt: skip
    stays = {name: value for name, value in facts["proof"].items() if name != "checkpoint"}
    assert {name: found[name] for name in stays} == stays


def test_a_delivered_file_is_traced_to_the_same_sources(
    home: Path, golden: Path, facts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, was in facts["trace"].items():
        found = run(capsys, "trace", str(golden / "delivered" / name), "--home", str(home))
        for same in ("found", "by", "output", "created", "model", "transplanted"):
            assert found[same] == was[same], (name, same)
        keys = ("stem", "title", "artist", "holder", "license", "used", "causal", "similar")
        assert [{key: one[key] for key in keys} for one in found["sources"]] == [
            {key: one[key] for key in keys} for one in was["sources"]
        ], name
        assert found["proof"]["leaf_hash"] == was["proof"]["leaf_hash"], name


def test_a_cropped_copy_is_traced_by_its_mark(
    home: Path, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import soundfile

    samples, rate = soundfile.read(golden / "delivered/zoe.mp3", always_2d=True)
    cropped = tmp_path / "cropped.wav"
    soundfile.write(cropped, samples[rate // 2 : 5 * rate], rate)
    found = run(capsys, "trace", str(cropped), "--home", str(home))
    assert (found["found"], found["by"], found["output"]) == (True, "watermark", 1)


def test_the_signature_of_a_file_still_holds(home: Path, golden: Path) -> None:
    with open_workspace(home) as opened:
        for name in ("zoe.mp3", "slash.wav", "signs.flac"):
            credentials = opened.home.credentials_of(golden / "delivered" / name)
            assert credentials is not None and credentials.state is CredentialState.TRUSTED, name


def test_every_record_and_plan_is_read_and_written_with_the_same_bytes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        rows = db.execute(
            "SELECT e.document, p.salt, p.texts FROM ledger_entries e "
            "LEFT JOIN ledger_private p ON p.seq = e.seq WHERE e.kind = 'output'"
        ).fetchall()
    read = 0
    for document, salt, texts in rows:
        record, erased = unseal(parse(document), texts)
        if erased:
            continue
        monkeypatch.setattr("secrets.token_bytes", lambda size, salt=salt: salt)
        sealed = seal(record, json.loads(texts).get("/owner"))
        again = parse(sealed.document)
        if "owner" not in parse(document):  # 17e3f1b did not say whose an output is
            assert again.pop("owner") is None
        assert (canonical(again), sealed.texts) == (document, texts)
        plan = plan_from_json(record.plan)
        assert canonical(plan_to_json(plan)) == canonical(record.plan)
        read += 1
    assert read >= 8


def test_what_credentials_say_is_the_same(
    home: Path, golden: Path, version: str, facts: dict[str, Any]
) -> None:
    kept = HERE / version / "documents.json.xz"
    if not kept.exists():
        pytest.skip("what this version read of credentials was not kept")
    told = json.loads(lzma.decompress(kept.read_bytes()))["credentials"]
    with open_workspace(home) as opened:
        for name, was in told.items():
            found = opened.home.credentials_of(golden / "delivered" / name)
            said = {field: getattr(found, field) for field in was}
            assert json.loads(json.dumps(said, default=dict)) == was, name


def test_a_report_has_the_same_rows(
    home: Path, golden: Path, tmp_path: Path, facts: dict[str, Any]
) -> None:
    was = golden / "delivered/report.csv"
    if not was.exists():
        pytest.skip("this version's report was not kept")
    out = tmp_path / "report.csv"
    words = ("report", "--from", facts["day"], "--to", facts["day"], "--format", "csv")
    assert command([*words, "--out", str(out), "--home", str(home)]) == 0
    assert out.read_bytes() == was.read_bytes()


def test_the_outputs_of_an_artist_are_the_same(
    home: Path, facts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for artist, told in facts["outputs"].items():
        found = run(capsys, "outputs", "--artist", artist, "--home", str(home))
        was = [
            one["output"]
            for one in told["outputs"]
            if artist
            in {source["artist"] for source in one["sources"]}  # ラウド was taken for ラウト
        ]
        assert [one["output"] for one in found["outputs"]] == was
        assert was


def test_the_index_is_searched_by_the_names_it_held_in_another_form(workspace: Workspace) -> None:
    for artist in ("Velda Quarn", "!!!", "$$$", "M.O.X.", "Ka/Vo"):
        found = workspace.search(artist=artist)
        assert {one.stem.artist for one in found} == {artist}
    assert {one.stem.artist for one in workspace.search(artist="VELDA quarn")} == {"Velda Quarn"}


def test_who_was_revoked_then_is_and_nobody_else(workspace: Workspace) -> None:
    stems = {stem.artist: stem for stem in workspace.home.catalogue.stems()}
    rights = workspace.pipeline.rights("DE")
    revoked = {artist for artist, stem in stems.items() if rights.is_revoked(stem)}
    assert revoked == {"ラウト", "Straße Nord"}, "ラウド was taken for ラウト, and is not any more"


def test_the_libraries_of_then_are_indexed_again_and_a_plan_is_renewed(
    home: Path, golden: Path, version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "home"
    shutil.copytree(home, own)
    found = run(capsys, "index", str(golden / "delivered/second"), "--home", str(own))
    assert (found["indexed"], found["updated"], found["skipped"]) == (0, 0, 1)
    found = run(capsys, "index", str(golden / "delivered/golden"), "--home", str(own))
    # Whose revocation was taken back, and whom 17e3f1b revoked in place of another.
    assert found["indexed"] + found["updated"] == (2 if version == "v17e3f1b" else 1)
    assert {one["path"] for one in found["rejected"]} == {"d-lout.mid", "i-street.mid"}
    text = (golden / "delivered/plan.json").read_text(encoding="utf-8")
    plan = plan_from_json(json.loads(text))
    with open_workspace(own) as workspace:
        for artist in ("Zoë Ñandú", "ラウド"):
            assert {one.stem.artist for one in workspace.search(artist=artist)} == {artist}
        _, renewed = workspace.renew(plan)
    assert renewed.enriched_prompt == plan.enriched_prompt
    assert [one.stem.id for one in renewed.references] == [one.stem.id for one in plan.references]


def test_style_is_refused_to_those_who_were_taken_for_others(workspace: Workspace) -> None:
    for artist in ("ラウド", "$$$", "M.O.X."):
        with pytest.raises(RequestRefused):
            workspace.plan("drums", artist=artist, duration_s=2.0)


def test_outputs_of_then_belong_to_the_keys_whose_jobs_made_them(
    workspace: Workspace, facts: dict[str, Any]
) -> None:
    owners = SqlOwners(workspace.home.database)
    for key, job in zip(facts["served"]["keys"], facts["served"]["jobs"], strict=True):
        made = [one["output"] for one in job["outputs"]]
        assert made and owners.outputs_of(key["id"]) == made
    assert owners.of(facts["mp3"]["output"]) is None, "made on the command line"


def test_the_same_bytes_under_two_licenses_are_held_by_the_strictest(workspace: Workspace) -> None:
    rights = workspace.pipeline.rights()
    ((id_, conflict),) = rights.conflicts.items()
    assert {claim.path for claim in conflict.claims} == {"b-quarn.mid", "copies/j-twin.mid"}
    for copy in workspace.home.catalogue.copies(id_):
        assert rights.refusal(copy, Use.PROMPT) is None
        assert rights.refusal(copy, Use.INIT_AUDIO) is not None
        assert rights.refusal(copy, Use.STYLE) is not None


@pytest.fixture(scope="module")
def database(home: Path) -> Copy:
    """Its database, brought up to date, to be tampered with."""
    with open_workspace(home) as opened:
        assert opened.home.ledger.verify() == []
        assert opened.home.fingerprints.index_new() > 0
        assert opened.home.ledger.verify() == []
    return Copy(home / "ledger.db")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE fingerprints SET duration_s = 3 WHERE output = 2", "lasts 3.0 s"),
        ("UPDATE fingerprints SET landmarks = x'00' WHERE output = 3", "is damaged"),
        ("UPDATE fingerprints SET output = 99 WHERE output = 3", "output 3 is missing"),
        ("DELETE FROM output_postings WHERE output = 1", "the landmarks of output 1"),
        (
            "UPDATE OR IGNORE output_postings SET output = 2 WHERE output = 3",
            "landmarks of output 2",
        ),
        ("UPDATE output_owners SET owner = ''", "was done for"),
        ("DELETE FROM output_owners", "was done for"),
        ("UPDATE jobs SET owner = ''", "was done for"),
        ("UPDATE jobs SET result = replace(result, '\"strength\":', '\"strength\":1')", "the job"),
        ("UPDATE api_keys SET libraries = 'null'", "is not as it was logged"),
        ("DELETE FROM api_keys", "is missing"),
        ("DELETE FROM ledger_entries WHERE seq = 15", "missing"),
        ("DROP TABLE output_postings", "the table output_postings is missing"),
    ],
)
def test_what_is_changed_in_it_now_is_found(database: Copy, statement: str, said: str) -> None:
    found = database.faults_after(statement)
    assert any(said in what for what in found), found

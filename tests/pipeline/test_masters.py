"""Unmarked masters: in a folder or a bucket, never written over, and removed after their time."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from rag_audio.cli.app import run
from rag_audio.domain import Audio, GenerationRequest
from rag_audio.domain.ports import Mark
from rag_audio.errors import BackendUnavailable, LedgerError
from rag_audio.guardrails import Inspection
from rag_audio.home import Home, master_key
from rag_audio.pipeline import backup
from rag_audio.pipeline.delivery import commit, stage
from rag_audio.pipeline.renderer import Take
from rag_audio.pipeline.retention import KeptMasters, masters_kept
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.settings import Settings, read_settings
from tests.provenance.builders import plan
from tests.provenance.material import INFO, sound
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.s3 import s3_away, s3_bucket, s3_server

DAY = 86_400.0


class Quieter:
    """A ``Watermarker`` that turns the sound down by a hair."""

    name = "quieter-1"

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        return replace(audio, samples=audio.samples * 0.999)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["home", "folder", "memory", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    if request.param == "s3":
        with s3_bucket(request.getfixturevalue("server")) as url:
            yield opened(tmp_path, f"{url}/label")
        return
    places = {
        "home": None,
        "folder": str(tmp_path / "nas"),
        "memory": f"memory://{uuid.uuid4().hex}",
    }
    yield opened(tmp_path, places[request.param])


def opened(tmp_path: Path, files: str | None) -> Home:
    settings = Settings(
        home=tmp_path / "home", device="cpu", signing="off", files=files, masters_keep_days=30
    )
    made = Home(settings)
    made.embedder, made.index, made.watermarker = FakeEmbedder(), FakeIndex(), Quieter()
    return made


def deliver(home: Home, target: Path) -> tuple[int, Audio]:
    made = plan(references=(), seed_parts=())
    take = Take(sound(2.0), 7, made, Inspection((), None))
    request = GenerationRequest("song")
    (result,) = commit(home, [stage(home, request, take, datetime.now(UTC), INFO, target)])
    return result.record.output, take.audio


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now = time.time() + days * DAY
    monkeypatch.setattr("rag_audio.pipeline.retention.time.time", lambda: now)


def test_the_master_is_the_sound_before_the_mark(home: Home, tmp_path: Path) -> None:
    number, made = deliver(home, tmp_path / "take.wav")
    master = home.master(number)
    assert master is not None
    np.testing.assert_array_equal(master.samples, made.samples)
    assert home.master(number + 1) is None
    is_here = (tmp_path / "home" / "masters" / f"{number}.wav").is_file()
    assert is_here == (home.settings.files is None)


def test_a_master_is_never_replaced(home: Home, tmp_path: Path) -> None:
    home.ledger = SqlLedger(home.database, home.folder / "keys" / "ledger.key")
    home.files.put(master_key(1), b"of another output")
    with pytest.raises(LedgerError, match="output 1 was used before"):
        deliver(home, tmp_path / "take.wav")
    with home.files.open(master_key(1)) as file:
        assert file.read() == b"of another output"
    assert list(tmp_path.glob("*take*")) == []


def test_a_master_that_came_meanwhile_is_not_replaced(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(home.files), "stat", lambda *_: None)
    home.files.put(master_key(1), b"of another output")
    with pytest.raises(LedgerError, match="output 1 was used before"):
        deliver(home, tmp_path / "take.wav")
    assert list(tmp_path.glob("*take*")) == [] and home.ledger.outputs() == []


def test_what_is_not_logged_has_no_master(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise BackendUnavailable("the disk is full")

    monkeypatch.setattr(home.ledger, "append_many", fail)
    with pytest.raises(BackendUnavailable):
        deliver(home, tmp_path / "take.wav")
    assert home.files.page("masters/") == []


def test_old_masters_go_but_for_those_in_use(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [deliver(home, tmp_path / f"{i}.wav")[0] for i in range(3)]
    size = home.files.page("masters/")[0].size
    assert masters_kept(home, remove=True) == KeptMasters(3, 3 * size)
    later(monkeypatch, 29.9)
    assert masters_kept(home, remove=True).removed == 0
    later(monkeypatch, 30.1)
    assert masters_kept(home) == KeptMasters(3, 3 * size, old=3)
    found = masters_kept(home, numbers[1:2], remove=True)
    assert found == KeptMasters(1, size, removed=2, old=1, in_use=1)
    assert [home.master(number) is None for number in numbers] == [True, False, True]
    assert [home.master_was_removed(number) for number in numbers] == [True, False, True]
    assert masters_kept(home, numbers[1:2], remove=True) == found


def test_without_a_rule_all_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(Settings(home=tmp_path / "home"))
    home.files.put(master_key(1), b"RIFF")
    later(monkeypatch, 36_500)
    assert masters_kept(home, remove=True) == KeptMasters(1, 4)


def test_the_number_of_a_removed_master_is_not_given_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is put back as it was before the output, long after its master went."""
    home.catalogue.libraries()
    database = tmp_path / "home" / "ledger.db"
    home.database.dispose()
    before = database.read_bytes()
    number, _ = deliver(home, tmp_path / "take.wav")
    later(monkeypatch, 31)
    assert masters_kept(home, remove=True).removed == 1
    home.close()
    database.write_bytes(before)
    for ending in ("-wal", "-shm"):
        database.with_name(f"ledger.db{ending}").unlink(missing_ok=True)
    again, _ = deliver(home, tmp_path / "again.wav")
    assert again != number


def test_an_output_is_not_delivered_without_its_master(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    with s3_away():
        home = opened(tmp_path, "s3://bucket/label")
        with pytest.raises(BackendUnavailable, match="s3://bucket/label cannot be used"):
            deliver(home, tmp_path / "take.wav")
    assert list(tmp_path.glob("*take*")) == [] and home.ledger.outputs() == []


def test_a_backup_says_what_lies_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    deliver(opened(tmp_path, None), tmp_path / "take.wav")
    archive = tmp_path / "home.tar"
    backup.create(home, archive)
    monkeypatch.setenv("RAG_AUDIO_FILES", str(tmp_path / "nas"))
    assert run(["backup", str(tmp_path / "b.tar"), "--home", str(home), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["warnings"]
    assert any(f"{tmp_path / 'nas'} (RAG_AUDIO_FILES) is not archived" in line for line in said)
    assert run(["restore", str(archive), "--home", str(tmp_path / "new"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["warnings"]
    assert any(f"copy {tmp_path / 'new' / 'masters'} to" in line for line in said)


def test_the_command_counts_and_removes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(tmp_path, None)
    made.catalogue.libraries()
    for number in (1, 2):
        made.files.put(master_key(number), bytes(100))
    os.utime(tmp_path / "home" / "masters" / "1.wav", (1, 1))
    arguments = ["masters", "--home", str(tmp_path / "home"), "--json"]
    assert run([*arguments, "--prune"]) == 2
    assert "RAG_AUDIO_MASTERS_KEEP_DAYS" in capsys.readouterr().out
    monkeypatch.setenv("RAG_AUDIO_MASTERS_KEEP_DAYS", "30")
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "place": str(tmp_path / "home"), "keep_days": 30,
        "kept": 2, "size": 200, "removed": 0, "old": 1, "in_use": 0,
    }  # fmt: skip
    assert run([*arguments, "--prune"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kept"], found["removed"]) == (1, 1)


def test_a_place_is_a_whole_path_or_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_AUDIO_FILES", "nas/files")
    with pytest.raises(Exception, match="RAG_AUDIO_FILES: 'nas/files' is neither an absolute"):
        read_settings(home=tmp_path)
    monkeypatch.setenv("RAG_AUDIO_FILES", "")
    assert read_settings(home=tmp_path).files is None

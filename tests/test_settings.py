"""Settings: the command line before the environment before the home's file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rag_audio
from rag_audio.cli.app import run
from rag_audio.errors import ConfigError
from rag_audio.pipeline import backup
from rag_audio.settings import Settings, read_settings, shown

VALUES: dict[str, tuple[Any, Any, Any]] = {
    "territory": ("DE", "FR", "US"),
    "retries": (2, 3, 4),
    "contact": ("a", "b", "c"),
    "device": ("cpu", "cuda", "mps"),
    "low_memory": (True, False, True),
    "training_mining": ("allowed", "constrained: X", "notAllowed"),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("RAG_AUDIO_"):
            monkeypatch.delenv(name)
    made = tmp_path / "home"
    made.mkdir()
    return made


def write(home: Path, text: str, mode: int = 0o600) -> Path:
    file = home / "settings.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


places = st.fixed_dictionaries(
    {name: st.frozensets(st.sampled_from(["file", "environment", "call"])) for name in VALUES}
)


@given(places)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_call_wins_over_the_environment_and_that_over_the_file(
    home: Path, where: dict[str, frozenset[str]]
) -> None:
    own = {name: VALUES[name][0] for name, found in where.items() if "file" in found}
    file = write(home, "".join(f"{name} = {json.dumps(value)}\n" for name, value in own.items()))
    call = {name: VALUES[name][2] for name, found in where.items() if "call" in found}
    with pytest.MonkeyPatch.context() as patch:
        for name, found in where.items():
            if "environment" in found:
                patch.setenv(f"RAG_AUDIO_{name.upper()}", str(VALUES[name][1]))
        read = read_settings(home=home, **call)
    for name, found in where.items():
        wanted: tuple[Any, str] = (Settings.model_fields[name].default, "default")
        if "file" in found:
            wanted = (VALUES[name][0], str(file))
        if "environment" in found:
            wanted = (VALUES[name][1], f"RAG_AUDIO_{name.upper()}")
        if "call" in found:
            wanted = (VALUES[name][2], f"--{name}")
        assert (getattr(read, name), read.origin_of(name)) == wanted


def test_the_home_of_the_environment_has_its_file_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, 'territory = "de"\n')
    monkeypatch.setenv("RAG_AUDIO_HOME", str(home))
    assert read_settings().territory == "DE"
    assert read_settings(home=home.parent / "other").territory is None
    monkeypatch.setenv("RAG_AUDIO_TERRITORY", "")
    assert read_settings().territory is None
    with rag_audio.open(home, territory="FR") as workspace:
        assert workspace.home.territory == "FR"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ('teritory = "DE"', "there is no setting 'teritory'", "did you mean territory?"),
        ('RAG_AUDIO_TERRITORY = "DE"', "no setting 'RAG_AUDIO_TERRITORY'", "mean territory?"),
        ('home = "/tmp"', "home cannot be set in the home itself", "--home"),
        ('territory = "Germany"', "territory = 'Germany': 'Germany' is not an ISO", ""),
        ("territory = 49", "territory = 49: Input should be a valid string", ""),
        ("retries = 9", "retries = 9: Input should be less than or equal to 5", ""),
        ('[territory]\nde = "DE"', "territory = {'de': 'DE'}: Input should be", ""),
        ("territory =", "is not TOML", 'territory = "DE"'),
        ("territory = 'D\xffE'", "is not TOML", "NAME = VALUE"),
    ],
)
def test_a_fault_in_the_file_is_one_line_that_names_it(
    home: Path, text: str, said: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "settings.toml"
    file.write_bytes(text.encode("latin-1"))
    assert run(["artists", "--home", str(home)]) == 2
    first, *more = capsys.readouterr().err.splitlines()
    assert first.startswith(f"rag-audio: {file}") and said in first
    assert hint in " ".join(more) and len(more) <= 1
    assert not (home / "ledger.db").exists()


def test_a_secret_needs_a_private_file_and_is_never_shown(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'qdrant_api_key = "s3cr3t"\nterritory = "DE"\n'
    file = write(home, text, 0o640)
    with pytest.raises(ConfigError, match="qdrant_api_key is a secret") as refused:
        read_settings(home=home)
    assert "chmod 600" in refused.value.hint and "s3cr3t" not in str(refused.value)
    write(home, text)
    read = read_settings(home=home)
    assert read.qdrant_api_key is not None
    assert read.qdrant_api_key.get_secret_value() == "s3cr3t"
    assert "s3cr3t" not in json.dumps(shown(read)) + repr(read)
    write(home, "qdrant_api_key = 5\n")
    with pytest.raises(ConfigError) as wrong:
        read_settings(home=home)
    assert str(file) in wrong.value.message and "5" not in wrong.value.message.partition("key")[2]
    write(home, 'territory = "DE"\n', 0o644)
    assert read_settings(home=home).territory == "DE"


def test_a_relative_file_is_looked_for_in_the_home(home: Path) -> None:
    write(home, f'policy = "lists/more.csv"\nsoundfont = "{home}/x.sf2"\n')
    read = read_settings(home=home)
    assert (read.policy, read.soundfont) == (home / "lists" / "more.csv", home / "x.sf2")


def test_doctor_says_where_each_value_comes_from(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(home, 'territory = "DE"\ncontact = "file"\n')
    monkeypatch.setenv("RAG_AUDIO_CONTACT", "rights@example.org")
    run(["doctor", "--home", str(home), "--json"])
    found = json.loads(capsys.readouterr().out)["settings"]
    assert found["territory"] == {"value": "DE", "from": str(file)}
    assert found["contact"] == {"value": "rights@example.org", "from": "RAG_AUDIO_CONTACT"}
    assert found["home"]["from"] == "--home"


def test_a_restored_home_keeps_its_settings_and_says_which(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home, 'territory = "DE"\ndatabase_url = "sqlite:////tmp/x.db"\n')
    archive, back = tmp_path / "home.tar", tmp_path / "back"
    backup.create(home, archive)
    capsys.readouterr()
    assert run(["restore", str(archive), "--home", str(back), "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any("database_url, territory" in line for line in warnings)
    assert any("RAG_AUDIO_DATABASE_URL" in line for line in warnings)
    assert read_settings(home=back).territory == "DE"
    assert (back / "settings.toml").stat().st_mode & 0o777 == 0o600


def test_the_scheme_of_a_url_has_no_case(tmp_path: Path) -> None:
    loud = "HTTPS://tsa.example/"
    assert read_settings(home=tmp_path, timestamp_url=loud).timestamp_url == loud


def test_a_setting_of_the_qdrant_server_that_is_empty_is_as_if_it_were_not_set(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLLECTION", "SHARDS", "REPLICATION_FACTOR", "TIMEOUT_S"):
        monkeypatch.setenv(f"RAG_AUDIO_QDRANT_{name}", "")
    monkeypatch.setenv("RAG_AUDIO_QDRANT_WRITE_CONSISTENCY_FACTOR", "0")
    with pytest.raises(ConfigError, match="RAG_AUDIO_QDRANT_WRITE_CONSISTENCY_FACTOR"):
        read_settings(home=home)
    monkeypatch.setenv("RAG_AUDIO_QDRANT_WRITE_CONSISTENCY_FACTOR", "")
    found = read_settings(home=home)
    assert (found.qdrant_collection, found.qdrant_timeout_s) == ("rag-audio", 10)
    assert (found.qdrant_shards, found.qdrant_replication_factor) == (None, None)
    assert found.qdrant_write_consistency_factor is None

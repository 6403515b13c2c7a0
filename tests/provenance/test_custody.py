"""The keys of homes that share a database: one of each, whoever comes first."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from rag_audio.cli.app import run
from rag_audio.errors import ConfigError, InvalidInput
from rag_audio.home import open_home
from rag_audio.provenance.credentials.given_keys import put_given_keys
from rag_audio.provenance.credentials.watermark_keys import (
    declare_lost,
    key_notes,
    load_or_create,
    require_keys,
    rotate,
    rotate_watermark,
    states_of,
    watermark_keys,
)
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.settings import Settings
from rag_audio.storage.database import connect, sqlite_url
from tests.provenance.builders import record


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = (
        sqlite_url(tmp_path / "shared.db")
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    made = connect(url)
    yield made
    made.dispose()


def test_the_first_home_brings_the_key_and_others_are_refused(
    engine: Engine, tmp_path: Path
) -> None:
    one, two, three = (tmp_path / name / "keys" for name in ("one", "two", "three"))
    first, _ = watermark_keys(engine, one)
    assert watermark_keys(engine, one)[0] == first, "asked again"
    with pytest.raises(ConfigError, match=r"watermark key is [0-9a-f]{12}…, and .* is not there"):
        watermark_keys(engine, two)
    assert not two.exists(), "no key is made that fits nothing"
    other = load_or_create(three / "watermark.key")
    with pytest.raises(ConfigError, match=r"watermark key is .* holds") as refused:
        watermark_keys(engine, three)
    assert "\n" not in refused.value.message and "copy keys/watermark.key*" in str(
        refused.value.hint
    )
    assert (three / "watermark.key").read_bytes() == other
    shutil.copytree(one, two)
    assert watermark_keys(engine, two)[0] == first
    ledger = SqlLedger(engine)
    (event,) = ledger.events("key")
    assert event.document["state"] == "in use" and event.document["purpose"] == "watermark"
    assert first.hex() not in str(event.document)
    assert ledger.verify() == []


def test_whoever_comes_at_once_ends_with_one_key(engine: Engine, tmp_path: Path) -> None:
    SqlLedger(engine)

    def come(name: str) -> bytes | None:
        try:
            return watermark_keys(engine, tmp_path / name)[0]
        except ConfigError:
            return None

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(come, ["a", "b", "c"] * 2))
    assert len({key for key in found if key}) == 1
    assert len(SqlLedger(engine).events("key")) == 1
    assert sum((tmp_path / name).exists() for name in "abc") == 1


def test_a_rotation_is_known_to_the_database(engine: Engine, tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "keys", tmp_path / "two" / "keys"
    old, _ = watermark_keys(engine, one)
    shutil.copytree(one, two)
    kept = rotate_watermark(engine, one)
    new, retired = watermark_keys(engine, one)
    assert new != old and retired == (old,) and kept.read_bytes() == old
    assert states_of(engine, one) == {"watermark.key": "in use", "watermark.key.1": "retired"}
    with pytest.raises(ConfigError, match="holds"):
        watermark_keys(engine, two)
    with pytest.raises(ConfigError):
        rotate_watermark(engine, two)
    assert SqlLedger(engine, one / "ledger.key").verify() == []
    found = SqlLedger(engine, two / "ledger.key").verify()
    assert any("in use is missing" in fault.what for fault in found)
    assert any("not the database's" in fault.what for fault in found)


def test_a_rotation_that_broke_off_is_mended_by_the_next_use(
    engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "keys"
    watermark_keys(engine, folder)
    for _ in range(2):  # as an older version does, which tells the database nothing
        rotate(folder / "watermark.key")
    assert key_notes(engine, folder) == []
    watermark_keys(engine, folder)
    assert set(states_of(engine, folder).values()) == {"in use", "retired"}
    assert SqlLedger(engine, folder / "ledger.key").verify() == []


def test_keys_of_an_older_version_are_noted_when_they_are_next_used(
    engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "keys"
    for _ in range(3):
        rotate(folder / "watermark.key")
    assert SqlLedger(engine, folder / "ledger.key").verify() == []
    _, retired = watermark_keys(engine, folder)
    assert len(retired) == 3
    assert [event.document["state"] for event in SqlLedger(engine).events("key")] == [
        *["retired"] * 3,
        "in use",
    ]
    assert SqlLedger(engine, folder / "ledger.key").verify() == []


def test_missing_and_foreign_keys_are_found(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    watermark_keys(engine, folder)
    rotate_watermark(engine, folder)
    ledger = SqlLedger(engine, folder / "ledger.key")
    ledger.checkpoint()
    assert ledger.verify() == []
    old = (folder / "watermark.key.1").read_bytes()
    (folder / "watermark.key.1").unlink()
    (fault,) = ledger.verify()
    assert "that outputs up to entry 2 were marked with is missing from keys/" in fault.what
    assert watermark_keys(engine, folder)[1] == (), "new outputs can still be marked"
    (folder / "watermark.key.1").write_bytes(old)
    (folder / "watermark.key.7").write_bytes(secrets.token_bytes(32))
    (fault,) = ledger.verify()
    assert "watermark.key.7 holds the key" in fault.what
    (folder / "watermark.key.7").unlink()
    (folder / "ledger.key").unlink()
    (fault,) = ledger.verify()
    assert "the ledger key" in fault.what and "missing" in fault.what


def test_a_second_home_does_not_sign_with_another_key(engine: Engine, tmp_path: Path) -> None:
    one, two = (SqlLedger(engine, tmp_path / name / "ledger.key") for name in ("one", "two"))
    one.append(record(one.next_output_id()))
    note = one.checkpoint()
    with pytest.raises(ConfigError, match="the database's ledger key is"):
        two.checkpoint()
    assert not (tmp_path / "two").exists()
    assert two.verify([note], one.verifier_key()) != [], "its key is missing"
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "ledger.key", tmp_path / "two")
    assert two.checkpoint() == note and two.verify([note]) == []


def test_a_key_of_which_no_copy_is_left_is_declared_lost(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    watermark_keys(engine, folder)
    with pytest.raises(InvalidInput, match="is not lost"):
        declare_lost(engine, "watermark", folder)
    (folder / "watermark.key").unlink()
    with pytest.raises(ConfigError, match="is not there") as refused:
        watermark_keys(engine, folder)
    assert "keys lost watermark" in str(refused.value.hint)
    declare_lost(engine, "watermark", folder)
    watermark_keys(engine, folder)
    ledger = SqlLedger(engine, folder / "ledger.key")
    states = [event.document["state"] for event in ledger.events("key")]
    assert (states, ledger.verify()) == (["in use", "lost", "in use"], [])
    for purpose in ("ledger", "signing"):
        with pytest.raises(InvalidInput):
            declare_lost(engine, purpose, folder)


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM key_fingerprints WHERE state = 'retired'",
        "DELETE FROM key_fingerprints",
        "UPDATE key_fingerprints SET state = 'lost' WHERE state = 'retired'",
        "UPDATE key_fingerprints SET state = 'retired'",
        "UPDATE key_fingerprints SET purpose = 'other'",
        "UPDATE key_fingerprints SET fingerprint = lower(hex(randomblob(32))) "
        "WHERE state = 'in use'",
        "INSERT INTO key_fingerprints VALUES ('watermark', 'ab', 'lost')",
        "INSERT INTO key_fingerprints VALUES ('other', 'ab', 'in use')",
    ],
)
def test_an_edited_table_of_keys_is_found(tmp_path: Path, edit: str) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    watermark_keys(engine, tmp_path / "keys")
    rotate_watermark(engine, tmp_path / "keys")
    ledger = SqlLedger(engine)
    assert ledger.verify() == []
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        assert db.execute(edit).rowcount
        db.commit()
    assert any("table of keys" in fault.what for fault in ledger.verify())


def test_the_commands_say_in_one_line_which_key_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_AUDIO_DATABASE_URL", sqlite_url(tmp_path / "shared.db"))
    monkeypatch.setenv("RAG_AUDIO_SIGNING", "off")

    def said(*words: str, code: int = 0) -> dict[str, object]:
        capsys.readouterr()
        assert run([*words, "--json"]) == code
        document: dict[str, object] = json.loads(capsys.readouterr().out)
        return document

    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    said("watermark", "rotate", "--home", one)
    shown = said("keys", "--home", one)
    assert [(key["name"], key["database"]) for key in shown["keys"]] == [  # type: ignore[attr-defined]
        ("watermark.key", "in use"),
        ("watermark.key.1", "retired"),
    ]
    assert shown["problems"] == []
    error = said("watermark", "rotate", "--home", two, code=2)["error"]
    assert "watermark key is" in error["message"]  # type: ignore[index]
    out = str(tmp_path / "take.wav")
    error = said("generate", "piano", "--out", out, "--home", two, code=2)["error"]
    assert "watermark key is" in error["message"], "before anything is made"  # type: ignore[index]
    assert not (tmp_path / "two" / "keys" / "watermark.key").exists()
    (tmp_path / "one" / "keys" / "watermark.key.1").unlink()
    assert len(said("keys", "--home", one)["problems"]) == 1  # type: ignore[arg-type]
    faults = said("ledger", "verify", "--home", one, code=1)["faults"]
    assert "is missing from keys/" in str(faults)
    archive = str(tmp_path / "b.tar")
    assert "is missing from keys/" in str(said("backup", archive, "--home", one)["warnings"])
    (tmp_path / "one" / "keys" / "watermark.key").unlink()
    assert said("keys", "lost", "watermark", "--home", one)["state"] == "lost"


def encoded(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


def test_a_machine_with_another_key_is_refused_at_its_start(engine: Engine, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    require_keys(engine, one)
    SqlLedger(engine, one / "ledger.key").checkpoint()
    with pytest.raises(ConfigError, match=r"the database's watermark key is .* is not there"):
        require_keys(engine, two)
    assert not two.exists()
    two.mkdir()
    shutil.copy(one / "watermark.key", two)
    require_keys(engine, two)  # Its ledger key is asked for when it signs.
    (two / "ledger.key").write_bytes(secrets.token_bytes(32))
    with pytest.raises(ConfigError, match=r"the database's ledger key is .* holds"):
        require_keys(engine, two)
    require_keys(engine, one)


def test_keys_from_settings_make_a_machine_one_of_the_others(
    engine: Engine, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    require_keys(engine, one)
    rotate_watermark(engine, one)
    rotate_watermark(engine, one)
    ledger = SqlLedger(engine, one / "ledger.key")
    note = ledger.checkpoint()
    marks = watermark_keys(engine, one)
    said = Settings(
        home=tmp_path,
        watermark_key=SecretStr(encoded(marks[0], *marks[1])),
        ledger_key=SecretStr(encoded((one / "ledger.key").read_bytes())),
        webhook_key=SecretStr(encoded(b"w" * 32)),
    )
    for _ in range(2):
        put_given_keys(two, said)
    require_keys(engine, two)
    assert watermark_keys(engine, two) == marks
    other = SqlLedger(engine, two / "ledger.key")
    assert (other.checkpoint(), other.verify()) == (note, [])
    assert (two / "webhook-secrets.key").read_bytes() == b"w" * 32
    assert (two / "watermark.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["watermark_key", "ledger_key", "webhook_key"])
def test_a_key_that_cannot_be_used_is_one_line_without_it(tmp_path: Path, name: str) -> None:
    variable = f"RAG_AUDIO_{name.upper()}"

    def with_key(text: str) -> Settings:
        return Settings.model_validate({"home": tmp_path, name: text})

    for text in ("c2hvcnQ=", "no base64!", encoded(b"k" * 32)[:-4]):
        with pytest.raises(ConfigError, match=f"{variable} is not 32 bytes in base64") as refused:
            put_given_keys(tmp_path / "keys", with_key(text))
        assert text not in refused.value.message
    put_given_keys(tmp_path / "keys", with_key(encoded(b"a" * 32)))
    with pytest.raises(ConfigError, match=f"{variable} holds the key .* holds") as refused:
        put_given_keys(tmp_path / "keys", with_key(encoded(b"b" * 32)))
    assert "\n" not in refused.value.message


def test_a_folder_of_keys_may_be_elsewhere_and_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAG_AUDIO_DATABASE_URL", sqlite_url(tmp_path / "shared.db"))
    secret, home = tmp_path / "secret", tmp_path / "home"
    monkeypatch.setenv("RAG_AUDIO_KEYS_FOLDER", str(secret))
    load_or_create(secret / "watermark.key")
    with open_home(home) as opened:
        opened.require_keys()
        assert opened.keys == secret
        opened.ledger.checkpoint()
    assert {file.name for file in secret.iterdir()} >= {"watermark.key", "ledger.key"}
    assert not (home / "keys").exists()
    assert run(["keys", "export-root", str(tmp_path / "root.pem"), "--home", str(home)]) == 2
    assert f"there is no signing key in {secret}" in capsys.readouterr().err
    home.mkdir(exist_ok=True)
    assert run(["backup", str(tmp_path / "home.tar"), "--home", str(home)]) == 0
    notes = " ".join(capsys.readouterr().err.split())
    assert f"the keys are in {secret} and not in the archive" in notes
    assert "no keys yet" not in notes
    monkeypatch.delenv("RAG_AUDIO_KEYS_FOLDER")
    assert run(["backup", str(tmp_path / "none.tar"), "--home", str(home)]) == 0
    assert "this home has no keys yet" in " ".join(capsys.readouterr().err.split())
    load_or_create(tmp_path / "third" / "keys" / "watermark.key")
    for command in ("worker", "serve"):
        assert run([command, "--home", str(tmp_path / "third")]) == 2
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith("rag-audio: the database's watermark key is ")
        assert "RAG_AUDIO_KEYS_FOLDER" in said[1]

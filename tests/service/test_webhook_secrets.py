"""Secrets of webhooks: one for each key, derived, rotated with an overlap."""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from math import inf
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput
from rag_audio.service.tables import webhook_secrets
from rag_audio.service.webhook_secrets import MOST_EARLIER, WebhookSecrets
from rag_audio.storage.database import connect, reading, sqlite_url, writing


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


def texts(secrets: WebhookSecrets, owner: str) -> list[str]:
    return [one.text for one in secrets.of(owner)]


def test_each_key_has_a_secret_of_its_own_that_rotates(engine: Engine, tmp_path: Path) -> None:
    secrets = WebhookSecrets(engine, tmp_path)
    (first,), (other,), (nobodys,) = (texts(secrets, one) for one in ("aa", "bb", ""))
    assert len({first, other, nobodys}) == 3 and all(len(one) == 49 for one in (first, other))
    assert texts(WebhookSecrets(engine, tmp_path), "aa") == [first], "another server has the same"
    second = [one.text for one in secrets.rotate("aa", 60)]
    assert second[1:] == [first] and second[0] != first
    third = secrets.rotate("aa", 3600)
    assert [one.text for one in third][1:] == second, "a repeated request loses no earlier one"
    assert third[0].valid_until is None and third[0].made_at is not None
    assert all(one.valid_until is not None for one in third[1:])
    assert texts(secrets, "bb") == [other]
    with writing(engine) as db:
        db.execute(text("UPDATE webhook_secrets SET valid_until = 1 WHERE valid_until IS NOT NULL"))
    assert texts(secrets, "aa") == [third[0].text]


def test_a_secret_that_was_seen_ends_at_once_and_never_comes_back(
    engine: Engine, tmp_path: Path
) -> None:
    secrets = WebhookSecrets(engine, tmp_path)
    seen = set(texts(secrets, "aa"))
    for overlap_s in (60, 60, 0):
        seen |= {one.text for one in secrets.rotate("aa", overlap_s)[1:]}
    (now,) = texts(secrets, "aa")
    assert now not in seen
    for _ in range(MOST_EARLIER):
        secrets.rotate("aa", 60)
    assert len(texts(secrets, "aa")) == 5 and not seen & set(texts(secrets, "aa"))
    (only,) = secrets.rotate("", 0)
    assert texts(secrets, "") == [only.text]


def test_no_secret_ends_before_its_overlap_but_by_an_overlap_of_0(
    engine: Engine, tmp_path: Path
) -> None:
    secrets, said = WebhookSecrets(engine, tmp_path), texts(WebhookSecrets(engine, tmp_path), "aa")
    for days in (7, 1, 3, 7):
        said.insert(0, secrets.rotate("aa", days * 86400)[0].text)
        assert set(texts(secrets, "aa")) == set(said)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="4 earlier webhook secrets still sign") as refused:
            secrets.rotate("aa", 60)
        first = min(one.valid_until or inf for one in secrets.of("aa"))
        until = re.search(r"ends at (.{19}) UTC", str(refused.value))
        assert until and "overlap of 0" in refused.value.hint
        named = datetime.fromisoformat(f"{until[1]}+00:00").timestamp()
        assert 0 <= named - first < 1, "the one that ends first, of that of a day"
        assert set(texts(secrets, "aa")) == set(said), "nothing changed"
    with writing(engine) as db:
        day = "UPDATE webhook_secrets SET valid_until = 1 WHERE valid_until < :most"
        db.execute(text(day), {"most": first + 1})
    (new, *_) = (one.text for one in secrets.rotate("aa", 60))
    assert len(texts(secrets, "aa")) == 5 and new not in said
    assert len(secrets.rotate("aa", 0)) == 1


@pytest.mark.parametrize("overlap_s", [-1, 7 * 86400 + 1, float("nan"), float("inf")])
def test_an_overlap_has_a_range(tmp_path: Path, overlap_s: float) -> None:
    secrets = WebhookSecrets(connect(sqlite_url(tmp_path / "ledger.db")), tmp_path)
    with pytest.raises(InvalidInput, match="overlap"):
        secrets.rotate("aa", overlap_s)


def test_neither_the_database_nor_the_home_alone_gives_a_secret_away(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    secrets = WebhookSecrets(engine, tmp_path / "home" / "keys")
    known = [one.text for one in secrets.rotate("aa", 60)]
    with reading(engine) as db:
        rows = db.execute(select(webhook_secrets)).all()
    assert rows and not any(one in repr(rows) for one in known)
    (tmp_path / "copy").mkdir()
    assert not set(texts(WebhookSecrets(engine, tmp_path / "copy" / "keys"), "aa")) & set(known)
    other = WebhookSecrets(connect(sqlite_url(tmp_path / "other.db")), tmp_path / "home" / "keys")
    assert known[0] not in texts(other, "aa"), "the nonce is in the database alone"
    file = tmp_path / "home" / "keys" / "webhook-secrets.key"
    assert file.stat().st_mode & 0o777 == 0o600
    shutil.copy(file, tmp_path / "copy" / "keys" / "webhook-secrets.key")
    assert texts(WebhookSecrets(engine, tmp_path / "copy" / "keys"), "aa") == known


def test_the_secret_of_the_home_gives_no_other_away(tmp_path: Path) -> None:
    """It was handed to all who verified calls: nothing may be derived from it."""
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    for home in ("one", "two"):
        (tmp_path / home / "keys").mkdir(parents=True)
        (tmp_path / home / "keys" / "webhook.key").write_text("the same")
    one, two = (WebhookSecrets(engine, tmp_path / home / "keys") for home in ("one", "two"))
    assert texts(one, "aa") != texts(two, "aa")
    assert one.of_home() == "the same"
    with pytest.raises(ConfigError, match=r"webhook\.key"):
        WebhookSecrets(engine, tmp_path).of_home()


def test_a_damaged_root_is_one_clear_line(tmp_path: Path) -> None:
    secrets = WebhookSecrets(connect(sqlite_url(tmp_path / "ledger.db")), tmp_path / "keys")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "webhook-secrets.key").write_bytes(b"short")
    with pytest.raises(BackendUnavailable, match="5 bytes, not 32"):
        secrets.of("aa")

"""What is kept of uploads and sessions, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from rag_audio.service.api_access import Scope, SqlAccess
from rag_audio.service.folders import Quota, SqlUploads, Upload, UploadsFull
from rag_audio.service.queue import SqlJobs
from rag_audio.storage.database import connect, sqlite_url

ROOMY = Quota(bytes=1000, count=10, total_bytes=1000)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "sqlite":
        return connect(sqlite_url(tmp_path / "ledger.db"))
    return connect(request.getfixturevalue("postgres_url"))


def upload(letter: str, owner: str = "k", size: int = 10) -> Upload:
    return Upload(letter * 32, owner, "audio", ".wav", "0" * 64, size, 1.0)


@pytest.mark.parametrize(
    ("quota", "is_yours"),
    [(Quota(25, 10, 1000), True), (Quota(1000, 2, 1000), True), (Quota(1000, 10, 25), False)],
)
def test_what_is_past_the_quota_is_not_kept(engine: Engine, quota: Quota, is_yours: bool) -> None:
    uploads = SqlUploads(engine)
    for letter in "ab":
        uploads.put(upload(letter), quota)
    with pytest.raises(UploadsFull) as refused:
        uploads.put(upload("c"), quota)
    assert refused.value.is_yours is is_yours
    assert uploads.ids() == {"a" * 32, "b" * 32}
    if is_yours:
        uploads.put(upload("d", owner="other"), quota)


def test_old_uploads_go_unless_a_job_that_has_not_ended_needs_them(engine: Engine) -> None:
    uploads, jobs = SqlUploads(engine), SqlJobs(engine)
    for letter in "abc":
        uploads.put(upload(letter), ROOMY)
    one = jobs.accept("generation", {"audio": "a" * 32}, owner="k")
    jobs.accept("edit", {"upload": "b" * 32}, owner="k")
    assert uploads.remove_older(3600.0) == []
    assert [gone.id for gone in uploads.remove_older(0.0)] == ["c" * 32]
    jobs.cancel(one.id)
    assert [gone.id for gone in uploads.remove_older(0.0)] == ["a" * 32]
    assert uploads.ids() == {"b" * 32}


def test_the_sessions_that_would_end_first_end_when_there_are_too_many(engine: Engine) -> None:
    access = SqlAccess(engine)
    key, _ = access.make("one", [Scope.SEARCH])
    other, _ = access.make("other", [Scope.SEARCH])
    theirs = access.open_session(other, 10.0, most=2)
    mine = [access.open_session(key, 100.0 + i, most=2) for i in range(4)]
    assert [access.session(one) is not None for one in mine] == [False, False, True, True]
    assert access.session(theirs) is not None

"""Shards of a library that is indexed, as several workers lease them, on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from rag_audio.domain import Stem, StemKind
from rag_audio.domain.stems import FileState
from rag_audio.errors import BackendError
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.index_shards import ATTEMPTS, Shard, ShardLost, ShardsLeft, SqlShards

DOCUMENT = {"on": "2026-06-01", "files": 6}


@pytest.fixture(params=["sqlite", "postgres", "pgbouncer"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param != "sqlite":
        return connect(str(request.getfixturevalue(f"{request.param}_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


@pytest.fixture
def shards(engine: Engine) -> SqlShards:
    return SqlShards(engine)


def manifests(count: int) -> list[list[dict[str, Any]]]:
    return [[{"path": f"é{number}.wav"}] for number in range(count)]


def leased(shards: SqlShards, run: str) -> Shard:
    found = shards.lease("lab", run)
    assert found is not None
    return found


def lose(shards: SqlShards, run: str) -> Shard:
    """A shard whose lease has ended already: its worker was not heard of."""
    shards.lease_s = -1.0
    try:
        return leased(shards, run)
    finally:
        del shards.lease_s


def test_a_run_is_there_with_its_shards_until_it_is_ended(shards: SqlShards) -> None:
    assert shards.run("lab") is None
    run = shards.begin("lab", DOCUMENT, manifests(2))
    assert shards.run("lab") == run
    assert (run.document, shards.run("other")) == (DOCUMENT, None)
    assert shards.left("lab", run.id) == ShardsLeft(2, 0)
    shards.end("lab")
    assert (shards.run("lab"), shards.left("lab", run.id)) == (None, None)


def test_shards_are_leased_in_order_and_each_to_one_worker(shards: SqlShards) -> None:
    run = shards.begin("lab", DOCUMENT, manifests(3)).id
    shards.begin("other", DOCUMENT, manifests(1))
    mine = [leased(shards, run) for _ in range(3)]
    assert [one.manifest for one in mine] == manifests(3)
    assert shards.lease("lab", run) is None
    assert shards.left("lab", run) == ShardsLeft(0, 3)
    shards.renew(mine)
    for number, one in enumerate(mine):
        shards.finish(one, {"part": number})
    assert shards.left("lab", run) == ShardsLeft(0, 0)
    assert list(shards.results("lab", run)) == [(n + 1, {"part": n}) for n in range(3)]


def test_many_workers_at_once_lease_every_shard_once(shards: SqlShards) -> None:
    run = shards.begin("lab", DOCUMENT, manifests(24)).id
    got: Counter[int] = Counter()

    def work() -> None:
        while (shard := shards.lease("lab", run)) is not None:
            got[shard.number] += 1
            shards.finish(shard, {})

    workers = [threading.Thread(target=work) for _ in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert got == Counter(range(1, 25))
    assert shards.left("lab", run) == ShardsLeft(0, 0)


def test_the_shard_of_a_worker_that_is_not_heard_of_is_leased_again(shards: SqlShards) -> None:
    run = shards.begin("lab", DOCUMENT, manifests(1)).id
    late = lose(shards, run)
    assert shards.left("lab", run) == ShardsLeft(1, 0)
    new = leased(shards, run)
    assert (new.number, new.manifest) == (late.number, late.manifest)
    for call in (lambda: shards.renew([late]), lambda: shards.finish(late, {"by": "late"})):
        with pytest.raises(ShardLost):
            call()
    shards.give_back([late])
    assert shards.left("lab", run) == ShardsLeft(0, 1), "the late one gives nothing back"
    shards.finish(new, {"by": "new"})
    with pytest.raises(ShardLost):
        shards.renew([late])
    assert list(shards.results("lab", run)) == [(1, {"by": "new"})]


def test_a_late_worker_that_nobody_replaced_goes_on(shards: SqlShards) -> None:
    run = shards.begin("lab", DOCUMENT, manifests(1)).id
    late = lose(shards, run)
    shards.renew([late])
    assert shards.lease("lab", run) is None
    shards.finish(late, {})


def test_what_is_given_back_is_free_at_once_and_does_not_count(shards: SqlShards) -> None:
    run = shards.begin("lab", DOCUMENT, manifests(1)).id
    for _ in range(2 * ATTEMPTS):
        shards.give_back([leased(shards, run)])
    leased(shards, run)


def test_a_shard_that_kills_its_workers_ends_the_run(shards: SqlShards) -> None:
    run = shards.begin("lab", DOCUMENT, manifests(1)).id
    for _ in range(ATTEMPTS):
        lose(shards, run)
    with pytest.raises(BackendError, match=f"part 1 of library lab was begun {ATTEMPTS} times"):
        shards.lease("lab", run)


def test_workers_of_a_run_that_was_planned_anew_lose_their_shards(shards: SqlShards) -> None:
    before = shards.begin("lab", DOCUMENT, manifests(2)).id
    mine = leased(shards, before)
    after = shards.begin("lab", DOCUMENT, manifests(3)).id
    assert shards.left("lab", before) is None
    assert shards.lease("lab", before) is None
    with pytest.raises(ShardLost):
        shards.renew([mine])
    assert shards.left("lab", after) == ShardsLeft(3, 0)


def test_who_lost_a_shard_writes_no_rows(shards: SqlShards, engine: Engine) -> None:
    catalogue = SqlCatalogue(engine)
    catalogue.put_library("lab", "Lab", "/lab")
    run = shards.begin("lab", DOCUMENT, manifests(2)).id
    kept, late = leased(shards, run), lose(shards, run)
    new = leased(shards, run)

    def put(size: int, *held: Shard) -> None:
        stem = Stem("1" * 64, "lab", "a.wav", StemKind.AUDIO, "full", 1.0)
        row = FileState("a.wav", size, 1, "", "", stem)
        catalogue.put_files("lab", [row], unless=lambda db: shards.renew(held, db))

    put(1, kept, new)
    with pytest.raises(ShardLost):
        put(2, kept, late)
    assert catalogue.files("lab")["a.wav"].size == 1


def test_nobody_can_lease_a_shard_while_its_rows_are_written(
    shards: SqlShards, engine: Engine
) -> None:
    catalogue = SqlCatalogue(engine)
    catalogue.put_library("lab", "Lab", "/lab")
    run = shards.begin("lab", DOCUMENT, manifests(1)).id
    late = lose(shards, run)
    found: list[Shard | None] = []
    other = threading.Thread(target=lambda: found.append(shards.lease("lab", run)))

    def while_writing(db: Any) -> None:
        shards.renew([late], db)
        other.start()
        other.join(0.5)

    stem = Stem("1" * 64, "lab", "a.wav", StemKind.AUDIO, "full", 1.0)
    catalogue.put_files("lab", [FileState("a.wav", 1, 1, "", "", stem)], unless=while_writing)
    other.join()
    assert found == [None]

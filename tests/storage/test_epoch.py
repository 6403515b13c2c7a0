"""The epoch of a catalogue: every change raises it, and nothing is kept beyond it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from rag_audio.domain import License, Use
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.stems import WithheldFile
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage import catalogue_snapshot
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, reading, sqlite_url, writing
from rag_audio.storage.epoch import CatalogueEpoch, raise_epoch, read_epoch
from tests.storage.test_catalogue import granted, state, stem

TODAY = date(2026, 6, 1)
BAND = Revocation(RevocationOf.ARTIST, "The Band", "", "desk", datetime(2026, 5, 1, tzinfo=UTC))
WITHHELD = WithheldFile("w.wav", 1, 1, "c" * 64, "ended", "The Band")

CHANGES: dict[str, Callable[[SqlCatalogue], object]] = {
    "a library": lambda c: c.put_library("new", "New", "/new"),
    "its root": lambda c: c.put_library("lab", "Lab", "/moved"),
    "licenses": lambda c: c.put_licenses("lab", [granted("full"), granted("more")]),
    "files": lambda c: c.put_files("lab", [state(stem("e", "e.wav"))]),
    "a file's decision": lambda c: c.put_files("lab", [state(stem("b", "b.wav"))]),
    "files removed": lambda c: c.remove_files("lab", ["b.wav"]),
    "withheld files": lambda c: c.put_withheld("lab", []),
    "a revocation": lambda c: c.revoke(BAND),
    "a revocation taken back": lambda c: (c.revoke(BAND), c.end_revocation(BAND)),
}
SAME: dict[str, Callable[[SqlCatalogue], object]] = {
    "the same library": lambda c: c.put_library("lab", "Lab", "/lab"),
    "the same licenses": lambda c: c.put_licenses("lab", [granted("full")]),
    "the same files": lambda c: c.put_files("lab", [state(stem("b", "b.wav", artist="Else"))]),
    "unknown files": lambda c: c.remove_files("lab", ["never there"]),
    "the same withheld files": lambda c: c.put_withheld("lab", [WITHHELD]),
    "no such revocation": lambda c: c.end_revocation(BAND),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "postgresql":
        return connect(str(request.getfixturevalue("postgres_url")))
    return connect(sqlite_url(tmp_path / "ledger.db"))


def epoch_of(engine: Engine) -> CatalogueEpoch:
    with reading(engine) as db:
        return read_epoch(db)


def filled(engine: Engine) -> SqlCatalogue:
    made = SqlCatalogue(engine)
    made.put_library("lab", "Lab", "/lab")
    made.put_licenses("lab", [granted("full")])
    made.put_files("lab", [state(stem("b", "b.wav", artist="Else"))])
    made.put_withheld("lab", [WITHHELD])
    return made


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_raises_the_epoch(engine: Engine, change: str) -> None:
    catalogue = filled(engine)
    before, kept = epoch_of(engine), catalogue.clearance(None, TODAY)
    CHANGES[change](catalogue)
    after = epoch_of(engine)
    assert after.number > before.number and after.token != before.token
    assert catalogue.clearance(None, TODAY).revision != kept.revision
    files_alone = change in ("files", "a file's decision", "files removed")
    assert (after.rights == before.rights) == files_alone


@pytest.mark.parametrize("change", SAME)
def test_what_changes_nothing_leaves_the_epoch(engine: Engine, change: str) -> None:
    catalogue = filled(engine)
    before = epoch_of(engine)
    SAME[change](catalogue)
    assert epoch_of(engine) == before


def test_a_change_that_is_rolled_back_leaves_the_epoch(engine: Engine) -> None:
    filled(engine)
    before = epoch_of(engine)
    with pytest.raises(RuntimeError), writing(engine) as db:
        assert raise_epoch(db) == before.number + 1
        raise RuntimeError
    assert epoch_of(engine) == before


def test_rows_that_were_changed_past_the_log_raise_the_epoch(engine: Engine) -> None:
    SqlLedger(engine)
    catalogue = SqlCatalogue(engine, SqlRightsLog())
    catalogue.put_library("lab", "Lab", "/lab")
    catalogue.put_files("lab", [state(stem("b", "b.wav"))])
    catalogue.seal("lab")
    with writing(engine) as db:
        db.exec_driver_sql("UPDATE files SET size = 1")
    assert catalogue.stems()
    before = epoch_of(engine)
    assert catalogue.begin("lab") == ("files",)
    assert epoch_of(engine).number > before.number
    assert catalogue.stems() == []
    assert catalogue.clearance(None, TODAY).holdings.stems == 0


def test_licenses_are_decoded_once_for_every_territory_and_day(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, decoded = filled(engine), list[object]()
    real = catalogue_snapshot.decode

    def counting(kind: type[License], document: object) -> License:
        decoded.append(document)
        return real(kind, document)

    monkeypatch.setattr(catalogue_snapshot, "decode", counting)
    for territory in (None, "DE", "FR"):
        for day in (TODAY, date(2027, 1, 1)):
            assert catalogue.rights(territory, day).keys_granting(Use.STYLE) == {"lab/full"}
            assert catalogue.clearance(territory, day).rights.on == day
    assert len(decoded) == 1
    catalogue.put_files("lab", [state(stem("f", "f.wav"))])
    catalogue.put_licenses("lab", [granted("full"), granted("more")])
    assert catalogue.rights(None, TODAY).keys_granting(Use.STYLE) == {"lab/full", "lab/more"}
    assert len(decoded) == 2, "the license that stayed is not decoded again"


def test_another_process_s_revocation_counts_at_the_next_question(engine: Engine) -> None:
    catalogue = filled(engine)
    catalogue.put_files("lab", [state(stem("a"))])
    mine = stem("a")
    assert catalogue.rights(None, TODAY).refusal(mine, Use.PROMPT) is None
    elsewhere = SqlCatalogue(connect(engine.url.render_as_string(hide_password=False)))
    elsewhere.revoke(BAND)
    rights = catalogue.rights(None, TODAY)
    assert rights.is_revoked(mine) and rights.revoked_among({mine.id}) == {mine.id}
    assert rights.revoked == frozenset(), "no list of an artist's stems"
    elsewhere.end_revocation(BAND)
    assert not catalogue.rights(None, TODAY).is_revoked(mine)
    assert catalogue.rights(None, TODAY).revoked_among({mine.id}) == frozenset()

"""The one rule of who sees what, and what it leaves of a trace, a record and a catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.domain import Channel, License, Rights, Stem, StemKind, Use
from rag_audio.domain.stems import FileState, WithheldFile
from rag_audio.errors import InvalidInput
from rag_audio.home import Home
from rag_audio.provenance.trace.findings import (
    Evidence,
    InFile,
    LicenseNow,
    TracedSource,
    TraceResult,
)
from rag_audio.provenance.trace.time_ranges import TimeRange
from rag_audio.provenance.trace_report import report_html
from rag_audio.service.api_access import Caller, Scope
from rag_audio.service.tables import SqlOwners
from rag_audio.service.visibility import Visibility, may_see
from rag_audio.service.wording import Places
from rag_audio.settings import Settings
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.limited_catalogue import LimitedCatalogue

NUMBERS = range(70_001, 70_006)
LIBRARIES = ("mine", "ours", "theirs")
numbers = st.sampled_from(NUMBERS)


class Owned:
    """Says whose outputs are."""

    def __init__(self, mine: frozenset[int]) -> None:
        self._mine = mine

    def of(self, output: int) -> str:
        return "me" if output in self._mine else "you"


def seeing(mine: frozenset[int], libraries: tuple[str, ...] | None) -> Visibility:
    gone = SimpleNamespace(copies=lambda *_: [], rights=lambda *_: Rights({}, None, date.max))
    home = Home(Settings(device="cpu"))
    home.catalogue = cast(SqlCatalogue, gone)
    places = cast(Places, SimpleNamespace(file=str))
    return Visibility(
        Caller("me", "", frozenset(), libraries), home, cast(SqlOwners, Owned(mine)), places
    )


def source(library: str) -> TracedSource:
    granted = License(
        f"{library}license", library, f"{library}holder", "X", frozenset(Use),
        credit=f"{library}credit",
    )  # fmt: skip
    return TracedSource(
        stem=f"{library}stem", title=f"{library}title", artist=f"{library}artist",
        holder=granted.holder, license=granted.id, used={Channel.PROMPT: 0.5}, causal=None,
        similar=0.5, revoked=False, license_then=granted, now=LicenseNow(True),
    )  # fmt: skip


@st.composite
def witnesses(draw: st.DrawFn) -> Evidence:
    output = draw(st.none() | numbers)
    rivals = tuple(draw(st.lists(numbers, max_size=2)))
    says = f"It is {output}, or {rivals}."
    by = draw(st.sampled_from(["hash", "manifest", "watermark", "fingerprint"]))
    return Evidence(by, output, 0.9, says, rivals)


@st.composite
def results(draw: st.DrawFn) -> TraceResult:
    evidence = tuple(draw(st.lists(witnesses(), max_size=3)))
    output = draw(st.none() | numbers)
    ancestors = tuple(draw(st.lists(numbers, max_size=2)))
    return TraceResult(
        found=output is not None and draw(st.booleans()),
        by=draw(st.sampled_from(["hash", "watermark"])),
        confidence=0.9,
        explanation=" ".join([f"Output {output} of {ancestors}.", *(e.says for e in evidence)]),
        output=output,
        created="2026-05-01T12:34:56" if output else None,
        model="m",
        transplanted=draw(st.booleans()),
        sources=tuple(source(name) for name in draw(st.sets(st.sampled_from(LIBRARIES)))),
        model_share={Channel.PROMPT: 0.5},
        proof=None if output is None else {"seq": 1, "leaf_hash": "h", "size": 1, "root": "r",
                                           "path": []},
        evidence=evidence,
        ancestors=ancestors,
        checked=draw(st.booleans()),
        ranges=tuple(
            TimeRange(0.0, 1.0, draw(st.none() | numbers), marked=draw(st.none() | numbers),
                      transplanted=draw(st.booleans()))
            for _ in range(draw(st.integers(0, 3)))
        ),
        outputs=tuple(
            InFile(draw(numbers), (source(draw(st.sampled_from(LIBRARIES))),))
            for _ in range(draw(st.integers(0, 2)))
        ),
    )  # fmt: skip


@given(results(), st.frozensets(numbers), st.none() | st.just(("mine", "ours")))
def test_a_trace_tells_of_ones_own_outputs_and_libraries_alone(
    found: TraceResult, mine: frozenset[int], libraries: tuple[str, ...] | None
) -> None:
    told = seeing(mine, libraries).trace(found)
    texts = (
        json.dumps(told.to_json()),
        report_html(told, "the upload", datetime(2026, 5, 2, tzinfo=UTC)),
    )
    for text in texts:
        for number in set(NUMBERS) - mine:
            assert str(number) not in text
        if libraries is not None:
            for word in ("stem", "title", "artist", "holder", "license", "credit"):
                assert f"theirs{word}" not in text
        if found.output is not None and found.output not in mine:
            assert "2026-05-01" not in text and "leaf_hash" not in text.replace('"proof": null', "")
    assert (told.found, told.by, told.transplanted) == (found.found, found.by, found.transplanted)
    shown = {one.stem for one in told.sources}
    assert shown == {s.stem for s in found.sources if libraries is None or s.stem != "theirsstem"}
    if set(found.named) <= mine:
        assert replace(told, sources=found.sources, outputs=found.outputs) == found
    assert [o.output for o in told.outputs] == [o.output for o in found.outputs if o.output in mine]


def test_rights_are_read_once_however_many_outputs_are_in_a_file() -> None:
    asked = []

    def rights(*_: object) -> Rights:
        asked.append(1)
        return Rights({}, None, date.max)

    by_library = (source("mine"), source("theirs"))
    found = TraceResult(
        found=True, by="watermark", confidence=0.9, explanation="", sources=by_library,
        outputs=tuple(InFile(number, by_library) for number in NUMBERS),
    )  # fmt: skip
    seer = seeing(frozenset(NUMBERS), ("mine",))
    seer._home.catalogue = cast(SqlCatalogue, SimpleNamespace(copies=lambda *_: [], rights=rights))
    told = seer.trace(found)
    assert [[s.stem for s in one.sources] for one in told.outputs] == [["minestem"]] * len(NUMBERS)
    assert len(asked) == 1


@given(st.text(max_size=4), st.none() | st.text(max_size=4), st.booleans())
def test_owners_and_admins_see_and_nobody_else(
    caller: str, owner: str | None, is_admin: bool
) -> None:
    seen = may_see(Caller(caller, "", frozenset({Scope.ADMIN} if is_admin else ()), None), owner)
    assert seen == (is_admin or (owner is not None and owner == caller))


def stem(number: int, library: str) -> Stem:
    return Stem(
        id=f"{number:064x}", kind=StemKind.AUDIO, library=library, path=f"{library}{number}.wav",
        artist="", title="", tags=(), bpm=None, key=None, license="l", duration_s=1.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlCatalogue]:
    """Ids that begin alike, in two libraries; some stems lie in both."""
    engine = connect(sqlite_url(tmp_path_factory.mktemp("scoped") / "ledger.db"))
    made = SqlCatalogue(engine)
    for i, library in enumerate(("mine", "theirs")):
        made.put_library(library, library, f"/nowhere/{library}")
        stems = [stem(n << 236, library) for n in range(1, 90) if n % 3 == i or n % 10 == 0]
        made.put_files(library, [FileState(s.path, 1, 1, "", "", s) for s in stems])
    yield made
    engine.dispose()


@given(prefix=st.text("0123456789abcdef", min_size=1, max_size=6), other=st.booleans())
def test_beginnings_of_ids_mean_what_they_would_without_the_other_library(
    catalogue: SqlCatalogue, prefix: str, other: bool
) -> None:
    library = "theirs" if other else "mine"
    own = [one for one in catalogue.stems() if one.library == library]
    alike = sorted({one.id for one in own if one.id.startswith(prefix)})
    seen = LimitedCatalogue(catalogue, (library,))
    if len(alike) == 1:
        assert seen.stem(prefix).library == library
        return
    with pytest.raises(InvalidInput) as refused:
        seen.stem(prefix)
    how_many = f"{len(alike)} stems' ids" if alike else "no stem's id"
    assert refused.value.message.startswith(how_many)
    foreign = {one.id[:8] for one in catalogue.stems()} - {one.id[:8] for one in own}
    assert not any(id_ in refused.value.message for id_ in foreign)


def test_files_that_were_withheld_are_seen_in_ones_own_libraries_alone(
    catalogue: SqlCatalogue,
) -> None:
    id_ = "e" * 64
    for library in ("mine", "theirs"):
        catalogue.put_withheld(library, [WithheldFile("a.wav", 1, 1, id_, "ended")])
    seen = LimitedCatalogue(catalogue, ("mine",))
    assert [library for library, _ in catalogue.withheld_copies(id_)] == ["mine", "theirs"]
    assert [library for library, _ in seen.withheld_copies(id_)] == ["mine"]
    for library in ("mine", "theirs"):
        catalogue.put_withheld(library, [])


def test_a_limited_catalogue_has_only_what_was_looked_at(catalogue: SqlCatalogue) -> None:
    seen = LimitedCatalogue(catalogue, ("mine",))
    for name in ("files", "revocations", "revoke", "put_files", "claim"):
        with pytest.raises(AttributeError):
            getattr(seen, name)

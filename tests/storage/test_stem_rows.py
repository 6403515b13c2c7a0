"""Rows and counts of stems follow from files, conflicts and revocations, whatever was done to them.

They are compared with what listing all files gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from rag_audio.domain import Key, Stem, StemKind, Use, names
from rag_audio.domain.clearance import standing
from rag_audio.domain.holdings import FACETS, LibraryHoldings, StemCounts, StemQuery, most_frequent
from rag_audio.domain.json_documents import artists_json, licenses_json
from rag_audio.domain.licensing import Revocation, RevocationOf, Rights
from rag_audio.domain.stems import FileState
from rag_audio.guardrails import make_policy
from rag_audio.storage import stem_questions, stem_rows
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url, writing
from rag_audio.storage.limited_catalogue import LimitedCatalogue
from tests.storage.test_catalogue import granted
from tests.storage.test_migrations import INDEX
from tests.support.query_plans import plan_of, statements

TODAY, NOW = date(2026, 6, 1), datetime(2026, 6, 1, tzinfo=UTC)
LIBRARIES = ("north", "south")
SCOPES: tuple[Collection[str] | None, ...] = (None, ("north",), ("south",))

copies = st.builds(
    lambda library, name, id_, license, artist, declared, rest: Stem(
        id=id_ * 64,
        library=library,
        path=f"{name}.wav",
        license=license,
        duration_s=4.0,
        artist=artist,
        artist_declared=declared,
        **rest,
    ),
    st.sampled_from(LIBRARIES),
    st.sampled_from("abcd"),
    st.sampled_from("123"),
    st.sampled_from(["full", "words", "unknown"]),
    st.sampled_from(["", "Zoë", "zoe", "The Band"]),
    st.booleans(),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(StemKind),
            "tags": st.sampled_from([(), ("Warm",), ("warm", "piano")]),
            "bpm": st.sampled_from([None, 92.4, 120.0]),
            "key": st.sampled_from([None, Key(9, True)]),
            "title": st.sampled_from(["", "Ämber_100%"]),
        }
    ),
)
revocations = st.one_of(
    st.tuples(st.just(RevocationOf.STEM), st.sampled_from([c * 64 for c in "123"])),
    st.tuples(st.just(RevocationOf.ARTIST), st.sampled_from(["Zoë", "zoe", "ZOE", "The Band"])),
    st.tuples(st.just(RevocationOf.LICENSE), st.sampled_from(["north/full", "south/words"])),
)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.tuples(copies, st.sampled_from(["", "north/full", "south/full", "south/words"])),
        ),
        st.tuples(
            st.just("remove"), st.tuples(st.sampled_from(LIBRARIES), st.sampled_from("abcd"))
        ),
        st.tuples(st.just("revoke"), revocations),
        st.tuples(st.just("undo"), revocations),
    ),
    max_size=14,
)


def made(engine: Engine) -> SqlCatalogue:
    catalogue = SqlCatalogue(engine)
    for library in LIBRARIES:
        catalogue.put_library(library, library, f"/{library}")
        words = granted("words", library, uses=frozenset({Use.PROMPT}))
        catalogue.put_licenses(library, [granted("full", library), words])
    return catalogue


def take(catalogue: SqlCatalogue, step: tuple[str, Any]) -> None:
    what, told = step
    if what == "put":
        stem, decision = told
        state = FileState(stem.path, 1, 1, "", "space", stem, decision)
        catalogue.put_files(stem.library, [state])
    elif what == "remove":
        catalogue.remove_files(told[0], [f"{told[1]}.wav"])
    else:
        asked = Revocation(told[0], told[1], "", "desk", NOW)
        (catalogue.revoke if what == "revoke" else catalogue.end_revocation)(asked)


def listed(catalogue: SqlCatalogue, rights: Rights, scope: Collection[str] | None) -> list[Stem]:
    """One stem per library and content, of all files."""
    first: dict[tuple[str, str], Stem] = {}
    for library in LIBRARIES if scope is None else scope:
        stems = [one.stem for one in catalogue.files(library).values()]
        for stem in sorted(stems, key=lambda s: standing(s, rights.conflicts.get(s.id))):
            first.setdefault((library, stem.id), stem)
    return sorted(first.values(), key=lambda stem: (stem.library, stem.path))


def seen_by(catalogue: SqlCatalogue, scope: Collection[str] | None) -> Any:
    return catalogue if scope is None else LimitedCatalogue(catalogue, scope)


def facets_of(stems: list[Stem]) -> dict[str, list[tuple[str, int]]]:
    count = {
        "artist": Counter(names.exact(stem.artist) for stem in stems if stem.artist),
        "license": Counter(stem.license_key for stem in stems),
        "kind": Counter(stem.kind.value for stem in stems),
        "sample_type": Counter[str](),
        "key": Counter(str(stem.key) for stem in stems if stem.key is not None),
        "tag": Counter(tag for stem in stems for tag in stem.tags),
    }
    assert tuple(count) == FACETS
    return {name: most_frequent(values, 50) for name, values in count.items()}


def license_names(stem: Stem, rights: Rights) -> set[str]:
    conflict = rights.conflicts.get(stem.id)
    keys = {stem.license_key} if conflict is None else conflict.keys
    return {*keys, *(key.partition("/")[2] for key in keys)}


def check(catalogue: SqlCatalogue) -> None:
    for scope in SCOPES:
        seen = seen_by(catalogue, scope)
        clearance = seen.clearance(None, TODAY)
        rights = clearance.rights
        stems = listed(catalogue, rights, scope)
        assert seen.stems() == stems
        assert clearance.holdings.stems == len(stems)
        plain, counted = (
            make_policy(one, rights, (), withheld=clearance.withheld)
            for one in (stems, clearance.holdings)
        )
        assert (counted.licensed, counted.protected) == (plain.licensed, plain.protected)
        assert (counted.styles, counted.unlicensed) == (plain.styles, plain.unlicensed)
        for own in (stems, clearance.holdings):
            rows = artists_json(own, plain.licensed, plain.why_not)
            assert rows == artists_json(stems, counted.licensed, counted.why_not)
            assert licenses_json(own, rights) == licenses_json(stems, rights)
        check_questions(seen, stems, rights)


def check_questions(seen: Any, stems: list[Stem], rights: Rights) -> None:
    queries = {
        StemQuery(): lambda s: True,
        StemQuery(artists=("The Band", "zoe")): lambda s: s.artist in ("The Band", "zoe"),
        StemQuery(artists=()): lambda s: False,
        StemQuery(license="full"): lambda s: "full" in license_names(s, rights),
        StemQuery(license="south/words"): lambda s: "south/words" in license_names(s, rights),
        StemQuery(text="ÄMBER_1"): lambda s: s.title != "",
        StemQuery(text="R_100%"): lambda s: s.title != "",
        StemQuery(tag="WARM"): lambda s: bool(s.tags),
        StemQuery(kind=StemKind.MIDI, license="full"): lambda s: (
            s.kind is StemKind.MIDI and "full" in license_names(s, rights)
        ),
        StemQuery(bpm_min=92.4, bpm_max=100, key="A minor"): lambda s: (
            s.bpm == 92.4 and s.key is not None
        ),
    }
    for query, fits in queries.items():
        wanted = sorted(filter(fits, stems), key=lambda s: (s.id, s.library))
        counts = StemCounts(len(wanted), facets_of(wanted), len(wanted))
        assert seen.counts(query) == counts, query
        found, after = list[Stem](), None
        while True:
            page = seen.page(query, after, 2)
            found += page.stems
            after = page.following
            if after is None:
                break
        assert found == wanted, query
    revoked = {s.id for s in stems if rights.is_revoked(s)}
    assert revoked == rights.revoked_among({s.id for s in stems}) | {
        s.id for s in stems if s.id in rights.conflicts and rights.is_revoked(s)
    }
    marked, number = seen.marked_revoked(100)
    assert revoked <= {s.id for s in marked} and number == len(marked)
    assert {s.id for s in marked} - revoked <= set(seen_conflicts(seen))


def seen_conflicts(seen: Any) -> set[str]:
    whole = seen._catalogue if isinstance(seen, LimitedCatalogue) else seen
    return set(whole.rights(None, TODAY).conflicts)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_rows_and_counts_are_those_of_the_files(steps: list[tuple[str, Any]]) -> None:
    catalogue = made(connect("sqlite://"))
    for number, step in enumerate(steps):
        take(catalogue, step)
        if number % 4 == 0:
            catalogue.rights(None, TODAY)  # what is kept is brought up to date from there
    check(catalogue)
    again = SqlCatalogue(catalogue._engine)
    check(again)
    with writing(again._engine) as db:
        before = rows_of(db)
        for table in stem_rows.TABLES:
            db.execute(table.delete())
        stem_rows.fill(db, 1)
        assert rows_of(db) == before


@pytest.mark.parametrize("most", [0, 2, 20_000])
def test_a_text_is_found_in_captions_however_many_hold_it(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(stem_questions, "MOST_MATCHES", most)
    catalogue = made(connect("sqlite://"))
    for number, library in enumerate(LIBRARIES * 3):
        id_, title = "123"[number // 2] * 64, "Ämber_100%" if number else ""
        one = Stem(id_, library, f"{number}.wav", StemKind.AUDIO, "full", 4.0, title=title)
        take(catalogue, ("put", (one, "")))
    check(catalogue)


def test_a_decision_for_a_license_without_a_copy_is_marked_when_that_is_revoked() -> None:
    catalogue = made(connect("sqlite://"))
    stem = Stem("3" * 64, "north", "a.wav", StemKind.AUDIO, "words", 1.0)
    take(catalogue, ("put", (stem, "south/words")))
    take(catalogue, ("revoke", (RevocationOf.LICENSE, "south/words")))
    check(catalogue)


def test_a_stem_that_another_library_contests_is_revoked_with_its_own_license() -> None:
    """Its own library sees no conflict, and the row tells of the conflict alone."""
    catalogue = made(connect("sqlite://"))
    for library in LIBRARIES:
        take(
            catalogue, ("put", (Stem("3" * 64, library, "a.wav", StemKind.AUDIO, "words", 1.0), ""))
        )
    take(catalogue, ("revoke", (RevocationOf.LICENSE, "south/words")))
    check(catalogue)
    assert seen_by(catalogue, ("south",)).clearance(None, TODAY).rights.revoked_among({"3" * 64})


def test_what_is_asked_about_some_stems_does_not_read_all_of_them() -> None:
    engine = connect("sqlite://")
    catalogue = made(engine)
    stem = Stem("3" * 64, "north", "a.wav", StemKind.AUDIO, "words", 1.0, "Zoe", tags=("warm",))
    take(catalogue, ("put", (stem, "")))

    sources = (
        (RevocationOf.STEM, stem.id),
        (RevocationOf.ARTIST, "Zoe"),
        (RevocationOf.LICENSE, "north/words"),
    )
    with statements(engine) as said:
        for source in sources:
            take(catalogue, ("revoke", source))
            assert catalogue.clearance(None, TODAY).rights.revoked_among({stem.id})
            assert [one.id for one in catalogue.marked_revoked(5)[0]] == [stem.id]
            take(catalogue, ("undo", source))
        take(catalogue, ("put", (replace(stem, tags=("cold",)), "")))
        assert catalogue.stems_under({"north/words"}, 5)
    asked = [one for one in said if one.startswith(("SELECT", "UPDATE", "DELETE"))]
    steps = {step: one for one in asked for step in plan_of(engine, one)}
    assert "SEARCH stems USING INDEX stems_by_id (stem_id=?)" in steps
    # Of all that are, or are not, contested there are nearly as many as stems.
    of_all = ("SCAN stems", "SCAN stem_tags")
    assert {
        a: b for a, b in steps.items() if a.startswith(of_all) or a.endswith("(contested=?)")
    } == {}


def rows_of(db: Any) -> list[list[Any]]:
    """All rows, but for counts: the groups that are empty, and when they changed."""
    found = []
    for table in stem_rows.TABLES:
        rows = [dict(row) for row in db.execute(table.select()).mappings()]
        for row in rows:
            row.pop("changed", None)
        found.append(sorted((r for r in rows if r.get("stems") != 0), key=repr))
    return found


def test_the_same_on_postgresql(postgres_url: str) -> None:
    catalogue = made(connect(postgres_url))
    one = Stem("1" * 64, "north", "a.wav", StemKind.MIDI, "full", 1.0, "Zoë", True, "Ämber_100%")
    two = replace(one, id="2" * 64, path="b.wav", tags=("Warm", "warm"), bpm=92.4, key=Key(9, True))
    other = replace(two, library="south", path="\u00e9.wav", license="words", artist="The Band")
    for stem in (one, two, other, replace(one, path="c.wav", license="words")):
        take(catalogue, ("put", (stem, "")))
        check(catalogue)
    for of, target in (
        (RevocationOf.ARTIST, "zoe"), (RevocationOf.STEM, two.id),
        (RevocationOf.LICENSE, "north/full"),
    ):  # fmt: skip
        for what in ("revoke", "undo", "revoke"):
            take(catalogue, (what, (of, target)))
            check(catalogue)
    take(catalogue, ("remove", ("north", "b")))
    check(catalogue)


def test_a_nul_in_a_tag_is_kept_from_the_database(postgres_url: str) -> None:
    catalogue = made(connect(postgres_url))
    odd = Stem(
        "1" * 64, "north", "a.wav", StemKind.AUDIO, "full", 1.0, title="a\0b", tags=("x\0y",)
    )
    take(catalogue, ("put", (odd, "")))
    assert catalogue.stems() == [odd]


def test_tags_that_databases_take_for_one_are_counted_once_and_out_again() -> None:
    catalogue = made(connect("sqlite://"))
    one = Stem("1" * 64, "north", "a.wav", StemKind.AUDIO, "full", 1.0, tags=("x\0y",))
    two = replace(one, id="2" * 64, path="b.wav", tags=("x y", "x\0y"))
    left = [2, 1, 0]
    take(catalogue, ("put", (one, "")))
    take(catalogue, ("put", (two, "")))
    for name in ("a", "b", None):
        with writing(catalogue._engine) as db:
            assert not stem_rows.mismatched(db)
        number = left.pop(0)
        told = [("x y", number)] if number else []
        assert catalogue.counts(StemQuery()).values["tag"] == told
        assert catalogue.counts(StemQuery(kind=StemKind.AUDIO)).values["tag"] == told
        if name is not None:
            take(catalogue, ("remove", ("north", name)))


def test_of_many_stems_some_are_counted_and_kept_counts_tell_the_total(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stem_questions, "MOST_COUNTED", 3)
    catalogue = made(connect("sqlite://"))
    for number in range(8):
        path, tags = f"{number}.wav", ("Warm", "warm", "low") if number == 2 else ("low",)
        one = Stem(f"{number:064x}", "north", path, StemKind.AUDIO, "full", 1.0, tags=tags)
        take(catalogue, ("put", (one, "")))
    found = catalogue.counts(StemQuery(tag="LOW"))
    assert (found.total, found.is_exact, found.counted) == (8, True, 3)
    assert found.values["tag"] == [("low", 3), ("Warm", 1), ("warm", 1)]
    assert found.values["license"] == [("north/full", 3)]
    assert catalogue.counts(StemQuery(kind=StemKind.AUDIO, license="full")).total == 8
    found = catalogue.counts(StemQuery(tag="low", kind=StemKind.AUDIO))
    assert (found.total, found.is_exact, found.counted) == (3, False, 3)
    for most, told in ((20, (8, True, 3)), (7, (3, False, 3))):
        monkeypatch.setattr(stem_questions, "MOST_MATCHES", most)
        found = catalogue.counts(StemQuery(text="low"))
        assert (found.total, found.is_exact, found.counted) == told
    assert [one.path for one in catalogue.page(StemQuery(tag="warm")).stems] == ["2.wav"]
    assert catalogue.counts(StemQuery(tag="warm")).total == 1


@pytest.mark.parametrize("size", [1, 2500])
def test_rows_are_made_of_a_home_of_before(tmp_path: Path, size: int) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    catalogue = made(engine)
    stem = Stem("1" * 64, "north", "a.wav", StemKind.AUDIO, "full", 1.0, "The Band", True)
    many = [replace(stem, id=f"{i:064x}", path=f"{i}.wav") for i in range(size)]
    catalogue.put_files("north", [FileState(s.path, 1, 1, "", "", s) for s in many])
    take(catalogue, ("revoke", (RevocationOf.STEM, many[0].id)))
    before = catalogue.clearance(None, TODAY).holdings.groups
    with writing(engine) as db:
        for table in (
            *(*stem_rows.TABLES, "catalogue_epoch", "ledger_outputs", "index_shards"),
            *INDEX,
        ):
            db.execute(text(f"DROP TABLE {table}"))
        db.execute(text("UPDATE alembic_version SET version_num = '0012'"))
    engine.dispose()
    again = SqlCatalogue(connect(sqlite_url(tmp_path / "ledger.db")))
    assert again.clearance(None, TODAY).holdings.groups == before
    assert LibraryHoldings(before).stems == size
    check(again)

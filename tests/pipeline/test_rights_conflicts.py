"""The same bytes under several licenses: who holds what, whatever the files are called."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from rag_audio.domain import License, Rights, Stem, StemKind, Use
from rag_audio.domain.codec import encode
from rag_audio.domain.conflict_documents import conflict_json, conflict_lines
from rag_audio.domain.conflicts import Claim, Conflict
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.stems import FileState, WithheldFile
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url, writing
from rag_audio.storage.limited_catalogue import LimitedCatalogue
from rag_audio.storage.migrations import make_schema

TODAY = date(2026, 6, 1)
ID = "a" * 64
LIBRARIES = ("east", "north", "west")
quick = settings(max_examples=30, deadline=None)


@dataclass(frozen=True)
class Copy:
    """A file with the bytes of the one stem."""

    library: str
    license: str
    artist: str
    decision: str = ""


licenses = st.builds(
    lambda uses, territories, limit, ends: {
        "uses": frozenset(uses),
        "territories": frozenset({territories}),
        "max_similarity": limit,
        "valid_until": ends,
    },
    st.sets(st.sampled_from(list(Use))),
    st.sampled_from(["WORLD", "DE"]),
    st.sampled_from([0.2, 0.6, 1.0]),
    st.sampled_from([None, date(2020, 1, 1)]),
)
copies = st.builds(
    Copy,
    st.sampled_from(LIBRARIES),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["", "Copper Lantern Trio", "Hidden Ferry"]),
)
decisions = st.sampled_from(
    ["", *(f"{library}/{id_}" for library in LIBRARIES for id_ in "xyz"), "south/x"]
)
decided_copies = st.builds(replace, copies, decision=decisions)
names = st.lists(st.text("abz/09", min_size=1, max_size=6), min_size=6, max_size=6, unique=True)
worlds = st.fixed_dictionaries({f"{lib}/{id_}": licenses for lib in LIBRARIES for id_ in "xy"})


def stem_of(copy: Copy, path: str, id_: str = ID) -> Stem:
    return Stem(
        id_, copy.library, path, StemKind.AUDIO, copy.license, 12.0,
        artist=copy.artist, artist_declared=bool(copy.artist),
    )  # fmt: skip


def state(copy: Copy, path: str, id_: str = ID) -> FileState:
    return FileState(path, 1, 1, "d", "space", stem_of(copy, path, id_), copy.decision)


def granted(key: str, **fields: Any) -> License:
    library, _, id_ = key.partition("/")
    given = {"holder": f"Holder of {key}", "spdx": "CC0-1.0", "uses": frozenset(Use), **fields}
    return License(id=id_, library=library, **given)


def home(url: str = "sqlite://") -> SqlCatalogue:
    made = SqlCatalogue(connect(url))
    for library in LIBRARIES:
        made.put_library(library, library.title(), f"/nowhere/{library}")
    return made


def fill(catalogue: SqlCatalogue, world: dict[str, Any], files: Sequence[tuple[Copy, str]]) -> None:
    """Make these the only licenses and files."""
    for library in LIBRARIES:
        catalogue.remove_files(library, list(catalogue.files(library)))
        own = [granted(key, **of) for key, of in world.items() if key.startswith(library)]
        catalogue.put_licenses(library, own)
        catalogue.put_files(library, [state(c, path) for c, path in files if c.library == library])


def answers(catalogue: Any, territory: str | None = None) -> dict[str, Any]:
    """All that rights and catalogue say of the stem, for each of its copies; no paths."""
    rights = catalogue.rights(territory, TODAY)
    known = catalogue.copies(ID)
    return {
        "refusals": {use: {rights.refusal(one, use) for one in known} for use in Use},
        "licenses": {tuple(sorted(one.key for one in rights.licenses_of(s))) for s in known},
        "barred": {use: rights.barred(use) for use in Use},
        "claims": [(s.license_key, rights.claims_on(s)) for s in known],
        "order": [(one.library, one.license, one.artist) for one in known],
        "stems": sorted((one.library, one.license, one.artist) for one in catalogue.stems()),
        "first": (catalogue.stem(ID[:8]).license_key, catalogue.stem(ID[:8]).artist),
    }


def uses_of(rights: Rights, stem: Stem) -> set[Use]:
    return {use for use in Use if rights.refusal(stem, use) is None}


@quick
@given(worlds, st.lists(decided_copies, min_size=1, max_size=5), names, names)
def test_the_names_of_files_decide_nothing(
    world: dict[str, Any], files: list[Copy], before: list[str], after: list[str]
) -> None:
    catalogue = home()
    fill(catalogue, world, list(zip(files, before, strict=False)))
    said = answers(catalogue)
    fill(catalogue, world, list(zip(files, after, strict=False)))
    assert answers(catalogue) == said
    assert all(len(reasons) == 1 for reasons in said["refusals"].values()), "one answer for all"


@quick
@given(worlds, st.lists(copies, min_size=1, max_size=4), copies, st.sampled_from([None, "DE"]))
def test_a_further_copy_never_widens_what_is_granted(
    world: dict[str, Any], files: list[Copy], new: Copy, territory: str | None
) -> None:
    catalogue = home()
    told = [(one, f"{i}.wav") for i, one in enumerate(files)]
    fill(catalogue, world, told)
    rights = catalogue.rights(territory, TODAY)
    stem = stem_of(files[0], "0.wav")
    before, least = uses_of(rights, stem), _least(rights, stem)
    fill(catalogue, world, [*told, (new, "new.wav")])
    rights = catalogue.rights(territory, TODAY)
    assert uses_of(rights, stem) <= before
    assert _least(rights, stem) <= least
    assert f"{new.library}/{new.license}" in rights.keys_of(stem), "and it is named"


def _least(rights: Rights, stem: Stem) -> float:
    return min(one.max_similarity for one in rights.licenses_of(stem))


@quick
@given(worlds, st.lists(copies, min_size=2, max_size=5))
def test_undecided_every_license_must_grant_a_use(world: dict[str, Any], files: list[Copy]) -> None:
    catalogue = home()
    fill(catalogue, world, [(one, f"{i}.wav") for i, one in enumerate(files)])
    rights = catalogue.rights(None, TODAY)
    keys = {f"{one.library}/{one.license}" for one in files}
    for use in Use:
        alone = all(rights.licenses[key].refusal(use, None, TODAY) is None for key in keys)
        if use is Use.STYLE:
            alone = alone and len({one.artist for one in files}) == 1
        for i, one in enumerate(files):
            assert (rights.refusal(stem_of(one, f"{i}.wav"), use) is None) == alone
        assert (ID in rights.barred(use)) == (not alone and ID in rights.conflicts)


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "withhold"]),
        st.lists(
            st.tuples(decided_copies, st.sampled_from("abc"), st.sampled_from("12")), max_size=4
        ),
    ),
    max_size=6,
)


@quick
@given(steps)
def test_conflicts_follow_from_the_files_alone(
    todo: list[tuple[str, list[tuple[Copy, str, str]]]],
) -> None:
    """However the files came to be there, in whatever order and batches."""
    catalogue = home()
    for what, files in todo:
        for library in LIBRARIES:
            own = [(c, path, digit * 64) for c, path, digit in files if c.library == library]
            if what == "put":
                catalogue.put_files(library, [state(*one) for one in own])
            elif what == "remove":
                catalogue.remove_files(library, [path for _, path, _ in own])
            else:
                catalogue.put_withheld(
                    library,
                    [WithheldFile(f"{p}.old", 1, 1, id_, c.license, c.artist, c.decision)
                     for c, p, id_ in own],
                )  # fmt: skip
    other = home()
    for library in LIBRARIES:
        other.put_withheld(library, catalogue.withheld(library).values())
        other.put_files(library, catalogue.files(library).values())
    assert other.rights(None, TODAY).conflicts == catalogue.rights(None, TODAY).conflicts


@quick
@given(st.lists(decided_copies, min_size=2, max_size=6))
def test_a_library_sets_its_own_claims_aside_and_nobody_else_s(files: list[Copy]) -> None:
    claims = tuple(Claim(c.library, f"{i}", c.license, c.artist, c.decision)
                   for i, c in enumerate(files))  # fmt: skip
    outcome = Conflict(ID, claims).outcome
    assert outcome.licenses, "something always holds"
    for library in {claim.library for claim in claims}:
        own = {claim.key for claim in claims if claim.library == library}
        if not any(claim.decision for claim in claims if claim.library == library):
            assert own <= set(outcome.licenses)
        elif not own & set(outcome.licenses):
            foreign = {c.decision for c in claims if c.library == library and c.decision}
            assert foreign & set(outcome.licenses), "it gave way to one that holds"


@quick
@given(worlds, st.lists(decided_copies, min_size=1, max_size=5), st.sets(st.sampled_from("ne")))
def test_a_scope_neither_learns_of_other_libraries_nor_gets_rights_from_them(
    world: dict[str, Any], files: list[Copy], scope: set[str]
) -> None:
    """The same for it whether the others hold the file or not."""
    libraries = [name for name in LIBRARIES if name[0] in scope]
    told = [(one, f"{i}.wav") for i, one in enumerate(files)]
    catalogue = home()
    seen = LimitedCatalogue(catalogue, libraries)
    fill(catalogue, world, told)
    rights = seen.rights(None, TODAY)
    with_all = (
        [(conflict_json(c, rights)) for c in rights.conflicts.values()],
        [(one.path, uses_of(rights, one), rights.claims_on(one)) for one in seen.copies(ID)],
    )
    fill(catalogue, world, [(one, path) for one, path in told if one.library in libraries])
    rights = seen.rights(None, TODAY)
    alone = (
        [(conflict_json(c, rights)) for c in rights.conflicts.values()],
        [(one.path, uses_of(rights, one), rights.claims_on(one)) for one in seen.copies(ID)],
    )
    assert with_all == alone


def rights_of(*files: Copy, revoked: Sequence[tuple[RevocationOf, str]] = ()) -> Any:
    """Rights where ``x`` grants all and ``y`` prompt only, and the catalogue behind them."""
    catalogue = home()
    world = {f"{lib}/x": {} for lib in LIBRARIES}
    world |= {f"{lib}/y": {"uses": frozenset({Use.PROMPT})} for lib in LIBRARIES}
    fill(catalogue, world, [(one, f"{i}.wav") for i, one in enumerate(files)])
    for of, target in revoked:
        catalogue.revoke(Revocation(of, target, "", "desk", datetime.now(UTC)))
    rights = catalogue.rights(None, TODAY)
    return uses_of(rights, catalogue.copies(ID)[0]), rights


WIDE, NARROW = Copy("north", "x", "Hidden Ferry"), Copy("north", "y", "Hidden Ferry")
FOREIGN = Copy("west", "y", "Hidden Ferry")


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ([WIDE, NARROW], {Use.PROMPT}),
        ([replace(WIDE, decision="north/x"), NARROW], set(Use)),
        ([WIDE, replace(NARROW, decision="north/x")], set(Use)),
        ([WIDE, replace(NARROW, decision="north/y")], {Use.PROMPT}),
        # Two files of one library that say different things: nobody has decided.
        ([replace(WIDE, decision="north/x"), replace(NARROW, decision="north/y")], {Use.PROMPT}),
        # A license under which no file has the bytes.
        ([replace(WIDE, decision="north/z"), NARROW], {Use.PROMPT}),
        # Another library's claim is not one's own to set aside.
        ([replace(WIDE, decision="north/x"), FOREIGN], {Use.PROMPT}),
        ([WIDE, replace(FOREIGN, decision="north/x")], set(Use)),
        ([replace(WIDE, decision="west/y"), FOREIGN], {Use.PROMPT}),
        # Each gives way to the other: both hold.
        ([replace(WIDE, decision="west/y"), replace(FOREIGN, decision="north/x")], {Use.PROMPT}),
        # Giving way to somebody who is not there leaves nothing.
        ([replace(WIDE, decision="south/x")], set()),
    ],
)
def test_what_holds_by_decision(files: list[Copy], left: set[Use]) -> None:
    assert rights_of(*files)[0] == left


@pytest.mark.parametrize(
    ("files", "revoked", "left"),
    [
        ([WIDE, NARROW], (RevocationOf.LICENSE, "north/y"), set()),
        ([WIDE, NARROW], (RevocationOf.LICENSE, "north/x"), set()),
        ([WIDE, replace(NARROW, decision="north/x")], (RevocationOf.LICENSE, "north/y"), set(Use)),
        ([WIDE, replace(NARROW, decision="north/x")], (RevocationOf.LICENSE, "north/x"), set()),
        ([WIDE, replace(WIDE, artist="Paper Moth")], (RevocationOf.ARTIST, "Paper Moth"), set()),
        ([WIDE, replace(WIDE, artist="Paper Moth")], (RevocationOf.ARTIST, "Hidden Ferry"), set()),
        ([replace(NARROW, artist="Paper Moth"), replace(WIDE, decision="north/x")],
         (RevocationOf.ARTIST, "Paper Moth"), set(Use)),
        ([replace(NARROW, artist="Paper Moth"), replace(WIDE, decision="north/x")],
         (RevocationOf.STEM, ID), set()),
    ],
)  # fmt: skip
def test_a_revoked_claim_blocks_unless_a_decision_sets_it_aside(
    files: list[Copy], revoked: tuple[RevocationOf, str], left: set[Use]
) -> None:
    for order in itertools.permutations(files):
        found, rights = rights_of(*order, revoked=[revoked])
        assert found == left
        stem = stem_of(order[0], "0.wav")
        assert rights.is_revoked(stem) == (not left)
        assert (ID in rights.revoked | rights.barred(*Use)) == (not left)


def test_two_artists_for_the_same_bytes_are_nobody_s_style() -> None:
    found, rights = rights_of(WIDE, replace(WIDE, artist="Paper Moth"))
    assert found == set(Use) - {Use.STYLE}
    (conflict,) = rights.conflicts.values()
    document = conflict_json(conflict, rights)
    assert "Paper Moth" in document["refusals"]["style"]
    assert "stems.csv" in document["decide"]
    assert not document["decided"]
    assert rights_of(WIDE, replace(WIDE, artist=" Hidden  Ferry"))[1].conflicts == {}
    assert rights_of(WIDE, replace(WIDE, artist="hidden ferry"))[1].conflicts != {}, "another name"


def test_a_file_that_may_not_be_indexed_claims_its_bytes_all_the_same() -> None:
    catalogue = home()
    fill(catalogue, {"north/x": {}}, [(WIDE, "0.wav")])
    catalogue.put_withheld("north", [WithheldFile("old.wav", 1, 1, ID, "ended")])
    rights = catalogue.rights(None, TODAY)
    assert uses_of(rights, stem_of(WIDE, "0.wav")) == set()
    catalogue.put_withheld("north", [WithheldFile("old.wav", 1, 1, ID, "ended", "", "north/x")])
    rights = catalogue.rights(None, TODAY)
    assert uses_of(rights, stem_of(WIDE, "0.wav")) == set(Use)
    catalogue.put_withheld("north", [])
    assert catalogue.rights(None, TODAY).conflicts == {}


def test_a_conflict_is_told_with_files_holders_what_holds_and_what_to_write() -> None:
    _, rights = rights_of(WIDE, NARROW, FOREIGN)
    (conflict,) = rights.conflicts.values()
    document = conflict_json(conflict, rights)
    assert [(one["library"], one["path"], one["license"]) for one in document["claims"]] == [
        ("north", "0.wav", "x"), ("north", "1.wav", "y"), ("west", "2.wav", "y"),
    ]  # fmt: skip
    assert document["granted"] == ["prompt"]
    assert document["licenses"] == ["north/x", "north/y", "west/y"]
    for words in (
        'library.toml of north: [conflicts] "0.wav" = "x" and '
        'library.toml of west: [conflicts] "2.wav" = "north/x"; or ',
        '; or library.toml of north: [conflicts] "0.wav" = "west/y"',
    ):
        assert words in document["decide"]  # fmt: skip
    assert "  now: prompt (the strictest of north/x and north/y and west/y)" in conflict_lines(
        document
    )


def test_the_conflicts_of_an_older_home_are_found_when_it_is_opened(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "ledger.db"))
    told = [(WIDE, "0.wav", ID), (NARROW, "z/1.wav", ID), (WIDE, "2.wav", "b" * 64),
            (WIDE, "3.wav", "b" * 64)]  # fmt: skip
    with writing(engine) as db:
        make_schema(db, "0004")
        db.execute(text("INSERT INTO libraries VALUES ('north', 'North', '/nowhere')"))
        for key in ("north/x", "north/y"):
            uses = frozenset(Use) if key.endswith("x") else frozenset({Use.PROMPT})
            document = json.dumps(encode(granted(key, uses=uses)))
            row = {"id": key[-1], "license": document}
            db.execute(text("INSERT INTO licenses VALUES ('north', :id, :license)"), row)
        for copy, path, id_ in told:
            row = {
                "path": path,
                "id": id_,
                "stem": json.dumps(encode(stem_of(copy, path, id_))),
            }
            db.execute(
                text("INSERT INTO files VALUES ('north', :path, 1, 1, 'd', 's', :id, '', :stem)"),
                row,
            )
    catalogue = SqlCatalogue(engine)
    rights = catalogue.rights(None, TODAY)
    assert set(rights.conflicts) == {ID}
    assert uses_of(rights, stem_of(WIDE, "0.wav")) == {Use.PROMPT}
    assert [one.path for one in rights.conflicts[ID].claims] == ["0.wav", "z/1.wav"]

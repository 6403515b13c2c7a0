"""Refusals say what really stands against a use, and what they say would help does help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio import guardrails
from rag_audio.cli import guard as guarding
from rag_audio.cli import index, library
from rag_audio.cli.app import run
from rag_audio.domain import WORLD, License, Use
from rag_audio.domain.identifiers import COUNTRIES
from rag_audio.domain.licensing import RevocationOf
from rag_audio.domain.refusals import Obstacle
from rag_audio.errors import RequestRefused
from tests.support.rights_world import GOOD_ARTIST, TARGET_ARTIST, World, all_uses
from tests.support.whole_home import opened_by

NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)
DAYS = st.none() | st.dates(date(2026, 5, 1), date(2026, 5, 9))
codes = st.sampled_from(sorted(COUNTRIES))
areas = st.frozensets(codes | st.just(WORLD), min_size=1, max_size=4)


@st.composite
def licenses(draw: st.DrawFn) -> License:
    first, last = sorted([draw(DAYS), draw(DAYS)], key=lambda day: day or date.min)
    return License(
        id="some",
        library="small",
        holder="A Holder",
        spdx="LicenseRef-Some-1",
        uses=draw(st.frozensets(st.sampled_from(Use))),
        territories=draw(areas),
        excluded=draw(st.frozensets(codes, max_size=7)),
        valid_from=first,
        valid_until=last,
    )


@given(licenses(), st.sampled_from(Use), st.none() | codes)
@settings(max_examples=300)
def test_a_reason_names_a_fact_and_its_cure_helps(
    license: License, use: Use, territory: str | None
) -> None:
    found = license.why_not(use, territory, NOW)
    assert license.refusal(use, territory, NOW) == (None if found is None else found.reason)
    if found is None:
        assert use in license.uses and license.covers(territory)
        return
    assert license.id in found.reason and found.cure
    facts = {
        Obstacle.USE: use not in license.uses,
        Obstacle.EXPIRED: license.ended(NOW),
        Obstacle.NOT_BEGUN: license.starts is not None and license.starts > NOW,
        Obstacle.TERRITORY: not license.covers(territory),
        Obstacle.TERRITORY_UNSTATED: territory is None and not license.covers(None),
    }
    assert facts[found.obstacle]
    if found.obstacle is Obstacle.TERRITORY_UNSTATED:
        stated = found.cure.partition("--territory such as ")[2][:2]
        assert license.why_not(use, stated, NOW) is None
        assert "no territory was stated" in found.reason
    if found.obstacle is Obstacle.TERRITORY and territory is not None:
        assert territory in found.reason
    if found.obstacle <= Obstacle.NOT_BEGUN:
        assert use in license.uses and not license.ended(NOW)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("reasons"))
    yield made
    made.workspace.close()


def _licensed(**changes: Any) -> Callable[[World], None]:
    return lambda world: world.license(**changes)


def _revoked(of: RevocationOf, target: str) -> Callable[[World], None]:
    return lambda world: world.revoke(of, target)


TODAY = datetime.now(UTC).date()
DEFECTS: dict[str, tuple[Callable[[World], None], str | None, str, str]] = {
    "no territory": (
        _licensed(excluded=frozenset({"US"})), None,
        "license target covers WORLD without US, and no territory was stated", "--territory"),
    "no territory for some": (
        _licensed(territories=frozenset({"FR", "DE"})), None,
        "license target covers DE and FR only, and no territory was stated", "settings.toml"),
    "another territory": (
        _licensed(territories=frozenset({"FR"})), "DE",
        "license target covers FR only, and the output is for DE", "--territory"),
    "excluded": (
        _licensed(excluded=frozenset({"US"})), "US",
        "license target covers WORLD without US, and the output is for US", "--territory"),
    "not begun": (
        _licensed(valid_from=TODAY + timedelta(days=9)), None,
        f"license target is valid from {TODAY + timedelta(days=9)} only", "ask again"),
    "expired": (
        _licensed(valid_until=TODAY - timedelta(days=9)), None,
        f"license target expired on {TODAY - timedelta(days=9)}", "valid_until"),
    "no style": (
        _licensed(uses=all_uses() - {Use.STYLE}), None,
        "license target does not grant style", "Target Holder"),
    "no license": (_licensed(gone=True), None, "no license named 'target'", "library.toml"),
    "artist revoked": (
        _revoked(RevocationOf.ARTIST, TARGET_ARTIST), None,
        f"artist {TARGET_ARTIST} was revoked", f"revoke --undo --artist '{TARGET_ARTIST}'"),
    "license revoked": (
        _revoked(RevocationOf.LICENSE, "small/target"), None,
        "license target was revoked", "revoke --undo --license small/target"),
    "tags only": (
        World.undeclare_artist, None,
        f"{TARGET_ARTIST} is named in tags of files only, which grant nothing", "stems.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_an_artist_is_refused_for_what_stands_against_the_artist(world: World, name: str) -> None:
    """By option, in the prompt and by name, with the same fact and a cure."""
    world.reset()
    change, territory, reason, cure = DEFECTS[name]
    change(world)
    for request in (
        lambda: world.workspace.plan("slow", artist=TARGET_ARTIST.lower(), territory=territory),
        lambda: world.workspace.plan(f"in the style of {TARGET_ARTIST}", territory=territory),
        lambda: world.workspace.artist(TARGET_ARTIST, territory=territory),
    ):
        with pytest.raises(RequestRefused) as refused:
            request()
        assert refused.value.message == f"refused: {TARGET_ARTIST} may not be asked for: {reason}"
        assert cure in refused.value.hint
    decision = guardrails.check(f"in the style of {TARGET_ARTIST}", world.workspace.pipeline.policy(
        territory))  # fmt: skip
    assert reason in decision.reason and cure in decision.to_json()["cure"]


@pytest.mark.parametrize("name", sorted(set(DEFECTS) - {"no style", "tags only"}))
def test_a_named_stem_is_refused_for_what_stands_against_it(world: World, name: str) -> None:
    world.reset()
    change, territory, reason, cure = DEFECTS[name]
    change(world)
    for request in (
        lambda: world.workspace.plan("slow", references=(world.target.id,), territory=territory),
        lambda: world.workspace.search(like=world.target.id, territory=territory),
    ):
        with pytest.raises(RequestRefused) as refused:
            request()
        assert reason in refused.value.message
        assert cure in refused.value.hint


@given(st.permutations(["no territory", "expired", "no style", "not begun"]))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_several_licenses_the_reason_that_can_be_helped_is_told(
    world: World, order: list[str]
) -> None:
    """Whatever else fails: who could be asked for with a territory is told so."""
    world.reset()
    first, second = order[:2]
    DEFECTS[first][0](world)
    one = world.workspace.pipeline.rights().licenses["small/target"]
    DEFECTS[second][0](world)
    rights = world.workspace.pipeline.rights()
    two = replace(rights.licenses["small/target"], id="second")
    other = replace(world.score, license="second")
    both = replace(rights, licenses={one.key: one, two.key: two})
    policy = guardrails.make_policy([world.target, other], both, ())
    told = policy.why_not(TARGET_ARTIST)
    assert told is not None
    against = [both.why_no_style(stem) for stem in (world.target, other)]
    assert told.obstacle == min(why.obstacle for why in against if why is not None)


def test_strangers_are_told_apart_from_artists_of_the_library(world: World) -> None:
    world.reset()
    world.license(excluded=frozenset({"US"}))
    with pytest.raises(RequestRefused, match="no indexed stem is by that name") as refused:
        world.workspace.plan("slow", artist="Zorblat Quux")
    assert GOOD_ARTIST in refused.value.hint
    words = f"in the style of Zorblat Quux and in the style of {TARGET_ARTIST}"
    with pytest.raises(RequestRefused, match=r"artist: Zorblat Quux; .* WORLD") as of:
        world.workspace.plan(words)
    assert GOOD_ARTIST in of.value.hint


def test_an_older_plan_is_refused_for_what_stands_against_it_now(world: World) -> None:
    world.reset()
    plan = world.workspace.plan("slow", references=(world.target.id,), seed=1, duration_s=4.0)
    world.license(excluded=frozenset({"US"}))
    with pytest.raises(RequestRefused, match=r"WORLD without US, and no") as refused:
        world.workspace.renew(plan)
    assert "--territory" in refused.value.hint
    world.workspace.renew(plan, territory="DE")


def _document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.fixture
def opened(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Commands work on the test's home; nothing is closed between them."""
    opened_by(monkeypatch, world.workspace, library, index, guarding)
    world.reset()
    return world


def test_lists_and_empty_searches_say_why_and_what_would_help(
    opened: World, capsys: pytest.CaptureFixture[str]
) -> None:
    opened.license(excluded=frozenset({"US"}))
    artists = {one["artist"]: one for one in _document(capsys, "artists")["artists"]}
    assert "no territory was stated" in artists[TARGET_ARTIST]["refusal"]
    assert "--territory" in artists[TARGET_ARTIST]["cure"]
    assert artists[GOOD_ARTIST]["refusal"] == artists[GOOD_ARTIST]["cure"] == ""
    rows = {one["license"]: one for one in _document(capsys, "library")["licenses"]}
    assert (
        "WORLD without US" in rows["target"]["refusal"] and "--territory" in rows["target"]["cure"]
    )
    found = _document(capsys, "search", "zither", "--artist", TARGET_ARTIST)
    assert found["references"] == []
    assert "no territory was stated" in found["notes"][0] and "--territory" in found["notes"][1]
    guard = _document(capsys, "guard", f"like {TARGET_ARTIST}")["decisions"][0]
    assert "no territory was stated" in guard["reason"] and "--territory" in guard["cure"]
    for command in (["artists"], ["library"], ["guard", f"like {TARGET_ARTIST}"]):
        capsys.readouterr()
        assert run(command) == 0
        assert "--territory" in capsys.readouterr().out.replace("\n", " ")


def test_reasons_are_told_once_and_without_the_word_of_the_message() -> None:
    assert RequestRefused("refused: it ended").reasons == ("it ended",)
    given = ["refused: it ended", "it ended", "it was revoked"]
    assert RequestRefused("refused: two", reasons=given).reasons == ("it ended", "it was revoked")


def test_a_search_that_finds_nothing_in_the_index_says_so(
    opened: World, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [p.id for stem in opened.targets for p in opened.home.index.find_stem(stem)]
    opened.home.index.delete(points)
    found = _document(capsys, "search", "zither", "--artist", TARGET_ARTIST)
    assert found["references"] == []
    assert "rag-audio index on small" in found["notes"][0]
    assert _document(capsys, "search", "electric", "--artist", GOOD_ARTIST)["notes"] == []

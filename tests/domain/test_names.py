"""Names: never one artist for another, whatever both are made of; a typed name is looked up."""

from __future__ import annotations

import unicodedata
from datetime import date
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rag_audio import guardrails
from rag_audio.domain import License, Rights, Segment, SegmentFilter, Stem, StemKind, Use, names
from rag_audio.domain.names import Matched
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.guardrails import Action, Policy
from rag_audio.storage.qdrant_common import Requests, payload_of

ALPHABETS = (
    "abcdeABCDE",
    "áéñöøßÅÇ",
    "ウドラトバパハかがさざ゙ﾄﾞー",
    "!?$†+/*&#@.:)(-_'’…",
    "0123456789",
    "αβΓΆдйёЖ",
    "कखिीुं्",
    "한글말ㅎ",
    "ا بَتَ",
    " \u200b\u00a0\ufe0f",
)
letters = st.sampled_from("".join(ALPHABETS))
artists = (
    st.text(letters, min_size=1, max_size=8)
    .map(names.exact)
    .filter(lambda name: names.fold(name) != "")
)
pairs = st.tuples(artists, artists).filter(lambda pair: not names.same(*pair))
LICENSE = License("full", "lib", "Holder", "LicenseRef-1", frozenset(Use))
TODAY = date(2026, 6, 1)


def stem(artist: str, license: str = "full") -> Stem:
    return Stem(
        id=(artist.encode().hex() * 64 + "0" * 64)[:64],
        library="lib",
        path=f"{len(artist)}.wav",
        kind=StemKind.AUDIO,
        duration_s=10.0,
        title="",
        artist=artist,
        artist_declared=True,
        license=license,
    )


@given(artists, artists)
@example("ラウド", "ラウト")
@example("M.O.X.", "MOX")
@example("Ka/Vo", "Ka Vo")
def test_forms_are_stable_and_each_follows_from_the_one_before(one: str, other: str) -> None:
    for form in (names.exact, names.fold, names.loose):
        assert form(form(one)) == form(one)
    assert names.fold(names.exact(one)) == names.fold(one)
    assert names.exact(unicodedata.normalize("NFD", one)) == one
    if names.fold(one) == names.fold(other):
        assert names.loose(one) == names.loose(other)


@given(artists, st.text(letters, max_size=12))
def test_a_placed_fold_knows_where_every_sign_stood(name: str, text: str) -> None:
    placed = names.fold_placed(text)
    assert len(placed.text) == len(placed.origin)
    assert " ".join(placed.text.split()) == names.fold(text)
    assert all(0 <= start < end <= len(text) for start, end in placed.origin)


@given(pairs, st.lists(artists, max_size=4))
@example(("ラウド", "ラウト"), [])
@example(("!!!", "$$$"), [])
@example(("A", "a"), ["Á"])
def test_a_name_as_it_is_written_is_that_name(pair: tuple[str, str], more: list[str]) -> None:
    for name in pair:
        assert names.lookup(name, [*pair, *more]) == names.Lookup((name,), Matched.EXACT)


@given(pairs, st.sampled_from([str.upper, str.lower, str.title, str.casefold]))
def test_a_typed_name_is_never_another_without_asking(
    pair: tuple[str, str], change: object
) -> None:
    typed = change(pair[0])  # type: ignore[operator]
    found = names.lookup(typed, pair)
    if len(found.names) > 1:
        with pytest.raises(InvalidInput, match="may be any of 2 artists"):
            names.resolve(typed, pair)
    elif found.names == (pair[1],):
        # Only where the other name is nearer to what was typed than the one that was changed.
        assert names.fold(typed) == names.fold(pair[1]) != names.fold(pair[0]) or (
            names.same(typed, pair[1]) or names.fold(pair[0]) != names.fold(typed)
        )


def test_the_steps_of_a_look_up() -> None:
    known = ["Zoë Ñandú", "ラウド", "ラウト", "M.O.X.", "Ka/Vo", "!!!", "Straße Nord", "AC-D"]
    for typed, meant in (
        ("zoe nandu", "Zoë Ñandú"),
        ("ZOË  ÑANDÚ", "Zoë Ñandú"),
        ("ﾗｳﾄﾞ", "ラウド"),
        ("ラウト", "ラウト"),
        ("mox", "M.O.X."),
        ("m. o. x.", "M.O.X."),
        ("ka/vo", "Ka/Vo"),
        ("strasse nord", "Straße Nord"),
        ("！！！", "!!!"),
        ("AC–D", "AC-D"),
        ("ac d", "AC-D"),
    ):
        assert names.resolve(typed, known) == meant, typed
    for typed in ("", " ", "...", "---", "kavo", "ka vo", "!!", "$$$", "ラウ", "\u200b", "ac/d"):
        assert names.resolve(typed, known) is None, typed


def test_what_folds_alike_is_asked_for() -> None:
    known = ["Mono", "MONO", "Mo-No", "Mo.No"]
    assert names.resolve("MONO", known) == "MONO"
    with pytest.raises(InvalidInput, match=r"'MONO', 'Mono'") as raised:
        names.resolve("mono", known)
    assert "exactly" in raised.value.hint
    with pytest.raises(InvalidInput, match=r"'Mo-No', 'Mo\.No'"):
        names.resolve("mo no", ["Mo-No", "Mo.No"])


@given(pairs)
@example(("ラウト", "ラウド"))
@example(("!!!", "???"))
@example(("Mono", "MONO"))
def test_revoking_one_artist_revokes_no_other_one(pair: tuple[str, str]) -> None:
    revoked, other = pair
    keys = frozenset({names.revocation_key(revoked, pair)})
    rights = Rights({LICENSE.key: LICENSE}, "DE", TODAY, revoked_artists=keys)
    assert rights.is_revoked(stem(revoked))
    assert not rights.is_revoked(stem(other))
    assert rights.refusal(stem(other), Use.STYLE) is None


@given(artists, st.sampled_from([str.upper, str.lower, str.swapcase]))
def test_a_revocation_holds_when_the_name_is_written_otherwise_later(
    name: str, change: object
) -> None:
    key = frozenset({names.revocation_key(name, [name])})
    again = change(name)  # type: ignore[operator]
    assume(names.fold(again) == names.fold(name))
    assert names.is_revoked(again, key)


@given(pairs)
def test_the_index_tells_any_two_artists_apart(pair: tuple[str, str]) -> None:
    payloads = [payload_of(Segment(stem(name), 0.0, 10.0)) for name in pair]
    assert payloads[0]["artist"] != payloads[1]["artist"]
    where = SegmentFilter(frozenset({"lib/full"}), artists=(pair[0],))
    must = Requests(*[dict] * 7).matching(where)["must"]
    wanted = next(one["match"]["any"] for one in must if one["key"] == "artist")
    assert payloads[0]["artist"] in wanted
    assert payloads[1]["artist"] not in wanted


@settings(max_examples=200)
@given(pairs)
@example(("ラウト", "ラウド"))
@example(("!!!", "$$$"))
@example(("A", "M.I.A."))
@example(("MOX", "M.O.X."))
@example(("Mono", "MONO"))
def test_style_of_one_artist_is_never_style_of_another(pair: tuple[str, str]) -> None:
    licensed, other = pair
    policy = Policy(frozenset({licensed}), frozenset({other}))
    assert guardrails.require_artist(licensed, policy) == licensed
    with pytest.raises(RequestRefused):
        guardrails.require_artist(other, policy)
    for phrase in ("in the style of {}", "a slow waltz in the style of {}", "sounds like {}"):
        decision = guardrails.check(phrase.format(other), policy)
        assert decision.action is Action.REFUSE, phrase.format(other)


@settings(max_examples=100)
@given(artists)
@example("!!!")
@example("+/-")
@example("A")
@example("ラウド")
@example(": \ufe0f")
@example("\u200b 0")
def test_a_licensed_name_may_be_asked_for_whatever_it_is_made_of(name: str) -> None:
    policy = Policy(frozenset({name}), frozenset())
    decision = guardrails.check(f"a slow waltz in the style of {name}", policy)
    assert decision.action is Action.ALLOW, decision


def test_everyday_words_name_an_artist_only_as_the_artist_is_written() -> None:
    policy = Policy(frozenset(), frozenset({"Rain", "A"}))
    allowed = (
        "a song like rain on the roof",
        "in the style of a slow waltz",
        "keys in A minor",
        "A song",
        "A type beat, 90 bpm",
    )
    refused = ("a song like Rain, slow", "a waltz in the style of A", "drums in A's style")
    for prompts, action in ((allowed, Action.ALLOW), (refused, Action.REFUSE)):
        for prompt in prompts:
            assert guardrails.check(prompt, policy).action is action, prompt


def test_no_other_module_folds_names_in_a_way_of_its_own() -> None:
    """Guardrails read prompts through disguises, and paths are composed; neither compares names."""
    root = Path(__file__).parents[2]
    known = {
        "rag_audio/domain/names.py",
        *(
            f"rag_audio/guardrails/{name}.py"
            for name in ("native_scripts", "normalise", "transliteration", "written_names")
        ),
        "rag_audio/storage/qdrant_common.py",  # tags
        "rag_audio/storage/migrations/versions/v0005_names.py",  # what was stored before
        "indexer/path_patterns.py",  # paths
        "indexer/name_hints.py",  # names of files, for tempo and key
        "indexer/starter.py",  # names of folders
        "rag_audio/generation/legibility.py",  # letters of a prompt
    }
    modules = (path for package in ("rag_audio", "indexer") for path in (root / package).rglob("*"))
    folding = {
        path.relative_to(root).as_posix()
        for path in modules
        if path.suffix == ".py" and "unicodedata" in path.read_text(encoding="utf-8")
    }
    assert folding == known


@pytest.mark.parametrize("name", ["!!!", "†††", "+/-", "ラウド", "Velda Quarn"])
def test_what_introduces_a_name_is_no_part_of_it(name: str) -> None:
    phrases = (
        "in the style of a band called {}",
        "in the style of someone called {}",
        "in the style of the artist known as {}",
        "drums in {}'s style",
        "in the style of — {}",
        "in the style of *{}*",
    )
    licensed, barred = (
        Policy(frozenset({name}), frozenset()),
        Policy(frozenset(), frozenset({name})),
    )
    for phrase in phrases:
        prompt = phrase.format(name)
        assert guardrails.check(prompt, licensed).action is Action.ALLOW, prompt
        assert guardrails.check(prompt, barred).action is Action.REFUSE, prompt


@pytest.mark.parametrize(
    "piece", ["the  ", "the\t ", "a an the ", "called  ", '" * ', "... ", "–  "]
)
def test_a_text_of_nothing_but_introductions_is_decided(piece: str) -> None:
    """A pattern that goes back over what it took would take for ever here."""
    policy = Policy(frozenset({"???"}), frozenset({"!!!"}))
    for name, action in (("!!!", Action.REFUSE), ("x !!!", None), ("", Action.ALLOW)):
        decision = guardrails.check(f"in the style of {piece * 20}{name}", policy)
        assert action is None or decision.action is action, (name, decision)

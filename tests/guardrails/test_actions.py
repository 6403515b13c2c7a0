from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag_audio import guardrails
from rag_audio.errors import ConfigError, RequestRefused
from rag_audio.guardrails import Action, Artist, Policy, Roster

ZANTHER = Artist("Zanther Quill", ("Quillz",), genre="jazz", era="1950s")
NOBODY = Artist("Ozzeldrim Vantrell")


def _policy(actions: str, **styles: tuple[str, ...]) -> Policy:
    licensed = frozenset(name.replace("_", " ") for name in styles)
    return Policy(
        licensed,
        frozenset(),
        Roster((ZANTHER, NOBODY)),
        guardrails.parse_actions(actions),
        {name.replace("_", " "): tags for name, tags in styles.items()},
    )


@pytest.mark.parametrize(
    "prompt",
    ["in the style of Zanther Quill, slow", "a Zanther Quill type beat", "zanther-quill's horns"],
)
def test_transform_puts_music_in_place_of_the_name(prompt: str) -> None:
    policy = _policy("named-artist=transform,style-phrase=transform")
    decision = guardrails.check(prompt, policy)
    assert decision.action is Action.TRANSFORM
    assert "1950s jazz" in decision.prompt_out
    assert "uill" not in decision.prompt_out
    assert "Zanther Quill became" in decision.reason
    assert guardrails.check(decision.prompt_out, policy).action is Action.ALLOW


def test_transform_refuses_whom_nothing_is_known_of() -> None:
    policy = _policy("named-artist=transform,style-phrase=transform")
    for prompt in ("like Ozzeldrim Vantrell", "in the style of Mirk Trondvey"):
        assert guardrails.check(prompt, policy).action is Action.REFUSE


def test_one_rule_that_refuses_outweighs_another_that_transforms() -> None:
    policy = _policy("named-artist=transform,style-phrase=refuse")
    prompt = "Zanther Quill horns in the style of Mirk Trondvey"
    assert guardrails.check(prompt, policy).action is Action.REFUSE


def test_transform_names_the_nearest_licensed_artist() -> None:
    policy = _policy(
        "named-artist=transform", Copper_Lantern_Trio=("jazz", "trumpet"), Low_Tide=("techno",)
    )
    decision = guardrails.check("Zanther Quill horns", policy)
    assert decision.action is Action.TRANSFORM
    assert "Copper Lantern Trio" in decision.reason


NEAREST = "named-artist=transform-licensed,style-phrase=transform-licensed"


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("in the style of Zanther Quill, slow", "in the style of Copper Lantern Trio, slow"),
        ("a Zanther Quill type beat", "a Copper Lantern Trio type beat"),
        ("zanther-quill's horns", "Copper Lantern Trio's horns"),
        ("Quillz meets ZANTHER QUILL", "Copper Lantern Trio meets Copper Lantern Trio"),
        ("in the style of Z4nther Qu1ll", "in the style of Copper Lantern Trio"),
    ],
)
def test_transform_rewrites_to_the_nearest_licensed_artist(prompt: str, wanted: str) -> None:
    policy = _policy(NEAREST, Copper_Lantern_Trio=("jazz", "trumpet"), Low_Tide=("techno",))
    decision = guardrails.check(prompt, policy)
    assert (decision.action, decision.prompt_out) == (Action.TRANSFORM, wanted)
    assert decision.artist == "Copper Lantern Trio"
    assert "Zanther Quill became the licensed Copper Lantern Trio" in decision.reason
    assert guardrails.check(decision.prompt_out, policy).action is Action.ALLOW


def test_where_no_licensed_artist_is_near_the_music_is_described() -> None:
    decision = guardrails.check("Zanther Quill horns", _policy(NEAREST, Low_Tide=("techno",)))
    assert decision.action is Action.TRANSFORM
    assert decision.prompt_out.startswith("1950s jazz with ")
    assert decision.artist is None
    assert "no licensed artist being near" in decision.reason


def test_the_genre_weighs_more_than_an_instrument() -> None:
    policy = _policy(NEAREST, Bass_Club=("trumpet", "techno"), Late_Trio=("slow", "jazz"))
    assert guardrails.check("Zanther Quill horns", policy).artist == "Late Trio"


def test_whom_nothing_is_known_of_is_refused_also_beside_a_licensed_artist() -> None:
    policy = _policy(NEAREST, Late_Trio=("jazz",))
    for prompt in ("like Ozzeldrim Vantrell", "Zanther Quill in the style of Mirk Trondvey"):
        assert guardrails.check(prompt, policy).action is Action.REFUSE


def test_every_artist_of_the_list_can_become_a_licensed_one() -> None:
    roster = guardrails.load_roster(None)
    tags = tuple(dict.fromkeys(word for artist in roster.artists for word in artist.genre.split()))
    styles = {"Copper Lantern Trio": tags}
    policy = Policy(
        frozenset(styles), frozenset(), roster, guardrails.parse_actions(NEAREST), styles
    )
    for artist in [one for one in roster.artists if one.well_known][::41]:
        decision = guardrails.check(f"strings in the style of {artist.name}", policy)
        wanted = "strings in the style of Copper Lantern Trio"
        assert decision.prompt_out.rstrip(".") == wanted, decision
        assert decision.artist == "Copper Lantern Trio"


def test_a_rule_may_be_told_to_allow_and_says_so() -> None:
    decision = guardrails.check("Zanther Quill horns", _policy("named-artist=allow"))
    assert decision.action is Action.ALLOW
    assert decision.matches
    assert decision.prompt_out == decision.prompt


@pytest.mark.parametrize("text", ["named-artist=explode", "mood=refuse", "refuse"])
def test_an_unknown_rule_or_action_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        guardrails.parse_actions(text)


def test_every_artist_of_the_list_can_be_transformed() -> None:
    roster = guardrails.load_roster(None)
    policy = Policy(
        frozenset(),
        frozenset(),
        roster,
        guardrails.parse_actions("style-phrase=transform,named-artist=transform"),
    )
    for artist in [one for one in roster.artists if one.well_known][::37]:
        decision = guardrails.check(f"strings in the style of {artist.name}", policy)
        assert decision.action is Action.TRANSFORM, (artist.name, decision)
        assert artist.genre in decision.prompt_out


def test_decisions_are_logged_and_counted_without_the_text(tmp_path: Path, policy: Policy) -> None:
    log = tmp_path / "security.jsonl"
    guardrails.log_to(log)
    before = guardrails.counts().get("refuse/style-phrase", 0)
    with pytest.raises(RequestRefused):
        guardrails.require("piano like Zorblat Quux", policy)
    assert guardrails.judge("slow piano", policy).action is Action.ALLOW
    refused, allowed = (json.loads(line) for line in log.read_text().splitlines()[-2:])
    assert refused["action"] == "refuse"
    assert refused["rules"] == ["style-phrase"]
    assert refused["spans"] == [[11, 23, "style-phrase"]]
    assert allowed["action"] == "allow"
    assert "orblat" not in log.read_text()
    assert "piano" not in log.read_text()
    assert guardrails.counts()["refuse/style-phrase"] == before + 1


def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        guardrails.log_to(tmp_path / "nowhere" / "log")


def test_only_artists_who_share_a_tag_are_compared() -> None:
    read: list[str] = []

    class Styles(dict[str, tuple[str, ...]]):
        def __getitem__(self, name: str) -> tuple[str, ...]:
            read.append(name)
            return super().__getitem__(name)

    styles = Styles({f"Zorvel {i:03}": ("marimba polka",) for i in range(300)})
    styles["Late Trio"] = ("smoky", "jazz")
    policy = Policy(
        frozenset(styles),
        frozenset(),
        guardrails.load_roster(None),
        guardrails.parse_actions(NEAREST),
        styles,
    )
    assert guardrails.check("strings in the style of Miles Davis", policy).artist == "Late Trio"
    assert set(read) == {"Late Trio"}

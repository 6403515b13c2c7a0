from __future__ import annotations

from datetime import date

import pytest

from rag_audio import guardrails
from rag_audio.domain import License, Rights, Stem, StemKind, Use
from rag_audio.errors import RequestRefused
from rag_audio.guardrails import Action, Policy
from tests.guardrails.conftest import LICENSED, UNLICENSED


@pytest.mark.parametrize(
    "prompt",
    [
        "warm lofi in the style of Miles Davis",
        "MILES   DAVIS trumpet",
        "míles dávis, muted",
        "a Drake type beat",
        "in the style of queen",
        "something like Zorblat Quux",
        "Im Stil von Kraftwerk",
        f"in the style of {LICENSED} and Zorblat",
        f"slow piece inspired by {UNLICENSED}",
        f"{UNLICENSED.lower()} at midnight",
        "dans le style de Zorblat",
    ],
)
def test_an_unlicensed_name_is_refused(prompt: str, policy: Policy) -> None:
    decision = guardrails.check(prompt, policy)
    assert decision.action is Action.REFUSE
    assert decision.matches
    for match in decision.matches:
        assert prompt[match.start : match.end] == match.text
    with pytest.raises(RequestRefused) as refused:
        guardrails.require(prompt, policy)
    assert refused.value.exit_code == 3
    assert LICENSED in refused.value.hint


@pytest.mark.parametrize(
    "prompt",
    [
        f"in the style of {LICENSED}, on warm tape",
        f"in the style of {LICENSED} Jazz",
        "sounds like rain on a tin roof",
        "like the second reference",
        "in the style of Chicago house",
        "in the style of 90s Detroit techno",
        "drake the duck quacks, a prince and a queen dance",
        "sounds like A minor at 92 BPM",
        "Slow Rhodes, brushed drums, D minor",
    ],
)
def test_an_innocent_prompt_is_allowed(prompt: str, policy: Policy) -> None:
    assert guardrails.check(prompt, policy).action is Action.ALLOW


def _stem(artist: str, license: str, declared: bool = True) -> Stem:
    return Stem(
        id=artist,
        library="l",
        path="a.wav",
        kind=StemKind.AUDIO,
        license=license,
        duration_s=10.0,
        artist=artist,
        artist_declared=declared,
    )


def test_style_is_licensed_only_by_stems_csv_under_a_license_that_grants_it() -> None:
    today = date(2026, 6, 1)
    full = License("full", "l", "H", "LicenseRef-x", frozenset(Use))
    plain = License("plain", "l", "H", "LicenseRef-x", frozenset({Use.PROMPT}))
    old = License("old", "l", "H", "LicenseRef-x", frozenset(Use), valid_until=date(2026, 5, 31))
    rights = Rights({x.key: x for x in (full, plain, old)}, None, today)
    stems = [
        _stem("Declared One", "full"),
        _stem("Tagged Two", "full", declared=False),
        _stem("Plain Three", "plain"),
        _stem("Old Four", "old"),
    ]
    policy = guardrails.make_policy(stems, rights, ())
    assert policy.licensed == {"Declared One"}
    assert policy.protected == {"Tagged Two", "Plain Three", "Old Four"}
    assert guardrails.require_artist("declared one", policy) == "Declared One"
    with pytest.raises(RequestRefused, match="Old Four"):
        guardrails.require_artist("Old Four", policy)


def test_bare_names_make_a_policy_too() -> None:
    policy = Policy(frozenset(), frozenset({"Zanther Quill", "Ozzeldrim"}))
    for prompt in ("zanther quill drums", "z a n t h e r q u i l l", "an OZZELDRIM ballad"):
        assert guardrails.check(prompt, policy).action is Action.REFUSE
    assert guardrails.check("slow piano, brushed drums", policy).action is Action.ALLOW


def test_a_license_takes_an_artist_and_their_songs_from_the_list() -> None:
    roster = guardrails.load_roster(None)
    artist = next(a for a in roster.artists if a.name == roster.songs[0].artist)
    title = roster.songs[0].title
    without = Policy(frozenset(), frozenset(), roster)
    granted = Policy(frozenset({artist.name}), frozenset(), roster)
    for prompt in (f"in the style of {artist.name}", f"slower than {title}"):
        assert guardrails.check(prompt, without).action is Action.REFUSE
        assert guardrails.check(prompt, granted).action is Action.ALLOW


def test_a_longer_name_that_contains_a_licensed_one_is_still_refused() -> None:
    policy = Policy(frozenset({"Ozzeldrim"}), frozenset({"Ozzeldrim Vantrell"}))
    assert guardrails.check("an Ozzeldrim ballad", policy).action is Action.ALLOW
    assert guardrails.check("an Ozzeldrim Vantrell ballad", policy).action is Action.REFUSE


@pytest.mark.parametrize(
    "prompt", ["", " ", "\n", "...", "🎹🎷", "\u200b", "a" * 30_000, "1", "'s", "́"]
)
def test_odd_texts_are_decided_about(prompt: str, policy: Policy) -> None:
    assert guardrails.check(prompt, policy).action is Action.ALLOW


def test_a_name_far_into_a_long_text_is_found(policy: Policy) -> None:
    prompt = "warm piano, soft drums, " * 300 + f"like {UNLICENSED}"
    assert guardrails.check(prompt, policy).action is Action.REFUSE


def test_a_refusal_names_some_of_many_licensed_artists() -> None:
    many = frozenset(f"Zorvel {i:03}" for i in range(500))
    with pytest.raises(RequestRefused) as caught:
        guardrails.require_artist("Zanther Quill", Policy(many, frozenset()))
    assert caught.value.hint.startswith("licensed for style: Zorvel 000, Zorvel 001, ")
    assert caught.value.hint.endswith("Zorvel 019, and 480 more")

"""Names that are written as they are heard."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from rag_audio import guardrails
from rag_audio.guardrails import Action, Policy
from rag_audio.guardrails.prompts import evaluate, read_labelled
from rag_audio.guardrails.transliteration import heard, most_unlike, unlikeness

EAR = Path(__file__).parent.parent / "data" / "guardrails" / "ear.csv"


def apart(one: str, other: str) -> float:
    """How unlike the nearest readings are; 1 when no consonants agree."""
    pairs = [
        (unlikeness(a, b), a.key)
        for a, b in itertools.product(heard(one), heard(other))
        if a.key == b.key
    ]
    return min((cost for cost, _ in pairs), default=1.0)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("billyeyelish", "billieeilish"),
        ("doowaleepa", "dualipa"),
        ("mykeljaxon", "michaeljackson"),
        ("dayvidboey", "davidbowie"),
        ("alishakeez", "aliciakeys"),
        ("beeyonsay", "beyonce"),
        ("kamilakabeyo", "camilacabello"),
        ("rozaleea", "rosalia"),
    ],
)
def test_what_is_heard_alike_has_a_reading_in_common(written: str, name: str) -> None:
    found = apart(written, name)
    assert found <= most_unlike(heard(name)[0].key), (heard(written), heard(name))


@pytest.mark.parametrize(
    ("written", "name"), [("delayloop", "dualipa"), ("duelleap", "dualipa"), ("resilio", "rosalia")]
)
def test_the_same_consonants_with_other_vowels_are_another_name(written: str, name: str) -> None:
    assert apart(written, name) > 0.2


@pytest.mark.parametrize("letters", ["", "a", "sade", "oasis", "aeiou", "th", "wh", "x" * 40])
def test_what_has_few_consonants_is_not_told_by_its_sound(letters: str) -> None:
    assert all(len(one.key) >= 3 for one in heard(letters))
    assert all(len(one.vowels) == len(one.key) + 1 for one in heard(letters))


@pytest.mark.parametrize(
    "prompt",
    ["slow Doowa Leepa guitar", "Mykel Jaxon drums", "a beeyonsay hook", "warm alisha keez piano"],
)
def test_a_name_spelled_by_ear_is_found_without_a_style_phrase(policy: Policy, prompt: str) -> None:
    assert guardrails.check(prompt, policy).action is Action.REFUSE


@pytest.mark.parametrize(
    "prompt", ["a Florida beach at dusk", "a beatless drone", "leftfield bass"]
)
def test_dictionary_words_are_not_names_in_another_spelling(policy: Policy, prompt: str) -> None:
    assert guardrails.check(prompt, policy).action is Action.ALLOW


@pytest.mark.parametrize("prompt", ["Pet Sop Boys synths", "in the style of Cat Sevens"])
def test_a_misspelling_that_makes_dictionary_words_is_found_by_its_capitals(
    policy: Policy, prompt: str
) -> None:
    assert guardrails.check(prompt, policy).action is Action.REFUSE
    assert guardrails.check("a cat sevens up, pet sop", policy).action is Action.ALLOW


@pytest.mark.parametrize("prompt", ["r4ul 531x45 guitar", "c1g4r3tt35 4ft3r 53x", "0n3 0k r0ck"])
def test_figures_that_look_like_quantities_are_read_beside_disguised_words(
    policy: Policy, prompt: str
) -> None:
    assert guardrails.check(prompt, policy).action is Action.REFUSE


def test_names_by_ear_and_words_that_sound_alike(policy: Policy) -> None:
    found = evaluate("ear.csv", read_labelled(EAR), policy)
    assert found.recall >= 0.92, [w.prompt for w in found.wrong]
    assert found.stopped == 0, [w.prompt for w in found.wrong]

"""Prompts that only look like a request: private people, everyday words, institutions."""

from __future__ import annotations

import csv

import pytest

from rag_audio.domain.lexicon import forms_of
from rag_audio.guardrails import Policy, check
from rag_audio.guardrails.policy import Action
from rag_audio.guardrails.prompts import evaluate, read_labelled
from rag_audio.guardrails.vocabulary import plain_words
from rag_audio.resources import data_dir
from tests.guardrails.test_labelled import SETS


@pytest.mark.parametrize(
    ("name", "caught", "stopped"),
    [
        ("blind_a.csv", 168, 0),
        ("blind_b.csv", 168, 0),
        ("dev2.csv", 248, 1),
        ("innocent2.csv", 0, 3),
    ],
)
def test_sets_after_their_first_look(name: str, caught: int, stopped: int, policy: Policy) -> None:
    found = evaluate(name, read_labelled(SETS / name), policy)
    assert found.caught >= caught, [w.prompt for w in found.wrong if w.label == "attack"]
    assert found.stopped <= stopped, [w.prompt for w in found.wrong if w.label == "innocent"]


@pytest.mark.parametrize("name", ["Drake", "Jackson", "Elvis", "Adele", "Bowie", "Shakira"])
@pytest.mark.parametrize(
    "prompt",
    [
        "a song for my uncle {}, accordion polka",
        "march for coach {}, brass band",
        "our hamster {} runs in his wheel, xylophone",
        "apology to {}, my sister in law, soft guitar",
        "birthday song for {}, jolly ukulele",
        "lullaby for baby {}, music box",
    ],
)
def test_private_people_have_names_too(name: str, prompt: str, policy: Policy) -> None:
    assert check(prompt.format(name), policy).action is Action.ALLOW


@pytest.mark.parametrize("name", ["Drake", "Elvis", "Adele", "Bowie", "Shakira"])
@pytest.mark.parametrize(
    "prompt",
    [
        "birthday song in the style of {}",
        "a song for my uncle, {} type beat",
        "wedding waltz, sounds like {}",
        "lullaby sung by {}",
        "my sister wants the {} vocals",
    ],
)
def test_an_occasion_does_not_hide_a_request(name: str, prompt: str, policy: Policy) -> None:
    assert check(prompt.format(name), policy).action is Action.REFUSE


@pytest.mark.parametrize("prompt", ["五月天气晴朗,轻快吉他", "今年五月天空很蓝,钢琴"])
def test_a_name_does_not_begin_or_end_within_a_word(prompt: str, policy: Policy) -> None:
    assert check(prompt, policy).action is Action.ALLOW
    assert check("像五月天的歌", policy).action is Action.REFUSE


@pytest.mark.parametrize(
    "prompt",
    [
        "im Stil von Quetschkommode",
        "al estilo de xilofón",
        "dans le style de cithare",
        "в стиле вибрафонов",
        "シロフォン風の曲",
    ],
)
def test_instruments_that_the_lexicon_knows_are_no_names(prompt: str) -> None:
    assert check(prompt, Policy(frozenset(), frozenset())).action is Action.ALLOW


def test_no_word_of_the_lexicon_makes_an_artists_name_music_talk() -> None:
    kinds = {"instrument", "drum", "playing", "genre"}
    known = [forms_of(language, kinds) for language in ("german", "french", "spanish")]
    lists = ("music", "connectives", "german", "french", "spanish", "portuguese", "italian")
    before = frozenset().union(*(plain_words(name) for name in lists))
    for file in ("artists", "artists_more"):
        with (data_dir("policy") / f"{file}.csv").open(encoding="utf-8", newline="") as rows:
            names = {row["name"].casefold() for row in csv.DictReader(rows)}
        assert names & (frozenset().union(*known) - before) == set()

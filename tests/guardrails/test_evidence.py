"""Names that are everyday words, told by what else stands in the prompt."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio import guardrails
from rag_audio.guardrails import Action, Artist, Policy, Roster
from rag_audio.guardrails.indirect_references import described_people
from rag_audio.guardrails.names import SentenceReading, Song
from rag_audio.guardrails.native_scripts import NativeIndex
from rag_audio.guardrails.normalise import read

QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KETTLE = Artist("Kettle", reading=SentenceReading.MASS, genre="electronica")
LANTERNS = Artist("The Lanterns", reading=SentenceReading.WORD, genre="post-punk")
ROSTER = Roster(
    (KETTLE, LANTERNS, Artist("Zorvik", reading=SentenceReading.WORD), Artist("Bramwellow")),
    (
        Song("Copper Teatime", "Kettle", common=True),
        Song("Harbour Rain", "Bramwellow", common=True),
        Song("Whispers", "The Lanterns", common=True),
        Song("Lumière danse", "Kettle", common=True),
        Song("Salt & Ashes", "Kettle", common=True),
    ),
)
POLICY = Policy(frozenset(), frozenset(), ROSTER)


def _refused(prompt: str, policy: Policy = POLICY) -> bool:
    return guardrails.check(prompt, policy).action is Action.REFUSE


@pytest.mark.parametrize(
    "prompt",
    [
        "kettle copper teatime round bass vocoder",
        "copper teatime, kettle, soft drums",
        "the lanterns circa 1989 flanged bass",
        "guitars as the lanterns recorded it in 1993",
        "a noisy track the lanterns would produce",
        "zorvik deconstructed club",
        "zorvik but sadder",
        "slow drums zorvik",
        "the bramwelow harbour rain synths, slower",
        "type beat zorvik cloud mélancolique",
        "prod type zorvik autotune",
        "type beat lanterns rapide",
        "an outtake from Whispers, tight harmonies",
        "modal quintet trying to be Copper Teatime, muted trumpet",
        "the same percussion pattern as Copper Teatime, timpani",
        "launch film, reference Whispers riff, cutdowns",
        "Copper Teatime soundalike, strings only",
        "fais-moi un truc comme Lumière danse, cordes",
        "salt and ashes era, cold, taiko drums",
    ],
)
def test_a_word_is_a_name_by_other_evidence(prompt: str) -> None:
    assert _refused(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "kettle whistling in a kitchen, soft piano",
        "paper lanterns in 1989, nostalgic synth",
        "lanterns over the river, whispers and strings",
        "harbour rain, slow piano and whispers",
        "kettle drums, copper pots, teatime jazz",
        "a kettle recorded it all, field recording",
        "salt and ashes, slow strings",
        "type beat, dark, 140 bpm",
        "whispers riff softly over the pads",
        "a song that rhymes with moon and june",
    ],
)
def test_words_without_evidence_stay_words(prompt: str) -> None:
    assert not _refused(prompt)


@QUICK
@given(
    before=st.sampled_from(["", "slow ", "warm pads, ", "lofi drums and "]),
    after=st.sampled_from(["", " piano", ", 90 bpm", " with strings", " deep voice"]),
)
def test_a_word_of_no_dictionary_is_a_name_wherever_it_stands(before: str, after: str) -> None:
    assert _refused(f"{before}zorvik{after}")
    assert not _refused(f"{before}kettle drum{after}")


@pytest.mark.parametrize(
    ("prompt", "artist"),
    [
        ("the two french robots with helmets, filter disco", "Daft Punk"),
        ("french robots duo with the helmets, vocoder song", "Daft Punk"),
        ("his royal badness, linn drum, screams", "Prince"),
        ("the moonwalk guy with one glove, 1982 bassline", "Michael Jackson"),
        ("four lads from Liverpool around 1967, sitar", "The Beatles"),
        ("nine masked metal guys from Iowa, blast beats", "Slipknot"),
        ("the man in black, boom chicka boom guitar, prison song", "Johnny Cash"),
    ],
)
def test_a_description_names_somebody(prompt: str, artist: str) -> None:
    policy = Policy(frozenset(), frozenset(), guardrails.load_roster(None))
    assert artist in [name for _, _, name in described_people(read(prompt))]
    assert _refused(prompt, policy)


@pytest.mark.parametrize(
    "prompt",
    [
        "robots marching, disco beat, metal footsteps",
        "a man in black boards a train, suspense strings",
        "one glove, a bassline and a guitar",
        "four lads at the pub, folk song",
        "helmets and drums, marching band from Iowa",
    ],
)
def test_a_part_of_a_description_names_nobody(prompt: str) -> None:
    assert not list(described_people(read(prompt)))


@QUICK
@given(words=st.lists(st.sampled_from(["robots", "french", "a", "soft", "drum"]), max_size=400))
def test_a_description_needs_all_its_words(words: list[str]) -> None:
    assert not list(described_people(read(" ".join(words))))


NATIVE = NativeIndex(
    (
        Artist("Galmuri", aliases=("갈무리",)),
        Artist("Tomobe", common_aliases=("友辺",)),
        Artist("Lin", common_aliases=("林溪云",)),
        Artist("Karabu", common_aliases=("คาราบู",)),
        Artist("Wezar", common_aliases=("ويزار",)),
        Artist("Badir", common_aliases=("बादीर",)),
    )
)


@pytest.mark.parametrize(
    "prompt",
    [
        "갈무리 노래처럼 신나는 댄스곡",
        "갈무리처럼 신나는 댄스곡",
        "갈무리 느낌의 비트",
        "友辺っぽいギター",
        "友辺風のバラード",
        "林溪云的感觉，钢琴",
        "类似林溪云的抒情歌",
        "เพลงเพื่อชีวิตแบบคาราบู กีตาร์โปร่ง",
        "ขอเสียงร้องเหมือนพี่คาราบู",
        "بيت تراب زي ويزار، سريع",
        "लोरी बादीर की तरह",
    ],
)
def test_a_known_name_counts_by_what_its_script_puts_beside_it(prompt: str) -> None:
    assert list(NATIVE.find(unicodedata.normalize("NFC", prompt)))


@pytest.mark.parametrize(
    "prompt",
    [
        "갈무리 바다, 피아노",
        "友辺の海",
        "林溪云朵飘",
        "คาราบูริมทะเล",
        "ويزار والبحر",
        "बादीर का दरबार",
        "quiet piano",
    ],
)
def test_a_known_name_alone_does_not(prompt: str) -> None:
    assert not list(NATIVE.find(unicodedata.normalize("NFC", prompt)))


@pytest.mark.parametrize("ending", ["", "а", "у", "ом", "е", "ы"])
def test_names_are_declined_in_cyrillic(ending: str) -> None:
    roster = Roster((Artist("Zanterkvil", aliases=("Зантерквил",)),))
    assert _refused(
        f"бит как у зантерквил{ending}, грязный бас", Policy(frozenset(), frozenset(), roster)
    )


@pytest.mark.parametrize(
    "prompt", ["you know her, rhymes with Praylor Zwift, sad song", "name rhymes with Bumsy Gree"]
)
def test_what_a_name_rhymes_with_stands_for_it(prompt: str) -> None:
    assert _refused(prompt)


def test_long_prompts_are_read_too() -> None:
    text = read(("robots helmets french boys four " * 1000)[:20_000])
    assert list(described_people(text))

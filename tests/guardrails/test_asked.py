"""Names that are words too, epithets and titles, asked for without "in the style of"."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio import guardrails
from rag_audio.guardrails import Action, Artist, Policy, Roster
from rag_audio.guardrails.name_evidence import innocent_words
from rag_audio.guardrails.names import SentenceReading
from rag_audio.guardrails.normalise import fold, read, squash
from rag_audio.guardrails.style_phrases import StyleReader
from rag_audio.guardrails.vocabulary import is_given_name, is_ordinary
from rag_audio.resources import data_dir
from tests.guardrails.conftest import LICENSED

ROSTER = guardrails.load_roster(None)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _words(reading: SentenceReading) -> list[str]:
    return [
        artist.name
        for artist in ROSTER.artists
        if artist.reading is reading
        and artist.well_known
        and not innocent_words(read(artist.name))
        and artist.name.isascii()
        and artist.name.isalpha()
    ]


RARE = [
    name
    for name in _words(SentenceReading.WORD)
    if len(squash(fold(name))) > 3 and not is_ordinary(fold(name)) and not is_given_name(fold(name))
]
COUNTABLE = ["Prince", "Queen", "Drake", "Muse", "Phoenix", "Goblin", "Emperor", "Fisher"]
MASSES = [
    name
    for name in _words(SentenceReading.MASS)
    if fold(name)
    not in [
        "free",
        "live",
        "lush",
        "sweet",
        "low",
        "blue",
        "tricky",
        "bent",
        "immortal",
        "oval",
        "sublime",
        "faithless",
    ]
]


def _refused(prompt: str, policy: Policy) -> bool:
    return guardrails.check(prompt, policy).action is Action.REFUSE


@QUICK
@given(
    name=st.sampled_from(RARE),
    prompt=st.sampled_from(
        ["make it {}", "make it sound more {}", "give me {}", "gimme some {} with sad chords",
         "{} 90 bpm", "{}, sad, 90 bpm", "{} but faster", "{} on steroids", "if {} made techno",
         "{} would love this", "karaoke {}", "AI {}", "{} lyrics", "a {} remix", "{} flip",
         "2016 {}", "early {}", "genre: {}", "artist: {}", "{} (artist)", "#{}", "{} x Future",
         "[free] {} type beat", "{} type vocals", "a la {}", "put {} on the hook"]
    ),
    small=st.booleans(),
)  # fmt: skip
def test_a_name_that_is_hardly_a_word_counts_in_any_case(
    policy: Policy, name: str, prompt: str, small: bool
) -> None:
    prompt = prompt.format(name.lower() if small else name)
    assert _refused(prompt, policy), prompt


@QUICK
@given(
    name=st.sampled_from(COUNTABLE),
    prompt=st.sampled_from(
        ["make it {}", "give me {}", "give me some {} vibes", "turn it into {}", "do a {} on this",
         "{} 90 bpm, dark", "{} but faster", "{} crossed with techno", "what if {} made ambient",
         "with that {} sound", "old {}", "90s {}", "voice: {}", "style: {}", "{} (band)",
         "{} meets Drake", "as {} as possible", "prod. by {}", "the singer known as {}"]
    ),
)  # fmt: skip
def test_a_countable_word_without_an_article_is_a_name(
    policy: Policy, name: str, prompt: str
) -> None:
    assert _refused(prompt.format(name), policy), prompt.format(name)


@QUICK
@given(
    name=st.sampled_from(MASSES),
    small=st.booleans(),
    before=st.sampled_from(["", "a ", "90 bpm, "]),
)
def test_type_beat_makes_an_artist_of_a_word(
    policy: Policy, name: str, small: bool, before: str
) -> None:
    prompt = f"{before}{name.lower() if small else name} type beat"
    assert _refused(prompt, policy), prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "rain sounds, lofi type beat", "summer rain lofi type beat", "free type beat",
        "Chicago house type beat", "make it rain", "make it blue", "make it sweet and low",
        "give me some air in the mix", "give me a kiss of reverb", "give me more blur",
        "I need more heart in the vocals", "do a journey from calm to storm", "do it again",
        "future funk, 115 bpm", "Rain, 60 bpm, ambient", "rain, thunder, lofi", "Heart, warm, slow",
        "queen, throne, trumpets", "prince, castle, lute", "eagles, mountains, horns",
        "early morning, air, light", "old train on the bridge", "a prince but kinder",
        "genre: rain ambience", "artist: none", "singer: female alto", "#lofi #rain #chill",
        "remix of the second reference", "karaoke track, no vocals", "voice model of a soprano",
        "techno meets opera", "piano x strings duet", "drums on steroids", "but slower, please",
        "the boss fight, 150 bpm", "hall of fame, brass fanfare", "hello, but slower",
        "purple haze over the fields", "the band behind the curtain", "TR-808 and SP-1200 drums",
        "4x4 house, g7 chord", "stressed desserts", "80s pop ballad", "pink noise, 60 seconds",
    ],
)  # fmt: skip
def test_words_that_are_names_too_stay_words(policy: Policy, prompt: str) -> None:
    decision = guardrails.check(prompt, policy)
    assert decision.action is Action.ALLOW, decision.matches


@pytest.mark.parametrize(
    "prompt",
    ["give me {}", "make it {}", "artist: {}", "{} 90 bpm", "{} x house", "prod. by {}", "a la {}"],
)
def test_a_licensed_artist_may_be_asked_for_so(policy: Policy, prompt: str) -> None:
    assert not _refused(prompt.format(LICENSED), policy)


@pytest.mark.parametrize("lead", ["artist: {}", "singer: {}", "prod. by {}", "ft. {}", "RVC {}"])
def test_fields_that_name_somebody_lead_to_unknown_names(policy: Policy, lead: str) -> None:
    assert _refused(lead.format("Zorblat Quux"), policy)


EPITHETS = Policy(
    frozenset(),
    frozenset(),
    Roster((Artist("Zanther Quill", epithets=("the Copper Baron", "the Boss", "Lantern Jack")),)),
)


@pytest.mark.parametrize(
    ("prompt", "stopped"),
    [
        ("funk by the Copper Baron, 110 bpm", True),
        ("the Copper Baron on guitar", True),
        ("in the style of the copper baron", True),
        ("like the Boss, stadium saxophone", True),
        ("in the style of the boss", True),
        ("Lantern Jack harmonica", True),
        ("the boss fight, heavy drums", False),
        ("like the boss of a factory", False),
        ("boss energy, trap", False),
        ("a copper baron counts his coins", False),
    ],
)
def test_an_epithet_counts_with_its_article_and_capitals(prompt: str, stopped: bool) -> None:
    assert _refused(prompt, EPITHETS) is stopped


FOLK_TUNES = (data_dir("policy") / "figures.txt").read_text(encoding="utf-8").splitlines()
TITLES = [
    song.title
    for song in ROSTER.songs
    if len(song.title.split()) > 1 and song.title.lower() not in FOLK_TUNES
][:200]


@QUICK
@given(
    title=st.sampled_from(TITLES),
    prompt=st.sampled_from(
        ["the drummer of {} fame", "the lady of {} fame, slow", "{} but slower",
         "that {} sound", "the one who sang {}", "a remake of {}"]
    ),
)  # fmt: skip
def test_a_famous_title_stands_for_its_artist(policy: Policy, title: str, prompt: str) -> None:
    assert _refused(prompt.format(title), policy), prompt.format(title)


@pytest.mark.parametrize(
    "prompt",
    ["the drummer of Zorblat Nights fame", "from the album Zorblat",
     'off the album "zorblat nights"',
     "唱《佐尔布》的那个歌手", "「ゾルブ」を歌っているバンド", "певец «Зорблат»"],
)  # fmt: skip
def test_an_unknown_title_stands_for_somebody_too(policy: Policy, prompt: str) -> None:
    assert _refused(prompt, policy)


NAMES = [
    artist.name
    for artist in ROSTER.artists
    if artist.reading is SentenceReading.NAME
    and artist.name.isascii()
    and artist.name.replace(" ", "").isalpha()
    and len(artist.name) > 7
    and " " in artist.name
    and not artist.name.lower().startswith("the ")
]


@QUICK
@given(
    name=st.sampled_from(NAMES),
    turn=st.sampled_from([lambda n: n[::-1], lambda n: " ".join(w[::-1] for w in n.split())]),
    prompt=st.sampled_from(["{}", "{} pop, slow", "soft piano, {}"]),
)
def test_a_name_read_backwards_is_found(
    policy: Policy, name: str, turn: Callable[[str], str], prompt: str
) -> None:
    text = prompt.format(turn(name))
    if len(name.split()) == 2 or turn(name) == name[::-1]:
        assert _refused(text, policy), text


def test_a_name_whose_words_are_words_backwards_too_is_found(policy: Policy) -> None:
    assert _refused("duG gnuY pop, slow", policy)


@pytest.mark.parametrize(
    "prompt", ["pr1nce vocals", "gr33n d4y chords", "dr4k3 90 bpm", "d r a k e"]
)
def test_figures_in_a_word_tell_that_a_name_is_meant(policy: Policy, prompt: str) -> None:
    assert _refused(prompt, policy)


@pytest.mark.parametrize(
    "prompt",
    [
        "dance, 100 BPM (finger)",
        "accordion dance, 100 BPM, electric bass (finger), orchestral harp",
        "dance 100bpm, r0ck",
    ],
)
def test_a_tempo_is_read_as_a_number_beside_brackets_and_figures(
    policy: Policy, prompt: str
) -> None:
    assert not _refused(prompt, policy)


@pytest.mark.parametrize(
    "prompt", ["give me some Hendrix guitar", "Coltrane solo", "Einaudi, slow"]
)
def test_a_surname_alone_counts_by_what_stands_around_it(policy: Policy, prompt: str) -> None:
    assert _refused(prompt, policy)


def test_a_chain_of_style_phrases_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each "x" of a long prompt leads to all that follows: it must not be read anew for each."""
    read: list[int] = []
    plain = StyleReader._object_end

    def counted(reader: StyleReader, first: int) -> int:
        read.append(first)
        return plain(reader, first)

    monkeypatch.setattr(StyleReader, "_object_end", counted)
    words = 800
    assert guardrails.check("x " * words, EPITHETS).action is Action.ALLOW
    assert len(read) <= 4 * words

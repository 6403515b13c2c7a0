"""Names that all scopes share are found as an index of a scope's own would find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag_audio.domain import names
from rag_audio.guardrails import Policy, check, library_names, policy
from rag_audio.guardrails.disguises import backwards
from rag_audio.guardrails.known_names import KnownNames
from rag_audio.guardrails.library_names import LibraryNames
from rag_audio.guardrails.name_finder import NameFinder
from rag_audio.guardrails.name_index import NameIndex, SongTitles
from rag_audio.guardrails.names import Artist
from rag_audio.guardrails.normalise import fold, read, variants
from rag_audio.guardrails.policy import artist_of, shipped_roster
from rag_audio.guardrails.written_names import read_names

SONGS = [(fold(song.artist), song) for song in shipped_roster().songs]
TITLES = SongTitles(song for _, song in SONGS)
POOL = [
    # Spelled by the same letters, with other words, readings and cases.
    "Rain", "rain", "The Rain", "R.A.I.N.", "Zanther Quill", "ZANTHER QUILL", "Zan Therquill",
    "Quill Zanther", "Zanther  Quill", "The Zanther Quills", "Zanter Quill", "Zanther Quil",
    # Alike by an edit, by consonants or by ear.
    "Ozzeldrim", "Osseldrim", "Ozeldrym", "Ozzeldrim Vantrell", "Ozzeldrum Vantrel", "Azzeldrim",
    "Mara Tolvane", "Marah Tolvain", "M. Tolvane", "Mira Tolvane", "Bexley Toor", "Becksley Tour",
    # Of signs, of a letter or two, in other scripts, composed in two ways.
    "!!!", "$$$", "+/-", "A", "AB", "M.O.X.", "MOX", "Mox", "ラウド", "宇多田ヒカル", "방탄소년단",
    "ああ", "Bjørnstrøm", "Café Noir", "Cafe\u0301 Noir", "Cafe Noir", "ZΩX",
    # Known ones: with aliases, with songs, in several spellings.
    "Taylor Swift", "taylor swift", "Queen", "Prince", "The Beatles", "Beatles", "Drake", "BTS",
    "Air", "Nirvana", "Adele", "Daft Punk", "Hikaru Utada",
]  # fmt: skip
SENTENCES = [
    "{}", "in the style of {}", "a {} type beat", "slow {} on the roof, 90 bpm", "xx{}xx drums",
    "drums like {} would play them, with a warm bass", "{}風のピアノ", "ピアノ、{}っぽい",
    "{}처럼", "A song by {}, not by M. Tolvane", "{} feat. Mara Tolvane", "T. Swift and {}",
    "we will rock you by {}", "shake it off, {}", "زي {}",
]  # fmt: skip


def _without(name: str, at: int) -> str:
    return name[: at % len(name)] + name[at % len(name) + 1 :]


def _swapped(name: str, at: int) -> str:
    at %= len(name)
    return name[:at] + name[at + 1 : at + 2] + name[at : at + 1] + name[at + 2 :]


WAYS: list[Callable[[str, int], str]] = [
    lambda name, at: name,
    lambda name, at: name.lower(),
    lambda name, at: " ".join(name),
    lambda name, at: name.replace(" ", ""),
    lambda name, at: name[::-1],
    lambda name, at: name.lower().replace("a", "4").replace("i", "1").replace("o", "0"),
    lambda name, at: name.replace("z", "s").replace("i", "ee").replace("v", "w"),
    lambda name, at: name[: at % len(name)] + name[at % len(name) :][:1] + name[at % len(name) :],
    _without,
    _swapped,
]

scopes = st.frozensets(st.sampled_from(POOL), max_size=14)
texts = st.builds(
    lambda sentence, name, way, at: sentence.format(way(name, at)),
    st.sampled_from(SENTENCES),
    st.sampled_from(POOL),
    st.sampled_from(WAYS),
    st.integers(0, 11),
)


def licensed_artists(name: str) -> Sequence[Artist]:
    return list(policy._licensed_artists(name))


def library(kept: int) -> LibraryNames:
    return LibraryNames(lambda name: [artist_of(name)], lambda: TITLES, kept)


def index_of(scope: frozenset[str]) -> NameIndex:
    """The index that is made from scratch."""
    artists = [artist_of(name) for name in sorted(scope)]
    folded = {fold(artist.name) for artist in artists} - {""}
    return NameIndex(artists, [song for by, song in SONGS if by in folded])


def found(finder: NameFinder, raw: str) -> list[object]:
    """All that a finder tells of a text."""
    every: list[object] = []
    for text in (read(raw), *variants(read(raw))):
        some = frozenset(range(0, len(text.words), 2))
        every += [finder.hits(text), finder.hits(text, some), list(finder.songs(text))]
    every.append(list(backwards(read(raw), finder)))
    return [*every, list(finder.abroad(raw)), list(finder.native(raw))]


@settings(max_examples=100)
@given(st.lists(scopes, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=4))
@example([frozenset({"Rain", "The Rain"}), frozenset({"The Rain"})], ["in the style of Rain"])
@example([frozenset({"BTS", "방탄소년단"}), frozenset({"방탄소년단"})], ["방탄소년단처럼"])
@example([frozenset({"Zanther Quill", "Zan Therquill"})] * 2, ["drums by Zanter Quil"])
def test_a_scope_finds_what_an_index_of_its_own_finds(
    wanted: list[frozenset[str]], prompts: list[str]
) -> None:
    shared = library(kept=3)
    licensed = LibraryNames(licensed_artists, kept=3)
    for names_now in wanted:  # each scope ends before the next one, so names go, too
        scope, granted = shared.scope(names_now), licensed.scope(names_now)
        own = index_of(names_now)
        aliases = [artist for name in sorted(names_now) for artist in licensed_artists(name)]
        for prompt in prompts:
            assert found(scope, prompt) == found(own, prompt)
            text = read(prompt)
            assert list(granted.exact(text)) == list(NameIndex(aliases).exact(text))


@settings(max_examples=100)
@given(st.lists(scopes, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=4))
@example([frozenset({"Café Noir", "Cafe\u0301 Noir", "Cafe Noir"})], ["café noir"])
def test_written_names_are_looked_up_as_among_a_scopes_own(
    wanted: list[frozenset[str]], prompts: list[str]
) -> None:
    shared = KnownNames(kept=3)
    for ours, theirs in pairwise([frozenset[str](), *wanted]):
        both = shared.scope(ours, theirs)
        for asked in (*POOL, *prompts):
            assert both.lookup(asked) == names.lookup(asked, ours | theirs)
        alone = KnownNames()
        for prompt in prompts:
            text = read(prompt)
            parts = shared.scope(ours), shared.scope(theirs)
            assert read_names(text, *parts) == read_names(
                text, alone.scope(ours), alone.scope(theirs)
            )


class TestUpdates:
    """What a change of a library costs."""

    @pytest.fixture
    def read_anew(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names whose spellings were worked out, in order."""
        seen: list[str] = []
        plain = library_names.forms_of

        def counted(artist: Artist) -> object:
            seen.append(artist.name)
            return plain(artist)

        monkeypatch.setattr(library_names, "forms_of", counted)
        return seen

    def test_only_new_names_are_read(self, read_anew: list[str]) -> None:
        shared = library(kept=1000)
        many = frozenset(f"Zanther {chr(97 + i)}orvel" for i in range(20))
        text = read("drums by Zanter Forvel, and Ozeldrim")
        first = shared.scope(many)
        assert [hit.form.artist.name for hit in first.hits(text)] == ["Zanther forvel"]
        read_anew.clear()
        second = shared.scope(many | {"Ozzeldrim"})
        assert len(second.hits(text)) == 2
        assert read_anew == ["Ozzeldrim"]
        assert len(first.hits(text)) == 1

    def test_scopes_share_their_names(self, read_anew: list[str]) -> None:
        shared = library(kept=1000)
        every = sorted(f"Zanther {chr(97 + i)}orvel" for i in range(20))
        held = [shared.scope(frozenset(every[i : i + 10])) for i in range(10)]
        assert len(read_anew) == 19 == len(shared)
        text = read("like Zanther Korvel")
        told = [
            "Zanther korvel" in {hit.form.artist.name for hit in one.hits(text)} for one in held
        ]
        assert told == ["Zanther korvel" in every[i : i + 10] for i in range(10)]

    def test_names_of_no_scope_are_let_go(self) -> None:
        shared = library(kept=5)
        held = shared.scope(frozenset({"Ozzeldrim"}))
        for i in range(30):
            shared.scope(frozenset({f"Zanther {i}", f"Quill {i}"}))
        assert len(shared) <= 8
        assert held.hits(read("by Ozzeldrim, ozeldrim"))

    def test_a_scope_whose_names_could_not_be_read_is_read_again(self) -> None:
        broken = [True]

        def artists_of(name: str) -> list[Artist]:
            if broken[0]:
                raise MemoryError(name)
            return [artist_of(name)]

        shared, wanted = LibraryNames(artists_of), frozenset({"Ozzeldrim"})
        with pytest.raises(MemoryError) as failure:
            shared.scope(wanted)
        assert failure.tb is not None  # its frames keep alive what was begun
        broken[0] = False
        assert shared.scope(wanted).hits(read("by Ozzeldrim"))

    def test_the_same_set_is_looked_through_once(self, read_anew: list[str]) -> None:
        wanted = frozenset({"Zanther Quill", "Ozzeldrim"})
        one = Policy(frozenset(), wanted)
        check("like Zanther Quill", one)
        read_anew.clear()
        check("like Zanther Quill", one.describing())
        assert read_anew == []


def test_threads_see_their_scopes_while_others_change() -> None:
    shared = library(kept=10)
    text = read("drums by Zanter Forvel, like Ozeldrim, as 방탄소년단")

    def look(worker: int) -> bool:
        good = True
        for turn in range(40):
            wanted = frozenset({"Ozzeldrim", f"Zanther {chr(97 + (worker + turn) % 8)}orvel"})
            wanted |= {f"Other{worker} Name{turn}", f"Ozzeldrum {turn}"}
            good = good and found_names(shared.scope(wanted)) == found_names(index_of(wanted))
        return good

    def found_names(finder: NameFinder) -> list[str]:
        return [hit.form.artist.name for hit in finder.hits(text)]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(look, range(6)))


def test_of_names_by_the_same_letters_the_first_of_the_scope_counts() -> None:
    shared = library(kept=100)
    every = [shared.scope(frozenset(some)) for some in (["Harbor", "The Harbor"], ["The Harbor"])]
    both, alone = ([hit.form.artist.name for hit in one.hits(read("harbor"))] for one in every)
    assert set(both) == {"Harbor"}
    assert set(alone) == {"The Harbor"}

from __future__ import annotations

from pathlib import Path

import pytest

from rag_audio import guardrails
from rag_audio.errors import ConfigError
from rag_audio.guardrails import Action, Policy, policy_tables
from rag_audio.guardrails.names import SentenceReading, is_place
from rag_audio.guardrails.normalise import fold
from rag_audio.guardrails.vocabulary import is_given_name, is_ordinary


def test_the_shipped_list_is_long_and_sound() -> None:
    roster = guardrails.load_roster(None)
    folded = [fold(artist.name) for artist in roster.artists]
    assert len(folded) == len(set(folded)) >= 600
    assert all(artist.genre and artist.era for artist in roster.artists)
    known = set(folded)
    assert all(fold(song.artist) in known for song in roster.songs)
    assert len(roster.songs) >= 300


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"a = [", "Invalid"), (b"a = '\xff'", "utf-8")]
)
def test_a_missing_or_damaged_table_is_named(
    content: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_tables, "data_dir", lambda name: tmp_path)
    if content is not None:
        (tmp_path / "some.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"some\.toml cannot be read: .*{why}") as caught:
        policy_tables.policy_table("some")
    assert caught.value.hint == "install rag-audio from its wheel again"


def test_a_users_list_is_added(tmp_path: Path) -> None:
    file = tmp_path / "policy.csv"
    file.write_text("name,aliases\nZanther Quill,Quillz;Z-Quill\nHarbor,\n", encoding="utf-8")
    roster = guardrails.load_roster(file)
    policy = Policy(frozenset(), frozenset(), roster)
    for prompt in ("zanther quill", "a Quillz hook", "in the style of Harbor"):
        assert guardrails.check(prompt, policy).action is Action.REFUSE
    assert guardrails.check("boats in the harbor", policy).action is Action.ALLOW
    assert len(roster.artists) == len(guardrails.load_roster(None).artists) + 2


def test_epithets_stand_for_the_artist(tmp_path: Path) -> None:
    file = tmp_path / "policy.csv"
    file.write_text(
        "name,epithets,kind\n"
        "Zanther Quill,the Zorvian King;the Purple Tin;the King of Skiffle Rock,producer\n"
    )
    (artist,) = guardrails.read_artists(file)
    assert artist.kind == "producer" and len(artist.epithets) == 3
    policy = Policy(frozenset(), frozenset(), guardrails.load_roster(file))
    for prompt in (
        "horns for the Zorvian King",
        "in the style of the Purple Tin",
        "like the Purple Tin, slow",
    ):
        decision = guardrails.check(prompt, policy)
        assert decision.action is Action.REFUSE, prompt
        assert "Zanther Quill" in {match.name for match in decision.matches}
    for prompt in ("rain on the purple tin roof", "a purple tin drum"):
        assert guardrails.check(prompt, policy).action is Action.ALLOW, prompt
    licensed = Policy(frozenset({"Zanther Quill"}), frozenset(), guardrails.load_roster(file))
    assert guardrails.check("horns for the Zorvian King", licensed).action is Action.ALLOW


def test_a_little_known_name_of_one_everyday_word_is_flagged_as_one() -> None:
    roster = guardrails.load_roster(None)
    for artist in roster.artists:
        if artist.well_known:
            continue
        for text, reading in artist.forms():
            words = fold(text).split()
            if len(words) == 1 and text.isascii() and text not in artist.epithets:
                plain = is_ordinary(words[0]) or is_given_name(words[0]) or is_place(words[0])
                assert not (plain and reading is SentenceReading.NAME), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("artist\nx\n", "no column 'name'"),
        ("name,common\nZanther,maybe\n", "line 2: common is 'maybe'"),
        ("name\nZanther\n  \n...\n", "the name is empty"),
        ("name,kind\nZanther,painter\n", "line 2: kind is 'painter'"),
    ],
)
def test_a_wrong_list_is_told_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "policy.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        guardrails.read_artists(file)


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        guardrails.read_artists(tmp_path / "none.csv")

from __future__ import annotations

from pathlib import Path

import pytest

from rag_audio import guardrails
from rag_audio.errors import ConfigError
from rag_audio.guardrails import Action, Policy
from rag_audio.guardrails.normalise import fold


def test_the_shipped_list_is_long_and_sound() -> None:
    roster = guardrails.load_roster(None)
    folded = [fold(artist.name) for artist in roster.artists]
    assert len(folded) == len(set(folded)) >= 600
    assert all(artist.genre and artist.era for artist in roster.artists)
    known = set(folded)
    assert all(fold(song.artist) in known for song in roster.songs)
    assert len(roster.songs) >= 300


def test_a_users_list_is_added(tmp_path: Path) -> None:
    file = tmp_path / "policy.csv"
    file.write_text("name,aliases\nZanther Quill,Quillz;Z-Quill\nHarbor,\n", encoding="utf-8")
    roster = guardrails.load_roster(file)
    policy = Policy(frozenset(), frozenset(), roster)
    for prompt in ("zanther quill", "a Quillz hook", "in the style of Harbor"):
        assert guardrails.check(prompt, policy).action is Action.REFUSE
    assert guardrails.check("boats in the harbor", policy).action is Action.ALLOW
    assert len(roster.artists) == len(guardrails.load_roster(None).artists) + 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("artist\nx\n", "no column 'name'"),
        ("name,common\nZanther,maybe\n", "line 2: common is 'maybe'"),
        ("name\nZanther\n  \n...\n", "the name is empty"),
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


def test_names_are_read_from_text_and_csv(tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    text.write_text("# comment\nZanther Quill\n\nHarbor\n")
    table = tmp_path / "names.csv"
    table.write_text("name\nZanther Quill\nHarbor\n")
    assert (
        guardrails.read_names(text) == guardrails.read_names(table) == {"Zanther Quill", "Harbor"}
    )

"""Words in the names of files."""

from __future__ import annotations

import pytest

from rag_audio.domain import Stem, StemKind
from rag_audio.domain.file_names import words_of_name, words_of_path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("glitch_robot1.flac", "glitch robot 1"),
        ("Guitars/GuitarRiff02.wav", "Guitar Riff 02"),
        ("bd_808.flac", "bd 808"),
        ("elec_hi_snare.flac", "elec hi snare"),
        ("drum-bass.hard.wav", "drum bass hard"),
        ("FXRiser.wav", "FX Riser"),
        ("808Kick.wav", "808 Kick"),
        ("guit_em9.flac", "guit em9"),
        ("120bpm_Pad.wav", "120bpm Pad"),
        ("McZorb_MacZorb.wav", "McZorb MacZorb"),
        ("_.wav", ""),
    ],
)
def test_a_name_is_split_where_words_are_run_together(path: str, words: str) -> None:
    assert words_of_name(path) == words


def test_a_path_gives_the_words_of_its_folders_too() -> None:
    assert words_of_path("DeepKicks/one_shots/bd1.wav") == ("Deep", "Kicks", "one", "shots", "bd1")


def test_a_caption_has_the_words_of_the_path_that_the_title_has_not() -> None:
    def caption(title: str) -> str:
        return Stem(
            "0" * 64, "x", "Kicks/deep_bd.wav", StemKind.AUDIO, "l", 1.0, title=title
        ).caption

    assert caption("Take 7") == "Take 7. Kicks deep bd"
    assert caption("deep BD") == "deep BD. Kicks"
    assert caption("Kicks, deep bd") == "Kicks, deep bd"


def test_a_caption_has_the_metre_but_for_four_quarters() -> None:
    def caption(beats: int) -> str:
        stem = Stem("0" * 64, "x", "a.mid", StemKind.MIDI, "l", 1.0, time_signature=(beats, 4))
        return stem.caption

    assert "3/4 time" in caption(3) and "time" not in caption(4)

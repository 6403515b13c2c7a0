"""Credit lines travel with the file, and the sound stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mutagen import File as Tags
from tinytag import TinyTag

from rag_audio.audio import writing
from rag_audio.audio.reading import load
from rag_audio.domain import Audio, License, Use
from rag_audio.domain.credits import credit_lines, file_tags


def license_of(holder: str, credit: str = "") -> License:
    return License("l", "lib", holder, "LicenseRef-1", frozenset({Use.PROMPT}), credit=credit)


def tone() -> Audio:
    wave = 0.3 * np.sin(np.arange(44_100) * 0.05)
    return Audio(np.stack([wave, -wave]).astype(np.float32), 44_100)


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg"])
def test_tags_are_read_back_by_two_readers_and_the_samples_are_the_same(
    tmp_path: Path, ending: str
) -> None:
    tags = file_tags(7, [license_of("H", "Contains Nächte – 夜 material"), license_of("J")])
    tagged, plain = tmp_path / f"tagged.{ending}", tmp_path / f"plain.{ending}"
    writing.save(tone(), tagged, tags=tags)
    writing.save(tone(), plain)
    comment = TinyTag.get(tagged).comment
    assert comment is not None
    assert comment.startswith("Made with AI by rag-audio, output 7")
    assert "Contains Nächte – 夜 material" in comment
    assert "Contains material of J" in comment
    if ending != "wav":  # the other reader knows no LIST-INFO chunk
        assert "Nächte" in str(Tags(tagged).tags)
    assert np.array_equal(load(tagged).samples, load(plain).samples)


def test_every_credit_stands_once_and_an_output_without_sources_says_what_it_is() -> None:
    same = [license_of("H", "Contains H"), license_of("H", "Contains H")]
    assert credit_lines(same) == ("Contains H",)
    assert file_tags(3, []) == {"comment": "Made with AI by rag-audio, output 3"}


def test_a_line_cannot_hold_what_a_tag_cannot(tmp_path: Path) -> None:
    tags = file_tags(1, [license_of("H", "a\x00b\nc")])
    assert tags["copyright"] == "a b c"


def test_very_many_credits_end_at_a_whole_line(tmp_path: Path) -> None:
    many = [license_of(f"Holder {i}", f"Contains {'x' * 200} {i}") for i in range(64)]
    tags = file_tags(1, many)
    assert tags["comment"].endswith(" …")
    for ending in ("wav", "flac", "mp3", "ogg"):
        writing.save(tone(), tmp_path / f"a.{ending}", tags=tags)
        assert TinyTag.get(tmp_path / f"a.{ending}").comment == tags["comment"]

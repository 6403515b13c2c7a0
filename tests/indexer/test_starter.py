"""``library init``: tables for any folder at all, that grant nothing until somebody says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.artist_names import artist_of_folder, spoken_name
from indexer.junk import NO_ENDING
from indexer.library_toml import FILL_IN
from indexer.licenses import read_library
from indexer.path_patterns import PathPattern, clean, normalized
from indexer.starter import MOST_ROWS, StarterRow, pattern_of, starter_csv, write_starter
from indexer.stems_csv import read_rows
from rag_audio.errors import InvalidInput, LibraryError
from tests.indexer.conftest import Bench
from tests.indexer.library import tone


def tagged(path: Path, artist: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC") as file:
        file.artist = artist
        file.write(np.sin(np.arange(4000) / 10 + len(str(path))) * 0.3)
    return path


def fill_in(root: Path) -> None:
    text = (root / "library.toml").read_text("utf-8")
    text = text.replace(f'uses = ["{FILL_IN}"]', 'uses = ["prompt", "style"]')
    text = text.replace(f'spdx = "{FILL_IN}"', 'spdx = "LicenseRef-Mine"')
    (root / "library.toml").write_text(text.replace(FILL_IN, "My Label"), "utf-8")


def test_tables_are_written_that_grant_nothing_until_the_license_is_filled_in(
    bench: Bench, quick: Callable[..., Any]
) -> None:
    tone(bench.root / "Velda Quarn" / "a.wav")
    made = write_starter(bench.root)
    assert (made.files, made.written) == (1, ("library.toml", "stems.csv"))
    report = bench.run()
    assert (report.indexed, report.misdeclared, report.is_unlicensed) == (0, 1, True)
    assert bench.reasons(report) == {
        "library.toml": "license 'my-license' is not used: fill in its holder, spdx, uses: until "
        "then it grants nothing",
        "Velda Quarn/a.wav": "license 'my-license' is not usable: fill in its holder, spdx, uses: "
        "until then it grants nothing",
    }
    fill_in(bench.root)
    filled = bench.run()
    assert (filled.indexed, filled.rejected) == (1, ())
    (stem,) = bench.catalogue.stems()
    assert (stem.license, stem.artist, stem.artist_declared) == ("my-license", "Velda Quarn", True)


def test_a_license_that_is_filled_in_by_half_grants_nothing(bench: Bench) -> None:
    tone(bench.root / "a.wav")
    write_starter(bench.root)
    text = (bench.root / "library.toml").read_text("utf-8")
    (bench.root / "library.toml").write_text(
        text.replace(f'holder = "{FILL_IN}"', 'holder = "Me"'), "utf-8"
    )
    spec = read_library(bench.root)
    assert spec.unusable == {"my-license": "fill in its spdx, uses: until then it grants nothing"}


def test_rows_are_for_folders_whose_files_name_one_artist(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        tagged(tmp_path / "Pack" / "Album" / f"{name}.flac", "Night Shift House Band")
    tagged(tmp_path / "Various" / "x" / "1.flac", "Ann Orr")
    tagged(tmp_path / "Various" / "x" / "2.flac", "Bo Lindt")
    tagged(tmp_path / "Various" / "y" / "3.flac", "Ann Orr")
    tone(tmp_path / "Drums" / "kick.wav")
    tone(tmp_path / "tessan-oryk" / "pad.wav")
    tone(tmp_path / "alone.wav")
    made = write_starter(tmp_path)
    assert [(row.path, row.artist, row.artist_from, row.files) for row in made.rows] == [
        ("Drums/**", "", "", 1),
        ("Pack/**", "Night Shift House Band", "tags", 3),
        ("Various/x/**", "", "", 2),
        ("Various/y/**", "Ann Orr", "tags", 1),
        ("tessan-oryk/**", "Tessan Oryk", "folder name", 1),
    ]
    assert made.kinds == {".flac": 6, ".wav": 3}
    lines = (tmp_path / "stems.csv").read_text("utf-8").splitlines()
    assert all(line.startswith("# ") and "," not in line for line in lines[:3])
    assert lines[3:6] == [
        "path,license,artist,title,bpm,key,tags",
        "**,my-license,,,,,",
        "Drums/**,my-license,,,,,",
    ]


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    for there, missing in (("stems.csv", "library.toml"), ("library.toml", "stems.csv")):
        (tmp_path / there).write_text("mine")
        with pytest.raises(InvalidInput, match=f"{there} is there already .* nothing was written"):
            write_starter(tmp_path)
        assert (tmp_path / there).read_text() == "mine" and not (tmp_path / missing).exists()
        (tmp_path / there).unlink()
    (tmp_path / "stems.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="is there already"):
        write_starter(tmp_path)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_written_keeps_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone(tmp_path / "a.wav")
    real = Path.write_text

    def full(path: Path, text: str, *args: Any, **more: Any) -> int:
        if "library.toml" in path.name:
            raise OSError(28, "No space left on device")
        return real(path, text, *args, **more)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InvalidInput, match="No space left"):
        write_starter(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["a.wav"]


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="is not a folder"):
        write_starter(tmp_path / "nowhere")
    made = write_starter(tmp_path)
    assert (made.files, made.rows) == (0, ())
    assert read_library(tmp_path).rows[0].pattern == "**"


def test_the_name_of_the_folder_is_text_whatever_it_holds(tmp_path: Path) -> None:
    for name in ('a "b" \\ c', "!!!", "line\nbreak", "\x7f'''", "ラウド"):
        root = tmp_path / name
        root.mkdir()
        write_starter(root)
        spec = read_library(root)
        assert spec.id and spec.problems[0].path == "library.toml"


def test_names_that_no_table_can_name_are_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    tone(tmp_path / "a.wav")
    (tmp_path / "b.asd").touch()
    (tmp_path / "sound").write_bytes(b"OggS")
    (tmp_path / "readme").write_text("hello")
    made = write_starter(tmp_path)
    assert made.unreadable_names == ("caf\\xe9",)
    assert (made.junk, made.other) == ({".asd": 1}, {NO_ENDING: 1})
    assert made.kinds == {".wav": 1, NO_ENDING: 1}


def test_a_folder_of_very_many_folders_gives_a_table_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.starter.MOST_OPENED", 0)
    for number in range(MOST_ROWS + 20):
        (tmp_path / f"Band {number}").mkdir()
        (tmp_path / f"Band {number}" / "a.wav").touch()
    made = write_starter(tmp_path)
    assert (len(made.rows), made.left_out) == (MOST_ROWS, 20)


HOSTILE = [
    "=cmd|' -C calc'!A0", "+1", "-dash", "@x", "a,b", 'say "hi"', "[FINAL]", "*", "**", "what?",
    "[a-z]", "back\\slash", "new\nline", "tab\there", "cr\r", " lead", "trail ", "C:x", "#hash",
    "'quote", "a;b", "ｆｕｌｌ", "e\u0301", "\u2028", "\x85", "]", "!x", "[!x]", "\ufeffbom",
    "a\u00a0b", "🎹", "{x}", "$HOME", "~",
]  # fmt: skip


def test_hostile_names_of_folders_come_back_from_the_table(tmp_path: Path) -> None:
    for name in HOSTILE:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").touch()
    made = write_starter(tmp_path)
    pattern_for = {row.folder: row.path for row in made.rows}
    assert pattern_for.keys() == set(HOSTILE)
    assert not [one for one in pattern_for.values() if one.startswith(tuple("=+-@\t\r"))]
    spec = read_library(tmp_path)
    assert [one.pattern for one in spec.rows][1:] == [clean(row.path) for row in made.rows]
    assert not [one for one in spec.problems if one.path == "stems.csv"]
    for name in HOSTILE:
        assert clean(pattern_for[name]) in {one.pattern for one in spec.rows_of(f"{name}/a.wav")}


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1))
@example("[")
@example("C:")
def test_a_pattern_means_its_folder_in_any_table(name: str) -> None:
    if name in (".", ".."):
        return
    pattern = PathPattern(clean(pattern_of(name)))
    assert pattern.matches(normalized(f"{name}/a/b.wav"))
    assert not pattern.matches(normalized(f"x{name}/a.wav"))


@settings(max_examples=40, deadline=None)
@given(
    folder=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1),
    artist=st.text(max_size=20).map(spoken_name),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, folder: str, artist: str
) -> None:
    if folder in (".", ".."):
        return
    table = tmp_path_factory.mktemp("t") / "stems.csv"
    row = StarterRow(pattern_of(folder), folder, artist, "tags", 1)
    table.write_text(starter_csv([row]), "utf-8", errors="surrogatepass", newline="")
    read = read_rows(table)
    assert read.problems == []
    assert [(one.pattern, one.license, one.artist) for one in read.rows] == [
        ("**", "my-license", ""),
        (clean(row.path), "my-license", artist),
    ]


@pytest.mark.parametrize(
    ("folder", "artist"),
    [
        ("Velda Quarn", "Velda Quarn"),
        ("velda-quarn", "Velda Quarn"),
        ("Velda_Quarn", "Velda Quarn"),
        ("Velda Quarn - Last Tram EP", "Velda Quarn"),
        ("The Low Lantern Five", "The Low Lantern Five"),
        ("ラウド", "ラウド"),
        ("Drums", ""),
        ("Drum Loops", ""),
        ("Vol. 2", ""),
        ("120bpm", ""),
        ("Am", ""),
        ("2024", ""),
        ("Final Mixes", ""),
        ("Bass One Shots", ""),
        ("House", ""),
        ("A", ""),
        ("=x", ""),
        ("My Very Long Folder Of Many Words Here", ""),
    ],
)
def test_a_folder_is_named_after_an_artist_or_not(folder: str, artist: str) -> None:
    assert artist_of_folder(folder) == artist

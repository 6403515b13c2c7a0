"""Which row of stems.csv counts for a file, what is told of it, and what is compared for it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.licenses import Declared, LibrarySpec, NotLicensed, match, read_library
from indexer.path_patterns import PathPattern, clean, normalized
from indexer.row_order import RowIndex
from indexer.stems_csv import StemRow
from indexer.survey import Limits, survey
from rag_audio.storage.library_files import FolderFiles
from tests.indexer.library import write_tables

TODAY = date(2026, 6, 1)


def library(root: Path, rows: str, *files: str) -> LibrarySpec:
    write_tables(root, "path,license,artist,bpm\n" + rows)
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return read_library(root)


def artist(spec: LibrarySpec, path: str) -> str:
    found = match(spec, path, TODAY)
    assert isinstance(found, Declared), found
    return found.artist


def told(spec: LibrarySpec) -> list[str]:
    return [one.text for one in survey(spec, TODAY, (), Limits()).notices]


@pytest.mark.parametrize("last", ["*", "**", "**/*.wav", "*/*"])
def test_a_fallback_below_rows_of_artists_overrides_none_of_them(tmp_path: Path, last: str) -> None:
    names = [f"Artist {number}" for number in range(165)]
    rows = "".join(f"{name}/*.wav,full,{name},\n" for name in names)
    spec = library(tmp_path, f"{rows}{last},words,Various,")
    assert [artist(spec, f"{name}/a.wav") for name in names] == names


@pytest.mark.parametrize(
    ("rows", "path", "counts"),
    [
        (["a/b.wav", "a/*.wav", "**"], "a/b.wav", 0),
        (["a/*", "**/b.wav"], "a/b.wav", 0),
        (["a/**", "a/*"], "a/b.wav", 1),
        (["a/kick*.wav", "a/*.wav"], "a/kick 1.wav", 0),
        (["a/take?.wav", "a/take*.wav"], "a/take1.wav", 0),
        (["a/take[12].wav", "a/take?.wav"], "a/take1.wav", 0),
        (["a/*.wav", "a/*.wav"], "a/b.wav", 1),
        (["a/b.wav", "./a//b.wav"], "a/b.wav", 1),
        (["[FINAL]/a.wav", "**/a.wav", "*/*.wav"], "[FINAL]/a.wav", 0),
    ],
)
def test_the_most_specific_row_counts_and_of_equal_ones_the_later(
    tmp_path: Path, rows: list[str], path: str, counts: int
) -> None:
    table = "".join(f"{pattern},full,Artist {number},\n" for number, pattern in enumerate(rows))
    assert artist(library(tmp_path, table, path), path) == f"Artist {counts}"


def test_a_row_of_a_folder_with_brackets_is_about_that_folder(tmp_path: Path) -> None:
    files = ("[FINAL]/a.wav", "F/a.wav", "Mixes [FINAL]/a.wav", "take1.wav", "take2.wav")
    rows = "[FINAL]/*.wav,full,One,\nMixes [FINAL]/a.wav,full,Two,\ntake[12].wav,full,Three,\n"
    spec = library(tmp_path, rows, *files)
    assert [artist(spec, path) for path in files if path != "F/a.wav"] == [
        "One",
        "Two",
        "Three",
        "Three",
    ]
    assert isinstance(match(spec, "F/a.wav", TODAY), NotLicensed)


def test_a_decision_on_a_folder_with_brackets_is_about_that_folder(tmp_path: Path) -> None:
    spec = library(tmp_path, "**,full,One,", "[FINAL]/a.wav", "F/a.wav")
    toml = tmp_path / "library.toml"
    toml.write_text(f'{toml.read_text("utf-8")}\n[conflicts]\n"[FINAL]/*" = "full"\n', "utf-8")
    (decision,) = read_library(spec.files).decisions
    assert decision.matches("[FINAL]/a.wav") and not decision.matches("F/a.wav")


def test_a_later_row_that_does_not_override_is_told_once(tmp_path: Path) -> None:
    files = [f"Band/{number}.wav" for number in range(3)]
    spec = library(tmp_path, "Band/*,full,Band,\n*/*,words,Various,\n", *files)
    assert told(spec) == [
        "row 3 ('*/*') is less specific than row 2 ('Band/*') and does not override it: "
        "'Band/0.wav' and 2 more"
    ]


def test_a_wider_row_that_says_nothing_else_is_not_told(tmp_path: Path) -> None:
    spec = library(tmp_path, "Band/*,full,Band,92\n**,full,,\n", "Band/a.wav")
    assert told(spec) == []
    spec = library(tmp_path, "**,words,Various,\nBand/*,full,Band,92\n", "Band/a.wav")
    assert told(spec) == []


def test_equally_specific_rows_of_different_rights_are_told(tmp_path: Path) -> None:
    spec = library(tmp_path, "a.wav,full,Band,\na.wav,words,Band,\n", "a.wav")
    assert told(spec) == [
        "rows 2 ('a.wav') and 3 ('a.wav') are equally specific and name different licenses or "
        "artists; the later one counts: 'a.wav'"
    ]
    assert told(library(tmp_path, "a.wav,full,Band,\na.wav,full,Band,92\n", "a.wav")) == []


def test_what_a_class_would_have_matched_is_told(tmp_path: Path) -> None:
    files = ("take[12].wav", "take1.wav", "take2.wav")
    spec = library(tmp_path, "*,full,Band,\ntake[12].wav,full,Band,\n", *files)
    assert told(spec) == [
        "row 3 ('take[12].wav') means the file or folder of that name, and not 'take1.wav' "
        "and 1 more"
    ]


def test_what_the_order_of_rows_does_is_in_the_report_of_the_survey_once(tmp_path: Path) -> None:
    files = [f"{number}/a.wav" for number in range(30)]
    rows = "".join(f"{number}/*,full,A {number},\n*/a.wav,words,B,\n" for number in range(30))
    assert len(told(library(tmp_path, rows, *files))) <= 21


def spec_of(root: Path, patterns: list[str]) -> LibrarySpec:
    rows = tuple(StemRow(number=n, pattern=p, license="full") for n, p in enumerate(patterns, 2))
    return LibrarySpec("l", "L", FolderFiles(root), {}, rows=rows)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The patterns with which paths are compared one by one, in order."""
    told: list[str] = []
    plain = PathPattern.fits

    def fits(pattern: PathPattern, path: str) -> bool:
        told.append(pattern.text)
        return plain(pattern, path)

    monkeypatch.setattr(PathPattern, "fits", fits)
    return told


def test_of_many_rows_few_are_compared_with_each_of_many_files(
    tmp_path: Path, compared: list[str]
) -> None:
    paths = [f"Artist {number % 1000}/{number}.wav" for number in range(8_000)]
    literal = spec_of(tmp_path, paths)
    folders = spec_of(tmp_path, [f"Artist {number}/*.wav" for number in range(1000)] + ["**"])
    assert all(len(literal.rows_of(path)) == 1 for path in paths)
    assert not compared
    assert all(len(folders.rows_of(path)) == 2 for path in paths)
    assert len(compared) == 2 * len(paths)


WORDS = st.sampled_from(["kick", "snare", "K", "_1", "_12", "é", "[a]", ".wav", ".mid", " ", "ab"])
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("".join)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
GLOBS = st.lists(
    st.one_of(WORDS, st.sampled_from(["*", "**", "?", "[ks]", "/", "**/"])), min_size=1, max_size=7
).map("".join)


def row(number: int, pattern: str) -> StemRow:
    return StemRow(number=number, pattern=pattern, license="full")


@settings(max_examples=200)
@given(st.lists(st.one_of(GLOBS, PATHS), max_size=60), st.lists(PATHS, max_size=6))
def test_rows_are_found_as_by_comparing_each(texts: list[str], paths: list[str]) -> None:
    patterns = [PathPattern(clean(f"a{text}")) for text in texts] * 2
    rows = [row(number, pattern.text) for number, pattern in enumerate(patterns)]
    index = RowIndex(rows, patterns)
    for path in (normalized(f"a{path}") for path in paths):
        plain = [
            (pattern.specificity, one.number, one)
            for one, pattern in zip(rows, patterns, strict=True)
            if pattern.matches(path)
        ]
        assert index.rows_of(path) == [one for _, _, one in sorted(plain, key=lambda it: it[:2])]


def test_of_many_patterns_in_one_folder_few_are_compared(compared: list[str]) -> None:
    patterns = [PathPattern(f"**/*take {number:03}*.wav") for number in range(900)]
    index = RowIndex([row(at, one.text) for at, one in enumerate(patterns)], patterns)
    assert [one.pattern for one in index.rows_of("drums/a take 123 b.wav")] == [patterns[123].text]
    assert len(compared) < 30

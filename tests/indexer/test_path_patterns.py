"""Patterns of paths: what they match, which is more specific, and what brackets mean."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.path_patterns import (
    MAX_PATTERN,
    BadPattern,
    NamesOnDisk,
    PathPattern,
    clean,
    is_literal,
    normalized,
)
from rag_audio.storage.library_files import FolderFiles


def fits(pattern: str, path: str) -> bool:
    """The meaning of a pattern without classes, in its plainest form."""
    if pattern.startswith("**/"):
        rest = pattern[3:]
        starts = [0, *(at + 1 for at, sign in enumerate(path) if sign == "/")]
        return any(fits(rest, path[start:]) for start in starts)
    return _fits(pattern, path)


def _fits(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    stars = len(pattern) - len(pattern.lstrip("*"))
    rest = pattern[max(stars, 1) :]
    if stars == 0:
        same = bool(path) and (path[0] == pattern[0] or (pattern[0] == "?" and path[0] != "/"))
        return same and (fits if pattern[0] == "/" else _fits)(rest, path[1:])
    for end in range(len(path) + 1):
        if stars == 1 and "/" in path[:end]:
            return False
        if _fits(rest, path[end:]):
            return True
    return False


PIECES = st.lists(st.sampled_from(["a", "b", "ab", "*", "**", "?", "/", "/**/"]), max_size=7)
PATHS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)


@settings(max_examples=100, deadline=None)
@given(PIECES.map("".join), PATHS)
def test_what_a_pattern_matches_is_what_its_wildcards_say(pattern: str, path: str) -> None:
    try:
        text = clean(pattern)
    except BadPattern:
        return
    assert PathPattern(text).matches(path) is fits(text, path)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    began = time.process_time()
    for pattern in ("*a" * 1000 + "b", "**a" * 1000 + "b", "**/*a" * 700 + "b", "a*" * 2000):
        assert not PathPattern(clean(pattern)).matches("a" * 1500 + "/" + "a" * 1500)
    assert time.process_time() - began < 3
    with pytest.raises(BadPattern, match="longer than 4096"):
        clean("*" * (MAX_PATTERN + 1))


LADDERS = [
    ["**", "*/**", "drums/**", "drums/*/*", "drums/a/*", "drums/a/b*", "drums/a/b.wav"],
    ["**", "**/*.wav", "*.wav", "a*.wav", "a?*.wav", "a??.wav", "a[xyz]?.wav", "a[xyz]c.wav"],
    ["**", "**/*.wav", "*.wav", "drums/**", "drums/*", "drums/*.wav", "drums/kick*.wav"],
    ["x/**/*.wav", "x/*.wav", "x/*a*.wav", "x/a*.wav", "x/a.wav"],
    ["**", "Artist/**", "Artist/**/*.wav", "Artist/Album/**", "Artist/Album/*"],
    ["**/*.wav", "**/loops/*.wav", "drums/**"],
]


@pytest.mark.parametrize("ladder", LADDERS)
def test_each_pattern_is_more_specific_than_the_one_before(ladder: list[str]) -> None:
    steps = [PathPattern(text).specificity for text in ladder]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("a.wav", "a.wav"),
        ("[[]FINAL]/a.wav", "[FINAL]/a.wav"),
        ("what[?].wav", "what?.wav"),
        ("[*].wav", "*.wav"),
        ("a]b.wav", "a]b.wav"),
        ("a[b.wav", "a[b.wav"),
        ("a[12].wav", None),
        ("[!a].wav", None),
        ("a*", None),
        ("a?", None),
    ],
)
def test_a_pattern_without_wildcards_is_a_path(pattern: str, literal: str | None) -> None:
    assert PathPattern(pattern).literal == literal
    assert is_literal(pattern) is (literal is not None)


def make_files(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize(
    ("files", "pattern", "matched"),
    [
        # A folder's name: the class is not meant, though a folder fits it.
        (["[FINAL]/a.wav", "F/a.wav"], "[FINAL]/*.wav", ["[FINAL]/a.wav"]),
        (["Mixes [FINAL]/a.wav", "Mixes F/a.wav"], "Mixes [FINAL]/**", ["Mixes [FINAL]/a.wav"]),
        (["Mixes [FINAL]/a.wav"], "Mixes [FINAL]/a.wav", ["Mixes [FINAL]/a.wav"]),
        (["x/[FINAL]/a.wav"], "**/[FINAL]/*", ["x/[FINAL]/a.wav"]),
        (["x [FINAL] 2/a.wav"], "*[FINAL]*/a.wav", ["x [FINAL] 2/a.wav"]),
        # No such name: a class.
        (["take1.wav", "take2.wav", "take3.wav"], "take[12].wav", ["take1.wav", "take2.wav"]),
        # Both in one path, each by what lies there.
        (
            ["[FINAL]/take1.wav", "[FINAL]/take3.wav", "F/take1.wav"],
            "[FINAL]/take[12].wav",
            ["[FINAL]/take1.wav"],
        ),
        (["take1 [WIP].wav", "take3 [WIP].wav"], "take[12] [WIP].wav", ["take1 [WIP].wav"]),
        (["take[12].wav", "take1.wav"], "take[12].wav", ["take[12].wav"]),
        (["song [1].wav", "song 1.wav"], "song [1].wav", ["song [1].wav"]),
        (["[[x]]/a.wav"], "[[x]]/*.wav", ["[[x]]/a.wav"]),
        # Escaped, it is the bracket whatever lies there.
        (["[FINAL]/a.wav", "F/a.wav"], "[[]FINAL]/*.wav", ["[FINAL]/a.wav"]),
        # Accents that the file system stores in parts.
        (["Cafe\u0301 [live]/a.wav", "Café l/a.wav"], "Café [live]/*", ["Café [live]/a.wav"]),
        # A name with a question mark; a file named '*' takes no row over.
        (["who?.wav", "whom.wav"], "who?.wav", ["who?.wav"]),
        (["*", "a.wav"], "*", ["*", "a.wav"]),
    ],
)
def test_brackets_mean_themselves_where_a_file_or_folder_is_named_so(
    tmp_path: Path, files: list[str], pattern: str, matched: list[str]
) -> None:
    meant = NamesOnDisk(FolderFiles(make_files(tmp_path, *files))).meaning_of(clean(pattern))
    assert [path for path in map(normalized, files) if meant.matches(path)] == matched


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    make_files(tmp_path, "b/a.wav")
    (tmp_path / "b" / "[loop]").symlink_to(tmp_path, target_is_directory=True)
    meant = NamesOnDisk(FolderFiles(tmp_path)).meaning_of("**/[loop]/a.wav")
    assert meant.named == frozenset()


def test_without_knowing_what_lies_there_either_meaning_matches() -> None:
    meant = PathPattern("[FINAL]/take[12].wav")
    assert meant.matches("F/take1.wav") and meant.matches("[FINAL]/take[12].wav")
    assert not meant.matches("[FINAL]/take1.wav")

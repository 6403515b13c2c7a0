"""What systems and other programs leave in a folder is counted, and is no fault of the library."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.junk import by_count, skipped_lines
from indexer.report import Notice
from indexer.scan import scan
from rag_audio.storage.library_files import FolderFiles
from tests.indexer.conftest import Bench
from tests.indexer.library import tone

JUNK = {
    ".DS_Store": [".DS_Store", "drums/.DS_Store"],
    "._*": ["._kick.wav", "drums/._kick.wav", "drums/._.DS_Store"],
    ".asd": ["kick.wav.asd", "Kick.ASD"],
    "Thumbs.db": ["thumbs.db"],
    "desktop.ini": ["drums/Desktop.ini"],
    "Icon": ["drums/Icon\r"],
    ".reapeaks": ["a.wav.reapeaks"],
    ".pkf": ["a.pkf"],
    ".sfk": ["a.sfk"],
    ".ovw": ["a.ovw"],
    ".wfm": ["a.wfm"],
    "~$*": ["~$stems.xlsx"],
    ".~lock.*": [".~lock.stems.csv#"],
    ".nfs*": [".nfs0000123"],
    ".tmp": ["x.tmp"],
    "hidden": [".hidden.wav", ".git/objects/x.wav"],
    "__MACOSX/": ["__MACOSX/drums/._kick.wav", "__MACOSX/more.wav"],
    "@eaDir/": ["drums/@eaDir/kick.wav@SynoEAStream"],
    "$RECYCLE.BIN/": ["$RECYCLE.BIN/S-1-5/gone.wav"],
    "System Volume Information/": ["System Volume Information/tracking.log"],
    ".Trashes/": [".Trashes/501/x.wav"],
    ".Spotlight-V100/": [".Spotlight-V100/store.db"],
}
OTHER = {
    ".txt": ["read me.txt", "drums/LICENSE.TXT"],
    ".pdf": ["booklet.pdf"],
    ".jpg": ["cover.JPG"],
    ".als": ["Set.als"],
    ".zip": ["old.zip"],
    ".logicx": ["Song.logicx/Media/Audio Files/take 1.wav"],
    ".band": ["Idea.band/Media/take.wav"],
    "no ending": ["README"],
    ".xyz": ["odd.xyz"],
}


def write(root: Path, kinds: dict[str, list[str]]) -> dict[str, int]:
    for name in (one for names in kinds.values() for one in names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not music at all")
    return {kind: len(names) for kind, names in kinds.items()}


def test_junk_is_counted_by_kind_and_no_fault_though_a_row_matches_it(
    bench: Bench, quick: Callable[..., Any]
) -> None:
    tone(bench.root / "kick.wav")
    junk, other = write(bench.root, JUNK), write(bench.root, OTHER)
    bench.tables("**,full")
    report = bench.run()
    assert (report.indexed, report.rejected, report.noticed) == (1, (), ())
    assert report.junk == by_count(junk)
    assert report.other == by_count(other)
    assert report.passed_over == skipped_lines(junk, other)
    assert bench.run().junk == report.junk


def test_junk_that_no_row_matches_is_counted_too(bench: Bench, quick: Callable[..., Any]) -> None:
    tone(bench.root / "kick.wav")
    junk, other = write(bench.root, JUNK), write(bench.root, OTHER)
    bench.tables("kick.wav,full")
    report = bench.run()
    assert (dict(report.junk), dict(report.other)) == (junk, other)
    assert report.rejected == ()


def test_a_download_that_was_not_finished_is_named(bench: Bench, quick: Callable[..., Any]) -> None:
    for name in ("loop.wav.part", "pad.wav.crdownload"):
        (bench.root / name).write_bytes(b"RIFF")
    bench.tables("**,full")
    report = bench.run()
    assert report.noticed == (
        Notice("loop.wav.part", "a download that was not finished (.part), skipped: finish it"),
        Notice(
            "pad.wav.crdownload",
            "a download that was not finished (.crdownload), skipped: finish it",
        ),
    )
    assert bench.reasons(report) == {"**": "row 2 of stems.csv matches no file"}


def test_what_a_row_names_is_read_whatever_its_name(
    bench: Bench, quick: Callable[..., Any]
) -> None:
    tone(bench.root / "a.wav").rename(bench.root / "a.tmp")
    tone(bench.root / "b.wav", 300).rename(bench.root / "b.part")
    tone(bench.root / "Song.logicx" / "take.wav", 400)
    (bench.root / "notes.txt").write_text("no sound")
    bench.tables("a.tmp,full\nb.part,full\nSong.logicx/*,full\nnotes.txt,full\n._a.wav,full")
    report = bench.run()
    assert report.indexed == 3
    assert set(bench.reasons(report)) == {"notes.txt", "._a.wav"}
    assert bench.reasons(report)["._a.wav"].endswith(
        "matches no file that is read: names of the system are skipped"
    )


def test_music_by_its_bytes_is_no_junk_of_its_name(bench: Bench, quick: Callable[..., Any]) -> None:
    tone(bench.root / "a.wav").rename(bench.root / "a.txt")
    tone(bench.root / "b.wav", 300).rename(bench.root / "b")
    bench.tables("**,full")
    assert bench.run().indexed == 2


def test_what_was_indexed_is_not_forgotten_for_its_name(
    bench: Bench, quick: Callable[..., Any]
) -> None:
    tone(bench.root / "take.tmp" / "a.wav")
    tone(bench.root / "b.wav", 300).rename(bench.root / "b.tmp")
    bench.tables("**,full\nb.tmp,full")
    assert bench.run().indexed == 2
    bench.tables("**,full")
    again = bench.run(prune=True)
    assert (again.skipped, again.updated, again.pruned) == (2, 0, 0)


def test_an_apple_double_under_the_name_of_a_sound_is_junk(
    bench: Bench, quick: Callable[..., Any]
) -> None:
    (bench.root / "kick.wav").write_bytes(bytes.fromhex("00051607 00020000") + bytes(200))
    (bench.root / "snare.wav").write_bytes(b"no sound")
    bench.tables("**,full")
    report = bench.run()
    assert (report.junk, set(bench.reasons(report))) == ({"._*": 1}, {"snare.wav"})


def test_other_files_without_a_license_are_none_that_a_license_lacks(bench: Bench) -> None:
    undecided = ("no ending", ".xyz")  # may be music until somebody decodes them
    write(bench.root, {kind: names for kind, names in OTHER.items() if kind not in undecided})
    bench.tables("**,expired\n*.pdf,nonesuch")
    report = bench.run()
    assert (report.misdeclared, report.is_unlicensed) == (0, False)
    assert ".pdf" in report.other and "booklet.pdf" not in bench.reasons(report)
    assert bench.reasons(report) == {
        "**": "row 2 of stems.csv matches only files without music",
        "*.pdf": "row 3 of stems.csv matches only files without music",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_of_the_system_that_may_not_be_read_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "System Volume Information").mkdir(mode=0)
    found = scan(FolderFiles(tmp_path))
    assert (found.rejected, dict(found.junk)) == ([], {"System Volume Information/": 1})


def test_an_archive_of_sounds_is_one_other_file(bench: Bench) -> None:
    with zipfile.ZipFile(bench.root / "pack.zip", "w") as archive:
        archive.writestr("kick.wav", b"RIFF")
    bench.tables("**,full")
    assert bench.run().other == {".zip": 1}


def test_many_kinds_are_summed_up() -> None:
    kinds = {f".k{number}": 20 - number for number in range(12)}
    assert skipped_lines({}, kinds) == [
        "174 files without music skipped: .k0 20, .k1 19, .k2 18, .k3 17, .k4 16, .k5 15, .k6 14, "
        ".k7 13, others 42"
    ]
    assert skipped_lines({}, {}) == []

"""A first ``library.toml`` and ``stems.csv`` for a folder: they grant nothing until somebody fills
in the license.

Rows are made for folders: one for each folder whose files name one artist in their tags, or whose
name looks like an artist's. A guess is only written where a person will read it before it counts.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from indexer.artist_names import artist_of_folder, spoken_name
from indexer.inspection import InspectedFile, InspectJob, no_render
from indexer.junk import NO_ENDING, by_count, ending_of, no_music, other_kind, skipped_lines
from indexer.library_toml import FILL_IN, LIBRARY_TOML, identity
from indexer.scan import FoundFile, Scan, has_music_ending, looks_like_music, scan
from indexer.stems_csv import STEMS_CSV
from indexer.survey import Limits
from indexer.worker_processes import MeasuringProcesses
from rag_audio.domain.codec import Document
from rag_audio.errors import InvalidInput, LibraryError
from rag_audio.storage.files import export
from rag_audio.storage.library_files import FolderFiles

MOST_ROWS = 500
"""Rows of a starter, beside the first, which covers every file."""
MOST_OPENED = 600
"""Files whose tags are read."""
_DEEPEST = 4
_PER_FOLDER = 4
_LICENSE = "my-license"
_COLUMNS = ("path", "license", "artist", "title", "bpm", "key", "tags")


@dataclass(frozen=True)
class StarterRow:
    """A row of the starter's ``stems.csv``.

    Attributes:
        path: a pattern that means this folder and no other. folder: its name as it is.
        artist: empty where none was found.
        artist_from: ``tags``, ``folder name`` or empty.
        files: of music below the folder.
    """

    path: str
    folder: str
    artist: str
    artist_from: str
    files: int


@dataclass(frozen=True)
class LibraryStarter:
    """What was found in a folder, and what was written.

    Attributes:
        files: that look like music. kinds: how many of them by their ending.
        left_out: folders that have no row, since there are :data:`MOST_ROWS` already; the first row
            covers them.
        unreadable_names: of files and folders whose names are not UTF-8, so that no table can name
            them.
        junk, other: as in :class:`indexer.report.IndexReport`.
    """

    root: str
    name: str
    written: tuple[str, ...]
    files: int
    kinds: Mapping[str, int]
    rows: tuple[StarterRow, ...]
    left_out: int
    unreadable_names: tuple[str, ...]
    junk: Mapping[str, int]
    other: Mapping[str, int]

    @property
    def passed_over(self) -> list[str]:
        """A line on files of the system and of other programs, and one on those without music."""
        return skipped_lines(self.junk, self.other)

    def to_json(self) -> Document:
        """The document that ``rag-audio library init --json`` prints."""
        return asdict(self)


def write_starter(root: Path) -> LibraryStarter:
    """Look at a folder and write its two tables.

    Raises:
        LibraryError: it is no folder, or its path is not UTF-8.
        InvalidInput: one of the tables is there already, or cannot be written.
    """
    folder = _folder(root)
    for table in (LIBRARY_TOML, STEMS_CSV):
        if (folder / table).exists() or (folder / table).is_symlink():
            raise InvalidInput(
                f"{table} is there already in {str(folder)!r}, and nothing was written",
                hint=f"rag-audio library check {folder} says what would be indexed",
            )
    library = FolderFiles(folder)
    found = scan(library)
    music = [file for file in found.files if _is_music(library, file, found)]
    found.junk.update(other_kind(file.path) for file in found.aside)
    rows, left_out = _Rows(folder, music).rows()
    name = folder.name or "My Library"
    made = LibraryStarter(
        root=str(folder),
        name=name,
        written=(LIBRARY_TOML, STEMS_CSV),
        files=len(music),
        kinds=by_count(Counter(ending_of(one.path) or NO_ENDING for one in music)),
        rows=tuple(rows),
        left_out=left_out,
        unreadable_names=tuple(one.path for one in found.rejected if "UTF-8" in one.reason),
        junk=by_count(found.junk),
        other=by_count(found.other),
    )
    _write(folder / STEMS_CSV, starter_csv(rows))
    try:
        _write(folder / LIBRARY_TOML, starter_toml(made))
    except InvalidInput:
        (folder / STEMS_CSV).unlink(missing_ok=True)
        raise
    return made


def _folder(root: Path) -> Path:
    if not root.is_dir():
        raise LibraryError(f"the library {str(root)!r} is not a folder")
    folder = root.resolve()
    try:
        str(folder).encode()
    except UnicodeEncodeError as cause:
        raise LibraryError(
            f"the library's path {str(folder)!a} is not UTF-8", hint="rename the folder"
        ) from cause
    return folder


def _is_music(library: FolderFiles, file: FoundFile, found: Scan) -> bool:
    if has_music_ending(file.path) or (
        not no_music(file.path) and looks_like_music(library, file.path)
    ):
        return True
    found.other[other_kind(file.path)] += 1
    return False


def _write(path: Path, text: str) -> None:
    with export(path) as draft:
        draft.write_text(text, "utf-8", newline="")


# The rows: from the folder down, until each has one artist or cannot have one.


@dataclass
class _Tree:
    """A folder with music in it.

    Attributes:
        path: POSIX path below the root.
        files: directly in it. folders: by name. total: files below it.
    """

    path: str
    files: list[FoundFile] = field(default_factory=list)
    folders: dict[str, _Tree] = field(default_factory=dict)
    total: int = 0

    def below(self) -> Iterator[FoundFile]:
        """All files, those of the folder itself first."""
        waiting = [self]
        while waiting:
            one = waiting.pop()
            yield from one.files
            waiting += reversed(one.folders.values())


class _Rows:
    def __init__(self, root: Path, music: Iterable[FoundFile]) -> None:
        self._root, self._left = root, MOST_OPENED
        self._tree = _Tree("")
        for file in music:
            *folders, _ = file.path.split("/")
            place = self._tree
            place.total += 1
            for name in folders:
                path = f"{place.path}/{name}" if place.path else name
                place = place.folders.setdefault(name, _Tree(path))
                place.total += 1
            place.files.append(file)

    def rows(self) -> tuple[list[StarterRow], int]:
        """The rows for folders, in order of path, and how many folders were left out."""
        found: list[StarterRow] = []
        with MeasuringProcesses(1, no_render) as processes:
            waiting = [(one, 1) for one in reversed(self._tree.folders.values())]
            while waiting and len(found) < MOST_ROWS:
                tree, depth = waiting.pop()
                artist, source = self._artist(tree, processes)
                parts = tree.folders.values()
                if not artist and parts and depth < _DEEPEST:
                    waiting += [(one, depth + 1) for one in reversed(parts)]
                    if not tree.files:
                        continue
                found.append(
                    StarterRow(pattern_of(tree.path), tree.path, artist, source, tree.total)
                )
        return sorted(found, key=lambda row: row.folder), len(waiting)

    def _artist(self, tree: _Tree, processes: MeasuringProcesses) -> tuple[str, str]:
        """The artist that a folder's files name alike, else the one that its name names."""
        named = self._tagged(tree, processes)
        if len(named) == 1:
            artist = spoken_name(named.pop())
            return (artist, "tags") if artist else ("", "")
        if named:
            return "", ""
        artist = artist_of_folder(PurePosixPath(tree.path).name)
        return (artist, "folder name") if artist else ("", "")

    def _tagged(self, tree: _Tree, processes: MeasuringProcesses) -> set[str]:
        """The artists in the tags of a few files, from all over the folder."""
        files = list(tree.below())
        step = max(1, len(files) // _PER_FOLDER)
        picked = files[::step][: min(_PER_FOLDER, self._left)]
        self._left -= len(picked)
        longest = Limits().max_duration_s
        jobs = [(one, InspectJob(self._root / one.path, one.size, longest)) for one in picked]
        looks = [look for _, look in processes.inspected(jobs)]
        return {
            look.tags.artist for look in looks if isinstance(look, InspectedFile)
        } - {""}  # fmt: skip


# How the tables are written.


def pattern_of(folder: str) -> str:
    """A pattern for all files below a folder, whatever signs its name holds.

    What a spreadsheet or the reader of patterns could take for something else is written as a
    class of one sign (``[=]``); a wildcard, and what no line of text can hold, as ``?``.
    """
    signs = [_sign(sign) for sign in unicodedata.normalize("NFC", folder)]
    first = folder[0]
    if first in "=+-@'#\" " or folder[1:2] == ":":
        signs[0] = f"[{first}]"
    return "".join(signs) + "/**"


def _sign(sign: str) -> str:
    if sign == "[":
        return "[[]"
    return "?" if sign in "*?\\" or not sign.isprintable() else sign


# Without commas and quotation marks: a spreadsheet that saves them leaves them as they are.
_CSV_COMMENTS = """\
# Which file is under which license. The most specific row that matches a file counts.
# {artists}
# Lines like these are not read and may be deleted.
"""
_GUESSED = (
    "The artists were guessed: correct them and leave the cell empty where no style may be asked "
    "for."
)
_NOT_GUESSED = (
    "Under artist stands whose style may be asked for; a file or folder may have a row of its own."
)


def starter_csv(rows: Iterable[StarterRow]) -> str:
    """The text of ``stems.csv``: the row for every file first, then those for folders."""
    rows, out = tuple(rows), io.StringIO()
    guessed = any(row.artist for row in rows)
    out.write(_CSV_COMMENTS.format(artists=_GUESSED if guessed else _NOT_GUESSED))
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(_COLUMNS)
    lines.writerow(("**", _LICENSE, "", "", "", "", ""))
    lines.writerows((row.path, _LICENSE, row.artist, "", "", "", "") for row in rows)
    return out.getvalue()


_TOML = """\
# Who may use the files of this folder, and how. Made by `rag-audio library init`:
# it grants NOTHING until the license below is filled in by somebody who may grant it.
#
#   1. Fill in the license: replace every "{fill}".
#   2. Look through {csv}, the table of files, with a text editor or a spreadsheet:
#        path     a pattern: ** is every file below, * any name within a folder;
#                 the most specific row that matches a file counts
#        license  the name after "licenses." below
#        artist   whose style may be asked for; correct what was guessed, and leave it empty
#                 where nobody's style may be
#        title, bpm, key, tags   of one file or of many; what is empty is read from the file's
#                 tags or its name, or measured. Tags are separated by semicolons.
#   3. rag-audio library check FOLDER     says what would be indexed
#   4. rag-audio index FOLDER             indexes it
#
# Found: {found}.

[library]
name = {name}
{id}
[licenses.{license}]
# Who grants the license, as it is to stand in reports.
holder = "{fill}"
# The license's name: an SPDX id such as "CC-BY-4.0", or "LicenseRef-" and a name of your own.
spdx = "{fill}"
# What it grants, one or more of:
#   "prompt"      words about the music may go into prompts
#   "init_audio"  its sound may go into new music
#   "style"       music in the style of its artists may be asked for
#   "train"       models may be trained on it
uses = ["{fill}"]

# Where it holds: ISO 3166-1 codes, with - for exceptions. Without this line: everywhere.
# territories = ["DE", "AT", "CH"]
# From when until when, both days included. Without these lines: always.
# valid_from = 2026-01-01
# valid_until = 2030-12-31
# A line that goes with everything that is made from it.
# credit = "Contains material of My Label"
"""


def starter_toml(made: LibraryStarter) -> str:
    """The text of ``library.toml``."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in list(made.kinds.items())[:6])
    files = f"{made.files} file{'' if made.files == 1 else 's'} of music"
    return _TOML.format(
        fill=FILL_IN,
        csv=STEMS_CSV,
        found=_one_line(f"{files} ({kinds})" if kinds else files),
        name=_toml_text(made.name),
        id="" if _gives_id(made.name) else 'id = "my-library"\n',
        license=_LICENSE,
    )


def _gives_id(name: str) -> bool:
    with suppress(LibraryError):
        return bool(identity({"library": {"name": name}}))
    return False


def _toml_text(text: str) -> str:
    """A basic string of TOML 1.0: JSON's escapes, and one for DEL."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)

"""What lies in a library, compared with what its tables declare: which files may be indexed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePosixPath

from indexer.junk import (
    APPLE_DOUBLE,
    is_apple_double,
    junk_kind,
    no_music,
    other_kind,
    partial_download,
)
from indexer.licenses import Declared, LibrarySpec, NotLicensed, judge
from indexer.path_patterns import is_literal, normalized
from indexer.report import Notice, Rejection
from indexer.row_order import OrderNotices
from indexer.scan import FoundFile, has_music_ending, head_of, looks_like_music, scan
from indexer.stems_csv import STEMS_CSV, StemRow
from rag_audio.domain.songs import split_song


@dataclass(frozen=True)
class Limits:
    """How large a file may be; what is larger is reported and not read.

    Attributes:
        max_bytes: of the file.
        max_duration_s: of its sound.
    """

    max_bytes: int = 16_000_000_000
    max_duration_s: float = 4 * 3600.0


@dataclass
class Survey:
    """The result: files to index with what is declared about them, in order of path, and the rest.

    Attributes:
        refused: files and folders that will not be indexed, with the reason.
        faults: what is wrong with the two tables.
        misdeclared: how many files were refused for that.
        withheld: refused files whose row names a license all the same: with the id of that
            license and the artist.
        notices: what was odd in the library, and did not keep a file from being accepted; and
            downloads that were not finished.
        junk, other: files of the system and of other programs, and those without music, by kind;
            no row names one of them.
        matched: numbers of the rows of ``stems.csv`` that match a file.
        governed: how many files each row decides about, by its number.
    """

    accepted: dict[str, tuple[FoundFile, Declared]] = field(default_factory=dict)
    refused: list[Rejection] = field(default_factory=list)
    faults: list[Rejection] = field(default_factory=list)
    misdeclared: int = 0
    withheld: dict[str, tuple[FoundFile, str, str]] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    junk: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    matched: set[int] = field(default_factory=set)
    governed: Counter[int] = field(default_factory=Counter)

    def vanished(self, paths: Collection[str]) -> list[str]:
        """Those of ``paths`` that are neither accepted nor refused: gone from the library.

        What lies in a folder that cannot be read now is not gone.
        """
        refused = {item.path for item in self.refused}
        return [
            path
            for path in paths
            if path not in self.accepted
            and path not in refused
            and "." not in refused
            and not any(str(parent) in refused for parent in PurePosixPath(path).parents)
        ]


def survey(spec: LibrarySpec, on: date, known: Collection[str], limits: Limits) -> Survey:
    """Walk the library and judge every file.

    Args:
        known: paths indexed before; they are reported even where they no longer look like music.
    """
    found = scan(spec.files, _folders_above([*known, *(row.pattern for row in spec.rows)]))
    result = Survey(
        refused=list(found.rejected), faults=list(spec.problems), junk=found.junk, other=found.other
    )
    idle: set[int] = set()
    order = OrderNotices(spec.row_index, spec.rows)
    for candidate in sorted([*found.files, *_rescued(spec, found.aside, known, result)]):
        rows = spec.rows_of(candidate.path)
        numbers = {row.number for row in rows}
        if candidate.path not in known and _is_other(spec, candidate, rows):
            result.other[other_kind(candidate.path)] += 1
            idle |= numbers
            continue
        result.matched |= numbers
        order.see(candidate.path, rows)
        if rows:
            result.governed[rows[-1].number] += 1
        _judge(candidate, judge(spec, rows, on), limits, result)
    result.notices += order.notices()
    refused = {normalized(item.path) for item in found.rejected}
    for row in spec.rows:
        if row.number not in result.matched and row.fault is None and row.pattern not in refused:
            what = "only files without music" if row.number in idle else "no file"
            reason = f"row {row.number} of {STEMS_CSV} matches {what}"
            if junk_kind(PurePosixPath(row.pattern).name) and is_literal(row.pattern):
                reason += " that is read: names of the system are skipped"
            result.faults.append(Rejection(row.pattern, reason))
    return result


def _is_other(spec: LibrarySpec, candidate: FoundFile, rows: Sequence[StemRow]) -> bool:
    """Whether nobody would take a file for music, and no row names it."""
    path = candidate.path
    if has_music_ending(path) or is_named(path, rows) or looks_like_music(spec.files, path):
        return False
    return no_music(path) or not candidate.size or not rows


def _judge(
    candidate: FoundFile, declared: Declared | NotLicensed, limits: Limits, result: Survey
) -> None:
    """Adds one file to the result."""
    path = candidate.path
    if isinstance(declared, NotLicensed):
        result.misdeclared += declared.is_misdeclared
        if declared.license and 0 < candidate.size <= limits.max_bytes:
            result.withheld[path] = (candidate, declared.license, declared.artist)
        result.refused.append(Rejection(path, declared.reason))
    elif candidate.size == 0:
        result.refused.append(Rejection(path, "it is empty"))
    elif candidate.size > limits.max_bytes:
        size = f"{candidate.size:,} bytes long, over {limits.max_bytes:,}"
        result.refused.append(Rejection(path, f"it is {size}"))
    else:
        result.accepted[path] = (candidate, declared)


def _rescued(
    spec: LibrarySpec, aside: list[FoundFile], known: Collection[str], result: Survey
) -> Iterator[FoundFile]:
    """Those of the files that a name set aside which somebody wants; the others are counted."""
    for candidate in aside:
        ending = partial_download(candidate.path)
        if candidate.path in known or is_named(candidate.path, spec.rows_of(candidate.path)):
            yield candidate
        elif ending is not None:
            told = f"a download that was not finished ({ending}), skipped: finish it"
            result.notices.append(Notice(candidate.path, told))
        else:
            result.junk[other_kind(candidate.path)] += 1


def _folders_above(paths: Iterable[str]) -> frozenset[str]:
    """All folders above paths or patterns, as these are written."""
    return frozenset(str(folder) for path in paths for folder in PurePosixPath(path).parents)


def kind_without_music(spec: LibrarySpec, path: str) -> tuple[str, bool] | None:
    """The kind of a file that cannot be read and that nobody would take for music, and whether it
    is the system's; None: it looks like music, or a row of ``stems.csv`` names this very file."""
    file, _ = split_song(path)
    if is_named(file, spec.rows_of(file)):
        return None
    if is_apple_double(head_of(spec.files, file)):
        return APPLE_DOUBLE, True
    return None if looks_like_music(spec.files, file) else (other_kind(file), False)


def is_named(path: str, rows: Iterable[StemRow]) -> bool:
    """Whether one of the rows that match a file names this very file, not by a wildcard."""
    name = normalized(path)
    return any(
        row.pattern == name or ("*" not in row.pattern and is_literal(row.pattern)) for row in rows
    )

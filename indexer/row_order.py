"""Which rows of ``stems.csv`` are about a file, and which of them counts.

The most specific one does (:class:`indexer.path_patterns.Specificity`): a path without wildcards
before every pattern; then the pattern with more characters before its first wildcard; then with
more characters that are no wildcards; then with fewer ``**``, fewer ``*``, more ``?`` and ``[…]``,
more ``[…]``. Of rows that are equal in all of it the later one counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, fields

from indexer.path_patterns import PathPattern, normalized
from indexer.report import Notice
from indexer.stems_csv import MOST_TOLD, STEMS_CSV, Metadata, StemRow

_PIECE = 3
"""Characters by which patterns of one folder are told apart."""
_FEW = 32
"""So many patterns are compared faster than looked up."""


def _pieces_of(text: str) -> set[str]:
    return {text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)}


class _FolderPatterns:
    """Patterns with wildcards in one folder, by the rarest piece of text that each asks for."""

    def __init__(self, patterns: Sequence[tuple[int, PathPattern]]) -> None:
        asked = [
            {piece for text in pattern.literals for piece in _pieces_of(text)}
            for _, pattern in patterns
        ]
        counts = Counter(piece for pieces in asked for piece in pieces)
        self._others: list[tuple[int, PathPattern]] = []
        self._by_piece: dict[str, list[tuple[int, PathPattern]]] = {}
        for one, pieces in zip(patterns, asked, strict=True):
            if not pieces or len(patterns) <= _FEW:
                self._others.append(one)
            else:
                rarest = min(pieces, key=lambda piece: (counts[piece], piece))
                self._by_piece.setdefault(rarest, []).append(one)
        self.pieces = frozenset(self._by_piece)

    def matching(self, path: str, pieces: Set[str]) -> Iterator[int]:
        """Numbers of the patterns that mean a path.

        Args:
            pieces: those of ``self.pieces`` that are in the path, and perhaps others.
        """
        yield from (number for number, pattern in self._others if pattern.fits(path))
        for piece in self.pieces & pieces:
            yield from (number for number, one in self._by_piece[piece] if one.fits(path))


class RowIndex:
    """The rows of a table by the paths that they match.

    A path is compared only with patterns whose folder it lies in, and of many in one folder only
    with those of which it contains a piece, so that the time for all files grows with their number
    and hardly with that of the rows.

    Args:
        patterns: what the rows' patterns mean, in the same order.
    """

    def __init__(self, rows: Sequence[StemRow], patterns: Sequence[PathPattern]) -> None:
        self._rows = rows
        self.patterns = patterns
        self._literals: dict[str, list[int]] = {}
        globs: dict[str, list[tuple[int, PathPattern]]] = {}
        for number, pattern in enumerate(patterns):
            for meaning in pattern.meanings:
                if meaning.literal is not None:
                    self._literals.setdefault(meaning.literal, []).append(number)
                else:
                    globs.setdefault(meaning.folder, []).append((number, meaning))
        self._globs = {folder: _FolderPatterns(inside) for folder, inside in globs.items()}
        order = sorted(range(len(rows)), key=lambda number: (patterns[number].specificity, number))
        self._rank = {number: rank for rank, number in enumerate(order)}

    def rows_of(self, path: str) -> list[StemRow]:
        """The rows that match a normalized path; the last one counts."""
        found = set(self._literals.get(path, ()))
        pieces: set[str] = set()
        end = 0
        while self._globs:
            globs = self._globs.get(path[:end])
            if globs is not None:
                if globs.pieces and not pieces:
                    pieces = _pieces_of(path)
                found.update(globs.matching(path, pieces))
            end = path.find("/", end) + 1
            if not end:
                break
        return [self._rows[number] for number in sorted(found, key=self._rank.__getitem__)]


@dataclass
class _Seen:
    """Two rows of which the one counts where a person may expect the other."""

    example: str
    files: int = 0


class OrderNotices:
    """Tells where the order of rows decides about rights or facts, and may surprise."""

    def __init__(self, index: RowIndex, rows: Sequence[StemRow]) -> None:
        self._specificity = {
            row.number: pattern.specificity
            for row, pattern in zip(rows, index.patterns, strict=True)
        }
        # What rows with brackets would be about if no file or folder were named so.
        self._classes = RowIndex(
            *_unzipped(
                (row, PathPattern(row.pattern))
                for row, pattern in zip(rows, index.patterns, strict=True)
                if pattern.named or pattern.is_name
            )
        )
        self._by_name: dict[int, tuple[StemRow, _Seen]] = {}
        self._not_overriding: dict[int, tuple[StemRow, StemRow, _Seen]] = {}
        self._tied: dict[tuple[int, int], tuple[StemRow, StemRow, _Seen]] = {}

    def see(self, path: str, rows: Sequence[StemRow]) -> None:
        """Take note of a file and the rows that match it, the one that counts last."""
        for row in self._classes.rows_of(normalized(path)):
            if row not in rows:
                self._by_name.setdefault(row.number, (row, _Seen(path)))[1].files += 1
        if len(rows) < 2:
            return
        counts, latest = rows[-1], max(rows, key=lambda row: row.number)
        if latest is not counts and _differ(latest, counts):
            seen = self._not_overriding.setdefault(latest.number, (latest, counts, _Seen(path)))
            seen[2].files += 1
        other = rows[-2]
        is_tie = self._specificity[other.number] == self._specificity[counts.number]
        if is_tie and (other.license, other.artist) != (counts.license, counts.artist):
            key = (other.number, counts.number)
            self._tied.setdefault(key, (other, counts, _Seen(path)))[2].files += 1

    def notices(self) -> list[Notice]:
        """What was seen, a line for each row or pair of rows."""
        told = [
            f"row {later.number} ({later.pattern!r}) is less specific than row {counts.number} "
            f"({counts.pattern!r}) and does not override it: {_files(seen)}"
            for later, counts, seen in self._not_overriding.values()
        ]
        told += [
            f"rows {other.number} ({other.pattern!r}) and {counts.number} ({counts.pattern!r}) are "
            f"equally specific and name different licenses or artists; the later one counts: "
            f"{_files(seen)}"
            for other, counts, seen in self._tied.values()
        ]
        told += [
            f"row {row.number} ({row.pattern!r}) means the file or folder of that name, and not "
            f"{_files(seen)}"
            for row, seen in self._by_name.values()
        ]
        more = len(told) - MOST_TOLD
        told = told[:MOST_TOLD] + ([f"{more:,} more rows of this kind"] if more > 0 else [])
        return [Notice(STEMS_CSV, text) for text in told]


def _unzipped(
    pairs: Iterable[tuple[StemRow, PathPattern]],
) -> tuple[list[StemRow], list[PathPattern]]:
    kept = list(pairs)
    return [row for row, _ in kept], [pattern for _, pattern in kept]


def _differ(later: StemRow, counts: StemRow) -> bool:
    """Whether a file would be declared otherwise if the later row counted."""
    if (later.license, later.fault is None) != (counts.license, counts.fault is None):
        return True
    nothing = (None, "", ())
    said = ((getattr(later, one.name), getattr(counts, one.name)) for one in fields(Metadata))
    return any(a not in nothing and b not in nothing and a != b for a, b in said)


def _files(seen: _Seen) -> str:
    more = f" and {seen.files - 1:,} more" if seen.files > 1 else ""
    return f"{seen.example!r}{more}"

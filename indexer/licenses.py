"""A library as its tables describe it, and what they declare about each file.

How the rows of ``stems.csv`` apply to a file: the last row that matches
decides its license; a cell that this row leaves empty is taken from the nearest earlier row that
matches *and names the same license*. Rows of another license are overridden whole, so that no
artist becomes askable under a license that was not declared for them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from indexer.globs import compiled, is_literal, normalized
from indexer.library_toml import (
    LIBRARY_TOML,
    MINIMAL,
    Decision,
    identity,
    parse_license,
    read_decisions,
    read_toml,
    unknown_keys,
)
from indexer.report import Rejection
from indexer.rows import STEMS_CSV, StemRow, read_rows
from rag_audio.domain import Key, License
from rag_audio.errors import InvalidInput, LibraryError

DECLARED_FORMAT = 1
"""Part of every ``declared`` hash: a new number makes the next run measure all files again."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Declared:
    """What the library declares about one file that may be indexed.

    Attributes:
        license: valid on the day it was asked for, in some territory, for some use.
        digest: hash of all of it, so that an edited row is noticed.
    """

    license: License
    artist: str = ""
    title: str = ""
    bpm: float | None = None
    key: Key | None = None
    tags: tuple[str, ...] = ()
    isrc: str = ""
    iswc: str = ""
    downbeat_s: float | None = None

    @cached_property
    def digest(self) -> str:
        cells = [
            DECLARED_FORMAT,
            self.license.id,
            self.artist,
            self.title,
            self.bpm,
            None if self.key is None else str(self.key),
            list(self.tags),
            self.isrc,
            self.downbeat_s,
            *([self.iswc] if self.iswc else []),
        ]
        return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


@dataclass(frozen=True)
class LibrarySpec:
    """A library as its two tables describe it.

    Attributes:
        id: unique in a home; ``[library] id``, else made from the name.
        root: absolute, links resolved.
        licenses: the usable ones, by id.
        unusable: why the others cannot be used, by id.
        rows: of ``stems.csv``, in order.
        problems: what was wrong with either table.
        decisions: which license holds where the same bytes lie under several.
    """

    id: str
    name: str
    root: Path
    licenses: Mapping[str, License]
    unusable: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[StemRow, ...] = ()
    problems: tuple[Rejection, ...] = ()
    decisions: tuple[Decision, ...] = ()

    def rows_of(self, path: str) -> list[StemRow]:
        """The rows that match a path, in order of the file."""
        name = normalized(path)
        found = {number for number, pattern in self._globs if pattern.fullmatch(name)}
        # A name may hold brackets, so every pattern is a literal name as well.
        found.update(self._literals.get(name, ()))
        return [self.rows[number] for number in sorted(found)]

    @cached_property
    def _literals(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            found.setdefault(row.pattern, []).append(number)
        return found

    @cached_property
    def _globs(self) -> list[tuple[int, re.Pattern[str]]]:
        return [
            (number, compiled(row.pattern))
            for number, row in enumerate(self.rows)
            if not is_literal(row.pattern)
        ]


def read_library(root: Path) -> LibrarySpec:
    """Read ``library.toml`` and ``stems.csv``.

    Raises:
        LibraryError: the folder or one of the two is missing or cannot be read at all; a faulty
            license or row only becomes a problem of the spec.
    """
    if not root.is_dir():
        raise LibraryError(f"the library {str(root)!r} is not a folder")
    resolved = root.resolve()
    try:
        str(resolved).encode()
    except UnicodeEncodeError as cause:
        raise LibraryError(
            f"the library's path {str(resolved)!a} is not UTF-8", hint="rename the folder"
        ) from cause
    document = read_toml(resolved / LIBRARY_TOML)
    name, library = identity(document)
    licenses: dict[str, License] = {}
    unusable: dict[str, str] = {}
    tables = document.get("licenses")
    if not isinstance(tables, dict) or not tables:
        raise LibraryError(f"{LIBRARY_TOML} declares no license", hint=f"as in: {MINIMAL}")
    for id_, table in tables.items():
        try:
            licenses[id_] = parse_license(id_, library, table)
        except InvalidInput as fault:
            unusable[id_] = fault.message
    read = read_rows(resolved / STEMS_CSV)
    problems = [
        Rejection(LIBRARY_TOML, f"license {id_!r} is not used: {why}")
        for id_, why in unusable.items()
    ]
    decisions, faults = read_decisions(document, library, licenses)
    problems += unknown_keys(document) + faults + read.problems
    return LibrarySpec(
        library, name, resolved, licenses, unusable, tuple(read.rows), tuple(problems), decisions
    )


def match(spec: LibrarySpec, path: str, on: date) -> Declared | Rejection:
    """What the library declares about ``path``, or why it may not be indexed on a day.

    Territory is judged when somebody searches, not here; a license that begins later counts, since
    it will be read again at each search.
    """
    rows = spec.rows_of(path)
    if not rows:
        return Rejection(path, f"no license: no row of {STEMS_CSV} matches it")
    last = rows[-1]
    if last.fault is not None:
        return Rejection(path, f"its row in {STEMS_CSV} is faulty: {last.fault}")
    reason = _refusal(spec, last, on)
    if reason is not None:
        return Rejection(path, reason)
    same = [row for row in rows if row.license == last.license and row.fault is None]
    downbeats = [row.downbeat_s for row in same if row.downbeat_s is not None]
    return Declared(
        spec.licenses[last.license],
        artist=_last(row.artist for row in same) or "",
        title=_last(row.title for row in same) or "",
        bpm=_last(row.bpm for row in same),
        key=_last(row.key for row in same),
        tags=_last(row.tags for row in same) or (),
        isrc=_last(row.isrc for row in same) or "",
        iswc=_last(row.iswc for row in same) or "",
        downbeat_s=downbeats[-1] if downbeats else None,
    )


def withholding(spec: LibrarySpec, path: str) -> tuple[str, str] | None:
    """License and artist that the deciding row names for a file that :func:`match` refuses.

    The file is not indexed; its bytes are claimed all the same. None where no license is named.
    """
    rows = spec.rows_of(path)
    if not rows or not rows[-1].license:
        return None
    same = [row for row in rows if row.license == rows[-1].license and row.fault is None]
    return rows[-1].license, _last(row.artist for row in same) or ""


def is_misdeclared(spec: LibrarySpec, path: str) -> bool:
    """Whether the row that decides about ``path`` is faulty, or names no license that can be read.

    A license that ended or grants no use is as its holder wants it.
    """
    rows = spec.rows_of(path)
    return bool(rows) and (rows[-1].fault is not None or rows[-1].license not in spec.licenses)


def _last(values: Iterable[_Value | None]) -> _Value | None:
    found: _Value | None = None
    for value in values:
        found = value or found
    return found


def _refusal(spec: LibrarySpec, row: StemRow, on: date) -> str | None:
    where = f"row {row.number} of {STEMS_CSV}"
    if not row.license:
        return f"no license: {where} names none"
    if row.license in spec.unusable:
        return f"license {row.license!r} is not usable: {spec.unusable[row.license]}"
    granted = spec.licenses.get(row.license)
    if granted is None:
        near = difflib.get_close_matches(row.license, spec.licenses, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        return f"license {row.license!r} of {where} is not in {LIBRARY_TOML}{meant}"
    if granted.ended(on):
        return f"license {row.license!r} expired on {granted.valid_until}"
    if not granted.uses:
        return f"license {row.license!r} grants no use"
    return None

"""A library as its tables describe it, and what they declare about each file.

How the rows of ``stems.csv`` apply to a file: the most specific row that matches decides its
license (:mod:`indexer.row_order`); a cell that this row leaves empty is taken from the next less
specific row that matches *and names the same license*. Rows of another license are overridden
whole, so that no artist becomes askable under a license that was not declared for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from indexer.library_toml import (
    LIBRARY_TOML,
    ConflictDecision,
    identity,
    license_tables,
    parse_license,
    read_decisions,
    read_toml,
    unknown_keys,
)
from indexer.path_patterns import NamesOnDisk, normalized
from indexer.report import Notice, Rejection
from indexer.row_order import RowIndex
from indexer.stems_csv import STEMS_CSV, Metadata, StemRow, read_rows
from indexer.table_cells import did_you_mean
from rag_audio.domain import License
from rag_audio.errors import InvalidInput, LibraryError
from rag_audio.storage.library_files import FolderFiles, LibraryFiles

DECLARED_FORMAT = 1
"""Part of every ``declared`` hash: a new number makes the next run measure all files again."""


@dataclass(frozen=True, kw_only=True)
class Declared(Metadata):
    """What the library declares about one file that may be indexed.

    Attributes:
        license: valid on the day it was asked for, in some territory, for some use.
        digest: hash of all of it, so that an edited row is noticed.
    """

    license: License

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
class NotLicensed:
    """Why a file may not be indexed.

    Attributes:
        license, artist: that the deciding row names all the same, so that the file's bytes are
            claimed; empty where none is named.
        is_misdeclared: the deciding row is faulty, or names no license that can be read. A license
            that ended or grants no use is as its holder wants it.
    """

    reason: str
    license: str = ""
    artist: str = ""
    is_misdeclared: bool = False


@dataclass(frozen=True)
class LibrarySpec:
    """A library as its two tables describe it.

    Attributes:
        id: unique in a home; ``[library] id``, else made from the name.
        files: the library's, in a folder whose links are resolved or at a URL.
        licenses: the usable ones, by id.
        unusable: why the others cannot be used, by id.
        rows: of ``stems.csv``, in order of the file.
        problems: what was wrong with either table.
        notices: what was odd in either table, and was read all the same.
        decisions: which license holds where the same bytes lie under several.
    """

    id: str
    name: str
    files: LibraryFiles
    licenses: Mapping[str, License]
    unusable: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[StemRow, ...] = ()
    problems: tuple[Rejection, ...] = ()
    decisions: tuple[ConflictDecision, ...] = ()
    notices: tuple[Notice, ...] = ()

    def rows_of(self, path: str) -> list[StemRow]:
        """The rows that match a path, the least specific first: the last one decides."""
        return self.row_index.rows_of(normalized(path))

    @cached_property
    def row_index(self) -> RowIndex:
        """The rows by what they match; read from the names that lie in the library now."""
        names = NamesOnDisk(self.files)
        return RowIndex(self.rows, [names.meaning_of(row.pattern) for row in self.rows])


def read_library(library: Path | LibraryFiles) -> LibrarySpec:
    """Read ``library.toml`` and ``stems.csv``.

    Args:
        library: its folder, or its files.

    Raises:
        LibraryError: the folder or one of the two is missing or cannot be read at all; a faulty
            license or row only becomes a problem of the spec.
        BackendUnavailable: the library's place cannot be reached.
    """
    folder = library if isinstance(library, Path) else library.folder
    files = cast("LibraryFiles", library) if folder is None else _folder_files(folder)
    return _read(files)


def _folder_files(root: Path) -> FolderFiles:
    if not root.is_dir():
        raise LibraryError(f"the library {str(root)!r} is not a folder")
    resolved = root.resolve()
    try:
        str(resolved).encode()
    except UnicodeEncodeError as cause:
        raise LibraryError(
            f"the library's path {str(resolved)!a} is not UTF-8", hint="rename the folder"
        ) from cause
    return FolderFiles(resolved)


def _read(files: LibraryFiles) -> LibrarySpec:
    with files.local(LIBRARY_TOML) as path:
        document = read_toml(path, files.place)
    name, library = identity(document)
    licenses: dict[str, License] = {}
    unusable: dict[str, str] = {}
    for id_, table in license_tables(document).items():
        try:
            licenses[id_] = parse_license(id_, library, table)
        except InvalidInput as fault:
            unusable[id_] = fault.message
    with files.local(STEMS_CSV) as path:
        read = read_rows(path, files.place)
    problems = [
        Rejection(LIBRARY_TOML, f"license {id_!r} is not used: {why}")
        for id_, why in unusable.items()
    ]
    decisions, faults = read_decisions(document, library, licenses, NamesOnDisk(files))
    problems += unknown_keys(document) + faults + read.problems
    return LibrarySpec(
        library,
        name,
        files,
        licenses,
        unusable,
        tuple(read.rows),
        tuple(problems),
        decisions,
        tuple(read.notices),
    )


def match(spec: LibrarySpec, path: str, on: date) -> Declared | NotLicensed:
    """What the library declares about ``path``, or why it may not be indexed on a day.

    Territory is judged when somebody searches, not here; a license that begins later counts, since
    it will be read again at each search.
    """
    return judge(spec, spec.rows_of(path), on)


def judge(spec: LibrarySpec, rows: Sequence[StemRow], on: date) -> Declared | NotLicensed:
    """As :func:`match`, of a file for which :meth:`LibrarySpec.rows_of` has been asked."""
    if not rows:
        return NotLicensed(f"no license: no row of {STEMS_CSV} matches it")
    last = rows[-1]
    said = _merged(row for row in rows if row.license == last.license and row.fault is None)
    reason = _refusal(spec, last, on)
    if reason is None:
        return Declared(license=spec.licenses[last.license], **said)
    return NotLicensed(
        reason,
        last.license,
        said["artist"],
        is_misdeclared=last.fault is not None or last.license not in spec.licenses,
    )


def _merged(rows: Iterable[StemRow]) -> dict[str, Any]:
    """What rows say of a file: of each column the last cell that is not empty.

    Of a cell that cannot be read nothing is known, whatever the rows before it say.
    """
    said: dict[str, Any] = dict(vars(Metadata()))
    for row in rows:
        for one in fields(Metadata):
            value = getattr(row, one.name)
            if value not in (None, "", ()) or one.name in row.unread:
                said[one.name] = value
    return said


def _refusal(spec: LibrarySpec, row: StemRow, on: date) -> str | None:
    where = f"row {row.number} of {STEMS_CSV}"
    if row.fault is not None:
        return f"its row in {STEMS_CSV} is faulty: {row.fault}"
    if not row.license:
        return f"no license: {where} names none"
    if row.license in spec.unusable:
        return f"license {row.license!r} is not usable: {spec.unusable[row.license]}"
    granted = spec.licenses.get(row.license)
    if granted is None:
        meant = did_you_mean(row.license, spec.licenses)
        return f"license {row.license!r} of {where} is not in {LIBRARY_TOML}{meant}"
    if granted.ended(on):
        return f"license {row.license!r} expired on {granted.valid_until}"
    if not granted.uses:
        return f"license {row.license!r} grants no use"
    return None

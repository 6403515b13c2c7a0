"""What a run of the indexer tells: file by file while it works, and a report at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Protocol

from indexer.junk import skipped_lines
from rag_audio.domain.codec import Document


class FileOutcome(StrEnum):
    """What became of a file."""

    INDEXED = "indexed"
    SKIPPED = "skipped"
    UPDATED = "updated"
    REJECTED = "rejected"
    READABLE = "readable"
    """It would be indexed: nothing is, where a library is only looked at."""


class IndexProgress(Protocol):
    """Told by the indexer how far it is; calls come from one thread."""

    def started(self, files: int, skipped: int) -> None:
        """The library is scanned: so many files have a license, so many of them did not change."""

    def advanced(self, path: str, outcome: FileOutcome) -> None:
        """One file that was not skipped at once is done."""


@dataclass(frozen=True, order=True)
class Rejection:
    """Something that was not indexed, and why: a file, or a line of the library's own tables.

    Attributes:
        path: POSIX path below the library's root; bytes that are not UTF-8 are written ``\\xNN``.
        reason: one line.
    """

    path: str
    reason: str


@dataclass(frozen=True, order=True)
class Notice:
    """Something odd about what was indexed: a file, or a line of the library's own tables.

    Attributes:
        path: as in :class:`Rejection`.
        text: one line: what, where, and what was done about it.
    """

    path: str
    text: str


@dataclass(frozen=True)
class IndexReport:
    """What a run of the indexer did.

    Attributes:
        indexed: files that were embedded.
        skipped: files that had not changed.
        updated: files with new metadata, a new license or a new name for the same bytes: nothing
            was embedded.
        pruned: files that are gone from the library and were removed from the index.
        segments: segments of this library in the index after the run.
        rejected: what was not indexed, in order of path.
        noticed: what was cut or odd in the files of this run and in the tables, in order of path.
        misdeclared: files among them whose license or row in ``stems.csv`` cannot be used as it is
            written; a license that ended, or grants nothing, is not such a fault.
        seconds: wall time.
        conflicts: the stems of this library whose bytes several licenses or artists claim, as
            :func:`rag_audio.domain.conflict_documents.conflict_json` writes them.
        altered: what of the library's rows had been changed past the log when the run began:
            ``row``, ``license_rows``, ``files``, ``withheld``, ``conflicts``.
        landmarked: unchanged files that were heard again, since the version that indexed them made
            no landmarks by which they are recognised in foreign sound, or others.
        refreshed: unchanged files that were measured anew since a refresh was asked for; they count
            as updated.
        outdated: stems that a release with other measurements measured, and that were not measured
            anew.
        junk: files of the system and of other programs (``.DS_Store``, ``._*``, ``.asd``), which
            were passed over, by kind.
        other: files without music (``.txt``, ``.pdf``, ``.als``), which were passed over, by kind.
    """

    indexed: int
    skipped: int
    updated: int
    pruned: int
    segments: int
    rejected: tuple[Rejection, ...]
    seconds: float
    misdeclared: int = 0
    conflicts: tuple[Document, ...] = ()
    altered: tuple[str, ...] = ()
    landmarked: int = 0
    refreshed: int = 0
    outdated: int = 0
    noticed: tuple[Notice, ...] = ()
    junk: Mapping[str, int] = field(default_factory=dict)
    other: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_unlicensed(self) -> bool:
        """Whether nothing at all could be indexed, and faulty declarations have a part in it."""
        return self.misdeclared > 0 and not (self.indexed or self.skipped or self.updated)

    @property
    def passed_over(self) -> list[str]:
        """A line on files of the system and of other programs, and one on those without music."""
        return skipped_lines(self.junk, self.other)

    @property
    def alteration(self) -> str:
        """One line on rows that were changed past the log; empty where none were."""
        if not self.altered:
            return ""
        done = "every file was measured and embedded anew"
        if not {"files", "withheld"} & set(self.altered):
            done = "they were written anew"
        return f"rows were changed past the log ({', '.join(self.altered)}): {done}"

    def to_json(self) -> Document:
        """The document that ``rag-audio index --json`` prints."""
        return {
            **asdict(self),
            "rejected": [asdict(item) for item in self.rejected],
            "noticed": [asdict(item) for item in self.noticed],
        }

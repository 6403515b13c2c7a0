"""What holds libraries, licenses and rights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

from rag_audio.clearance import Clearance
from rag_audio.domain import License, Rights, Stem
from rag_audio.licensing import Revocation

if TYPE_CHECKING:
    from rag_audio.recognition.store import Landmarks


@dataclass(frozen=True)
class LibraryInfo:
    """A library in the catalogue."""

    id: str
    name: str
    root: str
    stems: int


@dataclass(frozen=True)
class FileState:
    """What the indexer remembers of a file: unchanged size and time mean unchanged bytes.

    ``declared`` is a hash of the row's metadata and license, so that an edited row re-indexes.
    ``decision`` is the key of the license that ``library.toml`` lets hold for the file's bytes,
    where the same bytes lie under several licenses; empty where it says nothing.
    """

    path: str
    size: int
    mtime_ns: int
    declared: str
    space: str
    stem: Stem
    decision: str = ""


@dataclass(frozen=True)
class WithheldFile:
    """A file that was not indexed because its license grants nothing now: it ended, was taken
    away or cannot be read. Its bytes are claimed by that license all the same.

    ``stem`` is the sha256 of its bytes, ``license`` an id, ``artist`` as ``stems.csv`` has it.
    """

    path: str
    size: int
    mtime_ns: int
    stem: str
    license: str
    artist: str = ""
    decision: str = ""


@dataclass(frozen=True)
class RightsChange:
    """What a revocation, or taking one back, changed; false where that is nothing.

    Attributes:
        rows: numbers of the revocations that were put in force or taken back.
        event: the entry of the log that says so; None where the catalogue has no log.
    """

    rows: tuple[int, ...] = ()
    event: int | None = None

    def __bool__(self) -> bool:
        return bool(self.rows)


class Catalogue(Protocol):
    """Libraries, licenses and stems: rights live here and are read at each search and plan."""

    def claim(self, library: str) -> AbstractContextManager[None]:
        """Hold a library for writing; released at the end of the block or with the process.

        Raises:
            BackendUnavailable: somebody else holds it; the message names the holder.
        """
        ...

    def begin(self, library: str) -> tuple[str, ...]:
        """Hold a library's rows against the log before a run trusts them.

        Rows of files that were changed past the log are forgotten, so that the run measures every
        file anew.

        Returns:
            What was changed past the log: ``row``, ``license_rows``, ``files``, ``withheld``,
            ``conflicts``; empty where nothing was.
        """
        ...

    def seal(self, library: str) -> int | None:
        """Log digests of a library's rows at the end of a run; the entry's number.

        None: nothing changed since they were sealed.
        """
        ...

    def put_library(self, library: str, name: str, root: str) -> None:
        """Insert a library or update its name and root.

        Raises:
            LibraryError: another folder that still exists has this id.
        """
        ...

    def libraries(self) -> list[LibraryInfo]: ...

    def put_licenses(self, library: str, licenses: Iterable[License]) -> None:
        """Replace all licenses of a library, in one transaction."""
        ...

    def put_files(
        self,
        library: str,
        files: Iterable[FileState],
        landmarks: Mapping[str, Landmarks] | None = None,
    ) -> None:
        """Insert or replace by path, in one transaction.

        Landmarks leave with the last file that has their stem's bytes.

        Args:
            landmarks: of stems among these files, by id; of others they stay as they are.
        """
        ...

    def without_landmarks(self, library: str | None = None) -> set[str]:
        """Ids of the indexed stems, of a library or of all, that lack landmarks of this version."""
        ...

    def files(self, library: str) -> Mapping[str, FileState]:
        """All files of a library by path."""
        ...

    def remove_files(self, library: str, paths: Iterable[str]) -> None: ...

    def withheld(self, library: str) -> Mapping[str, WithheldFile]:
        """The files of a library whose license grants nothing, by path."""
        ...

    def withheld_copies(self, id_: str) -> list[tuple[str, WithheldFile]]:
        """The files with exactly these bytes whose license grants nothing, with their libraries."""
        ...

    def put_withheld(self, library: str, files: Iterable[WithheldFile]) -> None:
        """Replace them all, in one transaction."""
        ...

    def stems(
        self, artist: str | None = None, libraries: Collection[str] | None = None
    ) -> list[Stem]:
        """One per library and content; of these libraries, or of all."""
        ...

    def stem(self, id_prefix: str, libraries: Collection[str] | None = None) -> Stem:
        """The stem whose id starts so.

        Args:
            libraries: ids of those that are looked through; None: all.

        Raises:
            InvalidInput: none or several do.
        """
        ...

    def file_of(self, stem: Stem) -> str:
        """Absolute path of a stem's file."""
        ...

    def copies(self, id_: str, libraries: Collection[str] | None = None) -> list[Stem]:
        """The stems with exactly these bytes; of these libraries, or of all."""
        ...

    def rights(
        self, territory: str | None, on: date, libraries: Collection[str] | None = None
    ) -> Rights:
        """Licenses and revocations as they stand now; ``on`` is a moment (UTC) or a whole day.

        Args:
            libraries: whose claims on bytes, and whose artists, count; None: all.
        """
        ...

    def clearance(
        self,
        territory: str | None,
        on: date,
        libraries: Collection[str] | None = None,
        stems: Iterable[Stem] | None = None,
    ) -> Clearance:
        """All that decides what a request may use, of one state of the database.

        Args:
            libraries: ids of those that may be used; None: all.
            stems: of an earlier clearance, to be taken over; None: they are read.
        """
        ...

    def revoke(self, revocation: Revocation) -> RightsChange:
        """Put a revocation in force, and log it; false when it was already."""
        ...

    def end_revocation(self, revocation: Revocation) -> RightsChange:
        """Take a revocation back, and log it; false when there was none."""
        ...

    def revocations(self) -> list[Revocation]:
        """Those in force, oldest first."""
        ...

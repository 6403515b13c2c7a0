"""What holds libraries, licenses and rights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from rag_audio.domain import AttributionRecord, License, Rights, Stem
from rag_audio.domain.clearance import Clearance
from rag_audio.domain.codec import encode
from rag_audio.domain.licensing import Revocation

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from rag_audio.domain.landmarks import Landmarks


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


# What remembers every output and what happened to it, so that nothing can be taken back.

JsonObject = dict[str, Any]
"""What one JSON object is read into."""


@dataclass(frozen=True)
class LedgerEntry:
    """The record of an output with its place in the log.

    Attributes:
        seq: 1, 2, 3, … without gaps, shared with the events.
        leaf_hash: RFC 6962 leaf hash of the document, hex.
        erased: personal texts were erased; ``[erased]`` stands in the record in their place, and
            its plan can no longer be replayed.
    """

    seq: int
    leaf_hash: str
    record: AttributionRecord
    erased: bool = False


@dataclass(frozen=True)
class LedgerEvent:
    """Something that happened later, or without an output: an entry of the log like any other.

    Attributes:
        kind: ``influence``, ``revocation``, ``refusal``, ``library``, ``restore``, ``numbers``,
            ``key``, ``access`` or ``erasure``.
        created: UTC, ISO 8601.
        output: the output it is about, if any.
        document: what the caller wrote down.
    """

    seq: int
    leaf_hash: str
    kind: str
    created: str
    output: int | None
    document: Mapping[str, Any]


@dataclass(frozen=True)
class InclusionProof:
    """That a leaf is entry ``seq`` of the log of ``size`` entries with ``root`` (RFC 6962, 2.1.1).

    Attributes:
        path: hashes of the siblings from the leaf up to the root, hex.
    """

    seq: int
    leaf_hash: str
    size: int
    root: str
    path: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """The proof as a JSON object."""
        return encode(self)


@dataclass(frozen=True)
class Fault:
    """What is wrong with the ledger, at which entry."""

    seq: int
    what: str


class Ledger(Protocol):
    """What guardrails and recognition ask of the append-only log of outputs and events."""

    def append_event(self, kind: str, document: Mapping[str, Any]) -> LedgerEvent:
        """Log an event of any kind but ``erasure``; durable when it returns.

        ``document["output"]``, where it stands, is the number of the output it is about. The
        document is public and permanent: no personal data in it.
        """
        ...

    def find(self, output: int) -> LedgerEntry | None: ...

    def find_pcm(self, sha256: str) -> LedgerEntry | None:
        """The entry whose samples (before or after marking) or file have this hash."""
        ...


# What keeps the log in step with the tables of rights.


class RightsLog(Protocol):
    """Logs changes of libraries, licenses, files and revocations in the transactions that make
    them: a change is made if and only if it is logged.

    A library's rows are *sealed* by an event that holds digests of them. Before the first change
    after that an event says that they are *changing*.
    """

    def is_changing(self, db: Connection, library: str) -> bool:
        """Whether rows changed after they were sealed last, as the log says."""
        ...

    def changing(
        self,
        db: Connection,
        library: str,
        found: Mapping[str, Any] | None = None,
        licenses: Mapping[str, Any] | None = None,
    ) -> None:
        """Log that rows of a library change, unless the log says so already.

        Args:
            found: what :meth:`altered` gave, where rows were changed past the log.
            licenses: all of the library by id, as JSON, where they are replaced: logged even while
                the log says that rows change, since outputs may be made with them from now on.
        """
        ...

    def altered(self, db: Connection, library: str) -> Mapping[str, Any]:
        """The digests of rows that are not those that were sealed: by ``row`` (of the library
        itself), ``license_rows``, ``files`` and ``withheld``; empty where nothing was changed past
        the log, or the log says that they are changing.
        """
        ...

    def digests(self, db: Connection, library: str) -> Mapping[str, Any]:
        """What :meth:`seal` logs of a library's rows as they stand."""
        ...

    def seal(self, db: Connection, library: str, digests: Mapping[str, Any]) -> int:
        """Log digests of a library's rows; the entry's number."""
        ...

    def last_revocation(self, db: Connection) -> int:
        """The highest number of a revocation that was ever logged, so that no other gets it."""
        ...

    def revoked(
        self, db: Connection, asked: Revocation, rows: Sequence[Mapping[str, Any]], *, undo: bool
    ) -> int:
        """Log that a source was revoked or that this was taken back; the entry's number.

        Args:
            rows: of the table of revocations, as they are now.
        """
        ...

"""What keeps the log in step with the tables of rights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rag_audio.licensing import Revocation

if TYPE_CHECKING:
    from sqlalchemy import Connection


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

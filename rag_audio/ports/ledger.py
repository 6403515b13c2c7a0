"""What remembers every output and what happened to it, so that nothing can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rag_audio.codec import encode
from rag_audio.domain import AttributionRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection

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
    """Append-only, tamper-evident log of outputs and of what happened to them."""

    def next_output_id(self) -> int:
        """A number never given before, 1…2^40-1; gaps are allowed, a later one may be smaller."""
        ...

    def append(self, record: AttributionRecord) -> LedgerEntry:
        """Durable when it returns."""
        ...

    def append_many(
        self,
        records: Sequence[AttributionRecord],
        within: Callable[[Connection], None] | None = None,
        owner: str | None = None,
    ) -> list[LedgerEntry]:
        """Append all in one transaction, or none.

        Args:
            within: called in that transaction; what it raises undoes it.
            owner: id of the API key whose job made them; empty: the job needed none; None: no job
                made them. The log commits to it and does not show it.
        """
        ...

    def append_event(self, kind: str, document: Mapping[str, Any]) -> LedgerEvent:
        """Log an event of any kind but ``erasure``; durable when it returns.

        ``document["output"]``, where it stands, is the number of the output it is about; an
        influence must have it. The document is public and permanent: no personal data in it.
        """
        ...

    def events(self, kind: str | None = None, output: int | None = None) -> list[LedgerEvent]:
        """Events of a kind, about an output; oldest first."""
        ...

    def find(self, output: int) -> LedgerEntry | None: ...

    def outputs(
        self,
        stem: str | None = None,
        artist: str | None = None,
        license: str | None = None,
        holder: str | None = None,
        among: Collection[int] | None = None,
    ) -> list[LedgerEntry]:
        """Outputs that used such a source, oldest first; no argument: all outputs.

        Args:
            among: numbers of the outputs that are looked through; None: all.
        """
        ...

    def source_names(
        self, of: Literal["artist", "holder"], among: Collection[int] | None = None
    ) -> list[str]:
        """The artists or holders of all sources of outputs (of all, or of these), each once."""
        ...

    def find_pcm(self, sha256: str) -> LedgerEntry | None:
        """The entry whose samples (before or after marking) or file have this hash."""
        ...

    def size(self) -> int:
        """Entries in the log, events included."""
        ...

    def root(self, size: int | None = None) -> str:
        """RFC 6962 tree head over the first ``size`` entries, hex; None: over all."""
        ...

    def inclusion(self, seq: int, size: int | None = None) -> InclusionProof:
        """That entry ``seq`` is in the log of ``size`` entries."""
        ...

    def consistency(self, old: int, new: int | None = None) -> tuple[str, ...]:
        """That the log of ``new`` entries begins with that of ``old`` (RFC 6962, 2.1.2), hex."""
        ...

    def document(self, seq: int) -> bytes | None:
        """The document of an entry, as it was hashed; None: there is no such entry."""
        ...

    def documents(self) -> Iterator[bytes]:
        """The documents of all entries, in order."""
        ...

    def checkpoint(self) -> str:
        """The log's present size and root as a signed note (C2SP tlog-checkpoint)."""
        ...

    def verifier_key(self) -> str | None:
        """The key that checkpoints are checked with; None where none was signed yet."""
        ...

    def erase(self, output: int) -> LedgerEvent:
        """Delete an output's personal texts, and log that it was done."""
        ...

    def verify(self, against: Sequence[str] = (), key: str | None = None) -> list[Fault]:
        """Recompute every hash; empty when all is well.

        Args:
            against: signed checkpoints that the log must extend. key: of those; None: its own.
        """
        ...

    def notes(self) -> list[str]:
        """What is no fault and should be known beside :meth:`verify`, one line each."""
        ...

"""The seams: what the main path asks of its backends.

One contract test per port runs over every implementation. Implementations are wired in
:mod:`rag_audio.bootstrap` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from rag_audio.domain import (
    AttributionRecord,
    Audio,
    License,
    Rights,
    Segment,
    SegmentFilter,
    Stem,
)
from rag_audio.licensing import Revocation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    Vectors = NDArray[np.float32]
    """``[N, D]``, rows of unit length."""

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

StopAsked = Callable[[], bool]
"""Asked between steps; True raises :class:`rag_audio.errors.Cancelled`."""


class Embedder(Protocol):
    """Maps sound and words into one space.

    Attributes:
        space: id of the space: a hash of weights and preprocessing.
        name: for people.
        dimension: D.
        sample_rate: Hz that windows are resampled to.
        window_s: seconds of one window; shorter clips are repeat-padded.
        untrained: True when the weights are random.
        text_weight: 0…1; how far its sense of words may be trusted beside keywords.
    """

    space: str
    name: str
    dimension: int
    sample_rate: int
    window_s: float
    untrained: bool
    text_weight: float

    def embed_audio(self, clips: Sequence[Audio]) -> Vectors:
        """One unit vector per clip of at most ``window_s`` seconds; longer ones are cut."""
        ...

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """One unit vector per text."""
        ...


@dataclass(frozen=True)
class SparseVector:
    """BM25 term weights: ``values[i]`` at dimension ``indices[i]``; indices ascend."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class IndexedSegment:
    """A segment with its vectors, as the index holds it.

    Attributes:
        id: UUID, derived from library, stem and start, so that re-indexing is idempotent.
        dense: ``[D]`` unit vector.
    """

    id: str
    segment: Segment
    dense: NDArray[np.float32]
    sparse: SparseVector


@dataclass(frozen=True, eq=False)
class Hit:
    """A found segment: its score under the query, and its dense vector (for variety)."""

    id: str
    segment: Segment
    score: float
    dense: NDArray[np.float32]


class StemIndex(Protocol):
    """Stores segments, finds the nearest. Ties are broken by id, so same query, same answer.

    Attributes:
        name: for people, and for the ledger.
        space: embedding space of the vectors it holds.
    """

    name: str
    space: str

    def upsert(self, points: Sequence[IndexedSegment]) -> None:
        """Insert or replace by id; durable when it returns."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""
        ...

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        """Nearest by cosine, best first."""
        ...

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        """Best by BM25 (the index applies IDF), best first; only hits that share a term."""
        ...

    def scroll(self, library: str | None = None) -> Iterator[IndexedSegment]:
        """All points (of one library), in order of id."""
        ...

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        """All points of a stem, in order of start."""
        ...

    def count(self) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class ModelInfo:
    """What a generator is and likes.

    Attributes:
        id: hash of the weights and configuration: what the ledger records.
        family: ``stable-audio`` or ``stable-audio-3``.
        max_duration_s: longest output of one call.
        max_prompt_tokens: past this the text encoder would cut.
        trained_mask: it was trained to fill holes; other models are led there while they sample.
    """

    name: str
    id: str
    family: str
    sample_rate: int
    channels: int
    max_duration_s: float
    max_prompt_tokens: int
    default_steps: int
    default_guidance: float
    default_strength: float
    untrained: bool
    trained_mask: bool = False


@dataclass(frozen=True, eq=False)
class Painting:
    """Sound of which some regions are to be made anew, and the rest is to be kept.

    Attributes:
        audio: any rate and channel count, at least as long as the output; what it holds in the
            regions is not looked at.
        regions: (start, end) in seconds, within the output, rising and apart from each other.
    """

    audio: Audio
    regions: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class SeedMix(Audio):
    """Seed audio that is to be mixed as latents: ``samples`` are the mix as sound would be.

    Attributes:
        parts: each ``[C, T]`` like the mix. weights: shares of energy, they sum to 1.
    """

    parts: tuple[Audio, ...] = ()
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class DiffusionInput:
    """One batch for the generator.

    Attributes:
        seeds: one per variation; each item's noise depends on its own seed only.
        strength: 0 < s ≤ 1. At 1 ``init_audio`` is not used at all.
        init_audio: the seed mix, any rate and channel count, at least ``duration_s`` long; a
            :class:`SeedMix` is mixed as latents.
        painting: what is to be kept, and where not; None makes everything. Seed audio then seeds
            the regions only.
    """

    prompt: str
    negative_prompt: str
    duration_s: float
    steps: int
    guidance: float
    seeds: tuple[int, ...]
    strength: float = 1.0
    init_audio: Audio | None = None
    painting: Painting | None = None


class Generator(Protocol):
    """A diffusion model that makes music."""

    info: ModelInfo

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text`` in the model's own tokenizer, without special tokens."""
        ...

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        """One Audio per seed, ``duration_s`` long, at the model's rate and channels.

        With a painting, the kept part comes back as the autoencoder renders it: whoever wants the
        sound itself puts it back in its place.

        Raises:
            Cancelled: ``stop_asked`` said so; within one step.
        """
        ...

    def forget(self) -> None:
        """Give up whatever is kept of sound that was encoded before."""
        ...


@dataclass(frozen=True)
class Mark:
    """What a watermark carries: a number of 40 bits, and whether somebody embedded it by hand."""

    payload: int
    by_hand: bool = False


@dataclass(frozen=True)
class Detection:
    """What a watermark detector heard.

    Attributes:
        mark: None when nothing with a valid tag was found.
        confidence: 0…1, from the detection statistic.
        tempo: ratio found, 1 = unchanged. semitones: pitch shift found.
        offset_s: where the first whole block starts.
        others: further marks in the same sound: older ones, or those of a mix.
        over_time: (seconds, confidence) along the sound, for the mark that was found, if any.
    """

    mark: Mark | None
    confidence: float
    tempo: float = 1.0
    semitones: float = 0.0
    offset_s: float = 0.0
    others: tuple[Mark, ...] = ()
    over_time: tuple[tuple[float, float], ...] = ()


class Watermarker(Protocol):
    """Hides a number in sound."""

    name: str

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        """The marked audio, same rate, channels and length; None: too little to carry a mark."""
        ...

    def detect(self, audio: Audio) -> Detection:
        """Finds the mark in any rate, channel count and length, at other tempos and pitches too."""
        ...

    def detect_pieces(self, pieces: Iterable[Audio]) -> Detection:
        """The same for sound that comes piece by piece, so that its length costs no memory."""
        ...


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
        kind: ``influence``, ``revocation``, ``refusal`` or ``erasure``.
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

    def to_json(self) -> dict[str, Any]:
        """The proof as a JSON object."""
        return {
            "seq": self.seq,
            "leaf_hash": self.leaf_hash,
            "size": self.size,
            "root": self.root,
            "path": list(self.path),
        }


@dataclass(frozen=True)
class Fault:
    """What is wrong with the ledger, at which entry."""

    seq: int
    what: str


class Ledger(Protocol):
    """Append-only, tamper-evident log of outputs and of what happened to them."""

    def next_output_id(self) -> int:
        """A number never given before, 1…2^40-1; gaps are allowed."""
        ...

    def append(self, record: AttributionRecord) -> LedgerEntry:
        """Durable when it returns."""
        ...

    def append_many(
        self,
        records: Sequence[AttributionRecord],
        within: Callable[[Connection], None] | None = None,
    ) -> list[LedgerEntry]:
        """Append all in one transaction, or none.

        Args:
            within: called in that transaction; what it raises undoes it.
        """
        ...

    def append_event(self, kind: str, document: Mapping[str, Any]) -> LedgerEvent:
        """Log an ``influence``, ``revocation`` or ``refusal``; durable when it returns.

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
    ) -> list[LedgerEntry]:
        """Outputs that used such a source, oldest first; no argument: all outputs."""
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
    """

    path: str
    size: int
    mtime_ns: int
    declared: str
    space: str
    stem: Stem


class Catalogue(Protocol):
    """Libraries, licenses and stems: rights live here and are read at each search and plan."""

    def claim(self, library: str) -> AbstractContextManager[None]:
        """Hold a library for writing; released at the end of the block or with the process.

        Raises:
            BackendUnavailable: somebody else holds it; the message names the holder.
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

    def put_files(self, library: str, files: Iterable[FileState]) -> None:
        """Insert or replace by path, in one transaction."""
        ...

    def files(self, library: str) -> Mapping[str, FileState]:
        """All files of a library by path."""
        ...

    def remove_files(self, library: str, paths: Iterable[str]) -> None: ...

    def stems(self, artist: str | None = None) -> list[Stem]: ...

    def stem(self, id_prefix: str) -> Stem:
        """The stem whose id starts so.

        Raises:
            InvalidInput: none or several do.
        """
        ...

    def file_of(self, stem: Stem) -> str:
        """Absolute path of a stem's file."""
        ...

    def copies(self, id_: str) -> list[Stem]:
        """The stems of all libraries with exactly these bytes."""
        ...

    def rights(self, territory: str | None, on: date) -> Rights:
        """Licenses and revocations as they stand now; ``on`` is a moment (UTC) or a whole day."""
        ...

    def revoke(self, revocation: Revocation) -> bool:
        """Put a revocation in force; False when it was already."""
        ...

    def end_revocation(self, revocation: Revocation) -> bool:
        """Take a revocation back; False when there was none."""
        ...

    def revocations(self) -> list[Revocation]:
        """Those in force, oldest first."""
        ...


JsonObject = dict[str, Any]

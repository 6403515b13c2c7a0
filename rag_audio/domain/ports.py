"""Ports: the protocols of embedders, indexes, generators and watermarkers, and what passes
through them.

One contract test per port runs over every implementation; :mod:`rag_audio.home` chooses which of
them a home uses. Signers are in :mod:`rag_audio.domain.signing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rag_audio.domain import Audio, ConditioningPlan, Segment, SegmentFilter
from rag_audio.domain.codec import json_form
from rag_audio.errors import InvalidInput, RagAudioError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    """``[N, D]``, rows of unit length."""


# What maps sound and words into one space.


class Embedder(Protocol):
    """Maps sound and words into one space; several threads may call it at once.

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


@runtime_checkable
class ReadsText(Protocol):
    """What an embedder or a generator may have besides: it tells which words it cannot read.

    A plan then says so; of one without this, nothing is said.
    """

    def can_read(self, text: str) -> bool:
        """Whether its tokenizer has a token other than the unknown one for all of ``text``."""
        ...


@runtime_checkable
class ScaledSpace(Protocol):
    """What an embedder may have besides: its sense of words can tell how sure it is.

    Attributes:
        logit_scale: what cosines of sound and words are multiplied by before a softmax, as in its
            training; 0: unknown.
    """

    logit_scale: float


# What makes sound, and what it is given.

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

StopAsked = Callable[[], bool]
"""Asked between steps; True raises :class:`rag_audio.errors.Cancelled`."""


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
    """Sound of which some regions are generated anew, and the rest is kept.

    Attributes:
        audio: any rate and channel count, at least as long as the output; what it holds in the
            regions is not looked at.
        regions: (start, end) in seconds, within the output, rising and apart from each other.
    """

    audio: Audio
    regions: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class SeedMix(Audio):
    """Seed audio that is mixed as latents; ``samples`` are the mix in the waveform domain.

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
        painting: which sound is kept, and where; None generates everything. Seed audio then seeds
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

    @classmethod
    def of(
        cls, plan: ConditioningPlan, seeds: tuple[int, ...], init_audio: Audio | None = None
    ) -> DiffusionInput:
        """A batch as a plan describes it."""
        return cls(
            prompt=plan.enriched_prompt,
            negative_prompt=plan.negative_prompt,
            duration_s=plan.duration_s,
            steps=plan.steps,
            guidance=plan.guidance,
            seeds=seeds,
            strength=plan.strength,
            init_audio=init_audio,
        )


@dataclass(frozen=True, eq=False)
class Member:
    """A batch that shares a pass of the model with others, see :meth:`Generator.generate`.

    Attributes:
        progress, stop_asked: of this member alone.
    """

    batch: DiffusionInput
    progress: Progress | None = None
    stop_asked: StopAsked | None = None


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

    def generate_together(
        self, members: Sequence[Member]
    ) -> list[tuple[Audio, ...] | RagAudioError]:
        """What :meth:`generate` would give or raise for each, made in as few passes as can be.

        Members may differ in everything. Those whose durations and steps agree share most. Sums
        are rounded in another order than in a pass of one: samples agree within 1e-3 of full
        scale, and are not the same to the last bit.

        Raises:
            BackendError: nothing was made, such as when memory ran out; one alone may succeed.
        """
        ...

    def forget(self) -> None:
        """Give up whatever is kept of sound that was encoded before."""
        ...


# What stores segments and finds the nearest.


_DIMENSIONS = 1 << 32


@json_form(as_list=True)
@dataclass(frozen=True)
class SparseVector:
    """BM25 term weights: ``values[i]`` at dimension ``indices[i]``; indices ascend."""

    indices: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        # An index that is given anything else may end its process.
        fits = all(0 <= index < _DIMENSIONS for index in self.indices)
        if len(self.indices) != len(self.values) or not (fits and all(map(isfinite, self.values))):
            raise InvalidInput("a sparse vector has as many values as indices below 2^32")


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
    """A found segment with its score under the query; see :meth:`StemIndex.vectors`."""

    id: str
    segment: Segment
    score: float


class SearchableIndex(Protocol):
    """What a search asks of an index. Ties are broken by id, so same query, same answer; of more
    than a thousand equal scores an index may take which it finds first.

    No search finds a segment that is marked as revoked; all other methods see it.
    """

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        """Nearest by cosine, best first."""
        ...

    def search_many(
        self,
        queries: Sequence[NDArray[np.float32] | SparseVector],
        where: SegmentFilter,
        limit: int,
    ) -> list[list[Hit]]:
        """What each query would find alone, asked at once: dense vectors and terms in any mix."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The dense vectors ``[D]`` of points, by id; unknown ids are left out."""
        ...

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        """All points of a stem, in order of start."""
        ...

    def count(self, library: str | None = None, *, exact: bool = True) -> int:
        """Points in the index (of one library); not ``exact``: an estimate will do."""
        ...


class StemIndex(SearchableIndex, Protocol):
    """Stores segments, finds the nearest.

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

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        """Best by BM25 (the index applies IDF), best first; only hits that share a term."""
        ...

    def set_revoked(self, stems: Sequence[str], on: bool, library: str | None = None) -> None:
        """Mark the points that there are of stems as revoked, or take that back; durable when it
        returns. A point that is put anew is not marked.

        Args:
            stems: ids; those without points are ignored. library: only points of this one.
        """
        ...

    def scroll(self, library: str | None = None, after: str = "") -> Iterator[IndexedSegment]:
        """All points (of one library) whose id is greater than ``after``, in order of id."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class TellsTerms(Protocol):
    """What an index may have besides: it tells which terms points were put with."""

    def terms(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        """The dimensions of the sparse vectors of points, by id; unknown ids are left out."""
        ...


@runtime_checkable
class TakesBulk(Protocol):
    """What an index may have besides: it takes many points at once, and builds what searches need
    when all are there."""

    def bulk(self, progress: Progress | None = None) -> AbstractContextManager[None]:
        """Put many points within the block.

        Args:
            progress: is told how many points are built in, while that is waited for at the end.
        """
        ...


class SpaceState(StrEnum):
    """What an embedding space of an index is there for."""

    CURRENT = "current"
    """It is searched."""
    PREVIOUS = "previous"
    """It was, until the last switch; one call switches back."""
    BESIDE = "beside"
    """It is being filled, or no longer used."""


@dataclass(frozen=True)
class SpaceInfo:
    """An embedding space that an index holds vectors of.

    Attributes:
        space: its id. dimension: D.
        points: segments that it has vectors of; None: they were not counted.
    """

    space: str
    dimension: int
    points: int | None
    state: SpaceState


class IndexSpaces(Protocol):
    """An index that can hold the same segments in several embedding spaces."""

    def spaces(self, *, counted: bool = True) -> tuple[SpaceInfo, ...]:
        """Every space there is; counting opens each of them."""
        ...

    def embedder_in_use(self) -> str | None:
        """What was named as the embedder of the space in use; None: nothing was."""
        ...

    def open_space(self, space: str, dimension: int) -> StemIndex:
        """The index of a space, made beside the one in use where it is missing."""
        ...

    def switch(self, space: str, embedder: str | None = None, before: str | None = None) -> None:
        """Let a space be the one in use, in one step; the one before stays, to switch back to.

        Args:
            embedder: directory, plugin or hub id of what embeds into it, kept with the space;
                None: it stays as it is.
            before: the same of the space that was in use.
        """
        ...

    def remove(self, space: str) -> None:
        """Delete a space that is not in use."""
        ...


# What hides a number in sound, and finds it again.


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

"""Where the landmarks of stems are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from rag_audio.recognition.landmarks import Landmarks
from rag_audio.recognition.peaks import Numbers


@dataclass(frozen=True, eq=False)
class Postings:
    """Landmarks of stems that have hashes in common with a question; ``[P]`` in any order.

    Attributes:
        probes: which of the asked hashes, an index into them.
        stems: which stem, an index into ``stem_ids``.
        times_ms, spans_ms, pitches: of the landmark, as in :class:`.Landmarks`.
        stem_ids: ids of the stems that occur.
    """

    probes: Numbers
    stems: Numbers
    times_ms: Numbers
    spans_ms: Numbers
    pitches: Numbers
    stem_ids: tuple[str, ...]

    def of(self, rows: NDArray[Any]) -> Postings:
        """Some of them: a mask or indices."""
        return Postings(
            self.probes[rows],
            self.stems[rows],
            self.times_ms[rows],
            self.spans_ms[rows],
            self.pitches[rows],
            self.stem_ids,
        )


class LandmarkStore(Protocol):
    """The landmarks of a library's stems, by hash and by stem."""

    def sharing(self, hashes: Numbers, exclude: Collection[str] = ()) -> Postings:
        """Every landmark of the stems that has one of the hashes.

        Args:
            hashes: ``[N]`` different ones in ascending order; 30 s of sound ask for some 50,000.
            exclude: ids of stems that are not asked about.
        """
        ...

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        """All that is kept of these stems; those that have nothing are left out."""
        ...

"""Where the landmarks of stems are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from rag_audio.recognition.landmarks import Landmarks


class LandmarkStore(Protocol):
    """The landmarks of a library's stems, by hash and by stem."""

    def sharing(
        self, hashes: Sequence[int], limit: int, exclude: Collection[str] = ()
    ) -> list[tuple[str, int]]:
        """Stems that hold some of the hashes.

        Args:
            hashes: different ones, up to some ten thousand.
            limit: how many stems at most.
            exclude: stems that are not asked about.

        Returns:
            Each stem's id and how many of ``hashes`` it holds (each counted once), most first, of
            equal ones by id.
        """
        ...

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        """The landmarks of these stems; those that have none are left out."""
        ...

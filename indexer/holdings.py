"""What the index holds of one library, kept in step with what is written during a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from indexer.points import point_ids, points
from rag_audio.domain import Stem
from rag_audio.ports import IndexedSegment, StemIndex


@dataclass
class _Held:
    ids: set[str] = field(default_factory=set)
    payloads: set[Stem] = field(default_factory=set)


class Holdings:
    """The points of a library in the index, by stem.

    Args:
        index: every change goes through to it first.
        library: id of the library.
        window_s: length of the embedder's window.
    """

    def __init__(self, index: StemIndex, library: str, window_s: float) -> None:
        self._index = index
        self._library = library
        self._window_s = window_s
        self._held: dict[str, _Held] = {}
        for point in index.scroll(library):
            self._note(point)

    @property
    def segments(self) -> int:
        """How many points there are."""
        return sum(len(held.ids) for held in self._held.values())

    def has(self, stem: Stem) -> bool:
        """Whether every window of a stem is there, under whatever metadata."""
        held = self._held.get(stem.id)
        return held is not None and held.ids == point_ids(stem, self._window_s)

    def put(self, new: Sequence[IndexedSegment]) -> None:
        """Write points; durable when it returns. Surplus points of the same stems go."""
        self._index.upsert(new)
        fresh: dict[str, set[str]] = {}
        for point in new:
            fresh.setdefault(point.segment.stem.id, set()).add(point.id)
        surplus: list[str] = []
        for stem, ids in fresh.items():
            held = self._held.pop(stem, _Held())
            surplus += sorted(held.ids - ids)
        for point in new:
            self._note(point)
        if surplus:
            self._index.delete(surplus)

    def relabel(self, stem: Stem) -> bool:
        """Give the points of a stem this metadata and license, with the vectors they have.

        Returns:
            Whether anything had to be written.
        """
        held = self._held.get(stem.id)
        if held is None or held.payloads == {stem}:
            return False
        mine = [
            point
            for point in self._index.find_stem(stem.id)
            if point.segment.stem.library == self._library
        ]
        where = [(point.segment.start_s, point.segment.duration_s) for point in mine]
        self.put(points(stem, where, [point.dense for point in mine]))
        return True

    def remove(self, stems: Iterable[str]) -> None:
        """Remove all points of stems."""
        gone = [self._held.pop(stem).ids for stem in stems if stem in self._held]
        ids = sorted(set().union(*gone))
        if ids:
            self._index.delete(ids)

    def sweep(self, explained: set[str]) -> None:
        """Remove what no file explains: leavings of a run that was killed."""
        self.remove(sorted(set(self._held) - explained))

    def _note(self, point: IndexedSegment) -> None:
        held = self._held.setdefault(point.segment.stem.id, _Held())
        held.ids.add(point.id)
        held.payloads.add(point.segment.stem)

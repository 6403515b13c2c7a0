"""What a shard of a run came to: counts, findings, and what is left for the end of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from indexer.report import FileOutcome, Notice, Rejection


@dataclass
class Tally:
    """What some files of a run came to.

    Attributes:
        counts: of files, by outcome.
        refreshed: paths of unchanged files that were measured anew.
        landmarked: unchanged files that were heard again for their landmarks.
        forgotten: paths whose rows are to go: their files cannot be read any more.
        left: ids of stems that lost a path.
        junk, other: files without music, by kind.
    """

    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)
    noticed: list[Notice] = field(default_factory=list)
    refreshed: set[str] = field(default_factory=set)
    landmarked: int = 0
    forgotten: list[str] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    junk: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: FileOutcome) -> None:
        """One more file with this outcome."""
        self.counts[outcome.value] += 1

    def add(self, more: Tally) -> None:
        """Take in what other files came to."""
        for name in ("counts", "junk", "other"):
            getattr(self, name).update(getattr(more, name))
        for name in ("rejected", "noticed", "forgotten"):
            getattr(self, name).extend(getattr(more, name))
        self.refreshed |= more.refreshed
        self.left |= more.left
        self.landmarked += more.landmarked

    def to_json(self) -> dict[str, Any]:
        """All of it; :meth:`of_json` reads it."""
        return {
            "counts": dict(self.counts),
            "rejected": [[one.path, one.reason] for one in self.rejected],
            "noticed": [[one.path, one.text] for one in self.noticed],
            "refreshed": sorted(self.refreshed),
            "landmarked": self.landmarked,
            "forgotten": self.forgotten,
            "left": sorted(self.left),
            "junk": dict(self.junk),
            "other": dict(self.other),
        }

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> Tally:
        """What :meth:`to_json` gave."""
        return cls(
            Counter(document["counts"]),
            [Rejection(*one) for one in document["rejected"]],
            [Notice(*one) for one in document["noticed"]],
            set(document["refreshed"]),
            document["landmarked"],
            list(document["forgotten"]),
            set(document["left"]),
            Counter(document["junk"]),
            Counter(document["other"]),
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    made = Tally()
    for one in tallies:
        made.add(one)
    return made

"""What a run over a library is, as its coordinator writes it down for all who work on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from indexer.tally import Tally
from rag_audio.domain.stems import AnalysisScope


@dataclass(frozen=True)
class RunState:
    """A run over a library.

    Attributes:
        on: the day or moment at which licenses must be valid.
        space: of the embedder that the plan is for.
        max_duration_s: of a file's sound.
        analysis: what is estimated.
        files: that a license covers; skipped: those of them that did not change.
        absent: paths whose files are gone, and that are still known.
        released: paths that were withheld before, and are not any more when the run has ended.
        found: what the plan itself came to.
        pruned, misdeclared, altered: as in :class:`.IndexReport`.
    """

    on: date
    space: str
    max_duration_s: float
    analysis: AnalysisScope
    files: int
    skipped: int
    absent: frozenset[str]
    released: tuple[str, ...]
    found: Tally
    pruned: int = 0
    misdeclared: int = 0
    altered: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """All of it; :meth:`of_json` reads it."""
        return {
            **vars(self),
            "on": self.on.isoformat(),
            "absent": sorted(self.absent),
            "found": self.found.to_json(),
        }

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> RunState:
        """What :meth:`to_json` gave."""
        on = document["on"]
        read: Callable[[str], date] = datetime.fromisoformat if "T" in on else date.fromisoformat
        return cls(
            **{
                **document,
                "on": read(on),
                "analysis": AnalysisScope(document["analysis"]),
                "absent": frozenset(document["absent"]),
                "released": tuple(document["released"]),
                "altered": tuple(document["altered"]),
                "found": Tally.of_json(document["found"]),
            }
        )

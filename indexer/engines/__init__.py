"""Where files are measured and embedded: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from indexer.measure import MeasureJob, Outcome

_Tag = TypeVar("_Tag")


class Engine(Protocol):
    """Measures files, and embeds them where it can.

    It is a context: at its end nothing of it runs any more.
    """

    def __enter__(self) -> Engine: ...
    def __exit__(self, *_: object) -> None: ...

    def outcomes(self, jobs: Iterable[tuple[_Tag, MeasureJob]]) -> Iterator[tuple[_Tag, Outcome]]:
        """The outcome of every job, in any order; jobs are taken when there is work for them.

        Raises:
            BackendError: the embedder failed, or the engine did.
        """
        ...

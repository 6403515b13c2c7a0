"""Measure and embed on a Ray cluster: files as tasks, the embedder as a pool of actors.

The cluster is that of ``RAY_ADDRESS``, else one on this machine that ends with the run. Every node
must see the library under the same path or URL, and have this package and the embedder's model. A
task that a node took with it is done again on another one; a file that kills or hangs its decoder
does so in a process of its own, which a task watches over as it does on one machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from indexer.batches import embedded
from indexer.long_sounds import SpooledSound, discard
from indexer.measure import MeasuredFile, MeasureJob, Outcome, Render
from indexer.worker_processes import MakeEmbedder, MeasuringProcesses
from rag_audio.domain import Audio
from rag_audio.domain.ports import Embedder
from rag_audio.errors import BackendError, BackendUnavailable, MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Tag = TypeVar("_Tag")
_AHEAD = 2
"""Files per core of the cluster that are under way at once."""
_CORES_PER_EMBEDDER = 4
"""Of a cluster without graphics cards; embedding takes about a tenth of the work."""
_TRIES = 20
"""So many nodes may die over one file before the run is given up."""


class RayEngine:
    """Measures and embeds on a Ray cluster.

    Args:
        make_embedder: makes the embedder in an actor.

    Raises:
        MissingExtra: Ray is not installed.
        BackendError: the embedder cannot be made elsewhere.
        BackendUnavailable: the cluster cannot be reached.
    """

    def __init__(self, render: Render, make_embedder: MakeEmbedder | None) -> None:
        if make_embedder is None:
            raise BackendError(
                "this embedder cannot be made on another machine",
                hint="name it with RAG_AUDIO_EMBEDDER, or index with --engine local",
            )
        self._ray = _ray()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            connect(self._ray)
        self._render, self._make = self._ray.put(render), make_embedder
        self._embedders: list[Any] = []

    def __enter__(self) -> RayEngine:
        ray = self._ray
        resources = ray.cluster_resources()
        self._cores, cards = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        count = cards or max(1, self._cores // _CORES_PER_EMBEDDER)
        actor = ray.remote(
            num_cpus=0,
            num_gpus=1 if cards else 0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy="SPREAD",
        )(_EmbeddingActor)
        self._embedders = [actor.remote(self._make) for _ in range(count)]
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._embedders:
            self._ray.kill(actor)
        self._embedders = []
        if self._is_ours:
            self._ray.shutdown()

    def outcomes(self, jobs: Iterable[tuple[_Tag, MeasureJob]]) -> Iterator[tuple[_Tag, Outcome]]:
        """The outcome of every job, as they are ready."""
        ray, embedders = self._ray, cycle(self._embedders)
        task = ray.remote(num_cpus=1, max_retries=_TRIES, scheduling_strategy="SPREAD")(_measure)
        under_way: dict[Any, _Tag] = {}
        most = max(2, _AHEAD * self._cores)
        for tag, job in jobs:
            while len(under_way) >= most:
                yield from self._ready(under_way)
            actor = next(embedders)
            # What waits on a node's disk cannot be read on another one.
            measured = task.remote(_for_any_node(job), self._render, actor)
            under_way[actor.embed.remote(measured)] = tag
        while under_way:
            yield from self._ready(under_way)

    def _ready(self, under_way: dict[Any, _Tag]) -> Iterator[tuple[_Tag, Outcome]]:
        ready, _ = self._ray.wait(list(under_way), num_returns=1)
        for one in ready:
            tag = under_way.pop(one)
            try:
                yield tag, self._ray.get(one)
            except self._ray.exceptions.RayError as cause:
                said = str(cause).strip().splitlines()
                raise BackendError(
                    f"the Ray cluster gave a file up: {said[-1] if said else type(cause).__name__}",
                    hint="the logs of its nodes say more; what was written stays, and the next run "
                    "goes on from there",
                ) from cause


def _for_any_node(job: MeasureJob) -> MeasureJob:
    """The job without folders of this machine for sound and for copies."""
    file = job.file if isinstance(job.file, Path) else replace(job.file, room=None)
    return replace(job, file=file, spool=None)


class _EmbeddingActor:
    """An embedder that is loaded once."""

    def __init__(self, make: MakeEmbedder) -> None:
        self._embedder = make()

    def facts(self) -> dict[str, Any]:
        """What a task must know of the embedder."""
        names = ("dimension", "sample_rate", "window_s")
        return {name: getattr(self._embedder, name) for name in names}

    def vectors(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """Of some windows."""
        return self._embedder.embed_audio(clips)

    def embed(self, outcome: Outcome) -> Outcome:
        """A file that was measured, with its vectors in place of its sound."""
        if not isinstance(outcome, MeasuredFile) or outcome.sound is None:
            return outcome
        made = embedded(self._embedder, {outcome.stem: (outcome.duration_s, outcome.sound)})
        return replace(outcome, sound=None, vectors=made[outcome.stem])


class _RemoteEmbedder:
    """Embeds in an actor, some windows at a time."""

    def __init__(self, actor: Any) -> None:
        self._ray, self._actor = _ray(), actor
        for name, value in self._ray.get(actor.facts.remote()).items():
            setattr(self, name, value)

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        made: NDArray[np.float32] = self._ray.get(self._actor.vectors.remote(list(clips)))
        return made


def _measure(job: MeasureJob, render: Render, actor: Any) -> Outcome:
    """Measure a file in a process of its own; of a long one the windows are embedded from here."""
    [(_, outcome)] = _processes(render).outcomes([(None, job)])
    if not isinstance(outcome, MeasuredFile) or not isinstance(outcome.sound, SpooledSound):
        return outcome
    sound, length = outcome.sound, outcome.duration_s
    try:
        remote: Embedder = _RemoteEmbedder(actor)  # type: ignore[assignment]
        vectors = embedded(remote, {outcome.stem: (length, sound)})[outcome.stem]
    finally:
        discard(sound)
    return replace(outcome, sound=None, vectors=vectors)


def _processes(render: Render) -> MeasuringProcesses:
    """The decoding process of this worker of Ray's, which outlives the tasks."""
    global _decoder
    if _decoder is None:
        _decoder = MeasuringProcesses(1, render)
    return _decoder


_decoder: MeasuringProcesses | None = None


def connect(ray: Any) -> None:
    """Join the cluster of ``RAY_ADDRESS``, or start one here.

    Raises:
        BackendUnavailable: it cannot be reached.
    """
    here = os.pathsep.join(path for path in sys.path if path)
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            runtime_env=None if address else {"env_vars": {"PYTHONPATH": here}},
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as cause:
        raise BackendUnavailable(
            f"the Ray cluster {address or 'of this machine'} cannot be reached: {cause}",
            hint="set RAY_ADDRESS to a cluster's head, or unset it to start one here",
        ) from cause


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as cause:
        raise MissingExtra("ray", "ray") from cause
    return ray

"""Prometheus metrics. What workers in other processes did is read from the finished jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from rag_audio import guardrails
from rag_audio.service.api.services import Service
from rag_audio.service.jobs import Job, JobState

_SECONDS = (0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900)
_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10)
_QUALITY: dict[str, tuple[float, ...]] = {
    "lufs": (-60, -40, -30, -24, -20, -16, -14, -12, -9, -6),
    "true_peak_dbtp": (-30, -12, -6, -3, -2, -1, -0.5, 0, 1),
    "silence": (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95),
    "clipping": (0.0001, 0.001, 0.01, 0.1),
    "centroid_hz": (100, 300, 600, 1000, 2000, 4000, 8000),
    "flatness": (0.0001, 0.001, 0.01, 0.05, 0.1, 0.3, 0.6),
}
"""Upper ends of the buckets of each measurement."""


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        on: dict[str, Any] = {"registry": self.registry}
        self._jobs = Gauge("rag_audio_jobs", "Jobs by state.", ["state"], **on)
        self._ended = Counter(
            "rag_audio_jobs_ended", "Jobs that ended since this process began.", ["state"], **on
        )
        self._stage = Histogram(
            "rag_audio_stage_seconds", "Time of each stage.", ["stage"], buckets=_SECONDS, **on
        )
        self._waited = Histogram(
            "rag_audio_queue_seconds", "Time in the queue.", buckets=_SECONDS, **on
        )
        self._quality = {
            name: Histogram(
                f"rag_audio_output_{name}",
                "Measured of every output.",
                buckets=buckets,
                **on,
            )
            for name, buckets in _QUALITY.items()
        }
        self._memory = Gauge("rag_audio_memory_bytes", "Resident memory of this process.", **on)
        self._working = Gauge(
            "rag_audio_thread_working", "Whether a thread of the service works.", ["thread"], **on
        )
        self._restarts = Counter(
            "rag_audio_thread_restarts",
            "How often a thread of the service failed and was started again.",
            ["thread"],
            **on,
        )
        self._restarted: dict[str, int] = {}
        self.registry.register(_GuardDecisions())
        self._requests = Histogram(
            "rag_audio_request_seconds",
            "Time until a response ended.",
            ["route", "method", "status"],
            buckets=_FAST,
            **on,
        )
        self._since = time.time()
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method, str(status)).observe(seconds)

    def text(self, service: Service) -> bytes:
        """All of them in Prometheus' text format."""
        with self._lock:
            for state, count in service.jobs.counts().items():
                self._jobs.labels(state.value).set(count)
            # Two seconds of overlap: the database's clock and the order of commits are not ours.
            for job in service.jobs.finished_after(self._since - 2.0):
                if job.id not in self._seen:
                    self._seen[job.id] = job.finished_at or 0.0
                    self._observe(job)
            self._seen = {i: at for i, at in self._seen.items() if at > self._since - 4.0}
            self._memory.set(_resident_bytes())
            dead = service.threads.dead()
            for name, count in service.threads.restarts().items():
                self._working.labels(name).set(name not in dead)
                self._restarts.labels(name).inc(count - self._restarted.get(name, 0))
                self._restarted[name] = count
        return generate_latest(self.registry)

    def _observe(self, job: Job) -> None:
        self._since = max(self._since, job.finished_at or 0.0)
        self._ended.labels(job.state.value).inc()
        if job.started_at is not None:
            self._waited.observe(max(0.0, job.started_at - job.created_at))
        if job.state is not JobState.SUCCEEDED or job.result is None:
            return
        for stage, seconds in job.result.get("stages_s", {}).items():
            self._stage.labels(stage).observe(seconds)
        for output in job.result.get("outputs", ()):
            for name in _QUALITY:
                value = output.get("quality", {}).get(name)
                if value is not None:
                    self._quality[name].observe(_coarse(value, _QUALITY[name]))


def _coarse(value: float, ends: tuple[float, ...]) -> float:
    """The upper end of a value's bucket: a sum of exact values would tell those of each output."""
    return next((end for end in ends if value <= end), 2 * abs(ends[-1]) + 1.0)


class _GuardDecisions(Collector):
    """What the guardrails of this process decided, as they count it themselves."""

    def collect(self) -> Iterator[Metric]:
        found = CounterMetricFamily(
            "rag_audio_guardrail_decisions", "By decision and rule.", labels=["decision", "rule"]
        )
        for name, count in guardrails.counts().items():
            decision, _, rule = name.partition("/")
            found.add_metric([decision, rule], count)
        yield found


def _resident_bytes() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * 4096.0

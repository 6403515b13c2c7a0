"""Workers, and what each does with a claimed job: from its row to its outputs in the ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from rag_audio.audio.channels import heard
from rag_audio.audio.dsp import loudness_lufs, true_peak_dbtp
from rag_audio.domain import Audio, ConditioningPlan, GenerationResult
from rag_audio.domain.json_documents import finite, is_operators, public_json, results_json
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    Cancelled,
    InvalidInput,
    RagAudioError,
)
from rag_audio.home import Home
from rag_audio.pipeline.editing import Editor
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.service.api_access import SqlAccess
from rag_audio.service.batching import Seat, SharedPass, companions
from rag_audio.service.decoded_uploads import shielded
from rag_audio.service.folders import Folders
from rag_audio.service.jobs import (
    Claimed,
    Job,
    JobState,
    LeaseLost,
    RowUnreadable,
    edit_order,
    generation_request,
    request_fields,
)
from rag_audio.service.queue import SqlJobs
from rag_audio.service.tables import SqlOwners
from rag_audio.service.visibility import Visibility, owner_of
from rag_audio.service.wording import Places

if TYPE_CHECKING:
    from sqlalchemy import Connection


# What can be measured of a finished sound, so that a model that goes wrong is seen in a graph.

_FRAME = 2048
_SILENT_DB = -60.0
_CLIPPED = 0.999


def quality(audio: Audio) -> dict[str, float | None]:
    """Loudness and spectrum of a sound.

    Returns:
        ``lufs`` (ITU-R BS.1770) and ``true_peak_dbtp``; ``silence``: share of frames of 2048
        samples below -60 dBFS RMS; ``clipping``: share of samples at full scale;
        ``centroid_hz``: mean of the frames' spectral centroids, weighted by power; ``flatness``:
        mean of the frames' geometric over arithmetic mean of power, 0…1. None: it is silent.
        The loudness of silence is -inf.
    """
    mono = heard(audio).samples[0].astype(np.float64)
    count = max(1, mono.size // _FRAME)
    frames = np.resize(mono, count * _FRAME).reshape(count, _FRAME)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    loud = rms > 10 ** (_SILENT_DB / 20)
    found: dict[str, float | None] = {
        "lufs": float(loudness_lufs(audio)),
        "true_peak_dbtp": float(true_peak_dbtp(audio)),
        "silence": float(1.0 - loud.mean()),
        "clipping": float(np.mean(np.abs(audio.samples) >= _CLIPPED)),
        "centroid_hz": None,
        "flatness": None,
    }
    if not loud.any():
        return found
    power = np.abs(np.fft.rfft(frames[loud] * np.hanning(_FRAME), axis=1)) ** 2 + 1e-20
    hz = np.fft.rfftfreq(_FRAME, 1 / audio.sample_rate)
    found["centroid_hz"] = float((power * hz).sum() / power.sum())
    flat = np.exp(np.mean(np.log(power), axis=1)) / power.mean(axis=1)
    found["flatness"] = float(flat.mean())
    return found


IDLE_S = 0.5
"""How long a worker waits before it looks for a job again."""
PROGRESS_S = 0.5
"""Progress within a stage is written down no more often than this."""
_UPLOADS = ("audio", "midi", "upload")
_EDIT_TIMES = 3
"""An edit has so much more of its sound in memory than a search or a trace: measured."""
SHARE_AGAIN_S = 30.0
"""After a part was away, jobs run alone for so long."""

log = structlog.get_logger("rag_audio.worker")


@dataclass
class _Clock:
    """How long each stage took, and how long this one still will."""

    stage: str = ""
    began: float = field(default_factory=time.monotonic)
    written: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)

    def enter(self, stage: str) -> None:
        moment = time.monotonic()
        if self.stage:
            self.spent[self.stage] = self.spent.get(self.stage, 0.0) + moment - self.began
        self.stage, self.began, self.written = stage, moment, 0.0

    def eta_s(self, done: int, total: int) -> float | None:
        if done <= 0 or done > total:
            return None
        return round((time.monotonic() - self.began) / done * (total - done), 2)


class Runner:
    """Runs jobs on a home, alone or several at once.

    Args:
        stopping: whether the process is to end: the job is given back to the queue then.
        job_s: a job that runs longer is ended.
    """

    def __init__(
        self,
        home: Home,
        jobs: SqlJobs,
        stopping: Callable[[], bool] = lambda: False,
        job_s: float = 3600.0,
    ) -> None:
        self._home, self._jobs, self._stopping = home, jobs, stopping
        self._job_s = job_s
        self._shares, self._share_again = False, 0.0
        self.folders = Folders(home.folder, home.files)
        self._uploads = shielded(home)
        database = home.database
        self._access, self._owners = SqlAccess(database), SqlOwners(database)
        self._places = Places(home)

    def can_share(self) -> bool:
        """Load what jobs share that run at once; False: a part is away, each job will say which.

        To be asked before jobs are claimed: a large model takes longer to load than a lease lasts.
        """
        if not self._shares and time.monotonic() >= self._share_again:
            try:
                self._home.make_all()
                self._shares = True
            except RagAudioError as error:
                self._share_again = time.monotonic() + SHARE_AGAIN_S
                log.warning("jobs cannot share passes of the model", error=error.message)
        return self._shares

    def run_together(self, held: Sequence[Claimed]) -> None:
        """Bring jobs to their ends; several, where :meth:`can_share` said so, meet at the model."""
        if len(held) == 1:
            self.run(held[0])
            return
        shared = SharedPass(self._home.generator(None))
        log.info("jobs share a pass", jobs=[one.job.id for one in held])
        threads = [
            threading.Thread(target=self.run, args=(one, shared.seat()), name=f"job-{one.job.id}")
            for one in held
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run(self, held: Claimed, seat: Seat | None = None) -> None:
        """Bring a job to its end, whatever it is; only errors of ours that are bugs pass.

        Args:
            seat: in place of the model, where other jobs are run with it.
        """
        with ExitStack() as ending:
            if seat is not None:
                ending.callback(seat.leave)
            self._run(held, seat)
            self._settle(held)

    def _run(self, held: Claimed, seat: Seat | None) -> None:
        lease = _Lease(self._jobs, held, self._job_s)
        told = log.bind(job=held.job.id, attempt=held.job.attempts)
        told.info("job begun", kind=held.job.kind)
        try:
            with lease, ExitStack() as working:
                self._make(held, lease, seat, working)
            told.info("job succeeded")
        except LeaseLost:
            told.warning("lease lost; what was made is thrown away")
        except Cancelled:
            self._canceled(held, lease, told)
        except BackendUnavailable as error:
            # Nobody knows whether a commit that broke off took place; the row will say.
            told.warning("a backend is away; the job is tried again", error=error.message)
        except RagAudioError as error:
            tell = told.error if is_operators(error) else told.info
            tell("job failed", error=error.message, hint=error.hint)
            public = public_json(error, f"the worker's log says more; job {held.job.id}")
            said = self._places.error(public)
            self._end(partial(self._jobs.fail, held, finite(said)))
        except Exception:  # noqa: BLE001 - a job's fault is not the worker's end
            told.exception("job failed by an internal error")
            said = {"type": "InternalError", "message": "an internal error"}
            said["hint"] = "see the worker's log"
            self._end(partial(self._jobs.fail, held, said))

    def _make(
        self, held: Claimed, lease: _Lease, seat: Seat | None, working: ExitStack
    ) -> tuple[GenerationResult, ...]:
        job, asked = held.job, held.job.request
        if not job.can_be_run:
            raise RowUnreadable(job.unreadable)
        home, owner = self._home, owner_of(job, self._access)
        told = Visibility(owner, home, self._owners, self._places).disclosure
        pipeline = Pipeline(home.limited_to(job.libraries, disclosure=told, generator=seat))
        folder = self.folders.of_attempt(job.id, held.token)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        out = folder / f"take.{asked.get('format') or 'wav'}"
        clock = _Clock()

        def on_stage(stage: str, done: int, total: int) -> None:
            if stage == "retrieve" and stop_asked():
                # Nothing is made yet; from here on the model and the delivery ask for themselves.
                raise Cancelled("stopped; nothing was generated")
            moment = time.monotonic()
            new = stage != clock.stage
            if new:
                clock.enter(stage)
            if new or done == total or moment - clock.written >= PROGRESS_S:
                clock.written = moment
                lease.say(stage, done, total, clock.eta_s(done, total))
            if (stage, done) == ("retrieve", 0):
                self._begin(job, working, stop_asked)
            elif stage == "retrieve" and job.kind == "generation":
                # Its sound is not needed any more, and it may wait for others at the model, which
                # wait for that sound to be given back. An edit works with its sound to the end.
                working.close()

        def stop_asked() -> bool:
            return lease.is_over or self._stopping()

        how: dict[str, Any] = {
            "on_stage": on_stage,
            "stop_asked": stop_asked,
            "on_commit": _Finish(self._jobs, held, clock, seat, self.folders),
            "accepted": _accepted_plan(job),
        }
        if job.kind == "edit":
            file = self._source(asked)
            fields = request_fields(asked, self.folders.find_upload)
            prompt = asked.get("prompt") or ""
            return Editor(pipeline).edit(file, prompt, edit_order(asked), out, **how, **fields)
        return pipeline.generate(generation_request(asked, self.folders.find_upload), out, **how)

    def _begin(self, job: Job, working: ExitStack, stop_asked: Callable[[], bool]) -> None:
        """Work with a job's uploads until ``working`` is closed, once it is its turn.

        Raises:
            Cancelled: the job is to stop before that.
        """
        named = [job.request[name] for name in _UPLOADS if job.request.get(name)]
        files = [self.folders.find_upload(id_) for id_ in named]
        times = _EDIT_TIMES if job.kind == "edit" else 1
        held = self._uploads.hold_in_thread(job.owner, files, stop_asked, times)
        if not working.enter_context(held):
            raise Cancelled("stopped; nothing was generated")

    def _source(self, asked: Any) -> Any:
        """The file that an edit begins with: an upload, or a take of an earlier job."""
        if asked.get("upload"):
            return self.folders.find_upload(asked["upload"])
        parent = self._jobs.find(asked["generation"])
        file = None if parent is None else self.folders.find_take(parent, asked.get("take", 1))
        if file is None:
            raise LeaseLost("the edited generation is gone")
        return file

    def _canceled(self, held: Claimed, lease: _Lease, told: Any) -> None:
        if lease.is_lost:
            told.warning("lease lost; what was made is thrown away")
        elif lease.is_late:
            limit = f"it ran longer than {self._job_s:g} s"
            said = {"type": "TimeLimit", "message": limit, "hint": "ask for less"}
            self._end(partial(self._jobs.fail, held, said))
        elif lease.cancel_asked:
            told.info("job canceled")
            self._end(partial(self._jobs.canceled, held))
        elif lease.is_broken:
            # It counts as an attempt: a fault that always comes back ends the job.
            told.error("attempt ended: its lease runs out, and the job is begun again")
        else:
            told.info("job given back: this worker ends")
            self._end(partial(self._jobs.give_back, held))

    def _end(self, write: Callable[[], None]) -> None:
        """Write a job's end down; where that fails, the lease runs out and somebody else will."""
        try:
            write()
        except (LeaseLost, BackendUnavailable) as error:
            log.warning("a job's end could not be written down", error=error.message)

    def _settle(self, held: Claimed) -> None:
        """Remove what this attempt left, unless it is what the job's row names."""
        for _ in range(60):
            try:
                self._remove_unkept(held)
            except BackendUnavailable:
                if self._stopping():
                    return
                time.sleep(1.0)
                continue
            return

    def _remove_unkept(self, held: Claimed) -> None:
        job = self._jobs.find(held.job.id)
        kept = job is not None and (job.result or {}).get("attempt") == held.token
        if not kept and not (job is not None and "result" in job.unreadable):
            self.folders.remove_attempt(held.job.id, held.token)
        lost = kept and held.job.attempts > 1 and self.folders.remote is not None
        if job is not None and (lost or job.state is JobState.CANCELED):
            self.folders.remove_attempts(job)


@dataclass
class _Finish:
    """Ends a job in the transaction that logs its outputs; see :class:`.delivery.OnCommit`."""

    jobs: SqlJobs
    held: Claimed
    clock: _Clock
    seat: Seat | None
    folders: Folders
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.held.job.owner

    def prepare(self, results: Sequence[GenerationResult]) -> None:
        self.folders.store_attempt(self.held.job.id, self.held.token)
        self.clock.enter("done")
        pass_of = 1 if self.seat is None else self.seat.pass_of
        self.document = _result(self.held, results, self.clock.spent, pass_of)

    def write(self, db: Connection) -> None:
        self.jobs.finish_in(db, self.held, self.document)


def _accepted_plan(job: Job) -> ConditioningPlan | None:
    """The plan that was made and shown when a job was accepted; None where there is none to read.

    Earlier versions stored none, or one of a format that is not read any more: those jobs are
    planned when they run.
    """
    why = "" if "plan" not in job.unreadable else "it is no JSON object"
    if job.plan is not None:
        try:
            return plan_from_json(job.plan)
        except InvalidInput as error:
            why = error.message
    if why:
        log.warning("a job's plan cannot be read; it is planned anew", job=job.id, why=why)
    return None


class _Lease:
    """Keeps a job's lease from a thread of its own, and hears when the job is to end."""

    def __init__(self, jobs: SqlJobs, held: Claimed, job_s: float) -> None:
        self._jobs, self._held, self._job_s = jobs, held, job_s
        self._done = threading.Event()
        self._began = self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.cancel_asked = self.is_lost = self.is_broken = False

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self._began > self._job_s

    @property
    def is_over(self) -> bool:
        return self.cancel_asked or self.is_lost or self.is_broken or self.is_late

    def __enter__(self) -> _Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def say(self, stage: str, done: int, total: int, eta_s: float | None) -> None:
        """Note how far the job is; a database that is away for a moment does not matter."""
        self._ask(lambda: self._jobs.progress(self._held, stage, done, total, eta_s))

    def _beat(self) -> None:
        try:
            while not self._done.wait(self._jobs.lease_s / 4):
                if self.is_late:
                    return
                self._ask(lambda: self._jobs.renew(self._held))
        except BaseException:
            # Nobody foresaw it, and nobody renews the lease any more: the attempt is to end.
            log.exception("a lease is no longer renewed", job=self._held.job.id)
            self.is_broken = True

    def _ask(self, call: Callable[[], bool]) -> None:
        try:
            self.cancel_asked = call() or self.cancel_asked
            self._heard = time.monotonic()
        except LeaseLost:
            self.is_lost = not self._done.is_set() or self.is_lost
        except BackendUnavailable as error:
            log.warning("the lease could not be renewed", error=error.message)


def _result(
    held: Claimed, results: Sequence[GenerationResult], stages: dict[str, float], pass_of: int
) -> dict[str, Any]:
    shared = results_json(tuple(results))
    outputs = [
        {
            "output": result.record.output,
            "seed": str(result.record.seed),
            "file": Path(result.files[0]).name,
            "files": dict(result.record.files),
            "pcm_sha256": result.record.pcm_sha256,
            "duration_s": result.audio.duration_s,
            "sample_rate": result.audio.sample_rate,
            "channels": result.audio.channels,
            "quality": quality(result.audio),
            "enforced_met": result.enforced_met,
            "unmet": list(result.unmet),
        }
        for result in results
    ]
    document = {
        **shared,
        "seed": str(shared["seed"]),
        "files": [one["file"] for one in outputs],
        "outputs": outputs,
        "unmet": [
            {"take": i + 1, "output": result.record.output, **promise}
            for i, result in enumerate(results)
            for promise in result.unmet
        ],
        "attempt": held.token,
        "plan": plan_to_json(results[0].plan),
        "pass_of": pass_of,
        "stages_s": {name: round(spent, 4) for name, spent in stages.items()},
    }
    cleaned: dict[str, Any] = finite(document)
    return cleaned


class Worker:
    """Runs jobs one after the other, those that share a pass of the model at once.

    Args:
        stop: set it to end: running jobs go back to the queue.
        takes: that share a pass at most; 1 runs every job alone.
    """

    def __init__(
        self, runner: Runner, jobs: SqlJobs, stop: threading.Event, takes: int = 1
    ) -> None:
        self._runner, self._jobs, self._stop, self._takes = runner, jobs, stop, takes
        self._wanted = threading.Event()
        self.busy = False

    def work(self) -> None:
        """Work until told to stop; a database that is away is waited for."""
        while not self._stop.is_set():
            try:
                held = self.claim()
            except BackendError as error:
                log.warning("no job can be claimed", error=error.message)
                self._stop.wait(1.0)
                continue
            if not held:
                self._wanted.wait(IDLE_S)
                self._wanted.clear()
                continue
            self.busy = True
            try:
                self._runner.run_together(held)
            finally:
                self.busy = False

    def claim(self) -> tuple[Claimed, ...]:
        """The next job, and those that go with it; empty: nothing waits.

        Raises:
            BackendError: the database is away.
        """
        shares = self._takes > 1 and self._runner.can_share()
        first = self._jobs.claim()
        if first is None:
            return ()
        if not shares:
            return (first,)
        pick = partial(companions, first.job, takes=self._takes)
        try:
            return (first, *self._jobs.claim_with(first, pick, rounds=self._takes))
        except BackendError as error:
            log.warning("no job can be taken along", error=error.message)
            return (first,)

    def wake(self) -> None:
        """A job was accepted in this process: do not wait for the next look."""
        self._wanted.set()

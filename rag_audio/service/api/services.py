"""The parts that all routes share (home, queue, keys, threads), made when the server starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from rag_audio.domain.ports import ModelInfo
from rag_audio.errors import BackendError, InvalidInput, RagAudioError
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.pipeline.retention import masters_kept
from rag_audio.pipeline.workspace import Workspace
from rag_audio.service.api.audit_log import WINDOW_S, AuditLog
from rag_audio.service.api.indexing import Indexing
from rag_audio.service.api.rate_limits import Slots
from rag_audio.service.api.webhooks import CALLERS, Calls, Lookups
from rag_audio.service.api_access import Caller, SqlAccess
from rag_audio.service.batching import takes_of_device
from rag_audio.service.decoded_uploads import shielded
from rag_audio.service.fair_queueing import Turns
from rag_audio.service.folders import Folders, Quota, SqlUploads, Tidying, Upload
from rag_audio.service.pruning import DAY_S, Ages, Pruning
from rag_audio.service.queue import SqlIdempotency, SqlJobs
from rag_audio.service.retention import outputs_in_use
from rag_audio.service.runner import Runner, Worker
from rag_audio.service.settings import ServeSettings
from rag_audio.service.tables import SqlOwners
from rag_audio.service.visibility import Visibility
from rag_audio.service.webhook_secrets import WebhookSecrets
from rag_audio.service.wording import Places
from rag_audio.storage.files import LineLog
from rag_audio.storage.index_socket import IndexHost
from rag_audio.storage.shared_index import SharedIndex

TIDY_S = 600.0
OUTPUTS_S = 6 * 3600.0
"""The folders of all jobs are looked through this often."""
MODEL_AGAIN_S = 30.0
"""A model that could not be loaded is tried again after so long."""
WAITS_S = (1.0, 5.0, 15.0, 60.0)
"""Before a thread that failed is started again; the last one from then on."""
STEADY_S = 300.0
"""A thread that worked for so long begins with the first wait again."""

log = structlog.get_logger("rag_audio.api")


@dataclass
class _Supervised:
    """A thread and how it fares."""

    thread: threading.Thread
    restarts: int = 0
    is_working: bool = True
    is_waited_for: bool = True


class Threads:
    """Starts threads, keeps them going, and says which of them do not work.

    Args:
        stop: set it to end; what is started must heed it.
        waits_s, steady_s: see :data:`WAITS_S`, :data:`STEADY_S`.
    """

    def __init__(
        self,
        stop: threading.Event,
        waits_s: Sequence[float] = WAITS_S,
        steady_s: float = STEADY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._stop, self._waits_s, self._steady_s = stop, tuple(waits_s), steady_s
        self._kept: dict[str, _Supervised] = {}
        self._passing: list[threading.Thread] = []
        self._lock = threading.Lock()

    def keep(self, work: Callable[[], None], name: str, *, is_waited_for: bool = True) -> None:
        """Work until the service stops: when it fails, or returns before, it is started again.

        Args:
            name: operators read it; a number is added where another thread has it.
            is_waited_for: :meth:`join` waits for it.
        """
        with self._lock:
            names = (name, *(f"{name}-{n}" for n in range(2, len(self._kept) + 3)))
            free = next(one for one in names if one not in self._kept)
            thread = threading.Thread(target=self._work, args=(work, free), name=free, daemon=True)
            self._kept[free] = _Supervised(thread, is_waited_for=is_waited_for)
        thread.start()

    def run(self, work: Callable[[], None], name: str) -> None:
        """Work once, in a thread that is waited for when the service ends."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._lock:
            self._passing = [one for one in self._passing if one.is_alive()]
            self._passing.append(thread)
            thread.start()

    def dead(self) -> tuple[str, ...]:
        """Names of the kept threads that do not work at this moment; none while it stops."""
        if self._stop.is_set():
            return ()
        with self._lock:
            return tuple(
                name
                for name, one in self._kept.items()
                if not (one.is_working and one.thread.is_alive())
            )

    def restarts(self) -> dict[str, int]:
        """How often each kept thread was started again."""
        with self._lock:
            return {name: one.restarts for name, one in self._kept.items()}

    def join(self, seconds: float) -> None:
        """Wait for each thread, so long at most."""
        with self._lock:
            kept = [one.thread for one in self._kept.values() if one.is_waited_for]
            threads = [*kept, *self._passing]
        for thread in threads:
            thread.join(seconds)

    def _work(self, work: Callable[[], None], name: str) -> None:
        state, failures = self._kept[name], 0
        while True:
            began = self._clock()
            try:
                work()
                if not self._stop.is_set():
                    log.error("a thread ended before its time", thread=name)
            except BaseException:
                # What nobody foresaw must not end a part of the service for good. Nor does a
                # SystemExit: in a thread it ends no process, and nobody would hear of it.
                log.exception("a thread failed", thread=name)
            state.is_working = False
            failures = 1 if self._clock() - began >= self._steady_s else failures + 1
            wait_s = self._waits_s[min(failures, len(self._waits_s)) - 1]
            if self._stop.wait(wait_s):
                return
            with self._lock:
                state.restarts += 1
            state.is_working = True
            log.warning("a thread is started again", thread=name, restarts=state.restarts)


class Service:
    """A workspace, the queue, and who may use them.

    Args:
        bound: names by which the server was bound, for the check of ``Host``.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: ServeSettings,
        bound: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        self.workspace, self.settings, self.bound = workspace, settings, bound
        self._worker_count = workers
        self.home = home = workspace.home
        database = home.database
        self.jobs = SqlJobs(
            database,
            settings.queue,
            settings.queue_per_key,
            settings.lease_s,
            settings.attempts,
        )
        self.access = SqlAccess(database)
        self.idempotency = SqlIdempotency(database)
        self.uploads = SqlUploads(database)
        self.owners = SqlOwners(database)
        self.webhook_secrets = WebhookSecrets(database, home.keys)
        self.webhook_hosts = settings.listed_webhooks()
        self.lookups = Lookups(self.webhook_hosts)
        self._home_secret = self.webhook_secrets.of_home() if settings.webhook_home_secret else None
        self.places = Places(home, [settings.libraries] if settings.libraries else [])
        self.folders = Folders(home.folder, home.files)
        kept_s = settings.upload_hours * 3600.0
        self.tidying = Tidying(self.folders, self.uploads, self.jobs, kept_s)
        self.pruning = Pruning(database, _ages(settings), self.folders.remove_delivered)
        self.upload_quota = Quota(
            settings.upload_mb << 20, settings.uploads_per_key, settings.uploads_total_mb << 20
        )
        audit_bytes = round(settings.audit_mb * 2**20)
        self.audit = AuditLog(LineLog(home.folder / "audit.log", audit_bytes, settings.audit_files))
        self.receiving = Slots(settings.uploads_at_once, settings.receiving)
        self.streams = Slots(settings.streams_per_key)
        self.waits = Slots(settings.streams_per_key)
        self.canonical = shielded(home, settings)
        self.indexing = Indexing(self.workspace, settings.libraries)
        self.traces = Turns(settings.traces)
        self._stop = threading.Event()
        self._loading, self._model_again = threading.Lock(), 0.0
        self._model: ModelInfo | BackendError = BackendError("the model was not loaded yet")
        self.threads = Threads(self._stop)
        self._workers: list[Worker] = []
        self._host: IndexHost | None = None

    def start(self) -> None:
        """Load everything, and begin to work; without a model, all but what needs one is served.

        Raises:
            RagAudioError: another part cannot be made.
        """
        self.home.make_all(generator=False)
        self.model()
        home, index = self.home, self.home.index
        if isinstance(index, SharedIndex) and index.keep():
            self._host = IndexHost(index, index.folder, home.folder)
            self._host.start(partial(self.threads.keep, is_waited_for=False))
        calls = Calls(
            home.database,
            self.jobs,
            self.webhook_secrets,
            self.webhook_hosts,
            self._stop,
            places=self.places,
            home_secret=self._home_secret,
        )
        for i in range(CALLERS):
            self.threads.keep(calls.work, f"webhooks-{i}")
        self.threads.keep(self._tidy, "tidying")
        self.threads.keep(self._write_counts, "auditing")
        runner = Runner(home, self.jobs, self._stop.is_set, self.settings.job_s)
        takes = takes_of_device(self.settings.batch, home.device)
        for i in range(self._worker_count):
            worker = Worker(runner, self.jobs, self._stop, takes)
            self._workers.append(worker)
            self.threads.keep(worker.work, f"worker-{i}")

    def _tidy(self) -> None:
        """Remove what nobody needs any more, at once and then now and then."""
        outputs_at = 0.0
        while not self.is_stopping:
            try:
                self.tidying.tidy()
                if time.monotonic() >= outputs_at:
                    self.pruning.prune(self._stop.is_set)
                    self.tidying.tidy_outputs()
                    self._remove_old_masters()
                    outputs_at = time.monotonic() + OUTPUTS_S
            except (RagAudioError, OSError) as error:
                log.warning("tidying failed; it is tried again", error=str(error))
            self._stop.wait(TIDY_S)

    def _remove_old_masters(self) -> None:
        if self.home.settings.masters_keep_days is None:
            return
        in_use = outputs_in_use(self.home.database)
        if in_use is None:
            log.warning("old masters stay: an edit waits that does not say what it begins with")
            return
        found = masters_kept(self.home, in_use, remove=True, stop_asked=self._stop.is_set)
        log.info("masters", kept=found.kept, removed=found.removed, in_use=found.in_use)

    def _write_counts(self) -> None:
        """Write down what the audit log only counted, after every window."""
        while not self._stop.wait(WINDOW_S / 4):
            self._flush_audit(at_once=False)

    def _flush_audit(self, at_once: bool) -> None:
        try:
            self.audit.flush(at_once)
        except BackendError as error:
            log.error("the audit log cannot be written", error=error.message)

    def begin_stop(self) -> None:
        """Accept nothing more, end streams, and give running jobs back to the queue."""
        self._stop.set()
        self.wake()

    def stop(self) -> None:
        """End, and give the parts of the home back."""
        self.begin_stop()
        self.threads.join(30.0)
        if self._host is not None:
            self._host.stop()
        self.canonical.decoders.close()
        self._flush_audit(at_once=True)
        self.workspace.close()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def wake(self) -> None:
        """A job was accepted."""
        for worker in self._workers:
            worker.wake()

    def pipeline(self, caller: Caller) -> Pipeline:
        """The main path as a caller may walk it."""
        told = self.visibility(caller).disclosure
        return Pipeline(self.home.limited_to(caller.libraries, disclosure=told))

    def visibility(self, caller: Caller) -> Visibility:
        """What a caller may see."""
        return Visibility(caller, self.home, self.owners, self.places)

    def upload_of(self, caller: Caller, id_: str) -> Upload:
        """A caller's upload; an InvalidInput where there is none, or it is somebody else's."""
        found = self.uploads.find(id_, caller.owner)
        if found is None:
            raise InvalidInput(f"there is no upload {id_}", hint="`POST /v1/uploads` makes one")
        return found

    def model(self) -> ModelInfo | BackendError:
        """The configured model, or why it cannot be loaded; asked again once in a while."""
        with self._loading:
            moment = time.monotonic()
            if isinstance(self._model, ModelInfo) or moment < self._model_again:
                return self._model
            try:
                self._model = self.home.generator(None).info
            except BackendError as error:
                log.error("the model cannot be loaded", error=error.message, hint=error.hint)
                self._model, self._model_again = error, moment + MODEL_AGAIN_S
            return self._model

    def is_ready(self) -> tuple[bool, dict[str, str]]:
        """Whether requests can be served, and the state of each part."""
        home = self.home
        state: dict[str, str] = {}
        for name, look in (
            ("database", lambda: self.jobs.counts()),
            ("index", lambda: home.index.count()),
            ("model", self.require_model),
        ):
            try:
                look()
                state[name] = "ok"
            except RagAudioError as error:
                state[name] = error.message
        dead = self.threads.dead()
        state["threads"] = f"not working: {', '.join(dead)}" if dead else "ok"
        well = all(value == "ok" for value in state.values()) and not self.is_stopping
        return well, state

    def require_model(self) -> ModelInfo:
        """The configured model.

        Raises:
            BackendError: it cannot be loaded; without one nothing can be made.
        """
        found = self.model()
        if isinstance(found, BackendError):
            raise found
        return found


def _ages(settings: ServeSettings) -> Ages:
    """After how long jobs and their progress go."""
    jobs_s = None if settings.job_days is None else settings.job_days * DAY_S
    return Ages(jobs_s, settings.event_days * DAY_S)

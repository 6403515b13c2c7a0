"""What the routes work with: one per process, made when the server starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from rag_audio.domain.ports import ModelInfo
from rag_audio.errors import BackendError, InvalidInput, RagAudioError
from rag_audio.home import Home
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.ledger.key_register import log_key
from rag_audio.service.access import ApiKey, Scope, SqlAccess
from rag_audio.service.api.audit_log import WINDOW_S, AuditLog
from rag_audio.service.api.indexing import Indexing
from rag_audio.service.api.limits import Slots
from rag_audio.service.api.webhook_delivery import Lookups
from rag_audio.service.api.webhooks import CALLERS, Calls
from rag_audio.service.batching import takes_of_device
from rag_audio.service.idempotency import SqlIdempotency
from rag_audio.service.models import Limits
from rag_audio.service.paths import Folders
from rag_audio.service.queue import SqlJobs
from rag_audio.service.runner import Runner
from rag_audio.service.settings import ServeSettings
from rag_audio.service.supervising import Threads
from rag_audio.service.tables import SqlOwners
from rag_audio.service.turns import Turns
from rag_audio.service.upkeep import Tidying
from rag_audio.service.upload_contents import CanonicalUploads, shielded
from rag_audio.service.upload_records import Quota, SqlUploads, Upload
from rag_audio.service.visibility import Visibility
from rag_audio.service.webhook_secrets import WebhookSecrets
from rag_audio.service.wording import Places
from rag_audio.service.worker import Worker
from rag_audio.storage.files import LineLog
from rag_audio.storage.index_socket import IndexHost
from rag_audio.storage.shared_index import SharedIndex

# What a serving process does beside answering: it tidies, and writes down what was counted.

TIDY_S = 600.0
OUTPUTS_S = 6 * 3600.0
"""The folders of all jobs are looked through this often."""

log = structlog.get_logger("rag_audio.api")


class Upkeep:
    """Works in threads of its own.

    Args:
        stop: set it to end.
    """

    def __init__(self, tidying: Tidying, audit: AuditLog, stop: threading.Event) -> None:
        self._tidying, self._audit, self._stop = tidying, audit, stop

    def tidy(self) -> None:
        """Remove what nobody needs any more, at once and then now and then."""
        outputs_at = 0.0
        while not self._stop.is_set():
            try:
                self._tidying.tidy()
                if time.monotonic() >= outputs_at:
                    self._tidying.tidy_outputs()
                    outputs_at = time.monotonic() + OUTPUTS_S
            except (RagAudioError, OSError) as error:
                log.warning("tidying failed; it is tried again", error=str(error))
            self._stop.wait(TIDY_S)

    def count(self) -> None:
        """Write down what the audit log only counted, after every window."""
        while not self._stop.wait(WINDOW_S / 4):
            self.flush(at_once=False)

    def flush(self, at_once: bool) -> None:
        """Write it down now, or if the window is over."""
        try:
            self._audit.flush(at_once)
        except BackendError as error:
            log.error("the audit log cannot be written", error=error.message)


MODEL_AGAIN_S = 30.0
"""A model that could not be loaded is tried again after so long."""


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        owner: id of the key; empty where no key is defined.
        libraries: that it may use; None: all.
    """

    owner: str
    name: str
    scopes: frozenset[Scope]
    libraries: tuple[str, ...] | None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """Whose jobs: those of an owner; None: of all."""
        return None if self.is_admin else self.owner


EVERYBODY = Caller("", "anybody", frozenset(Scope), None)
"""Where no key is defined."""


def caller_of(key: ApiKey) -> Caller:
    """The holder of a key."""
    return Caller(key.id, key.name, key.scopes, key.libraries)


@dataclass
class Service:
    """A workspace, the queue, and who may use them.

    Args:
        bound: names by which the server was bound, for the check of ``Host``.
    """

    workspace: Workspace
    settings: ServeSettings
    bound: Sequence[str] = ()
    workers: int = 1
    home: Home = field(init=False)
    jobs: SqlJobs = field(init=False)
    access: SqlAccess = field(init=False)
    idempotency: SqlIdempotency = field(init=False)
    uploads: SqlUploads = field(init=False)
    owners: SqlOwners = field(init=False)
    webhook_secrets: WebhookSecrets = field(init=False)
    webhook_hosts: frozenset[str] = field(init=False)
    lookups: Lookups = field(init=False)
    places: Places = field(init=False)
    folders: Folders = field(init=False)
    canonical: CanonicalUploads = field(init=False)
    indexing: Indexing = field(init=False)
    tidying: Tidying = field(init=False)
    upload_quota: Quota = field(init=False)
    audit: AuditLog = field(init=False)
    receiving: Slots = field(init=False)
    streams: Slots = field(init=False)
    waits: Slots = field(init=False)
    traces: Turns = field(init=False)

    def __post_init__(self) -> None:
        self.home = home = self.workspace.home
        settings = self.settings
        database = home.database
        limits = Limits(settings.queue, settings.queue_per_key)
        self.jobs = SqlJobs(database, limits, settings.lease_s, settings.attempts)
        self.access = SqlAccess(database, log_key)
        self.idempotency = SqlIdempotency(database)
        self.uploads = SqlUploads(database)
        self.owners = SqlOwners(database)
        self.webhook_secrets = WebhookSecrets(database, home.folder)
        self.webhook_hosts = settings.listed_webhooks()
        self.lookups = Lookups(self.webhook_hosts)
        self._home_secret = self.webhook_secrets.of_home() if settings.webhook_home_secret else None
        self.places = Places(home, [settings.libraries] if settings.libraries else [])
        self.folders = Folders(home.folder)
        kept_s = settings.upload_hours * 3600.0
        self.tidying = Tidying(self.folders, self.uploads, self.jobs, kept_s)
        self.upload_quota = Quota(
            settings.upload_mb << 20, settings.uploads_per_key, settings.uploads_total_mb << 20
        )
        audit_bytes = round(settings.audit_mb * 2**20)
        file = LineLog(home.folder / "audit.log", audit_bytes, settings.audit_files)
        self.audit = AuditLog(file)
        self.receiving = Slots(settings.uploads_at_once, settings.receiving)
        self.streams = Slots(settings.streams_per_key)
        self.waits = Slots(settings.streams_per_key)
        self.canonical = shielded(home, settings)
        self.indexing = Indexing(self.workspace, settings.libraries)
        self.traces = Turns(settings.traces)
        self._stop = threading.Event()
        self._upkeep = Upkeep(self.tidying, self.audit, self._stop)
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
        home = self.home
        index = home.index
        if isinstance(index, SharedIndex) and index.keep():
            self._host = IndexHost(index, home.folder / "index")
            self._host.start(partial(self.threads.keep, is_waited_for=False))
        calls = self._calls()
        for i in range(CALLERS):
            self.threads.keep(calls.work, f"webhooks-{i}")
        self.threads.keep(self._upkeep.tidy, "tidying")
        self.threads.keep(self._upkeep.count, "auditing")
        runner = Runner(self.home, self.jobs, self._stop.is_set, self.settings.job_s)
        takes = takes_of_device(self.settings.batch, home.device)
        for i in range(self.workers):
            worker = Worker(runner, self.jobs, self._stop, takes)
            self._workers.append(worker)
            self.threads.keep(worker.work, f"worker-{i}")

    def _calls(self) -> Calls:
        return Calls(
            self.home.database,
            self.jobs,
            self.webhook_secrets,
            self.webhook_hosts,
            self._stop,
            places=self.places,
            home_secret=self._home_secret,
        )

    def run(self, work: Callable[[], None], name: str) -> None:
        """Do something once, in a thread that is waited for when the service ends."""
        self.threads.run(work, name)

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
        self._upkeep.flush(at_once=True)
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
        """A caller's upload.

        Raises:
            InvalidInput: there is none under this id, or it is somebody else's.
        """
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

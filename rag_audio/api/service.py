"""What the routes work with: one per process, made when the server starts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from rag_audio.bootstrap import Workspace
from rag_audio.errors import InvalidInput, RagAudioError
from rag_audio.jobs import Limits, SqlJobs
from rag_audio.jobs.access import ApiKey, Scope, SqlAccess
from rag_audio.jobs.idempotency import SqlIdempotency
from rag_audio.jobs.uploads import SqlUploads
from rag_audio.pipeline import Pipeline
from rag_audio.service.files import Folders
from rag_audio.service.runner import Runner
from rag_audio.service.scoped import scoped
from rag_audio.service.settings import ServeSettings
from rag_audio.service.sharing import share
from rag_audio.service.worker import Worker


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
    jobs: SqlJobs = field(init=False)
    access: SqlAccess = field(init=False)
    idempotency: SqlIdempotency = field(init=False)
    uploads: SqlUploads = field(init=False)
    folders: Folders = field(init=False)
    traces: threading.BoundedSemaphore = field(init=False)

    def __post_init__(self) -> None:
        parts, settings = self.workspace.parts, self.settings
        database = parts.database
        limits = Limits(settings.queue, settings.queue_per_key)
        self.jobs = SqlJobs(database, limits, settings.lease_s, settings.attempts)
        self.access = SqlAccess(database)
        self.idempotency = SqlIdempotency(database)
        self.uploads = SqlUploads(database)
        self.folders = Folders(parts.home)
        self.traces = threading.BoundedSemaphore(settings.traces)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._workers: list[Worker] = []

    def start(self) -> None:
        """Load everything, and begin to work.

        Raises:
            RagAudioError: a part cannot be made.
        """
        share(self.workspace)
        runner = Runner(self.workspace, self.jobs, self._stop.is_set, self.settings.job_s)
        for i in range(self.workers):
            worker = Worker(runner, self.jobs, self._stop)
            thread = threading.Thread(target=worker.work, name=f"worker-{i}", daemon=True)
            self._workers.append(worker)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Give running jobs back to the queue, and the parts of the home back."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            thread.join(30.0)
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
        if caller.libraries is None:
            return self.workspace.pipeline
        return Pipeline(scoped(self.workspace.parts, caller.libraries))

    def upload_of(self, caller: Caller, id_: str) -> str:
        """The path of a caller's upload.

        Raises:
            InvalidInput: there is none under this id, or it is somebody else's.
        """
        found = self.uploads.find(id_, caller.owner)
        if found is None:
            raise InvalidInput(f"there is no upload {id_}", hint="POST /v1/uploads makes one")
        return str(self.folders.of_upload(found.id, found.suffix))

    def is_ready(self) -> tuple[bool, dict[str, str]]:
        """Whether requests can be served, and the state of each part."""
        parts = self.workspace.parts
        state: dict[str, str] = {}
        for name, look in (
            ("database", lambda: self.jobs.counts()),
            ("index", lambda: parts.index.count()),
            ("model", lambda: parts.generator(None).info),
        ):
            try:
                look()
                state[name] = "ok"
            except RagAudioError as error:
                state[name] = error.message
        well = all(value == "ok" for value in state.values()) and not self.is_stopping
        return well, state

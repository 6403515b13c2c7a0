"""The files that the service keeps in a home: names, owners, quotas, and their removal.

Files are named by ids of our own making. What nobody needs any more is removed at the start and now
and then: only files with such names, only old ones, no links, and none that a request is being
answered from or a job that has not ended was given.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection, delete, exists, func, insert, select

from rag_audio.domain.signing import sidecar_of
from rag_audio.errors import InvalidInput, RagAudioError
from rag_audio.service.jobs import Job, JobState
from rag_audio.service.queue import SqlJobs
from rag_audio.service.tables import jobs, now, uploads
from rag_audio.storage.blobs import BlobMissing, BlobStore, every
from rag_audio.storage.database import reading, writing
from rag_audio.storage.files import PRIVATE, atomic_write
from rag_audio.storage.locks import lock_if_free
from rag_audio.storage.migrations import SqlStore

FRESH_S = 10.0
"""A draft is locked this soon after it is made."""
MARGIN_S = 3600.0
"""Clocks of machines that share a home differ by less; drafts are made in less."""

_ID = re.compile("[0-9a-f]{32}")
_UPLOAD = re.compile(r"([0-9a-f]{32})\.[a-z0-9]+")
_DRAFT = re.compile(r"\.[0-9a-f]{32}\.part(\.[a-z0-9]+)?")
_UPLOAD_OR_DRAFT = re.compile(r"\.?([0-9a-f]{32})(?:\.part)?(?:\.[a-z0-9]+)?")
_DECODED = re.compile(r"\.?([0-9a-f]{32})\..+")
_OTHER_FORMAT = re.compile(r".+\.(as|copy)\.[a-z0-9]+(\.c2pa)?")
_PREVIEW = re.compile(r"[0-9a-f]{64}\.mp3")
_HIDDEN = re.compile(r"\..+")
_ANY = re.compile(r"[^.].*")

log = structlog.get_logger("rag_audio.api")


class Folders:
    """Outputs and uploads of a service.

    Where its store of files is no folder, these are copies of what is there, each under the name
    that a folder would have it by; they are made when they are needed, and go by their age.

    Args:
        home: the folder of a home. files: its store; None: the home itself.
    """

    def __init__(self, home: Path, files: BlobStore | None = None) -> None:
        own = home if files is None else files.folder
        self.remote = files if own is None else None
        self._base = own or home
        self.outputs, self.uploads = self._base / "outputs", self._base / "uploads"
        self.previews, self.decoded = home / "previews", home / "decoded"

    def key_of(self, file: Path) -> str:
        """The key of a file in the store."""
        return file.relative_to(self._base).as_posix()

    def here(self, file: Path) -> Path:
        """An output or an upload, fetched if it is in the store and not here.

        Raises:
            BackendUnavailable: the store is away.
        """
        if self.remote is not None and not file.is_file():
            with suppress(BlobMissing), self.remote.open(self.key_of(file)) as blob:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with atomic_write(file, PRIVATE) as draft, draft.open("wb") as copy:
                    shutil.copyfileobj(blob, copy, 1 << 20)
        return file

    def here_with_manifest(self, file: Path) -> Path:
        """As :meth:`here`, of an output, and of the manifest beside it."""
        self.here(sidecar_of(file))
        return self.here(file)

    def is_there(self, file: Path) -> bool:
        """Whether an output is here or in the store. Raises as :meth:`here`."""
        return (file.is_file() and not file.is_symlink()) or self.is_copy(file)

    def is_copy(self, file: Path) -> bool:
        """Whether a file here is in the store too, which is elsewhere. Raises as :meth:`here`."""
        return self.remote is not None and self.remote.stat(self.key_of(file)) is not None

    def store(self, *files: Path) -> None:
        """Put files into the store, where they are not there by being here.

        Raises:
            BackendUnavailable: the store is away.
        """
        if self.remote is not None:
            for file in files:
                self.remote.put(self.key_of(file), file)

    def unstore(self, *files: Path) -> None:
        """Take files out of the store. Raises as :meth:`store`."""
        if self.remote is not None:
            for file in files:
                self.remote.delete(self.key_of(file))

    def of_attempt(self, job: str, token: str) -> Path:
        """Where one attempt at a job puts its files."""
        return self.outputs / _checked(job) / _checked(token)

    def of_result(self, job: Job) -> Path | None:
        """Where the files of a job are that succeeded."""
        if job.result is None:
            return None
        return self.of_attempt(job.id, str(job.result["attempt"]))

    def store_attempt(self, job: str, token: str) -> None:
        """Put what an attempt made into the store. Raises as :meth:`store`."""
        made = _entries(self.of_attempt(job, token))
        self.store(*(file for file in made if not _HIDDEN.fullmatch(file.name)))

    def find_take(self, job: Job, take: int) -> Path | None:
        """The file of a take, from 1, of a job that succeeded; None: there is none.

        Raises:
            BackendUnavailable: the store is away.
        """
        folder, outputs = self.of_result(job), (job.result or {}).get("outputs", ())
        if folder is None or not 1 <= take <= len(outputs):
            return None
        return self.here_with_manifest(folder / str(outputs[take - 1]["file"]))

    def remove_attempts(self, job: Job) -> None:
        """Remove what attempts at a job left that did not finish it.

        Raises:
            BackendUnavailable: the store is away.
        """
        if "result" in job.unreadable:
            return  # nobody knows which attempt it was
        kept = None if job.result is None else str(job.result["attempt"])
        folder = self.outputs / _checked(job.id)
        for attempt in folder.iterdir() if folder.is_dir() else ():
            if attempt.name != kept:
                shutil.rmtree(attempt, ignore_errors=True)
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
        if self.remote is not None:
            mine = None if kept is None else f"outputs/{job.id}/{kept}/"
            for blob in every(self.remote, f"outputs/{_checked(job.id)}/"):
                if mine is None or not blob.key.startswith(mine):
                    self.remote.delete(blob.key)

    def remove_attempt(self, job: str, token: str) -> None:
        """Remove what one attempt made. Raises as :meth:`remove_attempts`."""
        self._remove_all_of(self.of_attempt(job, token))

    def remove_delivered(self, job: str) -> None:
        """Remove all files that a job delivered. Raises as :meth:`remove_attempts`."""
        self._remove_all_of(self.outputs / _checked(job))

    def _remove_all_of(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if self.remote is not None:
            for blob in every(self.remote, f"{self.key_of(folder)}/"):
                self.remote.delete(blob.key)

    def of_upload(self, id_: str, suffix: str) -> Path:
        """The file of an upload."""
        return self.uploads / f"{_checked(id_)}{suffix}"

    def of_draft(self, id_: str, suffix: str) -> Path:
        """An upload's file while it comes in; whoever writes it holds a lock on it."""
        return self.uploads / f".{_checked(id_)}.part{suffix}"

    def upload_in(self, path: Path) -> str | None:
        """The id of the upload, or of its draft, that a file is; None: it is neither."""
        found = _UPLOAD_OR_DRAFT.fullmatch(path.name)
        return found[1] if found and path.parent == self.uploads else None

    def find_upload(self, id_: str) -> Path:
        """The file of an upload, whatever its kind.

        Raises:
            InvalidInput: there is none (any more). BackendUnavailable: the store is away.
        """
        found = sorted(self.uploads.glob(f"{_checked(id_)}.*")) if self.uploads.is_dir() else []
        if not found and self.remote is not None:
            blobs = self.remote.page(f"uploads/{id_}.", limit=1)
            found = [self.here(self._base / blob.key) for blob in blobs]
        if not found:
            raise InvalidInput(f"there is no upload {id_}", hint="upload it again")
        return found[0]


def _checked(id_: str) -> str:
    if _ID.fullmatch(id_) is None:
        raise InvalidInput(f"{id_!r} is not an id")
    return id_


@dataclass(frozen=True)
class Upload:
    """A file that somebody brought.

    Attributes:
        kind: ``audio`` or ``midi``. suffix: of its file. sha256: of its bytes.
        at: seconds since 1970.
    """

    id: str
    owner: str
    kind: str
    suffix: str
    sha256: str
    size: int
    duration_s: float
    at: float = 0.0


@dataclass(frozen=True)
class Quota:
    """What is kept at most: bytes and count of one owner's uploads, bytes of all."""

    bytes: int
    count: int
    total_bytes: int


class UploadsFull(RagAudioError):
    """No more uploads are kept. is_yours: the owner's own are too many, and not those of all."""

    exit_code = 4

    def __init__(self, message: str, is_yours: bool) -> None:
        super().__init__(message, hint="older uploads go by themselves; try again later")
        self.is_yours = is_yours


class SqlUploads(SqlStore):
    """Keeps what was uploaded: by whom, which file, since when."""

    def put(self, upload: Upload, quota: Quota | None = None) -> None:
        """Keep a new upload.

        Raises:
            UploadsFull: with it there would be more than the quota; it is not kept.
        """
        values = {name: value for name, value in vars(upload).items() if name != "at"}
        with writing(self._engine, "uploads") as db:
            if quota is not None:
                _require_room(db, upload.owner, upload.size, quota)
            db.execute(insert(uploads).values(**values, at=now(db)))

    def require_room(self, owner: str, size: int, quota: Quota) -> None:
        """Raise as :meth:`put` would for an upload of so many bytes, as things stand."""
        with reading(self._engine) as db:
            _require_room(db, owner, size, quota)

    def find(self, id_: str, owner: str) -> Upload | None:
        """An upload of an owner; somebody else's is not there."""
        wanted = select(uploads).where(uploads.c.id == id_, uploads.c.owner == owner)
        with reading(self._engine) as db:
            row = db.execute(wanted).first()
        return None if row is None else Upload(**row._mapping)

    def remove_older(self, seconds: float) -> list[Upload]:
        """Forget uploads of before, save those that a job needs which has not ended; their files
        are the caller's to remove.
        """
        unfinished = jobs.c.state.in_((JobState.QUEUED.value, JobState.RUNNING.value))
        needed = exists().where(unfinished, jobs.c.request.contains(uploads.c.id))
        with writing(self._engine) as db:
            old = uploads.c.at < now(db) - seconds
            gone = delete(uploads).where(old, ~needed).returning(*uploads.c)
            return [Upload(**row._mapping) for row in db.execute(gone)]

    def ids(self) -> set[str]:
        """Of all uploads that are kept."""
        with reading(self._engine) as db:
            return set(db.execute(select(uploads.c.id)).scalars())


def _require_room(db: Connection, owner: str, size: int, quota: Quota) -> None:
    total = select(func.coalesce(func.sum(uploads.c.size), 0), func.count())
    kept, count = db.execute(total.where(uploads.c.owner == owner)).one()
    kept = int(kept)  # PostgreSQL sums into a decimal.
    if kept + size > quota.bytes:
        raise UploadsFull(
            f"{kept >> 20} MiB of yours are kept, and {quota.bytes >> 20} may be", is_yours=True
        )
    if count >= quota.count:
        raise UploadsFull(f"{count} uploads of yours are kept, as many as may be", is_yours=True)
    if db.execute(total).one()[0] + size > quota.total_bytes:
        raise UploadsFull("this service keeps as many uploads as it may", is_yours=False)


class Tidying:
    """Tidies the folders of a home.

    Args:
        kept_s: uploads go after so long, and what can be made anew after so long without use.
    """

    def __init__(self, folders: Folders, uploads: SqlUploads, jobs: SqlJobs, kept_s: float) -> None:
        self._folders, self._uploads, self._jobs, self._kept_s = folders, uploads, jobs, kept_s

    def tidy(self) -> int:
        """Remove what is too old; how many files went.

        Raises:
            BackendUnavailable: the database is away; what it knows nothing of was left alone.
        """
        folders = self._folders
        removed = self._drop_uploads()
        drafts = _aged(folders.uploads, _DRAFT, FRESH_S)
        removed += sum(_remove_unheld(draft) for draft in drafts)
        removed += self._drop_orphans() + self._drop_decoded()
        removed += _remove_all(_aged(folders.decoded, _DECODED, self._kept_s))
        removed += _remove_all(_aged(folders.previews, _PREVIEW, self._kept_s))
        removed += _remove_all(_aged(folders.previews, _HIDDEN, MARGIN_S))
        if removed:
            log.info("tidied", files=removed)
        return removed

    def tidy_outputs(self) -> None:
        """Remove what attempts left that came to nothing, and other formats nobody asked for.

        Takes as long as there are many outputs. Raises as :meth:`tidy`.
        """
        for folder in _entries(self._folders.outputs):
            if _ID.fullmatch(folder.name) is None or not _is_folder(folder):
                continue
            job = self._jobs.find(folder.name)
            if job is None or not job.state.is_final:
                continue
            if (job.finished_at or 0.0) < time.time() - MARGIN_S:
                self._folders.remove_attempts(job)
            kept = self._folders.of_result(job)
            if kept is not None and _is_folder(kept):
                _remove_all(_aged(kept, _OTHER_FORMAT, self._kept_s))
                _remove_all(filter(self._folders.is_copy, _aged(kept, _ANY, self._kept_s)))
                _remove_all(_aged(kept, _HIDDEN, MARGIN_S))

    def _drop_uploads(self) -> int:
        old = self._uploads.remove_older(self._kept_s)
        for one in old:
            file = self._folders.of_upload(one.id, one.suffix)
            file.unlink(missing_ok=True)
            self._folders.unstore(file)
        return len(old)

    def _drop_orphans(self) -> int:
        """Files of uploads that the database does not know: a process died between the two."""
        old = list(_aged(self._folders.uploads, _UPLOAD, self._kept_s + MARGIN_S))
        remote, since = self._folders.remote, time.time() - self._kept_s - MARGIN_S
        stored = [] if remote is None else list(every(remote, "uploads/"))
        aged = [one.key for one in stored if one.modified < since]
        known = self._uploads.ids() if old or aged else set()
        for key in aged:
            if remote is not None and key.removeprefix("uploads/")[:32] not in known:
                remote.delete(key)
        return _remove_all(file for file in old if file.name[:32] not in known)

    def _drop_decoded(self) -> int:
        """What was made of files that came in and are gone: it is as private as they were."""
        old = list(_aged(self._folders.decoded, _DECODED, FRESH_S))
        # Twice, since a draft becomes an upload by getting another name.
        known = {
            self._folders.upload_in(file)
            for _ in range(2 if old else 0)
            for file in _entries(self._folders.uploads)
        }
        return _remove_all(file for file in old if file.name.lstrip(".")[:32] not in known)


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir() and not folder.is_symlink():
        with os.scandir(folder) as found:
            for one in found:
                yield folder / one.name


def _aged(folder: Path, names: re.Pattern[str], seconds: float) -> Iterator[Path]:
    """Plain files with such names that were not changed or used for so long."""
    for file in _entries(folder):
        if names.fullmatch(file.name):
            with suppress(FileNotFoundError):
                found = file.lstat()
                if stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > seconds:
                    yield file


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_all(files: Iterable[Path]) -> int:
    """Remove files; how many of them were there and may be removed."""
    removed = 0
    for file in files:
        try:
            file.unlink()
            removed += 1
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("a file cannot be removed", file=str(file), error=str(error))
    return removed


def _remove_unheld(draft: Path) -> int:
    """Remove a draft that nobody holds a lock on: who wrote it has ended, however it did."""
    with lock_if_free(draft) as is_free:
        return _remove_all([draft]) if is_free else 0

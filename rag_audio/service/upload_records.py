"""What was uploaded: by whom, which file, until when."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, insert, select

from rag_audio.errors import RagAudioError
from rag_audio.service.models import JobState
from rag_audio.service.tables import jobs, now, uploads
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import SqlStore


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
    """What is kept at most.

    Attributes:
        bytes, count: of one owner. total_bytes: of all.
    """

    bytes: int
    count: int
    total_bytes: int


class UploadsFull(RagAudioError):
    """No more uploads are kept.

    Args:
        is_yours: the owner's own are too many, and not those of all.
    """

    exit_code = 4

    def __init__(self, message: str, is_yours: bool) -> None:
        super().__init__(message, hint="older uploads go by themselves; try again later")
        self.is_yours = is_yours


class SqlUploads(SqlStore):
    """Keeps uploads."""

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
            rows = db.execute(gone).all()
        return [Upload(**row._mapping) for row in rows]

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

"""What was uploaded: by whom, which file, until when."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, delete, func, insert, select

from rag_audio.database import reading, writing
from rag_audio.jobs.tables import now, uploads
from rag_audio.migrations import migrate


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


class SqlUploads:
    """Keeps uploads.

    Args:
        engine: the ledger's own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        migrate(engine)

    def put(self, upload: Upload) -> None:
        """Keep a new upload."""
        values = {name: value for name, value in vars(upload).items() if name != "at"}
        with writing(self._engine) as db:
            db.execute(insert(uploads).values(**values, at=now(db)))

    def find(self, id_: str, owner: str) -> Upload | None:
        """An upload of an owner; somebody else's is not there."""
        wanted = select(uploads).where(uploads.c.id == id_, uploads.c.owner == owner)
        with reading(self._engine) as db:
            row = db.execute(wanted).first()
        return None if row is None else Upload(**row._mapping)

    def bytes_of(self, owner: str) -> int:
        """How much an owner has."""
        size = select(func.coalesce(func.sum(uploads.c.size), 0)).where(uploads.c.owner == owner)
        with reading(self._engine) as db:
            return int(db.execute(size).scalar_one())

    def remove_older(self, seconds: float) -> list[Upload]:
        """Forget uploads of before; their files are the caller's to remove."""
        with writing(self._engine) as db:
            old = uploads.c.at < now(db) - seconds
            rows = db.execute(delete(uploads).where(old).returning(*uploads.c)).all()
        return [Upload(**row._mapping) for row in rows]

"""Idempotency keys: a request that is sent twice is accepted once.

After the IETF's draft "The Idempotency-Key HTTP Header Field": the same key with another body is
refused, and so is the same key while the first request is being answered.
"""

from __future__ import annotations

from hashlib import sha256

from sqlalchemy import delete, insert, select

from rag_audio.errors import RagAudioError
from rag_audio.service.tables import idempotency, now
from rag_audio.storage.database import writing
from rag_audio.storage.migrations import SqlStore

KEPT_S = 24 * 3600.0
"""After this a key may be used anew."""
ANSWERED_S = 60.0
"""A first request that is not answered after this died on the way."""


class KeyReused(RagAudioError):
    """The key belongs to a request with another body."""

    exit_code = 2


class KeyInFlight(RagAudioError):
    """The first request with the key is still being answered."""

    exit_code = 2


class SqlIdempotency(SqlStore):
    """Keeps which job a key stands for."""

    def begin(self, owner: str, key: str, body: bytes) -> str | None:
        """Take a key for a request.

        Returns:
            The job that was accepted for it before; None: the caller is the first, and gives the
            key to :meth:`rag_audio.service.queue.SqlJobs.accept` or calls :meth:`refused`.

        Raises:
            KeyReused, KeyInFlight: see there.
        """
        digest = sha256(body).hexdigest()
        mine = (idempotency.c.owner == owner, idempotency.c.key == key)
        with writing(self._engine, "idempotency") as db:
            moment = now(db)
            db.execute(delete(idempotency).where(idempotency.c.at < moment - KEPT_S))
            died = (idempotency.c.job.is_(None), idempotency.c.at < moment - ANSWERED_S)
            db.execute(delete(idempotency).where(*mine, *died))
            row = db.execute(select(idempotency).where(*mine)).first()
            if row is None:
                values = {"owner": owner, "key": key, "body_sha256": digest, "at": moment}
                db.execute(insert(idempotency).values(**values))
                return None
        if row.body_sha256 != digest:
            raise KeyReused(
                "this Idempotency-Key was used for another request",
                hint="make a new key for every request",
            )
        if row.job is None:
            raise KeyInFlight(
                "the first request with this Idempotency-Key is still being answered",
                hint="try again in a second",
            )
        return str(row.job)

    def refused(self, owner: str, key: str) -> None:
        """The request was not accepted: the key may be used again."""
        with writing(self._engine) as db:
            db.execute(
                delete(idempotency).where(
                    idempotency.c.owner == owner,
                    idempotency.c.key == key,
                    idempotency.c.job.is_(None),
                )
            )

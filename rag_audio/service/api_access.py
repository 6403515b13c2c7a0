"""API keys and the page's sessions. A key is 256 random bits; only its hash is kept."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, or_, select, update

from rag_audio.errors import InvalidInput
from rag_audio.provenance.ledger.key_register import log_key
from rag_audio.service.tables import api_keys, api_sessions, now
from rag_audio.storage.database import reading, writing
from rag_audio.storage.migrations import SqlStore

_KEY = re.compile(r"ra_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Scope(StrEnum):
    """What a key may do; ``admin`` may do everything."""

    GENERATE = "generate"
    SEARCH = "search"
    TRACE = "trace"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret; times are seconds since 1970; libraries: as of :class:`Caller`."""

    id: str
    name: str
    scopes: frozenset[Scope]
    libraries: tuple[str, ...] | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def to_json(self) -> dict[str, Any]:
        """One row of ``keys api --json``."""
        return {
            **vars(self),
            "scopes": sorted(scope.value for scope in self.scopes),
            "libraries": None if self.libraries is None else list(self.libraries),
        }


@dataclass(frozen=True)
class Caller:
    """Who asks, or whom a job is done for.

    Attributes:
        owner: id of the key; empty where no key is defined.
        libraries: that it may use; None: all.
    """

    owner: str
    name: str
    scopes: frozenset[Scope]
    libraries: tuple[str, ...] | None

    @classmethod
    def of(cls, key: ApiKey) -> Caller:
        """The holder of a key."""
        return cls(key.id, key.name, key.scopes, key.libraries)

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


class SqlAccess(SqlStore):
    """Keeps keys and sessions; the ledger tells of every key that was made or revoked."""

    def make(
        self,
        name: str,
        scopes: Sequence[Scope],
        libraries: Sequence[str] | None = None,
        expires_in_s: float | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which nobody can be told again.

        Raises:
            InvalidInput: it has no name or no scope, or would end before it begins.
        """
        if not name.strip() or len(name) > 100:
            raise InvalidInput(f"{name!r} is not a name for a key", hint="1 to 100 characters")
        if not scopes:
            raise InvalidInput("a key without a scope can do nothing")
        if expires_in_s is not None and expires_in_s <= 0:
            raise InvalidInput("the key would have expired already")
        id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        with writing(self._engine) as db:
            moment = now(db)
            db.execute(
                insert(api_keys).values(
                    id=id_,
                    name=name.strip(),
                    hash=_hash(secret),
                    scopes=json.dumps(sorted(scope.value for scope in scopes)),
                    libraries=json.dumps(None if libraries is None else list(libraries)),
                    created_at=moment,
                    expires_at=None if expires_in_s is None else moment + expires_in_s,
                )
            )
            row = db.execute(select(api_keys).where(api_keys.c.id == id_)).one()
            log_key(db, row._asdict())
        return _key(row), f"ra_{id_}_{secret}"

    def keys(self) -> list[ApiKey]:
        """All keys there ever were, oldest first."""
        with reading(self._engine) as db:
            rows = db.execute(select(api_keys).order_by(api_keys.c.created_at)).all()
        return [_key(row) for row in rows]

    def find(self, id_: str) -> ApiKey | None:
        """The key of this id, as long as it is valid."""
        row = self._valid_row(id_)
        return None if row is None else _key(row)

    def any_key(self) -> bool:
        """Whether a key was ever made: from then on everybody needs one."""
        with reading(self._engine) as db:
            return db.execute(select(func.count()).select_from(api_keys)).scalar_one() > 0

    def check(self, text: str) -> ApiKey | None:
        """The key that a text is; None: unknown, expired or revoked."""
        found = _KEY.fullmatch(text)
        if found is None:
            return None
        row = self._valid_row(found[1])
        expected = row.hash if row is not None else _hash("")
        same = hmac.compare_digest(_hash(found[2]), expected)
        return _key(row) if row is not None and same else None

    def revoke(self, id_: str) -> ApiKey:
        """End a key and its sessions at once.

        Raises:
            InvalidInput: there is no such key.
        """
        own = api_keys.c.id == id_
        with writing(self._engine) as db:
            row = db.execute(
                update(api_keys)
                .where(own, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=now(db))
                .returning(*api_keys.c)
            ).first()
            if row is not None:
                log_key(db, row._asdict())
            else:  # it was revoked before, or never there
                row = db.execute(select(api_keys).where(own)).first()
            db.execute(delete(api_sessions).where(api_sessions.c.key == id_))
        if row is None:
            raise InvalidInput(f"there is no key {id_!r}", hint="rag-audio keys api")
        return _key(row)

    def open_session(self, key: ApiKey, seconds: float, most: int = 20) -> str:
        """A session's secret, for a cookie.

        Args:
            most: sessions of a key; those that would end first end now.
        """
        secret = secrets.token_urlsafe(32)
        with writing(self._engine) as db:
            moment = now(db)
            db.execute(delete(api_sessions).where(api_sessions.c.expires_at < moment))
            own = select(api_sessions.c.hash).where(api_sessions.c.key == key.id)
            newest = own.order_by(api_sessions.c.expires_at.desc())
            extra = db.execute(newest.offset(max(0, most - 1))).scalars().all()
            db.execute(delete(api_sessions).where(api_sessions.c.hash.in_(extra)))
            row = {"hash": _hash(secret), "key": key.id}
            db.execute(insert(api_sessions).values(**row, expires_at=moment + seconds))
        return secret

    def session(self, secret: str) -> ApiKey | None:
        """The key of a session; None: unknown or ended."""
        with reading(self._engine) as db:
            moment = now(db)
            row = db.execute(
                select(api_keys)
                .join(api_sessions, api_sessions.c.key == api_keys.c.id)
                .where(
                    api_sessions.c.hash == _hash(secret),
                    api_sessions.c.expires_at > moment,
                    _valid(moment),
                )
            ).first()
        return None if row is None else _key(row)

    def close_session(self, secret: str) -> None:
        """End a session."""
        with writing(self._engine) as db:
            db.execute(delete(api_sessions).where(api_sessions.c.hash == _hash(secret)))

    def _valid_row(self, id_: str) -> Row[Any] | None:
        with reading(self._engine) as db:
            wanted = select(api_keys).where(api_keys.c.id == id_, _valid(now(db)))
            return db.execute(wanted).first()


def _valid(moment: Any) -> Any:
    ends = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > moment)
    return and_(api_keys.c.revoked_at.is_(None), ends)


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Row[Any]) -> ApiKey:
    libraries = json.loads(row.libraries)
    return ApiKey(
        row.id,
        row.name,
        frozenset(Scope(name) for name in json.loads(row.scopes)),
        None if libraries is None else tuple(libraries),
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )

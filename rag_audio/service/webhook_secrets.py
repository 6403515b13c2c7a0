"""The secrets that webhooks are signed with: each API key has its own.

A secret is ``"whsec_" + base64url(HMAC-SHA-256(root, context NUL owner NUL nonce))`` without
padding. The root is 256 random bits in the home (``keys/webhook-secrets.key``), and only owner and
nonce are in the database: a copy of either without the other gives no secret away. All servers that
share a home and a database have the same secrets. Rotation replaces the nonce.

The root is not ``keys/webhook.key``, with which versions before signed everything: that one was
handed to those who verified calls, and whoever has the root has every secret.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, or_, select, update

from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput
from rag_audio.service.tables import now, webhook_secrets
from rag_audio.storage.database import reading, writing
from rag_audio.storage.files import create_once
from rag_audio.storage.migrations import migrate

OVERLAP_S = 24 * 3600.0
"""How long an earlier secret signs beside its successor, unless somebody says otherwise."""
MOST_OVERLAP_S = 7 * 24 * 3600.0
MOST_EARLIER = 4
"""Earlier secrets of an owner that sign at once: the signature is one header."""
_CONTEXT = b"rag-audio webhook secret 1"
_FIRST = ""
"""The nonce of an owner's first secret."""
_ROOT_BYTES = 32


@dataclass(frozen=True)
class WebhookSecret:
    """A secret; times are seconds since 1970.

    Attributes:
        text: the key of the HMAC is the whole of it, in UTF-8.
        made_at: None: it is the first.
        valid_until: it signs beside its successor until then; None: it is the current one.
    """

    text: str
    made_at: float | None
    valid_until: float | None


class WebhookSecrets:
    """Tells and rotates secrets.

    Args:
        engine: the ledger's own.
        keys: the home's folder of keys; the root key is made in it on first use.
    """

    def __init__(self, engine: Engine, keys: Path) -> None:
        self._engine, self._keys = engine, keys
        migrate(engine)

    def of(self, owner: str) -> tuple[WebhookSecret, ...]:
        """The secrets that an owner's calls are signed with: the current one, then earlier ones.

        Args:
            owner: id of an API key; empty: of those who ask where no key is defined.

        Raises:
            BackendUnavailable: the database or the root key cannot be read.
        """
        root = self._root()
        with reading(self._engine) as db:
            rows = _rows(db, owner)
        found = [_secret(root, owner, row.nonce, row.made_at, row.valid_until) for row in rows]
        if not found or found[0].valid_until is not None:
            found.insert(0, _secret(root, owner, _FIRST, None, None))
        return tuple(found)

    def rotate(self, owner: str, overlap_s: float = OVERLAP_S) -> tuple[WebhookSecret, ...]:
        """Make a new secret; as :meth:`of`.

        Args:
            overlap_s: how long the current secret signs beside the new one, 0 to a week. 0 ends it
                and all earlier ones at once: for secrets that somebody else has seen.

        Raises:
            InvalidInput: the overlap is out of range, or :data:`MOST_EARLIER` earlier secrets
                still sign: none of them ends before its time but by an overlap of 0.
            BackendUnavailable: as :meth:`of`.
        """
        if not 0 <= overlap_s <= MOST_OVERLAP_S:
            raise InvalidInput(
                f"an overlap of {overlap_s / 3600:g} h is not possible",
                hint=f"0 to {MOST_OVERLAP_S / 3600:g} h",
            )
        own = webhook_secrets.c.owner == owner
        with writing(self._engine, "webhook secrets") as db:
            moment: float = db.execute(select(now(db))).scalar_one()
            rows = _rows(db, owner)
            ends = sorted(row.valid_until for row in rows if row.valid_until is not None)
            if overlap_s > 0 and len(ends) >= MOST_EARLIER:
                first_end = datetime.fromtimestamp(ceil(ends[0]), UTC)
                raise InvalidInput(
                    f"{len(ends)} earlier webhook secrets still sign, and no more can: the first "
                    f"of them ends at {first_end:%Y-%m-%d %H:%M:%S} UTC",
                    hint="rotate again after that, or with an overlap of 0, which ends them all "
                    "at once",
                )
            keep = [row.nonce for row in rows] if overlap_s > 0 else []
            db.execute(delete(webhook_secrets).where(own, webhook_secrets.c.nonce.not_in(keep)))
            until = {"valid_until": moment + overlap_s}
            known = any(row.valid_until is None or row.nonce == _FIRST for row in rows)
            if overlap_s > 0 and not known:
                first = {"owner": owner, "nonce": _FIRST, "made_at": 0.0}
                db.execute(insert(webhook_secrets).values(**first, **until))
            current = webhook_secrets.c.valid_until.is_(None)
            db.execute(update(webhook_secrets).where(own, current).values(**until))
            new = {"owner": owner, "nonce": secrets.token_hex(16), "made_at": moment}
            db.execute(insert(webhook_secrets).values(**new))
        return self.of(owner)

    def of_home(self) -> str:
        """The secret of the whole home, with which versions before signed all calls.

        Raises:
            ConfigError: there is none to go on with.
        """
        file = self._keys / "webhook.key"
        try:
            return file.read_text(encoding="ascii")
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"the home's webhook secret {file} cannot be read: {error}",
                hint="unset RAG_AUDIO_SERVE_WEBHOOK_HOME_SECRET: keys have secrets of their own",
            ) from error

    def _root(self) -> bytes:
        file = self._keys / "webhook-secrets.key"
        try:
            root = create_once(file, lambda: secrets.token_bytes(_ROOT_BYTES))
        except OSError as error:
            raise BackendUnavailable(f"{file} cannot be made or read: {error}") from error
        if len(root) != _ROOT_BYTES:
            raise BackendUnavailable(
                f"{file} has {len(root)} bytes, not {_ROOT_BYTES}",
                hint="restore it from a backup; without it every webhook secret is another one",
            )
        return root


def _rows(db: Connection, owner: str) -> Sequence[Any]:
    """What is valid of an owner, newest first; the current one, if it has a row, is the first."""
    until = webhook_secrets.c.valid_until
    wanted = select(webhook_secrets).where(
        webhook_secrets.c.owner == owner, or_(until.is_(None), until > now(db))
    )
    order = (until.is_not(None), webhook_secrets.c.made_at.desc(), webhook_secrets.c.nonce)
    return db.execute(wanted.order_by(*order)).all()


def _secret(
    root: bytes, owner: str, nonce: str, made_at: float | None, until: float | None
) -> WebhookSecret:
    said = b"\0".join((_CONTEXT, owner.encode(), nonce.encode()))
    digest = hmac.digest(root, said, "sha256")
    text = "whsec_" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return WebhookSecret(text, None if nonce == _FIRST else made_at, until)

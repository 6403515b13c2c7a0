"""Calls to those who want to hear that a job ended.

The body is signed: ``RAG-Audio-Signature: t=SECONDS,v1=HEX`` with
``HEX = HMAC-SHA-256(secret, "SECONDS.BODY")``; the secret is the home's, and the page of an admin
shows it. A private address is never called, whatever a name resolves to at that moment: the
connection goes to the very address that was checked.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from sqlalchemy import Engine, select, update

from rag_audio import secret_files
from rag_audio.api.shapes import job_json
from rag_audio.database import reading, writing
from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.jobs import SqlJobs
from rag_audio.jobs.tables import deliveries, now
from rag_audio.service.places import Places

WAITS_S = (0, 10, 60, 300, 1800, 7200)
"""Before each attempt; after the last one a call is given up."""
TIMEOUT_S = 10.0
_HELD_S = 60.0

log = structlog.get_logger("rag_audio.webhooks")


def require_callable(url: str, allowed: frozenset[str]) -> None:
    """Let a URL be called.

    Args:
        allowed: ``host:port`` that may be private and need no TLS.

    Raises:
        InvalidInput: it is malformed, names a private address, or has no TLS.
    """
    address_of(url, allowed)


def address_of(url: str, allowed: frozenset[str]) -> str:
    """The address that a URL's host has now, if it may be called; raises as above."""
    try:
        parsed = urlsplit(url)
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
    except ValueError as error:
        raise InvalidInput(f"the webhook cannot be read: {error}") from error
    host = parsed.hostname
    if not host or parsed.username is not None or parsed.scheme not in ("http", "https"):
        raise InvalidInput("the webhook is not an https URL", hint="https://host/path")
    named = f"{host}:{port}" in allowed
    if parsed.scheme != "https" and not named:
        raise InvalidInput("the webhook has no TLS", hint="use https")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"the webhook's host {host!r} has no address") from error
    addresses = [str(one[4][0]) for one in found]
    if not named and not all(_is_public(address) for address in addresses):
        raise InvalidInput("the webhook is at a private address", hint="use a public one")
    return addresses[0]


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_global and not found.is_multicast


def secret_of(home: Path) -> str:
    """The secret that calls of a home are signed with; made on first use."""
    file = home / "keys" / "webhook.key"
    return secret_files.create_once(file, lambda: secrets.token_urlsafe(32).encode()).decode()


def signature(secret: str, seconds: int, body: bytes) -> str:
    """The value of ``RAG-Audio-Signature``."""
    digest = hmac.digest(secret.encode(), f"{seconds}.".encode() + body, "sha256").hex()
    return f"t={seconds},v1={digest}"


class Calls:
    """Makes the calls that are due, from a thread of its own, at least once each.

    Args:
        stop: set it to end.
        places: names files.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: SqlJobs,
        home: Path,
        allowed: frozenset[str],
        stop: threading.Event,
        waits_s: tuple[float, ...] = WAITS_S,
        *,
        places: Places,
    ) -> None:
        self._engine, self._jobs, self._home = engine, jobs, home
        self._allowed, self._stop, self._waits_s = allowed, stop, waits_s
        self._places = places

    def work(self) -> None:
        """Call until told to stop."""
        while not self._stop.wait(0.5):
            try:
                while not self._stop.is_set() and self.call_next():
                    pass
            except BackendUnavailable as error:
                log.warning("no call can be made", error=error.message)

    def call_next(self) -> bool:
        """Make one call that is due; whether there was one."""
        with reading(self._engine) as db:
            due = select(deliveries.c.id).where(*_due(now(db))).limit(1)
            if db.execute(due).first() is None:
                return False
        with writing(self._engine) as db:
            moment = now(db)
            first = select(deliveries).where(*_due(moment)).order_by(deliveries.c.next_at).limit(1)
            row = db.execute(first.with_for_update(skip_locked=True)).first()
            if row is None:
                return False
            # Nobody else tries while this one does; if this process dies, somebody will.
            held = update(deliveries).where(deliveries.c.id == row.id)
            db.execute(held.values(next_at=moment + _HELD_S, attempts=row.attempts + 1))
        said = self._call(row)
        attempts = row.attempts + 1
        with writing(self._engine) as db:
            if said == "":
                after: dict[str, Any] = {"state": "done", "said": ""}
            elif attempts >= len(self._waits_s):
                after = {"state": "given up", "said": said}
            else:
                after = {"next_at": now(db) + self._waits_s[attempts], "said": said}
            db.execute(update(deliveries).where(deliveries.c.id == row.id).values(**after))
        return True

    def _call(self, row: Any) -> str:
        """Make a call; empty, or why it failed."""
        job = self._jobs.find(row.job)
        if job is None:
            return ""
        shown = job_json(job, self._places)
        body = json.dumps({"event": "generation.ended", "generation": shown}).encode()
        seconds = int(time.time())
        parsed = urlsplit(row.url)
        try:
            address = address_of(row.url, self._allowed)
            literal = f"[{address}]" if ":" in address else address
            port = f":{parsed.port}" if parsed.port else ""
            place = parsed._replace(netloc=literal + port).geturl()
            headers = {
                "Host": parsed.netloc,
                "Content-Type": "application/json",
                "User-Agent": "rag-audio",
                "RAG-Audio-Delivery": row.id,
                "RAG-Audio-Signature": signature(secret_of(self._home), seconds, body),
            }
            with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
                name = {"sni_hostname": parsed.hostname}
                with client.stream(
                    "POST", place, content=body, headers=headers, extensions=name
                ) as answer:
                    status = answer.status_code
        except (httpx.HTTPError, InvalidInput) as error:
            return str(error)[:200]
        return "" if 200 <= status < 300 else f"answered {status}"


def _due(moment: Any) -> tuple[Any, ...]:
    return deliveries.c.state == "due", deliveries.c.next_at <= moment

"""Calls to those who want to hear that a job ended.

The body is signed: ``RAG-Audio-Signature: t=SECONDS,v1=HEX`` with
``HEX = HMAC-SHA-256(secret, "SECONDS.BODY")``, and one more ``,v1=HEX`` for each earlier secret
that still signs. Each API key has secrets of its own (:mod:`rag_audio.service.webhook_secrets`).

Whatever goes wrong with a call is that delivery's own fault: it is noted there, tried again and in
the end given up. No call takes longer than its deadline, and an owner has one call at a time in a
process. Owners have turns (:class:`CallOrder`): endpoints that never answer delay
those of others by one deadline at most.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import json
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, cast

import httpx
import structlog
from sqlalchemy import Connection, Engine, Select, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from rag_audio.errors import BackendError, InvalidInput
from rag_audio.service.api.rate_limits import Slots
from rag_audio.service.outbound_hosts import (
    Target,
    addresses_of,
    is_address,
    look_up,
    require_public,
    target_of,
)
from rag_audio.service.queue import SqlJobs
from rag_audio.service.tables import api_keys, deliveries, jobs, now
from rag_audio.service.webhook_secrets import WebhookSecrets
from rag_audio.service.wording import Places, job_json
from rag_audio.storage.database import reading, writing

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = structlog.get_logger("rag_audio.webhooks")

# What a webhook's host resolves to when a request is accepted: looked up beside the requests.
#
# The resolver takes no deadline and cannot be interrupted. So lookups have a few threads of their
# own, whoever asked waits in the event loop, and not for long. A host that was not looked up in
# time, or not at all since too many are being looked up, is accepted without this check: each
# call makes it again, of the address that it then connects to.

EACH = 2
"""Lookups of an owner at once."""
ALL = 8
"""Lookups of all owners at once."""
WAIT_S = 2.0
"""Longest wait for a lookup."""


class Lookups:
    """Checks the webhooks of requests.

    Args:
        listed: ``host:port`` that may be private (:mod:`rag_audio.service.outbound_hosts`).
    """

    def __init__(
        self, listed: frozenset[str], each: int = EACH, all_: int = ALL, wait_s: float = WAIT_S
    ) -> None:
        self._listed, self._wait_s = listed, wait_s
        self._slots = Slots(each, all_)

    def __len__(self) -> int:
        """How many hosts are being looked up."""
        return len(self._slots)

    async def checked(self, url: str | None, owner: str) -> str | InvalidInput | None:
        """A webhook's URL in ASCII, or why it cannot be called; None: there is none.

        Malformed URLs, and addresses that must not be called, are always found.
        """
        if url is None:
            return None
        try:
            target = target_of(url, self._listed)
            if is_address(target):
                require_public(target, (target.server_name,))
            else:
                await self._check(target, owner)
        except InvalidInput as fault:
            return fault
        return target.url

    async def _check(self, target: Target, owner: str) -> None:
        """Look a host up, if there is room and time.

        Raises:
            InvalidInput: it has no public address.
        """
        with ExitStack() as held:
            if not held.enter_context(self._slots.hold(owner)):
                log.info("a webhook's host was not looked up: too many are", host=target.host)
                return
            found = look_up(target)
            until_answered = held.pop_all()
        found.add_done_callback(lambda _: until_answered.close())
        try:
            addresses = await asyncio.wait_for(asyncio.wrap_future(found), self._wait_s)
        except TimeoutError:
            log.info("a webhook's host was not resolved in time", host=target.host)
            return
        require_public(target, addresses)


# One POST to an address that was checked, within a deadline; only the status is read.

MOST_HEAD = 64 * 1024
"""Bytes of an answer that are read: its head, and what of the body came with it."""
MOST_ADDRESSES = 4
"""Of a host's that are tried."""
_CHUNK = 16 * 1024

FAULTS = (OSError, HTTPException, ValueError)
"""What a call can fail with. Of OSError are timeouts, refusals and TLS; of ValueError encodings and
headers that cannot be sent."""


class Deadline:
    """A moment, so many seconds from now, by which everything must be done."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left, above 0.

        Raises:
            TimeoutError: there are none.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


def post(
    target: Target,
    addresses: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    deadline: Deadline,
    tls: ssl.SSLContext,
) -> int:
    """Send a body, and the status of the answer; redirects are not followed, no body is read.

    Args:
        addresses: of the host, checked; the first that can be connected to is used.
        headers: beside ``Host`` and ``Content-Length``.

    Raises:
        OSError, HTTPException, ValueError: see :data:`FAULTS`.
    """
    with closing(_connect(addresses[:MOST_ADDRESSES], target.port, deadline)) as plain:
        plain.settimeout(deadline.left_s())
        secure = target.scheme == "https"
        name = target.server_name
        with closing(tls.wrap_socket(plain, server_hostname=name) if secure else plain) as wire:
            connection = HTTPConnection(name, target.port)
            connection.sock = cast(socket.socket, _Timed(wire, deadline))
            all_headers = {"Host": target.authority, "Connection": "close", **headers}
            connection.request("POST", target.path, body, all_headers)
            with closing(connection.getresponse()) as answer:
                return answer.status


def _connect(addresses: Sequence[str], port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers; each gets its part of the time that is left."""
    failed: OSError = OSError("no address")
    for i, address in enumerate(addresses):
        share_s = deadline.left_s() / (len(addresses) - i)
        try:
            return socket.create_connection((address, port), share_s)
        except OSError as error:
            failed = error
    raise failed


class _Timed:
    """A socket that keeps to a deadline, however slowly the other side drips."""

    def __init__(self, wire: socket.socket, deadline: Deadline) -> None:
        self._wire, self._deadline = wire, deadline

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        for begin in range(0, len(view), _CHUNK):
            self._wire.settimeout(self._deadline.left_s())
            self._wire.sendall(view[begin : begin + _CHUNK])

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Head(self._wire, self._deadline))

    def close(self) -> None:
        """Whoever connected closes."""


class _Head(io.RawIOBase):
    """The beginning of an answer."""

    def __init__(self, wire: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._wire, self._deadline, self._read = wire, deadline, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._read >= MOST_HEAD:
            raise OSError(f"the answer's head is longer than {MOST_HEAD} bytes")
        self._wire.settimeout(self._deadline.left_s())
        got = self._wire.recv_into(buffer)
        self._read += got
        return got


# Whose webhook is called next, where some endpoints hang: turns of owners, in one process.
#
# The owner whose last call began longest ago comes first, and whoever was not called yet before
# all others: an owner with a thousand deliveries delays the others by one call of theirs. Owners
# whose last call was slow have half of the callers at most, so that the other half is left to the
# rest, however many endpoints hang.

MOST_OWNERS = 1000
"""Owners that are remembered; of more, those whose last call began longest ago are forgotten."""


class CallOrder:
    """Remembers who was called, and how; whoever uses it holds a lock.

    Args:
        callers: calls that are made at once.
    """

    def __init__(self, callers: int, most: int = MOST_OWNERS) -> None:
        self._slow_at_once, self._most = max(1, callers // 2), most
        self._was_slow: OrderedDict[str, bool] = OrderedDict()  # by when the last call began
        self._called: set[str] = set()

    def begin(self, owner: str) -> None:
        """An owner is being called from now on: no second call begins before :meth:`end`."""
        self._was_slow[owner] = self._was_slow.pop(owner, False)
        self._called.add(owner)
        while len(self._was_slow) > self._most:
            self._was_slow.popitem(last=False)

    def end(self, owner: str, *, is_slow: bool) -> None:
        """An owner's call ended; ``is_slow``: it took a caller for long, whatever came of it."""
        self._called.discard(owner)
        if owner in self._was_slow:
            self._was_slow[owner] = is_slow

    def next_of(self, db: Connection, due: Select[Any]) -> str | None:
        """The id of the delivery whose turn it is; owners that are no text are never read.

        Args:
            due: ids of deliveries, which are joined with their jobs.
        """
        slow = {owner for owner, was_slow in self._was_slow.items() if was_slow}
        waiting = self._called | (slow if len(slow & self._called) >= self._slow_at_once else set())
        owner, oldest = jobs.c.owner, due.order_by(deliveries.c.next_at).limit(1)
        is_new = or_(owner.is_(None), owner.not_in({*self._was_slow, *self._called}))
        found: str | None = db.execute(oldest.where(is_new)).scalar()
        known = [one for one in self._was_slow if one not in waiting]
        if found is not None or not known:
            return found
        of_known = due.with_only_columns(owner, maintain_column_froms=True)
        there = set(db.execute(of_known.where(owner.in_(known)).distinct()).scalars())
        of_first = (oldest.where(owner == one) for one in known if one in there)
        return next((db.execute(wanted).scalar() for wanted in of_first), None)


WAITS_S = (0, 10, 60, 300, 1800, 7200)
"""Before each attempt; after the last one a call is given up."""
TIMEOUT_S = 10.0
"""For all of a call: the name, the connection, TLS, sending, and the head of the answer."""
CALLERS = 4
"""Calls that a process makes at once."""
SLOW = 0.5
"""A call that takes more of its deadline than this is slow: see :mod:`.webhooks`."""
_LOOK_S = 1.0
_HELD_S = 60.0
_TRIES = 4
_MOST_SAID = 200


def signature(secrets: Sequence[str], seconds: int, body: bytes) -> str:
    """The value of ``RAG-Audio-Signature``: one ``v1`` for each secret.

    Args:
        seconds: since 1970, when the call is made.
    """
    said = f"{seconds}.".encode() + body
    digests = [hmac.digest(secret.encode(), said, "sha256").hex() for secret in secrets]
    return ",".join((f"t={seconds}", *(f"v1={digest}" for digest in digests)))


class Calls:
    """Makes the calls that are due, at least once each, from as many threads as run :meth:`work`.

    Args:
        listed: ``host:port`` that may be private (:mod:`rag_audio.service.outbound_hosts`).
        stop: set it to end.
        places: names files.
        timeout_s: see :data:`TIMEOUT_S`.
        tls: whom to trust; None: the authorities that httpx trusts.
        home_secret: signs as well, last, for those who know no other yet.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: SqlJobs,
        secrets: WebhookSecrets,
        listed: frozenset[str],
        stop: threading.Event,
        waits_s: tuple[float, ...] = WAITS_S,
        *,
        places: Places,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        home_secret: str | None = None,
    ) -> None:
        self._engine, self._jobs, self._secrets = engine, jobs, secrets
        self._listed, self._stop, self._waits_s = listed, stop, waits_s
        self._places, self._timeout_s = places, timeout_s
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._home_secret = home_secret
        self._turn, self._turns = threading.Lock(), CallOrder(CALLERS)

    def work(self) -> None:
        """Call until told to stop."""
        while not self._stop.wait(_LOOK_S):
            try:
                while not self._stop.is_set() and self.call_next():
                    pass
            except BackendError as error:
                log.warning("no call can be made", error=error.message)

    def call_next(self) -> bool:
        """Make one call that is due; whether there was one.

        Raises:
            BackendError: the database failed, or the row cannot be read; the delivery comes up
                again when it is no longer held, until it has had all its attempts.
        """
        with self._turn:
            held = self._hold()
            if held is None:
                return False
            id_, attempts = held
            if attempts > len(self._waits_s):  # of each the process or the database failed
                self._close(id_, {"state": "given up", "said": "no attempt was completed"})
                return True
            row = self._row(id_)
            self._turns.begin(row.owner)
        began = time.monotonic()
        try:
            after = self._outcome(row, attempts)
        finally:
            is_slow = time.monotonic() - began > SLOW * self._timeout_s
            with self._turn:
                self._turns.end(row.owner, is_slow=is_slow)
        self._close(id_, after)
        return True

    def _hold(self) -> tuple[str, int] | None:
        """A delivery that is due, and its attempts with this one; nobody else tries for a while.

        If this process dies, somebody will.
        """
        ids = select(deliveries.c.id).outerjoin(jobs, jobs.c.id == deliveries.c.job)
        for _ in range(_TRIES):
            with reading(self._engine) as db:
                due = ids.where(*_is_due(now(db)))
                id_ = self._turns.next_of(db, due)
            if id_ is None:
                return None
            with writing(self._engine) as db:
                moment = now(db)
                mine = update(deliveries).where(deliveries.c.id == id_, *_is_due(moment))
                held = {"next_at": moment + _HELD_S, "attempts": deliveries.c.attempts + 1}
                made = mine.values(**held).returning(deliveries.c.attempts)
                attempts = db.execute(made).scalar()
            if attempts is not None:  # else another process was faster
                return id_, attempts
        return None

    def _row(self, id_: str) -> Any:
        wanted = (
            select(deliveries, jobs.c.owner, api_keys.c.revoked_at)
            .join(jobs, jobs.c.id == deliveries.c.job)
            .join(api_keys, api_keys.c.id == jobs.c.owner, isouter=True)
            .where(deliveries.c.id == id_)
        )
        with reading(self._engine) as db:
            row = db.execute(wanted).first()
        if row is None:
            raise BackendError(f"the webhook delivery {id_} has no job")
        if not isinstance(row.owner, str):
            raise BackendError(f"the webhook delivery {id_} has an owner that is not text")
        return row

    def _close(self, id_: str, after: dict[str, Any]) -> None:
        with writing(self._engine) as db:
            values = dict(after)
            if "wait_s" in values:
                values["next_at"] = now(db) + values.pop("wait_s")
            db.execute(update(deliveries).where(deliveries.c.id == id_).values(**values))

    def _outcome(self, row: Any, attempts: int) -> dict[str, Any]:
        """Make a call: what its row is to hold."""
        if row.revoked_at is not None:
            return {"state": "given up", "said": "the API key was revoked"}
        try:
            said = self._call(row)
        except InvalidInput as error:
            said = error.message
        except FAULTS as error:
            said = f"{type(error).__name__}: {error}"
        except BackendError:
            raise
        except Exception as error:
            # Whatever a row makes fail must not end the calls of others.
            log.exception("a call failed for an unforeseen reason", delivery=row.id)
            said = f"{type(error).__name__}: {error}"
        if said == "":
            return {"state": "done", "said": ""}
        said = "".join(one if one.isprintable() else "?" for one in said)[:_MOST_SAID]
        log.info("a call failed", delivery=row.id, attempt=attempts, said=said)
        if attempts >= len(self._waits_s):
            return {"state": "given up", "said": said}
        return {"wait_s": self._waits_s[attempts], "said": said}

    def _call(self, row: Any) -> str:
        """Make a call; empty, or what was answered."""
        deadline = Deadline(self._timeout_s)
        job = self._jobs.find(row.job)
        if job is None:
            return ""
        shown = job_json(job, self._places)
        body = json.dumps({"event": "generation.ended", "generation": shown}).encode()
        target = target_of(row.url, self._listed)
        addresses = addresses_of(target, deadline.left_s())
        secrets = [secret.text for secret in self._secrets.of(row.owner)]
        if self._home_secret is not None:
            secrets.append(self._home_secret)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "rag-audio",
            "RAG-Audio-Delivery": row.id,
            "RAG-Audio-Signature": signature(secrets, int(time.time()), body),
        }
        status = post(target, addresses, headers, body, deadline, self._tls)
        return "" if 200 <= status < 300 else f"answered {status}"


def _is_due(moment: Any) -> tuple[ColumnElement[bool], ...]:
    return deliveries.c.state == "due", deliveries.c.next_at <= moment

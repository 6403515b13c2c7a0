"""One POST to an address that was checked, within a deadline; only the status is read."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, cast

import structlog

from rag_audio.errors import InvalidInput
from rag_audio.service.api.limits import Slots
from rag_audio.service.hosts import Target, is_address, look_up, require_public, target_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


MOST_HEAD = 64 * 1024
"""Bytes of an answer that are read: its head, and what of the body came with it."""
MOST_ADDRESSES = 4
"""Of a host's that are tried."""
_CHUNK = 16 * 1024

FAULTS = (OSError, HTTPException, ValueError)
"""What a call can fail with. Of OSError are timeouts, refusals and TLS; of ValueError encodings and
headers that cannot be sent."""


class Deadline:
    """A moment by which everything must be done.

    Args:
        seconds: from now.
    """

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

log = structlog.get_logger("rag_audio.webhooks")


@dataclass(frozen=True)
class Hook:
    """A webhook that was asked for.

    Attributes:
        url: in ASCII.
        fault: why it cannot be called.
    """

    url: str
    fault: InvalidInput | None = None

    def callable_url(self) -> str:
        """The URL.

        Raises:
            InvalidInput: it cannot be called.
        """
        if self.fault is not None:
            raise self.fault
        return self.url


class Lookups:
    """Checks the webhooks of requests.

    Args:
        listed: ``host:port`` that may be private (:mod:`rag_audio.service.hosts`).
        each, all_, wait_s: see :data:`EACH`, :data:`ALL`, :data:`WAIT_S`.
    """

    def __init__(
        self, listed: frozenset[str], each: int = EACH, all_: int = ALL, wait_s: float = WAIT_S
    ) -> None:
        self._listed, self._wait_s = listed, wait_s
        self._slots = Slots(each, all_)
        self._tasks: set[asyncio.Task[tuple[str, ...] | None]] = (
            set()
        )  # asyncio itself forgets them

    def __len__(self) -> int:
        """How many hosts are being looked up."""
        return len(self._slots)

    async def checked(self, url: str | None, owner: str) -> Hook | None:
        """What is known of a webhook's URL; None: there is none.

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
            return Hook(url, fault)
        return Hook(target.url)

    async def _check(self, target: Target, owner: str) -> None:
        """Look a host up, if there is room and time.

        Raises:
            InvalidInput: it has no public address.
        """
        task = asyncio.create_task(self._addresses(target, owner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            addresses = await asyncio.wait_for(asyncio.shield(task), self._wait_s)
        except TimeoutError:
            log.info("a webhook's host was not resolved in time", host=target.host)
            return
        if addresses is None:
            log.info("a webhook's host was not looked up: too many are", host=target.host)
            return
        require_public(target, addresses)

    async def _addresses(self, target: Target, owner: str) -> tuple[str, ...] | None:
        """A host's addresses, however long it takes; None: there is no room for a lookup."""
        with self._slots.hold(owner) as held:
            if not held:
                return None
            found: Future[tuple[str, ...]] = Future()
            threading.Thread(
                target=_look_up, args=(target, found), name="looking up", daemon=True
            ).start()
            return await asyncio.wrap_future(found)


def _look_up(target: Target, found: Future[tuple[str, ...]]) -> None:
    found.set_running_or_notify_cancel()  # from here on nobody can cancel it
    addresses: tuple[str, ...] = ()
    try:
        addresses = look_up(target)
    finally:
        found.set_result(addresses)

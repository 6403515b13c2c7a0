"""What a webhook's host resolves to when a request is accepted: looked up beside the requests.

The resolver takes no deadline and cannot be interrupted. So lookups have a few threads of their
own, whoever asked waits in the event loop, and not for long. A host that was not looked up in time,
or not at all since too many are being looked up, is accepted without this check: each call makes it
again, of the address that it then connects to.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from rag_audio.api.limits import Slots
from rag_audio.api.targets import Target, is_address, look_up, require_public, target_of
from rag_audio.errors import InvalidInput

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

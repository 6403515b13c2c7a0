"""A bound on the work that goes on at once, by weight; who waits is served in fair order.

Whoever has least of it goes next, and of several that have as much the one whose turn is longest
ago: an owner that asks for a hundred things at once delays another by one of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field

_LOOK_S = 0.2


@dataclass(eq=False)
class _Place:
    """Who waits, or holds; ``told`` is done once it holds."""

    owner: str
    weight: int
    holds: bool = False
    told: Future[None] = field(default_factory=Future)


@dataclass
class _Owner:
    """What an owner has and waits for. since: the number of its last turn, or of its coming."""

    since: int
    held: int = 0
    count: int = 0
    waiting: deque[_Place] = field(default_factory=deque)


class Turns:
    """Holds at most ``most`` at once; for threads and event loops alike.

    Nobody overtakes whoever is next, so that something heavy gets its turn among many light things.
    What is heavier than ``most`` waits until it is alone.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._owners: dict[str, _Owner] = {}
        self._held = self._turn = 0

    @property
    def held(self) -> int:
        """The weight of all that is held now."""
        return self._held

    @asynccontextmanager
    async def hold(self, owner: str, weight: int, seconds: float) -> AsyncIterator[bool]:
        """Hold a weight during the block; False: its turn did not come in time, nothing is held.

        Who waits does so in the event loop, and takes no thread.
        """
        place = self._enter(owner, weight)
        try:
            if not place.told.done():
                await asyncio.wait([asyncio.wrap_future(place.told)], timeout=seconds)
            if not place.holds:
                self._leave(place)
            yield place.holds
        finally:
            self._leave(place)

    @contextmanager
    def hold_in_thread(
        self, owner: str, weight: int, stop_asked: Callable[[], bool]
    ) -> Iterator[bool]:
        """As :meth:`hold`, in a thread; False: it was asked to stop before its turn came."""
        place = self._enter(owner, weight)
        try:
            while not stop_asked() and not wait([place.told], _LOOK_S).done:
                pass
            if not place.holds:
                self._leave(place)
            yield place.holds
        finally:
            self._leave(place)

    def _enter(self, owner: str, weight: int) -> _Place:
        place = _Place(owner, min(weight, self.most))
        with self._lock:
            known = self._owners.setdefault(owner, _Owner(self._turn))
            known.waiting.append(place)
            self._let_in()
        return place

    def _leave(self, place: _Place) -> None:
        """Give back what a place holds; one that still waits does so no longer."""
        with self._lock:
            known = self._owners.get(place.owner)
            if known is None:
                return
            if place.holds:
                known.held -= place.weight
                known.count -= 1
                self._held -= place.weight
                place.holds = False
            if place in known.waiting:
                known.waiting.remove(place)
            if not known.waiting and not known.count:
                del self._owners[place.owner]
            self._let_in()

    def _let_in(self) -> None:
        """Let those hold whose turn it is now, and tell them."""
        while waiting := [one for one in self._owners.values() if one.waiting]:
            first = min(waiting, key=lambda one: (one.held, one.since))
            place = first.waiting[0]
            if self._held + place.weight > self.most:
                break
            first.waiting.popleft()
            self._turn += 1
            first.since = self._turn
            first.held += place.weight
            first.count += 1
            self._held += place.weight
            place.holds = True
            # An event loop that gave up has cancelled it.
            if place.told.set_running_or_notify_cancel():
                place.told.set_result(None)


_SMALL, _LANE = 16, 4


class SoundUse:
    """A bound on the decoded bytes of all uploads that are worked with at once.

    A quarter of it is for small uploads alone (a sixteenth of it or less), the rest for larger
    ones: large ones take turns, small ones go on beside them. Within either, owners take turns.
    An upload that is larger than its part is worked with alone there.

    Args:
        most_bytes: of 32-bit samples, as they are decoded.
    """

    def __init__(self, most_bytes: int) -> None:
        small = most_bytes // _LANE
        self._small, self._large = Turns(small), Turns(most_bytes - small)
        self._most_small = most_bytes // _SMALL

    @property
    def held(self) -> int:
        """Bytes of all uploads that are worked with now."""
        return self._small.held + self._large.held

    def hold(self, owner: str, size: int, seconds: float) -> AbstractAsyncContextManager[bool]:
        """Work with so many bytes, see :meth:`rag_audio.service.fair_queueing.Turns.hold`."""
        return self._lane(size).hold(owner, size, seconds)

    def hold_in_thread(
        self, owner: str, size: int, stop_asked: Callable[[], bool]
    ) -> AbstractContextManager[bool]:
        """As :meth:`hold`, see :meth:`rag_audio.service.fair_queueing.Turns.hold_in_thread`."""
        return self._lane(size).hold_in_thread(owner, size, stop_asked)

    def _lane(self, size: int) -> Turns:
        return self._small if size <= self._most_small else self._large

"""How often somebody may ask, and how much at once, in this process; memory is bounded."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MOST_NAMES = 10_000
"""Names that are remembered; of more, those that asked longest ago are forgotten."""


def network_of(host: str | None) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one.

    Whoever has one IPv6 address commonly has the 2^64 of its network.
    """
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or "?"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class RateLimiter:
    """Lets ``per_minute`` requests of each name through, and some of them at once.

    Args:
        at_once: unset: a quarter of ``per_minute``, at least 20.
    """

    def __init__(
        self,
        per_minute: int,
        at_once: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_NAMES,
    ) -> None:
        self._rate = per_minute / 60.0
        self._full = float(min(per_minute, at_once or max(20, per_minute // 4)))
        self._clock, self._most = clock, most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._buckets)

    def wait_s(self, name: str) -> float:
        """0, and the request counts; or how many seconds to wait before the next one."""
        moment = self._clock()
        with self._lock:
            tokens, since = self._buckets.pop(name, (self._full, moment))
            tokens = min(self._full, tokens + (moment - since) * self._rate)
            left = tokens - 1.0 if tokens >= 1.0 else tokens
            self._buckets[name] = (left, moment)
            while len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
            return 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate


class Slots:
    """How much of something goes on at once: so much of each name, so much of all."""

    def __init__(self, each: int, all_: int | None = None) -> None:
        self._each, self._all = each, all_
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many are held."""
        with self._lock:
            return sum(self._held.values())

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Hold one during the block; False: none is free, and none is held."""
        with self._lock:
            count, whole = self._held.get(name, 0), sum(self._held.values())
            is_free = count < self._each and (self._all is None or whole < self._all)
            if is_free:
                self._held[name] = count + 1
        try:
            yield is_free
        finally:
            if is_free:
                with self._lock:
                    self._held[name] -= 1
                    if self._held[name] == 0:
                        del self._held[name]

"""How often somebody may ask: a token bucket per key, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_FORGET_AT = 10_000


class RateLimiter:
    """Lets ``per_minute`` requests of each name through, and a quarter of it at once (at least 20).

    Args:
        clock: seconds, rising.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60.0
        self._most = float(min(per_minute, max(20, per_minute // 4)))
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, name: str) -> float:
        """0, and the request counts; or how many seconds to wait before the next one."""
        moment = self._clock()
        with self._lock:
            if len(self._buckets) >= _FORGET_AT:
                self._buckets = {n: b for n, b in self._buckets.items() if moment - b[1] < 60.0}
            tokens, since = self._buckets.get(name, (self._most, moment))
            tokens = min(self._most, tokens + (moment - since) * self._rate)
            if tokens < 1.0:
                self._buckets[name] = (tokens, moment)
                return (1.0 - tokens) / self._rate
            self._buckets[name] = (tokens - 1.0, moment)
            return 0.0

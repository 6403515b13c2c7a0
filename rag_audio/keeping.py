"""Sound made from stems, kept in memory for as long as no revocation comes between."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol
from weakref import WeakKeyDictionary

from rag_audio.domain import Audio

MOST_BYTES = 128 * 2**20

State = Callable[[], Hashable]
"""What is revoked now; another answer than before empties what is kept."""


class Forgets(Protocol):
    """Who keeps something of its own that was made from stems, such as latents."""

    def forget(self) -> None:
        """Give it up."""


class SoundCache:
    """Sounds by key, the least recently used given up first.

    Each look-up first asks what is revoked, also by other processes: when that changed, everything
    is forgotten. The arrays are read-only: who gets one shares it.

    Args:
        state: what is revoked now. most_bytes: of samples that are kept.
    """

    def __init__(self, state: State, most_bytes: int = MOST_BYTES) -> None:
        self._state, self._most = state, most_bytes
        self._seen: Hashable = None
        self._kept: OrderedDict[Hashable, Audio] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._holders: WeakKeyDictionary[Forgets, int] = WeakKeyDictionary()
        self.generation = 0
        """How often everything was forgotten because of a revocation."""

    def of(self, key: Hashable, make: Callable[[], Audio]) -> Audio:
        """What is kept under the key, or what ``make`` gives; that is then kept."""
        self.renew()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            generation = self.generation
        made = make()
        made.samples.flags.writeable = False
        with self._lock:
            if key not in self._kept and generation == self.generation:
                self._put(key, made)
        return made

    def renew(self) -> int:
        """Forget everything if a revocation came or went; the number of times that happened."""
        now = self._state()
        with self._lock:
            if now != self._seen:
                self.generation += self._seen is not None
                self._seen = now
                self._kept.clear()
                self._bytes = 0
            return self.generation

    def keep_in_step(self, holder: Forgets) -> None:
        """Have a holder forget what it made, if a revocation came or went since it was here."""
        generation = self.renew()
        if self._holders.setdefault(holder, generation) != generation:
            holder.forget()
            self._holders[holder] = generation

    def _put(self, key: Hashable, made: Audio) -> None:
        if made.samples.nbytes > self._most // 4:
            return
        self._kept[key] = made
        self._bytes += made.samples.nbytes
        while self._bytes > self._most:
            _, given_up = self._kept.popitem(last=False)
            self._bytes -= given_up.samples.nbytes

"""What was encoded last, kept in memory: the same prompt or seed audio is often asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import Generic, TypeVar

import numpy as np

from rag_audio.domain import Audio

T = TypeVar("T")


class Recent(Generic[T]):
    """The last ``most`` results by key. What is kept must not be changed by who gets it.

    Not for several threads at once: a generator works on one batch at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept under the key, or what ``make`` gives."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        self._kept[key] = made
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def content_of(audio: Audio) -> tuple[str, int, tuple[int, ...]]:
    """A key by which two sounds are equal when their samples, rate and shape are."""
    data = np.ascontiguousarray(audio.samples)
    digest = blake2b(data.view(np.uint8).reshape(-1).data, digest_size=20).hexdigest()
    return digest, audio.sample_rate, data.shape

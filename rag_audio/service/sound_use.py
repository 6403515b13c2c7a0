"""How much sound of uploads a process works with at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager

from rag_audio.service.turns import Turns

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
        """Work with so many bytes, see :meth:`rag_audio.service.turns.Turns.hold`."""
        return self._lane(size).hold(owner, size, seconds)

    def hold_in_thread(
        self, owner: str, size: int, stop_asked: Callable[[], bool]
    ) -> AbstractContextManager[bool]:
        """As :meth:`hold`, see :meth:`rag_audio.service.turns.Turns.hold_in_thread`."""
        return self._lane(size).hold_in_thread(owner, size, stop_asked)

    def _lane(self, size: int) -> Turns:
        return self._small if size <= self._most_small else self._large

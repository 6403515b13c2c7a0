"""Sound whose decoder gave up, taken up again behind the damage."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile

from rag_audio.audio.sequential_file import SequentialFile

_MOST = 50
_BLOCK = 1 << 16

Resume = Callable[[int], tuple[SequentialFile, int] | None]
"""From a sample on: what reads the rest, and its first sample; None: nothing is left."""


class ResumedSound:
    """A :class:`.SoundSource` that goes on behind what cannot be decoded, which is silent.

    Args:
        resume: is asked where the sound ends before :attr:`frames`.
    """

    def __init__(self, file: SequentialFile, resume: Resume) -> None:
        self._file, self._resume, self._left = file, resume, _MOST
        self.samplerate, self.channels = int(file.samplerate), int(file.channels)
        self.format, self.subtype = str(file.format), str(file.subtype)
        self.extra_info, self.frames = str(file.extra_info), int(file.frames)
        self.notices: list[str] = file.notices
        self._sample, self._gap, self._is_over = 0, 0, False

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> Any:
        """The next frames ``[T, C]``, fewer at the end, none behind it.

        Raises:
            soundfile.LibsndfileError: nothing of the file can be decoded.
        """
        while not self._is_over:
            if self._gap:
                read = np.zeros((min(frames, self._gap), self.channels), dtype)
                self._gap -= len(read)
            else:
                read = self._read(frames, dtype)
            if len(read):
                self._sample += len(read)
                return read
            self._is_over = not self._go_on()
        return np.zeros((0, self.channels), dtype)

    def _read(self, frames: int, dtype: str) -> Any:
        try:
            return self._file.read(frames, dtype)
        except soundfile.LibsndfileError:
            if not self._sample:
                raise
            return np.zeros((0, self.channels), dtype)

    def _go_on(self) -> bool:
        """Take the sound up again behind where it ended; False: there is no more."""
        if self._sample >= self.frames or not self._left:
            return False
        found = self._resume(self._sample + 1)
        if found is None:
            return False
        self._left -= 1
        self._file.close()
        was, (self._file, start) = self.notices, found
        self._file.notices = was
        self._gap = start - self._sample
        lost, seconds = self._gap / self.samplerate, self._sample / self.samplerate
        was[:] = [one for one in was if not one.startswith("breaks off")]
        was.append(f"damaged at {seconds:.2f} s: {lost:.2f} s are lost, and silent")
        return True

    def go_to(self, frame: int) -> None:
        """Stand at a frame that lies ahead."""
        try:
            self._file.go_to(frame)
            self._sample = frame
        except soundfile.LibsndfileError:
            # It seeks by the frames before, which are damaged.
            self._sample = max(0, frame - 1)
            if not self._go_on():
                raise
            self._sample, self._gap = frame, max(0, self._gap - 1)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

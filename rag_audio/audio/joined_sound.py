"""Several sounds of one file, read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile

from rag_audio.audio.channels import Block, Fold, folded
from rag_audio.audio.sequential_file import UNKNOWN_FRAMES, SequentialFile

_BLOCK = 1 << 16
_SHOWN = 3


class JoinedSound:
    """Sounds one after the other, at the rate and with the channels of the first.

    A :class:`.SoundSource`; the sounds are opened one at a time.

    Args:
        openers: open them; the first one is opened at once.
        accepts: says what is wrong with a sound that cannot be read; empty: nothing.

    Raises:
        soundfile.LibsndfileError: the first one cannot be opened.
    """

    def __init__(
        self,
        openers: Sequence[Callable[[], SequentialFile]],
        accepts: Callable[[SequentialFile], str],
    ) -> None:
        self._openers, self._accepts = list(openers), accepts
        self._open: SequentialFile | None = openers[0]()
        first = self._open
        self.samplerate, self.channels = int(first.samplerate), int(first.channels)
        self.format, self.subtype = str(first.format), str(first.subtype)
        self.extra_info = str(first.extra_info)
        self.frames = UNKNOWN_FRAMES
        self.notices: list[str] = []
        self._failed = 0
        self._held: Block = np.zeros((self.channels, 0), np.float32)
        self._coming = self._blocks()

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> Any:
        """The next frames ``[T, C]``, fewer at the end, none behind it."""
        pieces, got = [self._held], self._held.shape[1]
        while got < frames and (block := next(self._coming, None)) is not None:
            pieces.append(block)
            got += block.shape[1]
        joined = np.concatenate(pieces, axis=1)
        self._held = joined[:, frames:]
        return np.ascontiguousarray(joined[:, :frames].T, dtype)

    def go_to(self, frame: int) -> None:
        """Stand at a frame that lies ahead."""
        while frame > 0 and (passed := len(self.read(min(_BLOCK, frame)))):
            frame -= passed

    def close(self) -> None:
        """Let the file go."""
        self._coming = iter(())
        if self._open is not None:
            self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _blocks(self) -> Iterator[Block]:
        for number, opener in enumerate(self._openers):
            file = self._opened(number, opener)
            if file is None:
                continue
            blocks = self._blocks_of(number, file)
            form = (int(file.samplerate), int(file.channels))
            if form != (self.samplerate, self.channels):
                channels = "1 channel" if form[1] == 1 else f"{form[1]} channels"
                self._note(number, f"has {channels} at {form[0]} Hz and is converted")
                fold = Fold(form[0], to_rate=self.samplerate, channels=self.channels)
                blocks = folded(blocks, fold)
            yield from blocks
            file.close()
            self._open = None

    def _opened(self, number: int, opener: Callable[[], SequentialFile]) -> SequentialFile | None:
        if number == 0:
            return self._open
        try:
            file = opener()
        except (soundfile.LibsndfileError, OSError, ValueError, TypeError):
            self._note(number, "cannot be decoded and is left out")
            return None
        if wrong := self._accepts(file):
            self._note(number, f"{wrong} and is left out")
            file.close()
            return None
        self._open = file
        return file

    def _blocks_of(self, number: int, file: SequentialFile) -> Iterator[Block]:
        # Of a low rate fewer, which become many at a high one.
        size = max(1, min(_BLOCK, _BLOCK * int(file.samplerate) // self.samplerate))
        try:
            while len(read := file.read(size)):
                yield np.ascontiguousarray(read.T)
        except soundfile.LibsndfileError:
            self._note(number, "cannot be decoded and is left out")
        for notice in file.notices:
            self._note(number, notice)

    def _note(self, number: int, what: str) -> None:
        self._failed += 1
        if self._failed <= _SHOWN:
            self.notices.append(f"sound {number + 1} of {len(self._openers)} in it {what}")

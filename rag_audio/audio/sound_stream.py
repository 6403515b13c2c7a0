"""Sound files that are read block by block, whatever they claim.

A header may lie about its length, and a small file may decode to very much: what is read is counted
and checked as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import soundfile

from rag_audio.audio.channels import Block
from rag_audio.audio.containers import SoundSource, open_sound
from rag_audio.audio.layouts import layout_of
from rag_audio.audio.sequential_file import UNKNOWN_FRAMES
from rag_audio.errors import InvalidInput, UnreadableFile

MAX_READ = 8_000_000_000
"""Samples of all channels that are decoded of one file at most."""
COPY_ANEW = "copy or export it anew"
CUT_IT = "cut it, or export it as stereo at 48 kHz"

_BLOCK = 1 << 16
_MAX_LEVEL = 1000.0
_PADDING = 4096
"""Frames: as many as an encoder may add at the end of a sound."""


class SoundStream:
    """A sound file that is open for reading, or a window of it; use it in a ``with`` statement.

    Attributes:
        rate: Hz. channels: 1…8. layout: of the channels, which come in the order of WAVE.
        format: the decoder's name of the container.
        frames: that the window has by what is known of the file; None: nothing tells.
        notices: after the last block, what was cut or odd in the file, one line each without the
            file's name.

    Args:
        max_samples: of all channels that are read; beyond that the file is refused.

    Raises:
        UnreadableFile: not a sound file, an empty one, or out of range.
        InvalidInput: the window starts before 0 or past the end.
    """

    def __init__(
        self,
        path: Path,
        start_s: float = 0.0,
        duration_s: float | None = None,
        *,
        max_samples: int = MAX_READ,
    ) -> None:
        self._path, self._most = path, max_samples
        self._file = open_sound(path)
        self.rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        stored = layout_of(path, self._file)
        self.layout, self._order = stored.in_wave_order(), list(stored.wave_order)
        self._is_sorted = self._order == sorted(self._order)
        self.format = str(self._file.format)
        self.notices: list[str] = []
        try:
            self._first, self.frames = _window(path, self._file, start_s, duration_s)
            self._limit = None if duration_s is None else round(duration_s * self.rate)
            if self.frames is not None:
                self._require_samples(self.frames)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def samples(self) -> int | None:
        """Of all channels, as far as it is known."""
        return None if self.frames is None else self.frames * self.channels

    def as_stored(self, block: Block) -> Block:
        """A block with the channels in the order of the file."""
        return block if self._is_sorted else block[np.argsort(self._order)]

    def blocks(self) -> Iterator[Block]:
        """The sound from its start, ``[C, T]``, at most 65,536 frames at a time, as far as it can
        be decoded.

        Raises:
            UnreadableFile: it cannot be decoded at all, is more than may be read, or holds values
                that are NaN, infinite or beyond ±1000.
            InvalidInput: the window starts past the end.
        """
        self.notices, done = [], 0
        try:
            self._file.go_to(self._first)
            while self._limit is None or done < self._limit:
                size = _BLOCK if self._limit is None else min(_BLOCK, self._limit - done)
                read = self._file.read(size, dtype="float32", always_2d=True)
                if len(read) == 0:
                    break
                done += len(read)
                self._require_samples(done)
                block = np.ascontiguousarray(read.T if self._is_sorted else read.T[self._order])
                _check_samples(self._path, block)
                yield block
        except (soundfile.LibsndfileError, RuntimeError) as error:
            at = f"cannot be decoded past {(self._first + done) / self.rate:.2f} s"
            if not done:
                raise UnreadableFile(f"{self._path} is damaged: it {at}", hint=COPY_ANEW) from error
            self.notices = [*self._file.notices, f"is damaged: it {at}"]
            return
        self.notices = list(self._file.notices)
        if not done:
            self._require_window()
        elif self.frames is not None and not self.notices and _lacks(done, self.frames):
            there, claimed = done / self.rate, self.frames / self.rate
            self.notices.append(f"breaks off after {there:.2f} s of {claimed:.2f} s that it claims")

    def _require_window(self) -> None:
        if self._first:
            at = self._first / self.rate
            raise InvalidInput(f"{at:g} s is not within {self._path.name}: it ends before")
        raise UnreadableFile(f"{self._path} holds no sound that can be decoded", hint=COPY_ANEW)

    def _require_samples(self, frames: int) -> None:
        if frames * self.channels > self._most:
            raise UnreadableFile(
                f"{self._path} is too large: {self.channels} channels at {self.rate} Hz, more than "
                f"{self._most / self.channels / self.rate:.0f} s of it "
                f"({self._most / 1e6:.0f} million samples)",
                hint=CUT_IT,
            )


def _window(
    path: Path, file: SoundSource, start_s: float, duration_s: float | None
) -> tuple[int, int | None]:
    """First frame and number of frames of the wanted part; None: to the end, wherever that is."""
    first = round(start_s * file.samplerate)
    if not 0 <= first < file.frames:
        length = file.frames / file.samplerate
        raise InvalidInput(f"{start_s:g} s is not within {path.name}, which is {length:.2f} s long")
    frames = None if file.frames >= UNKNOWN_FRAMES else int(file.frames - first)
    if duration_s is not None:
        if duration_s <= 0:
            raise InvalidInput(f"duration_s must be positive, got {duration_s:g}")
        wanted = round(duration_s * file.samplerate)
        frames = wanted if frames is None else min(frames, wanted)
    return first, frames


def _check_samples(path: Path, samples: Block) -> None:
    low, high = float(samples.min()), float(samples.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnreadableFile(f"{path} holds samples that are not numbers", hint=COPY_ANEW)
    if max(-low, high) > _MAX_LEVEL:
        raise UnreadableFile(
            f"{path} holds samples of {max(-low, high):.3g} times full scale", hint=COPY_ANEW
        )


def _lacks(done: int, frames: int) -> bool:
    """Whether more is missing than what encoders add at the end."""
    return frames - done > max(_PADDING, 0.01 * frames)

"""Sound files read block by block, whatever they claim.

A header may lie about its length, and a small file may decode to very much: what is read is counted
and checked as it comes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile

from rag_audio.chunks import require_few_chunks
from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.folding import Block
from rag_audio.sequential import SequentialFile
from rag_audio.shaping import MAX_CHANNELS

MAX_READ = 8_000_000_000
"""Samples of all channels that are decoded of one file at most."""
COPY_ANEW = "copy or export it anew"
CUT_IT = "cut it, or export it as stereo at 48 kHz"

_BLOCK = 1 << 16
_MIN_RATE, _MAX_RATE = 1000, 768_000
_MAX_LEVEL = 1000.0
_STREAMED = 0x7FFFFF00
_UNKNOWN = 1 << 48
_CLAIM = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_KINDS = "WAV, FLAC, OGG, MP3 and AIFF are read; a damaged file is to be copied or exported anew"


class SoundStream:
    """A sound file that is open for reading, or a window of it; use it in a ``with`` statement.

    Attributes:
        rate: Hz. channels: 1…8.
        frames: that the header claims for the window; None: it does not say.
        breaks_off: after the last block, how the file ends before what it claims; empty: whole.

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
        self.breaks_off = ""
        try:
            self._first, self.frames = _window(path, self._file, start_s, duration_s)
            if self.frames is not None:
                self._require_samples(self.frames)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def samples(self) -> int | None:
        """Of all channels, as the header claims."""
        return None if self.frames is None else self.frames * self.channels

    @property
    def broken_claim(self) -> str:
        """What a WAV or AIFF lacks whose header promises more bytes than follow; empty: nothing.

        Sizes near 2^31 and 2^32 stand for "not known" in files that were written to a pipe.
        """
        claim = _CLAIM.search(str(self._file.extra_info))
        if claim is None:
            return ""
        promised, there = int(claim[1]), int(claim[2])
        if there < 0.99 * promised and promised < _STREAMED:
            return f"{self._path} breaks off: {there} of {promised} bytes of sound are there"
        return ""

    def blocks(self) -> Iterator[Block]:
        """The sound from its start, ``[C, T]``, at most 65,536 frames at a time.

        Raises:
            UnreadableFile: it cannot be decoded at all, is more than may be read, or holds values
                that are NaN, infinite or beyond ±1000.
        """
        self.breaks_off = self.broken_claim
        done = 0
        try:
            self._file.go_to(self._first)
            while self.frames is None or done < self.frames:
                size = _BLOCK if self.frames is None else min(_BLOCK, self.frames - done)
                read = self._file.read(size, dtype="float32", always_2d=True)
                if len(read) == 0:
                    break
                done += len(read)
                self._require_samples(done)
                block = np.ascontiguousarray(read.T)
                _check_samples(self._path, block)
                yield block
        except (soundfile.LibsndfileError, RuntimeError) as error:
            at = f"{self._path} is damaged: it cannot be decoded past {done / self.rate:.2f} s"
            if not done:
                raise UnreadableFile(at, hint=COPY_ANEW) from error
            self.breaks_off = at
            return
        if not done:
            raise UnreadableFile(f"{self._path} holds no sound that can be decoded", hint=COPY_ANEW)
        if self.frames is not None and self.frames - done > 0.1 * self.frames:
            self.breaks_off = f"{self._path} breaks off after {done / self.rate:.2f} s"

    def require_whole(self) -> None:
        """Refuse a file that broke off.

        Raises:
            UnreadableFile: it did.
        """
        if self.breaks_off:
            raise UnreadableFile(self.breaks_off, hint=COPY_ANEW)

    def _require_samples(self, frames: int) -> None:
        if frames * self.channels > self._most:
            raise UnreadableFile(
                f"{self._path} is too large: {self.channels} channels at {self.rate} Hz, more than "
                f"{self._most / self.channels / self.rate:.0f} s of it "
                f"({self._most / 1e6:.0f} million samples)",
                hint=CUT_IT,
            )


def open_sound(path: Path) -> Any:
    """The file opened for reading, with every cause of failure told in one line of ours.

    Raises:
        UnreadableFile: it is not a sound file, an empty one, or out of range.
    """
    if not path.exists():
        raise UnreadableFile(f"there is no file {path}")
    if not path.is_file():
        raise UnreadableFile(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path} is empty")
    require_few_chunks(path)
    try:
        file = SequentialFile(os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError, ValueError, OSError) as error:
        raise UnreadableFile(f"{path} is not a sound file that can be read", hint=_KINDS) from error
    problem = None
    if file.frames <= 0:
        problem = "holds no sound"
    elif not 1 <= file.channels <= MAX_CHANNELS:
        problem = f"has {file.channels} channels, more than {MAX_CHANNELS}"
    elif not _MIN_RATE <= file.samplerate <= _MAX_RATE:
        problem = f"claims a sample rate of {file.samplerate} Hz"
    if problem:
        file.close()
        raise UnreadableFile(f"{path} {problem}")
    return file


def _window(
    path: Path, file: Any, start_s: float, duration_s: float | None
) -> tuple[int, int | None]:
    """First frame and number of frames of the wanted part; None: to the end, wherever that is."""
    first = round(start_s * file.samplerate)
    if not 0 <= first < file.frames:
        length = file.frames / file.samplerate
        raise InvalidInput(f"{start_s:g} s is not within {path.name}, which is {length:.2f} s long")
    frames = None if file.frames >= _UNKNOWN else int(file.frames - first)
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

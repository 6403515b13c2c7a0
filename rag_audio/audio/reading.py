"""Read sound files into memory, or block by block.

Large sound is converted while it is read: memory holds the result about once, and never more than
an hour of stereo.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile

from rag_audio.audio.channels import Balance, Block, Fold, folded, joined
from rag_audio.audio.containers import open_sound
from rag_audio.audio.dsp import resample, to_channels
from rag_audio.audio.pcm_hash import PcmHash
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput, UnreadableFile

# Sound files read block by block, whatever they claim.
#
# A header may lie about its length, and a small file may decode to very much: what is read is
# counted and checked as it comes.

MAX_READ = 8_000_000_000
"""Samples of all channels that are decoded of one file at most."""
COPY_ANEW = "copy or export it anew"
CUT_IT = "cut it, or export it as stereo at 48 kHz"

_BLOCK = 1 << 16
_MAX_LEVEL = 1000.0
_STREAMED = 0x7FFFFF00
_UNKNOWN = 1 << 48
_CLAIM = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)


class SoundStream:
    """A sound file that is open for reading, or a window of it; use it in a ``with`` statement.

    Attributes:
        rate: Hz. channels: 1…8.
        frames: that the header claims for the window; None: it does not say.
        breaks_off: after the last block, how the file ends before what it claims; empty: whole.
        notices: after the last block, what was cut or odd in the file, one line each.

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
        self.notices: list[str] = []
        try:
            self._first, self.frames = _window(path, self._file, start_s, duration_s)
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


FOLDED_RATE, FOLDED_CHANNELS = 48_000, 2
"""What larger sound is folded to. The watermark is heard up to 11 kHz, the fingerprint up to 4."""
MAX_SAMPLES = 360_000_000
"""Samples of all channels that a sound in memory may have: an hour of stereo at 48 kHz, 1.4 GB."""
WHOLE_SAMPLES = 1 << 26
"""Sound up to this is read as it is, and converted afterwards where that was asked for."""
MAX_DURATION_S = 3600.0


@dataclass(frozen=True, eq=False)
class IdentifiedAudio:
    """A sound, and which one it is.

    Attributes:
        audio: larger sound is folded to stereo at 48 kHz.
        pcm_sha256: of the file's own samples, as :func:`.pcm_sha256` makes it.
        notices: what was cut or odd in the file, one line each.
    """

    audio: Audio
    pcm_sha256: str
    notices: tuple[str, ...] = ()


def load(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    max_duration_s: float | None = MAX_DURATION_S,
    allow_truncated: bool = False,
) -> Audio:
    """Read a sound file, or ``duration_s`` seconds of it from ``start_s`` (fewer at its end).

    Memory holds the result about once: a large sound is converted while it is read.

    Args:
        path: any file libsndfile reads, 1…8 channels.
        sample_rate, channels: to convert to; None keeps the file's own.
        max_duration_s: longest sound to read; None: no limit but that of samples.
        allow_truncated: read what is there of a file that breaks off.

    Raises:
        UnreadableFile: not audio, empty, corrupt, truncated, too long or too large (360 million
            samples of all channels as converted), or with values that are NaN, infinite or beyond
            ±1000.
        InvalidInput: the window starts before 0 or past the end, or the conversion is out of range.
    """
    source = Path(path)
    with SoundStream(source, start_s, duration_s) as stream:
        _require_duration(source, stream, max_duration_s)
        if not allow_truncated and (broken := stream.broken_claim):
            raise UnreadableFile(broken, hint=COPY_ANEW)
        to_rate, to = sample_rate or stream.rate, channels or stream.channels
        is_large = stream.samples is None or stream.samples > WHOLE_SAMPLES
        blocks: Iterator[Block] = stream.blocks()
        if is_large and (to_rate, to) != (stream.rate, stream.channels):
            _require_target(to_rate, to)
            blocks = folded(blocks, Fold(stream.rate, to_rate=to_rate, channels=to))
        else:
            to_rate, to = stream.rate, stream.channels
        audio = _collected(source, blocks, to_rate, to, max_duration_s)
        if not allow_truncated:
            stream.require_whole()
    if channels is not None:
        audio = to_channels(audio, channels)
    return audio if sample_rate is None else resample(audio, sample_rate)


def hear(
    path: str | Path,
    *,
    max_duration_s: float | None = MAX_DURATION_S,
    allow_truncated: bool = False,
) -> IdentifiedAudio:
    """Read all of a sound file; a large one is folded to stereo at 48 kHz.

    Args and raises: as :func:`load`.
    """
    source = Path(path)
    blocks: list[Block] = []

    def begin() -> Callable[[Block], None]:
        blocks.clear()
        return _capped(source, blocks.append)

    poured = pour(source, begin, max_duration_s=max_duration_s)
    if poured.breaks_off and not allow_truncated:
        raise UnreadableFile(poured.breaks_off, hint=COPY_ANEW)
    audio = Audio(joined(blocks, poured.channels), poured.sample_rate)
    return IdentifiedAudio(audio, poured.pcm_sha256, poured.notices)


@dataclass(frozen=True)
class Poured:
    """What a file's sound turned out to be.

    Attributes:
        sample_rate, channels, frames: of the blocks.
        duration_s: of the file. pcm_sha256: of the file's own samples.
        breaks_off, notices: as in :class:`SoundStream`.
    """

    sample_rate: int
    channels: int
    frames: int
    duration_s: float
    pcm_sha256: str
    breaks_off: str
    notices: tuple[str, ...] = ()


def pour(
    path: Path,
    begin: Callable[[], Callable[[Block], None]],
    *,
    max_samples: int = MAX_READ,
    max_duration_s: float | None = None,
) -> Poured:
    """Read a file's sound block by block: as it is up to :data:`WHOLE_SAMPLES`, of all channels
    and as its header claims; larger sound folded to at most stereo and 48 kHz.

    More channels are mixed as :func:`.to_channels` does; where that loses the
    sound (:class:`.Balance`), the two loudest channels are given instead.

    Args:
        begin: is called before the first block, and again where reading starts over.

    Raises:
        UnreadableFile: as :class:`SoundStream`, or the sound is longer than ``max_duration_s``.
    """
    picked: tuple[int, ...] | None = None
    while True:
        with SoundStream(path, max_samples=max_samples) as stream:
            _require_duration(path, stream, max_duration_s)
            fold, balance = _fold_of(stream, picked), Balance(stream.channels)
            digest = PcmHash(stream.rate, stream.channels)
            most = None if max_duration_s is None else max_duration_s * stream.rate
            put, frames = begin(), 0
            blocks: Iterator[Block] = _hashed(path, stream, digest, most)
            if fold is not None:
                blocks = folded(blocks, fold, balance)
            for block in blocks:
                frames += block.shape[1]
                put(block)
        if (
            fold is not None
            and picked is None
            and stream.channels > fold.channels
            and balance.is_lost
        ):
            picked = balance.loudest(FOLDED_CHANNELS)
            continue
        rate = stream.rate if fold is None else fold.to_rate
        channels = stream.channels if fold is None else fold.channels
        duration_s = digest.frames / stream.rate
        return Poured(
            rate,
            channels,
            frames,
            duration_s,
            digest.hexdigest(),
            stream.breaks_off,
            tuple(stream.notices),
        )


def _fold_of(stream: SoundStream, picked: tuple[int, ...] | None) -> Fold | None:
    """What a sound is folded by; None: it is small enough to stay as it is."""
    if stream.samples is not None and stream.samples <= WHOLE_SAMPLES:
        return None
    rate, channels = min(stream.rate, FOLDED_RATE), min(stream.channels, FOLDED_CHANNELS)
    return Fold(stream.rate, to_rate=rate, channels=channels, picked=picked)


def _hashed(
    path: Path, stream: SoundStream, digest: PcmHash, most: float | None
) -> Iterator[Block]:
    for block in stream.blocks():
        digest.add(block)
        if most is not None and digest.frames > most:
            raise _too_long(path, None, most / stream.rate)
        yield block


def _require_duration(path: Path, stream: SoundStream, longest_s: float | None) -> None:
    if longest_s is not None and stream.frames is not None:
        seconds = stream.frames / stream.rate
        if seconds > longest_s:
            raise _too_long(path, seconds, longest_s)


def _too_long(path: Path, seconds: float | None, longest_s: float) -> UnreadableFile:
    length = "" if seconds is None else f" {seconds:.0f} s long,"
    return UnreadableFile(f"{path} is{length} longer than {longest_s:g} s", hint="cut it shorter")


def _require_target(rate: int, channels: int) -> None:
    """Raise as the conversion of a small sound would."""
    nothing = Audio(np.zeros((1, 1), np.float32), FOLDED_RATE)
    resample(to_channels(nothing, channels), rate)


def _collected(
    path: Path, source: Iterator[Block], rate: int, channels: int, longest_s: float | None
) -> Audio:
    blocks: list[Block] = []
    put, frames = _capped(path, blocks.append), 0
    for block in source:
        put(block)
        frames += block.shape[1]
        if longest_s is not None and frames > longest_s * rate + rate:
            raise _too_long(path, None, longest_s)
    return Audio(joined(blocks, channels), rate)


def _capped(path: Path, put: Callable[[Block], None]) -> Callable[[Block], None]:
    """Passes blocks on until they are more than memory is to hold."""
    total = 0

    def counted(block: Block) -> None:
        nonlocal total
        total += block.size
        if total > MAX_SAMPLES:
            raise UnreadableFile(
                f"{path} is too large to be read at once: more than {MAX_SAMPLES / 1e6:.0f} "
                f"million samples",
                hint=CUT_IT,
            )
        put(block)

    return counted

"""Read sound files into memory, or pour them into something block by block.

Large sound is converted while it is read: memory holds the result about once, and never more than
an hour of stereo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag_audio.audio.channels import Block
from rag_audio.audio.dsp import resample, to_channels
from rag_audio.audio.folding import Balance, Fold, folded, joined
from rag_audio.audio.layouts import ChannelLayout
from rag_audio.audio.pcm_hash import PcmHash
from rag_audio.audio.sound_stream import CUT_IT, MAX_READ, SoundStream
from rag_audio.domain import Audio
from rag_audio.errors import UnreadableFile

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
        layout: of the audio's channels; None: the usual one of as many.
    """

    audio: Audio
    pcm_sha256: str
    notices: tuple[str, ...] = ()
    layout: ChannelLayout | None = None


def load(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    max_duration_s: float | None = MAX_DURATION_S,
    notices: list[str] | None = None,
) -> Audio:
    """Read a sound file, or ``duration_s`` seconds of it from ``start_s`` (fewer at its end).

    Memory holds the result about once: a large sound is converted while it is read.

    Args:
        path: any file libsndfile reads, 1…8 channels.
        sample_rate, channels: to convert to; None keeps the file's own.
        max_duration_s: longest sound to read; None: no limit but that of samples.
        notices: what was cut or odd in the file is added to it, one line each; what is there of
            such a file is read.

    Raises:
        UnreadableFile: not audio, empty, nothing of it can be decoded, too long or too large (360
            million samples of all channels as converted), or with values that are NaN, infinite or
            beyond ±1000.
        InvalidInput: the window starts before 0 or past the end, or the conversion is out of range.
    """
    source = Path(path)
    with SoundStream(source, start_s, duration_s) as stream:
        _require_duration(source, stream, max_duration_s)
        to_rate, to = sample_rate or stream.rate, channels or stream.channels
        is_large = stream.samples is None or stream.samples > WHOLE_SAMPLES
        blocks: Iterator[Block] = stream.blocks()
        if is_large and (to_rate, to) != (stream.rate, stream.channels):
            _require_target(to_rate, to)
            blocks = folded(
                blocks, Fold(stream.rate, to_rate=to_rate, channels=to, layout=stream.layout)
            )
        else:
            to_rate, to = stream.rate, stream.channels
        audio, layout = _collected(source, blocks, to_rate, to, max_duration_s), stream.layout
        if notices is not None:
            notices += stream.notices
    if channels is not None:
        audio = to_channels(audio, channels, layout if to == stream.channels else None)
    return audio if sample_rate is None else resample(audio, sample_rate)


def hear(
    path: str | Path,
    *,
    max_duration_s: float | None = MAX_DURATION_S,
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
    audio = Audio(joined(blocks, poured.channels), poured.sample_rate)
    return IdentifiedAudio(audio, poured.pcm_sha256, poured.notices, poured.layout)


@dataclass(frozen=True)
class Poured:
    """What a file's sound turned out to be.

    Attributes:
        sample_rate, channels, frames: of the blocks.
        duration_s: of the file. pcm_sha256: of the file's own samples.
        notices: what was cut or odd in the file, one line each.
        layout: of the blocks' channels; None: the usual one of as many.
    """

    sample_rate: int
    channels: int
    frames: int
    duration_s: float
    pcm_sha256: str
    notices: tuple[str, ...] = ()
    layout: ChannelLayout | None = None


def pour(
    path: Path,
    begin: Callable[[], Callable[[Block], None]],
    *,
    max_samples: int = MAX_READ,
    max_duration_s: float | None = None,
    aside: Callable[[SoundStream], Callable[[Block], None]] | None = None,
) -> Poured:
    """Read a file's sound block by block: as it is up to :data:`WHOLE_SAMPLES`, of all channels
    and as its header claims; larger sound folded to at most stereo and 48 kHz.

    More channels are mixed as :func:`.to_channels` does; where that loses the
    sound (:class:`.Balance`), the two loudest channels are given instead.

    Args:
        begin: is called before the first block, and again where reading starts over.
        aside: is called before that, and hears the sound as it is, of all channels.

    Raises:
        UnreadableFile: as :class:`.SoundStream`, or the sound is longer than ``max_duration_s``.
    """
    picked: tuple[int, ...] | None = None
    while True:
        with SoundStream(path, max_samples=max_samples) as stream:
            _require_duration(path, stream, max_duration_s)
            fold = _fold_of(stream, picked)
            balance = Balance(stream.channels, min(stream.channels, FOLDED_CHANNELS), stream.layout)
            digest = PcmHash(stream.rate, stream.channels)
            most = None if max_duration_s is None else max_duration_s * stream.rate
            hear = None if aside is None else aside(stream)
            put, frames = begin(), 0
            blocks: Iterator[Block] = _hashed(path, stream, digest, most, hear)
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
            tuple(stream.notices),
            stream.layout if fold is None else None,
        )


def _fold_of(stream: SoundStream, picked: tuple[int, ...] | None) -> Fold | None:
    """What a sound is folded by; None: it is small enough to stay as it is."""
    if stream.samples is not None and stream.samples <= WHOLE_SAMPLES:
        return None
    rate, channels = min(stream.rate, FOLDED_RATE), min(stream.channels, FOLDED_CHANNELS)
    return Fold(stream.rate, to_rate=rate, channels=channels, picked=picked, layout=stream.layout)


def _hashed(
    path: Path,
    stream: SoundStream,
    digest: PcmHash,
    most: float | None,
    hear: Callable[[Block], None] | None = None,
) -> Iterator[Block]:
    for block in stream.blocks():
        digest.add(stream.as_stored(block))
        if hear is not None:
            hear(block)
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

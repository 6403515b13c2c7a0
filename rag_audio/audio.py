"""Read and write sound files; re-exports everything else that is done to sound.

Files are read through libsndfile (WAV, FLAC, OGG, MP3, AIFF and its other formats), block by block,
so that a header which lies about its length costs no memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.formats import format_of, rate_for
from rag_audio.full_scale import require_fit
from rag_audio.id3 import id3_tag
from rag_audio.loudness import (
    limit_peak,
    loudness_lufs,
    normalize_loudness,
    true_peak_dbtp,
)
from rag_audio.pictures import spectrogram_png
from rag_audio.sequential import SequentialFile
from rag_audio.shaping import MAX_CHANNELS, loop_to, mono, resample, stretch, to_channels
from rag_audio.sinks import Sink

__all__ = [
    "MAX_CHANNELS",
    "AudioInfo",
    "check_writable",
    "info",
    "limit_peak",
    "load",
    "loop_to",
    "loudness_lufs",
    "mono",
    "normalize_loudness",
    "pcm_sha256",
    "resample",
    "save",
    "spectrogram_png",
    "stretch",
    "to_channels",
    "true_peak_dbtp",
]

_BLOCK = 1 << 18
_MAX_LEVEL = 1000.0
_MAX_DURATION_S = 3600.0
_PCM24 = float(1 << 23)
_STREAMED = 0x7FFFFF00
_CLAIM = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file says of itself: seconds, Hz, channels, and libsndfile's format name."""

    duration_s: float
    sample_rate: int
    channels: int
    format: str


def info(path: str | Path) -> AudioInfo:
    """What the file's header says, without reading its sound.

    Raises:
        UnreadableFile: it is not a sound file, or an empty one.
    """
    with _open(Path(path)) as file:
        return AudioInfo(
            file.frames / file.samplerate, file.samplerate, file.channels, str(file.format)
        )


def load(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    max_duration_s: float | None = _MAX_DURATION_S,
    allow_truncated: bool = False,
) -> Audio:
    """Read a sound file, or ``duration_s`` seconds of it from ``start_s`` (fewer at its end).

    Args:
        path: any file libsndfile reads, 1…8 channels.
        sample_rate, channels: to convert to; None keeps the file's own.
        max_duration_s: longest sound to read; None: no limit.
        allow_truncated: read what is there of a file that breaks off.

    Raises:
        UnreadableFile: not audio, empty, corrupt, truncated, too long, or with values that are NaN,
            infinite or beyond ±1000.
        InvalidInput: the window starts before 0 or past the end.
    """
    source = Path(path)
    with _open(source) as file:
        first, frames = _window(source, file, start_s, duration_s)
        seconds = frames / file.samplerate
        if max_duration_s is not None and seconds > max_duration_s:
            raise UnreadableFile(
                f"{source} is {seconds:.0f} s long, more than {max_duration_s:g} s"
            )
        if not allow_truncated:
            _check_claim(source, file)
        samples = _read(source, file, first, frames, allow_truncated)
        rate = int(file.samplerate)
    _check_samples(source, samples)
    audio = Audio(samples, rate)
    if channels is not None:
        audio = to_channels(audio, channels)
    return audio if sample_rate is None else resample(audio, sample_rate)


def save(
    audio: Audio,
    path: str | Path,
    *,
    bitrate_kbps: int | None = None,
    subtype: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a sound file, its kind by the name's ending; it appears whole or not at all.

    Nothing is clipped: sound above full scale goes into encodings that hold it (floats, and the
    lossy ones), see :mod:`rag_audio.full_scale`.

    24-bit files hold exactly the values that :func:`pcm_sha256` hashes.

    Args:
        path: ``.wav``, ``.flac``, ``.mp3``, ``.ogg`` or ``.opus``.
        bitrate_kbps: constant bit rate of an MP3, 32…320; None: LAME's default.
        subtype: see :func:`rag_audio.formats.format_of`. Opus is resampled to 48 kHz where it does
            not know the rate.
        tags: texts by libsndfile's names for them: ``comment``, ``copyright``, ``title``…

    Raises:
        InvalidInput: the ending, subtype, rate or channel count does not fit, samples would be
            clipped, or the disk says no.
    """
    target = Path(path)
    check_writable(target, subtype)
    if not np.isfinite(audio.samples).all():
        raise InvalidInput(f"cannot write {target.name}: the samples hold NaN or infinity")
    require_fit(audio, target, subtype)
    kind, encoding = format_of(target, subtype)
    audio = resample(audio, rate_for(encoding, audio.sample_rate))
    options: dict[str, Any] = {"format": kind, "subtype": encoding}
    if bitrate_kbps is not None:
        options |= _constant_bitrate(kind, audio.sample_rate, bitrate_kbps)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("wb") as raw:
            disk = Sink(raw)
            _write(audio, disk, options, {} if kind == "MP3" else tags or {})
            if disk.fault is not None:
                raise disk.fault
            raw.flush()
            os.fsync(raw.fileno())
        if kind == "MP3" and tags:
            _prepend(id3_tag(tags), unfinished)
        unfinished.replace(target)
    except OSError as error:
        raise InvalidInput(
            f"cannot write {target}: {error.strerror or error}", hint="choose another place"
        ) from error
    except (soundfile.LibsndfileError, ValueError) as error:
        raise InvalidInput(
            f"cannot write {target.name} as {options['subtype']} with {audio.channels} channels at "
            f"{audio.sample_rate} Hz: {error}",
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def check_writable(path: str | Path, subtype: str | None = None) -> None:
    """Find out, before any work is done, whether :func:`save` knows this kind of file.

    Raises:
        InvalidInput: it does not, a folder stands there, or its own folder cannot be one.
    """
    target = Path(path)
    format_of(target, subtype)
    nearest = next(folder for folder in target.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise InvalidInput(f"cannot write {target}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK):
        raise InvalidInput(f"cannot write {target}: the folder {nearest} is read-only")
    if target.is_dir():
        raise InvalidInput(f"cannot write {target}: it is a folder")


def pcm_sha256(audio: Audio) -> str:
    """Hash of the sound itself: rate, channels and the samples as interleaved 24-bit integers.

    The same before saving and after loading a 24-bit WAV or FLAC, or a float WAV.
    """
    digest = hashlib.sha256(f"pcm24 {audio.sample_rate} {audio.channels}\n".encode())
    for start in range(0, audio.frames, _BLOCK):
        digest.update(_pcm24(audio.samples[:, start : start + _BLOCK]).astype("<i4").tobytes())
    return digest.hexdigest()


def _open(path: Path) -> Any:
    """The file opened for reading, with every cause of failure told in one line."""
    if not path.exists():
        raise UnreadableFile(f"there is no file {path}")
    if not path.is_file():
        raise UnreadableFile(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise UnreadableFile(f"{path} is empty")
    try:
        file = SequentialFile(os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError, ValueError, OSError) as error:
        raise UnreadableFile(
            f"{path} is not a sound file that can be read: {_said(error)}"
        ) from error
    problem = None
    if file.frames <= 0:
        problem = "holds no sound"
    elif not 1 <= file.channels <= MAX_CHANNELS:
        problem = f"has {file.channels} channels, more than {MAX_CHANNELS}"
    elif not 1000 <= file.samplerate <= 768_000:
        problem = f"claims a sample rate of {file.samplerate} Hz"
    if problem:
        file.close()
        raise UnreadableFile(f"{path} {problem}")
    return file


def _window(path: Path, file: Any, start_s: float, duration_s: float | None) -> tuple[int, int]:
    """First frame and number of frames of the wanted part."""
    first = round(start_s * file.samplerate)
    if not 0 <= first < file.frames:
        length = file.frames / file.samplerate
        raise InvalidInput(f"{start_s:g} s is not within {path.name}, which is {length:.2f} s long")
    frames = file.frames - first
    if duration_s is not None:
        if duration_s <= 0:
            raise InvalidInput(f"duration_s must be positive, got {duration_s:g}")
        frames = min(frames, round(duration_s * file.samplerate))
    return first, int(frames)


def _check_claim(path: Path, file: Any) -> None:
    """A WAV or AIFF whose header promises more bytes than follow breaks off.

    Sizes near 2^31 and 2^32 stand for "not known" in files that were written to a pipe.
    """
    claim = _CLAIM.search(str(file.extra_info))
    if claim is None:
        return
    promised, there = int(claim[1]), int(claim[2])
    if there < 0.99 * promised and promised < _STREAMED:
        raise UnreadableFile(f"{path} breaks off: {there} of {promised} bytes of sound are there")


def _read(
    path: Path, file: Any, first: int, frames: int, allow_truncated: bool
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    blocks = []
    missing = frames
    try:
        if first:
            file.go_to(first)
        while missing > 0:
            block = file.read(min(_BLOCK, missing), dtype="float32", always_2d=True)
            if len(block) == 0:
                break
            blocks.append(block)
            missing -= len(block)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        if not (blocks and allow_truncated):
            raise UnreadableFile(f"{path} is corrupt: {_said(error)}") from error
    if not blocks:
        raise UnreadableFile(f"{path} holds no sound that can be decoded")
    if missing > 0.1 * frames and not allow_truncated:
        raise UnreadableFile(
            f"{path} breaks off after {(frames - missing) / file.samplerate:.2f} s"
        )
    return np.ascontiguousarray(np.concatenate(blocks).T)


def _check_samples(path: Path, samples: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    low, high = float(samples.min()), float(samples.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnreadableFile(f"{path} holds samples that are not numbers")
    if max(-low, high) > _MAX_LEVEL:
        raise UnreadableFile(f"{path} holds samples of {max(-low, high):.3g} times full scale")


def _prepend(head: bytes, path: Path) -> None:
    whole = head + path.read_bytes()
    with path.open("wb") as raw:
        raw.write(whole)
        raw.flush()
        os.fsync(raw.fileno())


def _write(audio: Audio, raw: Any, options: dict[str, Any], tags: Mapping[str, str]) -> None:
    as_integers = options["subtype"] == "PCM_24"
    with soundfile.SoundFile(
        raw, "w", samplerate=audio.sample_rate, channels=audio.channels, **options
    ) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        for start in range(0, audio.frames, _BLOCK):
            block = audio.samples[:, start : start + _BLOCK]
            # libsndfile scales floats by 2^23 - 1, so that a file would not read back as it was.
            file.write(_pcm24(block) << 8 if as_integers else np.ascontiguousarray(block.T))


def _pcm24(
    samples: np.ndarray[Any, np.dtype[np.float32]],
) -> np.ndarray[Any, np.dtype[np.int32]]:
    scaled = np.rint(samples.T.astype(np.float64) * _PCM24)
    return np.ascontiguousarray(np.clip(scaled, -_PCM24, _PCM24 - 1).astype(np.int32))


def _constant_bitrate(kind: str, sample_rate: int, bitrate_kbps: int) -> dict[str, Any]:
    """libsndfile maps compression 0…1 linearly onto the bit rates of the MPEG version in use."""
    if kind != "MP3":
        raise InvalidInput(f"a bit rate can be set for MP3 only, not for {kind}")
    low, high = (
        (32, 320) if sample_rate >= 32_000 else (8, 160) if sample_rate >= 16_000 else (8, 64)
    )
    if not low <= bitrate_kbps <= high:
        raise InvalidInput(
            f"an MP3 at {sample_rate} Hz has {low}…{high} kbit/s, got {bitrate_kbps}"
        )
    compression = (high - bitrate_kbps) / (high - low)
    return {"compression_level": compression, "bitrate_mode": "CONSTANT"}


def _said(error: Exception) -> str:
    """The last clause of a library's message, without the path that it repeats."""
    return str(error).rsplit(": ", 1)[-1].strip() or type(error).__name__

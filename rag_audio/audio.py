"""Write sound files; re-exports all else that is done to sound.

Files are read through libsndfile (WAV, FLAC, OGG, MP3, AIFF and its other formats); see
:mod:`rag_audio.loading`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.files import export
from rag_audio.formats import format_of, rate_for
from rag_audio.full_scale import require_fit
from rag_audio.id3 import id3_tag
from rag_audio.loading import Heard, hear, load
from rag_audio.loudness import (
    limit_peak,
    loudness_lufs,
    normalize_loudness,
    true_peak_dbtp,
)
from rag_audio.pcm import PcmHash, pcm24
from rag_audio.pictures import spectrogram_png
from rag_audio.shaping import MAX_CHANNELS, loop_to, mono, resample, stretch, to_channels
from rag_audio.sinks import Sink
from rag_audio.sound_stream import open_sound

__all__ = [
    "MAX_CHANNELS",
    "AudioInfo",
    "Heard",
    "check_writable",
    "hear",
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
    with open_sound(Path(path)) as file:
        return AudioInfo(
            file.frames / file.samplerate, file.samplerate, file.channels, str(file.format)
        )


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
    try:
        with export(target) as draft:
            with draft.open("wb") as raw:
                disk = Sink(raw)
                _write(audio, disk, options, {} if kind == "MP3" else tags or {})
                if disk.fault is not None:
                    raise disk.fault
            if kind == "MP3" and tags:
                draft.write_bytes(id3_tag(tags) + draft.read_bytes())
    except (soundfile.LibsndfileError, ValueError) as error:
        raise InvalidInput(
            f"cannot write {target.name} as {options['subtype']} with {audio.channels} channels at "
            f"{audio.sample_rate} Hz: {error}",
        ) from error


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
    digest = PcmHash(audio.sample_rate, audio.channels)
    digest.add(audio.samples)
    return digest.hexdigest()


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
            file.write(pcm24(block) << 8 if as_integers else np.ascontiguousarray(block.T))


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

"""Write sound files, through libsndfile; :mod:`.reading` reads them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.channels import Block
from rag_audio.audio.dsp import resample
from rag_audio.audio.headers import format_of, rate_for
from rag_audio.audio.pcm_hash import PcmHash
from rag_audio.audio.sound_stream import SoundStream
from rag_audio.audio.sound_writer import SoundWriter
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.storage.files import export

_BLOCK = 1 << 18


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file says of itself: seconds, Hz, channels, and libsndfile's format name."""

    duration_s: float
    sample_rate: int
    channels: int
    format: str


def info(path: str | Path) -> AudioInfo:
    """What the file's header says; its sound is read where only that tells how long it is.

    Raises:
        UnreadableFile: it is not a sound file, or an empty one.
    """
    with SoundStream(Path(path)) as stream:
        frames = stream.frames
        if frames is None:
            frames = sum(block.shape[1] for block in stream.blocks())
        return AudioInfo(frames / stream.rate, stream.rate, stream.channels, stream.format)


def save(
    audio: Audio,
    path: str | Path,
    *,
    bitrate_kbps: int | None = None,
    subtype: str | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: CarriedMetadata | None = None,
) -> None:
    """Write a sound file, its kind by the name's ending; it appears whole or not at all.

    Nothing is clipped: sound above full scale goes into encodings that hold it (floats, and the
    lossy ones), see :mod:`rag_audio.audio.writing`. A ``.wav`` of more than 4 GB is an RF64.

    24-bit files hold exactly the values that :func:`pcm_sha256` hashes.

    Args:
        path: ``.wav``, ``.rf64``, ``.w64``, ``.flac``, ``.mp3``, ``.ogg`` or ``.opus``.
        bitrate_kbps: constant bit rate of an MP3, 32…320; None: LAME's default.
        subtype: see :func:`.format_of`. Opus is resampled to 48 kHz where it does
            not know the rate.
        tags: texts by name (:mod:`.text_tags`): ``comment``, ``copyright``, ``title``…
        metadata: what else is to stand beside the sound, fit for this kind of file
            (:meth:`.CarriedMetadata.into`).

    Raises:
        InvalidInput: the ending, subtype, rate or channel count does not fit, samples would be
            clipped, or the disk says no.
    """
    target = Path(path)
    check_writable(target, subtype)
    if not np.isfinite(audio.samples).all():
        raise InvalidInput(f"cannot write {target.name}: the samples hold NaN or infinity")
    require_fit(audio, target, subtype)
    audio = resample(audio, rate_for(format_of(target, subtype)[1], audio.sample_rate))
    data = metadata or CarriedMetadata()
    if tags:
        data = data.with_texts(target, tags)
    blocks = (audio.samples[:, at : at + _BLOCK] for at in range(0, audio.frames, _BLOCK))
    form = SoundForm(audio.sample_rate, audio.channels, subtype, bitrate_kbps)
    save_blocks(blocks, target, form, data)


@dataclass(frozen=True)
class SoundForm:
    """How a sound is to be written: Hz, channels, encoding as :func:`.format_of` takes it, and the
    bit rate of an MP3."""

    sample_rate: int
    channels: int
    subtype: str | None = None
    bitrate_kbps: int | None = None


def save_blocks(
    blocks: Iterable[Block], path: Path, form: SoundForm, data: CarriedMetadata
) -> None:
    """Write a sound that comes in blocks ``[C, T]``, as :func:`save` does.

    Raises:
        InvalidInput: as :func:`save`; a block would be clipped, or holds NaN or infinity.
    """
    kind, encoding = format_of(path, form.subtype)
    compression: dict[str, Any] = {}
    if form.bitrate_kbps is not None:
        compression = _constant_bitrate(kind, form.sample_rate, form.bitrate_kbps)
    try:
        with export(path) as draft:
            rate, channels = form.sample_rate, form.channels
            with SoundWriter(draft, (kind, encoding), rate, channels, data, compression) as writer:
                for block in blocks:
                    require_fit(Audio(block, rate), path, form.subtype)
                    writer.write(block)
    except (soundfile.LibsndfileError, ValueError) as error:
        raise InvalidInput(
            f"cannot write {path.name} as {encoding} with {form.channels} channels at "
            f"{form.sample_rate} Hz: {error}",
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


# Sound above full scale: files of floats hold it, files of integers would clip it.
#
# Nothing is clipped when a file is written: :func:`.save` refuses what its encoding
# cannot hold, and whoever writes a user's sound lowers it first (:func:`fit`) and says so.


@dataclass(frozen=True)
class Excess:
    """How much of a sound is above full scale: samples, and dB of the highest; 0 and 0: none."""

    samples: int = 0
    peak_db: float = 0.0

    def __bool__(self) -> bool:
        return self.samples > 0

    def __str__(self) -> str:
        noun = "sample" if self.samples == 1 else "samples"
        return f"{self.samples} {noun} up to {self.peak_db:.2g} dB above full scale"


def excess_of(audio: Audio) -> Excess:
    """What of a sound is above full scale, which is 1.0."""
    over = int(np.count_nonzero(np.abs(audio.samples) > 1.0))
    if not over:
        return Excess()
    return Excess(over, 20.0 * math.log10(float(np.abs(audio.samples).max())))


def is_clipped_by(path: str | Path, subtype: str | None) -> bool:
    """Whether a file of this name and encoding ends at full scale; see :func:`.format_of`.

    Raises:
        InvalidInput: there is no such kind of file.
    """
    return format_of(path, subtype)[1].startswith("PCM")


def fit(audio: Audio, path: str | Path, subtype: str | None) -> tuple[Audio, Excess]:
    """The sound, lowered by one gain to full scale where the file would clip it.

    Returns:
        The sound, and what was above full scale where it was lowered for that.
    """
    excess = excess_of(audio)
    if not excess or not is_clipped_by(path, subtype):
        return audio, Excess()
    lowered = audio.samples / np.abs(audio.samples).max()
    return Audio(lowered.astype(np.float32), audio.sample_rate), excess


def require_fit(audio: Audio, path: Path, subtype: str | None) -> None:
    """Refuse a sound that the file would clip.

    Raises:
        InvalidInput: it would; the message counts the samples.
    """
    if not is_clipped_by(path, subtype):
        return
    excess = excess_of(audio)
    if excess:
        raise InvalidInput(
            f"cannot write {path.name} as {format_of(path, subtype)[1]}: it would clip {excess}",
            hint="lower the sound, or write a .wav of floats (subtype 32f)",
        )

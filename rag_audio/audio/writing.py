"""Write sound files, through libsndfile; :mod:`.reading` reads them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from rag_audio.audio.dsp import resample
from rag_audio.audio.headers import format_of, id3_tag, rate_for
from rag_audio.audio.pcm_hash import PcmHash, pcm24
from rag_audio.audio.sound_stream import SoundStream
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from rag_audio.storage.files import export

# Files that a library writes to which cannot be told of errors.


class Sink:
    """A file that libsndfile writes to; it cannot be told of a full disk, so its caller is.

    Attributes:
        fault: the first error.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        """All of it, as far as the caller is told."""
        with self._noticed():
            self._raw.write(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte; where the file then stands."""
        with self._noticed():
            self._raw.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """The byte it stands at."""
        return self._raw.tell()

    def flush(self) -> None:
        """Hand over what is buffered."""
        with self._noticed():
            self._raw.flush()

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.fault = self.fault or error


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
) -> None:
    """Write a sound file, its kind by the name's ending; it appears whole or not at all.

    Nothing is clipped: sound above full scale goes into encodings that hold it (floats, and the
    lossy ones), see :mod:`rag_audio.audio.writing`.

    24-bit files hold exactly the values that :func:`pcm_sha256` hashes.

    Args:
        path: ``.wav``, ``.flac``, ``.mp3``, ``.ogg`` or ``.opus``.
        bitrate_kbps: constant bit rate of an MP3, 32…320; None: LAME's default.
        subtype: see :func:`.format_of`. Opus is resampled to 48 kHz where it does
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

"""How a sound file is encoded and what it says of itself, so that a copy can be like it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import soundfile

from rag_audio.errors import InvalidInput, UnreadableFile
from rag_audio.formats import KINDS, format_of
from rag_audio.id3 import KNOWN_TAGS

_CHUNK = re.compile(r"^(\S.{3}) : \d+\s*$", re.MULTILINE)
_PLAIN_CHUNKS = frozenset({"RIFF", "RF64", "fmt", "data", "fact", "LIST", "PEAK", "JUNK", "PAD"})
_NOT_CARRIED = frozenset({"software"})
"""It is libsndfile that writes the copy, and says so there."""


@dataclass(frozen=True)
class SoundHeader:
    """A sound file's encoding (libsndfile's name), its texts by libsndfile's names for them, and
    the names of other data beside the sound, as far as a WAV tells."""

    subtype: str
    tags: Mapping[str, str]
    others: tuple[str, ...]

    def subtype_in(self, path: Path) -> str:
        """The encoding nearest to this file's that the kind of ``path`` has.

        Raises:
            InvalidInput: the ending is unknown.
        """
        usual = format_of(path)[1]
        here = KINDS[path.suffix.lower()].subtypes
        if self.subtype in here:
            return self.subtype
        if self.subtype in ("PCM_S8", "PCM_U8", "ULAW", "ALAW") and "PCM_16" in here:
            return "PCM_16"
        # Sound is read as 32-bit floats: what is finer than 24 bits stays in them.
        return "FLOAT" if self.subtype in ("PCM_32", "DOUBLE") and "FLOAT" in here else usual

    def tags_in(self, path: Path) -> dict[str, str]:
        """The texts that a file of this kind can hold."""
        known = KNOWN_TAGS if path.suffix.lower() == ".mp3" else self.tags.keys()
        return {name: text for name, text in self.tags.items() if name in known}

    def lost_in(self, path: Path) -> tuple[str, ...]:
        """Names of what a file of this kind will not hold."""
        return (*(name for name in self.tags if name not in self.tags_in(path)), *self.others)


def read_header(path: Path) -> SoundHeader:
    """The header of a file that :func:`rag_audio.audio.load` reads.

    Raises:
        UnreadableFile: it cannot be read.
    """
    try:
        with soundfile.SoundFile(str(path).encode(errors="surrogateescape")) as file:
            tags = file.copy_metadata()
            chunks = _CHUNK.findall(str(file.extra_info)) if file.format == "WAV" else []
            others = sorted({name.strip() for name in chunks} - _PLAIN_CHUNKS)
            kept = {name: text for name, text in tags.items() if name not in _NOT_CARRIED and text}
            return SoundHeader(str(file.subtype), kept, tuple(others))
    except (soundfile.LibsndfileError, ValueError, OSError) as error:
        raise UnreadableFile(f"{path} is not a sound file that can be read") from error


def require_room(path: Path, subtype: str | None, channels: int, sample_rate: int) -> None:
    """Find out, before any work is done, whether a kind of file holds a sound's form.

    Raises:
        InvalidInput: it has too many channels, or a sample rate that the kind does not know.
    """
    kind, encoding = format_of(path, subtype)
    most, rates = _FORMS[encoding if encoding == "OPUS" else kind]
    if channels > most or sample_rate not in rates:
        raise InvalidInput(
            f"{path.name} cannot hold {channels} channels at {sample_rate} Hz",
            hint="name it .wav, which holds any",
        )


_FORMS: dict[str, tuple[int, range | tuple[int, ...]]] = {
    "WAV": (1024, range(1, 2**31)),
    "FLAC": (8, range(1, 655_351)),
    "MP3": (2, (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    "OGG": (255, range(8000, 192_001)),
    "OPUS": (8, range(1, 2**31)),
}
"""Most channels and sample rates (Hz) that can be written; Opus is resampled to one that it has."""

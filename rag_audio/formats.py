"""How sound files begin; which can be written, and in which encodings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rag_audio.errors import InvalidInput

OPUS_HZ = 48_000
SCORE = ".mid"
"""The ending of standard MIDI files."""
_BEGINNINGS = {b"fLaC": ".flac", b"OggS": ".ogg", b".snd": ".au", b"caff": ".caf"}
_CHUNKED = {b"WAVE": ".wav", b"AIFF": ".aiff", b"AIFC": ".aiff", b"RMID": SCORE}
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, OPUS_HZ)
_SHORT = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT", "float": "FLOAT"}


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: libsndfile's name. subtypes: libsndfile's names of its encodings, the usual one first.
    """

    name: str
    subtypes: tuple[str, ...]


KINDS = {
    ".wav": Kind("WAV", ("PCM_24", "PCM_16", "FLOAT")),
    ".flac": Kind("FLAC", ("PCM_24", "PCM_16")),
    ".mp3": Kind("MP3", ("MPEG_LAYER_III",)),
    ".ogg": Kind("OGG", ("VORBIS", "OPUS")),
    ".opus": Kind("OGG", ("OPUS",)),
}


def format_of(path: str | Path, subtype: str | None = None) -> tuple[str, str]:
    """libsndfile's names for a file's kind, by its ending, and its encoding.

    Args:
        subtype: ``16``, ``24``, ``32f``, ``vorbis``, ``opus`` or libsndfile's own name; None: the
            usual one: 24 bits, LAME's default, Vorbis, Opus.

    Raises:
        InvalidInput: the ending is unknown, or the kind has no such encoding.
    """
    file = Path(path)
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        raise InvalidInput(
            f"cannot write {file.name or path}: unknown kind {file.suffix!r}",
            hint="name it " + ", ".join(KINDS),
        )
    if subtype is None:
        return kind.name, kind.subtypes[0]
    wanted = _SHORT.get(subtype.lower(), subtype.upper())
    if wanted not in kind.subtypes:
        raise InvalidInput(
            f"cannot write {file.name} as {subtype!r}",
            hint=f"a {file.suffix} file has: " + ", ".join(_shown(s) for s in kind.subtypes),
        )
    return kind.name, wanted


def read_head(path: Path) -> bytes:
    """The first bytes of a file, enough for :func:`suffix_of`.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(16)


def suffix_of(head: bytes) -> str | None:
    """The ending for a sound file or score that begins so, such as ``.wav``; None: it is neither.

    An MP3 that begins with a frame, not with an ID3 tag, is not told from other data.
    """
    if head[:4] in (b"RIFF", b"RF64", b"FORM"):
        return _CHUNKED.get(head[8:12])
    if head[:4] == b"MThd":
        return SCORE
    return ".mp3" if head[:3] == b"ID3" else _BEGINNINGS.get(head[:4])


def rate_for(subtype: str, sample_rate: int) -> int:
    """The rate to write at: Opus knows few, and plays all of them as 48 kHz."""
    if subtype == "OPUS" and sample_rate not in _OPUS_RATES:
        return OPUS_HZ
    return sample_rate


def _shown(subtype: str) -> str:
    short = {full: name for name, full in _SHORT.items() if name != "float"}
    return short.get(subtype, subtype.lower())

"""How a sound file is encoded and what it says of itself, so that a copy can be like it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

from rag_audio.audio.media_kinds import media_ending, media_kind
from rag_audio.errors import InvalidInput, UnreadableFile

# How sound files begin; which can be written, and in which encodings.

OPUS_HZ = 48_000
SCORE = ".mid"
"""The ending of standard MIDI files."""
HEAD_BYTES = 260
_SCORE_HEADER, _ARCHIVE = b"MThd\0\0\0\6", b"PK"
_BEGINNINGS = {b"fLaC": ".flac", b"OggS": ".ogg", b".snd": ".au", b"caff": ".caf"}
_CHUNKED = {b"WAVE": ".wav", b"AIFF": ".aiff", b"AIFC": ".aiff", b"RMID": SCORE}
_WAVE64 = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, OPUS_HZ)
_SHORT = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT", "float": "FLOAT"}


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        name: libsndfile's name. subtypes: libsndfile's names of its encodings, the usual one first.
    """

    name: str
    subtypes: tuple[str, ...]


KINDS = {
    ".wav": FileKind("WAV", ("PCM_24", "PCM_16", "FLOAT")),
    ".rf64": FileKind("RF64", ("PCM_24", "PCM_16", "FLOAT")),
    ".w64": FileKind("W64", ("PCM_24", "PCM_16", "FLOAT")),
    ".flac": FileKind("FLAC", ("PCM_24", "PCM_16")),
    ".mp3": FileKind("MP3", ("MPEG_LAYER_III",)),
    ".ogg": FileKind("OGG", ("VORBIS", "OPUS")),
    ".opus": FileKind("OGG", ("OPUS",)),
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
        return file.read(HEAD_BYTES)


def suffix_of(head: bytes) -> str | None:
    """The ending for a sound or video file or a score that begins so, such as ``.wav``; None: it
    is none of them.

    An MP3 that begins with a frame, not with an ID3 tag, is not told from other data. A score may
    have a few bytes before its header, such as the 128 of MacBinary.
    """
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"FORM"):
        return _CHUNKED.get(head[8:12]) or media_ending(head)
    if head[:16] == _WAVE64:
        return ".w64"
    if head[:4] == b"MThd":
        return SCORE
    if head[:3] == b"ID3":
        return ".mp3"
    found = _BEGINNINGS.get(head[:4]) or media_ending(head)
    is_late_score = _SCORE_HEADER in head and not head.startswith(_ARCHIVE)
    return SCORE if found is None and is_late_score else found


def rate_for(subtype: str, sample_rate: int) -> int:
    """The rate to write at: Opus knows few, and plays all of them as 48 kHz."""
    if subtype == "OPUS" and sample_rate not in _OPUS_RATES:
        return OPUS_HZ
    return sample_rate


def _shown(subtype: str) -> str:
    short = {full: name for name, full in _SHORT.items() if name != "float"}
    return short.get(subtype, subtype.lower())


@dataclass(frozen=True)
class SoundHeader:
    """How a sound file is encoded: libsndfile's name of that, or another decoder's."""

    subtype: str

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


def read_header(path: Path) -> SoundHeader:
    """The header of a file that :func:`rag_audio.audio.reading.load` reads.

    Raises:
        UnreadableFile: it cannot be read.
    """
    kind = media_kind(path)
    if kind is not None:
        return SoundHeader(kind.codecs[0] if kind.codecs else kind.container)
    try:
        with soundfile.SoundFile(str(path).encode(errors="surrogateescape")) as file:
            return SoundHeader(str(file.subtype))
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
    "RF64": (1024, range(1, 2**31)),
    "W64": (1024, range(1, 2**31)),
    "FLAC": (8, range(1, 655_351)),
    "MP3": (2, (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    "OGG": (255, range(8000, 192_001)),
    "OPUS": (8, range(1, 2**31)),
}
"""Most channels and sample rates (Hz) that can be written; Opus is resampled to one that it has."""

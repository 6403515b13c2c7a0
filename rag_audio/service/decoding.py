"""Uploads are decoded first in a process of their own, with little memory and little time.

What a decoder does with a hostile file then ends that process and not the server. The file is used
further on only after it was decoded there from its first to its last sample.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rag_audio.errors import BackendError, UnreadableFile
from rag_audio.service.settings import ServeSettings

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MAGIC = (
    (b"RIFF", ".wav"), (b"RF64", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"),
    (b"FORM", ".aiff"), (b"MThd", ".mid"),
)  # fmt: skip
"""How files begin that may be uploaded; MP3 may also begin with a frame."""


@dataclass(frozen=True)
class Decoded:
    """What an upload turned out to be: ``audio`` or ``midi``, its length and its file's ending."""

    kind: str
    duration_s: float
    suffix: str


def suffix_of(head: bytes) -> str | None:
    """The ending for a file that begins so; None: it is nothing that may be uploaded."""
    for magic, suffix in MAGIC:
        if head.startswith(magic):
            return suffix
    is_mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06
    return ".mp3" if is_mpeg else None


def decode(file: Path, settings: ServeSettings) -> Decoded:
    """Decode a file to its end, elsewhere.

    Raises:
        UnreadableFile: it is no sound or score, broken, too long, or took too much to decode.
    """
    with file.open("rb") as opened:
        suffix = suffix_of(opened.read(16))
    if suffix is None:
        raise UnreadableFile(
            "this is no sound or score that can be read",
            hint="WAV, FLAC, OGG, MP3, AIFF or standard MIDI",
        )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT")
    }
    environment |= dict.fromkeys(_ONE_THREAD, "1")
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    seconds, megabytes = settings.decode_s, settings.decode_mb
    limits = [str(seconds), str(megabytes), str(settings.max_upload_s)]
    kind = "midi" if suffix == ".mid" else "audio"
    command = [sys.executable, "-P", "-m", "rag_audio.service.decoder", kind, str(file), *limits]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, and a path of our own making
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=seconds + 5.0,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableFile(f"decoding it took longer than {seconds:g} s") from error
    except OSError as error:
        raise BackendError(f"no decoder can be started: {error}") from error
    try:
        said = json.loads(done.stdout)
    except ValueError:
        why = f"its decoder ended with {done.returncode}"
        raise UnreadableFile(f"this cannot be decoded: {why}") from None
    if "refused" in said:
        raise UnreadableFile(str(said["refused"]))
    return Decoded(kind, float(said["duration_s"]), suffix)

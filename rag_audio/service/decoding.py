"""Uploads are decoded first in a process of their own, with little memory and little time.

What a decoder does with a hostile file then ends that process and not the server. The file is used
further on only after it was decoded there from its first to its last sample, and its content
credentials were parsed there.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_audio.errors import BackendUnavailable, UnreadableFile
from rag_audio.provenance.manifest import MEDIA_TYPES
from rag_audio.service.settings import ServeSettings

_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT")
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


class Decoders:
    """Processes that decode; each has one file at a time.

    Args:
        count: at most so many.
    """

    def __init__(self, settings: ServeSettings, count: int = 2) -> None:
        self._settings = settings
        self._free: queue.Queue[_Decoder | None] = queue.Queue()
        for _ in range(count):
            self._free.put(None)

    def decode(self, file: Path) -> Decoded:
        """Decode a file to its end, elsewhere.

        Raises:
            UnreadableFile: it is no sound or score, broken, too long, or took too much to decode.
            BackendUnavailable: too many are being decoded.
        """
        with file.open("rb") as opened:
            suffix = suffix_of(opened.read(16))
        if suffix is None:
            raise UnreadableFile(
                "this is no sound or score that can be read",
                hint="WAV, FLAC, OGG, MP3, AIFF or standard MIDI",
            )
        kind = "midi" if suffix == ".mid" else "audio"
        asked = {
            "kind": kind,
            "file": str(file),
            "media_type": MEDIA_TYPES.get(suffix, "audio/x-unknown"),
            "seconds": self._settings.decode_s,
            "megabytes": self._settings.decode_mb,
            "longest_s": self._settings.max_upload_s,
        }
        said = self._ask(asked)
        if "refused" in said:
            raise UnreadableFile(str(said["refused"]))
        return Decoded(kind, float(said["duration_s"]), suffix)

    def close(self) -> None:
        """End the processes that are idle; those that work end with this process's pipes."""
        while True:
            try:
                decoder = self._free.get_nowait()
            except queue.Empty:
                return
            if decoder is not None:
                decoder.end()

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            decoder = self._free.get(timeout=2 * self._settings.decode_s)
        except queue.Empty:
            said = "too many uploads are being decoded"
            raise BackendUnavailable(said, public=said) from None
        try:
            if decoder is None or not decoder.is_alive:
                decoder = _Decoder()
            return decoder.ask(asked, self._settings.decode_s + 10.0)
        except OSError as error:
            raise BackendUnavailable(f"no decoder can be started: {error}") from error
        finally:
            self._free.put(decoder)


class _Decoder:
    """One process of :mod:`rag_audio.service.decoder`."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= dict.fromkeys(_ONE_THREAD, "1")
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rag_audio.service.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, asked: dict[str, Any], seconds: float) -> dict[str, Any]:
        """What becomes of one file; a process that does not answer in time is ended."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            to, source = self._process.stdin, self._process.stdout
            if to is None or source is None:
                raise OSError("it has no pipes")
            to.write(json.dumps(asked).encode() + b"\n")
            to.flush()
            line = source.readline()
            if not line:
                return {"refused": "this cannot be decoded: its decoder died"}
            said: dict[str, Any] = json.loads(line)
            return said
        finally:
            timer.cancel()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

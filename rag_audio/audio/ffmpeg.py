"""Read what libsndfile does not, by an ``ffmpeg`` program of the system, as a stream of samples.

The file comes from a stranger and its decoder is large: ffmpeg runs in a process with little time
and memory (:mod:`.limited_exec`), that can make no file longer. It is told which demuxer to use, by
what *we* found in the file; that demuxer may open local files alone, of which it is given one, by
its open descriptor. No shell is involved.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from rag_audio.audio.media_kinds import MediaKind
from rag_audio.audio.sequential_file import UNKNOWN_FRAMES
from rag_audio.audio.wave_pipe import HEAD_BYTES, PipedWave, piped_wave
from rag_audio.errors import UnreadableFile

VARIABLE = "RAG_AUDIO_FFMPEG"
OFF = "off"
"""The value of the setting with which no such program is ever started."""
CPU_S = 900
"""Seconds of processor time for one file."""
MEMORY = 1 << 30
"""Bytes of address space."""
STALL_S = 60.0
"""Seconds without a sample while somebody waits for one, after which it is given up."""

_INSTEAD = "export it as WAV or FLAC"
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_MOST_SAID = 1 << 14
_PIECE = 1 << 18
_FLOAT_BYTES = 4
_PADDING = 4096
"""Frames: as many as an encoder may add at the end of a sound."""
_ENDING_S = 5.0
_VERSION_S = 20.0
_LINE = 200
_SOUND_DECODERS = (
    "aac aac_latm alac opus libopus vorbis libvorbis flac mp3 mp3float mp2 mp2float ac3 eac3 dca "
    "truehd wavpack ape tta wmav1 wmav2 wmapro wmalossless wmavoice amrnb amrwb libopencore_amrnb "
    "libopencore_amrwb speex libspeex adpcm_ms adpcm_ima_wav adpcm_ima_qt pcm_alaw pcm_mulaw "
    "pcm_u8 pcm_s8 pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_f32be "
    "pcm_f64le pcm_f64be"
).split()

_chosen: list[str | None] = []


def choose(setting: str | None) -> None:
    """Which ffmpeg this process uses from now on.

    Args:
        setting: a path, ``off``, or None: the one on the ``PATH``.
    """
    _chosen[:] = [setting or None]


def setting() -> str | None:
    """What was chosen, else what the environment says, if anything."""
    return (_chosen[0] if _chosen else None) or os.environ.get(VARIABLE) or None


def environment() -> dict[str, str]:
    """Variables by which another process of ours uses the same ffmpeg."""
    said = setting()
    return {} if said is None else {VARIABLE: said}


def find() -> Path | None:
    """The program, as an absolute path; None: there is none, or it may not be used."""
    said = setting()
    # Without limits a decoder of strangers' files is not started.
    if said == OFF or os.name != "posix":
        return None
    return _found(said or "ffmpeg", os.environ.get("PATH", os.defpath))


@lru_cache(maxsize=8)
def _found(name: str, path: str) -> Path | None:
    where = shutil.which(name, path=path)
    return None if where is None else Path(where).absolute()


@lru_cache(maxsize=8)
def version(program: Path) -> str:
    """Such as ``5.1.9``; empty: the program does not say."""
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(  # noqa: S603 (a program that the administrator chose; no shell)
            _limited(program, ["-version"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_S,
            env=_environment(),
        ).stdout[:_LINE]
        if found := re.match(rb"ffmpeg version n?(\d[\d.]*|\S+)", said):
            return found[1].decode("ascii", "replace").rstrip(".")
    return ""


def described() -> str:
    """The program and what it is for, or that there is none, in one line."""
    program, said = find(), setting()
    if program is not None:
        return f"{program} {version(program)} (m4a, WMA, WavPack, video)".replace("  ", " ")
    if said == OFF:
        return f"off ({VARIABLE}): m4a, WMA, WavPack and video are not read"
    where = "not found" if said is None else f"{said} is no program that can be run"
    return f"{where}: m4a, WMA, WavPack and video are not read"


def open_media(path: Path, kind: MediaKind) -> FfmpegSound:
    """A file of a kind that libsndfile does not read, opened for reading.

    Raises:
        UnreadableFile: it is protected, has no sound or cannot be decoded, or there is no ffmpeg;
            the message says what would do.
    """
    if kind.problem:
        raise UnreadableFile(f"{path} {kind.problem}")
    program = find()
    if program is None:
        missing = f"{path} is {kind}, which libsndfile does not read"
        raise UnreadableFile(f"{missing}: {_cure()}, or {_INSTEAD}")
    return FfmpegSound(path, kind, program)


def _cure() -> str:
    said = setting()
    if said == OFF:
        return f"set {VARIABLE}, which is off, to the path of ffmpeg"
    if said is not None:
        return f"correct {VARIABLE}, since {said} is no program that can be run"
    return "install ffmpeg"


class FfmpegSound:
    """A sound file that ffmpeg decodes while it is read, from front to back.

    Attributes:
        samplerate: Hz. channels: as they come. frames: that the file claims.
        extra_info: which speakers the channels are for, as libsndfile words it of a WAV.
        format: of the container. subtype: of the encoding; empty: not known.
        notices: what was odd; complete after the last read.

    Raises:
        UnreadableFile: nothing can be decoded of it.
    """

    def __init__(self, path: Path, kind: MediaKind, program: Path) -> None:
        self._path, self._kind = path, kind
        self.format, self.subtype = kind.container, kind.codecs[0] if kind.codecs else ""
        self.frames, self.extra_info = UNKNOWN_FRAMES, ""
        self.notices = [f"decoded by ffmpeg {version(program)} from {kind}".replace("  ", " ")]
        if kind.leading:
            bytes_ = "1 byte" if kind.leading == 1 else f"{kind.leading} bytes"
            self.notices.append(f"{bytes_} before its first frame are no sound and are left out")
        if len(kind.codecs) > 1:
            others = len(kind.codecs) - 1
            more = "1 other is" if others == 1 else f"{others} others are"
            self.notices.append(f"the first sound track was read; {more} in the file")
        self._buffer, self._said, self._at = bytearray(), bytearray(), 0
        self.samplerate, self.channels = 0, 0
        self._is_done, self._failure = False, ""
        self._process, self._pipes = _started(path, kind, program)
        try:
            wave = self._begin()
        except BaseException:
            self.close()
            raise
        self.samplerate, self.channels = wave.sample_rate, wave.channels
        if wave.channel_mask:
            # As libsndfile says it of a WAVE; :func:`.layout_of` reads it there.
            self.extra_info = f"Channel Mask : 0x{wave.channel_mask:X}"
        if kind.duration_s is not None:
            self.frames = max(1, round(kind.duration_s * self.samplerate))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def go_to(self, frame: int) -> None:
        """Pass what is before a frame that lies ahead."""
        while self._at < frame and len(self.read(min(_PIECE, frame - self._at))):
            pass

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> Any:
        """The next frames, float32 ``[T, C]``, fewer at the end.

        Raises:
            RuntimeError: nothing is left, and ffmpeg crashed, ran against a limit or stood still.
        """
        width = _FLOAT_BYTES * self.channels
        self._fill(frames * width)
        count = min(frames, len(self._buffer) // width)
        if not count:
            self._buffer.clear()
            if self._failure:
                raise RuntimeError(self._failure)
            return np.zeros((0, self.channels), np.float32)
        taken = bytes(self._buffer[: count * width])
        del self._buffer[: count * width]
        self._at += count
        return np.frombuffer(taken, "<f4").reshape(-1, self.channels)

    def close(self) -> None:
        """End ffmpeg, whatever it does; idempotent."""
        self._is_done = True
        self._buffer.clear()
        self._process.kill()
        self._process.wait()
        self._pipes.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _begin(self) -> PipedWave:
        """What ffmpeg says of the sound before its first sample."""
        wave = None
        while wave is None and not self._is_done and len(self._buffer) < HEAD_BYTES:
            self._fill(len(self._buffer) + 1)
            wave = piped_wave(bytes(self._buffer[:HEAD_BYTES]))
        if wave is None:
            raise self._refusal()
        del self._buffer[: wave.start]
        return wave

    def _refusal(self) -> UnreadableFile:
        said = bytes(self._said)
        if self._failure:
            return UnreadableFile(f"{self._path} {self._failure}", hint=_INSTEAD)
        if b"matches no streams" in said:
            return UnreadableFile(f"{self._path} has no sound: it is {self._kind} without any")
        if barred := re.findall(rb"Codec \((\w{1,40})\) not on whitelist", said):
            name = barred[-1].decode()
            encoded = f"{self._path} holds sound encoded as {name}, which is not decoded"
            return UnreadableFile(f"{encoded}: {_INSTEAD}")
        why = self._complaint()[0] or f"ffmpeg ended with {self._process.returncode}"
        damaged = f"{self._path} cannot be decoded as {self._kind}: {why}"
        return UnreadableFile(damaged, hint=f"copy it anew, or {_INSTEAD}")

    def _fill(self, wanted: int) -> None:
        """Have so many bytes in the buffer, or all that come."""
        until = time.monotonic() + STALL_S
        while len(self._buffer) < wanted and not self._is_done:
            left_s = until - time.monotonic()
            if left_s <= 0:
                self._process.kill()
                self._is_done, self._failure = True, f"gives no sound for {STALL_S:g} s"
                return
            for key, _ in self._pipes.select(left_s):
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    self._pipes.unregister(key.fileobj)
                elif key.data:
                    self._buffer += piece
                    until = time.monotonic() + STALL_S
                else:
                    self._said += piece[: max(0, _MOST_SAID - len(self._said))]
            if not self._pipes.get_map():
                self._is_done = True
                self._end()

    def _end(self) -> None:
        """Note how ffmpeg ended: well, or in a crash or against a limit."""
        try:
            code = self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        line, more = self._complaint()
        if code == -signal.SIGXCPU:
            self._failure = f"takes more than {CPU_S} s to decode"
        elif code < 0:
            self._failure = f"makes its decoder end with signal {-code}"
        elif code and b"Cannot allocate memory" in self._said:
            self._failure = f"takes more than {MEMORY >> 20} MiB of memory to decode"
        if line:
            also = f" (and {more} more)" if more else ""
            self.notices.append(f"ffmpeg says: {line}{also}")
        if not self.channels or self._failure:
            return
        there = self._at + len(self._buffer) // (_FLOAT_BYTES * self.channels)
        if self.frames < UNKNOWN_FRAMES and _lacks(there, self.frames):
            claimed_s = self.frames / self.samplerate
            self.notices.append(
                f"breaks off after {there / self.samplerate:.2f} s of {claimed_s:.2f} s "
                "that it claims"
            )

    def _complaint(self) -> tuple[str, int]:
        """The first line of what ffmpeg wrote on its standard error, and how many more."""
        lines = []
        for raw in self._said.decode("utf-8", "replace").splitlines():
            line = re.sub(r"^(\[[^\]]*@ 0x[0-9a-f]+\] ?)+", "", raw)
            line = re.sub(r"(file:)?/dev/fd/\d+:? ?", "", line)
            line = " ".join("".join(sign for sign in line if sign.isprintable()).split())
            if line and "not on whitelist" not in line and "Last message repeated" not in line:
                lines.append(line[:_LINE])
        return (lines[0], len(lines) - 1) if lines else ("", 0)


def _lacks(there: int, claimed: int) -> bool:
    """Whether more is missing than what encoders add at the end."""
    return claimed - there > max(_PADDING, 0.01 * claimed)


def _started(
    path: Path, kind: MediaKind, program: Path
) -> tuple[subprocess.Popen[bytes], selectors.BaseSelector]:
    """ffmpeg on a file, with limits, in an empty folder that is gone; and its two pipes."""
    with tempfile.TemporaryDirectory() as empty, open(path, "rb") as file:
        try:
            process = subprocess.Popen(  # noqa: S603 (an absolute path; no shell)
                _limited(program, _arguments(kind, file)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(file.fileno(),),
                cwd=empty,
                env=_environment(),
                bufsize=0,
            )
        except OSError as error:
            raise UnreadableFile(
                f"{path} is {kind}, and ffmpeg cannot be started: {error.strerror or error}"
            ) from error
    pipes = selectors.DefaultSelector()
    for pipe, is_sound in ((process.stdout, True), (process.stderr, False)):
        if pipe is not None:
            pipes.register(pipe, selectors.EVENT_READ, is_sound)
    return process, pipes


def _arguments(kind: MediaKind, file: IO[bytes]) -> list[str]:
    """One input, the first sound track of it, as a WAV of 32-bit floats on a pipe."""
    return [
        *("-hide_banner", "-nostdin", "-nostats", "-v", "error", "-threads", "1"),
        *("-protocol_whitelist", "file", "-format_whitelist", kind.demuxer),
        *("-codec_whitelist", ",".join(_SOUND_DECODERS), "-f", kind.demuxer),
        # Sound of a movie may lie in another file.
        *(("-enable_drefs", "0") if kind.demuxer == "mov" else ()),
        *("-i", f"file:/dev/fd/{file.fileno()}"),
        *("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
        *("-threads", "1", "-c:a", "pcm_f32le", "-fflags", "+bitexact", "-f", "wav", "pipe:1"),
    ]


def _limited(program: Path, arguments: list[str]) -> list[str]:
    shim = Path(__file__).with_name("limited_exec.py")
    limits = [str(CPU_S), str(MEMORY)]
    return [sys.executable, "-I", "-S", str(shim), *limits, str(program), *arguments]


def _environment() -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # glibc reserves address space for each thread otherwise.
    return {**kept, "MALLOC_ARENA_MAX": "1"}

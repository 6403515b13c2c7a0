"""The process that decodes uploads: a JSON object per line in, one out.

It has the decoders loaded, and forks for every file: the child limits its memory, time and files
before it opens the file, and whatever a decoder does there ends the child alone. The reader of
content credentials is one of these decoders: it parses what strangers wrote, as they do.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any

_BLOCK = 1 << 16
_MOST_SAID = 4096


def main() -> None:
    """Decode one file after the other, until the other side hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loaded: dict[str, Any] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        kind = asked["kind"]
        if kind not in loaded:
            loaded[kind] = _load(kind)
        sys.stdout.write(json.dumps(_in_child(loaded[kind], asked)) + "\n")
        sys.stdout.flush()


def _load(kind: str) -> Any:
    """A decoder's library, before any limit."""
    if kind == "midi":
        import pretty_midi

        return pretty_midi
    import c2pa
    import soundfile

    return soundfile, c2pa


def _in_child(library: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """What the child says of a file, or how it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.write(writing, json.dumps(_decode(library, asked)).encode()[:_MOST_SAID])
        finally:
            os._exit(0)
    os.close(writing)
    try:
        said = _read(reading, float(asked["seconds"]))
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if said is None:
        return {"refused": f"decoding it took longer than {asked['seconds']:g} s"}
    if not said:
        how = os.waitstatus_to_exitcode(status)
        if how == -signal.SIGXCPU:
            return {"refused": f"decoding it took longer than {asked['seconds']:g} s"}
        return {"refused": f"this cannot be decoded: its decoder ended with {how}"}
    found: dict[str, Any] = json.loads(said)
    return found


def _read(source: int, seconds: float) -> bytes | None:
    """All that comes until the other end closes; None: it took too long."""
    until = time.monotonic() + seconds
    pieces: list[bytes] = []
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            return None
        piece = os.read(source, _MOST_SAID)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def _decode(library: Any, asked: dict[str, Any]) -> dict[str, Any]:
    _limit(float(asked["seconds"]), int(asked["megabytes"]))
    file, longest_s = str(asked["file"]), float(asked["longest_s"])
    try:
        if asked["kind"] == "midi":
            return _midi(library, file, longest_s)
        soundfile, c2pa = library
        found = _audio(soundfile, file, longest_s)
        if "refused" not in found:
            _manifest(c2pa, file, str(asked["media_type"]))
        return found
    except MemoryError:
        return {"refused": "decoding it takes too much memory"}
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises, the file is to blame
        return {"refused": f"this cannot be decoded: {_line(error)}"}


def _limit(seconds: float, megabytes: int) -> None:
    whole = max(1, round(seconds))
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (whole + int(used), whole + int(used) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _audio(soundfile: Any, file: str, longest: float) -> dict[str, Any]:
    with soundfile.SoundFile(file) as opened:
        rate, channels = opened.samplerate, opened.channels
        if not (1000 <= rate <= 768_000 and 1 <= channels <= 8):
            return {"refused": f"it claims {channels} channels at {rate} Hz"}
        frames = 0
        while True:
            block = opened.read(_BLOCK, dtype="float32", always_2d=True)
            if len(block) == 0:
                break
            frames += len(block)
            if frames / rate > longest:
                return {"refused": f"it is longer than {longest:g} s"}
    if frames == 0:
        return {"refused": "it holds no sound"}
    return {"duration_s": frames / rate}


def _manifest(c2pa: Any, file: str, media_type: str) -> None:
    """Parse the file's content credentials, if it has any.

    What they say is read again later on; here they may end this process, and not the server.
    """
    from rag_audio.provenance._c2pa import make_context

    with open(file, "rb") as opened, make_context("") as context:
        try:
            with c2pa.Reader(media_type, opened, context=context) as reader:
                reader.json()
        except c2pa.C2paError:
            return  # none, or broken ones: a file may be used without


def _midi(pretty_midi: Any, file: str, longest: float) -> dict[str, Any]:
    score = pretty_midi.PrettyMIDI(file)
    duration_s = float(score.get_end_time())
    if not 0.0 < duration_s <= longest:
        return {"refused": f"its notes end at {duration_s:g} s; more than 0, at most {longest:g} s"}
    return {"duration_s": duration_s}


def _line(error: Exception) -> str:
    return " ".join(str(error).rsplit(": ", 1)[-1].split())[:150] or type(error).__name__


if __name__ == "__main__":
    main()

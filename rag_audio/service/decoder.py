"""The process that decodes one upload: ``KIND FILE SECONDS MEGABYTES LONGEST_S``.

It limits itself before it opens the file, loads as little as it can, and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

_BLOCK = 1 << 16


def main() -> None:
    """Decode, and say what it was or why not."""
    kind, file, seconds, megabytes, longest = sys.argv[1:]
    loaded = _load(kind)
    _limit(float(seconds), int(megabytes))
    try:
        said = (_midi if kind == "midi" else _audio)(loaded, file, float(longest))
    except MemoryError:
        said = {"refused": "decoding it takes too much memory"}
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises, the file is to blame
        said = {"refused": f"this cannot be decoded: {_line(error)}"}
    sys.stdout.write(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)


def _load(kind: str) -> Any:
    """The decoder's library, before the limits come into force."""
    if kind == "midi":
        import pretty_midi

        return pretty_midi
    import soundfile

    return soundfile


def _limit(seconds: float, megabytes: int) -> None:
    whole = max(1, round(seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
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

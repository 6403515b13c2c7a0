"""Readings of the outputs of :mod:`benchmarks.bench_real_library`, and of sounds that are known.

A reading is a JSON object. It is kept beside the outputs, and made again when the reader changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_reader import Heard, hear, read
from benchmarks.real_requests import Asked
from benchmarks.real_sources import clash, family_share, songs_at_once
from benchmarks.real_truths import Known, known_sounds
from rag_audio.domain import Key

Reading = dict[str, Any]

_READER = ("real_reader.py", "real_reading.py", "real_sources.py", "real_truths.py")


@dataclass(frozen=True)
class Side:
    """A tree of the product: its name in the table, and the folder that holds what it made."""

    name: str
    folder: Path

    @property
    def outputs(self) -> Path:
        """Holds ``MODE-NUMBER.wav`` and ``.json``."""
        return self.folder / "outputs"


class Readings:
    """Reads each thing once."""

    def __init__(self, work: Path, requests: Sequence[Asked]) -> None:
        folder = Path(__file__).parent
        code = b"".join((folder / name).read_bytes() for name in _READER)
        self._kept = work / f"readings-{hashlib.sha256(code).hexdigest()[:12]}"
        self._libraries, self._requests = work / "libraries", requests

    def truths(self) -> list[Reading]:
        """Of sounds whose tempo and key are known."""
        found = []
        sounds = known_sounds()
        for number, (name, make) in enumerate(sounds.items()):
            if number % 20 == 0:
                print(f"{number} of {len(sounds)} known sounds read", flush=True)
            found.append(self._once(f"truth-{name}", partial(_known, name, make)))
        return [one for one in found if one]

    def outputs(self, side: Side, mode: str) -> dict[int, Reading]:
        """Of what a side made in a mode, by number of the request."""
        found = {}
        for number in range(len(self._requests)):
            if (side.outputs / f"{mode}-{number:03d}.json").is_file():
                name = f"{side.folder.name}-{mode}-{number:03d}"
                found[number] = self._once(name, partial(self._output, side, mode, number))
                if number % 20 == 0:
                    print(f"{side.name}, {mode}: {number} read", flush=True)
        return found

    def _once(self, name: str, make: Callable[[], Reading]) -> Reading:
        file = self._kept / f"{name}.json"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(".tmp")
            unfinished.write_text(json.dumps(make()), encoding="utf-8")
            unfinished.replace(file)
        found: Reading = json.loads(file.read_text(encoding="utf-8"))
        return found

    def _output(self, side: Side, mode: str, number: int) -> Reading:
        """A refused request meets nothing."""
        asked = self._requests[number]
        file = side.outputs / f"{mode}-{number:03d}.wav"
        made = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        if "refused" in made:
            return {"refused": made["refused"]}
        plan = made["plan"]
        key = None if asked.key is None else Key.parse(asked.key)
        similar = [
            (part["weight"], made["similar"][part["reference"]]) for part in plan["seed_parts"]
        ]
        known = [(weight, cosine) for weight, cosine in similar if cosine is not None]
        return {
            **_read(hear(read(file)), asked.bpm, key, self._other(number)),
            "family": family_share(plan, asked.family, self._libraries),
            "clash": clash(plan, self._libraries),
            "songs": songs_at_once(plan, self._libraries),
            "likeness": (
                float(np.average([c for _, c in known], weights=[w for w, _ in known]))
                if known else None
            ),
            "copy": made["checks"]["copy_distance"],
            "cpu_s": made["cpu_s"],
        }  # fmt: skip

    def _other(self, number: int) -> float:
        """The tempo of the next request that is no neighbour of this one's, in any octave."""
        own = self._requests[number].bpm
        later = [*self._requests[number + 1 :], *self._requests]
        return next(one.bpm for one in later if _apart(one.bpm, own))


def _apart(bpm: float, own: float) -> bool:
    octaves = np.log2(bpm / own) % 1.0
    return bool(0.06 < octaves < 0.94)


def _read(heard: Heard, bpm: float, key: Key | None, other_bpm: float) -> Reading:
    return {
        "tempo": heard.holds(bpm),
        "tempo_by_chance": heard.holds(other_bpm),
        "octave": heard.octave(bpm),
        "exact": None if key is None else heard.key == key,
        "key": None if key is None else heard.key in (key, key.relative()),
        "percussive": heard.percussive,
        "heard": [heard.bpm, None if heard.key is None else str(heard.key)],
    }


def _known(name: str, make: Callable[[], Known | None]) -> Reading:
    """An empty one where nothing can be told."""
    known = make()
    if known is None:
        return {}
    other = known.bpm * 2.0 ** (0.1 + 0.8 * _share(name))
    return {"kind": name.split("-")[0], **_read(hear(known.samples), known.bpm, known.key, other)}


def _share(text: str) -> float:
    """0…1, the same for the same text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF

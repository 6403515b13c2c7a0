"""The trials of the conditioning benchmark: each is one line of a JSONL file, made once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditioning_material import Case, hear
from rag_audio.audio.analysis import Analysis, analyse, chroma
from rag_audio.audio.copy_distance import copy_distance
from rag_audio.audio.dsp import mono, resample
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.domain import Audio, Channel, ConditioningPlan, Key
from rag_audio.domain.controls import Aim
from rag_audio.generation.take_selection import enforce
from rag_audio.pipeline.renderer import Renderer
from rag_audio.pipeline.workspace import Workspace

TEMPO_TOLERANCE = 0.04
CHANNELS = {
    "neither": frozenset[Channel](),
    "prompt only": frozenset({Channel.PROMPT}),
    "init only": frozenset({Channel.INIT}),
    "both": frozenset(Channel),
}
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 0.95)
SOUNDLESS = ("neither", "prompt only")
MODES = ("words alone", "words alone, enforced", "reference", "reference, enforced")


@dataclass(frozen=True)
class Job:
    """One line to be made: ``name`` tells it from all others."""

    name: str
    make: Callable[[], dict[str, Any]]


class Trials:
    """A JSONL file that is added to; a line that breaks off is made again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                self.rows[row["name"]] = row
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = "".join(json.dumps(row) + "\n" for row in self.rows.values())
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(whole, encoding="utf-8")
        unfinished.replace(path)

    def run(self, jobs: Sequence[Job], say: Callable[[str], None]) -> None:
        """Make what is missing."""
        left = [job for job in jobs if job.name not in self.rows]
        for n, job in enumerate(left):
            row = {"name": job.name, **job.make()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self.rows[job.name] = row
            if n % 50 == 0:
                say(f"{n + 1} of {len(left)}: {job.name}")


class Bench:
    """Runs the product's own plans and generator; nothing is marked or logged."""

    def __init__(self, workspace: Workspace, takes: int) -> None:
        self.workspace, self.takes = workspace, takes
        home = workspace.home
        self.renderer = Renderer(home, home.generator(None), {})
        self._seeds: dict[int, Audio] = {}

    def jobs(self, cases: Sequence[Case], enforced: int) -> Iterator[Job]:
        """The ceiling, the grid, and the promises, interleaved so that any prefix is balanced."""
        for case in cases:
            yield Job(f"real {case.number}", lambda case=case: self.real(case))  # type: ignore[misc]
            for channels in CHANNELS:
                for strength in (1.0,) if channels in SOUNDLESS else STRENGTHS:
                    yield Job(
                        f"grid {case.number} {channels} {strength:g}",
                        lambda case=case, c=channels, s=strength: self.grid(case, c, s),  # type: ignore[misc]
                    )
            for mode in MODES if case.number < enforced else ():
                yield Job(
                    f"promise {case.number} {mode}",
                    lambda case=case, mode=mode: self.promise(case, mode),  # type: ignore[misc]
                )

    def real(self, case: Case) -> dict[str, Any]:
        """The real render, read as outputs are."""
        sound = hear(case)
        return {"kind": "real", "case": case.number,
                **readings(sound, case.true_bpm, case.true_key)}  # fmt: skip

    def grid(self, case: Case, channels: str, strength: float) -> dict[str, Any]:
        """Several takes of one cell on one reference."""
        plan = self._plan(case, channels, None if strength == 1.0 else strength)
        seeds = tuple(plan.seed + n for n in range(self.takes))
        made = self.renderer._generate(plan, seeds, None, None)
        model = self._reference(case)
        vectors = self.workspace.home.embedder.embed_audio([model, *made])
        pairs = list(combinations(range(1, len(made) + 1), 2))
        return {
            "kind": "grid", "case": case.number, "channels": channels, "strength": strength,
            "takes": [readings(sound, case.bpm, case.key) for sound in made],
            "similar": [float(vectors[0] @ vector) for vector in vectors[1:]],
            "copy": [copy_distance(model, sound) for sound in made],
            "apart": float(np.mean([1 - vectors[a] @ vectors[b] for a, b in pairs])),
            "apart_copy": float(
                np.mean([copy_distance(made[a - 1], made[b - 1]) for a, b in pairs])
            ),
        }  # fmt: skip

    def promise(self, case: Case, mode: str) -> dict[str, Any]:
        """One take of a request with tempo and key as fields, or the best of four, conformed."""
        plan = self._plan(case, "both" if mode.startswith("reference") else "neither", None)
        if not mode.endswith("enforced"):
            (made,) = self.renderer._generate(plan, (plan.seed,), None, None)
        else:
            aims = frozenset(Aim) if plan.key is not None else frozenset({Aim.TEMPO})
            plan = replace(plan, enforcement=replace(plan.enforcement, aims=aims))
            seeds = tuple(plan.seed + n for n in range(plan.enforcement.candidates))
            takes = self.renderer._generate(plan, seeds, None, None)
            made = enforce(list(zip(seeds, takes, strict=True)), plan).audio
        return {"kind": "promise", "case": case.number, "mode": mode,
                **readings(made, case.bpm, case.key)}  # fmt: skip

    def _plan(self, case: Case, channels: str, strength: float | None) -> ConditioningPlan:
        return self.workspace.plan(case.request(CHANNELS[channels], strength))

    def _reference(self, case: Case) -> Audio:
        """The reference at the asked tempo and key: what seeds the latents where sound is used."""
        if case.number not in self._seeds:
            made = self.renderer.seed_audio(self._plan(case, "both", 0.5))
            assert made is not None  # noqa: S101 - every piece may seed
            self._seeds = {case.number: made}
        return self._seeds[case.number]


def readings(sound: Audio, bpm: float, key: Key | None) -> dict[str, Any]:
    """Whether tempo and key are as they should be, by the product's ear and by a plain one.

    A tempo counts at half and double time too, within 4 %; ``notes`` is the key or its relative.
    The plain ear is librosa's own tempo and the correlation of its mean chroma with the profiles
    of Krumhansl & Kessler (1982); nothing in the product chooses by it.
    """
    heard: Analysis = analyse(sound)
    tempo, other = _plain(sound)
    return {
        "tempo": _near(heard.bpm, bpm),
        "key": None if key is None else heard.key == key,
        "notes": None if key is None else heard.key in (key, key.relative()),
        "plain_tempo": _near(tempo, bpm),
        "plain_notes": None if key is None else other in (key, key.relative()),
        "heard": [heard.bpm, None if heard.key is None else str(heard.key)],
    }


def _near(heard: float | None, bpm: float) -> bool:
    if heard is None or heard <= 0:
        return False
    return any(abs(heard / (bpm * f) - 1) <= TEMPO_TOLERANCE for f in (0.5, 1.0, 2.0))


_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def _plain(sound: Audio) -> tuple[float, Key]:
    librosa = librosa_ready()
    plain = resample(mono(sound), 22_050)
    tempo = librosa.feature.tempo(y=plain.samples[0], sr=22_050, aggregate=np.median)
    classes = chroma(sound).mean(axis=1)
    fits = [
        np.corrcoef(classes, np.roll(profile, tonic))[0, 1]
        for profile in (_MAJOR, _MINOR)
        for tonic in range(12)
    ]
    best = int(np.nan_to_num(fits, nan=-1.0).argmax())
    return float(np.ravel(tempo)[0]), Key(best % 12, best >= 12)

"""Melodies that are hummed, sung or whistled: is the tune in the result, in the asked sound?

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_melody.py [--tunes 24] [--work DIR]
        [--write benchmarks/results/melody.md]

Every tune is made here with notes that are known, by a voice with vibrato, glides, breath, its own
tuning and uneven time, and goes into ``generate --audio``, for an instrument in the words. Beside
it: the same request without the tune, the other way to keep a tune (``vary``), the soundfont's
rendering that seeds the model, and each result held against another tune. Brackets are 95 %
intervals of means (bootstrap over tunes).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import numpy as np
from edit_material import row, share, spread
from melody_measures import Judge, Reading, read, through_a_room

import rag_audio
from rag_audio.audio import midi, writing
from rag_audio.audio.pitch_tracking import transcribe
from rag_audio.audio.reading import load
from rag_audio.cli.demo import _lay_out_library
from rag_audio.domain import Audio, AudioAs, ConditioningPlan, GenerationRequest, Layer
from rag_audio.pipeline.workspace import Workspace
from rag_audio.resources import data_dir
from tests.support.hums import Hummed, make_notes, tune

Say = Callable[..., None]
ASKED = (
    ("warm electric piano", "Electric Piano 1"),
    ("solo violin, expressive", "Violin"),
    ("calm flute", "Flute"),
    ("church organ", "Church Organ"),
    ("muted trumpet, late night", "Muted Trumpet"),
    ("nylon guitar, intimate", "Acoustic Guitar (nylon)"),
)
STRENGTHS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
VARIED = (0.4, 0.7)
COLUMNS = (
    "Pitch by pYIN, octaves folded: of the time that the tune sounds, the share within 50 "
    "cents of it, and of another tune (chance). Intervals and directions from note to note, "
    "octaves aside in the first. Strongest: the tune's pitch class is the strongest of the "
    "chroma, whatever else plays. Sound: nearer to the mean of four other tunes by the asked "
    "instrument than by such a voice, by clap-mini and by 40 mel bands."
)
DRUMS = "last-tram-drums"
PLAYED = ("Ocarina", "Voice Oohs", "Whistle", "Recorder")


@dataclass(frozen=True)
class Way:
    """A way to an output, and how it is named in the table."""

    name: str
    make: Callable[[int, Hummed], Audio]


def main() -> None:
    given = _arguments()
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    given.work.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    with rag_audio.open(given.work / "home") as workspace:
        if not workspace.home.index.count():
            renders = json.loads((data_dir("demo") / "demo.json").read_text())["renders"]
            workspace.index(_lay_out_library(given.work / "library", renders, quiet=True))
        tunes = [tune(number) for number in range(given.tunes)]
        transcription(tunes, say)
        bench = Bench(workspace, given.work)
        bench.table("Hummed, whistled and sung", tunes, bench.ways(), say)
        bench.table(
            "Played on something else, in a room, through MP3 at 64 kbit/s",
            [played(number, given.work) for number in range(max(4, given.tunes // 3))],
            bench.few_ways(),
            say,
        )
    print(f"\n{(time.process_time() - started) / 60:.0f} minutes of processor time.")
    if given.write is not None:
        command = f"`OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_melody.py{given.said}`"
        text = f"## Melodies\n\n{command}, on the embedded models.\n" + "\n".join(lines)
        given.write.write_text(text.rstrip() + "\n", encoding="utf-8")


def transcription(tunes: Sequence[Hummed], say: Say) -> None:
    """How many of the notes that were sung are written down, and nothing else."""
    say("\n### Notes\n")
    say("A note counts with its semitone and within 80 ms of its start.\n")
    say("| voice | tunes | notes found | of what was written, right |")
    say("|---|---:|---:|---:|")
    for kind in ("hum", "whistle", "sung"):
        own = [one for one in tunes if one.kind == kind]
        heard = [transcribe(one.audio).notes for one in own]
        right = sum(
            any(abs(m.start_s - n.start_s) < 0.08 and m.pitch == n.pitch for m in notes)
            for one, notes in zip(own, heard, strict=True)
            for n in one.notes
        )
        sung, written = sum(len(one.notes) for one in own), sum(len(notes) for notes in heard)
        say(row(kind, len(own), share(right, sung), share(min(right, written), written)))


def played(number: int, folder: Path) -> Hummed:
    """A tune by an instrument of the soundfont, as a telephone might bring it."""
    notes = make_notes(500 + number, high=number % 2 == 1)
    made = midi.play_notes(notes, PLAYED[number % 4], duration_s=8.0, sample_rate=44_100)
    heard = through_a_room(made, number)
    writing.save(heard, folder / "room.mp3", bitrate_kbps=64)
    contour = np.zeros(800)
    for note in notes:
        hz = 440.0 * 2 ** ((note.pitch - 69) / 12)
        contour[round(note.start_s * 100) : round(note.end_s * 100)] = hz
    return Hummed(load(folder / "room.mp3"), notes, contour, "played")


class Bench:
    """Makes outputs in a home with the demo's library, and reads them."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.judge = Judge(workspace.home.embedder)
        stems = workspace.home.catalogue.stems()
        self.drums = next(stem.id for stem in stems if DRUMS in stem.path)
        self._renderer = workspace.pipeline.renderer(
            GenerationRequest("a tune"), workspace.home.generator(None)
        )
        self._plans: dict[tuple[int, bool], ConditioningPlan] = {}

    def ways(self) -> list[Way]:
        """Every way of the large table."""
        usual = self.workspace.home.generator(None).info.default_strength
        own = [Way(f"`generate --audio`, strength {s:g}", self._followed(s)) for s in STRENGTHS]
        varied = [Way(f"`vary`, strength {s:g}", self._varied(s)) for s in VARIED]
        return [
            Way("the voice itself", lambda number, one: one.audio),
            Way("the rendering that seeds", self._rendered),
            *own,
            Way(f"with `--layer drums=…`, strength {usual:g}", self._followed(usual, drums=True)),
            Way("without the tune", self._without),
            *varied,
        ]

    def few_ways(self) -> list[Way]:
        """The ways of the small table."""
        return [
            Way("the sound itself", lambda number, one: one.audio),
            *(Way(f"`generate --audio`, strength {s:g}", self._followed(s)) for s in (0.4, 0.6)),
            Way("without the tune", self._without),
        ]

    def table(self, title: str, tunes: Sequence[Hummed], ways: Sequence[Way], say: Say) -> None:
        """A row for each way, and one for a way held against other tunes."""
        say(f"\n### {title}\n")
        say(f"{COLUMNS}\n")
        say(
            "| | n | pitch class kept, % | another tune's, % | intervals, % | direction, % "
            "| strongest, % | asked sound, by embedding | by colour |"
        )
        say("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        for way in ways:
            found: list[Reading] = []
            for number, one in enumerate(tunes):
                made = way.make(number, one)
                other = tunes[(number + 3) % len(tunes)]
                asked = ASKED[number % len(ASKED)][1]
                found.append(read(made, one, other, self.judge.nearer(made, asked, one.kind)))
            say(_row(way.name, found))

    def _followed(self, strength: float, drums: bool = False) -> Callable[[int, Hummed], Audio]:
        def make(number: int, one: Hummed) -> Audio:
            if (id(one), drums) not in self._plans:
                path = self.folder / "tune.wav"
                writing.save(one.audio, path, subtype="FLOAT")
                self._plans[id(one), drums] = self.workspace.plan(
                    ASKED[number % len(ASKED)][0], seed=number, duration_s=8.0,
                    audio=str(path), audio_rights="own", audio_as=AudioAs.MELODY,
                    layers=((Layer.DRUMS, self.drums),) if drums else (),
                )  # fmt: skip
            return self._made(replace(self._plans[id(one), drums], strength=strength))

        return make

    def _without(self, number: int, one: Hummed) -> Audio:
        words = ASKED[number % len(ASKED)][0]
        return self._made(self.workspace.plan(words, seed=number, duration_s=8.0))

    def _made(self, plan: ConditioningPlan) -> Audio:
        (take,) = self._renderer.make(plan, None, None)
        return take.audio

    def _varied(self, strength: float) -> Callable[[int, Hummed], Audio]:
        def make(number: int, one: Hummed) -> Audio:
            path = self.folder / "tune.wav"
            writing.save(one.audio, path, subtype="FLOAT")
            (made,) = self.workspace.vary(
                path, self.folder / "made.wav", prompt=ASKED[number % len(ASKED)][0],
                strength=strength, k=2, audio_rights="own", seed=number,
            )  # fmt: skip
            return made.audio

        return make

    def _rendered(self, number: int, one: Hummed) -> Audio:
        notes = transcribe(one.audio).notes
        return midi.play_notes(notes, ASKED[number % len(ASKED)][1], duration_s=8.0)


def _row(name: str, found: Sequence[Reading]) -> str:
    def mean(values: list[float]) -> str:
        return spread([100 * value for value in values], 0)

    return row(
        name,
        len(found),
        mean([one.kept for one in found]),
        mean([one.by_chance for one in found]),
        mean([one.intervals for one in found]),
        mean([one.direction for one in found]),
        mean([one.strongest for one in found]),
        share(sum(one.nearer_heard for one in found), len(found)),
        share(sum(one.nearer_colour for one in found), len(found)),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tunes", type=int, default=24)
    parser.add_argument("--work", type=Path, default=Path("bench-melody"))
    parser.add_argument("--write", type=Path, help="put the tables into this file")
    given = parser.parse_args()
    given.said = "" if given.tunes == 24 else f" --tunes {given.tunes}"
    return given


if __name__ == "__main__":
    main()

"""A home with a small licensed library and no weights: for tests of who may use what, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from indexer.build import index_library
from rag_audio.domain import Audio, Stem, Use
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.ports import (
    Detection,
    DiffusionInput,
    IndexedSegment,
    Mark,
    Member,
    ModelInfo,
    Progress,
    StopAsked,
)
from rag_audio.domain.stems import FileState
from rag_audio.errors import RagAudioError
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.credentials.signers import NoSigner
from rag_audio.settings import Settings
from tests.indexer.library import use_quick_analysis
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.small_library import RATE, chords

TARGET_ARTIST, GOOD_ARTIST = "Hidden Ferry", "Copper Lantern Trio"
TOML = """
[library]
name = "Small"
[licenses.target]
holder = "Target Holder"
spdx = "LicenseRef-Target-1"
uses = ["prompt", "init_audio", "style"]
credit = "Contains Target Holder material"
[licenses.good]
holder = "Good Holder"
spdx = "LicenseRef-Good-1"
uses = ["prompt", "init_audio", "style"]
credit = "Contains Good Holder material"
"""
CSV = f"""path,license,artist,title,bpm,key,tags
target.wav,target,{TARGET_ARTIST},Hidden Tide,100,D major,zither;seaworthy
target.mid,target,{TARGET_ARTIST},Hidden Score,120,C major,harmonium;tidal
good.wav,good,{GOOD_ARTIST},Amber Stairs,92,A major,warm;electric piano
"""
TARGET_WORDS = ("zither", "seaworthy", "harmonium", "tidal")
"""Tags of the target stems: nothing else can bring them into a prompt."""


class FakeGenerator:
    """Makes noise from each seed; remembers what it was given.

    Attributes:
        before_run: called when the model is about to run.
        after_run: called when it has.
    """

    def __init__(self) -> None:
        self.info = ModelInfo(
            "fake-model", "f" * 64, "stable-audio", 16_000, 1, 20.0, 64, 4, 3.0, 0.5, True
        )
        self.given: list[DiffusionInput] = []
        self.before_run: Callable[[], None] = lambda: None
        self.after_run: Callable[[], None] = lambda: None

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def forget(self) -> None:
        """It keeps nothing."""

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        self.before_run()
        self.given.append(batch)
        frames = round(batch.duration_s * self.info.sample_rate)
        made = []
        for seed in batch.seeds:
            noise = np.random.default_rng(seed).standard_normal((1, frames)) * 0.1
            made.append(Audio(noise.astype(np.float32), self.info.sample_rate))
        self.after_run()
        return tuple(made)

    def generate_together(
        self, members: Sequence[Member]
    ) -> list[tuple[Audio, ...] | RagAudioError]:
        """One after the other."""
        return [self.generate(one.batch, one.progress, one.stop_asked) for one in members]


class FakeWatermarker:
    """Marks nothing, and hears the mark it is told to."""

    name = "fake-mark"

    def __init__(self) -> None:
        self.heard: Mark | None = None

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        return audio

    def detect(self, audio: Audio) -> Detection:
        return Detection(self.heard, 1.0 if self.heard else 0.0)


class World:
    """The home, its parts, and what can go wrong with the rights of its two target stems."""

    def __init__(self, folder: Path) -> None:
        self.library = folder / "library"
        self._write()
        self.workspace = Workspace(Settings(home=folder / "home"))
        self.home = self.workspace.home
        self.generator, self.watermarker = FakeGenerator(), FakeWatermarker()
        self.home.embedder, self.home.index = FakeEmbedder(), FakeIndex()
        self.home.watermarker, self.home.signer = self.watermarker, NoSigner()
        self.home.generator = lambda model: self.generator  # type: ignore[method-assign]
        self.index()
        self.licenses = dict(self.workspace.pipeline.rights().licenses)
        self.good = self._named("good.wav")
        self.target, self.score = self._named("target.wav"), self._named("target.mid")
        self.targets = {self.target.id, self.score.id}
        self._points: list[IndexedSegment] = list(self.home.index.scroll())

    def index(self) -> None:
        """Index the library, without measuring what tests do not ask about."""
        with pytest.MonkeyPatch.context() as patch:
            use_quick_analysis(patch.setattr)
            index_library(
                self.library,
                embedder=self.home.embedder,
                index=self.home.index,
                catalogue=self.home.catalogue,
                render=_hum,
                workers=0,
            )

    def reset(self) -> None:
        """Everything licensed again, nothing revoked, all embeddings there."""
        for revocation in self.home.catalogue.revocations():
            self.home.catalogue.end_revocation(revocation)
        self.home.catalogue.put_licenses("small", self.licenses.values())
        self.home.index.upsert(self._points)
        self._relabel({point.segment.stem.id: point.segment.stem for point in self._points})
        self.watermarker.heard = None
        self.generator.given.clear()
        self.generator.before_run = self.generator.after_run = lambda: None

    def license(self, **changes: object) -> None:
        """Change the targets' license; ``license(gone=True)`` takes it out of the library."""
        told = dict(self.licenses)
        old = told.pop("small/target")
        if not changes.pop("gone", False):
            told[old.key] = replace(old, **changes)  # type: ignore[arg-type]
        self.home.catalogue.put_licenses("small", told.values())

    def revoke(self, of: RevocationOf, target: str) -> None:
        """As ``rag-audio revoke`` does, leaving the embeddings where they are."""
        self.home.catalogue.revoke(Revocation(of, target, "", "test", datetime.now(UTC)))

    def undeclare_artist(self) -> None:
        """The targets' artist stands in their files' tags only."""
        self._relabel(
            {stem.id: replace(stem, artist_declared=False) for stem in (self.target, self.score)}
        )

    def describe(self, stem: Stem) -> None:
        """Index other words of a stem, until the next reset."""
        self._relabel({stem.id: stem})

    def _relabel(self, stems: dict[str, Stem]) -> None:
        states = self.home.catalogue.files("small")
        new = [
            replace(state, stem=stems[state.stem.id])
            for state in states.values()
            if stems.get(state.stem.id, state.stem) != state.stem
        ]
        if not new:
            return
        self.home.catalogue.put_files("small", new)
        self.home.index.upsert(
            [
                replace(point, segment=replace(point.segment, stem=stems[point.segment.stem.id]))
                for point in self._points
                if point.segment.stem.id in {state.stem.id for state in new}
            ]
        )

    def _named(self, path: str) -> Stem:
        state: FileState = self.home.catalogue.files("small")[path]
        return state.stem

    def _write(self) -> None:
        self.library.mkdir(parents=True)
        (self.library / "library.toml").write_text(TOML)
        (self.library / "stems.csv").write_text(CSV)
        soundfile.write(self.library / "target.wav", chords(100, 146.8, 11.0, seed=1), RATE)
        soundfile.write(self.library / "good.wav", chords(92, 220.0, 11.0, seed=2), RATE)
        write_score(self.library / "target.mid")


def write_score(path: Path, *, semitones: int = 0, bpm: float = 120.0, seed: int = 5) -> Path:
    """A melody of 64 quavers."""
    rng = np.random.default_rng(seed)
    pitches = 60 + rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 64) + semitones
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))])
    for pitch in pitches:
        track.append(mido.Message("note_on", note=int(pitch), velocity=90, time=0))
        track.append(mido.Message("note_off", note=int(pitch), velocity=0, time=240))
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    file.save(path)
    return path


def all_uses() -> frozenset[Use]:
    return frozenset({Use.PROMPT, Use.INIT_AUDIO, Use.STYLE})


def _hum(path: Path) -> Audio:
    t = np.arange(11 * 16_000) / 16_000
    return Audio((0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)[None, :], 16_000)

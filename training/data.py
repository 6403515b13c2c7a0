"""Pieces to arrays: composed and rendered by processes, kept in files that training maps.

A split is a folder: ``audio.npy`` int16 ``[N, C, T]``, ``rows.jsonl`` with a line per clip (its
captions and facts), later ``mels.npy`` float16 ``[N, F, 128]`` for clap-mini. A run that was
interrupted goes on after the last whole line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from rag_audio.errors import ConfigError
from training import corpus
from training.presets import Preset

log = structlog.get_logger(__name__)

TIM = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")  # GPL: heard in held-out tests only
OWN_SHARE = 0.6  # of the training clips played with the project's own soundfont
CAPTIONS, NEGATIVES = 4, 4
BATCH = 25
SPLITS = {"train": 0, "held": 10_000_000, "second": 20_000_000}
"""First seed of each split; the last two compose with what training never sees."""


@dataclass(frozen=True)
class Job:
    """A run of consecutive clips for one process."""

    first: int
    count: int
    split: str
    rate: int
    channels: int
    seconds: float
    sounds: tuple[str, ...]


def sounds_of(split: str) -> tuple[Path, ...]:
    """Soundfonts of a split, the project's own first; repeated by their share of the clips.

    Raises:
        ConfigError: the project's soundfont is missing.
    """
    own = corpus.own_soundfont()
    if not own.is_file():
        raise ConfigError(f"no soundfont at {str(own)!r}", hint="python -m training soundfont")
    if split == "second":
        return (TIM,) if TIM.is_file() else ()
    if not corpus.FLUID.is_file():
        return (own,)
    copies = round(10 * OWN_SHARE)
    return (own,) * copies + (corpus.FLUID,) * (10 - copies)


def render_split(preset: Preset, split: str, root: Path) -> None:
    """Compose and render what is missing of a split."""
    sounds = sounds_of(split)
    total = {
        "train": preset.corpus.clips,
        "held": preset.corpus.held_out,
        "second": preset.corpus.second,
    }[split]
    if not sounds:
        log.warning("second set left out: its soundfont is not installed", path=str(TIM))
        return
    folder = root / split
    folder.mkdir(parents=True, exist_ok=True)
    frames = round(preset.corpus.seconds * preset.sample_rate)
    shape = (total, preset.channels, frames)
    audio, done = _open(folder, shape)
    jobs = [
        Job(
            start, min(BATCH, total - start), split, preset.sample_rate, preset.channels,
            preset.corpus.seconds, tuple(str(path) for path in sounds),
        )
        for start in range(done, total, BATCH)
    ]  # fmt: skip
    with (folder / "rows.jsonl").open("a", encoding="utf-8") as rows:
        for job, (clips, lines) in zip(jobs, _work(jobs, preset.corpus.workers), strict=True):
            audio[job.first : job.first + job.count] = clips
            rows.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            rows.flush()
            if job.first // BATCH % 20 == 0:
                log.info("rendered", split=split, clips=job.first + job.count, of=total)
    audio.flush()


def _open(folder: Path, shape: tuple[int, int, int]) -> tuple[Any, int]:
    """The array of a split, and how many of its clips are rendered."""
    path, rows = folder / "audio.npy", folder / "rows.jsonl"
    if path.is_file() and rows.is_file():
        audio: Any = np.load(path, mmap_mode="r+")
        if audio.shape == shape:
            done = sum(1 for _ in rows.open(encoding="utf-8")) // BATCH * BATCH
            lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
            complete = len(lines) == shape[0]
            rows.write_text("".join(lines if complete else lines[:done]), encoding="utf-8")
            return audio, len(lines) if complete else done
    rows.unlink(missing_ok=True)
    create: Any = np.lib.format.open_memmap
    return create(path, mode="w+", dtype=np.int16, shape=shape), 0


def _work(jobs: Sequence[Job], workers: int) -> Iterator[tuple[NDArray[np.int16], list[Any]]]:
    if workers <= 1:
        yield from map(render_job, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(render_job, jobs)


def render_job(job: Job) -> tuple[NDArray[np.int16], list[dict[str, Any]]]:
    """Clips int16 ``[count, C, T]`` and their rows."""
    clips = np.zeros((job.count, job.channels, round(job.seconds * job.rate)), dtype=np.int16)
    rows = []
    for index in range(job.count):
        clip = corpus.make_clip(
            SPLITS[job.split] + job.first + index,
            sample_rate=job.rate,
            duration_s=job.seconds,
            soundfonts=[Path(path) for path in job.sounds],
            split="train" if job.split == "train" else "test",
        )
        wave = clip.samples if job.channels == 2 else clip.samples.mean(axis=0, keepdims=True)
        clips[index] = np.round(np.clip(wave, -1.0, 1.0) * 32767.0).astype(np.int16)
        rows.append(describe(clip.facts, clip.seed))
    return clips, rows


def describe(facts: corpus.Facts, seed: int) -> dict[str, Any]:
    """A piece's row: captions, captions that are nearly right, facts."""
    seeds = [97 * seed + k for k in range(max(CAPTIONS, NEGATIVES))]
    return {
        "seed": seed,
        "captions": [corpus.caption(facts, s) for s in seeds[:CAPTIONS]],
        "negatives": [corpus.near_miss(facts, s) for s in seeds[:NEGATIVES]],
        "bpm": round(facts.bpm),
        "key": [facts.key.tonic, facts.key.minor] if facts.key else None,
        "family": facts.lead_family if facts.kind == "stem" else "mix",
        "families": list(facts.families),
        "instruments": list(facts.instruments),
        "roles": list(facts.roles),
        "genre": facts.genre,
    }


@dataclass(frozen=True)
class Split:
    """A rendered split: ``audio`` int16 ``[N, C, T]`` and a row for each clip."""

    audio: NDArray[np.int16]
    rows: list[dict[str, Any]]
    folder: Path

    @property
    def captions(self) -> list[list[str]]:
        """Per clip."""
        return [row["captions"] for row in self.rows]


def load_split(root: Path, split: str) -> Split:
    """What is rendered of a split.

    Raises:
        ConfigError: nothing is.
    """
    folder = root / split
    rows_file = folder / "rows.jsonl"
    if not rows_file.is_file():
        raise ConfigError(
            f"no rendered clips in {str(folder)!r}", hint="run: python -m training corpus"
        )
    rows = [json.loads(line) for line in rows_file.read_text(encoding="utf-8").splitlines()]
    audio = np.load(folder / "audio.npy", mmap_mode="r")[: len(rows)]
    return Split(audio, rows[: len(audio)], folder)


def family_names() -> tuple[str, ...]:
    """All families that single stems can have, in a fixed order."""
    return corpus.FAMILIES


def mels_of(preset: Preset, split: Split) -> NDArray[np.float16]:
    """clap-mini's features of a split, float16 ``[N, F, 128]``; computed once and kept."""
    from rag_audio.models.clap_frontend import LogMel, MelSettings
    from training.clap import make_extractor

    path = split.folder / "mels.npy"
    if path.is_file():
        kept: NDArray[np.float16] = np.load(path, mmap_mode="r")
        if len(kept) == len(split.rows):
            return kept
    front = LogMel(MelSettings.of_extractor(make_extractor(preset)), preset.device)
    parts = [
        front(split.audio[i : i + 64].mean(axis=1).astype(np.float32) / 32768.0)
        .squeeze(1)
        .half()
        .cpu()
        .numpy()
        for i in range(0, len(split.rows), 64)
    ]
    mels: NDArray[np.float16] = np.concatenate(parts)
    np.save(path, mels)
    return mels

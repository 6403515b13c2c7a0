"""The embedding stage of indexing, against librosa + ClapProcessor + ClapModel file by file.

Both run the same weights on the same files in the same process, in turns; the best turn of each
counts. Beside wall time stands processor time, which other programs on the machine disturb less.

Run it::

    python benchmarks/bench_index.py [--write benchmarks/RESULTS.md]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor
from transformers.utils import logging

from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.models.clap import ClapEmbedder
from rag_audio.models.clap_frontend import LogMel, MelSettings, fixed_windows
from rag_audio.resources import data_dir
from training.untrained_clap import save_checkpoint

HEADING = "## Indexing"
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/bench_index.py --write benchmarks/RESULTS.md"
RATE = 48_000
BATCH = 32


@dataclass(frozen=True)
class Took:
    """Milliseconds a clip: on the clock, and of processor time over all threads."""

    wall_ms: float
    cpu_ms: float


def race(turns: int, clips: int, *runners: Callable[[], object]) -> list[Took]:
    """The best of several turns of each runner, interleaved so that disturbances are shared."""
    best = [Took(float("inf"), float("inf")) for _ in runners]
    for _ in range(turns):
        for place, run in enumerate(runners):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            took = Took(
                (time.perf_counter() - wall) * 1e3 / clips,
                (time.process_time() - cpu) * 1e3 / clips,
            )
            best[place] = Took(
                min(took.wall_ms, best[place].wall_ms), min(took.cpu_ms, best[place].cpu_ms)
            )
    return best


def synthetic_clip(seed: int, sample_rate: int, seconds: float = 10.0) -> NDArray[np.float32]:
    """``[2, T]``: a decaying chord on a beat over coloured noise, different for every seed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * sample_rate)) / sample_rate
    beat = np.exp(-((time_s * rng.uniform(1.0, 3.0)) % 1.0) * rng.uniform(1.0, 12.0))
    root = 55.0 * 2 ** rng.uniform(0.0, 3.0)
    chord = sum(np.sin(2 * np.pi * root * ratio * time_s) for ratio in (1.0, 1.25, 1.5))
    noise = rng.standard_normal((2, time_s.size)) * 10 ** rng.uniform(-3.0, -1.0)
    samples = 0.2 * chord * beat + noise
    return np.asarray(samples / np.abs(samples).max() * 0.9, dtype=np.float32)


def write_files(folder: Path, count: int) -> list[Path]:
    """WAV and FLAC in turns, stereo, 44.1 kHz, 10 s."""
    folder.mkdir()
    paths = [folder / f"{index:03}.{('wav', 'flac')[index % 2]}" for index in range(count)]
    for index, path in enumerate(paths):
        save(Audio(synthetic_clip(index, 44_100), 44_100), path)
    return paths


def full_size_checkpoint(folder: Path, mini: Path) -> Path:
    """LAION's HTSAT-tiny with random weights; the text tower, which this never runs, is small."""
    torch.manual_seed(0)
    text = {"vocab_size": 1024, "hidden_size": 64, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 80}
    model = ClapModel(ClapConfig(text_config=text))
    extractor = ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    tokenizer = AutoTokenizer.from_pretrained(mini)
    facts = {"name": "HTSAT-tiny, random weights", "untrained": True}
    save_checkpoint(folder, model, tokenizer, extractor, facts, "")
    return folder


def embedding_stage(
    checkpoint: Path, paths: Sequence[Path], turns: int
) -> tuple[list[Took], float]:
    """Times of (file by file, ours), and the lowest cosine between their vectors."""
    model = ClapModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    processor = ClapProcessor.from_pretrained(checkpoint)
    embedder = ClapEmbedder(checkpoint, batch_size=BATCH)
    rate = embedder.sample_rate

    def one_by_one() -> NDArray[np.float32]:
        rows = []
        for path in paths:
            samples, _ = librosa.load(path, sr=rate)
            inputs = processor(audio=samples, sampling_rate=rate, return_tensors="pt")
            with torch.inference_mode():
                rows.append(model.get_audio_features(**inputs).pooler_output[0].numpy())
        return np.stack(rows)

    def ours() -> NDArray[np.float32]:
        batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
        return np.concatenate([embedder.embed_audio([load(p) for p in batch]) for batch in batches])

    cosine = float((one_by_one()[:BATCH] * ours()[:BATCH]).sum(axis=1).min())  # also warms both up
    return race(turns, len(paths), one_by_one, ours), cosine


def front_end(turns: int) -> tuple[list[Took], float, float]:
    """Times of (ClapFeatureExtractor, ours) at batch 32, and two deviations in dB.

    The first deviation is the largest above -60 dB re the clip's maximum; the second of all bins.
    """
    extractor = ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    settings = MelSettings.of_extractor(extractor)
    clips = [Audio(synthetic_clip(seed, RATE)[:1], RATE) for seed in range(BATCH)]
    log_mel = LogMel(settings)

    def theirs() -> NDArray[np.float32]:
        features: Any = extractor(
            [clip.samples[0] for clip in clips], sampling_rate=RATE, return_tensors="np"
        )
        return np.asarray(features["input_features"], dtype=np.float32)

    def ours() -> NDArray[np.float32]:
        return log_mel(fixed_windows(clips, settings)).numpy()

    reference, features = theirs(), ours()
    apart = np.abs(features - reference)
    heard = reference > reference.max(axis=(1, 2, 3), keepdims=True) - 60.0
    return race(turns, BATCH, theirs, ours), float(apart[heard].max()), float(apart.max())


def row(what: str, theirs: Took, ours: Took) -> str:
    return (
        f"| {what} | {theirs.wall_ms:.1f} / {theirs.cpu_ms:.1f} | {ours.wall_ms:.1f} / "
        f"{ours.cpu_ms:.1f} | **{theirs.wall_ms / ours.wall_ms:.2f} ×** | "
        f"{theirs.cpu_ms / ours.cpu_ms:.2f} × |"
    )


def measure(turns: int) -> str:
    """All measurements, as the Markdown section of RESULTS.md."""
    busy = os.getloadavg()[0]
    mini = data_dir("models") / "clap-mini"
    features, above, anywhere = front_end(turns)
    lines = [row("log-mel front end alone, batch 32", *features)]
    cosines = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_files(folder / "sounds", 48)
        full = full_size_checkpoint(folder / "htsat-tiny", mini)
        for what, checkpoint, some in (
            ("decode → window → features → clap-mini", mini, paths),
            ("the same with a full-size HTSAT-tiny (random weights)", full, paths[:16]),
        ):
            times, cosine = embedding_stage(checkpoint, some, turns)
            lines.append(row(what, *times))
            cosines.append(cosine)
    return "\n".join(
        [
            HEADING,
            "",
            f"`{COMMAND} --turns {turns}`",
            "",
            "Stereo files of 10 s at 44.1 kHz, WAV and FLAC; milliseconds a clip, on the clock /",
            f"of processor time; best of {turns} turns. {platform.machine()}, "
            f"{torch.get_num_threads()} torch threads, torch {torch.__version__}.",
            f"Load average when it began: {busy:.1f}.",
            "Against: `librosa.load`, `ClapProcessor`, `ClapModel`, file by file, same weights.",
            "",
            "| stage | theirs | ours | ratio, clock | ratio, processor |",
            "|---|---|---|---|---|",
            *lines,
            "",
            f"Features differ by at most {above:.1e} dB above -60 dB re the clip's maximum "
            f"({anywhere:.1e} dB anywhere).",
            f"Lowest cosine between the vectors of both paths, decoders and resamplers included: "
            f"{min(cosines):.7f}.",
            "",
        ]
    )


def replace_section(path: Path, section: str) -> None:
    """Put the section into the file, in place of the one with its heading or at the end."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    before, found, after = text.partition(f"{HEADING}\n")
    if found:
        _, next_heading, rest = after.partition("\n## ")
        text = before + section + (next_heading + rest if next_heading else "")
    else:
        text = text.rstrip("\n") + "\n\n" + section
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the results file whose section is replaced")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    section = measure(arguments.turns)
    print(section)
    if arguments.write:
        replace_section(arguments.write, section)


if __name__ == "__main__":
    main()

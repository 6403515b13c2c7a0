"""The sounds of ``bench_watermark.py``: 30 s each, stereo, 44.1 kHz, of many kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import signal

from rag_audio.audio.dsp import resample, to_channels
from rag_audio.audio.midi import render
from rag_audio.audio.reading import load
from rag_audio.audio.writing import info
from rag_audio.domain import Audio
from rag_audio.resources import data_dir

RATE = 44_100
_STEMS = {
    "drums": "drums only", "bass": "solo bass", "piano": "sparse tonal", "bells": "sparse tonal",
    "flute": "sparse tonal", "cello": "sparse tonal", "guitar": "sparse tonal",
}  # fmt: skip


def make_clips(
    seconds: float, rendered: int, recordings: Path | None
) -> Iterator[tuple[str, str, Audio]]:
    """(name, kind, sound): scores of the demo, speech-like sounds, and recordings, if any."""
    scores = sorted(data_dir("demo").rglob("*.mid"))
    scores.sort(key=lambda path: (path.stem.count("-") > 1, path.stem))
    every = np.linspace(0, len(scores) - 1, min(rendered, len(scores))).round().astype(int)
    for score in (scores[i] for i in every):
        kind = next((kind for part, kind in _STEMS.items() if score.stem.endswith(part)), "dense")
        if "waltz" in score.stem or "tidewater" in score.stem:
            kind = "orchestral"
        yield score.stem, kind, _filled(render(score, duration_s=seconds), seconds)
    for seed in range(3):
        yield f"babble-{seed}", "speech-like", _babble(seconds, seed)
    if recordings is not None:
        paths = sorted(p for p in recordings.rglob("*") if p.suffix in (".ogg", ".mp3", ".flac"))
        for path in paths:
            if info(path).duration_s >= seconds + 10:
                sound = to_channels(load(path, start_s=8.0, duration_s=seconds), 2)
                yield path.stem, "recorded", resample(sound, RATE)


def _filled(audio: Audio, seconds: float) -> Audio:
    """The sound without the silence after its last note, repeated until it is long enough."""
    loud = np.flatnonzero(np.abs(audio.samples).max(axis=0) > 1e-3)
    once = to_channels(Audio(audio.samples[:, : loud[-1] + 1], audio.sample_rate), 2).samples
    wanted = round(seconds * audio.sample_rate)
    whole = np.tile(once, (1, -(-wanted // once.shape[1])))[:, :wanted]
    return resample(Audio(np.ascontiguousarray(whole), audio.sample_rate), RATE)


def _babble(seconds: float, seed: int) -> Audio:
    """A voice that says nothing: a glottal pulse train and hiss through moving formants."""
    rng = np.random.default_rng(seed)
    made: list[np.ndarray] = []
    pitch = (110.0, 190.0, 140.0)[seed % 3]
    while sum(map(len, made)) < seconds * RATE:
        length = round(rng.uniform(0.08, 0.25) * RATE)
        if rng.random() < 0.15:
            made.append(np.zeros(length))
            continue
        phase = np.cumsum(pitch * 2 ** rng.uniform(-0.3, 0.3) * np.linspace(1, 0.93, length)) / RATE
        voice = np.diff(np.floor(phase), prepend=0.0) * 20
        source = voice if rng.random() < 0.75 else 0.6 * rng.standard_normal(length)
        source = source + 0.02 * rng.standard_normal(length)
        for low, high in ((300, 800), (900, 2200), (2300, 3000), (3300, 4500)):
            b, a = signal.iirpeak(rng.uniform(low, high), 8.0, RATE)
            source = 0.4 * source + 3.0 * signal.lfilter(b, a, source)
        made.append(source * np.hanning(length) ** 0.3)
    sound = np.concatenate(made)[: round(seconds * RATE)]
    return Audio(np.repeat((0.5 * sound / np.abs(sound).max())[None], 2, 0).astype("f"), RATE)

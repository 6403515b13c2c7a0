"""What people do to music, as functions from sound to sound, for ``bench_watermark.py``.

Codecs that libsndfile lacks go through ffmpeg; where there is none, those rows are left out.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from scipy import signal

from rag_audio.audio.dsp import mono, resample, stretch, to_channels
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.models.mel_codec import MelCodec
from rag_audio.resources import data_dir

Rng = np.random.Generator
Change = Callable[[Audio, Rng], Audio]


@dataclass(frozen=True)
class Attack:
    """One row of the table.

    Attributes:
        name: as printed. aim: share that must be read, None: only reported.
        needs_ffmpeg: left out where there is none.
    """

    name: str
    aim: float | None
    apply: Change
    needs_ffmpeg: bool = False


def _same_rate(audio: Audio, samples: np.ndarray) -> Audio:
    return Audio(np.ascontiguousarray(samples, dtype=np.float32), audio.sample_rate)


def through_mp3(kbps: int, audio: Audio, rng: Rng) -> Audio:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.mp3"
        save(audio, path, bitrate_kbps=kbps)
        return load(path)


def through_vorbis(audio: Audio, rng: Rng) -> Audio:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy.ogg"
        save(audio, path)
        return load(path)


def through_ffmpeg(codec: str, ending: str, kbps: int, audio: Audio, rng: Rng) -> Audio:
    with tempfile.TemporaryDirectory() as folder:
        one, two, three = (Path(folder) / name for name in ("a.wav", f"b.{ending}", "c.wav"))
        save(audio, one, subtype="PCM_16")
        run = ["ffmpeg", "-v", "error", "-y", "-i"]
        subprocess.run([*run, one, "-c:a", codec, "-b:a", f"{kbps}k", two], check=True)
        subprocess.run([*run, two, "-ar", str(audio.sample_rate), three], check=True)
        return load(three)


def through_rate(rate: int, audio: Audio, rng: Rng) -> Audio:
    return resample(resample(audio, rate), audio.sample_rate)


def through_embedded_codec(audio: Audio, rng: Rng) -> Audio:
    """Encoded and resynthesised by the autoencoder of the embedded model."""
    codec = _embedded_codec()
    low = resample(mono(audio), codec.config.sampling_rate)
    with torch.inference_mode():
        latents = codec.encode(torch.from_numpy(low.samples)[None]).latents
        wave = codec.decode(latents).sample[0].numpy()
    made = resample(Audio(wave, low.sample_rate), audio.sample_rate)
    return to_channels(made, audio.channels)


@cache
def _embedded_codec() -> MelCodec:
    folder = data_dir("models") / "stable-audio-mini" / "vae"
    return MelCodec.from_pretrained(folder, torch_dtype=torch.float32).eval()


def gain(decibels: float, audio: Audio, rng: Rng) -> Audio:
    louder = audio.samples * np.float32(10 ** (decibels / 20))
    return _same_rate(audio, np.clip(louder, -1, 1))


def filtered(kind: str, hertz: float | tuple[float, float], audio: Audio, rng: Rng) -> Audio:
    sos = signal.butter(6, hertz, kind, fs=audio.sample_rate, output="sos")
    return _same_rate(audio, signal.sosfilt(sos, audio.samples, axis=1))


def equalised(audio: Audio, rng: Rng) -> Audio:
    """Five octave-wide peaks of up to ±6 dB."""
    samples = audio.samples
    for hertz in (100.0, 400.0, 1200.0, 3500.0, 9000.0):
        b, a = signal.iirpeak(hertz, 1.0, audio.sample_rate)
        samples = samples + (10 ** (rng.uniform(-6, 6) / 20) - 1) * signal.lfilter(b, a, samples)
    return _same_rate(audio, np.clip(samples, -1, 1))


def compressed(audio: Audio, rng: Rng) -> Audio:
    """4:1 above -24 dBFS, 5 ms attack, 100 ms release, made up and limited."""
    level = np.abs(audio.samples).max(axis=0)
    fast, slow = (1 - np.exp(-1 / (s * audio.sample_rate)) for s in (0.005, 0.1))
    envelope = np.maximum(
        signal.lfilter([slow], [1, slow - 1], level), signal.lfilter([fast], [1, fast - 1], level)
    )
    over = np.maximum(0, 20 * np.log10(envelope + 1e-9) + 24)
    made = audio.samples * 10 ** ((-0.75 * over + 8) / 20)
    return _same_rate(audio, np.tanh(made) if np.abs(made).max() > 1 else made)


def reverberated(audio: Audio, rng: Rng) -> Audio:
    """A room of 0.4 s, 12 dB below the dry sound."""
    length = round(0.4 * audio.sample_rate)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    wet = signal.fftconvolve(audio.samples, tail[None, :], axes=1)[:, : audio.frames]
    wet *= np.sqrt(np.mean(audio.samples**2) / (np.mean(wet**2) + 1e-12)) * 10 ** (-12 / 20)
    return _same_rate(audio, np.clip(audio.samples + wet, -1, 1))


def eight_bit(audio: Audio, rng: Rng) -> Audio:
    return _same_rate(audio, np.round(audio.samples * 127) / 127)


def noisy(below_db: float, audio: Audio, rng: Rng) -> Audio:
    level = np.sqrt(np.mean(audio.samples**2)) * 10 ** (-below_db / 20)
    return _same_rate(audio, audio.samples + level * rng.standard_normal(audio.samples.shape))


def mixed(other: Audio, audio: Audio, rng: Rng) -> Audio:
    """With other, unmarked music as loud as it."""
    frames = audio.frames
    beside = np.resize(other.samples, (audio.channels, frames))
    ratio = np.sqrt(np.mean(audio.samples**2) / (np.mean(beside**2) + 1e-12))
    return _same_rate(audio, 0.5 * (audio.samples + ratio * beside))


def at_tempo(ratio: float, audio: Audio, rng: Rng) -> Audio:
    return stretch(audio, 1 / ratio, 0)


def at_pitch(semitones: int, audio: Audio, rng: Rng) -> Audio:
    return stretch(audio, 1.0, semitones)


def at_speed(ratio: float, audio: Audio, rng: Rng) -> Audio:
    """Tempo and pitch together, as a turntable does it."""
    slower = resample(audio, round(audio.sample_rate / ratio))
    return Audio(slower.samples, audio.sample_rate)


def cropped(seconds: float, audio: Audio, rng: Rng) -> Audio:
    length = round(seconds * audio.sample_rate)
    start = int(rng.integers(0, max(1, audio.frames - length)))
    return _same_rate(audio, audio.samples[:, start : start + length])


def one_after_the_other(changes: tuple[Change, ...], audio: Audio, rng: Rng) -> Audio:
    for change in changes:
        audio = change(audio, rng)
    return audio


def _chain(*changes: Change) -> Change:
    return partial(one_after_the_other, changes)


def make_attacks(other: Audio) -> list[Attack]:
    """All rows, in the order of the table; ``other`` is what clips are mixed with."""
    mp3 = {kbps: partial(through_mp3, kbps) for kbps in (320, 192, 128, 64)}
    aac = {kbps: partial(through_ffmpeg, "aac", "m4a", kbps) for kbps in (128, 96, 64)}
    opus = {kbps: partial(through_ffmpeg, "libopus", "opus", kbps) for kbps in (96, 64, 32)}
    rows = [Attack("none", 0.99, lambda audio, rng: audio)]
    rows += [Attack(f"MP3 {kbps}", 0.99, change) for kbps, change in mp3.items()]
    rows += [Attack(f"AAC {kbps}", 0.99, change, True) for kbps, change in aac.items()]
    rows += [Attack(f"Opus {kbps}", 0.99, change, True) for kbps, change in opus.items()]
    rows += [
        Attack("Vorbis", 0.99, through_vorbis),
        Attack("resample 22.05k", 0.99, partial(through_rate, 22_050)),
        Attack("resample 16k", 0.99, partial(through_rate, 16_000)),
        Attack("gain +6 dB", 0.99, partial(gain, 6.0)),
        Attack("gain -6 dB", 0.99, partial(gain, -6.0)),
        Attack("low-pass 4k", 0.99, partial(filtered, "lowpass", 4000.0)),
        Attack("high-pass 200", 0.99, partial(filtered, "highpass", 200.0)),
        Attack("EQ ±6 dB", 0.99, equalised),
        Attack("compression, limiting", 0.99, compressed),
        Attack("light reverb", 0.99, reverberated),
        Attack("8 bit", 0.99, eight_bit),
        Attack("noise 30 dB", 0.99, partial(noisy, 30.0)),
        Attack("noise 20 dB", 0.99, partial(noisy, 20.0)),
        Attack("mixed at 0 dB", 0.99, partial(mixed, other)),
    ]
    for percent in (5, -5):
        ratio = 1 + percent / 100
        rows.append(Attack(f"tempo {percent:+d} %", 0.95, partial(at_tempo, ratio)))
        rows.append(Attack(f"varispeed {percent:+d} %", 0.95, partial(at_speed, ratio)))
    for semitones, aim in ((1, 0.95), (-1, 0.95), (2, None), (-2, None)):
        rows.append(Attack(f"pitch {semitones:+d}", aim, partial(at_pitch, semitones)))
    rows += [
        Attack("tempo +10 %", None, partial(at_tempo, 1.1)),
        Attack("tempo -10 %", None, partial(at_tempo, 0.9)),
        Attack("crop 10 s + Opus 64", 0.95, _chain(partial(cropped, 10.0), opus[64]), True),
        Attack(
            "crop 10 s + MP3 128 + tempo 2 %",
            0.95,
            _chain(partial(cropped, 10.0), mp3[128], partial(at_tempo, 1.02)),
        ),
        Attack("crop 5 s + Opus 64", 0.80, _chain(partial(cropped, 5.0), opus[64]), True),
        Attack("telephone 300-3400, 8 kHz", None, _chain(
            partial(filtered, "bandpass", (300.0, 3400.0)), partial(through_rate, 8000)
        )),
        Attack("embedded model's codec", None, through_embedded_codec),
    ]  # fmt: skip
    links: dict[str, Change] = {
        "MP3 128": mp3[128],
        "crop 10 s": partial(cropped, 10.0),
        "tempo 3 %": partial(at_tempo, 1.03),
        "noise 25 dB": partial(noisy, 25.0),
        "resample 22.05k": partial(through_rate, 22_050),
    }
    for (one, first), (two, second) in combinations(links.items(), 2):
        rows.append(Attack(f"{one}, {two}", 0.90, _chain(first, second)))
    has_ffmpeg = shutil.which("ffmpeg") is not None
    return [row for row in rows if has_ffmpeg or not row.needs_ffmpeg]

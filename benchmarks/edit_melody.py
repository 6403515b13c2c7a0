"""The part of ``bench_edit.py`` that hums and whistles: is the tune still there, in other sound?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from edit_material import Contour, melody, row, spread

from rag_audio.audio import analysis, writing
from rag_audio.audio.dsp import mono, resample
from rag_audio.domain import Audio
from rag_audio.pipeline.workspace import Workspace

Say = Callable[..., None]
PROMPTS = ("warm electric piano melody", "solo violin melody, expressive", "flute melody, calm")
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0)
NEAR_CENTS = 50
HZ = 22_050
HOP = 256


def melodies(workspace: Workspace, folder: Path, count: int, say: Say) -> None:
    """Tunes varied into instruments, at some strengths."""
    say("\n### A hummed or whistled melody\n")
    say(
        f"{count} tunes of 8 s, half hummed and half whistled, made anew by `vary --strength S` "
        "with two references for the words. Pitch by pYIN, octaves folded, over the frames where "
        f"the tune sounds: share within {NEAR_CENTS} cents, median distance, and the correlation "
        "of the contours, each frame in its best octave. Timbre: how far the mean mel spectrum "
        "went from the tune's towards that of the same words and seed without the tune. Strength 1 "
        "hears nothing of the tune: that is chance. 0 is the tune itself, through the pitch "
        "tracker. Means [95 %].\n"
    )
    say("| strength | n | within 50 cents, % | median, cents | correlation "
        "| its pitch class strongest, % | timbre moved, % |")  # fmt: skip
    say("|---:|---:|---:|---:|---:|---:|---:|")
    tunes = [melody(number) for number in range(count)]
    plain = [_varied(workspace, folder, tune, i, 1.0) for i, (tune, _) in enumerate(tunes)]
    for strength in STRENGTHS:
        found = []
        for i, (tune, contour) in enumerate(tunes):
            made = {0.0: tune, 1.0: plain[i]}.get(strength)
            if made is None:
                made = _varied(workspace, folder, tune, i, strength)
            moved = _moved(made, tune, plain[i])
            found.append((*compare(made, contour), _chroma_hits(made, contour), moved))
        near, cents, alike, hits, moved_all = zip(*found, strict=True)
        cells = (
            spread([100 * v for v in near], 0),
            spread(cents, 0),
            spread(alike),
            spread([100 * v for v in hits], 0),
            spread([100 * v for v in moved_all], 0),
        )
        say(row(f"{strength:g}", count, *cells))


def _varied(workspace: Workspace, folder: Path, tune: Audio, number: int, strength: float) -> Audio:
    path = folder / f"tune-{number}.wav"
    writing.save(tune, path, subtype="FLOAT")
    (made,) = workspace.vary(
        path, folder / "made.wav", prompt=PROMPTS[number % 3], strength=strength, k=2,
        audio_rights="own", seed=number,
    )  # fmt: skip
    return made.audio


def compare(made: Audio, contour: Contour) -> tuple[float, float, float]:
    """(share near the tune, median distance in cents, correlation) of a sound and a contour."""
    heard = pitch(made, contour.size)
    both = (contour > 0) & np.isfinite(heard)
    if both.sum() < 20:
        return 0.0, 300.0, 0.0
    apart = 1200 * np.log2(heard[both] / contour[both])
    folded = np.abs((apart + 600) % 1200 - 600)
    near = float((folded <= NEAR_CENTS).sum() / (contour > 0).sum())
    # Trackers leap by octaves: the contour is compared where each frame's octave fits best.
    whole = 1200 * np.round(apart / 1200)
    one, two = np.log2(contour[both]), np.log2(heard[both]) - whole / 1200
    alike = float(np.corrcoef(one, two)[0, 1]) if one.std() > 0 and two.std() > 0 else 0.0
    return near, float(np.median(folded)), alike


def pitch(sound: Audio, frames: int) -> Contour:
    """Hz every 10 ms, NaN where there is no pitch."""
    import librosa

    wave = resample(mono(sound), HZ).samples[0]
    hz, _, _ = librosa.pyin(
        wave, fmin=60, fmax=2100, sr=HZ, frame_length=2048, hop_length=HOP, resolution=0.2
    )
    at = np.minimum(np.round(np.arange(frames) * HZ / 100 / HOP).astype(int), hz.size - 1)
    return np.asarray(hz[at], dtype=np.float64)


def _chroma_hits(made: Audio, contour: Contour) -> float:
    """Share of the tune's frames whose pitch class is the strongest of the sound, chords or not."""
    classes = analysis.chroma(made)
    frames = classes.shape[1]
    at = np.minimum(np.arange(contour.size) * frames // contour.size, frames - 1)
    voiced = contour > 0
    wanted = np.round(12 * np.log2(contour[voiced] / 440) + 69).astype(int) % 12
    return float((classes[:, at[voiced]].argmax(axis=0) == wanted).mean())


def _moved(made: Audio, tune: Audio, plain: Audio) -> float:
    """How far the colour went from the tune's (0) towards that of the same words alone (1)."""
    one, two, three = _colour(made), _colour(tune), _colour(plain)
    way = three - two
    return float((one - two) @ way / max(way @ way, 1e-12))


def _colour(sound: Audio) -> Contour:
    """Mean level of 40 mel bands in dB, less their mean: what is left of loudness."""
    import librosa

    wave = resample(mono(sound), HZ).samples[0]
    bands = librosa.feature.melspectrogram(y=wave, sr=HZ, n_mels=40).mean(axis=1)
    level = 10 * np.log10(np.maximum(bands, bands.max() * 1e-6))
    return np.asarray(level - level.mean(), dtype=np.float64)

"""What sounds in a plan, told from its files alone: families of instruments, and clashes.

Plans are read as the JSON documents that records hold. Scores are read by pretty_midi, recordings
are told by their names and heard by librosa; what the product measured of them is not looked at,
other than the stretch and the transposition that it chose.
"""

from __future__ import annotations

import fnmatch
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pretty_midi
import soundfile
from numpy.typing import NDArray

from benchmarks.real_reader import RATE, Curve, at_rate, chroma
from benchmarks.real_requests import FAMILIES, Family

Document = Mapping[str, Any]

SCORE_SHARE = 0.15
"""A score is of a family that plays as much of the notes of the part that is used."""
HEARD_SHARE = 0.25
"""A family is heard where as much of the seed's energy is of references that are of it."""

UNPITCHED = (
    "drum_*", "bd_*", "sn_*", "tabla_*", "perc_*", "vinyl_*", "misc_*", "mehackit_*",
    "glitch_perc*", "glitch_robot*", "loop_amen*", "loop_breakbeat", "loop_compus",
    "loop_3d_printer", "loop_electric", "loop_industrial", "loop_mehackit*", "loop_perc*",
    "loop_tabla", "elec_*snare", "elec_*kick", "elec_cymbal", "elec_fuzz_tom", "elec_tick",
    "elec_wood", "elec_pop", "ambi_swoosh", "ambi_dark_woosh", "ambi_sauna",
)  # fmt: skip
"""Recordings without a pitch that could clash."""

_FRAMES_S = 20.0


def family_share(plan: Document, family: str, libraries: Path) -> float:
    """The share of the seed's energy, by the plan's weights, of references of a family."""
    parts = plan["seed_parts"]
    own = [part["weight"] for part in parts if _is_of(plan, part, FAMILIES[family], libraries)]
    return math.fsum(own) / max(1e-12, math.fsum(part["weight"] for part in parts))


def _is_of(plan: Document, part: Document, family: Family, libraries: Path) -> bool:
    reference = plan["references"][part["reference"]]
    file = _file(reference, libraries)
    if file.suffix != ".mid":
        return _matches(file.stem, family.files)
    shares = _programs(file, reference["start_s"], reference["duration_s"], part.get("layer"))
    if part.get("instruments"):
        drums = shares.get("drums", 0.0)
        shares = {"drums": drums, part["instruments"][0].lower(): 1 - drums}
    own = sum(
        share
        for name, share in shares.items()
        if any(word in name for word in family.programs)
        and not any(word in name for word in family.without)
    )
    # A whole score with a drummer in it is not what somebody means who asks for drums.
    return own >= (0.5 if "drums" in family.programs else SCORE_SHARE)


def _programs(file: Path, start_s: float, duration_s: float, layer: str | None) -> dict[str, float]:
    """The share of notes that begin in a window, by program; drums as ``drums``."""
    notes: Counter[str] = Counter()
    for part in _score(file).instruments:
        if layer is not None and part.is_drum != (layer == "drums"):
            continue
        name = "drums" if part.is_drum else pretty_midi.program_to_instrument_name(part.program)
        notes[name.lower()] += sum(start_s <= n.start < start_s + duration_s for n in part.notes)
    return {name: count / max(1, notes.total()) for name, count in notes.items()}


def clash(plan: Document, libraries: Path) -> float:
    """How much of what sounds together is in disagreement, 0…1.

    The chance that two quanta of the pitched parts' energy, drawn by their weights, are of two
    parts, times these parts' disagreement: over the bars in which both sound, the mean of 1 less
    the cosine of their pitch classes. Each part has the pitch classes of its notes, or of its sound
    by librosa, stretched, transposed and looped as the plan says. One pitched part has none.
    """
    parts = pitched(plan, libraries)
    total = sum(part["weight"] for part in parts)
    if len(parts) < 2 or total <= 0:
        return 0.0
    bars = [_bars(plan, part, libraries) for part in parts]
    found = 0.0
    for a in range(len(parts)):
        for b in range(a):
            weight = parts[a]["weight"] * parts[b]["weight"] / total**2
            found += 2 * weight * disagreement(bars[a], bars[b])
    return found


def songs_at_once(plan: Document, libraries: Path) -> int:
    """How many pitched references sound."""
    return len({part["reference"] for part in pitched(plan, libraries)})


def pitched(plan: Document, libraries: Path) -> list[Document]:
    """The parts of the seed that have pitch: not drums, and not silent."""
    found = []
    for part in plan["seed_parts"]:
        file = _file(plan["references"][part["reference"]], libraries)
        is_drums = part.get("layer") == "drums"
        if not is_drums and not (file.suffix != ".mid" and _matches(file.stem, UNPITCHED)):
            found.append(part)
    return found


def disagreement(a: Curve, b: Curve) -> float:
    """The mean of 1 less the cosine over common bars of pitch classes ``[bars, 12]``; 0 without."""
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both = length > 0
    if not both.any():
        return 0.0
    return float(np.mean(1 - np.sum(a[both] * b[both], axis=1) / length[both]))


def _bars(plan: Document, part: Document, libraries: Path) -> Curve:
    """Pitch classes ``[bars, 12]`` of a part as it sounds in the output."""
    reference = plan["references"][part["reference"]]
    file = _file(reference, libraries)
    start_s, duration_s = reference["start_s"], reference["duration_s"]
    if file.suffix == ".mid":
        source = notes_chroma(file, _bar_line(file, start_s, duration_s), duration_s)
    else:
        source = _sound_chroma(file, start_s, duration_s)
    end_s = plan["duration_s"] if part.get("end_s") is None else part["end_s"]
    times = np.arange(0.0, plan["duration_s"], 1 / _FRAMES_S)
    inner = times - part.get("start_s", 0.0)
    if part["loop_s"] > 0:
        inner = inner % part["loop_s"]
    at = np.floor(inner / part["time_ratio"] * _FRAMES_S).astype(int)
    sounds = (inner >= 0) & (times < end_s) & (at < source.shape[1])
    frames = np.where(sounds, source[:, np.clip(at, 0, source.shape[1] - 1)], 0.0)
    bar = 240.0 / (plan["bpm"] or 120.0)
    rows = np.zeros((math.ceil(plan["duration_s"] / bar), 12))
    np.add.at(rows, np.floor(times / bar).astype(int), frames.T)
    return np.roll(rows, part["semitones"], axis=1)


def notes_chroma(
    file: Path, start_s: float, duration_s: float, program: int | None = None
) -> Curve:
    """Pitch classes ``[12, frames]``, 50 ms each, of a window of a score; of one part, or all."""
    rows = np.zeros((12, max(1, round(duration_s * _FRAMES_S))))
    for number, part in enumerate(_score(file).instruments):
        if part.is_drum or program not in (None, number):
            continue
        for note in part.notes:
            first = round((note.start - start_s) * _FRAMES_S)
            last = max(first + 1, round((note.end - start_s) * _FRAMES_S))
            if last > 0 and first < rows.shape[1]:
                rows[note.pitch % 12, max(0, first) : last] += note.velocity
    return rows


@lru_cache(maxsize=256)
def _sound_chroma(file: Path, start_s: float, duration_s: float) -> Curve:
    """The same of a recording, by librosa."""
    with soundfile.SoundFile(file) as sound:
        sound.seek(min(sound.frames, round(start_s * sound.samplerate)))
        samples = sound.read(round(duration_s * sound.samplerate), "float32", always_2d=True)
        plain = at_rate(samples.mean(axis=1), sound.samplerate)
    plain = np.pad(plain, (0, max(0, 4 * RATE - plain.size)))  # for the lowest octave
    found = chroma(librosa.effects.harmonic(plain))
    at = np.arange(max(1, round(duration_s * _FRAMES_S))) / _FRAMES_S * RATE / 1024
    return found[:, np.clip(at.astype(int), 0, found.shape[1] - 1)]


def _bar_line(file: Path, start_s: float, duration_s: float) -> float:
    """The first bar line of a window, from which the product plays it."""
    lines: NDArray[np.float64] = _score(file).get_downbeats()
    after = lines[lines >= start_s - 1e-3]
    near = after.size and after[0] - start_s < duration_s / 2
    return float(after[0]) if near else start_s


@lru_cache(maxsize=64)
def _score(file: Path) -> pretty_midi.PrettyMIDI:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pretty_midi.PrettyMIDI(str(file))


def score(file: Path) -> pretty_midi.PrettyMIDI:
    """A score, read once."""
    return _score(file)


def _file(reference: Document, libraries: Path) -> Path:
    stem = reference["stem"]
    return libraries / stem["library"] / stem["path"]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

"""Tempo, key and sample type as the indexer measures them, against the truth and librosa alone.

    OMP_NUM_THREADS=1 python benchmarks/bench_tempo_key.py [--renders 300] [--split test]

Renders of the composer whose tempo and key are known, cut as loops, phrases, songs and one-shots,
and the samples of Debian's sonic-pi-samples, lmms-common and hydrogen-drumkits (see
``loop_material.py``). Every clip is measured as the indexer does, once without and once with what
names of files and folders say (half of the names say a type, half a tempo, a third a key). librosa
alone: ``librosa.feature.tempo``, ``librosa.beat.beat_track``, and ``chroma_cqt`` correlated with
the profiles of Krumhansl and Kessler. The thresholds and odds of the product were fitted to the
split "train" and to the real samples; the split "test" has other progressions and random streams.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from figures import put_section, wilson
from loop_material import Clip, real_samples, renders

from indexer.facts import MusicalFacts, facts_of
from indexer.measure import MeasuredFile
from indexer.stems_csv import Metadata
from rag_audio.audio.analysis import analyse
from rag_audio.audio.channels import heard
from rag_audio.audio.confidence import key_confidence, tempo_confidence
from rag_audio.audio.dsp import resample
from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.audio.loops import LONGEST_LOOP_S, find_rhythm
from rag_audio.domain import Key, SampleType, StemKind

_RATE = 22_050
_WITHIN = 0.02
_KRUMHANSL = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
"""Krumhansl and Kessler 1982: major, minor."""
_HEADING = "## Tempo, key and sample type"


@dataclass(frozen=True)
class Measured:
    """A clip, what the indexer takes to be true of it, and what librosa alone says."""

    clip: Clip
    plain: MusicalFacts
    named: MusicalFacts
    librosa_tempo: float | None
    librosa_beats: float | None
    librosa_key: Key | None


def measure(clip: Clip) -> Measured:
    """As ``indexer.measure`` does, without reading a file."""
    found = analyse(clip.audio)
    file = MeasuredFile(
        stem="",
        kind=StemKind.AUDIO,
        duration_s=round(clip.audio.duration_s, 6),
        bpm=found.bpm,
        bpm_confidence=tempo_confidence(found.bpm, found.bpm_confidence),
        key=found.key,
        key_confidence=key_confidence(found.key_confidence, clip.audio.duration_s),
        loudness_lufs=None,
        sound=None,
        rhythm=find_rhythm(clip.audio) if clip.audio.duration_s < LONGEST_LOOP_S else None,
    )
    plain, named = (facts_of(path, Metadata(), file) for path in ("0.wav", clip.path))
    librosa = librosa_ready()
    samples = resample(heard(clip.audio), _RATE).samples[0]
    tempo = beats = key = None
    if clip.bpm is not None:
        tempo = float(np.ravel(librosa.feature.tempo(y=samples, sr=_RATE))[0])
        beats = float(np.ravel(librosa.beat.beat_track(y=samples, sr=_RATE)[0])[0])
    if clip.key is not None:
        chroma = librosa.feature.chroma_cqt(y=samples, sr=_RATE).mean(axis=1)
        scores = [
            np.corrcoef(chroma, np.roll(profile, tonic))[0, 1]
            for profile in _KRUMHANSL
            for tonic in range(12)
        ]
        best = int(np.argmax(scores))
        key = Key(best % 12, best >= 12)
    return Measured(clip, plain, named, tempo, beats, key)


def _same(found: float | None, true: float) -> bool:
    return found is not None and abs(found / true - 1) <= _WITHIN


def _octave(found: float | None, true: float) -> bool:
    return any(_same(found, true * ratio) for ratio in (0.5, 1.0, 2.0))


def _related(found: Key | None, true: Key) -> bool:
    """The same, relative or parallel, or a fifth away: what MIREX gives points for."""
    fifths = [Key((true.tonic + step) % 12, true.minor) for step in (5, 7)]
    parallel = Key(true.tonic, not true.minor)
    return found in (true, true.relative(), parallel, *fifths)


def _share(hits: Iterable[bool]) -> str:
    told = list(hits)
    return f"{wilson(sum(told), len(told))} of {len(told)}"


def _tempo_table(groups: Sequence[tuple[str, list[Measured]]]) -> list[str]:
    lines = [
        "| clips | | within 2 % | or half, double |",
        "|---|---|---|---|",
    ]
    ways: Sequence[tuple[str, Callable[[Measured], float | None]]] = (
        ("indexer, without names", lambda one: one.plain.bpm),
        ("indexer, with names", lambda one: one.named.bpm),
        ("librosa.feature.tempo", lambda one: one.librosa_tempo),
        ("librosa.beat.beat_track", lambda one: one.librosa_beats),
    )
    for name, clips in groups:
        for way, bpm in ways:
            pairs = [(bpm(one), one.clip.bpm) for one in clips if one.clip.bpm is not None]
            exact, octave = (
                _share(same(found, true) for found, true in pairs) for same in (_same, _octave)
            )
            lines.append(f"| {name} | {way} | {exact} | {octave} |")
    return lines


def _key_table(groups: Sequence[tuple[str, list[Measured]]]) -> list[str]:
    lines = ["| clips | | exact | or relative | or fifth, parallel |", "|---|---|---|---|---|"]
    ways: Sequence[tuple[str, Callable[[Measured], Key | None]]] = (
        ("indexer, without names", lambda one: one.plain.key),
        ("indexer, with names", lambda one: one.named.key),
        ("librosa, Krumhansl", lambda one: one.librosa_key),
    )
    for name, clips in groups:
        for way, key in ways:
            pairs = [(key(one), one.clip.key) for one in clips if one.clip.key is not None]
            shares = (
                _share(found == true for found, true in pairs),
                _share(found in (true, true.relative()) for found, true in pairs),
                _share(_related(found, true) for found, true in pairs),
            )
            lines.append(f"| {name} | {way} | {' | '.join(shares)} |")
    return lines


def _types_table(clips: list[Measured], facts: Callable[[Measured], MusicalFacts]) -> list[str]:
    kinds = list(SampleType)
    lines = [
        "| truth | " + " | ".join(kinds) + " | right |",
        "|---" * (len(kinds) + 2) + "|",
    ]
    for true in kinds:
        found = Counter(facts(one).sample_type for one in clips if one.clip.sample_type is true)
        if found:
            row = " | ".join(str(found[kind]) for kind in kinds)
            lines.append(f"| {true} | {row} | {wilson(found[true], found.total())} |")
    return lines


def _calibration(name: str, told: list[tuple[float, bool]]) -> list[str]:
    lines = [f"| {name}: stated confidence | clips | mean stated | right |", "|---|---|---|---|"]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = [(c, hit) for c, hit in told if low <= c < low + 0.2 or c == low + 0.2 == 1.0]
        if inside:
            mean = float(np.mean([c for c, _ in inside]))
            right = wilson(sum(hit for _, hit in inside), len(inside))
            lines.append(f"| {low:.1f}–{low + 0.2:.1f} | {len(inside)} | {mean:.2f} | {right} |")
    return lines


def _report(made: list[Measured], real: list[Measured], command: str) -> str:
    def of(kind: SampleType, clips: list[Measured], below_s: float = 1e9) -> list[Measured]:
        return [
            one
            for one in clips
            if one.clip.sample_type is kind and one.clip.audio.duration_s < below_s
        ]

    short = of(SampleType.LOOP, made, 4.2)
    groups = [
        ("loops of 1.4–4.2 s", short),
        ("longer loops", [one for one in of(SampleType.LOOP, made) if one not in short]),
        ("phrases", of(SampleType.PHRASE, made)),
        ("songs", of(SampleType.SONG, made)),
        ("all renders", made),
    ]
    sonic = [one for one in real if one.clip.bpm is not None]
    pitched = [(name, clips) for name, clips in groups if any(one.clip.key for one in clips)]
    parts = [
        [_HEADING, "", f"`{command}`: {len(made)} renders and {len(real)} real samples."],
        ["Tempo. Single sounds have none and do not count here."],
        _tempo_table([*groups, ("loops of sonic-pi", sonic)]),
        ["Key, of renders with pitched voices."],
        _key_table(pitched),
    ]
    for name, clips in (("renders", made), ("real samples", real)):
        for how, facts in (("without", lambda o: o.plain), ("with", lambda o: o.named)):
            parts += [[f"Sample type of {name}, {how} names."], _types_table(clips, facts)]
    tempos = [
        (one.plain.bpm_confidence, _same(one.plain.bpm, one.clip.bpm))
        for one in (*made, *sonic)
        if one.plain.bpm is not None and one.clip.bpm is not None
    ]
    keys = [
        (one.plain.key_confidence, one.plain.key == one.clip.key)
        for one in made
        if one.plain.key is not None and one.clip.key is not None
    ]
    shots = of(SampleType.ONE_SHOT, [*made, *real])
    none = _share(one.plain.bpm is None for one in shots)
    parts += [
        ["Confidence, without names."],
        _calibration("tempo", tempos),
        _calibration("key", keys),
        [f"One-shots without a tempo: {none}."],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--renders", type=int, default=300)
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--results", type=Path, help="write the section into this text")
    options = parser.parse_args()
    made = [measure(clip) for clip in renders(options.renders, options.split)]
    real = [measure(clip) for clip in real_samples()]
    command = f"python benchmarks/bench_tempo_key.py --renders {options.renders}"
    section = _report(made, real, command)
    print(section)
    if options.results is not None:
        put_section(options.results, _HEADING, section)


if __name__ == "__main__":
    main()

"""Recognition of stems, measured: through which disguises, and how often of strangers.

    OMP_NUM_THREADS=1 python benchmarks/bench_recognition.py [--stems N] [--windows N]
        [--recordings FOLDER] [--soundfont FILE] [--write FILE]

In the store are the demo's stems, stems and loops of 3 s that the project's composer makes,
excerpts of every second folder of recordings (an album: its tracks share loops), and more of the
composer's music up to 1,000. Some of them are disguised and looked for. Strangers are windows of 10
to 30 s of the other folders and of the composer's music with other seeds, played by the given
soundfont and by our own: the last ones share their drum kits, instruments and patterns with the
store, and are told apart. A window is a false alarm where any stem is named, whether its music runs
forwards or backwards.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.figures import put_section
from rag_audio.audio import midi
from rag_audio.audio.dsp import mono, resample, stretch
from rag_audio.domain import Audio
from rag_audio.domain.landmarks import Landmarks, Numbers, Postings
from rag_audio.resources import data_dir
from rag_audio.retrieval.landmarks import make_landmarks
from rag_audio.retrieval.matching import recognise
from training import corpus, pieces

RATE = 22_050
HEADING = "## Recognition of stems"
Rng = np.random.Generator
Samples = NDArray[np.float32]
Disguise = Callable[[Samples, Rng], Samples]


class MemoryStore:
    """A store in memory: one sorted table of hashes."""

    def __init__(self, landmarks: Mapping[str, Landmarks]) -> None:
        self._landmarks, self._ids = landmarks, tuple(landmarks)
        every = list(landmarks.values())
        hashes = np.concatenate([one.hashes for one in every])
        stems = np.repeat(np.arange(len(every)), [one.hashes.size for one in every])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._stems = hashes[order], stems[order]
        self._times, self._spans, self._pitches = (
            np.concatenate([getattr(one, name) for one in every])[order]
            for name in ("times_ms", "spans_ms", "pitches")
        )

    def sharing(self, hashes: Numbers, exclude: Collection[str] = ()) -> Postings:
        low = np.searchsorted(self._hashes, hashes)
        counts = np.searchsorted(self._hashes, hashes, side="right") - low
        rows = np.repeat(low - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        probes = np.repeat(np.arange(hashes.size), counts)
        return Postings(
            probes,
            self._stems[rows],
            self._times[rows],
            self._spans[rows],
            self._pitches[rows],
            self._ids,
        )

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        return {one: self._landmarks[one] for one in stem_ids}


@dataclass(frozen=True)
class Material:
    """Sounds of one channel at 22.05 kHz, by name."""

    stems: dict[str, Samples]
    fillers: dict[str, Samples]
    strangers: dict[str, Samples]


def main() -> None:
    arguments = _arguments()
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    material = _material(arguments)
    started = time.process_time()
    kept = {
        name: make_landmarks([_audio(sound)])
        for name, sound in (material.stems | material.fillers).items()
    }
    seconds = sum(one.duration_s for one in kept.values())
    spent = time.process_time() - started
    say(
        f"{len(kept)} stems, {seconds / 60:.0f} min: "
        f"{sum(one.hashes.size for one in kept.values()) / seconds:.0f} landmarks, "
        f"{sum(len(one.to_bytes()) for one in kept.values()) / seconds:.0f} bytes and "
        f"{1000 * spent / seconds:.1f} ms of one core a second of sound."
    )
    store = MemoryStore(kept)
    if arguments.stems:
        _disguised(store, material, arguments.stems, say)
    if arguments.windows:
        _strange(store, material, say)
    if arguments.write is not None:
        _write(arguments.write, lines, arguments)


def _disguised(
    store: MemoryStore, material: Material, count: int, say: Callable[[str], None]
) -> None:
    rng = np.random.default_rng(7)
    names = list(material.stems)
    chosen = [names[i] for i in rng.permutation(len(names))[:count]]
    kinds = sorted({_kind(name) for name in chosen})
    say("")
    say(f"| disguise | recognised | {' | '.join(kinds)} | other stems named |")
    say(f"|---|---|{'---|' * len(kinds)}---|")
    beds = [s for n, s in material.strangers.items() if s.size >= 20 * RATE]
    for title, disguise in _disguises(beds).items():
        by_kind: dict[str, list[bool]] = defaultdict(list)
        others = 0
        for name in chosen:
            found = recognise([_audio(disguise(material.stems[name], rng))], store)
            by_kind[_kind(name)].append(any(one.stem_id == name for one in found))
            others += any(not _related(name, one.stem_id) for one in found)
        every = [hit for hits in by_kind.values() for hit in hits]
        cells = [f"{sum(by_kind[kind])}/{len(by_kind[kind])}" for kind in kinds]
        say(f"| {title} | {sum(every)} of {len(every)} | {' | '.join(cells)} | {others} |")


def _strange(store: MemoryStore, material: Material, say: Callable[[str], None]) -> None:
    windows: dict[str, list[bool]] = defaultdict(list)
    named: list[str] = []
    spent = seconds = 0.0
    for name, sound in material.strangers.items():
        started = time.process_time()
        found = recognise([_audio(sound)], store)
        spent += time.process_time() - started
        seconds += sound.size / RATE
        windows[name.split("/")[0]].append(bool(found))
        if found:
            one = found[0]
            named.append(
                f"{name} as {one.stem_id}: {one.agreeing} peaks, confidence {one.confidence:.2f}, "
                f"tempo {one.tempo:.3f}, {one.semitones:+.2f} semitones"
                f"{', reversed' if one.reversed else ''}"
            )
    say("")
    say("| not in the store | windows | false alarms |")
    say("|---|---|---|")
    for kind, hits in windows.items():
        say(f"| {kind} | {len(hits)} | {sum(hits)} |")
    say("")
    say(f"{30 * spent / seconds:.2f} s of one core for 30 s of one channel, both directions.")
    for line in named:
        print(f"  {line}")


def _related(name: str, other: str) -> bool:
    """The same stem, or another of the same song of the demo, whose arrangement holds it."""
    if not (name.startswith("demo/") and other.startswith("demo/")):
        return name == other
    return name.split("/")[1] == other.split("/")[1]


def _kind(name: str) -> str:
    return {"drums": "drums", "bass": "bass", "recordings": "recordings"}.get(
        name.split("/")[-1], "loops of 3 s" if "/loop/" in name else "pitched and mixes"
    )


def _disguises(beds: list[Samples]) -> dict[str, Disguise]:
    def bed(rng: Rng) -> Samples:
        return beds[int(rng.integers(len(beds)))]

    return {
        "as it is": lambda x, rng: x,
        "polarity turned": lambda x, rng: -x,
        "speed +3 %": lambda x, rng: _speed(x, 1.03),
        "speed -6 %": lambda x, rng: _speed(x, 0.94),
        "speed +6 %": lambda x, rng: _speed(x, 1.06),
        "speed +10 %": lambda x, rng: _speed(x, 1.10),
        "tempo -5 %": lambda x, rng: _stretch(x, 0.95, 0),
        "tempo +6 %": lambda x, rng: _stretch(x, 1.06, 0),
        "pitch +1": lambda x, rng: _stretch(x, 1.0, 1),
        "pitch +2": lambda x, rng: _stretch(x, 1.0, 2),
        "pitch -2": lambda x, rng: _stretch(x, 1.0, -2),
        "tempo +6 %, pitch -2": lambda x, rng: _stretch(x, 1.06, -2),
        "reversed": lambda x, rng: x[::-1],
        "reversed, pitch +1": lambda x, rng: _stretch(x[::-1], 1.0, 1),
        "gated, 2 Hz, half": lambda x, rng: _gated(x, 2, 0.5),
        "gated, 4 Hz, half": lambda x, rng: _gated(x, 4, 0.5),
        "gated, 4 Hz, 70 %": lambda x, rng: _gated(x, 4, 0.7),
        "gated, 4 Hz, 30 %": lambda x, rng: _gated(x, 4, 0.3),
        "gated, 8 Hz, half": lambda x, rng: _gated(x, 8, 0.5),
        "gated at random, half": lambda x, rng: _cut_up(x, 0.5, rng),
        "gated at random, 30 %": lambda x, rng: _cut_up(x, 0.3, rng),
        "white noise 6 dB below": lambda x, rng: _mixed(x, _noise(x, rng, 0), -6),
        "white noise, equal": lambda x, rng: _mixed(x, _noise(x, rng, 0), 0),
        "pink noise, equal": lambda x, rng: _mixed(x, _noise(x, rng, 1), 0),
        "other music, equal": lambda x, rng: _mixed(x, bed(rng), 0),
        "other music 6 dB above": lambda x, rng: _mixed(x, bed(rng), 6),
        "MP3 64 kbit/s": lambda x, rng: _coded(x, "MP3", "MPEG_LAYER_III", 96 / 152),
        "MP3 32 kbit/s": lambda x, rng: _coded(x, "MP3", "MPEG_LAYER_III", 128 / 152),
        "Vorbis, lowest": lambda x, rng: _coded(x, "OGG", "VORBIS", 1.0),
        "Opus 24 kbit/s": lambda x, rng: _coded(x, "OGG", "OPUS", 0.93),
        "low-pass 1 kHz": lambda x, rng: _filtered(x, "low", 1000),
        "high-pass 1 kHz": lambda x, rng: _filtered(x, "high", 1000),
        "crop of 5 s": lambda x, rng: _crop(x, 5, rng),
        "crop of 3 s": lambda x, rng: _crop(x, 3, rng),
        "crop of 5 s, speed +4 %, MP3 64": lambda x, rng: _coded(
            _speed(_crop(x, 5, rng), 1.04), "MP3", "MPEG_LAYER_III", 96 / 152
        ),
        "gated, tempo -5 %": lambda x, rng: _stretch(_gated(x, 4, 0.5), 0.95, 0),
        "gated, reversed, pitch +1": lambda x, rng: _stretch(_gated(x, 4, 0.5)[::-1], 1.0, 1),
        "pitch +1, other music, equal": lambda x, rng: _mixed(_stretch(x, 1.0, 1), bed(rng), 0),
    }


def _audio(samples: Samples) -> Audio:
    return Audio(np.ascontiguousarray(samples[None], dtype=np.float32), RATE)


def _speed(x: Samples, factor: float) -> Samples:
    return resample(Audio(x[None], round(RATE * factor)), RATE).samples[0]


def _stretch(x: Samples, tempo: float, semitones: int) -> Samples:
    return stretch(_audio(x), 1 / tempo, semitones).samples[0]


def _gated(x: Samples, hz: float, duty: float) -> Samples:
    return _shut(x, np.arange(x.size) / RATE * hz % 1 < duty)


def _cut_up(x: Samples, duty: float, rng: Rng) -> Samples:
    is_open = np.zeros(x.size, bool)
    at = 0.0
    while at < x.size:
        length = rng.exponential(0.15) + 0.03
        is_open[int(at) : int(at + length * RATE)] = True
        at += (length + rng.exponential(length * (1 - duty) / duty)) * RATE
    return _shut(x, is_open)


def _shut(x: Samples, is_open: NDArray[np.bool_]) -> Samples:
    """Silent where the gate is not open; it opens and shuts within 2 ms."""
    width = round(0.002 * RATE)
    gain = np.convolve(is_open.astype(np.float32), np.ones(width) / width, "same")
    return (x * gain).astype(np.float32)


def _noise(x: Samples, rng: Rng, slope: float) -> Samples:
    spectrum = np.fft.rfft(rng.standard_normal(x.size))
    spectrum /= (np.arange(spectrum.size) + 20) ** (slope / 2)
    return np.fft.irfft(spectrum, x.size).astype(np.float32)


def _mixed(x: Samples, other: Samples, level_db: float) -> Samples:
    other = np.resize(other, x.size)
    gain = np.sqrt(np.mean(x**2) / np.mean(other**2)) * 10 ** (level_db / 20)
    return (x + gain * other).astype(np.float32)


def _coded(x: Samples, kind: str, subtype: str, compression: float) -> Samples:
    rate = 48_000 if subtype == "OPUS" else RATE
    sound = resample(_audio(x), rate).samples[0]
    sound /= max(1.0, 1.01 * float(np.abs(sound).max()))
    constant = {"bitrate_mode": "CONSTANT"} if kind == "MP3" else {}
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", rate, 1, subtype, format=kind, compression_level=compression, **constant
    ) as out:
        out.write(sound)
    file.seek(0)
    back, rate = soundfile.read(file, dtype="float32")
    return resample(Audio(back[None], rate), RATE).samples[0]


def _filtered(x: Samples, side: str, hz: float) -> Samples:
    from scipy.signal import butter, sosfilt

    return np.asarray(sosfilt(butter(6, hz, side, fs=RATE, output="sos"), x), np.float32)


def _crop(x: Samples, seconds: float, rng: Rng) -> Samples:
    """A part that is not nearly silent, if there is one."""
    length = round(seconds * RATE)
    if length >= x.size:
        return x
    for _ in range(20):
        at = int(rng.integers(0, x.size - length))
        part = x[at : at + length]
        if np.mean(part**2) > 0.1 * np.mean(x**2):
            break
    return part


def _material(arguments: argparse.Namespace) -> Material:
    rng = np.random.default_rng(0)
    stems = {}
    for path in sorted(data_dir("demo").rglob("*.mid")):
        kind = next((k for k in ("drums", "bass") if path.stem.endswith(k)), "pitched")
        rendered = midi.render(path, sample_rate=RATE, duration_s=20.0)
        stems[f"demo/{path.parent.name}/{path.stem}/{kind}"] = mono(rendered).samples[0]
    own = corpus.own_soundfont()
    for seed, (role, kind, sound) in _composed(range(300), "test", own, (20.0, 3.0)):
        if kind == "stem" and len(stems) < 109:
            length = "loop" if sound.size < 5 * RATE else "stem"
            stems[f"composed/{length}/{seed}/{role if length == 'stem' else 'loop'}"] = sound
    strangers: dict[str, Samples] = {}
    files = sorted(_recordings(arguments.recordings)) if arguments.recordings else []
    albums = sorted({path.parent for path in files})
    for path in files:
        name = path.parent.name + "-" + path.stem
        if albums.index(path.parent) % 2 == 0:
            stems[f"{name}/recordings"] = _excerpt(path, 20.0, rng)
            continue
        for length in (10.0, 15.0, 20.0, 30.0) * 4:
            strangers[f"recordings/{name}/{len(strangers)}"] = _excerpt(path, length, rng)
    left = max(0, arguments.windows - len(strangers))
    fonts = [("our own sounds", own)]
    if arguments.soundfont is not None:
        fonts.insert(0, ("other sounds", arguments.soundfont))
    for title, font in fonts:
        seeds = range(10_000, 10_000 + left // len(fonts))
        for seed, (role, _, sound) in _composed(seeds, "train", font, (10.0, 15.0, 20.0, 30.0)):
            drums = "drums alone" if role == "drums" else "composed"
            strangers[f"{drums}, {title}/{seed}"] = sound
    seeds = range(50_000, 50_000 + max(0, 1000 - len(stems)))
    lengths = (20.0, 20.0, 3.0, 12.0)
    fillers = {f"filler/{seed}": one[2] for seed, one in _composed(seeds, "train", own, lengths)}
    return Material(stems, fillers, strangers)


def _composed(
    seeds: range, split: pieces.Split, font: Path, lengths: tuple[float, ...]
) -> Iterator[tuple[int, tuple[str, str, Samples]]]:
    """Seed, role of the first voice (``drums`` for drums alone), kind, and sound."""
    for seed in seeds:
        length = lengths[seed % len(lengths)]
        piece = pieces.compose(seed, split, max(24.0, 1.5 * length))
        sound = corpus.render(
            piece, seed=seed, sample_rate=RATE, duration_s=length, soundfont=font
        ).mean(axis=0)
        role = piece.facts.roles[0] if piece.facts.kind == "stem" else "mix"
        if np.isfinite(sound).all() and 1e-3 < np.abs(sound).max() < 10:
            yield seed, (role, piece.facts.kind, sound)


def _recordings(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix in (".ogg", ".opus", ".flac", ".mp3", ".wav"):
            info = soundfile.info(path)
            if info.frames > 45 * info.samplerate:
                yield path


def _excerpt(path: Path, seconds: float, rng: Rng) -> Samples:
    with soundfile.SoundFile(path) as file:
        length = round(seconds * file.samplerate)
        file.seek(int(rng.integers(0, file.frames - length)))
        read = file.read(length, dtype="float32", always_2d=True)
        return resample(mono(Audio(np.ascontiguousarray(read.T), file.samplerate)), RATE).samples[0]


def _write(path: Path, lines: list[str], arguments: argparse.Namespace) -> None:
    """Replace the section in the results, or add it at the end."""
    options = f" --stems {arguments.stems} --windows {arguments.windows}"
    options += " --recordings FOLDER" if arguments.recordings else ""
    options += " --soundfont FILE" if arguments.soundfont else ""
    command = f"OMP_NUM_THREADS=1 python benchmarks/bench_recognition.py{options}"
    section = f"{HEADING}\n\n`{command}`\n\n" + "\n".join(lines).strip() + "\n"
    put_section(path, HEADING, section)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stems", type=int, default=12, help="how many stems are disguised, or 0")
    parser.add_argument("--windows", type=int, default=200, help="windows of foreign music, or 0")
    parser.add_argument(
        "--recordings", type=Path, help="a folder of music: every second folder in it is foreign"
    )
    parser.add_argument("--soundfont", type=Path, help="an SF2 that plays foreign music, too")
    parser.add_argument("--write", type=Path, help="put the section into this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()

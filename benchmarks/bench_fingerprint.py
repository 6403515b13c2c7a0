"""Fingerprints, measured: what share of copies they name, and of other sounds they name wrongly.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_fingerprint [--quick] [--large] [--write FILE]

Outputs are made by the embedded models from the demo library. The hard negatives are *siblings*:
outputs of one prompt and the same references that differ in their seed only, one of which is in the
store while the other is asked for. The easy ones are the library's own stems. Every attack is
followed by random crops. The thresholds are those that ``trace`` uses.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np

import rag_audio
from benchmarks import disguising
from benchmarks.figures import put_section
from rag_audio.audio import midi
from rag_audio.audio.dsp import resample, stretch
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.cli.demo import _lay_out_library
from rag_audio.domain import Audio
from rag_audio.domain.landmarks import Postings
from rag_audio.domain.ports import Mark
from rag_audio.provenance.trace import content_matching
from rag_audio.provenance.trace.alignment import align, peaks_of
from rag_audio.provenance.trace.content_matching import Recogniser, hearings
from rag_audio.provenance.trace.fingerprint import (
    HOLDS,
    UNRELATED,
    Fingerprint,
    coherence,
    find_peaks,
    make_fingerprint,
    make_query,
    match,
    peak_in_waveform,
    pieces,
    windows,
)
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.provenance.trace.output_landmarks import Question, changed_candidates
from rag_audio.provenance.trace.time_ranges import StretchKind, compare
from rag_audio.resources import data_dir
from rag_audio.storage.database import connect
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker

PROMPTS = (
    "slow dusty drums and warm keys",
    "bright plucked guitar, lively",
    "calm ambient pad, slow",
    "deep house bass groove",
)
SEEDS = {0.4: 4, 0.15: 2, 0.7: 2}
"""How many siblings of each prompt, by strength."""
CHANGED_TRIES = 8
CROPS_S = (5.0, 3.0)
HEADING = "## Fingerprint"
Attack = Callable[[Audio], Audio]


def main() -> None:
    arguments = _arguments()
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        families = _outputs(work, arguments.quick)
        store = SqlFingerprints(connect("sqlite://"))
        kept, asked = [], []
        for family in families:
            for i, path in enumerate(family):
                (kept if i % 2 == 0 else asked).append(load(path))
        started = time.perf_counter()
        prints = [make_fingerprint(sound) for sound in kept]
        made_s = (time.perf_counter() - started) / len(kept)
        store.put_many(enumerate(prints, 1))
        rate = float(np.median([p.hashes.size / p.duration_s for p in prints]))
        say(
            f"{len(kept)} outputs kept, {rate:.0f} landmarks a second, {1000 * made_s:.0f} ms each."
        )
        _recall(store, kept, Path(folder), arguments, say)
        _false_positives(store, asked, arguments, say)
        tries = 2 if arguments.quick else 8
        _disguised(kept[::2][:tries], asked[::2][:tries], Path(folder), say)
        _waveforms(kept[::2][:tries], asked[::2][:tries], Path(folder), say)
        _in_time(kept, Path(folder), say)
        _scale(kept[0], arguments, say)
    if arguments.write is not None:
        _write(arguments.write, lines, arguments.quick)


def _recall(
    store: SqlFingerprints,
    kept: list[Audio],
    folder: Path,
    arguments: argparse.Namespace,
    say: Callable[..., None],
) -> None:
    rng = np.random.default_rng(0)
    heading = " | ".join(f"crops of {seconds:g} s named" for seconds in CROPS_S)
    say(f"\n| attack | {heading} | named wrongly | lowest exact share |")
    say(f"|---|{'---|' * len(CROPS_S)}---|---|")
    for name, spoil in _attacks(folder).items():
        cells, wrong, shares = [], 0, []
        # Trying all tempos and pitches takes seconds each: fewer of those.
        changed = name in CHANGED
        sounds = dict(list(enumerate(kept, 1))[: CHANGED_TRIES if changed else None])
        for seconds in CROPS_S:
            named = tries = 0
            for number, sound in sounds.items():
                for crop in _crops(sound, seconds, 1 if changed else arguments.crops, rng):
                    if changed and seconds != CROPS_S[0]:
                        continue
                    answer, share = _ask(store, spoil(crop), changed)
                    named += answer == number
                    wrong += answer not in (None, number)
                    tries += 1
                    if seconds == CROPS_S[0]:
                        shares.append(share)
            cells.append(f"{named} of {tries}" if tries else "–")
        say(f"| {name} | {' | '.join(cells)} | {wrong} | {min(shares):.2f} |")


def _false_positives(
    store: SqlFingerprints,
    asked: list[Audio],
    arguments: argparse.Namespace,
    say: Callable[..., None],
) -> None:
    rng = np.random.default_rng(1)
    scores = sorted(data_dir("demo").rglob("*.mid"))
    renders = [
        midi.render(path, duration_s=20.0) for path in scores[: 8 if arguments.quick else 56]
    ]
    say("\n| not in the store | crops of 5 s named | highest exact share | 99th percentile |")
    say("|---|---|---|---|")
    for name, sounds, changed in (
        ("siblings: same references, another seed", asked, False),
        ("library stems", renders, False),
        ("library stems, all tempos and pitches tried", renders[:CHANGED_TRIES], True),
    ):
        shares, named = [], 0
        for sound in sounds:
            for crop in _crops(sound, CROPS_S[0], 1 if changed else arguments.crops, rng):
                answer, share = _ask(store, crop, changed)
                named += answer is not None
                shares.append(share)
        top = float(np.percentile(shares, 99))
        say(f"| {name} | {named} of {len(shares)} | {max(shares):.2f} | {top:.2f} |")
    say(
        f"\nThresholds: {content_matching.EXACT_SHARE:g} of the peaks within 6 ms or "
        f"{content_matching.CLOSE_SHARE:g} within 12 ms, at least "
        f"{content_matching.ACCEPTED_PEAKS} of them."
    )


def _disguised(
    kept: list[Audio], asked: list[Audio], folder: Path, say: Callable[..., None]
) -> None:
    """Kinds of disguise: by what an output is traced, and what is named that is not kept."""
    marker = SpreadSpectrumWatermarker(b"the key of this benchmark")
    store = SqlFingerprints(connect("sqlite://"))
    masters = dict(enumerate(kept, 1))
    marked = {}
    for number, sound in masters.items():
        marked[number] = marker.embed(sound, Mark(number)) or sound
        store.put(number, make_fingerprint(marked[number]))
    scores = sorted(data_dir("demo").rglob("*.mid"))[: len(kept)]
    stems = [midi.render(path, duration_s=10.0) for path in scores]
    with_masters, alone = Recogniser(store, masters.get), Recogniser(store)
    rng = np.random.default_rng(7)
    say(
        "\n| disguise of 6 s | by its mark | by content | of those without master | not traced "
        "| another output named | siblings named, without master | stems named |"
    )
    say("|---|---|---|---|---|---|---|---|")
    for name, spoil in disguising.disguises(folder).items():
        mark = content_ = bare = lost = wrong = 0
        for number, sound in marked.items():
            (crop,) = _crops(sound, 6.0, 1, rng)
            copy = spoil(crop)
            told = marker.detect(copy).mark
            named, without = _named(with_masters, copy), _named(alone, copy)
            mark += told == Mark(number)
            content_ += named == number
            bare += without == number
            lost += told != Mark(number) and named != number
            wrong += (named or number) != number or (told or Mark(number)) != Mark(number)
        others = [[spoil(_crops(one, 6.0, 1, rng)[0]) for one in some] for some in (asked, stems)]
        siblings = [sum(_named(way, one) is not None for one in others[0])
                    for way in (with_masters, alone)]  # fmt: skip
        foreign = sum(_named(with_masters, one) is not None for one in others[1])
        count = len(marked)
        say(
            f"| {name} | {mark} of {count} | {content_} | {bare} | {lost} | {wrong} | "
            f"{siblings[0]}, {siblings[1]} of {len(asked)} | {foreign} of {len(stems)} |"
        )
    sound = Audio(np.tile(stems[0].samples, 3), stems[0].sample_rate)
    started = time.process_time()
    _named(with_masters, sound)
    say(f"\nRecognising 30 s that are of no output: {time.process_time() - started:.2f} CPU s.")


def _named(recogniser: Recogniser, sound: Audio) -> int | None:
    return next((fit.output for fit in recogniser.fits(hearings(sound))), None)


def _waveforms(
    kept: list[Audio], asked: list[Audio], folder: Path, say: Callable[..., None]
) -> None:
    """What the comparison of waveforms with the master says of copies and of other sounds."""
    every = disguising.disguises(folder)
    kinds = {name: every[name] for name in disguising.SAME_SPEED}
    rng = np.random.default_rng(8)
    say(
        f"\nPeak of the correlation with the master (holds it from {HOLDS:g} on, unrelated below "
        f"{UNRELATED:g}), and coherence (names an output from {content_matching.COHERENT:g} on):"
    )
    say(
        "\n| 6 s | copies: peak, least | siblings, most | other outputs, most "
        "| copies: coherence, least | siblings, most | other outputs, most |"
    )
    say("|---|---|---|---|---|---|---|")
    half = max(1, len(kept) // 2)
    for db in (0, 6, 12):
        kinds[f"under another output, {db} dB louder"] = lambda sound: sound
    for name, spoil in kinds.items():
        peaks: list[list[float]] = [[], [], []]
        steps: list[list[float]] = [[], [], []]
        for i, master in enumerate(kept):
            other = kept[(i + half) % len(kept)]
            for which, sound in enumerate((master, asked[i], other)):
                heard = sound
                if name.startswith("under"):
                    over = kept[(i + half + 1) % len(kept)]
                    heard = disguising.under(sound, over, float(name.split()[3]))
                at = int(rng.integers(0, max(1, heard.frames - 6 * heard.sample_rate)))
                crop = Audio(
                    np.ascontiguousarray(heard.samples[:, at : at + 6 * heard.sample_rate]),
                    heard.sample_rate,
                )
                copy = spoil(crop)
                peaks[which].append(peak_in_waveform(master, copy))
                place = align(peaks_of(make_fingerprint(master)), find_peaks(copy))
                offset_s = 0.0 if place is None else place.offset_s
                steps[which].append(coherence(master, copy, offset_s))
        say(
            f"| {name} | {min(peaks[0]):.0f} | {max(peaks[1]):.0f} | {max(peaks[2]):.0f} | "
            f"{min(steps[0]):.2f} | {max(steps[1]):.2f} | {max(steps[2]):.2f} |"
        )


def _in_time(kept: list[Audio], folder: Path, say: Callable[..., None]) -> None:
    """An output, then one of other references: where the seam is put, and what is told wrongly."""
    say("\n| an output, then another | seam off, s: median, most | told wrongly, s | unclear, s |")
    say("|---|---|---|---|")
    rng = np.random.default_rng(4)
    half = len(kept) // 2
    attacks = {k: v for k, v in _attacks(folder).items() if k not in CHANGED}
    mixes: dict[str, list[float]] = {"alone": [], "under another at equal level": []}
    for name, spoil in attacks.items():
        off, wrong, unclear, total = [], 0.0, 0.0, 0.0
        for i, sound in enumerate(kept):
            other = kept[(i + half) % len(kept)]
            cut = float(rng.uniform(4.0, 8.0))
            first = sound.samples[:, : round(cut * sound.sample_rate)]
            both = Audio(np.concatenate([first, other.samples], axis=1), sound.sample_rate)
            parts = compare(find_peaks(spoil(both)), make_fingerprint(sound))
            total += both.duration_s
            ends = [one.end_s for one in parts if one.kind is StretchKind.SAME]
            off.append(abs((ends or [0.0])[-1] - cut))
            for one in parts:
                inside = max(0.0, min(one.end_s, cut) - one.start_s)
                if one.kind is StretchKind.OTHER:
                    wrong += inside
                elif one.kind is StretchKind.SAME:
                    wrong += one.length_s - inside
                else:
                    unclear += one.length_s
        middle = float(np.median(off))
        seams, told = f"{middle:.1f}, {max(off):.1f}", f"{wrong:.0f} of {total:.0f}"
        say(f"| {name} | {seams} | {told} | {unclear:.0f} |")
    for i, sound in enumerate(kept):
        other, print_ = kept[(i + half) % len(kept)], make_fingerprint(sound)
        level = float(np.sqrt(np.mean(sound.samples**2) / np.mean(other.samples**2)))
        both = Audio(sound.samples + np.float32(level) * other.samples, sound.sample_rate)
        for name, heard in (("alone", other), ("under another at equal level", both)):
            for crop in _crops(heard, CROPS_S[0], 3, rng):
                (query,) = windows(find_peaks(crop))
                mixes[name].append(match(query, print_).share)
    alone, under = mixes.values()
    say(
        f"\nShare of another output's landmarks in 5 s: at most {max(alone):.3f}; of the output's "
        f"own under another at equal level: median {np.median(under):.2f}, least {min(under):.2f}."
    )


def _scale(sound: Audio, arguments: argparse.Namespace, say: Callable[..., None]) -> None:
    """Time of a question among many outputs, whose landmarks are drawn like real ones."""
    real = make_fingerprint(sound)
    rng = np.random.default_rng(2)
    ((_, piece),) = pieces(find_peaks(next(iter(_crops(sound, 5.0, 1, rng)))))
    query = make_query(piece)
    say(
        "\n| outputs | kept in bulk, ms each | one more kept, ms | question, ms "
        "| rows read at all speeds | comparing each, ms | ratio |\n|---|---|---|---|---|---|---|"
    )
    for count in (100, 1000) if not arguments.large else (100, 1000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            store = SqlFingerprints(connect(f"sqlite:///{folder}/prints.db"))
            others = (_drawn_like(real, rng) for _ in range(2, count + 1))
            started = time.perf_counter()
            store.put_many(enumerate(chain([real], others), 1))
            bulk = 1000 * (time.perf_counter() - started) / count
            started = time.perf_counter()
            store.put(count + 1, _drawn_like(real, rng))
            one_more = 1000 * (time.perf_counter() - started)
            started = time.perf_counter()
            best = store.find(piece)[0]
            ours = 1000 * (time.perf_counter() - started)
            read = 0

            def counted(question: Question, of: SqlFingerprints = store) -> Postings:
                nonlocal read
                found = of.sharing(question)
                read = found.probes.size
                return found

            changed_candidates(counted, piece)
            if best.output != 1:
                raise SystemExit(f"{count} outputs: named output {best.output}, not 1")
            sample = list(range(1, min(count, 200) + 1))
            started = time.perf_counter()
            for print_ in store.load(sample).values():
                match(query, print_)
            linear = 1000 * (time.perf_counter() - started) * count / len(sample)
        say(
            f"| {count} | {bulk:.1f} | {one_more:.0f} | {ours:.0f} | {read} | {linear:.0f} "
            f"| {linear / ours:.1f} x |"
        )


def _drawn_like(real: Fingerprint, rng: np.random.Generator) -> Fingerprint:
    noise = rng.integers(-40, 40, real.hashes.size) * 64 + rng.integers(-6, 6)
    return Fingerprint(np.abs(real.hashes + noise) % 2**19, real.times_ms, 10.0)


def _ask(store: SqlFingerprints, sound: Audio, changed: bool) -> tuple[int | None, float]:
    """Which output ``trace`` would name without a master, and the share of exact peaks."""
    heard = hearings(sound)
    fits = Recogniser(store).fits(heard, disguised=changed)
    if fits:
        return fits[0].output, fits[0].at.exact_share
    found = [one for _, piece in pieces(heard[0].peaks) for one in store.find(piece)]
    alike = sorted(found, key=lambda one: -one.agreeing)[:12]
    kept = store.load([one.output for one in alike])
    places = (align(peaks_of(one), heard[0].peaks) for one in kept.values())
    return None, max((at.exact_share for at in places if at is not None), default=0.0)


CHANGED = ("tempo x 1.04", "pitch +1 semitone", "played 2 % faster")


def _attacks(folder: Path) -> dict[str, Attack]:
    def mp3(kbps: int) -> Attack:
        def spoil(sound: Audio) -> Audio:
            save(sound, folder / "copy.mp3", bitrate_kbps=kbps)
            return load(folder / "copy.mp3")

        return spoil

    def noise(sound: Audio) -> Audio:
        hiss = np.random.default_rng(3).standard_normal(sound.samples.shape)
        level = 0.1 * float(np.sqrt(np.mean(sound.samples**2)))
        return Audio(sound.samples + (level * hiss).astype(np.float32), sound.sample_rate)

    return {
        "none": lambda sound: sound,
        "MP3 128 kbit/s": mp3(128),
        "MP3 64 kbit/s": mp3(64),
        "22.05 kHz": lambda sound: resample(sound, 22_050),
        "gain -12 dB": lambda sound: Audio(sound.samples * np.float32(0.25), sound.sample_rate),
        "noise 20 dB below": noise,
        "tempo x 1.04": lambda sound: stretch(sound, 1 / 1.04, 0),
        "pitch +1 semitone": lambda sound: stretch(sound, 1.0, 1),
        "played 2 % faster": lambda sound: Audio(
            resample(sound, round(sound.sample_rate / 1.02)).samples, sound.sample_rate
        ),
    }


def _crops(sound: Audio, seconds: float, count: int, rng: np.random.Generator) -> list[Audio]:
    length = round(seconds * sound.sample_rate)
    starts = rng.integers(0, max(1, sound.frames - length), count)
    return [
        Audio(np.ascontiguousarray(sound.samples[:, at : at + length]), sound.sample_rate)
        for at in starts
    ]


def _outputs(work: Path, quick: bool) -> list[list[Path]]:
    """Families of siblings: each list is of one prompt and strength, by seed."""
    prompts = PROMPTS[:2] if quick else PROMPTS
    seeds = {0.4: 2} if quick else SEEDS
    renders = json.loads((data_dir("demo") / "demo.json").read_text(encoding="utf-8"))["renders"]
    families = []
    out = work / "outputs"
    out.mkdir(parents=True, exist_ok=True)
    wanted = [
        [(p, s, n, out / f"p{p}_s{s}_n{n}.wav") for n in range(count)]
        for p in range(len(prompts))
        for s, count in seeds.items()
    ]
    if any(not path.exists() for family in wanted for *_, path in family):
        with rag_audio.open(work / "home") as workspace:
            workspace.index(_lay_out_library(work / "library", renders, quiet=True))
            for family in wanted:
                for p, strength, n, path in family:
                    if not path.exists():
                        workspace.generate(
                            prompts[p], path, strength=strength, seed=100 + n, duration_s=10.0
                        )
    families = [[path for *_, path in family] for family in wanted]
    return families


def _write(path: Path, lines: list[str], quick: bool) -> None:
    """Replace the section in the results, or add it at the end."""
    command = (
        f"OMP_NUM_THREADS=1 python -m benchmarks.bench_fingerprint{' --quick' if quick else ''}"
    )
    section = f"{HEADING}\n\n`{command}`: outputs of the embedded models from the demo library.\n\n"
    section += "\n".join(lines).strip() + "\n"
    put_section(path, HEADING, section)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer outputs")
    parser.add_argument("--large", action="store_true", help="a store of 10,000 outputs, too")
    parser.add_argument("--crops", type=int, default=3, help="crops of each output and attack")
    parser.add_argument("--work", type=Path, help="keep the outputs here, and use those there")
    parser.add_argument("--write", type=Path, help="put the section into this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Measures the exported checkpoints on held-out pieces, against the same readings of real renders.

Writes ``report/figures.md`` (what the model cards quote), ``figures.json`` and spectrograms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch

from rag_audio.audio import writing
from rag_audio.audio.analysis import analyse
from rag_audio.audio.copy_distance import copy_distance
from rag_audio.audio.dsp import stretch
from rag_audio.audio.pictures import spectrogram_png
from rag_audio.domain import Audio, Key
from rag_audio.domain.ports import DiffusionInput
from rag_audio.models.clap import ClapEmbedder
from rag_audio.models.stable_audio import load_generator
from training import data
from training import measures as m
from training.autoencoder import spectral_loss
from training.presets import Preset

log = structlog.get_logger(__name__)

LENGTH_S = 10.0
STRENGTHS = (0.3, 0.5, 0.7, 0.9, 1.0)
HIGH_STRENGTH = 0.8  # where words and sound both have a say
PICTURES = 10
TRAINING_ITEMS = 1000  # that outputs are compared with


@dataclass(frozen=True)
class Line:
    """A row of the table: what was measured, on what, its ceiling."""

    name: str
    value: m.Figure
    ceiling: m.Figure | None = None

    def text(self) -> str:
        """A Markdown table row."""
        share = ""
        if self.ceiling is not None and self.ceiling.mean > 0:
            share = f"{self.value.mean / self.ceiling.mean:.0%}"
        return f"| {self.name} | {self.value} | {self.ceiling or ''} | {share} |"


class Bench:
    """The checkpoints and the held-out pieces; one method per block of the table."""

    def __init__(self, preset: Preset, out: Path, models: Path) -> None:
        self.preset, self.report = preset, out / "report"
        self.report.mkdir(parents=True, exist_ok=True)
        self.embedder = ClapEmbedder(models / "clap-mini", device=preset.device)
        self.generator: Any = load_generator(models / "stable-audio-mini", device=preset.device)
        self.held = data.load_split(out / "corpus", "held")
        self.train = data.load_split(out / "corpus", "train")
        self.second = _second(out)
        self.judge = m.FamilyJudge(self.embedder, data.family_names())
        stems = [i for i, row in enumerate(self.held.rows) if row["family"] != "mix"]
        self.stems = stems[: preset.rows]
        self.seconds = min(LENGTH_S, preset.corpus.seconds)
        self.made: dict[str, list[Audio]] = {}

    def sound(self, split: data.Split, index: int) -> Audio:
        """A rendered clip, cut to the evaluation's length."""
        size = round(self.seconds * self.preset.sample_rate)
        return Audio(
            split.audio[index][:, :size].astype(np.float32) / 32768.0, self.preset.sample_rate
        )

    def clap(self) -> list[Line]:
        """Retrieval among distinct captions, zero-shot families, and both with other sounds."""
        lines = []
        for name, split in (("held-out", self.held), ("other sounds", self.second)):
            if split is None:
                continue
            rows = split.rows[:500]
            sound = self.embedder.embed_audio([self.sound(split, i) for i in range(len(rows))])
            for manner, said in (
                ("", [row["captions"][0] for row in rows]),
                ("fullest captions, ", [max(row["captions"], key=len) for row in rows]),
            ):
                seen: dict[str, int] = {}
                for index, caption in enumerate(said):
                    seen.setdefault(caption, index)
                text = self.embedder.embed_text(list(seen))
                own = sound[list(seen.values())]
                for depth in (1, 10):
                    value = m.figure(m.recall(text, own, depth))
                    lines.append(
                        Line(f"clap-mini text→audio recall@{depth}, {manner}{name}", value)
                    )
            stems = [i for i, row in enumerate(split.rows) if row["family"] != "mix"][:200]
            named = self.judge([self.sound(split, i) for i in stems])
            right = [float(a == split.rows[i]["family"]) for a, i in zip(named, stems, strict=True)]
            lines.append(Line(f"clap-mini family zero-shot top-1, {name}", m.figure(right)))
        return lines

    def ceiling(self) -> dict[str, m.Figure]:
        """Readings of the real held-out renders."""
        return self._read([self.sound(self.held, i) for i in self.stems])

    def codec(self, ceiling: dict[str, m.Figure]) -> list[Line]:
        """Distances of reconstructions, and what is still read from them."""
        real = [self.sound(self.held, i) for i in self.stems]
        made = [self._reconstruct(sound) for sound in real]
        pairs = list(zip(made, real, strict=True))
        mel = [m.log_mel_distance(a, b) for a, b in pairs]
        stft = [
            float(spectral_loss(*(torch.from_numpy(x.samples.mean(0))[None] for x in pair)))
            for pair in pairs
        ]
        lines = [
            Line("codec log-mel distance, dB", m.figure(mel)),
            Line("codec multi-resolution STFT loss", m.figure(stft)),
        ]
        return lines + self._against("codec reconstruction", self._read(made), ceiling)

    def words(self, ceiling: dict[str, m.Figure]) -> list[Line]:
        """By text alone."""
        self.made["words"] = [self._generate(i, None, 1.0, i) for i in self.stems]
        return self._against("text alone", self._read(self.made["words"]), ceiling)

    def references(self, ceiling: dict[str, m.Figure]) -> list[Line]:
        """With a conformed reference of the same family at the default strength."""
        strength = self.generator.info.default_strength
        self.made["references"] = [
            self._generate(i, self.conformed(i), strength, i) for i in self.stems
        ]
        read = self._read(self.made["references"])
        themselves = self._read([self.conformed(i) for i in self.stems])
        return [
            *self._against("the conformed references themselves", themselves, ceiling),
            *self._against(f"with reference, strength {strength:g}", read, ceiling),
        ]

    def effect(self) -> list[Line]:
        """Similarity to the reference and copy distance, by strength and by channel."""
        chosen, lines = self.stems[: max(4, self.preset.rows // 4)], []
        refs = {i: self.conformed(i) for i in chosen}
        plans: list[tuple[str, float, bool, bool]] = [
            (f"strength {s:g}", s, True, True) for s in STRENGTHS
        ]
        for s in (self.generator.info.default_strength, HIGH_STRENGTH):
            plans.append((f"prompt and init, strength {s:g}", s, True, True))
            plans.append((f"init only, strength {s:g}", s, False, True))
        plans += [("prompt only", 1.0, True, False), ("neither", 1.0, False, False)]
        for name, strength, prompt, init in plans:
            similar, copied = [], []
            for i in chosen:
                seed = refs[i] if init else None
                made = self._generate(i, seed, strength, i + 1, prompt=None if prompt else "music")
                vectors = self.embedder.embed_audio([made, refs[i]])
                similar.append(float(vectors[0] @ vectors[1]))
                copied.append(copy_distance(refs[i], made))
            lines.append(Line(f"similarity to the reference, {name}", m.figure(similar)))
            lines.append(Line(f"copy distance to the reference, {name}", m.figure(copied)))
        return lines

    def memory(self) -> list[Line]:
        """Nearest training item of outputs and of held-out pieces, in clap-mini's space."""
        lines = []
        held = [self.sound(self.held, i) for i in self.stems]
        for name, sounds in (
            ("outputs from words", self.made["words"]),
            ("outputs with a reference", self.made["references"]),
            ("held-out", held),
        ):
            likeness = self.embedder.embed_audio(sounds) @ self.bank.T
            lines.append(
                Line(f"distance to the nearest training item, {name}",
                     m.figure(1 - likeness.max(axis=1)))
            )  # fmt: skip
            at = likeness.argmax(axis=1)[: self.preset.rows // 4]
            copies = [
                copy_distance(self.sound(self.train, int(self.banked[place])), sound)
                for place, sound in zip(at, sounds, strict=False)
            ]
            lines.append(
                Line(f"copy distance to the nearest training item, {name}", m.figure(copies))
            )
        return lines

    @cached_property
    def banked(self) -> range:
        """The training items that outputs are compared with."""
        return range(0, len(self.train.rows), max(1, len(self.train.rows) // TRAINING_ITEMS))

    @cached_property
    def bank(self) -> Any:
        """Their vectors ``[N, D]``."""
        return self.embedder.embed_audio([self.sound(self.train, i) for i in self.banked])

    def distances(self) -> list[Line]:
        """Fréchet distances to real held-out pieces, with noise and other pieces for scale."""
        real = [self.sound(self.held, i) for i in range(min(len(self.held.rows), 200))]
        half = len(real) // 2
        rng = np.random.default_rng(0)
        noise = [
            Audio(0.1 * rng.standard_normal(s.samples.shape, np.float32), s.sample_rate)
            for s in real[:half]
        ]
        sets = {**self.made, "other held-out pieces": real[half:], "noise": noise}
        lines = []
        spaces: dict[str, Callable[[Sequence[Audio]], Any]] = {
            "clap-mini": self.embedder.embed_audio,
            "fixed": lambda sounds: np.stack([m.describe_sound(s) for s in sounds]),
        }
        for space, describe in spaces.items():
            base = describe(real[:half])
            for name, sounds in sets.items():
                value = m.frechet(describe(sounds), base)
                lines.append(
                    Line(f"Fréchet distance ({space} space), {name}",
                         m.Figure(value, value, value, len(sounds)))
                )  # fmt: skip
        return lines

    def pictures(self) -> None:
        """Spectrograms of outputs beside their references and nearest training items."""
        shown = self.stems[:PICTURES]
        vectors = self.embedder.embed_audio(self.made["references"][: len(shown)])
        nearest = (vectors @ self.bank.T).argmax(axis=1)
        for at, index in enumerate(shown):
            title = self.held.rows[index]["captions"][0]
            trained = int(self.banked[int(nearest[at])])
            beside = (
                ("output", self.made["references"][at], title),
                ("words", self.made["words"][at], title),
                ("reference", self.conformed(index), title),
                ("nearest", self.sound(self.train, trained),
                 self.train.rows[trained]["captions"][0]),
            )  # fmt: skip
            for kind, sound, name in beside:
                path = self.report / f"{at:02d}_{kind}.png"
                spectrogram_png(sound, path, title=f"{kind}: {name}")
                if at < 4:
                    writing.save(sound, path.with_suffix(".wav"))

    def conformed(self, index: int) -> Audio:
        """Another held-out piece of the same family and role, at the row's tempo and key."""
        row = self.held.rows[index]
        others = [
            (abs(np.log2(other["bpm"] / row["bpm"])), at)
            for at, other in enumerate(self.held.rows)
            if at != index and other["family"] == row["family"]
        ] or [(0.0, index)]
        at = min(others)[1]
        other, sound = self.held.rows[at], Audio(
            self.held.audio[at].astype(np.float32) / 32768.0, self.preset.sample_rate
        )  # fmt: skip
        steps = 0
        if row["key"] and other["key"]:
            steps = _key(other).semitones_to(_key(row))
        sound = stretch(sound, other["bpm"] / row["bpm"], steps)
        size = round(self.seconds * sound.sample_rate)
        times = -(-size // sound.frames)
        return Audio(np.tile(sound.samples, times)[:, :size], sound.sample_rate)

    def _generate(
        self, index: int, init: Audio | None, strength: float, seed: int, prompt: str | None = None
    ) -> Audio:
        info, row = self.generator.info, self.held.rows[index]
        batch = DiffusionInput(
            prompt=full_caption(row) if prompt is None else prompt,
            negative_prompt="",
            duration_s=self.seconds,
            steps=info.default_steps,
            guidance=info.default_guidance,
            seeds=(seed,),
            strength=strength,
            init_audio=init,
        )
        made: Audio = self.generator.generate(batch)[0]
        return made

    @torch.no_grad()
    def _reconstruct(self, sound: Audio) -> Audio:
        vae = self.generator._pipe.vae
        wave = torch.from_numpy(sound.samples)[None].to(vae.device)
        made = vae.decode(vae.encode(wave).latents).sample[0, :, : sound.frames]
        return Audio(made.float().cpu().numpy(), sound.sample_rate)

    def _read(self, sounds: Sequence[Audio]) -> dict[str, m.Figure]:
        rows = [self.held.rows[i] for i in self.stems]
        named = self.judge(sounds)
        pairs = [(analyse(s), row) for s, row in zip(sounds, rows, strict=True)]
        return {
            "family": m.figure([float(a == r["family"]) for a, r in zip(named, rows, strict=True)]),
            "tempo": m.figure([float(m.tempo_right(a, r["bpm"])) for a, r in pairs]),
            "key": m.figure([float(m.key_right(a, _key(r))) for a, r in pairs if r["key"]]),
        }

    def _against(
        self, name: str, read: dict[str, m.Figure], ceiling: dict[str, m.Figure]
    ) -> list[Line]:
        return [Line(f"{name}: {what}", read[what], ceiling[what]) for what in read]


def full_caption(row: dict[str, Any]) -> str:
    """The row's caption with tempo and key spelled out, as the product's prompts have them."""
    words = max(row["captions"], key=len)
    if str(row["bpm"]) not in words:
        words += f", {row['bpm']} bpm"
    return f"{words}, {_key(row)}" if row["key"] else words


def _key(row: dict[str, Any]) -> Key:
    return Key(int(row["key"][0]), bool(row["key"][1]))


def _second(out: Path) -> data.Split | None:
    if not (out / "corpus" / "second" / "rows.jsonl").is_file():
        return None
    return data.load_split(out / "corpus", "second")


def evaluate(preset: Preset, out: Path, models: Path) -> list[Line]:
    """Run every block; writes the report and returns its lines."""
    bench = Bench(preset, out, models)
    lines = bench.clap()
    ceiling = bench.ceiling()
    for block in (bench.codec, bench.references, bench.words):
        lines += block(ceiling)
        log.info("measured", lines=len(lines))
    for plain in (bench.effect, bench.memory, bench.distances):
        lines += plain()
    bench.pictures()
    head = "| measure | value | ceiling | share |\n|---|---|---|---|\n"
    table = head + "\n".join(line.text() for line in lines) + "\n"
    (bench.report / "figures.md").write_text(table, encoding="utf-8")
    rows = json.dumps([asdict(line) for line in lines], indent=1)
    (bench.report / "figures.json").write_text(rows + "\n", encoding="utf-8")
    log.info("report", at=str(bench.report / "figures.md"))
    return lines

"""What the conditioning benchmark generates from: held-out pieces with known truth, as a library.

The pieces are composed by ``training.corpus`` with progressions and seeds that no checkpoint of
this repository has seen, and played with the repository's own soundfont.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag_audio.audio import writing
from rag_audio.audio.reading import load
from rag_audio.domain import Audio, Channel, GenerationRequest, Key
from rag_audio.storage.files import file_sha256
from training.corpus import make_clip

FIRST_SEED = 40_000_000  # training counts from 0, its held-out splits from 10 and 20 million
SECONDS, RATE = 12.0, 24_000
DURATION_S = 10.0
WORDS = "a piece of music"
_OCTAVE_SHARE = 0.25

_LIBRARY = """[library]
name = "Held-out pieces"

[licenses.all]
holder = "Nobody"
spdx = "CC0-1.0"
uses = ["prompt", "init_audio", "style"]
"""


@dataclass(frozen=True)
class Case:
    """A reference with its truth, and the tempo and key that are asked for.

    Attributes:
        stem: sha256 of the reference's file.
        true_key: None for drums alone.
        key: None where the reference has none.
    """

    number: int
    stem: str
    path: str
    true_bpm: float
    true_key: Key | None
    bpm: float
    key: Key | None

    def request(self, channels: frozenset[Channel], strength: float | None) -> GenerationRequest:
        """The same words, tempo and key in every cell; only what references may give differs."""
        return GenerationRequest(
            WORDS,
            references=(self.stem,) if channels else (),
            k=0,
            bpm=self.bpm,
            key=self.key,
            duration_s=DURATION_S,
            seed=1000 * self.number,
            channels=channels or frozenset(Channel),
            strength=strength,
        )


def lay_out(folder: Path, count: int) -> list[Case]:
    """Write ``count`` pieces as a licensed library; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "library.toml").write_text(_LIBRARY, encoding="utf-8")
    rows, cases = ["path,license,artist,title,bpm,key,tags,isrc,downbeat_s"], []
    for number in range(count):
        path = folder / f"piece_{number:03d}.wav"
        facts_path = path.with_suffix(".json")
        if not facts_path.is_file():
            _make(number, path, facts_path)
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        key = Key.parse(facts["key"]) if facts["key"] else None
        rows.append(
            f"{path.name},all,,Piece {number},{facts['bpm']:g},{facts['key']},{facts['tags']},,0"
        )
        cases.append(_case(number, facts["stem"], path, float(facts["bpm"]), key))
    (folder / "stems.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return cases


def hear(case: Case, seconds: float = DURATION_S) -> Audio:
    """The real render, as long as the outputs."""
    return load(Path(case.path), duration_s=seconds)


def _make(number: int, path: Path, facts_path: Path) -> None:
    clip = make_clip(
        FIRST_SEED + number, sample_rate=RATE, duration_s=SECONDS, split="test", effects=True
    )
    facts = clip.facts
    writing.save(Audio(clip.samples, RATE), path, subtype="PCM_16")
    voices = zip(facts.instruments, facts.roles, strict=True)
    words = [name if name == role else f"{name} {role}" for name, role in voices]
    document = {
        "stem": file_sha256(path),
        "bpm": facts.bpm,
        "key": str(facts.key) if facts.key else "",
        "tags": ";".join([*words[-1:], facts.genre, facts.mood, *words[:-1]]),
    }
    facts_path.write_text(json.dumps(document), encoding="utf-8")


def _case(number: int, stem: str, path: Path, bpm: float, key: Key | None) -> Case:
    """Asked for: up to a quarter octave of tempo and half an octave of pitch away."""
    rng = np.random.default_rng([FIRST_SEED, number])
    asked = float(np.clip(round(bpm * 2 ** rng.uniform(-_OCTAVE_SHARE, _OCTAVE_SHARE)), 60, 190))
    shift = int(rng.integers(-6, 6))
    wanted = None if key is None else Key((key.tonic + shift) % 12, key.minor)
    return Case(number, stem, str(path), bpm, key, asked, wanted)

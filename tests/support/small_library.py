"""A small licensed library of synthetic sounds, written where a test wants it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import soundfile

RATE = 22050


def chords(bpm: float, root_hz: float, seconds: float = 12.0, seed: int = 0) -> np.ndarray:
    """Struck chords on every beat with a noise click: float32 ``[T]``, about -14 dBFS RMS."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    beat = 60.0 / bpm
    since = t % beat
    envelope = np.exp(-4.0 * since)
    step = (t // (4 * beat)).astype(int) % 2
    sound = np.zeros_like(t)
    for interval in (0, 4, 7, 12):
        hz = root_hz * 2 ** ((interval + 5 * step) / 12)
        sound += np.sin(2 * np.pi * np.cumsum(hz) / RATE)
    sound = sound * envelope * 0.2 + rng.standard_normal(t.size) * 0.2 * np.exp(-60.0 * since)
    return (sound / np.abs(sound).max() * 0.7).astype(np.float32)


LIBRARY_TOML = """
[library]
name = "Small"

[licenses.full]
holder = "Invented Holder"
spdx = "LicenseRef-Small-1"
uses = ["prompt", "init_audio", "style"]
credit = "Contains Invented Holder material"

[licenses.words]
holder = "Words Only Holder"
spdx = "LicenseRef-Small-2"
uses = ["prompt"]

[licenses.gone]
holder = "Expired Holder"
spdx = "LicenseRef-Small-3"
uses = ["prompt", "init_audio", "style"]
valid_until = 2020-12-31

[licenses.german]
holder = "German Holder"
spdx = "LicenseRef-Small-4"
uses = ["prompt", "init_audio", "style"]
territories = ["DE"]
"""

STEMS_CSV = """
path,license,artist,title,bpm,key,tags,isrc
full_*.wav,full,Copper Lantern Trio,,,,warm;electric piano,
full_a.wav,full,Copper Lantern Trio,Amber Stairs,92,A major,warm;electric piano,
words.wav,words,Paper Moth Quartet,Only Words,120,C major,string quartet;plucked,
gone.wav,gone,Late Ferry,Too Late,100,D major,ferry;organ,
german.wav,german,Nebel Kapelle,Nebel,110,E major,brass;choir,
"""


def write_library(root: Path) -> Path:
    """Six files: two fully licensed, then prompt-only, expired, DE only, and unlisted."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "library.toml").write_text(textwrap.dedent(LIBRARY_TOML).lstrip())
    (root / "stems.csv").write_text(textwrap.dedent(STEMS_CSV).lstrip())
    for i, (name, bpm, hz) in enumerate(
        [
            ("full_a", 92, 220.0),
            ("full_b", 100, 196.0),
            ("words", 120, 261.6),
            ("gone", 100, 146.8),
            ("german", 110, 164.8),
            ("unlisted", 90, 174.6),
        ]
    ):
        soundfile.write(root / f"{name}.wav", chords(bpm, hz, seed=i), RATE)
    return root

"""Writes small licensed libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile

from rag_audio.audio import analysis
from rag_audio.domain import Audio

LICENSES = """
[library]
name = "Night Shift"

[licenses.full]
holder = "Night Shift Recordings"
spdx = "LicenseRef-NightShift-AI-1"
uses = ["prompt", "init_audio", "style"]
territories = ["WORLD"]
valid_until = 2030-12-31

[licenses.words]
holder = "Night Shift Recordings"
spdx = "LicenseRef-NightShift-AI-2"
uses = ["prompt"]
territories = ["DE", "AT"]

[licenses.expired]
holder = "Night Shift Recordings"
spdx = "LicenseRef-NightShift-AI-3"
uses = ["prompt"]
territories = ["WORLD"]
valid_until = 2020-12-31

[licenses.future]
holder = "Night Shift Recordings"
spdx = "LicenseRef-NightShift-AI-4"
uses = ["prompt"]
valid_from = 2029-01-01

[licenses.nothing]
holder = "Night Shift Recordings"
spdx = "LicenseRef-NightShift-AI-5"
uses = []
"""
HEADER = "path,license,artist,title,bpm,key,tags,isrc,downbeat_s"
RATE = 8_000


def write_tables(root: Path, rows: str, licenses: str | None = None) -> None:
    """``library.toml`` and ``stems.csv``; ``rows`` without the header unless they begin so."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "library.toml").write_text(LICENSES if licenses is None else licenses, "utf-8")
    text = "\n".join(line.strip() for line in rows.strip().splitlines())
    header = "" if text.startswith("path") else HEADER + "\n"
    (root / "stems.csv").write_text(header + text + "\n", "utf-8")


def tone(path: Path, hz: float = 220.0, seconds: float = 1.0, channels: int = 1) -> Path:
    """A sound file with a tone that is louder at its start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * RATE)) / RATE
    sound = 0.5 * np.sin(2 * np.pi * hz * t) * np.exp(-t / 3)
    soundfile.write(path, np.tile(sound[:, None], channels), RATE)
    return path


def quick_analysis(audio: Audio, layout: object = None, **_: bool) -> SimpleNamespace:
    """As ``rag_audio.audio.analysis.analyse``, knowing nothing but the level."""
    peak = float(np.abs(audio.samples).max(initial=0.0))
    return SimpleNamespace(
        bpm=None,
        bpm_confidence=0.0,
        key=None,
        key_confidence=0.0,
        loudness_lufs=20 * np.log10(peak) if peak else float("-inf"),
        silent=peak == 0.0,
    )


def later_analysis(audio: Audio, layout: object = None, **_: bool) -> SimpleNamespace:
    """:func:`quick_analysis` of a later release: it hears a tempo in everything."""
    return SimpleNamespace(**{**vars(quick_analysis(audio)), "bpm": 123.0, "bpm_confidence": 0.9})


def use_quick_analysis(set_attribute: Callable[..., Any] = setattr) -> None:
    """Puts :func:`quick_analysis` in the place of the real one."""
    set_attribute(analysis, "analyse", quick_analysis)

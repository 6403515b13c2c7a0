"""A label's own stems as training clips: only those whose license grants ``train``, today, here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from indexer.licenses import LibrarySpec, NotLicensed, match, read_library
from indexer.scan import scan
from rag_audio.audio import midi
from rag_audio.audio.dsp import resample, to_channels
from rag_audio.audio.reading import load
from rag_audio.domain import Use
from rag_audio.errors import LibraryError
from training.presets import Preset

log = structlog.get_logger(__name__)

SHORTEST_S = 2.0  # what is shorter is not a clip


def render_library(preset: Preset, root: Path, territory: str | None, out: Path) -> None:
    """Cut the granted stems into windows; writes the split ``train`` and ``library.txt``.

    Raises:
        LibraryError: the library cannot be read, or grants training for nothing.
    """
    spec = read_library(root)
    folder = out / "train"
    folder.mkdir(parents=True, exist_ok=True)
    windows: list[NDArray[np.int16]] = []
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    for candidate in scan(spec.files).files:
        path = candidate.path
        declared = _granted(spec, path, territory)
        if declared is None:
            continue
        with spec.files.local(path) as file:
            cut = _windows(preset, file)
        windows += cut
        rows += [_row(declared, path)] * len(cut)
        who = declared.artist or "unnamed"
        lines.append(f"{path} ({who}; license {declared.license.key}, {declared.license.holder})")
    if not windows:
        raise LibraryError(
            f"no stem of the library {spec.name!r} may be trained on",
            hint='a license must list "train" in its uses, and be valid today and here',
        )
    np.save(folder / "audio.npy", np.stack(windows))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    (folder / "library.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    log.info("library cut", stems=len(lines), clips=len(windows))


def _granted(spec: LibrarySpec, path: str, territory: str | None) -> Any:
    today = datetime.now(UTC).date()
    declared = match(spec, path, today)
    if isinstance(declared, NotLicensed):
        log.warning("left out", path=path, reason=declared.reason)
        return None
    refusal = declared.license.refusal(Use.TRAIN, territory, today)
    if refusal is not None:
        log.warning("left out", path=path, reason=refusal)
        return None
    return declared


def _windows(preset: Preset, path: Path) -> list[NDArray[np.int16]]:
    """int16 ``[C, T]`` each; a stem that is shorter than a window is looped."""
    if path.suffix.lower() in {".mid", ".midi"}:
        sound = resample(midi.render(path), preset.sample_rate)
        sound = to_channels(sound, preset.channels)
    else:
        sound = load(path, sample_rate=preset.sample_rate, channels=preset.channels)
    size = round(preset.corpus.seconds * preset.sample_rate)
    samples = np.clip(sound.samples, -1.0, 1.0)
    if samples.shape[1] < SHORTEST_S * preset.sample_rate:
        return []
    if samples.shape[1] < size:
        samples = np.tile(samples, -(-size // samples.shape[1]))[:, :size]
    count = samples.shape[1] // size
    return [
        np.round(samples[:, n * size : (n + 1) * size] * 32767.0).astype(np.int16)
        for n in range(count)
    ]


def _row(declared: Any, path: str) -> dict[str, Any]:
    """Captions from what is declared; families, genres and instruments are unknown."""
    parts = [declared.title or Path(path).stem.replace("_", " "), *declared.tags]
    tempo = [f"{declared.bpm:.0f} bpm"] if declared.bpm else []
    key = [str(declared.key)] if declared.key else []
    full = ", ".join([*parts, *key, *tempo])
    return {
        "captions": list(
            dict.fromkeys([full, ", ".join(parts), ", ".join([*tempo, *key, *parts])])
        ),
        "negatives": [],
        "bpm": declared.bpm,
        "key": [declared.key.tonic, declared.key.minor] if declared.key else None,
        "family": "",
        "genre": "",
        "instruments": [],
        "path": path,
    }

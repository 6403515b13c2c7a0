"""``python -m training STAGE``: the recipe that makes ``data/models``.

Stages: ``corpus`` composes and renders, ``autoencoder``, ``clap`` and ``dit`` train, ``export``
writes the checkpoints, ``evaluate`` measures them; ``all`` runs them in order, the transformer
beside the other two. ``soundfont`` and ``demo`` make the sounds and the demo library.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from training.presets import PRESETS, Preset, Stage

STAGES = ("corpus", "autoencoder", "clap", "dit", "export", "evaluate", "all")
SCRIPTS = ("soundfont", "demo")
LANES = ((("corpus",),), (("dit",), ("clap", "autoencoder")), (("export", "evaluate"),))
"""Lanes run side by side: the transformer needs the latents' map, not the codec's decoder."""


def parse() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("stage", choices=(*STAGES, *SCRIPTS))
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="working files, logs")
    parser.add_argument("--models", type=Path, help="where export writes; default: OUT/models")
    parser.add_argument("--minutes", type=float, help="budget of the stage instead of the preset's")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--library", type=Path, help="train on stems whose license grants it")
    parser.add_argument("--territory", help="where the training takes place; default: WORLD only")
    return parser


def with_minutes(preset: Preset, minutes: float | None) -> Preset:
    """The preset with another budget for its training stages."""
    if minutes is None:
        return preset

    def timed(stage: Stage) -> Stage:
        return replace(stage, minutes=minutes)

    return replace(
        preset,
        codec_stage=timed(preset.codec_stage),
        clap_stage=timed(preset.clap_stage),
        dit_stage=timed(preset.dit_stage),
    )


def main(arguments: list[str] | None = None) -> None:
    """Run one stage."""
    given = parse().parse_args(arguments)
    if given.stage in SCRIPTS:
        _script(given.stage)
        return
    from training.recipe import Recipe

    if given.stage == "all":
        _all(list(arguments) if arguments is not None else sys.argv[1:])
        return
    preset = with_minutes(PRESETS[given.preset], given.minutes)
    recipe = Recipe(
        preset,
        given.out / preset.name,
        models=given.models,
        resume=given.resume,
        library=given.library,
        territory=given.territory,
    )
    getattr(recipe, given.stage)()


def _all(arguments: list[str]) -> None:
    """Every stage in a process of its own, those of one lane in order, lanes at once."""

    def stage(name: str) -> None:
        rest = [name if argument == "all" else argument for argument in arguments]
        subprocess.run([sys.executable, "-m", "training", *rest], check=True)  # noqa: S603

    def lane(names: tuple[str, ...]) -> None:
        for name in names:
            stage(name)

    for lanes in LANES:
        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(lane, lanes))


def _script(name: str) -> None:
    """The sounds and the demo library, into their places in the checkout."""
    data = Path(__file__).resolve().parents[1] / "data"
    if name == "soundfont":
        from training import soundfont

        soundfont.build(data / "soundfont")
        return
    from training import demo_library

    demo_library.build(data / "demo")


if __name__ == "__main__":
    main()

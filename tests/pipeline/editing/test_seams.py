"""Seams on sustained sound, where anything sudden would be heard."""

from __future__ import annotations

import numpy as np
import pytest

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Generator
from rag_audio.generation.inpainting import Grid, paint
from rag_audio.models.stable_audio import load_generator
from rag_audio.pipeline.edit_orders import EXTEND, INPAINT, Order, canvas_of
from tests.pipeline.editing.seams import measure_seams
from tests.pipeline.editing.sounds import pad_sound

RATE = 24_000


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load_generator("stable-audio-mini")


@pytest.mark.parametrize("seed", [0, 1])
def test_no_seam_stands_out_of_a_sustained_sound(generator: Generator, seed: int) -> None:
    sound = pad_sound(9.0, RATE, 1 + seed, seed=seed)
    batch = DiffusionInput("warm pad", "", 9.0, 4, 2.0, (seed,), strength=0.65)
    for order in (Order(INPAINT, ((2.5, 4.5),)), Order(EXTEND, left_s=2.0, right_s=6.0)):
        painted = paint(canvas_of(order, sound, Grid(), None), batch, generator)
        found = measure_seams(painted.audio, painted.seams_s)
        assert found.step <= 1
        assert found.flux <= 1
        if order.kind == "extend":
            assert found.level_db < 3


def test_the_measure_hears_a_click_a_burst_and_a_step_of_level() -> None:
    sound = pad_sound(6.0, RATE)
    at = 3 * RATE
    clean = measure_seams(sound, (3.0,))
    assert max(clean.step, clean.flux) <= 1.1 and clean.level_db < 2
    for change in ("click", "burst", "level"):
        samples = sound.samples.copy()
        if change == "click":
            samples[:, at:] *= -1
        elif change == "burst":
            noise = np.random.default_rng(0).standard_normal(600)
            samples[:, at : at + 600] += (0.1 * noise).astype(np.float32)
        else:
            samples[:, at:] *= 0.3
        found = measure_seams(Audio(samples, RATE), (3.0,))
        assert max(found.step / 1.5, found.flux / 1.5, found.level_db / 8) > 1


@pytest.mark.parametrize(("duration_s", "bar_s"), [(10.0, 2.0), (2.0, 2.0), (3.3, 0.0), (0.3, 2.0)])
def test_a_sound_is_played_on_without_a_click_and_on_its_bars(
    duration_s: float, bar_s: float
) -> None:
    sound = pad_sound(duration_s, RATE, seed=3)
    canvas = canvas_of(Order(EXTEND, left_s=5.0, right_s=9.0), sound, Grid(bar_s), None)
    seed = canvas.seed
    assert seed is not None and seed.frames == canvas.audio.frames
    steps = np.abs(np.diff(seed.samples))
    assert steps.max() <= 1.2 * np.abs(np.diff(sound.samples)).max()
    left, end = 5 * RATE, 5 * RATE + sound.frames
    if bar_s and duration_s > 3 * bar_s:
        # Six seconds in: whole bars of the end, again; and of the beginning before it.
        period = 3 * round(bar_s * RATE)
        np.testing.assert_array_equal(
            seed.samples[:, end + period : end + period + RATE], seed.samples[:, end : end + RATE]
        )
        middle = slice(left + round(2.5 * RATE), end - round(2.5 * RATE))
        np.testing.assert_array_equal(seed.samples[:, middle], canvas.audio.samples[:, middle])


def test_joins_of_what_is_played_on_lie_where_it_is_quiet() -> None:
    t = np.arange(8 * RATE) / RATE
    beats = np.exp(-8 * (t % 0.5)) * np.sin(2 * np.pi * 220 * t)
    sound = Audio(beats[None].astype(np.float32), RATE)
    seed = canvas_of(Order(EXTEND, right_s=8.0), sound, Grid(2.0), None).seed
    assert seed is not None
    wanted = np.concatenate([beats, beats])
    # The attacks stay where they are, to the sample.
    for beat in range(17, 31):
        attack = slice(round(beat * 0.5 * RATE), round((beat * 0.5 + 0.1) * RATE))
        np.testing.assert_allclose(seed.samples[0, attack], wanted[attack], atol=1e-3)

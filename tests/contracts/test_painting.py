"""What edits need of every family: what is kept stays, any length, any rate, stops, repeats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput
from rag_audio.errors import Cancelled
from rag_audio.generation.inpainting import Grid, Painted, paint
from rag_audio.generation.splicing import CROSSFADE_S
from rag_audio.models.stable_audio import load_generator
from rag_audio.pipeline.edit_orders import EXTEND, INPAINT, VARY, Order, canvas_of
from rag_audio.testing.sounds import tune
from tests.support.checkpoints import FAMILIES, build

BATCH = DiffusionInput("warm piano", "", 1.0, 2, 1.0, (11,), strength=0.6)


@pytest.fixture(scope="module", params=FAMILIES)
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_generator(build(request.param, tmp_path_factory.mktemp("model") / request.param))


def painted(generator: Any, order: Order, sound: Audio, **told: Any) -> Painted:
    batch = replace(BATCH, steps=told.pop("steps", BATCH.steps))
    return paint(canvas_of(order, sound, Grid(), None), batch, generator, **told)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 2), (44_100, 1), (22_050, 8)])
def test_several_regions_are_made_and_the_rest_stays_bit_by_bit(
    generator: Any, rate: int, channels: int
) -> None:
    sound = tune(2.0, rate, channels)
    regions = ((0.2, 0.4), (0.9, 1.05), (1.6, 2.0))
    made = painted(generator, Order(INPAINT, regions), sound).audio
    assert (made.sample_rate, made.samples.shape) == (rate, sound.samples.shape)
    assert np.isfinite(made.samples).all()
    keep = np.ones(sound.frames, dtype=bool)
    for start, end in regions:
        inside = slice(round(start * rate), round(end * rate))
        assert np.abs(made.samples[:, inside] - sound.samples[:, inside]).max() > 1e-4
        first = int((start - CROSSFADE_S) * rate)
        keep[first : int((end + CROSSFADE_S) * rate) + 1] = False
    np.testing.assert_array_equal(made.samples[:, keep], sound.samples[:, keep])


@pytest.mark.parametrize(("left_s", "right_s"), [(0.0, 3.0), (2.0, 0.0), (0.7, 4.1)])
def test_a_sound_goes_on_to_either_side_for_several_windows(
    generator: Any, left_s: float, right_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest: list[float] = []
    real = generator.generate

    def watched(batch: DiffusionInput, *told: Any) -> Any:
        longest.append(batch.duration_s)
        return real(batch, *told)

    monkeypatch.setattr(generator, "generate", watched)
    sound = tune(1.0, channels=2)
    made = painted(generator, Order(EXTEND, left_s=left_s, right_s=right_s), sound).audio
    rate = sound.sample_rate
    assert made.frames == round(left_s * rate) + sound.frames + round(right_s * rate)
    # One window at a time, however long the piece: memory does not grow with it.
    assert max(longest) <= generator.info.max_duration_s + 1e-6
    edge, start = round(CROSSFADE_S * rate), round(left_s * rate)
    kept = made.samples[:, start + edge : start + sound.frames - edge]
    np.testing.assert_array_equal(kept, sound.samples[:, edge:-edge])
    for side in (made.samples[:, : max(1, start)], made.samples[:, start + sound.frames :]):
        assert side.shape[1] <= 1 or np.abs(side).max() > 1e-4


def test_a_variation_has_the_shape_of_the_sound_and_another_sound(generator: Any) -> None:
    sound = tune(2.5, 22_050, 2)
    made = painted(generator, Order(VARY), sound).audio
    assert made.samples.shape == sound.samples.shape
    assert np.abs(made.samples - sound.samples).max() > 1e-3


def test_an_edit_is_the_same_again_and_after_everything_was_forgotten(generator: Any) -> None:
    order, sound = Order(INPAINT, ((0.3, 0.6),)), tune(1.0)
    warm = [painted(generator, order, sound).audio.samples.tobytes() for _ in range(2)]
    generator.forget()
    generator._encoded.cache_clear()
    cold = painted(generator, order, sound).audio.samples.tobytes()
    assert warm == [cold, cold]


def test_a_sound_and_a_silence_and_a_whole_region_are_edited(generator: Any) -> None:
    silence = Audio(np.zeros((1, 16_000), np.float32), 16_000)
    made = painted(generator, Order(INPAINT, ((0.2, 0.5),)), silence).audio
    assert np.isfinite(made.samples).all()
    everything = painted(generator, Order(INPAINT, ((0.0, 1.0),)), tune(1.0)).audio
    assert np.abs(everything.samples).max() > 1e-4


@pytest.mark.parametrize("after", [0, 1, 3])
def test_progress_counts_all_windows_and_a_stop_is_obeyed_within_a_step(
    generator: Any, after: int
) -> None:
    told: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        painted(
            generator,
            Order(EXTEND, right_s=3.0),
            tune(1.0),
            steps=5,
            progress=lambda done, total: told.append((done, total)),
            stop_asked=lambda: len(told) >= after,
        )
    assert len(told) == after
    assert [done for done, _ in told] == list(range(1, after + 1))
    assert len({total for _, total in told}) <= 1

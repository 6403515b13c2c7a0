"""What :meth:`rag_audio.ports.Generator.generate_together` must do, on every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rag_audio.backends.generators import load_generator
from rag_audio.domain import Audio
from rag_audio.errors import BackendError, Cancelled, InvalidInput
from rag_audio.ports import DiffusionInput, Member, Painting
from tests.checkpoints import FAMILIES, build, tune

ASKED = DiffusionInput("warm piano with soft drums", "", 0.9, 4, 2.0, (11,))
SEEDED = replace(ASKED, init_audio=tune(1.5), strength=0.4, seeds=(3,))
TOLERANCE = 1e-3
"""Of full scale, as the port states."""


@pytest.fixture(scope="module", params=FAMILIES)
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_generator(build(request.param, tmp_path_factory.mktemp("model") / request.param))


@contextmanager
def passes(generator: Any) -> Iterator[list[int]]:
    """The rows of each call of the transformer."""
    rows: list[int] = []
    hook = generator._pipe.transformer.register_forward_pre_hook(
        lambda model, given: rows.append(given[0].shape[0])
    )
    yield rows
    hook.remove()


def sounds(outcome: Any) -> tuple[Audio, ...]:
    assert isinstance(outcome, tuple), outcome
    return outcome


def assert_as_alone(generator: Any, batches: list[DiffusionInput]) -> None:
    together = generator.generate_together([Member(batch) for batch in batches])
    for batch, outcome in zip(batches, together, strict=True):
        alone = generator.generate(batch)
        for one, other in zip(alone, sounds(outcome), strict=True):
            assert one.samples.shape == other.samples.shape
            np.testing.assert_allclose(other.samples, one.samples, atol=TOLERANCE)


def test_members_of_one_shape_share_every_pass_and_are_as_made_alone(generator: Any) -> None:
    batches = [
        ASKED,
        SEEDED,
        replace(SEEDED, strength=0.9, seeds=(4, 5), init_audio=tune(1.5, seed=7)),
        replace(ASKED, prompt="fast techno", seeds=(12,), guidance=5.0),
        replace(ASKED, seeds=(13,), guidance=1.0),
    ]
    with passes(generator) as rows:
        generator.generate_together([Member(batch) for batch in batches])
    assert rows == [2 + 2 + 4 + 2 + 1] * ASKED.steps
    assert_as_alone(generator, batches)


def test_members_may_differ_in_steps_length_and_what_they_keep(generator: Any) -> None:
    painted = replace(ASKED, painting=Painting(tune(0.9), ((0.3, 0.6),)), seeds=(6,))
    worded = replace(ASKED, negative_prompt="drums", seeds=(8,))
    assert_as_alone(
        generator,
        [ASKED, replace(SEEDED, steps=2), replace(ASKED, duration_s=0.5), painted, worded],
    )


def test_a_member_that_cannot_be_made_or_is_stopped_leaves_the_others_alone(
    generator: Any,
) -> None:
    seen: list[tuple[int, int]] = []

    def noted(done: int, total: int) -> None:
        seen.append((done, total))

    stop: Callable[[], bool] = lambda: len(seen) >= 2  # noqa: E731
    bad, stopped, good = generator.generate_together(
        [
            Member(replace(ASKED, strength=0.0)),
            Member(SEEDED, stop_asked=stop),
            Member(ASKED, noted),
        ]
    )
    assert isinstance(bad, InvalidInput)
    assert isinstance(stopped, Cancelled)
    assert seen == [(i, ASKED.steps) for i in range(1, ASKED.steps + 1)]
    np.testing.assert_allclose(
        sounds(good)[0].samples, generator.generate(ASKED)[0].samples, atol=TOLERANCE
    )


def test_a_member_whose_sound_is_not_finite_fails_alone(
    generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = generator._codec.decode
    calls: list[int] = []

    def broken(latents: Any, samples: int) -> Any:
        calls.append(samples)
        wave = decode(latents, samples)
        return wave * float("nan") if len(calls) == 1 else wave

    monkeypatch.setattr(generator._codec, "decode", broken)
    first, second = generator.generate_together([Member(ASKED), Member(SEEDED)])
    assert isinstance(first, BackendError)
    assert np.isfinite(sounds(second)[0].samples).all()


def test_low_memory_takes_one_after_the_other(tmp_path_factory: pytest.TempPathFactory) -> None:
    source = build(FAMILIES[0], tmp_path_factory.mktemp("model") / "low")
    generator: Any = load_generator(source, low_memory=True)
    with passes(generator) as rows:
        generator.generate_together([Member(ASKED), Member(SEEDED)])
    assert rows == [2] * (2 * ASKED.steps)

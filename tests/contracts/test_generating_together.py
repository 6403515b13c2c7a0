"""What :meth:`.generate_together` must do, on every family."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Member
from rag_audio.errors import BackendError
from rag_audio.models.stable_audio import load_generator
from rag_audio.testing.sounds import tune
from tests.support.checkpoints import FAMILIES, build, loaded

ASKED = DiffusionInput("warm piano with soft drums", "", 0.9, 4, 2.0, (11,))
SEEDED = replace(ASKED, init_audio=tune(1.5), strength=0.4, seeds=(3,))
TOLERANCE = 1e-3
"""Of full scale, as the port states."""


@pytest.fixture(scope="module", params=FAMILIES)
def generator(request: pytest.FixtureRequest) -> Any:
    return loaded(request.param)


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

"""The contract of generators, run by every family, and what the families have in common on top."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Generator, Painting, SeedMix
from rag_audio.errors import InvalidInput
from rag_audio.models.latents import mix_latents
from rag_audio.testing import GeneratorContract
from rag_audio.testing.generator import ASKED, HOLE, with_hole, with_reference
from rag_audio.testing.sounds import difference, tune
from tests.support.checkpoints import FAMILIES, loaded


class TestStableAudio(GeneratorContract):
    family = "stable-audio"

    def make(self) -> Generator:
        return loaded(self.family)


class TestStableAudio3(TestStableAudio):
    family = "stable-audio-3"


class TestStableAudio3Base(TestStableAudio):
    family = "stable-audio-3-base"


class TestStableAudio3Mel(TestStableAudio):
    family = "stable-audio-3-mel"


@pytest.fixture(scope="module", params=FAMILIES)
def generator(request: pytest.FixtureRequest) -> Any:
    return loaded(request.param)


@pytest.mark.parametrize("strength", [0.02, 0.1, 0.5, 0.6, 0.9, 0.99])
def test_starting_latents_have_the_snr_that_strength_states(
    generator: Any, strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = with_reference(strength, seeds=(1, 2, 3, 4))
    reference = generator.reference_latents(request.init_audio, request.duration_s)
    start = first_model_input(generator, request)
    monkeypatch.setattr(generator, "reference_latents", lambda *_: torch.zeros_like(reference))
    noise = first_model_input(generator, request)
    # 20·log₁₀(RMS(start − noise) / RMS(reference) / RMS(noise)), of which the first ratio is 1 − s.
    measured = 20 * np.log10(rms(start - noise) / rms(reference.expand_as(start)) / rms(noise))
    assert measured == pytest.approx(20 * np.log10((1 - strength) / strength), abs=0.3)


def rms(latents: torch.Tensor) -> float:
    return float(latents.double().square().mean().sqrt())


def first_model_input(generator: Any, request: DiffusionInput) -> torch.Tensor:
    """The latents that the transformer gets at the first step."""
    seen: list[torch.Tensor] = []
    hook = generator._pipe.transformer.register_forward_pre_hook(
        lambda model, args: seen.append(args[0])
    )
    generator.generate(replace(request, steps=1))
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("change", ["zeroed", "shuffled", "swapped"])
def test_other_reference_latents_give_another_output(
    generator: Any, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = with_reference(0.5)
    (usual,) = generator.generate(request)
    encode: Callable[..., torch.Tensor] = generator.reference_latents

    def changed(audio: Audio, duration_s: float) -> torch.Tensor:
        latents = encode(audio, duration_s)
        if change == "zeroed":
            return torch.zeros_like(latents)
        if change == "shuffled":
            order = torch.randperm(latents.shape[-1], generator=torch.Generator().manual_seed(0))
            return latents[..., order]
        return encode(tune(1.5, seed=7), duration_s)

    monkeypatch.setattr(generator, "reference_latents", changed)
    (other,) = generator.generate(request)
    assert difference(usual, other) > 0.02


def latents_of(generator: Any, request: DiffusionInput) -> tuple[torch.Tensor, torch.Tensor]:
    """(final latents, mask of frames that are kept) of a painting."""
    kept = generator._kept(request)
    with torch.no_grad():
        lane = generator._lane(request, request.seeds, None, lambda: False)
        generator._run([lane])
    made = lane.kept.put(lane.kept.latents, lane.latents)
    return made - kept.latents, kept.mask.expand_as(made) > 0


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_painting_keeps_the_latents_outside_its_regions_and_makes_new_ones_inside(
    generator: Any, guidance: float
) -> None:
    for request in (
        with_hole(guidance=guidance),
        with_hole((0.0, 0.2), (0.7, 0.9), guidance=guidance, seeds=(1, 2)),
    ):
        change, kept = latents_of(generator, request)
        assert torch.equal(change[kept], torch.zeros_like(change[kept]))
        assert change[~kept].abs().mean() > 1e-3
        assert 0.1 < kept[0, 0].float().mean() < 0.98


def test_what_is_kept_is_heard_by_what_is_made(generator: Any) -> None:
    """Other surroundings, the same noise: other sound in the hole."""
    other = replace(ASKED, painting=Painting(tune(0.9, seed=5), (HOLE,)))
    (made, _), (changed, _) = (latents_of(generator, r) for r in (with_hole(), other))
    mask = generator._kept(other).mask.expand_as(made) > 0
    made_latents = made + generator._kept(with_hole()).latents
    changed_latents = changed + generator._kept(other).latents
    assert (made_latents - changed_latents)[~mask].abs().max() > 1e-4


def test_guidance_negative_prompt_and_seed_audio_work_in_a_painting(generator: Any) -> None:
    outputs = [
        generator.generate(with_hole(**change))[0]
        for change in (
            {},
            {"guidance": 6.0},
            {"guidance": 6.0, "negative_prompt": "flute and organ"},
            {"strength": 0.3, "init_audio": tune(1.5, seed=9)},
        )
    ]
    for i, first in enumerate(outputs):
        for second in outputs[:i]:
            assert difference(first, second) > 1e-6


def test_the_denoised_estimate_of_a_kept_frame_is_what_is_kept(generator: Any) -> None:
    """``_output_for`` undoes the scheduler's own formula, at every noise level."""
    scheduler = generator._schedule(6, 1.0)
    noise = torch.randn(1, generator._latent_dim, 8)
    z = torch.randn(1, generator._latent_dim, 8)
    for sigma in scheduler.sigmas[:-1]:
        x = generator._noised(z, noise, float(sigma))
        output = generator._output_for(z, x, float(sigma))
        if hasattr(scheduler, "precondition_outputs"):
            denoised = scheduler.precondition_outputs(x, output, sigma)
        else:
            denoised = x - sigma * output
        torch.testing.assert_close(denoised, z, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ((), "at least one region"),
        (((0.5, 0.3),), "regions must rise"),
        (((0.5, 1.3),), "regions must rise"),
        (((0.1, 0.4), (0.3, 0.5)), "regions must rise"),
    ],
)
def test_regions_that_are_none_are_refused(generator: Any, regions: Any, words: str) -> None:
    request = replace(ASKED, painting=Painting(tune(0.9), regions))
    with pytest.raises(InvalidInput, match=words):
        generator.generate(request)


def test_a_trained_mask_is_told_to_the_model_on_both_halves(generator: Any) -> None:
    seen: list[dict[str, Any]] = []
    hook = generator._pipe.transformer.register_forward_pre_hook(
        lambda model, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    generator.generate(with_hole(guidance=4.0, steps=1))
    generator.generate(replace(ASKED, steps=1))
    hook.remove()
    painted, plain = seen
    assert ("local_add_cond" in painted) == generator.info.trained_mask
    assert plain.get("local_add_cond") is None
    if generator.info.trained_mask:
        told = painted["local_add_cond"]
        assert torch.equal(told[0], told[1])
        mask, latents = told[:, :1], told[:, 1:]
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert float((latents * (1 - mask)).abs().max()) == 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strength": 0.0}, "strength must be"),
        ({"strength": 1.2}, "strength must be"),
        ({"strength": float("nan")}, "strength must be"),
        ({"steps": 0}, "steps must be"),
        ({"seeds": ()}, "seeds must"),
        ({"seeds": (-1,)}, "seeds must"),
        ({"duration_s": 0.0}, "duration must be"),
        ({"duration_s": 400.0}, "duration must be"),
        ({"guidance": float("nan")}, "guidance must be"),
        ({"prompt": "piano drums bass " * 60}, "the prompt has"),
        ({"negative_prompt": "piano drums " * 60, "guidance": 3.0}, "the negative prompt has"),
        ({"negative_prompt": "drums", "guidance": 1.0}, "negative prompt has no effect"),
        ({"strength": 0.5, "init_audio": tune(0.5)}, "seed audio lasts 0.50 s"),
        (
            {"strength": 0.5, "init_audio": Audio(np.full((1, 32_000), np.nan, "f4"), 16_000)},
            "not finite",
        ),
        ({"strength": 0.5, "init_audio": Audio(np.zeros((2, 0), "f4"), 16_000)}, "lasts 0.00 s"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_value(
    generator: Any, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        generator.generate(replace(ASKED, **change))


def test_parts_that_are_mixed_as_latents_start_as_loud_as_a_mix_of_sound(generator: Any) -> None:
    parts = (tune(1.5), tune(1.5, seed=7))
    mixed = Audio(np.float32(0.5) * (parts[0].samples + parts[1].samples), parts[0].sample_rate)
    seed = SeedMix(mixed.samples, mixed.sample_rate, parts, (0.7, 0.3))
    latents = generator.reference_latents(seed, ASKED.duration_s)
    own = [generator.reference_latents(part, ASKED.duration_s) for part in parts]
    assert latents.shape == own[0].shape
    torch.testing.assert_close(latents, mix_latents(own, (0.7, 0.3)))
    mean = torch.cat(own).mean(dim=(0, 2), keepdim=True)
    wanted = sum(w * (z - mean).square().mean() for w, z in zip((0.7, 0.3), own, strict=True))
    assert float((latents - mean).square().mean()) == pytest.approx(float(wanted), rel=1e-3)
    request = with_reference(0.4, init_audio=seed)
    (audio,) = generator.generate(request)
    (plain,) = generator.generate(replace(request, init_audio=mixed))
    assert difference(audio, plain) > 1e-4

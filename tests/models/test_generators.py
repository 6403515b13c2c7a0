"""The Stable Audio families against the stock pipelines, their schedules, and bad checkpoints."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput
from rag_audio.errors import BackendError, BackendUnavailable, InvalidInput
from rag_audio.models.checkpoints import find_checkpoint, fingerprint
from rag_audio.models.latents import Codec, draw_noise, make_generators, seed_wave
from rag_audio.models.stable_audio import flow_sigmas, load_generator, start_sigma
from rag_audio.testing.sounds import tune
from tests.support.checkpoints import FAMILIES, build

PROMPT = "warm piano"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: build(kind, root / kind) for kind in FAMILIES}


def batch(**changes: Any) -> DiffusionInput:
    values: dict[str, Any] = {
        "prompt": PROMPT,
        "negative_prompt": "",
        "duration_s": 1.0,
        "steps": 4,
        "guidance": 1.0,
        "seeds": (5, 6),
    }
    return DiffusionInput(**{**values, **changes})


# Schedules


@pytest.mark.parametrize("strength", [0.02, 0.1, 0.6, 0.99, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 8, 100])
def test_flow_schedule_starts_at_the_strength_and_falls(strength: float, steps: int) -> None:
    sigmas = flow_sigmas(steps, strength)
    assert len(sigmas) == steps
    assert sigmas[0] == pytest.approx(strength, abs=1e-7)
    assert all(a > b > 0 for a, b in itertools.pairwise(sigmas))


@given(strength=st.floats(1e-4, 1.0), steps=st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_flow_schedule_always_falls(strength: float, steps: int) -> None:
    sigmas = [*flow_sigmas(steps, strength), 0.0]
    assert all(a > b for a, b in itertools.pairwise(sigmas))


@pytest.mark.parametrize("steps", [1, 8, 100])
def test_flow_schedule_at_strength_1_is_the_stock_one(steps: int) -> None:
    from diffusers.pipelines.stable_audio_3.pipeline_stable_audio_3 import logsnr_sigma_schedule

    assert flow_sigmas(steps, 1.0) == logsnr_sigma_schedule(steps, -6.2, 2.0)


@pytest.mark.parametrize("strength", [0.02, 0.1, 0.6, 0.99])
def test_scheduler_levels_fall_from_the_strength_on_both_families(
    checkpoints: dict[str, Path], strength: float
) -> None:
    open_model: Any = load_generator(checkpoints["stable-audio"])
    sigmas = open_model._schedule(12, strength).sigmas
    assert float(sigmas[0]) == pytest.approx(strength / (1 - strength), rel=1e-5)
    assert bool((sigmas.diff() < 0).all())
    flow_model: Any = load_generator(checkpoints["stable-audio-3"])
    sigmas = flow_model._schedule(12, strength).sigmas
    assert float(sigmas[0]) == pytest.approx(strength, rel=1e-6)
    assert bool((sigmas.diff() < 0).all())


def test_a_scheduler_shift_does_not_move_the_start(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(checkpoints["stable-audio-3"], tmp_path / "shifted")
    edit_json(root / "scheduler" / "scheduler_config.json", shift=3.0)
    model: Any = load_generator(root)
    assert float(model._schedule(8, 0.6).sigmas[0]) == pytest.approx(0.6, rel=1e-6)


def test_strength_near_one_never_leaves_the_range_of_the_model() -> None:
    assert start_sigma(0.5, 500.0) == 1.0
    assert start_sigma(0.9999, 500.0) == 500.0
    assert start_sigma(1.0, 500.0) == 500.0


# Against the stock pipelines


@pytest.mark.parametrize(("guidance", "negative"), [(1.0, ""), (4.0, ""), (4.0, "drums")])
def test_open_text_to_audio_equals_the_stock_pipeline(
    checkpoints: dict[str, Path], guidance: float, negative: str
) -> None:
    from diffusers import StableAudioPipeline

    stock = StableAudioPipeline.from_pretrained(checkpoints["stable-audio"])
    stock.set_progress_bar_config(disable=True)
    seeds = (5, 6)
    expected = stock(
        [PROMPT] * 2,
        negative_prompt=[negative] * 2 if negative else None,
        audio_end_in_s=1.0,
        num_inference_steps=4,
        guidance_scale=guidance,
        latents=draw_noise(make_generators(seeds), 8, 64),
        generator=make_generators(seeds),
        output_type="np",
    ).audios
    ours = load_generator(checkpoints["stable-audio"]).generate(
        batch(guidance=guidance, negative_prompt=negative)
    )
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(np.stack([a.samples for a in ours]), expected, atol=2e-5)


@pytest.mark.parametrize("kind", ["stable-audio-3", "stable-audio-3-base", "stable-audio-3-mel"])
@pytest.mark.parametrize(("guidance", "negative"), [(1.0, ""), (4.0, ""), (4.0, "drums")])
def test_flow_text_to_audio_equals_the_stock_pipeline(
    checkpoints: dict[str, Path], kind: str, guidance: float, negative: str
) -> None:
    from diffusers import StableAudio3Pipeline

    ours: Any = load_generator(checkpoints[kind])
    stock = StableAudio3Pipeline(**ours._pipe.components)
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        [PROMPT] * 2,
        negative_prompt=[negative] * 2,
        duration=1.0,
        num_inference_steps=4,
        guidance_scale=guidance,
        generator=make_generators((5, 6)),
        output_type="np",
    ).audios
    made = ours.generate(batch(guidance=guidance, negative_prompt=negative))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(np.stack([a.samples for a in made]), expected, atol=2e-5)


# Precision and memory


@pytest.mark.parametrize("kind", FAMILIES)
def test_low_memory_mode_gives_the_same_sound(checkpoints: dict[str, Path], kind: str) -> None:
    request = batch(strength=0.5, init_audio=tune(1.2), guidance=2.0)
    steps: list[tuple[int, int]] = []
    usual = load_generator(checkpoints[kind]).generate(request)
    frugal = load_generator(checkpoints[kind], low_memory=True).generate(
        request, progress=lambda done, total: steps.append((done, total))
    )
    for a, b in zip(usual, frugal, strict=True):
        np.testing.assert_allclose(a.samples, b.samples, atol=1e-3)
    assert steps == [(n, 8) for n in range(1, 9)]


@pytest.mark.parametrize("kind", ["stable-audio", "stable-audio-3"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_the_transformer_only(
    checkpoints: dict[str, Path], kind: str, dtype: str
) -> None:
    request = batch(steps=6, strength=0.6, init_audio=tune(1.2))
    exact = load_generator(checkpoints[kind]).generate(request)
    model: Any = load_generator(checkpoints[kind], dtype=dtype)
    half = model.generate(request)
    assert model._pipe.transformer.dtype == getattr(torch, dtype)
    assert model._pipe.vae.dtype == torch.float32
    for a, b in zip(exact, half, strict=True):
        assert np.isfinite(b.samples).all()
        assert 0 < np.abs(a.samples - b.samples).max() < 0.2 * np.abs(a.samples).max()


@pytest.mark.parametrize("kind", FAMILIES)
def test_tiles_change_nothing_but_rounding(checkpoints: dict[str, Path], kind: str) -> None:
    model: Any = load_generator(checkpoints[kind])
    autoencoder = model._pipe.vae
    whole, tiled = Codec(autoencoder, 10_000), Codec(autoencoder, 7)
    samples = 90 * whole.hop
    wave = seed_wave(tune(samples / 16_000 + 1, channels=whole.channels), whole, samples)
    with torch.no_grad():
        latents = whole.encode(wave)
        torch.testing.assert_close(tiled.encode(wave), latents, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(
            tiled.decode(latents, samples - 5),
            whole.decode(latents, samples - 5),
            atol=1e-4,
            rtol=0,
        )


@pytest.mark.parametrize("kind", FAMILIES)
def test_decoding_only_what_is_needed_gives_the_same_beginning(
    checkpoints: dict[str, Path], kind: str
) -> None:
    model: Any = load_generator(checkpoints[kind])
    codec: Codec = model._codec
    latents = torch.randn(1, model._latent_dim, 60, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        part, whole = codec.decode(latents, 3333), codec.decode(latents, 60 * codec.hop)
    torch.testing.assert_close(part, whole[..., :3333], atol=1e-4, rtol=0)


def test_a_seed_a_few_samples_short_is_filled_from_its_beginning(
    checkpoints: dict[str, Path],
) -> None:
    model: Any = load_generator(checkpoints["stable-audio-3"])
    seed = Audio(np.ones((2, 15_990), np.float32), 16_000)
    wave = seed_wave(seed, model._codec, 16_000)
    assert wave.shape == (1, 2, model._codec.frames_of(16_000) * model._codec.hop)
    assert bool((wave == 1).all())


def test_unfinite_weights_are_reported_and_never_given_out(checkpoints: dict[str, Path]) -> None:
    model: Any = load_generator(checkpoints["stable-audio-3"])
    with torch.no_grad():
        next(model._pipe.transformer.parameters()).fill_(float("nan"))
    with pytest.raises(BackendError, match="not finite"):
        model.generate(batch())


@pytest.mark.parametrize("device", ["cuda:99", "abacus", "mps:7"])
def test_a_device_that_is_not_there_is_named(checkpoints: dict[str, Path], device: str) -> None:
    with pytest.raises(BackendUnavailable, match=device):
        load_generator(checkpoints["stable-audio-3"], device=device)


def test_an_unknown_precision_is_refused(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InvalidInput, match="int4"):
        load_generator(checkpoints["stable-audio-3"], dtype="int4")


# Checkpoints


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop_a_weight(root: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = root / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights.pop("proj_out.weight")
    save_file(weights, path)


def only_pickles(root: Path) -> None:
    from safetensors.torch import load_file

    path = root / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def truncate(root: Path) -> None:
    path = root / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no index": (lambda root: (root / "model_index.json").unlink(), "model_index.json is missing"),
    "broken index": (lambda root: (root / "model_index.json").write_text("{"), "cannot be read"),
    "unknown pipeline": (
        lambda root: edit_json(root / "model_index.json", _class_name="FluxPipeline"),
        "is a FluxPipeline, which rag-audio does not know",
    ),
    "unknown class": (
        lambda root: edit_json(root / "model_index.json", vae=["evil", "Codec"]),
        "vae is of class evil.Codec, which is not allowed",
    ),
    "part not named": (
        lambda root: edit_json(root / "model_index.json", transformer=None),
        "names no transformer",
    ),
    "folder missing": (lambda root: shutil.rmtree(root / "vae"), "folder 'vae' is missing"),
    "weight missing": (drop_a_weight, "transformer lacks 1 weights, e.g. proj_out.weight"),
    "pickled weights": (only_pickles, "vae"),
    "truncated weights": (truncate, "text_encoder"),
    "tokenizer gone": (
        lambda root: (root / "tokenizer" / "tokenizer.json").write_text("[]"),
        "tokenizer",
    ),
    "bad settings": (
        lambda root: edit_json(root / "rag_audio.json", untrained="perhaps"),
        "untrained = 'perhaps'",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_checkpoint_gets_one_line_and_a_hint(
    checkpoints: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    root = shutil.copytree(checkpoints["stable-audio-3"], tmp_path / "model")
    harm, words = DAMAGE[damage]
    harm(root)
    with pytest.raises(BackendUnavailable, match=words.replace("(", r"\(")) as caught:
        load_generator(root)
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("source", ["./no/such/folder", "no-such-model", "a/b/c", ""])
def test_a_missing_checkpoint_is_named(source: str) -> None:
    with pytest.raises(BackendUnavailable, match="no model at"):
        load_generator(source)


def hub_error(name: str) -> Exception:
    import httpx
    import huggingface_hub.errors

    kind = getattr(huggingface_hub.errors, name)
    if issubclass(kind, huggingface_hub.errors.HfHubHTTPError):
        request = httpx.Request("GET", "https://huggingface.co/some/model")
        return kind("no", response=httpx.Response(403, request=request))  # type: ignore[no-any-return]
    return kind("no")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        ("GatedRepoError", "is gated", "accept its license"),
        ("RepositoryNotFoundError", "no model 'some/model'", "spelling"),
        ("LocalEntryNotFoundError", "cannot be reached", "copy its folder"),
        ("OfflineModeIsEnabled", "cannot be reached", "copy its folder"),
        ("HfHubHTTPError", "cannot be fetched", "later"),
    ],
)
def test_what_the_hub_says_becomes_one_line(
    monkeypatch: pytest.MonkeyPatch, error: str, words: str, hint: str
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> str:
        raise hub_error(error)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(BackendUnavailable, match=words) as caught:
        load_generator("some/model")
    assert hint in caught.value.hint


def test_a_hub_id_is_fetched_without_foreign_files(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(repo: str, allow_patterns: list[str], **_: Any) -> str:
        assert repo == "some/model"
        asked.extend(allow_patterns)
        return str(checkpoints["stable-audio"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    model = load_generator("some/model")
    assert model.info.family == "stable-audio"
    assert "transformer/*.safetensors" in asked
    assert not any(pattern.endswith((".ckpt", ".bin", ".py", "*")) for pattern in asked)


def test_the_id_follows_weights_and_configuration(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(checkpoints["stable-audio-3"], tmp_path / "copy")
    first = fingerprint(find_checkpoint(root))
    assert first == fingerprint(find_checkpoint(checkpoints["stable-audio-3"]))
    (root / "README.md").write_text("other words")
    assert fingerprint(find_checkpoint(root)) == first
    edit_json(root / "scheduler" / "scheduler_config.json", shift=2.0)
    second = fingerprint(find_checkpoint(root))
    weights = root / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert len({first, second, fingerprint(find_checkpoint(root))}) == 3


def test_settings_beside_the_checkpoint_override_the_defaults(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(checkpoints["stable-audio-3"], tmp_path / "copy")
    plain = load_generator(root).info
    assert (plain.default_steps, plain.default_guidance, plain.untrained) == (8, 1.0, True)
    assert plain.max_duration_s == 4.0
    edit_json(
        root / "rag_audio.json",
        name="mine",
        untrained=False,
        default_steps=30,
        default_guidance=3,
        default_strength=0.4,
        max_duration_s=2,
    )
    info = load_generator(root).info
    assert (info.name, info.untrained, info.default_steps) == ("mine", False, 30)
    assert (info.default_guidance, info.default_strength, info.max_duration_s) == (3.0, 0.4, 2.0)
    (root / "rag_audio.json").unlink()
    assert not load_generator(root).info.untrained
    assert load_generator(root).info.name == "copy"


def test_a_model_that_is_not_distilled_gets_a_hundred_guided_steps(
    checkpoints: dict[str, Path],
) -> None:
    info = load_generator(checkpoints["stable-audio-3-base"]).info
    assert (info.default_steps, info.default_guidance) == (100, 7.0)


def test_the_embedded_model_makes_sound_long_enough_for_a_watermark() -> None:
    model = load_generator("stable-audio-mini")
    assert model.info.max_duration_s >= 12
    (audio,) = model.generate(batch(seeds=(1,), guidance=model.info.default_guidance))
    assert audio.frames == model.info.sample_rate
    assert audio.samples.std() > 1e-3

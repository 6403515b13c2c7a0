"""The whole recipe at the smallest size, from composing to the product's own loaders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rag_audio.domain import Audio, Key
from rag_audio.domain.ports import DiffusionInput
from rag_audio.models.clap import ClapEmbedder
from rag_audio.models.mel_codec import MelCodec
from rag_audio.models.stable_audio import load_generator
from training.presets import PRESETS
from training.recipe import Recipe

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recipe")
    recipe = Recipe(TINY, out)
    for stage in ("corpus", "clap", "autoencoder", "dit", "export"):
        getattr(recipe, stage)()
    return out


def test_the_trained_generator_makes_sound_through_the_products_loader(trained: Path) -> None:
    generator = load_generator(trained / "models" / "stable-audio-mini")
    seed = Audio(0.1 * np.random.default_rng(0).standard_normal((1, 48_000), np.float32), 16_000)
    batch = DiffusionInput("piano, 92 bpm, A minor", "", 2.0, 2, 2.0, (1, 2), 0.6, seed)
    first, second = generator.generate(batch)
    assert not generator.info.untrained
    assert first.samples.shape == (1, 32_000)
    assert np.isfinite(first.samples).all()
    assert not np.array_equal(first.samples, second.samples)


def test_the_stock_pipeline_class_samples_from_the_checkpoint(trained: Path) -> None:
    from diffusers import StableAudio3Pipeline

    from rag_audio.models.checkpoints import find_checkpoint, load_part

    checkpoint = find_checkpoint(trained / "models" / "stable-audio-mini")
    pipeline = StableAudio3Pipeline(
        **{part: load_part(checkpoint, part) for part in checkpoint.classes}
    )
    made = pipeline("drum loop, 120 bpm", duration=2.0, num_inference_steps=2, guidance_scale=2.0)
    assert made.audios.shape == (1, 1, 32_000)


def test_the_trained_embedder_loads_and_says_that_it_is_trained(trained: Path) -> None:
    embedder = ClapEmbedder(trained / "models" / "clap-mini")
    vectors = embedder.embed_text(["piano, Am, 92 bpm", "piano, A minor, 92BPM"])
    assert not embedder.untrained
    assert embedder.sample_rate == TINY.sample_rate
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_the_checkpoint_keeps_one_token_for_every_spelling_of_a_key(trained: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "models/stable-audio-mini/tokenizer")
    spellings = ["A minor", "Am", "a min", "A-minor"]
    ids = {tuple(tokenizer(text).input_ids) for text in spellings}
    assert len(ids) == 1
    assert tokenizer.tokenize("92BPM")[0] == "92"


def test_the_cards_name_the_sources_and_the_weights(trained: Path) -> None:
    for name in ("clap-mini", "stable-audio-mini"):
        card = (trained / "models" / name / "README.md").read_text()
        assert "rag-audio.sf2" in card
        assert "sha256" in card
        assert json.loads((trained / "models" / name / "rag_audio.json").read_text())["license"]


def test_a_stage_that_is_resumed_goes_on_where_it_stopped(trained: Path) -> None:
    state = torch.load(trained / "dit" / "state.pt", weights_only=True)
    Recipe(TINY, trained, resume=True).dit()
    again = torch.load(trained / "dit" / "state.pt", weights_only=True)
    assert state["step"] == again["step"] == TINY.dit_stage.steps


def test_silence_survives_the_codec_as_near_silence() -> None:
    codec = MelCodec()
    frames = codec.features(torch.zeros(1, 1, 16_000))
    wave = codec.vocode(frames)
    assert frames.shape[1] % codec.config.frames_per_latent == 0
    assert torch.isfinite(wave).all()
    assert wave.abs().max().item() < 1e-2


def test_the_codecs_inverse_transform_undoes_the_forward_one() -> None:
    codec = MelCodec(n_fft=512, hop_length=128)
    wave = torch.randn(1, 128 * 40)
    padded = torch.nn.functional.pad(wave, (192, 192))
    spectrum = torch.stft(
        padded, 512, 128, window=torch.hann_window(512), center=False, return_complex=True
    )
    undone = codec._inverse(spectrum.transpose(1, 2))
    torch.testing.assert_close(undone[:, 512:-512], wave[:, 512:-512], atol=1e-5, rtol=1e-4)


def test_stereo_comes_back_with_both_channels() -> None:
    codec = MelCodec(audio_channels=2, n_mels=40, latent_dim=32, decoder_dim=16, decoder_depth=1)
    latents = codec.encode(torch.randn(2, 2, 5000)).latents
    assert latents.shape == (2, 32, 5)
    assert codec.decode(latents).sample.shape == (2, 2, 5 * codec.downsampling_ratio)


def test_a_library_lends_only_stems_whose_license_grants_training(tmp_path: Path) -> None:
    import soundfile

    library = tmp_path / "library"
    library.mkdir()
    tone = 0.3 * np.sin(np.arange(5 * 16_000) * 2 * np.pi * 220 / 16_000)
    for name in ("yes.wav", "no.wav"):
        soundfile.write(library / name, tone, 16_000)
    (library / "library.toml").write_text(
        '[library]\nname = "Night Shift"\n'
        '[licenses.open]\nholder = "Night Shift"\nspdx = "CC0-1.0"\nuses = ["prompt", "train"]\n'
        '[licenses.closed]\nholder = "Night Shift"\nspdx = "CC0-1.0"\nuses = ["prompt"]\n'
    )
    (library / "stems.csv").write_text(
        "path,license,artist,title,bpm,key,tags,isrc\n"
        "yes.wav,open,Night Shift House Band,Tone,92,A minor,sine,\n"
        "no.wav,closed,Night Shift House Band,Tone,92,A minor,sine,\n"
    )
    from training.licensed import render_library

    render_library(TINY, library, None, tmp_path / "corpus")
    listed = (tmp_path / "corpus" / "train" / "library.txt").read_text()
    assert "yes.wav" in listed
    assert "no.wav" not in listed
    row = json.loads((tmp_path / "corpus" / "train" / "rows.jsonl").read_text().splitlines()[0])
    assert row["bpm"] == 92
    assert tuple(row["key"]) == (9, True) == (Key.parse("Am").tonic, Key.parse("Am").minor)

"""The CLAP embedder: fixed windows, exact features, stable spaces, clear failures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.channels import heard
from rag_audio.domain import Audio
from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.models.clap import ClapEmbedder
from rag_audio.models.clap_frontend import LogMel, MelSettings, fixed_window
from tests.models.checkpoints import mini_clap

pytestmark = pytest.mark.xdist_group("clap")

RATE = 48_000


@pytest.fixture(scope="module")
def embedder() -> ClapEmbedder:
    return ClapEmbedder(mini_clap())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy to break or change."""
    return Path(shutil.copytree(mini_clap(), tmp_path / "clap"))


def mono(samples: Any, rate: int = RATE) -> Audio:
    return Audio(np.asarray(samples, dtype=np.float32)[None], rate)


def tone(hz: float = 220.0, seconds: float = 10.0, rate: int = RATE) -> Audio:
    return mono(0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate), rate)


def noise(seconds: float = 10.0, seed: int = 0) -> Audio:
    return mono(0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE)))


def decay() -> Audio:
    time_s = np.arange(10 * RATE) / RATE
    return mono(0.9 * np.sin(2 * np.pi * 110 * time_s) * np.exp(-((time_s * 2) % 1) * 9))


CLIPS = {
    "noise": noise(),
    "tone": tone(),
    "decay": decay(),
    "3 s": noise(3.0, seed=1),
    "quiet": mono(1e-4 * noise(10.0, seed=2).samples[0]),
    "loud": mono(8.0 * noise(10.0, seed=3).samples[0]),
}


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
@pytest.mark.parametrize("kind", CLIPS)
def test_features_are_those_of_the_feature_extractor(kind: str, truncation: str) -> None:
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(frequency_min=50, truncation=truncation)
    expected = extractor(CLIPS[kind].samples[0], sampling_rate=RATE, return_tensors="np")
    reference = np.asarray(expected["input_features"])[0, 0]
    mel = MelSettings.of_extractor(extractor)
    ours = LogMel(mel)(fixed_window(CLIPS[kind], mel)[None]).numpy()[0, 0]
    heard = reference > reference.max() - 60.0
    assert ours.shape == reference.shape
    assert np.abs(ours - reference)[heard].max() <= 1e-3


def test_vectors_are_those_of_the_processor_and_model(embedder: ClapEmbedder) -> None:
    from transformers import ClapModel, ClapProcessor

    model = ClapModel.from_pretrained(mini_clap(), dtype=torch.float32).eval()
    processor = ClapProcessor.from_pretrained(mini_clap())
    clips = list(CLIPS.values())
    with torch.inference_mode():
        audio = processor(
            audio=[clip.samples[0] for clip in clips], sampling_rate=RATE, return_tensors="pt"
        )
        heard = model.get_audio_features(**audio).pooler_output.numpy()
        words = processor(
            text=["slow pads", "hard techno drums"], return_tensors="pt", padding=True
        )
        read = model.get_text_features(**words).pooler_output.numpy()
    assert (embedder.embed_audio(clips) * heard).sum(axis=1).min() >= 0.99999
    assert (embedder.embed_text(["slow pads", "hard techno drums"]) * read).sum(
        axis=1
    ).min() > 1 - 1e-5


def test_a_vector_does_not_depend_on_its_batch_mates(embedder: ClapEmbedder) -> None:
    clips = list(CLIPS.values())
    together = embedder.embed_audio(clips)
    alone = np.concatenate([embedder.embed_audio([clip]) for clip in clips])
    assert np.abs(together - alone).max() <= 1e-6
    texts = ["drums", "", "a long slow pad with reverb in a minor at 92 bpm"]
    together = embedder.embed_text(texts)
    alone = np.concatenate([embedder.embed_text([text]) for text in texts])
    assert np.abs(together - alone).max() <= 1e-6


def test_batches_of_any_size_give_the_same_vectors(embedder: ClapEmbedder) -> None:
    in_twos = ClapEmbedder(mini_clap(), batch_size=2)
    clips = list(CLIPS.values())[:3]
    assert np.abs(in_twos.embed_audio(clips) - embedder.embed_audio(clips)).max() <= 1e-6
    assert in_twos.space == embedder.space


def test_the_same_clip_gives_the_same_bytes_in_another_embedder(embedder: ClapEmbedder) -> None:
    long = mono(np.tile(noise(4.0).samples[0], 10))
    np.random.seed(1)  # noqa: NPY002 - what transformers crops by
    first = embedder.embed_audio([long])
    np.random.seed(2)  # noqa: NPY002
    assert first.tobytes() == ClapEmbedder(mini_clap()).embed_audio([long]).tobytes()


def test_of_a_longer_clip_the_first_window_is_heard(embedder: ClapEmbedder) -> None:
    long = np.concatenate([decay().samples, noise(20.0).samples], axis=1)
    vectors = embedder.embed_audio([Audio(long, RATE), decay()])
    assert np.abs(vectors[0] - vectors[1]).max() <= 1e-6


def test_stereo_is_heard_as_the_mean_of_its_channels(embedder: ClapEmbedder) -> None:
    left, right = noise(2.0, 4).samples[0], noise(2.0, 5).samples[0]
    vectors = embedder.embed_audio([Audio(np.stack([left, right]), RATE), mono((left + right) / 2)])
    assert np.abs(vectors[0] - vectors[1]).max() <= 1e-5


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_any_rate_is_heard_alike(embedder: ClapEmbedder, rate: int) -> None:
    vectors = embedder.embed_audio([tone(rate=rate), tone()])
    assert float(vectors[0] @ vectors[1]) > 0.98


@pytest.mark.parametrize("frames", [1, 7, 4_800, RATE * 10])
def test_silence_and_the_shortest_clips_have_a_vector(embedder: ClapEmbedder, frames: int) -> None:
    vector = embedder.embed_audio([mono(np.zeros(frames))])
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_clip_that_is_not_finite_is_refused(embedder: ClapEmbedder, bad: float) -> None:
    samples = noise(1.0).samples[0].copy()
    samples[100] = bad
    with pytest.raises(InvalidInput, match="clip 1 has samples that are not finite"):
        embedder.embed_audio([noise(1.0), mono(samples)])


def test_a_clip_without_samples_is_refused(embedder: ClapEmbedder) -> None:
    with pytest.raises(InvalidInput, match="clip 0 has no samples"):
        embedder.embed_audio([mono([])])


def test_a_text_past_the_window_is_cut_and_broken_unicode_refused(embedder: ClapEmbedder) -> None:
    long = "warm pad " * 500
    vectors = embedder.embed_text([long, long + "and drums"])
    assert np.array_equal(vectors[0], vectors[1])
    with pytest.raises(InvalidInput, match="not valid Unicode"):
        embedder.embed_text(["\ud800"])


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 3_000),
    channels=st.integers(1, 8),
    rate=st.sampled_from([100, 777, 1_000, 1_001]),
)
def test_every_clip_fills_its_window(frames: int, channels: int, rate: int) -> None:
    mel = MelSettings(sample_rate=1_000, window_s=1.0)
    samples = np.random.default_rng(frames).uniform(-1, 1, (channels, frames)).astype(np.float32)
    window = fixed_window(Audio(samples, rate), mel)
    assert window.shape == (1_000,)
    assert window.dtype == np.float32
    assert np.isfinite(window).all()
    if rate == 1_000 and frames <= 1_000:
        whole = heard(Audio(samples, rate)).samples[0]
        times = 1_000 // frames
        assert window[: times * frames] == pytest.approx(np.tile(whole, times), abs=1e-6)
        assert not window[times * frames :].any()


def test_the_space_is_that_of_the_weights_whatever_their_precision(
    embedder: ClapEmbedder, checkpoint: Path
) -> None:
    from transformers import ClapModel

    ClapModel.from_pretrained(checkpoint, dtype=torch.float32).save_pretrained(checkpoint)
    assert ClapEmbedder(checkpoint).space == embedder.space


def test_other_weights_are_another_space(embedder: ClapEmbedder, checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint / "model.safetensors")
    weights["audio_projection.linear2.bias"][0] += 0.01
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert ClapEmbedder(checkpoint).space != embedder.space


def test_the_text_branch_alone_gives_the_vectors_of_transformers(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer, ClapModel

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    first, again = ClapEmbedder(checkpoint), ClapEmbedder(checkpoint)
    assert len(list((tmp_path / "caches" / "rag-audio" / "embedders").iterdir())) == 1
    for name in ("name", "space", "dimension", "sample_rate", "window_s", "text_weight"):
        assert getattr(again, name) == getattr(first, name)
    texts = ["warm piano", "", "drums in A minor, " * 40]
    model = ClapModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokens = AutoTokenizer.from_pretrained(checkpoint)(
        texts, padding=True, truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = model.get_text_features(**tokens).pooler_output.numpy()
    for embedder in (first, again):
        assert embedder.embed_text(texts) == pytest.approx(expected, abs=5e-7)


def test_what_is_cached_of_a_checkpoint_goes_with_its_files(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    before = ClapEmbedder(checkpoint)
    edit(checkpoint / "rag_audio.json", text_weight=0.25)
    assert ClapEmbedder(checkpoint).text_weight == 0.25 != before.text_weight
    for cached in (tmp_path / "caches" / "rag-audio" / "embedders").iterdir():
        cached.write_text("{", encoding="utf-8")
    assert ClapEmbedder(checkpoint).space == before.space
    (checkpoint / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BackendUnavailable):
        ClapEmbedder(checkpoint)


def test_other_preprocessing_is_another_space(embedder: ClapEmbedder, checkpoint: Path) -> None:
    edit(checkpoint / "preprocessor_config.json", frequency_min=20)
    assert ClapEmbedder(checkpoint).space != embedder.space


def test_another_tokenizer_is_another_space(embedder: ClapEmbedder) -> None:
    from training.untrained_clap import train_tokenizer

    other = train_tokenizer(["pad drums bass"], vocab_size=300)
    assert ClapEmbedder(mini_clap(), tokenizer=other).space != embedder.space


def test_using_a_tokenizer_does_not_change_the_space(embedder: ClapEmbedder) -> None:
    from transformers import AutoTokenizer

    used = AutoTokenizer.from_pretrained(mini_clap())
    used(["some words"], padding="max_length", truncation=True, max_length=9)
    assert ClapEmbedder(mini_clap(), tokenizer=used).space == embedder.space


def test_the_checkpoint_says_whether_it_is_trained(
    embedder: ClapEmbedder, checkpoint: Path
) -> None:
    assert embedder.untrained
    (checkpoint / "rag_audio.json").write_text('{"name": "mine", "untrained": false}')
    trained = ClapEmbedder(checkpoint)
    assert (trained.untrained, trained.name) == (False, "mine")
    (checkpoint / "rag_audio.json").unlink()
    assert (ClapEmbedder(checkpoint).untrained, ClapEmbedder(checkpoint).name) == (False, "clap")


def test_a_checkpoint_saved_by_its_processor_loads(
    embedder: ClapEmbedder, checkpoint: Path
) -> None:
    from transformers import ClapProcessor

    processor = ClapProcessor.from_pretrained(checkpoint)
    (checkpoint / "preprocessor_config.json").unlink()
    processor.save_pretrained(checkpoint)
    assert ClapEmbedder(checkpoint).space == embedder.space


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


BREAKAGES = {
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "torn weights": lambda folder: cut(folder / "model.safetensors", 500_000),
    "torn header": lambda folder: cut(folder / "model.safetensors", 20),
    "empty weights": lambda folder: cut(folder / "model.safetensors", 0),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "torn config": lambda folder: cut(folder / "config.json", 50),
    "another model": lambda folder: edit(folder / "config.json", model_type="bert"),
    "other sizes": lambda folder: edit(folder / "config.json", projection_dim=64),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "torn tokenizer": lambda folder: cut(folder / "tokenizer.json", 300),
    "no preprocessor": lambda folder: (folder / "preprocessor_config.json").unlink(),
    "torn facts": lambda folder: cut(folder / "rag_audio.json", 9),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_checkpoint_is_unavailable_in_one_line(checkpoint: Path, breakage: str) -> None:
    BREAKAGES[breakage](checkpoint)
    with pytest.raises(BackendUnavailable) as caught:
        ClapEmbedder(checkpoint)
    assert str(checkpoint) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_weights_that_are_not_numbers_are_not_used(checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint / "model.safetensors")
    for name in ("audio_projection.linear2.bias", "text_projection.linear2.bias"):
        weights[name][:] = float("nan")
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    broken = ClapEmbedder(checkpoint)
    with pytest.raises(BackendUnavailable, match="weights are broken"):
        broken.embed_audio([noise(1.0)])
    with pytest.raises(BackendUnavailable, match="weights are broken"):
        broken.embed_text(["drums"])


@pytest.mark.parametrize("source", ["/nowhere/clap", "a/b/c", ""])
def test_a_source_that_is_nowhere_is_unavailable(source: str) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        ClapEmbedder(source or "./absent folder")
    assert caught.value.hint


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(BackendUnavailable, match="cannot be fetched: no network") as caught:
        ClapEmbedder("somebody/some-clap")
    assert "network" in caught.value.hint


def test_a_gated_model_says_where_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from huggingface_hub.errors import GatedRepoError

    def gated(*_: object, local_files_only: bool, **__: object) -> str:
        if local_files_only:
            raise OSError("not cached")
        request = httpx.Request("GET", "https://huggingface.co/somebody/some-clap")
        raise GatedRepoError("gated", response=httpx.Response(403, request=request))

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    with pytest.raises(BackendUnavailable, match="gated") as caught:
        ClapEmbedder("somebody/some-clap")
    assert "https://huggingface.co/somebody/some-clap" in caught.value.hint


def test_a_cached_hub_snapshot_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, embedder: ClapEmbedder
) -> None:
    def cached(*_: object, local_files_only: bool, **__: object) -> str:
        assert local_files_only
        return str(mini_clap())

    monkeypatch.setattr("huggingface_hub.snapshot_download", cached)
    assert ClapEmbedder("somebody/some-clap").space == embedder.space


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_unavailable(device: str) -> None:
    with pytest.raises(BackendUnavailable, match=device):
        ClapEmbedder(mini_clap(), device=device)


def test_an_empty_batch_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match="batch_size must be at least 1, got 0"):
        ClapEmbedder(mini_clap(), batch_size=0)


def test_the_untrained_model_is_built_reproducibly(embedder: ClapEmbedder, tmp_path: Path) -> None:
    from training.untrained_clap import build

    build(tmp_path / "again")
    assert ClapEmbedder(tmp_path / "again").space == embedder.space
    assert sum(file.stat().st_size for file in (tmp_path / "again").iterdir()) < 10_000_000
    build(tmp_path / "other", seed=1)
    assert ClapEmbedder(tmp_path / "other").space != embedder.space

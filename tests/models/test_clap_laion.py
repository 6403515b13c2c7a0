"""LAION checkpoints through LAION's package and through our conversion: the same vectors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rag_audio.domain import Audio
from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput, MissingExtra
from rag_audio.models.clap import ClapEmbedder
from rag_audio.models.clap_checkpoint import find_tokenizer, read_state
from rag_audio.models.clap_laion import LaionClapEmbedder
from tests.models.checkpoints import laion_file, small_tokenizer
from tests.models.laion_shim import laion_clap_runs

pytestmark = pytest.mark.xdist_group("clap")

CACHE_BEFORE = os.environ.get("NUMBA_CACHE_DIR")
TEXTS = ["funky drums", "slow warm pad in a minor", "", "a very long line of words " * 40]


def clips() -> list[Audio]:
    rng = np.random.default_rng(5)
    time_s = np.arange(48_000 * 10) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 220 * time_s) * np.exp(-((time_s * 2) % 1) * 6)
    noise = 0.1 * rng.standard_normal((2, 44_100 * 3))
    return [Audio(tone[None].astype(np.float32), 48_000), Audio(noise.astype(np.float32), 44_100)]


@pytest.fixture(scope="module", params=["HTSAT-tiny", "HTSAT-base"])
def pair(request: pytest.FixtureRequest) -> tuple[ClapEmbedder, LaionClapEmbedder]:
    """One checkpoint, loaded by our conversion and by LAION's package."""
    path, tokenizer = laion_file(request.param), small_tokenizer()
    with laion_clap_runs(tokenizer):
        package = LaionClapEmbedder(path, tokenizer=tokenizer)
    return ClapEmbedder(path, tokenizer=tokenizer), package


def assert_agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert (ours * theirs).sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    # Random towers point everything one way: what tells two inputs apart must agree as well.
    apart = ours[0] - ours[1]
    assert np.linalg.norm(apart) > 0.02
    assert apart @ (theirs[0] - theirs[1]) >= 0.999 * np.linalg.norm(apart) * np.linalg.norm(
        theirs[0] - theirs[1]
    )


def test_package_and_conversion_give_the_same_vectors(
    pair: tuple[ClapEmbedder, LaionClapEmbedder],
) -> None:
    ours, theirs = pair
    assert_agree(ours.embed_audio(clips()), theirs.embed_audio(clips()))
    assert_agree(ours.embed_text(TEXTS), theirs.embed_text(TEXTS))
    assert ours.space != theirs.space


def test_a_missing_package_is_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "laion_clap", None)
    with pytest.raises(MissingExtra) as caught:
        LaionClapEmbedder(tmp_path / "any.pt")
    assert "rag-audio[laion]" in caught.value.hint


def test_a_missing_torchvision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rag_audio.models.clap_laion import import_package

    for name in [name for name in sys.modules if name.startswith(("laion_clap", "clap_module"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ConfigError, match="torchvision") as caught:
        import_package()
    assert "pip install torchvision" in caught.value.hint


def test_the_package_does_not_move_the_cache_of_this_process_and_its_children(
    pair: tuple[ClapEmbedder, LaionClapEmbedder],
) -> None:
    assert "laion_clap" in sys.modules
    assert os.environ.get("NUMBA_CACHE_DIR") == CACHE_BEFORE


@pytest.mark.parametrize("source", ["folder", "hub/name", "model.safetensors"])
def test_the_package_reads_only_laion_files(source: str) -> None:
    with pytest.raises(BackendUnavailable, match=r"not a LAION \.pt file"):
        LaionClapEmbedder(source)


def test_a_batch_of_no_clips_is_refused() -> None:
    with pytest.raises(InvalidInput, match="batch_size"):
        LaionClapEmbedder("any.pt", batch_size=0)


def save(path: Path, *names: str) -> Path:
    torch.save({"state_dict": {name: torch.zeros(1) for name in names}}, path)
    return path


def test_a_fusion_checkpoint_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "fused.pt", "module.audio_branch.patch_embed.mel_conv2d.weight")
    with pytest.raises(BackendUnavailable, match="fusion"):
        ClapEmbedder(path, tokenizer=small_tokenizer())


def test_another_audio_tower_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "pann.pt", "module.audio_branch.conv_block1.conv1.weight")
    with pytest.raises(BackendUnavailable, match="lacks an HTSAT audio tower"):
        ClapEmbedder(path, tokenizer=small_tokenizer())


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "partial.pt"
    state = read_state(laion_file())
    del state["audio_branch.norm.weight"]
    torch.save(state, path)
    with pytest.raises(
        BackendUnavailable, match=r"1 weights differ, .*audio_encoder\.norm\.weight"
    ):
        ClapEmbedder(path, tokenizer=small_tokenizer())


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    torch.save({"state_dict": {"x": torch.zeros(1)}, "extra": Bomb(tmp_path / "ran")}, path)
    with pytest.raises(BackendUnavailable, match="not loaded"):
        ClapEmbedder(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_torn_file_is_unavailable(tmp_path: Path, keep: int) -> None:
    path = save(tmp_path / "torn.pt", *(f"weight.{number}" for number in range(50)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BackendUnavailable) as caught:
        ClapEmbedder(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="no CLAP checkpoint at"):
        ClapEmbedder(tmp_path / "absent.pt")


def test_the_tokenizer_is_found_beside_the_file(tmp_path: Path) -> None:
    small_tokenizer().save_pretrained(tmp_path / "roberta-base")
    found = find_tokenizer(tmp_path / "model.pt")
    assert found.get_vocab() == small_tokenizer().get_vocab()


def test_without_network_the_missing_tokenizer_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(BackendUnavailable, match="comes without a tokenizer") as caught:
        find_tokenizer(tmp_path / "model.pt")
    assert "roberta-base" in caught.value.hint

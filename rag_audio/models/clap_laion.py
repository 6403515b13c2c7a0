"""Sound and words in one space, by LAION's own ``laion-clap`` package (extra ``laion``).

For those who want the reference implementation to make the vectors. Windows are the same fixed ones
as in :mod:`.clap`, given to the package unquantised and never longer than it
takes, so that its random crops have nothing to crop. The package would unpickle a checkpoint with
all it contains; here weights are read safely and handed to it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_audio.audio.librosa_cache import librosa_ready
from rag_audio.domain import Audio
from rag_audio.errors import BackendUnavailable, ConfigError, MissingExtra
from rag_audio.models.checkpoints import translated
from rag_audio.models.clap_checkpoint import audio_tower, find_tokenizer, read_state
from rag_audio.models.clap_frontend import (
    TEXT_TOKENS,
    BatchedEmbedder,
    MelSettings,
    SpaceFacts,
    fixed_windows,
    space_id,
    tokenize,
)
from rag_audio.models.unknown_tokens import reads_all

if TYPE_CHECKING:
    import torch

_HUB_FILES = (
    "it takes roberta-base, and the tokenizers of bert-base-uncased and facebook/bart-base, from "
    "the hub: fetch them once with `hf download`"
)


class LaionClapEmbedder(BatchedEmbedder):
    """Embeds with ``laion_clap.CLAP_Module``; implements :class:`.Embedder`.

    Args:
        source: a LAION ``.pt`` file, HTSAT-tiny or HTSAT-base without fusion.
        device: of the model; ``auto`` takes CUDA when there is one.
        batch_size: clips or texts that go through the model together.
        tokenizer: a directory, a hub name or an object; without it, ``roberta-base``'s is taken
            from beside the file or from the hub.

    Raises:
        MissingExtra: ``laion-clap`` is not installed.
        ConfigError: torchvision, which it imports without declaring it, is not installed.
        BackendUnavailable: no checkpoint, device or hub, from which the
            package takes ``roberta-base`` whenever it is made.
        InvalidInput: ``batch_size`` below 1.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        device: str = "cpu",
        batch_size: int = 32,
        tokenizer: Any = None,
    ) -> None:
        super().__init__(batch_size)
        if importlib.util.find_spec("laion_clap") is None:
            raise MissingExtra("laion-clap", "laion")
        from rag_audio.models.device import pick_device

        where = pick_device(device)
        path = Path(source).expanduser()
        if path.is_dir() or path.suffix not in (".pt", ".pth", ".ckpt"):
            raise BackendUnavailable(
                f"{source} is not a LAION .pt file",
                hint="laion-clap loads LAION's own files only; unset RAG_AUDIO_LAION for others",
            )
        self._tokenizer = find_tokenizer(path, tokenizer)
        self._mel = MelSettings()
        self._model = _make_model(path, str(where))
        self._device = where
        facts = SpaceFacts(
            name=f"{path.stem} (laion-clap)",
            space=space_id("laion-clap", self._model, self._mel, self._tokenizer),
            dimension=int(self._model.joint_embed_shape),
            sample_rate=self._mel.sample_rate,
            window_s=self._mel.window_s,
        )
        self._show(facts)

    def can_read(self, text: str) -> bool:
        """See :class:`rag_audio.domain.ports.ReadsText`."""
        return reads_all(self._tokenizer, text)

    def _embed_clips(self, clips: Sequence[Audio]) -> torch.Tensor:
        import torch

        data = {
            "waveform": torch.from_numpy(fixed_windows(clips, self._mel)).to(self._device),
            "longer": torch.zeros((len(clips), 1), dtype=torch.bool, device=self._device),
        }
        with torch.inference_mode():
            encoded = self._model.encode_audio(data, device=self._device)
            made: torch.Tensor = self._model.audio_projection(encoded["embedding"])
        return made

    def _embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            tokens = tokenize(self._tokenizer, texts, TEXT_TOKENS)
            made: torch.Tensor = self._model.encode_text(tokens, device=self._device)
        return made


def _make_model(path: Path, device: str) -> Any:
    """LAION's ``CLAP`` network with the file's weights, in evaluation mode."""
    state = read_state(path)
    tower = audio_tower(path, state)
    # The text branch's position ids are an index, not a weight: newer transformers do not keep it.
    state.pop("text_branch.embeddings.position_ids", None)
    with translated("laion-clap", hint=_HUB_FILES):
        package = import_package()
        model = package.CLAP_Module(enable_fusion=False, device=device, amodel=tower).model
    with translated(str(path)):
        report = model.load_state_dict(state, strict=False)
    amiss = sorted({*report.missing_keys, *report.unexpected_keys})
    if amiss:
        raise BackendUnavailable(
            f"{path} does not fit {tower}: {len(amiss)} weights differ, {amiss[0]} first",
            hint="use the .pt file as LAION publishes it",
        )
    return model.to(device).eval()


def import_package() -> Any:
    """The ``laion_clap`` module.

    Raises:
        ConfigError: a package that it needs and does not declare is missing.
    """
    # transformers looks for torchvision when it is first imported; laion-clap needs it to be there.
    import transformers  # noqa: F401

    librosa_ready()  # laion-clap's front end imports librosa as well
    paths, environment = list(sys.path), dict(os.environ)
    try:
        import laion_clap
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"laion-clap needs {error.name}, which is not installed",
            hint=f"pip install {error.name} in the build that fits this torch",
        ) from error
    finally:
        sys.path[:] = paths  # it adds its own folder, whose names would hide those of others
        # It sends numba's files to /tmp, where all processes would write over each other's.
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
    return laion_clap

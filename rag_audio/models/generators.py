"""Opens any supported diffusion checkpoint as a :class:`.Generator`."""

from __future__ import annotations

from pathlib import Path

from rag_audio.domain.ports import Generator
from rag_audio.models.checkpoints import STABLE_AUDIO, find_checkpoint


def load_generator(
    source: str | Path,
    *,
    device: str = "cpu",
    low_memory: bool = False,
    dtype: str | None = None,
) -> Generator:
    """Load a checkpoint; its ``model_index.json`` decides which family runs it.

    Args:
        source: a folder, the bare name of an embedded model, or a Hugging Face hub id.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        low_memory: trade time for memory: offload, tiles, one variation at a time.
        dtype: of the transformer; None lets the device decide, float32 on the CPU.

    Raises:
        BackendUnavailable: missing, gated, offline, broken, of unknown classes, or no such device.
    """
    checkpoint = find_checkpoint(source)
    if checkpoint.family == STABLE_AUDIO:
        from rag_audio.models.stable_audio import StableAudioGenerator

        return StableAudioGenerator(checkpoint, device=device, low_memory=low_memory, dtype=dtype)
    from rag_audio.models.stable_audio_3 import StableAudio3Generator

    return StableAudio3Generator(checkpoint, device=device, low_memory=low_memory, dtype=dtype)

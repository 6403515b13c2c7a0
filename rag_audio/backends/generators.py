"""Opens any supported diffusion checkpoint as a :class:`rag_audio.ports.Generator`."""

from __future__ import annotations

from pathlib import Path

from rag_audio.backends._checkpoints import STABLE_AUDIO, find_checkpoint
from rag_audio.ports import Generator


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
        from rag_audio.backends.stable_audio import StableAudioGenerator

        return StableAudioGenerator(checkpoint, device=device, low_memory=low_memory, dtype=dtype)
    from rag_audio.backends.stable_audio_3 import StableAudio3Generator

    return StableAudio3Generator(checkpoint, device=device, low_memory=low_memory, dtype=dtype)

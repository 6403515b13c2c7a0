"""Where a model runs, in which precision, and what happens when it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from rag_audio.errors import BackendError, BackendUnavailable, InvalidInput

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes CUDA when there is one.

    Raises:
        BackendUnavailable: no such device, or not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendUnavailable(
            f"{name!r} is not a device", hint="auto, cpu, cuda, cuda:1 or mps"
        ) from error
    counts = {"cpu": 1, "cuda": torch.cuda.device_count()}
    counts["mps"] = int(torch.backends.mps.is_available())
    if (device.index or 0) >= counts.get(device.type, 0):
        raise BackendUnavailable(
            f"this machine offers no {name} device to torch", hint="use the device cpu"
        )
    return device


def pick_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """Precision of the transformer; None takes bfloat16 or float16 on CUDA, else float32.

    Raises:
        InvalidInput: no such precision.
    """
    if name is None:
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name not in _DTYPES:
        raise InvalidInput(f"dtype must be one of {', '.join(_DTYPES)}, got {name!r}")
    return _DTYPES[name]


def cast_weights(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights, but keep buffers: rotary frequencies in bfloat16 lose whole positions."""
    if dtype != torch.float32:
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)


@contextmanager
def working_on(device: torch.device) -> Iterator[None]:
    """No gradients; on CUDA the same result every time, in true float32 where float32 is asked for.

    cuDNN is free to pick kernels that add in any order, and to compute float32 convolutions in
    TF32: the autoencoder's would differ between runs, and from the CPU's.

    Raises:
        BackendError: in place of ``torch.OutOfMemoryError``.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if device.type == "cuda":
            flags = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
            stack.enter_context(flags)
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise BackendError(
                "the device has too little memory for this request",
                hint="use the low-memory mode, a shorter duration or fewer variations",
            ) from error

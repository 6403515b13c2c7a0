"""One resumable training stage: schedule, averaged weights, checkpoints, logs."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import structlog
import torch
from torch import Tensor, nn

from training.presets import Stage

log = structlog.get_logger(__name__)

LONGEST_STEP_S = 20.0  # a process that was suspended does not spend its budget


class Run:
    """Drives the optimiser of one stage; iterate over it for step numbers.

    Args:
        folder: where ``state.pt``, ``log.jsonl`` and TensorBoard's events go.
        model: trained whole.
        stage: budget and rates. resume: go on from ``state.pt`` where it exists.
        autocast: compute in bfloat16 where the context of :meth:`precision` is entered.
    """

    def __init__(
        self, folder: Path, model: nn.Module, stage: Stage, *, resume: bool, autocast: bool
    ) -> None:
        self.folder, self.model, self.stage, self.autocast = folder, model, stage, autocast
        folder.mkdir(parents=True, exist_ok=True)
        self.step, self.elapsed_s = 0, 0.0
        weights = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in weights if p.ndim >= 2]
        vectors = [p for p in weights if p.ndim < 2]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": stage.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=stage.lr,
            betas=(0.9, 0.98),
        )
        self.average = copy.deepcopy(model).requires_grad_(False) if stage.ema else None
        self._weights = weights
        self._tick = time.monotonic()
        self._recent: dict[str, list[float]] = {}
        self._writer: Any = None
        if resume and (folder / "state.pt").is_file():
            self._load()

    def precision(self) -> AbstractContextManager[Any]:
        """bfloat16 where the preset wants it."""
        device = self._weights[0].device.type
        return torch.autocast(device, torch.bfloat16) if self.autocast else nullcontext()

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0…1."""
        return min(
            1.0,
            max(self.step / self.stage.steps, self.elapsed_s / (60 * self.stage.minutes)),
        )

    def __iter__(self) -> Iterator[int]:
        self._tick = time.monotonic()
        while self.progress < 1.0:
            yield self.step
        self.save()

    def update(self, loss: Tensor, **figures: float | Tensor) -> None:
        """Backward, clip, step, average; figures are logged as means."""
        rise = min(1.0, (self.step + 1) / self.stage.warmup)
        rate = self.stage.lr * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.progress)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._weights, 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        if self.average is not None:
            self._blend(self.average, min(self.stage.ema, (1 + self.step) / (10 + self.step)))
        self._count({"loss": loss, **figures}, rate)
        if self.step % self.stage.save_every == 0:
            self.save()

    def _blend(self, average: nn.Module, decay: float) -> None:
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(weight.detach(), 1.0 - decay)

    def _count(self, figures: dict[str, float | Tensor], rate: float) -> None:
        now = time.monotonic()
        self.elapsed_s += min(now - self._tick, LONGEST_STEP_S)
        self._tick = now
        every = 50 if self.stage.steps > 50 else 1
        if self.step % every and self.progress < 1.0:
            if self.step % 5 == 0:
                self._keep(figures)
            return
        self._keep(figures)
        row = {name: sum(values) / len(values) for name, values in self._recent.items()}
        self._recent = {}
        row = {"step": self.step, "minutes": self.elapsed_s / 60, "lr": rate, **row}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
        self._board(row)
        log.info(self.folder.name, **{k: round(v, 5) for k, v in row.items()})

    def _keep(self, figures: dict[str, float | Tensor]) -> None:
        for name, value in figures.items():
            self._recent.setdefault(name, []).append(
                float(value.detach() if isinstance(value, Tensor) else value)
            )

    def _board(self, row: dict[str, float]) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        for name, value in row.items():
            self._writer.add_scalar(name, value, self.step)

    def save(self) -> None:
        """Write ``state.pt`` whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        temporary = self.folder / "state.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "state.pt")

    def _load(self) -> None:
        state = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])

    @property
    def best(self) -> nn.Module:
        """The averaged weights where kept, the last otherwise; in evaluation mode."""
        return (self.average if self.average is not None else self.model).eval()


def load_weights(folder: Path, model: nn.Module) -> nn.Module:
    """Fill ``model`` with a stage's best weights.

    Raises:
        FileNotFoundError: the stage has not run.
    """
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(state["average"] or state["model"])
    return model.eval()

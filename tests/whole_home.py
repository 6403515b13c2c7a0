"""Commands on the small home of :mod:`tests.rights_world`, in this process and without weights."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import rag_audio.cli
from rag_audio.domain import Audio
from rag_audio.ports import Detection
from tests.rights_world import FakeWatermarker, World


class Listening(FakeWatermarker):
    """Hears nothing, also in pieces."""

    def detect_pieces(self, pieces: Iterable[Audio]) -> Detection:
        for _ in pieces:
            pass
        return Detection(None, 0.0)


def command_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command works on this home; serving and the demo do nothing."""

    @contextmanager
    def the_same(*_: object, **__: object) -> Iterator[Any]:
        yield world.workspace

    world.home.watermarker = Listening()
    for found in pkgutil.iter_modules(rag_audio.cli.__path__, "rag_audio.cli."):
        module = importlib.import_module(found.name) if "__main__" not in found.name else None
        if hasattr(module, "open_workspace"):
            monkeypatch.setattr(module, "open_workspace", the_same)
    monkeypatch.setattr("rag_audio.api.serving.serve", lambda *_: None)
    world.reset()

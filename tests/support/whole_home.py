"""Commands on the small home of :mod:`.rights_world`, in this process and without weights."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

import rag_audio.cli
from rag_audio.domain import Audio
from rag_audio.domain.ports import Detection
from rag_audio.pipeline.workspace import Workspace
from tests.support.rights_world import FakeWatermarker, World


class Listening(FakeWatermarker):
    """Hears nothing, also in pieces."""

    def detect_pieces(self, pieces: Iterable[Audio]) -> Detection:
        for _ in pieces:
            pass
        return Detection(None, 0.0)


def opened_by(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, *modules: ModuleType) -> None:
    """Commands of these modules work on this workspace, and leave it open."""

    def opener(opened: Any) -> Any:
        @contextmanager
        def the_same(*_: object, **__: object) -> Iterator[Any]:
            yield opened

        return the_same

    for module in modules:
        for name, opened in (("open_workspace", workspace), ("open_home", workspace.home)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, opener(opened))


def command_home(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command works on this home; serving and the demo do nothing."""
    world.home.watermarker = Listening()
    found = pkgutil.iter_modules(rag_audio.cli.__path__, "rag_audio.cli.")
    names = [one.name for one in found if "__main__" not in one.name]
    opened_by(monkeypatch, world.workspace, *map(importlib.import_module, names))
    monkeypatch.setattr("rag_audio.service.api.app.serve", lambda *_: None)
    world.reset()

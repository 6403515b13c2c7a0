"""An index run over HTTP that fails for a reason that nobody foresaw."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from indexer.report import IndexReport, Notice
from rag_audio.pipeline.workspace import Workspace
from rag_audio.service.api.indexing import Indexing


@pytest.mark.parametrize("error", [RuntimeError("/secret/path"), OSError(28, "no space"), KeyError])
def test_it_has_failed_and_another_may_begin(tmp_path: Path, error: Any) -> None:
    def index(*_: object, **__: object) -> None:
        raise error

    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "library.toml").touch()
    catalogue = SimpleNamespace(libraries=lambda: [])
    workspace = SimpleNamespace(home=SimpleNamespace(catalogue=catalogue), index=index)
    indexing = Indexing(cast(Workspace, workspace), tmp_path)
    with capture_logs() as logs:
        for _ in range(2):
            state = indexing.begin("more", lambda work: work())
            assert state["state"] == "failed" and "secret" not in state["problem"]
    assert len(logs) == 2 and all(one["exc_info"] for one in logs)


def test_what_was_noticed_and_passed_over_is_told(tmp_path: Path) -> None:
    odd = tuple(Notice(f"{number:03}.m4a", "cut") for number in range(120))
    report = IndexReport(120, 0, 0, 0, 120, (), 1.0, noticed=odd, junk={".asd": 2})
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "library.toml").touch()
    catalogue = SimpleNamespace(libraries=lambda: [])
    workspace = SimpleNamespace(
        home=SimpleNamespace(catalogue=catalogue), index=lambda *_, **__: report
    )
    indexing = Indexing(cast(Workspace, workspace), tmp_path)
    indexing.begin("more", lambda work: work())
    told = indexing.state()["report"]
    assert (told["notices"], len(told["noticed"])) == (120, 100)
    assert told["noticed"][0] == {"path": "000.m4a", "text": "cut"}
    assert told["passed_over"] == ["2 files of the system and of other programs skipped: .asd 2"]


def test_a_refresh_is_asked_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "library.toml").touch()
    asked: list[object] = []

    def index(*_: object, refresh: object, **__: object) -> IndexReport:
        asked.append(refresh)
        return IndexReport(0, 0, 2, 0, 2, (), 1.0, refreshed=2)

    catalogue = SimpleNamespace(libraries=lambda: [])
    workspace = SimpleNamespace(home=SimpleNamespace(catalogue=catalogue), index=index)
    indexing = Indexing(cast(Workspace, workspace), tmp_path)
    indexing.begin("more", lambda work: work(), "analysis")
    assert (asked, indexing.state()["report"]["refreshed"]) == (["analysis"], 2)

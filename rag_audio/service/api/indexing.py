"""Indexing for an admin: one library at a time, in a thread of its own, with its progress.

A library is named by its id, or, where it is not indexed yet, by the name of its folder in the one
folder that ``RAG_AUDIO_SERVE_LIBRARIES`` names: never by a path.
"""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from rag_audio.domain.json_documents import public_json
from rag_audio.errors import RagAudioError
from rag_audio.pipeline.workspace import Workspace
from rag_audio.service.api.problems import Problem, not_found

log = structlog.get_logger("rag_audio.indexing")
_SHOWN = 100
_REPORTED = (
    "indexed", "skipped", "updated", "pruned", "segments", "seconds", "landmarked", "refreshed",
    "outdated",
)  # fmt: skip


class Indexing:
    """What is being indexed, or was last.

    Args:
        folder: where further libraries may lie; None: nowhere.
    """

    def __init__(self, workspace: Workspace, folder: Path | None) -> None:
        self._workspace, self._folder = workspace, folder
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {"state": "idle"}

    def state(self) -> dict[str, Any]:
        """``state`` (``idle``, ``running``, ``done``, ``failed``), how far, and the report."""
        with self._lock:
            return dict(self._state)

    def folders(self) -> list[str]:
        """Folders with a ``library.toml`` that may be indexed, by name."""
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(
            one.name
            for one in self._folder.iterdir()
            if one.is_dir() and not one.is_symlink() and (one / "library.toml").is_file()
        )

    def begin(
        self,
        name: str,
        run: Callable[[Callable[[], None]], None],
        refresh: str | None = None,
    ) -> dict[str, Any]:
        """Begin to index the library or folder of this name, in a thread that ``run`` starts.

        Args:
            refresh: as :meth:`.Workspace.index` takes it.

        Raises:
            Problem: there is none (404), or one is being indexed (409).
        """
        root = self._root(name)
        with self._lock:
            if self._state["state"] == "running":
                raise Problem(409, "busy", f"{self._state['name']} is being indexed")
            self._state = {"state": "running", "name": name, "files": 0, "skipped": 0, "done": 0}
        run(lambda: self._index(root, refresh))
        return self.state()

    def started(self, files: int, skipped: int) -> None:
        """So many files have a license."""
        self._put(files=files, skipped=skipped)

    def advanced(self, path: str, outcome: Any) -> None:
        """One file is done."""
        with self._lock:
            self._state["done"] += 1

    def _root(self, name: str) -> str:
        for one in self._workspace.home.catalogue.libraries():
            if one.id == name:
                return one.root
        if self._folder is not None and name in self.folders():
            return str(self._folder / name)
        raise not_found()

    def _index(self, root: str, refresh: str | None) -> None:
        try:
            report = self._workspace.index(root, progress=self, refresh=refresh)
        except RagAudioError as error:
            log.warning("indexing failed", error=error.message)
            self._put(state="failed", problem=public_json(error, "")["message"])
        except tomllib.TOMLDecodeError as error:
            log.warning("indexing failed", error=str(error))
            self._put(state="failed", problem=str(error))
        except Exception:
            # Whatever it was, no later run may be refused as if this one still went on.
            log.exception("indexing failed for an unforeseen reason")
            self._put(state="failed", problem="internal error; the server's log says more")
        else:
            rejected = [{"path": r.path, "reason": r.reason} for r in report.rejected]
            told = {name: getattr(report, name) for name in _REPORTED}
            told |= {"rejected": rejected[:_SHOWN], "rejections": len(rejected)}
            noticed = [{"path": one.path, "text": one.text} for one in report.noticed]
            told |= {"noticed": noticed[:_SHOWN], "notices": len(noticed)}
            told |= {"passed_over": report.passed_over, "altered": list(report.altered)}
            self._put(state="done", report=told)

    def _put(self, **values: Any) -> None:
        with self._lock:
            self._state |= values

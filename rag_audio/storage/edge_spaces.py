"""Embedding spaces of the embedded index: a folder for each, and a file that names the one in use.

The index of a home is ``index/``; the segments in another embedding space lie in
``index/spaces/NAME/``, an index like it with a lock of its own, so that it is filled while the
other one is searched. ``index/in-use.json`` names the folder in use, the one before, and the
embedders of spaces where they were said; without that file it is ``index/`` itself.
"""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_audio.domain.ports import SpaceInfo, SpaceState
from rag_audio.errors import BackendUnavailable, InvalidInput
from rag_audio.storage.files import atomic_write

if TYPE_CHECKING:
    from rag_audio.storage.shared_index import SharedIndex

SPACES, IN_USE = "spaces", "in-use.json"
"""In the index's folder, and no part of the index that lies there itself."""
DESCRIPTION = "index.json"
"""In the folder of an index: its format, space and dimension."""
REMAKE = "rag-audio index --rebuild LIBRARY, then index your other libraries again"
"""What mends an index that cannot be read."""

_PREFIX = 24


def folder_in_use(root: Path) -> Path:
    """The folder that is searched.

    Raises:
        BackendUnavailable: the file that names it cannot be read.
    """
    return root / str(_named(root)["current"])


def folder_of(root: Path, space: str) -> Path:
    """The folder in use, or the one before where that is of this space and the other is not.

    Raises:
        BackendUnavailable: it cannot be told.
    """
    named = _named(root)
    current = root / str(named["current"])
    if named["previous"] is None or space_of(current) == space:
        return current
    previous = root / str(named["previous"])
    return previous if space_of(previous) == space else current


def space_of(folder: Path) -> str | None:
    """The embedding space of the index in a folder; None: there is none.

    Raises:
        BackendUnavailable: what tells it cannot be read.
    """
    space = described(folder).get("space")
    return None if space is None else str(space)


class EdgeSpaces:
    """The embedding spaces of an embedded index: :class:`.IndexSpaces`.

    Args:
        root: folder of the index.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def spaces(self, *, counted: bool = True) -> tuple[SpaceInfo, ...]:
        """Every space there is; counting opens each of them."""
        found = []
        for folder, space, dimension, state in self._all():
            points = self._points(folder, space, dimension) if counted else None
            found.append(SpaceInfo(space, dimension, points, state))
        return tuple(found)

    def embedder_in_use(self) -> str | None:
        """What was named as the embedder of the space in use; None: nothing was."""
        named = _named(self._root)
        said = named["embedders"].get(named["current"])
        return None if said is None else str(said)

    def open_space(self, space: str, dimension: int) -> SharedIndex:
        """The index of a space, made beside the one in use where it is missing."""
        from rag_audio.storage.shared_index import SharedIndex

        folder = self._find(space) or self._root / SPACES / _folder_name(space)
        return SharedIndex(folder, space=space, dimension=dimension, beside=True)

    def switch(self, space: str, embedder: str | None = None, before: str | None = None) -> None:
        """Let a space be the one in use, in one step; the one before stays, to switch back to.

        Args:
            embedder: what embeds into it, kept with the space; None: it stays as it is.
            before: the same of the space that was in use.

        Raises:
            InvalidInput: there is no such space.
        """
        folder, left = self._named(space), folder_in_use(self._root)
        embedders = _named(self._root)["embedders"]
        said = {self._name(folder): embedder, self._name(left): before}
        if folder != left:
            told = {name: one for name, one in said.items() if one is not None}
            self._write(folder, left, {**embedders, **told})

    def remove(self, space: str) -> None:
        """Delete a space that is not in use.

        Raises:
            InvalidInput: there is no such space, or it is in use.
            BackendUnavailable: another process holds it.
        """
        from rag_audio.storage.index_socket import is_served
        from rag_audio.storage.qdrant_edge import remove_index

        folder, current = self._named(space), folder_in_use(self._root)
        if folder == current:
            raise InvalidInput(
                f"embedding space {space} is in use", hint="switch to another space first"
            )
        remove_index(folder, partial(is_served, folder))
        if folder != self._root:
            shutil.rmtree(folder)
        named = _named(self._root)
        if named["previous"] == self._name(folder):
            named["embedders"].pop(self._name(folder), None)
            self._write(current, None, named["embedders"])

    def _all(self) -> list[tuple[Path, str, int, SpaceState]]:
        named = _named(self._root)
        states = {named["previous"]: SpaceState.PREVIOUS, named["current"]: SpaceState.CURRENT}
        beside = self._root / SPACES
        found = []
        for folder in (self._root, *(sorted(beside.iterdir()) if beside.is_dir() else ())):
            said = described(folder)
            if said:
                state = states.get(self._name(folder), SpaceState.BESIDE)
                found.append((folder, str(said["space"]), said["dimension"], state))
        return found

    def _points(self, folder: Path, space: str, dimension: int) -> int:
        from rag_audio.storage.shared_index import SharedIndex

        index = SharedIndex(folder, space=space, dimension=dimension, beside=True)
        try:
            return index.count()
        finally:
            index.close()

    def _find(self, space: str) -> Path | None:
        return next((folder for folder, one, *_ in self._all() if one == space), None)

    def _named(self, space: str) -> Path:
        found = self._find(space)
        if found is None:
            raise InvalidInput(
                f"the index at {self._root} holds nothing of embedding space {space}",
                hint="Home.spaces.open_space makes one",
            )
        return found

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._root).as_posix()

    def _write(self, current: Path, previous: Path | None, embedders: dict[str, Any]) -> None:
        said = {
            "current": self._name(current),
            "previous": None if previous is None else self._name(previous),
            "embedders": embedders,
        }
        with atomic_write(self._root / IN_USE) as draft:
            draft.write_text(json.dumps(said), encoding="utf-8")


def _folder_name(space: str) -> str:
    """Readable, and of this space alone."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", space)[:_PREFIX]
    return f"{readable}-{sha256(space.encode()).hexdigest()[:8]}"


def _named(root: Path) -> dict[str, Any]:
    try:
        said = json.loads((root / IN_USE).read_text(encoding="utf-8"))
        current, previous = said["current"], said["previous"]
        embedders = dict(said.get("embedders", {}))
    except FileNotFoundError:
        return {"current": ".", "previous": None, "embedders": {}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendUnavailable(
            f"{root / IN_USE} cannot be read: {error}",
            hint=f"remove it to use the index in {root} itself",
        ) from error
    return {
        "current": str(current),
        "previous": None if previous is None else str(previous),
        "embedders": embedders,
    }


def described(folder: Path) -> dict[str, Any]:
    """The format, space and dimension of the index in a folder; empty: there is none.

    Raises:
        BackendUnavailable: what tells it cannot be read.
    """
    path = folder / DESCRIPTION
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        made_for = {name: said[name] for name in ("format", "space", "dimension")}
        return {**made_for, "dimension": int(made_for["dimension"])}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(
            f"{path} cannot be read: {error}",
            hint=f"{REMAKE}; or remove {folder}, where that is of a space that is not in use",
        ) from error

"""Folders of libraries under names that several machines share (``RAG_AUDIO_LIBRARY_ROOTS``).

The catalogue holds ``@music/night-shift`` for a library in the folder that a machine calls
``music``, wherever it is mounted there; a library outside such folders has its absolute path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rag_audio.errors import InvalidInput, LibraryError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MARK = "@"


class LibraryRoots:
    """Where this machine has the folders.

    Args:
        folders: absolute, by name.
    """

    def __init__(self, folders: Mapping[str, Path] | None = None) -> None:
        self._folders = {name: path.resolve() for name, path in (folders or {}).items()}

    @classmethod
    def parse(cls, text: str) -> LibraryRoots:
        """From ``music=/mnt/music;samples=/srv/samples``.

        Raises:
            InvalidInput: it is malformed.
        """
        folders: dict[str, Path] = {}
        for part in filter(None, map(str.strip, text.split(";"))):
            name, equals, folder = part.partition("=")
            path = Path(folder.strip()).expanduser()
            if not (equals and _NAME.fullmatch(name.strip()) and path.is_absolute()):
                raise InvalidInput(
                    f"{part!r} is not NAME=FOLDER, such as music=/mnt/music",
                    hint="the folder is absolute; several are separated by ;",
                )
            if name.strip() in folders:
                raise InvalidInput(f"{name.strip()!r} is named twice")
            folders[name.strip()] = path
        return cls(folders)

    def stored(self, root: str) -> str:
        """A library's folder as the catalogue holds it: below the nearest of the named folders."""
        path = Path(root)
        names = [name for name, folder in self._folders.items() if path.is_relative_to(folder)]
        if not names:
            return root
        nearest = max(sorted(names), key=lambda name: len(self._folders[name].parts))
        within = path.relative_to(self._folders[nearest]).as_posix()
        return f"{_MARK}{nearest}" if within == "." else f"{_MARK}{nearest}/{within}"

    def here(self, stored: str) -> str:
        """The folder on this machine; as is where it has none of that name."""
        name, _, within = stored.removeprefix(_MARK).partition("/")
        if not stored.startswith(_MARK) or name not in self._folders:
            return stored
        return str(self._folders[name] / within)

    def require_here(self, stored: str, library: str) -> str:
        """As :meth:`here`.

        Raises:
            LibraryError: the library lies under a name that this machine has no folder for.
        """
        found = self.here(stored)
        if found.startswith(_MARK):
            name = found.removeprefix(_MARK).partition("/")[0]
            raise LibraryError(
                f"library {library!r} lies in {found}, and this machine has no folder {name!r}",
                hint=f"RAG_AUDIO_LIBRARY_ROOTS={name}=FOLDER says where it is mounted",
            )
        return found

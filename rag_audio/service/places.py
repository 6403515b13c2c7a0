"""Names for files of this machine in what is answered over HTTP: no path of the server is told."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rag_audio.errors import BackendError
from rag_audio.home import Home
from rag_audio.resources import data_dir
from rag_audio.service.http_terms import in_http_terms

LOOK_S = 5.0
"""Which libraries there are is looked up no more often than this."""
_FOLDER = "a folder of the server"
_UPLOAD = re.compile(r"uploads/\.?([0-9a-f]{32})(?:\.[0-9a-z]{1,8})?")
_ATTEMPT = re.compile(r"outputs/[0-9a-f]{32}/[0-9a-f]{32}/")
_PATH = re.compile(r"(?<![\w./:~-])(?:/[^\s/'\"`,;:()<>\[\]{}|]+){2,}/?")
_ROUTES = ("/v1/", "/problems/")
_TEXTS = ("message", "detail", "hint", "reasons")
"""Members of an error's document that this program wrote; others quote the caller."""


class Places:
    """Rewrites messages.

    An upload becomes ``upload ID``, a stem its path in its library, any other file of the home its
    path in there; of a path that is none of these the last part is left.

    Args:
        folders: of the server, besides those of the home and of the libraries.
    """

    def __init__(self, home: Home, folders: Iterable[Path] = ()) -> None:
        self._home = home
        settings = home.settings
        named = (settings.model, settings.embedder)
        self._folders = [home.folder, *folders, data_dir("models").parent]
        self._folders += [Path(name).parent for name in named if name and Path(name).is_absolute()]
        self._folders.append(Path(tempfile.gettempdir()))
        self._libraries: tuple[Path, ...] = ()
        self._looked: float | None = None

    def file(self, path: Path | str) -> str:
        """What a file is called."""
        return self.told(str(path))

    def told(self, text: str) -> str:
        """A message without paths of this machine."""
        if "/" not in text and "\\" not in text:
            return text
        for folder in self._roots():
            text = _inside(text, str(folder))
        text = _ATTEMPT.sub("", _UPLOAD.sub(r"upload \1", text))
        return _PATH.sub(_last_part, text)

    def error(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """An error's document, or that of a problem, without paths of this machine; in terms of the
        HTTP API."""
        return {
            name: _mapped(value, self._said) if name in _TEXTS else value
            for name, value in document.items()
        }

    def document(self, value: Any) -> Any:
        """A document of which this program wrote all texts, as :meth:`error`."""
        return _mapped(value, self._said)

    def _said(self, text: str) -> str:
        return in_http_terms(self.told(text))

    def _roots(self) -> list[Path]:
        """Folders of this machine, the innermost first, each also as the system resolves it."""
        if self._looked is None or time.monotonic() - self._looked > LOOK_S:
            # The message may be that the database is away: those of before are left out then.
            with suppress(BackendError):
                self._libraries = tuple(Path(one.root) for one in self._home.catalogue.libraries())
                self._looked = time.monotonic()
        folders = {*self._folders, *self._libraries}
        folders |= {folder.resolve() for folder in folders}
        return sorted(folders, key=lambda folder: -len(str(folder)))


def _inside(text: str, folder: str) -> str:
    """The text with paths in a folder as they are from there on."""
    if len(folder) < 2:
        return text
    there = re.sub(rf"{re.escape(folder)}/(?=[^\s'\"/])", "", text)
    return re.sub(rf"{re.escape(folder)}/?(?![\w.-])", _FOLDER, there)


def _last_part(found: re.Match[str]) -> str:
    path = found[0]
    return path if path.startswith(_ROUTES) else path.rstrip("/").rpartition("/")[2]


def _mapped(value: Any, told: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return told(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, told) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, told) for item in value]
    return value

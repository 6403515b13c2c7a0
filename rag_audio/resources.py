"""Where data lies: that of the package (models, demo library, lexicon, policy …), and caches."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from rag_audio.errors import ConfigError

REINSTALL = "install rag-audio from its wheel again"
"""What helps where files of the package are missing or damaged."""


def data_dir(name: str) -> Path:
    """The folder ``data/<name>``: inside an installed wheel, else beside the package in a checkout.

    Args:
        name: ``models``, ``demo``, ``lexicon``, ``policy`` or ``soundfont``.

    Raises:
        ConfigError: the installation lacks it.
    """
    package = Path(str(files("rag_audio")))
    for candidate in (package / "data" / name, package.parent / "data" / name):
        if candidate.is_dir():
            return candidate
    raise ConfigError(f"the installed package has no data/{name}", hint=REINSTALL)


def cache_folder(name: str, chosen: str | None = None) -> Path | None:
    """A private folder for what can be made again: made on first use, None where none can be.

    It is ``chosen``, else ``rag-audio/<name>`` in the user's cache folder, else a temporary one:
    the first that belongs to this user, and that nobody else may write to.
    """
    if sys.platform == "darwin":
        caches = Path("~/Library/Caches")
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    temporary = Path(tempfile.gettempdir()) / f"rag-audio-{name}-{os.getuid()}"
    usual = [caches / "rag-audio" / name, temporary]
    for path in [Path(chosen), *usual] if chosen else usual:
        with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            path = path.expanduser()
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = path.lstat()
            if state.st_uid == os.getuid() and not state.st_mode & 0o022:
                tempfile.TemporaryFile(dir=path).close()
                return path
    return None

"""Where the data that travels with the package lies: models, demo library, policy, soundfont."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from rag_audio.errors import ConfigError


def data_dir(name: str) -> Path:
    """The folder ``data/<name>``: inside an installed wheel, else beside the package in a checkout.

    Args:
        name: ``models``, ``demo``, ``policy`` or ``soundfont``.

    Raises:
        ConfigError: the installation lacks it.
    """
    package = Path(str(files("rag_audio")))
    for candidate in (package / "data" / name, package.parent / "data" / name):
        if candidate.is_dir():
            return candidate
    raise ConfigError(
        f"the installed package has no data/{name}", hint="install rag-audio from its wheel again"
    )

"""Music generation whose sources can be named.

>>> import rag_audio
>>> with rag_audio.open("home") as audio:  # doctest: +SKIP
...     audio.index("my-library")
...     audio.generate("slow, warm piece", "out.wav", artist="Invented Artist")
...     audio.trace("out.wav")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rag_audio.pipeline.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(home: str | Path | None = None, **settings: Any) -> Workspace:
    """A workspace: an object with ``index``, ``search``, ``plan``, ``generate`` and ``trace``.

    Args:
        home: folder of the index, the ledger and the keys; None is ``RAG_AUDIO_HOME``.
        settings: fields of :class:`rag_audio.settings.Settings`; they win over the environment,
            which wins over ``settings.toml`` in the home.
    """
    from rag_audio.pipeline.workspace import open_workspace

    return open_workspace(home, **settings)

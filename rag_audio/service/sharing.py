"""The parts of a home, made ready for many threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from rag_audio.bootstrap import Workspace
from rag_audio.domain import Audio
from rag_audio.ports import Embedder

if TYPE_CHECKING:
    from rag_audio.ports import Vectors


def share(workspace: Workspace, *, generator: bool = True) -> None:
    """Make all parts now, so that no two threads make one, and let one embed at a time.

    Args:
        generator: load the model too; it is needed to plan.

    Raises:
        RagAudioError: a part cannot be made.
    """
    parts = workspace.parts
    made = parts.embedder
    if not isinstance(made, _OneAtATime):
        made = cast(Embedder, _OneAtATime(made))
        parts.__dict__["embedder"] = made
    _ = (parts.index, parts.catalogue, parts.ledger, parts.fingerprints, parts.landmarks)
    _ = (parts.watermarker, parts.signer, parts.soundfont, parts.device)
    _ = (parts.protected_names, parts.guard_actions)
    if generator:
        parts.generator(None)
    if made.text_weight > 0 or not made.untrained:
        made.embed_text(["ready"])


class _OneAtATime:
    """An embedder whose tokenizer and model are never in two threads at once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder, self._lock = embedder, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_audio(self, clips: Sequence[Audio]) -> Vectors:
        with self._lock:
            return self._embedder.embed_audio(clips)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            return self._embedder.embed_text(texts)

"""Change finished sound: in-painting, extension, variation; with the same rights as making it."""

from __future__ import annotations

from rag_audio.editing.editor import Editor
from rag_audio.editing.orders import Order, extension, inpainting, variation

__all__ = ["Editor", "Order", "extension", "inpainting", "variation"]

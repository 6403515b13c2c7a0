"""Change finished sound: in-painting, extension, variation; with the same rights as making it."""

from __future__ import annotations

from rag_audio.editing.editor import Editor
from rag_audio.editing.orders import MOST_S, Order, extension, inpainting, order_of, variation

__all__ = [
    "MOST_S",
    "Editor",
    "Order",
    "extension",
    "inpainting",
    "order_of",
    "variation",
]

"""Contract tests for parts that others write: what every part of a kind must do.

A plugin's tests subclass a contract, give it the part, and pytest runs it:

>>> from rag_audio.testing import EmbedderContract
>>> class TestMine(EmbedderContract):
...     def make(self):
...         return MyEmbedder()

pytest is not imported here. For readable failures call
``pytest.register_assert_rewrite("rag_audio.testing")`` in ``conftest.py``.
"""

from __future__ import annotations

from rag_audio.testing.embedder import EmbedderContract
from rag_audio.testing.generator import GeneratorContract
from rag_audio.testing.index import StemIndexContract
from rag_audio.testing.watermarker import WatermarkerContract

__all__ = ["EmbedderContract", "GeneratorContract", "StemIndexContract", "WatermarkerContract"]

"""A number hidden in sound: keyed, checked, and found again in cropped and recompressed copies."""

from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker

__all__ = ["SpreadSpectrumWatermarker"]

"""The contract of watermarkers, run by ours."""

from __future__ import annotations

from rag_audio.domain.ports import Watermarker
from rag_audio.testing import WatermarkerContract
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker


class TestSpreadSpectrum(WatermarkerContract):
    def make(self) -> Watermarker:
        return SpreadSpectrumWatermarker(b"a key of the contract test")

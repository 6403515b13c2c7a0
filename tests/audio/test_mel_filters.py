"""The mel filters are those of librosa, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from rag_audio.audio.dsp import mel_filters
from rag_audio.audio.librosa_cache import librosa_ready


@pytest.mark.parametrize(
    ("rate", "fft", "bands", "low", "high"),
    [
        (16_000, 1024, 64, 0.0, None),
        (22_050, 2048, 128, 0.0, None),
        (11_025, 1024, 48, 60.0, 5000.0),
        (48_000, 4096, 96, 1000.0, 20_000.0),
        (8000, 512, 20, 100.0, 900.0),
    ],
)
@pytest.mark.parametrize("equal_area", [True, False])
def test_filters_are_those_of_librosa(
    rate: int, fft: int, bands: int, low: float, high: float | None, equal_area: bool
) -> None:
    theirs = librosa_ready().filters.mel(
        sr=rate, n_fft=fft, n_mels=bands, fmin=low, fmax=high, norm="slaney" if equal_area else None
    )
    ours = mel_filters(rate, fft, bands, low, high, equal_area=equal_area)
    assert ours.dtype == np.float32
    assert np.array_equal(ours, theirs)

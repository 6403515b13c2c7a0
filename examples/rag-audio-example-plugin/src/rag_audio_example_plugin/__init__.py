"""An embedder without a model: how loud each band of a sound is, and which words a text has.

It is honest and small, not good: sounds with the same spectrum lie near each other, words that are
the same lie near each other, and words know nothing of sounds (``text_weight`` is 0, so that text
is searched by keywords alone).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

__all__ = ["BandLevels", "make_embedder"]

DEFAULT_BANDS = 32
FFT = 2048
LOWEST_HZ = 40.0


class BandLevels:
    """A :class:`rag_audio.domain.ports.Embedder`.

    Args:
        bands: D; bands between 40 Hz and 11 kHz, equally wide in octaves. 4 to 512.
    """

    def __init__(self, bands: int = DEFAULT_BANDS) -> None:
        if not 4 <= bands <= 512:
            raise InvalidInput(f"band-levels takes 4 to 512 bands, got {bands}")
        self.name = f"band-levels:{bands}"
        self.space = f"band-levels-1-{bands}"
        self.dimension = bands
        self.sample_rate = 22_050
        self.window_s = 10.0
        self.untrained = False
        self.text_weight = 0.0
        self._edges_hz = np.geomspace(LOWEST_HZ, self.sample_rate / 2, bands + 1)

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per clip; what follows ``window_s`` is not heard.

        Raises:
            InvalidInput: a clip is empty or not finite.
        """
        return _rows([self._levels(clip) for clip in clips], self.dimension)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``, one unit vector per text: its words, each at a place that its hash gives."""
        return _rows([self._words(text) for text in texts], self.dimension)

    def _levels(self, clip: Audio) -> NDArray[np.float64]:
        """Root of the energy in each band; all channels together, each by its mean or, where
        channels cancel, by the first."""
        frames = min(clip.frames, round(self.window_s * clip.sample_rate))
        if frames == 0:
            raise InvalidInput("a clip without samples cannot be embedded")
        heard = clip.samples[:, :frames].astype(np.float64)
        if not np.isfinite(heard).all():
            raise InvalidInput("a clip with samples that are not finite cannot be embedded")
        mono = heard.mean(axis=0)
        if np.abs(mono).max() < 1e-6 * np.abs(heard).max():
            mono = heard[0]
        energy = np.zeros(self.dimension)
        for block in _blocks(mono):
            spectrum = np.abs(np.fft.rfft(block * np.hanning(FFT))) ** 2
            hz = np.fft.rfftfreq(FFT, 1 / clip.sample_rate)
            energy += np.histogram(hz, self._edges_hz, weights=spectrum)[0]
        return np.sqrt(energy)

    def _words(self, text: str) -> NDArray[np.float64]:
        counts = np.zeros(self.dimension)
        for word in text.casefold().split():
            digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
            counts[int.from_bytes(digest[:8], "big") % self.dimension] += 1
        return counts


def make_embedder(argument: str, *, device: str) -> BandLevels:
    """The factory of the entry point ``rag_audio.embedders`` / ``band-levels``.

    Args:
        argument: what follows the colon in ``RAG_AUDIO_EMBEDDER=band-levels:64``: how many bands;
            empty: 32.
        device: not used; there is no model.
    """
    if not argument:
        return BandLevels()
    if not argument.isdecimal():
        raise InvalidInput(
            f"band-levels takes a number of bands, not {argument!r}", hint="band-levels:64"
        )
    return BandLevels(int(argument))


def _blocks(mono: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The sound in blocks of ``FFT`` samples, the last one padded with zeros."""
    for start in range(0, mono.size, FFT):
        block = mono[start : start + FFT]
        yield np.pad(block, (0, FFT - block.size))


def _rows(vectors: Sequence[NDArray[np.float64]], dimension: int) -> NDArray[np.float32]:
    """Unit vectors; one of zeros (silence, no words) becomes that of equal parts."""
    rows = np.zeros((len(vectors), dimension))
    for row, vector in zip(rows, vectors, strict=True):
        row[:] = vector if vector.any() else 1.0
        row /= np.linalg.norm(row)
    return rows.astype(np.float32)

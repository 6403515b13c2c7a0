"""Tags that nobody wrote: what the embedder hears in a stem, by words that it knows (zero-shot).

The mean of a stem's window vectors is compared with the words of every label, which are contrasts
of each other (Radford et al., "Learning transferable visual models from natural language
supervision", ICML 2021, section 3.1.4, with prompts as ensembles). How sure that is was measured
for the embedders of :data:`CURVES`; another one's own softmax is taken at its word.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import exp

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain import DerivedTag
from rag_audio.domain.ports import Embedder, ScaledSpace

SHOWN_FROM = 0.75
"""A tag that is told is right at least so often."""

LABELS: Mapping[str, tuple[str, ...]] = {
    "drums": ("drums", "snare drum", "hi-hat", "kick drum"),
    "bass": ("bass line", "synth bass", "electric bass", "bass"),
    "guitar": ("guitar", "acoustic guitar melody", "electric guitar chords", "distorted guitar"),
    "piano": ("piano", "piano melody", "grand piano chords"),
    "electric piano": ("electric piano chords", "e-piano melody"),
    "organ": ("organ chords", "church organ"),
    "strings": ("strings chords", "violin melody", "string section", "cello melody"),
    "brass": ("brass section", "trumpet melody", "french horn"),
    "reeds": ("saxophone melody", "clarinet melody", "oboe melody"),
    "flute": ("flute melody", "pan flute", "whistle"),
    "bells": ("bells", "vibraphone arpeggio", "glockenspiel", "music box"),
    "vocals": ("choir", "voice oohs", "vocal choir", "singing voice"),
    "synth lead": ("synth lead melody", "saw lead"),
    "synth pad": ("synth pad chords", "warm pad"),
    "plucked strings": ("harp arpeggio", "banjo", "koto melody"),
}
"""The words of each label; their mean stands for it."""

CURVES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "clap-c411de84bbc0bf24ef2427f98505a3fc": {"drums": (6.99, 0.49)},
}
"""By embedding space, for the labels that can be heard in it: slope and offset of the logistic
curve from a label's margin, its cosine less the best other's, to how probably it is right. Fitted
and measured by ``benchmarks/bench_derived_tags.py``; in the space of clap-mini only drums are heard
often enough in sound that was recorded."""


class TagListener:
    """Derives tags from vectors of one embedder; what it needs of words is embedded once.

    Nothing is derived by an embedder whose weights are random, or that is not in :data:`CURVES`
    and has no scale of its own (:class:`.ScaledSpace`).
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._curves = CURVES.get(embedder.space)
        scale = embedder.logit_scale if isinstance(embedder, ScaledSpace) else 0.0
        self._scale = 0.0 if embedder.untrained else scale

    def tags(self, vectors: NDArray[np.float32]) -> tuple[DerivedTag, ...]:
        """What is heard in a stem, the surest first.

        Args:
            vectors: of its windows, ``[W, D]`` of unit length; W may be 0.
        """
        if not len(vectors) or not (self._curves or self._scale):
            return ()
        heard = self._confidences(vectors)
        sure = [DerivedTag(tag, round(p, 2)) for tag, p in heard.items() if p >= SHOWN_FROM]
        return tuple(sorted(sure, key=lambda one: (-one.confidence, one.text)))

    def _confidences(self, vectors: NDArray[np.float32]) -> dict[str, float]:
        """By label, how probably it is right, 0…1; labels that are never told are left out."""
        cosines = self.cosines(vectors)
        if self._curves is None:
            logits = self._scale * cosines
            shares = np.exp(logits - logits.max())
            return dict(zip(LABELS, (shares / shares.sum()).tolist(), strict=True))
        margins = dict(zip(LABELS, margins_of(cosines).tolist(), strict=True))
        return {
            label: 1 / (1 + exp(-(slope * margins[label] + offset)))
            for label, (slope, offset) in self._curves.items()
        }

    def cosines(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of the stem's mean vector with each label, ``[L]``."""
        mean: NDArray[np.float64] = vectors.mean(axis=0, dtype=np.float64)
        return self._words @ _unit(mean)

    @cached_property
    def _words(self) -> NDArray[np.float64]:
        """A unit vector for each label, ``[L, D]``."""
        texts = [text for words in LABELS.values() for text in words]
        made = iter(self._embedder.embed_text(texts).astype(np.float64))
        means = [np.mean([next(made) for _ in words], axis=0) for words in LABELS.values()]
        return np.stack([_unit(mean) for mean in means])


def margins_of(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each label, its cosine less the best of the others, ``[L]``."""
    best, second = np.sort(cosines)[-1:-3:-1]
    return np.asarray(cosines - np.where(cosines == best, second, best))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))

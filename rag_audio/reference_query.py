"""What is looked for when references are sought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rag_audio import limits
from rag_audio.domain import Audio, Key, StemKind, Use, values
from rag_audio.domain.fields import key_of
from rag_audio.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEAVIEST = limits.Number(0, 1000)


@dataclass(frozen=True)
class Weights:
    """How much rankings count beside 1 for the keywords'; see ``benchmarks/bench_ranking.py``.

    Attributes:
        vectors: of nearness to the ready query vectors.
        effort: of how little a stem must be changed to have the wanted tempo and key.
    """

    vectors: float = 1.0
    effort: float = 0.25

    def __post_init__(self) -> None:
        values.settle(self, dict.fromkeys(("vectors", "effort"), values.number))
        for name in ("vectors", "effort"):
            _HEAVIEST.check(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class ReferenceQuery:
    """What to look for. Any mix of the first five parts; the others narrow it down.

    Attributes:
        text: words, matched by meaning and by keyword.
        audio: sound, matched by similarity; longer than the embedder's window it is cut in up to
            eight windows.
        vectors: ready query vectors ``[D]``, matched like ``audio``.
        like: ids of stems to resemble; they are not returned themselves.
        artist: only this artist's stems.
        wanted_bpm, wanted_key: what references will be brought to; the less it takes, the better.
        weights: how much these count.
        bpm: lowest and highest tempo; with ``octaves`` also half and double that.
        key: only this key; with ``fifths`` also its neighbours on the circle of fifths.
        kind, tags (any of them), min_duration_s (of the stem), stems, exclude: filters.
        uses: a license must grant at least one of these.
        style: a license must grant ``style`` as well, to an artist whom ``stems.csv`` names.
        k: at most so many references, 0…1000.
        variety: 0 takes the best ones, 1 the most different ones.
    """

    text: str = ""
    audio: Audio | None = None
    vectors: tuple[NDArray[np.float32], ...] = ()
    like: tuple[str, ...] = ()
    artist: str | None = None
    wanted_bpm: float | None = None
    wanted_key: Key | None = None
    weights: Weights = Weights()
    bpm: tuple[float, float] | None = None
    octaves: bool = True
    key: Key | None = None
    fifths: bool = False
    kind: StemKind | None = None
    tags: tuple[str, ...] = ()
    min_duration_s: float | None = None
    stems: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    uses: frozenset[Use] = frozenset({Use.PROMPT, Use.INIT_AUDIO})
    style: bool = False
    k: int = 10
    variety: float = 0.3

    def __post_init__(self) -> None:
        values.settle(self, _FIELDS, _UNSET)
        for name, limit in limits.SEARCH.items():
            value = getattr(self, name)
            for one in value if name == "bpm" and value is not None else (value,):
                limit.check("limit (k)" if name == "k" else name, one)
        if not self.uses:
            raise InvalidInput("uses is empty: say what the references are for")
        if self.bpm is not None and self.bpm[0] > self.bpm[1]:
            raise InvalidInput(
                f"bpm must be a range, the lowest tempo first, got {list(self.bpm)}",
                hint="such as --bpm 88-96",
            )
        if not self._asks_for_something():
            raise InvalidInput(
                "nothing to search for", hint="give a text, a sound, a stem, an artist or a filter"
            )

    def _asks_for_something(self) -> bool:
        given = (self.text.strip(), self.vectors, self.like, self.artist, self.tags, self.stems)
        rest = (self.audio, self.bpm, self.key, self.kind, self.min_duration_s)
        return any(given) or any(part is not None for part in rest)


def _tempos(name: str, value: object) -> tuple[float, float]:
    low, high = values.pair(name, value, "a lowest and a highest tempo")
    return values.number(name, low), values.number(name, high)


def _sound(name: str, value: object) -> Audio:
    if not isinstance(value, Audio):
        raise values.refused(name, value, "an Audio")
    return value


def _weights(name: str, value: object) -> Weights:
    if not isinstance(value, Weights):
        raise values.refused(name, value, "Weights")
    return value


def _query_vectors(name: str, value: object) -> tuple[NDArray[np.float32], ...]:
    """From a list of vectors, or rows ``[N, D]``."""
    wanted = "vectors [D] of finite numbers"
    if not isinstance(value, list | tuple | np.ndarray):
        raise values.refused(name, value, wanted)
    found = []
    for row in value:
        try:
            vector = np.asarray(row, dtype=np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise values.refused(name, row, wanted) from error
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise values.refused(name, row, wanted)
        found.append(vector)
    return tuple(found)


_FIELDS: dict[str, Callable[[str, object], object]] = {
    **dict.fromkeys(("text", "artist"), values.text),
    **dict.fromkeys(("like", "tags", "stems", "exclude"), values.texts),
    **dict.fromkeys(("wanted_bpm", "min_duration_s", "variety"), values.number),
    **dict.fromkeys(("octaves", "fifths", "style"), values.flag),
    **dict.fromkeys(("wanted_key", "key"), key_of),
    "audio": _sound,
    "vectors": _query_vectors,
    "weights": _weights,
    "bpm": _tempos,
    "kind": lambda name, value: values.one_of(name, value, StemKind),
    "uses": lambda name, value: values.some_of(name, value, Use),
    "k": values.whole,
}
_UNSET = frozenset(
    ["audio", "artist", "wanted_bpm", "wanted_key", "bpm", "key", "kind", "min_duration_s"]
)

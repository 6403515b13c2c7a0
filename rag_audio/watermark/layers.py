"""Marks over marks: what is heard, less the marks that were read already.

To a mark, every other of the same key is noise; those that were read are known, sign for sign, and
can be taken out before the next is looked for: successive interference cancellation, as in Patel &
Holtzman, "Analysis of a simple successive interference cancellation scheme in a DS/CDMA system",
IEEE Journal on Selected Areas in Communications 12(5), 1994.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rag_audio.watermark.grid import CELLS, ROWS_PER_CELL, Hearing, Map, cell_row
from rag_audio.watermark.sync import Place, Sound

_TINY = 1e-9

Layer = tuple[Place, NDArray[np.float32]]
"""Where a mark lies, and the ``[CELLS, B]`` signs of its block."""


class Remainder:
    """What a detector hears of a piece of sound, less some marks.

    Args:
        heard: the sound, or what is left of it.
        layers: marks to take out, at the tempo and pitch that they were read at.
    """

    def __init__(self, heard: Sound, layers: Iterable[Layer] = ()) -> None:
        self._heard = heard
        self._layers = list(layers)
        self._known: dict[tuple[float, Hearing], Map] = {}

    def cells(self, pitch: float = 1.0, every: int = 1, hearing: Hearing = "beside") -> Map:
        """``[K / every, B]``, as :meth:`rag_audio.watermark.grid.Heard.cells` has them."""
        if (pitch, hearing) not in self._known:
            cells = self._heard.cells(pitch, hearing=hearing)
            for place, signs in self._layers:
                cells = cells - _heard_as(cells, place, signs)
            self._known[pitch, hearing] = cells
        return self._known[pitch, hearing][::every]


def _heard_as(cells: Map, place: Place, signs: NDArray[np.float32]) -> Map:
    """``[K, B]``: how a mark is heard, by its level in each band and in each block.

    Between the middles of two cells a cell is heard as a mean of both, since the map averages over
    the length of one.
    """
    rows = np.arange(len(cells)) - place.row - cell_row(0.0, place.tempo)
    at = rows * place.tempo / ROWS_PER_CELL
    cell = np.floor(at).astype(np.int64)
    later = (at - cell).astype(np.float32)[:, None]
    shape = (1 - later) * signs[cell % CELLS] + later * signs[(cell + 1) % CELLS]
    along = cells * shape
    band = np.maximum(along.sum(axis=0) / (np.square(shape).sum(axis=0) + _TINY), 0.0)
    shape *= band.astype(np.float32)
    block = cell // CELLS - cell[0] // CELLS if len(cell) else cell
    told = np.bincount(block, np.einsum("kb,kb->k", cells, shape))
    power = np.bincount(block, np.einsum("kb,kb->k", shape, shape))
    gain = np.maximum(told / (power + _TINY), 0.0).astype(np.float32)
    made: Map = shape * gain[block][:, None]
    return made

"""A home as somebody sees it who may use some of its libraries only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, cast

from rag_audio.bootstrap import HomeParts
from rag_audio.domain import Rights, Stem
from rag_audio.errors import InvalidInput
from rag_audio.pipeline import Parts
from rag_audio.ports import Catalogue, LibraryInfo


def scoped(parts: HomeParts, libraries: Sequence[str] | None) -> Parts:
    """The parts with the catalogue of ``libraries``; None: of all there are."""
    if libraries is None:
        return parts
    return cast(Parts, _ScopedParts(parts, _ScopedCatalogue(parts.catalogue, libraries)))


class _ScopedParts:
    """Everything as the home has it, save the catalogue."""

    def __init__(self, parts: HomeParts, catalogue: _ScopedCatalogue) -> None:
        self._parts = parts
        self.catalogue = catalogue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts, name)


class _ScopedCatalogue:
    """Other libraries' stems cannot be found, and their licenses grant nothing.

    The licenses themselves stay: an output may not come too near to a stem of anybody's. Claims of
    other libraries on the same bytes neither bind nor show: whoever is refused for them would
    learn that another library holds the very same file.
    """

    def __init__(self, catalogue: Catalogue, libraries: Sequence[str]) -> None:
        self._catalogue, self._libraries = catalogue, frozenset(libraries)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalogue, name)

    def libraries(self) -> list[LibraryInfo]:
        return [one for one in self._catalogue.libraries() if one.id in self._libraries]

    def stems(self, artist: str | None = None) -> list[Stem]:
        return [one for one in self._catalogue.stems(artist) if one.library in self._libraries]

    def stem(self, id_prefix: str) -> Stem:
        found = self._catalogue.stem(id_prefix)
        if found.library in self._libraries:
            return found
        own = [one for one in self._catalogue.copies(found.id) if one.library in self._libraries]
        if not own:
            raise InvalidInput(
                f"no stem's id starts with {id_prefix!r}",
                hint="`rag-audio library` lists the stems that are indexed",
            )
        return own[0]

    def copies(self, id_: str) -> list[Stem]:
        return [one for one in self._catalogue.copies(id_) if one.library in self._libraries]

    def rights(self, territory: str | None, on: date) -> Rights:
        found = self._catalogue.rights(territory, on)
        licenses = {
            key: one if one.library in self._libraries else replace(one, uses=frozenset())
            for key, one in found.licenses.items()
        }
        own = {id_: one.within(self._libraries) for id_, one in found.conflicts.items()}
        conflicts = {id_: one for id_, one in own.items() if one is not None}
        return replace(found, licenses=licenses, conflicts=conflicts)

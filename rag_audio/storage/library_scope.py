"""A catalogue as a user sees it who may use some of the home's libraries only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from rag_audio.domain import Rights, Stem
from rag_audio.domain.clearance import Clearance
from rag_audio.domain.stems import LibraryInfo, WithheldFile
from rag_audio.storage.catalogue import SqlCatalogue


class LimitedCatalogue:
    """Other libraries' stems cannot be found, and their licenses grant nothing.

    The licenses themselves stay: an output may not come too near to a stem of anybody's. So do
    the ids of what was revoked. It is only read from: what is missing here writes, or tells of
    libraries that are not seen. Claims of other libraries on the same bytes neither bind nor show:
    whoever is refused for them would learn that another library holds the very same file.
    """

    def __init__(self, catalogue: SqlCatalogue, libraries: Iterable[str]) -> None:
        self._catalogue, self._libraries = catalogue, frozenset(libraries)

    def libraries(self) -> list[LibraryInfo]:
        return [one for one in self._catalogue.libraries() if one.id in self._libraries]

    def stems(self, artist: str | None = None) -> list[Stem]:
        return self._catalogue.stems(artist, self._libraries)

    def stem(self, id_prefix: str) -> Stem:
        return self._catalogue.stem(id_prefix, self._libraries)

    def file_of(self, stem: Stem) -> str:
        """Of any library: an output is held against stems that are not seen."""
        return self._catalogue.file_of(stem)

    def withheld_copies(self, id_: str) -> list[tuple[str, WithheldFile]]:
        found = self._catalogue.withheld_copies(id_)
        return [one for one in found if one[0] in self._libraries]

    def without_landmarks(self) -> set[str]:
        seen = (self._catalogue.without_landmarks(library) for library in sorted(self._libraries))
        return set[str]().union(*seen)

    def copies(self, id_: str) -> list[Stem]:
        return self._catalogue.copies(id_, self._libraries)

    def clearance(
        self, territory: str | None, on: date, *, stems: Iterable[Stem] | None = None
    ) -> Clearance:
        return self._catalogue.clearance(territory, on, self._libraries, stems)

    def rights(self, territory: str | None, on: date) -> Rights:
        found = self._catalogue.rights(territory, on, self._libraries)
        return found.limited_to(self._libraries)

"""A catalogue as somebody sees it who may use some of its libraries alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from typing import TYPE_CHECKING

from rag_audio.domain import Rights, Stem, StemKind
from rag_audio.domain.clearance import Clearance
from rag_audio.domain.holdings import PageEnd, StemCounts, StemPage, StemQuery
from rag_audio.domain.stems import LibraryInfo, WithheldFile

if TYPE_CHECKING:
    from rag_audio.storage.catalogue import SqlCatalogue
    from rag_audio.storage.library_files import StoredFile


class LimitedCatalogue:
    """A catalogue as a user sees it who may use some of the home's libraries only.

    Other libraries' stems cannot be found, and their licenses grant nothing.

    The licenses themselves stay: an output may not come too near to a stem of anybody's. So do
    the ids of what was revoked. It is only read from: methods that write, or that show other
    libraries, are missing here. Claims of other libraries on the same bytes neither bind nor show:
    whoever is refused for them would learn that another library holds the very same file.
    """

    def __init__(self, catalogue: SqlCatalogue, libraries: Iterable[str]) -> None:
        self._catalogue, self._libraries = catalogue, frozenset(libraries)

    def libraries(self) -> list[LibraryInfo]:
        return [one for one in self._catalogue.libraries() if one.id in self._libraries]

    def stems(self, artist: str | None = None) -> list[Stem]:
        return self._catalogue.stems(artist, self._libraries)

    def stems_by(self, artist: str) -> list[Stem]:
        return self._catalogue.stems_by(artist, self._libraries)

    def stems_under(self, keys: Collection[str], most: int) -> list[Stem]:
        return self._catalogue.stems_under(keys, most, self._libraries)

    def stems_claimed(self, key: str) -> list[Stem]:
        return self._catalogue.stems_claimed(key, self._libraries)

    def stems_with(self, ids: Iterable[str]) -> list[Stem]:
        return self._catalogue.stems_with(ids, self._libraries)

    def held(self, ids: Collection[str]) -> set[tuple[str, str]]:
        return self._catalogue.held(ids, self._libraries)

    def page(self, query: StemQuery, after: PageEnd | None = None, limit: int = 200) -> StemPage:
        return self._catalogue.page(query, after, limit, self._libraries)

    def counts(self, query: StemQuery) -> StemCounts:
        return self._catalogue.counts(query, self._libraries)

    def marked_revoked(self, most: int, kind: StemKind | None = None) -> tuple[list[Stem], int]:
        return self._catalogue.marked_revoked(most, kind, self._libraries)

    def stem(self, id_prefix: str) -> Stem:
        return self._catalogue.stem(id_prefix, self._libraries)

    def file_of(self, stem: Stem) -> str:
        """Of any library: an output is compared with stems that are not seen."""
        return self._catalogue.file_of(stem)

    def stored_file(self, stem: Stem) -> StoredFile:
        """As :meth:`file_of`."""
        return self._catalogue.stored_file(stem)

    def withheld_copies(self, id_: str) -> list[tuple[str, WithheldFile]]:
        found = self._catalogue.withheld_copies(id_)
        return [one for one in found if one[0] in self._libraries]

    def without_landmarks(self, *, most: int | None = None) -> set[str]:
        own = sorted(self._libraries)
        return set[str]().union(*(self._catalogue.without_landmarks(one, most) for one in own))

    def license_keys(self, kind: StemKind | None = None) -> frozenset[str]:
        return self._catalogue.license_keys(kind, self._libraries)

    def copies(self, id_: str) -> list[Stem]:
        return self._catalogue.copies(id_, self._libraries)

    def clearance(self, territory: str | None, on: date) -> Clearance:
        return self._catalogue.clearance(territory, on, self._libraries)

    def rights(self, territory: str | None, on: date) -> Rights:
        return self._catalogue.rights(territory, on, self._libraries, True)

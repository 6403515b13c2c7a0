"""What is done about a whole library before its files are measured, and when all are written.

One process does it, which holds the library. Rows are read some at a time, and points only where
the index does not hold as many as the rows explain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from indexer.commit import Copies
from indexer.index_points import Holdings, claims_of
from indexer.library_toml import decision_on, idle_decisions
from indexer.licenses import LibrarySpec
from indexer.measure import MEASURED_BY
from indexer.report import Rejection
from rag_audio.domain import Rights
from rag_audio.domain.stems import FileState
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import in_parts


class Settlement:
    """Keeps rows and points of a library in step."""

    def __init__(self, spec: LibrarySpec, holdings: Holdings, catalogue: SqlCatalogue) -> None:
        self._spec, self._holdings, self._catalogue = spec, holdings, catalogue

    def forget(self, paths: Iterable[str]) -> None:
        """Remove files: the points of stems that no other path has, then the rows."""
        for some in in_parts(sorted(set(paths))):
            rows = self._catalogue.files(self._spec.id, paths=some)
            ids = {row.stem.id for row in rows.values()}
            known = self._catalogue.files(self._spec.id, stem_ids=ids)
            kept = {row.stem.id for path, row in known.items() if path not in rows}
            self._holdings.remove(sorted(ids - kept))
            self._catalogue.remove_files(self._spec.id, rows)

    def decide(self, rows: Iterable[FileState], at_once: int) -> None:
        """Write what the library says now about files that are indexed already.

        Args:
            rows: whose decision changed, as :func:`decided` gives them.
        """
        changed = list(rows)
        for start in range(0, len(changed), at_once):
            self._catalogue.put_files(self._spec.id, changed[start : start + at_once])

    def reconcile(self, rights: Rights) -> bool:
        """Remove points that no file explains, and those of stems that were revoked.

        Searches leave the latter out from the first moment on.

        Args:
            rights: with the claims of this library alone.

        Returns:
            Whether the index has exactly the points that the rows explain.
        """
        expected, revoked = 0, []
        for page in self._catalogue.file_pages(self._spec.id, by_stem=True):
            copies = Copies(page, frozenset())
            for id_, row in {row.stem.id: row for row in page}.items():
                if copies.is_revoked(id_, rights):
                    revoked.append(id_)
                else:
                    expected += self._holdings.expected(row.stem)
        self._holdings.mark_revoked(revoked)
        if self._holdings.segments == expected:
            return True
        self._holdings.remove(revoked)
        if self._holdings.segments == expected:
            return True
        self._holdings.sweep(self._explained)
        return self._holdings.segments == expected

    def relabel(self, left: Collection[str], absent: frozenset[str], rights: Rights) -> None:
        """Settle whose metadata stems carry, and remove the points of those that no path has.

        Args:
            left: ids of stems that lost a path. Those of several paths are looked at in any case.
            absent: paths whose files are gone, and that are still known.
        """
        many = self._catalogue.stems_of_many_files(self._spec.id)
        for some in in_parts(sorted({*left, *many})):
            copies = Copies(self._catalogue.files(self._spec.id, stem_ids=some).values(), absent)
            lost = [id_ for id_ in some if not copies.has(id_)]
            self._holdings.remove(lost)
            for id_ in some:
                if copies.has(id_) and not copies.is_revoked(id_, rights):
                    self._holdings.relabel(copies.stem(id_))

    def outdated(self, absent: frozenset[str]) -> int:
        """Stems of files that are there, measured by a release before this one."""
        return sum(
            len(
                {
                    row.stem.id
                    for row in page
                    if row.path not in absent and row.measured_by < MEASURED_BY
                }
            )
            for page in self._catalogue.file_pages(self._spec.id, by_stem=True)
        )

    def idle_decisions(self, rights: Rights) -> list[Rejection]:
        """What is wrong with the library's decisions."""
        if not self._spec.decisions:
            return []
        rows = self._catalogue.files(self._spec.id)
        withheld = self._catalogue.withheld(self._spec.id)
        claims = claims_of(self._spec.id, rows, withheld)
        return idle_decisions(self._spec.decisions, claims, rights.conflicts)

    def _explained(self, stems: set[str]) -> set[str]:
        rows = self._catalogue.files(self._spec.id, stem_ids=stems)
        return {row.stem.id for row in rows.values()}


def known_paths(
    spec: LibrarySpec, catalogue: SqlCatalogue
) -> tuple[dict[str, str], list[FileState]]:
    """The paths of a library's rows with the ids of their stems, and the rows whose decision is
    another one now."""
    paths: dict[str, str] = {}
    changed = []
    for page in catalogue.file_pages(spec.id):
        for row in page:
            paths[row.path] = row.stem.id
            said = decision_on(spec.decisions, row.path)
            if row.decision != said:
                changed.append(replace(row, decision=said))
    return paths, changed

"""What lies in a library, held against what its tables declare: which files may be indexed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePosixPath

from indexer.globs import normalized
from indexer.licenses import Declared, LibrarySpec, is_misdeclared, match, withholding
from indexer.report import Rejection
from indexer.rows import STEMS_CSV
from indexer.scan import Candidate, looks_like_music, scan


@dataclass(frozen=True)
class Limits:
    """How large a file may be; what is larger is reported and not read.

    Attributes:
        max_bytes: of the file.
        max_duration_s: of its sound.
    """

    max_bytes: int = 2_000_000_000
    max_duration_s: float = 3600.0


@dataclass
class Survey:
    """The result: files to index with what is declared about them, in order of path, and the rest.

    Attributes:
        refused: files and folders that will not be indexed, with the reason.
        faults: what is wrong with the two tables.
        misdeclared: how many files were refused for that.
        withheld: refused files whose row names a license all the same: with the id of that
            license and the artist.
    """

    accepted: dict[str, tuple[Candidate, Declared]] = field(default_factory=dict)
    refused: list[Rejection] = field(default_factory=list)
    faults: list[Rejection] = field(default_factory=list)
    misdeclared: int = 0
    withheld: dict[str, tuple[Candidate, str, str]] = field(default_factory=dict)

    def vanished(self, paths: Collection[str]) -> list[str]:
        """Those of ``paths`` that are neither accepted nor refused: gone from the library.

        What lies in a folder that cannot be read now is not gone.
        """
        refused = {item.path for item in self.refused}
        return [
            path
            for path in paths
            if path not in self.accepted
            and path not in refused
            and "." not in refused
            and not any(str(parent) in refused for parent in PurePosixPath(path).parents)
        ]


def survey(spec: LibrarySpec, on: date, known: Collection[str], limits: Limits) -> Survey:
    """Walk the library and judge every file.

    Args:
        known: paths indexed before; they are reported even where they no longer look like music.
    """
    found = scan(spec.root)
    result = Survey(refused=list(found.rejected), faults=list(spec.problems))
    used: set[int] = set()
    for candidate in found.files:
        path = candidate.path
        used.update(row.number for row in spec.rows_of(path))
        declared = match(spec, path, on)
        if isinstance(declared, Rejection):
            result.misdeclared += is_misdeclared(spec, path)
            claim = withholding(spec, path)
            if claim is not None and 0 < candidate.size <= limits.max_bytes:
                result.withheld[path] = (candidate, *claim)
            named = bool(spec.rows_of(path))
            if named or path in known or looks_like_music(spec.root, path):
                result.refused.append(declared)
        elif candidate.size == 0:
            result.refused.append(Rejection(path, "it is empty"))
        elif candidate.size > limits.max_bytes:
            size = f"{candidate.size:,} bytes long, over {limits.max_bytes:,}"
            result.refused.append(Rejection(path, f"it is {size}"))
        else:
            result.accepted[path] = (candidate, declared)
    refused = {normalized(item.path) for item in found.rejected}
    for row in spec.rows:
        if row.number not in used and row.fault is None and row.pattern not in refused:
            reason = f"row {row.number} of {STEMS_CSV} matches no file"
            result.faults.append(Rejection(row.pattern, reason))
    return result

"""What a library claims: by the files it has indexed, and by those it may not index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from indexer.decisions import decision_on
from indexer.licenses import LibrarySpec
from indexer.scan import Candidate
from indexer.survey import Survey
from rag_audio.conflicts import Claim, Conflict, are_contested
from rag_audio.files import file_sha256
from rag_audio.ports import FileState, WithheldFile


def claim_of(row: FileState) -> Claim:
    """The claim of an indexed file."""
    stem = row.stem
    artist = stem.artist if stem.artist_declared else ""
    return Claim(stem.library, row.path, stem.license, artist, row.decision)


def claims_of(
    library: str, rows: Mapping[str, FileState], withheld: Mapping[str, WithheldFile]
) -> dict[str, tuple[str, Claim]]:
    """The claims of a library by path, each with the id of the stem."""
    found = {
        path: (one.stem, Claim(library, path, one.license, one.artist, one.decision))
        for path, one in withheld.items()
    }
    return found | {path: (row.stem.id, claim_of(row)) for path, row in rows.items()}


def local_conflict(stem: str, rows: Iterable[FileState]) -> Conflict | None:
    """The conflict over a stem among files of one library, or None."""
    claims = tuple(map(claim_of, rows))
    return Conflict(stem, claims) if are_contested(claims) else None


def withheld_files(
    spec: LibrarySpec,
    found: Survey,
    rows: Mapping[str, FileState],
    known: Mapping[str, WithheldFile],
    *,
    prune: bool,
) -> dict[str, WithheldFile]:
    """The files that are not indexed for their license's sake, by path, with their hashes.

    A file is read where nothing is known of it, or its size or time changed. One that is gone
    counts until it is pruned; one that cannot be read counts as it was known.

    Args:
        rows: files that were indexed before. known: files that were withheld before.
    """
    gone = () if prune else found.vanished(known.keys())
    result = {path: known[path] for path in gone}
    for path, (candidate, license, artist) in found.withheld.items():
        stem = _hash(spec, candidate, rows.get(path), known.get(path))
        if stem is None:
            continue
        result[path] = WithheldFile(
            path,
            candidate.size,
            candidate.mtime_ns,
            stem,
            license,
            artist,
            decision_on(spec.decisions, path),
        )
    return result


def _hash(
    spec: LibrarySpec, candidate: Candidate, row: FileState | None, before: WithheldFile | None
) -> str | None:
    """The sha256 of a file's bytes, hex; None where it cannot be read and never was."""
    state = (candidate.size, candidate.mtime_ns)
    if before is not None and (before.size, before.mtime_ns) == state:
        return before.stem
    if row is not None and (row.size, row.mtime_ns) == state:
        return row.stem.id
    try:
        return file_sha256(spec.root / candidate.path)
    except OSError:
        return None if before is None else before.stem

"""Files of a library as rows of the database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from rag_audio.domain import Stem, names
from rag_audio.domain.codec import decode, encode, json_form
from rag_audio.domain.stems import FileState
from rag_audio.errors import LibraryError
from rag_audio.storage.database import in_parts
from rag_audio.storage.rights_tables import files


@json_form(named="stem", flat=("stem",), later=("measured_by",))
@dataclass(frozen=True)
class _MeasuredStem:
    """The column ``stem`` of a file: what the stem says, and by which version it was measured."""

    stem: Stem
    measured_by: int = 0


def row_of(library: str, state: FileState) -> dict[str, Any]:
    """The row of a file.

    Raises:
        LibraryError: its stem belongs to another library.
    """
    if state.stem.library != library:
        raise LibraryError(f"{state.path!r} is a stem of {state.stem.library!r}, not {library!r}")
    return {
        "library": library,
        "path": state.path,
        "size": state.size,
        "mtime_ns": state.mtime_ns,
        "declared": state.declared,
        "space": state.space,
        "stem_id": state.stem.id,
        "artist": names.exact(state.stem.artist),
        "stem": json.dumps(
            encode(_MeasuredStem(state.stem, state.measured_by)), ensure_ascii=False
        ),
        "decision": state.decision,
    }


def state_of(row: Row[Any]) -> FileState:
    """What the row of a file says."""
    held = decode(_MeasuredStem, json.loads(row.stem))
    return FileState(
        row.path,
        row.size,
        row.mtime_ns,
        row.declared,
        row.space,
        held.stem,
        row.decision,
        held.measured_by,
    )


def delete_paths(connection: Connection, library: str, paths: list[str]) -> set[str]:
    """Delete the rows of files; the ids of the stems that they were."""
    stems: set[str] = set()
    for some in in_parts(paths):
        these = (files.c.library == library, files.c.path.in_(some))
        stems.update(connection.execute(select(files.c.stem_id).where(*these)).scalars())
        connection.execute(delete(files).where(*these))
    return stems

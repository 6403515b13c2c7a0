"""Libraries, licenses and stems in the SQL database: where rights live.

Every question opens its own transaction, so that a license that was withdrawn a second ago by
another process already counts.
"""

from __future__ import annotations

import json
import string
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from rag_audio import contested, names, revocations
from rag_audio.claims import claim
from rag_audio.conflicts import Conflict
from rag_audio.database import reading, writing
from rag_audio.domain import License, Rights, Stem
from rag_audio.errors import InvalidInput, LibraryError
from rag_audio.licensing import Revocation, RevocationOf
from rag_audio.migrations import migrate
from rag_audio.plans import license_from_json, license_to_json, stem_from_json, stem_to_json
from rag_audio.ports import FileState, LibraryInfo, WithheldFile

metadata = MetaData()

_libraries = Table(
    "libraries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("root", Text, nullable=False),
)

_licenses = Table(
    "licenses",
    metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("license", Text, nullable=False),
)

_files = Table(
    "files",
    metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("declared", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("stem_id", Text, nullable=False),
    Column("artist", Text, nullable=False),
    Column("stem", Text, nullable=False),
    Column("decision", Text, nullable=False, server_default=""),
    Index("files_by_stem", "stem_id"),
    Index("files_by_artist", "artist"),
)

contested.define(metadata)

_FILES_LOCK = "files"
"""Conflicts are found from the files of all libraries, so their writers take turns."""
_ROWS_AT_ONCE = 500
_SHOWN_IDS = 4


class SqlCatalogue:
    """The :class:`rag_audio.ports.Catalogue` on SQLite or PostgreSQL.

    Args:
        engine: from :func:`rag_audio.database.connect`; the tables are made when they are missing.

    Raises:
        ConfigError: a newer version made the database.
        LedgerTampered: the log of an older version does not match its hashes.
        BackendUnavailable: the database failed; every method may raise it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        migrate(engine)

    @contextmanager
    def claim(self, library: str) -> Iterator[None]:
        """Hold a library for writing; released at the end of the block or with the process.

        Raises:
            BackendUnavailable: somebody else holds it; the message names the holder.
        """
        with claim(self._engine, f"library {library}"):
            yield

    def put_library(self, library: str, name: str, root: str) -> None:
        """Insert a library or update its name and root.

        Raises:
            LibraryError: another folder that still exists has this id.
        """
        with writing(self._engine) as connection:
            old = connection.execute(
                select(_libraries.c.root).where(_libraries.c.id == library)
            ).scalar_one_or_none()
            if old is not None and old != root and _is_library(old) and not _same(old, root):
                raise LibraryError(
                    f"two folders call themselves library {library!r}: {old!r} and {root!r}",
                    hint="give one of them another name, or an id of its own in [library]",
                )
            if old is None:
                row = {"id": library, "name": name, "root": root}
                connection.execute(insert(_libraries), row)
            else:
                connection.execute(
                    _libraries.update()
                    .where(_libraries.c.id == library)
                    .values(name=name, root=root)
                )

    def libraries(self) -> list[LibraryInfo]:
        """All libraries, in order of id; ``stems`` counts files of different content."""
        count = func.count(_files.c.stem_id.distinct())
        query = (
            select(_libraries.c.id, _libraries.c.name, _libraries.c.root, count)
            .outerjoin(_files, _files.c.library == _libraries.c.id)
            .group_by(_libraries.c.id, _libraries.c.name, _libraries.c.root)
            .order_by(_libraries.c.id)
        )
        with reading(self._engine) as connection:
            return [LibraryInfo(*row) for row in connection.execute(query)]

    def put_licenses(self, library: str, licenses: Iterable[License]) -> None:
        """Replace all licenses of a library, in one transaction.

        Raises:
            LibraryError: a license belongs to another library.
        """
        rows = []
        for granted in licenses:
            if granted.library != library:
                raise LibraryError(
                    f"license {granted.id!r} belongs to library {granted.library!r}, "
                    f"not to {library!r}"
                )
            document = json.dumps(license_to_json(granted), ensure_ascii=False)
            rows.append({"library": library, "id": granted.id, "license": document})
        with writing(self._engine) as connection:
            connection.execute(delete(_licenses).where(_licenses.c.library == library))
            if rows:
                connection.execute(insert(_licenses), rows)

    def put_files(self, library: str, files: Iterable[FileState]) -> None:
        """Insert or replace by path, in one transaction."""
        rows = {state.path: _row_of(library, state) for state in files}
        if not rows:
            return
        with writing(self._engine, _FILES_LOCK) as connection:
            touched = _delete_paths(connection, library, list(rows))
            connection.execute(insert(_files), list(rows.values()))
            touched.update(row["stem_id"] for row in rows.values())
            contested.update(connection, _files, touched)

    def files(self, library: str) -> Mapping[str, FileState]:
        """All files of a library by path, in order of path."""
        query = select(_files).where(_files.c.library == library)
        with reading(self._engine) as connection:
            states = [_state_of(row) for row in connection.execute(query)]
        return {state.path: state for state in sorted(states, key=lambda state: state.path)}

    def remove_files(self, library: str, paths: Iterable[str]) -> None:
        """Forget files, in one transaction; unknown paths are ignored."""
        gone = list(paths)
        if gone:
            with writing(self._engine, _FILES_LOCK) as connection:
                contested.update(connection, _files, _delete_paths(connection, library, gone))

    def withheld(self, library: str) -> Mapping[str, WithheldFile]:
        """The files of a library whose license grants nothing, by path."""
        with reading(self._engine) as connection:
            return contested.withheld(connection, library)

    def withheld_artists(self) -> list[tuple[str, str, str]]:
        """(artist, library, license) that ``stems.csv`` gives to files which grant nothing."""
        with reading(self._engine) as connection:
            return contested.withheld_artists(connection)

    def put_withheld(self, library: str, files: Iterable[WithheldFile]) -> None:
        """Replace them all, in one transaction."""
        with writing(self._engine, _FILES_LOCK) as connection:
            touched = contested.put_withheld(connection, library, files)
            contested.update(connection, _files, touched)

    def stems(self, artist: str | None = None) -> list[Stem]:
        """The stems of all libraries, one per library and content, by library and path.

        Args:
            artist: only this artist's (:func:`rag_audio.names.same`).
        """
        query = select(_files.c.stem)
        if artist is not None:
            query = query.where(_files.c.artist == names.exact(artist))
        with reading(self._engine) as connection:
            stems = [_stem_of(text) for text in connection.execute(query).scalars()]
            conflicts = contested.read(connection)
        disputed = [stem for stem in stems if stem.id in conflicts]
        disputed.sort(key=lambda stem: contested.standing(stem, conflicts[stem.id]))
        stems.sort(key=_place)
        first: dict[tuple[str, str], Stem] = {}
        for stem in (*disputed, *stems):
            first.setdefault((stem.library, stem.id), stem)
        return sorted(first.values(), key=_place) if disputed else list(first.values())

    def stem(self, id_prefix: str, libraries: Collection[str] | None = None) -> Stem:
        """The stem whose id starts so; where its bytes lie at several places, the first of
        :meth:`copies`.

        Args:
            libraries: ids of those that are looked through; None: all.

        Raises:
            InvalidInput: none or several do, or the text is not the start of an id.
        """
        prefix = id_prefix.strip().lower()
        if not prefix or len(prefix) > 64 or not set(prefix) <= set(string.hexdigits):
            raise InvalidInput(
                f"{id_prefix!r} is not a stem id",
                hint="an id is up to 64 hexadecimal digits; `rag-audio search --json` shows them",
            )
        query = select(_files.c.stem_id, _files.c.stem).where(_files.c.stem_id.startswith(prefix))
        if libraries is not None:
            query = query.where(_files.c.library.in_(sorted(libraries)))
        with reading(self._engine) as connection:
            found = connection.execute(query).all()
            conflicts = contested.read(connection)
        ids = sorted({row.stem_id for row in found})
        if not ids:
            raise InvalidInput(
                f"no stem's id starts with {id_prefix!r}",
                hint="`rag-audio library` lists the stems that are indexed",
            )
        if len(ids) > 1:
            shown = ", ".join(_telling(id_, ids) for id_ in ids[:_SHOWN_IDS])
            more = "…" if len(ids) > _SHOWN_IDS else ""
            raise InvalidInput(
                f"{len(ids)} stems' ids start with {id_prefix!r}: {shown}{more}",
                hint="write more digits of the id",
            )
        stems = (_stem_of(row.stem) for row in found)
        return min(stems, key=lambda stem: contested.standing(stem, conflicts.get(stem.id)))

    def file_of(self, stem: Stem) -> str:
        """Absolute path of a stem's file: the stem's own, else one with the same bytes.

        Raises:
            LibraryError: its library is not in the catalogue.
        """
        with reading(self._engine) as connection:
            root = connection.execute(
                select(_libraries.c.root).where(_libraries.c.id == stem.library)
            ).scalar_one_or_none()
            twins = connection.execute(
                select(_files.c.path).where(
                    _files.c.library == stem.library, _files.c.stem_id == stem.id
                )
            ).scalars()
            paths = [stem.path, *sorted(set(twins) - {stem.path})]
        if root is None:
            raise LibraryError(
                f"library {stem.library!r} of stem {stem.id[:12]} is not in the catalogue",
                hint="index the library again",
            )
        places = [Path(root, path) for path in paths]
        return str(next((place for place in places if place.is_file()), places[0]))

    def copies(self, id_: str) -> list[Stem]:
        """The stems of all libraries with exactly these bytes, by library and path.

        Those whose license holds come first where others are set aside; then licenses and artists
        that differ order them before their paths do.
        """
        query = select(_files.c.stem).where(_files.c.stem_id == id_)
        with reading(self._engine) as connection:
            stems = [_stem_of(text) for text in connection.execute(query).scalars()]
            conflicts = contested.read(connection, id_)
        return sorted(stems, key=lambda stem: contested.standing(stem, conflicts.get(stem.id)))

    def rights(
        self, territory: str | None, on: date, libraries: Collection[str] | None = None
    ) -> Rights:
        """All licenses and revocations as they stand now, for one territory and moment or day.

        Args:
            libraries: whose claims on bytes, and whose artists, count; None: all.
        """
        with reading(self._engine) as connection:
            texts = connection.execute(select(_licenses.c.license)).scalars()
            licenses = [license_from_json(json.loads(text)) for text in texts]
            revoked = revocations.in_force(connection)
            artists = _targets(revoked, RevocationOf.ARTIST)
            conflicts = contested.read(connection)
            if libraries is not None:
                seen = {id_: one.within(libraries) for id_, one in conflicts.items()}
                conflicts = {id_: one for id_, one in seen.items() if one is not None}
            alone = _targets(revoked, RevocationOf.STEM)
            stems = alone | _stems_of_artists(connection, artists, conflicts, libraries)
        return Rights(
            {granted.key: granted for granted in licenses},
            territory,
            on,
            stems,
            artists,
            _targets(revoked, RevocationOf.LICENSE),
            conflicts,
            alone,
        )

    def revoke(self, revocation: Revocation) -> bool:
        """Put a revocation in force, at once and for every process.

        Returns:
            Whether it was not in force already; the first one then stays as it is.
        """
        with writing(self._engine, lock="revocations") as connection:
            return revocations.insert(connection, revocation, _artists(connection))

    def end_revocation(self, revocation: Revocation) -> bool:
        """Take back what was revoked before; ``by`` and ``at`` say who takes it back, and when.

        Returns:
            Whether it was in force.
        """
        with writing(self._engine, lock="revocations") as connection:
            return revocations.end(connection, revocation)

    def revocations(self) -> list[Revocation]:
        """Those in force, oldest first."""
        with reading(self._engine) as connection:
            return revocations.in_force(connection)


def _targets(revoked: Iterable[Revocation], of: RevocationOf) -> frozenset[str]:
    return frozenset(one.key for one in revoked if one.of is of)


def _stems_of_artists(
    connection: Connection,
    artists: frozenset[str],
    conflicts: Mapping[str, Conflict],
    libraries: Collection[str] | None,
) -> set[str]:
    """Ids of the stems of revoked artists, so that the filter of a search can name them.

    A copy that a decision sets aside is nobody's.
    """
    if not artists:
        return set()
    theirs = [name for name in _artists(connection) if names.is_revoked(name, artists)]
    found: set[str] = set()
    for start in range(0, len(theirs), _ROWS_AT_ONCE):
        some = theirs[start : start + _ROWS_AT_ONCE]
        query = select(_files.c.stem_id, _files.c.library, _files.c.path)
        if libraries is not None:
            query = query.where(_files.c.library.in_(sorted(libraries)))
        for id_, *place in connection.execute(query.where(_files.c.artist.in_(some))):
            conflict = conflicts.get(id_)
            if conflict is None or tuple(place) in {(c.library, c.path) for c in conflict.holding}:
                found.add(id_)
    return found


def _artists(connection: Connection) -> list[str]:
    return list(connection.execute(select(_files.c.artist).distinct()).scalars())


def _place(stem: Stem) -> tuple[str, str]:
    return stem.library, stem.path


def _row_of(library: str, state: FileState) -> dict[str, Any]:
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
        "stem": json.dumps(stem_to_json(state.stem), ensure_ascii=False),
        "decision": state.decision,
    }


def _state_of(row: Row[Any]) -> FileState:
    stem = _stem_of(row.stem)
    return FileState(row.path, row.size, row.mtime_ns, row.declared, row.space, stem, row.decision)


def _stem_of(text: str) -> Stem:
    return stem_from_json(json.loads(text))


def _delete_paths(connection: Connection, library: str, paths: list[str]) -> set[str]:
    """Delete the rows of files; the ids of the stems that they were."""
    stems: set[str] = set()
    for start in range(0, len(paths), _ROWS_AT_ONCE):
        some = paths[start : start + _ROWS_AT_ONCE]
        these = (_files.c.library == library, _files.c.path.in_(some))
        stems.update(connection.execute(select(_files.c.stem_id).where(*these)).scalars())
        connection.execute(delete(_files).where(*these))
    return stems


def _is_library(root: str) -> bool:
    return Path(root, "library.toml").is_file()


def _same(root: str, other: str) -> bool:
    return Path(other).exists() and Path(root).samefile(other)


def _telling(id_: str, ids: list[str]) -> str:
    """The shortest start of an id, at least 8 digits, that none of the others shares."""
    length = 8
    while length < len(id_) and sum(other.startswith(id_[:length]) for other in ids) > 1:
        length += 1
    return id_[:length]

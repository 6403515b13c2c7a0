"""Libraries, licenses and stems in the SQL database: where rights live.

Every question opens its own transaction, so that a license that was withdrawn a second ago by
another process already counts.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    delete,
    func,
    insert,
    select,
)

from rag_audio.domain import License, Rights, Stem, StemKind
from rag_audio.domain.clearance import TOLD_IDS, Clearance, checked_prefix, standing, the_one
from rag_audio.domain.codec import encode
from rag_audio.domain.holdings import (
    FACETS,
    MOST_VALUES,
    LibraryHoldings,
    PageEnd,
    StemCounts,
    StemPage,
    StemQuery,
    most_frequent,
)
from rag_audio.domain.landmarks import Landmarks
from rag_audio.domain.library_roots import LibraryRoots
from rag_audio.domain.licensing import Revocation, RevocationOf, RightsChange
from rag_audio.domain.stems import FileState, LibraryInfo, WithheldFile
from rag_audio.errors import LedgerTampered, LibraryError
from rag_audio.storage import landmarks as landmark_rows
from rag_audio.storage import rights_tables, stem_questions, stem_rows
from rag_audio.storage.catalogue_snapshot import (
    AskRevoked,
    Snapshot,
    View,
    take_snapshot,
    within,
)
from rag_audio.storage.database import ROWS_AT_ONCE, hold, in_parts, reading, writing
from rag_audio.storage.epoch import CatalogueEpoch, raise_epoch, read_epoch
from rag_audio.storage.file_rows import delete_paths, row_of, state_of
from rag_audio.storage.index_shards import SqlShards
from rag_audio.storage.library_files import (
    CopyRoom,
    StoredFile,
    has_object,
    is_there,
    is_url,
    stored_file,
)
from rag_audio.storage.limited_catalogue import LimitedCatalogue
from rag_audio.storage.locks import claim
from rag_audio.storage.migrations import migrate
from rag_audio.storage.rights_tables import RightsLog, withheld_files
from rag_audio.storage.rights_tables import files as _files
from rag_audio.storage.rights_tables import libraries as _libraries
from rag_audio.storage.rights_tables import licenses as _licenses
from rag_audio.storage.stem_rows import stem_groups, stems

_FILES_LOCK = "files"
"""Conflicts are found from the files of all libraries, so their writers take turns."""


class SqlCatalogue:
    """The catalogue of a home, on SQLite or PostgreSQL.

    The argument ``libraries`` of its methods are the ids of the libraries that are looked through,
    whose claims on bytes and whose artists alone count; None: all.

    Args:
        engine: from :func:`.connect`; the tables are made when they are missing.
        log: takes what changes; None: nothing is logged, and ``ledger verify`` then finds rows that
            the log does not know.
        roots: the folders that libraries lie in, by names that machines share.
        copies: where local copies of libraries at URLs are kept; None: nowhere.

    Raises:
        ConfigError: a newer version made the database.
        LedgerTampered: the log of an older version does not match its hashes.
        BackendUnavailable: the database failed; every method may raise it.
    """

    def __init__(
        self,
        engine: Engine,
        log: RightsLog | None = None,
        roots: LibraryRoots | None = None,
        copies: CopyRoom | None = None,
    ) -> None:
        self._engine, self._log, self._roots = engine, log, roots or LibraryRoots()
        self._copies = copies
        self._kept: Snapshot | None = None
        self._renewing = threading.Lock()
        migrate(engine)

    @property
    def index_shards(self) -> SqlShards:
        """The shards of libraries that are being indexed."""
        return SqlShards(self._engine)

    def claim(self, library: str) -> AbstractContextManager[None]:
        """Hold a library for writing; released at the end of the block or with the process.

        Raises:
            BackendUnavailable: somebody else holds it; the message names the holder.
        """
        return claim(self._engine, f"library {library}")

    def begin(self, library: str) -> tuple[str, ...]:
        """Compare a library's rows with the log before a run trusts them.

        Rows of files that were changed past the log are forgotten, so that the run measures every
        file anew; conflicts that do not follow from the files are found anew.

        Returns:
            What was changed past the log, in order: ``row`` (the library's own), ``license_rows``,
            ``files``, ``withheld``, ``conflicts``.

        Raises:
            LedgerTampered: rows of another library cannot be read.
        """
        if self._log is None:
            return ()
        with reading(self._engine) as connection:
            found = self._log.altered(connection, library)
            renewed = _has_wrong_conflicts(connection)
        if not found and not renewed:
            return ()
        with writing(self._engine, _FILES_LOCK) as connection:
            epoch = raise_epoch(connection)
            if found:
                self._log.changing(connection, library, found)
            if {"files", "withheld"} & found.keys():
                for table in (_files, withheld_files):
                    connection.execute(delete(table).where(table.c.library == library))
                landmark_rows.drop_unheld(connection)
                renewed = renewed or _has_wrong_conflicts(connection)
            ids = rights_tables.renew_conflicts(connection) if renewed else set()
            stem_rows.refresh_library(connection, library, ids, epoch)
        return (*found, *(("conflicts",) if renewed else ()))

    def seal(self, library: str) -> int | None:
        """Log digests of a library's rows, and the licenses in full, at the end of a run.

        The rows are read before the log is locked, since that takes a while for many of them:
        whoever writes to a library claims it.

        Returns:
            The entry's number; None where nothing changed since they were sealed.
        """
        if self._log is None:
            return None
        with reading(self._engine) as connection:
            if not self._log.is_changing(connection, library):
                return None
            digests = self._log.digests(connection, library)
        with writing(self._engine) as connection:
            return self._log.seal(connection, library, digests)

    def _changes(
        self, connection: Connection, library: str, licenses: Mapping[str, Any] | None = None
    ) -> None:
        if self._log is not None:
            self._log.changing(connection, library, licenses=licenses)

    def put_library(self, library: str, name: str, root: str) -> None:
        """Insert a library or update its name and root.

        Raises:
            LibraryError: another folder that still exists has this id.
        """
        new: dict[str, Any] = {"id": library, "name": name, "root": self._roots.stored(root)}
        with writing(self._engine) as connection:
            old = (
                connection.execute(select(_libraries).where(_libraries.c.id == library))
                .mappings()
                .one_or_none()
            )
            before = root if old is None else self._roots.here(old["root"])
            if before != root and self._are_two(before, root):
                what = "places" if is_url(before + root) else "folders"
                raise LibraryError(
                    f"two {what} call themselves library {library!r}: {before!r} and {root!r}",
                    hint="give one of them another name, or an id of its own in [library]",
                )
            new["salt"] = _salt(None if old is None else old["salt"])
            if old is not None and dict(old) == new:
                return
            raise_epoch(connection)
            if old is None:
                connection.execute(insert(_libraries), new)
            else:
                connection.execute(
                    _libraries.update().where(_libraries.c.id == library).values(**new)
                )
            self._changes(connection, library)

    def _are_two(self, root: str, other: str) -> bool:
        """Whether a place still holds a library, and another one is not the same place."""
        if is_url(root):
            return has_object(root, "library.toml", self._copies)
        if not Path(root, "library.toml").is_file():
            return False
        return is_url(other) or not (Path(other).exists() and Path(root).samefile(other))

    def libraries(self) -> list[LibraryInfo]:
        """All libraries, in order of id; ``stems`` counts files of different content."""
        by = stem_groups.c.library
        grouped = select(by, func.sum(stem_groups.c.stems)).group_by(by)
        disputed = select(stems.c.library, func.count()).where(stems.c.contested == 1)
        contested = disputed.group_by(stems.c.library)
        query = select(_libraries.c.id, _libraries.c.name, _libraries.c.root)
        with reading(self._engine) as connection:
            count = Counter[str]()
            for counts in (grouped, contested):
                for library, number in connection.execute(counts):
                    count[library] += number
            rows = connection.execute(query.order_by(_libraries.c.id)).all()
        here = self._roots.here
        return [LibraryInfo(row.id, row.name, here(row.root), count[row.id]) for row in rows]

    def put_licenses(self, library: str, licenses: Iterable[License]) -> None:
        """Replace all licenses of a library, in one transaction; the same ones change nothing.

        Raises:
            LibraryError: a license belongs to another library.
        """
        rows, told = [], {}
        for granted in licenses:
            if granted.library != library:
                raise LibraryError(
                    f"license {granted.id!r} belongs to library {granted.library!r}, "
                    f"not to {library!r}"
                )
            told[granted.id] = encode(granted)
            document = json.dumps(told[granted.id], ensure_ascii=False)
            rows.append({"library": library, "id": granted.id, "license": document})
        rows.sort(key=lambda row: row["id"])
        these = _licenses.c.library == library
        with writing(self._engine) as connection:
            old = connection.execute(select(_licenses).where(these)).mappings().all()
            if sorted(map(dict, old), key=lambda row: str(row["id"])) == rows:
                return
            raise_epoch(connection)
            connection.execute(delete(_licenses).where(these))
            if rows:
                connection.execute(insert(_licenses), rows)
            self._changes(connection, library, told)

    def put_files(
        self,
        library: str,
        files: Iterable[FileState],
        landmarks: Mapping[str, Landmarks] | None = None,
        unless: Callable[[Connection], None] | None = None,
    ) -> None:
        """Insert or replace by path, in one transaction.

        Args:
            landmarks: of stems among these files, by id; of others they stay as they are.
            unless: called in the transaction before anything is written; where it raises, nothing
                is.
        """
        states = {state.path: state for state in files}
        rows = {path: row_of(library, state) for path, state in states.items()}
        if not rows:
            return
        with writing(self._engine, _FILES_LOCK) as connection:
            if unless is not None:
                unless(connection)
            landmark_rows.put(connection, landmarks or {})
            for some in in_parts(list(rows)):
                these = (_files.c.library == library, _files.c.path.in_(some))
                for known in connection.execute(select(_files).where(*these)).mappings():
                    if rows[known["path"]] == dict(known):
                        del rows[known["path"]]
            if not rows:
                return
            touched = delete_paths(connection, library, list(rows))
            connection.execute(insert(_files), list(rows.values()))
            touched.update(row["stem_id"] for row in rows.values())
            told = {(library, path): states[path].stem for path in rows}
            self._touched(connection, library, touched, told)

    def files(
        self,
        library: str,
        *,
        paths: Collection[str] | None = None,
        stem_ids: Collection[str] | None = None,
    ) -> Mapping[str, FileState]:
        """Files of a library by path, in order of path.

        Args:
            paths: only at these. stem_ids: only those of these stems. Neither: all.
        """
        mine = select(_files).where(_files.c.library == library)
        column, values = (
            (_files.c.path, paths) if stem_ids is None else (_files.c.stem_id, stem_ids)
        )
        with reading(self._engine) as connection:
            if values is None:
                rows = connection.execute(mine).all()
            else:
                rows = []
                for some in in_parts(sorted(values)):
                    rows += connection.execute(mine.where(column.in_(some))).all()
        states = map(state_of, rows)
        return {state.path: state for state in sorted(states, key=lambda state: state.path)}

    def file_pages(self, library: str, *, by_stem: bool = False) -> Iterator[list[FileState]]:
        """All files of a library, some at a time; each page is read in a transaction of its own.

        Args:
            by_stem: in order of the stem's id, all files of a stem in one page; else by path.
        """
        column = _files.c.stem_id if by_stem else _files.c.path
        mine = select(_files).where(_files.c.library == library)
        last = ""
        while True:
            with reading(self._engine) as connection:
                page = mine.where(column > last).order_by(column).limit(ROWS_AT_ONCE)
                rows = list(connection.execute(page))
                if not rows:
                    return
                last = str(getattr(rows[-1], column.name))
                if by_stem:  # the last stem may have more files than the page had room for
                    rows = [row for row in rows if row.stem_id != last]
                    rows += connection.execute(mine.where(column == last))
            yield [state_of(row) for row in rows]

    def stems_of_many_files(self, library: str) -> list[str]:
        """Ids of the stems whose bytes lie at several paths of a library."""
        mine = select(_files.c.stem_id).where(_files.c.library == library)
        many = mine.group_by(_files.c.stem_id).having(func.count() > 1)
        with reading(self._engine) as connection:
            return sorted(connection.execute(many).scalars())

    def remove_files(self, library: str, paths: Iterable[str]) -> None:
        """Forget files, in one transaction; unknown paths are ignored."""
        gone = list(paths)
        if gone:
            with writing(self._engine, _FILES_LOCK) as connection:
                touched = delete_paths(connection, library, gone)
                if touched:
                    self._touched(connection, library, touched)

    def _touched(
        self,
        connection: Connection,
        library: str,
        ids: Collection[str],
        told: Mapping[tuple[str, str], Stem] = {},
        *,
        rights: bool = False,
    ) -> None:
        """Bring what follows from files up to date, after files of stems changed.

        Args:
            told: stems by library and path, which need not be read. rights: see
                :func:`.raise_epoch`.
        """
        contested = rights_tables.update_conflicts(connection, ids)
        epoch = raise_epoch(connection, rights=rights or contested)
        stem_rows.refresh(connection, ids, epoch, told)
        landmark_rows.drop_unheld(connection, ids)
        self._changes(connection, library)

    def move_space(self, library: str, old: str, new: str) -> None:
        """Note that what was embedded of a library's files in one space is in another one, too,
        which is in use from now on. The caller claims the library.

        Raises:
            LibraryError: the rows were changed past the log.
        """
        these = (_files.c.library == library, _files.c.space == old)
        with reading(self._engine) as connection:
            if connection.execute(select(_files.c.path).where(*these).limit(1)).first() is None:
                return
            is_sealed = self._log is not None and not self._log.is_changing(connection, library)
            if self._log is not None and self._log.altered(connection, library):
                raise LibraryError(
                    f"the rows of library {library!r} were changed past the log",
                    hint="rag-audio index on its folder brings them to what the files say",
                )
        with writing(self._engine, _FILES_LOCK) as connection:
            connection.execute(_files.update().where(*these).values(space=new))
            self._changes(connection, library)
        if is_sealed:
            self.seal(library)

    def without_landmarks(self, library: str | None = None, most: int | None = None) -> set[str]:
        """Ids of the indexed stems, of a library or of all, that lack landmarks of this version.

        Args:
            most: so many of them; None: all.
        """
        with reading(self._engine) as connection:
            return landmark_rows.lacking(connection, library, most)

    def withheld(self, library: str) -> Mapping[str, WithheldFile]:
        """The files of a library whose license grants nothing, by path."""
        with reading(self._engine) as connection:
            return rights_tables.withheld(connection, library)

    def withheld_copies(self, id_: str) -> list[tuple[str, WithheldFile]]:
        """The files with exactly these bytes whose license grants nothing, with their libraries."""
        with reading(self._engine) as connection:
            return rights_tables.withheld_copies(connection, id_)

    def put_withheld(self, library: str, files: Iterable[WithheldFile]) -> None:
        """Replace them all, in one transaction."""
        with writing(self._engine, _FILES_LOCK) as connection:
            touched = rights_tables.put_withheld(connection, library, files)
            if touched:
                self._touched(connection, library, touched, rights=True)

    def stems(
        self, artist: str | None = None, libraries: Collection[str] | None = None
    ) -> list[Stem]:
        """The stems of libraries, one per library and content, by library and path.

        All of them take time and memory: no request lists them.

        Args:
            artist: only this artist's (:func:`rag_audio.domain.names.same`).
        """
        if artist is not None:
            return self.stems_by(artist, libraries)
        with reading(self._engine) as connection:
            return stem_questions.read(connection, libraries)

    def stems_by(self, artist: str, libraries: Collection[str] | None = None) -> list[Stem]:
        """The stems of an artist (:func:`rag_audio.domain.names.same`), by library and path."""
        with reading(self._engine) as connection:
            return stem_questions.by_artist(connection, artist, libraries)

    def stems_under(
        self, keys: Collection[str], most: int, libraries: Collection[str] | None = None
    ) -> list[Stem]:
        """Some stems under licenses, neither contested nor revoked."""
        with reading(self._engine) as connection:
            return stem_questions.under_licenses(connection, keys, libraries, most)

    def stems_claimed(self, key: str, libraries: Collection[str] | None = None) -> list[Stem]:
        """The stems that a license claims, by its key, whether it holds or not."""
        with reading(self._engine) as connection:
            return stem_questions.by_license(connection, key, libraries)

    def stems_with(
        self, ids: Iterable[str], libraries: Collection[str] | None = None
    ) -> list[Stem]:
        """The stems with these ids, one per library and content."""
        with reading(self._engine) as connection:
            return stem_questions.by_ids(connection, ids, libraries)

    def held(
        self, ids: Collection[str], libraries: Collection[str] | None = None
    ) -> set[tuple[str, str]]:
        """(library, id) of those stems that libraries hold."""
        with reading(self._engine) as connection:
            return stem_questions.held(connection, ids, libraries)

    def page(
        self,
        query: StemQuery,
        after: PageEnd | None = None,
        limit: int = 200,
        libraries: Collection[str] | None = None,
    ) -> StemPage:
        """The stems that a query is about, in order of id and library."""
        with reading(self._engine) as connection:
            return stem_questions.page(connection, query, libraries, after, limit)

    def counts(self, query: StemQuery, libraries: Collection[str] | None = None) -> StemCounts:
        """How many stems a query is about, and the most frequent values that they have.

        Where kept counts do not answer, values are of 1,000 stems at most, and of more stems the
        total is exact where one tag, key or kind is asked for, alone or with artists or a license,
        and of 20,000 at most where a text is.
        """
        with reading(self._engine) as connection:
            view = self._view(connection, libraries)
            if not query.is_of_groups:
                found = stem_questions.counts(connection, query, libraries)
        part = _part_of(view, query)
        if query.is_of_groups:
            return part.kept("counts", lambda: _counts_of(part))
        one = None if found.is_exact else query.only_counted
        total = None if one is None else part.having(*one)
        return found if total is None else replace(found, total=total, is_exact=True)

    def license_keys(
        self, kind: StemKind | None = None, libraries: Collection[str] | None = None
    ) -> frozenset[str]:
        """Keys of all licenses that claim stems, of a kind: those of conflicts among them."""
        with reading(self._engine) as connection:
            view = self._view(connection, libraries)
        groups = [one for one in view.holdings.groups if kind is None or one.has(kind)]
        keys = {one.stem.license_key for one in groups}
        if keys:
            keys.update(key for one in view.conflicts.values() for key in one.keys)
        return frozenset(keys)

    def marked_revoked(
        self,
        most: int,
        kind: StemKind | None = None,
        libraries: Collection[str] | None = None,
    ) -> tuple[list[Stem], int]:
        """Stems that may be revoked, of a kind, and how many there are.

        Of contested ones some claim is revoked, which need not hold: rights decide.
        """
        with reading(self._engine) as connection:
            return stem_questions.may_be_revoked(connection, libraries, kind, most)

    def stem(self, id_prefix: str, libraries: Collection[str] | None = None) -> Stem:
        """The stem whose id starts so; where its bytes lie at several places, the first of
        :meth:`copies`.

        Raises:
            InvalidInput: none or several do, or the text is not the start of an id.
        """
        prefix = checked_prefix(id_prefix)
        with reading(self._engine) as connection:
            found = stem_questions.with_prefix(connection, prefix, libraries, TOLD_IDS)
            ids = sorted({stem.id for stem in found})
            number = len(ids)
            if number > 1 or len(found) == TOLD_IDS:
                ids, number = stem_questions.ids_with_prefix(
                    connection, prefix, libraries, TOLD_IDS
                )
            id_ = the_one(ids, number, id_prefix)
            if len(found) == 1:
                return found[0]
            copies = stem_questions.by_ids(connection, [id_], libraries)
            conflicts = within(rights_tables.read_conflicts(connection, [id_]), libraries)
        return min(copies, key=lambda stem: standing(stem, conflicts.get(id_)))

    def file_of(self, stem: Stem) -> str:
        """Absolute path or URL of a stem's file: the stem's own, else, in a folder, one with the
        same bytes.

        Raises:
            LibraryError: its library is not in the catalogue, or its folder not on this machine.
        """
        return str(self.stored_file(stem))

    def stored_file(self, stem: Stem) -> StoredFile:
        """Where a stem's bytes lie, as :func:`.local_file` opens it, here or in another process.

        Raises:
            LibraryError: as :meth:`file_of`.
        """
        root = None if self._kept is None else self._kept.roots.get(stem.library)
        if root is not None and not is_url(root):
            place = Path(self._roots.here(root), stem.path)
            if is_there(place):
                return place
        twins = select(_libraries.c.root, _files.c.path).outerjoin(
            _files, (_files.c.library == _libraries.c.id) & (_files.c.stem_id == stem.id)
        )
        with reading(self._engine) as connection:
            found = connection.execute(twins.where(_libraries.c.id == stem.library)).all()
        if not found:
            raise LibraryError(
                f"library {stem.library!r} of stem {stem.id[:12]} is not in the catalogue",
                hint="index the library again",
            )
        paths = [stem.path, *sorted({row.path for row in found} - {stem.path, None})]
        root = self._roots.require_here(found[0].root, stem.library)
        return stored_file(root, paths, self._copies)

    def copies(self, id_: str, libraries: Collection[str] | None = None) -> list[Stem]:
        """The stems of libraries with exactly these bytes, by library and path.

        Those whose license holds come first where others are set aside; then licenses and artists
        that differ order them before their paths do.
        """
        query = _of_libraries(select(_files.c.stem).where(_files.c.stem_id == id_), libraries)
        with reading(self._engine) as connection:
            found = [stem_questions.stem_of(text) for text in connection.execute(query).scalars()]
            conflicts = within(rights_tables.read_conflicts(connection, [id_]), libraries)
        return sorted(found, key=lambda stem: standing(stem, conflicts.get(stem.id)))

    def rights(
        self,
        territory: str | None,
        on: date,
        libraries: Collection[str] | None = None,
        limited: bool = False,
    ) -> Rights:
        """All licenses and revocations as they stand now, for one territory and moment or day.

        Args:
            limited: other libraries' licenses grant nothing, see :meth:`Rights.limited_to`.
        """
        with reading(self._engine) as connection:
            view = self._view(connection, libraries)
        return view.rights(territory, on, self._asks_revoked(libraries), limited=limited)

    def clearance(
        self, territory: str | None, on: date, libraries: Collection[str] | None = None
    ) -> Clearance:
        """All that decides what a request may use, of one state of the database.

        Args:
            libraries: those that may be used, see :meth:`Rights.limited_to`.
        """
        with reading(self._engine) as connection:
            epoch = read_epoch(connection)
            view = self._view(connection, libraries, epoch)
        return Clearance(
            view.rights(territory, on, self._asks_revoked(libraries)),
            view.holdings,
            self if libraries is None else LimitedCatalogue(self, libraries),
            view.limits,
            view.withheld,
            str(epoch),
        )

    def _view(
        self,
        connection: Connection,
        libraries: Collection[str] | None,
        epoch: CatalogueEpoch | None = None,
    ) -> View:
        """What libraries may use, of the transaction's epoch; kept until that changes."""
        epoch = epoch or read_epoch(connection)
        kept = self._kept
        if kept is None or kept.epoch != epoch:
            with self._renewing:
                kept = self._kept
                if kept is None or kept.epoch != epoch:
                    kept = take_snapshot(connection, epoch, kept)
                    self._kept = kept
        return kept.view(libraries)

    def _asks_revoked(self, libraries: Collection[str] | None) -> AskRevoked:
        def ask(ids: Collection[str]) -> Collection[str]:
            with reading(self._engine) as connection:
                return stem_questions.revoked_among(connection, ids, libraries)

        return ask

    def revoke(self, revocation: Revocation) -> RightsChange:
        """Put a revocation in force, at once and for every process, and log it.

        Returns:
            What changed; false where it was in force already: the first one then stays as it is.
        """
        with writing(self._engine, lock="revocations") as connection:
            hold(connection, _FILES_LOCK)
            last = 0 if self._log is None else self._log.last_revocation(connection)
            is_artist = revocation.of is RevocationOf.ARTIST
            known = stem_rows.artists_in(connection) if is_artist else ()
            rows = rights_tables.put_revocation(connection, revocation, known, last)
            return self._revoked(connection, revocation, rows, undo=False)

    def end_revocation(self, revocation: Revocation) -> RightsChange:
        """Take back what was revoked before, and log it; ``by`` and ``at`` say who takes it back,
        and when.

        Returns:
            What changed; false where it was not in force.
        """
        with writing(self._engine, lock="revocations") as connection:
            hold(connection, _FILES_LOCK)
            rows = rights_tables.end_revocation(connection, revocation)
            return self._revoked(connection, revocation, rows, undo=True)

    def _revoked(
        self, connection: Connection, asked: Revocation, rows: list[dict[str, Any]], *, undo: bool
    ) -> RightsChange:
        event = None
        if rows:
            epoch = raise_epoch(connection)
            for target in {row["target"] for row in rows}:
                changed = replace(asked, target=target)
                stem_rows.revocation_changed(connection, changed, epoch)
        if rows and self._log is not None:
            event = self._log.revoked(connection, asked, rows, undo=undo)
        return RightsChange(tuple(row["id"] for row in rows), event)

    def revocations(self) -> list[Revocation]:
        """Those in force, oldest first."""
        with reading(self._engine) as connection:
            return rights_tables.in_force(connection)


def _of_libraries(query: Select[Any], libraries: Collection[str] | None) -> Select[Any]:
    return query if libraries is None else query.where(_files.c.library.in_(sorted(libraries)))


def _part_of(view: View, query: StemQuery) -> LibraryHoldings:
    """The groups that a query is about, or some of whose stems it is about."""
    if (query.artists, query.license) == (None, None):
        return view.holdings
    none: frozenset[str] = frozenset()
    claims = {id_: conflict.keys for id_, conflict in view.conflicts.items()}
    some = (
        view.holdings.groups if query.artists is None else view.holdings.of_artists(query.artists)
    )
    return LibraryHoldings(tuple(g for g in some if query.has(g, claims.get(g.stem.id, none))))


def _counts_of(part: LibraryHoldings) -> StemCounts:
    values = {name: most_frequent(part.total(name), MOST_VALUES) for name in FACETS}
    return StemCounts(part.stems, values, part.stems)


def _has_wrong_conflicts(connection: Connection) -> bool:
    """Whether conflicts do not follow from the files, or cannot be found."""
    try:
        return bool(rights_tables.mismatched_conflicts(connection))
    except LedgerTampered:
        return True


def _salt(known: object) -> bytes:
    """The salt of a row: a new one where it has none that is right."""
    if isinstance(known, bytes) and len(known) == rights_tables.SALT_BYTES:
        return known
    return secrets.token_bytes(rights_tables.SALT_BYTES)

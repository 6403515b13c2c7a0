"""What a process keeps of a catalogue for as long as its epoch stands: rights and holdings.

Only what changed is read anew, and only what was written otherwise is decoded anew.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

from sqlalchemy import Connection, func, select

from rag_audio.domain import License, Rights, Stem, StemKind, names
from rag_audio.domain.clearance import NO_LICENSE_SIMILARITY
from rag_audio.domain.codec import decode
from rag_audio.domain.conflicts import Conflict
from rag_audio.domain.holdings import LibraryHoldings, StemGroup
from rag_audio.domain.licensing import RevocationOf
from rag_audio.storage import rights_tables, stem_questions
from rag_audio.storage.epoch import CatalogueEpoch
from rag_audio.storage.rights_tables import conflicts, files
from rag_audio.storage.stem_rows import BY_ID, stem_groups, stems

_VIEWS = 64
"""Sets of libraries of which a process keeps what they may use."""
AskRevoked = Callable[[Collection[str]], Collection[str]]

_File = tuple[str, str, str, str]
"""(stem id, library, path, artist) of a file."""


@dataclass(frozen=True, eq=False)
class _RightsRows:
    """What the tables of rights say, decoded."""

    texts: Mapping[str, License]
    licenses: Mapping[str, License]
    revoked: Mapping[RevocationOf, frozenset[str]]
    conflicts: Mapping[str, Conflict]
    withheld: tuple[tuple[str, str, str], ...]
    roots: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class View:
    """A snapshot as those see it who may use some libraries, or all.

    Attributes:
        licenses: by key; those of other libraries grant nothing.
        own_licenses: the same, as they are written.
        revoked: ids of stems: those that are revoked one by one, and contested ones of artists.
        withheld: (artist, library, license) of files which grant nothing.
        holdings: the stems of these libraries.
    """

    licenses: Mapping[str, License]
    own_licenses: Mapping[str, License]
    conflicts: Mapping[str, Conflict]
    revoked: frozenset[str]
    revocations: Mapping[RevocationOf, frozenset[str]]
    withheld: tuple[tuple[str, str, str], ...]
    holdings: LibraryHoldings

    def rights(
        self, territory: str | None, on: date, ask: AskRevoked, *, limited: bool = True
    ) -> Rights:
        """For one territory and moment or day; nothing is read or decoded for them.

        Args:
            limited: other libraries' licenses grant nothing.
        """
        of = self.revocations
        return Rights(
            self.licenses if limited else self.own_licenses,
            territory,
            on,
            self.revoked,
            of[RevocationOf.ARTIST],
            of[RevocationOf.LICENSE],
            self.conflicts,
            of[RevocationOf.STEM],
            ask if any(of.values()) else None,
        )

    @cached_property
    def limits(self) -> Mapping[str, float]:
        """See :attr:`.Clearance.limits`."""
        found = {key: granted.max_similarity for key, granted in self.licenses.items()}
        for key in self.holdings.license_keys:
            found.setdefault(key, NO_LICENSE_SIMILARITY)
        for id_, conflict in self.conflicts.items():
            keys = conflict.outcome.licenses
            found[id_] = min(found.get(key, NO_LICENSE_SIMILARITY) for key in keys)
        return found


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A catalogue as it stood at an epoch."""

    epoch: CatalogueEpoch
    _rights: _RightsRows
    _groups: Mapping[str, StemGroup]
    _contested: tuple[Stem, ...]
    _files: tuple[_File, ...]
    _views: OrderedDict[frozenset[str] | None, View] = field(default_factory=OrderedDict)

    @property
    def roots(self) -> Mapping[str, str]:
        """Folders of the libraries, by id."""
        return self._rights.roots

    def view(self, libraries: Collection[str] | None) -> View:
        """As some libraries alone see it; None: all."""
        key = None if libraries is None else frozenset(libraries)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self._seen(key)
            if len(self._views) > _VIEWS:
                self._views.popitem(last=False)
        return found

    def _seen(self, libraries: frozenset[str] | None) -> View:
        rights = self._rights
        seen = within(rights.conflicts, libraries)
        licenses = rights.licenses
        if libraries is not None:
            licenses = {
                key: one if one.library in libraries else replace(one, uses=frozenset())
                for key, one in licenses.items()
            }
        artists = rights.revoked[RevocationOf.ARTIST]
        gone = _of_artists(self._files, artists, seen, libraries) if artists else set()
        if libraries is not None:
            ended = rights.revoked[RevocationOf.LICENSE]
            gone |= _of_licenses(rights.conflicts, ended, seen, libraries)
        alone = rights.revoked[RevocationOf.STEM]
        return View(
            licenses,
            rights.licenses,
            seen,
            alone | gone if gone else alone,
            rights.revoked,
            tuple(row for row in rights.withheld if libraries is None or row[1] in libraries),
            LibraryHoldings(self._groups_of(libraries)),
        )

    def _groups_of(self, libraries: frozenset[str] | None) -> tuple[StemGroup, ...]:
        groups = [
            group
            for group in self._groups.values()
            if libraries is None or group.stem.library in libraries
        ]
        groups += [
            StemGroup.of(stem)
            for stem in self._contested
            if libraries is None or stem.library in libraries
        ]
        return tuple(sorted(groups, key=_place))


def take_snapshot(db: Connection, epoch: CatalogueEpoch, last: Snapshot | None) -> Snapshot:
    """What the catalogue is now.

    Args:
        epoch: as the transaction sees it.
        last: what was kept of an earlier epoch; what has not changed since is taken from it.
    """
    if last is not None and last.epoch.number >= epoch.number:
        last = None
    if last is not None and last.epoch.number >= epoch.rights:
        rights, contested, claims = last._rights, last._contested, last._files
        # The files of contested stems may have changed otherwise than in what they claim.
        if contested:
            contested, claims = _read_contested(db), _read_files(db, rights)
    else:
        rights = _read_rights(db, None if last is None else last._rights)
        contested = _read_contested(db) if rights.conflicts else ()
        claims = _read_files(db, rights)
    groups = _read_groups(db, last)
    return Snapshot(epoch, rights, groups, contested, claims)


def _read_rights(db: Connection, last: _RightsRows | None) -> _RightsRows:
    rows = rights_tables.rows_of_rights(db)
    known = {} if last is None else last.texts
    texts = {
        text: known.get(text) or decode(License, json.loads(text)) for text, *_ in rows["license"]
    }
    revoked = {
        of: frozenset(key for kind, key, *_ in rows["revocation"] if kind == of.value)
        for of in RevocationOf
    }
    withheld = ((artist, library, license) for artist, library, license, *_ in rows["withheld"])
    return _RightsRows(
        texts,
        {granted.key: granted for granted in texts.values()},
        revoked,
        rights_tables.conflicts_of(rows["conflict"]),
        tuple(sorted(withheld)),
        {library: root for library, root, *_ in rows["library"]},
    )


def _read_contested(db: Connection) -> tuple[Stem, ...]:
    return tuple(stem_questions.read(db, None, stems.c.contested == 1))


def _read_files(db: Connection, rights: _RightsRows) -> tuple[_File, ...]:
    """The files of contested stems, where an artist is revoked."""
    if not (rights.conflicts and rights.revoked[RevocationOf.ARTIST]):
        return ()
    wanted = select(files.c.stem_id, files.c.library, files.c.path, files.c.artist)
    contested = files.c.stem_id.in_(select(conflicts.c.stem_id))
    return tuple((a, b, c, d) for a, b, c, d in db.execute(wanted.where(contested)))


def _read_groups(db: Connection, last: Snapshot | None) -> Mapping[str, StemGroup]:
    groups = {} if last is None else dict(last._groups)
    query = select(stem_groups)
    if last is not None:
        query = query.where(stem_groups.c.changed > last.epoch.number)
    rows = db.execute(query).all()
    one_of = _revoked_samples(db) if any(row.revoked and row.stems for row in rows) else {}
    for row in rows:
        if not row.stems:
            groups.pop(row.id, None)
            continue
        key = (row.library, row.license, row.artist, row.declared)
        counts = json.loads(row.counts)
        kind = StemKind(next(iter(counts.get("kind", {StemKind.AUDIO.value: 1}))))
        id_ = one_of.get(key, "") if row.revoked else ""
        stem = Stem(id_, row.library, "", kind, row.license, 0.0, row.artist, bool(row.declared))
        groups[row.id] = StemGroup(stem, row.stems, counts)
    return groups


def _revoked_samples(db: Connection) -> dict[tuple[str, str, str, int], str]:
    """One stem of each group of those that are revoked by their ids."""
    columns = (stems.c.library, stems.c.license, stems.c.artist, stems.c.declared)
    query = select(*columns, func.min(stems.c.stem_id)).where(
        stems.c.contested == 0, stems.c.revoked > 0, stems.c.revoked.op("&")(BY_ID) > 0
    )
    found = db.execute(query.group_by(*columns)).all()
    return {(row[0], row[1], row[2], row[3]): row[4] for row in found}


def _place(group: StemGroup) -> tuple[str, str, str, str, bool, str]:
    stem = group.stem
    return stem.library, stem.license, stem.artist, stem.path, stem.artist_declared, stem.id


def within(
    known: Mapping[str, Conflict], libraries: Collection[str] | None
) -> Mapping[str, Conflict]:
    """The conflicts as some libraries alone see them."""
    if libraries is None:
        return known
    seen = {id_: one.within(libraries) for id_, one in known.items()}
    return {id_: one for id_, one in seen.items() if one is not None}


def _of_licenses(
    known: Mapping[str, Conflict],
    ended: Collection[str],
    seen: Mapping[str, Conflict],
    libraries: Collection[str],
) -> set[str]:
    """Ids of stems that are contested, but not as some libraries see them, and are there under a
    revoked license: the rows of stems tell of the conflict alone."""
    return {
        id_
        for id_, conflict in known.items()
        if id_ not in seen
        and any(one.library in libraries and one.key in ended for one in conflict.claims)
    }


def _of_artists(
    claims: Collection[_File],
    artists: frozenset[str],
    seen: Mapping[str, Conflict],
    libraries: Collection[str] | None,
) -> set[str]:
    """Ids of the contested stems of revoked artists, by any file that a decision leaves a say."""
    found = set()
    for id_, library, path, artist in claims:
        if libraries is not None and library not in libraries:
            continue
        if not names.is_revoked(artist, artists):
            continue
        conflict = seen.get(id_)
        if conflict is None or (library, path) in {(c.library, c.path) for c in conflict.holding}:
            found.add(id_)
    return found

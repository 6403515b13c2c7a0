"""Stems as they are asked for: one row for a library and content, and counts of them by group.

The rows follow from the tables of files, conflicts and revocations, and are made anew in the
transactions that change these. :mod:`.stem_questions` reads them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    Table,
    Text,
    and_,
    delete,
    insert,
    or_,
    select,
)

from rag_audio.domain import Stem, names
from rag_audio.domain.clearance import standing
from rag_audio.domain.codec import decode
from rag_audio.domain.conflicts import Conflict
from rag_audio.domain.holdings import COUNTED, counted_values
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.errors import RagAudioError
from rag_audio.storage import rights_tables
from rag_audio.storage.database import in_parts
from rag_audio.storage.epoch import metadata, read_epoch
from rag_audio.storage.rights_tables import conflicts, files

BY_ID, BY_ARTIST, BY_LICENSE = 1, 2, 4
"""Bits of ``stems.revoked``."""
_ALL_BITS = BY_ID | BY_ARTIST | BY_LICENSE

stems = Table(
    "stems",
    metadata,
    Column("library", Text, primary_key=True),
    Column("stem_id", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("license", Text, nullable=False),
    Column("artist", Text, nullable=False),
    Column("declared", Integer, nullable=False),
    Column("contested", Integer, nullable=False),
    Column("revoked", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("sample_type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("bpm", Float(53)),
    Column("tags", Text, nullable=False),
    Column("caption", Text, nullable=False),
    Index("stems_by_id", "stem_id", "library"),
    Index("stems_by_artist", "artist", "stem_id"),
    Index("stems_by_license", "library", "license", "stem_id"),
    Index("stems_by_state", "contested", "revoked", "stem_id"),
)
"""The first copy of every content in each library (:func:`.standing`): ``path`` names its file.

``artist`` is as :func:`rag_audio.domain.names.exact` writes it, ``tags`` a JSON list, ``caption``
folded. ``contested``: the bytes are in the table of conflicts. ``revoked``: bits, see above; of
contested bytes a bit says that some claim on them is revoked, not that it holds.
"""
stem_tags = Table(
    "stem_tags",
    metadata,
    Column("library", Text, primary_key=True),
    Column("stem_id", Text, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("folded", Text, nullable=False),
    Index("stem_tags_by_tag", "folded", "stem_id", "library"),
)
"""``folded``: :meth:`str.casefold`."""
stem_groups = Table(
    "stem_groups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("library", Text, nullable=False),
    Column("license", Text, nullable=False),
    Column("artist", Text, nullable=False),
    Column("declared", Integer, nullable=False),
    Column("revoked", Integer, nullable=False),
    Column("stems", Integer, nullable=False),
    Column("counts", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("stem_groups_by_change", "changed"),
    Index("stem_groups_by_artist", "artist"),
)
"""Stems that are not contested and that rights cannot tell apart, counted.

``revoked``: whether they are, by their own ids. ``counts``: JSON, how many have each value
(:data:`.COUNTED`). ``changed``: the epoch that changed the row last; one without stems stays.
"""
TABLES = (stems, stem_tags, stem_groups)


def unindexed(column: Column[int]) -> ColumnElement[int]:
    """A column in a condition that nearly all rows meet: SQLite, which knows nothing of how many
    rows have a value, would read them all by an index on it."""
    return column + 0


_Group = tuple[str, str, str, int, int]
"""(library, license, artist, declared, revoked by id)."""


@dataclass
class _Change:
    """What becomes more, or less, in a group."""

    stems: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


@dataclass(frozen=True)
class _Withdrawn:
    """The artists and licenses that are revoked, by their keys."""

    artists: frozenset[str]
    licenses: frozenset[str]

    def bits(self, key: str, artist: str) -> int:
        """Those of a stem or claim, the one of the stem's own id aside."""
        return (BY_LICENSE if key in self.licenses else 0) | (
            BY_ARTIST if names.is_revoked(artist, self.artists) else 0
        )


def refresh(
    db: Connection, ids: Iterable[str], epoch: int, told: Mapping[tuple[str, str], Stem] = {}
) -> None:
    """Make the rows of stems anew from their files, and count them.

    Args:
        ids: of stems whose files, conflicts or revocations changed.
        epoch: which counts the change.
        told: stems by library and path, as their files have them now; others are read.
    """
    changes: dict[_Group, _Change] = defaultdict(_Change)
    withdrawn = _withdrawn(db)
    for some in in_parts(sorted(set(ids))):
        before = db.execute(select(stems).where(stems.c.stem_id.in_(some))).mappings().all()
        made = list(_rows(db, some, withdrawn, told))
        for old in before:
            _count(changes, old, -1)
        for row in made:
            _count(changes, row, 1)
        # Tags are kept by library: without it all of them would be read.
        whose = {str(old["library"]) for old in before} | {row["library"] for row in made}
        for library in sorted(whose):
            own = (stem_tags.c.library == library, stem_tags.c.stem_id.in_(some))
            db.execute(delete(stem_tags).where(*own))
        db.execute(delete(stems).where(stems.c.stem_id.in_(some)))
        tags = [tag for row in made for tag in _tag_rows(row)]
        for table, rows in ((stems, made), (stem_tags, tags)):
            if rows:
                db.execute(insert(table), rows)
    _apply(db, changes, epoch)


def refresh_library(db: Connection, library: str, ids: Iterable[str], epoch: int) -> None:
    """As :func:`refresh`, of further ids and all that a library has rows of."""
    own = select(stems.c.stem_id).where(stems.c.library == library)
    refresh(db, {*db.execute(own).scalars(), *ids}, epoch)


def fill(db: Connection, epoch: int) -> None:
    """Make all rows, of a database that has none: a part at a time, by id, in constant memory."""
    last, wanted = "", select(files.c.stem_id).distinct().order_by(files.c.stem_id).limit(5000)
    while some := db.execute(wanted.where(files.c.stem_id > last)).scalars().all():
        refresh(db, some, epoch)
        last = some[-1]


def revocation_changed(db: Connection, changed: Revocation, epoch: int) -> None:
    """Mark the stems that a revocation is about, after it came in force or was taken back."""
    if changed.of is RevocationOf.STEM:
        refresh(db, [changed.target], epoch)
        return
    withdrawn = _withdrawn(db)
    if changed.of is RevocationOf.LICENSE:
        library, _, license = changed.target.partition("/")
        own = (stems.c.library == library, stems.c.license == license)
        _mark(db, BY_LICENSE, own, on=changed.target in withdrawn.licenses)
        its_claim = and_(conflicts.c.library == library, conflicts.c.license == license)
        about = or_(its_claim, conflicts.c.decision == changed.target)
        refresh(db, db.execute(select(conflicts.c.stem_id).where(about)).scalars(), epoch)
        return
    alike = [name for name in artists_in(db) if _alike(name, changed.target)]
    for some in in_parts(alike):
        for on in (True, False):
            these = [name for name in some if names.is_revoked(name, withdrawn.artists) is on]
            if these:
                _mark(db, BY_ARTIST, (stems.c.artist.in_(these),), on=on)
        contested = select(conflicts.c.stem_id).join(
            files, (files.c.library == conflicts.c.library) & (files.c.path == conflicts.c.path)
        )
        refresh(db, db.execute(contested.where(files.c.artist.in_(some))).scalars(), epoch)
    claimed = db.execute(select(conflicts.c.stem_id, conflicts.c.artist).distinct())
    refresh(db, [row.stem_id for row in claimed if _alike(row.artist, changed.target)], epoch)


def artists_in(db: Connection) -> list[str]:
    """The artists of all files, as :func:`.names.exact` writes them."""
    of_groups = select(stem_groups.c.artist).where(stem_groups.c.stems > 0).distinct()
    contested = select(files.c.artist).where(files.c.stem_id.in_(select(conflicts.c.stem_id)))
    return sorted(set(db.execute(of_groups.union(contested)).scalars()))


def _alike(name: str, other: str) -> bool:
    """Whether a revocation of one name may be about another one."""
    return names.fold(name) == names.fold(other) if names.fold(other) else names.same(name, other)


def _mark(db: Connection, bit: int, these: Collection[Any], *, on: bool) -> None:
    marked = stems.c.revoked.op("|")(bit) if on else stems.c.revoked.op("&")(_ALL_BITS ^ bit)
    is_plain = unindexed(stems.c.contested) == 0
    db.execute(stems.update().where(*these, is_plain).values(revoked=marked))


def _withdrawn(db: Connection) -> _Withdrawn:
    keys: dict[str, set[str]] = {of.value: set() for of in RevocationOf}
    wanted = rights_tables.keys_in_force()
    aside = rights_tables.revocations.c.kind != RevocationOf.STEM.value
    for kind, key in db.execute(wanted.where(aside)):
        keys.setdefault(kind, set()).add(key)
    return _Withdrawn(
        frozenset(keys[RevocationOf.ARTIST.value]), frozenset(keys[RevocationOf.LICENSE.value])
    )


def _rows(
    db: Connection,
    ids: Collection[str],
    withdrawn: _Withdrawn,
    told: Mapping[tuple[str, str], Stem],
) -> Iterator[dict[str, Any]]:
    """The rows of stems, by what their files say."""
    wanted = select(files.c.library, files.c.path, files.c.stem_id, files.c.stem)
    held = db.execute(wanted.where(files.c.stem_id.in_(ids))).all()
    found = [stem for row in held if (stem := _stem(row, told)) is not None]
    disputed = rights_tables.read_conflicts(db, ids)
    revoked = _revoked_by_id(db, ids)
    found.sort(key=lambda stem: (stem.library, stem.id))
    for (library, id_), copies in groupby(found, key=lambda stem: (stem.library, stem.id)):
        conflict = disputed.get(id_)
        first = min(copies, key=lambda stem: standing(stem, conflict))
        bits = BY_ID if id_ in revoked else 0
        if conflict is None:
            bits |= withdrawn.bits(first.license_key, first.artist)
        else:
            bits |= _bits_of(conflict, [one for one in found if one.id == id_], withdrawn)
        yield _row(library, first, contested=conflict is not None, revoked=bits)


def _bits_of(conflict: Conflict, copies: Iterable[Stem], withdrawn: _Withdrawn) -> int:
    bits = 0
    for claim in conflict.claims:
        bits |= withdrawn.bits(claim.key, claim.artist)
    for copy in copies:
        bits |= withdrawn.bits(copy.license_key, copy.artist)
    # A decision may name a license under which there is no copy any more.
    for key in conflict.outcome.licenses:
        bits |= withdrawn.bits(key, "")
    return bits


def _stem(row: Any, told: Mapping[tuple[str, str], Stem]) -> Stem | None:
    known = told.get((row.library, row.path))
    if known is not None:
        return known
    try:
        return decode(Stem, json.loads(row.stem))
    except (ValueError, KeyError, TypeError, AttributeError, RagAudioError):
        return None  # changed past the log: SqlCatalogue.begin finds it, ledger verify tells of it


def _revoked_by_id(db: Connection, ids: Collection[str]) -> set[str]:
    table = rights_tables.revocations
    these = (table.c.kind == RevocationOf.STEM.value, table.c.folded.in_(ids))
    wanted = rights_tables.keys_in_force().with_only_columns(table.c.folded)
    return set(db.execute(wanted.where(*these)).scalars())


def _row(library: str, stem: Stem, *, contested: bool, revoked: int) -> dict[str, Any]:
    return {
        "library": library,
        "stem_id": stem.id,
        "path": stem.path,
        "license": stem.license,
        "artist": names.exact(stem.artist),
        "declared": int(stem.artist_declared),
        "contested": int(contested),
        "revoked": revoked,
        "kind": stem.kind.value,
        "sample_type": "" if stem.sample_type is None else stem.sample_type.value,
        "key": "" if stem.key is None else str(stem.key),
        "bpm": stem.bpm,
        "tags": json.dumps(list(stem.tags)),
        "caption": _storable(names.fold(stem.caption)),
    }


def tags_of(text: str) -> list[str]:
    """The tags of the column ``tags``, each once, as :data:`stem_tags` has them."""
    return list(dict.fromkeys(map(_storable, json.loads(text))))


def _tag_rows(row: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for tag in tags_of(row["tags"]):
        place = {"library": row["library"], "stem_id": row["stem_id"]}
        yield {**place, "tag": tag, "folded": tag.casefold()}


def _storable(text: str) -> str:
    """A text as every database takes it: PostgreSQL keeps no NUL."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def _count(changes: dict[_Group, _Change], row: Any, sign: int) -> None:
    """Count a row in, or out; contested ones are asked about one by one."""
    if row["contested"]:
        return
    group = (row["library"], row["license"], row["artist"], row["declared"], row["revoked"] & BY_ID)
    change = changes[group]
    change.stems += sign
    values = counted_values(
        row["kind"], row["sample_type"], row["key"], row["bpm"], json.loads(row["tags"])
    )
    for name, texts in values.items():
        for text in dict.fromkeys(map(_storable, texts)):
            change.counts[name][text] += sign


def _apply(db: Connection, changes: Mapping[_Group, _Change], epoch: int) -> None:
    """Write the counts that changed."""
    by_id = {
        _group_id(group): (group, change)
        for group, change in changes.items()
        if change.stems or any(any(count.values()) for count in change.counts.values())
    }
    columns = ("library", "license", "artist", "declared", "revoked")
    for some in in_parts(sorted(by_id)):
        these = stem_groups.c.id.in_(some)
        old = {row.id: row for row in db.execute(select(stem_groups).where(these))}
        rows = []
        for id_ in some:
            group, change = by_id[id_]
            known = old.get(id_)
            counts = {} if known is None else json.loads(known.counts)
            rows.append(
                {
                    "id": id_,
                    **dict(zip(columns, group, strict=True)),
                    "stems": change.stems + (0 if known is None else known.stems),
                    "counts": _counts_json(counts, change),
                    "changed": epoch,
                }
            )
        db.execute(delete(stem_groups).where(these))
        db.execute(insert(stem_groups), rows)


def _summed(counts: Mapping[str, Mapping[str, int]], change: _Change) -> dict[str, dict[str, int]]:
    made = {}
    for name in COUNTED:
        total = Counter(counts.get(name, {}))
        total.update(change.counts.get(name, {}))
        left = {text: number for text, number in total.items() if number}
        if left:
            made[name] = left
    return made


def _group_id(group: _Group) -> str:
    return sha256(json.dumps(group).encode()).hexdigest()


def mismatched(db: Connection) -> bool:
    """Whether rows or counts do not follow from files, conflicts and revocations.

    A part of the stems is read at a time, and the counts of all groups are kept.
    """
    changes: dict[_Group, _Change] = defaultdict(_Change)
    withdrawn = _withdrawn(db)
    last, wanted = "", select(files.c.stem_id).distinct().order_by(files.c.stem_id).limit(500)
    while some := db.execute(wanted.where(files.c.stem_id > last)).scalars().all():
        made = list(_rows(db, some, withdrawn, {}))
        tags = [tag for row in made for tag in _tag_rows(row)]
        for table, rows in ((stems, made), (stem_tags, tags)):
            if _stored(db, table, table.c.stem_id.in_(some)) != Counter(map(_items, rows)):
                return True
        for row in made:
            _count(changes, row, 1)
        last = some[-1]
    held = select(files.c.stem_id)
    orphans = (select(t.c.stem_id).where(t.c.stem_id.not_in(held)) for t in (stems, stem_tags))
    if any(db.execute(one.limit(1)).first() is not None for one in orphans):
        return True
    return _are_wrong(db.execute(select(stem_groups)).mappings(), changes, read_epoch(db).number)


def _are_wrong(rows: Iterable[Any], wanted: Mapping[_Group, _Change], epoch: int) -> bool:
    left = {_group_id(group): (group, change) for group, change in wanted.items() if change.stems}
    for row in rows:
        if not (isinstance(row["changed"], int) and 0 < row["changed"] <= epoch):
            return True
        group, change = left.pop(row["id"], (None, _Change()))
        columns = tuple(row[name] for name in ("library", "license", "artist"))
        said = (*columns, row["declared"], row["revoked"])
        if group not in (None, said) or row["id"] != _group_id(said):
            return True
        if row["stems"] != change.stems or row["counts"] != _counts_json({}, change):
            return True
    return bool(left)


def _stored(db: Connection, table: Table, *where: Any) -> Counter[Any]:
    return Counter(map(_items, db.execute(select(table).where(*where)).mappings()))


def _items(row: Any) -> tuple[Any, ...]:
    return tuple(sorted(row.items()))


def _counts_json(counts: Mapping[str, Mapping[str, int]], change: _Change) -> str:
    return json.dumps(_summed(counts, change), ensure_ascii=False, sort_keys=True)

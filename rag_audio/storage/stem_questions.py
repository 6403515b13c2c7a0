"""Questions about stems that are answered without listing a library: see :mod:`.stem_rows`.

``libraries`` are the ids of those that are looked through; None: all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, tuple_

from rag_audio.domain import Stem, StemKind, names
from rag_audio.domain.codec import decode
from rag_audio.domain.holdings import (
    FACETS,
    MOST_VALUES,
    PageEnd,
    StemCounts,
    StemPage,
    StemQuery,
    most_frequent,
)
from rag_audio.storage.database import in_parts
from rag_audio.storage.rights_tables import conflicts, files
from rag_audio.storage.stem_rows import stem_tags, stems, tags_of, unindexed

MOST_COUNTED = 1_000
"""So many stems are counted one by one where no kept count answers."""
MOST_MATCHES = 20_000
"""Stems whose captions hold a text are looked up all at once where they are not more than these."""
_AFTER_HEX = "g"
_FIRST_COPY = and_(files.c.library == stems.c.library, files.c.path == stems.c.path)
_DOCUMENTS = select(stems.c.library, stems.c.stem_id, files.c.stem).join(files, _FIRST_COPY)
_Libraries = Collection[str] | None


def stem_of(text: str) -> Stem:
    """The stem of a file's row."""
    return decode(Stem, json.loads(text))


def seen(query: Select[Any], libraries: _Libraries) -> Select[Any]:
    """A query of ``stems``, of some libraries alone."""
    return query if libraries is None else query.where(stems.c.library.in_(sorted(libraries)))


def read(
    db: Connection, libraries: _Libraries, *where: ColumnElement[bool], most: int | None = None
) -> list[Stem]:
    """Stems that meet conditions, by library and path."""
    query = seen(_DOCUMENTS.where(*where), libraries)
    query = query.order_by(stems.c.library, stems.c.path) if most is None else query.limit(most)
    found = [stem_of(row.stem) for row in db.execute(query)]
    # Databases sort texts in their own ways.
    return sorted(found, key=lambda stem: (stem.library, stem.path))


def by_artist(db: Connection, artist: str, libraries: _Libraries) -> list[Stem]:
    """All of an artist (:func:`rag_audio.domain.names.same`)."""
    return read(db, libraries, stems.c.artist == names.exact(artist))


def by_ids(db: Connection, ids: Iterable[str], libraries: _Libraries) -> list[Stem]:
    """The first copy of each in every library."""
    found: list[Stem] = []
    for some in in_parts(sorted(set(ids))):
        found += read(db, libraries, stems.c.stem_id.in_(some))
    return found


def by_license(db: Connection, key: str, libraries: _Libraries) -> list[Stem]:
    """Those that a license claims, whether it holds or not."""
    own, claimed = _license(key, libraries)
    return read(db, libraries, or_(own, claimed))


def with_prefix(db: Connection, prefix: str, libraries: _Libraries, most: int) -> list[Stem]:
    """Some of the stems whose ids start so."""
    return read(db, libraries, _begins_with(prefix), most=most)


def _begins_with(prefix: str) -> ColumnElement[bool]:
    return and_(stems.c.stem_id >= prefix, stems.c.stem_id < prefix + _AFTER_HEX)


def ids_with_prefix(
    db: Connection, prefix: str, libraries: _Libraries, most: int
) -> tuple[list[str], int]:
    """The ids that start so: the first of them, and how many there are."""
    query = seen(select(stems.c.stem_id).where(_begins_with(prefix)).distinct(), libraries)
    ids = list(db.execute(query.order_by(stems.c.stem_id).limit(most)).scalars())
    if len(ids) < most:
        return ids, len(ids)
    return ids, _number_of(db, query)


def revoked_among(db: Connection, ids: Collection[str], libraries: _Libraries) -> set[str]:
    """Those stems that are revoked by their id, their artist or their license; of contested ones
    the conflict tells."""
    found: set[str] = set()
    for some in in_parts(sorted(ids)):
        is_marked = (unindexed(stems.c.contested) == 0, unindexed(stems.c.revoked) > 0)
        these = (stems.c.stem_id.in_(some), *is_marked)
        found.update(db.execute(seen(select(stems.c.stem_id).where(*these), libraries)).scalars())
    return found


def may_be_revoked(
    db: Connection, libraries: _Libraries, kind: StemKind | None, most: int
) -> tuple[list[Stem], int]:
    """Stems that are marked as revoked, of a kind: the first of them, and how many there are."""
    is_marked = (stems.c.contested.in_((0, 1)), stems.c.revoked > 0)  # so that an index has them
    query = seen(_DOCUMENTS.where(*is_marked), libraries)
    if kind is not None:
        query = query.where(stems.c.kind == kind.value)
    rows = db.execute(query.order_by(stems.c.stem_id, stems.c.library).limit(most)).all()
    number = len(rows) if len(rows) < most else _number_of(db, query)
    return [stem_of(row.stem) for row in rows], number


def _number_of(db: Connection, query: Select[Any]) -> int:
    return int(db.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def under_licenses(
    db: Connection, keys: Collection[str], libraries: _Libraries, most: int
) -> list[Stem]:
    """Some stems, not contested and not revoked, under any of some licenses."""
    found: list[Stem] = []
    for key in sorted(keys):
        if len(found) >= most:
            break
        usable = (unindexed(stems.c.contested) == 0, unindexed(stems.c.revoked) == 0)
        found += read(db, libraries, _under(key), *usable, most=most - len(found))
    return found


def held(db: Connection, ids: Collection[str], libraries: _Libraries) -> set[tuple[str, str]]:
    """(library, id) of those stems that there are."""
    found: set[tuple[str, str]] = set()
    for some in in_parts(sorted(ids)):
        query = select(stems.c.library, stems.c.stem_id).where(stems.c.stem_id.in_(some))
        found.update(db.execute(seen(query, libraries)).tuples())
    return found


def page(
    db: Connection, query: StemQuery, libraries: _Libraries, after: PageEnd | None, limit: int
) -> StemPage:
    """The stems that a query is about, in order of id and library."""
    rows: Sequence[Any]
    matches = _matches(db, query, libraries)
    if matches is not None:
        left = matches if after is None else [one for one in matches if _is_behind(one, after)]
        rows = _in_order(db, _DOCUMENTS, left[: limit + 1], libraries)
    else:
        wanted, place = _asked(_DOCUMENTS, query, libraries)
        if after is not None and after.library is None:
            wanted = wanted.where(place[0] > after.id)
        elif after is not None:
            wanted = wanted.where(tuple_(*place) > tuple_(after.id, after.library))
        rows = db.execute(wanted.order_by(*place).limit(limit + 1)).all()
    following = None
    if len(rows) > limit:
        last, next_ = rows[limit - 1], rows[limit]
        between = last.library if last.stem_id == next_.stem_id else None
        following = PageEnd(last.stem_id, between)
    return StemPage(tuple(stem_of(row.stem) for row in rows[:limit]), following)


def counts(db: Connection, query: StemQuery, libraries: _Libraries) -> StemCounts:
    """How many stems a query is about, of :data:`MOST_COUNTED` at most, or of
    :data:`MOST_MATCHES` where a text is asked for; and what the first :data:`MOST_COUNTED` have."""
    columns = {name: stems.c[name] for name in FACETS[:-1]}
    own = select(stems.c.library, stems.c.stem_id, stems.c.tags, *columns.values())
    rows: Sequence[Any]
    matches = _matches(db, query, libraries)
    if matches is not None:
        rows = _in_order(db, own, matches[:MOST_COUNTED], libraries)
        total, is_exact = len(matches), True
    else:
        wanted, place = _asked(own, query, libraries)
        rows = db.execute(wanted.order_by(*place).limit(MOST_COUNTED + 1)).all()
        total = min(len(rows), MOST_COUNTED)
        is_exact = len(rows) == total
    some = rows[:MOST_COUNTED]
    values: dict[str, Iterable[str]] = {
        name: [getattr(row, name) for row in some] for name in columns
    }
    values["license"] = (f"{row.library}/{row.license}" for row in some)
    values["tag"] = (tag for row in some for tag in tags_of(row.tags))
    return StemCounts(
        total,
        {name: most_frequent(Counter(filter(None, values[name])), MOST_VALUES) for name in FACETS},
        len(some),
        is_exact=is_exact,
    )


def _matches(
    db: Connection, query: StemQuery, libraries: _Libraries
) -> list[tuple[str, str]] | None:
    """Id and library of all stems that a query with a text is about, in order; None: there are
    more than :data:`MOST_MATCHES`, so that some are soon found in order, or a tag narrows them.

    No index has texts within captions: the table is read as it lies on the disk, which takes a
    tenth of the time that reading it in order of ids does.
    """
    if not query.text or query.tag is not None:
        return None
    wanted = select(stems.c.stem_id, stems.c.library).where(*_conditions(query, libraries))
    rows = db.execute(seen(wanted, libraries).limit(MOST_MATCHES + 1)).all()
    return None if len(rows) > MOST_MATCHES else sorted((id_, library) for id_, library in rows)


def _is_behind(place: tuple[str, str], end: PageEnd) -> bool:
    return place[0] > end.id if end.library is None else place > (end.id, end.library)


def _in_order(
    db: Connection, of: Select[Any], places: Sequence[tuple[str, str]], libraries: _Libraries
) -> list[Any]:
    """Rows of stems, by id and library, in the order of these."""
    found: dict[tuple[str, str], Any] = {}
    for some in in_parts(sorted({id_ for id_, _ in places})):
        these = seen(of.where(stems.c.stem_id.in_(some)), libraries)
        found |= {(row.stem_id, row.library): row for row in db.execute(these)}
    return [found[place] for place in places if place in found]


def _asked(
    of: Select[Any], query: StemQuery, libraries: _Libraries
) -> tuple[Select[Any], tuple[ColumnElement[str], ColumnElement[str]]]:
    """A query of ``stems``, of those that are meant alone; and the columns of id and library by
    which an index has them in order."""
    wanted = seen(of.where(*_conditions(query, libraries)), libraries)
    if query.tag is None:
        return wanted, (stems.c.stem_id, stems.c.library)
    tagged = stem_tags.alias()
    same = and_(tagged.c.library == stems.c.library, tagged.c.stem_id == stems.c.stem_id)
    once = (tagged.c.folded == query.tag.casefold(), ~_written_otherwise(tagged))
    return wanted.where(same, *once), (tagged.c.stem_id, tagged.c.library)


def _written_otherwise(tagged: Any) -> ColumnElement[bool]:
    """Whether the stem has the same tag in another case that comes before this one."""
    other = stem_tags.alias()
    before = select(other.c.tag).where(
        other.c.library == tagged.c.library,
        other.c.stem_id == tagged.c.stem_id,
        other.c.folded == tagged.c.folded,
        other.c.tag < tagged.c.tag,
    )
    return before.exists()


def _conditions(query: StemQuery, libraries: _Libraries) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.text:
        found.append(stems.c.caption.contains(names.fold(query.text), autoescape=True))
    if query.artists is not None:
        found.append(stems.c.artist.in_([names.exact(one) for one in query.artists]))
    if query.license is not None:
        found.append(or_(*_license(query.license, libraries)))
    if query.key is not None:
        found.append(stems.c.key == query.key)
    if query.kind is not None:
        found.append(stems.c.kind == query.kind.value)
    if query.bpm_min is not None:
        found.append(stems.c.bpm >= query.bpm_min)
    if query.bpm_max is not None:
        found.append(stems.c.bpm <= query.bpm_max)
    return found


def _under(key: str) -> ColumnElement[bool]:
    """Whether a stem is under a license, by its key; an index has these."""
    library, _, id_ = key.partition("/")
    return and_(stems.c.library == library, stems.c.license == id_)


def _own_license(named: str) -> ColumnElement[bool]:
    """As :func:`_under`, by key or id."""
    by_id = stems.c.license == named
    return or_(_under(named), by_id) if "/" in named else by_id


def _license(named: str, libraries: _Libraries) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Stems under a license, by its key or id; and those that it claims among others."""
    library, _, id_ = named.partition("/")
    claims = select(conflicts.c.stem_id).where(
        or_(
            conflicts.c.license == named,
            and_(conflicts.c.library == library, conflicts.c.license == id_),
        )
    )
    if libraries is not None:
        claims = claims.where(conflicts.c.library.in_(sorted(libraries)))
    return _own_license(named), and_(stems.c.contested == 1, stems.c.stem_id.in_(claims))

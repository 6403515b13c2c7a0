"""Questions to the ledger about many outputs: a page, all of them one page at a time, a count.

Pages are by keyset: who reads on names the last entry that was read. Every condition has an index
that ends with the entry's place, so a page costs the same however long the log is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    column,
    exists,
    false,
    func,
    or_,
    select,
    table,
    text,
)

from rag_audio.domain import names
from rag_audio.errors import InvalidInput
from rag_audio.provenance.ledger.tables import (
    entries,
    microseconds,
    output_entries,
    outputs,
    sources,
)

PAGE = 500
"""Entries of a page, where nobody says how many."""
_OWNERS = table("output_owners", column("output"), column("owner"))
_HEX = re.compile("[0-9a-f]+")
_STEM_DIGITS = 64


@dataclass(frozen=True)
class OutputFilter:
    """Which outputs are meant: those that meet all that is given; nothing given: all.

    Attributes:
        stem: id of a source, or the beginning of it.
        artist, holder: of one source, names (:func:`rag_audio.domain.names.same`).
        license: of one source, its id, or ``library/id``.
        since, until: made from the one until before the other; with a zone.
        owner: id of the API key whose job made them.
    """

    stem: str | None = None
    artist: str | None = None
    license: str | None = None
    holder: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidInput: the stem's id is empty, or a time has no zone."""
        if self.stem == "":
            raise InvalidInput("the stem's id is empty")
        for at in (self.since, self.until):
            if at is not None and at.tzinfo is None:
                raise InvalidInput(f"the time {at.isoformat()} has no zone", hint="add +00:00")


EVERY = OutputFilter()
"""All outputs."""


@dataclass(frozen=True)
class PageOf:
    """Which of the outputs that are meant are read.

    Attributes:
        after, before: places in the log, neither is included. limit: at most so many.
        newest_first: from the end of the log.
    """

    after: int = 0
    before: int | None = None
    limit: int = PAGE
    newest_first: bool = False


FIRST = PageOf()


def page_rows(db: Connection, which: OutputFilter, page: PageOf) -> list[Row[Any]]:
    """The entries of a page, as :func:`.output_entries` has them."""
    seqs = db.execute(_page(db, which, page)).scalars().all()
    if not seqs:
        return []
    order = entries.c.seq.desc() if page.newest_first else entries.c.seq
    return list(db.execute(output_entries().where(entries.c.seq.in_(seqs)).order_by(order)))


def count_rows(db: Connection, which: OutputFilter) -> int:
    """How many outputs are meant."""
    place, found = _matching(db, which)
    # Rows that are only counted, and not looked at, SQLite counts six times as fast.
    counted = func.count(place.distinct()) if _of_sources(which) else func.count()
    asked = found.with_only_columns(counted, maintain_column_froms=True)
    return int(db.execute(asked).scalar_one())


def _page(db: Connection, which: OutputFilter, page: PageOf) -> Select[Any]:
    place, found = _matching(db, which)
    found = found.where(place > page.after)
    if page.before is not None:
        found = found.where(place < page.before)
    order = place.desc() if page.newest_first else place
    return found.order_by(order).limit(page.limit)


def _matching(db: Connection, which: OutputFilter) -> tuple[ColumnElement[int], Select[Any]]:
    """The places of all outputs that are meant, and the column that holds them."""
    conditions = list(_source_conditions(db, which))
    beside = list(_output_conditions(which))
    if not conditions:
        place: ColumnElement[int] = outputs.c.seq
        found = select(place)
    else:
        place = sources.c.seq
        found = select(place).distinct()
        if beside:
            found = found.join(outputs, outputs.c.seq == place)
    if which.since is not None or which.until is not None:
        beside += _bounds(db, which, place)
    return place, found.where(*conditions, *beside)


def _of_sources(which: OutputFilter) -> bool:
    return any(one is not None for one in (which.stem, which.artist, which.license, which.holder))


def _output_conditions(which: OutputFilter) -> Iterator[ColumnElement[bool]]:
    yield from _made_in(which)
    if which.owner is not None:
        yield outputs.c.owner == which.owner
        # Whose an output is stands in that table; the column beside the entry only orders them.
        whose = (_OWNERS.c.output == outputs.c.output, _OWNERS.c.owner == which.owner)
        yield exists().where(*whose).select_from(_OWNERS)


def _made_in(which: OutputFilter) -> Iterator[ColumnElement[bool]]:
    if which.since is not None:
        yield outputs.c.created >= microseconds(which.since)
    if which.until is not None:
        yield outputs.c.created < microseconds(which.until)


def _bounds(
    db: Connection, which: OutputFilter, place: ColumnElement[int]
) -> list[ColumnElement[bool]]:
    """Between which entries a period lies: times rise with places, but not strictly."""
    ends = select(func.min(outputs.c.seq), func.max(outputs.c.seq)).where(*_made_in(which))
    first, last = db.execute(ends).one()
    return [place.between(first or 0, last or 0)]


def _source_conditions(db: Connection, which: OutputFilter) -> Iterator[ColumnElement[bool]]:
    if which.stem is not None:
        yield _is_stem(db, which.stem)
    if which.artist is not None:
        yield sources.c.artist == names.exact(which.artist)
    if which.license is not None:
        yield _is_license(db, which.license)
    if which.holder is not None:
        yield sources.c.holder == names.exact(which.holder)


def _is_stem(db: Connection, stem: str) -> ColumnElement[bool]:
    if len(stem) >= _STEM_DIGITS or not _HEX.fullmatch(stem):
        return sources.c.stem == stem
    found = list(_different(db, "stem", stem))
    return sources.c.stem == found[0] if len(found) == 1 else sources.c.stem.in_(found)


def _is_license(db: Connection, named: str) -> ColumnElement[bool]:
    """A license's id; an id may have a slash itself, so every one may end the library's."""
    parts = [(named[:at], named[at + 1 :]) for at, sign in enumerate(named) if sign == "/"]
    keys = [and_(sources.c.license == id_, sources.c.library == lib) for lib, id_ in parts]
    meant = [sources.c.license == named, *keys]
    if keys:
        # Of several conditions no index has the order; all but one of them are of no license.
        meant = [
            one for one in meant if db.execute(select(sources.c.seq).where(one).limit(1)).first()
        ]
    return or_(false(), *meant) if len(meant) != 1 else meant[0]


def each_name(db: Connection, of: Literal["artist", "holder", "license"]) -> Iterator[str]:
    """The different artists, holders or licenses' ids of all sources, in order."""
    return (name for name in _different(db, of) if name)


def _different(db: Connection, of: str, beginning: str = "") -> Iterator[str]:
    """The different values of an indexed column, each found by one step in the index.

    Args:
        beginning: of hexadecimal digits: only values that begin so.
    """
    value, within = f"s.{of}", ""
    if beginning:
        within = f"AND {value} >= :low AND {value} < :high"
    least = f"SELECT min({value}) FROM ledger_sources s WHERE {value}"  # noqa: S608
    # A recursive step from each value to the next: DISTINCT would read the whole index.
    asked = f"""WITH RECURSIVE every(value) AS (
        {least} >= '' {within} UNION ALL
        SELECT ({least} > every.value {within}) FROM every WHERE every.value IS NOT NULL
    ) SELECT value FROM every WHERE value IS NOT NULL"""  # noqa: S608
    given = {"low": beginning, "high": f"{beginning}g"} if beginning else {}
    yield from (str(value) for value in db.execute(text(asked), given).scalars())


def has_name(db: Connection, of: Literal["artist", "holder"], name: str, owner: str) -> bool:
    """Whether an output of an owner has a source of this artist or holder."""
    artist, holder = (name, None) if of == "artist" else (None, name)
    which = OutputFilter(artist=artist, holder=holder, owner=owner)
    return db.execute(_page(db, which, PageOf(limit=1))).first() is not None

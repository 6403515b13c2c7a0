"""Tables of libraries, licenses, files, conflicts and revocations, and how they are changed.

The migrations in :mod:`.migrations` make the tables, :mod:`.catalogue` writes them, and
:mod:`rag_audio.provenance.ledger.audit_rights` compares them with the log.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    union_all,
)
from sqlalchemy import literal_column as literal

from rag_audio.domain import names
from rag_audio.domain.conflicts import Claim, Conflict, are_contested
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.stems import WithheldFile
from rag_audio.errors import LedgerTampered
from rag_audio.storage.database import in_parts

metadata = MetaData()
SALT_BYTES = 32
"""Of the random ``salt`` of a row, with which the log commits to it without showing its texts."""


def _texts(*columns: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in columns]


def _place() -> tuple[Column[str], Column[str]]:
    """Where a file lies: the key of its row."""
    return (
        Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
        Column("path", Text, primary_key=True),
    )


def _state() -> tuple[Column[int], Column[int]]:
    return (
        Column("size", BigInteger, nullable=False),
        Column("mtime_ns", BigInteger, nullable=False),
    )


libraries = Table(
    "libraries",
    metadata,
    Column("id", Text, primary_key=True),
    *_texts("name", "root"),
    Column("salt", LargeBinary),
)
licenses = Table(
    "licenses",
    metadata,
    Column("library", Text, ForeignKey("libraries.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    *_texts("license"),
)
files = Table(
    "files",
    metadata,
    *_place(),
    *_state(),
    *_texts("declared", "space", "stem_id", "artist", "stem"),
    Column("decision", Text, nullable=False, server_default=""),
    Index("files_by_stem", "stem_id"),
    Index("files_by_artist", "artist"),
)
withheld_files = Table(
    "withheld_files",
    metadata,
    *_place(),
    *_state(),
    *_texts("stem_id", "license", "artist", "decision"),
    Index("withheld_files_by_stem", "stem_id"),
)
conflicts = Table(
    "conflicts",
    metadata,
    *_place(),
    *_texts("stem_id", "license", "artist", "decision"),
    Index("conflicts_by_stem", "stem_id"),
)
revocations = Table(
    "revocations",
    metadata,
    Column("id", Integer, primary_key=True),
    *_texts("kind", "folded", "target", "reason", "revoked_by", "revoked_at"),
    Column("ended_by", Text),
    Column("ended_at", Text),
    Column("salt", LargeBinary),
    Index("revocations_by_target", "kind", "folded"),
)
"""Rows are never deleted, so that it stays known who revoked what."""


class RightsLog(Protocol):
    """Logs changes of these tables in the transactions that make them: a change is made if and only
    if it is logged. :class:`rag_audio.provenance.ledger.rights_log.SqlRightsLog` is the one.

    A library's rows are *sealed* by an event that holds digests of them. Before the first change
    after that an event says that they are *changing*.
    """

    def is_changing(self, db: Connection, library: str) -> bool: ...
    def changing(
        self,
        db: Connection,
        library: str,
        found: Mapping[str, Any] | None = None,
        licenses: Mapping[str, Any] | None = None,
    ) -> None: ...
    def altered(self, db: Connection, library: str) -> Mapping[str, Any]: ...
    def digests(self, db: Connection, library: str) -> Mapping[str, Any]: ...
    def seal(self, db: Connection, library: str, digests: Mapping[str, Any]) -> int: ...
    def last_revocation(self, db: Connection) -> int: ...
    def revoked(
        self, db: Connection, asked: Revocation, rows: Sequence[Mapping[str, Any]], *, undo: bool
    ) -> int: ...


# Conflicts are found whenever files change, and read with the rights.
#
# A conflict can only be seen by comparing the files of all libraries, and rights are read at every
# search; so the transaction that changes files keeps the claims of each contested stem apart.

CLAIMS = select(
    *(conflicts.c[name] for name in ("stem_id", "library", "path", "license", "artist", "decision"))
)
"""Of every stem in conflict."""
WITHHELD_ARTISTS = (
    select(withheld_files.c.artist, withheld_files.c.library, withheld_files.c.license)
    .where(withheld_files.c.artist != "")
    .distinct()
)
"""(artist, library, license) that ``stems.csv`` gives to files which grant nothing."""


def read_conflicts(db: Connection, stems: Collection[str]) -> dict[str, Conflict]:
    """The conflicts of stems, by id."""
    found: dict[str, Conflict] = {}
    for some in in_parts(sorted(stems)):
        rows = db.execute(CLAIMS.where(conflicts.c.stem_id.in_(some)))
        found.update(conflicts_of(rows.tuples()))
    return found


def conflicts_of(rows: Iterable[Sequence[str]]) -> dict[str, Conflict]:
    """The conflicts by stem id, of rows of :data:`CLAIMS`."""
    found: dict[str, list[Claim]] = {}
    for stem, *claim in rows:
        found.setdefault(stem, []).append(Claim(*claim))
    return {
        id_: Conflict(id_, tuple(sorted(claims, key=lambda one: (one.library, one.path))))
        for id_, claims in found.items()
    }


def update_conflicts(db: Connection, stems: Iterable[str]) -> bool:
    """Find the conflicts of stems anew, after their files changed.

    Returns:
        Whether there were or are any.
    """
    any_ = False
    for some in in_parts(sorted(set(stems))):
        gone = db.execute(delete(conflicts).where(conflicts.c.stem_id.in_(some)))
        rows = list(_contested(db, some))
        if rows:
            db.execute(insert(conflicts), rows)
        any_ = any_ or bool(rows) or gone.rowcount > 0
    return any_


def renew_conflicts(db: Connection) -> set[str]:
    """Find all conflicts anew; raises as :func:`mismatched_conflicts` does.

    Returns:
        Ids of the stems that were in conflict or are.
    """
    ids = set(db.execute(select(conflicts.c.stem_id)).scalars())
    db.execute(delete(conflicts))
    rows = _all_contested(db)
    if rows:
        db.execute(insert(conflicts), rows)
    return ids | {row["stem_id"] for row in rows}


def mismatched_conflicts(db: Connection) -> set[tuple[Any, ...]]:
    """The rows (library, path, stem, license, artist, decision) that the table of conflicts lacks,
    or has too many, by what the files say.

    Raises:
        LedgerTampered: a row of a file cannot be read.
    """
    stored = Counter(tuple(row) for row in db.execute(select(*conflicts.columns)))
    columns = conflicts.columns.keys()
    wanted = Counter(tuple(row[name] for name in columns) for row in _all_contested(db))
    return {*(stored - wanted), *(wanted - stored)}


def _all_contested(db: Connection) -> list[dict[str, Any]]:
    try:
        return list(_contested(db))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerTampered(
            f"the conflicts cannot be found, because a row of a file is damaged: {error}",
            hint="rag-audio ledger verify names the library; rag-audio index measures it anew",
        ) from error


def _contested(db: Connection, stems: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of stems whose claims differ, among those given or of all; a stem without a row of
    a file is in no conflict."""
    own = select(files.c.stem_id)
    if stems is not None:
        own = own.where(files.c.stem_id.in_(stems))
    many = own.group_by(files.c.stem_id).having(
        or_(func.count() > 1, func.max(files.c.decision) != "")
    )
    kept = own.where(files.c.stem_id.in_(select(withheld_files.c.stem_id)))
    suspects = sorted(set(db.execute(many.union(kept)).scalars()))
    for some in in_parts(suspects):
        claims = [
            (row.stem_id, _claim_of(row.library, row.path, json.loads(row.stem), row.decision))
            for row in db.execute(select(files).where(files.c.stem_id.in_(some)))
        ]
        claims += [
            (row.stem_id, Claim(row.library, row.path, row.license, row.artist, row.decision))
            for row in db.execute(select(withheld_files).where(withheld_files.c.stem_id.in_(some)))
        ]
        claims.sort(key=lambda pair: (pair[0], pair[1].library, pair[1].path))
        for id_, group in groupby(claims, key=lambda pair: pair[0]):
            # A file that was indexed before its license ended may still be in both tables.
            differing = {(claim.library, claim.path): claim for _, claim in group}
            if are_contested(differing.values()):
                yield from ({"stem_id": id_, **vars(claim)} for claim in differing.values())


def _claim_of(library: str, path: str, stem: dict[str, Any], decision: str) -> Claim:
    artist = stem["artist"] if stem["artist_declared"] else ""
    return Claim(library, path, stem["license"], artist, decision)


def withheld(db: Connection, library: str) -> dict[str, WithheldFile]:
    """The files of a library whose license grants nothing, by path."""
    query = select(withheld_files).where(withheld_files.c.library == library)
    return {row.path: _withheld_file(row) for row in db.execute(query)}


def withheld_copies(db: Connection, stem: str) -> list[tuple[str, WithheldFile]]:
    """The files with a stem's bytes whose license grants nothing, each with its library's id."""
    query = select(withheld_files).where(withheld_files.c.stem_id == stem)
    rows = db.execute(query.order_by(withheld_files.c.library, withheld_files.c.path))
    return [(row.library, _withheld_file(row)) for row in rows]


def _withheld_file(row: Row[Any]) -> WithheldFile:
    return WithheldFile(
        row.path, row.size, row.mtime_ns, row.stem_id, row.license, row.artist, row.decision
    )


def put_withheld(db: Connection, library: str, told: Iterable[WithheldFile]) -> set[str]:
    """Replace them; the ids of the stems whose claims changed."""
    old, new = withheld(db, library), {one.path: one for one in told}
    changed = [path for path in {*old, *new} if old.get(path) != new.get(path)]
    for some in in_parts(changed):
        these = (withheld_files.c.library == library, withheld_files.c.path.in_(some))
        db.execute(delete(withheld_files).where(*these))
    rows = []
    for path in changed:
        if path in new:
            row = {"library": library, **vars(new[path])}
            row["stem_id"] = row.pop("stem")
            rows.append(row)
    if rows:
        db.execute(insert(withheld_files), rows)
    both = (known.get(path) for path in changed for known in (old, new))
    return {one.stem for one in both if one is not None}


def in_force(db: Connection, like: Revocation | None = None) -> list[Revocation]:
    """All revocations that were not taken back, oldest first.

    Args:
        like: only those that may be of this one's source; names of artists are written in many
            ways, anything else in one.
    """
    wanted = _in_force().order_by(revocations.c.id)
    if like is not None:
        wanted = wanted.where(revocations.c.kind == like.of.value)
        if like.of is not RevocationOf.ARTIST:
            wanted = wanted.where(revocations.c.target == like.target)
    return [
        Revocation(
            RevocationOf(row.kind),
            row.target,
            row.reason,
            row.revoked_by,
            datetime.fromisoformat(row.revoked_at),
            row.folded,
        )
        for row in db.execute(wanted)
    ]


def keys_in_force() -> Select[Any]:
    """Asks for kind and key (:attr:`Revocation.key`) of all that were not taken back."""
    return _in_force().with_only_columns(revocations.c.kind, revocations.c.folded)


def put_revocation(
    db: Connection, revocation: Revocation, known: Iterable[str] = (), last: int = 0
) -> list[dict[str, Any]]:
    """Put a revocation in force; no row when it was already, and the first one then stays.

    Args:
        known: artists of the catalogue, which a revoked artist's name must not be taken for.
        last: the highest number that a revocation ever had, where that may not be in the table:
            a number that somebody deleted is not given again.

    Returns:
        The row that was made.
    """
    if any(holds_for(one, revocation) for one in in_force(db, revocation)):
        return []
    highest = db.execute(select(func.max(revocations.c.id))).scalar() or 0
    row: dict[str, Any] = {
        "id": max(last, highest) + 1,
        "kind": revocation.of.value,
        "folded": key_of(revocation, known),
        "target": revocation.target,
        "reason": revocation.reason,
        "revoked_by": revocation.by,
        "revoked_at": revocation.at.astimezone(UTC).isoformat(),
        "salt": secrets.token_bytes(SALT_BYTES),
    }
    db.execute(insert(revocations), row)
    return _rows(db, [row["id"]])


def end_revocation(db: Connection, revocation: Revocation) -> list[dict[str, Any]]:
    """Take a revocation back; ``by`` and ``at`` say who does and when.

    Returns:
        The rows that were ended, as they are now; none where there was no such revocation.
    """
    alike = in_force(db, revocation)
    targets = [one.target for one in alike if same_source(one, revocation)]
    these = (revocations.c.kind == revocation.of.value, revocations.c.target.in_(targets))
    ids = list(db.execute(_in_force().where(*these)).scalars())
    ending = {"ended_by": revocation.by, "ended_at": revocation.at.astimezone(UTC).isoformat()}
    db.execute(revocations.update().where(revocations.c.id.in_(ids)).values(**ending))
    return _rows(db, ids)


def key_of(revocation: Revocation, known: Iterable[str]) -> str:
    """How the target is compared once it is revoked (:attr:`Revocation.key`).

    Args:
        known: artists of the catalogue, which a revoked artist's name must not be taken for.
    """
    if revocation.of is RevocationOf.ARTIST:
        return names.revocation_key(revocation.target, known)
    return revocation.target


def same_source(one: Revocation, other: Revocation) -> bool:
    """Whether both are of the very same source."""
    if one.of is not other.of:
        return False
    if one.of is RevocationOf.ARTIST:
        return names.same(one.target, other.target)
    return one.target == other.target


def holds_for(one: Revocation, other: Revocation) -> bool:
    """Whether the source of ``other`` is revoked by ``one``, which has its ``key``."""
    if one.of is other.of is RevocationOf.ARTIST:
        return names.is_revoked(other.target, frozenset({one.key}))
    return same_source(one, other)


def _rows(db: Connection, ids: list[int]) -> list[dict[str, Any]]:
    wanted = select(revocations).where(revocations.c.id.in_(ids)).order_by(revocations.c.id)
    return [dict(row) for row in db.execute(wanted).mappings()]


def _in_force() -> Select[Any]:
    return select(revocations).where(revocations.c.ended_at.is_(None))


def _named(what: str, query: Select[Any]) -> Select[Any]:
    """A query's text columns behind the name of what they are, filled up to the same number."""
    columns = list(query.selected_columns)
    empty: list[ColumnElement[str]] = [
        literal("''").label(f"empty{n}") for n in range(_RIGHTS_COLUMNS - len(columns))
    ]
    return query.with_only_columns(literal(f"'{what}'").label("what"), *columns, *empty)


_RIGHTS_COLUMNS = 6
_RIGHTS = union_all(
    _named("license", select(licenses.c.license)),
    _named("revocation", keys_in_force()),
    _named("conflict", CLAIMS),
    _named("withheld", WITHHELD_ARTISTS),
    _named("library", select(libraries.c.id, libraries.c.root)),
)


def rows_of_rights(db: Connection) -> dict[str, list[tuple[str, ...]]]:
    """All rows that rights are made of, read in one statement, by what they are, sorted."""
    found: dict[str, list[tuple[str, ...]]] = {
        what: [] for what in ("license", "revocation", "conflict", "withheld", "library")
    }
    for what, *columns in db.execute(_RIGHTS):
        found[what].append(tuple(columns))
    return {what: sorted(rows, key=repr) for what, rows in found.items()}

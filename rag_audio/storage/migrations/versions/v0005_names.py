"""Names as they are written, in place of five foldings that took one artist for another.

``files.artist`` and the artist and holder of ``ledger_sources`` held folded names; they now hold
:func:`rag_audio.domain.names.exact` forms. ``revocations.folded`` of an artist becomes its
:func:`.revocation_key`. What a revocation covered because of dots, spaces, hyphens,
case or accents stays revoked, as rows of their own; what it covered because signs or the voicing
marks of kana were lost is not revoked any more: it was somebody else.

No entry of the log is touched: ``ledger_sources`` follows from them. A row of it that did not
follow stays as it is, so that ``ledger verify`` still finds it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from rag_audio.domain import names

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_AT_ONCE = 500


def upgrade() -> None:
    """Rewrite the stored names, in the migration's transaction."""
    db = op.get_bind()
    _files(db)
    _revocations(db)
    _allow_updates(db)
    _sources(db)
    _refuse_updates(db)


def downgrade() -> None:
    """The old foldings lost what told names apart."""
    raise NotImplementedError("the database cannot be downgraded")


def _files(db: sa.Connection) -> None:
    change = sa.text("UPDATE files SET artist = :new WHERE library = :library AND path = :path")
    rows = db.execute(sa.text("SELECT library, path, artist, stem FROM files")).all()
    changed = [
        {"library": row.library, "path": row.path, "new": new}
        for row in rows
        if (new := names.exact(json.loads(row.stem).get("artist") or "")) != row.artist
    ]
    for some in _pieces(changed):
        db.execute(change, some)


def _revocations(db: sa.Connection) -> None:
    known = sorted(set(db.execute(sa.text("SELECT DISTINCT artist FROM files")).scalars()))
    rows = db.execute(sa.text("SELECT * FROM revocations WHERE kind = 'artist' ORDER BY id")).all()
    change = sa.text("UPDATE revocations SET folded = :key WHERE id = :id")
    keys: set[str] = set()
    for row in rows:
        key = names.revocation_key(row.target, [])
        db.execute(change, {"key": key, "id": row.id})
        if row.ended_at is None:
            keys.add(key)
    add = sa.text(
        "INSERT INTO revocations (kind, folded, target, reason, revoked_by, revoked_at) "
        "VALUES ('artist', :key, :target, :reason, :by, :at)"
    )
    for row in rows:
        for name in known if row.ended_at is None else ():
            if names.loose(name) != names.loose(row.target) or names.fold(name) == "":
                continue
            key = names.revocation_key(name, [])
            if key not in keys:
                keys.add(key)
                db.execute(
                    add,
                    {
                        "key": key,
                        "target": name,
                        "reason": row.reason,
                        "by": row.revoked_by,
                        "at": row.revoked_at,
                    },
                )


def _sources(db: sa.Connection) -> None:
    change = sa.text(
        "UPDATE ledger_sources SET artist = :artist, holder = :holder "
        "WHERE seq = :seq AND position = :position"
    )
    stored = sa.text(
        "SELECT s.seq, s.position, s.artist, s.holder, e.document FROM ledger_sources s "
        "JOIN ledger_entries e ON e.seq = s.seq WHERE s.seq > :after AND s.seq <= :last "
        "ORDER BY s.seq, s.position"
    )
    last = db.execute(sa.text("SELECT max(seq) FROM ledger_sources")).scalar() or 0
    for after in range(0, last, _AT_ONCE):
        rows = db.execute(stored, {"after": after, "last": after + _AT_ONCE}).all()
        if changed := list(_changed(rows)):
            db.execute(change, changed)


def _changed(rows: Any) -> Iterator[dict[str, Any]]:
    """The rows that held the folded names of their record."""
    for row in rows:
        try:
            source = json.loads(bytes(row.document))["sources"][row.position]
            artist = str(source["reference"]["stem"]["artist"])
            holder = str(source["license"]["holder"])
        except (ValueError, KeyError, IndexError, TypeError):
            continue  # `ledger verify` says what is wrong with it
        if (row.artist, row.holder) == (_as_before(artist), _as_before(holder)):
            yield {
                "seq": row.seq,
                "position": row.position,
                "artist": names.exact(artist),
                "holder": names.exact(holder),
            }


def _as_before(name: str) -> str:
    """How names of the ledger were folded until now."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _pieces(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]


def _allow_updates(db: sa.Connection) -> None:
    on = " ON ledger_sources" if db.dialect.name == "postgresql" else ""
    op.execute(f"DROP TRIGGER IF EXISTS ledger_sources_no_update{on}")


def _refuse_updates(db: sa.Connection) -> None:
    if db.dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER ledger_sources_no_update BEFORE UPDATE ON ledger_sources "
            "FOR EACH ROW EXECUTE FUNCTION ledger_append_only()"
        )
    else:
        op.execute(
            "CREATE TRIGGER ledger_sources_no_update BEFORE UPDATE ON ledger_sources "
            "BEGIN SELECT RAISE(ABORT, 'ledger_sources is append-only'); END"
        )

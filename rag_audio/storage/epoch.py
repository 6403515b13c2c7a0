"""The epoch of a catalogue: a number that every change of it raises, in the change's transaction.

Whoever made something from the catalogue asks for the epoch, which is one small row, and makes it
anew only where the epoch is another one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    select,
)

metadata = MetaData()
"""Of this table and those of :mod:`.stem_rows`."""
_TOKEN_BYTES = 12

catalogue_epoch = Table(
    "catalogue_epoch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("rights", BigInteger, nullable=False),
    Column("token", Text, nullable=False),
)
"""One row, with the id 1."""
_EPOCH = select(catalogue_epoch.c.epoch, catalogue_epoch.c.rights, catalogue_epoch.c.token)


@dataclass(frozen=True)
class CatalogueEpoch:
    """How often a catalogue was changed.

    Attributes:
        number: 1 at first; one more with every transaction that changes something.
        rights: the number at which libraries, licenses, revocations, conflicts or withheld files
            were changed last; later ones changed files alone.
        token: drawn anew with every change, so that two databases which have gone different ways
            from the same backup are told apart.
    """

    number: int
    rights: int
    token: str

    def __str__(self) -> str:
        return f"{self.number}-{self.token}"


def read_epoch(db: Connection) -> CatalogueEpoch:
    """The epoch that a transaction sees."""
    return CatalogueEpoch(*db.execute(_EPOCH).one())


def raise_epoch(db: Connection, *, rights: bool = True) -> int:
    """Count a change, in the transaction that makes it; its number.

    Whoever changes the catalogue waits here for those who are changing it: this comes after locks
    of files and revocations, and before the ledger's.

    Args:
        rights: whether more is changed than which files there are.
    """
    row = catalogue_epoch.c
    new = {"epoch": row.epoch + 1, "token": secrets.token_hex(_TOKEN_BYTES)}
    if rights:
        new["rights"] = row.epoch + 1
    db.execute(catalogue_epoch.update().values(**new))
    return read_epoch(db).number


def begin_epochs(db: Connection) -> None:
    """The one row of a database that has none."""
    token = secrets.token_hex(_TOKEN_BYTES)
    db.execute(insert(catalogue_epoch).values(id=1, epoch=1, rights=1, token=token))

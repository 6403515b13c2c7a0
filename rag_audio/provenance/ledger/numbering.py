"""Output numbers, which no two outputs share: not after a restore, and not of two homes.

A watermark carries a number of 40 bits and nothing that says which copy of a ledger gave it. Of a
ledger that was restored from a backup two copies may go on, the restored one and the original; if
both counted on from where the archive stood, two outputs would share a number and a mark. Numbers
are therefore given in *epochs*: rows of ``ledger_counter``, of which the one with the highest id is
counted on. The first runs from 1 to 10⁹. Each restore begins another one at a place drawn at
random: a million ``k · 10⁶ + 1 … k · 10⁶ + 999,999`` with ``k`` uniform in 1000 … 1,099,510, so
that numbers stay readable and lie above the first epoch's. Two restores of one archive draw the
same of the 1,098,511 places with a probability below 10⁻⁶, and ``n`` of them with one of about
``n² / 2.2 · 10⁻⁶``. When a million is used up, or the number that comes next has a master in the
home already (its database was put back to an older state past us), another epoch is begun.

An epoch beyond the first is named by the event that began it (``numbers_from``), ``restore`` or
``numbers``, in the same transaction, so that :func:`epoch_faults` can compare them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from rag_audio.domain.record import Fault, LedgerEvent
from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger.tables import (
    MAX_OUTPUT,
    append_event,
    counter,
    counter_checksum,
    entries,
    events_in,
)

FIRST_EPOCH_LAST = 10**9
"""The last number of the epoch that a new ledger begins with."""
EPOCH_NUMBERS = 10**6
"""What lies between the starts of two epochs; each gives one number less than that."""
FIRST_PLACE = FIRST_EPOCH_LAST // EPOCH_NUMBERS
LAST_PLACE = (MAX_OUTPUT + 1) // EPOCH_NUMBERS - 1
"""Epochs beyond the first start at ``place · EPOCH_NUMBERS``; all numbers fit into 40 bits."""
RESTORE, NUMBERS = "restore", "numbers"
"""The kinds of events that begin an epoch."""
_OF_MIGRATIONS = ("library", "access")
"""Kinds of events that bringing an older database up to date may append."""


@dataclass(frozen=True)
class Epoch:
    """Numbers that were given one after the other, ``first`` … ``last``; none: last < first."""

    id: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """The last number that it may give."""
        return FIRST_EPOCH_LAST if self.first == 1 else self.first + EPOCH_NUMBERS - 2


@dataclass(frozen=True)
class Given:
    """The numbers that were ever given; ``everything`` where that cannot be known any more."""

    epochs: tuple[Epoch, ...]
    everything: bool = False

    def __contains__(self, output: int) -> bool:
        return self.everything or any(one.first <= output <= one.last for one in self.epochs)


def given_in(db: Connection) -> Given:
    """The numbers that were given, without a look at the checksums."""
    numbers = select(counter.c.id, counter.c.first_output, counter.c.last_output)
    rows = db.execute(numbers.order_by(counter.c.id))
    return Given(tuple(Epoch(*map(int, row)) for row in rows))


def next_number(db: Connection, is_used: Callable[[int], bool]) -> int:
    """Give the next number; the writer's lock is held by the caller.

    Args:
        is_used: whether a number was used before, whatever the counter says.

    Raises:
        LedgerError: all numbers have been given.
    """
    epochs = given_in(db).epochs
    if not epochs:
        raise LedgerError("the counter of outputs is missing", hint="rag-audio ledger verify")
    epoch = epochs[-1]
    number = epoch.last + 1
    while number > epoch.end or is_used(number):
        epoch = begin_epoch(db)
        append_event(db, NUMBERS, {"numbers_from": epoch.first})
        number = epoch.first
    values = {"last_output": number, "checksum": counter_checksum(number, epoch.first)}
    db.execute(update(counter).where(counter.c.id == epoch.id).values(values))
    return number


def begin_epoch(db: Connection, without: Collection[int] = ()) -> Epoch:
    """Begin an epoch at a random place; who calls this logs it in the same transaction.

    Args:
        without: numbers that are known to be given by a ledger elsewhere.

    Raises:
        LedgerError: all numbers have been given.
    """
    epochs = given_in(db).epochs
    taken = {one.first // EPOCH_NUMBERS for one in epochs}
    taken |= {number // EPOCH_NUMBERS for number in without}
    free = LAST_PLACE - FIRST_PLACE + 1 - sum(FIRST_PLACE <= one <= LAST_PLACE for one in taken)
    if free <= 0:
        raise LedgerError(f"all {MAX_OUTPUT} output numbers have been used")
    while (place := _draw()) in taken:
        pass
    first = place * EPOCH_NUMBERS + 1
    epoch = Epoch(max((one.id for one in epochs), default=0) + 1, first, first - 1)
    row = {"id": epoch.id, "first_output": first, "last_output": epoch.last}
    db.execute(insert(counter), {**row, "checksum": counter_checksum(epoch.last, first)})
    return epoch


def check_given(db: Connection, outputs: Sequence[int]) -> None:
    """Refuse numbers that were never given.

    Raises:
        LedgerError: one was not.
    """
    given = given_in(db)
    for output in outputs:
        if output not in given:
            raise LedgerError(
                f"output number {output} was never assigned",
                hint="ask the ledger for the next output id",
            )


def read_given(db: Connection) -> tuple[Given, list[str]]:
    """The numbers that were given, and what is wrong with the counter by itself."""
    rows = db.execute(select(counter).order_by(counter.c.id)).all()
    if not rows or [row.id for row in rows] != list(range(1, len(rows) + 1)):
        return Given(()), [f"the counter of outputs has {len(rows)} rows, or not the right ones"]
    for row in rows:
        numbers = (row.last_output, row.first_output)
        if not all(isinstance(one, int) for one in numbers):
            return Given((), everything=True), ["the counter of outputs holds no numbers"]
        if counter_checksum(*numbers) != row.checksum:
            what = "the counter of outputs does not match its checksum"
            return Given((), everything=True), [what]
    return Given(tuple(Epoch(row.id, row.first_output, row.last_output) for row in rows)), []


def epoch_faults(db: Connection, given: Given) -> Iterator[Fault]:
    """Epochs that no event of the log began, and such events without an epoch."""
    if given.everything or not given.epochs:
        return  # Told already, and nothing to compare.
    events = events_in(db, RESTORE, NUMBERS)
    begun = [(event.seq, event.document.get("numbers_from")) for event in events]
    for event in events:
        if event.kind == RESTORE and not _follows(db, event):
            yield Fault(event.seq, "the restore is of another log than the entries before it")
    first, *later = given.epochs
    if first.first != 1:
        yield Fault(0, f"the counter of outputs begins with {first.first}, not with 1")
    for place in range(max(len(begun), len(later))):
        seq, said = begun[place] if place < len(begun) else (0, None)
        counted = later[place].first if place < len(later) else None
        if said != counted:
            yield Fault(
                seq,
                f"the log says that numbers from {said} were begun, the counter has {counted}",
            )
    for one in given.epochs:
        if one.last > one.end or one.last < one.first - 1:
            yield Fault(0, f"the counter of outputs from {one.first} cannot stand at {one.last}")


def _follows(db: Connection, event: LedgerEvent) -> bool:
    """Whether a restore comes after the entries of its archive, and those that bringing an older
    database up to date appends."""
    archived = event.document.get("entries")
    if not isinstance(archived, int) or isinstance(archived, bool):
        return False
    between = entries.c.seq.between(archived + 1, event.seq - 1)
    others = select(entries.c.seq).where(between, entries.c.kind.not_in(_OF_MIGRATIONS)).limit(1)
    return 0 <= archived < event.seq and db.execute(others).first() is None


def _draw() -> int:
    return FIRST_PLACE + secrets.randbelow(LAST_PLACE - FIRST_PLACE + 1)

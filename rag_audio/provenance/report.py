"""What was used in a period, by holder: for statements, invoices and those who ask."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from rag_audio.domain import AttributionRecord, Channel, License, Share, SourceUse, names
from rag_audio.domain.credits import credit_lines
from rag_audio.domain.json_documents import JsonObject
from rag_audio.domain.record import LedgerEntry
from rag_audio.errors import InvalidInput
from rag_audio.provenance.usage_spool import UsageSpool

KINDS = ("master", "composition")
COLUMNS = (
    "output", "created", "files", "stem", "title", "artist", "isrc", "iswc",
    "library", "license", "license_holder", "right", "holder", "ipi", "split", "split_declared",
    "used_prompt", "used_init", "share_prompt", "share_init", "credit",
    "undecided",
)  # fmt: skip
Shares = dict[str, dict[Channel, float]]
"""By right (``master``, ``composition``) and channel."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _none() -> Shares:
    return {kind: dict.fromkeys(Channel, 0.0) for kind in KINDS}


@dataclass
class HolderUsage:
    """What one party has in the outputs of a period.

    Attributes:
        credits: lines to print.
        shares: by right (``master``, ``composition``) and channel: the sum over all uses of the
            used share times the split. An output counts as 1 per channel at most.
        undecided: by right and channel, what this party and others claim as long as nobody has
            decided whose license holds; it is in nobody's ``shares``.
    """

    holder: str
    ipi: str
    spool: UsageSpool = field(repr=False)
    number: int
    credits: dict[str, None] = field(default_factory=dict)
    shares: Shares = field(default_factory=_none)
    undecided: Shares = field(default_factory=_none)

    def outputs(self) -> Iterator[int]:
        """Numbers of the outputs, in order."""
        return self.spool.outputs(self.number)

    def sources(self) -> Iterator[str]:
        """Ids of the stems, in order."""
        return self.spool.sources(self.number)

    def members(self) -> Iterator[tuple[str, Any]]:
        """The usage as the members of a JSON object; lists are iterators, sorted."""
        claimed = any(share for shares in self.undecided.values() for share in shares.values())
        yield from (("holder", self.holder), ("ipi", self.ipi))
        yield from (("outputs", self.outputs()), ("sources", self.sources()))
        yield "credits", list(self.credits)
        yield from _shares_json(self.shares).items()
        if claimed:
            yield "undecided", _shares_json(self.undecided)


@dataclass
class UndecidedUsage:
    """What several licenses claim together, with no split between them.

    Attributes:
        licenses: keys. holders: who grants them.
        shares: by right and channel: the sum over all uses of the used share, counted once.
    """

    licenses: tuple[str, ...]
    holders: tuple[str, ...]
    spool: UsageSpool = field(repr=False)
    number: int
    shares: Shares = field(default_factory=_none)

    def members(self) -> Iterator[tuple[str, Any]]:
        """The usage as the members of a JSON object; lists of what was used are iterators."""
        yield from (("licenses", list(self.licenses)), ("holders", list(self.holders)))
        yield "outputs", self.spool.outputs(self.number)
        yield "sources", self.spool.sources(self.number)
        yield from _shares_json(self.shares).items()


class UsageReport:
    """A period's use. Rows, outputs and sources are kept in a temporary file, sums in memory.

    Attributes:
        start, end: UTC; ``end`` is the first moment after it.
        outputs: how many were made. unaccounted: how many of them used no source.
    """

    def __init__(self, start: datetime, end: datetime) -> None:
        self.start, self.end = start, end
        self.outputs = self.unaccounted = 0
        self._spool = UsageSpool()
        self._holders: dict[tuple[str, str], HolderUsage] = {}
        self._open: dict[tuple[str, ...], UndecidedUsage] = {}

    @property
    def holders(self) -> tuple[HolderUsage, ...]:
        """What each party has, in order of names."""
        return tuple(self._holders[key] for key in sorted(self._holders))

    @property
    def undecided(self) -> tuple[UndecidedUsage, ...]:
        """What belongs to one of several holders, and nobody has decided to which."""
        return tuple(self._open[keys] for keys in sorted(self._open))

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return self._spool.count

    def rows(self) -> Iterator[dict[str, Any]]:
        """One per output, source, right and party, in order of output."""
        return (dict(zip(COLUMNS, row, strict=True)) for row in self._spool.rows())

    def members(self) -> Iterator[tuple[str, Any]]:
        """The whole report as the members of a JSON object, for :func:`.json_pieces`."""
        yield from (("from", self.start.isoformat()), ("to", self.end.isoformat()))
        yield "outputs", self.outputs
        yield "outputs_without_sources", self.unaccounted
        yield "holders", (JsonObject(usage.members()) for usage in self.holders)
        if self._open:
            yield "undecided", (JsonObject(one.members()) for one in self.undecided)
        yield "rows", self.rows()

    def add(self, record: AttributionRecord) -> None:
        """Take an output into account."""
        self.outputs += 1
        self.unaccounted += not record.sources
        for source in record.sources:
            for kind in KINDS:
                self._add_use(record, source, kind)

    def _add_use(self, record: AttributionRecord, source: SourceUse, kind: str) -> None:
        claimants = _claimants(source, kind)
        for license, share in _parts(source, kind, bool(claimants)):
            row = _row(record, source, license, kind, share, bool(claimants))
            self._spool.add_row([row[column] for column in COLUMNS])
            usage = self._usage(share)
            self._spool.add_use(usage.number, record.output, source.reference.stem.id)
            usage.credits.update(dict.fromkeys(credit_lines([license])))
            if not claimants:
                _add(usage.shares[kind], source, share.share)
        for who in claimants:
            _add(self._holders[who].undecided[kind], source)
        if claimants:
            group = self._group(source)
            self._spool.add_use(group.number, record.output, source.reference.stem.id)
            _add(group.shares[kind], source)

    def _usage(self, share: Share) -> HolderUsage:
        key = _who(share)
        if key not in self._holders:
            number = self._next_number()
            self._holders[key] = HolderUsage(share.holder, share.ipi, self._spool, number)
        return self._holders[key]

    def _group(self, source: SourceUse) -> UndecidedUsage:
        keys = tuple(sorted(license.key for license in source.licenses))
        if keys not in self._open:
            holders, number = tuple(sorted(source.holders)), self._next_number()
            self._open[keys] = UndecidedUsage(keys, holders, self._spool, number)
        return self._open[keys]

    def _next_number(self) -> int:
        return len(self._holders) + len(self._open)


def period(first: date, last: date) -> tuple[datetime, datetime]:
    """From the start of the first day to the end of the last, UTC.

    Raises:
        InvalidInput: the last day is before the first.
    """
    if last < first:
        raise InvalidInput(f"--to {last} is before --from {first}")
    start, end = (datetime.combine(day, time(), UTC) for day in (first, last))
    return start, end + timedelta(days=1)


def usage_report(entries: Iterable[LedgerEntry], start: datetime, end: datetime) -> UsageReport:
    """Gather what the outputs made from ``start`` until before ``end`` used.

    Splits are those of the license as it stood when the output was made. A right for which a
    license declares no split belongs to its holder whole, and the row says so. Of a source that
    several licenses claimed, undecided, every party has rows without shares of its own.

    Args:
        entries: taken one by one; what is kept of them in memory does not grow with them.

    Raises:
        BackendError: there is no room for temporary files.
    """
    report = UsageReport(start, end)
    for record in _made_in(entries, start, end):
        report.add(record)
    return report


def usage_rows(
    entries: Iterable[LedgerEntry], start: datetime, end: datetime
) -> Iterator[dict[str, Any]]:
    """The rows of :func:`usage_report` alone, while the entries are read; nothing is kept."""
    for record in _made_in(entries, start, end):
        for source in record.sources:
            for kind in KINDS:
                open_ = bool(_claimants(source, kind))
                for license, share in _parts(source, kind, open_):
                    yield _row(record, source, license, kind, share, open_)


def csv_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Rows as lines of CSV after a header, safe to open in a spreadsheet.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    table = csv.writer(_Line())
    yield str(table.writerow(COLUMNS))
    for row in rows:
        yield str(table.writerow([_cell(row[column]) for column in COLUMNS]))


class _Line:
    """Lets the writer of a table return its lines."""

    def write(self, line: str) -> str:
        return line


def _made_in(
    entries: Iterable[LedgerEntry], start: datetime, end: datetime
) -> Iterator[AttributionRecord]:
    for entry in entries:
        if start <= entry.record.created.astimezone(UTC) < end:
            yield entry.record


def _parts(source: SourceUse, kind: str, undecided: bool) -> Iterator[tuple[License, Share]]:
    """The licenses that count for a right in a source, each with the parties it names."""
    for license in source.licenses if undecided else (source.license,):
        for share in _parties(license, kind):
            yield license, share


def _parties(license: License, kind: str) -> tuple[Share, ...]:
    return license.splits.kinds()[kind] or (Share(license.holder, 1.0, license.ipi),)


def _claimants(source: SourceUse, kind: str) -> set[tuple[str, str]]:
    """Who claims a right in a source, where its licenses give it to different parties."""
    told = {_parties(license, kind) for license in source.licenses}
    return {_who(one) for shares in told for one in shares} if len(told) > 1 else set()


def _who(share: Share) -> tuple[str, str]:
    """A party, whose name may be composed in several ways."""
    return names.exact(share.holder), share.ipi


def _used(source: SourceUse) -> dict[Channel, float]:
    return {channel: source.influence.used.get(channel, 0.0) for channel in Channel}


def _add(sums: dict[Channel, float], source: SourceUse, part: float = 1.0) -> None:
    for channel, used in _used(source).items():
        sums[channel] += used * part


def _shares_json(shares: Shares) -> dict[str, dict[str, float]]:
    return {
        kind: {channel.value: round(share, 9) for channel, share in of_kind.items()}
        for kind, of_kind in shares.items()
    }


def _row(
    record: AttributionRecord,
    source: SourceUse,
    license: License,
    kind: str,
    share: Share,
    undecided: bool,
) -> dict[str, Any]:
    """One party's right in one source of one output, as one of its licenses tells it."""
    stem, used = source.reference.stem, _used(source)
    own = 0.0 if undecided else share.share
    return {
        "output": record.output,
        "created": record.created.astimezone(UTC).isoformat(timespec="seconds"),
        "files": "; ".join(record.files),
        "stem": stem.id,
        "title": stem.title,
        "artist": " / ".join(_artists(source, license)),
        "isrc": stem.isrc,
        "iswc": stem.iswc,
        "library": license.library,
        "license": license.id,
        "license_holder": license.holder,
        "right": kind,
        "holder": share.holder,
        "ipi": share.ipi,
        "split": share.share,
        "split_declared": bool(license.splits.kinds()[kind]),
        "used_prompt": used[Channel.PROMPT],
        "used_init": used[Channel.INIT],
        "share_prompt": used[Channel.PROMPT] * own,
        "share_init": used[Channel.INIT] * own,
        "credit": credit_lines([license])[0],
        "undecided": undecided,
    }


def _artists(source: SourceUse, license: License) -> tuple[str, ...]:
    """The source's artist, and those whom further claims name under this license."""
    own = [source.reference.stem.artist] if license == source.license else []
    also = [one.artist for one in source.also if one.license == license]
    return tuple(dict.fromkeys(name for name in (*own, *also) if name))


def _cell(value: object) -> object:
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    return value

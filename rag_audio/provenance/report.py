"""What was used in a period, by holder: for statements, invoices and those who ask."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import Any

from rag_audio.domain import AttributionRecord, Channel, License, Share, SourceUse, names
from rag_audio.domain.credits import credit_lines
from rag_audio.domain.record import LedgerEntry
from rag_audio.errors import InvalidInput

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
        outputs: numbers of the outputs. sources: ids of the stems. credits: lines to print.
        shares: by right (``master``, ``composition``) and channel: the sum over all uses of the
            used share times the split. An output counts as 1 per channel at most.
        undecided: by right and channel, what this party and others claim as long as nobody has
            decided whose license holds; it is in nobody's ``shares``.
    """

    holder: str
    ipi: str = ""
    outputs: set[int] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    credits: dict[str, None] = field(default_factory=dict)
    shares: Shares = field(default_factory=_none)
    undecided: Shares = field(default_factory=_none)

    def to_json(self) -> dict[str, Any]:
        """The usage as a JSON object, lists sorted."""
        claimed = any(share for shares in self.undecided.values() for share in shares.values())
        return {
            "holder": self.holder,
            "ipi": self.ipi,
            "outputs": sorted(self.outputs),
            "sources": sorted(self.sources),
            "credits": list(self.credits),
            **_shares_json(self.shares),
            **({"undecided": _shares_json(self.undecided)} if claimed else {}),
        }


@dataclass
class UndecidedUsage:
    """What several licenses claim together, with no split between them.

    Attributes:
        licenses: keys. holders: who grants them.
        outputs: numbers of the outputs. sources: ids of the stems.
        shares: by right and channel: the sum over all uses of the used share, counted once.
    """

    licenses: tuple[str, ...]
    holders: tuple[str, ...]
    outputs: set[int] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    shares: Shares = field(default_factory=_none)

    def to_json(self) -> dict[str, Any]:
        """The usage as a JSON object, lists sorted."""
        return {
            "licenses": list(self.licenses),
            "holders": list(self.holders),
            "outputs": sorted(self.outputs),
            "sources": sorted(self.sources),
            **_shares_json(self.shares),
        }


@dataclass(frozen=True)
class UsageReport:
    """A period's use.

    Attributes:
        start, end: UTC; ``end`` is the first moment after it.
        rows: one per output, source, right and party, in order of output.
        unaccounted: outputs of the period that used no source.
        undecided: what belongs to one of several holders, and nobody has decided to which.
    """

    start: datetime
    end: datetime
    rows: tuple[dict[str, Any], ...]
    holders: tuple[HolderUsage, ...]
    outputs: int
    unaccounted: int
    undecided: tuple[UndecidedUsage, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The whole report as one JSON document."""
        return {
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "outputs": self.outputs,
            "outputs_without_sources": self.unaccounted,
            "holders": [usage.to_json() for usage in self.holders],
            **({"undecided": [one.to_json() for one in self.undecided]} if self.undecided else {}),
            "rows": [dict(row) for row in self.rows],
        }

    def to_csv(self) -> str:
        """The rows as CSV with a header, safe to open in a spreadsheet.

        A text that a spreadsheet would take for a formula gets an apostrophe before it.
        """
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(COLUMNS)
        for row in self.rows:
            table.writerow([_cell(row[column]) for column in COLUMNS])
        return text.getvalue()


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
    """
    found = [entry for entry in entries if start <= entry.record.created.astimezone(UTC) < end]
    rows: list[dict[str, Any]] = []
    holders: dict[tuple[str, str], HolderUsage] = {}
    open_: dict[tuple[str, ...], UndecidedUsage] = {}
    uses = ((one.record, source) for one in found for source in one.record.sources)
    for (record, source), kind in product(uses, KINDS):
        claimants = _claimants(source, kind)
        for license in source.licenses if claimants else (source.license,):
            for share in _parties(license, kind):
                rows.append(_row(record, source, license, kind, share, bool(claimants)))
                usage = holders.setdefault(_who(share), HolderUsage(share.holder, share.ipi))
                usage.outputs.add(record.output)
                usage.sources.add(source.reference.stem.id)
                usage.credits.update(dict.fromkeys(credit_lines([license])))
                if not claimants:
                    _add(usage.shares[kind], source, share.share)
        for who in claimants:
            _add(holders[who].undecided[kind], source)
        if claimants:
            keys = tuple(sorted(license.key for license in source.licenses))
            group = open_.setdefault(keys, UndecidedUsage(keys, tuple(sorted(source.holders))))
            group.outputs.add(record.output)
            group.sources.add(source.reference.stem.id)
            _add(group.shares[kind], source)
    return UsageReport(
        start,
        end,
        tuple(rows),
        tuple(holders[key] for key in sorted(holders)),
        outputs=len(found),
        unaccounted=sum(not entry.record.sources for entry in found),
        undecided=tuple(open_[keys] for keys in sorted(open_)),
    )


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

"""What was used in a period, by holder: for statements, invoices and those who ask."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from rag_audio import names
from rag_audio.credits import credit_lines
from rag_audio.domain import Channel, License, Share, SourceUse
from rag_audio.errors import InvalidInput
from rag_audio.ports import LedgerEntry

KINDS = ("master", "composition")
COLUMNS = (
    "output", "created", "files", "stem", "title", "artist", "isrc", "iswc",
    "library", "license", "license_holder", "right", "holder", "ipi", "split", "split_declared",
    "used_prompt", "used_init", "share_prompt", "share_init", "credit",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class HolderUsage:
    """What one party has in the outputs of a period.

    Attributes:
        outputs: numbers of the outputs. sources: ids of the stems. credits: lines to print.
        shares: by right (``master``, ``composition``) and channel: the sum over all uses of the
            used share times the split. An output counts as 1 per channel at most.
    """

    holder: str
    ipi: str = ""
    outputs: set[int] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    credits: dict[str, None] = field(default_factory=dict)
    shares: dict[str, dict[Channel, float]] = field(
        default_factory=lambda: {kind: dict.fromkeys(Channel, 0.0) for kind in KINDS}
    )

    def to_json(self) -> dict[str, Any]:
        """The usage as a JSON object, lists sorted."""
        return {
            "holder": self.holder,
            "ipi": self.ipi,
            "outputs": sorted(self.outputs),
            "sources": sorted(self.sources),
            "credits": list(self.credits),
            **{
                kind: {channel.value: round(share, 9) for channel, share in shares.items()}
                for kind, shares in self.shares.items()
            },
        }


@dataclass(frozen=True)
class UsageReport:
    """A period's use.

    Attributes:
        start, end: UTC; ``end`` is the first moment after it.
        rows: one per output, source, right and party, in order of output.
        unaccounted: outputs of the period that used no source.
    """

    start: datetime
    end: datetime
    rows: tuple[dict[str, Any], ...]
    holders: tuple[HolderUsage, ...]
    outputs: int
    unaccounted: int

    def to_json(self) -> dict[str, Any]:
        """The whole report as one JSON document."""
        return {
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "outputs": self.outputs,
            "outputs_without_sources": self.unaccounted,
            "holders": [usage.to_json() for usage in self.holders],
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
    license declares no split belongs to its holder whole, and the row says so.
    """
    found = [entry for entry in entries if start <= entry.record.created.astimezone(UTC) < end]
    rows: list[dict[str, Any]] = []
    holders: dict[tuple[str, str], HolderUsage] = {}
    for entry in found:
        for source in entry.record.sources:
            for kind in KINDS:
                for share in _parties(source.license, kind):
                    rows.append(_row(entry, source, kind, share))
                    usage = holders.setdefault(
                        (names.exact(share.holder), share.ipi),
                        HolderUsage(share.holder, share.ipi),
                    )
                    _add(usage, entry, source, kind, share)
    return UsageReport(
        start,
        end,
        tuple(rows),
        tuple(holders[key] for key in sorted(holders)),
        outputs=len(found),
        unaccounted=sum(not entry.record.sources for entry in found),
    )


def _parties(license: License, kind: str) -> Sequence[Share]:
    return license.splits.kinds()[kind] or (Share(license.holder, 1.0, license.ipi),)


def _add(
    usage: HolderUsage, entry: LedgerEntry, source: SourceUse, kind: str, share: Share
) -> None:
    usage.outputs.add(entry.record.output)
    usage.sources.add(source.reference.stem.id)
    usage.credits.update(dict.fromkeys(credit_lines([source.license])))
    for channel in Channel:
        usage.shares[kind][channel] += source.influence.used.get(channel, 0.0) * share.share


def _row(entry: LedgerEntry, source: SourceUse, kind: str, share: Share) -> dict[str, Any]:
    stem, license, record = source.reference.stem, source.license, entry.record
    used = {channel: source.influence.used.get(channel, 0.0) for channel in Channel}
    return {
        "output": record.output,
        "created": record.created.astimezone(UTC).isoformat(timespec="seconds"),
        "files": "; ".join(record.files),
        "stem": stem.id,
        "title": stem.title,
        "artist": stem.artist,
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
        "share_prompt": used[Channel.PROMPT] * share.share,
        "share_init": used[Channel.INIT] * share.share,
        "credit": credit_lines([license])[0],
    }


def _cell(value: object) -> object:
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    return value

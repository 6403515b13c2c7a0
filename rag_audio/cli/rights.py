"""``outputs``, ``revoke``, ``report``: what a source went into, and what that means for it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import busy, err, out, show_json, stream_json, table
from rag_audio.domain.json_documents import entry_json
from rag_audio.domain.licensing import Revocation
from rag_audio.domain.record import LedgerEntry
from rag_audio.errors import InvalidInput
from rag_audio.home import open_home
from rag_audio.provenance.ledger.output_queries import OutputFilter
from rag_audio.provenance.report import UsageReport, period, usage_report
from rag_audio.service.revoking import (
    copies_left,
    end_revocation,
    outputs_of,
    revoke_source,
    stems_of,
    target_of,
    unknown_source,
)
from rag_audio.storage.files import export

StemOption = Annotated[str | None, typer.Option(help="Stem id or its beginning.")]
ArtistOption = Annotated[str | None, typer.Option(help="Name; case and accents do not matter.")]
LicenseOption = Annotated[str | None, typer.Option(help="Its id, or library/id.")]


def outputs(
    stem: StemOption = None,
    artist: ArtistOption = None,
    license: LicenseOption = None,
    holder: Annotated[str | None, typer.Option(help="Who grants the license.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Made on this day or later, 2026-01-01 (UTC).")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Made on this day or earlier (UTC).")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the outputs that a source went into; without an option, all outputs."""
    with open_home(home) as opened:
        if stem is not None and len(stem) < 64:
            stem = opened.catalogue.stem(stem).id
        asked = outputs_of(opened, stem=stem, artist=artist, license=license, holder=holder)
        since, until = _days(first, last)
        which = replace(asked, since=since, until=until)
        found = _Counted(opened.ledger.each_output(which))

        def unknown() -> str:
            return "" if found.count else unknown_source(opened, artist, license, holder)

        if as_json:
            stream_json(_with_notes(map(entry_json, found), unknown))
        else:
            _show_outputs(found, unknown)


class _Counted:
    """Entries that are counted while they are taken, which is done once."""

    def __init__(self, entries: Iterator[LedgerEntry]) -> None:
        self._entries, self.count = entries, 0

    def __iter__(self) -> Iterator[LedgerEntry]:
        for entry in self._entries:
            self.count += 1
            yield entry


def _with_notes(
    outputs: Iterator[dict[str, Any]], unknown: Callable[[], str]
) -> Iterator[tuple[str, Any]]:
    yield "outputs", outputs
    if said := unknown():
        yield "notes", [said]


def revoke(
    stem: StemOption = None,
    artist: ArtistOption = None,
    license: LicenseOption = None,
    reason: Annotated[str, typer.Option(help="For those who ask later.")] = "",
    by: Annotated[str | None, typer.Option(help="Who says so (the user's login name).")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take a revocation back.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Stop using a source at once, whatever its license says, and list what it went into."""
    given = [stem, artist, license]
    if sum(value is not None for value in given) != 1:
        raise InvalidInput(
            "name one source to revoke", hint="--stem ID, --artist NAME or --license ID"
        )
    with open_home(home) as opened:
        of, target = target_of(opened, stem, artist, license)
        asked = Revocation(of, target, reason.strip(), by or _login(), datetime.now(UTC))
        document = end_revocation(opened, asked) if undo else revoke_source(opened, asked)
        stems = stems_of(opened, asked)
        copies = copies_left(opened, asked, stems, undone=undo)
        entries = opened.ledger.each_output(outputs_of(opened, **{of.value: target}))
        document["stems"] = [
            {"stem": one.id, "title": one.title, "artist": one.artist, "path": one.path}
            for one in stems
        ]
        if copies:
            document["copies"] = copies
        if as_json:
            stream_json([*document.items(), ("outputs", map(entry_json, entries))])
            return
        out.print(document["message"])
        for copy in copies:
            out.print(f"stem {copy['stem'][:12]}: {copy['says']}")
        if not stems:
            err.print(f"note: no indexed stem has this {of.value}; it counts for what comes later")
        _show_outputs(entries)


def report(
    first: Annotated[str, typer.Option("--from", help="First day, such as 2026-01-01 (UTC).")],
    last: Annotated[str, typer.Option("--to", help="Last day, inclusive.")],
    kind: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="Of the report.")
    ] = "json",
    out_file: Annotated[Path | None, typer.Option("--out", help="File to write.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what was used in a period, by holder, with shares, splits and credit lines."""
    start, end = period(_day("--from", first), _day("--to", last))
    with open_home(home) as opened, busy("reading the ledger"):
        found = usage_report(
            opened.ledger.each_output(OutputFilter(since=start, until=end)), start, end
        )
    if out_file is not None:
        _write(found, kind, out_file)
    if as_json:
        show_json({**found.to_json(), "file": None if out_file is None else str(out_file)})
    elif out_file is not None:
        out.print(f"{len(found.rows)} rows in {out_file}")
    else:
        typer.echo(_text(found, kind), nl=False)


_TOGETHER = 100
"""Outputs of one table: a column is as wide as the widest of them needs."""


def _show_outputs(entries: Iterable[LedgerEntry], unknown: Callable[[], str] = str) -> None:
    """Tables of outputs, which are printed while they are read.

    Args:
        unknown: why there are none, where it is known.
    """
    rest, shown = iter(entries), False
    while some := list(islice(rest, _TOGETHER)):
        table(("output", "created", "files", "prompt", "sources"), [_cells(one) for one in some])
        shown = True
    if not shown:
        said = unknown()
        err.print(f"note: {said}" if said else "no output used it")


def _cells(entry: LedgerEntry) -> tuple[object, ...]:
    record = entry.record
    stems = [source.reference.stem for source in record.sources]
    return (
        record.output,
        record.created.isoformat(timespec="seconds"),
        ", ".join(record.files),
        record.plan.get("prompt", ""),
        ", ".join(stem.title or stem.path for stem in stems),
    )


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in a container
        return "unknown"


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{option} {text!r} is not a day like 2026-01-31") from error


def _days(first: str | None, last: str | None) -> tuple[datetime | None, datetime | None]:
    """From the start of the one day to the end of the other, as far as they are given."""
    since = None if first is None else _day("--from", first)
    until = None if last is None else _day("--to", last)
    start, end = period(since or date.min, until or date.max - timedelta(days=1))
    return start if since else None, end if until else None


def _text(found: UsageReport, kind: str) -> str:
    if kind == "csv":
        return found.to_csv()
    return json.dumps(found.to_json(), ensure_ascii=False, indent=2) + "\n"


def _write(found: UsageReport, kind: str, target: Path) -> None:
    # A spreadsheet takes UTF-8 for UTF-8 only after a byte order mark.
    encoding = "utf-8-sig" if kind == "csv" else "utf-8"
    with export(target) as draft:
        draft.write_text(_text(found, kind), encoding=encoding, newline="")

"""``outputs``, ``revoke``, ``report``: what a source went into, and what that means for it."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import busy, err, out, show_json, table
from rag_audio.domain.json_documents import entry_json
from rag_audio.domain.licensing import Revocation
from rag_audio.domain.record import LedgerEntry
from rag_audio.errors import InvalidInput
from rag_audio.home import open_home
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
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the outputs that a source went into; without an option, all outputs."""
    with open_home(home) as opened:
        if stem is not None and len(stem) < 64:
            stem = opened.catalogue.stem(stem).id
        entries = outputs_of(opened, stem=stem, artist=artist, license=license, holder=holder)
        unknown = "" if entries else unknown_source(opened, artist, license, holder)
    if as_json:
        notes = {"notes": [unknown]} if unknown else {}
        show_json({"outputs": [entry_json(entry) for entry in entries], **notes})
    elif unknown:
        err.print(f"note: {unknown}")
    else:
        _show_outputs(entries)


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
        entries = outputs_of(opened, **{of.value: target})
    document["stems"] = [
        {"stem": one.id, "title": one.title, "artist": one.artist, "path": one.path}
        for one in stems
    ]
    if copies:
        document["copies"] = copies
    document["outputs"] = [entry_json(entry) for entry in entries]
    if as_json:
        show_json(document)
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
        found = usage_report(opened.ledger.outputs(), start, end)
    if out_file is not None:
        _write(found, kind, out_file)
    if as_json:
        show_json({**found.to_json(), "file": None if out_file is None else str(out_file)})
    elif out_file is not None:
        out.print(f"{len(found.rows)} rows in {out_file}")
    else:
        typer.echo(_text(found, kind), nl=False)


def _show_outputs(entries: list[LedgerEntry]) -> None:
    if not entries:
        err.print("no output used it")
        return
    table(
        ("output", "created", "files", "prompt", "sources"),
        [
            (
                entry.record.output,
                entry.record.created.isoformat(timespec="seconds"),
                ", ".join(entry.record.files),
                entry.record.plan.get("prompt", ""),
                ", ".join(
                    s.reference.stem.title or s.reference.stem.path for s in entry.record.sources
                ),
            )
            for entry in entries
        ],
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


def _text(found: UsageReport, kind: str) -> str:
    if kind == "csv":
        return found.to_csv()
    return json.dumps(found.to_json(), ensure_ascii=False, indent=2) + "\n"


def _write(found: UsageReport, kind: str, target: Path) -> None:
    # A spreadsheet takes UTF-8 for UTF-8 only after a byte order mark.
    encoding = "utf-8-sig" if kind == "csv" else "utf-8"
    with export(target) as draft:
        draft.write_text(_text(found, kind), encoding=encoding, newline="")

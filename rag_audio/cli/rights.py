"""``outputs``, ``revoke``, ``report``: what a source went into, and what that means for it."""

from __future__ import annotations

import getpass
import json
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_audio.bootstrap import Workspace, open_workspace
from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import err, out, show_json, table
from rag_audio.documents import entry_json
from rag_audio.domain import Stem
from rag_audio.errors import BackendError, InvalidInput
from rag_audio.licensing import Revocation, RevocationOf, fold_name
from rag_audio.ports import LedgerEntry
from rag_audio.reporting import UsageReport, period, usage_report

StemOption = Annotated[str | None, typer.Option(help="Stem id or its beginning.")]
ArtistOption = Annotated[str | None, typer.Option(help="Name; case and accents do not matter.")]
LicenseOption = Annotated[str | None, typer.Option(help="Its id, or library/id.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("outputs")(outputs)
    app.command("revoke")(revoke)
    app.command("report")(report)


def outputs(
    stem: StemOption = None,
    artist: ArtistOption = None,
    license: LicenseOption = None,
    holder: Annotated[str | None, typer.Option(help="Who grants the license.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List the outputs that a source went into; without an option, all outputs."""
    with open_workspace(home) as workspace:
        if stem is not None and len(stem) < 64:
            stem = workspace.parts.catalogue.stem(stem).id
        entries = _outputs(workspace, stem=stem, artist=artist, license=license, holder=holder)
    if as_json:
        show_json({"outputs": [entry_json(entry) for entry in entries]})
        return
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
    with open_workspace(home) as workspace:
        of, target = _target(workspace, stem, artist, license)
        asked = Revocation(of, target, reason.strip(), by or _login(), datetime.now(UTC))
        document = _end(workspace, asked) if undo else _begin(workspace, asked)
        stems = _stems_of(workspace, asked)
        entries = _outputs(workspace, **{of.value: target})
    document["stems"] = [
        {"stem": one.id, "title": one.title, "artist": one.artist, "path": one.path}
        for one in stems
    ]
    document["outputs"] = [entry_json(entry) for entry in entries]
    if as_json:
        show_json(document)
        return
    out.print(document["message"], markup=False)
    if not stems:
        err.print(f"note: no indexed stem has this {of.value}; it counts for what comes later")
    _show_outputs(entries)


def report(
    first: Annotated[str, typer.Option("--from", help="First day, such as 2026-01-01 (UTC).")],
    last: Annotated[str, typer.Option("--to", help="Last day, inclusive.")],
    kind: Annotated[str, typer.Option("--format", help="csv or json.")] = "json",
    out_file: Annotated[Path | None, typer.Option("--out", help="File to write.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what was used in a period, by holder, with shares, splits and credit lines."""
    if kind not in ("csv", "json"):
        raise InvalidInput(f"{kind!r} is not a format of reports", hint="csv or json")
    start, end = period(_day("--from", first), _day("--to", last))
    with open_workspace(home) as workspace:
        found = usage_report(workspace.parts.ledger.outputs(), start, end)
    if out_file is not None:
        _write(found, kind, out_file)
    if as_json:
        show_json({**found.to_json(), "file": None if out_file is None else str(out_file)})
    elif out_file is not None:
        out.print(f"{len(found.rows)} rows in {out_file}", markup=False)
    else:
        typer.echo(_text(found, kind), nl=False)


def _begin(workspace: Workspace, asked: Revocation) -> dict[str, Any]:
    new = workspace.parts.catalogue.revoke(asked)
    removed, index = _purge(workspace, _stems_of(workspace, asked))
    event = _log(workspace, asked, undo=False) if new else None
    state = "is revoked" if new else "was revoked before"
    return {
        "revoked": _revocation_json(asked),
        "new": new,
        "undone": False,
        "purged": {"segments": removed, "index": index},
        "ledger": event,
        "message": f"{asked.of.value} {asked.target} {state}; {index}",
    }


def _end(workspace: Workspace, asked: Revocation) -> dict[str, Any]:
    if not workspace.parts.catalogue.end_revocation(asked):
        raise InvalidInput(f"{asked.of.value} {asked.target} is not revoked")
    event = _log(workspace, asked, undo=True)
    return {
        "revoked": _revocation_json(asked),
        "new": False,
        "undone": True,
        "purged": {"segments": 0, "index": "the next rag-audio index embeds it again"},
        "ledger": event,
        "message": f"{asked.of.value} {asked.target} is no longer revoked; "
        "rag-audio index on its library embeds it again",
    }


def _purge(workspace: Workspace, stems: Iterable[Stem]) -> tuple[int, str]:
    """Delete the embeddings of stems; where the index is held by somebody, say what that means."""
    ids = {stem.id for stem in stems}
    if not ids:
        return 0, "nothing of it is in the index"
    try:
        index = workspace.parts.index
        points = [point.id for id_ in sorted(ids) for point in index.find_stem(id_)]
        index.delete(points)
    except BackendError as error:
        return 0, (
            f"its embeddings are still in the index, which every search leaves out now, and the "
            f"next rag-audio index removes ({error.message})"
        )
    return len(points), f"{len(points)} embeddings were removed from the index"


def _log(workspace: Workspace, asked: Revocation, *, undo: bool) -> int:
    # The log is public and permanent: who and why stay in the table of revocations.
    document = {"of": asked.of.value, "target": asked.target, "undo": undo}
    return workspace.parts.ledger.append_event("revocation", document).seq


def _target(
    workspace: Workspace, stem: str | None, artist: str | None, license: str | None
) -> tuple[RevocationOf, str]:
    """What is meant, in full; what is not indexed must be named in full."""
    catalogue = workspace.parts.catalogue
    if stem is not None:
        whole = stem.strip().lower()
        if len(whole) == 64 and set(whole) <= set("0123456789abcdef"):
            return RevocationOf.STEM, whole
        return RevocationOf.STEM, catalogue.stem(stem).id
    if artist is not None:
        if not fold_name(artist):
            raise InvalidInput(f"{artist!r} is not a name")
        written = sorted({one.artist for one in catalogue.stems()})
        same = [name for name in written if fold_name(name) == fold_name(artist)]
        return RevocationOf.ARTIST, same[0] if same else " ".join(artist.split())
    named = (license or "").strip()
    known = {one.license_key for one in catalogue.stems()}
    known |= set(workspace.pipeline.rights().licenses)
    keys = sorted(key for key in known if named in (key, key.partition("/")[2]))
    if len(keys) > 1:
        raise InvalidInput(
            f"{len(keys)} libraries have a license {named!r}", hint=f"name one: {', '.join(keys)}"
        )
    if not keys and "/" not in named:
        raise InvalidInput(
            f"no library has a license {named!r}", hint="rag-audio library lists the licenses"
        )
    return RevocationOf.LICENSE, keys[0] if keys else named


def _stems_of(workspace: Workspace, asked: Revocation) -> list[Stem]:
    stems = workspace.parts.catalogue.stems()
    if asked.of is RevocationOf.STEM:
        return [stem for stem in stems if stem.id == asked.target]
    if asked.of is RevocationOf.LICENSE:
        return [stem for stem in stems if stem.license_key == asked.target]
    return [stem for stem in stems if fold_name(stem.artist) == asked.folded]


def _outputs(
    workspace: Workspace,
    stem: str | None = None,
    artist: str | None = None,
    license: str | None = None,
    holder: str | None = None,
) -> list[LedgerEntry]:
    """Outputs that used such a source, under any spelling of the artist that is known."""
    ledger = workspace.parts.ledger
    if artist is None:
        return ledger.outputs(stem=stem, license=license, holder=holder)
    names = {one.artist for one in workspace.parts.catalogue.stems()}
    names = {name for name in names if fold_name(name) == fold_name(artist)} | {artist}
    found = [
        entry
        for name in sorted(names)
        for entry in ledger.outputs(stem=stem, artist=name, license=license, holder=holder)
    ]
    return [entry for _, entry in sorted({entry.seq: entry for entry in found}.items())]


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


def _revocation_json(asked: Revocation) -> dict[str, Any]:
    return {
        "of": asked.of.value,
        "target": asked.target,
        "reason": asked.reason,
        "by": asked.by,
        "at": asked.at.isoformat(),
    }


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
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    # A spreadsheet takes UTF-8 for UTF-8 only after a byte order mark.
    encoding = "utf-8-sig" if kind == "csv" else "utf-8"
    try:
        with draft.open("w", encoding=encoding, newline="") as file:
            file.write(_text(found, kind))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)

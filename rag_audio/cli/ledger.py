"""``ledger``: check the log, read it, prove what is in it, and erase personal texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_audio.cli.options import Home, Json, read_text
from rag_audio.cli.output import busy, checks, err, out, show_json, table, tell
from rag_audio.domain import limits
from rag_audio.domain.record import Fault, LedgerEntry, LedgerEvent
from rag_audio.errors import BackendUnavailable, InvalidInput, LedgerError, UnreadableFile
from rag_audio.home import open_home
from rag_audio.provenance.ledger.export import verify_export, write_export
from rag_audio.provenance.ledger.records import record_to_json
from rag_audio.provenance.ledger.signed_notes import LogCheckpoint, VerifierKey, publish
from rag_audio.provenance.ledger.verification import PROGRESS, VerifyFrom

if TYPE_CHECKING:
    from rag_audio.provenance.ledger.ledger import SqlLedger

ledger = typer.Typer(
    no_args_is_help=True, help="Check and read the ledger, and prove entries of it."
)

Output = Annotated[int, typer.Argument(min=1, max=limits.OUTPUT.high, help="Number of an output.")]
Against = Annotated[
    list[Path] | None,
    typer.Option(help="Signed checkpoint that was kept elsewhere; may be given several times."),
]


@ledger.command()
def verify(
    against: Against = None,
    export: Annotated[
        Path | None, typer.Option(help="Check this export; no database is needed.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Verifier key of the ledger, or a file that holds it.")
    ] = None,
    from_checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|last",
            help="Signed checkpoint, or the last one in the ledger: check what came after it.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a verification that was interrupted, if there is one."
        ),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Recompute every hash of the ledger; exit code 1 when one is wrong."""
    if export is not None and (resume or from_checkpoint is not None):
        raise InvalidInput("an export is checked as a whole: no --resume, no --from-checkpoint")
    notes = [read_text(path) for path in against or ()]
    known = None if key is None else _key(key)
    if export is not None:
        with busy("verifying the export"):
            report = verify_export(export, notes, known)
        document = _verdict(report.faults, report.entries, report.root)
        document["key"] = report.key
        if known is None:
            err.print("the key is the export's own; --key says whose ledger it has to be")
    else:
        with open_home(home) as opened, checks() as on_page:
            ledger = opened.ledger
            start = _start(from_checkpoint, resume, opened.folder)
            found = ledger.verification(notes, known, start, on_page)
            faults = found.faults
            told = partial(_told, bool(faults))
            entries, root = told((0, ""), lambda: (ledger.size(), ledger.root(ledger.size())))
            document = _verdict(faults, entries, root)
            document["key"] = ledger.verifier_key()
            document["from"], document["resumed"] = found.start, found.resumed
            document["notes"] = told([], ledger.notes)
            document["erased"] = told([], lambda: [e.output for e in ledger.each_event("erasure")])
            document["restores"] = told(
                [], lambda: [{"seq": e.seq, **e.document} for e in ledger.each_event("restore")]
            )
    document["against"] = [LogCheckpoint.parse(note).size for note in notes]
    _show_verdict(document, as_json)


def _start(from_checkpoint: str | None, resume: bool, home: Path) -> VerifyFrom:
    """Where to start; what is saved of an interrupted verification is a file of the home."""
    is_last = from_checkpoint == "last"
    note = None if from_checkpoint is None or is_last else read_text(Path(from_checkpoint))
    return VerifyFrom(note, is_last, home / PROGRESS, resume)


def _verdict(faults: list[Fault], entries: int, root: str) -> dict[str, Any]:
    return {
        "ok": not faults,
        "entries": entries,
        "root": root,
        "faults": [{"seq": fault.seq, "what": fault.what} for fault in faults],
    }


def _told(faulty: bool, nothing: Any, read: Callable[[], Any]) -> Any:
    """What the log says beside its faults; nothing where these say that it cannot be read."""
    try:
        return read()
    except (LedgerError, BackendUnavailable, ValueError, TypeError, LookupError):
        if not faulty:
            raise
        return nothing


def _show_verdict(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(document)
    elif document["faults"]:
        table(("entry", "fault"), [(fault["seq"], fault["what"]) for fault in document["faults"]])
    else:
        out.print(f"{document['entries']} entries, all hashes right; root {document['root']}")
        if document.get("from"):
            before = "by their hashes those of the checkpoint, and were not read again"
            out.print(f"the first {document['from']} entries are {before}")
        if document.get("resumed") is not None:
            out.print(f"entries up to {document['resumed']} were read by an earlier, saved run")
        for size in document["against"]:
            out.print(f"the log extends the checkpoint of {size} entries")
        if document.get("erased"):
            numbers = ", ".join(map(str, document["erased"]))
            out.print(f"personal texts were erased from outputs {numbers}")
    if not as_json:
        for note in document.get("notes", ()):
            err.print(note)
        for one in document.get("restores", ()):
            out.print(_restored_line(one))
    if document["faults"]:
        raise typer.Exit(1)


def _restored_line(one: dict[str, Any]) -> str:
    kept = one.get("kept") or {}
    counts = ", ".join(_counted(kept.get(what, 0), what) for what in ("revocations", "erasures"))
    later = one.get("later")
    read = "no later log was looked through" if later == [] else f"kept of it: {counts}"
    return (
        f"restored at entry {one['seq']} from an archive of {one.get('archived') or 'unknown time'}"
        f"; what was logged after entry {one.get('entries')} of the earlier log is not in it"
        f" ({read})"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what.removesuffix('s') if number == 1 else what}"


@ledger.command()
def show(output: Output, home: Home = None, as_json: Json = False) -> None:
    """Print the record of one output and what was logged about it later, as JSON."""
    with open_home(home) as opened:
        entry = _find(opened.ledger, output)
        events = list(opened.ledger.each_event(output=output))
    show_json(
        {
            "seq": entry.seq,
            "leaf_hash": entry.leaf_hash,
            "erased": entry.erased,
            "record": record_to_json(entry.record),
            "events": [_event_json(event) for event in events],
        }
    )


@ledger.command()
def proof(
    output: Output,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=limits.SEED.high,
            help="Size of the log to prove it in, as in a checkpoint.",
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Prove that an output's record is in the log: RFC 6962 inclusion proof, as JSON.

    The leaf's document stands in an export (`rag-audio ledger export`).
    """
    with open_home(home) as opened:
        ledger = opened.ledger
        found = ledger.inclusion(_find(ledger, output).seq, size)
        later = {"consistency": list(ledger.consistency(found.size))} if size else {}
    show_json({"output": output, **found.to_json(), **later})


@ledger.command()
def checkpoint(
    publish_to: Annotated[
        str | None,
        typer.Option("--publish", help="Folder or URL (HTTP PUT) that others can read."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sign the ledger's present state. Keep it outside of this home: it reveals a rewritten log."""
    with open_home(home) as opened:
        note = opened.ledger.checkpoint()
        key = opened.ledger.verifier_key()
    published = None if publish_to is None else publish(note, publish_to)
    signed = LogCheckpoint.parse(note)
    if as_json:
        show_json(
            {
                "origin": signed.origin,
                "size": signed.size,
                "root": signed.root.hex(),
                "key": key,
                "checkpoint": note,
                "published": published,
            }
        )
        return
    out.print(note, end="")
    err.print(f"verifier key: {key}")
    if published is None:
        err.print("it proves little until it is kept elsewhere: --publish DIR|URL")
    else:
        err.print(f"published at {published}")


@ledger.command()
def export(
    target: Annotated[Path, typer.Argument(help="File, or folder for ledger.jsonl.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the whole log, signed and without personal texts, for `ledger verify --export`."""
    with open_home(home) as opened, busy("exporting"):
        file = write_export(opened.ledger, target)
        key = opened.ledger.verifier_key()
        report = verify_export(file, key=key)
    tell(
        {"file": str(file), "entries": report.entries, "root": report.root, "key": key},
        as_json,
        f"{file}: {report.entries} entries, root {report.root}",
    )
    for fault in report.faults:
        err.print(f"entry {fault.seq}: {fault.what}")
    if report.faults:
        raise typer.Exit(1)


@ledger.command()
def erase(
    output: Annotated[
        int, typer.Option(min=1, max=limits.OUTPUT.high, help="Number of an output.")
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete the prompt and other personal texts of an output; the log stays verifiable."""
    with open_home(home) as opened:
        event = opened.ledger.erase(output)
    erased = f"output {output}: the personal texts are erased (entry {event.seq})"
    tell(_event_json(event), as_json, erased)
    err.print("delivered files, plans and backups are not touched by this")


def _event_json(event: LedgerEvent) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "leaf_hash": event.leaf_hash,
        "kind": event.kind,
        "created": event.created,
        "output": event.output,
        "event": dict(event.document),
    }


def _find(ledger: SqlLedger, output: int) -> LedgerEntry:
    entry = ledger.find(output)
    if entry is None:
        raise InvalidInput(f"the ledger has no output {output}", hint="rag-audio outputs")
    return entry


def _key(given: str) -> str:
    """A verifier key, or the file that holds one."""
    if "+" not in given and not Path(given).exists():
        raise UnreadableFile(
            f"{given!r} is neither a verifier key (name+id+base64) nor a file that holds one",
            hint="`rag-audio ledger checkpoint` prints the key of a home's ledger",
        )
    if "+" not in given or Path(given).is_file():
        given = read_text(Path(given))
    return str(VerifierKey.parse(given))

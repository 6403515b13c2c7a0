"""The log as one file that anybody can verify without the database, and without personal texts.

JSON lines in canonical spelling (RFC 8785): first what the log says of itself (size, root, verifier
key, signed checkpoint), then each entry's leaf hash and document, as strings and in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_audio.domain.record import Fault
from rag_audio.errors import ConfigError, InvalidInput, LedgerError, UnreadableFile
from rag_audio.provenance.ledger.audit import document_faults
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from rag_audio.provenance.ledger.records import canonical, parse
from rag_audio.provenance.ledger.signed_notes import (
    LogCheckpoint,
    VerifierKey,
    open_note,
    read_checkpoint,
)
from rag_audio.storage.files import atomic_write

if TYPE_CHECKING:
    from rag_audio.provenance.ledger.ledger import SqlLedger

NAME = "ledger.jsonl"
_FORMAT = "rag-audio ledger export 1"
_LONGEST_LINE = 64 * 2**20


@dataclass
class ExportReport:
    """What an export holds.

    Attributes:
        root: hex; of the documents that are there, whatever the file says.
        key: the verifier key that it was checked with.
    """

    entries: int = 0
    root: str = EMPTY_ROOT.hex()
    key: str = ""
    faults: list[Fault] = field(default_factory=list)


def write_export(ledger: SqlLedger, target: Path) -> Path:
    """Write the log up to now into ``target``, or into a file in it where it is a folder.

    A fresh checkpoint is signed, and stands in the export.

    Returns:
        The file; it is complete, or not there.

    Raises:
        InvalidInput: it cannot be written there.
    """
    note = ledger.checkpoint()
    key = ledger.verifier_key()
    if key is None:
        raise ConfigError("the ledger's key was removed while its checkpoint was signed")
    said = read_checkpoint(note, VerifierKey.parse(key))
    head = {
        "format": _FORMAT,
        "size": said.size,
        "root": said.root.hex(),
        "key": key,
        "checkpoint": note,
    }
    file = target / NAME if target.is_dir() or not target.suffix else target
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as draft:
            _write(draft, head, islice(ledger.documents(), said.size))
    except OSError as error:
        raise InvalidInput(
            f"the export {str(file)!r} cannot be written: {error.strerror}",
            hint="choose another place, or check its permissions",
        ) from error
    except UnicodeDecodeError as error:
        raise LedgerError(
            "a document of the ledger is not UTF-8", hint="rag-audio ledger verify"
        ) from error
    return file


def verify_export(path: Path, against: Sequence[str] = (), key: str | None = None) -> ExportReport:
    """Check an export by itself, and against checkpoints that were kept elsewhere.

    Args:
        path: the file, or the folder with it.
        key: the verifier key that the log is known by; None takes the one in the export, which
            shows that the export is in itself right, not whose it is.

    Raises:
        UnreadableFile: it cannot be read.
        InvalidInput: the key, or a checkpoint of ``against``, is not one.
    """
    report = ExportReport()
    lines = _lines(path / NAME if path.is_dir() else path)
    head = _head(next(lines, b""), report, key)
    if head is None:
        return report
    known, said = head
    report.key = str(known)
    old = [read_checkpoint(note, known) for note in against]
    roots = {0: EMPTY_ROOT}
    frontier = Frontier()
    outputs: set[int] = set()
    for seq, line in enumerate(lines, start=1):
        entry = _entry(line, seq, report)
        if entry is None:
            break
        document, leaf = entry
        frontier.append(leaf)
        report.faults += [Fault(seq, what) for what in _entry_faults(document, outputs)]
        if any(seq == checkpoint.size for checkpoint in old):
            roots[seq] = frontier.root()
    report.entries, report.root = frontier.size, frontier.root().hex()
    if (frontier.size, frontier.root()) != (said.size, said.root):
        report.faults.append(
            Fault(frontier.size, f"the entries are not the {said.size} that the checkpoint signs")
        )
    for checkpoint in old:
        if checkpoint.size > frontier.size:
            what = f"the checkpoint is of {checkpoint.size} entries, the export {frontier.size}"
            report.faults.append(Fault(frontier.size + 1, what))
        elif roots[checkpoint.size] != checkpoint.root:
            what = f"the first {checkpoint.size} entries are not those of the checkpoint"
            report.faults.append(Fault(checkpoint.size, what))
    return report


def read_export(path: Path, key: str | None = None) -> Iterator[tuple[int, bytes]]:
    """The entries of an export one by one, each once it is found to be right: (seq, document).

    Args:
        path, key: as for :func:`verify_export`.

    Raises:
        UnreadableFile: it cannot be read.
        InvalidInput: while it is read: from here on it is damaged, or breaks off.
    """
    report, frontier = ExportReport(), Frontier()
    lines = _lines(path / NAME if path.is_dir() else path)
    head = _head(next(lines, b""), report, key)
    for seq, line in enumerate(lines, start=1):
        entry = None if report.faults else _entry(line, seq, report)
        if entry is not None:
            report.faults += [Fault(seq, what) for what in document_faults(entry[0])]
        if entry is None or report.faults:
            break
        frontier.append(entry[1])
        yield seq, entry[0]
    if report.faults or head is None:
        raise InvalidInput("; ".join(fault.what for fault in report.faults))
    if (frontier.size, frontier.root()) != (head[1].size, head[1].root):
        raise InvalidInput(f"the entries are not the {head[1].size} that its checkpoint signs")


def signed_size(path: Path) -> int | None:
    """How many entries the checkpoint of an export signs; None where it has none that is right.

    Args:
        path: the file, or the folder with it.

    Raises:
        UnreadableFile: it cannot be read.
    """
    lines = _lines(path / NAME if path.is_dir() else path)
    head = _head(next(lines, b""), ExportReport(), None)
    return None if head is None else head[1].size


def _write(path: Path, head: dict[str, Any], documents: Iterable[bytes]) -> None:
    with path.open("wb") as out:
        out.write(canonical(head) + b"\n")
        for seq, document in enumerate(documents, start=1):
            line = {
                "seq": seq,
                "leaf_hash": leaf_hash(document).hex(),
                "document": document.decode(),
            }
            out.write(canonical(line) + b"\n")


def _head(
    line: bytes, report: ExportReport, key: str | None
) -> tuple[VerifierKey, LogCheckpoint] | None:
    known = None if key is None else VerifierKey.parse(key)
    try:
        head = _object(line, {"format", "size", "root", "key", "checkpoint"})
        if head["format"] != _FORMAT:
            raise InvalidInput(f"the format {head['format']!r} is not known")
        if not isinstance(head["key"], str) or not isinstance(head["checkpoint"], str):
            raise InvalidInput("its key or its checkpoint is not text")
        own = VerifierKey.parse(head["key"])
        if known is not None and own != known:
            raise InvalidInput("it is signed by another key than the one that was asked for")
        said = read_checkpoint(head["checkpoint"], own)
        # Exports are signed once; a second signature, or an extension, would be somebody's edit.
        signature = head["checkpoint"].removeprefix(said.text).split("\n")
        if open_note(head["checkpoint"], own) != said.text or len(signature) != 3:
            raise InvalidInput("its checkpoint holds more than this ledger signs")
        if (head["size"], head["root"]) != (said.size, said.root.hex()):
            raise InvalidInput("its size or root is not the one that its checkpoint signs")
    except (InvalidInput, LedgerError) as error:
        report.faults.append(Fault(0, f"the export's first line is wrong: {error.message}"))
        return None
    return own, said


def _entry(line: bytes, seq: int, report: ExportReport) -> tuple[bytes, bytes] | None:
    """The document of a line, and the leaf hash in the same line so that faults have a place:
    the tree is made of what the lines say, and each line has to be right about its document."""
    try:
        entry = _object(line, {"seq", "leaf_hash", "document"})
        if entry["seq"] != seq:
            raise InvalidInput(f"entry {seq} is missing; entry {entry['seq']} stands in its place")
        document, leaf = str(entry["document"]).encode(), bytes.fromhex(str(entry["leaf_hash"]))
    except (InvalidInput, LedgerError, ValueError) as error:
        what = error.message if isinstance(error, (InvalidInput, LedgerError)) else str(error)
        report.faults.append(Fault(seq, f"the line cannot be used: {what}"))
        return None
    if leaf_hash(document).hex() != entry["leaf_hash"]:
        report.faults.append(Fault(seq, "the document does not match its leaf hash"))
    return document, leaf


def _entry_faults(document: bytes, outputs: set[int]) -> Iterator[str]:
    found = list(document_faults(document))
    yield from found
    if found:
        return
    parsed = parse(document)
    if parsed.get("kind", "output") == "output":
        if parsed["output"] in outputs:
            yield f"output {parsed['output']} has an entry already"
        outputs.add(parsed["output"])
    elif parsed["output"] is not None and parsed["output"] not in outputs:
        yield f"an event is about output {parsed['output']}, which has no entry before it"


def _object(line: bytes, names: set[str]) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise InvalidInput("the file ends in the middle of a line")
    found = parse(line[:-1])
    if canonical(found) != line[:-1]:
        raise InvalidInput("the line is not canonical JSON")
    if set(found) != names:
        raise InvalidInput(f"a line must hold {', '.join(sorted(names))}")
    return found


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line
    except OSError as error:
        raise UnreadableFile(f"{str(path)!r} cannot be read: {error.strerror}") from error

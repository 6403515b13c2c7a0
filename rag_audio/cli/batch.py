"""``generate --batch``: many requests from a CSV or JSONL file, one row each."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import typer

from rag_audio.cli.generate import generating
from rag_audio.cli.options import default_of, read_text, request_from, type_of
from rag_audio.cli.output import err, out, show_json, table
from rag_audio.domain import GenerationRequest
from rag_audio.domain.fields import On, settable_on
from rag_audio.domain.json_documents import enforced_met, outputs_json, unmet_json
from rag_audio.errors import UNMET_EXIT, Cancelled, InvalidInput, RagAudioError
from rag_audio.generation.take_selection import unmet_line
from rag_audio.pipeline.workspace import Workspace

REPORT = "report.jsonl"

_FIELDS = {field.option: field for field in settable_on(GenerationRequest, On.GENERATE)}
COLUMNS = frozenset({*_FIELDS, "out"})
"""The options of ``generate`` that a row may set, with _ in place of -, and the file's name."""
_FIGURES = {"strength", "weights", "subtype"}
"""Texts that may also be written as numbers."""


@dataclass(frozen=True)
class Row:
    """A request of a batch, or why it is none.

    Attributes:
        number: from 1. fields: its columns that hold something.
    """

    number: int
    fields: Mapping[str, Any]
    fault: str = ""


def run_batch(ctx: typer.Context, file: Path, folder: Path | None) -> None:
    """Make every row that is not made yet; a row that fails does not stop the others.

    What the command line says holds for every row that does not say otherwise. ``report.jsonl`` in
    the folder gets a line for each row as soon as it is done; a row whose line is there, unchanged,
    with its files, is skipped. The exit code is that of the first row that failed; where none did,
    it is 5 when a row, made now or before, does not keep to what it enforces.

    Raises:
        InvalidInput: the file cannot be read, or the folder is none.
    """
    given = dict(ctx.params)
    _refuse_single(given)
    if folder is None:
        raise InvalidInput("a batch has no folder to go to", hint="--out FOLDER")
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder", hint="--out FOLDER")
    rows = list(read_rows(file))
    folder.mkdir(parents=True, exist_ok=True)
    done = _done(folder)
    results: list[dict[str, Any]] = []
    names: set[str] = set()
    with generating(given) as workspace:
        for row in rows:
            asked = _digest(given, row)
            if asked in done and all((folder / name).is_file() for name in done[asked]["files"]):
                names.update(done[asked]["files"])
                results.append({**done[asked], "row": row.number, "status": "skipped"})
                continue
            line = {
                "row": row.number,
                "asked": asked,
                **_make(workspace, row, given, folder, names),
            }
            _append(folder / REPORT, line)
            results.append(line)
            _say(line, len(rows))
    _finish(results, folder, given["as_json"], given["best_effort"])


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a CSV file with a header, or of a file with a JSON object in each line.

    Raises:
        UnreadableFile: it cannot be read.
        InvalidInput: it holds nothing, or the header has an unknown column.
    """
    text = read_text(file)
    if not text.strip():
        raise InvalidInput(f"{file} holds no row", hint="CSV with a header, or JSON lines")
    if file.suffix.lower() == ".csv":
        yield from _csv_rows(file, text)
        return
    lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
        except ValueError as error:
            yield Row(number, {}, f"not JSON: {error}")
            continue
        except RecursionError:
            yield Row(number, {}, "not JSON: it is nested too deeply")
            continue
        if not isinstance(fields, dict):
            yield Row(number, {}, "not a JSON object")
            continue
        yield Row(number, _named(fields), _unknown(fields))


def _csv_rows(file: Path, text: str) -> Iterator[Row]:
    reader = csv.DictReader(text.splitlines())
    fault = _unknown(dict.fromkeys(reader.fieldnames or (), "x"))
    if fault:
        raise InvalidInput(f"{file}: {fault}", hint="columns: " + ", ".join(sorted(COLUMNS)))
    for number, fields in enumerate(reader, start=1):
        extra = fields.pop(None, None)
        yield Row(number, _named(fields), "" if extra is None else "more cells than columns")


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    named = {str(name).strip().replace("-", "_"): value for name, value in fields.items()}
    return {name: value for name, value in named.items() if value not in (None, "", [])}


def _unknown(fields: Mapping[str, Any]) -> str:
    strange = sorted(set(_named(fields)) - COLUMNS)
    return f"unknown column {strange[0]!r}" if strange else ""


def _make(
    workspace: Workspace, row: Row, given: Mapping[str, Any], folder: Path, names: set[str]
) -> dict[str, Any]:
    """Make one row's output; what goes wrong stands in the result."""
    started = time.monotonic()
    try:
        if row.fault:
            raise InvalidInput(row.fault)
        name = _name(row, names)
        request = request_from({**given, **_typed(row.fields)})
        results = workspace.generate(request, folder / name)
    except Cancelled:
        raise
    except RagAudioError as error:
        told = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
        return {"status": "failed", "files": [], "error": told, "exit_code": error.exit_code}

    def relative(paths: Sequence[str]) -> list[str]:
        return [str(Path(path).relative_to(folder)) for path in paths]

    files = relative([path for result in results for path in result.files])
    names.update(files)
    return {
        "status": "made",
        "files": files,
        "outputs": [result.record.output for result in results],
        "seeds": [str(result.record.seed) for result in results],
        "pcm_sha256": [result.record.pcm_sha256 for result in results],
        "results": [
            {**one, "files": relative(one["files"]), "file": relative([one["file"]])[0]}
            for one in outputs_json(results)
        ],
        "notes": list(results[0].plan.notes),
        "enforced_met": enforced_met(results),
        "unmet": unmet_json(results),
        "seconds": round(time.monotonic() - started, 2),
    }


def _name(row: Row, names: set[str]) -> str:
    name = _text("out", row.fields.get("out", f"{row.number:04d}.wav"))
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise InvalidInput(f"{name!r} is not a name within the folder")
    if name in names or name == REPORT:
        raise InvalidInput(f"{name!r} is the name of another file of the batch")
    names.add(name)
    return name


def _typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns as the command line would have them.

    Raises:
        InvalidInput: a column holds something of another type; it is named.
    """
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "out":
            continue
        field = _FIELDS[name]
        kind = type_of(field, On.GENERATE)
        if kind in (int, float):
            made[name] = _number(name, value, kind)
        elif field.kind.shape == "repeat":
            items = value if isinstance(value, list) else _text(name, value).split(";")
            made[name] = [_text(name, item).strip() for item in items]
        elif field.kind.shape == "commas" and isinstance(value, list):
            made[name] = ",".join(_text(name, item) for item in value)
        else:
            made[name] = _text(name, value)
    return made


def _number(name: str, value: Any, kind: type) -> float | int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
        if kind is int and not number.is_integer():
            raise ValueError
        if kind is float:
            return number
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        wanted = "a whole number" if kind is int else "a number"
        raise InvalidInput(f"{name}: {_shown(value)} is not {wanted}") from error


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if name in _FIGURES and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise InvalidInput(f"{name}: {_shown(value)} is not text")


def _shown(value: Any) -> str:
    """A value as its row has it, shortened."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _refuse_single(given: Mapping[str, Any]) -> None:
    for name in ("prompt", "plan", "save_plan", "picture", "dry_run"):
        if given[name]:
            raise InvalidInput(
                f"{name.replace('_', '-')} is for one request, not for a batch",
                hint="every row has its own prompt",
            )
    if given["influence"] != "none":
        raise InvalidInput(
            "influence is not measured in a batch", hint="rag-audio influence OUTPUT, afterwards"
        )


def _digest(given: Mapping[str, Any], row: Row) -> str:
    """Of all that a row asks for."""
    names = sorted(
        name
        for name, field in _FIELDS.items()
        if name != "prompt" and not (field.sparse and given[name] == default_of(field))
    )
    asked = {name: str(given[name]) for name in names}
    fields = {name: row.fields[name] for name in sorted(row.fields)}
    text = json.dumps([row.number, asked, fields, row.fault], ensure_ascii=False, default=str)
    return sha256(text.encode()).hexdigest()


def _done(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows that were made before, by what they asked for."""
    found: dict[str, dict[str, Any]] = {}
    report = folder / REPORT
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    if text and not text.endswith("\n"):
        with report.open("ab") as file:
            file.write(b"\n")
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # a line that broke off: the row is made again
            continue
        if row.get("status") == "made":
            found[row["asked"]] = row
    return found


def _append(report: Path, line: Mapping[str, Any]) -> None:
    with report.open("ab") as file:
        file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def _say(line: Mapping[str, Any], count: int) -> None:
    if line["status"] == "made":
        said = ", ".join(
            f"{one['file']} (output {one['output']}, seed {one['seed']})" for one in line["results"]
        )
    else:
        said = line["error"]["message"]
    said += "".join(f"; {unmet_line(promise)}" for promise in line.get("unmet", ()))
    err.print(f"row {line['row']} of {count}: {line['status']}: {said}")


def _finish(results: list[dict[str, Any]], folder: Path, as_json: bool, best_effort: bool) -> None:
    count = {
        status: sum(line["status"] == status for line in results)
        for status in ("made", "skipped", "failed")
    }
    report = folder / REPORT
    unmet = [line["row"] for line in results if line.get("enforced_met") is False]
    if as_json:
        show_json(
            {
                "rows": len(results),
                **count,
                "unmet": unmet,
                "report": str(report),
                "results": results,
            }
        )
    else:
        failed = [line for line in results if line["status"] == "failed"]
        if failed:
            table(("row", "why it was not made"),
                  [(line["row"], line["error"]["message"]) for line in failed])  # fmt: skip
        said = ", ".join(f"{number} {status}" for status, number in count.items() if number)
        out.print(f"{len(results)} rows: {said}; {report}")
        if unmet:
            rows = ", ".join(map(str, unmet))
            out.print(f"what was enforced is not met in row {rows}")
    codes = [line["exit_code"] for line in results if line["status"] == "failed"]
    if codes:
        raise typer.Exit(codes[0])
    if unmet and not best_effort:
        raise typer.Exit(UNMET_EXIT)

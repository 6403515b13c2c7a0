"""``trace``, ``influence``: what went into an output, and what it did there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import busy, err, out, percent, show_json, stages, table, tell
from rag_audio.domain import AttributionRecord, Channel, limits
from rag_audio.errors import InvalidInput
from rag_audio.pipeline.workspace import Workspace, open_workspace
from rag_audio.provenance.counterfactual import CausalInfluence, Method
from rag_audio.provenance.trace.findings import TraceResult
from rag_audio.provenance.trace_report import report_html
from rag_audio.storage.files import export


def trace(
    file: Annotated[Path, typer.Argument(help="Any audio file.")],
    report: Annotated[
        Path | None, typer.Option(help="Also write a page to read and print, as HTML.")
    ] = None,
    public: Annotated[
        bool, typer.Option(help="Say only whether this system made it, and whom to ask.")
    ] = False,
    influence: Annotated[
        Literal["none", "fast", "exact"],
        typer.Option(help="First measure each source by leaving it out."),
    ] = "none",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what went into this audio: which sources, whose, how much."""
    method: Method | None = None if influence == "none" else influence
    if public and (report is not None or method is not None):
        raise InvalidInput(
            "a public trace tells nothing about sources",
            hint="leave out --public, or --report and --influence",
        )
    with open_workspace(home) as workspace:
        with busy("looking for marks and fingerprints"):
            found = workspace.trace(file)
        if method is not None and found.output is not None and found.sources:
            measure_outputs(workspace, [found.output], method)
            with busy("looking again"):
                found = workspace.trace(file)
        contact = workspace.settings.contact
    if public:
        document = found.to_public(contact)
        asked = [f"Contact: {document['contact']}"] if document["contact"] else []
        tell(document, as_json, document["statement"], *asked)
        return
    if report is not None:
        with export(report) as draft:
            draft.write_text(report_html(found, file.name, datetime.now(UTC)), encoding="utf-8")
    if as_json:
        show_json(found.to_json())
    else:
        _show(file, found)
        if report is not None:
            err.print(f"the report is in {report}")


def influence(
    output: Annotated[
        int, typer.Argument(min=1, max=limits.OUTPUT.high, help="Number of an output.")
    ],
    method: Annotated[Method, typer.Option(help="How closely.")] = "fast",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Measure what each source did to an output by leaving it out, and log the answer."""
    with open_workspace(home) as workspace:
        (measured,) = measure_outputs(workspace, [output], method)
        entry = workspace.home.ledger.find(output)
    if as_json:
        show_json({"output": output, **measured.to_json()})
    elif entry is not None:
        show_influence(entry.record, measured)


def measure_outputs(
    workspace: Workspace, outputs: Sequence[int], method: Method | None
) -> list[CausalInfluence]:
    """Measure the causal influence of outputs' sources, with a bar; nothing without a method."""
    if method is None:
        return []
    with stages() as on_stage:
        return [
            workspace.influence(
                output, method, progress=lambda done, total: on_stage("influence", done, total)
            )
            for output in outputs
        ]


def show_influence(record: AttributionRecord, measured: CausalInfluence) -> None:
    """What each source did to an output, as a table."""
    table(
        ("source", "causal share", "value", "by words", "by sound"),
        [
            (
                use.reference.stem.title or use.reference.stem.path,
                percent(source.share),
                f"{source.value:.4f}",
                _value(source.by_channel.get(Channel.PROMPT)),
                _value(source.by_channel.get(Channel.INIT)),
            )
            for use, source in zip(record.sources, measured.sources, strict=True)
        ],
        title=f"output {record.output}: what each source did ({measured.method}, "
        f"{measured.runs} runs)",
    )
    out.print(
        f"noise floor {measured.noise_floor:.4f}: below it there is no share; all sources "
        f"together {measured.total:.4f}"
    )


def _moment(created: str | None) -> str:
    """A time as the report shows it."""
    return "at an unknown time" if created is None else f"{created[:19].replace('T', ' ')} UTC"


def _show(file: Path, found: TraceResult) -> None:
    for notice in found.notices:
        out.print(f"note: {file.name}: {notice}")
    if not found.found:
        out.print(f"{file}: {found.explanation}")
        return
    what = f"output {found.output}"
    if found.transplanted and not found.sources and found.model_share is None:
        what = f"a mark of {what} that was moved to this sound"
    elif found.is_in_part:
        what += " in part"
    out.print(
        f"{what}, made {_moment(found.created)} by {found.model}; "
        f"found by its {found.by} (confidence {found.confidence:.2f}"
        f"{'' if found.checked else ', not checked'})"
    )
    if found.transplanted:
        out.print(f"transplanted: {found.explanation}", style="bold red")
    else:
        out.print(found.explanation)
    if found.ancestors:
        numbers = ", ".join(str(number) for number in found.ancestors)
        out.print(f"edited from output {numbers}")
    elif found.edited is not None:
        stated = found.edited["source_rights"] or "nothing, its license is known"
        digest = str(found.edited["source_sha256"])[:12]
        out.print(f"edited from a file (sha256 {digest}…), stated: {stated}")
    if found.sources:
        table(
            ("source", "artist", "holder", "license", "now", "in the words", "in the sound",
             "causal", "similar"),
            [
                (
                    source.title or source.stem[:12],
                    source.artist,
                    " / ".join(source.holders),
                    " / ".join(source.licenses),
                    "granted" if source.now.granted else source.now.reason,
                    percent(source.used.get(Channel.PROMPT)),
                    percent(source.used.get(Channel.INIT)),
                    percent(source.causal),
                    _value(source.similar, 2),
                )
                for source in found.sources
            ],
        )  # fmt: skip
    for other in found.outputs:
        if other.output != found.output:
            names = ", ".join(source.title or source.stem[:12] for source in other.sources)
            out.print(f"also in it: output {other.output}, made from {names}")
    if found.proof is not None:
        out.print(
            f"entry {found.proof['seq']} of {found.proof['size']} in the log with the root "
            f"{found.proof['root']}"
        )


def _value(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

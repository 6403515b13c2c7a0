"""``demo``: the three jobs on the embedded library and models, with everything left to look at."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from rag_audio.audio import analysis, midi, writing
from rag_audio.audio.pictures import spectrogram_png
from rag_audio.audio.reading import load
from rag_audio.cli.generate import show_results
from rag_audio.cli.index import indexing_bar, show_references, show_report
from rag_audio.cli.options import Json
from rag_audio.cli.output import err, out, show_json, silent, stages, table, warn_untrained
from rag_audio.domain import Audio, GenerationRequest, Key
from rag_audio.domain.json_documents import outputs_json, reference_json, results_json
from rag_audio.domain.plan import plan_to_json
from rag_audio.errors import IndexMismatch, RagAudioError, RequestRefused
from rag_audio.guardrails.embedding_similarity import likeness
from rag_audio.pipeline.delivery import write_copy
from rag_audio.pipeline.workspace import Workspace, open_workspace
from rag_audio.provenance.ledger.records import record_to_json
from rag_audio.resources import data_dir

CROP_S = (2.0, 8.0)


def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for everything it makes.")],
    as_json: Json = False,
) -> None:
    """Index the embedded library, generate in an artist's style, and trace a cropped MP3 of it."""
    out_dir = out_dir.absolute()
    story = json.loads((data_dir("demo") / "demo.json").read_text(encoding="utf-8"))
    library = _lay_out_library(out_dir / "library", story["renders"], quiet=as_json)
    document: dict[str, Any] = {"out": str(out_dir)}
    with silent(as_json), open_workspace(out_dir / "home") as workspace:
        _drop_foreign_index(workspace)
        warn_untrained(workspace.home.generator(None).info)
        document["index"] = _index(workspace, library)
        document["search"] = _search(workspace, story["search"])
        document["refusal"] = _refusal(workspace, story["refused_prompt"])
        document["generate"] = _generate(workspace, story["request"], out_dir)
        document["without_references"] = _without(workspace, story["request"], out_dir)
        document["trace"] = _trace(workspace, out_dir)
        document["files"] = sorted(p.name for p in out_dir.iterdir() if p.is_file())
        _heading(f"Everything is in {out_dir}")
        out.print("  " + "\n  ".join(document["files"]))
    if as_json:
        show_json(document)


def _drop_foreign_index(workspace: Workspace) -> None:
    """An index that an earlier release's embedder left in this folder is made anew."""
    try:
        workspace.home.index.count()
    except IndexMismatch:
        workspace.home.remove_index()


def _heading(text: str) -> None:
    out.print(f"\n{text}", style="bold")


def _lay_out_library(target: Path, renders: list[dict[str, str]], quiet: bool) -> Path:
    """A copy of the demo library, with some of its scores rendered into audio stems."""
    source = data_dir("demo")
    shutil.copytree(source, target, dirs_exist_ok=True)
    missing = [r for r in renders if not (target / r["audio"]).exists()]
    hidden = quiet or not missing
    for render in track(missing, "rendering audio stems", console=err, disable=hidden):
        stem = midi.render(target / render["midi"])
        (target / render["audio"]).parent.mkdir(parents=True, exist_ok=True)
        writing.save(stem, target / render["audio"], subtype="PCM_16")
    return target


def _index(workspace: Workspace, library: Path) -> dict[str, Any]:
    _heading(f"1. Index a licensed library: rag-audio index {library}")
    with indexing_bar() as progress:
        report = workspace.index(library, progress=progress)
    show_report(report)
    return {
        "indexed": report.indexed,
        "skipped": report.skipped,
        "segments": report.segments,
        "rejected": [{"path": r.path, "reason": r.reason} for r in report.rejected],
    }


def _search(workspace: Workspace, text: str) -> list[dict[str, Any]]:
    found = workspace.search(text, k=5)
    _heading(f'2. Search it: rag-audio search "{text}"')
    show_references(found)
    return [reference_json(reference) for reference in found]


def _refusal(workspace: Workspace, prompt: str) -> dict[str, Any]:
    """What a refusal looks like.

    Raises:
        RagAudioError: the guardrails let the prompt through, which is a defect.
    """
    try:
        workspace.plan(prompt)
    except RequestRefused as refused:
        _heading(f'3. Ask for what is not licensed: rag-audio generate "{prompt}"')
        out.print(f"  {refused.message}\n  {refused.hint}")
        return {"prompt": prompt, "message": refused.message, "hint": refused.hint}
    raise RagAudioError(f"the guardrails let {prompt!r} through")


def _request_of(request: dict[str, Any]) -> GenerationRequest:
    key = request.get("key")
    return GenerationRequest(**{**request, "key": Key.parse(key) if key else None})


def _without(workspace: Workspace, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same words and seed without references, and how near each comes to the artist's."""
    made = _request_of(request)
    plan = workspace.plan(made)
    with stages() as on_stage:
        (plain,) = workspace.generate(
            replace(made, artist=None, k=0), folder / "without_references.wav", on_stage=on_stage
        )
    home = workspace.home
    near: dict[str, Any] = {}
    for name, take in (
        ("with", load(folder / "output.wav")), ("without", plain.audio),
    ):  # fmt: skip
        found = likeness(take, plan.references, home.embedder, home.index)
        near[name] = sum(value or 0.0 for value in found) / len(found)
    out.print(
        f"  likeness to the artist's references: {near['with']:.2f} with them, "
        f"{near['without']:.2f} without (without_references.wav)"
    )
    return {"likeness": near, "files": list(plain.files)}


def _generate(workspace: Workspace, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    made = _request_of(request)
    _heading(f'4. Generate: "{made.prompt}" in the style of {made.artist}')
    with stages() as on_stage:
        results = workspace.generate(made, folder / "output.wav", on_stage=on_stage)
    (result,) = results
    heard = analysis.analyse(result.audio)
    out.print(f"  enriched prompt: {result.plan.enriched_prompt}")
    show_results(results)
    tempo = "no clear tempo" if heard.bpm is None else f"{heard.bpm:.1f} bpm"
    out.print(
        f"  asked: {made.bpm:g} bpm, {made.key}; heard in the output: {tempo}, "
        f"{heard.key or 'no clear key'}, {heard.loudness_lufs:.1f} LUFS"
    )
    for name, document in (
        ("plan.json", plan_to_json(result.plan)), ("record.json", record_to_json(result.record)),
    ):  # fmt: skip
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    spectrogram_png(result.audio, folder / "output.png", title=made.prompt)
    plan = result.plan
    if plan.references:
        first = plan.references[0]
        source = workspace.home.player.play(first.segment, 44_100)
        title = first.stem.title or first.stem.path
        spectrogram_png(source, folder / "reference.png", title=f"reference 1: {title}")
    return {
        **results_json(results),
        "results": outputs_json(results),
        "heard": {"bpm": heard.bpm, "key": str(heard.key) if heard.key else None},
    }


def _trace(workspace: Workspace, folder: Path) -> dict[str, Any]:
    marked = workspace.trace(folder / "output.wav")
    if marked.record is None:
        raise RagAudioError("output.wav is not in the ledger")
    signer, copy = workspace.home.signer, folder / "output.mp3"
    write_copy(signer, marked.record, folder / "output.wav", copy, bitrate_kbps=128)
    again = load(folder / "output.mp3")
    start, end = (round(second * again.sample_rate) for second in CROP_S)
    cropped = Audio(again.samples[:, start:end].copy(), again.sample_rate)
    writing.save(cropped, folder / "cropped.mp3", bitrate_kbps=128)
    documents = {}
    for name in ("output.mp3", "cropped.mp3"):
        found = workspace.trace(folder / name).to_json()
        documents[name] = found
        if not found["found"]:
            raise RagAudioError(f"{name} could not be traced")
    found = documents["cropped.mp3"]
    _heading("5. Trace what is left of it: rag-audio trace cropped.mp3")
    out.print(
        f"  6 seconds of an MP3 of an MP3: output {found['output']}, found by its "
        f"{found['by']}, confidence {found['confidence']:.2f}"
    )
    table(
        ("source", "artist", "holder", "license"),
        [(s["title"], s["artist"], s["holder"], s["license"]) for s in found["sources"]],
    )
    return documents

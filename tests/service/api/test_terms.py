"""Nothing that leaves over HTTP speaks of the command line."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag_audio.cli.app import app
from rag_audio.service.api.schemas import EditAsked, GenerationAsked, RevocationAsked, SearchAsked
from rag_audio.service.wording import FIELDS, advice_in_http_terms, in_http_terms
from tests.service.api.small_service import SHORT, SmallService

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
OF_THE_COMMAND_LINE = re.compile(
    rf"(?<![\w-])--[a-z]|(?<![\w/])rag-audio ({'|'.join(COMMANDS)})\b"
    # Arguments by their place, and ranges and parts as only the command line writes them.
    r"|\bafter the file\b|\b(?:as|like) [\dX][\d.]*-[\dX][\d.]*(?![\d.:-])|[0-9a-f]@\d"
)
NO_ROUTE = re.compile(r"(?<![`/\w])(?:GET|POST|PUT|DELETE) /v1/")
"""A route that is no code span, which the page cannot put its own words in place of."""

OPERATORS = {
    *("ConfigError", "MissingExtra", "BackendError", "BackendUnavailable", "IndexMismatch"),
    *("LedgerError", "LedgerTampered"),
}
"""Families whose message and hint stay in the log, see rag_audio/domain/json_documents.py."""

NEVER_OVER_HTTP = {
    *("pipeline.backup", "pipeline.earlier_archives", "pipeline.home_files", "pipeline.restore"),
    *("home", "pipeline.workspace", "settings", "storage.database", "storage.database_export"),
    *("cli", "plugins", "storage.migrations", "testing", "reembedding"),
    # Their errors are LedgerErrors, made by helpers; the rest is names within certificates.
    "provenance",
    # Cures within an IndexMismatch.
    *("models", "storage.edge_spaces", "storage.qdrant_edge", "storage.qdrant_server"),
    # The rules themselves.
    "service.wording",
}
"""Modules and packages that only commands, or whoever starts a process, can reach."""


def sources() -> Iterator[Path]:
    for package in ("rag_audio", "indexer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT / package).with_suffix("").parts
            if not {parts[0], ".".join(parts[:2])} & NEVER_OVER_HTTP:
                yield path


@cache
def all_texts() -> tuple[tuple[Path, int, str], ...]:
    return tuple((path, line, text) for path in sources() for line, text in texts(path))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is no docstring and in no error of an operator's; what an
    f-string puts in is an X."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in OPERATORS:
                skipped |= {id(part) for part in ast.walk(node)}
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
            yield node.lineno, "".join(map(str, parts))


def test_every_message_of_the_source_can_be_said_in_terms_of_the_api() -> None:
    spoken = 0
    for path, line, text in all_texts():
        if OF_THE_COMMAND_LINE.search(text):
            spoken += 1
            said = in_http_terms(text)
            assert not OF_THE_COMMAND_LINE.search(said), f"{path}:{line}: {text!r} → {said!r}"
            assert in_http_terms(said) == said
    assert spoken > 40


def test_routes_stand_between_backticks() -> None:
    spoken = 0
    for path, line, text in all_texts():
        spoken += "/v1/" in text
        assert not NO_ROUTE.search(text), f"{path}:{line}: {text!r}"
    assert spoken > 10


def test_options_become_fields_that_there_are() -> None:
    known = {
        name
        for model in (GenerationAsked, EditAsked, SearchAsked, RevocationAsked)
        for name in model.model_fields
    }
    assert set(FIELDS.values()) - known == {"license", "stem"}  # names of a revocation's kinds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("say it: --bpm 92, --key 'A minor'", "say it: `bpm: 92`, `key: A minor`"),
        ("--audio-rights own, or --audio-rights licensed",
         "`audio_rights: own`, or `audio_rights: licensed`"),
        ("--channels prompt,init opens both", "`channels: prompt,init` opens both"),
        ("--references 3 retrieves some, --reference STEM names one",
         "`k: 3` retrieves some, `references` names one"),
        ("--weights above 0 for one of them", "`weights` above 0 for one of them"),
        ("leave it out: --exclude 3f1c9a", "leave it out: `exclude` 3f1c9a"),
        ("run rag-audio index on keys", "run `POST /v1/indexing` on keys"),
        ("no library is indexed yet: rag-audio index LIBRARY",
         "no library is indexed yet: `POST /v1/indexing`"),
        ("if that is to end: rag-audio revoke --undo --license a/b, then rag-audio index on it",
         "if that is to end: whoever runs this service can undo the revocation of license a/b, "
         "then `POST /v1/indexing` on it"),
        ("say where: --territory such as DE, or RAG_AUDIO_TERRITORY, or territory in the home's "
         "settings.toml", "say where: `territory` such as DE"),
        ("--region 4.0-8.0, in seconds", "`regions: [[4.0, 8.0]]`, in seconds"),
        ("such as --bpm 88-96", "such as `bpm: [88, 96]`"),
        ("write it as --region 1-3", "write it as `regions: [[1, 3]]`"),
        ("a word--and another, and -- too", "a word--and another, and -- too"),
    ],
)  # fmt: skip
def test_what_helps_is_said_with_fields_and_routes(text: str, said: str) -> None:
    assert in_http_terms(text) == said


@settings(max_examples=60)
@given(st.text(st.sampled_from("-brpmag udio 9,'`:"), max_size=30))
@example("--bpm --bpm 9 '--bpm'")
def test_saying_it_twice_changes_nothing(text: str) -> None:
    assert in_http_terms(in_http_terms(text)) == in_http_terms(text)


def test_what_callers_wrote_is_left_alone() -> None:
    document = {"prompt": "--bpm 92", "hint": "--bpm 92", "one": [{"notes": ["--mix waveform"]}]}
    assert advice_in_http_terms(document) == {
        "prompt": "--bpm 92",
        "hint": "`bpm: 92`",
        "one": [{"notes": ["`mix: waveform`"]}],
    }


def test_answers_name_fields_and_routes(tmp_path: Path) -> None:
    """Refusals, notes, cures and a failed job's problem, as they leave."""
    service = SmallService(tmp_path)
    world = service.world
    (tmp_path / "own.wav").write_bytes((world.library / "good.wav").read_bytes())
    with service.client as client:
        said = [
            client.post("/v1/plans", json={**SHORT, **body}).text
            for body in (
                {"channels": []},
                {"enforce": ["tempo"], "k": 0},
                {"artist": "Nobody"},
                {"references": ["ffff"]},
                {"audio_as": "melody"},
            )
        ]
        world.license(territories=frozenset({"DE"}))
        told = client.get("/v1/artists").json()["artists"]
        assert any("`territory`" in row["cure"] for row in told)
        said += [client.get(url).text for url in ("/v1/artists", "/v1/libraries", "/v1/stems")]
        world.reset()
        job = service.accept(references=[world.target.id])
        world.license(territories=frozenset({"DE"}))
        said += [str(service.run(job["id"]))]
        said += [client.post("/v1/search", json={"text": "x", "artist": "Hidden Ferry"}).text]
        said += [client.get(f"/v1/stems/{world.target.id}/preview").text]
    for text in said:
        assert not OF_THE_COMMAND_LINE.search(text), text


def test_faults_of_edits_and_parts_are_told_as_they_were_sent(cleared: SmallService) -> None:
    target, upload = cleared.world.target.id, cleared.upload(sound(1.0))
    edit = {"upload": upload, "audio_rights": "own", "prompt": "bells"}
    inpaint = {"kind": "inpaint", **edit}
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("edits", {"kind": "vary", "upload": upload, "audio_rights": "own"}),
        ("edits", {"kind": "vary", **edit, "audio_rights": None}),
        ("edits", inpaint),
        ("edits", {**inpaint, "regions": [[0.8, 0.2]]}),
        ("edits", {**inpaint, "regions": [[0.2, 0.2]]}),
        ("edits", {**inpaint, "regions": [[0.2, 0.6], [0.5, 0.8]]}),
        ("edits", {**inpaint, "regions": [[0.2, 9]]}),
        ("edits", {"kind": "extend", **edit}),
        ("edits", {"kind": "extend", **edit, "right_s": 0.01}),
        ("edits", {"kind": "vary", **edit, "left_s": 1}),
        ("edits", {"kind": "vary", "upload": "0" * 32}),
        ("plans", {**SHORT, "references": [{"stem": target, "start_s": 100}]}),
        ("plans", {**SHORT, "references": [{"stem": target, "start_s": 10.5, "duration_s": 2}]}),
        ("plans", {**SHORT, "references": [{"stem": target, "start_s": i} for i in (0, 1)]}),
        ("plans", {**SHORT, "references": [{"stem": "", "start_s": 0}]}),
        ("search", {"text": "x", "bpm": [96, 88]}),
    ]
    for route, body in wrong:
        answer = cleared.client.post(f"/v1/{route}", json=body)
        found = answer.json()
        assert answer.status_code == 422, found
        for text in (found["detail"], found["hint"]):
            assert not OF_THE_COMMAND_LINE.search(text), text
            assert not NO_ROUTE.search(text) and "side" not in text.split(), text
    hints = [
        cleared.client.post("/v1/edits", json={**inpaint, "regions": regions}).json()["hint"]
        for regions in ([], [[0.8, 0.2]])
    ]
    assert "`regions: [[4.0, 8.0]]`" in hints[0] and "`regions: [[0.2, 0.8]]`" in hints[1]


def sound(seconds: float) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(3).normal(0, 0.1, round(16_000 * seconds))
    soundfile.write(file, noise, 16_000, format="WAV")
    return file.getvalue()


def test_the_page_has_words_for_every_field_and_route() -> None:
    """And labels that its forms have."""
    folder = ROOT / "rag_audio" / "service" / "web" / "js"
    terms = (folder / "terms.js").read_text(encoding="utf-8")
    others = [path.read_text(encoding="utf-8") for path in folder.rglob("*.js")]
    others = [text for text in others if text != terms]
    for name in FIELDS.values():
        assert re.search(rf"\b{name}:", terms), name
    rules = (ROOT / "rag_audio" / "service" / "wording.py").read_text(encoding="utf-8")
    for route in re.findall(r"`((?:GET|POST) /v1/\w+)`", rules):
        assert f'"{route}":' in terms, route
    labels = re.search(r"LABELS = \{(.*?)\};", terms, re.DOTALL)
    assert labels is not None
    for label in re.findall(r': "([^"]+)"', labels[1]):
        assert any(f'"{label}' in text for text in others), label


def test_the_page_does_not_speak_of_the_command_line() -> None:
    for path in (ROOT / "rag_audio" / "service" / "web").rglob("*"):
        if path.suffix in (".js", ".html") and "vendor" not in path.parts:
            text = path.read_text(encoding="utf-8")
            found = re.search(rf"--({'|'.join(FIELDS)})\b|rag-audio ({'|'.join(COMMANDS)})\b", text)
            assert not found, (path, found)

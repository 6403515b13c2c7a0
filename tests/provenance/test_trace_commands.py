"""``trace`` and ``influence`` as a user meets them, on a real output of the embedded models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag_audio.audio import writing
from rag_audio.audio.reading import load
from rag_audio.cli.app import run
from rag_audio.domain import Audio
from tests.support.small_library import write_library


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one output in it, ``take.wav`` beside it."""
    base = tmp_path_factory.mktemp("tracing")
    home = str(base / "home")
    assert run(["index", str(write_library(base / "library")), "--home", home, "--json"]) == 0
    arguments = ["--references", "2", "--seed", "3", "--steps", "2", "--duration", "6"]
    made = ["generate", "warm piano", *arguments, "--out", str(base / "take.wav"), "--home", home]
    assert run([*made, "--json"]) == 0
    return base / "home"


def answer(
    capsys: pytest.CaptureFixture[str], home: Path, *arguments: str, code: int = 0
) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--home", str(home), "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def take(home: Path) -> str:
    return str(home.parent / "take.wav")


def test_the_record_holds_what_the_gate_measured(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = answer(capsys, home, "ledger", "show", "1")["record"]["checks"]
    assert 0 <= checks["copy_distance"] <= 1
    assert len(checks["fingerprint"]["sha256"]) == 64
    assert {near["used"] for near in checks["compared"]} == {True, False}
    assert checks["timeline"]["similar"]


def test_sound_without_any_mark_is_traced_by_its_fingerprint(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    master = load(home / "masters" / "1.wav")
    kept = Audio(master.samples[:, 22_050:].copy() * 0.5, master.sample_rate)
    writing.save(kept, tmp_path / "copy.mp3", bitrate_kbps=128)
    found = answer(capsys, home, "trace", str(tmp_path / "copy.mp3"))
    assert (found["found"], found["by"], found["output"]) == (True, "fingerprint", 1)
    shown = answer(capsys, home, "ledger", "show", "1")
    assert found["proof"]["leaf_hash"] == shown["leaf_hash"] and found["sources"]
    assert found["proof"]["seq"] == shown["seq"]


def test_a_public_trace_tells_nothing_about_sources_and_numbers(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_AUDIO_CONTACT", "rights@example.org")
    told = answer(capsys, home, "trace", take(home), "--public")
    assert told["made_with_ai_by_this_system"] is True
    assert told["contact"] == "rights@example.org"
    assert set(told) == {"made_with_ai_by_this_system", "checked", "statement", "contact"}
    refused = answer(capsys, home, "trace", take(home), "--public", "--report", "x.html", code=2)
    assert "public" in refused["error"]["message"]


def test_the_report_is_one_page_with_a_plot(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    answer(capsys, home, "trace", take(home), "--report", str(page))
    text = page.read_text(encoding="utf-8")
    assert "Influence over time" in text and "<polyline" in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    gone = str(tmp_path / "no" / "report.html")
    refused = answer(capsys, home, "trace", take(home), "--report", gone, code=2)
    assert "cannot write" in refused["error"]["message"]


def test_measured_influence_is_logged_and_traced(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = answer(capsys, home, "influence", "1", "--method", "fast")
    assert measured["output"] == 1 and len(measured["sources"]) == 2
    assert measured["total"] == pytest.approx(sum(s["value"] for s in measured["sources"]))
    traced = answer(capsys, home, "trace", take(home))
    assert [source["causal"] for source in traced["sources"]] == [
        source["share"] for source in measured["sources"]
    ]
    assert answer(capsys, home, "ledger", "verify")["ok"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("influence", "99"), "no output 99"),
        (("influence", "1", "--method", "often"), "'often' is not one of 'fast', 'exact'"),
        (("influence", "1", "--method", "none"), "'none' is not one of 'fast', 'exact'"),
        (("trace", "x.wav", "--influence", "often"), "'often' is not one of 'none', 'fast'"),
    ],
)
def test_bad_input_gets_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in answer(capsys, home, *arguments, code=2)["error"]["message"]

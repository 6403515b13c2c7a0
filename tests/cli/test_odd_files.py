"""Commands read damaged sound as far as it goes, and say what was odd in a line of notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag_audio.audio.reading import IdentifiedAudio, hear
from rag_audio.cli.app import run
from rag_audio.cli.output import list_findings, out
from rag_audio.home import Home
from tests.support.damaged import FMT, encoded, wav, wave
from tests.support.label_files import midi, notes, tempo, track, tune

CUT = "breaks off after 0.93 s: its header claims 2.00 s"


def test_trace_tells_what_was_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, whole = tmp_path / "[cut].flac", encoded("FLAC", "PCM_16")
    file.write_bytes(whole[: len(whole) // 2])
    home = ("--home", str(tmp_path / "home"))
    assert run(["trace", str(file), *home, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["notices"] == [CUT] and said.err == ""
    assert run(["trace", str(file), *home]) == 0
    assert f"note: [cut].flac: {CUT}" in capsys.readouterr().out
    assert run(["trace", str(file), *home, "--report", str(tmp_path / "report.html")]) == 0
    assert CUT in (tmp_path / "report.html").read_text("utf-8")


def test_a_mark_is_put_into_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = (wave(6.0)[:, 0] * 32767).astype("<i2").tobytes()
    source, target = tmp_path / "take.wav", tmp_path / "marked.wav"
    source.write_bytes(wav(0, before=FMT, sound=samples))
    home = ("--home", str(tmp_path / "home"))
    assert run(["watermark", "embed", str(source), str(target), "--payload", "7", *home]) == 0
    told = f"note: take.wav: its header claims 0 bytes of sound; {len(samples)} are there"
    assert told in capsys.readouterr().err
    content = target.read_bytes()
    target.write_bytes(content[: len(content) * 9 // 10])
    assert run(["watermark", "detect", str(target), *home, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["payload"] == 7
    assert said.err.startswith("note: marked.wav: breaks off: ")


def test_names_do_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b[31mred\x07\x9b1m\u202egpj.wav"
    (tmp_path / name).write_bytes(b"no sound" * 99)
    assert run(["trace", str(tmp_path / name), "--home", str(tmp_path / "home")]) != 0
    error = capsys.readouterr().err
    assert r"a\x1b[31mred\x07\x9b1m\u202egpj.wav" in error
    list_findings("rejected", "reason", [(name, f"{name} is no sound")])
    shown = error + capsys.readouterr().out
    assert shown.count(r"\x1b[31mred") >= 3
    assert all(sign.isprintable() or sign == "\n" for sign in shown)
    out.print("two\nlines")
    assert capsys.readouterr().out == "two\nlines\n"


def test_a_search_tells_what_is_odd_in_the_score_it_is_given(
    indexed_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "lies.mid"
    file.write_bytes(midi(track(tempo(90.0)), track(notes(tune(3))), claimed=5))
    odd = "the header says 5 tracks, 2 are there"
    assert run(["search", "--midi", str(file), "--home", str(indexed_home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notices"] == [odd]
    assert caplog.messages == [f"note: lies.mid: {odd}"]


def test_a_plan_tells_once_what_is_odd_in_the_sound_it_is_made_from(
    indexed_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file, whole = tmp_path / "cut.flac", encoded("FLAC", "PCM_16")
    file.write_bytes(whole[: len(whole) // 2])
    given = ("--audio", str(file), "--audio-rights", "own", "--dry-run", "--json")
    assert run(["generate", "warm piano", *given, "--home", str(indexed_home)]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["notes"].count(f"cut.flac: {CUT}") == 1
    assert caplog.messages == []


@pytest.mark.parametrize("command", ["generate", "vary"])
@pytest.mark.parametrize("content", [b"", None])
def test_a_file_that_holds_nothing_is_told_before_a_model_is_loaded(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    content: bytes | None,
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(Home, "generator", lambda self, name=None: loaded.append("model"))
    file = tmp_path / "take.wav"
    if content is not None:
        file.write_bytes(content)
    given = (
        ["--audio", str(file), "--audio-rights", "own"] if command == "generate" else [str(file)]
    )
    words = ["warm piano"] if command == "generate" else []
    out_file = ("--out", str(tmp_path / "out.wav"), "--home", str(tmp_path / "home"))
    assert run([command, *words, *given, *out_file]) == 2
    said = capsys.readouterr().err
    assert f"there is no file {file}" in said if content is None else f"{file} is empty" in said
    assert loaded == []


def test_a_file_that_is_searched_by_is_decoded_once(
    indexed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Path] = []

    def counted(path: Path, **more: Any) -> IdentifiedAudio:
        heard.append(path)
        return hear(path, **more)

    monkeypatch.setattr("rag_audio.home.hear", counted)
    file = tmp_path / "take.flac"
    file.write_bytes(encoded("FLAC", "PCM_16"))
    home = ("--home", str(indexed_home), "--json")
    assert run(["search", "--audio", str(file), *home]) == 0
    assert heard == [file]

"""Commands read damaged sound as far as it goes, and say what was odd in a line of notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag_audio.cli.app import run
from rag_audio.cli.output import list_findings, out
from tests.support.damaged import FMT, encoded, wav, wave

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

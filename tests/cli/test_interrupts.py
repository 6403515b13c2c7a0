"""Ctrl-C, sent for real: one line, exit code 130, nothing half-written; the next run goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rag_audio.domain.codec import Document
from tests.support.rights_world import World
from tests.support.small_library import write_library

ROOT = Path(__file__).parents[2]


def interrupted(arguments: Sequence[str], ready: Callable[[], bool]) -> tuple[int, str, str]:
    """Run a command and send it SIGINT as soon as it is ready; exit code, stdout and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rag_audio.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell is born with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    try:
        end = time.monotonic() + 120
        while not ready():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err
    finally:
        process.kill()
        process.wait()


def visible(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_generation_that_is_stopped_leaves_no_file(indexed_home: Path, tmp_path: Path) -> None:
    home, takes = tmp_path / "home", tmp_path / "takes"
    shutil.copytree(indexed_home, home)
    shutil.rmtree(home / "keys", ignore_errors=True)
    takes.mkdir()
    long = ["generate", "warm keys", "--steps", "1000", "--duration", "60", "--seed", "1"]
    code, out, err = interrupted(
        [*long, "--out", str(takes / "take.wav"), "--home", str(home)],
        (home / "keys" / "signing-leaf.pem").is_file,
    )
    assert (code, out) == (130, "")
    assert err.splitlines() == ["rag-audio: stopped; nothing half-written was left"]
    assert visible(takes) == []


def test_the_exit_code_is_the_same_where_ctrl_c_comes_within_an_exec(tmp_path: Path) -> None:
    text = "import signal; signal.raise_signal(signal.SIGINT)\nfor _ in range(10): pass"
    (tmp_path / "stopped.py").write_text(
        "from rag_audio import cli\nfrom rag_audio.cli import app\n"
        f"app.run = lambda words: exec({text!r})\ncli.main([])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "stopped"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    assert done.returncode == 130


def test_an_index_run_that_is_stopped_is_gone_on_with(tmp_path: Path) -> None:
    library, home = write_library(tmp_path / "library"), tmp_path / "home"
    before = visible(library)
    arguments = ["index", str(library), "--home", str(home), "--json"]
    code, out, _ = interrupted(arguments, (home / "ledger.db").is_file)
    assert code == 130
    assert '"Cancelled"' in out
    assert visible(library) == before
    again = subprocess.run(
        [sys.executable, "-m", "rag_audio.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert b'"segments": 8' in again.stdout


def test_what_is_logged_has_its_file_though_ctrl_c_came_between(tmp_path: Path) -> None:
    world = World(tmp_path)
    ledger: Any = world.home.ledger
    append = ledger.append_many

    def logged_then_stopped(*given: Any) -> list[Document]:
        entries: list[Document] = append(*given)
        signal.raise_signal(signal.SIGINT)
        return entries

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "append_many", logged_then_stopped)
        with pytest.raises(KeyboardInterrupt):
            world.workspace.generate("slow", tmp_path / "take.wav", duration_s=4.0)
    (entry,) = ledger.outputs()
    assert (tmp_path / "take.wav").is_file()
    assert not list(tmp_path.glob(".take*"))
    assert (world.home.folder / "masters" / f"{entry.record.output}.wav").is_file()
    world.workspace.close()

"""Peak memory of the service while it works with hostile and with the largest uploads.

    OMP_NUM_THREADS=1 python benchmarks/bench_uploads.py

Starts ``rag-audio serve`` on the demo library, sends a row of requests, and reads the most memory
that its own process held (VmHWM, reset before each row), and that the commands of the command line
held on the same files. Sounds are silence: small files that decode to very much.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import soundfile

import rag_audio
from benchmarks.bench_service import process, wait_ready
from rag_audio.resources import data_dir

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Print a table for ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=36, help="at once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rag-") as name:
        base = Path(name)
        environment = dict(os.environ) | {
            "RAG_AUDIO_HOME": str(base / "home"),
            "RAG_AUDIO_SERVE_REQUESTS_PER_MINUTE": "100000",
            "RAG_AUDIO_SERVE_TRACE_WAIT_S": "300",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        bomb = silence(base / "bomb.flac", "FLAC", "PCM_16", 192_000, 8, 890)
        largest = silence(base / "largest.flac", "FLAC", "PCM_16", 48_000, 2, 899)
        os.environ.update(environment)
        with rag_audio.open() as workspace:
            workspace.index(data_dir("demo"))
        print("| what | answers | seconds | peak MB |\n|---|---|---:|---:|")
        port = 8900 + os.getpid() % 90
        with process(["serve", "--port", str(port), "--workers", "0"], environment) as server:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url)
            serve(url, server.pid, bomb, largest, arguments.searches)
        command(f"`trace` of {size(bomb)}, 890 s, 8 channels, 192 kHz", environment, bomb)


def serve(url: str, pid: int, bomb: Path, largest: Path, searches: int) -> None:
    """The rows of the service."""
    with httpx.Client(base_url=url, timeout=600.0) as http:
        row("idle", pid, lambda: [http.get("/healthz").status_code])
        row(
            f"upload of {size(bomb)}, 890 s, 8 channels, 192 kHz",
            pid,
            lambda: [http.post("/v1/uploads", content=bomb.read_bytes()).status_code],
        )
        kept: list[str] = []

        def upload() -> list[int]:
            answer = http.post("/v1/uploads", content=largest.read_bytes())
            kept.append(answer.json()["id"])
            return [answer.status_code]

        row(f"upload of {size(largest)}, 899 s, stereo, 48 kHz", pid, upload)
        (id_,) = kept
        many = {
            "search": ("/v1/search", {"upload": id_}, searches),
            "plan": ("/v1/plans", {"prompt": "slow", "audio": id_, "audio_rights": "own"}, 6),
            "trace": (f"/v1/trace?upload={id_}", None, 4),
        }
        for what, (path, body, most) in many.items():
            for count in (1, most):
                row(f"{what} with it, {count} at once", pid, at_once(url, path, body, count))


def at_once(url: str, path: str, body: object, count: int) -> Callable[[], list[int]]:
    """So many equal requests."""

    def ask() -> list[int]:
        found: list[int] = []

        def one() -> None:
            with httpx.Client(base_url=url, timeout=600.0) as http:
                found.append(http.post(path, json=body).status_code)

        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    return ask


def row(what: str, pid: int, ask: Callable[[], list[int]]) -> None:
    """Ask, and print the peak of the process meanwhile."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    began = time.monotonic()
    statuses = Counter(ask())
    seconds = time.monotonic() - began
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    told = ", ".join(f"{count} × {code}" for code, count in sorted(statuses.items()))
    print(f"| {what} | {told} | {seconds:.1f} | {peak / 1024:.0f} |", flush=True)


def command(what: str, environment: dict[str, str], file: Path) -> None:
    """The same for a command that works on a file."""
    began = time.monotonic()
    words = [sys.executable, "-m", "rag_audio.cli", "trace", str(file), "--json"]
    asked = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(asked.pid, 0)
    asked.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    print(
        f"| {what} | exit code {asked.returncode} | {seconds:.1f} | {used.ru_maxrss / 1024:.0f} |"
    )


def silence(path: Path, kind: str, subtype: str, rate: int, channels: int, seconds: int) -> Path:
    """Zeros, written second by second."""
    nothing = np.zeros((rate, channels), np.float32)
    with soundfile.SoundFile(path, "w", rate, channels, subtype=subtype, format=kind) as sound:
        for _ in range(seconds):
            sound.write(nothing)
    return path


def size(path: Path) -> str:
    """As it is said."""
    return f"{path.stat().st_size / 1e6:.2f} MB"


if __name__ == "__main__":
    main()

"""Many clients at once on the real service, while workers and the database are killed.

    python benchmarks/bench_service.py --minutes 5 --clients 50 --kill-workers 10 --kill-postgres 3
    python benchmarks/bench_service.py --minutes 1 --database sqlite --kill-workers 1

Starts ``rag-audio serve`` and workers on the demo library, with PostgreSQL (its own cluster) or
SQLite. Every client asks, waits ``--think`` seconds on average, and asks again: seven searches to
two traces (an upload each) to one generation. At the end every accepted job must have ended well,
with exactly one entry in the ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import rag_audio
from rag_audio.resources import data_dir

ROOT = Path(__file__).parent.parent
WORDS = ("warm", "slow", "piano", "drums", "night", "house", "ambient", "guitar", "calm", "funk")
MIX = (("search", 7), ("trace", 2), ("generate", 1))


class Log:
    """What the clients saw: latencies, statuses, accepted jobs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seconds: dict[str, list[float]] = {kind: [] for kind, _ in MIX}
        self.statuses: Counter[tuple[str, str]] = Counter()
        self.while_down: Counter[tuple[str, str]] = Counter()
        self.accepted: list[str] = []
        self.down_until = 0.0

    def add(self, kind: str, began: float, status: str) -> None:
        with self.lock:
            down = began < self.down_until
            (self.while_down if down else self.statuses)[kind, status] += 1
            if status.startswith("2") and not down:
                self.seconds[kind].append(time.monotonic() - began)


class Postgres:
    """A cluster of its own that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        from tests.support.postgres import _account, binaries

        self.folder, self.account, self.commands = folder, _account(), binaries()
        folder.chmod(0o755)
        if self.account:
            os.chown(folder, self.account["user"], self.account["group"])
        self._run("initdb", "-D", "data", "-U", "rag", "-A", "trust", "-N")
        self.url = f"postgresql://rag@/postgres?host={folder}"

    def start(self) -> None:
        """Start it; after a kill its memory may be in use for a moment longer."""
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder}"
        options += " -c max_connections=200"
        for left in range(20, -1, -1):
            try:
                self._run("pg_ctl", "-D", "data", "-l", "log", "-o", options, "-w", "start")
            except subprocess.CalledProcessError:
                if not left:
                    raise
                time.sleep(0.5)
            else:
                return

    def kill(self) -> None:
        """SIGKILL to the server and all its children, as an out-of-memory killer does."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
        for one in (pid, *map(int, children.stdout.split())):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(0.5)
        # Where nobody reaps the dead, the server takes the old process for a living one.
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.commands / command), *arguments],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            **self.account,
        )


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="rag-") as name:
        base = Path(name)
        environment = dict(os.environ)
        environment |= {
            "RAG_AUDIO_HOME": str(base / "home"),
            "RAG_AUDIO_SERVE_REQUESTS_PER_MINUTE": "100000",
            "RAG_AUDIO_SERVE_LEASE_S": "5",
            "RAG_AUDIO_SERVE_ATTEMPTS": "10",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        postgres = None
        with ExitStack() as running:
            if arguments.database == "postgresql":
                folder = Path(tempfile.mkdtemp(prefix="pg-"))
                running.callback(shutil.rmtree, folder, ignore_errors=True)
                postgres = Postgres(folder)
                postgres.start()
                running.callback(postgres.stop)
                environment["RAG_AUDIO_DATABASE_URL"] = postgres.url
            os.environ.update(environment)
            with rag_audio.open() as workspace:
                workspace.index(data_dir("demo"))
                sound = base / "known.mp3"
                workspace.generate("warm electric piano", sound, duration_s=4.0, steps=4)
                before = workspace.home.ledger.count_outputs()
            run(arguments, environment, sound.read_bytes(), postgres, before)


def run(
    arguments: argparse.Namespace,
    environment: dict[str, str],
    sound: bytes,
    postgres: Postgres | None,
    before: int,
) -> None:
    log, stop = Log(), threading.Event()
    port = 8900 + os.getpid() % 90
    base_url = f"http://127.0.0.1:{port}"
    serve = ["serve", "--port", str(port), "--workers", "0"]
    with process(serve, environment) as server, ExitStack() as workers:
        wait_ready(base_url)
        pool = [start(["worker"], environment) for _ in range(arguments.workers)]
        workers.callback(lambda: [end(one) for one in pool])
        memory: list[float] = []
        clients = [
            threading.Thread(
                target=client, args=(base_url, log, stop, sound, i, arguments.think), daemon=True
            )
            for i in range(arguments.clients)
        ]
        for one in clients:
            one.start()
        began = time.monotonic()
        chaos = plan(arguments)
        while (moment := time.monotonic() - began) < arguments.minutes * 60:
            while chaos and chaos[0][0] <= moment:
                strike(chaos.pop(0)[1], pool, environment, postgres, log)
            memory.append(resident_mb(server.pid))
            time.sleep(1.0)
        stop.set()
        for one in clients:
            one.join(60)
        seconds = time.monotonic() - began
        result = settle(base_url, log, before)
        result |= figures(log, seconds, memory, arguments)
    print(json.dumps(result, indent=2))


def client(
    base_url: str, log: Log, stop: threading.Event, sound: bytes, seed: int, think: float
) -> None:
    """One client: ask, think, ask again."""
    dice = random.Random(seed)
    kinds, weights = zip(*MIX, strict=True)
    with httpx.Client(base_url=base_url, timeout=60.0) as http:
        stop.wait(dice.uniform(0, think))
        while not stop.is_set():
            kind = dice.choices(kinds, weights)[0]
            words = " ".join(dice.sample(WORDS, 3))
            began = time.monotonic()
            try:
                if kind == "search":
                    answer = http.post("/v1/search", json={"text": words, "limit": 5})
                elif kind == "trace":
                    answer = http.post("/v1/trace", content=sound)
                else:
                    asked = {"prompt": words, "duration_s": 2.0, "steps": 4}
                    answer = http.post("/v1/generations", json=asked)
                    if answer.status_code == 202:
                        with log.lock:
                            log.accepted.append(answer.json()["id"])
                status = str(answer.status_code)
            except httpx.HTTPError as error:
                status = type(error).__name__
            log.add(kind, began, status)
            stop.wait(dice.uniform(0.2, 1.8) * think)


def plan(arguments: argparse.Namespace) -> list[tuple[float, str]]:
    """When what is killed: evenly over the time, the first sixth and the last left alone."""
    whole = arguments.minutes * 60
    strikes = []
    for what, count in (("worker", arguments.kill_workers), ("postgres", arguments.kill_postgres)):
        for i in range(count):
            offset = 0.5 if what == "postgres" else 0.0
            strikes.append((whole * (1 / 6 + 4 / 6 * (i + offset) / count), what))
    return sorted(strikes)


def strike(
    what: str,
    pool: list[subprocess.Popen[bytes]],
    environment: dict[str, str],
    postgres: Postgres | None,
    log: Log,
) -> None:
    if what == "worker":
        victim = pool.pop(0)
        victim.kill()
        victim.wait()
        pool.append(start(["worker"], environment))
    elif postgres is not None:
        # Whoever asked a moment before may wait for an answer from a database that is gone.
        log.down_until = time.monotonic() + 30
        postgres.kill()
        postgres.start()
        log.down_until = time.monotonic() + 2


def settle(base_url: str, log: Log, before: int) -> dict[str, Any]:
    """Wait for all accepted jobs, and count what the ledger has of them."""
    states: Counter[str] = Counter()
    outputs: list[int] = []
    until = time.monotonic() + 600
    with httpx.Client(base_url=base_url, timeout=60.0) as http:
        for id_ in log.accepted:
            while True:
                job = http.get(f"/v1/generations/{id_}").json()
                if job["state"] in ("succeeded", "failed", "canceled"):
                    break
                if time.monotonic() > until:
                    break
                time.sleep(0.2)
            states[job["state"]] += 1
            outputs += [one["output"] for one in job["outputs"]]
        logged = http.get("/v1/outputs?limit=1").json()["total"] - before
    return {
        "accepted": len(log.accepted),
        "states": dict(states),
        "ledger_entries": logged,
        "lost_or_doubled": logged != len(log.accepted) or len(set(outputs)) != len(log.accepted),
    }


def figures(
    log: Log, seconds: float, memory: list[float], arguments: argparse.Namespace
) -> dict[str, Any]:
    def told(kind: str) -> dict[str, Any]:
        values = np.array(log.seconds[kind] or [np.nan]) * 1000
        p50, p95, p99 = (round(float(np.percentile(values, q)), 1) for q in (50, 95, 99))
        return {"count": len(log.seconds[kind]), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}

    allowed = ("200", "202", "429")
    errors = {f"{k} {s}": n for (k, s), n in log.statuses.items() if s not in allowed}
    fifth = max(1, len(memory) // 5)
    return {
        **{kind: told(kind) for kind in log.seconds},
        "answered_429": sum(n for (_, s), n in log.statuses.items() if s == "429"),
        "errors": errors,
        "while_postgres_was_down": {f"{k} {s}": n for (k, s), n in log.while_down.items()},
        "requests_per_s": round(sum(log.statuses.values()) / seconds, 1),
        "serve_memory_mb": {
            "after_a_fifth": round(float(np.median(memory[fifth : fifth + 5])), 1),
            "at_the_end": round(float(np.median(memory[-5:])), 1),
            "most": round(max(memory), 1),
        },
        "clients": arguments.clients,
        "think_s": arguments.think,
        "seconds": round(seconds, 1),
        "database": arguments.database,
        "kills": {"worker": arguments.kill_workers, "postgres": arguments.kill_postgres},
    }


@contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    made = start(command, environment)
    try:
        yield made
    finally:
        end(made)


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    whole = [sys.executable, "-m", "rag_audio.cli", *command]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(whole, env=environment, stdout=quiet, stderr=quiet, cwd=ROOT)


def end(made: subprocess.Popen[bytes]) -> None:
    made.terminate()
    try:
        made.wait(20)
    except subprocess.TimeoutExpired:
        made.kill()
        made.wait()


def wait_ready(base_url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if httpx.get(f"{base_url}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise SystemExit("the server did not start")


def resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
    except (OSError, IndexError):
        return 0.0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--think", type=float, default=4.0, help="seconds between requests, mean")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--kill-workers", type=int, default=10)
    parser.add_argument("--kill-postgres", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.database == "sqlite":
        arguments.kill_postgres = 0
    return arguments


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()

"""Two ``serve`` and two ``worker`` as four machines that share no folder, each killed in turn.

    PYTHONPATH=. python benchmarks/check_machines.py [--jobs 16] [--keep DIR]

They share a PostgreSQL of their own and a stand-in for S3 (moto), both started here, and nothing
else: each has a home, an index and a copy of the library at a place of its own, and gets its keys
as variables. Jobs are asked for at both servers in turn while each process is killed (SIGKILL) and
started again; a client asks again under the same ``Idempotency-Key`` where it got no answer. At
the end every accepted job must have succeeded with one output, nothing else may be logged, both
servers must send the same bytes for each, the log must verify; and what is revoked at one server
must be refused by the other one.

Exit code 1: something was lost, doubled, or allowed too long.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.postgres import cluster  # noqa: E402  (the tree is not installed)
from tests.support.small_library import write_library  # noqa: E402

ARTIST = "Copper Lantern Trio"
ASKED = {"prompt": "warm electric piano", "duration_s": 3.0, "steps": 40}
LEASE_S = 3
LONGEST_S = 300.0
REVOKED_WITHIN_S = 1.0


class Failed(Exception):
    """Something that must hold does not."""


@dataclass
class Machine:
    """A process with a home of its own."""

    name: str
    command: list[str]
    env: dict[str, str]
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        log = Path(self.env["RAG_AUDIO_HOME"]).parent / f"{self.name}.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rag_audio.cli", *self.command],
                env=self.env, stdout=out, stderr=out, cwd=ROOT,
            )  # fmt: skip

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def run(self, *arguments: str) -> str:
        """A command that ends; what it wrote."""
        done = subprocess.run(
            [sys.executable, "-m", "rag_audio.cli", *arguments],
            env=self.env, capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"{self.name}: {' '.join(arguments)}: {done.stderr.strip()[-400:]}")
        return done.stdout

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """An answer of a server: status and body."""
        content = None if body is None else json.dumps(body).encode()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as asked:
            method = "GET" if content is None else "POST"
            asked.request(method, path, content, {"Content-Type": "application/json", **headers})
            answer = asked.getresponse()
            return answer.status, answer.read()

    def wait_ready(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                if self.ask("/healthz")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
        raise Failed(f"{self.name} does not answer")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def bucket() -> Iterator[dict[str, str]]:
    """The variables by which a bucket of a stand-in for S3 is reached."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it prints every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        variables = {
            "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
            "AWS_ACCESS_KEY_ID": "stand-in",
            "AWS_SECRET_ACCESS_KEY": "stand-in",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        os.environ.update(variables)
        boto3.client("s3").create_bucket(Bucket="label")
        yield {**variables, "RAG_AUDIO_FILES": "s3://label/rag-audio"}
    finally:
        server.stop()


def machines(folder: Path, shared: dict[str, str]) -> list[Machine]:
    """Two servers without workers of their own, and two workers; each has indexed its copy."""
    write_library(folder / "library")
    keys = {
        f"RAG_AUDIO_{name}_KEY": base64.b64encode(os.urandom(32)).decode()
        for name in ("WATERMARK", "LEDGER", "WEBHOOK")
    }
    found = []
    for name in ("serve-1", "serve-2", "worker-1", "worker-2"):
        place = folder / name
        shutil.copytree(folder / "library", place / "mount" / "small")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAG_AUDIO")}
        env = {
            **kept,
            **shared,
            **keys,
            "RAG_AUDIO_HOME": str(place / "home"),
            "RAG_AUDIO_LIBRARY_ROOTS": f"label={place / 'mount'}",
            "RAG_AUDIO_SERVE_LEASE_S": str(LEASE_S),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        port = free_port() if name.startswith("serve") else 0
        command = ["worker"] if not port else ["serve", "--workers", "0", "--port", str(port)]
        one = Machine(name, command, env, port)
        one.run("index", str(place / "mount" / "small"))
        found.append(one)
    return found


def ask_for(servers: Sequence[Machine], number: int) -> str:
    """Have a job accepted, by whichever server answers; its id."""
    body = {**ASKED, "seed": number}
    end = time.monotonic() + LONGEST_S
    turn = number
    while time.monotonic() < end:
        server = servers[turn % len(servers)]
        turn += 1
        try:
            status, answer = server.ask(
                "/v1/generations", body, **{"Idempotency-Key": f"job-{number}"}
            )
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
            continue
        if status in (200, 202):
            return str(json.loads(answer)["id"])
        if status < 500 and status != 409:
            raise Failed(f"job {number} was answered with {status}: {answer[:300]!r}")
        time.sleep(0.1)
    raise Failed(f"no server accepted job {number}")


def succeeded(servers: Sequence[Machine], jobs: Sequence[str]) -> dict[str, int]:
    """The output of each job, as soon as all have ended."""
    end = time.monotonic() + LONGEST_S
    left, found = set(jobs), dict[str, int]()
    while left:
        if time.monotonic() > end:
            raise Failed(f"{len(left)} jobs never ended, such as {min(left)}")
        for job in sorted(left):
            status, answer = servers[0].ask(f"/v1/generations/{job}")
            said = json.loads(answer)
            if status != 200 or said["state"] in ("failed", "canceled"):
                raise Failed(f"job {job} is lost: {status} {said}")
            if said["state"] == "succeeded":
                (output,) = said["outputs"]
                found[job] = int(output["output"])
                left.discard(job)
        time.sleep(0.3)
    return found


def check(folder: Path, count: int, stack: ExitStack) -> None:
    shared = stack.enter_context(bucket())
    shared["RAG_AUDIO_DATABASE_URL"] = stack.enter_context(cluster())
    began = time.monotonic()
    all_ = machines(folder, shared)
    servers = all_[:2]
    say(f"four machines, each with an index of its own: {time.monotonic() - began:.0f} s")
    for one in all_:
        one.start()
        stack.callback(one.kill)
    for server in servers:
        server.wait_ready()
    began, jobs = time.monotonic(), []
    for number in range(count):
        jobs.append(ask_for(servers, number))
        if number % max(1, count // (2 * len(all_))) == 0:
            victim = all_[len(jobs) % len(all_)]
            time.sleep(0.7)
            victim.kill()
            victim.start()
            say(f"{len(jobs)} jobs accepted; {victim.name} killed and started again")
    for server in servers:
        server.wait_ready()
    outputs = succeeded(servers, jobs)
    say(f"{len(jobs)} jobs ended after {time.monotonic() - began:.0f} s")
    require(len(set(jobs)) == count, "two requests got the same job")
    require(len(set(outputs.values())) == count, "two jobs have the same output")
    logged = json.loads(servers[1].ask("/v1/outputs?limit=1")[1])["total"]
    require(logged == count, f"{count} jobs were accepted and {logged} outputs are logged")
    for job in jobs:
        sent = [server.ask(f"/v1/generations/{job}/content") for server in servers]
        require(all(status == 200 for status, _ in sent), f"job {job} has no sound: {sent[0][0]}")
        require(len({sha256(body).digest() for _, body in sent}) == 1, "servers send other bytes")
    all_[3].run("ledger", "verify")
    say(f"{count} outputs, each once, sent alike by both servers; the log verifies")
    seconds = revoked_everywhere(servers)
    require(seconds <= REVOKED_WITHIN_S, f"refused only after {seconds:.2f} s")
    say(f"revoked at serve-1, refused by serve-2 {seconds * 1000:.0f} ms after the answer")


def revoked_everywhere(servers: Sequence[Machine]) -> float:
    """Seconds until the other server refuses an artist that one revoked."""
    asked = {**ASKED, "seed": 1, "artist": ARTIST}
    status, answer = servers[1].ask("/v1/plans", asked)
    require(status == 200, f"the artist is refused before: {status} {answer[:200]!r}")
    body = {"of": "artist", "target": ARTIST, "reason": "a check", "preview": False}
    status, answer = servers[0].ask("/v1/revocations", body)
    require(status == 200, f"not revoked: {status} {answer[:200]!r}")
    began = time.monotonic()
    while servers[1].ask("/v1/plans", asked)[0] == 200:
        if time.monotonic() - began > 30:
            raise Failed("it is never refused")
    return time.monotonic() - began


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--keep", type=Path, help="folder for homes and logs, which stays")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="machines-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            check(folder, given.jobs, stack)
    except Failed as fault:
        print(f"failed: {fault} (logs in {folder})", file=sys.stderr)
        sys.exit(1)
    if given.keep is None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

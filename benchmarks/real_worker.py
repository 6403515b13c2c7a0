"""Make the outputs of :mod:`benchmarks.bench_real_library` with one tree of the product.

    PYTHONPATH=TREE python benchmarks/real_worker.py JOBS.json

It is started by the benchmark, once for each tree, and uses the public API alone, so that it runs
under older ones too. ``JOBS.json`` holds ``home``, ``libraries``, ``out`` and ``jobs``, each with
a ``name`` and the ``fields`` of a request. Every output ``out/NAME.wav`` gets ``out/NAME.json``
with the plan, what was measured and the seconds taken, or why it was refused. What has one is not
made again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does

import rag_audio
from rag_audio.errors import RagAudioError
from rag_audio.pipeline.workspace import Workspace


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    out = Path(given["out"])
    out.mkdir(parents=True, exist_ok=True)
    left = [job for job in given["jobs"] if not (out / f"{job['name']}.json").is_file()]
    print(f"{rag_audio.__file__}: {len(left)} of {len(given['jobs'])} left", flush=True)
    if not left:
        return
    with rag_audio.open(given["home"]) as workspace:
        for library in given["libraries"]:
            report = workspace.index(library)
            print(f"{Path(library).name}: {report.indexed} indexed, {report.seconds:.0f} s")
        started = time.monotonic()
        for number, job in enumerate(left, start=1):
            done = _made(workspace, out / f"{job['name']}.wav", job["fields"])
            unfinished = out / f"{job['name']}.tmp"
            unfinished.write_text(json.dumps(done), encoding="utf-8")
            unfinished.replace(out / f"{job['name']}.json")
            each = (time.monotonic() - started) / number
            rest = each * (len(left) - number) / 60
            said = done.get("refused") or f"{done['seconds']:.1f} s"
            print(f"{number}/{len(left)} {job['name']}: {said}; {rest:.0f} min left", flush=True)


def _made(workspace: Workspace, path: Path, fields: dict[str, Any]) -> dict[str, Any]:
    started, spent = time.monotonic(), time.process_time()
    try:
        (result,) = workspace.generate(out=path, **fields)
    except RagAudioError as error:
        return {"refused": str(error)}
    record = result.record
    return {
        "plan": dict(record.plan),
        "checks": dict(record.checks),
        "similar": [source.influence.similar for source in record.sources],
        "seconds": time.monotonic() - started,
        "cpu_s": time.process_time() - spent,
    }


if __name__ == "__main__":
    main()

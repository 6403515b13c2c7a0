"""How requests grow with the library and the ledger: p50 and p99 by size, memory, disk.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/bench_scale.py \\
        --stems 1000 10000 100000 1000000 [--data DIR] [--only PART …] [--quick] [--plot FILE]

A home of each size is built once under ``--data`` (outside the tree) by
:mod:`benchmarks.scale_material` and used again. Vectors, outputs and fingerprints are synthetic;
everything is written and asked through the product's own classes, the API through its own app, by
a process that holds the index as a service does. Each part runs in a process of its own. There are
as many outputs, segments and fingerprints as stems, or as many as ``--outputs``, ``--segments`` and
``--prints`` allow. ``--quick`` asks less often and builds an index of at most 100,000 segments.

With ``--json FILE`` sizes and parts can be asked one after the other: the table and the plot have
all that the file holds.

``plan`` and ``generate`` read the sounds of their references from files; ``generate`` runs a
generator that gives ready sound in place of a model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale_material import (
    LIBRARIES,
    REVOKED,
    SOUND_RATE,
    WORDS,
    Maker,
    Scale,
    artist_name,
    build,
    library_id,
    license_ids,
    open_home,
    sizes_of,
    unit_sizes,
)
from rag_audio.audio.writing import save
from rag_audio.domain import Audio, GenerationRequest
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.ports import DiffusionInput, Mark
from rag_audio.errors import RequestRefused
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.trace.fingerprint import find_peaks
from rag_audio.retrieval.references import ReferenceQuery
from rag_audio.service.api.app import keep_what_was_loaded
from rag_audio.storage.shared_index import SharedIndex

COMPARED = 10_000
"""The size whose values the others are compared with."""
DEFAULT_DATA = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rag-audio-scale"
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Times:
    """Milliseconds of calls, and how many rows or hits an answer had."""

    ms: list[float]
    answer: float = 0.0

    def to_json(self) -> dict[str, float]:
        return {
            "n": len(self.ms),
            "p50_ms": round(float(np.percentile(self.ms, 50)), 3),
            "p99_ms": round(float(np.percentile(self.ms, 99)), 3),
            "answer": round(self.answer, 2),
        }


@dataclass(frozen=True)
class Bench:
    """An opened home, how often each question is asked, and how many stems are revoked."""

    opened: Workspace
    scale: Scale
    often: int
    seldom: int
    revoked: int = REVOKED

    @property
    def pipeline(self) -> Pipeline:
        return self.opened.pipeline

    def texts(self) -> Iterator[str]:
        """Different prompts without an end."""
        rng = np.random.default_rng(1)
        while True:
            yield " ".join(rng.choice(WORDS, 3, replace=False))

    def artists(self) -> Iterator[str]:
        rng = np.random.default_rng(2)
        while True:
            yield artist_name(int(rng.integers(0, self.scale.artists)))


def timed(ask: Callable[[], Any], times: int, warm: int = 3) -> Times:
    """Times of calls after some that are not counted; ``answer`` is their mean length."""
    took, lengths = [], []
    for turn in range(times + warm):
        began = time.perf_counter()
        answer = ask()
        if turn >= warm:
            took.append((time.perf_counter() - began) * 1e3)
            lengths.append(len(answer) if hasattr(answer, "__len__") else 1)
    return Times(took, statistics.fmean(lengths))


def search(bench: Bench) -> Iterator[tuple[str, Times]]:
    pipeline, texts, artists = bench.pipeline, bench.texts(), bench.artists()
    libraries = range(min(LIBRARIES, bench.scale.artists))
    licenses = [f"{library_id(n)}/{one}" for n in libraries for one in license_ids(n)][:50]

    def find(**filters: Any) -> Any:
        return pipeline.search(ReferenceQuery(text=next(texts), k=10, **filters))

    yield "search, plain", timed(find, bench.often)
    yield (
        "search, artist",
        timed(lambda: bench.opened.search(next(texts), artist=next(artists)), bench.often),
    )
    yield "search, 50 licenses", timed(lambda: find(licenses=tuple(licenses)), bench.often)


def revoked(bench: Bench) -> Iterator[tuple[str, Times]]:
    """Searches while many stems are revoked, and marked so in the index; at the end they are not.

    The product also deletes the points of revoked stems, which would leave nothing to pass over.
    """
    catalogue, index = bench.opened.home.catalogue, bench.opened.home.index
    texts = bench.texts()
    maker = Maker(bench.scale, bench.opened.home.embedder)
    most = bench.revoked
    step = max(2, bench.scale.stems // most)
    ids = [maker.stem(number).id for number in range(0, bench.scale.stems, step)][:most]
    at = datetime.now(UTC)
    orders = iter([Revocation(RevocationOf.STEM, one, "benchmark", "bench", at) for one in ids])
    try:
        yield "revoke a stem", timed(lambda: [catalogue.revoke(next(orders))], len(ids) - 3)
        index.set_revoked(sorted(ids), True)
        yield (
            "search, many revoked",
            timed(
                lambda: bench.pipeline.search(ReferenceQuery(text=next(texts), k=10)), bench.often
            ),
        )
    finally:
        _end_revocations(bench.opened)


def _end_revocations(opened: Workspace) -> None:
    """Take back all revocations: those of a run that was broken off would make all searches
    slower."""
    for order in (orders := opened.home.catalogue.revocations()):
        opened.home.catalogue.end_revocation(order)
    if orders:
        opened.home.index.set_revoked(sorted({order.target for order in orders}), False)


def plan(bench: Bench) -> Iterator[tuple[str, Times]]:
    texts, artists = bench.texts(), bench.artists()

    def made(**fields: Any) -> Any:
        asked = GenerationRequest(prompt=next(texts), duration_s=8.0, seed=1, **fields)
        return _unless_refused(lambda: bench.pipeline.plan(asked).references)

    yield "plan", timed(made, bench.often)
    yield "plan, artist", timed(lambda: made(artist=next(artists)), bench.often // 4)


def _unless_refused(ask: Callable[[], Any]) -> Any:
    """An answer; empty where the words, which chance puts together, read like a musician's name."""
    try:
        return ask()
    except RequestRefused:
        return ()


class ReadySound:
    """A generator that gives a sound it has in place of running a model."""

    def __init__(self, model: Any) -> None:
        self._model, self.info = model, model.info

    def count_tokens(self, text: str) -> int:
        return int(self._model.count_tokens(text))

    def generate(
        self, batch: DiffusionInput, progress: Any = None, stop_asked: Any = None
    ) -> tuple[Audio, ...]:
        frames = round(batch.duration_s * self.info.sample_rate)
        found = []
        for seed in batch.seeds:
            rng = np.random.default_rng(seed)
            at = np.arange(frames) / self.info.sample_rate
            tone = sum(np.sin(2 * np.pi * f * at) for f in rng.uniform(80, 2000, 6)) / 12
            tone = tone * (0.4 + 0.6 * np.exp(-4 * (at % 0.5))) + 0.02 * rng.standard_normal(frames)
            found.append(
                Audio(
                    np.repeat(tone[None].astype(np.float32), self.info.channels, 0),
                    self.info.sample_rate,
                )
            )
        return tuple(found)


def generate(bench: Bench) -> Iterator[tuple[str, Times]]:
    home = bench.opened.home
    pipeline = Pipeline(home.limited_to(None, generator=ReadySound(home.generator(None))))
    texts, seeds = bench.texts(), iter(range(1, 1 << 30))
    with tempfile.TemporaryDirectory() as folder:

        def ask() -> Any:
            seed = next(seeds)
            asked = GenerationRequest(prompt=next(texts), duration_s=4.0, seed=seed)
            return _unless_refused(lambda: pipeline.generate(asked, Path(folder) / f"{seed}.wav"))

        yield "generate, without the model", timed(ask, bench.seldom)


def pages(bench: Bench) -> Iterator[tuple[str, Times]]:
    """The API's lists, as the page asks for them."""
    from fastapi.testclient import TestClient

    from rag_audio.service.api.app import make_app
    from rag_audio.service.api.services import Service
    from rag_audio.service.settings import ServeSettings

    settings = ServeSettings(requests_per_minute=1_000_000, free_mb=0)
    service = Service(bench.opened, settings, ("testserver",), workers=0)
    client = TestClient(make_app(service))
    rng = np.random.default_rng(4)

    def get(address: str, name: str) -> list[Any]:
        answer = client.get(address)
        answer.raise_for_status()
        rows: list[Any] = answer.json()[name]
        return rows

    def anywhere() -> list[Any]:
        return get(f"/v1/stems?limit=50&after={rng.bytes(32).hex()}", "stems")

    artists = bench.artists()
    asks: dict[str, Callable[[], Any]] = {
        "library page, first": lambda: get("/v1/stems?limit=50", "stems"),
        "library page, anywhere": anywhere,
        "library page, of an artist": lambda: get(
            f"/v1/stems?limit=50&artist={next(artists)}", "stems"
        ),
        "library page, tag": lambda: get("/v1/stems?limit=50&tag=piano", "stems"),
        "libraries": lambda: get("/v1/libraries", "libraries"),
        "artists": lambda: get("/v1/artists", "artists"),
        "outputs page": lambda: get("/v1/outputs?limit=50", "outputs"),
        "outputs page, of a holder": lambda: get(
            "/v1/outputs?limit=50&holder=Holder 00 (invented)", "outputs"
        ),
    }
    for name, ask in asks.items():
        yield name, timed(ask, bench.seldom)


def report(bench: Bench) -> Iterator[tuple[str, Times]]:
    """A year's report as a process of its own, and its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.csv"
        command = [sys.executable, "-m", "rag_audio.cli", "report", "--from", "2025-01-01"]
        command += ["--to", "2025-12-31", "--format", "csv", "--out", str(out)]
        command += ["--home", str(bench.opened.home.settings.home)]
        began = time.perf_counter()
        used = _peak_mb(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        ms = (time.perf_counter() - began) * 1e3
        with out.open("rb") as file:
            rows = sum(1 for _ in file) - 1
        yield "report of a year, CSV (answer: rows)", Times([ms], rows)
        yield "report: peak memory, MB", Times([used])


def _peak_mb(process: subprocess.Popen[bytes]) -> float:
    """Waits for a process, and tells the most memory it held, MB (Linux). ``ru_maxrss`` would count
    what this process held when it started the other."""
    peak = 0.0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        peak = max([peak, *(int(x.split()[1]) / 1024 for x in lines if x.startswith("VmHWM"))])
        time.sleep(0.2)
    if process.returncode != 0:
        raise SystemExit(f"the report ended with {process.returncode}")
    return peak


def trace(bench: Bench) -> Iterator[tuple[str, Times]]:
    home = bench.opened.home
    rate = SOUND_RATE * 2
    sound = next(iter(ReadySound(home.generator(None)).generate(_batch(10.0))))
    marked = home.watermarker.embed(sound, Mark(max(1, bench.scale.outputs // 2)))
    foreign = Audio(np.roll(sound.samples[:, ::-1], rate // 3, axis=1).copy(), sound.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        for name, one in (("a marked", marked), ("a foreign", foreign)):
            file = Path(folder) / f"{name[2:]}.wav"
            save(one, file)
            yield (
                f"trace of {name} file",
                timed(lambda file=file: [bench.opened.trace(file)], bench.seldom, 1),
            )
    piece = find_peaks(foreign)
    yield "fingerprint question", timed(lambda: home.fingerprints.find(piece), bench.seldom)


def _batch(duration_s: float) -> DiffusionInput:
    return DiffusionInput("", "", duration_s, 1, 1.0, (5,))


def append(bench: Bench) -> Iterator[tuple[str, Times]]:
    """Outputs that are added, number and fingerprint included."""
    home = bench.opened.home
    maker = Maker(bench.scale, home.embedder)
    records = [maker.record(number) for number in range(1, 40)]

    def ask() -> Any:
        number = home.ledger.next_output_id()
        record = replace(records[number % len(records)], output=number)
        home.fingerprints.put(number, maker.fingerprint(number))
        return [home.ledger.append(record)]

    yield "append of an output", timed(ask, bench.seldom * 2)


PARTS: dict[str, Callable[[Bench], Iterator[tuple[str, Times]]]] = {
    "search": search,
    "revoked": revoked,
    "plan": plan,
    "generate": generate,
    "pages": pages,
    "report": report,
    "trace": trace,
    "append": append,
}


def main() -> None:
    given = _arguments()
    if given.worker is not None:
        _work(given)
        return
    found = _known(given.json)
    for stems in given.stems:
        scale = _scale(given, stems)
        folder = _folder(given, scale)
        seconds = build(folder, scale, _progress)
        found.setdefault(stems, {})
        for part in given.only or PARTS:
            _progress(f"{stems:,} stems: {part}")
            began = time.monotonic()
            found[stems].update(_run(given, stems, folder, part))
            _say(f"{stems:,} stems: {part} took {time.monotonic() - began:.0f} s")
            _keep(found, given.json)
        found[stems]["build"] = {part: {"s": round(s, 1)} for part, s in seconds.items()}
        found[stems]["disk"] = {
            name: {"mb": round(size / _MEGABYTE)} for name, size in sizes_of(folder).items()
        }
    _progress("")
    print(table(found, given))
    print(f"\n{_units(given)}")
    _keep(found, given.json)
    if given.plot:
        draw(found, given.plot)


def _known(file: Path | None) -> dict[int, dict[str, Any]]:
    """What earlier runs found, by size."""
    if file is None or not file.exists():
        return {}
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {int(size): parts for size, parts in kept.items()}


def _keep(found: dict[int, dict[str, Any]], file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _units(given: argparse.Namespace) -> str:
    """What a row takes, in the home of 10,000 stems or the smallest one."""
    stems = COMPARED if COMPARED in given.stems else min(given.stems)
    scale = _scale(given, stems)
    sizes = unit_sizes(_folder(given, scale), scale)
    return f"Bytes of the database at {stems:,} stems: " + ", ".join(
        f"{unit} {size:,}" for unit, size in sizes.items()
    )


def _folder(given: argparse.Namespace, scale: Scale) -> Path:
    folder: Path = given.data / f"{scale.stems}-{scale.outputs}-{scale.segments}"
    return folder


def _scale(given: argparse.Namespace, stems: int) -> Scale:
    def most(limit: int | None, of: int = stems) -> int:
        return of if limit is None else min(of, limit)

    outputs, segments = most(given.outputs), most(given.segments)
    if given.quick:
        segments = min(segments, 100_000)
    return Scale(stems, outputs, segments, most(given.prints, outputs))


def _run(given: argparse.Namespace, stems: int, folder: Path, part: str) -> dict[str, Any]:
    """One part in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "found.json"
        command = [sys.executable, __file__, "--worker", part, "--folder", str(folder)]
        command += ["--stems", str(stems), "--json", str(out), *_same(given)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
            return {f"{part}: failed": {"error": last[0][:200]}}
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def _same(given: argparse.Namespace) -> list[str]:
    said = ["--quick"] if given.quick else []
    for name in ("segments", "outputs", "prints", "times"):
        value = getattr(given, name)
        said += [] if value is None else [f"--{name}", str(value)]
    return said


def _work(given: argparse.Namespace) -> None:
    (stems,) = given.stems
    often = given.times or (100 if given.quick else 1000)
    with open_home(given.folder) as opened:
        opened.home.make_all(generator=False)  # as a service does
        began = time.perf_counter()
        if isinstance(opened.home.index, SharedIndex):
            opened.home.index.keep()
        opening = Times([(time.perf_counter() - began) * 1e3])
        keep_what_was_loaded()
        _end_revocations(opened)
        bench = Bench(
            opened,
            _scale(given, stems),
            often,
            max(5, often // 20),
            500 if given.quick else REVOKED,
        )
        found = {name: times.to_json() for name, times in PARTS[given.worker](bench)}
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if given.worker == "search":
            found["opening the index"] = opening.to_json()
        found[f"memory of {given.worker}, peak MB"] = {"mb": round(used)}
        given.json.write_text(json.dumps(found), encoding="utf-8")


def table(found: dict[int, dict[str, Any]], given: argparse.Namespace) -> str:
    """Markdown: a row a question, a column a size, and the growth from 10,000 to the largest."""
    sizes = sorted(found)
    names = list(dict.fromkeys(name for size in sizes for name in found[size]))
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    lines = [
        f"{machine}, load average {os.getloadavg()[0]:.1f}. p50 (p99) in ms; [answer] rows.",
        "",
        f"| question | {' | '.join(f'{size:,} stems' for size in sizes)} | growth |",
        f"|---|{'---:|' * (len(sizes) + 1)}",
    ]
    for name in names:
        if name in ("build", "disk"):
            continue
        cells = [_cell(found[size].get(name)) for size in sizes]
        lines.append(f"| {name} | {' | '.join(cells)} | {_growth(found, sizes, name)} |")
    for name in ("build", "disk"):
        for part in found[sizes[-1]].get(name, {}):
            each = [found[size].get(name, {}).get(part, {}) for size in sizes]
            cells = [
                ", ".join(f"{value:,} {unit}" for unit, value in one.items()) or "–" for one in each
            ]
            lines.append(f"| {name}: {part} | {' | '.join(cells)} | |")
    return "\n".join(lines)


def _cell(one: dict[str, float] | None) -> str:
    if one is None:
        return "–"
    if "error" in one:
        return str(one["error"]).replace("|", "/")
    if "mb" in one:
        return f"{one['mb']:,}"
    size = f" [{one['answer']:,.0f}]" if one["answer"] > 1 else ""
    tail = f" ({one['p99_ms']:,.1f})" if one["n"] > 1 else ""
    return f"{one['p50_ms']:,.1f}{tail}{size}"


def _growth(found: dict[int, dict[str, Any]], sizes: Sequence[int], name: str) -> str:
    """The median at the largest size over that at 10,000 stems; per row of the answer too."""
    last = found[sizes[-1]].get(name, {})
    first = found.get(COMPARED, {}).get(name, {})
    if sizes[-1] <= COMPARED or "p50_ms" not in last or "p50_ms" not in first:
        return ""
    grown = last["p50_ms"] / first["p50_ms"]
    if last["answer"] <= 1.1 * first["answer"] or first["answer"] == 0:
        return f"{grown:.2f} ×"
    return f"{grown:.2f} × ({grown * first['answer'] / last['answer']:.2f} × a row)"


_PANELS = {
    "search and plan": ("search", "plan", "generate"),
    "pages": ("library", "libraries", "artists", "outputs"),
    "trace, append, revoke, report": ("trace", "fingerprint", "append", "revoke", "report of"),
}
"""Titles, and how the names begin of what is drawn under each."""


def draw(found: dict[int, dict[str, Any]], file: Path) -> None:
    """Growth of the medians with the size, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = sorted(found)
    figure, panels = pyplot.subplots(1, len(_PANELS), figsize=(13, 5.5), dpi=100, sharex=True)
    for axes, (title, begins) in zip(panels, _PANELS.items(), strict=True):
        names = [n for n in found[sizes[0]] if n.startswith(begins)]
        for place, name in enumerate(names):
            there = [size for size in sizes if "p50_ms" in found[size].get(name, {})]
            axes.plot(
                there,
                [found[size][name]["p50_ms"] for size in there],
                marker="o.sv^Dx*"[place % 8],
                label=name.partition(" (")[0],
            )
        axes.set(xscale="log", yscale="log", xlabel="stems", title=title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    panels[0].set_ylabel("median, ms")
    figure.savefig(file, bbox_inches="tight")


def _say(text: str) -> None:
    """A line that stays, so that a long run can be followed in a file too."""
    _progress("")
    print(text, file=sys.stderr, flush=True)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stems", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--outputs", type=int, help="at most; else as many as stems")
    parser.add_argument("--segments", type=int, help="at most; else as many as stems")
    parser.add_argument("--prints", type=int, help="fingerprints at most; else as many as outputs")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="where homes are kept")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="these parts alone")
    parser.add_argument("--times", type=int, help="searches and plans of each kind")
    parser.add_argument("--quick", action="store_true", help="fewer calls, fewer segments")
    parser.add_argument(
        "--json", type=Path, help="file of all figures; those that are in it already stay"
    )
    parser.add_argument("--plot", type=Path, help="PNG of the growth")
    parser.add_argument("--worker", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""An installed wheel in an empty folder does the whole demo: nothing is read from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rag_audio.audio.dsp import loudness_lufs, true_peak_dbtp
from rag_audio.audio.reading import load
from rag_audio.domain import Key

ROOT = Path(__file__).parent.parent

# One worker builds the wheel and runs the demo, once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout and unpacked as an installer would."""
    wheels = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def _run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rag_audio.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.fixture(scope="session")
def demo(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("empty")
    done = _run(site, folder, "demo", "--out", "made", "--json")
    assert done.returncode == 0, done.stderr
    return folder / "made", json.loads(done.stdout)


def test_the_wheel_carries_its_data_and_is_what_is_imported(site: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import rag_audio; from rag_audio.resources import data_dir\n"
            "print(rag_audio.__file__)\n"
            "for n in ('models', 'demo', 'lexicon', 'policy', 'soundfont'): print(data_dir(n))",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.split()
    assert len(lines) == 6
    assert all(Path(line).is_relative_to(site) for line in lines)
    web = site / "rag_audio" / "service" / "web"
    assert (web / "index.html").is_file()
    assert all((folder / "LICENSE").is_file() for folder in (web / "vendor").iterdir())
    assert not (site / "training").exists()
    assert (site / "rag_audio" / "provenance" / "trace_report.html").is_file()


def test_the_demo_runs_from_an_installed_wheel(demo: tuple[Path, dict[str, Any]]) -> None:
    made, document = demo
    assert document["index"]["indexed"] >= 20
    assert {rejection["reason"] for rejection in document["index"]["rejected"]}
    assert document["refusal"]["message"].startswith("refused")
    assert document["trace"]["cropped.mp3"]["by"] == "watermark"
    heard = document["generate"]["heard"]
    assert heard["bpm"] is None or heard["bpm"] > 0
    assert document["trace"]["cropped.mp3"]["output"] == document["generate"]["output"]
    for name in ("output.wav", "output.mp3", "output.png", "plan.json", "record.json"):
        assert (made / name).stat().st_size > 0
    output = load(made / "output.wav")
    assert -40 < loudness_lufs(output) < -6
    assert true_peak_dbtp(output) <= 0.0


def test_the_demo_sounds_as_it_was_asked_to(demo: tuple[Path, dict[str, Any]]) -> None:
    document = demo[1]
    asked = Key.parse(document["generate"]["key"])
    heard = document["generate"]["heard"]
    ratio = heard["bpm"] / document["generate"]["bpm"]
    assert min(abs(ratio / octave - 1) for octave in (0.5, 1.0, 2.0)) <= 0.04
    assert Key.parse(heard["key"]) in (asked, asked.relative())
    likeness = document["without_references"]["likeness"]
    assert likeness["with"] > likeness["without"] + 0.1


def test_every_source_of_the_demo_is_the_artist_that_was_asked_for(
    demo: tuple[Path, dict[str, Any]],
) -> None:
    record = json.loads((demo[0] / "record.json").read_text(encoding="utf-8"))
    artists = {reference["artist"] for reference in demo[1]["generate"]["references"]}
    assert artists == {record["request"]["artist"]}
    for channel in ("prompt", "init"):
        shares = [r["used"][channel] for r in demo[1]["generate"]["references"]]
        total = sum(shares) + demo[1]["generate"]["model_share"][channel]
        assert total == pytest.approx(1.0)
        assert all(0 <= share <= 1 for share in shares)

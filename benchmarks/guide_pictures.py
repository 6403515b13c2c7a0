"""Makes the pictures of docs/guide.md by the recipes that stand there.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/guide_pictures.py [--work DIR] [--to DIR]

Every ``rag-audio`` line of the guide that draws a picture shown there is run as it stands, on the
demo library; the pictures are then made small.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rag_audio.cli.app import run
from rag_audio.cli.demo import _lay_out_library
from rag_audio.resources import data_dir

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "guide.md"
DRAWN = ("--picture", "--plot")
WIDTH, COLOURS = 760, 96


def commands(text: str) -> Iterator[list[str]]:
    """The ``rag-audio`` lines of a page's code blocks, as arguments; comments are left out."""
    inside = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside and line.startswith("rag-audio "):
            yield shlex.split(line, comments=True)[1:]


def shrink(picture: Path, to: Path, width: int = WIDTH, colours: int = COLOURS) -> None:
    """A copy of a PNG with fewer pixels and colours."""
    from PIL import Image

    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)))
    few = image.quantize(
        colours, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE
    )
    few.save(to, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="keep home and outputs here")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "pictures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = (given.work or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        to = given.to.resolve()
        os.environ["RAG_AUDIO_HOME"] = str(work / "home")
        renders = json.loads((data_dir("demo") / "demo.json").read_text(encoding="utf-8"))
        library = _lay_out_library(work / "library", renders["renders"], quiet=True)
        if run(["index", str(library)]):
            raise SystemExit("the demo library could not be indexed")
        os.chdir(work)
        guide = GUIDE.read_text(encoding="utf-8")
        for arguments in commands(guide):
            drawn = [arguments[arguments.index(name) + 1] for name in DRAWN if name in arguments]
            drawn = [name for name in drawn if f"pictures/{name}" in guide]
            if not drawn:
                continue
            print("rag-audio", shlex.join(arguments), flush=True)
            if run(arguments):
                raise SystemExit("a recipe of the guide failed")
            for name in drawn:
                shrink(work / name, to / name)
                print(f"  {name}: {(to / name).stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    main()

"""Pictures of the page for the README: ``python -m tests.service.web.screenshots OUT [DEMO]``.

``DEMO`` is what ``rag-audio demo --out DEMO`` made; without it the demo is made first.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.service.web.site import FLAGS, Site, browser_path, serving

SIZE = {"width": 1200, "height": 800}
PROMPT = "late night deep house with warm electric piano and a rolling bassline"


def main(out: Path, demo: Path | None) -> None:
    """Make the demo, serve a copy of its home, and look at it."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if demo is None:
            demo = Path(folder) / "demo"
            make = [sys.executable, "-m", "rag_audio.cli", "demo", "--out", str(demo)]
            subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        home = Path(folder) / "home"
        shutil.copytree(demo / "home", home)
        with serving(home) as site, sync_playwright() as running:
            browser = running.chromium.launch(executable_path=browser_path(), args=list(FLAGS))
            light = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
            _create(site, light, out / "create.png")
            dark = browser.new_context(viewport=SIZE, color_scheme="dark").new_page()
            _result(site, dark, out / "result.png")
            _trace(site, light, demo / "cropped.mp3", out / "trace.png")
            browser.close()


def _create(site: Site, page: Any, file: Path) -> None:
    page.goto(site.url)
    page.get_by_label("Prompt").fill(PROMPT)
    page.get_by_label("Velda Quarn").check()
    page.get_by_label("Search for references").fill("dusty drum machine")
    page.get_by_label("Search for references").press("Enter")
    page.get_by_role("button", name="Add ").first.wait_for()
    page.locator("ins").first.wait_for()
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(1500)
    page.screenshot(path=file)


def _result(site: Site, page: Any, file: Path) -> None:
    asked = {"prompt": PROMPT, "artist": "Velda Quarn", "duration_s": 12, "variations": 3}
    job = site.ended(site.ask(**asked, seed=7)["id"])
    page.goto(f"{site.url}/#/result/{job['id']}")
    page.locator(".lane").first.wait_for()
    page.locator("button:enabled", has_text="Play").first.wait_for()
    page.get_by_label("From, s").fill("4")
    page.get_by_label("To, s").fill("7")
    box = page.locator(".spectrogram").bounding_box()
    page.mouse.click(box["x"] + 0.42 * box["width"], box["y"] + 40)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)
    page.screenshot(path=file)


def _trace(site: Site, page: Any, sound: Path, file: Path) -> None:
    page.goto(f"{site.url}/#/trace")
    page.get_by_role("heading", name="Trace").wait_for()
    page.locator("[type=file]").set_input_files(sound)
    page.get_by_role("region", name="Proof").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)

"""A browser, the app, and pages that watch what they ask for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rag_audio
from tests.service.web.desk import Desk
from tests.service.web.site import AXE, FLAGS, Site, browser_path, serving
from tests.support.small_library import write_library

SCRIPT = "<img src=x onerror=document.title='pwned'>Amber"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium of this machine; skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = browser_path()
    if path is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def web_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose library has a title that would like to be a script."""
    base = tmp_path_factory.mktemp("web")
    library = write_library(base / "library")
    table = library / "stems.csv"
    table.write_text(table.read_text().replace("Amber Stairs", SCRIPT))
    with rag_audio.open(base / "home") as workspace:
        workspace.index(library)
    return base / "home"


@pytest.fixture(scope="module")
def site(web_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The app without keys, with one worker."""
    home = tmp_path_factory.mktemp("site") / "home"
    shutil.copytree(web_home, home)
    with serving(home) as running:
        yield running


Start = Callable[..., Any]


@contextmanager
def opening_pages(browser: Any) -> Iterator[Start]:
    """Opens pages; at the end none of them may have looked outside, or broken a rule of the CSP."""
    contexts, outside, faults = [], [], []

    def start(site: Site, path: str = "") -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()

        def asked(request: Any) -> None:
            if not request.url.startswith((f"{site.url}/", "blob:", "data:")):
                outside.append(request.url)

        def said(message: Any) -> None:
            # What the server refuses is part of the tests, and what is not there while offline.
            if message.type == "error" and "Failed to load resource" not in message.text:
                faults.append(message.text)

        context.on("request", asked)
        page.on("console", said)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{site.url}/{path}")
        return page

    yield start
    for context in contexts:
        context.close()
    assert outside == []
    assert faults == []


@pytest.fixture
def open_page(browser: Any) -> Iterator[Start]:
    """Opens pages, see :func:`opening_pages`."""
    with opening_pages(browser) as start:
        yield start


@pytest.fixture(scope="session")
def one_desk(
    browser: Any, web_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """One page of an app whose jobs nobody takes, for all tests of what the forms send."""
    home = tmp_path_factory.mktemp("desk") / "home"
    shutil.copytree(web_home, home)
    with serving(home, workers=0) as running, opening_pages(browser) as start:
        yield Desk(start(running), running)


@pytest.fixture
def desk(one_desk: Desk) -> Desk:
    """The page with nothing of an earlier test."""
    one_desk.clean()
    return one_desk


def assert_accessible(page: Any, looks: list[tuple[int, str]] = LOOKS) -> None:
    """axe finds nothing, and nothing sticks out, in each look (width, scheme)."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(AXE.read_text())
    for width, scheme in looks:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        found = page.evaluate(
            "tags => axe.run({runOnly: tags}).then(r => r.violations.map("
            "v => [v.id, v.nodes.slice(0, 3).map(n => n.html + ' ' + n.failureSummary)]))",
            WCAG,
        )
        assert found == [], (width, scheme, page.url)
        sticks_out = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert sticks_out <= 0, (width, scheme, page.url)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})

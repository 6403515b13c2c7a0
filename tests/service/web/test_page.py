"""The page in a browser, against the real app with the embedded models: every tab, every look."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rag_audio.service.api_access import Scope
from tests.service.web.conftest import SCRIPT, assert_accessible
from tests.service.web.site import Site, serving
from tests.support.damaged import encoded

Open = Callable[..., Any]

# One worker has the browser and the apps.
pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture(scope="module")
def made(site: Site) -> dict[str, Any]:
    """A finished generation of two takes."""
    job = site.ask(prompt="warm electric piano", duration_s=3, steps=2, variations=2, seed=5)
    return site.ended(job["id"])


def test_from_words_to_music_and_on(site: Site, open_page: Open) -> None:
    """Create, follow over a reload, listen with keys, download, make a part again."""
    page = open_page(site)
    page.get_by_label("Prompt").fill("warm electric piano")
    page.locator("ins", has_text="bpm").wait_for()
    assert_accessible(page)
    page.get_by_role("spinbutton", name="Duration s").fill("3")
    page.get_by_text("Expert").click()
    page.get_by_label("Steps", exact=True).fill("24")
    page.get_by_role("button", name="Generate").click()
    page.locator("[data-state=waiting]").wait_for()
    page.reload()
    page.locator("[data-state=waiting]").wait_for()
    page.get_by_role("button", name="Take 2").wait_for(timeout=60_000)
    page.locator(".wave canvas, .wave div").first.wait_for()
    page.locator("button:enabled", has_text="Play").first.wait_for()
    page.locator(".lane").first.wait_for()

    page.keyboard.press("Space")
    page.get_by_text(re.compile(r"^0:00\.[2-9]")).wait_for()
    page.keyboard.press("2")
    assert page.get_by_role("button", name="Take 2").get_attribute("aria-pressed") == "true"
    assert page.get_by_role("button", name="Pause").is_visible()  # the sound goes on
    page.keyboard.press("[")
    page.keyboard.press("l")
    assert page.get_by_role("button", name="Loop").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Space")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_label("From, s").fill("0.5")
    page.get_by_label("To, s").fill("1.5")
    assert_accessible(page)

    with page.expect_download() as download:
        page.get_by_role("button", name="All as ZIP").click()
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert archive.testzip() is None
        ends = sorted(name.split(".", 1)[1] for name in archive.namelist())
    assert ends == ["mp3", "plan.json", "record.json", "wav"]

    page.get_by_role("button", name="Make this part again").click()
    page.get_by_role("heading", name="Part made again").wait_for()
    lineage = page.get_by_role("region", name="Lineage")
    lineage.get_by_role("link").first.wait_for(timeout=60_000)
    assert "warm electric piano" in lineage.inner_text()


def test_takes_are_played_at_the_loudness_of_the_quietest(site: Site, open_page: Open) -> None:
    page = open_page(site, "#/status")
    gains = page.evaluate(
        """async () => {
          const { TakesPlayer } = await import("/js/player.js");
          const player = new TakesPlayer();
          const buffer = new AudioBuffer({ length: 100, sampleRate: 8000 });
          player.load([-14, -20, null].map((lufs) => ({ buffer, lufs })));
          return player.gains;
        }"""
    )
    assert gains == pytest.approx([10 ** (-6 / 20), 1, 1])


def test_a_refusal_shows_the_nearest_that_is_allowed(site: Site, open_page: Open) -> None:
    page = open_page(site)
    page.get_by_label("Prompt").fill("slow strings in the style of Paper Moth Quartet")
    offer = page.get_by_role("button", name="Nearest licensed: Copper Lantern Trio")
    offer.wait_for()
    assert page.locator("mark").inner_text() == "Paper Moth Quartet"
    assert_accessible(page)
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("region", name="What to make").get_by_text("cannot be made").wait_for()
    page.get_by_role("button", name="Nearest licensed").first.click()
    page.locator("ins").first.wait_for()
    assert page.get_by_label("Prompt").input_value() == "slow strings"
    assert page.get_by_label("Copper Lantern Trio").is_checked()


def test_references_are_searched_brought_and_hummed(
    site: Site, made: dict[str, Any], open_page: Open
) -> None:
    page = open_page(site)
    tray = page.get_by_role("region", name="References")
    tray.get_by_label("Search for references").fill("warm piano")
    tray.get_by_label("Search for references").press("Enter")
    tray.get_by_role("button", name="Add ").first.click()
    tray.locator("audio").first.wait_for()
    output = made["outputs"][0]
    sound = page.request.get(f"{site.url}{output['content']}").body()
    tray.locator("[type=file]").set_input_files(
        {"name": "mine.wav", "mimeType": "audio/wav", "buffer": sound}
    )
    tray.get_by_text("mine.wav").first.wait_for()
    assert tray.get_by_label("Used for").input_value() == ""
    tray.get_by_role("button", name="Hum into the microphone").click()
    page.wait_for_timeout(700)
    tray.get_by_role("button", name="Stop and use it").click()
    tray.get_by_text("what you hummed", exact=True).wait_for()
    assert tray.get_by_text("mine.wav").count() == 0  # one sound at a time
    assert tray.get_by_label("Used for").input_value() == "melody"
    assert_accessible(page)


def test_the_library_shows_titles_as_text(site: Site, open_page: Open) -> None:
    page = open_page(site, "#/library")
    page.get_by_role("cell", name=SCRIPT).first.wait_for()
    assert page.locator("main img").count() == 0
    page.locator(".map circle").first.wait_for()
    assert_accessible(page)
    page.get_by_label("Search titles").fill("words")
    page.get_by_text("1 stem", exact=True).wait_for()
    page.get_by_label("Search titles").fill("nothing has this")
    page.get_by_text("Nothing fits").wait_for()
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Similar to <img").click()
    page.get_by_role("heading", name="Like <img").wait_for()
    page.get_by_role("button", name="Back to all").click()
    index = page.get_by_role("region", name="Index a library")
    index.get_by_role("button", name="Index").click()
    index.get_by_text("as before").wait_for(timeout=60_000)
    page.get_by_role("button", name="Use as reference: <img").click()
    page.get_by_role("link", name="Create").click()
    page.get_by_role("region", name="References").get_by_text(SCRIPT).wait_for()
    assert "pwned" not in page.title()


def test_a_sound_is_traced_to_its_sources(
    site: Site, made: dict[str, Any], open_page: Open
) -> None:
    page = open_page(site, "#/trace")
    sound = page.request.get(f"{site.url}{made['outputs'][0]['content']}&format=mp3").body()
    page.locator("[type=file]").set_input_files(
        {"name": "found.mp3", "mimeType": "audio/mpeg", "buffer": sound}
    )
    output = made["outputs"][0]["output"]
    page.get_by_text(f"Made here: output {output}").wait_for()
    assert page.get_by_role("region", name="Sources").get_by_text("Invented Holder").count() > 0
    page.get_by_role("region", name="Proof").wait_for()
    assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the report").click()
    assert download.value.suggested_filename == "found.trace.html"


def test_what_is_odd_in_a_traced_sound_is_told(site: Site, open_page: Open) -> None:
    page = open_page(site, "#/trace")
    whole = encoded("FLAC", "PCM_16")
    page.locator("[type=file]").set_input_files(
        {"name": "cut.flac", "mimeType": "audio/flac", "buffer": whole[: len(whole) // 2]}
    )
    verdict = page.get_by_role("region", name="Verdict")
    verdict.get_by_text("Noticed: breaks off after 0.93 s").wait_for()
    assert_accessible(page)


def test_history_ledger_and_status(site: Site, made: dict[str, Any], open_page: Open) -> None:
    page = open_page(site, "#/history")
    page.get_by_role("link", name="warm electric piano").first.wait_for()
    assert_accessible(page)
    page.get_by_role("link", name="Ledger").click()
    page.get_by_role("combobox", name="Outputs").select_option("artist")
    page.get_by_role("combobox", name="Source").fill("Copper Lantern Trio")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("outputs of Copper Lantern Trio").wait_for()
    page.get_by_role("button", name="Details of output").first.click()
    page.get_by_text("Samples, SHA-256").wait_for()
    page.get_by_role("combobox", name="Which").fill("Copper Lantern Trio")
    page.get_by_role("button", name="Show what it affects").click()
    page.get_by_text("from being used").wait_for()
    assert_accessible(page)
    page.get_by_role("link", name="Status").click()
    page.get_by_role("region", name="Service").get_by_text("stable-audio-mini").wait_for()
    page.locator(".uplot").wait_for()
    assert_accessible(page)


@pytest.fixture
def own_site(web_home: Path, tmp_path: Path) -> Iterator[Site]:
    """An app for one test, which may change what it serves."""
    home = tmp_path / "home"
    shutil.copytree(web_home, home)
    with serving(home) as running:
        yield running


def test_what_is_revoked_is_said_wherever_it_shows(own_site: Site, open_page: Open) -> None:
    job = own_site.ask(prompt="warm electric piano", duration_s=1, steps=2, seed=5)
    made = own_site.ended(job["id"])
    page = open_page(own_site, "#/library")
    page.get_by_role("button", name="Use as reference: <img").click()
    page.get_by_role("link", name="Ledger").click()
    page.get_by_role("combobox", name="Which").fill("Copper Lantern Trio")
    page.get_by_role("button", name="Show what it affects").click()
    page.get_by_role("button", name="Revoke now").click()
    page.get_by_text("It is no longer used").wait_for()
    page.get_by_role("link", name="Library").click()
    page.get_by_text("revoked", exact=True).first.wait_for()
    page.get_by_role("link", name="Create").click()
    page.get_by_text("The license of this stem was revoked").wait_for()
    page.goto(f"{own_site.url}/#/result/{made['id']}")
    page.get_by_text("was revoked after this was made").wait_for()
    page.locator(".lane").first.wait_for()
    assert_accessible(page, [(1280, "dark"), (390, "light")])
    page.goto("about:blank")


def test_without_the_scope_a_trace_says_whether_and_whom_to_ask(
    site: Site, made: dict[str, Any], open_page: Open
) -> None:
    page = open_page(site)
    sound = page.request.get(f"{site.url}{made['outputs'][0]['content']}").body()
    with site.keyed("guest", Scope.SEARCH) as key:
        page.goto(f"{site.url}/#/trace")
        page.reload()
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.locator("[type=file]").set_input_files(
            {"name": "found.wav", "mimeType": "audio/wav", "buffer": sound}
        )
        page.get_by_text("Made here", exact=True).wait_for()
        page.get_by_text("ask the operator of this service").wait_for()
        assert page.get_by_role("region", name="Sources").count() == 0
        assert_accessible(page, [(390, "dark")])
        page.goto("about:blank")

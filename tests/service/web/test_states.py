"""What the page says when things are not as they should be, and the way out of each."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rag_audio.service.api_access import Scope
from tests.service.web.conftest import assert_accessible
from tests.service.web.site import Site, serving
from tests.support.small_library import RATE, chords

Open = Callable[..., Any]

pytestmark = pytest.mark.xdist_group("web")
LOOKS = [(1280, "dark"), (390, "light")]
ASKED = {"prompt": "warm electric piano", "duration_s": 2, "steps": 2}


@pytest.fixture(scope="module")
def idle(web_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An app whose jobs nobody takes: the tests say what becomes of them."""
    home = tmp_path_factory.mktemp("idle") / "home"
    shutil.copytree(web_home, home)
    with serving(home, workers=0) as running:
        yield running


def test_waiting_running_away_and_failed(idle: Site, open_page: Open) -> None:
    first, second = idle.ask(**ASKED), idle.ask(**ASKED)
    page = open_page(idle, f"#/result/{second['id']}")
    page.get_by_text("Queued: 1 job before this one").wait_for()
    assert_accessible(page, LOOKS)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="Cancelled").wait_for()
    page.get_by_role("button", name="Ask again").click()
    page.get_by_text("Queued: 1 job before this one").wait_for()

    jobs = idle.service.jobs
    held = jobs.claim()
    assert held is not None and held.job.id == first["id"]
    page.goto(f"{idle.url}/#/result/{first['id']}")
    page.get_by_text("Running: starting").wait_for()
    jobs.progress(held, "generate", 3, 16, 4.2)
    page.get_by_text("step 3 of 16, about 5 s left").wait_for()
    page.context.set_offline(True)
    page.get_by_text("Reconnecting").wait_for()
    page.context.set_offline(False)
    page.get_by_text("Reconnecting").wait_for(state="hidden")
    problem = {"type": "OutputRefused", "message": "it is too near to a source", "hint": "add 0.2"}
    jobs.fail(held, problem)
    page.get_by_role("heading", name="It failed").wait_for()
    page.get_by_text("Add 0.2").wait_for()
    assert_accessible(page, LOOKS)
    page.get_by_role("button", name="Change the request").click()
    assert page.get_by_label("Prompt").input_value() == ASKED["prompt"]


def test_models_that_are_missing_or_untrained(idle: Site, open_page: Open) -> None:
    page = open_page(idle)
    page.get_by_label("Prompt").wait_for()
    status = page.request.get(f"{idle.url}/v1/status").json()
    status["model"]["untrained"] = True
    page.route("**/v1/status", lambda route: route.fulfill(json=status))
    page.reload()
    page.get_by_text("The model is untrained").wait_for()
    away = {"status": 503, "detail": "the checkpoint is gone", "hint": "see rag-audio doctor"}
    page.unroute("**/v1/status")
    page.route("**/v1/status", lambda route: route.fulfill(status=503, body=json.dumps(away)))
    page.reload()
    page.get_by_text("No model: the checkpoint is gone. see rag-audio doctor").wait_for()
    assert_accessible(page, LOOKS)


def test_a_home_without_a_model(
    web_home: Path, tmp_path: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(web_home, home)
    monkeypatch.setenv("RAG_AUDIO_MODEL", str(tmp_path / "gone"))
    with serving(home) as without:
        page = open_page(without)
        page.get_by_text("No model can be loaded").wait_for()
        page.get_by_text("give a folder with model_index.json").wait_for()
        assert page.get_by_role("button", name="Generate", exact=True).is_disabled()
        assert_accessible(page, LOOKS)
        page.get_by_role("link", name="Status").click()
        page.get_by_text("none: no model at").wait_for()
        page.get_by_role("link", name="Library").click()
        page.get_by_role("heading", name="Library", exact=True).first.wait_for()
        page.goto("about:blank")


def test_nothing_is_found_and_nothing_is_there(idle: Site, tmp_path: Path, open_page: Open) -> None:
    page = open_page(idle, f"#/result/{'0' * 32}")
    page.get_by_role("heading", name="Nothing here").wait_for()
    with serving(tmp_path / "home", workers=0) as empty:
        page = open_page(empty)
        page.get_by_text("The library is empty: when licensed stems are indexed").wait_for()
        page.get_by_label("Prompt").fill("warm piano")
        page.get_by_text("No licensed reference matches").wait_for()
        for tab, says in (
            ("Result", "Nothing made yet"),
            ("Library", "The library is empty"),
            ("History", "Nothing made yet"),
            ("Ledger", "No output"),
        ):
            page.get_by_role("link", name=tab).click()
            page.get_by_role("heading", name=says).wait_for()
            assert_accessible(page, [(390, "dark")])
        page.goto("about:blank")


def test_keys_sign_in_and_open_what_they_may(idle: Site, open_page: Open) -> None:
    with idle.keyed("desk", Scope.GENERATE, Scope.SEARCH) as key:
        page = open_page(idle)
        page.get_by_label("API key").fill("wrong")
        page.get_by_label("API key").press("Enter")
        page.get_by_text("unknown, expired or revoked").wait_for()
        assert_accessible(page, LOOKS)
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Prompt").wait_for()
        page.get_by_role("link", name="Ledger").click()
        page.get_by_role("heading", name="Not with this key").wait_for()
        page.get_by_role("link", name="Trace").click()
        page.get_by_role("heading", name="Trace").wait_for()
        noise = io.BytesIO()
        soundfile.write(
            noise, np.random.default_rng(3).normal(0, 0.1, 66_150), 22_050, format="WAV"
        )
        page.locator("[type=file]").set_input_files(
            {"name": "noise.wav", "mimeType": "audio/wav", "buffer": noise.getvalue()}
        )
        page.get_by_text("No sign was found").wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key").wait_for()
        page.goto("about:blank")


SHOWN = """async ([path, body]) => {
  const { post } = await import('/js/api.js');
  const { problemNotice } = await import('/js/problems.js');
  try { await post(path, body); return 'no problem'; }
  catch (problem) { return problemNotice(problem).innerText ?? problemNotice(problem).textContent; }
}"""


def test_problems_name_the_labels_of_the_form(idle: Site, open_page: Open) -> None:
    page = open_page(idle)
    page.get_by_label("Prompt").wait_for()

    def shown(path: str, **body: Any) -> str:
        return str(page.evaluate(SHOWN, [path, {"prompt": "warm piano", **body}]))

    assert "Steps must be at most 1000, got 2000" in shown("/v1/plans", steps=2000)
    two = shown("/v1/generations", steps=0, mood=["calm", "m" * 41])
    assert "Steps must be at least 1, got 0" in two
    assert "Mood, entry 2: must have at most 40 characters, got 41" in two
    sound = io.BytesIO()
    soundfile.write(sound, chords(80, 311.0, 3.0), RATE, format="WAV")
    posted = page.request.post(f"{idle.url}/v1/uploads", data=sound.getvalue())
    rights = shown("/v1/plans", audio=posted.json()["id"])
    assert "“Rights: it is mine”, or “Rights: it is licensed to me”" in rights
    assert "“References give: words and sound”" in shown("/v1/plans", channels=[])
    for text in (two, rights):
        assert "--" not in text and "`" not in text and "body/" not in text.lower()


def test_notes_of_a_plan_name_the_labels_of_the_form(idle: Site, open_page: Open) -> None:
    page = open_page(idle)
    note = "hum.wav is one voice: its melody is followed; `audio_as: search` looks for its like"
    plan = page.request.post(f"{idle.url}/v1/plans", data={"prompt": "piano"}).json()["plan"]
    told = {"plan": {**plan, "notes": [note]}}
    page.route("**/v1/plans", lambda route: route.fulfill(json=told))
    page.get_by_label("Prompt").fill("warm piano")
    page.get_by_text("“Used for: finding references like it” looks for its like").wait_for()

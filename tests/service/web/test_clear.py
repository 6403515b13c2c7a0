"""Clear clears: what is asked for next is what a page asks that was just opened."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.service.api.schemas import GenerationAsked
from tests.service.web.desk import JOB, Desk, job, ready, silence

pytestmark = pytest.mark.xdist_group("web")
FRESH = {"prompt": "warm piano", "variations": 2, "duration_s": 8}


def everything(desk: Desk) -> dict[str, Any]:
    """A draft in which everything is set."""
    one, two = desk.stems()[:2]
    return {
        "prompt": "of before", "artist": "Copper Lantern Trio", "bpm": 92, "key": "A minor",
        "duration_s": 3, "strength": 0.3, "takes": 4, "seed": "7", "locked": True,
        "tray": [
            {"stem": one, "title": "One", "weight": 2, "start_s": 0, "end_s": 1},
            {"stem": two, "title": "Two", "weight": 1},
            {"upload": "b" * 32, "kind": "audio", "title": "mine", "rights": "own"},
        ],
        "expert": {"negative_prompt": "vocals", "steps": "4", "k": "3", "enforce": ["tempo"]},
        "rest": {"mix": "latent", "layers": [{"layer": "drums", "stem": one}]},
    }  # fmt: skip


def add_two(page: Any) -> None:
    """Put two stems into the tray by hand."""
    tray = page.get_by_role("region", name="References")
    tray.get_by_label("Search for references").fill("warm piano")
    tray.get_by_label("Search for references").press("Enter")
    tray.get_by_role("button", name="Add ").first.click()
    tray.get_by_role("button", name="Add ").nth(1).click()
    tray.locator("audio").nth(1).wait_for()


def clear(page: Any) -> None:
    """Press Clear."""
    page.get_by_role("button", name="Clear").click()
    ready(page)


def test_after_clear_nothing_of_before_is_sent_or_shown(desk: Desk) -> None:
    page = desk.open()
    blank = desk.form()
    assert desk.generate() == FRESH

    page = desk.open()
    add_two(page)
    page.get_by_text("Expert").click()
    page.get_by_label("Steps", exact=True).fill("4")
    page.get_by_label("Not", exact=True).fill("vocals")
    body = desk.generate()
    assert len(body["references"]) == 2 and body["steps"] == 4
    clear(page)
    assert desk.form() == blank
    assert desk.generate() == FRESH

    # Stems that were added after Clear are cleared as well, and those of before a reload.
    add_two(page)
    assert len(desk.generate()["references"]) == 2
    desk.again()
    assert len(desk.generate()["references"]) == 2
    clear(page)
    assert desk.form() == blank
    assert desk.generate() == FRESH


def test_a_draft_with_everything_set_is_cleared(desk: Desk) -> None:
    page = desk.open()
    blank = desk.form()
    page = desk.open(draft=everything(desk))
    page.get_by_text("no longer kept here").wait_for()
    assert page.get_by_role("region", name="Kept from the earlier request").is_visible()
    clear(page)
    assert desk.form() == blank
    desk.again()
    assert desk.form() == blank
    assert desk.generate() == FRESH


def test_a_request_that_was_taken_up_again_is_cleared(desk: Desk) -> None:
    one, two = desk.stems()[:2]
    asked = {"prompt": "of before", "references": [one, two], "weights": [3, 1], "steps": 9}
    desk.jobs[JOB] = job({**asked, "seed": 5, "layers": [{"layer": "drums", "stem": one}]})
    page = desk.open(f"#/result/{JOB}")
    page.get_by_role("button", name="Use this request again").click()
    body = desk.generate(words=None)
    assert body["weights"] == [3, 1] and body["layers"]
    page.get_by_role("button", name="Clear").click()
    assert desk.generate() == FRESH


def test_each_of_two_tabs_sends_what_it_shows(desk: Desk) -> None:
    one = desk.stems()[0]
    page = desk.open(draft={"prompt": "warm piano", "tray": [{"stem": one}]})
    page.get_by_label("Prompt").fill("warm keys")  # this tab has a draft of its own from here on
    other = page.context.new_page()
    desk.watch(other)
    other.goto(f"{desk.site.url}/#/create", wait_until="commit")
    ready(other)
    assert desk.generate(other, None)["references"] == [one]
    clear(other)
    assert desk.generate(other) == FRESH
    other.close()
    # The first tab shows its stem still, and so it does after a reload.
    assert desk.generate(page, None)["references"] == [one]
    desk.again()
    assert desk.generate(page, None)["references"] == [one]


def test_what_arrives_after_clear_belongs_to_what_was_cleared(desk: Desk) -> None:
    page = desk.open()
    held = []
    page.route("**/v1/uploads", lambda route: held.append(route))
    page.locator("main [type=file]").set_input_files(
        {"name": "mine.wav", "mimeType": "audio/wav", "buffer": silence(1.0)}
    )
    page.get_by_text("Reading mine.wav").wait_for()
    page.get_by_role("button", name="Clear").click()
    made = {"id": "c" * 32, "kind": "audio", "duration_s": 1, "size": 1, "sha256": "0" * 64}
    with page.expect_response("**/v1/uploads"):
        held[0].fulfill(status=201, json=made)
    page.unroute("**/v1/uploads")
    assert desk.generate() == FRESH


def test_a_page_opens_whatever_is_stored(desk: Desk) -> None:
    wrong = json.dumps({name: {"no": ["such"]} for name in (*everything(desk), "constructor")})
    for draft, other in (("{", wrong), (wrong, "7")):
        desk.open(draft=draft, presets=other, volume=other, last=other, keys=other)
        assert desk.generate() == FRESH


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "stem": JSON | st.just("ab" * 32), "upload": JSON | st.just("cd" * 16),
        "kind": JSON | st.just("midi"), "weight": JSON, "start_s": JSON, "end_s": JSON,
        "duration_s": JSON, "rights": JSON, "as": JSON, "title": JSON,
    },
)  # fmt: skip
FIELDS = ("prompt", "artist", "bpm", "key", "duration_s", "strength", "takes", "seed", "locked")
EXPERT = ("steps", "k", "channels", "enforce", "mood", "time_signature", "exclude", "format")
DRAFTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, JSON),
        "tray": JSON | st.lists(ITEMS, max_size=3),
        "expert": JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(EXPERT, JSON)),
    },
)


@given(stored=JSON | DRAFTS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_stored_becomes_a_draft_of_the_right_types(desk: Desk, stored: Any) -> None:
    if desk.page.url != f"{desk.site.url}/#/status":
        desk.open("#/status")
    body = desk.page.evaluate(
        """async (text) => {
          const { restored } = await import("/js/draft.js");
          const { asked } = await import("/js/request.js");
          let stored = null;
          try { stored = JSON.parse(text); } catch { /* it holds a NaN */ }
          const made = restored(stored);
          // The form marks what is out of range: here it is about types and names.
          Object.assign(made, { prompt: "x", seed: "", locked: false, bpm: null });
          Object.assign(made, { duration_s: null, strength: null });
          Object.assign(made, { expert: { channels: made.expert.channels ?? [] } });
          for (const one of made.tray) Object.assign(one, { start_s: null, end_s: null });
          return asked(made);
        }""",
        json.dumps(stored),
    )
    GenerationAsked.model_validate(body)

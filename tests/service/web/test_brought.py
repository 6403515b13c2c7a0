"""What one brings is shown before it is sent, with what was stated of it and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.service.web.conftest import assert_accessible
from tests.service.web.desk import JOB, Desk, job, ready, silence

pytestmark = pytest.mark.xdist_group("web")


class Uploads:
    """Uploads of a page that arrive when the test says so."""

    def __init__(self, page: Any) -> None:
        self.page, self.held = page, []
        page.route("**/v1/search", lambda route: route.fulfill(json={"references": []}))
        page.route("**/v1/uploads/*", lambda route: route.fulfill(json={}))
        page.route("**/v1/uploads", lambda route: self.held.append(route))

    def choose(self, name: str) -> int:
        """Bring a file; which upload it is."""
        n = len(self.held)
        self.page.locator("main [type=file]").set_input_files(
            {"name": name, "mimeType": "audio/wav", "buffer": silence(0.1)}
        )
        while len(self.held) == n:
            self.page.wait_for_timeout(5)
        return n

    def arrive(self, n: int, kind: str = "audio") -> str:
        """Let an upload end; its id."""
        made = {"id": f"{n:032x}", "kind": kind, "duration_s": 1, "size": 1, "sha256": "0" * 64}
        with self.page.expect_response("**/v1/uploads"):
            self.held[n].fulfill(status=201, json=made)
        return str(made["id"])


def leave_and_return(page: Any, between: Any = lambda: None) -> None:
    """Look at another tab."""
    page.get_by_role("link", name="Status").click()
    page.get_by_role("heading", name="Queue").wait_for()
    between()
    page.get_by_role("link", name="Create").click()
    ready(page)


def test_no_upload_is_sent_unseen_or_with_a_statement_about_another(desk: Desk) -> None:
    page = desk.open()
    uploads = Uploads(page)
    tray = page.get_by_role("region", name="References")
    score = uploads.arrive(uploads.choose("my.mid"), "midi")
    tray.get_by_label("Rights", exact=True).select_option("own")

    under_way = uploads.choose("secret.wav")
    leave_and_return(page)
    tray.get_by_text("Reading secret.wav").wait_for()
    sound = uploads.arrive(under_way)
    tray.get_by_text("secret.wav", exact=True).wait_for()
    body = desk.generate()
    assert (body["midi"], body["audio"]) == (score, sound)
    assert "audio_rights" not in body  # it was stated of the score alone
    both = tray.get_by_label("Rights to both files")
    assert both.input_value() == ""
    both.select_option("licensed")
    assert desk.generate()["audio_rights"] == "licensed"
    assert_accessible(page, [(390, "dark")])

    # Each file's own statement is left where the other is taken out.
    tray.get_by_role("button", name="Remove secret.wav").click()
    assert tray.get_by_label("Rights", exact=True).input_value() == "licensed"


SHOWN = """async (steps) => {
  const [{ tray }, { checks }, { begin }, { asked }] = await Promise.all(
    ["tray", "checks", "draft", "request"].map((name) => import(`/js/${name}.js`)));
  const ask = window.fetch, answer = (value) => new Response(JSON.stringify(value));
  let shown = null, chosen = 0, held = [], right = {}, stated = new Set();
  window.fetch = async (path) => (path === "/v1/uploads"
    ? new Promise((done) => held.push({ done })) : answer({ references: [] }));
  const leave = () => { shown?.close?.(); shown?.element.remove(); shown = null; };
  const show = () => { leave(); document.body.append((shown = tray(() => {}, checks())).element); };
  const sent = () => ["audio", "midi"].map((kind) => asked()[kind]).filter(Boolean).map(Number);
  const says = (one, value) => [...one.options].some((option) => option.value === value);
  const STEPS = {
    bring(kind) {
      if (!shown) return;
      const files = new DataTransfer(), input = shown.element.querySelector("[type=file]");
      files.items.add(new File(["x"], String(chosen += 1)));
      input.files = files.files;
      input.dispatchEvent(new Event("change"));
      Object.assign(held.at(-1), { kind, number: chosen, right });
    },
    async arrive(n) {
      if (!held.length) return;
      const [{ done, kind, number, right: its }] = held.splice(n % held.length, 1);
      its[kind] = Math.max(number, its[kind] ?? 0);
      done(answer({ id: String(number).padStart(32, "0"), kind }));
      for (let i = 0; i < 3; i += 1) await new Promise((next) => setTimeout(next));
    },
    state() {
      const choice = [...shown?.element.querySelectorAll("select") ?? []]
        .find((one) => says(one, "own") && one.value !== "own");
      if (!choice) return;
      choice.value = "own";
      choice.dispatchEvent(new Event("change"));
      for (const number of sent()) stated.add(number);
    },
    clear() { begin(); right = {}; show(); },
    leave, show,
  };
  begin();
  show();
  for (const [step, given] of steps) await STEPS[step](given);
  if (!shown) show();
  const titles = [...shown.element.querySelectorAll(".title")].map((one) => one.textContent);
  const rights = asked().audio_rights ?? null;
  const found = [titles.map(Number), sent(), Object.values(right), [...stated], rights];
  leave();
  begin();
  window.fetch = ask;
  return found;
}"""
STEPS = st.lists(
    st.tuples(st.just("bring"), st.sampled_from(["audio", "midi"]))
    | st.tuples(st.just("arrive"), st.integers(0, 2))
    | st.tuples(st.sampled_from(["state", "leave", "show", "clear"]), st.none()),
    max_size=9,
)


STATED = [("bring", "midi"), ("arrive", 0), ("state", None)]


@given(steps=STEPS)
@example(steps=[*STATED, ("bring", "audio"), ("arrive", 0)])
@example(steps=[*STATED, ("bring", "audio"), ("arrive", 0), ("state", None)])
@example(steps=[("bring", "audio"), ("leave", None), ("show", None), ("arrive", 0)])
@example(steps=[("bring", "audio"), ("bring", "audio"), ("arrive", 1), ("arrive", 0)])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_listed_is_sent_with_what_was_stated_of_it(desk: Desk, steps: Any) -> None:
    listed, sent, right, stated, rights = desk.page.evaluate(SHOWN, steps)
    assert sorted(listed) == sorted(sent) == sorted(right)
    assert (rights == "own") == (bool(sent) and set(sent) <= set(stated))


def test_an_edit_of_an_upload_asks_for_its_rights_and_words(desk: Desk) -> None:
    asked = {"kind": "vary", "upload": "e" * 32, "prompt": "soft bells", "seed": 5, "steps": 3}
    asked |= {"audio_rights": "own", "time_signature": [3, 4]}
    desk.jobs[JOB] = job(asked, "edit", 0) | {"state": "failed"}
    page = desk.open("#/status")
    page.route(
        "**/v1/uploads/*", lambda route: route.fulfill(json={"id": "e" * 32, "duration_s": 4})
    )
    page.goto(f"{desk.site.url}/#/result/{JOB}")
    page.get_by_role("button", name="Change the request").click()
    form = page.get_by_role("region", name="Change this sound")
    rights, words = form.get_by_label("Rights"), form.get_by_label("Words for the change")
    assert rights.input_value() == "own"
    assert form.get_by_label("Time signature").input_value() == "3/4"
    kept = form.get_by_role("region", name="Kept from the earlier request")
    assert [one.split("\n")[0] for one in kept.get_by_role("listitem").all_inner_texts()] == [
        "Steps"
    ]
    rights.select_option("")
    words.fill(" ")
    vary = form.get_by_role("button", name="Make a variation")
    vary.click()
    form.get_by_text("Say whose this sound is.").wait_for()
    assert len(desk.faults()) == 2 and desk.sent == []
    rights.select_option("licensed")
    words.fill("low bells")
    form.get_by_label("Time signature").fill("4/3")
    vary.click()
    form.get_by_text("“4/3” is not a time signature").wait_for()
    form.get_by_label("Time signature").fill("6/8")
    vary.click()
    page.get_by_text("Caught on its way").wait_for()
    changed = {"prompt": "low bells", "audio_rights": "licensed", "time_signature": [6, 8]}
    assert desk.sent == [asked | changed]


def test_what_is_odd_in_a_sound_is_told_where_it_is_searched_by(desk: Desk) -> None:
    page = desk.open()
    uploads, odd = Uploads(page), "breaks off after 0.93 s"
    found = {"references": [], "notices": [odd]}
    page.route("**/v1/search", lambda route: route.fulfill(json=found))
    uploads.arrive(uploads.choose("cut.wav"))
    tray = page.get_by_role("region", name="References")
    tray.get_by_text(f"Noticed in your file: {odd}").wait_for()

"""A request is made once, however often one presses, and leads nobody away who has gone on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.web.conftest import assert_accessible
from tests.service.web.desk import JOB, Desk, job, ready

pytestmark = pytest.mark.xdist_group("web")


CLICKS = """async () => {
  const { edits } = await import("/js/edits.js");
  const parts = { duration: 4, take: 0, setRegion() {}, onregion() {} };
  const element = edits({ generation: "ab".repeat(16) }, parts);
  document.body.append(element);
  const [start, end] = element.querySelectorAll(".region input");
  [start.value, end.value] = [1, 2];
  const ask = window.fetch, keys = [], answers = [];
  window.fetch = (path, options) => {
    keys.push(options.headers["Idempotency-Key"]);
    return new Promise((done) => answers.push(done));
  };
  const sent = [];
  for (const name of ["Make this part again", "Go on from it", "Make a variation"]) {
    const button = [...element.querySelectorAll("button")].find((one) => one.textContent === name);
    button.click();
    button.click();
    sent.push(keys.length);
    for (const done of answers) done(new Response("{}", { status: 422 }));
    while (button.disabled) await new Promise((done) => setTimeout(done));
  }
  window.fetch = ask;
  element.remove();
  return [sent, keys];
}"""


def test_an_edit_is_asked_for_once(desk: Desk) -> None:
    sent, keys = desk.page.evaluate(CLICKS)
    assert sent == [1, 2, 3]
    assert all(keys) and len(set(keys)) == 3


def test_whoever_has_gone_on_is_told_of_a_job_and_not_led_to_it(desk: Desk) -> None:
    page = desk.open()
    held: list[Any] = []
    page.route("**/v1/generations", lambda route: held.append(route))
    made = job({"prompt": "of before", "seed": 7})
    desk.jobs[JOB] = made | {"state": "failed"}
    words, told = page.get_by_label("Prompt"), page.locator("#toast")

    def ask(text: str) -> None:
        n = len(held)
        words.fill(text)
        words.press("Control+Enter")
        while len(held) == n:
            page.wait_for_timeout(5)

    ask("of before")
    page.get_by_role("button", name="Clear").click()
    ready(page)
    words.fill("new words")
    held[0].fulfill(status=202, json=made)
    told.get_by_role("link", name="Show it").wait_for()
    assert page.url.endswith("#/create") and words.input_value() == "new words"
    assert page.get_by_label("Seed").input_value() == ""
    assert_accessible(page, [(390, "dark")])
    told.get_by_role("button", name="Close").click()

    ask("more words")
    page.get_by_role("link", name="Status").click()
    page.get_by_role("heading", name="Queue").wait_for()
    held[1].fulfill(status=403, json={"status": 403, "detail": "it names an artist"})
    told.get_by_text("was not accepted: it names an artist").wait_for()
    page.get_by_role("link", name="Create").click()
    ask("more words")
    page.get_by_role("link", name="Status").click()
    page.get_by_role("heading", name="Queue").wait_for()
    held[2].fulfill(status=202, json=made)
    told.get_by_role("link", name="Show it").click()
    page.get_by_role("heading", name="It failed").wait_for()
    assert told.inner_text() == ""

    again = page.get_by_role("button", name="Ask again")
    again.dblclick()
    assert again.is_disabled()
    held[3].fulfill(status=422, json={"status": 422, "detail": "no"})
    told.get_by_text("no", exact=True).wait_for()
    assert again.is_enabled() and len(held) == 4


KEYS = """async () => {
  const { make } = await import("/js/sending.js");
  const ask = window.fetch, keys = [];
  const answers = ["none", 503, 422, "none", 202, 202];
  window.fetch = async (path, options) => {
    keys.push(options.headers["Idempotency-Key"]);
    const answer = answers[keys.length - 1];
    if (answer === "none") throw new TypeError("no answer");
    return new Response("{}", { status: answer });
  };
  for (const _ of answers) await make("/v1/edits", { kind: "vary" }).catch(() => {});
  const made = [make("/v1/edits", { seed: 1 }), make("/v1/edits", { seed: 1 })];
  await Promise.all(made.map((one) => one.catch(() => {})));
  window.fetch = ask;
  return keys;
}"""


def test_trying_again_without_an_answer_has_the_same_key(desk: Desk) -> None:
    keys = desk.page.evaluate(KEYS)
    # Nobody knows whether the first two arrived; then each answer ends the matter.
    assert keys[0] == keys[1] == keys[2] and keys[3] == keys[4]
    assert len(keys) == 7 and len(set(keys)) == 4  # what is under way is not sent besides

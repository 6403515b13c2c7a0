"""What a form shows is what it sends; what is wrong is marked beside its field, and not sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.service.api.schemas import GenerationAsked
from tests.service.web.conftest import assert_accessible
from tests.service.web.desk import JOB, Desk, job, ready

pytestmark = pytest.mark.xdist_group("web")


def draft(*stems: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"prompt": "warm piano", "tray": list(stems), **more}


def is_plan_of_three(answer: Any) -> bool:
    """Whether an answer is to the plan with three references."""
    asked = answer.request.post_data or ""
    return answer.url.endswith("/v1/plans") and json.loads(asked).get("k") == 3


def test_weights_stay_where_references_are_found_besides(desk: Desk) -> None:
    one, two = desk.stems()[:2]
    page = desk.open(draft=draft({"stem": one}, {"stem": two}))
    tray = page.get_by_role("region", name="References")
    tray.locator("audio").nth(1).wait_for()
    # Nothing was said of weights: nothing is sent, and the plan goes by likeness.
    assert "weights" not in desk.generate()
    tray.get_by_label("Weight", exact=True).first.fill("3")
    assert desk.generate()["weights"] == [3, 1]
    page.get_by_text("Expert").click()
    desk.plans_for_real = True
    with page.expect_response(is_plan_of_three) as answer:
        page.get_by_label("References to find").fill("3")
    page.get_by_text("those in the tray count: 1 is found beside them").wait_for()
    body = desk.generate()
    assert (body["weights"], body["k"]) == ([3, 1], 3)
    assert tray.get_by_label("Weight", exact=True).first.input_value() == "3"
    # The service takes both: named ones by their weights, the found one weighs 1.
    plan = answer.value.json()["plan"]
    named = {
        plan["references"][part["reference"]]["stem"]["id"]: part["weight"]
        for part in plan["seed_parts"]
    }
    assert named[one] == pytest.approx(3 * named[two])

    tray.get_by_label("Weight", exact=True).first.fill("0")
    tray.get_by_label("Weight", exact=True).nth(1).fill("0")
    assert "One of the weights must be above 0." in desk.refused()
    tray.get_by_role("button", name="Remove ").first.click()
    tray.get_by_label("Weight", exact=True).fill("2")
    body = desk.generate()
    assert (body["references"], body["weights"], body["k"]) == ([two], [2], 3)
    # One reference alone has all the weight: then none is shown, and none is sent.
    page.get_by_label("References to find").fill("")
    assert tray.get_by_label("Weight", exact=True).count() == 0
    assert "weights" not in desk.generate()


REGIONS = [
    ("3", "1", "It ends before it begins."),
    ("1", "100", "It must be within the sound, which lasts"),
    ("-1", "2", "It must be within the sound, which lasts"),
    ("90", "", "It must be within the sound, which lasts"),
    ("", "2", "Say from where as well, or clear the other field."),
]


def test_a_wrong_part_of_a_reference_is_marked_and_not_sent(desk: Desk) -> None:
    stem = desk.stems()[0]
    page = desk.open(draft=draft({"stem": stem}))
    tray = page.get_by_role("region", name="References")
    tray.get_by_text("of ").first.wait_for()
    start, end = tray.get_by_label("Region from, seconds"), tray.get_by_label("Region to, seconds")
    for from_s, to_s, says in (*REGIONS, ("1", "1.5", "It must be at least 1 s long.")):
        start.fill(from_s)
        end.fill(to_s)
        (said,) = desk.refused()
        assert said.startswith(says)
        marked = page.locator("[aria-invalid=true]")
        described = marked.get_attribute("aria-describedby")
        assert page.locator(f"#{described.split()[-1]}").inner_text() == said
    planned = len(desk.plans)
    assert_accessible(page, [(1280, "dark"), (390, "light")])
    assert len(desk.plans) == planned  # nothing of it was sent to be planned either
    end.fill("2.5")
    assert desk.faults() == []
    assert desk.generate()["references"] == [{"stem": stem, "start_s": 1, "duration_s": 1.5}]
    end.fill("")
    assert desk.generate()["references"] == [{"stem": stem, "start_s": 1}]
    start.fill("")
    assert desk.generate()["references"] == [stem]


def test_a_wrong_part_of_a_take_is_marked_and_not_sent(desk: Desk) -> None:
    desk.jobs[JOB] = job({"prompt": "warm piano"})
    page = desk.open(f"#/result/{JOB}")
    page.locator("button:enabled", has_text="Play").first.wait_for()
    change = page.get_by_role("region", name="Change this take")
    start, end = change.get_by_label("From, s"), change.get_by_label("To, s")
    again = change.get_by_role("button", name="Make this part again")
    cases = [
        ("", "", "Say from where, in seconds."),
        ("1", "", "Say to where as well."),
        ("1", "1.05", "It must be at least 0.1 s long."),
        *(case for case in REGIONS if case[1]),
    ]
    for from_s, to_s, says in cases:
        start.fill(from_s)
        end.fill(to_s)
        again.click()
        page.get_by_text("Nothing was sent").wait_for()
        (said,) = desk.faults()
        assert said.startswith(says)
        assert (start.input_value(), end.input_value()) == (from_s, to_s)
    assert page.locator(".band").is_hidden()
    assert_accessible(page, [(1280, "light"), (390, "dark")])
    start.fill("0.5")
    end.fill("1.5")
    assert page.locator(".band").is_visible()
    change.get_by_role("button", name="Another part").click()
    for at, says in (("1", "It overlaps the part from 0.5 to 1.5 s"), ("2", "")):
        change.get_by_label("From of part 2, s").fill(at)
        change.get_by_label("To of part 2, s").fill("3")
        if says:
            again.click()
            assert [one[: len(says)] for one in desk.faults()] == [says]
    assert desk.sent == []
    again.click()
    page.get_by_text("Caught on its way").wait_for()
    assert desk.sent[-1]["regions"] == [[0.5, 1.5], [2, 3]]
    change.get_by_role("button", name="Clear the parts").click()
    assert (start.input_value(), change.get_by_label("From of part 2, s").count()) == ("", 0)

    change.get_by_label("Add at the end s", exact=True).fill("0")
    change.get_by_role("button", name="Go on from it").click()
    change.get_by_text("Say how many seconds are added").wait_for()
    change.get_by_label("Add at the start s", exact=True).fill("2.5")
    change.get_by_label("Seed").fill("7x")
    change.get_by_role("button", name="Go on from it").click()
    change.get_by_text("A seed has digits only.").wait_for()
    assert len(desk.sent) == 1
    change.get_by_label("Seed").fill("007")
    change.get_by_role("button", name="Go on from it").click()
    page.wait_for_function("!document.querySelector('.fault')")
    page.get_by_text("Caught on its way").wait_for()
    assert desk.sent[-1] == {
        "kind": "extend", "generation": JOB, "take": 1, "left_s": 2.5, "seed": 7,
    }  # fmt: skip


WRONG = [
    ("Tempo bpm", "500", "It must be at least"),
    ("Duration s", "0.1", "It must be at least 0.5 and at most 190 s."),
    ("Strength", "2", "It must be more than 0 and at most 1."),
    ("Seed", "7x", "A seed has digits only."),
    ("Seed", "9223372036854775808", "It must be at most 9223372036854775807."),
    ("Steps", "2.5", "It must be a whole number."),
    ("Steps", "100000", "It must be at least 1"),
    ("Guidance", "-1", "It must be at least 0"),
    ("References to find", "-1", "It must be at least 0"),
    ("Candidates a take", "3", "Candidates are measured only where tempo or key"),
    ("Bars (in place of a duration)", "0", "It must be at least 1"),
    ("Time signature", "3/0", "“3/0” is not a time signature"),
    ("Time signature", "abc", "“abc” is not a time signature"),
    ("Time signature", "4/3", "“4/3” is not a time signature"),
    ("Territory", "D1", "Two letters, such as DE."),
    ("Mood", "m" * 1000, "“mmmmmmmmmmmmmmmmmmmm…” is longer than"),
    ("Instruments", ",".join("abcdefghijklmnopqrstuvwxyz"), "At most"),
    ("Never these stems", "ab cd ef", "“ab cd ef” is no stem id"),
    ("Not", "a\u0007bell", "It holds a control character"),
]


def test_every_other_field_that_is_wrong_is_marked_and_not_sent(desk: Desk) -> None:
    page = desk.open(draft={"prompt": "warm piano"})
    page.get_by_text("Expert").click()
    plain = desk.generate()
    for label, value, says in WRONG:
        control = page.get_by_label(label, exact=True)
        before = control.input_value()
        control.fill(value)
        (said,) = desk.refused()
        assert said.startswith(says), (label, value)
        assert control.input_value() == value
        assert control.evaluate("one => one === document.activeElement")
        control.fill(before)
        assert desk.faults() == []
    # What is no number at all has no value, and is told from an empty field.
    page.get_by_label("Steps", exact=True).focus()
    page.keyboard.type("e5")
    assert desk.refused() == ["This is no number."]
    page.get_by_label("Steps", exact=True).fill("")
    assert desk.generate() == plain
    assert all(plan == plain for plan in desk.plans)


def test_what_is_shown_is_what_is_sent(desk: Desk) -> None:
    page = desk.open(draft={"prompt": "warm piano", "artist": "Gone Since", "key": "Gb major"})
    # Values that are not among the choices are shown among them.
    assert page.get_by_label("Gone Since").is_checked()
    assert page.get_by_label("Key", exact=True).input_value() == "Gb major"
    body = desk.generate()
    assert (body["artist"], body["key"]) == ("Gone Since", "Gb major")
    # A slider stands where its number says, also between two steps.
    for name, number in (("Tempo bpm", "92.5"), ("Strength", "0.333")):
        page.get_by_label(name, exact=True).fill(number)
        assert page.get_by_label(f"{name.split()[0]}, slider").input_value() == number
        assert float(number) in desk.generate().values()
    page.get_by_text("Expert").click()
    page.get_by_label("Bars (in place of a duration)").fill("8")
    page.get_by_text("not used: the bars say how long it is").wait_for()
    assert page.get_by_label("Duration s", exact=True).is_disabled()
    body = desk.generate()
    assert body["bars"] == 8 and "duration_s" not in body
    page.get_by_label("Bars (in place of a duration)").fill("")
    assert desk.generate()["duration_s"] == 8
    # An empty seed cannot be locked; a locked one may be longer than a number can hold.
    assert page.get_by_role("button", name="Lock").is_disabled()
    page.get_by_label("Seed").fill(str(2**63 - 1))
    assert desk.generate()["seed"] == 2**63 - 1
    page.get_by_role("button", name="Lock").click()
    assert "seed" not in desk.generate()


def test_a_request_under_way_is_not_sent_twice(desk: Desk) -> None:
    page = desk.open()
    held: list[Any] = []
    page.route("**/v1/generations", lambda route: held.append(route))
    page.get_by_label("Prompt").fill("warm piano")
    page.get_by_label("Prompt").press("Control+Enter")
    page.get_by_text("Checking rights and rules").wait_for()
    page.get_by_label("Prompt").press("Control+Enter")
    page.evaluate("() => new Promise((done) => setTimeout(done, 50))")
    assert len(held) == 1
    held[0].fulfill(status=422, json={"status": 422, "detail": "no"})
    page.unroute("**/v1/generations")
    ready(page)


UNSHOWN = {
    "auto_strength", "mix", "free_time", "libraries", "licenses", "layers", "arrange", "webhook",
    "audio", "midi",
}  # fmt: skip
"""Fields of a request that have no control, or none without an upload."""
PLACES = {"references": "/references/1/start_s", "weights": "/weights/1", "exclude": "/exclude/0"}


def test_what_the_service_finds_wrong_is_marked_at_its_control(desk: Desk) -> None:
    one, two = desk.stems()[:2]
    page = desk.open(draft=draft({"stem": one}, {"stem": two}))
    page.get_by_label("Weight", exact=True).nth(1).wait_for()
    fields = sorted(set(GenerationAsked.model_fields) - UNSHOWN - {"audio_as", "audio_rights"})
    fields.sort(key=lambda name: name != "territory")
    errors = [
        {"in": "body", "where": PLACES.get(name, f"/{name}"), "field": name,
         "message": f"{name} is not right"}
        for name in [*fields, "mix"]
    ]  # fmt: skip
    problem = {"status": 422, "detail": "it is not right", "errors": errors}
    page.route("**/v1/generations", lambda route: route.fulfill(status=422, json=problem))
    page.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_text("Territory is not right").nth(1).wait_for()
    territory = page.get_by_label("Territory")
    assert territory.evaluate("one => one === document.activeElement")  # Expert was folded
    assert len(desk.faults()) == len(fields)
    assert page.locator("[aria-invalid=true]").count() == len(fields)
    territory.fill("DE")
    page.get_by_label("Key", exact=True).select_option("A minor")
    page.get_by_role("checkbox", name="tempo").check()
    page.get_by_label("4", exact=True).check()
    assert len(desk.faults()) == len(fields) - 4
    desk.watch(page)
    assert desk.generate(words=None)["territory"] == "DE"
    assert desk.faults() == []


PARTS = """async (presses) => {
  const { edits } = await import("/js/edits.js");
  const parts = { duration: 4, take: 0, setRegion() {}, onregion() {} };
  const element = edits({ generation: "ab".repeat(16) }, parts);
  document.body.append(element);
  const buttons = (name) => [...element.querySelectorAll("button")].filter(
    (one) => name.test(one.ariaLabel ?? one.textContent));
  const seen = presses.map((press) => {
    const more = buttons(/^Another part$/)[0];
    (press === 0 ? more : buttons(/^Remove part/)[press - 1])?.click();
    return [
      [...element.querySelectorAll(".region label")].map((one) => one.textContent),
      buttons(/^Remove part/).map((one) => one.ariaLabel),
    ];
  });
  element.remove();
  return seen;
}"""


@given(presses=st.lists(st.integers(0, 3), max_size=8))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_parts_of_a_take_are_numbered_by_their_place(desk: Desk, presses: list[int]) -> None:
    for labels, removes in desk.page.evaluate(PARTS, [0, 0, *presses]):
        numbers = range(2, len(removes) + 2)
        assert removes == [f"Remove part {n}" for n in numbers]
        named = [f"{end} of part {n}, s" for n in numbers for end in ("From", "To")]
        assert labels == ["From, s", "To, s", *named]

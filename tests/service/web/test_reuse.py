"""A request that is used again is the same request: every field of the API's own description."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rag_audio.service.api.schemas import EditAsked, GenerationAsked
from tests.service.web.desk import JOB, Desk, job

pytestmark = pytest.mark.xdist_group("web")
PATTERNS = {
    "^[0-9a-f]{32}$": st.sampled_from(["ab" * 16, "cd" * 16]),
    "^[A-Za-z]{2}$": st.sampled_from(["DE", "fr"]),
    "^https?://": st.just("https://example.org/hook"),
}


def values(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a field may hold, by its description."""
    if "$ref" in schema:
        of = schemas[schema["$ref"].split("/")[-1]]
        wanted = set(of.get("required", ()))
        fields = {name: values(one, schemas) for name, one in of["properties"].items()}
        must = {name: one for name, one in fields.items() if name in wanted}
        may = {name: one for name, one in fields.items() if name not in wanted}
        return st.fixed_dictionaries(must, optional=may)
    if "anyOf" in schema:
        return st.one_of(
            *(values(one, schemas) for one in schema["anyOf"] if one.get("type") != "null")
        )
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    if "prefixItems" in schema:
        return st.tuples(*(values(one, schemas) for one in schema["prefixItems"])).map(list)
    if schema["type"] == "array":
        most = min(schema.get("maxItems", 3), 3)
        return st.lists(values(schema["items"], schemas), max_size=most)
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", 1000)
        if schema["type"] == "integer":
            return st.sampled_from([low, high]) | st.integers(low, high)
        open_low = "exclusiveMinimum" in schema
        return st.floats(low, high, exclude_min=open_low) | st.sampled_from(
            [high, (low + high) / 2]
        )
    if "pattern" in schema:
        like = schema["pattern"].removeprefix("^").removesuffix("$")
        return PATTERNS.get(schema["pattern"], st.from_regex(like, fullmatch=True))
    letters = st.text("ab, ;\"'/é1", min_size=schema.get("minLength", 0), max_size=9)
    return letters | st.sampled_from(["calm", "electric piano", "A minor"])


def requests(model: type[GenerationAsked] | type[EditAsked]) -> st.SearchStrategy[dict[str, Any]]:
    """Requests of any of the model's fields."""
    schema = model.model_json_schema(ref_template="{model}")
    fields = {
        name: values(one, schema.get("$defs", {})) for name, one in schema["properties"].items()
    }
    must = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(must, optional=fields)


def row(model: type[GenerationAsked] | type[EditAsked], asked: dict[str, Any]) -> dict[str, Any]:
    """A request as a job's row holds it."""
    return model.model_validate(sent(asked)).model_dump(mode="json", exclude_none=True)


def sent(asked: dict[str, Any]) -> dict[str, Any]:
    """A body as the page's client writes it: a seed, which it keeps as digits, is a number."""
    return asked | ({"seed": int(asked["seed"])} if "seed" in asked else {})


def is_valid(model: type[GenerationAsked] | type[EditAsked], asked: Any) -> bool:
    """Whether fields that are right alone are so together: no job has another request."""
    try:
        model.model_validate(sent(asked))
    except ValidationError:
        return False
    return True


def alike(model: type[GenerationAsked] | type[EditAsked], asked: Any) -> dict[str, Any]:
    """What a request means: blank space around words, and what is left out, say nothing."""
    meant = row(model, asked)
    meant["prompt"] = meant["prompt"].strip()
    sets = {name: sorted(set(meant[name])) for name in ("channels", "enforce") if name in meant}
    return meant | sets


REUSED = """async (text) => {
  const { draftOf, asked } = await import("/js/request.js");
  const { restored } = await import("/js/draft.js");
  const made = draftOf(JSON.parse(text));
  // Over a reload as well.
  return asked(restored(JSON.parse(JSON.stringify(made))));
}"""


@given(asked=requests(GenerationAsked))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_request_of_a_generation_comes_back_whole(desk: Desk, asked: dict[str, Any]) -> None:
    if desk.page.url != f"{desk.site.url}/#/status":
        desk.open("#/status")
        desk.page.get_by_role("region", name="Service").wait_for()
    asked["prompt"] = asked["prompt"].strip() or "x"
    asked["seed"] = str(asked.get("seed", 5))  # as the page reads one that a number cannot hold
    assume(is_valid(GenerationAsked, asked))
    body = desk.page.evaluate(
        REUSED, json.dumps(row(GenerationAsked, asked) | {"seed": asked["seed"]})
    )
    assert alike(GenerationAsked, body) == alike(GenerationAsked, asked)


def test_every_field_of_a_generation_is_sent_again_from_the_form(desk: Desk) -> None:
    one, two = desk.stems()[:2]
    fields = GenerationAsked.model_fields
    asked = {
        "prompt": "warm piano", "negative_prompt": "vocals", "artist": "Copper Lantern Trio",
        "references": [one, {"stem": two, "start_s": 0.25, "duration_s": 1.5}],
        "weights": [2, 0.5], "exclude": ["ab" * 32], "k": 4, "strength": 0.35, "bpm": 93.5,
        "key": "G# minor", "seed": 2**63 - 2, "steps": 7, "guidance": 4.5, "variations": 3,
        "territory": "DE", "audio_rights": "own", "format": "flac", "audio_as": "melody",
        "webhook": "https://example.org/hook", "channels": ["init"], "enforce": ["tempo", "key"],
        "candidates": 3, "time_signature": [3, 4], "duration_s": 7.25, "mood": ["calm", "warm"],
        "instrumentation": ["rhodes"], "midi_instruments": ["Electric Piano 1"], "mix": "latent",
        "auto_strength": False, "layers": [{"layer": "drums", "stem": one}],
        "arrange": [{"stem": two, "first_bar": 1, "last_bar": 2}], "audio": "ab" * 16,
        "midi": "cd" * 16, "bars": 8, "libraries": ["house"], "licenses": ["house/full"],
        "free_time": True,
    }  # fmt: skip
    assert set(asked) == set(fields), "say here what a new field could hold"
    del asked["bars"]  # in place of a duration: below
    for kind in ("audio", "midi"):
        desk.page.route(f"**/v1/uploads/{asked[kind]}", lambda route: route.fulfill(json={}))
    desk.jobs[JOB] = job(asked)
    desk.jobs[JOB]["state"] = "failed"
    page = desk.open(f"#/result/{JOB}")
    page.get_by_role("button", name="Change the request").click()
    page.get_by_role("region", name="References").locator("audio").nth(1).wait_for()
    kept = page.get_by_role("region", name="Kept from the earlier request")
    assert kept.get_by_role("listitem").count() == 7  # all that has no control
    body = desk.generate(words=None)
    given = {name: value for name, value in asked.items() if name != "auto_strength"}
    assert body == given
    assert page.get_by_label("Key", exact=True).input_value() == "G# minor"

    kept.get_by_role("button", name="Remove Layers").click()
    assert "layers" not in desk.generate(words=None)
    desk.jobs[JOB] = job({"prompt": "warm piano", "bars": 8, "seed": 5})
    page.goto(f"{desk.site.url}/#/result/{JOB}")
    page.get_by_role("button", name="Take 2").click()
    page.get_by_role("button", name="Use this request again").click()
    page.get_by_text("not used: the bars say how long it is").wait_for()
    assert page.get_by_label("Duration s", exact=True).is_disabled()
    assert desk.generate(words=None) == {
        "prompt": "warm piano", "bars": 8, "seed": 6, "variations": 1,
    }  # fmt: skip


EDIT = """async (text) => {
  const { edits } = await import("/js/edits.js");
  const older = JSON.parse(text);
  const parts = { duration: 4, take: (older.take ?? 1) - 1, setRegion() {}, onregion() {} };
  const source = older.generation ? { generation: older.generation } : { upload: older.upload };
  const element = edits(source, parts, older);
  document.body.append(element);
  const ask = window.fetch;
  let sent = null;
  window.fetch = async (path, options) => {
    sent = options.body;
    return new Response("{}", { status: 422 });
  };
  element.querySelector("button.main").click();
  await new Promise((done) => setTimeout(done));
  window.fetch = ask;
  const faults = [...element.querySelectorAll(".fault")].map((one) => one.textContent);
  element.remove();
  return [sent, faults];
}"""


@given(asked=requests(EditAsked), data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_edit_comes_back_whole(desk: Desk, asked: dict[str, Any], data: st.DataObject) -> None:
    if desk.page.url != f"{desk.site.url}/#/status":
        desk.open("#/status")
        desk.page.get_by_role("region", name="Service").wait_for()
    for name in ("regions", "left_s", "right_s", "upload"):
        asked.pop(name, None)
    asked["generation"] = "ab" * 16
    asked["prompt"] = asked.get("prompt", "").strip()
    if asked["kind"] == "inpaint":
        asked["regions"] = data.draw(st.sampled_from([[[0.5, 1.5]], [[2, 3.125], [0, 1]]]))
    elif asked["kind"] == "extend":
        asked["right_s"] = data.draw(st.sampled_from([0.25, 4, 100]))
        asked["left_s"] = data.draw(st.sampled_from([0, 2.5]))
    asked["seed"] = str(asked.get("seed", 5))
    text = json.dumps(row(EditAsked, asked) | {"seed": asked["seed"]})
    sent, faults = desk.page.evaluate(EDIT, text)
    assert faults == []
    assert alike(EditAsked, json.loads(sent)) == alike(EditAsked, asked)


def test_an_edit_is_asked_for_again_on_the_take_that_it_changed(desk: Desk) -> None:
    parent, edit = "b" * 32, "c" * 32
    asked = {
        "kind": "inpaint", "generation": parent, "take": 2, "regions": [[0.5, 1.5], [2.0, 3.25]],
        "prompt": "soft bells", "strength": 0.6, "steps": 9, "seed": 2**62 + 1, "left_s": 0,
        "references": [], "variations": 2, "format": "wav",
    }  # fmt: skip
    desk.jobs = {parent: job({"prompt": "warm piano", "seed": 3}), edit: job(asked, "edit")}
    desk.jobs[edit]["id"], desk.jobs[parent]["id"] = edit, parent
    page = desk.open(f"#/result/{edit}")
    page.get_by_role("button", name="Use this request again").click()
    change = page.get_by_role("region", name="Change this take")
    change.get_by_text("made a part again").wait_for()
    assert page.get_by_role("button", name="Take 2").get_attribute("aria-pressed") == "true"
    assert change.get_by_label("Words for the change").input_value() == "soft bells"
    ends = [change.get_by_label(name, exact=True).input_value() for name in
            ("From, s", "To, s", "From of part 2, s", "To of part 2, s", "Seed")]  # fmt: skip
    assert ends == ["0.5", "1.5", "2", "3.25", str(2**62 + 1)]
    assert change.get_by_text("Steps").is_visible()
    change.get_by_role("button", name="Make this part again").click()
    page.get_by_text("Caught on its way").wait_for()
    assert desk.sent[-1] == {
        "kind": "inpaint", "generation": parent, "take": 2, "regions": [[0.5, 1.5], [2, 3.25]],
        "prompt": "soft bells", "strength": 0.6, "steps": 9, "seed": 2**62 + 1,
    }  # fmt: skip
    del desk.jobs[parent]
    page.goto(f"{desk.site.url}/#/result/{edit}")
    page.get_by_role("button", name="Use this request again").click()
    page.get_by_role("heading", name="The take is gone").wait_for()


def test_an_upload_that_is_gone_is_said_and_not_sent(desk: Desk) -> None:
    desk.jobs[JOB] = job({"prompt": "warm piano", "audio": "e" * 32, "audio_rights": "own"})
    page = desk.open(f"#/result/{JOB}")
    page.get_by_role("button", name="Use this request again").click()
    page.get_by_text("This upload is no longer kept here").wait_for()
    assert desk.refused() == ["Bring the file again, or take it out."]
    page.get_by_role("button", name="Remove an earlier upload").click()
    assert "audio" not in desk.generate(words=None)
    edit = "f" * 32
    desk.jobs[edit] = job({"kind": "vary", "upload": "e" * 32, "prompt": "x"}, "edit") | {
        "id": edit
    }
    page.goto(f"{desk.site.url}/#/result/{edit}")
    page.get_by_role("button", name="Use this request again").click()
    page.get_by_role("heading", name="The upload is gone").wait_for()

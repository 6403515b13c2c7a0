"""Metre, bars, instruments and mood as fields."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_audio.domain import Controls, GenerationRequest, Key
from rag_audio.domain.controls import named_window
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.errors import InvalidInput
from rag_audio.generation.planning import make_plan
from rag_audio.generation.replay import request_of
from tests.generation.test_planning import INFO, RIGHTS, plan_of, reference, words

FIELDS = {
    "time_signature": (3, 4), "bars": 4, "instrumentation": ("celesta", "upright bass"),
    "mood": ("calm",), "bpm": 90.0, "key": Key.parse("A minor"), "duration_s": None,
}  # fmt: skip


def test_fields_are_worded_as_the_family_was_taught() -> None:
    plan = plan_of(**FIELDS)
    assert plan.enriched_prompt == (
        "slow and warm, celesta, upright bass, calm, 90 BPM, A minor, 3/4"
    )
    assert {span.stem for span in plan.spans} == {None}
    request = GenerationRequest("slow", bpm=90.0, time_signature=(3, 4))
    info = replace(INFO, family="stable-audio")
    other = make_plan(request, (), rights=RIGHTS, info=info, count_tokens=words, seed=1)
    assert other.enriched_prompt == "slow, 90 BPM, 3/4 time"


def test_bars_are_a_length_at_the_tempo() -> None:
    assert plan_of(**FIELDS).duration_s == pytest.approx(4 * 3 * 60 / 90)
    from_reference = plan_of(reference("a", bpm=120.0), bars=4, duration_s=None)
    assert from_reference.duration_s == pytest.approx(8.0)
    assert Controls(time_signature=(6, 8), bars=2).length_s(120) == pytest.approx(3.0)
    with pytest.raises(InvalidInput, match="no length"):
        plan_of(bars=4, duration_s=None)
    with pytest.raises(InvalidInput, match="bars or a duration"):
        GenerationRequest("slow", bars=4, duration_s=8.0)


def test_a_loop_is_whole_bars_of_the_metre() -> None:
    plan = plan_of(reference("a", bpm=120.0), time_signature=(3, 4), duration_s=12.0)
    bars = plan.seed_parts[0].loop_s / (3 * 0.5)
    assert bars == pytest.approx(round(bars))


def test_controls_are_kept_in_the_plan_and_old_plans_load() -> None:
    plan = plan_of(**FIELDS)
    document = plan_to_json(plan)
    assert plan_from_json(document) == plan
    assert document["controls"]["time_signature"] == [3, 4]
    again = request_of(plan, None)
    assert (again.mood, again.instrumentation) == (("calm",), ("celesta", "upright bass"))
    old = plan_to_json(plan_of(reference("a")))
    assert not {"controls", "enforcement"} & set(old)
    assert plan_from_json(old).controls == Controls()


def test_what_finds_no_room_in_the_prompt_is_said() -> None:
    plan = plan_of(prompt="word " * 22, mood=("calm", "a b c d e f g"))
    assert any("no room" in note and "a b c" in note for note in plan.notes)


@pytest.mark.parametrize(
    "fields",
    [{"time_signature": (3, 5)}, {"bars": 0}, {"mood": ("x" * 41,)}, {"mood": ("a",) * 9}],
)
def test_wrong_controls_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        GenerationRequest("slow", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("abc123", ("abc123", None)),
        ("abc123@4-12", ("abc123", (4.0, 12.0))),
        ("abc123@0.5-", ("abc123", (0.5, None))),
    ],
)
def test_a_reference_may_name_a_part_of_a_stem(
    text: str, found: tuple[str, tuple[float, float | None] | None]
) -> None:
    assert named_window(text) == found


@pytest.mark.parametrize(
    "text", ["abc@", "abc@4", "abc@12-4", "abc@4-4", "@1-2", "a@x-y", "a@-1-2"]
)
def test_what_names_no_part_of_a_stem_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="names no part"):
        named_window(text)

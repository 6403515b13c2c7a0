"""Which of several marks is the newest, whatever the order in which they were read."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from rag_audio.domain.ports import Mark
from rag_audio.watermark.detector import MarkReading, MarksRead, Place
from rag_audio.watermark.payload import LAYOUT_2, LAYOUT_3, Layout, Message, following, newest

STARTS = st.integers(0, 255)
SKIPS = st.lists(st.integers(1, 12), max_size=10)
"""How many marks later the next one was made that can still be read: 120 in all at most."""


def row(start: int, skips: list[int], layout: Layout = LAYOUT_3) -> list[Message]:
    """Marks in the order in which they were made."""
    generations = [start]
    for skip in skips:
        generations.append(generations[-1] + skip)
    return [
        Message(Mark(number % 3), generation % layout.generations, layout)
        for number, generation in enumerate(generations)
    ]


@given(STARTS, SKIPS, st.randoms(use_true_random=False))
def test_the_last_of_a_row_is_the_newest_in_any_order(
    start: int, skips: list[int], chance: random.Random
) -> None:
    made = row(start, skips)
    shuffled = chance.sample(made, len(made))
    assert newest(shuffled) == {made[-1]}


@given(STARTS, SKIPS, st.data())
def test_the_order_stays_when_some_are_lost(
    start: int, skips: list[int], data: st.DataObject
) -> None:
    made = row(start, skips)
    kept = data.draw(st.sets(st.sampled_from(range(len(made))), min_size=1))
    assert newest(made[place] for place in kept) == {made[max(kept)]}


@given(STARTS, SKIPS, st.integers(0, 2))
def test_the_mark_that_follows_is_the_newest_also_past_the_last_generation(
    start: int, skips: list[int], number: int
) -> None:
    made = row(start, skips)
    for _ in range(3):
        next_one = following(Mark(number), made)
        assert next_one.layout == LAYOUT_3
        assert next_one.generation == (made[-1].generation + 1) % 256
        assert newest([*made, next_one]) == {next_one}
        made.append(next_one)


@given(STARTS, SKIPS, st.sets(st.integers(0, 3), min_size=1))
def test_any_mark_of_layout_3_is_newer_than_any_of_layout_2(
    start: int, skips: list[int], older: set[int]
) -> None:
    made = row(start, skips)
    before = [Message(Mark(9), generation, LAYOUT_2) for generation in older]
    assert newest([*before, *made]) == {made[-1]}
    first = following(Mark(4), before)
    assert newest([*before, first]) == {first}


@given(st.integers(0, 3), st.integers(0, 2), st.randoms(use_true_random=False))
def test_up_to_three_marks_of_layout_2_are_told_as_they_were(
    start: int, more: int, chance: random.Random
) -> None:
    made = row(start, [1] * more, LAYOUT_2)
    assert newest(chance.sample(made, len(made))) == {made[-1]}


def test_marks_of_one_generation_are_equally_new() -> None:
    mixed = {Message(Mark(1), 5), Message(Mark(2), 5)}
    assert newest([*mixed, Message(Mark(3), 4)]) == mixed


@given(STARTS, SKIPS, st.randoms(use_true_random=False), st.floats(5.0, 90.0))
def test_a_mark_of_the_present_key_is_newer_than_any_of_a_retired_one(
    start: int, skips: list[int], chance: random.Random, z: float
) -> None:
    """However clear the older are, and in whatever order they are read."""
    made, new = row(start, skips), Message(Mark(7), 0)
    told = [(1, message, 50.0) for message in made] + [(0, new, z)]
    found = MarksRead()
    for age, message, clearness in chance.sample(told, len(told)):
        found.add(age, MarkReading(message, clearness, Place(9.0, 1.0, 0.0, 0.0), 0.0, ()))
    assert found.newest == (0, new)
    assert found.answer().mark == new.mark
    assert set(found.answer().others) == {message.mark for message in made}

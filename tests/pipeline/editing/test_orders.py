"""What can be asked of an edit, and which parts of a sound are then made."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.errors import InvalidInput
from rag_audio.generation.inpainting import MOST_REGIONS, SHORTEST_S, check_regions
from rag_audio.pipeline.edit_orders import Order

SECONDS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-1, 12),
    st.integers(0, 12),
    st.sampled_from([0.0, 0.1, 0.2, 3.9, 3.95, 4.0, 4.0009, 4.1]),
)


@given(
    regions=st.lists(st.tuples(SECONDS, SECONDS), max_size=5),
    duration_s=st.one_of(st.floats(0.01, 12), st.just(4.0)),
)
@settings(max_examples=300, deadline=None)
def test_regions_are_refused_or_lie_in_the_sound_in_order_and_apart(
    regions: list[tuple[float, float]], duration_s: float
) -> None:
    try:
        made = Order("inpaint", tuple(regions)).made(duration_s)
    except InvalidInput:
        return
    assert len(made) == len(regions)
    for start_s, end_s in made:
        assert 0 <= start_s < end_s <= duration_s
        assert end_s - start_s >= SHORTEST_S - 1e-6
    assert all(one[1] <= two[0] for one, two in pairwise(made))


@given(data=st.data(), duration_s=st.floats(0.5, 100))
@settings(max_examples=100, deadline=None)
def test_regions_apart_are_taken_in_any_order(data: st.DataObject, duration_s: float) -> None:
    cuts = sorted(data.draw(st.lists(st.floats(0, duration_s), min_size=2, max_size=8)))
    apart = [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if b - a > SHORTEST_S]
    if apart:
        asked = data.draw(st.permutations(apart))
        assert Order("inpaint", tuple(asked)).made(duration_s) == tuple(apart)


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        ([(3, 1)], "region 3-1 is reversed"),
        ([(1, 100)], "region 1-100 is not within the sound, which lasts 4.00 s"),
        ([(2, 2)], "is empty"),
        ([(1, 1.05)], "shorter than 0.1 s"),
        ([(float("nan"), 2)], "region nan-2 is not a number of seconds"),
        ([(1, float("inf"))], "region 1-inf is not a number of seconds"),
        ([(1, 3), (2, 3.5)], "regions 1-3 and 2-3.5 overlap"),
        ([(1,)], "is not a start and an end in seconds"),
        ([("one", 2)], "is not a start and an end in seconds"),
        ([(0, 1)] * (MOST_REGIONS + 1), "65 regions are more than 64"),
        ([], "no region was named"),
    ],
)
def test_a_wrong_region_is_one_line_that_says_which(regions: list[Any], says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_regions(regions, 4.0)
    assert says in refused.value.message and "\n" not in refused.value.message


def test_the_shortest_region_can_be_asked_for_anywhere() -> None:
    for tenth in range(39):
        start_s, end_s = tenth / 10, (tenth + 1) / 10
        assert check_regions([(start_s, end_s)], 4.0) == ((start_s, end_s),)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"kind": "vary", "regions": [(3, 1)]}, "regions [[3, 1]] does not belong to vary"),
        ({"kind": "vary", "left_s": 2.5}, "left_s 2.5 does not belong to vary"),
        ({"kind": "inpaint", "regions": [(1, 2)], "right_s": 4.0}, "right_s 4.0 does not belong"),
        ({"kind": "extend", "right_s": 4.0, "regions": [(1, 2)]}, "regions [[1, 2]] does not"),
        ({"kind": "extend"}, "must be more than 0 s"),
        ({"kind": "inpaint"}, "no region was named"),
        ({"kind": "reverse"}, "'reverse' is not a kind of edit"),
    ],
)
def test_what_belongs_to_another_kind_of_edit_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Order(**asked)
    assert says in refused.value.message

"""The time ranges of a traced file."""

from __future__ import annotations

from rag_audio.provenance.trace.time_ranges import TimeRange, without_slivers


def test_the_milliseconds_that_a_codec_adds_are_no_range() -> None:
    ends = [
        TimeRange(0.0, 0.05, None, checked=False),
        TimeRange(0.05, 6.0, 1),
        TimeRange(6.0, 6.03, None, checked=False),
    ]
    assert without_slivers(ends) == [TimeRange(0.0, 6.03, 1)]


def test_what_is_long_enough_or_was_judged_stays() -> None:
    stays = [
        TimeRange(0.0, 3.0, 1),
        TimeRange(3.0, 3.05, None, transplanted=True),
        TimeRange(3.05, 4.0, None, checked=False),
        TimeRange(4.0, 8.0, 1),
    ]
    assert without_slivers(stays) == stays
    only = [TimeRange(0.0, 0.05, None, checked=False)]
    assert without_slivers(only) == only

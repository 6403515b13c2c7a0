"""One-shot, loop, phrase or song: what a file is, by what was measured of it and by its name."""

from __future__ import annotations

from indexer.measure import MeasuredFile
from rag_audio.audio.loops import SHORTEST_LOOP_S
from rag_audio.domain import SampleType, StemKind
from rag_audio.domain.music import COMMON, bar_s, beat_s

SONG_S = 30.0
"""What is at least this long is a song, unless its name says that it is a loop."""
LONGEST_NAMED_LOOP_S = 90.0
_LONGEST_ONE_SHOT_S = 8.0
_LONGEST_NAMED_ONE_SHOT_S = 12.0
_MOST_ONSETS = 2
_FEWEST_LOOP_ONSETS = 3
LOOP_NAMED, ONE_SHOT_NAMED = 3.0, -3.0
"""What a name adds to the log odds that a clip is a loop: 20 to 1 for it or against it."""


def sample_type_of(measured: MeasuredFile, named: SampleType | None) -> SampleType | None:
    """What a file is; None for a recording whose onsets were not measured.

    A clip of 30 s or more is a song. A shorter one is a loop where a whole number of beats fits it,
    a one-shot where at most two sounds begin in it, else a phrase. A name can overrule this within
    what the length allows: "loop" from 0.85 to 90 s, "one shot" up to 12 s.

    Args:
        named: what names of the file or its folders say.
    """
    duration_s = measured.duration_s
    if measured.kind is StemKind.MIDI:
        return _score_type(measured, named)
    if named is SampleType.LOOP and SHORTEST_LOOP_S <= duration_s <= LONGEST_NAMED_LOOP_S:
        return SampleType.LOOP
    if duration_s >= SONG_S:
        return SampleType.SONG
    if measured.rhythm is None:
        return None
    loop, onsets = measured.rhythm.loop, measured.rhythm.onsets
    is_loop = loop is not None and loop.probability(type_hint(named)) > 0.5
    if is_loop and onsets >= _FEWEST_LOOP_ONSETS:
        return SampleType.LOOP
    if named is SampleType.ONE_SHOT and duration_s <= _LONGEST_NAMED_ONE_SHOT_S:
        return SampleType.ONE_SHOT
    is_single = onsets <= _MOST_ONSETS and duration_s <= _LONGEST_ONE_SHOT_S
    return (
        SampleType.ONE_SHOT if is_single and named is not SampleType.PHRASE else SampleType.PHRASE
    )


def type_hint(named: SampleType | None) -> float:
    """What a name adds to the log odds that a clip is a loop."""
    if named is None:
        return 0.0
    return LOOP_NAMED if named is SampleType.LOOP else ONE_SHOT_NAMED


def _score_type(measured: MeasuredFile, named: SampleType | None) -> SampleType:
    if measured.duration_s >= SONG_S:
        return SampleType.SONG
    if named is SampleType.LOOP or (named is None and _fills_bars(measured)):
        return SampleType.LOOP
    return SampleType.PHRASE


def _fills_bars(measured: MeasuredFile) -> bool:
    """Whether the last note of a score ends at a bar line or within the half beat before it."""
    if measured.bpm is None or measured.downbeat_s:
        return False
    bar = bar_s(measured.bpm, measured.time_signature or COMMON)
    after = measured.duration_s % bar
    is_filled = after <= 0.01 * bar or bar - after <= beat_s(measured.bpm) / 2
    return measured.duration_s > bar / 2 and is_filled

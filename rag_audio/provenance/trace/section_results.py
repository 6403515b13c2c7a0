"""What was found in the sections of a long file, put together to what is in the file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rag_audio.audio.sections import Section
from rag_audio.provenance.trace.findings import Evidence, InFile, TraceResult
from rag_audio.provenance.trace.time_ranges import TimeRange, in_words, joined


@dataclass(frozen=True, eq=False)
class SectionTrace:
    """What was found in a section.

    Attributes:
        start_s, end_s: of the section, in the file, without what is around it.
        result: its ranges are those of the file, with what is around the section.
    """

    start_s: float
    end_s: float
    result: TraceResult

    @classmethod
    def of(cls, section: Section, found: TraceResult) -> SectionTrace:
        """The result of tracing a section's audio."""
        ranges = tuple(
            replace(one, start_s=one.start_s + section.first_s, end_s=one.end_s + section.first_s)
            for one in found.ranges
        )
        whole = ranges or (_unplaced(found, section),)
        return cls(section.start_s, section.end_s, replace(found, ranges=whole))

    @property
    def named(self) -> Iterable[TimeRange]:
        """The ranges that are an output."""
        return (one for one in self.result.ranges if one.output is not None)


def merged(found: Sequence[SectionTrace]) -> TraceResult:
    """What is in the file of which these are all the sections, in order; at least one.

    The output that most of the file is, and whose sound was compared, is what was found; the others
    stand in ``ranges`` and ``outputs``.
    """
    evidence = _evidence(found)
    named = [one for one in found if one.result.found]
    if not named:
        nothing = max(found, key=lambda one: one.result.confidence).result
        return replace(nothing, evidence=evidence, ranges=())
    ranges = _in_time(found)
    seconds: defaultdict[int | None, float] = defaultdict(float)
    for part in ranges:
        seconds[part.output] += part.end_s - part.start_s

    def weight(one: SectionTrace) -> tuple[bool, bool, float, float]:
        result = one.result
        return (
            not result.transplanted,
            result.checked,
            seconds[result.output],
            result.confidence,
        )

    best = max(named, key=weight).result
    there = {item.output: item for one in named for item in one.result.outputs}
    order = [one.output for one in ranges if one.output is not None]
    outputs: tuple[InFile, ...] = tuple(
        there[number] for number in dict.fromkeys((*order, *there)) if number in there
    )
    said = "" if best.output is None else in_words(ranges, best.output)
    return replace(
        best,
        evidence=evidence,
        ranges=ranges,
        outputs=outputs,
        transplanted=any(one.result.transplanted for one in named),
        explanation=f"{best.explanation} {said}".strip(),
    )


def _unplaced(found: TraceResult, section: Section) -> TimeRange:
    """A section that was not taken apart: it is no output, or one as a whole."""
    if not found.found:
        return TimeRange(section.start_s, section.end_s, None)
    if found.transplanted:
        moved = TimeRange(section.start_s, section.end_s, None, checked=found.checked)
        return replace(moved, transplanted=True, marked=found.output)
    return TimeRange(section.start_s, section.end_s, found.output, checked=False)


def _in_time(found: Sequence[SectionTrace]) -> tuple[TimeRange, ...]:
    """The ranges of the file, in order and without gaps. Where two sections overlap, an output that
    one of them heard goes before none, and what a section heard in itself before what is around."""
    told: list[tuple[int, TimeRange]] = []
    for one in found:
        told += [(0, part) for part in one.named]
        for part in one.result.ranges:
            start_s, end_s = max(part.start_s, one.start_s), min(part.end_s, one.end_s)
            if start_s < end_s:
                rank = 2 if part.output is not None else -1
                told.append((rank, replace(part, start_s=start_s, end_s=end_s)))
    edges = sorted({edge for _, part in told for edge in (part.start_s, part.end_s)})
    ranges = []
    for start_s, end_s in pairwise(edges):
        here = [
            (rank, part) for rank, part in told if part.start_s <= start_s and part.end_s >= end_s
        ]
        if here:
            _, best = max(here, key=lambda one: one[0])
            ranges.append(replace(best, start_s=start_s, end_s=end_s))
    return tuple(joined(ranges))


def _evidence(found: Sequence[SectionTrace]) -> tuple[Evidence, ...]:
    """Of each kind of witness those that name an output, each output once; else the surest one."""
    kept: dict[tuple[str, int | None], Evidence] = {}
    for one in found:
        for witness in one.result.evidence:
            key = (witness.by, witness.output)
            if key not in kept or kept[key].confidence < witness.confidence:
                kept[key] = witness
    naming = {by for by, output in kept if output is not None}
    return tuple(
        witness
        for (by, output), witness in kept.items()
        if output is not None or by not in naming or witness.confidence > 0
    )

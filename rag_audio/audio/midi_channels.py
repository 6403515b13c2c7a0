"""What programs and controllers say of the channels of a MIDI file, over its ticks.

Sources: "MIDI 1.0 Detailed Specification" (controllers, channel mode messages), "General MIDI
System Level 1" and GM2 (channel 10, banks, the response to volume and expression: amplitude goes
with the square of the value).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

from rag_audio.audio.midi_file import BEND, CONTROL, NOTE_ON, PROGRAM, MidiTrack, NoticeList

ALL_OFF = (120, 123, 124, 125, 126, 127)
"""Controllers that end the notes of a channel."""

Place = tuple[int, int]
"""Track, from 0, and channel."""

Spans = tuple[tuple[float, float], ...]
"""From and to in seconds; or seconds, and the value that holds from there."""

_DRUM_CHANNEL = 9
_DRUM_BANKS = (120, 127)
"""Banks (the upper controller) of drum kits on any channel: GM2, XG."""
_BANK, _VOLUME, _PAN, _EXPRESSION, _PEDAL, _RESET = 0, 7, 10, 11, 64, 121
_PLAYED = (_VOLUME, _PAN, _EXPRESSION, _PEDAL)
_GM_VOLUME, _CENTRE, _MOST, _DOWN = 100, 64, 127, 64
_PROGRAMS = 128
_BEND_CENTRE = (0, 64)
_MOST_STEPS = 50_000
"""Changes of volume, pan and pedal that are kept for all parts of a score together."""
_RING_S = 2.0

_Steps = list[tuple[int, int]]
"""Ticks, and the value that holds from each on."""


class ChannelSettings:
    """The settings of all channels of tracks that play together.

    What a track sets itself holds there. A track that sets nothing has what is set by tracks
    without notes on its channel; where there are none, by all.
    """

    def __init__(self, tracks: Sequence[MidiTrack], notices: NoticeList) -> None:
        self._own: dict[tuple[int, int, int], _Steps] = defaultdict(list)
        self._resets: dict[Place, list[int]] = defaultdict(list)
        self._sounding: set[Place] = set()
        self._last_tick = max((track.events[-1][0] for track in tracks if track.events), default=0)
        for index, track in enumerate(tracks):
            self._read(index, track, notices)
        self._shared: dict[tuple[int, int], _Steps] = defaultdict(list)
        self._shared_resets: dict[int, list[int]] = defaultdict(list)
        for (_, channel), ticks in self._resets.items():
            self._shared_resets[channel] += ticks
        setting_up = {
            (channel, what)
            for index, channel, what in self._own
            if (index, channel) not in self._sounding
        }
        for (index, channel, what), steps in self._own.items():
            if (channel, what) not in setting_up or (index, channel) not in self._sounding:
                self._shared[channel, what] += steps
        for steps in self._shared.values():
            steps.sort(key=lambda step: step[0])
        self._made: dict[object, Spans] = {}
        self._budget = _MOST_STEPS
        self._notices = notices

    def _read(self, index: int, track: MidiTrack, notices: NoticeList) -> None:
        banks: dict[int, int] = {}
        bends = False
        for tick, kind, channel, first, second in track.events:
            if kind == NOTE_ON:
                self._sounding.add((index, channel))
            elif kind == PROGRAM:
                drum = banks.get(channel) in _DRUM_BANKS
                value = first + _PROGRAMS * drum
                self._own[index, channel, PROGRAM].append((tick, value))
            elif kind == CONTROL and first == _BANK:
                banks[channel] = second
            elif kind == CONTROL and first in _PLAYED:
                self._own[index, channel, first].append((tick, second))
            elif kind == CONTROL and first == _RESET:
                self._resets[index, channel].append(tick)
            elif kind == BEND and (first, second) != _BEND_CENTRE:
                bends = True
        if bends:
            notices.add(f"track {track.number}: its pitch bends are not played")

    def program(self, place: Place, tick: int) -> tuple[int, bool]:
        """The program, 0…127, that a note of a place is played with, and whether it is a kit."""
        index, channel = place
        steps = self._own.get((index, channel, PROGRAM)) or self._shared.get((channel, PROGRAM), [])
        at = bisect_right(steps, tick, key=lambda step: step[0])
        value = steps[at - 1][1] if at else 0
        drum = channel % 16 == _DRUM_CHANNEL or value >= _PROGRAMS
        return value % _PROGRAMS, drum

    def pedals(
        self, place: Place, during: tuple[float, float], seconds: Callable[[int], float]
    ) -> Spans:
        """When the pedal is down while the notes from ``during[0]`` to ``during[1]`` last: from and
        to. One that is not let go is so at the last event of all channels."""
        where = self._where(place, _PEDAL)

        def make() -> Spans:
            down_s: float | None = None
            spans = []
            for tick, value in [*self._steps(where, _PEDAL, 0), (self._last_tick, 0)]:
                if value >= _DOWN and down_s is None:
                    down_s = seconds(tick)
                elif value < _DOWN and down_s is not None:
                    spans.append((down_s, seconds(tick)))
                    down_s = None
            return tuple(span for span in spans if span[0] < span[1])

        spans = self._once((where, _PEDAL), make)
        first = max(0, bisect_right(spans, during[0], key=lambda span: span[0]) - 1)
        last = bisect_right(spans, during[1], key=lambda span: span[0])
        return self._spent(spans, first, last)

    def levels(
        self, place: Place, during: tuple[float, float], seconds: Callable[[int], float]
    ) -> Spans:
        """The gain by volume and expression, from each second on; 1 is that of General MIDI's 100
        and 127. Empty where it is 1 throughout."""
        volume, expression = self._where(place, _VOLUME), self._where(place, _EXPRESSION)

        def make() -> Spans:
            changes = sorted(
                [
                    *((tick, 0, value) for tick, value in self._steps(volume, _VOLUME, None)),
                    *((tick, 1, v) for tick, v in self._steps(expression, _EXPRESSION, _MOST)),
                ],
                key=lambda change: change[0],
            )
            held = [_GM_VOLUME, _MOST]
            made = [(0.0, 1.0)]
            for tick, which, value in changes:
                held[which] = value
                gain = (held[0] / _GM_VOLUME * held[1] / _MOST) ** 2
                made.append((seconds(tick), round(gain, 6)))
            return _without_repeats(made)

        return self._during(self._once((volume, expression, _VOLUME), make), during, 1.0)

    def pans(
        self, place: Place, during: tuple[float, float], seconds: Callable[[int], float]
    ) -> Spans:
        """The place between left, -1, and right, 1, from each second on; empty: the middle."""
        where = self._where(place, _PAN)

        def make() -> Spans:
            steps = self._steps(where, _PAN, None)
            sides = ((tick, max(-1.0, (value - _CENTRE) / 63)) for tick, value in steps)
            return _without_repeats(
                [(0.0, 0.0), *((seconds(tick), round(side, 6)) for tick, side in sides)]
            )

        return self._during(self._once((where, _PAN), make), during, 0.0)

    def _where(self, place: Place, what: int) -> Place:
        """The place whose settings hold; the track is -1 where they are those of all tracks."""
        return place if (*place, what) in self._own else (-1, place[1])

    def _steps(self, where: Place, what: int, reset: int | None) -> _Steps:
        """The steps of a controller, and those to the value that a reset sets."""
        index, channel = where
        steps = (
            self._shared.get((channel, what), [])
            if index < 0
            else self._own.get((index, channel, what), [])
        )
        if not steps or reset is None:
            return steps
        resets = self._shared_resets[channel] if index < 0 else self._resets.get(where, [])
        return sorted([*((t, reset) for t in resets), *steps], key=lambda step: step[0])

    def _once(self, key: object, make: Callable[[], Spans]) -> Spans:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _during(self, values: Spans, during: tuple[float, float], usual: float) -> Spans:
        """The part of a course of values that matters between two moments."""
        first = max(0, bisect_right(values, during[0], key=lambda step: step[0]) - 1)
        last = bisect_right(values, during[1] + _RING_S, key=lambda step: step[0])
        found = self._spent(values, first, last)
        if all(value == usual for _, value in found):
            return ()
        return ((0.0, found[0][1]), *found[1:])

    def _spent(self, values: Spans, first: int, last: int) -> Spans:
        if last - first > self._budget:
            self._notices.add("there are too many controllers; some are not played")
            return ()
        self._budget -= last - first
        return values[first:last]


def _without_repeats(values: Sequence[tuple[float, float]]) -> Spans:
    """Of several values at one moment the last, and none that is the one before."""
    last = dict(values)
    kept = list(last.items())
    return (*kept[:1], *(after for before, after in pairwise(kept) if before[1] != after[1]))

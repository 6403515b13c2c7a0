"""From the events of a MIDI file to notes in seconds, as a sequencer would play them.

Notes end in the order in which they began; where note-offs are missing, a note ends when its key is
struck again, as in hardware. A note without length is a hit. Programs, volume, expression, pan and
the pedal of a channel hold in the track that sets them; a track that sets none has those that other
tracks set.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rag_audio.audio.midi_channels import ALL_OFF, ChannelSettings, Place
from rag_audio.audio.midi_file import CONTROL, NOTE_OFF, NOTE_ON, MidiFile, MidiTrack, NoticeList

MICROSECONDS = 6e7
"""Of a minute: over a tempo, it is beats per minute."""

_DEFAULT_BPM = 120.0
_HITS_PER_BEAT = 4
_HIT_S = 0.125

Key = tuple[int, int]
"""Channel and pitch."""


class TempoMap:
    """When every tick is.

    Attributes:
        tempos: (seconds, bpm), the first at 0; before the first that is stated, 120 holds.
        stated: the file says a tempo.
    """

    def __init__(self, file: MidiFile, tracks: Sequence[MidiTrack], notices: NoticeList) -> None:
        found = _tempos(tracks, notices)
        per_beat = file.ticks_per_beat or 1
        self.stated = bool(found)
        self._starts, self._seconds, self._scales = [0], [0.0], [0.0]
        tempos: list[tuple[float, float]] = []
        last = 0.0
        for tick, bpm in ({0: _DEFAULT_BPM} | found).items():
            scale = 60.0 / (bpm * per_beat)
            if scale == last:
                continue
            last, at_s = scale, self.seconds(tick)
            tempos.append((at_s, 60.0 / (scale * per_beat)))
            self._starts.append(tick)
            self._seconds.append(at_s)
            self._scales.append(file.tick_s or scale)
        self.tempos = tuple(tempos)

    def seconds(self, tick: int) -> float:
        """When a tick is, from the start."""
        at = bisect_right(self._starts, tick) - 1
        return self._seconds[at] + self._scales[at] * (tick - self._starts[at])


def _tempos(tracks: Sequence[MidiTrack], notices: NoticeList) -> dict[int, float]:
    """Beats per minute by tick, in order, from all tracks."""
    found: dict[int, tuple[int, int]] = {}
    for track in tracks:
        for tick, tempo in track.tempos:
            before, other = found.get(tick, (tempo, track.number))
            if before != tempo and other != track.number:
                notices.add(
                    f"tracks {other} and {track.number} have different tempos at one place; "
                    "that of the last holds"
                )
            found[tick] = tempo, track.number
    return {tick: MICROSECONDS / found[tick][0] for tick in sorted(found)}


@dataclass(frozen=True)
class TickNote:
    """A note in ticks, ``start`` < ``end``; ended: False where the file says no end."""

    start: int
    end: int
    pitch: int
    velocity: int
    ended: bool = True


@dataclass
class TickPart:
    """The notes of one program on one channel of a track."""

    place: Place
    program: int
    drum: bool
    notes: list[TickNote] = field(default_factory=list)


def tick_parts(
    file: MidiFile,
    tracks: Sequence[MidiTrack],
    settings: ChannelSettings,
    notices: NoticeList,
) -> list[TickPart]:
    """The parts of tracks that play together, in the order in which their first notes end."""
    if file.ticks_per_beat is None:
        hit = max(1, round(_HIT_S / file.tick_s))
    else:
        hit = max(1, file.ticks_per_beat // _HITS_PER_BEAT)
    found = []
    for index, track in enumerate(tracks):
        if not track.has_notes:
            continue
        pairing = _Pairing(index, track, settings, hit)
        found += pairing.parts()
        if count := pairing.hits:
            what, how = f"{count} notes have", "short hits"
            if count == 1:
                what, how = "1 note has", "a short hit"
            notices.add(f"track {track.number}: {what} no length; played as {how}")
        if count := pairing.endless:
            what = "1 note never ends" if count == 1 else f"{count} notes never end"
            notices.add(f"track {track.number}: {what}; held until struck again or the track ends")
    return found


@dataclass(frozen=True)
class _OpenNote:
    start: int
    velocity: int
    program: int
    drum: bool


class _Pairing:
    """Finds the end of every note of a track."""

    def __init__(self, index: int, track: MidiTrack, settings: ChannelSettings, hit: int) -> None:
        self._index, self._track, self._settings, self._hit = index, track, settings, hit
        self._found: dict[tuple[int, int, bool], TickPart] = {}
        self._open: dict[int, dict[int, deque[_OpenNote]]] = defaultdict(dict)
        self._onsets: dict[Key, list[int]] = defaultdict(list)
        self._ending: set[int] = set()
        self.hits = self.endless = 0
        for tick, kind, channel, pitch, _ in track.events:
            if kind == NOTE_ON:
                self._onsets[channel, pitch].append(tick)
            elif kind == NOTE_OFF:
                self._ending.add(channel)

    def parts(self) -> list[TickPart]:
        """All parts, each with notes."""
        lacking = _lacking_ends(self._track)
        for tick, kind, channel, first, second in self._track.events:
            if kind == NOTE_ON:
                if (channel, first) in lacking:
                    self._close(channel, first, tick, earlier=True)
                program, drum = self._settings.program((self._index, channel), tick)
                held = self._open[channel].setdefault(first, deque())
                held.append(_OpenNote(tick, second, program, drum))
            elif kind == NOTE_OFF:
                self._close(channel, first, tick, one=(channel, first) not in lacking)
            elif kind == CONTROL and first in ALL_OFF:
                for pitch in list(self._open[channel]):
                    self._close(channel, pitch, tick)
                self._open[channel].clear()
        self._close_rest()
        return list(self._found.values())

    def _close(
        self, channel: int, pitch: int, tick: int, *, one: bool = False, earlier: bool = False
    ) -> None:
        """End the oldest note of a key, or all of them, or all that did not begin at this tick."""
        held = self._open[channel].get(pitch, ())
        while held and not (earlier and held[0].start == tick):
            note = held.popleft()
            if note.start < tick:
                self._add(channel, pitch, note, tick)
            else:
                self._add_hit(channel, pitch, note)
            if one:
                break

    def _close_rest(self) -> None:
        for channel, pitches in self._open.items():
            rest = [(note.start, pitch, note) for pitch, held in pitches.items() for note in held]
            for start, pitch, note in sorted(rest, key=lambda one: one[:2]):
                if note.drum or channel not in self._ending or self._track.end_tick <= start:
                    self._add_hit(channel, pitch, note)
                    continue
                self.endless += 1
                end = self._next_onset(channel, pitch, start) or self._track.end_tick
                self._add(channel, pitch, note, end, ended=False)

    def _next_onset(self, channel: int, pitch: int, tick: int) -> int | None:
        onsets = self._onsets[channel, pitch]
        at = bisect_right(onsets, tick)
        return onsets[at] if at < len(onsets) else None

    def _add_hit(self, channel: int, pitch: int, note: _OpenNote) -> None:
        self.hits += 1
        end = note.start + self._hit
        following = self._next_onset(channel, pitch, note.start)
        self._add(channel, pitch, note, min(end, following or end))

    def _add(
        self, channel: int, pitch: int, note: _OpenNote, end: int, *, ended: bool = True
    ) -> None:
        key = channel, note.program, note.drum
        if key not in self._found:
            self._found[key] = TickPart((self._index, channel), note.program, note.drum)
        self._found[key].notes.append(TickNote(note.start, end, pitch, note.velocity, ended))


def _lacking_ends(track: MidiTrack) -> set[Key]:
    """Keys that are struck more often than they are let go, up to their last note-off."""
    held: dict[int, dict[int, int]] = defaultdict(dict)
    left: dict[Key, int] = {}
    for _, kind, channel, pitch, _ in track.events:
        down = held[channel]
        if kind == NOTE_ON:
            down[pitch] = down.get(pitch, 0) + 1
        elif kind == NOTE_OFF:
            down[pitch] = max(0, down.get(pitch, 0) - 1)
            left[channel, pitch] = down[pitch]
        elif kind == CONTROL and pitch in ALL_OFF:
            left.update(((channel, one), 0) for one in down)
            down.clear()
    return {key for key, count in left.items() if count}

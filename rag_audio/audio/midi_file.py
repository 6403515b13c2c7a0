"""Standard MIDI files as events in ticks: what is broken is skipped and told, the rest is kept.

Sources: RP-001, "Standard MIDI Files 1.0" (chunks, events, running status, meta events), and
RP-029, "Bundling SMF and DLS data in an RMID file" (the RIFF form). A count that a file states is
never trusted: a track lasts until its own end event, its chunk's end, or the next ``MTrk``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rag_audio.errors import UnreadableFile

NOTE_OFF, NOTE_ON, CONTROL, PROGRAM, BEND = 0x80, 0x90, 0xB0, 0xC0, 0xE0
"""Kinds of channel events, as in the upper half of a status byte."""

ChannelEvent = tuple[int, int, int, int, int]
"""Tick, kind, channel (0…15, plus 16 for each port above the first), and two data bytes."""

_TRACK, _HEADER, _END = b"MTrk", b"MThd", b"\xff\x2f\x00"
_DIVISION_AT = 12
_HEADER_BYTES = 14
_FARTHEST = 256
"""Bytes before the header, such as the 128 of MacBinary."""
_CHANNEL_END = 0xF0
_META, _SYSEX = 0xFF, (0xF0, 0xF7)
_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}
"""Of system messages that have no place in a file; the others have none."""
_NEGATIVE = 1 << 31
"""Times from here on are negative ones, of 32 bits, that a program wrote as positive."""
_MOST_UNSIZED = 4096
_MOST_NOTICES, _MOST_KINDS = 16, 1000
_MOST_POWER = 6
_NTSC = {29: 30_000 / 1001}
_FILM_RATES = (24, 25, 29, 30)


class NoticeList:
    """What was odd in a file, in the order in which it was met; what is alike is counted."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, text: str) -> None:
        """Tell it once more."""
        if text in self._counts or len(self._counts) < _MOST_KINDS:
            self._counts[text] = self._counts.get(text, 0) + 1

    def lines(self) -> tuple[str, ...]:
        """At most 17 lines, the last of which counts what is left out."""
        lines = [text if n == 1 else f"{text} ({n} times)" for text, n in self._counts.items()]
        left = len(lines) - _MOST_NOTICES
        return tuple(lines[:_MOST_NOTICES] + [f"and {left} notices more"] * (left > 0))


@dataclass
class MidiTrack:
    """The events of one track chunk.

    Attributes:
        number: of the track in its file, from 1.
        tempos: ticks and microseconds per quarter note, 1…2^24 - 1.
        signatures: ticks, beats and unit (a power of two).
        keys: ticks and key, 0…11 major, 12…23 minor from C.
        end_tick: of the last event that was read.
        read: events of any kind.
    """

    number: int
    events: list[ChannelEvent] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    signatures: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, int]] = field(default_factory=list)
    end_tick: int = 0
    read: int = 0

    @property
    def has_notes(self) -> bool:
        return any(event[1] == NOTE_ON for event in self.events)


@dataclass(frozen=True)
class MidiFile:
    """A file's tracks.

    Attributes:
        kind: 0 (one track), 1 (tracks that play together) or 2 (each track is a song).
        ticks_per_beat: 1…32767; None where ticks are parts of a film frame.
        tick_s: seconds of a tick, where ticks are parts of a film frame.
    """

    kind: int
    ticks_per_beat: int | None
    tick_s: float
    tracks: tuple[MidiTrack, ...]


def read_midi_file(data: bytes, name: str, max_events: int, notices: NoticeList) -> MidiFile:
    """Read a file's bytes.

    Args:
        name: how errors call the file.
        max_events: more are refused.
        notices: gets what was odd.

    Raises:
        UnreadableFile: it is no MIDI file, says nothing of its time, holds no tracks, or more than
            ``max_events``.
    """
    smf = _unwrapped(data)
    if smf[:4] != _HEADER and (start := data.find(_HEADER, 0, _FARTHEST)) > 0:
        notices.add(f"{_bytes(start)} before the header: skipped")
        smf = data[start:]
    if smf[:4] != _HEADER:
        raise UnreadableFile(f"{name} is not a MIDI file" if data else f"{name} is empty")
    if len(smf) < _HEADER_BYTES:
        raise UnreadableFile(f"{name} breaks off in its header", hint="export it anew")
    kind, stated = (int.from_bytes(smf[at : at + 2], "big") for at in (8, 10))
    ticks_per_beat, tick_s = _division(smf, name, notices)
    walk = _ChunkWalk(smf, name, max_events, notices)
    tracks = tuple(walk.tracks())
    if not any(track.read for track in tracks):
        raise UnreadableFile(f"{name} holds no tracks", hint="export it anew")
    if kind > 2:
        notices.add(f"the header names an unknown kind, {kind}; its tracks are played together")
        kind = 1
    if stated != len(tracks):
        there = f"{len(tracks)} is" if len(tracks) == 1 else f"{len(tracks)} are"
        plural = "" if stated == 1 else "s"
        notices.add(f"the header says {stated} track{plural}, {there} there")
    return MidiFile(kind, ticks_per_beat, tick_s, tracks)


def _unwrapped(data: bytes) -> bytes:
    """The file within a RIFF, or the bytes as they are."""
    if data[:4] != b"RIFF":
        return data
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data" and data[at + 8 : at + 12] == _HEADER:
            return data[at + 8 : at + 8 + size] if size > _HEADER_BYTES else data[at + 8 :]
        at += 8 + size + size % 2
    start = data.find(_HEADER, 0, 64)
    return data[start:] if start > 0 else data


def _division(smf: bytes, name: str, notices: NoticeList) -> tuple[int | None, float]:
    """Ticks of a quarter note, or None and the seconds of a tick."""
    high, low = smf[_DIVISION_AT], smf[_DIVISION_AT + 1]
    if high < 0x80:
        ticks = high << 8 | low
        if ticks == 0:
            raise UnreadableFile(
                f"{name} does not say how long its ticks are", hint="export it anew"
            )
        return ticks, 0.0
    rate = 0x100 - high
    if low == 0:
        raise UnreadableFile(f"{name} does not say how long its ticks are", hint="export it anew")
    if rate not in _FILM_RATES:
        notices.add(f"the header counts {rate} film frames in a second, which is unusual")
    return None, 1.0 / (_NTSC.get(rate, float(rate)) * low)


class _ChunkWalk:
    """Goes over the chunks of one file."""

    def __init__(self, data: bytes, name: str, max_events: int, notices: NoticeList) -> None:
        self._data, self._name, self._notices = data, name, notices
        self._max_events = max_events
        self._events = 0
        self._known: dict[int, bool] = {}

    def tracks(self) -> Iterator[MidiTrack]:
        """Every track that is there; other chunks are skipped, as the standard says."""
        data, number = self._data, 0
        at = 8 + int.from_bytes(data[4:8], "big")
        if at < _HEADER_BYTES or not self._is_chunk(at):
            at = self._next_track(_HEADER_BYTES)
        while at + 8 <= len(data):
            kind, claimed = data[at : at + 4], self._claimed(at)
            if kind == _TRACK:
                number += 1
                track, at = self._track(number, at + 8, claimed)
                self._count(track)
                yield track
            elif kind == _HEADER:
                self._notices.add("a second score after the first one is skipped")
                return
            elif self._is_chunk(claimed):
                at = claimed
            else:
                found = self._next_track(at)
                after = f"track {number}" if number else "the header"
                self._notices.add(f"{_bytes(found - at)} after {after}: no chunk; skipped")
                at = found
        if at < len(data):
            self._notices.add(f"{_bytes(len(data) - at)} after the last track: skipped")

    def _count(self, track: MidiTrack) -> None:
        self._events += track.read
        if self._events > self._max_events:
            raise UnreadableFile(
                f"{self._name} holds {self._events} events, more than {self._max_events}",
                hint="thin out its controllers, or cut it shorter",
            )

    def _claimed(self, at: int) -> int:
        """Where the chunk at a place says that it ends."""
        return at + 8 + int.from_bytes(self._data[at + 4 : at + 8], "big")

    def _next_track(self, at: int) -> int:
        found = self._data.find(_TRACK, at)
        return len(self._data) if found < 0 else found

    def _is_chunk(self, at: int) -> bool:
        """Whether a chunk, the file's end or a track's end event says that one ends here."""
        data, passed = self._data, []
        while at not in self._known:
            passed.append(at)
            if at >= len(data):
                self._known[at] = at == len(data)
            elif data[at : at + 4] in (_TRACK, _HEADER) or data[at - 3 : at] == _END:
                self._known[at] = True
            elif at + 8 > len(data) or not _is_chunk_type(data[at : at + 4]):
                self._known[at] = False
            else:
                at = self._claimed(at)
        self._known.update(dict.fromkeys(passed, self._known[at]))
        return self._known[at]

    def _track(self, number: int, start: int, claimed: int) -> tuple[MidiTrack, int]:
        """The track whose events begin at a place, and where the next chunk begins."""
        data, notices = self._data, self._notices
        sound = self._is_chunk(claimed)
        end = claimed if sound else self._next_track(start)
        budget = self._max_events - self._events
        reader = _TrackReader(data, start, end, MidiTrack(number), notices, budget)
        reader.read()
        track, at = reader.track, reader.at
        if reader.broken or (not reader.ended and claimed > end):
            notices.add(f"track {number} breaks off: {_events(track.read)} kept")
            return track, end
        if not sound:
            notices.add(f"track {number} is not as long as it says; it is read to its end")
            return track, at if reader.ended else end
        if at < claimed:
            if data[at : at + 4] == _TRACK:
                notices.add(f"track {number} is not as long as it says; it is read to its end")
                return track, at
            notices.add(f"{_bytes(claimed - at)} after the end of track {number}: skipped")
        return track, claimed


def _is_chunk_type(four: bytes) -> bool:
    return four.isascii() and all(sign.isalnum() or sign in " _-." for sign in four.decode())


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


class _TrackReader:
    """Reads the events of one track.

    Attributes:
        at: where it stands: behind the last event that was read.
        ended: it met the end event.
        broken: what follows is no event.
    """

    def __init__(
        self,
        data: bytes,
        start: int,
        end: int,
        track: MidiTrack,
        notices: NoticeList,
        budget: int,
    ) -> None:
        self._data, self._end, self.track = data, end, track
        self._notices, self._budget = notices, budget
        self._port = 0
        self.at = start
        self.ended = self.broken = False

    def read(self) -> None:
        """Read until the track ends or breaks off."""
        data, end, track = self._data, self._end, self.track
        tick = status = 0
        while self.at < end and not self.ended:
            start = self.at
            delta = self._number()
            if delta is None or self.at >= end:
                break
            if delta >= _NEGATIVE:
                self._skip("a step back in time")
                delta = 0
            tick += delta
            byte = data[self.at]
            if byte < 0x80:
                if status == 0:
                    self._skip("an event without its kind")
                    self.at += 2  # as of a note
                    continue
                byte = status  # running status, also over meta and system events
            else:
                self.at += 1
            if byte < _CHANNEL_END:
                status = byte
                whole = self._channel_event(tick, byte)
            else:
                whole = self._other(tick, byte)
            if not whole:
                self.at = start
                break
            track.end_tick = tick
            track.read += 1
        else:
            return
        self.broken = True

    def _channel_event(self, tick: int, status: int) -> bool:
        kind, at = status & 0xF0, self.at
        size = 1 if kind in (PROGRAM, 0xD0) else 2
        if at + size > self._end:
            return False
        first = self._data[at]
        second = self._data[at + 1] if size == 2 else 0
        if first > 127 or second > 127:
            self._notices.add(f"track {self.track.number}: a value above 127 counts as 127")
            first, second = min(first, 127), min(second, 127)
        self.at += size
        if kind == NOTE_ON and second == 0:
            kind = NOTE_OFF
        channel = 16 * self._port + (status & 0x0F)
        if self.track.read < self._budget:  # a file of more events is refused in the end
            self.track.events.append((tick, kind, channel, first, second))
        return True

    def _other(self, tick: int, status: int) -> bool:
        """A meta or system event."""
        if status not in (_META, *_SYSEX):
            self._notices.add(f"track {self.track.number}: a system message is skipped")
            self.at += _DATA_BYTES.get(status, 0)
            return self.at <= self._end
        kind = -1
        if status == _META:
            if self.at >= self._end:
                return False
            kind = self._data[self.at]
            self.at += 1
        start, size = self.at, self._number()
        if size is None or self.at + size > self._end:
            return status == _SYSEX[0] and self._unsized(start)
        body = self._data[self.at : self.at + min(size, 8)]
        self.at += size
        if kind == 0x2F:
            self.ended = True
        elif kind in _META_BYTES:
            self._meta(tick, kind, body, size)
        return True

    def _unsized(self, start: int) -> bool:
        """A system exclusive message that has no length, as on a cable, but an end."""
        end = self._data.find(_SYSEX[1], start, min(start + _MOST_UNSIZED, self._end))
        if end < 0:
            return False
        self._skip("a system message without length")
        self.at = end + 1
        return True

    def _meta(self, tick: int, kind: int, body: bytes, size: int) -> None:
        what, least = _META_BYTES[kind]
        if size < least:
            self._skip(f"a {what} of {_bytes(size)}")
        elif kind == 0x21:
            self._port = body[0] & 0x7F
        elif kind == 0x51:
            if tempo := int.from_bytes(body[:3], "big"):
                self.track.tempos.append((tick, tempo))
            else:
                self._skip("a tempo of zero")
        elif kind == 0x58:
            beats, power = body[0], body[1]
            if beats == 0 or power > _MOST_POWER:
                unit = f"2^{power}" if power > _MOST_POWER else str(1 << power)
                self._skip(f"a time signature of {beats}/{unit}")
            else:
                self.track.signatures.append((tick, beats, 1 << power))
        else:
            sharps, minor = int.from_bytes(body[:1], "big", signed=True), body[1]
            if abs(sharps) > 7:
                self._skip(
                    f"a key signature of {abs(sharps)} {'sharps' if sharps > 0 else 'flats'}"
                )
            elif minor > 1:
                self._skip(f"a key signature of mode {minor}")
            else:
                tonic = (7 * sharps + 9 * minor) % 12
                self.track.keys.append((tick, tonic + 12 * minor))

    def _skip(self, what: str) -> None:
        self._notices.add(f"track {self.track.number}: {what} is skipped")

    def _number(self) -> int | None:
        """A number of variable length, with leading zeros if any; None: it breaks off, or has more
        than 32 bits: some programs write these, though the standard has 28."""
        data, at, value = self._data, self.at, 0
        while at < self._end and data[at] == 0x80:
            at += 1
        for byte in data[at : min(at + 5, self._end)]:
            at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80 and value < 2 * _NEGATIVE:
                self.at = at
                return value
        return None


_META_BYTES = {
    0x21: ("port", 1),
    0x51: ("tempo", 3),
    0x58: ("time signature", 4),
    0x59: ("key signature", 2),
}
"""Meta events that are used, and the bytes that each must have."""

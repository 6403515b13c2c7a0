"""MIDI scores as notes in seconds: hostile bytes in, checked data out.

What a small file can ask for in time and memory is limited.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rag_audio.audio.midi_channels import ChannelSettings, Spans
from rag_audio.audio.midi_file import MidiFile, MidiTrack, NoticeList, read_midi_file
from rag_audio.audio.midi_notes import TempoMap, TickPart, tick_parts
from rag_audio.domain.codec import Document, encode, json_form, read
from rag_audio.domain.music import Signature, is_signature
from rag_audio.domain.songs import song_file
from rag_audio.errors import UnreadableFile

_MAX_BYTES = 2_000_000
_MAX_BEATS = 200_000
"""Two hours at more than 1600 beats per minute."""
_MAX_SOUNDING_S = 500_000.0
"""Seconds that all notes sound together: 69 at once for two hours."""
MAX_MESSAGES = 400_000
"""Notes, tempos and all else that a score may hold: more cost minutes and gigabytes to read."""
MAX_DURATION_S = 7200.0
MAX_SONGS = 100
"""Of a file of type 2; further ones are left out."""
SONGS_HEAD = 4096
"""Bytes that tell whether a file may hold several songs."""
_SHORTEST_S = 1e-6
_MOST_HELD_S = 60.0
"""Behind all other notes, for notes that the file does not end."""
_SIDE = 1.0
_MOST_GAIN = 4.0


@json_form(as_list=True)
@dataclass(frozen=True)
class ScoreNote:
    """One note as it is written: seconds, MIDI pitch 0…127, velocity 1…127."""

    start_s: float
    end_s: float
    pitch: int
    velocity: int


@json_form(later=("pedals", "levels", "pans"))
@dataclass(frozen=True)
class ScorePart:
    """The notes of one instrument, in order of start: General MIDI program 0…127.

    Attributes:
        pedals: when the sustain pedal is down: from and to, in seconds, in order.
        levels: the gain by volume and expression from each second on, the first at 0; empty: 1,
            which is that of General MIDI's usual settings.
        pans: the place between left, -1, and right, 1, from each second on, the first at 0; empty:
            the middle.
    """

    program: int
    drum: bool
    notes: tuple[ScoreNote, ...]
    pedals: Spans = ()
    levels: Spans = ()
    pans: Spans = ()

    def sounding(self) -> tuple[ScoreNote, ...]:
        """The notes as they sound: the pedal holds them until it is let go, or until the same key
        is struck again. What is written, and compared with other scores, are :attr:`notes`."""
        if not self.pedals or self.drum:
            return self.notes
        following: dict[int, float] = {}
        made = []
        for note in reversed(self.notes):
            at = bisect_right(self.pedals, note.end_s, key=lambda span: span[0]) - 1
            struck_s = following.get(note.pitch, math.inf)
            following[note.pitch] = note.start_s
            if at >= 0 and self.pedals[at][0] < note.end_s < self.pedals[at][1]:
                until_s = max(note.end_s, min(self.pedals[at][1], struck_s))
                note = replace(note, end_s=until_s)
            made.append(note)
        return tuple(reversed(made))


@json_form(later=("notices",))
@dataclass(frozen=True)
class NoteScore:
    """What a MIDI file holds, as far as it is used.

    Attributes:
        parts: at least one, each with notes.
        tempos: (seconds, bpm), the first at 0; states_tempo: the file says so itself.
        key_number: of the first key signature: 0…11 major, 12…23 minor from C; None without one.
        time_signature: (beats, unit) of the one that holds longest; None without one, or with one
            that :func:`rag_audio.domain.music.is_signature` does not know.
        downbeat_s: where its first bar begins: after an upbeat that has a signature of its own.
        notices: what was odd or broken in the file and what was done about it, a line each.
    """

    parts: tuple[ScorePart, ...]
    tempos: tuple[tuple[float, float], ...]
    states_tempo: bool
    key_number: int | None
    time_signature: Signature | None
    downbeat_s: float = 0.0
    notices: tuple[str, ...] = ()

    @property
    def notes(self) -> int:
        return sum(len(part.notes) for part in self.parts)

    @property
    def end_s(self) -> float:
        """End of the last note."""
        return max(note.end_s for part in self.parts for note in part.notes)


def score_to_json(score: NoteScore) -> Document:
    """A score for another process than the one that parsed its file."""
    return encode(score)


def score_from_json(document: Any) -> NoteScore:
    """The inverse of :func:`score_to_json`.

    Raises:
        ValueError, TypeError, KeyError: it is no score, or a value is out of range.
    """
    # Uploads that an earlier version took in have no downbeat_s.
    score = read(NoteScore, {"downbeat_s": 0.0, **document})
    if not score.parts or not score.tempos or not all(_is_tempo(*one) for one in score.tempos):
        raise ValueError("a score has notes and a tempo")
    if score.key_number is not None and not 0 <= score.key_number < 24:
        raise ValueError(f"there is no key {score.key_number}")
    for part in score.parts:
        if not part.notes or not 0 <= part.program <= 127:
            raise ValueError("a part has notes and a program of 0…127")
        for note in part.notes:
            in_range = 0 <= note.pitch <= 127 and 0 < note.velocity <= 127
            if not (in_range and 0 <= note.start_s < note.end_s <= MAX_DURATION_S):
                raise ValueError(f"{note} is no note")
        _check_course(part.pedals, 0.0, MAX_DURATION_S)
        _check_course(part.levels, 0.0, _MOST_GAIN)
        _check_course(part.pans, -_SIDE, _SIDE)
    return score


def _check_course(course: Spans, least: float, most: float) -> None:
    times = [at_s for at_s, _ in course]
    if times != sorted(times) or not all(
        0 <= at_s < math.inf and least <= value <= most for at_s, value in course
    ):
        raise ValueError("a pedal, level or pan is out of range")


def _is_tempo(at: float, bpm: float) -> bool:
    return math.isfinite(at) and 0 < bpm < math.inf


def parse(path: str | Path) -> NoteScore:
    """Read a MIDI file, as a sequencer does: what is broken is left out and told in ``notices``.

    Of a file of independent songs (type 2), the first one that has notes is read; of the path
    ``FILE.mid#n``, the n-th (see :mod:`rag_audio.domain.songs`).

    Raises:
        UnreadableFile: it is no MIDI file, does not say how long its ticks are, holds no notes, or
            is beyond the limits of 2 MB, 400,000 events and two hours.
    """
    source, song = song_file(Path(path))
    notices = NoticeList()
    file = read_midi_file(_bytes(source), str(source), MAX_MESSAGES, notices)
    songs = _songs(file)
    if song > min(len(songs), MAX_SONGS):
        raise UnreadableFile(f"{source} has no song {song}")
    if len(songs) > 1:
        most = f", and no more than {MAX_SONGS} are read" if len(songs) > MAX_SONGS else ""
        notices.add(f"the file holds {len(songs)} independent songs; this is song {song}{most}")
    return _score(source, file, songs[song - 1], notices)


def count_songs(path: Path) -> int:
    """How many songs :func:`parse` finds in a MIDI file: one, save in a file of type 2, where each
    track that has notes is a song with tempos of its own, 100 at most.

    Raises:
        UnreadableFile: as :func:`parse`.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if not may_hold_songs(file.read(SONGS_HEAD)):
            return 1
    notices = NoticeList()
    songs = _songs(read_midi_file(_bytes(path), str(path), MAX_MESSAGES, notices))
    return min(len(songs), MAX_SONGS)


def may_hold_songs(head: bytes) -> bool:
    """Whether a file may be a MIDI file of type 2, by its first :data:`SONGS_HEAD` bytes."""
    return b"MThd" in head and not _is_type(head, (0, 1))


def _is_type(head: bytes, kinds: Sequence[int]) -> bool:
    at = head.index(b"MThd") + 8
    return int.from_bytes(head[at : at + 2], "big") in kinds


def _songs(file: MidiFile) -> Sequence[Sequence[MidiTrack]]:
    """The tracks that play together, for each song."""
    if file.kind < 2:
        return [file.tracks]
    return [(track,) for track in file.tracks if track.has_notes] or [file.tracks]


def _score(
    path: Path, file: MidiFile, tracks: Sequence[MidiTrack], notices: NoticeList
) -> NoteScore:
    times = TempoMap(file, tracks, notices)
    settings = ChannelSettings(tracks, notices)
    written = tick_parts(file, tracks, settings, notices)
    if not written:
        raise UnreadableFile(f"{path} holds no notes")
    last = max(note.end if note.ended else note.start for part in written for note in part.notes)
    if file.ticks_per_beat is not None and last / file.ticks_per_beat > _MAX_BEATS:
        raise UnreadableFile(
            f"{path} goes on for {last / file.ticks_per_beat:.3g} beats, more than {_MAX_BEATS}"
        )
    until_s = times.seconds(last) + _MOST_HELD_S
    parts = tuple(_part(part, times, settings, until_s) for part in written)
    end_s = max(note.end_s for part in parts for note in part.notes)
    if not (math.isfinite(end_s) and 0 < end_s <= MAX_DURATION_S):
        raise UnreadableFile(f"{path} is {end_s:.3g} s long, more than {MAX_DURATION_S:g} s")
    sounding_s = sum(note.end_s - note.start_s for part in parts for note in part.sounding())
    if sounding_s > _MAX_SOUNDING_S:
        raise UnreadableFile(
            f"{path} holds notes of {sounding_s / 3600:.0f} hours in all, "
            f"more than {_MAX_SOUNDING_S / 3600:.0f}"
        )
    keys = sorted((one for track in tracks for one in track.keys), key=lambda one: one[0])
    metre, downbeat_s = _main_metre(_metres(tracks, times), end_s)
    return NoteScore(
        parts=parts,
        tempos=times.tempos,
        states_tempo=times.stated,
        key_number=keys[0][1] if keys else None,
        time_signature=metre,
        downbeat_s=downbeat_s,
        notices=notices.lines(),
    )


def _part(part: TickPart, times: TempoMap, settings: ChannelSettings, until_s: float) -> ScorePart:
    """A part in seconds; notes that the file does not end do so at ``until_s`` at the latest."""
    notes = []
    for note in part.notes:
        start_s, end_s = times.seconds(note.start), times.seconds(note.end)
        if not note.ended:
            end_s = min(end_s, max(start_s, until_s), MAX_DURATION_S)
        notes.append(
            (
                start_s,
                max(end_s, start_s + _SHORTEST_S * (end_s <= start_s)),
                note.pitch,
                note.velocity,
            )
        )
    notes.sort()
    during = notes[0][0], max(note[1] for note in notes)
    pedals = () if part.drum else settings.pedals(part.place, during, times.seconds)
    return ScorePart(
        part.program,
        part.drum,
        tuple(ScoreNote(*note) for note in notes),
        tuple((down_s, min(up_s, MAX_DURATION_S)) for down_s, up_s in pedals),
        settings.levels(part.place, during, times.seconds),
        settings.pans(part.place, during, times.seconds),
    )


def _metres(tracks: Sequence[MidiTrack], times: TempoMap) -> list[tuple[float, Signature]]:
    """Seconds and time signature of each change, in all tracks."""
    found = {
        tick: (beats, unit)
        for tick, beats, unit in sorted(
            (one for track in tracks for one in track.signatures), key=lambda one: one[0]
        )
    }
    return [(times.seconds(tick), signature) for tick, signature in found.items()]


def _main_metre(
    changes: Sequence[tuple[float, Signature]], end_s: float
) -> tuple[Signature | None, float]:
    """The time signature that holds longest, and when it begins first; see :class:`NoteScore`."""
    held: dict[Signature, float] = {}
    begins: dict[Signature, float] = {}
    ends = [*(at_s for at_s, _ in changes[1:]), end_s]
    for i, ((at_s, found), until_s) in enumerate(zip(changes, ends, strict=False)):
        # What no signature comes before is in the first one.
        start_s = at_s if i else 0.0
        held[found] = held.get(found, 0.0) + max(0.0, min(until_s, end_s) - start_s)
        begins.setdefault(found, at_s)
    if not held:
        return None, 0.0
    longest = max(held, key=lambda found: held[found])
    return (longest, begins[longest]) if is_signature(longest) else (None, 0.0)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise UnreadableFile(f"there is no file {path}")
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise UnreadableFile(f"{path} is too big for a MIDI file: {size} bytes")
    return path.read_bytes()

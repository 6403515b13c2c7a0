"""MIDI scores as notes in seconds: hostile bytes in, checked data out.

What a small file can ask for in time and memory is limited before pretty_midi reads it.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_audio.domain.codec import Document, encode, json_form, read
from rag_audio.domain.music import Signature, is_signature
from rag_audio.errors import UnreadableFile

_MAX_BYTES = 2_000_000
_MAX_TICKS = 10_000_000
_MAX_OPEN_NOTES = 64
MAX_MESSAGES = 400_000
"""Notes, tempos and all else that a score may hold: more cost minutes and gigabytes to read."""
MAX_DURATION_S = 7200.0


@json_form(as_list=True)
@dataclass(frozen=True)
class ScoreNote:
    """One note: seconds, MIDI pitch 0…127, velocity 1…127."""

    start_s: float
    end_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class ScorePart:
    """The notes of one instrument, in order of start: General MIDI program 0…127."""

    program: int
    drum: bool
    notes: tuple[ScoreNote, ...]


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
    """

    parts: tuple[ScorePart, ...]
    tempos: tuple[tuple[float, float], ...]
    states_tempo: bool
    key_number: int | None
    time_signature: Signature | None
    downbeat_s: float = 0.0

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
    return score


def _is_tempo(at: float, bpm: float) -> bool:
    return math.isfinite(at) and 0 < bpm < math.inf


def parse(path: str | Path) -> NoteScore:
    """Read a MIDI file.

    Raises:
        UnreadableFile: it is no MIDI file, is malformed, holds no notes, or is beyond the limits of
            2 MB and two hours.
    """
    import mido  # type: ignore[import-untyped]
    import pretty_midi

    source = Path(path)
    raw = _bytes(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata on other tracks than the first
            parsed = mido.MidiFile(file=io.BytesIO(raw), clip=True)
            _check_limits(source, parsed)
            held = pretty_midi.PrettyMIDI(mido_object=parsed)
            tempos = tuple(
                (float(t), float(b)) for t, b in zip(*held.get_tempo_changes(), strict=True)
            )
            score = _score(source, held, tempos, b"\xff\x51\x03" in raw)
    except UnreadableFile:
        raise
    except Exception as error:  # whatever a parser of hostile bytes may raise
        raise UnreadableFile(
            f"{source} is not a MIDI file that can be read: it is damaged, or breaks the standard",
            hint="export it anew as a standard MIDI file",
        ) from error
    return score


def _score(
    path: Path, held: Any, tempos: tuple[tuple[float, float], ...], states_tempo: bool
) -> NoteScore:
    if not all(_is_tempo(*tempo) for tempo in tempos):
        raise UnreadableFile(f"{path} has a tempo of zero")
    keys, parts = held.key_signature_changes[:1], _parts(path, held)
    end_s = max(note.end_s for part in parts for note in part.notes)
    metre, downbeat_s = _main_metre(held.time_signature_changes, end_s)
    return NoteScore(
        parts=parts,
        tempos=tempos,
        states_tempo=states_tempo,
        key_number=int(keys[0].key_number) if keys else None,
        time_signature=metre,
        downbeat_s=downbeat_s,
    )


def _main_metre(changes: Sequence[Any], end_s: float) -> tuple[Signature | None, float]:
    """The time signature that holds longest, and when it begins first; see :class:`Score`."""
    held: dict[Signature, float] = {}
    begins: dict[Signature, float] = {}
    ends = [*(float(change.time) for change in changes[1:]), end_s]
    for i, (change, until_s) in enumerate(zip(changes, ends, strict=False)):
        # What no signature comes before is in the first one.
        start_s = float(change.time) if i else 0.0
        found = int(change.numerator), int(change.denominator)
        held[found] = held.get(found, 0.0) + max(0.0, min(until_s, end_s) - start_s)
        begins.setdefault(found, float(change.time))
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
    raw = path.read_bytes()
    if raw[:4] == b"RIFF" and (start := raw.find(b"MThd", 0, 64)) > 0:
        raw = raw[start:]
    if raw[:4] != b"MThd":
        raise UnreadableFile(f"{path} is not a MIDI file" if raw else f"{path} is empty")
    return raw


def _check_limits(path: Path, parsed: Any) -> None:
    """Refuse what would cost pretty_midi time or memory out of proportion to the file."""
    if parsed.ticks_per_beat <= 0:
        raise UnreadableFile(f"{path} counts time in film frames or not at all")
    if not parsed.tracks or not any(parsed.tracks):
        raise UnreadableFile(f"{path} holds no tracks")
    parsed.tracks = [track for track in parsed.tracks if track]
    if (messages := sum(map(len, parsed.tracks))) > MAX_MESSAGES:
        raise UnreadableFile(f"{path} holds {messages} events, more than {MAX_MESSAGES}")
    for track in parsed.tracks:
        tick = 0
        open_notes: dict[tuple[int, int], list[int]] = {}
        for message in track:
            tick += message.time
            if message.type not in ("note_on", "note_off"):
                continue
            place = (message.channel, message.note)
            started = open_notes.setdefault(place, [])
            if message.type == "note_on" and message.velocity > 0:
                started.append(tick)
                if len(started) > _MAX_OPEN_NOTES:
                    raise UnreadableFile(f"{path} starts note {place[1]} again without an end")
            else:  # pretty_midi ends all but those that start at this very tick
                open_notes[place] = [start for start in started if start == tick]
        if tick > _MAX_TICKS:
            raise UnreadableFile(f"{path} claims to be {tick} ticks long")


def _parts(path: Path, held: Any) -> tuple[ScorePart, ...]:
    parts = []
    for instrument in held.instruments:
        notes = sorted(
            (float(note.start), float(note.end), int(note.pitch), int(note.velocity))
            for note in instrument.notes
            if 0 <= note.pitch <= 127 and note.velocity > 0 and note.end > note.start >= 0
        )
        if notes:
            made = tuple(ScoreNote(*note) for note in notes)
            parts.append(ScorePart(int(instrument.program) % 128, bool(instrument.is_drum), made))
    if not parts:
        raise UnreadableFile(f"{path} holds no notes")
    end = max(note.end_s for part in parts for note in part.notes)
    if not (math.isfinite(end) and 0 < end <= MAX_DURATION_S):
        raise UnreadableFile(f"{path} is {end:.3g} s long, more than {MAX_DURATION_S:g} s")
    return tuple(parts)

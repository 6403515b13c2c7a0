"""MIDI scores as notes in seconds: hostile bytes in, checked data out.

What a small file can ask for in time and memory is limited before pretty_midi reads it.
"""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.domain.codec import Document, encode, json_form, read
from rag_audio.domain.music import Signature, is_signature
from rag_audio.errors import UnreadableFile
from rag_audio.resources import data_dir

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


# Whether one score holds the notes of another, in whatever tempo, key, place or direction.

STEPS_PER_BEAT = 12
"""Onsets are compared on a grid of sixteenths and triplets."""

LEAST_NOTES = 24
"""Fewer notes in common say nothing."""

LEAST_PITCHES = 5
"""Scores of fewer pitches are not compared backwards or at other note values: a riff of three notes
is then like too many others."""

_PITCHES = 128
_MAX_STEPS = 1 << 17
_MAX_SCALE, _SAME_SCALE = 4.0, 0.002
_TIE = 1e-6
"""What lies in the middle between two steps goes to the later one, whatever the arithmetic."""
_WORTH = 0.5
"""Changed note values count where one score has at least half as many notes as the other."""

Onsets = NDArray[np.int64]
"""``[N, 2]``: step and pitch of each note."""
Notes = NDArray[np.float64]
"""``[N, 3]``: start and end in beats, and pitch, of each note."""


def shared_notes(a: NoteScore, b: NoteScore) -> float:
    """Share of the smaller score's notes that stand in the other one, 0…1.

    Onsets count in beats, so that tempo does not matter; every shift in time and every
    transposition is tried. So are the notes backwards, from their starts or from their ends, and at
    the note values that make both scores equally long, where both have five pitches or more.
    Percussion counts only where a score has nothing else, and then the share is of the larger
    score: patterns of drums are common goods, whole performances are not. Fewer than
    :data:`LEAST_NOTES` notes in common are 0.
    """
    first, first_drums = _notes(a)
    second, second_drums = _notes(b)
    if first_drums != second_drums:
        return 0.0
    fixed, best = onsets(first), 0
    for notes in _forms(first, second, first_drums):
        best = _most_in_common(fixed, onsets(notes), first_drums, best)
    if best < LEAST_NOTES:
        return 0.0
    sizes = len(fixed), len(onsets(second))
    return min(1.0, best / (max if first_drums else min)(sizes))


def onsets(notes: Notes) -> Onsets:
    """Steps and pitches of notes, each once, in order."""
    steps = np.floor(notes[:, 0] * STEPS_PER_BEAT + 0.5 + _TIE).astype(np.int64)
    found = np.stack([steps, notes[:, 2].astype(np.int64)], axis=1)
    return np.asarray(np.unique(found, axis=0), dtype=np.int64)


def _notes(score: NoteScore) -> tuple[Notes, bool]:
    """The notes of a score; True when they are percussion."""
    pitched = [part for part in score.parts if not part.drum]
    found = [
        (_beats(score, note.start_s), _beats(score, note.end_s), note.pitch)
        for part in (pitched or list(score.parts))
        for note in part.notes
    ]
    return np.array(found, dtype=np.float64).reshape(-1, 3), not pitched


def _forms(a: Notes, b: Notes, drums: bool) -> Iterator[Notes]:
    """The ways in which ``b`` is looked for in ``a``."""
    yield b
    if drums or min(len(np.unique(notes[:, 2])) for notes in (a, b)) < LEAST_PITCHES:
        return
    start, end, pitch = b.T
    alike = min(len(a), len(b)) >= _WORTH * max(len(a), len(b))
    for starts, backwards in ((start, False), (-start, True), (-end, True)):
        length, other = float(np.ptp(a[:, 0])), float(np.ptp(starts))
        scale = length / other if min(length, other) > 0 else 1.0
        differs = abs(scale - 1.0) > _SAME_SCALE and 1 / _MAX_SCALE <= scale <= _MAX_SCALE
        for factor in [1.0] * backwards + [scale] * (alike and differs):
            # The first notes of both are at one place, so that both fall on the grid alike.
            moved = (starts - starts.min()) * factor + a[:, 0].min()
            yield np.stack([moved, moved, pitch], 1)


def _beats(score: NoteScore, at_s: float) -> float:
    """Beats from the start to a time, over the tempo map."""
    total = 0.0
    for (start, bpm), (end, _) in pairwise([*score.tempos, (float("inf"), 0.0)]):
        if at_s <= start:
            break
        total += (min(at_s, end) - start) * bpm / 60.0
    return total


def _most_in_common(a: Onsets, b: Onsets, as_they_are: bool, best: int) -> int:
    """The most notes that coincide, over all shifts in time and in pitch.

    Args:
        as_they_are: pitches are not shifted.
        best: what is known already: as much is returned where there is no more.
    """
    a, b = (notes - [notes[:, 0].min(), 0] for notes in (a, b))
    a, b = (notes[notes[:, 0] < _MAX_STEPS] for notes in (a, b))
    counts = [np.bincount(notes[:, 1], minlength=_PITCHES) for notes in (a, b)]
    shifts = [0] if as_they_are else list(range(1 - _PITCHES, _PITCHES))
    # No more notes can coincide than both scores have of a pitch.
    most = {shift: _in_common(counts[0], counts[1], shift) for shift in shifts}
    if max(most.values()) <= max(best, LEAST_NOTES - 1):
        return best
    size = 1 << (int(a[-1, 0] + b[:, 0].max())).bit_length()
    spectra = [_spectra(notes, size) for notes in (a, b)]
    for shift in sorted(shifts, key=lambda one: -most[one]):
        if most[shift] <= max(best, LEAST_NOTES - 1):
            break
        both = [pitch for pitch in spectra[0] if pitch + shift in spectra[1]]
        total = sum(spectra[0][p] * np.conj(spectra[1][p + shift]) for p in both)
        best = max(best, round(float(np.fft.irfft(np.asarray(total), size).max())))
    return best


def _in_common(a: NDArray[np.int_], b: NDArray[np.int_], shift: int) -> int:
    low, high = max(0, -shift), min(_PITCHES, _PITCHES - shift)
    return int(np.minimum(a[low:high], b[low + shift : high + shift]).sum())


def _spectra(notes: Onsets, size: int) -> dict[int, NDArray[np.complex128]]:
    """Of the onsets of each pitch, over ``size`` steps."""
    found = {}
    for pitch in np.unique(notes[:, 1]):
        row = np.zeros(size, dtype=np.float32)
        row[notes[notes[:, 1] == pitch, 0]] = 1.0
        found[int(pitch)] = np.fft.rfft(row)
    return found


# Which General MIDI instrument words speak of.

_NOT = re.compile(r"(?:\bno|\bnot|\bwithout)(?: an?| any| the)? (?:\w+ )?$")
_MIDDLES = {"low": 40, "deep": 52, "": 67, "high": 79}
"""The MIDI pitch about which instruments of a register play melodies."""


@cache
def _instruments() -> dict[str, tuple[re.Pattern[str], str]]:
    """Words for each instrument of General MIDI, and its register."""
    with (data_dir("soundfont") / "instruments.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["instrument"]: (
                re.compile(rf"(?<![\w-])(?:{row['words']})(?![\w-])"),
                row["register"],
            )
            for row in csv.DictReader(file)
        }


def instrument_in(text: str) -> str | None:
    """The General MIDI name of the instrument that a text names first; None where it names none.

    Of names that begin at the same word the longest counts ("electric piano" before "piano"). What
    follows "no" or "without" does not count.
    """
    lowered = " ".join(text.casefold().split())
    found = [
        (match.start(), -len(match.group()), name)
        for name, (pattern, _) in _instruments().items()
        for match in pattern.finditer(lowered)
        if _NOT.search(lowered[: match.start()]) is None
    ]
    return min(found)[2] if found else None


def first_instrument(texts: Iterable[str]) -> str | None:
    """The instrument of the first text that names one."""
    return next((name for text in texts if (name := instrument_in(text)) is not None), None)


def middle_of(instrument: str) -> int:
    """The MIDI pitch about which an instrument plays melodies."""
    known = _instruments().get(instrument)
    return _MIDDLES["" if known is None else known[1]]

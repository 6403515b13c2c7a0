"""What MIDI scores say of themselves, and their sound.

Pedal, velocities, programs, volume, expression and pan are played; pitch bends are not.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio.analysis import estimate_key, key_scores
from rag_audio.audio.dsp import spread_starts
from rag_audio.audio.score_playing import open_synthesizer, play_parts, ringing, with_kits
from rag_audio.audio.scores import MAX_DURATION_S, NoteScore, ScoreNote, ScorePart, parse
from rag_audio.domain import Audio, Key, Layer, Note
from rag_audio.domain.music import Signature, beat_s
from rag_audio.errors import InvalidInput

DRUMS = "Drums"
"""The name that stands for the percussion channel among a score's instruments."""

_TAIL_S = 1.0
_OPENING_BEATS = 4
_VELOCITY = 100


@dataclass(frozen=True)
class MidiInfo:
    """What a score says of itself, and what its notes tell.

    Attributes:
        duration_s: end of the last note.
        bpm: the tempo that holds for most of the time; its confidence is that share of the time,
            halved when the file states no tempo and the standard's 120 holds.
        tempo_changes: (seconds, bpm) of every tempo, the first at 0.
        key: from the key signature where the notes bear it out, else from the notes.
        time_signature: (beats, unit) of the one that holds longest; None: not stated, or none that
            is known. downbeat_s: where its first bar begins.
        instruments: General MIDI names by number of notes, ``Drums`` for the percussion channel.
        density_per_s: notes per second.
        notices: what was odd in the file; see :class:`.NoteScore`.
    """

    duration_s: float
    bpm: float
    bpm_confidence: float
    tempo_changes: tuple[tuple[float, float], ...]
    key: Key | None
    key_confidence: float
    time_signature: Signature | None
    downbeat_s: float
    instruments: tuple[str, ...]
    drums: bool
    density_per_s: float
    notes: int
    notices: tuple[str, ...] = ()


def read(path: str | Path) -> MidiInfo:
    """Read a score's tempo map, key, instruments and density.

    Raises:
        UnreadableFile: it is no MIDI file, is malformed, holds no notes, or is beyond the limits of
            2 MB and two hours.
    """
    score = parse(path)
    bpm, share = _main_tempo(score.tempos, score.end_s)
    key, key_confidence = _key(score, bpm)
    return MidiInfo(
        duration_s=score.end_s,
        bpm=round(bpm, 4),
        bpm_confidence=share if score.states_tempo else share / 2,
        tempo_changes=score.tempos,
        key=key,
        key_confidence=key_confidence,
        time_signature=score.time_signature,
        downbeat_s=score.downbeat_s,
        instruments=_instruments(score.parts),
        drums=any(part.drum for part in score.parts),
        density_per_s=score.notes / score.end_s,
        notes=score.notes,
        notices=score.notices,
    )


def render(
    path: str | Path | NoteScore,
    *,
    soundfont: Path | None = None,
    sample_rate: int = 44_100,
    start_s: float = 0.0,
    duration_s: float | None = None,
    tempo_ratio: float = 1.0,
    semitones: int = 0,
    instruments: tuple[str, ...] = (),
    layer: Layer | None = None,
) -> Audio:
    """Play a score, or the ``duration_s`` seconds of it from ``start_s``, in stereo.

    Times count in the score's own tempo; the result of a window is ``duration_s / tempo_ratio``
    long, that of a whole score ends a second after its last note. Percussion is never transposed.
    Levels are the soundfont's, brought down as a whole where they would clip.

    Args:
        path: a MIDI file, or the notes of one.
        soundfont: an SF2 or SF3 file; default: the package's own instruments.
        tempo_ratio: 1/8…8; above 1 is faster.
        instruments: General MIDI names that play in place of the score's own, the first for the
            part with most notes, the last for all that are left; percussion stays.
        semitones: -24…24; notes that leave the MIDI range move by octaves.
        layer: the percussion channel alone, or all but that; None plays all.

    Raises:
        UnreadableFile: as :func:`read`.
        InvalidInput: a value is out of range, or the score has no such layer.
        ConfigError: the soundfont is missing or broken.
    """
    _check_playing(sample_rate, duration_s, tempo_ratio, semitones)
    score, name = (
        (path, "the score") if isinstance(path, NoteScore) else (parse(path), Path(path).name)
    )
    parts = tuple(ringing(part) for part in _recast(score.parts, instruments))
    if layer is not None:
        parts = tuple(part for part in parts if part.drum == (layer is Layer.DRUMS))
        if not parts:
            raise InvalidInput(f"there is no {layer.value} in {name}")
    end = max(note.end_s for part in parts for note in part.notes)
    if not 0 <= start_s <= end:
        raise InvalidInput(f"{start_s:g} s is not within {name}, {end:.2f} s long")
    length = (end - start_s) / tempo_ratio + _TAIL_S
    if duration_s is not None:
        length = duration_s / tempo_ratio
    synthesizer = open_synthesizer(soundfont, sample_rate)
    parts = with_kits(parts, soundfont)
    return play_parts(parts, start_s, length, tempo_ratio, semitones, synthesizer, sample_rate)


def excerpts(
    score: NoteScore, window_s: float, most: int, *, soundfont: Path | None = None
) -> tuple[Audio, ...]:
    """A score played in stereo at 44.1 kHz, in at most ``most`` windows that are evenly spread over
    it: however long it is, no more is played.

    Raises:
        ConfigError: as :func:`render`.
    """
    length_s = score.end_s + _TAIL_S
    return tuple(
        render(score, soundfont=soundfont, start_s=start_s, duration_s=min(window_s, length_s))
        for start_s in spread_starts(length_s, window_s, most)
    )


def play_notes(
    notes: Iterable[Note],
    instrument: str,
    *,
    duration_s: float,
    soundfont: Path | None = None,
    sample_rate: int = 44_100,
) -> Audio:
    """Notes by one instrument, in stereo, ``duration_s`` long.

    Args:
        instrument: a General MIDI name. soundfont: as for :func:`render`.

    Raises:
        InvalidInput: there is no such instrument, or a value is out of range.
        ConfigError: the soundfont is missing or broken.
    """
    _check_playing(sample_rate, duration_s, 1.0, 0)
    (program,) = programs_of((instrument,))
    played = tuple(ScoreNote(n.start_s, n.end_s, n.pitch, _VELOCITY) for n in notes)
    part = ScorePart(program, False, played)
    synthesizer = open_synthesizer(soundfont, sample_rate)
    return play_parts((part,), 0.0, duration_s, 1.0, 0, synthesizer, sample_rate)


def _check_playing(
    sample_rate: int, duration_s: float | None, tempo_ratio: float, semitones: int
) -> None:
    if not 1 / 8 <= tempo_ratio <= 8:
        raise InvalidInput(f"tempo_ratio must be 1/8…8, got {tempo_ratio:g}")
    if abs(semitones) > 24:
        raise InvalidInput(f"semitones must be -24…24, got {semitones}")
    if not 8000 <= sample_rate <= 192_000:
        raise InvalidInput(f"sample_rate must be 8000…192000 Hz, got {sample_rate}")
    if duration_s is not None and not 0 < duration_s <= MAX_DURATION_S:
        raise InvalidInput(f"duration_s must be positive, got {duration_s:g}")


def _main_tempo(tempos: tuple[tuple[float, float], ...], duration: float) -> tuple[float, float]:
    """The tempo that holds longest, and its share of the duration."""
    held: dict[float, float] = defaultdict(float)
    ends = [*(start for start, _ in tempos[1:]), duration]
    for (start, bpm), end in zip(tempos, ends, strict=True):
        held[round(bpm, 2)] += max(0.0, min(end, duration) - start)
    rounded, seconds = max(held.items(), key=lambda item: item[1])
    exact = next(bpm for _, bpm in tempos if round(bpm, 2) == rounded)
    return exact, round(min(1.0, seconds / duration), 4)


def _key(score: NoteScore, bpm: float) -> tuple[Key | None, float]:
    """The key of the notes, or of the signature where that one has nearly the same notes.

    Many files carry an unmeant C major signature, and a minor key's is often written as that of its
    relative: a signature is believed only as far as the notes agree.
    """
    every, bass, opening = _histograms(score.parts, bpm)
    heard, confidence = estimate_key(every, bass, opening)
    if score.key_number is None:
        return heard, confidence
    stated = Key(score.key_number % 12, score.key_number >= 12)
    if heard is None:
        return stated, 0.3
    if stated == heard:
        return stated, 1.0
    if stated.relative() == heard:
        return (stated, 0.8) if stated.minor else (heard, max(confidence, 0.6))
    if stated in heard.neighbours() and stated.tonic != 0:
        return stated, 0.7
    return heard, confidence


def scores_of_keys(score: NoteScore, start_s: float, end_s: float) -> NDArray[np.float64]:
    """``[24]``: how far each key, twelve major, then twelve minor, is that of what sounds between
    two times of a score; zeros where nothing does. It may be another than that of the whole."""
    parts = [
        replace(
            part,
            notes=tuple(
                replace(note, start_s=max(note.start_s, start_s), end_s=min(note.end_s, end_s))
                for note in part.notes
                if note.start_s < end_s and note.end_s > start_s
            ),
        )
        for part in score.parts
    ]
    return key_scores(*_histograms(tuple(parts), score.tempos[0][1]))


def _histograms(parts: tuple[ScorePart, ...], bpm: float) -> tuple[Any, Any, Any]:
    """Seconds sounded by each pitch class: in all notes, in the lowest, in the lowest early on."""
    notes = sorted(
        (note for part in parts if not part.drum for note in part.notes),
        key=lambda note: (note.start_s, note.pitch),
    )
    every, bass, opening = np.zeros(12), np.zeros(12), np.zeros(12)
    opens_until = (notes[0].start_s if notes else 0.0) + _OPENING_BEATS * beat_s(bpm)
    previous = -math.inf
    for note in notes:
        seconds = min(note.end_s - note.start_s, 4.0)
        every[note.pitch % 12] += seconds
        if note.start_s > previous + 0.03:  # the lowest of those that start together
            bass[note.pitch % 12] += seconds * max(0.0, 1 - max(0, note.pitch - 48) / 24)
            if note.start_s < opens_until - 0.03:
                opening[note.pitch % 12] += seconds * max(0.0, 1 - max(0, note.pitch - 48) / 24)
            previous = note.start_s
    return every, bass, opening


def part_name(part: ScorePart) -> str:
    """The General MIDI name of a part's instrument; that of drums is ``Drums``."""
    import pretty_midi

    return DRUMS if part.drum else str(pretty_midi.program_to_instrument_name(part.program))


def _instruments(parts: tuple[ScorePart, ...]) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts[part_name(part)] += len(part.notes)
    return tuple(name for name, _ in counts.most_common())


def programs_of(instruments: tuple[str, ...]) -> tuple[int, ...]:
    """General MIDI programs, 0…127, by their names; case does not matter.

    Raises:
        InvalidInput: there is no such instrument.
    """
    import pretty_midi

    known = {pretty_midi.program_to_instrument_name(n).casefold(): n for n in range(128)}
    found = []
    for name in instruments:
        if name.strip().casefold() not in known:
            raise InvalidInput(
                f"{name!r} is not a General MIDI instrument",
                hint="such as Vibraphone, Acoustic Bass, String Ensemble 1",
            )
        found.append(known[name.strip().casefold()])
    return tuple(found)


def _recast(parts: tuple[ScorePart, ...], instruments: tuple[str, ...]) -> tuple[ScorePart, ...]:
    programs = programs_of(instruments)
    if not programs:
        return parts
    tuned = sorted((p for p in parts if not p.drum), key=lambda part: -len(part.notes))
    cast = {id(part): programs[min(n, len(programs) - 1)] for n, part in enumerate(tuned)}
    return tuple(replace(part, program=cast.get(id(part), part.program)) for part in parts)

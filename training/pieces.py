"""The composer: a seed becomes a piece of music and the facts about it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rag_audio.domain import Key
from rag_audio.domain.music import bar_s
from training import parts
from training.genres import GENRES, Genre
from training.grooves import GROOVES, WALTZES, play
from training.palette import DRUMS, TONES, Tone
from training.score import Event, Song, Voice, humanised, midi_bytes, swung
from training.theory import Scale

Split = Literal["train", "test"]
Rng = np.random.Generator

_SALT: dict[str, int] = {"train": 101, "test": 202}
_MODAL: dict[str, tuple[str, ...]] = {
    "dorian": ("i7 IV7", "i IV i VII", "i VII IV i"),
    "mixolydian": ("I VII IV I", "I VII", "I v VII I"),
    "phrygian": ("i II i VII", "i II"),
    "lydian": ("I II", "I II V I"),
}
_SHORT = (12, 13, 28, 45, 105, 107, 108)
"""Programs that die away within half a second."""
_MAX_BPM, _MIN_BPM = 180, 60


@dataclass(frozen=True)
class Facts:
    """The truth about a piece.

    Attributes:
        key: None for drums alone.
        mode: of the scale: major, minor, dorian…; empty for drums alone.
        time_signature: (beats of a bar, 4).
        instruments: plain names, in the order of the voices.
        families: their families, parallel to ``instruments``.
        programs: their General MIDI programs, parallel; -1 for drums.
        roles: their roles, parallel.
        kind: ``stem`` (one voice) or ``arrangement``.
        lead_family: of the one voice of a stem; of the most prominent voice of an arrangement.
        mood: a word that fits the genre.
    """

    bpm: float
    key: Key | None
    mode: str
    time_signature: tuple[int, int]
    genre: str
    instruments: tuple[str, ...]
    families: tuple[str, ...]
    programs: tuple[int, ...]
    roles: tuple[str, ...]
    drums: bool
    kind: Literal["stem", "arrangement"]
    lead_family: str
    mood: str


@dataclass(frozen=True)
class Piece:
    """A score with its facts; ``room`` and ``drive`` (0…1) are the genre's taste in effects."""

    seed: int
    song: Song
    facts: Facts
    room: float
    drive: float

    @property
    def midi(self) -> bytes:
        """As a standard MIDI file."""
        return midi_bytes(self.song)


@dataclass(frozen=True)
class _Frame:
    """What all voices of a piece share."""

    genre: Genre
    bpm: float
    beats: int
    bars: int
    plan: parts.Harmony
    rng: Rng


def compose(seed: int, split: Split = "train", min_s: float = 24.0) -> Piece:
    """The piece with this seed.

    Args:
        split: ``test`` draws from progressions and random streams that ``train`` never uses.
        min_s: least length of the piece in seconds.
    """
    rng = np.random.default_rng([seed, _SALT[split]])
    roles = _roles(rng)
    drums_only = roles == ("drums",)
    names = [n for n, g in GENRES.items() if g.grooves or "drums" not in roles]
    name = names[int(rng.integers(len(names)))]
    genre = GENRES[name]
    bpm = _tempo(genre, rng)
    beats = 3 if rng.random() < (0.35 if genre.waltz else 0.04) else 4
    bars = 4 * math.ceil(min_s / bar_s(bpm, (beats, 4)) / 4)
    scale, progression = _harmony(genre, split, rng)
    plan = parts.harmony(scale, progression, bars, beats)
    frame = _Frame(genre, bpm, beats, bars, plan, rng)
    voices = tuple(_voice(role, frame, stem=len(roles) == 1) for role in roles)
    song = Song(f"{name} {seed}", bpm, None if drums_only else scale, bars, voices, beats)
    return Piece(seed, song, _facts(song, name, roles, rng), genre.room, genre.drive)


def _roles(rng: Rng) -> tuple[str, ...]:
    """A fifth drums alone, nearly a third other stems, half arrangements of two to five voices."""
    draw = rng.random()
    if draw < 0.20:
        return ("drums",)
    if draw < 0.50:
        return (
            ("bass", "chords", "arpeggio", "melody")[int(rng.choice(4, p=(0.2, 0.3, 0.2, 0.3)))],
        )
    chances = {"drums": 0.75, "bass": 0.75, "chords": 0.8, "arpeggio": 0.35, "melody": 0.55}
    while True:
        chosen = tuple(role for role, chance in chances.items() if rng.random() < chance)
        if len(chosen) >= 2 and chosen != ("drums", "bass", "chords", "arpeggio", "melody"):
            return chosen


def _tempo(genre: Genre, rng: Rng) -> float:
    low, high = genre.tempo if rng.random() < 0.75 else (_MIN_BPM, _MAX_BPM)
    return float(np.clip(int(rng.integers(low, high + 1)), _MIN_BPM, _MAX_BPM))


def _held_out(options: Sequence[str], split: Split) -> list[str]:
    """One progression of each list belongs to the test split, the others to training."""
    ordered = sorted(options, key=lambda text: zlib.crc32(text.encode()))
    return ordered[:1] if split == "test" else ordered[1:]


def _harmony(genre: Genre, split: Split, rng: Rng) -> tuple[Scale, tuple[str, ...]]:
    tonic = int(rng.integers(12))
    if rng.random() < 0.05:
        mode = list(_MODAL)[int(rng.integers(len(_MODAL)))]
        options: Sequence[str] = _MODAL[mode]
    else:
        mode = "minor" if rng.random() < genre.minor_share else "major"
        options = genre.minor if mode == "minor" else genre.major
    usable = _held_out(options, split)
    progression = usable[int(rng.integers(len(usable)))].split()
    if len(progression) == 2 and rng.random() < 0.5:
        progression = [roman for roman in progression for _ in range(2)]
    if len(progression) == 4 and rng.random() < 0.75:
        progression = _period(progression, mode, rng)
    return Scale(tonic, mode), tuple(progression)


def _period(progression: list[str], mode: str, rng: Rng) -> list[str]:
    """Four bars and an answer that closes: the second time it ends on dominant and tonic."""
    first = progression[0]
    minor = mode in ("minor", "dorian", "phrygian")
    tonic = first if first.rstrip("maj79d") in ("I", "i") else "i" if minor else "I"
    dominants = ("V", "v", "VII") if minor else ("V", "V7", "IV")
    return [*progression, *progression[:2], dominants[int(rng.integers(3))], tonic]


def _choose(options: Sequence[str] | Sequence[int], rng: Rng) -> str | int:
    return options[int(rng.integers(len(options)))]


def _voice(role: str, frame: _Frame, *, stem: bool) -> Voice:
    genre, rng = frame.genre, frame.rng
    if role == "drums":
        events: Sequence[Event] = _drums(frame)
        tone = None
    else:
        tone = _tone(role, genre, rng, stem=stem)
        events = [_within(e, tone) for e in _line(role, tone, frame, stem=stem)]
    if genre.swing != 0.5:
        events = swung(events, genre.swing, genre.swing_unit)
    events = humanised(events, rng, frame.bpm, float(rng.uniform(0.0, 0.008)))
    spread = {"drums": 0.0, "bass": 0.05}.get(role, 0.4)
    pan = 0.0 if stem else float(np.clip(rng.normal(0, spread), -0.7, 0.7))
    return Voice(role, tone.program if tone else 0, tuple(events), pan)


def _drums(frame: _Frame) -> list[Event]:
    rng = frame.rng
    names = sorted(WALTZES) if frame.beats == 3 else frame.genre.grooves
    groove = dict((WALTZES if frame.beats == 3 else GROOVES)[str(_choose(names, rng))])
    if len(groove) > 3 and rng.random() < 0.25:  # thinner, now and then
        groove.pop(list(groove)[int(rng.integers(1, len(groove)))])
    every = int(rng.choice([0, 4, 4, 8]))
    return play(groove, frame.bars, rng, beats=frame.beats, fill_every=every,
                crash=bool(rng.random() < 0.6))  # fmt: skip


_ROLE_FAMILIES = {
    "chords": ("piano", "electric piano", "organ", "guitar", "strings", "voice", "brass",
               "synth pad", "plucked"),
    "arpeggio": ("piano", "electric piano", "mallet", "guitar", "plucked", "synth lead", "strings",
                 "organ", "synth pad"),
    "melody": ("piano", "electric piano", "mallet", "organ", "guitar", "plucked", "strings",
               "voice", "brass", "reed", "pipe", "synth lead"),
    "bass": ("bass",),
}  # fmt: skip


def _tone(role: str, genre: Genre, rng: Rng, *, stem: bool) -> Tone:
    """The genre's own instrument, or (more often for stems) any that suits the role."""
    usual = {
        "bass": genre.basses, "chords": genre.chords, "arpeggio": genre.arps, "melody": genre.leads
    }[role][1]  # fmt: skip
    if rng.random() < (0.35 if stem else 0.75):
        return TONES[int(_choose(usual, rng))]
    families = _ROLE_FAMILIES[role]
    family = families[int(rng.integers(len(families)))]
    options = [t for t in TONES.values() if t.family == family and _suits(t, role)]
    return options[int(rng.integers(len(options)))]


def _suits(tone: Tone, role: str) -> bool:
    if role == "chords":
        return tone.low <= 55 and tone.program not in (28, 42, 57, 70, 105)
    if role == "arpeggio":
        return tone.program not in (42, 49)
    return True


def _line(role: str, tone: Tone, frame: _Frame, *, stem: bool) -> list[Event]:
    """The notes of a pitched voice."""
    genre, rng, plan = frame.genre, frame.rng, frame.plan
    waltz = frame.beats == 3
    writers: dict[str, Callable[[], list[Event]]] = {
        "bass": lambda: parts.bass(
            plan, "root fifth" if waltz else str(_choose(genre.basses[0], rng)), rng, 28
        ),
        "chords": lambda: parts.chords(
            plan,
            _chord_rhythm(tone, frame),
            float(np.clip(62 + rng.normal(0, 3), tone.low + 8, tone.high - 8)),
            strum=0.03 if tone.family == "guitar" else 0.0,
            power=tone.program in (29, 30),
        ),
        "arpeggio": lambda: parts.arpeggio(
            plan,
            str(_choose(genre.arps[0], rng)),
            0.25 if frame.bpm < 132 and rng.random() < 0.45 else 0.5,
            float(np.clip(67 + rng.normal(0, 4), tone.low + 8, tone.high - 8)),
            float(rng.choice([0.5, 0.9, 1.0])),
        ),
        "melody": lambda: parts.melody(
            plan,
            rng,
            manner=_manner(tone, genre, rng, stem=stem),
            centre=float(np.clip(tone.centre + rng.normal(0, 3), tone.low + 7, tone.high - 7)),
            rests=0.05 if stem else 0.12,
        ),
    }
    return writers[role]()


def _manner(tone: Tone, genre: Genre, rng: Rng, *, stem: bool) -> str:
    """Alone, tones that die away at once must be struck often enough to be heard."""
    manner = str(_choose(genre.leads[0], rng))
    if not stem or tone.sustains:
        return manner
    return "busy" if tone.program in _SHORT else "flowing" if manner == "calm" else manner


def _chord_rhythm(tone: Tone, frame: _Frame) -> str:
    """Sustained tones may hold; struck ones are struck again before they have died away."""
    rng = frame.rng
    if frame.beats == 3:
        return "waltz" if rng.random() < 0.6 else "held"
    rhythm = str(_choose(frame.genre.chords[0], rng))
    if tone.sustains and rng.random() < 0.4:
        return "held" if rng.random() < 0.6 else "halves"
    if not tone.sustains and rhythm == "held":
        return "halves" if rng.random() < 0.5 else "quarters"
    return rhythm


def _within(event: Event, tone: Tone) -> Event:
    pitch = event.pitch
    while pitch < tone.low:
        pitch += 12
    while pitch > tone.high + 2:
        pitch -= 12
    return event if pitch == event.pitch else replace(event, pitch=pitch)


def _facts(song: Song, genre: str, roles: tuple[str, ...], rng: Rng) -> Facts:
    tones = [None if voice.drum else TONES[voice.program] for voice in song.voices]
    names = tuple(t.names[0] if t else DRUMS for t in tones)
    families = tuple(t.family if t else DRUMS for t in tones)
    prominent = next((r for r in ("melody", "chords", "arpeggio", "bass") if r in roles), "drums")
    moods = GENRES[genre].moods
    return Facts(
        bpm=song.bpm,
        key=song.scale.key if song.scale else None,
        mode=song.scale.mode if song.scale else "",
        time_signature=(song.beats, 4),
        genre=genre,
        instruments=names,
        families=families,
        programs=tuple(t.program if t else -1 for t in tones),
        roles=roles,
        drums="drums" in roles,
        kind="stem" if len(roles) == 1 else "arrangement",
        lead_family=families[roles.index(prominent)],
        mood=moods[int(rng.integers(len(moods)))],
    )

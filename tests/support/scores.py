"""Small scores whose tempo and key are known, for the tests to read, play and measure."""

from __future__ import annotations

from pathlib import Path

import pretty_midi

from rag_audio.domain import Key

_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_PIANO, _BASS = 0, 33


def write_score(
    path: Path,
    bpm: float = 100.0,
    key: Key | None = None,
    *,
    bars: int = 6,
    drums: bool = True,
    pitched: bool = True,
    signature: int | None = None,
) -> Path:
    """I-IV-V-I on piano over bass roots, a rock beat below; 4/4."""
    tonal = key or Key(0, False)
    score = pretty_midi.PrettyMIDI(initial_tempo=bpm, resolution=480)
    if signature is not None:
        score.key_signature_changes.append(pretty_midi.KeySignature(signature, 0.0))
    if pitched:
        score.instruments += _harmony(tonal, 60 / bpm, bars)
    if drums:
        score.instruments.append(_rock(60 / bpm, bars))
    score.write(str(path))
    return path


def _harmony(key: Key, beat: float, bars: int) -> list[pretty_midi.Instrument]:
    scale = _MINOR if key.minor else _MAJOR
    piano, bass = pretty_midi.Instrument(_PIANO), pretty_midi.Instrument(_BASS)
    for bar in range(bars):
        root = (0, 3, 4, 0)[bar % 4]
        for quarter in range(4):
            start = (bar * 4 + quarter) * beat
            for step in (0, 2, 4):
                degree = root + step
                pitch = 60 + key.tonic + scale[degree % 7] + 12 * (degree // 7)
                # In minor the dominant has its leading note.
                pitch += int(key.minor and root == 4 and step == 2)
                piano.notes.append(pretty_midi.Note(80, pitch, start, start + 0.9 * beat))
            low = 36 + key.tonic + scale[root]
            bass.notes.append(pretty_midi.Note(95, low, start, start + 0.8 * beat))
    return [piano, bass]


def _rock(beat: float, bars: int) -> pretty_midi.Instrument:
    kit = pretty_midi.Instrument(0, is_drum=True)
    for bar in range(bars):
        for eighth in range(8):
            start = (bar * 4 + eighth / 2) * beat
            hits = [42] + ([36] if eighth in (0, 4, 5) else []) + ([38] if eighth in (2, 6) else [])
            kit.notes += [pretty_midi.Note(95, hit, start, start + 0.1) for hit in hits]
    return kit

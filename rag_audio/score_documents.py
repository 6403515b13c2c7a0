"""Scores as JSON, so that a file is parsed in one process and used in another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rag_audio.scores import MAX_DURATION_S, Score, ScoreNote, ScorePart


def score_to_json(score: Score) -> dict[str, Any]:
    """Every note, tempo and signature; :func:`score_from_json` gives the same score again."""
    return {
        "parts": [
            {
                "program": part.program,
                "drum": part.drum,
                "notes": [[n.start_s, n.end_s, n.pitch, n.velocity] for n in part.notes],
            }
            for part in score.parts
        ],
        "tempos": [list(tempo) for tempo in score.tempos],
        "states_tempo": score.states_tempo,
        "key_number": score.key_number,
        "time_signature": None if score.time_signature is None else list(score.time_signature),
        "downbeat_s": score.downbeat_s,
    }


def score_from_json(document: Mapping[str, Any]) -> Score:
    """The score in a document.

    Raises:
        ValueError, TypeError, KeyError: it is none, or a value is out of range.
    """
    parts = tuple(_part(part) for part in document["parts"])
    tempos = tuple((float(at), float(bpm)) for at, bpm in document["tempos"])
    if not parts or not tempos or not all(_is_tempo(*tempo) for tempo in tempos):
        raise ValueError("a score has notes and a tempo")
    key, time = document["key_number"], document["time_signature"]
    if key is not None and not 0 <= int(key) < 24:
        raise ValueError(f"there is no key {key}")
    return Score(
        parts,
        tempos,
        bool(document["states_tempo"]),
        None if key is None else int(key),
        None if time is None else (int(time[0]), int(time[1])),
        float(document.get("downbeat_s", 0.0)),
    )


def _part(document: Mapping[str, Any]) -> ScorePart:
    notes = tuple(_note(*note) for note in document["notes"])
    program = int(document["program"])
    if not notes or not 0 <= program <= 127:
        raise ValueError("a part has notes and a program of 0…127")
    return ScorePart(program, bool(document["drum"]), notes)


def _note(start_s: Any, end_s: Any, pitch: Any, velocity: Any) -> ScoreNote:
    note = ScoreNote(float(start_s), float(end_s), int(pitch), int(velocity))
    in_range = 0 <= note.pitch <= 127 and 0 < note.velocity <= 127
    if not (in_range and 0 <= note.start_s < note.end_s <= MAX_DURATION_S):
        raise ValueError(f"{note} is no note")
    return note


def _is_tempo(at: float, bpm: float) -> bool:
    return math.isfinite(at) and 0 < bpm < math.inf

"""Tempo, key and sample type of a file, of which several places speak: which of them counts.

``stems.csv`` comes first, then the file's own tags. Between the file's name and the measurement the
one of higher confidence counts; where they agree, the name does, as the exact one of the two, and
with more confidence. What a score is played at is not guessed from its name. A one-shot has no
tempo, whatever is measured of it or said by names of folders; a loop has that of its length.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from indexer.licenses import Declared
from indexer.measure import MeasuredFile
from indexer.name_hints import CONFIRMED, hints_of, same_notes, same_tempo
from indexer.sample_types import sample_type_of, type_hint
from indexer.stems_csv import Metadata
from rag_audio.domain import Key, SampleType, StemKind

DECLARED_CONFIDENCE = 1.0
TAG_CONFIDENCE = 0.9
"""File tags are written by people or by their programs: below declared, above measured."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class MusicalFacts:
    """What is taken to be true of a file.

    Attributes:
        bpm_confidence, key_confidence: 0…1, how probable it is that they are right.
        sample_type: None where it was not measured.
        notices: where the file's name says something else, one line each.
    """

    bpm: float | None
    bpm_confidence: float
    key: Key | None
    key_confidence: float
    sample_type: SampleType | None = None
    notices: tuple[str, ...] = ()


def facts_of(path: str, declared: Metadata, measured: MeasuredFile) -> MusicalFacts:
    """Tempo, key and sample type of a file.

    Args:
        path: POSIX path below the library's root, whose names may hint at them.
        declared: what ``stems.csv`` says.
    """
    named, tags = hints_of(path), measured.tags
    by_score = measured.kind is StemKind.MIDI
    sample_type = sample_type_of(measured, named.sample_type)
    guessed = sample_type is not SampleType.ONE_SHOT
    bpm, key = (
        _choice(
            _Sources(
                declared.bpm,
                tags.bpm,
                _said(named.bpm, named.bpm_confidence) if guessed else None,
                _tempo(measured, sample_type, type_hint(named.sample_type)) if guessed else None,
            ),
            same_tempo,
            lambda bpm: f"{bpm:g} bpm",
            played="the score" if by_score else None,
        ),
        _choice(
            _Sources(
                declared.key,
                tags.key,
                _said(named.key, named.key_confidence),
                _said(measured.key, measured.key_confidence),
            ),
            same_notes,
            str,
        ),
    )
    return MusicalFacts(
        bpm.value,
        bpm.confidence,
        key.value,
        key.confidence,
        sample_type,
        (*bpm.notices, *key.notices),
    )


def _tempo(
    measured: MeasuredFile, sample_type: SampleType | None, hint: float
) -> tuple[float, float] | None:
    """The measured tempo and its confidence: of a loop that of its length, else the tracked one.

    A loop of n beats stays one of n beats after rounding.
    """
    loop = None if measured.rhythm is None else measured.rhythm.loop
    if loop is not None and sample_type is SampleType.LOOP:
        return round(loop.bpm, 4), round(loop.share * loop.probability(hint), 3)
    return _said(measured.bpm, measured.bpm_confidence)


def basis_of(path: str, declared: Declared) -> str:
    """A hash of what is known of a file without reading it: a new one makes it measured anew.

    That is what is declared, and what its name says of tempo and key where nothing is declared, and
    of the sample type.
    """
    named = hints_of(path)
    hints = (
        None if declared.bpm is not None else named.bpm and (named.bpm, named.bpm_confidence),
        None if declared.key is not None else named.key and (str(named.key), named.key_confidence),
    )
    types = () if named.sample_type is None else (named.sample_type.value,)
    if hints == (None, None) and not types:
        return declared.digest
    return hashlib.sha256(json.dumps([declared.digest, *hints, *types]).encode()).hexdigest()


@dataclass(frozen=True)
class _Sources(Generic[_Value]):
    """What each place says; those that guess, with their confidence."""

    declared: _Value | None
    tagged: _Value | None
    named: tuple[_Value, float] | None
    measured: tuple[_Value, float] | None


@dataclass(frozen=True)
class _Choice(Generic[_Value]):
    value: _Value | None
    confidence: float
    notices: tuple[str, ...] = ()


def _said(value: _Value | None, confidence: float) -> tuple[_Value, float] | None:
    return None if value is None else (value, confidence)


def _choice(
    of: _Sources[_Value],
    same: Callable[[_Value, _Value], bool],
    shown: Callable[[_Value], str],
    played: str | None = None,
) -> _Choice[_Value]:
    """Which value counts.

    Args:
        same: whether two values agree. shown: a value in words.
        played: what the measurement is where no name can overrule it.
    """
    if of.declared is not None:
        return _Choice(of.declared, DECLARED_CONFIDENCE)
    tagged = None if of.tagged is None else (of.tagged, TAG_CONFIDENCE)
    told = tagged or of.measured
    if told is None or of.named is None:
        return _Choice(*(told or of.named or (None, 0.0)))
    value, confidence = told
    agrees = same(of.named[0], value)
    if tagged is None and agrees:
        return _Choice(value if played else of.named[0], max(CONFIRMED, confidence))
    if tagged is None and played is None and confidence <= of.named[1]:
        return _Choice(*of.named)
    source = "its tag" if tagged else played or "the measurement"
    counts = source.replace("its", "the")
    odd = f"its name says {shown(of.named[0])}, {source} {shown(value)}: {counts} counts"
    return _Choice(value, confidence, () if agrees else (odd,))

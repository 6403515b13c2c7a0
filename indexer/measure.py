"""Measure one file: hash, kind, tags, tempo, key and loudness, and its sound.

This is what the decoding processes do. Every number is rounded, so that it survives any store and
two runs can be compared exactly.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tinytag import TinyTag, TinyTagException

from indexer.file_jobs import CHANGED, FileJob, at_hand
from indexer.long_sounds import LongSound, SpooledSound, listen
from indexer.stems_csv import Metadata
from indexer.table_cells import parse_bpm
from rag_audio.audio.confidence import key_confidence, tempo_confidence
from rag_audio.audio.dsp import loudness_lufs as audio_loudness_lufs
from rag_audio.audio.dsp import resample
from rag_audio.audio.headers import HEAD_BYTES, SCORE, suffix_of
from rag_audio.audio.layouts import ChannelLayout
from rag_audio.domain import Audio, Key, StemKind
from rag_audio.domain.identifiers import parse_isrc
from rag_audio.domain.landmarks import Landmarks
from rag_audio.domain.songs import song_file, song_id
from rag_audio.errors import InvalidInput, RagAudioError, UnreadableFile
from rag_audio.storage.blobs import BlobMissing

if TYPE_CHECKING:
    from rag_audio.audio.loops import Rhythm

Render = Callable[[Path], Audio]
"""Makes the sound of a MIDI file."""

_LONGEST_SCORE_S = 3600.0
"""A score is rendered in memory."""
MEASURED_BY = 1
"""Version of the measurements: what is measured or derived otherwise than before raises it.

Rows remember it; ``refresh`` measures files of a lower one anew.
"""
MIN_DURATION_S = 0.01
"""What is shorter has no tempo, no key and, at a low rate, not a single sample."""


@dataclass(frozen=True)
class MeasureJob(FileJob):
    """A file to measure.

    Attributes:
        size, mtime_ns: as the scan saw them; no time: a copy, which stays as it is.
        sample_rate: Hz that the embedder wants.
        max_duration_s: longer ones are refused; scores of more than an hour are in any case.
        spool: folder for the sound of long files, None: the system's for temporary ones.
        known: id of the stem that lay here in the last run.
        unchanged: nothing needs to be done when the bytes are still those of ``known``.
        embedded: the sound is not needed when the bytes are still those of ``known``.
        landmarked: landmarks are not needed when the bytes are still those of ``known``.
        refresh: an unchanged file is measured anew, and stays as it is where it cannot be.
        tempo, key, sample_type: whether they are estimated of sound, where its tags do not say
            them; else they are unknown.
        is_named_loop: its name says that it is a loop, and its tempo is declared, so that nothing
            is left to estimate of a loop.
    """

    size: int
    mtime_ns: int | None
    sample_rate: int
    max_duration_s: float
    known: str | None = None
    unchanged: bool = False
    embedded: bool = False
    landmarked: bool = False
    refresh: bool = False
    spool: Path | None = None
    tempo: bool = True
    key: bool = True
    sample_type: bool = True
    is_named_loop: bool = False


@dataclass(frozen=True, eq=False)
class Unchanged:
    """The file still holds the bytes of the last run.

    Attributes:
        landmarks: of its sound; None where they were not needed, or cannot be made.
        unheard: why they, or measurements that were asked for, cannot be made; empty where that
            is not so.
    """

    landmarks: Landmarks | None = None
    unheard: str = ""


@dataclass(frozen=True)
class Refused:
    """The file cannot be indexed; one line says why."""

    reason: str


@dataclass(frozen=True, eq=False)
class MeasuredFile:
    """What was found out about a file.

    Attributes:
        stem: sha256 of its bytes.
        tags: what the file says of itself (ID3, Vorbis comments): it fills gaps, grants nothing.
        sound: ``[1, T]`` at the embedder's rate, on disk where it is long; None where it was not
            needed.
        landmarks: of all that is heard in its channels; None where they were not needed.
        bpm: of a score as it says, of a recording as tracked.
        *_confidence: 0…1, how probable it is that they are right.
        rhythm: of a recording of less than 30 s: its onsets, and its fit as a loop.
        notices: what was cut or odd in the file, one line each, without its name.
        vectors: of its windows, ``[W, D]``, where they were made with the rest; the sound is then
            None.
        is_partial: something was not estimated that could have been: whoever measures the file
            again finds more.
    """

    stem: str
    kind: StemKind
    duration_s: float
    bpm: float | None
    bpm_confidence: float
    key: Key | None
    key_confidence: float
    loudness_lufs: float | None
    sound: Audio | SpooledSound | None
    landmarks: Landmarks | None = None
    instruments: tuple[str, ...] = ()
    time_signature: tuple[int, int] | None = None
    downbeat_s: float | None = None
    rhythm: Rhythm | None = None
    tags: Metadata = field(default_factory=Metadata)
    notices: tuple[str, ...] = ()
    vectors: NDArray[np.float32] | None = None
    is_partial: bool = False


Outcome = MeasuredFile | Unchanged | Refused


def measure(job: MeasureJob, render: Render) -> Outcome:
    """Look at one file.

    Raises:
        BackendUnavailable: it is an object that cannot be fetched now.
    """
    try:
        with at_hand(job) as (here, copy):
            if not copy.version:
                return _measure(here, render)
            if (copy.size, copy.state) != (job.size, job.mtime_ns):
                return Refused(CHANGED)
            return _measure(replace(here, mtime_ns=None), render)
    except BlobMissing as fault:
        return Refused(fault.message)


def _measure(job: MeasureJob, render: Render) -> Outcome:
    try:
        stem, midi = _hash(job)
        if stem == job.known and job.unchanged:
            if job.refresh:
                return _measured_again(job, stem, midi, render)
            return Unchanged() if job.landmarked else _heard_again(job, midi, render)
        return _measured(job, stem, midi, render)
    except RagAudioError as fault:
        return Refused(job.told(fault.message))
    except OSError as fault:
        return Refused(f"it cannot be read: {fault.strerror or fault}")


def _measured(job: MeasureJob, stem: str, midi: bool, render: Render) -> Outcome:
    wants_sound = not (job.embedded and stem == job.known)
    return _midi(job, stem, render, wants_sound) if midi else _audio(job, stem, wants_sound)


def _measured_again(job: MeasureJob, stem: str, midi: bool, render: Render) -> Outcome:
    """The same bytes, for the sake of what this version measures."""
    try:
        outcome = _measured(job, stem, midi, render)
    except RagAudioError as fault:
        return Unchanged(unheard=job.told(fault.message))
    return Unchanged(unheard=outcome.reason) if isinstance(outcome, Refused) else outcome


def _hash(job: MeasureJob) -> tuple[str, bool]:
    """The sha256 of the file's bytes, and whether they begin like a MIDI file."""
    # Without O_NONBLOCK a pipe that took the file's place since the scan would hang us.
    path, song = song_file(job.path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        stem = song_id(hashlib.file_digest(file, "sha256").hexdigest(), song)
        status = os.fstat(file.fileno())
    if job.mtime_ns is not None and (status.st_size, status.st_mtime_ns) != (
        job.size,
        job.mtime_ns,
    ):
        raise UnreadableFile(CHANGED)
    return stem, suffix_of(head) == SCORE


def _audio(job: MeasureJob, stem: str, wants_sound: bool) -> Outcome:
    from rag_audio.audio import analysis
    from rag_audio.audio.loops import LONGEST_LOOP_S, SHORTEST_LOOP_S, find_rhythm

    tags = _read_tags(job.path)
    estimated = {"tempo": job.tempo and tags.bpm is None, "key": job.key and tags.key is None}
    wants_landmarks = not (job.landmarked and stem == job.known)
    heard = listen(
        job.path,
        max_duration_s=job.max_duration_s,
        spool_hz=job.sample_rate if wants_sound else None,
        folder=job.spool,
        landmarks=wants_landmarks,
        **estimated,
    )
    if isinstance(heard, LongSound):
        return _long_audio(job, stem, heard, tags)
    sound = heard.audio
    _check_length(sound.duration_s)
    found = analysis.analyse(sound, heard.layout, **estimated)
    if found.silent:
        return Refused("it is silent")
    is_loop = job.is_named_loop and sound.duration_s >= SHORTEST_LOOP_S
    wants_rhythm = job.sample_type and sound.duration_s < LONGEST_LOOP_S and not is_loop
    return MeasuredFile(
        stem=stem,
        kind=StemKind.AUDIO,
        duration_s=round(sound.duration_s, 6),
        bpm=_rounded(found.bpm),
        bpm_confidence=round(tempo_confidence(found.bpm, found.bpm_confidence), 3),
        key=found.key,
        key_confidence=round(key_confidence(found.key_confidence, sound.duration_s), 3),
        loudness_lufs=_rounded(found.loudness_lufs),
        sound=for_embedder(sound, job.sample_rate, heard.layout) if wants_sound else None,
        landmarks=landmarks_of(sound, heard.layout) if wants_landmarks else None,
        rhythm=find_rhythm(sound, heard.layout) if wants_rhythm else None,
        tags=tags,
        notices=(*heard.notices, *_uncounted(sound, heard.layout, found.loudness_lufs)),
        is_partial=not job.sample_type,
    )


def _long_audio(job: MeasureJob, stem: str, made: LongSound, tags: Metadata) -> Outcome:
    found, duration_s = made.found, made.poured.duration_s
    try:
        _check_length(duration_s)
        refused = Refused("it is silent") if found.silent else None
    except UnreadableFile as fault:
        refused = Refused(fault.message)
    if refused is not None:
        if made.spooled is not None:
            made.spooled.discard()
        return refused
    return MeasuredFile(
        stem=stem,
        kind=StemKind.AUDIO,
        duration_s=round(duration_s, 6),
        bpm=_rounded(found.bpm),
        bpm_confidence=round(tempo_confidence(found.bpm, found.bpm_confidence), 3),
        key=found.key,
        key_confidence=round(key_confidence(found.key_confidence, duration_s), 3),
        loudness_lufs=_rounded(found.loudness_lufs),
        sound=made.spooled,
        landmarks=made.landmarks,
        tags=tags,
        notices=(*made.poured.notices, *([_ONLY_LOW] if made.is_only_low else [])),
        is_partial=not job.sample_type,
    )


_ONLY_LOW = (
    "it sounds in the low-frequency (LFE) channel alone, which does not count in loudness "
    "(ITU-R BS.1770), so that it has no loudness"
)


def _uncounted(sound: Audio, layout: ChannelLayout | None, loudness: float) -> list[str]:
    """A notice where sound that is there does not count in loudness."""
    low = () if layout is None or math.isfinite(loudness) else layout.low_frequency
    return [_ONLY_LOW] if low and sound.samples[list(low)].any() else []


_MAX_TEXT = 300
# What damaged tags raise, beside the reader's own exception.
_DAMAGED = (
    TinyTagException,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)


def _read_tags(path: Path) -> Metadata:
    """The tags of a sound file; what is missing, damaged or out of range is empty."""
    try:
        tags: Any = TinyTag.get(path, duration=False)
    except _DAMAGED:
        return Metadata()
    said: dict[str, Any] = {"title": _words(tags.title), "artist": _words(tags.artist)}
    for name, tag, parse in (
        ("bpm", "bpm", parse_bpm),
        ("key", "initial_key", Key.parse),
        ("isrc", "isrc", parse_isrc),
    ):
        text = _words(tags.other.get(tag))
        with suppress(InvalidInput):
            if text:
                said[name] = parse(text)
    return Metadata(**said)


def _words(value: object) -> str:
    """The first of several values, printable and short."""
    text = value[0] if isinstance(value, list) and value else value
    if not isinstance(text, str | int | float):
        return ""
    words = " ".join("".join(sign for sign in str(text) if sign.isprintable()).split())
    return words[:_MAX_TEXT]


def _midi(job: MeasureJob, stem: str, render: Render, wants_sound: bool) -> Outcome:
    from rag_audio.audio import midi

    info = midi.read(job.path)
    longest_s = min(job.max_duration_s, _LONGEST_SCORE_S)
    if info.duration_s > longest_s:
        raise UnreadableFile(f"it is {info.duration_s:.0f} s long, over {longest_s:g} s")
    _check_length(info.duration_s)
    file, song = song_file(job.path)
    sound = render(job.path)
    _check_length(sound.duration_s)
    loudness = audio_loudness_lufs(sound)
    if not sound.frames or not sound.samples.any():
        return Refused("it is silent")
    return MeasuredFile(
        stem=stem,
        kind=StemKind.MIDI,
        duration_s=round(min(info.duration_s, sound.duration_s), 6),
        bpm=_rounded(info.bpm),
        bpm_confidence=round(info.bpm_confidence, 3),
        key=info.key,
        key_confidence=round(info.key_confidence, 3),
        loudness_lufs=_rounded(loudness),
        sound=for_embedder(sound, job.sample_rate) if wants_sound else None,
        landmarks=None if job.landmarked and stem == job.known else landmarks_of(sound),
        instruments=_instruments(info.instruments, info.drums),
        time_signature=info.time_signature,
        downbeat_s=info.downbeat_s or None,
        tags=Metadata(title=f"{file.stem} (song {song})") if song > 1 else Metadata(),
        notices=info.notices,
    )


def _heard_again(job: MeasureJob, midi: bool, render: Render) -> Unchanged:
    """What a run of before did not make: the file stays as it is indexed, whatever comes of it."""

    try:
        if midi:
            return Unchanged(landmarks_of(render(job.path)))
        found = listen(job.path, max_duration_s=job.max_duration_s)
    except RagAudioError as fault:
        return Unchanged(unheard=job.told(fault.message))
    if isinstance(found, LongSound):
        return Unchanged(found.landmarks)
    return Unchanged(landmarks_of(found.audio, found.layout))


def landmarks_of(sound: Audio, layout: ChannelLayout | None = None) -> Landmarks:
    """The landmarks of a stem, from all that is heard in its channels."""
    from rag_audio.audio import channels
    from rag_audio.retrieval.landmarks import RATE, make_landmarks

    return make_landmarks(channels.views(resample(sound, RATE), layout))


def _check_length(duration_s: float) -> None:
    if 0 < duration_s < MIN_DURATION_S:
        raise UnreadableFile(
            f"it lasts {duration_s * 1000:.3g} ms; a stem needs {MIN_DURATION_S * 1000:g} ms"
        )


def _instruments(names: tuple[str, ...], drums: bool) -> tuple[str, ...]:
    """The instruments' names, each once; a drum track is named too, so that search finds it."""
    unique = tuple(dict.fromkeys(names))
    named = any("drum" in name.lower() for name in unique)
    return unique if named or not drums else (*unique, "Drums")


def for_embedder(sound: Audio, sample_rate: int, layout: ChannelLayout | None = None) -> Audio:
    """A sound as an embedder hears it: ``[1, T]`` at its rate in Hz."""
    from rag_audio.audio import channels

    return resample(channels.heard(sound, layout), sample_rate)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 2)

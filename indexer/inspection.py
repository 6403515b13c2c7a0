"""Look at one file's header and tags, without decoding it: what ``rag-audio library check`` does.

It runs in the decoding processes, for headers too may be made to crash what reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from indexer.file_jobs import FileJob, at_hand
from indexer.measure import MIN_DURATION_S, Refused, _read_tags
from indexer.stems_csv import Metadata
from rag_audio.audio.containers import open_sound
from rag_audio.audio.headers import SCORE, read_head, suffix_of
from rag_audio.domain import Audio, StemKind
from rag_audio.domain.songs import song_file
from rag_audio.errors import RagAudioError, UnreadableFile
from rag_audio.storage.blobs import BlobMissing

_UNKNOWN_FRAMES = 1 << 48
"""A header that claims as many frames or more does not know how many there are."""


@dataclass(frozen=True)
class InspectJob(FileJob):
    """A file to look at.

    Attributes:
        size: bytes.
        max_duration_s: longer ones are refused.
    """

    size: int
    max_duration_s: float


@dataclass(frozen=True)
class InspectedFile:
    """What a file says of itself.

    Attributes:
        duration_s: as its header claims; None where it does not say.
        notices: what is odd in it, one line each, without its name.
    """

    kind: StemKind
    duration_s: float | None
    tags: Metadata = field(default_factory=Metadata)
    notices: tuple[str, ...] = ()


def inspect_file(job: InspectJob) -> InspectedFile | Refused:
    """Look at one file.

    Raises:
        BackendUnavailable: it is an object that cannot be fetched now.
    """
    try:
        with at_hand(job) as (here, _):
            return _inspect(here)
    except BlobMissing as fault:
        return Refused(fault.message)


def _inspect(job: InspectJob) -> InspectedFile | Refused:
    try:
        is_score = suffix_of(read_head(song_file(job.path)[0])) == SCORE
        found = _score(job) if is_score else _sound(job)
        _check(found.duration_s, job)
    except RagAudioError as fault:
        return Refused(job.told(fault.message))
    except OSError as fault:
        return Refused(f"it cannot be read: {fault.strerror or fault}")
    return found


def _score(job: InspectJob) -> InspectedFile:
    from rag_audio.audio import midi

    info = midi.read(job.path)
    return InspectedFile(StemKind.MIDI, info.duration_s, notices=info.notices)


def _sound(job: InspectJob) -> InspectedFile:
    sound = open_sound(job.path)
    try:
        frames, rate = int(sound.frames), int(sound.samplerate)
    finally:
        sound.close()
    known = 0 < frames < _UNKNOWN_FRAMES
    return InspectedFile(
        StemKind.AUDIO, round(frames / rate, 6) if known else None, _read_tags(job.path)
    )


def _check(duration_s: float | None, job: InspectJob) -> None:
    if duration_s is None:
        return
    if duration_s > job.max_duration_s:
        raise UnreadableFile(f"it is {duration_s:.0f} s long, over {job.max_duration_s:g} s")
    if 0 < duration_s < MIN_DURATION_S:
        raise UnreadableFile(
            f"it lasts {duration_s * 1000:.3g} ms; a stem needs {MIN_DURATION_S * 1000:g} ms"
        )


def no_render(path: Path) -> Audio:
    """The renderer of processes that only inspect."""
    raise UnreadableFile(f"{path} is looked at, not played")

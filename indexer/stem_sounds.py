"""The sound of a file that is indexed already, as an embedder hears it: nothing is measured anew.

It runs in the decoding processes, as :mod:`indexer.measure` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from indexer.file_jobs import FileJob, at_hand
from indexer.long_sounds import LongSound, SpooledSound, listen
from indexer.measure import Refused, Render, for_embedder
from indexer.survey import Limits
from rag_audio.audio.headers import SCORE, read_head, suffix_of
from rag_audio.domain import Audio
from rag_audio.domain.songs import song_file, song_id
from rag_audio.errors import RagAudioError
from rag_audio.storage.blobs import BlobMissing
from rag_audio.storage.files import file_sha256

CHANGED = "its bytes are not those that were indexed; run rag-audio index on its library first"


@dataclass(frozen=True)
class HearJob(FileJob):
    """A file to hear.

    Attributes:
        size: bytes, about.
        stem: id of the stem that it must hold.
        sample_rate: Hz that the embedder wants.
        spool: folder for the sound of long files, None: the system's for temporary ones.
    """

    size: int
    stem: str
    sample_rate: int
    spool: Path | None = None


@dataclass(frozen=True, eq=False)
class HeardSound:
    """A stem's sound, ``[1, T]`` at the embedder's rate; on disk where it is long."""

    sound: Audio | SpooledSound


def hear_stem(job: HearJob, render: Render) -> HeardSound | Refused:
    """Read one file.

    Raises:
        BackendUnavailable: it is an object that cannot be fetched now.
    """
    try:
        with at_hand(job) as (here, _):
            return _hear(here, render)
    except BlobMissing as fault:
        return Refused(fault.message)


def _hear(job: HearJob, render: Render) -> HeardSound | Refused:
    try:
        path, song = song_file(job.path)
        if song_id(file_sha256(path), song) != job.stem:
            return Refused(CHANGED)
        if suffix_of(read_head(path)) == SCORE:
            return HeardSound(for_embedder(render(job.path), job.sample_rate))
        heard = listen(
            job.path,
            max_duration_s=Limits().max_duration_s,
            spool_hz=job.sample_rate,
            folder=job.spool,
            landmarks=False,
        )
    except RagAudioError as fault:
        return Refused(job.told(fault.message))
    except OSError as fault:
        return Refused(f"it cannot be read: {fault.strerror or fault}")
    if not isinstance(heard, LongSound):
        return HeardSound(for_embedder(heard.audio, job.sample_rate, heard.layout))
    if heard.spooled is None:
        return Refused("it has no sound")
    return HeardSound(heard.spooled)

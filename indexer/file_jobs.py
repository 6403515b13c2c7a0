"""What a decoding process is told to do with one file, which may have to be fetched first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from rag_audio.errors import BackendError, BackendUnavailable
from rag_audio.storage.library_files import LocalFile, StoredFile, local_file

CHANGED = "it was changed while it was read; run the indexer again"
"""Why a file is refused that is not as it was listed."""


@dataclass(frozen=True)
class FileJob:
    """A file to read.

    Attributes:
        file: absolute path, or that of a song in a score; or an object.
    """

    file: StoredFile

    @property
    def path(self) -> Path:
        """The file on this machine.

        Raises:
            TypeError: it is an object.
        """
        if not isinstance(self.file, Path):
            raise TypeError(f"{self.file} is not fetched")
        return self.file

    def told(self, message: str) -> str:
        """A message without the folder that the file lies in."""
        return message.replace(str(self.path), self.path.name)


@dataclass(frozen=True)
class Failed:
    """Something failed that is no fault of the file.

    Attributes:
        is_away: it cannot be reached now; else the embedder failed.
    """

    reason: str
    hint: str = ""
    is_away: bool = False

    def error(self) -> BackendError:
        """The failure, where the files are asked for."""
        if self.is_away:
            return BackendUnavailable(self.reason, self.hint)
        return BackendError(f"the embedder failed in a worker process: {self.reason}")


_Job = TypeVar("_Job", bound=FileJob)


@contextmanager
def at_hand(job: _Job) -> Iterator[tuple[_Job, LocalFile]]:
    """The job on a file of this machine, or on a copy of its object, for the block.

    Raises:
        BlobMissing: there is no such object. BackendUnavailable: it cannot be fetched now.
    """
    with local_file(job.file) as here:
        yield replace(job, file=here.path), here

"""What nobody needs any more is removed: at the start, and now and then.

Only files with names of our own making are touched, only old ones, no links, and none that a
request is being answered from or a job that has not ended was given.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from rag_audio.service.paths import Folders
from rag_audio.service.queue import SqlJobs
from rag_audio.service.upload_records import SqlUploads
from rag_audio.storage.locks import lock_if_free

FRESH_S = 10.0
"""A draft is locked this soon after it is made."""
MARGIN_S = 3600.0
"""Clocks of machines that share a home differ by less; drafts are made in less."""

_DRAFT = re.compile(r"\.[0-9a-f]{32}\.part(\.[a-z0-9]+)?")
_DECODED = re.compile(r"\.?([0-9a-f]{32})\..+")
_UPLOAD = re.compile(r"([0-9a-f]{32})\.[a-z0-9]+")
_JOB = re.compile("[0-9a-f]{32}")
_OTHER_FORMAT = re.compile(r".+\.(as|copy)\.[a-z0-9]+(\.c2pa)?")
_PREVIEW = re.compile(r"[0-9a-f]{64}\.mp3")

log = structlog.get_logger("rag_audio.api")


class Tidying:
    """Tidies the folders of a home.

    Args:
        kept_s: uploads go after so long, and what can be made anew after so long without use.
    """

    def __init__(self, folders: Folders, uploads: SqlUploads, jobs: SqlJobs, kept_s: float) -> None:
        self._folders, self._uploads, self._jobs, self._kept_s = folders, uploads, jobs, kept_s

    def tidy(self) -> int:
        """Remove what is too old; how many files went.

        Raises:
            BackendUnavailable: the database is away; what it knows nothing of was left alone.
        """
        removed = self._drop_uploads() + self._drop_drafts() + self._drop_orphans()
        removed += self._drop_decoded() + self._drop_unused(self._folders.decoded, _DECODED)
        removed += self._drop_unused(self._folders.previews, _PREVIEW)
        removed += self._drop_hidden(self._folders.previews)
        if removed:
            log.info("tidied", files=removed)
        return removed

    def tidy_outputs(self) -> None:
        """Remove what attempts left that came to nothing, and other formats nobody asked for.

        Takes as long as there are many outputs. Raises as :meth:`tidy`.
        """
        for folder in _entries(self._folders.outputs):
            if _JOB.fullmatch(folder.name) is None or not _is_folder(folder):
                continue
            job = self._jobs.find(folder.name)
            if job is None or not job.state.is_final:
                continue
            ended = job.finished_at or 0.0
            if ended < time.time() - MARGIN_S:
                self._folders.remove_attempts(job)
            kept = self._folders.of_result(job)
            if kept is not None and _is_folder(kept):
                self._drop_unused(kept, _OTHER_FORMAT)
                self._drop_hidden(kept)

    def _drop_uploads(self) -> int:
        old = self._uploads.remove_older(self._kept_s)
        for one in old:
            self._folders.of_upload(one.id, one.suffix).unlink(missing_ok=True)
        return len(old)

    def _drop_drafts(self) -> int:
        drafts = (f for f in _entries(self._folders.uploads) if _DRAFT.fullmatch(f.name))
        return sum(_remove_unheld(draft) for draft in drafts if _age_s(draft) > FRESH_S)

    def _drop_orphans(self) -> int:
        """Files of uploads that the database does not know: a process died between the two."""
        old = [
            (found[1], file)
            for file in _entries(self._folders.uploads)
            if (found := _UPLOAD.fullmatch(file.name)) and _age_s(file) > self._kept_s + MARGIN_S
        ]
        known = self._uploads.ids() if old else set()
        return sum(_remove(file) for id_, file in old if id_ not in known)

    def _drop_decoded(self) -> int:
        """What was made of files that came in and are gone: it is as private as they were."""
        old = [
            (found[1], file)
            for file in _entries(self._folders.decoded)
            if (found := _DECODED.fullmatch(file.name)) and _age_s(file) > FRESH_S
        ]
        # Twice, since a draft becomes an upload by getting another name.
        known = {
            self._folders.upload_in(file)
            for _ in range(2 if old else 0)
            for file in _entries(self._folders.uploads)
        }
        return sum(_remove(file) for id_, file in old if id_ not in known)

    def _drop_unused(self, folder: Path, names: re.Pattern[str]) -> int:
        found = (file for file in _entries(folder) if names.fullmatch(file.name))
        return sum(_remove(file) for file in found if _age_s(file) > self._kept_s)

    def _drop_hidden(self, folder: Path) -> int:
        found = (file for file in _entries(folder) if file.name.startswith("."))
        return sum(_remove(file) for file in found if _age_s(file) > MARGIN_S)


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir() and not folder.is_symlink():
        with os.scandir(folder) as found:
            for one in found:
                yield folder / one.name


def _age_s(file: Path) -> float:
    """Seconds since a plain file was changed or used; negative: it is none, or gone."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return -1.0
    return time.time() - found.st_mtime if stat.S_ISREG(found.st_mode) else -1.0


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(file: Path) -> bool:
    """Remove a file; False: it was gone, or may not be removed."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("a file cannot be removed", file=str(file), error=str(error))
        return False
    return True


def _remove_unheld(draft: Path) -> bool:
    """Remove a draft that nobody holds a lock on: who wrote it has ended, however it did."""
    with lock_if_free(draft) as is_free:
        return is_free and _remove(draft)

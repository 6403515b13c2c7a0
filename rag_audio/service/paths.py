"""Where the service keeps files: by ids of our own making, in folders of the home."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rag_audio.errors import InvalidInput
from rag_audio.service.models import Job

_ID = re.compile("[0-9a-f]{32}")
_UPLOAD = re.compile(r"\.?([0-9a-f]{32})(?:\.part)?(?:\.[a-z0-9]+)?")


class Folders:
    """Outputs and uploads of a home.

    Args:
        home: shared by all processes of a service.
    """

    def __init__(self, home: Path) -> None:
        self.outputs, self.uploads = home / "outputs", home / "uploads"
        self.previews, self.decoded = home / "previews", home / "decoded"

    def of_attempt(self, job: str, token: str) -> Path:
        """Where one attempt at a job puts its files."""
        return self.outputs / _checked(job) / _checked(token)

    def of_result(self, job: Job) -> Path | None:
        """Where the files of a job are that succeeded."""
        if job.result is None:
            return None
        return self.of_attempt(job.id, str(job.result["attempt"]))

    def of_take(self, job: Job, take: int) -> Path | None:
        """The file of a take, from 1, of a job that succeeded; None: there is none."""
        folder, outputs = self.of_result(job), (job.result or {}).get("outputs", ())
        if folder is None or not 1 <= take <= len(outputs):
            return None
        return folder / str(outputs[take - 1]["file"])

    def remove_attempts(self, job: Job) -> None:
        """Remove what attempts at a job left that did not finish it."""
        if "result" in job.unreadable:
            return  # nobody knows which attempt it was
        kept = None if job.result is None else str(job.result["attempt"])
        folder = self.outputs / _checked(job.id)
        for attempt in folder.iterdir() if folder.is_dir() else ():
            if attempt.name != kept:
                shutil.rmtree(attempt, ignore_errors=True)
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)

    def of_upload(self, id_: str, suffix: str) -> Path:
        """The file of an upload."""
        return self.uploads / f"{_checked(id_)}{suffix}"

    def of_draft(self, id_: str, suffix: str) -> Path:
        """An upload's file while it comes in; whoever writes it holds a lock on it."""
        return self.uploads / f".{_checked(id_)}.part{suffix}"

    def upload_in(self, path: Path) -> str | None:
        """The id of the upload, or of its draft, that a file is; None: it is neither."""
        found = _UPLOAD.fullmatch(path.name)
        return found[1] if found and path.parent == self.uploads else None

    def find_upload(self, id_: str) -> Path:
        """The file of an upload, whatever its kind.

        Raises:
            InvalidInput: there is none (any more).
        """
        found = sorted(self.uploads.glob(f"{_checked(id_)}.*")) if self.uploads.is_dir() else []
        if not found:
            raise InvalidInput(f"there is no upload {id_}", hint="upload it again")
        return found[0]


def _checked(id_: str) -> str:
    if _ID.fullmatch(id_) is None:
        raise InvalidInput(f"{id_!r} is not an id")
    return id_

"""Sound that is given out: takes, stems and other formats of them, with ranges."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from fastapi.responses import FileResponse

from rag_audio import audio
from rag_audio.domain import Audio, Segment, Stem
from rag_audio.pipeline import Pipeline

TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}
PREVIEW_S = 30.0


def sound_response(file: Path, name: str) -> FileResponse:
    """A sound file; ``Range`` is answered with the part that is asked for."""
    return FileResponse(
        file,
        media_type=TYPES[file.suffix],
        filename=name,
        content_disposition_type="inline",
        headers={"Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"},
    )


def in_format(file: Path, format: str) -> Path:
    """The file in another format, made on first use beside it, and kept while it is used.

    The mark survives, a manifest of content credentials does not: only the file as it was made
    carries one.

    Raises:
        RagAudioError: it cannot be read or written.
    """
    if file.suffix == f".{format}":
        return file
    other = file.with_name(f"{file.stem}.as.{format}")
    if not other.is_file():
        _save(audio.load(file, max_duration_s=None), other)
    _used(other)
    return other


def preview(pipeline: Pipeline, stem: Stem, folder: Path) -> Path:
    """The first half minute of a stem as an MP3, made on first use. The caller checks the rights.

    Raises:
        LibraryError: its file is gone or was changed.
    """
    target = folder / f"{stem.id}.mp3"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        segment = Segment(stem, 0.0, min(PREVIEW_S, stem.duration_s))
        sound = pipeline.render(segment, 44_100)
        _save(audio.to_channels(sound, min(2, sound.channels)), target)
    _used(target)
    return target


def _used(file: Path) -> None:
    """Tidying removes what was not used for long; it may just have done so."""
    with suppress(FileNotFoundError):
        os.utime(file)


def _save(sound: Audio, target: Path) -> None:
    draft = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    try:
        audio.save(sound, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)

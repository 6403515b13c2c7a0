"""Sound that is given out: takes, stems and other formats of them, with ranges."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from fastapi.responses import FileResponse

from rag_audio import audio
from rag_audio.copying import write_copy
from rag_audio.domain import AttributionRecord, Segment, Stem
from rag_audio.pipeline import Pipeline
from rag_audio.signing import Signer, sidecar_of

TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
}
PREVIEW_S = 30.0


def sound_response(file: Path, name: str, credentials: str | None = None) -> FileResponse:
    """A sound file; ``Range`` is answered with the part that is asked for.

    Args:
        credentials: where its manifest is, if not in it (C2PA specification 2.2, section 15.5.4).
    """
    headers = {"Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if credentials is not None:
        headers["Link"] = f'<{credentials}>; rel="c2pa-manifest"'
    return FileResponse(
        file,
        media_type=TYPES[file.suffix],
        filename=name,
        content_disposition_type="inline",
        headers=headers,
    )


def in_format(signer: Signer, record: AttributionRecord, file: Path, format: str) -> Path:
    """An output in another format, made on first use beside it, and kept while it is used.

    See :func:`rag_audio.copying.write_copy`; what an earlier version left unsigned is made anew.

    Raises:
        RagAudioError: it cannot be read, written or signed.
    """
    if file.suffix == f".{format}":
        return file
    # Signed or not as the signer of now would have it.
    other = file.with_name(f"{file.stem}.{signer.name}.copy.{format}")
    if not other.is_file():
        write_copy(signer, record, file, other)
    _used(other)
    beside = sidecar_of(other)
    if beside.is_file():
        _used(beside)
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
        sound = pipeline.home.player.play(segment, 44_100)
        audio.save(audio.to_channels(sound, min(2, sound.channels)), target)
    _used(target)
    return target


def _used(file: Path) -> None:
    """Tidying removes what was not used for long; it may just have done so."""
    with suppress(FileNotFoundError):
        os.utime(file)

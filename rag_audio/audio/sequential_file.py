"""Sound files that are read from front to back, as a decoder reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import soundfile

from rag_audio.audio.spliced_file import SplicedFile

_BLOCK = 1 << 16
_TRIES = 3
_MOST_NOTICES = 5
_UNKNOWN = 1 << 48
UNKNOWN_FRAMES = (1 << 63) - 1
"""Frames of a sound whose length nothing tells."""


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is decoded in order, with nothing skipped, as far as it goes.

    ``soundfile`` seeks after every read. A frame of an MP3 uses bits of frames before it, at low
    rates of more than libmpg123 decodes anew after a seek: the samples there are wrong then, and it
    complains on stderr. In a FLAC of unknown length libsndfile cannot seek at all. So the file
    says that it cannot be sought in; and what was decoded before an error is kept.

    Args:
        file: its name as bytes, or what stands for the file.
        frames: that it has, where that is known better than by libsndfile.
        promised: frames that its header promises (0: it does not say) of a sound that is cut or
            followed by other data; None: nothing is to be said of that.

    Attributes:
        known_frames: that it has, or None, as given; may be set.
        frames: that it has; :data:`UNKNOWN_FRAMES`: nothing tells.
        notices: what was cut or odd in the file, one line each.
    """

    def __init__(
        self, file: bytes | SplicedFile, frames: int | None = None, promised: int | None = None
    ) -> None:
        self.notices: list[str] = []
        self.known_frames, self._promised = frames, promised
        self._position = 0
        self._damaged_at: int | None = None
        self._source = file if isinstance(file, SplicedFile) else None
        super().__init__(file)

    @property
    def frames(self) -> int:
        counted = int(self._info.frames) if self.known_frames is None else self.known_frames
        return counted if counted < _UNKNOWN else UNKNOWN_FRAMES

    def seekable(self) -> bool:
        """False: ``soundfile`` is not to seek."""
        return False

    def go_to(self, frame: int) -> None:
        """Stand at a frame that lies ahead; what is before it is decoded where it must be."""
        is_exact = not str(self.subtype).startswith("MPEG") and self.frames < UNKNOWN_FRAMES
        if is_exact and super().seekable():
            self.seek(frame)
            self._position = frame
            return
        while frame > self._position:
            if not len(self.read(min(_BLOCK, frame - self._position))):
                return

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> Any:
        """The next frames ``[T, C]``; fewer at the end, none behind it.

        Raises:
            soundfile.LibsndfileError: nothing of the file can be decoded.
        """
        if self._source is not None and self._source.extra:
            frames = max(0, min(frames, self.frames - self._position))
        out = np.full((frames, self.channels), np.nan, dtype)
        if not frames:
            return out
        for _ in range(_TRIES):
            try:
                got = super().read(out=out)
                break
            except soundfile.LibsndfileError:
                got = out[: self._decoded(out)]
                if not (len(got) or self._position):
                    raise
                self._damaged_at = self._position + len(got)
            if len(got):
                break
        if self._damaged_at is not None and len(got) and self._position >= self._damaged_at:
            at = self._damaged_at / self.samplerate
            self._note(f"damaged near {at:.2f} s: what cannot be decoded is left out")
            self._damaged_at = None
        self._position += len(got)
        if not len(got) and self._promised is not None:
            self._note_end(self._position / self.samplerate, self._promised / self.samplerate)
            self._promised = None
        return got

    def _note_end(self, there_s: float, promised_s: float) -> None:
        if there_s < promised_s:
            self._note(f"breaks off after {there_s:.2f} s: its header claims {promised_s:.2f} s")
        elif not promised_s:
            self._note(f"breaks off after {there_s:.2f} s, within a frame")
        elif there_s > promised_s:
            said = f"its header claims {promised_s:.2f} s; {there_s:.2f} s are there and are read"
            self._note(said)

    def _note(self, notice: str) -> None:
        if len(self.notices) < _MOST_NOTICES:
            self.notices.append(notice)

    def _decoded(self, out: np.ndarray[Any, Any]) -> int:
        """How many frames came before an error: what is left of ``out`` is untouched, or is set to
        zero where it is behind the file's end."""
        untouched = np.flatnonzero(np.isnan(out[:, 0]))
        count = int(untouched[0]) if len(untouched) else len(out)
        return max(0, min(count, int(self._info.frames) - self._position))

    def close(self) -> None:
        """Let the file go."""
        super().close()
        if self._source is not None:
            self._source.close()

"""Sound files that are read from front to back as a decoder reads them."""

from __future__ import annotations

from typing import Any

import soundfile

_BLOCK = 1 << 18


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file whose MP3 frames are decoded in order, with nothing skipped.

    A frame of an MP3 uses bits of frames before it, at low rates of more than libmpg123 decodes
    anew after a seek: the samples there are wrong then, and it complains on stderr. And
    ``soundfile`` seeks after every read. So an MP3 says that it cannot be sought in.
    """

    def seekable(self) -> bool:
        """Whether reading may go anywhere."""
        return self.format != "MP3" and bool(super().seekable())

    def go_to(self, frame: int) -> None:
        """Stand at a frame, which must lie ahead in an MP3; what is before it is read there."""
        if self.seekable():
            self.seek(frame)
            return
        while frame > 0 and (passed := len(self._pass(min(_BLOCK, frame)))):
            frame -= passed

    def _pass(self, frames: int) -> Any:
        return self.read(frames, dtype="float32", always_2d=True)

"""How files that somebody brought are opened: their sound, their notes, their credentials.

A command line opens its user's files itself. A service never does: a process with limits has opened
them, and what it wrote is read (:mod:`.upload_contents`). Whatever works with a brought
file asks a :class:`Reader`, which is one of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rag_audio.audio import scores
from rag_audio.audio.reading import MAX_DURATION_S, Heard, hear
from rag_audio.audio.scores import NoteScore
from rag_audio.domain.signing import Credentials
from rag_audio.provenance.credentials.reading import read_credentials, training_reservation

if TYPE_CHECKING:
    from rag_audio.provenance.credentials.signers import SignElsewhere


class Reader(Protocol):
    """Opens files that somebody brought."""

    @property
    def signs_elsewhere(self) -> SignElsewhere | None:
        """Signs what is made from such files, and parses their manifests; None: whoever asks."""
        ...

    def hear(
        self,
        path: Path,
        *,
        max_duration_s: float | None = MAX_DURATION_S,
        allow_truncated: bool = False,
    ) -> Heard:
        """A file's sound; see :func:`rag_audio.audio.reading.hear`.

        Raises:
            UnreadableFile: as there.
        """
        ...

    def score(self, path: Path) -> NoteScore:
        """A file's notes.

        Raises:
            UnreadableFile: as :func:`rag_audio.audio.scores.parse`.
        """
        ...

    def credentials(self, path: Path, anchors: str) -> Credentials | None:
        """A file's content credentials, held against roots (PEM); None: it has none.

        Raises:
            UnreadableFile: the file cannot be opened.
        """
        ...

    def reservation(self, path: Path) -> str | None:
        """What a file's credentials forbid, in words; None: nothing.

        Raises:
            UnreadableFile: the file cannot be opened.
        """
        ...


class OwnFiles:
    """Opens files in this process: those of whoever runs it."""

    signs_elsewhere: SignElsewhere | None = None

    def hear(
        self,
        path: Path,
        *,
        max_duration_s: float | None = MAX_DURATION_S,
        allow_truncated: bool = False,
    ) -> Heard:
        return hear(path, max_duration_s=max_duration_s, allow_truncated=allow_truncated)

    def score(self, path: Path) -> NoteScore:
        return scores.parse(path)

    def credentials(self, path: Path, anchors: str) -> Credentials | None:
        return read_credentials(path, anchors)

    def reservation(self, path: Path) -> str | None:
        return training_reservation(path)

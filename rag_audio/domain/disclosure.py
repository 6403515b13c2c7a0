"""Which names of stems, outputs and files the reader of a message may see.

Every message that names a stem, an output or a file asks here first. The command line sees
everything. A caller of the API sees the stems of the libraries that the key may use and
the outputs that are the key's own, and no place on the server's disk.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rag_audio.domain import (
    Stem,
)
from rag_audio.domain.refusals import Refusal
from rag_audio.errors import (
    RagAudioError,
)

OTHER_SOURCE = "a source of another library"
OTHER_OUTPUT = "an output of this system"
NO_REASON = "it may not be used"

_Error = TypeVar("_Error", bound=RagAudioError)


def _everyone(output: int) -> bool:
    return True


@dataclass(frozen=True)
class Disclosure:
    """What one reader of messages may know.

    Attributes:
        libraries: ids of the libraries whose stems may be named; None: all.
        sees_output: whether the reader may know of an output, by its number.
        file: how a file is named to the reader.
    """

    libraries: frozenset[str] | None = None
    sees_output: Callable[[int], bool] = _everyone
    file: Callable[[Path | str], str] = str

    def knows(self, library: str) -> bool:
        """Whether the stems of a library may be named."""
        return self.libraries is None or library in self.libraries

    def stem(self, stem: Stem) -> str:
        """A stem's title, or its path in its library where it has none."""
        return (stem.title or stem.path) if self.knows(stem.library) else OTHER_SOURCE

    def path(self, stem: Stem) -> str:
        """A stem's path in its library."""
        return stem.path if self.knows(stem.library) else OTHER_SOURCE

    def file_of(self, stem: Stem, file: object) -> str:
        """The file of a stem on this machine, or its object."""
        return self.file(str(file)) if self.knows(stem.library) else OTHER_SOURCE

    def reason(self, stem: Stem, why: Refusal) -> str:
        """Why a stem may not be used: a license of another library is not named."""
        return why.reason if self.knows(stem.library) else NO_REASON

    def cure(self, stem: Stem, why: Refusal) -> str:
        """What would let a stem be used; empty for one of another library."""
        return why.cure if self.knows(stem.library) else ""

    def output(self, output: int) -> str:
        """An output by its number."""
        return f"output {output}" if self.sees_output(output) else OTHER_OUTPUT


EVERYTHING = Disclosure()
"""For whoever works on the home itself."""


def renamed(error: _Error, file: Path, name: str) -> _Error:
    """The error with another name for a file in it."""
    found = copy.copy(error)
    found.message = error.message.replace(str(file), name)
    found.hint = error.hint.replace(str(file), name)
    found.args = (found.message,)
    return found

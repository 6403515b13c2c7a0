"""Files that a library writes to which cannot be told of errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


class Sink:
    """A file that libsndfile writes to; it cannot be told of a full disk, so its caller is.

    Attributes:
        fault: the first error.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        """All of it, as far as the caller is told."""
        with self._noticed():
            self._raw.write(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte; where the file then stands."""
        with self._noticed():
            self._raw.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """The byte it stands at."""
        return self._raw.tell()

    def flush(self) -> None:
        """Hand over what is buffered."""
        with self._noticed():
            self._raw.flush()

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.fault = self.fault or error

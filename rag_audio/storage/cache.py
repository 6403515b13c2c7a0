"""What is kept in memory: sound made from stems, until a revocation comes, and hashes of files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

from rag_audio.domain import Audio
from rag_audio.domain.songs import song_file, song_id
from rag_audio.storage.files import file_sha256

MOST_BYTES = 128 * 2**20


class Forgets(Protocol):
    """Who keeps something of its own that was made from stems, such as latents."""

    def forget(self) -> None:
        """Give it up."""


class SoundCache:
    """Sounds by key; the least recently used leave first.

    Code that reads rights reports what is revoked (:meth:`renew`): when that changed, everything is
    forgotten. The arrays are read-only: who gets one shares it.

    Args:
        most_bytes: of samples that are kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._seen: Hashable = None
        self._kept: OrderedDict[Hashable, Audio] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._holders: WeakKeyDictionary[Forgets, int] = WeakKeyDictionary()
        self.generation = 0
        """How often everything was forgotten because of a revocation."""

    def of(self, key: Hashable, make: Callable[[], Audio]) -> Audio:
        """What is kept under the key, or what ``make`` gives; that is then kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            generation = self.generation
        made = make()
        made.samples.flags.writeable = False
        with self._lock:
            if key not in self._kept and generation == self.generation:
                self._put(key, made)
        return made

    def renew(self, revoked: Hashable) -> None:
        """Forget everything if a revocation came or went since the last call.

        Args:
            revoked: all that is revoked now, see :attr:`.revocations`.
        """
        with self._lock:
            if revoked != self._seen:
                self.generation += self._seen is not None
                self._seen = revoked
                self._kept.clear()
                self._bytes = 0

    def keep_in_step(self, holder: Forgets) -> None:
        """Have a holder forget what it made, if a revocation came or went since it was here."""
        generation = self.generation
        if self._holders.setdefault(holder, generation) != generation:
            holder.forget()
            self._holders[holder] = generation

    def _put(self, key: Hashable, made: Audio) -> None:
        if made.samples.nbytes > self._most // 4:
            return
        self._kept[key] = made
        self._bytes += made.samples.nbytes
        while self._bytes > self._most:
            _, given_up = self._kept.popitem(last=False)
            self._bytes -= given_up.samples.nbytes


def content_hash(path: Path, version: str = "") -> str:
    """The SHA-256 of a file's bytes, hex; computed once in a process for each size and time.

    Of a song of a MIDI file, what :func:`.song_id` makes of it.

    Args:
        version: of a copy, see :class:`.LocalFile`; it then counts in place of size and time.

    Raises:
        OSError: the file cannot be read.
    """
    file, song = song_file(path)
    if version:
        return song_id(_content_hash(KnownFile(version, file)), song)
    found = file.stat()
    state = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    return song_id(_content_hash(KnownFile(str(file), file), *state), song)


@dataclass(frozen=True)
class KnownFile:
    """A file under a name that stands for it, wherever it lies."""

    name: str
    path: Path = field(compare=False)


@lru_cache(maxsize=1 << 16)
def _content_hash(file: KnownFile, *_state: int) -> str:
    return file_sha256(file.path)

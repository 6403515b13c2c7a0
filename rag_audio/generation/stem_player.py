"""Play the stems of a library: recordings as they are, scores at the wanted tempo and key."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rag_audio.audio import midi
from rag_audio.audio.reading import load
from rag_audio.audio.scores import NoteScore, parse
from rag_audio.domain import Audio, Layer, Segment, Stem, StemKind
from rag_audio.domain.disclosure import Disclosure, renamed
from rag_audio.errors import LibraryError
from rag_audio.generation.drum_patterns import DrumNotes
from rag_audio.storage.blobs import BlobMissing
from rag_audio.storage.cache import KnownFile, SoundCache, content_hash
from rag_audio.storage.library_files import LocalFile, local_file

if TYPE_CHECKING:
    from rag_audio.storage.catalogue import SqlCatalogue

_log = logging.getLogger("rag_audio.stem_player")
"""Unlike structlog's, its errors go to stderr without any configuration."""


_SCORES_KEPT = 32


@lru_cache(_SCORES_KEPT)
def _parsed(stem: str, file: KnownFile) -> NoteScore:
    """The notes of a file with the bytes of the stem, kept for all players: these come and go."""
    return parse(file.path)


class StemPlayer:
    """Plays segments of stems, and keeps what it played.

    Args:
        catalogue: says in which file a stem is.
        cache: what was played before.
        soundfont: gives the file that scores are played with, asked only where one is played.
        disclosure: how files are named in errors; a stem of another library is not named.
    """

    def __init__(
        self,
        catalogue: SqlCatalogue,
        cache: SoundCache,
        soundfont: Callable[[], Path],
        disclosure: Disclosure,
    ) -> None:
        self._catalogue, self._cache = catalogue, cache
        self._soundfont, self._disclosure = soundfont, disclosure

    def play(
        self,
        segment: Segment,
        sample_rate: int,
        tempo_ratio: float = 1.0,
        semitones: int = 0,
        instruments: tuple[str, ...] = (),
        layer: Layer | None = None,
    ) -> Audio:
        """The segment's sound; its file must still be the one that was indexed and licensed.

        Args:
            sample_rate: Hz.
            tempo_ratio, semitones, instruments, layer: how a score is played, see
                :func:`rag_audio.audio.midi.render`; a recording stays as it is.

        Returns:
            ``[C, T]`` at ``sample_rate``; the array is shared and read-only.

        Raises:
            LibraryError: the file is gone, was changed, or cannot be read.
        """
        start_s, duration_s = segment.start_s, segment.duration_s
        key = (segment.stem.id, start_s, duration_s, sample_rate)
        with self._opened(segment.stem, is_compared=True) as file:
            if segment.stem.kind is StemKind.AUDIO:
                return self._cache.of(
                    key,
                    lambda: load(
                        file.path, sample_rate=sample_rate, start_s=start_s, duration_s=duration_s
                    ),
                )
            soundfont = self._soundfont()
            return self._cache.of(
                (*key, tempo_ratio, semitones, instruments, layer, soundfont),
                lambda: midi.render(
                    file.path,
                    soundfont=soundfont,
                    sample_rate=sample_rate,
                    start_s=start_s,
                    duration_s=duration_s,
                    tempo_ratio=tempo_ratio,
                    semitones=semitones,
                    instruments=instruments,
                    layer=layer,
                ),
            )

    def score(self, stem: Stem) -> NoteScore:
        """The notes of a stem that is a score.

        Raises:
            LibraryError: as :meth:`play`.
        """
        with self._opened(stem) as file:
            return _parsed(stem.id, KnownFile(file.version or str(file.path), file.path))

    def drum_notes(self, stem: Stem) -> DrumNotes:
        """The strokes of a score's percussion channel as they are written; none of a recording.

        Raises:
            LibraryError: as :meth:`play`.
        """
        if stem.kind is not StemKind.MIDI:
            return ()
        parts = (part for part in self.score(stem).parts if part.drum)
        return sorted((note.start_s, note.pitch) for part in parts for note in part.notes)

    @contextmanager
    def _opened(self, stem: Stem, *, is_compared: bool = False) -> Iterator[LocalFile]:
        """A stem's file for the block, which is still the one that was indexed.

        Args:
            is_compared: an output may be compared with it, and whoever makes the output may not
                know of it.

        Raises:
            LibraryError: it is not, or what is done in the block fails; the file is named as the
                reader may know it.
        """
        stored = self._catalogue.stored_file(stem)
        name, path = self._disclosure.file_of(stem, stored), Path(str(stored))
        try:
            with local_file(stored) as file:
                path = file.path
                _require_unchanged(file, name, stem.id)
                yield file
        except LibraryError as error:
            if not is_compared or self._disclosure.knows(stem.library):
                raise _named(error, path, name) from error
            _log.error("a stem that outputs are compared with cannot be read: %s", stored)
            raise LibraryError(
                "the output cannot be checked now", hint="tell whoever runs this"
            ) from error


def _named(error: LibraryError, path: Path, name: str) -> LibraryError:
    if isinstance(error, BlobMissing):
        return LibraryError(
            f"{name} cannot be read: it is not there", hint="index the library again"
        )
    return renamed(error, path, name)


def _require_unchanged(file: LocalFile, name: str, sha256: str) -> None:
    try:
        digest = content_hash(file.path, file.version)
    except OSError as error:
        raise LibraryError(
            f"{name} cannot be read: {error.strerror}", hint="index the library again"
        ) from error
    if digest != sha256:
        raise LibraryError(
            f"{name} changed since it was indexed", hint="run rag-audio index on its library"
        )

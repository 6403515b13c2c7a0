"""Each song of a MIDI file of type 2 as a file of its own, for all that follows a survey."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from indexer.report import Rejection
from indexer.survey import Survey
from rag_audio.audio.scores import SONGS_HEAD, count_songs, may_hold_songs
from rag_audio.domain.songs import MIDI_SUFFIXES, song_path, split_song
from rag_audio.errors import UnreadableFile
from rag_audio.storage.library_files import LibraryFiles

_AT_ONCE = 16


def separate_songs(found: Survey, library: LibraryFiles, known: Collection[str]) -> None:
    """Add the songs of the files of type 2 to a survey: they share what is declared of the file.

    Args:
        known: paths indexed before; a song that its file no longer holds is refused.
    """
    accepted, withheld = dict(found.accepted), dict(found.withheld)
    for path in _of_several(library, accepted.keys() | withheld.keys()):
        for song in _further_songs(library, path):
            one = song_path(path, song)
            if path in accepted:
                candidate, declared = accepted[path]
                found.accepted[one] = replace(candidate, path=one), declared
            if path in withheld:
                candidate, license, artist = withheld[path]
                found.withheld[one] = replace(candidate, path=one), license, artist
    found.accepted = dict(sorted(found.accepted.items()))
    reasons = {item.path: item.reason for item in found.refused}
    for path in sorted(known):
        file, song = split_song(path)
        if song == 1 or path in accepted or path in found.accepted:
            continue
        if file in reasons:
            found.refused.append(Rejection(path, reasons[file]))
        elif file in accepted:
            found.refused.append(Rejection(path, f"{Path(file).name} has no song {song} any more"))


def _of_several(library: LibraryFiles, paths: Iterable[str]) -> list[str]:
    """Those of some files that may hold several songs; beginnings of objects are asked for side by
    side."""
    scores = [path for path in paths if Path(path).suffix.lower() in MIDI_SUFFIXES]

    def may(path: str) -> bool:
        return may_hold_songs(library.head(path, SONGS_HEAD))

    if library.folder is not None:
        return list(filter(may, scores))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [path for path, found in zip(scores, pool.map(may, scores), strict=True) if found]


def _further_songs(library: LibraryFiles, path: str) -> Iterator[int]:
    try:
        with library.local(path) as file:
            yield from range(2, count_songs(file) + 1)
    except (UnreadableFile, OSError):
        return  # what is wrong with it is told when it is measured

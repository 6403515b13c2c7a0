"""What a library holds and a search finds: stems, their segments, references."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from rag_audio.domain.codec import FieldForm, as_integer, as_items, json_form
from rag_audio.domain.file_names import words_of_path
from rag_audio.domain.music import COMMON, Key, Signature, require_signature
from rag_audio.domain.names import fold


class StemKind(StrEnum):
    AUDIO = "audio"
    MIDI = "midi"


class SampleType(StrEnum):
    """What a recording or score is to a musician, by its length, its onsets and its names.

    A one-shot is a single sound; a loop repeats seamlessly in whole beats; a phrase is a passage
    that does neither; a song is a whole piece.
    """

    ONE_SHOT = "one-shot"
    LOOP = "loop"
    PHRASE = "phrase"
    SONG = "song"


@dataclass(frozen=True)
class DerivedTag:
    """A tag that nobody wrote: the embedder heard it; ``confidence`` is 0…1."""

    text: str
    confidence: float


def _signature(value: Any) -> Signature:
    beats, unit = map(as_integer, as_items(value))
    require_signature((beats, unit))
    return beats, unit


@json_form(
    later=("iswc", "time_signature", "sample_type", "derived_tags"),
    forms={"time_signature": FieldForm(list, _signature)},
)
@dataclass(frozen=True)
class Stem:
    """One library item.

    Attributes:
        id: sha256 of the file's bytes, hex.
        library: id of its library.
        path: POSIX path below the library's root.
        artist: as declared in ``stems.csv``, else from file tags, else empty.
        artist_declared: True only when ``stems.csv`` names the artist; file tags grant no rights.
        license: id of its license in its library.
        downbeat_s: time of the first bar line, where declared, of a loop, or of a score after an
            upbeat.
        instruments: General MIDI program names (MIDI) or empty.
        time_signature: (beats, unit) of its first bar, where a score states it.
        sample_type: None where it was not measured.
        derived_tags: what the embedder hears where nobody wrote tags, the surest first.
        *_confidence: 0…1; 1 means declared.
    """

    id: str
    library: str
    path: str
    kind: StemKind
    license: str
    duration_s: float
    artist: str = ""
    artist_declared: bool = False
    title: str = ""
    tags: tuple[str, ...] = ()
    bpm: float | None = None
    bpm_confidence: float = 0.0
    key: Key | None = None
    key_confidence: float = 0.0
    downbeat_s: float | None = None
    isrc: str = ""
    iswc: str = ""
    loudness_lufs: float | None = None
    instruments: tuple[str, ...] = ()
    time_signature: Signature | None = None
    sample_type: SampleType | None = None
    derived_tags: tuple[DerivedTag, ...] = ()

    @property
    def license_key(self) -> str:
        """The key of its :class:`License`."""
        return f"{self.library}/{self.license}"

    @cached_property
    def caption(self) -> str:
        """What is known about it in words: the text that keyword search reads.

        The words of its path are added where nothing else says them.
        """
        parts = [self.title, self.artist, ", ".join(self.tags), ", ".join(self.instruments)]
        if self.key is not None:
            parts.append(str(self.key))
        if self.bpm is not None:
            parts.append(f"{self.bpm:.0f} bpm")
        if self.time_signature not in (None, COMMON):
            parts.append("{}/{} time".format(*self.time_signature))
        said = ". ".join(part for part in parts if part)
        known = set(fold(said).replace(",", " ").replace(".", " ").split())
        more = dict.fromkeys(word for word in words_of_path(self.path) if fold(word) not in known)
        return ". ".join(part for part in (said, " ".join(more)) if part)


@dataclass(frozen=True)
class Segment:
    """A window of a stem: the unit that is embedded and retrieved."""

    stem: Stem
    start_s: float
    duration_s: float


@json_form(named="reference", flat=("segment",), later=("fit",))
@dataclass(frozen=True)
class Reference:
    """A retrieved segment; rank counts from 1, a higher score is nearer.

    ``fit`` is the probability, 0…1, that somebody who asked for this would call it right; None
    where no words were searched for.
    """

    segment: Segment
    score: float
    rank: int
    fit: float | None = None

    @property
    def stem(self) -> Stem:
        return self.segment.stem


@dataclass(frozen=True)
class SegmentFilter:
    """Which segments a search may return: every field that is set must hold, lists are any-of.

    ``license_keys`` is never optional: rights are a filter, not an afterthought.
    """

    license_keys: frozenset[str]
    artists: tuple[str, ...] = ()
    bpm_ranges: tuple[tuple[float, float], ...] = ()
    keys: tuple[Key, ...] = ()
    kind: StemKind | None = None
    tags: tuple[str, ...] = ()
    min_duration_s: float | None = None
    stems: tuple[str, ...] = ()
    exclude: tuple[str, ...] = field(default=())
    libraries: tuple[str, ...] = ()
    sample_types: tuple[SampleType, ...] = ()


# What a catalogue holds of libraries and files.


class Refresh(StrEnum):
    """What an indexing run makes anew of files that did not change."""

    ANALYSIS = "analysis"
    """Measurements, landmarks and derived tags; the vectors stay."""


class AnalysisScope(StrEnum):
    """What is estimated of sound when it is indexed."""

    FULL = "full"
    """Tempo, key and sample type, tempo and key only where nobody declared them."""
    NONE = "none"
    """None of them: they are what the tables, tags and names say, else unknown."""


class EngineName(StrEnum):
    """Where the files of a library are measured and embedded."""

    LOCAL = "local"
    """In processes of this machine."""
    RAY = "ray"
    """On a Ray cluster."""


@dataclass(frozen=True)
class LibraryInfo:
    """A library in the catalogue."""

    id: str
    name: str
    root: str
    stems: int


@dataclass(frozen=True)
class FileState:
    """What the indexer remembers of a file: unchanged size and time mean unchanged bytes.

    ``declared`` is a hash of the row's metadata and license, so that an edited row re-indexes.
    ``decision`` is the key of the license that ``library.toml`` lets hold for the file's bytes,
    where the same bytes lie under several licenses; empty where it says nothing.
    ``measured_by`` is the version of the measurements in ``stem``; 0: of a release that did not
    say.
    """

    path: str
    size: int
    mtime_ns: int
    declared: str
    space: str
    stem: Stem
    decision: str = ""
    measured_by: int = 0


@dataclass(frozen=True)
class WithheldFile:
    """A file that was not indexed because its license grants nothing now: it ended, was taken
    away or cannot be read. Its bytes are claimed by that license all the same.

    ``stem`` is the sha256 of its bytes, ``license`` an id, ``artist`` as ``stems.csv`` has it.
    """

    path: str
    size: int
    mtime_ns: int
    stem: str
    license: str
    artist: str = ""
    decision: str = ""

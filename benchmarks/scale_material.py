"""Homes of any size for :mod:`benchmarks.bench_scale`, written through the product's own classes.

Everything in them is made up: libraries, artists, stems, vectors, outputs and fingerprints. A
stem's bytes are one of a few sounds followed by a chunk that holds the stem's number, so that its
id (the hash of its bytes) is known without writing it; :func:`open_home` writes a file when
something wants to read it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import struct
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rag_audio
from indexer.index_points import points, windows
from indexer.measure import MEASURED_BY
from rag_audio.domain import (
    AttributionRecord,
    Audio,
    Channel,
    Influence,
    Key,
    License,
    Reference,
    SampleType,
    Segment,
    SourceUse,
    Stem,
    StemKind,
    Use,
)
from rag_audio.domain.stems import FileState
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.ledger.numbering import next_number
from rag_audio.provenance.ledger.tables import LOCK
from rag_audio.provenance.trace.fingerprint import Fingerprint, PeakSet, find_peaks, make_query
from rag_audio.storage.database import writing
from rag_audio.storage.library_files import StoredFile
from rag_audio.storage.shared_index import SharedIndex

DIMENSION = 512
LIBRARIES = 50
LICENSES = 4
"""Of each library."""
STEMS_PER_ARTIST = 100
SOUNDS = 16
"""Different sounds; every stem is one of them, with a number behind it."""
SOUND_S = 30.0
SOUND_RATE = 22_050
YEAR = datetime(2025, 1, 1, tzinfo=UTC)
"""The outputs are spread over the year that begins here."""
REVOKED = 5_000
_BATCH = 2_000
_OUTPUTS_AT_ONCE = 500
_VERSION = 1
"""Of what is built: a folder of another version is built anew."""
WORDS = (
    "drums", "bass", "piano", "strings", "warm", "boom bap", "lead", "pad", "organ", "vinyl",
    "guitar", "brass", "flute", "choir", "bright", "dark", "ambient", "techno", "jazz", "funk",
    "dub", "house", "ballad", "pluck", "bells", "marimba", "noise", "riser", "arp", "groove",
)  # fmt: skip
_SYLLABLES = (
    "ba be bi bo bu da de di do du fa fe fi fo ga ge gi go ka ke ki ko la le li lo ma me mi mo "
    "na ne ni no pa pe pi po ra re ri ro sa se si so ta te ti to va ve vi vo za ze zi zo"
).split()

Say = Callable[[str], None]


@dataclass(frozen=True)
class Scale:
    """How large a home is.

    Attributes:
        stems: rows of the catalogue. outputs: entries of the ledger. segments: points of the index.
        prints: fingerprints of outputs.
    """

    stems: int
    outputs: int
    segments: int
    prints: int

    @property
    def artists(self) -> int:
        return max(1, self.stems // STEMS_PER_ARTIST)


class WideEmbedder:
    """The embedded CLAP, its vectors turned into :data:`DIMENSION` dimensions; cosines stay."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        square = np.random.default_rng(5).standard_normal((DIMENSION, inner.dimension))
        self._turn = np.linalg.qr(square)[0].T.astype(np.float32)
        self.space = f"wide-{inner.space}"
        self.dimension = DIMENSION

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._inner.embed_text(texts) @ self._turn)

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._inner.embed_audio(clips) @ self._turn)


class Sounds:
    """The sounds of all stems: a few, and the bytes that tell the stems apart."""

    @cached_property
    def _heads(self) -> list[bytes]:
        return [_wave(number) for number in range(SOUNDS)]

    @cached_property
    def _hashes(self) -> list[Any]:
        return [sha256(head) for head in self._heads]

    def id_of(self, number: int) -> str:
        """The id of a stem: the hash of its bytes."""
        digest = self._hashes[number % SOUNDS].copy()
        digest.update(_numbered(number))
        return digest.hexdigest()

    def bytes_of(self, number: int) -> bytes:
        return self._heads[number % SOUNDS] + _numbered(number)


def open_home(folder: Path) -> Workspace:
    """The workspace of a home that was built; a stem's file is written when its place is asked
    for."""
    opened = rag_audio.open(folder / "home", territory="DE")
    home = opened.home
    home.embedder = WideEmbedder(home.embedder)
    found, sounds = home.catalogue.stored_file, Sounds()

    def stored_file(stem: Stem) -> StoredFile:
        place = Path(str(found(stem)))
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(sounds.bytes_of(int(place.stem)))
        return place

    home.catalogue.stored_file = stored_file  # type: ignore[method-assign]
    return opened


def artist_name(number: int) -> str:
    """An invented name, another for every number."""
    rng = np.random.default_rng([7, number])
    first, second = ("".join(rng.choice(_SYLLABLES, int(rng.integers(2, 4)))) for _ in range(2))
    return f"{first.title()} {second.title()} {_in_letters(number)}"


def library_id(number: int) -> str:
    return f"library-{number:02}"


def license_ids(number: int) -> list[str]:
    return [f"{library_id(number)}-{one}" for one in range(LICENSES)]


class Maker:
    """Makes the stems, points, outputs and fingerprints of a home; the same for the same number."""

    def __init__(self, scale: Scale, embedder: Any) -> None:
        self.scale, self._embedder = scale, embedder
        self._sounds = Sounds()
        self._names: dict[int, str] = {}
        words = embedder.embed_text(list(WORDS))
        self._words = np.asarray(words, dtype=np.float32)

    @cached_property
    def _peaks(self) -> list[PeakSet]:
        return [find_peaks(_sound(number)) for number in range(SOUNDS)]

    def stem(self, number: int) -> Stem:
        """Its library follows from its artist, of whom there are :data:`STEMS_PER_ARTIST`."""
        artist = number // STEMS_PER_ARTIST
        library = artist % LIBRARIES
        name = self._names.setdefault(artist, artist_name(artist))
        license = license_ids(library)[artist // LIBRARIES % LICENSES]
        tags = WORDS[number % len(WORDS)], WORDS[number // 7 % len(WORDS)]
        return Stem(
            id=self._sounds.id_of(number),
            library=library_id(library),
            path=f"{artist:06}/{number:08}.wav",
            kind=StemKind.AUDIO,
            license=license,
            duration_s=SOUND_S,
            artist=name,
            artist_declared=True,
            title=f"{tags[0]} {number}",
            tags=tuple(dict.fromkeys(tags)),
            bpm=70.0 + number % 90,
            bpm_confidence=1.0,
            key=Key(number % 12, bool(number % 2)),
            key_confidence=1.0,
            loudness_lufs=-18.0,
            sample_type=SampleType.PHRASE,
        )

    def vectors(self, number: int, count: int) -> NDArray[np.float32]:
        """``[count, D]`` near what the embedder makes of the stem's tags."""
        rng = np.random.default_rng([11, number])
        first, second = number % len(WORDS), number // 7 % len(WORDS)
        centre = self._words[first] + 0.5 * self._words[second]
        noise = rng.standard_normal((count, DIMENSION)).astype(np.float32)
        found = centre / np.linalg.norm(centre) + 0.9 * noise / np.sqrt(DIMENSION)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def record(self, output: int) -> AttributionRecord:
        """An output of two sources, at its place in the year."""
        rng = np.random.default_rng([13, output])
        created = YEAR + timedelta(seconds=output * 365 * 86_400 / (self.scale.outputs + 1))
        sources = []
        for rank, number in enumerate(rng.integers(0, self.scale.stems, 2).tolist(), start=1):
            stem = self.stem(number)
            used = {Channel.PROMPT: 0.1, Channel.INIT: 0.25}
            sources.append(
                SourceUse(
                    Reference(Segment(stem, 0.0, 10.0), 0.7, rank),
                    license_of(stem.library, stem.license),
                    Influence(used, None, 0.5),
                )
            )
        return AttributionRecord(
            output=output,
            created=created,
            request={"prompt": "dusty boom bap", "negative_prompt": "", "duration_s": 10.0},
            plan={"enriched_prompt": "dusty boom bap, warm keys", "strength": 0.4, "notes": []},
            sources=tuple(sources),
            model_share={Channel.PROMPT: 0.8, Channel.INIT: 0.5},
            model="bench",
            model_id="0" * 64,
            embedder_id="bench",
            index_id="bench",
            untrained=False,
            seed=output,
            pcm_sha256=sha256(b"pcm %d" % output).hexdigest(),
            marked_pcm_sha256=sha256(b"marked %d" % output).hexdigest(),
            files={"out.wav": sha256(b"file %d" % output).hexdigest()},
            watermark={"name": "spread-spectrum", "payload": output},
            versions={"numpy": "2"},
        )

    def fingerprint(self, output: int) -> Fingerprint:
        """Of ten seconds of one of the sounds, at another tempo and pitch."""
        rng = np.random.default_rng([17, output])
        peaks = self._peaks[output % SOUNDS]
        start = rng.uniform(0.0, SOUND_S - 10.0)
        low, high = np.searchsorted(peaks.times_s, (start, start + 10.0))
        some = PeakSet(peaks.times_s[low:high] - start, peaks.semitones[low:high], 10.0)
        query = make_query(some, rng.uniform(0.7, 1.4), rng.uniform(-12, 12))
        times = np.rint(query.times_s[query.landmarks] * 1e3).astype(np.int64)
        _, once = np.unique(query.landmarks, return_index=True)
        rows = np.unique(np.stack([query.hashes[once], times[once]], axis=1), axis=0)
        return Fingerprint(rows[:, 0], rows[:, 1], 10.0)


def license_of(library: str, license: str) -> License:
    number = int(library.rpartition("-")[2])
    return License(
        license,
        library,
        f"Holder {number:02} (invented)",
        "LicenseRef-Bench",
        frozenset({Use.PROMPT, Use.INIT_AUDIO, Use.STYLE}),
    )


def build(folder: Path, scale: Scale, say: Say) -> dict[str, float]:
    """Build what is missing of a home; a part that was finished stays.

    Returns:
        Seconds of each part, as they were when it was built.
    """
    marks = folder / "built.json"
    known: dict[str, Any] = {}
    if marks.exists():
        known = json.loads(marks.read_text(encoding="utf-8"))
    if known.get("version") != _VERSION:
        shutil.rmtree(folder, ignore_errors=True)
        known = {"version": _VERSION, "seconds": {}}
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"catalogue": scale.stems, "index": scale.segments}
    sizes |= {"ledger": scale.outputs, "prints": scale.prints}
    with open_home(folder) as opened:
        maker = Maker(scale, opened.home.embedder)
        for part, size in sizes.items():
            if known.get(part) == size:
                continue
            if known.get(part) is not None:
                raise SystemExit(
                    f"{folder} holds {known[part]} of {part}: remove it, or name {size}"
                )
            began = time.perf_counter()
            _BUILDERS[part](opened, maker, folder, say)
            known[part] = size
            known["seconds"][part] = time.perf_counter() - began
            marks.write_text(json.dumps(known), encoding="utf-8")
    seconds: dict[str, float] = known["seconds"]
    return seconds


def _build_catalogue(opened: Workspace, maker: Maker, folder: Path, say: Say) -> None:
    catalogue, scale = opened.home.catalogue, maker.scale
    for number in range(min(LIBRARIES, scale.artists)):
        library = library_id(number)
        catalogue.put_library(library, library, str(folder / "files" / library))
        catalogue.put_licenses(library, [license_of(library, one) for one in license_ids(number)])
    space = opened.home.embedder.space
    done = 0
    for library, numbers in _by_library(scale):
        states = (_state(maker.stem(number), space) for number in numbers)
        while some := list(islice(states, _BATCH)):
            catalogue.put_files(library, some)
            done += len(some)
            say(f"catalogue: {done:,} of {scale.stems:,} rows")
        catalogue.seal(library)


def _state(stem: Stem, space: str) -> FileState:
    return FileState(stem.path, 1_323_100, 1, "declared", space, stem, "", MEASURED_BY)


def _by_library(scale: Scale) -> Iterator[tuple[str, Iterator[int]]]:
    for library in range(min(LIBRARIES, scale.artists)):
        artists = range(library, scale.artists, LIBRARIES)
        numbers = (a * STEMS_PER_ARTIST + n for a in artists for n in range(STEMS_PER_ARTIST))
        yield library_id(library), (n for n in numbers if n < scale.stems)


def _build_index(opened: Workspace, maker: Maker, folder: Path, say: Say) -> None:
    home, scale = opened.home, maker.scale
    window_s, waiting, done = home.embedder.window_s, [], 0
    each = max(1, -(-scale.segments // scale.stems))
    for number in range(scale.stems):
        stem = maker.stem(number)
        where = windows(stem.duration_s, window_s)[: min(each, scale.segments - done)]
        if not where:
            break
        waiting += points(stem, where, list(maker.vectors(number, len(where))))
        done += len(where)
        if len(waiting) >= _BATCH:
            home.index.upsert(waiting)
            waiting = []
            say(f"index: {done:,} of {scale.segments:,} segments")
    if waiting:
        home.index.upsert(waiting)
    if isinstance(home.index, SharedIndex):
        home.index.build(lambda built, of: say(f"index: {built:,} of {of:,} segments in the graph"))


def _build_ledger(opened: Workspace, maker: Maker, folder: Path, say: Say) -> None:
    ledger, database = opened.home.ledger, opened.home.database
    done = 0
    while done < maker.scale.outputs:
        count = min(_OUTPUTS_AT_ONCE, maker.scale.outputs - done)
        with writing(database, LOCK) as db:
            numbers = [next_number(db, lambda _: False) for _ in range(count)]
        ledger.append_many([maker.record(number) for number in numbers])
        done += count
        say(f"ledger: {done:,} of {maker.scale.outputs:,} outputs")


def _build_prints(opened: Workspace, maker: Maker, folder: Path, say: Say) -> None:
    store = opened.home.fingerprints
    for start in range(1, maker.scale.prints + 1, _OUTPUTS_AT_ONCE):
        numbers = range(start, min(start + _OUTPUTS_AT_ONCE, maker.scale.prints + 1))
        made = {number: maker.fingerprint(number) for number in numbers}
        store.put_many(made.items())
        say(f"fingerprints: {numbers[-1]:,} of {maker.scale.prints:,} outputs")


_BUILDERS: dict[str, Callable[[Workspace, Maker, Path, Say], None]] = {
    "catalogue": _build_catalogue,
    "index": _build_index,
    "ledger": _build_ledger,
    "prints": _build_prints,
}


def sizes_of(folder: Path) -> dict[str, int]:
    """Bytes on the disk of a home's database, its index and its whole folder."""

    def used(place: Path) -> int:
        if place.is_file():
            return place.stat().st_blocks * 512
        walked = (Path(at) / name for at, _, names in os.walk(place) for name in names)
        return sum(file.stat().st_blocks * 512 for file in walked)

    home = folder / "home"
    return {"database": used(home / "ledger.db"), "index": used(home / "index"), "home": used(home)}


_UNITS = {
    "a stem": ("files", "stems", "stem_tags", "stem_groups"),
    "an output": (
        "ledger_entries", "ledger_sources", "ledger_hashes", "ledger_private", "ledger_outputs",
        "ledger_nodes",
    ),
    "a fingerprint": ("fingerprints", "output_postings", "output_hash_counts"),
}  # fmt: skip


def unit_sizes(folder: Path, scale: Scale) -> dict[str, int]:
    """Bytes of the database for each stem, output and fingerprint, with their indexes."""
    database = sqlite3.connect(f"file:{folder / 'home' / 'ledger.db'}?mode=ro", uri=True)
    with closing(database):
        table_of = dict(database.execute("SELECT name, tbl_name FROM sqlite_master"))
        sizes: Counter[str] = Counter()
        for name, size in database.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name"):
            sizes[table_of.get(name, name)] += size
    numbers = (scale.stems, scale.outputs, scale.prints)
    return {
        unit: round(sum(sizes[table] for table in tables) / max(1, number))
        for (unit, tables), number in zip(_UNITS.items(), numbers, strict=True)
    }


def _sound(number: int) -> Audio:
    """A pattern of decaying chords over a pulse, different for every number."""
    rng = np.random.default_rng([3, number])
    at = np.arange(int(SOUND_S * SOUND_RATE)) / SOUND_RATE
    beat = 60.0 / rng.uniform(80, 150)
    sound = np.zeros_like(at)
    rings = at[: SOUND_RATE * 3 // 2]
    for start in np.arange(0.0, SOUND_S - 1.5, beat / 2):
        pitch = 110.0 * 2 ** (rng.integers(0, 36) / 12)
        tone = sum(np.sin(2 * np.pi * pitch * k * rings) / k for k in (1, 2, 3, 5))
        first = int(start * SOUND_RATE)
        sound[first : first + rings.size] += tone * np.exp(-rings * rng.uniform(3, 9))
    sound += 0.02 * rng.standard_normal(at.size)
    return Audio((0.5 * sound / np.abs(sound).max()).astype(np.float32)[None], SOUND_RATE)


def _wave(number: int) -> bytes:
    """A WAV file whose RIFF size counts the chunk that :func:`_numbered` adds."""
    pcm = (_sound(number).samples[0] * 32767).astype("<i2").tobytes()
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes(pcm)
    data = made.getvalue()
    return data[:4] + struct.pack("<I", len(data) - 8 + len(_numbered(0))) + data[8:]


def _numbered(number: int) -> bytes:
    return struct.pack("<4sIQ", b"numb", 8, number)


def _in_letters(number: int) -> str:
    """A number in letters, so that a name holds no digits."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters.title()

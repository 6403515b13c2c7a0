"""What the ranking benchmark searches in: catalogues of invented artists, with known truth.

Each artist plays two genres, mostly in a tempo range and around a tonic; the pieces are composed by
``training.corpus`` from seeds that no checkpoint of this repository has seen. Some of an artist's
pieces stay out of the library: each is a request (its words, tempo and key) and a sound that the
outputs should be like.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag_audio.audio import writing
from rag_audio.domain import Audio, Key, Stem
from rag_audio.resources import data_dir
from training.corpus import Facts, Piece, compose, own_soundfont, render
from training.demo_works import ARTISTS as DEMO_ARTISTS
from training.demo_works import WORKS, Line
from training.palette import DRUMS, TONES
from training.theory import Scale

FIRST_SEED = 60_000_000  # training counts from 0, other held-out sets from 10, 20 and 40 million
SECONDS, RATE = 12.0, 24_000
_ASTRAY = 0.25  # of the pieces off an artist's tempo or keys, how many are kept
_GENRE_SAID, _MOOD_SAID = 0.5, 0.3  # how often a stem's tags say them

_LIBRARY = """[library]
name = "Invented artists"

[licenses.all]
holder = "Nobody"
spdx = "CC0-1.0"
uses = ["prompt", "init_audio", "style"]
"""


@dataclass(frozen=True)
class Artist:
    """What is typical of an invented artist.

    Attributes:
        bpm: range in which most pieces are.
        tonic: pitch class of the major key in the middle of most pieces' keys.
    """

    name: str
    genres: tuple[str, str]
    bpm: tuple[float, float]
    tonic: int


ARTISTS = (
    Artist("Velvet Tram Assembly", ("house", "techno"), (120, 130), 0),
    Artist("The Tin Orchard", ("lo-fi", "hip hop"), (74, 90), 5),
    Artist("Harrow Vale Ensemble", ("classical", "cinematic"), (76, 104), 2),
    Artist("Saltpan Causeway", ("blues", "folk"), (84, 116), 7),
    Artist("Copper Marsh", ("funk", "disco"), (100, 116), 10),
    Artist("Quiet Ferry Four", ("jazz", "bossa nova"), (110, 150), 3),
    Artist("Ninth Ladder Sound", ("reggae", "afrobeat"), (76, 112), 9),
    Artist("Glasshouse Parade", ("synthwave", "chiptune"), (96, 140), 4),
)


@dataclass(frozen=True)
class Truth:
    """What is known of a stem, or wanted of one.

    Attributes:
        families: of its instruments; of a request: of the one that it names.
        key: None for drums.
    """

    artist: str
    genre: str
    families: tuple[str, ...]
    bpm: float
    key: Key | None


@dataclass(frozen=True, eq=False)
class Ask:
    """A request in an artist's style, and what a fitting stem has.

    Attributes:
        held_out: a piece of the artist that is not in the library; None in the demo library.
    """

    number: int
    words: str
    wanted: Truth
    held_out: Path | None


def lay_out(folder: Path, stems: int, held_out: int) -> list[Ask]:
    """Write the artists' library and their held-out pieces; what is there already stays.

    Args:
        stems, held_out: of each artist.
    """
    library = folder / "library"
    library.mkdir(parents=True, exist_ok=True)
    (library / "library.toml").write_text(_LIBRARY, encoding="utf-8")
    rows, asks = ["path,license,artist,title,bpm,key,tags,isrc,downbeat_s"], []
    for artist, pieces in zip(ARTISTS, _cast(stems + held_out), strict=True):
        for n, piece in enumerate(pieces):
            facts = piece.facts
            if n >= stems:
                path = folder / f"held-{piece.seed}.wav"
                words = _asked(facts)
                wanted = Truth(artist.name, facts.genre, (facts.lead_family,), facts.bpm, facts.key)
                asks.append(Ask(len(asks), words, wanted, path))
            else:
                path = library / f"{piece.seed}.wav"
                rows.append(
                    f"{path.name},all,{artist.name},Take {n + 1},{facts.bpm:g},"
                    f"{facts.key or ''},{';'.join(_tags(facts, piece.seed))},,0"
                )
                path.with_suffix(".json").write_text(json.dumps(_plain(artist.name, facts)))
            if not path.is_file():
                _write(piece, path)
    (library / "stems.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return asks


def truth_of(stem: Stem, library: Path) -> Truth:
    """The truth about a stem of the composed library."""
    said = json.loads((library / stem.path).with_suffix(".json").read_text(encoding="utf-8"))
    key = Key.parse(said["key"]) if said["key"] else None
    return Truth(said["artist"], said["genre"], tuple(said["families"]), said["bpm"], key)


def demo_asks(licensed: Collection[str]) -> list[Ask]:
    """A request for every line of every work of the demo's artists that may be asked for."""
    asks = []
    for work in WORKS:
        artist = DEMO_ARTISTS[work.artist]
        if artist.name not in licensed:
            continue
        for line in work.lines:
            key = (
                None if line.role == "drums" else Scale(Key.parse(work.tonic).tonic, work.mode).key
            )
            wanted = Truth(artist.name, artist.tags[0], (_family(line),), work.bpm, key)
            asks.append(Ask(len(asks), f"{artist.tags[0]} {line.name}", wanted, None))
    return asks


def demo_truth(stem: Stem) -> Truth:
    """The truth about a stem of the demo library; an arrangement has all families of its lines."""
    name = Path(stem.path).stem
    for work in WORKS:
        artist = DEMO_ARTISTS[work.artist]
        own = {f"{work.slug}-{line.name.replace(' ', '-')}": (line,) for line in work.lines}
        lines = work.lines if name == work.slug else own.get(name, ())
        if lines:
            families = tuple(_family(line) for line in lines)
            return Truth(artist.name, artist.tags[0], families, work.bpm, stem.key)
    raise ValueError(f"the demo has no stem {stem.path!r}")


def _family(line: Line) -> str:
    return DRUMS if line.role == "drums" else TONES[line.program].family


def demo_folder() -> Path:
    """The demo library."""
    return data_dir("demo")


def _cast(each: int) -> list[list[Piece]]:
    """So many pieces for each artist, from seeds in their order."""
    found: list[list[Piece]] = [[] for _ in ARTISTS]
    for piece in _pieces():
        for artist, own in zip(ARTISTS, found, strict=True):
            if len(own) < each and _is_theirs(artist, piece):
                own.append(piece)
        if all(len(own) == each for own in found):
            break
    return found


def _pieces() -> Iterator[Piece]:
    seed = FIRST_SEED
    while True:
        yield compose(seed, "test")
        seed += 1


def _is_theirs(artist: Artist, piece: Piece) -> bool:
    facts = piece.facts
    if facts.genre not in artist.genres:
        return False
    home = facts.key is None or facts.key in Key(artist.tonic, False).neighbours()
    usual = artist.bpm[0] <= facts.bpm <= artist.bpm[1]
    return (home and usual) or np.random.default_rng(piece.seed).random() < _ASTRAY


def _plain(artist: str, facts: Facts) -> dict[str, object]:
    return {
        "artist": artist, "genre": facts.genre, "families": facts.families, "bpm": facts.bpm,
        "key": str(facts.key) if facts.key else None,
    }  # fmt: skip


def _lead(facts: Facts) -> str:
    return facts.instruments[facts.families.index(facts.lead_family)]


def _asked(facts: Facts) -> str:
    """As people ask: mood, genre, the instrument that leads."""
    return f"{facts.mood} {facts.genre} with {_lead(facts)}"


def _tags(facts: Facts, seed: int) -> list[str]:
    """As catalogues have them: the instruments always, genre and mood not of every stem."""
    rng = np.random.default_rng([seed, 3])
    tags = list(dict.fromkeys(facts.instruments))
    if rng.random() < _GENRE_SAID:
        tags.append(facts.genre)
    return [*tags, facts.mood] if rng.random() < _MOOD_SAID else tags


def _write(piece: Piece, path: Path) -> None:
    made = render(
        piece, seed=piece.seed, sample_rate=RATE, duration_s=SECONDS, soundfont=own_soundfont()
    )
    writing.save(Audio(made, RATE), path, subtype="PCM_16")

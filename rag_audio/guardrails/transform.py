"""Put something licensed in place of a name.

Musical descriptors: genre, era, instruments and tempo, as far as they are known. Or, where the rule
is told so, the licensed artist whose stems' tags are nearest to those descriptors.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from rag_audio.errors import Match
from rag_audio.guardrails.names import Artist
from rag_audio.guardrails.normalise import fold
from rag_audio.guardrails.policy import Action, Policy
from rag_audio.resources import data_dir

_EMPTY = frozenset({"and", "on", "the", "of", "with", "live", "loud", "soft", "hard", "fast"})


@dataclass(frozen=True)
class Rewritten:
    """A prompt without the names, and in words what was done.

    Attributes:
        artist: the licensed artist who was put in; None where there is none, or several.
    """

    prompt: str
    what: str
    artist: str | None = None


@dataclass(frozen=True)
class Genre:
    """What a genre usually sounds like; the tempo is a range of beats per minute."""

    instruments: tuple[str, ...]
    tempo_bpm: str


def rewrite(prompt: str, matches: tuple[Match, ...], policy: Policy) -> Rewritten | None:
    """The prompt with every match replaced; None when somebody is named of whom nothing is known.

    The first mention of an artist is described in full, further ones by era and genre.
    """
    pieces: list[str] = []
    done: list[str] = []
    described: set[str] = set()
    styles: set[str] = set()
    at = 0
    for match in sorted(matches, key=lambda m: m.start):
        if match.start < at:
            continue
        artist = _artist_of(match, policy)
        if artist is None or not artist.genre:
            return None
        to_licensed = policy.action_for(match.rule) is Action.TRANSFORM_LICENSED
        near = nearest_licensed((match,), policy) if to_licensed else None
        if near is not None:
            put, said = near, f"{match.name} became the licensed {near}, the nearest to"
            done.append(f"{said} {describe(artist)!r}")
            styles.add(near)
        else:
            put = describe(artist, full=artist.name not in described)
            described.add(artist.name)
            none = ", no licensed artist being near" if to_licensed else ""
            done.append(f"{match.name} became {put!r}{none}")
        end = match.end
        for possessive in ("'s", "’s"):
            if prompt.startswith(possessive, end):
                end += len(possessive)
                put += "'s" if near is not None else ""
        pieces += [prompt[at : match.start], put]
        at = end
    near = None if styles else nearest_licensed(matches, policy)
    hint = f"; the nearest licensed artist is {near}" if near else ""
    artist_now = next(iter(styles)) if len(styles) == 1 else None
    return Rewritten("".join([*pieces, prompt[at:]]), "; ".join(done) + hint, artist_now)


def describe(artist: Artist, *, full: bool = True) -> str:
    """``1950s jazz with trumpet, double bass, brushed drums at 90-180 bpm``."""
    words = f"{artist.era} {artist.genre}".strip()
    genre = _genres().get(artist.genre)
    if genre is None or not full:
        return words
    return f"{words} with {', '.join(genre.instruments)} at {genre.tempo_bpm} bpm"


def nearest_licensed(matches: tuple[Match, ...], policy: Policy) -> str | None:
    """The licensed artist whose tags share most with what is asked for; None: none shares a word.

    Words of the genre count twice, those of the usual instruments once; an artist's more frequent
    tags decide between equals.
    """
    wanted: dict[str, int] = {}
    for match in matches:
        artist = _artist_of(match, policy)
        if artist is None:
            continue
        genre = _genres().get(artist.genre)
        for instrument in genre.instruments if genre is not None else ():
            wanted |= dict.fromkeys(_telling(instrument), 1)
        wanted |= dict.fromkeys(_telling(artist.genre), 2)
    scores: dict[str, tuple[int, float]] = {}
    for name, tags in policy.styles.items():
        rank: dict[str, int] = {}
        for place, tag in enumerate(tags):
            for word in _telling(tag):
                rank.setdefault(word, place)
        shared = [word for word in rank if word in wanted]
        scores[name] = (sum(wanted[w] for w in shared), sum(1 / (1 + rank[w]) for w in shared))
    best = max(sorted(scores), key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best][0] else None


def _artist_of(match: Match, policy: Policy) -> Artist | None:
    return policy.artist(match.name.partition(" (")[0])


def _telling(phrase: str) -> list[str]:
    """The words of a descriptor that say something by themselves."""
    return [word for word in fold(phrase).split() if word not in _EMPTY]


@cache
def _genres() -> dict[str, Genre]:
    with (data_dir("policy") / "genres.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["genre"]: Genre(tuple(row["instruments"].split(";")), row["tempo_bpm"])
            for row in csv.DictReader(file)
        }

"""Why a use of a stem is refused, and what would let it be used: in words, and in order of cure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from rag_audio.domain.identifiers import COUNTRIES, WORLD

_MOST_NAMED = 5
_STATE_IT = "or RAG_AUDIO_TERRITORY, or territory in the home's settings.toml"


class Obstacle(IntEnum):
    """Kinds of reasons, ordered by how much the requester can do about them, most first."""

    NOT_INDEXED = 0
    TERRITORY_UNSTATED = 1
    TERRITORY = 2
    NOT_BEGUN = 3
    TAGS_ONLY = 4
    REVOKED = 5
    EXPIRED = 6
    USE = 7
    NO_LICENSE = 8


@dataclass(frozen=True)
class Refusal:
    """One reason against a use.

    Attributes:
        reason: the fact, without a final stop: "license full does not grant style".
        cure: what would help, an imperative or a fact; never empty.
    """

    obstacle: Obstacle
    reason: str
    cure: str


NO_CHANNEL = Refusal(Obstacle.USE, "no channel is open", "open one: --channels prompt,init")
"""Where nothing is asked for, nothing is granted."""


def most_curable(refusals: Iterable[Refusal]) -> Refusal | None:
    """The one about which most can be done, of equals always the same; None of none."""
    return min(refusals, key=lambda one: (one.obstacle, one.reason, one.cure), default=None)


@lru_cache(maxsize=1024)  # asked of every stem of a library, again and again
def not_covered(
    license: str, territory: str | None, covered: frozenset[str], excluded: frozenset[str]
) -> Refusal:
    """A license does not hold in a territory, or not in every one where none was stated.

    Args:
        covered, excluded: codes of the license, as :class:`.License` has them.
    """
    where = area(covered, excluded)
    example = _example(covered, excluded)
    if territory is None:
        reason = f"license {license} covers {where}, and no territory was stated"
        if example is None:
            return Refusal(Obstacle.TERRITORY, reason, "the license covers no territory at all")
        cure = f"say where the output will be used: --territory such as {example}, {_STATE_IT}"
        return Refusal(Obstacle.TERRITORY_UNSTATED, reason, cure)
    code = territory.strip().upper()
    reason = f"license {license} covers {where}, and the output is for {code}"
    cure = f"it holds in {where}; --territory says where the output will be used"
    return Refusal(Obstacle.TERRITORY, reason, cure)


def area(covered: Collection[str], excluded: Collection[str]) -> str:
    """Territories in words: ``DE and FR``, ``WORLD without US``."""
    named = sorted(code for code in covered if code != WORLD and code not in excluded)
    if WORLD not in covered:
        return f"{_listed(named)} only" if named else "no territory"
    return f"{WORLD} without {_listed(sorted(excluded))}" if excluded else WORLD


def without_use(license: str, use: str, granted: Iterable[str], holder: str) -> Refusal:
    """A license does not grant a use at all, wherever and whenever."""
    others = _listed(sorted(granted)) or "nothing"
    cure = f"it grants {others}; {holder} could grant {use}, in uses of library.toml"
    return Refusal(Obstacle.USE, f"license {license} does not grant {use}", cure)


def not_begun(license: str, on: object) -> Refusal:
    """A license whose time has not come."""
    cure = "ask again from then on"
    return Refusal(Obstacle.NOT_BEGUN, f"license {license} is valid from {on} only", cure)


def expired(license: str, on: object) -> Refusal:
    """A license whose time is over."""
    cure = "a renewed license has another valid_until in library.toml; then run rag-audio index"
    return Refusal(Obstacle.EXPIRED, f"license {license} expired on {on}", cure)


def not_indexed(artist: str, library: str) -> Refusal:
    """An artist whose files have not been looked at since their license came to grant something."""
    cure = f"run rag-audio index on {library}"
    return Refusal(Obstacle.NOT_INDEXED, f"no stem of {artist} is indexed", cure)


def not_looked_at(library: str) -> Refusal:
    """A file under a license that grants something, which was not indexed while it did not."""
    cure = f"run rag-audio index on {library}"
    return Refusal(Obstacle.NOT_INDEXED, "it is not indexed under its current license", cure)


def no_license(license: str) -> Refusal:
    """A stem's row names a license that its library does not declare."""
    cure = "declare it in library.toml, then run rag-audio index"
    return Refusal(Obstacle.NO_LICENSE, f"no license named {license!r}", cure)


def revoked(what: str, option: str) -> Refusal:
    """A source that was revoked.

    Args:
        what: of what it is said: "artist Late Ferry", "the stem". option: that takes it back.
    """
    cure = (
        f"if that is to end: rag-audio revoke --undo {option}, then rag-audio index on its library"
    )
    return Refusal(Obstacle.REVOKED, f"{what} was revoked", cure)


def unclaimed(key: str) -> Refusal:
    """A person decided for a license under which no file has the bytes."""
    reason = f"library.toml says that license {key} holds, under which no file has it"
    cure = "correct [conflicts] in library.toml, then run rag-audio index"
    return Refusal(Obstacle.NO_LICENSE, reason, cure)


def contested(why: Refusal) -> Refusal:
    """One of several licenses that claim the same bytes refuses a use, and it is undecided which
    one holds."""
    reason = f"{why.reason}; the same bytes are claimed under several licenses"
    cure = f"{why.cure}; or a decision under [conflicts] in library.toml"
    return Refusal(why.obstacle, reason, cure)


def artists_differ(artists: Iterable[str]) -> Refusal:
    """``stems.csv`` names several artists for the same bytes."""
    said = " and ".join(name or "nobody" for name in artists)
    cure = "name one artist for these files in stems.csv, then run rag-audio index"
    return Refusal(Obstacle.USE, f"stems.csv names {said} for the same bytes", cure)


def tags_only(artist: str) -> Refusal:
    """An artist who is named in tags of files only, which grant nothing."""
    reason = f"{artist} is named in tags of files only, which grant nothing"
    cure = "name the artist in stems.csv under a license with style, then run rag-audio index"
    return Refusal(Obstacle.TAGS_ONLY, reason, cure)


def _example(covered: Collection[str], excluded: Collection[str]) -> str | None:
    """A territory that is covered."""
    named = sorted(code for code in covered if code != WORLD and code not in excluded)
    if named:
        return named[0]
    rest = sorted(set(COUNTRIES) - set(excluded)) if WORLD in covered else []
    return "DE" if "DE" in rest else next(iter(rest), None)


def _listed(codes: list[str]) -> str:
    """``DE, FR and US``; a long list ends in how many more there are."""
    if len(codes) > _MOST_NAMED:
        return f"{', '.join(codes[:_MOST_NAMED])} and {len(codes) - _MOST_NAMED} more"
    head, tail = codes[:-1], codes[-1:]
    return f"{', '.join(head)} and {tail[0]}" if head else "".join(tail)

"""The same bytes under several licenses: who claims them, and which licenses hold.

Every file of a library claims its bytes for the license, and the artist, that ``stems.csv`` gives
it. Where the claims differ, all of them hold until a person decides. Nothing here depends on the
order of paths or libraries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from rag_audio.domain import names


@dataclass(frozen=True)
class Claim:
    """One file's claim on the bytes of a stem.

    Attributes:
        library, path: where the file lies.
        license: id of its license in its library.
        artist: as ``stems.csv`` names them, else empty: what a file's tags say claims nothing.
        decision: key of the license that holds for these bytes, as ``library.toml`` says of this
            path; empty where it says nothing.
    """

    library: str
    path: str
    license: str
    artist: str = ""
    decision: str = ""

    @property
    def key(self) -> str:
        """The key (library/id) of its license."""
        return f"{self.library}/{self.license}"


@dataclass(frozen=True)
class Outcome:
    """What holds for bytes that several licenses or artists claim.

    Attributes:
        licenses: keys of the licenses that must all grant a use, sorted.
        artists: names that the claims under those licenses declare, sorted; empty text where one
            of them declares nobody.
        unclaimed: those of the licenses under which no file has these bytes.
        faults: what is wrong with the decisions, one line each.
    """

    licenses: tuple[str, ...]
    artists: tuple[str, ...]
    unclaimed: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()

    @property
    def is_decided(self) -> bool:
        """Whether one license holds, for one artist or for none."""
        return len(self.licenses) == 1 and not self.unclaimed and not self.differ_in_artist

    @property
    def differ_in_artist(self) -> bool:
        return len(self.artists) > 1


@dataclass(frozen=True)
class Conflict:
    """Bytes whose claims differ.

    Attributes:
        stem: id of the stem.
        claims: of all its files, by library and path.
    """

    stem: str
    claims: tuple[Claim, ...]

    @cached_property
    def outcome(self) -> Outcome:
        """What holds; it depends on what is claimed, not on where the files lie."""
        return _outcome(
            frozenset((c.library, c.license, c.artist, c.decision) for c in self.claims)
        )

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all licenses that claim the bytes, whether they hold or not."""
        return frozenset(claim.key for claim in self.claims)

    @property
    def holding(self) -> tuple[Claim, ...]:
        """The claims that no decision sets aside."""
        return tuple(claim for claim in self.claims if claim.key in self.outcome.licenses)

    def within(self, libraries: Collection[str]) -> Conflict | None:
        """The conflict as these libraries alone see it; None where they see none."""
        own = tuple(claim for claim in self.claims if claim.library in libraries)
        return Conflict(self.stem, own) if are_contested(own) else None


def are_contested(claims: Iterable[Claim]) -> bool:
    """Whether the claims on one stem differ, or one gives way to another library's license."""
    claims = list(claims)
    said = {(claim.key, names.exact(claim.artist)) for claim in claims}
    return len(said) > 1 or any(
        claim.decision and library_of(claim.decision) != claim.library for claim in claims
    )


def library_of(key: str) -> str:
    """The library of a license's key."""
    return key.partition("/")[0]


_Said = tuple[str, str, str, str]
"""(library, license, artist, decision) of a claim."""


@lru_cache(maxsize=4096)
def _outcome(said: frozenset[_Said]) -> Outcome:
    """A library may set its own claims aside, never those of another.

    A decision for one of its own licenses ends its claims under others; one for another library's
    license ends all of its claims, whether that license claims the bytes or not: where it does
    not, nothing grants anything. Where the license that a library gives way to is itself set
    aside, by a decision the other way round or in a circle, that decision does not count.
    """
    claimed = {f"{library}/{license}" for library, license, _, _ in said}
    decided, faults = _decisions(said, claimed)
    while True:
        left = {key for key in claimed if decided.get(library_of(key), key) == key}
        refuted = {
            library for library, key in decided.items() if key in claimed and key not in left
        }
        if not refuted:
            break
        faults += [
            f"library {library} gives way to {decided[library]}, which its own library sets aside"
            for library in sorted(refuted)
        ]
        decided = {name: key for name, key in decided.items() if name not in refuted}
    unclaimed = frozenset(decided.values()) - claimed
    for library, key in sorted(decided.items()):
        rest = sorted(one for one in left if library_of(one) != library)
        if rest and library_of(key) == library:
            faults.append(
                f"library {library} says that {key} holds, and {_and(rest)} claims the bytes too, "
                "which only its own library can set aside"
            )
    faults += [f"license {key} is to hold and does not claim these bytes" for key in unclaimed]
    artists: dict[str, str] = {}
    for library, license, artist, _ in sorted(said):
        if f"{library}/{license}" in left:
            artists.setdefault(names.exact(artist), artist)
    return Outcome(
        tuple(sorted(left | unclaimed)),
        tuple(sorted(artists.values())),
        unclaimed,
        tuple(sorted(faults)),
    )


def _decisions(
    said: frozenset[_Said], claimed: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """By library the license that it says holds, and what is wrong with the rest."""
    told: dict[str, set[str]] = {}
    for library, _, _, decision in said:
        if decision:
            told.setdefault(library, set()).add(decision)
    decided: dict[str, str] = {}
    faults = []
    for library, keys in sorted(told.items()):
        if len(keys) > 1:
            faults.append(f"library {library} says of these bytes that {_and(keys)} hold")
            continue
        (key,) = keys
        if key in claimed or library_of(key) != library:
            decided[library] = key
        else:
            faults.append(f"license {key} is to hold and does not claim these bytes")
    return decided, faults


def _and(keys: Iterable[str]) -> str:
    return " and ".join(sorted(keys))

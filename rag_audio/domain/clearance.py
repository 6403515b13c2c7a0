"""What a request may use: read once when it begins, and anew once before anything is delivered."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from rag_audio.domain import Rights, Stem
from rag_audio.domain.conflicts import Conflict
from rag_audio.domain.holdings import LibraryHoldings
from rag_audio.errors import InvalidInput

NO_LICENSE_SIMILARITY = 0.5
"""How near a copy, 0…1, an output may be to a stem whose license is not in the catalogue."""
_SHOWN_IDS = 4
TOLD_IDS = _SHOWN_IDS + 1
"""So many of several ids are told apart."""


class AsksStems(Protocol):
    """Questions about the stems of a catalogue, as far as the asker may see it."""

    def stem(self, id_prefix: str) -> Stem:
        """The stem whose id starts so.

        Raises:
            InvalidInput: none or several do, or the text is not the start of an id.
        """
        ...

    def stems_by(self, artist: str) -> list[Stem]:
        """The stems of an artist (:func:`rag_audio.domain.names.same`), by library and path."""
        ...

    def stems_under(self, keys: Collection[str], most: int) -> list[Stem]:
        """Some stems under licenses, neither contested nor revoked."""
        ...


@dataclass(frozen=True, eq=False)
class Clearance:
    """The rights of a home as they stood at one moment, for one territory.

    Whether a stem may be used is decided by :meth:`.why_not` alone.

    Attributes:
        rights: licenses, revocations and conflicts.
        holdings: the stems, counted in groups that rights cannot tell apart.
        catalogue: whom to ask for stems themselves, as they are when they are asked for.
        limits: ``max_similarity``, 0…1, by license: of all there are, also of those that grant
            nothing. A stem whose license is no longer in the catalogue may not be resembled at all
            closely. A stem that several licenses claim has a limit by its id: the smallest of
            theirs.
        withheld: (artist, library, license) that ``stems.csv`` gives to files which grant nothing.
        revision: the epoch of the catalogue: equal for as long as nothing in it changes.
    """

    rights: Rights
    holdings: LibraryHoldings
    catalogue: AsksStems
    limits: Mapping[str, float]
    withheld: tuple[tuple[str, str, str], ...] = ()
    revision: str = ""
    _asked: dict[str, Stem] = field(default_factory=dict, repr=False)

    @property
    def moment(self) -> date:
        """When it was read, UTC, or the day that it is for."""
        return self.rights.on

    def stem(self, id_prefix: str) -> Stem:
        """The stem whose id starts so, asked for once; raises as :meth:`.AsksStems.stem` does."""
        if id_prefix not in self._asked:
            self._asked[id_prefix] = self.catalogue.stem(id_prefix)
        return self._asked[id_prefix]

    def stems_by(self, artist: str) -> list[Stem]:
        """The stems of an artist, by library and path."""
        return self.catalogue.stems_by(artist)


def standing(stem: Stem, conflict: Conflict | None) -> tuple[object, ...]:
    """Orders the copies of one stem, and stems by library and path.

    In a conflict the copies whose license holds come first, and paths have no say before licenses
    and artists.
    """
    if conflict is None:
        return (False, stem.library, "", "", stem.path)
    aside = stem.license_key not in conflict.outcome.licenses
    artist = stem.artist if stem.artist_declared else ""
    return (aside, stem.library, stem.license, artist, stem.path)


def checked_prefix(id_prefix: str) -> str:
    """The start of a stem's id, as ids are written.

    Raises:
        InvalidInput: the text is not the start of an id.
    """
    prefix = id_prefix.strip().lower()
    if not prefix or len(prefix) > 64 or not set(prefix) <= set(string.hexdigits):
        raise InvalidInput(
            f"{id_prefix!r} is not a stem id",
            hint="an id is up to 64 hexadecimal digits; `rag-audio search --json` shows them",
        )
    return prefix


def the_one(ids: Sequence[str], number: int, id_prefix: str) -> str:
    """The one id that there is.

    Args:
        ids: those that start so, in order; of many the first :data:`TOLD_IDS`.
        number: how many there are.

    Raises:
        InvalidInput: there is none, or there are several.
    """
    if not ids:
        raise InvalidInput(
            f"no stem's id starts with {id_prefix!r}",
            hint="`rag-audio library` lists the stems that are indexed",
        )
    if number > 1:
        shown = ", ".join(_telling(id_, ids) for id_ in ids[:_SHOWN_IDS])
        more = "…" if number > _SHOWN_IDS else ""
        raise InvalidInput(
            f"{number} stems' ids start with {id_prefix!r}: {shown}{more}",
            hint="write more digits of the id",
        )
    return ids[0]


def _telling(id_: str, ids: Sequence[str]) -> str:
    """The shortest start of an id, at least 8 digits, that none of the others shares."""
    length = 8
    while length < len(id_) and sum(other.startswith(id_[:length]) for other in ids) > 1:
        length += 1
    return id_[:length]

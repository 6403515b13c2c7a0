"""What a request may use: read once when it begins, and anew once before anything is delivered."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from rag_audio.domain import Rights, Stem
from rag_audio.domain.conflicts import Conflict
from rag_audio.errors import InvalidInput

NO_LICENSE_SIMILARITY = 0.5
"""How near a copy, 0…1, an output may be to a stem whose license is not in the catalogue."""
_SHOWN_IDS = 4


@dataclass(frozen=True, eq=False)
class Clearance:
    """The rights of a home as they stood at one moment, for one territory: one database read.

    Whether a stem may be used is decided by :meth:`.why_not` alone.

    Attributes:
        rights: licenses, revocations and conflicts.
        stems: one per library and content, by library and path.
        withheld: (artist, library, license) that ``stems.csv`` gives to files which grant nothing.
        revision: SHA-256, hex, of the rows that ``rights`` and ``withheld`` were made from: equal
            for as long as none of them changes.
    """

    rights: Rights
    stems: tuple[Stem, ...]
    withheld: tuple[tuple[str, str, str], ...] = ()
    revision: str = ""

    @property
    def moment(self) -> date:
        """When it was read, UTC, or the day that it is for."""
        return self.rights.on

    @cached_property
    def limits(self) -> dict[str, float]:
        """``max_similarity``, 0…1, by license: of all there are, also of those that grant nothing.

        A stem whose license is no longer in the catalogue may not be resembled at all closely. A
        stem that several licenses claim has a limit by its id: the smallest of theirs.
        """
        rights = self.rights
        found = {key: granted.max_similarity for key, granted in rights.licenses.items()}
        for stem in self.stems:
            found.setdefault(stem.license_key, NO_LICENSE_SIMILARITY)
        for id_, conflict in rights.conflicts.items():
            keys = conflict.outcome.licenses
            found[id_] = min(found.get(key, NO_LICENSE_SIMILARITY) for key in keys)
        return found

    def stem(self, id_prefix: str) -> Stem:
        """The stem whose id starts so.

        Raises:
            InvalidInput: none or several do, or the text is not the start of an id.
        """
        prefix = checked_prefix(id_prefix)
        found = [stem for stem in self.stems if stem.id.startswith(prefix)]
        return first_of(found, self.rights.conflicts, id_prefix)


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


def one_per_content(stems: Iterable[Stem], conflicts: Mapping[str, Conflict]) -> list[Stem]:
    """One stem per library and content, the first by :func:`standing`, by library and path."""
    stems = sorted(stems, key=_place)
    disputed = [stem for stem in stems if stem.id in conflicts]
    disputed.sort(key=lambda stem: standing(stem, conflicts[stem.id]))
    first: dict[tuple[str, str], Stem] = {}
    for stem in (*disputed, *stems):
        first.setdefault((stem.library, stem.id), stem)
    return sorted(first.values(), key=_place) if disputed else list(first.values())


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


def first_of(found: Iterable[Stem], conflicts: Mapping[str, Conflict], id_prefix: str) -> Stem:
    """Of the stems whose ids start so the one there is; of its copies the first by
    :func:`standing`.

    Raises:
        InvalidInput: there is none, or their ids differ.
    """
    stems = list(found)
    ids = sorted({stem.id for stem in stems})
    if not ids:
        raise InvalidInput(
            f"no stem's id starts with {id_prefix!r}",
            hint="`rag-audio library` lists the stems that are indexed",
        )
    if len(ids) > 1:
        shown = ", ".join(_telling(id_, ids) for id_ in ids[:_SHOWN_IDS])
        more = "…" if len(ids) > _SHOWN_IDS else ""
        raise InvalidInput(
            f"{len(ids)} stems' ids start with {id_prefix!r}: {shown}{more}",
            hint="write more digits of the id",
        )
    return min(stems, key=lambda stem: standing(stem, conflicts.get(stem.id)))


def _place(stem: Stem) -> tuple[str, str]:
    return stem.library, stem.path


def _telling(id_: str, ids: list[str]) -> str:
    """The shortest start of an id, at least 8 digits, that none of the others shares."""
    length = 8
    while length < len(id_) and sum(other.startswith(id_[:length]) for other in ids) > 1:
        length += 1
    return id_[:length]

"""What becomes of the other copies of the same bytes when a source is revoked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rag_audio import names
from rag_audio.conflict_documents import conflict_json
from rag_audio.conflicts import Claim, Conflict
from rag_audio.domain import Rights, Stem
from rag_audio.home import Home
from rag_audio.licensing import Revocation, RevocationOf


def copies_left(
    home: Home, asked: Revocation, stems: Iterable[Stem], *, undone: bool = False
) -> list[dict[str, Any]]:
    """What becomes of the other files with the bytes of stems that a revocation is about.

    Args:
        stems: those that it is about.

    Returns:
        For each stem that other files hold too, or other licenses claim: ``stem``, ``copies`` (the
        others: library, path, license, holder), whether it is ``usable`` and what is ``granted``
        once the revocation is in force (with ``undone``: taken back), and ``says``, one line.
    """
    rights, keys = home.rights(), keys_of(home, asked)
    if not undone:
        rights = _with(rights, asked, keys)
    holders = {key: license.holder for key, license in rights.licenses.items()}
    found = []
    for id_ in dict.fromkeys(stem.id for stem in stems):
        conflict = rights.conflicts.get(id_) or _agreeing(home, id_, asked)
        if conflict is None:
            continue
        others = [one for one in conflict.claims if not is_about(asked, one, keys)]
        if asked.of is RevocationOf.STEM:
            others = list(conflict.claims)
        document = conflict_json(conflict, rights)
        copies = [
            {
                "library": one.library,
                "path": one.path,
                "license": one.license,
                "holder": holders.get(one.key, ""),
            }
            for one in others
        ]
        granted: list[str] = document["granted"]
        found.append(
            {
                "stem": id_,
                "copies": copies,
                "usable": bool(granted),
                "granted": granted,
                "says": _told(asked, conflict, others, document),
            }
        )
    return found


def _told(
    asked: Revocation, conflict: Conflict, others: list[Claim], document: dict[str, Any]
) -> str:
    told = ", ".join(f"{one.library}: {one.path} ({one.license})" for one in others)
    places = f"also in {told}" if told else "in no other file"
    held = " and ".join(conflict.outcome.licenses)
    if document["granted"]:
        return f"{places}: usable under {held}: {', '.join(document['granted'])}"
    if asked.of is RevocationOf.STEM:
        return f"{places}: not usable, they are the same bytes"
    why = next(iter(document["refusals"].values()), "nothing is granted")
    if conflict.outcome.is_decided:
        return f"{places}: not usable, by decision {held} holds: {why}"
    return (
        f"{places}: not usable, the same bytes: {why}; "
        f"a decision for another license would change that: {document['decide']}"
    )


def artists_of_stems(home: Home) -> set[str]:
    """Names of the stems' artists, with those whom only a further copy of the same bytes names."""
    written = {one.artist for one in home.catalogue.stems()}
    conflicts = home.rights().conflicts.values()
    written.update(claim.artist for one in conflicts for claim in one.claims)
    return written - {""}


def keys_of(home: Home, asked: Revocation) -> frozenset[str]:
    """How the artist of a revocation is compared; none where it is of something else."""
    if asked.of is not RevocationOf.ARTIST:
        return frozenset()
    return frozenset({names.revocation_key(asked.target, artists_of_stems(home))})


def is_about(asked: Revocation, claim: Claim, keys: frozenset[str]) -> bool:
    """Whether a revocation of a license or an artist names a claim.

    Args:
        keys: of the artist; see :func:`keys_of`.
    """
    if asked.of is RevocationOf.LICENSE:
        return claim.key == asked.target
    return asked.of is RevocationOf.ARTIST and names.is_revoked(claim.artist, keys)


def _agreeing(home: Home, id_: str, asked: Revocation) -> Conflict | None:
    """Several files that say the same of a stem which is revoked by its id."""
    copies = home.catalogue.copies(id_) if asked.of is RevocationOf.STEM else []
    claims = tuple(Claim(one.library, one.path, one.license) for one in copies)
    return Conflict(id_, claims) if len(claims) > 1 else None


def _with(rights: Rights, asked: Revocation, keys: frozenset[str]) -> Rights:
    """The rights once a revocation is in force."""
    if asked.of is RevocationOf.LICENSE:
        return replace(rights, revoked_licenses=rights.revoked_licenses | {asked.target})
    if asked.of is RevocationOf.ARTIST:
        return replace(rights, revoked_artists=rights.revoked_artists | keys)
    return replace(rights, revoked=rights.revoked | {asked.target})

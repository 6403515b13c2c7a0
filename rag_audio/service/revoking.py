"""Revocations: what is done when a source may no longer be used, and what it went into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from rag_audio.domain import Rights, Stem, names
from rag_audio.domain.conflict_documents import conflict_json
from rag_audio.domain.conflicts import Claim, Conflict
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.errors import BackendError, InvalidInput
from rag_audio.home import Home
from rag_audio.provenance.ledger.output_queries import OutputFilter, PageOf

# What becomes of the other copies of the same bytes when a source is revoked.


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
        document = conflict_json(conflict, rights)
        granted: list[str] = document["granted"]
        shown = ("library", "path", "license")
        copies = [
            {**{name: getattr(one, name) for name in shown}, "holder": holders.get(one.key, "")}
            for one in others
        ]
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
    clearance = home.clearance()
    conflicts = clearance.rights.conflicts.values()
    claimed = {claim.artist for one in conflicts for claim in one.claims}
    return {*clearance.holdings.artists, *claimed} - {""}


def keys_of(home: Home, asked: Revocation) -> frozenset[str]:
    """How the artist of a revocation is compared; none where it is of something else."""
    if asked.of is not RevocationOf.ARTIST:
        return frozenset()
    return frozenset({names.revocation_key(asked.target, artists_of_stems(home))})


def is_about(asked: Revocation, claim: Claim, keys: frozenset[str]) -> bool:
    """Whether a revocation of a license or an artist names a claim; keys: see :func:`keys_of`."""
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


def revoke_source(home: Home, asked: Revocation) -> dict[str, Any]:
    """Revoke a source at once: in the table and the ledger's log, in one transaction, and then in
    the index."""
    made = home.catalogue.revoke(asked)
    new = bool(made)
    removed, index = _purge(home, stems_of(home, asked))
    state = "is revoked" if new else "was revoked before"
    alike = _alike(home, asked)
    others = f"; not revoked: {', '.join(map(repr, alike))}, another name" if alike else ""
    return {
        "revoked": _revocation_json(asked),
        "new": new,
        "undone": False,
        "purged": {"segments": removed, "index": index},
        "ledger": made.event,
        "alike": alike,
        "message": f"{asked.of.value} {asked.target} {state}; {index}{others}",
    }


def end_revocation(home: Home, asked: Revocation) -> dict[str, Any]:
    """Take a revocation back.

    Raises:
        InvalidInput: there is none.
    """
    ended = home.catalogue.end_revocation(asked)
    if not ended:
        raise InvalidInput(f"{asked.of.value} {asked.target} is not revoked")
    with suppress(BackendError):  # The next rag-audio index embeds them again.
        _mark(home, stems_of(home, asked), on=False)
    return {
        "revoked": _revocation_json(asked),
        "new": False,
        "undone": True,
        "purged": {"segments": 0, "index": "the next rag-audio index embeds it again"},
        "ledger": ended.event,
        "message": f"{asked.of.value} {asked.target} is no longer revoked; "
        "rag-audio index on its library embeds it again",
    }


def _alike(home: Home, asked: Revocation) -> list[str]:
    """Artists whose name only looks like the revoked one, and who are not revoked."""
    if asked.of is not RevocationOf.ARTIST:
        return []
    rights = home.rights()
    return sorted(
        name
        for name in artists_of_stems(home)
        if names.loose(name) == names.loose(asked.target)
        and names.loose(name)
        and not names.is_revoked(name, rights.revoked_artists)
    )


def _mark(home: Home, stems: Iterable[Stem], *, on: bool) -> None:
    """Mark the points of stems by what the rights of their own library say of them now, so that no
    search finds those that are revoked, or take that back from those that are not.

    Raises:
        BackendError: the index cannot be reached.
    """
    now = datetime.now(UTC)
    ordered = sorted(stems, key=lambda stem: stem.library)
    for library, some in groupby(ordered, lambda stem: stem.library):
        rights = home.catalogue.rights(None, now, [library])
        ids = {stem.id for stem in some if rights.is_revoked(stem) == on}
        home.index.set_revoked(sorted(ids), on, library)


def _purge(home: Home, stems: Sequence[Stem]) -> tuple[int, str]:
    """Delete the embeddings of stems that are revoked as their own library has them; where the
    index is held by somebody, say what that means.

    What a library holds of the same bytes under a license of its own stays, for those who may use
    that library alone.
    """
    ids = {stem.id for stem in stems}
    if not ids:
        return 0, "nothing of it is in the index"
    try:
        index = home.index
        _mark(home, stems, on=True)
        found = [point for id_ in sorted(ids) for point in index.find_stem(id_)]
        libraries = {point.segment.stem.library for point in found}
        now, catalogue = datetime.now(UTC), home.catalogue
        rights = {library: catalogue.rights(None, now, [library]) for library in libraries}
        points = [
            point.id
            for point in found
            if rights[point.segment.stem.library].is_revoked(point.segment.stem)
        ]
        index.delete(points)
    except BackendError as error:
        return 0, (
            f"its embeddings are still in the index, which every search leaves out now, and the "
            f"next rag-audio index removes ({error.message})"
        )
    return len(points), f"{len(points)} embeddings were removed from the index"


def target_of(
    home: Home, stem: str | None, artist: str | None, license: str | None
) -> tuple[RevocationOf, str]:
    """What is meant, in full: something that was indexed, that outputs used, or that is revoked.

    The whole id of a stem cannot be mistaken for another, so it may be of a file that comes later.

    Raises:
        InvalidInput: nothing is known by that name.
    """
    if stem is not None:
        whole = stem.strip().lower()
        if len(whole) == 64 and set(whole) <= set("0123456789abcdef"):
            return RevocationOf.STEM, whole
        return RevocationOf.STEM, home.catalogue.stem(stem).id
    if artist is not None:
        return RevocationOf.ARTIST, _artist_of(home, artist)
    return RevocationOf.LICENSE, _license_of(home, (license or "").strip())


def _artist_of(home: Home, name: str) -> str:
    """An artist as the library, a revocation or an output writes the name; nobody is guessed.

    Raises:
        InvalidInput: several are meant, nobody is, or the name is written with other stops, spaces
            or hyphens than the one that is known.
    """
    known = _artists(home)
    found = names.lookup(name, known)
    if len(found.names) > 1:
        raise names.several(name, found.names)
    if found.names and found.by is not names.Matched.LOOSE:
        return found.names[0]
    raise InvalidInput(
        f"no stem and no output is by {names.exact(name)!r}",
        hint=_suggested(name, known) or "rag-audio artists lists who there is",
    )


def _artists(home: Home) -> set[str]:
    """Every artist that is known: of stems, revocations and outputs."""
    return {
        *artists_of_stems(home),
        *_revoked(home, RevocationOf.ARTIST),
        *home.ledger.source_names("artist"),
    }


def _license_of(home: Home, named: str) -> str:
    """The key (library/id) of a license, from it or from its id."""
    known = _license_keys(home)
    keys = sorted(key for key in known if named in (key, key.partition("/")[2]))
    if len(keys) > 1:
        raise InvalidInput(
            f"{len(keys)} libraries have a license {named!r}", hint=f"name one: {', '.join(keys)}"
        )
    if keys:
        return keys[0]
    if "/" in named and home.ledger.outputs(OutputFilter(license=named), PageOf(limit=1)):
        return named
    raise InvalidInput(
        f"no library has a license {named!r}", hint="rag-audio library lists the licenses"
    )


def _license_keys(home: Home) -> set[str]:
    """Of the licenses of libraries, stems and revocations."""
    clearance = home.clearance()
    of_stems = clearance.holdings.license_keys
    return {*of_stems, *clearance.rights.licenses, *_revoked(home, RevocationOf.LICENSE)}


def _revoked(home: Home, of: RevocationOf) -> list[str]:
    return [one.target for one in home.catalogue.revocations() if one.of is of]


def stems_of(home: Home, asked: Revocation) -> list[Stem]:
    """The indexed stems that a revocation is about, by any of the files that have their bytes."""
    catalogue = home.catalogue
    if asked.of is RevocationOf.STEM:
        return catalogue.stems_with([asked.target])
    if asked.of is RevocationOf.LICENSE:
        return catalogue.stems_claimed(asked.target)
    keys, clearance = keys_of(home, asked), home.clearance()
    claimed = {
        id_
        for id_, conflict in clearance.rights.conflicts.items()
        if any(is_about(asked, claim, keys) for claim in conflict.claims)
    }
    theirs = [name for name in clearance.holdings.artists if names.is_revoked(name, keys)]
    found = [stem for name in theirs for stem in catalogue.stems_by(name)]
    by_place = {(one.library, one.path): one for one in (*found, *catalogue.stems_with(claimed))}
    return [by_place[place] for place in sorted(by_place)]


def outputs_of(
    home: Home,
    stem: str | None = None,
    artist: str | None = None,
    license: str | None = None,
    holder: str | None = None,
) -> OutputFilter:
    """Which outputs used such a source; artist and holder are looked up among those that are known.

    Raises:
        InvalidInput: several artists or holders are written so.
    """
    if artist is not None:
        artist = names.resolve(artist, _artists(home)) or artist
    if holder is not None:
        holder = names.resolve(holder, _holders(home), "holder") or holder
    return OutputFilter(stem=stem, artist=artist, license=license, holder=holder)


def unknown_source(
    home: Home,
    artist: str | None = None,
    license: str | None = None,
    holder: str | None = None,
) -> str:
    """That nothing is known by a name, in a line, so that a typing error does not read as "never
    used"; empty where it is known."""
    for what, name, known in (
        ("artist", artist, _artists),
        ("holder", holder, _holders),
        ("license", license, _licenses),
    ):
        if name is not None and not names.lookup(name, written := known(home)).names:
            near = _suggested(name, written)
            return f"no {what} {names.exact(name)!r} is known" + (f": {near}" if near else "")
    return ""


def _holders(home: Home) -> set[str]:
    """Every holder that is known: of licenses and of outputs."""
    granting = {one.holder for one in home.rights().licenses.values()}
    return granting | set(home.ledger.source_names("holder"))


def _licenses(home: Home) -> set[str]:
    """Keys and ids of every license that is known, of libraries, stems and revocations; ids of
    those of outputs."""
    keys = _license_keys(home)
    keys |= set(home.ledger.source_names("license"))
    return keys | {key.partition("/")[2] for key in keys}


def _suggested(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    loose = names.lookup(name, known).names
    near = loose[0] if loose else names.suggestion(name, known)
    return f"did you mean {near!r}? Then write it so" if near else ""


def _revocation_json(asked: Revocation) -> dict[str, Any]:
    return {
        "of": asked.of.value,
        "target": asked.target,
        "reason": asked.reason,
        "by": asked.by,
        "at": asked.at.isoformat(),
    }

"""Revocations: what is done when a source may no longer be used, and what it went into."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from rag_audio.bootstrap import Workspace
from rag_audio.domain import Stem
from rag_audio.errors import BackendError, InvalidInput
from rag_audio.licensing import Revocation, RevocationOf, fold_name
from rag_audio.ports import LedgerEntry
from rag_audio.service.copies import is_about


def revoke_source(workspace: Workspace, asked: Revocation) -> dict[str, Any]:
    """Revoke a source at once: in the table, in the index, and in the ledger's log."""
    new = workspace.parts.catalogue.revoke(asked)
    rights = workspace.pipeline.rights()
    gone = [stem for stem in stems_of(workspace, asked) if rights.is_revoked(stem)]
    removed, index = _purge(workspace, gone)
    event = _log(workspace, asked, undo=False) if new else None
    state = "is revoked" if new else "was revoked before"
    return {
        "revoked": _revocation_json(asked),
        "new": new,
        "undone": False,
        "purged": {"segments": removed, "index": index},
        "ledger": event,
        "message": f"{asked.of.value} {asked.target} {state}; {index}",
    }


def end_revocation(workspace: Workspace, asked: Revocation) -> dict[str, Any]:
    """Take a revocation back.

    Raises:
        InvalidInput: there is none.
    """
    if not workspace.parts.catalogue.end_revocation(asked):
        raise InvalidInput(f"{asked.of.value} {asked.target} is not revoked")
    event = _log(workspace, asked, undo=True)
    return {
        "revoked": _revocation_json(asked),
        "new": False,
        "undone": True,
        "purged": {"segments": 0, "index": "the next rag-audio index embeds it again"},
        "ledger": event,
        "message": f"{asked.of.value} {asked.target} is no longer revoked; "
        "rag-audio index on its library embeds it again",
    }


def _purge(workspace: Workspace, stems: Iterable[Stem]) -> tuple[int, str]:
    """Delete the embeddings of stems; where the index is held by somebody, say what that means."""
    ids = {stem.id for stem in stems}
    if not ids:
        return 0, "nothing of it is in the index"
    try:
        index = workspace.parts.index
        points = [point.id for id_ in sorted(ids) for point in index.find_stem(id_)]
        index.delete(points)
    except BackendError as error:
        return 0, (
            f"its embeddings are still in the index, which every search leaves out now, and the "
            f"next rag-audio index removes ({error.message})"
        )
    return len(points), f"{len(points)} embeddings were removed from the index"


def _log(workspace: Workspace, asked: Revocation, *, undo: bool) -> int:
    # The log is public and permanent: who and why stay in the table of revocations.
    document = {"of": asked.of.value, "target": asked.target, "undo": undo}
    return workspace.parts.ledger.append_event("revocation", document).seq


def target_of(
    workspace: Workspace, stem: str | None, artist: str | None, license: str | None
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
        return RevocationOf.STEM, workspace.parts.catalogue.stem(stem).id
    if artist is not None:
        return RevocationOf.ARTIST, _artist_of(workspace, artist)
    return RevocationOf.LICENSE, _license_of(workspace, (license or "").strip())


def _artist_of(workspace: Workspace, name: str) -> str:
    """An artist as the library writes the name, else as a revocation or who asks does."""
    folded = fold_name(name)
    if not folded:
        raise InvalidInput(f"{name!r} is not a name")
    written = sorted(_artists(workspace))
    written += _revoked(workspace, RevocationOf.ARTIST)
    for known in written:
        if fold_name(known) == folded:
            return known
    asked = " ".join(name.split())
    if outputs_of(workspace, artist=asked):
        return asked
    near = get_close_matches(asked.casefold(), [one.casefold() for one in written], 1)
    meant = [one for one in written if one.casefold() in near]
    raise InvalidInput(
        f"no stem and no output is by {asked!r}",
        hint=f"did you mean {meant[0]!r}?" if meant else "rag-audio artists lists who there is",
    )


def _artists(workspace: Workspace) -> set[str]:
    """Names of the stems' artists, with those whom only a further copy of the same bytes names."""
    names = {one.artist for one in workspace.parts.catalogue.stems()}
    conflicts = workspace.pipeline.rights().conflicts.values()
    names.update(claim.artist for one in conflicts for claim in one.claims)
    return names - {""}


def _license_of(workspace: Workspace, named: str) -> str:
    """The key (library/id) of a license, from it or from its id."""
    known = {one.license_key for one in workspace.parts.catalogue.stems()}
    known |= set(workspace.pipeline.rights().licenses)
    known |= set(_revoked(workspace, RevocationOf.LICENSE))
    keys = sorted(key for key in known if named in (key, key.partition("/")[2]))
    if len(keys) > 1:
        raise InvalidInput(
            f"{len(keys)} libraries have a license {named!r}", hint=f"name one: {', '.join(keys)}"
        )
    if keys:
        return keys[0]
    if "/" in named and outputs_of(workspace, license=named):
        return named
    raise InvalidInput(
        f"no library has a license {named!r}", hint="rag-audio library lists the licenses"
    )


def _revoked(workspace: Workspace, of: RevocationOf) -> list[str]:
    return [one.target for one in workspace.parts.catalogue.revocations() if one.of is of]


def stems_of(workspace: Workspace, asked: Revocation) -> list[Stem]:
    """The indexed stems that a revocation is about, by any of the files that have their bytes."""
    stems = workspace.parts.catalogue.stems()
    if asked.of is RevocationOf.STEM:
        return [stem for stem in stems if stem.id == asked.target]
    claimed = {
        id_
        for id_, conflict in workspace.pipeline.rights().conflicts.items()
        if any(is_about(asked, claim) for claim in conflict.claims)
    }
    if asked.of is RevocationOf.LICENSE:
        return [s for s in stems if s.license_key == asked.target or s.id in claimed]
    return [s for s in stems if fold_name(s.artist) == asked.folded or s.id in claimed]


def outputs_of(
    workspace: Workspace,
    stem: str | None = None,
    artist: str | None = None,
    license: str | None = None,
    holder: str | None = None,
) -> list[LedgerEntry]:
    """Outputs that used such a source, under any spelling of the artist that is known."""
    ledger = workspace.parts.ledger
    if artist is None:
        return ledger.outputs(stem=stem, license=license, holder=holder)
    names = {name for name in _artists(workspace) if fold_name(name) == fold_name(artist)} | {
        artist
    }
    found = [
        entry
        for name in sorted(names)
        for entry in ledger.outputs(stem=stem, artist=name, license=license, holder=holder)
    ]
    return [entry for _, entry in sorted({entry.seq: entry for entry in found}.items())]


def _revocation_json(asked: Revocation) -> dict[str, Any]:
    return {
        "of": asked.of.value,
        "target": asked.target,
        "reason": asked.reason,
        "by": asked.by,
        "at": asked.at.isoformat(),
    }

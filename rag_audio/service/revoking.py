"""Revocations: what is done when a source may no longer be used, and what it went into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rag_audio.bootstrap import Workspace
from rag_audio.domain import Stem
from rag_audio.errors import BackendError, InvalidInput
from rag_audio.licensing import Revocation, RevocationOf, fold_name
from rag_audio.ports import LedgerEntry


def revoke_source(workspace: Workspace, asked: Revocation) -> dict[str, Any]:
    """Revoke a source at once: in the table, in the index, and in the ledger's log."""
    new = workspace.parts.catalogue.revoke(asked)
    removed, index = _purge(workspace, stems_of(workspace, asked))
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
    """What is meant, in full; what is not indexed must be named in full."""
    catalogue = workspace.parts.catalogue
    if stem is not None:
        whole = stem.strip().lower()
        if len(whole) == 64 and set(whole) <= set("0123456789abcdef"):
            return RevocationOf.STEM, whole
        return RevocationOf.STEM, catalogue.stem(stem).id
    if artist is not None:
        if not fold_name(artist):
            raise InvalidInput(f"{artist!r} is not a name")
        written = sorted({one.artist for one in catalogue.stems()})
        same = [name for name in written if fold_name(name) == fold_name(artist)]
        return RevocationOf.ARTIST, same[0] if same else " ".join(artist.split())
    named = (license or "").strip()
    known = {one.license_key for one in catalogue.stems()}
    known |= set(workspace.pipeline.rights().licenses)
    keys = sorted(key for key in known if named in (key, key.partition("/")[2]))
    if len(keys) > 1:
        raise InvalidInput(
            f"{len(keys)} libraries have a license {named!r}", hint=f"name one: {', '.join(keys)}"
        )
    if not keys and "/" not in named:
        raise InvalidInput(
            f"no library has a license {named!r}", hint="rag-audio library lists the licenses"
        )
    return RevocationOf.LICENSE, keys[0] if keys else named


def stems_of(workspace: Workspace, asked: Revocation) -> list[Stem]:
    """The indexed stems that a revocation is about."""
    stems = workspace.parts.catalogue.stems()
    if asked.of is RevocationOf.STEM:
        return [stem for stem in stems if stem.id == asked.target]
    if asked.of is RevocationOf.LICENSE:
        return [stem for stem in stems if stem.license_key == asked.target]
    return [stem for stem in stems if fold_name(stem.artist) == asked.folded]


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
    names = {one.artist for one in workspace.parts.catalogue.stems()}
    names = {name for name in names if fold_name(name) == fold_name(artist)} | {artist}
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

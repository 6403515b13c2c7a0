"""Conflicts in documents and in words: who claims what, what holds now, and how to decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rag_audio.domain import (
    Rights,
    Use,
)
from rag_audio.domain.conflicts import Claim, Conflict, library_of


def conflict_json(conflict: Conflict, rights: Rights) -> dict[str, Any]:
    """A conflict as a JSON object.

    ``claims`` has every file with its license, holder and artist, and whether that claim ``holds``;
    ``licenses`` the keys of those licenses that must all grant a use; ``granted`` the uses that
    they do grant in the territory of ``rights``, now; ``decide`` what to write, empty where one
    license holds.
    """
    outcome = conflict.outcome
    refusals = {use: rights.why_conflict(conflict, use) for use in Use}
    return {
        "stem": conflict.stem,
        "claims": [
            _claim_json(claim, rights, holds=claim in conflict.holding) for claim in conflict.claims
        ],
        "decided": outcome.is_decided,
        "licenses": list(outcome.licenses),
        "granted": [use.value for use, why in refusals.items() if why is None],
        "refusals": {use.value: why.reason for use, why in refusals.items() if why is not None},
        "faults": list(outcome.faults),
        "decide": "" if outcome.is_decided else _how_to_decide(conflict, rights),
    }


def conflicts_json(
    conflicts: Iterable[Conflict], rights: Rights, library: str | None = None
) -> list[dict[str, Any]]:
    """Conflicts in order of the first path; with ``library`` those that it has a part in."""
    own = [
        one
        for one in conflicts
        if library is None or any(claim.library == library for claim in one.claims)
    ]
    own.sort(key=lambda one: (one.claims[0].library, one.claims[0].path, one.stem))
    return [conflict_json(one, rights) for one in own]


def conflict_lines(document: dict[str, Any]) -> list[str]:
    """A conflict as lines of text: a line per file, what holds now, and how to decide."""
    lines = [
        f"{one['library']}: {one['path']}   {_claimant(one)}{'' if one['holds'] else ', set aside'}"
        for one in document["claims"]
    ]
    held = " and ".join(document["licenses"])
    why = held if document["decided"] else f"the strictest of {held}"
    lines.append(f"  now: {', '.join(document['granted']) or 'nothing'} ({why})")
    lines += [f"  fault: {fault}" for fault in document["faults"]]
    return lines + ([f"  to decide: {document['decide']}"] if document["decide"] else [])


def _claim_json(claim: Claim, rights: Rights, *, holds: bool) -> dict[str, Any]:
    known = rights.licenses.get(claim.key)
    return {
        "library": claim.library,
        "path": claim.path,
        "license": claim.license,
        "holder": "" if known is None else known.holder,
        "artist": claim.artist,
        "holds": holds,
    }


def _claimant(claim: dict[str, Any]) -> str:
    who = ", ".join(part for part in (claim["holder"], claim["artist"]) if part)
    return f"{claim['license']} ({who})" if who else str(claim["license"])


def _how_to_decide(conflict: Conflict, rights: Rights) -> str:
    """What a person writes, in which library's ``library.toml`` or ``stems.csv``.

    A library sets its own claims aside only, so for a license to hold each library that claims the
    bytes under another one has a line to write.
    """
    if len(conflict.outcome.licenses) == 1 and not conflict.outcome.faults:
        return "stems.csv: the same artist for all of these files"
    paths: dict[str, str] = {}
    for claim in conflict.claims:
        paths[claim.library] = min(claim.path, paths.get(claim.library, claim.path))
    said = []
    for key in sorted(conflict.keys - rights.revoked_licenses):
        library, license = library_of(key), key.partition("/")[2]
        lines = [
            f'library.toml of {name}: [conflicts] "{path}" = '
            f'"{license if name == library else key}"'
            for name, path in sorted(paths.items())
            if any(one.library == name and one.key != key for one in conflict.claims)
        ]
        said.append(" and ".join(lines))
    return "; or ".join(filter(None, said))

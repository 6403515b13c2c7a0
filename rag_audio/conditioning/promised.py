"""What a plan that was shown promises of its sources, held against the catalogue of now.

The plan itself is kept; but stems are played and credited as the catalogue describes them. Where
a description changed since, another piece would be made, or another credit line printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from rag_audio.domain import ConditioningPlan, License, Stem
from rag_audio.errors import InvalidInput

_FREE = frozenset(
    ("path", "title", "isrc", "iswc", "bpm_confidence", "key_confidence", "artist_declared")
)
"""What only identifies a stem, or only counts while a plan is made."""
_CREDITED = ("holder", "spdx", "credit", "splits", "ipi")
"""What is said of a license with an output. Dates, territories and uses are asked anew instead."""
_AGAIN = "make a new plan"
_SHOWN = 60


def require_as_shown(shown: ConditioningPlan, renewed: ConditioningPlan) -> None:
    """Let a plan pass whose sources are described as they were when it was shown.

    Args:
        shown: as it was stored.
        renewed: the same with the stems and licenses of now, in the same order.

    Raises:
        InvalidInput: a stem or its license is described otherwise; the message says which.
    """
    for told, now in zip(shown.references, renewed.references, strict=True):
        changed = changes(told.stem, now.stem)
        if changed:
            raise _changed(_name(told.stem), changed)
    before = {granted.key: granted for granted in shown.licenses}
    after = {granted.key: granted for granted in renewed.licenses}
    for key in dict.fromkeys((*before, *after)):
        changed = _license_changes(before.get(key), after.get(key))
        if changed:
            stem = next(
                (one.stem for one in shown.references if one.stem.license_key == key),
                shown.references[0].stem,
            )
            raise _changed(f"license {key} of {_name(stem)}", changed)
    if set(shown.held_by) != set(renewed.held_by):
        ids = {claim.stem for claim in {*shown.held_by} ^ {*renewed.held_by}}
        stem = next(one.stem for one in shown.references if one.stem.id in ids)
        raise _changed(_name(stem), ["other licenses claim its bytes now"])


def changes(told: Stem, now: Stem) -> list[str]:
    """What is described otherwise, in words: "bpm 92 is 61 now"; empty where nothing that counts
    is."""
    names = [field.name for field in fields(Stem) if field.name not in _FREE]
    return _differences(told, now, names)


def _license_changes(before: License | None, after: License | None) -> list[str]:
    if before is None or after is None:
        return ["it does not hold any more" if after is None else "it did not hold then"]
    return _differences(before, after, _CREDITED)


def _differences(told: object, now: object, names: Iterable[str]) -> list[str]:
    pairs = ((name, getattr(told, name), getattr(now, name)) for name in names)
    return [f"{name} {_shown(old)} is {_shown(new)} now" for name, old, new in pairs if old != new]


def _shown(value: object) -> str:
    if value in (None, "", ()):
        return "unknown"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _name(stem: Stem) -> str:
    return stem.title or stem.path


def _changed(what: str, changed: list[str]) -> InvalidInput:
    return InvalidInput(f"{what} changed since the plan was shown: {', '.join(changed)}", _AGAIN)

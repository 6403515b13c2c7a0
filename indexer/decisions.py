"""``[conflicts]`` of ``library.toml``: which license holds where the same bytes lie under several.

``"pack/loop.wav" = "nightshift-2026"`` says so of one file; the left side is a pattern as in
``stems.csv``, and the last one that matches a path counts. A license of another library is written
``library/license``: this library then gives way to it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from indexer.globs import BadPattern, clean, compiled, normalized
from indexer.library_toml import LIBRARY_TOML
from indexer.report import Rejection
from rag_audio.conflicts import Claim, Conflict, library_of

CONFLICTS = "conflicts"
_KEY = re.compile(r"[^/\s]+/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Decision:
    """One line of ``[conflicts]``.

    Attributes:
        pattern: cleaned glob.
        key: of the license that holds.
    """

    pattern: str
    key: str

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return compiled(self.pattern)

    def matches(self, path: str) -> bool:
        name = normalized(path)
        # A name may hold brackets, so every pattern is a literal name as well.
        return name == self.pattern or self._expression.fullmatch(name) is not None


def decision_on(decisions: Iterable[Decision], path: str) -> str:
    """The key of the license that holds for a path; empty where nothing is said of it."""
    found = [one.key for one in decisions if one.matches(path)]
    return found[-1] if found else ""


def read_decisions(
    document: Mapping[str, Any], library: str, licenses: Collection[str]
) -> tuple[tuple[Decision, ...], list[Rejection]]:
    """The lines of ``[conflicts]`` that can be used, and what is wrong with the others.

    Args:
        licenses: ids of the library's own licenses that can be used.
    """
    table = document.get(CONFLICTS, {})
    if not isinstance(table, dict):
        return (), [_fault(f"{CONFLICTS} must be a table of paths and licenses, got {table!r}")]
    decisions, problems = [], []
    for path, license in table.items():
        try:
            decisions.append(Decision(clean(path), _key(license, library, licenses)))
        except BadPattern as fault:
            problems.append(_fault(f"the path {path!r} {fault}"))
        except ValueError as fault:
            problems.append(_fault(f"{path!r}: {fault}"))
    return tuple(decisions), problems


def idle_decisions(
    decisions: Iterable[Decision],
    claims: Mapping[str, tuple[str, Claim]],
    conflicts: Mapping[str, Conflict],
) -> list[Rejection]:
    """Decisions that match no file, or name a license under which no file has the bytes.

    Args:
        claims: of the library's files by path, each with the id of the stem.
    """
    problems = []
    for decision in decisions:
        matched = [path for path in claims if decision.matches(path)]
        if not matched:
            problems.append(_fault(f"{decision.pattern!r} matches no licensed file"))
        lost = [path for path in sorted(matched) if not _counts(decision, *claims[path], conflicts)]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            problems.append(
                _fault(
                    f"{decision.pattern!r}: no file has the bytes of {lost[0]}{more} under license "
                    f"{decision.key!r}"
                )
            )
    return problems


def _counts(decision: Decision, stem: str, claim: Claim, conflicts: Mapping[str, Conflict]) -> bool:
    if claim.decision != decision.key:
        return True  # a later line decides about this path
    conflict = conflicts.get(stem)
    return decision.key in ({claim.key} if conflict is None else conflict.keys)


def _key(license: object, library: str, licenses: Collection[str]) -> str:
    if isinstance(license, dict):
        raise ValueError('a path with a dot needs quotes, such as "pack/loop.wav" = "my-license"')
    if not isinstance(license, str) or not license.strip():
        raise ValueError(f"the license that holds must be text, got {license!r}")
    named = license.strip()
    if "/" in named and library_of(named) != library:
        if _KEY.fullmatch(named) is None:
            raise ValueError(f"{named!r} is not library/license")
        return named
    id_ = named.rpartition("/")[2]
    if id_ not in licenses:
        near = difflib.get_close_matches(id_, licenses, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"license {id_!r} is none of this library that can be used{meant}")
    return f"{library}/{id_}"


def _fault(text: str) -> Rejection:
    return Rejection(LIBRARY_TOML, f"[{CONFLICTS}] {text}")

"""The libraries and licenses that a search is narrowed to, by what people call them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from rag_audio.domain import Rights
from rag_audio.domain.stems import LibraryInfo
from rag_audio.errors import InvalidInput
from rag_audio.retrieval.references import ReferenceQuery

_SHOWN = 8
_HINT = "rag-audio library lists libraries and licenses"


def narrowed(
    query: ReferenceQuery, libraries: Sequence[LibraryInfo], rights: Rights
) -> ReferenceQuery:
    """The query with the keys of its licenses in place of bare ids, its libraries checked.

    Args:
        libraries: those that may be known.

    Raises:
        InvalidInput: there is no such library or license, or a bare id is in several libraries.
    """
    known = {one.id for one in libraries}
    for one in query.libraries:
        if one not in known:
            raise InvalidInput(
                f"no library {one!r} is indexed; there is {_listed(known)}", hint=_HINT
            )
    within = known.intersection(query.libraries or known)
    keys = {key for key, license in rights.licenses.items() if license.library in within}
    return replace(query, licenses=tuple(_license(one, keys) for one in query.licenses))


def _license(name: str, keys: Collection[str]) -> str:
    """The key that is meant by a key or a bare id."""
    found = [key for key in sorted(keys) if name in (key, key.partition("/")[2])]
    if not found:
        raise InvalidInput(f"there is no license {name!r}; there is {_listed(keys)}", hint=_HINT)
    if len(found) > 1 and name not in found:
        raise InvalidInput(
            f"several libraries have a license {name!r}: {_listed(found)}",
            hint="write it as LIBRARY/LICENSE",
        )
    return name if name in found else found[0]


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return (", ".join(islice(ordered, _SHOWN)) or "none") + more

"""Names of artists of all libraries of a process as they are written: to look up what was typed,
as :func:`rag_audio.domain.names.lookup` does, and to find them in texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rag_audio.domain import names
from rag_audio.domain.names import FORMS, Lookup, Matched
from rag_audio.guardrails.shared_names import KEPT, Held, NameTable, Prefixes, SharedNames

_PREFIX = 3


class WrittenForm(NamedTuple):
    """A name in a form by which it is looked up."""

    name: str
    by: Matched
    form: str


class KnownNames(SharedNames[WrittenForm]):
    """The names of all libraries in the forms by which names are looked up."""

    def __init__(self, kept: int = KEPT) -> None:
        self.prefixes = Prefixes(_PREFIX)
        self.by_form: NameTable[WrittenForm, tuple[Matched, str], WrittenForm] = NameTable(
            lambda one: [((one.by, one.form), one)], lambda one: one, lambda one: one.name
        )
        super().__init__(_forms, (self.by_form,), kept)

    def scope(self, *parts: frozenset[str]) -> ScopedKnownNames:
        """The names of sets taken together; each is known as long as the scope lives."""
        return ScopedKnownNames(self, tuple(map(self.hold, parts)))

    def _changed(self, added: Sequence[WrittenForm], removed: Sequence[WrittenForm]) -> None:
        folds = ({one.form for one in some if one.by is Matched.FOLD} for some in (added, removed))
        new, gone = folds
        self.prefixes.change(
            new, {form for form in gone if not self.by_form.get((Matched.FOLD, form), self)}
        )


class ScopedKnownNames:
    """The names of one scope as they are written."""

    def __init__(self, shared: KnownNames, parts: tuple[Held, ...]) -> None:
        self._shared, self._parts = shared, parts

    def __bool__(self) -> bool:
        return any(part.names for part in self._parts)

    def __contains__(self, name: str) -> bool:
        return any(name in part.names for part in self._parts)

    def lookup(self, asked: str) -> Lookup:
        """As :func:`rag_audio.domain.names.lookup` among the names of the scope."""
        for by, form in FORMS.items():
            key = form(asked)
            found = tuple(name for name in self._written(by, key) if self._is_first(name))
            if found:
                return Lookup(found, by)
        return Lookup((), Matched.NOTHING)

    def folded_at(self, text: str, at: int) -> Iterator[tuple[str, str]]:
        """Names whose fold stands at a place of a folded text, with the fold: those of one letter,
        then of two, then longest first."""
        for length in range(1, _PREFIX):
            yield from self._folded(text[at : at + length], length)
        for folded in self._shared.prefixes.at(text, at):
            yield from self._folded(folded, len(folded))

    def _folded(self, folded: str, length: int) -> Iterator[tuple[str, str]]:
        if len(folded) == length:
            for name in self._written(Matched.FOLD, folded):
                yield folded, name

    def _written(self, by: Matched, form: str) -> Iterator[str]:
        """Names of the scope by a form, in order."""
        found = self._shared.by_form.get((by, form), self._shared)
        return (one.name for one in found if one.name in self)

    def _is_first(self, name: str) -> bool:
        """Whether a name is the first of those that are the same but for spaces and Unicode."""
        return next(self._written(Matched.EXACT, names.exact(name)), name) == name


def _forms(name: str) -> Iterator[WrittenForm]:
    for by, form in FORMS.items():
        if key := form(name):
            yield WrittenForm(name, by, key)

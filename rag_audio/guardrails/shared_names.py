"""Tables of names that are held once for a process and updated name by name.

Which names a home, a library or an API key may see is a *scope*, a set of names. Tables have the
names of all scopes; who asks leaves out what is not in theirs. A name that comes into a scope is
added, one that is in no scope any more is removed some time later.

Threads: changes are made one at a time; whoever reads sees each bucket before or after a change,
and never without a name of a scope that is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from rag_audio.guardrails.names import without_collection

KEPT = 20_000
"""So many names of no scope stay, since a scope is often made anew with nearly the same names."""


class Named(Protocol):
    """Something that is known of a name."""

    @property
    def name(self) -> str: ...


_E = TypeVar("_E", bound=Named)
_K = TypeVar("_K")
_V = TypeVar("_V")


class Held:
    """The names of one scope, which stay in the tables as long as this lives."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names


class NameTable(Generic[_E, _K, _V]):
    """What is known of names by a key, in the order of the names; made when it is first asked.

    Args:
        pairs: what is found of an entry, each with its key.
        entry: the entry that something was found of.
        order: what comes first in a bucket; equals stay as ``pairs`` gave them.
    """

    def __init__(
        self,
        pairs: Callable[[_E], Iterable[tuple[_K, _V]]],
        entry: Callable[[_V], _E],
        order: Callable[[_V], Any],
    ) -> None:
        self._pairs, self._entry, self._order = pairs, entry, order
        self._buckets: dict[_K, tuple[_V, ...]] | None = None

    def get(self, key: _K, held: SharedNames[_E]) -> Sequence[_V]:
        """What there is of a key."""
        if self._buckets is None:
            self._make(held)
        assert self._buckets is not None  # noqa: S101 - just made
        return self._buckets.get(key, ())

    def add(self, entries: Iterable[_E]) -> None:
        """Add entries of names that are not there."""
        if self._buckets is not None:
            self._put(self._buckets, entries)

    def remove(self, entries: Iterable[_E], names: frozenset[str]) -> None:
        """Remove the entries of names."""
        buckets = self._buckets
        if buckets is None:
            return
        for key in {key for entry in entries for key, _ in self._pairs(entry)}:
            kept = tuple(one for one in buckets[key] if self._entry(one).name not in names)
            if kept:
                buckets[key] = kept
            else:
                del buckets[key]

    def _make(self, held: SharedNames[_E]) -> None:
        with held.lock, without_collection():
            if self._buckets is None:
                made: dict[_K, tuple[_V, ...]] = {}
                self._put(made, held.entries())
                self._buckets = made

    def _put(self, buckets: dict[_K, tuple[_V, ...]], entries: Iterable[_E]) -> None:
        added: dict[_K, list[_V]] = {}
        for entry in entries:
            for key, found in self._pairs(entry):
                added.setdefault(key, []).append(found)
        for key, more in added.items():
            every = (*buckets.get(key, ()), *more)
            buckets[key] = tuple(sorted(every, key=self._order)) if len(every) > 1 else every


class Prefixes:
    """Which lengths texts have that begin with the same letters, to look the texts up.

    Args:
        size: letters of a prefix; shorter texts are not among them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._texts: dict[str, set[str]] = {}
        self._lengths: dict[str, tuple[int, ...]] = {}

    def at(self, text: str, start: int) -> Iterator[str]:
        """What may be spelled at a place of a text, longest first."""
        for length in self._lengths.get(text[start : start + self._size], ()):
            found = text[start : start + length]
            if len(found) == length:
                yield found

    def change(self, added: Iterable[str], removed: Iterable[str]) -> None:
        """Add texts, and remove others."""
        changed = set()
        for text in added:
            if len(text) >= self._size:
                self._texts.setdefault(text[: self._size], set()).add(text)
                changed.add(text[: self._size])
        for text in removed:
            if len(text) >= self._size:
                self._texts[text[: self._size]].discard(text)
                changed.add(text[: self._size])
        for prefix in changed:
            lengths = {len(text) for text in self._texts[prefix]}
            if lengths:
                self._lengths[prefix] = tuple(sorted(lengths, reverse=True))
            else:
                del self._texts[prefix], self._lengths[prefix]


class SharedNames(Generic[_E]):
    """The names of all scopes, with what is known of each.

    Args:
        entries_of: what is known of a name.
        tables: that are kept up to date.
        kept: names of no scope that stay at most.
    """

    def __init__(
        self,
        entries_of: Callable[[str], Iterable[_E]],
        tables: Iterable[NameTable[_E, Any, Any]],
        kept: int = KEPT,
    ) -> None:
        self.lock = RLock()
        self._entries_of = entries_of
        self._tables = tuple(tables)
        self._kept = self._most = kept
        self._entries: dict[str, tuple[_E, ...]] = {}
        self._live: WeakValueDictionary[int, Held] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Iterator[_E]:
        """All that is known, name by name."""
        for found in self._entries.values():
            yield from found

    def of(self, name: str) -> tuple[_E, ...]:
        """What is known of a name that is held."""
        return self._entries[name]

    def hold(self, names: frozenset[str]) -> Held:
        """Hold the names of a scope. The same set again, while it is held, costs a look-up."""
        with self.lock:
            held = self._live.get(id(names))  # its hash would go through all names
            if held is None or held.names is not names:
                held = Held(names)
                with without_collection():
                    self._add(names.difference(self._entries))
                    self._live[id(names)] = held  # only now: what is held is complete
                    self._prune()
            return held

    def _add(self, names: frozenset[str]) -> None:
        found = {name: tuple(self._entries_of(name)) for name in sorted(names)}
        entries = [entry for known in found.values() for entry in known]
        for table in self._tables:
            table.add(entries)
        self._entries |= found
        self._changed(entries, ())

    def _prune(self) -> None:
        if len(self._entries) <= self._most:
            return
        live = frozenset[str]().union(*(held.names for held in list(self._live.values())))
        gone = frozenset(self._entries.keys() - live)
        entries = [entry for name in gone for entry in self._entries.pop(name)]
        for table in self._tables:
            table.remove(entries, gone)
        self._changed((), entries)
        self._most = len(self._entries) + self._kept

    def _changed(self, added: Sequence[_E], removed: Sequence[_E]) -> None:
        """What else is kept up to date."""

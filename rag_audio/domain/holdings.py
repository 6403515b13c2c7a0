"""What libraries hold, counted: enough to say whose style is licensed without listing stems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from rag_audio.domain import names
from rag_audio.domain.stems import Stem, StemKind

COUNTED = ("kind", "sample_type", "key", "bpm", "tag")
"""What is counted of stems, by value; ``bpm`` in whole beats."""
FACETS = ("artist", "license", "kind", "sample_type", "key", "tag")
"""Of whose values a page of stems says how many have each."""
MOST_VALUES = 50
"""So many values of each facet are told."""
_KEPT = 16
_Made = TypeVar("_Made")


def counted_values(
    kind: str, sample_type: str, key: str, bpm: float | None, tags: Sequence[str]
) -> dict[str, Sequence[str]]:
    """The values of one stem that are counted (:data:`COUNTED`); empty texts are none."""
    return {
        "kind": [kind],
        "sample_type": [sample_type] if sample_type else [],
        "key": [key] if key else [],
        "bpm": [] if bpm is None else [str(round(bpm))],
        "tag": tags,
    }


@dataclass(frozen=True)
class StemQuery:
    """Which stems are asked for: all that is set must hold.

    Attributes:
        text: is part of the caption, both folded (:func:`.names.fold`).
        artists: any of these names (:func:`.names.same`); empty: no stem at all; None: everybody's.
        license: id or key of a license that claims the stem.
        tag: any case. key: as :class:`.Key` is written. bpm_min, bpm_max: both inclusive.
    """

    text: str = ""
    artists: tuple[str, ...] | None = None
    license: str | None = None
    tag: str | None = None
    key: str | None = None
    kind: StemKind | None = None
    bpm_min: float | None = None
    bpm_max: float | None = None

    @property
    def is_of_groups(self) -> bool:
        """Whether groups are wholly in it or not at all, so that their counts answer it."""
        return not self.text and (
            (self.tag, self.key, self.kind, self.bpm_min, self.bpm_max) == (None,) * 5
        )

    @property
    def only_counted(self) -> tuple[str, str] | None:
        """Name (:data:`COUNTED`) and value of what is set beside artists and license, where that is
        one thing that is counted of groups, in the form that is counted."""
        kind = None if self.kind is None else self.kind.value
        named = {"tag": self.tag, "key": self.key, "kind": kind}
        said = [(name, value) for name, value in named.items() if value is not None]
        others = (self.text or None, self.bpm_min, self.bpm_max)
        return said[0] if len(said) == 1 and others == (None,) * 3 else None

    def has(self, group: StemGroup, claims: Collection[str] = ()) -> bool:
        """Whether a group is in it, as far as that can be said of one (:attr:`is_of_groups`).

        Args:
            claims: keys of further licenses that claim its stem.
        """
        stem = group.stem
        keys = {stem.license_key, *claims}
        named = {*keys, *(key.partition("/")[2] for key in keys)}
        by = names.exact(stem.artist)
        return (self.license is None or self.license in named) and (
            self.artists is None or by in map(names.exact, self.artists)
        )


@dataclass(frozen=True)
class PageEnd:
    """Where a page of stems ends: after a stem, or after its copy in a library."""

    id: str
    library: str | None = None

    def __str__(self) -> str:
        return self.id if self.library is None else f"{self.id}/{self.library}"

    @classmethod
    def parse(cls, text: str) -> PageEnd:
        """From what ``str`` gave."""
        id_, _, library = text.partition("/")
        return cls(id_, library or None)


@dataclass(frozen=True)
class StemPage:
    """Some stems, in order of id and library; ``following`` begins the next page, if any."""

    stems: tuple[Stem, ...]
    following: PageEnd | None


@dataclass(frozen=True)
class StemCounts:
    """How many stems a query is about, and how many have each value.

    Attributes:
        total: how many; at least so many where ``is_exact`` is false.
        values: the most frequent values of each of :data:`FACETS`, with how many have each.
        counted: the stems that ``values`` are of: all, or the first by id, which as hashes of
            contents are a sample like any other.
    """

    total: int
    values: Mapping[str, Sequence[tuple[str, int]]]
    counted: int
    is_exact: bool = True


@dataclass(frozen=True)
class StemGroup:
    """Stems of one library that rights cannot tell apart.

    Attributes:
        stem: one of them, or what they have in common: library, license, artist, and whether
            ``stems.csv`` names the artist; of a group that is revoked by its ids, one of these.
        stems: how many they are.
        counts: how many have each value, by name (:data:`COUNTED`).
    """

    stem: Stem
    stems: int = 1
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, stem: Stem) -> StemGroup:
        """A group of one."""
        values = counted_values(
            stem.kind.value,
            "" if stem.sample_type is None else stem.sample_type.value,
            "" if stem.key is None else str(stem.key),
            stem.bpm,
            stem.tags,
        )
        return cls(stem, 1, {name: Counter(texts) for name, texts in values.items()})

    def has(self, kind: StemKind) -> bool:
        return kind.value in self.counts.get("kind", {})


@dataclass(frozen=True, eq=False)
class LibraryHoldings:
    """All stems of some libraries, one per library and content, in groups.

    Attributes:
        groups: by library, license and artist; stems that several licenses or artists claim are
            groups of one.
    """

    groups: tuple[StemGroup, ...]
    _made: dict[Hashable, object] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, stems: LibraryHoldings | Iterable[Stem]) -> LibraryHoldings:
        """Those of stems; holdings are given back as they are."""
        return stems if isinstance(stems, LibraryHoldings) else cls(tuple(map(StemGroup.of, stems)))

    @cached_property
    def stems(self) -> int:
        """How many there are."""
        return sum(group.stems for group in self.groups)

    @cached_property
    def artists(self) -> frozenset[str]:
        """Names (:func:`.names.exact`) of all artists."""
        found = {names.exact(group.stem.artist) for group in self.groups}
        return frozenset(found - {""})

    @cached_property
    def license_keys(self) -> frozenset[str]:
        """Keys of the licenses that ``stems.csv`` gives them, whether they are known or not."""
        return frozenset(group.stem.license_key for group in self.groups)

    def total(self, name: str) -> Counter[str]:
        """How many stems have each value of one of :data:`COUNTED`, ``artist`` or ``license``."""
        total: Counter[str] = Counter()
        for group in self.groups:
            if name == "artist":
                if group.stem.artist:
                    total[group.stem.artist] += group.stems
            elif name == "license":
                total[group.stem.license_key] += group.stems
            else:
                total.update(group.counts.get(name, {}))
        return total

    def having(self, name: str, value: str) -> int | None:
        """How many stems have a value, of tags in any case; None: that cannot be said, since it is
        written in several ways, which one stem may have side by side."""
        found = self.kept(("ways", name), lambda: self._ways(name))
        ways = found.get(value.casefold() if name == "tag" else value, {})
        return sum(ways.values()) if len(ways) <= 1 else None

    def _ways(self, name: str) -> dict[str, dict[str, int]]:
        """How many stems have each value of one of :data:`COUNTED`, in each way that it is written
        in: tags may differ in case."""
        ways: dict[str, dict[str, int]] = {}
        for way, number in self.total(name).items():
            ways.setdefault(way.casefold() if name == "tag" else way, {})[way] = number
        return ways

    def of_artists(self, artists: Iterable[str]) -> tuple[StemGroup, ...]:
        """The groups of artists, each once, however their names are written."""
        wanted = dict.fromkeys(map(names.exact, artists))
        return tuple(group for name in wanted for group in self._by_artist.get(name, ()))

    @cached_property
    def _by_artist(self) -> Mapping[str, Sequence[StemGroup]]:
        found: dict[str, list[StemGroup]] = {}
        for group in self.groups:
            found.setdefault(names.exact(group.stem.artist), []).append(group)
        return found

    @cached_property
    def by_license(self) -> Mapping[str, Sequence[StemGroup]]:
        """The groups under each license, by its key, that ``stems.csv`` gives them."""
        found: dict[str, list[StemGroup]] = {}
        for group in self.groups:
            found.setdefault(group.stem.license_key, []).append(group)
        return found

    def kept(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """What was made of these holdings under a key, or what ``make`` gives."""
        found = self._made.get(key)
        if found is None:
            found = make()
            while len(self._made) >= _KEPT:
                self._made.pop(next(iter(self._made)), None)
            self._made[key] = found
        return found  # type: ignore[return-value]


def most_frequent(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """The values that most stems have, then by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]

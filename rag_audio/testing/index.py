"""What every :class:`rag_audio.domain.ports.StemIndex` must do."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rag_audio.domain import Key, SampleType, Segment, SegmentFilter, Stem, StemKind
from rag_audio.domain.ports import IndexedSegment, SparseVector, StemIndex, TellsTerms
from rag_audio.errors import InvalidInput
from rag_audio.testing.sounds import refused

SPACE = "space-a"
DIMENSION = 8
ANY = SegmentFilter(license_keys=frozenset({"night-shift/2026"}))
QUERY = np.eye(DIMENSION, dtype=np.float32)[0]


def stem(name: str, **changes: Any) -> Stem:
    """A stem of a licensed library."""
    base = Stem(
        id=uuid.uuid5(uuid.NAMESPACE_URL, name).hex,
        library="night-shift",
        path=f"keys/{name}.flac",
        kind=StemKind.AUDIO,
        license="2026",
        duration_s=30.0,
        artist="Vera Quill",
        title=name,
    )
    return replace(base, **changes)


def point(
    of: Stem,
    start_s: float = 0.0,
    dense: Sequence[float] = (1.0,),
    terms: Mapping[int, float] | None = None,
) -> IndexedSegment:
    """A segment of a stem. ``dense`` is padded with zeros and given unit length."""
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[: len(dense)] = dense
    terms = terms if terms is not None else {1: 1.0}
    return IndexedSegment(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{of.id}/{start_s}")),
        segment=Segment(of, start_s, 10.0),
        dense=vector / np.linalg.norm(vector),
        sparse=SparseVector(tuple(sorted(terms)), tuple(terms[t] for t in sorted(terms))),
    )


def titles(index: StemIndex, where: SegmentFilter) -> set[str]:
    """What both searches find under a filter."""
    dense = {h.segment.stem.title for h in index.search_dense(QUERY, where, 50)}
    terms = SparseVector((1,), (1.0,))
    sparse = {h.segment.stem.title for h in index.search_sparse(terms, where, 50)}
    assert dense == sparse
    return dense


FILTERS: tuple[tuple[dict[str, Any], set[str]], ...] = (
    ({"license_keys": frozenset()}, set()),
    ({"license_keys": frozenset({"night-shift/other"})}, {"c"}),
    ({"license_keys": frozenset({"2026"})}, set()),
    ({"artists": ("Vera  Quill",)}, {"a"}),
    ({"artists": ("vera quill",)}, set()),
    ({"artists": ("Vera Quill", "E\u0301mile")}, {"a", "b"}),
    ({"artists": ("Vera",)}, set()),
    ({"bpm_ranges": ((88.0, 92.0),)}, {"a"}),
    ({"bpm_ranges": ((88.0, 91.0), (120.0, 130.0))}, {"b"}),
    ({"keys": (Key(9, True),)}, {"a"}),
    ({"keys": (Key(9, False), Key(0, False))}, {"b"}),
    ({"kind": StemKind.MIDI}, {"b"}),
    ({"kind": StemKind.AUDIO}, {"a", "d"}),
    ({"tags": ("WARM",)}, {"a", "b"}),
    ({"tags": ("drums", "soft")}, {"a", "b"}),
    ({"min_duration_s": 30.0}, {"a", "d"}),
    ({"libraries": ("night-shift", "other")}, {"a", "b", "d"}),
    ({"libraries": ("other",)}, set()),
    ({"sample_types": (SampleType.LOOP,)}, {"a"}),
    ({"sample_types": (SampleType.LOOP, SampleType.SONG)}, {"a", "b"}),
    ({"stems": (stem("a").id, stem("c").id)}, {"a"}),
    ({"exclude": (stem("a").id,)}, {"b", "d"}),
    ({"tags": ("warm",), "exclude": (stem("a").id,), "kind": StemKind.MIDI}, {"b"}),
    ({"tags": ("warm",), "artists": ("Nobody",)}, set()),
)
"""Fields of a filter, and the titles that it leaves."""


class StemIndexContract:
    """Subclass it as ``Test…`` and give :meth:`make`."""

    index: StemIndex

    def make(self, folder: Path, *, space: str, dimension: int) -> StemIndex:
        """An empty index, which may keep its files in the folder; made anew for each test."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what :meth:`make` took; after each test."""
        self.index.close()

    def setup_method(self) -> None:
        """Makes the index; pytest calls this."""
        self._folder = tempfile.TemporaryDirectory()
        place = Path(self._folder.name) / "index"
        self.index = self.make(place, space=SPACE, dimension=DIMENSION)

    def teardown_method(self) -> None:
        """Closes the index; pytest calls this."""
        self.close()
        self._folder.cleanup()

    def test_an_empty_index_finds_nothing(self) -> None:
        assert self.index.count() == 0
        assert self.index.search_dense(QUERY, ANY, 5) == []
        assert self.index.search_sparse(SparseVector((1,), (1.0,)), ANY, 5) == []
        assert list(self.index.scroll()) == []
        assert self.index.find_stem("nothing") == []
        self.index.upsert([])
        self.index.delete([])

    def test_a_point_comes_back_as_it_was_put(self) -> None:
        whole = stem(
            "Ночь / 夜 \x00 é",
            path="caf\udce9/クリック.wav",
            kind=StemKind.MIDI,
            artist_declared=True,
            tags=("Warm", "electric piano"),
            bpm=92.5,
            bpm_confidence=0.25,
            key=Key(6, True),
            downbeat_s=0.125,
            loudness_lufs=float("-inf"),
            instruments=("Electric Piano 1",),
        )
        put = point(whole, start_s=2.5, dense=[0.6, 0.8], terms={3: 0.5, 4_000_000_000: 1.25})
        self.index.upsert([put])
        (got,) = self.index.scroll()
        assert (got.id, got.segment) == (put.id, put.segment)
        assert got.sparse == put.sparse
        np.testing.assert_allclose(got.dense, put.dense, atol=1e-6)

    def test_upsert_replaces_by_id_and_forgets_what_the_old_point_had(self) -> None:
        old = point(stem("a", tags=("old",), bpm=90.0), dense=[1.0])
        new = replace(old, segment=Segment(stem("a"), 0.0, 10.0), dense=np.roll(old.dense, 1))
        self.index.upsert([old, point(stem("b"))])
        self.index.upsert([new])
        assert self.index.count() == 2
        assert titles(self.index, replace(ANY, tags=("old",))) == set()
        assert titles(self.index, replace(ANY, bpm_ranges=((80.0, 100.0),))) == set()
        (got,) = self.index.find_stem(old.segment.stem.id)
        np.testing.assert_allclose(got.dense, new.dense, atol=1e-6)

    def test_delete_removes_and_ignores_unknown_ids(self) -> None:
        a, b = point(stem("a")), point(stem("b"))
        self.index.upsert([a, b])
        self.index.delete([a.id, str(uuid.uuid4())])
        assert [p.id for p in self.index.scroll()] == [b.id]
        assert titles(self.index, ANY) == {"b"}

    def test_scroll_goes_in_order_of_id_over_pages_and_libraries(self) -> None:
        first = [point(stem(f"s{n}"), terms={}) for n in range(300)]
        second = [point(stem(f"t{n}", library="other"), terms={}) for n in range(20)]
        self.index.upsert(first + second)
        every = [p.id for p in self.index.scroll()]
        assert every == sorted(p.id for p in first + second)
        assert [p.id for p in self.index.scroll("other")] == sorted(p.id for p in second)
        assert list(self.index.scroll("absent")) == []
        assert [self.index.count("other"), self.index.count("absent")] == [len(second), 0]
        assert self.index.count() == 320

    def test_find_stem_gives_its_segments_in_order_of_start(self) -> None:
        long = stem("long")
        starts = [15.0, 0.0, 5.0, 10.0, 100.0]
        self.index.upsert([point(long, start_s=s) for s in starts] + [point(stem("other"))])
        assert [p.segment.start_s for p in self.index.find_stem(long.id)] == sorted(starts)

    def test_dense_search_ranks_by_cosine(self) -> None:
        angles = [0.9, 0.1, 0.5, 1.4, 2.5]
        self.index.upsert(
            [point(stem(f"{a}"), dense=[float(np.cos(a)), float(np.sin(a))]) for a in angles]
        )
        hits = self.index.search_dense(QUERY, ANY, 4)
        assert [h.segment.stem.title for h in hits] == ["0.1", "0.5", "0.9", "1.4"]
        np.testing.assert_allclose([h.score for h in hits], np.cos([0.1, 0.5, 0.9, 1.4]), atol=1e-5)
        nearest = self.index.vectors([hits[0].id, str(uuid.uuid4())])
        assert list(nearest) == [hits[0].id]
        expected = [np.cos(0.1), np.sin(0.1)]
        np.testing.assert_allclose(nearest[hits[0].id][:2], expected, atol=1e-6)
        assert self.index.search_dense(QUERY, ANY, 0) == []

    def test_an_index_that_tells_terms_tells_those_of_its_points(self) -> None:
        if not isinstance(self.index, TellsTerms):
            return
        points = [point(stem("some"), terms={3: 1.0, 7: 0.5}), point(stem("none"), terms={})]
        self.index.upsert(points)
        found = self.index.terms([*(one.id for one in points), str(uuid.uuid4())])
        assert found == {points[0].id: frozenset({3, 7}), points[1].id: frozenset()}

    def test_sparse_search_applies_idf_and_returns_only_sharers_of_a_term(self) -> None:
        self.index.upsert([point(stem(f"common{n}"), terms={1: 1.0}) for n in range(5)])
        self.index.upsert(
            [point(stem("rare"), terms={1: 1.0, 2: 1.0}), point(stem("none"), terms={9: 1.0})]
        )
        hits = self.index.search_sparse(SparseVector((1, 2, 77), (1.0, 1.0, 1.0)), ANY, 50)
        assert hits[0].segment.stem.title == "rare"
        assert {h.segment.stem.title for h in hits[1:]} == {f"common{n}" for n in range(5)}
        assert hits[0].score - hits[1].score > hits[1].score  # the rare term weighs more
        assert self.index.search_sparse(SparseVector((), ()), ANY, 5) == []
        assert self.index.search_sparse(SparseVector((77,), (1.0,)), ANY, 5) == []

    def test_several_queries_at_once_find_what_each_finds_alone(self) -> None:
        self.index.upsert(
            [point(stem(f"{n}"), dense=[1.0, n / 9], terms={n % 3: 1.0 + n}) for n in range(40)]
        )
        aside = np.roll(QUERY, 1)
        terms = SparseVector((0, 2), (1.0, 0.5))
        found = self.index.search_many([QUERY, terms, SparseVector((), ()), aside], ANY, 7)
        alone = [
            self.index.search_dense(QUERY, ANY, 7),
            self.index.search_sparse(terms, ANY, 7),
            [],
            self.index.search_dense(aside, ANY, 7),
        ]
        assert [[(h.id, h.segment) for h in hits] for hits in found] == [
            [(h.id, h.segment) for h in hits] for hits in alone
        ]
        for hits, expected in zip(found, alone, strict=True):
            scores = [h.score for h in expected]
            np.testing.assert_allclose([h.score for h in hits], scores, atol=1e-6)
        assert self.index.search_many([], ANY, 7) == []
        assert self.index.search_many([QUERY, terms], ANY, 0) == [[], []]

    def test_no_search_finds_what_is_marked_as_revoked(self) -> None:
        a, b = stem("a"), stem("b")
        elsewhere = replace(a, library="other")
        self.index.upsert([point(a), point(a, 5.0), point(b)])
        self.index.upsert([replace(point(elsewhere), id=str(uuid.uuid4()))])
        both = replace(ANY, license_keys=ANY.license_keys | {elsewhere.license_key})
        self.index.set_revoked([a.id, "unknown"], True, "night-shift")
        found = self.index.search_dense(QUERY, both, 9)
        assert {h.segment.stem for h in found} == {b, elsewhere}
        self.index.set_revoked([a.id], True)
        self.index.set_revoked([a.id], True)
        assert titles(self.index, both) == {"b"}
        assert self.index.count() == 4
        assert len(self.index.find_stem(a.id)) == 3
        self.index.set_revoked([a.id, b.id], False)
        assert titles(self.index, both) == {"a", "b"}
        self.index.set_revoked([a.id], True)
        self.index.upsert([point(a)])
        assert [h.segment.start_s for h in self.index.search_dense(QUERY, ANY, 9)] == [0.0, 0.0]
        self.index.set_revoked([], True)

    def test_scroll_goes_on_after_an_id(self) -> None:
        self.index.upsert([point(stem(f"s{n}"), terms={}) for n in range(30)])
        ids = [p.id for p in self.index.scroll()]
        for after in (ids[0], ids[11], ids[-1]):
            expected = ids[ids.index(after) + 1 :]
            assert [p.id for p in self.index.scroll(after=after)] == expected
        self.index.delete([ids[11]])
        assert [p.id for p in self.index.scroll("night-shift", ids[11])] == ids[12:]

    def test_ties_are_broken_by_id_even_where_the_limit_cuts_them(self) -> None:
        twins = [point(stem(f"twin{n}")) for n in range(90)]
        self.index.upsert([*twins, point(stem("better"), dense=[1.0], terms={1: 5.0})])
        ids = sorted(p.id for p in twins)
        sparse = [h.id for h in self.index.search_sparse(SparseVector((1,), (1.0,)), ANY, 4)]
        assert sparse[1:] == ids[:3]
        dense = [h.id for h in self.index.search_dense(QUERY, ANY, 7)]
        assert dense == sorted([*ids, point(stem("better")).id])[:7]

    def test_every_field_of_a_filter_must_hold_and_lists_are_any_of(self) -> None:
        self.index.upsert(
            [
                point(
                    stem(
                        "a",
                        bpm=92.0,
                        key=Key(9, True),
                        tags=("Warm", "drums"),
                        sample_type=SampleType.LOOP,
                    )
                ),
                point(
                    stem(
                        "b",
                        artist="Émile",
                        bpm=120.0,
                        key=Key(0, False),
                        kind=StemKind.MIDI,
                        tags=("warm", "soft"),
                        duration_s=29.9,
                        sample_type=SampleType.SONG,
                    )
                ),
                point(stem("c", license="other")),
                point(stem("d", artist="")),
            ]
        )
        for changes, expected in FILTERS:
            assert titles(self.index, replace(ANY, **changes)) == expected, changes

    def test_a_vector_that_does_not_fit_is_refused(self) -> None:
        for vector in (
            np.ones(DIMENSION + 1, np.float32),
            np.full(DIMENSION, np.nan, np.float32),
            np.ones((1, DIMENSION), np.float32),
        ):
            with refused(InvalidInput, "a search by a vector that does not fit"):
                self.index.search_dense(vector, ANY, 3)
            bad = replace(point(stem("a")), dense=vector)
            with refused(InvalidInput, "storing a vector that does not fit"):
                self.index.upsert([point(stem("fine")), bad])
            assert self.index.count() == 0

"""What is found, in which order, and what never is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.domain import (
    Audio,
    Key,
    License,
    Reference,
    Rights,
    Segment,
    SegmentFilter,
    Stem,
    StemKind,
    Use,
)
from rag_audio.domain.ports import Hit, IndexedSegment
from rag_audio.errors import InvalidInput
from rag_audio.retrieval.references import ReferenceQuery, find_references
from rag_audio.storage.bm25 import encode_document
from rag_audio.storage.qdrant_edge import EdgeIndex

RATE = 1000
D = 10
NOTES = {"drums": 50, "bass": 100, "piano": 150, "strings": 200, "flute": 250}
TODAY = date(2026, 11, 22)


class BandEmbedder:
    """Sound by its energy in ten bands up to 500 Hz; a known word by the band of its note."""

    space = "bands"
    name = "bands"
    dimension = D
    sample_rate = RATE
    window_s = 2.0

    def __init__(self, untrained: bool = False) -> None:
        self.untrained = untrained
        self.text_weight = 0.05 if untrained else 1.0

    def embed_audio(self, clips: Sequence[Audio]) -> np.ndarray:
        assert all(clip.duration_s <= self.window_s for clip in clips)
        rows = []
        for clip in clips:
            power = np.abs(np.fft.rfft(clip.samples.mean(axis=0), n=2 * RATE)) ** 2
            rows.append(power[: 100 * D].reshape(D, 100).sum(axis=1) + 1e-6)
        return _unit(np.array(rows))

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.full((len(texts), D), 0.01)
        for row, text in zip(rows, texts, strict=True):
            for word, note in NOTES.items():
                if word in text.lower():
                    row[note // 50] += 1.0
        return _unit(rows)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def tone(*notes: int, seconds: float = 2.0, channels: int = 1) -> Audio:
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum((np.sin(2 * np.pi * (note + 10) * time) for note in notes), np.zeros_like(time))
    return Audio(np.repeat(wave[None], channels, axis=0).astype(np.float32) / 4, RATE)


def license_(name: str, *uses: Use, **changes: object) -> License:
    base = License(name, "lib", "Night Shift", "LicenseRef-X", frozenset(uses))
    return replace(base, **changes)  # type: ignore[arg-type]


LICENSES = [
    license_("full", *Use),
    license_("prompt-only", Use.PROMPT),
    license_("expired", *Use, valid_until=date(2026, 11, 21)),
    license_("future", *Use, valid_from=date(2026, 11, 23)),
    license_("german", *Use, territories=frozenset({"DE"})),
    license_("train-only", Use.TRAIN),
]


def rights(territory: str | None = None, revoked: frozenset[str] = frozenset()) -> Rights:
    return Rights({one.key: one for one in LICENSES}, territory, TODAY, revoked)


def stem(title: str, tags: str = "", **changes: object) -> Stem:
    base = Stem(
        id=uuid.uuid5(uuid.NAMESPACE_URL, title).hex * 2,
        library="lib",
        path=f"{title}.wav",
        kind=StemKind.AUDIO,
        license="full",
        duration_s=8.0,
        artist="Vera Quill",
        title=title,
        tags=tuple(tags.split()),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def points(of: Stem, *notes: int) -> list[IndexedSegment]:
    """A stem whose n-th segment is the n-th note."""
    vectors = BandEmbedder().embed_audio([tone(note) for note in notes])
    return [
        IndexedSegment(
            str(uuid.uuid5(uuid.NAMESPACE_URL, f"{of.id}{n}")),
            Segment(of, 2.0 * n, 2.0),
            vector,
            encode_document(of.caption),
        )
        for n, vector in enumerate(vectors)
    ]


BREAK = stem("Break 92", "drums", bpm=92.0, key=Key(9, True))
GROOVE = stem("Groove", "drums", bpm=184.0, kind=StemKind.MIDI, artist="Coil & Anchor")
LOW = stem("Low End", "bass", bpm=120.0, key=Key(0, False), duration_s=30.0)
HARBOUR = stem("Harbour", "piano warm", bpm=46.0, key=Key(4, True), artist="Coil & Anchor")
SUITE = stem("Suite", "strings", key=Key(4, False))
UNLICENSED = [
    stem("Old drums", "drums piano", license="expired"),
    stem("Coming drums", "drums piano", license="future"),
    stem("Berlin drums", "drums piano", license="german"),
    stem("Training drums", "drums piano", license="train-only"),
    stem("Lost drums", "drums piano", license="nowhere"),
    stem("Stolen drums", "drums piano", library="other"),
]
HINT = stem("Hint drums", "drums", license="prompt-only")
ALLOWED = [BREAK, GROOVE, LOW, HARBOUR, SUITE, HINT]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeIndex]:
    path: Path = tmp_path_factory.mktemp("home") / "index"
    made = EdgeIndex(path, space="bands", dimension=D)
    licensed = {
        BREAK: (50, 50, 300),
        GROOVE: (52, 400),
        LOW: (100, 350, 50),
        HARBOUR: (150,),
        SUITE: (200, 150),
        HINT: (300,),
    }
    every = licensed | dict.fromkeys(UNLICENSED, (50, 100, 150, 200))
    made.upsert([point for of, notes in every.items() for point in points(of, *notes)])
    yield made
    made.close()


def find(index: EdgeIndex, *, of: Rights | None = None, **fields: object) -> tuple[Reference, ...]:
    untrained = bool(fields.pop("untrained", False))
    return find_references(
        ReferenceQuery(**fields),  # type: ignore[arg-type]
        rights=of or rights(),
        embedder=BandEmbedder(untrained),
        index=index,
    )


def titles(references: Sequence[Reference]) -> list[str]:
    return [reference.stem.title for reference in references]


def test_words_find_what_sounds_and_is_called_so(index: EdgeIndex) -> None:
    found = find(index, text="Drum", k=3, variety=0.0)
    assert set(titles(found)[:2]) <= {"Break 92", "Groove", "Hint drums"}
    assert titles(find(index, text="a warm piano", k=1)) == ["Harbour"]
    assert titles(find(index, text="groove", k=1)) == ["Groove"]


def test_scores_lie_in_0_to_1_best_first_and_ranks_count_from_1(index: EdgeIndex) -> None:
    found = find(index, text="piano", audio=tone(150), k=10)
    assert [reference.rank for reference in found] == list(range(1, len(found) + 1))
    scores = [reference.score for reference in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert found[0].stem == HARBOUR
    assert found[0].score == pytest.approx(1.0)  # first by word, by meaning and by sound


def test_a_stem_appears_once_with_the_segment_that_fits_best(index: EdgeIndex) -> None:
    found = {r.stem.title: r.segment.start_s for r in find(index, audio=tone(50), k=10)}
    assert len(found) == len(ALLOWED)
    assert found["Break 92"] == 0.0
    assert found["Low End"] == 4.0
    assert find(index, audio=tone(350), k=1)[0].segment == Segment(LOW, 2.0, 2.0)


def test_sound_may_be_stereo_short_long_or_silent(index: EdgeIndex) -> None:
    assert titles(find(index, audio=tone(150, channels=2, seconds=0.5), k=1)) == ["Harbour"]
    long = np.concatenate([tone(200, seconds=30.0).samples, tone(100).samples], axis=1)
    assert set(titles(find(index, audio=Audio(long, RATE), k=2, variety=0))) == {"Suite", "Low End"}
    assert find(index, audio=Audio(np.zeros((1, RATE), np.float32), RATE), k=1)


def test_a_stem_finds_others_like_it_and_never_itself(index: EdgeIndex) -> None:
    found = find(index, like=(BREAK.id,), k=10)
    assert "Break 92" not in titles(found)
    assert set(titles(found)[:3]) == {"Groove", "Hint drums", "Low End"}
    with pytest.raises(InvalidInput, match="'absent' is not in the index"):
        find(index, like=("absent",))


def test_an_artist_alone_gives_the_catalogue_of_that_artist(index: EdgeIndex) -> None:
    assert set(titles(find(index, artist="Coil & Anchor"))) == {"Groove", "Harbour"}
    assert find(index, artist="Nobody At All") == ()


def test_parts_of_a_query_mix(index: EdgeIndex) -> None:
    vector = BandEmbedder().embed_audio([tone(200)])[0]
    found = find(index, text="piano", like=(HARBOUR.id,), vectors=(vector,), artist="Vera Quill")
    assert titles(found)[0] == "Suite"
    assert "Groove" not in titles(found)


def test_of_what_words_leave_open_the_least_changed_comes_first(tmp_path: Path) -> None:
    alike = EdgeIndex(tmp_path / "index", space="bands", dimension=D)
    slow, fast = (
        stem(f"Take {n}", "drums", bpm=float(n), key=Key(n % 12, True)) for n in (92, 124)
    )
    other = stem("Other", "bass", bpm=124.0, key=Key(4, True))
    alike.upsert([*points(slow, 50), *points(fast, 50), *points(other, 100)])
    query = {"text": "drums", "variety": 0.0}
    by_tempo = {n: titles(find(alike, **query, wanted_bpm=n)) for n in (60.0, 90.0, 126.0, 180.0)}
    by_key = {n: titles(find(alike, **query, wanted_key=Key(n, True))) for n in (8, 4)}
    scores = [found.score for found in find(alike, **query, wanted_bpm=124.0)]
    alike.close()
    assert [by_tempo[n][0] for n in (60.0, 126.0)] == ["Take 124", "Take 124"]
    assert [by_tempo[n][0] for n in (90.0, 180.0)] == ["Take 92", "Take 92"]
    assert [by_key[n][0] for n in (8, 4)] == ["Take 92", "Take 124"]
    assert all(found[-1] == "Other" for found in by_tempo.values())
    assert scores == sorted(scores, reverse=True) and all(0 < score <= 1 for score in scores)


def test_effort_brings_nothing_that_nothing_else_found(index: EdgeIndex) -> None:
    query = {"text": "drums", "stems": (BREAK.id, LOW.id), "k": 5}
    plain, wanted = find(index, **query), find(index, **query, wanted_bpm=120.0)
    assert set(titles(plain)) == set(titles(wanted))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bpm": (90.0, 95.0)}, {"Break 92", "Groove", "Harbour"}),
        ({"bpm": (90.0, 95.0), "octaves": False}, {"Break 92"}),
        ({"key": Key(9, True)}, {"Break 92"}),
        ({"key": Key(9, True), "fifths": True}, {"Break 92", "Low End", "Harbour"}),
        ({"kind": StemKind.MIDI}, {"Groove"}),
        ({"tags": ("warm", "bass")}, {"Harbour", "Low End"}),
        ({"min_duration_s": 9.0}, {"Low End"}),
        ({"stems": (SUITE.id, LOW.id)}, {"Suite", "Low End"}),
        ({"text": "drums", "exclude": (BREAK.id, GROOVE.id), "tags": ("drums",)}, {"Hint drums"}),
        ({"text": "drums", "uses": frozenset({Use.INIT_AUDIO}), "tags": ("drums",)},
         {"Break 92", "Groove"}),
        ({"text": "drums", "uses": frozenset({Use.PROMPT}), "tags": ("drums",)},
         {"Break 92", "Groove", "Hint drums"}),
    ],
)  # fmt: skip
def test_filters_narrow_down(
    index: EdgeIndex, fields: dict[str, object], expected: set[str]
) -> None:
    assert set(titles(find(index, **fields))) == expected


def test_a_license_counts_in_its_territory_only(index: EdgeIndex) -> None:
    assert "Berlin drums" not in titles(find(index, text="drums", of=rights("FR")))
    assert "Berlin drums" in titles(find(index, text="drums", of=rights("DE")))


def test_a_revoked_stem_is_never_retrieved(index: EdgeIndex) -> None:
    of = rights(revoked=frozenset({BREAK.id}))
    assert "Break 92" not in titles(find(index, text="break 92 drums", of=of))
    assert find(index, text="drums", stems=(BREAK.id,), of=of) == ()


def test_rights_are_checked_again_on_what_the_index_returns(index: EdgeIndex) -> None:
    class Careless:
        """An index that forgets the rights in the filter."""

        def search_dense(self, vector: np.ndarray, where: SegmentFilter, limit: int) -> list[Hit]:
            return index.search_dense(vector, _any_license(where), limit)

        def search_many(self, queries: list, where: SegmentFilter, limit: int) -> list[list[Hit]]:
            return index.search_many(queries, _any_license(where), limit)

        def vectors(self, ids: list[str]) -> dict[str, np.ndarray]:
            return index.vectors(ids)

        def find_stem(self, name: str) -> list[IndexedSegment]:
            return index.find_stem(name)

        def count(self, library: str | None = None, *, exact: bool = True) -> int:
            return index.count(library, exact=exact)

    def _any_license(where: SegmentFilter) -> SegmentFilter:
        every = frozenset(s.license_key for s in [*ALLOWED, *UNLICENSED])
        return replace(where, license_keys=every, exclude=())

    careless = Careless()
    for fields in ({"text": "drums"}, {"artist": "Vera Quill"}, {"audio": tone(50)}):
        found = find(careless, of=rights(revoked=frozenset({BREAK.id})), **fields)  # type: ignore[arg-type]
        assert found
        assert not {r.stem for r in found} & {*UNLICENSED, BREAK}


class Counting:
    """An index that notes what it is asked for."""

    def __init__(self, index: EdgeIndex) -> None:
        self._index = index
        self.searches: list[tuple[int, int]] = []
        """Queries and hits each, of every call."""
        self.read = 0
        """Vectors that were read."""
        self.filters: list[SegmentFilter] = []
        self.exact_counts = 0

    def search_many(self, queries: list, where: SegmentFilter, limit: int) -> list[list[Hit]]:
        self.searches.append((len(queries), limit))
        self.filters.append(where)
        return self._index.search_many(queries, where, limit)

    def vectors(self, ids: list[str]) -> dict[str, np.ndarray]:
        self.read += len(ids)
        return self._index.vectors(ids)

    def count(self, library: str | None = None, *, exact: bool = True) -> int:
        self.exact_counts += exact
        return self._index.count(library, exact=exact)


def _many(tmp_path: Path, stems: int, windows: int) -> tuple[EdgeIndex, list[Stem]]:
    made = EdgeIndex(tmp_path / "index", space="bands", dimension=D)
    every = [stem(f"Loop {n}", "drums", duration_s=60.0 + n) for n in range(stems)]
    notes = {one.id: 30 + n for n, one in enumerate(every)}
    made.upsert([p for one in every for p in points(one, *[notes[one.id]] * windows)])
    return made, every


def test_all_parts_are_asked_in_one_call_for_few_hits_and_vectors_of_the_best(
    tmp_path: Path,
) -> None:
    made, _ = _many(tmp_path, 90, 1)
    counting = Counting(made)
    found = find(counting, text="drums", audio=tone(50, 60), k=5)  # type: ignore[arg-type]
    made.close()
    assert len(found) == 5
    assert counting.searches == [(3, 60)]
    assert 5 <= counting.read <= 60
    assert counting.exact_counts == 0  # an index counts its points one by one


def test_where_few_hits_may_be_used_it_is_asked_deeper_and_no_ids_are_sent(
    tmp_path: Path,
) -> None:
    made, every = _many(tmp_path, 90, 1)
    counting = Counting(made)
    revoked = frozenset(one.id for one in every[:80])
    found = find(counting, text="drums", of=rights(revoked=revoked), k=12)  # type: ignore[arg-type]
    made.close()
    assert {r.stem for r in found} == set(every[80:])
    assert [limit for _, limit in counting.searches] == sorted(
        {limit for _, limit in counting.searches}
    )
    assert counting.searches[-1][1] > 90
    assert all(where.exclude == () for where in counting.filters)


def test_no_valid_license_at_all_means_nothing_is_found(index: EdgeIndex) -> None:
    assert find(index, text="drums", of=Rights({}, None, TODAY)) == ()


QUERIES = st.fixed_dictionaries(
    {"k": st.integers(1, 12), "variety": st.floats(0, 1)},
    optional={
        "text": st.sampled_from(["drums", "Stolen drums", "Berlin Training piano", "zzz"]),
        "audio": st.sampled_from([tone(50), tone(150, 100, channels=2), tone(430, seconds=7.0)]),
        "like": st.sampled_from([(s.id,) for s in [*UNLICENSED, *ALLOWED]]),
        "artist": st.sampled_from(["Vera Quill", "Coil & Anchor"]),
        "bpm": st.sampled_from([(40.0, 200.0)]),
        "kind": st.sampled_from(StemKind),
        "tags": st.sampled_from([("drums",), ("drums", "piano")]),
        "stems": st.sampled_from([tuple(s.id for s in UNLICENSED), (UNLICENSED[0].id, LOW.id)]),
        "exclude": st.sampled_from([(BREAK.id,)]),
        "uses": st.sets(st.sampled_from(Use), min_size=1).map(frozenset),
        "untrained": st.booleans(),
    },
)


@settings(max_examples=60)
@given(
    fields=QUERIES,
    territory=st.sampled_from([None, "DE", "FR"]),
    revoked=st.sets(st.sampled_from([s.id for s in [*ALLOWED, *UNLICENSED]])).map(frozenset),
)
def test_a_stem_without_a_valid_license_never_comes_back_whatever_the_query(
    index: EdgeIndex, fields: dict[str, object], territory: str | None, revoked: frozenset[str]
) -> None:
    if not set(fields) - {"k", "variety", "exclude", "uses", "untrained"}:
        fields["text"] = "drums"
    of = rights(territory, revoked)
    uses = fields.get("uses", frozenset({Use.PROMPT, Use.INIT_AUDIO}))
    found = find(index, of=of, **fields)
    assert len(found) <= fields["k"]  # type: ignore[operator]
    assert len({r.stem.id for r in found}) == len(found)
    for reference in found:
        assert any(of.refusal(reference.stem, use) is None for use in uses)  # type: ignore[union-attr]
        assert reference.stem.id not in fields.get("like", ())  # type: ignore[operator]
    again = find(index, of=of, **fields)
    assert [(r.segment, r.score, r.rank) for r in again] == [
        (r.segment, r.score, r.rank) for r in found
    ]


def test_keywords_lead_when_the_embedder_is_untrained(index: EdgeIndex) -> None:
    found = find(index, text="warm strings", untrained=True, k=10)
    assert {*titles(found)[:2]} == {"Suite", "Harbour"}
    assert found[1].score > 0.9 and found[2].score < 0.06


def test_variety_prefers_a_different_sound_over_a_second_copy(tmp_path: Path) -> None:
    with_copy = EdgeIndex(tmp_path / "index", space="bands", dimension=D)
    notes = {"First": (50, 8.0), "Copy": (51, 9.0), "Other": (100, 8.0)}
    for name, (note, seconds) in notes.items():
        with_copy.upsert(points(stem(name, duration_s=seconds), note))
    query = BandEmbedder().embed_audio([tone(50, 50, 50, 100)])[0]
    alike = find(with_copy, vectors=(query,), k=2, variety=0.0)
    varied = find(with_copy, vectors=(query,), k=2, variety=0.5)
    with_copy.close()
    assert set(titles(alike)) == {"First", "Copy"}
    assert "Other" in titles(varied) and len(varied) == 2


def test_a_long_stem_does_not_crowd_out_short_ones(tmp_path: Path) -> None:
    made = EdgeIndex(tmp_path / "index", space="bands", dimension=D)
    made.upsert(points(stem("Endless", "drums", duration_s=1400.0), *[50] * 700))
    made.upsert(points(stem("Short", "drums"), 55))
    found = find(made, text="drums", k=5)
    made.close()
    assert set(titles(found)) == {"Endless", "Short"}


def test_an_empty_index_gives_an_empty_answer(tmp_path: Path) -> None:
    made = EdgeIndex(tmp_path / "index", space="bands", dimension=D)
    assert find(made, text="drums", audio=tone(50), artist="Vera Quill") == ()
    assert find(made, artist="Vera Quill") == ()
    made.close()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "nothing to search for"),
        ({"text": "  \n"}, "nothing to search for"),
        ({"text": "x", "k": -1}, "-1"),
        ({"text": "x", "k": 1001}, "1001"),
        ({"text": "x", "variety": 1.5}, "1.5"),
        ({"text": "x", "variety": float("nan")}, "nan"),
        ({"text": "x", "uses": frozenset()}, "uses is empty"),
        ({"bpm": (96.0, 88.0)}, "96.0"),
        ({"bpm": (1.0, float("inf"))}, "inf"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_with_its_value(
    fields: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        ReferenceQuery(**fields)  # type: ignore[arg-type]


def test_k_0_asks_for_nothing(index: EdgeIndex) -> None:
    assert find(index, text="drums", k=0) == ()


def test_a_query_vector_of_another_space_is_refused(index: EdgeIndex) -> None:
    with pytest.raises(InvalidInput, match=r"\[10\]"):
        find(index, vectors=(np.ones(3, np.float32),))

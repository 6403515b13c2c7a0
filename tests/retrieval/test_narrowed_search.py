"""Libraries, licenses and sample types of a search; music before one-shots; unknown tempos."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_audio.domain import Key, Reference, SampleType, Stem, StemKind
from rag_audio.domain.stems import LibraryInfo
from rag_audio.errors import InvalidInput
from rag_audio.pipeline.narrowing import narrowed
from rag_audio.retrieval.references import ReferenceQuery, find_references
from tests.retrieval.test_references import BandEmbedder, D, license_, points, rights, stem, titles
from tests.support.fakes import FakeIndex

LICENSES = [
    license_("full"),
    license_("cc0"),
    license_("cc0", library="archive"),
    license_("press", library="archive"),
]
RIGHTS = replace(
    rights(), licenses={one.key: replace(one, uses=frozenset("prompt init_audio".split()))
                        for one in LICENSES},
)  # fmt: skip
OWN = stem("Own drums", "drums")
FREE = stem("Free drums", "drums", license="cc0", duration_s=9.0)
OLD = stem("Old drums", "drums", library="archive", license="cc0", duration_s=10.0)
PRESS = stem("Press drums", "drums", library="archive", license="press", duration_s=11.0)
LIBRARIES = [LibraryInfo(one, one, f"/{one}", 2) for one in ("lib", "archive")]


def search(*stems: Stem, **fields: object) -> tuple[Reference, ...]:
    index = FakeIndex(dimension=D)
    for one in stems:
        index.upsert(points(one, 50))
    query = narrowed(ReferenceQuery(**fields), LIBRARIES, RIGHTS)  # type: ignore[arg-type]
    return find_references(query, rights=RIGHTS, embedder=BandEmbedder(), index=index)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"libraries": ("lib",)}, {"Own drums", "Free drums"}),
        ({"libraries": ("lib", "archive")}, {OWN.title, FREE.title, OLD.title, PRESS.title}),
        ({"licenses": ("press",)}, {"Press drums"}),
        ({"licenses": ("archive/cc0",)}, {"Old drums"}),
        ({"licenses": ("lib/cc0", "full")}, {"Own drums", "Free drums"}),
        ({"licenses": ("cc0",), "libraries": ("archive",)}, {"Old drums"}),
        ({"licenses": ("full",), "text": "drums"}, {"Own drums"}),
    ],
)
def test_only_what_is_of_the_libraries_and_licenses_is_found(
    fields: dict[str, object], expected: set[str]
) -> None:
    assert set(titles(search(OWN, FREE, OLD, PRESS, **fields))) == expected


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"libraries": ("arhcive",)}, "no library 'arhcive' is indexed; there is archive, lib"),
        ({"licenses": ("gpl",)}, "no license 'gpl'; there is archive/cc0, archive/press, lib/cc0"),
        ({"licenses": ("press",), "libraries": ("lib",)}, "no license 'press'; there is lib/cc0"),
        ({"licenses": ("cc0",)}, "several libraries have a license 'cc0': archive/cc0, lib/cc0"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        search(OWN, **fields)


def test_sample_types_narrow_down() -> None:
    hit = replace(OWN, sample_type=SampleType.ONE_SHOT)
    loop = replace(FREE, sample_type=SampleType.LOOP)
    assert titles(search(hit, loop, OLD, text="drums", sample_types=["loop"])) == ["Free drums"]
    both = search(hit, loop, OLD, sample_types=["loop", "one-shot"])
    assert set(titles(both)) == {"Own drums", "Free drums"}


def test_where_music_is_preferred_one_shots_stand_behind_what_is_as_good() -> None:
    hit = replace(OWN, sample_type=SampleType.ONE_SHOT)
    loop = replace(FREE, sample_type=SampleType.LOOP, tags=("drums", "dusty", "long", "night"))
    other = stem("Other", "bass", sample_type=SampleType.LOOP, duration_s=12.0)
    wanted = {"text": "drums", "variety": 0.0}
    assert titles(search(hit, loop, other, **wanted))[0] == "Own drums"
    by_music = titles(search(hit, loop, other, **wanted, prefers_music=True))
    assert by_music == ["Free drums", "Own drums", "Other"]


def test_an_unknown_tempo_is_neither_the_nearest_nor_the_farthest() -> None:
    tempos = (120.0, None, 85.0, 90.0)
    near, untimed, far, further = (
        # As many words each, so that only tempos tell them apart.
        stem(f"Take {n}", "drums" if bpm else "drums dusty night", bpm=bpm, duration_s=8.0 + n)
        for n, bpm in enumerate(tempos)
    )
    found = titles(search(far, untimed, near, further, text="drums", wanted_bpm=120.0, variety=0.0))
    assert found[0] == "Take 0"
    assert found[-1] == "Take 2"


TAPE = stem("Tape", "drums", bpm=92.0, key=Key(9, True), duration_s=8.0)


def test_a_recording_that_is_there_in_several_files_is_found_once() -> None:
    copy = stem("Tape copy", duration_s=8.01, bpm=92.3)
    assert titles(search(copy, TAPE, text="drums")) == ["Tape"]


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_s": 8.1},
        {"bpm": 100.0},
        {"key": Key(4, True)},
        {"kind": StemKind.MIDI},
    ],
)
def test_what_differs_is_another_recording(changes: dict[str, object]) -> None:
    other = replace(TAPE, id="ab" * 32, title="Other", **changes)  # type: ignore[arg-type]
    assert set(titles(search(other, TAPE, text="drums"))) == {"Tape", "Other"}

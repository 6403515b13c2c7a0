from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rag_audio.domain import (
    Audio,
    ConditioningPlan,
    License,
    SeedPart,
    Segment,
    Stem,
    StemKind,
    Use,
)
from rag_audio.domain.ports import (
    DiffusionInput,
    IndexedSegment,
    ModelInfo,
    Progress,
    SparseVector,
    StopAsked,
)
from rag_audio.errors import LibraryError, OutputRefused
from rag_audio.guardrails import SourceSegment, check_output, inspect_output, require_distance
from rag_audio.pipeline.renderer import Renderer
from tests.provenance import builders
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.rendering import rendering_home
from tests.support.small_library import RATE, chords

EMBEDDER = FakeEmbedder()
LICENSES = {"full": 1.0, "near": 0.9, "half": 0.5, "strict": 0.3}


def sound(number: int) -> Audio:
    bpm, root = ((92, 220.0), (117, 164.8), (104, 293.7), (76, 130.8))[number]
    return Audio(chords(bpm, root, seconds=8.0, seed=number)[None], RATE)


def stem(number: int, license: str = "full") -> Stem:
    return Stem(str(number) * 64, "lib", f"stem-{number}.wav", StemKind.AUDIO, license, 8.0)


def segment(number: int, license: str = "full") -> Segment:
    return Segment(stem(number, license), 0.0, 8.0)


def index_of(*segments: Segment) -> FakeIndex:
    made = FakeIndex()
    made.upsert(
        [
            IndexedSegment(
                one.stem.id, one, EMBEDDER.embed_audio([hear(one)])[0], SparseVector((), ())
            )
            for one in segments
        ]
    )
    return made


def hear(one: Segment, sample_rate: int = RATE) -> Audio:
    return sound(int(one.stem.id[0]))


def inspect(audio: Audio, index: FakeIndex, sources: Sequence[SourceSegment] = ()):  # type: ignore[no-untyped-def]
    return inspect_output(
        audio,
        embedder=EMBEDDER,
        index=index,
        limits={f"lib/{name}": limit for name, limit in LICENSES.items()},
        sources=sources,
        hear=hear,
    )


def test_a_copy_of_a_stem_that_was_not_used_is_seen() -> None:
    found = inspect(sound(1), index_of(segment(0), segment(1, "near"), segment(2)))
    nearest = found.compared[0]
    assert (nearest.stem, nearest.used) == (stem(1).id, False)
    assert nearest.similarity == pytest.approx(1.0, abs=0.05)
    assert [near.path for near in found.too_near] == ["stem-1.wav"]


def test_a_short_copy_in_the_middle_is_seen() -> None:
    mixed = sound(0).samples.copy()
    mixed[:, 2 * RATE : 7 * RATE + RATE // 2] = sound(1).samples[:, : 5 * RATE + RATE // 2]
    found = inspect(Audio(mixed, RATE), index_of(segment(1, "strict"), segment(2)))
    assert found.too_near and found.too_near[0].path == "stem-1.wav"


HIDDEN = ([[1, 1], [-1, 1]], [[1, 3], [-0.8, 2.9]], [[0.7, 1], [0.6, -1]])
"""Gains of a stem and of what it is hidden under, in two channels."""


def hidden(gains: list[list[float]], number: int = 1, under: int = 3) -> Audio:
    both = np.concatenate([sound(number).samples, sound(under).samples])
    return Audio((np.array(gains) @ both).astype(np.float32), RATE)


@pytest.mark.parametrize("gains", HIDDEN)
def test_a_copy_with_opposite_polarity_in_the_channels_is_refused(gains: list[list[float]]) -> None:
    other, copied = (SourceSegment(segment(number, "half"), sound(number)) for number in (0, 1))
    require_distance(inspect(hidden(gains), index_of(), [other]))
    with pytest.raises(OutputRefused, match=r"too near to stem-1\.wav"):
        require_distance(inspect(hidden(gains), index_of(), [copied]))


@pytest.mark.parametrize("gains", HIDDEN[:2])
def test_the_nearest_stems_are_those_of_all_that_is_heard_in_the_channels(
    gains: list[list[float]],
) -> None:
    found = inspect(hidden(gains), index_of(*(segment(n, "near") for n in range(4))))
    cosines = {near.path: near.cosine for near in found.compared}
    assert cosines["stem-1.wav"] == pytest.approx(1.0, abs=0.02)
    assert "stem-1.wav" in [near.path for near in found.too_near]


def test_what_is_far_from_everything_passes() -> None:
    found = inspect(sound(3), index_of(segment(0, "strict"), segment(1, "strict")))
    assert found.too_near == ()
    assert found.to_json()["copy_distance"] > 0.7


def test_a_source_is_compared_as_it_was_conformed_and_the_control_was_not_used() -> None:
    used = SourceSegment(segment(0, "near"), sound(1))
    found = inspect(sound(1), index_of(segment(0, "near"), segment(2)), [used])
    assert [(near.path, near.used) for near in found.too_near] == [("stem-0.wav", True)]
    assert found.control is not None and not found.control.used
    assert len(found.timeline) == 3 and all(len(row) == 1 for row in found.timeline)


def test_without_any_license_and_stem_there_is_nothing_to_be_near_to() -> None:
    found = inspect_output(
        sound(0), embedder=EMBEDDER, index=FakeIndex(), limits={}, sources=(), hear=hear
    )
    assert (found.compared, found.control) == ((), None)
    assert found.to_json()["copy_distance"] is None


@pytest.mark.parametrize(("license", "refused"), [("strict", True), ("full", False)])
def test_a_stem_that_cannot_be_heard_stops_only_what_its_license_limits(
    license: str, refused: bool
) -> None:
    def gone(one: Segment) -> Audio:
        raise LibraryError(f"{one.stem.path} cannot be read")

    def run() -> float | None:
        found = inspect_output(
            sound(0),
            embedder=EMBEDDER,
            index=index_of(segment(0, license)),
            limits={f"lib/{name}": limit for name, limit in LICENSES.items()},
            sources=(),
            hear=gone,
        )
        return found.compared[0].similarity

    if refused:
        with pytest.raises(LibraryError, match=r"stem-0\.wav"):
            run()
    else:
        assert run() is None


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((1, RATE), np.float32), "silent"),
        (np.full((2, RATE), np.nan, np.float32), "not finite"),
        (np.zeros((1, 0), np.float32), "silent"),
    ],
)
def test_what_is_no_sound_is_refused(samples: np.ndarray, said: str) -> None:
    with pytest.raises(OutputRefused, match=said):
        check_output(Audio(samples, RATE))


def test_a_refusal_names_the_source_and_the_numbers() -> None:
    found = inspect(sound(0), index_of(), [SourceSegment(segment(0, "half"), sound(0))])
    with pytest.raises(OutputRefused, match=r"to stem-0\.wav: similarity 1\.00, .* allows 0\.5"):
        require_distance(found)


class Leaving:
    """A generator that gives its seed audio back below a strength, and another piece from it on."""

    info = ModelInfo("fake", "0", "stable-audio", RATE, 1, 60.0, 64, 4, 1.0, 0.4, True)

    def __init__(self, leaves_at: float) -> None:
        self.leaves_at = leaves_at
        self.strengths: list[float] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        self.strengths.append(batch.strength)
        assert batch.init_audio is not None
        near = batch.strength < self.leaves_at
        return tuple(batch.init_audio if near else sound(3) for _ in batch.seeds)


def plan() -> ConditioningPlan:
    license = License(
        "strict", "lib", "H", "LicenseRef-X", frozenset(Use), max_similarity=LICENSES["strict"]
    )
    reference = replace(builders.reference(), segment=segment(0, "strict"))
    return builders.plan(
        references=(reference,),
        licenses=(license,),
        seed_parts=(SeedPart(0, 1.0, 1.0, 0, 0.0, 0.0),),
        spans=(),
        strength=0.4,
        duration_s=8.0,
    )


def renderer(retries: int, generator: Leaving, limit: float = 0.3, play: Any = hear) -> Renderer:
    home = rendering_home(play, EMBEDDER, index_of(segment(0, "strict")), retries)
    return Renderer(home, generator, {"lib/strict": limit})


def test_too_near_a_copy_is_made_again_at_higher_strength_and_said() -> None:
    generator = Leaving(0.5)
    (take,) = renderer(1, generator).make(plan(), None, None)
    assert generator.strengths == [0.4, pytest.approx(0.55)]
    assert take.plan.strength == pytest.approx(0.55)
    assert "made again at strength 0.55" in take.plan.notes[-1]
    assert take.inspection.to_json()["tries"] == 1


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_when_every_try_is_too_near_nothing_is_given_out(retries: int) -> None:
    generator = Leaving(2.0)
    with pytest.raises(OutputRefused, match=r"stem-0\.wav"):
        renderer(retries, generator).make(plan(), None, None)
    assert len(generator.strengths) == retries + 1


@pytest.mark.parametrize(("limit", "refused"), [(0.3, True), (1.0, False)])
def test_words_of_a_stem_whose_sound_is_gone_can_be_used_where_likeness_is_free(
    limit: float, refused: bool
) -> None:
    class Plain(Leaving):
        def generate(
            self,
            batch: DiffusionInput,
            progress: Progress | None = None,
            stop_asked: StopAsked | None = None,
        ) -> tuple[Audio, ...]:
            return (sound(3),)

    def gone(one: Segment, sample_rate: int) -> Audio:
        raise LibraryError("gone")

    made = replace(plan(), seed_parts=(), strength=1.0)
    made_by = renderer(0, Plain(0.0), limit, gone)
    if refused:
        with pytest.raises(LibraryError):
            made_by.make(made, None, None)
    else:
        (take,) = made_by.make(made, None, None)
        assert [near.similarity for near in take.inspection.compared] == [None]

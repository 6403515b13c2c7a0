"""Bars are as long as the time signature says, wherever something lies on bar lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.analysis import Analysis
from rag_audio.audio.dsp import loop_to
from rag_audio.domain import (
    Aim,
    Audio,
    Channel,
    ConditioningPlan,
    Controls,
    Enforcement,
    GenerationRequest,
    Segment,
    StemKind,
    limits,
)
from rag_audio.domain.music import bar_s, beat_s
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.ports import DiffusionInput, ModelInfo
from rag_audio.errors import InvalidInput
from rag_audio.generation import inpainting, take_selection
from rag_audio.generation.inpainting import Canvas, Grid, Pass, paint, plan_passes
from rag_audio.generation.seed_audio import seed_audio
from rag_audio.generation.seed_layout import aligned
from rag_audio.pipeline.edit_orders import EXTEND, INPAINT, Order, canvas_of
from rag_audio.pipeline.edit_source import _asked_metre
from rag_audio.pipeline.editing import Editor
from rag_audio.pipeline.renderer import Renderer
from rag_audio.service.api.schemas import EditAsked
from rag_audio.service.jobs import request_fields
from tests.generation.test_planning import INFO, plan_of, reference, tone
from tests.support.rendering import rendering_home

Metre = tuple[int, int]
METRES: tuple[Metre, ...] = ((3, 4), (6, 8), (5, 4), (7, 8), (2, 2), (4, 4))
EVERY = st.tuples(st.integers(1, 32), st.sampled_from((1, 2, 4, 8, 16)))
TEMPOS = st.floats(20, 400)
RATE, WINDOW = 2000, 12.0
PLAN = ConditioningPlan(
    prompt="p", enriched_prompt="p", spans=(), negative_prompt="", references=(), licenses=(),
    seed_parts=(), channels=frozenset(Channel), strength=1.0, bpm=90.0, key=None,
    duration_s=60.0, seed=1, steps=1, guidance=1.0, variations=1, model="m",
)  # fmt: skip


def expected(bpm: float, metre: Metre) -> float:
    """Quarter notes in a bar, at as many to the minute."""
    return metre[0] / metre[1] * 4 * 60 / bpm


def planned(bpm: float, metre: Metre | None, **fields: Any) -> ConditioningPlan:
    return replace(PLAN, bpm=bpm, controls=Controls(time_signature=metre), **fields)


def off_line_s(time_s: float, bar: float) -> float:
    """How far a time is from the nearest bar line, seconds."""
    return abs(time_s - round(time_s / bar) * bar)


class Noise:
    """A generator that makes noise of the wanted length."""

    info: ModelInfo = replace(INFO, sample_rate=RATE, channels=1, max_duration_s=WINDOW)

    def generate(self, batch: DiffusionInput, *told: Any) -> tuple[Audio, ...]:
        rng = np.random.default_rng(batch.seeds[0])
        frames = round(batch.duration_s * RATE)
        return tuple(
            Audio(0.1 * rng.standard_normal((1, frames)).astype(np.float32), RATE)
            for _ in batch.seeds
        )


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """Every window that is painted from now on."""
    found: list[Pass] = []

    def watched(*given: Any) -> tuple[Pass, ...]:
        made = plan_passes(*given)
        found.extend(made)
        return made

    monkeypatch.setattr(inpainting, "plan_passes", watched)
    return found


# What a bar is


@pytest.mark.parametrize(
    ("metre", "quarters"),
    [((3, 4), 3), ((4, 4), 4), ((2, 2), 4), ((6, 8), 3), ((12, 8), 6), ((7, 8), 3.5), (None, 4)],
)
def test_the_tempo_counts_quarter_notes(metre: Metre | None, quarters: float) -> None:
    assert bar_s(60.0, metre) == quarters
    assert beat_s(60.0) == 1.0


def test_without_a_tempo_a_bar_has_no_length() -> None:
    assert bar_s(None, (3, 4)) == 0.0 == beat_s(None)
    assert planned(90.0, (3, 4)).bar_s == 2.0
    assert replace(PLAN, bpm=None).bar_s == 0.0


@given(bpm=TEMPOS, metre=st.none() | EVERY, bars=st.integers(1, 64))
def test_asking_for_bars_is_asking_for_their_length(
    bpm: float, metre: Metre | None, bars: int
) -> None:
    wanted = bars * bar_s(bpm, metre)
    assert wanted == pytest.approx(bars * expected(bpm, metre or (4, 4)), abs=1e-9, rel=1e-12)
    if not limits.DURATION_S.holds(wanted):
        with pytest.raises(
            InvalidInput, match=f"{bars} bars at .* BPM last .* s, an output 0.5 to"
        ):
            plan_of(bpm=bpm, time_signature=metre, bars=bars, duration_s=None)
        return
    plan = plan_of(bpm=bpm, time_signature=metre, bars=bars, duration_s=None)
    assert plan.duration_s == pytest.approx(wanted, abs=1 / 192_000)
    assert plan.bar_s == bar_s(bpm, metre)


@pytest.mark.parametrize("metre", [(0, 4), (33, 4), (3, 5), (3, 0)])
def test_what_is_no_time_signature_is_refused(metre: Metre) -> None:
    with pytest.raises(InvalidInput, match="is not a time signature"):
        GenerationRequest("slow", time_signature=metre)


# References


@pytest.mark.parametrize("metre", METRES)
@pytest.mark.parametrize("own", [None, (4, 4), (3, 4)])
def test_a_stem_in_any_metre_is_looped_in_whole_bars_of_the_piece(
    metre: Metre, own: Metre | None
) -> None:
    bar = expected(120.0, metre)
    stem = reference("a", bpm=120.0, downbeat_s=0.25, time_signature=own)
    plan = plan_of(stem, time_signature=metre, bpm=120.0, duration_s=31.0)
    (part,) = plan.seed_parts
    assert part.loop_s >= bar and off_line_s(part.loop_s, bar) < 1e-6
    seed = seed_audio(plan, tone, RATE, 1)
    assert seed is not None and seed.frames == round(31.0 * RATE)


@pytest.mark.parametrize("kind", list(StemKind))
def test_a_stem_begins_on_a_bar_line_of_its_own_metre_where_that_is_known(kind: StemKind) -> None:
    downbeat = None if kind is StemKind.MIDI else 0.0
    known = replace(reference("a", bpm=120.0, downbeat_s=downbeat).stem, kind=kind)
    waltz = replace(known, time_signature=(3, 4))
    segments = [Segment(stem, 3.5, 6.0) for stem in (waltz, known)]
    assert [aligned(segments[0], asked).start_s for asked in (None, (4, 4))] == [4.5, 4.5]
    assert [aligned(segments[1], asked).start_s for asked in (None, (3, 4))] == [4.0, 4.5]


def test_a_stem_in_another_metre_than_the_piece_is_named_in_the_notes() -> None:
    waltz = reference("a", time_signature=(3, 4), title="Blue Hour")
    said = "Blue Hour is in 3/4, and no time signature was asked for: 4/4 is meant"
    assert said in plan_of(waltz).notes
    assert (
        "Blue Hour is in 3/4: looped in bars of 5/4" in plan_of(waltz, time_signature=(5, 4)).notes
    )
    for same in ((3, 4), (6, 8)):
        assert not [n for n in plan_of(waltz, time_signature=same).notes if "Blue Hour" in n]
    # Not asked for: the loop is whole bars of the only metre that is known.
    (part,) = plan_of(waltz, duration_s=12.0, bpm=90.0).seed_parts
    assert off_line_s(part.loop_s, 2.0) < 1e-6


@pytest.mark.parametrize("metre", METRES)
def test_sections_begin_and_end_on_bar_lines(metre: Metre) -> None:
    bar = expected(100.0, metre)
    plan = plan_of(
        reference("a"), reference("b"), references=("a", "b"), bpm=100.0, duration_s=None,
        arrange=(("a", 1, 2), ("b", 3, 4)), time_signature=metre,
    )  # fmt: skip
    assert plan.duration_s == pytest.approx(4 * bar)
    spans = [(part.start_s, part.end_s) for part in plan.seed_parts]
    assert spans == [pytest.approx((0.0, 2 * bar)), pytest.approx((2 * bar, 4 * bar))]


# Long pieces


@pytest.mark.parametrize("metre", METRES)
def test_every_window_of_a_long_piece_begins_on_a_bar_line(
    metre: Metre, windows: list[Pass]
) -> None:
    renderer = Renderer(rendering_home(tone), Noise(), {})
    plan = plan_of(bpm=110.0, time_signature=metre, duration_s=60.0)
    (take,) = renderer.make(plan, None, None)
    assert take.audio.duration_s == pytest.approx(60.0)
    assert len(windows) > 5
    bar = expected(110.0, metre)
    assert max(off_line_s(one.start_s, bar) for one in windows) < 1 / RATE


def test_a_plan_of_before_is_painted_in_the_windows_of_before(windows: list[Pass]) -> None:
    """Its file says nothing of windows: at 4/4 they are the ones that made its sound."""
    plan = plan_of(bpm=92.0, duration_s=40.0)
    document = plan_to_json(plan)
    assert document.pop("windows_on_bars")
    assert "windows_on_bars" not in plan_to_json(plan_of(bpm=92.0, duration_s=10.0))
    renderer = Renderer(rendering_home(tone), Noise(), {})
    renderer.make(plan_from_json(document), None, None)
    begins = [0.0, 5.217391, 10.434783, 15.652174, 20.869565, 28.0]
    assert [one.start_s for one in windows] == pytest.approx(begins, abs=1e-6)
    # Those of another metre were on the wrong bar lines.
    windows.clear()
    document = plan_to_json(plan_of(bpm=92.0, duration_s=40.0, time_signature=(3, 4)))
    del document["windows_on_bars"]
    renderer.make(plan_from_json(document), None, None)
    bar = expected(92.0, (3, 4))
    assert len(windows) > 3 and max(off_line_s(one.start_s, bar) for one in windows) < 1 / RATE


@settings(max_examples=150)
@given(data=st.data(), bpm=TEMPOS, metre=EVERY, total=st.floats(1, 120))
def test_windows_begin_on_bar_lines_and_fill_their_regions(
    data: st.DataObject, bpm: float, metre: Metre, total: float
) -> None:
    """Every one but that at the piece's own beginning, where two bars fit into a window."""
    bar = bar_s(bpm, metre)
    offset = data.draw(st.floats(0, bar, exclude_max=True))
    cuts = sorted(data.draw(st.lists(st.floats(0, total), min_size=2, max_size=4)))
    edges = data.draw(st.sampled_from(([0.0, total], [0.0, *cuts[:1]], [*cuts[:1], total], cuts)))
    regions = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if b - a > 0.1]
    passes = plan_passes(regions, total, WINDOW, Grid(bar, offset))
    waiting = sum(end - start for start, end in regions)
    for one in passes:
        assert one.start_s == 0 or bar > WINDOW / 2 or off_line_s(one.start_s - offset, bar) < 1e-5
        assert one.start_s >= -1e-6 and one.duration_s <= WINDOW + 1e-6
        for start, end in one.used:
            assert one.start_s - 1e-6 <= start < end <= one.end_s + 1e-6
            waiting -= end - start
    assert waiting == pytest.approx(0, abs=1e-6)


def test_a_short_sound_goes_on_to_the_left_without_a_gap() -> None:
    """Its bar lines may be further from the seam than it is long."""
    passes = plan_passes(((0.0, 68.2),), 69.1, WINDOW, Grid(1.71, 0.98))
    assert passes[0].used[0][1] == 68.2 <= passes[0].end_s
    assert passes[-1].used[0][0] == 0.0


# Edits


def noise(seconds: float) -> Audio:
    rng = np.random.default_rng(5)
    return Audio(0.2 * rng.standard_normal((1, round(seconds * RATE))).astype(np.float32), RATE)


def edited(
    monkeypatch: pytest.MonkeyPatch, plan: ConditioningPlan, order: Order, sound: Audio
) -> Canvas:
    """The canvas on which an edit of a plan is made, by the editor itself."""
    seen: list[Canvas] = []

    def watched(canvas: Canvas, *given: Any) -> Any:
        seen.append(canvas)
        return paint(canvas, *given)

    monkeypatch.setattr("rag_audio.pipeline.editing.paint", watched)
    renderer: Any = SimpleNamespace(generator=Noise(), seed_audio=lambda plan: None)
    editor = Editor(SimpleNamespace(home=None))  # type: ignore[arg-type]
    source: Any = SimpleNamespace(audio=sound, bar_line_s=0.0)
    editor._make(replace(plan, strength=0.5), 1, source, order, renderer, lambda *_: None, None)
    return seen[0]


def repeats_after(made: np.ndarray[Any, Any], last: int, bar: float) -> int | None:
    """After how many bars, to a frame, the sound before ``last`` is an earlier one again."""
    piece = made[0, last - 50 : last]
    for bars in range(1, round(last / bar / RATE) + 1):
        for period in (round(bars * bar * RATE) + d for d in (-1, 0, 1)):
            if last - 50 - period >= 0 and np.array_equal(
                piece, made[0, last - 50 - period : last - period]
            ):
                return bars
    return None


@pytest.mark.parametrize("metre", METRES)
def test_an_extension_goes_on_by_whole_bars(
    metre: Metre, windows: list[Pass], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar, left = expected(100.0, metre), 3.7
    order = Order(EXTEND, left_s=left, right_s=40.0)
    canvas = edited(monkeypatch, planned(100.0, metre), order, noise(11.0))
    assert canvas.seed is not None
    assert repeats_after(canvas.seed.samples, canvas.seed.frames, bar)
    assert canvas.grid.bar_s == pytest.approx(bar)
    assert off_line_s(left - canvas.grid.offset_s, bar) < 1 / RATE
    begins = [one.start_s for one in windows if one.start_s > left]
    assert len(begins) > 3
    assert max(off_line_s(at - left, bar) for at in begins) < 1 / RATE


@pytest.mark.parametrize("metre", METRES)
def test_a_region_starts_from_whole_bars_of_what_stands_before_it(
    metre: Metre, windows: list[Pass], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = expected(100.0, metre)
    canvas = edited(
        monkeypatch, planned(100.0, metre), Order(INPAINT, ((9.3, 11.0), (30.0, 47.0))), noise(47.0)
    )
    assert canvas.seed is not None
    # Nothing stands after the second region: it is the sound before it, again.
    assert repeats_after(canvas.seed.samples, canvas.seed.frames, bar)
    assert max(off_line_s(one.start_s, bar) for one in windows) < 1 / RATE


@settings(max_examples=25)
@given(bpm=TEMPOS, metre=EVERY, own=st.floats(1, 30), right=st.floats(4, 20))
def test_what_an_extension_starts_from_is_whole_bars_at_any_tempo(
    bpm: float, metre: Metre, own: float, right: float
) -> None:
    bar = bar_s(bpm, metre)
    seed = canvas_of(Order(EXTEND, right_s=right), noise(own), Grid(bar), None).seed
    assert seed is not None
    if bar * RATE > 200 and own >= bar + 0.1 and right > bar + 1.5:
        assert repeats_after(seed.samples, seed.frames, bar)


def test_the_references_of_an_extension_to_the_left_have_their_bar_line_where_the_sound_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bars of 2 s: half a second is to come before the first whole one."""
    plan = planned(90.0, (3, 4), duration_s=10.5, strength=0.5)
    t = np.arange(round(14 * RATE)) / RATE
    clicks = (t % 2.0 < 0.1).astype(np.float32)

    def seeded(asked: ConditioningPlan) -> Audio:
        return Audio(clicks[None, : round(asked.duration_s * RATE)], RATE)

    seen: list[Canvas] = []

    def watched(canvas: Canvas, *given: Any) -> Any:
        seen.append(canvas)
        return paint(canvas, *given)

    monkeypatch.setattr("rag_audio.pipeline.editing.paint", watched)
    editor = Editor(SimpleNamespace(home=None))  # type: ignore[arg-type]
    renderer: Any = SimpleNamespace(generator=Noise(), seed_audio=seeded)
    source: Any = SimpleNamespace(audio=noise(8.0), bar_line_s=0.0)
    editor._make(plan, 1, source, Order(EXTEND, left_s=2.5), renderer, lambda *_: None, None)
    seed = seen[0].seed
    assert seed is not None and seed.frames == round(10.5 * RATE)
    rises = np.flatnonzero(np.diff(seed.samples[0]) > 0.5) + 1
    assert rises.tolist() == [round(at * RATE) for at in (0.5, 2.5, 4.5, 6.5, 8.5)]


def test_an_edit_asks_for_the_metre_of_the_newest_output_that_has_one() -> None:
    def entry(controls: dict[str, Any] | None) -> Any:
        plan = {} if controls is None else {"controls": controls}
        return SimpleNamespace(record=SimpleNamespace(plan=plan))

    plans = {
        3: entry(None),
        2: entry({"time_signature": None}),
        1: entry({"time_signature": [3, 4]}),
    }
    ledger: Any = SimpleNamespace(find=plans.get)
    assert _asked_metre((3, 2, 1), ledger) == (3, 4)
    assert _asked_metre((3, 2), ledger) is None
    assert _asked_metre((), ledger) is None


def test_an_edit_over_http_may_state_its_metre() -> None:
    asked = EditAsked(kind="extend", upload="0" * 32, right_s=2.0, time_signature=(3, 4))
    document = json.loads(asked.model_dump_json(exclude_none=True))
    fields = request_fields(document, lambda upload: Path(upload))
    assert GenerationRequest("slow", **fields).time_signature == (3, 4)


# Enforced tempo


def measured(tempos: Sequence[float]) -> Any:
    """An analysis that finds these tempos, one after another."""
    found = iter(tempos)
    return lambda audio: Analysis(next(found), 1.0, (), None, 0.0, -20.0, False)


@pytest.mark.parametrize("metre", METRES)
def test_what_an_enforced_tempo_leaves_free_is_filled_with_whole_bars(
    metre: Metre, monkeypatch: pytest.MonkeyPatch
) -> None:
    periods: list[int] = []
    real = loop_to

    def watched(audio: Audio, frames: int, crossfade: int, period: int) -> Audio:
        periods.append(period)
        return real(audio, frames, crossfade, period)

    monkeypatch.setattr(take_selection, "loop_to", watched)
    monkeypatch.setattr(take_selection, "analyse", measured((92.0, 100.0)))
    plan = planned(100.0, metre, enforcement=Enforcement(frozenset({Aim.TEMPO})))
    made = take_selection.enforce([(1, noise(13.0))], plan)
    assert made.met and made.time_ratio == pytest.approx(0.92)
    (period,) = periods
    bar = expected(100.0, metre) * RATE
    assert period >= bar and abs(period - round(period / bar) * bar) <= 1

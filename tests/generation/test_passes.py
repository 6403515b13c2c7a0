"""Which windows are made, for regions of any length anywhere in a piece."""

from __future__ import annotations

import numpy as np
import pytest

from rag_audio.generation.inpainting import Grid, plan_passes

WINDOW = 12.0


def pieces() -> list[tuple[tuple[tuple[float, float], ...], float, Grid]]:
    rng = np.random.default_rng(0)
    found: list[tuple[tuple[tuple[float, float], ...], float, Grid]] = [
        (((0.0, 180.0),), 180.0, Grid()),
        (((10.0, 180.0),), 180.0, Grid(2.0)),
        (((0.0, 170.0),), 180.0, Grid(1.7, 0.4)),
        (((0.0, 40.0), (50.0, 90.0)), 90.0, Grid(2.0)),
        (((3.0, 3.1), (3.3, 3.5), (170.0, 171.0)), 175.0, Grid()),
        (((0.0, 5.0),), 5.0, Grid(2.0)),
    ]
    for _ in range(40):
        total = float(rng.uniform(1, 120))
        cuts = np.sort(rng.uniform(0, total, 2 * int(rng.integers(1, 4))))
        regions = tuple((float(a), float(b)) for a, b in cuts.reshape(-1, 2) if b - a > 0.1)
        if regions:
            bar = float(rng.choice([0.0, 1.3, 2.0, 2.6]))
            found.append((regions, total, Grid(bar, float(rng.uniform(0, 1)))))
    return found


@pytest.mark.parametrize(("regions", "total", "grid"), pieces())
def test_windows_fit_the_model_and_fill_each_region_once_on_known_ground(
    regions: tuple[tuple[float, float], ...], total: float, grid: Grid
) -> None:
    passes = plan_passes(regions, total, WINDOW, grid)
    used = sorted(span for one in passes for span in one.used)
    for one in passes:
        assert -1e-6 <= one.start_s < one.end_s <= total + 1e-6
        assert one.duration_s <= WINDOW + 1e-6
        for start, end in one.used:
            assert one.start_s - 1e-6 <= start < end <= one.end_s + 1e-6
    # Together they are the regions, without gaps and without overlaps.
    at = 0
    for start, end in regions:
        reached = start
        while at < len(used) and used[at][0] < end - 1e-6:
            assert used[at][0] == pytest.approx(reached, abs=1e-6)
            reached = used[at][1]
            at += 1
        assert reached == pytest.approx(end, abs=1e-6)
    assert at == len(used)
    # A window makes at least a quarter of itself, whenever so much is left to make.
    made = sum(end - start for start, end in regions)
    assert len(passes) <= len(regions) + made / (WINDOW / 4)


def test_every_window_but_a_first_hears_what_stands_beside_it() -> None:
    passes = plan_passes(((10.0, 180.0),), 180.0, WINDOW, Grid(2.0))
    for one in passes:
        (start, _), *_ = one.used
        assert start - one.start_s >= WINDOW / 4
        assert one.start_s % 2.0 == pytest.approx(0.0, abs=1e-6)
    turned = plan_passes(((0.0, 60.0),), 70.0, WINDOW)
    assert [one.used[0][1] for one in turned] == sorted(
        (one.used[0][1] for one in turned), reverse=True
    )
    for one in turned:
        assert one.end_s - one.used[-1][1] >= WINDOW / 4

"""Levels and crossfades of what is put into a piece."""

from __future__ import annotations

import numpy as np

from rag_audio.domain import Audio
from rag_audio.generation.splicing import Edge, is_steady, led, level_window, limited, splice


def test_a_gain_is_led_from_the_edges_to_the_middle_and_goes_on_outside() -> None:
    curve = 20 * np.log10(led(1000, [(200, -6.0), (300, 0.0), (700, 0.0), (800, 3.0)]))
    np.testing.assert_allclose(curve[:201], -6.0)
    np.testing.assert_allclose(curve[300:701], 0.0, atol=1e-9)
    np.testing.assert_allclose(curve[800:], 3.0)
    assert curve[250] == -3.0


def test_beside_steady_sound_neither_a_hole_nor_a_burst_is_left_at_a_seam() -> None:
    rate = 24_000
    t = np.arange(4 * rate) / rate
    tone = 0.1 * np.sin(2 * np.pi * 220 * t)
    made = tone * np.where(t > 3.0, 0.05, 1.0) + 0.0
    made[rate : rate + 400] += 0.5 * np.random.default_rng(0).standard_normal(400)
    made_audio = Audio(made[None].astype(np.float32), rate)
    beyond = tone[None, :rate].astype(np.float32)
    edges = (Edge(rate, 1, beyond), Edge(round(3.8 * rate), -1, beyond))
    held = level_window(made_audio, [edges], -np.inf, rate, 0.1).samples[0]
    assert np.abs(held[rate : rate + 400]).max() < 0.35 * np.abs(made[rate : rate + 400]).max()
    end = held[round(3.7 * rate) : round(3.8 * rate)]
    assert np.sqrt(np.mean(end**2)) > 3 * np.sqrt(np.mean(made[round(3.7 * rate) :] ** 2))


def test_the_limiter_holds_the_ceiling_and_leaves_the_rest() -> None:
    rng = np.random.default_rng(0)
    sound = (0.2 * rng.standard_normal((2, 20_000))).clip(-0.7, 0.7).astype(np.float32)
    sound[0, 9_000:9_003] = 1.6
    held = limited(sound, 0.8, 200)
    assert np.abs(held).max() <= 0.8 + 1e-6
    np.testing.assert_array_equal(held[:, :8_500], sound[:, :8_500])
    np.testing.assert_array_equal(held[:, 9_500:], sound[:, 9_500:])
    assert limited(sound, 2.0, 200) is sound


def test_a_splice_keeps_the_power_of_sounds_alike_or_not_and_changes_nothing_beyond() -> None:
    rng = np.random.default_rng(1)
    old, other = rng.standard_normal((2, 1, 30_000)).astype(np.float32)
    for made in (old, other):
        piece = old.copy()
        splice(piece, made, 10_000, 20_000, 2_000)
        np.testing.assert_array_equal(piece[:, :8_000], old[:, :8_000])
        np.testing.assert_array_equal(piece[:, 22_000:], old[:, 22_000:])
        np.testing.assert_array_equal(piece[:, 10_000:20_000], made[:, 10_000:20_000])
        for fade in (slice(8_000, 10_000), slice(20_000, 22_000)):
            assert 0.85 < np.mean(piece[:, fade] ** 2) < 1.15


def test_what_is_steady_is_told_from_what_has_beats() -> None:
    t = np.arange(24_000) / 24_000
    tone = np.sin(2 * np.pi * 220 * t)[None].astype(np.float32)
    assert is_steady(tone, 24_000)
    assert not is_steady(tone * np.exp(-8 * (t % 0.5)).astype(np.float32), 24_000)
    assert not is_steady(np.zeros_like(tone), 24_000)
    assert not is_steady(tone[:, :2_000], 24_000)

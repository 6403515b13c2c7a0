from __future__ import annotations

import numpy as np

from rag_audio.watermark.grid import PILOT_SHARE, make_pattern, subkey


def test_a_fifth_of_the_cells_is_pilot_and_code_bits_share_the_rest() -> None:
    pattern = make_pattern(b"k" * 32, 150, 214, 304)
    assert abs((pattern.bit < 0).mean() - PILOT_SHARE) < 1e-4
    counts = np.bincount(pattern.bit[pattern.bit >= 0], minlength=304)
    assert counts.max() - counts.min() <= 1


def test_chips_are_balanced_in_every_group() -> None:
    pattern = make_pattern(b"k" * 32, 150, 214, 304)
    for bit in range(-1, 304):
        assert abs(pattern.chips[pattern.bit == bit].sum()) <= 1


def test_patterns_of_two_keys_have_nothing_in_common() -> None:
    one, other = (make_pattern(key, 150, 214, 304) for key in (b"k" * 32, b"j" * 32))
    assert abs((one.chips * other.chips).mean()) < 0.03


def test_the_same_key_gives_the_same_pattern() -> None:
    one, again = (make_pattern(b"k" * 32, 20, 20, 8) for _ in range(2))
    assert np.array_equal(one.chips, again.chips)
    assert np.array_equal(one.bit, again.bit)


def test_what_was_modulated_is_demodulated() -> None:
    pattern = make_pattern(b"k" * 32, 150, 214, 304)
    coded = np.random.default_rng(0).integers(0, 2, 304).astype(np.uint8)
    sums, squares = pattern.demodulate(pattern.modulate(coded), 304)
    assert np.array_equal(sums > 0, coded > 0)
    assert np.allclose(np.abs(sums), squares)


def test_subkeys_differ_by_purpose() -> None:
    assert subkey(b"k" * 32, b"tag") != subkey(b"k" * 32, b"order")

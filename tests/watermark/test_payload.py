from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.errors import InvalidInput
from rag_audio.ports import Mark
from rag_audio.watermark import coding, payload

KEY = b"k" * 32
MARKS = st.builds(Mark, st.integers(0, 2**40 - 1), st.booleans())
MESSAGES = st.builds(payload.Message, MARKS, st.integers(0, payload.LAYOUT_3.generations - 1))


@given(MESSAGES)
def test_a_message_is_unpacked_as_it_was_packed(message: payload.Message) -> None:
    assert payload.unpack(payload.pack(message, KEY), KEY) == message


@given(MESSAGES, st.integers(0, payload.LAYOUT_3.message_bits - 1))
def test_one_wrong_bit_is_not_a_mark(message: payload.Message, place: int) -> None:
    bits = payload.pack(message, KEY)
    bits[place] ^= 1
    assert payload.unpack(bits, KEY) is None


@given(MESSAGES)
def test_another_key_does_not_accept_the_tag(message: payload.Message) -> None:
    assert payload.unpack(payload.pack(message, KEY), b"j" * 32) is None


@pytest.mark.parametrize("number", [-1, 2**40])
def test_a_number_out_of_range_is_quoted(number: int) -> None:
    with pytest.raises(InvalidInput, match=str(number)):
        payload.pack(payload.Message(Mark(number)), KEY)


def _damaged(mark: Mark, wrong: int, lost: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The bits of a mark, and its soft code with so many places turned round or erased."""
    bits = payload.pack(payload.Message(mark), KEY)
    soft = 2.0 * coding.encode(bits) - 1.0
    places = np.random.default_rng(seed).permutation(len(soft))
    soft[places[:wrong]] *= -1
    soft[places[wrong : wrong + lost]] = 0
    return bits, soft


@settings(max_examples=25, deadline=None)
@given(MARKS, st.integers(0, 12), st.integers(0, 14), st.integers(0, 2**32 - 1))
def test_damage_well_within_the_free_distance_is_always_mended(
    mark: Mark, wrong: int, lost: int, seed: int
) -> None:
    """Twice the wrong places and the lost ones: at most 38, where the free distance is 56."""
    bits, soft = _damaged(mark, wrong, lost, seed)
    assert np.array_equal(coding.decode(soft), bits)


def test_a_fifth_of_the_places_wrong_or_lost_is_nearly_always_mended() -> None:
    """Past the free distance there is no promise, only odds; the seeds are fixed."""
    mended = 0
    for seed in range(40):
        bits, soft = _damaged(Mark(1_000_003 * seed), 45, 45, seed)
        mended += np.array_equal(coding.decode(soft), bits)
    assert mended >= 38


def test_the_code_is_circular() -> None:
    """A tail-biting code turns with its message."""
    bits = payload.pack(payload.Message(Mark(123_456)), KEY)
    turned = coding.encode(np.roll(bits, 1))
    assert np.array_equal(turned, np.roll(coding.encode(bits), coding.RATE))


def test_any_two_messages_differ_in_many_code_bits() -> None:
    """The free distance is 56: one message bit moves at least that many."""
    zero = np.zeros(payload.LAYOUT_3.message_bits, np.uint8)
    one = zero.copy()
    one[10] = 1
    assert int((coding.encode(zero) ^ coding.encode(one)).sum()) >= 56

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rag_audio.domain.ports import Mark
from rag_audio.errors import InvalidInput
from rag_audio.watermark import payload
from rag_audio.watermark import payload as coding
from tests.watermark import layout2

KEY = b"k" * 32
MARKS = st.builds(Mark, st.integers(0, 2**40 - 1), st.booleans())
MESSAGES = st.sampled_from(payload.LAYOUTS).flatmap(
    lambda layout: st.builds(
        payload.Message, MARKS, st.integers(0, layout.generations - 1), st.just(layout)
    )
)


@given(MESSAGES)
def test_a_message_is_unpacked_as_it_was_packed(message: payload.Message) -> None:
    assert payload.unpack(payload.pack(message, KEY), KEY, message.layout) == message


@given(MESSAGES, st.integers(0, 2**16))
def test_one_wrong_bit_is_not_a_mark(message: payload.Message, place: int) -> None:
    bits = payload.pack(message, KEY)
    bits[place % len(bits)] ^= 1
    assert payload.unpack(bits, KEY, message.layout) is None


@given(MESSAGES)
def test_another_key_does_not_accept_the_tag(message: payload.Message) -> None:
    assert payload.unpack(payload.pack(message, KEY), b"j" * 32, message.layout) is None


@given(MARKS, st.integers(0, 3))
def test_layout_2_is_written_as_it_was(mark: Mark, generation: int) -> None:
    bits = layout2.bits(mark, KEY, generation)
    message = payload.Message(mark, generation, payload.LAYOUT_2)
    assert payload.unpack(bits, layout2.subkey(KEY, b"tag"), payload.LAYOUT_2) == message


@given(MESSAGES, st.integers(0, 2**7 - 1))
def test_a_message_of_one_layout_never_passes_as_another(
    message: payload.Message, more: int
) -> None:
    """Not cut short, nor with bits added, nor the number and flag of one in the other's frame."""
    bits = payload.pack(message, KEY)
    (other,) = [layout for layout in payload.LAYOUTS if layout != message.layout]
    padding = np.array([more >> place & 1 for place in range(7)], np.uint8)
    for whole in (np.append(bits, padding), np.append(padding, bits)):
        assert payload.unpack(whole[: other.message_bits], KEY, other) is None
        assert payload.unpack(whole[-other.message_bits :], KEY, other) is None
    same_tag = payload.pack(payload.Message(message.mark, message.generation, other), KEY)
    same_tag[-payload.TAG_BITS :] = bits[-payload.TAG_BITS :]
    assert payload.unpack(same_tag, KEY, other) is None


@pytest.mark.parametrize("number", [-1, 2**40])
def test_a_number_out_of_range_is_quoted(number: int) -> None:
    with pytest.raises(InvalidInput, match=str(number)):
        payload.pack(payload.Message(Mark(number)), KEY)


def _damaged(
    mark: Mark, wrong: int, lost: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
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


@settings(max_examples=15, deadline=None)
@given(MESSAGES, st.integers(0, 2**32 - 1))
def test_known_bits_come_out_and_help_the_others(message: payload.Message, seed: int) -> None:
    bits = payload.pack(message, KEY)
    known = tuple(int(bit) for bit in bits[:11])
    assert known[: len(message.layout.known)] == message.layout.known
    noise = np.random.default_rng(seed).standard_normal(6 * len(bits))
    assert tuple(coding.decode(noise, known)[:11]) == known
    sent = 2.0 * coding.encode(bits) - 1.0
    assert np.array_equal(coding.decode(sent + noise, known), bits)


@pytest.mark.parametrize("generation", [0, 15, 16, 255])
def test_small_generations_begin_as_is_likely(generation: int) -> None:
    bits = payload.pack(payload.Message(Mark(1), generation), KEY)
    likely = payload.LAYOUT_3.likely
    assert (tuple(bits[: len(likely)]) == likely) == (generation < 16)

"""Marks over marks: the newest is the answer, however many there are."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_audio.audio.dsp import stretch
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.watermark import payload, spread_spectrum
from rag_audio.watermark.payload import Message, pack
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
from tests.watermark import layout2, material

KEY = b"the key of these tests, 32 bytes"
MARKS = [Mark(1_000 * number, by_hand=number % 2 == 0) for number in range(1, 11)]


@cache
def watermarker() -> SpreadSpectrumWatermarker:
    return SpreadSpectrumWatermarker(KEY)


def marked_over(sound: Audio, mark: Mark) -> Audio:
    made = watermarker().embed(sound, mark)
    assert made is not None
    return made


@cache
def ten_deep() -> tuple[Audio, ...]:
    made = [material.band(12.0, 24_000, 1)]
    for mark in MARKS:
        made.append(marked_over(made[-1], mark))
    return tuple(made[1:])


def test_of_ten_marks_the_newest_is_the_answer_each_time_and_the_older_are_named() -> None:
    for number, sound in enumerate(ten_deep(), 1):
        found = watermarker().detect(sound, search=False)
        assert found.mark == MARKS[number - 1], number
        assert set(found.others) <= set(MARKS[: number - 1])
        assert len(found.others) >= min(number - 1, 6), number


def test_of_ten_marks_the_newest_is_read_from_an_mp3(tmp_path: Path) -> None:
    save(ten_deep()[-1], tmp_path / "copy.mp3", bitrate_kbps=128)
    found = watermarker().detect(load(tmp_path / "copy.mp3"), search=False)
    assert found.mark == MARKS[-1]
    assert len(found.others) >= 4


def test_the_newest_of_five_is_the_answer_at_another_tempo_too() -> None:
    """The search names one place for each tempo; the others have to be looked for beside it."""
    found = watermarker().detect(stretch(ten_deep()[4], 1 / 1.04, 0))
    assert found.mark == MARKS[4]
    assert found.tempo == pytest.approx(1.04, abs=0.004)
    assert len(found.others) >= 2


def test_two_numbers_in_turn_are_told_apart_by_which_came_last() -> None:
    sound = material.beat(8.0, 24_000, 1)
    one, other = Mark(5), Mark(6)
    for turn in range(5):
        now, before = (one, other) if turn % 2 == 0 else (other, one)
        sound = marked_over(sound, now)
        found = watermarker().detect(sound, search=False)
        assert found.mark == now, turn
        assert found.others == ((before,) if turn else ())


@pytest.mark.parametrize("make", [material.pad, material.organ])
def test_sound_with_little_to_hide_marks_in_never_names_an_older_one(make: object) -> None:
    """Older marks are lost there; the newest is read, or the sound is refused."""
    assert callable(make)
    sound: Audio = make(6.0, 24_000, 1)
    for mark in MARKS[:3]:
        made = watermarker().embed(sound, mark)
        if made is not None:
            assert watermarker().detect(made, search=False).mark == mark
            sound = made


def test_generations_go_on_from_the_first_after_the_last() -> None:
    sound = material.beat(8.0, 24_000, 1)
    tag_key = layout2.subkey(KEY, b"tag")
    for number, generation in enumerate((254, 255)):
        bits = pack(Message(Mark(number), generation), tag_key)
        sound = layout2.write(sound, bits, KEY, 20 * number)
    assert watermarker().detect(sound, search=False).mark == Mark(1)
    for number in (2, 3):
        sound = marked_over(sound, Mark(number))
        assert watermarker().detect(sound, search=False).mark == Mark(number)
    assert set(watermarker().detect(sound, search=False).others) == {Mark(0), Mark(1), Mark(2)}


def test_a_mark_that_is_heard_in_a_later_piece_alone_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread_spectrum, "PIECE_S", 10.0)
    plain = material.beat(10.0, 24_000, 1, seed=3).samples
    marked = ten_deep()[1].samples[:, : 10 * 24_000]
    again = marked_over(Audio(np.concatenate([plain, marked], axis=1), 24_000), Mark(3))
    end = Audio(np.ascontiguousarray(again.samples[:, 10 * 24_000 :]), 24_000)
    for heard in (again, end):
        found = watermarker().detect(heard, search=False)
        assert (found.mark, set(found.others)) == (Mark(3), set(MARKS[:2]))


@pytest.mark.parametrize(("make", "seconds", "seed"), [("noise", 8.0, 0), ("organ", 3.0, 0)])
def test_a_mark_that_only_its_writer_could_find_is_not_written(
    make: str, seconds: float, seed: int
) -> None:
    made = watermarker().embed(getattr(material, make)(seconds, 24_000, 1, seed), Mark(1_000))
    assert made is None or watermarker().detect(made).mark == Mark(1_000)


def test_decodes_are_counted_over_all_keys_and_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a chance that noise passes for a mark: the bound is for the file."""
    marked, marked_more = ten_deep()[0], ten_deep()[4]
    decode, count = payload.decode, 0

    def counted(*given: Any) -> NDArray[np.uint8]:
        nonlocal count
        count += 1
        return decode(*given)

    monkeypatch.setattr(payload, "decode", counted)
    monkeypatch.setattr(spread_spectrum, "_MAX_DECODES", 4)
    keys = [bytes([number]) * 32 for number in range(3)]
    over = SpreadSpectrumWatermarker(KEY, retired=keys).detect(marked_more)
    assert over.mark is not None
    assert count == 4
    count = 0
    assert SpreadSpectrumWatermarker(keys[0], retired=keys[1:]).detect(marked).mark is None
    assert count <= 4

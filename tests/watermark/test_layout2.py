"""Marks of layout 2, which earlier versions wrote, are read for ever."""

from __future__ import annotations

import lzma
import tarfile
from functools import cache
from pathlib import Path

import pytest

from rag_audio.audio.dsp import stretch
from rag_audio.audio.reading import load
from rag_audio.audio.writing import save
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
from tests.watermark import layout2, material

KEY = b"the key of these tests, 32 bytes"
NEXT_KEY = b"the key that came after it, long"
OLD = Mark(987_654_321_012)
NEW = Mark(1_234, by_hand=True)


GOLDEN = Path(__file__).parents[1] / "golden" / "v17e3f1b"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> tuple[SpreadSpectrumWatermarker, Path]:
    """The watermarker of a home of commit 17e3f1b, and the folder of what it delivered."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(GOLDEN / "delivered.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with (
        lzma.open(GOLDEN / "backup.tar.xz") as packed,
        tarfile.open(fileobj=packed, mode="r|") as backup,
    ):
        for member in backup:
            if member.name == "home/keys/watermark.key":
                file = backup.extractfile(member)
                assert file is not None
                return SpreadSpectrumWatermarker(file.read()), folder / "delivered"
    raise AssertionError("the backup holds no key of the watermark")


@pytest.mark.parametrize(("name", "output"), [("zoe.mp3", 1), ("lout.ogg", 2), ("signs.flac", 4)])
def test_what_was_delivered_then_is_read_and_can_be_marked_again(
    golden: tuple[SpreadSpectrumWatermarker, Path], name: str, output: int
) -> None:
    of_then, folder = golden
    sound = load(folder / name)
    assert of_then.detect(sound, search=False).mark == Mark(output)
    made = of_then.embed(sound, NEW)
    if sound.duration_s > 5.0:
        assert made is not None
        found = of_then.detect(made, search=False)
        assert (found.mark, found.others) == (NEW, (Mark(output),))


@cache
def watermarker() -> SpreadSpectrumWatermarker:
    return SpreadSpectrumWatermarker(KEY)


@cache
def marked(generation: int = 0) -> Audio:
    return layout2.embed(material.band(12.0, 24_000, 1), OLD, KEY, generation)


@pytest.mark.parametrize("mark", [OLD, Mark(0), Mark(2**40 - 1, by_hand=True)])
def test_what_was_written_is_read(mark: Mark) -> None:
    sound = layout2.embed(material.beat(6.0, 24_000, 1), mark, KEY, 3)
    assert watermarker().detect(sound, search=False).mark == mark


def test_it_is_read_from_a_crop_of_an_mp3(tmp_path: Path) -> None:
    save(marked(), tmp_path / "copy.mp3", bitrate_kbps=128)
    copy = load(tmp_path / "copy.mp3")
    for start in (0.4, 3.1, 6.6):
        crop = material.crop(copy, start, 5.0)
        assert watermarker().detect(crop, search=False).mark == OLD


@pytest.mark.parametrize(("tempo", "semitones"), [(1.05, 0), (1.0, -1)])
def test_it_is_read_at_another_tempo_and_pitch(tempo: float, semitones: int) -> None:
    found = watermarker().detect(stretch(marked(), 1 / tempo, semitones))
    assert found.mark == OLD
    assert found.tempo == pytest.approx(tempo, abs=0.004)
    assert found.semitones == pytest.approx(semitones, abs=0.2)


@pytest.mark.parametrize("generation", range(4))
def test_a_mark_made_over_it_is_the_newest(generation: int) -> None:
    made = watermarker().embed(marked(generation), NEW)
    assert made is not None
    found = watermarker().detect(made, search=False)
    assert (found.mark, found.others) == (NEW, (OLD,))


@pytest.mark.parametrize("start", range(4))
def test_of_two_of_its_own_the_newest_is_told_as_it_was(start: int) -> None:
    sound = layout2.embed(material.beat(6.0, 24_000, 1), Mark(1), KEY, start)
    sound = layout2.embed(sound, Mark(2), KEY, (start + 1) % 4)
    found = watermarker().detect(sound, search=False)
    assert (found.mark, found.others) == (Mark(2), (Mark(1),))


def test_a_retired_key_reads_it_and_marks_of_the_new_key_are_newer() -> None:
    after = SpreadSpectrumWatermarker(NEXT_KEY, retired=[KEY])
    assert after.detect(marked(3), search=False).mark == OLD
    made = after.embed(marked(3), NEW)
    assert made is not None
    found = after.detect(made, search=False)
    assert (found.mark, found.others) == (NEW, (OLD,))

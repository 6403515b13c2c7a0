"""Long WAV files become RF64, and blocks make the file that the whole would make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from rag_audio.audio import riff, writing
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.reading import load
from rag_audio.audio.sound_writer import SoundWriter
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput

RATE = 48_000
BESIDE = CarriedMetadata(
    chunks=((b"bext", bytes(603)), (b"abcd", b"odd")), info=((b"INAM", b"t\0"),)
)


def samples(frames: int = 4801, channels: int = 1) -> np.ndarray:
    found = np.random.default_rng(0).uniform(-0.5, 0.5, (channels, frames)).astype(np.float32)
    return np.round(found * 2**15) / np.float32(2**15)


def containers(path: Path) -> riff.ChunkList:
    with path.open("rb") as file:
        found = riff.walk(file)
    assert found is not None
    return found


@pytest.mark.parametrize("encoding", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("data", [CarriedMetadata(), BESIDE])
def test_a_wav_past_the_limit_is_an_rf64(
    tmp_path: Path, encoding: str, data: CarriedMetadata
) -> None:
    file, sound = tmp_path / "a.wav", samples()
    with SoundWriter(file, ("WAV", encoding), RATE, 1, data, limit=5000) as writer:
        for start in range(0, 4801, 1000):
            writer.write(sound[:, start : start + 1000])
    found = containers(file)
    assert (found.container, found.notices) == ("RF64", ())
    assert found.chunks[0].name == b"ds64"
    head = file.read_bytes()
    width = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}[encoding]
    assert int.from_bytes(head[20:28], "little") == len(head) - 8
    assert int.from_bytes(head[28:36], "little") == 4801 * width
    assert int.from_bytes(head[36:44], "little") == 4801
    assert head[4:8] == b"\xff" * 4
    info = soundfile.info(file)
    assert (info.format, info.subtype, info.frames) == ("RF64", encoding, 4801)
    np.testing.assert_allclose(soundfile.read(file)[0], sound[0], atol=2**-15)


def test_a_wav_below_the_limit_is_a_riff_with_room_for_it(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    with SoundWriter(file, ("WAV", "PCM_16"), RATE, 1, BESIDE) as writer:
        writer.write(samples())
    found = containers(file)
    assert (found.container, found.chunks[0].name, found.chunks[0].size) == ("RIFF", b"JUNK", 28)
    assert int.from_bytes(file.read_bytes()[4:8], "little") == file.stat().st_size - 8


@pytest.mark.parametrize(("ending", "kind"), [("rf64", "RF64"), ("w64", "W64")])
@pytest.mark.parametrize("subtype", [None, "16", "32f"])
def test_rf64_and_wave64_hold_what_a_wav_holds(
    tmp_path: Path, ending: str, kind: str, subtype: str | None
) -> None:
    sound = Audio(samples(4801, 3), RATE)
    file, wav = tmp_path / f"a.{ending}", tmp_path / "a.wav"
    writing.save(sound, file, subtype=subtype, metadata=BESIDE)
    writing.save(sound, wav, subtype=subtype)
    assert soundfile.info(file).format == kind
    assert np.array_equal(load(file).samples, load(wav).samples)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.w64"])
def test_blocks_make_the_same_file_as_the_whole(tmp_path: Path, name: str) -> None:
    sound = Audio(samples(9000, 2), RATE)
    data = CarriedMetadata(comments=(("TITLE", "t"),), frames=((b"TIT2", b"\3t"),))
    whole, parts = tmp_path / name, tmp_path / f"b{name}"
    writing.save(sound, whole, metadata=data)
    blocks = (sound.samples[:, at : at + 1024] for at in range(0, 9000, 1024))
    writing.save_blocks(blocks, parts, writing.SoundForm(RATE, 2), data)
    assert np.array_equal(load(whole).samples, load(parts).samples)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([name, f"b{name}"])


def test_a_block_that_would_be_clipped_leaves_no_file(tmp_path: Path) -> None:
    blocks = iter([np.zeros((1, 10), np.float32), np.full((1, 10), 1.5, np.float32)])
    with pytest.raises(InvalidInput, match="would clip 10 samples"):
        writing.save_blocks(blocks, tmp_path / "a.wav", writing.SoundForm(RATE, 1), BESIDE)
    assert list(tmp_path.iterdir()) == []


def test_speakers_are_written_where_they_are_known(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    writing.save(Audio(samples(100, 6), RATE), file, metadata=CarriedMetadata(channel_mask=0x3F))
    assert soundfile.info(file).format == "WAVEX"
    fmt = containers(file).find(b"fmt ")
    assert fmt is not None and fmt.size == 40

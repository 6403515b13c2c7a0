"""A marked file has what its source had, whatever its length."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rag_audio.audio import riff, writing
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.cli.app import run
from rag_audio.domain import Audio
from rag_audio.domain.ports import Detection, Mark
from rag_audio.watermark import long_sound
from rag_audio.watermark.grid import BLOCK_S
from rag_audio.watermark.long_sound import LongMarking
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
from tests.audio.test_carried_metadata import COVER, FRAMES_OF_ID3, INFO, bext, cue, smpl
from tests.support.small_library import RATE, chords

HOME = "--home"


def sound(seconds: float = 6.0, level: float = 0.3) -> Audio:
    found = chords(100, 220.0, seconds)
    return Audio((found / np.abs(found).max() * level).astype(np.float32)[None], RATE)


def embed(tmp_path: Path, capsys: pytest.CaptureFixture[str], *names: str) -> Any:
    capsys.readouterr()
    source, target = (str(tmp_path / name) for name in names)
    arguments = [source, target, "--payload", "7", "--json", HOME, str(tmp_path / "home")]
    assert run(["watermark", "embed", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_broadcast_wav_is_marked_with_all_it_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = sound()
    chunks = (
        (b"bext", bext(RATE * 60)), (b"cue ", cue(5, 1000)), (b"smpl", smpl(0, audio.frames - 1)),
        (b"iXML", b"<BWFXML/>"), (b"zzzz", b"of a vendor"),
    )  # fmt: skip
    data = CarriedMetadata(chunks=chunks, info=INFO, frames=FRAMES_OF_ID3)
    writing.save(audio, tmp_path / "in.wav", subtype="16", metadata=data)
    assert embed(tmp_path, capsys, "in.wav", "out.wav")["notes"] == []
    read = read_metadata(tmp_path / "out.wav")
    kept, there = dict(chunks), dict(read.chunks)
    history = f"A=PCM,F={RATE},W=16,M=mono,T=rag-audio; watermark\r\n".encode()
    assert there.pop(b"bext").rstrip(b"\0") == kept.pop(b"bext") + history
    assert there == kept
    assert (read.info, read.frames) == (INFO, FRAMES_OF_ID3)


def test_floats_above_full_scale_stay_floats_with_their_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """case float_above_full_scale.wav: 543 samples were clipped."""
    audio = sound(level=2.0)
    soundfile.write(tmp_path / "in.wav", audio.samples.T, RATE, "FLOAT")
    told = embed(tmp_path, capsys, "in.wav", "out.wav")
    assert (told["subtype"], told["gain_db"], told["notes"]) == ("FLOAT", 0, [])
    back = soundfile.read(tmp_path / "out.wav")[0]
    assert np.abs(back).max() == pytest.approx(2.0, rel=0.05)
    writing.save(audio, tmp_path / "b.wav", subtype="32f", metadata=loud_bext())
    told = embed(tmp_path, capsys, "b.wav", "b.flac")
    over = int(np.count_nonzero(np.abs(audio.samples) > 1.0))
    assert told["gain_db"] == pytest.approx(-6.02, abs=0.01)
    assert f"does not clip the {over} samples up to 6 dB above full scale" in told["notes"][0]
    assert "not carried over from b.wav: bext loudness values, bext" in told["notes"]


def loud_bext() -> CarriedMetadata:
    return CarriedMetadata(chunks=((b"bext", bext()),))


def test_doubles_become_floats_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "in.wav", sound(level=1.5).samples.T, RATE, "DOUBLE")
    told = embed(tmp_path, capsys, "in.wav", "out.wav")
    assert told["notes"] == ["in.wav is DOUBLE, out.wav is FLOAT"]


@pytest.mark.parametrize("ending", ["flac", "ogg"])
def test_a_cover_and_all_comments_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    comments = (("TITLE", "Amber"), ("ISRC", "USRC17607839"), ("MOOD", "calm"))
    data = CarriedMetadata(comments=comments, pictures=(COVER,))
    writing.save(sound(), tmp_path / f"in.{ending}", metadata=data)
    assert embed(tmp_path, capsys, f"in.{ending}", f"out.{ending}")["notes"] == []
    read = read_metadata(tmp_path / f"out.{ending}")
    assert (read.comments, [one.data for one in read.pictures]) == (comments, [COVER.data])


def test_rf64_is_read_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writing.save(sound(), tmp_path / "in.rf64")
    for name in ("out.w64", "out.rf64"):
        assert embed(tmp_path, capsys, "in.rf64", name)["notes"] == []
        capsys.readouterr()
        arguments = [str(tmp_path / name), HOME, str(tmp_path / "home"), "--json"]
        assert run(["watermark", "detect", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["payload"] == 7
    with (tmp_path / "out.w64").open("rb") as file:
        found = riff.walk(file)
    assert found is not None and found.container == "W64"


# Sound of any length, in pieces.


def test_channels_keep_their_speakers_from_wav_to_ogg(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones = [chords(100, 110.0 * 2 ** (n / 4), 6.0) for n in range(6)]
    samples = np.stack([tone / np.abs(tone).max() * 0.3 for tone in tones]).astype(np.float32)
    writing.save(Audio(samples, RATE), tmp_path / "a.wav")
    embed(tmp_path, capsys, "a.wav", "b.ogg")
    stored, _ = soundfile.read(tmp_path / "b.ogg")
    alike = np.abs(np.corrcoef(samples, stored.T[:, : samples.shape[1]])[:6, 6:])
    assert alike.argmax(axis=0).tolist() == [0, 2, 1, 4, 5, 3]  # the order of Vorbis


class Counter:
    """Adds 1 to every sample, and keeps what it was given."""

    name = "counter"

    def __init__(self) -> None:
        self.pieces: list[Audio] = []

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        self.pieces.append(audio)
        return Audio(audio.samples + 1, audio.sample_rate)

    def detect(self, audio: Audio) -> Detection:
        raise NotImplementedError

    def detect_pieces(self, pieces: object) -> Detection:
        raise NotImplementedError


@pytest.mark.parametrize("seconds", [0.5, 40.0, 59.0, 60.0, 107.0, 300.3])
@pytest.mark.parametrize("size", [999, 30_000])
def test_pieces_cover_a_sound_once_and_begin_on_blocks_of_the_mark(
    monkeypatch: pytest.MonkeyPatch, seconds: float, size: int
) -> None:
    monkeypatch.setattr(long_sound, "noise_to_mask_db", lambda before, after: -8.0)
    rate = 1000
    whole = np.arange(round(seconds * rate), dtype=np.float32)[None]
    counter = Counter()
    marking = LongMarking(counter, Mark(1), rate, 1)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, whole.shape[1], size):
            yield whole[:, start : start + size]

    made = np.concatenate(list(marking.marked(blocks())), axis=1)
    assert np.array_equal(made, whole + 1)
    assert marking.is_marked
    for piece in counter.pieces:
        assert piece.samples[0, 0] % (BLOCK_S * rate) == pytest.approx(0, abs=0.51) or (
            piece.samples[0, 0] % (BLOCK_S * rate)
        ) == pytest.approx(BLOCK_S * rate, abs=0.51)
        assert piece.frames <= 14 * BLOCK_S * rate + 2
    if seconds > 100:
        assert len(counter.pieces) > 2


def test_a_mark_goes_on_from_piece_to_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_sound, "_BLOCKS", 2)
    watermarker = SpreadSpectrumWatermarker(b"k" * 32)
    audio = sound(26.0)
    marking = LongMarking(watermarker, Mark(7), RATE, 1)
    blocks = [audio.samples[:, at : at + 65_536] for at in range(0, audio.frames, 65_536)]
    made = np.concatenate(list(marking.marked(blocks)), axis=1)
    assert made.shape == audio.samples.shape
    # Six seconds about the first seam.
    start = round((2 * BLOCK_S - 3) * RATE)
    seam = Audio(np.ascontiguousarray(made[:, start : start + 6 * RATE]), RATE)
    assert watermarker.detect(seam, search=False).mark == Mark(7)
    assert 30 < marking.snr_db < 40

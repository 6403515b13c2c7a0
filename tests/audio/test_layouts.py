"""Channels count and are folded by the speakers that they are for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from numpy.typing import NDArray

from indexer.measure import MeasuredFile, MeasureJob, measure
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.channels import heard, views
from rag_audio.audio.dsp import loudness_lufs, mono, to_channels, true_peak_dbtp
from rag_audio.audio.layouts import Speaker, layout_of_mask, usual_layout
from rag_audio.audio.loudness import LoudnessMeter, TruePeakMeter
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.reading import SoundStream, hear, load
from rag_audio.audio.wave_chunks import SoundChange
from rag_audio.audio.writing import pcm_sha256, save
from rag_audio.domain import Audio

RATE = 48_000
MUSIC = np.sin(2 * np.pi * 997 * np.arange(RATE) / RATE).astype(np.float32) * 0.1


def only(channel: int, channels: int = 6) -> Audio:
    samples = np.zeros((channels, RATE), np.float32)
    samples[channel] = MUSIC
    return Audio(samples, RATE)


def names(path: Path) -> list[str]:
    with SoundStream(path) as stream:
        return [speaker.value[0] for speaker in stream.layout.speakers]


def write(path: Path, audio: Audio, kind: str, subtype: str, mask: int | None = None) -> Path:
    soundfile.write(path, audio.samples.T, RATE, format=kind, subtype=subtype)
    if mask is not None:  # dwChannelMask: 20 bytes into the fmt chunk
        written = bytearray(path.read_bytes())
        at = written.index(b"fmt ") + 8 + 20
        written[at : at + 4] = mask.to_bytes(4, "little")
        path.write_bytes(written)
    return path


@pytest.mark.parametrize(
    ("kind", "subtype", "mask", "speakers"),
    [
        ("WAV", "PCM_16", None, "FL FR FC LFE BL BR"),
        ("WAVEX", "PCM_16", 0x60F, "FL FR FC LFE SL SR"),
        ("WAVEX", "PCM_16", 0x3, "FL FR none none none none"),
        ("WAVEX", "PCM_16", 0, "none none none none none none"),
        ("FLAC", "PCM_16", None, "FL FR FC LFE BL BR"),
        ("OGG", "VORBIS", None, "FL FR FC LFE BL BR"),
        ("OGG", "OPUS", None, "FL FR FC LFE BL BR"),
    ],
)
def test_a_file_says_what_its_channels_are_for(
    tmp_path: Path, kind: str, subtype: str, mask: int | None, speakers: str
) -> None:
    file = write(tmp_path / "a", only(0), kind, subtype, mask)
    assert names(file) == speakers.split()


@pytest.mark.parametrize(
    ("channels", "speakers"),
    [
        (1, "FC"),
        (2, "FL FR"),
        (3, "FL FR FC"),
        (4, "FL FR BL BR"),
        (5, "FL FR FC BL BR"),
        (7, "FL FR FC LFE BC SL SR"),
        (8, "FL FR FC LFE BL BR SL SR"),
    ],
)
def test_a_file_that_says_nothing_has_the_usual_layout(channels: int, speakers: str) -> None:
    assert [one.value[0] for one in usual_layout(channels).speakers] == speakers.split()


# The place in a file of Vorbis or Opus of each channel in the order of WAVE.
IN_VORBIS = {
    3: (0, 2, 1), 4: (0, 1, 2, 3), 5: (0, 2, 1, 3, 4), 6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4), 8: (0, 2, 1, 7, 5, 6, 3, 4),
}  # fmt: skip


def hums(channels: int) -> Audio:
    """A tone in each channel, low enough for the one of low frequencies."""
    t = np.arange(RATE) / RATE
    tones = [0.2 * np.sin(2 * np.pi * 25.0 * (2 + n) * t) for n in range(channels)]
    return Audio(np.stack(tones).astype(np.float32), RATE)


def tones_of(samples: NDArray[np.floating[Any]]) -> list[int]:
    """The number of the tone in each channel ``[C, T]``; -1: none."""
    spectra = np.abs(np.fft.rfft(samples[:, :RATE]))
    return [round(row.argmax() / 25.0) - 2 if row.max() > 1 else -1 for row in spectra]


def copy(source: Path, target: Path) -> CarriedMetadata:
    """Written anew as copies and edits are."""
    audio = load(source)
    change = SoundChange(RATE, RATE, audio.frames, audio.frames, channels=audio.channels)
    data = read_metadata(source).into(target, change)
    save(audio, target, metadata=data)
    return data


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("ending", [".ogg", ".opus"])
def test_channels_change_places_so_that_each_keeps_its_speaker(
    tmp_path: Path, ending: str, channels: int
) -> None:
    first = write(tmp_path / "a.wav", hums(channels), "WAV", "PCM_16")
    there, back = tmp_path / f"b{ending}", tmp_path / "c.wav"
    assert copy(first, there).lost == () and copy(there, back).lost == ()
    stored, _ = soundfile.read(there, always_2d=True)
    assert [tones_of(stored.T)[at] for at in IN_VORBIS[channels]] == [*range(channels)]
    again, _ = soundfile.read(back, always_2d=True)
    assert tones_of(again.T) == [*range(channels)]
    assert names(back) == names(first) == names(there)


@pytest.mark.parametrize(("first", "second"), [("a.flac", "b.ogg"), ("a.ogg", "b.flac")])
def test_between_flac_and_vorbis_too(tmp_path: Path, first: str, second: str) -> None:
    save(hums(6), tmp_path / first)
    assert copy(tmp_path / first, tmp_path / second).lost == ()
    for name in (first, second):
        assert tones_of(load(tmp_path / name).samples) == [*range(6)]
        stored, _ = soundfile.read(tmp_path / name)
        places = IN_VORBIS[6] if name.endswith(".ogg") else range(6)
        assert [tones_of(stored.T)[at] for at in places] == [*range(6)]


@pytest.mark.parametrize("mask", [0, 0x3, 0x137])
def test_speakers_that_vorbis_cannot_name_keep_their_order_and_that_is_said(
    tmp_path: Path, mask: int
) -> None:
    first = write(tmp_path / "a.wav", hums(6), "WAVEX", "PCM_16", mask)
    lost = "which speakers its 6 channels are for"
    assert copy(first, tmp_path / "b.ogg").lost == (lost,)
    stored, _ = soundfile.read(tmp_path / "b.ogg")
    assert tones_of(stored.T)[:5] == [*range(5)]
    for name in ("c.flac", "d.wav"):
        assert copy(first, tmp_path / name).lost == ()
        assert names(tmp_path / name) == names(first)
        assert tones_of(load(tmp_path / name).samples) == [*range(6)]


def test_surround_at_the_sides_is_surround_in_vorbis(tmp_path: Path) -> None:
    first = write(tmp_path / "a.wav", hums(6), "WAVEX", "PCM_16", 0x60F)
    assert copy(first, tmp_path / "b.ogg").lost == ()
    stored, _ = soundfile.read(tmp_path / "b.ogg")
    assert [tones_of(stored.T)[at] for at in IN_VORBIS[6]] == [*range(6)]


def test_a_wav_that_does_not_say_its_speakers_is_not_made_to(tmp_path: Path) -> None:
    first = write(tmp_path / "a.wav", hums(6), "WAV", "PCM_16")
    assert copy(first, tmp_path / "b.wav").channel_mask is None
    assert copy(first, tmp_path / "c.flac").comments == ()
    copy(tmp_path / "c.flac", tmp_path / "d.wav")
    assert read_metadata(tmp_path / "d.wav").channel_mask == 0x3F


def test_the_hash_of_a_sound_is_that_of_its_channels_as_they_are_stored(tmp_path: Path) -> None:
    file = write(tmp_path / "a.ogg", hums(6), "OGG", "VORBIS")
    stored, _ = soundfile.read(file, dtype="float32")
    assert hear(file).pcm_sha256 == pcm_sha256(Audio(np.ascontiguousarray(stored.T), RATE))


def test_a_flac_file_may_say_it_in_a_comment(tmp_path: Path) -> None:
    comment = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x107"
    body = bytes(4) + (1).to_bytes(4, "little") + len(comment).to_bytes(4, "little") + comment
    written = write(tmp_path / "a.flac", only(0, 4), "FLAC", "PCM_16").read_bytes()
    block = b"\x04" + len(body).to_bytes(3, "big") + body
    (tmp_path / "b.flac").write_bytes(written[:42] + block + written[42:])
    assert names(tmp_path / "b.flac") == ["FL", "FR", "FC", "BC"]


def test_low_frequencies_do_not_count_in_loudness() -> None:
    assert loudness_lufs(only(3)) == -math.inf
    plain = loudness_lufs(only(0))
    assert plain == pytest.approx(loudness_lufs(Audio(MUSIC[None], RATE)), abs=1e-9)
    assert loudness_lufs(only(2)) == pytest.approx(plain, abs=1e-9)
    with_low = Audio(only(0).samples + only(3).samples, RATE)
    assert loudness_lufs(with_low) == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("channel", [4, 5])
def test_surround_counts_one_and_a_half_decibels_more(channel: int) -> None:
    more = loudness_lufs(only(channel)) - loudness_lufs(only(0))
    assert more == pytest.approx(10 * math.log10(1.41), abs=1e-6)


def test_behind_counts_plainly_where_there_are_speakers_at_the_sides() -> None:
    front = loudness_lufs(only(0, 8))
    behind, side = (loudness_lufs(only(channel, 8)) - front for channel in (4, 6))
    assert (behind, side) == pytest.approx((0.0, 10 * math.log10(1.41)), abs=1e-6)


def test_channels_for_no_speaker_all_count_alike() -> None:
    stems = layout_of_mask(0, 6)
    levels = [loudness_lufs(only(channel), stems) for channel in range(6)]
    assert levels == pytest.approx([levels[0]] * 6)
    gains = [mono(only(channel), stems).samples.max() / MUSIC.max() for channel in range(6)]
    assert gains == pytest.approx([1 / 6] * 6)


@pytest.mark.parametrize(
    ("mask", "gains"),
    [
        (0x3F, "L 1 0, R 0 1, C .71 .71, LFE 0 0, Ls .71 0, Rs 0 .71"),
        (0x60F, "L 1 0, R 0 1, C .71 .71, LFE 0 0, Ls .71 0, Rs 0 .71"),
        (0x107, "L 1 0, R 0 1, C .71 .71, S .5 .5"),
    ],
)
def test_a_downmix_is_that_of_the_layout(mask: int, gains: str) -> None:
    wanted = np.array([one.split()[1:] for one in gains.split(", ")], dtype=float).T
    layout = layout_of_mask(mask, wanted.shape[1])
    alone = Audio(np.eye(wanted.shape[1], dtype=np.float32), RATE)
    made = to_channels(alone, 2, layout).samples
    assert np.allclose(made, wanted / wanted.sum(axis=1, keepdims=True), atol=2e-3)
    assert np.allclose(mono(alone, layout).samples[0], wanted.sum(0) / wanted.sum(), atol=2e-3)


def test_the_centre_of_a_vorbis_file_goes_to_both_sides(tmp_path: Path) -> None:
    file = write(tmp_path / "a.ogg", only(1), "OGG", "VORBIS")
    left, right = (float(np.std(side)) for side in load(file, channels=2).samples)
    assert left == pytest.approx(right, rel=1e-3)
    assert left > 0.01


@pytest.mark.parametrize("channel", range(6))
def test_a_sound_is_heard_in_whichever_channel_it_is(channel: int) -> None:
    audio = only(channel)
    for sound in (heard(audio), *views(audio)):
        assert abs(np.corrcoef(sound.samples[0], MUSIC)[0, 1]) > 0.999


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44_100])
def test_meters_say_what_they_said_whatever_the_blocks(channels: int, rate: int) -> None:
    rng = np.random.default_rng(rate + channels)
    steps = np.repeat(10.0 ** rng.uniform(-4, -0.5, (1, 50)), rate // 2, axis=1)
    samples = (steps * rng.standard_normal((channels, steps.size))).astype(np.float32)
    audio = Audio(samples[:, : -rate // 7], rate)
    measured = pyloudnorm.Meter(rate).integrated_loudness(audio.samples.T.astype(np.float64))
    assert loudness_lufs(audio) == measured
    loudness, peak = LoudnessMeter(rate, usual_layout(channels)), TruePeakMeter(rate)
    for block in np.split(audio.samples, [1, 7000, 7001, rate * 3, rate * 21], axis=1):
        loudness.add(block)
        peak.add(block)
    assert (loudness.loudness_lufs, peak.peak_dbtp) == (measured, true_peak_dbtp(audio))


@pytest.mark.parametrize("rate", [RATE, RATE // 16])
def test_an_empty_block_changes_nothing(rate: int) -> None:
    audio = Audio(np.tile(MUSIC[None], 3), rate)
    meters = [LoudnessMeter(rate, usual_layout(1)) for _ in range(2)]
    for block in np.split(audio.samples, [100, 1000], axis=1):
        for meter in meters:
            meter.add(block)
        for _ in range(30):  # its state was whatever the memory held
            np.full(2, 1e300)
            meters[0].add(block[:, :0])
    assert meters[0].loudness_lufs == meters[1].loudness_lufs


def test_slow_sound_in_blocks_has_the_loudness_of_the_whole() -> None:
    audio = Audio(np.tile(MUSIC[None, ::16], 20), RATE // 16)
    meter = LoudnessMeter(audio.sample_rate, usual_layout(1))
    for block in np.split(audio.samples, [100, 1000], axis=1):
        meter.add(block)
    assert meter.loudness_lufs == pytest.approx(loudness_lufs(audio), abs=0.01)


def test_a_file_of_low_frequencies_alone_is_indexed_with_a_notice(tmp_path: Path) -> None:
    file = write(tmp_path / "only_lfe.wav", only(3), "WAV", "PCM_16")
    status = file.stat()
    job = MeasureJob(file, status.st_size, status.st_mtime_ns, 16_000, 60.0)
    found = measure(job, lambda path: only(0))
    assert isinstance(found, MeasuredFile)
    assert found.loudness_lufs is None
    assert found.sound is not None and np.std(found.sound.samples) > 0.05
    assert found.notices == (
        "it sounds in the low-frequency (LFE) channel alone, which does not count in loudness "
        "(ITU-R BS.1770), so that it has no loudness",
    )
    assert hear(file).layout == usual_layout(6)
    assert Speaker.LOW_FREQUENCY in usual_layout(6).speakers

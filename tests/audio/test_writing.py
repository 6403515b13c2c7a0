"""Reading, writing and shaping sound."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import writing as sound
from rag_audio.audio.dsp import (
    limit_peak,
    loop_to,
    loudness_lufs,
    resample,
    stretch,
    to_channels,
    true_peak_dbtp,
)
from rag_audio.audio.pictures import spectrogram_png
from rag_audio.audio.reading import load
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput, UnreadableFile


def tone(
    seconds: float = 1.0,
    rate: int = 44_100,
    channels: int = 2,
    hz: float = 440.0,
    level: float = 0.5,
) -> Audio:
    """A sine, a little different in each channel."""
    time = np.arange(round(seconds * rate)) / rate
    rows = [level * np.sin(2 * np.pi * hz * (1 + 0.01 * c) * time) for c in range(channels)]
    return Audio(np.array(rows, dtype=np.float32), rate)


def rms(audio: Audio) -> float:
    return float(np.sqrt(np.mean(audio.samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg", "aiff"])
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1), (48_000, 2)])
def test_every_format_is_read_at_its_rate_and_channels(
    tmp_path: Path, ending: str, rate: int, channels: int
) -> None:
    original = tone(0.7, rate, channels)
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, original.samples.T, rate)
    read = load(path)
    assert (read.sample_rate, read.channels) == (rate, channels)
    assert abs(read.frames - original.frames) <= 2
    assert rms(read) == pytest.approx(rms(original), rel=0.05)


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("rate", [8_000, 11_025, 96_000])
def test_any_channel_count_and_rate_converts_to_stereo(
    tmp_path: Path, channels: int, rate: int
) -> None:
    path = tmp_path / "a.wav"
    sound.save(tone(0.5, rate, channels, hz=300), path)
    read = load(path, sample_rate=44_100, channels=2)
    assert read.channels == 2
    assert abs(read.frames - 22_050) <= 2
    assert 0.1 < np.abs(read.samples).max() <= 0.75


def test_a_window_is_the_same_as_a_cut_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sound.save(tone(2.0), path)
    whole = load(path)
    part = load(path, start_s=0.5, duration_s=0.25)
    assert np.array_equal(part.samples, whole.samples[:, 22_050:33_075])


def test_a_window_past_the_end_is_refused_and_one_over_the_end_is_shorter(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sound.save(tone(1.0), path)
    assert load(path, start_s=0.9, duration_s=5).duration_s == pytest.approx(0.1, abs=1e-3)
    with pytest.raises(InvalidInput, match="3 s is not within"):
        load(path, start_s=3)
    with pytest.raises(InvalidInput):
        load(path, start_s=-1)


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg", "aiff"])
def test_hostile_files_are_unreadable_not_fatal(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    for name, content in {"empty": b"", "text": b"these are words\n" * 40, "noise": noise}.items():
        path = tmp_path / f"{name}.{ending}"
        path.write_bytes(content)
        with pytest.raises(UnreadableFile) as caught:
            load(path)
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "aiff"])
def test_a_file_that_breaks_off_is_read_as_far_as_it_goes_and_told(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    noise = np.random.default_rng(0).standard_normal((66_150, 2)) * 0.1
    soundfile.write(path, noise, 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    notices: list[str] = []
    assert 0.5 < load(path, notices=notices).duration_s < 1.0
    assert len(notices) == 1 and notices[0].startswith("breaks off")


def test_nan_infinite_and_absurd_samples_are_unreadable(tmp_path: Path) -> None:
    for bad in (np.nan, np.inf, 1e30):
        samples = tone(0.2, channels=1).samples.copy()
        samples[0, 100] = bad
        path = tmp_path / "bad.wav"
        soundfile.write(path, samples.T, 44_100, subtype="FLOAT")
        with pytest.raises(UnreadableFile, match="samples"):
            load(path)


def test_missing_files_folders_and_raw_names_are_unreadable(tmp_path: Path) -> None:
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"1234" * 100)
    for path in (tmp_path / "none.wav", tmp_path, raw):
        with pytest.raises(UnreadableFile):
            sound.info(path)


def test_a_file_with_no_frames_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((0, 2)), 44_100)
    with pytest.raises(UnreadableFile, match="no sound"):
        load(path)


def test_a_file_longer_than_allowed_is_refused_but_its_window_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sound.save(tone(3, 8000, 1), path)
    with pytest.raises(UnreadableFile, match="3 s long"):
        load(path, max_duration_s=2)
    assert load(path, max_duration_s=2, duration_s=1).duration_s == 1


def test_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    sound.save(tone(0.1), path)
    assert load(path).frames == 4410
    assert sound.info(path).channels == 2


def test_info_tells_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sound.save(tone(1.5, 48_000, 1), path)
    assert sound.info(path) == sound.AudioInfo(1.5, 48_000, 1, "FLAC")


@pytest.mark.parametrize(("ending", "subtype"), [("wav", None), ("flac", None), ("wav", "FLOAT")])
def test_the_pcm_hash_survives_lossless_saving(
    tmp_path: Path, ending: str, subtype: str | None
) -> None:
    rng = np.random.default_rng(1)
    original = Audio(rng.uniform(-1.0, 0.9999998, (2, 30_000)).astype(np.float32), 44_100)
    path = tmp_path / f"a.{ending}"
    sound.save(original, path, subtype=subtype)
    once = load(path)
    assert sound.pcm_sha256(once) == sound.pcm_sha256(original)
    sound.save(once, path)
    assert sound.pcm_sha256(load(path)) == sound.pcm_sha256(original)


def test_the_pcm_hash_tells_rate_channels_and_samples_apart() -> None:
    one = tone(0.1)
    quieter = Audio(one.samples * np.float32(0.99), one.sample_rate)
    other_rate = Audio(one.samples, 48_000)
    flat = Audio(one.samples.reshape(1, -1), one.sample_rate)
    assert len({sound.pcm_sha256(a) for a in (one, quieter, other_rate, flat)}) == 4


def test_wav_is_24_bit_by_default_and_mp3_keeps_its_bit_rate(tmp_path: Path) -> None:
    audio = tone(4.0)
    sound.save(audio, tmp_path / "a.wav")
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_24"
    for kbps in (64, 128, 320):
        sound.save(audio, tmp_path / "a.mp3", bitrate_kbps=kbps)
        measured = (tmp_path / "a.mp3").stat().st_size * 8 / 4.0 / 1000
        assert measured == pytest.approx(kbps, rel=0.06)


def test_saving_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    keep = tmp_path / "a.wav"
    sound.save(tone(0.1), keep)
    before = keep.read_bytes()
    broken = Audio(np.full((1, 100), np.nan, np.float32), 44_100)
    for audio, name in (
        (broken, "a.wav"),
        (tone(0.1, channels=6), "a.mp3"),
        (tone(0.1), "a.xyz"),
        (tone(0.1), "absent/a.wav"),
    ):
        with pytest.raises(InvalidInput):
            sound.save(audio, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert keep.read_bytes() == before


def test_a_long_ogg_is_written_and_read(tmp_path: Path) -> None:
    sound.save(tone(20, 44_100, 2), tmp_path / "a.ogg")
    assert load(tmp_path / "a.ogg").duration_s == pytest.approx(20, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(0, 3000),
    old=st.sampled_from([8000, 22_050, 44_100, 48_000]),
    new=st.sampled_from([8000, 16_000, 44_100, 96_000]),
    channels=st.integers(1, 3),
)
def test_resampling_gives_exactly_the_proportional_length(
    frames: int, old: int, new: int, channels: int
) -> None:
    audio = Audio(np.ones((channels, frames), np.float32) * 0.1, old)
    made = resample(audio, new)
    assert made.samples.shape == (channels, round(frames * new / old))
    assert np.isfinite(made.samples).all()


def test_resampling_keeps_a_tone_where_it_was() -> None:
    made = resample(tone(1.0, 48_000, 1, hz=1000), 44_100)
    spectrum = np.abs(np.fft.rfft(made.samples[0]))
    assert int(spectrum.argmax()) == 1000
    assert rms(made) == pytest.approx(0.5 / math.sqrt(2), rel=0.01)


def test_a_bad_rate_or_channel_count_is_refused() -> None:
    with pytest.raises(InvalidInput, match="0"):
        resample(tone(0.1), 0)
    with pytest.raises(InvalidInput, match="9"):
        to_channels(tone(0.1), 9)


def test_downmix_never_clips_and_keeps_the_sides() -> None:
    loud = Audio(np.ones((6, 100), np.float32), 44_100)
    assert to_channels(loud, 2).samples.max() <= 1.0001
    left = np.zeros((6, 100), np.float32)
    left[0] = 1
    stereo = to_channels(Audio(left, 44_100), 2).samples
    assert stereo[0].min() > 0.3
    assert stereo[1].max() == 0


def test_loudness_of_a_full_scale_sine_is_that_of_the_standard() -> None:
    """EBU Tech 3341 case 1: a stereo 1 kHz sine at -23 dBFS measures -23 LUFS."""
    same = tone(5, 48_000, 1, hz=1000, level=10 ** (-23 / 20))
    stereo = to_channels(same, 2)
    assert loudness_lufs(stereo) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.05, 0.39, 0.4, 0.41])
@pytest.mark.parametrize("rate", [2000, 22_050, 48_000])
def test_loudness_of_short_clips_is_a_number(seconds: float, rate: int) -> None:
    clip = tone(seconds, rate, 1, hz=400)
    measured = loudness_lufs(clip)
    if seconds >= 0.05:
        assert -20 < measured < 0
    else:
        assert measured < 0


def test_silence_and_noise_below_the_gate_are_minus_infinity() -> None:
    assert loudness_lufs(Audio(np.zeros((2, 44_100), np.float32), 44_100)) == -math.inf
    assert loudness_lufs(tone(1, level=1e-7)) == -math.inf
    assert true_peak_dbtp(Audio(np.zeros((2, 44_100), np.float32), 44_100)) == -math.inf


def test_eight_channels_have_a_loudness() -> None:
    assert math.isfinite(loudness_lufs(tone(1, 44_100, 8)))


def test_true_peak_sees_between_the_samples() -> None:
    """A sine at a quarter of the rate, 45° off, peaks 3 dB above its samples."""
    time = np.arange(4800)
    samples = np.sin(2 * np.pi * time / 4 + np.pi / 4)[None].astype(np.float32)
    measured = true_peak_dbtp(Audio(samples, 48_000))
    assert 20 * math.log10(np.abs(samples).max()) == pytest.approx(-3.01, abs=0.01)
    assert measured == pytest.approx(0.0, abs=0.3)


def test_a_peak_is_limited_where_it_is_too_high() -> None:
    loud, quiet = tone(2, level=1.2), tone(2, level=0.02)
    assert true_peak_dbtp(limit_peak(loud)) == pytest.approx(-1.0, abs=0.05)
    assert limit_peak(quiet) is quiet


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 400),
    frames=st.integers(1, 2000),
    crossfade=st.integers(0, 100),
    data=st.data(),
)
def test_a_loop_has_the_length_asked_and_no_silence(
    length: int, frames: int, crossfade: int, data: st.DataObject
) -> None:
    period = data.draw(st.none() | st.integers(1, length))
    audio = Audio(np.full((2, length), 0.5, np.float32), 1000)
    made = loop_to(audio, frames, crossfade, period)
    assert made.samples.shape == (2, frames)
    assert made.samples.max() <= 0.5001
    assert np.count_nonzero(made.samples[0]) >= frames * 0.4


def test_a_loop_repeats_at_its_period_and_its_seam_is_smooth() -> None:
    rate, period = 8000, 4000
    audio = tone(0.55, rate, 1, hz=200)  # 100 whole cycles in a period
    made = loop_to(audio, 20_000, 400, period).samples[0]
    expected = 0.5 * np.sin(2 * np.pi * 200 * np.arange(20_000) / rate)
    assert np.abs(made - expected).max() < 1e-3


def test_looping_refuses_what_cannot_be_looped() -> None:
    with pytest.raises(InvalidInput):
        loop_to(Audio(np.zeros((1, 0), np.float32), 1000), 100, 10)
    with pytest.raises(InvalidInput):
        loop_to(tone(0.1), 100, 10, period=10**6)


@pytest.mark.parametrize(
    ("ratio", "semitones"), [(0.5, 0), (2.0, 0), (1.25, 3), (0.8, -5), (1, 12)]
)
def test_stretching_changes_length_and_pitch_independently(ratio: float, semitones: int) -> None:
    audio = tone(2.0, 44_100, 2, hz=440)
    made = stretch(audio, ratio, semitones)
    assert made.samples.shape == (2, round(audio.frames * ratio))
    middle = made.samples[0][made.frames // 4 : -made.frames // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
    found = float(spectrum.argmax()) * 44_100 / middle.size
    assert found == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)


def test_stretching_keeps_beats_where_they_belong() -> None:
    clicks = np.zeros((1, 88_200), np.float32)
    places = np.arange(11_025, 80_000, 22_050)
    for place in places:
        clicks[0, place : place + 200] = np.hanning(200) * 0.8
    made = stretch(Audio(clicks, 44_100), 1.5, 0).samples[0]
    for place in places:
        near = made[round(place * 1.5) - 2000 : round(place * 1.5) + 2000]
        assert abs(int(np.abs(near).argmax()) - 2000) < 450  # 10 ms


def test_stretching_by_nothing_is_the_same_audio() -> None:
    audio = tone(0.3)
    assert stretch(audio, 1.0, 0) is audio


@pytest.mark.parametrize("frames", [0, 1, 50, 2000])
def test_very_short_audio_can_be_stretched(frames: int) -> None:
    audio = Audio(np.full((1, frames), 0.3, np.float32), 44_100)
    made = stretch(audio, 1.7, 2)
    assert made.frames == round(frames * 1.7)
    assert np.isfinite(made.samples).all()


def test_stretching_out_of_range_is_refused() -> None:
    for ratio, semitones in ((0.0, 0), (100.0, 0), (math.nan, 0), (1.0, 99)):
        with pytest.raises(InvalidInput):
            stretch(tone(0.1), ratio, semitones)


@pytest.mark.parametrize("audio", [tone(1.0), tone(0.01, 8000, 1), tone(0.5, 96_000, 6)])
def test_a_spectrogram_is_a_png(tmp_path: Path, audio: Audio) -> None:
    path = tmp_path / "a.png"
    spectrogram_png(audio, path, title="A tone")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_silence_has_a_spectrogram_and_nothing_has_none(tmp_path: Path) -> None:
    spectrogram_png(Audio(np.zeros((1, 8000), np.float32), 8000), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(InvalidInput):
        spectrogram_png(Audio(np.zeros((1, 0), np.float32), 8000), tmp_path / "b.png")


def test_a_disk_that_takes_no_more_is_told_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 96_000)).astype(np.float32)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        for name in ("a.wav", "a.flac", "a.ogg", "a.mp3"):
            with pytest.raises(InvalidInput, match=f"cannot write .*{name}: File too large"):
                sound.save(Audio(np.tile(noise, 8), 48_000), tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in capfd.readouterr().err

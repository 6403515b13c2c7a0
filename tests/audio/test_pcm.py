"""Sound above full scale is kept, or lowered and said; nothing is clipped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import writing
from rag_audio.audio.dsp import resample
from rag_audio.audio.reading import load
from rag_audio.cli.app import run
from rag_audio.domain import Audio
from rag_audio.errors import InvalidInput
from tests.support.small_library import RATE, chords

NAMES = ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus"]


def loud(peak: float, seconds: float = 0.5, channels: int = 1, rate: int = 24_000) -> Audio:
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((channels, round(seconds * rate)))
    return Audio((samples / np.abs(samples).max() * peak).astype(np.float32), rate)


@given(st.floats(0.5, 8.0), st.sampled_from(NAMES), st.sampled_from([None, "16", "24", "32f"]))
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_never_clipped_in_silence(
    tmp_path_factory: pytest.TempPathFactory, peak: float, name: str, subtype: str | None
) -> None:
    target = tmp_path_factory.mktemp("loud") / name
    sound = loud(peak)
    try:
        writing.check_writable(target, subtype)
    except InvalidInput:
        return
    is_clipping = peak > 1.0 and writing.is_clipped_by(target, subtype)
    fitted, excess = writing.fit(sound, target, subtype)
    assert bool(excess) == is_clipping
    if is_clipping:
        with pytest.raises(InvalidInput, match="would clip"):
            writing.save(sound, target, subtype=subtype)
        assert not target.exists()
    writing.save(fitted, target, subtype=subtype)
    back = load(target).samples
    wanted = peak / 10 ** (excess.peak_db / 20)
    if target.suffix in (".wav", ".flac"):
        assert np.abs(back).max() == pytest.approx(wanted, rel=1e-4)
    else:
        assert np.abs(back).max() > 0.4 * wanted


def _embed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    capsys.readouterr()
    assert run(["watermark", "embed", *arguments, "--payload", "7", "--json"]) == 0
    said = capsys.readouterr()
    document: dict[str, Any] = json.loads(said.out)
    return document, said.err


def _write(path: Path, samples: Any, rate: int, subtype: str) -> Path:
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], subtype=subtype) as file:
        file.title, file.artist, file.album = "Amber", "Copper Lantern Trio", "Ferries"
        file.write(samples)
    return path


@pytest.mark.parametrize(
    ("subtype", "channels", "rate"),
    [("FLOAT", 2, 24_000), ("PCM_16", 8, 22_050), ("PCM_24", 1, 192_000)],
)
def test_a_marked_file_is_like_its_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], subtype: str, channels: int, rate: int
) -> None:
    one = resample(Audio(chords(100, 220.0, 5.0)[None], RATE), rate).samples[0]
    source = _write(tmp_path / "in.wav", np.stack([one] * channels, 1), rate, subtype)
    target = tmp_path / "out.wav"
    said, notes = _embed(capsys, str(source), str(target), "--home", str(tmp_path / "home"))
    with soundfile.SoundFile(target) as file:
        assert (file.subtype, file.channels, file.samplerate) == (subtype, channels, rate)
        assert (file.title, file.artist) == ("Amber", "Copper Lantern Trio")
        assert file.frames == len(one)
    assert (said["subtype"], said["notes"], notes) == (subtype, [], "")


def test_floats_above_full_scale_are_kept_or_lowered_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = chords(100, 220.0, 6.0)[:, None] * 3
    source = _write(tmp_path / "in.wav", samples, RATE, "FLOAT")
    home = ("--home", str(tmp_path / "home"))
    kept, notes = _embed(capsys, str(source), str(tmp_path / "out.wav"), *home)
    assert notes == "" and kept["gain_db"] == 0
    back = soundfile.read(tmp_path / "out.wav")[0]
    assert np.abs(back).max() == pytest.approx(np.abs(samples).max(), rel=0.1)
    lowered, notes = _embed(capsys, str(source), str(tmp_path / "out.flac"), *home)
    assert lowered["gain_db"] == pytest.approx(-20 * np.log10(2.1), abs=0.1)
    assert "lowered by 6.4" in notes and "subtype 32f" in notes and lowered["notes"]
    flat = soundfile.read(tmp_path / "out.flac")[0]
    # A clipped sound stands still at its peak.
    assert np.count_nonzero(np.abs(flat) > 0.9999) < 5
    for file in ("out.wav", "out.flac"):
        capsys.readouterr()
        assert run(["watermark", "detect", str(tmp_path / file), *home, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["payload"] == 7


def test_what_a_kind_of_file_cannot_hold_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _write(tmp_path / "in.wav", np.zeros((4000, 8)), 192_000, "PCM_24")
    for name in ("a.mp3", "a.ogg"):
        target = tmp_path / name
        command = ["watermark", "embed", str(source), str(target), "--payload", "1"]
        assert run([*command, "--home", str(tmp_path / "home")]) in (2, 3)
        assert not target.exists()
    assert "8 channels at 192000 Hz" in capsys.readouterr().err


def test_a_file_whose_encoding_loses_the_mark_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Opus of six channels keeps the bass alone of the one for low frequencies."""
    one = resample(Audio(chords(100, 220.0, 5.0)[None], RATE), 48_000).samples[0]
    six = np.zeros((len(one), 6))
    six[:, 3] = one
    source = _write(tmp_path / "in.wav", six, 48_000, "FLOAT")
    home = ("--payload", "7", "--home", str(tmp_path / "home"))
    assert run(["watermark", "embed", str(source), str(tmp_path / "six.opus"), *home]) == 3
    assert "six.opus would not hold the mark" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["home", "in.wav"]


def test_a_new_rate_is_told_and_a_file_is_not_written_over_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = resample(Audio(chords(100, 220.0, 5.0)[None], RATE), 44_100).samples[0]
    source = _write(tmp_path / "in.wav", one[:, None], 44_100, "FLOAT")
    home = ("--home", str(tmp_path / "home"))
    said, _ = _embed(capsys, str(source), str(tmp_path / "out.opus"), *home)
    assert "in.wav is at 44100 Hz, out.opus at 48000" in said["notes"]
    assert said["sample_rate"] == 48_000
    before = source.read_bytes()
    assert run(["watermark", "embed", str(source), str(source), "--payload", "7", *home]) == 2
    assert "would be written over its own sound" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_texts_and_data_that_are_lost_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = chords(100, 220.0, 5.0)[:, None]
    source = _write(tmp_path / "in.wav", samples, RATE, "PCM_16")
    whole = source.read_bytes() + b"cue " + (4).to_bytes(4, "little") + bytes(4)
    source.write_bytes(whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:])
    home = ("--home", str(tmp_path / "home"))
    said, notes = _embed(capsys, str(source), str(tmp_path / "out.mp3"), *home)
    assert "not carried over from in.wav: cue\n" in notes
    with soundfile.SoundFile(tmp_path / "out.mp3") as file:
        assert (file.title, file.album) == ("Amber", "Ferries")
    assert any("MPEG_LAYER_III" in note for note in said["notes"])


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_a_part_of_an_mp3_is_that_part_of_the_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], rate: int
) -> None:
    file = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).standard_normal((1, 25 * rate)) * 0.1
    writing.save(Audio(noise.astype(np.float32), rate), file, tags={"title": "t"})
    whole = load(file).samples
    for start_s in np.linspace(0.5, 23.0, 6):
        part = load(file, start_s=float(start_s), duration_s=1.0).samples
        first = round(start_s * rate)
        np.testing.assert_allclose(part, whole[:, first : first + part.shape[1]], atol=1e-5)
    assert capfd.readouterr().err == ""


def test_reading_an_mp3_in_blocks_is_reading_it_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).standard_normal((1, 60 * 24_000)) * 0.1
    writing.save(Audio(noise.astype(np.float32), 24_000), file)
    with soundfile.SoundFile(file) as opened:
        at_once = opened.read(dtype="float32")
    np.testing.assert_array_equal(load(file).samples[0], at_once)

"""Our instruments, played by the player that the product uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import symusic

from training.instruments import INSTRUMENTS
from training.programs import PROGRAMS
from training.sf2 import Preset, Sample, Zone, soundfont_bytes
from training.soundfont import MAX_BYTES, soundfont

RATE = 44100
FILE = Path(__file__).parents[2] / "data" / "soundfont" / "rag-audio.sf2"
UNPITCHED = {"surf", "synth drum", "tom drum", "muted guitar"}
DETUNED = {"honky-tonk": 12.0}


@pytest.fixture(scope="module")
def player() -> object:
    return symusic.Synthesizer(str(FILE), RATE)


def _render(player, program, notes, drum=False):
    score = symusic.Score(480)
    score.tempos.append(symusic.Tempo(0, 120))
    track = symusic.Track("test", program, drum)
    for start_s, duration_s, pitch in notes:
        track.notes.append(symusic.Note(round(start_s * 960), round(duration_s * 960), pitch, 100))
    score.tracks.append(track)
    return np.array(player.render(score, True))


def _cents_off(samples, pitch):
    """Slope of the fundamental's phase against the wanted pitch, in cents."""
    wanted = 440 * 2 ** ((pitch - 69) / 12)
    y = samples[int(0.06 * RATE) : int(0.8 * RATE)]
    spectrum = np.fft.fft(y * np.hanning(len(y)))
    f = np.fft.fftfreq(len(y), 1 / RATE)
    spectrum[(f < wanted * 0.75) | (f > wanted * 1.4)] = 0
    z = np.fft.ifft(spectrum)
    slope = np.polyfit(np.arange(len(y)) / RATE, np.unwrap(np.angle(z)), 1, w=np.abs(z))[0]
    return 1200 * np.log2(slope / (2 * np.pi) / wanted)


def test_every_program_sounds_without_clipping_and_about_as_loud_as_the_others(player):
    levels = []
    for number, program in enumerate(PROGRAMS):
        roots = INSTRUMENTS[program.instrument].roots
        middle = roots[len(roots) // 2]
        notes = [(0.55 * i, 0.5, middle + step) for i, step in enumerate((0, 4, -3, 5))]
        audio = _render(player, number, notes)
        assert np.isfinite(audio).all()
        assert 0.01 < np.abs(audio).max() < 0.5, program.name
        levels.append(10 * np.log10(np.mean(audio**2)))
    spread = np.abs(np.array(levels) - np.median(levels))
    assert np.percentile(spread, 90) < 5.0


def test_pitched_programs_are_in_tune(player):
    worst = {}
    for number, program in enumerate(PROGRAMS):
        if program.instrument in UNPITCHED:
            continue
        roots = INSTRUMENTS[program.instrument].roots
        for pitch in (roots[0] - 2, roots[len(roots) // 2] + 1):
            off = _cents_off(_render(player, number, [(0, 1.0, pitch)])[0], pitch)
            worst[program.name] = max(
                worst.get(program.name, 0.0), abs(off) - DETUNED.get(program.instrument, 0.0)
            )
    # Vibrato and ensembles sway about their pitch: a window of 0.7 s sees part of that.
    assert max(worst.values()) < 6.0, max(worst, key=worst.get)
    assert np.median(list(worst.values())) < 1.0


@pytest.mark.parametrize("program", [16, 19, 48, 52, 56, 71, 73, 80, 89])
def test_a_held_note_loops_without_clicks(player, program):
    pitch = 63
    tone = _render(player, program, [(0, 3.0, pitch)])[0]
    bend = np.abs(np.diff(tone, 2))
    peaks = bend[: len(bend) // 441 * 441].reshape(-1, 441).max(1)[60:280]
    assert peaks.max() < 3.0 * np.median(peaks)
    assert np.abs(tone[int(2.5 * RATE) : int(2.9 * RATE)]).max() > 0.01


def test_drums_keep_their_pitch_on_their_keys_and_differ(player):
    sounds = {}
    for note in (36, 38, 42, 46, 49, 51, 56, 64):
        audio = _render(player, 0, [(0, 0.1, note)], drum=True)
        sounds[note] = np.abs(np.fft.rfft(audio[0], 1 << 16))
        assert np.abs(audio).max() > 0.02
    f = np.fft.rfftfreq(1 << 16, 1 / RATE)
    centre = {note: float((s * f).sum() / s.sum()) for note, s in sounds.items()}
    assert centre[36] < centre[64] < centre[38] < centre[42]
    assert _render(player, 0, [(0, 0.1, 57)], drum=True).any()  # borrowed from the crash


def test_released_notes_end(player):
    tone = _render(player, 48, [(0, 0.5, 60)])[0]
    assert len(tone) < 1.0 * RATE
    assert abs(tone[-1]) < 0.01


def test_the_file_is_small_and_complete():
    data = FILE.read_bytes()
    assert len(data) <= MAX_BYTES
    assert data[:4] == b"RIFF" and data[8:12] == b"sfbk"
    assert len(PROGRAMS) == 128
    assert len({program.instrument for program in PROGRAMS}) >= 40


def test_building_again_gives_the_same_file():
    built = soundfont()
    kept = FILE.read_bytes()
    assert len(built) == len(kept)
    start = kept.index(b"smpl") + 8
    frames = (len(kept) - start) // 2
    ours, theirs = (
        np.frombuffer(data, "<i2", count=frames, offset=start).astype(np.int32)
        for data in (built, kept)
    )
    # Another processor may round a cosine differently in the last bit.
    assert np.mean(ours != theirs) < 1e-3


def test_the_writer_gives_the_same_bytes_and_refuses_nonsense():
    sample = Sample("a", np.sin(np.arange(4800) / 10) * 0.5, 32000, 60, (100, 4000))
    preset = Preset("a", 0, 0, (Zone(0, (0, 127)),))
    one, two = (soundfont_bytes("x", "CC0-1.0", [sample], [preset]) for _ in range(2))
    assert one == two and len(one) % 2 == 0
    with pytest.raises(ValueError, match="outside"):
        Sample("a", np.zeros(100), 32000, 60, (50, 200))
    with pytest.raises(ValueError, match="T ≥ 48"):
        Sample("a", np.zeros((2, 100)), 32000, 60)

"""Conforming, measured on sounds whose tempo, key, beats and loudness are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rag_audio.audio import midi
from rag_audio.audio.analysis import analyse
from rag_audio.audio.dsp import loudness_lufs, true_peak_dbtp
from rag_audio.domain import Audio, Key, Layer, SeedPart, Segment, StemKind
from rag_audio.generation.seed_audio import (
    PlaySegment,
    conform,
    first_beat_s,
    loop,
    quiet_lead,
    seed_audio,
)
from rag_audio.generation.take_selection import tempo_near
from tests.generation.test_planning import plan_of, reference
from tests.generation.test_take_selection import RATE, take
from tests.support.scores import write_score

BEAT_S, LOUDNESS_LU, TEMPO = 0.015, 0.5, 0.005


def cut(source: Audio) -> PlaySegment:
    """Loads segments of one sound."""

    def load(segment: Segment, rate: int, *_how: object) -> Audio:
        assert rate == RATE
        first = round(segment.start_s * RATE)
        last = first + round(segment.duration_s * RATE)
        return Audio(source.samples[:, first:last], RATE)

    return load


def attacks_s(audio: Audio, bpm: float) -> np.ndarray:
    """Distance of every beat's attack from the grid that begins with the sound."""
    power = np.diff(audio.samples[0].astype(np.float64), 4) ** 2  # the click, not the chord
    beat = 60 / bpm * RATE
    found = []
    for n in range(1, int(audio.frames / beat) - 1):
        around = round(n * beat) + np.arange(-1200, 1200)
        total = np.cumsum(power[around])
        rise = total[220:] - 2 * total[110:-110] + total[:-220]  # energy of 5 ms less that before
        found.append((int(rise.argmax()) + 110 - 1200 + 1) / RATE)
    return np.array(found)


@pytest.mark.parametrize("bpm", [80, 92, 123, 150])
@pytest.mark.parametrize("lost_s", [0.0, 0.05, 0.111, 0.3])
def test_the_first_beat_is_found_to_a_few_milliseconds(bpm: float, lost_s: float) -> None:
    source = take(bpm, 0, 10.0)
    late = Audio(source.samples[:, round(lost_s * RATE) :], RATE)
    beat = 60 / bpm
    error = (first_beat_s(late, bpm) + lost_s + beat / 2) % beat - beat / 2
    assert abs(error) < 0.008


@pytest.mark.parametrize(
    ("bpm", "key", "downbeat_s"),
    [(92, "A major", None), (108, "C major", 0.2), (180, "F major", None), (100, "F# minor", 0.2)],
)
def test_a_reference_comes_out_at_tempo_key_and_beat(
    bpm: float, key: str, downbeat_s: float | None
) -> None:
    wanted = Key.parse("A major")
    source = take(bpm, 0, 24.0)
    source = Audio(np.pad(source.samples, ((0, 0), (round(0.2 * RATE), 0))), RATE)
    found = reference("a", bpm=float(bpm), key=wanted, downbeat_s=downbeat_s)
    target = Key.parse(key)
    plan = plan_of(found, bpm=96.0, key=target, duration_s=10.0)
    (part,) = plan.seed_parts
    made = conform(found.segment, part, cut(source), RATE, None)
    heard = analyse(made)
    assert heard.bpm is not None
    assert tempo_near(heard.bpm, 96.0) == pytest.approx(96.0, rel=TEMPO)
    assert heard.key in (target, target.relative())
    assert np.abs(attacks_s(made, bpm / part.time_ratio)).max() <= BEAT_S


def test_every_part_is_as_loud_as_its_weight_says_and_the_mix_keeps_its_true_peak() -> None:
    bass, bright = take(96, -24), take(96, 12)
    for source, gain in ((bass, 0.05), (bright, 1.0)):
        plan = plan_of(reference("a", bpm=96.0), bpm=96.0)
        seed = seed_audio(plan, cut(Audio(source.samples * gain, RATE)), RATE, 1)  # type: ignore[arg-type]
        assert seed is not None
        assert true_peak_dbtp(seed) <= -0.29

    def load(segment: Segment, rate: int, *_how: object) -> Audio:
        low = segment.stem.id == "low"
        samples = (bass.samples * 0.05 if low else bright.samples)[:, : 10 * RATE]
        silent = np.zeros_like(samples)
        # One in each channel, so that the mix can be taken apart.
        return Audio(np.concatenate([samples, silent] if low else [silent, samples]), RATE)

    plan = plan_of(
        reference("low", bpm=96.0), reference("high", bpm=96.0), bpm=96.0, weights=(1, 1)
    )
    seed = seed_audio(plan, load, RATE, 2)
    assert seed is not None
    levels = [loudness_lufs(Audio(seed.samples[n : n + 1], RATE)) for n in range(2)]
    assert abs(levels[0] - levels[1]) <= LOUDNESS_LU


def test_a_loop_keeps_the_beat_and_joins_where_it_is_quiet() -> None:
    bpm, beat = 96.0, 60 / 96.0
    source = take(bpm, 0, 8 * beat + beat)
    part = SeedPart(0, 1.0, 1.0, 0, 0.0, 8 * beat)
    made = loop(source, part, bpm, 20 * RATE)
    assert made.frames == 20 * RATE
    assert np.abs(attacks_s(made, bpm)).max() <= BEAT_S
    lead = quiet_lead(source, round(8 * beat * RATE), round(0.05 * RATE))
    phase = lead / RATE % beat
    assert phase > 0.5 * beat  # late in the beat, where the chord has died away
    jump = np.abs(np.diff(made.samples[0]))
    seam = lead + round(8 * beat * RATE)
    assert jump[seam - 50 : seam + 50].max() < 0.2 * jump.max()


def test_a_loop_that_ends_early_is_whole_beats() -> None:
    beat = 60 / 96.0
    source = take(96.0, 0, 7.5 * beat)
    made = loop(source, SeedPart(0, 1.0, 1.0, 0, 0.0, 8 * beat), 96.0, 15 * RATE)
    assert np.abs(attacks_s(made, 96.0)).max() <= BEAT_S


def test_a_score_is_played_at_tempo_and_key_and_by_other_instruments(tmp_path: Path) -> None:
    path = write_score(tmp_path / "a.mid", 92, Key(0, False))
    score = reference("a", bpm=92.0, key=Key(0, False), instruments=("Acoustic Grand Piano",))
    stem = score.stem.__class__(**{**vars(score.stem), "kind": StemKind.MIDI})
    found = score.__class__(Segment(stem, 0.0, 10.0), 0.5, 1)

    def render(
        segment: Segment,
        rate: int,
        tempo: float = 0.0,  # it is always said: a score is never stretched
        semitones: int = 0,
        names: tuple[str, ...] = (),
        layer: Layer | None = None,
    ) -> Audio:
        return midi.render(
            path, sample_rate=rate, start_s=segment.start_s, duration_s=segment.duration_s,
            tempo_ratio=tempo, semitones=semitones, instruments=names, layer=layer,
        )  # fmt: skip

    made = {}
    for names in ((), ("Vibraphone",)):
        plan = plan_of(found, bpm=104.0, key=Key.parse("D major"), midi_instruments=names)
        assert plan.seed_parts[0].rendered and plan.seed_parts[0].instruments == names
        seed = seed_audio(plan, render, RATE, 2)
        assert seed is not None
        heard = analyse(seed)
        assert heard.bpm is not None
        assert tempo_near(heard.bpm, 104.0) == pytest.approx(104.0, rel=TEMPO)
        made[names] = seed.samples
        assert heard.key is not None
        assert heard.key in Key.parse("D major").neighbours()[:2]
    assert not np.array_equal(made[()], made[("Vibraphone",)])

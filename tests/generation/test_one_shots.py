"""One-shots are struck on the beat grid, loops are whole beats of it: measured on known sounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.audio.analysis import find_pulse
from rag_audio.audio.dsp import fade_edges, true_peak_dbtp
from rag_audio.domain import (
    Audio,
    Channel,
    DerivedTag,
    GenerationRequest,
    Layer,
    Reference,
    SampleType,
    Segment,
    Stem,
    StemKind,
)
from rag_audio.domain.disclosure import EVERYTHING
from rag_audio.domain.music import Signature, bar_s
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.errors import InvalidInput, LibraryError
from rag_audio.generation.drum_patterns import continued, patterns_of, plain_pattern, strokes_s
from rag_audio.generation.percussion import DrumPart, drum_part
from rag_audio.generation.planning import make_plan
from rag_audio.generation.replay import renew_plan
from rag_audio.generation.seed_audio import seed_audio, strike
from rag_audio.generation.stem_player import StemPlayer
from rag_audio.generation.take_selection import tempo_near
from rag_audio.storage.cache import SoundCache
from rag_audio.storage.files import file_sha256
from tests.generation.test_planning import INFO, RIGHTS, plan_of, reference, words
from tests.support.scores import write_score

RATE = 16_000
ONSET_S, TEMPO = 0.002, 0.005


def one_shot(name: str, **fields: object) -> Reference:
    """A single sound of 0.4 s whose file has the name."""
    given_fields = {
        "bpm": None, "bpm_confidence": 0.0, "key": None, "key_confidence": 0.0, "tags": (),
        "sample_type": SampleType.ONE_SHOT, **fields,
    }  # fmt: skip
    found = reference(name, **given_fields)
    return Reference(Segment(replace(found.stem, duration_s=0.4), 0.0, 0.4), 0.5, 1)


def hit(_segment: Segment, rate: int, *_how: object) -> Audio:
    """40 ms of silence, then a sound that dies away."""
    t = np.arange(round(0.36 * rate)) / rate
    sound = np.exp(-t / 0.03) * np.cos(2 * np.pi * 180 * t)
    return Audio(np.pad(sound, (round(0.04 * rate), 0))[None].astype(np.float32), rate)


def onsets_s(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Where the sound begins anew after 20 ms below a tenth of its peak."""
    loud = np.flatnonzero(np.abs(samples) >= 0.1 * np.abs(samples).max())
    return loud[np.diff(loud, prepend=-rate) > 0.02 * rate] / rate


def beats(bpm: float, *places: float) -> list[float]:
    return [round(60 / bpm * place, 6) for place in places]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("bd_808", DrumPart.KICK), ("drum_bass_hard", DrumPart.KICK), ("TwoKicks2", DrumPart.KICK),
        ("bass_hit_c", None), ("elec_hi_snare", DrumPart.SNARE), ("HH2_01", DrumPart.HAT),
        ("drum_cymbal_closed", DrumPart.HAT), ("hihat-open", DrumPart.OPEN_HAT),
        ("drum_splash_soft", DrumPart.CYMBAL), ("tom04", DrumPart.TOM), ("ClapDry", DrumPart.CLAP),
        ("drum_roll", DrumPart.PERCUSSION), ("conga_03", DrumPart.PERCUSSION), ("ambi_piano", None),
        ("tomorrow", None), ("chat", None),
    ],
)  # fmt: skip
def test_a_part_of_the_kit_is_read_from_the_words_of_a_name(
    name: str, part: DrumPart | None
) -> None:
    assert drum_part(one_shot(name).stem) is part


def test_tags_and_folders_tell_the_part_too_and_the_titles_of_pieces_do_not() -> None:
    plain = one_shot("03").stem
    assert drum_part(replace(plain, tags=("drums", "snare"))) is DrumPart.SNARE
    assert drum_part(replace(plain, path="Hats/Closed/03.wav")) is DrumPart.HAT
    heard = (DerivedTag("clap", 0.9), DerivedTag("kick", 0.3))
    assert drum_part(replace(plain, derived_tags=heard)) is DrumPart.CLAP
    song = replace(plain, title="The Snare Drum", sample_type=SampleType.SONG)
    assert drum_part(song) is None


metres = st.sampled_from([(4, 4), (3, 4), (6, 8), (12, 8), (5, 4), (7, 8), (2, 2), (1, 16), None])


@given(
    st.sampled_from([*DrumPart, None]), st.floats(40, 240), metres, st.integers(0, 3),
    st.floats(0, 20), st.floats(0.5, 40),
)  # fmt: skip
def test_strokes_lie_in_their_section_on_sixteenths_in_order(
    part: DrumPart | None,
    bpm: float,
    metre: Signature | None,
    turn: int,
    start_s: float,
    length_s: float,
) -> None:
    pattern = plain_pattern(part, bpm, metre, turn)
    assert any(pattern)
    found = strokes_s(pattern, bpm, metre, start_s, start_s + length_s)
    assert list(found) == sorted(set(found))
    sixteenth, bar = 15 / bpm, bar_s(bpm, metre)
    for at in found:
        assert start_s - 1e-6 <= at < start_s + length_s
        in_bar = (at - start_s + 2e-6) % bar - 2e-6
        assert abs(in_bar / sixteenth - round(in_bar / sixteenth)) < 1e-3


def test_plain_patterns_are_those_of_the_metre() -> None:
    assert plain_pattern(DrumPart.KICK, 92.0, None) == ((0.0, 2.0),)
    assert plain_pattern(DrumPart.KICK, 128.0, (4, 4)) == ((0.0, 1.0, 2.0, 3.0),)
    assert plain_pattern(DrumPart.SNARE, 92.0, (4, 4)) == ((1.0, 3.0),)
    assert plain_pattern(DrumPart.SNARE, 92.0, (3, 4)) == ((1.0, 2.0),)
    assert plain_pattern(DrumPart.SNARE, 92.0, (6, 8)) == ((1.5,),)
    assert plain_pattern(DrumPart.OPEN_HAT, 92.0, (4, 4)) == ((3.5,),)
    assert plain_pattern(DrumPart.CYMBAL, 92.0, (4, 4)) == ((0.0,), (), (), ())
    assert plain_pattern(DrumPart.TOM, 92.0, (4, 4)) == ((), (3.0, 3.25, 3.5, 3.75))
    assert plain_pattern(None, 92.0, (4, 4)) == ((0.0,),)


@pytest.mark.parametrize("bpm", [92.0, 128.0, 140.0])
def test_a_kit_of_one_shots_has_the_tempo_that_was_asked_for(bpm: float) -> None:
    kit = [one_shot(name) for name in ("kick", "snare", "hihat")]
    plan = plan_of(*kit, bpm=bpm, duration_s=12.0)
    assert all(part.hits_s and part.loop_s == 0 for part in plan.seed_parts)
    seed = seed_audio(plan, hit, RATE, 1)
    assert seed is not None
    pulse = find_pulse(seed)
    assert pulse.bpm is not None
    assert tempo_near(pulse.bpm, bpm) == pytest.approx(bpm, rel=TEMPO)


def test_a_one_shot_sounds_where_it_is_struck_without_the_silence_before_it() -> None:
    plan = plan_of(one_shot("kick"), bpm=100.0, duration_s=10.0)
    (part,) = plan.seed_parts
    assert list(part.hits_s) == beats(100.0, *range(0, 17, 2))
    seed = seed_audio(plan, hit, RATE, 1)
    assert seed is not None and true_peak_dbtp(seed) <= -0.29
    assert np.abs(onsets_s(seed.samples[0]) - part.hits_s).max() <= ONSET_S


def test_the_next_stroke_ends_a_sound_that_still_rings() -> None:
    ringing = Audio(np.ones((1, RATE), dtype=np.float32), RATE)
    made = strike(ringing, [0, 4000, 8000], 20_000).samples[0]
    assert made.max() <= 1.0 and abs(made[3999]) < 0.01 and abs(made[-1]) < 0.01
    assert made[4000 + 2000] == 1.0 and made[8000 + 10_000] == 1.0


def test_few_strokes_do_not_turn_the_rest_down() -> None:
    steady = reference("keys", bpm=100.0)

    def load(segment: Segment, rate: int, *how: object) -> Audio:
        if segment.stem.id != "keys":
            return hit(segment, rate, *how)
        t = np.arange(round(segment.duration_s * rate)) / rate
        return Audio(0.3 * np.sin(2 * np.pi * 440 * t)[None].astype(np.float32), rate)

    plan = plan_of(steady, one_shot("crash"), bpm=100.0, weights=(1, 1))
    seed = seed_audio(plan, load, RATE, 1)
    assert seed is not None
    level = float(np.sqrt(np.mean(seed.samples[0, 3 * RATE : 9 * RATE] ** 2)))
    assert 20 * np.log10(level) > -23


def test_without_a_tempo_a_one_shot_gives_words_only() -> None:
    plan = plan_of(one_shot("kick", tags=("deep kick",)))
    assert plan.seed_parts == () and plan.strength == 1.0
    assert any("one-shot" in note and "words only" in note for note in plan.notes)
    assert "deep kick" in plan.enriched_prompt
    beside = plan_of(one_shot("kick"), reference("keys"))
    kick = next(p for p in beside.seed_parts if beside.references[p.reference].stem.id == "kick")
    assert list(kick.hits_s[:3]) == beats(92.0, 0, 2, 4)


def score(**fields: object) -> Reference:
    stem = reference("score", bpm=100.0, instruments=("Drums", "Piano"), **fields).stem
    return Reference(Segment(replace(stem, kind=StemKind.MIDI), 0.0, 10.0), 0.5, 1)


def test_one_shots_follow_the_drums_of_a_score_that_plays() -> None:
    eighth = 60 / 100 / 2
    struck = (0, 3, 5, 8, 11, 13, 16, 19, 21, 22)  # two bars and one with a stroke more
    notes = [(n * eighth, 36) for n in struck] + [(2 * eighth, 75)]

    def read(stem: Stem) -> list[tuple[float, int]]:
        assert stem.kind is StemKind.MIDI
        return notes

    request = GenerationRequest("slow", bpm=110.0, duration_s=10.0)
    plan = make_plan(
        request, (score(), one_shot("kick"), one_shot("snare")), rights=RIGHTS, info=INFO,
        count_tokens=words, seed=1, read_drums=read,
    )  # fmt: skip
    kick, snare = (part.hits_s for part in plan.seed_parts if part.hits_s)
    assert list(kick[:6]) == beats(110.0, 0, 1.5, 2.5, 4, 5.5, 6.5)
    assert list(snare[:2]) == beats(110.0, 1, 5)  # thinned: the score's own drums play


def test_the_drums_of_a_score_are_read_from_its_file_while_it_is_the_one_that_was_indexed(
    tmp_path: Path,
) -> None:
    path = write_score(tmp_path / "beat.mid", 100.0, bars=4)
    stem = replace(score().stem, id=file_sha256(path))
    catalogue: Any = SimpleNamespace(stored_file=lambda _: path)
    player = StemPlayer(catalogue, SoundCache(), lambda: path, EVERYTHING)
    found = patterns_of(player.drum_notes(stem), 100.0, (4, 4), 0.0)
    assert found[DrumPart.SNARE] == (1.0, 3.0)
    assert found[DrumPart.HAT] == tuple(n / 2 for n in range(8))
    assert player.drum_notes(one_shot("kick").stem) == ()
    another = StemPlayer(catalogue, SoundCache(), lambda: path, EVERYTHING)
    assert another.score(stem) is player.score(stem), "players come and go: a score is read once"
    with pytest.raises(LibraryError, match="changed"):
        player.drum_notes(replace(stem, id="0" * 64))


def test_a_scores_pattern_is_what_most_of_its_bars_have() -> None:
    notes = [(4 * bar + at, 38) for bar in range(4) for at in (1.01, 2.99)] + [(2.5, 38)]
    found = patterns_of(notes, 60.0, None, 0.0)
    assert dict(found) == {DrumPart.SNARE: (1.0, 3.0)}


def test_one_shots_beside_a_drum_loop_only_double_it() -> None:
    loop = reference("loop", bpm=92.0, tags=("drums",))
    plan = plan_of(loop, one_shot("hihat"), bpm=92.0)
    (hat,) = (part for part in plan.seed_parts if part.hits_s)
    assert list(hat.hits_s[:4]) == beats(92.0, 0, 1, 2, 3)


def test_a_section_is_struck_within_its_bars() -> None:
    plan = plan_of(
        one_shot("kick"), reference("keys", bpm=96.0), bpm=96.0, duration_s=None,
        references=("kick", "keys"), arrange=(("keys", 1, 2), ("kick", 2, 3)),
    )  # fmt: skip
    (kick,) = (part for part in plan.seed_parts if part.hits_s)
    assert list(kick.hits_s) == beats(96.0, 4, 6, 8, 10)
    bar = 4 * 60 / 96

    def load(segment: Segment, rate: int, *how: object) -> Audio:
        if segment.stem.id == "kick":
            return hit(segment, rate, *how)
        return Audio(np.full((1, 10 * rate), 1e-3, dtype=np.float32), rate)

    seed = seed_audio(plan, load, RATE, 1)
    assert seed is not None
    found = onsets_s(np.diff(seed.samples[0, round(0.5 * bar * RATE) :])) + 0.5 * bar
    assert np.abs(found - np.array(kick.hits_s)).max() <= ONSET_S


@given(st.integers(400, 2000).map(lambda tenths: tenths / 10))
def test_an_arranged_stroke_on_the_bar_line_can_be_read_again(bpm: float) -> None:
    plan = plan_of(
        one_shot("kick"), reference("keys", bpm=96.0), bpm=bpm, duration_s=None,
        references=("kick", "keys"), arrange=(("keys", 1, 3), ("kick", 2, 3)),
    )  # fmt: skip
    assert plan_from_json(plan_to_json(plan)) == plan


def test_a_struck_plan_comes_back_equal_and_older_ones_have_no_strokes() -> None:
    plan = plan_of(one_shot("kick"), one_shot("hihat"), bpm=97.3)
    text = json.dumps(plan_to_json(plan))
    assert plan_from_json(json.loads(text)) == plan
    assert json.dumps(plan_to_json(plan_from_json(json.loads(text)))) == text
    first, second = (seed_audio(p, hit, RATE, 1) for p in (plan, plan_from_json(json.loads(text))))
    assert first is not None and second is not None
    assert np.array_equal(first.samples, second.samples)
    assert "hits_s" not in plan_to_json(plan_of(reference("a")))["seed_parts"][0]


@pytest.mark.parametrize(
    ("hits", "said"), [([0.0, 99.0], "struck"), ([-1.0], "struck"), ([1.0, 1.0], "out of range")]
)
def test_strokes_that_no_plan_has_are_refused(hits: list[float], said: str) -> None:
    plan = plan_of(replace_id(one_shot("kick")), bpm=100.0)
    document = plan_to_json(plan)
    document["seed_parts"][0]["hits_s"] = hits
    with pytest.raises(InvalidInput, match=said):
        renew_plan(
            plan_from_json(document), copies=lambda _: [plan.references[0].stem],
            withheld=lambda _: [], rights=RIGHTS, info=INFO, count_tokens=words,
        )  # fmt: skip


def replace_id(found: Reference) -> Reference:
    stem = replace(found.stem, id="a" * 64)
    return Reference(replace(found.segment, stem=stem), found.score, found.rank)


def test_strokes_go_on_past_the_end_as_they_did_four_bars_before() -> None:
    bar, end = 2.4, 10.0
    whole = strokes_s(plain_pattern(DrumPart.CYMBAL, 100.0, None), 100.0, None, 0.0, end + 2)
    part = strokes_s(plain_pattern(DrumPart.CYMBAL, 100.0, None), 100.0, None, 0.0, end)
    assert continued(part, bar, end, end + 2) == whole
    assert continued((), bar, end, end + 2) == ()


def clicks(bpm: float, seconds: float) -> Audio:
    """A click on every beat."""
    t = np.arange(round(seconds * RATE)) / RATE
    since = np.mod(t, 60 / bpm)
    noise = np.random.default_rng(3).standard_normal(t.size)
    return Audio((noise * np.exp(-since / 0.02))[None].astype(np.float32), RATE)


@pytest.mark.parametrize(("stated", "wanted"), [(99.41, 92.0), (99.4, 128.0), (100.3, 99.4142)])
def test_a_loop_of_four_bars_stays_one_and_keeps_the_grid_for_half_a_minute(
    stated: float, wanted: float
) -> None:
    true_bpm = 99.4142
    seconds = 16 * 60 / true_bpm
    found = reference("loop", bpm=stated, sample_type=SampleType.LOOP)
    stem = replace(found.stem, duration_s=seconds)
    whole = Reference(Segment(stem, 0.0, seconds), 0.5, 1)
    plan = plan_of(whole, bpm=wanted, duration_s=30.0)
    (part,) = plan.seed_parts
    assert part.loop_s == pytest.approx(16 * 60 / wanted, abs=1e-9)
    assert part.time_ratio == pytest.approx(part.loop_s / seconds, abs=1e-12)
    source = clicks(true_bpm, seconds)
    seed = seed_audio(plan, lambda *_: source, RATE, 1)
    assert seed is not None
    found_s = onsets_s(seed.samples[0])
    beat = 60 / wanted
    error = found_s - np.rint(found_s / beat) * beat
    assert found_s.size >= 30 / beat - 1 and np.abs(error).max() < 0.006


def test_what_a_loop_lacks_of_its_last_beat_is_kept_as_room() -> None:
    seconds = 16 * 60 / 100 - 0.008
    stem = replace(reference("loop", bpm=100.0, downbeat_s=0.0).stem, duration_s=seconds)
    plan = plan_of(Reference(Segment(stem, 0.0, seconds), 0.5, 1), bpm=100.0, duration_s=30.0)
    assert plan.seed_parts[0].loop_s == pytest.approx(9.6)
    seed = seed_audio(plan, lambda *_: clicks(100.0, seconds), RATE, 1)
    assert seed is not None
    found_s = onsets_s(seed.samples[0])
    assert np.abs(found_s - np.rint(found_s / 0.6) * 0.6).max() < 0.002


@given(st.integers(0, 5000), st.integers(1, 2), st.floats(0.01, 1.0))
def test_faded_edges_are_silent_and_the_middle_is_untouched(
    frames: int, channels: int, level: float
) -> None:
    made = Audio(np.full((channels, frames), level, dtype=np.float32), RATE)
    faded = fade_edges(made).samples
    assert faded.shape == made.samples.shape and np.all(np.abs(faded) <= level)
    if frames >= 4:
        assert np.abs(faded[:, [0, -1]]).max() == 0
    inner = slice(round(0.002 * RATE), max(0, frames - round(0.01 * RATE)))
    assert np.array_equal(faded[:, inner], made.samples[:, inner])


def test_a_kick_at_the_first_sample_keeps_its_attack() -> None:
    t = np.arange(RATE) / RATE
    swept = 50 * t + 8 * (1 - np.exp(-t / 0.02))
    kick = Audio((np.exp(-t / 0.15) * np.cos(2 * np.pi * swept))[None].astype(np.float32), RATE)
    first = slice(0, round(0.02 * RATE))
    before, after = (
        float(np.sum(a.samples[:, first].astype(np.float64) ** 2)) for a in (kick, fade_edges(kick))
    )
    assert 10 * np.log10(before / after) < 1


def test_a_seed_cut_out_of_a_sound_begins_and_ends_at_silence() -> None:
    def cut(segment: Segment, rate: int, *_how: object) -> Audio:
        return Audio(np.full((1, 10 * rate), 0.4, dtype=np.float32), rate)

    seed = seed_audio(plan_of(reference("a"), duration_s=8.0), cut, RATE, 1)
    assert seed is not None
    assert np.abs(seed.samples[:, [0, -1]]).max() < 0.01


def test_a_one_shot_may_be_the_drums_of_a_layer() -> None:
    plan = plan_of(
        one_shot("kick"), reference("keys"), bpm=92.0, references=("kick", "keys"),
        layers=((Layer.DRUMS, "kick"), (Layer.HARMONY, "keys")),
    )  # fmt: skip
    assert [bool(part.hits_s) for part in plan.seed_parts] == [True, False]
    assert Channel.INIT in plan.channels

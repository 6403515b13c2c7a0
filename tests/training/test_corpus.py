"""The corpus: what its facts say is what sounds."""

from __future__ import annotations

import io
import re
from collections import Counter

import numpy as np
import pretty_midi
import pytest

from rag_audio.errors import InvalidInput
from training import effects
from training.captions import key_words
from training.corpus import FAMILIES, caption, compose, make_clip, near_miss, own_soundfont, render
from training.genres import GENRES
from training.palette import DRUMS, TONES
from training.score import Voice
from training.theory import MODES, Scale, chord, voice

RATE = 16000
PIECES = [compose(seed) for seed in range(160)]


def _weights(piece):
    """Seconds of each pitch class, counted from the key's tonic."""
    weights = np.zeros(12)
    for part in piece.song.voices:
        for event in () if part.drum else part.events:
            weights[(event.pitch - piece.facts.key.tonic) % 12] += event.length
    return weights


def test_the_same_seed_gives_the_same_piece_and_clip():
    assert compose(7).midi == compose(7).midi
    one, two = (make_clip(7, sample_rate=RATE, duration_s=4.0) for _ in range(2))
    assert one.caption == two.caption and one.facts == two.facts
    assert np.array_equal(one.samples, two.samples)


def test_seeds_and_splits_give_different_pieces():
    assert len({piece.midi for piece in PIECES[:40]}) == 40
    assert compose(7).midi != compose(7, split="test").midi


def test_held_out_pieces_use_progressions_that_training_never_does():
    from training.pieces import _held_out

    for genre in GENRES.values():
        for options in (genre.major, genre.minor):
            train, test = set(_held_out(options, "train")), set(_held_out(options, "test"))
            assert train and test and not train & test


@pytest.mark.parametrize("seed", range(0, 24))
def test_facts_match_the_midi(seed):
    piece = PIECES[seed]
    facts, score = piece.facts, pretty_midi.PrettyMIDI(io.BytesIO(piece.midi))
    assert score.get_tempo_changes()[1] == pytest.approx([facts.bpm], abs=0.05)
    assert score.time_signature_changes[0].numerator == facts.time_signature[0]
    programs = [-1 if i.is_drum else i.program for i in score.instruments]
    assert sorted(programs) == sorted(facts.programs)
    assert facts.drums == any(i.is_drum for i in score.instruments)
    assert (facts.key is None) == (facts.roles == ("drums",))
    assert facts.kind == ("stem" if len(score.instruments) == 1 else "arrangement")
    assert score.get_end_time() > 20
    expected = tuple(TONES[p].family if p >= 0 else DRUMS for p in facts.programs)
    assert facts.families == expected and facts.lead_family in expected


def test_the_notes_of_the_key_dominate():
    for piece in PIECES:
        if piece.facts.key is None:
            continue
        weights = _weights(piece)
        scale = np.isin(np.arange(12), MODES[piece.facts.mode])
        if piece.facts.genre in ("blues", "funk"):
            scale[[3, 10]] = True  # sevenths and thirds of their own
        assert weights[scale].sum() > 0.85 * weights.sum(), piece.song.title
    usual = [w / w.sum() for w in (_weights(p) for p in PIECES if p.facts.key)]
    assert np.mean([w[0] for w in usual]) > 0.17
    assert np.argmax(np.mean(usual, axis=0)) in (0, 7)


def test_onsets_lie_on_the_grid_of_the_declared_tempo():
    for piece in PIECES[:60]:
        if GENRES[piece.facts.genre].swing != 0.5:
            continue
        onsets = np.array([e.start for v in piece.song.voices for e in v.events if e.start > 0.1])
        off = np.abs(onsets * 4 - np.round(onsets * 4)) / 4 * 60 / piece.facts.bpm
        assert np.mean(off < 0.03) > 0.75, piece.song.title


def test_the_music_is_varied():
    facts = [piece.facts for piece in PIECES]
    kinds = Counter(f.kind for f in facts)
    assert 0.35 < kinds["stem"] / len(facts) < 0.65
    assert 0.10 < sum(f.roles == ("drums",) for f in facts) / len(facts) < 0.30
    assert len({p for f in facts for p in f.programs}) >= 40
    assert len({f.genre for f in facts}) >= 12
    assert len({f.key for f in facts if f.key}) == 24
    assert min(f.bpm for f in facts) < 72 and max(f.bpm for f in facts) > 165
    assert {f.lead_family for f in facts} <= set(FAMILIES)
    assert {f.time_signature for f in facts} == {(4, 4), (3, 4)}


def test_notes_stay_within_reach_of_their_instruments():
    for piece in PIECES:
        for part in piece.song.voices:
            if not part.drum:
                tone = TONES[part.program]
                assert all(tone.low <= e.pitch <= tone.high + 2 for e in part.events)


def test_captions_vary_and_are_true():
    facts = next(p.facts for p in PIECES if p.facts.kind == "arrangement" and p.facts.key)
    said = {caption(facts, seed) for seed in range(60)}
    assert len(said) > 55
    tempos = {n for text in said for n in re.findall(r"(\d+)\s*(?:bpm|BPM|beats)", text)}
    assert tempos == {f"{facts.bpm:.0f}"}
    assert caption(facts, 3) == caption(facts, 3)
    assert any(not re.search(r"\d", text) for text in said)


def test_near_misses_differ_from_the_truth_in_one_thing():
    for piece in PIECES[:40]:
        facts = piece.facts
        for seed in range(3):
            text = near_miss(facts, seed)
            found = re.search(r"(\d+) ?(?:bpm|BPM|beats)|tempo (\d+)", text)
            tempo = int(found[1] or found[2])
            assert tempo == facts.bpm or abs(tempo / facts.bpm - 1) > 0.1


def test_key_spellings_mean_the_key():
    from rag_audio.domain import Key

    rng = np.random.default_rng(0)
    for tonic in range(12):
        for minor in (False, True):
            mode = "minor" if minor else "major"
            for _ in range(8):
                assert Key.parse(key_words(Key(tonic, minor), mode, rng)) == Key(tonic, minor)


@pytest.mark.parametrize(("rate", "seconds"), [(16000, 3.0), (22050, 2.5), (44100, 2.0)])
def test_clips_have_the_asked_shape_and_headroom(rate, seconds):
    for seed in (1, 2, 3):
        clip = make_clip(seed, sample_rate=rate, duration_s=seconds)
        assert clip.samples.shape == (2, round(rate * seconds))
        assert clip.samples.dtype == np.float32 and np.isfinite(clip.samples).all()
        assert 0.02 < np.abs(clip.samples).max() < 1.0
        assert clip.soundfont == "rag-audio.sf2"


def test_stems_sound_through_their_clip():
    stems = [p for p in PIECES if p.facts.kind == "stem" and p.facts.roles != ("drums",)][:12]
    for piece in stems:
        samples = render(piece, seed=piece.seed, sample_rate=RATE, duration_s=8.0,
                         soundfont=own_soundfont())  # fmt: skip
        seconds = np.sqrt(np.mean(samples.mean(0).reshape(8, -1) ** 2, axis=1))
        assert np.mean(seconds > 0.03 * seconds.max()) >= 0.75, piece.facts


def test_the_beat_is_heard_at_the_declared_tempo():
    checked = 0
    for piece in PIECES:
        if piece.facts.genre not in ("house", "techno", "disco") or not piece.facts.drums:
            continue
        if piece.facts.time_signature != (4, 4):
            continue
        samples = render(piece, seed=0, sample_rate=RATE, duration_s=12.0,
                         soundfont=own_soundfont(), effects=False)  # fmt: skip
        hop = 160
        power = np.sqrt(np.mean(samples.mean(0)[: 12 * RATE].reshape(-1, hop) ** 2, axis=1))
        flux = np.maximum(0, np.diff(np.log(power + 1e-3)))
        lag = 60 / piece.facts.bpm * RATE / hop
        pulse = np.correlate(flux - flux.mean(), flux - flux.mean(), "full")[len(flux) - 1 :]
        at_beat = pulse[round(lag) - 1 : round(lag) + 2].max()
        between = pulse[round(lag * 0.63) - 1 : round(lag * 0.63) + 2].max()
        assert at_beat > between and at_beat > 0.2 * pulse[0], piece.song.title
        checked += 1
        if checked == 6:
            break
    assert checked >= 4


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no soundfont"):
        make_clip(0, sample_rate=RATE, duration_s=2.0, soundfonts=[tmp_path / "none.sf2"])
    with pytest.raises(InvalidInput, match="1…60"):
        make_clip(0, sample_rate=RATE, duration_s=0.1)
    with pytest.raises(InvalidInput, match="Roman"):
        chord(Scale(0), "H7")


def test_voicings_move_little_and_stay_in_place():
    scale, before = Scale(0), None
    for roman in ("I", "vi", "IV", "V7", "I", "ii", "V", "I"):
        notes = voice(chord(scale, roman), 62, before)
        assert min(notes) >= 50 and max(notes) <= 74
        if before:
            assert abs(np.mean(notes) - np.mean(before)) < 5
        before = notes


@pytest.mark.parametrize("shape", [(2, 800), (2, 16000)])
def test_effects_keep_silence_silent_and_shapes(shape):
    silence = np.zeros(shape, np.float32)
    rng = np.random.default_rng(0)
    assert not effects.placed(silence, Voice("melody", 73, ()), RATE, rng, treat=True).any()
    noise = rng.standard_normal(shape).astype(np.float32) * 0.1
    for seed in range(6):
        made = effects.mastered(noise, RATE, np.random.default_rng(seed), room=0.6, drive=0.3)
        assert made.shape == shape and made.dtype == np.float32 and np.isfinite(made).all()
    assert np.abs(effects.levelled(noise * 50, None)).max() <= 0.971

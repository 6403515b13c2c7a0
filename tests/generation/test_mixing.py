"""Layers, sections and latent mixes, on sounds and scores whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from rag_audio.audio import midi
from rag_audio.audio.analysis import analyse
from rag_audio.audio.dsp import extract, holds_nothing
from rag_audio.domain import Audio, Channel, GenerationRequest, Key, Layer, Mix, Segment
from rag_audio.domain.controls import Mixing
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.ports import SeedMix
from rag_audio.errors import InvalidInput, LibraryError, RequestRefused
from rag_audio.generation.planning import make_plan
from rag_audio.generation.replay import request_of
from rag_audio.generation.seed_audio import seed_audio
from rag_audio.models.latents import mix_latents
from rag_audio.provenance.influence import signal_share, used_shares
from rag_audio.provenance.ledger.records import _played
from tests.generation.test_planning import INFO, RIGHTS, plan_of, reference, words
from tests.support.scores import write_score

RATE = 22_050
BAR = 4 * 60 / 96
HZ = {"a": 220.0, "b": 330.0}


def tone(segment: Segment, rate: int, *_how: object) -> Audio:
    """A steady tone for each stem: who plays when can be read off the spectrum."""
    t = np.arange(round(segment.duration_s * rate)) / rate
    hz = HZ.get(segment.stem.id, 220.0)
    return Audio(0.3 * np.sin(2 * np.pi * hz * t)[None].astype(np.float32), rate)


def clicks_and_tone(seconds: float = 10.0) -> tuple[Audio, Audio]:
    """A click on every beat at 96 bpm, and a sustained chord."""
    t = np.arange(round(seconds * RATE)) / RATE
    clicks = np.random.default_rng(0).standard_normal(t.size) * np.exp(-90 * (t % (60 / 96)))
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277.2, 329.6)) / 3
    return (Audio(0.6 * clicks[None].astype(np.float32), RATE),
            Audio(0.4 * chord[None].astype(np.float32), RATE))  # fmt: skip


def power(audio: Audio, hz: float, start_s: float, end_s: float) -> float:
    """Power of a tone in a window, by correlation."""
    piece = audio.samples[0, round(start_s * RATE) : round(end_s * RATE)]
    t = np.arange(piece.size) / RATE
    return float(np.abs(np.mean(piece * np.exp(-2j * np.pi * hz * t))) ** 2)


def arranged(text: tuple[tuple[str, int, int], ...], **fields: object):  # type: ignore[no-untyped-def]
    return plan_of(
        reference("a", bpm=96.0), reference("b", bpm=96.0),
        references=("a", "b"), arrange=text, bpm=96.0, duration_s=None, **fields,
    )  # fmt: skip


def test_who_plays_in_which_bars_is_heard_there_and_counted_by_time() -> None:
    plan = arranged((("a", 1, 3), ("b", 4, 4)))
    assert plan.duration_s == pytest.approx(4 * BAR)
    assert [(p.start_s, p.end_s) for p in plan.seed_parts] == [
        (0.0, pytest.approx(3 * BAR)), (pytest.approx(3 * BAR), pytest.approx(4 * BAR)),
    ]  # fmt: skip
    assert [p.weight for p in plan.seed_parts] == pytest.approx([0.75, 0.25])
    seed = seed_audio(plan, tone, RATE, 1)
    assert seed is not None
    line, beat = 3 * BAR, 60 / 96
    own, other = HZ["a"], HZ["b"]
    assert power(seed, own, 0.5, line - 0.1) > 1e4 * power(seed, other, 0.5, line - 0.1)
    # What goes rings on for a beat under what comes; then it is gone.
    assert power(seed, own, line, line + beat / 2) > 0.1 * power(seed, other, line, line + beat / 2)
    assert power(seed, own, line + beat, line + BAR) < 1e-4 * power(
        seed, other, line + beat, line + BAR
    )
    pieces = [seed.samples[0, round(x * RATE) :][: round(beat * RATE)]
              for x in (line - beat, line + beat)]  # fmt: skip
    level = [float(np.sqrt(np.mean(piece**2))) for piece in pieces]
    assert level[0] == pytest.approx(level[1], rel=0.05)
    assert np.abs(np.diff(seed.samples[0])).max() < 0.1  # no click at the seam


def test_the_shares_follow_the_sections_and_the_record_says_who_played_when() -> None:
    plan = arranged((("a", 1, 3), ("b", 4, 4)), strength=0.4)
    shares, rest = used_shares(plan)
    kept = signal_share(0.4)
    assert shares[0][Channel.INIT] == pytest.approx(0.75 * kept)
    assert shares[1][Channel.INIT] == pytest.approx(0.25 * kept)
    assert sum(s[Channel.INIT] for s in shares.values()) + rest[Channel.INIT] == pytest.approx(1)
    (late,) = _played(plan, 1)
    assert (late.layer, late.weight) == ("", 0.25)
    assert (late.start_s, late.end_s) == (pytest.approx(3 * BAR), pytest.approx(4 * BAR))
    assert _played(plan_of(reference("a")), 0) == ()


def test_a_stem_that_comes_back_has_a_part_for_each_time() -> None:
    plan = arranged((("a", 1, 1), ("b", 2, 2), ("a", 3, 4)))
    assert [plan.references[p.reference].stem.id for p in plan.seed_parts] == ["a", "a", "b"]
    shares, _ = used_shares(plan)
    kept = signal_share(plan.strength)
    assert shares[0][Channel.INIT] == pytest.approx(0.75 * kept)


def test_the_energy_of_a_section_is_its_weight() -> None:
    plan = arranged((("a", 1, 4), ("b", 1, 4)), weights=(3.0, 1.0))
    seed = seed_audio(plan, tone, RATE, 1)
    assert seed is not None
    ratio = power(seed, HZ["a"], 0, 4 * BAR) / power(seed, HZ["b"], 0, 4 * BAR)
    assert ratio == pytest.approx(3.0, rel=0.12)  # equal loudness, not equal power, is weighted


@pytest.mark.parametrize(
    ("sections", "fields", "said"),
    [
        ((("a", 1, 2), ("b", 4, 5)), {}, "no stem plays in bar 3"),
        ((("a", 2, 4), ("b", 2, 4)), {}, "no stem plays in bar 1"),
        ((("a", 1, 2), ("b", 3, 4)), {"bars": 8}, "no stem plays in bar 5"),
        ((("a", 1, 2), ("b", 9, 10)), {"bars": 4}, "behind the end"),
        ((("a", 3, 2),), {}, "not a section"),
        ((("a", 1, 2),), {"mix": Mix.LATENT}, "cannot be arranged"),
        ((("a", 1, 2),), {"strength": 1.0}, "sound is not used"),
        ((("a", 1, 2),), {"channels": frozenset({Channel.PROMPT})}, "sound is not used"),
    ],
)
def test_an_arrangement_that_cannot_be_played_is_refused(
    sections: tuple[tuple[str, int, int], ...], fields: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        arranged(sections, **fields)


def test_an_arrangement_that_is_longer_than_the_piece_says_where_it_is_cut() -> None:
    def cuts(duration_s: float | None) -> list[str]:
        plan = plan_of(
            reference("a", bpm=96.0), reference("b", bpm=96.0),
            references=("a", "b"), arrange=(("a", 1, 2), ("b", 3, 4)), bpm=96.0,
            duration_s=duration_s,
        )  # fmt: skip
        return [note for note in plan.notes if "cut" in note]

    (note,) = cuts(6.0)
    assert "4 bars, 10.0 s at 96 BPM" in note
    assert "ends after 6.0 s, in bar 3" in note
    assert cuts(10.0) == cuts(None) == []


def test_a_layer_is_that_of_the_sound_only() -> None:
    clicks, chord = clicks_and_tone()
    both = Audio(clicks.samples + chord.samples, RATE)
    drums, harmony = extract(both, Layer.DRUMS), extract(both, Layer.HARMONY)
    for hz in (220, 277.2, 329.6):
        whole = power(both, hz, 0, 10)
        assert power(drums, hz, 0, 10) < 0.03 * whole
        assert power(harmony, hz, 0, 10) > 0.7 * whole
    beat = 60 / 96
    windows = [round(n * beat * RATE) + np.arange(220) for n in range(1, 15)]
    energy = {name: sum(float(np.sum(np.diff(a.samples[0][w], 2) ** 2)) for w in windows)
              for name, a in (("both", both), ("drums", drums), ("harmony", harmony))}  # fmt: skip
    assert energy["drums"] > 0.5 * energy["both"] and energy["harmony"] < 0.1 * energy["both"]
    assert holds_nothing(extract(chord, Layer.DRUMS), chord)
    assert drums.samples.shape == both.samples.shape


def test_drums_of_one_under_the_harmony_of_another() -> None:
    clicks, chord = clicks_and_tone()
    plan = plan_of(
        reference("a", bpm=96.0, tags=("loop",), key=Key.parse("A major")),
        reference("b", bpm=96.0, tags=("loop",), key=Key.parse("A major")),
        references=("a", "b"), bpm=96.0, key=Key.parse("C major"),
        layers=((Layer.DRUMS, "a"), (Layer.HARMONY, "b")),
    )  # fmt: skip
    assert [(p.layer, p.semitones) for p in plan.seed_parts] == [
        (Layer.DRUMS, 0), (Layer.HARMONY, 3),
    ]  # fmt: skip
    silent = np.zeros_like(chord.samples)

    def load(segment: Segment, rate: int, *_how: object) -> Audio:
        other = 220 * 2 ** (4 / 12)
        t = np.arange(chord.frames) / RATE
        deep = 0.4 * np.sin(2 * np.pi * other / 2 * t)[None].astype(np.float32)
        mine = clicks.samples + deep if segment.stem.id == "a" else chord.samples
        rows = [mine, silent] if segment.stem.id == "a" else [silent, mine]
        return Audio(np.concatenate(rows), RATE)

    seed = seed_audio(plan, load, RATE, 2)
    assert seed is not None
    left, right = (Audio(seed.samples[n : n + 1], RATE) for n in range(2))
    assert power(left, 138.6, 1, 9) < 0.01 * float(np.mean(left.samples**2))
    assert analyse(right).key in Key.parse("C major").neighbours()[:2]


def test_a_layer_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidInput, match="no harmony"):
        plan_of(reference("a", tags=("drums",)), layers=((Layer.HARMONY, "a"),))
    steady = plan_of(reference("a", bpm=96.0), layers=((Layer.DRUMS, "a"),))
    with pytest.raises(LibraryError, match=r"no drums to be heard in a\.wav"):
        seed_audio(steady, tone, RATE, 1)


def test_who_may_not_be_heard_may_not_be_a_layer() -> None:
    with pytest.raises(RequestRefused, match="init_audio"):
        plan_of(reference("w", "words"), layers=((Layer.DRUMS, "w"),))


def test_the_layers_of_a_score_are_its_channels(tmp_path: Path) -> None:
    path = write_score(tmp_path / "a.mid", 92, Key(0, False))
    whole, drums, harmony = (
        midi.render(path, sample_rate=RATE, layer=layer) for layer in (None, *Layer)
    )
    frames = min(part.frames for part in (whole, drums, harmony))
    together = drums.samples[:, :frames] + harmony.samples[:, :frames]
    gain = np.vdot(together, whole.samples[:, :frames]) / np.vdot(together, together)
    assert np.abs(gain * together - whole.samples[:, :frames]).max() < 0.01  # but for the ceiling
    higher = midi.render(path, sample_rate=RATE, layer=Layer.DRUMS, semitones=5)
    assert np.array_equal(higher.samples, drums.samples)


def test_others_beside_the_named_give_words_only() -> None:
    plan = plan_of(
        reference("a", bpm=96.0), reference("b", bpm=96.0), arrange=(("a", 1, 4),), bpm=96.0,
        duration_s=None,
    )  # fmt: skip
    assert [plan.references[p.reference].stem.id for p in plan.seed_parts] == ["a"]
    assert {span.stem for span in plan.spans} >= {"a", "b"}


def test_a_plan_of_parts_comes_back_equal_and_old_ones_are_as_they_were() -> None:
    layered = arranged((("a", 1, 2), ("b", 3, 4)), layers=((Layer.HARMONY, "a"),))
    assert plan_from_json(plan_to_json(layered)) == layered
    latent = plan_of(reference("a"), reference("b"), mix=Mix.LATENT)
    assert plan_from_json(plan_to_json(latent)) == latent
    assert request_of(latent, None).mix is Mix.LATENT
    old = plan_to_json(plan_of(reference("a")))
    assert "mix" not in old and not {"layer", "start_s", "end_s"} & set(old["seed_parts"][0])
    broken = plan_to_json(layered)
    broken["seed_parts"][1]["start_s"] = 99.0
    with pytest.raises(InvalidInput, match="nowhere"):
        plan_from_json(broken)


@pytest.mark.parametrize("alike", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3)])
def test_mixed_latents_vary_as_their_parts_do(alike: float, weights: tuple[float, ...]) -> None:
    torch.manual_seed(3)
    common = torch.randn(1, 16, 400)
    parts = [alike**0.5 * common + (1 - alike) ** 0.5 * torch.randn(1, 16, 400) + 2.0
             for _ in weights]  # fmt: skip
    made = mix_latents(parts, weights)
    mean = torch.cat(parts).mean(dim=(0, 2), keepdim=True)
    wanted = sum(w * float((p - mean).square().mean()) for w, p in zip(weights, parts, strict=True))
    assert float((made - mean).square().mean()) == pytest.approx(wanted, rel=1e-5)
    plain = sum(w * p for w, p in zip(weights, parts, strict=True))
    if alike < 0.9:
        assert float((plain - mean).square().mean()) < 0.9 * wanted
    near = [float(torch.nn.functional.cosine_similarity((made - mean).flatten(),
                                                        (p - mean).flatten(), dim=0))
            for p in parts]  # fmt: skip
    assert near == sorted(near, reverse=True) or any(a == b for a, b in pairwise(weights))


def test_a_latent_mix_carries_its_parts_and_one_part_is_just_sound() -> None:
    plan = plan_of(reference("a"), reference("b"), mix=Mix.LATENT, weights=(3, 1))
    seed = seed_audio(plan, tone, RATE, 1)
    assert isinstance(seed, SeedMix)
    assert seed.weights == (0.75, 0.25) and len(seed.parts) == 2
    sound = seed_audio(replace(plan, mix=Mix.WAVEFORM), tone, RATE, 1)
    assert sound is not None and np.array_equal(sound.samples, seed.samples)
    alone = seed_audio(plan_of(reference("a"), mix=Mix.LATENT), tone, RATE, 1)
    assert alone is not None and not isinstance(alone, SeedMix)


def test_stems_may_be_named_by_different_prefixes() -> None:
    mixing = Mixing(layers=((Layer.DRUMS, "abc"),), sections=(("ab", 1, 2), ("abcd", 5, 6)))
    assert mixing.layers_of("abcdef") == (Layer.DRUMS,)
    assert mixing.sections_of("abcdef") == ((1, 2), (5, 6))
    assert mixing.layers_of("xyz") == (None,) and mixing.bars == 6
    request = GenerationRequest("p", references=("abc",), arrange=(("abc", 1, 2),))
    assert request.named == ("abc",)
    with pytest.raises(InvalidInput, match="not both"):
        GenerationRequest("p", strength=0.5, auto_strength=True)
    assert make_plan(
        GenerationRequest("p"), (), rights=RIGHTS, info=INFO, count_tokens=words, seed=1
    ).mix is Mix.WAVEFORM  # fmt: skip

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.domain import (
    Audio,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    Key,
    License,
    Reference,
    Rights,
    Segment,
    Stem,
    StemKind,
    Use,
)
from rag_audio.domain.ports import ModelInfo
from rag_audio.errors import InvalidInput, LibraryError, RequestRefused
from rag_audio.generation.percussion import is_drums
from rag_audio.generation.planning import make_plan
from rag_audio.generation.seed_audio import seed_audio
from rag_audio.generation.seed_layout import aligned

RATE = 8000
TODAY = date(2026, 6, 1)
INFO = ModelInfo(
    name="m", id="i", family="stable-audio-3", sample_rate=RATE, channels=2, max_duration_s=12.0,
    max_prompt_tokens=24, default_steps=8, default_guidance=3.0, default_strength=0.6,
    untrained=True,
)  # fmt: skip
LICENSES = {
    "l/full": License("full", "l", "Full Holder", "LicenseRef-a", frozenset(Use)),
    "l/words": License("words", "l", "Words Holder", "LicenseRef-b", frozenset({Use.PROMPT})),
    "l/sound": License("sound", "l", "Sound Holder", "LicenseRef-c", frozenset({Use.INIT_AUDIO})),
    "l/gone": License(
        "gone", "l", "Gone Holder", "LicenseRef-d", frozenset(Use), valid_until=date(2026, 5, 31)
    ),
}
RIGHTS = Rights(LICENSES, None, TODAY)


def words(text: str) -> int:
    return len(text.replace(",", " ,").split())


def reference(name: str, license: str = "full", score: float = 0.5, **fields: object) -> Reference:
    settings: dict[str, object] = {
        "bpm": 92.0,
        "bpm_confidence": 1.0,
        "key": Key.parse("A minor"),
        "key_confidence": 1.0,
        "tags": (f"{name} tag",),
        "loudness_lufs": -14.0,
        **fields,
    }
    stem = Stem(
        id=name, library="l", path=f"{name}.wav", kind=StemKind.AUDIO, license=license,
        duration_s=10.0, **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    return Reference(Segment(stem, 0.0, 10.0), score, 1)


def plan_of(*references: Reference, **fields: object) -> ConditioningPlan:
    request = GenerationRequest(**{"prompt": "slow and warm", "duration_s": 10.0, **fields})  # type: ignore[arg-type]
    return make_plan(request, references, rights=RIGHTS, info=INFO, count_tokens=words, seed=1)


def tone(segment: Segment, rate: int, *_how: object) -> Audio:
    t = np.arange(round(segment.duration_s * rate)) / rate
    return Audio(np.sin(2 * np.pi * 220 * t)[None].astype(np.float32) * 0.3, rate)


def test_the_users_words_come_first_and_whole_and_every_span_says_whose_it_is() -> None:
    plan = plan_of(reference("a"), reference("b", tags=("b tag", "brass")), bpm=90)
    assert plan.enriched_prompt.startswith("slow and warm, 90 BPM")
    for span in plan.spans:
        assert plan.enriched_prompt[span.start : span.end] == span.text
    assert sum(span.tokens for span in plan.spans) == words(plan.enriched_prompt)
    assert {span.stem for span in plan.spans} == {None, "a", "b"}


def test_the_tempo_of_the_request_is_the_users_and_that_of_a_stem_the_stems() -> None:
    asked = {s.text: s.stem for s in plan_of(reference("a"), bpm=90, key=Key(0, False)).spans}
    assert asked["90 BPM"] is None and asked["C major"] is None
    taken = {s.text: s.stem for s in plan_of(reference("a")).spans}
    assert taken["92 BPM"] == "a" and taken["A minor"] == "a"


def test_a_phrase_that_is_not_clean_is_left_out_and_said() -> None:
    plan = make_plan(
        GenerationRequest("slow"),
        (reference("a", tags=("like Somebody", "soft")),),
        rights=RIGHTS,
        info=INFO,
        count_tokens=words,
        seed=1,
        is_clean=lambda text: "somebody" not in text.lower(),
    )
    assert "somebody" not in plan.enriched_prompt.lower()
    assert "soft" in plan.enriched_prompt
    told = "left out of the prompt, it reads like a name that may not be asked for"
    assert f"{told}: 'like somebody'" in plan.notes


def test_words_that_read_like_a_name_beside_others_are_left_out_and_the_rest_stays() -> None:
    plan = make_plan(
        GenerationRequest("slow dance", bpm=100),
        (reference("a", tags=("ocarina", "(finger)", "soft")),),
        rights=RIGHTS,
        info=INFO,
        count_tokens=words,
        seed=1,
        is_clean=lambda text: not ("dance" in text and "(finger)" in text),
    )
    assert "(finger)" not in plan.enriched_prompt
    assert "ocarina" in plan.enriched_prompt and "100 BPM" in plan.enriched_prompt
    told = "left out of the prompt, it reads like a name that may not be asked for"
    assert f"{told}: '(finger)'" in plan.notes


def test_enrichment_stays_within_the_models_window() -> None:
    many = [reference(f"s{i}", tags=tuple(f"word{i}x{j} y" for j in range(9))) for i in range(6)]
    plan = plan_of(*many, prompt="one two three four five six seven eight nine ten")
    assert words(plan.enriched_prompt) <= INFO.max_prompt_tokens
    with pytest.raises(InvalidInput, match="24"):
        plan_of(prompt="word " * 30)


def test_each_use_opens_its_own_channel_only() -> None:
    plan = plan_of(reference("w", "words"), reference("s", "sound"))
    assert [plan.references[part.reference].stem.id for part in plan.seed_parts] == ["s"]
    assert {span.stem for span in plan.spans} == {None, "w"}
    assert {license.id for license in plan.licenses} == {"words", "sound"}


def test_an_ended_license_drops_a_found_reference_and_refuses_a_named_one() -> None:
    plan = plan_of(reference("g", "gone"), reference("a"))
    assert [r.stem.id for r in plan.references] == ["a"]
    assert any("expired" in note for note in plan.notes)
    with pytest.raises(RequestRefused, match="expired"):
        plan_of(reference("g", "gone"), references=("g",))


def test_without_references_it_is_text_to_audio_and_says_so() -> None:
    plan = plan_of()
    assert plan.strength == 1.0
    assert plan.seed_parts == () and plan.references == ()
    assert "no licensed reference" in plan.notes[0]


def test_a_closed_channel_stays_closed() -> None:
    only_words = plan_of(reference("a"), channels=frozenset({Channel.PROMPT}))
    assert only_words.seed_parts == () and only_words.strength == 1.0
    only_sound = plan_of(reference("a"), channels=frozenset({Channel.INIT}))
    assert only_sound.enriched_prompt == "slow and warm"
    assert len(only_sound.seed_parts) == 1


@pytest.mark.parametrize(
    ("source", "target", "ratio"),
    [(92, 92, 1.0), (92, 184, 1.0), (120, 90, 4 / 3), (70, 141, 0.993)],
)
def test_half_and_double_time_come_before_stretching(
    source: float, target: float, ratio: float
) -> None:
    (part,) = plan_of(reference("a", bpm=source), bpm=target).seed_parts
    assert part.time_ratio == pytest.approx(ratio, abs=1e-3)


@given(source=st.floats(30, 300), target=st.floats(30, 300))
def test_stretching_stays_musical(source: float, target: float) -> None:
    (part,) = plan_of(reference("a", bpm=source), bpm=target).seed_parts
    assert 0.707 <= part.time_ratio <= 1.4143
    octaves = np.log2(source / part.time_ratio / target)
    assert octaves == pytest.approx(round(octaves), abs=1e-9)


def test_harmony_is_transposed_and_drums_never_are() -> None:
    drums = reference("d", tags=("drums",), key=Key.parse("C major"))
    keys = reference("k", key=Key.parse("C major"))
    band = reference("b", key=Key.parse("C major"), instruments=("Drums", "Electric Piano"))
    plan = plan_of(drums, keys, band, key=Key.parse("D major"))
    assert [part.semitones for part in plan.seed_parts] == [0, 2, 2]
    assert is_drums(drums.stem) and not is_drums(keys.stem) and not is_drums(band.stem)


def test_a_loop_is_whole_bars_and_reaches_the_end() -> None:
    plan = plan_of(reference("a", bpm=100.0), duration_s=12.0)
    (part,) = plan.seed_parts
    bar = 4 * 60 / 100
    assert part.loop_s == pytest.approx(4 * bar)
    seed = seed_audio(plan, tone, RATE, 2)
    assert seed is not None and seed.samples.shape == (2, 12 * RATE)
    blocks = seed.samples.reshape(2, -1, RATE // 4)
    assert np.sqrt((blocks**2).mean(axis=2)).min() > 0.02  # no silence anywhere


def test_a_segment_starts_on_its_bar_line_where_that_is_known() -> None:
    stem = reference("a", bpm=120.0, downbeat_s=0.5).stem
    found = aligned(Segment(stem, 5.0, 10.0), None)
    assert found.start_s == pytest.approx(6.5)
    assert found.start_s + found.duration_s == pytest.approx(15.0)
    unknown = reference("a", bpm=120.0).stem
    assert aligned(Segment(unknown, 5.0, 10.0), None).start_s == 5.0


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=5))
def test_weights_are_shares_of_energy(weights: list[float]) -> None:
    references = [reference(f"s{i}") for i in range(len(weights))]
    plan = plan_of(*references, weights=tuple(weights))
    shares = [part.weight for part in plan.seed_parts]
    assert sum(shares) == pytest.approx(1.0)
    assert shares == pytest.approx([w / sum(weights) for w in weights])


def test_the_mix_has_energy_by_weight() -> None:
    rng = np.random.default_rng(0)
    voices = {
        n: rng.standard_normal(10 * RATE).astype(np.float32) * s
        for n, s in (("a", 0.01), ("b", 0.3))
    }

    def load(segment: Segment, rate: int, *_how: object) -> Audio:
        return Audio(voices[segment.stem.id][None], rate)

    plan = plan_of(
        *(reference(n, loudness_lufs=None, downbeat_s=0.0) for n in voices), weights=(3, 1)
    )
    seed = seed_audio(plan, load, RATE, 1)
    assert seed is not None
    heard = {n: np.corrcoef(seed.samples[0], v)[0, 1] ** 2 for n, v in voices.items()}
    assert heard["a"] / heard["b"] == pytest.approx(3.0, rel=0.05)
    assert np.sqrt((seed.samples**2).mean()) == pytest.approx(10 ** (-18 / 20), rel=0.01)


def test_a_zero_weight_takes_a_reference_out_of_the_sound() -> None:
    plan = plan_of(reference("a"), reference("b"), weights=(1, 0))
    assert [plan.references[p.reference].stem.id for p in plan.seed_parts] == ["a"]


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(InvalidInput, match="1 weights for 2 references"):
        plan_of(reference("a"), reference("b"), weights=(1.0,))
    named, found = reference("a"), reference("b")
    with pytest.raises(InvalidInput, match="3 weights for 2 references, 1 of them named"):
        plan_of(named, found, references=(named.stem.id,), k=2, weights=(1.0, 2.0, 3.0))


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=4), k=st.integers(1, 6))
def test_weights_of_named_references_hold_beside_those_that_are_found(
    weights: list[float], k: int
) -> None:
    references = [reference(f"s{i}") for i in range(max(k, len(weights)))]
    named = tuple(one.stem.id for one in references[: len(weights)])
    plan = plan_of(*references, references=named, k=k, weights=tuple(weights))
    meant = weights + [1.0] * (len(references) - len(weights))
    shares = [part.weight for part in plan.seed_parts]
    assert shares == pytest.approx([w / sum(meant) for w in meant])


def test_the_seed_of_a_piece_longer_than_the_model_s_window_is_as_long_as_the_piece() -> None:
    seed = seed_audio(plan_of(reference("a"), duration_s=30.0), tone, RATE, 2)
    assert seed is not None
    assert seed.duration_s == pytest.approx(30.0, abs=0.01)


def test_silence_is_not_used_in_silence() -> None:
    plan = plan_of(reference("a"))
    with pytest.raises(LibraryError, match="silent"):
        seed_audio(plan, lambda s, r, *_: Audio(np.zeros((1, 10 * r), np.float32), r), RATE, 2)


def test_a_stem_of_opposite_polarity_seeds_a_model_of_one_channel() -> None:
    def opposite(segment: Segment, rate: int, *_how: object) -> Audio:
        plain = tone(segment, rate).samples
        return Audio(np.concatenate([plain, -plain]), rate)

    plan = plan_of(reference("a"))
    plain, seed = (seed_audio(plan, load, RATE, 1) for load in (tone, opposite))
    assert plain is not None and seed is not None
    assert abs(np.corrcoef(seed.samples[0], plain.samples[0])[0, 1]) > 0.999


def test_the_same_plan_gives_the_same_seed_audio() -> None:
    plan = plan_of(reference("a", bpm=100.0), bpm=92, key=Key.parse("C minor"))
    first, second = (seed_audio(plan, tone, RATE, 2) for _ in range(2))
    assert first is not None and second is not None
    assert np.array_equal(first.samples, second.samples)


def auto(*references: Reference, **fields: object) -> ConditioningPlan:
    return plan_of(*references, auto_strength=True, **fields)


def test_an_automatic_strength_leaves_what_matches_less_and_says_why() -> None:
    strengths = [auto(reference("a", score=score)).strength for score in (1.0, 0.7, 0.2)]
    assert strengths == sorted(strengths) and strengths[0] < INFO.default_strength
    plan = auto(reference("a", score=0.7))
    assert any(f"strength {plan.strength:g}" in note and "0.70" in note for note in plan.notes)
    named = auto(reference("a", score=0.2), references=("a",))
    assert named.strength == strengths[0]
    heavy = auto(reference("a", score=1.0), reference("b", score=0.2), weights=(9, 1))
    assert strengths[0] < heavy.strength < strengths[2]


def test_an_automatic_strength_minds_the_strictest_license() -> None:
    found = {}
    for allowed in (1.0, 0.5, 0.1):
        licenses = {
            **LICENSES,
            "l/strict": replace(LICENSES["l/full"], id="strict", max_similarity=allowed),
        }
        plan = make_plan(
            GenerationRequest("slow", auto_strength=True, duration_s=10.0),
            (reference("a", score=1.0), reference("s", "strict", score=1.0)),
            rights=Rights(licenses, None, TODAY), info=INFO, count_tokens=words, seed=1,
        )  # fmt: skip
        found[allowed] = plan.strength
        assert any("strict" in note for note in plan.notes) == (allowed < 1)
    assert found[1.0] < found[0.5] < found[0.1] < 1.0


def test_an_automatic_strength_without_sound_is_none() -> None:
    assert auto().strength == 1.0
    assert auto(reference("a"), channels=frozenset({Channel.PROMPT})).strength == 1.0

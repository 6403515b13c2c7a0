from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.domain import Audio, Channel, ConditioningPlan, PromptSpan, SeedPart
from rag_audio.domain.ports import DiffusionInput, ModelInfo, Progress, StopAsked
from rag_audio.errors import InvalidInput
from rag_audio.provenance import influence
from rag_audio.provenance.counterfactual import (
    CausalInfluence,
    measure,
    noise_floor,
    reduced,
    shares_above,
    spectral_distance,
)
from rag_audio.provenance.influence import signal_share, used_shares
from tests.provenance.builders import plan, reference
from tests.support.fakes import FakeEmbedder


def test_shares_are_tokens_of_the_prompt_and_energy_of_the_start() -> None:
    shares, model = used_shares(plan(strength=0.5))
    assert shares[0] == {Channel.PROMPT: 0.2, Channel.INIT: 0.375}
    assert shares[1] == {Channel.PROMPT: 0.1, Channel.INIT: 0.125}
    assert model == {Channel.PROMPT: pytest.approx(0.7), Channel.INIT: 0.5}


@pytest.mark.parametrize(
    ("strength", "share"), [(1.0, 0.0), (0.5, 0.5), (0.8, 0.04 / 0.68), (1e-9, 1.0)]
)
def test_the_signals_share_follows_the_mix_of_signal_and_noise(
    strength: float, share: float
) -> None:
    assert signal_share(strength) == pytest.approx(share)


@pytest.mark.parametrize("closed", list(Channel))
def test_a_closed_channel_belongs_to_the_model(closed: Channel) -> None:
    shares, model = used_shares(plan(channels=frozenset(Channel) - {closed}))
    assert model[closed] == 1
    assert all(share[closed] == 0 for share in shares.values())


def test_at_full_strength_no_seed_audio_is_left() -> None:
    shares, model = used_shares(plan(strength=1.0))
    assert model[Channel.INIT] == 1
    assert all(share[Channel.INIT] == 0 for share in shares.values())


def test_without_references_everything_is_the_models() -> None:
    shares, model = used_shares(plan(references=(), seed_parts=(), spans=()))
    assert shares == {}
    assert model == {Channel.PROMPT: 1.0, Channel.INIT: 1.0}


def test_two_windows_of_one_stem_share_its_words() -> None:
    twice = plan(references=(reference("break"), reference("break")))
    shares, _ = used_shares(twice)
    assert shares[0][Channel.PROMPT] == shares[1][Channel.PROMPT] == pytest.approx(0.1)


def test_weights_that_do_not_sum_to_one_are_taken_as_a_ratio() -> None:
    parts = tuple(replace(part, weight=part.weight * 8) for part in plan().seed_parts)
    assert used_shares(plan(seed_parts=parts)) == used_shares(plan())


@given(
    st.lists(st.floats(0, 10), min_size=2, max_size=2),
    st.lists(st.integers(0, 40), min_size=3, max_size=3),
    st.floats(0.001, 1.0),
    st.sets(st.sampled_from(list(Channel)), min_size=1),
)
def test_every_channel_sums_to_one(
    weights: list[float], tokens: list[int], strength: float, channels: set[Channel]
) -> None:
    base = plan()
    spans = tuple(
        PromptSpan(span.start, span.end, span.text, count, span.stem)
        for span, count in zip(base.spans, tokens, strict=True)
    )
    parts = tuple(SeedPart(i, weight, 1.0, 0, 0.0, 0.0) for i, weight in enumerate(weights))
    shares, model = used_shares(
        plan(spans=spans, seed_parts=parts, strength=strength, channels=frozenset(channels))
    )
    for channel in Channel:
        total = model[channel] + sum(share[channel] for share in shares.values())
        assert total == pytest.approx(1.0)
        assert 0 <= model[channel] <= 1


GAMES = st.integers(1, 5).flatmap(
    lambda k: st.lists(st.floats(-10, 10), min_size=2**k, max_size=2**k).map(np.array)
)
everyway = pytest.mark.parametrize("divide", ["exact", "estimate"])


def divided(values: np.ndarray, how: str) -> np.ndarray:
    players = len(values).bit_length() - 1
    if how == "exact":
        return influence.exact(values)
    chosen = {s: values[s] for s in influence.cheap_coalitions(players)}
    return influence.estimate(chosen, players)


def permuted(values: np.ndarray, i: int, j: int) -> np.ndarray:
    """The game with players i and j in each other's place."""
    swap = [
        s & ~(1 << i | 1 << j) | (s >> i & 1) << j | (s >> j & 1) << i for s in range(len(values))
    ]
    return values[swap]


@everyway
@given(values=GAMES)
def test_shares_sum_to_what_all_did_together(divide: str, values: np.ndarray) -> None:
    assert divided(values, divide).sum() == pytest.approx(values[-1] - values[0], abs=1e-8)


@everyway
@given(values=GAMES)
def test_who_stands_where_does_not_matter(divide: str, values: np.ndarray) -> None:
    last = len(values).bit_length() - 2
    one, other = divided(values, divide), divided(permuted(values, 0, last), divide)
    assert one[0] == pytest.approx(other[last], abs=1e-8)


@given(values=GAMES, player=st.integers(0, 4))
def test_who_changes_nothing_gets_nothing(values: np.ndarray, player: int) -> None:
    player %= len(values).bit_length() - 1
    without = [s & ~(1 << player) for s in range(len(values))]
    assert influence.exact(values[without])[player] == pytest.approx(0, abs=1e-9)


@everyway
@given(values=GAMES)
def test_exact_duplicates_share_equally(divide: str, values: np.ndarray) -> None:
    """The first player of a game comes twice: one of the two does all that both do."""
    old_bits = [(s >> 1) & ~1 | int(s & 3 > 0) for s in range(2 * len(values))]
    shares = divided(values[old_bits], divide)
    assert shares[0] == pytest.approx(shares[1], abs=1e-8)


@given(weights=st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_an_additive_game_is_read_exactly_from_the_cheap_coalitions(weights: list[float]) -> None:
    members = np.arange(1 << len(weights))[:, None] >> np.arange(len(weights)) & 1
    values = members @ np.array(weights)
    assert divided(values, "estimate") == pytest.approx(np.array(weights), abs=1e-7)


@given(values=GAMES)
def test_with_every_coalition_the_estimate_is_exact(values: np.ndarray) -> None:
    players = len(values).bit_length() - 1
    full = influence.estimate(dict(enumerate(values)), players)
    assert full == pytest.approx(influence.exact(values), abs=1e-7)


@pytest.mark.parametrize("players", range(1, 7))
def test_a_budget_buys_different_coalitions_in_pairs(players: int) -> None:
    bought = influence.cheap_coalitions(players, budget=40)
    assert len(set(bought)) == len(bought) <= max(40, 2 * players + 2)
    full = (1 << players) - 1
    assert all(full & ~s in bought for s in bought)
    assert len(influence.cheap_coalitions(players, budget=1 << players)) == 1 << players


def test_two_sources_that_do_the_same_share_the_effect() -> None:
    assert list(influence.exact(np.array([0.0, 1.0, 1.0, 1.0]))) == [0.5, 0.5]


TONES = {"break": 220.0, "keys": 660.0, "third": 1500.0, "quiet": 0.0}
RATE = 16_000


def tone(hz: float, seconds: float = 5.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def mix_of(made: ConditioningPlan) -> Audio | None:
    """The seed mix: one tone a stem, and nothing of the stem called Quiet."""
    if not made.seed_parts:
        return None
    samples = np.zeros(round(5.0 * RATE))
    for part in made.seed_parts:
        name = made.references[part.reference].stem.title.lower()
        samples += np.sqrt(part.weight) * (tone(TONES[name]) if TONES[name] else 0.0)
    return Audio((0.3 * samples)[None].astype(np.float32), RATE)


class Follower:
    """Gives back its seed audio, plus a click track where the prompt says piano, plus some noise.

    Args:
        noise: level of what depends on the seed and the mix: chance.
    """

    info = ModelInfo("fake", "0", "stable-audio", RATE, 1, 60.0, 64, 4, 1.0, 0.4, True)

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise
        self.batches: list[DiffusionInput] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        self.batches.append(batch)
        base = np.full((1, round(5.0 * RATE)), 1e-4, np.float32)
        if batch.init_audio is not None:
            base = base + batch.init_audio.samples
        if "piano" in batch.prompt:
            base = base + 0.3 * (np.arange(base.shape[1]) % 2000 < 40)
        takes = []
        for seed in batch.seeds:
            state = [seed, len(batch.prompt), round(1e6 * float(np.abs(base).sum())) % 2**31]
            chance = np.random.default_rng(state).standard_normal(base.shape) * self.noise
            takes.append(Audio((base + chance).astype(np.float32), RATE))
        return tuple(takes)


def sources_plan(*weights: tuple[str, float], words: str | None = None) -> ConditioningPlan:
    references = tuple(reference(name) for name, _ in weights)
    spans = [PromptSpan(0, 4, "slow", 1, None)]
    if words is not None:
        owner = next(r.stem.id for r in references if r.stem.title.lower() == words)
        spans.append(PromptSpan(4, 11, "piano", 1, owner))
    return plan(
        references=references,
        spans=tuple(spans),
        enriched_prompt=", ".join(span.text for span in spans),
        seed_parts=tuple(
            SeedPart(i, weight, 1.0, 0, 0.0, 0.0) for i, (_, weight) in enumerate(weights)
        ),
        duration_s=5.0,
    )


def influence_of(made: ConditioningPlan, noise: float = 0.0, **more: object) -> CausalInfluence:
    return measure(
        made,
        made.seed,
        generator=Follower(noise),
        embedder=FakeEmbedder(),
        make_seed=mix_of,
        **{"channels": False, **more},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_a_dominant_source_comes_first_and_a_dummy_gets_nothing(method: str) -> None:
    made = sources_plan(("break", 0.1), ("keys", 0.9), ("quiet", 0.0))
    found = influence_of(made, method=method)
    shares = [source.share for source in found.sources]
    assert shares[2] is None and found.sources[2].value == pytest.approx(0, abs=1e-6)
    assert shares[1] is not None and shares[1] == max(share or 0 for share in shares)
    assert found.total == pytest.approx(sum(source.value for source in found.sources))


@pytest.mark.parametrize("method", ["fast", "exact"])
@pytest.mark.parametrize("dominant", ["break", "keys", "third"])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_who_gives_nine_tenths_of_the_energy_comes_first(
    method: str, dominant: str, noise: float
) -> None:
    """Also where chance puts something faint into every band."""
    weights = [(name, 0.9 if name == dominant else 0.05) for name in ("break", "keys", "third")]
    found = influence_of(sources_plan(*weights), noise=noise, method=method)
    first = max(found.sources, key=lambda source: source.value)
    assert weights[first.reference][0] == dominant
    assert first.share is not None and first.share > 0.5


def test_the_spectral_distance_weighs_a_difference_by_its_energy() -> None:
    loud, faint = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.1, 0.0])
    assert spectral_distance(loud, loud) == 0
    assert spectral_distance(loud, faint) == pytest.approx(1)
    assert spectral_distance(loud + faint, loud) == pytest.approx(0.01 / 2.01)
    assert spectral_distance(loud + faint, faint) == pytest.approx(1 / 1.02)
    assert spectral_distance(0 * loud, 0 * loud) == 0


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_two_windows_of_the_same_sound_share_equally(method: str) -> None:
    made = sources_plan(("break", 0.4), ("break", 0.4), ("third", 0.2))
    first, second, _ = influence_of(made, method=method).sources
    assert first.value == pytest.approx(second.value, abs=1e-9)
    assert first.value > 0


def test_channels_are_measured_apart() -> None:
    made = sources_plan(("break", 0.9), ("keys", 0.1), words="keys")
    first, second = influence_of(made, channels=True).sources
    assert first.by_channel[Channel.PROMPT] == pytest.approx(0, abs=1e-9)
    assert second.by_channel[Channel.PROMPT] > 0.01
    assert first.by_channel[Channel.INIT] > second.by_channel[Channel.INIT]
    assert len(first.by_segment) == 2
    assert np.mean(first.by_segment) == pytest.approx(first.value)
    assert set(first.by_measure) == {"spectral", "log_mel", "embedding"}
    assert first.by_measure["spectral"] == pytest.approx(first.value)


def test_below_the_noise_floor_there_is_no_share() -> None:
    values = np.array([[0.6, 0.5, 0.7], [0.03, -0.02, 0.01], [0.2, 0.2, 0.2], [-0.1, 0.1, 0.0]])
    floor = noise_floor(values)
    assert 0.03 < floor < 0.2
    shares = shares_above(values[:, 0], floor)
    assert shares == [pytest.approx(0.6 / 0.83), None, pytest.approx(0.2 / 0.83), None]
    assert noise_floor(values[:, :1]) == noise_floor(values[:0]) == 0.0


def test_chance_raises_the_floor() -> None:
    made = sources_plan(("break", 0.5), ("keys", 0.5))
    assert influence_of(made).noise_floor == pytest.approx(0.0, abs=1e-9)
    assert influence_of(made, noise=0.02).noise_floor > 1e-5


def test_equal_runs_are_made_once_and_seeds_share_a_batch() -> None:
    generator = Follower()
    made = sources_plan(("break", 0.5), ("keys", 0.5), ("quiet", 0.0))
    found = measure(
        made, 7, generator=generator, embedder=FakeEmbedder(), make_seed=mix_of,
        method="exact", channels=False,
    )  # fmt: skip
    # Of eight coalitions, those with and without the unused source are the same run.
    assert len(generator.batches) == 4
    assert found.runs == 12 and len(found.seeds) == 3 and found.seeds[0] == 7
    assert all(batch.seeds == found.seeds for batch in generator.batches)


def test_without_sources_there_is_nothing_to_divide() -> None:
    found = influence_of(sources_plan())
    assert (found.sources, found.total, found.noise_floor) == ((), 0.0, 0.0)


def test_more_than_six_sources_cannot_be_exact() -> None:
    made = sources_plan(*[("break", 1 / 7)] * 7)
    with pytest.raises(InvalidInput, match="128 runs"):
        influence_of(made, method="exact")


def test_the_document_is_json_and_says_how_it_was_measured() -> None:
    document = influence_of(sources_plan(("break", 1.0))).to_json()
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["method"] == "fast" and again["sources"][0]["share"] == 1.0
    assert again["seeds"][0] == "7"


@given(coalition=st.integers(0, 3), channels=st.sets(st.sampled_from(list(Channel)), min_size=1))
def test_a_reduced_plan_has_only_what_its_sources_gave(
    coalition: int, channels: set[Channel]
) -> None:
    whole = plan()
    made = reduced(whole, coalition, frozenset(channels))
    inside = {i for i in (0, 1) if coalition >> i & 1}
    stems = {whole.references[i].stem.id for i in inside} | {None}
    if Channel.PROMPT in channels:
        assert {span.stem for span in made.spans} == stems
        assert made.enriched_prompt.startswith("slow dusty beat")
    else:
        assert made.enriched_prompt == whole.enriched_prompt
    if Channel.INIT in channels:
        assert {part.reference for part in made.seed_parts} == inside
        assert sum(part.weight for part in made.seed_parts) == pytest.approx(float(bool(inside)))
        assert made.strength == (whole.strength if inside else 1.0)
    else:
        assert made.seed_parts == whole.seed_parts

"""What every :class:`rag_audio.domain.ports.Generator` must do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from rag_audio.domain import Audio
from rag_audio.domain.ports import DiffusionInput, Generator, Member, Painting
from rag_audio.errors import Cancelled, InvalidInput, RagAudioError
from rag_audio.testing.sounds import difference, refused, tune

ASKED = DiffusionInput("warm piano with soft drums", "", 0.9, 4, 1.0, (11,))
HOLE = (0.3, 0.6)
TOLERANCE = 1e-3
"""Of full scale: how far samples made together may lie from those made alone."""


def with_reference(strength: float, **changes: Any) -> DiffusionInput:
    """A request with seed audio."""
    return replace(replace(ASKED, strength=strength, init_audio=tune(1.5)), **changes)


def with_hole(*regions: tuple[float, float], **changes: Any) -> DiffusionInput:
    """A request that keeps what lies outside the regions."""
    return replace(ASKED, painting=Painting(tune(0.9), regions or (HOLE,)), **changes)


def pcm(audio: Audio) -> bytes:
    """Its samples."""
    return audio.samples.tobytes()


class GeneratorContract:
    """Subclass it as ``Test…`` and give :meth:`make`."""

    generator: ClassVar[Generator]

    def make(self) -> Generator:
        """The generator; it is made once for all tests of the class."""
        raise NotImplementedError

    @classmethod
    def setup_class(cls) -> None:
        """Makes the generator; pytest calls this."""
        cls.generator = cls().make()

    def one(self, request: DiffusionInput) -> Audio:
        """The output of a request of one seed."""
        (audio,) = self.generator.generate(request)
        return audio

    def test_the_model_says_what_it_is(self) -> None:
        info = self.generator.info
        assert info.name
        assert len(info.id) == 64 and set(info.id) <= set("0123456789abcdef")
        assert isinstance(info.untrained, bool)
        assert info.max_duration_s > 1
        assert info.default_steps >= 1
        assert 0 < info.default_strength <= 1
        assert info.max_prompt_tokens > 8

    def test_the_output_has_exactly_the_wanted_length_rate_and_channels(self) -> None:
        info = self.generator.info
        for duration_s in (0.5, 0.77777, 1.0, info.max_duration_s):
            audio = self.one(replace(ASKED, duration_s=duration_s, steps=1))
            assert audio.frames == round(duration_s * info.sample_rate)
            assert (audio.sample_rate, audio.channels) == (info.sample_rate, info.channels)
            assert np.isfinite(audio.samples).all()
            assert audio.samples.std() > 1e-4

    def test_the_same_request_gives_the_same_bytes(self) -> None:
        request = with_reference(0.5, seeds=(3, 2**63 - 1))
        first, second = self.generator.generate(request), self.generator.generate(request)
        assert [pcm(a) for a in first] == [pcm(a) for a in second]

    def test_seeds_differ_and_an_item_depends_only_on_its_own(self) -> None:
        for request in (ASKED, with_reference(0.6)):
            one, two = self.generator.generate(replace(request, seeds=(1, 2)))
            alone = self.one(replace(request, seeds=(2,)))
            assert difference(one, two) > 1e-3
            np.testing.assert_allclose(alone.samples, two.samples, atol=2e-4)

    def test_at_strength_1_the_output_is_bit_equal_to_text_to_audio(self) -> None:
        plain = self.generator.generate(replace(ASKED, seeds=(1, 2)))
        seeded = self.generator.generate(with_reference(1.0, seeds=(1, 2)))
        assert [pcm(a) for a in plain] == [pcm(a) for a in seeded]

    def test_lower_strength_stays_nearer_to_the_reference(self) -> None:
        reference = self.one(with_reference(1e-4))
        gaps = [difference(reference, self.one(with_reference(s))) for s in (0.02, 0.1, 0.4)]
        assert gaps == sorted(gaps)
        assert gaps[0] < 0.3 * difference(reference, self.one(ASKED))

    def test_the_seed_audio_may_have_any_rate_and_channel_count(self) -> None:
        mono = self.one(with_reference(0.3, init_audio=tune(1.5, channels=1)))
        doubled = Audio(np.repeat(tune(1.5, channels=1).samples, 2, axis=0), 16_000)
        stereo = self.one(with_reference(0.3, init_audio=doubled))
        np.testing.assert_allclose(mono.samples, stereo.samples, atol=1e-5)
        for rate, channels in ((11_025, 1), (44_100, 2), (48_000, 6)):
            odd = tune(0.9, sample_rate=rate, channels=channels)
            assert np.isfinite(self.one(with_reference(0.3, init_audio=odd)).samples).all()

    def test_silence_is_a_valid_reference(self) -> None:
        silence = Audio(np.zeros((2, 24_000), np.float32), 16_000)
        assert np.isfinite(self.one(with_reference(0.5, init_audio=silence)).samples).all()

    def test_prompt_guidance_and_negative_prompt_change_the_output(self) -> None:
        outputs = [
            self.one(replace(ASKED, **change))
            for change in (
                {},
                {"prompt": "fast techno"},
                {"guidance": 6.0},
                {"guidance": 6.0, "negative_prompt": "drums"},
            )
        ]
        for i, first in enumerate(outputs):
            for second in outputs[:i]:
                assert difference(first, second) > 1e-5

    def test_guidance_and_negative_prompt_work_with_a_reference(self) -> None:
        plain = self.one(with_reference(0.6))
        guided = self.one(with_reference(0.6, guidance=6.0))
        negative = self.one(with_reference(0.6, guidance=6.0, negative_prompt="flute and organ"))
        assert difference(plain, guided) > 1e-5
        assert difference(guided, negative) > 1e-5

    def test_a_painting_is_the_same_again_and_another_with_another_seed(self) -> None:
        one, two = (self.one(with_hole()) for _ in range(2))
        assert pcm(one) == pcm(two)
        other = self.one(with_hole(seeds=(12,)))
        assert difference(one, other) > 1e-3
        middle = slice(round(0.4 * one.sample_rate), round(0.5 * one.sample_rate))
        assert np.abs(one.samples[:, middle] - other.samples[:, middle]).max() > 1e-3

    def test_regions_that_are_none_are_refused(self) -> None:
        painting = Painting(tune(0.9), ())
        for regions in ((), ((0.5, 0.3),), ((0.5, 1.3),), ((0.1, 0.4), (0.3, 0.5))):
            with refused(InvalidInput, f"the regions {regions}"):
                self.generator.generate(replace(ASKED, painting=replace(painting, regions=regions)))

    def test_progress_counts_the_steps(self) -> None:
        seen: list[tuple[int, int]] = []
        self.generator.generate(
            with_reference(0.5, seeds=(1, 2)),
            progress=lambda done, total: seen.append((done, total)),
        )
        assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_a_stop_is_obeyed_within_one_step(self) -> None:
        for steps_before in (0, 1, 3):
            assert self.steps_until_stopped(steps_before) == steps_before
        assert self.one(ASKED).frames > 0

    def steps_until_stopped(self, after: int) -> int:
        """Steps that were made where a stop is asked for after so many."""
        done: list[int] = []
        with refused(Cancelled, "a stop that is asked for"):
            self.generator.generate(
                ASKED,
                progress=lambda step, total: done.append(step),
                stop_asked=lambda: len(done) >= after,
            )
        return len(done)

    def test_what_cannot_be_done_is_refused(self) -> None:
        silent = Audio(np.zeros((2, 0), "f4"), 16_000)
        infinite = Audio(np.full((1, 32_000), np.nan, "f4"), 16_000)
        changes: tuple[dict[str, Any], ...] = (
            {"strength": 0.0},
            {"strength": 1.2},
            {"strength": float("nan")},
            {"steps": 0},
            {"seeds": ()},
            {"seeds": (-1,)},
            {"duration_s": 0.0},
            {"duration_s": self.generator.info.max_duration_s + 1},
            {"guidance": float("nan")},
            {"strength": 0.5, "init_audio": tune(0.5)},
            {"strength": 0.5, "init_audio": infinite},
            {"strength": 0.5, "init_audio": silent},
        )
        for change in changes:
            with refused(InvalidInput, f"{change}"):
                self.generator.generate(replace(ASKED, **change))

    def test_tokens_are_counted_and_a_full_window_is_accepted(self) -> None:
        count = self.generator.count_tokens
        assert count("") == 0
        assert count("piano") >= 1
        words = ["piano"]
        while count(" ".join([*words, "piano"])) <= self.generator.info.max_prompt_tokens:
            words.append("piano")
        full = replace(ASKED, prompt=" ".join(words), steps=1)
        assert self.one(full).frames > 0
        with refused(InvalidInput, "a prompt of too many tokens"):
            self.generator.generate(replace(full, prompt=full.prompt + " piano"))

    def test_members_are_as_made_alone(self) -> None:
        seeded = with_reference(0.4, seeds=(3,))
        batches = [
            ASKED,
            seeded,
            replace(seeded, strength=0.9, seeds=(4, 5), steps=2),
            replace(ASKED, prompt="fast techno", seeds=(12,), guidance=5.0),
            replace(ASKED, duration_s=0.5),
            with_hole(seeds=(6,)),
        ]
        together = self.generator.generate_together([Member(batch) for batch in batches])
        for batch, outcome in zip(batches, together, strict=True):
            assert isinstance(outcome, tuple), outcome
            for one, other in zip(self.generator.generate(batch), outcome, strict=True):
                assert one.samples.shape == other.samples.shape
                np.testing.assert_allclose(other.samples, one.samples, atol=TOLERANCE)

    def test_a_member_that_cannot_be_made_or_is_stopped_leaves_the_others_alone(self) -> None:
        seen: list[tuple[int, int]] = []
        bad, stopped, good = self.generator.generate_together(
            [
                Member(replace(ASKED, strength=0.0)),
                Member(with_reference(0.4), stop_asked=lambda: len(seen) >= 2),
                Member(ASKED, lambda done, total: seen.append((done, total))),
            ]
        )
        assert isinstance(bad, InvalidInput)
        assert isinstance(stopped, Cancelled)
        assert seen == [(i, ASKED.steps) for i in range(1, ASKED.steps + 1)]
        assert not isinstance(good, RagAudioError)
        np.testing.assert_allclose(good[0].samples, self.one(ASKED).samples, atol=TOLERANCE)

    def test_nothing_is_different_after_forgetting(self) -> None:
        request = with_reference(0.5)
        before = self.one(request)
        self.generator.forget()
        assert pcm(self.one(request)) == pcm(before)

"""Who sounds together: one harmony, one tempo, per channel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_audio.domain import (
    Channel,
    ConditioningPlan,
    DerivedTag,
    GenerationRequest,
    Key,
    Mix,
    Reference,
    SampleType,
    Segment,
    StemKind,
)
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.errors import InvalidInput
from rag_audio.generation.harmony import Harmony
from rag_audio.generation.percussion import is_drums
from rag_audio.generation.planning import make_plan
from rag_audio.generation.replay import request_of
from rag_audio.generation.same_song import is_same_song
from rag_audio.generation.voices import FURTHEST_SEMITONES
from tests.generation.test_harmony import chord
from tests.generation.test_planning import INFO, RIGHTS, reference, words

HEARD = {
    "c": chord(48, 52, 55, 60, seconds=10.0),
    "c_again": chord(60, 64, 67, seconds=10.0),
    "d": chord(50, 54, 57, 62, seconds=10.0),
    "cluster": chord(60, 61, 62, 66, seconds=10.0),
    "c_and_g": chord(55, 59, 60, 62, 64, 67, seconds=10.0),
}
UNKNOWN = {"key": None, "key_confidence": 0.0}
NO_TEMPO = {"bpm": None, "bpm_confidence": 0.0}
ONE_SHOT = {"sample_type": SampleType.ONE_SHOT, **NO_TEMPO, **UNKNOWN}
DRUMS = {"tags": ("drums",), **UNKNOWN}


def listen(segment: Segment) -> Harmony | None:
    return HEARD.get(segment.stem.title)


def planned(
    *sounding: Reference, speaking: tuple[Reference, ...] = (), **fields: object
) -> ConditioningPlan:
    request = GenerationRequest(**{"prompt": "slow", "duration_s": 10.0, **fields})  # type: ignore[arg-type]
    return make_plan(
        request, speaking, rights=RIGHTS, info=INFO, count_tokens=words, seed=1,
        sounding=sounding, listen=listen,
    )  # fmt: skip


def voices(plan: ConditioningPlan) -> dict[str, int]:
    """Who plays, transposed by how much."""
    return {plan.references[part.reference].stem.id: part.semitones for part in plan.seed_parts}


def heard(name: str, title: str = "", **fields: object) -> Reference:
    return reference(name, **{"title": title or name, **UNKNOWN, **fields})


class TestOneHarmony:
    def test_what_clashes_with_the_best_gives_words_and_the_plan_says_with_what(self) -> None:
        other = heard("b", "cluster")
        plan = planned(heard("a", "c"), other, speaking=(other,))
        assert list(voices(plan)) == ["a"]
        (note,) = [note for note in plan.notes if "clashes" in note]
        assert note.startswith("cluster gives words only: its harmony clashes with c (0.")
        assert plan.clash is None

    def test_what_agrees_plays_and_is_brought_into_the_harmony_by_ear(self) -> None:
        plan = planned(heard("a", "c"), heard("b", "c_again"), heard("e", "d"))
        assert voices(plan) == {"a": 0, "b": 0, "e": -2}
        assert plan.clash is not None and plan.clash.chroma < 0.1

    def test_where_drums_alone_are_asked_for_percussion_plays_alone(self) -> None:
        found = (heard("a", "c"), heard("b", **DRUMS), heard("e", "c_again"))
        assert list(voices(planned(*found, prompt="hard techno drums"))) == ["b"]
        assert list(voices(planned(*found, prompt="batterie rapide"))) == ["b"]
        assert "a" in voices(planned(*found, prompt="drums with a deep bass"))
        assert list(voices(planned(found[0], prompt="hard techno drums"))) == ["a"]
        assert "a" in voices(planned(*found, prompt="slow, brushed drums", key="A minor"))

    def test_where_an_instrument_is_asked_for_drums_do_not_play_alone(self) -> None:
        drums = [heard(f"drums{n}", **DRUMS) for n in range(3)]
        found = (*drums, heard("a", "c"))
        assert "a" in voices(planned(*found, prompt="xylophone, quick"))
        assert "a" not in voices(planned(*found, prompt="something quick"))
        assert "a" in voices(planned(*found, prompt="something quick", key="A minor"))

    def test_what_has_the_asked_instrument_stands_before_what_has_not(self) -> None:
        found = (
            heard("a", "c", tags=("piano",)),
            heard("b", "d", tags=("violin",)),
            heard("e", "c_again"),
        )
        assert next(iter(voices(planned(*found, prompt="calm strings", k=1)))) == "b"
        assert next(iter(voices(planned(*found, prompt="calm", k=1)))) == "a"

    def test_the_key_of_a_passage_counts_before_that_of_its_song(self) -> None:
        there = {"c": replace(HEARD["c"], key=Key(4, True), key_clarity=0.3)}

        def hear(segment: Segment) -> Harmony | None:
            return there.get(segment.stem.title)

        def plan_of(**fields: object) -> ConditioningPlan:
            found = (heard("a", "c", key=Key(0, False), key_confidence=0.8),)
            return make_plan(
                GenerationRequest("slow", **fields), (), rights=RIGHTS, info=INFO,  # type: ignore[arg-type]
                count_tokens=words, seed=1, sounding=found, listen=hear,
            )  # fmt: skip

        assert voices(plan_of(key="E minor")) == {"a": 0}
        assert voices(plan_of(key="F minor")) == {"a": 1}
        assert plan_of().key == Key(4, True)

    def test_an_unsure_key_of_a_passage_counts_where_a_key_is_asked_for(self) -> None:
        unsure = replace(HEARD["c"], key=Key(4, True), key_clarity=0.01)

        def plan_of(**fields: object) -> ConditioningPlan:
            return make_plan(
                GenerationRequest("slow", **fields), (), rights=RIGHTS, info=INFO,  # type: ignore[arg-type]
                count_tokens=words, seed=1, sounding=(heard("a", "c"),), listen=lambda _: unsure,
            )  # fmt: skip

        assert voices(plan_of(key="F minor")) == {"a": 1}
        assert plan_of().key is None

    def test_major_or_minor_of_the_same_notes_is_that_of_the_whole_recording(self) -> None:
        there = replace(HEARD["c"], key=Key(0, False), key_clarity=0.3)
        found = (heard("a", "c", key=Key(9, True), key_confidence=0.7),)
        plan = make_plan(
            GenerationRequest("slow"), (), rights=RIGHTS, info=INFO, count_tokens=words, seed=1,
            sounding=found, listen=lambda _: there,
        )  # fmt: skip
        assert plan.key == Key(9, True)

    def test_what_leads_away_from_the_key_that_is_asked_for_gives_words_only(self) -> None:
        in_c = {"key": Key(0, False), "key_confidence": 1.0}
        found = heard("a", "c", **in_c), *(heard(n, "c_and_g", **in_c) for n in "be")
        asked = planned(*found, speaking=found[-1:], key="C major")
        assert list(voices(asked)) == ["a", "b"]
        note = "c_and_g gives words only: with it the piece does not stand in C major"
        assert note in asked.notes
        assert list(voices(planned(*found, mix=Mix.ALL, key="C major"))) == ["a", "b", "e"]

    def test_a_score_whose_passage_stands_in_no_clear_key_stands_further_down(self) -> None:
        clear = replace(HEARD["c"], key=Key(0, False), key_clarity=0.3)

        def plan_of(**fields: object) -> ConditioningPlan:
            found = [
                Reference(
                    replace(one.segment, stem=replace(one.stem, kind=StemKind.MIDI)), score, 1
                )
                for one, score in ((heard("a", "a"), 0.9), (heard("b", "b"), 0.8))
            ]
            return make_plan(
                GenerationRequest("slow", k=1, **fields), (), rights=RIGHTS, info=INFO,  # type: ignore[arg-type]
                count_tokens=words, seed=1, sounding=found,
                listen=lambda segment: clear if segment.stem.title == "b" else HEARD["c"],
            )  # fmt: skip

        assert list(voices(plan_of(key="C major"))) == ["b"]
        assert list(voices(plan_of())) == ["a"]

    def test_a_recording_is_not_transposed_far_to_agree(self) -> None:
        high = {6: Harmony(HEARD["c"].hz * 2**0.5, HEARD["c"].levels)}
        HEARD["far"] = high[6]
        plan = planned(heard("a", "c"), heard("b", "far"))
        assert "b" not in voices(plan) and FURTHEST_SEMITONES < 6

    def test_parts_of_one_song_play_together_whatever_is_heard(self) -> None:
        song = {"bpm": 100.0, **UNKNOWN}
        one, other = (
            Reference(
                replace(found.segment, stem=replace(found.stem, path=f"x/last-train-{part}.wav")),
                found.score,
                1,
            )
            for part, found in (
                ("keys", heard("a", "c", **song)),
                ("bass", heard("b", "cluster", **song)),
            )
        )
        assert is_same_song(one.stem, other.stem)
        assert list(voices(planned(one, other))) == ["a", "b"]
        later = Reference(Segment(one.stem, 1.0, 8.0), 0.5, 1)
        passages = [found.segment.start_s for found in planned(later, other).references]
        assert passages == [1.0, 1.0]
        elsewhere = replace(other.stem, path="y/last-train-bass.wav")
        assert not is_same_song(one.stem, elsewhere)
        assert not is_same_song(one.stem, replace(other.stem, path="x/first-train-bass.wav"))
        assert not is_same_song(one.stem, replace(other.stem, bpm=120.0))

    def test_a_song_s_mix_and_its_own_parts_do_not_sound_at_once(self) -> None:
        def of_song(name: str, path: str) -> Reference:
            found = heard(name, "c", bpm=100.0, **UNKNOWN)
            segment = replace(found.segment, stem=replace(found.stem, path=path))
            return Reference(segment, found.score, 1)

        keys, mix = of_song("a", "x/last-train-keys.wav"), of_song("b", "x/last-train.wav")
        again = of_song("e", "x/last-train-keys.mid")
        plan = planned(keys, mix, again, speaking=(mix,))
        assert list(voices(plan)) == ["a"]
        assert any("c is the same music, or holds it" in note for note in plan.notes)

    def test_a_score_and_its_recording_take_one_place(self) -> None:
        def of_song(name: str, path: str, **fields: object) -> Reference:
            found = heard(name, "c", bpm=100.0, artist="Velda Quarn", **{**UNKNOWN, **fields})
            segment = replace(found.segment, stem=replace(found.stem, path=path))
            return Reference(segment, found.score, 1)

        keys, recorded = (
            of_song("a", "x/last-train-keys.mid"),
            of_song("b", "y/last-train-keys.wav"),
        )
        bass, drums = of_song("e", "y/last-train-bass.wav"), of_song("f", "x/d.mid", **DRUMS)
        plan = planned(keys, recorded, bass, drums, speaking=(recorded,))
        assert list(voices(plan)) == ["a", "e", "f"]
        assert "c gives words only: c is the same music" in plan.notes
        assert is_same_song(keys.stem, bass.stem), "in folders of their own too"
        assert not is_same_song(keys.stem, replace(bass.stem, path="y/last-waltz-bass.wav"))

    def test_drums_further_down_play_where_the_music_is_made_on_drums(self) -> None:
        clashing = heard("b", "cluster"), heard("c", "cluster")
        found = heard("a", "c"), *clashing, reference("d", **DRUMS)
        assert list(voices(planned(*found, prompt="calm"))) == ["a"]
        assert list(voices(planned(*found, prompt="Deep House"))) == ["a", "d"]

    def test_where_nothing_is_heard_the_keys_decide(self) -> None:
        in_c, in_d, in_e = (
            heard(name, "unheard", key=Key.parse(key), key_confidence=1.0)
            for name, key in (("a", "C major"), ("b", "D major"), ("c", "F# major"))
        )
        assert voices(planned(in_c, in_d, in_e, heard("d", "unheard"))) == {"a": 0, "b": -2}

    def test_drums_play_beside_any_harmony(self) -> None:
        plan = planned(heard("a", "c"), reference("d", **DRUMS))
        assert list(voices(plan)) == ["a", "d"]
        assert plan.clash is None

    def test_named_references_play_though_they_clash_and_the_plan_has_the_figure(self) -> None:
        pair = heard("a", "c"), heard("b", "cluster")
        named = planned(speaking=pair, references=("a", "b"))
        assert list(voices(named)) == ["a", "b"]
        assert named.clash is not None and named.clash.chroma > 0.4

    def test_all_is_the_old_way(self) -> None:
        found = heard("a", "c"), heard("b", "cluster"), heard("n", "n", **NO_TEMPO)
        plan = planned(*found, mix=Mix.ALL, bpm=120)
        assert list(voices(plan)) == ["a", "b", "n"] and plan.mix is Mix.ALL
        assert plan.clash is not None and plan.clash.chroma > 0.4
        assert plan_from_json(plan_to_json(plan)) == plan
        assert "clash" not in plan_to_json(planned(found[0]))


class TestOneTempo:
    def test_what_has_no_tempo_is_not_laid_under_a_wanted_one(self) -> None:
        pad = heard("p", "c_again", **NO_TEMPO)
        plan = planned(heard("a", "c"), pad, speaking=(pad,))
        assert list(voices(plan)) == ["a"]
        assert "c_again gives words only: it has no tempo" in plan.notes
        free = planned(heard("a", "c"), pad, free_time=True)
        assert list(voices(free)) == ["a", "p"]
        assert "c_again has no tempo: it plays in its own time" in free.notes

    def test_nothing_with_a_tempo_is_words_only_and_said(self) -> None:
        plan = planned(heard("p", "c", **NO_TEMPO), bpm=140)
        assert plan.seed_parts == () and plan.strength == 1.0
        assert any("free time" in note for note in plan.notes)
        assert planned(heard("p", "c", **NO_TEMPO), bpm=140, free_time=True).strength < 1.0

    def test_where_no_tempo_is_wanted_a_drone_plays_alone_in_its_own_time(self) -> None:
        plan = planned(heard("p", "c", **NO_TEMPO), heard("b", "c_again"), k=1)
        assert list(voices(plan)) == ["p"] and plan.bpm is None

    def test_a_named_reference_plays_in_its_own_time_and_the_plan_says_so(self) -> None:
        pad = heard("p", "c", **NO_TEMPO)
        plan = planned(speaking=(pad,), references=("p",), bpm=140)
        assert list(voices(plan)) == ["p"]
        assert "c has no tempo: it plays in its own time" in plan.notes

    def test_the_tempo_is_that_of_the_harmonic_source(self) -> None:
        plan = planned(reference("d", bpm=100.0, **DRUMS), heard("a", "c", bpm=110.0))
        assert plan.bpm == 110.0 and set(voices(plan)) == {"a", "d"}

    def test_a_long_stretch_of_a_recording_stands_further_down(self) -> None:
        near, far = heard("n", "c", bpm=95.0, score=0.4), heard("f", "d", bpm=65.0)
        assert list(voices(planned(far, near, k=1, bpm=92))) == ["n"]
        assert list(voices(planned(far, k=1, bpm=92))) == ["f"]

    def test_a_single_sound_is_no_voice_but_a_hit_on_a_beat(self) -> None:
        hit, note = heard("h", "snare", tags=("snare",), **ONE_SHOT), heard("o", "c", **ONE_SHOT)
        assert list(voices(planned(note, hit, bpm=120))) == ["h"]
        silent = planned(note, hit, speaking=(note,))
        assert silent.seed_parts == () and silent.strength == 1.0


class TestPerChannel:
    def test_words_only_stems_do_not_take_the_seed_away(self) -> None:
        guitars = tuple(reference(f"g{n}", "words", score=0.9) for n in range(3))
        plan = planned(heard("piano", "c", score=0.4), speaking=guitars)
        assert list(voices(plan)) == ["piano"]
        assert {span.stem for span in plan.spans} == {None, "g0", "g1", "g2"}
        assert [one.rank for one in plan.references] == [1, 2, 3, 4]
        assert plan.references[-1].stem.id == "piano"

    def test_at_most_k_are_found_to_sound_of_all_that_fit(self) -> None:
        found = [heard(f"s{n}", "c", score=0.9) for n in range(8)]
        assert len(planned(*found).seed_parts) == 3
        assert len(planned(*found, k=1).seed_parts) == 1
        assert planned(*found, k=0).seed_parts == ()

    def test_a_stem_that_speaks_and_sounds_is_one_reference(self) -> None:
        one = heard("a", "c", score=0.5)
        plan = planned(replace(one, score=0.9), speaking=(one,))
        assert [(found.stem.id, found.score) for found in plan.references] == [("a", 0.9)]
        assert any(span.stem == "a" for span in plan.spans)

    def test_weights_are_those_of_what_plays_in_order_of_rank(self) -> None:
        found = heard("a", "c", score=0.9), heard("x", "cluster", score=0.8), heard("b", "c_again")
        plan = planned(*found, weights=(3, 1, 1))
        assert [part.weight for part in plan.seed_parts] == pytest.approx([0.75, 0.25])
        with pytest.raises(InvalidInput, match="2 weights for 3 references"):
            planned(*found, weights=(3, 1))

    def test_a_plan_has_no_more_references_than_its_replay_may_name(self) -> None:
        found = tuple(heard(f"s{n}", "c") for n in range(64))
        spoken = tuple(reference(f"w{n}", tags=("x",)) for n in range(64))
        plan = planned(*found, speaking=spoken, k=64)
        assert len(plan.references) <= len(found)
        assert len(request_of(plan, None).references) == len(plan.references)

    def test_what_is_much_less_like_the_prompt_does_not_fill_up(self) -> None:
        found = [heard("a", "c", score=0.9), *(heard(f"x{n}", "cluster") for n in range(2))]
        assert list(voices(planned(*found, heard("b", "c_again", score=0.3)))) == ["a"]
        assert list(voices(planned(*found, heard("b", "c_again", score=0.8)))) == ["a", "b"]

    def test_a_closed_channel_has_no_voices(self) -> None:
        only_words = frozenset({Channel.PROMPT})
        plan = planned(speaking=(heard("a", "c"),), channels=only_words)
        assert plan.seed_parts == () and plan.clash is None


@pytest.mark.parametrize(
    ("fields", "drums"),
    [
        ({"tags": (), "title": "drum bass hard"}, True),
        ({"tags": (), "path": "kit/bd_808.flac"}, True),
        ({"tags": (), "path": "LoopAmen.wav"}, True),
        ({"tags": (), "title": "hat 3"}, True),
        ({"tags": (), "title": "Over the drumlin"}, False),
        ({"tags": (), "title": "Hatred"}, False),
        ({"tags": ("drum and bass", "reese bass")}, False),
        ({"tags": ("drum'n'bass", "breakbeat")}, True),
        ({"tags": ("warm",), "title": "Drum song"}, False),
        ({"tags": (), "derived_tags": (DerivedTag("drums", 0.8),)}, True),
        ({"tags": (), "derived_tags": (DerivedTag("drums", 0.3),)}, False),
        ({"instruments": ("Steel Drums",)}, False),
        ({"instruments": ("Drums", "Taiko Drum")}, True),
    ],
)
def test_percussion_is_known_by_words_not_by_letters(
    fields: dict[str, object], drums: bool
) -> None:
    stem = reference("a").stem
    assert is_drums(replace(stem, **{"path": "a.wav", **fields})) is drums  # type: ignore[arg-type]

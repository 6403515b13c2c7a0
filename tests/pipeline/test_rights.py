"""Each defect of rights against each way to the output: none gets through.

The oracle is independent of the code: every defect says which uses it leaves, and every path shows
what reached the output of the two target stems: their words, their sound, or their artist's name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.domain import Channel, ConditioningPlan, Use
from rag_audio.domain.identifiers import COUNTRIES
from rag_audio.domain.licensing import RevocationOf
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.ports import Mark
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.pipeline import delivery
from tests.retrieval.sounds import melody
from tests.support.rights_world import TARGET_ARTIST, TARGET_WORDS, World, all_uses, write_score
from tests.support.small_library import RATE

NOTHING: frozenset[Use] = frozenset()
QUICK = {"seed": 1, "duration_s": 4.0}
codes = st.sampled_from(sorted(COUNTRIES))
spans = st.timedeltas(timedelta(seconds=1), timedelta(days=2000))
zones = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
slow_is_fine = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("rights"))
    yield made
    made.workspace.close()


@pytest.fixture(scope="module")
def older(world: World) -> dict[str, Any]:
    """A plan from a time when all was licensed, with words and sound of both targets."""
    world.reset()
    ids = (world.target.id, world.score.id)
    plan = world.workspace.plan("slow", references=ids, **QUICK)
    assert {span.stem for span in plan.spans} >= set(ids)
    assert len(plan.seed_parts) == 2
    return json.loads(json.dumps(plan_to_json(plan)))  # type: ignore[no-any-return]


Defect = tuple[str, Callable[[World], None], str | None, frozenset[Use]]
"""Name, how it comes about, the territory that is asked for, and the uses it leaves."""


@st.composite
def defects(draw: st.DrawFn) -> Defect:
    now = datetime.now(UTC)
    zone, away = draw(zones), draw(spans)
    here = draw(codes)
    elsewhere = draw(st.frozensets(codes.filter(lambda code: code != here), min_size=1, max_size=4))
    lacking = draw(st.sampled_from([Use.PROMPT, Use.INIT_AUDIO, Use.STYLE]))
    by_day = now.date() - timedelta(days=2) - away
    name = draw(st.sampled_from(sorted(_DEFECTS)))
    change, territory, left = _DEFECTS[name](now, zone, away, here, elsewhere, lacking, by_day)
    return name, change, territory, left


def _licensed(**changes: Any) -> Callable[[World], None]:
    return lambda world: world.license(**changes)


def _revoked(of: RevocationOf) -> Callable[[World], None]:
    def revoke(world: World) -> None:
        targets = {
            RevocationOf.STEM: [world.target.id, world.score.id],
            RevocationOf.ARTIST: ["  HÍDDEN  ferry "],
            RevocationOf.LICENSE: ["small/target"],
        }
        for target in targets[of]:
            world.revoke(of, target)

    return revoke


_Made = tuple[Callable[[World], None], str | None, frozenset[Use]]
_DEFECTS: dict[str, Callable[..., _Made]] = {
    "no license any more": lambda *_: (_licensed(gone=True), None, NOTHING),
    "expired on a day": lambda *x: (_licensed(valid_until=x[6]), None, NOTHING),
    "expired at a moment": lambda *x: (
        _licensed(valid_until=(x[0] - x[2]).astimezone(x[1])), None, NOTHING),
    "not yet valid": lambda *x: (
        _licensed(valid_from=(x[0] + timedelta(hours=1) + x[2]).astimezone(x[1])), None, NOTHING),
    "another territory": lambda *x: (_licensed(territories=x[4]), x[3], NOTHING),
    "a territory, none stated": lambda *x: (_licensed(territories=x[4]), None, NOTHING),
    "excluded territory": lambda *x: (_licensed(excluded=x[4] | {x[3]}), x[3], NOTHING),
    "exclusions, none stated": lambda *x: (_licensed(excluded=x[4]), None, NOTHING),
    "a use is missing": lambda *x: (_licensed(uses=all_uses() - {x[5]}), x[3], all_uses() - {x[5]}),
    "no use at all": lambda *_: (_licensed(uses=NOTHING), None, NOTHING),
    "stem revoked": lambda *_: (_revoked(RevocationOf.STEM), None, NOTHING),
    "artist revoked": lambda *_: (_revoked(RevocationOf.ARTIST), None, NOTHING),
    "license revoked": lambda *_: (_revoked(RevocationOf.LICENSE), None, NOTHING),
    "artist in file tags only": lambda *_: (
        World.undeclare_artist, None, all_uses() - {Use.STYLE}),
}  # fmt: skip


def applied(world: World, defect: Defect) -> tuple[str | None, frozenset[Use]]:
    world.reset()
    defect[1](world)
    return defect[2], defect[3]


def assert_nothing_leaks(world: World, plan: ConditioningPlan, left: frozenset[Use]) -> None:
    """No word and no sound of a target is in a plan, but by a use that is left."""
    words = [span.text for span in plan.spans if span.stem in world.targets]
    seeds = [
        part for part in plan.seed_parts if plan.references[part.reference].stem.id in world.targets
    ]
    if Use.PROMPT not in left:
        assert words == []
        assert not any(word in plan.enriched_prompt for word in TARGET_WORDS)
    if Use.INIT_AUDIO not in left:
        assert seeds == []
    if not left & {Use.PROMPT, Use.INIT_AUDIO}:
        assert world.targets.isdisjoint(reference.stem.id for reference in plan.references)


@slow_is_fine
@given(defect=defects(), text=st.sampled_from(["zither seaworthy", "harmonium", "warm"]))
def test_a_search_never_shows_what_may_not_be_used(world: World, defect: Defect, text: str) -> None:
    territory, left = applied(world, defect)
    shown = {found.stem.id for found in world.workspace.search(text, territory=territory, k=10)}
    assert world.good.id in shown
    if not left & {Use.PROMPT, Use.INIT_AUDIO}:
        assert world.targets.isdisjoint(shown)


@slow_is_fine
@given(defect=defects(), score=st.booleans())
def test_nothing_is_found_like_a_stem_that_may_not_be_used(
    world: World, defect: Defect, score: bool
) -> None:
    territory, left = applied(world, defect)
    like = world.score.id if score else world.target.id
    if left & {Use.PROMPT, Use.INIT_AUDIO}:
        assert world.workspace.search(like=like, territory=territory)
        return
    with pytest.raises(RequestRefused, match="may not be resembled"):
        world.workspace.search(like=like, territory=territory)


@settings(slow_is_fine, max_examples=8)
@given(defect=defects())
def test_a_search_by_its_bytes_does_not_bring_it_back(world: World, defect: Defect) -> None:
    territory, left = applied(world, defect)
    for query in ({"audio": world.library / "target.wav"}, {"midi": world.library / "target.mid"}):
        found = world.workspace.search(territory=territory, k=10, **query)  # type: ignore[arg-type]
        if not left & {Use.PROMPT, Use.INIT_AUDIO}:
            assert world.targets.isdisjoint(one.stem.id for one in found)


@slow_is_fine
@given(defect=defects(), channels=st.sampled_from(["prompt", "init", "prompt,init"]))
def test_a_plan_uses_of_a_stem_what_its_license_grants(
    world: World, defect: Defect, channels: str
) -> None:
    territory, left = applied(world, defect)
    opened = frozenset(Channel(name) for name in channels.split(","))
    plan = world.workspace.plan(
        "zither seaworthy harmonium"[: 8 if Use.PROMPT in left else 4],
        territory=territory, k=10, channels=opened, **QUICK,
    )  # fmt: skip
    assert_nothing_leaks(world, plan, left)


@slow_is_fine
@given(defect=defects(), score=st.booleans())
def test_naming_a_stem_gives_no_right_to_it(world: World, defect: Defect, score: bool) -> None:
    territory, left = applied(world, defect)
    id_ = world.score.id if score else world.target.id
    try:
        plan = world.workspace.plan("slow", references=(id_,), territory=territory, **QUICK)
    except RequestRefused:
        assert not left & {Use.PROMPT, Use.INIT_AUDIO}
        return
    assert left & {Use.PROMPT, Use.INIT_AUDIO}
    assert_nothing_leaks(world, plan, left)


@slow_is_fine
@given(defect=defects())
def test_an_artist_without_style_cannot_be_asked_for(world: World, defect: Defect) -> None:
    territory, left = applied(world, defect)
    asked = [
        {"prompt": "slow", "artist": TARGET_ARTIST},
        {"prompt": f"in the style of {TARGET_ARTIST}"},
        {"prompt": "slow", "negative_prompt": f"anything like {TARGET_ARTIST}"},
    ]
    for fields in asked:
        text = fields.pop("prompt")
        if Use.STYLE in left:
            plan = world.workspace.plan(text, territory=territory, **fields, **QUICK)
            assert_nothing_leaks(world, plan, left)
        else:
            with pytest.raises(RequestRefused):
                world.workspace.plan(text, territory=territory, **fields, **QUICK)


@slow_is_fine
@given(defect=defects(), stated=st.sampled_from([None, "own", "licensed"]), score=st.booleans())
def test_its_bytes_are_recognised_and_what_the_user_states_does_not_help(
    world: World, defect: Defect, stated: str | None, score: bool
) -> None:
    territory, left = applied(world, defect)
    file = {"midi": "target.mid"} if score else {"audio": "target.wav"}
    fields = {name: str(world.library / path) for name, path in file.items()}
    ask = {**fields, "audio_rights": stated, "territory": territory, **QUICK}
    if left & {Use.PROMPT, Use.INIT_AUDIO}:
        plan = world.workspace.plan("slow", **ask)
        assert any("was recognised as" in note for note in plan.notes)
        assert_nothing_leaks(world, plan, left)
        return
    with pytest.raises(RequestRefused, match="may not be used"):
        world.workspace.plan("slow", **ask)


@slow_is_fine
@given(defect=defects(), edit=st.integers(0, 5))
def test_an_older_plan_is_held_against_the_rights_of_now(
    world: World, older: dict[str, Any], defect: Defect, edit: int
) -> None:
    territory, left = applied(world, defect)
    document = json.loads(json.dumps(older))
    _tamper(document, edit)
    try:
        _, plan = world.workspace.renew(plan_from_json(document), territory=territory)
    except (RequestRefused, InvalidInput):
        return
    assert_nothing_leaks(world, plan, left)
    assert left >= {Use.PROMPT, Use.INIT_AUDIO}
    assert all(granted == world.workspace.pipeline.rights(territory).licenses[granted.key]
               for granted in plan.licenses)  # fmt: skip


def _tamper(document: dict[str, Any], edit: int) -> None:
    """What somebody may do to a plan who wants more than there is."""
    stems = [reference["stem"] for reference in document["references"]]
    for stem in stems:
        if edit == 1:
            stem["license"] = "good"
        if edit == 2:
            stem["library"] = "elsewhere"
        if edit == 3:
            stem["artist"], stem["title"] = "Copper Lantern Trio", "Amber Stairs"
    if edit == 4:
        document["licenses"] = [
            {**granted, "uses": ["prompt", "init_audio", "style"], "valid_until": None,
             "territories": ["WORLD"]}
            for granted in document["licenses"]
        ]  # fmt: skip
    if edit == 5:
        for span in document["spans"]:
            span["tokens"] = 0


def test_an_older_plan_asks_the_model_for_the_same_as_before(
    world: World, older: dict[str, Any]
) -> None:
    world.reset()
    plan = plan_from_json(older)
    _, renewed = world.workspace.renew(plan)
    for name in ("enriched_prompt", "spans", "seed_parts", "strength", "seed", "references"):
        assert getattr(renewed, name) == getattr(plan, name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"references.0.stem.id": "0" * 64}, "in no indexed library"),
        ({"references.0.start_s": 500.0}, "is not within"),
        ({"seed_parts.0.weight": 9.0}, "sum to"),
        ({"seed_parts.0.reference": 1}, "seeds the plan twice"),
        ({"seed_parts.0.time_ratio": 900.0}, "out of range"),
        ({"channels": ["prompt"]}, "init channel is closed"),
        ({"channels": ["init"]}, "prompt channel is closed"),
        ({"spans.1.stem": "0" * 64}, "which it lacks"),
        ({"prompt": "fast"}, "does not begin with the user's own words"),
        ({"model": "another"}, "was made for the model"),
        ({"steps": 10**6}, "steps must be"),
        ({"duration_s": 10**6}, "duration"),
    ],
)
def test_a_plan_that_was_tampered_with_is_refused_in_one_line(
    world: World, older: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    world.reset()
    document = json.loads(json.dumps(older))
    for path, value in change.items():
        *steps, last = path.split(".")
        at: Any = document
        for step in steps:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[last] = value
    with pytest.raises((RequestRefused, InvalidInput), match=says):
        world.workspace.renew(plan_from_json(document))


def test_a_name_written_into_an_older_plan_is_refused(world: World, older: dict[str, Any]) -> None:
    world.reset()
    document = json.loads(json.dumps(older))
    document["negative_prompt"] = "in the style of Zorblat Quux"
    with pytest.raises(RequestRefused):
        world.workspace.renew(plan_from_json(document))


@pytest.mark.parametrize("moment", ["before the model", "while the model runs"])
@pytest.mark.parametrize("how", ["license ends", "revoked"])
def test_what_ends_on_the_way_stops_the_output(
    world: World, tmp_path: Path, moment: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reset()

    def end() -> None:
        if how == "revoked":
            world.revoke(RevocationOf.ARTIST, TARGET_ARTIST)
        else:
            world.license(valid_until=datetime.now(UTC) - timedelta(seconds=1))

    if moment == "before the model":
        planned = world.workspace.pipeline.planned

        def plan_then_end(*given: Any) -> Any:
            made = planned(*given)
            end()
            return made

        monkeypatch.setattr(world.workspace.pipeline, "planned", plan_then_end)
    else:
        world.generator.after_run = end
    before = len(world.home.ledger.outputs())
    with pytest.raises(RequestRefused, match=r"revoked|expired"):
        world.workspace.generate(
            "slow", tmp_path / "no.wav", references=(world.target.id,), **QUICK
        )
    assert list(tmp_path.iterdir()) == []
    assert len(world.home.ledger.outputs()) == before


@pytest.mark.parametrize("way", ["generate", "replay", "edit"])
def test_what_is_revoked_while_a_variation_is_written_stops_all(
    world: World, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reset()
    workspace, out = world.workspace, tmp_path / "out" / "no.wav"
    quick = {"references": (world.target.id,), **QUICK}
    plan = workspace.plan("slow", variations=2, **quick)
    soundfile.write(tmp_path / "own.wav", melody(9, 4.0).samples[0], RATE)
    before = len(world.home.ledger.outputs())
    stage = delivery.stage

    def stage_then_revoke(*given: Any) -> Any:
        made = stage(*given)
        world.revoke(RevocationOf.ARTIST, TARGET_ARTIST)
        return made

    monkeypatch.setattr(delivery, "stage", stage_then_revoke)
    with pytest.raises(RequestRefused, match="revoked"):
        if way == "generate":
            workspace.generate("slow", out, variations=2, **quick)
        elif way == "replay":
            workspace.replay(plan, out)
        else:
            owned = {"audio_rights": "own", "variations": 2, **quick}
            del owned["duration_s"]
            workspace.vary(tmp_path / "own.wav", out, prompt="slow", **owned)
    assert list(out.parent.iterdir()) == []
    assert len(world.home.ledger.outputs()) == before
    assert len(list(world.home.folder.glob("masters/*"))) == before


def test_an_artist_s_style_brings_only_what_the_style_is_licensed_for(world: World) -> None:
    """One stem of an artist has ``style``, the other has not: asking for the artist uses one."""
    world.reset()
    world.license(uses=frozenset({Use.PROMPT, Use.INIT_AUDIO}))
    both = world.workspace.plan("zither", k=5, **QUICK)
    assert world.target.id in {reference.stem.id for reference in both.references}
    with pytest.raises(RequestRefused):
        world.workspace.plan("zither", artist=TARGET_ARTIST, **QUICK)


def test_unknown_audio_needs_a_statement_and_the_plan_s_request_records_it(
    world: World, tmp_path: Path
) -> None:
    world.reset()
    mine = tmp_path / "mine.wav"
    # Chords would be those of the library, faster and lower.
    soundfile.write(mine, melody(9, 11.0).samples[0], RATE)
    with pytest.raises(InvalidInput, match="state your rights to"):
        world.workspace.plan("slow", audio=str(mine), **QUICK)
    plan = world.workspace.plan("slow", audio=str(mine), audio_rights="own", **QUICK)
    assert plan.references
    assert not any("recognised" in note for note in plan.notes)
    assert world.workspace.search(audio=mine)


def test_a_copy_in_another_format_is_recognised_by_its_sound(world: World, tmp_path: Path) -> None:
    world.reset()
    samples, rate = soundfile.read(world.library / "target.wav")
    copy = tmp_path / "mine.flac"
    soundfile.write(copy, samples[7_777:] * 0.5, rate)
    plan = world.workspace.plan("slow", audio=str(copy), **QUICK)
    assert any("Hidden Tide, by its sound" in note for note in plan.notes)
    world.revoke(RevocationOf.STEM, world.target.id)
    world.home.index.delete([p.id for p in world.home.index.find_stem(world.target.id)])
    with pytest.raises(RequestRefused, match="revoked"):
        world.workspace.plan("slow", audio=str(copy), audio_rights="own", **QUICK)


def test_the_same_notes_in_another_key_and_tempo_are_recognised_and_others_are_not(
    world: World, tmp_path: Path
) -> None:
    world.reset()
    world.license(uses=NOTHING)
    same = write_score(tmp_path / "same.mid", semitones=3, bpm=97.0)
    with pytest.raises(RequestRefused, match="Hidden Score \\(by its notes\\)"):
        world.workspace.plan("slow", midi=str(same), **QUICK)
    other = write_score(tmp_path / "other.mid", seed=6)
    assert world.workspace.plan("slow", midi=str(other), **QUICK).references


def test_an_unlicensed_file_of_a_library_s_folder_is_not_foreign_nor_is_a_copy_of_it(
    world: World, tmp_path: Path
) -> None:
    world.reset()
    stray, copy = world.library / "stray.wav", tmp_path / "mine.wav"
    # Near to a licensed stem by its sound, which does not license it.
    soundfile.write(stray, soundfile.read(world.library / "good.wav")[0] * 0.9, RATE)
    copy.write_bytes(stray.read_bytes())
    try:
        for file in (stray, copy):
            with pytest.raises(RequestRefused, match="have no license there"):
                world.workspace.plan("slow", audio=str(file), audio_rights="licensed", **QUICK)
    finally:
        stray.unlink()


def test_an_output_of_ours_is_treated_by_the_rights_of_its_sources(
    world: World, tmp_path: Path
) -> None:
    world.reset()
    (made,) = world.workspace.generate(
        "slow", tmp_path / "first.wav", references=(world.target.id,), **QUICK
    )
    copy = tmp_path / "copy.wav"
    samples, rate = soundfile.read(made.files[0])
    soundfile.write(copy, samples[2_000:], rate)
    for file, heard in ((made.files[0], None), (copy, Mark(made.record.output))):
        world.reset()
        world.watermarker.heard = heard
        again = {"audio": str(file), "audio_rights": "own", **QUICK}
        plan = world.workspace.plan("slow", **again)
        assert any(f"as output {made.record.output}" in note for note in plan.notes)
        world.revoke(RevocationOf.LICENSE, "small/target")
        with pytest.raises(RequestRefused, match=f"it is output {made.record.output}, made from"):
            world.workspace.plan("slow", **again)


def test_a_file_whose_manifest_reserves_its_use_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from rag_audio.provenance.credentials import reading

    world.reset()
    noise = tmp_path / "reserved.wav"
    soundfile.write(noise, np.random.default_rng(4).standard_normal(80_000) * 0.1, 16_000)
    monkeypatch.setattr(reading, "training_reservation", lambda path: "reserved")
    with pytest.raises(RequestRefused, match="not for training"):
        world.workspace.plan("slow", audio=str(noise), audio_rights="own", **QUICK)


def test_a_day_is_whole_in_the_license_s_time_zone(world: World) -> None:
    world.reset()
    world.license(valid_until=date(2026, 6, 30), timezone="America/New_York")
    rights = world.home.catalogue.rights
    inside = datetime(2026, 7, 1, 3, 59, tzinfo=UTC)
    assert rights(None, inside).refusal(world.target, Use.PROMPT) is None
    reason = rights(None, inside + timedelta(minutes=1)).refusal(world.target, Use.PROMPT)
    assert reason is not None and "expired on 2026-06-30" in reason

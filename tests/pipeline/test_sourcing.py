"""Nothing is delivered in an artist's style that has no source by the artist."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.cli import batch, generate
from rag_audio.cli.app import run
from rag_audio.domain import Channel, ConditioningPlan, GenerationRequest, Use
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.errors import InvalidInput, LibraryError, RequestRefused
from rag_audio.guardrails import Artist, Roster, parse_actions
from rag_audio.provenance.influence import used_shares
from rag_audio.service.revoking import end_revocation, revoke_source
from tests.support.rights_world import GOOD_ARTIST, TARGET_ARTIST, World
from tests.support.small_library import RATE, chords
from tests.support.whole_home import opened_by

QUICK: dict[str, Any] = {"seed": 1, "duration_s": 4.0}
WORDS, SOUND = frozenset({Channel.PROMPT}), frozenset({Channel.INIT})
REVOKED = Revocation(RevocationOf.ARTIST, TARGET_ARTIST, "", "test", datetime.now(UTC))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("sources"))
    yield made
    made.workspace.close()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.reset()
    yield shared
    for name in ("guard_actions", "protected_names"):
        delattr(shared.home, name)


def unindexed(world: World) -> None:
    """As after ``revoke`` and ``revoke --undo``, before the next ``index``."""
    assert revoke_source(world.home, REVOKED)["purged"]["segments"] > 0
    end_revocation(world.home, REVOKED)


def refused(world: World, tmp_path: Path, words: str = "zither", **fields: Any) -> RequestRefused:
    """What a request is refused with, planned or made; the model was not run, nothing written."""
    with pytest.raises(RequestRefused) as planned:
        world.workspace.plan(words, **{**QUICK, **fields})
    entries = len(world.home.ledger.outputs())
    with pytest.raises(RequestRefused) as made:
        world.workspace.generate(words, tmp_path / "x.wav", **{**QUICK, **fields})
    assert made.value.message == planned.value.message
    assert not world.generator.given and not list(tmp_path.iterdir())
    assert len(world.home.ledger.outputs()) == entries
    return planned.value


def test_what_is_not_indexed_again_is_no_source(world: World, tmp_path: Path) -> None:
    unindexed(world)
    told = refused(world, tmp_path, artist=TARGET_ARTIST)
    assert f"nothing by {TARGET_ARTIST} would go into the output" in told.message
    assert "no stem of theirs is in the index" in told.message
    assert "rag-audio index on small" in told.hint
    world.home.index.upsert(world._points)
    assert world.workspace.plan("zither", artist=TARGET_ARTIST, **QUICK).references


@pytest.mark.parametrize(
    ("fields", "reason", "cure"),
    [
        ({"k": 0}, "none of their stems is among the references", "--references 3"),
        ({"references": ("GOOD",)}, "none of their stems is among", "--reference STEM"),
        ({"exclude": ("TARGET", "SCORE")}, "every stem of theirs is excluded", "exclude fewer"),
        ({"strength": 1.0, "channels": SOUND}, "at strength 1 nothing", "--strength below 1"),
        ({"weights": (0.0, 0.0, 1.0), "references": ("TARGET", "SCORE", "GOOD"),
          "channels": SOUND}, "their weights are 0", "--weights above 0"),
    ],
)  # fmt: skip
def test_a_request_that_leaves_the_artist_out_is_told_what_would_help(
    world: World, tmp_path: Path, fields: dict[str, Any], reason: str, cure: str
) -> None:
    ids = {"GOOD": world.good.id, "TARGET": world.target.id, "SCORE": world.score.id}
    given = {
        name: tuple(ids.get(one, one) for one in value) if isinstance(value, tuple) else value
        for name, value in fields.items()
    }
    told = refused(world, tmp_path, artist=TARGET_ARTIST, **given)
    assert reason in told.message
    assert cure in told.hint


def test_uses_that_do_not_open_the_channels_are_named(world: World, tmp_path: Path) -> None:
    world.license(uses=frozenset({Use.PROMPT, Use.STYLE}))
    told = refused(world, tmp_path, artist=TARGET_ARTIST, channels=SOUND)
    assert "license target does not grant init_audio" in told.message
    assert "--channels prompt,init" in told.hint
    assert world.workspace.plan("zither", artist=TARGET_ARTIST, **QUICK).references


def test_stems_without_words_are_no_source_of_words_alone(world: World, tmp_path: Path) -> None:
    mute = {one.id: replace(one, tags=(), instruments=(), bpm=None, key=None)
            for one in (world.target, world.score)}  # fmt: skip
    world._relabel(mute)
    told = refused(world, tmp_path, artist=TARGET_ARTIST, channels=WORDS)
    assert "no words for the prompt, and the init channel is closed" in told.message
    assert world.workspace.plan("zither", artist=TARGET_ARTIST, **QUICK).seed_parts


def test_an_artist_whom_the_guardrails_put_in_must_be_a_source_too(
    world: World, tmp_path: Path
) -> None:
    told = "named-artist=transform-licensed,style-phrase=transform-licensed"
    stranger = Artist("Zanther Quill", genre="r&b", era="1990s")
    world.home.guard_actions = parse_actions(told)
    world.home.protected_names = Roster((stranger,))
    prompt = "slow, in the style of Zanther Quill"
    assert world.workspace.plan(prompt, **QUICK).artist == GOOD_ARTIST
    world.home.index.delete([p.id for p in world.home.index.find_stem(world.good.id)])
    assert f"nothing by {GOOD_ARTIST}" in refused(world, tmp_path, prompt).message


def test_a_plan_keeps_its_artist_and_is_held_to_it(world: World, tmp_path: Path) -> None:
    plan = world.workspace.plan("zither", artist=TARGET_ARTIST, **QUICK)
    document = json.loads(json.dumps(plan_to_json(plan)))
    assert document["artist"] == TARGET_ARTIST and plan_from_json(document) == plan
    (made,) = world.workspace.replay(plan, tmp_path / "again.wav")
    assert made.record.request["artist"] == TARGET_ARTIST
    assert made.record.sources
    bare = replace(plan, references=(), licenses=(), seed_parts=(), strength=1.0,
                   spans=plan.spans[:1], enriched_prompt=plan.prompt)  # fmt: skip
    for act in (
        lambda: world.workspace.renew(bare),
        lambda: world.workspace.replay(bare, tmp_path / "bare.wav"),
    ):
        with pytest.raises(RequestRefused, match=f"nothing by {TARGET_ARTIST}"):
            act()
    world.license(uses=frozenset({Use.PROMPT, Use.INIT_AUDIO}))
    with pytest.raises(RequestRefused, match="does not grant style"):
        world.workspace.renew(plan)
    assert not (tmp_path / "bare.wav").exists()


def test_an_output_led_away_from_all_its_sources_is_not_delivered(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too near to a stem it is made again further away: at strength 1 nothing of it is left."""
    from rag_audio.pipeline.renderer import Renderer

    make = Renderer.make

    def led_away(self: Renderer, plan: ConditioningPlan, *more: Any) -> Any:
        return tuple(replace(take, plan=replace(take.plan, strength=1.0))
                     for take in make(self, plan, *more))  # fmt: skip

    monkeypatch.setattr(Renderer, "make", led_away)
    with pytest.raises(RequestRefused, match="at strength 1 nothing of their sound is left"):
        world.workspace.generate(
            "zither", tmp_path / "x.wav", artist=TARGET_ARTIST, channels=SOUND, **QUICK
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["vary", "extend", "inpaint"])
def test_an_edit_in_an_artist_s_style_needs_a_source_of_its_own(
    world: World, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "mine.wav"
    soundfile.write(source, chords(90, 200.0, 4.0, seed=9), RATE)
    more: dict[str, Any] = {
        "vary": {"prompt": "zither"}, "extend": {"right_s": 2.0},
        "inpaint": {"regions": [(1.0, 2.0)]},
    }[kind]  # fmt: skip
    words = () if kind == "vary" else ("zither",)
    edit = getattr(world.workspace, kind)
    unindexed(world)
    with pytest.raises(RequestRefused, match=f"nothing by {TARGET_ARTIST}"):
        edit(source, *words, out=tmp_path / "out.wav", artist=TARGET_ARTIST, seed=1,
             audio_rights="own", **more)  # fmt: skip
    assert not world.generator.given and not (tmp_path / "out.wav").exists()
    with pytest.raises(InvalidInput, match="cannot be enforced in an edit"):
        edit(source, *words, out=tmp_path / "out.wav", audio_rights="own", bpm=90.0,
             enforce=frozenset({"tempo"}), **more)  # fmt: skip


requests = st.fixed_dictionaries(
    {
        "k": st.none() | st.integers(0, 3),
        "strength": st.sampled_from([None, 0.5, 1.0]),
        "channels": st.sampled_from([WORDS, SOUND, WORDS | SOUND]),
        "exclude": st.sampled_from([(), ("target",), ("target", "score"), ("good",)]),
        "references": st.sampled_from([(), ("good",), ("target",), ("score", "good")]),
        "artist": st.sampled_from([TARGET_ARTIST, GOOD_ARTIST]),
    }
)


@given(requests, st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_plan_with_an_artist_has_a_share_of_the_artist_s(
    world: World, fields: dict[str, Any], is_indexed: bool
) -> None:
    world.reset()
    stems = {"good": world.good, "target": world.target, "score": world.score}
    asked = {
        **fields,
        "exclude": tuple(stems[one].id for one in fields["exclude"]),
        "references": tuple(stems[one].id for one in fields["references"]),
    }
    if not is_indexed:
        own = [one.id for one in stems.values() if one.artist == fields["artist"]]
        world.home.index.delete(
            [p.id for p in world.home.index.scroll() if p.segment.stem.id in own]
        )
    try:
        plan = world.workspace.plan(GenerationRequest("slow", **QUICK, **asked))
    except RequestRefused as refused:
        assert refused.hint and f"nothing by {fields['artist']}" in refused.message
        return
    except (InvalidInput, LibraryError) as error:
        named = [one for one in fields["references"] if one in fields["exclude"]]
        assert named or not is_indexed, error
        return
    shares, _ = used_shares(plan)
    own_shares = [max(shares[i].values()) for i, one in enumerate(plan.references)
                  if one.stem.artist == fields["artist"]]  # fmt: skip
    assert max(own_shares, default=0.0) > 0


@pytest.fixture
def opened(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    opened_by(monkeypatch, world.workspace, generate, batch)
    return world


def test_the_command_ends_with_3_and_says_what_helps(
    opened: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unindexed(opened)
    asked = ["generate", "zither", "--artist", TARGET_ARTIST, "--duration", "4", "--json"]
    for more in (["--dry-run"], ["--out", str(tmp_path / "a.wav")]):
        capsys.readouterr()
        assert run([*asked, *more]) == 3
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["type"] == "RequestRefused" and "rag-audio index" in error["hint"]
    assert not list(tmp_path.iterdir())


def test_a_row_of_a_batch_is_refused_and_the_others_are_made(
    opened: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unindexed(opened)
    rows = tmp_path / "rows.csv"
    rows.write_text(f"prompt,artist\nzither,{TARGET_ARTIST}\nwarm,{GOOD_ARTIST}\n")
    capsys.readouterr()
    folder = tmp_path / "out"
    assert run(["generate", "--batch", str(rows), "--out", str(folder), "--duration", "4",
                "--json"]) == 3  # fmt: skip
    first, second = json.loads(capsys.readouterr().out)["results"]
    assert first["status"] == "failed" and "index" in first["error"]["hint"]
    assert second["status"] == "made"

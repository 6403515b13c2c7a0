"""``--audio`` as a melody: what the plan says, whose rights hold, what the ledger keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rag_audio.audio import writing
from rag_audio.audio.pitch_tracking import Tune, transcribe
from rag_audio.cli.app import run
from rag_audio.domain import Audio, AudioAs, Channel, ConditioningPlan, Layer, Mix, Use
from rag_audio.domain.licensing import RevocationOf
from rag_audio.domain.plan import Note, notes_to_text, plan_from_json, plan_to_json
from rag_audio.domain.ports import Mark
from rag_audio.domain.stems import FileState
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.generation.melody_arrangement import BroughtMelody
from rag_audio.generation.planning import make_plan
from rag_audio.generation.seed_audio import seed_audio
from rag_audio.provenance.counterfactual import reduced
from rag_audio.provenance.influence import signal_share, used_shares
from rag_audio.provenance.ledger.commitments import seal
from tests.generation.test_planning import INFO, RIGHTS, reference, tone, words
from tests.support.hums import make_notes, pad_chords, perform
from tests.support.rights_world import World
from tests.support.small_library import RATE

QUICK: dict[str, Any] = {"seed": 1}
TUNE = Tune((Note(0.5, 1.0, 50), Note(1.0, 2.0, 54), Note(2.5, 3.5, 57)), 4.0, 0.0, 1.0, 1.0)
BROUGHT = BroughtMelody(TUNE, "ab" * 32, "own")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("melodies"))
    yield made
    made.workspace.close()


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    world.reset()


@pytest.fixture
def hum(tmp_path: Path) -> str:
    path = tmp_path / "hum.wav"
    writing.save(perform(make_notes(3, 4.0), "hum", duration_s=4.0).audio, path)
    return str(path)


def plan_of(*references: Any, brought: BroughtMelody = BROUGHT, **fields: Any) -> ConditioningPlan:
    from rag_audio.domain import GenerationRequest

    request = GenerationRequest(**{"prompt": "solo flute", "audio": "hum.wav", **fields})
    return make_plan(
        request, references, rights=RIGHTS, info=INFO, count_tokens=words, seed=1, brought=brought
    )


def play(notes: Any, instrument: str, duration_s: float, sample_rate: int) -> Audio:
    """Each note as a sine."""
    t = np.arange(round(duration_s * sample_rate)) / sample_rate
    wave = sum(
        np.sin(2 * np.pi * 440 * 2 ** ((n.pitch - 69) / 12) * t)
        * ((t >= n.start_s) & (t < n.end_s))
        for n in notes
    )
    return Audio((0.3 * np.asarray(wave))[None].astype(np.float32), sample_rate)


def test_a_tune_alone_seeds_the_sound_in_the_asked_instrument_and_register() -> None:
    plan = plan_of(reference("a"))
    assert plan.melody is not None
    assert (plan.melody.instrument, plan.melody.weight) == ("Flute", 1.0)
    assert [note.pitch for note in plan.melody.notes] == [62, 66, 69]
    assert plan.seed_parts == ()  # what was only found gives words
    assert plan.strength == INFO.default_strength
    assert plan.duration_s == 4.0
    assert plan.bpm is None
    assert any(note.startswith("melody: 3 notes, 1 octave higher, by Flute") for note in plan.notes)
    shares, rest = used_shares(plan)
    assert shares[0][Channel.INIT] == 0.0
    assert rest[Channel.INIT] == 1.0


def test_the_seed_is_the_tune_rests_and_all_and_begins_again() -> None:
    plan = plan_of(duration_s=8.0)
    seed = seed_audio(plan, tone, 16_000, 2, play)
    assert seed is not None
    assert seed.samples.shape == (2, 8 * 16_000)
    heard = transcribe(seed)
    starts = [note.start_s for note in heard.notes]
    assert [note.pitch for note in heard.notes] == [62, 66, 69] * 2
    assert starts == pytest.approx([0.5, 1.0, 2.5, 4.5, 5.0, 6.5], abs=0.06)
    assert np.abs(seed.samples[:, : round(0.4 * 16_000)]).max() < 1e-6


def test_named_references_play_beside_the_tune_and_own_the_rest_of_the_seed() -> None:
    a, b = reference("a"), reference("b", tags=("drums",))
    plan = plan_of(a, b, references=("a",), layers=((Layer.DRUMS, "b"),), strength=0.4)
    assert plan.melody is not None
    assert [part.reference for part in plan.seed_parts] == [1]  # of the named those with a layer
    shares, rest = used_shares(plan)
    kept = signal_share(0.4)
    assert shares[1][Channel.INIT] == pytest.approx(kept * (1 - plan.melody.weight))
    assert rest[Channel.INIT] == pytest.approx(1 - kept * (1 - plan.melody.weight))
    both = plan_of(a, references=("a",), key=a.stem.key)
    seed = seed_audio(both, tone, 16_000, 1, play)
    assert seed is not None
    power = np.abs(np.fft.rfft(seed.samples[0].astype(np.float64))) ** 2
    at = np.fft.rfftfreq(seed.frames, 1 / 16_000)
    low, high = power[np.abs(at - 220) < 3].sum(), power[at > 270].sum()
    assert 0.2 < low / (low + high) < 0.6  # the reference's tone is at 220 Hz, with 0.4 of it


def test_the_instrument_is_asked_for_or_that_of_a_reference_that_gives_words() -> None:
    of_words = reference("a", tags=("slow", "vibraphone"))
    for fields, wanted in (
        ({"prompt": "slow"}, "Vibraphone"),
        ({"prompt": "slow", "instrumentation": ("cello",)}, "Cello"),
        ({"prompt": "slow", "midi_instruments": ("Oboe",)}, "Oboe"),
        ({"prompt": "slow piano"}, "Acoustic Grand Piano"),
    ):
        melody = plan_of(of_words, **fields).melody
        assert melody is not None
        assert melody.instrument == wanted
    silent = plan_of(reference("a", license="sound", tags=("vibraphone",)), prompt="slow").melody
    assert silent is not None
    assert silent.instrument == "Acoustic Grand Piano"


@pytest.mark.parametrize(
    "fields",
    [{"strength": 1.0}, {"channels": frozenset({Channel.PROMPT})}, {"mix": Mix.LATENT}],
)
def test_a_tune_without_a_way_into_the_sound_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="a melody is"):
        plan_of(**fields)


def test_what_was_recognised_in_the_file_owns_the_tune() -> None:
    stem = reference("a").stem
    plan = plan_of(brought=replace(BROUGHT, stems=(stem,), source_rights=None), strength=0.4)
    assert plan.melody is not None
    assert plan.melody.sources == (0,)
    assert [license.key for license in plan.licenses] == ["l/full"]
    shares, _ = used_shares(plan)
    assert shares[0][Channel.INIT] == pytest.approx(signal_share(0.4))
    without = reduced(plan, 0)
    assert without.melody is None
    assert without.strength == 1.0
    assert reduced(plan_of(reference("a")), 0).melody is not None


def test_the_plan_s_document_comes_back_and_a_wrong_one_does_not() -> None:
    plan = plan_of(reference("a"))
    document = json.loads(json.dumps(plan_to_json(plan)))
    assert plan_from_json(document) == plan
    for wrong in ({"sources": [3]}, {"notes": "x"}, {"weight": 2}, {"period_s": 0.1}):
        with pytest.raises(InvalidInput):
            plan_from_json({**document, "melody": {**document["melody"], **wrong}})


def test_one_voice_is_followed_and_anything_else_is_searched_by(
    world: World, hum: str, tmp_path: Path
) -> None:
    plan = world.workspace.plan("solo flute", audio=hum, audio_rights="own", **QUICK)
    assert plan.melody is not None
    assert plan.melody.source_rights == "own"
    assert any("hum.wav is one voice" in note for note in plan.notes)
    searched = world.workspace.plan(
        "solo flute", audio=hum, audio_rights="own", audio_as=AudioAs.SEARCH, **QUICK
    )
    assert searched.melody is None
    chords = tmp_path / "chords.wav"
    writing.save(pad_chords(), chords)
    other = world.workspace.plan("solo flute", audio=str(chords), audio_rights="own", **QUICK)
    assert other.melody is None
    assert any("chords.wav is not one voice alone" in note for note in other.notes)
    with pytest.raises(InvalidInput, match="no single melody to follow in chords"):
        world.workspace.plan(
            "slow", audio=str(chords), audio_rights="own", audio_as=AudioAs.MELODY, **QUICK
        )


def test_nobody_s_tune_is_followed_without_a_statement(world: World, hum: str) -> None:
    for use in (None, AudioAs.MELODY):
        with pytest.raises(InvalidInput, match="state your rights to"):
            world.workspace.plan("slow", audio=hum, audio_as=use, **QUICK)


def test_a_stem_s_tune_is_followed_by_its_own_license_alone(world: World, hum: str) -> None:
    """A line of the library, brought as if it were a hum: its sound needs ``init_audio``."""
    stem = replace(
        world.target,
        id=sha256(Path(hum).read_bytes()).hexdigest(),
        title="Hidden Line",
        path="line.wav",
    )
    world.home.catalogue.put_files("small", [FileState("line.wav", 1, 1, "", "", stem)])
    ask = {"audio": hum, "audio_rights": "own", "k": 0, **QUICK}
    try:
        assert world.workspace.plan("slow", **ask).melody is None  # known: it is searched by
        plan = world.workspace.plan("slow", audio_as=AudioAs.MELODY, **ask)
        assert plan.melody is not None
        assert [plan.references[i].stem.title for i in plan.melody.sources] == ["Hidden Line"]
        assert plan.melody.source_rights is None  # what was stated does not count
        world.license(uses=frozenset({Use.PROMPT}))
        assert world.workspace.plan("slow", **ask).melody is None
        with pytest.raises(RequestRefused, match="Hidden Line"):
            world.workspace.plan("slow", audio_as=AudioAs.MELODY, **ask)
        with pytest.raises(RequestRefused, match="Hidden Line"):
            world.workspace.renew(plan)
    finally:
        world.home.catalogue.remove_files("small", ["line.wav"])


def test_the_ledger_has_the_tune_aside_and_its_plan_is_played_again(
    world: World, hum: str, tmp_path: Path
) -> None:
    (made,) = world.workspace.generate(
        "solo flute", tmp_path / "a.wav", audio=hum, audio_rights="own", **QUICK
    )
    assert made.plan.melody is not None
    (given,) = world.generator.given
    assert given.init_audio is not None
    wanted = [pitch for pitch, _ in groupby(note.pitch for note in made.plan.melody.notes)]
    heard = transcribe(given.init_audio).notes
    assert [pitch for pitch, _ in groupby(note.pitch for note in heard)] == wanted
    found = world.home.ledger.find(made.record.output)
    assert found is not None
    assert found.record.plan["melody"]["source_rights"] == "own"
    text = notes_to_text(made.plan.melody.notes)
    assert found.record.plan["melody"]["notes"] == text
    assert text.encode() not in seal(made.record).document
    Path(hum).unlink()  # the plan holds all that it needs
    world.generator.given.clear()
    world.workspace.replay(made.plan, tmp_path / "b.wav")
    (again,) = world.generator.given
    assert again.init_audio is not None
    np.testing.assert_array_equal(again.init_audio.samples, given.init_audio.samples)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"source_rights": None}, "does not state the rights"),
        ({"instrument": "Theremin"}, "not a General MIDI instrument"),
        ({"weight": 0.5}, "a weight of 0.5"),
    ],
)
def test_a_plan_that_was_tampered_with_is_not_played(
    world: World, hum: str, change: dict[str, Any], why: str
) -> None:
    plan = world.workspace.plan("solo flute", audio=hum, audio_rights="own", **QUICK)
    assert plan.melody is not None
    with pytest.raises(InvalidInput, match=why):
        world.workspace.renew(replace(plan, melody=replace(plan.melody, **change)))


def test_what_is_revoked_on_the_way_stops_a_tune_that_is_owed_to_it(
    world: World, tmp_path: Path
) -> None:
    (made,) = world.workspace.generate(
        "slow", tmp_path / "first.wav", references=(world.target.id,), duration_s=4.0, **QUICK
    )
    hummed = tmp_path / "marked.wav"
    writing.save(perform(make_notes(9, 4.0), "hum", duration_s=4.0).audio, hummed)
    world.watermarker.heard = Mark(made.record.output)  # as if an output of ours were in it
    ask = {"audio": str(hummed), "audio_as": AudioAs.MELODY, "k": 0, **QUICK}
    plan = world.workspace.plan("slow", **ask)
    assert plan.melody is not None
    assert [plan.references[i].stem.id for i in plan.melody.sources] == [world.target.id]
    world.generator.before_run = lambda: world.revoke(RevocationOf.STEM, world.target.id)
    with pytest.raises(RequestRefused, match="revoked"):
        world.workspace.generate("slow", tmp_path / "no.wav", **ask)
    assert not (tmp_path / "no.wav").exists()


def test_the_command_line_says_in_a_line_what_cannot_be_followed(
    indexed_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(RATE), RATE)
    ask = ["generate", "slow", "--dry-run", "--home", str(indexed_home), "--audio", str(silence)]
    assert run([*ask, "--audio-rights", "own", "--audio-as", "melody"]) == 2
    told = capsys.readouterr().err
    assert "there is no melody in silence.wav: it is silent" in told
    assert "Traceback" not in told
    assert run([*ask, "--audio-as", "sing"]) == 2
    assert "audio_as must be search or melody" in capsys.readouterr().err
    assert run(["generate", "slow", "--dry-run", "--audio-as", "melody"]) == 2
    assert "--audio FILE" in capsys.readouterr().err

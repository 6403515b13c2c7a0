"""What is heard of velocities, the pedal, programs, volume, expression and pan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rag_audio.audio import midi
from rag_audio.audio.score_similarity import shared_notes
from rag_audio.audio.scores import (
    NoteScore,
    ScoreNote,
    ScorePart,
    parse,
    score_from_json,
    score_to_json,
)
from rag_audio.domain import Audio
from tests.audio.test_midi_file import event, note, smf, track

ORGAN, PIANO, FLUTE = 16, 0, 73


def played(path: Path, *events: bytes, program: int = ORGAN) -> Audio:
    path.write_bytes(smf(track(event(0, 0xC0, program), *events)))
    return midi.render(path, sample_rate=22_050)


def level(
    audio: Audio, start_s: float = 0.0, end_s: float = 99.0, channel: int | None = None
) -> float:
    """RMS of a part."""
    rate = audio.sample_rate
    part = audio.samples[:, round(start_s * rate) : round(end_s * rate)]
    return float(np.sqrt(np.mean((part if channel is None else part[channel]) ** 2)))


@pytest.mark.parametrize(
    ("velocity", "gain"), [(127, 1.4312), (100, 1.0), (64, 0.512), (20, 0.08944)]
)
def test_velocities_are_played(tmp_path: Path, velocity: int, gain: float) -> None:
    """Half the velocity is 9 dB less, within a twentieth of a decibel."""
    path = tmp_path / "a.mid"
    loud = played(path, event(0, 0x90, 60, 100), event(960, 0x80, 60, 0))
    heard = played(path, event(0, 0x90, 60, velocity), event(960, 0x80, 60, 0))
    assert level(heard) / level(loud) == pytest.approx(gain, rel=0.01)


def test_the_pedal_holds_notes_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    short = note(60, 240)
    dry = played(path, short, event(1680, 0xB0, 64, 0))
    held = played(path, event(0, 0xB0, 64, 127), short, event(1680, 0xB0, 64, 0))
    assert level(dry, 1.0, 1.2) < 0.01 * level(dry, 0.0, 0.2)
    assert level(held, 1.0, 1.2) > 0.5 * level(held, 0.0, 0.2)
    assert held.duration_s == pytest.approx(3.0, abs=0.01)  # the pedal's two seconds and a tail
    score = parse(path)
    assert [(n.start_s, n.end_s) for n in score.parts[0].notes] == [(0.0, 0.25)]
    assert [(n.start_s, n.end_s) for n in score.parts[0].sounding()] == [(0.0, 2.0)]
    assert midi.read(path).duration_s == 0.25


@pytest.mark.parametrize(("value", "held"), [(63, False), (64, True)])
def test_the_pedal_is_down_from_64_on(tmp_path: Path, value: int, held: bool) -> None:
    path = tmp_path / "a.mid"
    played(path, event(0, 0xB0, 64, value), note(60, 240), event(720, 0xB0, 64, 0))
    (part,) = parse(path).parts
    assert part.pedals == (((0.0, 1.0),) if held else ())


def test_the_pedal_holds_a_note_until_its_key_is_struck_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    played(
        path, event(0, 0xB0, 64, 127), note(60, 240), note(60, 240, 240), event(480, 0xB0, 64, 0)
    )
    (part,) = parse(path).parts
    assert [one.end_s for one in part.sounding()] == [0.5, 1.25]


def test_a_change_of_pedal_ends_what_it_held(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    again = event(240, 0xB0, 64, 0) + event(0, 0xB0, 64, 127)
    played(
        path, event(0, 0xB0, 64, 127), note(60, 240), again, note(64, 240), event(0, 0xB0, 121, 0)
    )
    (part,) = parse(path).parts
    assert part.pedals == ((0.0, 0.5), (0.5, 0.75))
    assert [one.end_s for one in part.sounding()] == [0.5, 0.75]


def test_a_pedal_that_stays_down_is_let_go_at_the_last_event(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    played(path, event(0, 0xB0, 64, 127), note(60, 240), note(64, 960))
    (part,) = parse(path).parts
    assert [one.end_s for one in part.sounding()] == [1.25, 1.25]


def test_the_pedal_of_one_staff_holds_the_other_one_of_its_channel(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    right = track(event(0, 0xB0, 64, 127), note(72, 240), event(720, 0xB0, 64, 0))
    path.write_bytes(smf(right, track(note(48, 240))))
    assert [part.sounding()[0].end_s for part in parse(path).parts] == [1.0, 1.0]


@pytest.mark.parametrize("kit", [8, 16, 25, 40, 127])
def test_a_drum_kit_that_the_soundfont_lacks_is_its_standard_kit(tmp_path: Path, kit: int) -> None:
    beat = note(36, 240, channel=9) + note(38, 240, channel=9)
    usual, other = tmp_path / "usual.mid", tmp_path / "other.mid"
    usual.write_bytes(smf(track(beat)))
    other.write_bytes(smf(track(event(0, 0xC9, kit), beat)))
    wanted = midi.render(usual).samples
    assert np.abs(wanted).max() > 0.01
    assert np.array_equal(midi.render(other).samples, wanted)


def test_drums_have_no_pedal(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(smf(track(event(0, 0xB9, 64, 127), note(38, 240, channel=9))))
    assert parse(path).parts[0].pedals == ()


def test_the_pedal_does_not_change_what_scores_are_compared_by(tmp_path: Path) -> None:
    notes = [note(60 + n * 5 % 13, 120, 120) for n in range(40)]
    found = []
    for name, first in (("dry", b""), ("held", event(0, 0xB0, 64, 127))):
        path = tmp_path / f"{name}.mid"
        path.write_bytes(smf(track(first, *notes)))
        found.append(parse(path))
    assert shared_notes(*found) == 1.0
    assert [part.notes for part in found[0].parts] == [part.notes for part in found[1].parts]


def test_a_program_change_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    one = played(path, note(69, 480), note(69, 480))
    two = played(path, note(69, 480), event(0, 0xC0, FLUTE), note(69, 480))
    flute = played(path, event(0, 0xC0, FLUTE), note(69, 480), note(69, 480))
    for like, unlike, part in ((one, flute, slice(0, 9000)), (flute, one, slice(13_000, 20_000))):
        assert np.corrcoef(like.samples[0, part], two.samples[0, part])[0, 1] > 0.99
        assert np.corrcoef(unlike.samples[0, part], two.samples[0, part])[0, 1] < 0.9
    path.write_bytes(smf(track(event(0, 0xC0, ORGAN), note(), event(0, 0xC0, FLUTE), note())))
    assert midi.read(path).instruments == ("Drawbar Organ", "Flute")


@pytest.mark.parametrize(
    ("control", "value", "gain"),
    [(7, 100, 1.0), (7, 127, 1.6129), (7, 50, 0.25), (11, 127, 1.0), (11, 64, 0.254)],
)
def test_volume_and_expression_are_played(
    tmp_path: Path, control: int, value: int, gain: float
) -> None:
    path = tmp_path / "a.mid"
    usual = played(path, note(60, 960))
    heard = played(path, event(0, 0xB0, control, value), note(60, 960))
    assert level(heard) / level(usual) == pytest.approx(gain, rel=0.015)


def test_a_swell_is_heard_within_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    swell = [event(0, 0x90, 60, 100)]
    swell += [event(48, 0xB0, 11, round(127 * (n + 1) / 40)) for n in range(40)]
    heard = played(path, event(0, 0xB0, 11, 1), *swell, event(0, 0x80, 60, 0))
    steps = [level(heard, at, at + 0.2) for at in (0.2, 0.6, 1.0, 1.4, 1.7)]
    assert steps == sorted(steps)
    assert steps[-1] > 20 * steps[0]


@pytest.mark.parametrize(("value", "side"), [(0, 0), (127, 1)])
def test_pan_is_played(tmp_path: Path, value: int, side: int) -> None:
    path = tmp_path / "a.mid"
    heard = played(path, event(0, 0xB0, 10, value), note(60, 960))
    assert level(heard, channel=side) > 0.001
    assert level(heard, channel=1 - side) < 1e-3 * level(heard, channel=side)
    middle = played(path, event(0, 0xB0, 10, 64), note(60, 960))
    plain = played(path, note(60, 960))
    assert np.array_equal(middle.samples, plain.samples)


def test_pitch_bends_are_not_played_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(smf(track(event(0, 0xE0, 0, 64), event(0, 0xE0, 0, 96), note())))
    assert parse(path).notices == ("track 1: its pitch bends are not played",)
    path.write_bytes(smf(track(event(0, 0xE0, 0, 64), note())))
    assert parse(path).notices == ()


def test_levels_are_followed_at_another_tempo_and_within_a_window(tmp_path: Path) -> None:
    """The volume falls at the second beat."""
    path = tmp_path / "a.mid"
    fall = event(0, 0x90, 60, 100), event(960, 0xB0, 7, 20), event(960, 0x80, 60, 0)
    whole = played(path, *fall)
    fast = midi.render(path, sample_rate=22_050, tempo_ratio=2.0)
    for audio, at in ((whole, 1.0), (fast, 0.5)):
        assert level(audio, at + 0.02, at + 0.3) < 0.1 * level(audio, at - 0.3, at - 0.02)
    part = midi.render(path, sample_rate=22_050, start_s=0.9, duration_s=0.5)
    there = whole.samples[:, round(0.9 * 22_050) :][:, : part.frames]
    assert np.corrcoef(part.samples.ravel(), there.ravel())[0, 1] > 0.98


def test_many_parts_of_different_volume_are_played_in_time(tmp_path: Path) -> None:
    parts = tuple(
        ScorePart(
            0, False, (ScoreNote(0.0, 0.5, 60, 90),), levels=((0.0, 1.0), (0.1 + n / 9e4, 0.5))
        )
        for n in range(3000)
    )
    heard = midi.render(NoteScore(parts, ((0.0, 120.0),), True, None, None), sample_rate=8000)
    assert 0.5 < np.abs(heard.samples).max() <= 0.98


def test_pedals_levels_and_notices_travel_as_json_and_older_scores_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(
        smf(
            track(event(0, 0xB0, 64, 127), event(0, 0xB0, 7, 50), event(0, 0xB0, 10, 0), note(),
                  event(0, 0xB0, 64, 0)), stated=3)
    )  # fmt: skip
    score = parse(path)
    (part,) = score.parts
    assert (part.pedals, part.levels, part.pans) == (((0.0, 0.5),), ((0.0, 0.25),), ((0.0, -1.0),))
    assert score.notices == ("the header says 3 tracks, 1 is there",)
    document = score_to_json(score)
    assert score_from_json(document) == score
    for name in ("pedals", "levels", "pans"):
        del document["parts"][0][name]
    del document["notices"]
    plain = score_from_json(document)
    assert (plain.notices, plain.parts[0].levels, plain.notes) == ((), (), 1)
    assert set(score_to_json(plain)["parts"][0]) == {"program", "drum", "notes"}
    assert "notices" not in score_to_json(plain)


@pytest.mark.parametrize(
    "wrong", [{"levels": [[0.0, 5.0]]}, {"pans": [[0.0, 2.0]]}, {"pedals": [[1.0, 9e9]]},
              {"levels": [[1.0, 1.0], [0.5, 1.0]]}, {"pans": [[-1.0, 0.0]]}]
)  # fmt: skip
def test_courses_out_of_range_are_no_score(wrong: dict[str, object]) -> None:
    made = ScorePart(0, False, (ScoreNote(0.0, 0.5, 60, 90),))
    document = score_to_json(NoteScore((made,), ((0.0, 120.0),), True, None, None))
    document["parts"][0] |= wrong
    with pytest.raises(ValueError, match="out of range"):
        score_from_json(document)

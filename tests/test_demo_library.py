"""The embedded demo library: reproducible, readable, musically what its table says."""

from __future__ import annotations

import csv
import json
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from rag_audio.domain import Audio, Key
from rag_audio.resources import data_dir
from training.demo_library import build, render_audio

LIBRARY = data_dir("demo")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (LIBRARY / "stems.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def scores(rows) -> dict[str, pretty_midi.PrettyMIDI]:
    paths = [row["path"] for row in rows if row["path"].endswith(".mid")]
    return {path: pretty_midi.PrettyMIDI(str(LIBRARY / path)) for path in paths}


def test_building_again_gives_the_same_bytes(tmp_path):
    for path in build(tmp_path):
        name = path.relative_to(tmp_path)
        assert path.read_bytes() == (LIBRARY / name).read_bytes(), name


def test_every_score_parses_is_listed_and_is_long_enough(scores):
    on_disk = {path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*.mid")}
    assert on_disk == set(scores)
    assert len(scores) >= 24
    for path, score in scores.items():
        assert score.get_end_time() >= 15.5, path
        assert all(inst.notes for inst in score.instruments), path


def test_tempos_are_as_declared_and_spread(rows, scores):
    declared = {row["path"]: float(row["bpm"]) for row in rows}
    for path, score in scores.items():
        _, tempi = score.get_tempo_changes()
        assert tempi == pytest.approx([declared[path]], abs=0.05), path
    tempos = sorted(set(declared.values()))
    assert tempos[0] <= 70 and tempos[-1] >= 140 and len(tempos) >= 10


def test_notes_lie_in_the_declared_key(rows, scores):
    for row in rows:
        if row["path"] not in scores or not row["key"]:
            continue
        key = Key.parse(row["key"])
        # With the modes' and the blues' notes: sixth and seventh either way, a flat third over IV7.
        steps = (0, 2, 3, 5, 7, 8, 9, 10, 11) if key.minor else (0, 2, 3, 4, 5, 7, 9, 10, 11)
        weights: Counter[int] = Counter()
        for inst in scores[row["path"]].instruments:
            for note in inst.notes if not inst.is_drum else ():
                weights[(note.pitch - key.tonic) % 12] += note.end - note.start
        inside = sum(w for step, w in weights.items() if step in steps)
        assert inside > 0.97 * sum(weights.values()), row["path"]
        fifth_and_tonic = weights[0] + weights[7]
        assert fifth_and_tonic > 0.15 * sum(weights.values()), row["path"]


def test_drum_stems_have_no_key_and_only_drums(rows, scores):
    drums = [row for row in rows if row["path"] in scores and row["path"].endswith("drums.mid")]
    assert len(drums) >= 5
    for row in drums:
        assert row["key"] == ""
        assert all(inst.is_drum for inst in scores[row["path"]].instruments)


def test_licenses_differ_in_what_they_grant(rows):
    document = tomllib.loads((LIBRARY / "library.toml").read_text(encoding="utf-8"))
    licenses = document["licenses"]
    uses = {frozenset(granted["uses"]) for granted in licenses.values()}
    assert frozenset({"prompt"}) in uses
    assert frozenset({"prompt", "init_audio", "style"}) in uses
    assert any("train" in granted for granted in uses)
    assert any(granted["territories"] == ["DE", "AT", "CH"] for granted in licenses.values())
    assert any(str(granted.get("valid_until", "9999")) < "2026" for granted in licenses.values())
    assert {row["license"] for row in rows} == set(licenses)
    assert len({row["artist"] for row in rows}) >= 6


def test_the_story_names_files_and_artists_of_the_library(rows):
    story = json.loads((LIBRARY / "demo.json").read_text(encoding="utf-8"))
    paths = {row["path"] for row in rows}
    assert story["renders"]
    for job in story["renders"]:
        assert (LIBRARY / job["midi"]).is_file()
        assert job["audio"] in paths
    listed = {row["path"] for row in rows if row["path"].endswith(".wav")}
    assert listed == {job["audio"] for job in story["renders"]}
    artists = {row["artist"]: row["license"] for row in rows}
    assert story["request"]["artist"] in artists
    refused = [name for name in artists if name in story["refused_prompt"]]
    assert [artists[name] for name in refused] == ["lantern-words-only"]


def test_scores_can_be_rendered_into_a_copy(tmp_path):
    build(tmp_path)
    silence = Audio(np.zeros((2, 4410), np.float32), 44100)
    heard: list[Path] = []

    def render(path: Path) -> Audio:
        heard.append(path)
        return silence

    made = render_audio(tmp_path, render)
    assert len(made) == len(heard) > 0
    assert all(path.stat().st_size > 1000 for path in made)


def test_arrangements_share_their_stems_notes(scores):
    mix = scores["velda-quarn/last-tram.mid"]
    stem = scores["velda-quarn/last-tram-bass.mid"]
    low = [n for inst in mix.instruments if inst.program == 39 for n in inst.notes]
    assert [(n.start, n.pitch) for n in low] == [
        (n.start, n.pitch) for inst in stem.instruments for n in inst.notes
    ]

"""Inputs that were heard wrong, refused, or taken without a word, with what is right for each.

What a plan says of prompts that cannot be read is tested in ``tests/pipeline/test_pipeline.py``; a
whole drive of such files in ``tests/indexer/test_label_drive.py``.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from indexer.build import index_library
from indexer.report import IndexReport
from rag_audio.audio import midi
from rag_audio.audio.channels import heard
from rag_audio.audio.reading import load
from rag_audio.cli.app import run
from rag_audio.domain import Audio, Stem
from rag_audio.domain.ports import DiffusionInput, Progress, StopAsked
from rag_audio.errors import RequestRefused
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.resources import data_dir
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from tests.retrieval.sounds import RATE as STEM_RATE
from tests.retrieval.test_disguised_stems import TARGET, Tunes
from tests.support import label_files as made
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.rights_world import FakeGenerator, World
from tests.support.whole_home import Listening

CASES = Path(__file__).parent / "data" / "label_files"
HAS_FFMPEG = shutil.which("ffmpeg") is not None

TOML = """\
[library]
name = "Cases"
[licenses.full]
holder = "Invented Holder"
spdx = "LicenseRef-Cases-1"
uses = ["prompt", "init_audio", "style"]
[licenses.bare]
holder = "Invented Holder"
spdx = "LicenseRef-Cases-2"
uses = ["prompt", "init_audio"]
"""
SONG = made.music(1, 6.0, 44_100)
"""Six seconds."""


@dataclass(frozen=True)
class Right:
    """What is right for an input: seconds and tempo of its stem, and whether something is said."""

    seconds: float
    bpm: float | None = None
    noticed: bool = False


RIGHT = {
    "a01_tempo_on_second_track.mid": Right(10.67, 90.0),
    "a06_ppq32767_6min.mid": Right(180.0, 120.0),
    "a08_key_8flats.mid": Right(10.67, 90.0, noticed=True),
    "a16_zero_length_drums.mid": Right(10.5, 90.0, noticed=True),
    "a22_header_says_5_tracks.mid": Right(10.67, 90.0, noticed=True),
    "a25_unknown_chunk.mid": Right(10.67, 90.0),
    "m02_vbr_no_xing.mp3": Right(6.0),
    "o02_truncated.ogg": Right(3.0, noticed=True),
    "data_size_zero.wav": Right(6.0, noticed=True),
    "piped_unknown_length.flac": Right(6.0),
    "antiphase.wav": Right(6.0),
    "only_lfe.wav": Right(6.0, noticed=True),
}


def write_cases(root: Path) -> None:
    """The inputs of :data:`RIGHT`, under one license."""
    root.mkdir(parents=True)
    for file in CASES.iterdir():
        shutil.copy(file, root / file.name)
    (root / "data_size_zero.wav").write_bytes(made.wav_of_a_killed_recorder(SONG, rate=44_100))
    piped = made.flac_of_unknown_length(made.music(2, 6.0, 44_100), rate=44_100)
    (root / "piped_unknown_length.flac").write_bytes(piped)
    other = made.music(3, 6.0, 44_100)
    soundfile.write(root / "antiphase.wav", np.stack([other, -other], 1), 44_100, subtype="PCM_24")
    six = np.zeros((SONG.size, 6))
    six[:, 3] = made.music(4, 6.0, 44_100)
    soundfile.write(root / "only_lfe.wav", six, 44_100)
    (root / "library.toml").write_text(TOML, encoding="utf-8")
    (root / "stems.csv").write_text("path,license,artist\n**,full,Case Band\n", encoding="utf-8")


@dataclass(frozen=True)
class Indexed:
    """What indexing the cases gave."""

    report: IndexReport
    stems: dict[str, Stem]

    def notices(self, path: str) -> list[str]:
        """What is said of a file."""
        return [notice.text for notice in self.report.noticed if notice.path == path]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexed]:
    base = tmp_path_factory.mktemp("cases")
    write_cases(base / "library")
    engine = connect(sqlite_url(base / "home" / "ledger.db"))
    catalogue = SqlCatalogue(engine, SqlRightsLog())
    soundfont = next(data_dir("soundfont").glob("*.sf2"))
    report = index_library(
        base / "library",
        embedder=FakeEmbedder(),
        index=FakeIndex(),
        catalogue=catalogue,
        render=partial(midi.render, soundfont=soundfont),
        workers=0,
        on=date(2026, 6, 1),
    )
    files = catalogue.files("cases")
    yield Indexed(report, {path: state.stem for path, state in files.items()})
    engine.dispose()


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_is_read_whole_and_what_is_odd_is_said(indexed: Indexed, name: str) -> None:
    right = RIGHT[name]
    assert not [item for item in indexed.report.rejected if item.path == name]
    stem = indexed.stems[name]
    assert stem.duration_s == pytest.approx(right.seconds, abs=0.1)
    if right.bpm is not None:
        assert (stem.bpm, stem.bpm_confidence) == (pytest.approx(right.bpm, abs=0.01), 1.0)
    assert bool(indexed.notices(name)) == right.noticed, indexed.notices(name)


def test_hits_without_length_are_hits() -> None:
    assert midi.read(CASES / "a16_zero_length_drums.mid").notes == 32


def test_the_low_frequency_channel_alone_has_no_loudness(indexed: Indexed) -> None:
    assert indexed.stems["only_lfe.wav"].loudness_lufs is None


def test_opposite_polarity_is_heard(tmp_path: Path) -> None:
    file = tmp_path / "antiphase.wav"
    soundfile.write(file, np.stack([SONG, -SONG], 1), 44_100, subtype="PCM_24")
    assert np.sqrt(np.mean(heard(load(file)).samples ** 2)) > 0.02


def test_a_stem_hidden_from_the_sum_is_recognised(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    tunes = Tunes(tmp_path_factory.mktemp("tunes"))
    t = np.arange(TARGET.size) / STEM_RATE
    stem, noise = TARGET * 0.7, 0.02 * np.sin(2 * np.pi * 330 * t)
    file = tmp_path / "hidden_stem.wav"
    soundfile.write(file, np.stack([stem + noise, noise - stem], 1), STEM_RATE, subtype="PCM_24")
    with pytest.raises(RequestRefused, match="it holds Hidden Tide"):
        tunes.workspace.plan("slow", audio=str(file), audio_as="melody", audio_rights="own")


def test_samples_above_full_scale_stay_or_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "float_above_full_scale.wav", tmp_path / "marked.wav"
    soundfile.write(file, (SONG * 6).astype(np.float32), 44_100, subtype="FLOAT")
    home = ["--home", str(tmp_path / "home")]
    assert run(["watermark", "embed", str(file), str(out), "--payload", "5", *home]) == 0
    loudest = np.abs(soundfile.read(out)[0]).max()
    kept = soundfile.info(out).subtype in ("FLOAT", "DOUBLE") and loudest > 2.5
    said = capsys.readouterr()
    assert kept or "limited" in said.out + said.err


# Outputs that are traced in what phones and pipes make of them.


class Tuneful(FakeGenerator):
    """Gives a tune, whatever it is asked for."""

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        rate = self.info.sample_rate
        sound = made.music(batch.seeds[0] % 1000, batch.duration_s, rate)
        return (Audio(sound[None].astype(np.float32), rate),)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Path]]:
    """A home with one output, and the file of that output."""
    base = tmp_path_factory.mktemp("traced")
    world = World(base)
    world.generator = Tuneful()
    world.home.watermarker = Listening()
    out = base / "take.wav"
    world.workspace.generate("slow", out, duration_s=10.0, seed=77, k=1)
    yield world.workspace, out


def test_an_output_is_traced_through_a_pipe_of_flac(
    traced: tuple[Workspace, Path], tmp_path: Path
) -> None:
    workspace, out = traced
    sound, rate = soundfile.read(out)
    file = tmp_path / "piped.flac"
    file.write_bytes(made.flac_of_unknown_length(sound, rate=rate))
    assert workspace.trace(file).output == 1


def test_an_output_is_traced_in_what_a_phone_sends(
    traced: tuple[Workspace, Path], tmp_path: Path
) -> None:
    workspace, out = traced
    file = tmp_path / "plain.m4a"
    if HAS_FFMPEG:
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(out), str(file)], check=True)
        assert workspace.trace(file).output == 1


# Names.

NAMES = (
    "!!!", "???", "A", "AC/DC", "Björk", "ラウド", "ラウト", "+/-", "Sunn O)))", "The The",
    "M.I.A.", "Γιάννης", "José González",
)  # fmt: skip


@pytest.mark.parametrize("half", [0, 1])
def test_each_artist_is_itself_or_refused(tmp_path: Path, half: int) -> None:
    library = tmp_path / "library"
    library.mkdir()
    styled = NAMES[half::2]
    rows = ["path,license,artist,tags"]
    for i, name in enumerate(NAMES):
        soundfile.write(library / f"{i:02}.wav", made.music(i, 1.0, 8000), 8000)
        rows.append(f'{i:02}.wav,{"full" if name in styled else "bare"},"{name}",drums')
    (library / "library.toml").write_text(TOML, encoding="utf-8")
    (library / "stems.csv").write_text("\n".join(rows), encoding="utf-8")
    workspace = Named(library, tmp_path / "home").workspace
    for name in NAMES:
        assert {one.stem.artist for one in workspace.search(artist=name)} == {name}
        prompts = [f"drums in the style of {name}", f"a waltz inspired by {name}"]
        if name in styled:
            plan = workspace.plan("drums", artist=name, duration_s=1.0)
            assert {one.stem.artist for one in plan.references} == {name}
            for prompt in prompts:
                workspace.plan(prompt, duration_s=1.0)
            continue
        with pytest.raises(RequestRefused, match="does not grant style"):
            workspace.plan("drums", artist=name, duration_s=1.0)
        for prompt in prompts:
            with pytest.raises(RequestRefused, match="does not grant style"):
                workspace.plan(prompt, duration_s=1.0)


class Named(World):
    """The home of a library of somebody else's."""

    def __init__(self, library: Path, home: Path) -> None:
        from rag_audio.settings import Settings

        self.library = library
        self.workspace = Workspace(Settings(home=home))
        self.home = self.workspace.home
        self.generator = FakeGenerator()
        self.home.embedder, self.home.index = FakeEmbedder(), FakeIndex()
        self.home.generator = lambda model: self.generator  # type: ignore[method-assign]
        self.index()

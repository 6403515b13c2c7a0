"""Long files are measured while they are read: what is known of them is that of short ones."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from indexer import batches, long_sounds
from indexer.long_sounds import SpooledSound
from indexer.measure import MeasuredFile, MeasureJob, Refused, measure
from rag_audio.audio import reading
from rag_audio.audio.pieces import Piece, Pieces
from rag_audio.domain import Audio
from rag_audio.errors import BackendError
from rag_audio.storage.files import draft_folder
from tests.indexer.conftest import Bench
from tests.support.small_library import chords

RATE, HEARD_HZ = 22_050, 16_000


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of more than a second are long; pieces of landmarks are 3 s."""
    monkeypatch.setattr(reading, "WHOLE_SAMPLES", RATE)
    monkeypatch.setattr(long_sounds, "PIECE_S", 3.0)


def music(channels: int = 2, seconds: float = 10.0) -> np.ndarray:
    tunes = [chords(96 + n, 180.0 + 30 * n, seconds=seconds, seed=n) for n in (0, 1)]
    gains = np.linspace(1.0, 0.3, channels)
    made = np.outer(gains, tunes[0]) + np.outer(gains[::-1], 0.5 * tunes[1])
    return np.asarray(0.3 * made / np.abs(made).max(), dtype=np.float32)


def write(path: Path, samples: np.ndarray) -> MeasureJob:
    soundfile.write(path, samples.T, RATE, subtype="PCM_24")
    status = path.stat()
    return MeasureJob(path, status.st_size, status.st_mtime_ns, HEARD_HZ, 60.0, spool=path.parent)


def measured(job: MeasureJob) -> MeasuredFile:
    found = measure(job, lambda path: pytest.fail(f"{path} is no score"))
    assert isinstance(found, MeasuredFile)
    return found


@pytest.mark.parametrize("channels", [1, 2])
def test_a_long_file_is_measured_as_a_short_one(
    tmp_path: Path, channels: int, request: pytest.FixtureRequest
) -> None:
    job = write(tmp_path / "a.flac", music(channels))
    short = measured(job)
    request.getfixturevalue("little_memory")
    long = measured(job)
    kept = ("stem", "duration_s", "bpm", "bpm_confidence", "key", "key_confidence", "loudness_lufs")
    assert [getattr(long, name) for name in kept] == [getattr(short, name) for name in kept]
    assert isinstance(long.sound, SpooledSound)
    assert isinstance(short.sound, Audio)
    assert (long.sound.sample_rate, long.sound.frames) == (HEARD_HZ, short.sound.frames)
    whole = long.sound.part(0, long.sound.frames)
    assert np.abs(whole.samples - short.sound.samples).max() < 1e-5
    part = long.sound.part(1000, 1500)
    assert np.array_equal(part.samples, whole.samples[:, 1000:1500])
    one, other = (
        set(zip(m.hashes.tolist(), (m.times_ms // 20).tolist(), strict=True))
        for m in (short.landmarks, long.landmarks)
        if m is not None
    )
    assert len(one & other) > 0.7 * len(one)
    assert len(other) < 1.2 * len(one)
    assert long.landmarks is not None
    assert np.all(np.diff(long.landmarks.peak_times_ms) >= 0)
    long.sound.discard()
    assert list(tmp_path.glob("*.f32")) == []


@pytest.mark.usefixtures("little_memory")
def test_a_long_file_of_a_layout_is_measured_by_it(tmp_path: Path) -> None:
    samples = np.zeros((6, 6 * RATE), np.float32)
    samples[3] = music(1, 6.0)[0]
    job = replace(write(tmp_path / "low.wav", samples), embedded=True)
    found = measured(job)
    assert found.loudness_lufs is None
    assert [text.split(" alone")[0] for text in found.notices] == [
        "it sounds in the low-frequency (LFE) channel"
    ]
    assert found.landmarks is not None
    assert found.landmarks.hashes.size > 50


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("samples", "limit_s", "reason"),
    [
        (np.zeros((2, 3 * RATE), np.float32), 60.0, "it is silent"),
        (np.full((2, 3 * RATE), 0.1, np.float32), 2.0, "a.flac is 3 s long, longer than 2 s"),
    ],
)
def test_a_long_file_that_is_refused_leaves_nothing(
    tmp_path: Path, samples: np.ndarray, limit_s: float, reason: str
) -> None:
    job = replace(write(tmp_path / "a.flac", samples), max_duration_s=limit_s)
    refused = measure(job, lambda path: pytest.fail())
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert list(tmp_path.glob("*.f32")) == []


@pytest.mark.usefixtures("little_memory")
def test_a_long_file_is_indexed_in_windows_a_few_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_EMBEDDED_AT_ONCE", 3)
    monkeypatch.setattr(bench.embedder, "window_s", 2.0)
    write(bench.root / "long.wav", music())
    bench.tables("long.wav,full,Me\n")
    asked: list[int] = []
    own = bench.embedder.embed_audio

    def embed(clips: list[Audio]) -> np.ndarray:
        asked.append(len(clips))
        return own(clips)

    monkeypatch.setattr(bench.embedder, "embed_audio", embed)
    report = bench.run()
    assert (report.indexed, report.rejected) == (1, ())
    assert max(asked) <= 3
    assert sum(asked) == report.segments > 1


@pytest.mark.usefixtures("little_memory")
def test_sound_waits_in_a_folder_of_the_run_and_what_killed_runs_left_is_removed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "home" / "spool"
    killed, other = spool / ".index.0123456789abcdef", spool / "somebody's"
    for folder in (killed, other):
        folder.mkdir(parents=True)
        (folder / "sound-x.f32").write_bytes(bytes(100))
    write(bench.root / "long.wav", music())
    bench.tables("long.wav,full,Me\n")
    waiting: list[list[Path]] = []
    own = bench.embedder.embed_audio

    def embed(clips: list[Audio]) -> np.ndarray:
        waiting.append(list(spool.rglob("*.f32")))
        return own(clips)

    monkeypatch.setattr(bench.embedder, "embed_audio", embed)
    with draft_folder(spool / "index") as running:
        (running / "sound-y.f32").touch()
        assert bench.run(spool=spool).indexed == 1
        (mine,) = set(waiting[0]) - {running / "sound-y.f32", other / "sound-x.f32"}
        assert mine.parent.parent == spool
        assert set(spool.iterdir()) == {running, other}
        assert (running / "sound-y.f32").is_file()


@pytest.mark.usefixtures("little_memory")
def test_a_killed_run_leaves_its_sound_to_the_next_one(bench: Bench, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from rag_audio.storage.files import draft_folder\n"
        "with draft_folder(Path(sys.argv[1]) / 'index') as folder:\n"
        "    (folder / 'sound-x.f32').write_bytes(bytes(100))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    spool.mkdir()
    subprocess.run([sys.executable, "-c", code, str(spool)], check=False)
    assert len(list(spool.rglob("*.f32"))) == 1
    write(bench.root / "long.wav", music())
    bench.tables("long.wav,full,Me\n")
    bench.run(spool=spool)
    assert list(spool.iterdir()) == []


@pytest.mark.usefixtures("little_memory")
def test_where_sound_cannot_wait_is_told(bench: Bench, tmp_path: Path) -> None:
    job = write(tmp_path / "a.flac", music())
    refused = measure(replace(job, spool=tmp_path / "home" / "gone"), lambda path: pytest.fail())
    assert isinstance(refused, Refused)
    home = str(tmp_path / "home")
    assert refused.reason == f"its sound cannot wait in {home!r}: No such file or directory"
    (tmp_path / "file").touch()
    bench.tables("long.wav,full,Me\n")
    with pytest.raises(BackendError, match=r"no folder can be made in .*: Not a directory"):
        bench.run(spool=tmp_path / "file" / "spool")


@pytest.mark.parametrize("cuts", [[1] * 40, [7, 0, 33], [40]])
def test_pieces_follow_each_other_without_gaps(cuts: list[int]) -> None:
    whole = np.arange(40, dtype=np.float32)[None]
    found: list[Piece] = []
    pieces = Pieces(9, 3, found.append)
    for block in np.split(whole, np.cumsum(cuts)[:-1], axis=1):
        pieces.add(block)
    pieces.end()
    assert np.array_equal(np.concatenate([one.alone for one in found], axis=1), whole)
    assert [one.is_last for one in found] == [False] * (len(found) - 1) + [True]
    for one in found:
        around = slice(max(0, one.start - 3), None if one.is_last else one.end + 3)
        assert np.array_equal(one.samples, whole[:, around])

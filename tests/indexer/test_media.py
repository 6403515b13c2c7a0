"""Libraries with sound that libsndfile does not read, and with videos."""

from __future__ import annotations

import pytest

from rag_audio.audio import ffmpeg
from tests.indexer.conftest import Bench
from tests.support.media import PICTURE, converted, mp4, needs_ffmpeg, tones, track

pytestmark = pytest.mark.usefixtures("quick")

ALL = "**,full,The Band,,,,,,"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "_chosen", [])


@needs_ffmpeg
def test_what_ffmpeg_reads_is_indexed_with_its_tags(bench: Bench) -> None:
    sound = tones(1.5)
    converted(bench.root / "a.m4a", sound, "-c:a", "aac", "-metadata", "title=Ferry Tide")
    converted(bench.root / "b.wv", sound, "-c:a", "wavpack")
    video = (*PICTURE, "-map", "0:a", "-map", "1:v", "-c:v", "mpeg4", "-c:a", "ac3")
    converted(bench.root / "c.mkv", sound, *video)
    (bench.root / "silent.mp4").write_bytes(mp4(track(b"vide", b"avc1"), brand=b"isom"))
    bench.tables(ALL)
    report = bench.run()
    assert report.indexed == 3
    assert bench.reasons(report) == {
        "silent.mp4": "silent.mp4 has no sound: it is MP4 (mp4) without a sound track"
    }
    stems = {stem.path: stem for stem in bench.catalogue.stems("The Band")}
    assert stems["a.m4a"].title == "Ferry Tide"
    assert all(stem.duration_s == pytest.approx(1.5, abs=0.1) for stem in stems.values())
    again = bench.run()
    assert (again.indexed, again.skipped) == (0, 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_without_ffmpeg_the_report_says_what_would_do(bench: Bench, workers: int) -> None:
    (bench.root / "a.wav").write_bytes(mp4(track(b"soun", b"alac")))
    bench.tables(ALL)
    ffmpeg.choose("off")
    report = bench.run(workers=workers)
    assert bench.reasons(report) == {
        "a.wav": "a.wav is ALAC in MP4 (m4a), which libsndfile does not read: "
        "set RAG_AUDIO_FFMPEG, which is off, to the path of ffmpeg, or export it as WAV or FLAC"
    }

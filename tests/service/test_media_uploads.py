"""Uploads that libsndfile does not read are decoded by ffmpeg, within the limits of an upload."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rag_audio.audio import ffmpeg
from rag_audio.errors import UnreadableFile
from rag_audio.service.decoder_pool import Decoded, UploadDecoders, Writing, kind_of
from rag_audio.service.settings import ServeSettings
from tests.audio.test_media_kinds import HEADS
from tests.support.media import converted, mp4, needs_ffmpeg, tones, track


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "_chosen", [])


def decoded(file: Path, **settings: float) -> tuple[Decoded, Path]:
    """A file decoded as an upload is, and its samples."""
    into = Writing(file.with_name("sound"), file.with_name("document"), 50_000_000)
    into.sound.touch()
    into.document.touch()
    decoders = UploadDecoders(ServeSettings(**settings), 1)
    try:
        return decoders.decode(file, into), into.sound
    finally:
        decoders.close()


@pytest.mark.parametrize(("content", "told", "_"), HEADS.values(), ids=HEADS)
def test_every_kind_may_be_uploaded(content: bytes, told: str, _: object, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(content)
    assert kind_of(file).startswith("."), told


@needs_ffmpeg
def test_an_upload_is_decoded_by_ffmpeg(tmp_path: Path) -> None:
    file = converted(tmp_path / "a.m4a", tones(), "-c:a", "alac").rename(tmp_path / "upload")
    found, sound = decoded(file)
    assert found == Decoded("audio", 1.0, ".m4a")
    samples = np.fromfile(sound, "<f4").reshape(-1, 2)
    assert np.abs(samples - tones()).max() < 2**-15


def test_without_ffmpeg_one_line_says_what_would_do(tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(mp4(track(b"soun", b"mp4a")))
    ffmpeg.choose("off")
    with pytest.raises(UnreadableFile) as refused:
        decoded(file)
    assert refused.value.message == (
        "the file is AAC in MP4 (m4a), which libsndfile does not read: set RAG_AUDIO_FFMPEG, "
        "which is off, to the path of ffmpeg, or export it as WAV or FLAC"
    )


def test_ffmpeg_has_no_more_than_an_upload_has_and_ends_with_it(tmp_path: Path) -> None:
    """A program in its place tells its limits, and then works for ever."""
    fake = tmp_path / "fake"
    fake.write_text(
        f"#!{sys.executable} -S\nimport resource as r, sys\n"
        "if '-version' in sys.argv: sys.exit('none')\n"
        "names = ('CPU', 'AS', 'FSIZE', 'NOFILE', 'CORE')\n"
        "sys.stderr.write('; '.join(f'{n} {r.getrlimit(getattr(r, \"RLIMIT_\" + n))[1]}'"
        " for n in names))\n"
    )
    fake.chmod(0o755)
    ffmpeg.choose(str(fake))
    file = tmp_path / "upload"
    file.write_bytes(mp4(track(b"soun", b"mp4a")))
    with pytest.raises(UnreadableFile) as refused:
        decoded(file, decode_s=5, decode_mb=600)
    (said,) = [part for part in refused.value.message.split(": ") if part.startswith("CPU")]
    limits = dict(pair.split() for pair in said.split("; "))
    assert int(limits["CPU"]) <= 5 + 60
    assert (limits["FSIZE"], limits["CORE"]) == ("0", "0")
    if sys.platform == "linux":
        assert int(limits["AS"]) == 600 << 20

    fake.write_text(
        f"#!{sys.executable} -S\nimport sys, time\n"
        "if '-version' in sys.argv: sys.exit('none')\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(UnreadableFile, match=r"takes longer than 1\.5 s"):
        decoded(file, decode_s=1.5)
    assert not running(fake)


def running(program: Path) -> list[str]:
    """Processes that run it."""
    if sys.platform != "linux":
        return []
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(program).encode() in line:
            found.append(process.name)
    return found

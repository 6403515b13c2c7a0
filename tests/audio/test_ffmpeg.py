"""What libsndfile does not read is read by ffmpeg: in a process with limits, and no other file."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.audio import ffmpeg, limited_exec
from rag_audio.audio.containers import open_sound
from rag_audio.audio.ffmpeg import FfmpegSound
from rag_audio.audio.headers import read_header
from rag_audio.audio.media_kinds import media_kind
from rag_audio.audio.reading import hear, load
from rag_audio.errors import RagAudioError, UnreadableFile
from tests.audio.test_media_kinds import HEADS
from tests.support import media
from tests.support.media import PICTURE, RATE, converted, mp4, needs_ffmpeg, tones, track

VIDEO = (*PICTURE, "-map", "0:a", "-map", "1:v", "-c:v", "mpeg4")
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "a.m4a": (("-c:a", "aac"), "AAC in MP4 (m4a)"),
    "a.aac": (("-c:a", "aac"), "AAC in ADTS (aac)"),
    "alac.m4a": (("-c:a", "alac"), "ALAC in MP4 (m4a)"),
    "alac.caf": (("-c:a", "alac"), "ALAC in CAF (caf)"),
    "a.wma": (("-c:a", "wmav2"), "WMA in ASF (wma)"),
    "a.webm": (("-c:a", "libopus"), "Opus in WebM (webm)"),
    "a.mka": (("-c:a", "libopus"), "Opus in Matroska (mka)"),
    "opus.mp4": (("-c:a", "libopus"), "Opus in MP4 (m4a)"),
    "a.caf": (("-c:a", "libopus"), "Opus in CAF (caf)"),
    "a.wv": (("-c:a", "wavpack"), "WavPack (wv)"),
    "v.mp4": ((*VIDEO, "-c:a", "aac"), "AAC in MP4 (mp4)"),
    "v.mov": ((*VIDEO, "-c:a", "aac"), "AAC in QuickTime (mov)"),
    "v.3gp": ((*VIDEO, "-c:a", "aac"), "AAC in 3GP (3gp)"),
    "v.mkv": ((*VIDEO, "-c:a", "ac3"), "AC-3 in Matroska (mkv)"),
    "v.webm": ((*PICTURE, "-map", "0:a", "-map", "1:v", "-c:v", "libvpx", "-c:a", "libopus"),
               "Opus in WebM (webm)"),
    "v.avi": ((*VIDEO, "-c:a", "mp3"), "MP3 in AVI (avi)"),
    "v.ts": ((*VIDEO, "-c:a", "aac"), "MPEG-TS (ts)"),
    "v.m2ts": ((*VIDEO, "-c:a", "ac3"), "MPEG-TS (ts)"),
    "v.mpg": ((*VIDEO, "-c:v", "mpeg2video", "-c:a", "mp2"), "MPEG-PS (mpg)"),
    "a.flv": (("-ar", "44100", "-c:a", "mp3"), "Flash video (flv)"),
    "a.ac3": (("-c:a", "ac3"), "AC-3 (ac3)"),
    "a.eac3": (("-c:a", "eac3"), "E-AC-3 (eac3)"),
    "a.dts": (("-c:a", "dca", "-strict", "-2"), "DTS (dts)"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "_chosen", [])
    monkeypatch.delenv(ffmpeg.VARIABLE, raising=False)


def read_all(path: Path) -> tuple[FfmpegSound, np.ndarray]:
    """A file's samples ``[T, C]``, and what read them, closed."""
    with open_sound(path) as sound:
        assert isinstance(sound, FfmpegSound)
        blocks = [sound.read(4096)]
        while len(blocks[-1]):
            blocks.append(sound.read(4096))
        return sound, np.concatenate(blocks)


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableFile) as refused:
        hear(path)
    assert "\n" not in refused.value.message
    return refused.value.message.replace(str(path), "FILE")


@needs_ffmpeg
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_under_any_name(name: str, tmp_path: Path) -> None:
    options, told = KINDS[name]
    file = converted(tmp_path / name, tones(), *options).rename(tmp_path / "any.thing")
    sound, samples = read_all(file)
    assert sound.notices[0] == f"decoded by ffmpeg {ffmpeg.version(Path(media.FFMPEG))} from {told}"
    assert sound.notices[1:] == []
    assert sound.channels == 2 and sound.samplerate in (RATE, 48_000)
    assert len(samples) == pytest.approx(sound.samplerate, rel=0.1)
    for channel, pitch in enumerate((440, 550)):
        spectrum = np.abs(np.fft.rfft(samples[: sound.samplerate, channel]))
        assert spectrum.argmax() * sound.samplerate / len(samples) == pytest.approx(pitch, rel=0.05)
    assert told.startswith(read_header(file).subtype)


@needs_ffmpeg
def test_the_sound_of_an_ogg_video_needs_no_ffmpeg(tmp_path: Path) -> None:
    options = (*PICTURE, "-map", "1:v", "-map", "0:a", "-c:v", "libtheora", "-c:a", "libvorbis")
    file = converted(tmp_path / "a.ogv", tones(), *options)
    ffmpeg.choose("off")
    heard = hear(file)
    assert (heard.audio.frames, heard.notices) == (RATE, ())


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", ("-c:a", "alac", "-sample_fmt", "s32p")),
        ("a.wv", ("-c:a", "wavpack", "-sample_fmt", "s32p")),
        ("a.wv", ("-c:a", "wavpack", "-sample_fmt", "fltp")),
        ("a.tta", ("-c:a", "tta", "-sample_fmt", "s32")),
    ],
)
def test_lossless_sound_is_exactly_what_it_was(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    sound = tones(0.5, 96_000)
    file = converted(tmp_path / name, sound, *options, rate=96_000)
    soundfile.write(tmp_path / "a.wav", sound, 96_000, subtype="PCM_24")
    made, there = hear(file), hear(tmp_path / "a.wav")
    assert np.array_equal(made.audio.samples, there.audio.samples)
    assert (made.audio.sample_rate, made.pcm_sha256) == (96_000, there.pcm_sha256)


@needs_ffmpeg
def test_a_window_is_read_and_channels_keep_their_places(tmp_path: Path) -> None:
    file = converted(tmp_path / "a.mka", tones(1.0, 48_000, 6), "-c:a", "wavpack", rate=48_000)
    whole = load(file)
    window = load(file, start_s=0.5, duration_s=0.25)
    assert np.array_equal(window.samples, whole.samples[:, 24_000:36_000])
    with open_sound(file) as sound:
        assert isinstance(sound, FfmpegSound)
        assert (sound.channels, sound.extra_info) == (6, "Channel Mask : 0x3F")


@needs_ffmpeg
def test_of_several_sound_tracks_the_first_is_read_and_the_others_are_told(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    soundfile.write(source, tones(), RATE)
    file = tmp_path / "a.mkv"
    media.ffmpeg(
        *("-i", str(source), "-f", "lavfi", "-i", "sine=3000:duration=1"),
        *("-map", "0:a", "-map", "1:a", "-c:a", "flac", str(file)),
    )
    sound, samples = read_all(file)
    assert sound.notices[1:] == ["the first sound track was read; 1 other is in the file"]
    assert sound.channels == 2
    assert np.abs(np.fft.rfft(samples[:, 0])).argmax() == pytest.approx(440, abs=2)


@needs_ffmpeg
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = converted(tmp_path / "a.m4a", tones(4.0), "-c:a", "aac", "-movflags", "+faststart")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 6 // 10])
    sound, samples = read_all(file)
    there = len(samples) / RATE
    assert 1.5 < there < 3.5
    complained, short = sound.notices[1:]
    assert complained.startswith("ffmpeg says: ") and "/dev/fd" not in complained
    assert short == f"breaks off after {there:.2f} s of 4.02 s that it claims"

    file = converted(tmp_path / "b.m4a", tones(), "-c:a", "aac")  # its index stands at the end
    file.write_bytes(file.read_bytes()[:-500])
    assert "has no index" in refusal(file) or "cannot be decoded" in refusal(file)


@needs_ffmpeg
def test_a_video_without_sound_and_protected_sound_are_told(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    media.ffmpeg(*PICTURE, "-c:v", "mpeg4", str(video))
    assert refusal(video) == "FILE has no sound: it is MP4 (mp4) without a sound track"
    file = converted(tmp_path / "a.m4a", tones(), "-c:a", "aac")
    file.write_bytes(file.read_bytes().replace(b"mp4a", b"drms", 1))
    assert refusal(file) == "FILE is protected against copying (DRM): no decoder may read it"


@needs_ffmpeg
def test_an_encoding_that_is_not_listed_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = converted(tmp_path / "a.m4a", tones(), "-c:a", "aac")
    monkeypatch.setattr(ffmpeg, "_SOUND_DECODERS", ["alac"])
    assert refusal(file) == (
        "FILE holds sound encoded as aac, which is not decoded: export it as WAV or FLAC"
    )


@needs_ffmpeg
def test_a_name_means_nothing_to_ffmpeg(tmp_path: Path) -> None:
    file = converted(tmp_path / "a.m4a", tones(0.2), "-c:a", "aac")
    for name in ("-y.m4a", "concat:a|b", "%03d.m4a", "a\nb ü ' \".m4a"):
        odd = file.rename(tmp_path / name)
        (tmp_path / "link").symlink_to(odd)
        assert load(tmp_path / "link" if name == "-y.m4a" else odd).frames > 0.15 * RATE
        (tmp_path / "link").unlink()
        file = odd


OTHER = "other.wav"
LISTS = {
    "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{OTHER}\n#EXT-X-ENDLIST\n",
    "concat": f"ffconcat version 1.0\nfile {OTHER}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "images": "%03d.png",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_other_files_is_no_sound_and_starts_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("something was started"))
    soundfile.write(tmp_path / OTHER, tones(), RATE)
    file = tmp_path / "song.m4a"
    file.write_text(LISTS[name])
    assert refusal(file) == "FILE is not a sound file that can be read"


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["m4a", "mkv", "avi"])
def test_a_list_behind_the_head_of_a_sound_is_not_followed(kind: str, tmp_path: Path) -> None:
    """The demuxer is ours to name: ffmpeg does not look what else a file might be."""
    soundfile.write(tmp_path / OTHER, tones(), RATE)
    file = tmp_path / "song.m4a"
    file.write_bytes(HEADS[kind][0] + "".join(LISTS.values()).encode())
    assert refusal(file).startswith(("FILE cannot be decoded as ", "FILE holds no sound"))


@needs_ffmpeg
def test_files_attached_to_a_video_are_not_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached = tmp_path / "run.sh"
    attached.write_text("echo")
    options = ("-attach", str(attached), "-metadata:s:t", "mimetype=text/plain", "-c:a", "flac")
    file = converted(tmp_path / "a.mkv", tones(0.2), *options)
    attached.unlink()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert load(file).duration_s == pytest.approx(0.2, abs=0.01)
    assert sorted(tmp_path.iterdir()) == before


@needs_ffmpeg
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["a.m4a", "a.mka", "a.wma", "a.wv"]),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=20),
    end=st.integers(50, 6000),
)
def test_broken_files_are_read_or_refused_in_one_line(
    name: str, changes: list[tuple[int, int]], end: int, tmp_path: Path
) -> None:
    whole = tmp_path / name
    if not whole.exists():
        converted(whole, tones(0.3), *KINDS[name][0])
    broken = bytearray(whole.read_bytes())
    for at, value in changes:
        broken[at % len(broken)] = value
    file = tmp_path / "broken"
    file.write_bytes(bytes(broken[:end]))
    try:
        assert np.isfinite(hear(file).audio.samples).all()
    except RagAudioError as error:
        assert "\n" not in error.message


# Without ffmpeg, and with programs that are none.


@pytest.mark.parametrize("name", HEADS)
def test_without_ffmpeg_one_line_says_what_would_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "song"
    content, told, _ = HEADS[name]
    file.write_bytes(content)
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = f"FILE is {told}, which libsndfile does not read: "
    assert refusal(file) == f"{missing}install ffmpeg, or export it as WAV or FLAC"
    ffmpeg.choose("off")
    assert refusal(file) == (
        f"{missing}set RAG_AUDIO_FFMPEG, which is off, to the path of ffmpeg, "
        "or export it as WAV or FLAC"
    )
    ffmpeg.choose("/no/such")
    assert refusal(file) == (
        f"{missing}correct RAG_AUDIO_FFMPEG, since /no/such is no program that can be run, "
        "or export it as WAV or FLAC"
    )


def test_raw_aac_is_told_what_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "a.aac"
    file.write_bytes(b"\x21\x10\x05" * 100)
    with pytest.raises(UnreadableFile, match="not a sound file") as refused:
        load(file)
    assert "raw AAC has no frame headers" in refused.value.hint


M4A = mp4(track(b"soun", b"mp4a"))


VERSION = """import sys
if '-version' in sys.argv:
    print('ffmpeg version 7.1-static https://x Copyright')
    sys.exit()
"""


def program(folder: Path, script: str) -> None:
    """A program in the place of ffmpeg, which writes the head of a WAV of floats first."""
    file = folder / "fake"
    file.write_text(f"#!{sys.executable} -S\n{VERSION}{script}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    ffmpeg.choose(str(file))


WAVE = """
import os, struct, sys
out = sys.stdout.buffer
form = struct.pack('<HHIIHH', 3, 1, 8000, 32000, 4, 32)
out.write(b'RIFF\\xff\\xff\\xff\\xffWAVEfmt \\x10\\0\\0\\0' + form + b'data\\xff\\xff\\xff\\xff')
out.write(bytes(4 * 8000))
out.flush()
"""


def test_a_decoder_that_stands_still_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(M4A)
    monkeypatch.setattr(ffmpeg, "STALL_S", 0.5)
    program(tmp_path, "import time; time.sleep(60)")
    assert refusal(file) == "FILE gives no sound for 0.5 s"
    program(tmp_path, f"{WAVE}\nimport time; time.sleep(60)")
    with open_sound(file) as sound:
        assert len(sound.read(8000)) == 8000
        with pytest.raises(RuntimeError, match="no sound for"):
            sound.read(1)


def test_a_decoder_that_crashes_gives_what_it_had(tmp_path: Path) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(M4A)
    program(tmp_path, f"{WAVE}\nos.kill(os.getpid(), 11)")
    told: list[str] = []
    assert load(file, notices=told).frames == 8000
    assert told[-1] == "is damaged: it cannot be decoded past 1.00 s"
    ended = pytest.raises(RuntimeError, match="makes its decoder end with signal 11")
    with open_sound(file) as sound:
        assert len(sound.read(9000)) == 8000
        with ended:
            sound.read(9000)
    program(tmp_path, "import os; os.kill(os.getpid(), 11)")
    assert refusal(file) == "FILE makes its decoder end with signal 11"


def test_what_it_complains_of_is_bounded_and_cannot_stop_it(tmp_path: Path) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(M4A)
    noise = "sys.stderr.write('[aac @ 0x1] bad \\x1b[31m frame\\n' * 100_000)"
    program(tmp_path, f"import sys; {noise}\n{WAVE}")
    sound, samples = read_all(file)
    assert len(samples) == 8000
    (said,) = [note for note in sound.notices if note.startswith("ffmpeg says")]
    assert said.startswith("ffmpeg says: bad [31m frame (and ") and len(said) < 60
    program(tmp_path, "import sys; sys.exit('[mov @ 0x5] file:/dev/fd/9: Invalid data found')")
    assert refusal(file) == "FILE cannot be decoded as AAC in MP4 (m4a): Invalid data found"


def test_the_program_has_one_file_and_nothing_else_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(M4A)
    monkeypatch.setenv("RAG_AUDIO_SECRET", "x")
    report = "sys.stderr.write(repr((sorted(os.environ), sorted(os.listdir('.')))))"
    program(tmp_path, f"{WAVE}\n{report}")
    with open(tmp_path / "ours", "wb"):
        sound, _ = read_all(file)
    told = sound.notices[1]
    assert "RAG_AUDIO_SECRET" not in told and "'PATH'" in told and told.endswith(", [])")
    report = """
def said(link):
    return os.path.basename(os.readlink('/proc/self/fd/' + link))
links = [link for link in os.listdir('/proc/self/fd') if int(link) > 2]
sys.stderr.write(repr(sorted(said(x) for x in links if os.path.exists('/proc/self/fd/' + x))))
"""
    if sys.platform == "linux":
        program(tmp_path, f"{WAVE}{report}")
        sound, _ = read_all(file)
        assert sound.notices[1] == "ffmpeg says: ['a.m4a']"


def test_arguments_name_one_demuxer_one_protocol_and_one_track(tmp_path: Path) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(M4A)
    program(tmp_path, f"{WAVE}\nsys.stderr.write(' '.join(sys.argv[1:])[:150])")
    sound, _ = read_all(file)
    assert "-nostdin" in sound.notices[1]
    assert "-protocol_whitelist file -format_whitelist mov -codec_whitelist aac" in sound.notices[1]
    program(tmp_path, f"{WAVE}\nsys.stderr.write(' '.join(sys.argv[-25:])[-190:])")
    sound, _ = read_all(file)
    assert "-map 0:a:0 -vn -sn -dn" in sound.notices[1]


def test_limits_hold_from_the_first_instruction_and_are_never_raised() -> None:
    names = ("CPU", "AS", "FSIZE", "NOFILE", "CORE")
    ask = "import resource as r; print(*(r.getrlimit(getattr(r, 'RLIMIT_' + n)) for n in %r))"
    given = [sys.executable, "-I", "-S", limited_exec.__file__, "50", str(1 << 30), sys.executable]

    def told(cpu_before: int) -> str:
        return subprocess.run(
            [*given, "-S", "-c", ask % (names,)],
            capture_output=True,
            check=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cpu_before, cpu_before)),
        ).stdout

    if sys.platform == "linux":
        assert told(60) == f"(50, 50) {(1 << 30, 1 << 30)} (0, 0) (64, 64) (0, 0)\n"
        assert told(9).startswith("(9, 9) ")


def test_it_ends_with_whoever_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "a.m4a"
    file.write_bytes(M4A)
    program(tmp_path, f"{WAVE}\nwhile True: out.write(bytes(4000))")
    before = threading.active_count()
    with open_sound(file) as sound:
        assert isinstance(sound, FfmpegSound)
        sound.read(10)
        process = sound._process
    assert process.returncode is not None and process.returncode < 0
    assert threading.active_count() == before
    assert len(sound.read(10)) == 0


def test_the_program_is_found_once_and_told_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "")
    fake = tmp_path / "fake"
    assert (ffmpeg.find(), ffmpeg.version(fake)) == (fake, "7.1")
    assert ffmpeg.described() == f"{fake} 7.1 (m4a, WMA, WavPack, video)"
    assert ffmpeg.environment() == {"RAG_AUDIO_FFMPEG": str(fake)}
    ffmpeg.choose("off")
    assert (ffmpeg.find(), ffmpeg.environment()) == (None, {"RAG_AUDIO_FFMPEG": "off"})
    assert ffmpeg.described() == "off (RAG_AUDIO_FFMPEG): m4a, WMA, WavPack and video are not read"
    ffmpeg.choose(None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ffmpeg.described() == "not found: m4a, WMA, WavPack and video are not read"
    monkeypatch.setenv("RAG_AUDIO_FFMPEG", "fake")
    assert ffmpeg.find() == fake
    assert media_kind(fake) is None and os.access(fake, os.X_OK)

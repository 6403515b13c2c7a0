"""Sound that libsndfile does not read is known by what the file holds, whatever it is called."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.audio.headers import read_head, suffix_of
from rag_audio.audio.media_boxes import MOST_PARTS
from rag_audio.audio.media_kinds import media_kind
from rag_audio.errors import UnreadableFile
from tests.support.bombs import beep
from tests.support.label_files import midi, notes
from tests.support.label_files import track as midi_track
from tests.support.media import (
    adts,
    asf,
    avi,
    box,
    caf,
    element,
    matroska,
    matroska_track,
    mp4,
    ogg_page,
    riff_chunk,
    riff_list,
    track,
)

SOUND, PICTURES = 2, 1


def wave_form(tag: int) -> bytes:
    """The ``fmt `` chunk of a WAV with a number of WAVEFORMATEX."""
    return riff_chunk(b"fmt ", struct.pack("<HHIIHH", tag, 2, 44_100, 16_000, 1, 0))


PROTECTED = "is protected against copying (DRM): no decoder may read it"
ENCRYPTED = element(b"\x6d\x80", element(b"\x62\x40", element(b"\x50\x35", b"\0")))
WAVPACK = b"wvpk" + struct.pack("<8x I 8x I 8x", 4000, 1 << 23)
HEADS: dict[str, tuple[bytes, str, float | None]] = {
    "m4a": (mp4(track(b"soun", b"mp4a")), "AAC in MP4 (m4a)", 0.5),
    "alac": (mp4(track(b"soun", b"alac")), "ALAC in MP4 (m4a)", 0.5),
    "mp4": (
        mp4(track(b"vide", b"avc1"), track(b"soun", b"Opus"), brand=b"isom"),
        "Opus in MP4 (mp4)",
        0.5,
    ),
    "moov first": (
        box(b"moov", track(b"soun", b"lpcm")) + box(b"mdat", b""),
        "PCM in QuickTime (mov)",
        0.5,
    ),
    "mov": (mp4(track(b"soun", b"ac-3"), brand=b"qt  "), "AC-3 in QuickTime (mov)", 0.5),
    "3gp": (mp4(track(b"soun", b"samr"), brand=b"3gp4"), "AMR in 3GP (3gp)", 0.5),
    "odd codec": (mp4(track(b"soun", b"zzzz")), "MP4 (m4a)", 0.5),
    "mka": (
        matroska(b"matroska", matroska_track(SOUND, b"A_VORBIS")),
        "Vorbis in Matroska (mka)",
        1.5,
    ),
    "mkv": (
        matroska(
            b"matroska",
            matroska_track(PICTURES, b"V_VP8"),
            matroska_track(SOUND, b"A_AAC/MPEG4/LC"),
        ),
        "AAC in Matroska (mkv)",
        1.5,
    ),
    "webm": (matroska(b"webm\0", matroska_track(SOUND, b"A_OPUS")), "Opus in WebM (webm)", 1.5),
    "wma": (asf(0x161), "WMA in ASF (wma)", None),
    "avi": (avi(0x55), "MP3 in AVI (avi)", 1.5),
    "aac": (adts(), "AAC in ADTS (aac)", None),
    "one frame": (adts(1), "AAC in ADTS (aac)", None),
    "tagged aac": (b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + adts(), "AAC in ADTS (aac)", None),
    "aac in the middle of a frame": (b"\xf1\x50" + bytes(300) + adts(9), "AAC in ADTS (aac)", None),
    "AC-3 in a WAV": (riff_list(b"RIFF", b"WAVE", wave_form(0x2000)), "AC-3 in WAV (wav)", None),
    "FLAC in a WAV": (
        riff_list(b"RIFF", b"WAVE", riff_chunk(b"JUNK", bytes(28)), wave_form(0xF1AC)),
        "FLAC in WAV (wav)",
        None,
    ),
    "loas": ((b"\x56\xe0\x05" + bytes(5)) * 3, "AAC in LOAS (aac)", None),
    "caf": (caf(b"opus"), "Opus in CAF (caf)", None),
    "odd alac": (caf(b"alac", flags=0), "ALAC in CAF (caf)", None),
    "ogv": (
        ogg_page(b"\x80theora" + bytes(30), 1) + ogg_page(b"Speex   " + bytes(40), 2),
        "Speex in Ogg (ogv)",
        None,
    ),
    "speex": (ogg_page(b"Speex   " + bytes(40), 1), "Speex in Ogg (ogg)", None),
    "wv": (WAVPACK, "WavPack (wv)", 0.5),
    "ape": (b"MAC " + bytes(60), "Monkey's Audio (ape)", None),
    "tta": (b"TTA1" + bytes(6) + b"\x40\x1f\0\0\xa0\x0f\0\0" + bytes(9), "True Audio (tta)", 0.5),
    "amr": (b"#!AMR\n" + bytes(60), "AMR (amr)", None),
    "flv": (b"FLV\1\4" + bytes(60), "Flash video (flv)", None),
    "mpg": (b"\0\0\1\xba" + bytes(60), "MPEG-PS (mpg)", None),
    "ts": ((b"G" + bytes(187)) * 5, "MPEG-TS (ts)", None),
    "camera": ((bytes(4) + b"G" + bytes(187)) * 5, "MPEG-TS (ts)", None),
    "ac3": ((b"\x0b\x77\0\0\x00\x40" + bytes(122)) * 3, "AC-3 (ac3)", None),
    "ac3 at 44.1 kHz": ((b"\x0b\x77\0\0\x41\x40" + bytes(134)) * 3, "AC-3 (ac3)", None),
    "eac3": ((b"\x0b\x77\0\x1f\x3f\x80" + bytes(58)) * 3, "E-AC-3 (eac3)", None),
    "dts": (b"\x7f\xfe\x80\x01" + bytes(60), "DTS (dts)", None),
}


def written(folder: Path, content: bytes, name: str = "song.wav") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("name", HEADS)
def test_a_file_is_known_by_what_it_holds(name: str, tmp_path: Path) -> None:
    content, told, duration_s = HEADS[name]
    kind = media_kind(written(tmp_path, content))
    assert kind is not None
    assert (str(kind), kind.problem, kind.duration_s) == (told, "", duration_s)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (mp4(track(b"soun", b"drms")), PROTECTED),
        (mp4(track(b"soun", b"enca")), PROTECTED),
        (asf(0x161, is_protected=True), PROTECTED),
        (
            matroska(b"webm", matroska_track(SOUND, b"A_OPUS", ENCRYPTED)),
            PROTECTED,
        ),
        (
            mp4(track(b"vide", b"avc1"), brand=b"isom"),
            "has no sound: it is MP4 (mp4) without a sound track",
        ),
        (avi(None), "has no sound: it is AVI (avi) without a sound track"),
        (
            matroska(b"webm", matroska_track(PICTURES, b"V_VP9")),
            "has no sound: it is WebM (webm) without a sound track",
        ),
        (
            box(b"ftyp", b"M4A ", bytes(4)) + box(b"mdat", bytes(99)),
            "has no index of its sound (moov): the recording or the download was not finished",
        ),
        (
            b"ADIF" + bytes(40),
            "is raw AAC without frame headers (ADIF): export it as m4a, WAV or FLAC",
        ),
    ],
)  # fmt: skip
def test_what_no_decoder_could_read_is_said(content: bytes, problem: str, tmp_path: Path) -> None:
    kind = media_kind(written(tmp_path, content))
    assert kind is not None and kind.problem == problem


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
     ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"),
     ("CAF", "ALAC_24"), ("AU", "PCM_16"), ("W64", "PCM_16"), ("RF64", "PCM_16")],
)  # fmt: skip
def test_what_libsndfile_reads_is_left_to_it(kind: str, subtype: str, tmp_path: Path) -> None:
    content = beep(kind, subtype, 48_000)
    file = written(tmp_path, content, "song.m4a")
    assert media_kind(file) is None
    assert soundfile.info(file).samplerate == 48_000


@pytest.mark.parametrize("sound", [b"\x01vorbis", b"OpusHead", b"\x7fFLAC"])
def test_a_video_in_ogg_is_left_to_libsndfile(sound: bytes, tmp_path: Path) -> None:
    video = ogg_page(b"\x80theora" + bytes(30), 1)
    file = written(tmp_path, video + ogg_page(sound + bytes(20), 2))
    assert media_kind(file) is None
    only = media_kind(written(tmp_path, video))
    assert only is not None
    assert only.problem == "has no sound: it is Ogg (ogv) without a sound track"


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.wav\n",
        b"ffconcat version 1.0\nfile secret.wav\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        box(b"ftyp", b"heic", bytes(4)) + box(b"meta", bytes(99)),
        b"\xff\xf1",
        b"\xff" * 100,
        b"",
        b"I",
        b"\x00" * 100,
        adts()[:30] + bytes(200),
        (b"G" + bytes(187)) * 4 + bytes(188),
        b"GIF89a" + bytes(300),
        b"\x0b\x77\0\0\x00\x40" + bytes(250),
        b"\x0b\x77\0\0\xff\x40" * 40,
    ],
)
def test_lists_of_other_files_and_noise_are_no_kind(content: bytes, tmp_path: Path) -> None:
    assert media_kind(written(tmp_path, content, "song.m4a")) is None


@pytest.mark.parametrize(
    "content",
    [
        box(b"ftyp", b"M4A ", bytes(4)) + box(b"free") * (MOST_PARTS + 1),
        mp4(box(b"trak") * (MOST_PARTS + 1)),
        element(b"\x1a\x45\xdf\xa3")
        + element(b"\x18\x53\x80\x67", element(b"\xec") * (MOST_PARTS + 1)),
        b"RIFF\0\0\0\0AVI " + b"JUNK\0\0\0\0" * (MOST_PARTS + 1),
    ],
)  # fmt: skip
def test_containers_of_very_many_parts_are_refused(content: bytes, tmp_path: Path) -> None:
    began = time.process_time()
    with pytest.raises(UnreadableFile, match="more than 10,000 parts before its sound"):
        media_kind(written(tmp_path, content))
    assert time.process_time() - began < 2


def test_the_usual_ending_is_told_by_the_first_bytes(tmp_path: Path) -> None:
    endings = {
        name: suffix_of(read_head(written(tmp_path, content)))
        for name, (content, _, _) in HEADS.items()
    }
    # AAC and AC-3 in frames, and transport streams, begin as other data may.
    assert {name for name, ending in endings.items() if ending is None} == {
        "aac",
        "aac in the middle of a frame",
        "one frame",
        "loas",
        "ts",
        "camera",
        "ac3",
        "ac3 at 44.1 kHz",
        "eac3",
    }
    assert {endings[name] for name in ("m4a", "alac", "mp4", "moov first", "mov")} == {".m4a"}
    assert [endings[name] for name in ("webm", "wma", "avi", "wv", "ape", "caf", "ogv")] == (
        [".mka", ".wma", ".avi", ".wv", ".ape", ".caf", ".ogg"]
    )


@pytest.mark.parametrize("before", [b"", bytes(128), b"\xff\xfe", b"\xef\xbb\xbf", b"XMF_1.00"])
def test_a_score_is_one_with_a_few_bytes_before_its_header(before: bytes, tmp_path: Path) -> None:
    score = before + midi(midi_track(notes([60])))
    assert suffix_of(read_head(written(tmp_path, score))) == ".mid"
    for other in (b"PK\3\4" + score, bytes(300) + score, b"RIFF\0\0\0\0WAVE" + score):
        assert suffix_of(read_head(written(tmp_path, other))) != ".mid"


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(HEADS)),
    changes=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=12),
    end=st.integers(0, 700),
)
def test_broken_heads_are_some_kind_or_none(
    name: str, changes: list[tuple[int, int]], end: int, tmp_path: Path
) -> None:
    broken = bytearray(HEADS[name][0])
    for at, value in changes:
        broken[at % len(broken)] = value
    kind = media_kind(written(tmp_path, bytes(broken[:end])))
    assert kind is None or "\n" not in str(kind)

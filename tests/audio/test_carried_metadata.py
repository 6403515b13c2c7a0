"""What stands beside a sound is carried into other files, and what is not is named."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen import File as Tags
from tinytag import TinyTag

from rag_audio.audio import id3, riff, text_tags, writing
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.reading import hear
from rag_audio.audio.text_tags import Picture
from rag_audio.audio.wave_chunks import SoundChange, adapted
from rag_audio.domain import Audio
from tests.support.damaged import FMT, ds64, pcm, wav
from tests.support.media import tagged_mp4

RATE, FRAMES = 48_000, 24_000
SAME = SoundChange(RATE, RATE, FRAMES, FRAMES, channels=2)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200)) * 400


def bext(reference: int = RATE * 3600, version: int = 2, history: bytes = b"") -> bytes:
    return b"".join(
        [
            b"Take 3".ljust(256, b"\0"), b"Recorder".ljust(32, b"\0"), b"REF".ljust(32, b"\0"),
            b"2026-01-0210:11:12", reference.to_bytes(8, "little"), version.to_bytes(2, "little"),
            b"U" * 64, struct.pack("<5h", -2300, 500, -100, -2000, -2100), bytes(180), history,
        ]
    )  # fmt: skip


def cue(*frames: int) -> bytes:
    points = (struct.pack("<II4sIII", n, at, b"data", 0, 0, at) for n, at in enumerate(frames))
    return struct.pack("<I", len(frames)) + b"".join(points)


def smpl(first: int, last: int) -> bytes:
    head = struct.pack("<9I", 0, 0, 20_833, 60, 0, 0, 0, 1, 0)
    return head + struct.pack("<6I", 0, 0, first, last, 0, 0)


ADTL = riff.list_chunk(
    b"adtl",
    [(b"labl", b"\0\0\0\0Verse\0"), (b"ltxt", struct.pack("<II4s4H", 0, 2000, b"rgn ", *[0] * 4))],
)
ACID = struct.pack("<IHHfIHHf", 6, 57, 0x8000, 0.0, 1, 4, 4, 120.0)
CHUNKS = (
    (b"bext", bext()), (b"cue ", cue(100, 20_000)), (b"LIST", ADTL),
    (b"smpl", smpl(10, FRAMES - 1)), (b"acid", ACID), (b"inst", bytes(7)),
    (b"iXML", b"<BWFXML/>"), (b"umid", b"1234"), (b"zzzz", b"odd"),
)  # fmt: skip
INFO = ((b"INAM", b"Amber\0"), (b"IART", "Björk\0".encode()), (b"ISBJ", b"Sea\0"))
FRAMES_OF_ID3: id3.Frames = (
    id3.text_frame(b"TIT2", ["Ämber"]), id3.text_frame(b"TBPM", ["92"]),
    id3.text_frame(b"TSRC", ["USRC17607839"]), id3.text_frame(b"COMM", ["夜"]),
    id3.user_text_frame("MOOD", ["calm"]), id3.picture_frame("image/png", 3, "cover", PNG),
    (b"PRIV", b"owner\0\1\2"),
)  # fmt: skip
COMMENTS = (
    ("TITLE", "Ämber"), ("ARTIST", "One"), ("ARTIST", "Two"), ("INITIALKEY", "Am"), ("MOOD", "x"),
)  # fmt: skip
COVER = Picture("image/png", 3, "cover", PNG)


def noise(rate: int = RATE, frames: int = FRAMES, channels: int = 2) -> Audio:
    samples = np.random.default_rng(0).standard_normal((channels, frames)) * 0.1
    return Audio(samples.astype(np.float32), rate)


def carried(path: Path, target: Path, change: SoundChange = SAME) -> CarriedMetadata:
    """Written into ``target`` as read from there; what was said to be lost."""
    made = read_metadata(path).into(target, change)
    writing.save(noise(), target, metadata=made)
    return made


# The same kind of file.


@pytest.mark.parametrize("ending", ["wav", "rf64", "w64"])
def test_a_wav_keeps_every_chunk_and_speaker(tmp_path: Path, ending: str) -> None:
    data = CarriedMetadata(chunks=CHUNKS, info=INFO, frames=FRAMES_OF_ID3, channel_mask=0x30)
    first, second = tmp_path / f"a.{ending}", tmp_path / "b.wav"
    writing.save(noise(), first, metadata=data)
    assert carried(first, second).lost == ()
    for file in (first, second):
        read = read_metadata(file)
        assert dict(read.chunks) == dict(CHUNKS) and len(read.chunks) == len(CHUNKS)
        assert (read.info, read.frames, read.channel_mask) == (INFO, FRAMES_OF_ID3, 0x30)
        assert read.lost == ()
        assert soundfile.info(file).frames == FRAMES
    with soundfile.SoundFile(second) as file:
        assert (file.title, file.artist) == ("Amber", "Björk")


def test_a_flac_keeps_comments_cover_cuesheet_and_application_blocks(tmp_path: Path) -> None:
    # A catalogue number, the lead-in, "not a CD", and a track that is the lead-out.
    sheet = bytes(128) + bytes(8) + bytes(259) + b"\1"
    sheet += FRAMES.to_bytes(8, "big") + b"\xff" + bytes(26) + b"\0"
    blocks = ((2, b"ATCHdata"), (5, sheet), (2, b"riffRIFF"))
    data = CarriedMetadata(comments=COMMENTS, pictures=(COVER,), blocks=blocks)
    first, second = tmp_path / "a.flac", tmp_path / "b.flac"
    writing.save(noise(), first, metadata=data)
    assert carried(first, second).lost == ("APPLICATION 'riff'",)
    read = read_metadata(second)
    assert (read.comments, read.blocks) == (COMMENTS, blocks[:2])
    assert [one.data for one in read.pictures] == [PNG]
    opened: Any = Tags(second)
    assert opened["artist"] == ["One", "Two"] and opened.pictures[0].data == PNG
    assert np.array_equal(soundfile.read(first)[0], soundfile.read(second)[0])


@pytest.mark.parametrize("ending", ["ogg", "opus"])
def test_an_ogg_keeps_comments_and_a_cover_larger_than_a_page(tmp_path: Path, ending: str) -> None:
    plain, first, second = (tmp_path / f"{name}.{ending}" for name in "pab")
    writing.save(noise(), plain)
    writing.save(noise(), first, metadata=CarriedMetadata(comments=COMMENTS, pictures=(COVER,)))
    assert carried(first, second).lost == ()
    read = read_metadata(second)
    assert read.comments == COMMENTS and [one.data for one in read.pictures] == [PNG]
    assert np.array_equal(soundfile.read(plain)[0], soundfile.read(second)[0])
    assert Tags(second)["artist"] == ["One", "Two"]
    assert TinyTag.get(second, image=True).images.any.data == PNG  # type: ignore[union-attr]


def test_an_mp3_keeps_every_frame(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp3", tmp_path / "b.mp3"
    writing.save(noise(), first, metadata=CarriedMetadata(frames=FRAMES_OF_ID3))
    assert carried(first, second).lost == ()
    assert read_metadata(second).frames == FRAMES_OF_ID3
    opened: Any = Tags(second)
    assert str(opened["TIT2"]) == "Ämber" and opened["APIC:cover"].data == PNG
    assert soundfile.info(second).frames == soundfile.info(first).frames


# Older ID3, and what else stands in MP3 files.


def frame_of_2_3(name: bytes, body: bytes, flags: bytes = b"\0\0") -> bytes:
    return name + len(body).to_bytes(4, "big") + flags + body


def tagged(version: int, body: bytes, flags: int = 0) -> bytes:
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, flags]) + size + body


def test_id3_2_3_with_utf_16_and_unsynchronisation_is_read() -> None:
    title = b"\x01" + "Nächte".encode("utf-16")
    body = frame_of_2_3(b"TIT2", title) + frame_of_2_3(b"TYER", b"\0" + b"1999")
    body += frame_of_2_3(b"TCON", b"\0(17)Slow Rock")
    body += frame_of_2_3(b"TENC", b"\0x", b"\0\x40") + frame_of_2_3(b"TDAT", b"\x000102")
    tag = id3.read_tag(tagged(3, body.replace(b"\xff", b"\xff\0"), 0x80))
    assert tag is not None
    texts = text_tags.texts_of_frames(tag.frames)
    assert texts == {"title": ("Nächte",), "date": ("1999",), "genre": ("Slow Rock",)}
    assert tag.left_out == ("TENC", "TDAT")


def test_id3_2_2_becomes_2_4_with_its_picture() -> None:
    def frame(name: bytes, body: bytes) -> bytes:
        return name + len(body).to_bytes(3, "big") + body

    body = frame(b"TT2", b"\0Amber") + frame(b"PIC", b"\0PNG\x03c\0" + PNG[:9])
    tag = id3.read_tag(tagged(2, body + bytes(20)))
    assert tag is not None and tag.frames[0] == (b"TIT2", b"\0Amber")
    assert id3.picture_of(tag.frames[1][1]) == ("image/png", 3, "c", PNG[:9])


def test_a_frame_that_breaks_off_is_named() -> None:
    whole = id3.make_tag([id3.text_frame(b"TIT2", ["Amber"]), (b"APIC", PNG)])
    tag = id3.read_tag(whole[:60])
    assert tag is not None and tag.frames == ((b"TIT2", b"\3Amber"),)
    assert tag.left_out == ("APIC (breaks off)",)


def test_a_manifest_of_credentials_is_not_carried() -> None:
    body = b"\0application/x-c2pa-manifest-store\0\0c2pa\0jumb"
    tag = id3.read_tag(id3.make_tag([(b"GEOB", body), (b"GEOB", b"\0text/plain\0\0\0abc")]))
    assert tag is not None and tag.has_credentials and len(tag.frames) == 1


def test_ape_and_id3v1_fill_what_no_other_tag_says(tmp_path: Path) -> None:
    file, target = tmp_path / "a.mp3", tmp_path / "b.mp3"
    writing.save(noise(), file)
    item = struct.pack("<II", 5, 0) + b"Album\0Ferry"
    cover = struct.pack("<II", 3, 2) + b"Cover Art (Front)\0\1\2\3"
    size, count = 32 + len(item + cover), 2
    ape = b"APETAGEX" + struct.pack("<IIIIQ", 2000, size, count, 0, 0)
    old = b"TAG" + b"Title".ljust(30, b"\0") + b"Artist".ljust(30, b"\0") + bytes(65)
    file.write_bytes(file.read_bytes() + item + cover + ape + old)
    assert carried(file, target).lost == ("APE cover art (front)",)
    opened: Any = Tags(target)
    said = [str(opened[name]) for name in ("TIT2", "TPE1", "TALB")]
    assert said == ["Title", "Artist", "Ferry"]


# Other kinds of files.


@pytest.mark.parametrize(
    ("ending", "lost"),
    [
        ("mp3", "bext, cue, adtl, smpl, acid, inst, iXML, umid, zzzz"),
        ("flac", "bext, cue, adtl, smpl, acid, inst, iXML, umid, zzzz, PRIV"),
        ("ogg", "bext, cue, adtl, smpl, acid, inst, iXML, umid, zzzz, PRIV"),
        ("opus", "bext, cue, adtl, smpl, acid, inst, iXML, umid, zzzz, PRIV"),
    ],
)
def test_from_a_wav_texts_and_cover_go_anywhere_and_the_rest_is_named(
    tmp_path: Path, ending: str, lost: str
) -> None:
    data = CarriedMetadata(chunks=CHUNKS, info=INFO, frames=FRAMES_OF_ID3)
    source, target = tmp_path / "a.wav", tmp_path / f"b.{ending}"
    writing.save(noise(), source, metadata=data)
    assert ", ".join(carried(source, target).lost) == lost
    texts = read_metadata(target).all_texts()
    assert texts == {
        "title": ("Ämber",), "artist": ("Björk",), "subject": ("Sea",), "bpm": ("92",),
        "isrc": ("USRC17607839",), "comment": ("夜",), "mood": ("calm",),
    }  # fmt: skip
    assert [one.data for one in read_metadata(target).all_pictures()] == [PNG]


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_into_a_wav_go_info_and_an_id3_chunk(tmp_path: Path, ending: str) -> None:
    source, target = tmp_path / f"a.{ending}", tmp_path / "b.wav"
    data = CarriedMetadata(comments=COMMENTS, pictures=(COVER,))
    if ending == "mp3":
        data = CarriedMetadata(frames=FRAMES_OF_ID3)
    writing.save(noise(), source, metadata=data)
    assert carried(source, target).lost == ()
    read = read_metadata(target)
    assert read.all_texts() == read_metadata(source).all_texts()
    assert [one.data for one in read.all_pictures()] == [PNG]
    with soundfile.SoundFile(target) as file:
        assert file.title == "Ämber"


def test_texts_of_an_aiff_are_carried(tmp_path: Path) -> None:
    file, target = tmp_path / "a.aiff", tmp_path / "b.flac"
    with soundfile.SoundFile(file, "w", RATE, 2, "PCM_16") as written:
        written.title, written.artist, written.copyright = "Amber", "Trio", "(c) T"
        written.write(noise().samples.T)
    mark = b"basc" + struct.pack(">I", 2) + b"\0\0"
    tag = id3.make_tag([id3.text_frame(b"TKEY", ["Am"])])
    extra = mark + b"ID3 " + struct.pack(">I", len(tag)) + tag + b"\0" * (len(tag) % 2)
    file.write_bytes(file.read_bytes() + extra)
    assert carried(file, target).lost == ("basc",)
    assert TinyTag.get(target).other == {"copyright": ["(c) T"], "initial_key": ["Am"]}
    assert TinyTag.get(target).title == "Amber"


def test_markers_and_the_loop_of_an_aiff_become_cue_points_and_a_loop(tmp_path: Path) -> None:
    file, target = tmp_path / "a.aiff", tmp_path / "b.wav"
    with soundfile.SoundFile(file, "w", RATE, 2, "PCM_16") as written:
        written.write(noise().samples.T)
    marks = struct.pack(">H", 2) + struct.pack(">HIB", 1, 100, 5) + b"Verse"
    marks += struct.pack(">HIB", 7, 9000, 2) + b"B\x8a\0"  # "ä" of the Macintosh, and padding
    instrument = struct.pack(">bbbbbbhhHHhHH", 57, 0, 0, 127, 1, 127, 0, 1, 1, 7, 0, 0, 0)
    for name, body in ((b"MARK", marks), (b"INST", instrument)):
        file.write_bytes(file.read_bytes() + name + struct.pack(">I", len(body)) + body)
    assert carried(file, target).lost == ()
    found = dict(read_metadata(target).chunks)
    points = [struct.unpack_from("<II4sIII", found[b"cue "], 4 + 24 * n) for n in range(2)]
    assert [(one[0], one[5]) for one in points] == [(1, 100), (7, 9000)]
    assert b"\1\0\0\0Verse\0" in found[b"LIST"] and b"\7\0\0\0B\xc3\xa4\0" in found[b"LIST"]
    assert struct.unpack("<9I", found[b"smpl"][:36])[2:4] == (20_833, 57)
    assert struct.unpack("<6I", found[b"smpl"][36:])[2:4] == (100, 8999)


def test_a_kind_whose_tags_are_not_read_is_said(tmp_path: Path) -> None:
    file = tmp_path / "a.mka"
    file.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(100))
    assert read_metadata(file).lost == ("tags (they are not read from this kind of file)",)


# What is no longer true of a changed sound.


def test_places_follow_the_sample_rate() -> None:
    change = SoundChange(48_000, 44_100, 48_000, 44_100)
    moved, lost = adapted(b"cue ", cue(0, 24_000, 48_000), change)
    assert moved == cue(0, 22_050, 44_100) and lost == ""
    made, _ = adapted(b"bext", bext(48_000 * 60), change)
    assert made is not None and int.from_bytes(made[338:346], "little") == 44_100 * 60
    loop, _ = adapted(b"smpl", smpl(480, 47_999), change)
    assert loop is not None
    assert struct.unpack_from("<I", loop, 8) == (round(1e9 / 44_100),)
    assert struct.unpack_from("<2I", loop, 44) == (441, 44_099)
    labels, _ = adapted(b"LIST", ADTL, change)
    assert labels is not None and struct.pack("<I", round(2000 * 44_100 / 48_000)) in labels
    assert adapted(b"acid", ACID, change) == (ACID, "")
    assert adapted(b"zzzz", b"odd", change) == (None, "zzzz")


def test_new_sound_ahead_moves_places_and_the_time_code_back() -> None:
    change = SoundChange(RATE, RATE, FRAMES, 2 * FRAMES, ahead_s=0.5, is_new=True)
    assert adapted(b"cue ", cue(0, 100), change) == (cue(FRAMES, FRAMES + 100), "")
    made, lost = adapted(b"bext", bext(RATE * 10), change)
    assert made is not None and int.from_bytes(made[338:346], "little") == RATE * 10 - FRAMES
    assert lost == "bext loudness values, bext UMID"
    assert made[412:422] == b"\xff\x7f" * 5 and made[348:412] == bytes(64)
    midnight, _ = adapted(b"bext", bext(0), change)
    assert midnight is not None
    assert int.from_bytes(midnight[338:346], "little") == RATE * 86_400 - FRAMES
    assert adapted(b"acid", ACID, change) == (None, "acid")


def test_places_that_are_cut_off_are_counted() -> None:
    change = SoundChange(RATE, RATE, FRAMES, 1000)
    assert adapted(b"cue ", cue(500, 5000), change) == (cue(500), "cue (1 of 2 points)")
    assert adapted(b"cue ", cue(5000), change) == (None, "cue")
    made, lost = adapted(b"smpl", smpl(0, 5000), change)
    assert made is not None and struct.unpack_from("<I", made, 28) == (0,)
    assert lost == "smpl (1 of 1 loops)"


@pytest.mark.parametrize(("level_db", "is_kept"), [(0.0, True), (-0.04, True), (-0.06, False)])
def test_loudness_is_forgotten_where_the_level_changed(level_db: float, is_kept: bool) -> None:
    change = SoundChange(RATE, RATE, FRAMES, FRAMES, level_db=level_db)
    made, lost = adapted(b"bext", bext(), change)
    assert made is not None and (made == bext()) == is_kept
    assert (lost == "") == is_kept
    gain = ("REPLAYGAIN_TRACK_GAIN", "-3 dB")
    data = CarriedMetadata(comments=(gain,)).into(Path("a.flac"), change)
    assert data.comments == ((gain,) if is_kept else ())
    assert data.lost == (() if is_kept else ("replaygain_track_gain",))


def test_the_coding_history_has_a_line_for_what_was_done() -> None:
    change = SoundChange(
        RATE, RATE, FRAMES, FRAMES, channels=2, process="watermark", encoding="PCM_24"
    )
    made, _ = adapted(b"bext", bext(history=b"A=ANALOGUE,M=mono,T=tape\0\0"), change)
    assert made is not None and made[602:] == (
        b"A=ANALOGUE,M=mono,T=tape\r\nA=PCM,F=48000,W=24,M=stereo,T=rag-audio; watermark\r\n\0"
    )


def test_a_new_recording_does_not_bear_the_identifiers_of_the_old() -> None:
    change = SoundChange(RATE, RATE, FRAMES, FRAMES, is_new=True)
    data = CarriedMetadata(frames=FRAMES_OF_ID3, chunks=((b"umid", b"1"),))
    made = data.into(Path("a.wav"), change)
    assert made.lost == ("ISRC", "UMID")
    assert "isrc" not in made.all_texts() and made.all_texts()["title"] == ("Ämber",)
    flac = CarriedMetadata(comments=(("ISRC", "x"),)).into(Path("a.flac"), change)
    assert (flac.comments, flac.lost) == ((), ("ISRC",))


def test_own_texts_lead_and_are_not_said_twice() -> None:
    data = CarriedMetadata(info=((b"ICMT", b"Old; Credits of A\0"), (b"INAM", b"Amber\0")))
    target = Path("a.wav")
    made = data.with_texts(target, {"comment": "New; Credits of A"}, {"title": "Output 1"})
    assert made.all_texts()["comment"] == ("New; Credits of A; Old",)
    assert made.all_texts()["title"] == ("Amber",)
    own = data.with_texts(target, {"comment": "New"}, {"title": "Output 1"}, {"comment", "title"})
    assert own.info == ((b"ICMT", b"New\0"), (b"INAM", b"Output 1\0"))


def test_tags_are_read_around_one_of_lyrics(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = b"Mood"
    item = struct.pack("<II", 4, 0) + name + b"\0calm"
    foot = b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, 0) + bytes(8)
    words = b"LYRICSBEGININD0000200LYR00010Some words"
    words += b"%06dLYRICS200" % len(words)
    old = b"TAG" + b"Amber".ljust(125, b"\0")
    writing.save(noise(), tmp_path / "a.mp3")
    sound = (tmp_path / "a.mp3").read_bytes()
    for number, behind in enumerate((words, item + foot + words, words + item + foot)):
        file = tmp_path / f"{number}.mp3"
        file.write_bytes(sound + behind + old)
        texts = read_metadata(file).all_texts()
        assert texts == {"title": ("Amber",), **({"mood": ("calm",)} if number else {})}
        found = hear(file)
        assert found.pcm_sha256 == hear(tmp_path / "a.mp3").pcm_sha256
        assert found.notices == ()
    file.write_bytes(sound + b"LYRICSBEGINSome wordsLYRICSEND" + old)
    assert hear(file).notices == ()
    assert capfd.readouterr().err == ""


# Files that lie.


def test_the_sound_of_a_stopped_recorder_is_not_taken_for_chunks(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    writing.save(noise(), file, subtype="16")
    content = bytearray(file.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = bytes(4)
    content[at + 8 : at + 20] = b"abcd\4\0\0\0sond"
    file.write_bytes(bytes(content))
    assert read_metadata(file) == CarriedMetadata()


@pytest.mark.parametrize(
    "made",
    [
        lambda behind: wav(0, behind=behind),
        lambda behind: wav(0xFFFFFFFF, behind=behind),
        lambda behind: wav(1000, behind=behind),
        lambda behind: wav(1 << 28, behind=behind),
        lambda behind: wav(sound=pcm()[:8000], behind=behind + riff.chunk(b"data", pcm()[:4000])),
        lambda behind: wav(0xFFFFFFFF, before=ds64(0) + FMT, name=b"RF64", behind=behind),
        lambda behind: wav(0xFFFFFFFF, before=ds64(400) + FMT, name=b"RF64", behind=behind),
        lambda behind: wav(0xFFFFFFFF, before=ds64(1 << 40) + FMT, name=b"RF64", behind=behind),
        lambda behind: wav(behind=behind) + wav(behind=riff.chunk(b"cue ", cue(9))),
    ],
)
def test_what_stands_behind_sound_of_untrue_size_is_found(
    tmp_path: Path, made: Callable[[bytes], bytes]
) -> None:
    info = riff.chunk(b"LIST", riff.list_chunk(b"INFO", INFO))
    file = tmp_path / "a.wav"
    file.write_bytes(made(info + riff.chunk(b"cue ", cue(5)) + riff.chunk(b"bext", bext())))
    read = read_metadata(file)
    assert read == CarriedMetadata(chunks=((b"cue ", cue(5)), (b"bext", bext())), info=INFO)


@settings(max_examples=60, deadline=None)
@given(
    start=st.sampled_from(["wav", "flac", "mp3", "ogg", "m4a"]),
    places=st.lists(st.tuples(st.integers(0, 2500), st.binary(min_size=1, max_size=4)), max_size=6),
    cut=st.integers(0, 3000),
)
def test_damage_is_named_and_never_raises(
    tmp_path_factory: pytest.TempPathFactory,
    start: str,
    places: list[tuple[int, bytes]],
    cut: int,
) -> None:
    content = bytearray(HONEST[start])
    for at, found in places:
        content[at : at + len(found)] = found
    file = tmp_path_factory.mktemp("damaged") / f"a.{start}"
    file.write_bytes(bytes(content[: max(1, len(content) - cut)]))
    data = read_metadata(file)
    for ending in ("wav", "flac", "mp3", "ogg"):
        made = data.into(Path(f"b.{ending}"), SoundChange(RATE, 44_100, FRAMES, 4000, is_new=True))
        assert all("\n" not in name for name in made.lost)


def test_names_in_files_are_shown_in_one_short_line() -> None:
    info = tuple((b"\x1b[" + bytes([65 + n % 26, 65 + n // 26]), b"x\0") for n in range(100))
    lost = CarriedMetadata(info=info).into(Path("a.flac"), SAME).lost
    assert (lost[0], len(lost), lost[-1]) == ("?[AA", 41, "and 60 more")
    (name,) = CarriedMetadata(lost=("APE " + "x" * 5000,)).into(Path("a.flac"), SAME).lost
    assert len(name) == 80


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=80))
def test_any_chunk_is_adapted_or_left_out(body: bytes) -> None:
    change = SoundChange(48_000, 44_100, 1000, 500, ahead_s=0.01, level_db=1.0, process="x")
    for name in (b"bext", b"cue ", b"smpl", b"plst", b"LIST", b"acid", b"inst", b"what"):
        adapted(name, body, change)
        adapted(name, bext()[: 560 + len(body)] + body, change)


def test_a_frame_that_inflates_to_very_much_is_left_out() -> None:
    import zlib

    packed = zlib.compress(bytes(id3.MOST_BYTES + 10))
    body = frame_of_2_3(b"PRIV", bytes(4) + packed, b"\0\x80")
    tag = id3.read_tag(tagged(3, body))
    assert tag is not None and (tag.frames, tag.left_out) == ((), ("PRIV",))


def _honest(kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, subtype, format=kind) as written:
        written.title = "Amber"
        written.write(np.zeros(1000))
    return file.getvalue()


HONEST = {
    "wav": _honest("WAV", "PCM_16") + riff.chunk(b"cue ", cue(1)) + riff.chunk(b"bext", bext()),
    "flac": _honest("FLAC", "PCM_16"),
    "m4a": tagged_mp4([(b"\xa9nam", 1, b"Amber"), (b"trkn", 0, bytes(8))], [("Mood", b"calm")]),
    "mp3": id3.make_tag(FRAMES_OF_ID3)[:2000],
    "ogg": _honest("OGG", "VORBIS"),
}


@pytest.mark.parametrize("size", [0, 10**8])
def test_texts_behind_the_sound_of_a_rifx_of_untrue_size_are_carried(
    tmp_path: Path, size: int
) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack(">I", len(body)) + body

    form = chunk(b"fmt ", struct.pack(">HHIIHH", 1, 1, 8000, 16_000, 2, 16))
    sound = (8000 * np.sin(np.arange(16_000) / 9)).astype(">i2").tobytes()
    info = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"Night"))
    data = b"data" + struct.pack(">I", size) + sound
    (tmp_path / "a.wav").write_bytes(b"RIFX" + bytes(4) + b"WAVE" + form + data + info)
    assert hear(tmp_path / "a.wav").audio.duration_s == pytest.approx(2.0, abs=0.001)
    assert read_metadata(tmp_path / "a.wav").all_texts() == {"title": ("Night",)}

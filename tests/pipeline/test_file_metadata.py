"""Delivered files say tempo, key, beats and loop points where sequencers and samplers read them."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mutagen import File as Tags
from tinytag import TinyTag

from rag_audio.audio import riff, writing
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.headers import read_header
from rag_audio.audio.metadata_documents import MOST_BYTES, metadata_from_json, metadata_to_json
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.domain import Audio, ConditioningPlan, Edit, Key
from rag_audio.domain.request import Controls
from rag_audio.pipeline.file_metadata import (
    copied_metadata,
    edited_metadata,
    edited_subtype,
    output_metadata,
)
from tests.audio.test_carried_metadata import COVER, FRAMES_OF_ID3, INFO, bext, cue
from tests.provenance.builders import LICENSE, plan

RATE = 44_100
UNMET: dict[str, Any] = {"enforced": {"promises": [{"aim": "tempo", "met": False,
                                                    "wanted": 120.0, "heard": 97.0}]}}  # fmt: skip


def sound(seconds: float) -> Audio:
    noise = np.random.default_rng(0).standard_normal((2, round(seconds * RATE))) * 0.05
    return Audio(noise.astype(np.float32), RATE)


def delivered(folder: Path, name: str, of: ConditioningPlan, seconds: float, **more: Any) -> Path:
    file, audio = folder / name, sound(seconds)
    checks = more.pop("checks", {})
    data = output_metadata(7, of, checks, audio, file, more.pop("carried", None))
    writing.save(audio, file, metadata=data, **more)
    return file


def chunks_of(file: Path) -> dict[bytes, bytes]:
    with file.open("rb") as opened:
        found = riff.walk(opened)
        assert found is not None
        return {one.name: riff.content(opened, one, 10_000) for one in found.chunks}


LOOP = plan(bpm=120.0, key=Key(9, True))
SECTIONS = tuple(replace(part, start_s=2.0 * n) for n, part in enumerate(LOOP.seed_parts))


def test_a_loop_of_four_bars_says_so_in_a_wav(tmp_path: Path) -> None:
    found = chunks_of(delivered(tmp_path, "a.wav", replace(LOOP, seed_parts=SECTIONS), 8.0))
    # Loop, root set, stretchable; A of the octave of middle C; 16 beats of 4/4 at 120.
    assert struct.unpack("<IHHfIHHf", found[b"acid"]) == (6, 69, 0x8000, 0.0, 16, 4, 4, 120.0)
    head, loop = (
        struct.unpack("<9I", found[b"smpl"][:36]),
        struct.unpack("<6I", found[b"smpl"][36:]),
    )
    assert head == (0, 0, round(1e9 / RATE), 69, 0, 0, 0, 1, 0)
    assert loop == (0, 0, 0, 8 * RATE - 1, 0, 0)
    points = [struct.unpack_from("<II4sIII", found[b"cue "], 4 + 24 * n) for n in range(2)]
    assert [(id_, at) for id_, _, _, _, _, at in points] == [(1, 0), (2, 2 * RATE)]
    labels = riff.list_chunk(
        b"adtl", [(b"labl", b"\1\0\0\0bar 1\0"), (b"labl", b"\2\0\0\0bar 2\0")]
    )
    assert (tmp_path / "a.wav").read_bytes().count(labels) == 1
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        assert file.title == "Output 7, 120 bpm, A minor"
        assert file.artist == "rag-audio (AI)"
        assert file.comment == (
            "Made with AI by rag-audio, output 7; Contains material of Night Shift Recordings"
        )
        assert file.copyright == "Contains material of Night Shift Recordings"
    said = TinyTag.get(tmp_path / "a.wav").other
    assert (said["bpm"], said["initial_key"]) == (["120"], ["Am"])


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg", "opus"])
def test_tempo_key_title_and_credits_stand_in_tags(tmp_path: Path, ending: str) -> None:
    file = delivered(tmp_path, f"a.{ending}", replace(LOOP, bpm=92.5, key=Key(6, False)), 3.0)
    said = TinyTag.get(file)
    assert (said.title, said.artist) == ("Output 7, 92.50 bpm, F# major", "rag-audio (AI)")
    assert (said.other["bpm"], said.other["initial_key"]) == (["92.50"], ["F#"])
    assert said.other["copyright"] == ["Contains material of Night Shift Recordings"]
    tags: Any = Tags(file)
    if ending == "mp3":
        assert [str(tags[name]) for name in ("TBPM", "TKEY")] == ["92.50", "F#"]
    else:
        assert (tags["bpm"], tags["initialkey"]) == (["92.50"], ["F#"])


@pytest.mark.parametrize(
    ("seconds", "more", "is_loop"),
    [
        (8.0, {}, True),
        (8.004, {}, True),
        (8.2, {}, False),
        (1.0, {}, False),
        (7.5, {"controls": Controls(time_signature=(5, 4))}, True),
        (6.0, {"controls": Controls(time_signature=(6, 8))}, True),
        (8.0, {"bpm": None}, False),
    ],
)
def test_a_loop_is_whole_bars(
    tmp_path: Path, seconds: float, more: dict[str, Any], is_loop: bool
) -> None:
    found = chunks_of(delivered(tmp_path, "a.wav", replace(LOOP, **more), seconds))
    assert (b"smpl" in found) == is_loop
    if "bpm" in more:
        assert b"acid" not in found
    else:
        assert struct.unpack("<I", found[b"acid"][:4]) == ((6,) if is_loop else (3,))


def test_an_enforced_tempo_that_is_not_met_is_not_written(tmp_path: Path) -> None:
    file = delivered(tmp_path, "a.wav", LOOP, 8.0, checks=UNMET)
    found = chunks_of(file)
    assert b"acid" not in found and b"smpl" not in found
    said = TinyTag.get(file)
    assert said.title == "Output 7, A minor" and "bpm" not in said.other
    assert "tempo not met" in (said.comment or "")


def test_nothing_quotes_the_prompt(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mp3", "a.flac", "a.ogg"):
        content = delivered(tmp_path, name, LOOP, 1.0).read_bytes()
        assert b"dusty" not in content and b"boom" not in content


# Edits and copies.


def edit_plan(kind: str, regions: tuple[tuple[float, float], ...], **more: Any) -> ConditioningPlan:
    edit = Edit(kind, more.get("parent"), (), "0" * 64, "own", regions, 0.5)
    return replace(LOOP, edit=edit, bpm=None, key=None)


def broadcast(folder: Path, **more: Any) -> Path:
    file = folder / "in.wav"
    data = CarriedMetadata(
        chunks=((b"bext", bext(RATE * 60)), (b"cue ", cue(0, 100)), (b"zzzz", b"x")),
        info=(*INFO, (b"ICMT", b"Mixed by K; Contains A\0"), (b"ICOP", b"(c) L\0")),
        frames=FRAMES_OF_ID3,
    )
    writing.save(sound(2.0), file, metadata=data, **more)
    return file


def test_an_edit_keeps_texts_cover_time_code_and_places(tmp_path: Path) -> None:
    of, target = edit_plan("extend", ((0.0, 1.0), (3.0, 4.0))), tmp_path / "out.wav"
    carried = edited_metadata(read_metadata(broadcast(tmp_path)), of, sound(4.0), target, None)
    assert carried.lost == ("ISRC", "bext loudness values, bext UMID", "zzzz")
    data = output_metadata(7, of, {}, sound(4.0), target, carried)
    writing.save(sound(4.0), target, metadata=data)
    found = chunks_of(target)
    assert found[b"cue "] == cue(RATE, RATE + 100)
    assert int.from_bytes(found[b"bext"][338:346], "little") == RATE * 59
    assert b"T=rag-audio; edited with AI" in found[b"bext"]
    texts = read_metadata(target).all_texts()
    assert texts["title"] == ("Ämber",) and texts["artist"] == ("Björk",)
    assert texts["bpm"] == ("92",) and texts["copyright"] == (
        "Contains material of Night Shift Recordings; (c) L",
    )
    (comment,) = texts["comment"]
    assert comment == (
        "Made with AI by rag-audio, output 7; Contains material of Night Shift Recordings; 夜; "
        "Mixed by K; Contains A"
    )
    assert [one.data for one in read_metadata(target).all_pictures()] == [COVER.data]


def test_an_edit_of_a_recording_without_an_artist_is_not_said_to_be_ours(tmp_path: Path) -> None:
    file, target = tmp_path / "in.wav", tmp_path / "out.wav"
    writing.save(sound(2.0), file)
    of = edit_plan("vary", ((0.0, 2.0),))
    carried = edited_metadata(read_metadata(file), of, sound(2.0), target, None)
    texts = output_metadata(7, of, {}, sound(2.0), target, carried).all_texts()
    assert texts["title"] == ("Output 7",) and "artist" not in texts


def test_what_an_earlier_output_said_of_itself_is_replaced(tmp_path: Path) -> None:
    first = delivered(tmp_path, "first.wav", LOOP, 8.0)
    of, target = edit_plan("vary", ((0.0, 8.0),), parent=7), tmp_path / "out.wav"
    of = replace(of, bpm=60.0)
    carried = edited_metadata(read_metadata(first), of, sound(8.0), target, None)
    data = output_metadata(8, of, {}, sound(8.0), target, carried)
    texts = data.all_texts()
    assert texts["title"] == ("Output 8, 60 bpm",) and "output 7" not in str(texts)
    acid = [body for name, body in data.chunks if name == b"acid"]
    assert [struct.unpack("<IHHfIHHf", one)[-1] for one in acid] == [60.0]


@pytest.mark.parametrize(
    ("was", "name", "expected"),
    [("32f", "a.wav", "FLOAT"), ("32f", "a.flac", None), ("16", "a.wav", None)],
)
def test_floats_stay_floats_in_an_edit(
    tmp_path: Path, was: str, name: str, expected: str | None
) -> None:
    assert (
        edited_subtype(read_header(broadcast(tmp_path, subtype=was)).subtype, tmp_path / name)
        == expected
    )


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg"])
def test_a_copy_in_another_format_says_the_same(tmp_path: Path, ending: str) -> None:
    file, target = delivered(tmp_path, "a.wav", LOOP, 8.0), tmp_path / f"b.{ending}"
    carried = copied_metadata(file, sound(8.0), target)
    data = output_metadata(7, LOOP, {}, sound(8.0), target, carried)
    assert data.all_texts() == read_metadata(file).all_texts()
    back = copied_metadata(file, sound(8.0), tmp_path / "c.wav")
    again = output_metadata(7, LOOP, {}, sound(8.0), tmp_path / "c.wav", back)
    assert sorted(again.chunks) == sorted(read_metadata(file).chunks)


def test_very_many_credits_still_end_at_a_whole_line(tmp_path: Path) -> None:
    many = tuple(
        replace(LICENSE, id=f"l{n}", credit=f"Contains {'x' * 200} {n}") for n in range(64)
    )
    for name in ("a.wav", "a.mp3", "a.flac", "a.ogg"):
        file = delivered(tmp_path, name, replace(LOOP, licenses=many), 1.0)
        comment = TinyTag.get(file).comment or ""
        assert comment.endswith(" …") and len(comment) <= 4000


def test_what_stands_beside_a_sound_survives_as_a_document(tmp_path: Path) -> None:
    """As the process that decodes an upload hands it to the service."""
    data = read_metadata(broadcast(tmp_path))
    assert data.chunks
    assert metadata_from_json(json.loads(json.dumps(metadata_to_json(data)))) == data
    full = replace(data, chunks=((b"LONG", bytes(MOST_BYTES + 1)),))
    left = metadata_from_json(metadata_to_json(full))
    assert (left.chunks, left.lost[-1]) == ((), "covers, tags and other data of more than 12 MB")

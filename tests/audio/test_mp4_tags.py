"""Texts and covers of MP4 files are carried by name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutagen import File as Tags

from rag_audio.audio import writing
from rag_audio.audio.carried_metadata import CREDENTIALS
from rag_audio.audio.metadata_reading import UNREAD, read_metadata
from rag_audio.audio.wave_chunks import SoundChange
from rag_audio.domain import Audio
from tests.support.media import FFMPEG, box, mp4, needs_ffmpeg, tagged_mp4

PNG = b"\x89PNG\r\n\x1a\n" + bytes(900)
ITEMS = (
    (b"\xa9nam", 1, "Ämber".encode()),
    (b"\xa9ART", 2, "夜".encode("utf-16-be")),
    (b"tmpo", 21, struct.pack(">H", 92)),
    (b"trkn", 0, struct.pack(">HHHH", 0, 3, 9, 0)),
    (b"covr", 14, PNG),
    (b"\xa9too", 1, b"Some encoder"),
    (b"pgap", 21, b"\1"),
)
FREE = (("initialkey", b"Am"), ("ISRC", b"USRC17607839"), ("Mood", b"calm"), ("iTunSMPB", b"0 840"))
TEXTS = {
    "title": ("Ämber",), "artist": ("夜",), "bpm": ("92",), "tracknumber": ("3/9",),
    "key": ("Am",), "isrc": ("USRC17607839",), "mood": ("calm",), "software": ("Some encoder",),
}  # fmt: skip


def test_items_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(tagged_mp4(ITEMS, FREE))
    read = read_metadata(tmp_path / "a.m4a")
    assert (read.all_texts(), read.lost) == (TEXTS, ("pgap",))
    assert [(one.media, one.kind, one.data) for one in read.pictures] == [("image/png", 3, PNG)]


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg"])
def test_they_are_carried_into_other_kinds(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.m4a").write_bytes(tagged_mp4(ITEMS, FREE))
    target = tmp_path / f"b.{ending}"
    change = SoundChange(44_100, 44_100, 4410, 4410, channels=1)
    made = read_metadata(tmp_path / "a.m4a").into(target, change)
    writing.save(Audio(np.zeros((1, 4410), np.float32), 44_100), target, metadata=made)
    again = read_metadata(target)
    assert again.all_texts() == {name: TEXTS[name] for name in TEXTS if name != "software"}
    assert [one.data for one in again.all_pictures()] == [PNG]
    opened: Any = Tags(target)
    title = opened["title"] if ending in ("flac", "ogg") else opened["TIT2"].text
    assert title == ["Ämber"]


def test_user_data_of_quicktime_is_read(tmp_path: Path) -> None:
    title = struct.pack(">HH", 5, 0) + b"Amber"
    (tmp_path / "a.mov").write_bytes(mp4(box(b"udta", box(b"\xa9nam", title)), brand=b"qt  "))
    assert read_metadata(tmp_path / "a.mov").all_texts() == {"title": ("Amber",)}


def test_credentials_of_the_file_are_named(tmp_path: Path) -> None:
    manifest = box(b"uuid", bytes.fromhex("d8fec3d61b0e483c92975828877ec481"), bytes(40))
    (tmp_path / "a.m4a").write_bytes(tagged_mp4(ITEMS) + manifest)
    assert read_metadata(tmp_path / "a.m4a").lost == ("pgap", CREDENTIALS)


@pytest.mark.parametrize("cut", range(0, 1500, 90))
def test_tags_that_break_off_are_read_as_far_as_they_go(tmp_path: Path, cut: int) -> None:
    whole = tagged_mp4(ITEMS, FREE)
    (tmp_path / "a.m4a").write_bytes(whole[: len(whole) - cut])
    read = read_metadata(tmp_path / "a.m4a")
    assert UNREAD not in read.lost
    assert all(TEXTS[name] == values for name, values in read.texts.items())


@needs_ffmpeg
def test_what_ffmpeg_writes_is_read(tmp_path: Path) -> None:
    import subprocess

    options = ["-metadata", "title=Amber", "-metadata", "artist=Björk", "-metadata", "track=3/9"]
    made = ["-f", "lavfi", "-i", "sine=440:d=0.2", *options, str(tmp_path / "a.m4a")]
    subprocess.run([str(FFMPEG), "-v", "error", *made], check=True)
    texts = read_metadata(tmp_path / "a.m4a").all_texts()
    assert (texts["title"], texts["artist"], texts["tracknumber"]) == (
        ("Amber",), ("Björk",), ("3/9",),
    )  # fmt: skip

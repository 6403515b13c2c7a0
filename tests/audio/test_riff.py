"""Chunks are found in every container of the family, and nothing a size says is believed."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import riff
from rag_audio.errors import UnreadableFile
from tests.support.bombs import chunk, rf64

NAMES = st.sampled_from([b"bext", b"cue ", b"LIST", b"abcd", b"id3 "])
BODIES = st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=12)


def file_of(kind: str, parts: list[tuple[bytes, bytes]]) -> bytes:
    if kind == "W64":
        return riff.WAVE64_HEAD + b"".join(riff.wave64_chunk(*part) for part in parts)
    if kind == "FORM":
        bodies = (
            name + struct.pack(">I", len(body)) + body + b"\0" * (len(body) % 2)
            for name, body in parts
        )
        return b"FORM\0\0\0\0AIFF" + b"".join(bodies)
    return kind.encode() + bytes(4) + b"WAVE" + b"".join(riff.chunk(*part) for part in parts)


@pytest.mark.parametrize("kind", ["RIFF", "RF64", "BW64", "W64", "FORM"])
@settings(max_examples=30, deadline=None)
@given(parts=BODIES)
def test_chunks_are_found_as_they_were_written(kind: str, parts: list[tuple[bytes, bytes]]) -> None:
    file = io.BytesIO(file_of(kind, parts))
    found = riff.walk(file)
    assert found is not None and found.container == kind and found.notices == ()
    read = [(one.name, riff.content(file, one, 100)) for one in found.chunks]
    expected = [
        (b"list" if (kind, name) == ("W64", b"LIST") else name, body) for name, body in parts
    ]
    assert read == expected


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF"])
def test_the_sound_of_what_libsndfile_writes_is_where_it_says(kind: str) -> None:
    file = io.BytesIO()
    sound = np.arange(-50, 50, dtype=np.int16)
    with soundfile.SoundFile(file, "w", 8000, 1, "PCM_16", format=kind) as written:
        written.write(sound)
    found = riff.walk(file)
    assert found is not None
    name, order, ahead = (b"SSND", ">i2", 8) if kind == "AIFF" else (b"data", "<i2", 0)
    data = found.find(name)
    assert data is not None and not data.is_cut
    read = riff.content(file, data, 1000)[ahead:]
    assert np.array_equal(np.frombuffer(read, order), sound)


def test_sizes_past_4_gb_come_from_ds64() -> None:
    found = riff.walk(io.BytesIO(rf64(1 << 40)))
    assert found is not None
    data = found.find(b"data")
    assert data is not None and data.claimed == 1 << 40 and data.size == 1600
    assert found.notices == (f"the chunk 'data' breaks off: 1600 of {1 << 40} bytes are there",)


def test_a_missing_padding_byte_and_rubbish_at_the_end_do_not_hide_chunks() -> None:
    unpadded = chunk(b"abcd", b"\1\2\3") + chunk(b"efgh", b"\4\5")
    found = riff.walk(io.BytesIO(b"RIFF\0\0\0\0WAVE" + unpadded + b"\x01\x02\x03\x04rest"))
    assert found is not None
    assert [one.name for one in found.chunks] == [b"abcd", b"efgh"]
    assert found.notices == ("what follows byte 33 is not a chunk: left out",)


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(["RIFF", "RF64", "W64", "FORM"]),
    parts=BODIES,
    places=st.lists(st.tuples(st.integers(12, 400), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 400),
)
def test_damage_never_leads_beyond_the_file(
    kind: str, parts: list[tuple[bytes, bytes]], places: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(file_of(kind, parts))
    for at, byte in places:
        if at < len(content):
            content[at] = byte
    found = riff.walk(io.BytesIO(bytes(content[: max(0, len(content) - cut)])))
    length = max(0, len(content) - cut)
    for one in () if found is None else found.chunks:
        assert 0 <= one.size <= one.claimed and one.start + one.size <= length


def test_very_many_chunks_are_refused() -> None:
    with pytest.raises(UnreadableFile, match="more than 20 data chunks"):
        riff.walk(io.BytesIO(file_of("RIFF", [(b"abcd", b"")] * 21)), most=20)


def test_a_list_that_does_not_fit_is_none() -> None:
    items = [(b"INAM", b"a\0"), (b"IART", b"bcd")]
    body = riff.list_chunk(b"INFO", items)
    assert riff.listed(body[4:]) == items
    assert riff.listed(body[4:-3]) is None
    assert riff.listed(b"INAM\xff\xff\xff\xffabc") is None

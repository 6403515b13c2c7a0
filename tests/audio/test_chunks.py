"""Containers of very many parts are refused before a decoder sees them, others are not."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import containers
from rag_audio.audio.containers import open_sound, require_few_chunks
from rag_audio.audio.reading import hear
from rag_audio.errors import UnreadableFile
from tests.support.bombs import beep, chunk, rf64

MOST = 20
SIZES = st.lists(st.integers(0, 9), max_size=2 * MOST)


def riff_of(sizes: list[int]) -> bytes:
    return b"RIFF\0\0\0\0WAVE" + b"".join(
        chunk(b"JUNK", bytes(n) + b"\0" * (n % 2), n) for n in sizes
    )


def form_of(sizes: list[int]) -> bytes:
    parts = (b"JUNK" + struct.pack(">I", n) + bytes(n + n % 2) for n in sizes)
    return b"FORM\0\0\0\0AIFF" + b"".join(parts)


def rf64_of(sizes: list[int]) -> bytes:
    """The parts behind 500 bytes of sound whose length only the ``ds64`` chunk tells."""
    head = b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", struct.pack("<QQQI", 0, 500, 0, 0))
    return head + b"data\xff\xff\xff\xff" + bytes(500) + riff_of(sizes[2:])[12:]


def tags_of(sizes: list[int]) -> bytes:
    return b"".join(b"ID3\3\0\0\0\0\0" + bytes([n]) + bytes(n) for n in sizes) + b"\xff\xfb"


@pytest.mark.parametrize("made", [riff_of, form_of, rf64_of, tags_of])
@settings(max_examples=15, deadline=None)
@given(sizes=SIZES)
def test_parts_are_counted_whatever_their_sizes(made: object, sizes: list[int]) -> None:
    count = max(2, len(sizes)) if made is rf64_of else len(sizes)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(containers, "MOST_CHUNKS", MOST)
        file = Path(folder, "sound")
        file.write_bytes(made(sizes))  # type: ignore[operator]
        if count <= MOST:
            require_few_chunks(file)
            return
        with pytest.raises(UnreadableFile, match="more than 20 data chunks"):
            require_few_chunks(file)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "OGG", "MP3"])
def test_what_programs_write_passes(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"sound.{kind.lower()}"
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(kind, "PCM_16")
    file.write_bytes(beep(kind, subtype, 16_000))
    with open_sound(file) as sound:
        assert (sound.samplerate, sound.channels) == (16_000, 1) and sound.frames > 0


@pytest.mark.parametrize(
    ("content", "frames"),
    [(rf64(1 << 63), 100), (b"RIFF", 0), (b"RIFF\0\0\0\0WAVEdata\xff\xff\xff\xff" + bytes(99), 0)],
)
def test_headers_that_lie_end_the_count(tmp_path: Path, content: bytes, frames: int) -> None:
    """They are left to the decoder, which hears what is there or finds no sound."""
    file = tmp_path / "sound.wav"
    file.write_bytes(content)
    require_few_chunks(file)
    if frames:
        assert hear(file).audio.frames == frames
        return
    with pytest.raises(UnreadableFile, match="is not a sound file"):
        hear(file)


def test_a_file_of_a_million_parts_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "sound.wav"
    file.write_bytes(chunk(b"RIFF", beep("WAV", "PCM_16")[8:] + chunk(b"JUNK", b"") * 1_000_000))
    with pytest.raises(UnreadableFile) as refused:
        open_sound(file)
    assert "\n" not in refused.value.message

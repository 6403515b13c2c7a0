"""Damaged scores, tags and sounds: read, or refused in a line, within bounds of time and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from indexer.measure import _read_tags
from rag_audio.audio import midi
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.reading import hear
from rag_audio.audio.wave_chunks import SoundChange
from rag_audio.audio.writing import info
from tests.fuzz.harness import damaged, fuzzed
from tests.support import label_files as made
from tests.support.media import tagged_mp4

_SHORT = made.music(1, 0.15, 22_050)
_SHORT_44 = made.music(2, 0.15, 44_100)
_TAGGED = tagged_mp4([(b"\xa9nam", 1, b"Amber"), (b"covr", 14, bytes(90))], [("Key", b"Am")])
_TEMPO = made.tempo(90)

SCORES = (
    made.score(1),
    made.midi(made.track(_TEMPO, made.meta(0x59, b"\xfd\1"), made.meta(0x58, b"\3\2\x18\x08"))),
    made.midi(made.track(_TEMPO, b"\0\xb0\x40\x7f\0\xc0\x05\0\xe0\0\x40", made.notes([60, 64]))),
    made.midi(*(made.track(_TEMPO, made.notes([60 + i])) for i in range(3)), kind=2),
    made.midi(made.track(made.notes([60])), division=0xE728),
    made.riff(made.chunk(b"data", made.score(2)), form=b"RMID"),
    made.midi(made.track(_TEMPO, b"\0\xf0\x03abc\0\x90\x40\x40\x60\x40\0\0\x40\x40\x60\x40\0")),
)
_VORBIS = made.encoded(_SHORT, "OGG", "VORBIS")
_CHUNKS = (
    made.bext(), made.info_list(INAM="Night", IART="Nobody", IKEY="Am"), made.smpl(0, 1000),
    made.cue(0, 500), made.acid(120.0, 4),
)  # fmt: skip
SOUNDS = (
    made.encoded(_SHORT), made.wav_with_chunks(_SHORT, *_CHUNKS, before=True),
    made.wav_with_chunks(_SHORT, *_CHUNKS), made.wav_of_a_killed_recorder(_SHORT),
    made.encoded(_SHORT, "RF64"), made.encoded(_SHORT, "W64"), made.encoded(_SHORT, "AIFF"),
    made.encoded(_SHORT, "AIFF", "FLOAT"), made.encoded(_SHORT, "CAF"), made.encoded(_SHORT, "AU"),
    made.encoded(_SHORT, "FLAC"), made.flac_of_unknown_length(_SHORT),
    _VORBIS, _VORBIS + _VORBIS, made.encoded(made.music(3, 0.15, 48_000), "OGG", "OPUS", 48_000),
    made.mp3(_SHORT_44), made.mp3_without_header(_SHORT_44) * 2,
    made.id3(made.id3_text("TIT2", "Night"), made.id3_text("TBPM", "96")) + made.mp3(_SHORT_44),
    b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + bytes(64),
)  # fmt: skip
assert sum(map(len, (*SCORES, *SOUNDS))) < 500_000


def _in_a_file(ending: str, read: Callable[[Path], Any]) -> Callable[[bytes], None]:
    def check(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"x{ending}"
            file.write_bytes(content)
            read(file)

    return check


@fuzzed(damaged(SCORES, most=6), examples=400)
def test_scores(content: bytes) -> None:
    _in_a_file(".mid", midi.read)(content)


@fuzzed(st.binary(max_size=300).map(lambda rest: SCORES[0][:22] + rest), examples=200)
def test_tracks_of_any_bytes(content: bytes) -> None:
    _in_a_file(".mid", midi.read)(content)


@fuzzed(damaged(SOUNDS), examples=300)
def test_tags(content: bytes) -> None:
    _in_a_file(".wav", _read_tags)(content)


def _carried(file: Path) -> None:
    data, change = read_metadata(file), SoundChange(22_050, 44_100, 3307, 6615, channels=1)
    for ending in (".wav", ".flac", ".mp3", ".ogg"):
        data.into(file.with_suffix(ending), change)


@fuzzed(damaged((*SOUNDS, _TAGGED)), examples=250)
def test_what_stands_beside_the_sound(content: bytes) -> None:
    _in_a_file(".wav", _carried)(content)


@fuzzed(damaged(SOUNDS), examples=300)
def test_sounds(content: bytes) -> None:
    _in_a_file(".wav", lambda file: hear(file, max_duration_s=600.0))(content)
    _in_a_file(".wav", info)(content)

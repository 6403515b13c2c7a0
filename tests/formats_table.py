"""Makes ``docs/formats.md`` by reading and writing a file of each kind.

    python -m tests.formats_table > docs/formats.md

Every cell is what happened. Of kinds that need ffmpeg, files are made and read where it is on the
PATH; the page is the same without it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from rag_audio.audio import ffmpeg, id3, writing
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.headers import KINDS
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.reading import hear
from rag_audio.audio.scores import count_songs, parse
from rag_audio.audio.text_tags import Picture
from rag_audio.audio.wave_chunks import SoundChange
from rag_audio.audio.writing import SoundForm
from rag_audio.domain import Audio
from rag_audio.errors import RagAudioError
from tests.support import bombs
from tests.support import label_files as made
from tests.support.label_drive import transcoded
from tests.support.media import tagged_mp4

PAGE = Path(__file__).parent.parent / "docs/formats.md"
COMMAND = "python -m tests.formats_table > docs/formats.md"
SCORES = (".mid", ".midi", ".kar", ".rmi")

HEAD = f"""\
# Files that are read and written

What is indexed, traced, edited and asked with, kind by kind. This page is made by reading and
writing a file of each kind (`{COMMAND}`); a test compares it.

Sound is read until the end of the stream: what a header says of its length is never trusted. A file
that is cut, or odd, is read as far as it goes, and one line says what, where, and what was done: a
*notice*. `rag-audio index` lists notices after the files that were not indexed (`noticed` in
`--json`); `trace` and `search` show them with their result (`notices`), generations and edits among
the notes of their plan. Only what cannot be read at all is refused, with one line that says what
would help. What is inside a file decides; its name is a help only.

Sound has up to eight channels at 1 to 768 kHz. Of more than two, those that stand for loudspeakers
are mixed by ITU-R BS.775, and the low-frequency channel does not count in loudness. Samples that
are not numbers, or beyond ±1000 times full scale, are refused. Kinds *with ffmpeg* are decoded by
the `ffmpeg` on the `PATH` (or in `RAG_AUDIO_FFMPEG`), in a process with limits; `rag-audio doctor`
says whether there is one. In a video only the sound is heard.
"""
_WRITTEN = """\
Sound is written as {}; the encodings of each are in [guide.md](guide.md). Sound of other kinds is
written as one of these.
"""
_BY_FFMPEG = """\
Kinds with ffmpeg have a notice that names ffmpeg and its version, so that a measurement can be made
again. Files of no music (`.DS_Store`, `Thumbs.db`, `.asd`, pictures, texts) are counted, not named.
"""
_CARRIED = """\
`watermark embed` and edits carry what stands beside the sound of a file into the file that they
write; what the new file cannot hold, or what would no longer be true of it, is named in a note. The
table is of a copy of the same length. An edit that moves sound moves cue points, loop points and
the time code with it, or says that they are left out; content credentials are made anew.
"""

_SECOND = made.music(1, 1.0, 44_100)
_SIX = np.stack([made.music(n, 0.5) for n in range(6)], 1)


def _of(*given: tuple[str, str], rate: int = 44_100) -> list[bytes]:
    return [made.encoded(_SECOND, kind, subtype, rate) for kind, subtype in given]


_LISTEN = made.music(2, 1.0, 48_000)
READ: tuple[tuple[str, tuple[str, ...], list[bytes]], ...] = (
    (
        "WAV: PCM of 8 to 32 bits, float, A-law, µ-law, ADPCM, GSM; up to 8 channels",
        (".wav",),
        [
            *_of(*(("WAV", name) for name in (
                "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW",
                "IMA_ADPCM", "MS_ADPCM", "GSM610",
            ))),
            made.encoded(_SIX, "WAVEX"),
        ],
    ),
    ("RF64 and BW64 (over 4 GB)", (".wav", ".rf64"), _of(("RF64", "PCM_24"), ("RF64", "FLOAT"))),
    ("Wave64", (".w64",), _of(("W64", "PCM_16"), ("W64", "FLOAT"))),
    ("AIFF and AIFF-C", (".aif", ".aiff", ".aifc"), _of(("AIFF", "PCM_24"), ("AIFF", "FLOAT"))),
    ("AU, Sun", (".au", ".snd"), _of(("AU", "PCM_16"), ("AU", "ULAW"))),
    ("CAF: PCM, ALAC", (".caf",), _of(("CAF", "PCM_24"), ("CAF", "ALAC_16"))),
    (
        "FLAC",
        (".flac",),
        [*_of(("FLAC", "PCM_16"), ("FLAC", "PCM_24")), made.encoded(_SIX, "FLAC")],
    ),
    ("Ogg Vorbis", (".ogg", ".oga"), _of(("OGG", "VORBIS"))),
    ("Ogg Opus", (".opus", ".ogg"), [made.encoded(_LISTEN, "OGG", "OPUS", 48_000)]),
    (
        "MP3 (MPEG 1 and 2; constant and variable bit rate, with or without Xing header)",
        (".mp3",),
        [made.mp3(_SECOND), made.mp3_without_header(_SECOND),
         made.encoded(made.music(3, 1.0, 16_000), "MP3", "MPEG_LAYER_III", 16_000)],
    ),
)  # fmt: skip

FOREIGN = (
    ("AAC and ALAC in MP4", (".m4a", ".mp4"), ("aac.m4a", "alac.m4a", "phone.mp4")),
    ("AAC in ADTS", (".aac",), ("adts.aac",)),
    ("WMA", (".wma",), ("wma.wma",)),
    ("WavPack", (".wv",), ("wavpack.wv",)),
    (
        "Opus in Matroska, WebM, MP4",
        (".mka", ".webm", ".mp4"),
        ("opus.mka", "opus.webm", "opus.mp4"),
    ),
    ("AC-3, E-AC-3 and DTS", (".ac3", ".eac3", ".dts"), ("dolby.ac3",)),
    ("AAC, AC-3, DTS, FLAC and WMA in WAV", (".wav",), ("dolby.wav",)),
    (
        "Video with sound",
        (".mp4", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".ts", ".mpg", ".flv"),
        ("video.mp4", "camera.mov", "broadcast.ts"),
    ),
)  # fmt: skip

_TEMPO = made.tempo(90)


def _played(*before: bytes, **how: object) -> bytes:
    tracks = [made.track(_TEMPO, *before), made.track(made.notes(made.tune(1, 12)))]
    return made.midi(*tracks, **how)  # type: ignore[arg-type]


MIDI = (
    ("MIDI file of type 0 or 1", (".mid", ".midi", ".kar"), (_played(),
     made.midi(made.track(_TEMPO, made.notes([60])), kind=0)), 1),
    ("MIDI in RIFF", (".rmi",), (made.riff(bombs.chunk(b"data", _played()), form=b"RMID"),), 1),
    ("MIDI file of type 2: each song is a stem, `FILE.mid#2`", (".mid",), (
        made.midi(*(made.track(_TEMPO, made.notes([60, 64 + n])) for n in range(3)), kind=2),), 3),
)  # fmt: skip


def _cut(whole: bytes, share: float = 0.5) -> bytes:
    return whole[: int(len(whole) * share)]


_RF64 = made.encoded(_SECOND, "RF64", rate=44_100)
_DS64 = _RF64.index(b"ds64") + 8
_WAV = made.encoded(_SECOND, rate=44_100)
_FLAC = made.encoded(_SECOND, "FLAC", rate=44_100)
_VORBIS = made.encoded(_SECOND, "OGG", "VORBIS", 44_100)
_LONG_VORBIS = made.encoded(made.music(4, 8.0, 44_100), "OGG", "VORBIS", 44_100, 2)
_MP3 = made.mp3(_SECOND)
_KILLED = made.wav_of_a_killed_recorder(_SECOND, rate=44_100)
_ZEROED = _RF64[:_DS64] + bytes(24) + _RF64[_DS64 + 24 :]
_TOO_MUCH = made.flac_of_unknown_length(_SECOND, (1 << 36) - 1, 44_100)
_OTHER_VORBIS = made.encoded(made.music(6, 1.0, 44_100), "OGG", "VORBIS", 44_100)
_ENDLESS = made.midi(made.track(_TEMPO, made.notes([60, 62]), size=0x7FFFFFFF))
_HITS = made.midi(made.track(_TEMPO, b"\0\x99\x24\x64\0\x89\x24\x40" * 4))
_COMMENTS = b"\4\0\0\x28" + b"\xff" * 40
_NAN = made.encoded(np.array([np.nan] * 400), "WAV", "FLOAT")
_JUNK = b"notes of some player" * 20

ODD: tuple[tuple[str, str, bytes], ...] = (
    ("WAV of a recorder that was switched off", ".wav", _KILLED),
    ("WAV from a pipe", ".wav", made.wav_of_a_killed_recorder(_SECOND, 0xFFFFFFFF, 44_100)),
    ("WAV that was cut", ".wav", _cut(_WAV)),
    ("WAV behind the header of a download", ".wav", b"HTTP/1.1 200 OK\r\n\r\n" + _WAV),
    ("WAV with two `data` chunks", ".wav", _WAV + _WAV[36:]),
    ("RF64 of a recorder that was switched off", ".wav", _ZEROED),
    ("AIFF that claims 1 GB", ".aif", made.aiff_that_claims(_SECOND, 1 << 30)),
    ("FLAC from a pipe", ".flac", made.flac_of_unknown_length(_SECOND, rate=44_100)),
    ("FLAC that claims 2³⁶ samples", ".flac", _TOO_MUCH),
    ("FLAC that claims too little", ".flac", made.flac_of_unknown_length(_SECOND, 4410, 44_100)),
    ("FLAC whose comments are damaged", ".flac", _FLAC[:42] + _COMMENTS + _FLAC[42:]),
    ("FLAC that was cut", ".flac", _cut(_FLAC)),
    ("MP3 behind junk", ".mp3", _JUNK + _MP3),
    ("MP3 with junk inside", ".mp3", _JUNK.join([made.mp3_without_header(_SECOND)] * 2)),
    ("two MP3 in one", ".mp3", _MP3 + made.mp3(made.music(5, 1.0, 44_100))),
    ("Ogg that was cut", ".ogg", _cut(_LONG_VORBIS, 0.6)),
    ("chained Ogg", ".ogg", _VORBIS + _OTHER_VORBIS),
    ("FLAC that is named `.wav`", ".wav", _FLAC),
    ("score: number of tracks is wrong", ".mid", _played(claimed=5)),
    ("score: key of eight flats", ".mid", _played(made.meta(0x59, b"\xf8\0"))),
    ("score: metre of no beats", ".mid", _played(made.meta(0x58, b"\0\0\x18\x08"))),
    ("score: tempo 0", ".mid", _played(made.tempo(0))),
    ("score: time that goes back", ".mid", _played(b"\x8f\xff\xff\xff\x60" + _TEMPO[1:])),
    ("score behind 128 bytes of an old Mac", ".mid", bytes(128) + _played()),
    ("score that was cut", ".mid", _cut(_played(), 0.8)),
    ("score: track of 2 GB", ".mid", _ENDLESS),
    ("score: notes without length", ".mid", _HITS),
    ("score: zeros behind it", ".mid", _played() + bytes(100)),
)  # fmt: skip

_M4A = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + bytes(200)

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(200)

REFUSED: tuple[tuple[str, str, bytes], ...] = (
    ("no bytes", ".wav", b""),
    ("text, a picture, a web page", ".wav", b"Dear all, the stems are on the other drive.\n" * 20),
    ("a header and no sound", ".wav", _WAV[:44]),
    ("samples that are not numbers", ".wav", _NAN),
    ("twelve channels", ".wav", made.encoded(np.stack([_SECOND] * 12, 1))),
    ("an m4a whose recording was not finished", ".m4a", _M4A),
    ("a score without notes", ".mid", made.midi(made.track(_TEMPO))),
    ("a score without length of a tick", ".mid", _played(division=0)),
    ("a score of a million years", ".mid", bombs.BOMBS["score of a million years"]()),
)  # fmt: skip


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kinds = [*_sounds(folder), *_media(folder), *_scores(folder)]
        parts = [
            HEAD,
            "## Kinds\n",
            _table(("kind", "endings", "read", "written"), kinds),
            _WRITTEN.format(_listed(KINDS)),
            "## What is said of odd files\n",
            _table(("file", "notice"), _notices(folder)),
            _BY_FFMPEG,
            "## What is refused\n",
            _table(("file", "error", "what helps"), _refusals(folder)),
            "## What is kept beside the sound\n",
            _CARRIED,
            _table(("from", *(f"into `{kind}`" for kind in KINDS)), _kept(folder)),
        ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in lines)
    return "".join(f"| {line} |\n" for line in cells)


def _listed(endings: Iterable[str]) -> str:
    return ", ".join(f"`{ending}`" for ending in endings)


def _sounds(folder: Path) -> Iterator[tuple[str, ...]]:
    for kind, endings, files in READ:
        for ending in endings:
            for content in files:
                file = _written(folder, ending, content)
                notices = hear(file).notices
                if notices:
                    raise AssertionError(f"{kind}: {notices}")
        written = [ending for ending in endings if ending in KINDS and _is_written(folder, ending)]
        yield kind, _listed(endings), "yes", _listed(written) or "–"


def _is_written(folder: Path, ending: str) -> bool:
    target = folder / f"written{ending}"
    writing.save(Audio(_LISTEN[None].astype(np.float32), 48_000), target)
    return bool(abs(hear(target).audio.duration_s - 1.0) < 0.1)


def _media(folder: Path) -> Iterator[tuple[str, ...]]:
    made_here = folder / "media"
    made_here.mkdir()
    if shutil.which("ffmpeg") is not None:
        transcoded(made.encoded(_LISTEN, rate=48_000, channels=2), made_here)
    for kind, endings, names in FOREIGN:
        for name in names:
            file = made_here / name
            if file.exists() and not any("ffmpeg" in notice for notice in hear(file).notices):
                raise AssertionError(f"{kind}: no notice names ffmpeg")
        yield kind, _listed(endings), "with ffmpeg", "–"


def _scores(folder: Path) -> Iterator[tuple[str, ...]]:
    for kind, endings, files, songs in MIDI:
        for ending in endings:
            for content in files:
                file = _written(folder, ending, content)
                notices = parse(file).notices
                if count_songs(file) != songs or (songs == 1 and notices):
                    raise AssertionError(f"{kind}: {notices}")
        yield kind, _listed(endings), "yes", "–"


def _notices(folder: Path) -> Iterator[tuple[str, str]]:
    for what, ending, content in ODD:
        file = _written(folder, ending, content)
        found = parse(file).notices if ending in SCORES else hear(file).notices
        yield what, "<br>".join(found) or "– (nothing is missing)"


@contextmanager
def _no_ffmpeg() -> Iterator[None]:
    with mock.patch.object(ffmpeg, "find", lambda: None), mock.patch.dict(os.environ):
        os.environ.pop(ffmpeg.VARIABLE, None)
        yield


def _refusals(folder: Path) -> Iterator[tuple[str, str, str]]:
    def refused(ending: str, content: bytes) -> tuple[str, str]:
        file = _written(folder, ending, content)
        try:
            (parse if ending in SCORES else hear)(file)
        except RagAudioError as error:
            return error.message.replace(str(file), f"`FILE{ending}`"), error.hint or "–"
        raise AssertionError(f"{file.name} was read")

    for what, ending, content in REFUSED:
        yield what, *refused(ending, content)
    with _no_ffmpeg():
        yield "a kind with ffmpeg, without it", *refused(".wma", _ASF)


_PICTURE = Picture("image/png", 3, "cover", b"\x89PNG\r\n\x1a\n" + bytes(100))
_COMMENTS = (("TITLE", "Night"), ("ARTIST", "Nobody"), ("BPM", "92"), ("INITIALKEY", "Am"))
_FRAMES: id3.Frames = (
    id3.text_frame(b"TIT2", ["Night"]), id3.text_frame(b"TPE1", ["Nobody"]),
    id3.text_frame(b"TBPM", ["92"]), id3.text_frame(b"TKEY", ["Am"]),
    id3.picture_frame("image/png", 3, "cover", _PICTURE.data),
)  # fmt: skip
_MADE = (made.bext(), made.cue(100, 200), made.smpl(0, 1000), made.acid(92, 2))
_CHUNKS = tuple((part[:4], part[8:]) for part in _MADE)
_ITEMS = (
    (b"\xa9nam", 1, b"Night"), (b"\xa9ART", 1, b"Nobody"), (b"tmpo", 21, b"\0\x5c"),
    (b"covr", 13, _PICTURE.data),
)  # fmt: skip
_FROM: dict[str, CarriedMetadata | bytes] = {
    ".wav": CarriedMetadata(
        chunks=_CHUNKS, info=((b"INAM", b"Night\0"), (b"IART", b"Nobody\0")), frames=_FRAMES
    ),
    ".flac": CarriedMetadata(comments=_COMMENTS, pictures=(_PICTURE,)),
    ".mp3": CarriedMetadata(frames=_FRAMES),
    ".ogg": CarriedMetadata(comments=_COMMENTS, pictures=(_PICTURE,)),
    ".m4a": tagged_mp4(_ITEMS, [("initialkey", b"Am")]),
}  # fmt: skip


def _things(data: CarriedMetadata) -> dict[str, bool]:
    """What of the things that the table names is there."""
    chunks = {name for name, _ in data.chunks}
    texts = {name.lower(): values for name, values in data.all_texts().items()}

    def has(*names: str) -> bool:
        return any(name in texts for name in names)

    return {
        "`bext` (time code)": b"bext" in chunks, "cue points": b"cue " in chunks,
        "`smpl` (loop points)": b"smpl" in chunks, "`acid` (tempo, beats)": b"acid" in chunks,
        "title": has("title"), "artist": has("artist"), "tempo": has("bpm", "tbpm"),
        "key": has("initialkey", "initial_key", "key", "tkey"), "cover": bool(data.all_pictures()),
    }  # fmt: skip


def _kept(folder: Path) -> Iterator[tuple[str, ...]]:
    for ending, data in _FROM.items():
        source = folder / f"kept{ending}"
        if isinstance(data, bytes):
            source.write_bytes(data)
        else:
            _save(source, data)
        there = read_metadata(source)
        named = [name for name, has in _things(there).items() if has]
        cells = []
        for target in KINDS:
            change = SoundChange(48_000, 48_000, _LISTEN.size, _LISTEN.size, channels=1)
            file = folder / f"copy{target}"
            _save(file, there.into(file, change))
            found = _things(read_metadata(file))
            gone = [name for name in named if not found[name]]
            cells.append("all" if not gone else f"all but {', '.join(gone)}")
        yield f"`{ending}`: {', '.join(named)}", *cells


def _save(path: Path, data: CarriedMetadata) -> None:
    block = _LISTEN[None].astype(np.float32)
    writing.save_blocks([block], path, SoundForm(48_000, 1), replace(data, lost=()))


def _written(folder: Path, ending: str, content: bytes) -> Path:
    file = folder / f"x{ending}"
    file.write_bytes(content)
    return file


if __name__ == "__main__":
    sys.stdout.write(page())

"""A label's drive of about 300 files, honest and hostile, and what an indexer should say of each.

``python -m tests.support.label_drive FOLDER`` writes it, with ``expected.json`` beside the folder.
Kinds that only ffmpeg decodes are made where ffmpeg is on the PATH.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from tests.support import bombs
from tests.support import label_files as made


class Fate(StrEnum):
    """What becomes of a file: of ``junk`` and ``other`` only the number is told, by kind."""

    INDEXED = "indexed"
    REJECTED = "rejected"
    JUNK = "junk"
    OTHER = "other"


@dataclass(frozen=True)
class Expected:
    """What an indexer should say of a file.

    Attributes:
        path: below the drive, as the report writes it.
        says: a part of each notice of an indexed file, or of the reason of a rejected one; an
            indexed file without them has no notice.
        seconds, bpm, key, artist, title: of an indexed file, where they are known.
    """

    path: str
    fate: Fate
    says: tuple[str, ...] = ()
    seconds: float | None = None
    bpm: float | None = None
    key: str | None = None
    artist: str | None = None
    title: str | None = None


@dataclass
class Drive:
    """A drive on disk.

    Attributes:
        expected: by path.
        rows: of ``stems.csv``: path, license, artist, title, bpm, key, tags.
        row_notices: parts of what is said of ``stems.csv`` itself.
        lost: patterns of rows that match no file.
    """

    root: Path
    expected: dict[str, Expected] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    row_notices: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def put(self, path: str, content: bytes, fate: Fate, *says: str, **known: object) -> None:
        """Write a file and remember what should be said of it."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.expect(path, fate, *says, **known)

    def expect(self, path: str, fate: Fate, *says: str, **known: object) -> None:
        """Remember what should be said of a file that somebody else made."""
        if path in self.expected:
            raise AssertionError(f"{path} is there twice")
        self.expected[path] = Expected(path, fate, says, **known)  # type: ignore[arg-type]

    def good(self, path: str, content: bytes, *notices: str, **known: object) -> None:
        """A file that is indexed, with parts of its notices, if it has any."""
        self.put(path, content, Fate.INDEXED, *notices, **known)

    def bad(self, path: str, content: bytes, reason: str, **known: object) -> None:
        """A file that is rejected."""
        self.put(path, content, Fate.REJECTED, reason, **known)

    def of(self, fate: Fate) -> list[Expected]:
        """All files of one fate, in order of path."""
        return sorted((e for e in self.expected.values() if e.fate is fate), key=lambda e: e.path)


LIBRARY_TOML = """\
[library]
name = "Drive"

[licenses.full]
holder = "Invented Holder"
spdx = "LicenseRef-Drive-1"
uses = ["prompt", "init_audio", "style"]

[licenses.words]
holder = "Invented Holder"
spdx = "LicenseRef-Drive-2"
uses = ["prompt"]

[licenses.expired]
holder = "Invented Holder"
spdx = "LicenseRef-Drive-3"
uses = ["prompt"]
valid_until = 2020-12-31
"""

_HONEST = (
    ("wav", "WAV", "PCM_U8", 1), ("wav", "WAV", "PCM_16", 1), ("wav", "WAV", "PCM_16", 2),
    ("wav", "WAV", "PCM_24", 2), ("wav", "WAV", "PCM_32", 1), ("wav", "WAV", "FLOAT", 2),
    ("wav", "WAV", "DOUBLE", 1), ("wav", "WAVEX", "PCM_24", 2), ("wav", "WAV", "ULAW", 1),
    ("wav", "WAV", "ALAW", 1), ("wav", "WAV", "MS_ADPCM", 1), ("wav", "WAV", "IMA_ADPCM", 2),
    ("wav", "RF64", "PCM_16", 2), ("rf64", "RF64", "PCM_24", 1), ("w64", "W64", "PCM_16", 2),
    ("w64", "W64", "FLOAT", 1), ("flac", "FLAC", "PCM_16", 1), ("flac", "FLAC", "PCM_24", 2),
    ("ogg", "OGG", "VORBIS", 2), ("oga", "OGG", "VORBIS", 1),
    ("mp3", "MP3", "MPEG_LAYER_III", 2),
    ("mp3", "MP3", "MPEG_LAYER_III", 1), ("aiff", "AIFF", "PCM_16", 2),
    ("aif", "AIFF", "PCM_24", 1), ("aifc", "AIFF", "FLOAT", 1), ("au", "AU", "PCM_16", 1),
    ("snd", "AU", "ULAW", 1), ("caf", "CAF", "PCM_24", 2), ("caf", "CAF", "ALAC_16", 1),
    ("WAV", "WAV", "PCM_16", 1),
)  # fmt: skip
_ARTISTS = ("Björn Ölund", "Café Noir Trio", "Señor Ño", "Straße Süd", "Åsa & Ødegård")
"""Invented, with letters that cp1252 and UTF-8 write differently."""

_seeds = itertools.count(1)


def write_drive(root: Path) -> Drive:
    """Write the whole drive below ``root``, which is made."""
    global _seeds
    _seeds = itertools.count(1)
    root.mkdir(parents=True, exist_ok=True)
    drive = Drive(root)
    for part in (
        _honest, _scores, _named, _tables, _wav_faults, _flac_faults, _mp3_faults, _ogg_faults,
        _midi_faults, _channels, _no_sound, _junk, _links, _foreign,
    ):  # fmt: skip
        part(drive)
    _write_tables(drive)
    return drive


def _seed() -> int:
    return next(_seeds)


def _sound(seconds: float = 1.5, rate: int = made.RATE, bpm: float = 120.0) -> made.Sound:
    return made.music(_seed(), seconds, rate, bpm)


def _score(bpm: float = 90.0) -> bytes:
    return made.midi(made.track(made.tempo(bpm)), made.track(made.notes(made.tune(_seed(), 12))))


def _honest(drive: Drive) -> None:
    for take in range(3):
        for ext, kind, subtype, channels in _HONEST:
            rate = (44_100, 22_050, 32_000)[take]
            content = made.encoded(_sound(1.2, rate), kind, subtype, rate, channels)
            path = f"honest/take {take + 1}/{kind.lower()}-{subtype.lower()}-{channels}.{ext}"
            drive.good(path, content, seconds=1.2)
    opus = made.encoded(_sound(1.2, 48_000), "OGG", "OPUS", 48_000)
    drive.good("honest/voice.opus", opus, seconds=1.2)
    drive.good(
        "honest/broadcast.wav",
        made.wav_with_chunks(
            _sound(), made.bext(), made.info_list(INAM="Night Drive", IART="Nobody"),
            made.cue(0, 4000), made.smpl(0, 20_000), made.acid(120.0, 3), before=True,
        ),
        seconds=1.5,
    )  # fmt: skip
    tagged = made.id3(made.id3_text("TIT2", "Glass Hour"), made.id3_text("TBPM", "96"))
    drive.good(
        "honest/tagged.mp3", tagged + made.mp3(_sound(1.2, 44_100)), title="Glass Hour", bpm=96.0
    )


def _scores(drive: Drive) -> None:
    for i in range(18):
        bpm = 70.0 + 5 * i
        drive.good(f"scores/tune {i:02}.mid", _score(bpm), bpm=bpm)
    drums = made.midi(made.track(made.tempo(100), made.notes([36, 42, 38, 42] * 4, 120, 120, 9)))
    drive.good("scores/drums.mid", drums, bpm=100.0)
    rmi = made.riff(bombs.chunk(b"data", _score(88.0)), form=b"RMID")
    drive.good("scores/windows.rmi", rmi, bpm=88.0)
    drive.good("scores/karaoke.kar", _score(91.0), bpm=91.0)


def _named(drive: Drive) -> None:
    """Tempo and key in names: a hint, below what is measured with confidence and what tags say."""
    for name in (
        "Loop_124bpm_Am", "Pad 90 BPM Cmaj", "KIT_Fsharpmin_140", "Bass-128-Gm", "Rhodes (72bpm)",
        "Track 01", "Symphony No 40", "1999", "Stem_Bb_minor_100BPM", "hihat_174bpm",
    ):  # fmt: skip
        # Too short to have a tempo of its own.
        drive.good(f"names/{name}.wav", made.encoded(_sound(0.8)))


def _tables(drive: Drive) -> None:
    row = drive.rows.append
    for i, artist in enumerate(_ARTISTS):
        for take in range(3):
            drive.good(f"artists/{i}/{take}.wav", made.encoded(_sound(1.2)), artist=artist)
        row((f"artists/{i}/*", "full", artist, "", "", "", ""))
    for take in range(10):
        path = f"[FINAL]/mix {take}.wav"
        drive.good(path, made.encoded(_sound(1.2)), artist="Final Act", bpm=101.0)
    row(("[FINAL]/*.wav", "full", "Final Act", "", "101", "", ""))
    drive.good("[FINAL]/[v2] ok.wav", made.encoded(_sound(1.2)), artist="Final Act", bpm=102.0)
    row(("[FINAL]/[v2] ok.wav", "full", "Final Act", "", "102", "", ""))
    for written, key in (
        ("5A", "C minor"), ("8B", "C major"), ("1m", "A minor"), ("6d", "B major"),
        ("Hm", "B minor"), ("la mineur", "A minor"), ("Do majeur", "C major"), ("F#", "F# major"),
        ("Bb minor", "Bb minor"), ("Es-Dur", "Eb major"),
    ):  # fmt: skip
        path = f"keys/{written}.wav"
        drive.good(path, made.encoded(_sound(1.2)), key=key)
        row((path, "full", "Key Signers", "", "", written, ""))
    for column, cells in (
        ("bpm", ("fast", "9000", "nan")), ("key", ("Z major", "H#b", "14A")),
    ):  # fmt: skip
        for i, cell in enumerate(cells):
            path = f"cells/{column} {i}.wav"
            drive.good(path, made.encoded(_sound(1.2)), artist="Odd Cells")
            bpm, key = (cell, "") if column == "bpm" else ("", cell)
            row((path, "full", "Odd Cells", "", bpm, key, "piano, warm"))
            drive.row_notices.append(cell)
    comma = made.encoded(_sound(1.2))
    drive.good("cells/comma.wav", comma, artist="Odd Cells", bpm=92.5)
    row(("cells/comma.wav", "full", "Odd Cells", "", "92,5", "", ""))
    drive.good("cells/quoted.wav", made.encoded(_sound(1.2)), title='Say "when"; then stop')
    row(("cells/quoted.wav", "full", "Odd Cells", 'Say "when"; then stop', "", "", ""))
    for i in range(4):
        reason = "license 'expired' expired on 2020-12-31"
        drive.bad(f"unlicensed/old {i}.wav", made.encoded(_sound(1.2)), reason)
        drive.bad(f"unlicensed/odd {i}.wav", made.encoded(_sound(1.2)), "not in library.toml")
    row(("unlicensed/old*", "expired", "Gone Act", "", "", "", ""))
    row(("unlicensed/odd*", "nobody", "Gone Act", "", "", "", ""))
    for i in range(8):
        drive.good(f"words/{i}.wav", made.encoded(_sound(1.2)), artist="Wordy")
    row(("words/*", "words", "Wordy", "", "", "", ""))
    row(("lost/*.wav", "full", "Lost Act", "", "", "", ""))
    drive.lost.append("lost/*.wav")
    # A catch-all at the end, as somebody adds it: it does not override the rows before it.
    row(("**", "full", "House Band", "", "", "", ""))


def _wav_faults(drive: Drive) -> None:
    sound = _sound(2.0)
    zero = made.wav_of_a_killed_recorder(sound)
    drive.good("wav/data size 0.wav", zero, "claims 0 bytes of sound; 88200 are there", seconds=2.0)
    most = made.wav_of_a_killed_recorder(_sound(2.0), 0xFFFFFFFF)
    drive.good("wav/data size unknown.wav", most, "does not say how long it is", seconds=2.0)
    zeroed = made.riff(
        made.fmt(), bombs.chunk(b"data", made.pcm16(_sound(2.0)), 0), made.info_list(INAM="x"),
        size=36,
    )  # fmt: skip
    drive.good("wav/data size 0, then a list.wav", zeroed, "claims 0 bytes", seconds=2.0)
    broken = made.encoded(_sound(2.0))
    drive.good("wav/truncated.wav", broken[: len(broken) // 2], "breaks off: 44078 of", seconds=1.0)
    drive.good(
        "wav/cut in a sample.wav",
        made.encoded(_sound(1.2))[:-1],
        "breaks off: 52919 of 52920",
        seconds=1.2,
    )
    odd = made.encoded(_sound(1.2))
    drive.good("wav/junk behind.wav", odd + b"\0" * 1000, seconds=1.2)
    drive.good("wav/riff size 0.wav", odd[:4] + bytes(4) + made.encoded(_sound(1.2))[8:])
    rf64 = bytearray(made.encoded(_sound(1.2), "RF64"))
    at = bytes(rf64).index(b"ds64") + 8
    rf64[at : at + 24] = bytes(24)
    drive.good("wav/rf64 of a killed recorder.wav", bytes(rf64), "claims 0 bytes", seconds=1.2)
    w64 = made.encoded(_sound(1.2), "W64")
    drive.good("wav/truncated.w64", w64[: len(w64) // 2], "breaks off", seconds=0.6)
    loud = made.encoded(_sound(1.2) * 6, "WAV", "FLOAT")
    drive.good("wav/float above full scale.wav", loud, seconds=1.2)
    drive.good(
        "wav/claims 1 GB.aif",
        made.aiff_that_claims(_sound(1.2), 1 << 30),
        "breaks off: 52920 of",
        seconds=1.2,
    )
    header = made.encoded(_sound(1.2))[:44]
    drive.bad("wav/header only.wav", header, "no sound")
    drive.bad("wav/cut in its header.wav", header[:40], "not a sound file")
    tag = made.id3(made.id3_text("TIT2", "x"))
    drive.good("wav/behind a tag.wav", tag + made.encoded(made.music(901, 1.2)), seconds=1.2)
    junk = b"junk" * 9 + made.encoded(made.music(902, 1.2))
    drive.good("wav/behind junk.wav", junk, "36 bytes before its sound", seconds=1.2)
    nan = _sound(1.2)
    nan[100] = np.nan
    drive.bad("wav/nan.wav", made.encoded(nan, "WAV", "FLOAT"), "not numbers")
    drive.bad("wav/silent.wav", made.encoded(np.zeros(22_050)), "silent")
    drive.bad("wav/short.wav", made.encoded(_sound(0.005)), "a stem needs 10 ms")
    drive.bad(
        "wav/rate 0.wav",
        made.riff(made.fmt(rate=0), bombs.chunk(b"data", bytes(400))),
        "not a sound file",
    )
    drive.bad("wav/no fmt.wav", made.riff(bombs.chunk(b"data", bytes(400))), "not a sound file")
    drive.bad(
        "wav/claims 4 GB of silence.wav",
        bombs.wav(bytes(3200), size=0xFFFFFF00),
        "a stem needs 10 ms",
    )


def _flac_faults(drive: Drive) -> None:
    drive.good("flac/piped.flac", made.flac_of_unknown_length(_sound(2.0)), seconds=2.0)
    claims = made.flac_of_unknown_length(_sound(2.0), (1 << 36) - 1)
    drive.good("flac/claims 2^36 samples.flac", claims, "2.00 s are there", seconds=2.0)
    short = made.flac_of_unknown_length(_sound(2.0), 1000)
    drive.good("flac/claims 1000 samples.flac", short, "claims 0.05 s; 2.00 s", seconds=2.0)
    cut = made.encoded(_sound(2.0), "FLAC")
    drive.good("flac/truncated.flac", cut[: len(cut) // 2], "breaks off after")
    tag = made.id3(made.id3_text("TIT2", "x"))
    drive.good("flac/behind a tag.flac", tag + made.encoded(_sound(1.2), "FLAC"))
    drive.bad("flac/header only.flac", made.encoded(_sound(1.2), "FLAC")[:42], "no sound")
    bomb = bombs.silence("FLAC", "PCM_16", 655_350, 2, 3)
    drive.bad("flac/silent at 655 kHz.flac", bomb, "silent")


def _mp3_faults(drive: Drive) -> None:
    vbr = made.mp3_without_header(_sound(3.0, 44_100))
    drive.good("mp3/vbr without header.mp3", vbr, seconds=3.0)
    one, other = made.mp3(_sound(1.5, 44_100)), made.mp3(_sound(1.5, 44_100))
    drive.good("mp3/two in one.mp3", one + other, "holds 2 sounds", seconds=3.0)
    cut = made.mp3(_sound(3.0, 44_100))
    drive.good("mp3/truncated.mp3", cut[: len(cut) // 2], "breaks off after")
    junk = b"some player's notes" * 20
    drive.good(
        "mp3/junk in front.mp3",
        junk + made.mp3(_sound(1.5, 44_100)),
        "before its first",
        seconds=1.5,
    )
    parts = [made.mp3_without_header(_sound(1.5, 44_100)) for _ in range(2)]
    drive.good("mp3/junk in the middle.mp3", junk.join(parts), "between its frames", seconds=3.0)
    cover = b"APIC" + (300_000).to_bytes(4, "big") + b"\0\0" + bytes(300_000)
    drive.good("mp3/huge tag.mp3", made.id3(cover) + made.mp3(_sound(1.2, 44_100)))
    drive.bad("mp3/only a tag.mp3", made.id3(made.id3_text("TIT2", "x")), "not a sound file")


def _ogg_faults(drive: Drive) -> None:
    cut = made.encoded(_sound(6.0, 44_100), "OGG", "VORBIS", 44_100, 2)
    drive.good("ogg/truncated.ogg", cut[: len(cut) * 2 // 3], "breaks off")
    first, second = (made.encoded(_sound(1.5), "OGG", "VORBIS") for _ in range(2))
    drive.good("ogg/chained.ogg", first + second, "holds 2 sounds", seconds=3.0)
    third = made.encoded(_sound(1.5, 48_000), "OGG", "OPUS", 48_000)
    fourth = made.encoded(_sound(1.5, 48_000), "OGG", "OPUS", 48_000)
    drive.good("ogg/chained.opus", third + fourth, "holds 2 sounds", seconds=3.0)
    drive.bad(
        "ogg/headers only.ogg",
        made.encoded(_sound(1.5), "OGG", "VORBIS")[:2000],
        "not a sound file",
    )


def _midi_faults(drive: Drive) -> None:
    def tune() -> bytes:
        return made.notes(made.tune(_seed(), 12))

    tempo = made.tempo(90)
    late = made.midi(made.track(made.meta(3, b"song")), made.track(tempo, tune()))
    drive.good("midi/tempo on the second track.mid", late, bpm=90.0, seconds=4.0)
    fine = made.notes(made.tune(_seed(), 12), 16_383)
    drive.good("midi/ppq 32767.mid", made.midi(made.track(made.tempo(120), fine), division=32767))
    flats = made.midi(made.track(tempo, made.meta(0x59, b"\xf8\0"), tune()))
    drive.good("midi/8 flats.mid", flats, "a key signature of 8 flats", bpm=90.0)
    hits = b"".join(
        b"\0\x99\x24\x64\0\x89\x24\x40" + made.meta(1, b"", 240) for _ in range(8 + _seed() % 8)
    )
    without = made.midi(made.track(tempo, hits), kind=0)
    drive.good("midi/notes without length.mid", without, "have no length")
    for claimed in (0, 1, 5, 65535):
        lie = made.midi(made.track(tempo), made.track(tune()), claimed=claimed)
        drive.good(f"midi/claims {claimed} tracks.mid", lie, "2 are there", bpm=90.0)
    whole = _score()
    vendor = whole[:14] + b"XFIH" + (4).to_bytes(4, "big") + b"abcd" + whole[14:]
    drive.good("midi/vendor chunk.mid", vendor, bpm=90.0)
    whole = _score()
    drive.good("midi/truncated.mid", whole[: -len(whole) // 3], "breaks off", bpm=90.0)
    drive.good("midi/no end of track.mid", made.midi(made.track(tempo, tune(), end=b"")))
    songs = made.midi(*(made.track(made.tempo(80 + 10 * i), tune()) for i in range(3)), kind=2)
    drive.good("midi/three songs.mid", songs, "this is song 1", bpm=80.0)
    for song in (2, 3):
        said = f"this is song {song}"
        drive.expect(f"midi/three songs.mid#{song}", Fate.INDEXED, said, bpm=70.0 + 10 * song)
    zero = made.midi(made.track(made.tempo(0), tune()))
    drive.good("midi/tempo 0.mid", zero, "a tempo of zero")
    metre = made.midi(made.track(tempo, made.meta(0x58, b"\0\0\x18\x08"), tune()))
    drive.good("midi/metre of 0 beats.mid", metre, "a time signature of 0/1", bpm=90.0)
    pedal = made.midi(made.track(tempo, b"\0\xb0\x40\x7f", tune(), b"\0\xb0\x40\0"))
    drive.good("midi/pedal.mid", pedal, bpm=90.0)
    zero_ppq = made.midi(made.track(tempo, tune()), division=0)
    drive.bad("midi/ppq 0.mid", zero_ppq, "how long its ticks are")
    smpte = made.midi(made.track(tune()), division=0xE728)
    drive.good("midi/smpte.mid", smpte)
    long = made.midi(made.track(tempo, tune(), size=0x7FFFFFFF))
    drive.good("midi/track size 2 GB.mid", long, "not as long as it says", bpm=90.0)
    behind = _score() + b"\0" * 100
    drive.good("midi/zeros behind.mid", behind, "100 bytes after track 2", bpm=90.0)
    hanging = made.midi(made.track(tempo, tune(), b"\0\x90\x40\x40"))
    drive.good("midi/hanging note.mid", hanging, "1 note has no length", bpm=90.0)
    old = bytes(128) + made.midi(made.track(tempo, made.notes(made.tune(903, 12))))
    drive.good("midi/of an old mac.mid", old, "128 bytes before the header", bpm=90.0)
    drive.bad("midi/no notes.mid", made.midi(made.track(tempo)), "no notes")
    drive.bad("midi/header only.mid", made.midi(), "no tracks")
    drive.bad(
        "midi/a million years.mid", bombs.BOMBS["score of a million years"](), "beats, more than"
    )


def _channels(drive: Drive) -> None:
    for channels in (3, 4, 6, 8):
        columns = np.stack([_sound(1.2) for _ in range(channels)], 1)
        content = made.encoded(columns, "WAVEX", "PCM_16")
        drive.good(f"channels/{channels}.wav", content, seconds=1.2)
    six = np.stack([_sound(1.2) for _ in range(6)], 1)
    drive.good("channels/5.1.flac", made.encoded(six, "FLAC"), seconds=1.2)
    drive.good("channels/5.1.ogg", made.encoded(six * 0.9, "OGG", "VORBIS"), seconds=1.2)
    one = _sound(1.2)
    phase = made.encoded(np.stack([one, -one], 1), "WAV", "PCM_24")
    drive.good("channels/antiphase.wav", phase, seconds=1.2)
    lfe = np.zeros((one.size, 6))
    lfe[:, 3] = _sound(1.2)
    only = made.encoded(lfe, "WAVEX", "PCM_16")
    drive.good("channels/only lfe.wav", only, seconds=1.2)
    many = np.stack([_sound(1.2) for _ in range(12)], 1)
    drive.bad("channels/12.wav", made.encoded(many), "12 channels")


def _no_sound(drive: Drive) -> None:
    for name in ("empty.wav", "empty.flac", "empty.mid"):
        drive.bad(f"no sound/{name}", b"", "it is empty")
    text = b"Dear all, the stems are on the other drive.\n" * 20
    for ending in ("wav", "mp3", "flac", "mid", "ogg"):
        drive.bad(f"no sound/letter.{ending}", text + ending.encode(), "not a sound file")
    png = b"\x89PNG\r\n\x1a\n" + bytes(400)
    drive.bad("no sound/cover.mp3", png, "not a sound file")
    drive.bad("no sound/page.wav", b"<!DOCTYPE html><html>404</html>" * 10, "not a sound file")
    drive.bad("no sound/stems.wav", b"PK\3\4" + bytes(range(256)) * 4, "not a sound file")
    drive.bad("no sound/noise.wav", np.random.default_rng(5).bytes(4000), "not a sound file")


def _junk(drive: Drive) -> None:
    resource = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60)
    for path, content in (
        ("names/._Track 01.wav", resource), ("._loose.mp3", resource),
        ("honest/.DS_Store", b"\0\0\0\1Bud1" + bytes(100)), ("scores/.DS_Store", b"\0\0\0\1Bud1"),
        ("names/Track 01.wav.asd", bytes(200)), ("honest/tagged.mp3.asd", bytes(100)),
        ("honest/Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(200)), ("honest/desktop.ini", b"[.Shell]"),
        ("__MACOSX/names/._Track 01.wav", resource),
    ):  # fmt: skip
        drive.put(path, content, Fate.JUNK)
    for path, content in (
        ("readme.txt", b"take 2 is the good one"), ("artists/0/cover.jpg", b"\xff\xd8\xff\xe0JFIF"),
        ("scores/credits.pdf", b"%PDF-1.4"), ("honest/session.als", b"\x1f\x8b" + bytes(30)),
    ):  # fmt: skip
        drive.put(path, content, Fate.OTHER)


def _links(drive: Drive) -> None:
    folder = drive.root / "links"
    folder.mkdir()
    outside = drive.root.parent / f"{drive.root.name}-outside.wav"
    outside.write_bytes(made.encoded(_sound(1.2)))
    (folder / "to a file.wav").symlink_to(drive.root / "honest/take 1/wav-pcm_16-1.wav")
    drive.expect("links/to a file.wav", Fate.INDEXED)
    for name, target, reason in (
        ("out.wav", outside, "leads out of the library"),
        ("nowhere.wav", folder / "gone.wav", "leads nowhere"),
        ("circle.wav", folder / "circle.wav", "circle"),
        ("folder", drive.root / "honest", "not followed"),
    ):
        (folder / name).symlink_to(target)
        drive.expect(f"links/{name}", Fate.REJECTED, reason)
    os.mkfifo(folder / "pipe.wav")
    drive.expect("links/pipe.wav", Fate.REJECTED, "named pipe")
    with contextlib.suppress(OSError):  # not every file system has such names
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")).write_bytes(b"x")
        drive.expect("links/caf\\xe9.wav", Fate.REJECTED, "not UTF-8")


FFMPEG_KINDS = {
    "aac.m4a": "aac", "alac.m4a": "alac", "adts.aac": "aac", "wma.wma": "wmav2",
    "wavpack.wv": "wavpack", "opus.webm": "libopus", "opus.mka": "libopus", "opus.mp4": "libopus",
    "phone.mp4": "aac", "camera.mov": "pcm_s16le", "dolby.ac3": "ac3", "broadcast.ts": "aac",
    "dolby.wav": "ac3",
}  # fmt: skip
"""Kinds that libsndfile does not read, with what ffmpeg makes them by."""


def _foreign(drive: Drive) -> None:
    """Without ffmpeg there are only headers of these kinds, which nothing can decode."""
    folder = drive.root / "foreign"
    stub = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + bytes(200)
    drive.bad("foreign/broken.m4a", stub, "no index of its sound (moov)")
    asf = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(200)
    drive.bad("foreign/broken.wma", asf, "")
    if shutil.which("ffmpeg") is not None:
        sound = made.encoded(_sound(1.5, 48_000), rate=48_000, channels=2)
        for name in transcoded(sound, folder):
            drive.expect(f"foreign/{name}", Fate.INDEXED, "decoded by ffmpeg", seconds=1.5)


def transcoded(wav: bytes, folder: Path) -> list[str]:
    """Every kind of :data:`FFMPEG_KINDS`, and a video with sound, made of a WAV; their names."""
    sources = ["-f", "wav", "-i", "-", "-f", "lavfi", "-i", "color=s=64x64:d=1.5:r=5"]
    command = ["ffmpeg", "-v", "error", "-threads", "1", *sources]
    for name, codec in FFMPEG_KINDS.items():
        command += ["-c:a", codec, "-map", "0:a", str(folder / name)]
    video = ["-map", "1:v", "-map", "0:a", "-c:a", "aac", "-c:v", "mpeg4", "-shortest"]
    command += [*video, str(folder / "video.mp4")]
    subprocess.run(command, input=wav, check=True, timeout=60)
    return [*FFMPEG_KINDS, "video.mp4"]


def _write_tables(drive: Drive) -> None:
    """As Excel in western Europe writes CSV: semicolons, CRLF, Windows-1252."""
    (drive.root / "library.toml").write_text(LIBRARY_TOML, encoding="utf-8")
    header = ("path", "license", "artist", "title", "bpm", "key", "tags")
    lines = [";".join(_cell(cell) for cell in row) for row in (header, *drive.rows)]
    text = "\r\n".join([*lines, ""])
    (drive.root / "stems.csv").write_bytes(text.encode("cp1252"))


def _cell(text: str) -> str:
    quoted = any(sign in text for sign in ';"\n')
    return '"' + text.replace('"', '""') + '"' if quoted else text


def main(folder: str) -> None:
    """Write a drive and what is expected of it."""
    drive = write_drive(Path(folder))
    listed = [asdict(one) for one in drive.expected.values()]
    Path(folder).with_suffix(".expected.json").write_text(json.dumps(listed, indent=1))
    counts = {fate.value: len(drive.of(fate)) for fate in Fate}
    print(f"{len(listed)} files: {counts}")  # noqa: T201 - what a script says


if __name__ == "__main__":
    main(sys.argv[1])

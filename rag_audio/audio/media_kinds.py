"""Recognise sound that libsndfile does not read, and video files, by what they hold.

A file's name says nothing here. Only headers are read, and of them only so many; what cannot be
followed is left to the decoder. Playlists and scripts, which name other files, are no kind of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rag_audio.audio.media_boxes import Bytes, Tracks, matroska_tracks, mp4_tracks
from rag_audio.audio.media_chunks import (
    asf_tracks,
    avi_tracks,
    true_audio_tracks,
    wave_codec,
    wavpack_tracks,
)
from rag_audio.errors import UnreadableFile

_ADTS_RATES = 13
_ADTS_FRAMES = 3
_LATE_FRAMES, _MOST_TRIES = 8, 500
_ADTS = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]", re.DOTALL)
_FARTHEST = 8192
"""Bytes of an ADTS frame at most."""
_OTHERS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"fLaC", b"OggS", b".snd", b"MThd")
_MOST_TAGS = 16
_MOST_STREAMS = 64
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_PICTURES = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ")
"""Brands of pictures in the same boxes: HEIF, AVIF and raw photographs."""
EBML = b"\x1a\x45\xdf\xa3"
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
"""GUID of the header object (Microsoft, "Advanced Systems Format", revision 1.20.03, 10.1)."""


@dataclass(frozen=True)
class MediaKind:
    """What a file is, if libsndfile does not read it.

    Attributes:
        container: ``MP4``, ``Matroska``, …; ending: usual for it, such as ``m4a``.
        demuxer: ffmpeg's name of the container.
        codecs: of its sound tracks, in order; empty: not known.
        problem: why no decoder can read it; empty: one may.
        duration_s: that it claims; None: it does not say.
        leading: bytes before its first frame.
    """

    container: str
    ending: str
    demuxer: str
    codecs: tuple[str, ...] = ()
    problem: str = ""
    duration_s: float | None = None
    leading: int = 0

    def __str__(self) -> str:
        """Such as ``AAC in MP4 (m4a)``."""
        codec = self.codecs[0] if self.codecs else ""
        inside = f"{codec} in " if codec and codec != self.container else ""
        return f"{inside}{self.container} ({self.ending})"


def media_kind(path: Path) -> MediaKind | None:
    """The kind of a file that libsndfile does not read; None: libsndfile is to try it.

    Raises:
        UnreadableFile: it cannot be opened, or has more than 10,000 parts before its sound.
    """
    try:
        with path.open("rb") as file:
            source = Bytes(path, file)
            head = source.at(0, 16)
            for begins, look in _KINDS:
                if begins(head) and (kind := look(source)) is not None:
                    return kind
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}") from error
    return None


def _found(kind: MediaKind, tracks: Tracks) -> MediaKind:
    """A kind with what is known of its tracks."""
    if tracks.protected:
        problem = "is protected against copying (DRM): no decoder may read it"
    elif tracks.unfinished:
        problem = "has no index of its sound (moov): the recording or the download was not finished"
    elif tracks.others and not tracks.codecs:
        problem = f"has no sound: it is {kind.container} ({kind.ending}) without a sound track"
    else:
        problem = ""
    return replace(kind, codecs=tracks.codecs, problem=problem, duration_s=tracks.duration_s)


def is_mp4(head: bytes) -> bool:
    """Whether a file that begins so, with 12 bytes or more, is MP4, QuickTime or 3GP."""
    is_picture = head[4:8] == b"ftyp" and head[8:12] in _PICTURES
    return head[4:8] in _MP4_BOXES and not is_picture


def _mp4(source: Bytes) -> MediaKind:
    """ISO/IEC 14496-12, QuickTime File Format, 3GPP TS 26.244: they share the boxes."""
    tracks = mp4_tracks(source)
    head = source.at(0, 12)
    brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
    if brand == b"qt  ":
        container, ending = "QuickTime", "mov"
    elif brand[:2] == b"3g":
        container, ending = "3GP", "3gp"
    else:
        container, ending = "MP4", "mp4" if tracks.others else "m4a"
    return _found(MediaKind(container, ending, "mov"), tracks)


def _matroska(source: Bytes) -> MediaKind:
    tracks, is_webm = matroska_tracks(source)
    if is_webm:
        return _found(MediaKind("WebM", "webm", "matroska"), tracks)
    return _found(MediaKind("Matroska", "mkv" if tracks.others else "mka", "matroska"), tracks)


def _asf(source: Bytes) -> MediaKind:
    tracks = asf_tracks(source)
    return _found(MediaKind("ASF", "wmv" if tracks.others else "wma", "asf"), tracks)


def _avi(source: Bytes) -> MediaKind:
    return _found(MediaKind("AVI", "avi", "avi"), avi_tracks(source))


def _wave(source: Bytes) -> MediaKind | None:
    codec = wave_codec(source)
    return MediaKind("WAV", "wav", "wav", (codec,)) if codec else None


_CAF_CODECS = {
    b"aac ": "AAC",
    b"aach": "HE-AAC",
    b"aacp": "HE-AAC",
    b"alac": "ALAC",
    b"opus": "Opus",
    b".mp3": "MP3",
    b"ac-3": "AC-3",
    b"ima4": "ADPCM",
}
_CAF_ALAC_FLAGS = range(1, 5)


def _caf(source: Bytes) -> MediaKind | None:
    """Apple Core Audio Format Specification 1.0: the description is the first chunk."""
    head = source.at(8, 44)
    codec = _CAF_CODECS.get(head[20:24])
    if head[:4] != b"desc" or codec is None:
        return None
    # libsndfile reads ALAC whose flags tell its bits.
    if codec == "ALAC" and int.from_bytes(head[24:28], "big") in _CAF_ALAC_FLAGS:
        return None
    return MediaKind("CAF", "caf", "caf", (codec,))


_OGG_CODECS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
}
_OGG_READ = ("Vorbis", "Opus", "FLAC")


def _ogg(source: Bytes) -> MediaKind | None:
    """RFC 3533: the first packets of all streams stand on pages of their own, at the start.

    Vorbis, Opus and FLAC are read by libsndfile, whatever other streams there are.
    """
    at, codecs, others = 0, [], 0
    for _ in range(_MOST_STREAMS):
        page = source.at(at, 27 + 255 + 16)
        if page[:4] != b"OggS" or len(page) < 28 or not page[5] & 2:
            break
        body = 27 + page[26]
        packet = page[body : body + 16]
        codec = next((name for sign, name in _OGG_CODECS.items() if packet.startswith(sign)), "")
        if codec in _OGG_READ:
            return None
        if codec:
            codecs.append(codec)
        elif not packet.startswith(b"fishead"):
            others += 1
        at += body + sum(page[27:body])
    if not codecs and not others:
        return None
    kind = MediaKind("Ogg", "ogv" if others else "ogg", "ogg")
    return _found(kind, Tracks(tuple(codecs), others))


def _aac(source: Bytes) -> MediaKind | None:
    """AAC in ADTS or LOAS frames (ISO/IEC 14496-3, 1.A.2 and 1.7.2), behind ID3 tags if any.

    Other data may begin like a frame, hence three in a row are wanted, or all that there is.
    """
    at = 0
    for _ in range(_MOST_TAGS):
        head = source.at(at, 10)
        if head[:3] != b"ID3":
            break
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))  # noqa: B905
        at += 10 + size + (10 if head[5:6] and head[5] & 0x10 else 0)
    if _frames_follow(source, at, _adts_size):
        return MediaKind("ADTS", "aac", "aac", ("AAC",))
    if _frames_follow(source, at, _loas_size):
        return MediaKind("LOAS", "aac", "loas", ("AAC",))
    return None


def _late_aac(source: Bytes) -> MediaKind | None:
    """AAC in ADTS frames of a recording that began in the middle of one, as of web radio.

    Other data may look like frames by chance, hence more of them are wanted.
    """
    for match in islice(_ADTS.finditer(source.at(0, _FARTHEST)), _MOST_TRIES):
        at = match.start()
        for _ in range(_LATE_FRAMES):
            size = _adts_size(source.at(at, 7))
            at += size
            if not size or at > source.size:
                break
        else:
            return MediaKind("ADTS", "aac", "aac", ("AAC",), leading=match.start())
    return None


def _frames_follow(source: Bytes, at: int, size_of: Callable[[bytes], int]) -> bool:
    for number in range(_ADTS_FRAMES):
        head = source.at(at, 7)
        if number and not head:
            return True
        size = size_of(head)
        if size <= 0:
            return False
        at += size
    return True


def _dolby(source: Bytes) -> MediaKind | None:
    """AC-3 and E-AC-3 (ATSC A/52, 5.3.1, 5.4.1 and E.2.3.1), three frames in a row."""
    if not _frames_follow(source, 0, _dolby_size):
        return None
    if source.at(5, 1)[0] >> 3 > _AC3_VERSION:
        return MediaKind("E-AC-3", "eac3", "eac3", ("E-AC-3",))
    return MediaKind("AC-3", "ac3", "ac3", ("AC-3",))


_AC3_VERSION = 10
"""Higher ones, up to 16, are E-AC-3."""
_AC3_KBITS = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
)


def _dolby_size(head: bytes) -> int:
    if len(head) < 6 or head[:2] != b"\x0b\x77" or head[5] >> 3 > 16:
        return 0
    if head[5] >> 3 > _AC3_VERSION:
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, size = head[4] >> 6, head[4] & 63
    if rate == 3 or size >= 2 * len(_AC3_KBITS):
        return 0
    kbits = _AC3_KBITS[size // 2]
    return 2 * (2 * kbits, kbits * 320 // 147 + size % 2, 3 * kbits)[rate]


def _mpeg_stream(source: Bytes) -> MediaKind | None:
    """A transport stream (ISO/IEC 13818-1, 2.4.3.2), or with time stamps before its packets, as
    cameras write it; other data may begin like a packet, hence five are wanted, or all."""
    for before, size in ((0, 188), (4, 192)):
        signs = [source.at(before + number * size, 1) for number in range(_TS_PACKETS)]
        if signs[0] == b"G" and all(sign in (b"G", b"") for sign in signs) and source.size >= size:
            return MediaKind("MPEG-TS", "ts", "mpegts")
    return None


_TS_PACKETS = 5


def _adts_size(head: bytes) -> int:
    """Bytes of a frame with its header; 0: it is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 and head[2] >> 2 & 15 < _ADTS_RATES else 0


def _loas_size(head: bytes) -> int:
    if len(head) < 3 or head[0] != 0x56 or head[1] & 0xE0 != 0xE0:
        return 0
    return 3 + ((head[1] & 0x1F) << 8 | head[2])


def _is(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _plain(kind: MediaKind) -> Callable[[Bytes], MediaKind]:
    return lambda _: kind


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[Bytes], MediaKind | None]], ...] = (
    (is_mp4, _mp4),
    (_is(EBML), _matroska),
    (_is(ASF), _asf),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _avi),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE", _wave),
    (_is(b"caff"), _caf),
    (_is(b"OggS"), _ogg),
    (_is(b"\xff", b"\x56", b"ID3"), _aac),
    (_is(b"wvpk"), lambda source: _found(MediaKind("WavPack", "wv", "wv"), wavpack_tracks(source))),
    (_is(b"MAC "), _plain(MediaKind("Monkey's Audio", "ape", "ape", ("Monkey's Audio",)))),
    (
        _is(b"TTA1"),
        lambda source: _found(MediaKind("True Audio", "tta", "tta"), true_audio_tracks(source)),
    ),
    (_is(b"FLV\1"), _plain(MediaKind("Flash video", "flv", "flv"))),
    (_is(b"\0\0\1\xba"), _plain(MediaKind("MPEG-PS", "mpg", "mpeg"))),
    (lambda head: b"G" in (head[:1], head[4:5]), _mpeg_stream),
    (_is(b"\x0b\x77"), _dolby),
    (_is(b"\x7f\xfe\x80\x01"), _plain(MediaKind("DTS", "dts", "dts", ("DTS",)))),
    (_is(b"#!AMR"), _plain(MediaKind("AMR", "amr", "amr", ("AMR",)))),
    (
        _is(b"ADIF"),
        _plain(
            MediaKind(
                "ADIF",
                "aac",
                "",
                ("AAC",),
                "is raw AAC without frame headers (ADIF): export it as m4a, WAV or FLAC",
            )
        ),
    ),
    (lambda head: not head.startswith(_OTHERS), _late_aac),
)


def media_ending(head: bytes) -> str | None:
    """The ending of a file with so many first bytes as :func:`.read_head` gives; None: unknown.

    AAC and AC-3 in frames, and transport streams, are not told from other data by them.
    """
    if is_mp4(head):
        return ".m4a"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ".avi"
    return next((ending for start, ending in _ENDINGS.items() if head.startswith(start)), None)


_ENDINGS = {
    EBML: ".mka",
    ASF: ".wma",
    b"wvpk": ".wv",
    b"MAC ": ".ape",
    b"TTA1": ".tta",
    b"#!AMR": ".amr",
    b"FLV\1": ".flv",
    b"\0\0\1\xba": ".mpg",
    b"\x7f\xfe\x80\x01": ".dts",
}
MEDIA_ENDINGS = frozenset(
    (".m4a", ".avi", ".aac", ".caf", ".ac3", ".eac3", ".ts", *_ENDINGS.values())
)
"""Of kinds that :func:`media_kind` may tell."""

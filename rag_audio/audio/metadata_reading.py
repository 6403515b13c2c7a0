"""Read what stands beside the sound of WAV, RF64, Wave64, AIFF, FLAC, Ogg, MP3 and MP4 files.

Only heads and blocks of metadata are read, never more than :data:`MOST_BYTES` of them, and nothing
is believed of a block's size: what does not fit is left out and named.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import soundfile

from rag_audio.audio import aiff_markers, id3, ogg_pages, riff, riff_chunks, text_tags
from rag_audio.audio.carried_metadata import (
    CREDENTIALS,
    FLAC_APPLICATION,
    FLAC_CUESHEET,
    FLAC_MASK,
    CarriedMetadata,
)
from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.layouts import mask_of_comments, usual_mask
from rag_audio.audio.media_boxes import Bytes
from rag_audio.audio.media_kinds import is_mp4
from rag_audio.audio.mp4_tags import read_mp4_tags
from rag_audio.audio.spliced_file import SplicedFile
from rag_audio.audio.text_tags import Picture, Texts
from rag_audio.errors import UnreadableFile

MOST_BYTES = 64 << 20
"""Of all blocks of a file together."""
UNREAD = "tags (they are not read from this kind of file)"
_MOST_BLOCKS = 1000

_OF_THE_SOUND = frozenset(
    {b"fmt ", b"fact", b"data", b"PEAK", b"JUNK", b"junk", b"PAD ", b"FLLR", b"ds64", b"levl",
     b"MD5 ", b"wavl", b"slnt", b"strc"}
)  # fmt: skip
"""Chunks that describe the samples as they stand in the old file, and space without content."""
_AIFF_OF_THE_SOUND = frozenset({b"COMM", b"SSND", b"FVER", b"PEAK", b"CHAN"})
_AIFF_TEXTS = {b"NAME": "title", b"AUTH": "artist", b"(c) ": "copyright", b"ANNO": "comment"}
_ID3_CHUNKS = (b"id3 ", b"ID3 ")
_FOREIGN = (b"riff", b"aiff", b"w64 ")
_EXTENSIBLE = 0xFFFE
_CHANNELS_AT = {b"\x01vorbis": 11, b"OpusHead": 9, b"\x7fFLAC": 29}
_OPUS_FAMILY = 18
_WITH_APE = (b"wvpk", b"MAC ", b"TTA1")
"""Kinds besides MP3 whose tags are APE and ID3v1 at the end."""
_APE, _ID3V1 = b"APETAGEX", b"TAG"
_APE_NAMES = {"album artist": "albumartist", "track": "tracknumber", "year": "date"}


def read_metadata(path: Path) -> CarriedMetadata:
    """What stands beside the sound of a file; nothing where its kind is not known here.

    Raises:
        UnreadableFile: it cannot be opened, or has more than 10,000 chunks.
    """
    try:
        with FileBytes(path) as data:
            at = riff_chunks.begins_at(data)
        with io.BufferedReader(_within(path, at)) as file:
            return _read(file, path, at)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}") from error


def _within(path: Path, at: int) -> io.RawIOBase:
    """A file from a byte on."""
    return SplicedFile(path, [(at, path.stat().st_size - at)])


def _read(file: BinaryIO, path: Path, at: int) -> CarriedMetadata:
    chunks = riff.walk(file)
    if chunks is not None:
        found = _Found()
        if chunks.form == "WAVE":
            _read_wave(file, _surely(file, _within(path, at), chunks), found)
        elif chunks.form in ("AIFF", "AIFC"):
            _read_aiff(file, chunks, found)
        return found.metadata()
    found = _Found()
    file.seek(0)
    head = file.read(16)
    if is_mp4(head):
        read = read_mp4_tags(Bytes(path, file))
        found.texts, found.pictures, found.lost = read.texts, read.pictures, read.lost
        return found.metadata()
    tagged = min(id3.size_of(head), id3.MOST_BYTES)
    if tagged:
        file.seek(0)
        found.add_id3(file.read(tagged))
    file.seek(id3.size_of(head))
    mark = file.read(4)
    if mark == b"fLaC":
        _read_flac(file, found)
    elif mark == b"OggS" and not tagged:
        _read_ogg(file, found)
    elif (
        tagged
        or mark in _WITH_APE
        or (len(mark) == 4 and mark[0] == 0xFF and mark[1] & 0xE0 == 0xE0)
    ):
        _read_end_of_mp3(file, found)
    else:
        texts = _texts_of_other_kinds(path)
        found.texts |= texts or {}
        found.lost += [UNREAD] if texts is None else []
    return found.metadata()


@dataclass
class _Found:
    """What is gathered from a file, and how many bytes may still come."""

    room: int = MOST_BYTES
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    info: list[tuple[bytes, bytes]] = field(default_factory=list)
    frames: list[tuple[bytes, bytes]] = field(default_factory=list)
    comments: list[tuple[str, str]] = field(default_factory=list)
    blocks: list[tuple[int, bytes]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    texts: Texts = field(default_factory=dict)
    channel_mask: int | None = None
    lost: list[str] = field(default_factory=list)

    def content(self, file: BinaryIO, chunk: riff.Chunk, name: str) -> bytes | None:
        """A whole chunk; None: it breaks off, or there is no room for it."""
        if chunk.is_cut or chunk.size > self.room:
            self.lost.append(f"{name} ({'breaks off' if chunk.is_cut else 'too large'})")
            return None
        self.room -= chunk.size
        return riff.content(file, chunk, chunk.size)

    def add_id3(self, tag: bytes) -> None:
        """The frames of a tag."""
        read = id3.read_tag(tag)
        if read is None:
            self.lost.append("ID3 (damaged)")
            return
        self.room -= len(tag)
        self.frames += read.frames
        self.lost += [*read.left_out, *([CREDENTIALS] if read.has_credentials else [])]

    def add_text(self, name: str, text: str) -> None:
        """A text of no vocabulary that is carried as such."""
        if text:
            self.texts[name] = (*self.texts.get(name, ()), text)

    def metadata(self) -> CarriedMetadata:
        return CarriedMetadata(
            chunks=tuple(self.chunks),
            info=tuple(self.info),
            frames=tuple(self.frames),
            comments=tuple(self.comments),
            blocks=tuple(self.blocks),
            pictures=tuple(self.pictures),
            texts=self.texts,
            channel_mask=self.channel_mask,
            lost=tuple(dict.fromkeys(self.lost)),
        )


def _surely(file: BinaryIO, again: io.RawIOBase, chunks: riff.ChunkList) -> riff.ChunkList:
    """The chunks of a WAV without what is sound: where a size is untrue, those before it, and those
    that are found behind its end.

    Args:
        again: the same file, which is closed.
    """
    with FileBytes(again) as data:
        sound = riff_chunks.find_sound(data)
    if sound is None or chunks.container == "W64":
        return chunks
    before = [one for one in chunks.chunks if one.start + one.size < sound.start]
    behind = list(chunks.chunks[len(before) + 1 :])
    if not sound.is_whole:
        last = sound.more[-1][0] if sound.more else 0
        walk = partial(riff.walk_on, file, is_big_endian=chunks.is_big_endian)
        between = walk(sound.start + sound.size) if last else ()
        behind = [one for one in between if one.start < last]
        behind += walk(sound.end)
    ends = (n for n, one in enumerate(behind) if one.name in riff_chunks.FILES)
    return replace(chunks, chunks=(*before, *behind[: next(ends, None)]))


def _read_wave(file: BinaryIO, chunks: riff.ChunkList, found: _Found) -> None:
    for chunk in chunks.chunks:
        name = b"LIST" if chunk.name == b"list" else chunk.name
        short = name.decode("latin-1").strip()
        if name == b"fmt ":
            found.channel_mask = _mask(riff.content(file, chunk, 40), chunks.is_big_endian)
        if name == b"data" and chunk.claimed == 0:
            return  # nothing is known of its end
        if name in _OF_THE_SOUND:
            continue
        if name == b"C2PA":
            found.lost.append(CREDENTIALS)
            continue
        body = found.content(file, chunk, short)
        if body is None:
            continue
        if name in _ID3_CHUNKS:
            found.add_id3(body)
        elif name == b"LIST" and body[:4] == b"INFO":
            items = riff.listed(body[4:], "big" if chunks.is_big_endian else "little")
            if items is None:
                found.lost.append("INFO (damaged)")
            found.info += [item for item in items or () if item[0] != b"ISFT"]
        elif chunks.is_big_endian:
            found.lost.append(short)
        else:
            found.chunks.append((name, body))


def _mask(fmt: bytes, is_big: bool) -> int | None:
    """Speakers of a WAVE_FORMAT_EXTENSIBLE (Microsoft, ``ksmedia.h``); None: it does not say."""
    order: riff.ByteOrder = "big" if is_big else "little"
    if len(fmt) < 24 or int.from_bytes(fmt[:2], order) != _EXTENSIBLE:
        return None
    return int.from_bytes(fmt[20:24], order)


def _read_aiff(file: BinaryIO, chunks: riff.ChunkList, found: _Found) -> None:
    markers: dict[int, tuple[int, str]] = {}
    instrument: bytes | None = None
    rate = 0
    for chunk in chunks.chunks:
        short = chunk.name.decode("latin-1").strip()
        if chunk.name == b"COMM":
            rate = aiff_markers.read_rate(riff.content(file, chunk, 18))
        if chunk.name in _AIFF_OF_THE_SOUND:
            continue
        if chunk.name == b"C2PA":
            found.lost.append(CREDENTIALS)
            continue
        known = chunk.name in (*_ID3_CHUNKS, *_AIFF_TEXTS, b"MARK", b"INST")
        body = found.content(file, chunk, short) if known else None
        if body is None:
            found.lost += [] if known else [short]
        elif chunk.name in _ID3_CHUNKS:
            found.add_id3(body)
        elif chunk.name == b"MARK":
            markers = aiff_markers.read_markers(body) or {}
            found.lost += [] if markers else ["MARK"]
        elif chunk.name == b"INST":
            instrument = body
        else:
            found.add_text(_AIFF_TEXTS[chunk.name], text_tags.decoded(body.rstrip(b"\0")))
    found.chunks += aiff_markers.cue_chunks(markers)
    if instrument is not None:
        sampler = aiff_markers.smpl_chunk(instrument, markers, rate)
        found.chunks += [sampler] if sampler else []
        found.lost += [] if sampler else ["INST"]


def _read_flac(file: BinaryIO, found: _Found) -> None:
    """Metadata blocks (RFC 9639, section 8); the file stands behind ``fLaC``."""
    for _ in range(_MOST_BLOCKS):
        head = file.read(4)
        if len(head) < 4:
            return
        kind, size = head[0] & 0x7F, int.from_bytes(head[1:], "big")
        if kind not in (0, FLAC_APPLICATION, 4, FLAC_CUESHEET, 6) or size > found.room:
            if size > found.room:
                found.lost.append(f"FLAC block {kind} (too large)")
            file.seek(size, 1)
        else:
            body = file.read(size)
            found.room -= size
            if len(body) < size:
                return
            _add_flac_block(kind, body, found)
        if head[0] & 0x80:
            return


def _add_flac_block(kind: int, body: bytes, found: _Found) -> None:
    if kind == 0:
        channels = (body[12] >> 1 & 7) + 1 if len(body) > 12 else 0
        found.channel_mask = usual_mask(channels) if channels > 2 else None
    elif kind == 4:
        found.comments += _comments(body, found)
        said = mask_of_comments(body)
        found.channel_mask = found.channel_mask if said is None else said
    elif kind == 6:
        picture = Picture.of_block(body)
        if picture is None:
            found.lost.append("PICTURE (damaged)")
        else:
            found.pictures.append(picture)
    elif kind == FLAC_CUESHEET or body[:4] not in _FOREIGN:
        found.blocks.append((kind, body))
    else:
        found.lost.append(f"APPLICATION {body[:4].decode('latin-1')!r}")


def _comments(packet: bytes, found: _Found) -> Iterator[tuple[str, str]]:
    read = text_tags.read_comments(packet)
    if read is None:
        found.lost.append("comments (damaged)")
        return
    found.pictures += text_tags.pictures_of_comments(read[1])
    for key, value in read[1]:
        is_other = text_tags.is_picture(key) or text_tags.is_software(text_tags.named(key))
        if not is_other and key.lower() != FLAC_MASK:
            yield key, value


def _read_ogg(file: BinaryIO, found: _Found) -> None:
    packet = ogg_pages.read_comment_packet(file)
    if packet is not None:
        found.comments += _comments(packet, found)
    file.seek(0)
    first = next(ogg_pages.pages(file), None)
    found.channel_mask = None if first is None else _ogg_mask(first.body)


def _ogg_mask(packet: bytes) -> int | None:
    """Speakers of a stream by its first packet (Vorbis I, 4.2.2; RFC 7845, 5.1; RFC 9639, 10.1)."""
    at = next((at for begin, at in _CHANNELS_AT.items() if packet.startswith(begin)), len(packet))
    if len(packet) < 30 or at == len(packet):
        return None
    channels = (packet[at] >> 1 & 7) + 1 if packet[0] == 0x7F else packet[at]
    if packet.startswith(b"OpusHead") and packet[_OPUS_FAMILY] > 1:
        return 0
    return usual_mask(channels) if 2 < channels <= 8 else None


def _read_end_of_mp3(file: BinaryIO, found: _Found) -> None:
    """An APE tag (wiki.hydrogenaudio.org, "APEv2 specification") and an ID3v1 (id3.org, "ID3v1"),
    which fill what the tag at the beginning does not say."""
    length = file.seek(0, 2)
    known = text_tags.texts_of_frames(tuple(found.frames))
    end = length
    if length >= 128:
        file.seek(length - 128)
        tail = file.read(128)
        if tail[:3] == _ID3V1:
            end -= 128
            for name, first, last in (
                ("title", 3, 33), ("artist", 33, 63), ("album", 63, 93), ("date", 93, 97),
                ("comment", 97, 125),
            ):  # fmt: skip
                if name not in known:
                    text = text_tags.decoded(tail[first:last].split(b"\0")[0])
                    found.add_text(name, text)
    end = _before_lyrics(file, end)
    if end < 32:
        return
    file.seek(end - 32)
    foot = file.read(32)
    size = int.from_bytes(foot[12:16], "little")
    if foot[:8] != _APE or not 32 <= size <= min(end, found.room):
        return
    file.seek(end - size)
    _read_ape(file.read(size - 32), int.from_bytes(foot[16:20], "little"), known, found)


def _before_lyrics(file: BinaryIO, end: int) -> int:
    """Where a tag of lyrics before a byte begins (id3.org, "Lyrics3 v2.00"), else that byte."""
    file.seek(max(0, end - 15))
    foot = file.read(min(15, end))
    is_there = foot[6:] == b"LYRICS200" and foot[:6].isdigit()
    return max(0, end - 15 - int(foot[:6])) if is_there else end


def _read_ape(body: bytes, count: int, known: Texts, found: _Found) -> None:
    at = 0
    for _ in range(min(count, _MOST_BLOCKS)):
        size, flags = (int.from_bytes(body[at + n : at + n + 4], "little") for n in (0, 4))
        end = body.find(b"\0", at + 8)
        if end < 0 or end + 1 + size > len(body):
            found.lost.append("APE tag (damaged)")
            return
        key = body[at + 8 : end].decode("latin-1").lower()
        name = text_tags.named(_APE_NAMES.get(key, key))
        if flags >> 1 & 3 != 0:
            found.lost.append(f"APE {key}")
        elif name not in known:
            value = body[end + 1 : end + 1 + size].decode(errors="replace")
            found.texts[name] = tuple(part for part in value.split("\0") if part)
        at = end + 1 + size


def _texts_of_other_kinds(path: Path) -> Texts | None:
    """What libsndfile says of AU, CAF and others; None: it does not read this kind of file."""
    try:
        with soundfile.SoundFile(str(path).encode(errors="surrogateescape")) as file:
            said = dict(file.copy_metadata())
    except (soundfile.LibsndfileError, ValueError, OSError):
        return None
    return {name: (text,) for name, text in said.items() if text and name != "software"}

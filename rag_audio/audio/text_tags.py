"""Texts and pictures of sound files under one name each, and how each kind of file calls them.

Names are lower-case: ``title``, ``artist``, ``comment``… A text whose name a kind of file does not
have is kept there under its own name, where the kind allows names of one's own (``TXXX`` in ID3,
any comment in Vorbis), and is lost in others.

Sources: RIFF ``INFO`` (IBM and Microsoft, 1991, section 2-14), ID3v2.4.0 native frames, "Ogg
Vorbis I format specification: comment field and header specification", FLAC (RFC 9639, 8.8).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rag_audio.audio import id3

Texts = dict[str, tuple[str, ...]]
"""Texts by name, each with one or more values."""

INFO_NAMES = {
    "title": b"INAM", "artist": b"IART", "album": b"IPRD", "comment": b"ICMT",
    "copyright": b"ICOP", "date": b"ICRD", "genre": b"IGNR", "tracknumber": b"ITRK",
    "composer": b"IMUS", "publisher": b"IPUB", "engineer": b"IENG", "subject": b"ISBJ",
    "keywords": b"IKEY", "technician": b"ITCH", "commissioned": b"ICMS", "medium": b"IMED",
    "language": b"ILNG", "software": b"ISFT",
}  # fmt: skip
ID3_NAMES = {
    "title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "comment": b"COMM",
    "copyright": b"TCOP", "date": b"TDRC", "genre": b"TCON", "tracknumber": b"TRCK",
    "composer": b"TCOM", "publisher": b"TPUB", "isrc": b"TSRC", "bpm": b"TBPM", "key": b"TKEY",
    "albumartist": b"TPE2", "discnumber": b"TPOS", "conductor": b"TPE3", "lyricist": b"TEXT",
    "language": b"TLAN", "encoded_by": b"TENC", "subtitle": b"TIT3", "grouping": b"TIT1",
    "medium": b"TMED", "lyrics": b"USLT",
}  # fmt: skip
COMMENT_NAMES = {"key": "INITIALKEY", "encoded_by": "ENCODEDBY"}
"""Keys of Vorbis comments that are not the name in capitals."""
_NAMES_OF_COMMENTS = {
    "initialkey": "key", "description": "comment", "encodedby": "encoded_by",
    "organization": "publisher", "album artist": "albumartist", "track": "tracknumber",
    "year": "date", "tempo": "bpm",
}  # fmt: skip
_SOFTWARE = frozenset({"software", "encoder", "encoder_options", "encoded_by"})
"""What names the program that wrote the file: another one writes the copy."""
_PICTURE = "metadata_block_picture"
_GENRE_NUMBER = re.compile(r"^\(\d+\)(?=[^(])")
_MOST_COMMENTS = 10_000


@dataclass(frozen=True)
class Picture:
    """A cover or other picture.

    Attributes:
        kind: as ID3v2.4, 4.14, and FLAC have it: 3 for the front cover.
        media: ``image/jpeg``, ``image/png``…
        block: the whole FLAC PICTURE block that it came in; empty: it did not come in one.
    """

    media: str
    kind: int
    description: str
    data: bytes
    block: bytes = b""

    def as_block(self) -> bytes:
        """The content of a FLAC PICTURE block; width, height and depth are "not known"."""
        if self.block:
            return self.block
        media, words = self.media.encode(), self.description.encode()
        return b"".join(
            [
                self.kind.to_bytes(4, "big"),
                len(media).to_bytes(4, "big") + media,
                len(words).to_bytes(4, "big") + words,
                bytes(16),
                len(self.data).to_bytes(4, "big") + self.data,
            ]
        )

    @classmethod
    def of_block(cls, block: bytes) -> Picture | None:
        """The picture of a FLAC PICTURE block (RFC 9639, 8.8); None: it is damaged."""
        kind, at = int.from_bytes(block[:4], "big"), 4
        parts: list[bytes] = []
        for extra in (0, 0, 16):
            at += extra
            size = int.from_bytes(block[at : at + 4], "big")
            part = block[at + 4 : at + 4 + size]
            if at + 4 > len(block) or len(part) < size:
                return None
            parts.append(part)
            at += 4 + size
        media, words, data = parts
        return cls(media.decode("latin-1"), kind, words.decode(errors="replace"), data, block)


# RIFF INFO.


def texts_of_info(items: Iterable[tuple[bytes, bytes]]) -> Texts:
    """Texts of an INFO list."""
    names = {code: name for name, code in INFO_NAMES.items()}
    found: Texts = {}
    for code, body in items:
        text = decoded(body.split(b"\0", 1)[0])
        if text and code in names:
            found[names[code]] = (*found.get(names[code], ()), text)
    return found


def info_of_texts(texts: Mapping[str, Sequence[str]]) -> list[tuple[bytes, bytes]]:
    """Items of an INFO list; several values are joined."""
    return [
        (INFO_NAMES[name], joined(values).encode() + b"\0")
        for name, values in texts.items()
        if name in INFO_NAMES
    ]


# ID3.


def texts_of_frames(frames: id3.Frames) -> Texts:
    """Texts of ID3 frames; comments with a description (``iTunNORM``…) are none."""
    names = {frame: name for name, frame in ID3_NAMES.items()}
    found: Texts = {}
    for frame in frames:
        description, values = id3.texts_of(frame)
        name = names.get(frame[0], "")
        if frame[0] == b"TXXX":
            name = named(description)
        elif frame[0] in (b"COMM", b"USLT") and description:
            name = ""
        if name == "genre":  # "(17)Rock" of ID3v2.3: a number of ID3v1, and its refinement
            values = tuple(_GENRE_NUMBER.sub("", value) for value in values)
        if name and values:
            found[name] = (*found.get(name, ()), *values)
    return found


def frames_of_texts(texts: Mapping[str, Sequence[str]]) -> list[tuple[bytes, bytes]]:
    """ID3 frames of texts; what has no frame of its own becomes a ``TXXX``."""
    frames = []
    for name, values in texts.items():
        frame = ID3_NAMES.get(name)
        if frame is None:
            frames.append(id3.user_text_frame(name.upper(), values))
        elif frame in (b"COMM", b"USLT", b"TBPM"):
            frames.append(id3.text_frame(frame, [joined(values)]))
        else:
            frames.append(id3.text_frame(frame, values))
    return frames


# Vorbis comments.


def read_comments(packet: bytes) -> tuple[bytes, list[tuple[str, str]]] | None:
    """Vendor and comments of a comment packet, without its framing; None: it is damaged."""
    at, parts = 0, []
    size = int.from_bytes(packet[:4], "little")
    vendor, at = packet[4 : 4 + size], 4 + size
    if len(vendor) < size or at + 4 > len(packet):
        return None
    count = int.from_bytes(packet[at : at + 4], "little")
    at += 4
    for _ in range(min(count, _MOST_COMMENTS)):
        size = int.from_bytes(packet[at : at + 4], "little")
        if at + 4 + size > len(packet):
            break
        key, is_pair, value = packet[at + 4 : at + 4 + size].partition(b"=")
        if is_pair:
            parts.append((key.decode("latin-1"), value.decode(errors="replace")))
        at += 4 + size
    return vendor, parts


def make_comments(vendor: bytes, comments: Iterable[tuple[str, str]]) -> bytes:
    """A comment packet, without its framing."""
    lines = [f"{key}={value}".encode() for key, value in comments]
    body = len(vendor).to_bytes(4, "little") + vendor + len(lines).to_bytes(4, "little")
    return body + b"".join(len(line).to_bytes(4, "little") + line for line in lines)


def texts_of_comments(comments: Iterable[tuple[str, str]]) -> Texts:
    """Texts of Vorbis comments, without pictures."""
    found: Texts = {}
    for key, value in comments:
        name = named(key)
        if value and name and name != _PICTURE and value not in found.get(name, ()):
            found[name] = (*found.get(name, ()), value)
    return found


def comments_of_texts(texts: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Vorbis comments of texts, a comment for each value."""
    return [(comment_key(name), value) for name, values in texts.items() for value in values]


def comment_key(name: str) -> str:
    """The key of a Vorbis comment for a name: ASCII from space to ``}`` without ``=``."""
    key = COMMENT_NAMES.get(name, name.upper())
    return "".join(one if " " <= one <= "}" and one != "=" else "_" for one in key)


def pictures_of_comments(comments: Iterable[tuple[str, str]]) -> list[Picture]:
    """Pictures that stand in comments (xiph.org, "VorbisComment: METADATA_BLOCK_PICTURE")."""
    found = []
    for key, value in comments:
        if key.lower() == _PICTURE:
            try:
                block = base64.b64decode(value, validate=False)
            except (binascii.Error, ValueError):
                continue
            picture = Picture.of_block(block)
            found += [picture] if picture else []
    return found


def comment_of_picture(picture: Picture) -> tuple[str, str]:
    """A picture as a comment."""
    return _PICTURE.upper(), base64.b64encode(picture.as_block()).decode()


def is_picture(key: str) -> bool:
    """Whether a comment of that key holds a picture."""
    return key.lower() == _PICTURE


def is_software(name: str) -> bool:
    """Whether a text of that name says which program wrote the file."""
    return name in _SOFTWARE


def named(key: str) -> str:
    """The name of a Vorbis comment's key or of a ``TXXX`` description."""
    name = key.strip().lower()
    return _NAMES_OF_COMMENTS.get(name, name)


def joined(values: Sequence[str]) -> str:
    """Several values in one text."""
    return "; ".join(dict.fromkeys(value.replace("\0", " ") for value in values))


def decoded(text: bytes) -> str:
    """A text of no stated encoding: UTF-8, or what Windows writes."""
    try:
        return text.decode().strip()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace").strip()

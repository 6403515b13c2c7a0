"""ID3v2 tags: read in versions 2.2, 2.3 and 2.4, written as 2.4, with frames passed through.

Sources: id3.org, "ID3 tag version 2.4.0" (main structure and native frames), "2.3.0" and "2.2.0".
An ID3 tag stands before an MP3's first frame, or in a chunk of a WAV (``id3 ``) or AIFF (``ID3 ``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEAD = 10
MOST_BYTES = 32 << 20
"""A larger tag is not read; covers of print quality are about 10 MB."""
_MOST_FRAMES = 10_000
_UTF_8 = b"\x03"
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_FOOTER = 0x10
_BREAKS_OFF = -1
"""In place of a frame's flags: it is longer than what is left of the tag."""

Frames = tuple[tuple[bytes, bytes], ...]
"""Frames of ID3v2.4, in order: a name of four letters, and what stands behind the frame's head."""

_NAMES_OF_2_2 = {
    "BUF": "RBUF", "CNT": "PCNT", "COM": "COMM", "CRA": "AENC", "ETC": "ETCO", "GEO": "GEOB",
    "IPL": "TIPL", "MCI": "MCDI", "POP": "POPM", "SLT": "SYLT", "TAL": "TALB", "TBP": "TBPM",
    "TCM": "TCOM", "TCO": "TCON", "TCR": "TCOP", "TDY": "TDLY", "TEN": "TENC", "TFT": "TFLT",
    "TKE": "TKEY", "TLA": "TLAN", "TLE": "TLEN", "TMT": "TMED", "TOA": "TOPE", "TOF": "TOFN",
    "TOL": "TOLY", "TOR": "TDOR", "TOT": "TOAL", "TP1": "TPE1", "TP2": "TPE2", "TP3": "TPE3",
    "TP4": "TPE4", "TPA": "TPOS", "TPB": "TPUB", "TRC": "TSRC", "TRK": "TRCK", "TSS": "TSSE",
    "TT1": "TIT1", "TT2": "TIT2", "TT3": "TIT3", "TXT": "TEXT", "TXX": "TXXX", "TYE": "TDRC",
    "UFI": "UFID", "ULT": "USLT", "WAF": "WOAF", "WAR": "WOAR", "WAS": "WOAS", "WCM": "WCOM",
    "WCP": "WCOP", "WPB": "WPUB", "WXX": "WXXX", "TCP": "TCMP", "TS2": "TSO2", "TSA": "TSOA",
    "TSP": "TSOP", "TST": "TSOT",
}  # fmt: skip
_NAMES_OF_2_3 = {b"TYER": b"TDRC", b"TORY": b"TDOR", b"IPLS": b"TIPL"}
_ONLY_IN_2_3 = frozenset({b"TDAT", b"TIME", b"TRDA", b"TSIZ", b"RVAD", b"EQUA"})
_OF_THE_OLD_STREAM = frozenset({b"ASPI", b"MLLT", b"SEEK", b"TSSE", b"TFLT", b"RBUF", b"AENC"})
"""What says something of the encoded bytes, which are other ones in a new file."""
_C2PA = b"application/x-c2pa-manifest-store", b"application/c2pa"


@dataclass(frozen=True)
class Id3Tag:
    """A tag that was read.

    Attributes:
        size: bytes of the tag, head and footer included.
        frames: as ID3v2.4 has them.
        left_out: names of frames that cannot be passed on.
        has_credentials: it holds a C2PA manifest, which is not among the frames.
    """

    size: int
    frames: Frames
    left_out: tuple[str, ...] = ()
    has_credentials: bool = False


def size_of(head: bytes) -> int:
    """How many bytes a tag that begins so takes; 0: it is none."""
    if len(head) < HEAD or head[:3] != b"ID3" or 0xFF in head[3:5] or max(head[6:10]) > 0x7F:
        return 0
    return HEAD + _number(head[6:10], 7) + (HEAD if head[5] & _FOOTER and head[3] >= 4 else 0)


def read_tag(tag: bytes) -> Id3Tag | None:
    """A tag from its first byte on; None: there is none that can be read.

    A frame that does not fit ends the reading; what came before it counts, and it is named.
    """
    size, version = size_of(tag), tag[3] if len(tag) >= HEAD else 0
    if not size or version not in (2, 3, 4):
        return None
    body = tag[HEAD : min(size, len(tag))]
    is_unsynchronised = bool(tag[5] & 0x80)
    if version == 2 and tag[5] & 0x40:  # a compression that was never defined
        return Id3Tag(size, (), ("ID3v2.2",))
    if is_unsynchronised and version < 4:
        body = _synchronised(body)
    if version > 2 and tag[5] & 0x40:
        body = body[_number(body[:4], 7) :] if version == 4 else body[4 + _number(body[:4], 8) :]
    frames: list[tuple[bytes, bytes]] = []
    left_out: list[str] = []
    has_credentials = False
    room = MOST_BYTES
    for name, flags, content in _split(body, version):
        if flags == _BREAKS_OFF:
            left_out.append(f"{name.decode('latin-1')} (breaks off)" if name.isalnum() else "ID3")
            break
        known, kept = _as_2_4(version, name, flags, content, room)
        room -= len(kept or b"")
        if room < 0:
            left_out.append(name.decode("latin-1"))
            break
        if known == b"GEOB" and kept is not None and kept[1:].startswith(_C2PA):
            has_credentials = True
        elif kept is None or not _is_name(known):
            left_out.append(name.decode("latin-1"))
        elif known not in _OF_THE_OLD_STREAM:
            frames.append((known, kept))
    return Id3Tag(size, tuple(frames), tuple(dict.fromkeys(left_out)), has_credentials)


def make_tag(frames: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A tag of ID3v2.4 (sections 3.1 and 4); no bytes where there are no frames."""
    body = b"".join(name + _syncsafe(len(one)) + b"\0\0" + one for name, one in frames)
    return b"ID3\x04\x00\x00" + _syncsafe(len(body)) + body if body else b""


# What frames say.


def text_frame(name: bytes, values: Sequence[str]) -> tuple[bytes, bytes]:
    """A frame of texts; a comment has a language and an empty description before it."""
    head = _UTF_8 + (b"eng\x00" if name in (b"COMM", b"USLT") else b"")
    return name, head + "\0".join(value.replace("\0", " ") for value in values).encode()


def user_text_frame(description: str, values: Sequence[str]) -> tuple[bytes, bytes]:
    """A ``TXXX`` frame: a text of a name that ID3 does not have."""
    return b"TXXX", _UTF_8 + "\0".join([description, *values]).encode()


def texts_of(frame: tuple[bytes, bytes]) -> tuple[str, tuple[str, ...]]:
    """Description (of ``TXXX`` and ``COMM``; otherwise empty) and texts of a frame."""
    name, body = frame
    if not body or body[0] >= len(_ENCODINGS):
        return "", ()
    words = body[1:]
    if name in (b"COMM", b"USLT"):
        words = words[3:]
    parts = _strings(words, body[0])
    if name in (b"TXXX", b"COMM", b"USLT"):
        return (parts[0] if parts else ""), tuple(part for part in parts[1:] if part)
    return "", tuple(part for part in parts if part)


def picture_frame(media: str, kind: int, description: str, data: bytes) -> tuple[bytes, bytes]:
    """An ``APIC`` frame; kinds are those of ID3v2.4, 4.14, such as 3 for the front cover."""
    head = _UTF_8 + media.encode("latin-1", "replace") + b"\0" + bytes([min(kind, 20)])
    return b"APIC", head + description.replace("\0", " ").encode() + b"\0" + data


def picture_of(body: bytes) -> tuple[str, int, str, bytes] | None:
    """Media type, kind, description and data of an ``APIC`` frame; None: it is damaged."""
    media, _, rest = body[1:].partition(b"\0")
    if not rest or body[0] >= len(_ENCODINGS):
        return None
    end = _end_of_string(rest[1:], body[0])
    if end is None:
        return None
    description = rest[1 : 1 + end[0]].decode(_ENCODINGS[body[0]], "replace")
    return media.decode("latin-1"), rest[0], description.lstrip("\ufeff"), rest[1 + end[1] :]


def _split(body: bytes, version: int) -> Iterable[tuple[bytes, int, bytes]]:
    letters, head = (3, 6) if version == 2 else (4, 10)
    at, count = 0, 0
    while at + head <= len(body) and count < _MOST_FRAMES:
        name = body[at : at + letters]
        if not name[0]:  # padding
            return
        size_bytes = body[at + letters : at + (6 if version == 2 else 8)]
        size = _frame_size(body, at, size_bytes) if version == 4 else _number(size_bytes, 8)
        flags = 0 if version == 2 else _number(body[at + 8 : at + 10], 8)
        if size > len(body) - at - head:
            yield name, _BREAKS_OFF, b""
            return
        yield name, flags, body[at + head : at + head + size]
        at, count = at + head + size, count + 1


def _frame_size(body: bytes, at: int, size: bytes) -> int:
    """iTunes wrote plain numbers into 2.4: what leads to another frame, or to the end, is right."""
    safe, plain = _number(size, 7), _number(size, 8)
    if max(size) > 0x7F:
        return plain
    for one in (safe, plain):
        after = body[at + 10 + one : at + 14 + one]
        if at + 10 + one == len(body) or (after and (not after[0] or _is_name(after))):
            return one
    return safe


def _as_2_4(
    version: int, name: bytes, flags: int, content: bytes, room: int
) -> tuple[bytes, bytes | None]:
    """Name and content of a frame in 2.4; None: it has no plain content there."""
    if version == 2:
        known = _NAMES_OF_2_2.get(name.decode("latin-1"), "").encode()
        if name == b"PIC":
            return b"APIC", _picture_of_2_2(content)
        return known or name, content if known else None
    if version == 3:
        known = _NAMES_OF_2_3.get(name, name)
        if flags & 0x40 or known in _ONLY_IN_2_3:  # encrypted
            return known, None
        if flags & 0x80:
            return known, _inflated(content[4:], flags & 0x20, room)
        return known, content[1:] if flags & 0x20 else content
    if flags & 0x04:
        return name, None
    content = content[1:] if flags & 0x40 else content
    content = content[4:] if flags & 0x01 else content
    if flags & 0x02:
        content = _synchronised(content)
    return name, _inflated(content, 0, room) if flags & 0x08 else content


def _picture_of_2_2(content: bytes) -> bytes | None:
    if len(content) < 6:
        return None
    media = {b"PNG": b"image/png", b"JPG": b"image/jpeg"}.get(content[1:4].upper(), b"image/")
    return content[:1] + media + b"\0" + content[4:]


def _inflated(content: bytes, group: int, room: int) -> bytes | None:
    try:
        machine = zlib.decompressobj()
        made = machine.decompress(content[1:] if group else content, room + 1)
    except zlib.error:
        return None
    return made if machine.eof else None


def _strings(words: bytes, encoding: int) -> list[str]:
    """Texts that end with a zero each; the last one may lack it."""
    if encoding in (1, 2):
        words = words[: len(words) // 2 * 2]
    if encoding == 1:
        order = "utf-16-be" if words[:2] == b"\xfe\xff" else "utf-16-le"
        text = words.decode(order, "replace").replace("\ufeff", "").replace("\ufffe", "")
    else:
        text = words.decode(_ENCODINGS[encoding], "replace")
    parts = text.split("\0")
    return parts[:-1] if len(parts) > 1 and not parts[-1] else parts


def _end_of_string(words: bytes, encoding: int) -> tuple[int, int] | None:
    """Where a text ends, and where what follows its zero begins."""
    if encoding in (0, 3):
        end = words.find(b"\0")
        return None if end < 0 else (end, end + 1)
    for at in range(0, len(words) - 1, 2):
        if words[at : at + 2] == b"\0\0":
            return at, at + 2
    return None


def _synchronised(body: bytes) -> bytes:
    return body.replace(b"\xff\x00", b"\xff")


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(48 <= one <= 57 or 65 <= one <= 90 for one in name)


def _number(digits: bytes, bits: int) -> int:
    value = 0
    for digit in digits:
        value = value << bits | digit & ((1 << bits) - 1)
    return value


def _syncsafe(size: int) -> bytes:
    """Four bytes of seven bits each."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))

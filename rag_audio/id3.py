"""ID3v2.4 tags for MP3 files: libsndfile writes texts there that other readers take for Latin-1."""

from __future__ import annotations

from collections.abc import Mapping

_FRAMES = {"comment": b"COMM", "copyright": b"TCOP", "title": b"TIT2", "artist": b"TPE1"}
KNOWN_TAGS = frozenset(_FRAMES)
"""The texts that :func:`id3_tag` knows."""
_UTF_8 = b"\x03"


def id3_tag(texts: Mapping[str, str]) -> bytes:
    """A tag to stand before an MP3's first frame (id3.org, ID3v2.4.0, sections 3.1, 4 and 4.10).

    Args:
        texts: by libsndfile's names: ``comment``, ``copyright``, ``title``, ``artist``.
    """
    frames = b""
    for name, text in texts.items():
        frame = _FRAMES[name]
        # A comment has a language and a short description, here an empty one.
        head = _UTF_8 + (b"eng\x00" if frame == b"COMM" else b"")
        body = head + text.encode()
        frames += frame + _syncsafe(len(body)) + b"\x00\x00" + body
    return b"ID3\x04\x00\x00" + _syncsafe(len(frames)) + frames


def _syncsafe(size: int) -> bytes:
    """Four bytes of seven bits each."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))

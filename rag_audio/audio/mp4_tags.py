"""What stands beside the sound of an MP4 or QuickTime file: texts and covers.

Sources: Apple, "QuickTime File Format Specification" (user data, metadata, well-known types). Apple
never published the names of iTunes' items; they are those of mp4v2's "iTunes Metadata" page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rag_audio.audio.carried_metadata import CREDENTIALS
from rag_audio.audio.media_boxes import Bytes, MediaPart, boxes, first_part
from rag_audio.audio.text_tags import Picture, Texts, decoded, named

MOST_BYTES = 64 << 20
"""Of all items of a file together."""
_NAMES = {
    b"\xa9nam": "title", b"\xa9ART": "artist", b"\xa9alb": "album", b"\xa9cmt": "comment",
    b"cprt": "copyright", b"\xa9cpy": "copyright", b"\xa9day": "date", b"\xa9gen": "genre",
    b"\xa9wrt": "composer", b"aART": "albumartist", b"\xa9lyr": "lyrics", b"\xa9grp": "grouping",
    b"\xa9pub": "publisher", b"\xa9con": "conductor", b"\xa9st3": "subtitle", b"desc": "comment",
    b"\xa9too": "software", b"\xa9swr": "software", b"\xa9enc": "encoded_by",
    b"sonm": "titlesort", b"soar": "artistsort", b"soal": "albumsort",
    b"soaa": "albumartistsort", b"soco": "composersort",
}  # fmt: skip
_NUMBERS = {b"tmpo": "bpm", b"cpil": "compilation"}
_OF_HOW_MANY = {b"trkn": "tracknumber", b"disk": "discnumber"}
_MEDIA = {13: "image/jpeg", 14: "image/png", 27: "image/bmp"}
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_FRONT_COVER, _UTF_16 = 3, 2
_OF_THE_OLD_FILE = frozenset({"itunsmpb", "itunnorm", "encoding params"})
"""Free names that count or measure the samples as they are encoded there."""


@dataclass
class Mp4Tags:
    """Texts by name, pictures, and names of items that are not carried."""

    texts: Texts = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    room: int = MOST_BYTES

    def add(self, name: str, *values: str) -> None:
        """Values of a name, each once."""
        there = self.texts.get(name, ())
        new = [value for value in values if value and value not in there]
        if new:
            self.texts[name] = (*there, *dict.fromkeys(new))


def read_mp4_tags(source: Bytes) -> Mp4Tags:
    """The items of a file; damaged ones are left out and named.

    Raises:
        UnreadableFile: it has too many parts.
    """
    found = Mp4Tags()
    _read_movie(source, found)
    for part in boxes(source, 0, source.size):
        if part.name == b"uuid" and source.at(part.start, 16) == _C2PA:
            found.lost.append(CREDENTIALS)
    return found


def _read_movie(source: Bytes, found: Mp4Tags) -> None:
    movie = first_part(boxes(source, 0, source.size), b"moov")
    user = movie and first_part(boxes(source, movie.start, movie.end), b"udta")
    if not user:
        return
    for part in boxes(source, user.start, user.end):
        if part.name == b"meta":
            # QuickTime's is no full box: the next box begins at once.
            is_full = source.at(part.start + 4, 4) != b"hdlr"
            inside = boxes(source, part.start + (4 if is_full else 0), part.end)
            if items := first_part(inside, b"ilst"):
                _read_items(source, items, found)
        elif part.name in _NAMES and (body := _content(source, part, found)):
            # A size, a language, and a text of that size.
            size = int.from_bytes(body[:2], "big")
            if _NAMES[part.name] not in found.texts:
                found.add(_NAMES[part.name], decoded(body[4 : 4 + size].rstrip(b"\0")))


def _read_items(source: Bytes, items: MediaPart, found: Mp4Tags) -> None:
    for item in boxes(source, items.start, items.end):
        values = list(_values(source, item, found))
        if item.name == b"----":
            _add_free(source, item, values, found)
        elif item.name == b"covr":
            for kind, body in values:
                _add_cover(kind, body, found)
        elif item.name in _NAMES:
            found.add(_NAMES[item.name], *(_text(*value) for value in values))
        elif item.name in _NUMBERS:
            numbers = (int.from_bytes(body, "big") for _, body in values)
            found.add(_NUMBERS[item.name], *(str(number) for number in numbers if number))
        elif item.name in _OF_HOW_MANY:
            found.add(_OF_HOW_MANY[item.name], *(_of_how_many(body) for _, body in values))
        else:
            found.lost.append(_letters(item.name))


def _values(source: Bytes, item: MediaPart, found: Mp4Tags) -> Iterator[tuple[int, bytes]]:
    """The ``data`` of an item: a type, a locale, and what it holds."""
    for part in boxes(source, item.start, item.end):
        if part.name == b"data" and (body := _content(source, part, found)) and len(body) >= 8:
            yield int.from_bytes(body[:4], "big") & 0xFFFFFF, body[8:]


def _add_free(
    source: Bytes, item: MediaPart, values: list[tuple[int, bytes]], found: Mp4Tags
) -> None:
    label = first_part(boxes(source, item.start, item.end), b"name")
    body = b"" if label is None else _content(source, label, found) or b""
    words = decoded(body[4:])
    if words.lower() in _OF_THE_OLD_FILE or not words:
        found.lost += [words] if words.lower() == "itunnorm" else []
    elif any(kind > _UTF_16 for kind, _ in values):
        found.lost.append(words)
    else:
        found.add(named(words), *(_text(*value) for value in values))


def _add_cover(kind: int, body: bytes, found: Mp4Tags) -> None:
    media = "image/png" if body.startswith(b"\x89PNG") else _MEDIA.get(kind, "image/jpeg")
    if body:
        found.pictures.append(Picture(media, _FRONT_COVER, "", body))


def _content(source: Bytes, part: MediaPart, found: Mp4Tags) -> bytes | None:
    size = part.end - part.start
    if size > found.room:
        found.lost.append(f"{_letters(part.name)} (too large)")
        return None
    found.room -= size
    return source.at(part.start, size)


def _text(kind: int, body: bytes) -> str:
    if kind == _UTF_16:
        return body.decode("utf-16-be", "replace").strip("\0 ")
    return decoded(body.rstrip(b"\0"))


def _of_how_many(body: bytes) -> str:
    number, count = (int.from_bytes(body[at : at + 2], "big") for at in (2, 4))
    if not number:
        return ""
    return f"{number}/{count}" if count else str(number)


def _letters(name: bytes) -> str:
    return name.decode("latin-1").strip()

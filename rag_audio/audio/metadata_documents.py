"""What stands beside a sound, as the JSON document that a decoding process hands over."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.text_tags import Picture

MOST_BYTES = 12 << 20
"""Of all blocks together; what is more is named and left out."""
TOO_MUCH = f"covers, tags and other data of more than {MOST_BYTES >> 20} MB"


def metadata_to_json(data: CarriedMetadata) -> dict[str, Any]:
    """The document; bytes are base64 in it."""
    if _weight(data) > MOST_BYTES:
        data = CarriedMetadata(channel_mask=data.channel_mask, lost=(*data.lost, TOO_MUCH))
    return {
        "chunks": _blocks(data.chunks),
        "info": _blocks(data.info),
        "frames": _blocks(data.frames),
        "comments": [list(one) for one in data.comments],
        "blocks": [[kind, _text(body)] for kind, body in data.blocks],
        "pictures": [
            [one.media, one.kind, one.description, _text(one.data), _text(one.block)]
            for one in data.pictures
        ],
        "texts": {name: list(values) for name, values in data.texts.items()},
        "channel_mask": data.channel_mask,
        "lost": list(data.lost),
    }


def metadata_from_json(document: Mapping[str, Any]) -> CarriedMetadata:
    """What :func:`metadata_to_json` wrote; the process that wrote it may be a stranger's by now.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it did not write that.
    """
    return CarriedMetadata(
        chunks=_unblocked(document["chunks"]),
        info=_unblocked(document["info"]),
        frames=_unblocked(document["frames"]),
        comments=tuple((str(name), str(text)) for name, text in document["comments"]),
        blocks=tuple((int(kind) & 0x7F, _bytes(body)) for kind, body in document["blocks"]),
        pictures=tuple(
            Picture(str(media), int(kind) & 0xFF, str(said), _bytes(data), _bytes(block))
            for media, kind, said, data, block in document["pictures"]
        ),
        texts={
            str(name): tuple(str(value) for value in values)
            for name, values in document["texts"].items()
        },
        channel_mask=_mask(document["channel_mask"]),
        lost=tuple(str(name) for name in document["lost"]),
    )


def _mask(said: object) -> int | None:
    return None if said is None else int(str(said)) & 0xFFFFFFFF


def _weight(data: CarriedMetadata) -> int:
    blocks = [body for _, body in (*data.chunks, *data.info, *data.frames, *data.blocks)]
    pictures = [part for one in data.pictures for part in (one.data, one.block)]
    texts = [text for _, text in data.comments]
    texts += [value for values in data.texts.values() for value in values]
    return sum(map(len, (*blocks, *pictures))) + 4 * sum(map(len, texts))


def _blocks(blocks: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    return [[name.decode("latin-1"), _text(body)] for name, body in blocks]


def _unblocked(blocks: Iterable[tuple[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("latin-1"), _bytes(body)) for name, body in blocks if len(name) == 4)


def _text(content: bytes) -> str:
    return b64encode(content).decode("ascii")


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)

"""How an index is spoken to through a socket: frames of JSON, each after its length in 4 bytes."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.domain import Segment
from rag_audio.domain.codec import encode, read
from rag_audio.domain.ports import Hit, IndexedSegment, SparseVector
from rag_audio.errors import BackendError
from rag_audio.storage.payload import stem_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SOCKET = "serve.sock"
"""Its name in the index's folder."""
MOST_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")
_LONGEST_PATH = 100

Message = dict[str, Any]


def send(to: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one frame."""
    body = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode()
    if len(body) > MOST_BYTES:
        raise BackendError(f"{len(body)} bytes are too many for one frame")
    to.sendall(_LENGTH.pack(len(body)) + body)


def receive(source: socket.socket) -> Message | None:
    """The next frame; None: the other side has ended.

    Raises:
        OSError: the connection broke. BackendError: what came is no frame.
    """
    head = _exactly(source, _LENGTH.size)
    if head is None:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > MOST_BYTES:
        raise BackendError(f"a frame of {size} bytes is too long")
    body = _exactly(source, size)
    if body is None:
        return None
    try:
        message = json.loads(body)
    except ValueError as error:
        raise BackendError("a frame cannot be read") from error
    if not isinstance(message, dict):
        raise BackendError("a frame is not an object")
    return message


@contextmanager
def address(folder: Path) -> Iterator[str]:
    """The socket's path in a form that is short enough for the kernel, within the block."""
    plain = str(folder / SOCKET)
    if len(os.fsencode(plain)) <= _LONGEST_PATH or not Path("/proc/self/fd").is_dir():
        yield plain
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)


def vector_to_text(vector: NDArray[np.float32]) -> str:
    """Its shape, such as ``512`` or ``1x512``, a colon, and float32, little-endian, in base64."""
    shape = "x".join(map(str, vector.shape))
    return f"{shape}:{base64.b64encode(np.asarray(vector, dtype='<f4').tobytes()).decode('ascii')}"


def vector_from_text(text: str) -> NDArray[np.float32]:
    """The inverse of :func:`vector_to_text`."""
    shape, _, data = text.partition(":")
    flat = np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32)
    return flat.reshape([int(size) for size in shape.split("x")])


def point_to_json(point: IndexedSegment) -> Message:
    """A stored point."""
    return {
        "id": point.id,
        **_segment_to_json(point.segment),
        "dense": vector_to_text(point.dense),
        "sparse": encode(point.sparse),
    }


def point_from_json(said: Message) -> IndexedSegment:
    """The inverse of :func:`point_to_json`."""
    return IndexedSegment(
        said["id"],
        _segment_from_json(said),
        vector_from_text(said["dense"]),
        read(SparseVector, said["sparse"]),
    )


def hit_to_json(hit: Hit) -> Message:
    """A found point."""
    said = {"id": hit.id, "score": hit.score, "dense": vector_to_text(hit.dense)}
    return {**said, **_segment_to_json(hit.segment)}


def hit_from_json(said: Message) -> Hit:
    """The inverse of :func:`hit_to_json`."""
    dense = vector_from_text(said["dense"])
    return Hit(said["id"], _segment_from_json(said), said["score"], dense)


def _segment_to_json(segment: Segment) -> Message:
    return {
        "stem": text_of(segment.stem),
        "start_s": segment.start_s,
        "duration_s": segment.duration_s,
    }


def _segment_from_json(said: Message) -> Segment:
    return Segment(stem_of(said["stem"]), said["start_s"], said["duration_s"])


def _exactly(source: socket.socket, size: int) -> bytes | None:
    pieces: list[bytes] = []
    while size:
        piece = source.recv(min(size, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)

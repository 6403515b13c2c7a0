"""The embedded index as other processes of this machine reach it: through the one that holds it.

:class:`IndexHost` runs where the index is open and listens on a socket in the index's folder, which
only the home's owner can reach; :class:`SocketIndex` is what everybody else has. Questions and
answers are JSON objects, one to a line: ``{"op": "count", "library": null}``, ``{"count": 3}``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rag_audio.domain import SegmentFilter
from rag_audio.domain.codec import Document, encode, read
from rag_audio.domain.ports import Hit, IndexedSegment, SparseVector, StemIndex, TellsTerms
from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    IndexMismatch,
    InvalidInput,
    RagAudioError,
)
from rag_audio.storage import qdrant_common
from rag_audio.storage.locks import SOCKET

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIMEOUT_S = 60.0
COPY = "index"
"""Name of an index's copy in the folder that it was asked into."""
MOST_BYTES = 64 << 20
"""Of one message."""
_NOT_UNDERSTOOD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What fields of other types than theirs raise while a message is read."""
_COPY_INTO = re.compile(r"\.backup-[A-Za-z0-9_]+")
_log = logging.getLogger("rag_audio.index")
_LONGEST_PATH = 100
_PAGE = 256
_AT_ONCE = 128
_HITS = 4096


class _Connection:
    """Sends and receives messages.

    Both methods raise OSError where the connection broke.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._socket, self._received = opened, opened.makefile("rb")

    def send(self, message: Document) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if len(line) > MOST_BYTES:
            raise BackendError(f"a message of {len(line)} bytes to the index is too long")
        self._socket.sendall(line)

    def receive(self) -> Document | None:
        """The next message; None: the other side has ended.

        Raises:
            BackendError: what came is no message.
        """
        line = self._received.readline(MOST_BYTES + 1)
        if len(line) > MOST_BYTES:
            raise BackendError("a message of the index is too long")
        if not line.endswith(b"\n"):
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BackendError("a message of the index cannot be read") from error
        if not isinstance(message, dict):
            raise BackendError("a message of the index is not an object")
        return message

    def close(self) -> None:
        self._received.close()
        self._socket.close()

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SocketIndex:
    """A :class:`rag_audio.domain.ports.StemIndex` that another process holds.

    Args:
        path: the index's folder. space, dimension: of the vectors that are asked with.

    Raises:
        BackendUnavailable: nobody listens there.
        IndexMismatch: it holds vectors of another space.
    """

    def __init__(self, path: Path, *, space: str, dimension: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        said = self._ask("hello")
        with _readable():
            self.name, self.space = str(said["name"]), str(said["space"])
        if self.space != space:
            self.close()
            raise IndexMismatch(
                f"the index at {path} is of embedding space {self.space}, and {space} is asked for",
                hint="use the embedder that the serving process uses",
            )
        self._dimension = dimension

    def upsert(self, points: Sequence[IndexedSegment]) -> None:
        for start in range(0, len(points), _AT_ONCE):
            some = points[start : start + _AT_ONCE]
            self._ask("upsert", points=[_to_json(point) for point in some])

    def delete(self, ids: Sequence[str]) -> None:
        self._ask("delete", ids=list(ids))

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        return self._hits("search_dense", _vector_to_json(vector), where, limit)

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        return self._hits("search_sparse", encode(vector), where, limit)

    def search_many(
        self,
        queries: Sequence[NDArray[np.float32] | SparseVector],
        where: SegmentFilter,
        limit: int,
    ) -> list[list[Hit]]:
        if len(queries) * limit > _HITS:
            return [self._search(query, where, limit) for query in queries]
        asked = [
            {"sparse": encode(one)}
            if isinstance(one, SparseVector)
            else {"dense": _vector_to_json(one)}
            for one in queries
        ]
        said = self._ask("search_many", queries=asked, where=encode(where), limit=limit)
        with _readable():
            return [[_hit_from_json(hit) for hit in hits] for hits in said["hits"]]

    def _search(
        self, query: NDArray[np.float32] | SparseVector, where: SegmentFilter, limit: int
    ) -> list[Hit]:
        if isinstance(query, SparseVector):
            return self.search_sparse(query, where, limit)
        return self.search_dense(query, where, limit)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(ids), _HITS):
            said = self._ask("vectors", ids=list(ids[start : start + _HITS]))
            with _readable():
                found |= {id_: _vector_from_json(one) for id_, one in said["vectors"].items()}
        return found

    def terms(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        found: dict[str, frozenset[int]] = {}
        for start in range(0, len(ids), _HITS):
            said = self._ask("terms", ids=list(ids[start : start + _HITS]))
            with _readable():
                found |= {id_: frozenset(map(int, one)) for id_, one in said["terms"].items()}
        return found

    def set_revoked(self, stems: Sequence[str], on: bool, library: str | None = None) -> None:
        for start in range(0, len(stems), _HITS):
            some = list(stems[start : start + _HITS])
            self._ask("set_revoked", stems=some, on=on, library=library)

    def scroll(self, library: str | None = None, after: str = "") -> Iterator[IndexedSegment]:
        more = True
        while more:
            said = self._ask("scroll", library=library, after=after)
            with _readable():
                points = [_point_from_json(point) for point in said["points"]]
                more = said["more"] and bool(points)
            yield from points
            after = points[-1].id if points else after

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        said = self._ask("find_stem", stem=stem)
        with _readable():
            return [_point_from_json(point) for point in said["points"]]

    def count(self, library: str | None = None, *, exact: bool = True) -> int:
        said = self._ask("count", library=library, exact=exact)
        with _readable():
            return int(said["count"])

    def build(self) -> None:
        """Let the process that holds the index build what searches need, in the background."""
        self._ask("build")

    def close(self) -> None:
        """Hang up; again does nothing. The index stays with whoever holds it."""
        with self._lock:
            self._drop()

    def _hits(self, op: str, vector: Any, where: SegmentFilter, limit: int) -> list[Hit]:
        found: dict[str, Hit] = {}
        more, after = True, 0
        while more:
            said = self._ask(op, vector=vector, where=encode(where), limit=limit, after=after)
            with _readable():
                found |= {hit["id"]: _hit_from_json(hit) for hit in said["hits"]}
                more, after = said["more"] and bool(said["hits"]), after + len(said["hits"])
        return list(found.values())

    def _ask(self, op: str, **asked: Any) -> Document:
        """One question and its answer; the process that holds the index may have been restarted."""
        with self._lock:
            for try_again in (self._connection is not None, False):
                try:
                    if self._connection is None:
                        self._connection = _connect(self._path)
                    self._connection.send({"op": op, **asked})
                    said = self._connection.receive()
                    if said is not None:
                        return _understood(said)
                except OSError as error:
                    if not try_again:
                        self._drop()
                        raise self._away(str(error)) from error
                self._drop()
            raise self._away("it hung up")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _away(self, why: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"the process that holds the index at {self._path} does not answer: {why}",
            hint="is rag-audio serve still running?",
        )


class HostedIndex(StemIndex, Protocol):
    """An index that can be copied while it is used."""

    def copy_to(self, folder: Path) -> None:
        """Copy the index to a new folder, all as it stands at one moment."""
        ...

    def build(self) -> None:
        """Build what searches need over what was added."""
        ...


Run = Callable[[Callable[[], None], str], object]
"""Is given what a thread is to do, and its name."""


def _in_a_thread(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


class IndexHost:
    """Lets other processes of this machine use an index that this one has open.

    Args:
        index: is asked from several threads. folder: where the socket goes.
        home: copies are made in folders of this one; by default of the one that holds ``folder``.
    """

    def __init__(self, index: HostedIndex, folder: Path, home: Path | None = None) -> None:
        self._index, self._folder = index, folder
        self._home = home or folder.parent
        self._listener: socket.socket | None = None

    def start(self, run: Run = _in_a_thread) -> None:
        """Listen, in threads of its own.

        Args:
            run: begins the thread that accepts; it may start it again when it fails.

        Raises:
            BackendUnavailable: the socket cannot be made.
        """
        self._remove()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Made without rights for others from the first moment on.
            before = os.umask(0o177)
            try:
                with _address(self._folder) as place:
                    listener.bind(place)
            finally:
                os.umask(before)
            listener.listen(16)
        except OSError as error:
            listener.close()
            raise BackendUnavailable(
                f"the index at {self._folder} cannot be served to other processes: {error}"
            ) from error
        self._listener = listener
        run(self._accept, "index-host")

    def stop(self) -> None:
        """Hang up; again does nothing."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._remove()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _remove(self) -> None:
        (self._folder / SOCKET).unlink(missing_ok=True)

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and self._listener is not None:
            try:
                opened, _ = listener.accept()
            except OSError:
                if self._is_ended():
                    return
                raise
            connection = _Connection(opened)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: _Connection) -> None:
        with connection, suppress(OSError):
            while not self._is_ended():
                try:
                    asked = connection.receive()
                except BackendError as error:
                    connection.send(_refusal(error))
                    return  # Where the next message begins cannot be known.
                if asked is None:
                    return
                said = self._said(asked)
                if self._is_ended() and "error" in said:
                    return  # The index was closed meanwhile: whoever asked looks for it anew.
                connection.send(said)

    def _is_ended(self) -> bool:
        return self._listener is None

    def _said(self, asked: Document) -> Document:
        try:
            if asked["op"] == "copy":
                return self._copy(str(asked["into"]))
            if asked["op"] == "build":
                threading.Thread(target=self._build, name="index-build", daemon=True).start()
                return {}
            return _OPERATIONS[asked["op"]](self._index, asked) or {}
        except RagAudioError as error:
            return _refusal(error)
        except _NOT_UNDERSTOOD as error:
            return _refusal(BackendError(f"not understood: {error}"))

    def _build(self) -> None:
        try:
            self._index.build()
        except RagAudioError as error:
            _log.warning("%s", error.message)

    def _copy(self, into: str) -> Document:
        """Copy the index into a folder of that name in the home, and nowhere else."""
        folder = self._home / into
        if not _COPY_INTO.fullmatch(into) or folder.is_symlink() or not folder.is_dir():
            raise InvalidInput(f"the index is not copied into {into!r}: no folder of a backup")
        self._index.copy_to(folder / COPY)
        return {}


def _refusal(error: RagAudioError) -> Document:
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint or ""}


def copy_served(folder: Path, into: str) -> None:
    """Let the process that serves the index in a folder copy it, as it stands at one moment.

    Args:
        into: name of a folder beside the index's own, such as ``.backup-x7``; the copy is
            ``COPY`` in there.

    Raises:
        BackendUnavailable: nobody serves it, or no longer.
        RagAudioError: it cannot be copied there.
    """
    try:
        # As long as it takes; the server's end closes the socket.
        with _connect(folder, answer_s=None) as connection:
            connection.send({"op": "copy", "into": into})
            said = connection.receive()
    except OSError as error:
        raise BackendUnavailable(f"the index at {folder} cannot be copied: {error}") from error
    if said is None:
        raise BackendUnavailable(
            f"the process that serves the index at {folder} ended while it copied it",
            hint="run the backup again",
        )
    _understood(said)


def is_served(folder: Path) -> bool:
    """Whether a process serves the index in a folder to others."""
    try:
        _connect(folder).close()
    except OSError:
        return False
    return True


def _understood(said: Document) -> Document:
    """The answer, or the error in it raised."""
    if "error" in said:
        family = _FAMILIES.get(str(said["error"]), BackendError)
        raise family(str(said.get("message")), str(said.get("hint", "")))
    return said


@contextmanager
def _readable() -> Iterator[None]:
    """Whatever is wrong with an answer within the block becomes one error.

    Raises:
        BackendError: something is.
    """
    try:
        yield
    except _NOT_UNDERSTOOD as error:
        raise BackendError(f"an answer of the index cannot be read: {error}") from error


def _connect(folder: Path, answer_s: float | None = TIMEOUT_S) -> _Connection:
    """A connection to the process that serves the index; it waits so long for each answer."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(TIMEOUT_S)
    try:
        with _address(folder) as place:
            made.connect(place)
    except OSError:
        made.close()
        raise
    made.settimeout(answer_s)
    return _Connection(made)


@contextmanager
def _address(folder: Path) -> Iterator[str]:
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


def _vector_to_json(vector: NDArray[np.float32]) -> list[Any]:
    """Its shape, and float32, little-endian, in base64."""
    data = np.asarray(vector, dtype="<f4").tobytes()
    return [list(vector.shape), base64.b64encode(data).decode("ascii")]


def _vector_from_json(said: Any) -> NDArray[np.float32]:
    shape, data = said
    return np.frombuffer(base64.b64decode(data), dtype="<f4").astype(np.float32).reshape(shape)


def _to_json(one: IndexedSegment | Hit) -> Document:
    said = {"id": one.id, "payload": qdrant_common.payload_of(one.segment)}
    if isinstance(one, Hit):
        return {**said, "score": one.score}
    return {**said, "dense": _vector_to_json(one.dense), "sparse": encode(one.sparse)}


def _point_from_json(said: Document) -> IndexedSegment:
    segment, dense = qdrant_common.segment_of(said["payload"]), _vector_from_json(said["dense"])
    return IndexedSegment(said["id"], segment, dense, read(SparseVector, said["sparse"]))


def _hit_from_json(said: Document) -> Hit:
    return qdrant_common.hit(said["id"], said["payload"], said["score"])


def _search_dense(index: StemIndex, asked: Document) -> Document:
    vector, where = _vector_from_json(asked["vector"]), read(SegmentFilter, asked["where"])
    return _page_of(index.search_dense(vector, where, int(asked["limit"])), asked)


def _search_sparse(index: StemIndex, asked: Document) -> Document:
    vector, where = read(SparseVector, asked["vector"]), read(SegmentFilter, asked["where"])
    return _page_of(index.search_sparse(vector, where, int(asked["limit"])), asked)


def _search_many(index: StemIndex, asked: Document) -> Document:
    queries: list[NDArray[np.float32] | SparseVector] = [
        read(SparseVector, one["sparse"]) if "sparse" in one else _vector_from_json(one["dense"])
        for one in asked["queries"]
    ]
    where, limit = read(SegmentFilter, asked["where"]), int(asked["limit"])
    if len(queries) * limit > _HITS:
        raise InvalidInput(f"{len(queries)} queries of {limit} hits are too many at once")
    found = index.search_many(queries, where, limit)
    return {"hits": [[_to_json(hit) for hit in hits] for hits in found]}


def _vectors(index: StemIndex, asked: Document) -> Document:
    found = index.vectors([str(id_) for id_ in asked["ids"]])
    return {"vectors": {id_: _vector_to_json(one) for id_, one in found.items()}}


def _terms(index: StemIndex, asked: Document) -> Document:
    """Of an index that does not tell them, none."""
    ids = [str(id_) for id_ in asked["ids"]]
    found = index.terms(ids) if isinstance(index, TellsTerms) else {}
    return {"terms": {id_: sorted(one) for id_, one in found.items()}}


def _set_revoked(index: StemIndex, asked: Document) -> None:
    library = asked.get("library")
    stems = [str(stem) for stem in asked["stems"]]
    index.set_revoked(stems, bool(asked["on"]), None if library is None else str(library))


def _page_of(found: list[Hit], asked: Document) -> Document:
    """As many hits as one message holds, from the one on that is asked for."""
    end = int(asked["after"]) + _HITS
    page = found[int(asked["after"]) : end]
    return {"hits": [_to_json(hit) for hit in page], "more": end < len(found)}


def _scroll(index: StemIndex, asked: Document) -> Document:
    page = list(islice(index.scroll(asked["library"], str(asked["after"])), _PAGE + 1))
    points = [_to_json(point) for point in page[:_PAGE]]
    return {"points": points, "more": len(page) > _PAGE}


def _find_stem(index: StemIndex, asked: Document) -> Document:
    return {"points": [_to_json(point) for point in index.find_stem(asked["stem"])]}


_OPERATIONS: dict[str, Callable[[StemIndex, Document], Document | None]] = {
    "hello": lambda index, _: {"name": index.name, "space": index.space},
    "count": lambda index, asked: {
        "count": index.count(asked.get("library"), exact=bool(asked.get("exact", True)))
    },
    "upsert": lambda index, asked: index.upsert([_point_from_json(p) for p in asked["points"]]),
    "delete": lambda index, asked: index.delete([str(id_) for id_ in asked["ids"]]),
    "search_dense": _search_dense,
    "search_sparse": _search_sparse,
    "search_many": _search_many,
    "vectors": _vectors,
    "terms": _terms,
    "set_revoked": _set_revoked,
    "scroll": _scroll,
    "find_stem": _find_stem,
}
_FAMILIES: dict[str, type[RagAudioError]] = {
    family.__name__: family for family in (BackendUnavailable, IndexMismatch, InvalidInput)
}

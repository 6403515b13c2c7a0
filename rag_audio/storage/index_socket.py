"""The embedded index as other processes of this machine reach it: through the one that holds it.

:class:`IndexHost` runs where the index is open and listens on a socket in the index's folder, which
only the home's owner can reach; :class:`SocketIndex` is what everybody else has.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rag_audio.domain import SegmentFilter
from rag_audio.domain.codec import encode, read
from rag_audio.domain.ports import Hit, IndexedSegment, SparseVector, StemIndex
from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    IndexMismatch,
    InvalidInput,
    RagAudioError,
)
from rag_audio.storage import index_wire as wire

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT_S = 60.0
COPY = "index"
"""Name of an index's copy in the folder that it was asked into."""
_COPY_INTO = re.compile(r"\.backup-[A-Za-z0-9_]+")
_PAGE = 256
_AT_ONCE = 128
_HITS = 4096


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
        self._socket: socket.socket | None = None
        said = self._ask({"op": "hello"})
        self.name, self.space = str(said["name"]), str(said["space"])
        if self.space != space:
            self.close()
            raise IndexMismatch(
                f"the index at {path} is of embedding space {self.space}, and {space} is asked for",
                hint="use the embedder that the serving process uses",
            )
        self._dimension = dimension

    def upsert(self, points: Sequence[IndexedSegment]) -> None:
        """Insert or replace by id; on the disk when it returns."""
        for start in range(0, len(points), _AT_ONCE):
            some = [wire.point_to_json(point) for point in points[start : start + _AT_ONCE]]
            self._ask({"op": "upsert", "points": some})

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""
        self._ask({"op": "delete", "ids": list(ids)})

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        """Nearest by cosine, best first, ties by id."""
        asked = {"op": "search_dense", "vector": wire.vector_to_text(vector)}
        return self._hits(asked, where, limit)

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        """Best by BM25, best first, ties by id; only hits that share a term."""
        asked = {"op": "search_sparse", "vector": encode(vector)}
        return self._hits(asked, where, limit)

    def scroll(self, library: str | None = None) -> Iterator[IndexedSegment]:
        """All points (of one library), in order of id."""
        after: str | None = None
        while True:
            said = self._ask({"op": "scroll", "library": library, "after": after})
            for point in said["points"]:
                after = point["id"]
                yield wire.point_from_json(point)
            if not said["more"]:
                return

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        """All points of a stem, in order of start."""
        said = self._ask({"op": "find_stem", "stem": stem})
        return [wire.point_from_json(point) for point in said["points"]]

    def count(self, library: str | None = None) -> int:
        """Points in the index (of one library)."""
        return int(self._ask({"op": "count", "library": library})["count"])

    def close(self) -> None:
        """Hang up; again does nothing. The index stays with whoever holds it."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _hits(self, asked: wire.Message, where: SegmentFilter, limit: int) -> list[Hit]:
        asked = {**asked, "where": encode(where), "limit": limit}
        found: dict[str, Hit] = {}
        more, after = True, 0
        while more:
            said = self._ask({**asked, "after": after})
            found |= {hit["id"]: wire.hit_from_json(hit) for hit in said["hits"]}
            more, after = said["more"], after + len(said["hits"])
        return list(found.values())

    def _ask(self, asked: wire.Message) -> wire.Message:
        """One question and its answer; the process that holds the index may have been restarted."""
        with self._lock:
            for try_again in (self._socket is not None, False):
                try:
                    if self._socket is None:
                        self._socket = _connect(self._path)
                    wire.send(self._socket, asked)
                    said = wire.receive(self._socket)
                    if said is not None:
                        break
                except OSError as error:
                    said = None
                    if not try_again:
                        self._drop()
                        raise self._away(str(error)) from error
                self._drop()
            else:
                raise self._away("it hung up")
        return _understood(said)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

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


Run = Callable[[Callable[[], None], str], object]
"""Is given what a thread is to do, and its name."""


def _in_a_thread(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


class IndexHost:
    """Lets other processes of this machine use an index that this one has open.

    Args:
        index: is asked from several threads. folder: where the socket goes.
    """

    def __init__(self, index: HostedIndex, folder: Path) -> None:
        self._index, self._folder = index, folder
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
                with wire.address(self._folder) as place:
                    listener.bind(place)
            finally:
                os.umask(before)
            listener.listen(16)
        except OSError as error:
            listener.close()
            raise BackendUnavailable(
                f"other processes cannot be let to the index at {self._folder}: {error}"
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
        (self._folder / wire.SOCKET).unlink(missing_ok=True)

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and self._listener is not None:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._is_ended():
                    return
                raise
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while not self._is_ended():
                asked = wire.receive(connection)
                if asked is None:
                    return
                said = self._said(asked)
                if self._is_ended() and "error" in said:
                    return  # The index was closed meanwhile: whoever asked looks for it anew.
                wire.send(connection, said)

    def _is_ended(self) -> bool:
        return self._listener is None

    def _said(self, asked: wire.Message) -> wire.Message:
        try:
            if asked["op"] == "copy":
                return self._copy(str(asked["into"]))
            return _OPERATIONS[asked["op"]](self._index, asked)
        except RagAudioError as error:
            kind = type(error).__name__
            return {"error": kind, "message": error.message, "hint": error.hint}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": "BackendError", "message": f"not understood: {error}", "hint": ""}

    def _copy(self, into: str) -> wire.Message:
        """Copy the index into a folder of that name beside the index's own, and nowhere else."""
        folder = self._folder.parent / into
        if not _COPY_INTO.fullmatch(into) or folder.is_symlink() or not folder.is_dir():
            raise InvalidInput(f"the index is not copied into {into!r}: no folder of a backup")
        self._index.copy_to(folder / COPY)
        return {}


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
        with _connect(folder) as asking:
            asking.settimeout(None)  # As long as it takes; the server's end closes the socket.
            wire.send(asking, {"op": "copy", "into": into})
            said = wire.receive(asking)
    except OSError as error:
        raise BackendUnavailable(f"the index at {folder} cannot be copied: {error}") from error
    if said is None:
        raise BackendUnavailable(
            f"the process that serves the index at {folder} ended while it copied it",
            hint="run the backup again",
        )
    _understood(said)


def is_served(folder: Path) -> bool:
    """Whether somebody lets others to the index in a folder."""
    try:
        _connect(folder).close()
    except OSError:
        return False
    return True


def _understood(said: wire.Message) -> wire.Message:
    """An answer; one that tells of an error raises it."""
    if "error" in said:
        family = _FAMILIES.get(said["error"], BackendError)
        raise family(str(said["message"]), str(said["hint"]))
    return said


def _connect(folder: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(TIMEOUT_S)
    try:
        with wire.address(folder) as place:
            made.connect(place)
    except OSError:
        made.close()
        raise
    return made


def _search_dense(index: StemIndex, asked: wire.Message) -> wire.Message:
    vector = wire.vector_from_text(asked["vector"])
    where = read(SegmentFilter, asked["where"])
    return _page_of(index.search_dense(vector, where, int(asked["limit"])), asked)


def _search_sparse(index: StemIndex, asked: wire.Message) -> wire.Message:
    where = read(SegmentFilter, asked["where"])
    vector = read(SparseVector, asked["vector"])
    return _page_of(index.search_sparse(vector, where, int(asked["limit"])), asked)


def _page_of(found: list[Hit], asked: wire.Message) -> wire.Message:
    """As many hits as one frame holds, from the one on that is asked for."""
    first = int(asked["after"])
    page = found[first : first + _HITS]
    more = first + len(page) < len(found)
    return {"hits": [wire.hit_to_json(hit) for hit in page], "more": more}


def _scroll(index: StemIndex, asked: wire.Message) -> wire.Message:
    after = asked["after"]
    page: list[wire.Message] = []
    for point in index.scroll(asked["library"]):
        if after is not None and point.id <= after:
            continue
        if len(page) == _PAGE:
            return {"points": page, "more": True}
        page.append(wire.point_to_json(point))
    return {"points": page, "more": False}


def _find_stem(index: StemIndex, asked: wire.Message) -> wire.Message:
    return {"points": [wire.point_to_json(point) for point in index.find_stem(asked["stem"])]}


def _upsert(index: StemIndex, asked: wire.Message) -> wire.Message:
    index.upsert([wire.point_from_json(point) for point in asked["points"]])
    return {}


def _delete(index: StemIndex, asked: wire.Message) -> wire.Message:
    index.delete([str(id_) for id_ in asked["ids"]])
    return {}


_OPERATIONS: dict[str, Callable[[StemIndex, Any], wire.Message]] = {
    "hello": lambda index, _: {"name": index.name, "space": index.space},
    "count": lambda index, asked: {"count": index.count(asked.get("library"))},
    "upsert": _upsert,
    "delete": _delete,
    "search_dense": _search_dense,
    "search_sparse": _search_sparse,
    "scroll": _scroll,
    "find_stem": _find_stem,
}
_FAMILIES: dict[str, type[RagAudioError]] = {
    family.__name__: family for family in (BackendUnavailable, IndexMismatch, InvalidInput)
}

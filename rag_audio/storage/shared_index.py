"""The embedded index as processes of one machine share it: each holds it while it asks, no longer.

:class:`SharedIndex` opens the index when it is asked, here or through the process that serves it,
and lets go of it when nobody asked for a second, or as soon as another process waits for it.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rag_audio.domain import SegmentFilter
from rag_audio.domain.ports import Hit, IndexedSegment, Progress, SparseVector
from rag_audio.errors import BackendError, BackendUnavailable, IndexMismatch, RagAudioError
from rag_audio.storage.edge_build import BUILDING, build_shard, building
from rag_audio.storage.edge_spaces import folder_in_use, folder_of, space_of
from rag_audio.storage.index_socket import SocketIndex, is_served
from rag_audio.storage.locks import is_wanted, wait_for_index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag_audio.storage.qdrant_edge import EdgeIndex

BUILD_FROM = 5_000
"""Segments beside the graph that are worth building it anew: they are compared one by one."""
_BUILDS = 3
IDLE_S = 1.0
"""How long it is held after the last question, so that a few in a row open it once."""
_WORTH = 3.0
"""It is held so many times as long as it took to open: a large one takes many seconds."""
_LOOK_S = 0.05
_END_S = 30.0
_T = TypeVar("_T")
_log = logging.getLogger("rag_audio.index")


class SharedIndex:
    """A :class:`rag_audio.domain.ports.StemIndex` in a folder, held only while it is asked.

    It may be asked from several threads. Opening it waits for another process that holds it
    (``locks.WAIT_S``); so any method raises BackendUnavailable where that takes too long, and
    IndexMismatch where the index is of another space or dimension.

    Args:
        path: the index's folder; made when missing.
        space, dimension: of the vectors.
        idle_s: seconds after the last question until it is let go; where it takes long to open,
            three times as long as that. Another process that waits for it gets it before.
        beside: the folder is that of one embedding space, in use or not (:mod:`.edge_spaces`).
    """

    def __init__(
        self,
        path: Path,
        *,
        space: str,
        dimension: int,
        idle_s: float = IDLE_S,
        beside: bool = False,
    ) -> None:
        self.name, self.space = f"qdrant-edge:{path.name}", space
        self._root, self._dimension, self._idle_s = path, dimension, idle_s
        self._path, self._beside = path, beside
        self._state = threading.Condition()
        self._here: EdgeIndex | None = None
        self._there: SocketIndex | None = None
        self._users: Counter[int] = Counter()
        """Questions that are being answered, by thread."""
        self._asked_at = 0.0
        self._opening_s = 0.0
        self._is_kept = self._is_closed = False

    @property
    def folder(self) -> Path:
        """The folder that the index is in, of those of its embedding spaces."""
        return self._path

    def upsert(self, points: Sequence[IndexedSegment]) -> None:
        self._check_in_use()
        self._ask(lambda index: index.upsert(points))

    def delete(self, ids: Sequence[str]) -> None:
        self._ask(lambda index: index.delete(ids))

    def search_dense(
        self, vector: NDArray[np.float32], where: SegmentFilter, limit: int
    ) -> list[Hit]:
        return self._ask(lambda index: index.search_dense(vector, where, limit))

    def search_sparse(self, vector: SparseVector, where: SegmentFilter, limit: int) -> list[Hit]:
        return self._ask(lambda index: index.search_sparse(vector, where, limit))

    def search_many(
        self,
        queries: Sequence[NDArray[np.float32] | SparseVector],
        where: SegmentFilter,
        limit: int,
    ) -> list[list[Hit]]:
        return self._ask(lambda index: index.search_many(queries, where, limit))

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        return self._ask(lambda index: index.vectors(ids))

    def terms(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        return self._ask(lambda index: index.terms(ids))

    def set_revoked(self, stems: Sequence[str], on: bool, library: str | None = None) -> None:
        self._ask(lambda index: index.set_revoked(stems, on, library))

    def scroll(self, library: str | None = None, after: str = "") -> Iterator[IndexedSegment]:
        """The index is held until the last point, or the end of the iterator."""
        with self._using() as index:
            yield from index.scroll(library, after)

    def find_stem(self, stem: str) -> list[IndexedSegment]:
        return self._ask(lambda index: index.find_stem(stem))

    def count(self, library: str | None = None, *, exact: bool = True) -> int:
        return self._ask(lambda index: index.count(library, exact=exact))

    def copy_to(self, folder: Path) -> None:
        """Copy the index to a new folder, all as it stands at one moment.

        Raises:
            BackendError: another process serves the index.
        """
        with self._using() as index:
            if isinstance(index, SocketIndex):
                raise BackendError(f"the index at {self._path} is served by another process")
            index.copy_to(folder)

    def keep(self) -> bool:
        """Hold the index until :meth:`close`; False where another process serves it.

        Raises:
            BackendUnavailable, IndexMismatch: it cannot be opened.
        """
        with self._state, self._using() as index:
            self._is_kept = not isinstance(index, SocketIndex)
            return self._is_kept

    def release(self) -> None:
        """Let go of the index where nobody uses it; the next question opens it again."""
        with self._state:
            self._wait_for_others()
            if not self._users:
                self._let_go()

    @contextmanager
    def bulk(self, progress: Progress | None = None) -> Iterator[None]:
        """Put many points within the block; at its end :meth:`build` builds them in."""
        yield
        self.build(progress)

    def build(self, progress: Progress | None = None) -> None:
        """Build what searches need over what was added, while others search and write.

        It is built in another process, on a copy, which takes the index's place where nothing was
        written meanwhile. Where that happens again and again, or another process builds, nothing
        is done; a process that serves the index builds it in the background.

        Args:
            progress: is called with (0, segments) while it builds, and with (segments, segments).

        Raises:
            BackendError: the index cannot be opened. Where it cannot be built, a warning says so,
                and it is searched as before.
        """
        with self._using() as index:
            if isinstance(index, SocketIndex):
                index.build()
                return
        try:
            with building(self._path) as is_mine:
                for _ in range(_BUILDS if is_mine else 0):
                    if self._is_built(progress):
                        return
        except (RagAudioError, OSError) as error:
            _log.warning("searches take longer than they could: %s", error)

    def _is_built(self, progress: Progress | None) -> bool:
        """Build once; whether nothing is left to be done."""
        copy = self._path / BUILDING
        try:
            with self._using() as index:
                if isinstance(index, SocketIndex) or index.unbuilt < BUILD_FROM:
                    return True
                token, points = index.begin_build(copy), index.count()
            build_shard(copy, points, progress)
            with self._using() as index:
                return not isinstance(index, SocketIndex) and index.adopt(copy, token)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def close(self) -> None:
        """Let go for good; again does nothing."""
        with self._state:
            if self._is_closed:
                return
            self._wait_for_others()
            self._is_closed, here = True, self._here
            self._here = None
            try:
                if here is not None:
                    here.close()
            finally:
                self._let_go()

    def _check_in_use(self) -> None:
        """Refuse to write where nobody would find it.

        Raises:
            IndexMismatch: the index was switched to another space.
        """
        if self._beside:
            return
        current = space_of(folder_in_use(self._root))
        if current not in (None, self.space):
            raise IndexMismatch(
                f"the index at {self._root} was made for embedding space {current}, and "
                f"{self.space} is asked for",
                hint="use the embedder of the space in use",
            )

    def _wait_for_others(self) -> None:
        """Let questions of other threads end; those of this thread cannot while it is here."""
        me = threading.get_ident()
        self._state.wait_for(lambda: self._users.keys() <= {me}, _END_S)

    def _ask(self, question: Callable[[EdgeIndex | SocketIndex], _T]) -> _T:
        """One question; where the process that served the index has ended, it is put again."""
        with self._using() as index:
            try:
                return question(index)
            except BackendUnavailable:
                if not isinstance(index, SocketIndex):
                    raise
        with self._state:
            if self._there is index:
                self._there = None
                index.close()
        with self._using() as index:
            return question(index)

    @contextmanager
    def _using(self) -> Iterator[EdgeIndex | SocketIndex]:
        """The open index, which stays open within the block."""
        me = threading.get_ident()
        with self._state:
            self._users[me] += 1  # First: so nothing lets go of what is being opened.
        try:
            with self._state:
                index = self._open()
            yield index
        finally:
            with self._state:
                self._users[me] -= 1
                self._users += Counter()  # Drops threads that use it no more.
                self._asked_at = time.monotonic()
                if self._is_due():
                    self._let_go()
                self._state.notify_all()

    def _open(self) -> EdgeIndex | SocketIndex:
        """The index, opened if it is not; the state is locked by the caller."""
        opened = self._here or self._there
        if opened is not None:
            return opened
        if self._is_closed:
            raise BackendError(f"the index at {self._path} is closed")
        if not self._beside:
            self._path = folder_of(self._root, self.space)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackendUnavailable(
                f"the index at {self._path} cannot be made: {error}"
            ) from error
        opened = self._opened()
        self._asked_at = time.monotonic()
        threading.Thread(target=self._watch, name="index-idle", daemon=True).start()
        return opened

    def _opened(self) -> EdgeIndex | SocketIndex:
        from rag_audio.storage.qdrant_edge import EdgeIndex

        while True:
            lock = wait_for_index(self._path, partial(is_served, self._path))
            if lock is not None:
                began = time.monotonic()
                self._here = EdgeIndex(
                    self._path, space=self.space, dimension=self._dimension, lock=lock
                )
                self._opening_s = time.monotonic() - began
                return self._here
            try:
                self._opening_s = 0.0
                self._there = SocketIndex(self._path, space=self.space, dimension=self._dimension)
                return self._there
            except BackendUnavailable:
                if is_served(self._path):
                    raise

    def _watch(self) -> None:
        """Let go when it is time."""
        with self._state:
            while self._here is not None or self._there is not None:
                if self._is_due():
                    self._let_go()
                    return
                self._state.wait(None if self._users or self._is_kept else _LOOK_S)

    def _is_due(self) -> bool:
        """Whether nobody uses it, and it was idle for long or another process waits for it."""
        if self._users or self._is_kept:
            return False
        patience = max(self._idle_s, _WORTH * self._opening_s)
        idle = time.monotonic() - self._asked_at >= patience
        return idle or (self._here is not None and is_wanted(self._path))

    def _let_go(self) -> None:
        here, there = self._here, self._there
        self._here = self._there = None
        self._is_kept = False
        if there is not None:
            there.close()
        if here is not None:
            try:
                here.release()
            except BackendError as error:
                # Whatever was written is in its log on the disk: the next opening goes on there.
                _log.warning("%s", error.message)
        self._state.notify_all()

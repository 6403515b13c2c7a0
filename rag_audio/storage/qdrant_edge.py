"""The embedded index: Qdrant Edge, in this process, in a folder.

The folder holds ``lock`` (who has it), ``index.json`` (which embedding space) and ``shard/``. One
process at a time can have it open, for reading too.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    InvalidInput,
    RagAudioError,
)
from rag_audio.storage.edge_build import BUILD_LOCK, BUILDING
from rag_audio.storage.edge_spaces import DESCRIPTION, IN_USE, REMAKE, SPACES, described
from rag_audio.storage.files import atomic_write, sync
from rag_audio.storage.locks import LOCK, QUEUE, SOCKET, FileLock, wait_for_index
from rag_audio.storage.qdrant_common import (
    DENSE,
    EXACT_BELOW,
    FLOAT_FIELDS,
    FORMAT,
    KEYWORD_FIELDS,
    REVOKED,
    SHOWN,
    SPARSE,
    QdrantIndex,
    Requests,
)

# A copy of the embedded index's folder, made while nobody writes to it.

_PIECE = 2**20
_SPARE_BYTES = 32 * 2**20
_PASSING = (LOCK, QUEUE, SOCKET, SPACES, IN_USE, BUILDING, BUILD_LOCK)
"""What is of no copy: of the folder in use, and of other embedding spaces."""


def copy_folder(source: Path, target: Path) -> None:
    """Copy the index in ``source`` to ``target``; holes stay holes, since most of it is holes.

    Files that the shard's log prepares for later (``tmp-…``) are left out.

    Raises:
        InvalidInput: ``target`` is there already, or there is no room for it.
    """
    needed = sum(path.lstat().st_blocks * 512 for path in _files(source)) + _SPARE_BYTES
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise InvalidInput(
            f"a copy of the index needs {needed / 1e6:.0f} MB at {target.parent}, where "
            f"{free / 1e6:.0f} MB are free",
            hint="make room on the disk",
        )
    try:
        target.mkdir(mode=0o700)
    except FileExistsError as error:
        raise InvalidInput(f"{target} is there already") from error
    for path in _files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _copy(path, copy)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        top = path.relative_to(folder).parts[0]
        is_passing = top in _PASSING
        if path.name.startswith("tmp-") or is_passing or path.is_symlink():
            continue
        if path.is_file():
            yield path


def _copy(source: Path, target: Path) -> None:
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        reading, writing = old.fileno(), new.fileno()
        size, place = os.fstat(reading).st_size, 0
        os.truncate(writing, size)
        while place < size:
            try:
                place = os.lseek(reading, place, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return  # Nothing but a hole is left.
                raise
            end = os.lseek(reading, place, os.SEEK_HOLE)
            while place < end:
                piece = os.pread(reading, min(_PIECE, end - place), place)
                if not piece:
                    raise OSError(errno.EIO, "it was cut while it was copied", str(source))
                place += os.pwrite(writing, piece, place)


_REQUESTS = Requests(
    point=edge.Point,
    sparse=edge.SparseVector,
    filter=edge.Filter,
    condition=edge.FieldCondition,
    any_of=edge.MatchAny,
    range=edge.RangeFloat,
    # The binding reads True as the integer 1: a point is marked where the field is there at all.
    revoked=edge.Filter(must_not=[edge.IsEmptyCondition(REVOKED)]),
)
_BATCH = 512
_PAGE = 256
_NEW_MB, _WRITE_MB = 96, 32
"""Room that a new shard takes at most, and that a growing one maps at once."""
_WRITTEN, _BEFORE = "written", "shard.before"
"""In the index's folder: a token of the last changes, and the shard that a built one replaces."""
_RESCORED = edge.QuantizationSearchParams(rescore=True, oversampling=2.0)
"""Twice as many are found by their int8 form as are asked for, and ordered by the originals."""
_FLUSH_AFTER = 4096
"""Changes between two full flushes: what a restart after a crash replays at most."""


class EdgeIndex(QdrantIndex):
    """A :class:`rag_audio.domain.ports.StemIndex` in a folder of this machine.

    Fewer than 20,000 points are searched exactly. From there on an HNSW graph over int8 vectors is
    used (indexes that were made before have float32 ones), rescored by the originals, as soon as it
    was built: :meth:`build`, or :meth:`begin_build` and :meth:`adopt` while others search and
    write. What is not built in yet is compared one by one. BM25's IDF is the index's own (over all
    its points).

    Args:
        path: the index's folder; made when missing.
        space: id of the embedding space.
        dimension: D of the dense vectors.
        lock: that of the folder, where the caller has it already; it is freed with the index.

    Raises:
        BackendUnavailable: another process holds it, or it cannot be opened.
        IndexMismatch: it was made for another space or dimension.
    """

    def __init__(
        self, path: Path, *, space: str, dimension: int, lock: FileLock | None = None
    ) -> None:
        self.name = f"qdrant-edge:{path.name}"
        super().__init__(_REQUESTS, space, dimension)
        self._path = path
        self._shard: Any = None
        self._changes = 0
        self._is_stamped = False
        self._writing = threading.Lock()
        self._outdated = False
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackendUnavailable(f"the index at {path} cannot be made: {error}") from error
        self._lock = lock or FileLock(path / LOCK, f"the index at {path}")
        try:
            self._claim()
            self._shard = self._open()
            if self._outdated:
                self._write_anew()
                self._describe()
        except BaseException:
            self._lock.release()
            raise

    def _put(self, points: list[Any]) -> None:
        _check_room(self._path, _WRITE_MB)
        with self._writing, self._translated("be written") as shard:
            self._stamp()
            for start in range(0, len(points), _BATCH):
                batch = points[start : start + _BATCH]
                shard.update(edge.UpdateOperation.upsert_points(batch))
            self._make_durable(shard, len(points))

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; unknown ids are ignored."""
        if not ids:
            return
        with self._writing, self._translated("be written") as shard:
            self._stamp()
            shard.update(edge.UpdateOperation.delete_points(list(ids)))
            self._make_durable(shard, len(ids))

    def _mark(self, where: Any, on: bool) -> None:
        change = edge.UpdateOperation.delete_payload_by_filter(where, [REVOKED])
        if on:
            change = edge.UpdateOperation.set_payload_by_filter(where, {REVOKED: True})
        with self._writing, self._translated("be written") as shard:
            self._stamp()
            shard.update(change)
            self._make_durable(shard, 1)

    def _retrieve(
        self, ids: list[str], vectors: Sequence[str] = (), payload: Sequence[str] = ()
    ) -> Sequence[Any]:
        with self._translated("be read") as shard:
            records: list[Any] = shard.retrieve(ids, list(payload) or False, list(vectors) or False)
        return records

    def _count(self, where: Any, *, exact: bool) -> int:
        with self._translated("be read") as shard:
            return int(shard.count(edge.CountRequest(exact=exact, filter=where)))

    def copy_to(self, folder: Path) -> None:
        """Copy the index to a new folder, all as it stands at one moment; writers wait meanwhile.

        Raises:
            InvalidInput: the folder is there, or there is no room for it.
        """
        with self._writing, self._translated("be copied") as shard:
            shard.flush()
            self._changes = 0
            copy_folder(self._path, folder)

    @property
    def unbuilt(self) -> int:
        """Points that the graph lacks; 0 where there are too few points for one."""
        with self._translated("be read") as shard:
            info = shard.info()
        # Counted are dense vectors in the graph and all sparse ones, of which each point has one.
        lacking = max(0, 2 * int(info.points_count) - int(info.indexed_vectors_count))
        return lacking if info.points_count >= EXACT_BELOW else 0

    def build(self) -> None:
        """Build the graph here, while everybody waits; see :meth:`begin_build`."""
        with self._writing, self._translated("be built") as shard:
            shard.optimize()
            shard.flush()

    def begin_build(self, folder: Path) -> str:
        """Copy what a graph is to be built over to a new folder.

        Returns:
            What :meth:`adopt` takes to tell whether something was written since.

        Raises:
            InvalidInput: there is no room for the copy.
        """
        with self._writing, self._translated("be copied") as shard:
            shard.flush()
            self._changes = 0
            self._stamp()
            self._is_stamped = False
            if folder.exists():
                shutil.rmtree(folder)
            copy_folder(self._path / "shard", folder)
            return self._stamped()

    def adopt(self, folder: Path, token: str) -> bool:
        """Go on with the shard that was built in a folder; False: something was written since.

        Searches of other threads end in the shard in which they began.
        """
        shard_path, before = self._path / "shard", self._path / _BEFORE
        with self._writing, self._translated("be built"):
            if self._is_stamped or self._stamped() != token:
                return False
            built = edge.EdgeShard.load(str(folder))
            built.close()
            shard_path.replace(before)
            folder.replace(shard_path)
            sync(self._path)
            self._shard = edge.EdgeShard.load(str(shard_path))
            shutil.rmtree(before)
        return True

    def _stamp(self) -> None:
        """Note, before the first change since the last copy, that there is one."""
        if not self._is_stamped:
            with atomic_write(self._path / _WRITTEN) as draft:
                draft.write_text(secrets.token_hex(8), encoding="ascii")
            self._is_stamped = True

    def _stamped(self) -> str:
        return (self._path / _WRITTEN).read_text(encoding="ascii")

    def close(self) -> None:
        """Flush, and free the lock; again does nothing."""
        self.release()

    def release(self) -> None:
        """Free the lock, with everything on the disk; again does nothing."""
        if self._shard is None:
            return
        try:
            with self._writing, self._translated("be closed") as shard:
                if self._changes:
                    shard.flush()
                shard.close()
        finally:
            self._shard = None
            self._lock.release()

    def _make_durable(self, shard: Any, changes: int) -> None:
        """Bring the write-ahead log to the disk; now and then everything, which empties the log.

        The shard writes its log without syncing it: that survives the death of the process, not
        of the machine. ``flush`` syncs some hundred files, this only the log's two or three.
        """
        self._changes += changes
        if self._changes >= _FLUSH_AFTER:
            shard.flush()
            self._changes = 0
            return
        while not _sync_files(self._path / "shard" / "wal"):
            pass  # The shard renamed one of them meanwhile.

    def _query(
        self, asked: Sequence[tuple[Any, str, int]], where: Any, *, shown: bool
    ) -> list[list[Any]]:
        with self._translated("be searched") as shard:
            is_exact = shard.info().points_count < EXACT_BELOW
            params = edge.SearchParams(exact=is_exact, quantization=_RESCORED)
            requests = [
                edge.QueryRequest(
                    limit=limit,
                    query=edge.Query.Nearest(vector, using=using),
                    filter=where,
                    with_payload=SHOWN if shown else False,
                    params=params,
                )
                for vector, using, limit in asked
            ]
            return [list(found) for found in shard.query_batch(edge.QueryBatchRequest(requests))]

    def _page(self, where: Any, offset: Any) -> tuple[Sequence[Any], Any]:
        request = edge.ScrollRequest(
            offset=offset, limit=_PAGE, filter=where, with_payload=True, with_vector=True
        )
        with self._translated("be read") as shard:
            records, following = shard.scroll(request)
        return records, following

    def _claim(self) -> None:
        """Write down the space of a new index; compare it for an old one."""
        found = described(self._path)
        if not found:
            self._describe()
            return
        made_for = (found["format"], found["space"], found["dimension"])
        hint = f"use the embedder that made it, or {REMAKE}"
        self._outdated = self._is_outdated(made_for, f"the index at {self._path}", hint)

    def _describe(self) -> None:
        """Write down what the index holds."""
        what = {"format": FORMAT, "space": self.space, "dimension": self._dimension}
        with atomic_write(self._path / DESCRIPTION) as draft:
            draft.write_text(json.dumps(what), encoding="utf-8")

    def _open(self) -> Any:
        """Load the shard; a new one appears under its name only when it is complete."""
        shard_path, before = self._path / "shard", self._path / _BEFORE
        try:
            if before.exists():  # A process ended between two steps of adopt.
                if shard_path.exists():
                    shutil.rmtree(before)
                else:
                    before.replace(shard_path)
            if not shard_path.exists():
                _check_room(self._path, _NEW_MB)
                new = self._path / "shard.new"
                if new.exists():
                    shutil.rmtree(new)
                new.mkdir()
                shard = edge.EdgeShard.create(str(new), _config(self._dimension))
                _add_indexes(shard)
                shard.flush()
                shard.close()
                new.replace(shard_path)
            shard = edge.EdgeShard.load(str(shard_path))
            _add_indexes(shard)
            return shard
        except Exception as error:
            raise BackendUnavailable(
                f"the index at {self._path} cannot be opened: {_one_line(error)}",
                hint=f"if this stays, {REMAKE}",
            ) from error

    @contextmanager
    def _translated(self, done: str) -> Iterator[Any]:
        """The open shard; its errors (plain ``Exception``) become ours, named once here."""
        if self._shard is None:
            raise BackendError(f"the index at {self._path} is closed")
        try:
            yield self._shard
        except RagAudioError:
            raise
        except Exception as error:
            raise BackendError(
                f"the index at {self._path} cannot {done}: {_one_line(error)}"
            ) from error


def _sync_files(folder: Path) -> bool:
    """Bring a folder and its files to the disk; False where one of them was renamed meanwhile."""
    for path in (*sorted(folder.iterdir()), folder):
        try:
            sync(path)
        except FileNotFoundError:
            return False
    return True


def _check_room(path: Path, needed_mb: int) -> None:
    """The shard's files are mapped into memory: a full disk would kill the process, not raise.

    Raises:
        BackendUnavailable: there is less room than that.
    """
    free_mb = shutil.disk_usage(path).free / 1e6
    if free_mb < needed_mb:
        raise BackendUnavailable(
            f"the disk is nearly full: {free_mb:.0f} MB are free at {path}, the index needs "
            f"{needed_mb} MB",
            hint="make room and run it again: what is written stays",
        )


def _config(dimension: int) -> Any:
    threshold_kb = EXACT_BELOW * dimension * 4 // 1024
    return edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=threshold_kb),
        optimizers=edge.EdgeOptimizersConfig(
            default_segment_number=2, indexing_threshold=threshold_kb
        ),
        quantization_config=edge.ScalarQuantizationConfig(
            type=edge.ScalarType.Int8, always_ram=True
        ),
    )


def _indexes() -> dict[str, Any]:
    """Indexes without extra HNSW links: a filter that leaves few points is searched exactly, and
    one that leaves many needs no links of its own. They would take most of :meth:`build`."""
    keyword = edge.KeywordIndexParams(enable_hnsw=False)
    real = edge.FloatIndexParams(enable_hnsw=False)
    flag = edge.BoolIndexParams(enable_hnsw=False)
    tenant = edge.KeywordIndexParams(enable_hnsw=False, is_tenant=True)
    return {
        **{name: tenant if name == "library" else keyword for name in KEYWORD_FIELDS},
        **dict.fromkeys(FLOAT_FIELDS, real),
        REVOKED: flag,
    }


def _add_indexes(shard: Any) -> None:
    """Make the payload indexes that are missing; that of an earlier release has fewer."""
    there = shard.info().payload_schema
    for field, schema in _indexes().items():
        if field not in there:
            shard.update(edge.UpdateOperation.create_field_index(field, schema))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def remove_index(path: Path, is_served: Callable[[], bool] = lambda: False) -> None:
    """Remove the embedded index at ``path``, whatever space it was made in; none is fine.

    Args:
        is_served: whether the process that holds it goes on doing so; others are waited for.

    Raises:
        BackendUnavailable: another process holds it.
    """
    if not path.is_dir():
        return
    # Where it is served, one more try says who does that.
    lock = wait_for_index(path, is_served) or FileLock(path / LOCK, f"the index at {path}")
    try:
        for part in path.iterdir():
            if part.name in (LOCK, QUEUE, SPACES, IN_USE, BUILD_LOCK):
                continue
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()
    finally:
        lock.release()

"""Blob stores that fsspec knows: S3 and what speaks as it does, and others that keep objects.

Who may read them is none of our settings: the AWS variables, profile or role of the machine say
so, and ``AWS_ENDPOINT_URL`` names a server that is not Amazon's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from rag_audio.errors import ConfigError, MissingExtra, RagAudioError
from rag_audio.storage.blobs import (
    PAGE,
    BlobExists,
    BlobInfo,
    BlobStore,
    FolderBlobs,
    as_file,
    missing,
    require_key,
    require_readable,
    unavailable,
)
from rag_audio.storage.local_copies import LocalCopies

READ_AHEAD = 4 << 20
"""Bytes of one request for a part of a blob."""
_S3 = ("s3", "s3a")
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def open_store(place: str, copies: Path, copies_bytes: int) -> BlobStore:
    """The store in a folder, or at a URL such as ``s3://bucket/prefix``; nothing is asked yet.

    Args:
        copies: a folder for local copies of blobs of a URL. copies_bytes: at most, about.

    Raises:
        ConfigError: it is no such URL, or a package for it is missing.
    """
    if "://" not in place:
        return FolderBlobs(Path(place))
    return open_url(place, copies, copies_bytes)


def open_url(place: str, copies: Path, copies_bytes: int, hint: str = "") -> FsspecBlobs:
    """As :func:`open_store`, of a URL.

    Args:
        hint: what would help where the store cannot be used.
    """
    scheme, _, rest = place.partition("://")
    if "@" in rest.partition("/")[0]:
        raise ConfigError(
            f"a URL of files ({scheme}://…) holds a user or a secret",
            hint="leave them to AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a profile or a role",
        )
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(
            place, use_listings_cache=False, skip_instance_cache=True
        )
    except ImportError as error:
        if scheme in _S3:
            raise MissingExtra("s3fs", "s3") from error
        raise ConfigError(f"{place} cannot be used: {error}") from error
    except ValueError as error:
        raise ConfigError(
            f"{place} is no place for files: {error}",
            hint="a folder, or a URL that fsspec knows, such as s3://bucket/prefix",
        ) from error
    if not root.strip("/"):
        raise ConfigError(f"{place} names no bucket", hint="such as s3://bucket/prefix")
    room = LocalCopies(copies, copies_bytes)
    return FsspecBlobs(system, root.rstrip("/"), place, room, hint)


class FsspecBlobs:
    """Objects below a root of an fsspec file system.

    Args:
        system: an ``fsspec.AbstractFileSystem`` without a cache of listings.
        root: bucket and prefix.
        place: the URL.
        hint: see :func:`open_url`.
    """

    folder: Path | None = None

    def __init__(
        self, system: Any, root: str, place: str, copies: LocalCopies, hint: str = ""
    ) -> None:
        self._system, self._root, self.place = system, root, place
        self._copies, self._hint, self._is_there = copies, hint, False
        self._is_s3 = hasattr(system, "call_s3")
        self.is_paged = self._is_s3

    def put(self, key: str, source: Path | bytes, *, new: bool = False) -> None:
        path, mode = self._path(key), "create" if new else "overwrite"
        if isinstance(source, Path):
            require_readable(source)
        self._require_bucket()
        try:
            if isinstance(source, bytes):
                self._system.pipe_file(path, source, mode=mode)
            else:
                self._system.put_file(str(source), path, mode=mode)
        except FileExistsError as error:
            raise BlobExists(f"{self.place} holds {key} already") from error
        except Exception as error:
            raise self._unavailable(error) from error

    @contextmanager
    def writing(self, key: str, *, new: bool = False) -> Iterator[Path]:
        require_key(key)
        with self._copies.work() as folder:
            draft = folder / Path(key).name
            draft.touch(0o600)
            yield draft
            self.put(key, draft, new=new)

    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        path, size = self._path(key), self._required(key).size

        def read(at: int, count: int) -> bytes:
            with self._translated(key):
                piece: bytes = self._system.cat_file(path, start=at, end=min(at + count, size))
                return piece

        return as_file(read, size, start, length, buffer=READ_AHEAD)

    def stat(self, key: str) -> BlobInfo | None:
        path = self._path(key)
        try:
            found = self._system.info(path)
        except _ABSENT:
            self._require_bucket()
            return None
        except Exception as error:
            raise self._unavailable(error) from error
        return None if found["type"] == "directory" else self._info(key, found)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with self.copied(key) as (path, _):
            yield path

    @contextmanager
    def copied(self, key: str) -> Iterator[tuple[Path, BlobInfo]]:
        """As :meth:`local`, with what is known of the blob that was copied."""
        known = self._required(key)

        def fetch(target: Path) -> str:
            nonlocal known
            while True:
                before = known
                with self._translated(key):
                    self._system.get_file(self._path(key), str(target))
                known = self._required(key)
                if known.version == before.version:
                    return self._copy_id(known)

        with self._copies.lease(self._copy_id(known), Path(key).name, fetch) as path:
            yield path, known

    def beginning(self, info: BlobInfo, count: int) -> bytes:
        """The first bytes of a blob as it was listed, kept as copies are.

        Raises:
            BlobMissing: there is none any more, or another one.
        """

        def fetch(target: Path) -> str:
            with self._translated(info.key):
                end = min(count, info.size)
                target.write_bytes(self._system.cat_file(self._path(info.key), start=0, end=end))
            if self._required(info.key).version != info.version:
                raise missing(info.key, self.place)
            return part

        if not info.size:
            return b""
        part = self._copy_id(info, f"first {count}")
        with self._copies.lease(part, Path(info.key).name, fetch) as path:
            return path.read_bytes()

    def _copy_id(self, info: BlobInfo, part: str = "") -> str:
        told = (self.place, info.key, info.version, *([part] if part else []))
        return sha256("\0".join(told).encode()).hexdigest()[:40]

    def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[BlobInfo]:
        try:
            if self._is_s3:
                return self._s3_page(prefix, after, limit)
            # Other file systems list whole folders.
            found = self._system.find(self._root, detail=True)
        except FileNotFoundError as error:
            raise self._no_bucket() from error
        except Exception as error:
            raise self._unavailable(error) from error
        infos = {name.removeprefix(f"{self._root}/"): info for name, info in found.items()}
        keys = sorted(key for key in infos if key.startswith(prefix) and key > after)[:limit]
        return [self._info(key, infos[key]) for key in keys]

    def _s3_page(self, prefix: str, after: str, limit: int) -> list[BlobInfo]:
        """A page as S3 itself makes it: one request for up to 1000 keys."""
        bucket, within, _ = self._system.split_path(self._root)
        base = f"{within}/" if within else ""
        asked = {"Bucket": bucket, "Prefix": base + prefix}
        last = base + after if after else ""
        found: list[BlobInfo] = []
        while len(found) < limit:
            start = {"StartAfter": last} if last else {}
            most = min(PAGE, limit - len(found))
            page = self._system.call_s3("list_objects_v2", **asked, **start, MaxKeys=most)
            for one in page.get("Contents", ()):
                last = one["Key"]
                if not last.endswith("/"):  # Such objects stand for empty folders.
                    found.append(self._info(last.removeprefix(base), {**one, "size": one["Size"]}))
            if not page.get("IsTruncated"):
                break
        return found

    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(*_ABSENT):
            try:
                self._system.rm_file(path)
            except _ABSENT:
                raise
            except Exception as error:
                raise self._unavailable(error) from error

    def copy(self, key: str, target: str) -> None:
        self._required(key)  # Some systems copy folders, too.
        with self._translated(key):
            self._system.cp_file(self._path(key), self._path(target))

    def _path(self, key: str) -> str:
        return f"{self._root}/{require_key(key)}"

    def _required(self, key: str) -> BlobInfo:
        found = self.stat(key)
        if found is None:
            raise missing(key, self.place)
        return found

    def _info(self, key: str, found: Mapping[str, Any]) -> BlobInfo:
        tag = found.get("ETag") or found.get("etag") or found.get("generation")
        size, at = int(found["size"]), _modified(found)
        version = str(tag).strip('"') if tag else f"{at!r}-{size}"
        return BlobInfo(key, size, version, at)

    def _require_bucket(self) -> None:
        """Ask once whether the bucket is there, which a missing key does not tell.

        Raises:
            ConfigError: it is not.
        """
        if not self._is_there and self._is_s3:
            try:
                self._s3_page("", "", 1)
            except FileNotFoundError as error:
                raise self._no_bucket() from error
            except Exception as error:
                raise self._unavailable(error) from error
        self._is_there = True

    def _no_bucket(self) -> ConfigError:
        return ConfigError(f"there is no bucket of {self.place}", hint="make it, or correct it")

    def _unavailable(self, error: Exception) -> RagAudioError:
        if isinstance(error, RagAudioError):
            return error
        return unavailable(self.place, str(error) or type(error).__name__, self._hint)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except _ABSENT as error:
            raise missing(key, self.place) from error
        except Exception as error:
            raise self._unavailable(error) from error


def _modified(found: Mapping[str, Any]) -> float:
    for name in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        at = found.get(name)
        if isinstance(at, datetime):
            return at.timestamp()
        if isinstance(at, int | float):
            return float(at)
        if isinstance(at, str):
            with suppress(ValueError):
                return datetime.fromisoformat(at).timestamp()
    return 0.0

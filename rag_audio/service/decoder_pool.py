"""Uploads are opened in a process of their own, with little memory and little time.

What a decoder does with a hostile file then ends that process and not the server. It is opened
nowhere else: the service works with what :mod:`.decoder_child` wrote of it.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_audio.audio import ffmpeg
from rag_audio.audio.child_process import Child, ChildPool
from rag_audio.audio.headers import SCORE, read_head, suffix_of
from rag_audio.audio.media_kinds import MEDIA_ENDINGS, media_kind
from rag_audio.audio.reading import FOLDED_CHANNELS, FOLDED_RATE, WHOLE_SAMPLES
from rag_audio.domain.codec import encode
from rag_audio.errors import BackendUnavailable, OutputRefused, UnreadableFile
from rag_audio.provenance.credentials.signers import OpenedSigning, SignBytes, SignedFile
from rag_audio.service.decoder_child import CRASHED, SIMPLER
from rag_audio.service.fair_queueing import Turns
from rag_audio.service.settings import ServeSettings
from rag_audio.storage.locks import lock_file, lock_if_free

# The files that uploads are decoded to: a cache with a bound, on a disk that has to keep room.
#
# What is in use is leased by a lock on its document, which every process of the home respects;
# what is being written has its room promised to it beforehand.

LEAST_BYTES = 1 << 20
"""With less room than this nothing is decoded."""
_SOUND, _DOCUMENT, _DRAFT = ".f32", ".json", ".tmp"
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Files:
    """Of one upload: its sound as interleaved float32, little endian, and a JSON document."""

    sound: Path
    document: Path

    @property
    def bytes(self) -> int:
        return _stat(self.sound)[0] + _stat(self.document)[0]


@dataclass(frozen=True)
class Writing(Files):
    """Files that are being written. most_bytes: that they may take, both together."""

    most_bytes: int


class DecodedFiles:
    """Keeps the files of uploads by their ids.

    Args:
        folder: on the disk whose room counts.
        most_bytes: that are kept, those that are being written included. What was not used longest
            goes first, save what is in use.
        spare_bytes: of the disk that are left free.
        patience_s: who finds too little room waits so long for others that are writing.
    """

    def __init__(
        self, folder: Path, most_bytes: int, spare_bytes: int, patience_s: float = 30.0
    ) -> None:
        self._folder, self._most, self._spare = folder, most_bytes, spare_bytes
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._writing: list[Writing] = []

    def of(self, id_: str) -> Files:
        """The files of an upload, there or not."""
        return Files(self._folder / f"{id_}{_SOUND}", self._folder / f"{id_}{_DOCUMENT}")

    @contextmanager
    def lease(self, id_: str) -> Iterator[bool]:
        """Keep what there is of an upload during the block; False: there is nothing to keep."""
        files = self.of(id_)
        try:
            handle = os.open(files.document, _OPEN)
        except FileNotFoundError:
            yield False
            return
        try:
            lock_file(handle, shared=True)
            with suppress(FileNotFoundError):
                os.utime(files.document)
            yield _is_at(handle, files.document) and files.sound.exists()
        finally:
            os.close(handle)

    @contextmanager
    def writing(self, id_: str, wanted: int, in_use: ExitStack | None = None) -> Iterator[Writing]:
        """New files for an upload, which are kept at the end of the block if nothing was raised.

        Args:
            wanted: bytes that they may take; fewer are promised where the disk has less room.
            in_use: is given a lease of the new files, so that they do not go at once where all else
                is in use.

        Raises:
            OSError: ``ENOSPC``: the disk has no room for them.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = secrets.token_hex(4)
        sound, document = (
            self._folder / f".{id_}{kind}.{part}{_DRAFT}" for kind in (_SOUND, _DOCUMENT)
        )
        made = self._promised(sound, document, wanted)
        try:
            for draft in (sound, document):
                draft.touch(mode=0o600)
            yield made
            with self._changed:
                files = self.of(id_)
                sound.replace(files.sound)
                document.replace(files.document)
                if in_use is not None:
                    in_use.enter_context(self.lease(id_))
        finally:
            for draft in (sound, document):
                draft.unlink(missing_ok=True)
            with self._changed:
                self._writing.remove(made)
                self._evict(self._most - self._promises())
                self._changed.notify_all()

    def require_room(self, size: int) -> None:
        """Raise as :meth:`writing` where the disk has no room for so many bytes of another file."""
        with self._changed:
            if self._room(size) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def drop(self, id_: str) -> None:
        """Forget what was made of an upload."""
        files = self.of(id_)
        files.document.unlink(missing_ok=True)
        files.sound.unlink(missing_ok=True)

    def _promised(self, sound: Path, document: Path, wanted: int) -> Writing:
        until = time.monotonic() + self._patience_s
        with self._changed:
            while True:
                room = min(wanted, self._room(wanted))
                left_s = until - time.monotonic()
                if room == wanted or not self._writing or left_s <= 0:
                    break
                self._changed.wait(left_s)
            if room < min(wanted, LEAST_BYTES):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            made = Writing(sound, document, room)
            self._writing.append(made)
            self._evict(self._most - self._promises())
            return made

    def _promises(self) -> int:
        return sum(one.most_bytes for one in self._writing)

    def _room(self, wanted: int) -> int:
        """Bytes of the disk that nobody was promised; what is kept makes way where it has to."""
        pending = sum(max(0, one.most_bytes - one.bytes) for one in self._writing)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        room = shutil.disk_usage(self._folder).free - self._spare - pending
        return room if room >= wanted else room + self._free(wanted - room)

    def _evict(self, most: int) -> None:
        """Let go of what is more than ``most`` bytes."""
        self._free(sum(size for _, size, _ in self._kept()) - most)

    def _free(self, wanted: int) -> int:
        """Remove what was not used longest until so many bytes went; how many that were."""
        freed = 0
        for _, size, id_ in sorted(self._kept()) if wanted > 0 else ():
            if freed >= wanted:
                break
            document = self.of(id_).document
            with lock_if_free(document) as is_free:  # or somebody uses it
                if is_free or not document.exists():
                    self.drop(id_)
                    freed += size
        return freed

    def _kept(self) -> list[tuple[float, int, str]]:
        """When each upload's files were used, their bytes, and its id."""
        ids = {file.stem for file in self._folder.glob("[0-9a-f]*.*")}
        found = []
        for id_ in ids:
            files = self.of(id_)
            used = max(_stat(files.sound)[1], _stat(files.document)[1])
            found.append((used, files.bytes, id_))
        return found


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _stat(file: Path) -> tuple[int, float]:
    """Bytes of a file, and when it was used; 0 where it is gone."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0, 0.0
    return found.st_size, found.st_mtime


_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT")
_SIGNATURES = 12
_MANIFESTS_BYTES = 64 << 20
_EXPANSION = 64
_UNSIGNED = "set RAG_AUDIO_SIGNING=off to deliver outputs unsigned; their records will say so"
_UPLOADED = frozenset(
    (".wav", ".w64", ".flac", ".ogg", ".mp3", ".aiff", ".au", SCORE, *MEDIA_ENDINGS)
)


@dataclass(frozen=True)
class Decoded:
    """What an upload turned out to be: ``audio`` or ``midi``, its length and its file's ending."""

    kind: str
    duration_s: float
    suffix: str


def kind_of(file: Path) -> str:
    """The ending that fits a file, by what it holds; MP3 and AAC may also begin with a frame.

    Raises:
        UnreadableFile: it is nothing that may be uploaded.
    """
    head = read_head(file)
    suffix = suffix_of(head)
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # The two bits of the layer: none of MPEG audio's three is AAC in ADTS.
        suffix = ".mp3" if head[1] & 0x06 else ".aac"
    elif len(head) > 1 and head[0] == 0x56 and head[1] & 0xE0 == 0xE0:
        suffix = ".aac"  # in LOAS
    elif suffix is None and (kind := media_kind(file)) is not None:
        suffix = f".{kind.ending}"
    if suffix is None or suffix not in _UPLOADED:
        raise UnreadableFile(
            "this is not a sound or score that can be read",
            hint="WAV, FLAC, OGG, MP3, AIFF, m4a, other sound or video, or standard MIDI",
        )
    return suffix


class UploadDecoders:
    """Processes that decode; each has one file at a time.

    Args:
        count: at most so many.

    Attributes:
        turns: whoever has an upload decoded holds one; owners take turns.
    """

    def __init__(self, settings: ServeSettings, count: int = 2) -> None:
        self._settings = settings
        self.turns = Turns(count)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= ffmpeg.environment()
        self._processes = ChildPool(
            count, lambda: Child("rag_audio.service.decoder_child", environment)
        )

    def most_bytes(self, file: Path) -> int:
        """Bytes that the samples of a file take at most once they are decoded.

        What is no larger than :data:`.WHOLE_SAMPLES` keeps its rate and channels,
        anything else is stereo at 48 kHz. Whatever the encoding, a byte of WAV or AIFF holds no
        more than :data:`_EXPANSION` bytes of samples; other formats have no such bound.
        """
        if file.suffix == SCORE:
            return 0
        settings = self._settings
        longest_s = settings.max_upload_s + 1
        folded = round(longest_s * FOLDED_RATE) * FOLDED_CHANNELS
        most = 4 * min(max(WHOLE_SAMPLES, folded), settings.max_upload_samples)
        if file.suffix in (".wav", ".aiff"):
            most = min(most, _EXPANSION * file.stat().st_size)
        return most

    def decode(self, file: Path, into: Writing, anchors: str = "") -> Decoded:
        """Decode a file to its end and read its content credentials, elsewhere.

        Args:
            into: files that are there and are written over.
            anchors: PEM of the certificates whose signers are trusted.

        Raises:
            UnreadableFile: it is no sound or score, broken, too long, or took too much to decode.
            BackendUnavailable: too many are being decoded.
            OSError: what is made of it cannot be written.
        """
        suffix = kind_of(file)
        kind, settings = "midi" if suffix == SCORE else "audio", self._settings
        asked = {
            "kind": kind,
            "file": str(file),
            "sound": str(into.sound),
            "document": str(into.document),
            "anchors": anchors,
            "seconds": settings.decode_s,
            "megabytes": settings.decode_mb,
            "longest_s": settings.max_upload_s,
            "samples": settings.max_upload_samples,
            "most_bytes": into.most_bytes,
        }
        said = self._ask(asked)
        if "refused" in said:
            raise UnreadableFile(str(said["refused"]), hint=str(said.get("hint", "")))
        if "errno" in said:
            number = int(said["errno"] or errno.EIO)
            raise OSError(number, os.strerror(number))
        return Decoded(kind, float(said["duration_s"]), suffix)

    def sign(self, task: OpenedSigning, sign_bytes: SignBytes) -> SignedFile:
        """Sign a file that was made from another one, elsewhere.

        Raises:
            OutputRefused: it cannot be signed.
            BackendUnavailable: too many uploads are being decoded.
        """
        settings = self._settings
        with tempfile.TemporaryDirectory() as folder:
            manifest = Path(folder, "manifest")
            asked = {
                "kind": "sign",
                "task": encode(task),
                "document": str(manifest),
                "seconds": settings.decode_s,
                "megabytes": settings.decode_mb,
                "most_bytes": task.file.stat().st_size + _MANIFESTS_BYTES,
                "connects": task.timestamp_url is not None,
            }
            failed: list[Exception] = []

            def signature(data: bytes) -> bytes:
                try:
                    return sign_bytes(data)
                except Exception as error:  # noqa: BLE001 - it is raised below
                    failed.append(error)
                    return b""

            said = self._ask(asked, signature)
            if failed or "label" not in said:
                raise _unsigned(task, said, failed)
            stored = manifest.read_bytes()
        signed_at = said["signed_at"]
        moment = None if signed_at is None else str(signed_at)
        return SignedFile(stored, str(said["label"]), moment, str(said["parent"]))

    def close(self) -> None:
        """End the processes that are idle; those that work end with this process's pipes."""
        self._processes.end_idle()

    def _ask(self, asked: dict[str, Any], sign: SignBytes | None = None) -> dict[str, Any]:
        limit_s = self._settings.decode_s
        try:
            with self._processes.lease(2 * limit_s) as process:
                return _answer(process, asked, limit_s + 10.0, sign)
        except TimeoutError:
            said = "too many uploads are being decoded"
            raise BackendUnavailable(said, public=said) from None
        except OSError as error:
            raise BackendUnavailable(f"no decoder can be started: {error}") from error


def _unsigned(task: OpenedSigning, said: dict[str, Any], failed: list[Exception]) -> OutputRefused:
    """Why a file could not be signed."""
    hint = str(said.get("hint", "")) or _UNSIGNED
    if said.get("whole") and not failed:
        return OutputRefused(str(said["refused"]), hint=hint)
    why = failed[0] if failed else said.get("refused") or os.strerror(said.get("errno", errno.EIO))
    return OutputRefused(f"output {task.output} could not be signed: {why}", hint=hint)


def _answer(
    process: Child, asked: dict[str, Any], seconds: float, sign: SignBytes | None
) -> dict[str, Any]:
    """What becomes of one file; a process that does not answer in time is ended.

    Args:
        sign: is asked for signatures, a few times at most.
    """
    try:
        with process.pipes(seconds) as (to, source):
            to.write(json.dumps(asked).encode() + b"\n")
            to.flush()
            for _ in range(_SIGNATURES if sign is not None else 1):
                line = source.readline()
                if not line:
                    break
                said: dict[str, Any] = json.loads(line)
                if sign is None or "sign" not in said:
                    return said
                signature = b64encode(sign(b64decode(said["sign"]))).decode()
                to.write(json.dumps({"signature": signature}).encode() + b"\n")
                to.flush()
            process.kill()
            return {"refused": CRASHED, "hint": SIMPLER}
    except BaseException:
        process.kill()
        raise

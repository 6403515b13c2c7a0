"""What uploads hold, in a form of our own; the uploads themselves are never opened here.

A process with limits opened each of them (:mod:`.decoder_child`) and wrote two files:
bare samples, and a JSON document with the notes, the content credentials and all else. They are a
cache: what is not there, as after an update or a restore, is made anew when it is needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.dsp import MAX_CHANNELS
from rag_audio.audio.headers import SCORE
from rag_audio.audio.metadata_documents import metadata_from_json
from rag_audio.audio.reading import FOLDED_CHANNELS, FOLDED_RATE, MAX_DURATION_S, IdentifiedAudio
from rag_audio.audio.scores import NoteScore, score_from_json
from rag_audio.audio.sections import SoundInSections
from rag_audio.domain import Audio
from rag_audio.domain.codec import read
from rag_audio.domain.signing import Credentials
from rag_audio.errors import BackendUnavailable, UnreadableFile
from rag_audio.home import FileReader, Home
from rag_audio.service.decoder_child import MOST_DOCUMENT
from rag_audio.service.decoder_pool import Decoded, DecodedFiles, UploadDecoders
from rag_audio.service.fair_queueing import SoundUse
from rag_audio.service.folders import Folders
from rag_audio.service.settings import ServeSettings, read_serve_settings

DECODERS = 2
"""Uploads that a process has decoded at once."""
FORM = 4
"""Of the document; one of another form is made anew."""
_DOCUMENT_WEIGHT = 16
"""Notes take this many times the bytes of the document that holds them, divided by what a use of
sound takes of the bytes of its samples."""
_SHORT = 1 << 20
_TRIES = 3
_FRAMES = 1 << 16
_Made = TypeVar("_Made")
_WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


def shielded(home: Home, settings: ServeSettings | None = None) -> CanonicalUploads:
    """What opens uploads in the place of a home's own reader, from now on."""
    known = home.reader
    if isinstance(known, CanonicalUploads):
        return known
    chosen = settings or read_serve_settings()
    folders = Folders(home.folder, home.files)
    kept = DecodedFiles(
        folders.decoded, chosen.decoded_mb << 20, chosen.free_mb << 20, chosen.decode_s
    )
    decoders, use = UploadDecoders(chosen, DECODERS), SoundUse(chosen.sound_mb << 20)
    made = CanonicalUploads(folders, decoders, lambda: home.anchors, kept, use)
    home.reader = made
    return made


class CanonicalUploads(FileReader):
    """Never opens an upload itself; other files are our own.

    Args:
        anchors: PEM of the certificates whose signers are trusted now.

    Attributes:
        kept: the files that uploads were decoded to.
        use: what everybody holds who works with an upload's sound or notes, for :meth:`size`.
    """

    def __init__(
        self,
        folders: Folders,
        decoders: UploadDecoders,
        anchors: Callable[[], str],
        kept: DecodedFiles,
        use: SoundUse,
    ) -> None:
        super().__init__()
        self.decoders, self.kept, self.use = decoders, kept, use
        self._folders, self._anchors = folders, anchors
        # Manifests of uploads, and of what was made from them, are parsed in the limits too.
        self.signs_elsewhere = decoders.sign

    def make(self, path: Path, in_use: ExitStack | None = None) -> Decoded:
        """Have an upload opened, and keep what was made of it.

        Args:
            in_use: keeps it as :meth:`lease` does; None: it goes when others need its place.

        Raises:
            UnreadableFile, BackendUnavailable, OSError: as :meth:`.Decoders.decode`; it is gone.
        """
        _require_there(path)
        anchors = self._anchors()
        wanted = self.decoders.most_bytes(path) + MOST_DOCUMENT
        with self.kept.writing(self._id(path), wanted, in_use) as drafts:
            decoded = self.decoders.decode(path, drafts, anchors)
            document = _read(drafts.document)
            document |= {"form": FORM, "anchors": _hash(anchors)}
            drafts.document.write_text(json.dumps(document), encoding="utf-8")
        return decoded

    def lease(self, path: Path) -> AbstractContextManager[bool]:
        """Keep what was made of an upload during the block; False: it has to be made first."""
        return self.kept.lease(self._id(path))

    @contextmanager
    def hold_in_thread(
        self, owner: str, files: Sequence[Path], stop_asked: Callable[[], bool], times: int = 1
    ) -> Iterator[bool]:
        """Work with uploads during the block, in a thread that waits for its turn; False: it was
        asked to stop before that came. times: how often their size counts.

        Raises:
            UnreadableFile, BackendUnavailable: what has to be decoded anew cannot be.
        """
        if not files:
            yield True
            return
        with ExitStack() as held:
            size = times * sum(self.size(file) for file in files)
            if not held.enter_context(self.use.hold_in_thread(owner, size, stop_asked)):
                yield False
                return
            for file in files:
                if not held.enter_context(self.lease(file)):
                    with self.decoders.turns.hold_in_thread(owner, 1, stop_asked) as mine:
                        if not mine:
                            yield False
                            return
                        self._make_anew(file, held)
            yield True

    def size(self, path: Path) -> int:
        """Bytes of 32-bit samples that whoever works with an upload holds in memory: its own, or
        those that it has as stereo at 48 kHz, which models, mark and fingerprint convert to. Notes
        count by the document that holds them. Of what is not decoded yet, the most there can be.

        Raises:
            UnreadableFile: it is gone.
        """
        files = self.kept.of(self._id(path))
        try:
            notes = _DOCUMENT_WEIGHT * files.document.stat().st_size
            if files.document.stat().st_size > _SHORT or path.suffix == SCORE:
                return notes + files.sound.stat().st_size
            said = _read(files.document)
            if said["form"] != FORM:
                raise ValueError("it is of another version")
            channels = min(FOLDED_CHANNELS, int(said["channels"]))
            usual = 4 * channels * round(float(said["duration_s"]) * FOLDED_RATE)
            return notes + max(usual, files.sound.stat().st_size)
        except (FileNotFoundError, *_WRONG):
            _require_there(path)
            return max(self.decoders.most_bytes(path), _DOCUMENT_WEIGHT * path.stat().st_size)

    def hear(
        self,
        path: Path,
        *,
        max_duration_s: float | None = MAX_DURATION_S,
        warns: bool = True,
    ) -> IdentifiedAudio:
        if self._folders.upload_in(path) is None:
            return super().hear(path, max_duration_s=max_duration_s, warns=warns)
        return self._used(path, self._heard)

    def notices(self, path: Path) -> tuple[str, ...]:
        """What was cut or odd in an upload, one line each.

        Raises:
            UnreadableFile, BackendUnavailable: it has to be decoded anew, and cannot be.
        """
        return self._used(path, _notices)

    def sections(self, path: Path) -> SoundInSections | None:
        """As of a file, save that uploads are never so long."""
        return super().sections(path) if self._folders.upload_in(path) is None else None

    def score(self, path: Path, *, warns: bool = True) -> NoteScore:
        if self._folders.upload_in(path) is None:
            return super().score(path, warns=warns)
        return self._used(path, _score)

    def credentials(self, path: Path, anchors: str) -> Credentials | None:
        if self._folders.upload_in(path) is None:
            return super().credentials(path, anchors)

        def found(id_: str, document: Mapping[str, Any]) -> Credentials | None:
            if document["anchors"] != _hash(anchors):
                raise ValueError("it was checked against other roots")
            told = document["credentials"]
            return None if told is None else read(Credentials, told)

        return self._used(path, found)

    def reservation(self, path: Path) -> str | None:
        if self._folders.upload_in(path) is None:
            return super().reservation(path)
        return self._used(path, _reservation)

    def subtype(self, path: Path) -> str:
        if self._folders.upload_in(path) is None:
            return super().subtype(path)
        return self._used(path, lambda _, document: str(document.get("subtype", "")))

    def metadata(self, path: Path) -> CarriedMetadata:
        if self._folders.upload_in(path) is None:
            return super().metadata(path)
        return self._used(path, lambda _, document: metadata_from_json(document["metadata"]))

    def _used(self, path: Path, use: Callable[[str, Mapping[str, Any]], _Made]) -> _Made:
        """What is kept of an upload; where it is gone or does not fit, it is made anew."""
        id_ = self._id(path)
        document = self.kept.of(id_).document
        with ExitStack() as in_use:
            for tried in range(_TRIES):
                try:
                    said = _read(document)
                    if said["form"] == FORM:
                        return use(id_, said)
                except (FileNotFoundError, *_WRONG):
                    if tried == _TRIES - 1:
                        break
                self._make_anew(path, in_use)
        raise UnreadableFile(f"{path} cannot be used: its decoder does not say what is in it")

    def _make_anew(self, path: Path, in_use: ExitStack) -> None:
        try:
            self.make(path, in_use)
        except OSError as error:
            said_so = "there is no room for decoded uploads"
            raise BackendUnavailable(said_so, public=said_so) from error

    def _heard(self, id_: str, document: Mapping[str, Any]) -> IdentifiedAudio:
        if document["kind"] != "audio":
            raise UnreadableFile(f"upload {id_} is a score, not a sound")
        rate, channels = int(document["sample_rate"]), int(document["channels"])
        frames = int(document["frames"])
        if not (1000 <= rate <= 768_000 and 1 <= channels <= MAX_CHANNELS and frames > 0):
            raise ValueError("it is no sound")
        samples = np.empty((channels, frames), np.float32)
        with self.kept.of(id_).sound.open("rb") as file:
            if os.fstat(file.fileno()).st_size != frames * channels * 4:
                raise ValueError("samples are missing")
            os.utime(file.fileno())
            for at in range(0, frames, _FRAMES):
                count = min(_FRAMES, frames - at) * channels
                block = np.fromfile(file, "<f4", count).reshape(-1, channels)
                if not np.isfinite(block).all():
                    raise ValueError("samples are not numbers")
                samples[:, at : at + len(block)] = block.T
        pcm_sha256, notices = str(document["pcm_sha256"]), _notices(id_, document)
        return IdentifiedAudio(Audio(samples, rate), pcm_sha256, notices)

    def _id(self, path: Path) -> str:
        id_ = self._folders.upload_in(path)
        if id_ is None:
            raise UnreadableFile(f"{path} is no upload")
        return id_


def _require_there(path: Path) -> None:
    if not path.exists():
        raise UnreadableFile(f"{path} is gone", hint="upload it again")


def _score(id_: str, document: Mapping[str, Any]) -> NoteScore:
    if document["kind"] != "midi":
        raise UnreadableFile(f"upload {id_} is a sound, not a score")
    return score_from_json(document["score"])


def _notices(id_: str, document: Mapping[str, Any]) -> tuple[str, ...]:
    said = document["score"] if document["kind"] == "midi" else document
    return tuple(str(notice) for notice in said.get("notices", ()))


def _reservation(id_: str, document: Mapping[str, Any]) -> str | None:
    said = document["reservation"]
    return None if said is None else str(said)


def _read(file: Path) -> dict[str, Any]:
    """A document, of bounded size.

    Raises:
        ValueError: it is none.
    """
    with file.open("rb") as opened:
        whole = opened.read(MOST_DOCUMENT + 1)
    if len(whole) > MOST_DOCUMENT:
        raise ValueError("it is larger than any document")
    document = json.loads(whole)
    if not isinstance(document, dict):
        raise ValueError("it is no document")
    return document


def _hash(anchors: str) -> str:
    return sha256(anchors.encode()).hexdigest()

"""What uploads hold, in a form of our own; the uploads themselves are never opened here.

A process with limits opened each of them (:mod:`rag_audio.service.decoder`) and wrote two files:
bare samples, and a JSON document with the notes, the content credentials and all else. They are a
cache: what is not there, as after an update or a restore, is made anew when it is needed.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rag_audio.bootstrap import HomeParts
from rag_audio.domain import Audio
from rag_audio.errors import BackendUnavailable, UnreadableFile
from rag_audio.loading import FOLDED_CHANNELS, FOLDED_RATE, MAX_DURATION_S, Heard
from rag_audio.provenance.credential_documents import credentials_from_json
from rag_audio.provenance.opened_signing import SignElsewhere
from rag_audio.reading import OwnFiles
from rag_audio.score_documents import score_from_json
from rag_audio.scores import Score
from rag_audio.service.decoder import MOST_DOCUMENT
from rag_audio.service.decoding import Decoded, Decoders, Opened
from rag_audio.service.files import Folders
from rag_audio.service.settings import ServeSettings, read_serve_settings
from rag_audio.signing import Credentials

DECODERS = 2
"""Uploads that a process has decoded at once."""
FORM = 1
"""Of the document; one of another form is made anew."""
_IN_USE_S = 60.0
_TRIES = 3
_FRAMES = 1 << 16
_Made = TypeVar("_Made")
_WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)


def shielded(parts: HomeParts, settings: ServeSettings | None = None) -> CanonicalUploads:
    """What opens uploads in the place of a home's own reader, from now on."""
    known = parts.reader
    if isinstance(known, CanonicalUploads):
        return known
    chosen = settings or read_serve_settings()
    decoders = Decoders(chosen, DECODERS)
    made = CanonicalUploads(
        Folders(parts.home), decoders, lambda: parts.anchors, chosen.decoded_mb << 20
    )
    parts.reader = made
    return made


class CanonicalUploads:
    """A :class:`rag_audio.reading.Reader` that never opens an upload; other files are our own.

    Args:
        anchors: PEM of the certificates whose signers are trusted now.
        most_bytes: of decoded uploads that are kept; those that were not used longest go first.
    """

    def __init__(
        self, folders: Folders, decoders: Decoders, anchors: Callable[[], str], most_bytes: int
    ) -> None:
        self.decoders = decoders
        self._folders, self._anchors, self._most_bytes = folders, anchors, most_bytes
        self._own = OwnFiles()

    def make(self, path: Path) -> Decoded:
        """Have an upload opened, and keep what was made of it.

        Raises:
            UnreadableFile: it cannot be used.
            BackendUnavailable: too many are being decoded.
            OSError: what is made of it cannot be written.
        """
        id_ = self._id(path)
        folder = self._folders.decoded
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = secrets.token_hex(4)
        drafts = Opened(*(folder / f".{id_}.{kind}.{part}.tmp" for kind in ("f32", "json")))
        anchors = self._anchors()
        try:
            for draft in (drafts.sound, drafts.document):
                draft.touch(mode=0o600)
            decoded = self.decoders.decode(path, drafts, anchors)
            document = _read(drafts.document)
            document |= {"form": FORM, "anchors": _hash(anchors)}
            drafts.document.write_text(json.dumps(document), encoding="utf-8")
            sound, target = self._files(id_)
            drafts.sound.replace(sound)
            drafts.document.replace(target)
        finally:
            for draft in (drafts.sound, drafts.document):
                draft.unlink(missing_ok=True)
        self.tidy()
        return decoded

    def drop(self, id_: str) -> None:
        """Forget what was made of an upload."""
        for file in self._files(id_):
            file.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what was not used longest, as far as there is more than is to be kept."""
        found = []
        for sound in self._folders.decoded.glob("*.f32"):
            with suppress(FileNotFoundError):
                status = sound.stat()
                found.append((status.st_mtime, status.st_size, sound.stem))
        total = sum(size for _, size, _ in found)
        for used, size, id_ in sorted(found):
            if total <= self._most_bytes or time.time() - used < _IN_USE_S:
                return
            self.drop(id_)
            total -= size

    @property
    def signs_elsewhere(self) -> SignElsewhere:
        """Manifests of uploads, and of what was made from them, are parsed in the limits too."""
        return self.decoders.sign

    def hear(
        self,
        path: Path,
        *,
        max_duration_s: float | None = MAX_DURATION_S,
        allow_truncated: bool = False,
    ) -> Heard:
        if self._folders.upload_in(path) is None:
            return self._own.hear(
                path, max_duration_s=max_duration_s, allow_truncated=allow_truncated
            )
        heard, breaks_off = self._used(path, self._heard)
        if breaks_off and not allow_truncated:
            raise UnreadableFile(f"{path} {breaks_off}", hint="upload it anew")
        return heard

    def score(self, path: Path) -> Score:
        if self._folders.upload_in(path) is None:
            return self._own.score(path)
        return self._used(path, _score)

    def credentials(self, path: Path, anchors: str) -> Credentials | None:
        if self._folders.upload_in(path) is None:
            return self._own.credentials(path, anchors)

        def found(id_: str, document: Mapping[str, Any]) -> Credentials | None:
            if document["anchors"] != _hash(anchors):
                raise ValueError("it was held against other roots")
            told = document["credentials"]
            return None if told is None else credentials_from_json(told)

        return self._used(path, found)

    def reservation(self, path: Path) -> str | None:
        if self._folders.upload_in(path) is None:
            return self._own.reservation(path)
        return self._used(path, _reservation)

    def _used(self, path: Path, use: Callable[[str, Mapping[str, Any]], _Made]) -> _Made:
        """What is kept of an upload; where it is gone or does not fit, it is made anew."""
        id_ = self._id(path)
        document = self._files(id_)[1]
        for tried in range(_TRIES):
            try:
                said = _read(document)
                if said["form"] == FORM:
                    return use(id_, said)
            except (FileNotFoundError, *_WRONG):
                if tried == _TRIES - 1:
                    break
            try:
                self.make(path)
            except FileNotFoundError as error:
                raise UnreadableFile(f"{path} is gone", hint="upload it again") from error
            except OSError as error:
                said_so = "there is no room for decoded uploads"
                raise BackendUnavailable(said_so, public=said_so) from error
        raise UnreadableFile(f"{path} cannot be used: its decoder does not say what is in it")

    def _heard(self, id_: str, document: Mapping[str, Any]) -> tuple[Heard, str]:
        if document["kind"] != "audio":
            raise UnreadableFile(f"upload {id_} is a score, not a sound")
        rate, channels = int(document["sample_rate"]), int(document["channels"])
        frames = int(document["frames"])
        if not (1000 <= rate <= FOLDED_RATE and 1 <= channels <= FOLDED_CHANNELS and frames > 0):
            raise ValueError("it is no sound")
        samples = np.empty((channels, frames), np.float32)
        with self._files(id_)[0].open("rb") as file:
            if os.fstat(file.fileno()).st_size != frames * channels * 4:
                raise ValueError("samples are missing")
            os.utime(file.fileno())
            for at in range(0, frames, _FRAMES):
                count = min(_FRAMES, frames - at) * channels
                block = np.fromfile(file, "<f4", count).reshape(-1, channels)
                samples[:, at : at + len(block)] = block.T
        if not np.isfinite(samples).all():
            raise ValueError("samples are not numbers")
        heard = Heard(Audio(samples, rate), str(document["pcm_sha256"]))
        return heard, str(document["breaks_off"])

    def _id(self, path: Path) -> str:
        id_ = self._folders.upload_in(path)
        if id_ is None:
            raise UnreadableFile(f"{path} is no upload")
        return id_

    def _files(self, id_: str) -> tuple[Path, Path]:
        folder = self._folders.decoded
        return folder / f"{id_}.f32", folder / f"{id_}.json"


def _score(id_: str, document: Mapping[str, Any]) -> Score:
    if document["kind"] != "midi":
        raise UnreadableFile(f"upload {id_} is a sound, not a score")
    return score_from_json(document["score"])


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

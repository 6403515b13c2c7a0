"""A sound file that is written block by block, with what is to stand beside its sound."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile

from rag_audio.audio import id3, ogg_pages, text_tags
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.channels import Block
from rag_audio.audio.layouts import is_usual, vorbis_order
from rag_audio.audio.pcm_hash import pcm24
from rag_audio.audio.wave_writing import RIFF_LIMIT, WaveContainer, WaveForm
from rag_audio.errors import UnreadableFile
from rag_audio.storage.files import atomic_write

SOFTWARE = "rag-audio"
_WAVES = ("WAV", "RF64", "W64")
_MOST_BLOCK = (1 << 24) - 1
_COMMENTS, _PICTURE, _PADDING, _LAST = 4, 6, 1, 0x80


class Sink:
    """A file that libsndfile writes to; it cannot be told of a full disk, so its caller is.

    Args:
        raw: where it stands is the first byte for the library.

    Attributes:
        fault: the first error.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._origin = raw, raw.tell()
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        """All of it, as far as the caller is told."""
        with self._noticed():
            self._raw.write(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte; where the file then stands."""
        with self._noticed():
            self._raw.seek(offset + (self._origin if whence == 0 else 0), whence)
        return self.tell()

    def tell(self) -> int:
        """The byte it stands at."""
        return self._raw.tell() - self._origin

    def flush(self) -> None:
        """Hand over what is buffered."""
        with self._noticed():
            self._raw.flush()

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.fault = self.fault or error


class SoundWriter:
    """Writes a sound file; use it in a ``with`` statement, at whose normal end the file is whole.

    Args:
        path: of the file, which may be there.
        format: libsndfile's names of its kind and encoding, see :func:`.format_of`.
        data: what is to stand beside the sound, fit for this kind of file.
        compression: ``soundfile``'s options for an MP3.
        limit: bytes from which on a ``WAV`` becomes RF64.

    Raises:
        soundfile.LibsndfileError, ValueError: the kind does not hold such sound.
        OSError: the disk says no.
    """

    def __init__(
        self,
        path: Path,
        format: tuple[str, str],
        sample_rate: int,
        channels: int,
        data: CarriedMetadata,
        compression: Mapping[str, Any] | None = None,
        limit: int = RIFF_LIMIT,
    ) -> None:
        self._path, (self._kind, self._encoding), self._data = path, format, data
        self._frames, self._is_open = 0, True
        mask = data.channel_mask
        is_ordered = self._kind == "OGG" and (mask is None or is_usual(mask, channels))
        self._order = list(vorbis_order(channels)) if is_ordered else []
        self._container: WaveContainer | None = None
        options: dict[str, Any] = {"format": self._kind, "subtype": self._encoding}
        self._raw = path.open("wb")
        try:
            if self._kind in _WAVES:
                form = WaveForm(sample_rate, channels, self._encoding, data.channel_mask)
                self._container = WaveContainer(self._raw, self._kind, form, data, SOFTWARE, limit)
                options |= {"format": "RAW", "endian": "LITTLE"}
            elif self._kind == "MP3":
                self._raw.write(id3.make_tag(data.frames))
            self._sink = Sink(self._raw)
            self._file: Any = soundfile.SoundFile(
                self._sink,
                "w",
                samplerate=sample_rate,
                channels=channels,
                **options,
                **(compression or {}),
            )
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            if self._is_open:
                with suppress(soundfile.LibsndfileError):
                    self._file.close()
            with suppress(OSError):
                self._raw.close()

    def write(self, block: Block) -> None:
        """The next samples, ``[C, T]``, with channels for speakers in the order of WAVE.

        Raises:
            OSError: the disk says no.
        """
        block = block[self._order] if self._order else block
        # libsndfile scales floats by 2^23 - 1, so that a file would not read back as it was.
        as_integers = self._encoding == "PCM_24"
        self._file.write(pcm24(block) << 8 if as_integers else np.ascontiguousarray(block.T))
        self._frames += block.shape[1]
        self._require_disk()

    def close(self) -> None:
        """Write what stands behind the sound, and all sizes.

        Raises:
            OSError: the disk says no.
        """
        self._is_open = False
        self._file.close()
        self._require_disk()
        if self._container is not None:
            self._container.close(self._frames)
        self._raw.close()
        if self._kind == "FLAC" and (self._data.comments or self._data.blocks or self._pictures):
            self._rewrite(self._put_flac_blocks)
        elif self._kind == "OGG" and (self._data.comments or self._pictures):
            self._rewrite(self._put_comments)

    @property
    def _pictures(self) -> tuple[text_tags.Picture, ...]:
        return self._data.pictures

    def _require_disk(self) -> None:
        if self._sink.fault is not None:
            raise self._sink.fault

    def _rewrite(self, put: Any) -> None:
        with (
            atomic_write(self._path) as draft,
            self._path.open("rb") as source,
            draft.open("wb") as target,
        ):
            put(source, target)

    def _put_flac_blocks(self, source: BinaryIO, target: BinaryIO) -> None:
        """The file with other metadata blocks behind its STREAMINFO (RFC 9639, section 8)."""
        target.write(source.read(4))
        kept: list[tuple[int, bytes]] = []
        vendor, is_last = SOFTWARE.encode(), False
        while not is_last and len(head := source.read(4)) == 4:
            kind, body = head[0] & 0x7F, source.read(int.from_bytes(head[1:], "big"))
            is_last = bool(head[0] & _LAST)
            if kind == _COMMENTS:
                read = text_tags.read_comments(body)
                vendor = read[0] if read else vendor
            elif kind != _PADDING:
                kept.append((kind, body))
        kept.append((_COMMENTS, text_tags.make_comments(vendor, self._data.comments)))
        kept += [(_PICTURE, picture.as_block()) for picture in self._pictures]
        kept = [one for one in [*kept, *self._data.blocks] if len(one[1]) <= _MOST_BLOCK]
        for n, (kind, body) in enumerate(kept, 1):
            head = bytes([kind | (_LAST if n == len(kept) else 0)])
            target.write(head + len(body).to_bytes(3, "big") + body)
        shutil.copyfileobj(source, target, 1 << 20)

    def _put_comments(self, source: BinaryIO, target: BinaryIO) -> None:
        packet = ogg_pages.read_comment_packet(source)
        read = None if packet is None else text_tags.read_comments(packet)
        pictures = [text_tags.comment_of_picture(picture) for picture in self._pictures]
        vendor = SOFTWARE.encode() if read is None else read[0]
        comments = text_tags.make_comments(vendor, [*self._data.comments, *pictures])
        try:
            ogg_pages.put_comments(source, target, comments)
        except UnreadableFile as error:  # a file that the library has just written
            raise ValueError(error.message) from error

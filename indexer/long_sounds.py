"""Read a sound file once: a short sound into memory; a long one is measured while it is read.

The loudness of a long sound is that of all of it; tempo and key are those of its first three
minutes, as they are of shorter sound. Its landmarks are made of pieces of a minute, and what the
embedder hears waits on disk.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rag_audio import errors
from rag_audio.audio import reading
from rag_audio.audio.analysis import LONGEST_S, SILENCE_DBFS, Analysis, analyse
from rag_audio.audio.channels import Block, heard, views
from rag_audio.audio.dsp import resample
from rag_audio.audio.folding import Fold, joined
from rag_audio.audio.loudness import LoudnessMeter
from rag_audio.audio.pieces import Piece, Pieces
from rag_audio.audio.reading import FOLDED_RATE, Poured, pour
from rag_audio.audio.sound_stream import SoundStream
from rag_audio.domain import Audio
from rag_audio.domain.landmarks import Landmarks, Numbers
from rag_audio.retrieval.landmarks import RATE, make_landmarks
from rag_audio.storage.files import draft_folder

PIECE_S, AROUND_S = 60.0, 5.0
"""Of landmarks, which last at most 4 s; their peaks are weighed against those of half a second."""


@dataclass(frozen=True)
class SpooledSound:
    """A sound of one channel that lies in a file as 32-bit floats.

    Attributes:
        path: of the file; whoever has the sound deletes it.
        sample_rate: Hz. frames: of the sound.
    """

    path: Path
    sample_rate: int
    frames: int

    def part(self, first: int, last: int) -> Audio:
        """The frames from ``first`` to before ``last``, ``[1, T]``; fewer at the end."""
        count = max(0, min(last, self.frames) - first)
        read = np.fromfile(self.path, np.float32, count, offset=4 * first)
        return Audio(read[None], self.sample_rate)

    def discard(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def discard(sound: Audio | SpooledSound | None) -> None:
    """Delete what waits on disk of a sound."""
    if isinstance(sound, SpooledSound):
        sound.discard()


@contextmanager
def waiting_room(spool: Path | None) -> Iterator[Path]:
    """A folder for the sound of long files, gone at the end of the block.

    Args:
        spool: folder in which it is made; None: the system's for temporary files.

    Raises:
        BackendError: none can be made.
    """
    if spool is None:
        with tempfile.TemporaryDirectory(prefix="rag-audio-index-") as folder:
            yield Path(folder)
        return
    with ExitStack() as stack:
        try:
            spool.mkdir(parents=True, exist_ok=True, mode=0o700)
            room = stack.enter_context(draft_folder(spool / "index"))
        except OSError as cause:
            raise errors.BackendError(
                f"no folder can be made in {str(spool)!r}: {cause.strerror or cause}"
            ) from cause
        yield room


@dataclass(frozen=True, eq=False)
class LongSound:
    """What was measured of a long sound.

    Attributes:
        poured: what the file turned out to be.
        found: as of a shorter sound.
        spooled: for the embedder; None where it was not asked for. landmarks: the same.
        is_only_low: only channels for low-frequency effects sound.
    """

    poured: Poured
    found: Analysis
    spooled: SpooledSound | None
    landmarks: Landmarks | None
    is_only_low: bool


def listen(
    path: Path,
    *,
    max_duration_s: float,
    spool_hz: int | None = None,
    folder: Path | None = None,
    landmarks: bool = True,
    tempo: bool = True,
    key: bool = True,
) -> reading.IdentifiedAudio | LongSound:
    """Read a sound: the whole where it says that it is short, else what was measured of it.

    Args:
        spool_hz: rate of the sound that is kept for the embedder; None: none is.
        folder: where that is kept; None: the system's folder for temporary files.
        landmarks: make them of a long sound. tempo, key: estimate them of it.

    Raises:
        UnreadableFile: as :func:`rag_audio.audio.reading.hear`.
    """
    ear = _Ear(spool_hz, folder, landmarks, {"tempo": tempo, "key": key})
    try:
        poured = pour(path, ear.begin, max_duration_s=max_duration_s, aside=ear.listen)
        return ear.told(poured)
    except BaseException:
        ear.forget()
        raise


class _Ear:
    """Hears a sound block by block: as it is, and as it is folded to at most stereo and 48 kHz."""

    def __init__(
        self,
        spool_hz: int | None,
        folder: Path | None,
        landmarks: bool,
        estimated: Mapping[str, bool],
    ) -> None:
        self._estimated = estimated
        self._spool_hz, self._folder, self._wants_landmarks = spool_hz, folder, landmarks
        self._spool: _Spool | None = None

    def listen(self, stream: SoundStream) -> Callable[[Block], None]:
        """Start over, with a file that is read from its beginning."""
        self._is_short = stream.samples is not None and stream.samples <= reading.WHOLE_SAMPLES
        self._rate = min(stream.rate, FOLDED_RATE)
        self._meter = LoudnessMeter(stream.rate, stream.layout)
        self._low = list(stream.layout.low_frequency)
        self._peaks = np.zeros(stream.channels, np.float32)
        if self._is_short:
            return lambda block: None

        def hear(block: Block) -> None:
            np.maximum(self._peaks, np.abs(block).max(axis=1), out=self._peaks)
            self._meter.add(block)

        return hear

    def begin(self) -> Callable[[Block], None]:
        """Start over, with the folded sound."""
        self.forget()
        self._head: list[Block] = []
        self._frames = 0
        if self._is_short:
            return self._keep
        self._landmarks: list[Landmarks] = []
        size, around = round(PIECE_S * self._rate), round(AROUND_S * self._rate)
        self._pieces = Pieces(size, around, self._use)
        if self._spool_hz is not None:
            self._spool = _Spool(self._rate, self._spool_hz, self._folder)
        return self._take

    def told(self, poured: Poured) -> reading.IdentifiedAudio | LongSound:
        """What was heard, at the sound's end."""
        if not self._is_short:
            self._pieces.end()
        start = Audio(joined(self._head, poured.channels), poured.sample_rate)
        if self._is_short:
            sha256, notices = poured.pcm_sha256, poured.notices
            return reading.IdentifiedAudio(start, sha256, notices, poured.layout)
        peak = float(self._peaks.max(initial=0.0))
        peak_dbfs = 20.0 * math.log10(peak) if peak else -math.inf
        found = replace(
            analyse(start, None, **self._estimated),
            loudness_lufs=self._meter.loudness_lufs,
            silent=peak_dbfs < SILENCE_DBFS,
        )
        others = np.delete(self._peaks, self._low).max(initial=0.0)
        return LongSound(
            poured,
            found,
            None if self._spool is None else self._spool.end(),
            _joined(self._landmarks, poured.duration_s) if self._wants_landmarks else None,
            is_only_low=peak > 0 and not others,
        )

    def forget(self) -> None:
        """Leave nothing on disk."""
        if self._spool is not None:
            self._spool.discard()
            self._spool = None

    def _keep(self, block: Block) -> None:
        """Take a block of a short sound, which may be longer than it says."""
        self._head.append(block)
        self._frames += block.shape[1]
        if self._frames * len(block) > reading.MAX_SAMPLES:
            raise errors.UnreadableFile(
                f"it is more than {reading.MAX_SAMPLES / 1e6:.0f} million samples long, and says "
                "that it is shorter",
                hint="copy or export it anew",
            )

    def _take(self, block: Block) -> None:
        room = round(LONGEST_S * self._rate) - self._frames
        if room > 0:
            self._head.append(block[:, :room])
        self._frames += block.shape[1]
        self._pieces.add(block)

    def _use(self, piece: Piece) -> None:
        if self._spool is not None:
            self._spool.add(heard(Audio(piece.alone, self._rate)).samples)
        if self._wants_landmarks:
            self._landmarks.append(_landmarks_in(piece, self._rate))


class _Spool:
    """Writes a sound of one channel to a file, at another rate."""

    def __init__(self, rate: int, to_rate: int, folder: Path | None) -> None:
        self._fold = Fold(rate, to_rate=to_rate, channels=1)
        self._folder, self._frames = folder, 0
        try:
            handle, name = tempfile.mkstemp(suffix=".f32", prefix="sound-", dir=folder)
        except OSError as cause:
            raise self._fault(cause) from cause
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")

    def add(self, samples: Block, *, is_last: bool = False) -> None:
        """Write the next samples, ``[1, T]``."""
        made = self._fold.resample(samples, is_last=is_last)
        try:
            self._file.write(made.tobytes())
        except OSError as cause:
            raise self._fault(cause) from cause
        self._frames += made.shape[1]

    def end(self) -> SpooledSound:
        """All that was written."""
        self.add(np.zeros((1, 0), np.float32), is_last=True)
        try:
            self._file.close()
        except OSError as cause:
            raise self._fault(cause) from cause
        return SpooledSound(self._path, self._fold.to_rate, self._frames)

    def discard(self) -> None:
        """Delete the file."""
        with suppress(OSError):  # what was not written yet need not be
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _fault(self, cause: OSError) -> errors.UnreadableFile:
        folder = tempfile.gettempdir() if self._folder is None else str(self._folder.parent)
        return errors.UnreadableFile(
            f"its sound cannot wait in {folder!r}: {cause.strerror}",
            hint="an hour of it takes up to 0.7 GB there",
        )


def _landmarks_in(piece: Piece, rate: int) -> Landmarks:
    """The landmarks that begin in a piece, with times from the start of the sound."""
    made = make_landmarks(views(resample(Audio(piece.samples, rate), RATE)))
    first_ms, last_ms = (round(1000 * (at - piece.first) / rate) for at in (piece.start, piece.end))
    from_ms = round(1000 * piece.first / rate)
    begun = (made.times_ms >= first_ms) & (made.times_ms < last_ms)
    there = (made.peak_times_ms >= first_ms) & (made.peak_times_ms < last_ms)
    return Landmarks(
        made.hashes[begun],
        made.times_ms[begun] + from_ms,
        made.spans_ms[begun],
        made.pitches[begun],
        made.peak_times_ms[there] + from_ms,
        made.peak_pitches[there],
        (piece.end - piece.start) / rate,
    )


def _joined(found: Sequence[Landmarks], duration_s: float) -> Landmarks:
    def every(column: Callable[[Landmarks], Numbers]) -> Numbers:
        return np.concatenate([np.zeros(0, np.int64), *map(column, found)])

    return Landmarks(
        every(lambda one: one.hashes),
        every(lambda one: one.times_ms),
        every(lambda one: one.spans_ms),
        every(lambda one: one.pitches),
        every(lambda one: one.peak_times_ms),
        every(lambda one: one.peak_pitches),
        duration_s,
    )

"""A sound that is too long for memory, section by section, as often as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rag_audio.audio import reading
from rag_audio.audio.folding import Balance, Fold, folded
from rag_audio.audio.pcm_hash import PcmHash
from rag_audio.audio.pieces import Piece, Pieces
from rag_audio.audio.reading import FOLDED_CHANNELS, FOLDED_RATE
from rag_audio.audio.sound_stream import SoundStream
from rag_audio.domain import Audio
from rag_audio.errors import UnreadableFile

LONGEST_S = 12 * 3600.0
"""Longer sound is refused."""
SECTION_S, AROUND_S = 180.0, 15.0
"""An output of ten seconds that lies over a border lies whole in one of both sections."""


@dataclass(frozen=True, eq=False)
class Section:
    """A stretch of a sound with some of what is around it.

    Attributes:
        audio: with what is around it.
        first_s: where in the sound the audio begins.
        start_s, end_s: from and to where the stretch itself goes, in the sound.
    """

    audio: Audio
    first_s: float
    start_s: float
    end_s: float


@dataclass(frozen=True)
class SoundInSections:
    """A long sound file, folded to at most stereo and 48 kHz.

    Attributes:
        path: it is read anew each time that its sections are asked for.
        pcm_sha256: of the file's own samples. duration_s: of the file.
        notices: what was cut or odd in the file, one line each.
        picked: channels that are kept where a downmix would lose the sound.
    """

    path: Path
    pcm_sha256: str
    duration_s: float
    notices: tuple[str, ...]
    picked: tuple[int, ...] | None = None

    def sections(self) -> Iterator[Section]:
        """All of it, in sections of three minutes, the last one up to twice as long; each with 15 s
        of what is before and after it. Memory holds one at a time.

        Raises:
            UnreadableFile: the file cannot be read any more.
        """
        ready: list[Piece] = []
        with SoundStream(self.path) as stream:
            rate, channels = min(stream.rate, FOLDED_RATE), min(stream.channels, FOLDED_CHANNELS)
            fold = Fold(
                stream.rate,
                to_rate=rate,
                channels=channels,
                picked=self.picked,
                layout=stream.layout,
            )
            pieces = Pieces(round(SECTION_S * rate), round(AROUND_S * rate), ready.append)
            for block in folded(stream.blocks(), fold):
                pieces.add(block)
                while ready:
                    yield _section(ready.pop(0), rate)
            pieces.end()
        while ready:
            yield _section(ready.pop(0), rate)


def in_sections(path: Path) -> SoundInSections | None:
    """A sound file that is too long to be read at once; None: it is not.

    It is read once, to know its length and its hash whatever its header says.

    Raises:
        UnreadableFile: as :func:`rag_audio.audio.reading.hear`, or it is longer than twelve hours.
            One that breaks off is read as far as it goes.
    """
    with SoundStream(path) as stream:
        if stream.samples is not None and stream.samples <= reading.WHOLE_SAMPLES:
            return None
        digest = PcmHash(stream.rate, stream.channels)
        balance = Balance(stream.channels, layout=stream.layout)
        for block in stream.blocks():
            digest.add(stream.as_stored(block))
            if stream.channels > FOLDED_CHANNELS:
                balance.add(block)
            if digest.frames > LONGEST_S * stream.rate:
                raise UnreadableFile(
                    f"{path} is longer than {LONGEST_S / 3600:g} hours", hint="cut it shorter"
                )
        if digest.frames * stream.channels <= reading.WHOLE_SAMPLES:
            return None
        lost = stream.channels > FOLDED_CHANNELS and balance.is_lost
        return SoundInSections(
            path,
            digest.hexdigest(),
            digest.frames / stream.rate,
            tuple(stream.notices),
            balance.loudest(FOLDED_CHANNELS) if lost else None,
        )


def _section(piece: Piece, rate: int) -> Section:
    return Section(
        Audio(piece.samples, rate), piece.first / rate, piece.start / rate, piece.end / rate
    )

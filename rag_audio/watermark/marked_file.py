"""Mark a file into another file, block by block, with all that stands beside its sound."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rag_audio.audio import writing
from rag_audio.audio.channels import Block
from rag_audio.audio.folding import Fold, folded
from rag_audio.audio.headers import (
    SoundHeader,
    format_of,
    rate_for,
    read_header,
    require_room,
)
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.sound_stream import SoundStream
from rag_audio.audio.wave_chunks import SoundChange
from rag_audio.audio.writing import Excess, SoundForm, is_clipped_by
from rag_audio.domain import Audio
from rag_audio.domain.ports import Mark, Watermarker
from rag_audio.errors import OutputRefused, UnreadableFile
from rag_audio.watermark.long_sound import LongMarking

PIECE_S = 60.0
_NOT_KNOWN = 1 << 48


@dataclass(frozen=True)
class MarkedFile:
    """A file that was marked.

    Attributes:
        subtype: libsndfile's name of its encoding.
        gain_db: by which the sound was made louder, ≤ 0.
        snr_db, noise_to_mask_db: see :mod:`.quality`.
        notes: what is not as in the source, a line each.
    """

    sample_rate: int
    channels: int
    subtype: str
    gain_db: float
    snr_db: float
    noise_to_mask_db: float
    notes: tuple[str, ...]


def mark_file(
    watermarker: Watermarker, source: Path, target: Path, payload: int, subtype: str | None
) -> MarkedFile:
    """Write a file that is marked by hand; memory does not grow with its length.

    Args:
        subtype: as :func:`.format_of` takes it; None: the source's, or the nearest to it.

    Raises:
        UnreadableFile: the source cannot be read to its end.
        InvalidInput: the target's kind cannot hold the sound, or the disk says no.
        OutputRefused: the sound is too little to carry a mark, or the target's encoding does not
            keep it; nothing is left.
    """
    with SoundStream(source) as stream:
        rate, channels = stream.rate, stream.channels
        frames = _NOT_KNOWN if stream.frames is None else stream.frames
        speakers = stream.layout.mask if channels > 2 else None
    header = _header(source)
    wanted = header.subtype_in(target) if subtype is None else subtype
    encoding = format_of(target, wanted)[1]
    require_room(target, wanted, channels, rate)
    excess = _excess(source, header.subtype, encoding)
    to_hz = rate_for(encoding, rate)
    change = SoundChange(
        rate, to_hz, frames, round(frames * to_hz / rate), level_db=0.0 - excess.peak_db,
        channels=channels, process="watermark", encoding=encoding,
    )  # fmt: skip
    beside = read_metadata(source)
    if beside.channel_mask is None:  # of a kind whose decoder alone knows
        beside = replace(beside, channel_mask=speakers)
    data = beside.into(target, change)
    marking = LongMarking(watermarker, Mark(payload, by_hand=True), rate, channels)
    notices: list[str] = []
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        blocks = marking.marked(_lowered(source, excess, notices))
        if to_hz != rate:
            blocks = folded(blocks, Fold(rate, to_rate=to_hz, channels=channels))
        writing.save_blocks(blocks, draft, SoundForm(to_hz, channels, encoding), data)
        if not marking.is_marked:
            raise OutputRefused(f"{source} has too little sound to carry a mark")
        if not is_clipped_by(target, encoding) and encoding != "FLOAT":
            _require_mark(watermarker, draft, target, Mark(payload, by_hand=True), encoding)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    notes = [f"{source.name}: {notice}" for notice in notices]
    if excess:
        notes.append(
            f"lowered by {excess.peak_db:.2f} dB, so that {encoding} does not clip the {excess}; "
            "a .wav of floats (subtype 32f) keeps the level"
        )
    if header.subtype and encoding != header.subtype:
        notes.append(f"{source.name} is {header.subtype}, {target.name} is {encoding}")
    if data.lost:
        notes.append(f"not carried over from {source.name}: {', '.join(data.lost)}")
    if to_hz != rate:
        notes.append(f"{source.name} is at {rate} Hz, {target.name} at {to_hz}")
    return MarkedFile(
        to_hz, channels, encoding, 0.0 - excess.peak_db, marking.snr_db, marking.noise_to_mask_db,
        tuple(notes),
    )  # fmt: skip


def pieces_of(file: Path, notices: list[str] | None = None) -> Iterator[Audio]:
    """A file minute by minute, read once from front to back.

    Args:
        notices: is told what is odd in the file.

    Raises:
        UnreadableFile: it cannot be read to its end.
    """
    with SoundStream(file) as stream:
        size, held = round(PIECE_S * stream.rate), 0
        blocks: list[Block] = []
        for block in stream.blocks():
            blocks.append(block)
            held += block.shape[1]
            while held >= size:
                joined = np.concatenate(blocks, axis=1)
                yield Audio(joined[:, :size], stream.rate)
                blocks, held = [joined[:, size:]], held - size
        if notices is not None:
            notices += stream.notices
        if held:
            yield Audio(np.concatenate(blocks, axis=1), stream.rate)


def _header(source: Path) -> SoundHeader:
    """The encoding of a file; empty where libsndfile does not read it itself."""
    try:
        return read_header(source)
    except UnreadableFile:
        return SoundHeader("")


def _excess(source: Path, was: str, encoding: str) -> Excess:
    """What of a file is above full scale, where the new one would clip it; reads all of it then."""
    if not encoding.startswith("PCM") or was.startswith(("PCM", "ULAW", "ALAW")):
        return Excess()
    over, peak = 0, 0.0
    with SoundStream(source) as stream:
        for block in stream.blocks():
            level = np.abs(block)
            over += int(np.count_nonzero(level > 1.0))
            peak = max(peak, float(level.max(initial=0.0)))
    return Excess(over, 20.0 * math.log10(peak)) if over else Excess()


def _lowered(source: Path, excess: Excess, notices: list[str]) -> Iterator[Block]:
    """The sound, by one gain within full scale; what is odd in the file is added to ``notices``."""
    peak = np.float32(10 ** (excess.peak_db / 20))
    with SoundStream(source) as stream:
        for block in stream.blocks():
            yield np.clip(block / peak, -1.0, 1.0) if excess else block
        notices += stream.notices


def _require_mark(
    watermarker: Watermarker, draft: Path, target: Path, mark: Mark, encoding: str
) -> None:
    """See that an encoding that loses something keeps the mark."""
    found = watermarker.detect_pieces(pieces_of(draft))
    if mark in (found.mark, *found.others):
        return
    with SoundStream(draft) as stream:
        channels, rate = stream.channels, stream.rate
    raise OutputRefused(
        f"{target.name} would not hold the mark: it is not found in {channels} channels of "
        f"{encoding} at {rate} Hz",
        hint="write a .flac or .wav file",
    )

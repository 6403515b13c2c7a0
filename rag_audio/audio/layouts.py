"""Which channel of a sound stands for which loudspeaker: what it counts in loudness and downmixes.

Containers name the speakers of their channels, or have a fixed order:

* WAVE, RF64 and Wave64: ``dwChannelMask`` of WAVEFORMATEXTENSIBLE (Microsoft, "Multiple channel
  audio data and WAVE files", 2007); a mask of 0 says that no channel is for any speaker;
* FLAC: RFC 9639, section 9.1.3, or the mask in a comment of the file, section 8.6.2;
* Vorbis: Vorbis I, section 4.3.9; Opus of mapping family 1 has the same order, family 255 none
  (RFC 7845, section 5.1.1).

Where nothing is told, as in WAVE files without a mask, the order is that of FLAC, which is that of
WAVE. In memory, channels that are for speakers are in the order of WAVE, whatever file they come
from and go to.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag_audio.audio import id3

Gains = NDArray[np.float64]

_FRONT, _SIDE, _BEHIND = 1.0, math.sqrt(0.5), 0.5


class Speaker(Enum):
    """A loudspeaker; its value is what it gives to left and right of a stereo downmix.

    The first 18 stand in the order of the bits of a WAVE channel mask. Gains are those of ITU-R
    BS.775-4, table 2, where it has the speaker: centre and surround at -3 dB, no low frequencies.
    """

    FRONT_LEFT = ("FL", _FRONT, 0.0)
    FRONT_RIGHT = ("FR", 0.0, _FRONT)
    FRONT_CENTRE = ("FC", _SIDE, _SIDE)
    LOW_FREQUENCY = ("LFE", 0.0, 0.0)
    BACK_LEFT = ("BL", _SIDE, 0.0)
    BACK_RIGHT = ("BR", 0.0, _SIDE)
    LEFT_OF_CENTRE = ("FLC", _FRONT, 0.0)
    RIGHT_OF_CENTRE = ("FRC", 0.0, _FRONT)
    BACK_CENTRE = ("BC", _BEHIND, _BEHIND)
    SIDE_LEFT = ("SL", _SIDE, 0.0)
    SIDE_RIGHT = ("SR", 0.0, _SIDE)
    TOP_CENTRE = ("TC", _BEHIND, _BEHIND)
    TOP_FRONT_LEFT = ("TFL", _SIDE, 0.0)
    TOP_FRONT_CENTRE = ("TFC", _BEHIND, _BEHIND)
    TOP_FRONT_RIGHT = ("TFR", 0.0, _SIDE)
    TOP_BACK_LEFT = ("TBL", _SIDE, 0.0)
    TOP_BACK_CENTRE = ("TBC", _BEHIND, _BEHIND)
    TOP_BACK_RIGHT = ("TBR", 0.0, _SIDE)
    NONE = ("none", _SIDE, _SIDE)


_BY_BIT = tuple(Speaker)[:-1]
_PLACES = {speaker: bit for bit, speaker in enumerate(Speaker)}
_SIDES = {Speaker.SIDE_LEFT, Speaker.SIDE_RIGHT}
_BACKS = {Speaker.BACK_LEFT, Speaker.BACK_RIGHT}
_SURROUND = 1.41
"""ITU-R BS.1770-5, table 4: +1.5 dB for what stands 60° to 120° from the front, not overhead."""


@dataclass(frozen=True)
class ChannelLayout:
    """The speakers of a sound's channels, in their order.

    Attributes:
        is_told: whether the file said so, or its kind does; else it is the usual layout.
    """

    speakers: tuple[Speaker, ...]
    is_told: bool = field(default=True, compare=False)

    @property
    def wave_order(self) -> tuple[int, ...]:
        """Which channel comes where in the order of WAVE: as they come where one is for no
        speaker, or two are for one."""
        places = [_PLACES[one] for one in self.speakers]
        if Speaker.NONE in self.speakers or len(set(places)) < len(places):
            return tuple(range(len(places)))
        return tuple(sorted(range(len(places)), key=places.__getitem__))

    def in_wave_order(self) -> ChannelLayout:
        """The layout of the same channels in that order."""
        return replace(self, speakers=tuple(self.speakers[n] for n in self.wave_order))

    @property
    def mask(self) -> int | None:
        """The WAVE channel mask of channels in that order; None: the layout is not told, or no
        mask says it."""
        bits = sum(1 << _PLACES[one] for one in self.speakers if one is not Speaker.NONE)
        return bits if self.is_told and layout_of_mask(bits, len(self.speakers)) == self else None

    @property
    def loudness_weights(self) -> Gains:
        """``[C]``: what each channel's power counts in loudness: 0, 1 or 1.41.

        Speakers behind count as the surround ones of ITU-R BS.775 (110°) where none are at the
        sides; else they stand further back. One and two channels count alike, whatever they are.
        """
        if len(self.speakers) <= 2:
            return np.ones(len(self.speakers))
        surround = _SIDES if _SIDES & set(self.speakers) else _BACKS
        weights = {Speaker.LOW_FREQUENCY: 0.0, **dict.fromkeys(surround, _SURROUND)}
        return np.array([weights.get(speaker, 1.0) for speaker in self.speakers])

    @property
    def stereo_gains(self) -> NDArray[np.float32]:
        """``[2, C]``: the downmix to left and right, each row with the sum 1, so that it cannot
        clip; the low-frequency channel is left out. All channels go to both sides where one side
        would have none."""
        count = len(self.speakers)
        gains = np.array([one.value[1:] for one in self.speakers], dtype=np.float32).T
        sums = gains.sum(axis=1, keepdims=True)
        even = np.full((2, count), 1.0 / count, np.float32)
        return np.divide(gains, sums, out=even, where=bool(sums.all()))

    @property
    def mono_gains(self) -> Gains:
        """``[C]``: left and right of the stereo downmix at -3 dB, the centre as it is (BS.775-4),
        with the sum 1; one and two channels, and all for no speaker, have their mean."""
        count = len(self.speakers)
        gains = np.array([sum(speaker.value[1:]) for speaker in self.speakers], dtype=np.float64)
        if count <= 2 or not gains.sum() or np.ptp(gains) == 0:
            return np.full(count, 1.0 / count)
        return np.asarray(gains / gains.sum())

    @property
    def low_frequency(self) -> tuple[int, ...]:
        """The channels that are for low-frequency effects, by number from 0."""
        if len(self.speakers) <= 2:
            return ()
        return tuple(n for n, one in enumerate(self.speakers) if one is Speaker.LOW_FREQUENCY)


def layout_of_mask(mask: int, channels: int) -> ChannelLayout:
    """The layout that a WAVE channel mask says.

    Its bits name the speakers of the first channels; channels for which none are left are for no
    speaker: they are mixed to both sides and count fully, as the tracks of a multitrack file.
    """
    named = [speaker for bit, speaker in enumerate(_BY_BIT) if mask >> bit & 1][:channels]
    return ChannelLayout((*named, *[Speaker.NONE] * (channels - len(named))))


_USUAL = (0x4, 0x3, 0x7, 0x33, 0x37, 0x3F, 0x70F, 0x63F)


def usual_layout(channels: int) -> ChannelLayout:
    """The layout of a sound that does not tell it: mono, stereo, 3.0, quadraphonic, 5.0, 5.1, 6.1,
    7.1; more channels are for no speaker."""
    if channels > len(_USUAL):
        return ChannelLayout((Speaker.NONE,) * channels, is_told=False)
    return replace(layout_of_mask(_USUAL[channels - 1], channels), is_told=False)


def usual_mask(channels: int) -> int:
    """The WAVE channel mask of the layout that FLAC, Vorbis and Opus have for 1…8 channels."""
    return _USUAL[channels - 1]


def is_usual(mask: int, channels: int) -> bool:
    """Whether channels of that mask are for the speakers of the usual layout; speakers at the
    sides and behind are the same ones where a layout has only one pair of them."""
    return channels <= len(_USUAL) and _one_pair(mask) == _one_pair(_USUAL[channels - 1])


def _one_pair(mask: int) -> int:
    behind, sides = 0x30, 0x600
    return mask & ~sides | behind if mask & sides == sides and not mask & behind else mask


def vorbis_order(channels: int) -> tuple[int, ...]:
    """Which channel of the usual layout comes where in Vorbis and Opus."""
    return _VORBIS.get(channels, tuple(range(channels)))


# Where a channel of Vorbis stands in the order of FLAC.
_VORBIS = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
_MASK = re.compile(r"^\s*Channel Mask\s*: 0x([0-9A-Fa-f]{1,8})\b", re.MULTILINE)
_FAMILY = re.compile(r"^\s*Channel Mapping\s*: (\d+)", re.MULTILINE)
_FLAC_MASK = re.compile(rb"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9A-F]{1,8})\b", re.IGNORECASE)
_FLAC_COMMENT, _MOST_BLOCKS, _MOST_COMMENT = 4, 64, 1 << 16


class _Described(Protocol):
    """A sound file that was opened by libsndfile, or is described in its words."""

    @property
    def channels(self) -> int: ...
    @property
    def format(self) -> str: ...
    @property
    def subtype(self) -> str: ...
    @property
    def extra_info(self) -> str: ...


def layout_of(path: Path, file: _Described) -> ChannelLayout:
    """The layout of a file's channels in its order, as it tells it, or the usual one.

    Args:
        path: where it lies. file: the same, open.
    """
    said, channels = str(file.extra_info), int(file.channels)
    if channels <= 2:
        return usual_layout(channels)
    if file.format == "OGG" and file.subtype in ("VORBIS", "OPUS"):
        family = _FAMILY.search(said)
        if family is not None and int(family[1]) > 1:
            return ChannelLayout((Speaker.NONE,) * channels)
        usual = usual_layout(channels).speakers
        return ChannelLayout(tuple(usual[n] for n in _VORBIS.get(channels, range(channels))))
    if file.format == "FLAC":
        mask = _flac_mask(path)
        return layout_of_mask(usual_mask(channels) if mask is None else mask, channels)
    found = _MASK.search(said)
    return usual_layout(channels) if found is None else layout_of_mask(int(found[1], 16), channels)


def mask_of_comments(block: bytes) -> int | None:
    """The mask in a FLAC file's comments; None: there is none."""
    found = _FLAC_MASK.search(block)
    return None if found is None else int(found[1], 16)


def _flac_mask(path: Path) -> int | None:
    """The mask in a FLAC file's comments: blocks of one byte kind, three bytes size (RFC 9639,
    section 8.1); at most the first 64 blocks and 64 KB of comments are looked at."""
    try:
        with path.open("rb") as file:
            file.seek(id3.size_of(file.read(id3.HEAD)))
            if file.read(4) != b"fLaC":
                return None
            for _ in range(_MOST_BLOCKS):
                head = file.read(4)
                if len(head) < 4:
                    return None
                size = int.from_bytes(head[1:], "big")
                if head[0] & 0x7F == _FLAC_COMMENT:
                    return mask_of_comments(file.read(min(size, _MOST_COMMENT)))
                if head[0] & 0x80:
                    return None
                file.seek(size, 1)
    except OSError:
        return None
    return None

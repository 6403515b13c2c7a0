"""What a musician can set beside the words of a prompt, as fields with their own checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from rag_audio.domain import limits
from rag_audio.errors import InvalidInput

DEFAULT_CANDIDATES = 4


_WINDOW = re.compile(r"(?P<stem>[^@\s]+)@(?P<start>\d+(?:\.\d+)?)-(?P<end>\d+(?:\.\d+)?)?")


def named_window(reference: str) -> tuple[str, tuple[float, float | None] | None]:
    """``ID``, or ``ID@4-12`` or ``ID@4-``: a stem and which part of it is meant, in seconds.

    Returns:
        The id, and start and end of the part (None: to its end), or None for the best part.

    Raises:
        InvalidInput: what follows the @ is no part.
    """
    if "@" not in reference:
        return reference, None
    found = _WINDOW.fullmatch(reference)
    end = None if found is None or found["end"] is None else float(found["end"])
    if found is None or (end is not None and end <= float(found["start"])):
        raise InvalidInput(
            f"{reference!r} names no part of a stem", hint="STEM@4-12: from second 4 to 12"
        )
    start = float(found["start"])
    limits.WINDOW_START_S.check(f"references: the start of {found['stem'][:12]}", start)
    if end is not None:
        limits.WINDOW_S.check(
            f"references: the part of {found['stem'][:12]}, in seconds,", round(end - start, 6)
        )
    return found["stem"], (start, end)


class AudioAs(StrEnum):
    """What a sound that the user brings is for: to find references like it, or its melody."""

    SEARCH = "search"
    MELODY = "melody"


class Mix(StrEnum):
    """How references are mixed into the seed: as sound or as the autoencoder's latents, those that
    share one harmony and tempo; or as sound, all that may sound."""

    WAVEFORM = "waveform"
    LATENT = "latent"
    ALL = "all"


class Layer(StrEnum):
    """What of a reference goes into the mix: its percussion, or all that has pitch."""

    DRUMS = "drums"
    HARMONY = "harmony"


@dataclass(frozen=True)
class Mixing:
    """How references are put together; without layers and sections each is used whole.

    Where stems are named, they alone seed the sound; other references give words.

    Attributes:
        layers: (what, stem id or prefix).
        sections: (stem id or prefix, first bar, last bar), bars of the output from 1.
    """

    kind: Mix = Mix.WAVEFORM
    layers: tuple[tuple[Layer, str], ...] = ()
    sections: tuple[tuple[str, int, int], ...] = ()

    def __post_init__(self) -> None:
        for stem, first, last in self.sections:
            if not limits.BAR.low <= first <= last <= limits.BAR.high:
                raise InvalidInput(
                    f"bars {first}-{last} of {stem[:12]} are not a section",
                    hint=f"bars count from 1, the first comes first, at most {limits.BAR.high:g}",
                )
        if self.kind is Mix.LATENT and self.sections:
            raise InvalidInput(
                "latents are mixed over the whole piece, they cannot be arranged in bars",
                hint="--mix waveform with --arrange",
            )

    def __bool__(self) -> bool:
        """Whether stems are named."""
        return bool(self.layers or self.sections)

    @property
    def stems(self) -> tuple[str, ...]:
        """Every stem that is named, once, in order."""
        named = [stem for _, stem in self.layers] + [stem for stem, _, _ in self.sections]
        return tuple(dict.fromkeys(named))

    @property
    def bars(self) -> int | None:
        """The last bar of the arrangement; None without one."""
        return max((last for _, _, last in self.sections), default=None)

    def layers_of(self, stem: str) -> tuple[Layer | None, ...]:
        """What of a stem (by its whole id) is used; None is all of it."""
        own = dict.fromkeys(layer for layer, named in self.layers if stem.startswith(named))
        return tuple(own) or (None,)

    def sections_of(self, stem: str) -> tuple[tuple[int, int] | None, ...]:
        """First and last bars of a stem (by its whole id); None is the whole piece."""
        own = [(first, last) for named, first, last in self.sections if stem.startswith(named)]
        return tuple(own) or (None,)


class Aim(StrEnum):
    """What can be enforced: measured on every candidate, and put right where it is off."""

    TEMPO = "tempo"
    KEY = "key"


@dataclass(frozen=True)
class Enforcement:
    """What must be met, and among how many candidates a variation the best is chosen.

    Attributes:
        aims: empty: nothing is enforced.
        candidates: 1…16.
    """

    aims: frozenset[Aim] = frozenset()
    candidates: int = DEFAULT_CANDIDATES

    def __post_init__(self) -> None:
        limits.CANDIDATES.check("candidates", self.candidates)

    def __bool__(self) -> bool:
        return bool(self.aims)

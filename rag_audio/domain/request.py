"""What the user asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rag_audio import limits
from rag_audio.codes import COUNTRIES
from rag_audio.controls import (
    DEFAULT_CANDIDATES,
    Aim,
    Controls,
    Enforcement,
    Layer,
    Mix,
    Mixing,
    named_window,
)
from rag_audio.domain.key import Key
from rag_audio.errors import InvalidInput
from rag_audio.tunes import AudioAs

_CALLED = {"k": "references to find (k)"}
"""Fields whose name says little."""


class Channel(StrEnum):
    """A way in which references reach the model."""

    PROMPT = "prompt"
    INIT = "init"


@dataclass(frozen=True)
class GenerationRequest:
    """Everything the user asked for. None means: let the product choose, and record what it chose.

    Attributes:
        references: stem ids (or unambiguous prefixes) that must be used; ``ID@4-12`` is the part
            from second 4 to 12.
        k: how many references to retrieve; None is 3, or none beside named ``references``.
        strength: 0 < s ≤ 1; how far the result may leave the references' audio; 1 ignores it.
        auto_strength: scores and licenses of the references decide, in place of ``strength``.
        channels: how references may reach the model.
        weights: one per reference, in order of rank; or one per named reference, and those that
            are found besides weigh 1. Normalised.
        audio_rights: ``own`` or ``licensed``: what the user states about ``audio``.
        model: checkpoint, a directory or a hub id; None is the configured one.
        time_signature, bars, instrumentation, mood: see :class:`rag_audio.controls.Controls`.
        midi_instruments: General MIDI names that play the scores in place of their own.
        enforce: what is measured on ``candidates`` takes a variation, and put right.
        subtype: encoding of the file, see :func:`rag_audio.formats.format_of`.
        mix, layers, arrange: see :class:`rag_audio.controls.Mixing`; stems that are named there
            are references.
        audio_as: what ``audio`` is for; None: its melody where it is evidently one voice and
            nothing that is known, else the search.
    """

    prompt: str
    negative_prompt: str = ""
    artist: str | None = None
    references: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    audio: str | None = None
    midi: str | None = None
    audio_rights: str | None = None
    k: int | None = None
    strength: float | None = None
    bpm: float | None = None
    key: Key | None = None
    duration_s: float | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    variations: int = 1
    channels: frozenset[Channel] = frozenset(Channel)
    weights: tuple[float, ...] | None = None
    territory: str | None = None
    model: str | None = None
    enforce: frozenset[Aim] = frozenset()
    candidates: int = DEFAULT_CANDIDATES
    midi_instruments: tuple[str, ...] = ()
    time_signature: tuple[int, int] | None = None
    bars: int | None = None
    instrumentation: tuple[str, ...] = ()
    mood: tuple[str, ...] = ()
    auto_strength: bool = False
    mix: Mix = Mix.WAVEFORM
    layers: tuple[tuple[Layer, str], ...] = ()
    arrange: tuple[tuple[str, int, int], ...] = ()
    subtype: str | None = None
    audio_as: AudioAs | None = None

    def __post_init__(self) -> None:
        _ = self.enforcement, self.controls, self.mixing, self.named
        if self.auto_strength and self.strength is not None:
            raise InvalidInput("a strength and an automatic one are two", hint="give one of them")
        if self.bars is not None and self.duration_s is not None:
            raise InvalidInput("bars and a duration are two lengths", hint="give one of them")
        if not self.prompt.strip():
            raise InvalidInput("the prompt is empty", hint="say what the music should be like")
        if self.artist is not None and not self.artist.strip():
            raise InvalidInput("the artist's name is empty", hint="rag-audio artists lists them")
        for name, limit in limits.REQUEST.items():
            limit.check(_CALLED.get(name, name), getattr(self, name))
        if len(self.named) > limits.MOST_REFERENCES:
            raise InvalidInput(
                f"references, layers and arrange must name at most {limits.MOST_REFERENCES} stems, "
                f"got {len(self.named)}"
            )
        check_territory(self.territory)
        if self.audio_rights not in (None, "own", "licensed"):
            raise InvalidInput(f"audio rights must be own or licensed, got {self.audio_rights!r}")
        if self.audio_as is not None and self.audio is None:
            raise InvalidInput("there is no sound to use", hint="--audio FILE with --audio-as")
        if not self.channels:
            raise InvalidInput("no channel is open", hint="--channels prompt,init")
        if self.weights is not None and (not self.weights or sum(self.weights) <= 0):
            raise InvalidInput(f"weights must have a positive sum, got {list(self.weights)}")

    @property
    def controls(self) -> Controls:
        """Metre, bars, instruments and mood; checked on construction."""
        return Controls(self.time_signature, self.bars, self.instrumentation, self.mood)

    @property
    def mixing(self) -> Mixing:
        """How references are put together; checked on construction."""
        return Mixing(self.mix, self.layers, self.arrange)

    @property
    def named(self) -> tuple[str, ...]:
        """Every stem that must be used, by id or prefix, once, in order."""
        stems = (named_window(reference)[0] for reference in self.references)
        return tuple(dict.fromkeys((*stems, *self.mixing.stems)))

    @property
    def enforcement(self) -> Enforcement:
        """What must be met, and among how many candidates."""
        return Enforcement(self.enforce, self.candidates)


def check_territory(code: str | None) -> None:
    """Let a territory pass that is an ISO 3166-1 alpha-2 code; None is none.

    Raises:
        InvalidInput: it is not.
    """
    if code is not None and code.strip().upper() not in COUNTRIES:
        raise InvalidInput(
            f"territory must be an ISO 3166-1 alpha-2 code such as DE, got {code!r}",
            hint="left out, only licenses count that hold everywhere",
        )

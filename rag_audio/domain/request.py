"""What the user asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
        _check_range("strength", self.strength, 0.0, 1.0, open_low=True)
        _check_range("bpm", self.bpm, 20.0, 400.0)
        _check_range("duration", self.duration_s, 0.5, 3600.0)
        _check_range("guidance", self.guidance, 0.0, 50.0)
        _check_range("steps", self.steps, 1, 1000)
        _check_range("references", self.k, 0, 64)
        _check_range("variations", self.variations, 1, 16)
        _check_range("seed", self.seed, 0, 2**63 - 1)
        if self.artist is not None and not self.artist.strip():
            raise InvalidInput("the artist's name is empty", hint="rag-audio artists lists them")
        if self.audio_rights not in (None, "own", "licensed"):
            raise InvalidInput(f"audio rights must be own or licensed, got {self.audio_rights!r}")
        if self.audio_as is not None and self.audio is None:
            raise InvalidInput("there is no sound to use", hint="--audio FILE with --audio-as")
        if not self.channels:
            raise InvalidInput("no channel is open", hint="--channels prompt,init")
        if self.weights is not None and (
            any(not 0 <= w < float("inf") for w in self.weights) or sum(self.weights) <= 0
        ):
            raise InvalidInput(f"weights must be ≥ 0 with a positive sum, got {self.weights}")

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


def _check_range(
    name: str, value: float | None, low: float, high: float, *, open_low: bool = False
) -> None:
    if value is None:
        return
    if not low <= value <= high or (open_low and value == low):
        bound = "more than" if open_low else "at least"
        raise InvalidInput(f"{name} must be {bound} {low:g} and at most {high:g}, got {value:g}")

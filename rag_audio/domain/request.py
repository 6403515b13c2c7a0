"""What the user asks for."""

from __future__ import annotations

from collections.abc import Callable
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
from rag_audio.domain import values
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

    Values are brought to the types below (:mod:`rag_audio.domain.values`): a key or an enumeration
    may be given by name, a list in place of a tuple, one text in place of several, a path, numbers
    of numpy.

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
        values.settle(self, _FIELDS, _UNSET)
        _ = self.enforcement, self.controls, self.mixing, self.named
        if self.auto_strength and self.strength is not None:
            raise InvalidInput(
                "give either a strength or an automatic one, not both", hint="leave one of them out"
            )
        if self.bars is not None and self.duration_s is not None:
            raise InvalidInput(
                "give either bars or a duration, not both", hint="leave one of them out"
            )
        if not self.prompt.strip():
            raise InvalidInput("the prompt is empty", hint="say what the music should be like")
        if (
            self.seed is not None
            and limits.SEED.holds(self.seed)
            and limits.VARIATIONS.holds(self.variations)
            and self.seed > limits.SEED.high - (self.variations - 1)
        ):
            raise InvalidInput(
                f"seed {self.seed} leaves no seeds for {self.variations} variations",
                hint=f"the last of them may be {limits.SEED.high}",
            )
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


def key_of(name: str, value: object) -> Key:
    """A key, or its name such as ``A minor``; for :func:`rag_audio.domain.values.settle`."""
    if isinstance(value, Key):
        return value
    if not isinstance(value, str):
        raise values.refused(name, value, "a key such as 'A minor'")
    return Key.parse(values.text(name, value))


def _references(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple | str):
        return values.texts(name, value)
    raise values.refused(name, value, "stem ids", hint="k is how many to retrieve")


def _time_signature(name: str, value: object) -> tuple[int, int]:
    wanted = "two whole numbers, such as (3, 4)"
    beats = values.several(name, value, wanted)
    if len(beats) != 2:
        raise values.refused(name, value, wanted)
    return values.whole(name, beats[0]), values.whole(name, beats[1])


def _layers(name: str, value: object) -> tuple[tuple[Layer, str], ...]:
    found = values.rows(name, value, 'pairs such as ("drums", STEM)', 2)
    return tuple(
        (values.one_of(name, layer, Layer), values.text(name, stem)) for layer, stem in found
    )


def _sections(name: str, value: object) -> tuple[tuple[str, int, int], ...]:
    found = values.rows(name, value, "sections such as (STEM, 1, 4)", 3)
    return tuple(
        (values.text(name, stem), values.whole(name, first), values.whole(name, last))
        for stem, first, last in found
    )


_FIELDS: dict[str, Callable[[str, object], object]] = {
    **dict.fromkeys(
        ("prompt", "negative_prompt", "artist", "audio_rights", "territory", "model", "subtype"),
        values.text,
    ),
    **dict.fromkeys(("audio", "midi"), values.file_name),
    **dict.fromkeys(("k", "seed", "steps", "variations", "candidates", "bars"), values.whole),
    **dict.fromkeys(("strength", "bpm", "duration_s", "guidance"), values.number),
    **dict.fromkeys(("exclude", "midi_instruments", "instrumentation", "mood"), values.texts),
    "references": _references,
    "key": key_of,
    "weights": values.numbers_of,
    "channels": lambda name, value: values.some_of(name, value, Channel),
    "enforce": lambda name, value: values.some_of(name, value, Aim),
    "auto_strength": values.flag,
    "time_signature": _time_signature,
    "mix": lambda name, value: values.one_of(name, value, Mix),
    "audio_as": lambda name, value: values.one_of(name, value, AudioAs),
    "layers": _layers,
    "arrange": _sections,
}
_UNSET = frozenset(
    [
        "artist",
        "audio",
        "midi",
        "audio_rights",
        "k",
        "strength",
        "bpm",
        "key",
        "duration_s",
        "seed",
        "steps",
        "guidance",
        "weights",
        "territory",
        "model",
        "time_signature",
        "bars",
        "subtype",
        "audio_as",
    ]
)

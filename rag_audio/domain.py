"""The nouns of rag-audio: frozen dataclasses, validated on construction, with no heavy import.

Arrays are written ``[C, T]``: C channels, T samples. Times are seconds, tempos beats per minute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rag_audio.controls import Aim as Aim
from rag_audio.controls import Controls as Controls
from rag_audio.controls import Enforcement as Enforcement
from rag_audio.controls import Layer as Layer
from rag_audio.controls import Mix as Mix
from rag_audio.controls import Mixing as Mixing
from rag_audio.controls import named_window
from rag_audio.errors import InvalidInput
from rag_audio.licensing import WORLD as WORLD
from rag_audio.licensing import License as License
from rag_audio.licensing import Rights as Rights
from rag_audio.licensing import Share as Share
from rag_audio.licensing import Splits as Splits
from rag_audio.licensing import Use as Use
from rag_audio.tunes import AudioAs as AudioAs
from rag_audio.tunes import Melody as Melody
from rag_audio.tunes import Note as Note

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_KEY = re.compile(
    r"([A-Ga-g])\s*(#|♯|b|♭|-?sharp|-?flat)?\s*[-_ ]?\s*"
    r"(major|maj|minor|min|moll|dur|m|M)?(?![A-Za-z])",
)


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound in memory.

    Attributes:
        samples: float32 ``[C, T]``, nominally in [-1, 1], finite.
        sample_rate: Hz.
    """

    samples: NDArray[np.float32]
    sample_rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise InvalidInput(f"samples must be [C, T], got shape {tuple(self.samples.shape)}")
        if str(self.samples.dtype) != "float32":
            raise InvalidInput(f"samples must be float32, got {self.samples.dtype}")
        if self.sample_rate <= 0:
            raise InvalidInput(f"sample_rate must be positive, got {self.sample_rate}")

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate


class StemKind(StrEnum):
    AUDIO = "audio"
    MIDI = "midi"


class Channel(StrEnum):
    """A way in which references reach the model."""

    PROMPT = "prompt"
    INIT = "init"


@dataclass(frozen=True, order=True)
class Key:
    """A musical key.

    Attributes:
        tonic: pitch class, 0 = C … 11 = B.
        minor: True for minor, False for major.
    """

    tonic: int
    minor: bool

    def __post_init__(self) -> None:
        if not 0 <= self.tonic <= 11:
            raise InvalidInput(f"tonic must be 0…11, got {self.tonic}")

    def __str__(self) -> str:
        return f"{_PITCH_NAMES[self.tonic]} {'minor' if self.minor else 'major'}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read ``A minor``, ``Am``, ``F# major``, ``Bbm``, ``C``, ``e flat minor``…

        Raises:
            InvalidInput: the text is not a key.
        """
        found = _KEY.fullmatch(text.strip())
        if found is None:
            raise InvalidInput(
                f"{text!r} is not a key", hint="write it like 'A minor', 'F# major' or 'Bbm'"
            )
        letter, accidental, mode = found.groups()
        sharp = {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
        shift = sharp[accidental.lstrip("-")] if accidental else 0
        minor = mode is not None and mode in {"m", "minor", "min", "moll"}
        return cls((_LETTERS[letter.upper()] + shift) % 12, minor)

    def relative(self) -> Key:
        """The key with the same notes in the other mode."""
        return Key((self.tonic + (3 if self.minor else 9)) % 12, not self.minor)

    def neighbours(self) -> tuple[Key, ...]:
        """This key, its relative, and both a fifth up and down (circle of fifths)."""
        relative = self.relative()
        shifted = [Key((k.tonic + step) % 12, k.minor) for k in (self, relative) for step in (7, 5)]
        return (self, relative, *shifted)

    def semitones_to(self, other: Key) -> int:
        """Smallest transposition in -6…+5 that brings this key's notes onto ``other``'s.

        Keys of different mode are compared through the relative key, whose notes are the same.
        """
        source = self if self.minor == other.minor else self.relative()
        return (other.tonic - source.tonic + 6) % 12 - 6


@dataclass(frozen=True)
class Stem:
    """One library item.

    Attributes:
        id: sha256 of the file's bytes, hex.
        library: id of its library.
        path: POSIX path below the library's root.
        artist: as declared in ``stems.csv``, else from file tags, else empty.
        artist_declared: True only when ``stems.csv`` names the artist; file tags grant no rights.
        license: id of its license in its library.
        downbeat_s: time of the first bar line, where declared.
        instruments: General MIDI program names (MIDI) or empty.
        *_confidence: 0…1; 1 means declared.
    """

    id: str
    library: str
    path: str
    kind: StemKind
    license: str
    duration_s: float
    artist: str = ""
    artist_declared: bool = False
    title: str = ""
    tags: tuple[str, ...] = ()
    bpm: float | None = None
    bpm_confidence: float = 0.0
    key: Key | None = None
    key_confidence: float = 0.0
    downbeat_s: float | None = None
    isrc: str = ""
    iswc: str = ""
    loudness_lufs: float | None = None
    instruments: tuple[str, ...] = ()

    @property
    def license_key(self) -> str:
        """The key of its :class:`License`."""
        return f"{self.library}/{self.license}"

    @property
    def caption(self) -> str:
        """What is known about it in words: the text that keyword search reads."""
        parts = [self.title, self.artist, ", ".join(self.tags), ", ".join(self.instruments)]
        if self.key is not None:
            parts.append(str(self.key))
        if self.bpm is not None:
            parts.append(f"{self.bpm:.0f} bpm")
        return ". ".join(part for part in parts if part)


@dataclass(frozen=True)
class Segment:
    """A window of a stem: the unit that is embedded and retrieved."""

    stem: Stem
    start_s: float
    duration_s: float


@dataclass(frozen=True)
class Reference:
    """A retrieved segment; rank counts from 1, a higher score is nearer."""

    segment: Segment
    score: float
    rank: int

    @property
    def stem(self) -> Stem:
        return self.segment.stem


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
        weights: one per reference, in order of rank; normalised.
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
    candidates: int = 4
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


@dataclass(frozen=True)
class PromptSpan:
    """``enriched_prompt[start:end]``, the words one reference (or, stem None, the user) gave."""

    start: int
    end: int
    text: str
    tokens: int
    stem: str | None


@dataclass(frozen=True)
class SeedPart:
    """One reference's part in the seed audio.

    Attributes:
        reference: index into :attr:`ConditioningPlan.references`.
        weight: share of the references' mix by energy over the whole piece; all weights sum to 1.
        time_ratio: output duration / input duration of the stretch.
        semitones: transposition.
        gain_db: applied after conforming, before the weight.
        loop_s: length of the loop after stretching; 0 when the part needs no loop.
        rendered: played from its score at the wanted tempo and key, not stretched.
        instruments: General MIDI names in place of the score's, by number of notes; drums stay.
        layer: what of the reference; None: all of it.
        start_s, end_s: where in the piece it sounds; None: to the end.
    """

    reference: int
    weight: float
    time_ratio: float
    semitones: int
    gain_db: float
    loop_s: float
    rendered: bool = False
    instruments: tuple[str, ...] = ()
    layer: Layer | None = None
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def is_whole(self) -> bool:
        """All of the reference, all the time."""
        return self.layer is None and self.start_s == 0.0 and self.end_s is None


@dataclass(frozen=True)
class InheritedSource:
    """A source of the sound that an edit began with.

    Attributes:
        reference: index into :attr:`ConditioningPlan.references`.
        used: its share of each channel there, before the edit.
    """

    reference: int
    used: Mapping[Channel, float]


@dataclass(frozen=True)
class Edit:
    """How a plan's output comes from another sound.

    Attributes:
        kind: ``inpaint``, ``extend`` or ``vary``.
        parent: number of the output of ours that was edited; None: a file from elsewhere.
        ancestors: the parent, its parent, and so on.
        source_sha256: of the edited file's bytes.
        source_rights: ``own`` or ``licensed``: what the user stated about the file, if anything.
        regions: (start, end) of what was made, in seconds of the output.
        kept: share of the output, 0…1, that is the edited sound: by time; of ``vary`` the share
            of the starting latents' energy.
    """

    kind: str
    parent: int | None
    ancestors: tuple[int, ...]
    source_sha256: str
    source_rights: str | None
    regions: tuple[tuple[float, float], ...]
    kept: float
    inherited: tuple[InheritedSource, ...] = ()


@dataclass(frozen=True)
class ConditioningPlan:
    """What will be given to the model. Pure data: it can be printed, logged and replayed.

    Attributes:
        melody: plays in the seed beside the references' parts, or alone.
    """

    prompt: str
    enriched_prompt: str
    spans: tuple[PromptSpan, ...]
    negative_prompt: str
    references: tuple[Reference, ...]
    licenses: tuple[License, ...]
    seed_parts: tuple[SeedPart, ...]
    channels: frozenset[Channel]
    strength: float
    bpm: float | None
    key: Key | None
    duration_s: float
    seed: int
    steps: int
    guidance: float
    variations: int
    model: str
    notes: tuple[str, ...] = ()
    enforcement: Enforcement = field(default_factory=Enforcement)
    controls: Controls = field(default_factory=Controls)
    edit: Edit | None = None
    mix: Mix = Mix.WAVEFORM
    melody: Melody | None = None

    @property
    def is_seeded(self) -> bool:
        """Whether it starts from sound: of references, or of a melody."""
        return bool(self.seed_parts) or self.melody is not None

    @property
    def references_weight(self) -> float:
        """The references' share of the seed's energy; a melody has the rest."""
        return 1.0 if self.melody is None else 1.0 - self.melody.weight


@dataclass(frozen=True)
class Influence:
    """One source's three numbers, never blended.

    Attributes:
        used: exact share of each conditioning channel, from the plan.
        causal: measured by counterfactual; None when not measured or below the noise floor.
        similar: cosine in the embedding space between source segment and output.
    """

    used: Mapping[Channel, float]
    causal: float | None = None
    similar: float | None = None


@dataclass(frozen=True)
class Played:
    """A part of an output's seed that a source played.

    Attributes:
        layer: what of the source; empty: all of it.
        start_s, end_s: where in the output. weight: share of the seed's energy.
    """

    layer: str
    start_s: float
    end_s: float
    weight: float


@dataclass(frozen=True)
class SourceUse:
    """A source as the ledger holds it: what it was, under which license, and how it was used.

    Attributes:
        played: its parts in the seed, where the seed was layered or arranged.
    """

    reference: Reference
    license: License
    influence: Influence
    played: tuple[Played, ...] = ()


@dataclass(frozen=True)
class AttributionRecord:
    """What the ledger holds for one output.

    Attributes:
        output: the number the watermark carries.
        created: UTC.
        request, plan: JSON documents, complete enough to replay.
        model_share: what the model and the user's own words contribute to each channel.
        pcm_sha256: of the samples before marking.
        files: name → sha256 of each file as delivered.
        watermark: what was embedded, or why nothing was.
        versions: library versions that produced the samples.
        checks: what the output gate measured, and the fingerprint's hash.
        signature: signer's certificate and manifest of the content credentials, or why none.
    """

    output: int
    created: datetime
    request: Mapping[str, Any]
    plan: Mapping[str, Any]
    sources: tuple[SourceUse, ...]
    model_share: Mapping[Channel, float]
    model: str
    model_id: str
    embedder_id: str
    index_id: str
    untrained: bool
    seed: int
    pcm_sha256: str
    marked_pcm_sha256: str
    files: Mapping[str, str]
    watermark: Mapping[str, Any]
    versions: Mapping[str, str]
    checks: Mapping[str, Any] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """One finished output."""

    audio: Audio
    files: tuple[str, ...]
    plan: ConditioningPlan
    record: AttributionRecord


@dataclass(frozen=True)
class SegmentFilter:
    """Which segments a search may return: every field that is set must hold, lists are any-of.

    ``license_keys`` is never optional: rights are a filter, not an afterthought.
    """

    license_keys: frozenset[str]
    artists: tuple[str, ...] = ()
    bpm_ranges: tuple[tuple[float, float], ...] = ()
    keys: tuple[Key, ...] = ()
    kind: StemKind | None = None
    tags: tuple[str, ...] = ()
    min_duration_s: float | None = None
    stems: tuple[str, ...] = ()
    exclude: tuple[str, ...] = field(default=())

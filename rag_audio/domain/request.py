"""What the user asks for."""

from __future__ import annotations

from dataclasses import KW_ONLY, MISSING, dataclass
from enum import StrEnum

from rag_audio.domain import fields, limits
from rag_audio.domain.controls import (
    DEFAULT_CANDIDATES,
    Aim,
    AudioAs,
    Enforcement,
    Layer,
    Mix,
    Mixing,
    named_window,
)
from rag_audio.domain.fields import (
    AUDIO_RIGHTS,
    FILE,
    FLAG,
    IDS,
    KEY,
    LAYERS,
    NUMBER,
    REFERENCES,
    SECTIONS,
    SEED,
    STEMS,
    TERRITORY,
    TEXT,
    TEXTS,
    TIME_SIGNATURE,
    WEIGHTS,
    WHOLE,
    On,
    asked,
    choice,
    choices,
)
from rag_audio.domain.identifiers import COUNTRIES
from rag_audio.domain.licensing import Use
from rag_audio.domain.limits import Items, Number, Text
from rag_audio.domain.music import Key, Signature, bar_s, require_signature
from rag_audio.errors import InvalidInput


class Channel(StrEnum):
    """A way in which references reach the model."""

    PROMPT = "prompt"
    INIT = "init"


DEFAULT_REFERENCES = 3
"""How many references are found for a request that neither names any nor says how many."""

USE_OF = {Channel.PROMPT: Use.PROMPT, Channel.INIT: Use.INIT_AUDIO}
"""The use that a license must grant for a channel."""


@fields.documented
@dataclass(frozen=True, kw_only=True)
class Controls:
    """Musical fields of a request that are put in words for the model, tempo and key aside.

    They are fields of every :class:`GenerationRequest`, and a plan and its replay have them too.

    Attributes:
        time_signature: (beats, unit) such as (3, 4); None: not asked for, bars are of 4/4.
        bars: length in bars of that signature, see :func:`rag_audio.domain.music.bar_s`.
        instrumentation, mood: at most eight of each, in the user's own words.
    """

    time_signature: Signature | None = asked(
        None, TIME_SIGNATURE, "Such as 3/4.", None, "controls", On.ALL,
        edit="Such as 3/4: where bar lines lie (the file's own, else 4/4).",
        api_edit="Where bar lines lie; left out, as what is edited.",
    )  # fmt: skip
    bars: int | None = asked(
        None, WHOLE, "Length in bars, in place of seconds.", limits.BAR, "controls"
    )
    instrumentation: tuple[str, ...] = asked(
        (), TEXTS, "Such as 'electric piano,upright bass'.", Items(8, limits.WORD), "controls",
        api="Such as electric piano.",
    )  # fmt: skip
    mood: tuple[str, ...] = asked(
        (), TEXTS, "Such as 'calm,dusty'.", Items(8, limits.WORD), "controls", api="Such as calm."
    )

    def __post_init__(self) -> None:
        fields.settle(self)
        if self.time_signature is not None:
            require_signature(self.time_signature)
        fields.check_limits(self)

    def length_s(self, bpm: float) -> float | None:
        """Seconds that the bars last at a tempo; None where no bars were asked for."""
        return None if self.bars is None else self.bars * bar_s(bpm, self.time_signature)


@fields.documented
@dataclass(frozen=True)
class GenerationRequest(Controls):
    """Everything the user asked for. None means: let the product choose, and record what it chose.

    Values are brought to the types below (:mod:`.fields`): a key or an enumeration
    may be given by name, a list in place of a tuple, one text in place of several, a path, numbers
    of numpy.

    Attributes:
        references: stem ids (or unambiguous prefixes) that must be used; ``ID@4-12`` is the part
            from second 4 to 12.
        libraries, licenses: of the references that are retrieved: ids, and keys
            (``library/license``) or ids of licenses that only one library has.
        k: how many references to retrieve; None is 3, or none beside named ``references``.
        strength: 0 < s ≤ 1; how far the result may leave the references' audio; 1 ignores it.
        auto_strength: scores and licenses of the references decide, in place of ``strength``.
        channels: how references may reach the model.
        weights: one per reference, in order of rank; or one per named reference, and those that
            are found besides weigh 1. Normalised.
        audio_rights: ``own`` or ``licensed``: what the user states about ``audio``.
        model: checkpoint, a directory or a hub id; None is the configured one.
        midi_instruments: General MIDI names that play the scores in place of their own.
        enforce: what is measured on ``candidates`` takes a variation, and put right.
        subtype: encoding of the file, see :func:`rag_audio.audio.headers.format_of`.
        mix, layers, arrange: see :class:`.Mixing`; stems that are named there
            are references.
        free_time: what has no tempo may play beside what has one.
        audio_as: what ``audio`` is for; None: its melody where it is evidently one voice and
            nothing that is known, else the search.
    """

    prompt: str = asked(
        MISSING, TEXT, "What the music should be like.", Text(limits.PROMPT.most, least=1), "words"
    )
    negative_prompt: str = asked(
        "", TEXT, "What it should not be.", limits.PROMPT, "words", On.ALL, option="negative"
    )
    _: KW_ONLY
    artist: str | None = asked(
        None, TEXT, "A licensed artist's style.", limits.NAME, "sources", On.ALL, is_public=True
    )
    references: tuple[str, ...] = asked(
        (), REFERENCES, "Stem that must be used, or STEM@4-12 for a part of it; repeatable.",
        Items(limits.MOST_REFERENCES), "sources", On.ALL, option="reference",
        edit="Stem that must be used; repeatable.",
        api="Stems, or parts of them, that must be used.",
    )  # fmt: skip
    libraries: tuple[str, ...] = asked(
        (), IDS, "Find references in this library only; repeatable.", limits.SEARCH["libraries"],
        "sources", On.ALL, option="library", sparse=True,
        api="Libraries that references are found in; left out, in all.",
    )  # fmt: skip
    licenses: tuple[str, ...] = asked(
        (), IDS, "Find references under this license only, LIBRARY/LICENSE; repeatable.",
        limits.SEARCH["licenses"], "sources", On.ALL, option="license", sparse=True,
        api="Licenses that references are found under, as library/license; left out, under all.",
    )  # fmt: skip
    audio: str | None = asked(
        None, FILE, "Sound of yours: its melody is followed, or like sound is found.", None,
        "sources",
        api="An upload to follow or to be near.",
    )  # fmt: skip
    audio_as: AudioAs | None = asked(
        None, choice(AudioAs),
        "melody or search: what --audio is for; left out, its sound decides.", None, "sources",
        api="Follow its melody, or find references near it; left out, its sound decides.",
    )  # fmt: skip
    midi: str | None = asked(
        None, FILE, "Find references like this score.", None, "sources",
        api="An uploaded score to be near.",
    )  # fmt: skip
    k: int | None = asked(
        None, WHOLE, "How many to retrieve (3).", Number(0, limits.MOST_REFERENCES), "sources",
        On.ALL, option="references", label="references to find (k)",
        edit="How many references to retrieve (0).", api="How many references to retrieve.",
    )  # fmt: skip
    strength: float | None = asked(
        None, NUMBER, "More than 0, at most 1: how far to leave the references' sound; or auto.",
        Number(0, 1, above=True), "sources", On.ALL, auto="auto_strength",
        api="How far to leave the references' sound.",
        api_edit="How far to leave the sound that is edited.",
    )  # fmt: skip
    auto_strength: bool = asked(
        False, FLAG, "Scores and licenses of the references decide, in place of strength.", None,
        "sources", On.GENERATIONS,
    )  # fmt: skip
    bpm: float | None = asked(
        None, NUMBER, "Tempo.", limits.BPM, "words", On.ALL, edit="Tempo (the file's own)."
    )
    key: Key | None = asked(None, KEY, "Such as 'A minor'.", None, "words", On.ALL)
    duration_s: float | None = asked(
        None, NUMBER, "Length in seconds.", limits.DURATION_S, "sampling", option="duration"
    )
    seed: int | None = asked(None, SEED, "Same seed, same music.", limits.SEED, "sampling", On.ALL)
    steps: int | None = asked(None, WHOLE, "Denoising steps.", limits.STEPS, "sampling", On.ALL)
    guidance: float | None = asked(
        None,
        NUMBER,
        "How closely to follow the words (classifier-free guidance).",
        limits.GUIDANCE,
        "sampling",
        On.ALL,
    )
    model: str | None = asked(
        None, TEXT, "Checkpoint: directory or hub id.", None, "sampling", On.CLI, is_public=True
    )
    variations: int = asked(
        1,
        WHOLE,
        "How many outputs, each with a seed of its own.",
        limits.VARIATIONS,
        "sampling",
        On.ALL,
        api="Takes.",
    )
    channels: frozenset[Channel] = asked(
        frozenset(Channel),
        choices(Channel),
        "How references reach the model: prompt (words), init (sound).",
        None,
        "use",
    )
    weights: tuple[float, ...] | None = asked(
        None, WEIGHTS, "One per reference, or per --reference: 2,1,1.",
        Items(limits.MOST_REFERENCES, limits.WEIGHT), "use",
        api="One per named reference, in order; each one that is found besides weighs 1.",
    )  # fmt: skip
    exclude: tuple[str, ...] = asked(
        (), STEMS, "Stem that must not be used; repeatable.", limits.STEM_IDS, "use",
        On.GENERATE | On.API, api="Stems that are never used.",
    )  # fmt: skip
    audio_rights: str | None = asked(
        None, AUDIO_RIGHTS, "own or licensed: what you state about --audio.", None, "use", On.ALL,
        label="audio rights", edit="own or licensed: what you state about a file from elsewhere.",
        api="What you state about the sound that you brought.",
    )  # fmt: skip
    mix: Mix = asked(
        Mix.WAVEFORM, choice(Mix),
        "waveform or latent: where references of one harmony are mixed; all: every reference.",
        None, "mixing", api="How references blend.",
    )  # fmt: skip
    free_time: bool = asked(
        False, FLAG, "References without a tempo may play in their own time.", None, "mixing",
        sparse=True,
    )  # fmt: skip
    layers: tuple[tuple[Layer, str], ...] = asked(
        (), LAYERS, "drums=STEM or harmony=STEM: only that of a stem; may be repeated.",
        Items(limits.MOST_REFERENCES), "mixing", option="layer",
        api="Stems of which only a layer is used.",
    )  # fmt: skip
    arrange: tuple[tuple[str, int, int], ...] = asked(
        (), SECTIONS, "Who plays in which bars: STEM:1-4,STEM:5-8.", Items(256), "mixing",
        api="Who plays in which bars.",
    )  # fmt: skip
    enforce: frozenset[Aim] = asked(
        frozenset(), choices(Aim),
        "tempo,key: make --candidates, keep the nearest, conform it.", None, "promises",
        api="Make candidates, keep the best, conform what is off.",
    )  # fmt: skip
    candidates: int = asked(
        DEFAULT_CANDIDATES, WHOLE, "How many candidates --enforce measures (4).", limits.CANDIDATES,
        "promises", needs="enforce", api="How many takes the best is chosen from (4).",
    )  # fmt: skip
    midi_instruments: tuple[str, ...] = asked(
        (), TEXTS, "General MIDI names that play the scores, such as Vibraphone.",
        Items(16, limits.NAME), "output", is_public=True,
    )  # fmt: skip
    subtype: str | None = asked(
        None, TEXT, "16, 24, 32f; or opus in an .ogg file. Default: 24, Vorbis.", None, "output",
        On.CLI, is_public=True,
    )  # fmt: skip
    territory: str | None = asked(
        None, TERRITORY, "Where the output is used, ISO 3166-1 code such as DE.", None, "output",
        On.ALL,
    )  # fmt: skip

    def __post_init__(self) -> None:
        fields.settle(self)
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
        fields.check_limits(self)
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
        return Controls(**{name: getattr(self, name) for name in fields.fields_of(Controls)})

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
    def wanted_references(self) -> int:
        """How many references there are to be, those that are named among them."""
        if self.k is not None:
            return self.k
        return 0 if self.named else DEFAULT_REFERENCES

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

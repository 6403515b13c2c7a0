"""What requests may say. Every field has a limit; what is not known is refused.

Limits that the domain has are read from :mod:`rag_audio.limits`, under the names that fields have
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rag_audio import limits
from rag_audio.domain.request import check_territory
from rag_audio.editing import MOST_S
from rag_audio.errors import InvalidInput
from rag_audio.limits import REQUEST, SEARCH, Items, Number, Text
from rag_audio.painting import MOST_REGIONS

JOB_ID = "[0-9a-f]{32}"
MOST_FAULTS = 20
"""Faults of a request that an answer names; of the others it gives the number."""
WEB_URL = "^[Hh][Tt][Tt][Pp][Ss]?://"


def _no_controls(text: str) -> str:
    try:
        limits.check_characters("it", text)
    except InvalidInput as error:
        raise ValueError(error.message.removeprefix("it ")) from error
    return text


def _is_country(code: str) -> str:
    try:
        check_territory(code)
    except InvalidInput as error:
        raise ValueError(error.message.removeprefix("territory ")) from error
    return code


def _whole(value: Any) -> Any:
    """The members of a ``Literal`` are compared with ``==``, and ``True`` is equal to 1."""
    if isinstance(value, bool | float):
        raise PydanticCustomError("int_type", "it must be a whole number")
    return value


def _fault(field: str, said: str) -> PydanticCustomError:
    """What a body lacks as a whole, told of the field that is meant."""
    return PydanticCustomError("value_error", "{said}", {"said": said, "field": field})


def _within(limit: Number | Text | Items, default: Any = ..., **more: Any) -> Any:
    """A field with the bounds of a limit."""
    return Field(default, **_bounds(limit), **more)


def _bounds(limit: Number | Text | Items) -> Mapping[str, Any]:
    if isinstance(limit, Number):
        return {"gt" if limit.above else "ge": limit.low, "le": limit.high, "allow_inf_nan": False}
    if isinstance(limit, Text):
        return {"min_length": limit.least, "max_length": limit.most}
    return {"max_length": limit.most}


Words = Annotated[str, _within(limits.PROMPT), AfterValidator(_no_controls)]
Name = Annotated[str, _within(limits.NAME), AfterValidator(_no_controls)]
Word = Annotated[str, _within(limits.WORD), AfterValidator(_no_controls)]
StemId = Annotated[str, Field(pattern=f"^{limits.STEM_ID}$", examples=["3f1c9a"])]
UploadId = Annotated[str, Field(pattern=f"^{JOB_ID}$")]
JobId = Annotated[str, Field(pattern=f"^{JOB_ID}$")]
Territory = Annotated[
    str, Field(pattern="^[A-Za-z]{2}$", examples=["DE"]), AfterValidator(_is_country)
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Beats = Annotated[int, _within(limits.BEATS)]
Bpm = Annotated[float, _within(SEARCH["bpm"])]
# JSON has lists in the place of tuples; what is in them is as strict as everything else.
TimeSignature = Annotated[
    tuple[Beats, Annotated[Literal[1, 2, 4, 8, 16], BeforeValidator(_whole)]], Field(strict=False)
]
Span = Annotated[tuple[Annotated[float, Field(ge=0)], Positive], Field(strict=False)]
BpmRange = Annotated[tuple[Bpm, Bpm], Field(strict=False)]


class Asked(BaseModel):
    """A request's body. Values have the types of the schema, as in Python: ``"4"`` is no number,
    ``true`` neither, and 1 is not ``true``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, body: Any) -> Any:
        """Many unknown members are one fault: to make one of each takes long."""
        known = cls.model_fields
        if isinstance(body, dict) and len(body) > len(known) + MOST_FAULTS:
            unknown = [name for name in body if name not in known]
            told: dict[str, Any] = {"names": unknown[:MOST_FAULTS], "count": len(unknown)}
            raise PydanticCustomError("unknown_members", "it has unknown members", told)
        return body


class RegionAsked(Asked):
    """A part of a stem; without a duration to its end."""

    stem: StemId
    start_s: float = _within(limits.WINDOW_START_S)
    duration_s: float | None = _within(limits.WINDOW_S, None)


class MusicFields(Asked):
    """What generations and edits have in common."""

    negative_prompt: Words = ""
    artist: Name | None = Field(None, description="A licensed artist's style.")
    references: list[StemId | RegionAsked] = _within(
        REQUEST["references"], [], description="Stems, or parts of them, that must be used."
    )
    exclude: list[StemId] = _within(REQUEST["exclude"], [])
    k: int | None = _within(REQUEST["k"], None, description="How many references to retrieve.")
    strength: float | None = _within(REQUEST["strength"], None)
    bpm: float | None = _within(REQUEST["bpm"], None)
    key: Name | None = Field(None, examples=["A minor"])
    seed: int | None = _within(REQUEST["seed"], None)
    steps: int | None = _within(REQUEST["steps"], None)
    guidance: float | None = _within(REQUEST["guidance"], None)
    variations: int = _within(REQUEST["variations"], 1, description="Takes.")
    territory: Territory | None = None
    audio_rights: Literal["own", "licensed"] | None = Field(
        None, description="What you state about the sound that you brought."
    )
    format: Literal["wav", "flac", "mp3", "ogg"] = "wav"
    webhook: Annotated[str, Field(max_length=500, pattern=WEB_URL)] | None = Field(
        None, description="Is called when the job ends; see docs/api.md."
    )


_WARM: JsonValue = {
    "prompt": "warm electric piano over soft drums",
    "duration_s": 8,
    "bpm": 92,
    "key": "A minor",
    "variations": 2,
}


class LayerAsked(Asked):
    """What of a stem goes into the mix."""

    layer: Literal["drums", "harmony"]
    stem: StemId


class SectionAsked(Asked):
    """A stem and the bars that it plays in, from 1."""

    stem: StemId
    first_bar: int = _within(limits.BAR)
    last_bar: int = _within(limits.BAR)


class GenerationAsked(MusicFields):
    """Music that follows a prompt and the best licensed references."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WARM]})

    prompt: Annotated[Words, _within(REQUEST["prompt"])]
    audio: UploadId | None = Field(None, description="An upload to follow or to be near.")
    audio_as: Literal["melody", "search"] | None = Field(
        None,
        description="Follow its melody, or find references near it; left out, its sound decides.",
    )
    midi: UploadId | None = Field(None, description="An uploaded score to be near.")
    duration_s: float | None = _within(REQUEST["duration_s"], None)
    weights: list[Annotated[float, _within(limits.WEIGHT)]] | None = _within(
        REQUEST["weights"],
        None,
        description="One per named reference, in order; each one that is found besides weighs 1.",
    )
    channels: list[Literal["prompt", "init"]] | None = Field(None, max_length=2)
    enforce: list[Literal["tempo", "key"]] = Field([], max_length=2)
    candidates: int | None = _within(REQUEST["candidates"], None)
    time_signature: TimeSignature | None = Field(None, examples=[[3, 4]])
    bars: int | None = _within(REQUEST["bars"], None)
    instrumentation: list[Word] = _within(REQUEST["instrumentation"], [])
    mood: list[Word] = _within(REQUEST["mood"], [])
    midi_instruments: list[Name] = _within(REQUEST["midi_instruments"], [])
    auto_strength: bool = Field(
        False, description="Scores and licenses of the references decide, in place of strength."
    )
    mix: Literal["waveform", "latent"] | None = Field(None, description="How references blend.")
    layers: list[LayerAsked] = _within(REQUEST["layers"], [])
    arrange: list[SectionAsked] = _within(REQUEST["arrange"], [])

    @model_validator(mode="after")
    def _candidates_for_something(self) -> GenerationAsked:
        if self.candidates is not None and not self.enforce:
            raise _fault("candidates", "candidates need enforce: the best of them is chosen by it")
        return self


class EditAsked(MusicFields):
    """A change of a finished take, or of an uploaded sound."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "inpaint",
                    "generation": "0" * 32,
                    "take": 1,
                    "regions": [[2.0, 3.5]],
                    "prompt": "a drum fill",
                }
            ]
        }
    )

    kind: Literal["inpaint", "extend", "vary"]
    prompt: Words = Field("", description="Empty: the words of what is edited.")
    generation: JobId | None = Field(None, description="The job whose take is edited ...")
    take: int = _within(REQUEST["variations"], 1)
    upload: UploadId | None = Field(None, description="... or an upload.")
    time_signature: TimeSignature | None = Field(
        None, examples=[[3, 4]], description="Where bar lines lie; left out, as what is edited."
    )
    regions: list[Span] = Field(
        [],
        max_length=MOST_REGIONS,
        description="Of inpaint: [start, end] in seconds, within the sound, at least 0.1 s long, "
        "none over another.",
    )
    left_s: float = Field(
        0, ge=0, le=MOST_S, description="Of extend: seconds before the sound, 0 or at least 0.1."
    )
    right_s: float = Field(
        0, ge=0, le=MOST_S, description="Of extend: seconds after it, 0 or at least 0.1."
    )

    @model_validator(mode="after")
    def _one_source(self) -> EditAsked:
        if (self.generation is None) == (self.upload is None):
            raise ValueError("name either a generation or an upload to edit")
        if self.upload is not None and self.take != 1:
            raise _fault("take", f"take {self.take} does not belong to an upload: it has one sound")
        return self


class SearchAsked(Asked):
    """What to look for; any mix of text, sound and stems, narrowed by the rest."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "warm electric piano", "limit": 5}]}
    )

    text: Words = ""
    upload: UploadId | None = Field(None, description="Audio or MIDI to be near.")
    like: list[StemId] = _within(SEARCH["like"], [])
    artist: Name | None = None
    bpm: BpmRange | None = Field(None, examples=[[88, 96]])
    octaves: bool = True
    key: Name | None = None
    fifths: bool = False
    kind: Literal["audio", "midi"] | None = None
    tags: list[Name] = _within(SEARCH["tags"], [])
    min_duration_s: float | None = _within(SEARCH["min_duration_s"], None)
    limit: int = _within(SEARCH["k"], 10)
    variety: float = _within(SEARCH["variety"], 0.3)
    territory: Territory | None = None


class GuardAsked(Asked):
    """Prompts to judge."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompts": ["slow warm piano"]}]})

    prompts: list[Words] = Field(min_length=1, max_length=50)
    territory: Territory | None = None


class IndexingAsked(Asked):
    """What to index."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "night-shift"}]})

    name: Name = Field(description="A library's id, or the name of a folder; never a path.")


class SessionAsked(Asked):
    """Sign in with a key."""

    key: Annotated[str, Field(max_length=200)]


class RevocationAsked(Asked):
    """A source that may no longer be used."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"of": "artist", "target": "Some Artist", "preview": True}]}
    )

    of: Literal["stem", "artist", "license"]
    target: Name
    reason: Words = ""
    preview: bool = Field(True, description="Only say what it would affect.")


class WebhookRotationAsked(Asked):
    """A new secret for one's webhooks."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_hours": 24}]})

    overlap_hours: float = Field(
        24.0,
        ge=0,
        le=168,
        description="How long the earlier secret signs beside the new one; 0: it ends at once.",
    )


Document = dict[str, Any]

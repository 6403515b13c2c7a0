"""What requests may say. Every field has a limit; what is not known is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from rag_audio.editing import MOST_S
from rag_audio.painting import MOST_REGIONS

JOB_ID = "[0-9a-f]{32}"
_CONTROL = {chr(code) for code in range(32)} - {"\n", "\t"} | {"\x7f"}


def _no_controls(text: str) -> str:
    if _CONTROL & set(text):
        raise ValueError("it holds control characters")
    return text


Words = Annotated[str, Field(max_length=2000), AfterValidator(_no_controls)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_controls)]
StemId = Annotated[str, Field(pattern="^[0-9a-f]{6,64}$", examples=["3f1c9a"])]
UploadId = Annotated[str, Field(pattern=f"^{JOB_ID}$")]
JobId = Annotated[str, Field(pattern=f"^{JOB_ID}$")]
Territory = Annotated[str, Field(pattern="^[A-Za-z]{2}$", examples=["DE"])]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Asked(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class RegionAsked(Asked):
    """A part of a stem; without a duration to its end."""

    stem: StemId
    start_s: float = Field(ge=0, le=36_000)
    duration_s: float | None = Field(None, ge=1, le=36_000)


class MusicFields(Asked):
    """What generations and edits have in common."""

    negative_prompt: Words = ""
    artist: Name | None = Field(None, description="A licensed artist's style.")
    references: list[StemId | RegionAsked] = Field(
        [], max_length=16, description="Stems, or parts of them, that must be used."
    )
    exclude: list[StemId] = Field([], max_length=64)
    k: int | None = Field(None, ge=0, le=16, description="How many references to retrieve.")
    strength: float | None = Field(None, gt=0, le=1)
    bpm: float | None = Field(None, ge=20, le=400)
    key: Name | None = Field(None, examples=["A minor"])
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    steps: int | None = Field(None, ge=1, le=250)
    guidance: float | None = Field(None, ge=0, le=50)
    variations: int = Field(1, ge=1, le=4, description="Takes.")
    territory: Territory | None = None
    audio_rights: Literal["own", "licensed"] | None = Field(
        None, description="What you state about the sound that you brought."
    )
    format: Literal["wav", "flac", "mp3", "ogg"] = "wav"
    webhook: Annotated[str, Field(max_length=500, pattern="^https?://")] | None = Field(
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
    first_bar: int = Field(ge=1, le=512)
    last_bar: int = Field(ge=1, le=512)


class GenerationAsked(MusicFields):
    """Music that follows a prompt and the best licensed references."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WARM]})

    prompt: Annotated[Words, Field(min_length=1)]
    audio: UploadId | None = Field(None, description="An upload to follow or to be near.")
    audio_as: Literal["melody", "search"] | None = Field(
        None,
        description="Follow its melody, or find references near it; left out, its sound decides.",
    )
    midi: UploadId | None = Field(None, description="An uploaded score to be near.")
    duration_s: Positive | None = Field(None, ge=0.5, le=3600)
    weights: list[Annotated[float, Field(ge=0, le=1000)]] | None = Field(
        None,
        max_length=16,
        description="One per reference, in order. One per named reference: each one that is "
        "found besides weighs 1.",
    )
    channels: list[Literal["prompt", "init"]] | None = Field(None, max_length=2)
    enforce: list[Literal["tempo", "key"]] = Field([], max_length=2)
    candidates: int | None = Field(None, ge=1, le=8)
    time_signature: tuple[int, int] | None = Field(None, examples=[[3, 4]])
    bars: int | None = Field(None, ge=1, le=512)
    instrumentation: list[Name] = Field([], max_length=16)
    mood: list[Name] = Field([], max_length=16)
    midi_instruments: list[Name] = Field([], max_length=16)
    auto_strength: bool = Field(
        False, description="Scores and licenses of the references decide, in place of strength."
    )
    mix: Literal["waveform", "latent"] | None = Field(None, description="How references blend.")
    layers: list[LayerAsked] = Field([], max_length=16)
    arrange: list[SectionAsked] = Field([], max_length=64)


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
    take: int = Field(1, ge=1, le=4)
    upload: UploadId | None = Field(None, description="... or an upload.")
    regions: list[tuple[Annotated[float, Field(ge=0)], Positive]] = Field(
        [],
        max_length=MOST_REGIONS,
        description="Of inpaint: [start, end] in seconds, within the sound, at least 0.1 s long, "
        "none over another.",
    )
    left_s: float = Field(0, ge=0, le=MOST_S, description="Of extend: seconds before the sound.")
    right_s: float = Field(0, ge=0, le=MOST_S, description="Of extend: seconds after it.")

    @model_validator(mode="after")
    def _one_source(self) -> EditAsked:
        if (self.generation is None) == (self.upload is None):
            raise ValueError("name either a generation or an upload to edit")
        if self.upload is not None and self.take != 1:
            raise ValueError(f"take {self.take} does not belong to an upload: it has one sound")
        return self


class SearchAsked(Asked):
    """What to look for; any mix of text, sound and stems, narrowed by the rest."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "warm electric piano", "limit": 5}]}
    )

    text: Words = ""
    upload: UploadId | None = Field(None, description="Audio or MIDI to be near.")
    like: list[StemId] = Field([], max_length=16)
    artist: Name | None = None
    bpm: tuple[Positive, Positive] | None = Field(None, examples=[[88, 96]])
    octaves: bool = True
    key: Name | None = None
    fifths: bool = False
    kind: Literal["audio", "midi"] | None = None
    tags: list[Name] = Field([], max_length=16)
    min_duration_s: Positive | None = None
    limit: int = Field(10, ge=1, le=64)
    variety: float = Field(0.3, ge=0, le=1)
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


Document = dict[str, Any]

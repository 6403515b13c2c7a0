"""What requests may say. Every field has a limit; what is not known is refused.

The fields of generations and edits are those of :class:`.GenerationRequest`, with
the limits that stand there; other limits that the domain has are read from :mod:`.rate_limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rag_audio.domain import GenerationRequest, limits
from rag_audio.domain.fields import FILE, On, fields_of, settable_on
from rag_audio.domain.fields import Field as RequestField
from rag_audio.domain.limits import SEARCH, VARIETY, Items, Number, Text
from rag_audio.domain.request import check_territory
from rag_audio.errors import InvalidInput
from rag_audio.generation.inpainting import MOST_REGIONS
from rag_audio.pipeline.edit_orders import MOST_S

JOB_ID = "[0-9a-f]{32}"
MOST_FAULTS = 20
"""Faults of a request that an answer names; of the others it gives the number."""
WEB_URL = "^[Hh][Tt][Tt][Pp][Ss]?://"


def _checked_by(check: Callable[[str], object], name: str) -> AfterValidator:
    """Validates by a check of the domain, whose messages begin with a name."""

    def checked(text: str) -> str:
        try:
            check(text)
        except InvalidInput as error:
            raise ValueError(error.message.removeprefix(f"{name} ")) from error
        return text

    return AfterValidator(checked)


_no_controls = _checked_by(partial(limits.check_characters, "it"), "it")


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


Words = Annotated[str, _within(limits.PROMPT), _no_controls]
Name = Annotated[str, _within(limits.NAME), _no_controls]
Word = Annotated[str, _within(limits.WORD), _no_controls]
StemId = Annotated[str, Field(pattern=f"^{limits.STEM_ID}$", examples=["3f1c9a"])]
UploadId = Annotated[str, Field(pattern=f"^{JOB_ID}$")]
JobId = Annotated[str, Field(pattern=f"^{JOB_ID}$")]
Territory = Annotated[
    str, Field(pattern="^[A-Za-z]{2}$", examples=["DE"]), _checked_by(check_territory, "territory")
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


_Model = TypeVar("_Model", bound=Asked)


class LayerAsked(Asked):
    """What of a stem goes into the mix."""

    layer: Literal["drums", "harmony"]
    stem: StemId


class SectionAsked(Asked):
    """A stem and the bars that it plays in, from 1."""

    stem: StemId
    first_bar: int = _within(limits.BAR)
    last_bar: int = _within(limits.BAR)


_TYPES: Mapping[str, Any] = {
    "file": UploadId,
    "territory": Territory,
    "whole": int,
    "number": float,
    "flag": bool,
    "key": Name,
    "references": list[StemId | RegionAsked],
    "stems": list[StemId],
    "time_signature": TimeSignature,
    "layers": list[LayerAsked],
    "sections": list[SectionAsked],
}
"""Of a field, by the form of its kind; texts and choices are made of limits and members."""
_List: Any = list
_Literal: Any = Literal
_EXAMPLES: Mapping[str, list[Any]] = {"key": ["A minor"], "time_signature": [[3, 4]]}


def _type_of(field: RequestField) -> Any:
    kind, limit = field.kind, field.limit
    if isinstance(limit, Items) and limit.each is not None:
        return _List[_one_of(float if isinstance(limit.each, Number) else str, limit.each)]
    if kind.members:
        one = _Literal[kind.members]
        return _List[one] if kind.form == "choices" else one
    return _TYPES[kind.form] if kind.form in _TYPES else _one_of(str, limit or limits.NAME)


def _one_of(kind: type, limit: Number | Text | Items) -> Any:
    checked = (_no_controls,) if kind is str else ()
    return Annotated[(kind, _within(limit), *checked)]


def _field_of(field: RequestField, surface: On) -> tuple[Any, Any]:
    """Type and field of a schema; a default that chooses something is left to the domain."""
    kind, default = _type_of(field), field.default
    if default is MISSING:
        default = ...
    elif field.needs or (field.kind.members and default):
        default = None
    elif isinstance(default, tuple | frozenset):
        default = list(default)
    bounds: dict[str, Any] = {} if field.limit is None else dict(_bounds(field.limit))
    if field.kind.form == "choices":
        bounds = {"max_length": len(field.kind.members)}
    if field.kind.form in ("text", "key"):
        bounds = {}
    said: dict[str, Any] = {
        "description": field.help_on(surface),
        "examples": _EXAMPLES.get(field.kind.form),
    }
    return kind | None if default is None else kind, Field(default, **bounds, **said)


def _with_fields(surface: On) -> Callable[[type[_Model]], type[_Model]]:
    """Give a schema the fields of the request's table that a route takes."""

    def add(model: type[_Model]) -> type[_Model]:
        fields: dict[str, Any] = {
            field.name: _field_of(field, surface)
            for field in settable_on(GenerationRequest, surface)
            if field.name not in model.model_fields
        }
        made: type[_Model] = create_model(
            model.__name__, __base__=model, __doc__=model.__doc__, __module__=__name__, **fields
        )
        return made

    return add


class MusicFields(Asked):
    """What generations and edits have in common, beside the fields of the request's table."""

    format: Literal["wav", "flac", "mp3", "ogg"] = "wav"
    webhook: Annotated[str, Field(max_length=500, pattern=WEB_URL)] | None = Field(
        None, description="Is called when the job ends; see docs/api.md."
    )

    @model_validator(mode="after")
    def _needed_is_there(self) -> MusicFields:
        for name, field in fields_of(GenerationRequest).items():
            is_said = field.needs and getattr(self, name, None) is not None
            if is_said and not getattr(self, field.needs):
                raise _fault(name, f"{name} needs {field.needs}: give both, or leave it out")
        return self

    @property
    def uploads(self) -> dict[str, str]:
        """Ids of the uploads that it works with, by field."""
        files = [n for n, field in fields_of(GenerationRequest).items() if field.kind is FILE]
        named = {name: getattr(self, name, None) for name in files}
        return {name: id_ for name, id_ in named.items() if id_ is not None}


_WARM: JsonValue = {
    "prompt": "warm electric piano over soft drums",
    "duration_s": 8,
    "bpm": 92,
    "key": "A minor",
    "variations": 2,
}


@_with_fields(On.GENERATIONS)
class GenerationAsked(MusicFields):
    """Music that follows a prompt and the best licensed references."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WARM]})


@_with_fields(On.EDITS)
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
    take: int = _within(limits.VARIATIONS, 1)
    upload: UploadId | None = Field(None, description="... or an upload.")
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
    libraries: list[Name] = _within(SEARCH["libraries"], [])
    licenses: list[Name] = _within(
        SEARCH["licenses"], [], description="As library/license, or ids that one library has."
    )
    bpm: BpmRange | None = Field(None, examples=[[88, 96]])
    octaves: bool = True
    key: Name | None = None
    fifths: bool = False
    kind: Literal["audio", "midi"] | None = None
    sample_types: list[Literal["one-shot", "loop", "phrase", "song"]] = Field([], max_length=4)
    tags: list[Name] = _within(SEARCH["tags"], [])
    min_duration_s: float | None = _within(SEARCH["min_duration_s"], None)
    limit: int = _within(SEARCH["k"], 10)
    variety: float = _within(SEARCH["variety"], VARIETY)
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
    refresh: Literal["analysis"] | None = Field(
        default=None, description="Measure files of an older release anew, without embedding them."
    )


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

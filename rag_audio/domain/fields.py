"""What a field of a request is, stated once: kind, limit, help, group, and who may set it.

A dataclass declares each field by :func:`asked`. :func:`fields_of` is the table of them, by which
the command line, the schema of the API, batch files, records, plans and replays are driven;
``docs/adding-a-field.md`` adds one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, StrEnum
from functools import cache, partial
from types import MappingProxyType
from typing import Any, TypeVar

from rag_audio.domain import coercion
from rag_audio.domain.codec import FieldForm, as_integer, json_form
from rag_audio.domain.controls import Layer
from rag_audio.domain.limits import Limit
from rag_audio.domain.music import Key
from rag_audio.errors import InvalidInput

GROUPS = ("sources", "words", "controls", "sampling", "use", "mixing", "promises", "output")
"""Groups of fields, in the order in which ``--help`` shows them."""
_Owner = TypeVar("_Owner")
_SAID = "rag_audio.field"


class On(Flag):
    """Where a field can be set, beside the Python API: commands and routes."""

    GENERATE = 1
    EDIT = 2
    """``rag-audio inpaint``, ``extend`` and ``vary``."""
    GENERATIONS = 4
    """``POST /v1/generations`` and ``/v1/plans``."""
    EDITS = 8
    CLI = GENERATE | EDIT
    API = GENERATIONS | EDITS
    PIECES = GENERATE | GENERATIONS
    ALL = CLI | API


def _unchanged(name: str, value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """What the values of a field are, and the forms that they have outside of Python.

    Attributes:
        form: its name, by which the command line and the API's schema choose their types.
        read: from a value of Python or JSON, with the field's name for the error.
        parse: from what the command line or a cell of a batch holds, to what ``read`` takes.
        json: how records and plans hold them, where their type does not say it.
        shape: on the command line ``one`` value, several ``commas`` between, or an option to
            ``repeat``.
        is_free_text: a person's own words or file names: they never enter the log itself.
        members: the words that there are; empty: any.
    """

    form: str
    read: Callable[[str, Any], Any]
    parse: Callable[[str, Any], Any] = _unchanged
    json: FieldForm | None = None
    shape: str = "one"
    is_free_text: bool = False
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes:
        help: what ``--help`` says. edit: the same of an edit. api, api_edit: what the API's schema
            says. Where one is empty, the one before it holds.
        on: the surfaces that have it. option: its name on the command line, with _ for -.
        needs: a field without which this one means nothing, so that both must be given.
        auto: the flag that the word ``auto`` sets in place of a number.
        is_public: free text that may enter the log, such as a name from the library.
        sparse: records and plans hold it only where it is not the default: for every field that
            is added after the first release.
        label: what messages call it.
    """

    name: str
    default: Any
    kind: Kind
    help: str
    limit: Limit | None
    group: str
    on: On
    option: str
    label: str
    edit: str = ""
    api: str = ""
    api_edit: str = ""
    needs: str = ""
    auto: str = ""
    is_public: bool = False
    sparse: bool = False

    def help_on(self, surface: On) -> str:
        """What a surface says of it."""
        if surface in On.CLI:
            return (self.edit if surface is On.EDIT else "") or self.help
        return (self.api_edit if surface is On.EDITS else "") or self.api or self.help


def asked(
    default: Any,
    kind: Kind,
    help: str,
    limit: Limit | None,
    group: str,
    on: On = On.PIECES,
    **more: Any,
) -> Any:
    """Declare a field of a frozen dataclass; the arguments are those of :class:`Field`."""
    said = {"kind": kind, "help": help, "limit": limit, "group": group, "on": on, **more}
    return dataclasses.field(default=default, metadata={_SAID: said})


def fields_of(owner: type[Any]) -> Mapping[str, Field]:
    """The fields of a dataclass that are declared by :func:`asked`, by name, in order."""
    hashable: Any = owner
    return _fields_of(hashable)


@cache
def _fields_of(owner: Any) -> Mapping[str, Field]:
    found = {
        one.name: Field(
            **{"name": one.name, "default": one.default, "option": one.name, "label": one.name}
            | one.metadata[_SAID]
        )
        for one in dataclasses.fields(owner)
        if _SAID in one.metadata
    }
    return MappingProxyType(found)


def settable_on(owner: type, surface: On) -> tuple[Field, ...]:
    """The fields that a surface has, by their groups."""
    there = [one for one in fields_of(owner).values() if surface in one.on]
    return tuple(sorted(there, key=lambda one: GROUPS.index(one.group)))


def settle(owner: object) -> None:
    """Bring the fields of a frozen dataclass to their types, while it is made.

    Raises:
        InvalidInput: a value is of another type.
    """
    said = fields_of(type(owner)).items()
    unset = [name for name, one in said if one.default is None]
    coercion.settle(owner, {name: one.kind.read for name, one in said}, unset)


def check_limits(owner: object) -> None:
    """Check every field against its limit.

    Raises:
        InvalidInput: a value is beyond it.
    """
    for name, one in fields_of(type(owner)).items():
        if one.limit is not None:
            one.limit.check(one.label, getattr(owner, name))


def documented(owner: type[_Owner]) -> type[_Owner]:
    """State to the codec how a class of declared fields is written: sparse ones last, if at all."""
    said = fields_of(owner).items()
    return json_form(
        later=tuple(name for name, one in said if one.sparse),
        forms={name: one.kind.json for name, one in said if one.kind.json is not None},
    )(owner)


def public_names(owner: type) -> frozenset[str]:
    """Fields whose texts may enter the log as they are; all others are committed to."""
    fields = fields_of(owner).items()
    return frozenset(name for name, one in fields if one.is_public or not one.kind.is_free_text)


def key_of(name: str, value: object) -> Key:
    """A key, or its name such as ``A minor``."""
    if isinstance(value, Key):
        return value
    if not isinstance(value, str):
        raise coercion.refused(name, value, "a key such as 'A minor'")
    return Key.parse(coercion.text(name, value))


def _stems(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple | str):
        return coercion.texts(name, value)
    raise coercion.refused(name, value, "stem ids", hint="k is how many to retrieve")


def _time_signature(name: str, value: object) -> tuple[int, int]:
    beats, unit = coercion.pair(name, value, "two whole numbers, such as (3, 4)")
    return coercion.whole(name, beats), coercion.whole(name, unit)


def _layers(name: str, value: object) -> tuple[tuple[Layer, str], ...]:
    found = coercion.rows(name, value, 'pairs such as ("drums", STEM)', 2)
    return tuple(
        (coercion.one_of(name, layer, Layer), coercion.text(name, stem)) for layer, stem in found
    )


def _sections(name: str, value: object) -> tuple[tuple[str, int, int], ...]:
    found = coercion.rows(name, value, "sections such as (STEM, 1, 4)", 3)
    return tuple(
        (coercion.text(name, stem), coercion.whole(name, first), coercion.whole(name, last))
        for stem, first, last in found
    )


def words(name: str, text: str) -> tuple[str, ...]:
    """``calm,dusty`` → words."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _weights_from(name: str, text: str) -> tuple[float, ...]:
    """``2,1,1`` → numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise coercion.refused(name, text, "numbers such as 2,1,1") from error


def _signature_from(name: str, text: str) -> tuple[int, int]:
    """``3/4`` → beats and unit."""
    beats, _, unit = text.partition("/")
    if not (beats.strip().isdecimal() and unit.strip().isdecimal()):
        raise InvalidInput(f"{text!r} is no time signature", hint="write it like 3/4")
    return int(beats), int(unit)


def _layers_from(name: str, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``drums=STEM`` → layers and stems."""
    found = []
    for text in texts:
        layer, _, stem = (part.strip() for part in text.partition("="))
        if layer not in list(Layer) or not stem:
            raise InvalidInput(
                f"{text!r} is no layer", hint="--layer drums=STEM --layer harmony=STEM"
            )
        found.append((layer, stem))
    return tuple(found)


_SECTION = re.compile(r"\s*([^\s:,]+)\s*:\s*(\d+)\s*(?:[-–]\s*(\d+))?\s*")


def _sections_from(name: str, text: str) -> tuple[tuple[str, int, int], ...]:
    """``STEM:1-4,STEM:5-8`` → stems with first and last bar; ``STEM:5`` is one bar."""
    sections = []
    for part in text.split(",") if text.strip() else ():
        found = _SECTION.fullmatch(part)
        if found is None:
            raise InvalidInput(f"{part!r} is no section", hint='--arrange "STEM:1-4,STEM:5-8"')
        stem, first, last = found.groups()
        sections.append((stem, int(first), int(last or first)))
    return tuple(sections)


def choice(members: type[StrEnum]) -> Kind:
    """One member of an enumeration."""
    read = partial(coercion.one_of, kind=members)
    return Kind("choice", read, members=tuple(one.value for one in members))


def choices(members: type[StrEnum]) -> Kind:
    """A set of an enumeration's members."""
    read = partial(coercion.some_of, kind=members)
    return Kind("choices", read, words, shape="commas", members=tuple(one.value for one in members))


TEXT = Kind("text", coercion.text, is_free_text=True)
FILE = Kind("file", coercion.file_name, is_free_text=True)
TERRITORY = Kind("territory", coercion.text)
WHOLE = Kind("whole", coercion.whole)
SEED = Kind("whole", coercion.whole, json=FieldForm(str, as_integer))
"""Always text in a document, since JSON does not hold every one exactly."""
NUMBER = Kind("number", coercion.number)
FLAG = Kind("flag", coercion.flag)
KEY = Kind("key", key_of)
TEXTS = Kind("texts", coercion.texts, words, shape="commas", is_free_text=True)
REFERENCES = Kind("references", _stems, shape="repeat")
STEMS = Kind("stems", coercion.texts, shape="repeat")
IDS = Kind("ids", coercion.texts, shape="repeat")
"""Of libraries or licenses."""
WEIGHTS = Kind("weights", coercion.numbers_of, _weights_from, shape="commas")
TIME_SIGNATURE = Kind("time_signature", _time_signature, _signature_from)
LAYERS = Kind("layers", _layers, _layers_from, shape="repeat")
SECTIONS = Kind("sections", _sections, _sections_from, shape="commas")
AUDIO_RIGHTS = Kind("choice", coercion.text, members=("own", "licensed"))
"""What users state about a sound that they bring."""

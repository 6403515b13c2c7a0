"""Frozen dataclasses as JSON documents and back, by the types of their fields.

A field is written under its own name, in the order of the class: an enumeration as its value, a
tuple as a list, a set as a sorted list, a day or moment as ISO 8601, a dataclass as an object.
Canonical JSON (RFC 8785) can hold every document: an integer past 2^53 and a float that is not
finite, or as large, are written as strings. What a class does otherwise is stated once, by
:func:`json_form` on the class, or by its :class:`FieldForm` in :data:`FORMS`.

Reading is strict: every value must have the form in which it would have been written. Names that a
class does not know are ignored.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from rag_audio.errors import InvalidInput, RagAudioError

Document = dict[str, Any]
"""One JSON object."""

SAFE_INTEGER = 2**53 - 1
"""The greatest whole number that every reader of JSON holds exactly."""

_Noun = TypeVar("_Noun")


@dataclass(frozen=True)
class FieldForm:
    """How the values of a type, or of one field, are written and read.

    ``read`` raises TypeError, ValueError, KeyError, AttributeError or a :class:`RagAudioError`.
    """

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


@dataclass(frozen=True)
class _Rules:
    named: str = ""
    later: tuple[str | tuple[str, ...], ...] = ()
    flat: tuple[str, ...] = ()
    as_list: bool = False
    forms: Mapping[str, FieldForm] = field(default_factory=dict)


_RULES: dict[type, _Rules] = {}


def json_form(
    *,
    named: str = "",
    later: tuple[str | tuple[str, ...], ...] = (),
    flat: tuple[str, ...] = (),
    as_list: bool = False,
    forms: Mapping[str, FieldForm] | None = None,
) -> Callable[[type[_Noun]], type[_Noun]]:
    """State how the JSON form of a dataclass differs from that of others.

    Args:
        named: how messages call it, also where it is a part of a larger document.
        later: fields that the first releases did not have. They stand last, in this order, and
            only where they differ from their default, so that older documents keep their hashes;
            fields in a tuple are written together or not at all.
        flat: fields whose own fields are written into the document of the class.
        as_list: the values alone, as a list, in place of an object.
        forms: of fields that are not written as their type says; None stays None where it may
            stand.
    """

    def state(kind: type[_Noun]) -> type[_Noun]:
        _RULES[kind] = _Rules(named, later, flat, as_list, forms or {})
        return kind

    return state


def encode(value: object) -> Document:
    """A dataclass as a JSON object."""
    document: Document = form_of(type(value)).write(value)
    return document


def decode(kind: type[_Noun], document: Any) -> _Noun:
    """The inverse of :func:`encode`.

    Raises:
        InvalidInput: the document lacks a field, or one has the wrong form.
    """
    if _RULES.get(kind, _Rules()).named:
        return read(kind, document)
    return read_noun(kind.__name__.lower(), document, lambda said: read(kind, said))


def read(kind: type[_Noun], document: Any) -> _Noun:
    """:func:`decode` with the errors of a :class:`FieldForm`, for callers who word them."""
    noun: _Noun = form_of(kind).read(document)
    return noun


def read_noun(what: str, document: Any, build: Callable[[Any], _Noun]) -> _Noun:
    """Run ``build`` and say in one line which document was wrong when it fails.

    Raises:
        InvalidInput: it was.
    """
    try:
        return build(document)
    except KeyError as error:
        raise InvalidInput(f"the {what} lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidInput(f"the {what} cannot be read: {error}") from error
    except RagAudioError as error:
        raise InvalidInput(f"the {what} cannot be read: {error.message}", error.hint) from error


def form_of(kind: Any) -> FieldForm:
    """The form of a type: of a class, or of a generic such as ``tuple[str, ...]``.

    Raises:
        TypeError: it has none.
    """
    if kind not in FORMS:
        FORMS[kind] = _made(kind)
    return FORMS[kind]


def _made(kind: Any) -> FieldForm:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) and len(inner) == 2 and type(None) in inner:
        return _optional(form_of(next(one for one in inner if one is not type(None))))
    if origin is tuple and inner[-1] is ...:
        return _sequence(form_of(inner[0]), tuple)
    if origin is tuple:
        return _row([form_of(one) for one in inner], tuple)
    if origin is frozenset:
        return _sequence(form_of(inner[0]), frozenset, sorted)
    if origin in (Mapping, dict):
        return _mapping(form_of(inner[0]), form_of(inner[1]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return FieldForm(attrgetter("value"), kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind)
    raise TypeError(f"{kind} has no JSON form")


def number(value: Any) -> float | int | str:
    """A number as JSON holds it exactly."""
    return value if abs(value) <= SAFE_INTEGER else str(value)  # nan is not less either


def plain(value: Any) -> Any:
    """Any value in JSON's own types, numbers as :func:`number` writes them."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    return value


def as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def as_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value


def as_real(value: Any) -> float:
    """A number; a string is read only where it stands for a number that JSON cannot hold."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"expected a number, got {value!r}")
    try:
        real = float(value)
    except OverflowError as error:
        raise ValueError("a whole number has too many digits") from error
    if isinstance(value, str) and abs(real) <= SAFE_INTEGER:
        raise TypeError(f"expected a number, got {value!r}")
    return real


def as_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"expected a whole number, got {value!r}")
    return int(value)


def as_items(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, got {value!r}")
    return list(value)


def _same(value: Any) -> Any:
    return value


def _day(value: Any) -> date:
    """A day, or a date-time with its offset."""
    text = as_text(value)
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


FORMS: dict[Any, FieldForm] = {
    str: FieldForm(_same, as_text),
    bool: FieldForm(_same, as_truth),
    int: FieldForm(number, as_integer),
    float: FieldForm(number, as_real),
    date: FieldForm(methodcaller("isoformat"), _day),
    datetime: FieldForm(lambda at: at.astimezone(UTC).isoformat(), datetime.fromisoformat),
    Path: FieldForm(str, lambda name: Path(as_text(name))),
    Any: FieldForm(plain, _same),
}
"""By type; a module whose class is written otherwise than its fields say adds that form."""


def _optional(form: FieldForm) -> FieldForm:
    return FieldForm(
        lambda value: None if value is None else form.write(value),
        lambda value: None if value is None else form.read(value),
    )


def _sequence(
    form: FieldForm, collect: Callable[[Iterable[Any]], Any], order: Callable[..., list[Any]] = list
) -> FieldForm:
    write, read = form.write, form.read
    return FieldForm(
        lambda items: order([write(item) for item in items]),
        lambda items: collect([read(item) for item in as_items(items)]),
    )


def _row(forms: list[FieldForm], build: Callable[[list[Any]], Any]) -> FieldForm:
    """A list with a form for each of its places."""

    def read(items: Any) -> Any:
        found = as_items(items)
        if len(found) != len(forms):
            raise ValueError(f"expected {len(forms)} values, got {found!r}")
        return build([form.read(item) for form, item in zip(forms, found, strict=True)])

    return FieldForm(
        lambda row: [form.write(one) for form, one in zip(forms, row, strict=True)], read
    )


def _mapping(names: FieldForm, values: FieldForm) -> FieldForm:
    return FieldForm(
        lambda mapping: {names.write(name): values.write(one) for name, one in mapping.items()},
        lambda mapping: {names.read(name): values.read(one) for name, one in mapping.items()},
    )


def _dataclass(kind: type[Any]) -> FieldForm:
    rules = _RULES.get(kind, _Rules())
    hints = get_type_hints(kind)
    forms = {one.name: _field(hints[one.name], rules.forms.get(one.name)) for one in fields(kind)}
    if rules.as_list:
        row = _row(list(forms.values()), lambda values: kind(*values))
        return FieldForm(lambda noun: row.write([getattr(noun, name) for name in forms]), row.read)
    written = _writer(kind, rules, forms)
    build = _reader(kind, rules, forms)
    if not rules.named:
        return FieldForm(written, build)
    return FieldForm(written, lambda document: read_noun(rules.named, document, build))


def _field(hint: Any, own: FieldForm | None) -> FieldForm:
    if own is None:
        return form_of(hint)
    return _optional(own) if type(None) in get_args(hint) else own


def _writer(
    kind: type[Any], rules: _Rules, forms: dict[str, FieldForm]
) -> Callable[[Any], Document]:
    groups = [(one,) if isinstance(one, str) else one for one in rules.later]
    late = {name for group in groups for name in group}
    first = [(name, form.write, name in rules.flat) for name, form in forms.items()]
    first = [one for one in first if one[0] not in late]
    defaults = _defaults(kind)

    def write(noun: Any) -> Document:
        document: Document = {}
        for name, written, is_flat in first:
            value = written(getattr(noun, name))
            if is_flat:
                document |= value
            else:
                document[name] = value
        for group in groups:
            if any(getattr(noun, name) != defaults[name] for name in group):
                document |= {name: forms[name].write(getattr(noun, name)) for name in group}
        return document

    return write


def _reader(kind: type[Any], rules: _Rules, forms: dict[str, FieldForm]) -> Callable[[Any], Any]:
    late = {name for one in rules.later for name in ((one,) if isinstance(one, str) else one)}
    plan = [(name, form.read, name in rules.flat, name in late) for name, form in forms.items()]

    def read(document: Any) -> Any:
        values = {}
        for name, read_field, is_flat, may_lack in plan:
            if is_flat:
                values[name] = read_field(document)
            elif not may_lack or name in document:
                values[name] = read_field(document[name])
        return kind(**values)

    return read


def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {
        one.name: one.default if one.default_factory is MISSING else one.default_factory()
        for one in fields(kind)
    }
